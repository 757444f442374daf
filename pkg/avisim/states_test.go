// SPDX-License-Identifier: Apache-2.0

package avisim

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/doc"
)

// world is a server with a settable clock and what these tests ask it.
type stage struct {
	*testing.T
	*client
	s   *Server
	now *clock
}

func newStage(t *testing.T, d Dynamics) *stage {
	now := newClock()
	s, c := signedIn(t, Options{Now: now.now})
	s.SetDynamics(d)
	return &stage{t, c, s, now}
}

// state renders a VS as "STATE percent_ses_up primary": "UP 100 Avi-se-1".
func (w *stage) state(name string) string {
	w.Helper()
	o, _ := w.s.Object("virtualservice", "admin", name)
	rt := w.want(200, "GET", "/api/virtualservice/"+doc.Str(o, "uuid")+"/runtime?include_name", nil).body
	out := fmt.Sprintf("%s %d", strings.TrimPrefix(doc.Str(rt, "oper_status", "state"), "OPER_"), doc.Int(rt, "percent_ses_up"))
	sum := doc.Messages(rt["vip_summary"])[0]
	for _, e := range doc.Messages(sum["service_engine"]) {
		_, se, _ := strings.Cut(doc.Str(e, "url"), "#")
		if e["standby"] == true {
			se = "(" + se + ")"
		}
		out += " " + se
	}
	if n := doc.Int(sum, "num_se_assigned"); n > len(doc.Messages(sum["service_engine"])) {
		w.Errorf("%s: %d engines assigned, %v", name, n, sum)
	}
	return out
}

func (w *stage) expect(step string, want map[string]string) {
	w.Helper()
	for name, state := range want {
		if got := w.state(name); got != state {
			w.Errorf("%s: %s is %s, want %s", step, name, got, state)
		}
	}
}

func (w *stage) since(path string) time.Time {
	w.Helper()
	rt := w.want(200, "GET", path+"/runtime", nil).body
	t, _ := doc.At(rt, "oper_status", "last_changed_time").(map[string]any)
	return time.UnixMicro(int64(doc.Int(t, "secs"))*1e6 + int64(doc.Int(t, "usecs"))).UTC()
}

func (w *stage) group(name string, fields obj, engines ...string) {
	w.Helper()
	body := obj{"name": name}
	for k, v := range fields {
		body[k] = v
	}
	w.want(201, "POST", "/api/serviceenginegroup", body)
	for _, e := range engines {
		if _, err := w.s.Create("serviceengine", "admin", obj{"name": e, "se_group_ref": "/api/serviceenginegroup?name=" + name}); err != nil {
			w.Fatal(err)
		}
	}
}

// serve makes a VS with all its parts in a group.
func (w *stage) serve(name, group string) (vs string) {
	w.Helper()
	w.want(201, "POST", "/api/vsvip", vsvipBody(name))
	w.want(201, "POST", "/api/pool", poolBody(name, "10.20.1.1"))
	w.want(201, "POST", "/api/l4policyset", policyBody(name, name))
	body := vsBody(name, name, name)
	body["se_group_ref"] = "/api/serviceenginegroup?name=" + group
	return "/api/virtualservice/" + w.want(201, "POST", "/api/virtualservice", body).uuid()
}

func TestStateMachine(t *testing.T) {
	w := newStage(t, Dynamics{PlacementDelay: 10 * time.Second, Initialization: 5 * time.Second, Checks: true})
	vs := w.serve("a", "Default-Group")
	begin := w.since(vs)
	w.now.advance(time.Millisecond) // the writes' own microseconds are past
	for _, step := range []struct {
		wait time.Duration
		want string
		do   func()
		at   time.Duration // last_changed_time, after begin
	}{
		{0, "CREATING 0", nil, 0},
		{9 * time.Second, "CREATING 0", nil, 0},
		{time.Second, "INITIALIZING 100 Avi-se-1", nil, 10 * time.Second},
		{5 * time.Second, "INITIALIZING 100 Avi-se-1", nil, 10 * time.Second}, // now the servers are checked: 2 × 10 s
		{5 * time.Second, "UP 100 Avi-se-1", func() { w.s.SetServerHealth("10.20.1.1", 30100, false, "no INIT ACK") },
			20 * time.Second}, // since they were there
		{19 * time.Second, "UP 100 Avi-se-1", func() { w.s.SetServerHealth("10.20.1.1", 30100, true, ""); w.now.advance(time.Second) },
			20 * time.Second}, // flaps too fast to be seen
		{0, "UP 100 Avi-se-1", func() { w.s.SetServerHealth("10.20.1.1", 30100, false, "no INIT ACK") }, 20 * time.Second},
		{20 * time.Second, "DOWN 100 Avi-se-1", nil, 60 * time.Second},
		{0, "DOWN 100 Avi-se-1", func() { w.want(200, "PATCH", vs, obj{"replace": obj{"enabled": false}}) }, 60 * time.Second},
		{0, "DISABLED 0", func() { w.want(200, "PATCH", vs, obj{"replace": obj{"enabled": true}}) }, 60 * time.Second},
		{0, "CREATING 0", nil, 60 * time.Second},
	} {
		w.now.advance(step.wait)
		w.expect(fmt.Sprint("after ", w.now.now().Sub(begin).Round(time.Second)), map[string]string{"a": step.want})
		if got := w.since(vs).Sub(begin).Round(time.Second); got != step.at {
			t.Errorf("%s: last changed after %v, want %v", step.want, got, step.at)
		}
		if step.do != nil {
			step.do()
		}
	}
}

