// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/avi-l4-operator/avi-l4-operator/internal/mirror"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/outcome"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
)

func TestServe(t *testing.T) {
	w := newWorld(t)
	o := w.served()
	if o.Changes != (outcome.Changes{Created: 5}) || !o.Known() || o.Waiting() || o.Retry() != nil {
		t.Errorf("the first run: %+v", o)
	}
	if o.Name != amfName || o.Tenant != "admin" || o.VSUUID == "" || len(o.Addresses) != 1 || o.Health != nil {
		t.Errorf("serves %+v", o.Serving)
	}
	if want := []model.Port{{Number: 80, Protocol: "TCP"}, {Number: 38412, Protocol: "SCTP"}}; !slices.Equal(o.Ports, want) {
		t.Errorf("ports %v, want %v", o.Ports, want)
	}
	if got := o.Backends[model.Port{Number: 80, Protocol: "TCP"}]; !slices.Equal(got, []string{"amf"}) {
		t.Errorf("behind TCP 80: %v", got)
	}
	w.wantHeld("served", all("admin")...)

	w.wrote()
	if o = w.served(); o.Changes.Any() || w.wrote() != nil {
		t.Errorf("a second run changes something: %+v", o.Changes)
	}
	w.svc.Spec.Ports = w.svc.Spec.Ports[:1]
	if o = w.served(); o.Changes.Deleted != 1 || o.Changes.Created != 0 || len(o.Ports) != 1 {
		t.Errorf("after a port went: %+v, ports %v", o.Changes, o.Ports)
	}
	w.must(w.mirror.LoadHealth(t.Context()))
	if o = w.served(); o.Health == nil || o.Health.State == "" {
		t.Errorf("the health isn't told: %+v", o.Health)
	}
}

// TestDecidedUnread: a run that began before the Controller was read changes nothing, even if it was read meanwhile.
func TestDecidedUnread(t *testing.T) {
	w := newWorld(t)
	w.served()
	w.wrote()
	ctx := Unread(t.Context())
	w.svc.Spec.Ports = w.svc.Spec.Ports[:1]
	if o := w.engine.Serve(ctx, w.input()); o.State() != outcome.Unread || !errors.Is(o.Retry(), mirror.ErrNotLoaded) {
		t.Errorf("outcome %+v", o)
	}
	owner := w.input().Owner.Key()
	if _, err := w.engine.Remove(ctx, owner, "admin", amfName, "the test says so"); !errors.Is(err, mirror.ErrNotLoaded) {
		t.Errorf("removing: %v", err)
	}
	if did := w.wrote(); did != nil {
		t.Errorf("it wrote %v", did)
	}
	w.wantHeld("as before", all("admin")...)
}

// TestUnread: of a Controller that was not read nothing is concluded, and nothing is asked of it.
func TestUnread(t *testing.T) {
	w := unreadWorld(t)
	o := w.serve()
	if o.State() != outcome.Unread || o.Known() || !o.Waiting() || !errors.Is(o.Retry(), mirror.ErrNotLoaded) {
		t.Errorf("outcome %+v", o)
	}
	if f := o.Failure(); f.Reason != model.ReasonControllerDown || f.Class != outcome.Transient || f.Message == "" {
		t.Errorf("failure %+v", f)
	}
	if _, err := w.remove(); !errors.Is(err, mirror.ErrNotLoaded) {
		t.Errorf("removing: %v", err)
	}
	if got := w.sim.Requests(); len(got) != 0 {
		t.Errorf("the Controller was asked: %+v", got)
	}
}

// TestBlocked: what can't be planned changes nothing, and what serves goes on.
func TestBlocked(t *testing.T) {
	w := newWorld(t)
	w.served()
	w.wrote()
	w.svc.Spec.Ports = []corev1.ServicePort{{Name: "x", Port: 7, Protocol: "DCCP"}}
	o := w.serve()
	if o.State() != outcome.Blocked || !o.Known() || o.Retry() != nil || o.VSUUID == "" || w.wrote() != nil {
		t.Errorf("outcome %+v, writes %v", o, w.wrote())
	}
	w.wantHeld("blocked", all("admin")...)
}

