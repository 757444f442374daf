// SPDX-License-Identifier: Apache-2.0

package avi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	release "github.com/avi-l4-operator/avi-l4-operator/internal/version"
)

var ctx = context.Background()

const poolUUID = "pool-2bd0ab6b-5f74-4ab5-b8a2-47b3f1d0c8a1"

func TestCalls(t *testing.T) {
	type seen struct{ method, uri, tenant, version, ua, body string }
	var got seen
	agent := "avi-l4-operator/" + release.Number()
	f := newFake(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		h := r.Header
		got = seen{r.Method, r.RequestURI, h.Get("X-Avi-Tenant"), h.Get("X-Avi-Version"), h.Get("X-Avi-UserAgent"), string(body)}
		if r.Header.Get("Referer") == "" || r.Header.Get("User-Agent") != agent {
			t.Errorf("headers: %v", r.Header)
		}
		switch r.Method {
		case http.MethodDelete:
			w.WriteHeader(http.StatusNoContent)
		case http.MethodPost:
			reply(w, 201, `{"uuid":"x"}`)
		default:
			reply(w, 200, ` {"uuid":"x"}`+"\n")
		}
	})
	c := f.client(t)
	for name, tt := range map[string]struct {
		call func() (json.RawMessage, error)
		want seen
	}{
		"create": {
			func() (json.RawMessage, error) {
				return c.Create(ctx, model.Pool, "", map[string]string{"name": "p"})
			},
			seen{"POST", "/api/pool", "admin", "30.2.1", agent, `{"name":"p"}`},
		},
		"patch": {
			func() (json.RawMessage, error) {
				return c.Patch(ctx, model.Pool, "t1", poolUUID, Patch{Replace: map[string]any{"enabled": true}, Delete: map[string]any{"markers": nil}})
			},
			seen{"PATCH", "/api/pool/" + poolUUID, "t1", "30.2.1", agent, `{"replace":{"enabled":true},"delete":{"markers":null}}`},
		},
		"put": {
			func() (json.RawMessage, error) {
				return c.Put(ctx, model.Pool, "t1", poolUUID, map[string]int{"n": 1})
			},
			seen{"PUT", "/api/pool/" + poolUUID, "t1", "30.2.1", agent, `{"n":1}`},
		},
		"delete": {
			func() (json.RawMessage, error) {
				return json.RawMessage(`{"uuid":"x"}`), c.Delete(ctx, model.Pool, "t1", poolUUID)
			},
			seen{"DELETE", "/api/pool/" + poolUUID, "t1", "30.2.1", agent, ""},
		},
		"get": {
			func() (json.RawMessage, error) {
				return c.Get(ctx, "*", "/api/virtualservice-inventory", url.Values{"name": {"a b&c"}})
			},
			seen{"GET", "/api/virtualservice-inventory?name=a+b%26c", "*", "30.2.1", agent, ""},
		},
		"a name that ends in login keeps its session": {
			func() (json.RawMessage, error) { return c.Get(ctx, "", "/api/pool", url.Values{"name": {"my-login"}}) },
			seen{"GET", "/api/pool?name=my-login&", "admin", "30.2.1", agent, ""},
		},
	} {
		t.Run(name, func(t *testing.T) {
			raw, err := tt.call()
			if err != nil || string(raw) != `{"uuid":"x"}` {
				t.Fatalf("%s, %v", raw, err)
			}
			if got != tt.want {
				t.Errorf("\n got %+v\nwant %+v", got, tt.want)
			}
		})
	}
	if n := f.count("POST /login"); n != 1 {
		t.Errorf("%d logins", n)
	}
}

