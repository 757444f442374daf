// SPDX-License-Identifier: Apache-2.0

package avisim

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/doc"
)

// TestErrorCatalogue has one case for each row of the project's catalogue of errors: what provokes it, and the exact status,
// body and headers of the answer.
func TestErrorCatalogue(t *testing.T) {
	type stage struct {
		*client
		s   *Server
		ids map[string]string // a service's uuids by type
	}
	const json, html = "application/json", "text/html; charset=utf-8"
	item := func(w stage, typ string) string { return "/api/" + typ + "/" + w.ids[typ] }
	vrf := func(w stage) string {
		o, _ := w.s.Object("vrfcontext", "admin", "global")
		return "/api/vrfcontext/" + doc.Str(o, "uuid")
	}
	for _, tt := range []struct {
		row     string
		do      func(w stage) response
		status  int
		body    string
		content string // Content-Type
		cookies int    // Set-Cookie headers; 2 renew the session, 3 begin one
	}{
		{"400 field introduced in later versions", func(w stage) response {
			w.version = "22.1.2"
			return w.do("POST", "/api/networkprofile", obj{"name": "n", "profile": obj{"type": "PROTOCOL_TYPE_SCTP_PROXY",
				"sctp_proxy_profile": obj{}}})
		}, 400, `{"error":"Incoming request (v22_1_2) has field (sctp_proxy_profile) introduced in later versions(v22_1_3)."}`, json, 2},
		{"400 VRF of VS and pool", func(w stage) response {
			if _, err := w.s.Create("vrfcontext", "admin", obj{"name": "second"}); err != nil {
				w.t.Fatal(err)
			}
			b := vsBody("x", "other", "amf")
			b["vrf_context_ref"] = "/api/vrfcontext?name=second"
			return w.do("POST", "/api/virtualservice", b)
		}, 400, `{"error":"VRF Context for x and pool amf different"}`, json, 2},
		{"400 sub-object validation", func(w stage) response {
			b := vsBody("x", "other", "amf")
			b["vh_matches"] = []obj{{"host": "a.example.com"}}
			return w.do("POST", "/api/virtualservice", b)
		}, 400, `{"error":"{\"vh_matches\":\"{\"path\":\"Field check for path failed : There must be at least 1 path\"}\"}"}`, json, 2},
		{"400 duplicate route_id", func(w stage) response {
			return w.do("POST", "/api/vrfcontext", obj{"name": "v", "static_routes": []obj{route1("1"), route1("1")}})
		}, 400, `{"error":"Field check for static_routes failed: Unique constraints route_id has duplicated value(s)"}`, json, 2},
		{"400 no free IPs", func(w stage) response {
			w.s.SetIPAMExhausted(true)
			return w.do("POST", "/api/vsvip", vsvipBody("x"))
		}, 400, `{"error":"No available free IPs","obj_name":"x"}`, json, 2},
		{"400 VrfContext object not found", func(w stage) response {
			return w.do("POST", "/api/pool", obj{"name": "p", "vrf_ref": "/api/vrfcontext?name=nope"})
		}, 400, `{"error":"VrfContext object not found"}`, json, 2},
		{"400 Network object not found", func(w stage) response {
			return w.do("POST", "/api/vsvip", obj{"name": "v",
				"vip": []obj{{"auto_allocate_ip": true, "ipam_network_subnet": obj{"network_ref": "/api/network/?name=nope"}}}})
		}, 400, `{"error":"Network object not found"}`, json, 2},
		{"400 Cannot modify VrfContext", func(w stage) response {
			w.tenant = "blue"
			return w.do("PUT", vrf(w), obj{"name": "global"})
		}, 400, `{"error":"Cannot modify VrfContext"}`, json, 2},
		{"400 vip_id changed", func(w stage) response {
			return w.do("PATCH", item(w, "vsvip"), obj{"replace": obj{"vip": []obj{{"vip_id": "9", "auto_allocate_ip": true}}}})
		}, 400, `{"error":"Changing an existing VIP's vip_id is not supported"}`, json, 2},
		{"400 new preferred IP", func(w stage) response {
			return w.do("PUT", item(w, "vsvip"), obj{"name": "amf",
				"vip": []obj{{"vip_id": "0", "auto_allocate_ip": true, "ip_address": obj{"addr": "10.10.9.9", "type": "V4"}}}})
		}, 400, `{"error":"If a new preferred IP is needed, please recreate the VIP"}`, json, 2},
		{"400 vCenter URL", func(w stage) response {
			cloud := func(url string) obj {
				return obj{"name": "vc", "vtype": "CLOUD_VCENTER", "vcenter_configuration": obj{"vcenter_url": url, "datacenter": "dc",
					"privilege": "WRITE_ACCESS"}}
			}
			id := w.want(201, "POST", "/api/cloud", cloud("10.0.0.1")).uuid()
			return w.do("PUT", "/api/cloud/"+id, cloud("10.0.0.2"))
		}, 400, `{"error":"Change of Vcenter URL/Datacenter for a vCenter cloud is not supported. Please delete the cloud and create a new one"}`, json, 2},
		{"401 invalid credentials", func(w stage) response { return w.loginAs("admin", "wrong") },
			401, `{"error":"Invalid credentials"}`, json, 0},
		{"401 no session", func(w stage) response { return newClient(w.t, w.s).do("GET", "/api/pool", nil) },
			401, `{"detail":"Authentication credentials were not provided."}`, json, 0},
		{"401 expired session", func(w stage) response {
			w.s.ExpireSessions()
			return w.do("POST", "/api/pool", obj{"name": "p"})
		}, 401, `{"detail":"Authentication credentials were not provided."}`, json, 0},
		{"401 CSRF token", func(w stage) response {
			w.csrf = "invalid"
			return w.do("POST", "/api/pool", obj{"name": "p"})
		}, 401, `CSRF token missing or incorrect.`, json, 2},
		{"401 stale csrftoken cookie on login", func(w stage) response {
			w.s.SetStrictLogin(true)
			w.csrf = "stale"
			return w.loginAs("admin", "avi123$%")
		}, 401, `CSRF token missing or incorrect.`, json, 0},
		{"403 upgrade", func(w stage) response {
			w.s.SetUpgradeMode(true)
			return w.do("POST", "/api/pool", obj{"name": "p"})
		}, 403, `{"error":"Configuration is disallowed during upgrade"}`, json, 2},
		{"403 tenant does not exist", func(w stage) response {
			w.tenant = "green"
			return w.do("GET", "/api/pool", nil)
		}, 403, `{"error":"Tenant 'green' does not exist!"}`, json, 2},
		{"403 object is referred", func(w stage) response { return w.do("DELETE", item(w, "l4policyset"), nil) },
			403, `{"error":"Cannot delete, object is referred by: ['VirtualService amf']"}`, json, 2},
		{"404 object not found", func(w stage) response { return w.do("GET", "/api/vsvip/none", nil) },
			404, `{"error":"VsVip object not found!"}`, json, 2},
		{"405 method", func(w stage) response { return w.do("DELETE", "/api/cluster", nil) },
			405, `{"detail":"Method 'DELETE' not allowed."}`, json, 2},
		{"409 already exists", func(w stage) response { return w.do("POST", "/api/vrfcontext", obj{"name": "global"}) },
			409, `{"error":"Vrf context with this Name, Tenant ref and Cloud ref already exists."}`, json, 2},
		{"412 reload", func(w stage) response {
			b := w.want(200, "GET", item(w, "vsvip"), nil).body
			w.want(200, "PATCH", item(w, "vsvip"), obj{"replace": obj{"dns_info": []obj{{"fqdn": "a.demo.avi.local"}}}})
			return w.do("PUT", item(w, "vsvip"), b)
		}, 412, `{"error":"Need to reload object data VsVip"}`, json, 2},
		{"419 switch session", func(w stage) response {
			other := newClient(w.t, w.s)
			other.login()
			w.want(200, "PUT", "/api/useraccount", obj{"old_password": "avi123$%", "password": "new"})
			return other.do("GET", "/api/pool", nil)
		}, 419, `{"error":"Need to switch session"}`, html, 3},
		{"500 Bad pb", func(w stage) response {
			return w.do("POST", "/api/vsvip", obj{"name": "v",
				"vip": []obj{{"ip_address": obj{"addr": "10.10.0.99", "type": "V4"}, "ip6_address": obj{}}}})
		}, 500, `{"error":"Bad pb: `, json, 2},
		{"503 Controller initialising", func(w stage) response {
			with(w.t.(*testing.T), w.s, "booting")
			return w.do("GET", "/api/initial-data", nil)
		}, 503, "<html><head><title>503 Service Temporarily Unavailable</title></head><body><center><h1>503 Service Temporarily Unavailable</h1></center></body></html>", "text/html", 0},
	} {
		t.Run(tt.row, func(t *testing.T) {
			s, c := signedIn(t, Options{})
			if err := s.AddTenant("blue"); err != nil {
				t.Fatal(err)
			}
			w := stage{c, s, c.service("amf", "10.20.1.1")}
			c.want(201, "POST", "/api/vsvip", vsvipBody("other"))
			r := tt.do(w)
			if r.status != tt.status || r.raw != tt.body && !(strings.HasSuffix(tt.body, ": ") && strings.HasPrefix(r.raw, tt.body)) {
				t.Errorf("%d %s\nwant %d %s", r.status, r.raw, tt.status, tt.body)
			}
			if got := r.header.Get("Content-Type"); got != tt.content {
				t.Errorf("Content-Type %q, want %q", got, tt.content)
			}
			if got := r.header.Values("Set-Cookie"); len(got) != tt.cookies {
				t.Errorf("cookies %q, want %d", got, tt.cookies)
			}
			if got := r.header.Get("Location"); got != "" {
				t.Errorf("Location %q", got)
			}
		})
	}
}

