// SPDX-License-Identifier: Apache-2.0

// Package tree reads what an Avi Controller holds for one VirtualService, as any client of its REST API can: find the
// VirtualService by name, then follow its references.
package tree

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/vmware/alb-sdk/go/models"

	"github.com/avi-l4-operator/avi-l4-operator/internal/avi"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
)

// Tree is a VirtualService and everything below it. References carry the name behind '#'.
type Tree struct {
	VirtualService *models.VirtualService
	// State is the VirtualService's operational state, such as OPER_UP.
	State       string
	VsVip       *models.VsVip
	L4PolicySet *models.L4PolicySet
	// Security is nil if every client is let in.
	Security *models.NetworkSecurityPolicy
	// Rules are those of the L4PolicySet, in its order.
	Rules []Rule
}

// Rule sends the traffic of a port and a protocol to a pool, or to those of a pool group.
type Rule struct {
	*models.L4Rule
	// Pool is nil if there is a Group.
	Pool  *Pool
	Group *Group
}

// Group is a pool group with its members, in its order.
type Group struct {
	*models.PoolGroup
	Members []Member
}

// Member is a pool of a group, and its part in it.
type Member struct {
	Ratio uint32
	Pool  *Pool
}

// Pool is a pool with its servers.
type Pool struct {
	*models.Pool
	Servers []Server
}

// Server is a pool's server.
type Server struct {
	Address string // ip:port
	Node    string
	Enabled bool
	State   string // such as OPER_UP
}

// Reader reads trees of one tenant.
type Reader struct {
	Client *avi.Client
	Tenant string
}

// named has references carry the name of what they refer to.
var named = url.Values{"include_name": {"true"}}

// Read reads a VirtualService by its name, with everything below it. If there is none, avi.ReasonOf the error is
// avi.ReasonNotFound.
func (r Reader) Read(ctx context.Context, name string) (*Tree, error) {
	raw, err := r.Client.GetByName(ctx, model.VirtualService, r.Tenant, name, named)
	if err != nil {
		return nil, err
	}
	t := &Tree{VirtualService: new(models.VirtualService), VsVip: new(models.VsVip), L4PolicySet: new(models.L4PolicySet)}
	if err := json.Unmarshal(raw, t.VirtualService); err != nil {
		return nil, fmt.Errorf("reading VirtualService %s: %w", name, err)
	}
	if err := r.follow(ctx, Text(t.VirtualService.VsvipRef), t.VsVip); err != nil {
		return nil, err
	}
	var runtime operational
	if err := r.get(ctx, "/api/virtualservice/"+Text(t.VirtualService.UUID)+"/runtime", &runtime); err != nil {
		return nil, err
	}
	t.State = runtime.Status.State
	if ref := t.VirtualService.NetworkSecurityPolicyRef; ref != nil {
		t.Security = new(models.NetworkSecurityPolicy)
		if err := r.follow(ctx, *ref, t.Security); err != nil {
			return nil, err
		}
	}
	for _, p := range t.VirtualService.L4Policies {
		if err := r.follow(ctx, Text(p.L4PolicySetRef), t.L4PolicySet); err != nil {
			return nil, err
		}
	}
	if t.L4PolicySet.L4ConnectionPolicy == nil {
		return t, nil
	}
	for _, rule := range t.L4PolicySet.L4ConnectionPolicy.Rules {
		behind, err := r.rule(ctx, rule)
		if err != nil {
			return nil, err
		}
		t.Rules = append(t.Rules, behind)
	}
	return t, nil
}

// rule reads what is behind a rule: one pool, or a group of them.
func (r Reader) rule(ctx context.Context, l4 *models.L4Rule) (Rule, error) {
	out := Rule{L4Rule: l4}
	if l4.Action == nil || l4.Action.SelectPool == nil {
		return out, fmt.Errorf("rule %s selects no pool", Text(l4.Name))
	}
	if l4.Action.SelectPool.PoolGroupRef == nil {
		pool, err := r.pool(ctx, l4.Action.SelectPool.PoolRef)
		out.Pool = pool
		return out, err
	}
	group := &Group{PoolGroup: new(models.PoolGroup)}
	if err := r.follow(ctx, Text(l4.Action.SelectPool.PoolGroupRef), group.PoolGroup); err != nil {
		return out, err
	}
	for _, m := range group.PoolGroup.Members {
		pool, err := r.pool(ctx, m.PoolRef)
		if err != nil {
			return out, err
		}
		member := Member{Pool: pool, Ratio: 1} // the Controller's default
		if m.Ratio != nil {
			member.Ratio = *m.Ratio
		}
		group.Members = append(group.Members, member)
	}
	out.Group = group
	return out, nil
}

// operational is the part of a runtime answer that has the state.
type operational struct {
	Status struct {
		State string `json:"state"`
	} `json:"oper_status"`
	Address struct {
		Addr string `json:"addr"`
	} `json:"ip_addr"`
	Port int `json:"port"`
}

