// SPDX-License-Identifier: Apache-2.0

package world

import (
	"container/heap"
	"math"
	"math/big"
	"net/netip"
	"slices"
	"time"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/doc"
)

// ipam keeps who holds which address. Addresses are unique within a VRF (inferred) and within the network that they
// were allocated from; they return when the VsVip goes or its entry does, not the virtual service (inferred).
type ipam struct {
	options   IPAM
	exhausted bool
	inVRF     map[doc.Ref]map[netip.Addr]string // holder's uuid
	networks  map[doc.Ref]*network
	held      map[string][]holding // by uuid of the VsVip
	resting   map[restKey]int64    // µs until which a returned address is not given out again
	restQueue []restKey            // in the order of return
}

// holding is one address of a VsVip.
type holding struct {
	vrf, network doc.Ref // network is zero for an address that was not allocated
	addr         netip.Addr
}

type restKey struct {
	network doc.Ref
	addr    netip.Addr
}

// network is the accounting of one network.
type network struct {
	object *Object // that the ranges were read from; another one means that they have to be read again
	vrf    doc.Ref
	ranges []*addressRange
	used   map[netip.Addr]string // addresses allocated from here, with their holder's uuid
}

// span is a range of addresses of one of a network's subnets.
type span struct {
	network     doc.Ref
	subnet      netip.Prefix
	first, last netip.Addr
	use         string // STATIC_IPS_FOR_…
}

// addressRange finds the lowest free address of a span without looking at those that are taken: each address below the
// frontier is booked, rests, or waits in free.
type addressRange struct {
	span
	frontier netip.Addr
	free     addrHeap
	inFree   map[netip.Addr]struct{}
}

type addrHeap []netip.Addr

