// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/avi-l4-operator/avi-l4-operator/controllers"
	"github.com/avi-l4-operator/avi-l4-operator/test/suite"
)

// TestSingleCRDsRemovedAndRestored takes one type after the other away from a Gateway that uses all of them. Each switches
// off only what needs it, which serves on as it is, while everything else follows its endpoints; and back on, without a
// restart. It runs alone: the types are the whole API server's.
func TestSingleCRDsRemovedAndRestored(t *testing.T) {
	e := suite.New(t, suite.WithOptions(func(o *controllers.Options) { o.Refresh = 2 * time.Second }))
	defer e.RestoreCRDs() // whatever happened, the other tests need them
	class := e.Class()
	e.Create(class)
	t.Cleanup(func() { suite.Forget(e, class) })
	other := namespace(e, "core").Name
	gw := e.Gateway("edge", suite.Listener("tcp", "TCP", 7001), suite.Listener("udp", "UDP", 7002), suite.Listener("sctp", "SCTP", 7003),
		suite.Listener("far", "SCTP", 7004))
	gw.Spec.AllowedListeners = &gatewayv1.AllowedListeners{Namespaces: &gatewayv1.ListenerNamespaces{From: new(gatewayv1.NamespacesFromSame)}}
	set := e.ListenerSet("more", "edge", gatewayv1.ListenerEntry{Name: "tcp", Port: 7005, Protocol: "TCP"})
	tcp, udp, sctp, far := e.TCPRoute("tcp", "edge", "tcp", suite.To("tcp", 80, 1)), e.UDPRoute("udp", "edge", "udp", suite.To("udp", 80, 1)),
		e.SCTPRoute("sctp", "edge", "sctp", suite.To("sctp", 80, 1)), e.SCTPRoute("far", "edge", "far", across(other, "far", 80, 1))
	more := e.TCPRoute("more", "more", "tcp", suite.To("more", 80, 1))
	more.Spec.ParentRefs[0].Kind = new(gatewayv1.Kind("ListenerSet"))
	grant := grantFor(suite.Transports[2], other, "far", e.Namespace)
	backend(e, "tcp", "10.244.1.1", suite.Port("TCP", 80))
	backend(e, "udp", "10.244.1.2", suite.Port("UDP", 80))
	backend(e, "sctp", "10.244.1.3", suite.Port("SCTP", 80))
	backendIn(e, other, "far", "10.244.1.4", suite.Port("SCTP", 80))
	backend(e, "more", "10.244.1.5", suite.Port("TCP", 80))
	e.Create(gw, set, tcp, udp, sctp, far, more, grant)
	e.GatewayReady(gw)
	// at is what serves while the endpoints of each Service have moved so many times.
	moves := map[string]int{}
	at := func() (ports []string) {
		for i, p := range []struct{ protocol, service string }{{"TCP", "tcp"}, {"UDP", "udp"}, {"SCTP", "sctp"}, {"SCTP", "far"},
			{"TCP", "more"}} {
			ports = append(ports, fmt.Sprintf("%s/%d %s [10.244.%d.%d:9090]", p.protocol, 7001+i, p.service, 1+moves[p.service], i+1))
		}
		return ports
	}
	move := func(services ...string) {
		t.Helper()
		for _, s := range services {
			moves[s]++
			ns := e.Namespace
			if s == "far" {
				ns = other
			}
			i := slices.Index([]string{"tcp", "udp", "sctp", "far", "more"}, s)
			suite.Update(e, &discovery{ObjectMeta: metav1.ObjectMeta{Name: s, Namespace: ns}}, func(o *discovery) {
				o.Endpoints = []discoveryEndpoint{{Addresses: []string{fmt.Sprintf("10.244.%d.%d", 1+moves[s], i+1)}, Conditions: discoveryv1.EndpointConditions{Ready: new(true)}}}
			})
		}
	}
	tree := e.GatewayServes(gw, at()...)
	// What is left is checked before a type goes and after it came back; removed reports any write but to a pool's servers.
	removed := func(when string) {
		t.Helper()
		for _, w := range e.Writes() {
			if w.Method != "PATCH" || w.Type != "pool" {
				t.Errorf("%s: %s %s %s", when, w.Method, w.Path, w.Body)
			}
		}
		e.Sim.ResetRequests()
	}
	for _, c := range []struct {
		crd     string
		objects []client.Object
		still   []string // Services that follow without it
		held    []string // and those that wait for it
		word    func() string
	}{
		{"udproutes.gateway.networking.k8s.io", []client.Object{udp}, []string{"tcp", "sctp", "far", "more"}, []string{"udp"}, func() string {
			return e.ListenerCondition(gw, "udp", "Programmed", yes, "Programmed")
		}},
		{"listenersets.gateway.networking.k8s.io", []client.Object{set}, []string{"tcp", "udp", "sctp", "far"}, []string{"more"}, func() string {
			return e.GatewayCondition(gw, "Accepted", yes, "Accepted")
		}},
		{"referencegrants.gateway.networking.k8s.io", []client.Object{grant}, []string{"tcp", "udp", "sctp", "far", "more"}, nil, func() string {
			return e.RouteCondition(far, "ResolvedRefs", no, "RefNotPermitted")
		}},
	} {
		var keep []client.Object
		for _, o := range c.objects {
			keep = append(keep, fresh(o))
		}
		e.Sim.ResetRequests()
		e.RemoveCRDs(c.crd)
		e.Eventually("a word about "+c.crd, func() error {
			if m := c.word(); !containsAny(m, "has no such type", "has no type", "has only just") {
				return fmt.Errorf("it says %s", m)
			}
			return nil
		})
		e.GatewayServes(gw, at()...)
		removed("without " + c.crd)
		move(c.still...)
		e.GatewayServes(gw, at()...)
		removed("without " + c.crd + ", while the others move")

		e.RestoreCRDs()
		for _, o := range keep {
			e.Eventually("creating "+o.GetName()+" again", func() error { return client.IgnoreAlreadyExists(e.Client.Create(t.Context(), o)) })
		}
		move(c.held...)
		move("sctp")
		same(t, tree, e.GatewayServes(gw, at()...))
		removed("with " + c.crd + " back")
		e.GatewayReady(gw)
		for name, n := range map[string]int32{"tcp": 1, "udp": 1, "sctp": 1, "far": 1} {
			e.Attached(gw, name, n)
		}
		for _, r := range []client.Object{tcp, udp, sctp, far, more} {
			e.RouteCondition(r, "Accepted", yes, "Accepted")
			e.RouteCondition(r, "ResolvedRefs", yes, "ResolvedRefs")
		}
	}
	// A route's going means something again.
	e.Delete(udp)
	ports := at()
	ports[1] = "UDP/7002 open"
	e.GatewayServes(gw, ports...)
}

