// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	svcapi "github.com/avi-l4-operator/avi-l4-operator/api/networking/v1alpha1"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
)

// SvcAPIController is the controller of the GatewayClasses of the Services API that are ours, in AKO's spelling.
const SvcAPIController = controllerName

// SvcAPIGateway is an owner that is a Gateway of the Services API, networking.x-k8s.io.
type SvcAPIGateway struct {
	Object *svcapi.Gateway
	// EveryNamespace lets its listeners take Services of every namespace, as AKO does.
	EveryNamespace bool
	// Unnamed lets its listeners take Services of other namespaces that don't consent to that by naming it.
	Unnamed bool
}

// Key implements Owner.
func (g SvcAPIGateway) Key() model.Owner {
	return model.Owner{Kind: model.SvcAPIGatewayOwner, Namespace: g.Object.Namespace, Name: g.Object.Name}
}

// Annotations implements Owner.
func (g SvcAPIGateway) Annotations() map[string]string { return g.Object.Annotations }

// Restraint implements Owner.
func (g SvcAPIGateway) Restraint() Restraint { return RestraintOf(g.Object.Annotations) }

func (g SvcAPIGateway) in(b *builder) svcAPIBuilder {
	return svcAPIBuilder{b, g.Object, g.EveryNamespace, g.Unnamed}
}

func (SvcAPIGateway) speaker() string { return "" }

func (g SvcAPIGateway) led(*builder) Owner { return g }

func (g SvcAPIGateway) addresses(b *builder) []netip.Addr { return valid(g.in(b).address()) }

func (g SvcAPIGateway) listeners(b *builder) []listener { return g.in(b).listeners() }

func (g SvcAPIGateway) names(b *builder, listeners []listener) []string {
	return g.in(b).names(listeners)
}

func (g SvcAPIGateway) labels(*builder) []string { return nil }

func (g SvcAPIGateway) sourceRanges() (where string, prefixes []string) {
	return annotatedRanges(AnnotationGatewaySourceRanges, g.Object.Annotations)
}

// poolName is <cluster>--<namespace>-<service>-<gateway>-<protocol>-<port>: the Service's namespace isn't in it.
func (g SvcAPIGateway) poolName(s *settings.Settings, svc *corev1.Service, _ int32, listener model.Port) string {
	return name(s, joined(g.Object.Namespace, svc.Name, g.Object.Name, listener.Protocol, number(listener.Number)))
}

func (g SvcAPIGateway) pools(in *Input) map[string]model.Port { return backendPools(in) }

func (g SvcAPIGateway) backendText(*corev1.Service) string { return "the Service's" }

// virtualServiceMarks have no ServiceName, as AKO's Gateways have none there.
func (g SvcAPIGateway) virtualServiceMarks() []string {
	return []string{model.MarkNamespace, g.Object.Namespace, model.MarkGatewayName, g.Object.Name}
}

func (g SvcAPIGateway) policySetMarks(string) []string { return g.virtualServiceMarks() }

// poolMarks have the protocol too.
func (g SvcAPIGateway) poolMarks(_ listener, t target) []string {
	return []string{model.MarkNamespace, g.Object.Namespace, model.MarkServiceName, t.backend.Service.Name,
		model.MarkPort, number(t.port.Number), model.MarkProtocol, t.port.Protocol, model.MarkGatewayName, g.Object.Name}
}

func (g SvcAPIGateway) virtualServiceMetadata(names []string) metadata {
	return gatewayMetadata(g, names)
}

func (g SvcAPIGateway) poolMetadata(l listener, t target) metadata { return backendMetadata(l, t) }

// SvcAPIGatewayOurs reports whether a Gateway is one for this operator: of a class of ours and in a namespace that is served.
func SvcAPIGatewayOurs(s *settings.Settings, class *svcapi.GatewayClass, ns *corev1.Namespace) Verdict {
	switch {
	case class == nil:
		return Verdict{Unknown: true, Why: "its GatewayClass doesn't exist"}
	case class.Spec.Controller != SvcAPIController:
		return Verdict{Why: fmt.Sprintf("GatewayClass %s is of controller %q, not %s", class.Name, class.Spec.Controller, SvcAPIController)}
	}
	return served(s, ns)
}

