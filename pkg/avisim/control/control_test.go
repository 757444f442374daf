// SPDX-License-Identifier: Apache-2.0

package control

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim"
)

type obj = map[string]any

func start(t *testing.T) (*avisim.Server, string) {
	t.Helper()
	s, err := avisim.New(avisim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	h := New(s)
	t.Cleanup(h.StopScript)
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return s, srv.URL
}

func do(t *testing.T, method, url, body string, header ...string) (int, http.Header, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
		}
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(raw)
}

func TestCalls(t *testing.T) {
	_, url := start(t)
	for _, tt := range []struct {
		method, path, body string
		status             int
		want               string // in the answer
	}{
		{"POST", "/faults", `{"type":"pool","status":503,"delay":"1ms","count":2,"objectName":"^a"}`, 200, `{"id":1}`},
		{"POST", "/faults", `{"probability":0.5,"seed":1,"duration":"1h","effects":[{"effect":"latency","delay":"1ms"},{"effect":"answer","status":503}]}`, 200, `{"id":2}`},
		{"POST", "/faults", `{"effects":[{"effect":"expire-sessions"}]}`, 200, `{"id":0}`},
		{"POST", "/faults", `{"delay":"soon"}`, 400, "soon"},
		{"POST", "/faults", `{"objectName":"("}`, 400, "missing closing"},
		{"POST", "/faults", `{"typ":"pool"}`, 400, "unknown field"},
		{"POST", "/faults", `{"type":"pool"}`, 400, "needs an effect"},
		{"POST", "/faults", `{"effects":[{"effect":"latency","delay":"soon"}]}`, 400, "effect latency: delay"},
		{"POST", "/faults", `nonsense`, 400, "invalid character"},
		{"GET", "/faults", ``, 200, `"effect":"answer"`},
		{"DELETE", "/faults/1", ``, 200, ""},
		{"DELETE", "/faults/1", ``, 404, "no fault 1"},
		{"DELETE", "/faults/x", ``, 404, "no fault x"},
		{"POST", "/faults/clear", ``, 200, ""},
		{"GET", "/faults", ``, 200, `[]`},
		{"DELETE", "/faults", ``, 200, ""},
		{"GET", "/effects", ``, 200, `"stale-reads"`},
		{"POST", "/server-health", `{"ip":"10.0.0.1","port":80,"up":false,"reason":"flipped"}`, 200, ""},
		{"POST", "/server-health", `{"ip":"nowhere"}`, 400, "not an address"},
		{"POST", "/service-engine", `{"name":"Avi-se-1","up":false,"reason":"power"}`, 200, ""},
		{"POST", "/service-engine", `{"name":"Avi-se-1","up":true}`, 200, ""},
		{"POST", "/service-engine", `{"name":"nope"}`, 400, "GET /api/serviceengine lists them"},
		{"GET", "/forwarding", ``, 200, `"virtualServices":[`},
		{"GET", "/traffic", ``, 404, "start the simulator with --forward"},
		{"POST", "/switchover", `{"name":"nope"}`, 400, "nope"},
		{"POST", "/oper-status", `{"type":"cloud","name":"Default-Cloud","state":"OPER_DOWN","reason":"r"}`, 200, ""},
		{"POST", "/oper-status", `{"type":"cloud","name":"Default-Cloud","state":"BAD"}`, 400, "OPER_UP"},
		{"POST", "/ipam", `{"async":"2s","quarantine":"1m","exhausted":true}`, 200, ""},
		{"POST", "/ipam", `{"async":2}`, 400, "2s"},
		{"POST", "/dynamics", `{"placementDelay":"2s","checks":true,"capacity":true}`, 200, ""},
		{"POST", "/rules", `{"id":"vs-http","on":false}`, 200, ""},
		{"POST", "/rules", `{"id":"nope"}`, 400, "vs-http"},
		{"GET", "/warnings", ``, 200, "[]"},
		{"POST", "/upgrade", `{"on":true}`, 200, ""},
		{"POST", "/down", `{"on":false}`, 200, ""},
		{"GET", "/status", ``, 200, `"upgrade":true`},
		{"GET", "/requests", ``, 200, ""},
		{"GET", "/requests?after=x", ``, 400, "not a number"},
		{"DELETE", "/requests", ``, 200, ""},
		{"GET", "/unexpected?allowed=GET+/api/**", ``, 200, "[]"},
		{"GET", "/counters", ``, 200, "[]"},
		{"GET", "/changes?limit=1", ``, 200, `"type":"serviceengine"`},
		{"GET", "/services?search=x&page=3&page_size=10", ``, 200, `"total":0`},
		{"GET", "/services?page=-1", ``, 400, "not a number"},
		{"GET", "/har?normal=true", ``, 200, `"version": "1.2"`},
		{"GET", "/har?normal=perhaps", ``, 400, "true or false"},
		{"GET", "/tree", ``, 200, `"System-SCTP-Proxy"`},
		{"GET", "/ca", ``, 200, "BEGIN CERTIFICATE"},
		{"POST", "/script", "steps:\n- do: {effect: x}", 400, "line 2: "},
		{"POST", "/script", "steps:\n- do: {effect: upgrade}\n- after: 1h\n  do: {effect: down}", 200, `{"steps":2}`},
		{"GET", "/script", "", 200, `"running":true`},
		{"DELETE", "/script", "", 200, ""},
		{"GET", "/script", "", 200, `"running":false`},
		{"GET", "/", "", 200, "<!doctype html>"},
		{"GET", "/app.js", "", 200, "EventSource"},
		{"GET", "/style.css", "", 200, "--bg"},
		{"GET", "/icon.svg", "", 200, "<svg"},
		{"GET", "/api/pool", ``, 404, ""},
		{"GET", "/nothing", ``, 404, ""},
	} {
		if status, _, raw := do(t, tt.method, url+tt.path, tt.body); status != tt.status || !strings.Contains(raw, tt.want) {
			t.Errorf("%s %s %s: %d %.200s, want %d %q", tt.method, tt.path, tt.body, status, raw, tt.status, tt.want)
		}
	}
}

