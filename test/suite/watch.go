// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// KubeWrite is a request of the operator that changes something at the API server, or might.
type KubeWrite struct{ Method, Path, Body string }

func (w KubeWrite) String() string { return strings.TrimSpace(w.Method + " " + w.Path + " " + w.Body) }

// kubeWrites collects the writes that pass through it. Events and Leases are no state of anybody's object and are left out.
type kubeWrites struct {
	mu      sync.Mutex
	list    []KubeWrite
	refused int
	around  func(w KubeWrite, answer int)
}

// transport is for rest.Config.Wrap. A write that the API server refuses because the object has changed since is none.
func (k *kubeWrites) transport(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		if !changes(r) {
			answer, err := next.RoundTrip(r)
			k.heed(answer)
			return answer, err
		}
		body, err := bodyOf(r)
		if err != nil {
			return nil, err
		}
		w := KubeWrite{r.Method, r.URL.Path, body}
		k.mu.Lock()
		around := k.around
		k.mu.Unlock()
		if around != nil {
			around(w, 0)
		}
		answer, err := next.RoundTrip(r)
		if around != nil {
			defer func() { around(w, statusOf(answer)) }()
		}
		k.heed(answer)
		if err == nil && answer.StatusCode == http.StatusConflict {
			return answer, nil
		}
		k.mu.Lock()
		defer k.mu.Unlock()
		k.list = append(k.list, w)
		return answer, err
	})
}

// statusOf is an answer's status, -1 if there was no answer.
func statusOf(answer *http.Response) int {
	if answer == nil {
		return -1
	}
	return answer.StatusCode
}

// heed counts what the user has no right to.
func (k *kubeWrites) heed(answer *http.Response) {
	if answer == nil || answer.StatusCode != http.StatusForbidden {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.refused++
}

// Forbidden is how many of the operator's requests to the API server were refused for a lack of rights so far.
func (e *Env) Forbidden() int {
	e.kube.mu.Lock()
	defer e.kube.mu.Unlock()
	return e.kube.refused
}

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func changes(r *http.Request) bool {
	writes := r.Method == http.MethodPost || r.Method == http.MethodPut || r.Method == http.MethodPatch || r.Method == http.MethodDelete
	return writes && !strings.Contains(r.URL.Path, "/apis/events.k8s.io/") && !strings.Contains(r.URL.Path, "/apis/coordination.k8s.io/")
}

// bodyOf reads a request's body and puts it back.
func bodyOf(r *http.Request) (string, error) {
	if r.Body == nil {
		return "", nil
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return "", fmt.Errorf("reading the body of %s %s: %w", r.Method, r.URL.Path, err)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return string(body), nil
}

// KubeWrites lists the operator's requests to the API server since the last ResetKubeWrites that are no reads and concern the
// test's own objects: those in its namespaces, and others that are named after it. A request counts even if the API server finds
// that it changes nothing, but not if it refuses it as out of date. Events and Leases are left out.
func (e *Env) KubeWrites() (out []KubeWrite) {
	e.kube.mu.Lock()
	defer e.kube.mu.Unlock()
	for _, w := range e.kube.list {
		if slices.ContainsFunc(strings.Split(w.Path, "/"), func(s string) bool { return s == e.Cluster || strings.HasPrefix(s, e.Cluster+"-") }) {
			out = append(out, w)
		}
	}
	return out
}

// AroundKubeWrites has a function called by each of the operator's writes to the API server, as KubeWrites has them: before it is sent,
// with 0, and with the answer's status, or -1 for none, before the operator knows.
func (e *Env) AroundKubeWrites(f func(w KubeWrite, answer int)) {
	e.kube.mu.Lock()
	defer e.kube.mu.Unlock()
	e.kube.around = f
}

// ResetKubeWrites forgets the writes so far.
func (e *Env) ResetKubeWrites() {
	e.kube.mu.Lock()
	defer e.kube.mu.Unlock()
	e.kube.list = nil
}

// Mark is a moment in the order of the operator's runs.
type Mark int

// lastRun is the last run of a controller for one object: begun and ended are its places in the order of all runs' beginnings.
type lastRun struct {
	id    string // of the reconcile
	begun Mark
	open  bool // has not ended
	done  bool // it ended and asked for no other run: without an error, or with one that needs a person
}

// runKey names an object in a controller.
type runKey struct{ controller, namespace, name string }

// runs follows what the log says of each reconcile, which is controller-runtime's own, and of each sweep, since nothing else shows
// a test, and keeps the log itself.
type runs struct {
	mu     sync.Mutex
	count  Mark
	last   map[runKey]lastRun
	lines  []string // the last ones: see keptLines
	sweeps int      // for objects whose owners are gone
}

func (r *runs) begin(key runKey, id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count++
	r.last[key] = lastRun{id: id, begun: r.count, open: true}
}

func (r *runs) end(key runKey, id string, done bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if was := r.last[key]; was.id == id {
		was.open, was.done = false, done
		r.last[key] = was
	}
}

func (r *runs) swept() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sweeps++
}

// keptLines is how many lines of the log are kept at least: far more than a test of seconds has, and little beside what is measured.
const keptLines = 5000

func (r *runs) line(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.lines) >= 2*keptLines {
		r.lines = slices.Clone(r.lines[keptLines:])
	}
	r.lines = append(r.lines, text)
}

// Mark is now: LookedAt waits for runs that begin after it.
func (e *Env) Mark() Mark {
	e.runs.mu.Lock()
	defer e.runs.mu.Unlock()
	return e.runs.count
}

// LookedAt waits until a controller, named as in the metrics, has begun after a mark and ended a run for each of the objects, the
// last of which asked for no other. It is the proof that the operator has seen something and left it alone.
func (e *Env) LookedAt(since Mark, controller string, objects ...client.Object) {
	e.T.Helper()
	e.runsOf(since, controller, objects, func(last lastRun) bool { return last.done })
}

