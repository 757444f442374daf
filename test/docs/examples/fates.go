// SPDX-License-Identifier: Apache-2.0

package examples

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Fate says what the tests do with the commands that begin with certain words.
type Fate struct {
	Begins string
	// By is the folder of the test that runs each of them, or of what continuous integration runs; empty if nothing runs them.
	By string
	// Why says why nothing runs them, and what comes nearest.
	Why string
}

// Folders of tests that run commands, and the file of continuous integration.
const (
	Simulator = "cmd/avisim"
	Plugin    = "cmd/kubectl-avi_l4"
	Kubectl   = "test/explain"
	Helm      = "test/helm"
	Make      = "test/docs"
	CI        = ".ci/run"
)

// Reasons for which a command can't be run by a test.
const (
	engine     = "needs a container engine"
	minutes    = "takes minutes; "
	foreground = "takes ports of the machine that another program may have; "
)

// Fates has every command of the documents; of several entries that a command begins with, the longest counts.
var Fates = []Fate{
	{Begins: "kubectl", By: Kubectl},
	{Begins: "kubectl avi-l4", By: Plugin},
	{Begins: "exec kubectl-avi_l4", By: Plugin},
	{Begins: "helm", By: Helm},
	{Begins: "avisim", By: Simulator},
	{Begins: "go run ./cmd/avisim", By: Simulator},
	{Begins: "curl", By: Simulator},
	{Begins: "source <(avisim", By: Simulator},
	{Begins: "make simulator", By: Simulator},
	{Begins: "make simulator-certificate", By: Simulator},
	{Begins: "make help", By: Make},
	{Begins: "make build-installer", By: Kubectl},
	{Begins: "make install", By: Kubectl},
	{Begins: "make lint", By: CI},
	{Begins: "make docs", By: CI},
	{Begins: "make bundle", By: CI},
	{Begins: "make test-unit", By: CI},
	{Begins: "go test ./test/integration", By: CI},
	{Begins: "export KUBEBUILDER_ASSETS=$(go run ./hack/local-cluster build)", By: CI},

	{Begins: "make docker-build", Why: engine},
	{Begins: "docker build", Why: engine},
	{Begins: "opm generate dockerfile", Why: "needs opm, which is in no Go module that builds beside ours; TestBundle validates the catalog itself"},
	{Begins: "make build", Why: "its three go build commands are those of test/e2e, cmd/avisim and hack/tools/release, which build into folders of their own"},
	{Begins: "make images", Why: minutes + "hack/tools/release tests its program on small binaries"},
	{Begins: "make demo", Why: minutes + "test/e2e and test/traffic have its steps"},
	{Begins: "make bench", Why: minutes + "it measures, and has no result that a test could hold"},
	{Begins: "make bench-compare", Why: minutes + "it measures, and has no result that a test could hold"},
	{Begins: "make bench-rival", Why: minutes + "it measures, and has no result that a test could hold"},
	{Begins: "make pgo", Why: minutes + "the same, with a profile"},
	{Begins: "make pictures", Why: minutes + "it draws what a person has to look at; hack/tools/pictures tests how"},
	{Begins: "make cluster-up", Why: foreground + "hack/cluster starts the same cluster on ports of its own"},
	{Begins: "make run", Why: foreground + "test/e2e runs the operator as a process on such a cluster"},
	{Begins: "kubectl -n avi-l4-system get pods", Why: "needs the operator as a pod, and no kubelet runs one here"},
	{Begins: "kubectl get --raw /api/v1/namespaces/avi-l4-system/pods", Why: "needs the operator as a pod; test/e2e asks for /readyz at its port"},
	{Begins: "go install", Why: "needs the release on the Internet; test/install runs the same with a proxy and a version of its own"},
	{Begins: "unshare", Why: "a machine may refuse namespaces to its users; TestTrafficFlags reads its flags"},
	{Begins: "Out-String", Why: "needs PowerShell; what goes before it is run"},
	{Begins: "Invoke-Expression", Why: "needs PowerShell; what goes before it is run"},
}

// FateOf finds a command's.
func FateOf(c Command) (fate Fate, ok bool) {
	words := strings.Join(c.Words, " ")
	for _, f := range Fates {
		if (words == f.Begins || strings.HasPrefix(words, f.Begins+" ") || strings.HasPrefix(words, f.Begins+"/")) && len(f.Begins) > len(fate.Begins) {
			fate, ok = f, true
		}
	}
	return fate, ok
}

// RunBy are the commands that the test in a folder has to run, in the order of the documents.
func RunBy(root, folder string) ([]Command, error) {
	all, err := Read(root)
	return slices.DeleteFunc(all, func(c Command) bool {
		fate, _ := FateOf(c)
		return fate.By != folder
	}), err
}

// Shell runs commands as a reader's shell does, but for what is replaced in them.
type Shell struct {
	// Folder is where commands run, and Programs has those that are not the machine's own. Replace is applied to each line.
	Folder, Programs string
	Env              []string
	Replace          *strings.Replacer
}

// Run runs a line and returns what it prints.
func (s Shell) Run(ctx context.Context, line string) (string, error) {
	if s.Replace != nil {
		line = s.Replace.Replace(line)
	}
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", line)
	cmd.Dir = s.Folder
	cmd.Env = append(append(os.Environ(), s.Env...), "PATH="+s.Programs+string(os.PathListSeparator)+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%s: %w\n%s", line, err, out)
	}
	return string(out), nil
}

// Itself makes the test's own program one of a shell's by a name: it is called with the name in the environment variable AS.
func Itself(t testing.TB, name string) (folder string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	folder = t.TempDir()
	script := fmt.Sprintf("#!/bin/sh\nAS=%s exec '%s' \"$@\"\n", name, self)
	if err := os.WriteFile(filepath.Join(folder, name), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return folder
}
