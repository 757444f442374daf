package avisim

import (
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

// endpoint is one row of the table of paths.
type endpoint struct {
	path  string // below /api unless it starts with a slash; {…} stands for any one segment
	allow string // the methods as the Allow header lists them
	open  bool   // needs no session
	known Evidence
	look  func(*call, *Reader) *answer // GET and HEAD
	act   func(*call) *answer          // all other methods, and reads if there is no look
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
	{"/login", allowPost, true, Recorded, nil, login},
	{"/logout", allowPost, false, Documented, nil, logout},

	{"initial-data", allowRead, true, Documented, initialData, nil},
	{"cluster", "HEAD, GET, PUT, OPTIONS", false, Documented, showCluster, putCluster},
	{"cluster/runtime", allowRead, false, Documented, clusterRuntime, nil},
	{"cluster/version", allowRead, false, Documented, clusterVersion, nil},
	{"cluster/status", allowRead, true, Unverified, clusterStatus, nil},
	{"licensing", allowRead, false, Documented, license, nil},
	{"licensing/status", allowRead, false, Documented, licenseStatus, nil},
	{"license", allowRead, false, Documented, license, nil},
	{"licenseusage", allowRead, false, Documented, licenseUsage, nil},
	{"systemlimits", allowRead, false, Documented, systemLimits, nil},
	{"ipamdnsproviderprofiledomainlist", allowRead, false, Documented, domains, nil},

	{"useraccount", allowSingleton, false, Recorded, ownAccount, changeAccount},
	{"user-token", allowList, false, Documented, nil, userTokens},
	{"user-token/{uuid}", allowToken, false, Documented, nil, userToken},
	{"macro", allowMacro, false, Documented, nil, runMacro},

	{"networkruntime", allowRead, false, Documented, networkRuntimes, nil},
	{"networkruntime/{uuid}", allowRead, false, Documented, networkRuntimes, nil},
	{"vimgrnwruntime", allowRead, false, Documented, networkDiscoveries, nil},
	{"vimgrnwruntime/{uuid}", allowRead, false, Documented, networkDiscoveries, nil},

	{"{type}-inventory", allowRead, false, Documented, inventory, nil},
	{"{type}-inventory/{uuid}", allowRead, false, Documented, inventory, nil},

	{"pool/{uuid}/runtime/server", allowRead, false, Documented, poolServers, nil},
	{"pool/{uuid}/runtime/server/detail", allowRead, false, Documented, poolServersDetail, nil},
	{"pool/{uuid}/runtime/server/hmonstat", allowRead, false, Documented, poolServersMonitors, nil},
	{"pool/{uuid}/vs", allowRead, false, Documented, poolUsers, nil},
	{"virtualservice/{uuid}/switchover", allowPost, false, Documented, nil, switchoverOf},
	{"cloud/{uuid}/status", allowRead, false, Documented, cloudStatus, nil},
	{"serviceenginegroup/{uuid}/placement/summary", allowRead, false, Documented, groupPlacement, nil},
	{"{type}/{uuid}/runtime", allowRead, false, Documented, subRuntime, nil},
	{"{type}/{uuid}/runtime/detail", allowRead, false, Documented, subRuntimeDetail, nil},

	{"systemconfiguration", allowSingleton, false, Recorded, showSingleton, changeSingleton},
	{"systemconfiguration/{uuid}", allowSingleton, false, Inferred, showSingleton, changeSingleton},
	{"controllerproperties", allowSingleton, false, Documented, showSingleton, changeSingleton},
	{"controllerproperties/{uuid}", allowSingleton, false, Inferred, showSingleton, changeSingleton},
	{"seproperties", allowSingleton, false, Documented, showSingleton, changeSingleton},
	{"seproperties/{uuid}", allowSingleton, false, Inferred, showSingleton, changeSingleton},
	{"{type}", allowList, false, Recorded, list, create},
	{"{type}/{uuid}", allowItem, false, Recorded, showItem, changeItem},
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
func (r route) endpoint() *endpoint {
	have := append([]string{r.name()}, r.sub...)
	if r.uuid != "" {
		have = append([]string{r.name(), r.uuid}, r.sub...)
	}
	typed := r.api && KindOf(r.typ) != nil
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

func (e *endpoint) allows(method string) bool {
	return slices.Contains(strings.Split(e.allow, ", "), method)
}
