// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim"
)

// routeIDs are the ids of the routes in a VRF context.
func routeIDs(t *testing.T, sim *avisim.Server, vrf string) string {
	t.Helper()
	o, _ := sim.Object("vrfcontext", "admin", vrf)
	raw, err := json.Marshal(o["static_routes"])
	if err != nil {
		t.Fatal(err)
	}
	var list []struct {
		ID string `json:"route_id"`
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		t.Fatal(err)
	}
	ids := make([]string, len(list))
	for i, r := range list {
		ids[i] = r.ID
	}
	return strings.Join(ids, " ")
}

// After a change of the VRF context our routes leave the old one with the last pool under the cluster's name, and nobody else's do.
func TestStrayRoutesGo(t *testing.T) {
	for _, tt := range []struct {
		what string
		pool map[string]any // that is in the old one
	}{
		{"ours", map[string]any{"name": "c1--core-amf-SCTP-38412", "vrf_ref": "/api/vrfcontext?name=blue"}},
		{"another's of the same cluster", map[string]any{"name": "c1--default-web", "vrf_ref": "/api/vrfcontext?name=blue"}},
	} {
		t.Run(tt.what, func(t *testing.T) {
			r, sim, s := routesOn(t)
			foreign := func(id, addr, cluster string) map[string]any {
				return map[string]any{"route_id": id, "next_hop": map[string]any{"addr": "10.0.0.9", "type": "V4"},
					"prefix": map[string]any{"ip_addr": map[string]any{"addr": addr, "type": "V4"}, "mask": 24},
					"labels": []any{map[string]any{"key": "clustername", "value": cluster}}}
			}
			if _, err := sim.Create("vrfcontext", "admin", map[string]any{"name": "blue",
				"static_routes": []any{foreign("theirs-1", "10.9.1.0", "c10"), foreign("c1-ako-0", "10.244.1.0", "c1")}}); err != nil {
				t.Fatal(err)
			}
			if err := r.Mirror.Load(t.Context()); err != nil {
				t.Fatal(err)
			}
			blue := *s
			blue.VRF = "blue"
			r.Sync(t.Context(), input(&blue, 1, 2), never(t))
			if got := routeIDs(t, sim, "blue"); got != "theirs-1 c1-ako-0 c1-uid-2-0" {
				t.Fatalf("blue has %s", got)
			}
			tt.pool["cloud_ref"] = "/api/cloud?name=Default-Cloud"
			uuid, err := sim.Create("pool", "admin", tt.pool)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				out := r.Sync(t.Context(), input(s, 1, 2), never(t))
				old, now := routeIDs(t, sim, "blue"), routeIDs(t, sim, "global")
				if out.Err != nil || old != "theirs-1 c1-ako-0 c1-uid-2-0" || now != "c1-uid-1-0 c1-uid-2-0" {
					t.Fatalf("%v; with a pool there, blue has %s, global %s", out.Err, old, now)
				}
			}
			if err := r.Client.Delete(t.Context(), model.Pool, "admin", uuid); err != nil {
				t.Fatal(err)
			}
			for what, f := range map[string]avisim.Fault{
				"no list of pools":    {Method: "GET", Type: "pool", Status: 503},
				"no list of contexts": {Method: "GET", Route: "/api/vrfcontext", Status: 403},
			} {
				remove := sim.Inject(f)
				if out := r.Sync(t.Context(), input(s, 1, 2), never(t)); out.Err == nil || !strings.Contains(routeIDs(t, sim, "blue"), "c1-uid-2-0") {
					t.Errorf("%s: %v; blue has %s", what, out.Err, routeIDs(t, sim, "blue"))
				}
				remove()
			}
			r.DryRun = true
			if out := r.Sync(t.Context(), input(s, 1, 2), never(t)); out.Err == nil || !strings.Contains(routeIDs(t, sim, "blue"), "c1-uid-2-0") {
				t.Errorf("a dry run: %v; blue has %s", out.Err, routeIDs(t, sim, "blue"))
			}
			r.DryRun = false
			out := r.Sync(t.Context(), input(s, 1, 2), never(t))
			if got := routeIDs(t, sim, "blue"); out.Err != nil || got != "theirs-1" || len(out.Steps) != 2 {
				t.Errorf("%v; blue has %s; %v", out.Err, got, out.Steps)
			}
			sim.ResetRequests()
			if out := r.Sync(t.Context(), input(s, 1, 2), never(t)); out.Err != nil || len(sim.Requests()) != 2 {
				t.Errorf("%v; looking again costs %d requests", out.Err, len(sim.Requests()))
			}
		})
	}
}

// A pool of a tier-1 router keeps that router's routes, and one of which nothing is known keeps all.
func TestStrayRoutesOfATier1Router(t *testing.T) {
	r, sim, s := routesOn(t)
	ours := map[string]any{"route_id": "c1-uid-1-0", "next_hop": map[string]any{"addr": "10.0.0.1", "type": "V4"},
		"prefix": map[string]any{"ip_addr": map[string]any{"addr": "10.244.1.0", "type": "V4"}, "mask": 24},
		"labels": []any{map[string]any{"key": "clustername", "value": "c1"}}}
	if _, err := sim.Create("vrfcontext", "admin", map[string]any{"name": "t1", "static_routes": []any{ours},
		"attrs": []any{map[string]any{"key": "tier1path", "value": "/infra/tier-1s/a"}}}); err != nil {
		t.Fatal(err)
	}
	if err := r.Mirror.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	uuid, err := sim.Create("pool", "admin", map[string]any{"name": "c1--core-amf", "cloud_ref": "/api/cloud?name=Default-Cloud"})
	if err != nil {
		t.Fatal(err)
	}
	if err := sim.Edit("pool", "admin", "c1--core-amf", func(m map[string]any) {
		delete(m, "vrf_ref")
		m["tier1_lr"] = "/infra/tier-1s/a"
	}); err != nil {
		t.Fatal(err)
	}
	if out := r.Sync(t.Context(), input(s, 1), never(t)); out.Err != nil || routeIDs(t, sim, "t1") != "c1-uid-1-0" {
		t.Errorf("%v; the router's VRF context has %q", out.Err, routeIDs(t, sim, "t1"))
	}
	remove := sim.Inject(avisim.Fault{Method: "GET", Type: "pool", Status: 200, Body: `{"count":1,"results":[{"name":"c1--core-amf","uuid":"pool-1"}]}`})
	if out := r.Sync(t.Context(), input(s, 1), never(t)); out.Err != nil || routeIDs(t, sim, "t1") != "c1-uid-1-0" {
		t.Errorf("%v; the router's VRF context has %q", out.Err, routeIDs(t, sim, "t1"))
	}
	remove()
	if err := r.Client.Delete(t.Context(), model.Pool, "admin", uuid); err != nil {
		t.Fatal(err)
	}
	if out := r.Sync(t.Context(), input(s, 1), never(t)); out.Err != nil || routeIDs(t, sim, "t1") != "" {
		t.Errorf("%v; the router's VRF context has %q", out.Err, routeIDs(t, sim, "t1"))
	}
}
