// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/go-analyze/charts"
)

// measured is what make bench writes to the file that BENCH_JSON names, as far as it is drawn.
type measured struct {
	CallMillis  int `json:"callMillis"`
	Concurrency int `json:"concurrency"`
	Programmed  []struct {
		Owners       string  `json:"owners"`
		Count        int     `json:"count"`
		Seconds      float64 `json:"seconds"`
		BoundSeconds float64 `json:"boundSeconds"`
	} `json:"programmed"`
	Memory []struct {
		Services int     `json:"services"`
		OwnMiB   float64 `json:"ownMiB"`
		PeakMiB  float64 `json:"peakMiB"`
	} `json:"memory"`
}

// scaling draws all that was measured.
func scaling(o *options) error {
	files, err := filepath.Glob(filepath.Join(o.data, "*.json"))
	if err != nil {
		return err
	}
	if len(files) == 0 && len(o.only) == 0 {
		fmt.Println("nothing was measured: no pictures of scaling")
		return nil
	}
	if len(files) == 0 {
		return fmt.Errorf("there is no JSON file in %s: make bench BENCH_JSON=%s writes one", o.data, filepath.Join(o.data, "bench-1000.json"))
	}
	var all []measured
	for _, file := range files {
		text, err := os.ReadFile(file) // #nosec G304 -- in a folder that the user names
		if err != nil {
			return err
		}
		var m measured
		if err := json.Unmarshal(text, &m); err != nil {
			return fmt.Errorf("reading %s: %w", file, err)
		}
		if m.Concurrency == 0 || len(m.Programmed) == 0 || len(m.Memory) == 0 {
			return fmt.Errorf("%s has not what make bench writes", file)
		}
		if len(all) > 0 && (m.CallMillis != all[0].CallMillis || m.Concurrency != all[0].Concurrency) {
			return fmt.Errorf("%s and %s were measured with other calls", files[0], file)
		}
		all = append(all, m)
	}
	for name, draw := range map[string]func([]measured) ([]byte, error){"scaling-time.svg": drawTimes, "scaling-memory.svg": drawMemory} {
		picture, err := draw(all)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := o.save(name, picture); err != nil {
			return err
		}
	}
	return nil
}

// bar is the time for one owner of a kind, in ms, and its bound.
type bar struct {
	name        string
	took, bound float64
}

// bars has the kinds in the order in which they were measured, those of few owners before those of many.
func bars(all []measured) (out []bar) {
	type one struct {
		count int
		bar
	}
	var kinds []string
	found := map[string][]one{}
	for _, m := range all {
		for _, p := range m.Programmed {
			if !slices.Contains(kinds, p.Owners) {
				kinds = append(kinds, p.Owners)
			}
			name := fmt.Sprintf("%s %s: %.2f ×", thousands(p.Count), p.Owners, p.Seconds/p.BoundSeconds)
			each := 1000 / float64(p.Count)
			found[p.Owners] = append(found[p.Owners], one{p.Count, bar{name, p.Seconds * each, p.BoundSeconds * each}})
		}
	}
	for _, kind := range kinds {
		slices.SortStableFunc(found[kind], func(a, b one) int { return cmp.Compare(a.count, b.count) })
		for _, o := range found[kind] {
			out = append(out, o.bar)
		}
	}
	return out
}

// drawTimes draws how long an owner takes when many wait, beside the time of its calls.
func drawTimes(all []measured) ([]byte, error) {
	list := bars(all)
	var took, bound []float64
	var names []string
	for _, b := range slices.Backward(list) { // the library begins at the bottom, and a reader's font may be wider
		took, bound, names = append(took, b.took), append(bound, b.bound), append(names, b.name+"        ")
	}
	p := chartPainter(110 + 46*len(list))
	option := charts.NewBarChartOptionWithData([][]float64{bound, took})
	option.Horizontal, option.Theme, option.Padding = true, theme, chartPadding
	option.Title = chartTitle("Time for one owner of many that wait, and × of the bound")
	option.Legend = chartLegend(fmt.Sprintf("bound: its calls, %d at a time, %d ms each", all[0].Concurrency, all[0].CallMillis), "measured")
	option.CategoryAxis = charts.CategoryAxisOption{Labels: names, LabelFontStyle: text(9, soft)}
	most := slices.Max(slices.Concat(took, bound)) * 1.1 // there are labels behind the bars
	option.ValueAxis = []charts.ValueAxisOption{valueAxis("ms", most)}
	for i := range option.SeriesList {
		option.SeriesList[i].Label = charts.SeriesLabel{Show: new(true), ValueFormatter: formatter("ms"), FontStyle: text(8, soft)}
	}
	return drawn(p, p.BarChart(option))
}

