package avisim

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// firstWave and secondWave are the types that the table has to list in full.
const (
	firstWave = "tenant cloud vrfcontext network serviceenginegroup serviceengine ipamdnsproviderprofile networkprofile applicationprofile" +
		" applicationpersistenceprofile analyticsprofile healthmonitor pool poolgroup l4policyset networksecuritypolicy ipaddrgroup vsvip virtualservice"
	secondWave = "pkiprofile sslkeyandcertificate sslprofile httppolicyset vsdatascriptset stringgroup errorpageprofile systemconfiguration controllerproperties"
)

// TestSchemaIntegrity looks at every line of the table.
func TestSchemaIntegrity(t *testing.T) {
	paths := map[string]*objectType{}
	for _, typ := range objectTypes() {
		paths[typ.path] = typ
	}
	for _, path := range strings.Fields(firstWave + " " + secondWave) {
		if paths[path] == nil || paths[path].message() == nil {
			t.Errorf("type %s has no fields", path)
		}
	}
	for path := range typeTraits() {
		if paths[path] == nil {
			t.Errorf("type %s has traits, and is not in the table", path)
		}
	}
	if n := len(paths); n < 140 {
		t.Errorf("%d types", n)
	}
	kinds := []string{"str", "bool", "int", "int64", "uint", "uint64", "num", "msg", "ref"}
	judge := func(id, format string, args ...any) *apiError { return refuse(400, id+": "+format, args...) }
	reached := map[string]bool{}
	var reach func(m *message)
	reach = func(m *message) {
		if reached[m.name] {
			return
		}
		reached[m.name] = true
		for _, f := range m.fields {
			if f.message != nil {
				reach(f.message)
			}
		}
	}
	for _, typ := range paths {
		if m := typ.message(); m != nil {
			reach(m)
		}
	}
	for name, m := range schema() {
		if !reached[name] {
			t.Errorf("no object type reaches message %s", name)
		}
		for _, f := range m.fields {
			at := name + "." + f.name
			fail := func(format string, args ...any) { t.Errorf(at+": "+format, args...) }
			if !slices.Contains(kinds, f.kind) {
				fail("kind %s", f.kind)
			}
			if (f.kind == "msg") != (f.message != nil) || f.kind == "ref" && schemaPath(f.target) == "" {
				fail("leads to %s, which is not there", f.target)
			}
			if f.ranged && f.lo > f.hi || f.max > 0 && f.min > f.max || (f.min > 0 || f.max > 0 || f.key != nil) && !f.list {
				fail("limits %v..%v, min %d, max %d, list %v", f.lo, f.hi, f.min, f.max, f.list)
			}
			if f.enum != nil {
				if len(f.enum.values) == 0 || len(slices.Compact(slices.Sorted(slices.Values(f.enum.values)))) != len(f.enum.values) {
					fail("enumeration %v", f.enum.values)
				}
				for v := range f.enum.since {
					if !slices.Contains(f.enum.values, v) {
						fail("a date for %s, which is no value", v)
					}
				}
			}
			for _, k := range f.key {
				if f.message == nil || f.message.fields[k] == nil {
					fail("key field %s is not in the entry", k)
				}
			}
			if f.key != nil && !slices.Equal(f.key, listKey(f.name)) {
				fail("key %v, another list of that name has %v", f.key, listKey(f.name))
			}
			for i, limit := range f.lower {
				for _, a := range limit.allowed {
					var v any = a
					if f.kind != "str" {
						v = literal(a)
					}
					if _, err := f.conform(v, judge); err != nil && f.kind != "msg" {
						fail("%s is allowed in %s and not valid: %v", a, lowerTiers[i], err)
					}
				}
				if limit.preset != nil && f.kind != "ref" && limit.limited && len(limit.allowed) > 0 && !f.within(limit, limit.preset) {
					fail("default %v of %s is not allowed there", limit.preset, lowerTiers[i])
				}
			}
			for _, v := range []any{f.value, f.lower[0].preset, f.lower[1].preset} {
				if v == nil || f.kind == "ref" {
					continue
				}
				zero := v == 0.0 && f.ranged // recorded so for some, whose range begins at 1
				if w, err := f.conform(v, judge); err != nil && !zero || err == nil && w != v {
					fail("default %v is not valid: %v", v, err)
				}
			}
			if f.until != 0 && slices.ContainsFunc(f.since, func(s version) bool { return s >= f.until }) {
				fail("gone before it came")
			}
		}
	}
}

