// SPDX-License-Identifier: Apache-2.0

package avi

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

const (
	loginBackoff    = time.Second
	loginBackoffMax = time.Minute
	loginRoute      = "/login"
)

// grant is one successful login: the answer to replay to every AviSession.
type grant struct {
	id        uint64
	setCookie []string
	secrets   []string // session id and csrf token
	used      bool     // some request was accepted with it; guarded by login.mu
}

// login is the one login that all workers of an endpoint share.
type login struct {
	ep    *endpoint
	group singleflight.Group

	mu        sync.Mutex
	grants    uint64
	cur       *grant // nil if there is no valid login
	failures  int    // in a row
	notBefore time.Time
	last      *Error // why the last attempt failed
	refused   bool   // the credentials are wrong, or the account is locked: no further attempt
	asked     bool   // the memory, what it knows of these credentials
}

// get returns the valid login, or makes the request req to obtain one. Callers who come while a login is under way wait
// for it, each no longer than its own context allows. Within the back-off after a failure it returns that failure at once.
func (l *login) get(ctx context.Context, req *http.Request) (*grant, error) {
	for {
		if g, err := l.peek(); g != nil || err != nil {
			return g, err
		}
		flight := l.group.DoChan("", func() (any, error) {
			// A call that finished between the look above and here may have left a valid login.
			if g, err := l.peek(); g != nil || err != nil {
				return g, err
			}
			// Not the caller's context: others wait for the same login, which must not end with the first of them.
			return l.perform(l.ep.ctx, req)
		})
		select {
		case <-ctx.Done():
			return nil, l.ep.interrupted(ctx, http.MethodPost, loginRoute)
		case r := <-flight:
			if r.Err != nil {
				return nil, r.Err
			}
			if g := r.Val.(*grant); l.valid() == g.id {
				return g, nil
			}
		}
	}
}

// peek returns the valid login, or the reason for not trying to get one now, or neither.
func (l *login) peek() (*grant, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cur != nil {
		return l.cur, nil
	}
	wait := l.notBefore.Sub(l.ep.now())
	if l.last == nil || !l.refused && wait <= 0 {
		return nil, nil
	}
	e := *l.last
	if e.Class != Wait {
		e.RetryAfter = wait
	}
	return nil, &e
}

// valid returns the id of the valid login, 0 if there is none.
func (l *login) valid() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cur == nil {
		return 0
	}
	return l.cur.id
}

// confirm notes that a request with the login was accepted.
func (l *login) confirm(id uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cur != nil && l.cur.id == id && !l.cur.used {
		l.cur.used = true
		l.failures = 0
	}
}

// invalidate drops the login, if it is still the one that the caller used. A login that no request was ever accepted
// with counts as failed, so that a Controller which grants sessions and then refuses them is not flooded with logins.
func (l *login) invalidate(id uint64, why *Error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cur == nil || l.cur.id != id {
		return
	}
	used := l.cur.used
	l.cur = nil
	if !used {
		l.fail(why)
	}
}

// fail starts a back-off; l.mu is held.
func (l *login) fail(e *Error) {
	wait := min(loginBackoff<<min(l.failures, 10), loginBackoffMax)
	l.failures++
	// The caller's request has not gone out, or was refused.
	e = &Error{
		Method: http.MethodPost, Route: loginRoute, Status: e.Status, Message: e.Message,
		RetryAfter: max(wait, e.RetryAfter), Class: e.Class, Reason: e.Reason, cause: e.cause,
	}
	if e.Class != Wait { // of a Wait error RetryAfter is our advice to callers, else it is the Controller's demand
		wait = e.RetryAfter
	}
	l.last = e
	l.notBefore = l.ep.now().Add(wait)
}

