// SPDX-License-Identifier: Apache-2.0

package world

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/doc"
)

// placement puts virtual services on service engines. It is brought up to date with each write, so that reading a state
// needs no search. Evidence: that a group has a bounded number of engines and each a bounded number of virtual services,
// that an engine's virtual services move when it fails, and that those on one VsVip share engines, is documented; which one
// is chosen is inferred.
type placement struct {
	world  *Writer
	groups map[doc.Ref]*engineGroup
	group  map[string]doc.Ref // of a placed or waiting virtual service, by uuid
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
	engines []*Object // by seq
	load    map[doc.Ref]int
	placed  map[string]*Placed
	waiting []string // uuids, first come first served; may hold some that do not wait any more
}

// Placed is one virtual service of a group. Without engines, it waits for some.
type Placed struct {
	Engines []doc.Ref // the first is primary
	Wanted  int       // active engines
	Standby bool      // the last engine is one
	since   int64     // µs, of the change between waiting and placed
}

func newPlacement(s *Writer) *placement {
	return &placement{world: s, groups: map[doc.Ref]*engineGroup{}, group: map[string]doc.Ref{}, failed: map[string]engineFailure{}}
}

// of returns the placement of a virtual service; nil for one that needs none.
func (p *placement) of(vs *Object) *Placed {
	if g := p.groups[p.group[vs.UUID]]; g != nil {
		return g.placed[vs.UUID]
	}
	return nil
}

func (p *placement) groupOf(at doc.Ref) *engineGroup {
	g := p.groups[at]
	if g == nil {
		g = &engineGroup{load: map[doc.Ref]int{}, placed: map[string]*Placed{}}
		p.groups[at] = g
	}
	return g
}

// changed follows the store.
func (p *placement) changed(old, now *Object) {
	o := now
	if o == nil {
		o = old
	}
	switch o.Type {
	case "virtualservice":
		if now != nil && runs(now) {
			if at := doc.RefAt(now.Body, "se_group_ref"); p.group[now.UUID] != at {
				p.leave(now.UUID)
				p.enter(now, at)
			}
		} else {
			p.leave(o.UUID)
		}
	case "serviceengine":
		if old != nil {
			at := doc.RefAt(old.Body, "se_group_ref")
			g := p.groupOf(at)
			g.engines = slices.DeleteFunc(g.engines, func(e *Object) bool { return e.Ref == old.Ref })
			if now == nil {
				delete(p.failed, old.UUID)
				p.rebalance(at)
			}
		}
		if now != nil {
			at := doc.RefAt(now.Body, "se_group_ref")
			g := p.groupOf(at)
			g.engines = append(g.engines, now)
			slices.SortFunc(g.engines, func(a, b *Object) int { return cmp.Compare(a.Seq, b.Seq) })
			if !p.hiring {
				p.rebalance(at)
			}
		}
	case "serviceenginegroup":
		if now == nil {
			delete(p.groups, o.Ref)
		} else if old != nil {
			p.rebalance(o.Ref)
		}
	}
}

// runs reports whether a virtual service takes room on service engines.
func runs(vs *Object) bool {
	return doc.Bool(vs.Body, "enabled", true) && doc.Str(vs.Body, "type") != "VS_TYPE_VH_CHILD"
}

func (p *placement) enter(vs *Object, at doc.Ref) {
	g := p.groupOf(at)
	p.group[vs.UUID] = at
	x := &Placed{}
	g.placed[vs.UUID] = x
	if !p.assign(vs, at, g, x) {
		g.waiting = append(g.waiting, vs.UUID)
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
		next := p.world.Store.Get(doc.Ref{Type: "virtualservice", UUID: g.waiting[0]})
		x := g.placed[g.waiting[0]]
		if next != nil && x != nil && len(x.Engines) == 0 {
			if !p.assign(next, at, g, x) {
				return
			}
			x.since = p.world.tick()
		}
		g.waiting = g.waiting[1:]
	}
}

func (g *engineGroup) unload(x *Placed) {
	for _, e := range x.Engines {
		g.load[e]--
	}
	x.Engines = nil
}

// usable reports whether an engine can take virtual services.
func (p *placement) usable(e *Object) bool {
	_, failed := p.failed[e.UUID]
	state := doc.Str(e.Body, "enable_state")
	return !failed && (state == "" || state == "SE_STATE_ENABLED")
}

// assign fills up the engines of a virtual service and reports whether it has any.
func (p *placement) assign(vs *Object, at doc.Ref, g *engineGroup, x *Placed) bool {
	group := p.world.Store.Get(at)
	if group == nil {
		return false
	}
	x.Wanted = max(1, doc.Int(group.Body, "min_scaleout_per_vs"))
	wanted := x.Wanted
	if x.Standby = doc.Str(group.Body, "ha_mode") == "HA_MODE_LEGACY_ACTIVE_STANDBY"; x.Standby {
		x.Wanted, wanted = 1, 2
	}
	limit := 1 << 30
	if p.world.dynamics.Capacity {
		limit = max(1, doc.Int(group.Body, "max_vs_per_se"))
	}
	room := func(e *Object) bool {
		return p.usable(e) && g.load[e.Ref] < limit && !slices.Contains(x.Engines, e.Ref)
	}
	candidates := slices.Clone(g.engines)
	if doc.Str(group.Body, "algo") == "PLACEMENT_ALGO_DISTRIBUTED" {
		slices.SortStableFunc(candidates, func(a, b *Object) int { return cmp.Compare(g.load[a.Ref], g.load[b.Ref]) })
	}
	if mate := p.mate(vs, g); mate != nil && len(x.Engines) == 0 { // documented: virtual services on one VsVip share engines
		first := func(e *Object) int {
			if i := slices.Index(mate.Engines, e.Ref); i >= 0 {
				return i
			}
			return len(mate.Engines)
		}
		slices.SortStableFunc(candidates, func(a, b *Object) int { return cmp.Compare(first(a), first(b)) })
	}
	take := func(e *Object) {
		x.Engines = append(x.Engines, e.Ref)
		g.load[e.Ref]++
	}
	for _, e := range candidates {
		if len(x.Engines) < wanted && room(e) {
			take(e)
		}
	}
	for len(x.Engines) < wanted {
		e := p.hire(group, g)
		if e == nil || !room(e) {
			break
		}
		take(e)
	}
	return len(x.Engines) > 0
}