func TestArgumentsRefusedBeforeSending(t *testing.T) {
	f := newFake(t, answerWith(200, `{}`))
	c := f.client(t)
	for name, call := range map[string]func() error{
		"empty uuid":        func() error { return c.Delete(ctx, model.Pool, "", "") },
		"uuid with a slash": func() error { return c.Delete(ctx, model.Pool, "", "a/b") },
		"no kind":           func() error { return c.Delete(ctx, "", "", poolUUID) },
		"empty patch":       func() error { _, err := c.Patch(ctx, model.Pool, "", poolUUID, Patch{}); return err },
		"nil body":          func() error { _, err := c.Create(ctx, model.Pool, "", nil); return err },
		"body not json":     func() error { _, err := c.Create(ctx, model.Pool, "", make(chan int)); return err },
		"path not api":      func() error { _, err := c.Get(ctx, "", "/logout", nil); return err },
		"path with query":   func() error { _, err := c.Get(ctx, "", "/api/pool?name=x", nil); return err },
		"path upwards":      func() error { _, err := c.Get(ctx, "", "/api/pool/../../x y", nil); return err },
		"tenant":            func() error { _, err := c.Get(ctx, "a\nb", "/api/pool", nil); return err },
		"empty name":        func() error { _, err := c.GetByName(ctx, model.Pool, "", "", nil); return err },
	} {
		err := call()
		if ReasonOf(err) != ReasonInvalid || ClassOf(err) != Terminal || Ambiguous(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(f.requests) != 0 {
		t.Errorf("sent %v", f.requests)
	}
}

func TestConfigRefused(t *testing.T) {
	good := Config{Host: "avi.example", Username: "u", Password: "p"}
	for name, spoil := range map[string]func(*Config){
		"no host":        func(c *Config) { c.Host = "" },
		"url as host":    func(c *Config) { c.Host = "https://avi.example" },
		"no user":        func(c *Config) { c.Username = "" },
		"no secret":      func(c *Config) { c.Password = "" },
		"ca without pem": func(c *Config) { c.CA = []byte("nonsense") },
		"version":        func(c *Config) { c.Version = "new" },
		"concurrency":    func(c *Config) { c.Concurrency = -1 },
		"tenant":         func(c *Config) { c.Tenant = "a\r\nb" },
		"port":           func(c *Config) { c.Host = "avi.example:port" },
	} {
		cfg := good
		spoil(&cfg)
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	c, err := New(good)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Reconfigure(Config{}); err == nil || c.ep.Load().cfg.Host != "avi.example" {
		t.Errorf("bad configuration taken over, or no error: %v", err)
	}
}

func TestVersionIsPinnedToTheLower(t *testing.T) {
	for _, tt := range []struct{ controller, configured, want string }{
		{"22.1.3", "", "22.1.3"},
		{"22.1.3-2p5", "", "22.1.3"},
		{"31.1.1", "", DefaultVersion},
		{"31.1.1", "31.1.1", "31.1.1"},
		{"31.3.1", "", DefaultVersion},
		{"31.3.1", "31.3.1", MaxVersion}, // as AKO's documentation has users write it
		{"30.2.1", "31.3.1", "30.2.1"},
		{"31.1.1", "22.1.10", "22.1.10"},
		{"22.1.9", "22.1.10", "22.1.9"},
		{"31.1.1", "31.1", "31.1"},
	} {
		t.Run(tt.controller+" "+tt.configured, func(t *testing.T) {
			f := newFake(t, answerWith(200, `{}`))
			f.version = tt.controller
			cfg := f.config()
			cfg.Version = tt.configured
			c := newClient(t, cfg)
			if c.APIVersion() != "" {
				t.Error("a version before the first call")
			}
			if v, err := c.Version(ctx); err != nil || v != tt.controller {
				t.Errorf("%q, %v", v, err)
			}
			if _, err := c.Get(ctx, "", "/api/pool", nil); err != nil {
				t.Fatal(err)
			}
			if got := f.headers[len(f.headers)-1].Get("X-Avi-Version"); got != tt.want || c.APIVersion() != tt.want {
				t.Errorf("sent %q, APIVersion %q, want %q", got, c.APIVersion(), tt.want)
			}
			if f.headers[0].Get("X-Avi-Version") != "" || f.headers[0].Get("Cookie") != "" {
				t.Error("initial-data is asked for with a version or a session")
			}
			if n := f.count("GET /api/initial-data"); n != 1 {
				t.Errorf("asked %d times", n)
			}
		})
	}
}

// TestVersionTooNewIsSaid: that another version is used than the configured one has to be found in the log.
func TestVersionTooNewIsSaid(t *testing.T) {
	for version, want := range map[string]bool{"": false, "30.2.1": false, MaxVersion: false, "31.3.1": true, "99.1.1": true} {
		f := newFake(t, answerWith(200, `{}`))
		var log strings.Builder
		cfg := f.config()
		cfg.Version = version
		newClient(t, cfg, WithLogger(funcr.New(func(_, args string) { log.WriteString(args) }, funcr.Options{})))
		if said := strings.Contains(log.String(), "newer than what this operator knows"); said != want {
			t.Errorf("version %q: said %v, want %v: %s", version, said, want, log.String())
		}
	}
}

func TestVersionFollowsTheController(t *testing.T) {
	var f *fake
	f = newFake(t, func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if r.Header.Get("X-Avi-Version") != f.version {
			reply(w, 400, `{"error":"Invalid version"}`)
			return
		}
		reply(w, 200, `{}`)
	})
	c := f.client(t)
	get := func() error { _, err := c.Get(ctx, "", "/api/pool", nil); return err }
	if err := get(); err != nil {
		t.Fatal(err)
	}
	f.set(func() { f.version = "22.1.3" }) // rolled back, the session survives
	wantReason(t, get(), ReasonVersion)
	if err := get(); err != nil || c.APIVersion() != "22.1.3" {
		t.Fatalf("%v, version %q", err, c.APIVersion())
	}
	f.set(func() { f.version = "22.1.7" }) // upgraded, and restarted as it does: the login reports it
	f.expire()
	if err := get(); ReasonOf(err) != ReasonVersion {
		t.Fatal(err)
	}
	if err := get(); err != nil || c.APIVersion() != "22.1.7" {
		t.Fatalf("%v, version %q", err, c.APIVersion())
	}
	if n := f.count("GET /api/initial-data"); n != 2 {
		t.Errorf("initial-data read %d times, want 2: at the start and after the refusal", n)
	}
}

// TestVersionIsAskedForAgain: a release that changes while sessions go on is noticed by who asks for it, and an answer that fails changes
// nothing.
func TestVersionIsAskedForAgain(t *testing.T) {
	f := newFake(t, answerWith(200, `{}`))
	f.version = "22.1.3"
	clk := newClock()
	c := f.client(t, WithClock(clk.now))
	later := func() { clk.advance(versionFresh) }
	ask := func(want, api string) {
		t.Helper()
		if v, err := c.Version(ctx); err != nil || v != want || c.APIVersion() != api {
			t.Errorf("version %q, %v, want %q; API %q, want %q", v, err, want, c.APIVersion(), api)
		}
	}
	ask("22.1.3", "22.1.3")
	f.set(func() { f.version = "30.2.1" })
	ask("22.1.3", "22.1.3") // a moment ago is good enough
	later()
	ask("30.2.1", "30.2.1")
	later()
	f.set(func() { f.version = "" })
	ask("30.2.1", "30.2.1")
	if n := f.count("GET /api/initial-data"); n != 3 {
		t.Errorf("initial-data read %d times, want 3", n)
	}
}

func TestGetByName(t *testing.T) {
	for name, tt := range map[string]struct {
		answer string
		want   Reason
	}{
		"one":                {`{"count":1,"results":[{"name":"a b","uuid":"1"}]}`, ""},
		"none":               {`{"count":0,"results":[]}`, ReasonNotFound},
		"two":                {`{"count":2,"results":[{"name":"a b"},{"name":"a b"}]}`, ReasonNotUnique},
		"filter ignored":     {`{"count":3,"results":[{"name":"x"},{"name":"a b","uuid":"1"},{"name":"y"}]}`, ""},
		"another":            {`{"count":1,"results":[{"name":"x"}]}`, ReasonBadAnswer},
		"no count":           {`{"results":[]}`, ReasonBadAnswer},
		"no results":         {`{"count":0}`, ReasonBadAnswer},
		"an empty object":    {`{}`, ReasonBadAnswer},
		"a page of a portal": {`<html>Please log in</html>`, ReasonBadAnswer},
	} {
		t.Run(name, func(t *testing.T) {
			var uri string
			f := newFake(t, func(w http.ResponseWriter, r *http.Request) {
				uri = r.RequestURI
				reply(w, 200, tt.answer)
			})
			raw, err := f.client(t).GetByName(ctx, model.Pool, "t", "a b", url.Values{"cloud_ref.name": {"c1"}})
			wantReason(t, err, tt.want)
			if uri != "/api/pool?cloud_ref.name=c1&name=a+b" {
				t.Error(uri)
			}
			if tt.want == "" && identify(raw) != (identity{UUID: "1", Name: "a b"}) {
				t.Errorf("%s", raw)
			}
		})
	}
}

func TestDeleteOfWhatIsGone(t *testing.T) {
	for name, tt := range map[string]struct {
		status int
		body   string
		want   Reason
		list   string
	}{
		"by the controller": {404, `{"error":"Pool object not found!"}`, "", `{"count":0,"results":[]}`},
		"and listed": {404, `{"error":"Pool object not found!"}`, ReasonBadAnswer,
			`{"count":1,"results":[{"uuid":"` + poolUUID + `","name":"p"}]}`},
		"among others":        {404, `{"error":"Pool object not found!"}`, "", `{"count":1,"results":[{"uuid":"another","name":"p"}]}`},
		"as everything is":    {404, `{"error":"Pool object not found!"}`, ReasonBadAnswer, ""},
		"by a proxy":          {404, `<html><title>404 Not Found</title></html>`, ReasonNoEndpoint, ""},
		"by nobody":           {404, ``, ReasonNoEndpoint, ""},
		"the tenant is":       {404, `{"error":"Tenant 'x' does not exist!"}`, ReasonTenantMissing, ""},
		"still referred to":   {403, `{"error":"Cannot delete, object is referred by: ['VirtualService v']"}`, ReasonReferred, ""},
		"referred, as a 400":  {400, `{"error":"Cannot delete, object is referred by: [VCenterServer v]"}`, ReasonReferred, ""},
		"belongs to Avi":      {403, `{"error":"Cannot delete system default object"}`, ReasonForbidden, ""},
		"method not possible": {405, `{"detail":"Method 'DELETE' not allowed."}`, ReasonInvalid, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/api/pool" && tt.list != "" {
					reply(w, 200, tt.list)
					return
				}
				reply(w, tt.status, tt.body)
			})
			wantReason(t, f.client(t).Delete(ctx, model.Pool, "x", poolUUID), tt.want)
		})
	}
}

