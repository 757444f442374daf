// SPDX-License-Identifier: Apache-2.0

package forward

import (
	"cmp"
	"errors"
	"hash/fnv"
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/view"
)

// persistent bounds how many clients a service remembers.
const persistent = 1 << 16

// turns shares turns out by weight, as evenly in time as can be ("smooth weighted round robin"): of weights 7 and 3, each ten turns in a
// row have seven and three. The zero value is usable.
type turns[K comparable] map[K]int

// next is whose turn it is, of some with weights above 0.
func (t turns[K]) next(keys []K, weights []int) K {
	total, best := 0, 0
	for i, k := range keys {
		total += weights[i]
		t[k] += weights[i]
		if t[k] > t[keys[best]] {
			best = i
		}
	}
	t[keys[best]] -= total
	if len(t) > 2*len(keys)+16 {
		for k := range t { // those who take part no more
			if !slices.Contains(keys, k) {
				delete(t, k)
			}
		}
	}
	return keys[best]
}

// memory is what a service remembers of the choices that it made. The service's lock guards it.
type memory struct {
	pools   turns[string]
	servers map[string]turns[netip.AddrPort] // by pool
	clients map[persistence]*persisted
	open    map[netip.AddrPort]int // connections by server
}

type persistence struct {
	pool   string
	client netip.Addr
}

type persisted struct {
	server netip.AddrPort
	until  time.Time
}

func newMemory() memory {
	return memory{pools: turns[string]{}, servers: map[string]turns[netip.AddrPort]{}, clients: map[persistence]*persisted{},
		open: map[netip.AddrPort]int{}}
}

var (
	errDenied   = errors.New("the client is not let in")
	errNoServer = errors.New("no server is up")
	errNoTarget = errors.New("no rule and no pool for the port")
)

// choose finds the pool and the server of a new connection.
func (m *memory) choose(targets []target, client netip.Addr, now time.Time) (pool, netip.AddrPort, error) {
	i := slices.IndexFunc(targets, func(t target) bool { return t.clients == nil || t.clients.Match(client) })
	if i < 0 {
		return pool{}, netip.AddrPort{}, errNoTarget
	}
	usable := targets[i].usable()
	if len(usable) == 0 {
		return pool{}, netip.AddrPort{}, errNoServer
	}
	p := usable[0]
	if len(usable) > 1 {
		names, ratios := make([]string, len(usable)), make([]int, len(usable))
		for i, p := range usable {
			names[i], ratios[i] = p.name, p.ratio
		}
		name := m.pools.next(names, ratios)
		p = usable[slices.Index(names, name)]
	}
	return p, m.server(p, client, now), nil
}

// server finds the server of a new connection in a pool that has one that is up.
func (m *memory) server(p pool, client netip.Addr, now time.Time) netip.AddrPort {
	key := persistence{p.name, client}
	if p.persistence > 0 {
		if x := m.clients[key]; x != nil && now.Before(x.until) && slices.ContainsFunc(p.up, func(s server) bool { return s.at == x.server }) {
			x.until = now.Add(p.persistence)
			return x.server
		}
	}
	at := m.balance(p, client)
	if p.persistence > 0 {
		m.remember(key, at, now.Add(p.persistence), now)
	}
	return at
}

// balance follows the pool's algorithm: consistent hash by the client's address, round robin, and least connections for all others.
func (m *memory) balance(p pool, client netip.Addr) netip.AddrPort {
	candidates := p.up
	switch p.algorithm {
	case "LB_ALGORITHM_CONSISTENT_HASH":
		return slices.MaxFunc(candidates, func(a, b server) int { return cmp.Compare(score(a, client), score(b, client)) }).at
	case "LB_ALGORITHM_ROUND_ROBIN":
	default:
		load := func(s server) float64 { return float64(m.open[s.at]) / float64(s.weight) }
		least := math.Inf(1)
		for _, s := range p.up {
			least = min(least, load(s))
		}
		candidates = slices.DeleteFunc(slices.Clone(p.up), func(s server) bool { return load(s) > least })
	}
	turn := m.servers[p.name]
	if turn == nil {
		turn = turns[netip.AddrPort]{}
		m.servers[p.name] = turn
	}
	keys, weights := make([]netip.AddrPort, len(candidates)), make([]int, len(candidates))
	for i, s := range candidates {
		keys[i], weights[i] = s.at, s.weight
	}
	return turn.next(keys, weights)
}

// score ranks the servers for a client, so that one server less moves its own clients alone ("rendezvous hashing").
func score(s server, client netip.Addr) float64 {
	h := fnv.New64a()
	_, _ = h.Write(client.AsSlice())
	b, _ := s.at.MarshalBinary()
	_, _ = h.Write(b)
	x := h.Sum64() // mixed, since the last bytes move only few bits of it
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	x ^= x >> 33
	return float64(s.weight) / -math.Log((float64(x>>11)+0.5)/(1<<53))
}

// remember keeps a client's server, and makes room first.
func (m *memory) remember(key persistence, at netip.AddrPort, until, now time.Time) {
	if len(m.clients) >= persistent {
		for k, x := range m.clients {
			if now.After(x.until) || len(m.clients) >= persistent {
				delete(m.clients, k)
			}
		}
	}
	m.clients[key] = &persisted{at, until}
}

// target is one target of a service, and pool one of its pools, in the form that choosing needs.
type target struct {
	clients *view.ForwardingClients
	pools   []pool // by tier
}

type pool struct {
	name        string
	tier, ratio int
	algorithm   string
	persistence time.Duration
	up          []server // that take connections
}

type server struct {
	at     netip.AddrPort // in the simulated network
	weight int
}

// usable are the pools that share the connections: those of the first tier that has one that is up.
func (t target) usable() (out []pool) {
	for _, p := range t.pools {
		if len(out) > 0 && p.tier != out[0].tier {
			break
		}
		if p.ratio > 0 && len(p.up) > 0 {
			out = append(out, p)
		}
	}
	return out
}
