// SPDX-License-Identifier: Apache-2.0

// Package forward carries traffic as the service engines of a world would: it listens at the addresses of the virtual services, and
// forwards connections of TCP, associations of SCTP and datagrams of UDP to the servers of their pools, as the rules, pools and policies
// of the world say at that moment.
//
// It is a proxy in user space on this machine. Where the addresses of the simulated network are is a [Map]'s to say: on loopback, which
// needs no rights, or as they are, in a network namespace that has them. SCTP travels in UDP (package sctp).
package forward

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/sctp"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/view"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/world"
)

// Options say where and how much a Plane forwards. The zero value is usable.
type Options struct {
	Map            Map    // default: 10.0.0.0/8 is at 127.0.0.0/8
	SCTPPort       uint16 // UDP port of VIPs and servers with SCTP; default 9899
	SCTPInIP       bool   // SCTP travels in IP itself, not in UDP: see sctp.NewIPEndpoint for what that needs
	MaxConnections int    // of all protocols together; more are refused; default 10,000
	MaxServices    int    // ports that are listened at; default 4096

	Logf func(string, ...any) // told of ports that can't be opened; default: nobody
}

// Times of a Plane.
const (
	followEvery = 10 * time.Millisecond // look for a change of the world
	wholeEvery  = time.Second           // look again whatever was said: states change with time alone, ports become free
	sweepEvery  = 250 * time.Millisecond
	dialTimeout = 5 * time.Second
	ending      = 10 * time.Second // in which the other side of an association has to end it
)

// Plane forwards until it is closed.
type Plane struct {
	world   *world.World
	options Options
	dialer  sctp.Dialer
	ctx     context.Context
	cancel  context.CancelFunc
	done    sync.WaitGroup

	connections atomic.Int64

	mu        sync.Mutex
	services  map[key]*service
	endpoints map[netip.Addr]*endpoint
	cut       bool // there are more services than MaxServices
}

// endpoint is the socket for the SCTP of one VIP, which all its ports share.
type endpoint struct {
	*sctp.Endpoint
	users int
}

// Start forwards what a world says until Close.
func Start(w *world.World, o Options) *Plane {
	o.SCTPPort = cmp.Or(o.SCTPPort, sctp.Port)
	if o.SCTPInIP {
		o.SCTPPort = 0
	}
	o.MaxConnections = cmp.Or(o.MaxConnections, 10_000)
	o.MaxServices = cmp.Or(o.MaxServices, 4096)
	if o.Logf == nil {
		o.Logf = func(string, ...any) {}
	}
	p := &Plane{world: w, options: o, services: map[key]*service{}, endpoints: map[netip.Addr]*endpoint{}}
	p.dialer.InIP = o.SCTPInIP
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.update()
	p.done.Go(p.follow)
	return p
}

// Close ends all connections and closes all ports.
func (p *Plane) Close() {
	p.cancel()
	p.mu.Lock()
	services := p.services
	p.services = map[key]*service{}
	p.mu.Unlock()
	for _, s := range services {
		s.stop()
	}
	p.done.Wait()
	_ = p.dialer.Close()
}

// follow keeps up with the world. A look at a large one takes its time, so that after one comes a pause that is ten times as long.
func (p *Plane) follow() {
	t := time.NewTicker(followEvery)
	defer t.Stop()
	revision, swept, next := int64(-1), time.Now(), time.Time{}
	whole := time.Now()
	for {
		select {
		case <-p.ctx.Done():
			return
		case <-t.C:
		}
		now := time.Now()
		if r := p.world.Revision(); now.After(next) && (r != revision || now.Sub(whole) >= wholeEvery) {
			revision, whole = r, now
			p.update()
			next = time.Now().Add(10 * time.Since(now))
		}
		if now.Sub(swept) >= sweepEvery {
			swept = now
			for _, s := range p.all() {
				s.sweep(now)
			}
		}
	}
}

func (p *Plane) all() []*service {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]*service, 0, len(p.services))
	for _, s := range p.services {
		out = append(out, s)
	}
	return out
}

// update has the services be as the world says.
func (p *Plane) update() {
	var f view.Forwarding
	p.world.Read(func(s *world.Reader) { f = view.NewForwarding(s) })
	wanted, cut := compile(f, p.options.MaxServices)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx.Err() != nil {
		return
	}
	if cut && !p.cut {
		p.options.Logf("forward: there are more than %d ports; the others are not served", p.options.MaxServices)
	}
	p.cut = cut
	for k, s := range p.services {
		if wanted[k] == nil {
			delete(p.services, k)
			s.stop()
		}
	}
	for k, r := range wanted {
		s := p.services[k]
		if s == nil {
			s = &service{plane: p, key: k, memory: newMemory(), flows: map[*flow]struct{}{}, disabled: map[netip.AddrPort]time.Time{}}
			p.services[k] = s
		}
		s.apply(r)
		p.listen(s)
	}
}

