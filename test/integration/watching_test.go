// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	corev1 "k8s.io/api/core/v1"

	"github.com/avi-l4-operator/avi-l4-operator/controllers"
	"github.com/avi-l4-operator/avi-l4-operator/test/suite"
)

// TestMetrics scrapes an operator that serves one Service and has refused another: what is counted is what the statuses say, drift is
// found and repaired, and no label names an object.
func TestMetrics(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewPedanticRegistry()
	e := suite.New(t, suite.WithOptions(func(o *controllers.Options) { o.Registerer = reg }))
	port := suite.Port(corev1.ProtocolSCTP, 38412)
	amf, bad := e.Service("amf", port), e.Service("smf", port)
	bad.Spec.LoadBalancerIP = "no address"
	e.Create(amf, e.Slice(amf, "10.244.1.5"), bad)

	want := func(name string, labels map[string]string, n float64) {
		t.Helper()
		e.Eventually(name+fmt.Sprint(labels), func() error {
			if got := series(t, reg, name, labels); got != n {
				return fmt.Errorf("is %g, want %g; there is %s", got, n, all(t, reg, name))
			}
			return nil
		})
	}
	owners := func(condition, status, reason string) map[string]string {
		return map[string]string{"kind": "Service", "condition": condition, "status": status, "reason": reason}
	}
	want("avi_l4_owners", owners("Programmed", "True", "Programmed"), 1)
	want("avi_l4_owners", owners("Accepted", "False", "InvalidAddress"), 1)
	want("avi_l4_owners", owners("Healthy", "True", "Up"), 1)
	want("avi_l4_virtualservices", map[string]string{"state": "up"}, 1)
	want("avi_l4_servers", map[string]string{"state": "up"}, 1)
	want("avi_l4_deletions_held", map[string]string{"guard": "lost"}, 0)

	if err := e.Sim.Edit("pool", "admin", e.PoolName(amf, port), func(o map[string]any) { o["sni_enabled"] = true }); err != nil {
		t.Fatal(err)
	}
	e.Operator.Mirror.Reload()
	want("avi_l4_drift_found_total", map[string]string{"kind": "pool"}, 1)
	want("avi_l4_drift_repaired_total", map[string]string{"kind": "pool"}, 1)

	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.Metric {
			if text := m.String(); strings.Contains(text, "amf") || strings.Contains(text, e.Namespace) {
				t.Errorf("a label of %s names an object: %s", f.GetName(), text)
			}
		}
	}
	problems, err := testutil.GatherAndLint(reg)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// series is the value of the counter or gauge with those labels, -1 if there is none.
func series(t *testing.T, reg *prometheus.Registry, name string, labels map[string]string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.Metric {
			if f.GetName() == name && labelled(m, labels) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return -1
}

// all are the series of a metric, for a failure's text.
func all(t *testing.T, reg *prometheus.Registry, name string) (out []string) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.Metric {
			if f.GetName() == name {
				out = append(out, m.String())
			}
		}
	}
	return out
}

func labelled(m *dto.Metric, labels map[string]string) bool {
	n := 0
	for _, l := range m.Label {
		if labels[l.GetName()] == l.GetValue() {
			n++
		}
	}
	return n == len(labels)
}
