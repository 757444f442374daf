// SPDX-License-Identifier: Apache-2.0

package manifests

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// TestMonitoring: what belongs together has found each other, also under other names: the account, its token and its right, what is
// selected, the certificate that is mounted and the one that is verified. Each object has the recommended labels.
func TestMonitoring(t *testing.T) {
	verified := func(ca map[string]any, name string) any { return map[string]any{"ca": ca, "serverName": name} }
	for _, test := range []struct {
		folder, prefix, namespace string
		kind, list                string // of the monitor
		tls                       any
		annotation                string // of the Service
	}{
		{"cert-manager", "third-", "watched", "ServiceMonitor", "endpoints",
			verified(map[string]any{"secret": map[string]any{"name": "avi-l4-metrics-tls", "key": "ca.crt"}}, "avi-l4-operator-metrics"), ""},
		{"openshift", "", namespace, "ServiceMonitor", "endpoints",
			verified(map[string]any{"configMap": map[string]any{"name": "openshift-service-ca.crt", "key": "service-ca.crt"}},
				"avi-l4-operator-metrics.avi-l4-system.svc"), "avi-l4-metrics-tls"},
		{"pods", "third-", "watched", "PodMonitor", "podMetricsEndpoints", map[string]any{"insecureSkipVerify": true}, ""},
	} {
		t.Run(test.folder, func(t *testing.T) {
			all := map[string]*unstructured.Unstructured{}
			for _, object := range build(t, "../test/manifests/testdata/monitoring/"+test.folder) {
				all[object.GetKind()+" "+object.GetName()] = object
				if ns := object.GetNamespace(); ns != "" && ns != test.namespace {
					t.Errorf("%s is in namespace %s", identity(object), ns)
				}
				for _, label := range []string{"name", "component", "part-of", "managed-by"} {
					kind := object.GetKind() // those of the cluster have other labels, see TestLabels
					if object.GetLabels()["app.kubernetes.io/"+label] == "" && kind != "Namespace" && kind != "CustomResourceDefinition" {
						t.Errorf("%s lacks the label app.kubernetes.io/%s", identity(object), label)
					}
				}
			}
			field := func(object string, path ...string) any {
				t.Helper()
				if all[object] == nil {
					t.Fatalf("there is no %s", object)
				}
				v, _, err := unstructured.NestedFieldCopy(all[object].Object, path...)
				if err != nil {
					t.Fatal(err)
				}
				return v
			}
			scraper := test.prefix + "avi-l4-metrics-scraper"
			account := map[string]any{"kind": "ServiceAccount", "name": scraper, "namespace": test.namespace}
			role := test.prefix + "avi-l4-metrics-reader"
			monitor, deployment := test.kind+" "+test.prefix+"avi-l4-operator", "Deployment "+test.prefix+"avi-l4-operator"
			endpoint := field(monitor, "spec", test.list).([]any)[0].(map[string]any)
			service := "Service " + test.prefix + "avi-l4-operator-metrics"
			container := field(deployment, "spec", "template", "spec", "containers").([]any)[0].(map[string]any)
			got := map[string]any{
				"account":    field("ServiceAccount "+scraper, "metadata", "name"),
				"token":      field("Secret "+scraper, "metadata", "annotations", "kubernetes.io/service-account.name"),
				"role":       field("ClusterRole "+role, "metadata", "name"),
				"bound":      field("ClusterRoleBinding "+scraper, "roleRef", "name"),
				"to":         field("ClusterRoleBinding "+scraper, "subjects").([]any)[0],
				"shown":      endpoint["authorization"],
				"tls":        endpoint["tlsConfig"],
				"args":       container["args"],
				"mount":      container["volumeMounts"].([]any)[0].(map[string]any)["mountPath"],
				"volume":     field(deployment, "spec", "template", "spec", "volumes").([]any)[0].(map[string]any)["secret"],
				"annotation": "",
			}
			if a, ok := field(service, "metadata", "annotations", "service.beta.openshift.io/serving-cert-secret-name").(string); ok {
				got["annotation"] = a
			}
			want := map[string]any{
				"account": scraper, "token": scraper, "role": role, "bound": role, "to": account,
				"shown": map[string]any{"credentials": map[string]any{"name": scraper, "key": "token"}},
				"tls":   test.tls, "args": []any{"--leader-elect", "--metrics-cert-path=/etc/avi-l4/metrics-tls"},
				"mount": "/etc/avi-l4/metrics-tls", "volume": map[string]any{"secretName": "avi-l4-metrics-tls"}, "annotation": test.annotation,
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			selected, port := all[service].GetLabels(), field(service, "spec", "ports").([]any)[0].(map[string]any)["name"]
			if test.kind == "PodMonitor" {
				selected, _, _ = unstructured.NestedStringMap(all[deployment].Object, "spec", "template", "metadata", "labels")
				port = container["ports"].([]any)[0].(map[string]any)["name"]
			}
			for key, value := range field(monitor, "spec", "selector", "matchLabels").(map[string]any) {
				if selected[key] != value {
					t.Errorf("the monitor selects by %s=%s, and there is %q", key, value, selected[key])
				}
			}
			if port != endpoint["port"] {
				t.Errorf("the monitor scrapes port %v, and there is %v", endpoint["port"], port)
			}
			if test.folder != "cert-manager" {
				return
			}
			if issuer := field("Certificate third-avi-l4-metrics", "spec", "issuerRef", "name"); all["Issuer "+issuer.(string)] == nil {
				t.Errorf("there is no issuer %s", issuer)
			}
			if secret := field("Certificate third-avi-l4-metrics", "spec", "secretName"); secret != "avi-l4-metrics-tls" {
				t.Errorf("the certificate is put into %s", secret)
			}
		})
	}
}
