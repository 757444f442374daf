// SPDX-License-Identifier: Apache-2.0

package avisim

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"strings"
	"testing"
	"time"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/doc"
)

// client speaks HTTP to a Server as a plain Avi client would.
type client struct {
	t       testing.TB
	server  *Server
	http    *http.Client
	csrf    string
	tenant  string
	version string
}

// response is an answer with its body read.
type response struct {
	status int
	header http.Header
	raw    string
	proto  int
	body   map[string]any
}

func start(t testing.TB, o Options) *Server {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func newClient(t testing.TB, s *Server) *client {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(s.CAPEM()) {
		t.Fatal("no CA")
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	t.Cleanup(transport.CloseIdleConnections)
	return &client{t: t, server: s, version: "30.2.1", http: &http.Client{Transport: transport, Jar: jar, Timeout: 10 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { t.Error("redirected"); return http.ErrUseLastResponse }}}
}

// signedIn returns a client with a session, on a new server.
func signedIn(t testing.TB, o Options) (*Server, *client) {
	t.Helper()
	s := start(t, o)
	c := newClient(t, s)
	c.login()
	return s, c
}

func (c *client) login() {
	c.t.Helper()
	r := c.do("POST", "/login", map[string]any{"username": "admin", "password": "avi123$%"})
	if r.status != 200 {
		c.t.Fatalf("login: %d %s", r.status, r.raw)
	}
	for _, k := range r.header.Values("Set-Cookie") {
		if v, ok := strings.CutPrefix(k, "csrftoken="); ok {
			c.csrf, _, _ = strings.Cut(v, ";")
		}
	}
}

// try sends one request; body may be nil, a string that goes as it is, or anything that JSON can write.
func (c *client) try(method, path string, body any) (response, error) {
	var in io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		in = strings.NewReader(b)
	default:
		j, err := json.Marshal(b)
		if err != nil {
			c.t.Fatal(err)
		}
		in = bytes.NewReader(j)
	}
	r, err := http.NewRequest(method, "https://"+c.server.Host()+path, in)
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	for k, v := range map[string]string{"X-Avi-Version": c.version, "X-Avi-Tenant": c.tenant, "X-CSRFToken": c.csrf} {
		if v != "" {
			r.Header.Set(k, v)
		}
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return response{}, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return response{}, err
	}
	out := response{proto: resp.ProtoMajor, status: resp.StatusCode, header: resp.Header, raw: string(raw)}
	_ = json.Unmarshal(raw, &out.body) // some answers are not JSON, and their tests look at raw
	return out, nil
}

func (c *client) do(method, path string, body any) response {
	c.t.Helper()
	r, err := c.try(method, path, body)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	return r
}

// want sends a request and insists on the status.
func (c *client) want(status int, method, path string, body any) response {
	c.t.Helper()
	r := c.do(method, path, body)
	if r.status != status {
		c.t.Fatalf("%s %s: %d %s, want %d", method, path, r.status, r.raw, status)
	}
	return r
}

func (r response) uuid() string { return doc.Str(r.body, "uuid") }

type obj = map[string]any

// The bodies of a whole SCTP service, as a client sends them.

func vsvipBody(name string) obj {
	return obj{"name": name, "cloud_ref": "/api/cloud?name=Default-Cloud", "tenant_ref": "/api/tenant/?name=admin",
		"vrf_context_ref": "/api/vrfcontext?name=global", "vip": []obj{{"vip_id": "0", "auto_allocate_ip": true}}}
}

func poolBody(name string, ips ...string) obj {
	servers := []obj{}
	for _, ip := range ips {
		servers = append(servers, obj{"ip": obj{"addr": ip, "type": "V4"}, "port": 30100, "enabled": true})
	}
	return obj{"name": name, "cloud_ref": "/api/cloud?name=Default-Cloud", "vrf_ref": "/api/vrfcontext?name=global",
		"health_monitor_refs": []string{"/api/healthmonitor/?name=System-SCTP"}, "servers": servers}
}

func policyBody(name, pool string) obj {
	return obj{"name": name, "l4_connection_policy": obj{"rules": []obj{{"name": "r0", "index": 0,
		"match": obj{"port": obj{"match_criteria": "IS_IN", "ports": []int{38412}}, "protocol": obj{"match_criteria": "IS_IN",
			"protocol": "PROTOCOL_SCTP"}},
		"action": obj{"select_pool": obj{"action_type": "L4_RULE_ACTION_SELECT_POOL", "pool_ref": "/api/pool?name=" + pool}}}}}}
}

func vsBody(name, vip, policy string) obj {
	return obj{"name": name, "cloud_ref": "/api/cloud?name=Default-Cloud", "vsvip_ref": "/api/vsvip/?name=" + vip,
		"application_profile_ref": "/api/applicationprofile/?name=System-L4-Application",
		"network_profile_ref":     "/api/networkprofile/?name=System-SCTP-Proxy",
		"se_group_ref":            "/api/serviceenginegroup?name=Default-Group",
		"services":                []obj{{"port": 38412, "enable_ssl": false}},
		"l4_policies":             []obj{{"index": 0, "l4_policy_set_ref": "/api/l4policyset/?name=" + policy}},
		"created_by":              "ako-test", "error_page_profile_ref": ""}
}

// service creates a whole SCTP service called name and returns the uuids by type.
func (c *client) service(name string, ips ...string) map[string]string {
	c.t.Helper()
	return map[string]string{
		"vsvip":          c.want(201, "POST", "/api/vsvip", vsvipBody(name)).uuid(),
		"pool":           c.want(201, "POST", "/api/pool", poolBody(name, ips...)).uuid(),
		"l4policyset":    c.want(201, "POST", "/api/l4policyset", policyBody(name, name)).uuid(),
		"virtualservice": c.want(201, "POST", "/api/virtualservice", vsBody(name, name, name)).uuid(),
	}
}