// perform sends the login request that an AviSession made.
func (l *login) perform(ctx context.Context, req *http.Request) (*grant, error) {
	var body []byte
	if req.Body != nil {
		var err error
		if body, err = io.ReadAll(req.Body); err != nil {
			return nil, invalid(http.MethodPost, loginRoute, "login body: %v", err)
		}
	}
	bodies, tokens := l.ep.token.logins(l.ep.cfg, body)
	if e := l.remembered(ctx); e != nil {
		return nil, e
	}
	var x *exchange
	var g *grant
	var e *Error
	for i, body := range bodies {
		if x, g, e = l.attempt(ctx, req, body); e == nil || e.Reason != ReasonCredentials {
			l.ep.token.settle(tokens[:i], e == nil)
			break
		}
		if i+1 < len(bodies) {
			l.ep.client.log.Info("The Controller refuses the token; trying what else there is to log in with", "host", l.ep.cfg.Host)
		}
	}
	if e != nil && e.Reason == ReasonCredentials {
		l.ep.token.settle(nil, false)
	}

	if l.ep.ctx.Err() != nil { // nobody needs this login any more
		return nil, l.ep.interrupted(l.ep.ctx, http.MethodPost, loginRoute)
	}
	log, logins := l.ep.client.log, l.ep.client.metrics.logins
	if e != nil {
		e, refused := l.denied(ctx, e)
		logins.WithLabelValues(map[bool]string{true: "refused", false: "error"}[refused]).Inc()
		log.Error(e, "Could not log in to the Controller", "host", l.ep.cfg.Host, "refused", refused)
		return nil, e
	}
	logins.WithLabelValues("success").Inc()
	l.mu.Lock()
	l.grants++
	g.id = l.grants
	l.cur = g
	l.last = nil
	l.mu.Unlock()
	l.ep.version.learn(versionOf(x.body))
	log.Info("Logged in to the Controller",
		"host", l.ep.cfg.Host, "username", l.ep.cfg.Username, "apiVersion", req.Header.Get("X-Avi-Version"))
	return g, nil
}

// denied notes that a login failed, and reports whether it is not to be tried again.
func (l *login) denied(ctx context.Context, e *Error) (told *Error, refused bool) {
	if e.Reason == ReasonSession || e.Reason == ReasonForbidden { // a locked account, an expired password
		e.Reason, e.Class, e.RetryAfter = ReasonCredentials, Wait, time.Minute
	}
	refused = e.Reason == ReasonCredentials
	if m := l.ep.client.loginMemory(); refused && m != nil {
		m.Note(ctx, e.Message)
	}
	return l.failed(e, refused), refused
}

// failed notes that a login failed, and returns what callers are told from now on.
func (l *login) failed(e *Error, refused bool) *Error {
	l.mu.Lock()
	l.fail(e)
	l.refused = refused
	e = l.last
	l.mu.Unlock()
	if refused {
		l.ep.client.availabilityChanged(l.ep)
	}
	return e
}

// remembered asks the memory, once, whether another process was refused with the credentials of late.
func (l *login) remembered(ctx context.Context) *Error {
	m := l.ep.client.loginMemory()
	l.mu.Lock()
	asked := l.asked
	l.asked = true
	l.mu.Unlock()
	if m == nil || asked {
		return nil
	}
	text := m.Refused(ctx)
	if text == "" {
		return nil
	}
	l.ep.client.log.Info("No login is tried", "host", l.ep.cfg.Host, "why", text)
	return l.failed(&Error{Message: text, Class: Wait, Reason: ReasonCredentials, RetryAfter: time.Minute}, true)
}

// attempt sends one login. The request's own body and context belong to the caller, who may leave before the login is done.
func (l *login) attempt(ctx context.Context, req *http.Request, body []byte) (x *exchange, g *grant, e *Error) {
	req = req.Clone(ctx)
	req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	x = l.ep.send(ctx, req, "login", loginRoute)
	g = &grant{setCookie: x.setCookie}
	if !x.ok() {
		e = l.ep.failure(x, loginRoute)
	} else if g.secrets = sessionCookies(x.setCookie); g.secrets == nil {
		e = badAnswer(x, loginRoute, "login brought no session cookies")
	}
	return x, g, e
}

// forget lets the next call log in again, whatever happened before.
func (l *login) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refused, l.last, l.failures = false, nil, 0
}

func (l *login) isRefused() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.refused
}

func (l *login) secrets() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cur == nil {
		return nil
	}
	return l.cur.secrets
}

// sessionCookies returns the cookies' values, or nil if an AviSession would not take them: it wants a csrftoken and one
// of the two names of the session id, and without them silently goes on with what it had.
func sessionCookies(lines []string) []string {
	var csrf, session string
	for _, line := range lines {
		c, err := http.ParseSetCookie(line)
		if err != nil {
			continue
		}
		switch c.Name {
		case "csrftoken":
			csrf = c.Value
		case "sessionid", "avi-sessionid":
			session = c.Value
		}
	}
	if csrf == "" || session == "" {
		return nil
	}
	return []string{csrf, session}
}

// versionOf reads "version.Version", which the answers to a login and to initial-data both hold; "" if it is not there.
func versionOf(body []byte) string {
	var v struct {
		Version struct{ Version string }
	}
	if json.Unmarshal(body, &v) != nil {
		return ""
	}
	return strings.TrimSpace(v.Version.Version)
}
