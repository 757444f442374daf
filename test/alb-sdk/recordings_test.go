// SPDX-License-Identifier: Apache-2.0

package albsdk

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim"
)

// recording is one file of the Python SDK's test fixtures: requests to a real Controller of 20.1 and its answers.
type recording struct {
	Interactions []interaction
}

type interaction struct {
	Request struct {
		Method, URI string
		Body        *string
		Headers     map[string][]string
	}
	Response struct {
		Status  struct{ Code int }
		Headers map[string][]string
		Body    struct{ String string }
	}
}

// known are differences that stay, by the form in which the replay prints them, with their reason.
var known = []difference{
	{"", `GET /api/pool.*: no .*\.server_count|POST /api/pool: no \.server_count`, "a field that releases after 16.4 do not have; retired fields are not brought back for old versions"},
	{"", `POST /login: \.system_config\.welcome_workflow_complete is true, recorded false`, "the simulated Controller comes up with its set-up done"},
	{"", `GET /api/sslkeyandcertificate: no .*\.certificate\.text`, "a certificate is not printed"},
	{"", `GET /api/cloud/{uuid}: \.(ipam|dns)_provider_ref was not recorded`, "the simulated Default-Cloud is set up for use"},
	{"", `GET /api/cloud/{uuid}: \.ip6_autocfg_enabled is true, recorded false`, "the default differs between 20.1 and the schema of 30.2"},
	{"", `GET /api/cloud/{uuid}: no \.apic_mode`, "a field that releases after 20.1 do not have"},
	// 20.1.5, with basic authentication; all others are 20.1.1 with a session.
	{"test_basic_auth", `.*: header Allow .*`, "the same methods, in another order than those of 20.1.1"},
	{"test_basic_auth", `.*: header Access-Control-Allow-(Methods|Origin) .*`, "20.1.5 tells other origins less than 20.1.1"},
}

type difference struct{ file, pattern, why string }

// volatile headers differ between any two answers, or are the connection's.
var volatile = []string{"Date", "Connection", "Transfer-Encoding", "Content-Length", "Server-Timing", "Reload-Permissions", "Set-Cookie",
	"Location"}

