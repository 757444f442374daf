// SPDX-License-Identifier: Apache-2.0

package avisim

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/doc"
)

const noCredentials, noToken = `{"detail":"Authentication credentials were not provided."}`, "CSRF token missing or incorrect."

// with adds a fault of one effect, without conditions, for the whole test.
func with(t *testing.T, s *Server, name string, keyValues ...string) int {
	t.Helper()
	return when(t, s, Fault{}, name, keyValues...)
}

// when adds a fault of one effect with conditions.
func when(t *testing.T, s *Server, f Fault, name string, keyValues ...string) int {
	t.Helper()
	a := map[string]string{}
	for i := 0; i < len(keyValues); i += 2 {
		a[keyValues[i]] = keyValues[i+1]
	}
	f.Effects = append(f.Effects, Effect{Name: name, Args: a})
	id, err := s.AddFault(f)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func took(f func()) time.Duration {
	start := time.Now()
	f()
	return time.Since(start)
}

func (c *client) expect(status int, raw, method, path string, body any) {
	c.t.Helper()
	if r := c.want(status, method, path, body); r.raw != raw {
		c.t.Errorf("%s %s: %s, want %s", method, path, r.raw, raw)
	}
}

// fails insists on getting no answer.
func (c *client) fails(method, path string, body any) error {
	c.t.Helper()
	r, err := c.try(method, path, body)
	if err == nil {
		c.t.Fatalf("%s %s: answered %d %s", method, path, r.status, r.raw)
	}
	return err
}

func resultsOf(r response) []map[string]any { return doc.Messages(r.body["results"]) }

const html503 = "<html><head><title>503 Service Temporarily Unavailable</title></head><body><center><h1>503 Service Temporarily Unavailable</h1></center></body></html>"

const html502 = "<html><head><title>502 Bad Gateway</title></head><body><center><h1>502 Bad Gateway</h1></center></body></html>"

// effectTests show, for each effect of the table, what a client sees of it. There is one for each row.
var effectTests = map[string]func(t *testing.T, s *Server, c *client){
	"latency": func(t *testing.T, s *Server, c *client) {
		id := when(t, s, Fault{Type: "pool"}, "latency", "delay", "60ms")
		if d := took(func() { c.want(200, "GET", "/api/pool", nil) }); d < 60*time.Millisecond {
			t.Errorf("fixed: %v", d)
		}
		s.RemoveFault(id)
		when(t, s, Fault{Seed: 1}, "latency", "delay", "10ms", "jitter", "60ms")
		var all []time.Duration
		for range 4 {
			all = append(all, took(func() { c.want(200, "GET", "/api/pool", nil) }))
		}
		if slices.Min(all) < 10*time.Millisecond || slices.Max(all)-slices.Min(all) < 5*time.Millisecond {
			t.Errorf("jittered: %v", all)
		}
		s.ClearFaults()
		with(t, s, "latency", "delay", "130s")
		c.http.Timeout = 50 * time.Millisecond
		if err := c.fails("GET", "/api/pool", nil); !strings.Contains(err.Error(), "Client.Timeout") {
			t.Errorf("very long: %v", err)
		}
	},
	"hang": func(t *testing.T, s *Server, c *client) {
		with(t, s, "hang")
		c.http.Timeout = 50 * time.Millisecond
		if err := c.fails("GET", "/api/pool", nil); !strings.Contains(err.Error(), "Client.Timeout") {
			t.Error(err)
		}
	},
	"drip": func(t *testing.T, s *Server, c *client) {
		want := c.want(200, "GET", "/api/cluster/version", nil).raw
		with(t, s, "drip", "bytes", "60", "every", "20ms")
		d := took(func() { c.expect(200, want, "GET", "/api/cluster/version", nil) })
		if least := 20 * time.Millisecond * time.Duration(len(want)/60); d < least {
			t.Errorf("%d bytes took %v", len(want), d)
		}
	},
	"stall": func(t *testing.T, s *Server, c *client) {
		id := with(t, s, "stall")
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		r, _ := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+s.Host()+"/api/initial-data", nil)
		resp, err := c.http.Do(r)
		if err != nil || resp.StatusCode != 200 {
			t.Fatal("no headers", err)
		}
		if b, err := io.ReadAll(resp.Body); !errors.Is(err, context.DeadlineExceeded) || len(b) != 0 {
			t.Errorf("%q %v", b, err)
		}
		s.RemoveFault(id)
		with(t, s, "stall", "for", "20ms")
		if err := c.fails("GET", "/api/initial-data", nil); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Error(err)
		}
	},

	"refuse": func(t *testing.T, s *Server, c *client) {
		id := with(t, s, "refuse")
		for range 2 {
			_ = c.fails("GET", "/api/pool", nil)
		}
		if _, err := net.DialTimeout("tcp", s.Host(), time.Second); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Error(err)
		}
		s.RemoveFault(id)
		c.want(200, "GET", "/api/pool", nil)
		when(t, s, Fault{Duration: 50 * time.Millisecond}, "refuse")
		_ = c.fails("GET", "/api/pool", nil)
		eventually(t, func() bool { _, err := c.try("GET", "/api/pool", nil); return err == nil })
	},
	"down": func(t *testing.T, s *Server, c *client) {
		id := with(t, s, "down")
		for range 2 {
			_ = c.fails("GET", "/api/pool", nil)
		}
		if conn, err := net.DialTimeout("tcp", s.Host(), time.Second); errors.Is(err, syscall.ECONNREFUSED) {
			t.Error(err)
		} else if err == nil {
			_ = conn.Close()
		}
		s.RemoveFault(id)
		c.want(200, "GET", "/api/pool", nil)
	},
	"reset-before": func(t *testing.T, s *Server, c *client) {
		when(t, s, Fault{Method: "POST", Count: 1}, "reset-before")
		if err := c.fails("POST", "/api/pool", poolBody("p")); !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.EOF) {
			t.Error(err)
		}
		c.want(201, "POST", "/api/pool", poolBody("p"))
	},
	"reset-after": func(t *testing.T, s *Server, c *client) {
		when(t, s, Fault{Method: "POST", Count: 1}, "reset-after")
		_ = c.fails("POST", "/api/pool", poolBody("p"))
		c.want(409, "POST", "/api/pool", poolBody("p")) // the 201 was lost
	},
	"half-response": func(t *testing.T, s *Server, c *client) {
		id := with(t, s, "half-response")
		if err := c.fails("POST", "/api/pool", poolBody("p")); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Error(err)
		}
		s.RemoveFault(id)
		c.want(409, "POST", "/api/pool", poolBody("p"))
	},
	"tls-failure": func(t *testing.T, s *Server, c *client) {
		id := with(t, s, "tls-failure")
		c.http.CloseIdleConnections()
		if err := c.fails("GET", "/api/pool", nil); !strings.Contains(err.Error(), "tls: internal error") {
			t.Error(err)
		}
		s.RemoveFault(id)
		c.want(200, "GET", "/api/pool", nil)
	},
	"new-certificate": func(t *testing.T, s *Server, c *client) {
		when(t, s, Fault{Type: "pool"}, "new-certificate")
		c.want(200, "GET", "/api/pool", nil) // the last one on the old connection
		if err := c.fails("GET", "/api/pool", nil); !strings.Contains(err.Error(), "certificate signed by unknown authority") {
			t.Error(err)
		}
		newClient(t, s).login()
	},

	"answer": func(t *testing.T, s *Server, c *client) {
		for _, tt := range []struct {
			args                   []string
			status                 int
			raw, contentType, wait string
		}{
			{[]string{"status", "502"}, 502, html502, "text/html", ""},
			{[]string{"status", "503", "retry_after", "7"}, 503, html503, "text/html", "7"},
			{[]string{"status", "503", "format", "json"}, 503, `{"error":"Service Unavailable"}`, "application/json", ""},
			{[]string{"status", "504", "format", "plain"}, 504, "Gateway Timeout", "text/plain; charset=utf-8", ""},
			{[]string{"status", "418", "format", "html"}, 418,
				"<html><head><title>418 I'm a teapot</title></head><body><center><h1>418 I'm a teapot</h1></center></body></html>", "text/html", ""},
			{[]string{"status", "500", "body", `{"error":"Bad pb: x"}`}, 500, `{"error":"Bad pb: x"}`, "application/json", ""},
			{[]string{"status", "200", "format", "empty"}, 200, "", "application/json", ""},
			{[]string{"status", "429", "headers", "Retry-After: Wed, 21 Oct 2026 07:28:00 GMT; X-A: b"}, 429, `{"error":"Too many requests"}`,
				"application/json", "Wed, 21 Oct 2026 07:28:00 GMT"},
		} {
			id := when(t, s, Fault{Type: "pool"}, "answer", tt.args...)
			r := c.want(tt.status, "POST", "/api/pool", poolBody("p"))
			if r.raw != tt.raw || r.header.Get("Content-Type") != tt.contentType || r.header.Get("Retry-After") != tt.wait {
				t.Errorf("%v: %q %v", tt.args, r.raw, r.header)
			}
			s.RemoveFault(id)
		}
		c.want(201, "POST", "/api/pool", poolBody("p"))
	},
	"rate-limit": func(t *testing.T, s *Server, c *client) {
		statuses := func(n int) (out []int) {
			for range n {
				out = append(out, c.do("GET", "/api/pool", nil).status)
			}
			return out
		}
		id := when(t, s, Fault{Type: "pool"}, "rate-limit", "rate", "0.001", "burst", "2", "status", "503", "retry_after", "3")
		if got := statuses(3); !slices.Equal(got, []int{200, 200, 503}) {
			t.Error(got)
		}
		if got := c.want(503, "GET", "/api/pool", nil).header.Get("Retry-After"); got != "3" {
			t.Error(got)
		}
		s.RemoveFault(id)
		c.want(200, "PATCH", "/api/controllerproperties", obj{"replace": obj{"portal_request_rate_limit": 1, "portal_request_burst_limit": 3}})
		if got := statuses(5); got[0] != 200 || got[2] != 200 || got[4] != 429 {
			t.Error(got)
		}
		c.expect(429, `{"error":"Too many requests"}`, "GET", "/api/pool", nil)
	},

	"expire-sessions": func(t *testing.T, s *Server, c *client) {
		for _, how := range []string{"kill", "idle", "force"} {
			c.want(200, "GET", "/api/pool", nil)
			with(t, s, "expire-sessions", "how", how)
			c.expect(401, noCredentials, "GET", "/api/pool", nil)
			c.login()
		}
		if len(s.Faults()) != 0 {
			t.Error("an action that is done is kept")
		}
	},
	"switch-session": func(t *testing.T, s *Server, c *client) {
		with(t, s, "switch-session")
		r := c.want(419, "GET", "/api/pool", nil)
		if r.raw != `{"error":"Need to switch session"}` || !strings.HasPrefix(r.header.Get("Content-Type"),
			"text/html") || len(r.header.Values("Set-Cookie")) != 3 {
			t.Errorf("%s %v", r.raw, r.header)
		}
		c.expect(401, noCredentials, "GET", "/api/pool", nil)
	},
	"change-password": func(t *testing.T, s *Server, c *client) {
		login := func(status int, password string) {
			t.Helper()
			newClient(t, s).want(status, "POST", "/login", obj{"username": "admin", "password": password})
		}
		with(t, s, "change-password", "password", "second", "sessions", "keep")
		c.want(200, "GET", "/api/pool", nil)
		login(401, "avi123$%")
		with(t, s, "change-password", "password", "third")
		c.want(419, "GET", "/api/pool", nil)
		login(200, "third")
		c.want(200, "POST", "/login", obj{"username": "admin", "password": "third"})
		with(t, s, "change-password", "sessions", "kill")
		c.expect(401, noCredentials, "GET", "/api/pool", nil)
		login(200, "changed")
	},
	"expire-tokens": func(t *testing.T, s *Server, c *client) {
		tok := doc.Str(c.want(201, "POST", "/api/user-token", obj{"hours": 2}).body, "token")
		newClient(t, s).want(200, "POST", "/login", obj{"username": "admin", "token": tok})
		with(t, s, "expire-tokens")
		newClient(t, s).expect(401, `{"error":"Invalid credentials"}`, "POST", "/login", obj{"username": "admin", "token": tok})
	},
	"lock-account": func(t *testing.T, s *Server, c *client) {
		id := with(t, s, "lock-account")
		c.expect(401, `{"error":"User account is locked"}`, "POST", "/login", obj{"username": "admin", "password": "avi123$%"})
		c.want(200, "GET", "/api/pool", nil) // sessions live on
		s.RemoveFault(id)
		c.login()
	},
	"rotate-csrf": func(t *testing.T, s *Server, c *client) {
		with(t, s, "rotate-csrf")
		c.want(200, "GET", "/api/pool", nil)
		c.expect(401, noToken, "POST", "/api/pool", poolBody("p"))
		c.login()
		c.want(201, "POST", "/api/pool", poolBody("p"))
	},

	"login-unavailable": func(t *testing.T, s *Server, c *client) {
		with(t, s, "login-unavailable", "retry_after", "5")
		if r := c.want(503, "POST", "/login", obj{"username": "admin",
			"password": "avi123$%"}); r.raw != html503 || r.header.Get("Retry-After") != "5" {
			t.Error(r.raw)
		}
		newClient(t, s).want(200, "GET", "/api/cluster/status", nil)
	},
	"status-unavailable": func(t *testing.T, s *Server, c *client) {
		with(t, s, "status-unavailable")
		newClient(t, s).expect(503, html503, "GET", "//api/cluster/status/", nil)
		c.want(200, "GET", "/api/cluster/runtime", nil)
		c.login()
	},
	"booting": func(t *testing.T, s *Server, c *client) {
		id := with(t, s, "booting")
		for _, path := range []string{"/api/cluster/status", "/api/initial-data", "/api/pool", "/login"} {
			c.expect(503, html503, "GET", path, nil)
		}
		s.RemoveFault(id)
		c.want(200, "GET", "/api/pool", nil)
	},
	"upgrade": func(t *testing.T, s *Server, c *client) {
		id := with(t, s, "upgrade", "version", "31.1.1")
		c.expect(403, `{"error":"Configuration is disallowed during upgrade"}`, "POST", "/api/pool", poolBody("p"))
		c.want(200, "GET", "/api/pool", nil)
		c.version = "31.1.1"
		c.want(400, "GET", "/api/pool", nil)
		s.RemoveFault(id)
		c.want(201, "POST", "/api/pool", poolBody("p"))
		if v := doc.Str(c.want(200, "GET", "/api/cluster/version", nil).body, "Version"); v != "31.1.1" {
			t.Error(v)
		}
	},
	"set-version": func(t *testing.T, s *Server, c *client) {
		with(t, s, "set-version", "version", "22.1.4")
		if r := c.want(400, "GET", "/api/pool", nil); !strings.Contains(r.raw, "22.1.4") {
			t.Error(r.raw)
		}
		c.version = "22.1.4"
		c.want(200, "GET", "/api/pool", nil)
	},
	"read-only": func(t *testing.T, s *Server, c *client) {
		with(t, s, "read-only")
		c.expect(403, `{"error":"The system is in read-only mode"}`, "POST", "/api/pool", poolBody("p"))
		c.want(200, "GET", "/api/pool", nil)
		c.login()
	},
	"leader-change": func(t *testing.T, s *Server, c *client) {
		runtime := func() (name, up string) {
			r := c.want(200, "GET", "/api/cluster/runtime", nil)
			n := doc.Messages(r.body["node_states"])[0]
			if doc.Str(n, "role") != "CLUSTER_LEADER" || doc.Str(n, "up_since") != doc.Str(r.body, "cluster_state", "up_since") {
				t.Error(r.raw)
			}
			return doc.Str(n, "name"), doc.Str(n, "up_since")
		}
		s.SetUpSince("2020-01-01 00:00:00")
		c.want(201, "POST", "/api/vsvip", vsvipBody("kept"))
		id := c.want(201, "POST", "/api/pool", poolBody("kept")).uuid()
		time.Sleep(300 * time.Millisecond)
		c.want(201, "POST", "/api/vsvip", vsvipBody("lost"))
		c.want(201, "POST", "/api/pool", poolBody("lost"))
		c.want(200, "PATCH", "/api/pool/"+id, obj{"replace": obj{"enabled": false}})
		c.want(204, "DELETE", "/api/vsvip/"+doc.Str(resultsOf(c.do("GET", "/api/vsvip?name=kept", nil))[0], "uuid"), nil)
		with(t, s, "leader-change", "refuse", "150ms", "lose", "200ms")
		if _, err := net.DialTimeout("tcp", s.Host(), time.Second); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("not refused: %v", err)
		}
		eventually(t, func() bool { _, err := c.try("GET", "/api/pool", nil); return err == nil })
		if name, up := runtime(); name != "node2" || up == "2020-01-01 00:00:00" {
			t.Errorf("%s since %s", name, up)
		}
		for _, typ := range []string{"pool", "vsvip"} {
			if r := c.want(200, "GET", "/api/"+typ, nil); len(resultsOf(r)) != 1 || doc.Str(resultsOf(r)[0],
				"name") != "kept" || resultsOf(r)[0]["enabled"] == false {
				t.Errorf("%s: %s", typ, r.raw)
			}
		}
		// The address that the lost VsVip had is free again, and the other's is not.
		if a, b := vipAddress(s, "kept"), doc.Str(doc.Messages(c.want(201, "POST", "/api/vsvip", vsvipBody("next")).body["vip"])[0], "ip_address",
			"addr"); a == b {
			t.Errorf("both have %s", a)
		}
	},

	"need-reload": func(t *testing.T, s *Server, c *client) {
		r := c.want(201, "POST", "/api/pool", poolBody("p"))
		when(t, s, Fault{Count: 1}, "need-reload")
		c.want(200, "GET", "/api/pool", nil)
		c.expect(412, `{"error":"Need to reload object data Pool"}`, "PUT", "/api/pool/"+r.uuid(), r.body)
		c.want(200, "PUT", "/api/pool/"+r.uuid(), r.body)
	},
	"foreign-edit": func(t *testing.T, s *Server, c *client) {
		r := c.want(201, "POST", "/api/pool", poolBody("p"))
		when(t, s, Fault{Method: "PUT", Type: "pool", Count: 1}, "foreign-edit", "field", "default_server_port", "value", "8081")
		c.expect(412, `{"error":"Need to reload object data Pool"}`, "PUT", "/api/pool/"+r.uuid(), r.body)
		now := c.want(200, "GET", "/api/pool/"+r.uuid(), nil)
		if doc.Int(now.body, "default_server_port") != 8081 {
			t.Error(now.raw)
		}
		c.want(200, "PUT", "/api/pool/"+r.uuid(), now.body)
		when(t, s, Fault{Method: "GET", Type: "pool", Count: 1}, "foreign-edit") // after the reading
		read := c.want(200, "GET", "/api/pool/"+r.uuid(), nil)
		c.want(412, "PUT", "/api/pool/"+r.uuid(), read.body)
		with(t, s, "foreign-edit", "type", "pool", "name", "p", "field", "enabled", "value", "false")
		if c.do("GET", "/api/pool/"+r.uuid(), nil).body["enabled"] != false {
			t.Error("not edited at once")
		}
	},
	"foreign-delete": func(t *testing.T, s *Server, c *client) {
		r := c.want(201, "POST", "/api/pool", poolBody("p"))
		when(t, s, Fault{Method: "PUT", Type: "pool"}, "foreign-delete")
		c.want(200, "GET", "/api/pool/"+r.uuid(), nil)
		c.expect(404, `{"error":"Pool object not found!"}`, "PUT", "/api/pool/"+r.uuid(), r.body)
	},
	"foreign-create": func(t *testing.T, s *Server, c *client) {
		for _, typ := range []string{"pool", "vsvip", "l4policyset", "virtualservice", "healthmonitor"} {
			id := when(t, s, Fault{Method: "POST", Type: typ}, "foreign-create")
			if r := c.want(200, "GET", "/api/"+typ+"?name=n", nil); len(resultsOf(r)) != 0 {
				t.Error(r.raw)
			}
			if r := c.want(409, "POST", "/api/"+typ, obj{"name": "n"}); !strings.HasSuffix(doc.Str(r.body, "error"), "already exists.") {
				t.Error(r.raw)
			}
			if r := c.want(200, "GET", "/api/"+typ+"?name=n", nil); len(resultsOf(r)) != 1 {
				t.Error(r.raw)
			}
			s.RemoveFault(id)
		}
	},
	"conflict": func(t *testing.T, s *Server, c *client) {
		id := when(t, s, Fault{ObjectName: regexp.MustCompile("^p$")}, "conflict")
		c.expect(409, `{"error":"Pool with this Name, Tenant ref and Cloud ref already exists."}`, "POST", "/api/pool", poolBody("p"))
		if r := c.want(200, "GET", "/api/pool?name=p", nil); len(resultsOf(r)) != 0 {
			t.Error(r.raw)
		}
		c.want(201, "POST", "/api/pool", poolBody("other"))
		s.RemoveFault(id)
		c.want(201, "POST", "/api/pool", poolBody("p"))
	},
	"record-not-found": func(t *testing.T, s *Server, c *client) {
		when(t, s, Fault{Count: 1}, "record-not-found")
		c.want(201, "POST", "/api/vsvip", vsvipBody("v"))
		c.want(201, "POST", "/api/pool", poolBody("v"))
		c.want(201, "POST", "/api/l4policyset", policyBody("v", "v"))
		c.expect(500, `{"error":"record not found"}`, "POST", "/api/virtualservice", vsBody("v", "v", "v"))
		c.want(201, "POST", "/api/virtualservice", vsBody("v", "v", "v"))
	},
	"hide": func(t *testing.T, s *Server, c *client) {
		for _, n := range []string{"a", "b"} {
			c.want(201, "POST", "/api/pool", poolBody(n))
		}
		with(t, s, "hide", "name", "^a$")
		for _, path := range []string{"/api/pool", "/api/pool-inventory"} {
			if r := c.want(200, "GET", path, nil); len(resultsOf(r)) != 1 || doc.Int(r.body, "count") != 1 {
				t.Error(r.raw)
			}
		}
		if r := c.want(200, "GET", "/api/pool?name=a", nil); r.raw != `{"count":0,"results":[]}` {
			t.Error(r.raw)
		}
		c.want(409, "POST", "/api/pool", poolBody("a"))
	},
	"stale-reads": func(t *testing.T, s *Server, c *client) {
		old := c.want(201, "POST", "/api/pool", poolBody("old", "10.0.0.1")).uuid()
		with(t, s, "stale-reads", "lag", "200ms")
		id := c.want(201, "POST", "/api/pool", poolBody("new")).uuid()
		c.want(204, "DELETE", "/api/pool/"+old, nil)
		c.want(404, "GET", "/api/pool/"+id, nil)
		if r := c.want(200, "GET", "/api/pool-inventory?include_name", nil); len(resultsOf(r)) != 1 || doc.Str(resultsOf(r)[0], "config",
			"name") != "old" {
			t.Error(r.raw)
		}
		c.want(200, "GET", "/api/pool/"+old+"/runtime/server", nil)
		c.want(409, "POST", "/api/pool", poolBody("new"))
		eventually(t, func() bool {
			l := resultsOf(c.want(200, "GET", "/api/pool", nil))
			return len(l) == 1 && doc.Str(l[0], "name") == "new"
		})
	},
	"duplicate": func(t *testing.T, s *Server, c *client) {
		id := with(t, s, "duplicate")
		c.want(409, "POST", "/api/pool", poolBody("a"))
		if len(s.Objects("pool")) != 1 {
			t.Error("not created")
		}
		r := c.want(200, "GET", "/api/pool?name=a", nil)
		c.want(404, "DELETE", "/api/pool/"+doc.Str(resultsOf(r)[0], "uuid"), nil)
		s.RemoveFault(id)
		with(t, s, "duplicate", "answer", "first")
		c.want(201, "POST", "/api/pool", poolBody("b"))
	},
	"hidden-referrer": func(t *testing.T, s *Server, c *client) {
		p := c.want(201, "POST", "/api/pool", poolBody("p")).uuid()
		id := with(t, s, "hidden-referrer", "by", "VirtualService a, L4PolicySet b")
		c.expect(403, `{"error":"Cannot delete, object is referred by: ['VirtualService a', 'L4PolicySet b']"}`, "DELETE", "/api/pool/"+p, nil)
		s.RemoveFault(id)
		c.want(204, "DELETE", "/api/pool/"+p, nil)
	},

	"ipam-exhausted": func(t *testing.T, s *Server, c *client) {
		id := with(t, s, "ipam-exhausted")
		c.expect(400, `{"error":"No available free IPs","obj_name":"v"}`, "POST", "/api/vsvip", vsvipBody("v"))
		s.RemoveFault(id)
		c.want(201, "POST", "/api/vsvip", vsvipBody("v"))
	},
	"ipam-slow": func(t *testing.T, s *Server, c *client) {
		with(t, s, "ipam-slow", "delay", "80ms")
		if d := took(func() { c.want(201, "POST", "/api/vsvip", vsvipBody("v")) }); d < 80*time.Millisecond {
			t.Error(d)
		}
		if d := took(func() { c.want(201, "POST", "/api/pool", poolBody("p")) }); d > 70*time.Millisecond {
			t.Error(d)
		}
	},
	"ipam-async": func(t *testing.T, s *Server, c *client) {
		id := with(t, s, "ipam-async", "delay", "100ms")
		vip := doc.Messages(c.want(201, "POST", "/api/vsvip", vsvipBody("v")).body["vip"])[0]
		if vip["ip_address"] != nil {
			t.Errorf("at once: %v", vip)
		}
		eventually(t, func() bool {
			v := doc.Messages(resultsOf(c.want(200, "GET", "/api/vsvip", nil))[0]["vip"])[0]
			return doc.Str(v, "ip_address", "addr") != "" && v["avi_allocated_vip"] == true
		})
		s.RemoveFault(id)
		if vip := doc.Messages(c.want(201, "POST", "/api/vsvip", vsvipBody("w")).body["vip"])[0]; vip["ip_address"] == nil {
			t.Errorf("still late: %v", vip)
		}
	},
	"ipam-other-address": func(t *testing.T, s *Server, c *client) {
		with(t, s, "ipam-other-address")
		first := doc.Str(doc.Messages(c.want(201, "POST", "/api/vsvip", vsvipBody("first")).body["vip"])[0], "ip_address", "addr")
		for _, preferred := range []string{"10.10.0.77", nextAddress(first)} { // the second is the one that it would get anyway
			body := vsvipBody("v" + preferred)
			body["vip"].([]obj)[0]["ip_address"] = obj{"addr": preferred, "type": "V4"}
			vip := doc.Messages(c.want(201, "POST", "/api/vsvip", body).body["vip"])[0]
			if got := doc.Str(vip, "ip_address", "addr"); got == "" || got == preferred || got == first || vip["avi_allocated_vip"] != true {
				t.Errorf("%s: %v", preferred, vip)
			}
		}
		if n := len(s.Objects("vsvip")); n != 3 {
			t.Errorf("%d VsVips", n)
		}
	},
	"ipam-address-changes": func(t *testing.T, s *Server, c *client) {
		when(t, s, Fault{Method: "POST", Count: 1}, "ipam-address-changes", "delay", "50ms")
		was := doc.Str(doc.Messages(c.want(201, "POST", "/api/vsvip", vsvipBody("v")).body["vip"])[0], "ip_address", "addr")
		if now := vipAddress(s, "v"); now != was {
			t.Errorf("changed at once: %s", now)
		}
		eventually(t, func() bool { return vipAddress(s, "v") != was })
		with(t, s, "ipam-address-changes", "name", "v", "address", "10.10.5.5")
		if now := vipAddress(s, "v"); now != "10.10.5.5" {
			t.Error(now)
		}
	},

	"page-truncated": func(t *testing.T, s *Server, c *client) {
		makePools(c, 5)
		with(t, s, "page-truncated", "keep", "2")
		if r := c.want(200, "GET", "/api/pool?page_size=4", nil); len(resultsOf(r)) != 2 || doc.Int(r.body, "count") != 5 || doc.Str(r.body,
			"next") == "" {
			t.Error(r.raw)
		}
	},
	"page-loop": func(t *testing.T, s *Server, c *client) {
		makePools(c, 3)
		with(t, s, "page-loop")
		r := c.want(200, "GET", "/api/pool?page_size=2&page=2", nil)
		if next := doc.Str(r.body, "next"); next != "https://"+s.Host()+"/api/pool?page_size=2&page=2" {
			t.Error(next)
		}
	},
	"wrong-count": func(t *testing.T, s *Server, c *client) {
		makePools(c, 3)
		with(t, s, "wrong-count", "add", "-2")
		if r := c.want(200, "GET", "/api/pool", nil); len(resultsOf(r)) != 3 || doc.Int(r.body, "count") != 1 {
			t.Error(r.raw)
		}
	},
	"page-size-ignored": func(t *testing.T, s *Server, c *client) {
		makePools(c, 5)
		with(t, s, "page-size-ignored", "size", "2")
		if r := c.want(200, "GET", "/api/pool?page_size=200", nil); len(resultsOf(r)) != 2 || doc.Str(r.body, "next") == "" {
			t.Error(r.raw)
		}
	},

	"unknown-fields": func(t *testing.T, s *Server, c *client) {
		id := c.want(201, "POST", "/api/pool", poolBody("p", "10.0.0.1")).uuid()
		with(t, s, "unknown-fields")
		one, many := c.want(200, "GET", "/api/pool/"+id, nil).body, resultsOf(c.want(200, "GET", "/api/pool", nil))[0]
		for _, o := range []obj{one, many} {
			nothing, have := o["x_nothing"]
			if doc.At(o, "x_of_the_future", "depth") != 2.5 || o["x_flag"] != true || !have || nothing != nil ||
				doc.Messages(o["servers"])[0]["x_of_the_future"] == nil {
				t.Errorf("%v", o)
			}
		}
	},
	"drop-fields": func(t *testing.T, s *Server, c *client) {
		with(t, s, "drop-fields", "fields", "_last_modified, url")
		r := c.want(201, "POST", "/api/pool", poolBody("p"))
		inventory := resultsOf(c.want(200, "GET", "/api/pool-inventory", nil))[0]
		for _, o := range []obj{r.body, resultsOf(c.want(200, "GET", "/api/pool", nil))[0], inventory, inventory["config"].(obj)} {
			if o["_last_modified"] != nil || o["url"] != nil || o["uuid"] == nil {
				t.Errorf("%v", o)
			}
		}
	},
	"null-lists": func(t *testing.T, s *Server, c *client) {
		c.want(201, "POST", "/api/pool", poolBody("p", "10.0.0.1"))
		id := with(t, s, "null-lists")
		o := resultsOf(c.want(200, "GET", "/api/pool", nil))[0]
		if v, have := o["servers"]; !have || v != nil {
			t.Errorf("%v", o)
		}
		s.RemoveFault(id)
		with(t, s, "null-lists", "results", "true")
		c.expect(200, `{"count":1,"results":null}`, "GET", "/api/pool", nil)
	},
	"unknown-enum": func(t *testing.T, s *Server, c *client) {
		ids := c.service("a", "10.0.0.1")
		with(t, s, "unknown-enum")
		if got := doc.Str(c.want(200, "GET", "/api/virtualservice/"+ids["virtualservice"]+"/runtime", nil).body, "oper_status",
			"state"); got != "OPER_OF_THE_FUTURE" {
			t.Error(got)
		}
	},

	"vs-stuck": func(t *testing.T, s *Server, c *client) {
		stuck, free := c.service("stuck", "10.0.0.1"), c.service("free", "10.0.0.2")
		id := with(t, s, "vs-stuck", "name", "^stuck$")
		state := func(ids map[string]string) obj {
			return c.want(200, "GET", "/api/virtualservice/"+ids["virtualservice"]+"/runtime", nil).body["oper_status"].(obj)
		}
		if o := state(stuck); o["state"] != "OPER_RESOURCES" || o["reason"].([]any)[0] != "Insufficient Service Engine resources" {
			t.Errorf("%v", o)
		}
		if o := state(free); o["state"] != "OPER_UP" {
			t.Errorf("%v", o)
		}
		s.RemoveFault(id)
		if o := state(stuck); o["state"] != "OPER_UP" {
			t.Errorf("%v", o)
		}
	},
	"server-down": func(t *testing.T, s *Server, c *client) {
		id := with(t, s, "server-down", "server", "10.0.0.1:30100", "reason", "unplugged")
		ids := c.service("a", "10.0.0.1")
		state := func() string {
			return doc.Str(c.want(200, "GET", "/api/virtualservice/"+ids["virtualservice"]+"/runtime", nil).body, "oper_status", "state")
		}
		if state() != "OPER_DOWN" || !strings.Contains(c.want(200, "GET", "/api/pool/"+ids["pool"]+"/runtime/server", nil).raw, "unplugged") {
			t.Error(state())
		}
		s.RemoveFault(id)
		if state() != "OPER_UP" {
			t.Error(state())
		}
	},
	"server-flap": func(t *testing.T, s *Server, c *client) {
		ids := c.service("a", "10.0.0.1")
		id := with(t, s, "server-flap", "server", "10.0.0.1:30100", "every", "30ms")
		state := func(want string) func() bool {
			return func() bool {
				return doc.Str(c.want(200, "GET", "/api/virtualservice/"+ids["virtualservice"]+"/runtime", nil).body, "oper_status", "state") == want
			}
		}
		for range 2 {
			eventually(t, state("OPER_DOWN"))
			eventually(t, state("OPER_UP"))
		}
		s.RemoveFault(id)
		if !state("OPER_UP")() {
			t.Error("down at the end")
		}
	},

	"clear-faults": func(t *testing.T, s *Server, c *client) {
		when(t, s, Fault{Type: "pool"}, "answer")
		with(t, s, "upgrade")
		when(t, s, Fault{Type: "vsvip"}, "clear-faults")
		c.want(503, "GET", "/api/pool", nil)
		c.want(200, "GET", "/api/vsvip", nil)
		c.want(201, "POST", "/api/pool", poolBody("p"))
		if n := len(s.Faults()); n != 0 {
			t.Errorf("%d left", n)
		}
	},
}

