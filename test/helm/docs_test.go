// SPDX-License-Identifier: Apache-2.0

package helm

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
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

func TestMain(m *testing.M) {
	if os.Getenv("AS") == "helm" {
		helm, err := cmd.NewRootCmd(os.Stdout, os.Args[1:], cmd.SetupLogging)
		if err == nil {
			err = helm.Execute()
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// documents runs every command of Helm that a document shows, one after the other.
func (s *site) documents(t *testing.T) {
	t.Helper()
	commands, err := examples.RunBy(root, examples.Helm)
	if err != nil || len(commands) < 3 {
		t.Fatalf("%d commands: %v", len(commands), err)
	}
	valuesFile, err := filepath.Abs(filepath.Join("testdata", "ako-values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	shell := examples.Shell{Folder: root, Programs: examples.Itself(t, "helm"), Env: []string{"KUBECONFIG=" + s.kubeconfig, "HOME=" + t.TempDir()},
		Replace: strings.NewReplacer("--values NAME", "--values "+valuesFile, "=NAME/", "=registry.example.com/", "tag=NAME", "tag=1.0")}
	for _, c := range commands {
		if _, err := shell.Run(t.Context(), c.Line); err != nil {
			t.Errorf("%s: %v", c, err)
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
