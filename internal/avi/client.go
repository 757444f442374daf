// SPDX-License-Identifier: Apache-2.0

package avi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/tracing"
)

// Client makes calls to one Avi Controller. It is safe for use by any number of goroutines.
type Client struct {
	log     logr.Logger
	metrics *metrics
	now     func() time.Time
	fence   func() error // nil: every write may begin

	ep atomic.Pointer[endpoint]

	mu       sync.Mutex
	closed   bool
	memory   LoginMemory // nil: each process begins with a login
	watchers map[int]func()
	watched  int
}

// Option sets up a Client.
type Option func(*options)

type options struct {
	log   logr.Logger
	reg   prometheus.Registerer
	now   func() time.Time
	fence func() error
}

// WithLogger has logins and changes of availability logged, and each request at level 1.
func WithLogger(l logr.Logger) Option { return func(o *options) { o.log = l } }

// WithRegisterer registers the metrics. Several Clients may share one registerer; their numbers add up.
func WithRegisterer(r prometheus.Registerer) Option { return func(o *options) { o.reg = r } }

// WithClock replaces time.Now for back-off and breaker.
func WithClock(now func() time.Time) Option { return func(o *options) { o.now = now } }

// WithFence asks check before each write of configuration begins, the last time when its first byte is about to be sent, and sends
// nothing if check returns an error. The client's own sessions and tokens are no configuration.
func WithFence(check func() error) Option { return func(o *options) { o.fence = check } }

// LoginMemory remembers refused credentials longer than a process lives: Controllers lock an account after some refused logins, and a
// process that is restarted again and again would make one each time.
type LoginMemory interface {
	// Refused returns why no login may be tried yet with the credentials in force; empty if one may.
	Refused(ctx context.Context) string
	// Note keeps that the Controller has refused them just now, with its answer.
	Note(ctx context.Context, answer string)
}

// RememberLogins has m asked before the first login with each configuration, and told about refused ones. While m says that none may be
// tried, calls fail with ReasonCredentials until RetryLogin or Reconfigure, as they do after a refused login.
func (c *Client) RememberLogins(m LoginMemory) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.memory = m
}

func (c *Client) loginMemory() LoginMemory {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.memory
}

// New returns a Client for cfg. It sends nothing; the first call finds out the version and logs in. The error says what
// is wrong with cfg.
func New(cfg Config, opts ...Option) (*Client, error) {
	o := options{log: logr.Discard(), now: time.Now}
	for _, opt := range opts {
		opt(&o)
	}
	m, err := newMetrics(o.reg)
	if err != nil {
		return nil, fmt.Errorf("registering metrics of the avi client: %w", err)
	}
	c := &Client{log: o.log, metrics: m, now: o.now, fence: o.fence, watchers: map[int]func(){}}
	ep, err := c.newEndpoint(cfg)
	if err != nil {
		return nil, err
	}
	c.ep.Store(ep)
	return c, nil
}

// Reconfigure makes cfg hold for calls from now on. If it differs in any way from the configuration in use, the
// session, the connections, the version and all back-off are dropped; calls under way end as they would have, and calls
// that have sent nothing yet go to the new Controller. On error the old configuration stays in use.
func (c *Client) Reconfigure(cfg Config) error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return errors.New("the avi client is closed")
	}
	old := c.ep.Load()
	if reflect.DeepEqual(old.cfg, cfg.withDefaults()) {
		c.mu.Unlock()
		return nil
	}
	ep, err := c.newEndpoint(cfg)
	if err != nil {
		c.mu.Unlock()
		return err
	}
	if old.cfg.AuthToken == ep.cfg.AuthToken && old.cfg.Host == ep.cfg.Host && old.cfg.Username == ep.cfg.Username {
		ep.token.inherit(old.token)
	}
	c.ep.Store(ep)
	c.mu.Unlock()
	old.retire()
	c.log.Info("Controller configuration changed", "config", ep.cfg.String())
	c.availabilityChanged(ep)
	return nil
}

