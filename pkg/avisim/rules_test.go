// SPDX-License-Identifier: Apache-2.0

package avisim

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/doc"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/schema"
)

// ruleWorld is a server with one SCTP service "amf" and what the rules need beside it: VsVips "other" and, in cloud c2, "far";
// tenant blue, SE group g2.
func ruleWorld(t *testing.T, o Options) (*Server, *client, map[string]string) {
	s, c := signedIn(t, o)
	ids := c.service("amf", "10.20.1.1")
	ids["other"] = c.want(201, "POST", "/api/vsvip", vsvipBody("other")).uuid()
	for _, o := range []struct {
		typ  string
		body obj
	}{
		{"tenant", obj{"name": "blue"}}, {"serviceenginegroup", obj{"name": "g2"}}, {"cloud", obj{"name": "c2", "vtype": "CLOUD_NONE"}},
		{"vsvip", obj{"name": "far", "uuid": "far", "cloud_ref": "/api/cloud?name=c2", "vrf_context_ref": "/api/vrfcontext?name=global"}},
	} {
		if _, err := s.Create(o.typ, "admin", o.body); err != nil {
			t.Fatal(err)
		}
	}
	return s, c, ids
}

// ruleCase is a request that breaks one rule and no other.
type ruleCase struct {
	rule         string
	version      string // X-Avi-Version; "" for the newest
	method, path string // path: a type's name stands for the service's object of that type
	body         any
	text         string
	setUp        func(*Server, *client)
}

