// SPDX-License-Identifier: Apache-2.0

package avisim

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/doc"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/world"
)

// clock is a settable time for Options.Now.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// addNetwork makes a network with one subnet; ranges are "type first-last", with VIP for STATIC_IPS_FOR_VIP and so on.
func addNetwork(t testing.TB, s *Server, name, subnet string, more obj, ranges ...string) {
	t.Helper()
	list := []any{}
	for _, r := range ranges {
		use, span, _ := strings.Cut(r, " ")
		first, last, _ := strings.Cut(span, "-")
		list = append(list, obj{"type": "STATIC_IPS_FOR_" + use, "range": obj{
			"begin": world.Address(netip.MustParseAddr(first)), "end": world.Address(netip.MustParseAddr(last))}})
	}
	body := obj{"name": name, "configured_subnets": []any{obj{"prefix": world.Prefix(netip.MustParsePrefix(subnet)),
		"static_ip_ranges": list}}}
	for k, v := range more {
		body[k] = v
	}
	if _, err := s.Create("network", "admin", body); err != nil {
		t.Fatal(err)
	}
}

// on makes a VIP entry that asks for an address of a network.
func on(network string, more obj) obj {
	v := obj{"auto_allocate_ip": true, "ipam_network_subnet": obj{"network_ref": "/api/network?name=" + network}}
	for k, x := range more {
		v[k] = x
	}
	return v
}

func vips(entries ...obj) []obj { return entries }

func vsvip(name string, entries ...obj) obj { return obj{"name": name, "vip": entries} }

func v4(a string) obj { return obj{"addr": a, "type": "V4"} }

// addresses renders what the VIP entries of an answer hold: "10.0.0.1", "10.0.0.1+fd00::1", "-" for none.
func addresses(body obj) string {
	var out []string
	for _, v := range doc.Messages(body["vip"]) {
		var has []string
		for _, f := range world.Families {
			if a := doc.Str(v, f.Field, "addr"); a != "" {
				has = append(has, a)
			}
		}
		out = append(out, strings.Join(has, "+"))
		if len(has) == 0 {
			out[len(out)-1] = "-"
		}
	}
	return strings.Join(out, " ")
}

func TestRanges(t *testing.T) {
	for _, tt := range []struct {
		name, subnet string
		ranges       []string
		entry        obj
		want         []string // addresses until an error ends them
	}{
		{"whole subnet without network, gateway and broadcast", "10.1.0.0/29", nil, nil,
			[]string{"10.1.0.2", "10.1.0.3", "10.1.0.4", "10.1.0.5", "10.1.0.6", "No available free IPs"}},
		{"of two addresses", "10.1.0.0/31", nil, nil, []string{"10.1.0.0", "10.1.0.1", "No available free IPs"}},
		{"VIP, both, and not SE", "10.1.0.0/24", []string{"SE 10.1.0.10-10.1.0.19", "VIP 10.1.0.30-10.1.0.30", "VIP_AND_SE 10.1.0.20-10.1.0.21"},
			nil,
			[]string{"10.1.0.30", "10.1.0.20", "10.1.0.21", "No available free IPs"}},
		{"SE only", "10.1.0.0/24", []string{"SE 10.1.0.10-10.1.0.19"}, nil, []string{"No available free IPs"}},
		{"IPv6", "fd00:1::/125", nil, obj{"auto_allocate_ip_type": "V6_ONLY"},
			[]string{"fd00:1::2", "fd00:1::3", "fd00:1::4", "fd00:1::5", "fd00:1::6", "No available free IPs"}},
		{"family that the network lacks", "fd00:1::/64", nil, nil, []string{"No network/subnet matched"}},
		{"subnet that the network lacks", "10.1.0.0/24", nil,
			obj{"ipam_network_subnet": obj{"network_ref": "/api/network?name=n", "subnet": obj{"ip_addr": v4("10.2.0.0"),
				"mask": 24}}}, []string{"No network/subnet matched"}},
		{"placement network", "10.1.0.0/24", nil, obj{"ipam_network_subnet": nil,
			"placement_networks": []any{obj{"network_ref": "/api/network?name=n"}}}, []string{"10.1.0.2", "10.1.0.3"}},
		{"preferred", "10.1.0.0/24", nil, obj{"ip_address": v4("10.1.0.77")}, []string{"10.1.0.77", "already in use"}},
		{"preferred beyond the ranges", "10.1.0.0/24", []string{"VIP 10.1.0.30-10.1.0.40"}, obj{"ip_address": v4("10.1.0.77")},
			[]string{"not in the configured ranges"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, c := signedIn(t, Options{})
			addNetwork(t, s, "n", tt.subnet, nil, tt.ranges...)
			for i, want := range tt.want {
				r := c.do("POST", "/api/vsvip", vsvip(fmt.Sprint("v", i), on("n", tt.entry)))
				if got := addresses(r.body); got != want && !strings.Contains(doc.Str(r.body, "error"), want) {
					t.Errorf("%d: %d %s %s, want %s", i, r.status, got, r.raw, want)
				}
				if r.status >= 400 && r.status != 400 {
					t.Errorf("status %d", r.status)
				}
			}
			consistent(t, s)
		})
	}
}

