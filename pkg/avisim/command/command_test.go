// SPDX-License-Identifier: Apache-2.0

package command

import (
	"context"
	"errors"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/control"
)

// release is what the programs of these tests say of themselves.
const release = "1.2.3+test"

// TestCommands runs each subcommand against a simulator's control API.
func TestCommands(t *testing.T) {
	t.Setenv("AVISIM_CONTROL", "127.0.0.1:1")
	s, err := avisim.New(avisim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	h := control.New(s)
	defer h.StopScript()
	srv := httptest.NewServer(h)
	defer srv.Close()
	for _, f := range []struct {
		typ  string
		body map[string]any
	}{
		{"pool", map[string]any{"name": "p", "servers": []any{map[string]any{"ip": map[string]any{"addr": "10.0.0.1", "type": "V4"},
			"port": 80}}}},
		{"virtualservice", map[string]any{"name": "web\x1b[31m", "pool_ref": "/api/pool?name=p", "services": []any{map[string]any{"port": 80}},
			"vip": []any{map[string]any{"vip_id": "0", "ip_address": map[string]any{"addr": "10.1.1.1", "type": "V4"}}}}},
	} {
		if _, err := s.Create(f.typ, "admin", f.body); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	good, bad := filepath.Join(dir, "good.yaml"), filepath.Join(dir, "bad.yaml")
	for file, text := range map[string]string{good: "steps:\n- do: {effect: upgrade}\n- after: 1h\n  do: {effect: down}",
		bad: "steps:\n- do: {effect: updrade}"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	request := func() { // one that shows in the log
		s.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/api/cluster/status?token=hush", nil))
	}
	request()
	for _, tt := range []struct{ args, out, err string }{
		{"effects", "stale-reads", ""},
		{"effects latency", "jitter", ""},
		{"effects latencee", "", "no effect"},
		{"effects --markdown", "| `latency` | request |", ""},
		{"fault add --help", "-object-name", ""},
		{"fault add -type pool -method=POST --object-name ^a --tenant admin --after 1 --count 2 --probability 0.5 --duration 1h --name n latency delay=2s answer status=503", "fault 1 added", ""},
		{"fault add expire-sessions", "done", ""},
		{"fault add", "", "which effect? avisim effects lists them, avisim fault add --help the conditions"},
		{"fault add delay=1s latency", "", "before the effect"},
		{"fault add latency delay=soon", "", "not a duration"},
		{"fault add --object-name ( latency", "", "object-name"},
		{"fault list", "POST, pool, name ~ ^a, tenant admin, after 1, 2 times, p=0.5, for 1h0m0s  latency delay=2s; answer status=503", ""},
		{"fault remove 1", "", ""},
		{"fault remove 1", "", "no fault 1"},
		{"fault remove", "", "which fault"},
		{"fault clear", "", ""},
		{"fault clear all", "", "takes no argument"},
		{"server down 10.0.0.1:80 broken cable", "", ""},
		{"services", "DOWN", ""},
		{"services 10.0.0.1:80", `web\x1b[31m`, ""},
		{"server up 10.0.0.1:80", "", ""},
		{"server down", "", "which server"},
		{"server down here", "", "not IP:PORT"},
		{"requests", "GET    200 /api/cluster/status?token=******** ", ""},
		{"requests --json", `"path":"/api/cluster/status"`, ""},
		{"counters", "/api/cluster/status", ""},
		{"unexpected GET__/api/cluster/**", "", ""},
		{"unexpected GET__/api/pool", "/api/cluster/status 200", "1 unexpected"},
		{"har", `"version": "1.2"`, ""},
		{"har --normal", "2000-01-01T00:00:00", ""},
		{"har --nrmal", "", "--nrmal"},
		{"script check " + good, "2 steps, no mistakes", ""},
		{"script check " + bad, "", "bad.yaml:\nline 2: no effect is called"},
		{"script check", "", "which script"},
		{"script run " + bad, "", "line 2"},
		{"script run " + good, "", ""},
		{"script stop", "", ""},
		{"requests clear", "", ""},
		{"requests", "", ""},
		{"help", "fault add", ""},
		{"falt add", "", `no command "falt add": avisim --help lists what there is; did you mean fault?`},
		{"falt add --type pool", "", `no command "falt add"`},
		{"fault ad", "", `no command "fault ad": avisim fault --help lists what there is; did you mean add?`},
		{"fault", "", `no command "fault"`},
		{"effects latency hang", "", "which effect"},
		{"fault --help", "Remove all faults", ""},
		{"requests clare", "", "requests takes no argument"},
		{"version", "avisim " + release + "\n", ""},
	} {
		var out strings.Builder
		var args []string
		for _, a := range append(strings.Fields(tt.args), "--control", strings.TrimPrefix(srv.URL, "http://")) {
			args = append(args, strings.ReplaceAll(a, "__", " "))
		}
		err := execute(t.Context(), &out, release, args)
		if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: error %v, want %q", tt.args, err, tt.err)
		}
		if !strings.Contains(out.String(), tt.out) || strings.Contains(out.String(), "\x1b") || strings.Contains(out.String(), "hush") {
			t.Errorf("%s: %q, want %q", tt.args, out.String(), tt.out)
		}
		time.Sleep(5 * time.Millisecond)
	}
	if err := execute(t.Context(), io.Discard, release, []string{"counters"}); err == nil || !strings.Contains(err.Error(), "--control-addr") {
		t.Error(err)
	}

	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	out := &firstLine{cancel: cancel}
	time.AfterFunc(100*time.Millisecond, request)
	t.Setenv("AVISIM_CONTROL", strings.TrimPrefix(srv.URL, "http://"))
	if err := execute(ctx, out, release, []string{"requests", "--follow"}); err != nil || !strings.Contains(out.text, "/api/cluster/status") {
		t.Errorf("%v %q", err, out.text)
	}
}

// firstLine ends the context when something was written.
type firstLine struct {
	cancel context.CancelFunc
	text   string
}

func (f *firstLine) Write(b []byte) (int, error) {
	f.text += string(b)
	f.cancel()
	return len(b), nil
}

// TestArguments reads command lines as they were written for package flag.
func TestArguments(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"", ""},
		{"-addr :9443 -forward --seed=1", "--addr :9443 --forward --seed=1"},
		{"-password -addr -username=-x -quick-start=false", "--password -addr --username=-x --quick-start=false"},
		{"serve -control-addr :9444 -help", "serve --control-addr :9444 --help"},
		{"fault add -object-name ^a latency delay=1s -count 2", "fault add --object-name ^a latency delay=1s --count 2"},
		{"send tcp 10.0.0.1:80 -- -addr", "send tcp 10.0.0.1:80 -- -addr"},
		{"-h", "-h"},
		{"-a -nope - ---addr", "-a -nope - ---addr"},
		{"--version", "version"},
		{"-version", "version"},
		{"--version 22.1.3", "--version 22.1.3"},
		{"-version=22.1.3", "--version=22.1.3"},
		{"--forward --version", "--forward --version"},
	} {
		args := strings.Fields(tt.args)
		got := arguments(newCommand(io.Discard, release), args)
		if strings.Join(got, " ") != tt.want || !slices.Equal(args, strings.Fields(tt.args)) {
			t.Errorf("%s: %q, want %q", tt.args, got, tt.want)
		}
	}
}

