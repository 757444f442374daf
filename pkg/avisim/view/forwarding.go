// SPDX-License-Identifier: Apache-2.0

package view

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/doc"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/world"
)

// Forwarding is what a service engine has to do: the view for a proxy, such as package forward. Ports, rules and pools are read as
// the Controller's documents describe them; that the matches of one rule are and-ed is the assumption that the project makes
// (inferred).
type Forwarding struct {
	Generation      int64            `json:"generation"` // another one: something may have changed
	VirtualServices []ForwardingRule `json:"virtualServices"`
}

// ForwardingRule is one virtual service.
type ForwardingRule struct {
	Tenant    string              `json:"tenant"`
	Name      string              `json:"name"`
	State     string              `json:"state"`            // OPER_…
	Served    bool                `json:"served"`           // it is enabled, and on a service engine that works
	Silent    bool                `json:"silent,omitempty"` // remove_listening_port_on_vs_down: while it is down, nobody listens
	Addresses []string            `json:"addresses"`
	Admission []ForwardingAdmit   `json:"admission,omitempty"` // the first that matches decides; without one, a client is let in
	Listeners []ForwardingService `json:"listeners"`
}

// ForwardingAdmit is a rule of the network security policy: it lets clients in or keeps them out.
type ForwardingAdmit struct {
	Allow   bool               `json:"allow"`
	Clients *ForwardingClients `json:"clients,omitempty"` // nil: all
	Except  bool               `json:"exceptPorts,omitempty"`
	Ports   []int              `json:"ports,omitempty"` // of the virtual service; empty: all
}

// ForwardingClients matches the clients within, or outside of, some ranges of addresses.
type ForwardingClients struct {
	Except bool              `json:"except,omitempty"`
	Ranges []ForwardingRange `json:"ranges"`
}

// ForwardingRange is a range of addresses, both ends included.
type ForwardingRange struct {
	First netip.Addr `json:"first"`
	Last  netip.Addr `json:"last"`
}

// Match reports whether a client is meant.
func (c *ForwardingClients) Match(client netip.Addr) bool {
	client = client.Unmap()
	in := slices.ContainsFunc(c.Ranges, func(r ForwardingRange) bool {
		return r.First.BitLen() == client.BitLen() && r.First.Compare(client) <= 0 && client.Compare(r.Last) <= 0
	})
	return in != c.Except
}

// ForwardingService is a range of ports of one protocol. Of its targets, the first that has the port and the client is the one.
type ForwardingService struct {
	Protocol string             `json:"protocol"` // TCP, UDP or SCTP
	First    int                `json:"firstPort"`
	Last     int                `json:"lastPort"`
	Idle     Duration           `json:"idle,omitempty"` // connections without traffic end after this; 0: never
	Targets  []ForwardingTarget `json:"targets"`
}

// ForwardingTarget is where the traffic of some ports and clients goes: to the pools of the first tier that has one which is up,
// in proportion to their ratios.
type ForwardingTarget struct {
	Ports   []int              `json:"ports,omitempty"`   // of the listener's; empty: all
	Clients *ForwardingClients `json:"clients,omitempty"` // nil: all
	Pools   []ForwardingPool   `json:"pools"`
}

// ForwardingPool is a pool, whatever its state.
type ForwardingPool struct {
	Name        string             `json:"name"`
	Up          bool               `json:"up"`
	Tier        int                `json:"tier"`  // 0 is the best; above 0 only in pool groups with priorities
	Ratio       int                `json:"ratio"` // 0: no new connections
	Algorithm   string             `json:"algorithm"`
	Persistence Duration           `json:"persistence,omitempty"` // a client goes to the server of before for so long; 0: no persistence
	Drain       Duration           `json:"drain"`                 // connections to a disabled server end after this; negative: never
	Servers     []ForwardingServer `json:"servers"`
}

