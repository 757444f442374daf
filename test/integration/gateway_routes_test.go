// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	gatewayv1beta1 "sigs.k8s.io/gateway-api/apis/v1beta1"

	"github.com/avi-l4-operator/avi-l4-operator/internal/gatewayapi"
	"github.com/avi-l4-operator/avi-l4-operator/test/suite"
)

type (
	parentRef  = gatewayv1.ParentReference
	backendRef = gatewayv1.BackendRef
)

// forEach runs a test with each protocol, all of them on one class and one Controller.
func forEach(t *testing.T, e *suite.Env, test func(*testing.T, *suite.Env, suite.Transport)) {
	for _, tr := range suite.Transports {
		t.Run(tr.Protocol, func(t *testing.T) {
			t.Parallel()
			test(t, e.In(t), tr)
		})
	}
}

// called is a name that only one protocol's part of a test uses.
func called(tr suite.Transport, name string) string { return strings.ToLower(tr.Protocol) + "-" + name }

// another is a protocol besides one.
func another(tr suite.Transport) suite.Transport {
	return suite.Transports[(slices.Index(suite.Transports, tr)+1)%len(suite.Transports)]
}

func portOf(tr suite.Transport, number int32) corev1.ServicePort {
	return suite.Port(corev1.Protocol(tr.Protocol), number)
}

// backendIn is backend in another namespace.
func backendIn(e *suite.Env, ns, name, address string, ports ...corev1.ServicePort) {
	e.T.Helper()
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: ns}, Spec: corev1.ServiceSpec{Ports: ports}}
	e.Create(svc, e.Slice(svc, address))
}

// across refers to another namespace.
func across(ns, service string, port, weight int32) backendRef {
	ref := suite.To(service, port, weight)
	ref.Namespace = new(gatewayv1.Namespace(ns))
	return ref
}

// grantFor lets routes of a protocol in a namespace refer to Services of another one, all of them or one by name.
func grantFor(tr suite.Transport, in, name, from string, to ...string) *gatewayv1beta1.ReferenceGrant {
	g := &gatewayv1beta1.ReferenceGrant{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: in}, Spec: gatewayv1beta1.ReferenceGrantSpec{
		From: []gatewayv1beta1.ReferenceGrantFrom{{Group: tr.Group, Kind: tr.Kind, Namespace: gatewayv1.Namespace(from)}},
	}}
	for _, n := range to {
		g.Spec.To = append(g.Spec.To, gatewayv1beta1.ReferenceGrantTo{Kind: "Service", Name: new(gatewayv1.ObjectName(n))})
	}
	if len(to) == 0 {
		g.Spec.To = []gatewayv1beta1.ReferenceGrantTo{{Kind: "Service"}}
	}
	return g
}

// TestRoutedRoutes has the rules about routes.
func TestRoutedRoutes(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	routedClass(e)
	inOne(t, e, []shared{
		{"references", routeReferences},
		{"attachment", routeAttachment},
		{"follow-labels-of-namespaces", routeFollowsLabels},
		{"status-shared-with-others", routeStatus},
		{"move", routeMoves},
		{"of-one-listener-the-oldest", routesOfOneListener},
		{"weights", routeWeights},
		{"port-of-its-protocol", routePortOfItsProtocol},
	})
}