// svcAPIBuilder maps a Gateway of the Services API.
type svcAPIBuilder struct {
	*builder
	gw             *svcapi.Gateway
	everyNamespace bool
	unnamed        bool
}

// NamedGateway is the Gateway that a Service's labels name, "" if they name none.
func NamedGateway(svcLabels map[string]string) (namespace, name string, ok bool) {
	namespace, name = svcLabels[LabelGatewayNamespace], svcLabels[LabelGatewayName]
	return namespace, name, namespace != "" && name != ""
}

// address is the static VIP: the first of spec.addresses, as with AKO.
func (b svcAPIBuilder) address() netip.Addr {
	var out netip.Addr
	for i, a := range b.gw.Spec.Addresses {
		at := fmt.Sprintf("spec.addresses[%d]", i)
		switch kind := deref(a.Type, svcapi.AddressIP); {
		case kind != svcapi.AddressIP:
			b.blockUnlessLive(model.ReasonInvalidAddress, fmt.Sprintf("%s: type %s is not supported; give type IPAddress, or no address to have one allocated", at, kind))
		case out.IsValid() && strings.TrimSpace(a.Value) == out.String():
		case out.IsValid():
			b.report(model.Degraded, model.Port{}, model.ReasonInvalidAddress, fmt.Sprintf("%s: %s is not used: a Gateway gets one address, the first", at, a.Value))
		default:
			out = b.staticAddress(at, strings.TrimSpace(a.Value))
			if !out.IsValid() {
				return out
			}
		}
	}
	return out
}

// listeners joins each listener to the Service behind it by protocol and port. A valid listener without one
// stays open, as with AKO, so that its coming and going changes no other port.
func (b svcAPIBuilder) listeners() []listener {
	first := make(map[model.Port]int, len(b.gw.Spec.Listeners))
	times := make(map[model.Port]int, len(b.gw.Spec.Listeners))
	for i, l := range b.gw.Spec.Listeners {
		p := listenerPort(l)
		if _, seen := first[p]; !seen {
			first[p] = i
		}
		times[p]++
	}
	var out []listener
	for i, spec := range b.gw.Spec.Listeners {
		port := listenerPort(spec)
		if first[port] != i {
			continue // reported with the first one
		}
		proto, ok := protocolOf(port.Protocol)
		if !ok {
			meant := b.meant(port, times)
			if proto, ok = protocolOf(meant.Protocol); !ok {
				b.report(model.Blocked, port, model.ReasonUnsupportedProtocol, unsupportedProtocol(i, port))
				continue
			}
			b.report(model.Degraded, port, model.ReasonUnsupportedProtocol, unsupportedProtocol(i, port)+"; the port keeps being served as it is")
			port = meant
			times[meant] = 1
		}
		l := listener{port: port, proto: proto}
		conflict := times[port] > 1
		if conflict && !b.keepsServing(l.port, b.open(l.port), model.ReasonListenerConflict, fmt.Sprintf("%d listeners ask for port %s; a port of one protocol can have one listener: remove the others", times[port], port)) {
			continue
		}
		if l, ok = b.bind(i, spec, l, conflict); ok {
			out = append(out, l)
		}
	}
	return b.settle(out)
}

// meant is the live port that a listener with an unusable protocol stands for: the one with the protocol in other letters, or
// the only one of its number that no other listener asks for. A slip of the pen takes no traffic away.
func (b svcAPIBuilder) meant(port model.Port, asked map[model.Port]int) model.Port {
	var free []model.Port
	for live := range b.in.Live.Ports {
		if live.Number != port.Number || asked[live] > 0 {
			continue
		}
		if strings.EqualFold(live.Protocol, strings.TrimSpace(port.Protocol)) {
			return live
		}
		free = append(free, live)
	}
	if len(free) == 1 {
		return free[0]
	}
	return model.Port{} // which one isn't known
}

