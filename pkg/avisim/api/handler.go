// SPDX-License-Identifier: Apache-2.0

// Package api answers HTTP requests out of a world, as the Controller does: paths, sessions, gates, lists, inventories, macros. A request
// comes in as a [Call] and goes out as an [Answer], so that a layer around the [Handler] can change or replace either.
package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/doc"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/schema"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/world"
)

// Handler answers requests out of a world, as a Controller does.
type Handler struct {
	world    *world.World
	accounts *Accounts
	portal   Portal
	lists    listCache

	requireReferer bool
	upgrading      atomic.Bool
	bucket         atomic.Pointer[rate.Limiter] // of the controller properties
}

// Portal is what presents the certificate that the system configuration names.
type Portal interface {
	// Present shows the certificate of a pair in PEM from the next connection on, and reports whether it is a pair.
	Present(certificate, key []byte) bool
	// Restore shows again what was shown before the first Present.
	Restore()
}

// New makes the API of a world. requireReferer refuses unsafe requests without a Referer,
// as the Controller's framework would (documented, status inferred).
func New(w *world.World, portal Portal, requireReferer bool) (*Handler, error) {
	accounts, err := newAccounts(w)
	if err != nil {
		return nil, err
	}
	return &Handler{world: w, accounts: accounts, portal: portal, requireReferer: requireReferer}, nil
}

// Accounts returns the sessions, tokens and lock-outs.
func (h *Handler) Accounts() *Accounts { return h.accounts }

// World is what the API answers out of.
func (h *Handler) World() *world.World { return h.world }

// SetUpgradeMode makes writes fail with 403 "Configuration is disallowed during upgrade" while reads work.
func (h *Handler) SetUpgradeMode(on bool) { h.upgrading.Store(on) }

// Upgrading reports whether the upgrade mode is on.
func (h *Handler) Upgrading() bool { return h.upgrading.Load() }

// Call is one request on its way, with what the steps have found out about it.
type Call struct {
	api     *Handler
	Request *http.Request
	Body    []byte
	Query   url.Values
	Route   Route
	session string // id
	user    string
	version schema.Version
	tenant  string         // uuid of the tenant, or "*"
	Replica *world.Replica // to be read from; nil: the world itself
}

// Call makes a call of a request whose body was read.
func (h *Handler) Call(r *http.Request, body []byte) *Call {
	c := &Call{api: h, Request: r, Body: body, version: schema.Oldest, Route: parseRoute(r.URL.Path)}
	// Clients write "?a=b&" and "?name"; what does not parse is left out as the Controller's framework would.
	c.Query, _ = url.ParseQuery(r.URL.RawQuery)
	return c
}

// Base is the address that the client used, which is the one that URLs in answers have. Evidence: inferred.
func (c *Call) Base() string { return "https://" + c.Request.Host }

func (c *Call) renderer(s *world.Reader, names bool) *world.Renderer {
	return s.Renderer(c.Base(), names)
}

// reads reports whether the request changes nothing.
func (c *Call) reads() bool {
	return c.Request.Method == http.MethodGet || c.Request.Method == http.MethodHead || c.Request.Method == http.MethodOptions
}

// IsRead reports whether a call is a GET or a HEAD.
func IsRead(c *Call) bool {
	return c.Request.Method == http.MethodGet || c.Request.Method == http.MethodHead
}

// kind is the object type that the path names; only for rows with {type}.
func (c *Call) kind() *world.Kind { return world.KindOf(c.Route.Type) }

// named reports whether a read shows names behind references. Evidence: include_name is recorded; that include_refs does the same is
// inferred from a client that sends both.
func (c *Call) named() bool {
	return includes(c.Query, "include_name") || includes(c.Query, "include_refs")
}

// allow is the Allow header of an answer.
func (c *Call) allow() string {
	if e := c.Route.endpoint(); e != nil {
		return e.allow
	}
	return allowList // of a path that is not there: unverified
}

// read looks at the world, or at the replica that the call was sent to.
func (c *Call) read(look func(*world.Reader)) {
	if c.Replica != nil && c.Route.API && world.KindOf(c.Route.Type) != nil {
		c.api.world.ReadReplica(c.Replica, look)
		return
	}
	c.api.world.Read(look)
}

