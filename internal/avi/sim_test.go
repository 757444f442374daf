// SPDX-License-Identifier: Apache-2.0

package avi

import (
	"encoding/json"
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim"
)

func newSim(t *testing.T) (*avisim.Server, *Client, Config) {
	t.Helper()
	s, err := avisim.New(avisim.Options{Username: testUser, Password: testPassword, RequireReferer: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	cfg := Config{Host: s.Host(), Username: testUser, Password: testPassword, CA: s.CAPEM(), Timeout: 2 * time.Second}
	return s, newClient(t, cfg), cfg
}

func must(t *testing.T, raw json.RawMessage, err error) map[string]any {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return m
}

func pool(name string) map[string]any {
	return map[string]any{"name": name, "cloud_ref": "/api/cloud?name=Default-Cloud", "default_server_port": 38412}
}

func TestSimulatedLifeOfAnObject(t *testing.T) {
	s, c, _ := newSim(t)
	if err := s.AddTenant("t1"); err != nil {
		t.Fatal(err)
	}
	cloud := url.Values{"cloud_ref.name": {"Default-Cloud"}}

	_, err := c.GetByName(ctx, model.Pool, "t1", "p", cloud)
	wantReason(t, err, ReasonNotFound)
	raw, err := c.Create(ctx, model.Pool, "t1", pool("p"))
	made := must(t, raw, err)
	uuid := made["uuid"].(string)
	_, err = c.Create(ctx, model.Pool, "t1", pool("p"))
	wantReason(t, err, ReasonAlreadyExists)

	raw, err = c.Patch(ctx, model.Pool, "t1", uuid, Patch{Replace: map[string]any{"default_server_port": 36412, "description": "x"}})
	if p := must(t, raw, err); p["default_server_port"] != 36412.0 || p["description"] != "x" {
		t.Errorf("%v", p)
	}
	raw, err = c.Patch(ctx, model.Pool, "t1", uuid, Patch{Delete: map[string]any{"description": "x"}})
	if p := must(t, raw, err); p["description"] != nil && p["description"] != "" {
		t.Errorf("%v", p)
	}
	_, err = c.Put(ctx, model.Pool, "t1", uuid, made) // _last_modified of the beginning
	wantReason(t, err, ReasonStale)
	raw, err = c.GetByName(ctx, model.Pool, "t1", "p", cloud)
	raw, err = c.Put(ctx, model.Pool, "t1", uuid, must(t, raw, err))
	must(t, raw, err)

	raw, err = c.Get(ctx, "t1", "/api/pool/"+uuid, nil)
	must(t, raw, err)
	_, err = c.Get(ctx, "admin", "/api/pool/"+uuid, nil)
	wantReason(t, err, ReasonNotFound)
	_, err = c.Create(ctx, model.Pool, "nobody", pool("p"))
	wantReason(t, err, ReasonTenantMissing)
	for range 2 {
		if err := c.Delete(ctx, model.Pool, "t1", uuid); err != nil {
			t.Fatal(err)
		}
	}
	s.SetUpgradeMode(true)
	_, err = c.Create(ctx, model.Pool, "", pool("p"))
	wantReason(t, err, ReasonUpgrade)
}

func TestSimulatedLists(t *testing.T) {
	s, c, _ := newSim(t)
	if err := s.AddTenant("t1"); err != nil {
		t.Fatal(err)
	}
	for i := range 450 {
		p := pool(fmt.Sprintf("p%d", i))
		p["created_by"] = "ako-c1"
		if _, err := s.Create("pool", []string{"admin", "t1"}[i%2], p); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		kind, tenant string
		want         int
	}{{"pool", "*", 450}, {"pool", "t1", 225}, {"pool-inventory", "*", 450}, {"l4policyset", "t1", 0}} {
		n := 0
		query := url.Values{}
		if tt.kind == "pool" {
			query.Set("created_by", "ako-c1")
		}
		if err := c.List(ctx, tt.kind, tt.tenant, query, func(json.RawMessage) error { n++; return nil }); err != nil || n != tt.want {
			t.Errorf("%s of %s: %d, want %d; %v", tt.kind, tt.tenant, n, tt.want, err)
		}
	}
}

func TestSimulatedFaults(t *testing.T) {
	s, c, cfg := newSim(t)
	get := func() error { _, err := c.Get(ctx, "", "/api/cluster", nil); return err }

	// A lost answer: done, and the caller finds out by looking.
	remove := s.Inject(avisim.Fault{Method: "POST", Type: "pool", ResetAfter: true, Count: 1})
	_, err := c.Create(ctx, model.Pool, "", pool("p"))
	if ReasonOf(err) != ReasonUnavailable || !Ambiguous(err) {
		t.Fatalf("%v", err)
	}
	remove()
	raw, err := c.GetByName(ctx, model.Pool, "", "p", nil)
	must(t, raw, err)

	// No stampede.
	for range 3 {
		s.ExpireSessions()
		inParallel(8, func() {
			if err := get(); err != nil {
				t.Error(err)
			}
		})
		if n := s.Sessions(); n != 1 {
			t.Errorf("%d sessions", n)
		}
	}

	// A changed password, then the new Secret.
	s.SetPassword(testUser, "rotated")
	wantReason(t, get(), ReasonCredentials)
	cfg.Password = "rotated"
	if err := c.Reconfigure(cfg); err != nil {
		t.Fatal(err)
	}
	if err := get(); err != nil {
		t.Fatal(err)
	}

	// A new certificate, then the new CA.
	if err := s.RotateCertificate(); err != nil {
		t.Fatal(err)
	}
	// The simulator cuts idle connections; it may not have seen yet that the last one is idle.
	for deadline := time.Now().Add(5 * time.Second); err == nil && time.Now().Before(deadline); {
		c.ep.Load().transport.CloseIdleConnections()
		err = get()
	}
	wantReason(t, err, ReasonTLS)
	cfg.CA = s.CAPEM()
	if err := c.Reconfigure(cfg); err != nil {
		t.Fatal(err)
	}
	if err := get(); err != nil {
		t.Fatal(err)
	}

	// Down and up again.
	s.SetDown(true)
	for range breakerThreshold {
		wantReason(t, get(), ReasonUnavailable)
	}
	if c.Available() {
		t.Error("available")
	}
	s.SetDown(false)
	time.Sleep(RetryAfterOf(get()))
	if err := get(); err != nil || !c.Available() {
		t.Errorf("%v, available %t", err, c.Available())
	}
}
