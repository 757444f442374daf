// SPDX-License-Identifier: Apache-2.0

package gatewayapi

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	gatewayv1beta1 "sigs.k8s.io/gateway-api/apis/v1beta1"
)

// Parent is the object that a route's parentRef names; ok is false for one that is neither a Gateway nor a ListenerSet.
func Parent(route *Route, ref gatewayv1.ParentReference) (kind string, key types.NamespacedName, ok bool) {
	kind = string(deref(ref.Kind, KindGateway))
	key = inNamespace(route, ref.Namespace, ref.Name)
	ok = deref(ref.Group, gatewayv1.GroupName) == gatewayv1.GroupName && (kind == KindGateway || kind == KindListenerSet)
	return kind, key, ok
}

// GatewayOf is the Gateway that a ListenerSet belongs to.
func GatewayOf(s *gatewayv1.ListenerSet) (key types.NamespacedName, ok bool) {
	ref := s.Spec.ParentRef
	if deref(ref.Group, gatewayv1.GroupName) != gatewayv1.GroupName || deref(ref.Kind, KindGateway) != KindGateway {
		return key, false
	}
	return types.NamespacedName{Namespace: string(deref(ref.Namespace, gatewayv1.Namespace(s.Namespace))), Name: string(ref.Name)}, true
}

// Attachment is what becomes of one parentRef of a route.
type Attachment struct {
	// Ours reports whether the parent is the Gateway, or one of its ListenerSets.
	Ours bool
	// Verdict says why the route isn't accepted there.
	Verdict
	// Listeners are those that the route is attached to.
	Listeners []*Listener
}

// Attach finds the listeners that a route's parentRef means. Whether they are valid themselves doesn't matter: a route
// that waits for one is attached to it.
func (v *View) Attach(r *Route, ref gatewayv1.ParentReference) Attachment {
	kind, key, ok := Parent(r, ref)
	if !ok {
		return Attachment{}
	}
	var set *gatewayv1.ListenerSet
	if kind == KindGateway {
		if key != (types.NamespacedName{Namespace: v.Gateway.Namespace, Name: v.Gateway.Name}) {
			return Attachment{}
		}
	} else {
		i := slices.IndexFunc(v.SetVerdicts, func(s SetVerdict) bool { return s.Set.Namespace == key.Namespace && s.Set.Name == key.Name })
		if i < 0 {
			return Attachment{}
		}
		if s := v.SetVerdicts[i]; !s.OK() {
			return Attachment{Ours: true, Verdict: Verdict{
				string(gatewayv1.RouteReasonNoMatchingParent), fmt.Sprintf("the Gateway doesn't take ListenerSet %s", key),
			}}
		}
		set = v.SetVerdicts[i].Set
	}
	out := Attachment{Ours: true}
	named, kinds := 0, 0
	for _, l := range v.Listeners {
		if l.Set != set || ref.SectionName != nil && *ref.SectionName != "" && *ref.SectionName != l.Name || ref.Port != nil && *ref.Port != l.Port.Number {
			continue
		}
		named++
		if !slices.ContainsFunc(l.Kinds, func(k gatewayv1.RouteGroupKind) bool { return sameKind(k, r.groupKind()) }) {
			continue
		}
		kinds++
		if l.admits(r.Object.GetNamespace()) {
			out.Listeners = append(out.Listeners, l)
		}
	}
	switch what := kind + " " + key.String(); {
	case len(out.Listeners) > 0:
	case named == 0:
		out.Verdict = Verdict{
			string(gatewayv1.RouteReasonNoMatchingParent),
			fmt.Sprintf("%s has no listener%s; it has %s", what, wanted(ref), v.names(set)),
		}
	case kinds == 0:
		out.Verdict = Verdict{string(gatewayv1.RouteReasonNotAllowedByListeners), fmt.Sprintf("no listener of %s%s takes a %s; it has %s", what, wanted(ref), r.Kind, v.names(set))}
	default:
		out.Verdict = Verdict{string(gatewayv1.RouteReasonNotAllowedByListeners), fmt.Sprintf("the listeners of %s%s that take a %s don't admit namespace %s; see their allowedRoutes.namespaces", what, wanted(ref), r.Kind, r.Object.GetNamespace())}
	}
	return out
}