// Answer handles a request: limits and gates, authentication, then the endpoint.
func (h *Handler) Answer(c *Call) *Answer {
	h.world.CatchUp()
	if !IsRead(c) {
		defer h.world.Dirty() // sessions, tokens and passwords are not in the store
	}
	switch {
	case h.overLimit():
		return Usual(c, http.StatusTooManyRequests)
	case h.requireReferer && !IsRead(c) && c.Request.Referer() == "":
		return detail(http.StatusForbidden, "CSRF Failed: Referer checking failed - no Referer.")
	case c.Request.Method != strings.ToUpper(c.Request.Method): // documented: names of methods are case-sensitive, "patch" is a bad request
		return Plain(http.StatusBadRequest, "Bad Request")
	}
	ep := c.Route.endpoint()
	sent := c.Request.Header.Get("X-Avi-Version")
	if v, err := schema.ParseVersion(sent); sent != "" && err == nil && v <= h.world.Version() && c.Route.API {
		c.version = v // refusals echo it too, and login does not: recorded
	}
	if ep != nil && ep.open {
		return ep.serve(c)
	}
	if bad := h.accounts.authenticate(c); bad != nil {
		return bad
	}
	a := c.authenticated(ep)
	h.accounts.renew(c, a)
	return a
}

// authenticated continues with the gates that stand after authentication.
func (c *Call) authenticated(ep *endpoint) *Answer {
	if ep == nil {
		if what := notSimulated[c.Route.Type]; c.Route.API && what != "" {
			return Refused(http.StatusNotFound, "%s is not simulated", what)
		}
		return notFound()
	}
	if !c.Route.API {
		return ep.serve(c)
	}
	if sent := c.Request.Header.Get("X-Avi-Version"); sent != "" && c.version == schema.Oldest {
		// documented: clients look for the text; the status is unverified
		if v, err := schema.ParseVersion(sent); err != nil || v > c.api.world.Version() {
			return Refused(http.StatusBadRequest, "Invalid version %s, supported versions are up to %s", sent, c.api.world.Version().Join("."))
		}
	}
	if bad := c.findTenant(); bad != nil {
		return bad
	}
	if c.api.upgrading.Load() && !c.reads() {
		return Refused(http.StatusForbidden, "Configuration is disallowed during upgrade")
	}
	return ep.serve(c)
}

// serve checks the method and calls the endpoint. Evidence for OPTIONS: the method is listed in recordings, its body is
// unverified.
func (e *endpoint) serve(c *Call) (a *Answer) {
	switch {
	case !e.allows(c.Request.Method):
		return notAllowed(c)
	case c.Request.Method == http.MethodOptions:
		return Reply(http.StatusOK, map[string]any{"name": c.Route.Name(), "renders": []string{"application/json"},
			"parses": []string{"application/json", "application/x-www-form-urlencoded"}})
	case e.look != nil && (c.reads() || e.act == nil):
		c.read(func(s *world.Reader) { a = e.look(c, s) })
		return a
	}
	return e.act(c)
}

// findTenant reads the tenant headers. Evidence: names and uuids are documented, the text of the refusal too; its status
// is the one that a client expects.
func (c *Call) findTenant() (bad *Answer) {
	c.read(func(s *world.Reader) {
		if id := c.Request.Header.Get("X-Avi-Tenant-UUID"); id != "" {
			if s.Store.Get(doc.Ref{Type: "tenant", UUID: id}) == nil {
				bad = Refused(http.StatusForbidden, "Tenant '%s' does not exist!", id)
			}
			c.tenant = id
			return
		}
		switch name := c.Request.Header.Get("X-Avi-Tenant"); name {
		case "":
			c.tenant = defaultTenant(s, c.user)
		case world.AllTenants:
			c.tenant = world.AllTenants
		default:
			id, ok := s.Store.TenantByName(name)
			if !ok {
				bad = Refused(http.StatusForbidden, "Tenant '%s' does not exist!", name)
			}
			c.tenant = id
		}
	})
	return bad
}

// defaultTenant is the tenant of requests that name none. Evidence: documented.
func defaultTenant(s *world.Reader, user string) string {
	if o := s.User(user); o != nil {
		if r := doc.RefAt(o.Body, "default_tenant_ref"); r.Type == "tenant" && s.Store.Get(r) != nil {
			return r.UUID
		}
	}
	return world.AdminTenant
}

// overLimit reports whether a request is over the limits of the controller properties. Evidence: the settings are documented by the
// schema, both off by default; that one without the other does nothing, and the answer, are unverified.
func (h *Handler) overLimit() bool {
	var perSecond, burst int
	h.world.Read(func(s *world.Reader) {
		if o := s.Singleton("controllerproperties"); o != nil {
			perSecond, burst = doc.Int(o.Body, "portal_request_rate_limit"), doc.Int(o.Body, "portal_request_burst_limit")
		}
	})
	if perSecond <= 0 {
		return false
	}
	if burst <= 0 {
		burst = perSecond
	}
	b := h.bucket.Load()
	if b == nil || b.Limit() != rate.Limit(perSecond) || b.Burst() != burst {
		h.bucket.CompareAndSwap(b, rate.NewLimiter(rate.Limit(perSecond), burst))
		b = h.bucket.Load()
	}
	return !b.Allow()
}