// TestReturn checks what becomes free when: with the VsVip, with an entry of it, and after the quarantine.
func TestReturn(t *testing.T) {
	now := newClock()
	s, c := signedIn(t, Options{Now: now.now})
	addNetwork(t, s, "n", "10.1.0.0/24", nil, "VIP 10.1.0.1-10.1.0.4")
	a := c.want(201, "POST", "/api/vsvip", vsvip("a", on("n", nil), on("n", nil)))
	b := c.want(201, "POST", "/api/vsvip", vsvip("b", on("n", nil)))
	if got := addresses(a.body) + " " + addresses(b.body); got != "10.1.0.1 10.1.0.2 10.1.0.3" {
		t.Fatal(got)
	}
	next := func(want string) response {
		t.Helper()
		r := c.do("POST", "/api/vsvip", vsvip("c", on("n", nil)))
		if got := addresses(r.body) + doc.Str(r.body, "error"); got != want {
			t.Errorf("%s, want %s", got, want)
		}
		consistent(t, s)
		return r
	}
	drop := func(r response) { t.Helper(); c.want(204, "DELETE", "/api/vsvip/"+r.uuid(), nil) }
	second := doc.Messages(a.body["vip"])[1]
	c.want(200, "PUT", "/api/vsvip/"+a.uuid(), obj{"name": "a", "vip": []any{second}})
	drop(next("10.1.0.1"))
	s.SetIPAM(IPAM{Quarantine: time.Minute})
	drop(b)
	drop(next("10.1.0.1"))
	now.advance(30 * time.Second)
	drop(next("10.1.0.4"))
	next("No available free IPs")
	prefer := c.want(201, "POST", "/api/vsvip", vsvip("p", on("n", obj{"ip_address": v4("10.1.0.4")})))
	now.advance(30 * time.Second)
	c4 := next("10.1.0.1")
	drop(c4)
	drop(prefer)
	c3 := next("10.1.0.3")
	s.SetIPAM(IPAM{}) // ends the quarantine of what is in it
	c.want(204, "DELETE", "/api/vsvip/"+c3.uuid(), nil)
	next("10.1.0.1")
}

func TestDualStackAndStatic(t *testing.T) {
	s, c := signedIn(t, Options{})
	r := c.want(201, "POST", "/api/vsvip", vsvip("d", obj{"auto_allocate_ip": true, "auto_allocate_ip_type": "V4_V6"}))
	if got := addresses(r.body); got != "10.10.0.10+fd00:10:10::10" {
		t.Error(got)
	}
	v := doc.Messages(r.body["vip"])[0]
	d := doc.Messages(v["discovered_networks"])
	if len(d) != 1 || len(doc.Messages(d[0]["subnet"])) != 1 || len(doc.Messages(d[0]["subnet6"])) != 1 {
		t.Errorf("discovered_networks %v", d)
	}
	// A static address in a range counts as taken there, and returns.
	st := c.want(201, "POST", "/api/vsvip", vsvip("s", obj{"ip_address": v4("10.10.0.11")}))
	if got := addresses(c.want(201, "POST", "/api/vsvip", vsvip("e", obj{"auto_allocate_ip": true})).body); got != "10.10.0.12" {
		t.Error(got)
	}
	c.want(204, "DELETE", "/api/vsvip/"+st.uuid(), nil)
	if got := addresses(c.want(201, "POST", "/api/vsvip", vsvip("f", obj{"auto_allocate_ip": true})).body); got != "10.10.0.11" {
		t.Error(got)
	}
	// Ranges may change under the allocations.
	if err := s.Edit("network", "admin", "vip-network", func(m map[string]any) {
		m["configured_subnets"] = []any{obj{"prefix": world.Prefix(netip.MustParsePrefix("10.10.0.0/28"))}}
	}); err != nil {
		t.Fatal(err)
	}
	if got := addresses(c.want(201, "POST", "/api/vsvip", vsvip("g", obj{"auto_allocate_ip": true})).body); got != "10.10.0.2" {
		t.Error(got)
	}
	consistent(t, s)
}

// TestUpdateNamesItsNetwork sends what a client sends at each change: the network by name, neither address nor discovered_networks.
func TestUpdateNamesItsNetwork(t *testing.T) {
	s, c := signedIn(t, Options{})
	addNetwork(t, s, "n2", "10.2.0.0/24", nil)
	addNetwork(t, s, "full", "10.3.0.0/24", nil, "SE 10.3.0.5-10.3.0.9")
	ids := c.service("amf", "10.244.1.11")
	path, vs := "/api/vsvip/"+ids["vsvip"], "/api/virtualservice/"+ids["virtualservice"]+"/runtime"
	put := func(network string, more obj) obj {
		t.Helper()
		return c.want(200, "PUT", path, vsvip("amf", on(network, more))).body
	}
	expect := func(what string, body obj, address, network, state string) {
		t.Helper()
		v := doc.Messages(body["vip"])[0]
		found := doc.Messages(v["discovered_networks"])
		if got := doc.Str(c.want(200, "GET", vs, nil).body, "oper_status", "state"); got != state || addresses(body) != address {
			t.Errorf("%s: %s, %s", what, addresses(body), got)
		}
		if network != "" && (len(found) != 1 || !strings.HasSuffix(doc.Str(found[0], "network_ref"), "#"+network) ||
			!strings.HasSuffix(doc.Str(v, "ipam_network_subnet", "network_ref"), "#"+network)) {
			t.Errorf("%s: %v, %v", what, found, v["ipam_network_subnet"])
		}
		consistent(t, s)
	}
	subnet := func(network string) obj {
		return obj{"ipam_network_subnet": obj{"network_ref": "/api/network/?name=" + network,
			"subnet": world.Prefix(netip.MustParsePrefix("10.10.0.0/16"))}}
	}

	before := put("vip-network", nil)
	expect("network alone", before, "10.10.0.10", "vip-network", "OPER_UP")
	expect("with its subnet", put("vip-network", subnet("vip-network")), "10.10.0.10", "vip-network", "OPER_UP")
	lost := c.want(200, "PUT", path, vsvip("amf", obj{"auto_allocate_ip": true})).body
	expect("none named", lost, "10.10.0.10", "", "OPER_DOWN")
	expect("named again", put("vip-network", nil), "10.10.0.10", "vip-network", "OPER_UP")

	expect("another one", put("n2", nil), "10.2.0.2", "n2", "OPER_UP")
	if got := addresses(c.want(201, "POST", "/api/vsvip", vsvipBody("next")).body); got != "10.10.0.10" {
		t.Errorf("the address that was given up did not return: %s", got)
	}
	echo := put("vip-network", obj{"ip_address": v4("10.2.0.2")})
	expect("back, with the old address echoed", echo, "10.10.0.11", "vip-network", "OPER_UP")
	r := c.want(400, "PUT", path, vsvip("amf", on("vip-network", obj{"ip_address": v4("10.10.0.77")})))
	if doc.Str(r.body, "error") != "If a new preferred IP is needed, please recreate the VIP" {
		t.Errorf("another address: %s", r.raw)
	}
	r = c.want(400, "PUT", path, vsvip("amf", on("full", nil)))
	expect("a network without room keeps all", c.want(200, "GET", path+"?include_name", nil).body, "10.10.0.11", "vip-network", "OPER_UP")
	if !strings.Contains(r.raw, "No ") {
		t.Error(r.raw)
	}
}

