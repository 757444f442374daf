// SPDX-License-Identifier: Apache-2.0

package helm

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// TestMonitoring: nothing of it is there unless the values ask for it, and then it is what kustomize has, but for the selector, which
// has the release's name.
func TestMonitoring(t *testing.T) {
	all := objects(t, run(t.Context(), t, kustomize(t), "build", filepath.Join(root, "config", "components", "monitoring")))
	maps.Copy(all, objects(t, read(t, "config", "components", "pod-monitor", "pod_monitor.yaml")))
	maps.Copy(all, objects(t, run(t.Context(), t, kustomize(t), "build", filepath.Join(root, "config", "components", "grafana-dashboard"))))
	account := []string{"ServiceAccount", "Secret", "ClusterRoleBinding"}
	for name, c := range map[string]struct {
		metrics values
		want    []string
	}{
		"nothing": {values{}, nil},
		"service": {values{"monitor": "service"}, append(account, "ServiceMonitor")},
		"pod":     {values{"monitor": "pod"}, append(account, "PodMonitor")},
		"rules":   {values{"rules": true}, []string{"PrometheusRule"}},
		"drawn":   {values{"dashboard": true}, []string{"ConfigMap"}},
	} {
		t.Run(name, func(t *testing.T) {
			rendered := objects(t, []byte(render(t, values{"metrics": c.metrics}).Manifest))
			for key, want := range all {
				got := rendered[key]
				if !slices.Contains(c.want, want.GetKind()) {
					if got != nil {
						t.Errorf("%s is there", key)
					}
					continue
				}
				if got == nil {
					t.Errorf("%s is missing", key)
					continue
				}
				want = want.DeepCopy()
				plain(t, want)
				plain(t, got)
				if strings.HasSuffix(want.GetKind(), "Monitor") {
					set(want.Object, releaseName, "spec", "selector", "matchLabels", "app.kubernetes.io/instance")
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s: kustomize (-) and the chart (+) differ:\n%s", key, diff)
				}
			}
		})
	}
}

// TestMonitoringOfAnotherRelease: names that belong together have the release's prefix, and what the values say is there.
func TestMonitoringOfAnotherRelease(t *testing.T) {
	rendered := objects(t, []byte(render(t, values{"fullnameOverride": "other", "metrics": values{
		"monitor": "service", "interval": "15s", "rules": true, "labels": values{"release": "prometheus"}, "certificateSecret": "metrics-tls",
		"tlsConfig": values{"serverName": "s"}, "serviceAnnotations": values{"a": "b"},
	}}).Manifest))
	field := func(key string, path ...string) any {
		t.Helper()
		o := rendered[key]
		if o == nil {
			t.Fatalf("%s is missing; there are %v", key, slices.Sorted(maps.Keys(rendered)))
		}
		v, _, _ := unstructured.NestedFieldCopy(o.Object, path...)
		return v
	}
	const monitor = "ServiceMonitor avi-l4-system/other-operator"
	pod := field("Deployment avi-l4-system/other-operator", "spec", "template", "spec").(values)
	c := pod["containers"].([]any)[0].(values)
	got := []any{
		field("ServiceAccount avi-l4-system/other-metrics-scraper", "metadata", "name"),
		field("Secret avi-l4-system/other-metrics-scraper", "metadata", "annotations"),
		field("ClusterRoleBinding /other-metrics-scraper", "roleRef", "name"),
		field("ClusterRole /other-metrics-reader", "metadata", "name"),
		field("ClusterRoleBinding /other-metrics-scraper", "subjects").([]any)[0].(values)["name"],
		field("Service avi-l4-system/other-operator-metrics", "metadata", "annotations"),
		field(monitor, "metadata", "labels", "release"), field("PrometheusRule avi-l4-system/other-operator", "metadata", "labels", "release"),
		field(monitor, "spec", "endpoints"),
		c["args"], c["volumeMounts"], pod["volumes"],
	}
	want := []any{
		"other-metrics-scraper", values{"kubernetes.io/service-account.name": "other-metrics-scraper"},
		"other-metrics-reader", "other-metrics-reader", "other-metrics-scraper", values{"a": "b"}, "prometheus", "prometheus",
		[]any{values{"port": "https", "scheme": "https", "interval": "15s", "tlsConfig": values{"serverName": "s"},
			"authorization": values{"credentials": values{"name": "other-metrics-scraper", "key": "token"}}}},
		[]any{"--leader-elect", "--metrics-cert-path=/etc/avi-l4/metrics-tls"},
		[]any{values{"name": "metrics-tls", "mountPath": "/etc/avi-l4/metrics-tls", "readOnly": true}},
		[]any{values{"name": "metrics-tls", "secret": values{"secretName": "metrics-tls"}}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