// RetryLogin lets the next call log in even if the Controller refused the credentials: after someone fixed the account
// at the Controller's end, which Reconfigure can't see.
func (c *Client) RetryLogin() {
	ep := c.ep.Load()
	ep.login.forget()
	c.availabilityChanged(ep)
}

// Close ends the session at the Controller, as far as ctx allows, and closes the connections. Calls made after it, and
// those that have sent nothing yet, return an error with ReasonCanceled.
func (c *Client) Close(ctx context.Context) {
	c.mu.Lock()
	was := c.closed
	c.closed = true
	c.mu.Unlock()
	if was {
		return
	}
	ep := c.ep.Load()
	ep.logout(ctx)
	ep.retire()
}

// Available reports whether a call would be sent: the Controller has answered of late, and has not refused the
// credentials. It is true before the first call.
func (c *Client) Available() bool {
	ep := c.ep.Load()
	return ep.breaker.current() == breakerClosed && !ep.login.isRefused()
}

// Subscribe has fn called whenever Available may have changed, and after each change of configuration, until the
// returned function is called. fn is called by the goroutine of some call, must not block, and reads Available itself.
func (c *Client) Subscribe(fn func()) (unsubscribe func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	id := c.watched
	c.watched++
	c.watchers[id] = fn
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.watchers, id)
	}
}

// availabilityChanged updates the gauge and calls the subscribers, unless ep is no longer in use.
func (c *Client) availabilityChanged(ep *endpoint) {
	c.mu.Lock()
	if c.ep.Load() != ep {
		c.mu.Unlock()
		return
	}
	c.metrics.breaker.Set(float64(ep.breaker.current()))
	fns := make([]func(), 0, len(c.watchers))
	for _, fn := range c.watchers {
		fns = append(fns, fn)
	}
	c.mu.Unlock()
	for _, fn := range fns {
		fn()
	}
}

// Version returns the Controller's own version, such as "22.1.7". It asks the Controller, unless that was done, or a login brought it, a
// moment ago. Other calls use the version that is known, and it is asked for again after the Controller has refused that of a request.
func (c *Client) Version(ctx context.Context) (string, error) {
	var v string
	err := c.with(ctx, func(ep *endpoint) error {
		probe, berr := ep.breaker.admit()
		if berr != nil {
			return berr.on(http.MethodGet, initialDataRoute, "")
		}
		defer ep.breaker.end(probe)
		var err error
		v, err = ep.version.current(ctx)
		return err
	})
	return v, err
}

// APIVersion returns the X-Avi-Version of calls, "" before the first.
func (c *Client) APIVersion() string {
	_, pinned := c.ep.Load().version.known()
	return pinned
}

// Create makes an object of body, which json.Marshal must take, and returns it as the Controller has it. References in
// the answer are absolute URLs with "#name" behind the UUID.
func (c *Client) Create(ctx context.Context, kind model.Kind, tenant string, body any) (json.RawMessage, error) {
	return c.write(ctx, http.MethodPost, kind, tenant, nil, body)
}

// Patch changes top-level fields of an object, and touches no others.
type Patch struct {
	Replace map[string]any `json:"replace,omitempty"` // new values; a list replaces the list
	Delete  map[string]any `json:"delete,omitempty"`  // scalars go back to their default; of lists the given entries go
}

// Empty reports whether p changes nothing.
func (p Patch) Empty() bool { return len(p.Replace)+len(p.Delete) == 0 }

// Patch applies patch in a single call and returns the whole object as it is then. An empty patch is an error.
func (c *Client) Patch(ctx context.Context, kind model.Kind, tenant, uuid string, patch Patch) (json.RawMessage, error) {
	if patch.Empty() {
		return nil, invalid(http.MethodPatch, itemRoute(kind), "the patch of %s is empty", uuid)
	}
	return c.write(ctx, http.MethodPatch, kind, tenant, &uuid, patch)
}

// Put replaces an object; fields that body lacks go back to their defaults. If body has _last_modified and that is not the
// stored one, the error has ReasonStale. Returns the object as the Controller has it then.
func (c *Client) Put(ctx context.Context, kind model.Kind, tenant, uuid string, body any) (json.RawMessage, error) {
	return c.write(ctx, http.MethodPut, kind, tenant, &uuid, body)
}

