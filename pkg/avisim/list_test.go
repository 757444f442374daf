// SPDX-License-Identifier: Apache-2.0

package avisim

import (
	"crypto/sha256"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/doc"
)

func names(list []any) []string {
	out := []string{}
	for _, m := range doc.Messages(list) {
		out = append(out, doc.Str(m, "name"))
	}
	return out
}

func TestFilters(t *testing.T) {
	s, c := signedIn(t, Options{})
	for _, o := range []struct {
		typ  string
		body obj
	}{
		{"cloud", obj{"name": "far", "vtype": "CLOUD_VCENTER"}},
		{"pool", obj{"name": "cl--a", "uuid": "pool-a", "created_by": "ako-cl", "default_server_port": 81,
			"markers": []obj{{"key": "clustername", "values": []string{"cl"}}}, "servers": []obj{{"ip": obj{"addr": "10.0.0.7", "type": "V4"}}}}},
		{"pool", obj{"name": "cl--b", "uuid": "pool-b", "created_by": "ako-cl", "enabled": false, "vrf_ref": "/api/vrfcontext?name=management"}},
		{"pool", obj{"name": "CL--c", "uuid": "pool-c", "created_by": "other", "cloud_ref": "/api/cloud?name=far",
			"health_monitor_refs": []string{"/api/healthmonitor?name=System-SCTP"}}},
		{"poolgroup", obj{"name": "g", "uuid": "poolgroup-g", "members": []obj{{"pool_ref": "pool-b"}}}},
	} {
		if _, err := s.Create(o.typ, "admin", o.body); err != nil {
			t.Fatal(err)
		}
	}
	far, _ := s.Object("cloud", "admin", "far")
	sctp, _ := s.Object("healthmonitor", "admin", "System-SCTP")
	for _, tt := range []struct{ query, want string }{
		{"", "cl--a cl--b CL--c"},
		{"name=cl--a", "cl--a"},
		{"name=nope", ""},
		{"uuid=pool-b", "cl--b"},
		{"uuid.in=pool-a,pool-c", "cl--a CL--c"},
		{"uuid.in=pool-a,pool-c&exclude=uuid.in", "cl--b"},
		{"name.in=cl--b,CL--c", "cl--b CL--c"},
		{"name.contains=cl--", "cl--a cl--b"},
		{"name.icontains=cl--", "cl--a cl--b CL--c"},
		{"created_by=ako-cl", "cl--a cl--b"},
		{"created_by=ako-cl&enabled=true", "cl--a"},
		{"default_server_port=81", "cl--a"},
		{"cloud_ref.name=far", "CL--c"},
		{"cloud_ref.uuid=" + doc.Str(far, "uuid"), "CL--c"},
		{"cloud_uuid=" + doc.Str(far, "uuid"), "CL--c"},
		{"cloud=Default-Cloud", "cl--a cl--b"},
		{"vrf_ref.name=management", "cl--b"},
		{"servers.ip.addr=10.0.0.7", "cl--a"},
		{"health_monitor_refs.name=System-SCTP", "CL--c"},
		{"refers_to=healthmonitor:" + doc.Str(sctp, "uuid"), "CL--c"},
		{"referred_by=poolgroup:poolgroup-g", "cl--b"},
		{"label_key=clustername&label_value=cl", "cl--a"},
		{"label_key=clustername&label_value=x", ""},
		{"label_key=clustername", "cl--a"},
		{"search=10.0.0", "cl--a"},
		{"search=CL--", "CL--c"},
		{"isearch=CL--", "cl--a cl--b CL--c"},
		{"search=" + url.QueryEscape("(created_by,oth)"), "CL--c"},
		{"sort=name", "CL--c cl--a cl--b"},
		{"sort=-name", "cl--b cl--a CL--c"},
		{"limit_by=2", "cl--a cl--b"},
		{"no_such_field=1", ""},
	} {
		t.Run(tt.query, func(t *testing.T) {
			r := c.want(200, "GET", "/api/pool?"+tt.query, nil)
			list, ok := r.body["results"].([]any)
			if got := strings.Join(names(list), " "); !ok || got != tt.want || doc.Int(r.body, "count") != len(list) {
				t.Errorf("%q, want %q: %.200s", got, tt.want, r.raw)
			}
		})
	}
}