func listenerPort(l svcapi.Listener) model.Port {
	return model.Port{Number: l.Port, Protocol: string(l.Protocol)}
}

func unsupportedProtocol(i int, port model.Port) string {
	text := fmt.Sprintf("listener %d, port %d: protocol %q is none of TCP, UDP, SCTP", i, port.Number, port.Protocol)
	if _, ok := protocolOf(strings.ToUpper(port.Protocol)); ok {
		text += "; write it in capitals"
	}
	return text
}

// bind finds the Service behind a listener. The oldest of several wins, as the API says. Where the listener can't be
// distinguished from another, or can't be read, what serves goes on.
func (b svcAPIBuilder) bind(i int, spec svcapi.Listener, l listener, conflict bool) (_ listener, ok bool) {
	if conflict {
		b.keepNames = true
	} else {
		l.fqdn = b.listenerName(i, spec, l)
	}
	if spec.TLS != nil {
		b.report(model.Degraded, l.port, model.ReasonUnusedField, fmt.Sprintf("port %s: tls is not used: connections are passed on as they come", l.port))
	}
	selector, err := selectorOf(spec.Routes)
	if err == nil && !servicesKind(spec.Routes) {
		err = fmt.Errorf("routes of group %q and kind %q are not Services; set group v1 and kind services", spec.Routes.Group, spec.Routes.Kind)
	}
	admits, nsErr := b.namespaces(spec.Routes)
	if err == nil {
		err = nsErr
	}
	if err != nil && !b.keepsServing(l.port, b.open(l.port), model.ReasonInvalidRoutes,
		fmt.Sprintf("port %s: listener %d: %v", l.port, i, err)) {
		return l, false
	}
	var admitted []candidate
	var hints []string
	if err != nil || conflict {
		admitted = b.serving(l.port)
	} else {
		admitted, hints = b.candidates(spec, selector, admits, l.port)
	}
	if len(admitted) == 0 {
		b.report(model.Blocked, l.port, model.ReasonNoService, b.noService(spec, l.port, hints))
		return l, true
	}
	l, winner := b.choose(l, admitted, admits)
	if len(admitted) > 1 && err == nil && !conflict && len(l.targets) > 0 {
		b.reportLosers(l.port, winner, admitted)
	}
	return l, true // open in any case; if nothing is behind it, why has been reported
}

// choose gives the listener the oldest Service that can be served.
func (b svcAPIBuilder) choose(l listener, admitted []candidate, admits func(*Backend) bool) (listener, candidate) {
	for i, c := range admitted {
		said := len(b.findings)
		t, ok := b.target(l, c.backend, c.port)
		if ok {
			if !admits(c.backend) && b.inherited(c.backend.Service, l.port) {
				t.checksum = b.in.Live.Pools[t.pool].checksum
			}
			l.targets = []target{t}
			return l, c
		}
		if i < len(admitted)-1 { // an older Service that can't be served doesn't take the port from one that can
			for j := range b.findings[said:] {
				b.findings[said+j].Severity = min(b.findings[said+j].Severity, model.Degraded)
			}
		}
	}
	return l, admitted[0]
}

func (b svcAPIBuilder) reportLosers(port model.Port, winner candidate, admitted []candidate) {
	losers := make([]string, 0, len(admitted)-1)
	for _, c := range admitted {
		if c.backend != winner.backend {
			losers = append(losers, c.backend.Service.Namespace+"/"+c.backend.Service.Name)
		}
	}
	b.report(model.Degraded, port, model.ReasonServiceConflict, fmt.Sprintf("port %s: Service %s/%s is served, the oldest of those that match and can be; not served: %s", port, winner.backend.Service.Namespace, winner.backend.Service.Name, strings.Join(losers, ", ")))
}

