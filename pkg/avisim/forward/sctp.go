// SPDX-License-Identifier: Apache-2.0

package forward

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"sync"
	"time"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/sctp"
)

// listenSCTP accepts the associations of a service. All ports of a VIP have one socket. The plane is locked.
func (p *Plane) listenSCTP(s *service) (socket, error) {
	at := s.listen.Addr()
	e := p.endpoints[at]
	if e == nil {
		inner, err := p.openSCTP(at)
		if err != nil {
			return nil, err
		}
		e = &endpoint{Endpoint: inner}
		p.endpoints[at] = e
	}
	l, err := e.Listen(s.key.at.Port())
	if err != nil {
		return nil, err
	}
	e.users++
	var carried sync.WaitGroup
	p.done.Go(func() {
		for {
			a, err := l.Accept()
			if err != nil {
				return
			}
			carried.Go(func() { p.carrySCTP(s, a) })
		}
	})
	return closing(func() {
		l.Close()
		p.done.Go(func() { // stop cuts the associations next
			carried.Wait()
			p.leave(at, e)
		})
	}), nil
}

func (p *Plane) openSCTP(at netip.Addr) (*sctp.Endpoint, error) {
	if p.options.SCTPInIP {
		return sctp.NewIPEndpoint(at)
	}
	return sctp.NewEndpoint(netip.AddrPortFrom(at, p.options.SCTPPort))
}

// leave closes the socket of a VIP when no service has it any more.
func (p *Plane) leave(at netip.Addr, e *endpoint) {
	p.mu.Lock()
	if e.users--; e.users > 0 {
		p.mu.Unlock()
		return
	}
	if p.endpoints[at] == e {
		delete(p.endpoints, at)
	}
	p.mu.Unlock()
	_ = e.Close()
}

// carrySCTP forwards one association: the client's ends here, and another one leads to the server.
func (p *Plane) carrySCTP(s *service, client *sctp.Association) {
	remote, _ := client.Remote()
	f, err := s.open(p.options.Map.From(remote.Addr()))
	if err != nil {
		client.Abort(err.Error())
		return
	}
	defer f.close()
	server, err := p.dialSCTP(f)
	if err != nil {
		s.failed.Add(1)
		client.Abort("the server does not answer")
		return
	}
	cut := func() { // an ABORT takes a moment to send, and there may be many
		p.done.Go(func() { client.Abort("the proxy ends it") })
		p.done.Go(func() { server.Abort("the proxy ends it") })
	}
	if f.onCut(cut) {
		cut()
		return
	}
	var both sync.WaitGroup
	both.Go(func() { p.pass(f, server, client) })
	p.pass(f, client, server)
	both.Wait()
}

func (p *Plane) dialSCTP(f *flow) (*sctp.Association, error) {
	at, err := p.server(f.server)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(p.ctx, dialTimeout)
	defer cancel()
	return p.dialer.Dial(ctx, netip.AddrPortFrom(at.Addr(), p.options.SCTPPort), at.Port())
}

// pass hands the messages of one association to the other, each on its stream, and then its end: a shutdown as a shutdown, after all that
// was sent before it, and an abort as an abort.
func (p *Plane) pass(f *flow, to, from *sctp.Association) {
	for {
		m, err := from.Read()
		switch {
		case errors.Is(err, io.EOF):
			ctx, cancel := context.WithTimeout(p.ctx, ending)
			_ = to.Shutdown(ctx) // aborts it if that takes too long
			cancel()
			return
		case err != nil:
			to.Abort("the other side aborted")
			return
		}
		f.touch()
		if to.Write(m) == nil {
			continue
		}
		// The other side is ending, which the other direction hands on; it is given the time for that.
		late := time.AfterFunc(ending, func() { from.Abort("the other side takes nothing") })
		for err == nil {
			_, err = from.Read()
		}
		late.Stop()
		return
	}
}