// Route is a request's cleaned path taken apart: /api/<typ>/<uuid>/<sub…>.
type Route struct {
	API  bool   // under /api
	Type string // object type or special endpoint; "login" and "logout" at the root
	inv  bool   // <typ>-inventory
	UUID string
	sub  []string
}

// parseRoute cleans a path without ever redirecting: clients glue "//api/…" together and end paths with a slash, and a
// redirect would turn their POST into a GET. Evidence: verified with the SDK.
func parseRoute(path string) Route {
	seg := strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
	if len(seg) == 0 {
		return Route{}
	}
	if seg[0] != "api" {
		return Route{Type: seg[0], sub: seg[1:]}
	}
	r := Route{API: true}
	if len(seg) > 1 {
		r.Type = seg[1]
	}
	if len(seg) > 2 {
		r.UUID = seg[2]
	}
	if len(seg) > 3 {
		r.sub = seg[3:]
	}
	if t, ok := strings.CutSuffix(r.Type, "-inventory"); ok {
		r.Type, r.inv = t, true
	}
	return r
}

// Name is the first path segment after /api.
func (r Route) Name() string {
	if r.inv {
		return r.Type + "-inventory"
	}
	return r.Type
}

// Template is the path with the uuid left out, to count requests by.
func (r Route) Template() string {
	if !r.API {
		return "/" + r.Type
	}
	t := "/api/" + r.Name()
	if r.UUID != "" {
		if r.Type == "cluster" || r.Type == "licensing" { // fixed words, not uuids
			t += "/" + r.UUID
		} else {
			t += "/{uuid}"
		}
	}
	for _, s := range r.sub {
		t += "/" + s
	}
	return t
}

// Answer is a whole response, kept apart from the connection so that it can be logged, replaced or thrown away.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
	bare   bool // from before the application was reached: without its headers
}

// Set sets a header of the answer.
func (a *Answer) Set(key, value string) {
	if a.Header == nil {
		a.Header = http.Header{}
	}
	a.Header.Set(key, value)
}

// slow is how long a write takes whose duration the answer states. Evidence: recorded from 224 ms on, and not below 200.
const slow = 200 * time.Millisecond

// steps are the names under which a duration is given. Evidence: recorded.
var steps = map[string]string{http.MethodPost: "create", http.MethodPut: "update", http.MethodPatch: "update", http.MethodDelete: "destroy"}

// Timing adds how long a write took, where a Controller says it.
func (a *Answer) Timing(method string, took time.Duration) {
	if step := steps[method]; step != "" && took >= slow && a.Status < 300 {
		ms := float64(took.Microseconds()) / 1000
		a.Set("Server-Timing", fmt.Sprintf("%s;dur=%g,total;dur=%g", step, ms, ms))
	}
}

// Reply answers with a JSON body.
func Reply(status int, v any) *Answer {
	b, err := json.Marshal(v)
	if err != nil {
		return &Answer{Status: http.StatusInternalServerError, Body: []byte(err.Error())}
	}
	return &Answer{Status: status, Body: b}
}

// Plain answers with a body that is not JSON although, as recorded, the content type says so.
func Plain(status int, text string) *Answer { return &Answer{Status: status, Body: []byte(text)} }

// Typed says that a body is HTML if it looks so; all others go out as JSON, whatever they are.
func Typed(a *Answer) *Answer {
	if len(a.Body) > 0 && a.Body[0] == '<' {
		a.Set("Content-Type", "text/html")
	}
	return a
}

func parse(b []byte) (map[string]any, *Answer) {
	body, err := doc.Decode(b)
	if err != nil {
		return nil, detail(http.StatusBadRequest, "JSON parse error - "+err.Error())
	}
	return body, nil
}

