// SPDX-License-Identifier: Apache-2.0

package avi

import (
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/pki"
)

const (
	testUser     = "operator"
	testPassword = "pa55w0rd-s3cret"
)

// fake is as much of a Controller as the client's own behaviour needs: sessions, and answers that a test lines up.
type fake struct {
	*httptest.Server
	api http.HandlerFunc // everything but login and initial-data, of requests with a valid session

	mu       sync.Mutex
	version  string
	password string
	sessions map[string]string // session id to csrf token
	issued   int
	loginFn  http.HandlerFunc // replaces the login
	requests []string         // "METHOD /path"
	headers  []http.Header
}

func newFake(t testing.TB, api http.HandlerFunc) *fake {
	t.Helper()
	f := &fake{api: api, version: "30.2.1", password: testPassword, sessions: map[string]string{}}
	f.Server = httptest.NewUnstartedServer(f)
	f.Config.ErrorLog = log.New(io.Discard, "", 0) // refused handshakes and aborted handlers are what the tests are about
	f.StartTLS()
	t.Cleanup(f.Close)
	return f
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(strings.NewReader(string(body)))
	f.mu.Lock()
	f.requests = append(f.requests, r.Method+" "+r.URL.Path)
	f.headers = append(f.headers, r.Header.Clone())
	version, loginFn := f.version, f.loginFn
	f.mu.Unlock()
	switch r.URL.Path {
	case "/api/initial-data":
		fmt.Fprintf(w, `{"version":{"Version":%q}}`, version)
	case "/login":
		if loginFn != nil {
			loginFn(w, r)
			return
		}
		f.logIn(w, body)
	case "/logout":
		f.expire()
		reply(w, 200, `{}`)
	default:
		if !f.authorized(r) {
			reply(w, 401, `{"detail":"Authentication credentials were not provided."}`)
			return
		}
		f.api(w, r)
	}
}

func (f *fake) logIn(w http.ResponseWriter, body []byte) {
	var cred struct{ Username, Password, Token string }
	_ = json.Unmarshal(body, &cred)
	f.mu.Lock()
	defer f.mu.Unlock()
	if cred.Username != testUser || cred.Password+cred.Token != f.password {
		reply(w, 401, `{"error":"Invalid credentials"}`)
		return
	}
	f.issued++
	id, csrf := fmt.Sprintf("session-cookie-%d", f.issued), fmt.Sprintf("csrf-token-%d", f.issued)
	f.sessions[id] = csrf
	for name, v := range map[string]string{"sessionid": id, "avi-sessionid": id, "csrftoken": csrf} {
		http.SetCookie(w, &http.Cookie{Name: name, Value: v, Path: "/", Secure: true})
	}
	fmt.Fprintf(w, `{"version":{"Version":%q},"session_cookie_name":"avi-sessionid"}`, f.version)
}

func (f *fake) authorized(r *http.Request) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	c, err := r.Cookie("sessionid")
	if err != nil {
		return false
	}
	csrf, ok := f.sessions[c.Value]
	return ok && (r.Method == http.MethodGet || r.Header.Get("X-CSRFToken") == csrf)
}

// expire ends all sessions.
func (f *fake) expire() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.sessions)
}

func (f *fake) set(fn func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fn()
}

// count returns how many requests came in of that kind, "POST /login".
func (f *fake) count(request string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, r := range f.requests {
		if r == request {
			n++
		}
	}
	return n
}

// ca is the certificate that the fake presents.
func (f *fake) ca() []byte { return pemOf(f.Certificate()) }

func pemOf(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}

func (f *fake) config() Config {
	return Config{
		Host: strings.TrimPrefix(f.URL, "https://"), Username: testUser, Password: testPassword, CA: f.ca(),
		Timeout: 5 * time.Second,
	}
}

func (f *fake) client(t testing.TB, opts ...Option) *Client {
	t.Helper()
	return newClient(t, f.config(), opts...)
}

func newClient(t testing.TB, cfg Config, opts ...Option) *Client {
	t.Helper()
	c, err := New(cfg, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(context.Background()) })
	return c
}

func reply(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

// answerWith is an API that gives the same answer to all.
func answerWith(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { reply(w, status, body) }
}

// clock is a time that tests move.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// logs collects all log lines, of all levels.
type logs struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logs) logger() logr.Logger {
	return funcr.New(func(prefix, args string) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.b.WriteString(prefix + " " + args + "\n")
	}, funcr.Options{Verbosity: 10})
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// metric returns the value of a counter or gauge, summed over the series that have the given labels.
func metric(t testing.TB, reg *prometheus.Registry, name string, labels map[string]string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var sum float64
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
	series:
		for _, m := range f.GetMetric() {
			have := map[string]string{}
			for _, l := range m.GetLabel() {
				have[l.GetName()] = l.GetValue()
			}
			for k, v := range labels {
				if have[k] != v {
					continue series
				}
			}
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return sum
}

// noLeak fails the test if it ends with more goroutines than it began with. Call it first.
func noLeak(t *testing.T) {
	t.Helper()
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		deadline := time.Now().Add(5 * time.Second)
		for runtime.NumGoroutine() > before {
			if time.Now().After(deadline) {
				buf := make([]byte, 1<<20)
				t.Errorf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	})
}

// wantReason fails the test unless err is an *Error of that reason.
func wantReason(t testing.TB, err error, want Reason) {
	t.Helper()
	if got := ReasonOf(err); got != want {
		t.Fatalf("reason %q, want %q; error: %v", got, want, err)
	}
}

// newFakeCA returns a certificate that has signed nothing in use.
func newFakeCA(t testing.TB) []byte {
	t.Helper()
	ca, err := pki.NewAuthority(pkix.Name{CommonName: "other"}, time.Now(), time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	return ca.CertPEM
}
