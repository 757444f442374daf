// SPDX-License-Identifier: Apache-2.0

package avisim

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

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
