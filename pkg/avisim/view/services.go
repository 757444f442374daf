// SPDX-License-Identifier: Apache-2.0

// Package view shows a world to people: virtual services with all that they reach, what happened last, and what a service engine would
// have to forward.
package view

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/doc"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/world"
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
	// Owner is the Kubernetes object that the markers name, such as "Service core/amf"; empty if they name none.
	Owner string `json:"owner,omitempty"`
	// Objects are the virtual service and what is its own, in the order in which clients create it.
	Objects []ObjectView `json:"objects"`
}

// ObjectView names an object of the Controller.
type ObjectView struct {
	Type   string `json:"type"`
	Tenant string `json:"tenant"`
	Name   string `json:"name"`
}

// VIPView is one VIP of a virtual service.
type VIPView struct {
	ID        string   `json:"id"`
	Addresses []string `json:"addresses"`
	Floating  []string `json:"floating,omitempty"`
	Hosts     []string `json:"hosts,omitempty"`
}

// RuleView says which connections go where.
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

// Board shows a world to people. What takes long is computed once for many readers.
type Board struct {
	world *world.World

	mu       sync.Mutex // guards what follows; may be held while the world's lock is taken, but not the other way round
	computed bool
	revision int64
	at       time.Time
	cost     time.Duration
	digest   uint64
	entries  []viewEntry // by name
	counts   map[string]int
	states   map[doc.Ref]world.State
	texts    map[doc.Ref]string // what a search looks through; nil until one does
}

// New makes the board of a world.
func New(w *world.World) *Board { return &Board{world: w} }

