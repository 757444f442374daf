// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/avi-l4-operator/avi-l4-operator/test/suite"
)

// analogues are those tests of the API's own suite, by its names, that upstream runs over HTTP and that mean something for
// layer 4. Beside the status they look at what the Controller holds.
var analogues = []struct {
	name string
	test func(*testing.T, *suite.Env, suite.Transport)
}{
	{"GatewayStaticAddresses", gatewayStaticAddresses},
	{"GatewayOptionalAddressValue", gatewayOptionalAddressValue},
	{"GatewayModifyListeners", gatewayModifyListeners},
	{"GatewayObservedGenerationBump", gatewayObservedGenerationBump},
	{"GatewayInvalidRouteKind", gatewayInvalidRouteKind},
	{"GatewayWithAttachedRoutes", gatewayWithAttachedRoutes},
	{"ListenerSetProtocolConflict", listenerSetProtocolConflict},
	{"ListenerSetGatewayParentSectionNameNotFound", listenerSetSectionName},
	{"ReferenceGrant", referenceGrant},
}

// TestRoutedConformance runs them with each protocol, on one class.
func TestRoutedConformance(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	routedClass(e)
	for _, a := range analogues {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			forEach(t, e, a.test)
		})
	}
}

// number gives each protocol's part of a test ports, addresses and so on of its own.
func number(tr suite.Transport) int32 { return int32(slices.Index(suite.Transports, tr)) + 1 }

// gatewayStaticAddresses: one address of a type that nobody knows, one that can't be had and a good one; the first two are
// taken out one after the other.
func gatewayStaticAddresses(t *testing.T, e *suite.Env, tr suite.Transport) {
	usable := fmt.Sprintf("10.10.70.%d", number(tr))
	gw := e.Gateway(called(tr, "static"), suite.Listener("l", tr.Listener, 7001))
	gw.Spec.Addresses = []gatewayv1.GatewaySpecAddress{address("test/fake-invalid-type", "thirteen"), address("IPAddress", "192.0.2.77"),
		address("IPAddress", usable)}
	e.Create(gw)
	nothing := func() {
		t.Helper()
		if e.Object("vsvip", e.GatewayName(gw)) != nil || e.Object("virtualservice", e.GatewayName(gw)) != nil || len(gw.Status.Addresses) > 0 {
			t.Errorf("it has %v, the Controller holds %v", gw.Status.Addresses, e.Owned())
		}
	}
	e.GatewayCondition(gw, "Accepted", no, "UnsupportedAddress")
	nothing()
	suite.Update(e, gw, func(gw *routedGateway) { gw.Spec.Addresses = gw.Spec.Addresses[1:] })
	e.GatewayCondition(gw, "Accepted", yes, "Accepted")
	if m := e.GatewayCondition(gw, "Programmed", no, "AddressNotUsable"); !strings.Contains(m, "192.0.2.77") {
		t.Errorf("it doesn't say which one: %s", m)
	}
	nothing()
	suite.Update(e, gw, func(gw *routedGateway) { gw.Spec.Addresses = gw.Spec.Addresses[1:] })
	e.GatewayCondition(gw, "Accepted", yes, "Accepted")
	if a := e.GatewayReady(gw); a != usable || len(gw.Status.Addresses) != 1 {
		t.Errorf("addresses are %+v", gw.Status.Addresses)
	}
	e.ListenerCondition(gw, "l", "ResolvedRefs", yes, "ResolvedRefs")
	current(t, gw)
	if tree := e.GatewayServes(gw, tr.Protocol+"/7001 open"); !slices.Equal(tree.Addresses, []string{usable}) {
		t.Errorf("the VsVip has %v", tree.Addresses)
	}

	// Another Gateway that wants the same address is told, and the first one isn't disturbed.
	second := e.Gateway(called(tr, "static-too"), suite.Listener("l", tr.Listener, 7002))
	second.Spec.Addresses = gw.Spec.Addresses
	e.Create(second)
	e.GatewayCondition(second, "Accepted", yes, "Accepted")
	if m := e.GatewayCondition(second, "Programmed", no, "AddressNotUsable"); !strings.Contains(m, usable) {
		t.Errorf("it doesn't say which one: %s", m)
	}
	e.GatewayReady(gw)
	e.Delete(gw)
	gone(e, gw)
	suite.Update(e, second, func(gw *routedGateway) { metav1.SetMetaDataAnnotation(&gw.ObjectMeta, "try", "again") })
	if a := e.GatewayReady(second); a != usable {
		t.Errorf("the second has %s", a)
	}

	// Several: each is a VIP, with all ports.
	many := e.Gateway(called(tr, "static-many"), suite.Listener("l", tr.Listener, 7003))
	want := []string{fmt.Sprintf("10.10.71.%d", number(tr)), fmt.Sprintf("10.10.72.%d", number(tr))}
	many.Spec.Addresses = []gatewayv1.GatewaySpecAddress{address("IPAddress", want[0]), address("IPAddress", want[1])}
	e.Create(many)
	e.GatewayReady(many)
	var told []string
	for _, a := range many.Status.Addresses {
		told = append(told, a.Value)
	}
	if !slices.Equal(told, want) {
		t.Errorf("addresses are %v, want %v", told, want)
	}
	if tree := e.GatewayServes(many, tr.Protocol+"/7003 open"); !slices.Equal(tree.Addresses, want) {
		t.Errorf("the VsVip has %v", tree.Addresses)
	}
	e.GatewayCondition(many, "Accepted", yes, "Accepted")
	current(t, many)
}

// TestRoutedStaticAddressOfIPv6 may be written in several ways and is reported in one.
func TestRoutedStaticAddressOfIPv6(t *testing.T) {
	t.Parallel()
	e := suite.New(t, suite.WithConfig("ipFamily", "V6"), suite.WithConfig("vipNetworkList", `[{"networkName":"vip-network","v6cidr":"fd00:10:10::/64"}]`))
	routedClass(e)
	gw := e.Gateway("edge", suite.Listener("n2", "SCTP", 38412))
	gw.Spec.Addresses = []gatewayv1.GatewaySpecAddress{address("IPAddress", "FD00:10:10:0::077")}
	e.Create(gw)
	if a := e.GatewayReady(gw); a != "fd00:10:10::77" || len(gw.Status.Addresses) != 1 {
		t.Errorf("addresses are %+v", gw.Status.Addresses)
	}
	e.GatewayCondition(gw, "Accepted", yes, "Accepted")
	current(t, gw)
	if tree := e.GatewayServes(gw, "SCTP/38412 open"); !slices.Equal(tree.Addresses, []string{"fd00:10:10::77"}) {
		t.Errorf("the VsVip has %v", tree.Addresses)
	}
}

// gatewayOptionalAddressValue: one without a value is allocated; so is one beside a given one, or that is reported.
func gatewayOptionalAddressValue(t *testing.T, e *suite.Env, tr suite.Transport) {
	gw := e.Gateway(called(tr, "empty"), suite.Listener("l", tr.Listener, 7001))
	gw.Spec.Addresses = []gatewayv1.GatewaySpecAddress{{Type: new(gatewayv1.IPAddressType)}}
	e.Create(gw)
	e.GatewayCondition(gw, "Accepted", yes, "Accepted")
	a := e.GatewayReady(gw)
	current(t, gw)
	if tree := e.GatewayServes(gw, tr.Protocol+"/7001 open"); a == "" || !slices.Equal(tree.Addresses, []string{a}) {
		t.Errorf("the VsVip has %v, the status %s", tree.Addresses, a)
	}
	both := e.Gateway(called(tr, "empty-too"), suite.Listener("l", tr.Listener, 7001))
	given := fmt.Sprintf("10.10.73.%d", number(tr))
	both.Spec.Addresses = []gatewayv1.GatewaySpecAddress{address("IPAddress", given), {Type: new(gatewayv1.IPAddressType)}}
	e.Create(both)
	e.GatewayCondition(both, "Accepted", yes, "Accepted")
	e.GatewayCondition(both, "Programmed", no, "AddressNotAssigned")
	e.Told(both, "InvalidAddress", "none is allocated")
	if tree := e.GatewayServes(both, tr.Protocol+"/7001 open"); !slices.Equal(tree.Addresses, []string{given}) || len(both.Status.Addresses) != 1 {
		t.Errorf("the VsVip has %v, the status %v", tree.Addresses, both.Status.Addresses)
	}
	suite.Update(e, both, func(gw *routedGateway) { gw.Spec.Addresses = gw.Spec.Addresses[:1] })
	e.GatewayReady(both)
}

