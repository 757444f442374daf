// SPDX-License-Identifier: Apache-2.0

package avisim

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/schema"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/world"
)

var update = flag.Bool("update", false, "rewrite the tables in docs/simulator.md")

const document = "../../docs/simulator.md"

// TestDocument fails if the document's tables of evidence are not those of the code.
func TestDocument(t *testing.T) {
	const begin, end = "<!-- From the code: go test ./pkg/avisim -run TestDocument -update -->\n", "<!-- End of what is from the code. -->\n"
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
		t.Errorf("%s is not what the code says: run go test ./pkg/avisim -run TestDocument -update", document)
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
		for _, e := range Endpoints() {
			if e.Known == known {
				paths = append(paths, "`"+e.Path+"`")
			}
		}
		if len(paths) > 0 {
			line("| %s | %s |", known, strings.Join(paths, " "))
		}
	}

	line("\n| area | behaviour | grade |\n|---|---|---|")
	for _, x := range Behaviours() {
		line("| %s | %s | %s |", x.Area, x.What, x.Known)
	}

	line("\nThe rules are the checks of what a client wants to write, in the order in which they are made. Each has two grades: that it")
	line("exists, and that its status and text are as they are.")
	line("\n| rule | what it asks for | status | exists | text |\n|---|---|---|---|---|")
	for _, r := range Rules() {
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

// TestBehaviours shows that the tables are well formed.
func TestBehaviours(t *testing.T) {
	seen := map[string]bool{}
	for _, x := range Behaviours() {
		if x.Area == "" || x.What == "" || !slices.Contains(schema.Grades, x.Known) || seen[x.What] || strings.Contains(x.What, "|") {
			t.Errorf("%+v", x)
		}
		seen[x.What] = true
	}
	for _, e := range Endpoints() {
		if !slices.Contains(schema.Grades, e.Known) {
			t.Errorf("%+v", e)
		}
	}
	for _, r := range Rules() {
		if seen[r.ID] || r.Summary == "" || r.Status < 400 || !slices.Contains(schema.Grades, r.Known) || !slices.Contains(schema.Grades,
			r.Text) ||
			slices.Index(schema.Grades, r.Text) < slices.Index(schema.Grades, r.Known) || r.Type != "" && world.KindOf(r.Type) == nil {
			t.Errorf("%+v", r)
		}
		seen[r.ID] = true
	}
}
