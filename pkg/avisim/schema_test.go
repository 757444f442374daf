// SPDX-License-Identifier: Apache-2.0

package avisim

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/doc"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/schema"
)

// TestVersionGates writes and reads with older versions: what is newer is refused, in nested messages and by every way to
// write, and not shown.
func TestVersionGates(t *testing.T) {
	s, c := signedIn(t, Options{})
	ids := c.service("amf", "10.20.1.1")
	np := c.want(201, "POST", "/api/networkprofile", obj{"name": "np", "profile": obj{"type": "PROTOCOL_TYPE_SCTP_PROXY",
		"sctp_proxy_profile": obj{"number_of_streams": 4}}}).uuid()
	static := obj{"addr": "10.0.0.1", "type": "V4"}

	for _, tt := range []struct {
		version, method, path string
		body                  any
		field                 string // refused; "" for a body that passes
		since                 string
	}{
		{"22.1.2", "POST", "/api/networkprofile", obj{"name": "n", "profile": obj{"type": "PROTOCOL_TYPE_SCTP_PROXY"}}, "type", "22_1_3"},
		{"22.1.2", "PUT", "/api/networkprofile/" + np, obj{"name": "np", "profile": obj{"type": "PROTOCOL_TYPE_TCP_PROXY",
			"sctp_proxy_profile": obj{}}}, "sctp_proxy_profile", "22_1_3"},
		{"20.1.9", "PATCH", "/api/pool/" + ids["pool"], obj{"add": obj{"servers": []obj{{"ip": static, "preference_order": 2}}}},
			"preference_order", "22_1_1"},
		{"20.1.9", "PATCH", "/api/pool/" + ids["pool"], obj{"json_patch": []obj{{"op": "add", "path": "/servers",
			"value": []obj{{"ip": static, "preference_order": 2}}}}}, "preference_order", "22_1_1"},
		{"20.1.9", "PATCH", "/api/pool/" + ids["pool"], obj{"json_patch": []obj{{"op": "replace", "path": "/servers/0/preference_order",
			"value": 2}}}, "preference_order", "22_1_1"},
		{"21.1.6", "POST", "/api/pool", obj{"name": "rr", "lb_algo_rr_per_se": true}, "", ""},
		{"22.1.2", "POST", "/api/pool", obj{"name": "rr2", "lb_algo_rr_per_se": true}, "lb_algo_rr_per_se", "22_1_3"},
		{"", "POST", "/api/vsvip", obj{"name": "v", "tier1_lr": "x"}, "tier1_lr", "20_1_1"},
		{"17.1.1", "POST", "/api/pool", obj{"name": "old", "default_server_port": 80}, "", ""},
		{"20.1.1", "PUT", "/api/pool/" + ids["pool"], obj{"name": "amf", "configpb_attributes": obj{"version": 1}}, "configpb_attributes",
			"21_1_1"},
	} {
		c.version = tt.version
		r := c.do(tt.method, tt.path, tt.body)
		if tt.field == "" {
			if r.status >= 300 {
				t.Errorf("%s %s: %s", tt.version, tt.path, r.raw)
			}
			continue
		}
		at := strings.ReplaceAll(tt.version, ".", "_")
		if at == "" {
			at = "16_4_2"
		}
		if want := fmt.Sprintf("Incoming request (v%s) has field (%s) introduced in later versions(v%s).", at, tt.field,
			tt.since); r.status != 400 || doc.Str(r.body, "error") != want {
			t.Errorf("%s %s: %d %s\nwant %s", tt.version, tt.path, r.status, r.raw, want)
		}
	}

	// A PoolGroup has a field that is gone in 30.2.1: older versions write and read it, newer ones do neither.
	c.version = "22.1.3"
	pg := c.want(201, "POST", "/api/poolgroup", obj{"name": "pg", "enable_http2": true, "members": []obj{{"pool_ref": "/api/pool?name=amf"}}})
	c.version = "30.2.1"
	fresh := c.want(201, "POST", "/api/poolgroup", obj{"name": "fresh", "enable_http2": true})
	if o, _ := s.Object("poolgroup", "admin", "fresh"); o["enable_http2"] != nil {
		t.Error("a retired field is stored")
	}
	for _, tt := range []struct {
		version, path string
		keys          []string
		shown         bool
	}{
		{"22.1.2", "/api/networkprofile/" + np, []string{"profile", "sctp_proxy_profile"}, false},
		{"22.1.2", "/api/networkprofile/" + np, []string{"profile", "type"}, false},
		{"22.1.3", "/api/networkprofile/" + np, []string{"profile", "sctp_proxy_profile", "number_of_streams"}, true},
		{"22.1.3", "/api/networkprofile/" + np, []string{"profile", "type"}, true},
		{"20.1.1", "/api/pool/" + ids["pool"], []string{"configpb_attributes"}, false},
		{"21.1.1", "/api/pool/" + ids["pool"], []string{"configpb_attributes"}, true},
		{"", "/api/vsvip/" + ids["vsvip"], []string{"name"}, true},
		{"", "/api/vsvip/" + ids["vsvip"], []string{"_last_modified"}, true},
		{"", "/api/vsvip/" + ids["vsvip"], []string{"vip"}, false},
		{"22.1.3", "/api/poolgroup/" + pg.uuid(), []string{"enable_http2"}, true},
		{"30.2.1", "/api/poolgroup/" + pg.uuid(), []string{"enable_http2"}, false},
		{"22.1.3", "/api/poolgroup/" + fresh.uuid(), []string{"enable_http2"}, false},
	} {
		c.version = tt.version
		if v := doc.At(c.want(200, "GET", tt.path, nil).body, tt.keys...); (v != nil) != tt.shown {
			t.Errorf("%s %s: %v is %v", tt.version, tt.path, tt.keys, v)
		}
	}
}

