package avisim

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// route is a request's cleaned path taken apart: /api/<typ>/<uuid>/<sub…>.
type route struct {
	api  bool   // under /api
	typ  string // object type or special endpoint; "login" and "logout" at the root
	inv  bool   // <typ>-inventory
	uuid string
	sub  []string
}

// parseRoute cleans a path without ever redirecting: clients glue "//api/…" together and end paths with a slash, and a
// redirect would turn their POST into a GET. Evidence: verified with the SDK.
func parseRoute(path string) route {
	seg := strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
	if len(seg) == 0 {
		return route{}
	}
	if seg[0] != "api" {
		return route{typ: seg[0], sub: seg[1:]}
	}
	r := route{api: true}
	if len(seg) > 1 {
		r.typ = seg[1]
	}
	if len(seg) > 2 {
		r.uuid = seg[2]
	}
	if len(seg) > 3 {
		r.sub = seg[3:]
	}
	if t, ok := strings.CutSuffix(r.typ, "-inventory"); ok {
		r.typ, r.inv = t, true
	}
	return r
}

// name is the first path segment after /api.
func (r route) name() string {
	if r.inv {
		return r.typ + "-inventory"
	}
	return r.typ
}

// template is the path with the uuid left out, to count requests by.
func (r route) template() string {
	if !r.api {
		return "/" + r.typ
	}
	t := "/api/" + r.name()
	if r.uuid != "" {
		if r.typ == "cluster" || r.typ == "licensing" { // fixed words, not uuids
			t += "/" + r.uuid
		} else {
			t += "/{uuid}"
		}
	}
	for _, s := range r.sub {
		t += "/" + s
	}
	return t
}

// call is one request on its way, with what the steps have found out about it.
type call struct {
	r       *http.Request
	store   *store
	body    []byte
	query   url.Values
	route   route
	session string // id
	user    string
	version version
	tenant  string // uuid of the tenant, or "*"
}

// base is the address that the client used, which is the one that URLs in answers have. Evidence: inferred.
func (c *call) base() string { return "https://" + c.r.Host }

func (c *call) renderer(names bool) *renderer {
	return &renderer{store: c.store, base: c.base(), names: names}
}

// endpoint is a path that is not an object type. Those that are open need no session.
type endpoint struct {
	open  bool
	serve func(*Server, *call) *answer
}

// endpoints returns the table of special paths; New keeps it.
func endpoints() map[string]*endpoint {
	return map[string]*endpoint{
		"initial-data":                     {true, (*Server).initialData},
		"cluster":                          {false, (*Server).cluster},
		"licensing":                        {false, (*Server).licensing},
		"license":                          {false, (*Server).licensing},
		"licenseusage":                     {false, (*Server).licensing},
		"systemlimits":                     {false, (*Server).systemLimits},
		"user-token":                       {false, (*Server).userToken},
		"useraccount":                      {false, (*Server).userAccount},
		"ipamdnsproviderprofiledomainlist": {false, (*Server).domains},
		"networkruntime":                   {false, (*Server).networkRuntimes},
	}
}

// allow is the Allow header of an answer. Evidence: recorded.
func (r route) allow() string {
	switch {
	case !r.api:
		return "POST, OPTIONS"
	case r.uuid != "":
		return "HEAD, GET, PUT, PATCH, OPTIONS, DELETE"
	}
	return "HEAD, POST, GET, OPTIONS"
}

func notAllowed(c *call) *answer {
	return detail(http.StatusMethodNotAllowed, fmt.Sprintf("Method '%s' not allowed.", c.r.Method)) // documented
}

// notFound answers for an unknown endpoint. Evidence: 404 with a body that is not JSON is documented, the bytes are not.
func notFound() *answer {
	a := plain(http.StatusNotFound, "<!DOCTYPE html><html><head><title>404 Not Found</title></head><body><h1>Not Found</h1></body></html>")
	a.set("Content-Type", "text/html")
	return a
}

// handle produces the answer to a request: authentication and gates first, then the endpoint.
func (s *Server) handle(c *call) *answer {
	ep := s.endpoints[c.route.typ]
	switch {
	case !c.route.api && c.route.typ == "login" && len(c.route.sub) == 0:
		c.version = oldest // recorded: login answers with the oldest version
		return s.login(c)
	case ep != nil && c.route.api && (ep.open || c.route.typ == "cluster" && c.route.uuid == "status"):
		return ep.serve(s, c)
	}
	if bad := s.authenticate(c); bad != nil {
		return bad
	}
	a := s.authenticated(c, ep)
	s.sessionMu.Lock()
	defer s.sessionMu.Unlock()
	if s.sessions[c.session] != nil {
		s.cookies(a, c.session, "")
	}
	return a
}

