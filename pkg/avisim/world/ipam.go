// SPDX-License-Identifier: Apache-2.0

package world

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/doc"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/schema"
)

// Family is one address family of a VIP entry, with the names of its fields.
type Family struct {
	kind           string // V4 or V6, also the prefix of auto_allocate_ip_type's values
	Field          string
	subnet         string
	subnetUUID     string
	floating       string
	floatingSubnet string
	is4            bool
	allocateType   []string // values of auto_allocate_ip_type that ask for the family
}

// Families are IPv4 and IPv6.
var Families = []Family{
	{"V4", "ip_address", "subnet", "subnet_uuid", "floating_ip", "floating_subnet_uuid", true, []string{"V4_ONLY", "V4_V6"}},
	{"V6", "ip6_address", "subnet6", "subnet6_uuid", "floating_ip6", "floating_subnet6_uuid", false, []string{"V6_ONLY", "V4_V6"}},
}

// publicClouds allocate addresses from subnets that go by an id of their own. Evidence: documented by the schema
// (subnet_uuid is for OpenStack and AWS) and by a client that sends it to AWS and Azure.
var publicClouds = []string{"CLOUD_AWS", "CLOUD_AZURE", "CLOUD_GCP", "CLOUD_OPENSTACK"}

// IPAM says how addresses are handed out. The zero value is the Controller's own IPAM: the lowest free address, in the
// answer to the write.
type IPAM struct {
	// Async, if not 0, makes answers come without an address, with avi_allocated_vip true, and fills it in so much later,
	// as cloud IPAMs do (documented by an issue).
	Async time.Duration

	// Quarantine keeps a returned address from being allocated again for so long, unless a client prefers it (unverified).
	Quarantine time.Duration

	// Slow is how much longer a write of a VsVip takes.
	Slow time.Duration

	// OtherThanPreferred gives every VIP that prefers an address another one.
	OtherThanPreferred bool

	// ChangeAfter, if not 0, gives a VIP another address so long after it got its first one.
	ChangeAfter time.Duration
}

func assignVIPIDs(body map[string]any) {
	for i, v := range doc.Messages(body["vip"]) {
		if doc.Str(v, "vip_id") == "" {
			v["vip_id"] = strconv.Itoa(i) // recorded for the first entry, inferred for others
		}
	}
}

func sameAddr(a, b string) bool {
	x, err1 := netip.ParseAddr(a)
	y, err2 := netip.ParseAddr(b)
	return err1 == nil && err2 == nil && x == y
}

// assignment gives the VIP entries of one VsVip their addresses.
type assignment struct {
	*ipam
	w     *write
	self  string // uuid, "" on creation
	vrf   doc.Ref
	cloud *Object
	taken map[netip.Addr]bool // by this write
}

// assign gives every VIP entry of a VsVip its addresses. What an entry held before it keeps: an update that leaves the
// address out gets it back (documented: a client relies on it). discovered_networks are given on allocation, and again to an update that
// names the network; one that drops them and names none loses them, and the VS goes down (documented by an issue; see states.go).
func (p *ipam) assign(w *write) *schema.Refusal {
	p.wake(w.world.now().UnixMicro())
	assignVIPIDs(w.body)
	a := &assignment{ipam: p, w: w, vrf: doc.RefAt(w.body, "vrf_context_ref"), cloud: w.store.Get(w.cloud), taken: map[netip.Addr]bool{}}
	var before map[string]map[string]any
	if w.Old != nil {
		before, a.self = vipsByID(w.Old.Body), w.Old.UUID
	}
	for _, v := range doc.Messages(w.body["vip"]) {
		if err := a.entry(v, before[doc.Str(v, "vip_id")]); err != nil {
			if err.Object == "" {
				err.Object = w.name
			}
			return err
		}
	}
	return nil
}

func (a *assignment) entry(v, old map[string]any) *schema.Refusal {
	auto := doc.Bool(v, "auto_allocate_ip", false)
	if old != nil && auto && !a.w.trusted {
		old = a.settled(v, old)
	}
	if old != nil && auto {
		inherit(v, old, "ipam_network_subnet", "avi_allocated_vip", "subnet_uuid", "subnet6_uuid")
	}
	if a.w.moving && auto {
		delete(v, "discovered_networks")
	}
	some := false
	for _, f := range Families {
		has, err := a.family(v, old, f, auto)
		if err != nil {
			return err
		}
		some = some || has
	}
	if !some && !a.w.trusted {
		return schema.Refuse(schema.StatusBadRequest, "VIP %s has no IP address and no auto_allocate_ip", doc.Str(v, "vip_id"))
	}
	return a.float(v, old)
}