// TestOldRelease shows a Controller from before SCTP.
func TestOldRelease(t *testing.T) {
	s, c := signedIn(t, Options{Version: "22.1.2"})
	c.version = "22.1.2"
	for _, typ := range []string{"networkprofile", "healthmonitor"} {
		for _, o := range s.Objects(typ) {
			if strings.Contains(doc.Text(o["name"]), "SCTP") {
				t.Errorf("%s %s is shipped", typ, o["name"])
			}
		}
	}
	pool := c.want(201, "POST", "/api/pool", obj{"name": "p"})
	for m, fields := range schemaNewer(c.version) {
		for _, f := range fields {
			if m == "Pool" && pool.body[f] != nil {
				t.Errorf("a pool of 22.1.2 has %s", f)
			}
		}
	}
	c.version = "22.1.3"
	if r := c.do("GET", "/api/pool", nil); r.status != 400 || !strings.Contains(r.raw, "Invalid version") {
		t.Errorf("a version newer than the release: %d %s", r.status, r.raw)
	}
}

// schemaNewer lists the fields that a version does not have, by message.
func schemaNewer(v string) map[string][]string {
	at, _ := schema.ParseVersion(v)
	out := map[string][]string{}
	for name, m := range schema.Messages() {
		for _, f := range slices.Sorted(maps.Keys(m.Fields)) {
			if !m.Fields[f].Known(at) {
				out[name] = append(out[name], f)
			}
		}
	}
	return out
}

