// SPDX-License-Identifier: Apache-2.0

package avisim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/doc"
)

// TestMoreFilters shows the query parameters that look at more than one field's text.
func TestMoreFilters(t *testing.T) {
	s, c := signedIn(t, Options{})
	if err := s.AddTenant("blue"); err != nil {
		t.Fatal(err)
	}
	for _, o := range []struct {
		tenant, typ string
		body        obj
	}{
		{"admin", "cloud", obj{"name": "far", "vtype": "CLOUD_VCENTER"}},
		{"admin", "pool", obj{"name": "a", "default_server_port": 9}},
		{"admin", "pool", obj{"name": "b", "default_server_port": 80}},
		{"admin", "pool", obj{"name": "c", "default_server_port": 700, "cloud_ref": "/api/cloud?name=far"}},
		{"blue", "pool", obj{"name": "d", "default_server_port": 80}},
	} {
		if _, err := s.Create(o.typ, o.tenant, o.body); err != nil {
			t.Fatal(err)
		}
	}
	vrf := s.Objects("vrfcontext")[0]
	blue, _ := s.Object("tenant", "admin", "blue")
	for _, tt := range []struct{ query, tenant, want string }{
		{"sort=default_server_port", "", "a b c"},
		{"sort=-default_server_port,name", "*", "c b d a"},
		{"tenant=blue", "*", "d"},
		{"tenant=admin", "*", "a b c"},
		{"cloud_ref.name=far&exclude=cloud_ref.name", "", "a b"},
		{"name=a&exclude=name", "", "b c"},
		{"name.in=a,b&exclude=name.in", "", "c"},
		{"cloud_ref=" + url.QueryEscape("/api/cloud?name=far"), "", "c"},
		{"vrf_ref=" + url.QueryEscape("https://"+s.Host()+"/api/vrfcontext/"+doc.Str(vrf, "uuid")), "", "a b"},
		{"vrf_ref.uuid=" + doc.Str(vrf, "uuid") + "&cloud_ref.name.icontains=DEFAULT", "", "a b"},
		{"page=2&page_size=2", "", "c"},
		{"limit_by=2&page_size=1&page=2", "", "b"},
		{"metric_id=l4_server.avg_bandwidth&step=300&limit=1", "", "a b c"},
	} {
		t.Run(tt.query, func(t *testing.T) {
			c.tenant = tt.tenant
			r := c.want(200, "GET", "/api/pool?"+tt.query, nil)
			list, _ := r.body["results"].([]any)
			if got := strings.Join(names(list), " "); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
	get := func(path string, header ...string) response {
		t.Helper()
		c.tenant = ""
		r, _ := http.NewRequest("GET", "https://"+s.Host()+path, nil)
		r.Header.Set(header[0], header[1])
		resp, err := c.http.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var body map[string]any
		if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
			t.Fatal(err)
		}
		return response{status: resp.StatusCode, body: body}
	}
	if r := get("/api/pool", "X-Avi-Tenant-UUID", doc.Str(blue, "uuid")); doc.Int(r.body, "count") != 1 {
		t.Errorf("tenant by uuid: %v", r.body)
	}
	if r := get("/api/pool", "X-Avi-Tenant-UUID", "tenant-none"); r.status != 403 {
		t.Errorf("unknown tenant's uuid: %d", r.status)
	}
	if r := get("/api/serviceenginegroup?name=Default-Group", "X-Avi-Cloud", "far"); doc.Int(r.body, "count") != 1 {
		t.Errorf("cloud by header: %v", r.body)
	}
	if r := get("/api/networkprofile?name=System-SCTP-Proxy", "X-Avi-Cloud", "far"); doc.Int(r.body, "count") != 1 {
		t.Errorf("a type without a cloud: %v", r.body)
	}
}

// TestInventories reads each inventory, whole and by item.
func TestInventories(t *testing.T) {
	s, c := signedIn(t, Options{})
	ids := c.service("amf", "10.20.1.1", "10.20.1.2")
	if _, err := s.Create("poolgroup", "admin", obj{"name": "g", "members": []obj{{"pool_ref": "/api/pool?name=amf"}}}); err != nil {
		t.Fatal(err)
	}
	for typ, fields := range map[string]string{
		"virtualservice":     "config.name config.services config.vip[].ip_address.addr runtime.oper_status.state runtime.vip_summary[].service_engine[].uuid pools[].ref# health_score.health_score app_profile_type",
		"pool":               "config.name config.default_server_port runtime.num_servers_up runtime.percent_servers_up_enabled virtualservices[].ref# app_profile_type",
		"poolgroup":          "config.members[].pool_ref# runtime.oper_status.state",
		"vsvip":              "config.vip[].ip_address.addr runtime.oper_status.state virtualservices[].ref#",
		"serviceengine":      "config.mgmt_ip_address.addr runtime.se_connected",
		"serviceenginegroup": "config.ha_mode serviceengines[].ref# virtualservices[].ref#",
		"cloud":              "config.vtype status.state",
		"network":            "config.name config.vrf_context_ref# runtime.subnet_runtime",
	} {
		t.Run(typ, func(t *testing.T) {
			list := c.want(200, "GET", "/api/"+typ+"-inventory/?include_name&page_size=1", nil)
			items := doc.Messages(list.body["results"])
			if n := len(s.Objects(typ)); doc.Int(list.body, "count") != n || len(items) != 1 || (n > 1) != (list.body["next"] != nil) {
				t.Fatalf("%d of %d: %v", len(items), n, list.body["next"])
			}
			if next := doc.Str(list.body, "next"); next != "" && !strings.Contains(next, "/api/"+typ+"-inventory?") {
				t.Errorf("next %s", next)
			}
			path := "/api/" + typ + "-inventory/" + doc.Str(items[0], "uuid")
			if id := ids[typ]; id != "" {
				path = "/api/" + typ + "-inventory/" + id
			}
			item := c.want(200, "GET", path+"?include_name=true", nil)
			for f := range strings.FieldsSeq("uuid url config.uuid config.url " + fields) {
				if err := doc.Dereference(item.body, f); err != nil {
					t.Errorf("%s: %v in %s", f, err, item.raw)
				}
			}
			short := c.want(200, "GET", path+"?include=config,runtime", nil)
			if got := doc.Keys(short.body); !slices.Equal(got, []string{"config", "runtime", "url", "uuid"}) {
				t.Errorf("include: %v", got)
			}
		})
	}
	c.version = "17.2.4"
	old := c.want(200, "GET", "/api/virtualservice-inventory?include_name", nil)
	if l, _ := doc.Messages(old.body["results"])[0]["pools"].([]any); len(l) != 1 || !strings.HasSuffix(doc.Text(l[0]), "#amf") {
		t.Errorf("pools of an old version: %v", l)
	}
}

// TestSubResources reads what is below an object.
func TestSubResources(t *testing.T) {
	s, c := signedIn(t, Options{})
	ids := c.service("amf", "10.20.1.1", "10.20.1.2")
	for _, typ := range []string{"cloud", "serviceenginegroup", "serviceengine", "network"} {
		ids[typ] = doc.Text(s.Objects(typ)[0]["uuid"])
	}
	s.SetServerHealth("10.20.1.2", 30100, false, "refused")
	for path, fields := range map[string]string{
		"virtualservice/runtime":               "oper_status.state percent_ses_up vip_summary[].oper_status.state",
		"virtualservice/runtime/detail":        "oper_status.state pools[].ref",
		"pool/runtime":                         "num_servers num_servers_enabled num_servers_up oper_status.last_changed_time.secs",
		"pool/runtime/detail":                  "[].oper_status.state [].name [].servers[].ip_addr.addr",
		"pool/runtime/server":                  "[].ip_addr.addr [].port [].oper_status.state [].hostname [].se_uuid [].last_state_change.secs",
		"pool/runtime/server/detail":           "[].se_uuid [].shm_runtime",
		"pool/runtime/server/hmonstat":         "[].shm_runtime[].health_monitor_name [].shm_runtime[].oper_status.state",
		"pool/vs":                              "[].ref",
		"cloud/runtime":                        "oper_status.state",
		"cloud/status":                         "state cc_id",
		"serviceenginegroup/runtime":           "oper_status.state",
		"serviceenginegroup/placement/summary": "serviceengines[].ref num_vs",
		"serviceengine/runtime":                "oper_status.state se_connected",
		"network/runtime":                      "oper_status.state",
	} {
		typ, sub, _ := strings.Cut(path, "/")
		for _, end := range []string{"", "/"} {
			r := c.want(200, "GET", "/api/"+typ+"/"+ids[typ]+"/"+sub+end, nil)
			var body any = r.body
			if strings.HasPrefix(r.raw, "[") {
				wrapped, err := doc.Decode([]byte(`{"":` + r.raw + `}`))
				if err != nil {
					t.Fatal(err)
				}
				body = wrapped
			}
			for f := range strings.FieldsSeq(fields) {
				if err := doc.Dereference(body, f); err != nil {
					t.Errorf("%s: %s: %v in %s", path, f, err, r.raw)
				}
			}
		}
	}
	c.want(404, "GET", "/api/vimgrnwruntime/"+ids["network"], nil) // nothing is discovered in a No Access cloud
	if _, err := s.Create("cloud", "admin", obj{"name": "vc", "vtype": "CLOUD_VCENTER"}); err != nil {
		t.Fatal(err)
	}
	id, err := s.Create("network", "admin", obj{"name": "pg", "uuid": "dvportgroup-7-cloud-x", "cloud_ref": "/api/cloud?name=vc"})
	if err != nil {
		t.Fatal(err)
	}
	if r := c.want(200, "GET", "/api/vimgrnwruntime/"+id, nil); doc.Str(r.body, "name") != "pg" || r.body["host_refs"] == nil {
		t.Error(r.raw)
	}
	for query, n := range map[string]int{"": 1, "?cloud_ref.name=vc": 1, "?name=vip-network": 0} {
		if r := c.want(200, "GET", "/api/vimgrnwruntime"+query, nil); doc.Int(r.body, "count") != n {
			t.Errorf("%q: %s", query, r.raw)
		}
	}
	if r := c.want(200, "GET", "/api/networkruntime?name=vip-network", nil); !strings.Contains(r.raw, ids["vsvip"]) {
		t.Errorf("who holds addresses: %s", r.raw)
	}
}

// TestRoundTrips shows that what a client that keeps a desired state writes is what it reads back: a second look finds no
// difference, without defaults and with them, and writing what was read changes nothing.
func TestRoundTrips(t *testing.T) {
	_, c := signedIn(t, Options{})
	ref := func(typ, name string) string { return "/api/" + typ + "?name=" + url.QueryEscape(name) }
	for _, o := range []struct {
		typ  string
		body obj
	}{
		{"tenant", obj{"name": "tf", "local": true}},
		{"vrfcontext", obj{"name": "tf", "cloud_ref": ref("cloud", "Default-Cloud"), "static_routes": []obj{route1("1")}}},
		{"network", obj{"name": "tf", "cloud_ref": ref("cloud", "Default-Cloud"), "dhcp_enabled": false, "configured_subnets": []obj{{
			"prefix": obj{"ip_addr": obj{"addr": "10.77.0.0", "type": "V4"}, "mask": 24},
			"static_ip_ranges": []obj{{"range": obj{"begin": obj{"addr": "10.77.0.10", "type": "V4"},
				"end": obj{"addr": "10.77.0.20", "type": "V4"}}, "type": "STATIC_IPS_FOR_VIP"}}}}}},
		{"healthmonitor", obj{"name": "tf", "type": "HEALTH_MONITOR_SCTP", "send_interval": 10, "receive_timeout": 5,
			"sctp_monitor": obj{"sctp_request": "ping"}}},
		{"networkprofile", obj{"name": "tf", "profile": obj{"type": "PROTOCOL_TYPE_SCTP_PROXY",
			"sctp_proxy_profile": obj{"number_of_streams": 4}}}},
		{"pool", obj{"name": "tf", "default_server_port": 38412, "health_monitor_refs": []string{ref("healthmonitor", "tf")},
			"servers": []obj{{"ip": obj{"addr": "10.20.0.7", "type": "V4"}, "port": 38412}}}},
		{"vsvip", obj{"name": "tf", "vip": []obj{{"vip_id": "1", "auto_allocate_ip": true,
			"ipam_network_subnet": obj{"network_ref": ref("network", "vip-network")}}}}},
		{"l4policyset", obj{"name": "tf", "l4_connection_policy": obj{"rules": []obj{{"name": "r", "index": 1, "enable": true,
			"match": obj{"port": obj{"match_criteria": "IS_IN", "ports": []int{38412}}}, "action": obj{"select_pool": obj{
				"action_type": "L4_RULE_ACTION_SELECT_POOL", "pool_ref": ref("pool", "tf")}}}}}}},
		{"virtualservice", obj{"name": "tf", "vsvip_ref": ref("vsvip", "tf"), "services": []obj{{"port": 38412}},
			"application_profile_ref": ref("applicationprofile", "System-L4-Application"), "network_profile_ref": ref("networkprofile", "tf"),
			"l4_policies": []obj{{"index": 1, "l4_policy_set_ref": ref("l4policyset", "tf")}}}},
	} {
		t.Run(o.typ, func(t *testing.T) {
			made := c.want(201, "POST", "/api/"+o.typ+"?skip_default=true&", o.body)
			path := "/api/" + o.typ + "/" + made.uuid()
			normal, err := doc.Normal(o.body)
			if err != nil {
				t.Fatal(err)
			}
			short, whole := c.want(200, "GET", path+"?skip_default=true", nil), c.want(200, "GET", path, nil)
			if diff := missingFrom("", normal, whole.body, c.resolves); len(diff) > 0 {
				t.Errorf("written, and not read back: %v\n%s", diff, whole.raw)
			}
			if diff := missingFrom("", short.body, whole.body, nil); len(diff) > 0 {
				t.Errorf("only without defaults: %v", diff)
			}
			for name, body := range map[string]map[string]any{"short": short.body, "whole": whole.body} {
				delete(body, "_last_modified")
				again := c.want(200, "PUT", path+"?skip_default=true&", body)
				if doc.Str(again.body, "_last_modified") != doc.Str(made.body, "_last_modified") {
					t.Errorf("writing the %s reading changed it:\n%s\n%s", name, made.raw, again.raw)
				}
			}
			after := c.want(200, "GET", path, nil)
			if diff := missingFrom("", whole.body, after.body, nil); len(diff) > 0 {
				t.Errorf("after writing it back: %v", diff)
			}
		})
	}
}

// resolves reports whether a reference that was written by name is the url that was read.
func (c *client) resolves(wrote, read string) bool {
	c.t.Helper()
	if !strings.HasPrefix(wrote, "/api/") {
		return false
	}
	list := c.want(200, "GET", strings.Replace(wrote, "?", "?fields=name&", 1), nil)
	return slices.ContainsFunc(doc.Messages(list.body["results"]), func(m map[string]any) bool { return doc.Str(m, "url") == read })
}

// missingFrom lists what of want is not in got.
func missingFrom(path string, want, got any, same func(a, b string) bool) []string {
	switch w := want.(type) {
	case map[string]any:
		g, _ := got.(map[string]any)
		var out []string
		for _, k := range doc.Keys(w) {
			out = append(out, missingFrom(path+"."+k, w[k], g[k], same)...)
		}
		return out
	case []any:
		g, _ := got.([]any)
		if len(g) != len(w) {
			return []string{fmt.Sprintf("%s: %d entries, not %d", path, len(g), len(w))}
		}
		var out []string
		for i := range w {
			out = append(out, missingFrom(fmt.Sprintf("%s[%d]", path, i), w[i], g[i], same)...)
		}
		return out
	case string:
		g, _ := got.(string)
		if w == g || same != nil && same(w, g) {
			return nil
		}
	default:
		if doc.Equal(want, got) {
			return nil
		}
	}
	return []string{fmt.Sprintf("%s: %v, not %v", path, got, want)}
}

// TestWritesThatChangeNothing shows when _last_modified moves: on a change, and with the switch on every write.
func TestWritesThatChangeNothing(t *testing.T) {
	s, c := signedIn(t, Options{})
	r := c.want(201, "POST", "/api/pool", poolBody("p", "10.20.0.1"))
	path := "/api/pool/" + r.uuid()
	last := doc.Str(r.body, "_last_modified")
	for _, tt := range []struct {
		bump  bool
		body  obj
		moves bool
	}{
		{false, obj{"replace": obj{"description": "d"}}, true},
		{false, obj{"replace": obj{"description": "d"}}, false},
		{false, obj{"delete": obj{"description": ""}}, true},
		{false, obj{"add": obj{"servers": []obj{{"ip": obj{"addr": "10.20.0.1", "type": "V4"}, "port": 30100}}}}, false}, // there already
		{true, obj{"replace": obj{"description": nil}}, true},
	} {
		s.SetNoOpBump(tt.bump)
		now := doc.Str(c.want(200, "PATCH", path, tt.body).body, "_last_modified")
		if (now != last) != tt.moves || now < last {
			t.Errorf("%v: %s after %s", tt.body, now, last)
		}
		last = now
	}
	before := c.want(200, "GET", "/api/systemconfiguration", nil)
	touched := c.want(200, "PUT", "/api/systemconfiguration", nil) // recorded: an empty body moves the time only
	delete(before.body, "_last_modified")
	if diff := missingFrom("", before.body, touched.body, func(a, b string) bool { return strings.HasPrefix(b, a+"#") }); len(diff) > 0 {
		t.Errorf("an empty PUT changed %v", diff)
	}
}

// TestClusterIsChanged shows the cluster's PUT, and what its runtime makes of more nodes.
func TestClusterIsChanged(t *testing.T) {
	_, c := signedIn(t, Options{})
	node := func(name string) obj { return obj{"name": name, "ip": obj{"addr": "10.0.0.1", "type": "V4"}} }
	c.want(400, "PUT", "/api/cluster", obj{"nodes": []obj{node("a")}})
	before := c.want(200, "GET", "/api/cluster", nil)
	r := c.want(200, "PUT", "/api/cluster", obj{"name": "three", "uuid": "x", "nodes": []obj{node("a"), node("b"), node("c")}})
	if doc.Str(r.body, "name") != "three" || r.uuid() != before.uuid() || doc.Str(r.body, "_last_modified") == doc.Str(before.body,
		"_last_modified") {
		t.Error(r.raw)
	}
	rt := c.want(200, "GET", "/api/cluster/runtime", nil)
	states := doc.Messages(rt.body["node_states"])
	if len(states) != 3 || doc.Str(states[0], "role") != "CLUSTER_LEADER" || doc.Str(states[1], "role") != "CLUSTER_FOLLOWER" ||
		doc.Str(rt.body, "cluster_state", "state") != "CLUSTER_UP_HA_ACTIVE" {
		t.Error(rt.raw)
	}
}

// TestOnlyAdminWrites shows which types no other tenant writes.
func TestOnlyAdminWrites(t *testing.T) {
	s, c := signedIn(t, Options{})
	if err := s.AddTenant("blue"); err != nil {
		t.Fatal(err)
	}
	c.tenant = "blue"
	for typ, body := range map[string]obj{"tenant": {"name": "x"}, "user": {"name": "x"}, "useraccountprofile": {"name": "x"}} {
		if r := c.do("POST", "/api/"+typ, body); r.status != 400 || !strings.HasPrefix(r.raw, `{"error":"Cannot modify `) {
			t.Errorf("%s: %d %s", typ, r.status, r.raw)
		}
	}
	c.want(400, "PATCH", "/api/systemconfiguration", obj{"replace": obj{"docker_mode": true}})
	c.want(400, "POST", "/api/macro", obj{"model_name": "Tenant", "data": obj{"name": "x"}})
	c.want(400, "DELETE", "/api/macro", obj{"model_name": "NetworkProfile", "data": obj{"name": "System-SCTP-Proxy"}})
}

// TestCloudsOfTenants shows that a tenant may have a cloud, with parts of its own, and that names of clouds may come again.
func TestCloudsOfTenants(t *testing.T) {
	s, c := signedIn(t, Options{})
	if err := s.AddTenant("blue"); err != nil {
		t.Fatal(err)
	}
	first := c.want(201, "POST", "/api/cloud", obj{"name": "x", "vtype": "CLOUD_NONE"})
	c.want(200, "PATCH", "/api/cloud/"+first.uuid(), obj{"replace": obj{"name": "y"}})
	c.want(201, "POST", "/api/cloud", obj{"name": "x", "vtype": "CLOUD_NONE"})
	c.tenant = "blue"
	c.want(201, "POST", "/api/cloud", obj{"name": "x", "vtype": "CLOUD_NONE"})
	p := c.want(201, "POST", "/api/pool", obj{"name": "p", "cloud_ref": "/api/cloud?name=x"})
	vrf := c.want(200, "GET", "/api/vrfcontext?name=global&cloud_ref="+url.QueryEscape(doc.Str(p.body, "cloud_ref")), nil)
	if m := doc.Messages(vrf.body["results"]); len(m) != 1 || !strings.HasPrefix(doc.Str(p.body, "vrf_ref"), doc.Str(m[0], "url")) {
		t.Errorf("%s\n%s", p.raw, vrf.raw)
	}
	c.want(201, "POST", "/api/poolgroup", obj{"name": "g", "cloud_ref": "/api/cloud?name=x",
		"members": []obj{{"pool_ref": "/api/pool?name=p&cloud=x"}}})
	c.tenant = "admin"
	if n := doc.Int(c.want(200, "GET", "/api/cloud?name=x", nil).body, "count"); n != 1 {
		t.Errorf("the admin tenant sees %d clouds x", n)
	}
}
