// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
)

// taintToBeDeleted is what the cluster autoscaler puts on a node that it is about to remove.
const taintToBeDeleted = "ToBeDeletedByClusterAutoscaler"

// NodeTaints are the taints of Nodes that are read.
var NodeTaints = []string{taintToBeDeleted}

// nodes are reached at the Service's node port, and chosen as Kubernetes' own service controller chooses them: nodes that are
// cordoned or not Ready stay, since their pods may serve and the health monitor decides; those with the exclude label are left
// out; those that the autoscaler is about to remove are drained. With externalTrafficPolicy Local only nodes with an endpoint of
// the Service take part, and each is as ready as its endpoints.
func (b *builder) nodes(t target) (out []server, known bool) {
	switch {
	case t.backendPort.NodePort == 0:
		return nil, false // kept although it has none, which has been reported
	case !b.in.NodesRead:
		b.report(model.Degraded, t.port, model.ReasonNoNodes, "port "+t.port.String()+": the cluster's nodes can't be read; the pool keeps its servers until they can")
		return nil, false
	}
	local := func(*corev1.Node) (serverState, bool) { return ready, true }
	if t.backend.Service.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal {
		states, sure := b.endpointNodes(t)
		if !sure {
			return nil, false
		}
		local = func(n *corev1.Node) (serverState, bool) {
			state, has := states[n.Name]
			return state, has
		}
	}
	eligible := 0
	for _, n := range b.in.Nodes {
		addr, ok := b.nodeAddress(n, t.backend.Service)
		if !ok || !b.eligible(n) {
			continue
		}
		eligible++
		if state, ok := local(n); ok {
			at := netip.AddrPortFrom(addr, uint16(t.backendPort.NodePort))
			out = append(out, server{addr: at, node: n.Name, state: state, disabled: leaving(n)})
		}
	}
	if eligible == 0 {
		b.noNodes(t)
		return nil, !b.serves(t)
	}
	drain(out)
	slices.SortFunc(out, func(x, y server) int { return cmp.Or(x.addr.Compare(y.addr), cmp.Compare(x.node, y.node)) })
	return slices.CompactFunc(out, func(x, y server) bool { return x.addr == y.addr }), true
}

// endpointNodes are the nodes that have endpoints of the Service, with the best state of those.
func (b *builder) endpointNodes(t target) (states map[string]serverState, sure bool) {
	endpoints, known, joined := b.endpoints(t)
	if !known {
		return nil, false
	}
	if !joined {
		endpoints = b.anyEndpoints(t)
		b.reportKept(t, len(endpoints))
	}
	states = make(map[string]serverState, len(endpoints))
	for _, e := range endpoints {
		if e.node != "" {
			states[e.node] = max(states[e.node], e.state)
		}
	}
	return states, true
}

// leaving reports whether the autoscaler is about to remove a node.
func leaving(n *corev1.Node) bool {
	return slices.ContainsFunc(n.Spec.Taints, func(taint corev1.Taint) bool { return taint.Key == taintToBeDeleted })
}

// drain disables the servers on nodes that are leaving, unless there are no others.
func drain(servers []server) {
	if !slices.ContainsFunc(servers, func(s server) bool { return !s.disabled }) {
		return
	}
	for i := range servers {
		if servers[i].disabled {
			servers[i].state = notReady
		}
	}
}

func (b *builder) noNodes(t target) {
	kept := ""
	if b.serves(t) {
		kept = "; the pool keeps its servers"
	}
	b.report(model.Degraded, t.port, model.ReasonNoNodes, fmt.Sprintf("port %s: none of %d nodes can be a server: each needs an InternalIP%s, and not the label %s%s", t.port, len(b.in.Nodes), b.nodeLabelText(), corev1.LabelNodeExcludeBalancers, kept))
}

func (b *builder) nodeLabelText() string {
	if s := b.in.Settings; s.NodeKey != "" {
		return fmt.Sprintf(", the label %s=%s (nodeKey and nodeValue)", s.NodeKey, s.NodeValue)
	}
	return ""
}

