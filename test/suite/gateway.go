// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"fmt"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1alpha1"
	"github.com/avi-l4-operator/avi-l4-operator/internal/gatewayapi"
)

// Class is a GatewayClass of gateway.networking.k8s.io that is ours, whose name is the test's own.
func (e *Env) Class() *gatewayv1.GatewayClass {
	return &gatewayv1.GatewayClass{ObjectMeta: metav1.ObjectMeta{Name: e.Cluster},
		Spec: gatewayv1.GatewayClassSpec{ControllerName: gatewayapi.Controller}}
}

// Listener is named after its protocol and port: sctp-38412.
func Listener(name string, protocol gatewayv1.ProtocolType, port int32) gatewayv1.Listener {
	return gatewayv1.Listener{Name: gatewayv1.SectionName(name), Protocol: protocol, Port: port}
}

// Gateway is a Gateway of gateway.networking.k8s.io of the test's class, not yet created.
func (e *Env) Gateway(name string, listeners ...gatewayv1.Listener) *gatewayv1.Gateway {
	return &gatewayv1.Gateway{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: e.Namespace},
		Spec: gatewayv1.GatewaySpec{GatewayClassName: gatewayv1.ObjectName(e.Cluster), Listeners: listeners}}
}

// To refers to a port of a Service of the test's namespace.
func To(service string, port, weight int32) gatewayv1.BackendRef {
	return gatewayv1.BackendRef{Weight: &weight,
		BackendObjectReference: gatewayv1.BackendObjectReference{Name: gatewayv1.ObjectName(service), Port: new(port)}}
}

func (e *Env) common(gateway, section string) gatewayv1.CommonRouteSpec {
	ref := gatewayv1.ParentReference{Name: gatewayv1.ObjectName(gateway)}
	if section != "" {
		ref.SectionName = new(gatewayv1.SectionName(section))
	}
	return gatewayv1.CommonRouteSpec{ParentRefs: []gatewayv1.ParentReference{ref}}
}

// SCTPRoute is attached to a listener of a Gateway, or for "" to all that take it; not yet created.
func (e *Env) SCTPRoute(name, gateway, section string, to ...gatewayv1.BackendRef) *v1alpha1.SCTPRoute {
	return &v1alpha1.SCTPRoute{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: e.Namespace},
		Spec: v1alpha1.SCTPRouteSpec{CommonRouteSpec: e.common(gateway, section), Rules: []v1alpha1.SCTPRouteRule{{BackendRefs: to}}}}
}

// TCPRoute is like SCTPRoute.
func (e *Env) TCPRoute(name, gateway, section string, to ...gatewayv1.BackendRef) *gatewayv1.TCPRoute {
	return &gatewayv1.TCPRoute{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: e.Namespace},
		Spec: gatewayv1.TCPRouteSpec{CommonRouteSpec: e.common(gateway, section), Rules: []gatewayv1.TCPRouteRule{{BackendRefs: to}}}}
}

// UDPRoute is like SCTPRoute.
func (e *Env) UDPRoute(name, gateway, section string, to ...gatewayv1.BackendRef) *gatewayv1.UDPRoute {
	return &gatewayv1.UDPRoute{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: e.Namespace},
		Spec: gatewayv1.UDPRouteSpec{CommonRouteSpec: e.common(gateway, section), Rules: []gatewayv1.UDPRouteRule{{BackendRefs: to}}}}
}

// Transport is a protocol that listeners carry, with what is its own in the API.
type Transport struct {
	Protocol string // as Kubernetes spells it
	Listener gatewayv1.ProtocolType
	Group    gatewayv1.Group // of its routes
	Kind     gatewayv1.Kind
}

// Transports are all of them: the rules that have nothing to do with one protocol are tested with each.
var Transports = []Transport{
	{"TCP", gatewayv1.TCPProtocolType, gatewayv1.GroupName, gatewayapi.KindTCPRoute},
	{"UDP", gatewayv1.UDPProtocolType, gatewayv1.GroupName, gatewayapi.KindUDPRoute},
	{"SCTP", "ako.vmware.com/SCTP", gatewayv1.Group(v1alpha1.GroupVersion.Group), gatewayapi.KindSCTPRoute},
}

// Route is a route of a protocol, attached like SCTPRoute; not yet created.
func (e *Env) Route(protocol, name, gateway, section string, to ...gatewayv1.BackendRef) client.Object {
	switch protocol {
	case "TCP":
		return e.TCPRoute(name, gateway, section, to...)
	case "UDP":
		return e.UDPRoute(name, gateway, section, to...)
	}
	return e.SCTPRoute(name, gateway, section, to...)
}

// Edit changes the parents and backends of a route of any kind that isn't created yet, or is about to be updated.
func Edit(route client.Object, change func(parents *[]gatewayv1.ParentReference, to *[]gatewayv1.BackendRef)) {
	switch r := route.(type) {
	case *gatewayv1.TCPRoute:
		change(&r.Spec.ParentRefs, &r.Spec.Rules[0].BackendRefs)
	case *gatewayv1.UDPRoute:
		change(&r.Spec.ParentRefs, &r.Spec.Rules[0].BackendRefs)
	case *v1alpha1.SCTPRoute:
		change(&r.Spec.ParentRefs, &r.Spec.Rules[0].BackendRefs)
	}
}

// EditRoute is Edit and Update.
func (e *Env) EditRoute(route client.Object, change func(parents *[]gatewayv1.ParentReference, to *[]gatewayv1.BackendRef)) {
	e.T.Helper()
	Update(e, route, func(o client.Object) { Edit(o, change) })
}

