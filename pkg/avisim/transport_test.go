// SPDX-License-Identifier: Apache-2.0

package avisim

import (
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/doc"
)

func TestPathsAreServedWithoutRedirects(t *testing.T) {
	_, c := signedIn(t, Options{})
	id := c.want(201, "POST", "/api/pool/", poolBody("p")).uuid()
	for _, path := range []string{"/api/pool", "//api/pool", "/api/pool/", "//api//pool//", "/api/pool?", "/api/pool/?name=p&",
		"/api/pool?&include_name",
		"/api/pool/" + id, "/api/pool/" + id + "/", "//api/pool/" + id + "/?include_name",
		"/api/pool?a&name=p", "/api/cluster/runtime/", "//api/initial-data"} {
		status := 200
		if strings.Contains(path, "a&name") { // a filter by a field that no pool has, which finds none
			c.want(status, "GET", path, nil)
			continue
		}
		if r := c.want(status, "GET", path, nil); r.raw == "" {
			t.Errorf("%s: empty", path)
		}
	}
	c.want(201, "POST", "//api/pool/?skip_default=true&", poolBody("q"))
}

// TestHeaders shows the recorded set of headers and cookies.
func TestHeaders(t *testing.T) {
	s, c := signedIn(t, Options{})
	r := c.want(201, "POST", "/api/pool", poolBody("p"))
	for k, v := range map[string]string{
		"Content-Type": "application/json", "Cache-Control": "private, no-cache, must-revalidate", "X-Frame-Options": "SAMEORIGIN",
		"Allow": "HEAD, POST, GET, OPTIONS", "AVI_API_VERSION": "30.2.1",
		"Location": "https://" + s.Host() + "/api/pool/" + r.uuid() + "#p",
	} {
		if got := r.header.Get(k); got != v {
			t.Errorf("%s: %q, want %q", k, got, v)
		}
	}
	var names []string
	for _, k := range r.header.Values("Set-Cookie") {
		name, _, _ := strings.Cut(k, "=")
		names = append(names, name)
		if !strings.Contains(k, "Max-Age=86400; Path=/; SameSite=None; Secure") || !strings.Contains(k, "HttpOnly") {
			t.Error(k)
		}
	}
	if !slices.Equal(names, []string{"avi-sessionid", "sessionid"}) {
		t.Errorf("cookies %v", names)
	}
	d := c.want(204, "DELETE", "/api/pool/"+r.uuid(), nil)
	if d.raw != "" || d.header.Get("Content-Type") != "application/json" || d.header.Get("Allow") != "HEAD, GET, PUT, PATCH, OPTIONS, DELETE" {
		t.Errorf("delete: %q %v", d.raw, d.header)
	}
	c.version = ""
	if v := c.want(200, "GET", "/api/pool", nil).header.Get("AVI_API_VERSION"); v != "16_4_2" {
		t.Errorf("no version header is answered with %q", v)
	}
}

func TestLogin(t *testing.T) {
	s := start(t, Options{})
	c := newClient(t, s)
	for _, tt := range []struct {
		name   string
		body   any
		status int
	}{
		{"JSON", obj{"username": "admin", "password": "avi123$%"}, 200},
		{"form", url.Values{"username": {"admin"}, "password": {"avi123$%"}}.Encode(), 200},
		{"wrong", obj{"username": "admin", "password": "x"}, 401},
		{"empty", obj{"username": "admin"}, 401},
		{"unknown", obj{"username": "joe", "password": "avi123$%"}, 401},
		{"nonsense", "%%%", 401},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c.tenant = "no-such-tenant" // ignored here
			r := c.want(tt.status, "POST", "/login", tt.body)
			if tt.status == 401 {
				if r.raw != `{"error":"Invalid credentials"}` || len(r.header.Values("Set-Cookie")) != 0 {
					t.Errorf("%s %v", r.raw, r.header)
				}
				return
			}
			if r.header.Get("AVI_API_VERSION") != "16_4_2" || len(r.header.Values("Set-Cookie")) != 3 || doc.Str(r.body, "version",
				"Version") != "30.2.1" ||
				doc.Str(r.body, "session_cookie_name") != "avi-sessionid" || doc.Str(r.body, "system_config", "default_license_tier") != "ENTERPRISE" {
				t.Errorf("%v %s", r.header, r.raw)
			}
		})
	}
	if r := c.want(405, "GET", "/login", nil); r.raw != `{"detail":"Method 'GET' not allowed."}` {
		t.Error(r.raw)
	}
	for _, q := range s.Requests() {
		if strings.Contains(string(q.Body), "avi123") {
			t.Errorf("password in the log: %s", q.Body)
		}
	}
}