// routeReferences: what a backendRef resolves to, with the reason if it doesn't. Such a route is accepted all the
// same, its other backends are served, and the share of the bad one is rejected.
func routeReferences(t *testing.T, e *suite.Env) {
	other := namespace(e, "core").Name
	forEach(t, e, func(t *testing.T, e *suite.Env, tr suite.Transport) {
		good, wrong := called(tr, "good"), another(tr)
		backend(e, good, "10.244.1.5", portOf(tr, 80), portOf(wrong, 81))
		outside := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: called(tr, "outside"), Namespace: e.Namespace}, Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "example.com", Ports: []corev1.ServicePort{portOf(tr, 80)}}}
		e.Create(outside)
		for _, name := range []string{"ungranted", "granted", "by-name", "other-name", "other-kind", "other-from"} {
			backendIn(e, other, called(tr, name), "10.244.1.6", portOf(tr, 80))
		}
		e.Create(
			grantFor(tr, other, called(tr, "all-of-these"), e.Namespace, called(tr, "granted"), called(tr, "by-name"),
				called(tr, "granted-missing")),
			grantFor(tr, other, called(tr, "other-name"), e.Namespace, called(tr, "something-else")),
			grantFor(wrong, other, called(tr, "other-kind"), e.Namespace, called(tr, "other-kind")),
			grantFor(tr, other, called(tr, "other-from"), "default", called(tr, "other-from")),
		)
		kind := func(group gatewayv1.Group, kind gatewayv1.Kind) backendRef {
			ref := suite.To(good, 80, 1)
			ref.Group, ref.Kind = &group, &kind
			return ref
		}
		cases := []struct {
			name   string
			ref    backendRef
			reason string
			says   []string
		}{
			{"another-kind", kind("", "ConfigMap"), "InvalidKind", []string{"ConfigMap", "only Services"}},
			{"another-group", kind("net.example.com", "Service"), "InvalidKind", []string{"net.example.com/Service"}},
			{"missing", suite.To("nobody", 80, 1), "BackendNotFound", []string{e.Namespace + "/nobody", "doesn't exist"}},
			{"port-missing", suite.To(good, 8080, 1), "BackendNotFound", []string{"no port 8080"}},
			{"external-name", suite.To(outside.Name, 80, 1), "BackendNotFound", []string{"ExternalName"}},
			{"port-of-another-protocol", suite.To(good, 81, 1), "UnsupportedProtocol", []string{"port 81", wrong.Protocol, "not " + tr.Protocol}},
			{"ungranted", across(other, called(tr, "ungranted"), 80, 1), "RefNotPermitted", []string{other, "no ReferenceGrant", string(tr.Kind)}},
			{"ungranted-and-missing", across(other, "nobody", 80, 1), "RefNotPermitted", []string{other + "/nobody"}}, // permission comes before existence
			{"granted-to-another-name", across(other, called(tr, "other-name"), 80, 1), "RefNotPermitted", nil},
			{"granted-to-another-kind", across(other, called(tr, "other-kind"), 80, 1), "RefNotPermitted", nil},
			{"granted-from-another-namespace", across(other, called(tr, "other-from"), 80, 1), "RefNotPermitted", nil},
			{"granted-and-missing", across(other, called(tr, "granted-missing"), 80, 1), "BackendNotFound", []string{"doesn't exist"}},
			{"granted", across(other, called(tr, "granted"), 80, 1), "ResolvedRefs", nil},
			{"own-namespace-named", across(e.Namespace, good, 80, 1), "ResolvedRefs", nil},
		}
		gw := e.Gateway(called(tr, "edge"))
		var routes []client.Object
		var ports []string
		for i, c := range cases {
			number := int32(7000 + i)
			gw.Spec.Listeners = append(gw.Spec.Listeners, suite.Listener(c.name, tr.Listener, number))
			routes = append(routes, e.Route(tr.Protocol, called(tr, c.name), gw.Name, c.name, suite.To(good, 80, 3), c.ref))
			behind := "3*" + good + " [10.244.1.5:9090] + 1*reject"
			switch c.name {
			case "granted": // by the pools' names, which begin with the Services' namespaces
				behind = "1*" + called(tr, "granted") + " [10.244.1.6:9090] + 3*" + good + " [10.244.1.5:9090]"
			case "own-namespace-named": // the same as the other
				behind = good + " [10.244.1.5:9090]"
			}
			ports = append(ports, fmt.Sprintf("%s/%d %s", tr.Protocol, number, behind))
		}
		e.Create(gw)
		e.Create(routes...)
		e.GatewayReady(gw)
		for i, c := range cases {
			status := no
			if c.reason == "ResolvedRefs" {
				status = yes
			}
			m := e.RouteCondition(routes[i], "ResolvedRefs", status, c.reason)
			for _, part := range c.says {
				if !strings.Contains(m, part) {
					t.Errorf("%s: no word of %q: %s", c.name, part, m)
				}
			}
			e.RouteCondition(routes[i], "Accepted", yes, "Accepted")
			if status == no {
				e.Told(routes[i], c.reason, "")
				if !strings.Contains(m, "their share of the connections is rejected") {
					t.Errorf("%s: it doesn't say what becomes of the connections: %s", c.name, m)
				}
			}
		}
		tree := e.GatewayServes(gw, ports...)
		// What is fixed is served: the Service comes, the port gets the protocol, the grant comes.
		backend(e, called(tr, "late"), "10.244.1.9", portOf(tr, 80))
		e.EditRoute(routes[2], func(_ *[]parentRef, to *[]backendRef) { (*to)[1] = suite.To(called(tr, "late"), 80, 1) })
		suite.Update(e, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: good, Namespace: e.Namespace}}, func(svc *corev1.Service) {
			svc.Spec.Ports = append(svc.Spec.Ports, portOf(tr, 81))
		})
		suite.Update(e, &discovery{ObjectMeta: metav1.ObjectMeta{Name: good, Namespace: e.Namespace}}, func(s *discovery) {
			s.Ports = append(s.Ports,
				discoveryv1.EndpointPort{Name: new(portOf(tr, 81).Name), Protocol: new(portOf(tr, 81).Protocol), Port: new(int32(9090))})
		})
		e.Create(grantFor(tr, other, called(tr, "ungranted"), e.Namespace, called(tr, "ungranted")))
		for _, i := range []int{2, 5, 6} {
			e.RouteCondition(routes[i], "ResolvedRefs", yes, "ResolvedRefs")
		}
		ports[2] = fmt.Sprintf("%s/7002 3*%s [10.244.1.5:9090] + 1*%s [10.244.1.9:9090]", tr.Protocol, good, called(tr, "late"))
		ports[6] = fmt.Sprintf("%s/7006 1*%s [10.244.1.6:9090] + 3*%s [10.244.1.5:9090]", tr.Protocol, called(tr, "ungranted"), good)
		e.Eventually("they are served", func() error {
			now, err := e.GatewayTree(gw)
			if err == nil &&
				(now.Ports[2] != ports[2] || now.Ports[6] != ports[6] || strings.Contains(now.Ports[5], "reject") || now.Ports[0] != ports[0]) {
				return fmt.Errorf("have %q", now.Ports)
			}
			return err
		})
		if now, err := e.GatewayTree(gw); err != nil || now.VS != tree.VS {
			t.Errorf("the Gateway was made anew: %+v, then %+v, %v", tree, now, err)
		}
	})
}

