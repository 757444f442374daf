// SPDX-License-Identifier: Apache-2.0

package sctp

import (
	"context"
	"errors"
	"net/netip"
	"sync"
)

// Dialer makes associations as a client, from one socket for each family and scope of addresses: those to loopback are made from
// loopback. The zero value is usable, and safe for concurrent use.
type Dialer struct {
	InIP bool // the packets travel in IP itself, see [NewIPEndpoint]

	mu        sync.Mutex
	endpoints map[netip.Addr]*Endpoint
}

// Dial makes an association with a port of SCTP behind a UDP socket, as [Endpoint.Dial] does.
func (d *Dialer) Dial(ctx context.Context, remote netip.AddrPort, port uint16) (*Association, error) {
	e, err := d.endpoint(remote.Addr().Unmap())
	if err != nil {
		return nil, err
	}
	return e.Dial(ctx, netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port()), port)
}

func (d *Dialer) endpoint(remote netip.Addr) (*Endpoint, error) {
	from := netip.IPv6Unspecified()
	switch {
	case remote.Is4() && remote.IsLoopback():
		from = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	case remote.Is4():
		from = netip.IPv4Unspecified()
	case remote.IsLoopback():
		from = netip.IPv6Loopback()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if e := d.endpoints[from]; e != nil {
		return e, nil
	}
	var e *Endpoint
	var err error
	if d.InIP {
		e, err = NewIPEndpoint(from)
	} else {
		e, err = NewEndpoint(netip.AddrPortFrom(from, 0))
	}
	if err != nil {
		return nil, err
	}
	if d.endpoints == nil {
		d.endpoints = map[netip.Addr]*Endpoint{}
	}
	d.endpoints[from] = e
	return e, nil
}

// Close closes the sockets. End the associations that matter first.
func (d *Dialer) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var errs []error
	for _, e := range d.endpoints {
		errs = append(errs, e.Close())
	}
	d.endpoints = nil
	return errors.Join(errs...)
}
