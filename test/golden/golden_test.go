// Package golden holds the contract: pairs of YAML files, what a user applies and what the Controller gets. The names
// of the files are the list of features.
//
// <feature>.in.yaml is the input: a Service with its EndpointSlices, Namespace and settings, and what the Controller
// offers where that matters. <feature>.before.yaml, where it exists, is the input of an earlier time, whose objects the
// Controller holds; then the expectation holds the plan. <feature>.out.yaml is the expectation; go test -update
// rewrites it.
package golden

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/alb-sdk/go/models"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/avi-l4-operator/avi-l4-operator/internal/build"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/plan"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
)

var update = flag.Bool("update", false, "rewrite the expectations")

// scene is what an input file may hold besides Kubernetes objects: kind Scene.
type scene struct {
	// Controller overrides what the Controller offers.
	Controller struct {
		Version     string            `json:"version"`
		LicenseTier string            `json:"licenseTier"`
		CloudType   string            `json:"cloudType"`
		VLAN        bool              `json:"vlan"`
		Missing     []string          `json:"missing"` // names of shared objects that it lacks
		DNSDomains  *[]string         `json:"dnsDomains"`
		NetworkVRF  map[string]string `json:"networkVRF"`
	} `json:"controller"`
	SlicesUnread bool     `json:"slicesUnread"`
	Rival        string   `json:"rival"`   // "namespace/name"
	Refused      []string `json:"refused"` // "SCTP/80": the Controller would not create the pool
}

// facts of a Controller that offers all that is needed.
func facts(s scene) *model.Facts {
	f := &model.Facts{
		Version: "30.2.1", LicenseTier: "ENTERPRISE", ClusterUUID: "cluster-1",
		Cloud:      model.CloudFacts{Name: "Default-Cloud", UUID: "cloud-1", Type: "CLOUD_NONE", VLAN: s.Controller.VLAN},
		DNSDomains: []string{"avi.example.com"},
		NetworkVRF: s.Controller.NetworkVRF,
		Shared: map[model.Kind]map[string]string{
			model.Tenant: {"admin": "admin", "telco": "tenant-telco"}, model.Cloud: {"Default-Cloud": "cloud-1"},
			model.NetworkProfile:     named("np", "System-TCP-Proxy", "System-TCP-Fast-Path", "System-UDP-Fast-Path", "System-SCTP-Proxy"),
			model.HealthMonitor:      named("hm", "System-TCP", "System-UDP", "System-SCTP"),
			model.ApplicationProfile: named("ap", "System-L4-Application", "Preserve-Client-IP"),
			model.VrfContext:         named("vrf", "global", "blue"),
			model.ServiceEngineGroup: named("seg", "Default-Group", "telco-group"),
			model.Network:            named("net", "vip-network", "node-network", "vip6"),
		},
	}
	if v := s.Controller.Version; v != "" {
		f.Version = v
	}
	if v := s.Controller.LicenseTier; v != "" {
		f.LicenseTier = v
	}
	if v := s.Controller.CloudType; v != "" {
		f.Cloud.Type = v
	}
	if s.Controller.DNSDomains != nil {
		f.DNSDomains = *s.Controller.DNSDomains
	}
	for _, name := range s.Controller.Missing {
		for _, kind := range f.Shared {
			delete(kind, name)
		}
	}
	return f
}

func named(prefix string, names ...string) map[string]string {
	out := map[string]string{}
	for _, n := range names {
		out[n] = prefix + "-" + n
	}
	return out
}

// baseSettings are in force unless an input brings a ConfigMap, whose keys then come on top.
func baseSettings() map[string]string {
	return map[string]string{
		"clusterName": "demo", "controllerIP": "avi.example.com",
		"vipNetworkList": `[{"networkName":"vip-network","cidr":"10.10.0.0/16"}]`,
	}
}

func load(t *testing.T, path string) build.Input {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	in := build.Input{SlicesRead: true, Refused: map[model.Port]model.Finding{}}
	var s scene
	data := baseSettings()
	for doc := range strings.SplitSeq("\n"+string(raw), "\n---") {
		if strings.TrimSpace(doc) == "" {
			continue
		}
		var meta metav1.TypeMeta
		if err := yaml.Unmarshal([]byte(doc), &meta); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		var into any
		switch meta.Kind {
		case "Service":
			in.Service = new(corev1.Service)
			into = in.Service
		case "Namespace":
			in.Namespace = new(corev1.Namespace)
			into = in.Namespace
		case "EndpointSlice":
			slice := new(discoveryv1.EndpointSlice)
			in.Slices = append(in.Slices, slice)
			into = slice
		case "ConfigMap":
			into = new(corev1.ConfigMap)
		case "Scene":
			if err := yaml.UnmarshalStrict([]byte(strings.Replace(doc, "kind: Scene", "", 1)), &s); err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			continue
		default:
			continue // Deployments and the like of a user's file
		}
		if err := yaml.UnmarshalStrict([]byte(doc), into); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if cm, ok := into.(*corev1.ConfigMap); ok {
			for k, v := range cm.Data {
				data[k] = v
			}
		}
	}
	if in.Service.Namespace == "" {
		in.Service.Namespace = "default"
	}
	if in.Namespace == nil {
		in.Namespace = &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: in.Service.Namespace}}
	}
	cfg, _, err := settings.Parse(data, map[string][]byte{"username": []byte("u"), "password": []byte("p")}, "avi-l4-system")
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	in.Settings, in.Facts, in.SlicesRead = cfg, facts(s), !s.SlicesUnread
	if ns, name, ok := strings.Cut(s.Rival, "/"); ok {
		in.Rival = &model.Owner{Kind: model.ServiceOwner, Namespace: ns, Name: name}
	}
	for _, r := range s.Refused {
		protocol, number, _ := strings.Cut(r, "/")
		port := model.Port{Protocol: protocol}
		fmt.Sscan(number, &port.Number)
		in.Refused[port] = model.Finding{Severity: model.Blocked, Port: port, Reason: model.ReasonPortRefused, Message: "port " + port.String() + ": the Controller refused its pool: too bad"}
	}
	return in
}

