// SPDX-License-Identifier: Apache-2.0

// Package golden holds the contract: pairs of YAML files, what a user applies and what the Controller gets. The names
// of the files are the list of features.
//
// <feature>.in.yaml is the input: a Service or a Gateway with all that belongs to it (EndpointSlices, Namespaces, Nodes,
// Pods, GatewayClass, AviInfraSettings, the operator's ConfigMap), and what the Controller offers where that matters.
// <feature>.before.yaml, where it exists, is the input of an earlier time, whose objects the Controller holds; then the expectation holds
// the plan. <feature>.ako.yaml holds such objects themselves, as AKO writes them: bodies of Avi's API with their kind and, where it isn't
// admin, their tenant. <feature>.out.yaml is the expectation; go test -update rewrites it.
package golden

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/vmware/alb-sdk/go/models"
	"sigs.k8s.io/yaml"

	"github.com/avi-l4-operator/avi-l4-operator/internal/gatewayapi"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/plan"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
)

var update = flag.Bool("update", false, "rewrite the expectations")

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

// situation is a feature's input with what the Controller holds for its owner.
func situation(t *testing.T, name string) (in translate.Input, observed []*model.Observed, live bool) {
	t.Helper()
	in = loadAfter(t, name+".in.yaml", earlier(t, name))
	observed, live = held(t, name, &in)
	return in, observed, live
}

// earlier is what the input of an earlier time left on the Controller.
func earlier(t *testing.T, name string) []*model.Observed {
	t.Helper()
	if !exists(name + ".before.yaml") {
		return nil
	}
	return observe(t, translate.Objects(load(t, name+".before.yaml")).Set)
}

// held is what the Controller holds for a feature's owner: of an earlier time, or of AKO. ok is false if the feature has neither.
func held(t *testing.T, name string, in *translate.Input) (observed []*model.Observed, ok bool) {
	t.Helper()
	if exists(name + ".before.yaml") {
		observed, ok = earlier(t, name), true
	}
	if exists(name + ".ako.yaml") {
		observed, ok = append(observed, ofAKO(t, name+".ako.yaml", in)...), true
	}
	read(t, name+".in.yaml").edit(t, observed)
	return observed, ok
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// edit changes what the Controller holds as people do there.
func (w *world) edit(t *testing.T, observed []*model.Observed) {
	t.Helper()
	for _, e := range w.Edits {
		hit := false
		for _, o := range observed {
			if string(o.Key.Kind) != e.Kind {
				continue
			}
			hit = true
			if err := json.Unmarshal(e.Fields, o.Body); err != nil {
				t.Fatal(err)
			}
		}
		if !hit {
			t.Fatalf("there is no %s to edit", e.Kind)
		}
	}
}

type expectation struct {
	Blocked  bool              `json:"blocked,omitempty"`
	Findings []finding         `json:"findings,omitempty"`
	Plan     string            `json:"plan,omitempty"`
	Objects  []json.RawMessage `json:"objects,omitempty"`
}

type finding struct {
	Severity string `json:"severity"`
	About    string `json:"about,omitempty"`
	Port     string `json:"port,omitempty"`
	Reason   string `json:"reason"`
	Message  string `json:"message"`
}

func run(t *testing.T, name string) (translate.Result, expectation) {
	t.Helper()
	in, observed, withPlan := situation(t, name)
	if withPlan {
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
		g := finding{Severity: [...]string{"Note", "Degraded", "Blocked"}[f.Severity], About: f.About, Reason: f.Reason, Message: f.Message}
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
	in, observed, live := situation(t, name)
	if live {
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
	if gw, ok := in.Owner.(translate.Gateway); ok {
		v := gw.View
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

// TestRulesOfAKOAreTakenOver: objects with what AKO makes of an L4Rule need no change. AKO doesn't note which fields a rule set,
// sends what its CRD fills in, and notes the rule in service_metadata.
func TestRulesOfAKOAreTakenOver(t *testing.T) {
	n := 0
	for _, name := range features(t) {
		if !strings.Contains(filepath.Base(name), "l4rule-") {
			continue
		}
		in := load(t, name+".in.yaml")
		built := translate.Objects(in)
		if built.Blocked {
			continue
		}
		n++
		observed := observe(t, built.Set)
		for _, o := range observed {
			asAKO(o.Body)
			if vs, ok := o.Body.(*models.VirtualService); ok && strings.HasSuffix(name, "on-udp-beside-sctp") {
				vs.NetworkProfileRef = tcpProxy() // each service overrides it, so it means nothing
			}
		}
		in.Live = translate.LiveOf(&in, observed)
		again := translate.Objects(in)
		if p := plan.Diff(&again.Set, observed, plan.Policy{}); !p.Empty() || len(p.Findings) > 0 {
			t.Errorf("%s: %s", name, p.String())
		}
	}
	if n < 40 {
		t.Errorf("only %d features", n)
	}
}

func tcpProxy() *string { return new("/api/networkprofile?name=System-TCP-Proxy") }

// TestTrapOfAKOIsUndone: an SCTP VirtualService that AKO made a TCP one, because its CRD fills that in, becomes one of SCTP.
func TestTrapOfAKOIsUndone(t *testing.T) {
	for _, protocol := range []string{"sctp", "udp"} {
		in := load(t, "testdata/l4rule-as-ako-s-crd-completes-it-on-"+protocol+".in.yaml")
		observed := observe(t, translate.Objects(in).Set)
		for _, o := range observed {
			asAKO(o.Body)
			if vs, ok := o.Body.(*models.VirtualService); ok {
				vs.NetworkProfileRef = tcpProxy()
			}
		}
		in.Live = translate.LiveOf(&in, observed)
		built := translate.Objects(in)
		p := plan.Diff(&built.Set, observed, plan.Policy{})
		if len(p.Steps) != 1 || len(p.Steps[0].Fields) != 1 || p.Steps[0].Fields[0].Field != "network_profile_ref" {
			t.Errorf("%s: %s", protocol, p.String())
		}
	}
}

// asAKO makes of a body what AKO makes of it with a rule that its CRD has completed.
func asAKO(body any) {
	unmarked := func(marks []*models.RoleFilterMatchLabel) []*models.RoleFilterMatchLabel {
		return slices.DeleteFunc(marks, func(m *models.RoleFilterMatchLabel) bool { return *m.Key == model.MarkRule })
	}
	noted := func(text *string) *string {
		before, after, ok := strings.Cut(*text, `"crd_status":{"type":"","value":"","status":""}`)
		if !ok {
			panic("no crd_status in " + *text)
		}
		return new(before + `"crd_status":{"type":"L4Rule","value":"default/rule","status":"ACTIVE"}` + after)
	}
	switch b := body.(type) {
	case *models.VirtualService:
		b.Markers, b.ServiceMetadata = unmarked(b.Markers), noted(b.ServiceMetadata)
		if len(b.L4Policies) == 0 {
			b.RemoveListeningPortOnVsDown = nil
		}
		b.AnalyticsProfileRef = cmp.Or(b.AnalyticsProfileRef, new("/api/analyticsprofile?name=System-Analytics-Profile"))
	case *models.Pool:
		b.Markers, b.ServiceMetadata = unmarked(b.Markers), noted(b.ServiceMetadata)
		b.Enabled, b.LbAlgorithm = cmp.Or(b.Enabled, new(true)), cmp.Or(b.LbAlgorithm, new("LB_ALGORITHM_LEAST_CONNECTIONS"))
	}
}
