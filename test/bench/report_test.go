// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// numbers are what pictures are drawn from: hack/tools/pictures reads them.
type numbers struct {
	Programmed []programmed `json:"programmed,omitempty"`
	Memory     []memory     `json:"memory,omitempty"`
}

// programmed says how long it took to program owners that had waited when the operator started, from the first call to the end of the
// last, and how long the calls take at least, as many at a time as the operator makes.
type programmed struct {
	Owners       string  `json:"owners"`
	Count        int     `json:"count"`
	Seconds      float64 `json:"seconds"`
	BoundSeconds float64 `json:"boundSeconds"`
}

// memory is the operator's once so many Services are programmed: of its own at that time, and at its peak with the program's file.
type memory struct {
	Services int     `json:"services"`
	OwnMiB   float64 `json:"ownMiB"`
	PeakMiB  float64 `json:"peakMiB"`
}

// boundOf is how long calls take at least, so many at a time.
func boundOf(calls, atOnce int) time.Duration {
	return time.Duration(calls) * latency / time.Duration(atOnce)
}

// programmedIn is a row about how long so many owners of a kind took, which is also kept as numbers. Calls that take longer than the
// Controller's time for them lacked a processor; slots that are not in use lacked work.
func (x *bench) programmedIn(what, owners string, count, calls int) row {
	writes := x.sim.Writes()
	first, last := span(writes)
	wall, bound := last.Sub(first), boundOf(calls, concurrency)
	x.numbers.Programmed = append(x.numbers.Programmed, programmed{owners, count, toMillis(wall), toMillis(bound)})
	took, least, busy := wall.Seconds(), bound.Seconds(), time.Duration(0)
	for _, r := range writes {
		busy += r.Took
	}
	return row{what, fmt.Sprintf("%.1f s = %.2f x the bound of %.1f s; a call took %.1f ms, %.0f %% of the slots and %.0f %% of the processors were in use",
		took, took/least, least, busy.Seconds()*1000/float64(len(writes)), 100*busy.Seconds()/took/concurrency, 100*x.busy),
		"goal: 1.15 x (1.05 x with 100 ms a call)"}
}

// allCalls waits for so many writes since a request, and measures how busy the processors are meanwhile. It doesn't look at the log until
// there may be so many, since that costs what is measured.
func (x *bench) allCalls(since int64, n int) {
	idle, all := processors()
	begun := false
	x.wait("all calls", func() bool {
		done := x.sim.LastID() - since
		if !begun && done > int64(n)/10 && done < int64(n)/2 { // not the operator's start
			begun = true
			idle, all = processors()
		}
		return done >= int64(n) && len(x.sim.Writes()) >= n
	})
	idleNow, allNow := processors()
	x.busy = 1 - (idleNow-idle)/(allNow-all)
}

// processors are for how long all processors have been idle, and have been there, in a unit of the kernel's own.
func processors() (idle, all float64) {
	raw, _ := os.ReadFile("/proc/stat")
	first, _, _ := strings.Cut(string(raw), "\n")
	for i, field := range strings.Fields(first)[1:] {
		ticks, _ := strconv.ParseFloat(field, 64)
		if all += ticks; i == 3 || i == 4 { // idle, and idle until a disk has answered
			idle += ticks
		}
	}
	return idle, all
}

// toMillis are seconds, as exact as is of use.
func toMillis(d time.Duration) float64 { return d.Round(time.Millisecond).Seconds() }

// jsonRow is a row of the table; heading is the last line without a measurement above it.
type jsonRow struct {
	Heading  string `json:"heading,omitempty"`
	What     string `json:"what"`
	Measured string `json:"measured"`
	Goal     string `json:"goal,omitempty"`
}

// report prints the table, and writes it with the numbers to the file that BENCH_JSON names, if it does.
func report(rows []row, n numbers) error {
	table(subject(), rows)
	file := os.Getenv("BENCH_JSON")
	if file == "" {
		return nil
	}
	return write(file, rows, n)
}

func write(file string, rows []row, n numbers) error {
	out := struct {
		Subject     string `json:"subject"`
		Cores       int    `json:"cores"`
		CPU         string `json:"cpu"`
		Go          string `json:"go"`
		CallMillis  int64  `json:"callMillis"`
		Concurrency int    `json:"concurrency"`
		numbers
		Rows []jsonRow `json:"rows"`
	}{subject(), runtime.NumCPU(), cpu(), strings.TrimPrefix(runtime.Version(), "go"), latency.Milliseconds(), concurrency, n, nil}
	heading := ""
	for _, r := range rows {
		if r.measured == "" {
			heading = strings.TrimSuffix(r.what, ":")
			continue
		}
		out.Rows = append(out.Rows, jsonRow{heading, r.what, r.measured, r.goal})
	}
	text, err := json.MarshalIndent(out, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}

func TestReport(t *testing.T) {
	file := filepath.Join(t.TempDir(), "new", "bench.json")
	rows := []row{{"calls", "4", "goal: 4"}, {}, {what: "beside that:"}, {"time", "1.0 s", ""}}
	if err := write(file, rows, numbers{Memory: []memory{{1000, 45.5, 95}}}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"callMillis": 20`, `"ownMiB": 45.5`, `"what": "calls"`, `"heading": "beside that"`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("there is no %s in\n%s", want, text)
		}
	}
}
