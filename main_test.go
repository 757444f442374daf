// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"sigs.k8s.io/controller-runtime/pkg/client/config"
)

var update = flag.Bool("update", false, "rewrite docs/flags.md")

// TestFlagsReference holds docs/flags.md against the flags; -update rewrites it.
func TestFlagsReference(t *testing.T) {
	t.Setenv("POD_NAMESPACE", "")
	flags := flag.NewFlagSet(program, flag.ContinueOnError)
	o := options{}
	o.define(flags)
	o.defineServers(flags)
	config.RegisterFlags(flags)
	var b strings.Builder
	b.WriteString(`# Flags

Written by the tests of the main package from the flags themselves. What they are for, and what goes together:
[configuration.md](configuration.md#flags).

| flag | default | meaning |
|---|---|---|
`)
	flags.VisitAll(func(f *flag.Flag) {
		fmt.Fprintf(&b, "| `--%s` | %s | %s |\n", f.Name, cmp.Or(f.DefValue, "none"), f.Usage)
	})
	file := filepath.Join("docs", "flags.md")
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != b.String() {
		t.Errorf("docs/flags.md is not current (go test . -run TestFlagsReference -update); it should be:\n%s", b.String())
	}
}

// TestMetricsCertificate: the flags reach the metrics server.
func TestMetricsCertificate(t *testing.T) {
	flags := flag.NewFlagSet(program, flag.ContinueOnError)
	o := options{}
	o.define(flags)
	o.defineServers(flags)
	if err := flags.Parse([]string{"--metrics-cert-path=/certs", "--metrics-cert-key=key.pem"}); err != nil {
		t.Fatal(err)
	}
	m := metricsOptions(o)
	if m.CertDir != "/certs" || m.CertName != "tls.crt" || m.KeyName != "key.pem" || !m.SecureServing || m.FilterProvider == nil {
		t.Errorf("metrics server %+v", m)
	}
}

// TestMemoryLimit: the garbage collector learns the container's limit.
func TestMemoryLimit(t *testing.T) {
	limit, percent := debug.SetMemoryLimit(-1), debug.SetGCPercent(-1)
	t.Cleanup(func() {
		debug.SetMemoryLimit(limit)
		debug.SetGCPercent(percent)
	})
	collectEarly(func() (uint64, error) { return 0, memlimit.ErrNoLimit })
	if got := debug.SetMemoryLimit(-1); got != limit {
		t.Errorf("without a limit it is %d", got)
	}
	collectEarly(memlimit.Limit(512 << 20))
	if got := debug.SetMemoryLimit(-1); got != 512<<20*9/10 {
		t.Errorf("with one of 512 MiB it is %d", got)
	}
}