// TestAnotherRound: where the Controller turns out to hold something else, the same run plans anew.
func TestAnotherRound(t *testing.T) {
	for name, c := range map[string]struct {
		fault   fault
		removed bool // the pool, behind the mirror's back
		writes  []string
	}{
		"the copy is old": {
			fault:  fault{Method: "PATCH", Type: "pool", Status: 412, Count: 1, Body: `{"error":"Need to reload object data"}`},
			writes: []string{"PATCH pool 412", "PATCH pool 200"},
		},
		"the answer is lost": {
			fault:  fault{Method: "PATCH", Type: "pool", ResetAfter: true, Count: 1},
			writes: []string{"PATCH pool 0", "PATCH pool 200"},
		},
		"the object is gone": {removed: true, writes: []string{"PATCH pool 404", "POST pool 201", "PATCH l4policyset 200"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.served()
			w.must(w.sim.Edit("pool", "admin", tcpPool, func(o map[string]any) { o["sni_enabled"] = true }))
			w.load()
			if c.removed {
				w.must(w.sim.Remove("pool", "admin", tcpPool))
			} else {
				w.sim.Inject(c.fault)
			}
			w.wrote()
			w.served()
			if got := w.wrote(); !slices.Equal(got, c.writes) {
				t.Errorf("writes %q, want %q", got, c.writes)
			}
			w.wantHeld("afterwards", all("admin")...)
		})
	}
}

// TestRoundsAreBounded: a Controller that contradicts itself for ever costs a few calls and a failure.
func TestRoundsAreBounded(t *testing.T) {
	w := newWorld(t)
	w.served()
	w.must(w.sim.Edit("pool", "admin", tcpPool, func(o map[string]any) { o["sni_enabled"] = true }))
	w.load()
	w.wrote()
	w.sim.Inject(fault{Method: "PATCH", Type: "pool", Status: 412, Body: `{"error":"Need to reload object data"}`})
	o := w.serve()
	if got := w.wrote(); len(got) != rounds {
		t.Errorf("writes %q, want %d", got, rounds)
	}
	w.wantFailure(o, model.ReasonControllerRefused, outcome.Conflict, model.Pool, "Need to reload")
}

// TestNotKept: a Controller that takes a change and doesn't keep it is not asked again and again.
func TestNotKept(t *testing.T) {
	w := newWorld(t)
	w.served()
	w.must(w.sim.Edit("pool", "admin", tcpPool, func(o map[string]any) { o["sni_enabled"] = true }))
	w.load()
	old, ok := w.sim.Object("pool", "admin", tcpPool)
	if !ok {
		t.Fatal("there is no pool")
	}
	w.wrote()
	w.sim.Inject(fault{Method: "PATCH", Type: "pool", Status: 200, Body: encode(t, old)})
	o := w.serve()
	if got := w.wrote(); len(got) != 1 || o.State() != outcome.Failed || !strings.Contains(o.Failure().Message, "doesn't keep") {
		t.Errorf("writes %q, failure %+v", got, o.Failure())
	}
}

// TestRefusedPool: a port whose pool the Controller never takes is left out, for its neighbours' sake.
func TestRefusedPool(t *testing.T) {
	w := newWorld(t)
	heal := w.refuse("POST", "TCP-80$")
	o := w.served()
	w.wantFinding(o, model.ReasonPortRefused, "not allowed")
	if f := o.Findings[0]; f.Severity != model.Blocked || f.Port != (model.Port{Number: 80, Protocol: "TCP"}) {
		t.Errorf("findings %+v", o.Findings)
	}
	if !o.Refused || !o.Forbidden || !o.Waiting() || o.Retry() != nil || len(o.Ports) != 1 {
		t.Errorf("outcome %+v", o)
	}
	w.wantHeld("one port is refused", slices.DeleteFunc(all("admin"), func(s string) bool { return strings.HasSuffix(s, "TCP-80") })...)

	heal()
	if o = w.served(); o.Refused || o.Forbidden || o.Changes.Created != 1 || len(o.Ports) != 2 {
		t.Errorf("the Controller takes it again: %+v", o)
	}
	w.wantHeld("no port is refused", all("admin")...)
}

// TestAllPoolsRefused: with no port left there is nothing to serve, and the owner says so.
func TestAllPoolsRefused(t *testing.T) {
	w := newWorld(t)
	w.refuse("POST", "")
	o := w.serve()
	if o.State() != outcome.Blocked || !o.Refused || !o.Waiting() {
		t.Errorf("state %d, refused %v, failure %+v", o.State(), o.Refused, o.Failure())
	}
}

