// SPDX-License-Identifier: Apache-2.0

// Package gatewayapi holds the rules of gateway.networking.k8s.io that have nothing to do with Avi: which listeners a
// Gateway has with those of its ListenerSets, which of them are in each other's way, which routes are attached to them, and
// what the routes' references resolve to. It is pure: the same objects give the same View, whatever their order.
package gatewayapi

import (
	"cmp"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	gatewayv1beta1 "sigs.k8s.io/gateway-api/apis/v1beta1"

	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1alpha1"
)

// Controller is the controllerName of GatewayClasses that are ours.
const Controller = "ako.vmware.com/avi-l4"

// Kinds of object, as references and Events spell them.
const (
	KindGateway     = "Gateway"
	KindListenerSet = "ListenerSet"
	KindTCPRoute    = "TCPRoute"
	KindUDPRoute    = "UDPRoute"
	KindSCTPRoute   = "SCTPRoute"
)

// kind is one row of the mapping from a transport protocol to the route that carries it.
type kind struct {
	protocol string // as Kubernetes spells it
	spelled  []gatewayv1.ProtocolType
	route    gatewayv1.RouteGroupKind
}

// kinds: un-prefixed protocol names are reserved for those that the API defines itself, so SCTP has the prefixed name;
// the plain one is its alias.
var kinds = []kind{
	{"TCP", []gatewayv1.ProtocolType{gatewayv1.TCPProtocolType}, routeKind(gatewayv1.GroupName, KindTCPRoute)},
	{"UDP", []gatewayv1.ProtocolType{gatewayv1.UDPProtocolType}, routeKind(gatewayv1.GroupName, KindUDPRoute)},
	{"SCTP", []gatewayv1.ProtocolType{"ako.vmware.com/SCTP", "SCTP"}, routeKind(v1alpha1.GroupVersion.Group, KindSCTPRoute)},
}

func routeKind(group, kind string) gatewayv1.RouteGroupKind {
	return gatewayv1.RouteGroupKind{Group: new(gatewayv1.Group(group)), Kind: gatewayv1.Kind(kind)}
}

// Protocol is what a listener's protocol means to Kubernetes, whichever way it is spelled; ok is false for one that is
// not for layer 4.
func Protocol(p gatewayv1.ProtocolType) (protocol string, ok bool) {
	for _, k := range kinds {
		if slices.Contains(k.spelled, p) {
			return k.protocol, true
		}
	}
	return string(p), false
}

// inOtherLetters is the protocol of Kubernetes that a listener's would be in other letters, "" if there is none.
func inOtherLetters(p gatewayv1.ProtocolType) string {
	for _, k := range kinds {
		if slices.ContainsFunc(k.spelled, func(s gatewayv1.ProtocolType) bool { return strings.EqualFold(string(s), string(p)) }) {
			return k.protocol
		}
	}
	return ""
}

// RouteKind is the kind of route that carries a protocol of Kubernetes.
func RouteKind(protocol string) string {
	for _, k := range kinds {
		if k.protocol == protocol {
			return string(k.route.Kind)
		}
	}
	return ""
}

// RouteKinds are the kinds of route that there are.
func RouteKinds() []string {
	out := make([]string, len(kinds))
	for i, k := range kinds {
		out[i] = string(k.route.Kind)
	}
	return out
}

func sameKind(a, b gatewayv1.RouteGroupKind) bool {
	return a.Kind == b.Kind && deref(a.Group, gatewayv1.GroupName) == deref(b.Group, gatewayv1.GroupName)
}

// Route is a TCPRoute, a UDPRoute or an SCTPRoute, of which only the kind differs.
type Route struct {
	Kind     string
	Protocol string // that it carries, as Kubernetes spells it
	Object   metav1.Object
	Parents  []gatewayv1.ParentReference
	Backends []gatewayv1.BackendRef
	Status   gatewayv1.RouteStatus
}

// Key is the route's namespace and name.
func (r *Route) Key() types.NamespacedName {
	return types.NamespacedName{Namespace: r.Object.GetNamespace(), Name: r.Object.GetName()}
}

func (r *Route) String() string { return r.Kind + " " + r.Key().String() }

