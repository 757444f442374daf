// SPDX-License-Identifier: Apache-2.0

package avi

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim"
)

// tokenWorld is a Controller whose clock the test turns, with a client that logs in with a user token.
type tokenWorld struct {
	*testing.T
	sim   *avisim.Server
	admin *Client // with the password; it has its own clock
	c     *Client
	cfg   Config

	mu   sync.Mutex
	at   time.Time
	logs strings.Builder
}

func (w *tokenWorld) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.at
}

func (w *tokenWorld) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at = w.at.Add(d)
}

// newTokenWorld has a token that is good for so many hours, 0 for a single login.
func newTokenWorld(t *testing.T, hours int, change func(*Config)) *tokenWorld {
	t.Helper()
	w := &tokenWorld{T: t, at: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	var err error
	w.sim, err = avisim.New(avisim.Options{Username: testUser, Password: testPassword, Now: w.now})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.sim.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.sim.Close)
	w.cfg = Config{Host: w.sim.Host(), Username: testUser, Password: testPassword, CA: w.sim.CAPEM(), Timeout: 5 * time.Second}
	w.admin = newClient(t, w.cfg, WithClock(w.now))
	raw, err := w.admin.Create(ctx, userToken, "", map[string]string{"hours": fmt.Sprint(hours)})
	w.cfg.AuthToken, w.cfg.Password = must(t, raw, err)["token"].(string), ""
	if change != nil {
		change(&w.cfg)
	}
	log := funcr.New(func(_, args string) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.logs.WriteString(args)
	}, funcr.Options{Verbosity: 2})
	w.c = newClient(t, w.cfg, WithClock(w.now), WithLogger(log))
	return w
}

func (w *tokenWorld) keep() Token {
	w.Helper()
	got, err := w.c.KeepToken(ctx)
	if err != nil {
		w.Fatal(err)
	}
	return got
}

// works wants a call to be answered, by a new session if the old one is too old.
func (w *tokenWorld) works(when string) {
	w.Helper()
	if _, err := w.c.Get(ctx, "", "/api/pool", nil); err != nil {
		w.Errorf("%s: %v", when, err)
	}
}

// tokens are how many the Controller has for the user.
func (w *tokenWorld) tokens() int {
	w.Helper()
	raw, err := w.admin.Get(ctx, "", "/api/user-token", nil)
	return int(must(w.T, raw, err)["count"].(float64))
}

// logins counts the login requests with a status since the log was last asked.
func (w *tokenWorld) logins(status int) (n int) {
	for _, r := range w.sim.Requests() {
		if strings.HasSuffix(r.Path, "/login") && r.Method == http.MethodPost && r.Status == status {
			n++
		}
	}
	w.sim.ResetRequests()
	return n
}

const day = 24 * time.Hour