func TestPaging(t *testing.T) {
	s, c := signedIn(t, Options{})
	for i := range 230 {
		if _, err := s.Create("pool", "admin", obj{"name": fmt.Sprintf("p%03d", i), "created_by": "a b"}); err != nil {
			t.Fatal(err)
		}
	}
	for size, pages := range map[string]int{"": 10, "&page_size=100": 3, "&page_size=200": 2} {
		path := "/api/pool/?created_by=a+b&include_name" + size
		var all []string
		n := 0
		for ; path != ""; n++ {
			r := c.want(200, "GET", path, nil)
			if doc.Int(r.body, "count") != 230 {
				t.Fatalf("count %v", r.body["count"])
			}
			list, _ := r.body["results"].([]any)
			all = append(all, names(list)...)
			next := doc.Str(r.body, "next")
			if next != "" && (!strings.HasPrefix(next, "https://"+s.Host()+"/api/pool?") || strings.Count(next, "/api/pool") != 1) {
				t.Fatalf("next %q", next)
			}
			path = strings.TrimPrefix(next, "https://"+s.Host())
		}
		slices.Sort(all)
		if len(slices.Compact(all)) != 230 || n != pages {
			t.Errorf("page size %q: %d names on %d pages, want 230 on %d", size, len(all), n, pages)
		}
	}
	if r := c.want(200, "GET", "/api/vsvip", nil); r.raw != `{"count":0,"results":[]}` {
		t.Errorf("empty list: %s", r.raw)
	}
}

func TestShapes(t *testing.T) {
	s, c := signedIn(t, Options{})
	ids := c.service("amf", "10.20.1.1")
	base := "https://" + s.Host()
	path := "/api/pool/" + ids["pool"]
	for query, want := range map[string]string{"": base + path, "include_name": base + path + "#amf", "include_name=": base + path + "#amf",
		"include_name=true": base + path + "#amf", "include_name=false": base + path} {
		r := c.want(200, "GET", path+"?"+query, nil)
		named := strings.HasSuffix(doc.Str(r.body, "cloud_ref"), "#Default-Cloud")
		if doc.Str(r.body, "url") != want || named != strings.HasSuffix(want, "#amf") {
			t.Errorf("%q: %s %s", query, doc.Str(r.body, "url"), doc.Str(r.body, "cloud_ref"))
		}
	}
	if r := c.want(200, "PATCH", path, obj{"replace": obj{"description": "d"}}); doc.Str(r.body, "url") != base+path+"#amf" {
		t.Errorf("after a write: %s", doc.Str(r.body, "url"))
	}
	r := c.want(200, "GET", path+"?fields=servers,enabled", nil)
	if got := doc.Keys(r.body); !slices.Equal(got, []string{"enabled", "name", "servers", "url", "uuid"}) {
		t.Errorf("fields: %v", got)
	}
	r = c.want(200, "GET", path+"?skip_default=true", nil)
	if r.body["enabled"] != nil || r.body["servers"] == nil || doc.At(doc.Messages(r.body["servers"])[0], "ratio") != nil {
		t.Errorf("skip_default: %s", r.raw)
	}
	r = c.want(200, "GET", "/api/virtualservice?join_subresources=runtime", nil)
	if doc.Str(doc.Messages(r.body["results"])[0], "runtime", "oper_status", "state") != "OPER_UP" {
		t.Errorf("join: %s", r.raw)
	}
}

