// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// grace is how long a process may take to end when it is asked to.
const grace = 5 * time.Second

// errPortTaken marks the end of a process whose port somebody took between our choosing it and its listening on it.
var errPortTaken = errors.New("port taken by another process")

// process is one program of the cluster, which may be started more than once.
type process struct {
	name    string
	path    string
	args    []string
	logFile string
	healthy func(context.Context) error // nil when there is nothing to ask
	launch  func(func() error) error    // how to fork; see launcher
	died    func(*process, error)       // called when it ends without having been told to

	mu      sync.Mutex
	current *execution // nil before the first start
}

// execution is one run of a process.
type execution struct {
	command *exec.Cmd
	done    chan struct{} // closed when the process has ended and err is set
	err     error
	offset  int64 // where in the log file this execution's output begins
	stopped bool  // told to end, so its end is no failure; guarded by process.mu
}

// start starts the process and waits until it is healthy.
func (p *process) start(ctx context.Context) error {
	p.mu.Lock()
	if p.current != nil && !p.current.ended() {
		p.mu.Unlock()
		return fmt.Errorf("start %s: it is running", p.name)
	}
	e, err := p.execute()
	if err == nil {
		p.current = e
	}
	p.mu.Unlock()
	if err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	return p.waitHealthy(ctx, e)
}

func (p *process) execute() (*execution, error) {
	log, err := os.OpenFile(p.logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	// The child has its own copy of the file once it runs.
	defer log.Close()
	info, err := log.Stat()
	if err != nil {
		return nil, err
	}
	// No caller's context: the process lives until it is stopped.
	command := exec.CommandContext(context.Background(), p.path, p.args...)
	e := &execution{command: command, done: make(chan struct{}), offset: info.Size()}
	e.command.Stdout, e.command.Stderr = log, log
	e.command.SysProcAttr = processAttributes()
	if err := p.launch(e.command.Start); err != nil {
		return nil, err
	}
	go func() {
		e.err = e.command.Wait()
		close(e.done)
		p.mu.Lock()
		stopped := e.stopped
		p.mu.Unlock()
		if !stopped {
			p.died(p, p.failure(e))
		}
	}()
	return e, nil
}

func (e *execution) ended() bool {
	select {
	case <-e.done:
		return true
	default:
		return false
	}
}

// waitHealthy waits until the process answers that it is healthy, or has ended.
func (p *process) waitHealthy(ctx context.Context, e *execution) error {
	if p.healthy == nil {
		return nil
	}
	begin := time.Now()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	var err error
	for {
		now := p.healthy(ctx)
		if now == nil {
			return nil
		}
		if err == nil || ctx.Err() == nil { // that the time is over while it is asked says nothing about the process
			err = now
		}
		select {
		case <-e.done:
			return p.failure(e)
		case <-ctx.Done():
			return fmt.Errorf("%s is not healthy after %s: %w (last check: %w)\n%s",
				p.name, time.Since(begin).Round(time.Second), context.Cause(ctx), err, p.tail(e))
		case <-ticker.C:
		}
	}
}

// failure says how an execution ended.
func (p *process) failure(e *execution) error {
	how := "exit status 0"
	if e.err != nil {
		how = e.err.Error()
	}
	tail := p.tail(e)
	if strings.Contains(tail, "address already in use") {
		return fmt.Errorf("%s: %w\n%s", p.name, errPortTaken, tail)
	}
	return fmt.Errorf("%s ended: %s\n%s", p.name, how, tail)
}

// tail returns the last lines that an execution wrote.
func (p *process) tail(e *execution) string {
	const lines, size = 20, 64 << 10
	log, err := os.Open(p.logFile)
	if err != nil {
		return err.Error()
	}
	defer log.Close()
	info, err := log.Stat()
	if err != nil {
		return err.Error()
	}
	begin := max(e.offset, info.Size()-size)
	content, err := io.ReadAll(io.NewSectionReader(log, begin, info.Size()-begin))
	if err != nil {
		return err.Error()
	}
	all := strings.Split(string(bytes.TrimSpace(content)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// stop ends the process: politely first, by force after a while. A process that does not run is already stopped.
func (p *process) stop() {
	if e := p.signal(syscall.SIGTERM); e != nil {
		select {
		case <-e.done:
		case <-time.After(grace):
			p.kill()
		}
	}
}

// kill ends the process at once, without letting it clean up.
func (p *process) kill() {
	if e := p.signal(os.Kill); e != nil {
		<-e.done
	}
}

// signal returns the execution that got the signal, nil if none runs.
func (p *process) signal(s os.Signal) *execution {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.current
	if e == nil || e.ended() {
		return nil
	}
	e.stopped = true
	if err := e.command.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		// Systems that know no polite signal are left with the other.
		_ = e.command.Process.Kill()
	}
	return e
}

// launcher forks every process from one operating system thread that lives as long as the cluster: Linux sends the
// parent death signal when the thread that forked ends, not the process, and Go ends threads as it sees fit.
type launcher struct {
	requests chan func()
}

func newLauncher() *launcher {
	l := &launcher{requests: make(chan func())}
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		for request := range l.requests {
			request()
		}
	}()
	return l
}

func (l *launcher) run(f func() error) error {
	result := make(chan error, 1)
	l.requests <- func() { result <- f() }
	return <-result
}

// close must come after the last process has ended.
func (l *launcher) close() { close(l.requests) }
