// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"maps"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/avi-l4-operator/avi-l4-operator/internal/gather"
)

// memory is what a reconciler remembers of its owners between runs. Losing it costs a repeated Event, a later try or a later
// sweep, and nothing else.
type memory struct {
	mu      sync.Mutex
	waiting map[types.NamespacedName]bool // those whose last run failed, to be queued when the Controller is back
	warned  map[types.UID]string          // the last Warning of each object that is no condition
	orphans map[types.NamespacedName]bool // what the sweep found
	gone    map[types.NamespacedName]bool // those that were deleted and let go by this process
	claims  map[types.UID]time.Time       // when an object was given the finalizer, of the last minute at least
	looked  time.Time                     // for claims that are older
	missed  map[types.NamespacedName]bool // owners of an object that went although it had just been given the finalizer
}

func newMemory() *memory {
	return &memory{waiting: make(map[types.NamespacedName]bool), warned: make(map[types.UID]string),
		orphans: make(map[types.NamespacedName]bool), gone: make(map[types.NamespacedName]bool),
		claims: make(map[types.UID]time.Time), missed: make(map[types.NamespacedName]bool)}
}

// hold remembers whether an owner waits for the Controller.
func (m *memory) hold(key types.NamespacedName, failing bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if failing {
		m.waiting[key] = true
	} else {
		delete(m.waiting, key)
	}
}

// failing are the owners whose last run failed.
func (m *memory) failing() []types.NamespacedName {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]types.NamespacedName, 0, len(m.waiting))
	for key := range m.waiting {
		out = append(out, key)
	}
	return out
}

// firstTime reports whether a text about an object differs from the last one, and remembers it.
func (m *memory) firstTime(o client.Object, text string) bool {
	const most = 10000
	m.mu.Lock()
	defer m.mu.Unlock()
	same := m.warned[o.GetUID()] == text
	if len(m.warned) > most {
		clear(m.warned)
	}
	m.warned[o.GetUID()] = text
	return !same
}

// letGoOf remembers that an owner was deleted, by its own word, and nothing was left of it.
func (m *memory) letGoOf(key types.NamespacedName) {
	const most = 10000
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.gone) > most {
		clear(m.gone)
	}
	m.gone[key] = true
}

// alive forgets that an owner was let go: it is there again.
func (m *memory) alive(key types.NamespacedName) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.gone, key)
}

func (m *memory) wasLetGo(key types.NamespacedName) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.gone[key]
}

// orphan remembers that the sweep found what an owner has left, and takeOrphan reports that once.
func (m *memory) orphan(key types.NamespacedName) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.orphans[key] = true
}

func (m *memory) takeOrphan(key types.NamespacedName) bool { return m.take(m.orphans, key) }

// take reports whether a key is in a set of m's, and takes it out.
func (m *memory) take(set map[types.NamespacedName]bool, key types.NamespacedName) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	found := set[key]
	delete(set, key)
	return found
}

// claimRace is how long after an object was given a finalizer a deletion that began before may go by without it. The API server looks
// for finalizers when a deletion begins, and ends one within its --request-timeout, a minute by default.
const claimRace = time.Minute

// claimed remembers that an object is being given the finalizer.
func (m *memory) claimed(o client.Object, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if now.Sub(m.looked) > claimRace {
		m.looked = now
		maps.DeleteFunc(m.claims, func(_ types.UID, at time.Time) bool { return now.Sub(at) > claimRace })
	}
	m.claims[o.GetUID()] = now
}

// overlooked reports whether an object that is gone was deleted by a request which did not see the finalizer, because it began before that
// was put on: the object has it, and was not marked for deletion first.
func (m *memory) overlooked(o client.Object, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	at, ok := m.claims[o.GetUID()]
	delete(m.claims, o.GetUID())
	return ok && now.Sub(at) <= claimRace && o.GetDeletionTimestamp() == nil && gather.Claimed(o)
}

// miss remembers that an owner lost an object in that way, and takeMissed reports that once.
func (m *memory) miss(key types.NamespacedName) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.missed[key] = true
}

func (m *memory) takeMissed(key types.NamespacedName) bool { return m.take(m.missed, key) }
