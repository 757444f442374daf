// SPDX-License-Identifier: Apache-2.0

// Package docs holds what the documents say about the repository true: the files that they name exist, their links lead
// somewhere, the limits that they state are those of the code, and the newest release is the one that the programs report.
package docs

import (
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/avi-l4-operator/avi-l4-operator/internal/catalogue"
	"github.com/avi-l4-operator/avi-l4-operator/internal/plan"
)

// root is the repository's, seen from this package's folder, where tests run.
var root = filepath.Join("..", "..")

// about are the documents that describe the repository itself, and so name its files.
var about = []string{"README.md", "CONTRIBUTING.md", "SECURITY.md", "docs/architecture.md", "docs/extending.md"}

func TestPaths(t *testing.T) {
	repository := os.DirFS(root)
	for _, name := range about {
		text := read(t, repository, name)
		if name != "SECURITY.md" && len(named(text)) == 0 {
			t.Errorf("%s names no file; does this test still read it right?", name)
		}
		for _, problem := range missing(repository, text) {
			t.Errorf("%s: %s", name, problem)
		}
	}
}

func TestTargets(t *testing.T) {
	repository := os.DirFS(root)
	makefile := read(t, repository, "Makefile")
	for _, name := range documents(t, repository) {
		for _, problem := range unknownTargets(makefile, read(t, repository, name)) {
			t.Errorf("%s: %s", name, problem)
		}
	}
}

// TestMerges: no document has the marks of a merge that was committed unfinished.
func TestMerges(t *testing.T) {
	repository := os.DirFS(root)
	for _, name := range documents(t, repository) {
		for n, line := range strings.Split(read(t, repository, name), "\n") {
			if strings.HasPrefix(line, "<<<<<<< ") || strings.HasPrefix(line, ">>>>>>> ") || line == "=======" {
				t.Errorf("%s:%d: %s", name, n+1, line)
			}
		}
	}
}

func TestLinks(t *testing.T) {
	repository := os.DirFS(root)
	for _, name := range documents(t, repository) {
		for _, problem := range brokenLinks(repository, name, read(t, repository, name)) {
			t.Errorf("%s: %s", name, problem)
		}
	}
}

var update = flag.Bool("update", false, "write the pages that are made from the code instead of comparing them")

// TestTroubleshooting: the page of reasons is made from the catalogue.
func TestTroubleshooting(t *testing.T) {
	file, want := filepath.Join(root, "docs", "troubleshooting.md"), catalogue.Markdown()
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if have, err := os.ReadFile(file); err != nil || string(have) != want {
		t.Errorf("docs/troubleshooting.md is not what internal/catalogue makes (%v); run go test ./test/docs -update", err)
	}
}

// TestGuards: the table of guards is made from their rules, and the reason of each is explained.
func TestGuards(t *testing.T) {
	page := read(t, os.DirFS(root), "docs/reliability.md")
	if !strings.Contains(page, plan.GuardDocs()) {
		t.Errorf("docs/reliability.md lacks the table of guards as internal/plan has it:\n%s", plan.GuardDocs())
	}
	for _, r := range plan.Rules() {
		if _, ok := catalogue.Find(r.Reason); !ok && r.Reason != "Unknown" {
			t.Errorf("guard %s is reported as %s, which nothing explains", r.Guard, r.Reason)
		}
	}
}

// TestVersion: the newest release of the change log is the one that the programs report, and that of the simulator's module which the
// others ask for.
func TestVersion(t *testing.T) {
	repository := os.DirFS(root)
	if problem := versionProblem(read(t, repository, "CHANGELOG.md"), read(t, repository, "internal/version/VERSION")); problem != "" {
		t.Error(problem)
	}
	number, asked := read(t, repository, "internal/version/VERSION"), 0
	for _, pattern := range []string{"go.mod", "test/*/go.mod", "hack/tools/*/go.mod"} {
		files, err := fs.Glob(repository, pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			problem, asks := askedProblem(read(t, repository, name), number)
			if asked += asks; problem != "" {
				t.Errorf("%s: %s", name, problem)
			}
		}
	}
	if asked < 2 {
		t.Errorf("only %d modules ask for the simulator's", asked)
	}
}

// Bounds of the pictures in docs/images, in bytes: of one, and of all.
const (
	onePicture  = 150 << 10
	allPictures = 800 << 10
)

// TestPictures: each picture is shown by a document, and they don't make a clone large.
func TestPictures(t *testing.T) {
	repository := os.DirFS(root)
	texts := map[string]string{}
	for _, name := range documents(t, repository) {
		texts[name] = read(t, repository, name)
	}
	for _, problem := range pictureProblems(repository, texts) {
		t.Error(problem)
	}
}

