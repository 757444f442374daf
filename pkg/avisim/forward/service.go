// SPDX-License-Identifier: Apache-2.0

package forward

import (
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

var errFull = errors.New("there are too many connections")

// service is a port of a VIP that is served.
type service struct {
	plane  *Plane
	key    key
	listen netip.AddrPort // on this machine
	rules  atomic.Pointer[rules]
	socket interface{ Close() } // nil while it can't be opened

	mu       sync.Mutex
	memory   memory
	flows    map[*flow]struct{}
	disabled map[netip.AddrPort]time.Time // since when
	problem  error                        // why there is no socket
	closed   bool

	opened, refused, failed atomic.Int64
}

// flow is a connection, an association, or what one client sends by UDP.
type flow struct {
	service *service
	server  netip.AddrPort
	active  atomic.Int64 // ns: when something was carried last
	done    atomic.Bool

	mu    sync.Mutex
	cut   func()                   // ends both sides at once; nil before they are there
	quiet func(time.Duration) bool // reports whether nothing was carried for so long; nil: active says it
	off   bool                     // it is to be cut
}

// open begins a connection of a client: it finds the server and counts the connection as that one's. Whoever opens closes.
func (s *service) open(client netip.Addr) (*flow, error) {
	r := s.rules.Load()
	now := time.Now()
	if !r.lets(client) {
		s.refused.Add(1)
		return nil, errDenied
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_, at, err := s.memory.choose(r.targets, client, now)
	switch {
	case err != nil:
	case s.closed:
		err = errNoTarget
	case s.plane.connections.Add(1) > int64(s.plane.options.MaxConnections):
		s.plane.connections.Add(-1)
		err = errFull
	}
	if err != nil {
		s.refused.Add(1)
		return nil, err
	}
	f := &flow{service: s, server: at}
	f.touch()
	s.memory.open[at]++
	s.flows[f] = struct{}{}
	s.opened.Add(1)
	return f, nil
}

// touch notes that something was carried.
func (f *flow) touch() { f.active.Store(time.Now().UnixNano()) }

// idle is for how long nothing was carried.
func (f *flow) idle(now time.Time) time.Duration { return now.Sub(time.Unix(0, f.active.Load())) }

// close ends the count of a connection.
func (f *flow) close() {
	if f.done.Swap(true) {
		return
	}
	s := f.service
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.flows, f)
	if s.memory.open[f.server]--; s.memory.open[f.server] == 0 {
		delete(s.memory.open, f.server)
	}
	s.plane.connections.Add(-1)
}

// onCut says how to end both sides. It reports whether that was already asked for; then nothing else ends them.
func (f *flow) onCut(cut func()) (off bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cut = cut
	return f.off
}

// end ends both sides at once.
func (f *flow) end() {
	f.mu.Lock()
	cut := f.cut
	f.off = true
	f.mu.Unlock()
	if cut != nil {
		cut()
	}
}

// apply has other rules hold. Connections stay, but for those whose server is no server of the service any more.
func (s *service) apply(r *rules) {
	s.rules.Store(r)
	now := time.Now()
	s.mu.Lock()
	for at := range s.disabled {
		if !r.servers[at].disabled {
			delete(s.disabled, at)
		}
	}
	for at, x := range r.servers {
		if _, known := s.disabled[at]; x.disabled && !known {
			s.disabled[at] = now
		}
	}
	s.mu.Unlock()
	s.sweep(now)
}

// sweep ends the connections whose server is gone or drained, and those without traffic.
func (s *service) sweep(now time.Time) {
	r := s.rules.Load()
	var over []*flow
	s.mu.Lock()
	for f := range s.flows {
		x, there := r.servers[f.server]
		since, disabled := s.disabled[f.server]
		switch {
		case !there, s.closed:
		case disabled && x.drain >= 0 && now.Sub(since) >= x.drain:
		case r.idle > 0 && f.idle(now) >= r.idle && s.silent(f, r.idle):
		default:
			continue
		}
		over = append(over, f)
	}
	s.mu.Unlock()
	for _, f := range over {
		f.end()
	}
}

// silent asks a connection whose bytes nobody here sees when it last carried some.
func (s *service) silent(f *flow, limit time.Duration) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.quiet == nil || f.quiet(limit)
}

// stop closes the socket and ends all connections.
func (s *service) stop() {
	s.mu.Lock()
	s.closed = true
	socket := s.socket
	s.socket = nil
	s.mu.Unlock()
	if socket != nil {
		socket.Close()
	}
	s.sweep(time.Now())
}