func makePools(c *client, n int) {
	for i := range n {
		c.want(201, "POST", "/api/pool", poolBody(string(rune('a'+i))))
	}
}

func vipAddress(s *Server, name string) string {
	o, _ := s.Object("vsvip", "admin", name)
	return doc.Str(doc.Messages(o["vip"])[0], "ip_address", "addr")
}

func nextAddress(a string) string {
	ip := net.ParseIP(a).To4()
	ip[3]++
	return ip.String()
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	for range 2000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("not within 20 s")
}

func TestEffects(t *testing.T) {
	for _, e := range EffectTable() {
		test := effectTests[e.Name]
		if test == nil {
			t.Errorf("%s has no test", e.Name)
			continue
		}
		t.Run(e.Name, func(t *testing.T) {
			t.Parallel()
			s, c := signedIn(t, Options{})
			test(t, s, c)
		})
	}
	if len(effectTests) != len(EffectTable()) {
		t.Errorf("%d tests of %d effects", len(effectTests), len(EffectTable()))
	}
}

func TestFaultErrors(t *testing.T) {
	s := start(t, Options{})
	for _, tt := range []struct {
		fault Fault
		want  string
	}{
		{Fault{}, "needs an effect"},
		{Fault{Effects: []Effect{{Name: "latencee"}}}, `no effect is called "latencee"; there are: latency, `},
		{Fault{Effects: []Effect{{Name: "latency", Args: map[string]string{"dely": "1s"}}}},
			`effect latency has no parameter "dely"; it has: delay, jitter`},
		{Fault{Effects: []Effect{{Name: "hang", Args: map[string]string{"x": ""}}}}, `it has: none`},
		{Fault{Effects: []Effect{{Name: "latency", Args: map[string]string{"delay": "soon"}}}}, `delay: "soon" is not a duration`},
		{Fault{Effects: []Effect{{Name: "answer", Args: map[string]string{"status": "x"}}}}, `status: "x" is not a whole number`},
		{Fault{Effects: []Effect{{Name: "answer", Args: map[string]string{"format": "xml"}}}}, `format: "xml" is none of usual, json`},
		{Fault{Effects: []Effect{{Name: "answer", Args: map[string]string{"headers": "nonsense"}}}}, `"nonsense" is not Name: value`},
		{Fault{Effects: []Effect{{Name: "rate-limit", Args: map[string]string{"rate": "fast"}}}}, `rate: "fast" is not a number`},
		{Fault{Effects: []Effect{{Name: "null-lists", Args: map[string]string{"results": "maybe"}}}}, `neither true nor false`},
		{Fault{Effects: []Effect{{Name: "hide", Args: map[string]string{"name": "("}}}}, `missing closing`},
		{Fault{Effects: []Effect{{Name: "server-down", Args: nil}}}, `server: "" is not ip:port`},
		{Fault{Effects: []Effect{{Name: "set-version", Args: map[string]string{"version": "next"}}}}, `version: `},
		{Fault{Effects: []Effect{{Name: "foreign-edit", Args: nil}}}, `which object`},
		{Fault{Effects: []Effect{{Name: "foreign-edit", Args: map[string]string{"type": "pool", "name": "p"}}}}, `no pool "p"`},
		{Fault{Probability: 2, Status: 500}, `probability`},
	} {
		if _, err := s.AddFault(tt.fault); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %s", tt.fault, err, tt.want)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("Inject took a fault that can't be")
		}
	}()
	s.Inject(Fault{Effects: []Effect{{Name: "x"}}})
}

