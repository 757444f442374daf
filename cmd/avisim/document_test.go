// SPDX-License-Identifier: Apache-2.0

package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/schema"
)

var update = flag.Bool("update", false, "rewrite the tables in docs/simulator.md")

const document = "../../docs/simulator.md"

// TestDocument fails if the document's tables of evidence are not those of the code.
func TestDocument(t *testing.T) {
	const begin, end = "<!-- From the code: go test ./cmd/avisim -run TestDocument -update -->\n", "<!-- End of what is from the code. -->\n"
	b, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok1 := strings.Cut(string(b), begin)
	have, after, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatalf("%s does not have the lines %s and %s", document, begin, end)
	}
	want := evidence()
	if *update {
		if err := os.WriteFile(document, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if have != want {
		t.Errorf("%s is not what the code says: run go test ./cmd/avisim -run TestDocument -update", document)
	}
}

// evidence renders the tables.
func evidence() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	var full, bare []string
	for _, t := range schema.Types() {
		if t.Message() != nil {
			full = append(full, "`"+t.Path+"`")
		} else {
			bare = append(bare, t.Path)
		}
	}
	line("\n| object types | |\n|---|---|")
	line("| with all their fields, as the schema of API 30.2.1 has them | %s |", strings.Join(full, " "))
	line("| known by name: they can be written, read and listed, and keep what they are sent | %d others, such as `%s` |", len(bare),
		strings.Join(bare[:3], "` `"))

	line("\nA release has the fields that are dated up to it. Limits and defaults are everywhere those of 30.2.1.")
	line("\n| release | its fields are | known | fields | later | gone |\n|---|---|---|---|---|---|")
	for _, r := range schema.Releases() {
		line("| %s | %s | %s | %d | %d | %d |", r.Version, r.Basis, r.Known, r.Fields, r.Later, r.Gone)
	}

	line("\n| grade | endpoints |\n|---|---|")
	for _, known := range schema.Grades {
		var paths []string
		for _, e := range avisim.Endpoints() {
			if e.Known == known {
				paths = append(paths, "`"+e.Path+"`")
			}
		}
		if len(paths) > 0 {
			line("| %s | %s |", known, strings.Join(paths, " "))
		}
	}

	line("\n| area | behaviour | grade |\n|---|---|---|")
	for _, x := range avisim.Behaviours() {
		line("| %s | %s | %s |", x.Area, x.What, x.Known)
	}

	line("\nThe rules are the checks of what a client wants to write, in the order in which they are made. Each has two grades: that it")
	line("exists, and that its status and text are as they are.")
	line("\n| rule | what it asks for | status | exists | text |\n|---|---|---|---|---|")
	for _, r := range avisim.Rules() {
		what := r.Summary
		if r.Type != "" {
			what = "`" + r.Type + "`: " + what
		}
		if r.Off {
			what += " (off at first)"
		}
		line("| `%s` | %s | %d | %s | %s |", r.ID, what, r.Status, r.Known, r.Text)
	}
	line("")
	return b.String()
}

// TestEffectDocs holds the documentation to the table.
func TestEffectDocs(t *testing.T) {
	b, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "<!-- effects: made by avisim effects --markdown -->\n\n")
	have, _, ok := strings.Cut(rest, "\n<!-- end of effects -->")
	if !ok || have != avisim.EffectDocs() {
		t.Errorf("%s does not list the effects as they are: put the output of go run ./cmd/avisim effects --markdown between its marks",
			document)
	}
}
