// SPDX-License-Identifier: Apache-2.0

package avisim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/doc"
)

// direct is a transport that hands requests to the handler without a network.
type direct struct{ s *Server }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	in := r.Clone(r.Context())
	if in.Body == nil {
		in.Body = http.NoBody
	}
	d.s.ServeHTTP(w, in)
	return w.Result(), nil
}

// directClient is signed in on a server that need not listen to anybody.
func directClient(t testing.TB, s *Server) *client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &client{t: t, server: s, version: "30.2.1", http: &http.Client{Transport: direct{s}, Jar: jar}}
	c.login()
	return c
}

// byUUID returns a copy of an object as Object does.
func byUUID(s *Server, typ, uuid string) (obj, bool) {
	for _, o := range s.Objects(typ) {
		if doc.Str(o, "uuid") == uuid {
			return o, true
		}
	}
	return nil, false
}

// dice makes random writes that are valid often enough to build something, and wrong often enough to be refused.
type dice struct {
	*rand.Rand
	s      *Server
	tenant string // of the request, by name
}

func (r dice) pick(list ...string) string { return list[r.IntN(len(list))] }

func (r dice) name() string { return fmt.Sprint("n", r.IntN(10)) }

// other is a reference to an object of the tenant, now and then to one that is not there.
func (r dice) other(typ string) string {
	var names []string
	for _, o := range r.s.Objects(typ) {
		if strings.HasSuffix(doc.Str(o, "tenant_ref"), "#"+r.tenant) {
			names = append(names, doc.Str(o, "name"))
		}
	}
	if len(names) == 0 || r.IntN(12) == 0 {
		names = []string{r.name()}
	}
	return "/api/" + typ + "?name=" + r.pick(names...)
}

func (r dice) address() obj {
	if r.IntN(4) == 0 {
		return obj{"addr": fmt.Sprintf("fd00:9::%x", r.IntN(9)), "type": "V6"}
	}
	return v4(fmt.Sprintf("10.9.0.%d", r.IntN(20)))
}

func (r dice) vip() obj {
	v := obj{"auto_allocate_ip": r.IntN(12) > 0}
	if r.IntN(3) > 0 {
		v["ipam_network_subnet"] = obj{"network_ref": "/api/network?name=" + r.pick("tiny", "tiny", "tiny", "vip-network", "vip-network",
			"other")}
	}
	if r.IntN(6) == 0 {
		v["ip_address"] = r.address()
	}
	if r.IntN(8) == 0 {
		v["ip6_address"] = r.address()
	}
	if r.IntN(3) == 0 {
		v["auto_allocate_ip_type"] = r.pick("V4_ONLY", "V6_ONLY", "V4_V6")
	}
	if r.IntN(4) == 0 {
		v["auto_allocate_floating_ip"] = true
	}
	if r.IntN(4) == 0 {
		v["vip_id"] = r.pick("0", "1", "7")
	}
	return v
}

func (r dice) body(typ string) obj {
	n := r.name()
	switch typ {
	case "vsvip":
		b := vsvip(n, r.vip())
		for range r.IntN(4) / 2 {
			b["vip"] = append(b["vip"].([]obj), r.vip())
		}
		if r.IntN(8) == 0 {
			b["vrf_context_ref"] = "/api/vrfcontext?name=" + r.pick("global", "blue")
		}
		return b
	case "pool":
		return poolBody(n, fmt.Sprint("10.20.0.", r.IntN(5)))
	case "poolgroup":
		return obj{"name": n, "members": []obj{{"pool_ref": r.other("pool")}, {"pool_ref": r.other("pool")}}}
	case "l4policyset":
		return policyBody(n, strings.TrimPrefix(r.other("pool"), "/api/pool?name="))
	case "network":
		return obj{"name": r.pick("tiny", "other"), "vrf_context_ref": "/api/vrfcontext?name=" + r.pick("global", "blue"),
			"configured_subnets": []obj{{"prefix": obj{"ip_addr": v4("10.9.0.0"), "mask": 27 + r.IntN(3)}},
				{"prefix": obj{"ip_addr": obj{"addr": "fd00:9::", "type": "V6"}, "mask": 125}}}}
	case "serviceenginegroup":
		return obj{"name": n, "max_vs_per_se": 1 + r.IntN(3), "min_scaleout_per_vs": 1 + r.IntN(2),
			"ha_mode": r.pick("HA_MODE_SHARED", "HA_MODE_LEGACY_ACTIVE_STANDBY")}
	case "vrfcontext":
		return obj{"name": r.pick("blue", "red", n)}
	}
	b := vsBody(n, "", "")
	b["vsvip_ref"] = r.other("vsvip")
	b["services"] = []obj{{"port": 1 + r.IntN(1000)}}
	b["l4_policies"] = []obj{{"index": 0, "l4_policy_set_ref": r.other("l4policyset")}}
	if r.IntN(2) == 0 && r.tenant == "admin" {
		b["se_group_ref"] = r.other("serviceenginegroup")
	}
	if r.IntN(4) == 0 {
		b["pool_group_ref"] = r.other("poolgroup")
	}
	b["enabled"] = r.IntN(4) > 0
	return b
}

