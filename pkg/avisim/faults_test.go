// SPDX-License-Identifier: Apache-2.0

package avisim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestFaultAnswers shows what a client reads for each status that a fault may answer with.
func TestFaultAnswers(t *testing.T) {
	tests := []struct {
		name   string
		fault  Fault
		status int
		raw    string
		header map[string]string
	}{
		{"400", Fault{Status: 400}, 400, `{"error":"No available free IPs"}`, nil},
		{"401", Fault{Status: 401}, 401, `{"detail":"Authentication credentials were not provided."}`, nil},
		{"403", Fault{Status: 403}, 403, `{"error":"Configuration is disallowed during upgrade"}`, nil},
		{"404", Fault{Status: 404}, 404, `{"error":"Pool object not found!"}`, nil},
		{"409", Fault{Status: 409}, 409, `{"error":"Pool with this Name, Tenant ref and Cloud ref already exists."}`, nil},
		{"412", Fault{Status: 412}, 412, `{"error":"Need to reload object data Pool"}`, nil},
		{"419", Fault{Status: 419}, 419, `{"error":"Need to switch session"}`, nil},
		{"429", Fault{Status: 429, Header: map[string]string{"Retry-After": "7"}}, 429, `{"error":"Too many requests"}`,
			map[string]string{"Retry-After": "7"}},
		{"500", Fault{Status: 500, Body: `{"error":"Bad pb: x"}`}, 500, `{"error":"Bad pb: x"}`, nil},
		{"502", Fault{Status: 502}, 502, html502, map[string]string{"Content-Type": "text/html"}},
		{"503", Fault{Status: 503}, 503, html503, map[string]string{"Content-Type": "text/html"}},
		{"504", Fault{Status: 504, Body: "gateway timeout"}, 504, "gateway timeout", map[string]string{"Content-Type": "application/json"}},
		{"no body", Fault{Status: 599}, 599, "", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, c := signedIn(t, Options{})
			tt.fault.Type, tt.fault.Name = "pool", tt.name
			remove := s.Inject(tt.fault)
			r := c.want(tt.status, "POST", "/api/pool", poolBody("p"))
			if r.raw != tt.raw {
				t.Errorf("body %q, want %q", r.raw, tt.raw)
			}
			for k, v := range tt.header {
				if got := r.header.Get(k); got != v {
					t.Errorf("%s: %q, want %q", k, got, v)
				}
			}
			if log := s.Writes(); len(log) != 1 || log[0].Fault != tt.name || log[0].Status != tt.status {
				t.Errorf("log %+v", log)
			}
			if len(s.Objects("pool")) != 0 || s.FaultHits() != 1 {
				t.Errorf("processed, or %d hits", s.FaultHits())
			}
			remove()
			c.want(201, "POST", "/api/pool", poolBody("p"))
		})
	}
}

// TestFaultMatching shows each condition of a fault by the requests that meet it.
func TestFaultMatching(t *testing.T) {
	tests := []struct {
		name  string
		fault Fault
		hits  string // which of the requests below, by letter
	}{
		{"any", Fault{}, "abcdef"},
		{"method", Fault{Method: "GET"}, "cf"},
		{"type", Fault{Type: "vsvip"}, "e"},
		{"inventory", Fault{Type: "pool-inventory"}, "f"},
		{"route", Fault{Route: "/api/pool/{uuid}"}, "cd"},
		{"name", Fault{ObjectName: regexp.MustCompile(`^pool-b$`)}, "bcd"},
		{"tenant", Fault{Tenant: "blue"}, "e"},
		{"after", Fault{Method: "POST", After: 1}, "be"},
		{"count", Fault{Type: "pool", Count: 2}, "ab"},
		{"after and count", Fault{After: 2, Count: 1}, "c"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, c := signedIn(t, Options{})
			if err := s.AddTenant("blue"); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Create("pool", "admin", obj{"name": "pool-b", "uuid": "pool-b"}); err != nil {
				t.Fatal(err)
			}
			tt.fault.Status = 599
			s.Inject(tt.fault)
			var hits strings.Builder
			for i, q := range []struct {
				method, path, tenant string
				body                 any
			}{
				{"POST", "/api/pool", "", obj{"name": "pool-a"}},
				{"POST", "/api/pool/", "", obj{"name": "pool-b"}},
				{"GET", "//api/pool/pool-b", "", nil},
				{"PATCH", "/api/pool/pool-b", "", obj{"replace": obj{"enabled": false}}},
				{"POST", "/api/vsvip", "blue", obj{"name": "v"}},
				{"GET", "/api/pool-inventory", "", nil},
			} {
				c.tenant = q.tenant
				if c.do(q.method, q.path, q.body).status == 599 {
					hits.WriteByte("abcdef"[i])
				}
			}
			if hits.String() != tt.hits {
				t.Errorf("hits %q, want %q", hits.String(), tt.hits)
			}
		})
	}
}

func TestResetBefore(t *testing.T) {
	s, c := signedIn(t, Options{})
	s.Inject(Fault{Method: "POST", ResetBefore: true, Count: 1})
	if _, err := c.try("POST", "/api/pool", poolBody("p")); err == nil {
		t.Fatal("answered")
	}
	if n := len(s.Objects("pool")); n != 0 {
		t.Errorf("%d pools", n)
	}
	if w := s.Writes(); len(w) != 1 || w[0].Status != 0 {
		t.Errorf("log %+v", w)
	}
	c.want(201, "POST", "/api/pool", poolBody("p"))
}