func (e *Env) runsOf(since Mark, controller string, objects []client.Object, ended func(lastRun) bool) {
	e.T.Helper()
	e.Eventually(fmt.Sprintf("%s looks at %d objects", controller, len(objects)), func() error {
		e.runs.mu.Lock()
		defer e.runs.mu.Unlock()
		for _, o := range objects {
			last, ok := e.runs.last[runKey{controller, o.GetNamespace(), o.GetName()}]
			if !ok || last.begun <= since || !ended(last) {
				return fmt.Errorf("of %s/%s there is %+v, the mark is %d", o.GetNamespace(), o.GetName(), last, since)
			}
		}
		return nil
	})
}

// LookAgain has the operator look at everything anew, as a change of its settings does, and waits until a controller has looked
// at the objects, as LookedAt does.
func (e *Env) LookAgain(controller string, objects ...client.Object) {
	e.T.Helper()
	since := e.Touch()
	e.LookedAt(since, controller, objects...)
}

// touched begins the name of a setting that nobody knows: the operator compares which there are, not their values.
const touched = "touched-"

// Touch changes the settings of a running operator without a consequence other than that it looks at everything anew.
func (e *Env) Touch() Mark {
	e.T.Helper()
	since := e.Mark()
	Update(e, e.ConfigMap(), func(c *corev1.ConfigMap) { // several tests may share an operator
		maps.DeleteFunc(c.Data, func(key, _ string) bool { return strings.HasPrefix(key, touched) })
		c.Data[fmt.Sprint(touched, time.Now().UnixNano())] = "true"
	})
	return since
}

// Logged lists what the operator has logged, without debugging: "level message key value ...".
func (e *Env) Logged() []string {
	e.runs.mu.Lock()
	defer e.runs.mu.Unlock()
	return slices.Clone(e.runs.lines)
}

// runSink is the operator's log: it reports each reconcile and each sweep to runs, and passes everything on.
type runSink struct {
	runs *runs
	next logr.LogSink // nil: nobody reads it
	key  runKey
	id   string
}

// reconcileLevel is the verbosity at which controller-runtime logs reconciles.
const reconcileLevel = 5

// Init implements logr.LogSink.
func (s runSink) Init(info logr.RuntimeInfo) {
	if s.next != nil {
		s.next.Init(info)
	}
}

// Enabled implements logr.LogSink.
func (s runSink) Enabled(level int) bool {
	return level <= 1 || level == reconcileLevel || s.next != nil && s.next.Enabled(level)
}

// Info implements logr.LogSink.
func (s runSink) Info(level int, message string, values ...any) {
	switch {
	case level <= 0:
		s.runs.line(fmt.Sprintln("info", message, values))
	case level == 1 && message == "looked for orphans":
		s.runs.swept()
	case level == reconcileLevel && s.id != "" && message == "Reconciling":
		s.runs.begin(s.key, s.id)
	case level == reconcileLevel && s.id != "" && strings.HasPrefix(message, "Reconcile "):
		s.runs.end(s.key, s.id, message == "Reconcile successful")
	}
	if s.next != nil && s.next.Enabled(level) {
		s.next.Info(level, message, values...)
	}
}

// Error implements logr.LogSink.
func (s runSink) Error(err error, message string, values ...any) {
	if message == "Reconciler error" {
		s.runs.end(s.key, s.id, errors.Is(err, reconcile.TerminalError(nil)))
	}
	s.runs.line(fmt.Sprintln("error", message, err, values))
	if s.next != nil {
		s.next.Error(err, message, values...)
	}
}

// WithValues implements logr.LogSink.
func (s runSink) WithValues(values ...any) logr.LogSink {
	for i := 0; i+1 < len(values); i += 2 {
		text := fmt.Sprint(values[i+1])
		switch values[i] {
		case "controller":
			s.key.controller = text
		case "namespace":
			s.key.namespace = text
		case "name":
			s.key.name = text
		case "reconcileID":
			s.id = text
		}
	}
	if s.next != nil {
		s.next = s.next.WithValues(values...)
	}
	return s
}

// WithName implements logr.LogSink.
func (s runSink) WithName(name string) logr.LogSink {
	if s.next != nil {
		s.next = s.next.WithName(name)
	}
	return s
}

// Tried is LookedAt for runs that may have failed, or ask for another.
func (e *Env) Tried(since Mark, controller string, objects ...client.Object) {
	e.T.Helper()
	e.runsOf(since, controller, objects, func(last lastRun) bool { return !last.open })
}

// Sweeps waits until the operator has looked n times more for objects whose owners are gone, from the beginning to the end.
func (e *Env) Sweeps(n int) {
	e.T.Helper()
	count := func() int {
		e.runs.mu.Lock()
		defer e.runs.mu.Unlock()
		return e.runs.sweeps
	}
	want := count() + n + 1 // one may have begun before
	e.within(time.Minute, fmt.Sprintf("%d sweeps", n), func() error {
		if have := count(); have < want {
			return fmt.Errorf("%d are to come", want-have)
		}
		return nil
	})
}

// Loads waits until the operator has read everything of its own on the Controller n times more, from the beginning of a read to
// its end.
func (e *Env) Loads(n int) {
	e.T.Helper()
	at := e.Operator.Mirror.LoadedAt()
	e.within(time.Minute, fmt.Sprintf("%d complete reads of the Controller", n), func() error {
		if now := e.Operator.Mirror.LoadedAt(); !now.Equal(at) {
			at, n = now, n-1
		}
		if n >= 0 { // the first may have begun before
			return fmt.Errorf("%d are to come", n+1)
		}
		return nil
	})
}
