// SPDX-License-Identifier: Apache-2.0

package avisim

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/doc"
)

func TestPutReplaces(t *testing.T) {
	_, c := signedIn(t, Options{})
	body := poolBody("p", "10.20.0.1")
	body["description"], body["lb_algorithm"] = "d", "LB_ALGORITHM_ROUND_ROBIN"
	r := c.want(201, "POST", "/api/pool", body)
	path, first := "/api/pool/"+r.uuid(), doc.Str(r.body, "_last_modified")
	r = c.want(200, "PUT", path, obj{"name": "q", "uuid": "ignored", "unknown": 1, "_last_modified": first})
	if r.body["description"] != nil || r.body["servers"] != nil || doc.Str(r.body,
		"lb_algorithm") != "LB_ALGORITHM_LEAST_CONNECTIONS" || doc.Str(r.body, "name") != "q" ||
		r.body["unknown"] != nil || "/api/pool/"+r.uuid() != path {
		t.Error(r.raw)
	}
	second := doc.Str(r.body, "_last_modified")
	if second <= first {
		t.Errorf("_last_modified %s after %s", second, first)
	}
	if r = c.want(200, "PUT", path, obj{"name": "q"}); doc.Str(r.body, "_last_modified") != second {
		t.Error("a PUT that changes nothing bumps _last_modified")
	}
	c.want(412, "PUT", path, obj{"name": "q", "description": "x", "_last_modified": first})
	c.want(200, "PUT", path, obj{"name": "q", "description": "x"})
	if n := doc.Int(c.want(200, "GET", "/api/pool?name=p", nil).body, "count"); n != 0 {
		t.Error("the old name is still indexed")
	}
}

func TestPatchVerbs(t *testing.T) {
	server := func(ip string, more ...any) obj {
		s := obj{"ip": obj{"addr": ip, "type": "V4"}, "port": 30100}
		for i := 0; i < len(more); i += 2 {
			s[more[i].(string)] = more[i+1]
		}
		return s
	}
	list := func(s ...obj) obj { return obj{"servers": s} }
	for _, tt := range []struct {
		name  string
		patch obj
		want  string // servers as ip/ratio, then description
	}{
		{"add appends", obj{"add": list(server("10.20.0.3"))}, "1/1 2/1 3/1 d"},
		{"add merges by ip and port", obj{"add": list(server("10.20.0.2", "ratio", 5))}, "1/1 2/5 d"},
		{"add with another port appends", obj{"add": list(server("10.20.0.2", "port", 1))}, "1/1 2/1 2/1 d"},
		{"add a scalar", obj{"add": obj{"description": "e"}}, "1/1 2/1 e"},
		{"replace a list", obj{"replace": list(server("10.20.0.9"))}, "9/1 d"},
		{"replace by nothing", obj{"replace": list()}, "d"},
		{"replace by null", obj{"replace": obj{"servers": nil}}, "d"},
		{"delete by ip", obj{"delete": obj{"servers": []obj{{"ip": obj{"addr": "10.20.0.1", "type": "V4"}}}}}, "2/1 d"},
		{"delete by ip and wrong port", obj{"delete": list(server("10.20.0.1", "port", 1))}, "1/1 2/1 d"},
		{"delete a scalar", obj{"delete": obj{"description": "whatever"}}, "1/1 2/1"},
		{"delete a list without naming entries", obj{"delete": obj{"servers": ""}}, "d"},
		{"several verbs", obj{"delete": list(server("10.20.0.1")), "add": list(server("10.20.0.4")), "replace": obj{"description": "z"}},
			"2/1 4/1 z"},
		{"json_patch add a list", obj{"json_patch": []obj{{"op": "add", "path": "/servers", "value": []obj{server("10.20.0.3")}}}},
			"1/1 2/1 3/1 d"},
		{"json_patch add at the end", obj{"json_patch": []obj{{"op": "add", "path": "/servers/-", "value": server("10.20.0.3")}}},
			"1/1 2/1 3/1 d"},
		{"json_patch replace", obj{"json_patch": []obj{{"op": "replace", "path": "/servers/0/ratio", "value": 7}}}, "1/7 2/1 d"},
		{"json_patch remove", obj{"json_patch": []obj{{"op": "remove", "path": "/servers/0"}, {"op": "remove", "path": "/description"}}}, "2/1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, c := signedIn(t, Options{})
			body := poolBody("p", "10.20.0.1", "10.20.0.2")
			body["description"] = "d"
			id := c.want(201, "POST", "/api/pool", body).uuid()
			r := c.want(200, "PATCH", "/api/pool/"+id, tt.patch)
			var got []string
			for _, s := range doc.Messages(r.body["servers"]) {
				got = append(got, fmt.Sprintf("%s/%d", strings.TrimPrefix(doc.Str(s, "ip", "addr"), "10.20.0."), doc.Int(s, "ratio")))
			}
			if d := doc.Str(r.body, "description"); d != "" {
				got = append(got, d)
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("%v, want %s", got, tt.want)
			}
		})
	}
	t.Run("references", func(t *testing.T) {
		_, c := signedIn(t, Options{})
		id := c.want(201, "POST", "/api/pool", poolBody("p")).uuid()
		r := c.want(200, "PATCH", "/api/pool/"+id, obj{"add": obj{"health_monitor_refs": []string{"/api/healthmonitor?name=System-TCP",
			"/api/healthmonitor?name=System-SCTP"}}})
		if l, _ := r.body["health_monitor_refs"].([]any); len(l) != 2 {
			t.Errorf("%v", l)
		}
		r = c.want(200, "PATCH", "/api/pool/"+id, obj{"delete": obj{"health_monitor_refs": []string{"/api/healthmonitor?name=System-SCTP"}}})
		if l, _ := r.body["health_monitor_refs"].([]any); len(l) != 1 || !strings.HasSuffix(l[0].(string), "#System-TCP") {
			t.Errorf("%v", l)
		}
	})
}