func TestEngines(t *testing.T) {
	w := newStage(t, Dynamics{Capacity: true})
	w.group("g", obj{"max_vs_per_se": 2}, "se-1", "se-2")
	paths := map[string]string{}
	for _, n := range []string{"a", "b", "c", "d", "e", "f"} {
		paths[n] = w.serve(n, "g")
	}
	w.expect("full", map[string]string{"a": "UP 100 se-1", "b": "UP 100 se-1", "c": "UP 100 se-2", "d": "UP 100 se-2", "e": "RESOURCES 0",
		"f": "RESOURCES 0"})
	if rt := w.want(200, "GET", paths["e"]+"/runtime", nil); !strings.Contains(rt.raw, "Service Engine Group g") {
		t.Error(rt.raw)
	}
	w.now.advance(time.Minute)
	w.want(204, "DELETE", paths["a"], nil)
	w.expect("one gone", map[string]string{"e": "UP 100 se-1", "f": "RESOURCES 0"})
	if got := w.since(paths["e"]); got.Before(w.now.now()) {
		t.Errorf("e is placed since %v", got)
	}
	w.want(200, "PATCH", paths["b"], obj{"replace": obj{"enabled": false}})
	w.expect("one disabled", map[string]string{"b": "DISABLED 0", "f": "UP 100 se-1"})
	w.want(200, "PATCH", paths["b"], obj{"replace": obj{"enabled": true}})
	w.expect("and enabled", map[string]string{"b": "RESOURCES 0"})
	if err := w.s.Edit("serviceenginegroup", "admin", "g", func(m map[string]any) { m["max_vs_per_se"] = 4 }); err != nil {
		t.Fatal(err)
	}
	w.expect("more room", map[string]string{"b": "UP 100 se-1"})
	if err := w.s.FailServiceEngine("se-2", "power lost"); err != nil {
		t.Fatal(err)
	}
	w.expect("failure", map[string]string{"b": "UP 100 se-1", "c": "UP 100 se-1", "d": "DOWN 0 se-2"})
	if rt := w.want(200, "GET", paths["d"]+"/runtime", nil); !strings.Contains(rt.raw, "power lost") {
		t.Error(rt.raw)
	}
	se, _ := w.s.Object("serviceengine", "admin", "se-2")
	if inv := w.want(200, "GET", "/api/serviceengine-inventory/"+doc.Str(se, "uuid"), nil); doc.Str(inv.body, "runtime", "oper_status",
		"state") != "OPER_DOWN" {
		t.Error(inv.raw)
	}
	if err := w.s.RecoverServiceEngine("se-2"); err != nil {
		t.Fatal(err)
	}
	w.expect("recovery", map[string]string{"c": "UP 100 se-1", "d": "UP 100 se-2"})
	if err := w.s.Switchover("admin", "c"); err != nil {
		t.Fatal(err)
	}
	w.expect("switchover", map[string]string{"c": "UP 100 se-2"})
	w.want(200, "POST", paths["c"]+"/switchover", obj{})
	w.expect("and back", map[string]string{"c": "UP 100 se-1"})
	for _, err := range []error{w.s.FailServiceEngine("se-9", ""), w.s.Switchover("admin", "nope")} {
		if err == nil {
			t.Error("no error for what is not there")
		}
	}
	for _, p := range paths {
		w.do("DELETE", p, nil)
	}
	consistent(t, w.s) // no engine still carries one
}