// fixedHeaders go with every answer. Evidence: recorded.
var fixedHeaders = map[string][]string{
	"Content-Type":                     {"application/json"},
	"Cache-Control":                    {"private, no-cache, must-revalidate"},
	"Vary":                             {"Accept, Cookie", "Origin"},
	"Strict-Transport-Security":        {"max-age=31536000; includeSubdomains"},
	"X-Frame-Options":                  {"SAMEORIGIN"},
	"X-Content-Type-Options":           {"nosniff"},
	"X-Xss-Protection":                 {"1; mode=block"},
	"Referrer-Policy":                  {"strict-origin"},
	"Content-Security-Policy":          {"default-src 'self'; style-src 'self' 'unsafe-inline'; font-src 'self' data:; img-src 'self' data:;"},
	"Access-Control-Allow-Origin":      {"https://portal.avinetworks.com"},
	"Access-Control-Allow-Credentials": {"true"},
	"Access-Control-Allow-Methods":     {"GET, POST, PUT, DELETE, OPTIONS"},
	"Access-Control-Expose-Headers":    {"X-NEXT-CALL"},
	"Access-Control-Allow-Headers": {"Accept,Authorization,Cache-Control,Content-Type,DNT,If-Modified-Since,Keep-Alive,Origin,User-Agent," +
		"X-Mx-ReqToken,X-Requested-With,X-Avi-Tenant,X-Avi-UserAgent,X-Avi-Tenant-UUID,X-CSRFToken,X-PORTAL-AUTHTOKEN"},
}

// Send writes the answer to a call; deliver, if there is one, writes the body.
func (a *Answer) Send(w http.ResponseWriter, c *Call, deliver func(http.ResponseWriter, *http.Request, []byte)) {
	h := w.Header()
	for k, v := range fixedHeaders {
		if !a.bare || k == "Content-Type" || k == "Cache-Control" {
			h[k] = v
		}
	}
	h["AVI_API_VERSION"] = []string{c.version.Join(".")}
	if c.version == schema.Oldest {
		h["AVI_API_VERSION"] = []string{"16_4_2"}
	}
	if a.bare {
		h.Set("Vary", "Cookie") // recorded
	} else {
		h.Set("Allow", c.allow())
	}
	for k, v := range a.Header {
		h[k] = v
	}
	if deliver != nil {
		h.Set("Content-Length", strconv.Itoa(len(a.Body)))
		w.WriteHeader(a.Status)
		deliver(w, c.Request, a.Body)
		return
	}
	w.WriteHeader(a.Status)
	if c.Request.Method != http.MethodHead {
		_, _ = w.Write(a.Body) // a client that is gone is not our concern
	}
}

// Cut stands for no answer: the connection is cut.
var Cut = new(Answer)

// endpoint is one row of the table of paths.
type endpoint struct {
	path  string // below /api unless it starts with a slash; {…} stands for any one segment
	allow string // the methods as the Allow header lists them
	open  bool   // needs no session
	known schema.Evidence
	look  func(*Call, *world.Reader) *Answer // GET and HEAD
	act   func(*Call) *Answer                // all other methods, and reads if there is no look
}

// The Allow headers. Evidence: recorded for login, lists, items and singletons; the others follow their pattern.
const (
	allowPost      = "POST, OPTIONS"
	allowRead      = "HEAD, GET, OPTIONS"
	allowList      = "HEAD, POST, GET, OPTIONS"
	allowItem      = "HEAD, GET, PUT, PATCH, OPTIONS, DELETE"
	allowSingleton = "HEAD, GET, PUT, PATCH, OPTIONS"
	allowMacro     = "POST, PUT, OPTIONS, DELETE"
	allowToken     = "HEAD, GET, OPTIONS, DELETE" //nolint:gosec // a list of methods
)

