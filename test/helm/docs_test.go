// SPDX-License-Identifier: Apache-2.0

package helm

import (
	"io"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/cmd"

	"github.com/avi-l4-operator/avi-l4-operator/test/docs/examples"
)

// TestCommandsOfTheDocs: every command of Helm that a document shows is one that Helm takes, with its flags.
func TestCommandsOfTheDocs(t *testing.T) {
	all, err := examples.Read(root)
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, c := range all {
		args, ok := c.Of("helm")
		if !ok {
			continue
		}
		seen++
		if err := understood(args); err != nil {
			t.Errorf("%s: %v", c, err)
		}
	}
	if seen < 3 {
		t.Errorf("the documents have %d commands of Helm", seen)
	}
	for line, want := range map[string]string{
		"upgrade a b --values c": "", "instal a b": "unknown command", "install a b --value c": "unknown flag",
		"uninstall": "requires at least 1 argument",
	} {
		if err := understood(strings.Fields(line)); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", line, err, want)
		}
	}
}

// understood reads a command line as Helm does, without running it.
func understood(args []string) error {
	helm, err := cmd.NewRootCmd(io.Discard, nil, func(bool) {})
	if err != nil {
		return err
	}
	command, rest, err := helm.Find(args)
	if err != nil {
		return err
	}
	if err := command.ParseFlags(rest); err != nil {
		return err
	}
	return command.ValidateArgs(command.Flags().Args())
}