// TestReferenceForms shows every form in which a body may name another object.
func TestReferenceForms(t *testing.T) {
	s, c := signedIn(t, Options{})
	if err := s.AddTenant("blue"); err != nil {
		t.Fatal(err)
	}
	id := c.want(201, "POST", "/api/pool", poolBody("a b")).uuid()
	if _, err := s.Create("pool", "blue", obj{"name": "theirs"}); err != nil {
		t.Fatal(err)
	}
	for i, tt := range []struct {
		form string
		ok   bool
	}{
		{"https://" + s.Host() + "/api/pool/" + id, true},
		{"https://elsewhere/api/pool/" + id + "#a b", true},
		{"/api/pool/" + id, true},
		{"/api/pool/" + id + "/", true},
		{"/api/pool?name=a+b", true},
		{"/api/pool/?name=a%20b", true},
		{"/api/pool?name=a b", true},
		{"/api/pool?name=a+b&cloud=Default-Cloud", true},
		{"/api/pool?name=a+b&cloud=other", false},
		{"/api/pool?name=a+b&tenant=admin", true},
		{"/api/pool?name=a+b&tenant=blue", false},
		{"/api/pool?name=theirs", false},
		{id, true},
		{"/api/vsvip/" + id, false},
		{"pool-unknown", false},
	} {
		r := c.do("POST", "/api/poolgroup", obj{"name": fmt.Sprintf("g%d", i), "members": []obj{{"pool_ref": tt.form}}})
		if !tt.ok {
			if r.status != 400 || r.raw != `{"error":"Pool object not found"}` {
				t.Errorf("%s: %d %s", tt.form, r.status, r.raw)
			}
			continue
		}
		if r.status != 201 || doc.Str(doc.Messages(r.body["members"])[0], "pool_ref") != "https://"+s.Host()+"/api/pool/"+id+"#a b" {
			t.Errorf("%s: %d %s", tt.form, r.status, r.raw)
		}
	}
	r := c.want(201, "POST", "/api/vsvip", obj{"name": "v", "vrf_context_ref": "", "vip": []obj{{"auto_allocate_ip": true}}})
	if !strings.HasSuffix(doc.Str(r.body, "vrf_context_ref"), "#global") {
		t.Errorf("an empty reference is not unset: %s", r.raw)
	}
}

func TestTenants(t *testing.T) {
	s, c := signedIn(t, Options{})
	id := c.want(201, "POST", "/api/tenant", obj{"name": "blue", "local": "true"}).uuid()
	c.tenant = "blue"
	mine := c.want(201, "POST", "/api/pool", poolBody("p"))
	if !strings.HasSuffix(doc.Str(mine.body, "tenant_ref"), "#blue") {
		t.Error(mine.raw)
	}
	c.want(200, "GET", "/api/networkprofile?name=System-SCTP-Proxy", nil)
	count := func(tenant string) int {
		c.tenant = tenant
		return doc.Int(c.want(200, "GET", "/api/pool", nil).body, "count")
	}
	if got := fmt.Sprint(count("blue"), count("admin"), count(""), count("*")); got != "1 0 0 1" {
		t.Errorf("counts %s", got)
	}
	c.tenant = "admin"
	c.want(201, "POST", "/api/pool", poolBody("p")) // the same name in another tenant
	if n := count("*"); n != 2 {
		t.Errorf("%d pools in all tenants", n)
	}
	c.tenant = ""
	r := c.want(403, "DELETE", "/api/tenant/"+id, nil)
	if r.raw != `{"error":"Cannot delete, object is referred by: ['Pool p']"}` {
		t.Error(r.raw)
	}
	if p, ok := s.Object("pool", "blue", "p"); !ok || doc.Str(p, "uuid") != mine.uuid() {
		t.Errorf("%v %v", p, ok)
	}
}

func TestSlugAndSeed(t *testing.T) {
	var seen []string
	for range 2 {
		_, c := signedIn(t, Options{Seed: 7})
		seen = append(seen, c.want(201, "POST", "/api/pool", poolBody("p")).uuid())
	}
	if seen[0] != seen[1] || !strings.HasPrefix(seen[0], "pool-") {
		t.Errorf("uuids %v", seen)
	}
}