func TestIPAMModes(t *testing.T) {
	now := newClock()
	s, c := signedIn(t, Options{Now: now.now})
	get := func(r response) obj { return c.want(200, "GET", "/api/vsvip/"+r.uuid(), nil).body }
	auto := obj{"auto_allocate_ip": true}

	s.SetIPAM(IPAM{Async: 5 * time.Second})
	r := c.want(201, "POST", "/api/vsvip", vsvip("late", auto))
	if v := doc.Messages(r.body["vip"])[0]; addresses(r.body) != "-" || v["avi_allocated_vip"] != true {
		t.Errorf("async: %s", r.raw)
	}
	now.advance(4 * time.Second)
	if got := addresses(get(r)); got != "-" {
		t.Errorf("%s too early", got)
	}
	now.advance(time.Second)
	if body := get(r); addresses(body) != "10.10.0.10" || doc.Str(body, "_last_modified") == doc.Str(r.body, "_last_modified") {
		t.Errorf("after the delay: %v", body)
	}

	s.SetIPAM(IPAM{OtherThanPreferred: true})
	r = c.want(201, "POST", "/api/vsvip", vsvip("other", obj{"auto_allocate_ip": true, "ip_address": v4("10.10.0.11")}))
	if got := addresses(r.body); got != "10.10.0.12" {
		t.Errorf("other than preferred: %s", got)
	}

	s.SetIPAM(IPAM{ChangeAfter: time.Minute})
	r = c.want(201, "POST", "/api/vsvip", vsvip("moving", obj{"auto_allocate_ip": true, "auto_allocate_ip_type": "V4_V6"}))
	before := addresses(r.body)
	now.advance(time.Minute)
	body := get(r)
	if got := addresses(body); before != "10.10.0.11+fd00:10:10::10" || got != "10.10.0.13+fd00:10:10::11" ||
		len(doc.Messages(doc.Messages(body["vip"])[0]["discovered_networks"])) != 1 {
		t.Errorf("moved from %s to %s: %v", before, got, body)
	}

	s.SetIPAM(IPAM{Slow: 80 * time.Millisecond})
	begin := time.Now()
	c.want(201, "POST", "/api/vsvip", vsvip("slow", auto))
	if took := time.Since(begin); took < 80*time.Millisecond {
		t.Errorf("slow took %v", took)
	}
	consistent(t, s)
}

func TestVRFs(t *testing.T) {
	s, c := signedIn(t, Options{})
	for _, v := range []string{"blue", "red"} {
		c.want(201, "POST", "/api/vrfcontext", obj{"name": v})
		addNetwork(t, s, v, "10.5.0.0/24", obj{"vrf_context_ref": "/api/vrfcontext?name=" + v})
	}
	if err := s.Edit("ipamdnsproviderprofile", "admin", "Default-IPAM", func(m map[string]any) {
		m["allocate_ip_in_vrf"] = true
		m["internal_profile"] = obj{"usable_networks": []any{obj{"nw_ref": "/api/network?name=blue"}, obj{"nw_ref": "/api/network?name=red"}}}
	}); err != nil {
		t.Fatal(err)
	}
	for i, tt := range []struct{ vrf, want, network string }{
		{"red", "10.5.0.2", "red"}, {"blue", "10.5.0.2", "blue"}, {"red", "10.5.0.3", "red"}, {"global", "No network/subnet matched", ""},
	} {
		r := c.do("POST", "/api/vsvip", obj{"name": fmt.Sprint("v", i), "vrf_context_ref": "/api/vrfcontext?name=" + tt.vrf,
			"vip": vips(obj{"auto_allocate_ip": true})})
		if tt.network == "" {
			if !strings.Contains(r.raw, tt.want) {
				t.Errorf("%s: %s", tt.vrf, r.raw)
			}
			continue
		}
		n := doc.Str(doc.Messages(r.body["vip"])[0], "ipam_network_subnet", "network_ref")
		if got := addresses(r.body); got != tt.want || !strings.HasSuffix(n, "#"+tt.network) {
			t.Errorf("%s: %s of %s", tt.vrf, got, n)
		}
	}
	consistent(t, s)
}

func TestPublicCloud(t *testing.T) {
	s, c := signedIn(t, Options{})
	c.want(201, "POST", "/api/cloud", obj{"name": "aws", "vtype": "CLOUD_AWS"})
	in := func(name string, more obj) obj {
		b := obj{"cloud_ref": "/api/cloud?name=aws"}
		for k, v := range more {
			b[k] = v
		}
		addNetwork(t, s, name, map[string]string{"subnet-a": "172.16.1.0/24", "subnet-b": "172.16.2.0/24", "elastic": "198.51.100.0/28"}[name], b)
		o, _ := s.Object("network", "admin", name)
		return o
	}
	a, b := in("subnet-a", nil), in("subnet-b", nil)
	fip := in("elastic", obj{"attrs": []any{obj{"key": "floating"}}})
	for i, tt := range []struct {
		entry         obj
		want, subnet  string
		floating, via string
	}{
		{obj{}, "172.16.1.2", doc.Str(a, "uuid"), "", ""},
		{obj{"subnet_uuid": "subnet-b"}, "172.16.2.2", "subnet-b", "", ""},
		{obj{"subnet_uuid": doc.Str(b, "uuid")}, "172.16.2.3", doc.Str(b, "uuid"), "", ""},
		{obj{"subnet_uuid": "172.16.2.0/24", "auto_allocate_floating_ip": true}, "172.16.2.4", "172.16.2.0/24", "198.51.100.2",
			doc.Str(fip, "uuid")},
	} {
		tt.entry["auto_allocate_ip"] = true
		r := c.want(201, "POST", "/api/vsvip", obj{"name": fmt.Sprint("v", i), "cloud_ref": "/api/cloud?name=aws", "vip": vips(tt.entry)})
		v := doc.Messages(r.body["vip"])[0]
		if addresses(r.body) != tt.want || doc.Str(v, "subnet_uuid") != tt.subnet || doc.Str(v, "floating_ip", "addr") != tt.floating ||
			doc.Str(v, "floating_subnet_uuid") != tt.via || v["avi_allocated_fip"] != (tt.floating != "") || v["ipam_network_subnet"] != nil {
			t.Errorf("%v: %s", tt.entry, r.raw)
		}
	}
	used := networkUse(t, c, doc.Str(fip, "uuid"))
	if used != "total 13 free 12 allocated 198.51.100.2" {
		t.Error(used)
	}
	v3, _ := s.Object("vsvip", "admin", "v3")
	c.want(204, "DELETE", "/api/vsvip/"+doc.Str(v3, "uuid"), nil)
	if used := networkUse(t, c, doc.Str(fip, "uuid")); used != "total 13 free 13 allocated" {
		t.Error(used)
	}
}