func ruleCases() []ruleCase {
	vs := func(change func(obj)) obj {
		b := vsBody("x", "other", "amf")
		change(b)
		return b
	}
	tier := func(name string) func(*Server, *client) {
		return func(s *Server, _ *client) { s.SetLicenseTier(name) }
	}
	off := func(rules ...string) func(*Server, *client) {
		return func(s *Server, _ *client) {
			for _, r := range rules {
				s.SetRule(r, false)
			}
		}
	}
	service := func(port int, more obj) obj {
		b := obj{"port": port}
		for k, v := range more {
			b[k] = v
		}
		return b
	}
	rules := func(indexes ...int) obj {
		var l []obj
		for _, i := range indexes {
			l = append(l, obj{"name": "r", "index": i})
		}
		return obj{"replace": obj{"l4_connection_policy": obj{"rules": l}}}
	}
	static := func(addr string) obj { return obj{"addr": addr, "type": "V4"} }
	httpVS := func(b obj) {
		b["application_profile_ref"] = "/api/applicationprofile?name=System-HTTP"
		b["network_profile_ref"] = "/api/networkprofile?name=System-TCP-Proxy"
		delete(b, "l4_policies")
	}
	return []ruleCase{
		{rule: "version-field", version: "20.1.4", method: "PATCH", path: "pool", body: obj{"replace": obj{"markers": []obj{{"key": "k"}}}},
			text: "Incoming request (v20_1_4) has field (markers) introduced in later versions(v20_1_5)."},
		{rule: "version-value", version: "22.1.2", method: "POST", path: "/api/l4policyset", body: policyBody("q", "amf"),
			text: "Incoming request (v22_1_2) has field (protocol) introduced in later versions(v22_1_3)."},
		{rule: "unknown-field", method: "POST", path: "/api/pool", body: obj{"name": "p",
			"servers": []obj{{"ip": static("10.0.0.1"), "nope": 1}}},
			text: `Message type "Server" has no field named "nope"`},
		{rule: "field-range", method: "POST", path: "/api/pool", body: obj{"name": "p", "default_server_port": 0},
			text: "Field check for default_server_port failed : Value 0 not in range 1-65535"},
		{rule: "field-range", method: "PATCH", path: "vsvip", body: obj{"replace": obj{"bgp_num_as_path_prepend": 11}},
			text: "Field check for bgp_num_as_path_prepend failed : Value 11 not in range 1-10"},
		{rule: "field-range", method: "POST", path: "/api/serviceenginegroup", body: obj{"name": "g", "num_dispatcher_cores": 3},
			text: "Field check for num_dispatcher_cores failed : Value 3 not allowed"},
		{rule: "field-enum", method: "POST", path: "/api/pool", body: obj{"name": "p", "lb_algorithm": "BEST"},
			text: "Field check for lb_algorithm failed : Invalid value BEST"},
		{rule: "list-max", method: "POST", path: "/api/serviceenginegroup", body: obj{"name": "g", "labels": []obj{{"key": "a"}, {"key": "b"}}},
			text: "Field check for labels failed : Maximum of 1 items allowed"},
		{rule: "list-min", method: "POST", path: "/api/sslprofile", body: obj{"name": "s"},
			text: "Field check for accepted_versions failed : There must be at least 1 accepted_versions"},
		{rule: "field-required", method: "POST", path: "/api/pool", body: obj{"name": "p", "servers": []obj{{"port": 1}}},
			text: "Field check for ip failed : Missing required field"},
		{rule: "empty-message", method: "POST", path: "/api/pool", body: obj{"name": "p",
			"placement_networks": []obj{{"network_ref": "/api/network?name=vip-network",
				"subnet": obj{"ip_addr": static("10.10.0.0"), "mask": 16}}}, "servers": []obj{{"ip": obj{}}}}, text: `Bad pb: Message type "IpAddr" is missing required field "addr"`},
		{rule: "tenant-ref", method: "POST", path: "/api/pool", body: obj{"name": "p", "tenant_ref": "/api/tenant?name=blue"},
			text: "tenant_ref blue differs from the tenant of the request"},
		{rule: "cloud-change", method: "PATCH", path: "pool", body: obj{"replace": obj{"cloud_ref": "/api/cloud?name=c2"}},
			text: "Cloud of Pool amf cannot be changed"},
		{rule: "tier-field", setUp: tier("BASIC"), method: "POST", path: "/api/pool", body: obj{"name": "p", "use_service_ssl_mode": true},
			text: "Field use_service_ssl_mode is not allowed in license tier BASIC"},
		{rule: "tier-contested", setUp: tier("BASIC"), method: "PATCH", path: "l4policyset", body: obj{"replace": obj{"description": "d"}},
			text: "Field protocol is not allowed in license tier BASIC"}, // the stored policy matches on the protocol
		{rule: "tier-value", setUp: tier("ESSENTIALS"), method: "POST", path: "/api/networkprofile",
			body: obj{"name": "n", "profile": obj{"type": "PROTOCOL_TYPE_TCP_PROXY"}},
			text: "Field type allows only PROTOCOL_TYPE_TCP_FAST_PATH, PROTOCOL_TYPE_UDP_FAST_PATH in license tier ESSENTIALS"},
		{rule: "tier-value", setUp: tier("BASIC"), method: "POST", path: "/api/healthmonitor",
			body: obj{"name": "h", "type": "HEALTH_MONITOR_SCTP"},
			text: "Field type allows only HEALTH_MONITOR_PING, HEALTH_MONITOR_TCP, HEALTH_MONITOR_UDP, HEALTH_MONITOR_HTTP, HEALTH_MONITOR_HTTPS in license tier BASIC"},
		{rule: "ref-exists", method: "POST", path: "/api/pool", body: obj{"name": "p", "vrf_ref": "/api/vrfcontext?name=nope"},
			text: "VrfContext object not found"},
		{rule: "name-unique", method: "POST", path: "/api/pool", body: obj{"name": "amf"},
			text: "Pool with this Name, Tenant ref and Cloud ref already exists."},
		{rule: "name-length", method: "POST", path: "/api/pool", body: obj{"name": strings.Repeat("ä", 256)},
			text: "Name of 256 characters is too long, the limit is 255"},
		{rule: "vs-tier-profile", setUp: tier("BASIC"), method: "POST", path: "/api/virtualservice",
			body: vs(func(b obj) { b["pool_ref"] = "/api/pool?name=amf" }),
			text: "Network profile type PROTOCOL_TYPE_SCTP_PROXY is not allowed in license tier BASIC"},
		{rule: "vs-address", method: "POST", path: "/api/virtualservice", body: vs(func(b obj) { delete(b, "vsvip_ref") }),
			text: "Virtual Service must have a VIP: vsvip_ref is required"},
		{rule: "vs-services-required", method: "POST", path: "/api/virtualservice", body: vs(func(b obj) { delete(b, "services") }),
			text: "Service mandatory for Virtual Service"},
		{rule: "vs-cloud", setUp: off("vs-vrf"), method: "POST", path: "/api/virtualservice", body: vs(func(b obj) { b["vsvip_ref"] = "far" }),
			text: "Cloud for x and VsVip far different"}, // each cloud has VRFs of its own
		{rule: "vs-vrf", setUp: func(s *Server, c *client) { c.want(201, "POST", "/api/vrfcontext", obj{"name": "second"}) }, method: "POST",
			path: "/api/virtualservice",
			body: vs(func(b obj) { b["vrf_context_ref"] = "/api/vrfcontext?name=second" }), text: "VRF Context for x and pool amf different"},
		{rule: "vs-services", method: "POST", path: "/api/virtualservice",
			body: vs(func(b obj) { b["services"] = []obj{service(1, nil), service(1, nil)} }),
			text: "Duplicate service port 1 for protocol SCTP in Virtual Service x"},
		{rule: "vs-service-ranges", method: "POST", path: "/api/virtualservice",
			body: vs(func(b obj) { b["services"] = []obj{service(1, obj{"port_range_end": 9}), service(5, nil)} }),
			text: "Service port range 5-5 for protocol SCTP overlaps another one in Virtual Service x"},
		{rule: "vs-service-range-end", method: "POST", path: "/api/virtualservice",
			body: vs(func(b obj) { b["services"] = []obj{service(9, obj{"port_range_end": 5})} }),
			text: "Service port range 9-5 ends before it begins"},
		{rule: "vs-pool-and-group", setUp: func(s *Server, c *client) { c.want(201, "POST", "/api/poolgroup", obj{"name": "g"}) },
			method: "POST", path: "/api/virtualservice", body: vs(func(b obj) {
				b["pool_ref"], b["pool_group_ref"] = "/api/pool?name=amf", "/api/poolgroup?name=g"
			}), text: "Virtual Service x has both a pool and a pool group"},
		{rule: "vs-sctp-application", method: "POST", path: "/api/virtualservice",
			body: vs(func(b obj) { b["application_profile_ref"] = "/api/applicationprofile?name=System-DNS" }),
			text: "Service port 38412 is SCTP, which APPLICATION_PROFILE_TYPE_DNS does not carry"},
		{rule: "vs-sctp-application", method: "POST", path: "/api/virtualservice",
			body: vs(func(b obj) { b["application_profile_ref"] = "/api/applicationprofile?name=System-Syslog" }),
			text: "Service port 38412 is SCTP, which APPLICATION_PROFILE_TYPE_SYSLOG does not carry"},
		{rule: "vs-sctp-application", method: "POST", path: "/api/virtualservice",
			body: vs(func(b obj) { b["services"] = []obj{service(1, obj{"enable_ssl": true})} }),
			text: "Service port 1 has enable_ssl, which SCTP does not carry"},
		{rule: "vs-sctp-parent", method: "POST", path: "/api/virtualservice", body: vs(func(b obj) { b["type"] = "VS_TYPE_VH_PARENT" }),
			text: "Service port 38412 is SCTP, which a parent of virtual hosts does not serve"},
		{rule: "profile-settings", method: "POST", path: "/api/networkprofile", body: obj{"name": "n", "profile": obj{
			"type": "PROTOCOL_TYPE_SCTP_PROXY", "tcp_proxy_profile": obj{}}},
			text: "A network profile of type PROTOCOL_TYPE_SCTP_PROXY has no tcp_proxy_profile"},
		{rule: "vs-http", method: "POST", path: "/api/virtualservice",
			body: vs(func(b obj) { delete(b, "application_profile_ref"); delete(b, "l4_policies") }),
			text: "HTTP application profile requires a TCP proxy network profile, service port 38412 has PROTOCOL_TYPE_SCTP_PROXY"},
		{rule: "vs-ssl", method: "POST", path: "/api/virtualservice",
			body: vs(func(b obj) { b["application_profile_ref"] = "/api/applicationprofile?name=System-SSL-Application" }),
			text: "SSL application profile requires a service with enable_ssl"},
		{rule: "vs-ssl", setUp: off("vs-sctp-application"), method: "POST", path: "/api/virtualservice", body: vs(func(b obj) {
			b["application_profile_ref"] = "/api/applicationprofile?name=System-SSL-Application"
			b["services"] = []obj{service(1, obj{"enable_ssl": true})}
		}), text: "SSL application profile requires a TCP proxy network profile"},
		{rule: "vs-l4-policies", setUp: off("vs-shared-pool"), method: "POST", path: "/api/virtualservice", body: vs(func(b obj) {
			policies := b["l4_policies"]
			httpVS(b)
			b["l4_policies"] = policies
		}), text: "L4 policies require an L4 application profile"},
		{rule: "vs-shared-vip", method: "POST", path: "/api/virtualservice", body: vs(func(b obj) { b["vsvip_ref"] = "/api/vsvip?name=amf" }),
			text: "Virtual Service amf already uses port 38412 of this VsVip"},
		{rule: "vs-shared-vip-protocol", method: "POST", path: "/api/virtualservice", body: vs(func(b obj) {
			b["vsvip_ref"] = "/api/vsvip?name=amf"
			b["network_profile_ref"] = "/api/networkprofile?name=System-TCP-Proxy"
		}), text: "Virtual Service amf already uses port 38412 of this VsVip"},
		{rule: "vs-shared-vip-segroup", method: "POST", path: "/api/virtualservice", body: vs(func(b obj) {
			b["vsvip_ref"] = "/api/vsvip?name=amf"
			b["services"] = []obj{service(99, nil)}
			b["se_group_ref"] = "/api/serviceenginegroup?name=g2"
		}), text: "Virtual Service amf shares the VsVip and is in another Service Engine Group"},
		{rule: "vs-shared-pool", method: "POST", path: "/api/virtualservice", body: vs(func(b obj) {
			httpVS(b)
			b["pool_ref"] = "/api/pool?name=amf"
		}), text: "Pool amf is used by Virtual Service amf with another type of application profile"},
		{rule: "vs-snat-vip", setUp: func(s *Server, _ *client) {
			_ = s.Edit("vsvip", "admin", "other", func(b map[string]any) { b["vip"] = []obj{{"vip_id": "0", "ip_address": static("10.10.77.7")}} })
		}, method: "POST", path: "/api/virtualservice", body: vs(func(b obj) { b["snat_ip"] = []obj{static("10.10.77.7")} }),
			text: "SNAT IP 10.10.77.7 overlaps with the VIP"},
		{rule: "vs-type-change", setUp: off("vs-sctp-parent"), method: "PATCH", path: "virtualservice",
			body: obj{"replace": obj{"type": "VS_TYPE_VH_PARENT"}},
			text: "Virtual Service type cannot be changed"},
		{rule: "vs-profile-change", method: "PATCH", path: "virtualservice",
			body: obj{"replace": obj{"network_profile_ref": "/api/networkprofile?name=System-UDP-Fast-Path"}},
			text: "Network profile type of Virtual Service amf cannot be changed from PROTOCOL_TYPE_SCTP_PROXY to PROTOCOL_TYPE_UDP_FAST_PATH while it is enabled"},
		{rule: "vs-segroup-change", method: "PATCH", path: "virtualservice",
			body: obj{"replace": obj{"se_group_ref": "/api/serviceenginegroup?name=g2"}},
			text: "Virtual Service must be disabled to change its Service Engine Group"},
		{rule: "vs-policy-index", method: "PATCH", path: "virtualservice", body: obj{"replace": obj{"l4_policies": []obj{
			{"index": 0, "l4_policy_set_ref": "/api/l4policyset?name=amf"}, {"index": 0, "l4_policy_set_ref": "/api/l4policyset?name=amf"}}}},
			text: "Unique constraints index has duplicated value(s)"},
		{rule: "policy-rule-index", method: "PATCH", path: "l4policyset", body: rules(1, 1),
			text: "Unique constraints index has duplicated value(s)"},
		{rule: "vrf-route-id", method: "POST", path: "/api/vrfcontext", body: obj{"name": "v", "static_routes": []obj{route1("1"), route1("1")}},
			text: "Field check for static_routes failed: Unique constraints route_id has duplicated value(s)"},
		{rule: "vs-vh-path", setUp: off("list-min"), method: "POST", path: "/api/virtualservice",
			body: vs(func(b obj) { b["vh_matches"] = []obj{{"host": "a.example"}} }),
			text: `{"vh_matches":"{"path":"Field check for path failed : There must be at least 1 path"}"}`},
		{rule: "cloud-vcenter", setUp: func(s *Server, c *client) {
			c.want(201, "POST", "/api/cloud", obj{"name": "v", "vtype": "CLOUD_VCENTER", "vcenter_configuration": obj{"vcenter_url": "10.0.0.1",
				"datacenter": "dc1", "privilege": "WRITE_ACCESS"}})
		}, method: "PATCH", path: "cloud", body: obj{"replace": obj{"vcenter_configuration": obj{"vcenter_url": "10.0.0.1", "datacenter": "dc2",
			"privilege": "WRITE_ACCESS"}}},
			text: "Change of Vcenter URL/Datacenter for a vCenter cloud is not supported. Please delete the cloud and create a new one"},
		{rule: "monitor-timeout", method: "POST", path: "/api/healthmonitor", body: obj{"name": "h", "type": "HEALTH_MONITOR_SCTP",
			"send_interval": 5, "receive_timeout": 5},
			text: "receive_timeout 5 must be less than send_interval 5"},
		{rule: "pool-service-port", method: "PATCH", path: "pool", body: obj{"replace": obj{"use_service_port": true}},
			text: "use_service_port requires a monitor_port on health monitor System-SCTP"},
		{rule: "profile-type-change", setUp: func(s *Server, c *client) {
			c.want(201, "POST", "/api/networkprofile", obj{"name": "np", "uuid": "np", "profile": obj{"type": "PROTOCOL_TYPE_SCTP_PROXY"}})
			_ = s.Edit("virtualservice", "admin", "amf", func(b map[string]any) { b["network_profile_ref"] = "/api/networkprofile?name=np" })
		}, method: "PATCH", path: "networkprofile", body: obj{"replace": obj{"profile": obj{"type": "PROTOCOL_TYPE_SCTP_FAST_PATH"}}},
			text: "Type of network profile np cannot be changed, it is used by VirtualService amf"},
		{rule: "vip-id", method: "PATCH", path: "vsvip", body: obj{"replace": obj{"vip": []obj{{"vip_id": "9", "auto_allocate_ip": true}}}},
			text: "Changing an existing VIP's vip_id is not supported"},
		{rule: "vip-preferred", method: "PUT", path: "vsvip", body: obj{"name": "amf",
			"vip": []obj{{"vip_id": "0", "auto_allocate_ip": true, "ip_address": static("10.10.9.9")}}},
			text: "If a new preferred IP is needed, please recreate the VIP"},
		{rule: "vip-address", method: "POST", path: "/api/vsvip", body: obj{"name": "v", "vip": []obj{{"ip_address": static("10.10.0.10")}}},
			text: "IP address 10.10.0.10 is already in use in this VRF"},
	}
}

