// SPDX-License-Identifier: Apache-2.0

package avi

import (
	"math"
	"time"

	"golang.org/x/time/rate"
)

// throttle learns from the answers how much the Controller takes, once for all callers: how many calls at a time, and how many in a
// second.
//
// Calls at a time grow by a half for each round of answers and are halved by a refusal (429) and by an answer that a Controller under load
// gives (502, 503, 504). No answer, or a late one, halves them if no other call was answered in time meanwhile: else it is that one call
// which takes long, and the others are not to wait for it.
//
// Nothing is known of a rate before the first 429. Then the rate at which calls were accepted is taken for the limit. It is approached
// from below, held for a while, and probed ever faster, counted in calls and not in seconds, so that one refusal comes with some 200
// calls whatever the limit is, and a limit that was lifted is forgotten after some 500. See growth.
type throttle struct {
	most    int     // calls at a time, as configured
	window  float64 // calls at a time, 1 to most
	limiter *rate.Limiter
	limit   rate.Limit // as configured
	burst   int
	timeout time.Duration // of a call; what is late, and how long a pause may be, is measured by it

	cut      time.Time // an overload seen by what was sent before is known already
	inTime   time.Time // of the last good answer that was not late
	until    time.Time // nothing is sent before: Retry-After
	learnt   float64   // calls per second that the Controller takes; 0: no limit is known
	guessed  bool      // from what came before the first refusal: a burst, maybe
	paused   time.Time // of the last refusal
	since    time.Time // the same, or the end of the pause that it asked for
	accepted int       // since then

	second      time.Time // in which calls are counted, for a first guess
	count, last int       // in it, and in the one before
}

const (
	firstWindow = 2
	probeCalls  = 60 // from one refusal until the rate is back where it was
	guessCalls  = 7  // until a rate that is only guessed is doubled
	forgetAfter = 5  // times as many calls without a refusal: there is no limit
	guessWindow = 4
	forgetGuess = 12 // the same, of a guess
	fewCalls    = 10 // between two refusals: nothing can be measured by them
	leastGuess  = 2  // calls per second
	backTo      = 0.9
	cutTo       = 0.7

	// Shares of the time-out of a call (30 s unless configured).
	slowShare  = 6  // a Controller that takes longer for an answer is taken for overloaded
	pauseShare = 30 // the learnt rate never makes calls wait longer than this for one another

	forgetTime = 10 * time.Minute // without a refusal, however few calls there were
)

func newThrottle(c Config) throttle {
	limit := rate.Inf
	if c.QPS > 0 {
		limit = rate.Limit(c.QPS)
	}
	return throttle{
		most: c.Concurrency, window: float64(min(firstWindow, c.Concurrency)), limit: limit, burst: c.Burst,
		limiter: rate.NewLimiter(limit, c.Burst), timeout: c.Timeout,
	}
}

// slow is how long a Controller may take for an answer without being taken for overloaded, and how long callers wait if it asks to be
// left alone. If it asks for longer, their calls fail at once.
func (t *throttle) slow() time.Duration { return t.timeout / slowShare }

// leastRate is the smallest rate that is learnt, in calls per second. A Controller that refuses everything is no slower to recover for it.
func (t *throttle) leastRate() float64 { return pauseShare / t.timeout.Seconds() }

// wait is how long nothing may be sent, and takes a turn if that is 0.
func (t *throttle) wait(now time.Time) time.Duration {
	if t.until.After(now) || !t.limiter.AllowN(now, 1) {
		return max(t.delay(now), time.Millisecond)
	}
	return 0
}

// delay is wait without taking a turn.
func (t *throttle) delay(now time.Time) time.Duration {
	r := t.limiter.ReserveN(now, 1)
	defer r.CancelAt(now)
	return max(t.until.Sub(now), r.DelayFrom(now), 0)
}

// atOnce is how many calls may be under way. Few are while the rate is guessed: each of them may be refused before the first refusal is
// known.
func (t *throttle) atOnce() int {
	if t.learnt > 0 && t.guessed {
		return int(min(t.window, guessWindow))
	}
	return int(t.window)
}

// answer is what came of a request.
type answer struct {
	sent       time.Time
	took       time.Duration
	throttled  bool // 429
	overloaded bool // one of those that a Controller under load gives
	silent     bool // there was none
	retryAfter time.Duration
}

