// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"maps"
	"testing"
	"time"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
)

// TestDriftIsCounted when others change or delete what is ours, once, and when it is repaired; not what they set besides, nor what
// the Service itself asks for.
func TestDriftIsCounted(t *testing.T) {
	type told struct {
		kind     model.Kind
		repaired bool
	}
	for name, c := range map[string]struct {
		others func(*world)
		want   map[told]int
	}{
		"nothing": {others: func(*world) {}},
		"a field of ours": {
			func(w *world) {
				w.must(w.sim.Edit("pool", "admin", tcpPool, func(o map[string]any) { o["sni_enabled"] = true }))
			},
			map[told]int{{model.Pool, false}: 1, {model.Pool, true}: 1},
		},
		"a field of theirs": {
			others: func(w *world) {
				w.must(w.sim.Edit("pool", "admin", tcpPool, func(o map[string]any) { o["description"] = "checked by the network team" }))
			},
		},
		"a deletion": {
			func(w *world) { w.must(w.sim.Remove("virtualservice", "admin", amfName)) },
			map[told]int{{model.VirtualService, false}: 1, {model.VirtualService, true}: 1},
		},
		"a new port of the Service": {
			others: func(w *world) { w.svc.Spec.Ports[1].Port = 8080 },
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.served()
			got, stages := map[told]int{}, map[Stage]int{}
			w.engine.Watch = Watch{
				Drift: func(kind model.Kind, repaired bool) { got[told{kind, repaired}]++ },
				Took:  func(s Stage, d time.Duration) { stages[s]++ },
			}
			w.load() // what was written since the first load is known
			c.others(w)
			w.load()
			w.served()
			w.load()
			w.served()
			if !maps.Equal(got, c.want) {
				t.Errorf("told %v, want %v", got, c.want)
			}
			if stages[Translate] < 2 || c.want != nil && stages[Apply] == 0 || stages[Plan] != stages[Translate] {
				t.Errorf("stages %v", stages)
			}
		})
	}
}
