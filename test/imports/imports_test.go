// SPDX-License-Identifier: Apache-2.0

// Package imports holds the rules of docs/architecture.md about which package may import which. The linter has them too, but
// these run with every test and need nothing but the go command.
package imports

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/avi-l4-operator/avi-l4-operator"

// layers are the operator's packages from the ground up. A package imports only what lies below its own layer; folders
// inside a package's folder belong to its layer.
var layers = [][]string{
	{"api", "internal/model", "internal/version", "internal/fence", "internal/metricsfilter", "internal/probes", "internal/tracing"},
	{"internal/placement", "internal/gatewayapi", "internal/outcome", "internal/catalogue"},
	{"internal/settings"},
	{"internal/staticroutes"},
	{"internal/avi", "internal/translate", "internal/plan", "internal/status"},
	{"internal/gather", "internal/mirror"},
	{"internal/apply"},
	{"internal/engine"},
	{"controllers"},
	{"."}, // main
}

// simulator are the layers of the simulated Controller from the ground up, with the same rule. It and the operator know nothing of
// each other: it would else prove the operator's own misunderstandings right.
var simulator = [][]string{
	{"pkg/avisim/pki"},
	{"pkg/avisim/doc", "pkg/avisim/transport", "pkg/avisim/record", "pkg/avisim/sctp"},
	{"pkg/avisim/schema"},
	{"pkg/avisim/world"},
	{"pkg/avisim/api", "pkg/avisim/view", "pkg/avisim/probe"},
	{"pkg/avisim/fault", "pkg/avisim/forward"},
	{"pkg/avisim"},
	{"pkg/avisim/control"},
	{"pkg/avisim/command"},
	{"pkg/avisim/cmd/avisim", "cmd/avisim"}, // as a Go module of its own has it, and as a release has it
}

// exact are folders of the table whose inner folders have places of their own.
var exact = []string{"pkg/avisim"}

// release is what the simulator's command of a release shares with the operator: the number of the release that both belong to.
const release = "internal/version"

// development is what may import everything and is imported by nothing of the operator or of the simulator. The commands under cmd are
// shipped; those that have no place above are held to the same.
var development = []string{"hack", "test", "cmd"}

// pure are the packages that are functions of their input, and what that forbids.
var (
	pure = []string{"internal/model", "internal/placement", "internal/gatewayapi", "internal/outcome", "internal/staticroutes",
		"internal/translate", "internal/plan"}
	pureForbidden = []string{
		"net/http", "log", "os",
		"github.com/go-logr/logr", "github.com/go-logr/zapr", "go.uber.org/zap", "k8s.io/klog/v2",
		"k8s.io/client-go", "sigs.k8s.io/controller-runtime",
		"github.com/vmware/alb-sdk/go/session", "github.com/vmware/alb-sdk/go/clients",
	}
	clock = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}
)

// offline are the packages of the simulator that speak no HTTP: everything that is true of the world whoever asks.
var offline = []string{"pkg/avisim/doc", "pkg/avisim/schema", "pkg/avisim/world"}

// session is the part of the SDK that talks to the Controller, which only internal/avi does.
var session = []string{"github.com/vmware/alb-sdk/go/session", "github.com/vmware/alb-sdk/go/clients"}

// elsewhere are modules that development programs use from modules of their own, so that they stay out of the operator's.
var elsewhere = []string{
	"k8s.io/kubernetes", "go.etcd.io/etcd/server", "sigs.k8s.io/kwok", "sigs.k8s.io/kustomize", "sigs.k8s.io/controller-tools",
}

// association is the module of SCTP in user space, which the simulator alone has: neither the operator nor a command that is for an
// administrator's machine links it.
const association = "github.com/pion"

// command is the module of which commands are made that run on a person's machine, and nothing else.
const command = "k8s.io/cli-runtime"

// listed is what this test needs of a package; the imports are those of the package itself, not of its tests.
type listed struct {
	ImportPath string
	Dir        string
	GoFiles    []string
	Imports    []string
}

