// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/vmware/alb-sdk/go/models"
	corev1 "k8s.io/api/core/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/avi-l4-operator/avi-l4-operator/internal/gatewayapi"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
)

// Gateway is an owner that is a Gateway of gateway.networking.k8s.io, with what the API's rules make of it and of the
// ListenerSets and routes attached to it.
type Gateway struct{ View *gatewayapi.View }

// Key implements Owner.
func (g Gateway) Key() model.Owner {
	return model.Owner{Kind: model.GatewayOwner, Namespace: g.View.Gateway.Namespace, Name: g.View.Gateway.Name}
}

// Annotations implements Owner.
func (g Gateway) Annotations() map[string]string { return g.View.Gateway.Annotations }

// Restraint implements Owner.
func (g Gateway) Restraint() Restraint { return RestraintOf(g.View.Gateway.Annotations) }

func (Gateway) speaker() string { return "" }

func (g Gateway) led(*builder) Owner { return g }

func (g Gateway) addresses(b *builder) []netip.Addr { return gatewayBuilder{b, g.View}.addresses() }

func (g Gateway) listeners(b *builder) []listener { return gatewayBuilder{b, g.View}.listeners() }

func (g Gateway) names(b *builder, _ []listener) []string { return gatewayBuilder{b, g.View}.names() }

func (g Gateway) labels(b *builder) []string { return gatewayBuilder{b, g.View}.labels() }

func (g Gateway) sourceRanges() (where string, prefixes []string) {
	return annotatedRanges(AnnotationGatewaySourceRanges, g.View.Gateway.Annotations)
}

// poolName is <cluster>--<namespace>-<gateway>-<protocol>-<port>-<Service's namespace>.<service>-<service port>: one listener
// may have several Services behind it, of several namespaces.
func (g Gateway) poolName(s *settings.Settings, svc *corev1.Service, servicePort int32, listener model.Port) string {
	return g.poolNameOf(s, svc.Namespace, svc.Name, servicePort, listener)
}

func (g Gateway) poolNameOf(s *settings.Settings, namespace, service string, servicePort int32, listener model.Port) string {
	gw := g.View.Gateway
	return name(s, joined(gw.Namespace, gw.Name, listener.Protocol, number(listener.Number), namespace+"."+service, number(servicePort)))
}

func (g Gateway) pools(in *Input) map[string]model.Port {
	out := make(map[string]model.Port)
	for _, l := range g.View.Listeners {
		for _, r := range l.Routes {
			for _, ref := range r.Backends {
				out[g.poolNameOf(in.Settings, namespaceOf(r, ref), string(ref.Name), deref(ref.Port, 0), l.Port)] = l.Port
			}
		}
	}
	return out
}

// namespaceOf is the namespace of what a route refers to.
func namespaceOf(r *gatewayapi.Route, ref gatewayv1.BackendRef) string {
	return string(deref(ref.Namespace, gatewayv1.Namespace(r.Object.GetNamespace())))
}

func (g Gateway) backendText(svc *corev1.Service) string {
	return fmt.Sprintf("Service %s/%s's", svc.Namespace, svc.Name)
}

func (g Gateway) virtualServiceMarks() []string {
	return []string{model.MarkGatewayNamespace, g.View.Gateway.Namespace, model.MarkGatewayName, g.View.Gateway.Name}
}

func (g Gateway) policySetMarks(string) []string { return g.virtualServiceMarks() }

func (g Gateway) poolMarks(l listener, t target) []string {
	return append(groupMarks(g, l), model.MarkServiceName, t.backend.Service.Name)
}

func (g Gateway) virtualServiceMetadata(names []string) metadata { return gatewayMetadata(g, names) }

func (g Gateway) poolMetadata(l listener, t target) metadata { return backendMetadata(l, t) }

