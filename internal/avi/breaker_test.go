// SPDX-License-Identifier: Apache-2.0

package avi

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func TestBreaker(t *testing.T) {
	var status atomic.Int32
	status.Store(200)
	f := newFake(t, func(w http.ResponseWriter, _ *http.Request) { reply(w, int(status.Load()), `{}`) })
	reg, clk := prometheus.NewRegistry(), newClock()
	c := f.client(t, WithClock(clk.now), WithRegisterer(reg))
	var changes []bool
	c.Subscribe(func() { changes = append(changes, c.Available()) })
	sent := func() int { return f.count("GET /api/pool") }
	if err := get(c); err != nil {
		t.Fatal(err)
	}

	status.Store(503)
	for range 4 {
		wantReason(t, get(c), ReasonUnavailable)
	}
	status.Store(404) // not a failure of the Controller: counts anew
	_ = get(c)
	status.Store(503)
	for i := range 5 {
		if !c.Available() {
			t.Fatalf("open after %d failures", i)
		}
		wantReason(t, get(c), ReasonUnavailable)
	}
	if c.Available() || metric(t, reg, "avi_l4_api_breaker_state", nil) != 2 {
		t.Fatal("not open after 5 failures in a row")
	}

	// Open: no request, the same kind of error, and when to come back. Then one probe per window, which doubles.
	for _, window := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
		window *= time.Second
		before := sent()
		for range 10 {
			err := create(c)
			wantReason(t, err, ReasonUnavailable)
			if RetryAfterOf(err) != window || Ambiguous(err) || !strings.Contains(err.Error(), "status 503") {
				t.Fatalf("%v; retry after %s, want %s", err, RetryAfterOf(err), window)
			}
		}
		if sent() != before {
			t.Fatal("sent while open")
		}
		clk.advance(window)
		wantReason(t, get(c), ReasonUnavailable)
		if sent() != before+1 {
			t.Fatalf("%d probes", sent()-before)
		}
	}

	changes = nil
	status.Store(200)
	clk.advance(30 * time.Second)
	if err := get(c); err != nil {
		t.Fatal(err)
	}
	if !c.Available() || metric(t, reg, "avi_l4_api_breaker_state", nil) != 0 {
		t.Error("not closed after a probe that succeeded")
	}
	if len(changes) == 0 || !changes[len(changes)-1] {
		t.Errorf("subscriber saw %v", changes)
	}
	if n := f.count("POST /login"); n != 1 {
		t.Errorf("%d logins", n)
	}
}

func TestBreakerAdmitsOneProbe(t *testing.T) {
	noLeak(t)
	clk := newClock()
	arrived, release := make(chan struct{}), make(chan struct{})
	f := newFake(t, answerWith(502, ``))
	c := f.client(t, WithClock(clk.now))
	for range 5 {
		_ = get(c)
	}
	f.api = func(w http.ResponseWriter, _ *http.Request) {
		arrived <- struct{}{}
		<-release
		reply(w, 200, `{}`)
	}
	clk.advance(time.Second)
	done := make(chan error)
	go func() { done <- get(c) }()
	<-arrived
	for range 10 {
		err := get(c)
		wantReason(t, err, ReasonUnavailable)
		if RetryAfterOf(err) <= 0 {
			t.Error("no time to come back")
		}
	}
	close(release)
	if err := <-done; err != nil || !c.Available() {
		t.Errorf("%v, available %t", err, c.Available())
	}
}

// A probe whose caller leaves proves nothing, and must not keep the next one from probing.
func TestBreakerProbeGivenUp(t *testing.T) {
	changes := 0
	clk := newClock()
	b := &breaker{now: clk.now, change: func() { changes++ }}
	for range breakerThreshold {
		b.failure("x")
	}
	clk.advance(breakerBackoff)
	probe, err := b.admit()
	if !probe || err != nil {
		t.Fatal("no probe")
	}
	if _, err := b.admit(); err == nil {
		t.Fatal("a second probe")
	}
	b.end(probe)
	if probe, err := b.admit(); !probe || err != nil {
		t.Fatal("no other probe")
	}
	b.failure("x") // opens for longer
	b.end(true)
	if _, err := b.admit(); err == nil || err.RetryAfter != 2*breakerBackoff {
		t.Fatalf("%v", err)
	}
	b.success() // of a request from before
	if probe, err := b.admit(); probe || err != nil {
		t.Fatal("not closed")
	}
	if changes != 6 {
		t.Errorf("%d changes", changes)
	}
}

func TestBreakerOpensOnDeadController(t *testing.T) {
	f := newFake(t, answerWith(200, `{}`))
	cfg := f.config()
	f.Close()
	c := newClient(t, cfg)
	for range 5 {
		wantReason(t, get(c), ReasonUnavailable)
	}
	if c.Available() {
		t.Error("available")
	}
	if err := get(c); !strings.Contains(err.Error(), "suspended") || !strings.Contains(err.Error(), "refused") {
		t.Errorf("%v", err)
	}
}
