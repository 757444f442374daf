package avisim

import (
	"container/heap"
	"sync/atomic"
	"time"
)

// agenda is what is going to happen by itself: an address that a cloud hands out late, an address that moves. Nothing waits
// for the moment; the first call after it does what is due, so that a test with a clock of its own sees the same as a person.
type agenda struct {
	next    atomic.Int64 // µs of the first item, 0 if there is none; read without the lock
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

// later plans something. The Server's lock is held, now and when it is done.
func (s *Server) later(after time.Duration, do func()) {
	s.agenda.planned++
	heap.Push(&s.agenda.items, agendaItem{s.now().Add(after).UnixMicro(), s.agenda.planned, do})
	s.agenda.next.Store(s.agenda.items[0].at)
}

// catchUp does what is due. It is called at the begin of each request and of each look from Go.
func (s *Server) catchUp() {
	now := s.now().UnixMicro()
	if next := s.agenda.next.Load(); next == 0 || next > now {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.agenda.items) > 0 && s.agenda.items[0].at <= now {
		heap.Pop(&s.agenda.items).(agendaItem).do()
	}
	s.agenda.next.Store(0)
	if len(s.agenda.items) > 0 {
		s.agenda.next.Store(s.agenda.items[0].at)
	}
}
