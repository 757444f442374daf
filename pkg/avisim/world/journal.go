// SPDX-License-Identifier: Apache-2.0

package world

import (
	"cmp"
	"slices"
	"time"
)

// storeChange is one write to the store: old is nil for a creation, new for a deletion.
type storeChange struct {
	at       time.Time
	old, new *Object
}

// historyLimit bounds how many changes are kept for a leader that loses them, changeLimit how many are kept for people.
const (
	historyLimit = 2048 // each may hold a body that nobody else has any more
	changeLimit  = 500
)

// Change is something that happened to an object: it was created, changed, deleted, or its state became another one.
type Change struct {
	ID     int64     `json:"id"`
	Time   time.Time `json:"time"`
	Type   string    `json:"type"`
	Name   string    `json:"name"`
	Tenant string    `json:"tenant"`
	What   string    `json:"what"`
	State  string    `json:"state,omitempty"` // the new one
	// Fields are, of a change, what is different: "servers[0].enabled: true → false". At most ten, then "…".
	Fields []string `json:"fields,omitempty"`

	old, new *Object // of which Fields are made when somebody looks
}

// journal takes note of a change of the store.
func (s *Writer) journal(old, o *Object) {
	s.revision.Add(1)
	c := storeChange{s.now(), old, o}
	if len(s.history) >= historyLimit {
		s.history = slices.Clone(s.history[historyLimit/2:])
	}
	s.history = append(s.history, c)
	for _, r := range s.replicas {
		r.pending = append(r.pending, c)
	}
	what := "changed"
	switch {
	case old == nil:
		what = "created"
	case o == nil:
		what, o = "deleted", old
	}
	s.Note(Change{Time: c.at, Type: o.Type, Name: o.Name, Tenant: s.Tenant(o.Tenant), What: what, old: c.old, new: c.new})
}

// Note adds a change to those that people see, and numbers it.
func (s *Writer) Note(c Change) {
	s.changeID++
	c.ID = s.changeID
	if len(s.changes) >= changeLimit {
		s.changes = slices.Clone(s.changes[changeLimit/5:])
	}
	s.changes = append(s.changes, c)
}

// Changes returns the last changes, at most limit of them, whose IDs are above one, oldest first.
func (s *Reader) Changes(after int64, limit int) []Change {
	i, _ := slices.BinarySearchFunc(s.changes, after+1, func(c Change, id int64) int { return cmp.Compare(c.ID, id) })
	out := append([]Change{}, s.changes[max(i, len(s.changes)-limit):]...)
	for i := range out {
		if c := &out[i]; c.old != nil && c.new != nil {
			c.Fields = differences(c.old.Body, c.new.Body)
		}
		out[i].old, out[i].new = nil, nil
	}
	return out
}

// LastChange is the ID of the last change.
func (s *Reader) LastChange() int64 { return s.changeID }

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
