// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"testing"
	"time"
)

// TestHealthIsReadAgain: inventories that changed while they were read are read again once the operator has stopped writing, and at
// their interval at the latest.
func TestHealthIsReadAgain(t *testing.T) {
	const every = 15 * time.Second
	start := time.Now()
	for name, c := range map[string]struct {
		writes uint64 // in each of so many seconds
		during int
		want   time.Duration
	}{
		"nothing was written":          {0, 0, time.Second},
		"writes for three seconds":     {7, 3, 4 * time.Second},
		"writes that don't end":        {7, 1000, every},
		"one write at the first look":  {1, 1, 2 * time.Second},
		"many writes at the last look": {100, 14, every},
	} {
		t.Run(name, func(t *testing.T) {
			var turn healthTurn
			seq := uint64(5)
			turn.again(start, every, seq)
			for second := 1; ; second++ {
				if second <= c.during {
					seq += c.writes
				}
				now := start.Add(time.Duration(second) * time.Second)
				if turn.due(now.Add(-time.Millisecond), seq) {
					t.Fatalf("due before second %d", second)
				}
				if turn.due(now, seq) {
					if now.Sub(start) != c.want {
						t.Errorf("after %s, want %s", now.Sub(start), c.want)
					}
					return
				}
			}
		})
	}
}
