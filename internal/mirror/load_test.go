// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestHealthIsReadAgain: inventories that changed while they were read are read again once the operator has stopped writing, and at
// their interval at the latest.
func TestHealthIsReadAgain(t *testing.T) {
	const every = 15 * time.Second
	start := time.Now()
	for name, c := range map[string]struct {
		writes uint64 // in each of so many seconds
		during int
		want   time.Duration
	}{
		"nothing was written":          {0, 0, time.Second},
		"writes for three seconds":     {7, 3, 4 * time.Second},
		"writes that don't end":        {7, 1000, every},
		"one write at the first look":  {1, 1, 2 * time.Second},
		"many writes at the last look": {100, 14, every},
	} {
		t.Run(name, func(t *testing.T) {
			var turn healthTurn
			seq := uint64(5)
			turn.again(start, every, seq)
			for second := 1; ; second++ {
				if second <= c.during {
					seq += c.writes
				}
				now := start.Add(time.Duration(second) * time.Second)
				if turn.due(now.Add(-time.Millisecond), seq) {
					t.Fatalf("due before second %d", second)
				}
				if turn.due(now, seq) {
					if now.Sub(start) != c.want {
						t.Errorf("after %s, want %s", now.Sub(start), c.want)
					}
					return
				}
			}
		})
	}
}

// TestStandbyReadsLittle: a standby reads everything once, and from then on makes one call at each interval, until what it knows expires.
func TestStandbyReadsLittle(t *testing.T) {
	w := newWorld(t)
	w.mirror.Cluster = func(context.Context) (string, error) { return "this-cluster", nil }
	var leads atomic.Bool
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- w.mirror.Run(ctx, func() Intervals {
			return Intervals{Refresh: 20 * time.Millisecond, Health: 20 * time.Millisecond, Standby: !leads.Load()}
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	count := func(kind string) (n int) {
		for _, r := range w.sim.Requests() {
			if r.Path == "/api/"+kind {
				n++
			}
		}
		return n
	}
	w.until("the first read, and three looks", func() bool { return w.mirror.Err() == nil && count("stringgroup") >= 4 })
	if n := count("virtualservice"); n != 1 {
		t.Errorf("a standby has read the VirtualServices %d times", n)
	}
	if n := count("virtualservice-inventory") + count("pool-inventory"); n != 0 {
		t.Errorf("a standby has read %d pages of inventories", n)
	}

	leads.Store(true)
	w.mirror.Expire()
	w.until("the leader's reads", func() bool {
		return w.mirror.Err() == nil && count("virtualservice") >= 3 && count("virtualservice-inventory") >= 2
	})
	for _, r := range w.sim.Requests() {
		if strings.HasSuffix(r.Path, "-inventory") && !strings.Contains(r.Query, "include=runtime") {
			t.Errorf("%s?%s asks for more than the states", r.Path, r.Query)
		}
	}
}

// TestHealthWaitsForWrites: after a full read, what it leads to is written before the inventories are read.
func TestHealthWaitsForWrites(t *testing.T) {
	const every = 15 * time.Second
	start := time.Now()
	var turn healthTurn
	turn.loaded(false, start, every, 0)
	if turn.due(start.Add(healthSoon-time.Millisecond), 0) {
		t.Error("due before a write can have begun")
	}
	if !turn.due(start.Add(healthSoon), 0) {
		t.Error("not due, though nothing was written")
	}
	turn.loaded(false, start, every, 0)
	if turn.due(start.Add(healthSoon), 3) {
		t.Error("due while there are writes")
	}
	if !turn.due(start.Add(healthSoon+healthAgain), 3) {
		t.Error("not due after the writes")
	}
	turn.usual(start, every)
	before := turn
	if turn.loaded(true, start.Add(time.Second), every, 4); turn != before {
		t.Error("a later full read moves the next one")
	}
}