// gatewayModifyListeners adds listeners to a Gateway that serves and takes them away; the others serve on.
func gatewayModifyListeners(t *testing.T, e *suite.Env, tr suite.Transport) {
	gw := e.Gateway(called(tr, "modify"), suite.Listener("first", tr.Listener, 7001))
	svc := backend(e, called(tr, "modify"), "10.244.1.5", portOf(tr, 80))
	route := e.Route(tr.Protocol, called(tr, "modify"), gw.Name, "", suite.To(svc.Name, 80, 1))
	e.Create(gw, route)
	e.GatewayReady(gw)
	behind := " " + svc.Name + " [10.244.1.5:9090]"
	tree := e.GatewayServes(gw, tr.Protocol+"/7001"+behind)
	generation := gw.Generation
	listeners := func(want ...string) {
		t.Helper()
		e.GatewayReady(gw)
		var names, ports []string
		for i, l := range gw.Status.Listeners {
			names = append(names, string(l.Name))
			ports = append(ports, fmt.Sprintf("%s/%d%s", tr.Protocol, gw.Spec.Listeners[i].Port, behind))
			e.Attached(gw, string(l.Name), 1)
			e.ListenerCondition(gw, string(l.Name), "Accepted", yes, "Accepted")
			e.ListenerCondition(gw, string(l.Name), "ResolvedRefs", yes, "ResolvedRefs")
			e.ListenerCondition(gw, string(l.Name), "Programmed", yes, "Programmed")
			if have := kindsOf(listenerOf(t, gw, string(l.Name)).SupportedKinds); !slices.Equal(have,
				[]string{string(tr.Group) + "/" + string(tr.Kind)}) {
				t.Errorf("listener %s supports %v", l.Name, have)
			}
		}
		if !slices.Equal(names, want) {
			t.Errorf("the status has listeners %v, want %v", names, want)
		}
		slices.Sort(ports)
		same(t, tree, e.GatewayServes(gw, ports...))
		current(t, gw)
		e.RouteCondition(route, "Accepted", yes, "Accepted")
		if gw.Generation == generation {
			t.Error("the generation didn't change")
		}
		generation = gw.Generation
	}
	suite.Update(e, gw, func(gw *routedGateway) {
		gw.Spec.Listeners = append(gw.Spec.Listeners, suite.Listener("second", tr.Listener, 7002))
	})
	listeners("first", "second")
	suite.Update(e, gw, func(gw *routedGateway) { gw.Spec.Listeners = gw.Spec.Listeners[1:] })
	listeners("second")
	suite.Update(e, gw, func(gw *routedGateway) { gw.Spec.Listeners[0].Port = 7003 })
	listeners("second")
	suite.Update(e, gw, func(gw *routedGateway) {
		gw.Spec.Listeners = append(gw.Spec.Listeners, suite.Listener("first", tr.Listener, 7001))
	})
	listeners("second", "first")
}

