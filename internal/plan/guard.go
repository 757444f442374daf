// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strings"
	"time"
)

// Guard names a rule by which deletions are held that rest on something other than their owner's own word.
type Guard string

// The guards that hold a share of what is ours.
const (
	// GuardDeselected holds what settings, labels or classes let go of.
	GuardDeselected Guard = "deselected"
	// GuardLost holds what is there for owners that don't exist.
	GuardLost Guard = "lost"
)

// Window is how long deletions are added up against the share.
const Window = 5 * time.Minute

// Hold is what a guard remembers. It is kept in the cluster, so that neither a restart nor another leader begins anew.
type Hold struct {
	// ID names what is held, Owners, so that a person can release it. It is empty if nothing is held.
	ID string `json:"id,omitempty"`
	// Since is when the first of Owners was held, and Of how many owners were served then.
	Since  time.Time `json:"since,omitzero"`
	Of     int       `json:"of,omitempty"`
	Owners []string  `json:"owners,omitempty"`
	// Released are owners that a person has let go of.
	Released []string `json:"released,omitempty"`
	// Gone are owners that went within the share since Begin.
	Begin time.Time `json:"begin,omitzero"`
	Gone  []string  `json:"gone,omitempty"`
}

// Situation is what a guard is asked about: all owners that are to go, of so many that are served.
type Situation struct {
	Doomed map[string]bool
	Total  int
	// Unread reports whether nothing is known of an owner at the moment. It is nil if all could be read.
	Unread func(owner string) bool
	Share  float64 // 0 to 1
	Now    time.Time
	// Release are the IDs that a person has released.
	Release []string
}

// Limit is how many of total may go within a window: a share, rounded down, and never all.
func Limit(share float64, total int) int { return max(0, min(int(share*float64(total)), total-1)) }

// Review decides which of the owners that are to go may. It looks at all of them, not at one after the other, so the decision depends on
// the situation and not on the order of events. An owner that is held stays so until it is wanted again, is gone, or is released: a mistake
// must not drain a site slowly, nor after it was corrected in part.
func (h Hold) Review(s Situation) Hold {
	over := func(o string) bool { return !s.Doomed[o] && (s.Unread == nil || !s.Unread(o)) }
	next := h
	next.Owners, next.Released = without(h.Owners, over), without(h.Released, over)
	if s.Now.Sub(h.Begin) > Window {
		next.Begin, next.Gone = time.Time{}, nil
	}
	fresh := maps.Clone(s.Doomed)
	for _, o := range slices.Concat(next.Released, next.Gone) {
		delete(fresh, o)
	}
	gone := 0
	for _, o := range next.Gone {
		if !s.Doomed[o] {
			gone++ // counted no more among those that are served
		}
	}
	switch {
	case len(next.Owners) == 0 && len(next.Gone)+len(fresh) <= Limit(s.Share, s.Total+gone):
		if len(fresh) > 0 && len(next.Gone) == 0 {
			next.Begin = s.Now
		}
		next.Gone = union(next.Gone, fresh)
	case len(fresh)+len(next.Owners) > 0:
		if len(h.Owners) == 0 {
			next.Since, next.Of = s.Now, s.Total
		}
		next.Owners = union(next.Owners, fresh)
	}
	next.ID = id(next.Owners)
	if next.ID != "" && slices.Contains(s.Release, next.ID) {
		next.Released, next.Owners, next.ID = union(append(slices.Clone(next.Released), next.Owners...), nil), nil, ""
	}
	if next.ID == "" {
		next.Since, next.Of = time.Time{}, 0
	}
	return next
}

// Holds reports whether an owner is held.
func (h Hold) Holds(owner string) bool { return slices.Contains(h.Owners, owner) }

// Empty reports whether there is nothing to remember.
func (h Hold) Empty() bool { return len(h.Owners)+len(h.Released)+len(h.Gone) == 0 }

// id is the same for the same owners, wherever it is made.
func id(owners []string) string {
	if len(owners) == 0 {
		return ""
	}
	const long = 4 // bytes; it is typed by people, and names one of a few
	sum := sha256.Sum256([]byte(strings.Join(owners, "\n")))
	return hex.EncodeToString(sum[:long])
}

func without(list []string, drop func(string) bool) []string {
	return slices.DeleteFunc(slices.Clone(list), drop)
}

func union(list []string, more map[string]bool) []string {
	return slices.Compact(slices.Sorted(slices.Values(slices.AppendSeq(slices.Clone(list), maps.Keys(more)))))
}