// TestTenantIsKept: a namespace that moves to another tenant takes what serves with it only if that may be interrupted.
func TestTenantIsKept(t *testing.T) {
	w := newWorld(t)
	w.must(w.sim.AddTenant("green"))
	w.load()
	w.served()
	w.wrote()
	w.ns.Annotations[translate.AnnotationTenant] = "green"
	o := w.served()
	w.wantFinding(o, model.ReasonNeedsReplacement, "tenant: admin -> green")
	w.wantUnchanged()
	if o.Tenant != "admin" {
		t.Errorf("tenant %s", o.Tenant)
	}
	w.svc.Spec.Ports = w.svc.Spec.Ports[:1]
	if o = w.served(); o.Changes.Deleted != 1 {
		t.Errorf("what serves elsewhere no longer follows: %+v", o.Changes)
	}
	w.svc.Spec.Ports = append(w.svc.Spec.Ports, corev1.ServicePort{Name: "http", Port: 80, Protocol: corev1.ProtocolTCP})
	w.svc.Annotations[translate.AnnotationAllowReplacement] = "true"
	if o = w.served(); o.Tenant != "green" || len(o.Findings) != 0 {
		t.Errorf("tenant %s, findings %+v", o.Tenant, o.Findings)
	}
	w.wantHeld("moved", all("green")...)
}

// TestLostAnswers: each write's answer is lost once, before or after the work is done. The run converges, with one of each.
func TestLostAnswers(t *testing.T) {
	for _, kind := range model.Written {
		if kind == model.PoolGroup {
			continue // only Gateways have any
		}
		for when, f := range map[string]fault{"before": {ResetBefore: true}, "after": {ResetAfter: true}} {
			t.Run(string(kind)+" "+when, func(t *testing.T) {
				w := newWorld(t)
				w.allFields()
				f.Method, f.Type, f.Count = "POST", string(kind), 1
				w.sim.Inject(f)
				w.served()
				w.wantHeld("created", withFields("admin")...)
				f.Method = "DELETE"
				w.sim.Inject(f)
				if _, err := w.remove(); err != nil {
					t.Errorf("removing: %v", err)
				}
				w.wantHeld("removed")
				if n := w.sim.FaultHits(); n != 2 {
					t.Errorf("the faults struck %d times", n)
				}
			})
		}
	}
}

// TestNameTaken: an object of somebody else's stays as it is, and the outcome names it. A pool's name costs its port only.
func TestNameTaken(t *testing.T) {
	for kind, body := range map[string]map[string]any{
		"pool":           {"name": tcpPool, "created_by": "bob"},
		"vsvip":          {"name": amfName, "vip": []any{map[string]any{"vip_id": "0", "auto_allocate_ip": true}}},
		"l4policyset":    {"name": amfName, "created_by": "bob"},
		"virtualservice": {"name": amfName, "created_by": "bob", "services": []any{map[string]any{"port": 80}}},
	} {
		t.Run(kind, func(t *testing.T) {
			w := newWorld(t)
			if _, err := w.sim.Create(kind, "admin", body); err != nil {
				t.Fatal(err)
			}
			name, _ := body["name"].(string)
			before, _ := w.sim.Object(kind, "admin", name)
			o := w.serve()
			if kind == "pool" {
				w.wantFinding(o, model.ReasonPortRefused, "created by bob")
			} else {
				w.wantFailure(o, model.ReasonNameTaken, outcome.Terminal, model.Kind(kind), "isn't this operator's")
			}
			if after, _ := w.sim.Object(kind, "admin", name); encode(t, after) != encode(t, before) {
				t.Error("somebody else's object was changed")
			}
			if _, err := w.remove(); err != nil {
				t.Errorf("removing: %v", err)
			}
			left := []string{kind + " admin/" + name}
			if kind == "virtualservice" {
				left = append(left, "vsvip admin/"+amfName) // it may be bob's, whose VirtualService has the name
			}
			w.wantHeld("removed", left...)
		})
	}
}

// TestSameNameAsAnotherOwner: the owner that serves under a name keeps it, whichever came first.
func TestSameNameAsAnotherOwner(t *testing.T) {
	w := newWorld(t)
	w.served()
	w.wrote()
	w.ns.Name, w.svc.Namespace, w.svc.Name = "core-amf", "core-amf", "x"
	w.served()
	w.svc.Namespace, w.svc.Name = "core", "amf-x" // c1--core-amf-x as well
	w.wrote()
	o := w.serve()
	w.wantFinding(o, model.ReasonNameTaken, "Service core-amf/x")
	w.wantUnchanged()
	if o.State() != outcome.Blocked || o.VSUUID != "" {
		t.Errorf("state %d, serves %+v", o.State(), o.Serving)
	}
}