// observe is what the Controller would hold of a set: the bodies as its JSON gives them back, defaults filled in where
// the Controller is known to, references by UUID, and an address where it allocates one.
func observe(t *testing.T, set model.Set) []*model.Observed {
	t.Helper()
	var out []*model.Observed
	for i, o := range set.Objects {
		raw, err := json.Marshal(o.Body)
		if err != nil {
			t.Fatal(err)
		}
		body := model.NewBody(o.Key.Kind)
		if err := json.Unmarshal(raw, body); err != nil {
			t.Fatal(err)
		}
		plan.Prune(body)
		out = append(out, &model.Observed{Key: o.Key, UUID: fmt.Sprintf("%s-%d", o.Key.Kind, i), Owner: set.Owner, Body: body})
	}
	return out
}

// live derives what serves from what is observed, as the engine does.
func live(before build.Result) build.Live {
	l := build.Live{Ports: map[model.Port]bool{}}
	for _, o := range before.Set.Objects {
		switch body := o.Body.(type) {
		case *models.VirtualService:
			l.Exists = true
			l.ApplicationProfile = model.ParseRef(*body.ApplicationProfileRef).Name
			l.NetworkProfile = model.ParseRef(*body.NetworkProfileRef).Name
		case *models.VsVip:
			for _, d := range body.DNSInfo {
				l.DNSNames = append(l.DNSNames, *d.Fqdn)
			}
		case *models.L4PolicySet:
			l.ProtocolMatch = body.L4ConnectionPolicy.Rules[0].Match.Protocol != nil
		}
		if pool, ok := o.Body.(*models.Pool); ok {
			l.Ports[before.Pools[o.Key.Name]] = len(pool.Servers) > 0
		}
	}
	return l
}

type expectation struct {
	Blocked  bool              `json:"blocked,omitempty"`
	Findings []finding         `json:"findings,omitempty"`
	Plan     string            `json:"plan,omitempty"`
	Objects  []json.RawMessage `json:"objects,omitempty"`
}

type finding struct {
	Severity string `json:"severity"`
	Port     string `json:"port,omitempty"`
	Reason   string `json:"reason"`
	Message  string `json:"message"`
}

func run(t *testing.T, name string) (build.Result, expectation) {
	t.Helper()
	in := load(t, name+".in.yaml")
	var observed []*model.Observed
	_, err := os.Stat(name + ".before.yaml")
	withPlan := err == nil
	if withPlan {
		earlier := load(t, name+".before.yaml")
		before := build.Service(earlier)
		observed = observe(t, before.Set)
		in.Live = live(before)
	}
	built := build.Service(in)
	e := expectation{Blocked: built.Blocked}
	findings := built.Findings
	if withPlan && !built.Blocked {
		p := plan.Diff(&built.Set, observed, plan.Policy{Replace: build.ReplacementAllowed(in.Service)})
		e.Plan = p.String()
		findings = append(findings, p.Findings...)
	}
	for _, f := range findings {
		g := finding{Severity: [...]string{"Note", "Degraded", "Blocked"}[f.Severity], Reason: f.Reason, Message: f.Message}
		if f.Port != (model.Port{}) {
			g.Port = f.Port.String()
		}
		e.Findings = append(e.Findings, g)
	}
	if withPlan {
		return built, e // the plan says what changes; the objects are another pair's business
	}
	for _, o := range built.Set.Objects {
		body, err := model.Canonical(o.Body)
		if err != nil {
			t.Fatal(err)
		}
		e.Objects = append(e.Objects, json.RawMessage(fmt.Sprintf(`{"kind":%q,"tenant":%q,"keep":%s,"body":%s}`, o.Key.Kind.Title(), o.Key.Tenant, list(o.Keep), body)))
	}
	return built, e
}

func list(s []string) string {
	raw, err := json.Marshal(s)
	if err != nil || s == nil {
		return "[]"
	}
	return string(raw)
}

