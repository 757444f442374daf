// SPDX-License-Identifier: Apache-2.0

package avi

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestAnswers(t *testing.T) {
	for _, tt := range []struct {
		status int
		body   string
		reason Reason
		class  Class
		ambig  bool
	}{
		{400, `{"error":"Incoming request (v22_1_2) has field (sctp_proxy_profile) introduced in later versions(v22_1_3)."}`, ReasonVersion, Terminal, false},
		{400, `{"error":"Invalid version 99.1.1"}`, ReasonVersion, Transient, false},
		{400, `{"error":"No available free IPs","obj_name":"vs1"}`, ReasonNoFreeIP, Wait, false},
		{400, `{"error":"Network object not found!"}`, ReasonRefNotFound, Wait, false},
		{400, `{"error":"VrfContext not found"}`, ReasonRefNotFound, Wait, false},
		{404, `{"error":"Network object not found!"}`, ReasonRefNotFound, Wait, false},
		{400, `{"error":"Cannot modify VrfContext"}`, ReasonForbidden, Terminal, false},
		{400, `{"error":"VRF Context for vs and pool p different"}`, ReasonInvalid, Terminal, false},
		{400, `{"error":{"vh_matches":"{'path': 'there must be at least 1'}"}}`, ReasonInvalid, Terminal, false},
		{403, `{"error":"Configuration is disallowed during upgrade"}`, ReasonUpgrade, Wait, false},
		{403, `{"error":"Tenant 'x' does not exist!"}`, ReasonTenantMissing, Wait, false},
		{403, `{"detail":"You do not have permission to perform this action."}`, ReasonForbidden, Terminal, false},
		{404, `not found`, ReasonNoEndpoint, Wait, false},
		{405, `{"detail":"Method 'POST' not allowed."}`, ReasonInvalid, Terminal, false},
		{408, ``, ReasonTimeout, Transient, true},
		{409, `{"error":"Pool with this Name, Tenant ref and Cloud ref already exists."}`, ReasonAlreadyExists, Conflict, false},
		{412, `{"error":"Need to reload object data VsVip"}`, ReasonStale, Conflict, false},
		{429, `{"error":"too many"}`, ReasonThrottled, Transient, false},
		{500, `{"error":"Bad pb: xyz"}`, ReasonInvalid, Terminal, false},
		{500, `{"error":"oops"}`, ReasonServerError, Transient, true},
		{502, `<html><head><title>502 Bad Gateway</title></head></html>`, ReasonUnavailable, Transient, true},
		{503, ``, ReasonUnavailable, Transient, true},
		{504, ``, ReasonUnavailable, Transient, true},
		{599, ``, ReasonServerError, Transient, true},
		{302, ``, ReasonBadAnswer, Transient, true},
		{200, `<html>log in</html>`, ReasonBadAnswer, Transient, true},
		{201, ``, ReasonBadAnswer, Transient, true},
		{201, `["a"]`, ReasonBadAnswer, Transient, true},
	} {
		t.Run(fmt.Sprint(tt.status, " ", tt.body), func(t *testing.T) {
			t.Parallel()
			f := newFake(t, answerWith(tt.status, tt.body))
			err := create(f.client(t))
			wantReason(t, err, tt.reason)
			if ClassOf(err) != tt.class || Ambiguous(err) != tt.ambig {
				t.Errorf("class %v, ambiguous %t: %v", ClassOf(err), Ambiguous(err), err)
			}
			if (RetryAfterOf(err) > 0) != (tt.class == Wait) {
				t.Errorf("class %v, retry after %s", tt.class, RetryAfterOf(err))
			}
			want := 1
			if tt.reason == ReasonThrottled { // which says that it wasn't carried out
				want = throttledTries
			}
			if n := f.count("POST /api/pool"); n != want {
				t.Errorf("sent %d times", n)
			}
			e := err.(*Error)
			if e.Status != tt.status || e.Route != "/api/pool" || e.Method != "POST" || e.Tenant != "admin" {
				t.Errorf("%#v", e)
			}
			if s := err.Error(); strings.Contains(s, "failed to") || !strings.HasPrefix(s, fmt.Sprintf("POST /api/pool in tenant admin: status %d: ", tt.status)) {
				t.Error(s)
			}
		})
	}
}

func TestRetryAfter(t *testing.T) {
	clk := newClock()
	for header, want := range map[string]time.Duration{
		"":     0,
		"7":    7 * time.Second,
		"-1":   0,
		"soon": 0,
		clk.now().Add(90 * time.Second).Format(http.TimeFormat): 90 * time.Second,
		"999999": time.Hour,
	} {
		f := newFake(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", header)
			reply(w, 429, `{}`)
		})
		if got := RetryAfterOf(get(f.client(t, WithClock(clk.now)))); got != want {
			t.Errorf("%q: %s, want %s", header, got, want)
		}
	}
}

func TestMessageIsShortAndOnOneLine(t *testing.T) {
	f := newFake(t, answerWith(400, `{"error":"a\nb\t`+strings.Repeat("ü", 2000)+`"}`))
	err := get(f.client(t)).(*Error)
	if n := len([]rune(err.Message)); n != 500 || !strings.HasPrefix(err.Message, "a b ü") {
		t.Errorf("%d characters: %s", n, err.Message)
	}
}

// A connection that breaks reports whether the request may have been carried out.
func TestBrokenConnections(t *testing.T) {
	noLeak(t)
	for name, tt := range map[string]struct {
		answer func(w http.ResponseWriter, conn func() (net.Conn, *bufio.ReadWriter))
		status int
	}{
		"reset before the answer": {func(_ http.ResponseWriter, hijack func() (net.Conn, *bufio.ReadWriter)) {
			c, _ := hijack()
			c.Close()
		}, 0},
		"cut within the body": {func(_ http.ResponseWriter, hijack func() (net.Conn, *bufio.ReadWriter)) {
			c, b := hijack()
			fmt.Fprint(b, "HTTP/1.1 201 CREATED\r\nContent-Length: 100\r\n\r\n{\"uu")
			b.Flush()
			c.Close()
		}, 201},
		"no http": {func(_ http.ResponseWriter, hijack func() (net.Conn, *bufio.ReadWriter)) {
			c, b := hijack()
			fmt.Fprint(b, "hello\r\n\r\n")
			b.Flush()
			c.Close()
		}, 0},
	} {
		f := newFake(t, func(w http.ResponseWriter, _ *http.Request) {
			tt.answer(w, func() (net.Conn, *bufio.ReadWriter) {
				c, b, err := w.(http.Hijacker).Hijack()
				if err != nil {
					t.Error(err)
				}
				return c, b
			})
		})
		c := f.client(t)
		err := create(c)
		wantReason(t, err, ReasonUnavailable)
		if !Ambiguous(err) || err.(*Error).Status != tt.status {
			t.Errorf("%s: %v, ambiguous %t", name, err, Ambiguous(err))
		}
		if n := f.count("POST /api/pool"); n != 1 {
			t.Errorf("%s: the client repeated a write, %d requests", name, n)
		}
		if err := get(c); Ambiguous(err) {
			t.Errorf("%s: a read counts as ambiguous", name)
		}
	}

	f := newFake(t, answerWith(200, `{}`))
	cfg := f.config()
	f.Close()
	err := create(newClient(t, cfg))
	wantReason(t, err, ReasonUnavailable)
	if Ambiguous(err) {
		t.Errorf("refused connection: ambiguous: %v", err)
	}
}
