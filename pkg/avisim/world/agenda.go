package world

import (
	"container/heap"
	"sync/atomic"
	"time"
)

// agenda is what is going to happen by itself: an address that a cloud hands out late, an address that moves. Nothing waits
// for the moment; the first call after it does what is due, so that a test with a clock of its own sees the same as a person.
// The world's lock guards it, but for due.
type agenda struct {
	next    atomic.Int64 // µs of the first item, 0 if there is none
	items   agendaHeap
	planned int
}

type agendaItem struct {
	at  int64 // µs
	seq int   // what was planned first is done first
	do  func()
}

type agendaHeap []agendaItem

func (h agendaHeap) Len() int { return len(h) }
func (h agendaHeap) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].seq < h[j].seq
}
func (h agendaHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *agendaHeap) Push(x any)   { *h = append(*h, x.(agendaItem)) }
func (h *agendaHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

// add plans something for a time.
func (a *agenda) add(at time.Time, do func()) {
	a.planned++
	heap.Push(&a.items, agendaItem{at.UnixMicro(), a.planned, do})
	a.next.Store(a.items[0].at)
}

// due reports whether there is something to do by now. It needs no lock.
func (a *agenda) due(now time.Time) bool {
	next := a.next.Load()
	return next != 0 && next <= now.UnixMicro()
}

// catchUp does what is due. The world is locked for writing, as it is for each item.
func (a *agenda) catchUp(now time.Time) {
	if !a.due(now) {
		return
	}
	for len(a.items) > 0 && a.items[0].at <= now.UnixMicro() {
		heap.Pop(&a.items).(agendaItem).do()
	}
	a.next.Store(0)
	if len(a.items) > 0 {
		a.next.Store(a.items[0].at)
	}
}
