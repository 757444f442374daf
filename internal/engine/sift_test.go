// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/avi-l4-operator/avi-l4-operator/internal/staticroutes"
)

// refuser is a Controller that doesn't like routes with some prefixes.
type refuser struct {
	bad    []string // beginnings of addresses
	names  bool     // it says which
	puts   int
	always bool
}

func (r *refuser) refuse(body string) string {
	r.puts++
	if r.always {
		return "no"
	}
	for _, b := range r.bad {
		if strings.Contains(body, `"`+b+`.0"`) {
			if r.names {
				return fmt.Sprintf("Field check for static_routes failed: prefix %s.0/24", b)
			}
			return "Field check for static_routes failed"
		}
	}
	return ""
}

func upTo(n int) (out []int) {
	for i := 1; i <= n; i++ {
		out = append(out, i)
	}
	return out
}

// refusedNodes are the nodes that a run reported, and the pods of which Services say that no route leads to them.
func refusedNodes(t *testing.T, r *Routes, out RoutesOutcome, all int) (told, unreached []string) {
	t.Helper()
	for _, p := range out.Problems {
		if p.Reason == staticroutes.ReasonRouteRefused {
			told = append(told, p.Node)
		}
	}
	for _, i := range upTo(all) {
		pods := []staticroutes.Pod{{Addr: netip.MustParseAddr(fmt.Sprintf("10.244.%d.9", i))}}
		if r.Reach().Finding("", "", pods) != nil {
			unreached = append(unreached, fmt.Sprintf("node-%d", i))
		}
	}
	slices.Sort(told)
	slices.Sort(unreached)
	return told, unreached
}

// One route that the Controller won't take doesn't keep the others out, and the node that it is about is reported.
func TestRefusedRoutesAreSifted(t *testing.T) {
	for _, tt := range []struct {
		what  string
		c     refuser
		nodes int
		bad   []string
		most  int // writes
	}{
		{"named", refuser{bad: []string{"10.244.7"}, names: true}, 100, []string{"node-7"}, 2},
		{"one of 100, not named", refuser{bad: []string{"10.244.7"}}, 100, []string{"node-7"}, 15},
		{"two, not named", refuser{bad: []string{"10.244.7", "10.244.90"}}, 100, []string{"node-7", "node-90"}, siftWrites + 1},
		{"the only one", refuser{bad: []string{"10.244.1"}}, 1, []string{"node-1"}, 1},
	} {
		t.Run(tt.what, func(t *testing.T) {
			c := &tt.c
			r, sim, s := routesBehind(t, c.refuse)
			out := r.Sync(t.Context(), input(s, upTo(tt.nodes)...), never(t))
			told, unreached := refusedNodes(t, r, out, tt.nodes)
			if out.Err != nil || !slices.Equal(told, tt.bad) || !slices.Equal(unreached, tt.bad) {
				t.Errorf("%v; told %v, unreached %v, want %v", out.Err, told, unreached, tt.bad)
			}
			if n := len(strings.Fields(stand(sim))); n != tt.nodes-len(tt.bad) || out.Ours != n || len(out.Steps) != n {
				t.Errorf("%d routes stand, %d of %d; %d steps", n, out.Ours, tt.nodes, len(out.Steps))
			}
			if c.puts > tt.most {
				t.Errorf("%d writes, want %d or fewer", c.puts, tt.most)
			}
			// Again: a bounded number of writes, and a node that comes has its route at once.
			c.puts = 0
			out = r.Sync(t.Context(), input(s, append(upTo(tt.nodes), 101)...), never(t))
			told, _ = refusedNodes(t, r, out, tt.nodes)
			if !slices.Equal(told, tt.bad) || !strings.Contains(stand(sim), "10.244.101.0") || c.puts > siftAgainWrites+1 {
				t.Errorf("%v; told %v, %d writes, routes %s", out.Err, told, c.puts, stand(sim))
			}
			c.puts = 0
			out = r.Sync(t.Context(), input(s, append(upTo(tt.nodes), 101)...), never(t))
			if c.puts > siftAgainWrites || len(out.Steps) > 0 {
				t.Errorf("%d writes for what is known to be refused; %v", c.puts, out.Steps)
			}
			c.bad = nil
			out = r.Sync(t.Context(), input(s, append(upTo(tt.nodes), 101)...), never(t))
			if told, unreached = refusedNodes(t, r, out, tt.nodes); out.Err != nil || len(told)+len(unreached) > 0 {
				t.Errorf("nothing is refused any more: %v, told %v, unreached %v", out.Err, told, unreached)
			}
		})
	}
}

// A Controller that takes none is not written to without end, and a removal is made all the same once it takes some.
func TestRefusedRoutesOfAll(t *testing.T) {
	c := &refuser{}
	r, sim, s := routesBehind(t, c.refuse)
	r.Sync(t.Context(), input(s, 1, 2), never(t))
	c.always, c.puts = true, 0
	out := r.Sync(t.Context(), input(s, upTo(200)...), never(t))
	told, unreached := refusedNodes(t, r, out, 200)
	if len(told) != 198 || len(unreached) != 198 || c.puts > siftWrites+1 || stand(sim) != "10.244.1.0 10.244.2.0" {
		t.Errorf("%v; told %d, unreached %d, %d writes, routes %s", out.Err, len(told), len(unreached), c.puts, stand(sim))
	}
	c.puts = 0
	if r.Sync(t.Context(), input(s, upTo(200)...), never(t)); c.puts > siftAgainWrites {
		t.Errorf("%d writes", c.puts)
	}
	// A limit of routes: as many as fit are there after some runs.
	c.always = false
	for range 60 {
		out = r.Sync(t.Context(), input(s, upTo(200)...), never(t))
	}
	if n := len(strings.Fields(stand(sim))); n != 200 || out.Err != nil || len(out.Problems) > 0 {
		t.Errorf("%d routes, %v, %v", n, out.Err, out.Problems)
	}
}

// A next hop that is refused leaves the old one, and other changes are made.
func TestRefusedChange(t *testing.T) {
	c := &refuser{}
	r, sim, s := routesBehind(t, c.refuse)
	r.Sync(t.Context(), input(s, 1, 2, 3), never(t))
	c.bad = []string{"10.9.9"}
	in := input(s, 1, 2, 4)
	in.Nodes[0].Status.Addresses[0].Address = "10.9.9.0"
	out := r.Sync(t.Context(), in, gone(in))
	told, unreached := refusedNodes(t, r, out, 2)
	if fmt.Sprint(told) != "[node-1]" || fmt.Sprint(unreached) != "[node-1]" || stand(sim) != "10.244.1.0 10.244.2.0 10.244.4.0" {
		t.Errorf("%v; told %v, unreached %v, routes %s", out.Err, told, unreached, stand(sim))
	}
}

// gone is a confirm by which the API server says what the cache says.
func gone(in staticroutes.Input) func(context.Context) (staticroutes.Input, error) {
	return func(context.Context) (staticroutes.Input, error) { return in, nil }
}
