// SPDX-License-Identifier: Apache-2.0

// Package install fetches the simulator's command as "go install" does on a machine that has nothing of this repository: from a proxy of Go
// modules, here a folder, that serves the module pkg/avisim alone.
package install

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/zip"
)

const (
	simulator = "github.com/avi-l4-operator/avi-l4-operator/pkg/avisim"
	release   = "v1.2.3-test"
)

var folder = filepath.Join("..", "..", "pkg", "avisim")

// TestInstall does what docs/simulator.md says, and asks the program for its version.
func TestInstall(t *testing.T) {
	proxy, bin := t.TempDir(), t.TempDir()
	publish(t, proxy)

	// The cache of modules is a new one, in which nothing of an earlier run is found, and it is filled from that of this machine, whose
	// content go.sum has confirmed.
	command(t, folder, "go", "mod", "download")
	cache := filepath.Join(strings.TrimSpace(command(t, folder, "go", "env", "GOMODCACHE")), "cache", "download")
	t.Setenv("GOPROXY", address(proxy)+","+address(cache)+","+strings.TrimSpace(command(t, folder, "go", "env", "GOPROXY")))
	t.Setenv("GOSUMDB", "off")
	t.Setenv("GONOPROXY", "none")
	t.Setenv("GOMODCACHE", t.TempDir())
	t.Setenv("GOFLAGS", "-modcacherw -trimpath") // so that it can be removed, and that the build's cache does not depend on where it is
	t.Setenv("GOBIN", bin)
	command(t, t.TempDir(), "go", "install", simulator+"/cmd/avisim@"+release)

	program := filepath.Join(bin, "avisim")
	for _, tt := range []struct{ args, want string }{
		{"--version", "avisim " + strings.TrimPrefix(release, "v") + "\n"},
		{"version", "avisim " + strings.TrimPrefix(release, "v") + "\n"},
		{"effects latency", "jitter"},
	} {
		if got := command(t, bin, program, strings.Fields(tt.args)...); !strings.Contains(got, tt.want) {
			t.Errorf("avisim %s says %q, want %q", tt.args, got, tt.want)
		}
	}
}

// publish puts the module into a folder in the form of the protocol of proxies, https://go.dev/ref/mod#goproxy-protocol, with the files
// that git knows or would add.
func publish(t *testing.T, proxy string) {
	t.Helper()
	escaped, err := module.EscapePath(simulator)
	if err != nil {
		t.Fatal(err)
	}
	versions := filepath.Join(proxy, filepath.FromSlash(escaped), "@v")
	if err := os.MkdirAll(versions, 0o755); err != nil {
		t.Fatal(err)
	}
	var files []zip.File
	listed := strings.Split(command(t, folder, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"), "\x00")
	slices.Sort(listed)
	for _, name := range slices.Compact(listed) {
		if _, err := os.Lstat(filepath.Join(folder, name)); name != "" && !errors.Is(err, fs.ErrNotExist) {
			files = append(files, file(name))
		}
	}
	var archive bytes.Buffer
	if err := zip.Create(&archive, module.Version{Path: simulator, Version: release}, files); err != nil {
		t.Fatal(err)
	}
	gomod, err := os.ReadFile(filepath.Join(folder, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	info := `{"Version": "` + release + `", "Time": "` + time.Now().UTC().Format(time.RFC3339) + `"}`
	for name, content := range map[string][]byte{"list": []byte(release + "\n"), release + ".info": []byte(info), release + ".mod": gomod,
		release + ".zip": archive.Bytes()} {
		if err := os.WriteFile(filepath.Join(versions, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// file is a file of the module, by its name with slashes.
type file string

func (f file) Path() string                 { return string(f) }
func (f file) Lstat() (os.FileInfo, error)  { return os.Lstat(filepath.Join(folder, string(f))) }
func (f file) Open() (io.ReadCloser, error) { return os.Open(filepath.Join(folder, string(f))) }

func address(folder string) string {
	return (&url.URL{Scheme: "file", Path: filepath.ToSlash(folder)}).String()
}

// command runs a program in a folder and returns what it prints.
func command(t *testing.T, folder, program string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Dir = folder
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", program, strings.Join(args, " "), err, out, &stderr)
	}
	return string(out)
}
