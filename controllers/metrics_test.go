// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/avi-l4-operator/avi-l4-operator/internal/avi"
	"github.com/avi-l4-operator/avi-l4-operator/internal/engine"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
)

var update = flag.Bool("update", false, "rewrite docs/metrics.md")

// TestMetricsReference holds docs/metrics.md against what the operator registers; -update rewrites it.
func TestMetricsReference(t *testing.T) {
	file := filepath.Join("..", "docs", "metrics.md")
	want := reference(t)
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("docs/metrics.md is not current (go test ./controllers -run TestMetricsReference -update):\n%s", diff)
	}
}

// reference is the document: a line for each metric, of the type that its name states, as promlint demands below.
func reference(t *testing.T) string {
	t.Helper()
	rec := recorder{t: t}
	if _, err := avi.NewUnconfigured(avi.WithRegisterer(&rec)); err != nil {
		t.Fatal(err)
	}
	op := &Operator{metrics: newInstruments(), Routes: new(StaticRoutesReconciler)}
	if err := op.register(&rec); err != nil {
		t.Fatal(err)
	}
	slices.Sort(rec.lines)
	return `# Metrics

Written by the tests of package controllers from what the operator registers. All labels are bounded: none names a Service, a Gateway
or an object. How to scrape, and what else there is: [configuration.md](configuration.md#metrics).

| metric | type | meaning |
|---|---|---|
` + strings.Join(rec.lines, "")
}

// recorder is a registry that only writes down what it is given.
type recorder struct {
	*prometheus.Registry
	t     *testing.T
	lines []string
}

var described = regexp.MustCompile(`^Desc\{fqName: "([^"]+)", help: "((?:[^"\\]|\\.)*)", (?:unit: "[^"]*", )?constLabels: \{([^}]*)\}, variableLabels: \{([^}]*)\}\}$`)

// Register implements prometheus.Registerer.
func (r *recorder) Register(c prometheus.Collector) error {
	ch := make(chan *prometheus.Desc, 100)
	c.Describe(ch)
	close(ch)
	for d := range ch {
		m := described.FindStringSubmatch(d.String())
		if m == nil {
			r.t.Fatalf("%s doesn't read as it did; has the library changed?", d)
		}
		name, labels := m[1], m[4]
		if m[3] != "" {
			labels = regexp.MustCompile(`="(?:[^"\\]|\\.)*"`).ReplaceAllString(m[3], "")
		}
		if labels != "" {
			name += "{" + labels + "}"
		}
		kind := "gauge"
		switch {
		case strings.HasSuffix(m[1], "_total"):
			kind = "counter"
		case strings.HasSuffix(m[1], "_duration_seconds"):
			kind = "histogram"
		}
		r.lines = append(r.lines, fmt.Sprintf("| `%s` | %s | %s |\n", name, kind, strings.ReplaceAll(m[2], `\"`, `"`)))
	}
	return nil
}

// TestInstruments: every series is there before anything happened, is counted, and is named as Prometheus wants it.
func TestInstruments(t *testing.T) {
	i := newInstruments()
	w := i.watch()
	reg := prometheus.NewPedanticRegistry()
	for _, c := range i.collectors() {
		reg.MustRegister(c)
	}
	if n := testutil.CollectAndCount(i.took); n != len(engine.Stages()) {
		t.Errorf("%d series of stages at the start, want %d", n, len(engine.Stages()))
	}
	if n := testutil.CollectAndCount(i.drift); n != len(model.Written) {
		t.Errorf("%d series of drift at the start, want %d", n, len(model.Written))
	}
	w.Took(engine.Plan, 2*time.Second)
	w.Drift(model.Pool, false)
	w.Drift(model.Pool, false)
	w.Drift(model.Pool, true)
	for name, got := range map[string]float64{
		"found 2":    testutil.ToFloat64(i.drift.WithLabelValues("pool")),
		"repaired 1": testutil.ToFloat64(i.fixed.WithLabelValues("pool")),
		"build 1":    testutil.ToFloat64(i.build),
	} {
		if !strings.HasSuffix(name, fmt.Sprintf(" %g", got)) {
			t.Errorf("%s: got %g", name, got)
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

func TestCountConditions(t *testing.T) {
	got := make(map[conditionCount]int)
	for range 2 {
		countConditions(got, "Service", []metav1.Condition{
			{Type: "ako.vmware.com/Healthy", Status: metav1.ConditionFalse, Reason: "Down"},
			{Type: "Programmed", Status: metav1.ConditionTrue, Reason: "Programmed"},
			{Type: "example.com/Healthy", Status: metav1.ConditionTrue, Reason: "Theirs"},
		})
	}
	want := map[conditionCount]int{{"Service", "Healthy", "False", "Down"}: 2, {"Service", "Programmed", "True", "Programmed"}: 2}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(conditionCount{})); diff != "" {
		t.Error(diff)
	}
}
