// Package golden holds the contract: pairs of YAML files, what a user applies and what the Controller gets. The names
// of the files are the list of features.
//
// <feature>.in.yaml is the input: a Service or a Gateway with all that belongs to it (EndpointSlices, Namespaces, Nodes,
// Pods, GatewayClass, AviInfraSettings, the operator's ConfigMap), and what the Controller offers where that matters. <feature>.before.yaml, where it exists, is the input of an earlier time, whose objects the
// Controller holds; then the expectation holds the plan. <feature>.out.yaml is the expectation; go test -update
// rewrites it.
package golden

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	gatewayv1beta1 "sigs.k8s.io/gateway-api/apis/v1beta1"
	"sigs.k8s.io/yaml"

	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1alpha1"
	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1beta1"
	svcapi "github.com/avi-l4-operator/avi-l4-operator/api/networking/v1alpha1"
	"github.com/avi-l4-operator/avi-l4-operator/internal/gatewayapi"
	"github.com/avi-l4-operator/avi-l4-operator/internal/gather"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/plan"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
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
		// Subnets are the networks' configured ones, by name; a name that isn't among the usual ones is a further network.
		Subnets  map[string][]string `json:"subnets"`
		Tier1LRs []string            `json:"tier1LRs"`
	} `json:"controller"`
	SlicesUnread          bool     `json:"slicesUnread"`
	NodesUnread           bool     `json:"nodesUnread"`
	Young                 []string `json:"young"`  // kinds whose type has only just come back
	Unread                []string `json:"unread"` // kinds of gateway.networking.k8s.io that the API server doesn't have
	IgnoreRouteNamespaces bool     `json:"ignoreRouteNamespaces"`
	Rival                 string   `json:"rival"`       // "namespace/name"
	Refused               []string `json:"refused"`     // "SCTP/80": the Controller would not create the pool
	ShowObjects           bool     `json:"showObjects"` // beside the plan, where it matters what is created
}