// servicesKind reports whether a listener's routes are Services. Nobody can write the core group, which is empty: AKO's
// users write v1, and those who leave the group out get the API's default.
func servicesKind(r svcapi.RouteBindingSelector) bool {
	return slices.Contains([]string{"", "v1", "core", svcapi.DefaultRouteGroup}, r.Group) &&
		slices.Contains([]string{"services", "service", "Service", "Services"}, r.Kind)
}

// selectorOf is the listener's selector; none selects all.
func selectorOf(r svcapi.RouteBindingSelector) (labels.Selector, error) {
	if r.Selector == nil {
		return labels.Everything(), nil
	}
	s, err := metav1.LabelSelectorAsSelector(r.Selector)
	if err != nil {
		return nil, fmt.Errorf("routes.selector can't be used: %w", err)
	}
	return s, nil
}

// candidate is a Service that a listener may take.
type candidate struct {
	backend *Backend
	port    corev1.ServicePort
}

// candidates are the Services that the listener takes, the oldest first; hints say of those that name this Gateway why
// they aren't among them.
func (b svcAPIBuilder) candidates(spec svcapi.Listener, selector labels.Selector, inNamespace func(*Backend) bool,
	port model.Port) (out []candidate, hints []string) {
	gw := b.gw
	hint := func(worth bool, format string, args ...any) {
		if worth {
			hints = append(hints, fmt.Sprintf(format, args...))
		}
	}
	var inherited []candidate
	for i := range b.in.Backends {
		backend := &b.in.Backends[i]
		svc := backend.Service
		namespace, name, names := NamedGateway(svc.Labels)
		own := names && namespace == gw.Namespace && name == gw.Name
		who := "Service " + svc.Namespace + "/" + svc.Name
		sp, has := servicePort(svc, port)
		matches := selector.Matches(labels.Set(svc.Labels))
		switch {
		case !own && !(matches && b.mayTake(svc)):
		case names && !own:
			hint(has && inNamespace(backend), "%s names Gateway %s/%s", who, namespace, name)
		case !attachable(svc):
			hint(own, "%s is of type %s; a Gateway takes ClusterIP and NodePort", who, svc.Spec.Type)
		case !has:
			hint(own, "%s has no port %s, it has %s", who, port, portsOf(svc))
		case !matches:
			hint(true, "%s doesn't match the listener's selector", who)
		case !inNamespace(backend) && own && b.inherited(svc, port):
			inherited = append(inherited, candidate{backend, sp})
		case !inNamespace(backend):
			hint(true, "%s is in a namespace that the listener doesn't admit; %s", who, admitAdvice(spec.Routes, svc.Namespace))
		default:
			out = append(out, candidate{backend, sp})
		}
	}
	slices.SortFunc(out, func(x, y candidate) int { return olderService(x.backend.Service, y.backend.Service) })
	slices.Sort(hints)
	if len(out) == 0 && len(inherited) == 1 { // AKO serves nobody where there are several
		b.reportInherited(inherited[0].backend.Service, port)
		return inherited, nil
	}
	return out, hints
}

// mayTake reports whether a Service that doesn't name the Gateway may be taken by a selector.
func (b svcAPIBuilder) mayTake(svc *corev1.Service) bool {
	return svc.Namespace == b.gw.Namespace || b.unnamed
}

// attachable reports whether a Service is of a type that Gateways take.
func attachable(svc *corev1.Service) bool {
	return slices.Contains([]corev1.ServiceType{corev1.ServiceTypeClusterIP, corev1.ServiceTypeNodePort, ""}, svc.Spec.Type)
}

// inherited reports whether a Service that the listener doesn't admit has been served by AKO, which looks at no namespaces, and
// nobody has said since that it is not to be. AKO's checksum on the pool is the proof, so it is left there.
func (b svcAPIBuilder) inherited(svc *corev1.Service, port model.Port) bool {
	pool, live := b.in.Live.Pools[b.in.Owner.poolName(b.in.Settings, svc, 0, port)]
	return live && pool.checksum != "" && pool.checksum != noChecksum && pool.service == svc.Namespace+"/"+svc.Name &&
		!isTrue(b.gw.Annotations[AnnotationEnforceNamespaces])
}

