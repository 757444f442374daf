// SPDX-License-Identifier: Apache-2.0

package avi

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"
)

// limited is a Controller, in the test's own time, that takes so many calls a second, and a burst.
type limited struct {
	bucket     *rate.Limiter
	takes      time.Duration
	retryAfter time.Duration
	calls      atomic.Int32
	refused    atomic.Int32

	mu     sync.Mutex
	until  time.Time     // it has asked to be left alone
	paused time.Duration // in all
}

// ask counts the time for which the Controller asks to be left alone.
func (c *limited) ask(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.until.Before(now) {
		c.until = now
	}
	c.paused += now.Add(c.retryAfter).Sub(c.until)
	c.until = now.Add(c.retryAfter)
}

// call makes a call through a gate, again until it isn't refused.
func (c *limited) call(g *gate) {
	for {
		if g.enter(context.Background(), http.MethodPost) != nil {
			time.Sleep(time.Second)
			continue
		}
		sent := time.Now()
		time.Sleep(c.takes / 2)
		c.calls.Add(1)
		ok := c.bucket.Allow()
		time.Sleep(c.takes / 2)
		a := answer{sent: sent, took: c.takes, throttled: !ok}
		if !ok {
			c.refused.Add(1)
			a.retryAfter = c.retryAfter
			c.ask(time.Now())
		}
		g.learn(a)
		g.leave()
		if ok {
			return
		}
	}
}

func newGate(most int) *gate {
	c := Config{Concurrency: most}.withDefaults()
	return &gate{throttle: newThrottle(c), changed: func(int, float64) {}}
}

// TestRateLimitIsKept: 400 writes at once to a Controller with a limit take no more than 1.2 times the limit's own time, and 2 % of the
// calls at most are refused. The time for which the Controller asks to be left alone is its own.
func TestRateLimitIsKept(t *testing.T) {
	const writes = 400
	// More are refused where the limit is close to what the window lets through, and where each pause that the Controller asks for fills a
	// large bucket again.
	more := map[string]float64{"100 a second": 0.03, "Retry-After, and a burst": 0.03}
	for name, c := range map[string]*limited{
		"20 a second":              {bucket: rate.NewLimiter(20, 5), takes: 20 * time.Millisecond},
		"a large burst":            {bucket: rate.NewLimiter(20, 20), takes: 20 * time.Millisecond},
		"slow calls":               {bucket: rate.NewLimiter(20, 5), takes: 150 * time.Millisecond},
		"quick calls":              {bucket: rate.NewLimiter(20, 20), takes: time.Millisecond},
		"Retry-After":              {bucket: rate.NewLimiter(20, 5), takes: 20 * time.Millisecond, retryAfter: time.Second},
		"Retry-After, and a burst": {bucket: rate.NewLimiter(20, 20), takes: 20 * time.Millisecond, retryAfter: time.Second},
		"100 a second":             {bucket: rate.NewLimiter(100, 20), takes: 20 * time.Millisecond},
		"2 a second":               {bucket: rate.NewLimiter(2, 5), takes: 20 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGate(8)
				own := time.Duration(float64(writes-c.bucket.Burst()) / float64(c.bucket.Limit()) * float64(time.Second))
				start := time.Now()
				var all sync.WaitGroup
				for range writes {
					all.Go(func() { c.call(g) })
				}
				all.Wait()
				took := time.Since(start)
				own += c.paused
				t.Logf("%s of %s, %d of %d calls refused", took, own, c.refused.Load(), c.calls.Load())
				if took > own*12/10 {
					t.Errorf("took %s, the limit's own time is %s", took, own)
				}
				if share := float64(c.refused.Load()) / float64(c.calls.Load()); share > max(0.02, more[name]) {
					t.Errorf("%.1f %% were refused", 100*share)
				}
			})
		})
	}
}

// TestWindow: calls at a time grow with the answers, to the configured number, and shrink once for what was under way together.
func TestWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(8)
		at := func(want int, why string) {
			t.Helper()
			if got := g.atOnce(); got != want {
				t.Errorf("%s: %d calls at once, want %d", why, got, want)
			}
		}
		at(firstWindow, "at first")
		fine := func() {
			for range 200 {
				time.Sleep(time.Millisecond)
				g.learn(answer{sent: time.Now().Add(-time.Millisecond), took: time.Millisecond})
			}
		}
		fine()
		at(8, "after good answers")
		for name, a := range map[string]answer{
			"throttled": {throttled: true}, "overloaded": {overloaded: true}, "silent": {silent: true}, "late": {took: 10 * time.Second},
		} {
			sent := time.Now()
			time.Sleep(time.Millisecond)
			for range 8 {
				a.sent = sent
				g.learn(a)
			}
			if g.window != 4 {
				t.Errorf("%s: a window of %v", name, g.window)
			}
			for range 5 {
				fine()
				time.Sleep(time.Second)
			}
			at(8, "after "+name+", and good answers")
		}
		sent := time.Now()
		fine()
		g.learn(answer{sent: sent, silent: true})
		g.learn(answer{sent: sent, took: 10 * time.Second})
		at(8, "after two calls without an answer in time, while others had theirs")
		for range 10 {
			time.Sleep(time.Millisecond)
			g.learn(answer{sent: time.Now(), overloaded: true})
			time.Sleep(time.Millisecond)
		}
		at(1, "in an outage")
	})
}

