// SPDX-License-Identifier: Apache-2.0

package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/command"
	"github.com/avi-l4-operator/avi-l4-operator/test/docs/examples"
)

// TestCommandsOfTheDocs: every command of avisim that a document shows is one, with flags and arguments that it takes.
func TestCommandsOfTheDocs(t *testing.T) {
	all, err := examples.Read(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, c := range all {
		args, ok := c.Of("avisim")
		if !ok {
			if args, ok = c.Of("go", "run", "./cmd/avisim"); !ok {
				continue
			}
		}
		seen++
		if err := command.Check(args); err != nil {
			t.Errorf("%s: %v", c, err)
		}
	}
	if seen < 6 {
		t.Errorf("the documents have %d commands of avisim", seen)
	}
	for line, want := range map[string]string{
		"--forward": "", "nothing": "no command", "--ca-fil x": "unknown flag", "script run": "which script",
		"send sctp 10.0.0.1:1 x --nothing": "unknown flag",
	} {
		if err := command.Check(strings.Fields(line)); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", line, err, want)
		}
	}
}
