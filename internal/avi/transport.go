// SPDX-License-Identifier: Apache-2.0

package avi

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"golang.org/x/net/http/httpproxy"
)

const (
	dialTimeout = 10 * time.Second
	idleTimeout = 90 * time.Second
	maxBody     = 64 << 20 // bytes; a page of 200 virtualservice-inventory items is about 2 MB
	maxMessage  = 500      // characters of Error.Message
	spareConns  = 2        // for the login and the version, which need no worker
)

// errAttempt is the cause of a request that took longer than Config.Timeout.
var errAttempt = errors.New("no complete answer in time")

// newTransport returns connections to one Controller. There is no proxy, whatever the environment says: the Controller
// is on the cluster's management network, and AKO uses none either. newEndpoint says so where there would be one.
func newTransport(cfg Config) (*http.Transport, error) {
	tc, err := cfg.tlsConfig()
	if err != nil {
		return nil, err
	}
	t := &http.Transport{
		DialContext:         dial,
		TLSClientConfig:     tc,
		TLSHandshakeTimeout: dialTimeout,
		MaxIdleConns:        cfg.Concurrency + spareConns,
		MaxIdleConnsPerHost: cfg.Concurrency + spareConns,
		IdleConnTimeout:     idleTimeout,
		Protocols:           new(http.Protocols),
	}
	// One request per connection at a time: a stalled connection then holds up one worker and not all of them.
	t.Protocols.SetHTTP1(true)
	return t, nil
}

// unusedProxy is the host of the proxy that the environment would have a program use for an address, "" if there is none. A proxy's
// user and password are not in it.
func unusedProxy(base string) string {
	u, err := url.Parse(base)
	if err != nil {
		return ""
	}
	p, err := httpproxy.FromEnvironment().ProxyFunc()(u)
	switch {
	case err != nil:
		return "one that can't be parsed"
	case p == nil:
		return ""
	}
	return p.Host
}

// exchange is one request and what came of it.
type exchange struct {
	method     string
	route      string // with {uuid} in place of a UUID
	tenant     string
	status     int // 0 if no answer came
	retryAfter time.Duration
	setCookie  []string
	body       []byte
	err        error // of the network or a context; status may be set even so, if the body was cut off
	sent       bool
	fenced     bool // nothing was sent, because the fence had closed
}

func (x *exchange) ok() bool { return x.err == nil && x.status >= 200 && x.status < 300 }

// sessionLost reports the two answers by which a Controller says that the request needs a new login: 401, and 419
// ("Need to switch session", after a change of password).
func (x *exchange) sessionLost() bool { return x.err == nil && (x.status == 401 || x.status == 419) }

// send makes one HTTP request within Config.Timeout, reads the answer to its end, and counts it. It follows no redirect.
func (ep *endpoint) send(ctx context.Context, req *http.Request, kind, route string) *exchange {
	x := &exchange{method: req.Method, route: route}
	actx, cancel := context.WithTimeoutCause(ctx, ep.cfg.Timeout, errAttempt)
	defer cancel()
	// From the moment that the request has a connection it isn't known how much of it got through. net/http takes a new
	// connection for a POST only if nothing was written to the first.
	var sent atomic.Bool
	var fenced atomic.Pointer[fencedError]
	actx = httptrace.WithClientTrace(actx, &httptrace.ClientTrace{
		GetConn: func(string) {
			sent.Store(false)
			fenced.Store(nil)
		},
		GotConn: func(i httptrace.GotConnInfo) {
			sent.Store(true)
			guard(i.Conn, noted(ep.fence(req.Method, kind), &fenced))
		},
	})
	start := time.Now()
	resp, err := ep.transport.RoundTrip(req.WithContext(actx))
	x.sent = sent.Load()
	if err == nil {
		x.status = resp.StatusCode
		x.retryAfter = retryAfter(resp.Header.Get("Retry-After"), ep.now())
		x.setCookie = resp.Header.Values("Set-Cookie")
		x.body, err = readBody(resp.Body)
	}
	if err != nil {
		x.err = cause(ctx, actx, err)
	}
	if kept := fenced.Load(); kept != nil && err != nil { // net/http may report the closed connection instead
		x.fenced, x.err = true, *kept
	}
	ep.observe(ctx, x, kind, time.Since(start))
	return x
}

func readBody(b io.ReadCloser) ([]byte, error) {
	defer b.Close()
	body, err := io.ReadAll(io.LimitReader(b, maxBody+1))
	if err != nil {
		return nil, fmt.Errorf("the answer was cut off: %w", err)
	}
	if len(body) > maxBody {
		return nil, fmt.Errorf("the answer is longer than %d bytes", maxBody)
	}
	return body, nil
}

// cause replaces the error of a canceled request, which may be any, by the reason for canceling.
func cause(ctx, attempt context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if attempt.Err() != nil {
		return errAttempt
	}
	return err
}

// observe feeds metrics, log and breaker.
func (ep *endpoint) observe(ctx context.Context, x *exchange, kind string, took time.Duration) {
	code := strconv.Itoa(x.status)
	switch {
	case errors.Is(x.err, errAttempt), errors.Is(x.err, context.DeadlineExceeded):
		code = "timeout"
	case errors.Is(x.err, context.Canceled):
		code = "canceled"
	case x.err != nil:
		code = "error"
	}
	ep.client.metrics.requests.WithLabelValues(x.method, kind, x.route, code).Inc()
	ep.client.metrics.latency.WithLabelValues(x.method, kind).Observe(took.Seconds())
	ep.client.log.V(1).Info("Request to the Controller", "method", x.method, "kind", kind, "code", code, "took", took.String())

	if ctx.Err() == nil && !x.fenced && kind != "login" { // of logins there are few, and they have a back-off of their own
		ep.gate.learn(answer{sent: time.Now().Add(-took), took: took, throttled: x.err == nil && x.status == http.StatusTooManyRequests,
			overloaded: x.status >= 502 && x.status <= 504, silent: x.err != nil, retryAfter: x.retryAfter})
	}
	switch {
	case x.fenced, x.err != nil && ctx.Err() != nil:
		// The caller gave up: that says nothing about the Controller.
	case x.err != nil:
		ep.breaker.failure(x.err.Error())
	case x.status == 502, x.status == 503, x.status == 504:
		ep.breaker.failure(fmt.Sprintf("status %d", x.status))
	default:
		ep.breaker.success()
	}
}

