package avisim

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"time"
)

// endpointKey is one server of a pool, whatever pool it is in.
type endpointKey struct {
	addr netip.Addr
	port int
}

// endpointOf is the server of one entry of a pool's servers.
func endpointOf(pool *object, server map[string]any) endpointKey {
	a, _ := netip.ParseAddr(str(server, "ip", "addr"))
	port := integer(server, "port")
	if port == 0 {
		port = integer(pool.body, "default_server_port")
	}
	return endpointKey{a, port}
}

// Dynamics tells how states come about. With the zero value all happens at once and service engines have no limit, which
// suits tests; a Controller takes its time.
type Dynamics struct {
	PlacementDelay time.Duration // a new virtual service is CREATING for so long
	Initialization time.Duration // and then INITIALIZING, once it is placed

	// Checks makes a server go up after successful_checks × send_interval of its pool's monitors and down after failed_checks ×
	// send_interval.
	Checks bool

	// Capacity makes max_vs_per_se count: a virtual service without room stays in OPER_RESOURCES. Clouds with write access
	// make service engines up to max_se.
	Capacity bool
}

// healthEvent is what was said about a server at a time. Servers that nothing was said about are up.
type healthEvent struct {
	at     int64 // µs
	up     bool
	reason string
	proven bool // by checks already made, so that no delay applies
}

// healthHistory is how many events of a server are kept: enough to see through flapping that is faster than the checks.
const healthHistory = 8

func (s *Writer) observe(k endpointKey, e healthEvent) {
	e.at = s.tick()
	l := s.health[k]
	if len(l) >= healthHistory {
		l = l[len(l)-healthHistory+1:]
	}
	s.health[k] = append(slices.Clip(l), e)
	s.revision.Add(1)
	s.Dirty()
}

// state is an operational status.
type state struct {
	name   string // without OPER_
	reason string
	since  int64 // µs
}

// serverState is the state of one server of a pool.
type serverState struct {
	state
	body    map[string]any
	at      endpointKey
	enabled bool
}

// checks are how long the monitors of a pool need to find a server up, and down. Evidence: that a server has to pass all of
// them, and is down when one fails, is documented; that the first check is made at once is inferred.
func (s *Reader) checks(pool *object) (up, down int64) {
	refs, _ := pool.body["health_monitor_refs"].([]any)
	if !s.dynamics.Checks {
		return 0, 0
	}
	for _, r := range refs {
		r, _ := r.(ref)
		m := s.store.get(r)
		if m == nil {
			continue
		}
		interval := int64(integer(m.body, "send_interval")) * 1e6
		up = max(up, int64(integer(m.body, "successful_checks"))*interval)
		if d := int64(integer(m.body, "failed_checks")) * interval; down == 0 || d < down {
			down = d
		}
	}
	return up, down
}

// healthAt finds the state of a server that is in its pool since a time, from what was said about it.
func healthAt(events []healthEvent, since, now, upAfter, downAfter int64) state {
	st := state{name: "UP", since: since + upAfter}
	if st.since > now {
		st = state{"INITIALIZING", "", since}
	}
	for i, e := range events {
		after := downAfter
		if e.up {
			after = upAfter
		}
		if e.proven {
			after = 0
		}
		effect := max(e.at, since) + after
		flipped := i+1 < len(events) && events[i+1].up != e.up && max(events[i+1].at, since) <= effect
		if effect > now || flipped && after > 0 {
			continue
		}
		name := "DOWN"
		if e.up {
			name = "UP"
		}
		if name == st.name {
			st.reason = e.reason
			continue
		}
		st = state{name, e.reason, effect}
	}
	return st
}

func (s *Reader) servers(pool *object) []serverState {
	now := s.now().UnixMicro()
	now = max(now, s.lastTick) // what was ticked is past
	up, down := s.checks(pool)
	list := messages(pool.body["servers"])
	out := make([]serverState, len(list))
	for i, b := range list {
		x := serverState{body: b, at: endpointOf(pool, b), enabled: boolean(b, "enabled", true)}
		if x.enabled {
			x.state = healthAt(s.health[x.at], pool.seen[i], now, up, down)
		} else {
			x.state = state{"DISABLED", "", pool.seen[i]}
		}
		out[i] = x
	}
	return out
}

