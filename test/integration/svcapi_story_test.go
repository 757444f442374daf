// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	svcapi "github.com/avi-l4-operator/avi-l4-operator/api/networking/v1alpha1"
	"github.com/avi-l4-operator/avi-l4-operator/controllers"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
	"github.com/avi-l4-operator/avi-l4-operator/test/suite"
)

// gatewayOn makes the class, a Gateway with listeners that take what names it, and nothing behind it.
func gatewayOn(e *suite.Env, name string, listeners ...corev1.ServicePort) *gateway {
	e.T.Helper()
	gw := e.SvcAPIGateway(name)
	for _, p := range listeners {
		gw.Spec.Listeners = append(gw.Spec.Listeners, e.SvcAPIListener(name, svcapi.ProtocolType(p.Protocol), p.Port))
	}
	e.Create(gw)
	return gw
}

// same fails unless the tree's VirtualService, VsVip and address are those of an earlier look.
func same(t *testing.T, was, is suite.Tree) {
	t.Helper()
	if was.VS != is.VS || was.VsVip != is.VsVip || was.Address != is.Address {
		t.Errorf("the Gateway was made anew: %+v, then %+v", was, is)
	}
}

func wantCalls(t *testing.T, e *suite.Env, calls ...string) {
	t.Helper()
	if have := e.Calls(); !slices.Equal(have, calls) {
		t.Errorf("the calls are %q, want %q:\n%s", have, calls, strings.Join(e.Written(), "\n"))
	}
}

// TestGatewayServiceGoesAndReturns: TCP 6060 and SCTP 6060 have Services of their own. One of them goes: its pool and
// rule go with it, the VirtualService, its address and the other port stay. It comes back: so do they.
func TestGatewayServiceGoesAndReturns(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	e.Own(e.SvcAPIClass(nil))
	sctp, tcp := suite.Port("SCTP", 6060), suite.Port("TCP", 6060)
	gw := gatewayOn(e, "n2", sctp, tcp)
	amf, slice := e.SvcAPIAttach(gw, "amf", "10.244.1.5", sctp)
	e.SvcAPIAttach(gw, "web", "10.244.1.6", tcp)
	address := e.SvcAPIReady(gw)
	was := e.SvcAPIServes(gw, "SCTP/6060 amf [10.244.1.5:9090]", "TCP/6060 web [10.244.1.6:9090]")

	e.Sim.ResetRequests()
	e.Delete(slice)
	e.Delete(amf)
	is := e.SvcAPIServes(gw, "SCTP/6060 open", "TCP/6060 web [10.244.1.6:9090]")
	same(t, was, is)
	if m := e.SvcAPIListenerCondition(gw, 6060, "Ready", no, "Pending"); !strings.Contains(m, "TCP/6060: Service web") || !strings.Contains(m,
		"SCTP 6060: no Service is attached") {
		t.Errorf("the listener says %s", m)
	}
	e.SvcAPIListenerCondition(gw, 6060, "ResolvedRefs", yes, "ResolvedRefs") // selecting nothing is no wrong reference
	e.SvcAPICondition(gw, "Ready", no, "ListenersNotReady")
	e.Told(gw, "NoService", "SCTP 6060")
	if len(gw.Status.Addresses) != 1 || gw.Status.Addresses[0].Value != address {
		t.Errorf("the addresses are %v", gw.Status.Addresses)
	}
	for _, c := range e.Calls() {
		if c == "DELETE virtualservice" || c == "DELETE vsvip" || c == "DELETE l4policyset" || strings.HasPrefix(c, "POST") {
			t.Errorf("unwanted: %s", c)
		}
	}

	e.Sim.ResetRequests()
	amf, slice = e.SvcAPIAttach(gw, "amf", "10.244.1.7", sctp)
	is = e.SvcAPIServes(gw, "SCTP/6060 amf [10.244.1.7:9090]", "TCP/6060 web [10.244.1.6:9090]")
	same(t, was, is)
	if now := e.SvcAPIReady(gw); now != address {
		t.Errorf("the address went from %s to %s", address, now)
	}
	for _, c := range e.Calls() {
		if strings.HasPrefix(c, "DELETE") || c == "POST virtualservice" || c == "POST vsvip" {
			t.Errorf("unwanted: %s", c)
		}
	}
	// Endpoints of a Service behind a Gateway are followed, with one write.
	e.Sim.ResetRequests()
	suite.Update(e, slice, func(s *discovery) {
		s.Endpoints = []discoveryEndpoint{endpoint("10.244.1.8", true, false), endpoint("10.244.1.7", true, true)}
	})
	e.SvcAPIServes(gw, "SCTP/6060 amf [10.244.1.7:9090 disabled 10.244.1.8:9090]", "TCP/6060 web [10.244.1.6:9090]")
	wantCalls(t, e, "PATCH pool")
	// The last Service goes too: the Gateway keeps its address.
	e.Delete(amf)
	e.Delete(e.Backend("web", "n2"))
	is = e.SvcAPIServes(gw, "SCTP/6060 open", "TCP/6060 open")
	same(t, was, is)
	e.SvcAPICondition(gw, "Ready", no, "ListenersNotReady")
}