// gatewayObservedGenerationBump: each change of the spec, also one that means nothing to the Controller, is followed by all
// conditions.
func gatewayObservedGenerationBump(t *testing.T, e *suite.Env, tr suite.Transport) {
	gw := e.Gateway(called(tr, "bump"), suite.Listener("l", tr.Listener, 7001))
	svc := backend(e, called(tr, "bump"), "10.244.1.5", portOf(tr, 80))
	route := e.Route(tr.Protocol, called(tr, "bump"), gw.Name, "", suite.To(svc.Name, 80, 1))
	e.Create(gw, route)
	e.GatewayReady(gw)
	tree := e.GatewayServes(gw, tr.Protocol+"/7001 "+svc.Name+" [10.244.1.5:9090]")
	for i := range 3 {
		suite.Update(e, gw, func(gw *routedGateway) {
			gw.Spec.Infrastructure = &gatewayv1.GatewayInfrastructure{Annotations: map[gatewayv1.AnnotationKey]gatewayv1.AnnotationValue{"example.com/n": gatewayv1.AnnotationValue(fmt.Sprint(i))}}
		})
		e.GatewayReady(gw)
		if gw.Generation != int64(i+2) {
			t.Errorf("generation is %d after %d changes", gw.Generation, i+1)
		}
		current(t, gw)
		e.EditRoute(route, func(_ *[]parentRef, to *[]backendRef) { (*to)[0].Weight = new(int32(i + 5)) })
		e.RouteCondition(route, "Accepted", yes, "Accepted")
		e.RouteCondition(route, "ResolvedRefs", yes, "ResolvedRefs")
	}
	same(t, tree, e.GatewayServes(gw, tree.Ports...))
}

// gatewayInvalidRouteKind: a listener for kinds that its protocol doesn't carry takes no route; beside a right one they do
// no harm.
func gatewayInvalidRouteKind(t *testing.T, e *suite.Env, tr suite.Transport) {
	svc := backend(e, called(tr, "kind"), "10.244.1.5", portOf(tr, 80))
	wrong := gatewayv1.RouteGroupKind{Group: new(gatewayv1.Group(gatewayv1.GroupName)), Kind: "InvalidRoute"}
	right := gatewayv1.RouteGroupKind{Group: &tr.Group, Kind: tr.Kind}
	for _, c := range []struct {
		name      string
		allowed   []gatewayv1.RouteGroupKind
		supported []string
		accepted  metav1.ConditionStatus
		because   string
		behind    string
	}{
		{"only-invalid", []gatewayv1.RouteGroupKind{wrong}, nil, no, "NotAllowedByListeners", "open"},
		{"supported-and-invalid", []gatewayv1.RouteGroupKind{wrong, right}, []string{string(tr.Group) + "/" + string(tr.Kind)}, yes, "Accepted", svc.Name + " [10.244.1.5:9090]"},
	} {
		gw := e.Gateway(called(tr, c.name), named("l", tr.Listener, 7001, func(l *gatewayv1.Listener) { l.AllowedRoutes = &gatewayv1.AllowedRoutes{Kinds: c.allowed} }))
		route := e.Route(tr.Protocol, called(tr, c.name), gw.Name, "l", suite.To(svc.Name, 80, 1))
		e.Create(gw, route)
		e.ListenerCondition(gw, "l", "ResolvedRefs", no, "InvalidRouteKinds")
		if have := kindsOf(listenerOf(t, gw, "l").SupportedKinds); !slices.Equal(have, c.supported) {
			t.Errorf("%s: supportedKinds are %v", c.name, have)
		}
		e.RouteCondition(route, "Accepted", c.accepted, c.because)
		e.GatewayServes(gw, tr.Protocol+"/7001 "+c.behind)
		current(t, gw)
	}
}

