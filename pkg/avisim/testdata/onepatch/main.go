// SPDX-License-Identifier: Apache-2.0

// Command onepatch makes one PATCH of a pool on a simulated Controller and writes the coverage data of that request alone into the folder
// that its argument names. It has to be built with -cover -covermode=atomic.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime/coverage"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim"
)

func main() {
	server, err := avisim.New(avisim.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	c := client{server: server}
	c.do(http.MethodPost, "/login", map[string]any{"username": "admin", "password": "avi123$%"})
	pool := c.do(http.MethodPost, "/api/pool", map[string]any{"name": "amf", "servers": servers("10.0.0.1")})
	patch := map[string]any{"replace": map[string]any{"servers": servers("10.0.0.2")}}
	if err := coverage.ClearCounters(); err != nil { // of what made the server, the session and the pool
		log.Fatal(err)
	}
	c.do(http.MethodPatch, fmt.Sprintf("/api/pool/%s", pool["uuid"]), patch)
	if err := errors.Join(coverage.WriteMetaDir(os.Args[1]), coverage.WriteCountersDir(os.Args[1])); err != nil {
		log.Fatal(err)
	}
}

func servers(address string) []any {
	return []any{map[string]any{"ip": map[string]any{"addr": address, "type": "V4"}}}
}

// client sends requests with the session of its first one, a login.
type client struct {
	server  *avisim.Server
	cookies []*http.Cookie
}

func (c *client) do(method, path string, body any) (answer map[string]any) {
	sent, err := json.Marshal(body)
	if err != nil {
		log.Fatal(err)
	}
	r := httptest.NewRequest(method, path, bytes.NewReader(sent))
	r.Header.Set("X-Avi-Version", "30.2.1")
	for _, k := range c.cookies {
		r.AddCookie(k)
		if k.Name == "csrftoken" {
			r.Header.Set("X-CSRFToken", k.Value)
		}
	}
	w := httptest.NewRecorder()
	c.server.ServeHTTP(w, r)
	if w.Code >= http.StatusMultipleChoices {
		log.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
	}
	if c.cookies == nil {
		c.cookies = w.Result().Cookies()
	}
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		log.Fatal(err)
	}
	return answer
}
