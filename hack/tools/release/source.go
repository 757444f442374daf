// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// source is what a release is made of.
type source struct {
	version  string
	revision string    // the whole commit; with ".modified" after it if the files differ from it
	modified bool      // whether the files differ from the commit
	time     time.Time // of everything that is written: the commit's, or SOURCE_DATE_EPOCH
}

// readSource asks the repository what it holds. It refuses a version that is not the one in the sources.
func readSource(ctx context.Context, o options) (source, error) {
	content, err := os.ReadFile(filepath.Join(o.repository, "internal/version/VERSION"))
	if err != nil {
		return source{}, err
	}
	s := source{version: strings.TrimSpace(string(content))}
	if o.wanted != "" && o.wanted != s.version {
		return source{}, fmt.Errorf("version %s is wanted, but internal/version/VERSION holds %s", o.wanted, s.version)
	}
	if s.revision, err = git(ctx, o.repository, "rev-parse", "HEAD"); err != nil {
		return source{}, err
	}
	status, err := git(ctx, o.repository, "status", "--porcelain")
	if err != nil {
		return source{}, err
	}
	if s.modified = status != ""; s.modified {
		s.revision += ".modified"
	}
	epoch := os.Getenv("SOURCE_DATE_EPOCH")
	if epoch == "" {
		if epoch, err = git(ctx, o.repository, "show", "--no-patch", "--format=%ct", "HEAD"); err != nil {
			return source{}, err
		}
	}
	seconds, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil {
		return source{}, fmt.Errorf("SOURCE_DATE_EPOCH, in seconds since 1970: %w", err)
	}
	s.time = time.Unix(seconds, 0).UTC()
	return s, nil
}

func git(ctx context.Context, folder string, args ...string) (string, error) {
	// #nosec G204 -- the arguments are this program's own.
	out, err := exec.CommandContext(ctx, "git", append([]string{"-C", folder}, args...)...).Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w%s", strings.Join(args, " "), err, stderr(err))
	}
	return strings.TrimSpace(string(out)), nil
}

// stderr is what a failed command printed, in brackets.
func stderr(err error) string {
	exit, ok := err.(*exec.ExitError) //nolint:errorlint // exec's Output returns it as it is
	if !ok || len(exit.Stderr) == 0 {
		return ""
	}
	return " (" + strings.TrimSpace(string(exit.Stderr)) + ")"
}

// program is a command of the repository for one platform.
type program struct {
	pkg      string // such as ./cmd/avisim
	os, arch string
}

// compile builds a program into a file. Nothing of the machine gets in: no paths, no state of the repository, no C library, and no
// features of newer processors.
func (r *releaser) compile(ctx context.Context, p program, file string) error {
	file, err := filepath.Abs(file)
	if err != nil {
		return err
	}
	// #nosec G204 -- the arguments are this program's own.
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-tags=grpcnotrace",
		"-ldflags=-s -w -X github.com/avi-l4-operator/avi-l4-operator/internal/version.revision="+r.revision, "-o", file, p.pkg)
	cmd.Dir = r.repository
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+p.os, "GOARCH="+p.arch, "GOAMD64=v1", "GOARM64=v8.0", "GOEXPERIMENT=", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s for %s/%s: %w\n%s", p.pkg, p.os, p.arch, err, out)
	}
	return nil
}