// TestFairShares: a namespace that makes a thousand objects, and many owners that do, cost a neighbour who changes one no more than a wait
// for the next free slot, whether it changes or creates.
func TestFairShares(t *testing.T) {
	const takes = 150 * time.Millisecond
	for name, owners := range map[string]int{"one owner": 1, "many owners": 50} {
		for _, method := range []string{http.MethodPatch, http.MethodPost} {
			t.Run(name+" "+method, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					g := newGate(8)
					call := func(ctx context.Context, method string) {
						if err := g.enter(ctx, method); err != nil {
							t.Error(err)
							return
						}
						sent := time.Now()
						time.Sleep(takes)
						g.learn(answer{sent: sent, took: takes})
						g.leave()
					}
					var all sync.WaitGroup
					var runs []context.Context
					for range owners {
						runs = append(runs, WithRun(context.Background(), "big"))
					}
					for i := range 1000 {
						all.Go(func() { call(runs[i%owners], http.MethodPost) })
					}
					time.Sleep(3*time.Second + takes/3)
					start := time.Now()
					call(WithRun(context.Background(), "small"), method)
					if took := time.Since(start); took > 3*takes {
						t.Errorf("it took %s, alone %s", took, takes)
					}
					start = time.Now()
					call(WithRun(context.Background(), "big"), method)
					if took := time.Since(start); took > 3*takes && (owners == 1 || method == http.MethodPatch) {
						t.Errorf("another owner of the namespace took %s, alone %s", took, takes)
					}
					all.Wait()
				})
			})
		}
	}
}

// TestRunsAreFinishedInTurn: runs that begin together don't end together, in one namespace or in several, so that what follows each (its
// status) is done while the others' calls go on; a run of very many calls doesn't keep the others from theirs, nor they it from its own.
func TestRunsAreFinishedInTurn(t *testing.T) {
	const takes, runs = 20 * time.Millisecond, 16
	for name, c := range map[string]struct {
		namespaces, calls, large int
		first, large95           time.Duration // until half of the runs have ended; until 95 of the large run's calls
	}{
		"a namespace":                {namespaces: 1, calls: 8, first: 260 * time.Millisecond},
		"a namespace, longer":        {namespaces: 1, calls: 33, first: 820 * time.Millisecond},
		"a namespace each":           {namespaces: runs, calls: 8, first: 260 * time.Millisecond},
		"a namespace with large one": {namespaces: 1, calls: 33, large: 400, first: 1200 * time.Millisecond, large95: 1200 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGate(8)
				g.window = 8
				call := func(ctx context.Context) {
					if err := g.enter(ctx, http.MethodPost); err != nil {
						t.Error(err)
						return
					}
					time.Sleep(takes)
					g.leave()
				}
				start := time.Now()
				var all sync.WaitGroup
				var mu sync.Mutex
				var ends, ofLarge []time.Duration
				large := WithRun(t.Context(), "0")
				for range c.large {
					all.Go(func() {
						call(large)
						mu.Lock()
						defer mu.Unlock()
						ofLarge = append(ofLarge, time.Since(start))
					})
				}
				for i := range runs {
					ctx := WithRun(t.Context(), strconv.Itoa(i%c.namespaces))
					all.Go(func() {
						var some sync.WaitGroup
						for range c.calls - 2 { // the last two refer to the others, and one to the other
							some.Go(func() { call(ctx) })
						}
						some.Wait()
						call(ctx)
						call(ctx)
						mu.Lock()
						defer mu.Unlock()
						ends = append(ends, time.Since(start))
					})
				}
				all.Wait()
				t.Logf("ends %s", ends)
				if half := ends[runs/2-1]; half > c.first {
					t.Errorf("half of the runs ended after %s of %s", half, ends[runs-1])
				}
				if c.large > 0 && ofLarge[94] > c.large95 {
					t.Errorf("95 calls of the large run ended after %s", ofLarge[94])
				}
			})
		})
	}
}

// TestTurnsThatAreGivenUp leave their place, and what has no run waits beside the namespaces.
func TestTurnsThatAreGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(1)
		if err := g.enter(context.Background(), http.MethodGet); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				if err := g.enter(WithRun(ctx, "a"), http.MethodPatch); err == nil {
					t.Error("it has its turn")
				}
			})
		}
		synctest.Wait()
		cancel()
		all.Wait()
		g.leave()
		if err := g.enter(context.Background(), http.MethodGet); err != nil || g.busy != 1 {
			t.Errorf("%v, %d calls under way", err, g.busy)
		}
		g.leave()
		if g.busy != 0 || !g.urgent.empty() || !g.usual.empty() {
			t.Errorf("%d calls under way", g.busy)
		}
	})
}

// TestUsualCallsAreNotStarved by changes that never end.
func TestUsualCallsAreNotStarved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(1)
		ctx, cancel := context.WithCancel(context.Background())
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				for g.enter(ctx, http.MethodPatch) == nil {
					time.Sleep(time.Millisecond)
					g.leave()
				}
			})
		}
		synctest.Wait()
		start := time.Now()
		if err := g.enter(ctx, http.MethodGet); err != nil || time.Since(start) > 10*time.Millisecond {
			t.Errorf("it waited %s: %v", time.Since(start), err)
		}
		g.leave()
		cancel()
		all.Wait()
	})
}

// TestRefusedCallIsMadeAgain in its turn, if the Controller doesn't ask for a long pause.
func TestRefusedCallIsMadeAgain(t *testing.T) {
	var n atomic.Int32
	f := newFake(t, func(w http.ResponseWriter, _ *http.Request) {
		if n.Add(1) == 1 {
			reply(w, 429, `{}`)
			return
		}
		reply(w, 200, `{"uuid":"pool-1"}`)
	})
	c := f.client(t)
	if _, err := c.Get(ctx, "", "/api/pool/pool-1", nil); err != nil || n.Load() != 2 {
		t.Errorf("after %d calls: %v", n.Load(), err)
	}
}