// tree is a virtual service with its parts inside, for a macro.
func (r dice) tree() obj {
	b := r.body("virtualservice")
	delete(b, "vsvip_ref")
	delete(b, "l4_policies")
	b["vsvip_ref_data"], b["pool_ref_data"] = r.body("vsvip"), r.body("pool")
	return b
}

// TestRandomOperations does random writes in several tenants, with failures and moving addresses between them, and checks
// after each that indexes, references, names, addresses and placement agree with the objects; and now and then that a
// restart brings back the same.
func TestRandomOperations(t *testing.T) {
	count := map[string]int{} // answers, to see that the operations are neither all good nor all bad
	for seed := range uint64(8) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			now := newClock()
			o := Options{Seed: int64(seed + 1), Now: now.now, OmitBodies: true, StateFile: filepath.Join(t.TempDir(), "state")}
			open := func() (*Server, *client) {
				s, err := New(o)
				if err != nil {
					t.Fatal(err)
				}
				s.SetDynamics(Dynamics{Capacity: seed%2 == 0})
				return s, directClient(t, s)
			}
			s, c := open()
			defer func() { s.Close() }()
			addNetwork(t, s, "tiny", "10.9.0.0/28", nil)
			addNetwork(t, s, "elastic", "203.0.113.0/29", obj{"attrs": []any{obj{"key": "floating"}}})
			for _, tenant := range []string{"red", "blue"} {
				if err := s.AddTenant(tenant); err != nil {
					t.Fatal(err)
				}
			}
			random := rand.New(rand.NewPCG(seed, 0))
			for step := range 250 {
				r := dice{random, s, []string{"admin", "admin", "admin", "red", "blue"}[random.IntN(5)]}
				typ := r.pick("vsvip", "vsvip", "pool", "poolgroup", "l4policyset", "virtualservice", "virtualservice", "network", "serviceenginegroup",
					"vrfcontext")
				objects := s.Objects(typ)
				id, body := "none", obj{}
				if len(objects) > 0 {
					x := objects[r.IntN(len(objects))]
					id = doc.Str(x, "uuid")
					if _, tenant, _ := strings.Cut(doc.Str(x, "tenant_ref"), "#"); r.IntN(6) > 0 {
						r.tenant = tenant
					}
					body = r.body(typ)
					if r.IntN(3) > 0 {
						body["name"] = doc.Str(x, "name")
					}
				}
				c.tenant = r.tenant
				item := "/api/" + typ + "/" + id
				var a response
				what := ""
				switch r.IntN(13) {
				case 11:
					typ = "macro"
					what, a = "POST", c.do("POST", "/api/macro", obj{"model_name": "VirtualService", "data": r.tree()})
				case 12:
					typ = "macro"
					vs := s.Objects("virtualservice")
					if len(vs) > 0 {
						id = doc.Str(vs[r.IntN(len(vs))], "uuid")
					}
					what, a = "DELETE", c.do("DELETE", "/api/macro", obj{"model_name": "VirtualService", "data": obj{"uuid": id}})
				case 0, 1, 2, 3, 4:
					what, a = "POST", c.do("POST", "/api/"+typ, r.body(typ))
				case 5, 6:
					if typ == "vsvip" && r.IntN(3) > 0 { // drop entries, or keep them
						if old, ok := byUUID(s, typ, id); ok {
							if l, _ := old["vip"].([]any); len(l) > 0 {
								body["vip"] = l[:1+r.IntN(len(l))]
							}
						}
					}
					what, a = "PUT", c.do("PUT", item, body)
				case 7:
					patch := obj{}
					for _, k := range doc.Keys(body) { // in an order that the seed gives, not the map
						if r.IntN(2) == 0 {
							patch[k] = body[k]
						}
					}
					what = "PATCH"
					a = c.do("PATCH", item, obj{r.pick("add", "replace", "delete"): patch})
				case 8, 9:
					what, a = "DELETE", c.do("DELETE", item, nil)
				case 10:
					now.advance(time.Duration(r.IntN(40)) * time.Second)
					switch r.IntN(5) {
					case 0:
						s.SetIPAM(IPAM{Quarantine: 30 * time.Second})
					case 1:
						s.SetIPAM(IPAM{Async: 20 * time.Second, ChangeAfter: 15 * time.Second})
					case 2:
						s.SetIPAM(IPAM{OtherThanPreferred: true})
					case 3:
						_ = s.FailServiceEngine("Avi-se-1", "by chance")
					case 4:
						_ = s.RecoverServiceEngine("Avi-se-1")
					}
				}
				if a.status >= 500 {
					t.Fatalf("step %d: %s %s: %d %s", step, what, typ, a.status, a.raw)
				}
				if a.status > 0 {
					count[fmt.Sprint(what, " ", typ, " ", a.status/100, "xx")]++
				}
				consistent(t, s)
				if step%50 == 49 {
					before := s.Tree()
					s.Close()
					s, c = open()
					consistent(t, s)
					after := s.Tree()
					for typ := range after {
						if !pending(before) && !reflect.DeepEqual(before[typ], after[typ]) {
							t.Fatalf("step %d: a restart changed objects of type %s: %d, were %d", step, typ, len(after[typ]), len(before[typ]))
						}
					}
				}
			}
		})
	}
	for _, typ := range []string{"vsvip", "pool", "poolgroup", "l4policyset", "virtualservice", "macro"} {
		for _, k := range []string{"POST %s 2xx", "POST %s 4xx", "PUT %s 2xx", "PATCH %s 2xx", "DELETE %s 2xx", "DELETE %s 4xx"} {
			if k = fmt.Sprintf(k, typ); count[k] < 1 && (typ != "macro" || k[:3] != "PUT" && k[:5] != "PATCH") {
				t.Errorf("no %s in %v: the test is worth little", k, count)
			}
		}
	}
}