// eligible reports whether a node has the label that the settings ask for and isn't excluded from load balancers.
func (b *builder) eligible(n *corev1.Node) bool {
	if _, excluded := n.Labels[corev1.LabelNodeExcludeBalancers]; excluded {
		return false
	}
	key := b.in.Settings.NodeKey
	if key == "" {
		return true
	}
	value, ok := n.Labels[key]
	return ok && value == b.in.Settings.NodeValue
}

// nodeAddressAnnotations are where network plugins write a node's address, by cniPlugin.
var nodeAddressAnnotations = map[string][]string{
	"calico": {"projectcalico.org/IPv4Address", "projectcalico.org/IPv6Address"},
	"antrea": {"node.antrea.io/transport-addresses"},
}

// NodeAnnotations are the annotations of Nodes that are read.
var NodeAnnotations = []string{"projectcalico.org/IPv4Address", "projectcalico.org/IPv6Address", "node.antrea.io/transport-addresses"}

// nodeAddress is the one by which a Service's port on a node is reached: what the network plugin says, else InternalIP, of
// a family in which the Service has its port; its first family, else IPv4, where there is a choice.
func (b *builder) nodeAddress(n *corev1.Node, svc *corev1.Service) (netip.Addr, bool) {
	var texts []string
	for _, key := range nodeAddressAnnotations[b.in.Settings.CNI] {
		if text := n.Annotations[key]; text != "" {
			texts = append(texts, strings.Split(text, ",")...)
		}
	}
	if len(texts) == 0 {
		for _, a := range n.Status.Addresses {
			if a.Type == corev1.NodeInternalIP {
				texts = append(texts, a.Address)
			}
		}
	}
	four, six := b.family(svc, discoveryv1.AddressTypeIPv4), b.family(svc, discoveryv1.AddressTypeIPv6)
	sixFirst := len(svc.Spec.IPFamilies) > 0 && svc.Spec.IPFamilies[0] == corev1.IPv6Protocol
	var found []netip.Addr
	for _, text := range texts {
		text, _, _ = strings.Cut(strings.TrimSpace(text), "/")
		if a, err := netip.ParseAddr(text); err == nil && (a.Is4() && four || a.Is6() && six) {
			found = append(found, a)
		}
	}
	if len(found) == 0 {
		return netip.Addr{}, false
	}
	slices.SortStableFunc(found, func(x, y netip.Addr) int {
		if sixFirst {
			x, y = y, x
		}
		return cmp.Compare(x.BitLen(), y.BitLen())
	})
	return found[0], true
}

// podPort is one entry of Antrea's annotation: a port of the pod and the node's port that leads to it.
type podPort struct {
	PodPort   int      `json:"podPort"`
	NodeIP    string   `json:"nodeIP"`
	NodePort  int      `json:"nodePort"`
	Protocol  string   `json:"protocol"`
	Protocols []string `json:"protocols"`
}