// poolState follows from the servers. Evidence: inferred from the enumeration and documents; min_servers_up is documented;
// texts are unverified.
func (s *Reader) poolState(pool *object) (st state, enabled, up, total int) {
	st = state{since: pool.since}
	list := s.servers(pool)
	total = len(list)
	starting := 0
	for _, x := range list {
		st.since = max(st.since, x.since)
		if x.enabled {
			enabled++
		}
		switch x.name {
		case "UP":
			up++
		case "INITIALIZING":
			starting++
		}
	}
	if set, ok := s.overrides[pool.ref]; ok {
		return set, enabled, up, total
	}
	needed := max(1, integer(pool.body, "min_servers_up"))
	switch {
	case !boolean(pool.body, "enabled", true):
		st.name, st.since = "DISABLED", pool.since
	case !s.store.used(pool.ref):
		st.name = "UNUSED"
	case total == 0:
		st.name, st.reason, st.since = "DOWN", "No servers in pool", pool.modified
	case enabled == 0:
		st.name, st.reason = "DOWN", "All servers are disabled"
	case up >= needed:
		st.name = "UP"
	case up+starting >= needed:
		st.name = "INITIALIZING"
	case up == 0:
		st.name, st.reason = "DOWN", fmt.Sprintf("Pool %s is down: no server is up", pool.name)
	default:
		st.name, st.reason = "DOWN", fmt.Sprintf("Pool %s is down: %d servers are up, %d are needed", pool.name, up, needed)
	}
	return st, enabled, up, total
}

// used reports whether anything refers to an object.
func (s *store) used(to ref) bool {
	for from := range s.in[to] {
		if from != to {
			return true
		}
	}
	return false
}

// virtualServiceState follows from switches, the VsVip, the service engines and the pools. Evidence: that an update which
// drops discovered_networks takes the VS down is documented by an issue, with its reason; min_pools_up is documented; that
// a VS without room is in OPER_RESOURCES, and the order of the states, is inferred; the other texts are unverified.
func (s *Reader) virtualServiceState(vs *object) state {
	if set, ok := s.overrides[vs.ref]; ok {
		return set
	}
	if st, told := s.forcedState(vs); told {
		return st
	}
	st := state{since: vs.since}
	if !boolean(vs.body, "enabled", true) || !boolean(vs.body, "traffic_enabled", true) {
		st.name, st.since = "DISABLED", vs.modified
		return st
	}
	vip := s.store.get(refAt(vs.body, "vsvip_ref"))
	if vip == nil && vs.body["vip"] == nil {
		st.name, st.reason = "DOWN", "Virtual Service has no VIP"
		return st
	}
	now := max(s.now().UnixMicro(), s.lastTick)
	created := vs.since + s.dynamics.PlacementDelay.Microseconds()
	if now < created {
		st.name = "CREATING"
		return st
	}
	start := created
	if x := s.placement.of(vs); x != nil {
		group := s.store.get(refAt(vs.body, "se_group_ref"))
		if len(x.engines) == 0 {
			name := ""
			if group != nil {
				name = group.name
			}
			return state{"RESOURCES", fmt.Sprintf("No available Service Engine in Service Engine Group %s", name), max(created, x.since)}
		}
		start = max(created, x.since)
		st.since = start + s.dynamics.Initialization.Microseconds()
		if now < st.since {
			return state{"INITIALIZING", "", start}
		}
		if up, failure := s.enginesUp(x); up == 0 {
			return state{"DOWN", failure.Reason, max(st.since, failure.Since)}
		}
	}
	if vip != nil {
		for _, v := range messages(vip.body["vip"]) {
			if !boolean(v, "avi_allocated_vip", false) || v["discovered_networks"] != nil {
				continue
			}
			if str(v, "ip_address", "addr") == "" && str(v, "ip6_address", "addr") == "" {
				return state{"CREATING", "Waiting for an IP address of the VIP", st.since}
			}
			return state{"DOWN", "No network/subnet matched Virtual Service IP", vip.modified}
		}
	}
	reached := pools(s.store, vs.body)
	if len(reached) == 0 {
		st.name, st.reason, st.since = "DOWN", "Virtual Service has no pool", vs.modified
		return st
	}
	up, starting, reason := 0, 0, ""
	for _, p := range reached {
		ps, _, _, _ := s.poolState(p)
		st.since = max(st.since, ps.since)
		switch ps.name {
		case "UP":
			up++
		case "INITIALIZING":
			starting++
		default:
			reason = fmt.Sprintf("Pool %s is down", p.name)
		}
	}
	needed := max(1, integer(vs.body, "min_pools_up"))
	switch {
	case up >= needed:
		st.name = "UP"
	case up+starting >= needed:
		st.name, st.since = "INITIALIZING", start
	case up == 0:
		st.name, st.reason = "DOWN", reason
	default:
		st.name, st.reason = "DOWN", fmt.Sprintf("%d pools are up, %d are needed", up, needed)
	}
	return st
}

