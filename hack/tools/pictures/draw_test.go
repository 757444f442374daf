// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"image"
	"image/color"
	"image/png"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
)

// shownIn are the texts of a picture, which has to be well formed.
func shownIn(t *testing.T, svg []byte) (out []string) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(svg))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, svg)
		}
		if text, ok := token.(xml.CharData); ok && len(bytes.TrimSpace(text)) > 0 {
			out = append(out, strings.TrimSpace(strings.ReplaceAll(string(text), "\u00a0", " ")))
		}
	}
}

// TestSheets: the rows of the dashboard that are drawn exist, each query can be parsed once its variables are filled in, and all titles
// and legends are in the pictures.
func TestSheets(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "..", dashboardFile))
	if err != nil {
		t.Fatal(err)
	}
	rows, err := parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != len(sheets) {
		t.Errorf("the dashboard has %d rows, and %d are drawn", len(rows), len(sheets))
	}
	for _, sheet := range sheets {
		i := slices.IndexFunc(rows, func(r row) bool { return r.title == sheet.row })
		if i < 0 {
			t.Fatalf("the dashboard has no row %q", sheet.row)
		}
		want := []string{sheet.row}
		for j := range rows[i].panels {
			p := &rows[i].panels[j]
			want = append(want, p.Title)
			for _, target := range p.Targets {
				if _, err := parser.NewParser(parser.Options{}).ParseExpr(variables.Replace(target.Expr)); err != nil {
					t.Errorf("%s: %v", p.Title, err)
				}
			}
			for _, name := range []string{"GET /api/pool/{uuid}", "a<b & c"} {
				p.curves = append(p.curves, curve{name, []float64{math.NaN(), 0.25, 1, 2}})
				if p.Type != "stat" {
					want = append(want, name)
				}
			}
		}
		svg, err := drawSheet(sheet.row, rows[i].panels, scrapeInterval)
		if err != nil {
			t.Fatal(err)
		}
		shown := shownIn(t, svg)
		for _, text := range want {
			if !slices.Contains(shown, text) {
				t.Errorf("%s doesn't show %q", sheet.file, text)
			}
		}
	}
}

// TestCurves: an answer is put at its place in time, named as the legend says, and one without numbers is none.
func TestCurves(t *testing.T) {
	begin := time.UnixMilli(1_000_000)
	at := func(n int, v float64) promql.FPoint {
		return promql.FPoint{T: begin.Add(time.Duration(n) * scrapeInterval).UnixMilli(), F: v}
	}
	answer := promql.Matrix{
		{Metric: labels.FromStrings("kind", "pool", "op", "update"), Floats: []promql.FPoint{at(1, 2), at(2, math.NaN())}},
		{Metric: labels.FromStrings("kind", "empty"), Floats: []promql.FPoint{at(0, math.NaN())}},
	}
	got := curvesOf(answer, "{{op}} of a {{kind}}", begin, begin.Add(2*scrapeInterval))
	if len(got) != 1 || got[0].name != "update of a pool" || len(got[0].values) != 3 ||
		got[0].values[1] != 2 || !math.IsNaN(got[0].values[0]) {
		t.Fatalf("%+v", got)
	}
	if last := got[0].last(); last != 2 {
		t.Errorf("the last value is %v", last)
	}
}

func TestScale(t *testing.T) {
	for most, want := range map[float64]string{
		0: "1", 1: "1", 41: "50", 42.5: "50", 9: "10", 0.26: "0.3", 128: "150", 3: "3", 100: "100", 61: "80", 7.3: "8", 2: "2",
	} {
		step, steps := scale(most)
		if end := step * float64(steps); number(end) != want || end < most || steps < 4 || steps > 6 {
			t.Errorf("an axis for %v ends at %v after %d steps, want %s", most, end, steps, want)
		}
	}
}

func TestFormatter(t *testing.T) {
	for _, c := range []struct {
		unit  string
		value float64
		want  string
	}{
		{"short", 0, "0"}, {"short", 1234, "1234"}, {"short", 0.125, "0.125"}, {"short", 12.5, "12.5"}, {"short", 2.004, "2"},
		{"s", 0.0421, "42.1 ms"}, {"s", 3, "3 s"}, {"percentunit", 0.5, "50 %"}, {"reqps", 10, "10 req/s"}, {"ops", 1.25, "1.25 ops/s"},
		{"MiB", 100, "100 MiB"},
	} {
		if got := formatter(c.unit)(c.value); got != c.want {
			t.Errorf("%v %s is written %q, want %q", c.value, c.unit, got, c.want)
		}
	}
}