func (b svcAPIBuilder) reportInherited(svc *corev1.Service, port model.Port) {
	b.report(model.Degraded, port, model.ReasonNamespaceNotAdmitted, fmt.Sprintf(
		"port %s: Service %s/%s is in a namespace that the listener doesn't admit, and goes on being served because AKO served it; set routes.namespaces.from to All to admit it, or annotation %s: \"true\" on the Gateway to end that",
		port, svc.Namespace, svc.Name, AnnotationEnforceNamespaces))
}

// serving is the Service behind a port whose listener can't be read: the one that has a pool already.
func (b svcAPIBuilder) serving(port model.Port) (out []candidate) {
	for i := range b.in.Backends {
		backend := &b.in.Backends[i]
		svc := backend.Service
		sp, has := servicePort(svc, port)
		pool, live := b.in.Live.Pools[b.in.Owner.poolName(b.in.Settings, svc, 0, port)]
		if has && live && (pool.service == "" || pool.service == svc.Namespace+"/"+svc.Name) {
			out = append(out, candidate{backend, sp})
		}
	}
	slices.SortFunc(out, func(x, y candidate) int { return olderService(x.backend.Service, y.backend.Service) })
	return out
}

func admitAdvice(r svcapi.RouteBindingSelector, namespace string) string {
	if r.Namespaces != nil && deref(r.Namespaces.From, "") == svcapi.RouteSelectSelector {
		return "label Namespace " + namespace + " to match routes.namespaces.selector, or fix that"
	}
	return "set routes.namespaces.from to All, or to Selector with a selector"
}

func (b svcAPIBuilder) noService(spec svcapi.Listener, port model.Port, hints []string) string {
	text := fmt.Sprintf("port %s: no Service is attached; one needs a port %s and labels that match %s", port, port, selectorText(spec.Routes.Selector))
	if len(hints) > 3 {
		hints = append(hints[:3:3], fmt.Sprintf("%d more", len(hints)-3))
	}
	if b.reachesOut(spec.Routes) {
		hints = append(hints, fmt.Sprintf("in another namespace it also needs the labels %s=%s and %s=%s", LabelGatewayName, b.gw.Name,
			LabelGatewayNamespace, b.gw.Namespace))
	}
	if len(hints) > 0 {
		text += " (" + strings.Join(hints, "; ") + ")"
	}
	return text
}

// reachesOut reports whether a listener admits other namespaces, of which only Services are taken that name the Gateway, and its selector
// doesn't say so.
func (b svcAPIBuilder) reachesOut(r svcapi.RouteBindingSelector) bool {
	others := b.everyNamespace || r.Namespaces != nil && !slices.Contains([]svcapi.RouteSelectType{"", svcapi.RouteSelectSame}, deref(r.Namespaces.From, ""))
	return others && !b.unnamed && (r.Selector == nil || r.Selector.MatchLabels[LabelGatewayName] == "")
}

func selectorText(s *metav1.LabelSelector) string {
	if s == nil || len(s.MatchLabels)+len(s.MatchExpressions) == 0 {
		return "anything"
	}
	return strings.ReplaceAll(metav1.FormatLabelSelector(s), ",", " and ")
}

