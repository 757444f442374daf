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

// Board shows a world to people. What takes long is computed once for many who look.
type Board struct {
	world *World

	mu       sync.Mutex // guards what follows; may be held while the world's lock is taken, but not the other way round
	computed bool
	revision int64
	at       time.Time
	cost     time.Duration
	digest   uint64
	entries  []viewEntry // by name
	counts   map[string]int
	states   map[ref]state
	texts    map[ref]string // what a search looks through; nil until one does
}

// NewBoard makes the board of a world.
func NewBoard(w *World) *Board { return &Board{world: w} }

type viewEntry struct {
	o     *object
	state state
}

// look brings the board up to date: at once if nobody looked for a while, and so seldom that it costs a tenth of one core at most.
// The board's lock is held.
func (v *Board) look() {
	v.world.CatchUp()
	revision, now := v.world.Revision(), time.Now()
	pause := 200 * time.Millisecond
	if revision == v.revision {
		pause = time.Second // states change with time, too
	}
	if v.computed && now.Sub(v.at) < max(pause, 10*v.cost) {
		return
	}
	var changes []Change
	v.world.Read(func(s *Reader) { changes = v.compute(s, now) })
	if len(changes) > 0 {
		v.world.Write(func(s *Writer) {
			for _, c := range changes {
				s.Note(c)
			}
		})
	}
	if revision != v.revision {
		v.texts = nil
	}
	v.computed, v.revision, v.at = true, revision, now
	v.cost = time.Since(now)
}

// compute looks at all virtual services, and returns what became of their states.
func (v *Board) compute(s *Reader, now time.Time) (changes []Change) {
	all := s.store.all("virtualservice")
	entries := make([]viewEntry, len(all))
	states, counts := make(map[ref]state, len(entries)), map[string]int{}
	digest := fnv.New64a()
	for i, o := range all {
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
			changes = append(changes, Change{Time: now, Type: o.typ, Name: o.name, Tenant: s.Tenant(o.tenant), What: was + st.name, State: st.name})
		}
	}
	slices.SortFunc(entries, func(a, b viewEntry) int {
		return cmp.Or(strings.Compare(a.o.name, b.o.name), cmp.Compare(a.o.seq, b.o.seq))
	})
	v.digest, v.entries, v.counts, v.states = digest.Sum64(), entries, counts, states
	return changes
}

// Digest tells two states of the virtual services apart: the revision of the world that they were computed from, a hash of their states,
// and how many are in which.
func (v *Board) Digest() (revision int64, states string, counts map[string]int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.look()
	return v.revision, fmt.Sprintf("%x", v.digest), v.counts
}

// Changes returns the last changes, at most limit of them, whose IDs are above one, oldest first.
func (v *Board) Changes(after int64, limit int) (out []Change) {
	v.world.Read(func(s *Reader) { out = s.Changes(after, limit) })
	return out
}

// Services returns a page of virtual services, as they were a moment ago.
func (v *Board) Services(q ServiceQuery) (page ServicePage) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.look()
	if q.Size < 1 || q.Size > 200 {
		q.Size = 50
	}
	v.world.Read(func(s *Reader) { page = v.page(s, q) })
	return page
}

func (v *Board) page(s *Reader, q ServiceQuery) ServicePage {
	found := v.entries
	if q.State != "" {
		found = slices.DeleteFunc(slices.Clone(found), func(e viewEntry) bool { return e.state.name != q.State })
	}
	if want := strings.ToLower(strings.TrimSpace(q.Search)); want != "" {
		if v.texts == nil {
			v.texts = make(map[ref]string, len(v.entries))
			for _, e := range v.entries {
				v.texts[e.o.ref] = searchText(s, e.o)
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
			page.Services = append(page.Services, serviceView(s, o))
		}
	}
	return page
}

// searchText is what a search looks through: all but the states, which change without a write.
func searchText(s *Reader, vs *object) string {
	parts := []string{vs.name, s.Tenant(vs.tenant)}
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

// serviceView shows a virtual service.
func serviceView(s *Reader, vs *object) ServiceView {
	st := s.virtualServiceState(vs)
	out := ServiceView{UUID: vs.uuid, Name: vs.name, Tenant: s.Tenant(vs.tenant), State: st.name, Reason: st.reason,
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
	out.Rules = ruleViews(s, vs)
	for _, p := range pools(s.store, vs.body) {
		out.Pools = append(out.Pools, poolView(s, p))
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

func ruleViews(s *Reader, vs *object) []RuleView {
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
				v.Group, v.Targets = targetViews(s, action)
			}
			out = append(out, v)
		}
	}
	if group, targets := targetViews(s, vs.body); len(targets) > 0 {
		out = append(out, RuleView{Name: "default", Match: "all else", Group: group, Targets: targets})
	}
	return out
}

// targetViews are the pools that pool_ref or pool_group_ref of a message lead to, and the group's name.
func targetViews(s *Reader, m map[string]any) (group string, out []TargetView) {
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

func poolView(s *Reader, p *object) PoolView {
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