func TestFaultJSON(t *testing.T) {
	in := `{"name":"n","method":"POST","type":"pool","objectName":"^a","after":1,"count":2,"probability":0.5,"seed":3,"duration":"1m0s",` +
		`"effects":[{"effect":"latency","delay":"2s"},{"effect":"answer","status":502}],"delay":"1s","status":503,"header":{"Retry-After":"1"},"resetAfter":true}`
	var f Fault
	if err := json.Unmarshal([]byte(in), &f); err != nil {
		t.Fatal(err)
	}
	out, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	var a, b obj
	_, _ = json.Unmarshal([]byte(strings.Replace(in, "502", `"502"`, 1)), &a), json.Unmarshal(out, &b)
	if !doc.Equal(a, b) {
		t.Errorf("%s\n%s", in, out)
	}
	for _, bad := range []string{`{"typ":"pool"}`, `{"delay":"soon"}`, `{"objectName":"("}`, `{"effects":["x"]}`, `[]`} {
		if json.Unmarshal([]byte(bad), &f) == nil {
			t.Errorf("%s passed", bad)
		}
	}
	s := start(t, Options{})
	s.Inject(Fault{Status: 503, Header: map[string]string{"Retry-After": "1"}, Delay: time.Second, Hang: true, ResetBefore: true,
		ResetAfter: true, ExpireSessions: true})
	var names []string
	for _, e := range s.Faults()[0].Fault.Effects {
		names = append(names, e.Name)
	}
	if got := strings.Join(names, " "); got != "latency hang reset-before expire-sessions answer reset-after" {
		t.Error(got)
	}
}