// TestAnotherGroup: a virtual service that is enabled may change its group of service engines, and moves there.
func TestAnotherGroup(t *testing.T) {
	w := newStage(t, Dynamics{})
	w.group("g", nil, "se-1")
	w.group("h", nil, "se-2")
	path := w.serve("a", "g")
	w.expect("before", map[string]string{"a": "UP 100 se-1"})
	change := obj{"replace": obj{"se_group_ref": "/api/serviceenginegroup?name=h"}}
	w.want(200, "PATCH", path, change)
	w.expect("after", map[string]string{"a": "UP 100 se-2"})
	w.s.SetRule("vs-segroup-change", true) // what a real Controller does is not known for certain
	change["replace"].(obj)["se_group_ref"] = "/api/serviceenginegroup?name=g"
	w.want(400, "PATCH", path, change)
	consistent(t, w.s)
}

func (w *stage) mustObject(typ, name string) obj {
	w.Helper()
	o, ok := w.s.Object(typ, "admin", name)
	if !ok {
		w.Fatalf("no %s %s", typ, name)
	}
	return o
}

func TestPlacement(t *testing.T) {
	t.Run("scale out", func(t *testing.T) {
		w := newStage(t, Dynamics{})
		w.group("g", obj{"min_scaleout_per_vs": 2}, "se-1")
		w.serve("a", "g")
		w.expect("one of two", map[string]string{"a": "UP 50 se-1"})
		if _, err := w.s.Create("serviceengine", "admin", obj{"name": "se-2", "se_group_ref": "/api/serviceenginegroup?name=g"}); err != nil {
			t.Fatal(err)
		}
		w.expect("two", map[string]string{"a": "UP 100 se-1 se-2"})
	})
	t.Run("active and standby", func(t *testing.T) {
		w := newStage(t, Dynamics{})
		w.group("g", obj{"ha_mode": "HA_MODE_LEGACY_ACTIVE_STANDBY"}, "se-1", "se-2")
		w.serve("a", "g")
		w.expect("new", map[string]string{"a": "UP 100 se-1 (se-2)"})
		if err := w.s.FailServiceEngine("se-1", ""); err != nil {
			t.Fatal(err)
		}
		w.expect("failover", map[string]string{"a": "UP 100 se-2"})
	})
	t.Run("distributed, and together on one VsVip", func(t *testing.T) {
		w := newStage(t, Dynamics{})
		w.group("g", obj{"algo": "PLACEMENT_ALGO_DISTRIBUTED"}, "se-1", "se-2")
		w.serve("a", "g")
		w.serve("b", "g")
		body := vsBody("c", "a", "b")
		body["services"] = []obj{{"port": 7}}
		body["se_group_ref"] = "/api/serviceenginegroup?name=g"
		w.want(201, "POST", "/api/virtualservice", body)
		w.expect("all", map[string]string{"a": "UP 100 se-1", "b": "UP 100 se-2", "c": "UP 100 se-1"})
	})
	t.Run("engines on demand", func(t *testing.T) {
		w := newStage(t, Dynamics{})
		w.group("g", nil)
		w.serve("a", "g")
		w.expect("new", map[string]string{"a": "UP 100 Avi-se-g-1"})
		w.want(403, "DELETE", "/api/serviceenginegroup/"+doc.Str(w.mustObject("serviceenginegroup", "g"), "uuid"), nil)
		w.want(204, "DELETE", "/api/virtualservice/"+doc.Str(w.mustObject("virtualservice", "a"), "uuid"), nil)
		w.want(204, "DELETE", "/api/serviceenginegroup/"+doc.Str(w.mustObject("serviceenginegroup", "g"), "uuid"), nil)
		if n := len(w.s.Objects("serviceengine")); n != 1 {
			t.Errorf("%d service engines are left, want the shipped one", n)
		}
	})
	t.Run("no more engines than max_se, and none without write access", func(t *testing.T) {
		w := newStage(t, Dynamics{Capacity: true})
		w.group("g", nil)
		w.serve("a", "g")
		w.expect("no access", map[string]string{"a": "RESOURCES 0"})
		w.want(201, "POST", "/api/cloud", obj{"name": "vc", "vtype": "CLOUD_VCENTER"})
		w.group("h", obj{"max_vs_per_se": 1, "max_se": 2, "cloud_ref": "/api/cloud?name=vc"})
		for i, want := range []string{"DOWN 100 Avi-se-h-1", "DOWN 100 Avi-se-h-2", "RESOURCES 0"} {
			n := fmt.Sprint("v", i)
			in := "/api/cloud?name=vc"
			w.want(201, "POST", "/api/vsvip", obj{"name": n, "cloud_ref": in, "vip": vips(obj{"ip_address": v4(fmt.Sprint("10.0.0.", i+1))})})
			w.want(201, "POST", "/api/virtualservice", obj{"name": n, "cloud_ref": in, "vsvip_ref": "/api/vsvip?name=" + n,
				"services":                []obj{{"port": 80}},
				"application_profile_ref": "/api/applicationprofile?name=System-L4-Application", "se_group_ref": "/api/serviceenginegroup?name=h"})
			w.expect("write access", map[string]string{n: want})
		}
	})
}

