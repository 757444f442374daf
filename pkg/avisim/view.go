package avisim

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"sync"
	"time"
)

// The types here show the simulated Controller to people: virtual services with all that they reach, and what happened last.
// States are without OPER_.

// ServiceView is a virtual service.
type ServiceView struct {
	UUID     string     `json:"uuid"`
	Name     string     `json:"name"`
	Tenant   string     `json:"tenant"`
	Cloud    string     `json:"cloud"`
	State    string     `json:"state"`
	Reason   string     `json:"reason,omitempty"`
	Since    time.Time  `json:"since"`
	Modified time.Time  `json:"modified"`
	Ports    []string   `json:"ports"`
	VIPs     []VIPView  `json:"vips"`
	Rules    []RuleView `json:"rules"`
	Pools    []PoolView `json:"pools"`
}

// VIPView is one VIP of a virtual service.
type VIPView struct {
	ID        string   `json:"id"`
	Addresses []string `json:"addresses"`
	Floating  []string `json:"floating,omitempty"`
	Hosts     []string `json:"hosts,omitempty"`
}

// RuleView tells which connections go where.
type RuleView struct {
	Name    string       `json:"name"`
	Match   string       `json:"match"`
	Group   string       `json:"group,omitempty"`  // pool group, if there is one between
	Action  string       `json:"action,omitempty"` // if it is not to forward
	Targets []TargetView `json:"targets"`
}

// TargetView is a pool that a rule forwards to.
type TargetView struct {
	Pool  string `json:"pool"`
	State string `json:"state"`
	Ratio int    `json:"ratio,omitempty"` // of a pool group's member
}

// PoolView is a pool.
type PoolView struct {
	UUID    string       `json:"uuid"`
	Name    string       `json:"name"`
	State   string       `json:"state"`
	Reason  string       `json:"reason,omitempty"`
	Up      int          `json:"up"`
	Enabled int          `json:"enabled"`
	Total   int          `json:"total"`
	Servers []ServerView `json:"servers"`
}

// ServerView is a server of a pool.
type ServerView struct {
	IP     string `json:"ip"`
	Port   int    `json:"port"`
	State  string `json:"state"`
	Reason string `json:"reason,omitempty"`
}

// ServiceQuery selects and orders virtual services.
type ServiceQuery struct {
	Search string // part of a name, tenant, address, host, pool or server, whatever the case
	State  string // without OPER_
	Sort   string // name (default) or changed, latest first
	Page   int    // from 1
	Size   int    // 1 to 200, default 50
}

// ServicePage is a page of virtual services.
type ServicePage struct {
	Total    int            `json:"total"`
	Matched  int            `json:"matched"`
	Page     int            `json:"page"`
	Pages    int            `json:"pages"`
	Counts   map[string]int `json:"counts"` // of all, by state
	Services []ServiceView  `json:"services"`
}

// Change is something that happened to an object: it was created, changed, deleted, or its state became another one.
type Change struct {
	ID     int64     `json:"id"`
	Time   time.Time `json:"time"`
	Type   string    `json:"type"`
	Name   string    `json:"name"`
	Tenant string    `json:"tenant"`
	What   string    `json:"what"`
	State  string    `json:"state,omitempty"` // the new one
}

// changeLimit is how many changes are kept.
const changeLimit = 500

// view is what is computed once for many who look.
type view struct {
	mu       sync.Mutex
	computed bool
	revision int64
	at       time.Time
	cost     time.Duration
	digest   uint64
	entries  []viewEntry // by name
	counts   map[string]int
	states   map[ref]state
	texts    map[ref]string // what a search looks through; nil until one does

	changeMu sync.Mutex
	changes  []Change
	changeID int64
}

type viewEntry struct {
	o     *object
	state state
}

// note adds a change to those that people see.
func (v *view) note(c Change) {
	v.changeMu.Lock()
	defer v.changeMu.Unlock()
	v.changeID++
	c.ID = v.changeID
	if len(v.changes) >= changeLimit {
		v.changes = slices.Clone(v.changes[changeLimit/5:])
	}
	v.changes = append(v.changes, c)
}

// noted tells people of a change of the store; Server.mu is held.
func (s *Server) noted(at time.Time, old, o *object) {
	c := Change{Time: at, What: "changed"}
	switch {
	case old == nil:
		c.What = "created"
	case o == nil:
		c.What, o = "deleted", old
	}
	c.Type, c.Name, c.Tenant = o.typ, o.name, s.tenantName(o.tenant)
	s.view.note(c)
}