// GatewayOurs reports whether a Gateway of gateway.networking.k8s.io is one for this operator: of a class whose controllerName is
// among ours, and in a namespace that is served.
func GatewayOurs(s *settings.Settings, names []string, class *gatewayv1.GatewayClass, ns *corev1.Namespace) Verdict {
	switch {
	case class == nil:
		return Verdict{Unknown: true, Why: "its GatewayClass doesn't exist"}
	case !slices.Contains(names, string(class.Spec.ControllerName)):
		return Verdict{Why: fmt.Sprintf("GatewayClass %s is of controller %s, not %s", class.Name, class.Spec.ControllerName, strings.Join(names, " or "))}
	}
	return served(s, ns)
}

// gatewayBuilder maps a Gateway of gateway.networking.k8s.io.
type gatewayBuilder struct {
	*builder
	view *gatewayapi.View
}

// addresses are the static VIPs. An address without a value is one to allocate, as is none at all.
func (b gatewayBuilder) addresses() []netip.Addr {
	var out []netip.Addr
	empty := 0
	for i, a := range b.view.Gateway.Spec.Addresses {
		at := fmt.Sprintf("spec.addresses[%d]", i)
		switch kind := deref(a.Type, gatewayv1.IPAddressType); {
		case kind != gatewayv1.IPAddressType:
			b.blockUnlessLive(model.ReasonUnsupportedAddress, fmt.Sprintf("%s: type %s is not supported; give type IPAddress, or no address to have one allocated", at, kind))
		case a.Value == "":
			empty++
		default:
			addr := b.staticAddress(at, a.Value)
			if addr.IsValid() && !slices.Contains(out, addr) {
				out = append(out, addr)
			}
		}
	}
	if empty > 0 && len(out) > 0 {
		b.report(model.Degraded, model.Port{}, model.ReasonInvalidAddress, "spec.addresses: beside given addresses none is allocated; give all of them, or one entry without a value")
	}
	return out
}

// manyVIPs gives each static address a VIP of its own, placed as the first one is. On clouds where each network gives a
// VIP there may be more already.
func manyVIPs(vips []vipSource, addresses int) []vipSource {
	if len(vips) == 0 || addresses <= len(vips) {
		return vips
	}
	out := slices.Clone(vips)
	first, _ := strconv.Atoi(out[0].id)
	for i := len(out); i < addresses; i++ {
		next := out[0]
		next.id = strconv.Itoa(first + i)
		out = append(out, next)
	}
	return out
}

// listeners joins each listener that may be served to the Services behind the oldest of its routes. A listener
// without a route, or whose references don't resolve, stays open with nothing behind it: its connections are rejected.
func (b gatewayBuilder) listeners() []listener {
	view := b.view
	var out []listener
	seen := make(map[model.Port]bool)
	for _, spec := range view.Listeners {
		proto, ok := protocolOf(spec.Port.Protocol)
		if !ok {
			l, serves := b.misspelled(spec)
			if b.keepsServing(spec.Port, serves && !seen[l.port], model.ReasonUnsupportedProtocol,
				fmt.Sprintf("listener %s: %s", spec.Name, spec.Accepted.Message)) {
				seen[l.port] = true
				out = append(out, l)
			}
			continue
		}
		if seen[spec.Port] {
			continue // what serves on it is kept for the first of those that are in each other's way
		}
		l := listener{port: spec.Port, proto: proto, set: setOf(spec)}
		if !spec.Valid() {
			v := cmp.Or(spec.Conflicted, spec.Accepted)
			if !b.keepsServing(l.port, b.open(l.port), refusals[v.Reason], fmt.Sprintf("listener %s: %s", spec.Name, v.Message)) {
				continue
			}
		}
		seen[l.port] = true
		for _, note := range spec.Notes {
			b.report(model.Degraded, l.port, model.ReasonInvalidRoutes, fmt.Sprintf("listener %s: %s", spec.Name, note))
		}
		out = append(out, b.route(l, spec))
	}
	if view.Unread[gatewayapi.KindListenerSet] || view.Young[gatewayapi.KindListenerSet] {
		for _, port := range slices.SortedFunc(maps.Keys(b.in.Live.Ports), comparePorts) {
			if proto, ok := protocolOf(port.Protocol); ok && !seen[port] && b.in.Live.ofSets[port] {
				b.report(model.Degraded, port, model.ReasonRoutesUnreadable, fmt.Sprintf("port %s: no listener asks for it, and it isn't known whether a ListenerSet does: the API server has no such type, or has only just got it; the port stays as it is", port))
				out = append(out, listener{port: port, proto: proto, held: b.hold(port)})
			}
		}
	}
	return b.settle(out)
}

