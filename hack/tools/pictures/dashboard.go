// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/prometheus/promql"

	"github.com/avi-l4-operator/avi-l4-operator/hack/demo/stage"
)

// dashboardFile is the dashboard as Grafana gets it.
var dashboardFile = filepath.Join("config", "components", "grafana-dashboard", "dashboard.json")

// panel is one of the dashboard, as far as it is drawn here. One of type row is the title of those that follow.
type panel struct {
	Type    string `json:"type"`
	Title   string `json:"title"`
	Targets []struct {
		Expr   string `json:"expr"`
		Legend string `json:"legendFormat"`
	} `json:"targets"`
	FieldConfig struct {
		Defaults struct {
			Unit       string `json:"unit"`
			Thresholds struct {
				Steps []struct {
					Color string   `json:"color"`
					Value *float64 `json:"value"`
				} `json:"steps"`
			} `json:"thresholds"`
		} `json:"defaults"`
	} `json:"fieldConfig"`

	curves []curve
}

func (p *panel) unit() string { return p.FieldConfig.Defaults.Unit }

// color is that of a value, by the panel's thresholds.
func (p *panel) color(value float64) (out string) {
	for _, s := range p.FieldConfig.Defaults.Thresholds.Steps {
		if s.Value == nil || value >= *s.Value {
			out = s.Color
		}
	}
	return out
}

// curve is one series of an answer, with a value for each scrape, NaN where there is none.
type curve struct {
	name   string
	values []float64
}

func (c curve) last() float64 {
	for _, v := range slices.Backward(c.values) {
		if !math.IsNaN(v) {
			return v
		}
	}
	return math.NaN()
}

// sheets are the pictures: a row of the dashboard each. Left out is what is the same all the time, or has too many curves for its size.
var sheets = []struct {
	file, row string
	without   []string
}{
	{"dashboard-served.svg", "Is everything served?", nil},
	{"dashboard-work.svg", "What is done?", nil},
	{"dashboard-controller.svg", "Does the Controller answer?", []string{"Routes", "Logins", "Releases"}},
}

// watched has a Prometheus watch the operator under load, and draws its answers to the dashboard.
func (s *scene) watched(ctx context.Context, o *options) error {
	text, err := os.ReadFile(filepath.Join(s.Root, dashboardFile))
	if err != nil {
		return err
	}
	rows, err := parse(text)
	if err != nil {
		return fmt.Errorf("reading %s: %w", dashboardFile, err)
	}
	dir, err := os.MkdirTemp(s.Dir, "prometheus")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	p, err := scraping(dir, s.metrics, s.token)
	if err != nil {
		return err
	}
	defer p.close() //nolint:errcheck // nothing is kept
	from := time.Now()
	fmt.Printf("watching the operator for %s\n", o.load)
	if err := s.play(ctx, o.load); err != nil {
		return err
	}
	to := time.Now()
	n, err := p.scraped(ctx)
	if err != nil {
		return err
	}
	if want := int(to.Sub(from)/scrapeInterval) - 2; n < want {
		return fmt.Errorf("the operator was scraped %d times and not %d", n, want)
	}
	fmt.Printf("scraped %d times, each query of %s is asked\n", n, dashboardFile)
	for _, row := range rows {
		for i := range row.panels {
			if err := row.panels[i].ask(ctx, p, from, to); err != nil {
				return fmt.Errorf("panel %q: %w", row.panels[i].Title, err)
			}
		}
	}
	for _, sheet := range sheets {
		i := slices.IndexFunc(rows, func(r row) bool { return r.title == sheet.row })
		if i < 0 {
			return fmt.Errorf("the dashboard has no row %q", sheet.row)
		}
		shown := slices.DeleteFunc(slices.Clone(rows[i].panels), func(p panel) bool { return slices.Contains(sheet.without, p.Title) })
		picture, err := drawSheet(sheet.row, shown, scrapeInterval)
		if err != nil {
			return err
		}
		if err := o.save(sheet.file, picture); err != nil {
			return err
		}
	}
	return nil
}

// row is a title with the panels below it.
type row struct {
	title  string
	panels []panel
}

func parse(dashboard []byte) (rows []row, err error) {
	var d struct {
		Panels []panel `json:"panels"`
	}
	if err := json.Unmarshal(dashboard, &d); err != nil {
		return nil, err
	}
	for _, p := range d.Panels {
		switch {
		case p.Type == "row":
			rows = append(rows, row{title: p.Title})
		case len(rows) == 0 || len(p.Targets) == 0:
			return nil, fmt.Errorf("panel %q has no query, or is in no row", p.Title)
		default:
			rows[len(rows)-1].panels = append(rows[len(rows)-1].panels, p)
		}
	}
	return rows, nil
}

// variables are Grafana's, as it fills them in.
var variables = strings.NewReplacer("$__rate_interval", rateInterval.String(), "$namespace", stage.Namespace)

// ask has the panel's queries answered. No answer is an error: all that the dashboard shows has happened.
func (p *panel) ask(ctx context.Context, from *prometheus, begin, end time.Time) error {
	for _, t := range p.Targets {
		query := variables.Replace(t.Expr)
		answer, err := from.ask(ctx, query, begin, end)
		if err != nil {
			return fmt.Errorf("%s: %w", query, err)
		}
		curves := curvesOf(answer, t.Legend, begin, end)
		if len(curves) == 0 {
			return fmt.Errorf("%s has no answer", query)
		}
		p.curves = append(p.curves, curves...)
	}
	return nil
}

var label = regexp.MustCompile(`{{(\w+)}}`)

// curvesOf are the series of an answer that have numbers, by name.
func curvesOf(answer promql.Matrix, legend string, begin, end time.Time) (out []curve) {
	for _, series := range answer {
		c := curve{
			name:   label.ReplaceAllStringFunc(legend, func(l string) string { return series.Metric.Get(strings.Trim(l, "{}")) }),
			values: make([]float64, int(end.Sub(begin)/scrapeInterval)+1),
		}
		numbers := 0
		for i := range c.values {
			c.values[i] = math.NaN()
		}
		for _, f := range series.Floats {
			i := int(time.UnixMilli(f.T).Sub(begin.Truncate(time.Millisecond)) / scrapeInterval)
			if i >= 0 && i < len(c.values) && !math.IsNaN(f.F) {
				c.values[i] = f.F
				numbers++
			}
		}
		if numbers > 0 {
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b curve) int { return strings.Compare(a.name, b.name) })
	return out
}