// TestRoutedBesideAKO: the Gateway container of AKO, which serves layer 7, may be in the same cluster and use the same Avi
// cluster name. Its classes, Gateways and routes' entries are left alone, and so is what it has on the Controller.
func TestRoutedBesideAKO(t *testing.T) {
	t.Parallel()
	e := suite.New(t, suite.WithOptions(func(o *controllers.Options) { o.Refresh = 500 * time.Millisecond }))
	routedClass(e)
	theirs := classOf(e, "-avi-lb", func(c *gatewayv1.GatewayClass) { c.Spec.ControllerName = "ako.vmware.com/avi-lb" })
	gw := e.Gateway("web", suite.Listener("http", "HTTP", 80), suite.Listener("n2", "SCTP", 38412))
	gw.Spec.GatewayClassName = gatewayv1.ObjectName(theirs.Name)
	gw.Finalizers = []string{"gateway.ako.vmware.com"}
	ours := e.Gateway("edge", suite.Listener("n2", "SCTP", 38412))
	svc := backend(e, "amf", "10.244.1.5", suite.Port("SCTP", 38412))
	route := e.SCTPRoute("amf", "web", "", suite.To(svc.Name, 38412, 1))
	route.Spec.ParentRefs = append(route.Spec.ParentRefs, parentRef{Name: "edge"})
	e.Create(gw)
	t.Cleanup(func() { suite.Forget(e, gw) })
	// AKO's names begin with ako-gw-, its markers and created_by are like ours.
	name := "ako-gw-" + e.Cluster + "--" + e.Namespace + "-web-EVH"
	by, marks := "ako-"+e.Cluster, akoMarks(e, "GatewayNamespace", e.Namespace, "GatewayName", "web")
	for _, o := range []struct {
		kind string
		body map[string]any
	}{
		{"vsvip",
			map[string]any{"name": name, "cloud_ref": "/api/cloud?name=Default-Cloud", "vrf_context_ref": "/api/vrfcontext?name=global",
				"markers": marks,
				"vip": []any{map[string]any{"vip_id": "0", "auto_allocate_ip": true, "ipam_network_subnet": map[string]any{
					"network_ref": "/api/network/?name=vip-network",
					"subnet":      map[string]any{"ip_addr": map[string]any{"addr": "10.10.0.0", "type": "V4"}, "mask": 16}}}}}},
		{"pool",
			map[string]any{"name": name + "-pool", "created_by": by, "cloud_ref": "/api/cloud?name=Default-Cloud",
				"vrf_ref": "/api/vrfcontext?name=global", "markers": marks}},
		{"poolgroup", map[string]any{"name": name + "-group", "created_by": by, "cloud_ref": "/api/cloud?name=Default-Cloud", "markers": marks,
			"members": []any{map[string]any{"pool_ref": "/api/pool?name=" + name + "-pool", "ratio": 1}}}},
		{"virtualservice",
			map[string]any{"name": name, "created_by": by, "cloud_ref": "/api/cloud?name=Default-Cloud",
				"vrf_context_ref":         "/api/vrfcontext?name=global",
				"application_profile_ref": "/api/applicationprofile/?name=System-HTTP", "network_profile_ref": "/api/networkprofile/?name=System-TCP-Proxy",
				"vsvip_ref": "/api/vsvip/?name=" + name, "services": []any{map[string]any{"port": 80, "enable_ssl": false}}, "markers": marks}},
	} {
		if _, err := e.Sim.Create(o.kind, "admin", o.body); err != nil {
			t.Fatal(err)
		}
	}
	before := fmt.Sprint(e.Object("virtualservice", name), e.Object("vsvip", name), e.Object("pool", name+"-pool"),
		e.Object("poolgroup", name+"-group"))
	version := gw.ResourceVersion
	e.Sim.ResetRequests()
	e.Create(ours, route)
	e.GatewayReady(ours)
	e.GatewayServes(ours, "SCTP/38412 amf [10.244.1.5:9090]")
	e.ParentCondition(route,
		gatewayv1.ParentReference{Group: new(gatewayv1.Group(gatewayv1.GroupName)), Kind: new(gatewayv1.Kind("Gateway")), Name: "edge"},
		"Accepted", yes, "Accepted")
	if n := len(route.Status.Parents); n != 1 {
		t.Errorf("the route has %d entries: %+v", n, route.Status.Parents)
	}
	e.Sweeps(2)
	e.Delete(ours)
	gone(e, ours)
	for _, w := range e.Writes() {
		if containsAny(w.Path+string(w.Body), "ako-gw-") {
			t.Errorf("%s %s %s", w.Method, w.Path, w.Body)
		}
	}
	if after := fmt.Sprint(e.Object("virtualservice", name), e.Object("vsvip", name), e.Object("pool", name+"-pool"),
		e.Object("poolgroup", name+"-group")); after != before {
		t.Errorf("AKO's objects were\n%s\nand are\n%s", before, after)
	}
	for _, o := range []client.Object{gw, theirs} {
		if err := e.Read(o); err != nil {
			t.Fatal(err)
		}
	}
	if gw.ResourceVersion != version || len(theirs.Finalizers) > 0 || theirs.Status.Conditions[0].Status != metav1.ConditionUnknown {
		t.Errorf("somebody wrote on AKO's Gateway or class: %+v %+v", gw.ObjectMeta, theirs)
	}
}

func containsAny(s string, parts ...string) bool {
	return slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(s, part) })
}
