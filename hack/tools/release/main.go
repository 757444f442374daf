// SPDX-License-Identifier: Apache-2.0

// Command release builds what a release of the operator has, with the Go toolchain and git alone: images as OCI archives, archives of the
// kubectl plugin, lists of what is inside them, checksums and notes. The same commit and the same Go release give the same bytes.
//
//	release images   writes the images, and their lists of contents
//	release all      writes them and everything else of a release
//	release push     sends an image's archive to a registry
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	const usage = "the first argument is images, all or push"
	if len(args) == 0 {
		return errors.New(usage)
	}
	switch args[0] {
	case "images", "all":
		return build(ctx, args[0], args[1:], out)
	case "push":
		return runPush(ctx, args[1:], out)
	}
	return fmt.Errorf("%q: %s", args[0], usage)
}

// options say what to make of which source.
type options struct {
	repository string // folder of the sources
	out        string // folder to write to
	wanted     string // the version, such as 0.3.0; empty: the one of the sources
	platforms  string // such as linux/amd64,linux/arm64
	registry   string // what image names begin with, such as registry.example.com/avi; empty: nothing
	downloads  string // address under which each release's files are, in a folder of its tag
	manifests  string // folder of manifests that belong to the release
}

func build(ctx context.Context, command string, args []string, out io.Writer) error {
	var o options
	flags := flag.NewFlagSet("release "+command, flag.ContinueOnError)
	flags.StringVar(&o.repository, "repository", ".", "folder of the sources")
	flags.StringVar(&o.out, "out", "dist", "folder to write to")
	flags.StringVar(&o.wanted, "version", "", "the version; empty: that in internal/version/VERSION")
	flags.StringVar(&o.platforms, "platforms", "linux/amd64,linux/arm64", "platforms of the images")
	flags.StringVar(&o.registry, "registry", "", "what the images' names begin with, such as registry.example.com/avi")
	flags.StringVar(&o.downloads, "downloads", "https://"+modulePath+"/releases/download",
		"address under which releases are published, each in a folder of its tag (all)")
	flags.StringVar(&o.manifests, "manifests", "", "folder with install.yaml and whatever else goes into the release as it is (all)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	s, err := readSource(ctx, o)
	if err != nil {
		return err
	}
	r := &releaser{source: s, options: o, log: out}
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	if command == "images" {
		return r.images(ctx)
	}
	return r.all(ctx)
}

// releaser writes the files of one release.
type releaser struct {
	options
	source
	log io.Writer
}

// wrote prints the name of a file that was written.
func (r *releaser) wrote(path string) { fmt.Fprintln(r.log, path) }

// all writes everything that a release has. The checksums come last: they cover what is there by then.
func (r *releaser) all(ctx context.Context) error {
	if r.modified {
		return errors.New("the work tree differs from the commit: a release is made of what is committed")
	}
	for _, step := range []func(context.Context) error{r.notes, r.files, r.images, r.plugins, r.chart, r.operatorBundle, r.checksums} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// imageName is the name under which an image is loaded or pushed, such as registry.example.com/avi/avi-l4-operator:0.3.0.
func (r *releaser) imageName(title string) string {
	name := title + ":" + r.version
	if r.registry == "" {
		return name
	}
	return strings.TrimSuffix(r.registry, "/") + "/" + name
}

func (r *releaser) path(name string) string { return filepath.Join(r.out, name) }