// routeAttachment: which listeners a parentRef means, and why a route is not accepted there.
func routeAttachment(t *testing.T, e *suite.Env) {
	far := namespace(e, "far")
	relabel(e, far, map[string]string{"site": "far"})
	forEach(t, e, func(t *testing.T, e *suite.Env, tr suite.Transport) {
		from := func(from gatewayv1.FromNamespaces, selector *metav1.LabelSelector) func(*gatewayv1.Listener) {
			return func(l *gatewayv1.Listener) {
				l.AllowedRoutes = &gatewayv1.AllowedRoutes{Namespaces: &gatewayv1.RouteNamespaces{From: &from, Selector: selector}}
			}
		}
		site := func(value string) *metav1.LabelSelector {
			return &metav1.LabelSelector{MatchLabels: map[string]string{"site": value}}
		}
		gw := e.Gateway(called(tr, "edge"), suite.Listener("same", tr.Listener, 7001), suite.Listener("other", another(tr).Listener, 7002),
			named("kinds", tr.Listener, 7003, func(l *gatewayv1.Listener) {
				l.AllowedRoutes = &gatewayv1.AllowedRoutes{Kinds: []gatewayv1.RouteGroupKind{{Kind: "HTTPRoute"}}}
			}),
			named("all", tr.Listener, 7004, from(gatewayv1.NamespacesFromAll, nil)), named("selected", tr.Listener, 7005, from(gatewayv1.NamespacesFromSelector, site("far"))),
			named("not-selected", tr.Listener, 7006, from(gatewayv1.NamespacesFromSelector, site("near"))),
			named("no-selector", tr.Listener, 7007, from(gatewayv1.NamespacesFromSelector, nil)),
			named("bad-selector", tr.Listener, 7008, from(gatewayv1.NamespacesFromSelector, &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "site", Operator: "Near", Values: []string{"far"}}}})),
			named("empty-selector", tr.Listener, 7009, from(gatewayv1.NamespacesFromSelector, &metav1.LabelSelector{})),
		)
		near, away := called(tr, "near"), called(tr, "away")
		backend(e, near, "10.244.1.5", portOf(tr, 80))
		backendIn(e, far.Name, away, "10.244.1.6", portOf(tr, 80))
		cases := []struct {
			name    string
			far     bool
			section string
			port    int32
			reason  string
			says    []string
		}{
			{"by-section", false, "same", 0, "Accepted", nil},
			{"by-port", false, "", 7001, "Accepted", nil},
			{"by-section-and-port", false, "same", 7001, "Accepted", nil},
			{"by-section-and-the-port-of-another", false, "same", 7004, "NoMatchingParent",
				[]string{"named same on port 7004", "same (" + tr.Protocol + " 7001)"}},
			{"by-unknown-section", false, "nowhere", 0, "NoMatchingParent", []string{"named nowhere"}},
			{"by-unknown-port", false, "", 9999, "NoMatchingParent", []string{"on port 9999"}},
			{"listener-of-another-protocol", false, "other", 0, "NotAllowedByListeners", []string{string(tr.Kind)}},
			{"listener-of-other-kinds", false, "kinds", 0, "NotAllowedByListeners", []string{string(tr.Kind)}},
			{"other-namespace-by-same", true, "same", 0, "NotAllowedByListeners", []string{far.Name, "allowedRoutes.namespaces"}},
			{"other-namespace-by-all", true, "all", 0, "Accepted", nil},
			{"other-namespace-by-selector", true, "selected", 0, "Accepted", nil},
			{"own-namespace-by-selector", false, "selected", 0, "NotAllowedByListeners", nil},
			{"other-namespace-by-another-selector", true, "not-selected", 0, "NotAllowedByListeners", nil},
			{"selector-missing-matches-nothing", true, "no-selector", 0, "NotAllowedByListeners", nil},
			{"selector-broken-matches-nothing", true, "bad-selector", 0, "NotAllowedByListeners", nil},
			{"selector-empty-matches-all", true, "empty-selector", 0, "Accepted", nil},
			{"everywhere", false, "", 0, "Accepted", nil},
		}
		var routes []client.Object
		for _, c := range cases {
			to, ns := near, e.Namespace
			if c.far {
				to, ns = away, far.Name
			}
			route := e.Route(tr.Protocol, called(tr, c.name), gw.Name, c.section, suite.To(to, 80, 1))
			route.SetNamespace(ns)
			suite.Edit(route, func(parents *[]parentRef, _ *[]backendRef) {
				(*parents)[0].Namespace = new(gatewayv1.Namespace(e.Namespace))
				if c.port != 0 {
					(*parents)[0].Port = new(c.port)
				}
			})
			routes = append(routes, route)
		}
		e.Create(gw)
		e.Create(routes...)
		e.GatewayReady(gw)
		for i, c := range cases {
			status := no
			if c.reason == "Accepted" {
				status = yes
			}
			m := e.RouteCondition(routes[i], "Accepted", status, c.reason)
			for _, part := range c.says {
				if !strings.Contains(m, part) {
					t.Errorf("%s: no word of %q: %s", c.name, part, m)
				}
			}
			e.RouteCondition(routes[i], "ResolvedRefs", yes, "ResolvedRefs") // whether it is accepted or not
		}
		for listener, want := range map[string]int32{"same": 4, "other": 0, "kinds": 0, "all": 2, "selected": 1, "not-selected": 0,
			"no-selector": 0, "bad-selector": 0, "empty-selector": 2} {
			e.Attached(gw, listener, want)
		}
		for name, part := range map[string]string{"no-selector": "there is no selector", "bad-selector": "Near"} {
			if m := e.ListenerCondition(gw, name, "Accepted", yes, "Accepted"); !strings.Contains(m, part) {
				t.Errorf("listener %s doesn't say that its selector is wrong: %s", name, m)
			}
		}
		e.Eventually("what is served", func() error {
			tree, err := e.GatewayTree(gw)
			if err != nil {
				return err
			}
			for _, want := range []string{"7001 " + near + " [10.244.1.5:9090]", "7005 " + away + " [10.244.1.6:9090]", "7006 open", "7007 open",
				"7008 open"} {
				if !slices.Contains(tree.Ports, tr.Protocol+"/"+want) {
					return fmt.Errorf("no %s: %q", want, tree.Ports)
				}
			}
			return nil
		})
	})
}