// KeptOut says by which older routes a route is kept from being served at the listeners that it is attached to; empty if it is
// served at all of them. A listener serves the oldest of its routes.
func (a Attachment) KeptOut(r *Route) string {
	var out []string
	for _, l := range a.Listeners {
		if len(l.Routes) > 0 && l.Routes[0].Key() != r.Key() {
			out = append(out, fmt.Sprintf("listener %s serves %s, which is older", l.Name, l.Routes[0]))
		}
	}
	slices.Sort(out)
	return strings.Join(out, "; ")
}

func wanted(ref gatewayv1.ParentReference) string {
	out := ""
	if ref.SectionName != nil && *ref.SectionName != "" {
		out += fmt.Sprintf(" named %s", *ref.SectionName)
	}
	if ref.Port != nil {
		out += fmt.Sprintf(" on port %d", *ref.Port)
	}
	return out
}

// names lists the listeners of the Gateway or of a ListenerSet, the first few.
func (v *View) names(set *gatewayv1.ListenerSet) string {
	const most = 8
	var out []string
	for _, l := range v.Listeners {
		if l.Set == set {
			out = append(out, fmt.Sprintf("%s (%s)", l.Name, l.Port))
		}
	}
	if len(out) > most {
		out = append(out[:most:most], fmt.Sprintf("%d more", len(out)-most))
	}
	if len(out) == 0 {
		return "none"
	}
	return strings.Join(out, ", ")
}

// Backend is what one backendRef of a route resolves to.
type Backend struct {
	// Service and Port are zero if it doesn't resolve, which the Verdict says.
	Service *corev1.Service
	Port    corev1.ServicePort
	Weight  int32
	Verdict
	// Unsure reports whether it may resolve after all: what would permit it could not be read.
	Unsure bool
}

// Resolve follows a route's backendRefs. Whether a reference is permitted is decided before whether what it names exists,
// so that nobody learns what other namespaces hold.
func (w *World) Resolve(r *Route) []Backend {
	out := make([]Backend, len(r.Backends))
	for i, ref := range r.Backends {
		out[i] = w.resolve(r, ref)
		out[i].Weight = deref(ref.Weight, 1)
	}
	return out
}

func (w *World) resolve(r *Route, ref gatewayv1.BackendRef) Backend {
	key := serviceKey(r, ref)
	if group, kind := deref(ref.Group, ""), deref(ref.Kind, "Service"); group != "" || kind != "Service" {
		return refused(gatewayv1.RouteReasonInvalidKind,
			"backendRef %s is of kind %s; only Services can be backends", key.Name, strings.TrimPrefix(string(group)+"/"+string(kind), "/"))
	}
	from := r.Object.GetNamespace()
	if key.Namespace == from {
		return w.service(r, ref, key)
	}
	switch permitted, read := w.permits(r, key); {
	case permitted:
		return w.service(r, ref, key)
	case read:
		return refused(gatewayv1.RouteReasonRefNotPermitted,
			"backendRef %s is in another namespace, and no ReferenceGrant there lets %ss of namespace %s refer to it; create one there", key, r.Kind, from)
	}
	// The reference is looked up all the same: what serves because of it goes on.
	b := w.service(r, ref, key)
	b.Unsure = true
	b.Verdict = refused(gatewayv1.RouteReasonRefNotPermitted,
		"backendRef %s is in another namespace, and no ReferenceGrant there lets %ss of namespace %s refer to it; create one there", key, r.Kind, from).Verdict
	if w.Unread[KindReferenceGrant] {
		b.Verdict.Message += " when ReferenceGrants can be read: the API server has no such type"
	}
	return b
}

// service finds the Service of a reference that is permitted, and its port.
func (w *World) service(r *Route, ref gatewayv1.BackendRef, key types.NamespacedName) Backend {
	svc := w.Services[key]
	switch {
	case svc == nil:
		return refused(gatewayv1.RouteReasonBackendNotFound, "Service %s doesn't exist; create it or correct the backendRef", key)
	case svc.Spec.Type == corev1.ServiceTypeExternalName:
		return refused(gatewayv1.RouteReasonBackendNotFound, "Service %s is of type ExternalName and has no endpoints", key)
	case ref.Port == nil:
		return refused(gatewayv1.RouteReasonBackendNotFound, "backendRef %s names no port", key)
	}
	port, others, found := servicePort(svc, r, ref)
	switch {
	case found:
		return Backend{Service: svc, Port: port}
	case len(others) > 0:
		return refused(gatewayv1.RouteReasonUnsupportedProtocol,
			"port %d of Service %s is %s, not %s", *ref.Port, key, strings.Join(others, " and "), r.Protocol)
	}
	return refused(gatewayv1.RouteReasonBackendNotFound, "Service %s has no port %d", key, *ref.Port)
}