func TestMinimums(t *testing.T) {
	w := newStage(t, Dynamics{})
	w.service("a", "10.20.1.1", "10.20.1.2")
	pool := "/api/pool/" + doc.Str(w.mustObject("pool", "a"), "uuid")
	w.want(200, "PATCH", pool, obj{"replace": obj{"min_servers_up": 2}})
	w.expect("both up", map[string]string{"a": "UP 100 Avi-se-1"})
	w.s.SetServerHealth("10.20.1.2", 30100, false, "")
	w.expect("one of two", map[string]string{"a": "DOWN 100 Avi-se-1"})
	w.want(200, "PATCH", pool, obj{"delete": obj{"min_servers_up": 0}})
	w.expect("one is enough", map[string]string{"a": "UP 100 Avi-se-1"})
	w.want(200, "PATCH", "/api/virtualservice/"+doc.Str(w.mustObject("virtualservice", "a"), "uuid"), obj{"replace": obj{"min_pools_up": 2}})
	w.expect("one pool of two", map[string]string{"a": "DOWN 100 Avi-se-1"})

	// A pool group is up with one of its pools.
	w.want(201, "POST", "/api/pool", poolBody("b", "10.20.1.2"))
	w.want(201, "POST", "/api/poolgroup", obj{"name": "g", "members": []obj{{"pool_ref": "/api/pool?name=b"}}})
	body := vsBody("v", "a", "a")
	delete(body, "l4_policies")
	body["services"], body["pool_group_ref"] = []obj{{"port": 9}}, "/api/poolgroup?name=g"
	w.want(201, "POST", "/api/virtualservice", body)
	w.expect("its one pool is down", map[string]string{"v": "DOWN 100 Avi-se-1"})
	w.want(201, "POST", "/api/pool", poolBody("c", "10.20.1.3"))
	w.want(200, "PATCH", "/api/poolgroup/"+doc.Str(w.mustObject("poolgroup", "g"), "uuid"),
		obj{"add": obj{"members": []obj{{"pool_ref": "/api/pool?name=c"}}}})
	w.expect("another is up", map[string]string{"v": "UP 100 Avi-se-1"})
	rt := w.want(200, "GET", "/api/poolgroup/"+doc.Str(w.mustObject("poolgroup", "g"), "uuid")+"/runtime", nil)
	if doc.Str(rt.body, "oper_status", "state") != "OPER_UP" {
		t.Error(rt.raw)
	}
}

func TestSetOperStatus(t *testing.T) {
	w := newStage(t, Dynamics{})
	w.service("a", "10.20.1.1")
	if err := w.s.SetOperStatus("virtualservice", "admin", "a", "OPER_RESOURCES", "stuck"); err != nil {
		t.Fatal(err)
	}
	w.expect("set", map[string]string{"a": "RESOURCES 100 Avi-se-1"})
	if err := w.s.SetOperStatus("virtualservice", "admin", "a", "", ""); err != nil {
		t.Fatal(err)
	}
	if err := w.s.SetOperStatus("pool", "admin", "a", "DOWN", "by hand"); err != nil {
		t.Fatal(err)
	}
	w.expect("through the pool", map[string]string{"a": "DOWN 100 Avi-se-1"})
	for _, err := range []error{w.s.SetOperStatus("pool", "admin", "a", "BROKEN", ""), w.s.SetOperStatus("pool", "admin", "x", "UP", "")} {
		if err == nil {
			t.Error("no error")
		}
	}
}

// TestLastChanged shows that what does not change a state does not change its time either.
func TestLastChanged(t *testing.T) {
	w := newStage(t, Dynamics{})
	ids := w.service("a", "10.20.1.1", "10.20.1.2")
	vs, pool := "/api/virtualservice/"+ids["virtualservice"], "/api/pool/"+ids["pool"]
	before, beforePool := w.since(vs), w.since(pool)
	w.now.advance(time.Minute)
	w.want(200, "PATCH", vs, obj{"replace": obj{"description": "x"}})
	w.want(200, "PATCH", pool, obj{"replace": obj{"description": "x"}})
	w.want(200, "PATCH", pool, obj{"delete": obj{"servers": []obj{{"ip": v4("10.20.1.2"), "port": 30100}}}})
	if w.since(vs) != before || w.since(pool) != beforePool {
		t.Errorf("VS %v, was %v; pool %v, was %v", w.since(vs), before, w.since(pool), beforePool)
	}
	w.s.SetServerHealth("10.20.1.1", 30100, false, "")
	if got := w.since(vs); got.Before(w.now.now()) {
		t.Errorf("down since %v", got)
	}
}