// run makes the world of a case and sends its request.
func (tt ruleCase) run(t *testing.T, o Options) (*Server, func() response) {
	s, c, ids := ruleWorld(t, o)
	s.SetRule(tt.rule, true) // some are off at first
	if tt.setUp != nil {
		tt.setUp(s, c)
	}
	for typ, name := range map[string]string{"networkprofile": "np", "cloud": "v"} { // that a case may have made
		if o, ok := s.Object(typ, "admin", name); ok {
			ids[typ] = o["uuid"].(string)
		}
	}
	if tt.version != "" {
		c.version = tt.version
	}
	path := tt.path
	if id, ok := ids[path]; ok {
		path = "/api/" + path + "/" + id
	}
	return s, func() response { return c.do(tt.method, path, tt.body) }
}

// ruleOf finds a rule, or returns an empty one.
func ruleOf(id string) Rule {
	for _, r := range Rules() {
		if r.ID == id {
			return r
		}
	}
	return Rule{}
}

// TestRules breaks each rule by a request that breaks no other: it is refused with the status and text of the rule, and
// passes once the rule is switched off.
func TestRules(t *testing.T) {
	seen := map[string]bool{}
	for _, tt := range ruleCases() {
		seen[tt.rule] = true
		t.Run(tt.rule, func(t *testing.T) {
			s, send := tt.run(t, Options{})
			r := send()
			if r.status != ruleOf(tt.rule).Status || doc.Str(r.body, "error") != tt.text {
				t.Errorf("%d %s\nwant %d %s", r.status, r.raw, ruleOf(tt.rule).Status, tt.text)
			}
			s.SetRule(tt.rule, false)
			if r = send(); r.status >= 300 {
				t.Errorf("with the rule off: %d %s", r.status, r.raw)
			}
		})
	}
	for _, r := range Rules() {
		if !seen[r.ID] {
			t.Errorf("no case for rule %s", r.ID)
		}
	}
}

