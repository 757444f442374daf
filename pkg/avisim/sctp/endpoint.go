// SPDX-License-Identifier: Apache-2.0

// Package sctp makes associations of SCTP (RFC 9260) without the kernel, whose packets travel in UDP (RFC 6951), or in IP itself where a
// process may. One [Endpoint] is one socket, and has as many associations as it likes, each between two ports of SCTP, which are not those
// of UDP: a packet to port 38412 of SCTP carries that number in its own header, as on the wire of a network that speaks SCTP.
//
// The protocol itself is github.com/pion/sctp's, whose client has one port for all; the packets get the right ports here. There is one
// address on each side: no multihoming.
package sctp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/pion/logging"
	pion "github.com/pion/sctp"
)

// Port is the UDP port that RFC 6951 has for encapsulated SCTP.
const Port = 9899

const (
	handshake     = 10 * time.Second // in which a client has to finish what its INIT began
	halfOpen      = 1024             // handshakes under way at one endpoint
	waiting       = 128              // associations that wait for Accept
	ephemeral     = 49152            // the first port of clients
	largest       = 65536            // bytes of a message
	receiveBuffer = 4 << 20          // of the socket, in which the packets of all associations wait
)

// Endpoint is a socket that carries SCTP. All methods are safe for concurrent use.
type Endpoint struct {
	socket carrier
	inIP   bool
	closed chan struct{}
	done   sync.WaitGroup

	mu        sync.Mutex
	answers   bool // packets that belong to nothing
	conns     map[path]*conn
	listeners map[uint16]*Listener
	last      uint16 // port of a client that was given out last
	opening   int
}

// NewEndpoint opens the UDP socket at an address; port 0 lets the kernel choose.
func NewEndpoint(at netip.AddrPort) (*Endpoint, error) {
	socket, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
	if err != nil {
		return nil, err
	}
	_ = socket.SetReadBuffer(receiveBuffer) // the kernel may give less
	return start(&Endpoint{socket: inUDP{socket}, answers: true}), nil
}

// NewIPEndpoint opens a socket at an address for SCTP in IP itself, as protocol 132. That needs the right to do so, which is CAP_NET_RAW on
// Linux, and a kernel without SCTP. All who have such a socket get all packets to their address: one alone may listen at an address, and
// who only dials answers nothing that is not for it.
func NewIPEndpoint(at netip.Addr) (*Endpoint, error) {
	socket, err := openIP(at.Unmap())
	if err != nil {
		return nil, err
	}
	return start(&Endpoint{socket: socket, inIP: true}), nil
}

func start(e *Endpoint) *Endpoint {
	e.closed, e.conns, e.listeners = make(chan struct{}), map[path]*conn{}, map[uint16]*Listener{}
	e.done.Go(e.receive)
	return e
}

// Addr is the address of the socket, with its UDP port, or 0 without UDP.
func (e *Endpoint) Addr() netip.AddrPort { return addrPort(e.socket.LocalAddr()) }

// Close closes the socket, and with it all associations without a word to the other side: end those that matter first.
func (e *Endpoint) Close() error {
	e.mu.Lock()
	select {
	case <-e.closed:
		e.mu.Unlock()
		return nil
	default:
	}
	close(e.closed)
	conns := make([]*conn, 0, len(e.conns))
	for _, c := range e.conns {
		conns = append(conns, c)
	}
	listeners := make([]*Listener, 0, len(e.listeners))
	for _, l := range e.listeners {
		listeners = append(listeners, l)
	}
	e.mu.Unlock()
	for _, l := range listeners {
		l.Close()
	}
	for _, c := range conns {
		_ = c.Close()
	}
	err := e.socket.Close()
	e.done.Wait()
	return err
}

// receive hands packets on until the socket is closed.
func (e *Endpoint) receive() {
	buffer := make([]byte, 1<<16)
	for {
		n, from, err := e.socket.receive(buffer)
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case errors.Is(err, syscall.ECONNREFUSED):
			continue
		case err != nil:
			select {
			case <-e.closed:
				return
			case <-time.After(time.Millisecond): // nothing that lasts, but never a loop without pause
			}
			continue
		}
		if p := packet(buffer[:n]); p.valid() {
			e.dispatch(append(packet(nil), p...), netip.AddrPortFrom(from.Addr().Unmap(), from.Port()))
		}
	}
}

// dispatch finds the association of a packet, begins one, or answers that there is none.
func (e *Endpoint) dispatch(p packet, from netip.AddrPort) {
	at := path{from, p.destination(), p.source()}
	e.mu.Lock()
	c := e.conns[at]
	l := e.listeners[at.localPort]
	if c == nil && l != nil && p[headerLength] == chunkInit && e.opening < halfOpen && at.remotePort != 0 {
		c = newConn(e, at, false)
		e.conns[at] = c
		e.opening++
		e.done.Go(func() { l.open(c) })
	}
	answers := e.answers
	e.mu.Unlock()
	if c != nil {
		c.deliver(p)
		return
	}
	if answer := p.outOfTheBlue(); answer != nil && answers {
		e.socket.send(answer, from)
	}
}