func (s *Server) authenticated(c *call, ep *endpoint) *answer {
	if !c.route.api {
		if c.route.typ == "logout" {
			return s.logout(c)
		}
		return notFound()
	}
	if h := c.r.Header.Get("X-Avi-Version"); h != "" {
		v, err := parseVersion(h)
		if err != nil || v > s.version { // documented: clients look for the text; the status is unverified
			return refuse(http.StatusBadRequest, "Invalid version %s, supported versions are up to %s", h, s.version.join(".")).answer()
		}
		c.version = v
	}
	if bad := s.findTenant(c); bad != nil {
		return bad
	}
	if s.upgrading.Load() && c.r.Method != http.MethodGet && c.r.Method != http.MethodHead {
		return refuse(http.StatusForbidden, "Configuration is disallowed during upgrade").answer()
	}
	if ep != nil {
		return ep.serve(s, c)
	}
	sh := s.store.shelves[c.route.typ] // the set of types is fixed
	switch {
	case sh == nil:
		return notFound()
	case c.route.inv:
		return s.inventory(c, sh.kind)
	case sh.kind.singleton:
		if len(c.route.sub) > 0 {
			return notFound()
		}
		c.route.uuid = "default"
		return s.item(c, sh.kind)
	case c.route.uuid == "":
		return s.collection(c, sh.kind)
	case len(c.route.sub) > 0:
		return s.subresource(c, sh.kind)
	}
	return s.item(c, sh.kind)
}

// findTenant reads the tenant headers. Evidence: names and uuids are documented, the text of the refusal too; its status
// is the one that a client expects.
func (s *Server) findTenant(c *call) *answer {
	s.mu.RLock()
	defer s.mu.RUnlock()
	c.tenant = adminTenant
	if id := c.r.Header.Get("X-Avi-Tenant-UUID"); id != "" {
		if s.store.get(ref{"tenant", id}) == nil {
			return refuse(http.StatusForbidden, "Tenant '%s' does not exist!", id).answer()
		}
		c.tenant = id
		return nil
	}
	switch name := c.r.Header.Get("X-Avi-Tenant"); name {
	case "":
	case allTenants:
		c.tenant = allTenants
	default:
		id, ok := s.store.tenantByName(name)
		if !ok {
			return refuse(http.StatusForbidden, "Tenant '%s' does not exist!", name).answer()
		}
		c.tenant = id
	}
	return nil
}

// collection serves /api/<type>.
func (s *Server) collection(c *call, kind *objectType) *answer {
	switch c.r.Method {
	case http.MethodGet, http.MethodHead:
		s.mu.RLock()
		defer s.mu.RUnlock()
		return s.list(c, kind, s.show(c))
	case http.MethodPost:
		body, bad := parse(c.body)
		if bad != nil {
			return bad
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		w := &write{server: s, store: s.store, kind: kind, at: c.version, tenant: c.tenant, incoming: body, slug: c.r.Header.Get("Slug")}
		o, err := w.run()
		if err != nil {
			return err.answer()
		}
		r := c.renderer(true)
		a := reply(http.StatusCreated, s.present(c, r, o, includes(c.query, "skip_default")))
		a.set("Location", r.url(o.ref))
		return a
	}
	return notAllowed(c)
}

// item serves /api/<type>/<uuid>.
func (s *Server) item(c *call, kind *objectType) *answer {
	read := c.r.Method == http.MethodGet || c.r.Method == http.MethodHead
	if !read && !slices.Contains([]string{http.MethodPut, http.MethodPatch, http.MethodDelete}, c.r.Method) ||
		kind.singleton && c.r.Method == http.MethodDelete {
		return notAllowed(c)
	}
	var body map[string]any
	if c.r.Method == http.MethodPut || c.r.Method == http.MethodPatch {
		var bad *answer
		if body, bad = parse(c.body); bad != nil {
			return bad
		}
	}
	if read {
		s.mu.RLock()
		defer s.mu.RUnlock()
	} else {
		s.mu.Lock()
		defer s.mu.Unlock()
	}
	o := s.store.get(ref{kind.path, c.route.uuid})
	if o == nil || !o.visible(c.tenant) {
		return missing(kind)
	}
	if read {
		return reply(http.StatusOK, s.show(c)(c.renderer(includes(c.query, "include_name")), o))
	}
	if c.tenant != allTenants && o.tenant != c.tenant { // documented for VrfContext, inferred for the others
		return refuse(http.StatusBadRequest, "Cannot modify %s", kind.title).answer()
	}
	if c.r.Method == http.MethodDelete {
		if err := s.remove(o); err != nil {
			return err.answer()
		}
		return &answer{status: http.StatusNoContent}
	}
	w := &write{server: s, store: s.store, kind: kind, old: o, at: c.version, tenant: o.tenant}
	if c.r.Method == http.MethodPut {
		w.incoming = body
	} else {
		w.patch = body
	}
	o, err := w.run()
	if err != nil {
		return err.answer()
	}
	return reply(http.StatusOK, s.present(c, c.renderer(true), o, includes(c.query, "skip_default")))
}

func missing(kind *objectType) *answer {
	return refuse(http.StatusNotFound, "%s object not found!", kind.title).answer()
}

func parse(b []byte) (map[string]any, *answer) {
	body, err := decode(b)
	if err != nil {
		return nil, detail(http.StatusBadRequest, "JSON parse error - "+err.Error())
	}
	return body, nil
}