// routeFollowsLabels: a listener that selects them gets and loses routes as the labels come and go.
func routeFollowsLabels(t *testing.T, e *suite.Env) {
	far := namespace(e, "far")
	gw := e.Gateway("edge")
	var routes []client.Object
	for i, tr := range suite.Transports {
		gw.Spec.Listeners = append(gw.Spec.Listeners,
			named(strings.ToLower(tr.Protocol), tr.Listener, 6060+int32(i), func(l *gatewayv1.Listener) {
				l.AllowedRoutes = &gatewayv1.AllowedRoutes{
					Namespaces: &gatewayv1.RouteNamespaces{From: new(gatewayv1.NamespacesFromSelector),
						Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"site": "far"}}}}
			}))
		backendIn(e, far.Name, called(tr, "amf"), "10.244.1.6", portOf(tr, 80))
		route := e.Route(tr.Protocol, called(tr, "amf"), "edge", "", suite.To(called(tr, "amf"), 80, 1))
		route.SetNamespace(far.Name)
		suite.Edit(route, func(parents *[]parentRef, _ *[]backendRef) {
			(*parents)[0].Namespace = new(gatewayv1.Namespace(e.Namespace))
		})
		routes = append(routes, route)
	}
	e.Create(gw)
	e.Create(routes...)
	e.GatewayReady(gw)
	for _, labels := range []map[string]string{nil, {"site": "far"}, {"site": "near"}, {"site": "far"}} {
		relabel(e, far, labels)
		status, reason, ports, attached := no, "NotAllowedByListeners", []string{"TCP/6060 open", "UDP/6061 open", "SCTP/6062 open"}, int32(0)
		if labels["site"] == "far" {
			status, reason, attached = yes, "Accepted", 1
			ports = []string{"TCP/6060 tcp-amf [10.244.1.6:9090]", "UDP/6061 udp-amf [10.244.1.6:9090]", "SCTP/6062 sctp-amf [10.244.1.6:9090]"}
		}
		for i, tr := range suite.Transports {
			e.RouteCondition(routes[i], "Accepted", status, reason)
			e.Attached(gw, strings.ToLower(tr.Protocol), attached)
		}
		e.GatewayServes(gw, ports...)
	}
}

