package avisim

import (
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"

	"golang.org/x/time/rate"
)

// API answers requests out of a world, as a Controller does.
type API struct {
	world    *World
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

// NewAPI makes the API of a world. username is the user that effects mean which name none; requireReferer refuses unsafe requests without
// a Referer, as the Controller's framework would (documented, status inferred).
func NewAPI(w *World, portal Portal, username string, requireReferer bool) (*API, error) {
	accounts, err := newAccounts(w, username)
	if err != nil {
		return nil, err
	}
	return &API{world: w, accounts: accounts, portal: portal, requireReferer: requireReferer}, nil
}

// Accounts returns the sessions, tokens and lock-outs.
func (h *API) Accounts() *Accounts { return h.accounts }

// World is what the API answers out of.
func (h *API) World() *World { return h.world }

// SetUpgradeMode makes writes fail with 403 "Configuration is disallowed during upgrade" while reads work.
func (h *API) SetUpgradeMode(on bool) { h.upgrading.Store(on) }

// Upgrading reports whether the upgrade mode is on.
func (h *API) Upgrading() bool { return h.upgrading.Load() }

// call is one request on its way, with what the steps have found out about it.
type call struct {
	api     *API
	r       *http.Request
	body    []byte
	query   url.Values
	route   route
	session string // id
	user    string
	version version
	tenant  string   // uuid of the tenant, or "*"
	replica *Replica // to be read from; nil: the world itself
}

// Call makes a call of a request whose body was read.
func (h *API) Call(r *http.Request, body []byte) *call {
	c := &call{api: h, r: r, body: body, version: oldest, route: parseRoute(r.URL.Path)}
	// Clients write "?a=b&" and "?name"; what does not parse is left out as the Controller's framework would.
	c.query, _ = url.ParseQuery(r.URL.RawQuery)
	return c
}

// base is the address that the client used, which is the one that URLs in answers have. Evidence: inferred.
func (c *call) base() string { return "https://" + c.r.Host }

func (c *call) renderer(s *Reader, names bool) *renderer { return s.Renderer(c.base(), names) }

// reads reports whether the request changes nothing.
func (c *call) reads() bool {
	return c.r.Method == http.MethodGet || c.r.Method == http.MethodHead || c.r.Method == http.MethodOptions
}

func isRead(c *call) bool { return c.r.Method == http.MethodGet || c.r.Method == http.MethodHead }

// kind is the object type that the path names; only for rows with {type}.
func (c *call) kind() *Kind { return KindOf(c.route.typ) }

// named reports whether a read shows names behind references. Evidence: include_name is recorded; that include_refs does the same is
// inferred from a client that sends both.
func (c *call) named() bool {
	return includes(c.query, "include_name") || includes(c.query, "include_refs")
}

// allow is the Allow header of an answer.
func (c *call) allow() string {
	if e := c.route.endpoint(); e != nil {
		return e.allow
	}
	return allowList // of a path that is not there: unverified
}

// read looks at the world, or at the replica that the call was sent to.
func (c *call) read(look func(*Reader)) {
	if c.replica != nil && c.route.api && KindOf(c.route.typ) != nil {
		c.api.world.ReadReplica(c.replica, look)
		return
	}
	c.api.world.Read(look)
}

// Answer handles a request: limits and gates, authentication, then the endpoint.
func (h *API) Answer(c *call) *answer {
	h.world.CatchUp()
	if !isRead(c) {
		defer h.world.Dirty() // sessions, tokens and passwords are not in the store
	}
	switch {
	case h.overLimit():
		return usualAnswer(c, http.StatusTooManyRequests)
	case h.requireReferer && !isRead(c) && c.r.Referer() == "":
		return detail(http.StatusForbidden, "CSRF Failed: Referer checking failed - no Referer.")
	case c.r.Method != strings.ToUpper(c.r.Method): // documented: names of methods are case-sensitive, "patch" is a bad request
		return plain(http.StatusBadRequest, "Bad Request")
	}
	ep := c.route.endpoint()
	sent := c.r.Header.Get("X-Avi-Version")
	if v, err := parseVersion(sent); sent != "" && err == nil && v <= h.world.Version() && c.route.api {
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
func (c *call) authenticated(ep *endpoint) *answer {
	if ep == nil {
		return notFound()
	}
	if !c.route.api {
		return ep.serve(c)
	}
	if sent := c.r.Header.Get("X-Avi-Version"); sent != "" && c.version == oldest {
		if v, err := parseVersion(sent); err != nil || v > c.api.world.Version() { // documented: clients look for the text; the status is unverified
			return refused(http.StatusBadRequest, "Invalid version %s, supported versions are up to %s", sent, c.api.world.Version().join("."))
		}
	}
	if bad := c.findTenant(); bad != nil {
		return bad
	}
	if c.api.upgrading.Load() && !c.reads() {
		return refused(http.StatusForbidden, "Configuration is disallowed during upgrade")
	}
	return ep.serve(c)
}

// serve checks the method and calls the endpoint. Evidence for OPTIONS: the method is listed in recordings, its body is
// unverified.
func (e *endpoint) serve(c *call) (a *answer) {
	switch {
	case !e.allows(c.r.Method):
		return notAllowed(c)
	case c.r.Method == http.MethodOptions:
		return reply(http.StatusOK, map[string]any{"name": c.route.name(), "renders": []string{"application/json"},
			"parses": []string{"application/json", "application/x-www-form-urlencoded"}})
	case e.look != nil && (c.reads() || e.act == nil):
		c.read(func(s *Reader) { a = e.look(c, s) })
		return a
	}
	return e.act(c)
}

// findTenant reads the tenant headers. Evidence: names and uuids are documented, the text of the refusal too; its status
// is the one that a client expects.
func (c *call) findTenant() (bad *answer) {
	c.read(func(s *Reader) {
		if id := c.r.Header.Get("X-Avi-Tenant-UUID"); id != "" {
			if s.store.get(ref{"tenant", id}) == nil {
				bad = refused(http.StatusForbidden, "Tenant '%s' does not exist!", id)
			}
			c.tenant = id
			return
		}
		switch name := c.r.Header.Get("X-Avi-Tenant"); name {
		case "":
			c.tenant = defaultTenant(s, c.user)
		case allTenants:
			c.tenant = allTenants
		default:
			id, ok := s.store.tenantByName(name)
			if !ok {
				bad = refused(http.StatusForbidden, "Tenant '%s' does not exist!", name)
			}
			c.tenant = id
		}
	})
	return bad
}

// defaultTenant is the tenant of requests that name none. Evidence: documented.
func defaultTenant(s *Reader, user string) string {
	if o := s.User(user); o != nil {
		if r := refAt(o.body, "default_tenant_ref"); r.typ == "tenant" && s.store.get(r) != nil {
			return r.uuid
		}
	}
	return adminTenant
}

// overLimit reports whether a request is over the limits of the controller properties. Evidence: the settings are documented by the
// schema, both off by default; that one without the other does nothing, and the answer, are unverified.
func (h *API) overLimit() bool {
	var perSecond, burst int
	h.world.Read(func(s *Reader) {
		if o := s.store.get(ref{"controllerproperties", "default"}); o != nil {
			perSecond, burst = integer(o.body, "portal_request_rate_limit"), integer(o.body, "portal_request_burst_limit")
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