func TestConcurrencyLimit(t *testing.T) {
	noLeak(t)
	var now, most atomic.Int32
	f := newFake(t, func(w http.ResponseWriter, _ *http.Request) {
		n := now.Add(1)
		defer now.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		time.Sleep(10 * time.Millisecond)
		reply(w, 200, `{}`)
	})
	cfg := f.config()
	cfg.Concurrency = 3
	c := newClient(t, cfg)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := c.Get(ctx, "", "/api/pool", nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if m := most.Load(); m != 3 {
		t.Errorf("%d calls at a time, want 3", m)
	}
}

func TestRateLimit(t *testing.T) {
	f := newFake(t, answerWith(200, `{}`))
	cfg := f.config()
	cfg.QPS, cfg.Burst = 0.001, 1
	c := newClient(t, cfg)
	if _, err := c.Get(ctx, "", "/api/pool", nil); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	start := time.Now()
	_, err := c.Create(short, model.Pool, "", struct{}{})
	wantReason(t, err, ReasonTimeout)
	if Ambiguous(err) || time.Since(start) > 500*time.Millisecond {
		t.Errorf("ambiguous %t after %s", Ambiguous(err), time.Since(start))
	}
}

func TestMetrics(t *testing.T) {
	f := newFake(t, answerWith(404, `{"error":"Pool object not found!"}`))
	reg := prometheus.NewPedanticRegistry()
	c := f.client(t, WithRegisterer(reg))
	other := f.client(t, WithRegisterer(reg)) // shares the collectors
	for range 3 {
		_ = c.Delete(ctx, model.Pool, "", poolUUID)
		_, _ = other.Get(ctx, "", "/api/pool/"+poolUUID+"/runtime/server/detail", nil)
	}
	for name, tt := range map[string]struct {
		labels map[string]string
		want   float64
	}{
		"avi_l4_api_requests_total":           {map[string]string{"method": "DELETE", "route": "/api/pool/{uuid}", "code": "404"}, 3},
		"avi_l4_api_request_duration_seconds": {map[string]string{"method": "GET", "kind": "pool"}, 9}, // a delete's 404 is checked by a read and a list
		"avi_l4_api_logins_total":             {map[string]string{"result": "success"}, 2},
	} {
		if got := metric(t, reg, name, tt.labels); got != tt.want {
			t.Errorf("%s%v = %g, want %g", name, tt.labels, got, tt.want)
		}
	}
}

func TestCloseLogsOut(t *testing.T) {
	noLeak(t)
	f := newFake(t, answerWith(200, `{}`))
	c := f.client(t)
	if _, err := c.Get(ctx, "", "/api/pool", nil); err != nil {
		t.Fatal(err)
	}
	c.Close(ctx)
	c.Close(ctx)
	if n := f.count("POST /logout"); n != 1 {
		t.Errorf("%d logouts", n)
	}
	_, err := c.Get(ctx, "", "/api/pool", nil)
	wantReason(t, err, ReasonCanceled)
	if err := c.Reconfigure(Config{Host: "b", Username: "u", Password: "p"}); err == nil {
		t.Error("a closed client can be configured")
	}
}

// Whatever goes wrong, neither log nor errors hold what we log in with or what the login brought, and the SDK's logger
// writes neither to stderr nor into files.
func TestSecretsStaySecret(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	stderr, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	saved := os.Stderr
	os.Stderr = stderr
	defer func() { os.Stderr = saved }()

	var mode atomic.Int32
	f := newFake(t, nil)
	f.api = func(w http.ResponseWriter, r *http.Request) {
		switch mode.Load() {
		case 0: // echoes all that it was sent
			reply(w, 400, fmt.Sprintf(`{"error":"cookies %s, token %s, password %s"}`, r.Header.Get("Cookie"), r.Header.Get("X-CSRFToken"), testPassword))
		case 1:
			panic(http.ErrAbortHandler)
		case 2:
			reply(w, 419, `{"error":"Need to switch session"}`)
		case 3:
			reply(w, 500, r.Header.Get("Cookie"))
		}
	}
	var l logs
	c := f.client(t, WithLogger(l.logger()))
	text := fmt.Sprintf("%v %+v %#v", f.config(), f.config(), f.config())
	for m := range int32(4) {
		mode.Store(m)
		_, err := c.Create(ctx, model.Pool, "", map[string]string{"name": "x"})
		if err == nil {
			t.Fatal("no error")
		}
		text += fmt.Sprintf("%v %+v %#v\n", err, err, err.(*Error).Message)
	}
	bad := f.config()
	bad.Password = "wrong-" + testPassword
	if err := c.Reconfigure(bad); err != nil {
		t.Fatal(err)
	}
	_, err = c.Get(ctx, "", "/api/pool", nil)
	wantReason(t, err, ReasonCredentials)
	text += err.Error() + l.String()
	f.CloseClientConnections()
	f.Listener.Close()
	_, err = c.Get(ctx, "", "/api/pool", nil)
	text += err.Error() + l.String()

	for _, secret := range []string{testPassword, "session-cookie-", "csrf-token-"} {
		if strings.Contains(text, secret) {
			t.Errorf("%q in\n%s", secret, text)
		}
	}
	if !strings.Contains(text, "[redacted]") || !strings.Contains(l.String(), "Logged in") {
		t.Errorf("nothing to look at: %s", text)
	}
	if files, _ := os.ReadDir(temp); len(files) > 0 {
		t.Errorf("files in $TMPDIR: %v", files)
	}
	if out, _ := os.ReadFile(stderr.Name()); len(out) > 0 {
		t.Errorf("the SDK's logger is not replaced (go.mod: replace github.com/golang/glog => ./internal/avi/glog), it wrote:\n%s", out)
	}
}

func TestReconfigure(t *testing.T) {
	noLeak(t)
	a, b := newFake(t, answerWith(200, `{"is":"a"}`)), newFake(t, answerWith(200, `{"is":"b"}`))
	b.version = "22.1.3"
	c := a.client(t)
	changed := 0
	unsubscribe := c.Subscribe(func() { changed++ })
	get := func(want string) {
		t.Helper()
		raw, err := c.Get(ctx, "", "/api/pool", nil)
		if err != nil || string(raw) != want {
			t.Fatalf("%s, %v", raw, err)
		}
	}
	get(`{"is":"a"}`)
	if err := c.Reconfigure(a.config()); err != nil || changed != 0 {
		t.Fatalf("the same configuration is a change: %v, %d", err, changed)
	}
	get(`{"is":"a"}`)
	if n := a.count("POST /login"); n != 1 {
		t.Errorf("%d logins", n)
	}
	if err := c.Reconfigure(b.config()); err != nil || changed != 1 {
		t.Fatalf("%v, %d changes", err, changed)
	}
	if v := c.APIVersion(); v != "" {
		t.Errorf("version %q of another Controller", v)
	}
	get(`{"is":"b"}`)
	if v := c.APIVersion(); v != "22.1.3" {
		t.Errorf("version %q", v)
	}
	unsubscribe()
	if err := c.Reconfigure(a.config()); err != nil || changed != 1 {
		t.Fatalf("%v, %d changes", err, changed)
	}
}

// Calls that wait for a slot, or for a login that never ends, move to the new Controller.
func TestReconfigureMovesWaitingCalls(t *testing.T) {
	noLeak(t)
	arrived, release := make(chan struct{}, 8), make(chan struct{})
	a, b := newFake(t, nil), newFake(t, answerWith(200, `{"is":"b"}`))
	a.loginFn = func(http.ResponseWriter, *http.Request) {
		arrived <- struct{}{}
		<-release
	}
	defer close(release)
	cfg := a.config()
	cfg.Concurrency = 1
	c := newClient(t, cfg)
	results := make(chan string, 3)
	for range 3 {
		go func() {
			raw, err := c.Create(ctx, model.Pool, "", struct{}{})
			results <- fmt.Sprint(string(raw), err)
		}()
	}
	<-arrived
	if err := c.Reconfigure(b.config()); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if r := <-results; r != `{"is":"b"}<nil>` {
			t.Error(r)
		}
	}
}

