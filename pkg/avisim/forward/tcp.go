// SPDX-License-Identifier: Apache-2.0

package forward

import (
	"io"
	"net"
	"sync"
	"time"
)

// listenTCP accepts the connections of a service.
func (p *Plane) listenTCP(s *service) (socket, error) {
	l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(s.listen))
	if err != nil {
		return nil, err
	}
	p.done.Go(func() {
		for {
			c, err := l.AcceptTCP()
			switch {
			case closedSocket(err):
				return
			case err != nil:
				time.Sleep(followEvery) // out of file descriptors: that ends when connections do
			default:
				p.done.Go(func() { p.carryTCP(s, c) })
			}
		}
	})
	return closing(func() { _ = l.Close() }), nil
}

// reset ends a connection with RST.
func reset(c *net.TCPConn) {
	_ = c.SetLinger(0)
	_ = c.Close()
}

// carryTCP forwards one connection. Who can't be forwarded is reset. Evidence: unverified; a service engine that proxies has answered the
// client too before it knows of a server.
func (p *Plane) carryTCP(s *service, client *net.TCPConn) {
	f, err := s.open(p.client(client.RemoteAddr()))
	if err != nil {
		reset(client)
		return
	}
	defer f.close()
	server, err := p.dialTCP(f)
	if err != nil {
		s.failed.Add(1)
		reset(client)
		return
	}
	cut := func() { reset(client); reset(server) }
	f.mu.Lock()
	f.quiet = func(limit time.Duration) bool { return quiet(client, limit) && quiet(server, limit) }
	f.mu.Unlock()
	if f.onCut(cut) {
		cut()
		return
	}
	var both sync.WaitGroup
	pass := func(to, from *net.TCPConn) {
		if _, err := io.Copy(to, from); err != nil {
			cut()
			return
		}
		_ = to.CloseWrite()
	}
	both.Go(func() { pass(server, client) })
	pass(client, server)
	both.Wait()
	_, _ = client.Close(), server.Close()
}

// dialTCP connects to the server that was chosen.
func (p *Plane) dialTCP(f *flow) (*net.TCPConn, error) {
	at, err := p.server(f.server)
	if err != nil {
		return nil, err
	}
	c, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(p.ctx, "tcp", at.String())
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil
}
