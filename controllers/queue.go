// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"
)

// queue is a controller's queue, for those who queue objects without an event of theirs. The zero value drops what it is
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

// calm spaces the updates of one owner during a burst of endpoint changes. A first change waits a tenth of a second
// for its like; while changes go on, updates come half a second apart, then one, then two.
type calm struct {
	mu   sync.Mutex
	last map[types.NamespacedName]burst
}

type burst struct {
	at  time.Time // of the last update
	gap time.Duration
}

const (
	calmFirst = 100 * time.Millisecond
	calmGap   = 500 * time.Millisecond
	calmMax   = 2 * time.Second
	calmReset = 5 * time.Second
)

func (c *calm) delay(key types.NamespacedName, now time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := c.last[key]
	return max(calmFirst, b.gap-now.Sub(b.at))
}

func (c *calm) wrote(key types.NamespacedName, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last == nil {
		c.last = make(map[types.NamespacedName]burst)
	}
	b := c.last[key]
	switch {
	case now.Sub(b.at) > calmReset:
		b.gap = calmGap
	default:
		b.gap = min(2*b.gap, calmMax)
	}
	b.at = now
	c.last[key] = b
	if len(c.last) > 4096 { // forget what has long been calm
		for k, b := range c.last {
			if now.Sub(b.at) > calmReset {
				delete(c.last, k)
			}
		}
	}
}