// TestTokenIsRenewed: the operator goes on after the configured token has expired, for as long as it runs.
func TestTokenIsRenewed(t *testing.T) {
	w := newTokenWorld(t, 24, nil)
	got := w.keep()
	if !got.Configured || got.Password || !got.Expires.Equal(w.now().Add(day)) || !got.Own.Equal(w.now().Add(tokenLife)) {
		t.Errorf("token: %+v", got)
	}
	if w.keep(); w.tokens() != 2 {
		t.Errorf("%d tokens, want the configured one and one more", w.tokens())
	}
	for range 10 { // 30 days
		w.pass(3 * day)
		w.works("after days")
		if got := w.keep(); got.Own.Sub(w.now()) < tokenRenewal {
			t.Errorf("at %s the token ends at %s", w.now(), got.Own)
		}
	}
	if n := w.tokens(); n > 2 {
		t.Errorf("%d tokens: what was replaced is not revoked", n)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, v := range w.c.ep.Load().token.values() {
		if strings.Contains(w.logs.String(), v) {
			t.Error("a token is in the log")
		}
	}
}

// TestTokenIsRenewedInTime: one that lasts is left alone until five days remain.
func TestTokenIsRenewedInTime(t *testing.T) {
	w := newTokenWorld(t, 1000, nil)
	for _, step := range []struct {
		after time.Duration
		own   bool
	}{{0, false}, {1000*time.Hour - tokenRenewal, false}, {time.Minute, true}} {
		w.pass(step.after)
		if got := w.keep(); got.Own.IsZero() == step.own {
			t.Errorf("%s later: %+v", step.after, got)
		}
	}
	w.pass(tokenRenewal)
	w.works("after the end of the configured token")
}

// TestTokenOfUnknownEnd: one that the Controller doesn't list, such as one for a single login, is renewed at once.
func TestTokenOfUnknownEnd(t *testing.T) {
	w := newTokenWorld(t, 0, nil)
	if got := w.keep(); !got.Expires.IsZero() || got.Own.IsZero() {
		t.Errorf("token: %+v", got)
	}
	w.pass(2 * day)
	w.works("at the second login")
}

func TestTokenThatCanNotBeRenewed(t *testing.T) {
	w := newTokenWorld(t, 24, nil)
	w.sim.Inject(avisim.Fault{Method: "POST", Type: "user-token", Status: 403, Body: `{"error":"no"}`})
	if got, err := w.c.KeepToken(ctx); err == nil || !got.Own.IsZero() || got.Expires.IsZero() {
		t.Errorf("%+v, %v", got, err)
	}
	w.works("while the configured token is good")
	w.pass(2 * day)
	_, err := w.c.Get(ctx, "", "/api/pool", nil)
	wantReason(t, err, ReasonCredentials)
}

// TestPasswordFollowsTheToken: with both, a token that is refused is not the end, and is not tried again and again.
func TestPasswordFollowsTheToken(t *testing.T) {
	w := newTokenWorld(t, 24, func(c *Config) { c.Password, c.AuthToken = testPassword, "expired-long-ago" })
	w.sim.ResetRequests()
	w.works("with the password")
	if n := w.logins(http.StatusUnauthorized); n != 1 {
		t.Errorf("%d refused logins, want one", n)
	}
	w.pass(2 * day)
	w.works("at the next login")
	if n := w.logins(http.StatusUnauthorized); n != 0 {
		t.Errorf("%d refused logins, want none", n)
	}
	if got := w.keep(); !got.Password || got.Own.IsZero() {
		t.Errorf("token: %+v", got)
	}
	w.pass(2 * day)
	w.works("with the token that was made")
	if !w.c.Available() {
		t.Error("not available")
	}
}

func TestTokenAndPasswordRefused(t *testing.T) {
	w := newTokenWorld(t, 24, func(c *Config) { c.Password, c.AuthToken = "wrong", "wrong-too" })
	w.sim.ResetRequests()
	_, err := w.c.Get(ctx, "", "/api/pool", nil)
	wantReason(t, err, ReasonCredentials)
	if n := w.logins(http.StatusUnauthorized); n != 2 || w.c.Available() {
		t.Errorf("%d refused logins, want one with each; available %v", n, w.c.Available())
	}
	w.c.RetryLogin()
	_, err = w.c.Get(ctx, "", "/api/pool", nil)
	wantReason(t, err, ReasonCredentials)
	if n := w.logins(http.StatusUnauthorized); n != 2 {
		t.Errorf("%d refused logins at the second attempt, want both again", n)
	}
}

// TestRevokedOwnToken: if somebody revokes the token that the client has made, the configured one serves again.
func TestRevokedOwnToken(t *testing.T) {
	w := newTokenWorld(t, 100, nil)
	w.keep()
	if err := w.admin.Delete(ctx, userToken, "", w.c.ep.Load().token.mine()); err != nil {
		t.Fatal(err)
	}
	w.pass(25 * time.Hour)
	w.works("with the configured token")
	if got := w.keep(); got.Own.IsZero() || w.tokens() != 2 {
		t.Errorf("no other token was made: %+v", got)
	}
}

// TestTokenOutlivesOtherSettings: a change of something else doesn't go back to the configured token, another token does.
func TestTokenOutlivesOtherSettings(t *testing.T) {
	w := newTokenWorld(t, 24, nil)
	own := w.keep().Own
	w.pass(2 * day)
	w.cfg.QPS = 1000
	if err := w.c.Reconfigure(w.cfg); err != nil {
		t.Fatal(err)
	}
	w.works("with other settings")
	if got := w.keep(); !got.Own.Equal(own) {
		t.Errorf("token: %+v", got)
	}
	raw, err := w.admin.Create(ctx, userToken, "", map[string]string{"hours": "1000"})
	w.cfg.AuthToken = must(t, raw, err)["token"].(string)
	if err := w.c.Reconfigure(w.cfg); err != nil {
		t.Fatal(err)
	}
	if got := w.keep(); !got.Own.IsZero() || got.Expires.IsZero() {
		t.Errorf("another token: %+v", got)
	}
}

// TestCloseRevokesTheOwnToken: nobody else knows it.
func TestCloseRevokesTheOwnToken(t *testing.T) {
	w := newTokenWorld(t, 24, nil)
	w.keep()
	w.c.Close(context.Background())
	if n := w.tokens(); n != 1 {
		t.Errorf("%d tokens, want the configured one", n)
	}
}

func TestNoTokenToKeep(t *testing.T) {
	f := newFake(t, answerWith(200, `{}`))
	if got, err := f.client(t).KeepToken(ctx); err != nil || got != (Token{}) || f.count("GET /api/user-token") != 0 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestTimesOfTheController(t *testing.T) {
	want := time.Date(2026, 11, 28, 5, 6, 7, 0, time.UTC)
	for text, ok := range map[string]bool{
		"2026-11-28T05:06:07Z": true, "2026-11-28T05:06:07+00:00": true, "2026-11-28T05:06:07.000000+00:00": true,
		"2026-11-28T06:06:07+01:00": true,
		"2026-11-28T05:06:07":       true, "2026-11-28 05:06:07.000000+00:00": true, "2026-11-28 05:06:07": true, "soon": false, "": false,
	} {
		if got := timeOf(text); got.Equal(want) != ok || !ok && !got.IsZero() {
			t.Errorf("%q: %s", text, got)
		}
	}
}