// TestProbability shows that the seed decides which requests are struck, and about how many.
func TestProbability(t *testing.T) {
	run := func(seed int64) string {
		s, c := signedIn(t, Options{})
		s.Inject(Fault{Type: "pool", Probability: 0.3, Seed: seed, Status: 599})
		var out strings.Builder
		for range 40 {
			if c.do("GET", "/api/pool", nil).status == 599 {
				out.WriteByte('x')
			} else {
				out.WriteByte('.')
			}
		}
		return out.String()
	}
	a, b, other := run(7), run(7), run(8)
	if n := strings.Count(a, "x"); a != b || a == other || n < 4 || n > 20 {
		t.Errorf("%s\n%s\n%s", a, b, other)
	}
}

// TestDuration shows that a fault ends by itself: one that strikes requests after its time, a state that waits for a request
// after the time since that request.
func TestDuration(t *testing.T) {
	s, c := signedIn(t, Options{})
	when(t, s, Fault{Type: "pool", Duration: 100 * time.Millisecond}, "answer")
	c.want(503, "GET", "/api/pool", nil)
	eventually(t, func() bool { return c.do("GET", "/api/pool", nil).status == 200 })
	id := when(t, s, Fault{Type: "vsvip", Duration: 100 * time.Millisecond}, "upgrade")
	time.Sleep(150 * time.Millisecond)
	if f := s.Faults(); len(f) != 1 || f[0].ID != id || f[0].State != "waiting" {
		t.Fatalf("%+v", f)
	}
	c.want(201, "POST", "/api/pool", poolBody("a"))
	c.want(200, "GET", "/api/vsvip", nil) // begins
	if f := s.Faults(); f[0].State != "active" || f[0].Ends.IsZero() {
		t.Errorf("%+v", f)
	}
	c.want(403, "POST", "/api/pool", poolBody("b"))
	eventually(t, func() bool { return c.do("POST", "/api/pool", poolBody("c")).status == 201 })
	if len(s.Faults()) != 0 || s.RemoveFault(id) {
		t.Error("still there")
	}
}

// TestFaultsCombine shows that all faults which match take effect, up to the first that settles the request.
func TestFaultsCombine(t *testing.T) {
	s, c := signedIn(t, Options{})
	when(t, s, Fault{Name: "slow"}, "latency", "delay", "30ms")
	when(t, s, Fault{Name: "third", After: 2}, "answer", "status", "502")
	when(t, s, Fault{Name: "all"}, "wrong-count", "add", "10")
	for i := range 3 {
		d := took(func() {
			if r := c.do("GET", "/api/pool", nil); i < 2 && doc.Int(r.body, "count") != 10 || i == 2 && r.status != 502 {
				t.Errorf("%d: %d %s", i, r.status, r.raw)
			}
		})
		if d < 30*time.Millisecond {
			t.Error(d)
		}
	}
	log := s.Requests()
	if a, b := log[len(log)-2].Fault, log[len(log)-1].Fault; a != "slow, all" || b != "slow, third" {
		t.Errorf("logged %q, %q", a, b)
	}
	if f := s.Faults(); f[2].Applied != 2 || f[1].Matched != 3 {
		t.Errorf("%+v", f)
	}
}
