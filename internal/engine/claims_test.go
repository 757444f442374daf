// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"strings"
	"testing"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/outcome"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
)

// finding is the message of the first finding with a reason; empty if there is none.
func finding(o outcome.Outcome, reason string) string {
	for _, f := range o.Findings {
		if f.Reason == reason {
			return f.Message
		}
	}
	return ""
}

// in is another Service's turn: in namespace, asking for a name in DNS and an address.
func (w *world) in(namespace, name, host, address string) outcome.Outcome {
	w.Helper()
	w.ns.Name, w.svc.Namespace, w.svc.Name = namespace, namespace, name
	w.svc.Annotations[translate.AnnotationHostname] = host
	w.svc.Spec.LoadBalancerIP = address
	return w.serve()
}

// TestNameOfAnother: a name in DNS belongs to the owner that has it; the second one says so, and gets the name when the first has let it
// go.
func TestNameOfAnother(t *testing.T) {
	const host = "amf.demo.avi.local"
	w := newWorld(t)
	w.cfg.AutoFQDN = settings.FQDNDefault
	if o := w.in("core", "mine", host, ""); len(o.FQDNs) != 1 || o.FQDNs[0] != host {
		t.Fatalf("names %v", o.FQDNs)
	}
	o := w.in("edge", "theirs", host, "")
	if m := finding(o, model.ReasonHostnameTaken); len(o.FQDNs) > 0 || !strings.Contains(m, "Service core/mine") || !o.Waiting() {
		t.Errorf("names %v, told %q, waiting %v", o.FQDNs, m, o.Waiting())
	}
	if o := w.in("core", "mine", host, ""); len(o.FQDNs) != 1 {
		t.Errorf("who had the name has %v", o.FQDNs)
	}
	if o := w.in("core", "sibling", host, ""); len(o.FQDNs) != 1 {
		t.Errorf("another Service of the namespace has %v", o.FQDNs)
	}
	for _, name := range []string{"mine", "sibling"} {
		owner := model.Owner{Kind: model.ServiceOwner, Namespace: "core", Name: name}
		if _, err := w.engine.Remove(t.Context(), owner, "admin", translate.VirtualServiceName(w.cfg, owner), "gone"); err != nil {
			t.Fatal(err)
		}
	}
	if o := w.in("edge", "theirs", host, ""); len(o.FQDNs) != 1 || finding(o, model.ReasonHostnameTaken) != "" {
		t.Errorf("names %v once it is free", o.FQDNs)
	}
	w.cfg.SharedFQDNs = true
	if o := w.in("core", "mine", host, ""); len(o.FQDNs) != 1 {
		t.Errorf("a shared name: %v", o.FQDNs)
	}
}

// TestReplacementOntoTakenAddress: consent to an interruption is no consent to an outage.
func TestReplacementOntoTakenAddress(t *testing.T) {
	w := newWorld(t)
	w.in("core", "x", "", "10.10.5.3")
	before := w.in("core", "live", "", "")
	w.svc.Annotations[translate.AnnotationAllowReplacement] = "true"
	o := w.in("core", "live", "", "10.10.5.3")
	if m := finding(o, model.ReasonNeedsReplacement); !strings.Contains(m, "address 10.10.5.3 is that of VsVip admin/c1--core-x") {
		t.Errorf("told %q", m)
	}
	if o.VSUUID != before.VSUUID || o.Addresses[0] != before.Addresses[0] || o.Changes.Any() || !o.Waiting() {
		t.Errorf("it serves %s on %v, changes %+v", o.VSUUID, o.Addresses, o.Changes)
	}
	x := model.Owner{Kind: model.ServiceOwner, Namespace: "core", Name: "x"}
	if _, err := w.engine.Remove(t.Context(), x, "admin", translate.VirtualServiceName(w.cfg, x), "gone"); err != nil {
		t.Fatal(err)
	}
	if o := w.in("core", "live", "", "10.10.5.3"); o.State() != outcome.Done || o.Addresses[0].String() != "10.10.5.3" {
		t.Errorf("once it is free: %v, %v", o.State(), o.Addresses)
	}
}

// TestRefusedReplacementIsUndone: the Controller refuses the new address, which somebody else has; the old one is put back.
func TestRefusedReplacementIsUndone(t *testing.T) {
	w := newWorld(t)
	_, err := w.sim.Create("vsvip", "admin", map[string]any{"name": "somebody's", "vip": []any{map[string]any{
		"vip_id": "0", "ip_address": map[string]any{"addr": "10.10.5.3", "type": "V4"}}}})
	w.must(err)
	before := w.in("core", "live", "", "")
	w.svc.Annotations[translate.AnnotationAllowReplacement] = "true"
	o := w.in("core", "live", "", "10.10.5.3")
	if o.State() != outcome.Failed || len(o.Addresses) != 1 || o.Addresses[0] != before.Addresses[0] {
		t.Fatalf("state %v, %v, address %v, before %v", o.State(), o.Failure().Message, o.Addresses, before.Addresses)
	}
	writes := len(w.sim.Writes())
	o = w.in("core", "live", "", "10.10.5.3")
	if len(w.sim.Writes()) != writes || finding(o, model.ReasonNeedsReplacement) == "" {
		t.Errorf("it is tried again and again: %v", o.Findings)
	}
}