// TestSessionEnds shows the ways in which a session is lost, with what the client sees then and after that.
func TestSessionEnds(t *testing.T) {
	for name, tt := range map[string]struct {
		end  func(s *Server, c *client, clock *clock)
		seen []int
	}{
		"idle":             {func(_ *Server, _ *client, c *clock) { c.advance(16 * time.Minute) }, []int{401, 401}},
		"killed":           {func(s *Server, _ *client, _ *clock) { s.ExpireSessions() }, []int{401, 401}},
		"logout":           {func(_ *Server, c *client, _ *clock) { c.want(200, "POST", "/logout", nil) }, []int{401, 401}},
		"password, admin":  {func(s *Server, _ *client, _ *clock) { s.SetPassword("admin", "new") }, []int{401, 401}},
		"password, itself": {func(_ *Server, c *client, _ *clock) { c.changePassword() }, []int{200, 200}},
		"password, others": {func(s *Server, c *client, _ *clock) {
			other := newClient(c.t, s)
			other.login()
			other.changePassword()
		}, []int{419, 401}},
	} {
		t.Run(name, func(t *testing.T) {
			clock := newClock()
			s, c := signedIn(t, Options{Now: clock.now})
			tt.end(s, c, clock)
			seen := []int{c.do("GET", "/api/pool", nil).status, c.do("GET", "/api/pool", nil).status}
			if !slices.Equal(seen, tt.seen) {
				t.Errorf("seen %v, want %v", seen, tt.seen)
			}
		})
	}
}

func (c *client) changePassword() {
	c.t.Helper()
	if r := c.want(200, "PUT", "/api/useraccount", obj{"old_password": "avi123$%", "password": fmt.Sprint("new",
		time.Now().UnixNano())}); r.raw != "" {
		c.t.Errorf("body %q", r.raw) // recorded: none
	}
}
