package avisim

import "slices"

func (s *Reader) applicationType(vs *object) string {
	if p := s.store.get(refAt(vs.body, "application_profile_ref")); p != nil {
		return str(p.body, "type")
	}
	return ""
}

// referring returns the objects of a type that refer to one.
func (s *Reader) referring(to ref, typ string) []*object {
	return slices.DeleteFunc(s.store.referrers(to), func(o *object) bool { return o.typ != typ })
}

// users lists the virtual services that refer to an object directly or through policies and pool groups.
func (s *Reader) users(to ref) []*object {
	var out []*object
	seen := map[ref]bool{}
	var up func(ref)
	up = func(to ref) {
		for _, o := range s.store.referrers(to) {
			if seen[o.ref] {
				continue
			}
			seen[o.ref] = true
			switch o.typ {
			case "virtualservice":
				out = append(out, o)
			case "l4policyset", "poolgroup":
				up(o.ref)
			}
		}
	}
	up(to)
	return out
}

// engines are the service engines that serve a virtual service.
func (s *Reader) engines(vs *object) []*object {
	var out []*object
	if x := s.placement.of(vs); x != nil {
		for _, at := range x.active() {
			if se := s.store.get(at); se != nil {
				out = append(out, se)
			}
		}
	}
	return out
}

// poolEngines are the service engines that serve a pool.
func (s *Reader) poolEngines(pool *object) []*object {
	var out []*object
	for _, vs := range s.users(pool.ref) {
		for _, se := range s.engines(vs) {
			if !slices.Contains(out, se) {
				out = append(out, se)
			}
		}
	}
	return out
}

// poolGroups returns the pool groups that a virtual service's body reaches, directly and through L4 policies.
func poolGroups(s *store, vs map[string]any) []*object {
	var out []*object
	for _, to := range ordered(vs) {
		switch to.typ {
		case "poolgroup":
			if o := s.get(to); o != nil {
				out = append(out, o)
			}
		case "l4policyset":
			if o := s.get(to); o != nil {
				out = append(out, poolGroups(s, o.body)...)
			}
		}
	}
	return out
}

// pools returns the pools that a virtual service's body reaches, directly, through pool groups and through L4 policies.
func pools(s *store, vs map[string]any) []*object {
	var out []*object
	seen := map[ref]bool{}
	var add func(r ref)
	add = func(r ref) {
		o := s.get(r)
		if o == nil || seen[r] {
			return
		}
		seen[r] = true
		switch r.typ {
		case "pool":
			out = append(out, o)
		case "poolgroup", "l4policyset":
			for _, to := range ordered(o.body) {
				if to.typ == "pool" || to.typ == "poolgroup" {
					add(to)
				}
			}
		}
	}
	add(refAt(vs, "pool_ref"))
	add(refAt(vs, "pool_group_ref"))
	for _, p := range messages(vs["l4_policies"]) {
		add(refAt(p, "l4_policy_set_ref"))
	}
	return out
}

// listener is one entry of services with the protocol that its profile gives it.
type listener struct {
	first, last int
	profile     string // PROTOCOL_TYPE_…
	protocol    string // TCP, UDP, SCTP
	ssl         bool
}

func listeners(s *store, vs map[string]any) []listener {
	kind := func(r ref) string {
		if o := s.get(r); o != nil {
			return str(o.body, "profile", "type")
		}
		return ""
	}
	base := kind(refAt(vs, "network_profile_ref"))
	var out []listener
	for _, e := range messages(vs["services"]) {
		l := listener{first: integer(e, "port"), last: integer(e, "port_range_end"), profile: base, ssl: boolean(e, "enable_ssl", false)}
		l.last = max(l.last, l.first)
		if r := refAt(e, "override_network_profile_ref"); r != (ref{}) {
			l.profile = kind(r)
		}
		l.protocol = profileProtocols[l.profile]
		out = append(out, l)
	}
	return out
}

func (l listener) overlaps(m listener) bool { return l.first <= m.last && m.first <= l.last }

func (l listener) equals(m listener) bool { return l.first == m.first && l.last == m.last }
