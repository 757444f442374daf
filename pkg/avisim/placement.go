package avisim

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
)

// placement puts virtual services on service engines. It is brought up to date with each write, so that reading a state
// needs no search. Evidence: that a group has a bounded number of engines and each a bounded number of virtual services,
// that an engine's virtual services move when it fails, and that those on one VsVip share engines, is documented; which one
// is chosen is inferred.
type placement struct {
	world  *Writer
	groups map[ref]*engineGroup
	group  map[string]ref // of a placed or waiting virtual service, by uuid
	failed map[string]engineFailure
	hiring bool // the engine that appears is for the virtual service that is being placed
	closed bool // no engine is to be made
}

type engineFailure struct {
	Since  int64  `json:"since"` // µs
	Reason string `json:"reason,omitempty"`
}

// engineGroup is one service engine group.
type engineGroup struct {
	engines []*object // by seq
	load    map[ref]int
	placed  map[string]*placed
	waiting []string // uuids, first come first served; may hold some that do not wait any more
}

// placed is one virtual service of a group. Without engines, it waits for some.
type placed struct {
	engines []ref // the first is primary
	wanted  int   // active engines
	standby bool  // the last engine is one
	since   int64 // µs, of the change between waiting and placed
}

func newPlacement(s *Writer) *placement {
	return &placement{world: s, groups: map[ref]*engineGroup{}, group: map[string]ref{}, failed: map[string]engineFailure{}}
}

// of returns the placement of a virtual service; nil for one that needs none.
func (p *placement) of(vs *object) *placed {
	if g := p.groups[p.group[vs.uuid]]; g != nil {
		return g.placed[vs.uuid]
	}
	return nil
}

func (p *placement) groupOf(at ref) *engineGroup {
	g := p.groups[at]
	if g == nil {
		g = &engineGroup{load: map[ref]int{}, placed: map[string]*placed{}}
		p.groups[at] = g
	}
	return g
}

// changed follows the store.
func (p *placement) changed(old, now *object) {
	o := now
	if o == nil {
		o = old
	}
	switch o.typ {
	case "virtualservice":
		if now != nil && runs(now) {
			if at := refAt(now.body, "se_group_ref"); p.group[now.uuid] != at {
				p.leave(now.uuid)
				p.enter(now, at)
			}
		} else {
			p.leave(o.uuid)
		}
	case "serviceengine":
		if old != nil {
			at := refAt(old.body, "se_group_ref")
			g := p.groupOf(at)
			g.engines = slices.DeleteFunc(g.engines, func(e *object) bool { return e.ref == old.ref })
			if now == nil {
				delete(p.failed, old.uuid)
				p.rebalance(at)
			}
		}
		if now != nil {
			at := refAt(now.body, "se_group_ref")
			g := p.groupOf(at)
			g.engines = append(g.engines, now)
			slices.SortFunc(g.engines, func(a, b *object) int { return cmp.Compare(a.seq, b.seq) })
			if !p.hiring {
				p.rebalance(at)
			}
		}
	case "serviceenginegroup":
		if now == nil {
			delete(p.groups, o.ref)
		} else if old != nil {
			p.rebalance(o.ref)
		}
	}
}

// runs reports whether a virtual service takes room on service engines.
func runs(vs *object) bool {
	return boolean(vs.body, "enabled", true) && str(vs.body, "type") != "VS_TYPE_VH_CHILD"
}

func (p *placement) enter(vs *object, at ref) {
	g := p.groupOf(at)
	p.group[vs.uuid] = at
	x := &placed{}
	g.placed[vs.uuid] = x
	if !p.assign(vs, at, g, x) {
		g.waiting = append(g.waiting, vs.uuid)
	}
	x.since = vs.since
}

func (p *placement) leave(uuid string) {
	at, ok := p.group[uuid]
	if !ok {
		return
	}
	delete(p.group, uuid)
	g := p.groups[at]
	if g == nil {
		return
	}
	if x := g.placed[uuid]; x != nil {
		g.unload(x)
		delete(g.placed, uuid)
	}
	for len(g.waiting) > 0 { // its room is for the first that waits
		next := p.world.store.get(ref{"virtualservice", g.waiting[0]})
		x := g.placed[g.waiting[0]]
		if next != nil && x != nil && len(x.engines) == 0 {
			if !p.assign(next, at, g, x) {
				return
			}
			x.since = p.world.tick()
		}
		g.waiting = g.waiting[1:]
	}
}

func (g *engineGroup) unload(x *placed) {
	for _, e := range x.engines {
		g.load[e]--
	}
	x.engines = nil
}

// usable reports whether an engine can take virtual services.
func (p *placement) usable(e *object) bool {
	_, failed := p.failed[e.uuid]
	state := str(e.body, "enable_state")
	return !failed && (state == "" || state == "SE_STATE_ENABLED")
}