// facts of a Controller that offers all that is needed.
func facts(s scene) *model.Facts {
	f := &model.Facts{
		Version: "30.2.1", LicenseTier: "ENTERPRISE", ClusterUUID: "cluster-1",
		Cloud:      model.CloudFacts{Name: "Default-Cloud", UUID: "cloud-1", Type: "CLOUD_NONE", VLAN: s.Controller.VLAN, Tier1LRs: s.Controller.Tier1LRs},
		DNSDomains: []string{"avi.example.com"},
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
	f.Networks = networks(s, f.Shared[model.Network])
	return f
}

func networks(s scene, shared map[string]string) (out []model.NetworkFacts) {
	for name := range s.Controller.Subnets {
		if shared[name] == "" {
			shared[name] = "net-" + name
		}
	}
	for name, uuid := range shared {
		n := model.NetworkFacts{Name: name, UUID: uuid, VRF: s.Controller.NetworkVRF[name]}
		for _, text := range s.Controller.Subnets[name] {
			n.Subnets = append(n.Subnets, netip.MustParsePrefix(text))
		}
		out = append(out, n)
	}
	slices.SortFunc(out, func(a, b model.NetworkFacts) int { return strings.Compare(a.Name, b.Name) })
	return out
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

// kinds are the Kubernetes objects that an input may hold.
var kinds = map[string]func() client.Object{
	"Service":         func() client.Object { return new(corev1.Service) },
	"Namespace":       func() client.Object { return new(corev1.Namespace) },
	"Node":            func() client.Object { return new(corev1.Node) },
	"Pod":             func() client.Object { return new(corev1.Pod) },
	"ConfigMap":       func() client.Object { return new(corev1.ConfigMap) },
	"EndpointSlice":   func() client.Object { return new(discoveryv1.EndpointSlice) },
	"Gateway":         func() client.Object { return new(svcapi.Gateway) },
	"GatewayClass":    func() client.Object { return new(svcapi.GatewayClass) },
	"AviInfraSetting": func() client.Object { return new(v1beta1.AviInfraSetting) },
	"SCTPRoute":       func() client.Object { return new(v1alpha1.SCTPRoute) },
	"TCPRoute":        func() client.Object { return new(gatewayv1.TCPRoute) },
	"UDPRoute":        func() client.Object { return new(gatewayv1.UDPRoute) },
	"ListenerSet":     func() client.Object { return new(gatewayv1.ListenerSet) },
	"ReferenceGrant":  func() client.Object { return new(gatewayv1beta1.ReferenceGrant) },
	// The names that two APIs have.
	"gateway.networking.k8s.io/v1 Gateway":      func() client.Object { return new(gatewayv1.Gateway) },
	"gateway.networking.k8s.io/v1 GatewayClass": func() client.Object { return new(gatewayv1.GatewayClass) },
}

// empty is an object of a document's type, nil for one that is of no interest.
func empty(meta metav1.TypeMeta) client.Object {
	for _, name := range []string{meta.APIVersion + " " + meta.Kind, meta.Kind} {
		if fresh, ok := kinds[name]; ok {
			return fresh()
		}
	}
	return nil
}

// world is what an input file holds.
type world struct {
	scene
	config     map[string]string
	services   []*corev1.Service
	namespaces map[string]*corev1.Namespace
	nodes      []*corev1.Node
	pods       []*corev1.Pod
	slices     []*discoveryv1.EndpointSlice
	gateway    *svcapi.Gateway
	classes    map[string]*svcapi.GatewayClass
	routed     gatewayapi.World // of gateway.networking.k8s.io
	class      *gatewayv1.GatewayClass
	settings   map[string]*v1beta1.AviInfraSetting
}

func read(t *testing.T, path string) *world {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{config: baseSettings(), namespaces: map[string]*corev1.Namespace{}, classes: map[string]*svcapi.GatewayClass{}, settings: map[string]*v1beta1.AviInfraSetting{}}
	for doc := range strings.SplitSeq("\n"+string(raw), "\n---") {
		if strings.TrimSpace(doc) == "" {
			continue
		}
		var meta metav1.TypeMeta
		if err := yaml.Unmarshal([]byte(doc), &meta); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if meta.Kind == "Scene" {
			if err := yaml.UnmarshalStrict([]byte(strings.Replace(doc, "kind: Scene", "", 1)), &w.scene); err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			continue
		}
		o := empty(meta)
		if o == nil {
			continue // Deployments and the like of a user's file
		}
		if err := yaml.UnmarshalStrict([]byte(doc), o); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		w.add(o)
	}
	return w
}

func (w *world) add(o client.Object) {
	switch o := o.(type) {
	case *corev1.ConfigMap:
		maps.Copy(w.config, o.Data)
	case *corev1.Namespace:
		w.namespaces[o.Name] = o
	case *corev1.Node:
		w.nodes = append(w.nodes, o)
	case *svcapi.GatewayClass:
		w.classes[o.Name] = o
	case *gatewayv1.GatewayClass:
		w.class = o
	case *v1beta1.AviInfraSetting:
		w.settings[o.Name] = o
	default:
		if o.GetNamespace() == "" {
			o.SetNamespace("default")
		}
	}
	switch o := o.(type) {
	case *corev1.Service:
		w.services = append(w.services, o)
	case *corev1.Pod:
		w.pods = append(w.pods, o)
	case *discoveryv1.EndpointSlice:
		w.slices = append(w.slices, o)
	case *svcapi.Gateway:
		w.gateway = o
	case *gatewayv1.Gateway:
		w.routed.Gateway = o
	case *gatewayv1.ListenerSet:
		w.routed.Sets = append(w.routed.Sets, o)
	case *gatewayv1beta1.ReferenceGrant:
		w.routed.Grants = append(w.routed.Grants, o)
	default:
		if r := gatewayapi.RouteOf(o); r != nil {
			w.routed.Routes = append(w.routed.Routes, r)
		}
	}
}

// view is what the API's rules make of a Gateway of gateway.networking.k8s.io and what is around it.
func (w *world) view() *gatewayapi.View {
	v := w.routed
	v.Services = map[types.NamespacedName]*corev1.Service{}
	v.Namespaces = map[string]map[string]string{}
	v.Unread = map[string]bool{}
	for _, svc := range w.services {
		v.Services[client.ObjectKeyFromObject(svc)] = svc
	}
	for name, ns := range w.namespaces {
		v.Namespaces[name] = ns.Labels
	}
	for _, kind := range w.Unread {
		v.Unread[kind] = true
	}
	v.Young = map[string]bool{}
	for _, kind := range w.Young {
		v.Young[kind] = true
	}
	return gatewayapi.Look(v)
}

func (w *world) namespace(name string) *corev1.Namespace {
	if ns := w.namespaces[name]; ns != nil {
		return ns
	}
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

// backend is a Service with its slices; one without a Service's label is the first Service's.
func (w *world) backend(svc *corev1.Service) translate.Backend {
	b := translate.Backend{Service: svc, NamespaceLabels: w.namespace(svc.Namespace).Labels, SlicesRead: !w.SlicesUnread}
	for _, s := range w.slices {
		of := cmp.Or(s.Labels[discoveryv1.LabelServiceName], w.services[0].Name)
		if of == svc.Name && (s.Namespace == svc.Namespace || len(w.services) == 1) {
			b.Slices = append(b.Slices, s)
		}
	}
	for _, p := range w.pods {
		if p.Namespace == svc.Namespace {
			b.Pods = append(b.Pods, p)
		}
	}
	return b
}

// mayStandBehind tells whether gather reads a Service for a Gateway: what the Gateway selects, were it not that the Service
// names another one.
func mayStandBehind(gw *svcapi.Gateway, svc *corev1.Service) bool {
	bare := svc.DeepCopy()
	delete(bare.Labels, translate.LabelGatewayName)
	return gather.Selects(gw, svc) || gather.Selects(gw, bare)
}

// setting is what gather finds of an AviInfraSetting.
func (w *world) setting(name string) translate.Setting {
	return translate.Setting{Name: name, Object: w.settings[name]}
}

func load(t *testing.T, path string) translate.Input {
	t.Helper()
	w := read(t, path)
	in := translate.Input{NodesRead: !w.NodesUnread, Nodes: w.nodes, IgnoreRouteNamespaces: w.IgnoreRouteNamespaces, Refused: map[string]model.Finding{}}
	switch {
	case w.routed.Gateway != nil:
		in.Routed = w.view()
		in.Namespace = w.namespace(w.routed.Gateway.Namespace)
		for _, svc := range w.services {
			in.Backends = append(in.Backends, w.backend(svc))
		}
		reason, problem := gather.ClassProblem(w.routed.Gateway, w.class)
		in.Setting = translate.Setting{Reason: reason, Problem: problem}
		if problem == "" {
			in.Setting = w.setting(gather.SettingOfGateway(w.routed.Gateway, w.class, in.Namespace))
		}
	case w.gateway != nil:
		class := w.classes[w.gateway.Spec.GatewayClassName]
		in.Gateway = w.gateway
		in.Namespace = w.namespace(w.gateway.Namespace)
		for _, svc := range w.services {
			if mayStandBehind(w.gateway, svc) {
				in.Backends = append(in.Backends, w.backend(svc))
			}
		}
		reason, problem := gather.SvcAPIClassProblem(w.gateway, class)
		in.Setting = translate.Setting{Reason: reason, Problem: problem}
		if problem == "" {
			in.Setting = w.setting(gather.SettingOfSvcAPIGateway(class, in.Namespace))
		}
	default:
		in.Service = w.services[0]
		in.Namespace = w.namespace(in.Service.Namespace)
		in.Backends = []translate.Backend{w.backend(in.Service)}
		in.Setting = w.setting(gather.SettingOfService(in.Service, in.Namespace))
	}
	cfg, _, err := settings.Parse(w.config, map[string][]byte{"username": []byte("u"), "password": []byte("p")}, "avi-l4-system")
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	in.Settings, in.Facts = cfg, facts(w.scene)
	if ns, name, ok := strings.Cut(w.Rival, "/"); ok {
		in.Rival = &model.Owner{Kind: model.ServiceOwner, Namespace: ns, Name: name}
	}
	for _, r := range w.Refused {
		protocol, number, _ := strings.Cut(r, "/")
		port := model.Port{Protocol: protocol}
		fmt.Sscan(number, &port.Number)
		for name, p := range translate.PoolPorts(&in) {
			if p != port {
				continue
			}
			in.Refused[name] = model.Finding{Severity: model.Blocked, Port: port, Reason: model.ReasonPortRefused, Message: "port " + port.String() + ": the Controller refused its pool: too bad"}
		}
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

func run(t *testing.T, name string) (translate.Result, expectation) {
	t.Helper()
	in := load(t, name+".in.yaml")
	var observed []*model.Observed
	_, err := os.Stat(name + ".before.yaml")
	withPlan := err == nil
	if withPlan {
		earlier := load(t, name+".before.yaml")
		before := translate.Objects(earlier)
		observed = observe(t, before.Set)
		in.Live = translate.LiveOf(&in, observed)
	}
	built := translate.Objects(in)
	e := expectation{Blocked: built.Blocked}
	findings := built.Findings
	if withPlan && !built.Blocked {
		p := plan.Diff(&built.Set, observed, plan.Policy{Replace: in.ReplacementAllowed()})
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
	if withPlan && !read(t, name+".in.yaml").ShowObjects {
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
			if diff := gocmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestOrderDoesNotMatter builds each feature with its slices, endpoints, ports and annotations shuffled.
func TestOrderDoesNotMatter(t *testing.T) {
	for _, name := range features(t) {
		t.Run(filepath.Base(name), func(t *testing.T) {
			want := fingerprint(t, translate.Objects(loadLive(t, name, 0)))
			for seed := range uint64(6) {
				in := loadLive(t, name, seed+1)
				shuffle(in, rand.New(rand.NewPCG(seed, 1)))
				if diff := gocmp.Diff(want, fingerprint(t, translate.Objects(in))); diff != "" {
					t.Fatalf("seed %d: (-want +got)\n%s", seed, diff)
				}
			}
		})
	}
}

// loadLive is an input with what its earlier time left on the Controller, read in some order.
func loadLive(t *testing.T, name string, seed uint64) translate.Input {
	t.Helper()
	in := load(t, name+".in.yaml")
	if _, err := os.Stat(name + ".before.yaml"); err == nil {
		before := translate.Objects(load(t, name+".before.yaml"))
		observed := observe(t, before.Set)
		rand.New(rand.NewPCG(seed, 2)).Shuffle(len(observed), func(i, j int) { observed[i], observed[j] = observed[j], observed[i] })
		in.Live = translate.LiveOf(&in, observed)
	}
	return in
}

func shuffle(in translate.Input, r *rand.Rand) {
	b := in.Backends
	r.Shuffle(len(b), func(i, j int) { b[i], b[j] = b[j], b[i] })
	for _, b := range in.Backends {
		r.Shuffle(len(b.Slices), func(i, j int) { b.Slices[i], b.Slices[j] = b.Slices[j], b.Slices[i] })
		for _, s := range b.Slices {
			r.Shuffle(len(s.Endpoints), func(i, j int) { s.Endpoints[i], s.Endpoints[j] = s.Endpoints[j], s.Endpoints[i] })
			r.Shuffle(len(s.Ports), func(i, j int) { s.Ports[i], s.Ports[j] = s.Ports[j], s.Ports[i] })
		}
		r.Shuffle(len(b.Pods), func(i, j int) { b.Pods[i], b.Pods[j] = b.Pods[j], b.Pods[i] })
		p := b.Service.Spec.Ports
		r.Shuffle(len(p), func(i, j int) { p[i], p[j] = p[j], p[i] })
	}
	if in.Routed != nil {
		v := in.Routed
		r.Shuffle(len(v.Sets), func(i, j int) { v.Sets[i], v.Sets[j] = v.Sets[j], v.Sets[i] })
		r.Shuffle(len(v.World.Routes), func(i, j int) { v.World.Routes[i], v.World.Routes[j] = v.World.Routes[j], v.World.Routes[i] })
		*v = *gatewayapi.Look(v.World)
	}
	n := in.Nodes
	r.Shuffle(len(n), func(i, j int) { n[i], n[j] = n[j], n[i] })
	d := in.Facts.DNSDomains
	r.Shuffle(len(d), func(i, j int) { d[i], d[j] = d[j], d[i] })
}

func fingerprint(t *testing.T, r translate.Result) string {
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
		built := translate.Objects(load(t, name+".in.yaml"))
		p := plan.Diff(&built.Set, observe(t, built.Set), plan.Policy{})
		if !p.Empty() || len(p.Findings) > 0 {
			t.Errorf("%s: %s", name, p.String())
		}
	}
}

// TestApplyingADiffReachesTheGoal goes from every feature's objects to every other's of the same names and looks
// whether anything is left to do.
func TestApplyingADiffReachesTheGoal(t *testing.T) {
	byName := map[string][]translate.Result{}
	for _, name := range features(t) {
		built := translate.Objects(load(t, name+".in.yaml"))
		if vs, ok := built.Set.Find(model.VirtualService); ok {
			byName[vs.Key.String()] = append(byName[vs.Key.String()], built)
		}
	}
	const most = 16 // goals from each start: all pairs of hundreds of features take minutes
	pairs, random := 0, rand.New(rand.NewPCG(1, 2))
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		group := byName[name]
		for _, from := range group {
			for _, i := range random.Perm(len(group))[:min(most, len(group))] {
				to := group[i]
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
