// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/avi-l4-operator/avi-l4-operator/controllers"
	"github.com/avi-l4-operator/avi-l4-operator/internal/metricsfilter"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
	"github.com/avi-l4-operator/avi-l4-operator/test/suite"
)

// plans asks the running operator for plans, and returns the status and the body.
func plans(e *suite.Env, query string) (code int, body string) {
	e.T.Helper()
	w := httptest.NewRecorder()
	e.Operator.Plans().ServeHTTP(w, httptest.NewRequestWithContext(e.T.Context(), http.MethodGet, controllers.PlanPath+query, nil))
	return w.Code, w.Body.String()
}

// TestPlans: what the operator that runs would change, whatever it is doing, and without a write.
func TestPlans(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	amf := e.Service("amf", suite.Port("SCTP", 38412))
	e.Create(amf, e.Slice(amf, "10.244.1.5"))
	e.Programmed(amf)
	e.Eventually("the tree", func() error { return e.Complete(amf) })
	dry := e.Service("dry", suite.Port("TCP", 80))
	metav1.SetMetaDataAnnotation(&dry.ObjectMeta, translate.AnnotationDryRun, "true")
	e.Create(dry, e.Slice(dry, "10.244.1.6"))
	e.Condition(dry, "Programmed", no, "DryRun")
	suite.Update(e, amf, annotate(translate.AnnotationPaused, "true"))
	e.Condition(amf, "Programmed", no, "Paused")
	suite.Update(e, e.Slice(amf), func(s *discovery) { s.Endpoints = []discoveryEndpoint{endpoint("10.244.1.9", true, false)} })
	e.Eventually("the operator sees the endpoint", func() error {
		if _, body := plans(e, ""); !strings.Contains(body, "10.244.1.9:9090") {
			return fmt.Errorf("the plan is\n%s", body)
		}
		return nil
	})
	e.Sim.ResetRequests()

	for query, want := range map[string][]string{
		"": {"Plan for cluster " + e.Cluster, e.Namespace + "/amf: Paused: ", "servers: 10.244.1.5:9090", e.Namespace + "/dry: DryRun: ",
			"4 to create", "Writes to the Controller: none."},
		"?kind=service&name=amf&namespace=" + e.Namespace: {"1 looked at", "/amf: Paused: "},
		"?drift=true&namespace=" + e.Namespace:            {"Drift for cluster ", "/amf: Paused: ", "10.244.1.9:9090"},
		"?namespace=nobody":                               {"0 looked at"},
	} {
		code, body := plans(e, query)
		for _, text := range want {
			if code != http.StatusOK || !strings.Contains(body, text) {
				t.Errorf("%q: %d, want %q in\n%s", query, code, text, body)
			}
		}
		if narrow := strings.Contains(query, "drift") || strings.Contains(query, "amf"); narrow && strings.Contains(body, "/dry:") {
			t.Errorf("%q tells of another:\n%s", query, body)
		}
	}
	var report struct {
		Cluster string
		Owners  []struct {
			Name     string
			Held     []struct{ Operation, Kind, Name string }
			Findings []struct{ Reason string }
		}
	}
	_, body := plans(e, "?format=json&drift=true")
	if err := json.Unmarshal([]byte(body), &report); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	if got, want := fmt.Sprint(report), fmt.Sprintf("{%s [{amf [{update Pool %s}] [{Paused}]}]}", e.Cluster, e.PoolName(amf, amf.Spec.Ports[0])); got != want {
		t.Errorf("in JSON %s, want %s", got, want)
	}
	if code, body := plans(e, "?nonsense=1"); code != http.StatusBadRequest || !strings.Contains(body, `"nonsense"`) {
		t.Errorf("a parameter that doesn't exist: %d %s", code, body)
	}
	noWrites(e, "plans")
	// What runs goes on as before.
	for _, svc := range []*corev1.Service{amf, dry} {
		suite.Update(e, svc, func(s *corev1.Service) { delete(s.Annotations, translate.AnnotationPaused) })
		suite.Update(e, svc, func(s *corev1.Service) { delete(s.Annotations, translate.AnnotationDryRun) })
		e.Programmed(svc)
	}
	e.Eventually("the trees", func() error { return e.Complete(amf, dry) })
	if _, body := plans(e, ""); !strings.Contains(body, "0 to change, 0 to remove, 0 that can't be planned") {
		t.Errorf("with nothing to do:\n%s", body)
	}
}

