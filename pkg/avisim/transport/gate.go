// SPDX-License-Identifier: Apache-2.0

// Package transport is what a client meets before HTTP: a listener that can cut and refuse connections, and a certificate that can be
// another one from the next connection on.
package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Gate is a listener that knows its connections and can cut them, and that can be closed and opened again on the same
// address.
type Gate struct {
	addr net.Addr
	down atomic.Bool // connections are accepted and cut at once

	mu     sync.Mutex
	l      net.Listener // nil while connections are refused
	shut   int          // how many want them refused
	opened chan struct{}
	closed bool
	open   map[net.Conn]struct{}
}

type gateConn struct {
	net.Conn
	gate *Gate
}

// Listen opens a gate at an address, host:port.
func Listen(addr string) (*Gate, error) {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", addr)
	if err != nil {
		return nil, err
	}
	return &Gate{addr: l.Addr(), l: l, opened: make(chan struct{}), open: map[net.Conn]struct{}{}}, nil
}

// Addr is the address of the gate, which does not change.
func (g *Gate) Addr() net.Addr { return g.addr }

// Accept waits for a connection that is neither cut nor refused.
func (g *Gate) Accept() (net.Conn, error) {
	for {
		g.mu.Lock()
		l, opened, closed := g.l, g.opened, g.closed
		g.mu.Unlock()
		if closed {
			return nil, net.ErrClosed
		}
		if l == nil {
			<-opened
			continue
		}
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			continue // refused on purpose, or closed for good
		}
		if err != nil {
			return nil, err
		}
		g.mu.Lock()
		admitted := !g.down.Load() && g.shut == 0 && !g.closed
		if admitted {
			g.open[c] = struct{}{}
		}
		g.mu.Unlock()
		if !admitted {
			reset(c)
			continue
		}
		return &gateConn{c, g}, nil
	}
}

// Close closes the gate for good.
func (g *Gate) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil
	}
	g.closed = true
	if g.l != nil {
		return g.l.Close()
	}
	close(g.opened)
	return nil
}

// Refuse closes the listening socket and all connections, so that new ones are refused by the kernel, until the returned function is called
// as often as Refuse was.
func (g *Gate) Refuse() (end func()) {
	g.mu.Lock()
	if g.shut++; g.l != nil {
		_ = g.l.Close()
		g.l, g.opened = nil, make(chan struct{})
	}
	g.mu.Unlock()
	g.Cut()
	return sync.OnceFunc(func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.shut--; g.shut > 0 || g.closed {
			return
		}
		for range 50 { // the port may be on loan to an outgoing connection for a moment
			l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", g.addr.String())
			if err == nil {
				g.l = l
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
		if g.l == nil {
			g.closed = true // the port is gone for good: Serve ends, and clients see the refusals go on
		}
		close(g.opened)
	})
}

func (g *Gate) forget(c net.Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.open, c)
}

// Cut ends all connections with RST.
func (g *Gate) Cut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for c := range g.open {
		reset(c)
	}
	clear(g.open)
}

func (c *gateConn) Close() error {
	c.gate.forget(c.Conn)
	return c.Conn.Close()
}

// reset closes a connection with RST instead of FIN, so that the peer sees a cut and not an orderly end.
func reset(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	_ = c.Close()
}

// Abort cuts the connection: with RST where the protocol allows to take it over, else by ending the stream.
func Abort(w http.ResponseWriter) {
	h, ok := w.(http.Hijacker)
	if !ok {
		panic(http.ErrAbortHandler)
	}
	conn, _, err := h.Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	if g, ok := conn.(*gateConn); ok {
		g.gate.forget(g.Conn)
		conn = g.Conn
	}
	reset(conn)
}

// SetDown cuts all connections and closes new ones at once, as a Controller does whose process is gone; SetDown(false)
// ends that.
func (g *Gate) SetDown(down bool) {
	g.down.Store(down)
	if down {
		g.Cut()
	}
}