// Delete removes an object. That there is none is success, if the Controller says so and not a proxy, if a read agrees, and if the tenant's
// objects can be listed and it isn't among them: a Controller that has lost the tenant, or whatever stands before it, answers 404 to
// everything, and what is taken for deleted by mistake is never looked at again.
func (c *Client) Delete(ctx context.Context, kind model.Kind, tenant, uuid string) error {
	cl, err := c.object(http.MethodDelete, kind, tenant, &uuid)
	if err != nil {
		return err
	}
	_, err = c.do(ctx, cl)
	if ReasonOf(err) != ReasonNotFound {
		return err
	}
	return c.absent(ctx, cl, kind, tenant, uuid)
}

// absent is nil if an object, of which a call has said that there is none, can't be read or listed either.
func (c *Client) absent(ctx context.Context, cl call, kind model.Kind, tenant, uuid string) error {
	doubt := func(text string) error {
		return &Error{
			Method: cl.method, Route: cl.route, Tenant: tenant, Status: http.StatusNotFound,
			Message: "the Controller says there is no such object, and " + text, Class: Transient, Reason: ReasonBadAnswer,
		}
	}
	get := cl
	get.method = http.MethodGet
	switch _, err := c.do(ctx, get); ReasonOf(err) {
	case ReasonNotFound:
	case "":
		return doubt("shows it when it is read")
	default:
		return err
	}
	listed := false
	err := c.List(ctx, string(kind), tenant, url.Values{"uuid": {uuid}, "fields": {"name"}}, func(raw json.RawMessage) error {
		listed = listed || identify(raw).UUID == uuid
		return nil
	})
	switch {
	case ReasonOf(err) == ReasonNotFound:
		return doubt("lists none of its kind, which says nothing")
	case err != nil:
		return err
	case listed:
		return doubt("lists it")
	}
	return nil
}

// Get reads a path such as "/api/systemconfiguration". The path may hold a UUID and must hold no query.
func (c *Client) Get(ctx context.Context, tenant, path string, query url.Values) (json.RawMessage, error) {
	route, kind := template(path)
	if !apiPath.MatchString(path) {
		return nil, invalid(http.MethodGet, route, "%q is not a path of the api", path)
	}
	cl := call{method: http.MethodGet, path: path, query: query.Encode(), route: route, kind: kind, tenant: tenant}
	return c.doJSON(ctx, cl)
}

// GetByName reads the object of that name. Query may narrow the search, and must where names are unique per cloud only
// (cloud_ref.name). If there is no such object the error has ReasonNotFound; if there are several, ReasonNotUnique.
func (c *Client) GetByName(ctx context.Context, kind model.Kind, tenant, name string, query url.Values) (json.RawMessage, error) {
	cl, err := c.object(http.MethodGet, kind, tenant, nil)
	if err != nil {
		return nil, err
	}
	if name == "" {
		return nil, invalid(cl.method, cl.route, "the name is empty")
	}
	q := clone(query)
	q.Set("name", name)
	cl.query = q.Encode()
	x, err := c.do(ctx, cl)
	if ReasonOf(err) == ReasonNotFound {
		// A list that is empty has a 200. This says that there is no such list, which proves nothing about an object.
		return nil, &Error{Method: cl.method, Route: cl.route, Tenant: tenant, Status: http.StatusNotFound,
			Message: "there is no list to look in: " + err.Error(), Class: Transient, Reason: ReasonBadAnswer}
	}
	if err != nil {
		return nil, err
	}
	page, err := parsePage(x, cl)
	if err != nil {
		return nil, err
	}
	var found []json.RawMessage
	for _, raw := range page.Results {
		if id := identify(raw); id.Name == name {
			found = append(found, raw)
		}
	}
	e := &Error{Method: cl.method, Route: cl.route, Tenant: x.tenant, Status: x.status, Class: Conflict, Reason: ReasonNotFound}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		e.Class, e.Reason = Terminal, ReasonNotUnique
		e.Message = fmt.Sprintf("%d objects are named %q", len(found), name)
		return nil, e
	case *page.Count > 0:
		// "Not found" would be a guess here, and callers create and delete upon it.
		return nil, badAnswer(x, cl.route, "none of the %d objects found by name is named %q", *page.Count, name)
	}
	e.Message = fmt.Sprintf("there is no object named %q", name)
	return nil, e
}