// TestRecordings sends the requests of the vendor's recordings again and compares the answers: status, headers, cookies, keys
// of the body, forms of references, and values that are neither identities nor times.
func TestRecordings(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/vmware/alb-sdk").Output()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(out)), "python/avi/sdk/test/fixtures/cassettes/*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("the module has no recordings: %v", err)
	}
	seen := map[string]int{}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var r recording
			if err := json.Unmarshal(b, &r); err != nil {
				t.Fatal(err)
			}
			newReplay(t, r).run(r, seen)
		})
	}
	for _, k := range known {
		t.Logf("%4d x %s\n       %s", seen[k.pattern], k.pattern, k.why)
	}
}

// replay is a recording on its way through a simulator.
type replay struct {
	*testing.T
	server *avisim.Server
	http   *http.Client
	csrf   string
	cookie string
	ids    map[string]string // recorded uuid to the simulator's
	diffs  []string
}

const recordedHost = "https://avi-controller"

func newReplay(t *testing.T, r recording) *replay {
	o := avisim.Options{Version: "20.1.1", Password: "password"}
	basic := slices.ContainsFunc(r.Interactions, func(i interaction) bool { return i.Request.Headers["Authorization"] != nil })
	if basic {
		o = avisim.Options{Version: "20.1.5", Password: "avi123$%"}
	}
	s, err := avisim.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	if basic {
		if err := s.Edit("systemconfiguration", "admin", "", func(m map[string]any) {
			m["portal_configuration"].(map[string]any)["allow_basic_authentication"] = true
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	t.Cleanup(tr.CloseIdleConnections)
	p := &replay{T: t, server: s, http: &http.Client{Transport: tr}, ids: map[string]string{}}
	if !basic { // some recordings begin in a session of another one
		status, header, _ := p.send("POST", "/login", "username=admin&password=password",
			http.Header{"Content-Type": {"application/x-www-form-urlencoded"}})
		if status != 200 {
			t.Fatalf("login: %d", status)
		}
		p.session(header)
	}
	return p
}

func (p *replay) send(method, path, body string, h http.Header) (int, http.Header, string) {
	p.Helper()
	req, err := http.NewRequestWithContext(p.Context(), method, "https://"+p.server.Host()+path, strings.NewReader(body))
	if err != nil {
		p.Fatal(err)
	}
	req.Header = h
	resp, err := p.http.Do(req)
	if err != nil {
		p.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		p.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(b)
}

// session keeps what a login answered.
func (p *replay) session(h http.Header) {
	var cookies []string
	for _, k := range h["Set-Cookie"] {
		pair, _, _ := strings.Cut(k, ";")
		cookies = append(cookies, pair)
		if v, ok := strings.CutPrefix(pair, "csrftoken="); ok {
			p.csrf = v
		}
	}
	p.cookie = strings.Join(cookies, "; ")
}

// local is a recorded text with the simulator's host and uuids.
func (p *replay) local(s string) string {
	s = strings.ReplaceAll(s, recordedHost, "https://"+p.server.Host())
	for was, is := range p.ids {
		s = strings.ReplaceAll(s, was, is)
	}
	return s
}

func (p *replay) run(r recording, seen map[string]int) {
	for _, i := range r.Interactions {
		q := i.Request
		h := http.Header{}
		for _, k := range []string{"Content-Type", "X-Avi-Version", "X-Avi-Tenant", "X-Avi-Tenant-UUID", "Slug", "Authorization", "Referer"} {
			if v := q.Headers[k]; v != nil {
				h.Set(k, p.local(v[0]))
			}
		}
		if v := q.Headers["X-CSRFToken"]; v != nil {
			h.Set("X-CSRFToken", p.csrf)
			if v[0] == "invalid" {
				h.Set("X-CSRFToken", v[0])
			}
		}
		if q.Headers["Cookie"] != nil {
			h.Set("Cookie", p.cookie)
		}
		body := ""
		if q.Body != nil {
			body = p.local(*q.Body)
		}
		path := strings.TrimPrefix(q.URI, recordedHost)
		status, header, got := p.send(q.Method, p.local(path), body, h)
		if path == "/login" && status == 200 {
			p.session(header)
		}

		p.diffs = nil
		if status != i.Response.Status.Code {
			p.differ("status %d, recorded %d: %s", status, i.Response.Status.Code, got)
		}
		p.headers(header, i.Response.Headers)
		p.bodies(got, i.Response.Body.String)
		for _, d := range p.diffs {
			line := fmt.Sprintf("%s %s: %s", q.Method, route(path), d)
			if k := slices.IndexFunc(known, func(k difference) bool {
				return strings.HasSuffix(p.Name(), k.file) && regexp.MustCompile("^(?:"+k.pattern+")$").MatchString(line)
			}); k >= 0 {
				seen[known[k].pattern]++
				continue
			}
			p.Error(line)
		}
	}
}

// route is a path without uuids and query.
func route(path string) string {
	u, err := url.Parse(path)
	if err != nil {
		return path
	}
	parts := strings.Split(u.Path, "/")
	if len(parts) > 3 {
		parts[3] = "{uuid}"
	}
	return strings.Join(parts, "/")
}

func (p *replay) differ(format string, args ...any) {
	p.diffs = append(p.diffs, fmt.Sprintf(format, args...))
}

func (p *replay) headers(got http.Header, want map[string][]string) {
	canonical := http.Header{}
	for k, v := range want {
		for _, x := range v {
			canonical.Add(k, x)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(canonical)) {
		switch {
		case slices.Contains(volatile, k):
		case got[k] == nil && len(got.Values(k)) == 0:
			p.differ("no header %s", k)
		case !slices.Equal(got.Values(k), canonical[k]):
			p.differ("header %s %q, recorded %q", k, got.Values(k), canonical[k])
		}
	}
	for _, k := range slices.Sorted(maps.Keys(got)) {
		if canonical[http.CanonicalHeaderKey(k)] == nil && !slices.Contains(volatile, k) {
			p.differ("header %s was not recorded", k)
		}
	}
	if got, want := cookies(got["Set-Cookie"]), cookies(canonical["Set-Cookie"]); !slices.Equal(got, want) {
		p.differ("cookies %q, recorded %q", got, want)
	}
	if got, want := ends(got.Get("Location")), ends(canonical.Get("Location")); got != want {
		p.differ("Location %q, recorded %q", got, want)
	}
}

var (
	cookieValue = regexp.MustCompile(`^([^=]+)=[^;]*; expires=[^;]+;`)
	bareUUID    = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	idIn        = regexp.MustCompile(`/api/([a-z0-9]+)/([^/?#]+)`)
)

func cookies(all []string) []string {
	var out []string
	for _, c := range all {
		out = append(out, cookieValue.ReplaceAllString(c, "$1=…; expires=…;"))
	}
	return out
}

// ends is a URL with neither host nor uuid.
func ends(u string) string {
	return idIn.ReplaceAllString(regexp.MustCompile(`^https://[^/]+`).ReplaceAllString(u, "https://…"), "/api/$1/…")
}

func (p *replay) bodies(got, want string) {
	var g, w any
	gotJSON, wantJSON := json.Unmarshal([]byte(got), &g) == nil, json.Unmarshal([]byte(want), &w) == nil
	if !gotJSON || !wantJSON {
		if got != want {
			p.differ("body %.100q, recorded %.100q", got, want)
		}
		return
	}
	p.compare("", g, w)
}

// ownValues are keys whose values no two Controllers share.
var ownValues = []string{"_last_modified", "uuid", "build", "Tag", "Date", "Version", "ui_property", "version", "redis_db", "redis_port",
	"aes_key", "hmac_key"}

func (p *replay) compare(path string, got, want any) {
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			p.differ("%s is a %T, recorded an object", path, got)
			return
		}
		for _, k := range slices.Sorted(maps.Keys(w)) {
			switch {
			case !has(g, k):
				p.differ("no %s.%s", path, k)
			case slices.Contains(ownValues, k):
				if fmt.Sprintf("%T", g[k]) != fmt.Sprintf("%T", w[k]) {
					p.differ("%s.%s is a %T, recorded a %T", path, k, g[k], w[k])
				}
			default:
				p.compare(path+"."+k, g[k], w[k])
			}
		}
		for _, k := range slices.Sorted(maps.Keys(g)) {
			if !has(w, k) {
				p.differ("%s.%s was not recorded", path, k)
			}
		}
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			p.differ("%s has %d entries, recorded %d", path, len(g), len(w))
			return
		}
		for i := range w {
			p.compare(path+"[]", g[i], w[i])
		}
	case string:
		g, ok := got.(string)
		if !ok {
			p.differ("%s is a %T, recorded a string", path, got)
			return
		}
		a, b := idIn.FindStringSubmatch(g), idIn.FindStringSubmatch(w)
		if a == nil || b == nil || a[1] != b[1] {
			if g != w && ends(g) != ends(w) && !(bareUUID.MatchString(g) && bareUUID.MatchString(w)) {
				p.differ("%s is %q, recorded %q", path, g, w)
			}
			return
		}
		p.ids[b[2]] = a[2]
		if ends(g) != ends(w) {
			p.differ("%s has the form %q, recorded %q", path, ends(g), ends(w))
		}
	default:
		if got != want {
			p.differ("%s is %v, recorded %v", path, got, want)
		}
	}
}

func has(m map[string]any, k string) bool { _, ok := m[k]; return ok }
