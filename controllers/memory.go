// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// memory is what a reconciler remembers of its owners between runs. Losing it costs a repeated Event, a later try or a later
// sweep, and nothing else.
type memory struct {
	mu      sync.Mutex
	waiting map[types.NamespacedName]bool // those whose last run failed, to be queued when the Controller is back
	warned  map[types.UID]string          // the last Warning of each object that is no condition
	orphans map[types.NamespacedName]bool // what the sweep found
	gone    map[types.NamespacedName]bool // those that were deleted and let go by this process
}

func newMemory() *memory {
	return &memory{waiting: make(map[types.NamespacedName]bool), warned: make(map[types.UID]string),
		orphans: make(map[types.NamespacedName]bool), gone: make(map[types.NamespacedName]bool)}
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

func (m *memory) takeOrphan(key types.NamespacedName) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	found := m.orphans[key]
	delete(m.orphans, key)
	return found
}