// settled is what an update that names a network leaves of an entry's past. Evidence: a client names the network at each of its updates,
// and sends neither discovered_networks nor an address: the network is found again (documented by that client). With another network it
// gets another address (documented by the same); that an address which the update echoes is given up then, too, is inferred.
func (a *assignment) settled(v, old map[string]any) map[string]any {
	same := true
	for _, k := range []string{"ipam_network_subnet", "subnet_uuid", "subnet6_uuid"} {
		same = same && (v[k] == nil || doc.Equal(v[k], old[k]))
	}
	if same && v["discovered_networks"] != nil {
		return old
	}
	left := doc.CloneMap(old)
	for _, f := range Families {
		had, err := netip.ParseAddr(doc.Str(old, f.Field, "addr"))
		named := a.named(v, f)
		if err != nil || len(named) == 0 {
			continue
		}
		if from, ok := a.subnetOf(named, had); ok {
			discover(v, f, from)
			continue
		}
		if sameAddr(doc.Str(v, f.Field, "addr"), had.String()) {
			delete(v, f.Field)
		}
		for _, k := range []string{"discovered_networks", "ipam_network_subnet", f.Field, f.subnetUUID} {
			delete(left, k)
		}
		delete(v, "discovered_networks")
	}
	return left
}

// subnetOf finds the subnet of an address among those that the choices leave.
func (a *assignment) subnetOf(choices []choice, at netip.Addr) (span, bool) {
	for _, c := range choices {
		n := a.network(a.w.store, c.network)
		if n == nil {
			continue
		}
		for _, r := range n.ranges {
			if r.subnet.Contains(at) && (!c.subnet.IsValid() || c.subnet.Masked() == r.subnet) {
				return r.span, true
			}
		}
	}
	return span{}, false
}

// inherit gives an entry what the older one has and a client left out.
func inherit(v, old map[string]any, keys ...string) {
	for _, k := range keys {
		if kept, ok := old[k]; ok && (v[k] == nil || v[k] == false) {
			v[k] = doc.Clone(kept)
		}
	}
}

// family gives an entry its address of one family, and reports whether it has one or is to get one.
func (a *assignment) family(v, old map[string]any, f Family, auto bool) (has bool, err *schema.Refusal) {
	if kept := doc.At(old, f.Field); kept != nil && v[f.Field] == nil && auto {
		v[f.Field] = doc.Clone(kept)
	}
	want, err := a.given(v, f)
	if err != nil {
		return false, err
	}
	held := doc.Str(old, f.Field, "addr") != ""
	if held && a.w.moving && auto { // out of band: another address for the one that it has
		want, held = netip.Addr{}, false
	}
	if auto && wants(f, doc.Str(v, "auto_allocate_ip_type")) && !held {
		got, from, err := a.allocate(v, f, want, a.vrf)
		if err != nil {
			return false, err
		}
		if a.options.Async > 0 && !a.w.filling && !want.IsValid() {
			v["avi_allocated_vip"] = true
			return true, nil
		}
		want = got
		a.grant(v, f, got, from)
	}
	if want.IsValid() {
		a.taken[want] = true
	}
	return want.IsValid(), nil
}

// given reads the address that an entry brings, and refuses one that somebody else has.
func (a *assignment) given(v map[string]any, f Family) (netip.Addr, *schema.Refusal) {
	text := doc.Str(v, f.Field, "addr")
	if text == "" {
		return netip.Addr{}, nil
	}
	want, err := netip.ParseAddr(text)
	if err != nil || want.Is4() != f.is4 || want.Zone() != "" {
		return want, schema.FieldCheck(f.Field, "Invalid IP address %s", text)
	}
	if holder, busy := a.inVRF[a.vrf][want]; busy && holder != a.self || a.taken[want] {
		return want, a.w.breaks("vip-address", "IP address %s is already in use in this VRF", want)
	}
	return want, nil
}

func wants(f Family, kind string) bool {
	return kind == "" && f.is4 || slices.Contains(f.allocateType, kind)
}

