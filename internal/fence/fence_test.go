// SPDX-License-Identifier: Apache-2.0

package fence

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// lease is a lock in memory, whose writes may take time or fail.
type lease struct {
	record resourcelock.LeaderElectionRecord
	during func()
	err    error
}

func (l *lease) Get(context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	r := l.record
	return &r, nil, nil
}

func (l *lease) Update(_ context.Context, r resourcelock.LeaderElectionRecord) error {
	if l.during != nil {
		l.during()
	}
	if l.err == nil {
		l.record = r
	}
	return l.err
}

func (l *lease) Create(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	return l.Update(ctx, r)
}
func (l *lease) RecordEvent(string) {}
func (l *lease) Identity() string   { return "me" }
func (l *lease) Describe() string   { return "lease" }

func held(holder string, seconds int) resourcelock.LeaderElectionRecord {
	return resourcelock.LeaderElectionRecord{HolderIdentity: holder, LeaseDurationSeconds: seconds}
}

func TestFence(t *testing.T) {
	now := time.Hour
	f := New()
	f.now = func() time.Duration { return now }
	below := new(lease)
	l := f.Lock(below)
	open := func(want bool, when string) {
		t.Helper()
		if err := f.Check(); (err == nil) != want || err != nil && !errors.Is(err, ErrNotLeader) {
			t.Errorf("%s: %v, want it open: %t", when, err, want)
		}
	}
	renew := func() {
		t.Helper()
		if err := l.Update(t.Context(), held("me", 15)); err != nil {
			t.Fatal(err)
		}
	}
	open(false, "before the election")
	if err := l.Create(t.Context(), held("me", 15)); err != nil {
		t.Fatal(err)
	}
	open(true, "after taking the lease")
	now += 13 * time.Second
	open(true, "within the lease")
	now += time.Second
	open(false, "near its end")
	renew()
	open(true, "renewed, since nobody else took it")

	below.during = func() { now += 5 * time.Second }
	renew()
	now += 9 * time.Second
	open(false, "14 s after the renewal was sent, 9 s after it was answered")

	below.during = nil
	renew()
	below.err = errors.New("timeout")
	now += 10 * time.Second
	if err := l.Update(t.Context(), held("me", 15)); err == nil {
		t.Fatal("no error")
	}
	open(true, "a renewal failed, and the last one holds")
	now += 4 * time.Second
	open(false, "a failed renewal prolongs nothing")

	below.err = nil
	renew()
	below.during = func() { open(false, "while the release is under way") }
	if err := l.Update(t.Context(), held("", 1)); err != nil {
		t.Fatal(err)
	}
	open(false, "after the release")

	below.during = nil
	renew()
	below.record = held("thief", 15)
	if _, _, err := l.Get(t.Context()); err != nil {
		t.Fatal(err)
	}
	open(false, "somebody else is seen with the lease")
}

func TestWithoutElection(t *testing.T) {
	var f *Fence
	if err := f.Check(); err != nil {
		t.Error(err)
	}
}

func TestTransport(t *testing.T) {
	const object = "/api/v1/namespaces/events/services/amf/status"
	f := New()
	sent := 0
	rt := f.Transport(roundTripper(func(*http.Request) (*http.Response, error) {
		sent++
		return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
	}))
	for _, tc := range []struct {
		method, path string
		passes       bool
	}{
		{http.MethodGet, object, true},
		{http.MethodPatch, object, false},
		{http.MethodPut, object, false},
		{http.MethodDelete, "/apis/gateway.networking.k8s.io/v1/namespaces/a/gateways/events", false},
		{http.MethodPost, "/apis/events.k8s.io/v1/namespaces/a/events", true},
		{http.MethodPatch, "/api/v1/namespaces/a/events/x", true},
		{http.MethodPost, "/apis/authorization.k8s.io/v1/subjectaccessreviews", true},
	} {
		r, err := http.NewRequestWithContext(t.Context(), tc.method, "https://cluster"+tc.path, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		before := sent
		answer, err := rt.RoundTrip(r)
		if answer != nil {
			answer.Body.Close()
		}
		if passed := sent > before; passed != tc.passes || passed != (err == nil) || err != nil && !errors.Is(err, ErrNotLeader) {
			t.Errorf("%s %s: sent: %t, want %t; error %v", tc.method, tc.path, passed, tc.passes, err)
		}
	}
}

func TestClock(t *testing.T) {
	for name, now := range map[string]func() time.Duration{"since boot": sinceBoot, "monotonic": monotonic} {
		a := now()
		time.Sleep(20 * time.Millisecond)
		if d := now() - a; d < 20*time.Millisecond || d > 10*time.Second {
			t.Errorf("%s: 20 ms took %s", name, d)
		}
	}
}
