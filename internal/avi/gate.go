// SPDX-License-Identifier: Apache-2.0

package avi

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"slices"
	"sync"
	"time"
)

// gate lets calls out when the throttle allows it, and decides whose turn it is. A change of what exists (PATCH), as of a pool's servers,
// goes before all else, but for every fourth call, so that nothing waits for ever. Then each namespace has the same share, and in it
// each owner: one that makes a thousand pools costs its neighbours one call's time and not a thousand.
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

// share is whom a call is made for.
type share struct{ namespace, owner string }

type shareKey struct{}

// WithShare says for whom calls are made with the context. Namespaces have equal shares of the calls, and owners of those of their
// namespace; calls without a share have that of a namespace together.
func WithShare(ctx context.Context, namespace, owner string) context.Context {
	return context.WithValue(ctx, shareKey{}, share{namespace, owner})
}

// turn is a call that waits.
type turn struct {
	share
	come chan struct{} // closed when it is its turn
	left bool          // it doesn't wait any more
}

// enter waits for the call's turn; leave must be called after it, unless the error says why it doesn't come.
func (g *gate) enter(ctx context.Context, method string) error {
	s, _ := ctx.Value(shareKey{}).(share)
	w := &turn{share: s, come: make(chan struct{})}
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

// line is calls that wait, by namespace and owner. The next is that of the namespace, and in it of the owner, which has had the fewest
// since it came into the line.
type line struct {
	namespaces group[group[[]*turn]]
}

// group is what waits, by key, with how many turns each has had. One that comes begins where the one that is next stands.
type group[T any] struct {
	members []*member[T]
}

type member[T any] struct {
	key     string
	turns   int
	waiting T
}

// of is the member with a key, which is made if there is none.
func (g *group[T]) of(key string) *member[T] {
	i := slices.IndexFunc(g.members, func(m *member[T]) bool { return m.key == key })
	if i >= 0 {
		return g.members[i]
	}
	m := &member[T]{key: key}
	if len(g.members) > 0 {
		m.turns = g.members[g.next()].turns
	}
	g.members = append(g.members, m)
	return m
}

func (g *group[T]) next() int {
	best := 0
	for i, m := range g.members {
		if m.turns < g.members[best].turns {
			best = i
		}
	}
	return best
}

func (l *line) push(w *turn) {
	owner := l.namespaces.of(w.namespace).waiting.of(w.owner)
	owner.waiting = append(owner.waiting, w)
}

// empty drops those who have left from the front.
func (l *line) empty() bool {
	for len(l.namespaces.members) > 0 {
		if !l.front().left {
			return false
		}
		l.take(false)
	}
	return true
}

func (l *line) front() *turn {
	ns := l.namespaces.members[l.namespaces.next()]
	return ns.waiting.members[ns.waiting.next()].waiting[0]
}

// pop takes the next; there must be one.
func (l *line) pop() *turn { return l.take(true) }

func (l *line) take(counts bool) *turn {
	i := l.namespaces.next()
	ns := l.namespaces.members[i]
	j := ns.waiting.next()
	owner := ns.waiting.members[j]
	w := owner.waiting[0]
	owner.waiting = owner.waiting[1:]
	if counts {
		ns.turns++
		owner.turns++
	}
	if len(owner.waiting) == 0 {
		ns.waiting.members = slices.Delete(ns.waiting.members, j, j+1)
	}
	if len(ns.waiting.members) == 0 {
		l.namespaces.members = slices.Delete(l.namespaces.members, i, i+1)
	}
	return w
}
