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
	tenant  string   // uuid of the tenant, or "*"
	replica *replica // to be read from; nil: the server's own store
	passing bool     // holds Server.passing
}

// base is the address that the client used, which is the one that URLs in answers have. Evidence: inferred.
func (c *call) base() string { return "https://" + c.r.Host }

func (c *call) renderer(names bool) *renderer {
	return &renderer{store: c.store, base: c.base(), names: names}
}

// endpoint is one row of the table of paths.
type endpoint struct {
	path  string // below /api unless it starts with a slash; {…} stands for any one segment
	allow string // the methods as the Allow header lists them
	open  bool   // needs no session
	known Evidence
	serve func(*Server, *call) *answer
}

// The Allow headers. Evidence: recorded for login, lists, items and singletons; the others follow their pattern.
const (
	allowPost      = "POST, OPTIONS"
	allowRead      = "HEAD, GET, OPTIONS"
	allowList      = "HEAD, POST, GET, OPTIONS"
	allowItem      = "HEAD, GET, PUT, PATCH, OPTIONS, DELETE"
	allowSingleton = "HEAD, GET, PUT, PATCH, OPTIONS"
	allowMacro     = "POST, PUT, OPTIONS, DELETE"
	allowToken     = "HEAD, GET, OPTIONS, DELETE"
)

// endpointTable lists all paths. The first row that fits serves a request, so special paths stand before {type}.
var endpointTable = []endpoint{
	{"/login", allowPost, true, Recorded, (*Server).login},
	{"/logout", allowPost, false, Documented, (*Server).logout},

	{"initial-data", allowRead, true, Documented, (*Server).initialData},
	{"cluster", "HEAD, GET, PUT, OPTIONS", false, Documented, (*Server).cluster},
	{"cluster/runtime", allowRead, false, Documented, (*Server).clusterRuntime},
	{"cluster/version", allowRead, false, Documented, (*Server).clusterVersion},
	{"cluster/status", allowRead, true, Unverified, (*Server).clusterStatus},
	{"licensing", allowRead, false, Documented, (*Server).license},
	{"licensing/status", allowRead, false, Documented, (*Server).licenseStatus},
	{"license", allowRead, false, Documented, (*Server).license},
	{"licenseusage", allowRead, false, Documented, (*Server).licenseUsage},
	{"systemlimits", allowRead, false, Documented, (*Server).systemLimits},
	{"ipamdnsproviderprofiledomainlist", allowRead, false, Documented, (*Server).domains},

	{"useraccount", allowSingleton, false, Recorded, (*Server).userAccount},
	{"user-token", allowList, false, Documented, (*Server).userTokens},
	{"user-token/{uuid}", allowToken, false, Documented, (*Server).userToken},
	{"macro", allowMacro, false, Documented, (*Server).macro},

	{"networkruntime", allowRead, false, Documented, (*Server).networkRuntimes},
	{"networkruntime/{uuid}", allowRead, false, Documented, (*Server).networkRuntimes},
	{"vimgrnwruntime", allowRead, false, Documented, (*Server).networkDiscoveries},
	{"vimgrnwruntime/{uuid}", allowRead, false, Documented, (*Server).networkDiscoveries},

	{"{type}-inventory", allowRead, false, Documented, (*Server).inventory},
	{"{type}-inventory/{uuid}", allowRead, false, Documented, (*Server).inventory},

	{"pool/{uuid}/runtime/server", allowRead, false, Documented, (*Server).poolServers},
	{"pool/{uuid}/runtime/server/detail", allowRead, false, Documented, (*Server).poolServersDetail},
	{"pool/{uuid}/runtime/server/hmonstat", allowRead, false, Documented, (*Server).poolServersMonitors},
	{"pool/{uuid}/vs", allowRead, false, Documented, (*Server).poolUsers},
	{"virtualservice/{uuid}/switchover", allowPost, false, Documented, (*Server).switchoverOf},
	{"cloud/{uuid}/status", allowRead, false, Documented, (*Server).cloudStatus},
	{"serviceenginegroup/{uuid}/placement/summary", allowRead, false, Documented, (*Server).groupPlacement},
	{"{type}/{uuid}/runtime", allowRead, false, Documented, (*Server).subRuntime},
	{"{type}/{uuid}/runtime/detail", allowRead, false, Documented, (*Server).subRuntimeDetail},

	{"systemconfiguration", allowSingleton, false, Recorded, (*Server).singleton},
	{"systemconfiguration/{uuid}", allowSingleton, false, Inferred, (*Server).singleton},
	{"controllerproperties", allowSingleton, false, Documented, (*Server).singleton},
	{"controllerproperties/{uuid}", allowSingleton, false, Inferred, (*Server).singleton},
	{"seproperties", allowSingleton, false, Documented, (*Server).singleton},
	{"seproperties/{uuid}", allowSingleton, false, Inferred, (*Server).singleton},
	{"{type}", allowList, false, Recorded, (*Server).collection},
	{"{type}/{uuid}", allowItem, false, Recorded, (*Server).item},
}

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
	Known       Evidence
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

