// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	prommodel "github.com/prometheus/common/model"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/avi-l4-operator/avi-l4-operator/controllers"
	"github.com/avi-l4-operator/avi-l4-operator/test/suite"
)

var update = flag.Bool("update", false, "record the scrapes that the queries of dashboards are tried on; run TestScrape alone with it")

// TestScrape scrapes an operator before and after it has served Services, refused one and repaired what others changed. The metrics are
// those of the record that the dashboard's queries are tried on, with the same labels; -update records anew.
func TestScrape(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	e := suite.New(t, suite.WithOptions(func(o *controllers.Options) { o.Registerer = reg }))
	port := suite.Port(corev1.ProtocolSCTP, 38412)
	first := e.Service("first", port)
	e.Create(first, e.Slice(first, "10.244.1.5"))
	e.Programmed(first)
	before := scrape(t, reg)

	bad := e.Service("bad", port)
	bad.Spec.LoadBalancerIP = "no address"
	e.Create(bad)
	for i := range 12 {
		svc := e.Service(fmt.Sprintf("more-%d", i), port)
		e.Create(svc, e.Slice(svc, fmt.Sprintf("10.244.2.%d", i+1)))
		e.Programmed(svc)
	}
	if err := e.Sim.Edit("pool", "admin", e.PoolName(first, port), func(o map[string]any) { o["sni_enabled"] = true }); err != nil {
		t.Fatal(err)
	}
	e.Operator.Mirror.Reload()
	e.Eventually("the repair", func() error {
		if n := series(t, reg, "avi_l4_drift_repaired_total", map[string]string{"kind": "pool"}); n != 1 {
			return fmt.Errorf("%g repaired", n)
		}
		return nil
	})
	e.Eventually("the refusal", func() error {
		if n := series(t, reg, "avi_l4_owners", map[string]string{"condition": "Accepted", "status": "False"}); n != 1 {
			return fmt.Errorf("%g refused", n)
		}
		return nil
	})
	after := scrape(t, reg)

	folder := filepath.Join("..", "..", "hack", "tools", "monitoring", "testdata")
	if *update {
		for name, families := range map[string][]*dto.MetricFamily{"before.txt": before, "after.txt": after} {
			var text bytes.Buffer
			for _, f := range families {
				if _, err := expfmt.MetricFamilyToText(&text, f); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(filepath.Join(folder, name), text.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	recorded := readScrape(t, filepath.Join(folder, "after.txt"))
	if diff := cmp.Diff(shapes(after), shapes(recorded)); diff != "" {
		t.Errorf("metrics (-) and their record (+) differ; go test ./test/integration -run TestScrape -update:\n%s", diff)
	}
}

// scraped are what the names of the metrics that a dashboard draws begin with.
var scraped = []string{"avi_l4_", "workqueue_depth", "workqueue_queue_duration_seconds", "controller_runtime_reconcile_total"}

// scrape gathers what one request for /metrics would be answered.
func scrape(t *testing.T, reg *prometheus.Registry) (out []*dto.MetricFamily) {
	t.Helper()
	families, err := prometheus.Gatherers{reg, metrics.Registry}.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if slices.ContainsFunc(scraped, func(prefix string) bool { return strings.HasPrefix(f.GetName(), prefix) }) {
			out = append(out, f)
		}
	}
	return out
}

func readScrape(t *testing.T, file string) []*dto.MetricFamily {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	parser := expfmt.NewTextParser(prommodel.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return slices.Collect(maps.Values(families))
}

// shapes are the metrics' types and names of labels.
func shapes(families []*dto.MetricFamily) map[string]string {
	out := map[string]string{}
	for _, f := range families {
		labels := map[string]bool{}
		for _, m := range f.Metric {
			for _, l := range m.Label {
				labels[l.GetName()] = true
			}
		}
		out[f.GetName()] = f.GetType().String() + " " + strings.Join(slices.Sorted(maps.Keys(labels)), ",")
	}
	return out
}
