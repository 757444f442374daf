// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/avi-l4-operator/avi-l4-operator/test/docs/examples"
)

// TestEachCommandHasAFate: a test runs it, or a reason is given why none does.
func TestEachCommandHasAFate(t *testing.T) {
	all, err := examples.Read(root)
	if err != nil {
		t.Fatal(err)
	}
	used, count := map[string]bool{}, map[string]int{}
	for _, c := range all {
		fate, ok := examples.FateOf(c)
		switch {
		case !ok:
			t.Errorf("%s: no test runs it: give it an entry in examples.Fates", c)
			continue
		case (fate.By == "") == (fate.Why == ""):
			t.Errorf("%s: one of By and Why says what becomes of it", c)
		case fate.By == examples.CI:
			if missing := notInCI(t, c); missing != "" {
				t.Errorf("%s: continuous integration doesn't run %s", c, missing)
			}
		case fate.By != "" && !reads(t, fate.By):
			t.Errorf("%s: %s has no test that runs the commands of documents", c, fate.By)
		}
		used[fate.Begins] = true
		if fate.By == "" {
			count["not run"]++
		} else {
			count[fate.By]++
		}
	}
	for _, fate := range examples.Fates {
		if !used[fate.Begins] {
			t.Errorf("no document has a command that begins with %q", fate.Begins)
		}
	}
	t.Logf("%d commands, run by: %v", len(all), count)
}

// reads reports whether a folder's test runs the commands that it is to run.
func reads(t *testing.T, folder string) bool {
	t.Helper()
	sources, err := filepath.Glob(filepath.Join(root, folder, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(sources, func(source string) bool {
		content, err := os.ReadFile(filepath.Clean(source))
		return err == nil && strings.Contains(string(content), "examples.RunBy(")
	})
}

// notInCI is what continuous integration doesn't run of a command; empty if it runs all of it.
func notInCI(t *testing.T, c examples.Command) string {
	t.Helper()
	script, makefile := content(t, ".ci", "run"), content(t, "Makefile")
	args, isMake := c.Of("make")
	if !isMake {
		// With the same packages or more, by the recipes of targets that it runs.
		what := strings.Join(c.Words, " ")
		if _, command, ok := strings.Cut(what, "$("); ok {
			what = strings.TrimSuffix(command, ")")
		}
		if what, _, _ = strings.Cut(what, " -run "); strings.Contains(makefile, what) || testsIn(makefile, what) {
			return ""
		}
		return what
	}
	ran := map[string]bool{}
	var run func(target string)
	run = func(target string) {
		if ran[target] {
			return
		}
		ran[target] = true
		for _, m := range regexp.MustCompile(`(?m)^`+regexp.QuoteMeta(target)+`:([a-z0-9 -]*)`).FindAllStringSubmatch(makefile, -1) {
			for _, before := range strings.Fields(m[1]) {
				run(before)
			}
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^run make ([a-z-]+)$`).FindAllStringSubmatch(script, -1) {
		run(m[1])
	}
	ran["test-unit"] = ran["test"] // which tests more packages than it
	for _, target := range args {
		if !strings.Contains(target, "=") && !ran[target] {
			return target
		}
	}
	return ""
}

// testsIn reports whether make test runs the package of a go test.
func testsIn(makefile, command string) bool {
	words := strings.Fields(command)
	return len(words) == 3 && words[0] == "go" && words[1] == "test" &&
		regexp.MustCompile(`go test [^\n]*`+regexp.QuoteMeta(words[2])+`( |\n)`).MatchString(makefile)
}

// TestNoCommandIsOverlooked: what looks like a shell's is marked as such, so that it is among the commands.
func TestNoCommandIsOverlooked(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	more, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	program := regexp.MustCompile(`^\$? ?(make|go (run|test|build|install)|kubectl|helm|docker|oc|avisim|curl|export) `)
	for _, file := range append(files, more...) {
		block := ""
		for i, line := range strings.Split(content(t, file[len(root)+1:]), "\n") {
			if mark, fence := strings.CutPrefix(strings.TrimSpace(line), "```"); fence {
				if block != "" {
					mark = ""
				} else if mark == "" {
					mark = "none"
				}
				if block = mark; slices.Contains([]string{"bash", "shell", "zsh"}, block) {
					t.Errorf("%s:%d: a block of commands is marked sh, or console with prompts", file, i+1)
				}
				continue
			}
			if block != "" && block != "sh" && block != "console" && program.MatchString(line) {
				t.Errorf("%s:%d: %q is in a block marked %s", file, i+1, line, block)
			}
		}
	}
}

// TestMake runs the commands that need nothing but make.
func TestMake(t *testing.T) {
	commands, err := examples.RunBy(root, examples.Make)
	if err != nil || len(commands) == 0 {
		t.Fatalf("%d commands: %v", len(commands), err)
	}
	for _, c := range commands {
		if out, err := (examples.Shell{Folder: root}).Run(t.Context(), c.Line); err != nil || !strings.Contains(out, "Usage: make") {
			t.Errorf("%s: %v\n%s", c, err, out)
		}
	}
}

func content(t *testing.T, at ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(append([]string{root}, at...)...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
