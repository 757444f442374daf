// SPDX-License-Identifier: Apache-2.0

package avisim

import (
	"slices"
	"strings"
	"testing"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/doc"
)

// TestEndpoints asks every path of the table for every method: those that its Allow header lists are served, the others get
// 405, and nothing redirects.
func TestEndpoints(t *testing.T) {
	for _, e := range Endpoints() {
		t.Run(e.Path, func(t *testing.T) {
			s, c := signedIn(t, Options{})
			ids := c.service("amf", "10.20.1.1")
			token := c.want(201, "POST", "/api/user-token", obj{"hours": 1}).uuid()
			typ := "pool"
			parts := strings.Split(e.Path, "/")
			path := strings.NewReplacer("{type}", typ).Replace(e.Path)
			for _, other := range []string{"cloud", "serviceenginegroup", "networkruntime", "vimgrnwruntime"} {
				if parts[min(2, len(parts)-1)] != other {
					continue
				}
				of := strings.NewReplacer("networkruntime", "network", "vimgrnwruntime", "network").Replace(other)
				ids[typ] = doc.Text(s.Objects(of)[0]["uuid"])
			}
			switch {
			case strings.HasPrefix(path, "/api/user-token"):
				ids[typ] = token
			case strings.HasPrefix(path, "/api/systemconfiguration"), strings.HasPrefix(path, "/api/controllerproperties"),
				strings.HasPrefix(path, "/api/seproperties"):
				ids[typ] = "default"
			}
			path = strings.ReplaceAll(path, "{uuid}", ids[typ])
			for _, m := range []string{"OPTIONS", "HEAD", "GET", "PATCH", "PUT", "POST", "DELETE"} { // DELETE last
				r := c.do(m, path, nil)
				if r.header.Get("Allow") != e.Allow {
					t.Errorf("%s: Allow %q, want %q", m, r.header.Get("Allow"), e.Allow)
				}
				allowed := slices.Contains(strings.Split(e.Allow, ", "), m)
				switch {
				case allowed == (r.status == 405):
					t.Errorf("%s: %d", m, r.status)
				case r.status == 405 && m != "HEAD" && r.raw != `{"detail":"Method '`+m+`' not allowed."}`:
					t.Errorf("%s: %s", m, r.raw)
				case m == "GET" && allowed && r.status != 200 && parts[2] != "vimgrnwruntime": // no network is discovered here
					t.Errorf("%s: %d %s", m, r.status, r.raw)
				case m == "HEAD" && r.raw != "":
					t.Errorf("%s: a body: %s", m, r.raw)
				case r.status >= 500:
					t.Errorf("%s: %d %s", m, r.status, r.raw)
				}
				if m == "POST" && e.Path == "/logout" {
					c.login()
				}
			}
		})
	}
}

// TestUnknownPaths shows that what is not in the table is not there.
func TestUnknownPaths(t *testing.T) {
	_, c := signedIn(t, Options{})
	ids := c.service("amf", "10.20.1.1")
	for _, path := range []string{"/", "/api", "/api/nosuchthing", "/nosuchthing", "/api/virtualserviceinventory",
		"/api/l4policyset-inventory", "/api/nosuchthing-inventory",
		"/api/pool/" + ids["pool"] + "/nosuchthing", "/api/pool/" + ids["pool"] + "/runtime/nosuchthing",
		"/api/l4policyset/" + ids["l4policyset"] + "/runtime",
		"/api/virtualservice/" + ids["virtualservice"] + "/runtime/server", "/api/cluster/nosuchthing", "/login/more"} {
		r := c.want(404, "GET", path, nil)
		if r.body != nil || r.header.Get("Content-Type") != "text/html" {
			t.Errorf("%s: %s %v", path, r.raw, r.header)
		}
	}
	for _, path := range []string{"/api/pool/none/runtime", "/api/pool/none/runtime/server/detail", "/api/pool-inventory/none",
		"/api/networkruntime/none"} {
		if r := c.want(404, "GET", path, nil); !strings.HasSuffix(r.raw, ` object not found!"}`) {
			t.Errorf("%s: %s", path, r.raw)
		}
	}
	if r := c.do("patch", "/api/pool/"+ids["pool"], obj{"replace": obj{}}); r.status != 400 {
		t.Errorf("a method in lower case: %d", r.status)
	}
}
