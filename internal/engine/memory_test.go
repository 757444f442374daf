// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/go-logr/logr"

	"github.com/avi-l4-operator/avi-l4-operator/internal/mirror"
	"github.com/avi-l4-operator/avi-l4-operator/internal/outcome"
)

// TestMirrorIsSmall: what the mirror keeps of a Service of two ports, which is five objects, is bounded. What it keeps for all of them
// together is left out, by comparing few with many.
func TestMirrorIsSmall(t *testing.T) {
	const few, many, mirrors, limit = 20, 220, 4, 4 << 10
	w := newWorld(t)
	made := 0
	serve := func(n int) {
		for ; made < n; made++ {
			w.svc = w.svc.DeepCopy()
			w.svc.Name = fmt.Sprintf("amf%03d", made)
			if o := w.serve(); o.State() != outcome.Done {
				t.Fatalf("%s: %+v", w.svc.Name, o.Failure())
			}
		}
	}
	heap := func() int64 {
		var m runtime.MemStats
		for range 3 {
			runtime.GC()
		}
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	load := func() *mirror.Mirror {
		m := mirror.New(w.engine.Applier.Client, logr.Discard())
		m.SetScope(mirror.Scope{ClusterName: "c1", CreatedBy: "ako-c1", Cloud: "Default-Cloud", Tenant: "admin"})
		w.must(m.Load(t.Context()))
		if n := len(m.All()); n != 5*made {
			t.Fatalf("there are %d objects", n)
		}
		w.sim.ResetRequests()
		return m
	}
	cost := func(n int) int64 {
		serve(n)
		kept := []*mirror.Mirror{load()} // what is made once and for all is made
		before := heap()
		for range mirrors {
			kept = append(kept, load())
		}
		after := heap()
		runtime.KeepAlive(kept)
		return (after - before) / mirrors
	}
	all := cost(few)
	each := (cost(many) - all) / (many - few)
	t.Logf("%d bytes a Service", each)
	if each < 500 || each > limit {
		t.Errorf("a Service costs %d bytes, more than %d", each, limit)
	}
}