// write sends body and returns the object of the answer.
func (c *Client) write(ctx context.Context, method string, kind model.Kind, tenant string, uuid *string, body any,
) (json.RawMessage, error) {
	cl, err := c.object(method, kind, tenant, uuid)
	if err != nil {
		return nil, err
	}
	if cl.body, err = json.Marshal(body); err != nil {
		return nil, invalid(method, cl.route, "encoding the body: %v", err)
	}
	if !bytes.HasPrefix(cl.body, []byte("{")) {
		return nil, invalid(method, cl.route, "the body is no json object")
	}
	return c.doJSON(ctx, cl)
}

var (
	kindName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,63}$`)
	uuidName = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,255}$`)
	apiPath  = regexp.MustCompile(`^/api(/[A-Za-z0-9._:%-]+)+/?$`)
)

// object is a call on a kind, or with uuid on one object of it.
func (c *Client) object(method string, kind model.Kind, tenant string, uuid *string) (call, error) {
	cl := call{method: method, path: "/api/" + string(kind), kind: string(kind), tenant: tenant}
	cl.route = cl.path
	if !kindName.MatchString(string(kind)) {
		return cl, invalid(method, "/api/{kind}", "%q is no kind of object", kind)
	}
	if uuid == nil {
		return cl, nil
	}
	cl.route = itemRoute(kind)
	// An empty one would turn the call into one on the whole collection.
	if !uuidName.MatchString(*uuid) {
		return cl, invalid(method, cl.route, "%q is no uuid", *uuid)
	}
	cl.path += "/" + url.PathEscape(*uuid)
	return cl, nil
}

func itemRoute(kind model.Kind) string { return "/api/" + string(kind) + "/{uuid}" }

// template takes the UUIDs out of a path, and returns the kind that it begins with. A segment behind the kind that has a
// digit is a UUID; names of sub-resources have none.
func template(path string) (route, kind string) {
	segs := strings.Split(strings.Trim(path, "/"), "/")
	for i := 2; i < len(segs); i++ {
		if strings.ContainsAny(segs[i], "0123456789") {
			segs[i] = "{uuid}"
		}
	}
	kind = "other"
	if len(segs) > 1 && kindName.MatchString(segs[1]) {
		kind = segs[1]
	}
	return "/" + strings.Join(segs, "/"), kind
}

func clone(q url.Values) url.Values {
	out := make(url.Values, len(q)+2)
	for k, v := range q {
		out[k] = append([]string(nil), v...)
	}
	return out
}

// doJSON is do for calls that are answered with JSON.
func (c *Client) doJSON(ctx context.Context, cl call) (json.RawMessage, error) {
	x, err := c.do(ctx, cl)
	if err != nil {
		return nil, err
	}
	// Of a write, the object; a read may be a list. A page of a proxy or of the login is neither.
	body := bytes.TrimSpace(x.body)
	if !json.Valid(body) || cl.method != http.MethodGet && body[0] != '{' {
		return nil, badAnswer(x, cl.route, "the answer is no json object")
	}
	return body, nil
}

// do makes a call with the configuration in use.
func (c *Client) do(ctx context.Context, cl call) (x *exchange, err error) {
	if !headerValue(cl.tenant) {
		return nil, invalid(cl.method, cl.route, "tenant %q holds characters that a header can't carry", cl.tenant)
	}
	err = c.with(ctx, func(ep *endpoint) (err error) {
		x, err = ep.do(ctx, cl)
		return err
	})
	return x, err
}

