// SPDX-License-Identifier: Apache-2.0

package avisim

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/doc"
)

func (c *client) loginAs(user, password string) response {
	c.t.Helper()
	return c.do("POST", "/login", obj{"username": user, "password": password})
}

func TestUsers(t *testing.T) {
	s, c := signedIn(t, Options{})
	admin := c.want(200, "GET", "/api/user/user-1", nil)
	if doc.Str(admin.body, "username") != "admin" || admin.body["password"] != nil || admin.body["is_superuser"] != true {
		t.Error(admin.raw)
	}
	blue := c.want(201, "POST", "/api/tenant", obj{"name": "blue"}).uuid()
	joe := c.want(201, "POST", "/api/user", obj{"name": "joe", "password": "secret-joe", "full_name": "Joe",
		"default_tenant_ref": "/api/tenant?name=blue",
		"access":             []obj{{"role_ref": "/api/role?name=Tenant-Admin", "tenant_ref": "/api/tenant?name=blue"}}})
	if joe.body["password"] != nil || !strings.HasSuffix(doc.Str(doc.Messages(joe.body["access"])[0], "role_ref"), "#Tenant-Admin") {
		t.Error(joe.raw)
	}
	other := newClient(t, s)
	if r := other.loginAs("joe", "secret-joe"); doc.Str(r.body, "user", "full_name") != "Joe" || !strings.HasSuffix(doc.Str(r.body, "user",
		"default_tenant_ref"), blue) {
		t.Error(r.raw)
	}
	if _, err := s.Create("pool", "blue", obj{"name": "theirs"}); err != nil {
		t.Fatal(err)
	}
	if r := other.want(200, "GET", "/api/pool", nil); doc.Int(r.body, "count") != 1 { // no tenant header: the user's default tenant
		t.Error(r.raw)
	}

	// A client that echoes what it read does not take the password away.
	c.want(200, "PUT", "/api/user/"+joe.uuid(), joe.body)
	if r := newClient(t, s).loginAs("joe", "secret-joe"); r.status != 200 {
		t.Errorf("after an echo: %d %s", r.status, r.raw)
	}
	c.want(200, "PATCH", "/api/user/"+joe.uuid(), obj{"replace": obj{"is_active": false}})
	other.want(401, "GET", "/api/pool", nil)
	if r := newClient(t, s).loginAs("joe", "secret-joe"); r.status != 401 {
		t.Errorf("an inactive user: %d", r.status)
	}
	c.want(204, "DELETE", "/api/user/"+joe.uuid(), nil)
	c.want(403, "DELETE", "/api/user/user-1", nil)
	for _, q := range s.Requests() {
		if strings.Contains(string(q.Body)+string(q.Response), "secret-joe") {
			t.Errorf("password in the log: %s %s", q.Body, q.Response)
		}
	}
	if names := c.want(200, "GET", "/api/role?fields=name", nil).raw; !strings.Contains(names, "System-Admin") {
		t.Error(names)
	}
}

func TestLockOut(t *testing.T) {
	clock := newClock()
	s := start(t, Options{Now: clock.now})
	c := newClient(t, s)
	expect := func(password string, status int, raw string) {
		t.Helper()
		if r := c.loginAs("admin", password); r.status != status || raw != "" && r.raw != raw {
			t.Errorf("%d %s, want %d %s", r.status, r.raw, status, raw)
		}
	}
	const invalid, locked = `{"error":"Invalid credentials"}`, `{"error":"User account is locked"}`
	for range 19 {
		expect("wrong", 401, invalid)
	}
	expect("avi123$%", 200, "") // a success starts the count again
	for range 20 {
		expect("wrong", 401, invalid)
	}
	expect("avi123$%", 401, locked)
	clock.advance(29 * time.Minute)
	expect("avi123$%", 401, locked)
	clock.advance(2 * time.Minute)
	expect("avi123$%", 200, "")
	s.LockAccount("admin", time.Hour)
	expect("avi123$%", 401, locked)
	s.LockAccount("admin", 0)
	expect("avi123$%", 200, "")
}