// TestTierGates shows fields and values that the lower tiers lack, by the system's tier and by the cloud's.
func TestTierGates(t *testing.T) {
	const none, only = "Field %s is not allowed in license tier %s", "Field %s allows only %s in license tier %s"
	rule := func(match, pool obj) obj {
		return obj{"name": "p", "l4_connection_policy": obj{"rules": []obj{{"name": "r", "index": 0, "match": match,
			"action": obj{"select_pool": pool}}}}}
	}
	tests := []struct {
		name, system, cloud string
		path                string
		body                obj
		want                string // "" if it passes
	}{
		{"nested field", "BASIC", "", "/api/l4policyset", policyBody("p", "amf"), fmt.Sprintf(none, "protocol", "BASIC")},
		{"client address of a rule", "BASIC", "", "/api/l4policyset", rule(obj{"client_ip": obj{"match_criteria": "IS_IN"}}, nil),
			fmt.Sprintf(none, "client_ip", "BASIC")},
		{"pool group of a rule", "BASIC", "", "/api/l4policyset", rule(nil, obj{"pool_group_ref": "pg"}),
			fmt.Sprintf(none, "pool_group_ref", "BASIC")},
		{"profile of one service", "BASIC", "", "/api/virtualservice", obj{"name": "v",
			"services": []obj{{"port": 1, "override_network_profile_ref": "np"}}},
			fmt.Sprintf(none, "override_network_profile_ref", "BASIC")},
		{"application profile of one service", "BASIC", "", "/api/virtualservice", obj{"name": "v",
			"services": []obj{{"port": 1, "override_application_profile_ref": "ap"}}},
			fmt.Sprintf(none, "override_application_profile_ref", "BASIC")},
		{"profile towards the servers", "BASIC", "", "/api/virtualservice", obj{"name": "v", "server_network_profile_ref": "np"},
			fmt.Sprintf(none, "server_network_profile_ref", "BASIC")},
		{"route health injection", "BASIC", "", "/api/virtualservice", obj{"name": "v", "enable_rhi": true},
			fmt.Sprintf(none, "enable_rhi", "BASIC")},
		{"SCTP profile", "BASIC", "", "/api/networkprofile", obj{"name": "n",
			"profile": obj{"type": "PROTOCOL_TYPE_TCP_PROXY", "sctp_proxy_profile": obj{"number_of_streams": 4}}},
			fmt.Sprintf(none, "sctp_proxy_profile", "BASIC")},
		{"SCTP monitor", "BASIC", "", "/api/healthmonitor", obj{"name": "h", "type": "HEALTH_MONITOR_TCP",
			"sctp_monitor": obj{"sctp_request": "r"}}, fmt.Sprintf(none, "sctp_monitor", "BASIC")},
		{"field", "ESSENTIALS", "", "/api/pool", obj{"name": "p", "pool_type": "POOL_TYPE_OAUTH"}, fmt.Sprintf(none, "pool_type", "ESSENTIALS")},
		{"field at its default", "ESSENTIALS", "", "/api/pool", obj{"name": "p", "pool_type": "POOL_TYPE_GENERIC_APP"}, ""},
		{"switch that is off", "ESSENTIALS", "", "/api/pool", obj{"name": "p", "use_service_ssl_mode": false}, ""},
		{"value", "ESSENTIALS", "", "/api/pool", obj{"name": "p", "lb_algorithm": "LB_ALGORITHM_RANDOM"},
			fmt.Sprintf(only, "lb_algorithm", "LB_ALGORITHM_LEAST_CONNECTIONS, LB_ALGORITHM_ROUND_ROBIN, LB_ALGORITHM_CONSISTENT_HASH",
				"ESSENTIALS")},
		{"value that is allowed", "ESSENTIALS", "", "/api/pool", obj{"name": "p", "lb_algorithm": "LB_ALGORITHM_ROUND_ROBIN"}, ""},
		{"number", "BASIC", "", "/api/pool", obj{"name": "p", "connection_ramp_duration": 20},
			fmt.Sprintf(only, "connection_ramp_duration", "0", "BASIC")},
		{"number at Enterprise's default", "BASIC", "", "/api/pool", obj{"name": "p", "connection_ramp_duration": 10}, ""},
		{"in one tier only", "ESSENTIALS", "", "/api/healthmonitor", obj{"name": "h", "type": "HEALTH_MONITOR_HTTP"},
			fmt.Sprintf(only, "type", "HEALTH_MONITOR_PING, HEALTH_MONITOR_TCP, HEALTH_MONITOR_UDP", "ESSENTIALS")},
		{"in the other tier", "BASIC", "", "/api/healthmonitor", obj{"name": "h", "type": "HEALTH_MONITOR_HTTP"}, ""},
		{"markers", "ESSENTIALS", "", "/api/pool", obj{"name": "p", "markers": []obj{{"key": "k", "values": []string{"v"}}}}, ""},
		{"Enterprise", "ENTERPRISE_WITH_CLOUD_SERVICES", "", "/api/l4policyset", policyBody("p", "amf"), ""},
		{"Enterprise of 2016", "ENTERPRISE_16", "", "/api/l4policyset", policyBody("p", "amf"), ""},
		{"Enterprise of 2018", "ENTERPRISE_18", "", "/api/l4policyset", policyBody("p", "amf"), ""},
		{"the cloud's tier", "ENTERPRISE", "BASIC", "/api/pool", obj{"name": "p", "lb_algorithm": "LB_ALGORITHM_RANDOM"},
			fmt.Sprintf(only, "lb_algorithm", "LB_ALGORITHM_LEAST_CONNECTIONS, LB_ALGORITHM_ROUND_ROBIN, LB_ALGORITHM_CONSISTENT_HASH", "BASIC")},
		{"the cloud's tier, for a type without cloud", "ENTERPRISE", "BASIC", "/api/l4policyset", policyBody("p", "amf"), ""},
		{"a cloud with a higher tier", "ESSENTIALS", "BASIC", "/api/pool", obj{"name": "p", "lb_algorithm": "LB_ALGORITHM_RANDOM"},
			fmt.Sprintf(only, "lb_algorithm", "LB_ALGORITHM_LEAST_CONNECTIONS, LB_ALGORITHM_ROUND_ROBIN, LB_ALGORITHM_CONSISTENT_HASH",
				"ESSENTIALS")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, c := signedIn(t, Options{})
			c.service("amf", "10.20.1.1")
			s.SetLicenseTier(tt.system)
			if tt.cloud != "" {
				if err := s.Edit("cloud", "admin", "Default-Cloud", func(b map[string]any) { b["license_tier"] = tt.cloud }); err != nil {
					t.Fatal(err)
				}
			}
			r := c.do("POST", tt.path, tt.body)
			if tt.want == "" && r.status != 201 || tt.want != "" && (r.status != 400 || doc.Str(r.body, "error") != tt.want) {
				t.Errorf("%d %s\nwant %s", r.status, r.raw, tt.want)
			}
		})
	}

	// Defaults differ by tier, too; and what the server has filled in may be sent back.
	s, c := signedIn(t, Options{LicenseTier: "ESSENTIALS"})
	r := c.want(201, "POST", "/api/pool", obj{"name": "p"})
	if r.body["connection_ramp_duration"] != 0.0 || r.body["append_port"] != "NEVER" {
		t.Errorf("defaults: %v %v", r.body["connection_ramp_duration"], r.body["append_port"])
	}
	c.want(200, "PUT", "/api/pool/"+r.uuid(), r.body)
	c.want(201, "POST", "/api/vsvip", vsvipBody("v"))
	vip := c.want(200, "GET", "/api/vsvip?name=v", nil)
	c.want(200, "PUT", "/api/vsvip/"+doc.Str(doc.Messages(vip.body["results"])[0], "uuid"), doc.Messages(vip.body["results"])[0])
	r = c.want(201, "POST", "/api/virtualservice", obj{"name": "v", "vsvip_ref": "/api/vsvip?name=v", "services": []obj{{"port": 80}}})
	for field, name := range map[string]string{"application_profile_ref": "System-L4-Application",
		"network_profile_ref": "System-TCP-Fast-Path"} {
		if !strings.HasSuffix(doc.Str(r.body, field), "#"+name) {
			t.Errorf("%s is %s", field, doc.Str(r.body, field))
		}
	}
	c.want(200, "PUT", "/api/virtualservice/"+r.uuid(), r.body)
	if w := s.Warnings(); len(w) > 0 {
		t.Error(w)
	}
}

