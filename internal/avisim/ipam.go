package avisim

import (
	"net/http"
	"net/netip"
	"slices"
	"strconv"
)

// family is one address family of a VIP entry, with the names of its fields.
type family struct {
	kind         string // V4 or V6, also the prefix of auto_allocate_ip_type's values
	field        string
	subnet       string
	is4          bool
	allocateType []string // values of auto_allocate_ip_type that ask for the family
}

var families = []family{
	{"V4", "ip_address", "subnet", true, []string{"V4_ONLY", "V4_V6"}},
	{"V6", "ip6_address", "subnet6", false, []string{"V6_ONLY", "V4_V6"}},
}

// ipam keeps who holds which address. Addresses are unique within a VRF (inferred) and within the network that they
// were allocated from; they return when the VsVip goes, not the virtual service (inferred).
type ipam struct {
	exhausted bool
	inVRF     map[ref]map[netip.Addr]string // holder's uuid
	inNetwork map[ref]map[netip.Addr]string
	held      map[string][]holding
	cursor    map[rangeKey]netip.Addr // nothing below it is free
}

type holding struct {
	vrf, network ref // network is zero for an address that was not allocated
	addr         netip.Addr
}

type rangeKey struct {
	network ref
	first   netip.Addr
}

// span is a range of addresses of a network from which VIPs may be taken.
type span struct {
	network     ref
	subnet      netip.Prefix
	first, last netip.Addr
}

func newIPAM() *ipam {
	return &ipam{inVRF: map[ref]map[netip.Addr]string{}, inNetwork: map[ref]map[netip.Addr]string{},
		held: map[string][]holding{}, cursor: map[rangeKey]netip.Addr{}}
}

func assignVIPIDs(body map[string]any) {
	for i, v := range messages(body["vip"]) {
		if str(v, "vip_id") == "" {
			v["vip_id"] = strconv.Itoa(i) // recorded for the first entry, inferred for others
		}
	}
}

func sameAddr(a, b string) bool {
	x, err1 := netip.ParseAddr(a)
	y, err2 := netip.ParseAddr(b)
	return err1 == nil && err2 == nil && x == y
}

// assign gives every VIP entry of a VsVip its addresses. What an entry held before it keeps: an update that leaves the
// address out gets it back (documented: a client relies on it). discovered_networks are given on allocation only; an
// update that drops them loses them, and the VS goes down (documented by an issue; see runtime.go).
func (p *ipam) assign(w *write) *apiError {
	assignVIPIDs(w.body)
	var before map[string]map[string]any
	self := ""
	if w.old != nil {
		before, self = vipsByID(w.old.body), w.old.uuid
	}
	taken := map[netip.Addr]bool{}
	for _, v := range messages(w.body["vip"]) {
		if err := p.entry(w, v, before[str(v, "vip_id")], self, taken); err != nil {
			if err.object == "" {
				err.object = w.name
			}
			return err
		}
	}
	return nil
}

func (p *ipam) entry(w *write, v, old map[string]any, self string, taken map[netip.Addr]bool) *apiError {
	auto := boolean(v, "auto_allocate_ip", false)
	kind := str(v, "auto_allocate_ip_type")
	if old != nil {
		for _, k := range []string{"ipam_network_subnet", "avi_allocated_vip"} {
			if kept, ok := old[k]; ok && auto && (v[k] == nil || v[k] == false) {
				v[k] = clone(kept)
			}
		}
	}
	vrf := refAt(w.body, "vrf_context_ref")
	some := false
	for _, f := range families {
		if kept := at(old, f.field); kept != nil && v[f.field] == nil && auto {
			v[f.field] = clone(kept)
		}
		text := str(v, f.field, "addr")
		var want netip.Addr
		if text != "" {
			var err error
			if want, err = netip.ParseAddr(text); err != nil || want.Is4() != f.is4 {
				return fieldCheck(f.field, "Invalid IP address %s", text)
			}
			if holder, busy := p.inVRF[vrf][want]; busy && holder != self || taken[want] {
				return refuse(http.StatusBadRequest, "IP address %s is already in use in this VRF", want)
			}
		}
		if auto && wants(f, kind) && str(old, f.field, "addr") == "" {
			got, from, err := p.allocate(w, v, f, vrf, want, taken)
			if err != nil {
				return err
			}
			want = got
			grant(v, f, got, from)
		}
		if want.IsValid() {
			taken[want], some = true, true
		}
	}
	if !some && !w.trusted {
		return refuse(http.StatusBadRequest, "VIP %s has no IP address and no auto_allocate_ip", str(v, "vip_id"))
	}
	return nil
}