// TestReplacedOnce: a Controller that doesn't give what is asked for is not made to interrupt traffic for it again.
func TestReplacedOnce(t *testing.T) {
	w := newWorld(t)
	w.svc.Annotations[translate.AnnotationLoadBalancerIP] = "10.10.0.50"
	w.served()
	first, _ := w.sim.Object("vsvip", "admin", amfName)
	w.wrote()

	w.svc.Annotations[translate.AnnotationLoadBalancerIP] = "10.10.0.60"
	o := w.served()
	w.wantFinding(o, model.ReasonNeedsReplacement, "10.10.0.50 from network vip-network -> 10.10.0.60")
	w.wantUnchanged()
	if o.Addresses[0].String() != "10.10.0.50" {
		t.Errorf("without consent: addresses %v", o.Addresses)
	}
	w.svc.Annotations[translate.AnnotationAllowReplacement] = "true"
	o = w.served()
	if o.Addresses[0].String() != "10.10.0.60" || o.Changes.Deleted != 2 || o.Changes.Created != 2 {
		t.Errorf("with consent: addresses %v, changes %+v", o.Addresses, o.Changes)
	}

	w.must(w.sim.Edit("vsvip", "admin", amfName, func(v map[string]any) { v["vip"] = first["vip"] }))
	w.load()
	w.wrote()
	w.wantFinding(w.served(), model.ReasonNeedsReplacement, "was replaced and is still not")
	w.wantUnchanged()
}

func TestRemove(t *testing.T) {
	w := newWorld(t)
	w.served()
	if !w.engine.Holds(amf, amfName) || w.engine.VirtualServices() != 1 {
		t.Error("nothing is held")
	}
	if n, err := w.remove(); n != 5 || err != nil {
		t.Errorf("removed %d: %v", n, err)
	}
	w.wantHeld("removed")
	w.wrote()
	if n, err := w.remove(); n != 0 || err != nil || w.wrote() != nil {
		t.Errorf("removing nothing: %d, %v", n, err)
	}
	if w.engine.Holds(amf, amfName) || w.engine.VirtualServices() != 0 {
		t.Error("something is held")
	}
}

// TestRemoveFindsALostVsVip: its creation's answer was lost, and its markers don't say whose it is.
func TestRemoveFindsALostVsVip(t *testing.T) {
	w := newWorld(t)
	w.sim.Inject(fault{Method: "POST", Type: "vsvip", ResetAfter: true})
	w.sim.Inject(fault{Method: "GET", Type: "vsvip", Status: 503})
	w.sim.Inject(fault{Method: "POST", Type: "virtualservice", Status: 503})
	if o := w.serve(); o.State() != outcome.Failed {
		t.Fatalf("state %d", o.State())
	}
	w.sim.ClearFaults()
	if _, err := w.remove(); err != nil {
		t.Fatal(err)
	}
	w.wantHeld("removed with the rest")

	w.sim.Inject(fault{Method: "POST", Type: "vsvip", ResetAfter: true})
	w.sim.Inject(fault{Method: "POST", Type: "pool", Status: 503})
	w.sim.Inject(fault{Method: "GET", Type: "vsvip", Status: 503})
	w.serve()
	w.wantHeld("only the VsVip is there", "vsvip admin/"+amfName)
	if _, err := w.remove(); err == nil {
		t.Error("a VsVip that can't be looked for is taken for absent")
	}
	w.sim.ClearFaults()
	n, err := w.remove()
	for end := time.Now().Add(10 * time.Second); err != nil && time.Now().Before(end); n, err = w.remove() {
		time.Sleep(50 * time.Millisecond) // the failures may have opened the client's breaker, which probes after a second
	}
	if n != 1 || err != nil {
		t.Errorf("removed %d: %v", n, err)
	}
	w.wantHeld("removed alone")
}

// TestRemoveSaysWhatIsLeft: nil means that nothing is left, and only that.
func TestRemoveSaysWhatIsLeft(t *testing.T) {
	w := newWorld(t)
	w.served()
	w.refuse("DELETE", "TCP-80$")
	n, err := w.remove()
	if n != 4 || err == nil || !strings.Contains(err.Error(), "delete Pool admin/"+tcpPool) {
		t.Errorf("removed %d: %v", n, err)
	}
	w.wantHeld("one is left", "pool admin/"+tcpPool)
}

