// SPDX-License-Identifier: Apache-2.0

package world

import (
	"slices"
	"time"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/doc"
)

// ApplicationType is the type of the application profile of a virtual service, "" without one.
func (s *Reader) ApplicationType(vs *Object) string {
	if p := s.Store.Get(doc.RefAt(vs.Body, "application_profile_ref")); p != nil {
		return doc.Str(p.Body, "type")
	}
	return ""
}

// Referring returns the objects of a type that refer to one.
func (s *Reader) Referring(to doc.Ref, typ string) []*Object {
	return slices.DeleteFunc(s.Store.Referrers(to), func(o *Object) bool { return o.Type != typ })
}

// Users lists the virtual services that refer to an object directly or through policies and pool groups.
func (s *Reader) Users(to doc.Ref) []*Object {
	var out []*Object
	seen := map[doc.Ref]bool{}
	var up func(doc.Ref)
	up = func(to doc.Ref) {
		for _, o := range s.Store.Referrers(to) {
			if seen[o.Ref] {
				continue
			}
			seen[o.Ref] = true
			switch o.Type {
			case "virtualservice":
				out = append(out, o)
			case "l4policyset", "poolgroup":
				up(o.Ref)
			}
		}
	}
	up(to)
	return out
}

// Engines are the service engines that serve a virtual service.
func (s *Reader) Engines(vs *Object) []*Object {
	var out []*Object
	if x := s.placement.of(vs); x != nil {
		for _, at := range x.Active() {
			if se := s.Store.Get(at); se != nil {
				out = append(out, se)
			}
		}
	}
	return out
}

// PoolEngines are the service engines that serve a pool.
func (s *Reader) PoolEngines(pool *Object) []*Object {
	var out []*Object
	for _, vs := range s.Users(pool.Ref) {
		for _, se := range s.Engines(vs) {
			if !slices.Contains(out, se) {
				out = append(out, se)
			}
		}
	}
	return out
}

// PoolGroups returns the pool groups that a virtual service's body reaches, directly and through L4 policies.
func PoolGroups(s *Store, vs map[string]any) []*Object {
	var out []*Object
	for _, to := range doc.RefsInOrder(vs) {
		switch to.Type {
		case "poolgroup":
			if o := s.Get(to); o != nil {
				out = append(out, o)
			}
		case "l4policyset":
			if o := s.Get(to); o != nil {
				out = append(out, PoolGroups(s, o.Body)...)
			}
		}
	}
	return out
}

// Pools returns the pools that a virtual service's body reaches, directly, through pool groups and through L4 policies.
func Pools(s *Store, vs map[string]any) []*Object {
	var out []*Object
	seen := map[doc.Ref]bool{}
	var add func(r doc.Ref)
	add = func(r doc.Ref) {
		o := s.Get(r)
		if o == nil || seen[r] {
			return
		}
		seen[r] = true
		switch r.Type {
		case "pool":
			out = append(out, o)
		case "poolgroup", "l4policyset":
			for _, to := range doc.RefsInOrder(o.Body) {
				if to.Type == "pool" || to.Type == "poolgroup" {
					add(to)
				}
			}
		}
	}
	add(doc.RefAt(vs, "pool_ref"))
	add(doc.RefAt(vs, "pool_group_ref"))
	for _, p := range doc.Messages(vs["l4_policies"]) {
		add(doc.RefAt(p, "l4_policy_set_ref"))
	}
	return out
}

// Listener is one entry of services with the protocol that its profile gives it.
type Listener struct {
	First, Last int
	profile     string // PROTOCOL_TYPE_…
	Protocol    string // TCP, UDP, SCTP
	ssl         bool
	Idle        time.Duration // connections without traffic end after this; 0: never
}

// Listeners lists the services of a virtual service's body.
func Listeners(s *Store, vs map[string]any) []Listener {
	kind := func(r doc.Ref) (string, time.Duration) {
		if o := s.Get(r); o != nil {
			return doc.Str(o.Body, "profile", "type"), idle(o)
		}
		return "", 0
	}
	base, baseIdle := kind(doc.RefAt(vs, "network_profile_ref"))
	var out []Listener
	for _, e := range doc.Messages(vs["services"]) {
		l := Listener{First: doc.Int(e, "port"), Last: doc.Int(e, "port_range_end"), profile: base,
			ssl: doc.Bool(e, "enable_ssl", false), Idle: baseIdle}
		l.Last = max(l.Last, l.First)
		if r := doc.RefAt(e, "override_network_profile_ref"); r != (doc.Ref{}) {
			l.profile, l.Idle = kind(r)
		}
		l.Protocol = profileProtocols[l.profile]
		out = append(out, l)
	}
	return out
}

// idle is how long a network profile lets a connection be without traffic. Evidence: documented; only an automatic TCP proxy chooses
// for itself, the ten minutes that are the field's default (inferred).
func idle(profile *Object) time.Duration {
	for _, f := range []struct{ message, field string }{
		{"tcp_proxy_profile", "idle_connection_timeout"}, {"tcp_fast_path_profile", "session_idle_timeout"},
		{"udp_fast_path_profile", "session_idle_timeout"}, {"udp_proxy_profile", "session_idle_timeout"},
		{"sctp_proxy_profile", "idle_timeout"},
	} {
		if m, is := doc.At(profile.Body, "profile", f.message).(map[string]any); is {
			return time.Duration(doc.Int(m, f.field)) * time.Second
		}
	}
	return 0
}

func (l Listener) overlaps(m Listener) bool { return l.First <= m.Last && m.First <= l.Last }

func (l Listener) equals(m Listener) bool { return l.First == m.First && l.Last == m.Last }
