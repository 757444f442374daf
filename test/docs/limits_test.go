// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// claim is one quantity in a document's text. says is the text around it, with {} for the quantity: a number, with "s" or "min"
// if it is a time.
type claim struct {
	says string
	is   quantity
}

// quantity finds what the code has, in nanoseconds if it is a time.
type quantity func(*source) (float64, error)

// limits are the rows of the table in docs/architecture.md, by the beginning of their first cell.
var limits = map[string][]claim{
	"Services at once, Gateways at once": {{"`--workers`, {} of each", flagDefault("workers")}},
	"calls at once":                      {{"`--avi-concurrency`, {};", flagDefault("avi-concurrency")}},
	"calls per second":                   {{"`--avi-qps`, {} is no limit", flagDefault("avi-qps")}},
	"whose call is next":                 {{"{} in a row", constantOf("internal/avi", "urgentRow")}},
	"one call":                           {{"`--avi-timeout`, {},", flagDefault("avi-timeout")}},
	"one Service or Gateway":             {{"{} times that", factor("controllers", "Timeout", "o.Timeout")}},
	"planning rounds in one run":         {{"{}", constantOf("internal/engine", "rounds")}},
	"changes of one owner's endpoints, and of a Service's annotations": {
		{"none for {}", constantOf("controllers", "calmQuiet")},
		{"every {} while", constantOf("controllers", "calmMost")},
	},
	"whose turn is next among owners":        {},
	"statuses at once that nobody waits for": {{"{}: an API server", constantOf("internal/status", "unhurriedAtOnce")}},
	"changes of Nodes":                       {{"gathered for {}", constantOf("controllers", "calmNodes")}},
	"CRDs":                                   {{"every {}", constantOf("controllers", "apiPoll")}},
	"login after a failure": {
		{"{}, doubled", constantOf("internal/avi", "loginBackoff")},
		{"doubled to {}", constantOf("internal/avi", "loginBackoffMax")},
	},
	"Services and Gateways that settings": {{"`--deletion-share`, {} of ours", flagDefault("deletion-share")}, {"in {},", constantOf("internal/plan", "Window")}},
	"breaker": {
		{"after {} requests in a row", constantOf("internal/avi", "breakerThreshold")},
		{"one probe after {},", constantOf("internal/avi", "breakerBackoff")},
		{"doubled to {}", constantOf("internal/avi", "breakerBackoffMax")},
	},
	"page of a list": {{"{} objects", constantOf("internal/avi", "pageSize")}},
}

// backOffs are the rows of the table of errors, by their first cell.
var backOffs = map[string][]claim{
	"Terminal": {},
	"Wait": {
		{"no free address ({})", waitOf("internal/avi", "ReasonNoFreeIP")},
		{"upgrade under way ({})", waitOf("internal/avi", "ReasonUpgrade")},
		{"tenant missing ({})", waitOf("internal/avi", "ReasonTenantMissing")},
		{"reference missing ({})", waitOf("internal/avi", "ReasonRefNotFound")},
		{"wrong credentials ({})", waitOf("internal/avi", "ReasonCredentials")},
	},
	"Transient": {
		{"{} at most", constantOf("controllers", "retryMax")},
		{"else {} doubled", constantOf("controllers", "retryMin")},
		{"doubled to {}", constantOf("controllers", "retryMax")},
	},
	"Conflict": {},
}

// intervals are in the text around the tables.
var intervals = []claim{
	{"every `--refresh-interval` ({},", flagDefault("refresh-interval")},
	{"every `--health-interval` ({})", flagDefault("health-interval")},
	{"`--deletion-share` ({})", flagDefault("deletion-share")},
	{"counted over {}", constantOf("internal/plan", "Window")},
	{"each further {} objects of a kind", constantOf("internal/avi", "pageSize")},
}

func TestLimits(t *testing.T) {
	text := read(t, os.DirFS(root), "docs/architecture.md")
	code := newSource(root)
	for _, table := range []struct {
		head string
		rows map[string][]claim
	}{{"| limit | value | where |", limits}, {"| class | examples | next try |", backOffs}} {
		for _, problem := range wrongRows(code, rowsBelow(text, table.head), table.rows) {
			t.Error(problem)
		}
	}
	flat := strings.Join(strings.Fields(text), " ")
	for _, c := range intervals {
		if problem := wrong(code, flat, c); problem != "" {
			t.Error(problem)
		}
	}
}

// rowsBelow are the rows of the table with a head, without the line below it.
func rowsBelow(text, head string) (rows []string) {
	_, rest, _ := strings.Cut(text, head+"\n")
	for l := range strings.Lines(rest) {
		if !strings.HasPrefix(l, "|") {
			break
		}
		rows = append(rows, strings.TrimSpace(l))
	}
	return rows[min(len(rows), 1):]
}

