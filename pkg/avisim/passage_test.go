// SPDX-License-Identifier: Apache-2.0

package avisim

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// passed is the most files of the simulator that one PATCH may pass. Each is one idea: the server, the log, faults, the schema and
// documents have one file on its way, the API three (calls, sessions, objects), the world four (lock, store, pipeline, rules).
const passed = 12

// TestPassage counts the files that a reader has to open to follow a PATCH of a pool through the simulator: those of pkg/avisim with a
// statement that runs for this request. What runs only when the server is made, or for another request, does not count.
func TestPassage(t *testing.T) {
	dir := t.TempDir()
	program, counters, profile := filepath.Join(dir, "onepatch"), filepath.Join(dir, "counters"), filepath.Join(dir, "profile")
	if err := os.Mkdir(counters, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, command := range [][]string{
		{"go", "build", "-cover", "-covermode=atomic", "-coverpkg=./...", "-o", program, "./testdata/onepatch"},
		{program, counters},
		{"go", "tool", "covdata", "textfmt", "-i=" + counters, "-o=" + profile},
	} {
		run := exec.CommandContext(t.Context(), command[0], command[1:]...)
		run.Env = append(os.Environ(), "GOCOVERDIR="+t.TempDir()) // takes what the program would write when it ends
		if out, err := run.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", command, err, out)
		}
	}
	text, err := os.ReadFile(profile)
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	for line := range strings.Lines(string(text)) {
		// "module/pkg/avisim/api/handler.go:78.65,80.2 3 1": the block, its statements, how often it ran
		_, file, _ := strings.Cut(line, "/pkg/avisim/")
		file, block, _ := strings.Cut(file, ":")
		if file != "" && !strings.HasPrefix(file, "testdata/") && !strings.HasSuffix(strings.TrimSpace(block), " 0") {
			files = append(files, file)
		}
	}
	slices.Sort(files)
	files = slices.Compact(files)
	for _, sure := range []string{"server.go", "api/objects.go", "world/write.go"} {
		if !slices.Contains(files, sure) {
			t.Errorf("the PATCH did not pass %s: it was not counted right", sure)
		}
	}
	if len(files) > passed {
		t.Errorf("a PATCH passes %d files, more than %d: %v", len(files), passed, files)
	}
	t.Logf("%d files: %v", len(files), files)
}
