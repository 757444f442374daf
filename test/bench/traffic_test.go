// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/avi-l4-operator/avi-l4-operator/hack/pods"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/sctp"
)

// BenchmarkTraffic compares traffic through the simulated Controller with the same traffic straight to the server.
func BenchmarkTraffic(b *testing.B) {
	for range b.N {
		x := newCarried(b)
		var rows []row
		rows = append(rows, x.rate("TCP", 512, x.sendTCP), x.latency("TCP", x.pingTCP))
		rows = append(rows, x.latency("UDP", x.pingUDP))
		rows = append(rows, x.rate("SCTP", 32, x.sendSCTP), x.latency("SCTP", x.pingSCTP))
		table("traffic through the simulated Controller, on loopback; client, proxy and server share the cores", rows)
		x.close()
	}
}

// carried is a virtual service with a port of each protocol, and a server that swallows what it gets at one port and echoes at another.
type carried struct {
	*testing.B
	room           *pods.Room
	sim            *avisim.Server
	server         *sctp.Endpoint
	closers        []io.Closer
	client         sctp.Dialer
	direct, behind netip.Addr // the server, and the VIP, on this machine
}

const (
	echoes, swallows = 9001, 9002
	carriedServer    = "10.244.7.7"
	carriedVIP       = "10.10.7.7"
)

func newCarried(b *testing.B) *carried {
	x := &carried{B: b}
	var err error
	x.room, err = pods.NewRoom()
	x.check(err)
	x.direct, err = x.room.Map.To(netip.MustParseAddr(carriedServer))
	x.check(err)
	x.behind, err = x.room.Map.To(netip.MustParseAddr(carriedVIP))
	x.check(err)
	x.serve()
	x.sim, err = avisim.New(avisim.Options{})
	x.check(err)
	address := func(a string) map[string]any { return map[string]any{"addr": a, "type": "V4"} }
	create := func(typ string, body map[string]any) {
		_, err := x.sim.Create(typ, "admin", body)
		x.check(err)
	}
	create("vsvip", map[string]any{"name": "v", "vip": []any{map[string]any{"vip_id": "0", "ip_address": address(carriedVIP)}}})
	for _, port := range []int{echoes, swallows} {
		name := fmt.Sprint(port)
		create("pool", map[string]any{"name": name, "servers": []any{map[string]any{"ip": address(carriedServer), "port": port}}})
		var services []any
		for _, profile := range []string{"System-TCP-Proxy", "System-UDP-Fast-Path", "System-SCTP-Proxy"} {
			services = append(services, map[string]any{"port": port, "override_network_profile_ref": "/api/networkprofile?name=" + profile})
		}
		create("virtualservice", map[string]any{"name": name, "vsvip_ref": "/api/vsvip?name=v", "pool_ref": "/api/pool?name=" + name,
			"services": services, "application_profile_ref": "/api/applicationprofile?name=System-L4-Application"})
	}
	_, err = x.sim.Forward(avisim.ForwardOptions{Map: x.room.Map})
	x.check(err)
	for _, protocol := range []string{"TCP", "UDP", "SCTP"} {
		_, err := x.sim.Plane().Find(protocol, netip.AddrPortFrom(netip.MustParseAddr(carriedVIP), echoes))
		x.check(err)
	}
	return x
}

func (x *carried) check(err error) {
	x.Helper()
	if err != nil {
		x.Fatal(err)
	}
}

func (x *carried) close() {
	_ = x.client.Close()
	x.sim.Close()
	_ = x.server.Close()
	for _, c := range x.closers {
		c.Close()
	}
	x.room.Close()
}

