// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/avi-l4-operator/avi-l4-operator/test/suite"
)

// selecting has a listener take routes of selected namespaces.
func selecting(s *metav1.LabelSelector) func(*gatewayv1.Listener) {
	return func(l *gatewayv1.Listener) {
		l.AllowedRoutes = &gatewayv1.AllowedRoutes{
			Namespaces: &gatewayv1.RouteNamespaces{From: new(gatewayv1.NamespacesFromSelector), Selector: s}}
	}
}

func expression(operator metav1.LabelSelectorOperator, values ...string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "site", Operator: operator, Values: values}}}
}

// routedInputs are Gateways that the API server takes and that are wrong somewhere. Each has the listeners web, TCP 80, and
// n2, SCTP 6060, a route for each and a Service behind them, and is right but for what spoil does to it.
var routedInputs = []struct {
	name  string
	spoil func(*routedGateway)
	// fresh are the ports that the Controller holds for one that is wrong from the beginning, none if it holds nothing, and
	// live those of one that was served before, none if all go on. "amf" is the Service, with its server.
	fresh, live []string
	// condition of listener n2 that reports it, with status, reason and parts of the message; of the Gateway if it has none.
	listener  bool
	condition string
	status    metav1.ConditionStatus
	reason    string
	says      []string
	event     string
}{
	{
		name: "protocol-unknown", spoil: func(gw *routedGateway) { gw.Spec.Listeners[1].Protocol = "QUIC" },
		fresh: []string{"TCP/80 amf"}, live: []string{"TCP/80 amf"},
		listener: true, condition: "Accepted", status: no, reason: "UnsupportedProtocol",
		says: []string{"QUIC", "TCP, UDP, ako.vmware.com/SCTP, SCTP"}, event: "UnsupportedProtocol",
	}, {
		name: "protocol-of-layer-7", spoil: func(gw *routedGateway) { gw.Spec.Listeners[1].Protocol = gatewayv1.HTTPProtocolType },
		fresh: []string{"TCP/80 amf"}, live: []string{"TCP/80 amf"},
		listener: true, condition: "Accepted", status: no, reason: "UnsupportedProtocol", says: []string{"HTTP"}, event: "UnsupportedProtocol",
	}, {
		name: "protocol-in-small-letters", spoil: func(gw *routedGateway) { gw.Spec.Listeners[1].Protocol = "sctp" },
		fresh:    []string{"TCP/80 amf"},
		listener: true, condition: "Accepted", status: no, reason: "UnsupportedProtocol", says: []string{"sctp", "in capitals"},
		event: "UnsupportedProtocol",
	}, {
		name: "prefixed-protocol-in-small-letters", spoil: func(gw *routedGateway) { gw.Spec.Listeners[1].Protocol = "ako.vmware.com/sctp" },
		fresh:    []string{"TCP/80 amf"},
		listener: true, condition: "Accepted", status: no, reason: "UnsupportedProtocol", says: []string{"ako.vmware.com/sctp", "in capitals"},
		event: "UnsupportedProtocol",
	}, {
		name: "protocol-of-another-domain", spoil: func(gw *routedGateway) { gw.Spec.Listeners[1].Protocol = "example.com/SCTP" },
		fresh: []string{"TCP/80 amf"}, live: []string{"TCP/80 amf"},
		listener: true, condition: "Accepted", status: no, reason: "UnsupportedProtocol", says: []string{"example.com/SCTP"},
		event: "UnsupportedProtocol",
	}, {
		name: "protocol-garbage", spoil: func(gw *routedGateway) { gw.Spec.Listeners[1].Protocol = "a b/SCTP" }, // the API's pattern isn't anchored
		fresh: []string{"TCP/80 amf"}, live: []string{"TCP/80 amf"},
		listener: true, condition: "Accepted", status: no, reason: "UnsupportedProtocol", says: []string{"a b/SCTP"},
		event: "UnsupportedProtocol",
	}, {
		name: "listener-twice-by-alias", spoil: func(gw *routedGateway) {
			gw.Spec.Listeners = append(gw.Spec.Listeners, suite.Listener("again", "ako.vmware.com/SCTP", 6060))
		},
		fresh:    []string{"TCP/80 amf"},
		listener: true, condition: "Conflicted", status: yes, reason: "ProtocolConflict", says: []string{"listener again", "SCTP 6060"},
		event: "ListenerConflict",
	}, {
		name: "listener-twice-by-hostname", spoil: func(gw *routedGateway) {
			gw.Spec.Listeners = append(gw.Spec.Listeners, named("again", "SCTP", 6060, hostname("amf.example.com")))
		},
		fresh:    []string{"TCP/80 amf"},
		listener: true, condition: "Conflicted", status: yes, reason: "ProtocolConflict", says: []string{"listener again", "SCTP 6060"},
		event: "ListenerConflict",
	}, {
		name: "tls", spoil: func(gw *routedGateway) { passthrough(&gw.Spec.Listeners[1]) },
		fresh:    []string{"TCP/80 amf"},
		listener: true, condition: "Accepted", status: no, reason: "UnsupportedValue", says: []string{"tls", "remove it"}, event: "UnusedField",
	}, {
		name: "hostname-is-a-wildcard", spoil: func(gw *routedGateway) { hostname("*.example.com")(&gw.Spec.Listeners[1]) },
		fresh:    []string{"TCP/80 amf", "SCTP/6060 amf"},
		listener: true, condition: "Programmed", status: yes, reason: "Programmed", says: []string{"*.example.com", "wildcard"},
	}, {
		name: "selector-with-nonsense", spoil: func(gw *routedGateway) { selecting(expression("Near", "far"))(&gw.Spec.Listeners[1]) },
		fresh: []string{"TCP/80 amf", "SCTP/6060 open"}, live: []string{"TCP/80 amf", "SCTP/6060 open"},
		listener: true, condition: "Accepted", status: yes, reason: "Accepted",
		says: []string{"allowedRoutes.namespaces.selector", "Near", "no namespace matches"}, event: "InvalidRoutes",
	}, {
		name: "selector-without-values", spoil: func(gw *routedGateway) { selecting(expression("In"))(&gw.Spec.Listeners[1]) },
		fresh: []string{"TCP/80 amf", "SCTP/6060 open"}, live: []string{"TCP/80 amf", "SCTP/6060 open"},
		listener: true, condition: "Accepted", status: yes, reason: "Accepted", says: []string{"allowedRoutes.namespaces.selector"},
		event: "InvalidRoutes",
	}, {
		name: "selector-with-a-value-that-no-label-has", spoil: func(gw *routedGateway) {
			selecting(&metav1.LabelSelector{MatchLabels: map[string]string{"site": "not a label"}})(&gw.Spec.Listeners[1])
		},
		fresh: []string{"TCP/80 amf", "SCTP/6060 open"}, live: []string{"TCP/80 amf", "SCTP/6060 open"},
		listener: true, condition: "Accepted", status: yes, reason: "Accepted",
		says: []string{"allowedRoutes.namespaces.selector", "not a label"}, event: "InvalidRoutes",
	}, {
		name: "selector-missing", spoil: func(gw *routedGateway) { selecting(nil)(&gw.Spec.Listeners[1]) },
		fresh: []string{"TCP/80 amf", "SCTP/6060 open"}, live: []string{"TCP/80 amf", "SCTP/6060 open"},
		listener: true, condition: "Accepted", status: yes, reason: "Accepted", says: []string{"allowedRoutes.namespaces.from is Selector", "no selector"}, event: "InvalidRoutes",
	}, {
		name: "kinds-of-layer-7", spoil: func(gw *routedGateway) {
			gw.Spec.Listeners[1].AllowedRoutes = &gatewayv1.AllowedRoutes{
				Kinds: []gatewayv1.RouteGroupKind{{Kind: "HTTPRoute"}, {Group: new(gatewayv1.Group("")), Kind: "Service"}}}
		},
		fresh: []string{"TCP/80 amf", "SCTP/6060 open"}, live: []string{"TCP/80 amf", "SCTP/6060 open"},
		listener: true, condition: "ResolvedRefs", status: no, reason: "InvalidRouteKinds", says: []string{"gateway.networking.k8s.io/HTTPRoute, Service", "ako.vmware.com/SCTPRoute"},
	}, {
		name: "address-with-leading-zeros", spoil: func(gw *routedGateway) {
			gw.Spec.Addresses = []gatewayv1.GatewaySpecAddress{address("IPAddress", "010.10.61.1")}
		},
		condition: "Programmed", status: no, reason: "AddressNotUsable", says: []string{"spec.addresses[0]", "010.10.61.1", "not an IP address"},
		event: "InvalidAddress",
	}, {
		name: "address-of-this-host", spoil: func(gw *routedGateway) {
			gw.Spec.Addresses = []gatewayv1.GatewaySpecAddress{address("IPAddress", "127.0.0.1")}
		},
		condition: "Programmed", status: no, reason: "AddressNotUsable", says: []string{"spec.addresses[0]", "127.0.0.1", "loopback"},
		event: "InvalidAddress",
	}, {
		name: "address-of-an-odd-type", spoil: func(gw *routedGateway) {
			gw.Spec.Addresses = []gatewayv1.GatewaySpecAddress{address("IPAddressX", "10.10.61.2")} // nor is this pattern anchored
		},
		condition: "Accepted", status: no, reason: "UnsupportedAddress",
		says: []string{"spec.addresses[0]", "IPAddressX", "give type IPAddress"}, event: "UnsupportedAddress",
	}, {
		name: "address-is-a-hostname", spoil: func(gw *routedGateway) {
			gw.Spec.Addresses = []gatewayv1.GatewaySpecAddress{address("Hostname", "edge.example.com")}
		},
		condition: "Accepted", status: no, reason: "UnsupportedAddress", says: []string{"Hostname"}, event: "UnsupportedAddress",
	}, {
		name: "address-has-a-name", spoil: func(gw *routedGateway) {
			gw.Spec.Addresses = []gatewayv1.GatewaySpecAddress{address("NamedAddress", "n2")}
		},
		condition: "Accepted", status: no, reason: "UnsupportedAddress", says: []string{"NamedAddress"}, event: "UnsupportedAddress",
	}, {
		name: "parameters-of-another-kind", spoil: func(gw *routedGateway) { gw.Spec.Infrastructure = parameters("", "ConfigMap", "config") },
		condition: "Accepted", status: no, reason: "InvalidParameters", says: []string{"spec.infrastructure.parametersRef", "ConfigMap"},
		event: "InvalidParameters",
	}, {
		name: "parameters-of-another-group", spoil: func(gw *routedGateway) { gw.Spec.Infrastructure = parameters("example.com", "AviInfraSetting", "x") },
		condition: "Accepted", status: no, reason: "InvalidParameters", says: []string{"example.com"}, event: "InvalidParameters",
	}, {
		name: "parameters-missing", spoil: func(gw *routedGateway) {
			gw.Spec.Infrastructure = parameters("ako.vmware.com", "AviInfraSetting", "there-is-none")
		},
		condition: "Accepted", status: no, reason: "InvalidParameters", says: []string{"there-is-none"}, event: "InfraSettingMissing",
	}, {
		name: "listener-sets-by-a-selector-with-nonsense", spoil: func(gw *routedGateway) {
			gw.Spec.AllowedListeners = &gatewayv1.AllowedListeners{
				Namespaces: &gatewayv1.ListenerNamespaces{From: new(gatewayv1.NamespacesFromSelector), Selector: expression("Near", "far")}}
		},
		fresh:     []string{"TCP/80 amf", "SCTP/6060 amf"},
		condition: "Programmed", status: yes, reason: "Programmed",
	},
}

