// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"fmt"
	"strings"
)

// String draws the tree with lines, for people.
func (t *Tree) String() string {
	vs := t.VirtualService
	root := node{text: fmt.Sprintf("VirtualService %s  %s", Text(vs.Name), t.State)}
	root.add("network profile %s, application profile %s, created by %s", NameOf(vs.NetworkProfileRef), NameOf(vs.ApplicationProfileRef), Text(vs.CreatedBy))
	for _, s := range vs.Services {
		if s.OverrideNetworkProfileRef != nil {
			root.add("port %d overrides it with %s", *s.Port, NameOf(s.OverrideNetworkProfileRef))
		}
	}
	vip := root.add("VsVip %s", Text(t.VsVip.Name))
	for _, v := range t.VsVip.Vip {
		if v.IPAddress != nil {
			vip.add("address %s", Text(v.IPAddress.Addr))
		}
		if v.Ip6Address != nil {
			vip.add("address %s", Text(v.Ip6Address.Addr))
		}
	}
	for _, d := range t.VsVip.DNSInfo {
		vip.add("name %s", Text(d.Fqdn))
	}
	if t.Security != nil {
		root.add("NetworkSecurityPolicy %s", Text(t.Security.Name)).add("%s", t.Clients())
	}
	policy := root.add("L4PolicySet %s", Text(t.L4PolicySet.Name))
	for _, r := range t.Rules {
		rule := policy.add("rule for %s", r.Port())
		if r.Pool != nil {
			rule.pool(r.Pool)
			continue
		}
		total := uint32(0)
		for _, m := range r.Group.Members {
			total += m.Ratio
		}
		group := rule.add("PoolGroup %s", Text(r.Group.Name))
		for _, m := range r.Group.Members {
			group.add("%d of %d to", m.Ratio, total).pool(m.Pool)
		}
	}
	var b strings.Builder
	b.WriteString(root.text + "\n")
	root.draw(&b, "")
	return b.String()
}

type node struct {
	text  string
	below []*node
}

func (n *node) add(format string, args ...any) *node {
	child := &node{text: strings.TrimRight(fmt.Sprintf(format, args...), " ")}
	n.below = append(n.below, child)
	return child
}

func (n *node) pool(p *Pool) {
	pool := n.add("Pool %s  %s", Text(p.Name), strings.Join(p.Monitors(), ", "))
	for _, s := range p.Servers {
		use := "enabled"
		if !s.Enabled {
			use = "disabled"
		}
		pool.add("%-18s %-8s %-8s  %s", s.Address, s.Node, use, s.State)
	}
	if len(p.Servers) == 0 {
		pool.add("no servers")
	}
}

func (n *node) draw(b *strings.Builder, indent string) {
	for i, child := range n.below {
		branch, line := "├─ ", "│  "
		if i == len(n.below)-1 {
			branch, line = "└─ ", "   "
		}
		b.WriteString(indent + branch + child.text + "\n")
		child.draw(b, indent+line)
	}
}