// TestServers: what the Controller says of the servers of one owner, and no other's, with one question for each pool.
func TestServers(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	amf, other := e.Service("amf", suite.Port("SCTP", 38412)), e.Service("other", suite.Port("TCP", 80))
	e.Create(amf, e.Slice(amf, "10.244.1.5", "10.244.1.6"), other, e.Slice(other, "10.244.1.7"))
	e.Programmed(amf)
	e.Programmed(other)
	e.Eventually("the trees", func() error { return e.Complete(amf, other) })
	e.Sim.SetServerHealth("10.244.1.6", 9090, false, "no INIT ACK")
	ask := func(method, query string) (int, string) {
		w := httptest.NewRecorder()
		e.Operator.Servers().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, controllers.ServersPath+query, nil))
		return w.Code, w.Body.String()
	}
	const query = "?kind=service&name=amf&namespace="
	var said struct {
		Controller      string
		VirtualServices []struct{ Name, State string }
		Pools           []struct {
			Name, Problem string
			Servers       []struct {
				Address       string
				Port          int
				State, Reason string
			}
		}
	}
	e.Sim.ResetRequests()
	code, body := ask(http.MethodGet, query+e.Namespace)
	if err := json.Unmarshal([]byte(body), &said); err != nil || code != http.StatusOK {
		t.Fatalf("%d %v: %s", code, err, body)
	}
	pool := e.PoolName(amf, amf.Spec.Ports[0])
	want := fmt.Sprintf("[{%s  [{10.244.1.5 9090 OPER_UP } {10.244.1.6 9090 OPER_DOWN no INIT ACK}]}]", pool)
	if got := fmt.Sprint(said.Pools); got != want || len(said.VirtualServices) != 1 || said.VirtualServices[0].Name != e.Name(amf) {
		t.Errorf("pools are %s, want %s, in\n%s", got, want, body)
	}
	asked := 0
	for _, r := range e.Sim.Requests() {
		if strings.HasSuffix(r.Path, "/runtime/server") {
			asked++
		}
	}
	if asked != 1 {
		t.Errorf("the Controller was asked %d times about one pool", asked)
	}
	for _, tt := range []struct {
		method, query string
		code          int
		says          string
	}{
		{http.MethodPost, query + e.Namespace, http.StatusMethodNotAllowed, "only GET"},
		{http.MethodGet, "?kind=service&name=amf", http.StatusBadRequest, "namespace and name"},
		{http.MethodGet, "?kind=pod&name=amf&namespace=x", http.StatusBadRequest, `"pod"`},
		{http.MethodGet, query + "x&tenant=y", http.StatusBadRequest, `"tenant"`},
		{http.MethodGet, query + "nobody", http.StatusOK, `"pools": []`},
	} {
		if code, body := ask(tt.method, tt.query); code != tt.code || !strings.Contains(body, tt.says) {
			t.Errorf("%s %s: %d %s, want %d with %q", tt.method, tt.query, code, body, tt.code, tt.says)
		}
	}
}

// TestWhoReadsPlans: by the token in the header that the API server's proxy lets through, with the right to the path.
func TestWhoReadsPlans(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	reader, other := account(e, "plan-reader"), account(e, "no-reader")
	name := e.Cluster + "-plans"
	e.Own(&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name},
		Rules: []rbacv1.PolicyRule{{NonResourceURLs: []string{controllers.PlanPath}, Verbs: []string{"get"}}}},
		&rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: name}, RoleRef: rbacv1.RoleRef{Kind: "ClusterRole", Name: name},
			Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Name: "plan-reader", Namespace: e.Namespace}}})
	httpClient, err := rest.HTTPClientFor(suite.RESTConfig())
	if err != nil {
		t.Fatal(err)
	}
	filter, err := metricsfilter.New(suite.RESTConfig(), httpClient)
	if err != nil {
		t.Fatal(err)
	}
	h, err := filter(logr.Discard(), e.Operator.Plans())
	if err != nil {
		t.Fatal(err)
	}
	e.Eventually("the Controller is read", func() error { return e.Operator.Mirror.Err() })
	for _, tt := range []struct {
		name, method, path, token string
		want                      int
	}{
		{"no token", http.MethodGet, controllers.PlanPath, "", http.StatusUnauthorized},
		{"nonsense", http.MethodGet, controllers.PlanPath, "nonsense", http.StatusUnauthorized},
		{"without the right", http.MethodGet, controllers.PlanPath, other, http.StatusForbidden},
		{"another path", http.MethodGet, "/metrics", reader, http.StatusForbidden},
		{"another method", http.MethodPost, controllers.PlanPath, reader, http.StatusForbidden},
		{"with the right", http.MethodGet, controllers.PlanPath, reader, http.StatusOK},
	} {
		r := httptest.NewRequestWithContext(t.Context(), tt.method, tt.path, nil)
		if tt.token != "" {
			r.Header.Set(metricsfilter.Token, tt.token)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != tt.want {
			t.Errorf("%s: answered %d %s, want %d", tt.name, w.Code, w.Body, tt.want)
		}
	}
}
