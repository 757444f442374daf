// SPDX-License-Identifier: Apache-2.0

// Command pictures makes the pictures of the documentation, docs/images, from what the programs really do: it runs the local cluster,
// the simulated Controller and the operator under load, and draws what a Prometheus that scrapes it answers to the dashboard's queries,
// what kubectl avi-l4 prints, and what a browser shows of the simulator's page. Two more are drawn from the numbers of make bench.
//
//	make pictures
//	make pictures ONLY=page,plugin
//
// It runs in the repository's folder. A person runs it when something that is seen has changed, and looks at the result.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
)

// Names of the groups of pictures, as flag -only has them.
const (
	groupDashboard = "dashboard"
	groupPage      = "page"
	groupPlugin    = "plugin"
	groupScaling   = "scaling"
)

var groups = []string{groupDashboard, groupPage, groupPlugin, groupScaling}

// maxPicture bounds a picture, in bytes: a clone of the repository has all of them.
const maxPicture = 150 << 10

type options struct {
	out, dir, data string
	only           []string
	load           time.Duration
}

func (o *options) wants(group string) bool { return len(o.only) == 0 || slices.Contains(o.only, group) }

// save writes a picture.
func (o *options) save(name string, picture []byte) error {
	if len(picture) > maxPicture {
		return fmt.Errorf("%s has %d bytes, more than %d", name, len(picture), maxPicture)
	}
	file := filepath.Join(o.out, name)
	fmt.Printf("%s (%d KiB)\n", file, (len(picture)+1023)>>10)
	return os.WriteFile(file, picture, 0o644) //nolint:gosec // it is part of the repository
}

func main() {
	var o options
	var only string
	flag.StringVar(&o.out, "out", filepath.Join("docs", "images"), "Folder of the pictures.")
	flag.StringVar(&o.dir, "dir", filepath.Join(".local", "pictures"), "Folder for logs and what else is needed meanwhile.")
	flag.StringVar(&o.data, "data", filepath.Join("docs", "images", "data"),
		"Folder of what make bench has measured, as BENCH_JSON= writes it.")
	flag.StringVar(&only, "only", "", "Which to make, with commas: "+strings.Join(groups, ", ")+" (default all).")
	flag.DurationVar(&o.load, "load", 3*time.Minute, "How long the operator is watched for the dashboard.")
	flag.Parse()
	o.only = strings.FieldsFunc(only, func(r rune) bool { return r == ',' })
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, &o); err != nil {
		fmt.Fprintln(os.Stderr, "pictures:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop has been called
	}
}

func run(ctx context.Context, o *options) error {
	for _, name := range o.only {
		if !slices.Contains(groups, name) {
			return fmt.Errorf("there is no group %q, only %s", name, strings.Join(groups, ", "))
		}
	}
	for _, dir := range []string{o.out, o.dir} {
		if err := os.MkdirAll(dir, 0o750); err != nil {
			return err
		}
	}
	ctrl.SetLogger(logr.Discard())
	klog.SetOutput(io.Discard)
	klog.LogToStderr(false)
	if o.wants(groupScaling) {
		if err := scaling(o); err != nil {
			return fmt.Errorf("scaling: %w", err)
		}
	}
	if !o.wants(groupDashboard) && !o.wants(groupPage) && !o.wants(groupPlugin) {
		return nil
	}
	return live(ctx, o)
}

// live makes the pictures that need a running operator.
func live(ctx context.Context, o *options) (err error) {
	s, err := open(ctx, o.dir)
	if s != nil {
		defer func() { err = errors.Join(err, s.Close()) }()
	}
	if err != nil {
		return err
	}
	if o.wants(groupDashboard) {
		err = s.watched(ctx, o)
	} else {
		err = cmp.Or(s.create(ctx), s.settle(ctx))
	}
	if err != nil {
		return err
	}
	if !o.wants(groupPage) && !o.wants(groupPlugin) {
		return nil
	}
	if err := s.prepare(ctx); err != nil {
		return err
	}
	if o.wants(groupPage) {
		if err := page(ctx, s, o); err != nil {
			return fmt.Errorf("page: %w", err)
		}
	}
	if o.wants(groupPlugin) {
		if err := plugin(ctx, s, o); err != nil {
			return fmt.Errorf("plugin: %w", err)
		}
	}
	return nil
}

// quiet is a log that nobody reads.
func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }
