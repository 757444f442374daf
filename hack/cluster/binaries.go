// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// programs are the names under which the multi-call binary is linked; hack/cluster/binaries/main.go gives each its meaning.
var programs = []string{
	"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl", "kwok", "kwok-stages",
}

// The module of the multi-call binary and the folder of its builds, relative to the repository's root.
const (
	sourceFolder = "hack/cluster/binaries"
	buildFolder  = "bin/kube"
)

// flags are those of the build. They decide what the Go build cache can reuse, so everything that asks about the
// build has to pass the same. Kubernetes takes the version that it reports to its clients from the linker.
func flags(version string) []string {
	const at = "k8s.io/component-base/version."
	numbers := append(strings.Split(strings.TrimPrefix(version, "v"), "."), "", "")
	return []string{"-trimpath", "-buildvcs=false", fmt.Sprintf("-ldflags=-s -w -X %sgitVersion=%s -X %sgitMajor=%s -X %sgitMinor=%s",
		at, version, at, numbers[0], at, numbers[1])}
}

// progressInterval is the time between two lines of progress. Continuous integration systems end jobs that stay
// silent for minutes.
const progressInterval = 10 * time.Second

// Binaries returns the folder with etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kubectl, kwok and
// kwok-stages, and builds them first where they are missing or their sources have changed. The first build compiles
// Kubernetes, which takes some minutes; what it is doing is written to log, which may be nil. Any number of
// processes may call it at once: one builds and the others wait.
func Binaries(ctx context.Context, log io.Writer) (dir string, err error) {
	if log == nil {
		log = io.Discard
	}
	root, err := repositoryRoot()
	if err != nil {
		return "", err
	}
	sources := filepath.Join(root, filepath.FromSlash(sourceFolder))
	key, err := sourceKey(ctx, sources)
	if err != nil {
		return "", err
	}
	builds := filepath.Join(root, filepath.FromSlash(buildFolder))
	dir = filepath.Join(builds, key)
	if complete(dir) {
		return dir, nil
	}
	if err := os.MkdirAll(builds, 0o755); err != nil {
		return "", err
	}
	unlock, err := waitForLock(ctx, filepath.Join(builds, "lock"), func() {
		fmt.Fprintln(log, "cluster binaries: another process is building them; waiting for it")
	})
	if err != nil {
		return "", fmt.Errorf("lock the cluster binaries' folder: %w", err)
	}
	defer unlock()
	if complete(dir) {
		return dir, nil
	}
	if err := build(ctx, sources, dir, log); err != nil {
		return "", fmt.Errorf("build the cluster binaries: %w", err)
	}
	return dir, nil
}

// program finds one program: in $KUBEBUILDER_ASSETS, as envtest does, else among the built ones.
func program(ctx context.Context, name string, log io.Writer) (string, error) {
	if assets := os.Getenv("KUBEBUILDER_ASSETS"); assets != "" && slices.Contains([]string{"etcd", "kube-apiserver", "kubectl"}, name) {
		path := filepath.Join(assets, name)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	dir, err := Binaries(ctx, log)
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, name), nil
}

// repositoryRoot walks up from the working directory, because a test runs in its package's folder.
func repositoryRoot() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, filepath.FromSlash(sourceFolder), "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("no %s above %s: run this inside the repository", sourceFolder, start)
		}
	}
}

// sourceKey names a build by all that decides its outcome: the module's files, the Go version and the platform.
func sourceKey(ctx context.Context, sources string) (string, error) {
	version, err := goCommand(ctx, sources, "env", "GOVERSION", "GOOS", "GOARCH").Output()
	if err != nil {
		return "", fmt.Errorf("ask for the Go version: %w", describe(err))
	}
	entries, err := os.ReadDir(sources)
	if err != nil {
		return "", err
	}
	hash := sha256.New()
	fmt.Fprintf(hash, "%s %q %q\n", version, flags(""), programs)
	for _, entry := range entries {
		if entry.IsDir() {
			continue
		}
		content, err := os.ReadFile(filepath.Join(sources, entry.Name()))
		if err != nil {
			return "", err
		}
		fmt.Fprintf(hash, "%s %d\n%s", entry.Name(), len(content), content)
	}
	return hex.EncodeToString(hash.Sum(nil))[:12], nil
}

// complete reports whether every program is there. A build appears under its final name only when it is whole, but
// a person may have removed a link.
func complete(dir string) bool {
	for _, name := range programs {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return false
		}
	}
	return true
}