// with runs fn with the configuration in use, and again with the next one if that came before fn had sent its request.
func (c *Client) with(ctx context.Context, fn func(*endpoint) error) error {
	for {
		ep := c.ep.Load()
		err := fn(ep)
		var e *Error
		if err == nil || !errors.As(err, &e) || e.sent || e.Reason == ReasonInvalid || ctx.Err() != nil || c.ep.Load() == ep {
			return err
		}
	}
}

// endpoint is one configuration at work: connections, workers, login, version, limits and breaker.
type endpoint struct {
	client    *Client
	cfg       Config
	base      string // "https://host"
	headers   map[string]string
	transport *http.Transport
	workers   chan *worker // those at rest
	gate      *gate
	breaker   *breaker
	login     *login
	token     *token
	version   *version

	ctx    context.Context // ends with the configuration; of logins and questions for the version, which serve many callers
	cancel context.CancelFunc
}

func (c *Client) newEndpoint(cfg Config) (*endpoint, error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("avi configuration: %w", err)
	}
	cfg = cfg.withDefaults()
	t, err := newTransport(cfg)
	if err != nil {
		return nil, fmt.Errorf("avi configuration: %w", err)
	}
	ep := &endpoint{
		client:    c,
		cfg:       cfg,
		base:      "https://" + cfg.Host,
		headers:   map[string]string{"User-Agent": cfg.UserAgent, "X-Avi-UserAgent": cfg.UserAgent},
		transport: t,
		workers:   make(chan *worker, cfg.Concurrency),
	}
	if _, err := url.Parse(ep.base); err != nil {
		return nil, fmt.Errorf("avi configuration: controller host %q is not of the form host or host:port", cfg.Host)
	}
	ep.gate = &gate{throttle: newThrottle(cfg), changed: func(window int, rate float64) {
		if c.ep.Load() == ep {
			c.metrics.concurrency.Set(float64(window))
			c.metrics.rate.Set(rate)
		}
	}}
	ep.ctx, ep.cancel = context.WithCancel(context.Background())
	ep.breaker = &breaker{now: c.now, change: func() { ep.breakerChanged() }}
	ep.login = &login{ep: ep}
	ep.token = &token{given: cfg.AuthToken}
	ep.version = &version{ep: ep}
	for range cfg.Concurrency {
		ep.workers <- &worker{ep: ep}
	}
	if newer(cfg.Version, MaxVersion) {
		c.log.Info("The configured API version is newer than what this operator knows, and is not used", "configured", cfg.Version, "used", MaxVersion)
	}
	if p := unusedProxy(ep.base); p != "" {
		c.log.Info("The environment names a proxy (HTTPS_PROXY), which is not used for the Controller: it must be reached directly; "+
			"name it in NO_PROXY to silence this", "host", cfg.Host, "proxy", p)
	}
	if cfg.Insecure {
		c.log.Info("The Controller's certificate is not verified, as configured", "host", cfg.Host)
	}
	return ep, nil
}

func (ep *endpoint) now() time.Time { return ep.client.now() }

func (ep *endpoint) breakerChanged() {
	switch ep.breaker.current() {
	case breakerOpen:
		ep.client.log.Info("Calls to the Controller are suspended", "host", ep.cfg.Host)
	case breakerClosed:
		ep.client.log.Info("The Controller answers again", "host", ep.cfg.Host)
	}
	ep.client.availabilityChanged(ep)
}

// throttledTries is how often a call is made that the Controller refuses because there are too many (429).
const throttledTries = 3

// do makes a call when limits and breaker allow it. It is a part of the trace that ctx is in, with the time that it waits.
func (ep *endpoint) do(ctx context.Context, cl call) (*exchange, error) {
	ctx, end := tracing.Part(ctx, cl.method+" "+cl.route)
	x, err := ep.queued(ctx, cl)
	if x != nil {
		end(err, attribute.Int("http.response.status_code", x.status))
	} else {
		end(err)
	}
	return x, err
}