// misspelled is a listener whose protocol is right but for its letters, on a port that serves and that no other listener asks
// for: a slip of the pen takes no traffic away. No route is attached to it, so it is the one that serves.
func (b gatewayBuilder) misspelled(spec *gatewayapi.Listener) (l listener, ok bool) {
	view := b.view
	port := model.Port{Number: spec.Port.Number, Protocol: spec.Meant}
	proto, ok := protocolOf(spec.Meant)
	if !ok || slices.ContainsFunc(view.Listeners, func(o *gatewayapi.Listener) bool { return o.Port == port }) {
		return l, false
	}
	routes := b.servingRoutes(port,
		slices.DeleteFunc(slices.Clone(view.Routes), func(r *gatewayapi.Route) bool { return r.Protocol != proto.name }))
	if len(routes) == 0 {
		return l, false
	}
	return b.forward(listener{port: port, proto: proto, set: setOf(spec)}, routes[0]), true
}

func setOf(spec *gatewayapi.Listener) string {
	if spec.Set == nil {
		return ""
	}
	return spec.Set.Namespace + "/" + spec.Set.Name
}

// refusals are the findings' reasons for the API's.
var refusals = map[string]string{
	string(gatewayv1.ListenerReasonProtocolConflict): model.ReasonListenerConflict,
	string(gatewayv1.ListenerReasonUnsupportedValue): model.ReasonUnusedField,
}

// route puts behind a listener what the oldest of its routes refers to. Where listeners are in each other's way and one of
// them serves, it is the route that serves.
func (b gatewayBuilder) route(l listener, spec *gatewayapi.Listener) listener {
	view := b.view
	kind := gatewayapi.RouteKind(l.proto.name)
	if view.Unread[kind] {
		if b.open(l.port) {
			b.report(model.Degraded, l.port, model.ReasonRoutesUnreadable, fmt.Sprintf("port %s: the API server has no type %s; what serves stays as it is", l.port, kind))
			l.held = b.hold(l.port)
			return l
		}
		b.report(model.Note, l.port, model.ReasonRoutesUnreadable, fmt.Sprintf("port %s: the API server has no type %s; install its CRD, so that routes can be attached", l.port, kind))
		return l
	}
	routes := spec.Routes
	if !spec.Conflicted.OK() {
		routes = b.servingRoutes(l.port, b.attached(l.port))
	}
	if len(routes) == 0 && view.Young[kind] && b.open(l.port) {
		b.report(model.Degraded, l.port, model.ReasonRoutesUnreadable, fmt.Sprintf("port %s: type %s has only just come back; what serves stays as it is until its objects have had time to follow", l.port, kind))
		l.held = b.hold(l.port)
		return l
	}
	if len(routes) == 0 {
		b.report(model.Note, l.port, model.ReasonNoRoute, fmt.Sprintf("listener %s: no %s is attached; connections are rejected", spec.Name, kind))
		return l
	}
	if len(routes) > 1 {
		others := make([]string, 0, len(routes)-1)
		for _, r := range routes[1:] {
			others = append(others, r.Key().String())
		}
		b.report(model.Note, l.port, model.ReasonServiceConflict, fmt.Sprintf("listener %s: %s is served, the oldest of those attached; not served: %s", spec.Name, routes[0], strings.Join(others, ", ")))
	}
	return b.forward(l, routes[0])
}

