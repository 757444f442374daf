// SPDX-License-Identifier: Apache-2.0

package world

import (
	"slices"
	"time"
)

// ForgetSince undoes the changes since a time, as a leader does that took over before they reached it.
func (s *Writer) ForgetSince(t time.Time) {
	i := len(s.history)
	for i > 0 && !s.history[i-1].at.Before(t) {
		i--
	}
	lost := s.history[i:]
	s.history = slices.Clone(s.history[:i])
	kept := len(s.history)
	for _, c := range slices.Backward(lost) {
		switch {
		case c.old == nil:
			s.Store.drop(c.new)
		default:
			o := *c.old
			s.Store.put(&o)
		}
	}
	s.history = s.history[:kept] // the undoing is no history of its own
}

// Replica is a store that lags behind, for reads from a follower. The world's lock guards it.
type Replica struct {
	lag     time.Duration
	store   *Store
	pending []storeChange
}

// Replicate makes a replica of the store as it is, and keeps it up until the returned function is called.
func (w *World) Replicate(lag time.Duration) (r *Replica, end func()) {
	r = &Replica{lag: lag, store: newStore(0)}
	w.Write(func(s *Writer) {
		for _, sh := range s.Store.shelves {
			for _, o := range sh.ordered {
				r.put(o)
			}
		}
		s.replicas = append(s.replicas, r)
	})
	return r, func() {
		w.Write(func(s *Writer) {
			s.replicas = slices.DeleteFunc(s.replicas, func(x *Replica) bool { return x == r })
		})
	}
}

// put stores a copy, since a store writes the order of creation into what it gets.
func (r *Replica) put(o *Object) {
	c := *o
	r.store.put(&c)
}

// catchUp applies the changes that are older than the lag.
func (r *Replica) catchUp(now time.Time) {
	n := 0
	for _, c := range r.pending {
		if c.at.Add(r.lag).After(now) {
			break
		}
		if n++; c.new != nil {
			r.put(c.new)
		} else if o := r.store.Get(c.old.Ref); o != nil {
			r.store.drop(o)
		}
	}
	r.pending = r.pending[n:]
}