// routeStatus has the rules about the list that a route's controllers share.
func routeStatus(t *testing.T, e *suite.Env) {
	foreign := classOf(e, "-foreign", func(c *gatewayv1.GatewayClass) { c.Spec.ControllerName = foreignController })
	forEach(t, e, func(t *testing.T, e *suite.Env, tr suite.Transport) {
		one, two, theirs := e.Gateway(called(tr, "one"), suite.Listener("a", tr.Listener, 7001), suite.Listener("b", tr.Listener, 7002)),
			e.Gateway(called(tr, "two"), suite.Listener("a", tr.Listener, 7001)), e.Gateway(called(tr, "theirs"), suite.Listener("a", tr.Listener, 7001))
		theirs.Spec.GatewayClassName = gatewayv1.ObjectName(foreign.Name)
		svc := backend(e, called(tr, "app"), "10.244.1.5", portOf(tr, 80))
		e.Create(one, two, theirs)
		plain := parentRef{Name: gatewayv1.ObjectName(two.Name)}
		full := parentRef{Group: new(gatewayv1.Group(gatewayv1.GroupName)), Kind: new(gatewayv1.Kind("Gateway")), Namespace: new(gatewayv1.Namespace(e.Namespace)), Name: gatewayv1.ObjectName(one.Name),
			SectionName: new(gatewayv1.SectionName("a")), Port: new(gatewayv1.PortNumber(7001))}
		again := full
		again.SectionName, again.Port = new(gatewayv1.SectionName("nowhere")), nil
		route := e.Route(tr.Protocol, called(tr, "route"), "", "", suite.To(svc.Name, 80, 1))
		suite.Edit(route, func(parents *[]parentRef, _ *[]backendRef) {
			*parents = []parentRef{plain, full, again, {Name: "nobody"}, {Name: gatewayv1.ObjectName(theirs.Name)},
				{Group: new(gatewayv1.Group("")), Kind: new(gatewayv1.Kind("Service")), Name: gatewayv1.ObjectName(svc.Name)}}
		})
		e.Create(route)
		parents := func(o client.Object) []gatewayv1.RouteParentStatus { return gatewayapi.RouteOf(o).Status.Parents }
		entry := func(name, controller string) gatewayv1.RouteParentStatus {
			return gatewayv1.RouteParentStatus{ControllerName: gatewayv1.GatewayController(controller),
				ParentRef: parentRef{Group: new(gatewayv1.Group(gatewayv1.GroupName)), Kind: new(gatewayv1.Kind("Gateway")),
					Name: gatewayv1.ObjectName(name)},
				Conditions: []metav1.Condition{{Type: "Accepted", Status: no, Reason: "TheirsToSay", LastTransitionTime: metav1.Now()}}}
		}
		write := func(change func([]gatewayv1.RouteParentStatus) []gatewayv1.RouteParentStatus) {
			t.Helper()
			e.Eventually("another controller writes its entry", func() error {
				if err := e.Read(route); err != nil {
					return err
				}
				gatewayapi.SetParents(route, change(parents(route)))
				return e.Client.Status().Update(t.Context(), route)
			})
		}
		// have waits for exactly these entries, as "controller name/section reason". Ours are about the route's generation.
		have := func(want ...string) {
			t.Helper()
			e.Eventually(fmt.Sprintf("entries %q", want), func() error {
				if err := e.Read(route); err != nil {
					return err
				}
				var got []string
				for _, p := range parents(route) {
					if g := p.Conditions[0].ObservedGeneration; p.ControllerName == gatewayapi.Controller && g != route.GetGeneration() ||
						p.ControllerName == foreignController && g != 0 {
						return fmt.Errorf("at generation %d there is %+v of %s", route.GetGeneration(), p.Conditions, p.ControllerName)
					}
					_, short, _ := strings.Cut(string(p.ControllerName), "/")
					section := ""
					if p.ParentRef.SectionName != nil {
						section = string(*p.ParentRef.SectionName)
					}
					_, name, _ := strings.Cut(string(p.ParentRef.Name), "-")
					got = append(got, short+" "+name+"/"+section+" "+p.Conditions[0].Reason)
				}
				slices.Sort(got)
				if !slices.Equal(got, want) {
					return fmt.Errorf("have %q", got)
				}
				return nil
			})
		}

		t.Run("an-entry-for-each-parent-that-is-ours-and-none-else", func(t *testing.T) {
			have("avi-l4 one/a Accepted", "avi-l4 one/nowhere NoMatchingParent", "avi-l4 two/ Accepted")
		})
		t.Run("parentRefs-as-in-the-spec", func(t *testing.T) {
			refs := gatewayapi.RouteOf(route).Parents
			for i, p := range parents(route) {
				if !apiequality.Semantic.DeepEqual(p.ParentRef, refs[i]) {
					t.Errorf("the status has %+v, the spec %+v", p.ParentRef, refs[i])
				}
			}
			if p := parents(route)[1].ParentRef; p.Port == nil || *p.Port != 7001 || p.Namespace == nil {
				t.Errorf("the status has %+v", p)
			}
			if p := parents(route)[0].ParentRef; p.Namespace != nil {
				t.Errorf("the namespace that isn't in the spec was filled in: %+v", p)
			}
		})
		t.Run("entries-of-others-are-kept", func(t *testing.T) {
			write(func(list []gatewayv1.RouteParentStatus) []gatewayv1.RouteParentStatus {
				return append([]gatewayv1.RouteParentStatus{entry(theirs.Name, foreignController), entry(two.Name, foreignController)}, list...)
			})
			e.EditRoute(route, func(parents *[]parentRef, _ *[]backendRef) { *parents = slices.Delete(*parents, 2, 3) })
			have("another theirs/ TheirsToSay", "another two/ TheirsToSay", "avi-l4 one/a Accepted", "avi-l4 two/ Accepted")
		})
		t.Run("entries-that-another-controller-loses-come-back", func(t *testing.T) {
			write(func([]gatewayv1.RouteParentStatus) []gatewayv1.RouteParentStatus {
				return []gatewayv1.RouteParentStatus{entry(theirs.Name, foreignController)}
			})
			have("another theirs/ TheirsToSay", "avi-l4 one/a Accepted", "avi-l4 two/ Accepted")
		})
		t.Run("ours-go-with-the-parentRef", func(t *testing.T) {
			e.EditRoute(route, func(parents *[]parentRef, _ *[]backendRef) { *parents = (*parents)[1:] })
			have("another theirs/ TheirsToSay", "avi-l4 one/a Accepted")
			e.Attached(two, "a", 0)
			e.GatewayServes(two, tr.Protocol+"/7001 open")
		})
		t.Run("ours-go-with-the-gateway", func(t *testing.T) {
			e.Delete(one)
			have("another theirs/ TheirsToSay")
			gone(e, one)
		})
		t.Run("ours-come-with-the-gateway", func(t *testing.T) {
			e.EditRoute(route, func(parents *[]parentRef, _ *[]backendRef) {
				(*parents)[0] = parentRef{Name: gatewayv1.ObjectName(called(tr, "later"))}
			})
			have("another theirs/ TheirsToSay")
			later := e.Gateway(called(tr, "later"), suite.Listener("a", tr.Listener, 7001))
			e.Create(later)
			have("another theirs/ TheirsToSay", "avi-l4 later/ Accepted")
			e.GatewayServes(later, tr.Protocol+"/7001 "+svc.Name+" [10.244.1.5:9090]")
		})
	})
}

