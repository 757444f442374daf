// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
)

// serversMax is the schema's limit of servers in one pool.
const serversMax = 5000

// server is one member of a pool.
type server struct {
	addr  netip.AddrPort
	node  string
	state serverState
	// disabled: the node isn't to be used, whatever its endpoints are.
	disabled bool
}

// serverState orders what is known of one endpoint, best last: an endpoint that stands in two slices for a moment
// counts by its best state.
type serverState int

const (
	notReady serverState = iota // kept in the pool, disabled: it takes no new associations and keeps its old ones for the drain time
	draining                    // terminating but still serving: disabled, drained gracefully
	ready
)

// sources are the ways to a Service's endpoints, by the settings' serviceType.
var sources = map[settings.ServiceType]func(*builder, target) (members []server, known bool){
	settings.ClusterIP:     (*builder).pods,
	settings.NodePort:      (*builder).nodes,
	settings.NodePortLocal: (*builder).podPorts,
}

// source is the way to one Service's endpoints: its pods' own addresses where it asks for them.
func (b *builder) source(svc *corev1.Service) settings.ServiceType {
	if _, skip := svc.Annotations[AnnotationSkipNodePort]; skip {
		return settings.ClusterIP
	}
	return cmp.Or(b.in.Settings.ServiceType, settings.ClusterIP)
}

// members are the servers of a listener's pool. known is false if an existing pool has to keep what it has.
func (b *builder) members(t target) (out []server, known bool) {
	out, known = sources[b.source(t.backend.Service)](b, t)
	if len(out) > serversMax {
		b.report(model.Degraded, t.port, model.ReasonTooManyServers, fmt.Sprintf("port %s has %d servers, a pool takes %d; the others get no traffic: split the Service", t.port, len(out), serversMax))
		out = keepBest(out)
	}
	return out, known
}

// reachable reports whether the Service has what the way to its endpoints needs; it reports what it lacks.
func (b *builder) reachable(t target) bool {
	svc := t.backend.Service
	switch mode := b.source(svc); {
	case mode == settings.NodePort && t.backendPort.NodePort == 0:
		return b.keepsServing(t.port, b.exists(t), model.ReasonNoNodePort, fmt.Sprintf("port %s: Service %s has no node port, and serviceType NodePort reaches servers through those; make it type NodePort (a load balancer: allocateLoadBalancerNodePorts true), or set annotation %s on it to reach its pods directly", t.port, svc.Name, AnnotationSkipNodePort))
	case mode == settings.NodePortLocal && t.port.Protocol == "SCTP":
		return b.keepsServing(t.port, b.exists(t), model.ReasonNodePortLocal, fmt.Sprintf("port %s: NodePortLocal can't carry SCTP, Antrea maps TCP and UDP only; set annotation %s on Service %s if the Service Engines reach its pods, or serviceType NodePort or ClusterIP for the cluster", t.port, AnnotationSkipNodePort, svc.Name))
	case mode == settings.NodePortLocal && svc.Spec.Type == corev1.ServiceTypeNodePort:
		return b.keepsServing(t.port, b.exists(t), model.ReasonNodePortLocal, fmt.Sprintf("port %s: Antrea gives no ports to the pods of Service %s, which is of type NodePort; make it ClusterIP or LoadBalancer", t.port, svc.Name))
	}
	return true
}

// pods are reached by their own addresses. Where the slices are readable and no endpoint has the port, as when it is being
// renamed, those members of the pool stay whose address is in a slice still: any other may be somebody else's by now.
func (b *builder) pods(t target) (out []server, known bool) {
	out, known, joined := b.endpoints(t)
	if !known || joined {
		return out, known
	}
	members := b.in.Live.Pools[t.pool].members
	for _, e := range b.anyEndpoints(t) {
		for at := range members {
			if at.Addr() == e.addr.Addr() {
				out = append(out, server{addr: at, node: e.node, state: e.state})
			}
		}
	}
	b.reportKept(t, len(out))
	slices.SortFunc(out, func(x, y server) int { return x.addr.Compare(y.addr) })
	return slices.CompactFunc(out, func(x, y server) bool { return x.addr == y.addr }), true
}

// reportKept says why servers stay although no endpoint has the port. If none does, the lack of endpoints is reported.
func (b *builder) reportKept(t target, servers int) {
	why := "none of the Service's endpoints can be used"
	if !hasPort(t) {
		why = noSuchPort(t)
	}
	if servers > 0 {
		b.report(model.Degraded, t.port, model.ReasonEndpointsUnreadable, "port "+t.port.String()+": "+why+"; of the pool's servers those stay whose addresses are in a slice")
	}
}

// endpoints are those with the listener's port. known is false if the slices could not be read, joined if none has the port
// although the pool serves.
func (b *builder) endpoints(t target) (out []server, known, joined bool) {
	out, matched := b.servers(t)
	switch {
	case !b.endpointsKnown(t):
		b.report(model.Degraded, t.port, model.ReasonEndpointsUnreadable, "port "+t.port.String()+": the Service's EndpointSlices can't be read; the pool keeps its servers until they can")
		return out, false, false
	case !matched && b.serves(t):
		return nil, true, false
	}
	return out, true, true
}

