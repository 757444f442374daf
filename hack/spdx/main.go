// SPDX-License-Identifier: Apache-2.0

// Command spdx makes sure that the repository's files say which licence they are under. It looks at every file that git knows
// and that is code: Go, shell, make, container files, and the YAML below config/. With -add it puts the line where it is missing;
// running it again changes nothing. Generated Go files have theirs from hack/boilerplate.go.txt.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

const identifier = "SPDX-License-Identifier: Apache-2.0"

func main() {
	add := flag.Bool("add", false, "Add the identifier where it is missing.")
	root := flag.String("root", ".", "The repository.")
	flag.Parse()
	if err := run(context.Background(), *root, *add); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, root string, add bool) error {
	files, err := tracked(ctx, root)
	if err != nil {
		return err
	}
	var missing []string
	for _, name := range files {
		comment := commentOf(name)
		if comment == "" {
			continue
		}
		fixed, err := look(filepath.Join(root, filepath.FromSlash(name)), comment, add)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if !fixed {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("without %q:\n  %s\n`make spdx` adds it; of generated files the generator has to", identifier, strings.Join(missing, "\n  "))
	}
	return nil
}

// tracked lists the files that git knows, with slashes and relative to root, and those that it would add.
func tracked(ctx context.Context, root string) ([]string, error) {
	command := exec.CommandContext(ctx, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	command.Dir, command.Stderr = root, os.Stderr
	out, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("listing the repository's files: %w", err)
	}
	files := strings.FieldsFunc(string(out), func(r rune) bool { return r == 0 })
	slices.Sort(files)
	return slices.Compact(files), nil
}

// generatedYAML are written by controller-gen, which puts no licence on them.
var generatedYAML = []string{
	"config/rbac/role.yaml",
	"config/crd/bases/*.yaml",
	"config/components/services-api/networking.x-k8s.io_*.yaml",
}

// commentOf is how a line of comment begins in a file that has to carry the identifier, "" for one that doesn't.
func commentOf(name string) string {
	if slices.Contains(strings.Split(name, "/"), "testdata") {
		return ""
	}
	switch base := path.Base(name); {
	case path.Ext(base) == ".go":
		return "//"
	case path.Ext(base) == ".sh", base == "Makefile", base == "Dockerfile", name == ".ci/run":
		return "#"
	case path.Ext(base) != ".yaml", !strings.HasPrefix(name, "config/"):
		return ""
	}
	generated := slices.ContainsFunc(generatedYAML, func(pattern string) bool {
		match, err := path.Match(pattern, name)
		return match && err == nil
	})
	if generated {
		return ""
	}
	return "#"
}

// look reports whether a file carries the identifier when it is done. A file that git knows and that isn't there any more has
// nothing to carry.
func look(file, comment string, add bool) (carries bool, err error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	if carriesIdentifier(text, comment) {
		return true, nil
	}
	if !add || generated.Match(text) {
		return false, nil
	}
	info, err := os.Stat(file)
	if err != nil {
		return false, err
	}
	return true, os.WriteFile(file, withIdentifier(text, comment), info.Mode().Perm())
}

// generated is the line by which Go's tools know a generated file.
var generated = regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`)

// carriesIdentifier reports whether one of the comments before the first line of code is the identifier.
func carriesIdentifier(text []byte, comment string) bool {
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line)
		switch {
		case string(line) == comment+" "+identifier:
			return true
		case len(line) > 0 && !bytes.HasPrefix(line, []byte(comment)):
			return false
		}
	}
	return false
}

// firstLines have to stay first: an interpreter's name, and the version of a container file's syntax.
var firstLines = []string{"#!", "# syntax="}

// withIdentifier puts the identifier on a line of its own, before all but what has to be the first line. An empty line keeps it
// apart from a comment that follows, which may be a package's documentation.
func withIdentifier(text []byte, comment string) []byte {
	var first []byte
	for _, prefix := range firstLines {
		if bytes.HasPrefix(text, []byte(prefix)) {
			line, rest, _ := bytes.Cut(text, []byte("\n"))
			first, text = append(slices.Clone(line), '\n'), rest
		}
	}
	out := append(first, comment+" "+identifier+"\n"...)
	if comment == "//" || bytes.HasPrefix(text, []byte(comment)) {
		out = append(out, '\n')
	}
	return append(out, text...)
}
