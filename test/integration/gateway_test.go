// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1alpha1"
	"github.com/avi-l4-operator/avi-l4-operator/test/suite"
)

// backend creates a Service with endpoints that no Gateway of the Services API has an eye on.
func backend(e *suite.Env, name, address string, ports ...corev1.ServicePort) *corev1.Service {
	e.T.Helper()
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: e.Namespace},
		Spec: corev1.ServiceSpec{Selector: map[string]string{"app": name}, Ports: ports}}
	e.Create(svc, e.Slice(svc, address))
	return svc
}

func routedClass(e *suite.Env) *gatewayv1.GatewayClass {
	e.T.Helper()
	class := e.Class()
	e.Create(class)
	e.T.Cleanup(func() { suite.Forget(e, class) })
	return class
}

func classCondition(e *suite.Env, class *gatewayv1.GatewayClass, kind string) *metav1.Condition {
	if e.Read(class) != nil {
		return nil
	}
	for i := range class.Status.Conditions {
		if c := &class.Status.Conditions[i]; c.Type == kind && c.ObservedGeneration == class.Generation {
			return c
		}
	}
	return nil
}

// TestRoutedGatewayCarriesThreeProtocolsOnOnePort goes from nothing to a Gateway with a route of each kind, and back.
func TestRoutedGatewayCarriesThreeProtocolsOnOnePort(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	class := routedClass(e)
	gw := e.Gateway("edge", suite.Listener("tcp", "TCP", 6060), suite.Listener("udp", "UDP", 6060),
		suite.Listener("sctp", "ako.vmware.com/SCTP", 6060))
	backend(e, "app", "10.244.1.5", suite.Port("TCP", 80), suite.Port("UDP", 80), suite.Port("SCTP", 80))
	routes := []client.Object{e.TCPRoute("t", "edge", "", suite.To("app", 80, 1)), e.UDPRoute("u", "edge", "", suite.To("app", 80, 1)),
		e.SCTPRoute("s", "edge", "", suite.To("app", 80, 1))}
	e.Create(gw)
	e.Create(routes...)
	if a := e.GatewayReady(gw); !strings.HasPrefix(a, "10.10.") {
		t.Errorf("address is %s", a)
	}
	for _, name := range []string{"tcp", "udp", "sctp"} {
		e.Attached(gw, name, 1)
		e.ListenerCondition(gw, name, "Accepted", metav1.ConditionTrue, "Accepted")
		e.ListenerCondition(gw, name, "Programmed", metav1.ConditionTrue, "Programmed")
		e.ListenerCondition(gw, name, "ResolvedRefs", metav1.ConditionTrue, "ResolvedRefs")
	}
	for _, r := range routes {
		e.RouteCondition(r, "Accepted", metav1.ConditionTrue, "Accepted")
		e.RouteCondition(r, "ResolvedRefs", metav1.ConditionTrue, "ResolvedRefs")
	}
	for _, p := range []string{"TCP", "UDP", "SCTP"} {
		pool := e.GatewayPool(gw, p, 6060, "app", 80)
		e.Eventually("servers of "+pool, func() error {
			if got := fmt.Sprint(e.Servers(pool)); got != "[10.244.1.5:9090]" {
				return fmt.Errorf("have %s of %v", got, e.Owned())
			}
			return nil
		})
	}
	e.Eventually("the class", func() error {
		a, v := classCondition(e, class, "Accepted"), classCondition(e, class, "SupportedVersion")
		if a == nil || a.Status != metav1.ConditionTrue || v == nil || v.Status != metav1.ConditionTrue || len(class.Finalizers) != 1 ||
			!slices.IsSortedFunc(class.Status.SupportedFeatures,
				func(a, b gatewayv1.SupportedFeature) int { return strings.Compare(string(a.Name), string(b.Name)) }) {
			return fmt.Errorf("status %+v, finalizers %v", class.Status, class.Finalizers)
		}
		return nil
	})
	e.Delete(routes[2])
	e.Attached(gw, "sctp", 0)
	e.Eventually("the pool goes with its route", func() error {
		if n := e.Owned()["pool"]; n != 2 {
			return fmt.Errorf("%d pools", n)
		}
		return nil
	})
	restart(t, e, looked{"gateway", objects(gw)}, looked{"gatewayclass", objects(class)},
		looked{"TCPRoute", routes[:1]}, looked{"UDPRoute", routes[1:2]})
	e.Delete(gw)
	e.Eventually("everything goes", func() error {
		if n := e.Owned(); len(n) > 0 {
			return fmt.Errorf("the Controller holds %v", n)
		}
		return nil
	})
	e.NoParents(routes[0])
}

// TestSCTPRouteRules: the API server refuses what it refuses of the API's own routes.
func TestSCTPRouteRules(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	to := suite.To("amf", 38412, 1)
	for name, change := range map[string]func(*v1alpha1.SCTPRoute){
		"the same parent twice": func(r *v1alpha1.SCTPRoute) {
			r.Spec.ParentRefs = append(r.Spec.ParentRefs, r.Spec.ParentRefs[0])
		},
		"the same parent with and without a section": func(r *v1alpha1.SCTPRoute) {
			second := r.Spec.ParentRefs[0]
			second.SectionName = new(gatewayv1.SectionName("n2"))
			r.Spec.ParentRefs = append(r.Spec.ParentRefs, second)
		},
		"no rule":                func(r *v1alpha1.SCTPRoute) { r.Spec.Rules = nil },
		"two rules":              func(r *v1alpha1.SCTPRoute) { r.Spec.Rules = append(r.Spec.Rules, r.Spec.Rules[0]) },
		"no backend":             func(r *v1alpha1.SCTPRoute) { r.Spec.Rules[0].BackendRefs = nil },
		"a Service without port": func(r *v1alpha1.SCTPRoute) { r.Spec.Rules[0].BackendRefs[0].Port = nil },
		"a negative weight":      func(r *v1alpha1.SCTPRoute) { r.Spec.Rules[0].BackendRefs[0].Weight = new(int32(-1)) },
	} {
		r := e.SCTPRoute("bad", "edge", "", to)
		change(r)
		if err := e.Client.Create(t.Context(), r); !apierrors.IsInvalid(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	good := e.SCTPRoute("good", "edge", "n2", to)
	good.Spec.ParentRefs = append(good.Spec.ParentRefs, gatewayv1.ParentReference{Name: "edge", SectionName: new(gatewayv1.SectionName("s1"))})
	e.Create(good)
}

// namespace is another one that the test's operator serves.
func namespace(e *suite.Env, suffix string) *corev1.Namespace {
	e.T.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: e.Namespace + "-" + suffix, Labels: map[string]string{"served-by": e.Cluster}}}
	e.Create(ns)
	return ns
}

// relabel gives a Namespace labels besides the one by which it is served.
func relabel(e *suite.Env, ns *corev1.Namespace, labels map[string]string) {
	e.T.Helper()
	suite.Update(e, ns, func(ns *corev1.Namespace) {
		ns.Labels = map[string]string{"served-by": e.Cluster}
		maps.Copy(ns.Labels, labels)
	})
}

// shared is a part of a test that has the operator and the class in common with others, and a namespace of its own.
type shared struct {
	name string
	test func(*testing.T, *suite.Env)
}

// inOne runs the parts of a test beside each other.
func inOne(t *testing.T, e *suite.Env, parts []shared) {
	for _, p := range parts {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			p.test(t, e.Apart(t))
		})
	}
}
