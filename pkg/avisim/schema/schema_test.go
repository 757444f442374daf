// SPDX-License-Identifier: Apache-2.0

package schema

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/doc"
)

// firstWave and secondWave are the types that the table has to list in full.
const (
	firstWave = "tenant cloud vrfcontext network serviceenginegroup serviceengine ipamdnsproviderprofile networkprofile applicationprofile" +
		" applicationpersistenceprofile analyticsprofile healthmonitor pool poolgroup l4policyset networksecuritypolicy ipaddrgroup vsvip virtualservice"
	secondWave = "pkiprofile sslkeyandcertificate sslprofile httppolicyset vsdatascriptset stringgroup errorpageprofile systemconfiguration controllerproperties"
)

// TestIntegrity looks at every line of the table.
func TestIntegrity(t *testing.T) {
	paths := map[string]*Type{}
	for _, typ := range Types() {
		paths[typ.Path] = typ
	}
	for _, path := range strings.Fields(firstWave + " " + secondWave) {
		if paths[path] == nil || paths[path].Message() == nil {
			t.Errorf("type %s has no fields", path)
		}
	}
	if n := len(paths); n < 140 {
		t.Errorf("%d types", n)
	}
	kinds := []string{"str", "bool", "int", "int64", "uint", "uint64", "num", "msg", "ref"}
	judge := func(id, format string, args ...any) *Refusal {
		return Refuse(400, id+": "+format, args...)
	}
	reached := map[string]bool{}
	var reach func(m *Message)
	reach = func(m *Message) {
		if reached[m.name] {
			return
		}
		reached[m.name] = true
		for _, f := range m.Fields {
			if f.message != nil {
				reach(f.message)
			}
		}
	}
	for _, typ := range paths {
		if m := typ.Message(); m != nil {
			reach(m)
		}
	}
	for name, m := range Messages() {
		if !reached[name] {
			t.Errorf("no object type reaches message %s", name)
		}
		for _, f := range m.Fields {
			at := name + "." + f.name
			fail := func(format string, args ...any) { t.Errorf(at+": "+format, args...) }
			if !slices.Contains(kinds, f.Kind) {
				fail("kind %s", f.Kind)
			}
			if (f.Kind == "msg") != (f.message != nil) || f.Kind == "ref" && schemaPath(f.Target) == "" {
				fail("leads to %s, which is not there", f.Target)
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
				if f.message == nil || f.message.Fields[k] == nil {
					fail("key field %s is not in the entry", k)
				}
			}
			if f.key != nil && !slices.Equal(f.key, ListKey(f.name)) {
				fail("key %v, another list of that name has %v", f.key, ListKey(f.name))
			}
			for i, limit := range f.Lower {
				for _, a := range limit.Allowed {
					var v any = a
					if f.Kind != "str" {
						v = literal(a)
					}
					if _, err := f.conform(v, judge); err != nil && f.Kind != "msg" {
						fail("%s is allowed in %s and not valid: %v", a, LowerTiers[i], err)
					}
				}
				if limit.preset != nil && f.Kind != "ref" && limit.limited && len(limit.Allowed) > 0 && !f.within(limit, limit.preset) {
					fail("default %v of %s is not allowed there", limit.preset, LowerTiers[i])
				}
			}
			for _, v := range []any{f.value, f.Lower[0].preset, f.Lower[1].preset} {
				if v == nil || f.Kind == "ref" {
					continue
				}
				zero := v == 0.0 && f.ranged // recorded so for some, whose range begins at 1
				if w, err := f.conform(v, judge); err != nil && !zero || err == nil && w != v {
					fail("default %v is not valid: %v", v, err)
				}
			}
			if f.until != 0 && slices.ContainsFunc(f.since, func(s Version) bool { return s >= f.until }) {
				fail("gone before it came")
			}
		}
	}
}

// schemaPath reports whether a type is in the table, those with endpoints of their own included.
func schemaPath(path string) string {
	for _, t := range table().types {
		if t.Path == path {
			return t.Path
		}
	}
	return ""
}