// TestGatewayServicesOfOtherNamespaces: routes.namespaces decides who is taken, and says so.
func TestGatewayServicesOfOtherNamespaces(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	e.Own(e.SvcAPIClass(nil))
	port := suite.Port("SCTP", 6060)
	red := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: e.Namespace + "-red"}}
	gw := e.SvcAPIGateway("n2", e.SvcAPIListener("n2", "SCTP", 6060)) // namespaces left out: Same
	svc := e.Backend("amf", "n2", port)
	svc.Namespace = red.Name
	slice := e.Slice(svc, "10.244.1.5")
	e.Create(red, gw, svc, slice)
	const serves, open = "SCTP/6060 amf [10.244.1.5:9090]", "SCTP/6060 open"
	from := func(n *svcapi.RouteNamespaces) {
		t.Helper()
		suite.Update(e, gw, func(gw *gateway) { gw.Spec.Listeners[0].Routes.Namespaces = n })
	}
	refused := func(parts ...string) {
		t.Helper()
		e.SvcAPIServes(gw, open)
		m := e.SvcAPIListenerCondition(gw, 6060, "Ready", no, "Pending")
		for _, part := range append(parts, red.Name+"/amf", "SCTP 6060") {
			if !strings.Contains(m, part) {
				t.Errorf("no word of %q: %s", part, m)
			}
		}
	}
	refused("routes.namespaces.from", "All", "Selector")
	e.Told(gw, "NoService", red.Name+"/amf")
	was := e.SvcAPIServes(gw, open)

	from(&svcapi.RouteNamespaces{From: new(svcapi.RouteSelectAll)})
	e.SvcAPIServes(gw, serves)
	e.SvcAPIReady(gw)
	suite.Update(e, slice, func(s *discovery) { s.Endpoints = []discoveryEndpoint{endpoint("10.244.1.6", true, false)} })
	e.SvcAPIServes(gw, "SCTP/6060 amf [10.244.1.6:9090]")
	suite.Update(e, slice, func(s *discovery) { s.Endpoints = []discoveryEndpoint{endpoint("10.244.1.5", true, false)} })
	e.SvcAPIServes(gw, serves)

	from(&svcapi.RouteNamespaces{From: new(svcapi.RouteSelectSelector),
		Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"n2": "yes"}}})
	refused("n2")
	suite.Update(e, red, func(n *corev1.Namespace) { n.Labels["n2"] = "yes" })
	e.SvcAPIServes(gw, serves)
	e.SvcAPIReady(gw)
	suite.Update(e, red, func(n *corev1.Namespace) { delete(n.Labels, "n2") })
	refused()
	same(t, was, e.SvcAPIServes(gw, open))

	from(nil)
	refused("routes.namespaces.from")
	e.StopOperator()
	suite.WithOptions(func(o *controllers.Options) { o.IgnoreRouteNamespaces = true })(e)
	e.StartOperator()
	same(t, was, e.SvcAPIServes(gw, serves))
	e.SvcAPIReady(gw)
}