// TestSchemaless shows a type that is known by name only.
func TestSchemaless(t *testing.T) {
	_, c := signedIn(t, Options{})
	for _, typ := range schema.Types() {
		own := slices.ContainsFunc(Endpoints(), func(e EndpointInfo) bool { return e.Path == "/api/"+typ.Path })
		if typ.Message() != nil || own || typ.Path == "user" {
			continue
		}
		path := "/api/" + typ.Path
		r := c.want(201, "POST", path, obj{"name": "n", "any": obj{"thing": []any{1.0, "two"}}, "pool_ref": ""})
		for _, k := range []string{"uuid", "url", "_last_modified", "tenant_ref"} {
			if doc.Str(r.body, k) == "" && !(k == "tenant_ref" && tenantless[typ.Path]) {
				t.Errorf("%s: no %s: %s", path, k, r.raw)
			}
		}
		if b, _ := json.Marshal(r.body["any"]); string(b) != `{"thing":[1,"two"]}` {
			t.Errorf("%s: %s", path, b)
		}
		if l := c.want(200, "GET", path+"?name=n", nil); l.body["count"] != 1.0 {
			t.Errorf("%s: %s", path, l.raw)
		}
		c.want(200, "PUT", path+"/"+r.uuid(), obj{"name": "n", "any": 2})
		c.want(204, "DELETE", path+"/"+r.uuid(), nil)
		c.want(404, "GET", path+"/"+r.uuid(), nil)
	}
}

// tenantless are the types that have no tenant_ref.
var tenantless = map[string]bool{"tenant": true, "systemconfiguration": true, "controllerproperties": true, "user": true,
	"useraccountprofile": true}