// allocate finds the lowest free address, or checks the preferred one. Evidence: "No available free IPs" is documented, the
// other texts are unverified.
func (a *assignment) allocate(v map[string]any, f Family, want netip.Addr, vrf doc.Ref) (netip.Addr, span, *schema.Refusal) {
	ranges, err := a.ranges(v, f)
	if err != nil {
		return want, span{}, err
	}
	none := schema.Refuse(schema.StatusBadRequest, "No available free IPs")
	if a.exhausted {
		return want, span{}, none
	}
	skip := func(x netip.Addr) bool {
		_, busy := a.inVRF[vrf][x]
		return busy || a.taken[x]
	}
	if want.IsValid() && !a.options.OtherThanPreferred {
		for _, r := range ranges {
			if !r.contains(want) {
				continue
			}
			n := a.network(a.w.store, r.network)
			holder := n.used[want]
			if holder == "" {
				holder = a.inVRF[n.vrf][want]
			}
			if holder != "" && holder != a.self || a.taken[want] {
				return want, r.span, schema.Refuse(schema.StatusBadRequest, "Preferred IP %s is not available", want)
			}
			return want, r.span, nil
		}
		return want, span{}, schema.Refuse(schema.StatusBadRequest, "Preferred IP %s is not in the configured ranges", want)
	}
	for _, r := range ranges {
		other := func(x netip.Addr) bool { return x == want || skip(x) }
		if got, ok := a.lowest(a.network(a.w.store, r.network), r, other); ok {
			return got, r.span, nil
		}
	}
	return want, span{}, none
}

// grant writes an allocation into the VIP entry as the Controller does. Evidence: documented by a client that reads it; that
// public clouds name the subnet by its id alone follows from the schema.
func (a *assignment) grant(v map[string]any, f Family, got netip.Addr, from span) {
	v[f.Field] = Address(got)
	v["avi_allocated_vip"] = true
	if a.public() {
		if doc.Str(v, f.subnetUUID) == "" && doc.Str(v, "ipam_network_subnet", f.subnetUUID) == "" {
			v[f.subnetUUID] = from.network.UUID
		}
	} else {
		nets, _ := v["ipam_network_subnet"].(map[string]any)
		if nets == nil {
			nets = map[string]any{}
			v["ipam_network_subnet"] = nets
		}
		nets["network_ref"] = from.network
		nets[f.subnet] = Prefix(from.subnet)
	}
	discover(v, f, from)
}

// discover notes the network and subnet that an entry's address is on.
func discover(v map[string]any, f Family, from span) {
	found, _ := v["discovered_networks"].([]any)
	for _, d := range doc.Messages(found) {
		if doc.RefAt(d, "network_ref") == from.network {
			d[f.subnet] = []any{Prefix(from.subnet)}
			return
		}
	}
	v["discovered_networks"] = append(found, map[string]any{"network_ref": from.network, f.subnet: []any{Prefix(from.subnet)}})
}

// floatingNetwork is the attribute that marks a network whose addresses are floating ones. It is the simulator's own.
const floatingNetwork = "floating"

// float gives an entry a floating address if it asks for one and its cloud has networks of them. Evidence: the fields are
// documented; that nothing happens in a cloud without floating addresses is inferred.
func (a *assignment) float(v, old map[string]any) *schema.Refusal {
	if !doc.Bool(v, "auto_allocate_floating_ip", false) {
		return nil
	}
	for _, f := range Families {
		inherit(v, old, f.floating, f.floatingSubnet, "avi_allocated_fip")
		if v[f.floating] != nil || v[f.Field] == nil {
			continue
		}
		got, from, some := a.floating(f)
		switch {
		case got.IsValid():
			a.taken[got] = true
			v[f.floating], v[f.floatingSubnet], v["avi_allocated_fip"] = Address(got), from.UUID, true
		case some:
			return schema.Refuse(schema.StatusBadRequest, "No available free IPs")
		}
	}
	return nil
}

// floating finds a free floating address of the cloud, and reports whether the cloud has any.
func (a *assignment) floating(f Family) (got netip.Addr, from *Object, some bool) {
	for _, n := range a.w.store.All("network") {
		if n.Cloud != a.w.cloud || !hasAttribute(n, floatingNetwork) {
			continue
		}
		own := a.network(a.w.store, n.Ref)
		for _, r := range own.ranges {
			if r.first.Is4() != f.is4 || !r.vip() {
				continue
			}
			some = true
			if got, ok := a.lowest(own, r, func(x netip.Addr) bool { return a.taken[x] }); ok {
				return got, n, true
			}
		}
	}
	return netip.Addr{}, nil, some
}

func hasAttribute(o *Object, key string) bool {
	return slices.ContainsFunc(doc.Messages(o.Body["attrs"]), func(m map[string]any) bool { return doc.Str(m, "key") == key })
}