func TestIPAM(t *testing.T) {
	small := obj{"name": "small", "configured_subnets": []obj{
		{"prefix": obj{"ip_addr": obj{"addr": "10.9.0.0", "type": "V4"}, "mask": 29}}, // usable: .2 to .6
		{"prefix": obj{"ip_addr": obj{"addr": "fd09::", "type": "V6"}, "mask": 126}}}} // usable: ::2
	vip := func(more obj) obj {
		v := obj{"vip_id": "0", "auto_allocate_ip": true, "ipam_network_subnet": obj{"network_ref": "/api/network?name=small"}}
		for k, x := range more {
			v[k] = x
		}
		return v
	}
	_, c := signedIn(t, Options{})
	c.want(201, "POST", "/api/network", small)
	n := 0
	post := func(status int, v obj) response {
		t.Helper()
		n++
		return c.want(status, "POST", "/api/vsvip", obj{"name": fmt.Sprintf("v%d", n), "vip": []obj{v}})
	}
	addr := func(r response, field string) string { return doc.Str(doc.Messages(r.body["vip"])[0], field, "addr") }
	v4 := func(a string) obj { return obj{"ip_address": obj{"addr": a, "type": "V4"}} }

	first := post(201, vip(nil))
	if addr(first, "ip_address") != "10.9.0.2" {
		t.Error(first.raw)
	}
	if r := post(201, vip(v4("10.9.0.4"))); addr(r, "ip_address") != "10.9.0.4" {
		t.Error(r.raw)
	}
	post(400, vip(v4("10.9.0.4"))) // busy
	post(400, vip(v4("10.9.0.1"))) // outside of the range
	post(400, vip(v4("nonsense")))
	post(400, obj{"vip_id": "0"})                                                                 // no address at all
	post(400, vip(obj{"ipam_network_subnet": obj{"network_ref": "/api/network?name=node-network", // V6 from a V4 network
		"subnet": obj{"ip_addr": obj{"addr": "10.20.0.0", "type": "V4"}, "mask": 16}}, "auto_allocate_ip_type": "V6_ONLY"}))
	dual := post(201, vip(obj{"auto_allocate_ip_type": "V4_V6"}))
	if addr(dual, "ip_address") != "10.9.0.3" || addr(dual, "ip6_address") != "fd09::2" {
		t.Error(dual.raw)
	}
	found := doc.Messages(doc.Messages(dual.body["vip"])[0]["discovered_networks"])
	if len(found) != 1 || found[0]["subnet"] == nil || found[0]["subnet6"] == nil {
		t.Errorf("discovered %v", found)
	}
	if r := post(400, vip(obj{"auto_allocate_ip_type": "V6_ONLY"})); doc.Str(r.body, "error") != "No available free IPs" {
		t.Error(r.raw)
	}
	for _, want := range []string{"10.9.0.5", "10.9.0.6"} {
		if r := post(201, vip(nil)); addr(r, "ip_address") != want {
			t.Errorf("%s, want %s", addr(r, "ip_address"), want)
		}
	}
	if r := post(400, vip(nil)); doc.Str(r.body, "error") != "No available free IPs" {
		t.Error(r.raw)
	}
	c.want(204, "DELETE", "/api/vsvip/"+first.uuid(), nil)
	if r := post(201, vip(nil)); addr(r, "ip_address") != "10.9.0.2" {
		t.Errorf("a released address does not come back: %s", r.raw)
	}
	static := post(201, obj{"ip_address": obj{"addr": "192.0.2.1", "type": "V4"}}) // recorded: no IPAM involved
	if v := doc.Messages(static.body["vip"])[0]; v["discovered_networks"] != nil || v["avi_allocated_vip"] != false || v["vip_id"] != "0" {
		t.Error(static.raw)
	}
	post(400, obj{"ip_address": obj{"addr": "192.0.2.1", "type": "V4"}})
	if r := post(201, obj{"auto_allocate_ip": true}); addr(r, "ip_address") != "10.10.0.10" { // the profile's usable network
		t.Error(r.raw)
	}
}

