// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"path/filepath"
	"strings"
	"testing"

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
		if err := understood(args); err != nil {
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
		if err := understood(strings.Fields(line)); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", line, err, want)
		}
	}
}

// understood reads a command line as avisim does, without running it.
func understood(args []string) error {
	root := newCommand(io.Discard)
	root.InitDefaultCompletionCmd(args...)
	cmd, rest, err := root.Find(arguments(root, args))
	if err != nil {
		return err
	}
	if err := cmd.ParseFlags(rest); err != nil {
		return err
	}
	return cmd.ValidateArgs(cmd.Flags().Args())
}