// ForwardingServer is a server of a pool.
type ForwardingServer struct {
	IP     string `json:"ip"`
	Port   int    `json:"port"`
	Weight int    `json:"weight"`
	State  string `json:"state"` // UP: takes connections; DISABLED: keeps those that it has; DOWN, INITIALIZING
}

// Duration is a time.Duration that JSON has as "1m0s".
type Duration time.Duration

// MarshalText writes the duration.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// Forwarding returns the view of now.
func (v *Board) Forwarding() (out Forwarding) {
	v.world.Read(func(s *world.Reader) { out = NewForwarding(s) })
	return out
}

// NewForwarding returns the view of a world.
func NewForwarding(s *world.Reader) Forwarding {
	out := Forwarding{Generation: s.Revision(), VirtualServices: []ForwardingRule{}}
	for _, vs := range s.Store.All("virtualservice") {
		state := s.VirtualServiceState(vs)
		rule := ForwardingRule{Tenant: s.Tenant(vs.Tenant), Name: vs.Name, State: "OPER_" + state.Name, Served: served(s, vs, state),
			Silent:    doc.Bool(vs.Body, "remove_listening_port_on_vs_down", false) && state.Name != "UP",
			Addresses: []string{}, Admission: admission(s, vs), Listeners: []ForwardingService{}}
		if vip := s.Store.Get(doc.RefAt(vs.Body, "vsvip_ref")); vip != nil {
			for _, v := range doc.Messages(vip.Body["vip"]) {
				for _, f := range world.Families {
					if a := doc.Str(v, f.Field, "addr"); a != "" {
						rule.Addresses = append(rule.Addresses, a)
					}
				}
			}
		}
		for _, l := range world.Listeners(s.Store, vs.Body) {
			rule.Listeners = append(rule.Listeners,
				ForwardingService{l.Protocol, l.First, l.Last, Duration(l.Idle), targets(s, vs, l)})
		}
		out.VirtualServices = append(out.VirtualServices, rule)
	}
	return out
}

// served reports whether a service engine carries the traffic of a virtual service, be it to refuse it.
func served(s *world.Reader, vs *world.Object, state world.State) bool {
	if slices.Contains([]string{"DISABLED", "CREATING", "RESOURCES", "INITIALIZING"}, state.Name) {
		return false
	}
	placed := s.Placed(vs)
	if placed == nil {
		return true
	}
	up, _ := s.EnginesUp(placed)
	return up > 0
}

// admission reads the rules of the network security policy by client and port. Those that match by anything else, and those that only
// limit the rate, are left out. Evidence: the order of indexes, and that the first match decides, are documented.
func admission(s *world.Reader, vs *world.Object) []ForwardingAdmit {
	policy := s.Store.Get(doc.RefAt(vs.Body, "network_security_policy_ref"))
	if policy == nil {
		return nil
	}
	actions := map[string]bool{"NETWORK_SECURITY_POLICY_ACTION_TYPE_ALLOW": true, "NETWORK_SECURITY_POLICY_ACTION_TYPE_DENY": false}
	var out []ForwardingAdmit
	for _, r := range byIndex(doc.Messages(policy.Body["rules"])) {
		match, _ := r["match"].(map[string]any)
		allow, known := actions[doc.Str(r, "action")]
		if !known || !doc.Bool(r, "enable", true) || otherwise(match, "client_ip", "vs_port") {
			continue
		}
		admit := ForwardingAdmit{Allow: allow, Clients: clients(s, match)}
		if ports, _ := match["vs_port"].(map[string]any); ports != nil {
			admit.Except = doc.Str(ports, "match_criteria") == "IS_NOT_IN"
			list, _ := ports["ports"].([]any)
			for _, p := range list {
				n, _ := p.(float64)
				admit.Ports = append(admit.Ports, int(n))
			}
		}
		out = append(out, admit)
	}
	return out
}