// wrongRows says which rows state another quantity than the code, which are not there, and which nobody checks.
func wrongRows(code *source, rows []string, claims map[string][]claim) (problems []string) {
	checked := make(map[string]bool)
	for name, of := range claims {
		i := slices.IndexFunc(rows, func(row string) bool { return strings.HasPrefix(row, "| "+name) })
		if i < 0 {
			problems = append(problems, fmt.Sprintf("there is no row %q", name))
			continue
		}
		checked[rows[i]] = true
		for _, c := range of {
			if problem := wrong(code, rows[i], c); problem != "" {
				problems = append(problems, name+": "+problem)
			}
		}
	}
	for _, row := range rows {
		if !checked[row] {
			problems = append(problems, "nothing is known of the row "+row)
		}
	}
	slices.Sort(problems)
	return problems
}

const number = `([0-9][0-9.,]*)( s| min)?`

// wrong compares a claim with the code, "" if they agree wherever the text makes it.
func wrong(code *source, text string, c claim) string {
	is, err := c.is(code)
	if err != nil {
		return fmt.Sprintf("%q: %v", c.says, err)
	}
	pattern := regexp.MustCompile(strings.ReplaceAll(regexp.QuoteMeta(c.says), regexp.QuoteMeta("{}"), number))
	found := pattern.FindAllStringSubmatch(text, -1)
	if len(found) == 0 {
		return fmt.Sprintf("the text doesn't say %q", c.says)
	}
	for _, match := range found {
		says, err := strconv.ParseFloat(strings.Trim(strings.ReplaceAll(match[1], ",", ""), "."), 64)
		if err != nil {
			return fmt.Sprintf("%q: %v", match[0], err)
		}
		if unit, ok := map[string]time.Duration{" s": time.Second, " min": time.Minute}[match[2]]; ok {
			says *= float64(unit)
		}
		if says != is {
			return fmt.Sprintf("the text says %q, the code has %s", match[0], shown(is, match[2] != ""))
		}
	}
	return ""
}

func shown(is float64, isTime bool) string {
	if isTime {
		return time.Duration(is).String()
	}
	return strconv.FormatFloat(is, 'f', -1, 64)
}

// source reads quantities from Go code below a root, one package at a time.
type source struct {
	root   string
	parsed map[string][]*ast.File
}

func newSource(root string) *source { return &source{root: root, parsed: make(map[string][]*ast.File)} }

// files are those of a package, without its tests.
func (s *source) files(folder string) ([]*ast.File, error) {
	if files, ok := s.parsed[folder]; ok {
		return files, nil
	}
	names, err := filepath.Glob(filepath.Join(s.root, filepath.FromSlash(folder), "*.go"))
	if err != nil {
		return nil, err
	}
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s has no Go files", folder)
	}
	s.parsed[folder] = files
	return files, nil
}

// find looks through a package until found says so.
func (s *source) find(folder, what string, found func(ast.Node) (ast.Expr, bool)) (float64, error) {
	files, err := s.files(folder)
	if err != nil {
		return 0, err
	}
	var expr ast.Expr
	for _, file := range files {
		ast.Inspect(file, func(n ast.Node) bool {
			if expr == nil && n != nil {
				if e, ok := found(n); ok {
					expr = e
				}
			}
			return expr == nil
		})
	}
	if expr == nil {
		return 0, fmt.Errorf("%s has no %s", folder, what)
	}
	value, err := s.value(folder, expr)
	if err != nil {
		return 0, fmt.Errorf("%s of %s: %w", what, folder, err)
	}
	f, _ := constant.Float64Val(constant.ToFloat(value))
	return f, nil
}

// constantOf is a constant of a package.
func constantOf(folder, name string) quantity {
	return func(s *source) (float64, error) {
		return s.find(folder, "constant "+name, func(n ast.Node) (ast.Expr, bool) { return constantIn(n, name) })
	}
}

func constantIn(n ast.Node, name string) (ast.Expr, bool) {
	spec, ok := n.(*ast.ValueSpec)
	if !ok {
		return nil, false
	}
	i := slices.IndexFunc(spec.Names, func(id *ast.Ident) bool { return id.Name == name })
	if i < 0 || i >= len(spec.Values) {
		return nil, false
	}
	return spec.Values[i], true
}

// flagDefault is the default of a flag of main.go: flag.IntVar(&x, "name", default, "usage").
func flagDefault(name string) quantity {
	return func(s *source) (float64, error) {
		return s.find(".", "flag --"+name, func(n ast.Node) (ast.Expr, bool) {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) != 4 {
				return nil, false
			}
			literal, ok := call.Args[1].(*ast.BasicLit)
			return call.Args[2], ok && literal.Value == strconv.Quote(name)
		})
	}
}

// factor is what an operand is multiplied by where a field gets its value: field: 10 * operand.
func factor(folder, field, operand string) quantity {
	return func(s *source) (float64, error) {
		return s.find(folder, fmt.Sprintf("%s: … * %s", field, operand), func(n ast.Node) (ast.Expr, bool) {
			pair, ok := n.(*ast.KeyValueExpr)
			if !ok || name(pair.Key) != field {
				return nil, false
			}
			product, ok := pair.Value.(*ast.BinaryExpr)
			if !ok || product.Op != token.MUL || name(product.Y) != operand {
				return nil, false
			}
			return product.X, true
		})
	}
}