// TestListCache shows that a list which was read before shows what was written since, also to objects of other types.
func TestListCache(t *testing.T) {
	s, c := signedIn(t, Options{})
	vrf := c.want(201, "POST", "/api/vrfcontext", obj{"name": "blue"}).uuid()
	count := func(query string) int {
		t.Helper()
		return doc.Int(c.want(200, "GET", "/api/pool?page_size=1&"+query, nil).body, "count")
	}
	for i, step := range []struct {
		do   func()
		want [2]int // of all pools, and of those in VRF blue
	}{
		{func() {}, [2]int{0, 0}},
		{func() { c.want(201, "POST", "/api/pool", obj{"name": "a", "vrf_ref": "/api/vrfcontext?name=blue"}) }, [2]int{1, 1}},
		{func() { c.want(200, "PATCH", "/api/vrfcontext/"+vrf, obj{"replace": obj{"name": "red"}}) }, [2]int{1, 0}},
		{func() {
			for i := range 2 * 16 {
				count(fmt.Sprint("created_by=", i))
			}
		}, [2]int{1, 0}},
		{func() { _ = s.Remove("pool", "admin", "a") }, [2]int{0, 0}},
	} {
		step.do()
		for range 2 {
			if got := [2]int{count(""), count("vrf_ref.name=blue")}; got != step.want {
				t.Errorf("step %d: %v, want %v", i, got, step.want)
			}
		}
	}
}

// TestDefaultsThatAreFalseOrZero shows that answers have them, and what stays with skip_default: what is mandatory.
func TestDefaultsThatAreFalseOrZero(t *testing.T) {
	_, c := signedIn(t, Options{})
	c.service("amf", "10.244.1.11")
	c.want(201, "POST", "/api/poolgroup", obj{"name": "g"})
	for path, want := range map[string]map[string]any{
		"/api/networkprofile?name=System-SCTP-Proxy": {"connection_mirror": false, "profile.sctp_proxy_profile.idle_timeout": 0.0,
			"profile.sctp_proxy_profile.reset_timeout": 0.0},
		"/api/healthmonitor?name=System-SCTP": {"is_federated": false},
		"/api/virtualservice?name=amf": {"services.horizon_internal_ports": false, "services.is_active_ftp_data_port": false,
			"enable_rhi": nil, "min_pools_up": nil}, // these have no default
		"/api/l4policyset?name=amf":      {"is_internal_policy": false},
		"/api/poolgroup?name=g":          {"min_servers": 0.0, "enable_http2": nil}, // deprecated at this version
		"/api/pool?name=amf":             {"lb_algo_rr_per_se": false, "min_servers_up": nil, "servers.static": false},
		"/api/network?name=node-network": {"synced_from_se": false, "exclude_discovered_subnets": false},
	} {
		found := doc.Messages(c.want(200, "GET", path, nil).body["results"])
		if len(found) != 1 {
			t.Errorf("%s: %d objects", path, len(found))
			continue
		}
		for field, value := range want {
			var at any = found[0]
			for key := range strings.SplitSeq(field, ".") {
				if l := doc.Messages(at); len(l) > 0 {
					at = l[0]
				}
				m, _ := at.(map[string]any)
				at = m[key]
			}
			if at != value {
				t.Errorf("%s: %s is %v, want %v", path, field, at, value)
			}
		}
	}

	cloud := c.want(200, "GET", "/api/cloud?name=Default-Cloud&skip_default=true", nil)
	profile := c.want(200, "GET", "/api/networkprofile?name=System-TCP-Proxy&skip_default=true", nil)
	id := c.want(201, "POST", "/api/pool", obj{"name": "p", "fail_action": obj{"type": "FAIL_ACTION_CLOSE_CONN"}}).uuid()
	pool := c.want(200, "GET", "/api/pool/"+id+"?skip_default=true", nil)
	for what, kept := range map[string]string{
		"Cloud.vtype":      doc.Str(doc.Messages(cloud.body["results"])[0], "vtype"),
		"profile.type":     doc.Str(doc.Messages(profile.body["results"])[0], "profile", "type"),
		"fail_action.type": doc.Str(pool.body, "fail_action", "type"),
	} {
		if kept == "" {
			t.Errorf("skip_default drops %s", what)
		}
	}
}