func features(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/*.in.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for i := range files {
		files[i] = strings.TrimSuffix(files[i], ".in.yaml")
	}
	return files
}

func TestGolden(t *testing.T) {
	names := features(t)
	if len(names) < 50 {
		t.Errorf("%d features, want 50 or more", len(names))
	}
	for _, name := range names {
		t.Run(filepath.Base(name), func(t *testing.T) {
			_, e := run(t, name)
			raw, err := json.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			got, err := yaml.JSONToYAML(raw)
			if err != nil {
				t.Fatal(err)
			}
			if *update {
				if err := os.WriteFile(name+".out.yaml", got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(name + ".out.yaml")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestOrderDoesNotMatter builds each feature with its slices, endpoints, ports and annotations shuffled.
func TestOrderDoesNotMatter(t *testing.T) {
	for _, name := range features(t) {
		t.Run(filepath.Base(name), func(t *testing.T) {
			want := fingerprint(t, build.Service(load(t, name+".in.yaml")))
			for seed := range uint64(20) {
				in := load(t, name+".in.yaml")
				shuffle(in, rand.New(rand.NewPCG(seed, 1)))
				if diff := cmp.Diff(want, fingerprint(t, build.Service(in))); diff != "" {
					t.Fatalf("seed %d: (-want +got)\n%s", seed, diff)
				}
			}
		})
	}
}

func shuffle(in build.Input, r *rand.Rand) {
	r.Shuffle(len(in.Slices), func(i, j int) { in.Slices[i], in.Slices[j] = in.Slices[j], in.Slices[i] })
	for _, s := range in.Slices {
		r.Shuffle(len(s.Endpoints), func(i, j int) { s.Endpoints[i], s.Endpoints[j] = s.Endpoints[j], s.Endpoints[i] })
		r.Shuffle(len(s.Ports), func(i, j int) { s.Ports[i], s.Ports[j] = s.Ports[j], s.Ports[i] })
	}
	p := in.Service.Spec.Ports
	r.Shuffle(len(p), func(i, j int) { p[i], p[j] = p[j], p[i] })
	d := in.Facts.DNSDomains
	r.Shuffle(len(d), func(i, j int) { d[i], d[j] = d[j], d[i] })
}

func fingerprint(t *testing.T, r build.Result) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "%v %+v\n", r.Blocked, r.Findings)
	for _, o := range r.Set.Objects {
		body, err := model.Canonical(o.Body)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s %v\n%s\n", o.Key, o.Keep, body)
	}
	return b.String()
}

// TestDiffOfTheSameIsEmpty: what was written as wanted needs no change.
func TestDiffOfTheSameIsEmpty(t *testing.T) {
	for _, name := range features(t) {
		built := build.Service(load(t, name+".in.yaml"))
		p := plan.Diff(&built.Set, observe(t, built.Set), plan.Policy{})
		if !p.Empty() || len(p.Findings) > 0 {
			t.Errorf("%s: %s", name, p.String())
		}
	}
}

// TestApplyingADiffReachesTheGoal goes from every feature's objects to every other's of the same names and looks
// whether anything is left to do.
func TestApplyingADiffReachesTheGoal(t *testing.T) {
	byName := map[string][]build.Result{}
	for _, name := range features(t) {
		built := build.Service(load(t, name+".in.yaml"))
		if vs, ok := built.Set.Find(model.VirtualService); ok {
			byName[vs.Key.String()] = append(byName[vs.Key.String()], built)
		}
	}
	pairs := 0
	for _, group := range byName {
		for _, from := range group {
			for _, to := range group {
				if slices.ContainsFunc(to.Set.Objects, func(o model.Object) bool { return len(o.Keep) > 0 }) {
					continue // a goal that isn't wholly known: nothing is replaced or taken away for it
				}
				pairs++
				reach(t, from.Set, to.Set)
			}
		}
	}
	if pairs < 100 {
		t.Errorf("only %d pairs", pairs)
	}
}

func reach(t *testing.T, from, to model.Set) {
	t.Helper()
	state := map[model.Key]*model.Observed{}
	for _, o := range observe(t, from) {
		state[o.Key] = o
	}
	p := plan.Diff(&to, observedOf(state), plan.Policy{Replace: true})
	for i, s := range p.Steps {
		for _, n := range s.Needs {
			if n >= i {
				t.Fatalf("step %d needs %d\n%s", i, n, p.String())
			}
		}
		switch s.Op {
		case plan.Create:
			for _, o := range observe(t, model.Set{Owner: to.Owner, Objects: []model.Object{{Key: s.Key, Body: s.Body}}}) {
				state[o.Key] = o
			}
		case plan.Update:
			plan.Apply(state[s.Key].Body, s.Fields)
		case plan.Delete:
			delete(state, s.Key)
		}
	}
	if rest := plan.Diff(&to, observedOf(state), plan.Policy{}); !rest.Empty() || len(rest.Findings) > 0 {
		t.Errorf("after\n%sthere is still to do\n%s", p.String(), rest.String())
	}
}

func observedOf(state map[model.Key]*model.Observed) []*model.Observed {
	var out []*model.Observed
	for _, o := range state {
		out = append(out, o)
	}
	slices.SortFunc(out, func(a, b *model.Observed) int { return strings.Compare(a.Key.String(), b.Key.String()) })
	return out
}
