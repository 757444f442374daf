// SPDX-License-Identifier: Apache-2.0

package staticroutes

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
)

// Reach says which pods Service Engines reach through the routes that stand on the Controller. It is a fact about the last
// run, immutable, and its zero value knows nothing and finds nothing wrong.
type Reach struct {
	vrf     string
	routed  map[netip.Prefix]bool
	missing map[netip.Prefix]string // known pod CIDRs without a route, and why
	lengths []int                   // of all these prefixes
	hosts   map[netip.Addr]string   // addresses of nodes need no route
	unknown map[string]string       // nodes whose pod CIDRs are not known, and why
	lost    map[string][]loser      // by node
	groups  map[string]string       // Service Engine groups that don't take the routes, and why
}

// Pod is an address that is a server, and the node that it is on; the node may be empty.
type Pod struct {
	Addr netip.Addr
	Node string
}

// ReachOf is the reach after a plan was carried out, or failed with err, in the VRF context. Groups are the Service Engine
// groups that don't take our routes.
func ReachOf(w *Wanted, p *Plan, vrf string, groups map[string]string, err error) *Reach {
	r := &Reach{vrf: vrf, routed: map[netip.Prefix]bool{}, missing: map[netip.Prefix]string{}, hosts: w.hosts, unknown: w.unknown,
		lost: map[string][]loser{}, groups: groups}
	todo := map[netip.Prefix]bool{}
	for _, s := range p.Steps {
		if s.Op != Remove {
			todo[s.Prefix] = true
		}
	}
	for _, c := range w.Claims {
		switch {
		case p.refused[c.Prefix] != "":
			r.missing[c.Prefix] = p.refused[c.Prefix]
		case todo[c.Prefix] && err != nil:
			r.missing[c.Prefix] = "the route could not be written: " + err.Error()
		default:
			r.routed[c.Prefix] = true
		}
	}
	for p := range w.prefix {
		if !r.routed[p] {
			r.missing[p] = "its Node has no address that can be a next hop"
		}
	}
	for _, l := range p.losers {
		r.lost[l.claim.Node] = append(r.lost[l.claim.Node], l)
	}
	for _, set := range []map[netip.Prefix]bool{r.routed, keys(r.missing)} {
		for p := range set {
			if !slices.Contains(r.lengths, p.Bits()) {
				r.lengths = append(r.lengths, p.Bits())
			}
		}
	}
	slices.Sort(r.lengths)
	slices.Reverse(r.lengths) // the longest prefix wins
	return r
}

func keys(m map[netip.Prefix]string) map[netip.Prefix]bool {
	out := make(map[netip.Prefix]bool, len(m))
	for k := range m {
		out[k] = true
	}
	return out
}

// Finding says which pods of an owner no route reaches, nil if all are reached or need no route, or if nothing is known.
// Vrf is the name of the owner's VRF context, empty if it is that of the routes; group is its Service Engine group.
func (r *Reach) Finding(vrf, group string, pods []Pod) *model.Finding {
	if r == nil || r.routed == nil {
		return nil
	}
	var reasons []string
	pieces := make(map[string][]string) // of each reason, the pods
	count := 0
	for _, p := range pods {
		why := r.why(vrf, group, p)
		if why == "" {
			continue
		}
		count++
		if pieces[why] == nil {
			reasons = append(reasons, why)
		}
		pieces[why] = append(pieces[why], p.Addr.String())
	}
	if count == 0 {
		return nil
	}
	severity := model.Note
	if count == len(pods) {
		severity = model.Degraded
	}
	var out []string
	for _, why := range reasons[:min(len(reasons), listed)] {
		out = append(out, some(pieces[why])+": "+why)
	}
	if more := len(reasons) - listed; more > 0 {
		out = append(out, fmt.Sprintf("and %d more reasons", more))
	}
	return &model.Finding{Severity: severity, Reason: ReasonNoRouteToPods,
		Message: fmt.Sprintf("no static route leads Service Engines to %d of %d pods: %s", count, len(pods), strings.Join(out, "; "))}
}

// listed bounds how many of anything a message lists.
const listed = 3

// some names the first few.
func some(names []string) string {
	text := strings.Join(names[:min(len(names), listed)], ", ")
	if more := len(names) - listed; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// why a pod is not reached, "" if it is or if that can't be said.
func (r *Reach) why(vrf, group string, p Pod) string {
	if _, host := r.hosts[p.Addr]; host {
		return "" // it uses its node's network
	}
	for _, l := range r.lost[p.Node] {
		if l.claim.Prefix.Contains(p.Addr) {
			return fmt.Sprintf("its pod CIDR %s is routed to Node %s, which claims it too", l.claim.Prefix, l.to)
		}
	}
	for _, bits := range r.lengths {
		prefix, err := p.Addr.Prefix(bits)
		if err != nil {
			continue // of the other family
		}
		switch {
		case r.missing[prefix] != "":
			return r.missing[prefix]
		case !r.routed[prefix]:
		case r.groups[group] != "":
			return r.groups[group]
		case vrf != "" && vrf != r.vrf:
			return fmt.Sprintf("routes are kept in VRF context %s, and the VirtualService is in %s", r.vrf, vrf)
		default:
			return ""
		}
	}
	// An address outside all pod CIDRs may be of a network that needs no routes.
	return r.unknown[p.Node]
}

// Routed counts the pod CIDRs that have a route.
func (r *Reach) Routed() int {
	if r == nil {
		return 0
	}
	return len(r.routed)
}

// Same reports whether two reaches say the same of every pod.
func (r *Reach) Same(o *Reach) bool { return r.text() == o.text() }

func (r *Reach) text() string {
	if r == nil {
		return ""
	}
	return fmt.Sprint(r.vrf, r.routed, r.missing, r.hosts, r.unknown, r.lost, r.groups) // maps are printed in order
}
