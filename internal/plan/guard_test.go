// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func owners(from, to int) map[string]bool {
	out := make(map[string]bool)
	for i := from; i < to; i++ {
		out[fmt.Sprintf("Service default/s%02d", i)] = true
	}
	return out
}

func TestLimit(t *testing.T) {
	for _, tc := range []struct {
		share       float64
		total, want int
	}{{0.2, 0, 0}, {0.2, 1, 0}, {0.2, 3, 0}, {0.2, 4, 0}, {0.2, 5, 1}, {0.2, 40, 8}, {1, 1, 0}, {1, 5, 4}, {0, 100, 0}} {
		if got := Limit(tc.share, tc.total); got != tc.want {
			t.Errorf("%v of %d: %d may go, want %d", tc.share, tc.total, got, tc.want)
		}
	}
}

func TestReview(t *testing.T) {
	now := time.Unix(1e9, 0)
	at := func(total, from, to int) Situation {
		return Situation{Doomed: owners(from, to), Total: total, Share: 0.2, Now: now}
	}
	for n := 1; n <= 5; n++ {
		if h := (Hold{}).Review(at(n, 0, n)); len(h.Owners) != n || h.ID == "" || len(h.Gone) > 0 || h.Of != n {
			t.Errorf("all of %d: %+v", n, h)
		}
	}

	h := Hold{}.Review(at(40, 0, 8))
	if len(h.Gone) != 8 || h.ID != "" {
		t.Fatalf("8 of 40: %+v", h)
	}
	if again := h.Review(at(40, 0, 8)); again.ID != "" || len(again.Gone) != 8 {
		t.Errorf("the same ones, asked twice: %+v", again)
	}
	now = now.Add(time.Minute)
	h = h.Review(at(32, 8, 9)) // the eight have gone
	if len(h.Owners) != 1 || len(h.Gone) != 8 {
		t.Errorf("a ninth a minute later: %+v", h)
	}
	now = now.Add(time.Hour)
	if h = h.Review(at(32, 8, 9)); len(h.Owners) != 1 {
		t.Errorf("time alone lets it go: %+v", h)
	}
	h = h.Review(at(32, 8, 20))
	first := h.ID
	if len(h.Owners) != 12 {
		t.Errorf("more join what is held: %+v", h)
	}
	s := at(32, 8, 21)
	s.Release = []string{"other", first}
	if h = h.Review(s); len(h.Owners) != 13 || h.ID == first || len(h.Released) > 0 {
		t.Errorf("one that is new is released with the plan of before: %+v", h)
	}
	s.Release = []string{h.ID}
	if h = h.Review(s); h.ID != "" || len(h.Released) != 13 {
		t.Errorf("released: %+v", h)
	}
	if h = h.Review(at(26, 14, 21)); h.ID != "" || len(h.Released) != 7 {
		t.Errorf("half of the released have gone: %+v", h)
	}
	if h = h.Review(at(19, 0, 0)); !h.Empty() {
		t.Errorf("nothing is to go: %+v", h)
	}
}

// TestReviewPutRight: an owner that is wanted again is no longer held, and the rest stays held although it is few.
func TestReviewPutRight(t *testing.T) {
	s := Situation{Doomed: owners(0, 20), Total: 20, Share: 0.2, Now: time.Unix(1e9, 0)}
	h := Hold{}.Review(s)
	s.Doomed = owners(0, 2)
	if h = h.Review(s); len(h.Owners) != 2 {
		t.Errorf("put right in part: %+v", h)
	}
	s.Unread = func(string) bool { return true }
	s.Doomed = nil
	if h = h.Review(s); len(h.Owners) != 2 {
		t.Errorf("what can't be read is forgotten: %+v", h)
	}
	s.Unread = nil
	if h = h.Review(s); !h.Empty() {
		t.Errorf("put right: %+v", h)
	}
}

// TestReviewNeverDrains: whatever is to go, in whatever order and with restarts in between, no more than the share has gone within a
// window, and never all, unless it was released.
func TestReviewNeverDrains(t *testing.T) {
	property := func(t *rapid.T) {
		total, share := rapid.IntRange(1, 30).Draw(t, "total"), rapid.Float64Range(0, 1).Draw(t, "share")
		served, doomed := owners(0, total), make(map[string]bool)
		var h Hold
		now := time.Unix(1e9, 0)
		for range rapid.IntRange(1, 20).Draw(t, "rounds") {
			now = now.Add(time.Second)
			for _, o := range rapid.SliceOf(rapid.SampledFrom(slices.Sorted(maps.Keys(owners(0, total))))).Draw(t, "to go") {
				doomed[o] = served[o]
			}
			maps.DeleteFunc(doomed, func(_ string, is bool) bool { return !is })
			h = h.Review(Situation{Doomed: doomed, Total: len(served), Share: share, Now: now})
			for _, o := range slices.Sorted(maps.Keys(doomed)) {
				if !h.Holds(o) && !slices.Contains(h.Gone, o) {
					t.Fatalf("%s is neither held nor counted: %+v", o, h)
				}
				if !h.Holds(o) && rapid.Bool().Draw(t, "goes") {
					delete(served, o)
					delete(doomed, o)
				}
			}
		}
		if gone := total - len(served); gone > Limit(share, total) {
			t.Fatalf("%d of %d have gone, %d may: %v", gone, total, Limit(share, total), h.Gone)
		}
	}
	for range 5 { // of a hundred each
		rapid.Check(t, property)
	}
}
