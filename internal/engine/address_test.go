// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/outcome"
)

// TestLostAddress: the Controller was restored, and the address in the status is somebody else's now. The Service takes another one,
// but none that is in the status of a Service which hasn't asked for it yet.
func TestLostAddress(t *testing.T) {
	t.Parallel()
	taken, free := netip.MustParseAddr("10.10.0.10"), netip.MustParseAddr("10.10.0.11")
	w := newWorld(t)
	_, err := w.sim.Create("vsvip", "admin", map[string]any{"name": "somebody-elses", "vip": []any{map[string]any{"vip_id": "0",
		"auto_allocate_ip": true, "ip_address": map[string]any{"addr": taken.String(), "type": "V4"}}}})
	w.must(err)
	in := w.input()
	in.Had = []netip.Addr{taken}
	w.engine.Statuses = func(context.Context) (map[netip.Addr]bool, error) {
		return map[netip.Addr]bool{taken: true, free: true}, nil
	}

	o := w.engine.Serve(t.Context(), in)
	if f := o.Failure(); o.State() != outcome.Failed || f.Reason != model.ReasonAddressLost || f.Class != outcome.Transient ||
		!strings.Contains(f.Message, "when others, which are without theirs, have asked for them (1)") {
		t.Fatalf("state %d, %+v", o.State(), f)
	}
	if len(w.sim.Objects("vsvip")) != 1 {
		t.Errorf("the Controller holds %v", w.holds())
	}
	w.svc = w.svc.DeepCopy()
	w.svc.Name = "smf"
	other := w.input()
	other.Had = []netip.Addr{free}
	if o := w.engine.Serve(t.Context(), other); o.State() != outcome.Done || o.Addresses[0] != free {
		t.Fatalf("state %d on %v: %+v", o.State(), o.Addresses, o.Failure())
	}
	o = w.engine.Serve(t.Context(), in)
	if o.State() != outcome.Done || len(o.Addresses) != 1 || o.Addresses[0] == taken || o.Addresses[0] == free {
		t.Errorf("state %d on %v: %+v", o.State(), o.Addresses, o.Failure())
	}
	if len(o.Findings) != 1 || o.Findings[0].Reason != model.ReasonAddressLost {
		t.Errorf("it says %+v", o.Findings)
	}
}

// TestLostAddressesDoNotWaitForEachOther, nor for ever.
func TestLostAddressesDoNotWaitForEachOther(t *testing.T) {
	t.Parallel()
	one, two := netip.MustParseAddr("10.10.0.10"), netip.MustParseAddr("10.10.0.11")
	e := &Engine{Statuses: func(context.Context) (map[netip.Addr]bool, error) {
		return map[netip.Addr]bool{one: true, two: true}, nil
	}}
	e.Mirror = newWorld(t).mirror
	r := run{Engine: e, asked: []netip.Addr{one}}
	waits := func() bool {
		n, err := r.awaited(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return r.patient() && n > 0
	}
	if r.patient(); !waits() {
		t.Error("the second one's address isn't waited for")
	}
	e.lost.Store(two, time.Now())
	if waits() {
		t.Error("one waits for two, to which its address was refused as well")
	}
	e.lost.Delete(two)
	e.lost.Store(one, time.Now().Add(-patience))
	if waits() {
		t.Error("it waits for ever")
	}
}