// gatewayWithAttachedRoutes counts them, those with references that don't resolve included and those that aren't accepted not.
func gatewayWithAttachedRoutes(t *testing.T, e *suite.Env, tr suite.Transport) {
	gw := e.Gateway(called(tr, "count"), suite.Listener("one", tr.Listener, 7001), suite.Listener("other", another(tr).Listener, 7001), suite.Listener("none", tr.Listener, 7002))
	svc := backend(e, called(tr, "count"), "10.244.1.5", portOf(tr, 80))
	to := suite.To(svc.Name, 80, 1)
	a, b := e.Route(tr.Protocol, called(tr, "count-a"), gw.Name, "one", to), e.Route(tr.Protocol, called(tr, "count-b"), gw.Name, "one", to)
	unresolved := e.Route(tr.Protocol, called(tr, "count-c"), gw.Name, "one", suite.To("nobody", 80, 1))
	refused, lost := e.Route(tr.Protocol, called(tr, "count-d"), gw.Name, "other", to), e.Route(tr.Protocol, called(tr, "count-e"), gw.Name,
		"two", to)
	e.Create(gw, a)
	e.Attached(gw, "one", 1)
	e.Create(b, unresolved, refused, lost)
	e.Attached(gw, "one", 3)
	e.Attached(gw, "other", 0)
	e.Attached(gw, "none", 0)
	e.RouteCondition(unresolved, "Accepted", yes, "Accepted")
	e.RouteCondition(refused, "Accepted", no, "NotAllowedByListeners")
	e.RouteCondition(lost, "Accepted", no, "NoMatchingParent")
	e.Eventually("what serves", func() error {
		tree, err := e.GatewayTree(gw)
		if err == nil && (len(tree.Ports) != 3 || !slices.Contains(tree.Ports, tr.Protocol+"/7001 "+svc.Name+" [10.244.1.5:9090]")) {
			err = fmt.Errorf("have %q", tree.Ports)
		}
		return err
	})
	e.Delete(a)
	e.Delete(b)
	e.Attached(gw, "one", 1)
}

