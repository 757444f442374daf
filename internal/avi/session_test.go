// SPDX-License-Identifier: Apache-2.0

package avi

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
)

func get(c *Client) error {
	_, err := c.Get(ctx, "", "/api/pool", nil)
	return err
}

func create(c *Client) error {
	_, err := c.Create(ctx, model.Pool, "", struct{}{})
	return err
}

// inParallel runs fn n times at once.
func inParallel(n int, fn func()) {
	var wg sync.WaitGroup
	for range n {
		wg.Go(fn)
	}
	wg.Wait()
}

func TestOneLoginForAll(t *testing.T) {
	noLeak(t)
	f := newFake(t, answerWith(200, `{}`))
	c := f.client(t)
	for round := 1; round <= 3; round++ {
		inParallel(8, func() {
			if err := create(c); err != nil {
				t.Error(err)
			}
		})
		if n := f.count("POST /login"); n != round {
			t.Fatalf("%d logins after %d expiries, want one each and one at the start", n, round-1)
		}
		f.expire()
	}
}

func TestLostSessionIsReplacedOnce(t *testing.T) {
	for _, status := range []int{401, 419} {
		var f *fake
		refuse := 0
		f = newFake(t, func(w http.ResponseWriter, _ *http.Request) {
			if refuse > 0 {
				refuse--
				// What a 18.2 sends along with a 419; the new session comes from a new login instead.
				http.SetCookie(w, &http.Cookie{Name: "sessionid", Value: "other"})
				http.SetCookie(w, &http.Cookie{Name: "csrftoken", Value: "other"})
				reply(w, status, `{"error":"Need to switch session"}`)
				return
			}
			reply(w, 200, `{}`)
		})
		clk := newClock()
		c := f.client(t, WithClock(clk.now))
		if err := create(c); err != nil {
			t.Fatal(err)
		}
		refuse = 1
		if err := create(c); err != nil {
			t.Fatalf("%d: %v", status, err)
		}
		if n := f.count("POST /login"); n != 2 {
			t.Errorf("%d: %d logins", status, n)
		}
		refuse = 1000
		err := create(c)
		wantReason(t, err, ReasonSession)
		if Ambiguous(err) {
			t.Errorf("%d: a refused request counts as maybe done", status)
		}
		if n, m := f.count("POST /login"), f.count("POST /api/pool"); n != 3 || m != 5 {
			t.Errorf("%d: %d logins, %d requests, want 3 and 5", status, n, m)
		}
		// Sessions that are granted and then refused don't lead to a login per call.
		for range 20 {
			wantReason(t, create(c), ReasonSession)
		}
		if n := f.count("POST /login"); n != 3 {
			t.Errorf("%d: %d logins, want none within the back-off", status, n)
		}
		refuse = 0
		clk.advance(time.Second)
		if err := create(c); err != nil {
			t.Errorf("%d: after the back-off: %v", status, err)
		}
	}
}

func TestRefusedCredentialsEndLogins(t *testing.T) {
	f := newFake(t, answerWith(200, `{}`))
	f.password = "rotated"
	reg := prometheus.NewRegistry()
	c := f.client(t, WithRegisterer(reg))
	changed := make(chan bool, 10)
	c.Subscribe(func() { changed <- c.Available() })
	inParallel(8, func() {
		err := create(c)
		if ReasonOf(err) != ReasonCredentials || ClassOf(err) != Wait || RetryAfterOf(err) != time.Minute || Ambiguous(err) {
			t.Errorf("%v %v %v", err, ClassOf(err), RetryAfterOf(err))
		}
		if want := "POST /login: status 401: Invalid credentials; correct the username and password or token in the Secret"; err.Error() != want {
			t.Errorf("%q, want %q", err, want)
		}
	})
	if n := f.count("POST /login"); n != 1 {
		t.Errorf("%d logins: accounts get locked by that", n)
	}
	if n := metric(t, reg, "avi_l4_api_logins_total", map[string]string{"result": "refused"}); n != 1 {
		t.Errorf("%g refused logins counted", n)
	}
	if <-changed || c.Available() {
		t.Error("still available")
	}

	cfg := f.config()
	cfg.Password = "rotated"
	if err := c.Reconfigure(cfg); err != nil {
		t.Fatal(err)
	}
	if !<-changed {
		t.Error("not available after the new secret")
	}
	if err := create(c); err != nil {
		t.Error(err)
	}
}