// waitOf is how long the table of the Controller's answers asks to wait for a reason: {reason: reason, wait: x}.
func waitOf(folder, reason string) quantity {
	return func(s *source) (float64, error) {
		return s.find(folder, "wait for "+reason, func(n ast.Node) (ast.Expr, bool) {
			row, ok := n.(*ast.CompositeLit)
			if !ok {
				return nil, false
			}
			fields := make(map[string]ast.Expr)
			for _, e := range row.Elts {
				if pair, ok := e.(*ast.KeyValueExpr); ok {
					fields[name(pair.Key)] = pair.Value
				}
			}
			wait, ok := fields["wait"]
			return wait, ok && name(fields["reason"]) == reason
		})
	}
}

// name is an identifier or a field of one, "" for other expressions.
func name(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return name(e.X) + "." + e.Sel.Name
	}
	return ""
}

// units are the times of package time.
var units = map[string]time.Duration{
	"time.Millisecond": time.Millisecond, "time.Second": time.Second, "time.Minute": time.Minute, "time.Hour": time.Hour,
}

// value evaluates a constant expression of a package, with times in nanoseconds.
func (s *source) value(folder string, e ast.Expr) (constant.Value, error) {
	switch e := e.(type) {
	case *ast.BasicLit:
		return constant.MakeFromLiteral(e.Value, e.Kind, 0), nil
	case *ast.ParenExpr:
		return s.value(folder, e.X)
	case *ast.SelectorExpr:
		if unit, ok := units[name(e)]; ok {
			return constant.MakeInt64(int64(unit)), nil
		}
	case *ast.Ident:
		f, err := constantOf(folder, e.Name)(s)
		return constant.MakeFloat64(f), err
	case *ast.BinaryExpr:
		x, err := s.value(folder, e.X)
		if err != nil {
			return nil, err
		}
		y, err := s.value(folder, e.Y)
		if err != nil {
			return nil, err
		}
		return constant.BinaryOp(x, e.Op, y), nil
	}
	return nil, fmt.Errorf("%T is more than this test can evaluate", e)
}

// TestLimitsChecks makes sure that each of these checks can fail, and reads what it should.
func TestLimitsChecks(t *testing.T) {
	folder := t.TempDir()
	const text = `package p
const (
	rounds, tries = 4, 2
	pause = 2 * second
	second = 1000 * time.Millisecond
)
var table = []rule{{reason: ReasonBusy}, {reason: ReasonGone, wait: 3 * time.Minute}}
var deps = Deps{Timeout: 10 * o.Timeout, Other: rounds}
func parse() { flag.IntVar(&o.Workers, "workers", 16, "How many.") }
`
	if err := os.WriteFile(filepath.Join(folder, "p.go"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	code := newSource(folder)
	values := []struct {
		is   quantity
		want float64
		err  string
	}{
		{constantOf(".", "tries"), 2, ""},
		{constantOf(".", "pause"), float64(2 * time.Second), ""},
		{constantOf(".", "gone"), 0, "has no constant gone"},
		{constantOf("q", "rounds"), 0, "q has no Go files"},
		{flagDefault("workers"), 16, ""},
		{flagDefault("work"), 0, "has no flag --work"},
		{factor(".", "Timeout", "o.Timeout"), 10, ""},
		{factor(".", "Other", "o.Timeout"), 0, "has no Other"},
		{waitOf(".", "ReasonGone"), float64(3 * time.Minute), ""},
		{waitOf(".", "ReasonBusy"), 0, "has no wait for ReasonBusy"},
	}
	for _, test := range values {
		got, err := test.is(code)
		if got != test.want || (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("got %v, %v; want %v, %q", got, err, test.want, test.err)
		}
	}

	rounds, pause := constantOf(".", "rounds"), constantOf(".", "pause")
	rows := []struct{ name, row, want string }{
		{"right", "| rounds | 4, 2 s apart | here |", ""},
		{"wrong number", "| rounds | 5, 2 s apart | here |", `says "5, ", the code has 4`},
		{"wrong time", "| rounds | 4, 2 min apart | here |", "the code has 2s"},
		{"nothing said", "| rounds | four | here |", "doesn't say"},
		{"another row", "| tries | 4, 2 s apart | here |", "nothing is known of the row | tries"},
		{"no row", "", `there is no row "rounds"`},
	}
	for _, test := range rows {
		t.Run(test.name, func(t *testing.T) {
			table := "| a | b | c |\n|---|---|---|\n" + test.row + "\n\nMore.\n"
			claims := map[string][]claim{"rounds": {{"{}, ", rounds}, {", {} apart", pause}}}
			got := strings.Join(wrongRows(code, rowsBelow(table, "| a | b | c |"), claims), "; ")
			if test.want == "" && got != "" || !strings.Contains(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
