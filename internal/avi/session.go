// SPDX-License-Identifier: Apache-2.0

package avi

import (
	"context"
	"encoding/json"
	"flag"
	"net/http"
	"path"
	"strings"
	"sync"

	"github.com/vmware/alb-sdk/go/session"
)

// worker owns one AviSession and serves one call at a time with it. It is the session's HTTP client: what the SDK sends passes through Do,
// which attaches the call's context and keeps what the SDK would lose.
type worker struct {
	ep *endpoint

	sess   *session.AviSession // nil before the first call
	pinned string              // API version that sess sends
	gen    uint64              // the login that sess holds the cookies of, 0 if none

	// The request in progress.
	ctx    context.Context
	kind   string
	route  string
	renew  bool      // a lost session may be replaced
	last   *exchange // nil if nothing was sent
	unsent error     // why nothing was sent: the login failed, or the fence is closed
}

// call makes one call of the API with the given X-Avi-Version. The exchange it returns is one that succeeded; any other
// is an *Error.
func (w *worker) call(ctx context.Context, c call, pinned string) (*exchange, error) {
	defer func() { w.ctx, w.last, w.unsent = nil, nil, nil }()
	w.ctx, w.kind, w.route = ctx, c.kind, c.route
	if err := w.refresh(pinned); err != nil {
		return nil, err
	}
	for _, w.renew = range []bool{!c.final, false} {
		w.last, w.unsent = nil, nil
		// An interface that holds a nil json.RawMessage is not nil, and would be sent as "null".
		var payload any
		if c.body != nil {
			payload = c.body
		}
		_, err := w.sess.RestRequest(c.method, c.uri(), payload, c.tenant, nil)
		switch {
		case w.unsent != nil:
			return nil, w.unsent
		case w.last == nil: // the SDK could not make a request of it
			e := invalid(c.method, c.route, "%v", err)
			e.cause = err
			return nil, e
		case w.last.sessionLost() && w.renew:
			continue // Do has renewed the session
		}
		break
	}
	if w.last.ok() {
		return w.last, nil
	}
	e := w.ep.failure(w.last, c.route)
	if w.last.sessionLost() {
		w.ep.login.invalidate(w.gen, e)
	}
	return nil, e
}

// refresh gives the worker a new AviSession if the one it has would send an outdated version or cookies. An AviSession at rest can be given
// neither; a new one costs nothing, because Do answers its login from memory.
func (w *worker) refresh(pinned string) error {
	if w.sess != nil && w.pinned == pinned && w.gen == w.ep.login.valid() {
		return nil
	}
	quietSDK()
	cfg := w.ep.cfg
	opts := []func(*session.AviSession) error{
		session.SetClient(w),
		session.SetPassword(cfg.Password),
		session.SetVersion(pinned),
		session.SetTenant(cfg.Tenant),
		session.SetUserHeader(w.ep.headers),
		session.SetLazyAuthentication(true),
		// No retries by the SDK: it repeats writes, hides causes and can block for minutes.
		session.DisableControllerStatusCheckOnFailure(true),
	}
	if cfg.AuthToken != "" {
		opts = append(opts, session.SetAuthToken(cfg.AuthToken))
	}
	sess, err := session.NewAviSession(cfg.Host, cfg.Username, opts...)
	if err != nil {
		return invalid("", "", "session with the controller: %v", err)
	}
	w.sess, w.pinned, w.gen = sess, pinned, 0
	return nil
}

// Do implements session.HttpClient. To the SDK it answers with a bare status and no error: 200 if there is nothing to do
// for the SDK, 401 if it must log in. Anything else would set off its retries, or have it dump the request, cookies and
// all, into its log; the true outcome is in w.last.
func (w *worker) Do(req *http.Request) (*http.Response, error) {
	// The SDK writes "https://host//api/..." in places.
	req.URL.Path = path.Clean(req.URL.Path)
	if req.URL.Path == loginRoute {
		return w.login(req), nil
	}
	if w.unsent != nil {
		// The SDK ignores that its first login failed and goes on without a session.
		return plain(req, http.StatusOK), nil //nolint:nilerr // the caller takes it from w.unsent
	}
	if w.unsent = w.ep.fenced(req.Method, w.kind); w.unsent != nil {
		return plain(req, http.StatusOK), nil //nolint:nilerr // the caller takes it from w.unsent
	}
	w.last = w.ep.send(w.ctx, req, w.kind, w.route)
	w.last.tenant = req.Header.Get("X-Avi-Tenant")
	if !w.last.sessionLost() {
		if w.last.err == nil && w.last.status < 500 {
			w.ep.login.confirm(w.gen)
		}
		return plain(req, http.StatusOK), nil
	}
	if !w.renew {
		return plain(req, http.StatusOK), nil
	}
	w.ep.login.invalidate(w.gen, w.ep.failure(w.last, loginRoute))
	return plain(req, http.StatusUnauthorized), nil
}

// login answers the SDK's login request with the cookies of the login that all workers share.
func (w *worker) login(req *http.Request) *http.Response {
	g, err := w.ep.login.get(w.ctx, req)
	if err != nil {
		w.unsent = err
		return plain(req, http.StatusUnauthorized)
	}
	w.gen = g.id
	resp := plain(req, http.StatusOK)
	resp.Header["Set-Cookie"] = g.setCookie
	return resp
}

func plain(req *http.Request, status int) *http.Response {
	return &http.Response{
		Status: http.StatusText(status), StatusCode: status, Header: http.Header{}, Body: http.NoBody, Request: req,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
}

// call is one call of the API.
type call struct {
	method string
	path   string // from /api/ on, without query, escaped
	query  string // encoded
	route  string // path with {uuid} in place of the UUID
	kind   string // label of metrics
	tenant string
	body   json.RawMessage // nil for none
	final  bool            // not worth a login
}

// uri is what RestRequest puts behind "https://host/".
func (c call) uri() string {
	u := strings.TrimPrefix(c.path, "/")
	if c.query != "" {
		u += "?" + c.query
	}
	// The SDK takes any URL that ends in "login" for the login and leaves the cookies out (name=...login).
	if strings.HasSuffix(u, "login") {
		if c.query == "" {
			return u + "?"
		}
		return u + "&"
	}
	return u
}

var quietOnce sync.Once

// quietSDK keeps go/session from reading the program's arguments: NewAviSession calls flag.Parse if nobody has, which ends programs that
// use other flag packages, and tests, with an unknown flag. If the real glog is linked in place of ours, quietSDK keeps it from writing
// files, and from ending the process where it can't.
func quietSDK() {
	quietOnce.Do(func() {
		if !flag.Parsed() {
			_ = flag.CommandLine.Parse(nil) // of no arguments: can't fail
		}
		if flag.Lookup("logtostderr") != nil && flag.Lookup("log_dir") != nil {
			_ = flag.Set("logtostderr", "true")
		}
	})
}
