// SPDX-License-Identifier: Apache-2.0

package record

import (
	"strings"
	"testing"
)

// TestLogIsBounded shows that the oldest entries go, by number and by size.
func TestLogIsBounded(t *testing.T) {
	s := New(false)
	const logBytes = 16 << 20
	s.limit = logBytes
	body := []byte(`{"name":"` + strings.Repeat("x", bodyLimit-100) + `"}`)
	const entries = 3 * logBytes / bodyLimit / 4 // half as many again as fit
	for range entries {
		s.Begin().Add(Request{Method: "POST", Route: "/api/pool", Type: "pool", Status: 201, Body: body, Response: body})
	}
	log := s.Requests()
	size := 0
	for _, e := range log {
		size += len(e.Body) + len(e.Response)
	}
	if size > logBytes || size < logBytes/4 {
		t.Errorf("%d entries of %d bytes", len(log), size)
	}
	if last := log[len(log)-1].ID; last != entries {
		t.Errorf("last is %d", last)
	}
	if l := s.RequestsAfter(log[len(log)-3].ID, 100); len(l) != 2 {
		t.Errorf("%d after the last but two", len(l))
	}
	if l := s.RequestsAfter(0, 5); len(l) != 5 || l[4].ID != log[len(log)-1].ID {
		t.Errorf("%d of the last five", len(l))
	}
}
