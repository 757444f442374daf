// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"debug/elf"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// build makes the program as the image does.
func build(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "avisim")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

// launched is a running simulator.
type launched struct {
	cmd  *exec.Cmd
	addr string
	said string // before it served
}

func launch(t *testing.T, program string, args ...string) *launched {
	t.Helper()
	return launchFor(t, time.Minute, program, args...)
}

// launchFor starts a simulator, which ends after so long at the latest.
func launchFor(t *testing.T, longest time.Duration, program string, args ...string) *launched {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), longest)
	t.Cleanup(cancel)
	l := &launched{cmd: exec.CommandContext(ctx, program, append([]string{"--addr=127.0.0.1:0"}, args...)...)}
	out, err := l.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if m := regexp.MustCompile(`https://([^,]+),`).FindStringSubmatch(lines.Text()); m != nil {
			l.addr = m[1]
			go func() {
				for lines.Scan() {
				}
			}()
			return l
		}
		t.Log(lines.Text())
		l.said += lines.Text() + "\n"
	}
	t.Fatalf("the simulator ended: %v", l.cmd.Wait())
	return nil
}

func (l *launched) stop(t *testing.T) {
	t.Helper()
	if err := l.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := l.cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
}

// TestBinary runs the program with the settings of its Deployment: certificate files, state, health check, restart.
func TestBinary(t *testing.T) {
	program, dir := build(t), t.TempDir()
	if runtime.GOOS == "linux" {
		f, err := elf.Open(program)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if libs, err := f.ImportedLibraries(); err != nil || len(libs) > 0 {
			t.Errorf("not static: %v %v", libs, err)
		}
	}
	const host = "avi-l4-simulator.avi-l4-system.svc"
	if out, err := exec.CommandContext(t.Context(), program, "--make-certificate", dir, "--host-names", host).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	ca, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		t.Fatal("no CA")
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: host}},
		Timeout: 10 * time.Second}
	args := []string{"--cert-file=" + filepath.Join(dir, "tls.crt"), "--key-file=" + filepath.Join(dir, "tls.key"),
		"--state-file=" + filepath.Join(dir, "state.json"),
		"--fixture=" + filepath.Join("..", "..", "config", "components", "simulator", "fixture",
			"vcenter.yaml"), "--latency=0", "--write-latency=0"}
	var cookies []*http.Cookie
	for round := range 2 {
		l := launch(t, program, args...)
		if out, err := exec.CommandContext(t.Context(), program, "--healthcheck", "--addr="+l.addr).CombinedOutput(); err != nil {
			t.Errorf("health: %v %s", err, out)
		}
		if round == 0 {
			resp, err := client.Post("https://"+l.addr+"/login", "application/json", strings.NewReader(`{"username":"admin","password":"avi123$%"}`))
			if err != nil {
				t.Fatal(err)
			}
			cookies = resp.Cookies()
			_ = resp.Body.Close()
		}
		r, err := http.NewRequest(http.MethodGet, "https://"+l.addr+"/api/network?name=frontend", nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range cookies {
			r.AddCookie(c)
		}
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("round %d: the session is answered with %s", round, resp.Status)
		}
		client.CloseIdleConnections()
		l.stop(t)
		if out, err := exec.CommandContext(t.Context(), program, "--healthcheck", "--addr="+l.addr).CombinedOutput(); err == nil {
			t.Errorf("well although it is gone: %s", out)
		}
	}
	for args, want := range map[string]int{"--version": 0, "-nope": 2, "nope": 1} {
		cmd := exec.CommandContext(t.Context(), program, args)
		if out, err := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() != want || !bytes.HasPrefix(out, []byte("avisim")) {
			t.Errorf("%s: %v %s", args, err, out)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "state.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), program, append(args,
		"--addr=127.0.0.1:0")...).CombinedOutput(); err == nil || !strings.Contains(string(out), "is damaged") {
		t.Errorf("%v %s", err, out)
	}
}

// TestManifestsFlags makes sure that the flags in config/ are ones that the program has.
func TestManifestsFlags(t *testing.T) {
	help, err := exec.CommandContext(t.Context(), build(t), "-h").Output()
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, file := range []string{"components/simulator/deployment.yaml", "components/simulator/fixture/kustomization.yaml",
		"trial/simulator.yaml"} {
		raw, err := os.ReadFile(filepath.Join("..", "..", "config", filepath.FromSlash(file)))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?:- |value: )--([a-z-]+)=`).FindAllStringSubmatch(string(raw), -1) {
			found++
			if operator := m[1] == "avi-ca-file"; !operator && !regexp.MustCompile(fmt.Sprintf(`(?m)^ +--%s\b`, m[1])).Match(help) {
				t.Errorf("%s: there is no flag --%s", file, m[1])
			}
		}
	}
	if found < 12 {
		t.Errorf("only %d flags found", found)
	}
}