func (r Reader) pool(ctx context.Context, ref *string) (*Pool, error) {
	p := &Pool{Pool: new(models.Pool)}
	if err := r.follow(ctx, Text(ref), p.Pool); err != nil {
		return nil, err
	}
	var states []operational
	if err := r.get(ctx, "/api/pool/"+Text(p.UUID)+"/runtime/server", &states); err != nil {
		return nil, err
	}
	state := map[string]string{}
	for _, s := range states {
		state[fmt.Sprintf("%s:%d", s.Address.Addr, s.Port)] = s.Status.State
	}
	for _, s := range p.Pool.Servers {
		port := int32(0)
		if s.Port != nil {
			port = *s.Port
		}
		server := Server{Address: fmt.Sprintf("%s:%d", Text(s.IP.Addr), port), Node: Text(s.ServerNode), Enabled: s.Enabled == nil || *s.Enabled}
		server.State = state[server.Address]
		p.Servers = append(p.Servers, server)
	}
	return p, nil
}

// follow reads what a reference refers to.
func (r Reader) follow(ctx context.Context, ref string, into any) error {
	parsed := model.ParseRef(ref)
	if parsed.UUID == "" {
		return fmt.Errorf("reference %q has no uuid", ref)
	}
	return r.get(ctx, "/api/"+string(parsed.Kind)+"/"+parsed.UUID, into)
}

func (r Reader) get(ctx context.Context, path string, into any) error {
	raw, err := r.Client.Get(ctx, r.Tenant, path, named)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	return nil
}

// Names lists the objects of the operator's kinds whose names begin so, as "pool a--b-c-SCTP-80", sorted. It reads
// everything of these kinds, so that what is not in the list is not on the Controller.
func (r Reader) Names(ctx context.Context, prefix string) ([]string, error) {
	var out []string
	for _, kind := range model.Written {
		err := r.Client.List(ctx, string(kind), r.Tenant, nil, func(raw json.RawMessage) error {
			var o struct{ Name string }
			if err := json.Unmarshal(raw, &o); err != nil {
				return fmt.Errorf("reading a %s: %w", kind, err)
			}
			if strings.HasPrefix(o.Name, prefix) {
				out = append(out, string(kind)+" "+o.Name)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(out)
	return out, nil
}

// Rule returns the rule that takes a port and protocol, as in "SCTP 80"; nil if there is none.
func (t *Tree) Rule(port string) *Rule {
	for i := range t.Rules {
		if t.Rules[i].Port() == port {
			return &t.Rules[i]
		}
	}
	return nil
}

// Pool returns the pool that takes a port and protocol; nil if no rule has it, or has a group.
func (t *Tree) Pool(port string) *Pool {
	if r := t.Rule(port); r != nil {
		return r.Pool
	}
	return nil
}

// Ratios are those of a group by the name of the pool, as in "a--b-SCTP-80 9, a--c-SCTP-80 1".
func (g *Group) Ratios() string {
	var out []string
	for _, m := range g.Members {
		out = append(out, fmt.Sprintf("%s %d", Text(m.Pool.Name), m.Ratio))
	}
	return strings.Join(out, ", ")
}

// Port is what a rule matches, as in "SCTP 80".
func (r Rule) Port() string {
	if r.Match == nil || r.Match.Port == nil || r.Match.Protocol == nil {
		return "anything"
	}
	return strings.TrimPrefix(Text(r.Match.Protocol.Protocol), "PROTOCOL_") + " " + strings.Trim(fmt.Sprint(r.Match.Port.Ports), "[]")
}

// Monitors are the names of the pool's health monitors.
func (p *Pool) Monitors() []string {
	var out []string
	for _, ref := range p.HealthMonitorRefs {
		out = append(out, NameOf(&ref))
	}
	return out
}

// Enabled lists the addresses of the servers that take new traffic, sorted; Disabled those that don't.
func (p *Pool) Enabled() []string { return p.addresses(true) }

// Disabled lists the addresses of the servers that take no new traffic, sorted.
func (p *Pool) Disabled() []string { return p.addresses(false) }

func (p *Pool) addresses(enabled bool) []string {
	var out []string
	for _, s := range p.Servers {
		if s.Enabled == enabled {
			out = append(out, s.Address)
		}
	}
	slices.Sort(out)
	return out
}

// Clients says whom the VirtualService lets in, as in "deny clients that are not in 10.0.0.0/8, fd00::/64"; "" if everybody.
func (t *Tree) Clients() string {
	if t.Security == nil {
		return ""
	}
	var out []string
	for _, rule := range t.Security.Rules {
		action := strings.ToLower(strings.TrimPrefix(Text(rule.Action), "NETWORK_SECURITY_POLICY_ACTION_TYPE_"))
		if rule.Match == nil || rule.Match.ClientIP == nil {
			out = append(out, action+" others")
			continue
		}
		var prefixes []string
		for _, p := range rule.Match.ClientIP.Prefixes {
			prefixes = append(prefixes, fmt.Sprintf("%s/%d", Text(p.IPAddr.Addr), *p.Mask))
		}
		in := map[string]string{"IS_IN": "in", "IS_NOT_IN": "not in"}[Text(rule.Match.ClientIP.MatchCriteria)]
		out = append(out, action+" clients that are "+in+" "+strings.Join(prefixes, ", "))
	}
	return strings.Join(out, "; ")
}

// Text is what a pointer of a body points to, "" for nil.
func Text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// NameOf is the name that a reference carries.
func NameOf(ref *string) string { return model.ParseRef(Text(ref)).Name }