// TestForeignSites shows what a page of another origin can't make a browser do, and what a tool may.
func TestForeignSites(t *testing.T) {
	s, url := start(t)
	for _, tt := range []struct {
		name   string
		method string
		header []string
		status int
	}{
		{"a tool", "POST", nil, 200},
		{"the page", "POST", []string{"Origin", url, "Sec-Fetch-Site", "same-origin"}, 200},
		{"the page, old browser", "POST", []string{"Origin", url}, 200},
		{"another site", "POST", []string{"Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"}, 403},
		{"another site, old browser", "POST", []string{"Origin", "https://evil.example"}, 403},
		{"another port", "POST", []string{"Origin", "http://127.0.0.1:1", "Sec-Fetch-Site", "same-site"}, 403},
		{"a sandboxed frame", "POST", []string{"Origin", "null"}, 403},
		{"another site deletes", "DELETE", []string{"Origin", "https://evil.example"}, 403},
		{"a rebound name", "POST", []string{"Host", "evil.example", "Origin", "http://evil.example", "Sec-Fetch-Site", "same-origin"}, 403},
		{"a rebound name reads", "GET", []string{"Host", "evil.example:9444"}, 403},
		{"a rebound name with a dot", "GET", []string{"Host", "evil.example."}, 403},
		{"localhost", "GET", []string{"Host", "localhost:9444"}, 200},
		{"IPv6", "GET", []string{"Host", "[::1]:9444"}, 200},
		{"a Service", "GET", []string{"Host", "avisim.avi.svc:9444"}, 200},
		{"a container", "GET", []string{"Host", "avisim"}, 200},
	} {
		if status, _, raw := do(t, tt.method, url+"/faults", `{"effects":[{"effect":"upgrade"}]}`, tt.header...); status != tt.status {
			t.Errorf("%s: %d %s, want %d", tt.name, status, raw, tt.status)
		}
	}
	if n := len(s.Faults()); n != 3 {
		t.Errorf("%d faults", n)
	}
	_, h, _ := do(t, "GET", url+"/", "")
	for k, want := range map[string]string{"Content-Security-Policy": "default-src 'none'; script-src 'self'; ", "X-Frame-Options": "DENY",
		"X-Content-Type-Options": "nosniff"} {
		if !strings.HasPrefix(h.Get(k), want) {
			t.Errorf("%s: %q", k, h.Get(k))
		}
	}
	if h.Get("Access-Control-Allow-Origin") != "" {
		t.Error("readable from elsewhere")
	}
}

// populate makes services s0, s1, …, each with one server.
func populate(t testing.TB, s *avisim.Server, from, to int) {
	t.Helper()
	create := func(typ string, body obj) {
		if _, err := s.Create(typ, "admin", body); err != nil {
			t.Fatal(err)
		}
	}
	for i := from; i < to; i++ {
		n := fmt.Sprintf("s%05d", i)
		create("vsvip", obj{"name": n, "vip": []obj{{"vip_id": "0", "ip_address": obj{"addr": fmt.Sprintf("10.9.%d.%d", i/250, i%250+1),
			"type": "V4"}}}})
		create("pool", obj{"name": n, "servers": []obj{{"ip": obj{"addr": fmt.Sprintf("10.8.%d.%d", i/250, i%250+1), "type": "V4"}, "port": 80}}})
		create("l4policyset", obj{"name": n, "l4_connection_policy": obj{"rules": []obj{{"name": "r", "index": 0,
			"match": obj{"port": obj{"match_criteria": "IS_IN", "ports": []int{80}}, "protocol": obj{"match_criteria": "IS_IN",
				"protocol": "PROTOCOL_SCTP"}},
			"action": obj{"select_pool": obj{"action_type": "L4_RULE_ACTION_SELECT_POOL", "pool_ref": "/api/pool?name=" + n}}}}}})
		create("virtualservice", obj{"name": n, "vsvip_ref": "/api/vsvip?name=" + n, "services": []obj{{"port": 80}},
			"l4_policies": []obj{{"index": 0, "l4_policy_set_ref": "/api/l4policyset?name=" + n}}})
	}
}

