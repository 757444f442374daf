// SPDX-License-Identifier: Apache-2.0

package avisim_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/cookiejar"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim"
)

// start starts a server for an example.
func start() *avisim.Server {
	s, err := avisim.New(avisim.Options{})
	if err != nil {
		log.Fatal(err)
	}
	if err := s.Start(); err != nil {
		log.Fatal(err)
	}
	return s
}

// client trusts the server's certificate and keeps its cookies.
func client(s *avisim.Server) *http.Client {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.CAPEM())
	jar, err := cookiejar.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	return &http.Client{Jar: jar, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
}

// send sends one request and returns its status.
func send(c *http.Client, s *avisim.Server, method, path, token, body string) int {
	r, err := http.NewRequest(method, "https://"+s.Host()+path, bytes.NewBufferString(body))
	if err != nil {
		log.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Avi-Version", "30.2.1")
	r.Header.Set("X-CSRFToken", token)
	r.Header.Set("Referer", "https://"+s.Host())
	resp, err := c.Do(r)
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		log.Fatal(err)
	}
	return resp.StatusCode
}

// login signs in and returns the CSRF token, which writes have to bring.
func login(c *http.Client, s *avisim.Server) (token string) {
	send(c, s, "POST", "/login", "", `{"username":"admin","password":"avi123$%"}`)
	r, err := http.NewRequest("GET", "https://"+s.Host()+"/", nil)
	if err != nil {
		log.Fatal(err)
	}
	for _, k := range c.Jar.Cookies(r.URL) {
		if k.Name == "csrftoken" {
			token = k.Value
		}
	}
	return token
}

// A server listens on a free port of loopback, with a certificate of its own CA. Another administrator's work needs no session.
func ExampleNew() {
	s, err := avisim.New(avisim.Options{Version: "30.2.1"})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	if err := s.Start(); err != nil {
		log.Fatal(err)
	}
	if _, err := s.Create("pool", "admin", map[string]any{"name": "amf", "default_server_port": 38412}); err != nil {
		log.Fatal(err)
	}
	pool, found := s.Object("pool", "admin", "amf")
	fmt.Println(found, pool["default_server_port"], pool["enabled"])
	// Output: true 38412 true
}

// A client logs in and creates an object, as it does on a Controller.
func ExampleServer() {
	s := start()
	defer s.Close()
	c := client(s)
	token := login(c, s)
	fmt.Println(send(c, s, "POST", "/api/vsvip", token, `{"name":"amf","vip":[{"vip_id":"0","auto_allocate_ip":true}]}`))

	vip, _ := s.Object("vsvip", "admin", "amf")
	first := vip["vip"].([]any)[0].(map[string]any)
	fmt.Println(first["ip_address"].(map[string]any)["addr"])
	// Output:
	// 201
	// 10.10.0.10
}

// A fault strikes the requests that meet its conditions: here the first PATCH of a pool.
func ExampleServer_inject() {
	s := start()
	defer s.Close()
	if _, err := s.Create("pool", "admin", map[string]any{"name": "amf", "uuid": "pool-1"}); err != nil {
		log.Fatal(err)
	}
	s.Inject(avisim.Fault{Method: "PATCH", Type: "pool", Count: 1, Status: http.StatusServiceUnavailable})

	c := client(s)
	token := login(c, s)
	for range 2 {
		fmt.Println(send(c, s, "PATCH", "/api/pool/pool-1", token, `{"replace":{"enabled":false}}`))
	}
	fmt.Println(s.FaultHits(), "fault struck")
	// Output:
	// 503
	// 200
	// 1 fault struck
}

// The log has every request, with its secrets masked.
func ExampleServer_requests() {
	s := start()
	defer s.Close()
	c := client(s)
	token := login(c, s)
	send(c, s, "GET", "/api/pool?name=amf", token, "")
	send(c, s, "POST", "/api/pool", token, `{"name":"amf"}`)

	for _, r := range s.Requests() {
		fmt.Println(r.Method, r.Route, r.Status)
	}
	fmt.Println(string(s.Requests()[0].Body))
	fmt.Println("writes:", len(s.Writes()))
	fmt.Println("unexpected:", len(s.Unexpected("POST /login", "* /api/pool")))
	// Output:
	// POST /login 200
	// GET /api/pool 200
	// POST /api/pool 201
	// {"password":"********","username":"admin"}
	// writes: 1
	// unexpected: 0
}

// A script is a timeline of faults. What a mistake in one is about is said with its line.
func ExampleParseScript() {
	_, err := avisim.ParseScript([]byte("steps:\n- after: 2s\n  do: {effect: latency, dely: 3s}\n"))
	fmt.Println(err)

	sc, err := avisim.ParseScript([]byte("steps:\n- on: {method: PATCH, type: pool, nth: 2}\n  do: {effect: reset-after}\n"))
	fmt.Println(sc.Len(), err)
	// Output:
	// line 3: effect latency has no parameter "dely"; it has: delay, jitter
	// 1 <nil>
}