// TestRoutedInput has what the API server takes and is wrong all the same.
func TestRoutedInput(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	routedClass(e)
	inOne(t, e, []shared{
		{"gateways", badGateways},
		{"parents-that-are-none", parentsThatAreNone},
		{"many-listeners", manyListeners},
		{"names-too-long", namesTooLong},
		{"ports-of-endpoints", portsOfEndpoints},
		{"name-taken-by-the-services-api", nameTaken},
	})
}

// badGateways has all of them at once beside a good Gateway, which is never touched. Each says what is wrong and what
// to do, and its other listeners are served; once fixed it is served as a whole. Wrong again while it serves, it loses
// nothing but what the API takes away, and what serves follows its endpoints.
func badGateways(t *testing.T, e *suite.Env) {
	create := func(e *suite.Env, name string, server string, spoil func(*routedGateway)) (*routedGateway, *discovery, [2]client.Object) {
		gw := e.Gateway(name, suite.Listener("web", "TCP", 80), suite.Listener("n2", "SCTP", 6060))
		spoil(gw)
		svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: e.Namespace},
			Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{suite.Port("TCP", 80), suite.Port("SCTP", 6060)}}}
		slice := e.Slice(svc, server)
		routes := [2]client.Object{e.TCPRoute(name, name, "", suite.To(name, 80, 1)), e.SCTPRoute(name, name, "", suite.To(name, 6060, 1))}
		e.Create(svc, slice, gw, routes[0], routes[1])
		return gw, slice, routes
	}
	good, _, _ := create(e, "good", "10.244.0.1", func(*routedGateway) {})
	e.GatewayReady(good)
	neighbour := e.GatewayServes(good, "TCP/80 good [10.244.0.1:9090]", "SCTP/6060 good [10.244.0.1:9090]")
	before := len(e.Written(neighbour))
	t.Cleanup(func() {
		if w := e.Written(neighbour)[before:]; len(w) > 0 {
			t.Errorf("the good Gateway was written: %v", w)
		}
	})
	for i, c := range routedInputs {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			e := e.In(t)
			server, moved := fmt.Sprintf("10.244.1.%d", i+1), fmt.Sprintf("10.244.2.%d", i+1)
			gw, slice, routes := create(e, c.name, server, c.spoil)
			ports := func(list []string, server string) []string {
				out := slices.Clone(list)
				for j := range out {
					out[j] = strings.Replace(out[j], "amf", c.name+" ["+server+":9090]", 1)
				}
				return out
			}
			whole := []string{"TCP/80 amf", "SCTP/6060 amf"}
			told := func() {
				t.Helper()
				var m string
				if c.listener {
					m = e.ListenerCondition(gw, "n2", c.condition, c.status, c.reason)
					e.ListenerCondition(gw, "web", "Programmed", yes, "Programmed")
				} else {
					m = e.GatewayCondition(gw, c.condition, c.status, c.reason)
				}
				for _, c := range gw.Status.Conditions {
					m += "; " + c.Message
				}
				for _, part := range c.says {
					if !strings.Contains(m, part) {
						t.Errorf("no word of %q: %s", part, m)
					}
				}
				current(t, gw)
			}
			told()
			if c.fresh == nil {
				if e.Object("virtualservice", e.GatewayName(gw)) != nil || e.Object("vsvip", e.GatewayName(gw)) != nil {
					t.Error("it has objects on the Controller")
				}
			} else {
				e.GatewayServes(gw, ports(c.fresh, server)...)
			}
			if c.event != "" {
				e.Told(gw, c.event, c.says[0])
			}

			right := e.Gateway(c.name, suite.Listener("web", "TCP", 80), suite.Listener("n2", "SCTP", 6060)).Spec
			fix := func() {
				t.Helper()
				suite.Update(e, gw, func(gw *routedGateway) { gw.Spec = right })
				e.GatewayCondition(gw, "Accepted", yes, "Accepted")
				e.GatewayReady(gw)
			}
			fix()
			tree := e.GatewayServes(gw, ports(whole, server)...)
			for _, r := range routes {
				e.RouteCondition(r, "Accepted", yes, "Accepted")
			}

			paid := len(e.Written(tree))
			suite.Update(e, gw, c.spoil)
			if c.fresh != nil || c.condition == "Accepted" {
				told()
			} else { // an address is not changed on what serves
				e.GatewayCondition(gw, "Programmed", no, "AddressNotUsable")
			}
			left := c.live
			if left == nil {
				left = whole
			}
			same(t, tree, e.GatewayServes(gw, ports(left, server)...))
			suite.Update(e, slice, func(s *discovery) { s.Endpoints = []discoveryEndpoint{endpoint(moved, true, false)} })
			same(t, tree, e.GatewayServes(gw, ports(left, moved)...))
			if c.live == nil {
				for _, w := range e.Written(tree)[paid:] {
					if !strings.Contains(w, moved) && !strings.Contains(w, "PATCH /api/vsvip/") { // whose DNS names follow hostnames
						t.Errorf("it cost the write %s", w)
					}
				}
			}
			fix()
			same(t, tree, e.GatewayServes(gw, ports(whole, moved)...))
			e.Delete(gw)
			gone(e, gw)
		})
	}
}