// TestServices shows a page of the tree, searches, and what the page says of states.
func TestServices(t *testing.T) {
	s, url := start(t)
	populate(t, s, 0, 120)
	s.SetServerHealth("10.8.0.8", 80, false, "unplugged")
	get := func(query string) (p avisim.ServicePage) {
		t.Helper()
		_, _, raw := do(t, "GET", url+"/services?"+query, "")
		if err := json.Unmarshal([]byte(raw), &p); err != nil {
			t.Fatal(err, raw)
		}
		return p
	}
	p := get("page=3")
	if p.Total != 120 || p.Pages != 3 || len(p.Services) != 20 || p.Services[0].Name != "s00100" || p.Counts["UP"] != 119 ||
		p.Counts["DOWN"] != 1 {
		t.Errorf("%d of %d on page %d of %d: %v", len(p.Services), p.Total, p.Page, p.Pages, p.Counts)
	}
	vs := p.Services[0]
	if len(vs.VIPs) != 1 || vs.VIPs[0].Addresses[0] != "10.9.0.101" || vs.Ports[0] != "80 TCP" || len(vs.Objects) != 4 || vs.Rules[0].Match != "80 SCTP" ||
		vs.Rules[0].Targets[0] != (avisim.TargetView{Pool: "s00100",
			State: "UP"}) || vs.Pools[0].Servers[0] != (avisim.ServerView{IP: "10.8.0.101", Port: 80, State: "UP"}) {
		t.Errorf("%+v", vs)
	}
	for query, want := range map[string]int{"search=S0000": 10, "search=10.8.0.1:80": 1, "search=10.9.0.11": 11, "search=none": 0,
		"state=DOWN": 1, "state=UP&search=s00007": 0} {
		if p := get(query); p.Matched != want {
			t.Errorf("%s: %d, want %d", query, p.Matched, want)
		}
	}
	if p := get("state=DOWN"); p.Services[0].Name != "s00007" || p.Services[0].Reason == "" ||
		p.Services[0].Pools[0].Servers[0].Reason != "unplugged" {
		t.Errorf("%+v", p.Services)
	}
	if p := get("sort=changed"); p.Services[0].Name != "s00007" || p.Services[1].Name != "s00119" {
		t.Errorf("%s %s", p.Services[0].Name, p.Services[1].Name)
	}
	if p := get("page=99"); p.Page != 3 {
		t.Errorf("page %d", p.Page)
	}
	var changes []avisim.Change
	_, _, raw := do(t, "GET", url+"/changes?limit=3", "")
	if err := json.Unmarshal([]byte(raw), &changes); err != nil || len(changes) != 3 {
		t.Fatal(err, raw)
	}
	// The first look finds all states new; what changes from then on is reported.
	s.SetServerHealth("10.8.0.9", 80, false, "unplugged")
	for range 100 {
		get("")
		_, _, raw = do(t, "GET", url+"/changes?limit=1", "")
		if strings.Contains(raw, `"name":"s00008"`) && strings.Contains(raw, `UP → DOWN`) {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Error(raw)
}

// TestEvents shows that a change is reported within a moment, and many of them in one.
func TestEvents(t *testing.T) {
	s, url := start(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	r, _ := http.NewRequestWithContext(ctx, http.MethodGet, url+"/events", nil)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if k := resp.Header.Get("Content-Type"); k != "text/event-stream" {
		t.Error(k)
	}
	lines := bufio.NewScanner(resp.Body)
	next := func() (p avisim.Pulse) {
		t.Helper()
		for lines.Scan() {
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				if err := json.Unmarshal([]byte(data), &p); err != nil {
					t.Fatal(err)
				}
				return p
			}
		}
		t.Fatal("the stream ended")
		return p
	}
	first := next()
	populate(t, s, 0, 20)
	n := 0
	p := first
	for p.Counts["UP"] != 20 {
		p = next()
		n++
	}
	if n > 4 || p.Objects == first.Objects {
		t.Errorf("%d events for one burst", n)
	}
	s.Inject(avisim.Fault{Type: "pool", Status: 503})
	for was := p; p.Faults == was.Faults; {
		p = next()
	}
	s.SetServerHealth("10.8.0.1", 80, false, "x")
	for p.Counts["DOWN"] != 1 {
		p = next()
	}
}

// TestManyServices shows that thousands of virtual services don't make a page slow. The browser's test has ten thousand; this one
// runs with the race detector, too.
func TestManyServices(t *testing.T) {
	s, url := start(t)
	populate(t, s, 0, 3000)
	for _, query := range []string{"", "search=s02999", "search=10.8.11&sort=changed", "page=50"} {
		begin := time.Now()
		status, _, raw := do(t, "GET", url+"/services?"+query, "")
		if took := time.Since(begin); status != 200 || took > 5*time.Second || len(raw) > 200_000 {
			t.Errorf("%q: %d, %v, %d bytes", query, status, took, len(raw))
		} else {
			t.Logf("%q: %v, %d bytes", query, took, len(raw))
		}
	}
}