// networkUse renders the first range of a network's accounting.
func networkUse(t testing.TB, c *client, uuid string) string {
	t.Helper()
	body := c.want(200, "GET", "/api/networkruntime/"+uuid, nil).body
	r := doc.Messages(doc.Messages(body["subnet_runtime"])[0]["ip_range_runtimes"])[0]
	out := fmt.Sprintf("total %d free %d allocated", doc.Int(r, "total_ip_count"), doc.Int(r, "free_ip_count"))
	for _, a := range doc.Messages(r["allocated_ips"]) {
		out += " " + doc.Str(a, "ip", "addr")
	}
	return out
}

func TestNetworkRuntime(t *testing.T) {
	s, c := signedIn(t, Options{})
	addNetwork(t, s, "n", "10.1.0.0/24", nil, "VIP 10.1.0.1-10.1.0.9")
	n, _ := s.Object("network", "admin", "n")
	r := c.want(201, "POST", "/api/vsvip", vsvip("a", on("n", nil), on("n", nil)))
	c.want(201, "POST", "/api/vsvip", vsvip("static", obj{"ip_address": v4("10.1.0.5")}))
	if got := networkUse(t, c, doc.Str(n, "uuid")); got != "total 9 free 6 allocated 10.1.0.1 10.1.0.2 10.1.0.5" {
		t.Error(got)
	}
	s.SetIPAM(IPAM{Quarantine: time.Hour})
	c.want(204, "DELETE", "/api/vsvip/"+r.uuid(), nil)
	if got := networkUse(t, c, doc.Str(n, "uuid")); got != "total 9 free 6 allocated 10.1.0.5" {
		t.Error(got)
	}
	for path, want := range map[string]int{"/api/networkruntime": 200, "/api/networkruntime/nope": 404,
		"/api/network/" + doc.Str(n, "uuid") + "/runtime": 200} {
		c.want(want, "GET", path, nil)
	}
	if l := c.want(200, "GET", "/api/networkruntime?name=n", nil); doc.Int(l.body, "count") != 1 {
		t.Error(l.raw)
	}
	c.want(405, "DELETE", "/api/networkruntime/"+doc.Str(n, "uuid"), nil)
}

// BenchmarkAllocate takes and returns addresses in a /16 of which many are used: the duration must not depend on how many.
func BenchmarkAllocate(b *testing.B) {
	for _, used := range []int{0, 10_000, 60_000} {
		b.Run(fmt.Sprint(used, " used"), func(b *testing.B) {
			s, err := New(Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			for i := range used {
				if _, err := s.Create("vsvip", "admin", vsvip(fmt.Sprint("u", i), obj{"auto_allocate_ip": true})); err != nil {
					b.Fatal(err)
				}
			}
			for b.Loop() {
				for _, n := range []string{"a", "b"} { // the second one is what a scan from the lowest would be slow at
					if _, err := s.Create("vsvip", "admin", vsvip(n, obj{"auto_allocate_ip": true})); err != nil {
						b.Fatal(err)
					}
				}
				for _, n := range []string{"b", "a"} {
					if err := s.Remove("vsvip", "admin", n); err != nil {
						b.Fatal(err)
					}
				}
				if used > 0 { // the lowest address of all goes and comes, and with it the one that scans would start from
					if err := s.Remove("vsvip", "admin", "u0"); err != nil {
						b.Fatal(err)
					}
					if _, err := s.Create("vsvip", "admin", vsvip("u0", obj{"auto_allocate_ip": true})); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