// queued makes a call in its turn, and again in its turn if it was one too many for the Controller.
func (ep *endpoint) queued(ctx context.Context, cl call) (x *exchange, err error) {
	if cl.tenant == "" {
		cl.tenant = ep.cfg.Tenant
	}
	for try := 1; ; try++ {
		again, terr := ep.once(ctx, cl)
		var refused *Error
		if try > 1 && terr != nil && (!errors.As(terr, &refused) || refused.Status == 0) {
			return x, err // it wasn't sent again, and so the Controller's word stands
		}
		x, err = again, terr
		if ReasonOf(err) != ReasonThrottled || cl.final || try == throttledTries {
			return x, err
		}
	}
}

func (ep *endpoint) once(ctx context.Context, cl call) (*exchange, error) {
	// Fail before standing in line, where that is possible.
	if err := ep.breaker.check(); err != nil {
		return nil, err.on(cl.method, cl.route, cl.tenant)
	}
	if !cl.final {
		if err := ep.turn(ctx, cl); err != nil {
			return nil, err
		}
		defer ep.gate.leave()
	}
	var w *worker
	select {
	case <-ctx.Done():
		return nil, ep.interrupted(ctx, cl.method, cl.route)
	case <-ep.ctx.Done():
		return nil, ep.interrupted(ep.ctx, cl.method, cl.route)
	case w = <-ep.workers:
	}
	defer func() { ep.workers <- w }()
	if ctx.Err() != nil {
		return nil, ep.interrupted(ctx, cl.method, cl.route)
	}
	if ep.ctx.Err() != nil {
		return nil, ep.interrupted(ep.ctx, cl.method, cl.route)
	}
	defer func() {
		if ep.ctx.Err() != nil {
			ep.transport.CloseIdleConnections() // retire came too early for this one's
		}
	}()

	probe, berr := ep.breaker.admit()
	if berr != nil {
		return nil, berr.on(cl.method, cl.route, cl.tenant)
	}
	defer ep.breaker.end(probe)
	_, pinned, err := ep.version.get(ctx)
	if err != nil {
		return nil, err
	}
	cl.body = outgoing(cl, pinned)
	x, err := w.call(ctx, cl, pinned)
	if ReasonOf(err) == ReasonVersion {
		ep.version.drop()
	}
	if x != nil {
		x.body = incoming(cl, pinned, x.body)
	}
	return x, err
}

// interrupted is the error of a call that waited for something until ctx ended.
func (ep *endpoint) interrupted(ctx context.Context, method, route string) *Error {
	e := &Error{Method: method, Route: route, Message: "not sent, the caller gave up", Class: Transient, Reason: ReasonCanceled, cause: ctx.Err()}
	switch {
	case ep.ctx.Err() != nil:
		e.Message = "not sent, the client was closed or configured anew"
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		e.Message = "not sent, the caller's deadline passed"
		e.Reason = ReasonTimeout
	}
	return e
}

// turn waits for the call's turn.
func (ep *endpoint) turn(ctx context.Context, cl call) error {
	wait, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ep.ctx, cancel)()
	err := ep.gate.enter(wait, cl.method)
	var e *Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &e):
		return e.on(cl.method, cl.route, cl.tenant)
	}
	return ep.interrupted(ctx, cl.method, cl.route)
}

// on completes an error that was made without knowledge of the call.
func (e *Error) on(method, route, tenant string) *Error {
	e.Method, e.Route, e.Tenant = method, route, tenant
	return e
}

// logout ends the session at the Controller, if there is one. It is a courtesy: sessions there expire after 15 minutes.
func (ep *endpoint) logout(ctx context.Context) {
	if ep.login.valid() == 0 || ep.breaker.check() != nil {
		return
	}
	if id := ep.token.mine(); id != "" { // nobody else knows it
		route := itemRoute(userToken)
		_, _ = ep.do(ctx, call{method: http.MethodDelete, path: "/api/" + string(userToken) + "/" + url.PathEscape(id), route: route, kind: string(userToken), final: true})
	}
	_, _ = ep.do(ctx, call{method: http.MethodPost, path: "/logout", route: "/logout", kind: "logout", final: true})
}

// retire ends the endpoint: calls that wait for it go on to the next, calls that have sent their request finish.
func (ep *endpoint) retire() {
	ep.cancel()
	ep.transport.CloseIdleConnections()
}
