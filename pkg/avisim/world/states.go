// SPDX-License-Identifier: Apache-2.0

package world

import (
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/doc"
)

// Dynamics says how states come about. With the zero value all happens at once and service engines have no limit, which
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

func (s *Writer) observe(k Endpoint, e healthEvent) {
	e.at = s.tick()
	l := s.health[k]
	if len(l) >= healthHistory {
		l = l[len(l)-healthHistory+1:]
	}
	s.health[k] = append(slices.Clip(l), e)
	s.revision.Add(1)
	s.Dirty()
}

// State is an operational status.
type State struct {
	Name   string // without OPER_
	Reason string
	Since  int64 // µs
}

// ServerState is the state of one server of a pool.
type ServerState struct {
	State
	Body    map[string]any
	At      Endpoint
	Enabled bool
}

// checks are how long the monitors of a pool need to find a server up, and down. Evidence: that a server has to pass all of
// them, and is down when one fails, is documented; that the first check is made at once is inferred.
func (s *Reader) checks(pool *Object) (up, down int64) {
	refs, _ := pool.Body["health_monitor_refs"].([]any)
	if !s.dynamics.Checks {
		return 0, 0
	}
	for _, r := range refs {
		r, _ := r.(doc.Ref)
		m := s.Store.Get(r)
		if m == nil {
			continue
		}
		interval := int64(doc.Int(m.Body, "send_interval")) * 1e6
		up = max(up, int64(doc.Int(m.Body, "successful_checks"))*interval)
		if d := int64(doc.Int(m.Body, "failed_checks")) * interval; down == 0 || d < down {
			down = d
		}
	}
	return up, down
}

// healthAt finds the state of a server that is in its pool since a time, from what was said about it.
func healthAt(events []healthEvent, since, now, upAfter, downAfter int64) State {
	st := State{Name: "UP", Since: since + upAfter}
	if st.Since > now {
		st = State{"INITIALIZING", "", since}
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
		if name == st.Name {
			st.Reason = e.reason
			continue
		}
		st = State{name, e.reason, effect}
	}
	return st
}

// Servers lists the servers of a pool with their states.
func (s *Reader) Servers(pool *Object) []ServerState {
	now := s.now().UnixMicro()
	now = max(now, s.lastTick) // what was ticked is past
	up, down := s.checks(pool)
	list := doc.Messages(pool.Body["servers"])
	out := make([]ServerState, len(list))
	for i, b := range list {
		x := ServerState{Body: b, At: EndpointOf(pool, b), Enabled: doc.Bool(b, "enabled", true)}
		if x.Enabled {
			x.State = healthAt(s.health[x.At], pool.seen[i], now, up, down)
		} else {
			x.State = State{"DISABLED", "", pool.seen[i]}
		}
		out[i] = x
	}
	return out
}

// PoolState follows from the servers. Evidence: inferred from the enumeration and documents; min_servers_up is documented;
// texts are unverified.
func (s *Reader) PoolState(pool *Object) (st State, enabled, up, total int) {
	st = State{Since: pool.since}
	list := s.Servers(pool)
	total = len(list)
	starting := 0
	for _, x := range list {
		st.Since = max(st.Since, x.Since)
		if x.Enabled {
			enabled++
		}
		switch x.Name {
		case "UP":
			up++
		case "INITIALIZING":
			starting++
		}
	}
	if set, ok := s.overrides[pool.Ref]; ok {
		return set, enabled, up, total
	}
	needed := max(1, doc.Int(pool.Body, "min_servers_up"))
	switch {
	case !doc.Bool(pool.Body, "enabled", true):
		st.Name, st.Since = "DISABLED", pool.since
	case !s.Store.used(pool.Ref):
		st.Name = "UNUSED"
	case total == 0:
		st.Name, st.Reason, st.Since = "DOWN", "No servers in pool", pool.Modified
	case enabled == 0:
		st.Name, st.Reason = "DOWN", "All servers are disabled"
	case up >= needed:
		st.Name = "UP"
	case up+starting >= needed:
		st.Name = "INITIALIZING"
	case up == 0:
		st.Name, st.Reason = "DOWN", fmt.Sprintf("Pool %s is down: no server is up", pool.Name)
	default:
		st.Name, st.Reason = "DOWN", fmt.Sprintf("Pool %s is down: %d servers are up, %d are needed", pool.Name, up, needed)
	}
	return st, enabled, up, total
}

// used reports whether anything refers to an object.
func (s *Store) used(to doc.Ref) bool {
	for from := range s.in[to] {
		if from != to {
			return true
		}
	}
	return false
}

// VirtualServiceState follows from switches, the VsVip, the service engines and the pools. Evidence: that an update which
// drops discovered_networks takes the VS down is documented by an issue, with its reason; min_pools_up is documented; that
// a VS without room is in OPER_RESOURCES, and the order of the states, is inferred; the other texts are unverified.
func (s *Reader) VirtualServiceState(vs *Object) State {
	if set, ok := s.overrides[vs.Ref]; ok {
		return set
	}
	if st, is := s.forcedState(vs); is {
		return st
	}
	if !doc.Bool(vs.Body, "enabled", true) || !doc.Bool(vs.Body, "traffic_enabled", true) {
		return State{"DISABLED", "", vs.Modified}
	}
	vip := s.Store.Get(doc.RefAt(vs.Body, "vsvip_ref"))
	if vip == nil && vs.Body["vip"] == nil {
		return State{"DOWN", "Virtual Service has no VIP", vs.since}
	}
	start, since, st := s.started(vs)
	if st.Name == "" {
		st = vipState(vip, since)
	}
	if st.Name == "" {
		st = s.reachedState(vs, start, since)
	}
	return st
}

// started is the state of a virtual service that is not on its service engines yet, or on ones that failed, or else without a name; with
// the times at which it was placed, and was initialized.
func (s *Reader) started(vs *Object) (start, since int64, st State) {
	now := max(s.now().UnixMicro(), s.lastTick)
	created := vs.since + s.dynamics.PlacementDelay.Microseconds()
	if now < created {
		return 0, 0, State{"CREATING", "", vs.since}
	}
	x := s.placement.of(vs)
	if x == nil {
		return created, vs.since, State{}
	}
	start = max(created, x.since)
	if len(x.Engines) == 0 {
		name := ""
		if group := s.Store.Get(doc.RefAt(vs.Body, "se_group_ref")); group != nil {
			name = group.Name
		}
		return 0, 0, State{"RESOURCES", "No available Service Engine in Service Engine Group " + name, start}
	}
	since = start + s.dynamics.Initialization.Microseconds()
	if now < since {
		return 0, 0, State{"INITIALIZING", "", start}
	}
	if up, failure := s.EnginesUp(x); up == 0 {
		return 0, 0, State{"DOWN", failure.Reason, max(since, failure.Since)}
	}
	return start, since, State{}
}

// vipState is the state that a VsVip, which may be nil, holds its virtual services in, or one without a name.
func vipState(vip *Object, since int64) State {
	if vip == nil {
		return State{}
	}
	for _, v := range doc.Messages(vip.Body["vip"]) {
		if !doc.Bool(v, "avi_allocated_vip", false) || v["discovered_networks"] != nil {
			continue
		}
		if doc.Str(v, "ip_address", "addr") == "" && doc.Str(v, "ip6_address", "addr") == "" {
			return State{"CREATING", "Waiting for an IP address of the VIP", since}
		}
		return State{"DOWN", "No network/subnet matched Virtual Service IP", vip.Modified}
	}
	return State{}
}

// reachedState follows from the pools that a virtual service reaches.
func (s *Reader) reachedState(vs *Object, start, since int64) State {
	reached := Pools(s.Store, vs.Body)
	if len(reached) == 0 {
		return State{"DOWN", "Virtual Service has no pool", vs.Modified}
	}
	up, starting, reason := 0, 0, ""
	for _, p := range reached {
		ps, _, _, _ := s.PoolState(p)
		since = max(since, ps.Since)
		switch ps.Name {
		case "UP":
			up++
		case "INITIALIZING":
			starting++
		default:
			reason = fmt.Sprintf("Pool %s is down", p.Name)
		}
	}
	needed := max(1, doc.Int(vs.Body, "min_pools_up"))
	switch {
	case up >= needed:
		return State{"UP", "", since}
	case up+starting >= needed:
		return State{"INITIALIZING", "", start}
	case up == 0:
		return State{"DOWN", reason, since}
	}
	return State{"DOWN", fmt.Sprintf("%d pools are up, %d are needed", up, needed), since}
}

// EnginesUp counts the active engines of a virtual service that work, and names a failure.
func (s *Reader) EnginesUp(x *Placed) (up int, why engineFailure) {
	for _, e := range x.Active() {
		f, failed := s.placement.failed[e.UUID]
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

// Active are the engines of a virtual service without the standby one.
func (x *Placed) Active() []doc.Ref {
	if x.Standby && len(x.Engines) > 1 {
		return x.Engines[:1]
	}
	return x.Engines
}

// PoolGroupState is up if one of the group's pools is. Evidence: inferred.
func (s *Reader) PoolGroupState(o *Object) State {
	if set, ok := s.overrides[o.Ref]; ok {
		return set
	}
	st := State{"DOWN", "No pool of the group is up", o.since}
	if !s.Store.used(o.Ref) {
		return State{"UNUSED", "", o.since}
	}
	for _, m := range doc.Messages(o.Body["members"]) {
		if p := s.Store.Get(doc.RefAt(m, "pool_ref")); p != nil {
			ps, _, _, _ := s.PoolState(p)
			st.Since = max(st.Since, ps.Since)
			if ps.Name == "UP" {
				st.Name, st.Reason = "UP", ""
			}
		}
	}
	return st
}

// forced is a state that a fault holds virtual services in.
type forced struct {
	name  *regexp.Regexp
	state State
}

// forcedState is the state that a fault holds a virtual service in.
func (s *Reader) forcedState(vs *Object) (State, bool) {
	for _, f := range s.forced {
		if f.name == nil || f.name.MatchString(vs.Name) {
			return f.state, true
		}
	}
	return State{}, false
}

// EngineState is the state of a service engine.
func (s *Reader) EngineState(o *Object) State {
	if set, ok := s.overrides[o.Ref]; ok {
		return set
	}
	if f, failed := s.placement.failed[o.UUID]; failed {
		return State{"DOWN", f.Reason, f.Since}
	}
	if !s.placement.usable(o) {
		return State{"DISABLED", "", o.Modified}
	}
	return State{"UP", "", o.since}
}

// OtherState is the state of an object whose state follows from nothing: it is up unless it was set by hand.
func (s *Reader) OtherState(o *Object) State {
	if set, ok := s.overrides[o.Ref]; ok {
		return set
	}
	return State{"UP", "", o.since}
}

// Proven says of a server what checks that were already made found, so that no delay applies.
func (s *Writer) Proven(at Endpoint, up bool, reason string) {
	s.observe(at, healthEvent{up: up, reason: reason, proven: true})
}

// Placed is where a virtual service is; nil for one that needs no service engine.
func (s *Reader) Placed(vs *Object) *Placed { return s.placement.of(vs) }
