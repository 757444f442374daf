// SPDX-License-Identifier: Apache-2.0

package sctp

import (
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// backlog is how many packets wait for one association; what comes beyond is lost, as on any full queue of a network.
const backlog = 1024

// path names an association: one at most is between two ports of two sockets.
type path struct {
	remote                netip.AddrPort // of the socket
	localPort, remotePort uint16         // of SCTP
}

// conn carries the packets of one association, as what the library knows as a connection. It is safe for concurrent use.
type conn struct {
	endpoint *Endpoint
	path     path
	client   bool // the library numbers the ports of a client's packets itself
	packets  chan packet
	closed   chan struct{}
	once     sync.Once
	held     io.Closer   // the reservation of a client's port, nil if it needs none
	aborted  atomic.Bool // by the other side
	heard    atomic.Int64

	mu      sync.Mutex
	overdue chan struct{} // closed when the read deadline is over
	timer   *time.Timer
}

// libraryPort is the port that the library has in all packets of a client.
const libraryPort = 5000

func newConn(e *Endpoint, at path, client bool) *conn {
	c := &conn{endpoint: e, path: at, client: client, packets: make(chan packet, backlog), closed: make(chan struct{}),
		overdue: make(chan struct{})}
	c.heard.Store(time.Now().UnixNano())
	return c
}

// deliver hands a valid packet to the association.
func (c *conn) deliver(p packet) {
	c.heard.Store(time.Now().UnixNano())
	if p.has(chunkAbort) {
		c.aborted.Store(true)
	}
	if c.client {
		p.setPorts(libraryPort, libraryPort)
	}
	select {
	case c.packets <- p:
	default:
	}
}

// Read waits for a packet.
func (c *conn) Read(b []byte) (int, error) {
	c.mu.Lock()
	overdue := c.overdue
	c.mu.Unlock()
	select {
	case p := <-c.packets:
		return copy(b, p), nil
	default:
	}
	select {
	case p := <-c.packets:
		return copy(b, p), nil
	case <-c.closed:
		return 0, net.ErrClosed
	case <-overdue:
		return 0, os.ErrDeadlineExceeded
	}
}

// Write sends a packet.
func (c *conn) Write(b []byte) (int, error) {
	select {
	case <-c.closed:
		return 0, net.ErrClosed
	default:
	}
	if len(b) < headerLength {
		return len(b), nil
	}
	if c.client {
		b = append([]byte(nil), b...)
		packet(b).setPorts(c.path.localPort, c.path.remotePort)
	}
	c.endpoint.socket.send(b, c.path.remote)
	return len(b), nil
}

// Close ends the connection, and lets its path be used again.
func (c *conn) Close() error {
	c.once.Do(func() {
		close(c.closed)
		c.endpoint.forget(c)
		if c.held != nil {
			_ = c.held.Close() // nothing was sent through it
		}
	})
	return nil
}

// LocalAddr is the address of the socket.
func (c *conn) LocalAddr() net.Addr { return c.endpoint.socket.LocalAddr() }

// RemoteAddr is the address of the other socket.
func (c *conn) RemoteAddr() net.Addr { return net.UDPAddrFromAddrPort(c.path.remote) }

// SetDeadline sets the deadline of reads; a write never waits.
func (c *conn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// SetReadDeadline ends reads at a time, also one that has begun.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
	select {
	case <-c.overdue:
		c.overdue = make(chan struct{})
	default:
	}
	if t.IsZero() {
		return nil
	}
	overdue := c.overdue
	if wait := time.Until(t); wait > 0 {
		c.timer = time.AfterFunc(wait, func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			if c.overdue == overdue && c.timer != nil {
				c.timer = nil
				close(overdue)
			}
		})
		return nil
	}
	close(overdue)
	return nil
}

// SetWriteDeadline has nothing to do: a write never waits.
func (c *conn) SetWriteDeadline(time.Time) error { return nil }