// schemaPath tells if a type is in the table, those with endpoints of their own included.
func schemaPath(path string) string {
	for _, t := range table().types {
		if t.path == path {
			return t.path
		}
	}
	return ""
}

// TestSchemaFacts compares the table with facts that are known from elsewhere: the project's record of the API.
func TestSchemaFacts(t *testing.T) {
	sctp, _ := parseVersion("22.1.3")
	for _, tt := range []struct{ at, want string }{
		{"SCTPProxyProfile.cookie_expiration_timeout", "int 60..3600 =60 since 22.1.3 ent"},
		{"SCTPProxyProfile.heartbeat_interval", "int 30..247483647 =30 since 22.1.3 ent"},
		{"SCTPProxyProfile.idle_timeout", "int 0..247483647 since 22.1.3 ent"},
		{"SCTPProxyProfile.max_retransmissions_association", "int 1..247483647 =10 since 22.1.3 ent"},
		{"SCTPProxyProfile.max_retransmissions_init_chunks", "int 1..247483647 =8 since 22.1.3 ent"},
		{"SCTPProxyProfile.number_of_streams", "int 1..100 =10 since 22.1.3 ent"},
		{"SCTPProxyProfile.receive_window", "int 2..65536 =1024 since 22.1.3 ent"},
		{"SCTPProxyProfile.reset_timeout", "int 0..247483647 since 22.1.3 ent"},
		{"NetworkProfileUnion.sctp_proxy_profile", "msg:SCTPProxyProfile since 22.1.3 ent"},
		{"HealthMonitor.sctp_monitor", "msg:HealthMonitorSctp since 22.1.3 ent"},
		{"HealthMonitor.send_interval", "int 1..3600 =10"},
		{"HealthMonitor.receive_timeout", "int 1..2400 =4"},
		{"HealthMonitor.successful_checks", "int 1..50 =2"},
		{"HealthMonitor.monitor_port", "int 1..65535 or [0]"},
		{"L4RuleMatchTarget.protocol", "msg:L4RuleProtocolMatch since 17.2.7 ent"},
		{"L4RuleMatchTarget.client_ip", "msg:IpAddrMatch since 17.2.7 ent"},
		{"L4RulePortMatch.ports", "[]uint 1..65535 since 17.2.7"},
		{"L4RuleActionSelectPool.pool_group_ref", "ref:poolgroup since 17.2.7 ent"},
		{"Service.port", "uint req 0..65535"},
		{"Service.override_network_profile_ref", "ref:networkprofile ent"},
		{"VirtualService.services", "[]msg:Service max 2048 key [port override_network_profile_ref]"},
		{"VirtualService.enable_rhi", "bool ent"},
		{"VirtualService.server_network_profile_ref", "ref:networkprofile ent"},
		{"VirtualService.revoke_vip_route", "bool since 30.2.1 ent"},
		{"VirtualService.bgp_peer_labels", "[]str max 128 since 20.1.5 ent"},
		{"VirtualService.snat_ip", "[]msg:IpAddr max 32 ESSENTIALS none"},
		{"VirtualService.weight", "uint 1..128 =1 ESSENTIALS [1] BASIC [1]"},
		{"VirtualService.max_cps_per_client", "uint 10..1000 or [0] =0"},
		{"VirtualService.network_profile_ref", "ref:networkprofile ESSENTIALS default System-TCP-Fast-Path"},
		{"VirtualService.application_profile_ref", "ref:applicationprofile ESSENTIALS default System-L4-Application"},
		{"Vip.placement_networks", "[]msg:VipPlacementNetwork max 10 key [network_ref subnet] since 18.2.5"},
		{"Vip.prefix_length", "uint 0..32 =32 since 20.1.1 ESSENTIALS [32] BASIC [32]"},
		{"Pool.servers", "[]msg:Server max 5000 key [ip port]"},
		{"Pool.health_monitor_refs", "[]ref:healthmonitor max 50"},
		{"Pool.graceful_disable_timeout", "int 1..7200 or [0 -1] =1 until 31.2.1"},
		{"Pool.lb_algo_rr_per_se", "bool since 21.1.5 22.1.3 ent"},
		{"PoolGroup.enable_http2", "bool since 20.1.1 until 30.2.1"},
		{"VsVip.dns_info", "[]msg:DnsInfo max 1000 key [fqdn] since 17.1.1 ent"},
		{"ServiceEngineGroup.max_vs_per_se", "int 1..1000 =10"},
		{"ServiceEngineGroup.ha_mode", "str enum =HA_MODE_SHARED ESSENTIALS default HA_MODE_LEGACY_ACTIVE_STANDBY BASIC default HA_MODE_LEGACY_ACTIVE_STANDBY" +
			" ESSENTIALS [HA_MODE_LEGACY_ACTIVE_STANDBY] BASIC [HA_MODE_LEGACY_ACTIVE_STANDBY]"},
		{"StaticRoute.labels", "[]msg:KeyValue max 1 key [key] since 20.1.1"},
		{"RoleFilterMatchLabel.key", "str req since 20.1.3"},
		{"ControllerProperties.api_idle_timeout", "uint 0..1440 =15"},
	} {
		name, field, _ := strings.Cut(tt.at, ".")
		if got := describe(schema()[name].fields[field]); got != tt.want {
			t.Errorf("%s: %s\nwant %s", tt.at, got, tt.want)
		}
	}
	for at, value := range map[string]string{"NetworkProfileUnion.type": "PROTOCOL_TYPE_SCTP_PROXY", "HealthMonitor.type": "HEALTH_MONITOR_SCTP", "L4RuleProtocolMatch.protocol": "PROTOCOL_SCTP"} {
		name, field, _ := strings.Cut(at, ".")
		if got := schema()[name].fields[field].newer(value); got != sctp {
			t.Errorf("%s: %s since %s", at, value, got.join("."))
		}
	}
	for i, want := range []string{"PROTOCOL_TYPE_TCP_FAST_PATH PROTOCOL_TYPE_UDP_FAST_PATH", "PROTOCOL_TYPE_TCP_PROXY PROTOCOL_TYPE_TCP_FAST_PATH PROTOCOL_TYPE_UDP_FAST_PATH"} {
		if got := strings.Join(schema()["NetworkProfileUnion"].fields["type"].lower[i].allowed, " "); got != want {
			t.Errorf("%s has %s, want %s", lowerTiers[i], got, want)
		}
	}
}

