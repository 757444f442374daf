package avisim

import (
	"slices"
	"sync"
	"time"
)

// storeChange is one write to the store: old is nil for a creation, new for a deletion.
type storeChange struct {
	at       time.Time
	old, new *object
}

// historyLimit bounds how many changes are kept for a leader that loses them.
const historyLimit = 8192

// journal takes note of a change of the store; Server.mu is held.
func (s *Server) journal(old, o *object) {
	s.revision.Add(1)
	c := storeChange{s.now(), old, o}
	if len(s.history) >= historyLimit {
		s.history = slices.Clone(s.history[historyLimit/2:])
	}
	s.history = append(s.history, c)
	s.noted(c.at, old, o)
	for _, r := range s.replicas {
		r.mu.Lock()
		r.pending = append(r.pending, c)
		r.mu.Unlock()
	}
}

// forgetSince undoes the changes since a time, as a leader does that took over before they reached it.
func (s *Server) forgetSince(t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
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
			s.discard(c.new)
		default:
			o := *c.old
			s.store.put(&o)
		}
	}
	s.history = s.history[:kept] // the undoing is no history of its own
}

// replica is a store that lags behind, for reads from a follower.
type replica struct {
	mu      sync.Mutex
	lag     time.Duration
	store   *store
	pending []storeChange
}

// replicate makes a replica of the store as it is, and keeps it up until the returned function is called.
func (s *Server) replicate(lag time.Duration) (r *replica, end func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r = &replica{lag: lag, store: newStore(0)}
	for _, sh := range s.store.shelves {
		for _, o := range sh.ordered {
			r.put(o)
		}
	}
	s.replicas = append(s.replicas, r)
	return r, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.replicas = slices.DeleteFunc(s.replicas, func(x *replica) bool { return x == r })
	}
}

// put stores a copy, since a store writes the order of creation into what it gets.
func (r *replica) put(o *object) {
	c := *o
	r.store.put(&c)
}

// catchUp applies the changes that are older than the lag; the replica's lock is held.
func (r *replica) catchUp(now time.Time) {
	n := 0
	for _, c := range r.pending {
		if c.at.Add(r.lag).After(now) {
			break
		}
		if n++; c.new != nil {
			r.put(c.new)
		} else if o := r.store.get(c.old.ref); o != nil {
			r.store.drop(o)
		}
	}
	r.pending = r.pending[n:]
}

// answerFor continues an authenticated request: here, or, if a fault sent it there, on a replica. A replica is a server of its
// own with the same settings, whose store is an older one.
func (s *Server) answerFor(c *call, ep *endpoint) *answer {
	r := c.replica
	if r == nil || ep == nil || !c.route.api || s.store.shelves[c.route.typ] == nil {
		return s.authenticated(c, ep)
	}
	s.mu.RLock() // what the replica shares does not change meanwhile
	defer s.mu.RUnlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.catchUp(s.now())
	follower := &Server{options: s.options, version: s.version, now: s.now, inside: s.inside}
	follower.store, c.store = r.store, r.store
	return follower.authenticated(c, ep)
}
