// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"slices"
	"strings"
	"testing"
)

// TestLostNetworkIsNamedAgain: an update that left out on which network an address is takes the VirtualService down, and naming the
// network again is what fixes that. Nothing is written while the Controller doesn't complain.
func TestLostNetworkIsNamedAgain(t *testing.T) {
	w := newWorld(t)
	w.served()
	w.must(w.sim.Edit("vsvip", "admin", amfName, func(o map[string]any) {
		vip := o["vip"].([]any)[0].(map[string]any)
		if vip["discovered_networks"] == nil {
			t.Fatal("the address is on no network to begin with")
		}
		delete(vip, "discovered_networks")
	}))
	w.load()
	w.wrote()
	w.served()
	if wrote := w.wrote(); len(wrote) > 0 {
		t.Errorf("without a complaint: %v", wrote)
	}
	w.must(w.mirror.LoadHealth(t.Context()))
	o := w.served()
	if wrote := w.wrote(); !slices.Equal(wrote, []string{"PATCH vsvip 200"}) {
		t.Errorf("wrote %v", wrote)
	}
	if o.Health == nil || !strings.Contains(o.Health.Reason, networkLost) {
		t.Errorf("health was %+v", o.Health)
	}
	w.must(w.mirror.LoadHealth(t.Context()))
	if o = w.served(); o.Health == nil || strings.Contains(o.Health.Reason, networkLost) {
		t.Errorf("health is %+v", o.Health)
	}
	if wrote := w.wrote(); len(wrote) > 0 {
		t.Errorf("afterwards: %v", wrote)
	}
}