// refused is a reference that doesn't resolve.
func refused(reason gatewayv1.RouteConditionReason, format string, args ...any) Backend {
	return Backend{Verdict: Verdict{string(reason), fmt.Sprintf(format, args...)}}
}

// servicePort finds the Service's port of the route's own protocol: one number may stand for all three.
func servicePort(svc *corev1.Service, r *Route, ref gatewayv1.BackendRef) (port corev1.ServicePort, others []string, found bool) {
	for _, p := range svc.Spec.Ports {
		protocol := string(p.Protocol)
		if protocol == "" {
			protocol = "TCP"
		}
		switch {
		case p.Port != *ref.Port:
		case protocol == r.Protocol:
			return p, nil, true
		default:
			others = append(others, protocol)
		}
	}
	return port, others, false
}

// permits reports whether a ReferenceGrant in a Service's namespace lets the route refer to it, and whether all could be read.
func (w *World) permits(r *Route, to types.NamespacedName) (permitted, read bool) {
	for _, g := range w.Grants {
		if g.Namespace == to.Namespace && g.DeletionTimestamp == nil && grants(g, r, to.Name) {
			return true, true
		}
	}
	return false, !w.Unread[KindReferenceGrant] && !w.Young[KindReferenceGrant]
}

// KindReferenceGrant is the kind of the objects that permit references into their namespace.
const KindReferenceGrant = "ReferenceGrant"

func grants(g *gatewayv1beta1.ReferenceGrant, r *Route, name string) bool {
	own := r.groupKind()
	from := slices.ContainsFunc(g.Spec.From, func(f gatewayv1beta1.ReferenceGrantFrom) bool {
		return f.Group == deref(own.Group, "") && f.Kind == own.Kind && string(f.Namespace) == r.Object.GetNamespace()
	})
	return from && slices.ContainsFunc(g.Spec.To, func(t gatewayv1beta1.ReferenceGrantTo) bool {
		return t.Group == "" && t.Kind == "Service" && (t.Name == nil || *t.Name == "" || string(*t.Name) == name)
	})
}

// References sums a route's references up: the first thing that is wrong gives the reason.
func References(backends []Backend) Verdict {
	var out Verdict
	var said []string
	for _, b := range backends {
		if b.OK() {
			continue
		}
		if out.Reason == "" {
			out.Reason = b.Reason
		}
		if !slices.Contains(said, b.Message) {
			said = append(said, b.Message)
		}
	}
	out.Message = strings.Join(said, "; ")
	return out
}

// Refers reports whether a route refers to a Service.
func (r *Route) Refers(to types.NamespacedName) bool {
	return slices.ContainsFunc(r.ServiceKeys(), func(k types.NamespacedName) bool { return k == to })
}

// ServiceKeys are the Services that a route refers to, whether they exist or not.
func (r *Route) ServiceKeys() []types.NamespacedName {
	var out []types.NamespacedName
	for _, ref := range r.Backends {
		if deref(ref.Group, "") != "" || deref(ref.Kind, "Service") != "Service" {
			continue
		}
		out = append(out, serviceKey(r, ref))
	}
	return out
}

// serviceKey names the Service that a backendRef of a route means: one of the route's namespace unless it names another.
func serviceKey(r *Route, ref gatewayv1.BackendRef) types.NamespacedName {
	return inNamespace(r, ref.Namespace, ref.Name)
}

func inNamespace(r *Route, namespace *gatewayv1.Namespace, name gatewayv1.ObjectName) types.NamespacedName {
	own := gatewayv1.Namespace(r.Object.GetNamespace())
	return types.NamespacedName{Namespace: string(deref(namespace, own)), Name: string(name)}
}