func TestDryRun(t *testing.T) {
	w := newWorld(t)
	w.engine.DryRun = true
	var dry *RestrainedError
	o := w.serve()
	w.wantFailure(o, model.ReasonDryRun, outcome.Terminal, "", "5 to create")
	if !errors.As(o.Retry(), &dry) {
		t.Errorf("is tried again because of %v", o.Retry())
	}
	w.engine.DryRun = false
	w.served()
	w.wrote()
	w.engine.DryRun = true
	if o = w.served(); o.Changes.Any() {
		t.Errorf("nothing to do: %+v", o.Changes)
	}
	if n, err := w.remove(); n != 0 || !errors.As(err, &dry) || !strings.Contains(dry.Plan, "5 to delete") {
		t.Errorf("removing: %d, %v", n, err)
	}
	w.wantUnchanged()
	w.wantHeld("afterwards", all("admin")...)
}

// TestRestraints: what an owner's annotation holds is reported as the flag's dry run is, and neither prevents a deletion.
func TestRestraints(t *testing.T) {
	for annotation, want := range map[string]struct{ reason, plan string }{
		translate.AnnotationPaused: {model.ReasonPaused, ""},
		translate.AnnotationDryRun: {model.ReasonDryRun, "5 to create"},
	} {
		w := newWorld(t)
		w.svc.Annotations[annotation] = "true"
		o := w.serve()
		w.wantFailure(o, want.reason, outcome.Terminal, "", "while annotation "+annotation+" is set")
		if text := o.Failure().Message; !strings.Contains(text, want.plan) || want.plan == "" && strings.Contains(text, "to create") {
			t.Errorf("%s: %s", annotation, text)
		}
		w.wantUnchanged() // not even the record of whose the name is
		w.svc.Annotations[annotation] = "false"
		w.served()
		w.wrote()

		w.svc.Annotations[annotation] = "true"
		w.svc.Spec.Ports = w.svc.Spec.Ports[:1]
		o = w.serve()
		w.wantFailure(o, want.reason, outcome.Terminal, "", annotation)
		if o.VSUUID == "" || len(o.Ports) == 0 || len(o.Addresses) == 0 {
			t.Errorf("%s: what serves isn't told: %+v", annotation, o.Serving)
		}
		kept := w.engine.Kept(amf, amfName, "the test says so", w.input().Owner.Restraint())
		if Reason(kept) != want.reason || strings.Contains(kept.Error(), "5 to delete") != (want.plan != "") {
			t.Errorf("%s: kept because %v", annotation, kept)
		}
		w.wantUnchanged()
		if n, err := w.remove(); n != 5 || err != nil {
			t.Errorf("%s: removed %d: %v", annotation, n, err)
		}
	}
}

// TestFailureIsSmall: of several failures the gravest is reported; what could be done is done.
func TestFailureIsSmall(t *testing.T) {
	w := newWorld(t)
	w.sim.Inject(fault{Method: "POST", Type: "vsvip", Status: 400, Body: `{"error":"bad vip"}`})
	w.sim.Inject(fault{Method: "POST", Type: "pool", ObjectName: regexp.MustCompile("TCP-80$"), Status: 500, Body: `{"error":"oh"}`})
	o := w.serve()
	w.wantFailure(o, model.ReasonControllerRefused, outcome.Terminal, model.VsVip, "bad vip")
	if got := Classify(o.Retry()); got != outcome.Transient {
		t.Errorf("is tried again as class %d: %v", got, o.Retry())
	}
	w.wantHeld("the other pool", "pool admin/"+sctpPool)
}

// TestAddressIsAwaited: an address that the Controller's IPAM gives later is read when it is asked for.
func TestAddressIsAwaited(t *testing.T) {
	w := newWorld(t)
	w.served()
	o := w.served()
	o.Addresses = nil
	if !o.AddressPending() {
		t.Fatal("the address isn't pending")
	}
	if err := w.engine.RefreshAddress(t.Context(), &o.Serving); err != nil || o.AddressPending() {
		t.Errorf("addresses %v: %v", o.Addresses, err)
	}
	w.must(w.sim.Remove("virtualservice", "admin", amfName))
	w.must(w.sim.Remove("vsvip", "admin", amfName))
	if err := w.engine.RefreshAddress(t.Context(), &o.Serving); err == nil {
		t.Error("the address of a VsVip that is gone")
	}
}

func encode(t *testing.T, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
