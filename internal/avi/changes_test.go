// SPDX-License-Identifier: Apache-2.0

package avi

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
)

// TestDrainTimeByVersion: what the operator says in minutes goes out in the field that the negotiated version has, and comes back
// in minutes.
func TestDrainTimeByVersion(t *testing.T) {
	for _, tt := range []struct {
		controller, configured string
		sent, stored, read     string // members of the request, of the answer, and of what the caller gets
	}{
		{"30.2.1", "", `"graceful_disable_timeout":5`, `"graceful_disable_timeout":5`, `"graceful_disable_timeout":5`},
		{"31.2.1", "", `"graceful_disable_timeout":5`, `"graceful_disable_timeout":5`, `"graceful_disable_timeout":5`},
		{"31.1.1", "31.2.1", `"graceful_disable_timeout":5`, `"graceful_disable_timeout":5`, `"graceful_disable_timeout":5`},
		{"31.2.1", "31.2.1", `"graceful_disable_timeout_sec":300`, `"graceful_disable_timeout_sec":300`, `"graceful_disable_timeout":5`},
		{"31.3.1", "31.3.1", `"graceful_disable_timeout_sec":300`, `"graceful_disable_timeout_sec":300`, `"graceful_disable_timeout":5`},
		{"31.2.1", "31.2.1", `"graceful_disable_timeout_sec":300`, `"graceful_disable_timeout_sec":-1`, `"graceful_disable_timeout":-1`},
		{"31.2.1", "31.2.1", `"graceful_disable_timeout_sec":300`, `"graceful_disable_timeout_sec":0`, `"graceful_disable_timeout":0`},
		{"31.2.1", "31.2.1", `"graceful_disable_timeout_sec":300`, `"graceful_disable_timeout_sec":90`, ``}, // no whole minutes
		{"31.2.1", "31.2.1", `"graceful_disable_timeout_sec":300`, ``, ``},
	} {
		t.Run(strings.Join([]string{tt.controller, tt.configured, tt.stored}, " "), func(t *testing.T) {
			object := `{"name":"p","uuid":"` + poolUUID + `"` + strings.TrimSuffix(","+tt.stored, ",") + `}`
			var bodies []string
			f := newFake(t, func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				if len(body) > 0 {
					bodies = append(bodies, string(body))
				}
				if r.Method == http.MethodGet && r.URL.Path == "/api/pool" {
					reply(w, 200, `{"count":1,"results":[`+object+`]}`)
					return
				}
				reply(w, 200, object)
			})
			f.version = tt.controller
			cfg := f.config()
			cfg.Version = tt.configured
			c := newClient(t, cfg)
			body := map[string]any{"name": "p", "graceful_disable_timeout": 5}
			check := func(what string, raw json.RawMessage, err error) {
				t.Helper()
				if err != nil {
					t.Fatalf("%s: %v", what, err)
				}
				if strings.Contains(string(raw), "graceful") != (tt.read != "") || !strings.Contains(string(raw), tt.read) {
					t.Errorf("%s is answered with %s, want %q", what, raw, tt.read)
				}
			}
			raw, err := c.Create(ctx, model.Pool, "", body)
			check("a create", raw, err)
			raw, err = c.Put(ctx, model.Pool, "", poolUUID, body)
			check("a put", raw, err)
			raw, err = c.Patch(ctx, model.Pool, "", poolUUID, Patch{Replace: map[string]any{"graceful_disable_timeout": 5}})
			check("a patch", raw, err)
			raw, err = c.Get(ctx, "", "/api/pool/"+poolUUID, nil)
			check("a get", raw, err)
			raw, err = c.GetByName(ctx, model.Pool, "", "p", nil)
			check("a get by name", raw, err)
			check("a list", raw, c.List(ctx, "pool", "", nil, func(r json.RawMessage) error { raw = r; return nil }))
			for _, b := range bodies {
				if strings.Count(b, "graceful") != 1 || !strings.Contains(b, tt.sent) {
					t.Errorf("sent %s, want %s", b, tt.sent)
				}
			}
			if len(bodies) != 3 {
				t.Errorf("%d bodies", len(bodies))
			}
		})
	}
}

// TestChangesLeaveTheRestAlone: other kinds, texts that only look like the field, answers that are no JSON.
func TestChangesLeaveTheRestAlone(t *testing.T) {
	const pinned = "31.2.1"
	for name, tt := range map[string]struct{ kind, body, want string }{
		"another kind":       {"virtualservice", `{"graceful_disable_timeout":1}`, `{"graceful_disable_timeout":1}`},
		"a reset":            {"pool", `{"delete":{"graceful_disable_timeout":3}}`, `{"delete":{"graceful_disable_timeout_sec":180}}`},
		"unset":              {"pool", `{"graceful_disable_timeout":null}`, `{"graceful_disable_timeout_sec":null}`},
		"a text of the name": {"pool", `{"description":"\"graceful_disable_timeout\"","name":"graceful_disable_timeout"}`, ""},
		"no number":          {"pool", `{"graceful_disable_timeout":"x"}`, ""},
		"no object":          {"pool", `"graceful_disable_timeout"`, ""},
		"no json":            {"pool", `<"graceful_disable_timeout">`, ""},
	} {
		want := tt.want
		if want == "" {
			want = tt.body
		}
		if got := outgoing(call{kind: tt.kind, body: json.RawMessage(tt.body)}, pinned); string(got) != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	if page := `<html>"graceful_disable_timeout_sec"</html>`; string(incoming(call{kind: "pool"}, pinned, []byte(page))) != page {
		t.Error("a page of a proxy was changed")
	}
}