// TestTerminal: what a program prints is shown as it is, lines that are too long broken.
func TestTerminal(t *testing.T) {
	long := "    Said:    " + strings.Repeat("word ", 40)
	svg, err := terminal(`$ kubectl "x"`, "a <b> & 'c'\n\n├─ indented\n"+long+"\n")
	if err != nil {
		t.Fatal(err)
	}
	shown := shownIn(t, svg)
	for _, want := range []string{`$ kubectl "x"`, "a <b> & 'c'", "├─ indented"} {
		if !slices.Contains(shown, want) {
			t.Errorf("%q is not shown: %q", want, shown)
		}
	}
	words := 0
	for _, line := range shown {
		words += strings.Count(line, "word")
		if len([]rune(line)) > longest {
			t.Errorf("%q is too long", line)
		}
	}
	if words != 40 {
		t.Errorf("%d words are shown", words)
	}
}

func TestScaling(t *testing.T) {
	write := func(dir, name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o := options{data: t.TempDir(), out: t.TempDir(), only: []string{groupScaling}}
	if err := scaling(&o); err == nil {
		t.Error("pictures of nothing are drawn")
	}
	write(o.data, "a.json", `{"callMillis":20,"concurrency":8,"programmed":[{"owners":"Services","count":1000,"seconds":12,"boundSeconds":10},
		{"owners":"shared VIPs","count":250,"seconds":5,"boundSeconds":5}],"memory":[{"services":1000,"ownMiB":40,"peakMiB":90}]}`)
	write(o.data, "b.json", `{"callMillis":20,"concurrency":8,"programmed":[{"owners":"Services","count":4000,"seconds":50,"boundSeconds":40}],
		"memory":[{"services":4000,"ownMiB":100,"peakMiB":150}]}`)
	if err := scaling(&o); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]string{
		"scaling-time.svg":   {"1,000 Services: 1.20 ×", "4,000 Services: 1.25 ×", "250 shared VIPs: 1.00 ×", "12 ms", "20 ms"},
		"scaling-memory.svg": {"0", "4,000"},
	} {
		svg, err := os.ReadFile(filepath.Join(o.out, name))
		if err != nil {
			t.Fatal(err)
		}
		shown := shownIn(t, svg)
		for _, text := range want {
			if !slices.Contains(shown, text) {
				t.Errorf("%s doesn't show %q but %q", name, text, shown)
			}
		}
	}
	write(o.data, "c.json", `{"services": 12}`)
	if err := scaling(&o); err == nil || !strings.Contains(err.Error(), "c.json") {
		t.Errorf("a file of something else: %v", err)
	}
}

func TestJoined(t *testing.T) {
	got := joined(map[int]float64{1000: 10, 3000: 30}, 1000, 3000)
	if len(got) != 4 || got[1] != 10 || got[2] != 20 || got[3] != 30 {
		t.Errorf("%v", got)
	}
}

// TestSmaller: of more colors than a palette holds the frequent ones stay as they are, the others become one that is like them, and a
// dot of another color than all the rest stays that.
func TestSmaller(t *testing.T) {
	full := image.NewRGBA(image.Rect(0, 0, 64, 64))
	for i := range 64 * 64 {
		c := color.RGBA{R: 200, G: uint8(i / 64 / 2), B: 7, A: 255} // 32 colors of 112 places
		if i%64 < 8 {
			c = color.RGBA{R: uint8(i % 64), G: uint8(i / 64), B: 250, A: 255} // and 512 of one
		}
		full.Set(i%64, i/64, c)
	}
	dot := color.RGBA{R: 20, G: 180, B: 60, A: 255}
	full.Set(63, 63, dot)
	var in bytes.Buffer
	if err := png.Encode(&in, full); err != nil {
		t.Fatal(err)
	}
	out, err := smaller(in.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	made, err := png.Decode(bytes.NewReader(out))
	if err != nil {
		t.Fatal(err)
	}
	reduced, ok := made.(*image.Paletted)
	if !ok || len(reduced.Palette) != 256 {
		t.Fatalf("%T", made)
	}
	for i := range 64 * 64 {
		want, got := full.RGBAAt(i%64, i/64), rgba(made.At(i%64, i/64))
		if (want.B == 7 || want == dot) && got != want || want.B == 250 && got.B != 250 {
			t.Fatalf("%v became %v", want, got)
		}
	}
}