// enginesUp counts the active engines of a virtual service that work, and names a failure.
func (s *Reader) enginesUp(x *placed) (up int, why engineFailure) {
	for _, e := range x.active() {
		f, failed := s.placement.failed[e.uuid]
		if !failed {
			up++
			continue
		}
		why = f
		if why.Reason == "" {
			why.Reason = "Service Engine is down"
		}
	}
	return up, why
}

// active are the engines of a virtual service without the standby one.
func (x *placed) active() []ref {
	if x.standby && len(x.engines) > 1 {
		return x.engines[:1]
	}
	return x.engines
}

// poolGroupState is up if one of the group's pools is. Evidence: inferred.
func (s *Reader) poolGroupState(o *object) state {
	if set, ok := s.overrides[o.ref]; ok {
		return set
	}
	st := state{"DOWN", "No pool of the group is up", o.since}
	if !s.store.used(o.ref) {
		return state{"UNUSED", "", o.since}
	}
	for _, m := range messages(o.body["members"]) {
		if p := s.store.get(refAt(m, "pool_ref")); p != nil {
			ps, _, _, _ := s.poolState(p)
			st.since = max(st.since, ps.since)
			if ps.name == "UP" {
				st.name, st.reason = "UP", ""
			}
		}
	}
	return st
}

// forced is a state that a fault holds virtual services in.
type forced struct {
	name  *regexp.Regexp
	state state
}

// forcedState is the state that a fault holds a virtual service in.
func (s *Reader) forcedState(vs *object) (state, bool) {
	for _, f := range s.forced {
		if f.name == nil || f.name.MatchString(vs.name) {
			return f.state, true
		}
	}
	return state{}, false
}

// EngineState is the state of a service engine.
func (s *Reader) EngineState(o *object) state {
	if set, ok := s.overrides[o.ref]; ok {
		return set
	}
	if f, failed := s.placement.failed[o.uuid]; failed {
		return state{"DOWN", f.Reason, f.Since}
	}
	if !s.placement.usable(o) {
		return state{"DISABLED", "", o.modified}
	}
	return state{"UP", "", o.since}
}

// OtherState is the state of an object whose state follows from nothing: it is up unless it was set by hand.
func (s *Reader) OtherState(o *object) state {
	if set, ok := s.overrides[o.ref]; ok {
		return set
	}
	return state{"UP", "", o.since}
}

// Proven says of a server what checks that were already made found, so that no delay applies.
func (s *Writer) Proven(at endpointKey, up bool, reason string) {
	s.observe(at, healthEvent{up: up, reason: reason, proven: true})
}

// Placed is where a virtual service is; nil for one that needs no service engine.
func (s *Reader) Placed(vs *object) *placed { return s.placement.of(vs) }
