package avisim

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
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

// SetDynamics changes how states come about.
func (s *Server) SetDynamics(d Dynamics) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dynamics = d
	for at := range s.placement.groups {
		s.placement.rebalance(at)
	}
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

// SetServerHealth marks a server, in all pools that have it, as up or down, with the reason that clients read.
func (s *Server) SetServerHealth(ip string, port int, up bool, reason string) {
	a, err := netip.ParseAddr(ip)
	if err != nil {
		return // no server has such an address
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.observe(endpointKey{a, port}, healthEvent{up: up, reason: reason})
}

func (s *Server) observe(k endpointKey, e healthEvent) {
	e.at = s.tick()
	l := s.health[k]
	if len(l) >= healthHistory {
		l = l[len(l)-healthHistory+1:]
	}
	s.health[k] = append(slices.Clip(l), e)
	s.revision.Add(1)
	s.dirty()
}

// SetOperStatus sets the operational status of an object by hand, whatever its parts are: "OPER_RESOURCES" with a reason, for
// a virtual service that is stuck. An empty state ends that.
func (s *Server) SetOperStatus(typ, tenant, name, operState, reason string) error {
	known := []string{"UP", "DOWN", "CREATING", "RESOURCES", "INACTIVE", "DISABLED", "UNUSED", "UNKNOWN", "PROCESSING", "INITIALIZING",
		"ERROR_DISABLED", "AWAIT_MANUAL_PLACEMENT", "UPGRADING", "SE_PROCESSING", "PARTITIONED", "DISABLING", "FAILED", "UNAVAIL", "AGGREGATE_DOWN"}
	short := strings.TrimPrefix(operState, "OPER_")
	if short != "" && !slices.Contains(known, short) {
		return fmt.Errorf("state %q is not one of OPER_%s", operState, strings.Join(known, ", OPER_"))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	o, err := s.byName(typ, tenant, name)
	if err != nil {
		return err
	}
	delete(s.overrides, o.ref)
	if short != "" {
		s.overrides[o.ref] = state{short, reason, s.tick()}
	}
	s.revision.Add(1)
	s.dirty()
	return nil
}

// state is an operational status.
type state struct {
	name   string // without OPER_
	reason string
	since  int64 // µs
}

// render makes the schema's OperationalStatus of it.
func (st state) render() map[string]any {
	out := map[string]any{
		"state":             "OPER_" + st.name,
		"last_changed_time": map[string]any{"secs": st.since / 1e6, "usecs": st.since % 1e6},
	}
	if st.reason != "" {
		out["reason"] = []any{st.reason}
		out["reason_code"] = 1
		out["reason_code_string"] = "SYSERR_" + st.name
	}
	return out
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
func (s *Server) checks(pool *object) (up, down int64) {
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

func (s *Server) servers(pool *object) []serverState {
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
func (s *Server) poolState(pool *object) (st state, enabled, up, total int) {
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

// used tells if anything refers to an object.
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
func (s *Server) virtualServiceState(vs *object) state {
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
func (s *Server) enginesUp(x *placed) (up int, why engineFailure) {
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

// runtime is the runtime part of an object, nil for types that have none.
func (s *Server) runtime(r *renderer, o *object) map[string]any {
	switch o.typ {
	case "virtualservice":
		return s.virtualServiceRuntime(r, o)
	case "pool":
		st, enabled, up, total := s.poolState(o)
		return map[string]any{
			"oper_status": st.render(), "num_servers": total, "num_servers_enabled": enabled, "num_servers_up": up,
			"percent_servers_up_enabled": percent(up, enabled), "percent_servers_up_total": percent(up, total),
		}
	case "network":
		out := s.networkRuntime(r, o)
		out["oper_status"] = state{"UP", "", o.modified}.render()
		return out
	case "poolgroup":
		return map[string]any{"oper_status": s.poolGroupState(o).render()}
	case "serviceengine":
		st := state{"UP", "", o.since}
		if f, failed := s.placement.failed[o.uuid]; failed {
			st = state{"DOWN", f.Reason, f.Since}
		} else if !s.placement.usable(o) {
			st = state{"DISABLED", "", o.modified}
		}
		if set, ok := s.overrides[o.ref]; ok {
			st = set
		}
		return map[string]any{"oper_status": st.render(), "se_connected": st.name != "DOWN", "hb_status": map[string]any{"num_hb_misses": 0}}
	case "vsvip", "serviceenginegroup", "cloud":
		if set, ok := s.overrides[o.ref]; ok {
			return map[string]any{"oper_status": set.render()}
		}
		return map[string]any{"oper_status": state{"UP", "", o.since}.render()}
	}
	return nil
}

// poolGroupState is up if one of the group's pools is. Evidence: inferred.
func (s *Server) poolGroupState(o *object) state {
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

func percent(n, of int) int {
	if of == 0 {
		return 0
	}
	return n * 100 / of
}

// virtualServiceRuntime is the runtime of a virtual service, with the service engines that it is on. Evidence: the shape is
// documented.
func (s *Server) virtualServiceRuntime(r *renderer, vs *object) map[string]any {
	st := s.virtualServiceState(vs)
	x := s.placement.of(vs)
	if x == nil || st.name == "CREATING" {
		x = &placed{wanted: 1}
	}
	up, _ := s.enginesUp(x)
	share := percent(min(up, x.wanted), x.wanted)
	vips := vs.body["vip"]
	if v := s.store.get(refAt(vs.body, "vsvip_ref")); v != nil {
		vips = v.body["vip"]
	}
	scale := "SCALE_NONE"
	if len(x.active()) < x.wanted {
		scale = "SCALE_OUT" // unverified
	}
	engines := []any{}
	for i, at := range x.engines {
		e := map[string]any{"uuid": at.uuid, "url": r.url(at), "primary": i == 0, "standby": x.standby && i > 0}
		if se := s.store.get(at); se != nil {
			e["mgmt_ip"] = se.body["mgmt_ip_address"]
		}
		engines = append(engines, e)
	}
	summary := []any{}
	for _, v := range messages(vips) {
		summary = append(summary, map[string]any{"vip_id": str(v, "vip_id"), "oper_status": st.render(), "percent_ses_up": share,
			"num_se_assigned": len(x.active()), "num_se_requested": x.wanted, "scale_status": map[string]any{"state": scale}, "service_engine": engines})
	}
	return map[string]any{"oper_status": st.render(), "percent_ses_up": share, "vip_summary": summary}
}
