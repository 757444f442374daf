package avisim

import (
	"encoding/json"
	"net/http"
	"slices"
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
	post("/api/cloud", obj{"name": "c", "vcenter_configuration": obj{"username": "u", "password": hush}, "aws_configuration": obj{"secret_access_key": hush}})
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
	s.Accounts.mu.Lock()
	secrets := []string{hush, c.csrf}
	for id := range s.Accounts.sessions {
		secrets = append(secrets, id)
	}
	s.Accounts.mu.Unlock()
	for _, secret := range secrets {
		if secret == "" || strings.Contains(all, secret) {
			i := strings.Index(all, secret)
			t.Errorf("%q is in the log: …%s…", secret, all[max(0, i-200):i+20])
		}
	}
	for _, kept := range []string{`username=admin\u0026password=********\u0026x=1`, `"session_cookie_name":"avi-sessionid"`, `"username":"admin"`, `"certificate":"public"`, "avi-sessionid=********"} {
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
	if n[Counter{"GET", "/api/pool/{uuid}", 200}] != 3 || n[Counter{"GET", "/api/pool/{uuid}", 404}] != 1 || n[Counter{"POST", "/login", 200}] != 1 {
		t.Errorf("%v", n)
	}
}

// TestLogIsBounded shows that the oldest entries go, by number and by size.
func TestLogIsBounded(t *testing.T) {
	s := NewLog(false)
	const logBytes = 16 << 20
	s.limit = logBytes
	body := []byte(`{"name":"` + strings.Repeat("x", bodyLimit-100) + `"}`)
	const entries = 3 * logBytes / bodyLimit / 4 // half as many again as fit
	for range entries {
		s.Begin().Add(Request{Method: "POST", Route: "/api/pool", Type: "pool", Status: 201, Body: body, Response: body})
	}
	log := s.Requests()
	size := 0
	for _, e := range log {
		size += len(e.Body) + len(e.Response)
	}
	if size > logBytes || size < logBytes/4 {
		t.Errorf("%d entries of %d bytes", len(log), size)
	}
	if last := log[len(log)-1].ID; last != entries {
		t.Errorf("last is %d", last)
	}
	if l := s.RequestsAfter(log[len(log)-3].ID, 100); len(l) != 2 {
		t.Errorf("%d after the last but two", len(l))
	}
	if l := s.RequestsAfter(0, 5); len(l) != 5 || l[4].ID != log[len(log)-1].ID {
		t.Errorf("%d of the last five", len(l))
	}
}

// TestHAR shows that an archive has what the standard asks for, and that a normal one is the same for the same requests.
func TestHAR(t *testing.T) {
	run := func() (normal []byte, raw har) {
		s, c := signedIn(t, Options{})
		s.Inject(Fault{Name: "cut", Type: "vsvip", Method: "GET", ResetBefore: true, Count: 2})
		ids := c.service("a", "10.0.0.1")
		c.want(200, "GET", "/api/virtualservice/"+ids["virtualservice"]+"?include_name&x=1", nil)
		c.want(200, "GET", "/api/pool/"+ids["pool"]+"/runtime", nil)
		c.want(200, "GET", "/api/cluster/runtime", nil)
		_, _ = c.try("GET", "/api/vsvip", nil) // the transport may repeat it
		b, err := s.HAR(false)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, &raw); err != nil {
			t.Fatal(err)
		}
		if normal, err = s.HAR(true); err != nil {
			t.Fatal(err)
		}
		return normal, raw
	}
	first, raw := run()
	second, _ := run()
	if string(first) != string(second) {
		a, b := strings.Split(string(first), "\n"), strings.Split(string(second), "\n")
		for i := range min(len(a), len(b)) {
			if a[i] != b[i] {
				t.Fatalf("line %d:\n%s\n%s", i, a[i], b[i])
			}
		}
		t.Fatalf("%d and %d lines", len(a), len(b))
	}
	e := raw.Log.Entries
	if raw.Log.Version != "1.2" || raw.Log.Creator.Name == "" || len(e) < 9 {
		t.Fatalf("%+v", raw.Log)
	}
	vs := e[5]
	if vs.Request.Method != "GET" || !strings.HasPrefix(vs.Request.URL, "https://127.0.0.1:") || !slices.Contains(vs.Request.Query, harPair{"x", "1"}) ||
		vs.Response.Status != 200 || vs.Response.StatusText != "OK" || !strings.Contains(vs.Response.Content.Text, `"name":"a"`) || *vs.Response.Content.Size == 0 ||
		!slices.ContainsFunc(vs.Request.Headers, func(p harPair) bool { return p == harPair{"X-Avi-Version", "30.2.1"} }) {
		t.Errorf("%+v", vs)
	}
	if e[1].Request.PostData == nil || e[1].Request.PostData.MimeType != "application/json" {
		t.Errorf("%+v", e[1].Request)
	}
	if last := e[len(e)-1]; last.Response.Status != 0 || last.Comment != "fault: cut" {
		t.Errorf("%+v", last)
	}
}