// listenerSetProtocolConflict: the Gateway comes first, then the oldest ListenerSet. A set of which a listener is left is
// accepted, one of which none is left is not; when the winner goes, the next has its turn.
func listenerSetProtocolConflict(t *testing.T, e *suite.Env, tr suite.Transport) {
	gw := e.Gateway(called(tr, "sets"), suite.Listener("own", tr.Listener, 7001))
	gw.Spec.AllowedListeners = &gatewayv1.AllowedListeners{Namespaces: &gatewayv1.ListenerNamespaces{From: new(gatewayv1.NamespacesFromSame)}}
	entry := func(name string, port int32) gatewayv1.ListenerEntry {
		return gatewayv1.ListenerEntry{Name: gatewayv1.SectionName(name), Port: port, Protocol: tr.Listener}
	}
	// The younger ones' names come first in the alphabet.
	z := e.ListenerSet(called(tr, "z-oldest"), gw.Name, entry("mine", 7002), entry("gateways", 7001), entry("shared", 7003))
	y := e.ListenerSet(called(tr, "y-none-left"), gw.Name, entry("gateways", 7001))
	b := e.ListenerSet(called(tr, "b-younger"), gw.Name, entry("mine", 7004), entry("shared", 7003))
	a := e.ListenerSet(called(tr, "a-youngest"), gw.Name, entry("shared", 7003))
	routes := make(map[*gatewayv1.ListenerSet]client.Object)
	attach := func(set *gatewayv1.ListenerSet, address string) {
		backend(e, set.Name, address, portOf(tr, 80))
		routes[set] = e.Route(tr.Protocol, set.Name, set.Name, "shared", suite.To(set.Name, 80, 1))
		suite.Edit(routes[set], func(parents *[]parentRef, _ *[]backendRef) { (*parents)[0].Kind = new(gatewayv1.Kind("ListenerSet")) })
		e.Create(routes[set])
	}
	e.Create(gw, z, y)
	attach(z, "10.244.1.1")
	time.Sleep(1100 * time.Millisecond) // creation times have seconds
	e.Create(b)
	attach(b, "10.244.1.2")
	time.Sleep(1100 * time.Millisecond)
	e.Create(a)
	attach(a, "10.244.1.3")

	loses := func(set *gatewayv1.ListenerSet, listener string) {
		t.Helper()
		m := conflict(e, func(kind string, status metav1.ConditionStatus, reason string) string {
			return e.SetListenerCondition(set, listener, kind, status, reason)
		})
		for _, other := range []*gatewayv1.ListenerSet{z, y, b, a} { // which are none of its owner's business
			if other != set && strings.Contains(m, other.Name) {
				t.Errorf("%s learns of %s: %s", set.Name, other.Name, m)
			}
		}
	}
	wins := func(set *gatewayv1.ListenerSet, listener string) {
		t.Helper()
		e.SetListenerCondition(set, listener, "Accepted", yes, "Accepted")
		e.SetListenerCondition(set, listener, "Programmed", yes, "Programmed")
	}
	attached := func(want int32) {
		t.Helper()
		e.Eventually(fmt.Sprintf("%d ListenerSets", want), func() error {
			if err := e.Read(gw); err != nil {
				return err
			}
			if n := gw.Status.AttachedListenerSets; n == nil || *n != want {
				return fmt.Errorf("attachedListenerSets is %v", n)
			}
			return nil
		})
	}
	p := tr.Protocol + "/"
	e.GatewayServes(gw, p+"7001 open", p+"7002 open", p+"7003 "+z.Name+" [10.244.1.1:9090]", p+"7004 open")
	e.GatewayCondition(gw, "Accepted", yes, "Accepted")
	e.ListenerCondition(gw, "own", "Accepted", yes, "Accepted")
	wins(z, "mine")
	wins(z, "shared")
	wins(b, "mine")
	loses(z, "gateways")
	loses(y, "gateways")
	loses(b, "shared")
	loses(a, "shared")
	for set, left := range map[*gatewayv1.ListenerSet]bool{z: true, y: false, b: true, a: false} {
		if left {
			e.SetCondition(set, "Accepted", yes, "ListenersNotValid")
			e.SetCondition(set, "Programmed", yes, "Programmed")
		} else {
			e.SetCondition(set, "Accepted", no, "ListenersNotValid")
			e.SetCondition(set, "Programmed", no, "ListenersNotValid")
		}
	}
	attached(2)
	for _, r := range routes { // whether their listener is valid or not
		e.RouteCondition(r, "Accepted", yes, "Accepted")
	}
	e.Delete(z)
	e.GatewayServes(gw, p+"7001 open", p+"7003 "+b.Name+" [10.244.1.2:9090]", p+"7004 open")
	e.SetCondition(b, "Accepted", yes, "Accepted")
	wins(b, "shared")
	loses(a, "shared")
	e.NoParents(routes[z])
	e.Delete(b)
	e.GatewayServes(gw, p+"7001 open", p+"7003 "+a.Name+" [10.244.1.3:9090]")
	wins(a, "shared")
	attached(1)
	suite.Update(e, gw, func(gw *routedGateway) {
		gw.Spec.Listeners = []gatewayv1.Listener{suite.Listener("own", tr.Listener, 7009)}
	})
	wins(y, "gateways")
	e.SetCondition(y, "Accepted", yes, "Accepted")
	attached(2)
}