// TestSessionLimits shows when sessions end by themselves.
func TestSessionLimits(t *testing.T) {
	clock := newClock()
	s, c := signedIn(t, Options{Now: clock.now})
	for range 24 * 6 { // idle never, but 24 hours in all
		clock.advance(9*time.Minute + 59*time.Second)
		c.want(200, "GET", "/api/pool", nil)
	}
	clock.advance(5 * time.Minute)
	c.want(401, "GET", "/api/pool", nil)

	c.login()
	c.want(200, "PATCH", "/api/controllerproperties", obj{"replace": obj{"api_idle_timeout": 0}})
	clock.advance(10 * time.Hour)
	c.want(200, "GET", "/api/pool", nil)
	c.want(200, "PATCH", "/api/systemconfiguration", obj{"replace": obj{"portal_configuration": obj{"api_force_timeout": 11}}})
	clock.advance(time.Hour + time.Minute)
	c.want(401, "GET", "/api/pool", nil)

	c.login()
	profile, _ := s.Object("useraccountprofile", "admin", "Default-User-Account-Profile")
	c.want(200, "PATCH", "/api/useraccountprofile/"+doc.Str(profile, "uuid"), obj{"replace": obj{"max_concurrent_sessions": 2}})
	second, third := newClient(t, s), newClient(t, s)
	for _, x := range []*client{second, third} {
		clock.advance(time.Second)
		x.login()
	}
	c.want(401, "GET", "/api/pool", nil)
	second.want(200, "GET", "/api/pool", nil)
	third.want(200, "GET", "/api/pool", nil)
	if n := s.Sessions(); n != 2 {
		t.Errorf("%d sessions", n)
	}
}

// TestBasicAuthentication shows it refused by default, and what a recording shows when it is allowed.
func TestBasicAuthentication(t *testing.T) {
	s, c := signedIn(t, Options{})
	basic := func(method, password string) *http.Response {
		t.Helper()
		r, _ := http.NewRequest(method, "https://"+s.Host()+"/api/pool", strings.NewReader(`{"name":"p"}`))
		r.SetBasicAuth("admin", password)
		resp, err := newClient(t, s).http.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp
	}
	if r := basic("GET", "avi123$%"); r.StatusCode != 401 {
		t.Errorf("not allowed: %d", r.StatusCode)
	}
	c.want(200, "PATCH", "/api/systemconfiguration", obj{"replace": obj{"portal_configuration": obj{"allow_basic_authentication": true,
		"api_force_timeout": 24}}})
	r := basic("POST", "avi123$%") // no CSRF token
	if cookies := r.Header.Values("Set-Cookie"); r.StatusCode != 201 || len(cookies) != 2 || !strings.HasPrefix(cookies[0],
		"avi-sessionid=None;") {
		t.Errorf("%d %v", r.StatusCode, cookies)
	}
	if r := basic("GET", "wrong"); r.StatusCode != 401 {
		t.Errorf("wrong password: %d", r.StatusCode)
	}
}

func TestTokenLimits(t *testing.T) {
	clock := newClock()
	s, c := signedIn(t, Options{Now: clock.now})
	for _, hours := range []any{-1, 87601, "many", nil} {
		c.want(400, "POST", "/api/user-token", obj{"hours": hours})
	}
	r := c.want(201, "POST", "/api/user-token", obj{"hours": 87600})
	c.want(200, "GET", "/api/user-token/"+r.uuid(), nil)
	short := c.want(201, "POST", "/api/user-token", obj{"hours": "1"})
	login := func(r response) int {
		return newClient(t, s).do("POST", "/login", obj{"username": "admin", "token": doc.Str(r.body, "token")}).status
	}
	if got := login(short); got != 200 {
		t.Errorf("fresh token: %d", got)
	}
	clock.advance(61 * time.Minute)
	if got := []int{login(short), login(r)}; got[0] != 401 || got[1] != 200 {
		t.Errorf("after an hour: %v", got)
	}
	c.login()
	c.want(204, "DELETE", "/api/user-token/"+r.uuid(), nil)
	c.want(404, "DELETE", "/api/user-token/"+r.uuid(), nil)
	if got := login(r); got != 401 {
		t.Errorf("deleted token: %d", got)
	}
}

func TestStrictLogin(t *testing.T) {
	s, c := signedIn(t, Options{})
	s.SetStrictLogin(true)
	good := c.csrf
	c.csrf = "" // the jar still has the cookie
	if r := c.loginAs("admin", "avi123$%"); r.status != 401 || r.raw != "CSRF token missing or incorrect." {
		t.Errorf("%d %s", r.status, r.raw)
	}
	c.csrf = good
	c.login()
}