// assign fills up the engines of a virtual service and reports whether it has any.
func (p *placement) assign(vs *object, at ref, g *engineGroup, x *placed) bool {
	group := p.world.store.get(at)
	if group == nil {
		return false
	}
	x.wanted = max(1, integer(group.body, "min_scaleout_per_vs"))
	wanted := x.wanted
	if x.standby = str(group.body, "ha_mode") == "HA_MODE_LEGACY_ACTIVE_STANDBY"; x.standby {
		x.wanted, wanted = 1, 2
	}
	limit := 1 << 30
	if p.world.dynamics.Capacity {
		limit = max(1, integer(group.body, "max_vs_per_se"))
	}
	room := func(e *object) bool {
		return p.usable(e) && g.load[e.ref] < limit && !slices.Contains(x.engines, e.ref)
	}
	candidates := slices.Clone(g.engines)
	if str(group.body, "algo") == "PLACEMENT_ALGO_DISTRIBUTED" {
		slices.SortStableFunc(candidates, func(a, b *object) int { return cmp.Compare(g.load[a.ref], g.load[b.ref]) })
	}
	if mate := p.mate(vs, g); mate != nil && len(x.engines) == 0 { // documented: virtual services on one VsVip share engines
		first := func(e *object) int {
			if i := slices.Index(mate.engines, e.ref); i >= 0 {
				return i
			}
			return len(mate.engines)
		}
		slices.SortStableFunc(candidates, func(a, b *object) int { return cmp.Compare(first(a), first(b)) })
	}
	take := func(e *object) {
		x.engines = append(x.engines, e.ref)
		g.load[e.ref]++
	}
	for _, e := range candidates {
		if len(x.engines) < wanted && room(e) {
			take(e)
		}
	}
	for len(x.engines) < wanted {
		e := p.hire(group, g)
		if e == nil || !room(e) {
			break
		}
		take(e)
	}
	return len(x.engines) > 0
}

// mate finds a virtual service on the same VsVip that has a place.
func (p *placement) mate(vs *object, g *engineGroup) *placed {
	vip := refAt(vs.body, "vsvip_ref")
	if vip == (ref{}) {
		return nil
	}
	for from := range p.world.store.in[vip] {
		if x := g.placed[from.uuid]; from.typ == "virtualservice" && from != vs.ref && x != nil && len(x.engines) > 0 {
			return x
		}
	}
	return nil
}

// hire makes another engine, as a Controller does that has write access to its cloud: up to max_se if the
// capacity counts, else one for a group that has none. Evidence: documented.
func (p *placement) hire(group *object, g *engineGroup) *object {
	most := 1
	if p.world.dynamics.Capacity {
		most = integer(group.body, "max_se")
		cloud := p.world.store.get(group.cloud)
		if cloud == nil || str(cloud.body, "vtype") == "CLOUD_NONE" {
			most = 0
		}
	}
	if len(g.engines) >= most || p.closed {
		return nil
	}
	p.hiring = true
	defer func() { p.hiring = false }()
	return p.world.newEngine(group)
}

// newEngine makes one more service engine for a group; nil if the names that it tries are taken by others.
func (s *Writer) newEngine(group *object) *object {
	have := len(s.placement.groupOf(group.ref).engines)
	for n := have + 1; n <= 2*have+2; n++ {
		name := fmt.Sprintf("Avi-se-%s-%d", group.name, n)
		w := &write{trusted: true, system: true, Write: Write{Kind: KindOf("serviceengine"), Tenant: group.tenant,
			Slug: stable("serviceengine", group.uuid, name),
			Incoming: map[string]any{"name": name, "cloud_ref": group.cloud, "se_group_ref": group.ref, "enable_state": "SE_STATE_ENABLED",
				"mgmt_ip_address": address(netip.AddrFrom4([4]byte{192, 0, 2, byte(10 + n%200)}))}}}
		if o, err := s.apply(w); err == nil {
			return o
		}
	}
	return nil
}

// rebalance moves virtual services off engines that are gone or failed where others have room, and places those that wait.
func (p *placement) rebalance(at ref) {
	g := p.groups[at]
	if g == nil {
		return
	}
	engines := map[ref]bool{} // usable or not
	for _, e := range g.engines {
		engines[e.ref] = p.usable(e)
	}
	var list []*object
	for uuid := range g.placed {
		if vs := p.world.store.get(ref{"virtualservice", uuid}); vs != nil {
			list = append(list, vs)
		}
	}
	slices.SortFunc(list, func(a, b *object) int { return cmp.Compare(a.seq, b.seq) })
	g.waiting = nil
	for _, vs := range list {
		x := g.placed[vs.uuid]
		before := x.engines
		g.unload(x)
		for _, e := range before {
			if engines[e] {
				x.engines = append(x.engines, e)
				g.load[e]++
			}
		}
		switch {
		case p.assign(vs, at, g, x):
			if len(before) == 0 {
				x.since = p.world.tick()
			}
		case len(before) > 0 && slices.ContainsFunc(before, func(e ref) bool { _, there := engines[e]; return there }):
			x.engines = before // nowhere to go: it stays where it is, and is down
			for _, e := range before {
				g.load[e]++
			}
		default:
			if len(before) > 0 {
				x.since = p.world.tick()
			}
			g.waiting = append(g.waiting, vs.uuid)
		}
	}
}

// Switchover makes another engine the primary one of a virtual service.
func (s *Writer) Switchover(vs *object) error {
	x := s.placement.of(vs)
	if x == nil || len(x.engines) == 0 {
		return fmt.Errorf("virtual service %q is on no service engine", vs.name)
	}
	g := s.placement.groups[s.placement.group[vs.uuid]]
	next := x.engines[0]
	for _, e := range g.engines {
		if s.placement.usable(e) && e.ref != x.engines[0] && (next == x.engines[0] || slices.Contains(x.engines, e.ref)) {
			next = e.ref
		}
	}
	if next == x.engines[0] {
		return fmt.Errorf("the group of virtual service %q has no other service engine that works", vs.name)
	}
	if i := slices.Index(x.engines, next); i > 0 {
		x.engines[0], x.engines[i] = next, x.engines[0]
		return nil
	}
	g.load[x.engines[0]]--
	g.load[next]++
	x.engines[0] = next
	return nil
}