// TestStrictEvidence asks for documented rules: those of which less is known let the write pass and are counted.
func TestStrictEvidence(t *testing.T) {
	for _, tt := range ruleCases() {
		for _, grade := range []Evidence{Recorded, Documented, Inferred} {
			r := ruleOf(tt.rule)
			t.Run(tt.rule+"/"+string(grade), func(t *testing.T) {
				s, send := tt.run(t, Options{StrictEvidence: grade})
				answer := send()
				weaker := slices.Index(schema.Grades, r.Known) > slices.Index(schema.Grades, grade)
				if weaker != (answer.status < 300) {
					t.Errorf("a rule that is %s: %d %s", r.Known, answer.status, answer.raw)
				}
				warned := slices.ContainsFunc(s.Warnings(), func(w Warning) bool {
					return w.Rule == tt.rule && w.Count > 0 && w.Status == r.Status && w.Known == r.Known && w.Text != "" && w.Type != "" && w.Object != ""
				})
				if warned != weaker {
					t.Errorf("warnings: %+v", s.Warnings())
				}
			})
		}
	}
}

// TestLegal shows what is not refused though one might expect it.
func TestLegal(t *testing.T) {
	vs := func(change func(obj)) obj {
		b := vsBody("x", "other", "amf")
		change(b)
		return b
	}
	profile := func(name string) string { return "/api/networkprofile?name=" + name }
	tests := []struct {
		name, method, path string
		body               obj
	}{
		{"http_policies and a network security policy on an L4 virtual service", "POST", "/api/virtualservice", vs(func(b obj) {
			b["http_policies"] = []obj{{"index": 11, "http_policy_set_ref": "/api/httppolicyset?name=hps"}}
			b["network_security_policy_ref"] = "/api/networksecuritypolicy?name=nsp"
		})},
		{"a monitor of another protocol", "POST", "/api/pool", obj{"name": "p",
			"health_monitor_refs": []string{"/api/healthmonitor?name=System-TCP"}}},
		{"one port with several protocols", "POST", "/api/virtualservice", vs(func(b obj) {
			b["network_profile_ref"] = profile("System-TCP-Proxy")
			b["services"] = []obj{{"port": 53}, {"port": 53, "override_network_profile_ref": profile("System-UDP-Fast-Path")},
				{"port": 53, "override_network_profile_ref": profile("System-SCTP-Proxy")}}
		})},
		{"adjacent ranges", "POST", "/api/virtualservice",
			vs(func(b obj) { b["services"] = []obj{{"port": 1, "port_range_end": 4}, {"port": 5}} })},
		{"another port of a VsVip that is in use, with the same pool", "POST", "/api/virtualservice", vs(func(b obj) {
			b["vsvip_ref"], b["services"] = "/api/vsvip?name=amf", []obj{{"port": 99}}
		})},
		{"a child without address", "POST", "/api/virtualservice", vs(func(b obj) {
			delete(b, "vsvip_ref")
			b["type"], b["vh_parent_vs_ref"] = "VS_TYPE_VH_CHILD", "/api/virtualservice?name=amf"
		})},
		{"an SE group for a disabled virtual service", "PATCH", "virtualservice",
			obj{"replace": obj{"se_group_ref": "/api/serviceenginegroup?name=g2"}}},
		{"another profile for a disabled virtual service", "PATCH", "virtualservice",
			obj{"replace": obj{"network_profile_ref": profile("System-UDP-Fast-Path")}}},
		{"a special value beside the range", "PATCH", "pool", obj{"replace": obj{"graceful_disable_timeout": -1, "connection_ramp_duration": 0}}},
		{"SNAT with another address", "POST", "/api/virtualservice",
			vs(func(b obj) { b["snat_ip"] = []obj{{"addr": "10.99.0.1", "type": "V4"}} })},
		{"a name of 255 characters", "POST", "/api/pool", obj{"name": strings.Repeat("n", 255)}},
		{"an unknown field, and a bool as text", "POST", "/api/pool", obj{"name": "p", "nope": 1, "enabled": "true"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, c, ids := ruleWorld(t, Options{})
			c.want(201, "POST", "/api/httppolicyset", obj{"name": "hps"})
			c.want(201, "POST", "/api/networksecuritypolicy", obj{"name": "nsp"})
			s.SetRule("vs-profile-change", true)
			if strings.Contains(tt.name, "disabled") {
				_ = s.Edit("virtualservice", "admin", "amf", func(b map[string]any) { b["enabled"] = false })
			}
			if id, ok := ids[tt.path]; ok {
				tt.path = "/api/" + tt.path + "/" + id
			}
			r := c.do(tt.method, tt.path, tt.body)
			if r.status != http.StatusOK && r.status != http.StatusCreated {
				t.Errorf("%d %s", r.status, r.raw)
			}
			if _, kept := r.body["nope"]; kept {
				t.Error("the unknown field is kept")
			}
		})
	}
}

// TestRulesOff shows that what is off at first lets pass what it would refuse.
func TestRulesOff(t *testing.T) {
	for _, tt := range ruleCases() {
		if !ruleOf(tt.rule).Off {
			continue
		}
		s, c, ids := ruleWorld(t, Options{})
		path := tt.path
		if id, ok := ids[path]; ok {
			path = "/api/" + path + "/" + id
		}
		if r := c.do(tt.method, path, tt.body); r.status >= 300 || len(s.Warnings()) > 0 {
			t.Errorf("%s: %d %s", tt.rule, r.status, r.raw)
		}
	}
}

// TestUnknownFields shows the option.
func TestUnknownFields(t *testing.T) {
	body := obj{"name": "p", "nope": 1}
	_, c := signedIn(t, Options{UnknownFields: "reject"})
	c.want(400, "POST", "/api/pool", body)
	_, c = signedIn(t, Options{UnknownFields: "accept"})
	c.want(201, "POST", "/api/pool", body)
	for _, o := range []Options{{UnknownFields: "perhaps"}, {StrictEvidence: "certain"}} {
		if s, err := New(o); err == nil {
			s.Close()
			t.Errorf("%+v is accepted", o)
		}
	}
}