// describe renders what the table knows of a field.
func describe(f *field) string {
	kind := f.kind
	if f.target != "" {
		kind += ":" + f.target
	}
	if f.list {
		kind = "[]" + kind
	}
	out := []string{kind}
	add := func(is bool, format string, args ...any) {
		if is {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	add(f.required, "req")
	add(f.ranged, "%s..%s", number(f.lo), number(f.hi))
	add(f.also != nil, "or %v", f.also)
	add(f.enum != nil, "enum")
	add(f.min > 0, "min %d", f.min)
	add(f.max > 0, "max %d", f.max)
	add(f.value != nil, "=%v", f.value)
	add(f.key != nil, "key %v", f.key)
	for i, s := range f.since {
		if i == 0 {
			out = append(out, "since")
		}
		out = append(out, s.join("."))
	}
	add(f.until != 0, "until %s", f.until.join("."))
	for i, l := range f.lower {
		add(l.preset != nil, "%s default %v", lowerTiers[i], l.preset)
	}
	none := func(l tierLimit) bool { return l.limited && len(l.allowed) == 0 }
	if none(f.lower[0]) && none(f.lower[1]) {
		return strings.Join(append(out, "ent"), " ")
	}
	for i, l := range f.lower {
		add(none(l), "%s none", lowerTiers[i])
		add(len(l.allowed) > 0, "%s %v", lowerTiers[i], l.allowed)
	}
	return strings.Join(out, " ")
}

// TestFieldVersions shows fields that several lines of releases got at different times.
func TestFieldVersions(t *testing.T) {
	for _, tt := range []struct {
		since, at string
		known     bool
		named     string // the version that a refusal names
	}{
		{"", "16.4.2", true, ""},
		{"22.1.3", "22.1.2", false, "22.1.3"},
		{"22.1.3", "22.1.3", true, ""},
		{"22.1.3", "30.1.1", true, ""},
		{"21.1.5,22.1.3", "21.1.4", false, "21.1.5"},
		{"21.1.5,22.1.3", "21.1.6", true, ""},
		{"21.1.5,22.1.3", "22.1.2", false, "22.1.3"},
		{"17.2.14,18.1.5,18.2.1", "18.1.4", false, "18.1.5"},
		{"17.2.14,18.1.5,18.2.1", "17.2.15", true, ""},
		{"17.2.14,18.1.5,18.2.1", "20.1.1", true, ""},
	} {
		line := "f str"
		if tt.since != "" {
			line += " since=" + tt.since
		}
		f, err := parseField(strings.Fields(line), "M", nil)
		if err != nil {
			t.Fatal(err)
		}
		at, _ := parseVersion(tt.at)
		named := f.introduced(at).join(".")
		if f.known(at) != tt.known || !tt.known && named != tt.named {
			t.Errorf("since %s, at %s: known %v, named %s", tt.since, tt.at, f.known(at), named)
		}
	}
}

// TestVersionGates writes and reads with older versions: what is newer is refused, in nested messages and by every way to
// write, and not shown.
func TestVersionGates(t *testing.T) {
	s, c := signedIn(t, Options{})
	ids := c.service("amf", "10.20.1.1")
	np := c.want(201, "POST", "/api/networkprofile", obj{"name": "np", "profile": obj{"type": "PROTOCOL_TYPE_SCTP_PROXY", "sctp_proxy_profile": obj{"number_of_streams": 4}}}).uuid()
	static := obj{"addr": "10.0.0.1", "type": "V4"}

	for _, tt := range []struct {
		version, method, path string
		body                  any
		field                 string // refused; "" for a body that passes
		since                 string
	}{
		{"22.1.2", "POST", "/api/networkprofile", obj{"name": "n", "profile": obj{"type": "PROTOCOL_TYPE_SCTP_PROXY"}}, "type", "22_1_3"},
		{"22.1.2", "PUT", "/api/networkprofile/" + np, obj{"name": "np", "profile": obj{"type": "PROTOCOL_TYPE_TCP_PROXY", "sctp_proxy_profile": obj{}}}, "sctp_proxy_profile", "22_1_3"},
		{"20.1.9", "PATCH", "/api/pool/" + ids["pool"], obj{"add": obj{"servers": []obj{{"ip": static, "preference_order": 2}}}}, "preference_order", "22_1_1"},
		{"20.1.9", "PATCH", "/api/pool/" + ids["pool"], obj{"json_patch": []obj{{"op": "add", "path": "/servers", "value": []obj{{"ip": static, "preference_order": 2}}}}}, "preference_order", "22_1_1"},
		{"20.1.9", "PATCH", "/api/pool/" + ids["pool"], obj{"json_patch": []obj{{"op": "replace", "path": "/servers/0/preference_order", "value": 2}}}, "preference_order", "22_1_1"},
		{"21.1.6", "POST", "/api/pool", obj{"name": "rr", "lb_algo_rr_per_se": true}, "", ""},
		{"22.1.2", "POST", "/api/pool", obj{"name": "rr2", "lb_algo_rr_per_se": true}, "lb_algo_rr_per_se", "22_1_3"},
		{"", "POST", "/api/vsvip", obj{"name": "v", "tier1_lr": "x"}, "tier1_lr", "20_1_1"},
		{"17.1.1", "POST", "/api/pool", obj{"name": "old", "default_server_port": 80}, "", ""},
		{"20.1.1", "PUT", "/api/pool/" + ids["pool"], obj{"name": "amf", "configpb_attributes": obj{"version": 1}}, "configpb_attributes", "21_1_1"},
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
		if want := fmt.Sprintf("Incoming request (v%s) has field (%s) introduced in later versions(v%s).", at, tt.field, tt.since); r.status != 400 || str(r.body, "error") != want {
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
		if v := at(c.want(200, "GET", tt.path, nil).body, tt.keys...); (v != nil) != tt.shown {
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
			if strings.Contains(text(o["name"]), "SCTP") {
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
	at, _ := parseVersion(v)
	out := map[string][]string{}
	for name, m := range schema() {
		for _, f := range slices.Sorted(maps.Keys(m.fields)) {
			if !m.fields[f].known(at) {
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
		return obj{"name": "p", "l4_connection_policy": obj{"rules": []obj{{"name": "r", "index": 0, "match": match, "action": obj{"select_pool": pool}}}}}
	}
	tests := []struct {
		name, system, cloud string
		path                string
		body                obj
		want                string // "" if it passes
	}{
		{"nested field", "BASIC", "", "/api/l4policyset", policyBody("p", "amf"), fmt.Sprintf(none, "protocol", "BASIC")},
		{"client address of a rule", "BASIC", "", "/api/l4policyset", rule(obj{"client_ip": obj{"match_criteria": "IS_IN"}}, nil), fmt.Sprintf(none, "client_ip", "BASIC")},
		{"pool group of a rule", "BASIC", "", "/api/l4policyset", rule(nil, obj{"pool_group_ref": "pg"}), fmt.Sprintf(none, "pool_group_ref", "BASIC")},
		{"profile of one service", "BASIC", "", "/api/virtualservice", obj{"name": "v", "services": []obj{{"port": 1, "override_network_profile_ref": "np"}}},
			fmt.Sprintf(none, "override_network_profile_ref", "BASIC")},
		{"application profile of one service", "BASIC", "", "/api/virtualservice", obj{"name": "v", "services": []obj{{"port": 1, "override_application_profile_ref": "ap"}}},
			fmt.Sprintf(none, "override_application_profile_ref", "BASIC")},
		{"profile towards the servers", "BASIC", "", "/api/virtualservice", obj{"name": "v", "server_network_profile_ref": "np"}, fmt.Sprintf(none, "server_network_profile_ref", "BASIC")},
		{"route health injection", "BASIC", "", "/api/virtualservice", obj{"name": "v", "enable_rhi": true}, fmt.Sprintf(none, "enable_rhi", "BASIC")},
		{"SCTP profile", "BASIC", "", "/api/networkprofile", obj{"name": "n", "profile": obj{"type": "PROTOCOL_TYPE_TCP_PROXY", "sctp_proxy_profile": obj{"number_of_streams": 4}}},
			fmt.Sprintf(none, "sctp_proxy_profile", "BASIC")},
		{"SCTP monitor", "BASIC", "", "/api/healthmonitor", obj{"name": "h", "type": "HEALTH_MONITOR_TCP", "sctp_monitor": obj{"sctp_request": "r"}}, fmt.Sprintf(none, "sctp_monitor", "BASIC")},
		{"field", "ESSENTIALS", "", "/api/pool", obj{"name": "p", "pool_type": "POOL_TYPE_OAUTH"}, fmt.Sprintf(none, "pool_type", "ESSENTIALS")},
		{"field at its default", "ESSENTIALS", "", "/api/pool", obj{"name": "p", "pool_type": "POOL_TYPE_GENERIC_APP"}, ""},
		{"switch that is off", "ESSENTIALS", "", "/api/pool", obj{"name": "p", "use_service_ssl_mode": false}, ""},
		{"value", "ESSENTIALS", "", "/api/pool", obj{"name": "p", "lb_algorithm": "LB_ALGORITHM_RANDOM"},
			fmt.Sprintf(only, "lb_algorithm", "LB_ALGORITHM_LEAST_CONNECTIONS, LB_ALGORITHM_ROUND_ROBIN, LB_ALGORITHM_CONSISTENT_HASH", "ESSENTIALS")},
		{"value that is allowed", "ESSENTIALS", "", "/api/pool", obj{"name": "p", "lb_algorithm": "LB_ALGORITHM_ROUND_ROBIN"}, ""},
		{"number", "BASIC", "", "/api/pool", obj{"name": "p", "connection_ramp_duration": 20}, fmt.Sprintf(only, "connection_ramp_duration", "0", "BASIC")},
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
			fmt.Sprintf(only, "lb_algorithm", "LB_ALGORITHM_LEAST_CONNECTIONS, LB_ALGORITHM_ROUND_ROBIN, LB_ALGORITHM_CONSISTENT_HASH", "ESSENTIALS")},
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
			if tt.want == "" && r.status != 201 || tt.want != "" && (r.status != 400 || str(r.body, "error") != tt.want) {
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
	r = c.want(201, "POST", "/api/virtualservice", obj{"name": "v", "vsvip_ref": "/api/vsvip?name=v", "services": []obj{{"port": 80}}})
	for field, name := range map[string]string{"application_profile_ref": "System-L4-Application", "network_profile_ref": "System-TCP-Fast-Path"} {
		if !strings.HasSuffix(str(r.body, field), "#"+name) {
			t.Errorf("%s is %s", field, str(r.body, field))
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
	for _, typ := range objectTypes() {
		own := slices.ContainsFunc(endpointTable, func(e endpoint) bool { return e.path == typ.path })
		if typ.message() != nil || own || typ.path == "user" {
			continue
		}
		path := "/api/" + typ.path
		r := c.want(201, "POST", path, obj{"name": "n", "any": obj{"thing": []any{1.0, "two"}}, "pool_ref": ""})
		for _, k := range []string{"uuid", "url", "_last_modified", "tenant_ref"} {
			if str(r.body, k) == "" && !(k == "tenant_ref" && tenantless[typ.path]) {
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

func BenchmarkParseSchema(b *testing.B) {
	for b.Loop() {
		if _, err := parseSchema(schemaText); err != nil {
			b.Fatal(err)
		}
	}
}
