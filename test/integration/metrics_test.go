// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/go-logr/logr"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/avi-l4-operator/avi-l4-operator/internal/metricsfilter"
	"github.com/avi-l4-operator/avi-l4-operator/test/suite"
)

// TestWhoReadsMetrics, by the token that is shown.
func TestWhoReadsMetrics(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	reader, other := account(e, "reader"), account(e, "other")
	name := e.Cluster + "-metrics"
	e.Own(&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name},
		Rules: []rbacv1.PolicyRule{{NonResourceURLs: []string{"/metrics"}, Verbs: []string{"get"}}}},
		&rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: name}, RoleRef: rbacv1.RoleRef{Kind: "ClusterRole", Name: name},
			Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Name: "reader", Namespace: e.Namespace}}})
	away := suite.RESTConfig()
	away.Host = "https://127.0.0.1:1"
	for _, tt := range []struct {
		name, authorization string
		config              *rest.Config
		want                int
	}{
		{"no token", "", suite.RESTConfig(), http.StatusUnauthorized},
		{"an empty token", "Bearer ", suite.RESTConfig(), http.StatusUnauthorized},
		{"a malformed token", "Bearer nonsense", suite.RESTConfig(), http.StatusUnauthorized},
		{"a token that was changed", "Bearer " + reader + "x", suite.RESTConfig(), http.StatusUnauthorized},
		{"without the right", "Bearer " + other, suite.RESTConfig(), http.StatusForbidden},
		{"with the right", "Bearer " + reader, suite.RESTConfig(), http.StatusOK},
		{"no API server", "Bearer " + reader, away, http.StatusInternalServerError},
	} {
		t.Run(tt.name, func(t *testing.T) {
			httpClient, err := rest.HTTPClientFor(tt.config)
			if err != nil {
				t.Fatal(err)
			}
			filter, err := metricsfilter.New(tt.config, httpClient)
			if err != nil {
				t.Fatal(err)
			}
			h, err := filter(logr.Discard(), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }))
			if err != nil {
				t.Fatal(err)
			}
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil)
			if tt.authorization != "" {
				r.Header.Set("Authorization", tt.authorization)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if body, _ := io.ReadAll(w.Result().Body); w.Code != tt.want {
				t.Errorf("answered %d %s, want %d", w.Code, body, tt.want)
			}
		})
	}
}

// account creates a service account and returns a token of it.
func account(e *suite.Env, name string) string {
	e.T.Helper()
	sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: e.Namespace}}
	e.Create(sa)
	request := new(authenticationv1.TokenRequest)
	if err := e.Client.SubResource("token").Create(e.T.Context(), sa, request); err != nil {
		e.T.Fatal(err)
	}
	return request.Status.Token
}
