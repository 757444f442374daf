// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/avi-l4-operator/avi-l4-operator/test/docs/examples"
)

// programs are all that the documents' commands call, with what is checked of the arguments here. What kubectl, the plugin, Helm and avisim
// take is checked where these are: test/explain, cmd/kubectl-avi_l4, test/helm and cmd/avisim.
var programs = map[string]func(args []string) error{
	"make": makes, "go": goes, "avisim": nothing,
	"kubectl": namesFiles, "helm": namesFiles, "docker": nothing, "opm": nothing, "curl": nothing, "unshare": nothing, "export": nothing,
	"exec": nothing, "source": nothing, "Out-String": nothing, "Invoke-Expression": nothing,
}

func nothing([]string) error { return nil }

// TestCommands: what a document tells to type exists: targets and variables of make, packages and tests of go, and the
// files and folders that kubectl and Helm are given.
func TestCommands(t *testing.T) {
	commands, err := examples.Read(root)
	if err != nil || len(commands) < 40 {
		t.Fatalf("%d commands: %v", len(commands), err)
	}
	used := map[string]bool{}
	for _, c := range commands {
		check, ok := programs[c.Words[0]]
		if !ok {
			t.Errorf("%s: no test knows %s", c, c.Words[0])
			continue
		}
		used[c.Words[0]] = true
		if err := check(c.Words[1:]); err != nil {
			t.Errorf("%s: %v", c, err)
		}
	}
	for program := range programs {
		if !used[program] {
			t.Errorf("no document has a command of %s", program)
		}
	}
}

// TestCommandsCanFail makes sure that each check can fail.
func TestCommandsCanFail(t *testing.T) {
	for line, want := range map[string]string{
		"make run":                          "",
		"make nonsense":                     "no target nonsense",
		"make build-installer IMG=x":        "",
		"make build-installer IMAGE=x":      "no variable IMAGE",
		"go run ./hack/local-cluster build": "",
		"go run ./hack/local-cluster bild":  "bild",
		"go run ./cmd/nothing":              "no package",
		"go test ./pkg/avisim":              "module of its own",
		"go install ./cmd/avisim":           "of no package here",
		"go install example.com/x@latest":   "of no package here",
		"go install " + repository + "/pkg/avisim/cmd/avisim@latest":  "",
		"go install " + repository + "/pkg/avisim/cmd/avisim":         "no version",
		"go install " + repository + "/pkg/avisim/cmd/nothing@latest": "no package",
		"go install " + repository + "/cmd/avisim@latest":             "no module",
		"go test ./test/docs -run TestC":                              "",
		"go test ./test/docs -run TestNone":                           "no test",
		"kubectl apply -k config/none":                                "config/none",
		"kubectl apply -k config/default":                             "",
		"kubectl apply -f none.yaml":                                  "none.yaml",
		"kubectl apply -f dist/install.yaml":                          "",
		"helm install x charts/none":                                  "charts/none",
	} {
		words := strings.Fields(line)
		if err := programs[words[0]](words[1:]); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", line, err, want)
		}
	}
}