// TestLongPages: a client that asks for more than the longest page gets that, and a next one.
func TestLongPages(t *testing.T) {
	s, c := signedIn(t, Options{})
	for i := range 201 {
		if _, err := s.Create("stringgroup", "admin", obj{"name": fmt.Sprint("g", i), "type": "SG_TYPE_STRING"}); err != nil {
			t.Fatal(err)
		}
	}
	r := c.want(200, "GET", "/api/stringgroup?page_size=1000&name.contains=g", nil)
	if len(doc.Messages(r.body["results"])) != 200 || doc.Int(r.body, "count") <= 200 || doc.Str(r.body, "next") == "" {
		t.Errorf("%d of %d, next %q", len(doc.Messages(r.body["results"])), doc.Int(r.body, "count"), doc.Str(r.body, "next"))
	}
}

// TestWhatScriptsRead shows objects and keys that other people's scripts look up.
func TestWhatScriptsRead(t *testing.T) {
	_, c := signedIn(t, Options{})
	c.service("amf", "10.244.1.11")
	for typ, names := range map[string]string{
		"stringgroup":         "System-Compressible-Content-Types System-Cacheable-Resource-Types System-Devices-Mobile",
		"actiongroupconfig":   "System-Alert-Level-Medium",
		"backupconfiguration": "Backup-Configuration",
		"wafprofile":          "System-WAF-Profile",
		"applicationprofile":  "System-Secure-HTTP-VDI",
	} {
		for name := range strings.FieldsSeq(names) {
			if n := doc.Int(c.want(200, "GET", "/api/"+typ+"?name="+name, nil).body, "count"); n != 1 {
				t.Errorf("%d %s named %s", n, typ, name)
			}
		}
	}
	vs := doc.Messages(c.want(200, "GET", "/api/virtualservice-inventory", nil).body["results"])[0]
	for _, key := range []string{"health_score", "performance_score", "anomaly_penalty", "resources_penalty", "security_penalty"} {
		if doc.At(vs, "health_score", key) == nil {
			t.Errorf("no %s in %v", key, vs["health_score"])
		}
	}
	se := doc.Messages(c.want(200, "GET", "/api/serviceengine-inventory", nil).body["results"])[0]
	if l, _ := doc.At(se, "config", "virtualservice_refs").([]any); len(l) != 1 {
		t.Errorf("on the service engine: %v", se["config"])
	}
	if n := c.want(200, "GET", "/api/licenseusage", nil).body["num_se_vcpus"]; n != 1.0 {
		t.Errorf("num_se_vcpus %v", n)
	}
	if at := doc.Str(c.want(200, "GET", "/api/tenant/admin", nil).body, "_last_modified"); at == "" {
		t.Error("tenant admin has no _last_modified")
	}
	if id := c.want(200, "GET", "/api/controllerproperties", nil).uuid(); id != "global" {
		t.Errorf("controllerproperties has uuid %q", id)
	}
	for _, path := range []string{"/api/controllerproperties/global", "/api/systemconfiguration/default", "/api/seproperties/default"} {
		c.want(404, "GET", path, nil)
	}
	// A state of before gave them all one uuid.
	o := Options{StateFile: filepath.Join(t.TempDir(), "state")}
	old := start(t, o)
	if err := old.Edit("controllerproperties", "admin", "", func(m map[string]any) { m["api_idle_timeout"] = 77 }); err != nil {
		t.Fatal(err)
	}
	old.Close()
	rewriteState(t, o.StateFile, `"type":"controllerproperties","uuid":"global"`, `"type":"controllerproperties","uuid":"default"`)
	if m, _ := start(t, o).Object("controllerproperties", "admin", ""); m["api_idle_timeout"] != 77.0 || m["uuid"] != "global" {
		t.Errorf("after a restart with an old file: %v", m)
	}
}

// rewriteState changes a text in a state file, and its checksum.
func rewriteState(t *testing.T, file, from, to string) {
	t.Helper()
	const trailer = `],"sha256":"`
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	state, _, ok := strings.Cut(string(b), trailer)
	if !ok || !strings.Contains(state, from) {
		t.Fatalf("no %s in the state", from)
	}
	state = strings.Replace(state, from, to, 1)
	if err := os.WriteFile(file, fmt.Appendf(nil, "%s%s%x\"}\n", state, trailer, sha256.Sum256([]byte(state))), 0o600); err != nil {
		t.Fatal(err)
	}
}
