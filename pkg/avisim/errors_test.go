// SPDX-License-Identifier: Apache-2.0

package avisim

import (
	"regexp"
	"strings"
	"testing"
)

// TestErrors shows each text of the error catalogue with its status, and what provokes it.
func TestErrors(t *testing.T) {
	s, c := signedIn(t, Options{})
	if err := s.AddTenant("blue"); err != nil {
		t.Fatal(err)
	}
	ids := c.service("amf", "10.20.1.1")
	item := func(typ string) string { return "/api/" + typ + "/" + ids[typ] }
	vs := func(change func(obj)) obj {
		b := vsBody("x", "other", "amf")
		change(b)
		return b
	}
	c.want(201, "POST", "/api/vsvip", vsvipBody("other"))
	if _, err := s.Create("vrfcontext", "admin", obj{"name": "second"}); err != nil {
		t.Fatal(err)
	}
	vrf, _ := s.Object("vrfcontext", "admin", "global")
	profile, _ := s.Object("networkprofile", "admin", "System-SCTP-Proxy")

	tests := []struct {
		name           string
		method, path   string
		body           any
		tenant, header string // header: X-Avi-Version
		status         int
		raw            string // exact, or a regexp if it starts with ^
	}{
		{"version gate", "POST", "/api/networkprofile", obj{"name": "n", "profile": obj{"type": "PROTOCOL_TYPE_SCTP_PROXY",
			"sctp_proxy_profile": obj{"number_of_streams": 4}}}, "", "22.1.2",
			400, `{"error":"Incoming request (v22_1_2) has field (sctp_proxy_profile) introduced in later versions(v22_1_3)."}`},
		{"version gate on a value", "POST", "/api/healthmonitor", obj{"name": "h", "type": "HEALTH_MONITOR_SCTP"}, "", "22.1.2",
			400, `{"error":"Incoming request (v22_1_2) has field (type) introduced in later versions(v22_1_3)."}`},
		{"version gate on PATCH", "PATCH", item("virtualservice"), obj{"replace": obj{"revoke_vip_route": true}}, "", "22.1.3",
			400, `{"error":"Incoming request (v22_1_3) has field (revoke_vip_route) introduced in later versions(v30_2_1)."}`},
		{"version too new", "GET", "/api/pool", nil, "", "31.1.1", 400, `^{"error":"Invalid version 31\.1\.1, `},
		{"version malformed", "GET", "/api/pool", nil, "", "latest", 400, `^{"error":"Invalid version latest, `},
		{"VRF mismatch", "POST", "/api/virtualservice", vs(func(b obj) { b["vrf_context_ref"] = "/api/vrfcontext?name=second" }), "", "",
			400, `{"error":"VRF Context for x and pool amf different"}`},
		{"duplicate route id", "POST", "/api/vrfcontext", obj{"name": "v", "static_routes": []obj{route1("1"), route1("1")}}, "", "",
			400, `{"error":"Field check for static_routes failed: Unique constraints route_id has duplicated value(s)"}`},
		{"VRF by unknown name", "POST", "/api/pool", obj{"name": "p", "vrf_ref": "/api/vrfcontext?name=nope"}, "", "", 400,
			`{"error":"VrfContext object not found"}`},
		{"network by unknown name", "POST", "/api/vsvip", obj{"name": "v",
			"vip": []obj{{"auto_allocate_ip": true, "ipam_network_subnet": obj{"network_ref": "/api/network/?name=nope"}}}}, "", "",
			400, `{"error":"Network object not found"}`},
		{"pool by unknown uuid", "POST", "/api/l4policyset", policyBody("q", "nope"), "", "", 400, `{"error":"Pool object not found"}`},
		{"admin's VRF from a tenant", "PUT", strings.Split(vrf["url"].(string), "#")[0], obj{"name": "global"}, "blue", "", 400,
			`{"error":"Cannot modify VrfContext"}`},
		{"vip_id changed", "PATCH", item("vsvip"), obj{"replace": obj{"vip": []obj{{"vip_id": "9", "auto_allocate_ip": true}}}}, "", "",
			400, `{"error":"Changing an existing VIP's vip_id is not supported"}`},
		{"new preferred IP", "PUT", item("vsvip"), obj{"name": "amf",
			"vip": []obj{{"vip_id": "0", "auto_allocate_ip": true, "ip_address": obj{"addr": "10.10.9.9", "type": "V4"}}}}, "", "",
			400, `{"error":"If a new preferred IP is needed, please recreate the VIP"}`},
		{"port out of range", "POST", "/api/pool", obj{"name": "p", "default_server_port": 70000}, "", "", 400,
			`{"error":"Field check for default_server_port failed : Value 70000 not in range 1-65535"}`},
		{"streams beyond the range", "POST", "/api/networkprofile", obj{"name": "n",
			"profile": obj{"type": "PROTOCOL_TYPE_SCTP_PROXY", "sctp_proxy_profile": obj{"number_of_streams": 101}}}, "", "",
			400, `{"error":"Field check for number_of_streams failed : Value 101 not in range 1-100"}`},
		{"name missing", "PATCH", item("pool"), obj{"replace": obj{"name": nil}}, "", "", 400,
			`{"error":"Field check for name failed : Missing required field"}`},
		{"not JSON", "POST", "/api/pool", "{", "", "", 400, `^{"detail":"JSON parse error - `},
		{"no verb", "PATCH", item("pool"), obj{}, "", "", 400, `^{"error":"Patch data must have one of`},
		{"unknown verb", "PATCH", item("pool"), obj{"remove": obj{"servers": []obj{}}}, "", "", 400,
			`{"error":"Invalid patch operation remove"}`},
		{"unknown tenant", "GET", "/api/pool", nil, "green", "", 403, `{"error":"Tenant 'green' does not exist!"}`},
		{"delete in use", "DELETE", item("pool"), nil, "", "", 403, `{"error":"Cannot delete, object is referred by: ['L4PolicySet amf']"}`},
		{"delete system default", "DELETE", strings.Split(profile["url"].(string), "#")[0], nil, "", "", 403,
			`{"error":"Cannot delete system default object"}`},
		{"item missing", "GET", "/api/vsvip/vsvip-none", nil, "", "", 404, `{"error":"VsVip object not found!"}`},
		{"delete missing", "DELETE", "/api/l4policyset/none", nil, "", "", 404, `{"error":"L4PolicySet object not found!"}`},
		{"other tenant's object", "GET", item("pool"), nil, "blue", "", 404, `{"error":"Pool object not found!"}`},
		{"unknown type", "GET", "/api/nosuchthing", nil, "", "", 404, `^<!DOCTYPE html>`},
		{"short inventory", "GET", "/api/virtualserviceinventory", nil, "", "", 404, `^<!DOCTYPE html>`},
		{"method", "DELETE", "/api/cluster", nil, "", "", 405, `{"detail":"Method 'DELETE' not allowed."}`},
		{"method on a list", "PUT", "/api/pool", obj{}, "", "", 405, `{"detail":"Method 'PUT' not allowed."}`},
		{"duplicate name", "POST", "/api/vrfcontext", obj{"name": "global"}, "", "", 409,
			`{"error":"Vrf context with this Name, Tenant ref and Cloud ref already exists."}`},
		{"duplicate name without cloud", "POST", "/api/l4policyset", policyBody("amf", "amf"), "", "", 409,
			`^{"error":".* with this Name and Tenant ref already exists\."}`},
		{"stale", "PUT", item("vsvip"), obj{"name": "amf", "_last_modified": "1", "vip": []obj{{"vip_id": "0", "auto_allocate_ip": true}}}, "",
			"", 412, `{"error":"Need to reload object data VsVip"}`},
		{"stale VRF", "PUT", strings.Split(vrf["url"].(string), "#")[0], obj{"name": "global", "_last_modified": "1"}, "", "", 412,
			`{"error":"Need to reload object data VrfContext"}`},
		{"empty message", "POST", "/api/vsvip", obj{"name": "v",
			"vip": []obj{{"ip_address": obj{"addr": "10.10.0.99", "type": "V4"}, "ip6_address": obj{}}}}, "", "", 500, `^{"error":"Bad pb: `},
		{"message of the wrong kind", "POST", "/api/pool", obj{"name": "p", "servers": []any{"10.0.0.1"}}, "", "", 500, `^{"error":"Bad pb: `},
		{"page size", "GET", "/api/pool?page_size=0", nil, "", "", 400, `{"error":"Invalid value 0 for page_size"}`},
		{"no object", "POST", "/api/pool", "[1]", "", "", 400, `{"detail":"JSON parse error - the body is no object"}`},
		{"metrics", "GET", "/api/analytics/metrics/virtualservice", nil, "", "", 404, `{"error":"/api/analytics is not simulated"}`},
		{"export", "POST", "/api/configuration/export", obj{}, "", "", 404, `{"error":"/api/configuration is not simulated"}`},
		{"page past the end", "GET", "/api/pool?page=9", nil, "", "", 404, `{"detail":"Invalid page."}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c.tenant, c.version = tt.tenant, "30.2.1"
			if tt.header != "" {
				c.version = tt.header
			}
			r := c.do(tt.method, tt.path, tt.body)
			if r.status != tt.status {
				t.Errorf("status %d, want %d: %s", r.status, tt.status, r.raw)
			}
			if strings.HasPrefix(tt.raw, "^") {
				if !regexp.MustCompile(tt.raw).MatchString(r.raw) {
					t.Errorf("body %s, want %s", r.raw, tt.raw)
				}
			} else if r.raw != tt.raw {
				t.Errorf("body %s, want %s", r.raw, tt.raw)
			}
		})
	}
}

func route1(id string) obj {
	return obj{"route_id": id, "prefix": obj{"ip_addr": obj{"addr": "10.0.0.0", "type": "V4"}, "mask": 24},
		"next_hop": obj{"addr": "10.20.0.1", "type": "V4"}}
}