// TestExamples: commands are read as a shell reads them.
func TestExamples(t *testing.T) {
	text := "`make none`\n```sh\na 'b c' \"d\" # e\nf \\\n  <the g's> && h; i#j > l m | k\n```\n```yaml\nl: m\n```\n```console\n$ n o\np\n```\n```\nq\n```\n"
	var got []string
	for _, c := range examples.Parse("x.md", text) {
		got = append(got, c.At+" "+strings.Join(c.Words, "_"))
	}
	want := []string{"x.md:3 a_b c_d", "x.md:4 f_NAME", "x.md:4 h", "x.md:4 i#j_m", "x.md:4 k", "x.md:11 n_o"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// makes checks targets and variables.
func makes(args []string) error {
	content, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		return err
	}
	environment, err := literals("test/bench", true) // make hands variables of its command line on
	if err != nil {
		return err
	}
	for _, arg := range args {
		what, pattern := "target", `(?m)^%s:`
		name, _, variable := strings.Cut(arg, "=")
		if variable {
			what, pattern = "variable", `\$[({]%s\b`
		}
		if variable && environment[name] {
			continue
		}
		if !regexp.MustCompile(fmt.Sprintf(pattern, regexp.QuoteMeta(name))).Match(content) {
			return fmt.Errorf("the Makefile has no %s %s", what, name)
		}
	}
	return nil
}

// repository is the path that packages here begin with.
const repository = "github.com/avi-l4-operator/avi-l4-operator"

// inner is the folder of the innermost Go module that a folder of the repository belongs to, "." for the operator's.
func inner(folder string) string {
	for folder = filepath.Clean(folder); folder != "."; folder = filepath.Dir(folder) {
		if _, err := os.Stat(filepath.Join(root, folder, "go.mod")); err == nil {
			return folder
		}
	}
	return "."
}

// installs checks `go install PACKAGE@VERSION`, which Go refuses of the operator's module: it replaces another one.
func installs(arg string) error {
	pkg, version, _ := strings.Cut(arg, "@")
	folder, ours := strings.CutPrefix(pkg, repository+"/")
	sources, err := filepath.Glob(filepath.Join(root, folder, "*.go"))
	switch {
	case err != nil:
		return err
	case !ours:
		return fmt.Errorf("go install %s is of no package here", arg)
	case version == "":
		return fmt.Errorf("go install %s has no version", arg)
	case len(sources) == 0:
		return fmt.Errorf("there is no package %s", folder)
	case inner(folder) == ".":
		return fmt.Errorf("%s is in no module that can be installed from", folder)
	}
	return nil
}

// goes checks `go run PACKAGE`, `go test PACKAGE` and `go install PACKAGE`.
func goes(args []string) error {
	if len(args) == 2 && args[0] == "install" {
		return installs(args[1])
	}
	if len(args) < 2 || !strings.HasPrefix(args[1], "./") {
		return fmt.Errorf("go %v is of no package here", args)
	}
	sources, err := filepath.Glob(filepath.Join(root, args[1], "*.go"))
	if err != nil {
		return err
	}
	if len(sources) == 0 {
		return fmt.Errorf("there is no package %s", args[1])
	}
	if module := inner(args[1]); module != "." {
		return fmt.Errorf("%s is in a module of its own, %s, where the command has to be run", args[1], module)
	}
	switch {
	case args[0] == "run" && args[1] != "./cmd/avisim":
		return understands(args[1], args[2:])
	case args[0] == "run":
		return nil
	case args[0] != "test":
		return fmt.Errorf("go %s is not known here", args[0])
	}
	i := slices.Index(args, "-run")
	if i < 0 || i+1 == len(args) {
		return nil
	}
	for _, source := range sources {
		content, err := os.ReadFile(filepath.Clean(source))
		if err != nil {
			return err
		}
		if strings.HasSuffix(source, "_test.go") && strings.Contains(string(content), "\nfunc "+args[i+1]) {
			return nil
		}
	}
	return fmt.Errorf("%s has no test %s", args[1], args[i+1])
}

// understands checks a program's first word, which is in its source if it is a command of it.
func understands(folder string, args []string) error {
	known, err := literals(folder, false)
	if err != nil || len(args) == 0 || known[args[0]] {
		return err
	}
	return fmt.Errorf("%s has no %s", folder, args[0])
}

// literals are the first words of the strings in a program's source, or in its tests'.
func literals(folder string, tests bool) (map[string]bool, error) {
	files, err := filepath.Glob(filepath.Join(root, folder, "*.go"))
	if err != nil {
		return nil, err
	}
	known := map[string]bool{}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") != tests {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if text, err := strconv.Unquote(lit.Value); err == nil {
					first, _, _ := strings.Cut(text, " ") // a command's use is its name and its arguments
					known[first] = true
				}
			}
			return true
		})
	}
	return known, nil
}

// namesFiles checks paths: what -f and -k are followed by, and the chart.
func namesFiles(args []string) error {
	for i, arg := range args {
		after := ""
		if i > 0 {
			after = args[i-1]
		}
		switch {
		case arg == "NAME" || arg == "-":
		case after == "-k":
			if _, err := os.Stat(filepath.Join(root, arg, "kustomization.yaml")); err != nil {
				return err
			}
		case after == "-f" && strings.HasPrefix(arg, "dist/"):
			content, err := os.ReadFile(filepath.Join(root, "Makefile"))
			if err != nil {
				return err
			}
			if !strings.Contains(string(content), "> "+arg) {
				return fmt.Errorf("make doesn't write %s", arg)
			}
		case after == "-f" || strings.HasPrefix(arg, "charts/"):
			if _, err := os.Stat(filepath.Join(root, arg)); err != nil {
				return err
			}
		}
	}
	return nil
}
