// SPDX-License-Identifier: Apache-2.0

package avisim

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/doc"
)

// TestConcurrentClients writes, reads, injects and edits at once, for the race detector, and checks the result.
func TestConcurrentClients(t *testing.T) {
	s := start(t, Options{})
	var wg sync.WaitGroup
	for w := range 6 {
		wg.Go(func() {
			c := newClient(t, s)
			r, err := c.try("POST", "/login", obj{"username": "admin", "password": "avi123$%"})
			if err != nil || r.status != 200 {
				t.Errorf("login %d %v", r.status, err)
				return
			}
			for _, k := range r.header.Values("Set-Cookie") {
				if v, ok := strings.CutPrefix(k, "csrftoken="); ok {
					c.csrf, _, _ = strings.Cut(v, ";")
				}
			}
			for i := range 10 {
				name := fmt.Sprintf("n%d-%d", w, i)
				for _, q := range []struct {
					method, path string
					body         any
					status       int
				}{
					{"POST", "/api/vsvip", vsvipBody(name), 201}, {"POST", "/api/pool", poolBody(name, "10.20.0.1"), 201},
					{"POST", "/api/l4policyset", policyBody(name, name), 201}, {"POST", "/api/virtualservice", vsBody(name, name, name), 201},
					{"GET", "/api/virtualservice-inventory?include_name&page_size=200", nil, 200}, {"GET", "/api/pool?created_by=x&search=n", nil, 200},
				} {
					if r, err := c.try(q.method, q.path, q.body); err != nil || r.status != q.status {
						t.Errorf("%s %s: %d %s %v", q.method, q.path, r.status, r.raw, err)
					}
				}
			}
		})
	}
	wg.Go(func() {
		for i := range 15 {
			s.Inject(Fault{Type: "no-such-type", Status: 500})()
			s.SetServerHealth("10.20.0.1", 30100, i%2 == 0, "flap")
			_ = s.Edit("pool", "admin", "n0-0", func(m map[string]any) { m["description"] = fmt.Sprint(i) }) // may not be there yet
			_, _, _ = s.Requests(), s.Counters(), s.Tree()
		}
	})
	wg.Wait()
	if n := len(s.Objects("virtualservice")); n != 60 {
		t.Errorf("%d virtual services", n)
	}
	consistent(t, s)
}

// BenchmarkCreateService makes whole services (four POSTs each) over HTTP.
func BenchmarkCreateService(b *testing.B) {
	_, c := signedIn(b, Options{OmitBodies: true})
	i := 0
	for b.Loop() {
		c.service(fmt.Sprintf("s%d", i), "10.20.1.1")
		i++
	}
	b.ReportMetric(float64(4*i)/b.Elapsed().Seconds(), "requests/s")
}

// BenchmarkBulkLoad reads 10,000 virtual services in pages of 200.
func BenchmarkBulkLoad(b *testing.B) {
	s, c := signedIn(b, Options{OmitBodies: true})
	for i := range 10_000 {
		n := fmt.Sprintf("s%d", i)
		for _, o := range []struct {
			typ  string
			body obj
		}{{"vsvip", vsvipBody(n)}, {"pool", poolBody(n, "10.20.1.1")}, {"l4policyset", policyBody(n, n)}, {"virtualservice", vsBody(n, n, n)}} {
			if _, err := s.Create(o.typ, "admin", o.body); err != nil {
				b.Fatal(err)
			}
		}
	}
	for b.Loop() {
		for path := "/api/virtualservice?created_by=ako-test&page_size=200&include_name"; path != ""; {
			r := c.want(200, "GET", path, nil)
			path = strings.TrimPrefix(doc.Str(r.body, "next"), "https://"+s.Host())
		}
	}
}
