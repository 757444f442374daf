// SPDX-License-Identifier: Apache-2.0

package settings

import "sync/atomic"

// Store holds the settings in force. The zero value holds none.
type Store struct {
	current atomic.Pointer[Settings]
	problem atomic.Pointer[error]
}

// Current returns the last valid settings, nil before there were any.
func (s *Store) Current() *Settings { return s.current.Load() }

// Err is what is wrong with the ConfigMap or the Secret as they stand; the last valid settings stay in force.
func (s *Store) Err() error {
	if p := s.problem.Load(); p != nil {
		return *p
	}
	return nil
}

// Read reports whether the settings have been looked at, valid or not.
func (s *Store) Read() bool { return s.Current() != nil || s.Err() != nil }

// Set puts valid settings in force.
func (s *Store) Set(next *Settings) {
	s.current.Store(next)
	s.problem.Store(nil)
}

// Reject remembers a problem and keeps what is in force.
func (s *Store) Reject(err error) { s.problem.Store(&err) }
