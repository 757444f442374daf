// SPDX-License-Identifier: Apache-2.0

package avi

import (
	"fmt"
	"sync"
	"time"
)

const (
	breakerThreshold  = 5 // consecutive failures that open it
	breakerBackoff    = time.Second
	breakerBackoffMax = 30 * time.Second
)

// breakerState is the value of the gauge avi_l4_api_breaker_state.
type breakerState int

const (
	breakerClosed   breakerState = iota // calls go out
	breakerHalfOpen                     // one call is out to see whether the Controller answers again
	breakerOpen                         // calls fail at once
)

// breaker keeps calls from a Controller that does not answer: an API server's worth of reconciles need not each wait for
// the timeout. It counts single requests, failed if there was no answer or one of 502, 503, 504.
type breaker struct {
	now    func() time.Time
	change func() // called without the lock after the state changed

	mu       sync.Mutex
	state    breakerState
	failures int           // in a row while closed
	window   time.Duration // how long it stays open this time
	until    time.Time
	why      string // the last failure
}

// admit returns nil if a call may go out. While the breaker is open it admits one call per window, the probe; end must
// be called with what admit returned when the call is over.
func (b *breaker) admit() (probe bool, err *Error) {
	b.mu.Lock()
	if b.state == breakerClosed {
		b.mu.Unlock()
		return false, nil
	}
	if e := b.closedTo(); e != nil {
		b.mu.Unlock()
		return false, e
	}
	b.state = breakerHalfOpen
	b.mu.Unlock()
	b.change()
	return true, nil
}

// check is admit without the claim to be the probe.
func (b *breaker) check() *Error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state == breakerClosed {
		return nil
	}
	return b.closedTo()
}

// closedTo returns why no call may go out now; b.mu is held and the state is not closed.
func (b *breaker) closedTo() *Error {
	wait := b.until.Sub(b.now())
	if b.state == breakerHalfOpen {
		wait = max(wait, breakerBackoff) // the probe's outcome is at least a round trip away
	} else if wait <= 0 {
		return nil
	}
	return &Error{
		Message: fmt.Sprintf("calls to the Controller are suspended after several failures, the last: %s", b.why),
		Class:   Transient, Reason: ReasonUnavailable, RetryAfter: wait,
	}
}

// end gives the probe's turn to the next call if the probe ended without an outcome, say because its caller gave up.
func (b *breaker) end(probe bool) {
	if !probe {
		return
	}
	b.mu.Lock()
	undecided := b.state == breakerHalfOpen
	if undecided {
		b.state = breakerOpen
	}
	b.mu.Unlock()
	if undecided {
		b.change()
	}
}

// success closes the breaker, also if the request went out before it opened: the Controller answers.
func (b *breaker) success() {
	b.mu.Lock()
	was := b.state
	b.state, b.failures, b.window = breakerClosed, 0, 0
	b.mu.Unlock()
	if was != breakerClosed {
		b.change()
	}
}

// failure counts a failed request. Those that were under way when the breaker opened don't prolong the window.
func (b *breaker) failure(why string) {
	b.mu.Lock()
	b.why = why
	b.failures++
	was := b.state
	if was == breakerHalfOpen || was == breakerClosed && b.failures >= breakerThreshold {
		b.state = breakerOpen
		b.window = min(max(2*b.window, breakerBackoff), breakerBackoffMax)
		b.until = b.now().Add(b.window)
	}
	changed := b.state != was
	b.mu.Unlock()
	if changed {
		b.change()
	}
}

func (b *breaker) current() breakerState {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state
}
