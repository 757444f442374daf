// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/command"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/control"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/sctp"
	"github.com/avi-l4-operator/avi-l4-operator/test/docs/examples"
)

// TestCommandsOfTheDocs: every command of avisim that a document shows is one, with flags and arguments that it takes.
func TestCommandsOfTheDocs(t *testing.T) {
	all, err := examples.Read(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, c := range all {
		args, ok := c.Of("avisim")
		if !ok {
			if args, ok = c.Of("go", "run", "./cmd/avisim"); !ok {
				continue
			}
		}
		seen++
		if err := command.Check(args); err != nil {
			t.Errorf("%s: %v", c, err)
		}
	}
	if seen < 6 {
		t.Errorf("the documents have %d commands of avisim", seen)
	}
	for line, want := range map[string]string{
		"--forward": "", "nothing": "no command", "--ca-fil x": "unknown flag", "script run": "which script",
		"send sctp 10.0.0.1:1 x --nothing": "unknown flag",
	} {
		if err := command.Check(strings.Fields(line)); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", line, err, want)
		}
	}
}

func TestMain(m *testing.M) {
	if os.Getenv("AS") == "avisim" {
		main()
		return
	}
	os.Exit(m.Run())
}

// reader runs commands as a reader of the documents does, in an empty folder, with the addresses of simulators of the test's own.
type reader struct {
	*testing.T
	shell   examples.Shell
	dir     string
	running *launched
	control string // of the one that runs
	traffic string // of one that carries traffic
	curl    bool   // the machine has it
}

// TestDocs runs every command of avisim, and of curl, that a document shows.
func TestDocs(t *testing.T) {
	commands, err := examples.RunBy(filepath.Join("..", ".."), examples.Simulator)
	if err != nil || len(commands) < 10 {
		t.Fatalf("%d commands: %v", len(commands), err)
	}
	r := reader{T: t, dir: t.TempDir(), traffic: carrying(t, "10.10.0.10", 38412)}
	r.shell = examples.Shell{Folder: r.dir, Programs: examples.Itself(t, "avisim"), Env: []string{"HOME=" + r.dir}}
	if _, err := exec.LookPath("curl"); err == nil {
		r.curl = true
	}
	if err := os.MkdirAll(filepath.Join(r.dir, ".config", "fish", "completions"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(r.dir, "story.yaml"), []byte("steps:\n- do: {effect: upgrade}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range commands {
		line := c.Line
		if strings.Contains(line, "Invoke-Expression") {
			line = strings.Join(c.Words, " ") // for another shell
		}
		if target, ok := c.Of("make"); ok { // what it does, in the test's folder
			here := examples.Shell{Folder: filepath.Join("..", "..")}
			if line, err = here.Run(t.Context(), "make --no-print-directory -n "+target[0]); err != nil {
				t.Errorf("%s: %v", c, err)
				continue
			}
		}
		if err := r.run(strings.ReplaceAll(line, "go run ./cmd/avisim", "avisim"), c.Words[0]); err != nil {
			t.Errorf("%s: %v", c, err)
		}
	}
	r.stopped()
}

func (r *reader) stopped() {
	if r.running != nil {
		r.running.stop(r.T)
	}
	r.running = nil
}

func (r *reader) run(line, program string) error {
	if server := strings.Index(line, "avisim --"); server >= 0 && strings.Contains(line, "--control-addr") {
		if _, err := r.shell.Run(r.Context(), line[:server]); err != nil {
			return err
		}
		r.serve(strings.Fields(strings.SplitN(line[server:], " #", 2)[0])[1:])
		return nil
	}
	if program == "curl" && !r.curl {
		r.Log("not run, for there is no curl here:", line)
		return nil
	}
	control := r.control
	if strings.Contains(line, "avisim traffic") || strings.Contains(line, "avisim send") {
		control = r.traffic
	}
	shell := r.shell
	shell.Env = append(slices.Clone(shell.Env), "AVISIM_CONTROL="+control)
	if r.running != nil {
		shell.Replace = strings.NewReplacer("127.0.0.1:9443", r.running.addr, "127.0.0.1:9444", r.control,
			"curl ", "curl --fail --silent --show-error ")
	}
	out, err := shell.Run(r.Context(), line)
	if err == nil && strings.Contains(line, "avisim send") && !strings.Contains(out, "hello") {
		return fmt.Errorf("nothing comes back: %s", out)
	}
	return err
}

// serve starts a simulator at addresses of its own, in place of the one before.
func (r *reader) serve(args []string) {
	r.Helper()
	r.stopped()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.Fatal(err)
	}
	r.control = l.Addr().String()
	if err := l.Close(); err != nil {
		r.Fatal(err)
	}
	for i, arg := range args {
		switch {
		case arg == "127.0.0.1:9444":
			args[i] = r.control
		case strings.HasSuffix(arg, ".crt"):
			args[i] = filepath.Join(r.dir, arg)
		}
	}
	if slices.Contains(args, "--forward") {
		args = append(args, "--forward-map", elsewhere())
	}
	r.running = launch(r.T, filepath.Join(r.shell.Programs, "avisim"), args...)
}

// elsewhere is a part of loopback where nobody else is likely to be.
func elsewhere() string {
	return fmt.Sprintf("10.10.0.0/16=127.%d.0.0/16", 130+rand.IntN(100))
}

// carrying starts a simulator that carries SCTP from an address to a server that repeats what it hears, and returns the address of its
// control API.
func carrying(t *testing.T, vip string, port uint16) string {
	t.Helper()
	s, err := avisim.New(avisim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	srv := httptest.NewServer(control.New(s))
	t.Cleanup(srv.Close)
	server := netip.AddrFrom4([4]byte{127, byte(64 + rand.IntN(60)), byte(rand.IntN(256)), byte(1 + rand.IntN(250))})
	e, err := sctp.NewEndpoint(netip.AddrPortFrom(server, 0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	m, err := avisim.ParseForwardMap(elsewhere() + ",10.20.0.1/32=" + server.String() + "/32")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Forward(avisim.ForwardOptions{Map: m, SCTPPort: e.Addr().Port()}); err != nil {
		t.Fatal(err)
	}
	x, err := e.Listen(9090)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for a, err := x.Accept(); err == nil; a, err = x.Accept() {
			if m, err := a.Read(); err == nil {
				_ = a.Write(m)
			}
		}
	}()
	addr := func(a string) map[string]any { return map[string]any{"addr": a, "type": "V4"} }
	for _, o := range []struct {
		kind string
		body map[string]any
	}{
		{"pool", map[string]any{"name": "p", "servers": []any{map[string]any{"ip": addr("10.20.0.1"), "port": 9090}}}},
		{"vsvip", map[string]any{"name": "v", "vip": []any{map[string]any{"vip_id": "0", "ip_address": addr(vip)}}}},
		{"virtualservice", map[string]any{"name": "v", "vsvip_ref": "/api/vsvip?name=v", "pool_ref": "/api/pool?name=p",
			"services":                []any{map[string]any{"port": port, "override_network_profile_ref": "/api/networkprofile?name=System-SCTP-Proxy"}},
			"application_profile_ref": "/api/applicationprofile?name=System-L4-Application"}},
	} {
		if _, err := s.Create(o.kind, "admin", o.body); err != nil {
			t.Fatal(err)
		}
	}
	at := netip.AddrPortFrom(netip.MustParseAddr(vip), port)
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) { // the plane follows in a moment
		if _, err := s.Plane().Find("SCTP", at); err == nil {
			return strings.TrimPrefix(srv.URL, "http://")
		} else if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}
