// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/avi-l4-operator/avi-l4-operator/controllers"
	"github.com/avi-l4-operator/avi-l4-operator/internal/metricsfilter"
)

// operated is an API server with two pods of the operator behind it, of which standby is not the leader. It notes the questions that
// reach a pod.
type operated struct {
	asked  []string
	status int    // the leader's answer
	body   string // and what it says
	role   bool   // may the caller make a token?
}

const readersToken = "a-token-of-the-reader"

func (o *operated) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	const ns = "/api/v1/namespaces/avi-l4-system"
	reply := func(v any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v)
	}
	pod := func(name string, phase corev1.PodPhase) corev1.Pod {
		return corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "avi-l4-system"}, Status: corev1.PodStatus{Phase: phase},
			Spec: corev1.PodSpec{Containers: []corev1.Container{{Ports: []corev1.ContainerPort{{Name: "metrics", ContainerPort: 9443}}}}}}
	}
	forbidden := func() {
		w.WriteHeader(http.StatusForbidden)
		reply(metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: "Failure", Reason: metav1.StatusReasonForbidden,
			Code: http.StatusForbidden, Message: "not allowed here"})
	}
	switch path := r.URL.Path; {
	case path == ns+"/pods":
		reply(corev1.PodList{TypeMeta: metav1.TypeMeta{Kind: "PodList", APIVersion: "v1"},
			Items: []corev1.Pod{pod("gone", corev1.PodFailed), pod("standby", corev1.PodRunning), pod("leader", corev1.PodRunning)}})
	case path == ns+"/serviceaccounts/avi-l4-plan-reader/token" && o.role:
		reply(authenticationv1.TokenRequest{TypeMeta: metav1.TypeMeta{Kind: "TokenRequest", APIVersion: "authentication.k8s.io/v1"},
			Status: authenticationv1.TokenRequestStatus{Token: readersToken}})
	case strings.HasSuffix(path, "/leases/avi-l4-operator.ako.vmware.com"):
		reply(coordinationv1.Lease{TypeMeta: metav1.TypeMeta{Kind: "Lease", APIVersion: "coordination.k8s.io/v1"},
			Spec: coordinationv1.LeaseSpec{HolderIdentity: new("leader_123")}})
	case r.Header.Get("X-Avi-L4-Token") == readersToken && (strings.HasSuffix(path, "/proxy/plan") || strings.HasSuffix(path, "/proxy/servers")):
		o.asked = append(o.asked, strings.TrimPrefix(path, ns)+"?"+r.URL.Query().Encode())
		if strings.Contains(path, "leader") {
			w.WriteHeader(o.status)
			_, _ = w.Write([]byte(o.body))
			return
		}
		_, _ = w.Write([]byte(`{"of":"the standby"}`))
	default:
		forbidden()
	}
}

// connect is the testdata's objects, with the operated cluster's API server.
func (o *operated) connect(t *testing.T) func() (*connection, error) {
	t.Helper()
	server := httptest.NewServer(o)
	t.Cleanup(server.Close)
	core, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	made := cluster(t)
	return func() (*connection, error) {
		c, err := made()
		c.core = core
		return c, err
	}
}

func TestPlan(t *testing.T) {
	leader, standby := "/pods/https:leader:9443/proxy/plan?", "/pods/https:standby:9443/proxy/plan?"
	for _, tt := range []struct {
		line     string
		status   int
		body     string
		out      string
		asked    string
		complain string
	}{
		{"plan", 200, "Plan of all\n", "Plan of all\n", leader + "format=text&namespace=telecom", ""},
		{"plan -A", 200, "x", "x", leader + "format=text", ""},
		{"plan service/amf", 200, "x", "x", leader + "format=text&kind=Service&name=amf&namespace=telecom", ""},
		{"plan gateway/core -o json", 200, `{"owners":[]}`, "{\n  \"owners\": []\n}\n", leader + "format=json&kind=Gateway&name=core&namespace=telecom", ""},
		{"drift -o yaml", 200, `{"owners":[]}`, "owners: []\n", leader + "drift=true&format=json&namespace=telecom", ""},
		{"plan -o json", 503, "the Controller can't be read", "{\n  \"of\": \"the standby\"\n}\n",
			leader + "format=json&namespace=telecom " + standby + "format=json&namespace=telecom", ""},
		{"plan sctproute/pfcp", 200, "", "", "", "name one of Service, Gateway"},
		{"plan service/nobody", 200, "", "", "", "not found"},
		{"plan --service-account other", 200, "", "", "", "service account avi-l4-system/other"},
	} {
		o := &operated{status: tt.status, body: tt.body, role: true}
		out, _, err := run(t, o.connect(t), strings.Fields(tt.line)...)
		if (err == nil) != (tt.complain == "") || err != nil && !strings.Contains(err.Error(), tt.complain) {
			t.Errorf("%s: %v, want %q", tt.line, err, tt.complain)
		}
		if asked := strings.Join(o.asked, " "); out != tt.out || asked != tt.asked {
			t.Errorf("%s: prints %q, want %q; asked %s, want %s", tt.line, out, tt.out, asked, tt.asked)
		}
	}
}

