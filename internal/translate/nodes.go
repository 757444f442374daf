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

// nodes are reached at the Service's node port. With externalTrafficPolicy Local only nodes with an endpoint of the
// Service take part, and each is as ready as its endpoints. Nodes that are not Ready, or cordoned, stay as disabled
// servers: they take no new associations and keep the ones that they have for the drain time.
func (b *builder) nodes(t target) (out []server, known bool) {
	svc := t.backend.Service
	switch {
	case t.backendPort.NodePort == 0:
		return nil, false // kept although it has none, which has been reported
	case !b.in.NodesRead:
		b.report(model.Degraded, t.port, model.ReasonNoNodes, "port "+t.port.String()+": the cluster's nodes can't be read; the pool keeps its servers until they can")
		return nil, false
	}
	var endpoints map[string]serverState
	if svc.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal {
		local, sure := b.pods(t)
		if !sure {
			return nil, false
		}
		endpoints = make(map[string]serverState, len(local))
		for _, e := range local {
			if e.node != "" {
				endpoints[e.node] = max(endpoints[e.node], e.state)
			}
		}
	}
	eligible, usable := 0, 0
	for _, n := range b.in.Nodes {
		addr, ok := b.nodeAddress(n, svc)
		if !ok || !b.eligible(n) {
			continue
		}
		eligible++
		state := ready
		if endpoints != nil {
			if state, ok = endpoints[n.Name]; !ok {
				continue
			}
		}
		s := server{addr: netip.AddrPortFrom(addr, uint16(t.backendPort.NodePort)), node: n.Name, state: state, disabled: !nodeReady(n)}
		// With Local a cordoned node's pods still serve, and nobody can take their place.
		s.disabled = s.disabled || n.Spec.Unschedulable && endpoints == nil
		if !s.disabled {
			usable++
		}
		out = append(out, s)
	}
	if usable == 0 && len(out) > 0 {
		// More likely a control plane that has lost its nodes than a cluster without one that works.
		b.report(model.Degraded, t.port, model.ReasonNoNodes, "port "+t.port.String()+": no node is Ready and schedulable; all are used, and the health monitor decides")
	}
	for i := range out {
		if out[i].disabled && usable > 0 {
			out[i].state = notReady
		}
	}
	if eligible == 0 {
		kept := ""
		if b.serves(t) {
			kept = "; the pool keeps its servers"
		}
		b.report(model.Degraded, t.port, model.ReasonNoNodes, fmt.Sprintf("port %s: none of %d nodes can be a server: each needs an InternalIP%s, and not the label %s%s", t.port, len(b.in.Nodes), b.nodeLabelText(), corev1.LabelNodeExcludeBalancers, kept))
		return nil, !b.serves(t)
	}
	slices.SortFunc(out, func(x, y server) int { return cmp.Or(x.addr.Compare(y.addr), cmp.Compare(x.node, y.node)) })
	return slices.CompactFunc(out, func(x, y server) bool { return x.addr == y.addr }), true
}

func (b *builder) nodeLabelText() string {
	if s := b.in.Settings; s.NodeKey != "" {
		return fmt.Sprintf(", the label %s=%s (nodeKey and nodeValue)", s.NodeKey, s.NodeValue)
	}
	return ""
}

// eligible nodes have the label that the settings ask for and aren't excluded from load balancers.
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

func nodeReady(n *corev1.Node) bool {
	return slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
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
	pods, known := b.pods(t)
	if !known || t.port.Protocol == "SCTP" {
		return nil, false // kept although Antrea can't carry it, which has been reported
	}
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

// lead finds the node's port that leads to a pod's.
func lead(ports []podPort, port uint16, protocol string) (netip.AddrPort, bool) {
	for _, p := range ports {
		named := append([]string{p.Protocol}, p.Protocols...)
		if p.PodPort != int(port) || !slices.ContainsFunc(named, func(n string) bool { return strings.EqualFold(n, protocol) }) {
			continue
		}
		ip, err := netip.ParseAddr(p.NodeIP)
		if err == nil && p.NodePort > 0 && p.NodePort < 65536 {
			return netip.AddrPortFrom(ip.Unmap(), uint16(p.NodePort)), true
		}
	}
	return netip.AddrPort{}, false
}