// routeMoves from one listener, and one Gateway, to another: the pool goes with it.
func routeMoves(t *testing.T, e *suite.Env) {
	forEach(t, e, func(t *testing.T, e *suite.Env, tr suite.Transport) {
		one, two := e.Gateway(called(tr, "one"), suite.Listener("a", tr.Listener, 7001), suite.Listener("b", tr.Listener, 7002)),
			e.Gateway(called(tr, "two"), suite.Listener("a", tr.Listener, 7001))
		svc := backend(e, called(tr, "app"), "10.244.1.5", portOf(tr, 80))
		route := e.Route(tr.Protocol, called(tr, "app"), one.Name, "a", suite.To(svc.Name, 80, 1))
		e.Create(one, two, route)
		behind := " " + svc.Name + " [10.244.1.5:9090]"
		e.GatewayServes(one, tr.Protocol+"/7001"+behind, tr.Protocol+"/7002 open")
		e.EditRoute(route, func(parents *[]parentRef, _ *[]backendRef) {
			(*parents)[0].SectionName = new(gatewayv1.SectionName("b"))
		})
		e.GatewayServes(one, tr.Protocol+"/7001 open", tr.Protocol+"/7002"+behind)
		e.Attached(one, "a", 0)
		e.Attached(one, "b", 1)
		e.EditRoute(route, func(parents *[]parentRef, _ *[]backendRef) {
			(*parents)[0] = parentRef{Name: gatewayv1.ObjectName(two.Name)}
		})
		e.GatewayServes(one, tr.Protocol+"/7001 open", tr.Protocol+"/7002 open")
		e.GatewayServes(two, tr.Protocol+"/7001"+behind)
		e.Attached(one, "b", 0)
		e.Attached(two, "a", 1)
		e.Delete(route)
		e.GatewayServes(two, tr.Protocol+"/7001 open")
		e.Attached(two, "a", 0)
	})
}