// TestGatewayNeedsConsentOfOtherNamespaces: a listener that selects everything everywhere gets the Services of its own namespace, and of
// others those that name the Gateway, for as long as they do.
func TestGatewayNeedsConsentOfOtherNamespaces(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	e.Own(e.SvcAPIClass(nil))
	red := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: e.Namespace + "-red"}}
	gw := e.SvcAPIGateway("n2", e.SvcAPIListener("n2", "SCTP", 6977))
	gw.Spec.Listeners[0].Routes.Selector = nil
	gw.Spec.Listeners[0].Routes.Namespaces = &svcapi.RouteNamespaces{From: new(svcapi.RouteSelectAll)}
	svc := e.Backend("amf", "n2", suite.Port("SCTP", 6977))
	svc.Namespace, svc.Labels = red.Name, nil
	e.Create(red, svc, e.Slice(svc, "10.244.1.5"), gw)
	// Services of all namespaces are looked at: no other test has this port.
	const serves, open = "SCTP/6977 amf [10.244.1.5:9090]", "SCTP/6977 open"
	alone := func() {
		t.Helper()
		e.SvcAPIServes(gw, open)
		m := e.SvcAPIListenerCondition(gw, 6977, "Ready", no, "Pending")
		if !strings.Contains(m, "ako.vmware.com/gateway-name=n2") || strings.Contains(m, red.Name) {
			t.Errorf("the listener says %s", m) // what is needed, and nothing of what others have
		}
	}
	alone()
	suite.Update(e, svc, func(s *corev1.Service) { s.Labels = e.Labels("n2") })
	e.SvcAPIServes(gw, serves)
	e.SvcAPIReady(gw)
	suite.Update(e, svc, func(s *corev1.Service) { s.Labels = nil })
	alone()
	e.StopOperator()
	suite.WithOptions(func(o *controllers.Options) { o.TakeUnnamed = true })(e)
	e.StartOperator()
	e.SvcAPIServes(gw, serves)
	e.SvcAPIReady(gw)
	suite.Update(e, svc, func(s *corev1.Service) { s.Spec.Ports[0].Port = 6978 })
	e.SvcAPIServes(gw, open)
}

// TestGatewayServiceChangesGateways: its labels name another Gateway than before.
func TestGatewayServiceChangesGateways(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	e.Own(e.SvcAPIClass(nil))
	port := suite.Port("SCTP", 6060)
	one, two := gatewayOn(e, "one", port), gatewayOn(e, "two", port)
	svc, slice := e.SvcAPIAttach(one, "amf", "10.244.1.5", port)
	e.SvcAPIReady(one)
	was1, was2 := e.SvcAPIServes(one, "SCTP/6060 amf [10.244.1.5:9090]"), e.SvcAPIServes(two, "SCTP/6060 open")
	suite.Update(e, svc, func(s *corev1.Service) { s.Labels = e.Labels("two") })
	is1, is2 := e.SvcAPIServes(one, "SCTP/6060 open"), e.SvcAPIServes(two, "SCTP/6060 amf [10.244.1.5:9090]")
	same(t, was1, is1)
	same(t, was2, is2)
	e.SvcAPICondition(one, "Ready", no, "ListenersNotReady")
	e.SvcAPIReady(two)
	suite.Update(e, slice, func(s *discovery) { s.Endpoints = []discoveryEndpoint{endpoint("10.244.1.6", true, false)} })
	e.SvcAPIServes(two, "SCTP/6060 amf [10.244.1.6:9090]")
	// Without labels it is nobody's.
	suite.Update(e, svc, func(s *corev1.Service) { s.Labels = nil })
	same(t, was2, e.SvcAPIServes(two, "SCTP/6060 open"))
	if owned := e.Owned(); owned["pool"] != 0 || owned["virtualservice"] != 2 {
		t.Errorf("the Controller holds %v", owned)
	}
}

