// SPDX-License-Identifier: Apache-2.0

// Package fence keeps a process from beginning a write once another process may hold its lease. Leader election alone doesn't: it
// ends the process some time after the lease is lost, and a process that was stopped, or starved of CPU, goes on in between
// where it was.
package fence

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"sync"
	"time"

	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// ErrNotLeader is the error of writes that were not sent, because this process doesn't hold the lease, or another one may.
var ErrNotLeader = errors.New("not sent: another replica may hold the lease")

// A Fence is open while this process is sure to hold its lease. A nil Fence is always open: there is no election.
type Fence struct {
	now func() time.Duration

	mu    sync.Mutex
	until time.Duration // on the clock of now; the fence is closed from then on
}

// New returns a Fence that is closed until the lease is taken.
func New() *Fence { return &Fence{now: sinceBoot} }

// Check returns nil if a write may begin now, and ErrNotLeader else.
func (f *Fence) Check() error {
	if f == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.now() < f.until {
		return nil
	}
	return ErrNotLeader
}

// renewed opens the fence for a lease that was written at a time or later. Others count its duration from when they see it,
// which is no earlier. A tenth of it is kept for clocks that don't run alike and for the way to the Controller.
func (f *Fence) renewed(at, lease time.Duration) { f.set(at + lease - lease/10) }

func (f *Fence) set(until time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.until = until
}

// Lock wraps the lock of a leader election, of which the fence learns when the lease was last renewed.
func (f *Fence) Lock(next resourcelock.Interface) resourcelock.Interface { return &lock{next, f} }

type lock struct {
	resourcelock.Interface
	fence *Fence
}

// Get closes the fence as soon as somebody else is seen to hold the lease, however much of it was left.
func (l *lock) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	record, raw, err := l.Interface.Get(ctx)
	if err == nil && record.HolderIdentity != l.Identity() {
		l.fence.set(0)
	}
	return record, raw, err //nolint:wrapcheck // client-go looks at its own errors
}

func (l *lock) Create(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	return l.write(ctx, r, l.Interface.Create)
}

// Update renews, takes or releases the lease. A release closes the fence first: another replica may take the lease at once.
func (l *lock) Update(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	return l.write(ctx, r, l.Interface.Update)
}

func (l *lock) write(ctx context.Context, r resourcelock.LeaderElectionRecord,
	next func(context.Context, resourcelock.LeaderElectionRecord) error) error {
	ours := r.HolderIdentity == l.Identity()
	if !ours {
		l.fence.set(0)
	}
	at := l.fence.now()
	err := next(ctx, r)
	if err == nil && ours {
		l.fence.renewed(at, time.Duration(r.LeaseDurationSeconds)*time.Second)
	}
	return err
}

// Transport wraps the connections to the API server, so that it gets no write while the fence is closed. Events, and the questions
// that the metrics server asks about its clients, are no changes and pass.
func (f *Fence) Transport(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		if err := f.Check(); err != nil && changes(r) {
			if r.Body != nil {
				_ = r.Body.Close() // a RoundTripper has to, also where it sends nothing
			}
			return nil, fmt.Errorf("%s %s: %w", r.Method, r.URL.Path, err)
		}
		return next.RoundTrip(r) //nolint:wrapcheck // the caller's to read
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// unfenced are the paths of requests that are no reads and change nothing that another replica relies on.
var unfenced = regexp.MustCompile(`^/apis/(authentication|authorization|events)\.k8s\.io/|^/api/v1/namespaces/[^/]+/events(/|$)`)

func changes(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return false
	}
	return !unfenced.MatchString(r.URL.Path)
}
