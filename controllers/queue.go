// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"
)

// queue is a controller's queue, for code that queues objects without an event of theirs. The zero value drops what it is
// given: a controller that doesn't run yet queues everything with its first list.
type queue struct {
	mu    sync.Mutex
	inner workqueue.TypedRateLimitingInterface[reconcile.Request]
}

// capture is a source that brings no events and keeps the controller's queue.
func (q *queue) capture() source.Source {
	return source.Func(func(_ context.Context, inner workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.inner = inner
		return nil
	})
}

// once is a source of one request, when the controller starts.
func once(r reconcile.Request) source.Source {
	return source.Func(func(_ context.Context, q workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		q.Add(r)
		return nil
	})
}

func (q *queue) get() workqueue.TypedRateLimitingInterface[reconcile.Request] {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.inner
}

// enqueue queues keys.
func (q *queue) enqueue(keys ...types.NamespacedName) {
	if inner := q.get(); inner != nil {
		for _, k := range keys {
			inner.Add(reconcile.Request{NamespacedName: k})
		}
	}
}

// hurry queues keys without their back-off.
func (q *queue) hurry(keys ...types.NamespacedName) {
	if inner := q.get(); inner != nil {
		for _, k := range keys {
			inner.Forget(reconcile.Request{NamespacedName: k})
			inner.Add(reconcile.Request{NamespacedName: k})
		}
	}
}

// endpointPriority is that of an owner whose servers have changed: before all that is only to be made or looked at again.
const endpointPriority = 10

// before queues a key before those that are queued in the usual way.
func (q *queue) before(key types.NamespacedName) { q.at(endpointPriority, key) }

// later queues keys after those that are queued in the usual way, as controller-runtime does with an informer's first list.
func (q *queue) later(keys ...types.NamespacedName) { q.at(handler.LowPriority, keys...) }

// at queues keys with a priority. One that is queued already keeps its own if that is higher.
func (q *queue) at(priority int, keys ...types.NamespacedName) {
	switch inner := q.get().(type) {
	case nil:
	case priorityqueue.PriorityQueue[reconcile.Request]:
		inner.AddWithOpts(priorityqueue.AddOpts{Priority: &priority}, requestsFor(keys...)...)
	default:
		for _, request := range requestsFor(keys...) {
			inner.Add(request)
		}
	}
}

// requestsFor turns keys into requests.
func requestsFor(keys ...types.NamespacedName) []reconcile.Request {
	out := make([]reconcile.Request, len(keys))
	for i, k := range keys {
		out[i] = reconcile.Request{NamespacedName: k}
	}
	return out
}

// addressPoll is how soon an address that wasn't given yet is asked for again.
const addressPoll = 2 * time.Second

// calm spaces the updates of one owner during a burst of endpoint changes, each of which would cost a call. The first change is sent
// at once; those that follow are sent when there has been none for calmQuiet, and every calmMost while they go on. The zero value is
// ready.
type calm struct {
	mu   sync.Mutex
	last map[types.NamespacedName]*burst
	full int // owners that are remembered when the old ones are forgotten
}

type burst struct {
	sent  time.Time   // when the owner was last queued
	since time.Time   // of the first change that waits; zero if none does
	timer *time.Timer // queues the owner; nil if nothing waits
}

const (
	calmQuiet = 400 * time.Millisecond
	calmMost  = 2 * time.Second
	calmKept  = 4096 // owners that are remembered at least
)

// change has an owner queued by send, at once or in a moment.
func (c *calm) change(key types.NamespacedName, now time.Time, send func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last == nil {
		c.last = make(map[types.NamespacedName]*burst)
	}
	b := c.last[key]
	if b == nil {
		c.forgetOld(now)
		b = new(burst)
		c.last[key] = b
	}
	wait := b.wait(now)
	if wait <= 0 {
		b.send(now, send)
		return
	}
	if b.since.IsZero() {
		b.since = now
	}
	if b.timer != nil {
		b.timer.Stop()
	}
	b.timer = time.AfterFunc(wait, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if !b.since.IsZero() { // else a change that came meanwhile has taken the waiting ones along
			b.send(time.Now(), send)
		}
	})
}

// wait is how long a change that comes now is to wait for others.
func (b *burst) wait(now time.Time) time.Duration {
	switch {
	case !b.since.IsZero():
		return min(calmQuiet, b.since.Add(calmMost).Sub(now))
	case now.Sub(b.sent) < calmQuiet:
		return calmQuiet
	}
	return 0
}

func (b *burst) send(now time.Time, send func()) {
	if b.timer != nil {
		b.timer.Stop()
	}
	b.sent, b.since, b.timer = now, time.Time{}, nil
	send()
}

// forgetOld forgets, if many are remembered, those that have long been calm. It looks at all when they are twice as many as it left.
func (c *calm) forgetOld(now time.Time) {
	if len(c.last) < max(calmKept, c.full) {
		return
	}
	for key, b := range c.last {
		if b.timer == nil && now.Sub(b.sent) > calmMost {
			delete(c.last, key)
		}
	}
	c.full = 2 * len(c.last)
}