// namespaces says which Services' namespaces a listener admits: its own unless it says otherwise.
func (b svcAPIBuilder) namespaces(r svcapi.RouteBindingSelector) (func(*Backend) bool, error) {
	same := func(c *Backend) bool { return c.Service.Namespace == b.gw.Namespace }
	if b.everyNamespace {
		return func(*Backend) bool { return true }, nil
	}
	if r.Namespaces == nil {
		return same, nil
	}
	switch from := deref(r.Namespaces.From, svcapi.RouteSelectSame); from {
	case svcapi.RouteSelectAll:
		return func(*Backend) bool { return true }, nil
	case svcapi.RouteSelectSelector:
		if r.Namespaces.Selector == nil {
			return func(*Backend) bool { return false }, fmt.Errorf("routes.namespaces.from is Selector and there is no selector")
		}
		s, err := metav1.LabelSelectorAsSelector(r.Namespaces.Selector)
		if err != nil {
			return func(*Backend) bool { return false }, fmt.Errorf("routes.namespaces.selector can't be used: %w", err)
		}
		return func(c *Backend) bool { return s.Matches(labels.Set(c.NamespaceLabels)) }, nil
	case svcapi.RouteSelectSame, "":
		return same, nil
	default:
		return func(*Backend) bool { return false }, fmt.Errorf("routes.namespaces.from %q is none of All, Selector, Same", from)
	}
}

func servicePort(svc *corev1.Service, port model.Port) (corev1.ServicePort, bool) {
	for _, p := range svc.Spec.Ports {
		if portOfService(p) == port {
			return p, true
		}
	}
	return corev1.ServicePort{}, false
}

func portsOf(svc *corev1.Service) string {
	out := make([]string, len(svc.Spec.Ports))
	for i, p := range svc.Spec.Ports {
		out[i] = portOfService(p).String()
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

func olderService(x, y *corev1.Service) int {
	if d := x.CreationTimestamp.Compare(y.CreationTimestamp.Time); d != 0 {
		return d
	}
	return strings.Compare(x.Namespace+"/"+x.Name, y.Namespace+"/"+y.Name)
}

// listenerName is the hostname that a listener asks for.
func (b svcAPIBuilder) listenerName(i int, spec svcapi.Listener, l listener) string {
	host := strings.ToLower(strings.TrimSuffix(strings.TrimSpace(deref(spec.Hostname, "")), "."))
	if host == "" || host == "*" {
		return ""
	}
	if !isDNSName(host) {
		kept := ", and is not registered"
		if len(b.in.Live.DNSNames) > 0 {
			b.keepNames, kept = true, "; the names that are in use stay"
		}
		b.report(model.Degraded, l.port, model.ReasonInvalidHostname, fmt.Sprintf("port %s: listener %d: hostname %q is not a DNS name such as amf.example.com%s", l.port, i, host, kept))
		return noName
	}
	return host
}

// noName marks a listener that is to have none: what it asks for can't be had.
const noName = "-"

// names are the listeners' hostnames; one without gets the name that its Service would have for itself. They are
// put on the listeners too.
func (b svcAPIBuilder) names(listeners []listener) []string {
	var out []string
	add := func(names ...string) {
		for _, n := range names {
			if n != "" && !slices.Contains(out, n) {
				out = append(out, n)
			}
		}
	}
	domain, automatic := "", b.in.Settings.AutoFQDN != settings.FQDNDisabled
	if b.keepNames {
		add(b.in.Live.DNSNames...)
	}
	if automatic && slices.ContainsFunc(listeners, func(l listener) bool { return l.fqdn == "" && len(l.targets) > 0 }) {
		if domain = b.domain(); domain == "" {
			add(b.in.Live.DNSNames...) // as with Services: names that are in use stay
		}
	}
	for i := range listeners {
		l := &listeners[i]
		if l.fqdn == "" && len(l.targets) > 0 && domain != "" {
			svc := l.targets[0].backend.Service
			l.fqdn = b.automaticName(svc.Namespace, svc.Name, domain)
			if b.keepNames && !slices.Contains(out, l.fqdn) {
				l.fqdn = noName
			}
		}
		if l.fqdn != noName {
			add(l.fqdn)
		}
	}
	slices.Sort(out)
	out = b.registrable(out)
	for i := range listeners {
		if !slices.Contains(out, listeners[i].fqdn) {
			listeners[i].fqdn = ""
		}
	}
	return out
}
