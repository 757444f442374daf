// SPDX-License-Identifier: Apache-2.0

package catalogue

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestEveryReasonIsExplained reads the reasons from the source, so that a new one needs an entry.
func TestEveryReasonIsExplained(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../model/finding.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(spec.Names[0].Name, "Reason") || len(spec.Values) == 0 {
			return true
		}
		literal, ok := spec.Values[0].(*ast.BasicLit)
		if !ok {
			return true
		}
		reason, err := strconv.Unquote(literal.Value)
		if err != nil {
			t.Fatal(err)
		}
		found++
		if _, ok := Find(reason); !ok {
			t.Errorf("%s has no entry", reason)
		}
		return true
	})
	if found < 50 {
		t.Errorf("only %d reasons found", found)
	}
}

func TestEntries(t *testing.T) {
	reasons := Reasons()
	for i, reason := range reasons {
		if i > 0 && reasons[i-1] == reason {
			t.Errorf("%s is there twice", reason)
		}
		e, _ := Find("ako.vmware.com/" + reason)
		for _, text := range []string{e.Cause, e.Remedy} {
			if !strings.HasSuffix(text, ".") {
				t.Errorf("%s: %q is no sentence", reason, text)
			}
		}
		if _, err := os.Stat("../../docs/" + strings.SplitN(e.Page, "#", 2)[0]); err != nil {
			t.Errorf("%s: %v", reason, err)
		}
		if !strings.Contains(Markdown(), "### "+reason+"\n\n"+e.Cause) {
			t.Errorf("%s isn't on the page", reason)
		}
	}
	if _, ok := Find("NoSuchReason"); ok || slices.Contains(reasons, "") {
		t.Error("what is no reason is explained")
	}
}
