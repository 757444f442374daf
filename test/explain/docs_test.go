// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/kubectl/pkg/cmd"

	"github.com/avi-l4-operator/avi-l4-operator/test/docs/examples"
)

// TestCommandsOfTheDocs: every command of kubectl that a document shows is one that kubectl takes, with its flags.
func TestCommandsOfTheDocs(t *testing.T) {
	all, err := examples.Read(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, c := range all {
		args, ok := c.Of("kubectl")
		if !ok {
			if args, ok = c.Of("go", "run", "./hack/local-cluster", "kubectl"); !ok {
				continue
			}
		}
		if _, ours := c.Of("kubectl", "avi-l4"); ours {
			continue
		}
		seen++
		if err := understood(args); err != nil {
			t.Errorf("%s: %v", c, err)
		}
	}
	if seen < 8 {
		t.Errorf("the documents have %d commands of kubectl", seen)
	}
	for line, want := range map[string]string{
		"apply --server-side -f x.yaml": "", "aply -f x.yaml": "unknown command", "get pods --nothing": "unknown flag",
	} {
		if err := understood(strings.Fields(line)); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", line, err, want)
		}
	}
}

// understood reads a command line as kubectl does, without running it.
func understood(args []string) error {
	streams, _, _, _ := genericiooptions.NewTestIOStreams()
	command, rest, err := cmd.NewKubectlCommand(cmd.KubectlOptions{IOStreams: streams}).Find(args)
	if err != nil {
		return err
	}
	return command.ParseFlags(rest)
}