// pending reports whether an address is to come yet: it comes at once after a restart, which forgets how long it was to take.
func pending(tree map[string][]map[string]any) bool {
	for _, o := range tree["vsvip"] {
		for _, v := range doc.Messages(o["vip"]) {
			kind := doc.Str(v, "auto_allocate_ip_type")
			lacks4, lacks6 := kind != "V6_ONLY" && v["ip_address"] == nil, (kind == "V6_ONLY" || kind == "V4_V6") && v["ip6_address"] == nil
			if v["auto_allocate_ip"] == true && (lacks4 || lacks6) {
				return true
			}
		}
	}
	return false
}

// consistent fails the test if the world does not agree with itself.
func consistent(t *testing.T, s *Server) {
	t.Helper()
	if err := s.world.Audit(); err != nil {
		t.Fatal(err)
	}
}

// FuzzRequests sends one request, whatever it is, to a server with something in it. It must be answered, not with a 500 but
// the documented one, and leave everything consistent.
func FuzzRequests(f *testing.F) {
	text := func(v any) []byte {
		b, err := json.Marshal(v)
		if err != nil {
			f.Fatal(err)
		}
		return b
	}
	for _, x := range []struct {
		method, path, query, header string
		body                        []byte
	}{
		{"POST", "/login", "", "Content-Type: application/x-www-form-urlencoded", []byte("username=admin&password=x")},
		{"POST", "/login", "", "", text(obj{"username": "admin", "password": "avi123$%"})},
		{"POST", "/logout", "", "", nil},
		{"GET", "/api/virtualservice", "include_name&page_size=200&page=1&sort=-name&fields=name,vsvip_ref", "", nil},
		{"GET", "/api/pool/", "search=(servers.ip.addr,10)&name.in=a,b&exclude=uuid.in&uuid.in=x&limit_by=-1", "X-Avi-Tenant: *", nil},
		{"GET", "//api//virtualservice-inventory", "refers_to=pool:x&referred_by=:&page=99999999999999999999", "X-Avi-Version: 18.2.2", nil},
		{"GET", "/api/networkruntime", "", "X-Avi-Tenant-UUID: admin", nil},
		{"GET", "/api/cluster/runtime", "", "", nil},
		{"GET", "/api/pool/pool-1/runtime/server/detail", "", "", nil},
		{"POST", "/api/vsvip", "skip_default", "Slug: vsvip-forced", text(vsvipBody("new"))},
		{"POST", "/api/vsvip", "", "", text(vsvip("v", obj{"auto_allocate_ip": true, "auto_allocate_ip_type": "V4_V6",
			"ip_address": v4("10.10.0.12")}, obj{"ip6_address": v4("::1%lo")}))},
		{"POST", "/api/virtualservice", "", "", text(vsBody("new", "a", "a"))},
		{"POST", "/api/pool", "", "X-Avi-Version: 22.1.2", text(poolBody("new", "10.0.0.1", "x"))},
		{"POST", "/api/network", "", "", text(obj{"name": "n",
			"configured_subnets": []obj{{"prefix": obj{"ip_addr": v4("10.0.0.0"), "mask": 99},
				"static_ip_ranges": []obj{{"range": obj{"begin": v4("10.0.0.9"), "end": v4("10.0.0.1")}}}}}})},
		{"POST", "/api/serviceengine", "", "", text(obj{"name": "se", "se_group_ref": "/api/serviceenginegroup?name=Default-Group",
			"enable_state": []obj{}})},
		{"POST", "/api/serviceenginegroup", "", "", text(obj{"name": "g", "max_vs_per_se": 1e300, "min_scaleout_per_vs": -1})},
		{"POST", "/api/stringgroup", "", "", []byte(`{"name":"s","$ref":{"$ref":"pool/x"},"x_ref":{"a":[1,null,"/api/pool?name=a"]}}`)},
		{"PUT", "/api/pool/pool-1", "", "", text(obj{"name": "a", "_last_modified": "1", "servers": []any{nil, 1, obj{"ip": "x"}}})},
		{"PATCH", "/api/pool/pool-1", "", "", text(obj{"add": obj{"servers": []obj{{"ip": v4("10.0.0.2"), "port": 1}}},
			"delete": obj{"name": 0}})},
		{"PATCH", "/api/pool/pool-1", "", "", text(obj{"json_patch": []obj{{"op": "add", "path": "/servers/-", "value": 1},
			{"op": "remove", "path": "/servers/99"}}})},
		{"PATCH", "/api/systemconfiguration", "", "", text(obj{"replace": obj{"default_license_tier": "BASIC"}})},
		{"PATCH", "/api/cloud/cloud-x", "", "", text(obj{"replace": obj{"ipam_provider_ref": ""}})},
		{"DELETE", "/api/vsvip/vsvip-1", "", "", nil},
		{"DELETE", "/api/tenant/admin", "", "", nil},
		{"POST", "/api/macro", "", "", text(obj{"model_name": "VirtualService", "data": obj{"name": "m", "pool_ref_data": obj{"name": "mp"}}})},
		{"DELETE", "/api/macro", "", "", text(obj{"model_name": "VirtualService", "data": obj{"uuid": "virtualservice-1"}})},
		{"POST", "/api/user-token", "", "", text(obj{"hours": "1"})},
		{"PUT", "/api/useraccount", "", "", text(obj{"old_password": "avi123$%", "password": "x"})},
		{"OPTIONS", "/api/pool", "", "X-CSRFToken: no", nil},
		{"\x00", "", "%zz=%", "Cookie: sessionid=x; avi-sessionid=", []byte("{")},
	} {
		f.Add(x.method, x.path, x.query, x.header, x.body)
	}
	base, err := New(Options{Seed: 1})
	if err != nil {
		f.Fatal(err)
	}
	defer base.Close()
	for _, x := range []struct {
		typ  string
		body obj
	}{{"vsvip", vsvipBody("a")}, {"pool", poolBody("a", "10.20.0.1")}, {"l4policyset", policyBody("a", "a")}, {"virtualservice",
		vsBody("a", "a", "a")}} {
		x.body["uuid"] = x.typ + "-1"
		if _, err := base.Create(x.typ, "admin", x.body); err != nil {
			f.Fatal(err)
		}
	}
	signed := directClient(f, base)
	cookies := signed.http.Jar.Cookies(&url.URL{Scheme: "https", Host: base.Host(), Path: "/"})
	f.Fuzz(func(t *testing.T, method, path, query, header string, body []byte) {
		w, err := base.world.Clone()
		if err != nil {
			t.Fatal(err)
		}
		s, err := assemble(base.options, w)
		if err != nil {
			t.Fatal(err)
		}
		r := &http.Request{Method: method, URL: &url.URL{Path: path, RawQuery: query}, Header: http.Header{"X-Csrftoken": {signed.csrf}},
			Host: "avi.example.org", Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Body: io.NopCloser(bytes.NewReader(body))}
		for _, k := range cookies {
			r.AddCookie(k)
		}
		for line := range strings.Lines(header) {
			if k, v, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
				r.Header.Set(k, strings.TrimSpace(v))
			}
		}
		before := s.world.Revision()
		got := httptest.NewRecorder()
		s.ServeHTTP(got, r) // a panic ends the test
		if got.Code >= 500 && !strings.Contains(got.Body.String(), "Bad pb") {
			t.Fatalf("%d %s", got.Code, got.Body.String())
		}
		if s.world.Revision() == before {
			return // nothing was written
		}
		consistent(t, s)
		again, err := s.world.Clone()
		if err != nil {
			t.Fatalf("what was written can't be read: %v", err)
		}
		if err := again.Audit(); err != nil {
			t.Fatal(err)
		}
	})
}