func (h addrHeap) Len() int           { return len(h) }
func (h addrHeap) Less(i, j int) bool { return h[i].Less(h[j]) }
func (h addrHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *addrHeap) Push(x any)        { *h = append(*h, x.(netip.Addr)) }
func (h *addrHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

func newIPAM() *ipam {
	return &ipam{inVRF: map[doc.Ref]map[netip.Addr]string{}, networks: map[doc.Ref]*network{}, held: map[string][]holding{},
		resting: map[restKey]int64{}}
}

func (sp span) contains(a netip.Addr) bool { return !a.Less(sp.first) && !sp.last.Less(a) }

// vip reports whether the range may serve virtual services.
func (sp span) vip() bool { return sp.use != "STATIC_IPS_FOR_SE" }

// size is the number of addresses, as far as the schema's uint32 can say it.
func (sp span) size() int {
	if sp.last.Less(sp.first) {
		return 0
	}
	a, b := new(big.Int).SetBytes(sp.first.AsSlice()), new(big.Int).SetBytes(sp.last.AsSlice())
	n := b.Sub(b, a).Add(b, big.NewInt(1))
	if !n.IsInt64() || n.Int64() > math.MaxUint32 {
		return math.MaxUint32
	}
	return int(n.Int64())
}

// network returns the accounting of a network, with the ranges that it has now; nil if there is no such network.
func (p *ipam) network(s *Store, at doc.Ref) *network {
	o := s.Get(at)
	if o == nil {
		return nil
	}
	n := p.networks[at]
	if n == nil {
		n = &network{used: map[netip.Addr]string{}}
		p.networks[at] = n
	}
	if n.object == o {
		return n
	}
	n.object, n.vrf, n.ranges = o, doc.RefAt(o.Body, "vrf_context_ref"), nil
	for _, sp := range spansOf(o) {
		n.ranges = append(n.ranges, &addressRange{span: sp, frontier: sp.first, inFree: map[netip.Addr]struct{}{}})
	}
	return n
}

// spansOf lists the address ranges of a network: those configured, or for a subnet without any the whole of it but the
// network's, the gateway's and the broadcast address. Evidence: the fields and types are documented (static_ip_ranges since
// 20.1.3, static_ranges before); that a subnet without ranges serves as a whole, and that its first host is the gateway, is
// inferred.
func spansOf(o *Object) []span {
	var out []span
	for _, cs := range doc.Messages(o.Body["configured_subnets"]) {
		pm, _ := cs["prefix"].(map[string]any)
		p, ok := parsePrefix(pm)
		if !ok {
			continue
		}
		p = p.Masked()
		given := 0
		for _, f := range []struct{ list, inner string }{{"static_ip_ranges", "range"}, {"static_ranges", ""}} {
			for _, r := range doc.Messages(cs[f.list]) {
				given++
				use := doc.Str(r, "type")
				if f.inner != "" {
					r, _ = r[f.inner].(map[string]any)
				}
				first, err1 := netip.ParseAddr(doc.Str(r, "begin", "addr"))
				last, err2 := netip.ParseAddr(doc.Str(r, "end", "addr"))
				if err1 != nil || err2 != nil || first.Is4() != p.Addr().Is4() || last.Is4() != first.Is4() {
					continue
				}
				if use == "" {
					use = "STATIC_IPS_FOR_VIP_AND_SE" // the schema's default
				}
				out = append(out, span{o.Ref, p, first, last, use})
			}
		}
		if given == 0 {
			out = append(out, whole(o.Ref, p))
		}
	}
	return out
}

func whole(network doc.Ref, p netip.Prefix) span {
	raw := p.Addr().AsSlice()
	for i := p.Bits(); i < len(raw)*8; i++ {
		raw[i/8] |= 0x80 >> (i % 8)
	}
	first := p.Addr()
	last, _ := netip.AddrFromSlice(raw)
	if p.Bits() < len(raw)*8-1 { // a network of one or two addresses has none to spare
		first, last = first.Next().Next(), last.Prev()
	}
	return span{network, p, first, last, "STATIC_IPS_FOR_VIP_AND_SE"}
}

// booked reports whether an address of a network is held, by allocation or by a static address in the network's VRF.
func (p *ipam) booked(n *network, a netip.Addr) bool {
	if _, used := n.used[a]; used {
		return true
	}
	_, static := p.inVRF[n.vrf][a]
	return static
}

// lowest returns the lowest address of a range that is neither booked, nor rests, nor is to be skipped. Nothing is taken
// yet: what the caller does not hold is free at the next call.
func (p *ipam) lowest(n *network, r *addressRange, skip func(netip.Addr) bool) (netip.Addr, bool) {
	taken := func(a netip.Addr) bool {
		_, rests := p.resting[restKey{r.network, a}]
		return rests || p.booked(n, a)
	}
	var aside []netip.Addr
	defer func() {
		for _, a := range aside {
			r.offer(a)
		}
	}()
	for len(r.free) > 0 {
		a := r.free[0]
		if !taken(a) && !skip(a) {
			return a, true
		}
		if !taken(a) {
			aside = append(aside, a)
		}
		heap.Pop(&r.free)
		delete(r.inFree, a)
	}
	for r.frontier.IsValid() && r.contains(r.frontier) && taken(r.frontier) {
		r.frontier = r.frontier.Next()
	}
	for a := r.frontier; a.IsValid() && r.contains(a); a = a.Next() {
		if !taken(a) && !skip(a) {
			return a, true
		}
	}
	return netip.Addr{}, false
}

// offer makes an address below the frontier available.
func (r *addressRange) offer(a netip.Addr) {
	if _, there := r.inFree[a]; there || !r.contains(a) || r.frontier.IsValid() && !a.Less(r.frontier) {
		return
	}
	r.inFree[a] = struct{}{}
	heap.Push(&r.free, a)
}

// wake ends the rest of addresses whose time has come.
func (p *ipam) wake(now int64) {
	for len(p.restQueue) > 0 {
		k := p.restQueue[0]
		if until, rests := p.resting[k]; rests && until > now {
			return
		}
		p.restQueue = p.restQueue[1:]
		p.unrest(k)
	}
}

func (p *ipam) unrest(k restKey) {
	delete(p.resting, k)
	if n := p.networks[k.network]; n != nil && !p.booked(n, k.addr) {
		for _, r := range n.ranges {
			r.offer(k.addr)
		}
	}
}

// hold takes note of the addresses of a committed VsVip, in place of those that it held before.
func (p *ipam) hold(o *Object, now time.Time) {
	after, before := holdings(o), p.held[o.UUID]
	if slices.Equal(after, before) {
		return
	}
	for _, h := range before {
		if !slices.Contains(after, h) {
			p.giveBack(h, now)
		}
	}
	if len(after) == 0 {
		delete(p.held, o.UUID)
		return
	}
	p.held[o.UUID] = after
	for _, h := range after {
		if p.inVRF[h.vrf] == nil {
			p.inVRF[h.vrf] = map[netip.Addr]string{}
		}
		p.inVRF[h.vrf][h.addr] = o.UUID
		if h.network != (doc.Ref{}) {
			n := p.networks[h.network]
			if n == nil { // its object may be gone already; the ranges are read when somebody asks for an address
				n = &network{used: map[netip.Addr]string{}}
				p.networks[h.network] = n
			}
			n.used[h.addr] = o.UUID
			delete(p.resting, restKey{h.network, h.addr})
		}
	}
}

// holdings reads the addresses of a VsVip off its body, which is all that a restart has.
func holdings(o *Object) []holding {
	var out []holding
	vrf := doc.RefAt(o.Body, "vrf_context_ref")
	for _, v := range doc.Messages(o.Body["vip"]) {
		var from doc.Ref
		if doc.Bool(v, "avi_allocated_vip", false) {
			from = doc.RefAt(v, "ipam_network_subnet", "network_ref")
			if from == (doc.Ref{}) { // public clouds name a subnet only
				for _, d := range doc.Messages(v["discovered_networks"]) {
					from = doc.RefAt(d, "network_ref")
				}
			}
		}
		for _, f := range Families {
			if a, err := netip.ParseAddr(doc.Str(v, f.Field, "addr")); err == nil {
				out = append(out, holding{vrf, from, a})
			}
			if a, err := netip.ParseAddr(doc.Str(v, f.floating, "addr")); err == nil && doc.Bool(v, "avi_allocated_fip", false) {
				out = append(out, holding{doc.Ref{}, doc.Ref{Type: "network", UUID: doc.Str(v, f.floatingSubnet)}, a})
			}
		}
	}
	return out
}

// release gives back all addresses of a VsVip.
func (p *ipam) release(uuid string, now time.Time) {
	for _, h := range p.held[uuid] {
		p.giveBack(h, now)
	}
	delete(p.held, uuid)
}

func (p *ipam) giveBack(h holding, now time.Time) {
	delete(p.inVRF[h.vrf], h.addr)
	if n := p.networks[h.network]; n != nil {
		delete(n.used, h.addr)
		if p.options.Quarantine > 0 {
			k := restKey{h.network, h.addr}
			p.resting[k] = now.Add(p.options.Quarantine).UnixMicro()
			p.restQueue = append(p.restQueue, k)
		}
	}
	for at, n := range p.networks { // a static address counts in every network of its VRF
		if _, rests := p.resting[restKey{at, h.addr}]; rests || p.booked(n, h.addr) {
			continue
		}
		for _, r := range n.ranges {
			r.offer(h.addr)
		}
	}
}
