// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
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

// TestDocs runs every command of the plugin that a document shows, on the cluster of testdata.
func TestDocs(t *testing.T) {
	commands, err := examples.RunBy(filepath.Join("..", ".."), examples.Plugin)
	if err != nil || len(commands) < 5 {
		t.Fatalf("%d commands: %v", len(commands), err)
	}
	for _, c := range commands {
		args, ok := c.Of("kubectl", "avi-l4")
		if !ok { // kubectl's completion calls the program itself, with what was typed
			if args, ok = c.Of("exec", "kubectl-avi_l4", "__complete", "$@"); !ok {
				t.Errorf("%s: not known here", c)
				continue
			}
			args = append([]string{"__complete", "explain", "service/"}, args...)
		}
		connect, want := cluster(t), "amf"
		if args[0] == "drift" || slices.Contains(args, "--health") {
			const said = `{"controller": "avi.example.com", "virtualServices": [{"tenant": "admin", "name": "amf", "state": "OPER_UP"}]}`
			connect = (&operated{status: http.StatusOK, body: said, role: true}).connect(t)
		}
		if args[0] == "tree" && args[1] == "gateway/core" {
			want = "core"
		}
		if out, _, err := run(t, connect, args...); err != nil || !strings.Contains(out, want) {
			t.Errorf("%s: %v, without %q:\n%s", c, err, want, out)
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