// TestVIPUpdate shows what an update keeps, and what it loses if the client drops it.
func TestVIPUpdate(t *testing.T) {
	_, c := signedIn(t, Options{})
	ids := c.service("amf", "10.20.1.1")
	path, vs := "/api/vsvip/"+ids["vsvip"], "/api/virtualservice/"+ids["virtualservice"]+"/runtime"
	state := func() string {
		r := c.want(200, "GET", vs, nil)
		st, _ := doc.At(r.body, "oper_status", "reason").([]any)
		return fmt.Sprint(doc.Str(r.body, "oper_status", "state"), st)
	}
	before := c.want(200, "GET", path, nil)
	c.want(200, "PATCH", path, obj{"replace": obj{"dns_info": []obj{{"fqdn": "amf.demo.avi.local"}}}})
	if state() != "OPER_UP[]" {
		t.Error(state())
	}
	r := c.want(200, "PUT", path, obj{"name": "amf", "vip": []obj{{"vip_id": "0", "auto_allocate_ip": true}}})
	v := doc.Messages(r.body["vip"])[0]
	if doc.Str(v, "ip_address", "addr") != "10.10.0.10" || v["avi_allocated_vip"] != true || v["ipam_network_subnet"] == nil ||
		v["discovered_networks"] != nil {
		t.Error(r.raw)
	}
	if state() != "OPER_DOWN[No network/subnet matched Virtual Service IP]" {
		t.Error(state())
	}
	c.want(200, "PATCH", path, obj{"replace": obj{"vip": before.body["vip"]}})
	if state() != "OPER_UP[]" {
		t.Error(state())
	}
}

// TestServerHealth shows how the state of servers reaches pools and virtual services.
func TestServerHealth(t *testing.T) {
	s, c := signedIn(t, Options{})
	ids := c.service("amf", "10.20.1.1", "10.20.1.2")
	pool, vs := "/api/pool/"+ids["pool"], "/api/virtualservice/"+ids["virtualservice"]
	state := func(path string) string {
		return doc.Str(c.want(200, "GET", path+"/runtime", nil).body, "oper_status", "state")
	}
	expect := func(step, p, v string) {
		t.Helper()
		if gp, gv := state(pool), state(vs); gp != p || gv != v {
			t.Errorf("%s: pool %s, VS %s, want %s, %s", step, gp, gv, p, v)
		}
	}
	expect("new", "OPER_UP", "OPER_UP")
	s.SetServerHealth("10.20.1.1", 30100, false, "SCTP monitor: no INIT ACK")
	expect("one down", "OPER_UP", "OPER_UP")
	r := c.want(200, "GET", pool+"/runtime/server/", nil)
	if !strings.Contains(r.raw, "SCTP monitor: no INIT ACK") || !strings.Contains(r.raw, `"state":"OPER_DOWN"`) {
		t.Error(r.raw)
	}
	s.SetServerHealth("10.20.1.2", 30100, false, "")
	expect("both down", "OPER_DOWN", "OPER_DOWN")
	s.SetServerHealth("10.20.1.2", 30100, true, "")
	expect("one back", "OPER_UP", "OPER_UP")
	c.want(200, "PATCH", vs, obj{"replace": obj{"traffic_enabled": false}})
	expect("no traffic", "OPER_UP", "OPER_DISABLED")
	c.want(200, "PATCH", vs, obj{"delete": obj{"traffic_enabled": ""}})
	c.want(200, "PATCH", pool, obj{"replace": obj{"servers": []obj{}}})
	expect("no servers", "OPER_DOWN", "OPER_DOWN")
	inv := c.want(200, "GET", "/api/pool-inventory?name=amf", nil)
	item := doc.Messages(inv.body["results"])[0]
	if doc.Str(item, "runtime", "oper_status", "state") != "OPER_DOWN" || len(doc.Messages(item["virtualservices"])) != 1 || doc.Str(item,
		"config", "name") != "amf" {
		t.Error(inv.raw)
	}
	unused := c.want(201, "POST", "/api/pool", poolBody("u", "10.20.1.9")).uuid()
	if got := state("/api/pool/" + unused); got != "OPER_UNUSED" {
		t.Error(got)
	}
	c.want(200, "GET", pool+"/runtime/server/detail/", nil)
	c.want(404, "GET", pool+"/nonsense", nil)
	c.want(404, "GET", "/api/l4policyset/"+ids["l4policyset"]+"/runtime", nil)
}