type viewEntry struct {
	o     *world.Object
	state world.State
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
	var changes []world.Change
	v.world.Read(func(s *world.Reader) { changes = v.compute(s, now) })
	if len(changes) > 0 {
		v.world.Write(func(s *world.Writer) {
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
func (v *Board) compute(s *world.Reader, now time.Time) (changes []world.Change) {
	all := s.Store.All("virtualservice")
	entries := make([]viewEntry, len(all))
	states, counts := make(map[doc.Ref]world.State, len(entries)), map[string]int{}
	digest := fnv.New64a()
	for i, o := range all {
		st := s.VirtualServiceState(o)
		entries[i] = viewEntry{o, st}
		states[o.Ref] = st
		counts[st.Name]++
		_, _ = fmt.Fprintf(digest, "%s %s %d\n", st.Name, st.Reason, st.Since)
		if old, had := v.states[o.Ref]; v.computed && (had && old.Name != st.Name || !had && st.Name != "UP") {
			was := ""
			if had {
				was = old.Name + " → "
			}
			changes = append(changes, world.Change{Time: now, Type: o.Type, Name: o.Name, Tenant: s.Tenant(o.Tenant), What: was + st.Name,
				State: st.Name})
		}
	}
	slices.SortFunc(entries, func(a, b viewEntry) int {
		return cmp.Or(strings.Compare(a.o.Name, b.o.Name), cmp.Compare(a.o.Seq, b.o.Seq))
	})
	v.digest, v.entries, v.counts, v.states = digest.Sum64(), entries, counts, states
	return changes
}

// Digest identifies a state of the virtual services by the revision of the world that they were computed from, a hash of their states,
// and how many are in which.
func (v *Board) Digest() (revision int64, states string, counts map[string]int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.look()
	return v.revision, fmt.Sprintf("%x", v.digest), v.counts
}

// Changes returns the last changes, at most limit of them, whose IDs are above one, oldest first.
func (v *Board) Changes(after int64, limit int) (out []world.Change) {
	v.world.Read(func(s *world.Reader) { out = s.Changes(after, limit) })
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
	v.world.Read(func(s *world.Reader) { page = v.page(s, q) })
	return page
}

func (v *Board) page(s *world.Reader, q ServiceQuery) ServicePage {
	found := v.entries
	if q.State != "" {
		found = slices.DeleteFunc(slices.Clone(found), func(e viewEntry) bool { return e.state.Name != q.State })
	}
	if want := strings.ToLower(strings.TrimSpace(q.Search)); want != "" {
		if v.texts == nil {
			v.texts = make(map[doc.Ref]string, len(v.entries))
			for _, e := range v.entries {
				v.texts[e.o.Ref] = searchText(s, e.o)
			}
		}
		found = slices.DeleteFunc(slices.Clone(found), func(e viewEntry) bool { return !strings.Contains(v.texts[e.o.Ref], want) })
	}
	if q.Sort == "changed" {
		found = slices.Clone(found)
		slices.SortStableFunc(found, func(a, b viewEntry) int {
			return cmp.Compare(max(b.state.Since, b.o.Modified), max(a.state.Since, a.o.Modified))
		})
	}
	page := ServicePage{Total: len(v.entries), Matched: len(found), Pages: max(1, (len(found)+q.Size-1)/q.Size), Counts: v.counts,
		Services: []ServiceView{}}
	page.Page = min(max(1, q.Page), page.Pages)
	first := (page.Page - 1) * q.Size
	for _, e := range found[first:min(first+q.Size, len(found))] {
		if o := s.Store.Get(e.o.Ref); o != nil { // else deleted a moment ago
			page.Services = append(page.Services, serviceView(s, o))
		}
	}
	return page
}

// searchText is what a search looks through: all but the states, which change without a write.
func searchText(s *world.Reader, vs *world.Object) string {
	parts := []string{vs.Name, s.Tenant(vs.Tenant)}
	name := func(r doc.Ref) *world.Object {
		o := s.Store.Get(r)
		if o != nil {
			parts = append(parts, o.Name)
		}
		return o
	}
	name(vs.Cloud)
	for _, p := range doc.Messages(vs.Body["services"]) {
		parts = append(parts, portText(p["port"]))
	}
	vip := vs
	if o := s.Store.Get(doc.RefAt(vs.Body, "vsvip_ref")); o != nil {
		vip = o
	}
	for _, d := range doc.Messages(vip.Body["dns_info"]) {
		parts = append(parts, doc.Str(d, "fqdn"))
	}
	for _, v := range doc.Messages(vip.Body["vip"]) {
		for _, f := range []string{"ip_address", "ip6_address", "floating_ip", "floating_ip6"} {
			parts = append(parts, doc.Str(v, f, "addr"))
		}
	}
	name(doc.RefAt(vs.Body, "pool_group_ref"))
	for _, lp := range doc.Messages(vs.Body["l4_policies"]) {
		if set := name(doc.RefAt(lp, "l4_policy_set_ref")); set != nil {
			for _, r := range doc.Messages(doc.At(set.Body, "l4_connection_policy", "rules")) {
				parts = append(parts, doc.Str(r, "name"))
				name(doc.RefAt(r, "action", "select_pool", "pool_group_ref"))
			}
		}
	}
	for _, p := range world.Pools(s.Store, vs.Body) {
		parts = append(parts, p.Name)
		for _, x := range doc.Messages(p.Body["servers"]) {
			at := world.EndpointOf(p, x)
			parts = append(parts, fmt.Sprintf("%s:%d", at.Addr, at.Port))
		}
	}
	return strings.ToLower(strings.Join(parts, "\n"))
}

// serviceView shows a virtual service.
func serviceView(s *world.Reader, vs *world.Object) ServiceView {
	st := s.VirtualServiceState(vs)
	out := ServiceView{UUID: vs.UUID, Name: vs.Name, Tenant: s.Tenant(vs.Tenant), State: st.Name, Reason: st.Reason,
		Since: time.UnixMicro(st.Since), Modified: time.UnixMicro(vs.Modified),
		Ports: []string{}, VIPs: []VIPView{}, Rules: []RuleView{}, Pools: []PoolView{}}
	if c := s.Store.Get(vs.Cloud); c != nil {
		out.Cloud = c.Name
	}
	for _, l := range world.Listeners(s.Store, vs.Body) {
		text := strconv.Itoa(l.First)
		if l.Last > l.First {
			text += "–" + strconv.Itoa(l.Last)
		}
		if text += " " + l.Protocol; !slices.Contains(out.Ports, text) {
			out.Ports = append(out.Ports, text)
		}
	}
	vip := vs
	if o := s.Store.Get(doc.RefAt(vs.Body, "vsvip_ref")); o != nil {
		vip = o
	}
	var hosts []string
	for _, d := range doc.Messages(vip.Body["dns_info"]) {
		hosts = append(hosts, doc.Str(d, "fqdn"))
	}
	for _, v := range doc.Messages(vip.Body["vip"]) {
		x := VIPView{ID: doc.Str(v, "vip_id"), Addresses: []string{}, Hosts: hosts}
		for _, f := range []string{"ip_address", "ip6_address"} {
			if a := doc.Str(v, f, "addr"); a != "" {
				x.Addresses = append(x.Addresses, a)
			}
		}
		for _, f := range []string{"floating_ip", "floating_ip6"} {
			if a := doc.Str(v, f, "addr"); a != "" {
				x.Floating = append(x.Floating, a)
			}
		}
		out.VIPs = append(out.VIPs, x)
	}
	out.Rules = ruleViews(s, vs)
	for _, p := range world.Pools(s.Store, vs.Body) {
		out.Pools = append(out.Pools, poolView(s, p))
	}
	out.Owner, out.Objects = ownerText(vs.Body), objectViews(s, vs)
	return out
}

// objectViews names a virtual service and what it reaches that is its own.
func objectViews(s *world.Reader, vs *world.Object) (out []ObjectView) {
	add := func(o *world.Object) {
		if o != nil {
			out = append(out, ObjectView{Type: o.Type, Tenant: s.Tenant(o.Tenant), Name: o.Name})
		}
	}
	for _, p := range world.Pools(s.Store, vs.Body) {
		add(p)
	}
	add(s.Store.Get(doc.RefAt(vs.Body, "vsvip_ref")))
	for _, l := range doc.Messages(vs.Body["l4_policies"]) {
		add(s.Store.Get(doc.RefAt(l, "l4_policy_set_ref")))
	}
	add(s.Store.Get(doc.RefAt(vs.Body, "network_security_policy_ref")))
	add(vs)
	return out
}

// ownerText says for which Kubernetes object a client made something, as the markers of AKO's convention name it.
func ownerText(body map[string]any) string {
	marks := make(map[string]string)
	for _, m := range doc.Messages(body["markers"]) {
		if values, _ := m["values"].([]any); len(values) > 0 {
			marks[doc.Str(m, "key")] = fmt.Sprint(values[0])
		}
	}
	for _, k := range []struct{ mark, kind string }{{"GatewayName", "Gateway"}, {"ServiceName", "Service"}} {
		if name := marks[k.mark]; name != "" {
			namespace := cmp.Or(marks["GatewayNamespace"], marks["Namespace"])
			return k.kind + " " + namespace + "/" + name
		}
	}
	return ""
}

func portText(v any) string {
	if f, ok := v.(float64); ok {
		return doc.FormatNumber(f)
	}
	return ""
}

// protocolName is the short form of PROTOCOL_SCTP, PROTOCOL_TYPE_SCTP_PROXY and the like.
func protocolName(s string) string {
	s = strings.TrimPrefix(strings.TrimPrefix(s, "PROTOCOL_"), "TYPE_")
	s, _, _ = strings.Cut(s, "_")
	return s
}

func ruleViews(s *world.Reader, vs *world.Object) []RuleView {
	out := []RuleView{}
	for _, lp := range doc.Messages(vs.Body["l4_policies"]) {
		set := s.Store.Get(doc.RefAt(lp, "l4_policy_set_ref"))
		if set == nil {
			continue
		}
		for _, r := range doc.Messages(doc.At(set.Body, "l4_connection_policy", "rules")) {
			v := RuleView{Name: doc.Str(r, "name"), Match: matchText(r)}
			action, _ := doc.At(r, "action", "select_pool").(map[string]any)
			switch {
			case action == nil:
				v.Action, v.Targets = "none", []TargetView{}
			default:
				v.Group, v.Targets = targetViews(s, action)
			}
			out = append(out, v)
		}
	}
	if group, targets := targetViews(s, vs.Body); len(targets) > 0 {
		out = append(out, RuleView{Name: "default", Match: "all else", Group: group, Targets: targets})
	}
	return out
}

// targetViews are the pools that pool_ref or pool_group_ref of a message lead to, and the group's name.
func targetViews(s *world.Reader, m map[string]any) (group string, out []TargetView) {
	out = []TargetView{}
	add := func(r doc.Ref, ratio int) {
		if p := s.Store.Get(r); p != nil {
			st, _, _, _ := s.PoolState(p)
			out = append(out, TargetView{p.Name, st.Name, ratio})
		}
	}
	add(doc.RefAt(m, "pool_ref"), 0)
	if g := s.Store.Get(doc.RefAt(m, "pool_group_ref")); g != nil {
		group = g.Name
		for _, x := range doc.Messages(g.Body["members"]) {
			ratio := 1
			if f, ok := x["ratio"].(float64); ok {
				ratio = int(f)
			}
			add(doc.RefAt(x, "pool_ref"), ratio)
		}
	}
	return group, out
}

// matchText is a rule's port and protocol match in few words.
func matchText(rule map[string]any) string {
	m, _ := rule["match"].(map[string]any)
	var ports []string
	list, _ := doc.At(m, "port", "ports").([]any)
	for _, p := range list {
		ports = append(ports, portText(p))
	}
	for _, r := range doc.Messages(doc.At(m, "port", "port_ranges")) {
		ports = append(ports, portText(r["start"])+"–"+portText(r["end"]))
	}
	text := strings.Join(ports, ", ")
	if text == "" {
		text = "any port"
	} else if doc.Str(m, "port", "match_criteria") == "IS_NOT_IN" {
		text = "not " + text
	}
	if p := protocolName(doc.Str(m, "protocol", "protocol")); p != "" {
		text += " " + p
	}
	return text
}

func poolView(s *world.Reader, p *world.Object) PoolView {
	st, enabled, up, total := s.PoolState(p)
	out := PoolView{UUID: p.UUID, Name: p.Name, State: st.Name, Reason: st.Reason, Up: up, Enabled: enabled, Total: total,
		Servers: []ServerView{}}
	for _, x := range s.Servers(p) {
		ip := doc.Str(x.Body, "ip", "addr")
		if x.At.Addr.IsValid() {
			ip = x.At.Addr.String()
		}
		out.Servers = append(out.Servers, ServerView{ip, x.At.Port, x.Name, x.Reason})
	}
	return out
}