// rootOf is the text of an error without the addresses of the connection, of which ours is another each time.
func rootOf(err error) string {
	var op *net.OpError
	if errors.As(err, &op) && op.Err != nil {
		return op.Err.Error()
	}
	return err.Error()
}

// failure turns an exchange that did not succeed into an error.
func (ep *endpoint) failure(x *exchange, route string) *Error {
	e := &Error{Method: x.method, Route: route, Tenant: x.tenant, Status: x.status, RetryAfter: x.retryAfter, Host: ep.cfg.Host,
		cause: x.err, sent: x.sent}
	if x.err != nil {
		e.Class, e.Reason = Transient, ReasonUnavailable
		e.Message = fmt.Sprintf("no answer from the Controller at %s: %s", ep.cfg.Host, ep.scrub(rootOf(x.err)))
		var cert *tls.CertificateVerificationError
		switch {
		case errors.Is(x.err, errAttempt):
			e.Reason, e.Message = ReasonTimeout, fmt.Sprintf("no complete answer from the Controller at %s in %s", ep.cfg.Host, ep.cfg.Timeout)
			e.cause = context.DeadlineExceeded
		case errors.Is(x.err, context.DeadlineExceeded):
			e.Reason = ReasonTimeout
		case errors.Is(x.err, context.Canceled):
			e.Reason = ReasonCanceled
		case x.fenced:
			e.Reason, e.sent = ReasonNotLeader, false
		case errors.As(x.err, &cert):
			e.Class, e.Reason, e.RetryAfter = Wait, ReasonTLS, time.Minute
			e.Message = fmt.Sprintf("the certificate of the Controller at %s can't be verified: %s", ep.cfg.Host, ep.scrub(cert.Err.Error()))
		}
		return e
	}
	text, own := message(x.body)
	e.Message = ep.scrub(text)
	r := match(x.method, x.status, text)
	if x.status == http.StatusNotFound && !own {
		// The API answers in JSON for objects; its router, and any proxy in between, don't. Their 404 says nothing about the object, and a delete
		// must not take it for "already gone". It may pass, as while a Controller starts.
		r = rule{reason: ReasonNoEndpoint, class: Wait, wait: time.Minute}
	}
	e.Class, e.Reason = r.class, r.reason
	if e.RetryAfter == 0 {
		e.RetryAfter = r.wait
	}
	return e
}

// badAnswer is a success by status whose body is not what the API promises.
func badAnswer(x *exchange, route, format string, args ...any) *Error {
	return &Error{
		Method: x.method, Route: route, Tenant: x.tenant, Status: x.status, Message: fmt.Sprintf(format, args...),
		Class: Transient, Reason: ReasonBadAnswer, sent: x.sent,
	}
}

var title = regexp.MustCompile(`(?is)<title>(.*?)</title>`)

// message extracts the text of an error body, and reports whether the API wrote it. The application answers with "error",
// which may be an object of messages by field, the framework around it with "detail"; some refusals are plain text, and
// proxies send HTML.
func message(body []byte) (text string, own bool) {
	var m map[string]json.RawMessage
	if json.Unmarshal(body, &m) == nil {
		for _, key := range []string{"error", "detail"} {
			raw, ok := m[key]
			if !ok {
				continue
			}
			var s string
			if json.Unmarshal(raw, &s) != nil {
				s = string(raw)
			}
			return s, true
		}
		return string(body), len(m) > 0
	}
	text = string(body)
	if strings.HasPrefix(strings.TrimSpace(text), "<") {
		if t := title.FindStringSubmatch(text); t != nil {
			return t[1], false
		}
		return "an html page", false
	}
	return text, false
}

// scrub makes a text fit for logs and statuses: one line, at most maxMessage characters, none of the secrets in use.
func (ep *endpoint) scrub(s string) string {
	for _, secret := range ep.secrets() {
		s = strings.ReplaceAll(s, secret, "[redacted]")
	}
	s = strings.ToValidUTF8(strings.Join(strings.Fields(s), " "), "?")
	if utf8.RuneCountInString(s) > maxMessage {
		s = string([]rune(s)[:maxMessage-1]) + "…"
	}
	return s
}

// secrets lists what must never be shown: what we log in with, and what the login brought.
func (ep *endpoint) secrets() []string {
	var out []string
	for _, s := range slices.Concat([]string{ep.cfg.Password}, ep.token.values(), ep.login.secrets()) {
		if s == "" {
			continue
		}
		out = append(out, s)
		if q := url.QueryEscape(s); q != s {
			out = append(out, q)
		}
	}
	return out
}

// retryAfter reads the header's two forms, seconds and a date.
func retryAfter(v string, now time.Time) time.Duration {
	if v == "" {
		return 0
	}
	if s, err := strconv.Atoi(v); err == nil {
		return max(0, min(time.Duration(s)*time.Second, time.Hour))
	}
	if t, err := http.ParseTime(v); err == nil {
		return max(0, min(t.Sub(now), time.Hour))
	}
	return 0
}