// picture is one in a document.
var picture = regexp.MustCompile(`!\[[^\]]+\]\(([^)\s]+)\)`)

func pictureProblems(repository fs.FS, texts map[string]string) (problems []string) {
	used := map[string]bool{}
	for name, text := range texts {
		for _, match := range picture.FindAllStringSubmatch(text, -1) {
			used[path.Join(path.Dir(name), match[1])] = true
		}
	}
	var all int64
	for _, pattern := range []string{"docs/images/*.svg", "docs/images/*.png"} {
		found, err := fs.Glob(repository, pattern)
		if err != nil {
			return []string{err.Error()}
		}
		for _, file := range found {
			info, err := fs.Stat(repository, file)
			if err != nil {
				return []string{err.Error()}
			}
			if all += info.Size(); info.Size() > onePicture {
				problems = append(problems, fmt.Sprintf("%s has %d bytes, more than %d", file, info.Size(), onePicture))
			}
			if !used[file] {
				problems = append(problems, "no document shows "+file)
			}
		}
	}
	if all > allPictures {
		problems = append(problems, fmt.Sprintf("the pictures have %d bytes, more than %d", all, allPictures))
	}
	return problems
}

func read(t *testing.T, repository fs.FS, name string) string {
	t.Helper()
	text, err := fs.ReadFile(repository, name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// documents are all that people read here.
func documents(t *testing.T, repository fs.FS) []string {
	t.Helper()
	var all []string
	for _, pattern := range []string{"*.md", "docs/*.md", ".github/*.md", ".github/ISSUE_TEMPLATE/*.md"} {
		found, err := fs.Glob(repository, pattern)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, found...)
	}
	if len(all) < 10 {
		t.Fatalf("found only %d documents: %v", len(all), all)
	}
	return all
}

// folders are those that a path of this repository can begin with.
var folders = []string{"api", "cmd", "config", "controllers", "docs", "hack", "internal", "pkg", "test", ".ci", ".github"}

var (
	quoted = regexp.MustCompile("`([^`]+)`")
	fenced = regexp.MustCompile("(?ms)^```.*?^```")
	// placeholder stands for a name that the reader chooses.
	placeholder = regexp.MustCompile(`<[^>]*>`)
	line        = regexp.MustCompile(`:\d+$`)
)

// mention is a path that a document names. A bare file name belongs to one of the folders that its paragraph names, if any.
type mention struct {
	path string
	in   []string
}

// named lists the paths in a document: what is in backticks, and the words of its examples.
func named(text string) (out []mention) {
	for _, block := range fenced.FindAllString(text, -1) {
		for _, word := range strings.Fields(block) {
			if p, ok := asPath(word); ok && strings.HasPrefix(word, "./") {
				out = append(out, mention{path: p})
			}
		}
	}
	for _, paragraph := range paragraphs(fenced.ReplaceAllString(text, "")) {
		var bare []string
		var in []string
		for _, match := range quoted.FindAllStringSubmatch(paragraph, -1) {
			for _, word := range strings.Fields(match[1]) {
				p, ok := asPath(word)
				switch {
				case ok:
					out = append(out, mention{path: p})
					in = append(in, folderOf(p))
				case path.Ext(word) == ".go" && !strings.ContainsAny(word, "/*"):
					bare = append(bare, word)
				}
			}
		}
		for _, name := range bare {
			out = append(out, mention{path: name, in: in})
		}
	}
	return out
}

// paragraphs splits at empty lines, at rows of tables and at items of lists.
func paragraphs(text string) (out []string) {
	var one []string
	flush := func() {
		if len(one) > 0 {
			out = append(out, strings.Join(one, " "))
		}
		one = nil
	}
	for l := range strings.Lines(text) {
		l = strings.TrimSpace(l)
		if l == "" || strings.HasPrefix(l, "|") || strings.HasPrefix(l, "- ") {
			flush()
		}
		if l != "" {
			one = append(one, l)
		}
	}
	flush()
	return out
}

// asPath reads a word as a path of this repository; ok is false for words that are none.
func asPath(word string) (p string, ok bool) {
	word = strings.TrimRight(strings.TrimPrefix(word, "./"), ",;.")
	word = placeholder.ReplaceAllString(line.ReplaceAllString(word, ""), "*")
	first, _, deeper := strings.Cut(word, "/")
	if !deeper || !slices.Contains(folders, first) || strings.ContainsAny(word, "${}=") {
		return "", false
	}
	return path.Clean(strings.TrimSuffix(word, "...")), true
}

// folderOf is the folder of a file, and a folder itself.
func folderOf(p string) string {
	if path.Ext(p) != "" {
		return path.Dir(p)
	}
	return p
}

// missing says which of the paths that a document names are not there.
func missing(repository fs.FS, text string) (problems []string) {
	for _, m := range named(text) {
		switch found, err := fs.Glob(repository, m.path); {
		case err != nil:
			problems = append(problems, fmt.Sprintf("%s: %v", m.path, err))
		case path.Ext(m.path) == ".go" && !strings.Contains(m.path, "/"):
			if !bareExists(repository, m) {
				problems = append(problems, fmt.Sprintf("there is no %s in %s", m.path, strings.Join(m.in, ", ")))
			}
		case len(found) == 0:
			problems = append(problems, "there is no "+m.path)
		}
	}
	return problems
}

func bareExists(repository fs.FS, m mention) bool {
	in := m.in
	if len(in) == 0 {
		in = []string{"."}
	}
	return slices.ContainsFunc(in, func(folder string) bool {
		found := false
		_ = fs.WalkDir(repository, folder, func(p string, d fs.DirEntry, err error) error {
			switch {
			case err != nil, found: // a folder that isn't there has been reported by its own name
				return fs.SkipDir
			case d.IsDir() && (d.Name() == ".git" || d.Name() == "bin"):
				return fs.SkipDir
			}
			found = !d.IsDir() && d.Name() == m.path
			return nil
		})
		return found
	})
}

var (
	makeCommand = regexp.MustCompile(`(?m)^make ((?:[a-z][a-z-]* ?)+)`)
	makeTarget  = regexp.MustCompile(`(?m)^([a-zA-Z][a-zA-Z-]*):`)
)

// unknownTargets says which `make` commands of a document have no target.
func unknownTargets(makefile, text string) (problems []string) {
	var have []string
	for _, match := range makeTarget.FindAllStringSubmatch(makefile, -1) {
		have = append(have, match[1])
	}
	commands := strings.Join(fenced.FindAllString(text, -1), "\n")
	for _, paragraph := range paragraphs(fenced.ReplaceAllString(text, "")) {
		for _, match := range quoted.FindAllStringSubmatch(paragraph, -1) {
			commands += "\n" + match[1]
		}
	}
	for _, match := range makeCommand.FindAllStringSubmatch(commands, -1) {
		for _, target := range strings.Fields(match[1]) {
			if !slices.Contains(have, target) {
				problems = append(problems, "make has no target "+target)
			}
		}
	}
	return problems
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ +(.+?)\s*$`)
	// dropped is what a heading's anchor does without.
	dropped = regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
)

// brokenLinks says which links of a document lead to no file, or to no heading. Links out of the repository are not followed.
func brokenLinks(repository fs.FS, name, text string) (problems []string) {
	for _, match := range link.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
		target, anchor, _ := strings.Cut(match[1], "#")
		if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
			continue
		}
		file, in := name, text
		if target != "" {
			file = path.Join(path.Dir(name), target)
			info, err := fs.Stat(repository, file)
			if err != nil {
				problems = append(problems, fmt.Sprintf("link %s: there is no %s", match[1], file))
				continue
			}
			if info.IsDir() {
				continue
			}
			content, err := fs.ReadFile(repository, file)
			if err != nil {
				problems = append(problems, err.Error())
				continue
			}
			in = string(content)
		}
		if anchor != "" && path.Ext(file) == ".md" && !slices.Contains(anchors(in), anchor) {
			problems = append(problems, fmt.Sprintf("link %s: %s has no such heading", match[1], file))
		}
	}
	return problems
}

// anchors are the headings of a document as links name them.
func anchors(text string) (out []string) {
	for _, match := range heading.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
		out = append(out, strings.ReplaceAll(dropped.ReplaceAllString(strings.ToLower(match[1]), ""), " ", "-"))
	}
	return out
}

var release = regexp.MustCompile(`(?m)^## \[([^\]]+)\]`)

// versionProblem compares the newest release of the change log with the number, "" if they are the same.
func versionProblem(changelog, number string) string {
	for _, match := range release.FindAllStringSubmatch(changelog, -1) {
		if match[1] == "Unreleased" {
			continue
		}
		if match[1] != strings.TrimSpace(number) {
			return fmt.Sprintf("CHANGELOG.md's newest release is %s, internal/version/VERSION says %s", match[1], strings.TrimSpace(number))
		}
		return ""
	}
	return "CHANGELOG.md has no release"
}

var asksSimulator = regexp.MustCompile(`(?m)^\s*\S+/pkg/avisim (v\S+)`)

// askedProblem compares the version of the simulator's module that a go.mod asks for with the number, "" if they are the same; asks is how
// often it does.
func askedProblem(gomod, number string) (problem string, asks int) {
	all := asksSimulator.FindAllStringSubmatch(gomod, -1)
	for _, match := range all {
		if want := "v" + strings.TrimSpace(number); match[1] != want {
			problem = fmt.Sprintf("asks for pkg/avisim %s, and the release is %s: run make versions", match[1], want)
		}
	}
	return problem, len(all)
}

// TestChecks makes sure that each check can fail.
func TestChecks(t *testing.T) {
	repository := fstest.MapFS{
		"internal/plan/plan.go": {}, "internal/plan/print.go": {}, "internal/apply/apply.go": {}, "test/golden/a_test.go": {},
		"docs/a.md": {Data: []byte("# A\n## Its `own.part` / two\n")}, "docs/images/a.svg": {Data: []byte("<svg/>")},
	}
	paths := func(text string) []string { return missing(repository, text) }
	links := func(text string) []string { return brokenLinks(repository, "docs/b.md", text) }
	pictures := func(text string) []string { return pictureProblems(repository, map[string]string{"docs/b.md": text}) }
	targets := func(text string) []string { return unknownTargets("test: vet\n\ntest-unit:\n", text) }
	versions := func(text string) []string {
		if problem := versionProblem(text, "1.2.0\n"); problem != "" {
			return []string{problem}
		}
		return nil
	}
	asked := func(gomod string) []string {
		if problem, _ := askedProblem(gomod, "1.2.0\n"); problem != "" {
			return []string{problem}
		}
		return nil
	}
	tests := []struct {
		name  string
		check func(string) []string
		text  string
		want  string // "": nothing is wrong
	}{
		{"the simulator's module", asked, "require (\n\texample.com/a/pkg/avisim v1.2.0 // indirect\n)\nreplace example.com/a/pkg/avisim => ./b\n", ""},
		{"another release of it", asked, "require (\n\texample.com/a/pkg/avisim v1.1.0\n)\n", "asks for pkg/avisim v1.1.0, and the release is v1.2.0"},
		{"a folder", paths, "see `internal/plan`", ""},
		{"a folder that is gone", paths, "see `internal/build`", "there is no internal/build"},
		{"a file", paths, "see `internal/plan/plan.go:12`", ""},
		{"a file that is gone", paths, "see `internal/plan/owned.go`", "there is no internal/plan/owned.go"},
		{"a bare file in its folder", paths, "- `internal/plan`: `print.go`\n- `internal/apply`: `apply.go`", ""},
		{"a bare file in another folder", paths, "- `internal/plan`: `print.go`\n- `internal/apply`: `plan.go`", "there is no plan.go in internal/apply"},
		{"a bare file of no folder", paths, "`apply.go`", ""},
		{"a bare file that is gone", paths, "`gone.go`", "there is no gone.go"},
		{"a pattern", paths, "`test/golden/*_test.go` and `internal/<step>/apply.go`", ""},
		{"a pattern that fits nothing", paths, "`test/golden/<kind>.yaml`", "there is no test/golden/*.yaml"},
		{"an argument", paths, "`go test ./test/bench/... -v`", "there is no test/bench"},
		{"an example", paths, "```sh\ngo test ./test/bench\n```\n", "there is no test/bench"},
		{"other words", paths, "`/api/pool`, `test`, `api`, `sigs.k8s.io/x`", ""},

		{"a link", links, "[a](a.md), [part](a.md#its-ownpart--two), [folder](../internal/plan), [far](https://example.com/x)", ""},
		{"a link to no file", links, "[a](c.md)", "there is no docs/c.md"},
		{"a link to no heading", links, "[a](a.md#other)", "no such heading"},
		{"a link within", links, "# B c\n[a](#b-c) [b](#b-d)", "link #b-d"},

		{"a picture", pictures, "![what it shows](images/a.svg)", ""},
		{"a picture that is shown nowhere", pictures, "[a](images/a.svg) ![](images/a.svg)", "no document shows docs/images/a.svg"},

		{"targets", targets, "`make test` and\n```sh\nmake test-unit test  # both\n```\n", ""},
		{"no target", targets, "`make tests`", "no target tests"},
		{"no target, over two lines", targets, "see `make\ntests` or `make test`", "no target tests"},
		{"no second target", targets, "```sh\nmake test lint\n```\n", "no target lint"},

		{"the release", versions, "## [Unreleased]\n## [1.2.0] - 2026-01-01\n## [1.1.0]\n", ""},
		{"another release", versions, "## [1.1.0]\n## [1.2.0]\n", "newest release is 1.1.0"},
		{"no release", versions, "## [Unreleased]\n", "no release"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := strings.Join(test.check(test.text), "; ")
			if test.want == "" && got != "" || !strings.Contains(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