// servingRoutes are, of routes, those whose pools are behind a port already, the oldest first.
func (b gatewayBuilder) servingRoutes(port model.Port, routes []*gatewayapi.Route) (out []*gatewayapi.Route) {
	for _, r := range routes {
		live := slices.ContainsFunc(r.Backends, func(ref gatewayv1.BackendRef) bool {
			name := Gateway{b.view}.poolNameOf(b.in.Settings, namespaceOf(r, ref), string(ref.Name), deref(ref.Port, 0), port)
			_, exists := b.in.Live.Pools[name]
			return exists
		})
		if live && !slices.Contains(out, r) {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, gatewayapi.OlderRoute)
	return out
}

// attached are the routes of all listeners that ask for a port.
func (b gatewayBuilder) attached(port model.Port) (out []*gatewayapi.Route) {
	for _, spec := range b.view.Listeners {
		if spec.Port == port {
			out = append(out, spec.Routes...)
		}
	}
	return out
}

// forward puts a route's backends behind a listener. The share of one that doesn't resolve is rejected.
func (b gatewayBuilder) forward(l listener, r *gatewayapi.Route) listener {
	for _, ref := range b.view.Resolve(r) {
		t, ok := target{}, false
		if ref.Service != nil {
			backend := b.backend(ref.Service)
			t, ok = b.target(l, backend, ref.Port)
		}
		if ref.Unsure && !b.exists(t) {
			ok = false
		}
		if !ref.OK() {
			kept := ""
			if ok {
				kept = "; it is served already and goes on"
			}
			b.report(model.Degraded, l.port, model.ReasonReferenceMissing, fmt.Sprintf("%s: %s%s", r, ref.Message, kept))
		}
		i := slices.IndexFunc(l.targets, func(have target) bool { return have.pool == t.pool })
		switch {
		case !ok:
			l.rejects += int64(ref.Weight)
		case i >= 0: // named twice
			l.targets[i].weight = int32(min(int64(l.targets[i].weight)+int64(ref.Weight), 1<<30))
		default:
			t.weight = ref.Weight
			l.targets = append(l.targets, t)
		}
	}
	slices.SortFunc(l.targets, func(x, y target) int { return strings.Compare(x.pool, y.pool) })
	if len(b.groupName(l)) > model.MaxNameLength-len(rejectSuffix) && l.grouped() {
		b.report(model.Blocked, l.port, model.ReasonNameTooLong, fmt.Sprintf("port %s: the pool group's name %s has %d characters, the Controller takes %d; shorten the Gateway's, the namespace's or the cluster's name", l.port, b.groupName(l), len(b.groupName(l)), model.MaxNameLength-len(rejectSuffix)))
		l.targets, l.rejects = nil, 0
	}
	if l.grouped() && !b.in.Facts.Enterprise() {
		message := fmt.Sprintf("port %s: several backends, or a share to reject, need the licence tier ENTERPRISE or ENTERPRISE_WITH_CLOUD_SERVICES, the Controller's default tier is %s; refer to one backend or change the tier", l.port, b.in.Facts.LicenseTier)
		if !b.keepsServing(l.port, b.open(l.port), model.ReasonLicenseTier, message) {
			l.targets, l.rejects = nil, 0
		}
	}
	return l
}

// backend is what is known of a Service's endpoints.
func (b gatewayBuilder) backend(svc *corev1.Service) *Backend {
	for i := range b.in.Backends {
		if s := b.in.Backends[i].Service; s.Namespace == svc.Namespace && s.Name == svc.Name {
			return &b.in.Backends[i]
		}
	}
	return &Backend{Service: svc} // its slices were not read
}

// names are those of the VsVip: those of the external-dns annotation or, where there is none, those of SCTP
// listeners with a hostname; else one made of the Gateway's name and the cloud's DNS domain.
func (b gatewayBuilder) names() []string {
	gw := b.view.Gateway
	if b.in.Settings.AutoFQDN == settings.FQDNDisabled {
		return nil
	}
	if strings.TrimSpace(gw.Annotations[AnnotationHostname]) == "" {
		var names []string
		for _, l := range b.view.Listeners {
			host := strings.ToLower(l.Hostname)
			switch {
			case host == "" || !l.Valid() || slices.Contains(names, host):
			case !isDNSName(host): // a wildcard is no name of a VIP
				b.report(model.Note, l.Port, model.ReasonInvalidHostname, fmt.Sprintf("listener %s: hostname %q is not registered, since a VIP's name can't have a wildcard, nor be an address", l.Name, l.Hostname))
			default:
				names = append(names, host)
			}
		}
		if len(names) > 0 {
			slices.Sort(names)
			return b.registrable(names)
		}
	}
	return b.fqdns(b.in.Owner.Key(), gw.Annotations)
}

// labels are spec.infrastructure.labels as markers: pairs of key and value, by key. Keys that mean something to
// the operator or to AKO stay theirs.
func (b gatewayBuilder) labels() (pairs []string) {
	infrastructure := b.view.Gateway.Spec.Infrastructure
	if infrastructure == nil {
		return nil
	}
	for _, key := range slices.Sorted(maps.Keys(infrastructure.Labels)) {
		if reservedMark(string(key)) {
			b.report(model.Degraded, model.Port{}, model.ReasonUnusedField, fmt.Sprintf("spec.infrastructure.labels: %s is not put on the Controller's objects, where it has a meaning of its own; use another key", key))
			continue
		}
		pairs = append(pairs, string(key), string(infrastructure.Labels[key]))
	}
	if len(infrastructure.Annotations) > 0 {
		b.report(model.Note, model.Port{}, model.ReasonUnusedField, "spec.infrastructure.annotations have no meaning to an Avi Controller and are not used")
	}
	return pairs
}

// held is what serves on a port, as it was found.
type held struct {
	rule    *models.L4Rule
	objects []model.Object
}

// hold finds what serves on a port, nil if nothing does.
func (b *builder) hold(port model.Port) *held {
	for _, r := range b.in.Live.rules {
		if !matches(r, port) {
			continue
		}
		rule := *r
		out := &held{rule: &rule}
		if a := r.Action; a != nil && a.SelectPool != nil {
			action := *a.SelectPool
			b.holdObject(out, model.Pool, action.PoolRef)
			b.holdObject(out, model.PoolGroup, action.PoolGroupRef)
			action.PoolRef, action.PoolGroupRef = again(action.PoolRef), again(action.PoolGroupRef)
			rule.Action = &models.L4RuleAction{SelectPool: &action}
		}
		return out
	}
	return nil
}

func matches(r *models.L4Rule, port model.Port) bool {
	if r == nil || r.Match == nil || r.Match.Port == nil || !slices.Equal(r.Match.Port.Ports, []int64{int64(port.Number)}) {
		return false
	}
	p, _ := protocolOf(port.Protocol)
	return r.Match.Protocol == nil || deref(r.Match.Protocol.Protocol, "") == p.match
}

func (b *builder) holdObject(h *held, kind model.Kind, ref *string) {
	if ref == nil {
		return
	}
	want := model.ParseRef(*ref)
	for key, o := range b.in.Live.objects {
		if key.Kind != kind || o.UUID != want.UUID && (want.UUID != "" || key.Name != want.Name) {
			continue
		}
		h.objects = append(h.objects, model.Object{Key: key, Body: o.Body})
		if group, ok := o.Body.(*models.PoolGroup); ok {
			for _, m := range group.Members {
				if m != nil {
					b.holdObject(h, model.Pool, m.PoolRef)
				}
			}
		}
	}
}