// routesOfOneListener: all are accepted and counted, the oldest is served, and the next when it goes.
func routesOfOneListener(t *testing.T, e *suite.Env) {
	forEach(t, e, func(t *testing.T, e *suite.Env, tr suite.Transport) {
		gw := e.Gateway(called(tr, "edge"), suite.Listener("l", tr.Listener, 7001))
		var routes []client.Object
		for i, name := range []string{"z-oldest", "b-younger", "a-youngest"} {
			backend(e, called(tr, name), fmt.Sprintf("10.244.1.%d", i+1), portOf(tr, 80))
			routes = append(routes, e.Route(tr.Protocol, called(tr, name), gw.Name, "", suite.To(called(tr, name), 80, 1)))
		}
		e.Create(gw, routes[0])
		e.GatewayServes(gw, tr.Protocol+"/7001 "+called(tr, "z-oldest")+" [10.244.1.1:9090]")
		time.Sleep(1100 * time.Millisecond) // creation times have seconds
		e.Create(routes[1])
		time.Sleep(1100 * time.Millisecond)
		e.Create(routes[2])
		e.Attached(gw, "l", 3)
		for _, r := range routes {
			e.RouteCondition(r, "Accepted", yes, "Accepted")
			e.RouteCondition(r, "ResolvedRefs", yes, "ResolvedRefs")
		}
		e.GatewayServes(gw, tr.Protocol+"/7001 "+called(tr, "z-oldest")+" [10.244.1.1:9090]")
		if m := e.ListenerCondition(gw, "l", "Programmed", yes, "Programmed"); !strings.Contains(m,
			"not served: "+e.Namespace+"/"+called(tr, "b-younger")) || !strings.Contains(m, called(tr, "a-youngest")) {
			t.Errorf("the losers are not named: %s", m)
		}
		// The owner of a route may not see the Gateway's status.
		says := func(r client.Object, text string) {
			t.Helper()
			e.Eventually(r.GetName()+" says "+text, func() error {
				if m := e.RouteCondition(r, "Accepted", yes, "Accepted"); !strings.Contains(m, text) {
					return fmt.Errorf("it says %q", m)
				}
				return nil
			})
		}
		says(routes[0], "attached")
		says(routes[1], "not served: listener l serves "+tr.Protocol+"Route "+e.Namespace+"/"+called(tr, "z-oldest"))
		says(routes[2], called(tr, "z-oldest"))
		e.Delete(routes[0])
		e.GatewayServes(gw, tr.Protocol+"/7001 "+called(tr, "b-younger")+" [10.244.1.2:9090]")
		says(routes[2], called(tr, "b-younger"))
		e.Delete(routes[1])
		e.GatewayServes(gw, tr.Protocol+"/7001 "+called(tr, "a-youngest")+" [10.244.1.3:9090]")
		e.Attached(gw, "l", 1)
	})
}

