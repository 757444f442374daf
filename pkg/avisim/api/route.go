package api

import (
	"slices"
	"strings"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/schema"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/world"
)

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
	allowToken     = "HEAD, GET, OPTIONS, DELETE"
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
	{"systemconfiguration/{uuid}", allowSingleton, false, schema.Inferred, showSingleton, changeSingleton},
	{"controllerproperties", allowSingleton, false, schema.Documented, showSingleton, changeSingleton},
	{"controllerproperties/{uuid}", allowSingleton, false, schema.Inferred, showSingleton, changeSingleton},
	{"seproperties", allowSingleton, false, schema.Documented, showSingleton, changeSingleton},
	{"seproperties/{uuid}", allowSingleton, false, schema.Inferred, showSingleton, changeSingleton},
	{"{type}", allowList, false, schema.Recorded, list, create},
	{"{type}/{uuid}", allowItem, false, schema.Recorded, showItem, changeItem},
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

// endpoint finds the row of a path, nil if there is none. {type} stands for an object type that the server knows.
func (r Route) endpoint() *endpoint {
	have := append([]string{r.Name()}, r.sub...)
	if r.UUID != "" {
		have = append([]string{r.Name(), r.UUID}, r.sub...)
	}
	typed := r.API && world.KindOf(r.Type) != nil
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
