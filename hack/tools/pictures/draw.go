// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/go-analyze/charts"
)

// Measures of a sheet of panels, in pixels.
const (
	sheetWidth   = 900
	headHeight   = 40
	numberHeight = 84
	curveHeight  = 270
	gap          = 10
	numbersInRow = 6
	curvesInRow  = 2
)

// theme is close to Grafana's dark one, on which its users know these panels. It can be read on a light page and on a dark one.
var theme = charts.GetTheme(charts.ThemeGrafana).WithBackgroundColor(charts.ColorFromHex("#181b1f")).
	WithSeriesColors(hex("#73bf69", "#f2cc0c", "#8ab8ff", "#ff780a", "#f2495c", "#b877d9", "#56d8e4", "#ffa6b0", "#96d98d", "#c4162a"))

func hex(colors ...string) (out []charts.Color) {
	for _, c := range colors {
		out = append(out, charts.ColorFromHex(c))
	}
	return out
}

// Colors of text that is not in front, of a sheet, and of numbers.
var (
	soft       = charts.ColorFromHex("#ccccdc")
	background = charts.ColorFromHex("#111217")
	numberFill = map[string]charts.Color{"green": charts.ColorFromHex("#37872d"), "red": charts.ColorFromHex("#c4162a")}
)

// text is a style of letters.
func text(size float64, color charts.Color) charts.FontStyle {
	return charts.FontStyle{FontSize: size, FontColor: color, Font: charts.GetDefaultFont()}
}

// drawSheet draws panels below a title: numbers, then curves.
func drawSheet(title string, panels []panel, step time.Duration) ([]byte, error) {
	var numbers, curves []panel
	for _, p := range panels {
		if p.Type == "stat" {
			numbers = append(numbers, p)
		} else {
			curves = append(curves, p)
		}
	}
	lines := func(n, in int) int { return (n + in - 1) / in }
	height := headHeight + lines(len(numbers), numbersInRow)*(numberHeight+gap) + lines(len(curves), curvesInRow)*(curveHeight+gap)
	sheet := charts.NewPainter(charts.PainterOptions{OutputFormat: charts.ChartOutputSVG, Width: sheetWidth, Height: height, Theme: theme})
	sheet.FilledRect(0, 0, sheetWidth, height, background, background, 0)
	sheet.Text(title, gap+4, headHeight-14, 0, text(14, charts.ColorWhite))
	top := headHeight
	place := func(i, in, high int) charts.Box {
		wide := (sheetWidth - gap*(in+1)) / in
		left, down := gap+i%in*(wide+gap), top+i/in*(high+gap)
		return charts.NewBox(left, down, left+wide, down+high)
	}
	for i := range numbers {
		numbers[i].drawNumber(sheet.Child(charts.PainterBoxOption(place(i, numbersInRow, numberHeight))))
	}
	top += lines(len(numbers), numbersInRow) * (numberHeight + gap)
	for i := range curves {
		if err := curves[i].drawCurves(sheet.Child(charts.PainterBoxOption(place(i, curvesInRow, curveHeight))), step); err != nil {
			return nil, fmt.Errorf("panel %q: %w", curves[i].Title, err)
		}
	}
	return rendered(sheet)
}

// rendered is the picture with a font that readers have.
func rendered(p *charts.Painter) ([]byte, error) {
	svg, err := p.Bytes()
	return bytes.ReplaceAll(svg, []byte("'Roboto Medium',sans-serif"), []byte("Roboto,Arial,sans-serif")), err
}

// drawNumber draws a panel's last value, on the color of its threshold.
func (p *panel) drawNumber(at *charts.Painter) {
	value := p.curves[0].last()
	at.FilledRect(0, 0, at.Width(), at.Height(), numberFill[p.color(value)], charts.ColorTransparent, 0)
	at.Text(p.Title, 10, 22, 0, text(8, charts.ColorWhite))
	shown, style := formatter(p.unit())(value), text(22, charts.ColorWhite)
	at.Text(shown, (at.Width()-at.MeasureText(shown, 0, style).Width())/2, at.Height()-20, 0, style)
}