func wants(f family, kind string) bool {
	for _, k := range f.allocateType {
		if k == kind || kind == "" && f.is4 {
			return true
		}
	}
	return false
}

// allocate finds the lowest free address, or checks the preferred one. Evidence: "No available free IPs" is documented, the
// other texts are unverified.
func (p *ipam) allocate(w *write, v map[string]any, f family, vrf ref, want netip.Addr, taken map[netip.Addr]bool) (netip.Addr, span, *apiError) {
	spans, err := w.spans(v, f, vrf)
	if err != nil {
		return want, span{}, err
	}
	none := refuse(http.StatusBadRequest, "No available free IPs")
	if p.exhausted {
		return want, span{}, none
	}
	booked := func(sp span, a netip.Addr) bool {
		_, used := p.inNetwork[sp.network][a]
		_, busy := p.inVRF[vrf][a]
		return used || busy
	}
	if want.IsValid() {
		for _, sp := range spans {
			if want.Less(sp.first) || sp.last.Less(want) {
				continue
			}
			if booked(sp, want) || taken[want] {
				return want, sp, refuse(http.StatusBadRequest, "Preferred IP %s is not available", want)
			}
			return want, sp, nil
		}
		return want, span{}, refuse(http.StatusBadRequest, "Preferred IP %s is not in the configured ranges", want)
	}
	for _, sp := range spans {
		key := rangeKey{sp.network, sp.first}
		a := p.cursor[key]
		if !a.IsValid() || a.Less(sp.first) {
			a = sp.first
		}
		var lowest netip.Addr // that is not booked: what this write has taken so far may come back if it is refused
		for ; a.IsValid() && !sp.last.Less(a); a = a.Next() {
			if booked(sp, a) {
				continue
			}
			if !lowest.IsValid() {
				lowest = a
				p.cursor[key] = a
			}
			if !taken[a] {
				return a, sp, nil
			}
		}
		if !lowest.IsValid() && a.IsValid() {
			p.cursor[key] = a
		}
	}
	return want, span{}, none
}

// grant writes an allocation into the VIP entry as the Controller does. Evidence: documented by a client that reads it.
func grant(v map[string]any, f family, a netip.Addr, from span) {
	v[f.field] = address(a)
	v["avi_allocated_vip"] = true
	nets, _ := v["ipam_network_subnet"].(map[string]any)
	if nets == nil {
		nets = map[string]any{}
		v["ipam_network_subnet"] = nets
	}
	nets["network_ref"] = from.network
	nets[f.subnet] = prefix(from.subnet)
	found, _ := v["discovered_networks"].([]any)
	for _, d := range messages(found) {
		if refAt(d, "network_ref") == from.network {
			d[f.subnet] = []any{prefix(from.subnet)}
			return
		}
	}
	v["discovered_networks"] = append(found, map[string]any{"network_ref": from.network, f.subnet: []any{prefix(from.subnet)}})
}

func address(a netip.Addr) map[string]any {
	kind := "V6"
	if a.Is4() {
		kind = "V4"
	}
	return map[string]any{"addr": a.String(), "type": kind}
}

func prefix(p netip.Prefix) map[string]any {
	return map[string]any{"ip_addr": address(p.Addr()), "mask": float64(p.Bits())}
}

func parsePrefix(m map[string]any) (netip.Prefix, bool) {
	a, err := netip.ParseAddr(str(m, "ip_addr", "addr"))
	if err != nil {
		return netip.Prefix{}, false
	}
	p, err := a.Prefix(integer(m, "mask"))
	return p, err == nil
}