// serve answers at both ports.
func (x *carried) serve() {
	var err error
	x.server, err = sctp.NewEndpoint(netip.AddrPortFrom(x.direct, sctp.Port))
	x.check(err)
	for port, echo := range map[uint16]bool{echoes: true, swallows: false} {
		at := netip.AddrPortFrom(x.direct, port)
		l, err := net.Listen("tcp", at.String())
		x.check(err)
		u, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
		x.check(err)
		x.closers = append(x.closers, l, u)
		a, err := x.server.Listen(port)
		x.check(err)
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					defer c.Close()
					if echo {
						_, _ = io.Copy(c, c)
						return
					}
					_, _ = io.Copy(io.Discard, c)
					_, _ = c.Write([]byte("."))
				}()
			}
		}()
		go func() {
			buffer := make([]byte, 1<<16)
			for {
				n, from, err := u.ReadFromUDPAddrPort(buffer)
				if err != nil {
					return
				}
				_, _ = u.WriteToUDPAddrPort(buffer[:n], from)
			}
		}()
		go func() {
			for {
				c, err := a.Accept()
				if err != nil {
					return
				}
				go func() {
					for {
						m, err := c.Read()
						if err != nil {
							return
						}
						if echo || string(m.Data) == "." {
							_ = c.Write(m)
						}
					}
				}()
			}
		}()
	}
}

// rate sends so many MiB straight and through the proxy.
func (x *carried) rate(protocol string, size int, send func(netip.Addr, int)) row {
	took := func(to netip.Addr) float64 {
		begin := time.Now()
		send(to, size)
		return float64(size) / time.Since(begin).Seconds()
	}
	straight, through := took(x.direct), took(x.behind)
	return row{what: protocol + ": rate through the proxy, of the rate straight",
		measured: fmt.Sprintf("%.0f of %.0f MiB/s, ratio %.2f", through, straight, through/straight)}
}

// latency asks one after the other straight and through the proxy, and takes the medians.
func (x *carried) latency(protocol string, ping func(netip.Addr) func()) row {
	median := func(to netip.Addr) time.Duration {
		once := ping(to)
		var took []time.Duration
		for range 2000 {
			begin := time.Now()
			once()
			took = append(took, time.Since(begin))
		}
		slices.Sort(took)
		return took[len(took)/2]
	}
	straight, through := median(x.direct), median(x.behind)
	return row{what: protocol + ": round trip of 64 bytes that the proxy adds, median of 2000",
		measured: fmt.Sprintf("%d us, %d us straight, ratio %.1f", (through - straight).Microseconds(), straight.Microseconds(),
			float64(through)/float64(straight))}
}

func (x *carried) sendTCP(to netip.Addr, size int) {
	c, err := net.Dial("tcp", netip.AddrPortFrom(to, swallows).String())
	x.check(err)
	defer c.Close()
	block := make([]byte, 1<<20)
	for range size {
		_, err := c.Write(block)
		x.check(err)
	}
	x.check(c.(*net.TCPConn).CloseWrite())
	_, err = io.ReadFull(c, block[:1])
	x.check(err)
}

func (x *carried) pingTCP(to netip.Addr) func() { return x.ping("tcp", to) }
func (x *carried) pingUDP(to netip.Addr) func() { return x.ping("udp", to) }

func (x *carried) ping(network string, to netip.Addr) func() {
	c, err := net.Dial(network, netip.AddrPortFrom(to, echoes).String())
	x.check(err)
	x.closers = append(x.closers, c)
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	b := make([]byte, 64)
	return func() {
		_, err := c.Write(b)
		x.check(err)
		_, err = io.ReadFull(c, b)
		x.check(err)
	}
}

func (x *carried) associate(to netip.Addr, port uint16) *sctp.Association {
	ctx, cancel := context.WithTimeout(x.Context(), time.Minute)
	defer cancel()
	a, err := x.client.Dial(ctx, netip.AddrPortFrom(to, sctp.Port), port)
	x.check(err)
	return a
}

func (x *carried) sendSCTP(to netip.Addr, size int) {
	a := x.associate(to, swallows)
	defer a.Abort("done")
	block := make([]byte, 1<<14)
	for range size << 6 {
		x.check(a.Write(sctp.Message{Data: block}))
	}
	x.check(a.Write(sctp.Message{Data: []byte(".")})) // in order behind all of it
	_, err := a.Read()
	x.check(err)
}

func (x *carried) pingSCTP(to netip.Addr) func() {
	a := x.associate(to, echoes)
	b := make([]byte, 64)
	return func() {
		x.check(a.Write(sctp.Message{Data: b}))
		_, err := a.Read()
		x.check(err)
	}
}