// parentsThatAreNone: routes whose parent is nothing of ours are nobody's business, and disturb nobody.
func parentsThatAreNone(t *testing.T, e *suite.Env) {
	gw := e.Gateway("edge", suite.Listener("n2", "SCTP", 38412))
	e.Create(gw)
	e.GatewayReady(gw)
	tree := e.GatewayServes(gw, "SCTP/38412 open")
	before := len(e.Written(tree))
	kind := func(group gatewayv1.Group, kind gatewayv1.Kind, name gatewayv1.ObjectName) parentRef {
		return parentRef{Group: &group, Kind: &kind, Name: name}
	}
	elsewhere := kind(gatewayv1.GroupName, "Gateway", "edge")
	elsewhere.Namespace = new(gatewayv1.Namespace("default"))
	parents := map[string]parentRef{
		"missing-gateway": kind(gatewayv1.GroupName, "Gateway", "nobody"), "missing-namespace": elsewhere,
		"missing-set": kind(gatewayv1.GroupName, "ListenerSet", "edge"),
		"a-service":   kind("", "Service", "edge"), "of-the-services-api": kind("networking.x-k8s.io", "Gateway", "edge"),
		"another-kind": kind(gatewayv1.GroupName, "GatewayClass", "edge"),
	}
	forEach(t, e, func(t *testing.T, e *suite.Env, tr suite.Transport) {
		routes := make(map[string]client.Object)
		for name, ref := range parents {
			routes[name] = e.Route(tr.Protocol, called(tr, name), "", "", suite.To("amf", 80, 1))
			suite.Edit(routes[name], func(parents *[]parentRef, _ *[]backendRef) { *parents = []parentRef{ref} })
			e.Create(routes[name])
		}
		right := e.Route(tr.Protocol, called(tr, "right"), "edge", "", suite.To("amf", 80, 1))
		e.Create(right)
		e.RouteCondition(right, "ResolvedRefs", no, "BackendNotFound") // by now the others were looked at, too
		for name, route := range routes {
			t.Run(name, func(t *testing.T) { e.In(t).NoParents(route) })
		}
	})
	t.Cleanup(func() {
		if w := e.Written(tree)[before:]; len(w) > 0 {
			t.Errorf("they cost writes: %v", w)
		}
	})
}