// TestUsageErrors holds which errors are about the command line's flags, and end with status 2.
func TestUsageErrors(t *testing.T) {
	for _, tt := range []struct {
		args, err string
		usage     bool
	}{
		{"--nope", "unknown flag: --nope: avisim --help lists the flags", true},
		{"serve -addr", "flag needs an argument: --addr: avisim serve --help lists the flags", true},
		{"--forward --version", "flag needs an argument: --version", true},
		{"--seed x", "--seed", true},
		{"--rule nope=on", "--rule", true},
		{"--network here", "is not name=prefix", true},
		{"--control 127.0.0.1:1", "takes --control-addr", true},
		{"fault add --nope latency", "unknown flag: --nope: avisim fault add --help lists the flags", true},
		{"serve now", "avisim serve takes no argument", false},
		{"now", `no command "now"`, false},
		{"--script nope.yaml", "nope.yaml", false},
	} {
		err := execute(t.Context(), io.Discard, release, strings.Fields(tt.args))
		if err == nil || !strings.Contains(err.Error(), tt.err) || errors.As(err, new(usageError)) != tt.usage {
			t.Errorf("%s: %T %v, want %q", tt.args, err, err, tt.err)
		}
	}
}

// TestCompletion asks as the shells' scripts do.
func TestCompletion(t *testing.T) {
	s, err := avisim.New(avisim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	srv := httptest.NewServer(control.New(s))
	defer srv.Close()
	t.Setenv("AVISIM_CONTROL", strings.TrimPrefix(srv.URL, "http://"))
	if _, err := s.AddFault(avisim.Fault{Name: "slow", Method: "POST", Effects: []avisim.Effect{{Name: "latency"}}}); err != nil {
		t.Fatal(err)
	}
	const plain, noSpace, byExtension, dirs = ":4\n", ":6\n", ":8\n", ":16\n"
	for _, tt := range []struct{ args, want, not, directive string }{
		{"faul", "fault\tAdd, list or remove faults", "serve", plain},
		{"fault _", "remove\t", "", plain},
		{"fault add lat", "latency\tanswers late", "hang", plain},
		{"fault add latency _", "jitter=\t", "status=", plain},
		{"fault add latency delay=1s answer _", "status=\t", "jitter=", plain},
		{"fault add latency ji", "jitter=\t", "delay=", noSpace},
		{"fault add --type po", "poolgroup\n", "", plain},
		{"fault add --method _", "DELETE\n", "", plain},
		{"fault remove _", "1\tslow POST", "", plain},
		{"fault remove 1 _", "", "slow", plain},
		{"effects ha", "hang\t", "", plain},
		{"effects hang _", "", "latency", plain},
		{"script run _", "yaml\n", "", byExtension},
		{"script stop _", "", "yaml", plain},
		{"--control-", "--control-addr\t", "--forward", plain},
		{"--probe _", "tcp\n", "", plain},
		{"serve --rule vs-http", "vs-http=off\t", "", plain},
		{"serve --make-certificate _", "", "", dirs},
	} {
		var out strings.Builder
		args := append([]string{"__complete"}, strings.Fields(tt.args)...)
		if last := len(args) - 1; args[last] == "_" {
			args[last] = ""
		}
		err := execute(t.Context(), &out, release, args)
		got := "\n" + out.String()
		if err != nil || !strings.Contains(got, "\n"+tt.want) || tt.not != "" && strings.Contains(got, "\n"+tt.not) ||
			!strings.HasSuffix(got, tt.directive) {
			t.Errorf("%s: %v %q", tt.args, err, got)
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		var out strings.Builder
		if err := execute(t.Context(), &out, release, []string{"completion", shell}); err != nil || !strings.Contains(out.String(), "__complete") {
			t.Errorf("%s: %v %q", shell, err, out.String())
		}
	}
}

func TestNetworkFlag(t *testing.T) {
	for in, ok := range map[string]bool{"a=10.0.0.0/24": true, "a=10.0.0.0/24,10.0.0.5-10.0.0.9": true, "a=fd00::/64": true,
		"10.0.0.0/24": false, "=10.0.0.0/24": false, "a=10.0.0.0": false, "a=10.0.0.0/24,x-y": false, "a=10.0.0.0/24,10.0.0.1": false} {
		var f networkFlags
		if err := f.Set(in); (err == nil) != ok {
			t.Errorf("%s: %v", in, err)
		}
	}
}

func TestRuleFlag(t *testing.T) {
	for in, ok := range map[string]bool{"vs-http=off": true, "unknown-field=on": true, "vs-http": false, "vs-http=no": false,
		"nope=on": false} {
		var f ruleFlags
		if err := f.Set(in); (err == nil) != ok {
			t.Errorf("%s: %v", in, err)
		}
	}
}