// anyEndpoints are the Service's endpoints whatever their ports; their own port is 0.
func (b *builder) anyEndpoints(t target) (out []server) {
	for _, slice := range t.backend.Slices {
		for _, e := range slice.Endpoints {
			if s, problem := serverOf(e, 0); problem == "" {
				out = append(out, s)
			}
		}
	}
	return out
}

// isPort reports whether a slice's port is that of a target: the join is by name and protocol, as kube-proxy's is.
func (t target) isPort(p discoveryv1.EndpointPort) bool {
	return deref(p.Name, "") == t.backendPort.Name && string(deref(p.Protocol, corev1.ProtocolTCP)) == t.port.Protocol
}

// hasPort reports whether some slice has the target's port.
func hasPort(t target) bool {
	return slices.ContainsFunc(t.backend.Slices, func(s *discoveryv1.EndpointSlice) bool { return slices.ContainsFunc(s.Ports, t.isPort) })
}

// noSuchPort says which ports the slices have instead of the Service's.
func noSuchPort(t target) string {
	var have []string
	for _, slice := range t.backend.Slices {
		for _, p := range slice.Ports {
			text := fmt.Sprintf("%q with %s", deref(p.Name, ""), deref(p.Protocol, corev1.ProtocolTCP))
			if !slices.Contains(have, text) {
				have = append(have, text)
			}
		}
	}
	slices.Sort(have)
	text := fmt.Sprintf("no EndpointSlice of the Service has a port named %q with %s", t.backendPort.Name, t.port.Protocol)
	if len(have) == 0 {
		return text + "; they have none"
	}
	return text + "; they have " + strings.Join(have, ", ")
}

// withoutEndpoints says why a port has no endpoint that takes connections, and what to do. whose is the Service's, in words.
func (b *builder) withoutEndpoints(t target, whose string) string {
	port, svc := "port "+t.port.String()+" has no ready endpoint: ", t.backend.Service
	endpoints, other := 0, make(map[discoveryv1.AddressType]bool)
	for _, slice := range t.backend.Slices {
		endpoints += len(slice.Endpoints)
		if len(slice.Endpoints) > 0 && !b.family(svc, slice.AddressType) {
			other[slice.AddressType] = true
		}
	}
	switch {
	case endpoints > 0 && len(other) > 0 && !b.anyOfFamily(t):
		return port + fmt.Sprintf("its EndpointSlices have addresses of type %s, which are not used here; give addresses of another type", textOf(other))
	case endpoints > 0 && !hasPort(t) && t.backendPort.TargetPort.Type == intstr.String && len(svc.Spec.Selector) > 0:
		return port + fmt.Sprintf("no container of its pods has a port named %q with %s, which is %s targetPort; correct one of the two", t.backendPort.TargetPort.StrVal, t.port.Protocol, whose)
	case endpoints > 0 && !hasPort(t):
		return port + noSuchPort(t) + "; name the port alike in both"
	case endpoints > 0:
		return port + notReadyText(whose, endpoints)
	case len(svc.Spec.Selector) == 0:
		return port + "the Service has no selector, and nobody has given it an EndpointSlice with endpoints"
	case len(t.backend.Slices) == 0:
		return port + "Kubernetes has made no EndpointSlice for it yet; if that lasts, see kube-controller-manager"
	}
	return port + fmt.Sprintf("no running pod of its namespace has the labels of %s selector, %s; correct the selector or start the pods", whose, labels.Set(svc.Spec.Selector))
}

func notReadyText(whose string, endpoints int) string {
	if endpoints == 1 {
		return whose + " one endpoint is not ready; see its pod's readiness probe"
	}
	return fmt.Sprintf("none of %s %d endpoints is ready; see the pods' readiness probes", whose, endpoints)
}

// anyOfFamily reports whether some endpoint has an address of a type that is used.
func (b *builder) anyOfFamily(t target) bool {
	return slices.ContainsFunc(t.backend.Slices, func(s *discoveryv1.EndpointSlice) bool {
		return len(s.Endpoints) > 0 && b.family(t.backend.Service, s.AddressType)
	})
}

func textOf(types map[discoveryv1.AddressType]bool) string {
	var out []string
	for t := range types {
		out = append(out, string(t))
	}
	slices.Sort(out)
	return strings.Join(out, " and ")
}

// endpointsKnown reports whether the slices say what the pool's servers are. A list that was not read completely does
// not; nor does a Service with a selector that has no slice at all, for which Kubernetes keeps an empty one.
func (b *builder) endpointsKnown(t target) bool {
	if !t.backend.SlicesRead {
		return false
	}
	return len(t.backend.Slices) > 0 || len(t.backend.Service.Spec.Selector) == 0 || !b.serves(t)
}