// TestLockedAccountEndsLogins as refused credentials do: each attempt would prolong the lock.
func TestLockedAccountEndsLogins(t *testing.T) {
	f := newFake(t, answerWith(200, `{}`))
	f.loginFn = answerWith(401, `{"error":"User account is locked"}`)
	clk := newClock()
	c := f.client(t, WithClock(clk.now))
	for range 20 {
		wantReason(t, get(c), ReasonCredentials)
		clk.advance(10 * time.Second)
	}
	if n := f.count("POST /login"); n != 1 || c.Available() {
		t.Errorf("%d logins, available %t", n, c.Available())
	}
	c.RetryLogin()
	wantReason(t, get(c), ReasonCredentials)
	if n := f.count("POST /login"); n != 2 {
		t.Errorf("%d logins after a retry", n)
	}
}

// remembering is a memory of one text.
type remembering struct{ text, noted string }

func (m *remembering) Refused(context.Context) string        { return m.text }
func (m *remembering) Note(_ context.Context, answer string) { m.noted = answer }

func TestRememberedRefusalEndsLogins(t *testing.T) {
	f := newFake(t, answerWith(200, `{}`))
	c, m := f.client(t), &remembering{text: "refused a minute ago"}
	c.RememberLogins(m)
	for range 3 {
		err := get(c)
		wantReason(t, err, ReasonCredentials)
		if !strings.Contains(err.Error(), m.text) {
			t.Errorf("%v doesn't say why", err)
		}
	}
	if n := f.count("POST /login"); n != 0 || c.Available() {
		t.Errorf("%d logins, available %t", n, c.Available())
	}
	c.RetryLogin()
	if err := get(c); err != nil || m.noted != "" {
		t.Errorf("%v, noted %q", err, m.noted)
	}
}

func TestRetryLogin(t *testing.T) {
	f := newFake(t, answerWith(200, `{}`))
	f.password = "not yet"
	c := f.client(t)
	wantReason(t, get(c), ReasonCredentials)
	f.set(func() { f.password = testPassword })
	wantReason(t, get(c), ReasonCredentials)
	c.RetryLogin()
	if err := get(c); err != nil {
		t.Error(err)
	}
}

// Credentials that are changed at the Controller end the sessions there. The calls fail until the Secret follows.
func TestCredentialsRotation(t *testing.T) {
	f := newFake(t, answerWith(200, `{}`))
	c := f.client(t)
	if err := get(c); err != nil {
		t.Fatal(err)
	}
	f.set(func() { f.password = "rotated" })
	f.expire()
	wantReason(t, get(c), ReasonCredentials)
	wantReason(t, get(c), ReasonCredentials)
	cfg := f.config()
	cfg.Password = "rotated"
	if err := c.Reconfigure(cfg); err != nil {
		t.Fatal(err)
	}
	if err := get(c); err != nil {
		t.Fatal(err)
	}
	if n := f.count("POST /login"); n != 3 {
		t.Errorf("%d logins", n)
	}
}

