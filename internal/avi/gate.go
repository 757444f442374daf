// SPDX-License-Identifier: Apache-2.0

package avi

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// gate lets calls out when the throttle allows it, and decides whose turn it is. A change of what exists (PATCH), as of a pool's servers,
// goes before all else, but for every fourth call, so that nothing waits for ever. Then namespaces take turns, a few calls each, and a
// namespace's runs as line says: one that makes a thousand pools costs its neighbours a round of calls and not a thousand.
type gate struct {
	changed func(window int, rate float64) // of what the throttle allows; called with the lock

	mu sync.Mutex
	throttle
	busy          int
	urgent, usual line
	row           int // calls in a row that went before usual ones
	timer         *time.Timer
	reported      [2]float64
}

// urgentRow is how many urgent calls go before a usual one that waits.
const urgentRow = 3

// run is whom calls are made for: one run for one owner.
type run struct {
	namespace string
	begun     int64 // its place in the order of all runs' beginnings
	turns     int   // under the gate's lock
}

type runKey struct{}

var begun atomic.Int64

// WithRun says that calls with the context are made by a run of its own for an owner in a namespace. Namespaces have equal shares of the
// calls, whatever they ask for, and in a namespace runs are finished in the order of their beginnings, but for large ones. Each call
// without a run is one of its own, in a namespace of them all.
func WithRun(ctx context.Context, namespace string) context.Context {
	return context.WithValue(ctx, runKey{}, newRun(namespace))
}

func newRun(namespace string) *run { return &run{namespace: namespace, begun: begun.Add(1)} }

// turn is a call that waits.
type turn struct {
	*run
	come chan struct{} // closed when it is its turn
	left bool          // it doesn't wait any more
}

// enter waits for the call's turn; leave must be called after it, unless the error says why it doesn't come.
func (g *gate) enter(ctx context.Context, method string) error {
	r, ok := ctx.Value(runKey{}).(*run)
	if !ok {
		r = newRun("")
	}
	w := &turn{run: r, come: make(chan struct{})}
	g.mu.Lock()
	if pause := time.Until(g.until); pause > g.slow() {
		g.mu.Unlock()
		return &Error{Message: fmt.Sprintf("not sent, the Controller has asked to be left alone for %s", pause.Round(time.Second)),
			Class: Transient, Reason: ReasonThrottled, RetryAfter: pause}
	}
	if end, ok := ctx.Deadline(); ok && g.delay(time.Now()) > time.Until(end) {
		g.mu.Unlock()
		return &Error{Message: "not sent, the rate limit lets it through only after the caller's deadline", Class: Transient, Reason: ReasonTimeout,
			cause: context.DeadlineExceeded}
	}
	if method == http.MethodPatch {
		g.urgent.push(w)
	} else {
		g.usual.push(w)
	}
	g.dispatch()
	g.mu.Unlock()
	select {
	case <-w.come:
		return nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-w.come: // just now
		g.busy--
		g.dispatch()
	default:
		w.left = true
	}
	return ctx.Err()
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.busy--
	g.dispatch()
}

// learn feeds the throttle.
func (g *gate) learn(a answer) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.heed(time.Now(), a)
	g.dispatch()
	rate := 0.0
	if g.learnt > 0 {
		rate = math.Round(10*g.current()) / 10
	}
	if now := [2]float64{float64(g.atOnce()), rate}; now != g.reported {
		g.reported = now
		g.changed(g.atOnce(), rate)
	}
}

// dispatch lets out what may go; g.mu is held.
func (g *gate) dispatch() {
	for g.busy < g.atOnce() && (!g.urgent.empty() || !g.usual.empty()) {
		if wait := g.wait(time.Now()); wait > 0 {
			if g.timer != nil {
				g.timer.Stop()
			}
			g.timer = time.AfterFunc(wait, func() {
				g.mu.Lock()
				defer g.mu.Unlock()
				g.dispatch()
			})
			return
		}
		g.busy++
		from := &g.usual
		if !g.urgent.empty() && (g.row < urgentRow || g.usual.empty()) {
			from = &g.urgent
			g.row++
		} else {
			g.row = 0
		}
		close(from.pop().come)
	}
}

const (
	// namespaceRow is how many calls in a row a namespace has before the next one's turn.
	namespaceRow = 8
	// largeRun is how many calls a run has before those that have had fewer go first.
	largeRun = 64
	// oldestRow is how often a turn of the namespace goes to the run that began first, however large it is: every such turn.
	oldestRow = 4
)

// line is calls that wait. Namespaces take turns. In a namespace the run that began first goes first, so that owners are finished one
// after the other: all at once they would leave the Controller idle while their statuses are written. A run of many calls lets others
// pass.
type line struct {
	namespaces []*namespace
}

type namespace struct {
	name  string
	turns int // since it came into the line
	runs  []*waiting
}

// waiting are the calls of a run.
type waiting struct {
	run   *run
	turns []*turn
}

func (n *namespace) level() int { return n.turns / namespaceRow }

// next is the run whose turn it is.
func (n *namespace) next() *waiting {
	if n.turns%oldestRow == oldestRow-1 {
		return n.runs[0]
	}
	return slices.MinFunc(n.runs, func(a, b *waiting) int { return a.run.turns/largeRun - b.run.turns/largeRun })
}

// next is the namespace whose turn it is.
func (l *line) next() *namespace {
	return slices.MinFunc(l.namespaces, func(a, b *namespace) int {
		return cmp.Or(a.level()-b.level(), cmp.Compare(a.runs[0].run.begun, b.runs[0].run.begun))
	})
}

// push has a call wait. A namespace that comes begins where the one that is next stands.
func (l *line) push(w *turn) {
	i := slices.IndexFunc(l.namespaces, func(n *namespace) bool { return n.name == w.namespace })
	if i < 0 {
		i = len(l.namespaces)
		n := &namespace{name: w.namespace}
		if i > 0 {
			n.turns = namespaceRow * l.next().level()
		}
		l.namespaces = append(l.namespaces, n)
	}
	n := l.namespaces[i]
	at, found := slices.BinarySearchFunc(n.runs, w.begun, func(r *waiting, begun int64) int { return cmp.Compare(r.run.begun, begun) })
	if !found {
		n.runs = slices.Insert(n.runs, at, &waiting{run: w.run})
	}
	n.runs[at].turns = append(n.runs[at].turns, w)
}

// empty drops those who have left from the front.
func (l *line) empty() bool {
	for len(l.namespaces) > 0 {
		n := l.next()
		r := n.next()
		if !r.turns[0].left {
			return false
		}
		l.drop(n, r)
	}
	return true
}

// pop takes the next; there must be one.
func (l *line) pop() *turn {
	n := l.next()
	r := n.next()
	w := r.turns[0]
	n.turns++
	r.run.turns++
	l.drop(n, r)
	return w
}

// drop takes the first call of a run away.
func (l *line) drop(n *namespace, r *waiting) {
	if r.turns = r.turns[1:]; len(r.turns) == 0 {
		n.runs = slices.DeleteFunc(n.runs, func(w *waiting) bool { return w == r })
	}
	if len(n.runs) == 0 {
		l.namespaces = slices.DeleteFunc(l.namespaces, func(m *namespace) bool { return m == n })
	}
}
