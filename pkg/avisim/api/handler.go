package api

import (
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"

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
		return notFound()
	}
	if !c.Route.API {
		return ep.serve(c)
	}
	if sent := c.Request.Header.Get("X-Avi-Version"); sent != "" && c.version == schema.Oldest {
		if v, err := schema.ParseVersion(sent); err != nil || v > c.api.world.Version() { // documented: clients look for the text; the status is unverified
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
		if o := s.Store.Get(doc.Ref{Type: "controllerproperties", UUID: "default"}); o != nil {
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