func TestLoginBackoff(t *testing.T) {
	f := newFake(t, answerWith(200, `{}`))
	var answer http.HandlerFunc
	f.loginFn = func(w http.ResponseWriter, r *http.Request) { answer(w, r) }
	clk := newClock()
	c := f.client(t, WithClock(clk.now))

	answer = answerWith(500, `{"error":"internal"}`)
	for i, wait := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
		wait *= time.Second
		for range 5 {
			err := create(c)
			wantReason(t, err, ReasonServerError)
			if got := RetryAfterOf(err); got != wait || Ambiguous(err) {
				t.Fatalf("attempt %d: retry after %s, want %s; ambiguous %t", i, got, wait, Ambiguous(err))
			}
		}
		if n := f.count("POST /login"); n != i+1 {
			t.Fatalf("%d logins after %d attempts", n, i+1)
		}
		clk.advance(wait)
	}

	answer = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "90")
		reply(w, 429, `{}`)
	}
	for range 3 {
		err := create(c)
		wantReason(t, err, ReasonThrottled)
		if RetryAfterOf(err) != 90*time.Second {
			t.Errorf("retry after %s", RetryAfterOf(err))
		}
	}
	clk.advance(90 * time.Second)

	answer = answerWith(200, `{}`) // no cookies
	wantReason(t, create(c), ReasonBadAnswer)
	clk.advance(time.Minute)

	answer = nil
	f.set(func() { f.loginFn = nil })
	if err := create(c); err != nil {
		t.Fatal(err)
	}
	// A success starts the back-off anew.
	f.set(func() { f.loginFn = answerWith(500, ``) })
	f.expire()
	if err := create(c); RetryAfterOf(err) != time.Second {
		t.Errorf("%v: retry after %s", err, RetryAfterOf(err))
	}
}

// The one who came first may leave; the login goes on for the others.
func TestLoginOutlivesItsFirstCaller(t *testing.T) {
	noLeak(t)
	f := newFake(t, answerWith(200, `{}`))
	arrived, release := make(chan struct{}), make(chan struct{})
	f.loginFn = func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-release
		f.logIn(w, []byte(`{"username":"`+testUser+`","password":"`+testPassword+`"}`))
	}
	c := f.client(t)
	first, cancel := context.WithCancel(ctx)
	gone, done := make(chan error), make(chan error)
	go func() { _, err := c.Create(first, model.Pool, "", struct{}{}); gone <- err }()
	<-arrived
	go func() { done <- create(c) }()
	cancel()
	err := <-gone
	wantReason(t, err, ReasonCanceled)
	if Ambiguous(err) {
		t.Error("a request that waited for the login counts as maybe done")
	}
	close(release)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n := f.count("POST /login"); n != 1 {
		t.Errorf("%d logins", n)
	}
}

func TestContext(t *testing.T) {
	noLeak(t)
	arrived, release := make(chan struct{}, 9), make(chan struct{})
	f := newFake(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			arrived <- struct{}{}
			<-release
		}
		reply(w, 200, `{}`)
	})
	defer close(release)
	cfg := f.config()
	cfg.Timeout = 1500 * time.Millisecond
	c := newClient(t, cfg)
	if err := get(c); err != nil { // log in first
		t.Fatal(err)
	}

	gone, cancel := context.WithCancel(ctx)
	cancel()
	_, err := c.Create(gone, model.Pool, "", struct{}{})
	wantReason(t, err, ReasonCanceled)
	if Ambiguous(err) || len(arrived) > 0 {
		t.Errorf("canceled before: ambiguous %t", Ambiguous(err))
	}

	gone, cancel = context.WithCancel(ctx)
	go func() { <-arrived; cancel() }()
	_, err = c.Create(gone, model.Pool, "", struct{}{})
	wantReason(t, err, ReasonCanceled)
	if !Ambiguous(err) {
		t.Error("canceled while under way: not ambiguous")
	}

	gone, cancel = context.WithTimeout(ctx, 700*time.Millisecond)
	defer cancel()
	err = c.Delete(gone, model.Pool, "", poolUUID)
	wantReason(t, err, ReasonTimeout)
	if !Ambiguous(err) || !strings.Contains(err.Error(), "DELETE /api/pool/{uuid}") {
		t.Errorf("the caller's deadline: %v, ambiguous %t", err, Ambiguous(err))
	}

	err = create(c)
	wantReason(t, err, ReasonTimeout)
	if !Ambiguous(err) || !strings.Contains(err.Error(), "1.5s") {
		t.Errorf("the client's own timeout: %v, ambiguous %t", err, Ambiguous(err))
	}
	if err := get(c); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}
