// SPDX-License-Identifier: Apache-2.0

package view

import (
	"slices"
	"strconv"
	"strings"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/doc"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/world"
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
	v.world.Read(func(s *world.Reader) { out = forwarding(s) })
	return out
}

func forwarding(s *world.Reader) Forwarding {
	out := Forwarding{Generation: s.Revision(), VirtualServices: []ForwardingRule{}}
	for _, vs := range s.Store.All("virtualservice") {
		rule := ForwardingRule{Name: vs.Name, State: "OPER_" + s.VirtualServiceState(vs).Name, Addresses: []string{},
			Listeners: []ForwardingService{}}
		if t := s.Store.Get(doc.Ref{Type: "tenant", UUID: vs.Tenant}); t != nil {
			rule.Tenant = t.Name
		}
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
			rule.Listeners = append(rule.Listeners, ForwardingService{l.Protocol, l.First, l.Last, targets(s, vs, l)})
		}
		out.VirtualServices = append(out.VirtualServices, rule)
	}
	return out
}

// targets lists where the traffic of a listener goes: the rules of the policies in the order of their indexes, then the
// virtual service's own pool or pool group. Evidence: the order, and the fall back, are documented.
func targets(s *world.Reader, vs *world.Object, l world.Listener) []ForwardingTarget {
	byIndex := func(a, b map[string]any) int { return doc.Int(a, "index") - doc.Int(b, "index") }
	out := []ForwardingTarget{}
	policies := doc.Messages(vs.Body["l4_policies"])
	slices.SortStableFunc(policies, byIndex)
	for _, p := range policies {
		set := s.Store.Get(doc.RefAt(p, "l4_policy_set_ref"))
		if set == nil {
			continue
		}
		rules := doc.Messages(doc.At(set.Body, "l4_connection_policy", "rules"))
		slices.SortStableFunc(rules, byIndex)
		for _, r := range rules {
			protocol, is := strings.CutPrefix(doc.Str(r, "match", "protocol", "protocol"), "PROTOCOL_")
			if is && (protocol == l.Protocol) == (doc.Str(r, "match", "protocol", "match_criteria") == "IS_NOT_IN") {
				continue
			}
			ports, some := portsOf(r, l)
			if action, _ := doc.At(r, "action", "select_pool").(map[string]any); some && action != nil {
				out = append(out, target(s, ports, doc.RefAt(action, "pool_ref"), doc.RefAt(action, "pool_group_ref")))
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

// target reads a pool, or the pools of a group with the highest priority that have servers; a member's ratio multiplies the
// weight of its servers. Evidence: documented.
func target(s *world.Reader, ports []int, pool, group doc.Ref) ForwardingTarget {
	out := ForwardingTarget{Ports: ports, Pools: []string{}, Servers: []ForwardingServer{}}
	add := func(p *world.Object, ratio int) {
		out.Pools = append(out.Pools, p.Name)
		st, _, _, _ := s.PoolState(p)
		if st.Name != "UP" {
			return
		}
		for _, x := range s.Servers(p) {
			if x.Name == "UP" {
				out.Servers = append(out.Servers, ForwardingServer{x.At.Addr.String(), x.At.Port, ratio * max(1, doc.Int(x.Body, "ratio"))})
			}
		}
	}
	if p := s.Store.Get(pool); p != nil {
		add(p, 1)
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
	for i, m := range members {
		if i > 0 && len(out.Servers) > 0 && doc.Str(m, "priority_label") != doc.Str(members[i-1], "priority_label") {
			break
		}
		if p := s.Store.Get(doc.RefAt(m, "pool_ref")); p != nil {
			add(p, max(1, doc.Int(m, "ratio")))
		}
	}
	return out
}
