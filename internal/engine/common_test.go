// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/outcome"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
)

// another is a Service of one SCTP port in the world's namespace, with or without session affinity.
func (w *world) another(name string, sticky bool) *corev1.Service {
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "core", Annotations: map[string]string{}}}
	svc.Spec.Type = corev1.ServiceTypeLoadBalancer
	svc.Spec.Ports = []corev1.ServicePort{{Name: "n2", Port: 38412, Protocol: corev1.ProtocolSCTP}}
	if sticky {
		svc.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
	}
	return svc
}

// serveAnother serves a Service other than the world's.
func (w *world) serveAnother(svc *corev1.Service) outcome.Outcome {
	one := *w
	one.svc = svc
	return w.engine.Serve(w.Context(), one.input())
}

func (w *world) removeAnother(svc *corev1.Service) error {
	owner := translate.Service{Object: svc}.Key()
	_, err := w.engine.Remove(w.Context(), owner, "admin", translate.VirtualServiceName(w.cfg, owner), "the test says so")
	return err
}

// profiles are the names of the persistence profiles of c1 that the Controller holds.
func (w *world) profiles() (out []string) {
	for _, o := range w.holds() {
		if name, ok := strings.CutPrefix(o, "applicationpersistenceprofile admin/c1--"); ok {
			out = append(out, name)
		}
	}
	return out
}

func (w *world) wantProfiles(when string, want ...string) {
	w.Helper()
	if got := w.profiles(); !slices.Equal(got, want) {
		w.Errorf("%s: the profiles are %q, want %q", when, got, want)
	}
}

// TestSharedProfile: Services that ask for the same share one profile, and it goes with the last of them.
func TestSharedProfile(t *testing.T) {
	w := newWorld(t)
	a, b := w.another("a", true), w.another("b", true)
	for _, svc := range []*corev1.Service{a, b, a, b} {
		if o := w.serveAnother(svc); o.State() != outcome.Done {
			t.Fatalf("%s: %+v", svc.Name, o.Failure())
		}
	}
	w.wantProfiles("both", "client-ip-180")
	if n := slices.Index(w.wrote(), "POST applicationpersistenceprofile 201"); n < 0 {
		t.Error("no profile was made")
	}

	a.Spec.SessionAffinityConfig = &corev1.SessionAffinityConfig{ClientIP: &corev1.ClientIPConfig{TimeoutSeconds: new(int32(61))}}
	w.serveAnother(a)
	w.wantProfiles("a has another timeout", "client-ip-180", "client-ip-2")
	w.wrote()
	a.Spec.SessionAffinity, a.Spec.SessionAffinityConfig = corev1.ServiceAffinityNone, nil
	w.serveAnother(a)
	w.wantProfiles("a has none", "client-ip-180")
	if got, want := w.wrote(), []string{"PATCH pool 200", "DELETE applicationpersistenceprofile 204"}; !slices.Equal(got, want) {
		t.Errorf("letting go of a profile: %q, want %q", got, want)
	}
	w.must(w.removeAnother(b))
	w.wantProfiles("b is gone")
	if got := w.wrote(); got[len(got)-1] != "DELETE applicationpersistenceprofile 204" {
		t.Errorf("the profile doesn't go last: %q", got)
	}
}

// TestProfileOfOthersStays: what a pool of somebody else's refers to stays, and no owner waits or reports a failure.
func TestProfileOfOthersStays(t *testing.T) {
	w := newWorld(t)
	svc := w.another("a", true)
	w.serveAnother(svc)
	theirs := map[string]any{"name": "theirs", "application_persistence_profile_ref": "/api/applicationpersistenceprofile?name=" + threeHours}
	if _, err := w.sim.Create("pool", "admin", theirs); err != nil {
		t.Fatal(err)
	}
	svc.Spec.SessionAffinity = corev1.ServiceAffinityNone
	if o := w.serveAnother(svc); o.State() != outcome.Done || o.Changes.Deleted != 0 {
		t.Errorf("letting go: %+v %+v", o.Changes, o.Failure())
	}
	w.wrote()
	if o := w.serveAnother(svc); o.Changes.Any() || w.wrote() != nil {
		t.Error("it is tried again and again")
	}
	svc.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
	w.serveAnother(svc)
	w.must(w.removeAnother(svc))
	w.wantProfiles("in use elsewhere", "client-ip-180")
	w.must(w.sim.Remove("pool", "admin", "theirs"))
	w.must(w.engine.RemoveUnused(t.Context()))
	w.wantProfiles("just seen unused", "client-ip-180")
	w.must(w.engine.RemoveUnused(t.Context()))
	w.wantProfiles("seen unused twice")
}