// GatewayCondition waits until a Gateway's condition has the status and, unless it is empty, the reason. It returns the message.
func (e *Env) GatewayCondition(gw *gatewayv1.Gateway, kind string, status metav1.ConditionStatus, reason string) string {
	e.T.Helper()
	return e.condition(gw, func() []metav1.Condition { return gw.Status.Conditions }, kind, status, reason)
}

// ListenerCondition is GatewayCondition for a listener.
func (e *Env) ListenerCondition(gw *gatewayv1.Gateway, name, kind string, status metav1.ConditionStatus, reason string) string {
	e.T.Helper()
	return e.condition(gw, func() []metav1.Condition {
		for _, l := range gw.Status.Listeners {
			if string(l.Name) == name {
				return l.Conditions
			}
		}
		return nil
	}, kind, status, reason)
}

// GatewayReady waits until a Gateway is programmed and returns its first address.
func (e *Env) GatewayReady(gw *gatewayv1.Gateway) string {
	e.T.Helper()
	e.GatewayCondition(gw, "Programmed", metav1.ConditionTrue, "")
	if len(gw.Status.Addresses) == 0 {
		e.T.Fatalf("Gateway %s is programmed without an address", gw.Name)
	}
	return gw.Status.Addresses[0].Value
}

// RouteCondition waits until a route's condition at its only parent of ours has the status and reason.
func (e *Env) RouteCondition(route client.Object, kind string, status metav1.ConditionStatus, reason string) string {
	e.T.Helper()
	return e.condition(route, func() []metav1.Condition {
		for _, p := range gatewayapi.RouteOf(route).Status.Parents {
			if p.ControllerName == gatewayapi.Controller {
				return p.Conditions
			}
		}
		return nil
	}, kind, status, reason)
}

// ParentCondition is RouteCondition at one of several parents, which must be written in the status as it is in the spec.
func (e *Env) ParentCondition(route client.Object, ref gatewayv1.ParentReference, kind string, status metav1.ConditionStatus,
	reason string) string {
	e.T.Helper()
	return e.condition(route, func() []metav1.Condition {
		for _, p := range gatewayapi.RouteOf(route).Status.Parents {
			if p.ControllerName == gatewayapi.Controller && apiequality.Semantic.DeepEqual(p.ParentRef, ref) {
				return p.Conditions
			}
		}
		return nil
	}, kind, status, reason)
}

// ListenerSet adds listeners to a Gateway of the test's namespace; not yet created.
func (e *Env) ListenerSet(name, gateway string, listeners ...gatewayv1.ListenerEntry) *gatewayv1.ListenerSet {
	return &gatewayv1.ListenerSet{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: e.Namespace}, Spec: gatewayv1.ListenerSetSpec{
		ParentRef: gatewayv1.ParentGatewayReference{Name: gatewayv1.ObjectName(gateway)}, Listeners: listeners,
	}}
}

// SetCondition is GatewayCondition for a ListenerSet.
func (e *Env) SetCondition(set *gatewayv1.ListenerSet, kind string, status metav1.ConditionStatus, reason string) string {
	e.T.Helper()
	return e.condition(set, func() []metav1.Condition { return set.Status.Conditions }, kind, status, reason)
}

// SetListenerCondition is ListenerCondition for a listener of a ListenerSet.
func (e *Env) SetListenerCondition(set *gatewayv1.ListenerSet, name, kind string, status metav1.ConditionStatus, reason string) string {
	e.T.Helper()
	return e.condition(set, func() []metav1.Condition {
		for _, l := range set.Status.Listeners {
			if string(l.Name) == name {
				return l.Conditions
			}
		}
		return nil
	}, kind, status, reason)
}

// ClassCondition is GatewayCondition for a class.
func (e *Env) ClassCondition(class *gatewayv1.GatewayClass, kind string, status metav1.ConditionStatus, reason string) string {
	e.T.Helper()
	return e.condition(class, func() []metav1.Condition { return class.Status.Conditions }, kind, status, reason)
}

// NoParents waits until a route has no entry of ours.
func (e *Env) NoParents(route client.Object) {
	e.T.Helper()
	e.Eventually("no entry of ours on "+route.GetName(), func() error {
		if err := e.Read(route); err != nil {
			return err
		}
		for _, p := range gatewayapi.RouteOf(route).Status.Parents {
			if p.ControllerName == gatewayapi.Controller {
				return fmt.Errorf("have %+v", p)
			}
		}
		return nil
	})
}

// Attached waits until a listener has the number of routes attached.
func (e *Env) Attached(gw *gatewayv1.Gateway, listener string, want int32) {
	e.T.Helper()
	e.Eventually(fmt.Sprintf("%d routes on %s", want, listener), func() error {
		if err := e.Read(gw); err != nil {
			return err
		}
		for _, l := range gw.Status.Listeners {
			if string(l.Name) == listener && l.AttachedRoutes == want && apimeta.FindStatusCondition(l.Conditions, "Accepted") != nil {
				return nil
			}
		}
		return fmt.Errorf("have %+v", gw.Status.Listeners)
	})
}

// GatewayPool is the name of the pool of a Service's port behind a listener.
func (e *Env) GatewayPool(gw *gatewayv1.Gateway, protocol string, port int32, service string, servicePort int32) string {
	return fmt.Sprintf("%s--%s-%s-%s-%d-%s.%s-%d", e.Cluster, gw.Namespace, gw.Name, protocol, port, gw.Namespace, service, servicePort)
}

// GatewayName of a Gateway's VirtualService, VsVip and L4PolicySet.
func (e *Env) GatewayName(gw *gatewayv1.Gateway) string {
	return e.Cluster + "--" + gw.Namespace + "-" + gw.Name
}
