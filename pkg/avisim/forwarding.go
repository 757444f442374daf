package avisim

import (
	"slices"
	"strconv"
	"strings"
)

// Forwarding is what a service engine would have to do: the view for a proxy that somebody attaches to the simulator, which
// forwards nothing itself. Ports, rules and pools are read as the Controller's documents describe them; that the matches of
// one rule are and-ed is the assumption that the project makes (inferred).
type Forwarding struct {
	Generation      int64            `json:"generation"` // another one: something may have changed
	VirtualServices []ForwardingRule `json:"virtualServices"`
}

// ForwardingRule is one virtual service.
type ForwardingRule struct {
	Tenant    string              `json:"tenant"`
	Name      string              `json:"name"`
	State     string              `json:"state"` // OPER_…; forward only if it is OPER_UP
	Addresses []string            `json:"addresses"`
	Listeners []ForwardingService `json:"listeners"`
}

// ForwardingService is a range of ports of one protocol. Of its targets, the first that has the port is the one.
type ForwardingService struct {
	Protocol string             `json:"protocol"` // TCP, UDP or SCTP
	First    int                `json:"firstPort"`
	Last     int                `json:"lastPort"`
	Targets  []ForwardingTarget `json:"targets"`
}

// ForwardingTarget is where the traffic of some ports goes.
type ForwardingTarget struct {
	Ports   []int              `json:"ports,omitempty"` // of the listener's; empty: all
	Pools   []string           `json:"pools"`
	Servers []ForwardingServer `json:"servers"` // that are up
}

// ForwardingServer is a server that is up.
type ForwardingServer struct {
	IP     string `json:"ip"`
	Port   int    `json:"port"`
	Weight int    `json:"weight"`
}

// Forwarding returns the view of now.
func (v *Board) Forwarding() (out Forwarding) {
	v.world.Read(func(s *Reader) { out = forwarding(s) })
	return out
}

func forwarding(s *Reader) Forwarding {
	out := Forwarding{Generation: s.Revision(), VirtualServices: []ForwardingRule{}}
	for _, vs := range s.store.all("virtualservice") {
		rule := ForwardingRule{Name: vs.name, State: "OPER_" + s.virtualServiceState(vs).name, Addresses: []string{}, Listeners: []ForwardingService{}}
		if t := s.store.get(ref{"tenant", vs.tenant}); t != nil {
			rule.Tenant = t.name
		}
		if vip := s.store.get(refAt(vs.body, "vsvip_ref")); vip != nil {
			for _, v := range messages(vip.body["vip"]) {
				for _, f := range families {
					if a := str(v, f.field, "addr"); a != "" {
						rule.Addresses = append(rule.Addresses, a)
					}
				}
			}
		}
		for _, l := range listeners(s.store, vs.body) {
			rule.Listeners = append(rule.Listeners, ForwardingService{l.protocol, l.first, l.last, targets(s, vs, l)})
		}
		out.VirtualServices = append(out.VirtualServices, rule)
	}
	return out
}

// targets lists where the traffic of a listener goes: the rules of the policies in the order of their indexes, then the
// virtual service's own pool or pool group. Evidence: the order, and the fall back, are documented.
func targets(s *Reader, vs *object, l listener) []ForwardingTarget {
	byIndex := func(a, b map[string]any) int { return integer(a, "index") - integer(b, "index") }
	out := []ForwardingTarget{}
	policies := messages(vs.body["l4_policies"])
	slices.SortStableFunc(policies, byIndex)
	for _, p := range policies {
		set := s.store.get(refAt(p, "l4_policy_set_ref"))
		if set == nil {
			continue
		}
		rules := messages(at(set.body, "l4_connection_policy", "rules"))
		slices.SortStableFunc(rules, byIndex)
		for _, r := range rules {
			protocol, is := strings.CutPrefix(str(r, "match", "protocol", "protocol"), "PROTOCOL_")
			if is && (protocol == l.protocol) == (str(r, "match", "protocol", "match_criteria") == "IS_NOT_IN") {
				continue
			}
			ports, some := portsOf(r, l)
			if action, _ := at(r, "action", "select_pool").(map[string]any); some && action != nil {
				out = append(out, target(s, ports, refAt(action, "pool_ref"), refAt(action, "pool_group_ref")))
			}
		}
	}
	if pool, group := refAt(vs.body, "pool_ref"), refAt(vs.body, "pool_group_ref"); pool != (ref{}) || group != (ref{}) {
		out = append(out, target(s, nil, pool, group))
	}
	return out
}

// portsOf lists the ports of a listener that a rule matches; none means all, and false that it matches none.
func portsOf(rule map[string]any, l listener) ([]int, bool) {
	match, _ := at(rule, "match", "port").(map[string]any)
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
		return slices.ContainsFunc(messages(match["port_ranges"]), func(r map[string]any) bool {
			return integer(r, "start") <= port && port <= integer(r, "end")
		})
	}
	var out []int
	for port := l.first; port <= l.last; port++ {
		if in(port) != (str(match, "match_criteria") == "IS_NOT_IN") {
			out = append(out, port)
		}
	}
	if len(out) == l.last-l.first+1 {
		return nil, true
	}
	return out, len(out) > 0
}

// target reads a pool, or the pools of a group with the highest priority that have servers; a member's ratio multiplies the
// weight of its servers. Evidence: documented.
func target(s *Reader, ports []int, pool, group ref) ForwardingTarget {
	out := ForwardingTarget{Ports: ports, Pools: []string{}, Servers: []ForwardingServer{}}
	add := func(p *object, ratio int) {
		out.Pools = append(out.Pools, p.name)
		st, _, _, _ := s.poolState(p)
		if st.name != "UP" {
			return
		}
		for _, x := range s.servers(p) {
			if x.name == "UP" {
				out.Servers = append(out.Servers, ForwardingServer{x.at.addr.String(), x.at.port, ratio * max(1, integer(x.body, "ratio"))})
			}
		}
	}
	if p := s.store.get(pool); p != nil {
		add(p, 1)
	}
	g := s.store.get(group)
	if g == nil {
		return out
	}
	members := messages(g.body["members"])
	slices.SortStableFunc(members, func(a, b map[string]any) int {
		x, err1 := strconv.Atoi(str(a, "priority_label"))
		y, err2 := strconv.Atoi(str(b, "priority_label"))
		if err1 == nil && err2 == nil {
			return y - x
		}
		return strings.Compare(str(b, "priority_label"), str(a, "priority_label"))
	})
	for i, m := range members {
		if i > 0 && len(out.Servers) > 0 && str(m, "priority_label") != str(members[i-1], "priority_label") {
			break
		}
		if p := s.store.get(refAt(m, "pool_ref")); p != nil {
			add(p, max(1, integer(m, "ratio")))
		}
	}
	return out
}