// Changes returns the last changes, at most limit of them, whose IDs are above one, oldest first.
func (s *Server) Changes(after int64, limit int) []Change {
	s.view.changeMu.Lock()
	defer s.view.changeMu.Unlock()
	i, _ := slices.BinarySearchFunc(s.view.changes, after+1, func(c Change, id int64) int { return cmp.Compare(c.ID, id) })
	return append([]Change{}, s.view.changes[max(i, len(s.view.changes)-limit):]...)
}

func (s *Server) tenantName(uuid string) string {
	if t := s.store.get(ref{"tenant", uuid}); t != nil {
		return t.name
	}
	return uuid
}

// look brings the view up to date: at once if nobody looked for a while, and so seldom that it costs a tenth of one core at most.
// The view's lock is held.
func (s *Server) look() {
	s.catchUp()
	v := &s.view
	revision, now := s.revision.Load(), time.Now()
	pause := 200 * time.Millisecond
	if revision == v.revision {
		pause = time.Second // states change with time, too
	}
	if v.computed && now.Sub(v.at) < max(pause, 10*v.cost) {
		return
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	sh := s.store.shelves["virtualservice"]
	entries := make([]viewEntry, len(sh.ordered))
	states, counts := make(map[ref]state, len(entries)), map[string]int{}
	digest := fnv.New64a()
	for i, o := range sh.ordered {
		st := s.virtualServiceState(o)
		entries[i] = viewEntry{o, st}
		states[o.ref] = st
		counts[st.name]++
		_, _ = fmt.Fprintf(digest, "%s %s %d\n", st.name, st.reason, st.since)
		if old, had := v.states[o.ref]; v.computed && (had && old.name != st.name || !had && st.name != "UP") {
			was := ""
			if had {
				was = old.name + " → "
			}
			s.view.note(Change{Time: now, Type: o.typ, Name: o.name, Tenant: s.tenantName(o.tenant), What: was + st.name, State: st.name})
		}
	}
	slices.SortFunc(entries, func(a, b viewEntry) int {
		return cmp.Or(strings.Compare(a.o.name, b.o.name), cmp.Compare(a.o.seq, b.o.seq))
	})
	if revision != v.revision {
		v.texts = nil
	}
	v.computed, v.revision, v.at, v.digest, v.entries, v.counts, v.states = true, revision, now, digest.Sum64(), entries, counts, states
	v.cost = time.Since(now)
}

// Pulse tells in few bytes if anything changed since the last one: two that are equal mean no.
type Pulse struct {
	Objects  int64          `json:"objects"`
	States   string         `json:"states"`
	Faults   int64          `json:"faults"`
	Requests int64          `json:"requests"`
	Changes  int64          `json:"changes"`
	Counts   map[string]int `json:"counts"`
}

// Pulse returns the present one.
func (s *Server) Pulse() Pulse {
	s.view.mu.Lock()
	s.look()
	p := Pulse{Objects: s.view.revision, States: fmt.Sprintf("%x", s.view.digest), Faults: s.faultRevision.Load(), Counts: s.view.counts}
	s.view.mu.Unlock()
	s.view.changeMu.Lock()
	p.Changes = s.view.changeID
	s.view.changeMu.Unlock()
	s.logMu.Lock()
	p.Requests = s.requestID
	s.logMu.Unlock()
	return p
}

// Services returns a page of virtual services, as they were a moment ago.
func (s *Server) Services(q ServiceQuery) ServicePage {
	s.view.mu.Lock()
	defer s.view.mu.Unlock()
	s.look()
	v := &s.view
	if q.Size < 1 || q.Size > 200 {
		q.Size = 50
	}
	found := v.entries
	if q.State != "" {
		found = slices.DeleteFunc(slices.Clone(found), func(e viewEntry) bool { return e.state.name != q.State })
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if want := strings.ToLower(strings.TrimSpace(q.Search)); want != "" {
		if v.texts == nil {
			v.texts = make(map[ref]string, len(v.entries))
			for _, e := range v.entries {
				v.texts[e.o.ref] = s.searchText(e.o)
			}
		}
		found = slices.DeleteFunc(slices.Clone(found), func(e viewEntry) bool { return !strings.Contains(v.texts[e.o.ref], want) })
	}
	if q.Sort == "changed" {
		found = slices.Clone(found)
		slices.SortStableFunc(found, func(a, b viewEntry) int {
			return cmp.Compare(max(b.state.since, b.o.modified), max(a.state.since, a.o.modified))
		})
	}
	page := ServicePage{Total: len(v.entries), Matched: len(found), Pages: max(1, (len(found)+q.Size-1)/q.Size), Counts: v.counts, Services: []ServiceView{}}
	page.Page = min(max(1, q.Page), page.Pages)
	first := (page.Page - 1) * q.Size
	for _, e := range found[first:min(first+q.Size, len(found))] {
		if o := s.store.get(e.o.ref); o != nil { // else deleted a moment ago
			page.Services = append(page.Services, s.serviceView(o))
		}
	}
	return page
}

// searchText is what a search looks through: all but the states, which change without a write.
func (s *Server) searchText(vs *object) string {
	parts := []string{vs.name, s.tenantName(vs.tenant)}
	name := func(r ref) *object {
		o := s.store.get(r)
		if o != nil {
			parts = append(parts, o.name)
		}
		return o
	}
	name(vs.cloud)
	for _, p := range messages(vs.body["services"]) {
		parts = append(parts, portText(p["port"]))
	}
	vip := vs
	if o := s.store.get(refAt(vs.body, "vsvip_ref")); o != nil {
		vip = o
	}
	for _, d := range messages(vip.body["dns_info"]) {
		parts = append(parts, str(d, "fqdn"))
	}
	for _, v := range messages(vip.body["vip"]) {
		for _, f := range []string{"ip_address", "ip6_address", "floating_ip", "floating_ip6"} {
			parts = append(parts, str(v, f, "addr"))
		}
	}
	name(refAt(vs.body, "pool_group_ref"))
	for _, lp := range messages(vs.body["l4_policies"]) {
		if set := name(refAt(lp, "l4_policy_set_ref")); set != nil {
			for _, r := range messages(at(set.body, "l4_connection_policy", "rules")) {
				parts = append(parts, str(r, "name"))
				name(refAt(r, "action", "select_pool", "pool_group_ref"))
			}
		}
	}
	for _, p := range pools(s.store, vs.body) {
		parts = append(parts, p.name)
		for _, x := range messages(p.body["servers"]) {
			at := endpointOf(p, x)
			parts = append(parts, fmt.Sprintf("%s:%d", at.addr, at.port))
		}
	}
	return strings.ToLower(strings.Join(parts, "\n"))
}

// serviceView shows a virtual service; Server.mu is held.
func (s *Server) serviceView(vs *object) ServiceView {
	st := s.virtualServiceState(vs)
	out := ServiceView{UUID: vs.uuid, Name: vs.name, Tenant: s.tenantName(vs.tenant), State: st.name, Reason: st.reason,
		Since: time.UnixMicro(st.since), Modified: time.UnixMicro(vs.modified), Ports: []string{}, VIPs: []VIPView{}, Rules: []RuleView{}, Pools: []PoolView{}}
	if c := s.store.get(vs.cloud); c != nil {
		out.Cloud = c.name
	}
	for _, p := range messages(vs.body["services"]) {
		text := portText(p["port"])
		if end := portText(p["port_range_end"]); end != text && end != "" && end != "0" {
			text += "–" + end
		}
		if n := s.store.get(refAt(p, "override_network_profile_ref")); n != nil {
			text += " " + protocolName(str(n.body, "profile", "type"))
		}
		out.Ports = append(out.Ports, text)
	}
	vip := vs
	if o := s.store.get(refAt(vs.body, "vsvip_ref")); o != nil {
		vip = o
	}
	var hosts []string
	for _, d := range messages(vip.body["dns_info"]) {
		hosts = append(hosts, str(d, "fqdn"))
	}
	for _, v := range messages(vip.body["vip"]) {
		x := VIPView{ID: str(v, "vip_id"), Addresses: []string{}, Hosts: hosts}
		for _, f := range []string{"ip_address", "ip6_address"} {
			if a := str(v, f, "addr"); a != "" {
				x.Addresses = append(x.Addresses, a)
			}
		}
		for _, f := range []string{"floating_ip", "floating_ip6"} {
			if a := str(v, f, "addr"); a != "" {
				x.Floating = append(x.Floating, a)
			}
		}
		out.VIPs = append(out.VIPs, x)
	}
	out.Rules = s.ruleViews(vs)
	for _, p := range pools(s.store, vs.body) {
		out.Pools = append(out.Pools, s.poolView(p))
	}
	return out
}

func portText(v any) string {
	if f, ok := v.(float64); ok {
		return number(f)
	}
	return ""
}

// protocolName is the short form of PROTOCOL_SCTP, PROTOCOL_TYPE_SCTP_PROXY and the like.
func protocolName(s string) string {
	s = strings.TrimPrefix(strings.TrimPrefix(s, "PROTOCOL_"), "TYPE_")
	s, _, _ = strings.Cut(s, "_")
	return s
}

func (s *Server) ruleViews(vs *object) []RuleView {
	out := []RuleView{}
	for _, lp := range messages(vs.body["l4_policies"]) {
		set := s.store.get(refAt(lp, "l4_policy_set_ref"))
		if set == nil {
			continue
		}
		for _, r := range messages(at(set.body, "l4_connection_policy", "rules")) {
			v := RuleView{Name: str(r, "name"), Match: matchText(r)}
			action, _ := at(r, "action", "select_pool").(map[string]any)
			switch {
			case action == nil:
				v.Action, v.Targets = "none", []TargetView{}
			default:
				v.Group, v.Targets = s.targetViews(action)
			}
			out = append(out, v)
		}
	}
	if group, targets := s.targetViews(vs.body); len(targets) > 0 {
		out = append(out, RuleView{Name: "default", Match: "all else", Group: group, Targets: targets})
	}
	return out
}

// targetViews are the pools that pool_ref or pool_group_ref of a message lead to, and the group's name.
func (s *Server) targetViews(m map[string]any) (group string, out []TargetView) {
	out = []TargetView{}
	add := func(r ref, ratio int) {
		if p := s.store.get(r); p != nil {
			st, _, _, _ := s.poolState(p)
			out = append(out, TargetView{p.name, st.name, ratio})
		}
	}
	add(refAt(m, "pool_ref"), 0)
	if g := s.store.get(refAt(m, "pool_group_ref")); g != nil {
		group = g.name
		for _, x := range messages(g.body["members"]) {
			ratio := 1
			if f, ok := x["ratio"].(float64); ok {
				ratio = int(f)
			}
			add(refAt(x, "pool_ref"), ratio)
		}
	}
	return group, out
}

// matchText is a rule's port and protocol match in few words.
func matchText(rule map[string]any) string {
	m, _ := rule["match"].(map[string]any)
	var ports []string
	list, _ := at(m, "port", "ports").([]any)
	for _, p := range list {
		ports = append(ports, portText(p))
	}
	for _, r := range messages(at(m, "port", "port_ranges")) {
		ports = append(ports, portText(r["start"])+"–"+portText(r["end"]))
	}
	text := strings.Join(ports, ", ")
	if text == "" {
		text = "any port"
	} else if str(m, "port", "match_criteria") == "IS_NOT_IN" {
		text = "not " + text
	}
	if p := protocolName(str(m, "protocol", "protocol")); p != "" {
		text += " " + p
	}
	return text
}

func (s *Server) poolView(p *object) PoolView {
	st, enabled, up, total := s.poolState(p)
	out := PoolView{UUID: p.uuid, Name: p.name, State: st.name, Reason: st.reason, Up: up, Enabled: enabled, Total: total, Servers: []ServerView{}}
	for _, x := range s.servers(p) {
		ip := str(x.body, "ip", "addr")
		if x.at.addr.IsValid() {
			ip = x.at.addr.String()
		}
		out.Servers = append(out.Servers, ServerView{ip, x.at.port, x.name, x.reason})
	}
	return out
}

// Status is what the Controller says of itself, and how much there is of it.
type Status struct {
	Host    string         `json:"host"`
	Version string         `json:"version"`
	License string         `json:"license"`
	Leader  string         `json:"leader"`
	UpSince string         `json:"upSince"`
	Upgrade bool           `json:"upgrade"`
	Objects map[string]int `json:"objects"` // by type
}

// Status returns the present one.
func (s *Server) Status() Status {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := Status{Host: s.Host(), Version: s.version.join("."), License: s.tier(), Leader: s.leader, UpSince: s.upSince,
		Upgrade: s.upgrading.Load(), Objects: map[string]int{}}
	if nodes := messages(s.clusterBody["nodes"]); out.Leader == "" && len(nodes) > 0 {
		out.Leader = str(nodes[0], "name")
	}
	for typ, sh := range s.store.shelves {
		if n := len(sh.ordered); n > 0 {
			out.Objects[typ] = n
		}
	}
	return out
}
