// SPDX-License-Identifier: Apache-2.0

package avisim

import (
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/doc"
)

func restart(t testing.TB, s *Server, o Options) *Server {
	t.Helper()
	s.Close()
	o.Addr = s.Host()
	return start(t, o)
}

func TestRestart(t *testing.T) {
	now := newClock()
	o := Options{StateFile: filepath.Join(t.TempDir(), "state.json"), Now: now.now, Seed: 7}
	s, c := signedIn(t, o)
	w := &stage{t, c, s, now}
	ids := c.service("amf", "10.20.1.1")
	if err := s.AddTenant("red"); err != nil {
		t.Fatal(err)
	}
	odd := obj{"$ref": "pool/x", "$$ref": []any{obj{"$a": 1}}, "plain": obj{"$ref": "a", "b": "c"}}
	if _, err := s.Create("webhook", "red", obj{"name": "odd", "kv": odd}); err != nil {
		t.Fatal(err)
	}
	late := c.want(201, "POST", "/api/user-token", obj{"hours": 5})
	c.want(200, "PUT", "/api/cluster", obj{"name": "renamed"})
	s.SetServerHealth("10.20.1.1", 30100, false, "no INIT ACK")
	if err := s.FailServiceEngine("Avi-se-1", "power"); err != nil {
		t.Fatal(err)
	}
	c.want(200, "PUT", "/api/useraccount", obj{"username": "admin", "old_password": "avi123$%", "password": "changed"})
	c2 := newClient(t, s)
	c2.want(200, "POST", "/login", obj{"username": "admin", "password": "changed"})
	before, ca := s.Tree(), string(s.CAPEM())
	vs := w.mustObject("virtualservice", "amf")

	s = restart(t, s, o)
	if after := s.Tree(); !reflect.DeepEqual(before, after) {
		t.Errorf("the objects differ:\n%v\n%v", before, after)
	}
	if string(s.CAPEM()) != ca {
		t.Error("another CA")
	}
	consistent(t, s)
	c2.server = s
	r := c2.want(200, "GET", "/api/virtualservice/"+ids["virtualservice"]+"/runtime", nil) // with the session and the CA of before
	if !strings.Contains(r.raw, "power") || doc.Str(c2.want(200, "GET", "/api/virtualservice/"+ids["virtualservice"], nil).body,
		"_last_modified") != doc.Str(vs, "_last_modified") {
		t.Error(r.raw)
	}
	if name := doc.Str(c2.want(200, "GET", "/api/cluster", nil).body, "name"); name != "renamed" {
		t.Errorf("cluster %q", name)
	}
	if err := s.RecoverServiceEngine("Avi-se-1"); err != nil {
		t.Fatal(err)
	}
	if r := c2.want(200, "GET", "/api/pool/"+ids["pool"]+"/runtime/server", nil); !strings.Contains(r.raw, "no INIT ACK") {
		t.Error(r.raw)
	}
	for cred, want := range map[string]int{"changed": 200, "avi123$%": 401, doc.Str(late.body, "token"): 200} {
		newClient(t, s).want(want, "POST", "/login", obj{"username": "admin", "password": cred})
	}
	// Life goes on: uuids and times do not come twice, addresses neither.
	c = newClient(t, s)
	c.want(200, "POST", "/login", obj{"username": "admin", "password": "changed"})
	if _, err := s.Create("vsvip", "admin", vsvipBody("second")); err != nil {
		t.Fatal(err)
	}
	second, _ := s.Object("vsvip", "admin", "second")
	if addresses(second) != "10.10.0.11" || doc.Str(second, "_last_modified") <= doc.Str(vs, "_last_modified") {
		t.Errorf("%v", second)
	}
	consistent(t, s)

	// A new password in the options is one that somebody wants to use.
	o.Password = "from-options"
	s = restart(t, s, o)
	newClient(t, s).want(200, "POST", "/login", obj{"username": "admin", "password": "from-options"})
	if i, err := os.Stat(o.StateFile); err != nil || i.Mode().Perm() != 0o600 {
		t.Errorf("%v %v: it holds secrets", i.Mode(), err)
	}
	// A name that the certificate lacks makes a new one.
	o.HostNames = []string{"avi.example.org"}
	if s = restart(t, s, o); string(s.CAPEM()) == ca {
		t.Error("the certificate is the old one, which is not for avi.example.org")
	}
	// An older Controller does not know what a newer one has stored.
	s.Close()
	o.Version = "22.1.2"
	if _, err := New(o); err == nil || !strings.Contains(err.Error(), "30.2.1") {
		t.Error(err)
	}
}

