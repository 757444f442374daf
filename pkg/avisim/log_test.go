// SPDX-License-Identifier: Apache-2.0

package avisim

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// TestSecretsAreMasked sends secrets wherever a client may put them, and looks for them in all that the log shows.
func TestSecretsAreMasked(t *testing.T) {
	const hush = "Hush-4711"
	s := start(t, Options{Password: hush})
	c := newClient(t, s)
	for _, k := range c.want(200, "POST", "/login", obj{"username": "admin", "password": hush}).header.Values("Set-Cookie") {
		if v, ok := strings.CutPrefix(k, "csrftoken="); ok {
			c.csrf, _, _ = strings.Cut(v, ";")
		}
	}
	post := func(path string, body any) { c.do("POST", path, body) }
	post("/login", "username=admin&password="+hush+"&x=1")
	post("/login", obj{"username": "admin", "password": hush})
	post("/login", `{"username":"admin","password":"`+hush+`","broken`)
	post("/login?token="+hush, obj{"username": "admin", "token": hush})
	post("/api/sslkeyandcertificate", obj{"name": "k", "key": hush, "key_passphrase": hush, "certificate": obj{"certificate": "public"}})
	post("/api/cloud", obj{"name": "c", "vcenter_configuration": obj{"username": "u", "password": hush},
		"aws_configuration": obj{"secret_access_key": hush}})
	post("/api/pool", obj{"name": "p", "auth_token": hush})
	post("/api/user", obj{"name": "u", "password": hush, "list": []obj{{"client_secret": hush}}})
	c.do("PUT", "/api/useraccount", obj{"old_password": hush, "password": hush + "2"})
	r, _ := http.NewRequest("GET", "https://"+s.Host()+"/api/pool", nil)
	r.Header.Set("Authorization", "Basic "+hush)
	r.Header.Set("X-Portal-AuthToken", hush)
	resp, err := c.http.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()

	archive, err := s.HAR(false)
	if err != nil {
		t.Fatal(err)
	}
	log, err := json.Marshal(s.Requests())
	if err != nil {
		t.Fatal(err)
	}
	all := string(log) + string(archive)
	secrets := []string{hush, c.csrf}
	for _, k := range c.http.Jar.Cookies(&url.URL{Scheme: "https", Host: s.Host(), Path: "/"}) {
		secrets = append(secrets, k.Value)
	}
	for _, secret := range secrets {
		if secret == "" || strings.Contains(all, secret) {
			i := strings.Index(all, secret)
			t.Errorf("%q is in the log: …%s…", secret, all[max(0, i-200):i+20])
		}
	}
	for _, kept := range []string{`username=admin\u0026password=********\u0026x=1`, `"session_cookie_name":"avi-sessionid"`,
		`"username":"admin"`, `"certificate":"public"`, "avi-sessionid=********"} {
		if !strings.Contains(all, kept) {
			t.Errorf("%s is not in the log", kept)
		}
	}
}

func TestUnexpected(t *testing.T) {
	s, c := signedIn(t, Options{})
	id := c.want(201, "POST", "/api/pool", poolBody("p")).uuid()
	c.want(200, "GET", "//api/pool/"+id+"/?include_name", nil)
	c.want(200, "GET", "/api/pool/"+id+"/runtime/server", nil)
	for _, tt := range []struct {
		allowed string
		left    int
	}{
		{"", 4}, {"POST /login|* /api/pool", 2}, {"* /**", 0}, {"POST /login|POST /api/*|GET /api/pool/{uuid}", 1},
		{"POST /*|* /api/**", 0}, {"GET /api/pool", 4},
	} {
		left := s.Unexpected(strings.Split(tt.allowed, "|")...)
		if len(left) != tt.left {
			t.Errorf("%s: %d left: %+v", tt.allowed, len(left), left)
		}
	}
}

func TestCountersPerRoute(t *testing.T) {
	s, c := signedIn(t, Options{})
	id := c.want(201, "POST", "/api/pool", poolBody("p")).uuid()
	for range 3 {
		c.want(200, "GET", "/api/pool/"+id, nil)
	}
	c.want(404, "GET", "/api/pool/nothing", nil)
	n := s.Counters()
	if n[Counter{Method: "GET", Route: "/api/pool/{uuid}", Status: 200}] != 3 || n[Counter{Method: "GET", Route: "/api/pool/{uuid}",
		Status: 404}] != 1 || n[Counter{Method: "POST", Route: "/login", Status: 200}] != 1 {
		t.Errorf("%v", n)
	}
}