// endpointTable lists all paths. The first row that fits serves a request, so special paths stand before {type}.
var endpointTable = []endpoint{
	{"/login", allowPost, true, schema.Recorded, nil, login},
	{"/logout", allowPost, false, schema.Documented, nil, logout},

	{"initial-data", allowRead, true, schema.Documented, initialData, nil},
	{"cluster", "HEAD, GET, PUT, OPTIONS", false, schema.Documented, showCluster, putCluster},
	{"cluster/runtime", allowRead, false, schema.Documented, clusterRuntime, nil},
	{"cluster/version", allowRead, false, schema.Documented, clusterVersion, nil},
	{"cluster/status", allowRead, true, schema.Unverified, clusterStatus, nil},
	{"licensing", allowRead, false, schema.Documented, license, nil},
	{"licensing/status", allowRead, false, schema.Documented, licenseStatus, nil},
	{"license", allowRead, false, schema.Documented, license, nil},
	{"licenseusage", allowRead, false, schema.Documented, licenseUsage, nil},
	{"systemlimits", allowRead, false, schema.Documented, systemLimits, nil},
	{"ipamdnsproviderprofiledomainlist", allowRead, false, schema.Documented, domains, nil},

	{"useraccount", allowSingleton, false, schema.Recorded, ownAccount, changeAccount},
	{"user-token", allowList, false, schema.Documented, nil, userTokens},
	{"user-token/{uuid}", allowToken, false, schema.Documented, nil, userToken},
	{"macro", allowMacro, false, schema.Documented, nil, runMacro},

	{"networkruntime", allowRead, false, schema.Documented, networkRuntimes, nil},
	{"networkruntime/{uuid}", allowRead, false, schema.Documented, networkRuntimes, nil},
	{"vimgrnwruntime", allowRead, false, schema.Documented, networkDiscoveries, nil},
	{"vimgrnwruntime/{uuid}", allowRead, false, schema.Documented, networkDiscoveries, nil},

	{"{type}-inventory", allowRead, false, schema.Documented, inventory, nil},
	{"{type}-inventory/{uuid}", allowRead, false, schema.Documented, inventory, nil},

	{"pool/{uuid}/runtime/server", allowRead, false, schema.Documented, poolServers, nil},
	{"pool/{uuid}/runtime/server/detail", allowRead, false, schema.Documented, poolServersDetail, nil},
	{"pool/{uuid}/runtime/server/hmonstat", allowRead, false, schema.Documented, poolServersMonitors, nil},
	{"pool/{uuid}/vs", allowRead, false, schema.Documented, poolUsers, nil},
	{"virtualservice/{uuid}/switchover", allowPost, false, schema.Documented, nil, switchoverOf},
	{"cloud/{uuid}/status", allowRead, false, schema.Documented, cloudStatus, nil},
	{"serviceenginegroup/{uuid}/placement/summary", allowRead, false, schema.Documented, groupPlacement, nil},
	{"{type}/{uuid}/runtime", allowRead, false, schema.Documented, subRuntime, nil},
	{"{type}/{uuid}/runtime/detail", allowRead, false, schema.Documented, subRuntimeDetail, nil},

	{"systemconfiguration", allowSingleton, false, schema.Recorded, showSingleton, changeSingleton},
	{"controllerproperties", allowSingleton, false, schema.Documented, showSingleton, changeSingleton},
	{"seproperties", allowSingleton, false, schema.Documented, showSingleton, changeSingleton},
	{"{type}", allowList, false, schema.Recorded, list, create},
	{"{type}/{uuid}", allowItem, false, schema.Recorded, showItem, changeItem},
}

// notSimulated are paths, by their first segment, that scripts of the vendor use and that a Controller has. The answer is the
// simulator's own.
var notSimulated = map[string]string{"analytics": "/api/analytics", "configuration": "/api/configuration"}

// endpointParts are the rows' paths taken apart, without the slash of those at the root.
var endpointParts = func() [][]string {
	out := make([][]string, len(endpointTable))
	for i, e := range endpointTable {
		out[i] = strings.Split(strings.TrimPrefix(e.path, "/"), "/")
	}
	return out
}()

// EndpointInfo describes one path of the simulated Controller.
type EndpointInfo struct {
	Path, Allow string
	Known       schema.Evidence
}

// Endpoints lists the paths that are served, in the order in which they are tried.
func Endpoints() []EndpointInfo {
	out := make([]EndpointInfo, len(endpointTable))
	for i, e := range endpointTable {
		out[i] = EndpointInfo{"/api/" + e.path, e.allow, e.known}
		if e.path[0] == '/' {
			out[i].Path = e.path
		}
	}
	return out
}

// endpoint finds the row of a path, nil if there is none. {type} stands for an object type that the server knows, and of which there may
// be more than one object.
func (r Route) endpoint() *endpoint {
	have := append([]string{r.Name()}, r.sub...)
	if r.UUID != "" {
		have = append([]string{r.Name(), r.UUID}, r.sub...)
	}
	kind := world.KindOf(r.Type)
	typed := r.API && kind != nil && !kind.Singleton
next:
	for i := range endpointTable {
		e, want := &endpointTable[i], endpointParts[i]
		if len(have) != len(want) || r.API == (e.path[0] == '/') {
			continue
		}
		for j, w := range want {
			switch {
			case w == "{type}":
				if !typed || r.inv {
					continue next
				}
			case w == "{type}-inventory":
				if !typed || !r.inv {
					continue next
				}
			case w != "{uuid}" && w != have[j]:
				continue next
			}
		}
		return e
	}
	return nil
}

func (e *endpoint) allows(method string) bool {
	return slices.Contains(strings.Split(e.allow, ", "), method)
}
