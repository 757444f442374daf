// SPDX-License-Identifier: Apache-2.0

package avisim

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/doc"
)

func macroBody(name string, change func(obj)) obj {
	data := obj{
		"name": name, "services": []obj{{"port": 38412}},
		"application_profile_ref": "/api/applicationprofile?name=System-L4-Application",
		"network_profile_ref":     "/api/networkprofile?name=System-SCTP-Proxy",
		"vsvip_ref_data":          obj{"name": name, "vip": []obj{{"auto_allocate_ip": true}}},
		"pool_ref_data": obj{"name": name, "servers": []obj{{"ip": obj{"addr": "10.20.0.1", "type": "V4"}, "port": 30100}},
			"health_monitor_refs_data": []obj{{"name": name + "-hm", "type": "HEALTH_MONITOR_TCP"}}},
		// Refers by name to the pool of the same call, which is made after it.
		"l4_policies": []obj{{"index": 0, "l4_policy_set_ref_data": policyBody(name, name)}},
	}
	change(data)
	return obj{"model_name": "VirtualService", "data": data}
}

// sizes counts the objects of each type.
func sizes(s *Server) string {
	n := map[string]int{}
	for typ, objs := range s.Tree() {
		n[typ] = len(objs)
	}
	return fmt.Sprint(n)
}

func TestMacro(t *testing.T) {
	s, c := signedIn(t, Options{})
	before := sizes(s)
	r := c.want(201, "POST", "/api/macro", macroBody("amf", func(obj) {}))
	if doc.Str(r.body, "name") != "amf" || !strings.HasSuffix(doc.Str(r.body, "pool_ref"),
		"#amf") || !strings.Contains(r.header.Get("Location"), r.uuid()+"#amf") {
		t.Fatal(r.raw)
	}
	pool, _ := s.Object("pool", "admin", "amf")
	if monitors, _ := pool["health_monitor_refs"].([]any); len(monitors) != 1 || !strings.HasSuffix(doc.Text(monitors[0]), "#amf-hm") {
		t.Errorf("pool %v", pool["health_monitor_refs"])
	}

	change := macroBody("amf", func(m obj) { m["uuid"], m["description"] = r.uuid(), "changed" })
	u := c.want(200, "PUT", "/api/macro", change)
	if u.uuid() != r.uuid() || doc.Str(u.body, "description") != "changed" {
		t.Error(u.raw)
	}
	c.want(404, "PUT", "/api/macro", macroBody("nobody", func(obj) {}))

	c.want(204, "DELETE", "/api/macro", obj{"model_name": "VirtualService", "data": obj{"uuid": r.uuid()}})
	if after := sizes(s); after != before {
		t.Errorf("left:\n%s\nat first:\n%s", after, before)
	}
	c.want(404, "DELETE", "/api/macro", obj{"model_name": "VirtualService", "data": obj{"uuid": r.uuid()}})
	c.want(400, "POST", "/api/macro", obj{"model_name": "Nothing", "data": obj{}})
	c.want(400, "POST", "/api/macro", obj{"model_name": "Pool"})
	c.want(400, "POST", "/api/macro", obj{"model_name": "SystemConfiguration", "data": obj{"docker_mode": true}})
	c.want(405, "GET", "/api/macro", nil)
}

// TestMacroRollsBack shows that an error anywhere leaves nothing behind, neither objects nor addresses nor changes.
func TestMacroRollsBack(t *testing.T) {
	s, c := signedIn(t, Options{})
	c.want(201, "POST", "/api/macro", macroBody("amf", func(obj) {}))
	before, tree := sizes(s), fmt.Sprint(s.Tree())
	for name, tt := range map[string]struct {
		method string
		change func(obj)
		status int
	}{
		"top":           {"POST", func(m obj) { m["services"] = []obj{{"port": 70000}} }, 400},
		"inner":         {"POST", func(m obj) { m["pool_ref_data"].(obj)["default_server_port"] = -1 }, 400},
		"reference":     {"POST", func(m obj) { m["pool_ref_data"].(obj)["vrf_ref"] = "/api/vrfcontext?name=nope" }, 400},
		"duplicate":     {"POST", func(m obj) { m["pool_ref_data"].(obj)["name"] = "amf" }, 409},
		"changed first": {"PUT", func(m obj) { m["name"], m["type"] = "amf", "VS_TYPE_VH_PARENT" }, 400},
	} {
		name2 := "amf"
		if tt.method == "POST" {
			name2 = "smf"
		}
		t.Run(name, func(t *testing.T) {
			r := c.do(tt.method, "/api/macro", macroBody(name2, tt.change))
			if after := sizes(s); r.status != tt.status || after != before {
				t.Errorf("%d %s\nleft:\n%s\nat first:\n%s", r.status, r.raw, after, before)
			}
		})
	}
	if after := fmt.Sprint(s.Tree()); after != tree {
		t.Errorf("changed:\n%s\nat first:\n%s", after, tree)
	}
	vip := c.want(201, "POST", "/api/vsvip", vsvipBody("next"))
	if got := doc.Str(doc.Messages(vip.body["vip"])[0], "ip_address", "addr"); got != "10.10.0.11" {
		t.Errorf("an address was lost: %s", got)
	}
}

// TestMacroDeleteKeepsWhatIsShared shows what a cascade spares.
func TestMacroDeleteKeepsWhatIsShared(t *testing.T) {
	s, c := signedIn(t, Options{})
	c.want(201, "POST", "/api/macro", macroBody("amf", func(obj) {}))
	c.want(201, "POST", "/api/poolgroup", obj{"name": "g", "members": []obj{{"pool_ref": "/api/pool?name=amf"}}})
	c.want(204, "DELETE", "/api/macro", obj{"model_name": "virtualservice", "data": obj{"name": "amf"}})
	have := map[string]bool{}
	for typ, name := range map[string]string{"pool": "amf", "healthmonitor": "amf-hm", "vsvip": "amf", "l4policyset": "amf",
		"virtualservice": "amf",
		"network":        "vip-network", "applicationprofile": "System-L4-Application"} {
		_, have[typ] = s.Object(typ, "admin", name)
	}
	want := map[string]bool{"pool": true, "healthmonitor": true, "vsvip": false, "l4policyset": false, "virtualservice": false,
		"network": true, "applicationprofile": true}
	if !maps.Equal(have, want) {
		t.Errorf("have %v, want %v", have, want)
	}
}