// endpoint finds the row of a path, nil if there is none. {type} stands for an object type that the server knows.
func (r route) endpoint(s *store) *endpoint {
	have := append([]string{r.name()}, r.sub...)
	if r.uuid != "" {
		have = append([]string{r.name(), r.uuid}, r.sub...)
	}
	typed := r.api && s.shelves[r.typ] != nil
next:
	for i := range endpointTable {
		e, want := &endpointTable[i], endpointParts[i]
		if len(have) != len(want) || r.api == (e.path[0] == '/') {
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

// allow is the Allow header of an answer.
func (c *call) allow() string {
	if e := c.route.endpoint(c.store); e != nil {
		return e.allow
	}
	return allowList // of a path that is not there: unverified
}

func (e *endpoint) allows(method string) bool {
	return slices.Contains(strings.Split(e.allow, ", "), method)
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
	if c.r.Method != strings.ToUpper(c.r.Method) { // documented: names of methods are case-sensitive, "patch" is a bad request
		return plain(http.StatusBadRequest, "Bad Request")
	}
	ep := c.route.endpoint(c.store)
	sent := c.r.Header.Get("X-Avi-Version")
	if v, err := parseVersion(sent); sent != "" && err == nil && v <= s.version && c.route.api {
		c.version = v // refusals echo it too, and login does not: recorded
	}
	if ep != nil && ep.open {
		return s.serve(c, ep)
	}
	if bad := s.authenticate(c); bad != nil {
		return bad
	}
	a := s.answerFor(c, ep)
	s.renew(c, a)
	return a
}

func (s *Server) authenticated(c *call, ep *endpoint) *answer {
	if ep == nil {
		return notFound()
	}
	if !c.route.api {
		return s.serve(c, ep)
	}
	if h := c.r.Header.Get("X-Avi-Version"); h != "" && c.version == oldest {
		if v, err := parseVersion(h); err != nil || v > s.version { // documented: clients look for the text; the status is unverified
			return refuse(http.StatusBadRequest, "Invalid version %s, supported versions are up to %s", h, s.version.join(".")).answer()
		}
	}
	if bad := s.findTenant(c); bad != nil {
		return bad
	}
	if s.upgrading.Load() && !c.reads() {
		return refuse(http.StatusForbidden, "Configuration is disallowed during upgrade").answer()
	}
	return s.serve(c, ep)
}

// reads tells if the request changes nothing.
func (c *call) reads() bool {
	return c.r.Method == http.MethodGet || c.r.Method == http.MethodHead || c.r.Method == http.MethodOptions
}

// serve checks the method and calls the endpoint. Evidence for OPTIONS: the method is listed in recordings, its body is
// unverified.
func (s *Server) serve(c *call, ep *endpoint) *answer {
	switch {
	case !ep.allows(c.r.Method):
		return notAllowed(c)
	case c.r.Method == http.MethodOptions:
		return reply(http.StatusOK, map[string]any{"name": c.route.name(), "renders": []string{"application/json"},
			"parses": []string{"application/json", "application/x-www-form-urlencoded"}})
	}
	return ep.serve(s, c)
}

// kind is the object type that the path names; only for rows with {type}.
func (c *call) kind() *objectType { return c.store.shelves[c.route.typ].kind }

// findTenant reads the tenant headers. Evidence: names and uuids are documented, the text of the refusal too; its status
// is the one that a client expects.
func (s *Server) findTenant(c *call) *answer {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if id := c.r.Header.Get("X-Avi-Tenant-UUID"); id != "" {
		if s.store.get(ref{"tenant", id}) == nil {
			return refuse(http.StatusForbidden, "Tenant '%s' does not exist!", id).answer()
		}
		c.tenant = id
		return nil
	}
	switch name := c.r.Header.Get("X-Avi-Tenant"); name {
	case "":
		c.tenant = s.defaultTenant(c.user)
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
func (s *Server) collection(c *call) *answer {
	kind := c.kind()
	if c.r.Method != http.MethodPost {
		s.mu.RLock()
		defer s.mu.RUnlock()
		return s.list(c, kind, s.show(c))
	}
	body, bad := parse(c.body)
	if bad != nil {
		return bad
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := c.owns(kind); err != nil {
		return err.answer()
	}
	if name := c.r.Header.Get("X-Avi-Cloud"); name != "" && kind.cloud && body["cloud_ref"] == nil {
		body["cloud_ref"] = "/api/cloud?name=" + url.QueryEscape(name)
	}
	w := &write{server: s, store: s.store, kind: kind, at: c.version, tenant: c.tenant, incoming: body, slug: c.r.Header.Get("Slug")}
	o, err := w.run()
	if err != nil {
		return err.answer()
	}
	return s.written(c, http.StatusCreated, o)
}

// written is the answer to a write: the whole object, with names in its references. Evidence: recorded.
func (s *Server) written(c *call, status int, o *object) *answer {
	r := c.renderer(true)
	a := reply(status, s.present(c, r, o, includes(c.query, "skip_default")))
	if status == http.StatusCreated {
		a.set("Location", r.url(o.ref))
	}
	return a
}

// owns refuses a write of a type that only the admin tenant has from another tenant. Evidence: that tenants are written by
// admin only is documented; status and text follow those of VrfContext.
func (c *call) owns(kind *objectType) *apiError {
	if adminOnly[kind.path] && c.tenant != adminTenant && c.tenant != allTenants {
		return refuse(http.StatusBadRequest, "Cannot modify %s", kind.title)
	}
	return nil
}

// adminOnly are the types whose objects are all in the admin tenant.
var adminOnly = map[string]bool{"tenant": true, "user": true, "useraccountprofile": true,
	"systemconfiguration": true, "controllerproperties": true}

// item serves /api/<type>/<uuid>.
func (s *Server) item(c *call) *answer {
	return s.one(c, c.kind(), c.route.uuid)
}

// singleton serves a type of which there is one object, with or without its uuid in the path.
func (s *Server) singleton(c *call) *answer {
	if id := c.route.uuid; id != "" && id != "default" {
		return missing(c.kind())
	}
	return s.one(c, c.kind(), "default")
}

func (s *Server) one(c *call, kind *objectType, uuid string) *answer {
	var body map[string]any
	if empty := len(c.body) == 0 && kind.singleton; c.r.Method == http.MethodPut && !empty || c.r.Method == http.MethodPatch {
		var bad *answer
		if body, bad = parse(c.body); bad != nil {
			return bad
		}
	}
	if c.reads() {
		s.mu.RLock()
		defer s.mu.RUnlock()
	} else {
		s.mu.Lock()
		defer s.mu.Unlock()
	}
	o := s.store.get(ref{kind.path, uuid})
	if o == nil || !o.visible(c.tenant) {
		return missing(kind)
	}
	if c.reads() {
		return reply(http.StatusOK, s.show(c)(c.renderer(c.named()), o))
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
	if body == nil { // recorded for a singleton: nothing changes but _last_modified
		touched := *o
		touched.modified = s.tick()
		s.store.put(&touched)
		return s.written(c, http.StatusOK, &touched)
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
	if kind.path == "systemconfiguration" {
		s.presentPortal(o)
	}
	return s.written(c, http.StatusOK, o)
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

// named tells if a read shows names behind references. Evidence: include_name is recorded; that include_refs does the same is
// inferred from a client that sends both.
func (c *call) named() bool {
	return includes(c.query, "include_name") || includes(c.query, "include_refs")
}
