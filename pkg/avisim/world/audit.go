// SPDX-License-Identifier: Apache-2.0

package world

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/doc"
)

// Audit compares what the world keeps beside its objects (indexes, addresses, the load of service engines) with what a walk over the
// objects finds. An error is a mistake in this package.
func (w *World) Audit() (err error) {
	w.Read(func(s *Reader) {
		holders, allocated, found := s.Store.audit()
		err = errors.Join(found, s.ipam.audit(holders, allocated), s.placement.audit(s.Store.All("virtualservice")))
	})
	return err
}

// place is an address in a VRF or in a network.
type place struct {
	where doc.Ref
	addr  netip.Addr
}

// audit checks the indexes, and returns who holds which address in which VRF, and which were allocated from which network.
func (s *Store) audit() (holders, allocated map[place]string, err error) {
	in := map[doc.Ref]map[doc.Ref]bool{}
	named := 0
	holders, allocated = map[place]string{}, map[place]string{}
	for typ, sh := range s.shelves {
		err = errors.Join(err, sh.audit(typ))
		for _, o := range sh.ordered {
			named++
			for to := range doc.References(o.Body) {
				if kind := KindOf(to.Type); s.Get(to) == nil && (kind == nil || !kind.loose) {
					err = errors.Join(err, fmt.Errorf("%s %s refers to %s, which is not there", typ, o.Name, to))
				}
				if in[to] == nil {
					in[to] = map[doc.Ref]bool{}
				}
				in[to][o.Ref] = true
			}
			if typ == "vsvip" {
				err = errors.Join(err, note(o, holders, allocated))
			}
		}
	}
	for _, objs := range s.names {
		named -= len(objs)
	}
	if named != 0 {
		err = errors.Join(err, fmt.Errorf("name index off by %d", named))
	}
	if len(in) != len(s.in) {
		err = errors.Join(err, fmt.Errorf("%d referred objects, index has %d", len(in), len(s.in)))
	}
	for to, from := range in {
		if len(from) != len(s.in[to]) {
			err = errors.Join(err, fmt.Errorf("%s has %d referrers, index has %d", to, len(from), len(s.in[to])))
		}
	}
	return holders, allocated, err
}

// audit checks the order of the objects of a type, and that no two have one name.
func (sh *shelf) audit(typ string) (err error) {
	if len(sh.ordered) != len(sh.byUUID) {
		err = fmt.Errorf("%s: %d ordered, %d by uuid", typ, len(sh.ordered), len(sh.byUUID))
	}
	type identity struct {
		tenant, name string
		cloud        doc.Ref
	}
	seen := map[identity]bool{}
	for i, o := range sh.ordered {
		if i > 0 && sh.ordered[i-1].Seq >= o.Seq || sh.byUUID[o.UUID] != o {
			err = errors.Join(err, fmt.Errorf("%s %s is out of order or stale", typ, o.Name))
		}
		id := identity{o.Tenant, o.Name, o.Cloud}
		if seen[id] {
			err = errors.Join(err, fmt.Errorf("two %s named %s", typ, o.Name))
		}
		seen[id] = true
	}
	return err
}

// note adds the addresses of a VsVip to those of the ones before it.
func note(vip *Object, holders, allocated map[place]string) (err error) {
	for _, h := range holdings(vip) {
		at := place{h.vrf, h.addr}
		if other, twice := holders[at]; twice {
			err = errors.Join(err, fmt.Errorf("%s is held by %s and %s", h.addr, other, vip.UUID))
		}
		holders[at] = vip.UUID
		if h.network != (doc.Ref{}) {
			allocated[place{h.network, h.addr}] = vip.UUID
		}
	}
	return err
}

// audit compares the accounting with the addresses of the objects, and looks for lost addresses: one below a range's frontier is
// booked, rests, or waits to be given out.
func (p *ipam) audit(holders, allocated map[place]string) (err error) {
	booked, used := map[place]string{}, map[place]string{}
	for vrf, m := range p.inVRF {
		for a, holder := range m {
			booked[place{vrf, a}] = holder
		}
	}
	for at, n := range p.networks {
		for a, holder := range n.used {
			used[place{at, a}] = holder
		}
		for _, r := range n.ranges {
			if len(r.free) != len(r.inFree) {
				err = errors.Join(err, fmt.Errorf("range %s: %d free, %d known as free", r.first, len(r.free), len(r.inFree)))
			}
			for a := r.first; a.IsValid() && r.contains(a) && a.Less(r.frontier); a = a.Next() {
				_, rests := p.resting[restKey{r.network, a}]
				if _, free := r.inFree[a]; !free && !rests && !p.booked(n, a) {
					err = errors.Join(err, fmt.Errorf("%s is lost: not held, and never given out again", a))
				}
			}
		}
	}
	if !maps.Equal(booked, holders) {
		err = errors.Join(err, fmt.Errorf("booked %v, held %v", booked, holders))
	}
	if !maps.Equal(used, allocated) {
		err = errors.Join(err, fmt.Errorf("used %v, allocated %v", used, allocated))
	}
	return err
}

// audit checks that each virtual service that runs is on the engines of its group or waits, and that the load of each engine is the
// number of those that are on it.
func (p *placement) audit(services []*Object) (err error) {
	fail := func(format string, args ...any) { err = errors.Join(err, fmt.Errorf(format, args...)) }
	load := map[doc.Ref]int{}
	n := 0
	for _, vs := range services {
		x := p.of(vs)
		if runs(vs) != (x != nil) {
			fail("%s: runs %t, placement %v", vs.Name, runs(vs), x)
		}
		if x == nil {
			continue
		}
		n++
		g := p.groups[doc.RefAt(vs.Body, "se_group_ref")]
		for _, e := range x.Engines {
			load[e]++
			if !slices.ContainsFunc(g.engines, func(o *Object) bool { return o.Ref == e }) {
				fail("%s is on %s, which is not of its group", vs.Name, e)
			}
		}
		if len(x.Engines) == 0 && !slices.Contains(g.waiting, vs.UUID) {
			fail("%s has no engine and does not wait for one", vs.Name)
		}
	}
	all := 0
	for _, g := range p.groups {
		all += len(g.placed)
		for e, l := range g.load {
			if l != load[e] {
				fail("%s carries %d, and its load is %d", e, load[e], l)
			}
		}
	}
	if n != all || len(p.group) != all {
		fail("%d placements of %d virtual services, %d of them by name", all, n, len(p.group))
	}
	return err
}
