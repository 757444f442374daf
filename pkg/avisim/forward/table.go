// SPDX-License-Identifier: Apache-2.0

package forward

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/view"
)

// key names a service: a port of a VIP.
type key struct {
	protocol string
	at       netip.AddrPort // in the simulated network
}

// rules are what holds for a service now. They are replaced, never changed.
type rules struct {
	name    string // of the virtual service, with its tenant
	idle    time.Duration
	admit   []view.ForwardingAdmit
	targets []target
	servers map[netip.AddrPort]reached
}

// reached is a server that the service reaches, be it up or not.
type reached struct {
	disabled bool          // in all of the pools that have it
	drain    time.Duration // negative: no limit
}

// compile makes the rules of all services of a view. What has more services than a limit is cut off.
func compile(f view.Forwarding, limit int) (out map[key]*rules, cut bool) {
	out = map[key]*rules{}
	for _, vs := range f.VirtualServices {
		if !vs.Served || vs.Silent {
			continue
		}
		for _, l := range vs.Listeners {
			for _, a := range vs.Addresses {
				addr, err := netip.ParseAddr(a)
				if err != nil {
					continue
				}
				for port := l.First; port <= l.Last; port++ {
					k := key{l.Protocol, netip.AddrPortFrom(addr, uint16(port))}
					if out[k] != nil {
						continue
					}
					if len(out) == limit {
						return out, true
					}
					out[k] = compileService(vs, l, port)
				}
			}
		}
	}
	return out, false
}

func compileService(vs view.ForwardingRule, l view.ForwardingService, port int) *rules {
	r := &rules{name: strings.TrimPrefix(vs.Tenant+"/"+vs.Name, "admin/"), idle: time.Duration(l.Idle), servers: map[netip.AddrPort]reached{}}
	for _, a := range vs.Admission {
		if len(a.Ports) == 0 || slices.Contains(a.Ports, port) != a.Except {
			r.admit = append(r.admit, a)
		}
	}
	for _, t := range l.Targets {
		if len(t.Ports) > 0 && !slices.Contains(t.Ports, port) {
			continue
		}
		x := target{clients: t.Clients}
		for _, p := range t.Pools {
			x.pools = append(x.pools, r.pool(p))
		}
		r.targets = append(r.targets, x)
	}
	return r
}

// pool takes a pool, and notes its servers.
func (r *rules) pool(p view.ForwardingPool) pool {
	out := pool{name: p.Name, tier: p.Tier, ratio: p.Ratio, algorithm: p.Algorithm, persistence: time.Duration(p.Persistence)}
	for _, s := range p.Servers {
		addr, err := netip.ParseAddr(s.IP)
		if err != nil {
			continue
		}
		at := netip.AddrPortFrom(addr, uint16(s.Port))
		if s.State == "UP" && p.Up {
			out.up = append(out.up, server{at, s.Weight})
		}
		now := reached{s.State == "DISABLED", time.Duration(p.Drain)}
		if before, twice := r.servers[at]; twice && !before.disabled {
			now = before
		}
		r.servers[at] = now
	}
	return out
}

// lets reports whether a client is let in.
func (r *rules) lets(client netip.Addr) bool {
	for _, a := range r.admit {
		if a.Clients == nil || a.Clients.Match(client) {
			return a.Allow
		}
	}
	return true
}
