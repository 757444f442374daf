// SPDX-License-Identifier: Apache-2.0

// Package albsdk runs the vendor's own tests of its Go SDK, which need a Controller, against the simulated one. They are
// compiled from the module cache as they are, at the version that go.mod pins; nothing of them is copied here.
package albsdk

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim"
)

const (
	sessionTests = "github.com/vmware/alb-sdk/go/session"
	exampleTests = "github.com/vmware/alb-sdk/go/examples/test"
)

// chains are tests that run one after the other against one simulator. The examples build on each other's objects, in the
// order in which the vendor's tests_go_clients.py runs them.
var chains = []struct {
	name, pkg string
	tests     []string // empty: all that are left
}{
	{"session", sessionTests, nil},
	{"examples", exampleTests,
		[]string{"TestCreateCloud", "TestCreateHealthmonitor", "TestCreateProfiles", "TestCreateTenant", "TestCreateVirtualservice",
			"TestResetPassword", "TestApiFilters", "TestApiCollections", "TestCreateObjectInDiffTenant", "TestDeleteConfigurations", "TestAviError",
			"TestUpdatePassword"}},
	// Half a minute of sleep, for a Controller that restarts its portal, and another certificate at the end.
	{"certificate", exampleTests, []string{"TestCustomTransport"}},
}

// leftOut are the tests that no simulator on loopback can pass, with the reason.
var leftOut = map[string]string{
	"TestTokenAuthRobustness":            "skips itself unless it runs on a Controller: it makes its tokens with /opt/avi/python/bin/portal/manage.py",
	"TestAviClientWithInvalidController": "talks to 1.1.1.1 on the Internet and never to the Controller",
	"TestFileUpload":                     "uploads /mnt/files/hsm/safenet_pkg/6.1/safenet.tar, a file of the vendor's laboratory",
	"TestFileObjectUpload":               "uploads /mnt/files/hsm/safenet_pkg/6.1/safenet.tar, a file of the vendor's laboratory",
	"TestWafAppSignatureUpload":          "uploads /mnt/files/rulesets/vmware-waf-rulesets-1610418004000.zip, a file of the vendor's laboratory",
	"TestRestRequest":                    "wants 200 for a POST, where recordings of real Controllers have 201",
}

// TestVendorTests runs them and prints the list of what passed, failed and was left out.
func TestVendorTests(t *testing.T) {
	binaries := map[string]string{}
	var known []string
	for _, pkg := range []string{sessionTests, exampleTests} {
		bin := filepath.Join(t.TempDir(), "vendor.test")
		if out, err := exec.CommandContext(t.Context(), "go", "test", "-c", "-o", bin, pkg).CombinedOutput(); err != nil {
			t.Fatalf("compiling %s: %v\n%s", pkg, err, out)
		}
		out, err := exec.CommandContext(t.Context(), bin, "-test.list", ".").Output()
		if err != nil {
			t.Fatalf("listing the tests of %s: %v", pkg, err)
		}
		binaries[pkg] = bin
		for name := range strings.FieldsSeq(string(out)) {
			known = append(known, name)
			if _, out := leftOut[name]; pkg == sessionTests && !out {
				chains[0].tests = append(chains[0].tests, name)
			}
		}
	}

	var mu sync.Mutex
	results := map[string]string{}
	for name, why := range leftOut {
		results[name] = "left out: " + why
	}
	listed := slices.Collect(maps.Keys(leftOut))
	for _, chain := range chains {
		listed = append(listed, chain.tests...)
	}
	for _, name := range known {
		if !slices.Contains(listed, name) {
			t.Errorf("%s is in no chain and not left out either", name)
		}
	}
	for _, name := range listed {
		if !slices.Contains(known, name) {
			t.Errorf("%s is listed here, but the SDK has no such test", name)
		}
	}
	t.Cleanup(func() {
		for _, name := range slices.Sorted(maps.Keys(results)) {
			t.Logf("%-42s %s", name, results[name])
		}
	})
	for _, chain := range chains {
		t.Run(chain.name, func(t *testing.T) {
			t.Parallel()
			s, err := avisim.New(avisim.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if err := s.Start(); err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			for _, name := range chain.tests {
				verdict := "passed"
				if out, err := run(t.Context(), binaries[chain.pkg], name, dir, s.Host()); err != nil {
					verdict = "FAILED"
					t.Errorf("%s: %v\n%s%s", name, err, out, tail(s.Requests()))
				}
				mu.Lock()
				results[name] = verdict
				mu.Unlock()
			}
			// Some of the examples print an error and pass all the same; but the chain takes away what it made.
			for typ, n := range map[string]int{"tenant": 1, "cloud": 1, "pool": 0, "vsvip": 0, "virtualservice": 0} {
				if have := s.Objects(typ); len(have) != n {
					t.Errorf("%d objects of type %s are left, want %d", len(have), typ, n)
				}
			}
		})
	}
}

// run runs one test in a directory of its own, where it may leave files, and returns what it printed. A test that skips
// itself counts as failed: what is left out has to be listed.
func run(ctx context.Context, bin, name, dir, host string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, bin, "-test.run", "^"+name+"$", "-test.v")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "TMPDIR="+dir, "AVI_CONTROLLER="+host, "AVI_USERNAME=admin", "AVI_PASSWORD=avi123$%", "AVI_TENANT=admin",
		"AVI_VERSION=30.2.1")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return out.String(), err
	}
	if !strings.Contains(out.String(), "--- PASS: "+name) {
		return out.String(), fmt.Errorf("%s did not run", name)
	}
	return "", nil
}

// tail is the end of the request log, for a failure's message.
func tail(log []avisim.Request) string {
	var b strings.Builder
	for _, r := range log[max(0, len(log)-12):] {
		fmt.Fprintf(&b, "%s %s?%s %d %.300s -> %.300s\n", r.Method, r.Path, r.Query, r.Status, r.Body, r.Response)
	}
	return b.String()
}