func TestSessions(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	clock := make(chan time.Time, 1)
	clock <- now
	advance := func(d time.Duration) { clock <- (<-clock).Add(d) }
	s, c := signedIn(t, Options{Now: func() time.Time { t := <-clock; clock <- t; return t }})
	anonymous := newClient(t, s)
	expect := func(c *client, method string, status int, raw string) {
		t.Helper()
		if r := c.do(method, "/api/pool", obj{"name": "x"}); r.status != status || raw != "" && r.raw != raw {
			t.Errorf("%d %s, want %d %s", r.status, r.raw, status, raw)
		}
	}
	const noSession, noToken = `{"detail":"Authentication credentials were not provided."}`, "CSRF token missing or incorrect."
	expect(anonymous, "GET", 401, noSession)
	expect(anonymous, "POST", 401, noToken)
	anonymous.want(200, "GET", "//api/cluster/status", nil)
	anonymous.want(200, "GET", "//api/initial-data", nil)

	good := c.csrf
	c.csrf = "invalid"
	expect(c, "GET", 200, "")
	expect(c, "POST", 401, noToken)
	c.csrf = good
	advance(14 * time.Minute)
	expect(c, "GET", 200, "") // refreshes the idle time
	advance(14 * time.Minute)
	expect(c, "GET", 200, "")
	advance(16 * time.Minute)
	expect(c, "GET", 401, noSession)
	expect(c, "POST", 401, noSession)
	c.login()
	expect(c, "GET", 200, "")
	c.want(200, "POST", "/logout", nil)
	expect(c, "GET", 401, noSession)
	c.login()
	s.SetPassword("admin", "changed")
	expect(c, "GET", 401, noSession)
	if r := c.do("POST", "/login", obj{"username": "admin", "password": "avi123$%"}); r.status != 401 {
		t.Errorf("old password: %d", r.status)
	}
	c.want(200, "POST", "/login", obj{"username": "admin", "password": "changed"})
}

func TestPasswordChangeSwitchesSession(t *testing.T) {
	s, c := signedIn(t, Options{})
	other := newClient(t, s)
	other.login()
	c.want(400, "PUT", "/api/useraccount", obj{"old_password": "no", "password": "new"})
	c.want(200, "PUT", "/api/useraccount", obj{"old_password": "avi123$%", "password": "new"})
	r := other.want(419, "GET", "/api/pool", nil)
	if n := len(r.header.Values("Set-Cookie")); n != 3 {
		t.Errorf("%d cookies", n)
	}
	if r.raw != `{"error":"Need to switch session"}` || !strings.HasPrefix(r.header.Get("Content-Type"), "text/html") {
		t.Errorf("%s %v", r.raw, r.header)
	}
	other.want(401, "GET", "/api/pool", nil)
}

func TestUserTokens(t *testing.T) {
	s, c := signedIn(t, Options{})
	lasting := doc.Str(c.want(201, "POST", "/api/user-token", obj{"hours": "2"}).body, "token")
	once := doc.Str(c.want(201, "POST", "/api/user-token", obj{"hours": 0}).body, "token")
	c.want(400, "POST", "/api/user-token", obj{"hours": "x"})
	for _, tt := range []struct {
		body   obj
		status int
	}{
		{obj{"username": "admin", "token": lasting}, 200}, {obj{"username": "admin", "password": lasting},
			200}, {obj{"username": "joe", "token": lasting}, 401},
		{obj{"username": "admin", "token": once}, 200}, {obj{"username": "admin", "token": once}, 401},
	} {
		newClient(t, s).want(tt.status, "POST", "/login", tt.body)
	}
	list := c.want(200, "GET", "/api/user-token", nil)
	results := doc.Messages(list.body["results"])
	if len(results) != 1 || doc.Str(results[0], "token") != lasting { // by which a client finds its own
		t.Errorf("the list has %s", list.raw)
	}
	id := doc.Str(results[0], "uuid")
	c.want(204, "DELETE", "/api/user-token/"+id, nil)
	newClient(t, s).want(401, "POST", "/login", obj{"username": "admin", "token": lasting})
	for _, q := range s.Requests() {
		if strings.Contains(string(q.Body)+string(q.Response), lasting) {
			t.Errorf("token in the log: %s %s", q.Body, q.Response)
		}
	}
}

// TestVersions shows that an older request neither sees nor may send newer fields.
func TestVersions(t *testing.T) {
	_, c := signedIn(t, Options{})
	id := c.want(201, "POST", "/api/pool", poolBody("p", "10.20.0.1")).uuid()
	for _, tt := range []struct {
		version string
		sees    bool
	}{{"30.2.1", true}, {"22.1.1", true}, {"21.1.1", false}, {"", false}} {
		c.version = tt.version
		if _, sees := c.want(200, "GET", "/api/pool/"+id, nil).body["pool_type"]; sees != tt.sees {
			t.Errorf("version %q sees pool_type: %v", tt.version, sees)
		}
	}
	c.version = ""
	if r := c.do("POST", "/api/virtualservice", vsBody("x", "x", "x")); r.status != 400 || !strings.Contains(r.raw,
		"Incoming request (v16_4_2)") {
		t.Errorf("%d %s", r.status, r.raw)
	}
}

