package controllers

import (
	"fmt"
	"sync"
	"time"
)

// guard holds back deletions that rest on something other than the owner's own word: on settings, labels, or absence. It
// lets a share of what we own go within a window; more than that is more likely a mistake than a wish.
type guard struct {
	share float64 // 0 to 1
	least int     // always allowed

	mu    sync.Mutex
	begin time.Time
	total int // VirtualServices when the window began
	gone  int
}

const (
	guardWindow   = 5 * time.Minute
	deletionLeast = 5
)

// limit is how many of total may go at once.
func limit(share float64, least, total int) int { return max(least, int(share*float64(total))) }

// allow counts one deletion, or says why it is held.
func (g *guard) allow(total int, now time.Time) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if now.Sub(g.begin) > guardWindow {
		g.begin, g.total, g.gone = now, total, 0
	}
	if most := limit(g.share, g.least, g.total); g.gone >= most {
		return fmt.Errorf("%d of %d VirtualServices were let go within %s already, which looks like a mistake in the settings or labels; if it is none, raise --deletion-share", g.gone, g.total, guardWindow)
	}
	g.gone++
	return nil
}