// TestRestartKeepsTrouble shows that faults, rules and states set by hand outlive a restart, faults with their counts and their time.
func TestRestartKeepsTrouble(t *testing.T) {
	o := Options{StateFile: filepath.Join(t.TempDir(), "state.json")}
	s, c := signedIn(t, o)
	ids := c.service("amf", "10.20.1.1")
	add := func(f Fault) {
		t.Helper()
		if _, err := s.AddFault(f); err != nil {
			t.Fatal(err)
		}
	}
	twice := Fault{Name: "twice", Method: "POST", Type: "pool", Count: 2, Status: 503}
	add(twice)
	add(Fault{Effects: []Effect{{Name: "ipam-exhausted"}}, Duration: time.Hour})
	add(Fault{Method: "DELETE", Effects: []Effect{{Name: "read-only"}}, Duration: time.Millisecond})
	add(Fault{Effects: []Effect{{Name: "change-password", Args: map[string]string{"sessions": "keep"}}}}) // done once, and kept nowhere
	c.want(503, "POST", "/api/pool", poolBody("p"))
	s.SetRule("name-length", false)
	s.SetRule("vs-segroup-change", true)
	if err := s.SetOperStatus("virtualservice", "admin", "amf", "OPER_RESOURCES", "by hand"); err != nil {
		t.Fatal(err)
	}
	if err := s.SetVersion("31.1.1"); err != nil {
		t.Fatal(err)
	}
	s.SetPassword("admin", "again")

	s = restart(t, s, o)
	c = newClient(t, s)
	c.want(200, "POST", "/login", obj{"username": "admin", "password": "again"})
	for _, k := range c.http.Jar.Cookies(&url.URL{Scheme: "https", Host: s.Host(), Path: "/"}) {
		if k.Name == "csrftoken" {
			c.csrf = k.Value
		}
	}
	if got := c.want(200, "GET", "/api/cluster/version", nil).body["Version"]; got != "31.1.1" {
		t.Errorf("version %v", got)
	}
	faults := s.Faults()
	if len(faults) != 2 || faults[0].Fault.Name != "twice" || faults[0].Applied != 1 || faults[1].State != "active" ||
		time.Until(faults[1].Ends) > time.Hour || time.Until(faults[1].Ends) < 50*time.Minute {
		t.Errorf("faults %+v", faults)
	}
	c.want(503, "POST", "/api/pool", poolBody("p"))
	c.want(201, "POST", "/api/pool", poolBody("p"))
	c.want(400, "POST", "/api/vsvip", vsvipBody("none"))
	c.want(201, "POST", "/api/pool", poolBody(strings.Repeat("x", 300)))
	c.want(201, "POST", "/api/serviceenginegroup", obj{"name": "g2"})
	c.want(400, "PATCH", "/api/virtualservice/"+ids["virtualservice"], obj{"replace": obj{"se_group_ref": "/api/serviceenginegroup?name=g2"}})
	if r := c.want(200, "GET", "/api/virtualservice/"+ids["virtualservice"]+"/runtime", nil); !strings.Contains(r.raw, "by hand") {
		t.Error(r.raw)
	}
	s.ClearFaults()
	c.want(201, "POST", "/api/vsvip", vsvipBody("none"))
	if s = restart(t, s, o); len(s.Faults()) != 0 {
		t.Errorf("faults that were removed came back: %+v", s.Faults())
	}
}

// TestUpgradeShips shows that what a newer release ships comes with an upgrade, whichever way, and that what somebody made stays.
func TestUpgradeShips(t *testing.T) {
	has := func(s *Server) (out string) {
		for typ, name := range map[string]string{"networkprofile": "System-SCTP-Proxy", "healthmonitor": "System-SCTP"} {
			if _, ok := s.Object(typ, "admin", name); ok {
				out += "+"
			}
		}
		return out
	}
	for what, upgrade := range map[string]func(*testing.T, *Server, Options) *Server{
		"set-version": func(t *testing.T, s *Server, _ Options) *Server {
			if _, err := s.AddFault(Fault{Effects: []Effect{{Name: "set-version", Args: map[string]string{"version": "22.1.3"}}}}); err != nil {
				t.Fatal(err)
			}
			return s
		},
		"upgrade": func(t *testing.T, s *Server, _ Options) *Server {
			id, err := s.AddFault(Fault{Effects: []Effect{{Name: "upgrade", Args: map[string]string{"version": "30.2.1"}}}})
			if err != nil || has(s) != "" || !s.RemoveFault(id) {
				t.Fatalf("%v, %q during the upgrade", err, has(s))
			}
			return s
		},
		"restart": func(t *testing.T, s *Server, o Options) *Server {
			o.Version = "31.1.1"
			return restart(t, s, o)
		},
	} {
		t.Run(what, func(t *testing.T) {
			o := Options{Version: "22.1.2", StateFile: filepath.Join(t.TempDir(), "state.json")}
			s := start(t, o)
			if _, err := s.Create("healthmonitor", "admin", obj{"name": "System-TCP-2", "type": "HEALTH_MONITOR_TCP"}); err != nil {
				t.Fatal(err)
			}
			if err := s.Remove("network", "admin", "node-network"); err != nil {
				t.Fatal(err)
			}
			if has(s) != "" {
				t.Errorf("%s before 22.1.3", has(s))
			}
			if s = upgrade(t, s, o); has(s) != "++" {
				t.Errorf("%q after the upgrade", has(s))
			}
			if _, ok := s.Object("network", "admin", "node-network"); ok {
				t.Error("a network that somebody removed came back")
			}
			consistent(t, s)
		})
	}
}