func (a *assignment) public() bool {
	return a.cloud != nil && slices.Contains(publicClouds, doc.Str(a.cloud.Body, "vtype"))
}

// Address is an address as the schema writes it.
func Address(a netip.Addr) map[string]any {
	kind := "V6"
	if a.Is4() {
		kind = "V4"
	}
	return map[string]any{"addr": a.String(), "type": kind}
}

// Prefix is a prefix as the schema writes it.
func Prefix(p netip.Prefix) map[string]any {
	return map[string]any{"ip_addr": Address(p.Addr()), "mask": float64(p.Bits())}
}

func parsePrefix(m map[string]any) (netip.Prefix, bool) {
	a, err := netip.ParseAddr(doc.Str(m, "ip_addr", "addr"))
	if err != nil {
		return netip.Prefix{}, false
	}
	p, err := a.Prefix(doc.Int(m, "mask"))
	return p, err == nil
}

// choice is a network, or one subnet of it, that an address may come from.
type choice struct {
	network doc.Ref
	subnet  netip.Prefix // zero: any
}

// choices lists where an entry's address may come from, in order of preference: the network or subnet that the entry names,
// else its placement networks, else the usable networks of the cloud's IPAM profile (documented). Public clouds need no
// profile: the cloud itself allocates (inferred).
func (a *assignment) choices(v map[string]any, f Family) ([]choice, *schema.Refusal) {
	var profile *Object
	if a.cloud != nil {
		profile = a.w.store.Get(doc.RefAt(a.cloud.Body, "ipam_provider_ref"))
	}
	if profile == nil && !a.public() {
		return nil, schema.Refuse(schema.StatusBadRequest, "Cloud has no IPAM profile to allocate an IP address from")
	}
	if given := a.named(v, f); given != nil {
		return given, nil
	}
	named := subnetAt(v, "ipam_network_subnet", f.subnet)
	var out []choice
	for _, pl := range doc.Messages(v["placement_networks"]) {
		out = append(out, choice{doc.RefAt(pl, "network_ref"), subnetAt(pl, f.subnet)})
	}
	if len(out) > 0 {
		return out, nil
	}
	if profile != nil {
		for _, u := range doc.Messages(doc.At(profile.Body, "internal_profile", "usable_networks")) {
			out = append(out, choice{doc.RefAt(u, "nw_ref"), named})
		}
		refs, _ := doc.At(profile.Body, "internal_profile", "usable_network_refs").([]any) // before 20.1.3
		for _, r := range refs {
			r, _ := r.(doc.Ref)
			out = append(out, choice{r, named})
		}
		if doc.Bool(profile.Body, "allocate_ip_in_vrf", false) {
			out = slices.DeleteFunc(out, func(c choice) bool {
				n := a.w.store.Get(c.network)
				return n == nil || doc.RefAt(n.Body, "vrf_context_ref") != a.vrf
			})
		}
	}
	if len(out) == 0 && a.public() {
		for _, n := range a.w.store.All("network") {
			if n.Cloud == a.w.cloud && !hasAttribute(n, floatingNetwork) {
				out = append(out, choice{n.Ref, named})
			}
		}
	}
	return out, nil
}

// subnetAt is the prefix at a path of a message, zero if there is none.
func subnetAt(m map[string]any, path ...string) netip.Prefix {
	at, _ := doc.At(m, path...).(map[string]any)
	p, _ := parsePrefix(at)
	return p
}

// named lists the networks or subnets that an entry itself names; nil if it names none.
func (a *assignment) named(v map[string]any, f Family) []choice {
	if n := doc.RefAt(v, "ipam_network_subnet", "network_ref"); n != (doc.Ref{}) {
		return []choice{{n, subnetAt(v, "ipam_network_subnet", f.subnet)}}
	}
	if id := cmp.Or(doc.Str(v, f.subnetUUID), doc.Str(v, "ipam_network_subnet", f.subnetUUID)); id != "" {
		return append([]choice{}, a.subnets(id)...)
	}
	return nil
}

// subnets finds what a subnet_uuid names: a subnet by its id, name or prefix (documented by the schema).
func (a *assignment) subnets(id string) []choice {
	var out []choice
	for _, n := range a.w.store.All("network") {
		if n.Cloud != a.w.cloud {
			continue
		}
		if n.UUID == id || n.Name == id {
			return []choice{{network: n.Ref}}
		}
		for _, sp := range spansOf(n) {
			if sp.subnet.String() == id {
				out = append(out, choice{n.Ref, sp.subnet})
			}
		}
	}
	return out
}

