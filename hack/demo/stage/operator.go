// SPDX-License-Identifier: Apache-2.0

package stage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// Operator is one process of the operator.
type Operator struct {
	// Name identifies the replica of a stage.
	Name string
	// LogFile is where it logs.
	LogFile string

	log     *os.File // open for reading, so that it is this process's log even if the file's name has gone to another
	command *exec.Cmd
	ready   string // URL of its readiness probe
	done    chan struct{}
	err     error // how it ended, once done is closed
}

// Build builds the operator from the repository.
func (s *Stage) Build(ctx context.Context) error {
	args := []string{"build", "-o", s.Binary}
	if s.Race {
		args = append(args, "-race")
	}
	// No other flags: what `go run` and `go test` have compiled already is then not compiled again.
	command := exec.CommandContext(ctx, "go", append(args, ".")...)
	command.Dir = s.Root
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("building the operator: %w\n%s", err, out)
	}
	return nil
}

// Once runs the operator's program to its end, as a user would for a preview, and returns what it prints and its exit code. The
// namespace is the installation's unless a flag says otherwise.
func (s *Stage) Once(ctx context.Context, flags ...string) (stdout, stderr string, code int, err error) {
	var out, log bytes.Buffer
	command := exec.CommandContext(ctx, s.Binary, append([]string{
		"--namespace=" + Namespace, "--metrics-bind-address=0", "--health-probe-bind-address=0",
	}, flags...)...)
	command.Env = append(os.Environ(), "KUBECONFIG="+s.kubeconfig)
	command.Stdout, command.Stderr, command.SysProcAttr = &out, &log, processAttributes()
	if err = command.Run(); command.ProcessState != nil && command.ProcessState.Exited() {
		return out.String(), log.String(), command.ProcessState.ExitCode(), nil
	}
	return out.String(), log.String(), -1, err
}

// StartOperator starts a process of the operator and waits until it is ready. Further flags go behind the stage's own.
func (s *Stage) StartOperator(ctx context.Context, name string, flags ...string) (*Operator, error) {
	probe, err := FreeAddress(ctx)
	if err != nil {
		return nil, err
	}
	o := &Operator{Name: name, LogFile: filepath.Join(s.Dir, name+".log"), ready: "http://" + probe + "/readyz", done: make(chan struct{})}
	// A log of an earlier run may still be some other process's, which goes on with it.
	if err := os.Remove(o.LogFile); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	if o.log, err = os.OpenFile(o.LogFile, os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600); err != nil {
		return nil, err
	}
	// No caller's context: the process lives until it is stopped.
	o.command = exec.CommandContext(context.Background(), s.Binary, append([]string{
		"--namespace=" + Namespace, "--metrics-bind-address=0", "--health-probe-bind-address=" + probe,
	}, flags...)...)
	o.command.Env = append(os.Environ(), "KUBECONFIG="+s.kubeconfig)
	o.command.Stdout, o.command.Stderr = o.log, o.log
	o.command.SysProcAttr = processAttributes()
	if err := o.start(); err != nil {
		o.log.Close()
		return nil, fmt.Errorf("starting operator %s: %w", name, err)
	}
	s.mu.Lock()
	s.operators = append(s.operators, o)
	s.mu.Unlock()
	if err := o.waitReady(ctx); err != nil {
		return nil, fmt.Errorf("operator %s: %w; the end of its log:\n%s", name, err, o.Tail(20))
	}
	return o, nil
}

// start starts the process from a thread that lives as long as it does: Linux sends the parent death signal when the
// thread ends that forked.
func (o *Operator) start() error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := o.command.Start()
		started <- err
		if err == nil {
			o.err = o.command.Wait()
			close(o.done)
		}
	}()
	return <-started
}

func (o *Operator) waitReady(ctx context.Context) error {
	client := &http.Client{Timeout: time.Second}
	// The operator logs each probe that it fails.
	return until(ctx, "its readiness", 250*time.Millisecond, func(ctx context.Context) error {
		select {
		case <-o.done:
			return fmt.Errorf("it ended: %w", o.Err())
		default:
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, o.ready, nil)
		if err != nil {
			return err
		}
		answer, err := client.Do(request)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			body, _ := io.ReadAll(io.LimitReader(answer.Body, 1<<10))
			return fmt.Errorf("%s: %s", answer.Status, bytes.TrimSpace(body))
		}
		return nil
	})
}

// Done is closed when the process has ended.
func (o *Operator) Done() <-chan struct{} { return o.done }

// Err is how the process ended; it waits until it has.
func (o *Operator) Err() error {
	<-o.done
	if o.err == nil {
		return errors.New("exit status 0")
	}
	return o.err
}

// Stop ends the process as Kubernetes ends a pod: it is asked to, and killed if it takes too long.
func (o *Operator) Stop() {
	if o.command.Process.Signal(syscall.SIGTERM) == nil {
		select {
		case <-o.done:
			return
		case <-time.After(10 * time.Second):
		}
	}
	o.Kill()
}

// Kill ends the process at once, as a crash would.
func (o *Operator) Kill() {
	_ = o.command.Process.Kill() // fails only if it has ended
	<-o.done
}

// Signal sends the process a signal.
func (o *Operator) Signal(s os.Signal) error { return o.command.Process.Signal(s) }

// Log is what the process has logged so far.
func (o *Operator) Log() string {
	info, err := o.log.Stat()
	if err != nil {
		return err.Error()
	}
	content, err := io.ReadAll(io.NewSectionReader(o.log, 0, info.Size()))
	if err != nil {
		return err.Error()
	}
	return string(content)
}

// Tail is the last lines of the log.
func (o *Operator) Tail(lines int) string {
	all := strings.Split(strings.TrimRight(o.Log(), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// complaint matches what must never be logged: a right that config/rbac doesn't give, a data race, a crash. The API server
// forbids one more thing, with other words: an Event in a namespace that is being deleted, which is nobody's fault.
var complaint = regexp.MustCompile(`(?i)is forbidden: User|DATA RACE|\bpanic`)

// Complaints are the log's lines that speak of a missing right, a data race or a crash.
func (o *Operator) Complaints() []string {
	var out []string
	for line := range strings.Lines(o.Log()) {
		if complaint.MatchString(line) {
			out = append(out, strings.TrimSpace(line))
		}
	}
	return out
}

// FreeAddress is a loopback address that nobody listens on, below the ports that systems give to outgoing connections.
func FreeAddress(ctx context.Context) (string, error) {
	var config net.ListenConfig
	var last error
	for range 100 {
		address := fmt.Sprintf("127.0.0.1:%d", 10000+rand.IntN(10000))
		listener, err := config.Listen(ctx, "tcp", address)
		if err == nil {
			return address, listener.Close()
		}
		last = err
	}
	return "", fmt.Errorf("finding a free port: %w", last)
}