// TestTreeHealth: what the Controller says of servers is a branch of the tree, and asked for only with the flag.
func TestTreeHealth(t *testing.T) {
	const said = `{"controller": "avi.example.com", "virtualServices": [{"tenant": "admin", "name": "prod--telecom-fine", "state": "OPER_UP"}],
		"pools": [
			{"name": "prod--telecom-fine-SCTP-38412", "state": "OPER_UP", "servers": [
				{"address": "10.0.0.1", "port": 38412, "state": "OPER_UP"},
				{"address": "2001:db8::2", "port": 38412, "state": "OPER_DOWN", "reason": "no INIT ACK"}]},
			{"name": "prod--telecom-fine-TCP-80", "state": "OPER_DOWN", "servers": [], "problem": "timeout"}], "leftOut": 3}`
	for _, tt := range []struct{ golden, line, body, asked, complain string }{
		{"tree-health", "tree service/fine --health", said, "kind=Service&name=fine&namespace=telecom", ""},
		{"tree-health-none", "tree gateway/core --health", `{"controller": "avi.example.com"}`, "kind=Gateway&name=core&namespace=telecom", ""},
		{"tree-service", "tree service/fine", said, "", ""},
		{"", "tree service/fine --health", "<html>", "kind=Service&name=fine&namespace=telecom", "reading the operator's answer"},
		{"", "tree sctproute/pfcp --health", said, "", "Service or a Gateway"},
	} {
		o := &operated{status: http.StatusOK, body: tt.body, role: true}
		out, _, err := run(t, o.connect(t), strings.Fields(tt.line)...)
		if (err == nil) != (tt.complain == "") || err != nil && !strings.Contains(err.Error(), tt.complain) {
			t.Errorf("%s: %v, want %q", tt.line, err, tt.complain)
		}
		if asked := strings.TrimPrefix(strings.Join(o.asked, " "), "/pods/https:leader:9443/proxy/servers?"); asked != tt.asked {
			t.Errorf("%s: asked %q, want %q", tt.line, asked, tt.asked)
		}
		if tt.golden != "" {
			golden(t, tt.golden, "$ kubectl avi-l4 "+tt.line+"\n"+out)
		}
	}
}

// TestPlanRefused: the text says who refuses, and what to do.
func TestPlanRefused(t *testing.T) {
	for want, answer := range map[string]struct {
		code int
		body string
	}{
		"serves no such thing":            {404, "404 page not found"},
		"Authorization denied for user x": {403, "Authorization denied for user x"},
		"role avi-l4-plan-user":           {403, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403,"message":"no"}`},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8") // as http.Error
			if strings.HasPrefix(answer.body, "{") {
				w.Header().Set("Content-Type", "application/json")
			}
			w.WriteHeader(answer.code)
			_, _ = w.Write([]byte(answer.body))
		}))
		core, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL})
		if err != nil {
			t.Fatal(err)
		}
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "n"}}
		_, err = (&connection{core: core}).askPod(t.Context(), pod, "", planPath, nil)
		server.Close()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%d %s: %v, want %q", answer.code, answer.body, err, want)
		}
	}
}

// TestPlanRights: the roles are for what the plugin asks, and the operator answers there.
func TestPlanRights(t *testing.T) {
	if metricsfilter.Token != planHeader || controllers.PlanPath != "/"+planPath || controllers.ServersPath != "/"+serversPath {
		t.Errorf("the operator serves %s and %s with a token in %s", controllers.PlanPath, controllers.ServersPath, metricsfilter.Token)
	}
	content, err := os.ReadFile(filepath.Join("..", "..", "config", "components", "plan-reader", "roles.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var rules []rbacv1.PolicyRule
	for d := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(content), 4096); ; {
		var role struct{ Rules []rbacv1.PolicyRule }
		if err := d.Decode(&role); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		rules = append(rules, role.Rules...)
	}
	want := []rbacv1.PolicyRule{
		{Verbs: []string{"get"}, NonResourceURLs: []string{controllers.PlanPath, controllers.ServersPath}},
		{Verbs: []string{"create"}, APIGroups: []string{""}, Resources: []string{"serviceaccounts/token"},
			ResourceNames: []string{"avi-l4-plan-reader"}},
		{Verbs: []string{"get", "list"}, APIGroups: []string{""}, Resources: []string{"pods"}},
		{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"pods/proxy"}},
		{Verbs: []string{"get"}, APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"}, ResourceNames: []string{leaseName}},
	}
	if diff := cmp.Diff(want, rules); diff != "" {
		t.Errorf("-want +have:\n%s", diff)
	}
}
