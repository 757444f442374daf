// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/avi-l4-operator/avi-l4-operator/internal/probes"
	"github.com/avi-l4-operator/avi-l4-operator/test/suite"
)

// TestReadinessSaysWhy, from an empty namespace to a Controller that lets the operator in, and never with a password.
func TestReadinessSaysWhy(t *testing.T) {
	// Alone: without settings it can't know that others serve the other tests' namespaces, and says so on what they have not yet judged.
	e := suite.New(t, suite.WithoutSettings())
	config, secret := e.ConfigMap(), e.Secret()
	secret.Data["password"] = []byte("a-wrong-password")
	h := probes.Handler(e.Operator.Live(), e.Operator.Readiness())
	says := func(code int, want ...string) {
		t.Helper()
		e.Eventually(strings.Join(want, ", "), func() error {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/readyz?verbose", nil))
			body := w.Body.String()
			if strings.Contains(body, "a-wrong-password") || strings.Contains(body, "avi123") {
				t.Fatalf("a secret is told: %s", body)
			}
			for _, text := range want {
				if !strings.Contains(body, text) {
					return fmt.Errorf("%q is missing: %d %s", text, w.Code, body)
				}
			}
			if w.Code != code {
				return fmt.Errorf("%d %s", w.Code, body)
			}
			return nil
		})
	}
	says(500, "[-]ready failed: ", "ConfigMap "+e.System+"/avi-k8s-config doesn't exist", "readyz check failed")
	e.Create(config, secret)
	says(500, "[-]ready failed: ", "Invalid credentials", "[+]own-cluster-name ok")
	e.Credentials(func(s map[string][]byte) { s["password"] = []byte("avi123$%") })
	says(200, "[+]ready ok\n", "[+]own-cluster-name ok\n", "readyz check passed\n")
}