// TestGatewayTwoServicesForOneListener: the oldest serves, the other is named, and takes over when it goes.
func TestGatewayTwoServicesForOneListener(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	e.Own(e.SvcAPIClass(nil))
	port := suite.Port("SCTP", 6060)
	gw := gatewayOn(e, "n2", port, suite.Port("TCP", 80))
	first, _ := e.SvcAPIAttach(gw, "z-first", "10.244.1.5", port)
	e.SvcAPIAttach(gw, "web", "10.244.1.9", suite.Port("TCP", 80))
	e.SvcAPIReady(gw)
	was := e.SvcAPIServes(gw, "TCP/80 web [10.244.1.9:9090]", "SCTP/6060 z-first [10.244.1.5:9090]")
	time.Sleep(1100 * time.Millisecond) // creation times have seconds
	e.Sim.ResetRequests()
	e.SvcAPIAttach(gw, "a-second", "10.244.1.6", port)
	m := e.SvcAPIListenerCondition(gw, 6060, "ResolvedRefs", no, "DegradedRoutes")
	for _, part := range []string{"z-first is served", "not served: " + e.Namespace + "/a-second"} {
		if !strings.Contains(m, part) {
			t.Errorf("no word of %q: %s", part, m)
		}
	}
	e.SvcAPIListenerCondition(gw, 6060, "Ready", yes, "Ready")
	e.SvcAPICondition(gw, "Ready", yes, "Ready")
	e.SvcAPICondition(gw, "ako.vmware.com/Accepted", yes, "ServiceConflict")
	e.Told(gw, "ServiceConflict", "a-second")
	wantCalls(t, e)
	e.Delete(first)
	is := e.SvcAPIServes(gw, "TCP/80 web [10.244.1.9:9090]", "SCTP/6060 a-second [10.244.1.6:9090]")
	same(t, was, is)
	e.SvcAPIListenerCondition(gw, 6060, "ResolvedRefs", yes, "ResolvedRefs")
	e.SvcAPIReady(gw)
}

// TestGatewayAndLoadBalancer: a Service of type LoadBalancer has a VirtualService of its own whatever Gateway it names, and
// changes to the Gateway's when its type does.
func TestGatewayAndLoadBalancer(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	e.Own(e.SvcAPIClass(nil))
	port := suite.Port("SCTP", 6060)
	gw := gatewayOn(e, "n2", port)
	svc := e.Service("amf", port)
	svc.Labels = e.Labels("n2")
	e.Create(svc, e.Slice(svc, "10.244.1.5"))
	e.Programmed(svc)
	was := e.SvcAPIServes(gw, "SCTP/6060 open")
	if m := e.SvcAPIListenerCondition(gw, 6060, "Ready", no, "Pending"); !strings.Contains(m, e.Namespace+"/amf is of type LoadBalancer") {
		t.Errorf("the listener says %s", m)
	}
	if got := e.Servers(e.PoolName(svc, port)); fmt.Sprint(got) != "[10.244.1.5:9090]" {
		t.Errorf("its own pool has %v", got)
	}
	suite.Update(e, svc, func(s *corev1.Service) {
		s.Spec.Type, s.Spec.AllocateLoadBalancerNodePorts = corev1.ServiceTypeClusterIP, nil
	})
	same(t, was, e.SvcAPIServes(gw, "SCTP/6060 amf [10.244.1.5:9090]"))
	e.Eventually("its own VirtualService goes", func() error {
		if o := e.Object("virtualservice", e.Name(svc)); o != nil || e.Owned()["vsvip"] != 1 {
			return fmt.Errorf("there are %v", e.Owned())
		}
		return nil
	})
	suite.Update(e, svc, func(s *corev1.Service) { s.Spec.Type = corev1.ServiceTypeLoadBalancer })
	same(t, was, e.SvcAPIServes(gw, "SCTP/6060 open"))
	e.Programmed(svc)
}