// otherwise reports whether a match has other parts than those that are named.
func otherwise(match map[string]any, known ...string) bool {
	for key := range match {
		if !slices.Contains(known, key) {
			return true
		}
	}
	return false
}

// clients reads the client_ip of a match; nil means all.
func clients(s *world.Reader, match map[string]any) *ForwardingClients {
	m, _ := match["client_ip"].(map[string]any)
	if m == nil {
		return nil
	}
	out := &ForwardingClients{Except: doc.Str(m, "match_criteria") == "IS_NOT_IN", Ranges: ranges(m)}
	groups, _ := m["group_refs"].([]any)
	for _, g := range groups {
		g, _ := g.(doc.Ref)
		if o := s.Store.Get(g); o != nil {
			out.Ranges = append(out.Ranges, ranges(o.Body)...)
		}
	}
	return out
}

// ranges reads addrs, prefixes and ranges.
func ranges(m map[string]any) (out []ForwardingRange) {
	add := func(first, last netip.Addr) {
		if first.IsValid() && last.IsValid() {
			out = append(out, ForwardingRange{first, last})
		}
	}
	address := func(m map[string]any, keys ...string) netip.Addr {
		a, _ := netip.ParseAddr(doc.Str(m, append(keys, "addr")...))
		return a
	}
	for _, a := range doc.Messages(m["addrs"]) {
		add(address(a), address(a))
	}
	for _, r := range doc.Messages(m["ranges"]) {
		add(address(r, "begin"), address(r, "end"))
	}
	for _, p := range doc.Messages(m["prefixes"]) {
		if prefix, err := address(p, "ip_addr").Prefix(doc.Int(p, "mask")); err == nil {
			add(prefix.Addr(), lastOf(prefix))
		}
	}
	return out
}

// lastOf is the last address of a masked prefix.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// byIndex orders messages by their index.
func byIndex(list []map[string]any) []map[string]any {
	slices.SortStableFunc(list, func(a, b map[string]any) int { return doc.Int(a, "index") - doc.Int(b, "index") })
	return list
}

// targets lists where the traffic of a listener goes: the rules of the policies in the order of their indexes, then the
// virtual service's own pool or pool group. Evidence: the order, and the fall back, are documented.
func targets(s *world.Reader, vs *world.Object, l world.Listener) []ForwardingTarget {
	out := []ForwardingTarget{}
	for _, p := range byIndex(doc.Messages(vs.Body["l4_policies"])) {
		set := s.Store.Get(doc.RefAt(p, "l4_policy_set_ref"))
		if set == nil {
			continue
		}
		for _, r := range byIndex(doc.Messages(doc.At(set.Body, "l4_connection_policy", "rules"))) {
			protocol, is := strings.CutPrefix(doc.Str(r, "match", "protocol", "protocol"), "PROTOCOL_")
			if is && (protocol == l.Protocol) == (doc.Str(r, "match", "protocol", "match_criteria") == "IS_NOT_IN") {
				continue
			}
			ports, some := portsOf(r, l)
			if action, _ := doc.At(r, "action", "select_pool").(map[string]any); some && action != nil {
				t := target(s, ports, doc.RefAt(action, "pool_ref"), doc.RefAt(action, "pool_group_ref"))
				match, _ := r["match"].(map[string]any)
				t.Clients = clients(s, match)
				out = append(out, t)
			}
		}
	}
	if pool, group := doc.RefAt(vs.Body, "pool_ref"), doc.RefAt(vs.Body, "pool_group_ref"); pool != (doc.Ref{}) || group != (doc.Ref{}) {
		out = append(out, target(s, nil, pool, group))
	}
	return out
}