// drawMemory draws the operator's memory by the number of Services. The points are joined by straight lines.
func drawMemory(all []measured) ([]byte, error) {
	own, peak := map[int]float64{}, map[int]float64{}
	step, most := 0, 0
	for _, m := range all {
		for _, point := range m.Memory {
			own[point.Services], peak[point.Services] = point.OwnMiB, point.PeakMiB
			step, most = divisor(step, point.Services), max(most, point.Services)
		}
	}
	if step == 0 || most/step > 200 {
		return nil, errors.New("the numbers of Services have no common step: they should be round")
	}
	var labels []string
	for n := 0; n <= most; n += step {
		labels = append(labels, thousands(n))
	}
	p := chartPainter(360)
	option := charts.NewLineChartOptionWithData([][]float64{joined(own, step, most), joined(peak, step, most)})
	option.Theme, option.Padding = theme, chartPadding
	option.Title = chartTitle("Memory by number of Services")
	option.Legend = chartLegend("its own, once all are programmed", "peak, with the pages of the program's file")
	option.XAxis = charts.XAxisOption{Labels: labels, BoundaryGap: new(false), LabelFontStyle: text(9, soft)}
	option.YAxis = []charts.YAxisOption{valueAxis("MiB", slices.Max(slices.Collect(maps.Values(peak))))}
	option.Symbol = charts.Symbol{Shape: charts.SymbolNone}
	if len(own) == 1 {
		option.Symbol.Shape = charts.SymbolDot
	}
	return drawn(p, p.LineChart(option))
}

// joined has a value for each step: what was measured, and what is on the straight line between two of those; none outside.
func joined(points map[int]float64, step, most int) (out []float64) {
	var known []int
	for n := range points {
		known = append(known, n)
	}
	slices.Sort(known)
	for n := 0; n <= most; n += step {
		value := charts.GetNullValue()
		if i, ok := slices.BinarySearch(known, n); ok {
			value = points[n]
		} else if i > 0 && i < len(known) {
			left, right := known[i-1], known[i]
			value = points[left] + (points[right]-points[left])*float64(n-left)/float64(right-left)
		}
		out = append(out, value)
	}
	return out
}

// divisor is the greatest common one.
func divisor(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// thousands writes a number as documents do.
func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

var chartPadding = charts.NewBox(16, 14, 30, 14)

func chartPainter(height int) *charts.Painter {
	return charts.NewPainter(charts.PainterOptions{OutputFormat: charts.ChartOutputSVG, Width: sheetWidth, Height: height, Theme: theme})
}

func chartTitle(title string) charts.TitleOption {
	return charts.TitleOption{Text: title, FontStyle: text(12, charts.ColorWhite), Offset: charts.OffsetLeft}
}

func chartLegend(names ...string) charts.LegendOption {
	for i := range names {
		names[i] += "      " // a reader's font may be wider
	}
	return charts.LegendOption{SeriesNames: names, FontStyle: text(9, soft),
		Offset: charts.OffsetStr{Left: charts.PositionLeft, Top: charts.PositionBottom}}
}

// valueAxis is one from 0 to a value, in round steps.
func valueAxis(unit string, most float64) charts.ValueAxisOption {
	step, steps := scale(most)
	return charts.ValueAxisOption{Min: new(0.0), Max: new(step * float64(steps)), LabelCount: steps + 1, PreferNiceIntervals: new(false),
		ValueFormatter: formatter(unit), LabelFontStyle: text(9, soft)}
}

func drawn(p *charts.Painter, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	return rendered(p)
}