// TestRemoveUnused takes away only what is ours, by name and marker, what nobody refers to, and nothing in a dry run.
func TestRemoveUnused(t *testing.T) {
	w := newWorld(t)
	marks := func(cluster string) []any {
		return []any{map[string]any{"key": "clustername", "values": []any{cluster}}}
	}
	for name, cluster := range map[string]string{
		"c1--client-ip-5": "c1",                                                                  // ours
		"c1--client-ip-6": "c2", "c1--client-ip-x": "c1", "c1--" + strings.Repeat("a", 40): "c1", // AKO's, and others'
	} {
		profile := map[string]any{"name": name, "persistence_type": "PERSISTENCE_TYPE_CLIENT_IP_ADDRESS", "markers": marks(cluster)}
		if _, err := w.sim.Create("applicationpersistenceprofile", "admin", profile); err != nil {
			t.Fatal(err)
		}
	}
	w.load()
	w.wrote()
	w.engine.DryRun = true
	for range 3 {
		w.must(w.engine.RemoveUnused(t.Context()))
	}
	if got := w.wrote(); got != nil {
		t.Errorf("a dry run writes %q", got)
	}
	w.engine.DryRun = false
	w.must(w.engine.RemoveUnused(t.Context()))
	if got, want := w.wrote(), []string{"DELETE applicationpersistenceprofile 204"}; !slices.Equal(got, want) {
		t.Errorf("writes %q, want %q", got, want)
	}
	w.wantProfiles("afterwards", strings.Repeat("a", 40), "client-ip-6", "client-ip-x")
}

// TestRefusedProfile: an account that may not write profiles costs the affinity and nothing else.
func TestRefusedProfile(t *testing.T) {
	for _, live := range []bool{false, true} {
		w := newWorld(t)
		svc := w.another("a", false)
		if live {
			w.serveAnother(svc)
		}
		heal := w.sim.Inject(fault{Type: "applicationpersistenceprofile", Status: 403, Body: `{"error":"not allowed"}`})
		w.load() // nor may it read them
		svc.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
		o := w.serveAnother(svc)
		w.wantFinding(o, model.ReasonPersistenceRefused, "not allowed")
		if o.State() != outcome.Done || !o.Refused || len(o.Ports) != 1 {
			t.Errorf("live %v: outcome %+v, findings %+v", live, o, o.Findings)
		}
		heal()
		w.load()
		if o = w.serveAnother(svc); o.Refused || o.State() != outcome.Done {
			t.Errorf("live %v: healed: %+v", live, o)
		}
		w.wantProfiles("healed", "client-ip-180")
	}
}

// TestUnreadKindStands: what was known of a kind that the account may no longer read stays known.
func TestUnreadKindStands(t *testing.T) {
	w := newWorld(t)
	svc := w.another("a", true)
	w.serveAnother(svc)
	w.sim.Inject(fault{Method: "GET", Type: "applicationpersistenceprofile", Status: 403, Body: `{"error":"not allowed"}`})
	w.load()
	w.wrote()
	if o := w.serveAnother(svc); o.State() != outcome.Done || w.wrote() != nil {
		t.Errorf("it is written: %+v", o.Changes)
	}
}

// TestProfileComesAndGoes has many Services take up and let go of one profile at once. Nobody fails, none is left over when
// all have let go, and there is one when one hasn't.
func TestProfileComesAndGoes(t *testing.T) {
	w := newWorld(t)
	const n, times = 6, 8
	var services []*corev1.Service
	for i := range n {
		services = append(services, w.another(fmt.Sprintf("s%d", i), false))
		w.serveAnother(services[i])
	}
	all := func(sticky func(i, time int) bool) {
		t.Helper()
		var wg sync.WaitGroup
		for i, svc := range services {
			wg.Go(func() {
				for time := range times {
					svc.Spec.SessionAffinity = corev1.ServiceAffinityNone
					if sticky(i, time) {
						svc.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
					}
					if o := w.serveAnother(svc); o.State() != outcome.Done || len(o.Findings) > 0 {
						t.Errorf("%s: %+v, findings %+v", svc.Name, o.Failure(), o.Findings)
					}
				}
			})
		}
		wg.Wait()
		w.must(w.engine.RemoveUnused(t.Context())) // where two let go at once, each may have left it to the other
		w.must(w.engine.RemoveUnused(t.Context()))
	}
	all(func(i, time int) bool { return (i+time)%2 == 0 && time < times-1 })
	w.wantProfiles("all have let go")
	all(func(i, time int) bool { return (i+time)%2 == 0 && time < times-1 || i == 3 })
	w.wantProfiles("one has not", "client-ip-180")
}