func TestCAVerification(t *testing.T) {
	f := newFake(t, answerWith(200, `{}`))
	get := func(c *Client) error { _, err := c.Get(ctx, "", "/api/pool", nil); return err }

	other := newFakeCA(t)
	for name, ca := range map[string][]byte{"a wrong ca": other, "the system's roots": nil} {
		cfg := f.config()
		cfg.CA = ca
		c := newClient(t, cfg)
		err := get(c)
		if ReasonOf(err) != ReasonTLS || ClassOf(err) != Wait || Ambiguous(err) {
			t.Errorf("%s: %v", name, err)
		}
		if len(f.requests) != 0 {
			t.Errorf("%s: %v sent to an unverified server", name, f.requests)
		}
		// Rotation: the right CA, then both in one bundle as one does.
		for _, ca := range [][]byte{f.ca(), append(slices.Clone(other), f.ca()...)} {
			cfg.CA = ca
			if err := c.Reconfigure(cfg); err != nil {
				t.Fatal(err)
			}
			if err := get(c); err != nil {
				t.Error(err)
			}
		}
		f.requests = nil
	}

	cfg := f.config()
	cfg.CA, cfg.Insecure = nil, true
	if err := get(newClient(t, cfg)); err != nil {
		t.Errorf("insecure: %v", err)
	}
	cfg = f.config()
	cfg.Host = strings.Replace(cfg.Host, "127.0.0.1", "localhost", 1) // not among the certificate's names
	if err := get(newClient(t, cfg)); ReasonOf(err) != ReasonTLS {
		t.Errorf("wrong host name: %v", err)
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	hits := 0
	elsewhere := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits++ }))
	defer elsewhere.Close()
	f := newFake(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.URL+"/api/pool", http.StatusFound)
	})
	_, err := f.client(t).Get(ctx, "", "/api/pool", nil)
	wantReason(t, err, ReasonBadAnswer)
	if hits != 0 {
		t.Error("the session went to another server")
	}
}

