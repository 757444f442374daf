// SPDX-License-Identifier: Apache-2.0

package forward

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// datagram is the largest that UDP has.
const datagram = 1 << 16

// udp is the socket of a service with UDP, and what its clients have open.
type udp struct {
	plane   *Plane
	service *service
	socket  *net.UDPConn

	mu    sync.Mutex
	flows map[netip.AddrPort]*udpFlow // by client
}

type udpFlow struct {
	*flow
	server *net.UDPConn
}

// listenUDP takes the datagrams of a service. A client's first one opens a flow, which has the same server until nothing was carried for
// the profile's session_idle_timeout.
func (p *Plane) listenUDP(s *service) (socket, error) {
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(s.listen))
	if err != nil {
		return nil, err
	}
	u := &udp{plane: p, service: s, socket: c, flows: map[netip.AddrPort]*udpFlow{}}
	p.done.Go(u.receive)
	return closing(func() { _ = c.Close() }), nil
}

// receive sends each datagram to the server of its flow. Without a server it is dropped. Evidence: unverified; a service engine may
// answer with ICMP.
func (u *udp) receive() {
	buffer := make([]byte, datagram)
	for {
		n, from, err := u.socket.ReadFromUDPAddrPort(buffer)
		switch {
		case closedSocket(err):
			return
		case err != nil:
			time.Sleep(time.Millisecond) // nothing that lasts, but never a loop without pause
			continue
		}
		u.mu.Lock()
		f := u.flows[from]
		u.mu.Unlock()
		if f == nil {
			if f, err = u.open(from); err != nil {
				continue
			}
		}
		f.touch()
		_, _ = f.server.Write(buffer[:n]) // what the server's machine refuses is lost, as it is without a proxy
	}
}

// open begins a flow.
func (u *udp) open(from netip.AddrPort) (*udpFlow, error) {
	f, err := u.service.open(u.plane.options.Map.From(from.Addr()))
	if err != nil {
		return nil, err
	}
	at, err := u.plane.server(f.server)
	var c *net.UDPConn
	if err == nil {
		c, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(at))
	}
	if err != nil {
		u.service.failed.Add(1)
		f.close()
		return nil, err
	}
	x := &udpFlow{f, c}
	u.mu.Lock()
	u.flows[from] = x
	u.mu.Unlock()
	end := func() {
		u.mu.Lock()
		if u.flows[from] == x {
			delete(u.flows, from)
		}
		u.mu.Unlock()
		_ = c.Close()
	}
	if f.onCut(end) {
		end()
	}
	u.plane.done.Go(func() {
		u.answers(x, from)
		end()
		f.close()
	})
	return x, nil
}

// answers sends what a server answers to the client, until the flow ends.
func (u *udp) answers(f *udpFlow, to netip.AddrPort) {
	buffer := make([]byte, datagram)
	for {
		n, err := f.server.Read(buffer)
		switch {
		case closedSocket(err):
			return
		case err != nil: // the server's machine refused a datagram
			time.Sleep(time.Millisecond)
			continue
		}
		f.touch()
		if _, err := u.socket.WriteToUDPAddrPort(buffer[:n], to); closedSocket(err) {
			return
		}
	}
}