// manyListeners: with those of its ListenerSets a Gateway may have more than the 64 that its own spec takes.
func manyListeners(t *testing.T, e *suite.Env) {
	gw := e.Gateway("edge")
	gw.Spec.AllowedListeners = &gatewayv1.AllowedListeners{Namespaces: &gatewayv1.ListenerNamespaces{From: new(gatewayv1.NamespacesFromSame)}}
	for i := range int32(64) {
		gw.Spec.Listeners = append(gw.Spec.Listeners, suite.Listener(fmt.Sprintf("l%d", i), "SCTP", 3000+i))
	}
	set := e.ListenerSet("more", "edge")
	for i := range int32(64) {
		set.Spec.Listeners = append(set.Spec.Listeners,
			gatewayv1.ListenerEntry{Name: gatewayv1.SectionName(fmt.Sprintf("l%d", i)), Protocol: "SCTP", Port: 4000 + i})
	}
	e.Create(gw, set)
	e.GatewayReady(gw)
	e.SetCondition(set, "Accepted", yes, "Accepted")
	e.SetCondition(set, "Programmed", yes, "Programmed")
	e.Eventually("all ports are open", func() error {
		tree, err := e.GatewayTree(gw)
		if err == nil && len(tree.Ports) != 128 {
			err = fmt.Errorf("there are %d", len(tree.Ports))
		}
		return err
	})
	if len(gw.Status.Listeners) != 64 || len(set.Status.Listeners) != 64 {
		t.Errorf("the status has %d and %d listeners", len(gw.Status.Listeners), len(set.Status.Listeners))
	}
	current(t, gw)
}