// TestOlderController shows a Controller that does not know SCTP yet.
func TestOlderController(t *testing.T) {
	s, c := signedIn(t, Options{Version: "21.1.4"})
	c.version = "21.1.4"
	for typ, n := range map[string]string{"networkprofile": "System-SCTP-Proxy", "healthmonitor": "System-SCTP"} {
		if _, have := s.Object(typ, "admin", n); have {
			t.Errorf("%s is there", n)
		}
	}
	if r := c.want(201, "POST", "/api/pool", obj{"name": "p"}); r.body["pool_type"] != nil {
		t.Errorf("a default of a later version: %s", r.raw)
	}
	c.version = "22.1.3"
	c.want(400, "GET", "/api/pool", nil)
}

func TestRequireReferer(t *testing.T) {
	_, c := signedIn2(t)
	r := c.want(403, "POST", "/api/pool", poolBody("p"))
	if !strings.Contains(r.raw, "Referer") {
		t.Error(r.raw)
	}
}

// signedIn2 logs in with a Referer, which the server insists on, and then forgets it.
func signedIn2(t *testing.T) (*Server, *client) {
	s := start(t, Options{RequireReferer: true})
	c := newClient(t, s)
	body, _ := json.Marshal(obj{"username": "admin", "password": "avi123$%"})
	r, _ := http.NewRequest("POST", "https://"+s.Host()+"/login", strings.NewReader(string(body)))
	r.Header.Set("Referer", "https://"+s.Host()+"/")
	resp, err := c.http.Do(r)
	if err != nil || resp.StatusCode != 200 {
		t.Fatal(resp, err)
	}
	_ = resp.Body.Close()
	return s, c
}

func TestSingletons(t *testing.T) {
	s, c := signedIn(t, Options{LicenseTier: "BASIC"})
	tier := func() string {
		return doc.Str(c.want(200, "GET", "/api/systemconfiguration", nil).body, "default_license_tier")
	}
	if tier() != "BASIC" {
		t.Error(tier())
	}
	s.SetLicenseTier("ESSENTIALS")
	if tier() != "ESSENTIALS" {
		t.Error(tier())
	}
	c.want(200, "PATCH", "/api/systemconfiguration", obj{"replace": obj{"default_license_tier": "ENTERPRISE"}})
	if tier() != "ENTERPRISE" {
		t.Error(tier())
	}
	c.want(405, "DELETE", "/api/systemconfiguration", nil)
	for path, key := range map[string]string{"/api/cluster": "nodes", "/api/cluster/runtime": "cluster_state",
		"/api/cluster/version": "Version",
		"/api/cluster/status":  "state", "/api/initial-data": "version",
		"/api/controllerproperties": "api_idle_timeout", "/api/licensing": "license_tier",
		"/api/licensing/status": "license_tier", "/api/systemlimits": "controller_limits", "/api/useraccount": "username"} {
		if r := c.want(200, "GET", path, nil); r.body[key] == nil {
			t.Errorf("%s lacks %s: %s", path, key, r.raw)
		}
	}
	cloud, _ := s.Object("cloud", "admin", "Default-Cloud")
	if r := c.want(200, "GET", "/api/ipamdnsproviderprofiledomainlist?cloud_uuid="+doc.Str(cloud, "uuid"),
		nil); r.raw != `{"domains":["demo.avi.local"]}` {
		t.Error(r.raw)
	}
	before := c.want(200, "GET", "/api/cluster/runtime", nil).raw
	s.SetUpSince("2030-01-01 00:00:00")
	if before == c.want(200, "GET", "/api/cluster/runtime", nil).raw {
		t.Error("failover not seen")
	}
}

// TestServerTiming shows the header that slow writes have.
func TestServerTiming(t *testing.T) {
	s, c := signedIn(t, Options{})
	if h := c.want(201, "POST", "/api/pool", poolBody("fast")).header.Get("Server-Timing"); h != "" {
		t.Errorf("a fast write: %s", h)
	}
	s.SetLatency(0, 210*time.Millisecond)
	h := c.want(201, "POST", "/api/pool", poolBody("slow")).header.Get("Server-Timing")
	if !regexp.MustCompile(`^create;dur=[.\d]+,total;dur=[.\d]+$`).MatchString(h) {
		t.Errorf("a slow write: %q", h)
	}
}
