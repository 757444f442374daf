// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"encoding/json"
	"fmt"
	"time"
)

// savedFault is what a state file keeps of a fault. What a script waits for ends with the script, and is not kept.
type savedFault struct {
	ID      int       `json:"id"`
	Fault   Fault     `json:"fault"`
	Since   time.Time `json:"since"`
	Matched int       `json:"matched,omitempty"`
	Applied int       `json:"applied,omitempty"`
	On      bool      `json:"on,omitempty"` // its states have begun
	Ends    time.Time `json:"ends,omitzero"`
}

// Keep lets the world's state file keep the faults of a layer, and takes over those that it holds. Their counts and the rest of their time
// go on; their chance begins anew. Actions that were done are not done again.
func Keep(s *Layer) error {
	return s.target.World.Keep("faults", s.save, s.load)
}

// Close ends all faults. A state that is saved later has them all the same.
func (s *Layer) Close() {
	saved := s.saved()
	s.mu.Lock()
	s.last = saved
	s.mu.Unlock()
	s.ClearFaults()
}

// save returns the faults to keep, nil if there are none.
func (s *Layer) save() any {
	s.mu.Lock()
	out := s.last
	s.mu.Unlock()
	if out == nil {
		out = s.saved()
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

func (s *Layer) saved() []savedFault {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []savedFault{}
	for _, f := range s.faults {
		if f.struck != nil {
			continue
		}
		f.mu.Lock()
		out = append(out, savedFault{f.id, f.Fault, f.since, f.matched, f.applied, f.on, f.ends})
		f.mu.Unlock()
	}
	return out
}

func (s *Layer) load(raw json.RawMessage) error {
	var in []savedFault
	if err := json.Unmarshal(raw, &in); err != nil {
		return fmt.Errorf("its faults: %w", err)
	}
	for _, x := range in {
		left := time.Until(x.Ends)
		if !x.Ends.IsZero() && left <= 0 {
			continue
		}
		f, err := s.make(x.Fault, nil)
		if err != nil {
			return fmt.Errorf("its fault %d: %w", x.ID, err)
		}
		f.id, f.since, f.matched, f.applied = x.ID, x.Since, x.Matched, x.Applied
		if !x.Ends.IsZero() {
			f.left = left
		}
		s.mu.Lock()
		s.faults, s.lastID = append(s.faults, f), max(s.lastID, x.ID)
		s.mu.Unlock()
		f.prepare(s)
		if x.On {
			f.begin(s)
		}
	}
	s.changed()
	return nil
}