// namesTooLong cost what has the name and nothing else.
func namesTooLong(t *testing.T, e *suite.Env) {
	gw := e.Gateway(strings.Repeat("g", 200), suite.Listener("web", "TCP", 80), suite.Listener("n2", "SCTP", 6060))
	short, long := backend(e, "s", "10.244.1.5", suite.Port("TCP", 80)).Name, backend(e, strings.Repeat("s", 63), "10.244.1.6",
		suite.Port("SCTP", 6060)).Name
	route := e.SCTPRoute("long", gw.Name, "", suite.To(long, 6060, 1))
	e.Create(gw, e.TCPRoute("short", gw.Name, "", suite.To(short, 80, 1)), route)
	e.GatewayReady(gw)
	e.GatewayServes(gw, "TCP/80 s [10.244.1.5:9090]", "SCTP/6060 open")
	if m := e.ListenerCondition(gw, "n2", "Programmed", no, "Pending"); !strings.Contains(m, "shorten") {
		t.Errorf("it says %s", m)
	}
	e.Told(gw, "NameTooLong", "shorten")
	e.ListenerCondition(gw, "web", "Programmed", yes, "Programmed")
	e.RouteCondition(route, "Accepted", yes, "Accepted")
}

// portsOfEndpoints: port numbers in EndpointSlices are not checked by the API server. Those that are none are left out.
func portsOfEndpoints(t *testing.T, e *suite.Env) {
	gw := e.Gateway("edge", suite.Listener("n2", "SCTP", 6060))
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "amf", Namespace: e.Namespace}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{suite.Port("SCTP", 6060)}}}
	right := e.Slice(svc, "10.244.1.5")
	right.Name = "amf-right"
	e.Create(svc, right, gw, e.SCTPRoute("amf", "edge", "", suite.To("amf", 6060, 1)))
	for name, number := range map[string]*int32{"zero": new(int32(0)), "high": new(int32(70000)), "absent": nil} {
		bad := e.Slice(svc, "10.244.1.6")
		bad.Name = "amf-" + name
		bad.Ports = []discoveryv1.EndpointPort{{Name: new("sctp6060"), Protocol: new(corev1.ProtocolSCTP), Port: number}}
		e.Create(bad)
	}
	e.GatewayReady(gw)
	e.GatewayServes(gw, "SCTP/6060 amf [10.244.1.5:9090]")
	e.Told(gw, "InvalidEndpoint", "70000")
}