// mate finds a virtual service on the same VsVip that has a place.
func (p *placement) mate(vs *Object, g *engineGroup) *Placed {
	vip := doc.RefAt(vs.Body, "vsvip_ref")
	if vip == (doc.Ref{}) {
		return nil
	}
	for from := range p.world.Store.in[vip] {
		if x := g.placed[from.UUID]; from.Type == "virtualservice" && from != vs.Ref && x != nil && len(x.Engines) > 0 {
			return x
		}
	}
	return nil
}

// hire makes another engine, as a Controller does that has write access to its cloud: up to max_se if the
// capacity counts, else one for a group that has none. Evidence: documented.
func (p *placement) hire(group *Object, g *engineGroup) *Object {
	most := 1
	if p.world.dynamics.Capacity {
		most = doc.Int(group.Body, "max_se")
		cloud := p.world.Store.Get(group.Cloud)
		if cloud == nil || doc.Str(cloud.Body, "vtype") == "CLOUD_NONE" {
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
func (s *Writer) newEngine(group *Object) *Object {
	have := len(s.placement.groupOf(group.Ref).engines)
	for n := have + 1; n <= 2*have+2; n++ {
		name := fmt.Sprintf("Avi-se-%s-%d", group.Name, n)
		w := &write{trusted: true, system: true, Write: Write{Kind: KindOf("serviceengine"), Tenant: group.Tenant,
			Slug: stable("serviceengine", group.UUID, name),
			Incoming: map[string]any{"name": name, "cloud_ref": group.Cloud, "se_group_ref": group.Ref, "enable_state": "SE_STATE_ENABLED",
				"mgmt_ip_address": Address(netip.AddrFrom4([4]byte{192, 0, 2, byte(10 + n%200)}))}}}
		if o, err := s.apply(w); err == nil {
			return o
		}
	}
	return nil
}

// rebalance moves virtual services off engines that are gone or failed where others have room, and places those that wait.
func (p *placement) rebalance(at doc.Ref) {
	g := p.groups[at]
	if g == nil {
		return
	}
	engines := map[doc.Ref]bool{} // usable or not
	for _, e := range g.engines {
		engines[e.Ref] = p.usable(e)
	}
	var list []*Object
	for uuid := range g.placed {
		if vs := p.world.Store.Get(doc.Ref{Type: "virtualservice", UUID: uuid}); vs != nil {
			list = append(list, vs)
		}
	}
	slices.SortFunc(list, func(a, b *Object) int { return cmp.Compare(a.Seq, b.Seq) })
	g.waiting = nil
	for _, vs := range list {
		x := g.placed[vs.UUID]
		before := x.Engines
		g.unload(x)
		for _, e := range before {
			if engines[e] {
				x.Engines = append(x.Engines, e)
				g.load[e]++
			}
		}
		switch {
		case p.assign(vs, at, g, x):
			if len(before) == 0 {
				x.since = p.world.tick()
			}
		case len(before) > 0 && slices.ContainsFunc(before, func(e doc.Ref) bool { _, there := engines[e]; return there }):
			x.Engines = before // nowhere to go: it stays where it is, and is down
			for _, e := range before {
				g.load[e]++
			}
		default:
			if len(before) > 0 {
				x.since = p.world.tick()
			}
			g.waiting = append(g.waiting, vs.UUID)
		}
	}
}

// Switchover makes another engine the primary one of a virtual service.
func (s *Writer) Switchover(vs *Object) error {
	x := s.placement.of(vs)
	if x == nil || len(x.Engines) == 0 {
		return fmt.Errorf("virtual service %q is on no service engine", vs.Name)
	}
	g := s.placement.groups[s.placement.group[vs.UUID]]
	next := x.Engines[0]
	for _, e := range g.engines {
		if s.placement.usable(e) && e.Ref != x.Engines[0] && (next == x.Engines[0] || slices.Contains(x.Engines, e.Ref)) {
			next = e.Ref
		}
	}
	if next == x.Engines[0] {
		return fmt.Errorf("the group of virtual service %q has no other service engine that works", vs.Name)
	}
	if i := slices.Index(x.Engines, next); i > 0 {
		x.Engines[0], x.Engines[i] = next, x.Engines[0]
		return nil
	}
	g.load[x.Engines[0]]--
	g.load[next]++
	x.Engines[0] = next
	return nil
}

// settle places the virtual services that came back with a state. They were placed before, and their states are what they were.
func (p *placement) settle() {
	for at, g := range p.groups {
		p.rebalance(at)
		for uuid, x := range g.placed {
			if vs := p.world.Store.Get(doc.Ref{Type: "virtualservice", UUID: uuid}); vs != nil {
				x.since = vs.since
			}
		}
	}
}