// listen opens the port of a service, if it isn't. The plane is locked.
func (p *Plane) listen(s *service) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.socket != nil || s.closed {
		return
	}
	at, err := p.options.Map.To(s.key.at.Addr())
	if err == nil {
		s.listen = netip.AddrPortFrom(at, s.key.at.Port())
		s.socket, err = map[string]func(*service) (socket, error){"TCP": p.listenTCP, "UDP": p.listenUDP, "SCTP": p.listenSCTP}[s.key.protocol](s)
	}
	if err != nil && (s.problem == nil || s.problem.Error() != err.Error()) {
		p.options.Logf("forward: %s %s of %s is not served: %v", s.key.protocol, s.key.at, s.rules.Load().name, err)
	}
	s.problem = err
}

// socket is what a service listens with.
type socket interface{ Close() }

// closing makes a socket of what is closed by a function.
type closing func()

// Close closes it.
func (c closing) Close() { c() }

// server is where a server is on this machine.
func (p *Plane) server(at netip.AddrPort) (netip.AddrPort, error) {
	a, err := p.options.Map.To(at.Addr())
	return netip.AddrPortFrom(a, at.Port()), err
}

// client is the address of a client in the simulated network.
func (p *Plane) client(a net.Addr) netip.Addr {
	var at netip.AddrPort
	switch a := a.(type) {
	case *net.TCPAddr:
		at = a.AddrPort()
	case *net.UDPAddr:
		at = a.AddrPort()
	}
	return p.options.Map.From(at.Addr())
}

// Status is what a Plane does.
type Status struct {
	Map         string          `json:"map"`
	SCTPPort    int             `json:"sctpPort"` // 0: SCTP travels in IP itself
	Connections int             `json:"connections"`
	Limited     bool            `json:"limited,omitempty"` // there are more ports than it may serve
	Services    []ServiceStatus `json:"services"`
}

// ServiceStatus is one port that is served.
type ServiceStatus struct {
	VirtualService string `json:"virtualService"` // with its tenant before it, unless that is admin
	Protocol       string `json:"protocol"`
	Address        string `json:"address"` // in the simulated network, with the port
	Listens        string `json:"listens"` // on this machine; for SCTP, the UDP address, with port 0 without UDP
	Error          string `json:"error,omitempty"`

	Connections int   `json:"connections"` // now
	Opened      int64 `json:"opened"`
	Refused     int64 `json:"refused"` // no server, not let in, too many
	Failed      int64 `json:"failed"`  // the server did not take them

	Servers map[string]int `json:"servers"` // connections now
}

// Status returns the present one.
func (p *Plane) Status() Status {
	out := Status{Map: p.options.Map.String(), SCTPPort: int(p.options.SCTPPort), Connections: int(p.connections.Load()),
		Services: []ServiceStatus{}}
	services := p.all()
	p.mu.Lock()
	out.Limited = p.cut
	p.mu.Unlock()
	for _, s := range services {
		out.Services = append(out.Services, s.status())
	}
	slices.SortFunc(out.Services, func(a, b ServiceStatus) int {
		return cmp.Or(strings.Compare(a.VirtualService, b.VirtualService), strings.Compare(a.Address, b.Address),
			strings.Compare(a.Protocol, b.Protocol))
	})
	return out
}

func (s *service) status() ServiceStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := ServiceStatus{VirtualService: s.rules.Load().name, Protocol: s.key.protocol, Address: s.key.at.String(),
		Connections: len(s.flows), Opened: s.opened.Load(), Refused: s.refused.Load(), Failed: s.failed.Load(), Servers: map[string]int{}}
	if s.listen.IsValid() {
		out.Listens = s.listen.String()
		if s.key.protocol == "SCTP" {
			out.Listens = netip.AddrPortFrom(s.listen.Addr(), s.plane.options.SCTPPort).String()
		}
	}
	if s.problem != nil {
		out.Error = s.problem.Error()
	}
	for at, n := range s.memory.open {
		out.Servers[at.String()] = n
	}
	return out
}

// Find returns where a port of a VIP is on this machine; an error if it isn't served.
func (p *Plane) Find(protocol string, at netip.AddrPort) (netip.AddrPort, error) {
	p.mu.Lock()
	s := p.services[key{protocol, at}]
	p.mu.Unlock()
	if s == nil {
		return netip.AddrPort{}, fmt.Errorf("%s %s is no port of a virtual service that is served", protocol, at)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.problem != nil {
		return netip.AddrPort{}, fmt.Errorf("%s %s: %w", protocol, at, s.problem)
	}
	return s.listen, nil
}

// closedSocket reports whether an error says that a socket was closed, after which nothing comes any more.
func closedSocket(err error) bool { return errors.Is(err, net.ErrClosed) }