// nameTaken: a Gateway of each API with one name in one namespace would have the same objects. The
// one that serves keeps them, and the other says so until it goes.
func nameTaken(t *testing.T, e *suite.Env) {
	e.Own(e.SvcAPIClass(nil))
	old, gw := e.SvcAPIGateway("edge", e.SvcAPIListener("edge", "SCTP", 6060)), e.Gateway("edge", suite.Listener("n2", "SCTP", 6060))
	e.Create(old)
	e.SvcAPIAttach(old, "amf", "10.244.1.5", suite.Port("SCTP", 6060))
	e.SvcAPIReady(old)
	tree := e.SvcAPIServes(old, "SCTP/6060 amf [10.244.1.5:9090]")
	before := len(e.Written(tree))
	backend(e, "smf", "10.244.1.6", suite.Port("SCTP", 6060))
	e.Create(gw, e.SCTPRoute("smf", "edge", "", suite.To("smf", 6060, 1)))
	if m := e.GatewayCondition(gw, "Accepted", no, "Invalid"); !strings.Contains(m, "rename one of the two") {
		t.Errorf("it says %s", m)
	}
	e.Told(gw, "NameTaken", "came first")
	if w := e.Written(tree)[before:]; len(w) > 0 {
		t.Errorf("the first was written: %v", w)
	}
	e.Delete(old)
	gone(e, old)
	e.GatewayReady(gw)
	e.GatewayServes(gw, "SCTP/6060 smf [10.244.1.6:9090]")
}