// listenerSetSectionName: a Gateway as parent means its own listeners, not those that ListenerSets add.
func listenerSetSectionName(t *testing.T, e *suite.Env, tr suite.Transport) {
	gw := e.Gateway(called(tr, "scoped"), suite.Listener("own", tr.Listener, 7001))
	gw.Spec.AllowedListeners = &gatewayv1.AllowedListeners{Namespaces: &gatewayv1.ListenerNamespaces{From: new(gatewayv1.NamespacesFromAll)}}
	set := e.ListenerSet(called(tr, "scoped-set"), gw.Name, gatewayv1.ListenerEntry{Name: "more", Port: 7002, Protocol: tr.Listener})
	svc := backend(e, called(tr, "scoped"), "10.244.1.5", portOf(tr, 80))
	to := suite.To(svc.Name, 80, 1)
	of := parentRef{Group: new(gatewayv1.Group(gatewayv1.GroupName)), Kind: new(gatewayv1.Kind("Gateway")), Name: gatewayv1.ObjectName(gw.Name), SectionName: new(gatewayv1.SectionName("more"))}
	ofSet := parentRef{Group: of.Group, Kind: new(gatewayv1.Kind("ListenerSet")), Name: gatewayv1.ObjectName(set.Name)}
	both, all := e.Route(tr.Protocol, called(tr, "scoped-both"), "", "", to), e.Route(tr.Protocol, called(tr, "scoped-all"), gw.Name, "", to)
	suite.Edit(both, func(parents *[]parentRef, _ *[]backendRef) { *parents = []parentRef{of, ofSet} })
	e.Create(gw, set, both, all)
	e.ParentCondition(both, of, "Accepted", no, "NoMatchingParent")
	e.ParentCondition(both, ofSet, "Accepted", yes, "Accepted")
	e.RouteCondition(all, "Accepted", yes, "Accepted")
	e.Attached(gw, "own", 1)
	e.SetCondition(set, "Accepted", yes, "Accepted")
	e.Eventually("the set's listener has one route", func() error {
		if err := e.Read(set); err != nil {
			return err
		}
		if l := set.Status.Listeners; len(l) != 1 || l[0].AttachedRoutes != 1 {
			return fmt.Errorf("have %+v", l)
		}
		return nil
	})
	e.GatewayServes(gw, tr.Protocol+"/7001 "+svc.Name+" [10.244.1.5:9090]", tr.Protocol+"/7002 "+svc.Name+" [10.244.1.5:9090]")
}

// referenceGrant is given, narrowed to another Service, widened and withdrawn; the traffic comes and goes with it.
func referenceGrant(t *testing.T, e *suite.Env, tr suite.Transport) {
	other := namespace(e, called(tr, "core")).Name
	backendIn(e, other, "amf", "10.244.1.6", portOf(tr, 80))
	gw := e.Gateway(called(tr, "grant"), suite.Listener("l", tr.Listener, 7001))
	route := e.Route(tr.Protocol, called(tr, "grant"), gw.Name, "", across(other, "amf", 80, 1))
	e.Create(gw, route)
	e.GatewayReady(gw)
	permitted := func(is bool) {
		t.Helper()
		e.RouteCondition(route, "Accepted", yes, "Accepted")
		if is {
			e.RouteCondition(route, "ResolvedRefs", yes, "ResolvedRefs")
			e.GatewayServes(gw, tr.Protocol+"/7001 amf [10.244.1.6:9090]")
			return
		}
		e.RouteCondition(route, "ResolvedRefs", no, "RefNotPermitted")
		e.GatewayServes(gw, tr.Protocol+"/7001 open")
	}
	permitted(false)
	grant := grantFor(tr, other, "edge", e.Namespace)
	e.Create(grant)
	permitted(true)
	grant.Spec.To[0].Name = new(gatewayv1.ObjectName("smf"))
	if err := e.Client.Update(t.Context(), grant); err != nil {
		t.Fatal(err)
	}
	permitted(false)
	second := grantFor(tr, other, "second", e.Namespace, "amf") // any one of them is enough
	e.Create(second)
	permitted(true)
	e.Delete(grant)
	e.LookAgain("gateway", gw)
	permitted(true) // the other grant's going doesn't take it away
	e.Delete(second)
	permitted(false)
	e.Attached(gw, "l", 1)
}