// TestFacts compares the table with facts that are known from elsewhere: the project's record of the API.
func TestFacts(t *testing.T) {
	sctp, _ := ParseVersion("22.1.3")
	for _, tt := range []struct{ at, want string }{
		{"SCTPProxyProfile.cookie_expiration_timeout", "int 60..3600 =60 since 22.1.3 ent"},
		{"SCTPProxyProfile.heartbeat_interval", "int 30..247483647 =30 since 22.1.3 ent"},
		{"SCTPProxyProfile.idle_timeout", "int 0..247483647 =0 since 22.1.3 ent"},
		{"SCTPProxyProfile.max_retransmissions_association", "int 1..247483647 =10 since 22.1.3 ent"},
		{"SCTPProxyProfile.max_retransmissions_init_chunks", "int 1..247483647 =8 since 22.1.3 ent"},
		{"SCTPProxyProfile.number_of_streams", "int 1..100 =10 since 22.1.3 ent"},
		{"SCTPProxyProfile.receive_window", "int 2..65536 =1024 since 22.1.3 ent"},
		{"SCTPProxyProfile.reset_timeout", "int 0..247483647 =0 since 22.1.3 ent"},
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
		{"VirtualService.revoke_vip_route", "bool =false since 30.2.1 ent"},
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
		{"Pool.lb_algo_rr_per_se", "bool =false since 21.1.5 22.1.3 ent"},
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
		if got := describe(Messages()[name].Fields[field]); got != tt.want {
			t.Errorf("%s: %s\nwant %s", tt.at, got, tt.want)
		}
	}
	for at, value := range map[string]string{"NetworkProfileUnion.type": "PROTOCOL_TYPE_SCTP_PROXY",
		"HealthMonitor.type": "HEALTH_MONITOR_SCTP", "L4RuleProtocolMatch.protocol": "PROTOCOL_SCTP"} {
		name, field, _ := strings.Cut(at, ".")
		if got := Messages()[name].Fields[field].newer(value); got != sctp {
			t.Errorf("%s: %s since %s", at, value, got.Join("."))
		}
	}
	for i, want := range []string{"PROTOCOL_TYPE_TCP_FAST_PATH PROTOCOL_TYPE_UDP_FAST_PATH",
		"PROTOCOL_TYPE_TCP_PROXY PROTOCOL_TYPE_TCP_FAST_PATH PROTOCOL_TYPE_UDP_FAST_PATH"} {
		if got := strings.Join(Messages()["NetworkProfileUnion"].Fields["type"].Lower[i].Allowed, " "); got != want {
			t.Errorf("%s has %s, want %s", LowerTiers[i], got, want)
		}
	}
}

// describe renders what the table knows of a field.
func describe(f *Field) string {
	kind := f.Kind
	if f.Target != "" {
		kind += ":" + f.Target
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
	add(f.ranged, "%s..%s", doc.FormatNumber(f.lo), doc.FormatNumber(f.hi))
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
		out = append(out, s.Join("."))
	}
	add(f.until != 0, "until %s", f.until.Join("."))
	for i, l := range f.Lower {
		add(l.preset != nil, "%s default %v", LowerTiers[i], l.preset)
	}
	none := func(l TierLimit) bool { return l.limited && len(l.Allowed) == 0 }
	if none(f.Lower[0]) && none(f.Lower[1]) {
		return strings.Join(append(out, "ent"), " ")
	}
	for i, l := range f.Lower {
		add(none(l), "%s none", LowerTiers[i])
		add(len(l.Allowed) > 0, "%s %v", LowerTiers[i], l.Allowed)
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
		at, _ := ParseVersion(tt.at)
		named := f.introduced(at).Join(".")
		if f.Known(at) != tt.known || !tt.known && named != tt.named {
			t.Errorf("since %s, at %s: known %v, named %s", tt.since, tt.at, f.Known(at), named)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	for b.Loop() {
		if _, err := parseSchema(schemaText); err != nil {
			b.Fatal(err)
		}
	}
}

// TestReleases shows which release has which fields, at the places where they are known to differ.
func TestReleases(t *testing.T) {
	list := Releases()
	for i, r := range list {
		at, err := ParseVersion(r.Version)
		if err != nil || !slices.Contains(Grades, r.Known) || r.Basis == "" {
			t.Errorf("%+v: %v", r, err)
		}
		first, before := list[0], list[max(0, i-1)]
		if r.Fields+r.Later+r.Gone != first.Fields+first.Later+first.Gone || r.Later > before.Later || r.Gone < before.Gone {
			t.Errorf("%+v does not follow from %+v", r, before)
		}
		for field, want := range map[string]string{
			"SCTPProxyProfile.number_of_streams": "22.1.3 30.1.1 30.2.1 31.1.1 31.2.1",
			"Tenant.attrs":                       "30.1.1 30.2.1 31.1.1 31.2.1",
			"VsVip.bgp_local_preference":         "30.2.1 31.1.1 31.2.1",
			"PoolGroup.enable_http2":             "22.1.3 30.1.1",
			"Pool.graceful_disable_timeout":      "22.1.3 30.1.1 30.2.1 31.1.1",
			"Pool.graceful_disable_timeout_sec":  "31.2.1",
		} {
			message, name, _ := strings.Cut(field, ".")
			f := Messages()[message].Fields[name]
			if has := f.Known(at) && !f.gone(at); has != slices.Contains(strings.Fields(want), r.Version) {
				t.Errorf("%s in %s: %v", field, r.Version, has)
			}
		}
	}
	// The default of the older field is filled in as long as there is one.
	for version, want := range map[string]string{"31.1.1": "1 <nil>", "31.2.1": "<nil> <nil>"} {
		at, err := ParseVersion(version)
		if err != nil {
			t.Fatal(err)
		}
		body := map[string]any{}
		Messages()["Pool"].Fill(body, at, "ENTERPRISE")
		if got := fmt.Sprint(body["graceful_disable_timeout"], body["graceful_disable_timeout_sec"]); got != want {
			t.Errorf("%s: %s, want %s", version, got, want)
		}
	}
}