// TestGatewayListenersChange: one is added, one removed, and one changes its port. Each change touches what it is about.
func TestGatewayListenersChange(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	e.Own(e.SvcAPIClass(nil))
	sctp, tcp, udp := suite.Port("SCTP", 6060), suite.Port("TCP", 80), suite.Port("UDP", 2152)
	gw := gatewayOn(e, "n2", sctp)
	svc, _ := e.SvcAPIAttach(gw, "amf", "10.244.1.5", sctp, tcp, udp)
	const amf = " amf [10.244.1.5:9090]"
	address := e.SvcAPIReady(gw)
	was := e.SvcAPIServes(gw, "SCTP/6060"+amf)
	pool := func() any { return e.Object("pool", e.SvcAPIPool(gw, "amf", sctp))["uuid"] }
	first := pool()
	change := func(change func(*gateway), ports ...string) {
		t.Helper()
		e.Sim.ResetRequests()
		suite.Update(e, gw, change)
		same(t, was, e.SvcAPIServes(gw, ports...))
		if now := e.SvcAPIReady(gw); now != address {
			t.Errorf("the address went from %s to %s", address, now)
		}
		if len(gw.Status.Listeners) != len(gw.Spec.Listeners) {
			t.Errorf("the status has %+v", gw.Status.Listeners)
		}
	}
	change(func(gw *gateway) { gw.Spec.Listeners = append(gw.Spec.Listeners, e.SvcAPIListener("n2", "TCP", 80)) }, "TCP/80"+amf,
		"SCTP/6060"+amf)
	wantCalls(t, e, "PATCH l4policyset", "PATCH virtualservice", "POST pool")
	change(func(gw *gateway) { gw.Spec.Listeners = append(gw.Spec.Listeners, e.SvcAPIListener("n2", "UDP", 2152)) }, "TCP/80"+amf,
		"UDP/2152"+amf, "SCTP/6060"+amf)
	change(func(gw *gateway) { gw.Spec.Listeners = slices.Delete(gw.Spec.Listeners, 1, 2) }, "UDP/2152"+amf, "SCTP/6060"+amf)
	for _, c := range e.Calls() {
		if strings.HasPrefix(c, "POST") || strings.HasPrefix(c, "DELETE") && c != "DELETE pool" {
			t.Errorf("unwanted: %s", c)
		}
	}
	if now := pool(); now != first {
		t.Errorf("the pool of SCTP 6060 was made anew: %v, then %v", first, now)
	}
	suite.Update(e, svc, func(s *corev1.Service) { s.Spec.Ports[0].Port = 36412 })
	e.SvcAPIServes(gw, "UDP/2152"+amf, "SCTP/6060 open")
	if m := e.SvcAPIListenerCondition(gw, 6060, "Ready", no, "Pending"); !strings.Contains(m, "it has SCTP 36412") {
		t.Errorf("the listener says %s", m)
	}
	change(func(gw *gateway) { gw.Spec.Listeners[0].Port = 36412 }, "UDP/2152"+amf, "SCTP/36412"+amf)
	if owned := e.Owned(); owned["pool"] != 2 {
		t.Errorf("the Controller holds %v", owned)
	}
	e.Delete(gw)
	e.SvcAPIGone(gw)
	if owned := e.Owned(); len(owned) > 0 {
		t.Errorf("left: %v", owned)
	}
}

// TestGatewayAddressOfALiveGateway stays as it is, and says why, until somebody allows the interruption.
func TestGatewayAddressOfALiveGateway(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	e.Own(e.SvcAPIClass(nil))
	port := suite.Port("SCTP", 6060)
	gw := gatewayOn(e, "n2", port)
	_, slice := e.SvcAPIAttach(gw, "amf", "10.244.1.5", port)
	before := e.SvcAPIReady(gw)
	was := e.SvcAPIServes(gw, "SCTP/6060 amf [10.244.1.5:9090]")
	e.Sim.ResetRequests()
	suite.Update(e, gw, func(gw *gateway) { gw.Spec.Addresses = []svcapi.GatewayAddress{{Value: "10.10.60.60"}} })
	m := e.SvcAPICondition(gw, "ako.vmware.com/Accepted", yes, "NeedsReplacement")
	for _, part := range []string{before, "10.10.60.60", "l4.ako.vmware.com/allow-replacement"} {
		if !strings.Contains(m, part) {
			t.Errorf("no word of %q: %s", part, m)
		}
	}
	e.Told(gw, "NeedsReplacement", "10.10.60.60")
	wantCalls(t, e)
	if now := e.SvcAPIReady(gw); now != before {
		t.Errorf("the address is %s, was %s", now, before)
	}
	// What can be changed in place still is.
	suite.Update(e, slice, func(s *discovery) { s.Endpoints = []discoveryEndpoint{endpoint("10.244.1.6", true, false)} })
	same(t, was, e.SvcAPIServes(gw, "SCTP/6060 amf [10.244.1.6:9090]"))

	suite.Update(e, gw, func(gw *gateway) {
		metav1.SetMetaDataAnnotation(&gw.ObjectMeta, translate.AnnotationAllowReplacement, "true")
	})
	e.Eventually("the replacement", func() error {
		tree, err := e.SvcAPITree(gw)
		if err == nil && tree.Address != "10.10.60.60" {
			err = fmt.Errorf("the address is %s", tree.Address)
		}
		return err
	})
	e.SvcAPICondition(gw, "ako.vmware.com/Accepted", yes, "Accepted")
	e.Eventually("the address in the status", func() error {
		if now := e.SvcAPIReady(gw); now != "10.10.60.60" {
			return fmt.Errorf("it is %s", now)
		}
		return nil
	})
	e.SvcAPIServes(gw, "SCTP/6060 amf [10.244.1.6:9090]")
	e.Sim.ResetRequests()
	suite.Update(e, gw, func(gw *gateway) { gw.Spec.Addresses = nil }) // any address will do, so this one does
	e.SvcAPICondition(gw, "Ready", yes, "Ready")
	wantCalls(t, e)
}