// TestResetHTTP2 shows that a cut works where connections can't be taken over.
func TestResetHTTP2(t *testing.T) {
	s := start(t, Options{})
	c := newClient(t, s)
	c.http.Transport.(*http.Transport).ForceAttemptHTTP2 = true
	c.login()
	if r := c.want(200, "GET", "/api/pool", nil); r.proto != 2 {
		t.Fatalf("HTTP/%d", r.proto)
	}
	s.Inject(Fault{Method: "POST", ResetAfter: true, Count: 1})
	if _, err := c.try("POST", "/api/pool", poolBody("p")); err == nil {
		t.Fatal("answered")
	}
	if n := len(s.Objects("pool")); n != 1 {
		t.Errorf("%d pools", n)
	}
}

// TestResetAfter shows the lost answer: the object is there, and a repeat finds it.
func TestResetAfter(t *testing.T) {
	s, c := signedIn(t, Options{})
	s.Inject(Fault{Method: "POST", ResetAfter: true, Count: 1})
	if _, err := c.try("POST", "/api/pool", poolBody("p")); err == nil {
		t.Fatal("answered")
	}
	if n := len(s.Objects("pool")); n != 1 {
		t.Fatalf("%d pools", n)
	}
	c.want(409, "POST", "/api/pool", poolBody("p"))
}

func TestExpireSessionsFault(t *testing.T) {
	s, c := signedIn(t, Options{})
	s.Inject(Fault{Type: "pool", ExpireSessions: true, Count: 1})
	r := c.want(401, "GET", "/api/pool", nil)
	if r.raw != `{"detail":"Authentication credentials were not provided."}` {
		t.Error(r.raw)
	}
	c.login()
	c.want(200, "GET", "/api/pool", nil)
}

func TestLoginFails(t *testing.T) {
	s := start(t, Options{})
	s.Inject(Fault{Type: "login", Status: 401})
	c := newClient(t, s)
	if r := c.do("POST", "/login", obj{"username": "admin",
		"password": "avi123$%"}); r.status != 401 || r.raw != `{"error":"Invalid credentials"}` {
		t.Errorf("%d %s", r.status, r.raw)
	}
	s.ClearFaults()
	c.login()
}

func TestHangEndsWithTheClient(t *testing.T) {
	s, c := signedIn(t, Options{})
	s.Inject(Fault{Type: "pool", Hang: true})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+s.Host()+"/api/pool", nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := c.http.Do(r); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, %v", resp, err)
	}
}

func TestDelayIsSleptOutsideOfTheLock(t *testing.T) {
	s, c := signedIn(t, Options{})
	s.SetLatency(0, 100*time.Millisecond)
	start := time.Now()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			if r, err := c.try("POST", "/api/pool", poolBody(fmt.Sprintf("p%d", i))); err != nil || r.status != 201 {
				t.Errorf("%v %v", r, err)
			}
		})
	}
	wg.Wait()
	if took := time.Since(start); took < 100*time.Millisecond || took > 700*time.Millisecond {
		t.Errorf("8 writes of 100 ms at once took %v", took)
	}
	if w := s.Writes(); w[0].Took < 100*time.Millisecond {
		t.Errorf("logged %v", w[0].Took)
	}
}

func TestUpgradeMode(t *testing.T) {
	s, c := signedIn(t, Options{})
	s.SetUpgradeMode(true)
	if r := c.want(403, "POST", "/api/pool", poolBody("p")); r.raw != `{"error":"Configuration is disallowed during upgrade"}` {
		t.Error(r.raw)
	}
	c.want(200, "GET", "/api/pool", nil)
	s.SetUpgradeMode(false)
	c.want(201, "POST", "/api/pool", poolBody("p"))
}

func TestDown(t *testing.T) {
	s, c := signedIn(t, Options{})
	s.SetDown(true)
	for range 2 { // on the open connection, and on a new one
		if r, err := c.try("GET", "/api/pool", nil); err == nil {
			t.Fatalf("answered %d", r.status)
		}
	}
	s.SetDown(false)
	c.want(200, "GET", "/api/pool", nil) // sessions survive
}

func TestRotateCertificate(t *testing.T) {
	s, c := signedIn(t, Options{})
	before := s.CAPEM()
	if err := s.RotateCertificate(); err != nil {
		t.Fatal(err)
	}
	c.http.CloseIdleConnections()
	if _, err := c.try("GET", "/api/pool", nil); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("old CA still trusted: %v", err)
	}
	if string(before) == string(s.CAPEM()) {
		t.Error("same CA")
	}
	fresh := newClient(t, s)
	fresh.login()
}

func TestIPAMExhaustedSwitch(t *testing.T) {
	s, c := signedIn(t, Options{})
	s.SetIPAMExhausted(true)
	if r := c.want(400, "POST", "/api/vsvip", vsvipBody("v")); r.raw != `{"error":"No available free IPs","obj_name":"v"}` {
		t.Error(r.raw)
	}
	s.SetIPAMExhausted(false)
	c.want(201, "POST", "/api/vsvip", vsvipBody("v"))
}

func TestClosedServerRefuses(t *testing.T) {
	s := start(t, Options{})
	host := s.Host()
	s.Close()
	if c, err := net.DialTimeout("tcp", host, time.Second); err == nil {
		_, _ = io.WriteString(c, "x")
		_ = c.Close()
		t.Error("still listening")
	}
}