// TestOutOfBand shows the methods that act as another administrator.
func TestOutOfBand(t *testing.T) {
	s, c := signedIn(t, Options{})
	ids := c.service("amf", "10.20.1.1")
	before := c.want(200, "GET", "/api/pool/"+ids["pool"], nil)
	if err := s.Edit("pool", "admin", "amf", func(m map[string]any) { m["default_server_port"] = 99 }); err != nil {
		t.Fatal(err)
	}
	after := c.want(200, "GET", "/api/pool/"+ids["pool"], nil)
	if doc.Int(after.body, "default_server_port") != 99 || doc.Str(after.body, "_last_modified") <= doc.Str(before.body, "_last_modified") ||
		doc.Str(after.body, "cloud_ref") != doc.Str(before.body, "cloud_ref") {
		t.Error(after.raw)
	}
	if err := s.Remove("pool", "admin", "amf"); err != nil {
		t.Fatal(err)
	}
	c.want(404, "GET", "/api/pool/"+ids["pool"], nil)
	if err := s.Edit("l4policyset", "admin", "amf", func(m map[string]any) { m["description"] = "dangling" }); err != nil {
		t.Errorf("an object with a dangling reference: %v", err)
	}
	for _, err := range []error{s.Remove("pool", "admin", "amf"), s.Edit("pool", "admin", "amf", nil), s.Remove("pool", "nobody", "x")} {
		if err == nil {
			t.Error("no error for an object that is not there")
		}
	}
	if _, err := s.Create("pool", "admin", obj{"name": "p", "vrf_ref": "/api/vrfcontext?name=nope"}); err == nil {
		t.Error("created with an unresolved reference")
	}
	if err := s.AddVIPNetwork("more", netip.MustParsePrefix("10.77.0.0/24"), netip.Addr{}, netip.Addr{}); err != nil {
		t.Error(err)
	}
	if n := len(s.Tree()["network"]); n != 3 {
		t.Errorf("%d networks", n)
	}
	for _, m := range s.Objects("virtualservice") {
		if !strings.HasPrefix(doc.Str(m, "vsvip_ref"), "/api/vsvip/") || !strings.HasSuffix(doc.Str(m, "vsvip_ref"), "#amf") {
			t.Errorf("%v", m["vsvip_ref"])
		}
	}
}

func TestCloudBringsItsParts(t *testing.T) {
	s, c := signedIn(t, Options{})
	id := c.want(201, "POST", "/api/cloud", obj{"name": "c2", "vtype": "CLOUD_NONE"}).uuid()
	p := c.want(201, "POST", "/api/pool", obj{"name": "p", "cloud_ref": "/api/cloud?name=c2"})
	vrf, _ := s.Object("vrfcontext", "admin", "global")
	if got := doc.Str(p.body, "vrf_ref"); !strings.HasSuffix(got, "#global") || strings.Contains(got, doc.Str(vrf, "uuid")) {
		t.Errorf("VRF of another cloud: %s", got)
	}
	if r := c.want(400, "DELETE", "/api/cloud/"+id, nil); r.raw != `{"error":"Cannot delete, object is referred by: ['Pool p']"}` {
		t.Error(r.raw)
	}
	c.want(204, "DELETE", "/api/pool/"+p.uuid(), nil)
	c.want(204, "DELETE", "/api/cloud/"+id, nil)
	if n := len(s.Objects("vrfcontext")); n != 2 {
		t.Errorf("%d VRFs left", n)
	}
}
