// SPDX-License-Identifier: Apache-2.0

package main

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/avi-l4-operator/avi-l4-operator/test/docs/examples"
)

// TestCommandsOfTheDocs: every command of the plugin that a document shows is one, with flags and arguments that it takes.
func TestCommandsOfTheDocs(t *testing.T) {
	all, err := examples.Read(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, c := range all {
		args, ok := c.Of("kubectl", "avi-l4")
		if !ok {
			continue
		}
		seen++
		if err := understood(args); err != nil {
			t.Errorf("%s: %v", c, err)
		}
	}
	if seen < 4 {
		t.Errorf("the documents have %d commands of the plugin", seen)
	}
	for line, want := range map[string]string{
		"explain service/amf": "", "tree service/amf --nothing": "unknown flag", "plans": "unknown command",
		"tree": "accepts", "explain pod/x": "is no kind",
	} {
		if err := understood(strings.Fields(line)); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", line, err, want)
		}
	}
}

var object = regexp.MustCompile(`^[a-z0-9.-]+/`)

// understood reads a command line as the plugin does, without running it.
func understood(args []string) error {
	streams, _, _, _ := genericiooptions.NewTestIOStreams()
	cmd, rest, err := newCommand(streams, nil).Find(args)
	if err != nil {
		return err
	}
	if err := cmd.ParseFlags(rest); err != nil {
		return err
	}
	rest = cmd.Flags().Args()
	if err := cmd.ValidateArgs(rest); err != nil {
		return err
	}
	if len(rest) > 0 && object.MatchString(rest[0]) {
		_, err = parseTarget(rest, func(kind) bool { return true })
	}
	return err
}
