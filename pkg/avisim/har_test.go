// SPDX-License-Identifier: Apache-2.0

package avisim

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// pair and archive are those parts of an HTTP Archive that the test looks at.
type (
	pair    struct{ Name, Value string }
	archive struct {
		Log struct {
			Version string
			Creator struct{ Name string }
			Entries []struct {
				Request struct {
					Method, URL string
					Headers     []pair
					Query       []pair `json:"queryString"`
					PostData    *struct{ MimeType string }
				}
				Response struct {
					Status     int
					StatusText string
					Content    struct {
						Size *int
						Text string
					}
				}
				Comment string
			}
		}
	}
)

// TestHAR shows that an archive has what the standard asks for, and that a normal one is the same for the same requests.
func TestHAR(t *testing.T) {
	run := func() (normal []byte, raw archive) {
		s, c := signedIn(t, Options{})
		s.Inject(Fault{Name: "cut", Type: "vsvip", Method: "GET", ResetBefore: true, Count: 2})
		ids := c.service("a", "10.0.0.1")
		c.want(200, "GET", "/api/virtualservice/"+ids["virtualservice"]+"?include_name&x=1", nil)
		c.want(200, "GET", "/api/pool/"+ids["pool"]+"/runtime", nil)
		c.want(200, "GET", "/api/cluster/runtime", nil)
		_, _ = c.try("GET", "/api/vsvip", nil) // the transport may repeat it
		b, err := s.HAR(false)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, &raw); err != nil {
			t.Fatal(err)
		}
		if normal, err = s.HAR(true); err != nil {
			t.Fatal(err)
		}
		return normal, raw
	}
	first, raw := run()
	second, _ := run()
	if string(first) != string(second) {
		a, b := strings.Split(string(first), "\n"), strings.Split(string(second), "\n")
		for i := range min(len(a), len(b)) {
			if a[i] != b[i] {
				t.Fatalf("line %d:\n%s\n%s", i, a[i], b[i])
			}
		}
		t.Fatalf("%d and %d lines", len(a), len(b))
	}
	e := raw.Log.Entries
	if raw.Log.Version != "1.2" || raw.Log.Creator.Name == "" || len(e) < 9 {
		t.Fatalf("%+v", raw.Log)
	}
	vs := e[5]
	if vs.Request.Method != "GET" || !strings.HasPrefix(vs.Request.URL, "https://127.0.0.1:") || !slices.Contains(vs.Request.Query,
		pair{"x", "1"}) ||
		vs.Response.Status != 200 || vs.Response.StatusText != "OK" || !strings.Contains(vs.Response.Content.Text,
		`"name":"a"`) || *vs.Response.Content.Size == 0 ||
		!slices.ContainsFunc(vs.Request.Headers, func(p pair) bool { return p == pair{"X-Avi-Version", "30.2.1"} }) {
		t.Errorf("%+v", vs)
	}
	if e[1].Request.PostData == nil || e[1].Request.PostData.MimeType != "application/json" {
		t.Errorf("%+v", e[1].Request)
	}
	if last := e[len(e)-1]; last.Response.Status != 0 || last.Comment != "fault: cut" {
		t.Errorf("%+v", last)
	}
}
