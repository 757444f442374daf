package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/avi-l4-operator/avi-l4-operator/internal/avisim"
)

func TestControl(t *testing.T) {
	s, err := avisim.New(avisim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	srv := httptest.NewServer(controlHandler(s))
	defer srv.Close()
	for _, tt := range []struct {
		method, path, body string
		status             int
		want               string // in the answer
	}{
		{"POST", "/faults", `{"type":"pool","status":503,"delay":"1ms","count":2,"objectName":"^a"}`, 200, ""},
		{"POST", "/faults", `{"delay":"soon"}`, 400, "soon"},
		{"POST", "/faults", `{"objectName":"("}`, 400, "missing closing"},
		{"POST", "/faults", `{"typ":"pool"}`, 400, "unknown field"},
		{"POST", "/faults/clear", ``, 200, ""},
		{"POST", "/server-health", `{"ip":"10.0.0.1","port":80,"up":false,"reason":"flipped"}`, 200, ""},
		{"POST", "/server-health", `{"ip":"nowhere"}`, 400, "not an address"},
		{"POST", "/service-engine", `{"name":"Avi-se-1","up":false,"reason":"power"}`, 200, ""},
		{"POST", "/service-engine", `{"name":"Avi-se-1","up":true}`, 200, ""},
		{"POST", "/service-engine", `{"name":"nope"}`, 400, "GET /api/serviceengine lists them"},
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
		{"GET", "/requests", ``, 200, ""},
		{"DELETE", "/requests", ``, 200, ""},
		{"GET", "/tree", ``, 200, `"System-SCTP-Proxy"`},
		{"GET", "/ca", ``, 200, "BEGIN CERTIFICATE"},
		{"GET", "/api/pool", ``, 404, ""},
	} {
		r, err := http.NewRequest(tt.method, srv.URL+tt.path, strings.NewReader(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := srv.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		raw, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != tt.status || !strings.Contains(string(raw), tt.want) {
			t.Errorf("%s %s %s: %d %.200s, want %d %q", tt.method, tt.path, tt.body, resp.StatusCode, raw, tt.status, tt.want)
		}
	}
}

func TestFaultDecodes(t *testing.T) {
	var f fault
	in := `{"name":"n","method":"POST","type":"t","route":"/r","tenant":"x","after":1,"count":2,"status":3,"body":"b","header":{"Retry-After":"1"},"resetBefore":true,"resetAfter":true,"expireSessions":true,"hang":true}`
	if err := json.Unmarshal([]byte(in), &f); err != nil {
		t.Fatal(err)
	}
	if !f.ResetBefore || !f.ResetAfter || !f.ExpireSessions || !f.Hang || f.Header["Retry-After"] != "1" || f.After != 1 || f.Count != 2 {
		t.Errorf("%+v", f)
	}
}

func TestNetworkFlag(t *testing.T) {
	for in, ok := range map[string]bool{"a=10.0.0.0/24": true, "a=10.0.0.0/24,10.0.0.5-10.0.0.9": true, "a=fd00::/64": true,
		"10.0.0.0/24": false, "=10.0.0.0/24": false, "a=10.0.0.0": false, "a=10.0.0.0/24,x-y": false, "a=10.0.0.0/24,10.0.0.1": false} {
		var f networkFlags
		if err := f.Set(in); (err == nil) != ok {
			t.Errorf("%s: %v", in, err)
		}
	}
}

func TestRuleFlag(t *testing.T) {
	for in, ok := range map[string]bool{"vs-http=off": true, "unknown-field=on": true, "vs-http": false, "vs-http=no": false, "nope=on": false} {
		var f ruleFlags
		if err := f.Set(in); (err == nil) != ok {
			t.Errorf("%s: %v", in, err)
		}
	}
}