// forget makes the path of a connection free.
func (e *Endpoint) forget(c *conn) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.conns[c.path] == c {
		delete(e.conns, c.path)
	}
}

// Listen accepts associations to a port of SCTP. The port must be free.
func (e *Endpoint) Listen(port uint16) (*Listener, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if port == 0 || e.listeners[port] != nil {
		return nil, fmt.Errorf("listening on SCTP port %d of %s: it is in use", port, e.socket.LocalAddr())
	}
	l := &Listener{endpoint: e, port: port, accepted: make(chan *Association, waiting), closed: make(chan struct{})}
	e.listeners[port] = l
	e.answers = true
	return l, nil
}

// Dial makes an association with a port of SCTP behind a UDP socket; without UDP, that one's port does not count. The context bounds that
// alone, not the association.
func (e *Endpoint) Dial(ctx context.Context, remote netip.AddrPort, port uint16) (*Association, error) {
	c, err := e.reserve(remote, port)
	if err != nil {
		return nil, err
	}
	a, err := pion.ClientContext(ctx, options(c)...)
	if err != nil {
		_ = c.Close()
		if c.aborted.Load() {
			err = syscall.ECONNREFUSED
		}
		return nil, fmt.Errorf("SCTP %s port %d: %w", remote, port, err)
	}
	return newAssociation(c, a), nil
}

// reserve finds a free port for a client.
func (e *Endpoint) reserve(remote netip.AddrPort, port uint16) (*conn, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	select {
	case <-e.closed:
		return nil, net.ErrClosed
	default:
	}
	if e.inIP {
		held, number, err := reservePort(e.Addr().Addr())
		if err != nil {
			return nil, fmt.Errorf("SCTP %s port %d: %w", remote.Addr(), port, err)
		}
		c := newConn(e, path{netip.AddrPortFrom(remote.Addr(), 0), number, port}, true)
		c.held = held
		e.conns[c.path] = c
		return c, nil
	}
	for range 1<<16 - ephemeral {
		if e.last++; e.last < ephemeral {
			e.last = ephemeral
		}
		at := path{remote, e.last, port}
		if e.conns[at] == nil && e.listeners[e.last] == nil {
			c := newConn(e, at, true)
			e.conns[at] = c
			return c, nil
		}
	}
	return nil, fmt.Errorf("SCTP %s port %d: no port is free for one more association", remote, port)
}

// Listener accepts the associations to one port.
type Listener struct {
	endpoint *Endpoint
	port     uint16
	accepted chan *Association
	closed   chan struct{}
	once     sync.Once
}

// open does the handshake that an INIT begins.
func (l *Listener) open(c *conn) {
	tooLong := time.AfterFunc(handshake, func() { _ = c.Close() })
	a, err := pion.ServerWithOptions(serverOptions(c)...)
	tooLong.Stop()
	l.endpoint.mu.Lock()
	l.endpoint.opening--
	l.endpoint.mu.Unlock()
	if err != nil {
		_ = c.Close()
		return
	}
	x := newAssociation(c, a)
	select {
	case <-l.closed:
	case l.accepted <- x:
		return
	default:
	}
	x.Abort("nobody accepts it")
}

// Accept waits for an association. It returns net.ErrClosed after Close.
func (l *Listener) Accept() (*Association, error) {
	select {
	case a := <-l.accepted:
		return a, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close ends Accept; INITs to the port are then answered with ABORT. Associations stay.
func (l *Listener) Close() {
	l.once.Do(func() {
		l.endpoint.mu.Lock()
		delete(l.endpoint.listeners, l.port)
		l.endpoint.mu.Unlock()
		close(l.closed)
		for {
			select {
			case a := <-l.accepted:
				go a.Abort("nobody accepts it")
			default:
				return
			}
		}
	})
}

// common are the options of both sides. Interleaving of messages (RFC 8260) is left out: few others have it.
func common(c *conn) []pion.AssociationOption {
	return []pion.AssociationOption{
		pion.WithNetConn(c), pion.WithLoggerFactory(silent{}), pion.WithBlockWrite(true), pion.WithMaxMessageSize(largest),
		pion.WithEnableInterleaving(false), pion.WithRTOMax(float64(10 * time.Second / time.Millisecond)),
	}
}

func options(c *conn) (out []pion.ClientOption) {
	for _, o := range common(c) {
		out = append(out, o)
	}
	return out
}

func serverOptions(c *conn) (out []pion.ServerOption) {
	for _, o := range common(c) {
		out = append(out, o)
	}
	return out
}

// silent is for a library that logs what its errors say as well.
type silent struct{}

// NewLogger makes a logger that writes nothing.
func (silent) NewLogger(string) logging.LeveledLogger {
	return logging.NewDefaultLeveledLoggerForScope("", logging.LogLevelDisabled, discard{})
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }
