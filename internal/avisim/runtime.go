package avisim

import (
	"fmt"
	"net/http"
	"net/netip"
)

// endpointKey is one server of a pool, whatever pool it is in.
type endpointKey struct {
	addr netip.Addr
	port int
}

// health is what was last said about a server. Servers that nothing was said about are up.
type health struct {
	up     bool
	reason string
	since  int64 // µs
}

// SetServerHealth marks a server, in all pools that have it, as up or down, with the reason that clients read.
func (s *Server) SetServerHealth(ip string, port int, up bool, reason string) {
	a, err := netip.ParseAddr(ip)
	if err != nil {
		return // no server has such an address
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.health[endpointKey{a, port}] = health{up, reason, s.tick()}
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
	addr    netip.Addr
	port    int
	enabled bool
}

func (s *Server) servers(pool *object) []serverState {
	var out []serverState
	for _, b := range messages(pool.body["servers"]) {
		x := serverState{body: b, port: integer(b, "port"), enabled: boolean(b, "enabled", true), state: state{"UP", "", pool.modified}}
		if x.port == 0 {
			x.port = integer(pool.body, "default_server_port")
		}
		x.addr, _ = netip.ParseAddr(str(b, "ip", "addr"))
		h, told := s.health[endpointKey{x.addr, x.port}]
		switch {
		case !x.enabled:
			x.name = "DISABLED"
		case told:
			x.since = max(x.since, h.since)
			if x.reason = h.reason; !h.up {
				x.name = "DOWN"
			}
		}
		out = append(out, x)
	}
	return out
}

// poolState follows from the servers. Evidence: inferred from the enumeration and documents; texts are unverified.
func (s *Server) poolState(pool *object) (st state, enabled, up, total int) {
	st = state{since: pool.modified}
	list := s.servers(pool)
	total = len(list)
	for _, x := range list {
		st.since = max(st.since, x.since)
		if x.enabled {
			enabled++
		}
		if x.name == "UP" {
			up++
		}
	}
	used := false
	for _, r := range s.store.referrers(pool.ref) {
		used = used || r.typ != "tenant"
	}
	switch {
	case !boolean(pool.body, "enabled", true):
		st.name = "DISABLED"
	case !used:
		st.name = "UNUSED"
	case total == 0:
		st.name, st.reason = "DOWN", "No servers in pool"
	case enabled == 0:
		st.name, st.reason = "DOWN", "All servers are disabled"
	case up == 0:
		st.name, st.reason = "DOWN", fmt.Sprintf("Pool %s is down: no server is up", pool.name)
	default:
		st.name = "UP"
	}
	return st, enabled, up, total
}

// virtualServiceState follows from switches, the VsVip and the pools. Evidence: that an update which drops
// discovered_networks takes the VS down is documented by an issue, with its reason; the rest is inferred.
func (s *Server) virtualServiceState(vs *object) state {
	st := state{since: vs.modified}
	if !boolean(vs.body, "enabled", true) || !boolean(vs.body, "traffic_enabled", true) {
		st.name = "DISABLED"
		return st
	}
	vip := s.store.get(refAt(vs.body, "vsvip_ref"))
	if vip == nil && vs.body["vip"] == nil {
		st.name, st.reason = "DOWN", "Virtual Service has no VIP"
		return st
	}
	if vip != nil {
		st.since = max(st.since, vip.modified)
		for _, v := range messages(vip.body["vip"]) {
			if boolean(v, "avi_allocated_vip", false) && v["discovered_networks"] == nil {
				st.name, st.reason = "DOWN", "No network/subnet matched Virtual Service IP"
				return st
			}
		}
	}
	reached := pools(s.store, vs.body)
	if len(reached) == 0 {
		st.name, st.reason = "DOWN", "Virtual Service has no pool"
		return st
	}
	for _, p := range reached {
		ps, _, _, _ := s.poolState(p)
		st.since = max(st.since, ps.since)
		if ps.name == "UP" {
			st.name, st.reason = "UP", ""
		} else if st.name != "UP" {
			st.name, st.reason = "DOWN", fmt.Sprintf("Pool %s is down", p.name)
		}
	}
	return st
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
	case "poolgroup", "vsvip", "serviceenginegroup", "serviceengine", "cloud":
		return map[string]any{"oper_status": state{"UP", "", o.modified}.render()}
	}
	return nil
}

func percent(n, of int) int {
	if of == 0 {
		return 0
	}
	return n * 100 / of
}

func (s *Server) virtualServiceRuntime(r *renderer, vs *object) map[string]any {
	st := s.virtualServiceState(vs)
	up := 0
	if st.name == "UP" {
		up = 100
	}
	vips := vs.body["vip"]
	if v := s.store.get(refAt(vs.body, "vsvip_ref")); v != nil {
		vips = v.body["vip"]
	}
	engines := []any{}
	for i, se := range s.engines(vs) {
		engines = append(engines, map[string]any{"uuid": se.uuid, "url": r.url(se.ref), "primary": i == 0, "standby": false,
			"mgmt_ip": se.body["mgmt_ip_address"]})
	}
	summary := []any{}
	for _, v := range messages(vips) {
		summary = append(summary, map[string]any{"vip_id": str(v, "vip_id"), "oper_status": st.render(), "percent_ses_up": up,
			"num_se_assigned": len(engines), "num_se_requested": 1, "scale_status": map[string]any{"state": "SCALE_NONE"}, "service_engine": engines})
	}
	return map[string]any{"oper_status": st.render(), "percent_ses_up": up, "vip_summary": summary}
}

// engines are the service engines of the virtual service's group; each VS gets one.
func (s *Server) engines(vs *object) []*object {
	group := refAt(vs.body, "se_group_ref")
	for _, se := range s.store.shelves["serviceengine"].ordered { // there are few; a group has a referrer per VS
		if refAt(se.body, "se_group_ref") == group {
			return []*object{se}
		}
	}
	return nil
}

// inventoryFields lists what an inventory's config shows of an object. Evidence: documented.
var inventoryFields = []string{"name", "enabled", "type", "fqdn", "vip", "services", "pool_ref", "se_group_ref", "cloud_ref", "tenant_ref",
	"vsvip_ref", "vrf_context_ref", "vrf_ref", "dns_info", "servers", "members", "vtype", "created_by", "markers", "service_metadata", "l4_policies"}

// inventory serves /api/<type>-inventory[/<uuid>]. Evidence: which types have one, and the shape, are documented.
func (s *Server) inventory(c *call, kind *objectType) *answer {
	switch kind.path {
	case "virtualservice", "pool", "poolgroup", "vsvip", "serviceengine", "serviceenginegroup", "cloud", "network":
	default:
		return notFound()
	}
	if c.r.Method != http.MethodGet {
		return notAllowed(c)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	show := func(r *renderer, o *object) map[string]any { return s.inventoryItem(r, o) }
	if c.route.uuid == "" {
		return s.list(c, kind, show)
	}
	o := s.store.get(ref{kind.path, c.route.uuid})
	if o == nil || !o.visible(c.tenant) {
		return missing(kind)
	}
	return reply(http.StatusOK, show(c.renderer(includes(c.query, "include_name")), o))
}

func (s *Server) inventoryItem(r *renderer, o *object) map[string]any {
	config := map[string]any{"uuid": o.uuid, "url": r.url(o.ref), "_last_modified": microseconds(o.modified)}
	for _, f := range inventoryFields {
		if v, ok := o.body[f]; ok {
			config[f] = r.value(v)
		}
	}
	rt := s.runtime(r, o)
	out := map[string]any{
		"uuid": o.uuid, "url": r.url(o.ref), "config": config, "runtime": rt,
		"alert": map[string]any{"low": 0, "medium": 0, "high": 0}, "metrics": map[string]any{},
		"health_score": map[string]any{"health_score": healthScore(rt)},
	}
	switch o.typ {
	case "virtualservice":
		list := []any{}
		for _, p := range pools(s.store, o.body) {
			list = append(list, map[string]any{"ref": r.url(p.ref)})
		}
		out["pools"], out["poolgroups"] = list, []any{}
		if p := s.store.get(refAt(o.body, "application_profile_ref")); p != nil {
			out["app_profile_type"] = str(p.body, "type")
		}
	case "pool", "vsvip", "poolgroup":
		list := []any{}
		for _, vs := range s.users(o.ref) {
			list = append(list, map[string]any{"ref": r.url(vs.ref)})
		}
		out["virtualservices"] = list
	}
	return out
}

func healthScore(rt map[string]any) int {
	if st, _ := rt["oper_status"].(map[string]any); st["state"] == "OPER_UP" {
		return 100
	}
	return 0
}

// users lists the virtual services that refer to an object directly or through policies and pool groups.
func (s *Server) users(to ref) []*object {
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

// subresource serves /api/<type>/<uuid>/runtime and what is below it.
func (s *Server) subresource(c *call, kind *objectType) *answer {
	if c.r.Method != http.MethodGet {
		return notAllowed(c)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	o := s.store.get(ref{kind.path, c.route.uuid})
	if o == nil || !o.visible(c.tenant) {
		return missing(kind)
	}
	sub := c.route.sub
	if sub[0] != "runtime" {
		return notFound()
	}
	r := c.renderer(includes(c.query, "include_name"))
	rt := s.runtime(r, o)
	switch {
	case rt == nil:
		return notFound()
	case len(sub) == 1, len(sub) == 2 && sub[1] == "detail":
		rt["uuid"], rt["name"], rt["url"] = o.uuid, o.name, r.url(o.ref)
		return reply(http.StatusOK, rt)
	case kind.path == "pool" && sub[1] == "server" && len(sub) <= 3:
		return reply(http.StatusOK, s.serverRuntime(o, len(sub) == 3))
	}
	return notFound()
}

// serverRuntime is the list of a pool's servers; in detail, there is one entry for each service engine that serves the
// pool, of which the simulator has one. Evidence: the shape is documented.
func (s *Server) serverRuntime(pool *object, detail bool) []any {
	out := []any{}
	var engines []*object
	for _, vs := range s.users(pool.ref) {
		engines = s.engines(vs)
		break
	}
	for _, x := range s.servers(pool) {
		e := map[string]any{
			"ip_addr": x.body["ip"], "port": x.port, "hostname": x.body["hostname"], "is_local": true, "is_standby": false,
			"oper_status": x.render(), "last_state_change": x.render()["last_changed_time"], "server_enabled": x.enabled,
		}
		if len(engines) > 0 {
			e["se_uuid"] = engines[0].uuid
		}
		if detail {
			e["shm_runtime"] = []any{}
		}
		out = append(out, e)
	}
	return out
}