// drawCurves draws a panel's series over time.
func (p *panel) drawCurves(at *charts.Painter, interval time.Duration) error {
	option := charts.NewLineChartOptionWithData(nil)
	most := 0.0
	for _, c := range p.curves {
		values := make([]float64, len(c.values))
		for i, v := range c.values {
			if values[i] = v; math.IsNaN(v) {
				values[i] = charts.GetNullValue()
			} else {
				most = max(most, v)
			}
		}
		option.SeriesList = append(option.SeriesList, charts.LineSeries{Name: c.name, Values: values})
	}
	option.Theme = theme
	legend := p.legend(at)
	option.Padding = charts.NewBox(14, 12, 18, 14+legendLine*len(legend))
	option.Title = charts.TitleOption{Text: p.Title, FontStyle: text(10, charts.ColorWhite), Offset: charts.OffsetLeft}
	option.Legend = charts.LegendOption{Show: new(false)} // the library's is too large for so many series
	option.Symbol = charts.Symbol{Shape: charts.SymbolNone}
	option.LineStrokeWidth = 1.5
	option.XAxis = charts.XAxisOption{Labels: clock(len(p.curves[0].values), interval), LabelCount: 7, BoundaryGap: new(false),
		LabelFontStyle: text(8, soft)}
	option.YAxis = []charts.YAxisOption{valueAxis(p.unit(), most)}
	option.YAxis[0].LabelFontStyle = text(8, soft)
	if err := at.LineChart(option); err != nil {
		return err
	}
	for i, line := range legend {
		for _, e := range line {
			y := at.Height() - 12 - legendLine*(len(legend)-1-i)
			at.FilledRect(e.left, y-5, e.left+12, y-2, theme.GetSeriesColor(e.series), charts.ColorTransparent, 0)
			at.Text(e.name, e.left+17, y, 0, legendText)
		}
	}
	return nil
}

// legendEntry is the name of a series, and how far from the left it stands.
type legendEntry struct {
	series, left int
	name         string
}

const legendLine = 15

var legendText = text(7.5, soft)

// legend are the series' names in lines. A reader whose font is a little wider than the one that is measured has room for it.
func (p *panel) legend(at *charts.Painter) (lines [][]legendEntry) {
	left := at.Width()
	for i, c := range p.curves {
		wide := 17 + at.MeasureText(c.name, 0, legendText).Width()*6/5 + 8
		if left+wide > at.Width() {
			lines, left = append(lines, nil), 14
		}
		lines[len(lines)-1] = append(lines[len(lines)-1], legendEntry{i, left, c.name})
		left += wide
	}
	return lines
}

// scale divides an axis from 0 to at least the value into four to six steps of a round size. An axis without values ends at 1.
func scale(most float64) (step float64, steps int) {
	if most <= 0 {
		most = 1
	}
	magnitude := math.Pow(10, math.Floor(math.Log10(most))-1)
	for _, round := range []float64{2, 2.5, 5, 10, 20, 25} {
		step = round * magnitude
		if steps = max(4, int(math.Ceil(most/step-1e-9))); steps <= 6 {
			break
		}
	}
	return step, steps
}

// clock are minutes and seconds since the beginning, for so many points.
func clock(points int, step time.Duration) (out []string) {
	for i := range points {
		s := int((time.Duration(i) * step).Seconds())
		out = append(out, fmt.Sprintf("%d:%02d", s/60, s%60))
	}
	return out
}

// formatter writes values with Grafana's units.
func formatter(unit string) func(float64) string {
	switch unit {
	case "s":
		return func(v float64) string {
			if abs := math.Abs(v); abs > 0 && abs < 1 {
				return number(v*1000) + " ms"
			}
			return number(v) + " s"
		}
	case "ops":
		return func(v float64) string { return number(v) + " ops/s" }
	case "reqps":
		return func(v float64) string { return number(v) + " req/s" }
	case "percentunit":
		return func(v float64) string { return number(v*100) + " %" }
	}
	if unit == "ms" || unit == "MiB" {
		return func(v float64) string { return number(v) + " " + unit }
	}
	return number
}

// number writes a number with three digits at most, but for thousands.
func number(v float64) string {
	digits := 0
	for limit := 100.0; digits < 3 && math.Abs(v) < limit && v != 0; limit /= 10 {
		digits++
	}
	s := strconv.FormatFloat(v, 'f', digits, 64)
	if digits > 0 {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}