func TestTokenLogin(t *testing.T) {
	f := newFake(t, answerWith(200, `{}`))
	var cred map[string]string
	f.loginFn = func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_ = json.Unmarshal(body, &cred)
		f.logIn(w, body)
	}
	f.password = "t0ken"
	cfg := f.config()
	cfg.AuthToken = "t0ken"
	if _, err := newClient(t, cfg).Get(ctx, "", "/api/pool", nil); err != nil {
		// The fake adds password and token up, so a password sent along would be refused.
		t.Fatal(err)
	}
	if keys := slices.Sorted(maps.Keys(cred)); !slices.Equal(keys, []string{"token", "username"}) {
		t.Errorf("login with %v", keys)
	}
}

func TestTemplate(t *testing.T) {
	for path, want := range map[string][2]string{
		"/api/pool":             {"/api/pool", "pool"},
		"/api/pool/" + poolUUID: {"/api/pool/{uuid}", "pool"},
		"/api/pool/" + poolUUID + "/runtime/detail/":  {"/api/pool/{uuid}/runtime/detail", "pool"},
		"/api/virtualservice-inventory":               {"/api/virtualservice-inventory", "virtualservice-inventory"},
		"/api/cluster/runtime":                        {"/api/cluster/runtime", "cluster"},
		"/api/network/dvportgroup-123-cloud-" + "abc": {"/api/network/{uuid}", "network"},
		"/API": {"/API", "other"},
		"":     {"/", "other"},
	} {
		if route, kind := template(path); route != want[0] || kind != want[1] {
			t.Errorf("%s: %s, %s", path, route, kind)
		}
	}
}

func TestContextOfOtherErrors(t *testing.T) {
	for _, tt := range []struct {
		err    error
		reason Reason
		class  Class
	}{
		{nil, "", 0},
		{errors.New("x"), "", Transient},
		{fmt.Errorf("x: %w", context.Canceled), ReasonCanceled, Transient},
		{fmt.Errorf("x: %w", context.DeadlineExceeded), ReasonTimeout, Transient},
		{fmt.Errorf("x: %w", &Error{Reason: ReasonStale, Class: Conflict, RetryAfter: 1}), ReasonStale, Conflict},
	} {
		if ReasonOf(tt.err) != tt.reason || ClassOf(tt.err) != tt.class || Ambiguous(tt.err) {
			t.Errorf("%v: %q %v %t", tt.err, ReasonOf(tt.err), ClassOf(tt.err), Ambiguous(tt.err))
		}
	}
}