// routeWeights need not add up to anything; 0 is none, and only zeros reject everything.
func routeWeights(t *testing.T, e *suite.Env) {
	forEach(t, e, func(t *testing.T, e *suite.Env, tr suite.Transport) {
		gw := e.Gateway(called(tr, "edge"), suite.Listener("l", tr.Listener, 7001))
		a, b := backend(e, called(tr, "a"), "10.244.1.1", portOf(tr, 80)).Name, backend(e, called(tr, "b"), "10.244.1.2", portOf(tr, 80)).Name
		route := e.Route(tr.Protocol, called(tr, "app"), gw.Name, "", suite.To(a, 80, 1))
		e.Create(gw, route)
		at := tr.Protocol + "/7001 "
		serves := func(to []backendRef, want string) {
			t.Helper()
			e.EditRoute(route, func(_ *[]parentRef, have *[]backendRef) { *have = to })
			e.GatewayServes(gw, at+strings.NewReplacer("A", a+" [10.244.1.1:9090]", "B", b+" [10.244.1.2:9090]").Replace(want))
			e.RouteCondition(route, "ResolvedRefs", yes, "ResolvedRefs")
			e.RouteCondition(route, "Accepted", yes, "Accepted")
		}
		left := suite.To(a, 80, 1)
		left.Weight = nil // 1 is the default
		serves([]backendRef{left}, "A")
		serves([]backendRef{left, suite.To(b, 80, 9)}, "1*A + 9*B")
		serves([]backendRef{suite.To(a, 80, 70), suite.To(b, 80, 30)}, "7*A + 3*B")
		serves([]backendRef{suite.To(a, 80, 1000000), suite.To(b, 80, 1)}, "1000*A + 1*B")
		serves([]backendRef{suite.To(a, 80, 70), suite.To(b, 80, 0)}, "1*A + 0*B")
		serves([]backendRef{suite.To(a, 80, 0), suite.To(b, 80, 0)}, "0*A + 0*B + 1*reject")
		serves([]backendRef{suite.To(a, 80, 0)}, "0*A + 1*reject")
		serves([]backendRef{suite.To(b, 80, 1)}, "B")
	})
}

// routePortOfItsProtocol: a Service's ports of one number are told apart by protocol.
func routePortOfItsProtocol(t *testing.T, e *suite.Env) {
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "app", Namespace: e.Namespace}}
	gw := e.Gateway("edge")
	var routes []client.Object
	for i, tr := range suite.Transports {
		p := portOf(tr, 80)
		p.TargetPort = intstr.FromInt32(8001 + int32(i))
		svc.Spec.Ports = append(svc.Spec.Ports, p)
		gw.Spec.Listeners = append(gw.Spec.Listeners, suite.Listener(strings.ToLower(tr.Protocol), tr.Listener, 6060))
		routes = append(routes, e.Route(tr.Protocol, called(tr, "app"), "edge", "", suite.To("app", 80, 1)))
	}
	e.Create(svc, e.Slice(svc, "10.244.1.5"), gw)
	e.Create(routes...)
	e.GatewayServes(gw, "SCTP/6060 app [10.244.1.5:8003]", "TCP/6060 app [10.244.1.5:8001]", "UDP/6060 app [10.244.1.5:8002]")
	// One of them goes: the others are not for its route.
	suite.Update(e, svc, func(svc *corev1.Service) { svc.Spec.Ports = svc.Spec.Ports[:2] })
	if m := e.RouteCondition(routes[2], "ResolvedRefs", no, "UnsupportedProtocol"); !strings.Contains(m, "TCP and UDP, not SCTP") {
		t.Errorf("it says %s", m)
	}
	e.GatewayServes(gw, "SCTP/6060 open", "TCP/6060 app [10.244.1.5:8001]", "UDP/6060 app [10.244.1.5:8002]")
}