func (p listed) name() string {
	if p.ImportPath == module {
		return "."
	}
	return strings.TrimPrefix(p.ImportPath, module+"/")
}

func TestImports(t *testing.T) {
	packages := list(t)
	if len(packages) < 10 {
		t.Fatalf("the go command lists only %d packages", len(packages))
	}
	for _, p := range packages {
		for _, problem := range check(p) {
			t.Error(problem)
		}
	}
}

// TestImportsRejects makes sure that each rule can fail.
func TestImportsRejects(t *testing.T) {
	tests := []struct{ from, imports, want string }{
		{"internal/model", module + "/internal/avi", "below"},
		{"internal/plan", module + "/internal/translate", "below"},
		{"internal/avi/sub", module + "/internal/avi", ""},
		{"internal/engine", module + "/controllers", "below"},
		{"internal/status", module + "/internal/engine", "below"},
		{"internal/other", "fmt", "no layer"},
		{"controllers", module + "/pkg/avisim", "simulat"},
		{"controllers", module + "/pkg/avisim/world", "simulat"},
		{"pkg/avisim", module + "/internal/model", "simulat"},
		{"pkg/avisim/world", module + "/internal/model", "simulat"},
		{"pkg/avisim/control", module + "/internal/model", "simulat"},
		{"cmd/avisim", module + "/internal/model", "simulat"},
		{"cmd/avisim", module + "/internal/version", ""},
		{"cmd/avisim", module + "/pkg/avisim/command", ""},
		{"pkg/avisim/cmd/avisim", module + "/pkg/avisim/command", ""},
		{"pkg/avisim/cmd/avisim", module + "/internal/version", "simulat"},
		{"pkg/avisim/command", module + "/pkg/avisim/control", ""},
		{"pkg/avisim/control", module + "/pkg/avisim/command", "below"},
		{"pkg/avisim", module + "/internal/version", "simulat"},
		{"pkg/avisim/control", module + "/pkg/avisim", ""},
		{"pkg/avisim", module + "/pkg/avisim/fault", ""},
		{"pkg/avisim", module + "/pkg/avisim/control", "below"},
		{"pkg/avisim/world", module + "/pkg/avisim/api", "below"},
		{"pkg/avisim/world", module + "/pkg/avisim", "below"},
		{"pkg/avisim/world", module + "/pkg/avisim/schema", ""},
		{"pkg/avisim/transport", module + "/pkg/avisim/pki", ""},
		{"pkg/avisim/pki", module + "/pkg/avisim/doc", "below"},
		{"pkg/avisim/world", "net/http", "no HTTP"},
		{"pkg/avisim/api", "net/http", ""},
		{"pkg/avisim/record", module + "/pkg/avisim/api", "below"},
		{"pkg/avisim/other", "fmt", "no layer"},
		{"pkg/avisim", module + "/hack/demo", "development"},
		{"cmd/avisim", module + "/pkg/avisim/control", ""},
		{"cmd/kubectl-avi_l4", module + "/internal/avi", ""},
		{"cmd/kubectl-avi_l4", command + "/pkg/printers", ""},
		{"controllers", command + "/pkg/printers", "commands"},
		{"pkg/avisim/sctp", association + "/sctp", ""},
		{"pkg/avisim/forward", association + "/sctp", "speaks SCTP"},
		{"internal/avi", association + "/logging", "speaks SCTP"},
		{"pkg/avisim/forward", module + "/pkg/avisim/view", ""},
		{"pkg/avisim/view", module + "/pkg/avisim/forward", "below"},
		{"controllers", module + "/cmd/avisim", "simulat"},
		{"controllers", module + "/cmd/kubectl-avi_l4", "development"},
		{"internal/avi", module + "/hack/cluster", "development"},
		{"internal/translate", "net/http", "function of its input"},
		{"internal/translate", "k8s.io/client-go/kubernetes", "function of its input"},
		{"internal/translate", "k8s.io/api/core/v1", ""},
		{"internal/plan", "log/slog", "function of its input"},
		{"internal/mirror", "github.com/vmware/alb-sdk/go/session", "internal/avi is the only"},
		{"internal/avi", "github.com/vmware/alb-sdk/go/session", ""},
		{"hack/cluster", "k8s.io/kubernetes/cmd/kube-apiserver/app", "module of its own"},
		{"hack/demo", module + "/pkg/avisim", ""},
		{".", module + "/controllers", ""},
	}
	for _, test := range tests {
		t.Run(test.from+" imports "+test.imports, func(t *testing.T) {
			path := module
			if test.from != "." {
				path += "/" + test.from
			}
			got := strings.Join(check(listed{ImportPath: path, Imports: []string{test.imports}}), "; ")
			if test.want == "" && got != "" || !strings.Contains(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// TestClock looks for the clock in the packages that must not have one.
func TestClock(t *testing.T) {
	for _, p := range list(t) {
		if !slices.Contains(pure, p.name()) {
			continue
		}
		for _, name := range p.GoFiles {
			file := filepath.Join(p.Dir, name)
			fset := token.NewFileSet()
			parsed, err := parser.ParseFile(fset, file, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			for _, use := range clockUses(parsed) {
				t.Errorf("%s: %s is a function of its input and has no clock; take the time from the input", fset.Position(use), p.name())
			}
		}
	}
}

// TestLinked looks at all that the operator and the plugin are linked from: neither has the simulator's SCTP.
func TestLinked(t *testing.T) {
	deps := exec.CommandContext(t.Context(), "go", "list", "-deps", module, module+"/cmd/kubectl-avi_l4")
	deps.Dir = filepath.Join("..", "..")
	out, err := deps.Output()
	if err != nil {
		t.Fatal(err)
	}
	packages := strings.Fields(string(out))
	if !slices.Contains(packages, module+"/internal/avi") {
		t.Fatalf("the go command lists %d packages, and not the operator's", len(packages))
	}
	for _, p := range packages {
		if under(p, []string{association, module + "/pkg/avisim"}) {
			t.Errorf("%s is linked into the operator or the plugin", p)
		}
	}
}

// TestNoTemplates: a program that can run a template calls methods by names that the linker doesn't know, and keeps all of them. What
// builds the operator for others names the tag without which gRPC brings templates along.
func TestNoTemplates(t *testing.T) {
	const tag = "grpcnotrace"
	root := filepath.Join("..", "..")
	deps := exec.CommandContext(t.Context(), "go", "list", "-deps", "-tags="+tag, module)
	deps.Dir = root
	out, err := deps.Output()
	if err != nil {
		t.Fatal(err)
	}
	packages := strings.Fields(string(out))
	if !slices.Contains(packages, "google.golang.org/grpc") {
		t.Errorf("gRPC isn't linked into the operator: the tag %s is needed no more", tag)
	}
	for _, p := range []string{"text/template", "html/template"} {
		if slices.Contains(packages, p) {
			t.Errorf("%s is linked into the operator: some 10 MiB of methods that nobody calls", p)
		}
	}
	for _, builder := range []string{"Makefile", "Dockerfile", "hack/tools/release/source.go", "test/bench/bench_test.go"} {
		text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(builder)))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), tag) {
			t.Errorf("%s builds the operator without the tag %s", builder, tag)
		}
	}
}

func TestClockIsFound(t *testing.T) {
	const source = `package p
import tm "time"
var a, b = tm.Now(), tm.Second
var c = func() { tm.Sleep(b) }`
	parsed, err := parser.ParseFile(token.NewFileSet(), "p.go", source, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	if uses := clockUses(parsed); len(uses) != 2 {
		t.Errorf("found %d uses of the clock, want 2", len(uses))
	}
}

// check returns what is wrong with a package's imports.
func check(p listed) []string {
	var problems []string
	report := func(imported, rule string) {
		problems = append(problems, p.name()+" imports "+imported+": "+rule)
	}
	own, sim := layer(layers, p.name()), layer(simulator, p.name())
	operator, simulated := own >= 0, sim >= 0
	if !operator && !simulated && (under(p.name(), exact) || !under(p.name(), development)) {
		problems = append(problems, p.name()+" has no layer: give it a place in this test's tables")
	}
	for _, imported := range p.Imports {
		inner, ours := strings.CutPrefix(imported, module+"/")
		toOperator, toSimulator := layer(layers, inner), layer(simulator, inner)
		switch {
		case !ours && under(imported, elsewhere):
			report(imported, "it belongs in a module of its own under hack/")
		case !ours && under(imported, []string{association}) && p.name() != "pkg/avisim/sctp":
			report(imported, "pkg/avisim/sctp is the only package that speaks SCTP")
		case !ours && under(imported, []string{command}) && !under(p.name(), []string{"cmd"}):
			report(imported, "it is for the commands under cmd/ alone")
		case !ours && operator && under(imported, session) && !under(p.name(), []string{"internal/avi"}):
			report(imported, "internal/avi is the only package that talks to the Controller")
		case !ours && slices.Contains(pure, p.name()) && under(imported, pureForbidden):
			report(imported, "a package that is a function of its input does no IO and logs nothing")
		case !ours && slices.Contains(offline, p.name()) && imported == "net/http":
			report(imported, "the simulated world speaks no HTTP")
		case ours && (operator && toSimulator >= 0 || simulated && toOperator >= 0 && (p.name() != "cmd/avisim" || inner != release)):
			report(inner, "the operator and its simulated Controller know nothing of each other")
		case ours && (operator || simulated) && toSimulator < 0 && under(inner, development):
			report(inner, "development programs and commands are not part of what they use")
		case ours && operator && toOperator >= own && !sameFolder(p.name(), inner):
			report(inner, "it does not lie below in the layers of this test's table")
		case ours && simulated && toSimulator >= sim:
			report(inner, "it does not lie below in the simulator's layers of this test's table")
		}
	}
	return problems
}

// layer is the place of a package in a table, -1 for what is not in it.
func layer(table [][]string, name string) int {
	return slices.IndexFunc(table, func(packages []string) bool {
		return slices.ContainsFunc(packages, func(folder string) bool {
			return name == folder || name != "." && !slices.Contains(exact, folder) && under(name, []string{folder})
		})
	})
}

// sameFolder reports whether two packages share one of the folders of the table.
func sameFolder(a, b string) bool {
	for _, packages := range layers {
		for _, folder := range packages {
			if under(a, []string{folder}) && under(b, []string{folder}) {
				return true
			}
		}
	}
	return false
}

func under(path string, folders []string) bool {
	return slices.ContainsFunc(folders, func(folder string) bool {
		return path == folder || strings.HasPrefix(path, folder+"/")
	})
}

// clockUses finds uses of the clock's functions, whatever name the file gives to package time.
func clockUses(file *ast.File) (uses []token.Pos) {
	name := ""
	for _, imported := range file.Imports {
		if path, _ := strconv.Unquote(imported.Path.Value); path == "time" {
			name = "time"
			if imported.Name != nil {
				name = imported.Name.Name
			}
		}
	}
	ast.Inspect(file, func(node ast.Node) bool {
		selector, ok := node.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if of, ok := selector.X.(*ast.Ident); ok && name != "" && of.Name == name && slices.Contains(clock, selector.Sel.Name) {
			uses = append(uses, selector.Pos())
		}
		return true
	})
	return uses
}

func list(t *testing.T) []listed {
	t.Helper()
	golist := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Dir,GoFiles,Imports", module+"/...")
	golist.Dir = filepath.Join("..", "..")
	var stderr bytes.Buffer
	golist.Stderr = &stderr
	out, err := golist.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.Bytes())
	}
	var packages []listed
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}