// servers maps the slices' endpoints to addresses, ordered by address and port. The join is by the port's name and
// protocol, as kube-proxy's is; different pods may resolve a named target port to different numbers, so each has its own
// port.
//
// matched is false where the slices have endpoints and none of their ports is this one: a port that was just renamed, or a
// slice that is broken.
func (b *builder) servers(t target) (out []server, matched bool) {
	endpoints, found := 0, 0
	best := make(map[netip.AddrPort]server)
	invalid := make(map[string]bool)
	for _, slice := range t.backend.Slices {
		endpoints += len(slice.Endpoints)
		if !b.family(t.backend.Service, slice.AddressType) {
			continue
		}
		for _, port := range slice.Ports {
			if !t.isPort(port) {
				continue
			}
			number := deref(port.Port, 0)
			if number < 1 || number > 65535 {
				invalid[fmt.Sprintf("EndpointSlice %s: port %q is %s, not 1 to 65535", slice.Name, t.backendPort.Name, portText(port.Port))] = true
				continue
			}
			found += addServers(best, invalid, slice, uint16(number))
		}
	}
	b.reportInvalid(t, invalid)
	out = make([]server, 0, len(best))
	for _, s := range best {
		out = append(out, s)
	}
	slices.SortFunc(out, func(x, y server) int { return x.addr.Compare(y.addr) })
	useDraining(out)
	return out, found > 0 || endpoints == 0
}

// addServers adds the endpoints of a slice, at one of its ports, to the best known for their addresses, and counts those that
// can be read; what can't be is noted as invalid.
func addServers(best map[netip.AddrPort]server, invalid map[string]bool, slice *discoveryv1.EndpointSlice, port uint16) (found int) {
	for _, e := range slice.Endpoints {
		s, problem := serverOf(e, port)
		if problem != "" && problem != leftOut {
			invalid[fmt.Sprintf("EndpointSlice %s: %s", slice.Name, problem)] = true
			continue
		}
		found++
		if problem == leftOut {
			continue
		}
		if old, ok := best[s.addr]; !ok || s.state > old.state || s.state == old.state && s.node > old.node {
			best[s.addr] = s
		}
	}
	return found
}

// useDraining makes servers that are on their way out ready if no other is, as kube-proxy does: those that still serve are
// better than none.
func useDraining(all []server) {
	if slices.ContainsFunc(all, func(s server) bool { return s.state == ready }) {
		return
	}
	for i := range all {
		if all[i].state == draining {
			all[i].state = ready
		}
	}
}

// leftOut marks an endpoint that is rightly no server: it neither serves nor is expected to.
const leftOut = "left out"

func serverOf(e discoveryv1.Endpoint, port uint16) (server, string) {
	if len(e.Addresses) == 0 {
		return server{}, "an endpoint has no address"
	}
	addr, err := netip.ParseAddr(e.Addresses[0]) // only the first address has a meaning
	if err != nil {
		return server{}, fmt.Sprintf("address %q is not an IP address", e.Addresses[0])
	}
	isReady := deref(e.Conditions.Ready, true)
	terminating := deref(e.Conditions.Terminating, false)
	serving := deref(e.Conditions.Serving, isReady)
	s := server{addr: netip.AddrPortFrom(addr.Unmap(), port), node: deref(e.NodeName, "")}
	switch {
	case isReady && !terminating:
		s.state = ready
	case terminating && (serving || isReady):
		s.state = draining
	case terminating:
		return server{}, leftOut
	default:
		s.state = notReady
	}
	return s, ""
}

func keepBest(all []server) []server {
	slices.SortStableFunc(all, func(x, y server) int { return -cmp.Compare(x.state, y.state) })
	all = all[:serversMax]
	slices.SortFunc(all, func(x, y server) int { return x.addr.Compare(y.addr) })
	return all
}

func (b *builder) reportInvalid(t target, invalid map[string]bool) {
	if len(invalid) == 0 {
		return
	}
	list := make([]string, 0, len(invalid))
	for problem := range invalid {
		list = append(list, problem)
	}
	slices.Sort(list)
	more := ""
	if len(list) > 3 {
		more = fmt.Sprintf(" and %d more", len(list)-3)
		list = list[:3]
	}
	b.report(model.Degraded, t.port, model.ReasonInvalidEndpoint, fmt.Sprintf("port %s: %s%s; these endpoints get no traffic; fix the slice", t.port, strings.Join(list, "; "), more))
}

// family reports whether slices of that address type give servers: the cluster's setting and the Service's families
// both have to allow it.
func (b *builder) family(svc *corev1.Service, t discoveryv1.AddressType) bool {
	families := svc.Spec.IPFamilies
	asks := func(f corev1.IPFamily) bool { return len(families) == 0 || slices.Contains(families, f) }
	four, six := b.families()
	switch t {
	case discoveryv1.AddressTypeIPv4:
		return four && asks(corev1.IPv4Protocol)
	case discoveryv1.AddressTypeIPv6:
		return six && asks(corev1.IPv6Protocol)
	}
	return false
}

// families are those that the settings and the cloud let servers have.
func (b *builder) families() (four, six bool) { return b.in.Settings.Families(b.in.Facts.Cloud.Type) }

func portText(p *int32) string {
	if p == nil {
		return "unset"
	}
	return fmt.Sprint(*p)
}

func deref[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}