// TestCommons: a run that wants an object which is being deleted waits, and what is wanted is not taken.
func TestCommons(t *testing.T) {
	var c commons
	k := model.Key{Kind: model.PersistenceProfile, Tenant: "admin", Name: "x"}
	if err := c.want(t.Context(), k, k); err != nil || c.take(k) {
		t.Errorf("wanted and taken: %v", err)
	}
	c.release(k)
	if c.take(k) {
		t.Error("taken although one of two wants it")
	}
	c.release(k)
	if !c.take(k) || c.take(k) {
		t.Error("to be taken once")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := c.want(ctx, k); err == nil {
		t.Error("had while it is being deleted")
	}
	had := make(chan error)
	go func() { had <- c.want(t.Context(), k) }()
	c.leave(k)
	if err := <-had; err != nil || c.take(k) {
		t.Errorf("after the deletion: %v", err)
	}
}

// TestDrainSurvivesWithoutVirtualService: what the network team set on a pool stays, also while its VirtualService is gone.
func TestDrainSurvivesWithoutVirtualService(t *testing.T) {
	w := newWorld(t)
	w.served()
	w.must(w.sim.Edit("pool", "admin", sctpPool, func(o map[string]any) { o["graceful_disable_timeout"] = 45 }))
	w.must(w.sim.Remove("virtualservice", "admin", amfName))
	w.load()
	w.served()
	w.wantHeld("made again", all("admin")...)
	if o, _ := w.sim.Object("pool", "admin", sctpPool); fmt.Sprint(o["graceful_disable_timeout"]) != "45" {
		t.Errorf("the drain timeout is %v", o["graceful_disable_timeout"])
	}
	w.svc.Annotations[translate.AnnotationDrainTimeout] = "0"
	w.wrote()
	w.served()
	if got, want := w.wrote(), []string{"PATCH pool 200", "PATCH pool 200"}; !slices.Equal(got, want) {
		t.Errorf("writes %q, want %q", got, want)
	}
	w.served()
	w.wantUnchanged()
}

// TestPolicyOfTheNetworkTeam: one that the operator has not seen yet is not exchanged for its own.
func TestPolicyOfTheNetworkTeam(t *testing.T) {
	w := newWorld(t)
	w.served()
	if _, err := w.sim.Create("networksecuritypolicy", "admin", map[string]any{"name": "fence"}); err != nil {
		t.Fatal(err)
	}
	fence := func(o map[string]any) { o["network_security_policy_ref"] = "/api/networksecuritypolicy?name=fence" }
	w.must(w.sim.Edit("virtualservice", "admin", amfName, fence))
	w.wrote()
	w.svc.Spec.LoadBalancerSourceRanges = []string{"10.0.0.0/8"}
	w.wantFinding(w.served(), model.ReasonSecurityPolicyTaken, "fence")
	w.wantUnchanged()
	w.must(w.sim.Edit("virtualservice", "admin", amfName, func(o map[string]any) { delete(o, "network_security_policy_ref") }))
	w.load()
	w.served()
	if got, want := w.wrote(), []string{"POST networksecuritypolicy 201", "PATCH virtualservice 200"}; !slices.Equal(got, want) {
		t.Errorf("writes %q, want %q", got, want)
	}
	heal := w.sim.Inject(fault{Method: "GET", Type: "virtualservice", Status: 500})
	w.svc.Spec.LoadBalancerSourceRanges = nil
	w.served()
	w.svc.Spec.LoadBalancerSourceRanges = []string{"10.0.0.0/8"}
	w.wrote()
	if o := w.serve(); o.State() != outcome.Failed {
		t.Errorf("not read, and yet: %+v", o)
	}
	w.wantUnchanged()
	heal()
	w.served()
}

// TestFieldsInLowerTiers: source ranges, affinity and drain timeouts can be had without an Enterprise licence, whether or not the
// Controller takes the fields of which schema and clients say different things.
func TestFieldsInLowerTiers(t *testing.T) {
	for _, tier := range []string{"BASIC", "ESSENTIALS"} {
		for _, refused := range []bool{true, false} {
			what := fmt.Sprintf("%s, contested fields refused: %v", tier, refused)
			w := newWorld(t)
			w.sim.SetLicenseTier(tier)
			w.sim.SetRule("tier-contested", refused)
			w.load()
			w.svc.Spec.Ports = w.svc.Spec.Ports[1:] // TCP
			w.allFields()
			w.svc.Annotations[translate.AnnotationDrainTimeout] = "30"
			o := w.serve()
			if o.State() != outcome.Done {
				t.Fatalf("%s: %+v", what, o.Failure())
			}
			want := slices.DeleteFunc(withFields("admin"), func(s string) bool { return strings.HasSuffix(s, sctpPool) })
			w.wantHeld(what, want...)
			if _, err := w.remove(); err != nil {
				t.Errorf("%s: %v", what, err)
			}
			w.wantHeld(what + ", removed")
		}
	}
}
