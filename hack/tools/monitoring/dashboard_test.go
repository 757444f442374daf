// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
)

// TestQueries has Prometheus' engine answer each query of the dashboard from what an operator was scraped for: five minutes of the first
// scrape, then five of the second. Each answer has numbers, and the labels that its legend names.
func TestQueries(t *testing.T) {
	series := load(t)
	suite, err := promqltest.NewLazyLoader(series, promqltest.LazyLoaderOpts{Parser: promQL})
	if err != nil {
		t.Fatal(err)
	}
	defer suite.Close()
	start := time.Unix(0, 0)
	var storageErr error
	suite.WithSamplesTill(start.Add(10*time.Minute), func(err error) { storageErr = err })
	if storageErr != nil {
		t.Fatal(storageErr)
	}
	grafana := strings.NewReplacer("$__rate_interval", "5m", "$namespace", "avi-l4-system")
	for _, r := range rows {
		for _, p := range r.panels {
			for _, q := range p.queries {
				t.Run(p.title+"/"+q.legend, func(t *testing.T) {
					asked, err := suite.QueryEngine().NewRangeQuery(t.Context(), suite.Queryable(), nil, grafana.Replace(q.promQL()),
						start.Add(5*time.Minute), start.Add(8*time.Minute), time.Minute)
					if err != nil {
						t.Fatal(err)
					}
					defer asked.Close()
					answer, err := asked.Exec(t.Context()).Matrix()
					if err != nil {
						t.Fatal(err)
					}
					check(t, q, answer)
				})
			}
		}
	}
}

// check looks for numbers, and for a name of each series that no other has.
func check(t *testing.T, q query, answer promql.Matrix) {
	t.Helper()
	numbers, names := 0, map[string]bool{}
	for _, s := range answer {
		for _, f := range s.Floats {
			if !math.IsNaN(f.F) && !math.IsInf(f.F, 0) {
				numbers++
			}
		}
		name := q.legend
		for _, l := range regexp.MustCompile(`{{(\w+)}}`).FindAllStringSubmatch(q.legend, -1) {
			value := s.Metric.Get(l[1])
			if value == "" {
				t.Errorf("the legend names %s, and %s is an answer", l[1], s.Metric)
			}
			name = strings.ReplaceAll(name, l[0], value)
		}
		if names[name] {
			t.Errorf("two series are called %q", name)
		}
		names[name] = true
	}
	if numbers == 0 {
		t.Errorf("%s is answered with %v", q.promQL(), answer)
	}
}

// TestMetricsExist: what queries and alerts select was scraped, which an empty answer of "or vector(0)" would hide.
func TestMetricsExist(t *testing.T) {
	known := map[string]bool{"leader_election_master_status": true} // the operator that was scraped needs no lease
	for name := range samples(t, "after.txt") {
		known[name[:strings.Index(name, "{")]] = true
	}
	queries := map[string]string{}
	for _, r := range rows {
		for _, p := range r.panels {
			for _, q := range p.queries {
				queries[q.expr] = strings.ReplaceAll(q.promQL(), "$__rate_interval", "5m")
			}
		}
	}
	for _, a := range alerts(t) {
		queries[a.Alert] = a.Expr.String()
	}
	for name, text := range queries {
		expr, err := promQL.ParseExpr(text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
			if s, ok := n.(*parser.VectorSelector); ok && !known[s.Name] {
				t.Errorf("%s: the operator has no metric %s", name, s.Name)
			}
			return nil
		})
	}
}

// TestAllIsDrawn: each metric of the operator is on the dashboard or in an alert, but for those that are named here with the reason.
func TestAllIsDrawn(t *testing.T) {
	var text strings.Builder
	for _, r := range rows {
		for _, p := range r.panels {
			for _, q := range p.queries {
				text.WriteString(q.expr + "\n")
			}
		}
	}
	for _, a := range alerts(t) {
		text.WriteString(a.Expr.String() + "\n")
	}
	elsewhere := map[string]string{
		"avi_l4_orphans_held":               "avi_l4_deletions_held counts them too",
		"avi_l4_static_routes":              "for clusters with static routes alone",
		"avi_l4_static_route_problems":      "for clusters with static routes alone",
		"avi_l4_static_route_changes_total": "for clusters with static routes alone",
	}
	content, err := os.ReadFile(filepath.Join(root, "docs", "metrics.md"))
	if err != nil {
		t.Fatal(err)
	}
	documented := regexp.MustCompile("(?m)^\\| `(\\w+)").FindAllStringSubmatch(string(content), -1)
	if len(documented) < 20 {
		t.Fatalf("only %d metrics are documented", len(documented))
	}
	for _, m := range documented {
		drawn := regexp.MustCompile(`\b` + m[1] + `(_bucket)?\b`).MatchString(text.String())
		if _, ok := elsewhere[m[1]]; drawn == ok {
			t.Errorf("%s is drawn: %t, but %q", m[1], drawn, elsewhere[m[1]])
		}
	}
}

// TestLegends: curves have names that are seen. The library's own choice hides them.
func TestLegends(t *testing.T) {
	text, err := render()
	if err != nil {
		t.Fatal(err)
	}
	var made struct {
		Panels []struct {
			Type, Title string
			Options     struct{ Legend struct{ ShowLegend bool } }
		}
	}
	if err := json.Unmarshal(text, &made); err != nil {
		t.Fatal(err)
	}
	curves := 0
	for _, p := range made.Panels {
		if p.Type == "timeseries" {
			curves++
			if !p.Options.Legend.ShowLegend {
				t.Errorf("panel %q shows no legend", p.Title)
			}
		}
	}
	if curves == 0 {
		t.Error("there are no curves")
	}
}

// TestRendered: the file that is shipped is what this module makes.
func TestRendered(t *testing.T) {
	want, err := render()
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(root, "config", "components", "grafana-dashboard", "dashboard.json"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("dashboard.json is not current (make dashboard):\n%s", diff)
	}
}

// load writes both scrapes as a series each, with the labels that Prometheus adds, in the notation of Prometheus' tests.
func load(t *testing.T) string {
	t.Helper()
	before, after := samples(t, "before.txt"), samples(t, "after.txt")
	var out strings.Builder
	out.WriteString("load 1m\n")
	for _, name := range slices.Sorted(maps.Keys(after)) {
		first, ok := before[name]
		if !ok {
			first = 0 // a counter that begins
		}
		fmt.Fprintf(&out, "  %s %gx4 %gx5\n", name, first, after[name])
	}
	return out.String()
}

// samples are the numbers of one scrape by series.
func samples(t *testing.T, file string) map[string]float64 {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	reader := expfmt.NewTextParser(model.UTF8Validation)
	families, err := reader.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	extracted, err := expfmt.ExtractSamples(&expfmt.DecodeOptions{}, slices.Collect(maps.Values(families))...)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, s := range extracted {
		s.Metric["namespace"], s.Metric["pod"] = "avi-l4-system", "avi-l4-operator-0"
		out[s.Metric.String()] = float64(s.Value)
	}
	return out
}