// ranges lists the ranges of the choices that serve VIPs of the family.
func (a *assignment) ranges(v map[string]any, f Family) ([]*addressRange, *schema.Refusal) {
	choices, err := a.choices(v, f)
	if err != nil {
		return nil, err
	}
	var out []*addressRange
	subnets := false
	for _, c := range choices {
		n := a.network(a.w.store, c.network)
		if n == nil {
			continue
		}
		for _, r := range n.ranges {
			if r.subnet.Addr().Is4() != f.is4 || c.subnet.IsValid() && c.subnet.Masked() != r.subnet {
				continue
			}
			subnets = true
			if r.vip() {
				out = append(out, r)
			}
		}
	}
	if !subnets {
		return nil, schema.Refuse(schema.StatusBadRequest, "No network/subnet matched for VIP %s (%s)", doc.Str(v, "vip_id"), f.kind)
	}
	return out, nil
}

// settleVIPs takes note of a committed VsVip: of its addresses, and of what is to happen to them later.
func (s *Writer) settleVIPs(o, old *Object) {
	s.ipam.hold(o, s.now())
	var before map[string]map[string]any
	if old != nil {
		before = vipsByID(old.Body)
	}
	for _, v := range doc.Messages(o.Body["vip"]) {
		was := before[doc.Str(v, "vip_id")]
		for _, f := range Families {
			has, had := doc.Str(v, f.Field, "addr") != "", doc.Str(was, f.Field, "addr") != ""
			auto := doc.Bool(v, "auto_allocate_ip", false)
			switch {
			case auto && !has && wants(f, doc.Str(v, "auto_allocate_ip_type")):
				s.later(s.ipam.options.Async, func() { s.reassign(o.UUID, false) })
				return
			case auto && has && !had && s.ipam.options.ChangeAfter > 0:
				s.later(s.ipam.options.ChangeAfter, func() { s.reassign(o.UUID, true) })
				return
			}
		}
	}
}

// reassign fills in the addresses that a VsVip waits for, or moves it to others. A VsVip that finds none waits on.
func (s *Writer) reassign(uuid string, move bool) {
	o := s.Store.Get(doc.Ref{Type: "vsvip", UUID: uuid})
	if o == nil {
		return
	}
	w := &write{Write: Write{Kind: o.Kind, Old: o, Incoming: o.Body}, trusted: true, filling: true, moving: move}
	if err := s.must(w); err != nil && !move {
		s.later(max(s.ipam.options.Async, time.Second), func() { s.reassign(uuid, false) })
	}
}

// later plans something: the world is locked for writing when it is done.
func (s *Writer) later(after time.Duration, do func()) { s.agenda.add(s.now().Add(after), do) }

// RangeUse is the accounting of one address range of a network.
type RangeUse struct {
	Subnet  netip.Prefix
	Use     string // STATIC_IPS_FOR_…
	Total   int    // addresses of the range
	Resting int    // returned and not to be given out yet
	Held    []Held // by address
}

// Held is an address with the uuid of the VsVip that holds it.
type Held struct {
	Addr netip.Addr
	By   string
}

// Usage is the accounting of a network: of each of its ranges, in the order of its subnets.
func (s *Reader) Usage(o *Object) []RangeUse {
	n := &network{object: o, vrf: doc.RefAt(o.Body, "vrf_context_ref")}
	if known := s.ipam.networks[o.Ref]; known != nil {
		n.used = known.used
	}
	now := s.now().UnixMicro()
	var out []RangeUse
	for _, sp := range spansOf(o) {
		use := RangeUse{Subnet: sp.subnet, Use: sp.use, Total: sp.size()}
		static := s.ipam.inVRF[n.vrf]
		for a, by := range n.used {
			if sp.contains(a) {
				use.Held = append(use.Held, Held{a, by})
			}
		}
		for a, by := range static {
			if _, allocated := n.used[a]; !allocated && sp.contains(a) {
				use.Held = append(use.Held, Held{a, by})
			}
		}
		slices.SortFunc(use.Held, func(a, b Held) int { return a.Addr.Compare(b.Addr) })
		for k, until := range s.ipam.resting {
			if k.network == o.Ref && sp.contains(k.addr) && until > now && !s.ipam.booked(n, k.addr) {
				use.Resting++
			}
		}
		out = append(out, use)
	}
	return out
}