func (r *Route) groupKind() gatewayv1.RouteGroupKind {
	for _, k := range kinds {
		if string(k.route.Kind) == r.Kind {
			return k.route
		}
	}
	return gatewayv1.RouteGroupKind{Kind: gatewayv1.Kind(r.Kind)}
}

// RouteOf reads the kinds of route that there are, nil for anything else.
func RouteOf(o any) *Route {
	switch o := o.(type) {
	case *gatewayv1.TCPRoute:
		r := &Route{Kind: KindTCPRoute, Protocol: "TCP", Object: o, Parents: o.Spec.ParentRefs, Status: o.Status.RouteStatus}
		for _, rule := range o.Spec.Rules {
			r.Backends = append(r.Backends, rule.BackendRefs...)
		}
		return r
	case *gatewayv1.UDPRoute:
		r := &Route{Kind: KindUDPRoute, Protocol: "UDP", Object: o, Parents: o.Spec.ParentRefs, Status: o.Status.RouteStatus}
		for _, rule := range o.Spec.Rules {
			r.Backends = append(r.Backends, rule.BackendRefs...)
		}
		return r
	case *v1alpha1.SCTPRoute:
		r := &Route{Kind: KindSCTPRoute, Protocol: "SCTP", Object: o, Parents: o.Spec.ParentRefs, Status: o.Status.RouteStatus}
		for _, rule := range o.Spec.Rules {
			r.Backends = append(r.Backends, rule.BackendRefs...)
		}
		return r
	}
	return nil
}

// SetParents puts the entries of the parents into a route's status.
func SetParents(o any, parents []gatewayv1.RouteParentStatus) {
	switch o := o.(type) {
	case *gatewayv1.TCPRoute:
		o.Status.Parents = parents
	case *gatewayv1.UDPRoute:
		o.Status.Parents = parents
	case *v1alpha1.SCTPRoute:
		o.Status.Parents = parents
	}
}

// World is what was read around one Gateway.
type World struct {
	Gateway *gatewayv1.Gateway
	// Sets are the ListenerSets whose parent is the Gateway.
	Sets []*gatewayv1.ListenerSet
	// Routes are those that name the Gateway or one of the Sets as a parent.
	Routes []*Route
	Grants []*gatewayv1beta1.ReferenceGrant
	// Services are those that the routes refer to; one that isn't here doesn't exist.
	Services map[types.NamespacedName]*corev1.Service
	// Namespaces holds the labels of the namespaces of all that.
	Namespaces map[string]map[string]string
	// Unread are the kinds of which nothing could be read: what is known to exist of them says nothing about what does.
	Unread map[string]bool
	// Young are the kinds whose type has only just come, perhaps back: that there are none says nothing yet.
	Young map[string]bool
}

// Verdict is what is wrong with something: a reason of the API's, and words for people. The zero value is that nothing is.
type Verdict struct{ Reason, Message string }

// OK reports whether nothing is wrong.
func (v Verdict) OK() bool { return v.Reason == "" }

// View is what the rules make of a World.
type View struct {
	World
	// Listeners are the Gateway's own in the order of its spec, then those of the ListenerSets, oldest first.
	Listeners []*Listener
	// SetVerdicts say of each of the Sets whether the Gateway takes it.
	SetVerdicts []SetVerdict
}

// SetVerdict reports whether the Gateway takes a ListenerSet.
type SetVerdict struct {
	Set *gatewayv1.ListenerSet
	Verdict
}

// Look applies the rules.
func Look(w World) *View {
	v := &View{World: w}
	v.listeners()
	for _, r := range w.Routes {
		for _, ref := range r.Parents {
			for _, l := range v.Attach(r, ref).Listeners {
				if !slices.Contains(l.Routes, r) {
					l.Routes = append(l.Routes, r)
				}
			}
		}
	}
	for _, l := range v.Listeners {
		slices.SortFunc(l.Routes, OlderRoute)
	}
	return v
}

// older is the API's precedence: by age, then by namespace and name.
func older(a, b metav1.Object) int {
	return cmp.Or(age(a).Compare(age(b)), strings.Compare(a.GetNamespace()+"/"+a.GetName(), b.GetNamespace()+"/"+b.GetName()))
}

// OlderRoute orders routes by the API's precedence.
func OlderRoute(a, b *Route) int { return older(a.Object, b.Object) }

func age(o metav1.Object) time.Time { return o.GetCreationTimestamp().Time }

func deref[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}