// spans lists where an entry's address may come from, in order of preference: the network that the entry names, else its
// placement networks, else the usable networks of the cloud's IPAM profile (documented).
func (w *write) spans(v map[string]any, f family, vrf ref) ([]span, *apiError) {
	cloud := w.store.get(w.cloud)
	var profile *object
	if cloud != nil {
		profile = w.store.get(refAt(cloud.body, "ipam_provider_ref"))
	}
	if profile == nil {
		return nil, refuse(http.StatusBadRequest, "Cloud has no IPAM profile to allocate an IP address from")
	}
	type choice struct {
		network ref
		subnet  netip.Prefix // zero: any
	}
	var choices []choice
	add := func(n ref, s any) {
		sub, _ := s.(map[string]any)
		p, _ := parsePrefix(sub)
		choices = append(choices, choice{n, p})
	}
	if n := refAt(v, "ipam_network_subnet", "network_ref"); n != (ref{}) {
		add(n, at(v, "ipam_network_subnet", f.subnet))
	}
	if len(choices) == 0 {
		for _, pl := range messages(v["placement_networks"]) {
			add(refAt(pl, "network_ref"), pl[f.subnet])
		}
	}
	if len(choices) == 0 {
		for _, u := range messages(at(profile.body, "internal_profile", "usable_networks")) {
			n := w.store.get(refAt(u, "nw_ref"))
			if n != nil && (!boolean(profile.body, "allocate_ip_in_vrf", false) || refAt(n.body, "vrf_context_ref") == vrf) {
				add(n.ref, at(v, "ipam_network_subnet", f.subnet))
			}
		}
	}
	var out []span
	subnets := false
	for _, c := range choices {
		n := w.store.get(c.network)
		if n == nil {
			continue
		}
		for _, cs := range messages(n.body["configured_subnets"]) {
			pm, _ := cs["prefix"].(map[string]any)
			p, ok := parsePrefix(pm)
			if !ok || p.Addr().Is4() != f.is4 || c.subnet.IsValid() && c.subnet.Masked() != p.Masked() {
				continue
			}
			subnets = true
			out = append(out, ranges(c.network, p.Masked(), cs)...)
		}
	}
	if !subnets {
		return nil, refuse(http.StatusBadRequest, "No network/subnet matched for VIP %s (%s)", str(v, "vip_id"), f.kind)
	}
	return out, nil
}

// ranges lists the address ranges of one configured subnet: those given for VIPs, or the whole subnet without its
// network, gateway and broadcast addresses if none is given.
func ranges(network ref, p netip.Prefix, cs map[string]any) []span {
	var out []span
	given := messages(cs["static_ip_ranges"])
	for _, r := range given {
		first, err1 := netip.ParseAddr(str(r, "range", "begin", "addr"))
		last, err2 := netip.ParseAddr(str(r, "range", "end", "addr"))
		if err1 == nil && err2 == nil && str(r, "type") != "STATIC_IPS_FOR_SE" {
			out = append(out, span{network, p, first, last})
		}
	}
	if len(given) > 0 {
		return out
	}
	last := p.Addr().AsSlice()
	for i := p.Bits(); i < len(last)*8; i++ {
		last[i/8] |= 0x80 >> (i % 8)
	}
	end, _ := netip.AddrFromSlice(last)
	return []span{{network, p, p.Addr().Next().Next(), end.Prev()}}
}

// hold takes note of the addresses of a committed VsVip, in place of those that it held before.
func (p *ipam) hold(o *object) {
	now := holdings(o)
	if slices.Equal(now, p.held[o.uuid]) {
		return
	}
	p.release(o.uuid)
	p.held[o.uuid] = now
	for _, h := range now {
		mark(p.inVRF, h.vrf, h.addr, o.uuid)
		if h.network != (ref{}) {
			mark(p.inNetwork, h.network, h.addr, o.uuid)
		}
	}
}

func holdings(o *object) []holding {
	var out []holding
	vrf := refAt(o.body, "vrf_context_ref")
	for _, v := range messages(o.body["vip"]) {
		var network ref
		if boolean(v, "avi_allocated_vip", false) {
			network = refAt(v, "ipam_network_subnet", "network_ref")
		}
		for _, f := range families {
			if a, err := netip.ParseAddr(str(v, f.field, "addr")); err == nil {
				out = append(out, holding{vrf, network, a})
			}
		}
	}
	return out
}

func mark(m map[ref]map[netip.Addr]string, key ref, a netip.Addr, holder string) {
	if m[key] == nil {
		m[key] = map[netip.Addr]string{}
	}
	m[key][a] = holder
}

// release gives back all addresses of a VsVip.
func (p *ipam) release(uuid string) {
	for _, h := range p.held[uuid] {
		delete(p.inVRF[h.vrf], h.addr)
		delete(p.inNetwork[h.network], h.addr)
		for key, at := range p.cursor {
			if (h.network == key.network || h.network == ref{}) && h.addr.Less(at) && !h.addr.Less(key.first) {
				p.cursor[key] = h.addr
			}
		}
	}
	delete(p.held, uuid)
}
