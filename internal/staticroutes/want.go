// SPDX-License-Identifier: Apache-2.0

package staticroutes

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/avi-l4-operator/avi-l4-operator/internal/placement"
)

// Wanted is what the nodes need, and what isn't known of them.
type Wanted struct {
	Claims   []Claim // by prefix, then in the order in which they are preferred
	Problems []Problem

	live    bool
	unread  string                // not all nodes or CIDRs are known: nothing is removed
	unknown map[string]string     // nodes of which not all is known, and why: what may be theirs is not removed
	prefix  map[netip.Prefix]bool // known CIDRs of unknown nodes
	lost    bool                  // an unknown node has no address by which its routes could be recognised
	hosts   map[netip.Addr]string // every address of a node → its name
	uids    map[string]string     // UID of a node → its name
	claimed map[claimed]bool
	held    map[netip.Prefix]string // claims whose routes stay as they are, and why
}

// Except is what is wanted where the routes of some prefixes stay as they are, or missing, with a reason for each.
func (w *Wanted) Except(held map[netip.Prefix]string) *Wanted {
	out := *w
	out.held = held
	return &out
}

type claimed struct {
	prefix netip.Prefix
	node   string
}

// Want says which routes the nodes need.
func Want(in Input) *Wanted {
	w := &Wanted{
		live: in.Live, unread: in.Unread, unknown: map[string]string{}, prefix: map[netip.Prefix]bool{},
		hosts: map[netip.Addr]string{}, uids: map[string]string{}, claimed: map[claimed]bool{},
	}
	source := SourceOf(in.Settings.CNI)
	shares := w.shares(in, source)
	switch {
	case w.unread != "":
	case len(in.Nodes) == 0:
		w.unread = "Kubernetes lists no Node at all"
	case source.object != nil && len(in.Objects) == 0:
		w.unread = fmt.Sprintf("Kubernetes lists no %s at all", source.Kind.Kind)
	}
	if w.unread != "" {
		w.report("", ReasonPodCIDRsUnreadable, w.unread+"; routes that stand are kept until all nodes and their pod CIDRs are known")
	}
	four, six := in.Settings.Families(in.Facts.Cloud.Type)
	nodes := slices.Clone(in.Nodes)
	slices.SortFunc(nodes, func(a, b *corev1.Node) int { return cmp.Compare(a.Name, b.Name) })
	for _, n := range nodes {
		hops := w.addresses(n, in.Settings.CNI, in.Settings.Placement.NodeNetworks)
		given, err := shares[n.Name], error(nil)
		if source.node != nil {
			given = make([]share, 1)
			given[0].cidrs, err = source.node(n)
		} else if len(given) == 0 && !source.optional && in.Unread == "" && w.unknown[n.Name] == "" {
			err = fmt.Errorf("it has no %s", source.Kind.Kind)
		}
		if err != nil {
			w.keep(n.Name, ReasonNoPodCIDR, "the pod CIDRs of Node "+n.Name+" are not known, so they get no route: "+err.Error())
		}
		for _, s := range given {
			for _, cidr := range s.cidrs {
				w.claim(n, cidr, s.pending, hops, four, six)
			}
		}
		if _, unknown := w.unknown[n.Name]; unknown && len(hops.all) == 0 {
			w.lost = true
		}
	}
	slices.SortStableFunc(w.Claims, func(a, b Claim) int {
		return cmp.Or(a.Prefix.Addr().Compare(b.Prefix.Addr()), cmp.Compare(a.Prefix.Bits(), b.Prefix.Bits()), compareBool(a.pending, b.pending),
			cmp.Compare(a.created, b.created), cmp.Compare(a.Node, b.Node))
	})
	return w
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

func (w *Wanted) report(node, reason, message string) {
	w.Problems = append(w.Problems, Problem{Node: node, Reason: reason, Message: message})
}

// keep reports a problem of a node that leaves some of its routes unknown.
func (w *Wanted) keep(node, reason, message string) {
	w.unknown[node] = message
	w.report(node, reason, message)
}

// shares reads the network plugin's objects by node. One that can't be read leaves its node unknown, or all of them.
func (w *Wanted) shares(in Input, source Source) map[string][]share {
	out := map[string][]share{}
	if source.object == nil {
		return out
	}
	known := map[string]bool{}
	for _, n := range in.Nodes {
		known[n.Name] = true
	}
	for _, o := range in.Objects {
		s, err := source.object(o)
		switch {
		case err != nil && known[s.node]:
			w.keep(s.node, ReasonNoPodCIDR, fmt.Sprintf("%s %s of Node %s can't be used: %v", source.Kind.Kind, o.GetName(), s.node, err))
		case err != nil && s.node == "" && w.unread == "":
			w.unread = fmt.Sprintf("%s %s can't be used: %v", source.Kind.Kind, o.GetName(), err)
		case err == nil && s.node != "":
			out[s.node] = append(out[s.node], s)
		}
	}
	return out
}

// claim adds a node's route for one CIDR.
func (w *Wanted) claim(n *corev1.Node, cidr string, pending bool, hops hops, four, six bool) {
	p, err := netip.ParsePrefix(strings.TrimSpace(cidr))
	if err != nil || p.Bits() == 0 || p.Addr().Is4In6() || p.Addr().IsMulticast() || p.Addr().IsLoopback() {
		w.keep(n.Name, ReasonNoPodCIDR, fmt.Sprintf("pod CIDR %q of Node %s is not a prefix that can be routed, such as 10.244.1.0/24", cidr, n.Name))
		return
	}
	p = p.Masked()
	hop := hops.four
	if p.Addr().Is6() {
		hop = hops.six
	}
	switch {
	case p.Addr().Is4() && !four || p.Addr().Is6() && !six:
		return // servers are of the other family only
	case !hop.IsValid():
		w.prefix[p] = true
		w.keep(n.Name, ReasonNoNodeAddress, fmt.Sprintf("Node %s has pod CIDR %s and no address of that family (InternalIP) that can be a next hop, so its pods get no route", n.Name, p))
		return
	case p.Contains(hop):
		w.prefix[p] = true
		w.keep(n.Name, ReasonNoNodeAddress, fmt.Sprintf("the address %s of Node %s is inside its own pod CIDR %s, so a route would lead nowhere", hop, n.Name, p))
		return
	}
	c := Claim{Prefix: p, NextHop: hop, Node: n.Name, others: hops.others(hop), uid: string(n.UID), pending: pending,
		created: n.CreationTimestamp.Unix()}
	if at := (claimed{p, n.Name}); !w.claimed[at] {
		w.claimed[at] = true
		w.Claims = append(w.Claims, c)
	}
}

// hops are the addresses by which a node is reached, those of type InternalIP, and all that it has.
type hops struct {
	four, six     netip.Addr
	internal, all []netip.Addr
}

// others are the addresses between which and the chosen one there is no rule but an order: none if the network plugin has
// said which it is.
func (h hops) others(chosen netip.Addr) (out []netip.Addr) {
	if !slices.Contains(h.internal, chosen) {
		return nil
	}
	for _, a := range h.internal {
		if a != chosen && a.Is4() == chosen.Is4() {
			out = append(out, a)
		}
	}
	return out
}

// addresses are chosen as by AKO: what Calico or Antrea say where they are the plugin, else the first InternalIP of the
// family. Where a node has several, one inside a network of nodeNetworkList goes first: there the Service Engines are.
func (w *Wanted) addresses(n *corev1.Node, cni string, networks []placement.NodeNetwork) hops {
	w.uids[string(n.UID)] = n.Name
	var out hops
	take := func(a netip.Addr) {
		at := &out.four
		if a.Is6() {
			at = &out.six
		}
		if !at.IsValid() && nextHop(a) {
			*at = a
		}
	}
	note := func(a netip.Addr) {
		if !slices.Contains(out.all, a) {
			out.all = append(out.all, a)
			w.hosts[a] = n.Name
		}
	}
	for _, key := range []string{annotationCalico4, annotationCalico6, annotationAntrea} {
		says := cni == "calico" && key != annotationAntrea || cni == "antrea" && key == annotationAntrea
		for part := range strings.SplitSeq(n.Annotations[key], ",") {
			if a, ok := address(part); ok {
				note(a)
				if says {
					take(a)
				}
			}
		}
	}
	said := out.four.IsValid() || out.six.IsValid()
	var internal []netip.Addr
	for _, entry := range n.Status.Addresses {
		if a, ok := address(entry.Address); ok {
			note(a)
			if entry.Type == corev1.NodeInternalIP {
				internal = append(internal, a)
			}
		}
	}
	near := slices.DeleteFunc(slices.Clone(internal), func(a netip.Addr) bool { return !inNetworks(a, networks) })
	for _, a := range append(near, internal...) {
		take(a)
	}
	if !said {
		out.internal = internal
	}
	return out
}

func inNetworks(a netip.Addr, networks []placement.NodeNetwork) bool {
	for _, n := range networks {
		for _, cidr := range n.CIDRs {
			if p, err := netip.ParsePrefix(strings.TrimSpace(cidr)); err == nil && p.Contains(a) {
				return true
			}
		}
	}
	return false
}

// address reads "10.1.2.3" or "10.1.2.3/24".
func address(text string) (netip.Addr, bool) {
	text, _, _ = strings.Cut(strings.TrimSpace(text), "/")
	a, err := netip.ParseAddr(text)
	return a.Unmap(), err == nil
}

func nextHop(a netip.Addr) bool {
	return a.IsGlobalUnicast() && a.Zone() == ""
}