func build(ctx context.Context, sources, dir string, log io.Writer) error {
	begin := time.Now()
	say := func(format string, args ...any) {
		fmt.Fprintf(log, "cluster binaries: %s (%s)\n", fmt.Sprintf(format, args...), time.Since(begin).Round(time.Second))
	}
	say("building etcd, Kubernetes and kwok from their Go modules, about 8 minutes on two cores the first time")

	version, err := goCommand(ctx, sources, "list", "-m", "-f", "{{.Version}}", "k8s.io/kubernetes").Output()
	if err != nil {
		return fmt.Errorf("ask for the version of Kubernetes: %w", describe(err))
	}
	flags := flags(strings.TrimSpace(string(version)))
	stale, err := stalePackages(ctx, sources, flags, say)
	if err != nil {
		return err
	}
	say("%d packages to compile", stale)

	work, err := os.MkdirTemp(filepath.Dir(dir), "building-")
	if err != nil {
		return err
	}
	// What is left behind is in the way of nobody, and once renamed there is nothing left.
	defer func() { _ = os.RemoveAll(work) }()
	if err := compile(ctx, sources, flags, filepath.Join(work, "kube"), stale, say); err != nil {
		return err
	}
	for _, name := range programs {
		if err := os.Symlink("kube", filepath.Join(work, name)); err != nil {
			return err
		}
	}
	if err := os.Chmod(work, 0o755); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.Rename(work, dir); err != nil {
		return err
	}
	say("ready in %s", filepath.Join(filepath.FromSlash(buildFolder), filepath.Base(dir)))
	return nil
}

// stalePackages downloads the modules and counts the packages that are not in the build cache.
func stalePackages(ctx context.Context, sources string, flags []string, say func(string, ...any)) (int, error) {
	args := append([]string{"list", "-deps", "-f", "{{if .Stale}}{{.ImportPath}}{{end}}"}, flags...)
	list := goCommand(ctx, sources, append(args, ".")...)
	var out bytes.Buffer
	list.Stdout = &out
	downloads, last := 0, time.Now()
	err := runLines(list, func(line string) bool {
		if !strings.HasPrefix(line, "go: downloading ") {
			return false
		}
		downloads++
		if time.Since(last) >= progressInterval {
			last = time.Now()
			say("downloading modules, %d so far", downloads)
		}
		return true
	})
	return len(strings.Fields(out.String())), err
}

// compile builds the binary. go build -v prints the name of each package that it compiles, hence the progress.
func compile(ctx context.Context, sources string, flags []string, output string, stale int, say func(string, ...any)) error {
	args := append([]string{"build", "-v", "-o", output}, flags...)
	command := goCommand(ctx, sources, append(args, ".")...)

	names := make(chan struct{})
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		begin, compiled := time.Now(), 0
		ticker := time.NewTicker(progressInterval)
		defer ticker.Stop()
		for {
			select {
			case _, ok := <-names:
				if !ok {
					return
				}
				compiled++
			case <-ticker.C:
				switch {
				case compiled >= stale-1: // the main package's name is never printed
					say("linking")
				case compiled > 0:
					left := time.Duration(float64(time.Since(begin)) / float64(compiled) * float64(stale-compiled))
					say("compiled %d of %d packages, about %s left", compiled, stale, left.Round(time.Second))
				default:
					say("compiling")
				}
			}
		}
	}()
	err := runLines(command, func(line string) bool {
		// A package's name stands alone on its line, which no compiler message does.
		if line == "" || strings.ContainsAny(line, " \t#:") {
			return false
		}
		names <- struct{}{}
		return true
	})
	close(names)
	<-finished
	return err
}

// runLines runs a command and hands over its standard error line by line. The lines that take does not claim become
// part of the error when the command fails.
func runLines(command *exec.Cmd, take func(line string) bool) error {
	stderr, err := command.StderrPipe()
	if err != nil {
		return err
	}
	if err := command.Start(); err != nil {
		return err
	}
	var rest []string
	lines := bufio.NewScanner(stderr)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if !take(lines.Text()) {
			rest = append(rest, lines.Text())
		}
	}
	// The pipe is emptied whatever the scanner thought of a line, or the command could never end.
	_, _ = io.Copy(io.Discard, stderr)
	if err := command.Wait(); err != nil {
		if len(rest) > 0 {
			return fmt.Errorf("%w:\n%s", err, strings.Join(rest[max(0, len(rest)-20):], "\n"))
		}
		return err
	}
	return nil
}

// goCommand is the go command inside another module of this repository: a workspace file and the module flags of the
// module that the caller is in would lead it astray.
func goCommand(ctx context.Context, dir string, args ...string) *exec.Cmd {
	command := exec.CommandContext(ctx, "go", args...)
	command.Dir = dir
	command.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=", "PWD="+dir)
	return command
}

// describe adds what a command wrote to its standard error.
func describe(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) && len(exit.Stderr) > 0 {
		return fmt.Errorf("%w: %s", err, bytes.TrimSpace(exit.Stderr))
	}
	return err
}
