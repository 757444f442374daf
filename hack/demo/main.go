// SPDX-License-Identifier: Apache-2.0

// Command demo shows the operator at work: a Kubernetes cluster without containers, a simulated Avi Controller, the
// operator as a process with its real rights, and a story of Services and a Gateway that come, change and go. Every step
// is checked on both sides, and the exit code is 0 only if each was seen.
//
//	go run ./hack/demo
//
// With KEEP=1 in the environment everything is left running at the end, until ctrl-C. Colours are used on a terminal,
// unless NO_COLOR is set.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/go-logr/logr/funcr"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/avi-l4-operator/avi-l4-operator/hack/demo/stage"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second ctrl-C ends the clean-up too
	err := run(ctx)
	switch {
	case ctx.Err() != nil && err != nil:
		fmt.Fprintln(os.Stderr, "demo: interrupted")
		os.Exit(130)
	case err != nil:
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// Times of the show. The refresh is much shorter than in earnest, so that drift need not be waited for; the latencies
// are those of recorded Controllers.
const (
	refresh      = 3 * time.Second
	health       = time.Second
	readLatency  = 20 * time.Millisecond
	writeLatency = 150 * time.Millisecond
)

// story is what the steps share.
type story struct {
	*stage.Stage
	*teller
	operator *stage.Operator
}

func run(ctx context.Context) (err error) {
	begin := time.Now()
	tell := newTeller(os.Stdout)
	dir := filepath.Join(".local", "demo")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	logs, err := logLibraries(filepath.Join(dir, "libraries.log"))
	if err != nil {
		return err
	}
	defer logs.Close()
	set, err := stage.New(ctx, stage.Options{
		Dir: dir, Binary: filepath.Join("bin", "avi-l4-operator"), Nodes: 3, ClusterName: "demo",
		ReadLatency: readLatency, WriteLatency: writeLatency, Log: tell.progress(),
	})
	if err != nil {
		return err
	}
	s := &story{Stage: set, teller: tell}
	defer func() {
		if s.Cluster != nil {
			tell.say("\nStopping the operator, the Controller and the cluster.")
		}
		err = errors.Join(err, s.Close())
	}()
	for i, step := range steps {
		if why := s.play(ctx, i+1, step); why != nil {
			s.failed(ctx, why)
			err = fmt.Errorf("step %d, %q, was not seen", i+1, step.title)
			break
		}
	}
	if err == nil {
		tell.say("\n%s in %s.", tell.good(fmt.Sprintf("All %d steps were seen", len(steps))), seconds(time.Since(begin)))
	}
	if keep := os.Getenv("KEEP"); keep != "" && keep != "0" && s.operator != nil && ctx.Err() == nil {
		err = errors.Join(err, s.keep(ctx))
	}
	return err
}

// logLibraries sends what the libraries of Kubernetes log to a file. Without that one of them prints a stack trace after half a minute.
func logLibraries(path string) (io.Closer, error) {
	file, err := os.Create(path) // #nosec G304 -- below the working directory
	if err != nil {
		return nil, err
	}
	log := funcr.New(func(prefix, args string) { fmt.Fprintln(file, prefix, args) }, funcr.Options{LogTimestamp: true})
	ctrl.SetLogger(log)
	klog.SetLogger(log)
	return file, nil
}

// play plays one step within its time, and gives up early if a part of the stage has ended.
func (s *story) play(ctx context.Context, number int, step step) error {
	s.title(number, len(steps), step.title, step.about)
	limit := step.limit
	if limit == 0 {
		limit = 30 * time.Second
	}
	bounded, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	bounded, end := context.WithCancelCause(bounded)
	defer end(nil)
	if s.operator != nil {
		go func() {
			if err := s.ended(bounded); err != nil {
				end(err)
			}
		}()
	}
	begin := time.Now()
	err := step.play(bounded, s)
	if err == nil {
		return nil
	}
	if cause := context.Cause(bounded); cause != nil && !errors.Is(cause, context.DeadlineExceeded) {
		err = errors.Join(cause, err)
	}
	return fmt.Errorf("step %d, %q, failed after %s: %w", number, step.title, seconds(time.Since(begin)), err)
}

// failed prints why the story ends early, unless that was asked for.
func (s *story) failed(ctx context.Context, why error) {
	if ctx.Err() != nil {
		return
	}
	s.say("\n%s", s.bad(why.Error()))
	if s.operator != nil {
		s.say("\nThe end of the operator's log, %s:\n%s", relative(s.operator.LogFile), s.operator.Tail(20))
	}
}

// ended waits until a part of the stage has ended by itself, and returns nil if the context does first.
func (s *story) ended(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-s.Cluster.Failed():
		return fmt.Errorf("the cluster: %w", err)
	case <-s.operator.Done():
		return fmt.Errorf("the operator ended: %w", s.operator.Err())
	}
}

// keep leaves everything running until ctrl-C, or until a part of it ends.
func (s *story) keep(ctx context.Context) error {
	kubectl := s.Cluster.Kubectl(ctx)
	s.say(`
Everything is left running; ctrl-C ends it.

  export KUBECONFIG=%s
  kubectl() { %s "$@"; }
  kubectl get services -A
  kubectl apply -f config/samples/loadbalancer-sctp.yaml
  kubectl apply -f config/samples/gateway-sctp.yaml
  kubectl scale deployment mixed --replicas 5

The simulated Controller listens on https://%s, user %s, password %s; its page is %s:

  curl -s --cacert %s -c .local/demo/cookies -d 'username=%s&password=%s' https://%s/login -o /dev/null
  curl -s --cacert %s -b .local/demo/cookies 'https://%s/api/virtualservice?include_name=true'

The operator's log: tail -f %s
It reads the Controller again every %s, in case somebody changed something there.`,
		s.Cluster.Kubeconfig(), relative(kubectl.Path),
		s.Controller.Host(), stage.Username, stage.Password, s.Page,
		relative(s.CAFile()), stage.Username, stage.Password, s.Controller.Host(),
		relative(s.CAFile()), s.Controller.Host(),
		relative(s.operator.LogFile), refresh)
	return s.ended(ctx)
}

// relative is a path as seen from here, if it is below.
func relative(path string) string {
	here, err := os.Getwd()
	if err != nil {
		return path
	}
	if below, err := filepath.Rel(here, path); err == nil && !strings.HasPrefix(below, "..") {
		return below
	}
	return path
}
