// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"fmt"
	"sync"
	"time"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
)

// guard holds back deletions that rest on something other than the owner's own word: on settings or labels. It lets a
// share of what we own go within a window; more than that is more likely a mistake than a wish. Once something is held,
// nothing goes until all that is held is wanted again, is deleted itself, or the share is raised: a mistake must not
// drain a site slowly either.
type guard struct {
	share float64 // 0 to 1
	least int     // always allowed

	mu    sync.Mutex
	begin time.Time
	total int // VirtualServices when the window began
	gone  int
	held  map[model.Owner]bool
}

const (
	guardWindow   = 5 * time.Minute
	deletionLeast = 5
)

// limit is how many of total may go at once.
func limit(share float64, least, total int) int { return max(least, int(share*float64(total))) }

// allow counts the deletion of an owner's objects, or says why it is held.
func (g *guard) allow(owner model.Owner, total int, now time.Time) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if now.Sub(g.begin) > guardWindow {
		g.begin, g.total, g.gone = now, total, 0
	}
	if most := limit(g.share, g.least, g.total); g.gone < most && len(g.held) == 0 {
		g.gone++
		return nil
	}
	if g.held == nil {
		g.held = make(map[model.Owner]bool)
	}
	g.held[owner] = true
	return fmt.Errorf("settings or labels let go of more than %d of %d VirtualServices at once, which looks like a mistake; if it is none, raise --deletion-share or set deleteConfig", limit(g.share, g.least, g.total), g.total)
}

// settle forgets an owner that is wanted again or gone by itself.
func (g *guard) settle(owner model.Owner) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.held, owner)
}