// TestGatewayNamespaceLabelGivesAndTakes its Gateways to this operator, as with Services.
func TestGatewayNamespaceLabelGivesAndTakes(t *testing.T) {
	t.Parallel()
	e := suite.New(t, suite.ReleaseHeld())
	e.Own(e.SvcAPIClass(nil))
	port := suite.Port("SCTP", 6060)
	gw := gatewayOn(e, "n2", port)
	e.SvcAPIAttach(gw, "amf", "10.244.1.5", port)
	e.SvcAPIReady(gw)
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: e.Namespace}}
	suite.Update(e, ns, func(n *corev1.Namespace) { delete(n.Labels, "served-by") })
	released(e, gw)
	suite.Update(e, ns, func(n *corev1.Namespace) { n.Labels["served-by"] = e.Namespace })
	e.SvcAPIReady(gw)
	e.SvcAPIServes(gw, "SCTP/6060 amf [10.244.1.5:9090]")
}

// released waits until a Gateway that goes on to exist has nothing of ours any more: no object, finalizer, annotation,
// address, listener, nor condition.
func released(e *suite.Env, gw *gateway) {
	e.T.Helper()
	e.Eventually("the release of Gateway "+gw.Name, func() error {
		if err := e.Client.Get(e.T.Context(), client.ObjectKeyFromObject(gw), gw); err != nil {
			return err
		}
		if o := e.Object("vsvip", e.SvcAPIName(gw)); o != nil {
			return fmt.Errorf("the Controller holds %v", e.Owned())
		}
		if len(gw.Finalizers) > 0 || len(gw.Annotations) > 0 || len(gw.Status.Addresses) > 0 || len(gw.Status.Listeners) > 0 {
			return fmt.Errorf("finalizers %v, annotations %v, status %+v", gw.Finalizers, gw.Annotations, gw.Status)
		}
		for _, c := range gw.Status.Conditions {
			if c.Type != "Scheduled" || c.Status != no || c.Reason != "NotReconciled" {
				return fmt.Errorf("condition %+v", c)
			}
		}
		return nil
	})
}

// TestGatewayAndServiceOfOneName would have the same names on the Controller. The first of them serves; the other says so and
// has its turn.
func TestGatewayAndServiceOfOneName(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	e.Own(e.SvcAPIClass(nil))
	port := suite.Port("SCTP", 6060)
	lb := e.Service("n2", port)
	e.Create(lb, e.Slice(lb, "10.244.1.4"))
	e.Programmed(lb)
	uuid := e.Object("virtualservice", e.Name(lb))["uuid"]
	gw := gatewayOn(e, "n2", port)
	e.SvcAPIAttach(gw, "amf", "10.244.1.5", port)
	if m := e.SvcAPICondition(gw, "ako.vmware.com/Accepted", no, "NameTaken"); !strings.Contains(m, e.Namespace+"/n2") {
		t.Errorf("the message is %s", m)
	}
	e.SvcAPICondition(gw, "Ready", no, "")
	e.Told(gw, "NameTaken", "rename one")
	if now := e.Object("virtualservice", e.Name(lb))["uuid"]; now != uuid {
		t.Error("the Service's VirtualService was replaced")
	}
	e.Programmed(lb)
	e.Delete(lb)
	e.SvcAPIReady(gw)
	e.SvcAPIServes(gw, "SCTP/6060 amf [10.244.1.5:9090]")
}