// heed learns from an answer that came now.
func (t *throttle) heed(now time.Time, a answer) {
	t.tick(now)
	known := !a.sent.After(t.cut)
	if a.throttled {
		if end := now.Add(min(a.retryAfter, t.timeout)); a.retryAfter > 0 && end.After(t.until) {
			t.until = end
		}
	}
	switch {
	case a.throttled && !known:
		t.refused(now)
		t.shrink(now)
	case a.overloaded && !known, t.late(a) && !known:
		t.shrink(now)
	case !a.throttled && !a.overloaded && !a.silent:
		if a.took <= t.slow() {
			t.inTime = now
			t.window = min(float64(t.most), t.window+0.5/t.window)
		}
		t.count++
		t.accept(now)
	}
}

// late reports whether the Controller has left everybody without an answer for long.
func (t *throttle) late(a answer) bool {
	return (a.silent || a.took > t.slow()) && !t.inTime.After(a.sent)
}

func (t *throttle) shrink(now time.Time) { t.window, t.cut = max(1, t.window/2), now }

// tick counts accepted calls by the second.
func (t *throttle) tick(now time.Time) {
	switch age := now.Sub(t.second); {
	case age >= 2*time.Second:
		t.second, t.last, t.count = now, 0, 0
	case age >= time.Second:
		t.second, t.last, t.count = now, t.count, 0
	}
}

// refused measures the limit: at a refusal the Controller has no call to spare, and since the one before it has accepted just what it
// takes.
func (t *throttle) refused(now time.Time) {
	current, n := t.current(), float64(t.accepted)
	all, least := now.Sub(t.paused).Seconds(), now.Sub(t.since).Seconds()
	idle := t.idle(least)
	if t.guessed {
		least = all
	}
	measured := n / max(math.Sqrt(all*least), 0.001) // in a pause the Controller may have saved up all that it would have taken, or little
	first := t.learnt == 0 || idle
	switch {
	case first:
		t.learnt = float64(max(t.count, t.last, leastGuess))
	case t.accepted < fewCalls:
		t.learnt = cutTo * current
	case t.guessed:
		t.learnt = min(math.Sqrt(min(measured, current)*current), 2*measured)
	default:
		t.learnt = max(cutTo*current, min(current, measured))
	}
	t.guessed = first || t.accepted == 0
	t.learnt = max(t.learnt, t.leastRate())
	t.since, t.paused, t.accepted = now, now, 0
	if t.until.After(now) {
		t.since = t.until
	}
	t.apply()
	t.limiter.AllowN(now, 1) // what was saved up is not there
}

// idle reports whether a guess was hardly used in the given seconds since it was made: that few calls were accepted then says nothing
// about the limit. Without a pause between calls a guess takes no longer than guessCalls/ln 2 calls at its own rate, however far it grows.
func (t *throttle) idle(seconds float64) bool { return t.guessed && seconds > 4*guessCalls/t.learnt }

// accept lets the rate grow.
func (t *throttle) accept(now time.Time) {
	if t.learnt == 0 {
		return
	}
	t.accepted++
	if t.accepted >= forgetAfter*probeCalls || t.guessed && t.accepted >= forgetGuess*guessCalls || now.Sub(t.paused) > forgetTime {
		t.learnt = 0
	}
	t.apply()
}

// current is the rate that is kept to, 0 where no limit is known. A guess grows twofold with every few calls. A limit that was measured is
// approached from below, held, and probed: 0.85 of it at first, 1 after probeCalls, 1.15 after twice as many, 2.2 after three times.
func (t *throttle) current() float64 {
	if t.guessed {
		return t.learnt * math.Exp2(float64(t.accepted)/guessCalls)
	}
	at := float64(t.accepted)/probeCalls - 1
	return t.learnt * (1 + (1-backTo)*at*at*at)
}

func (t *throttle) apply() {
	limit, burst := t.limit, t.burst
	if t.learnt > 0 {
		if r := rate.Limit(t.current()); r < limit {
			limit, burst = r, 1
		}
	}
	if t.limiter.Burst() != burst {
		t.limiter.SetBurst(burst)
	}
	if t.limiter.Limit() != limit {
		t.limiter.SetLimit(limit)
	}
}