// podPorts are reached at the ports of their nodes that Antrea's annotation on the pods names. Readiness is that of the
// endpoint.
func (b *builder) podPorts(t target) (out []server, known bool) {
	pods, known, joined := b.endpoints(t)
	switch {
	case !known || t.port.Protocol == "SCTP":
		return nil, false // kept although Antrea can't carry it, which has been reported
	case !joined:
		pods = b.anyEndpoints(t)
	}
	byIP := b.podPortsByIP(t, pods)
	if !joined {
		out = b.stillGiven(t, byIP)
		b.reportKept(t, len(out))
		return out, true
	}
	missing, late := 0, false
	for _, p := range pods {
		at, ok := lead(byIP[p.addr.Addr().String()], p.addr.Port(), t.port.Protocol)
		if !ok {
			missing++
			late = late || p.state == ready
			continue
		}
		out = append(out, server{addr: at, node: p.node, state: p.state})
	}
	// A pool that serves by other addresses keeps them until every ready pod has its port: the mode has changed, and Antrea is
	// giving the ports one by one.
	members := b.in.Live.Pools[t.pool].members
	known = len(out) > 0 || len(pods) == 0 || !b.serves(t)
	if known && late && b.serves(t) && !slices.ContainsFunc(out, func(s server) bool { return members[s.addr] }) {
		known = false
	}
	if missing > 0 {
		effect := "they get no traffic"
		if !known {
			effect = "the pool keeps its servers"
		}
		b.report(model.Degraded, t.port, model.ReasonInvalidEndpoint, fmt.Sprintf("port %s: %d of %d pods have no port on their node (annotation %s): %s; Antrea gives them one if its NodePortLocal feature is enabled and Service %s has annotation %s", t.port, missing, len(pods), AnnotationNodePortLocalPorts, effect, t.backend.Service.Name, AnnotationNodePortLocal))
	}
	slices.SortFunc(out, func(x, y server) int { return cmp.Or(x.addr.Compare(y.addr), -cmp.Compare(x.state, y.state)) })
	out = slices.CompactFunc(out, func(x, y server) bool { return x.addr == y.addr })
	return out, known
}

// podPortsByIP are the ports that Antrea has given the Service's pods, by the pods' addresses.
func (b *builder) podPortsByIP(t target, pods []server) map[string][]podPort {
	wanted := make(map[string]bool, len(pods))
	for _, p := range pods {
		wanted[p.addr.Addr().String()] = true
	}
	byIP := make(map[string][]podPort)
	for _, pod := range t.backend.Pods {
		ofOurs := slices.ContainsFunc(pod.Status.PodIPs, func(ip corev1.PodIP) bool { return wanted[ip.IP] })
		text := pod.Annotations[AnnotationNodePortLocalPorts]
		if text == "" || !ofOurs {
			continue
		}
		var ports []podPort
		if err := json.Unmarshal([]byte(text), &ports); err != nil {
			b.report(model.Degraded, t.port, model.ReasonInvalidAnnotation, fmt.Sprintf("port %s: annotation %s of Pod %s isn't the list that Antrea writes there; delete the annotation or the Pod, so that it is written anew", t.port, AnnotationNodePortLocalPorts, pod.Name))
			continue
		}
		for _, ip := range pod.Status.PodIPs {
			byIP[ip.IP] = append(byIP[ip.IP], ports...)
		}
	}
	return byIP
}

// stillGiven are the members of a pool that lead to a port of one of the Service's pods, whichever port that is.
func (b *builder) stillGiven(t target, byIP map[string][]podPort) (out []server) {
	members := b.in.Live.Pools[t.pool].members
	for _, ports := range byIP {
		for _, p := range ports {
			if at, ok := p.onNode(); ok && members[at] {
				out = append(out, server{addr: at, state: ready})
			}
		}
	}
	slices.SortFunc(out, func(x, y server) int { return x.addr.Compare(y.addr) })
	return slices.CompactFunc(out, func(x, y server) bool { return x.addr == y.addr })
}

// onNode is the node's address and port.
func (p podPort) onNode() (netip.AddrPort, bool) {
	ip, err := netip.ParseAddr(p.NodeIP)
	if err != nil || p.NodePort < 1 || p.NodePort > 65535 {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(ip.Unmap(), uint16(p.NodePort)), true
}

// lead finds the node's port that leads to a pod's.
func lead(ports []podPort, port uint16, protocol string) (netip.AddrPort, bool) {
	for _, p := range ports {
		named := append([]string{p.Protocol}, p.Protocols...)
		if p.PodPort != int(port) || !slices.ContainsFunc(named, func(n string) bool { return strings.EqualFold(n, protocol) }) {
			continue
		}
		if at, ok := p.onNode(); ok {
			return at, true
		}
	}
	return netip.AddrPort{}, false
}
