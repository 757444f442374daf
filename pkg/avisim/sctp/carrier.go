// SPDX-License-Identifier: Apache-2.0

package sctp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
)

// carrier is a socket that packets of SCTP travel through. Where they travel in IP itself, the ports of its addresses are 0.
type carrier interface {
	net.Conn
	receive(b []byte) (int, netip.AddrPort, error)
	// send sends a packet. One that the socket refuses is one that the network lost: SCTP sends it again.
	send(p packet, to netip.AddrPort)
}

// inUDP is RFC 6951.
type inUDP struct{ *net.UDPConn }

func (c inUDP) receive(b []byte) (int, netip.AddrPort, error) { return c.ReadFromUDPAddrPort(b) }

func (c inUDP) send(p packet, to netip.AddrPort) { _, _ = c.WriteToUDPAddrPort(p, to) }

// inIP has no other header between.
type inIP struct{ *net.IPConn }

func (c inIP) receive(b []byte) (int, netip.AddrPort, error) {
	n, from, err := c.ReadFromIP(b) // without the header of IP
	if err != nil {
		return 0, netip.AddrPort{}, err
	}
	return n, addrPort(from), nil
}

func (c inIP) send(p packet, to netip.AddrPort) {
	_, _ = c.WriteToIP(p, &net.IPAddr{IP: to.Addr().AsSlice(), Zone: to.Addr().Zone()})
}

// kernelsOwn is there where the kernel has SCTP.
const kernelsOwn = "/proc/net/sctp"

// ErrKernel is the error of [NewIPEndpoint] where the kernel has SCTP: it would answer each packet with an ABORT, as it knows of no such
// association.
var ErrKernel = errors.New("SCTP in IP needs a kernel without SCTP of its own")

func openIP(at netip.Addr) (carrier, error) {
	if _, err := os.Stat(kernelsOwn); err == nil {
		return nil, ErrKernel
	}
	network := "ip6:132"
	if at.Is4() {
		network = "ip4:132"
	}
	socket, err := net.ListenIP(network, &net.IPAddr{IP: at.AsSlice(), Zone: at.Zone()})
	if err != nil {
		return nil, fmt.Errorf("SCTP in IP: %w", err)
	}
	return inIP{socket}, nil
}

// reservePort takes a number for a client's port of SCTP in IP, which nobody else on this machine has until it is closed. The kernel hands
// out no ports of SCTP, and several sockets get each packet: so the number is that of a port of UDP, which is held and not used.
func reservePort(at netip.Addr) (*net.UDPConn, uint16, error) {
	held, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(at, 0)))
	if err != nil {
		return nil, 0, err
	}
	return held, addrPort(held.LocalAddr()).Port(), nil
}

// addrPort is an address of either kind.
func addrPort(a net.Addr) netip.AddrPort {
	switch a := a.(type) {
	case *net.UDPAddr:
		at := a.AddrPort()
		return netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
	case *net.IPAddr:
		at, _ := netip.AddrFromSlice(a.IP)
		return netip.AddrPortFrom(at.Unmap().WithZone(a.Zone), 0)
	}
	return netip.AddrPort{}
}