// portsOf lists the ports of a listener that a rule matches; none means all, and false that it matches none.
func portsOf(rule map[string]any, l world.Listener) ([]int, bool) {
	match, _ := doc.At(rule, "match", "port").(map[string]any)
	if match == nil {
		return nil, true
	}
	var given []any
	if list, ok := match["ports"].([]any); ok {
		given = list
	}
	in := func(port int) bool {
		for _, p := range given {
			if p == float64(port) {
				return true
			}
		}
		return slices.ContainsFunc(doc.Messages(match["port_ranges"]), func(r map[string]any) bool {
			return doc.Int(r, "start") <= port && port <= doc.Int(r, "end")
		})
	}
	var out []int
	for port := l.First; port <= l.Last; port++ {
		if in(port) != (doc.Str(match, "match_criteria") == "IS_NOT_IN") {
			out = append(out, port)
		}
	}
	if len(out) == l.Last-l.First+1 {
		return nil, true
	}
	return out, len(out) > 0
}

// target reads a pool, or the pools of a group by their priorities. Evidence: documented, as is that a ratio of 0 takes no new
// connections.
func target(s *world.Reader, ports []int, pool, group doc.Ref) ForwardingTarget {
	out := ForwardingTarget{Ports: ports, Pools: []ForwardingPool{}}
	if p := s.Store.Get(pool); p != nil {
		out.Pools = append(out.Pools, forwardingPool(s, p, 0, 1))
	}
	g := s.Store.Get(group)
	if g == nil {
		return out
	}
	members := doc.Messages(g.Body["members"])
	slices.SortStableFunc(members, func(a, b map[string]any) int {
		x, err1 := strconv.Atoi(doc.Str(a, "priority_label"))
		y, err2 := strconv.Atoi(doc.Str(b, "priority_label"))
		if err1 == nil && err2 == nil {
			return y - x
		}
		return strings.Compare(doc.Str(b, "priority_label"), doc.Str(a, "priority_label"))
	})
	tier := 0
	for i, m := range members {
		if i > 0 && doc.Str(m, "priority_label") != doc.Str(members[i-1], "priority_label") {
			tier++
		}
		ratio := 1
		if doc.At(m, "ratio") != nil {
			ratio = doc.Int(m, "ratio")
		}
		if p := s.Store.Get(doc.RefAt(m, "pool_ref")); p != nil {
			out.Pools = append(out.Pools, forwardingPool(s, p, tier, ratio))
		}
	}
	return out
}

func forwardingPool(s *world.Reader, p *world.Object, tier, ratio int) ForwardingPool {
	st, _, _, _ := s.PoolState(p)
	// A server is drained for graceful_disable_timeout minutes, or the seconds that newer releases have instead.
	drain := time.Duration(doc.Int(p.Body, "graceful_disable_timeout")) * time.Minute
	if doc.At(p.Body, "graceful_disable_timeout_sec") != nil {
		drain = time.Duration(doc.Int(p.Body, "graceful_disable_timeout_sec")) * time.Second
	}
	out := ForwardingPool{Name: p.Name, Up: st.Name == "UP", Tier: tier, Ratio: ratio, Algorithm: doc.Str(p.Body, "lb_algorithm"),
		Drain: Duration(drain), Servers: []ForwardingServer{}}
	profile := s.Store.Get(doc.RefAt(p.Body, "application_persistence_profile_ref"))
	if profile != nil && doc.Str(profile.Body, "persistence_type") == "PERSISTENCE_TYPE_CLIENT_IP_ADDRESS" {
		minutes := cmp.Or(doc.Int(profile.Body, "ip_persistence_profile", "ip_persistent_timeout"), 5)
		out.Persistence = Duration(time.Duration(minutes) * time.Minute)
	}
	enabled := doc.Bool(p.Body, "enabled", true)
	for _, x := range s.Servers(p) {
		server := ForwardingServer{IP: x.At.Addr.String(), Port: x.At.Port, Weight: max(1, doc.Int(x.Body, "ratio")), State: x.Name}
		if !enabled {
			server.State = "DISABLED"
		}
		out.Servers = append(out.Servers, server)
	}
	return out
}
