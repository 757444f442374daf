// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/avi-l4-operator/avi-l4-operator/test/suite"
)

// listenerOf is a listener's entry in the status that was read last.
func listenerOf(t *testing.T, gw *routedGateway, name string) gatewayv1.ListenerStatus {
	t.Helper()
	for _, l := range gw.Status.Listeners {
		if string(l.Name) == name {
			return l
		}
	}
	t.Fatalf("the status of %s has no listener %s: %+v", gw.Name, name, gw.Status.Listeners)
	return gatewayv1.ListenerStatus{}
}

// kindsOf spells a listener's supportedKinds.
func kindsOf(kinds []gatewayv1.RouteGroupKind) (out []string) {
	for _, k := range kinds {
		if k.Group == nil {
			out = append(out, "?/"+string(k.Kind))
		} else {
			out = append(out, string(*k.Group)+"/"+string(k.Kind))
		}
	}
	return out
}

// named changes a listener's name and whatever else is asked for.
func named(name string, protocol gatewayv1.ProtocolType, port int32, change func(*gatewayv1.Listener)) gatewayv1.Listener {
	l := suite.Listener(name, protocol, port)
	change(&l)
	return l
}

func hostname(host gatewayv1.Hostname) func(*gatewayv1.Listener) {
	return func(l *gatewayv1.Listener) { l.Hostname = &host }
}

func passthrough(l *gatewayv1.Listener) {
	l.TLS = &gatewayv1.ListenerTLSConfig{Mode: new(gatewayv1.TLSModePassthrough)}
}

// TestRoutedListeners has the rules about listeners, those of ListenerSets included.
func TestRoutedListeners(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	routedClass(e)
	inOne(t, e, []shared{
		{"supported-kinds", listenerSupportedKinds},
		{"attached-routes", listenerAttachedRoutes},
		{"conflicts", listenerConflicts},
		{"hostname", listenerHostname},
		{"tls", listenerTLS},
		{"sets-of-other-namespaces", listenerSetsOfOtherNamespaces},
	})
}

// listenerSupportedKinds are the protocol's own, without those that allowedRoutes leaves out; what it asks for
// beyond them is reported.
func listenerSupportedKinds(t *testing.T, e *suite.Env) {
	for _, tr := range suite.Transports {
		t.Run(tr.Protocol, func(t *testing.T) {
			t.Parallel()
			e := e.In(t)
			own := gatewayv1.RouteGroupKind{Group: &tr.Group, Kind: tr.Kind}
			spelled := string(tr.Group) + "/" + string(tr.Kind)
			http, other := gatewayv1.RouteGroupKind{Kind: "HTTPRoute"}, gatewayv1.RouteGroupKind{Group: new(gatewayv1.Group("example.com")), Kind: tr.Kind}
			cases := []struct {
				name    string
				allowed []gatewayv1.RouteGroupKind
				kinds   []string
				refs    string
			}{
				{"none-named", nil, []string{spelled}, "ResolvedRefs"},
				{"its-own", []gatewayv1.RouteGroupKind{own}, []string{spelled}, "ResolvedRefs"},
				{"its-own-twice", []gatewayv1.RouteGroupKind{own, own}, []string{spelled}, "ResolvedRefs"},
				{"its-own-and-another", []gatewayv1.RouteGroupKind{http, own}, []string{spelled}, "InvalidRouteKinds"},
				{"another", []gatewayv1.RouteGroupKind{http}, nil, "InvalidRouteKinds"},
				{"its-own-of-another-group", []gatewayv1.RouteGroupKind{other}, nil, "InvalidRouteKinds"},
			}
			gw := e.Gateway("kinds-" + strings.ToLower(tr.Protocol))
			for i, c := range cases {
				gw.Spec.Listeners = append(gw.Spec.Listeners, named(c.name, tr.Listener, int32(7000+i), func(l *gatewayv1.Listener) {
					l.AllowedRoutes = &gatewayv1.AllowedRoutes{Kinds: c.allowed}
				}))
			}
			e.Create(gw)
			e.GatewayReady(gw)
			for _, c := range cases {
				status := yes
				if c.refs != "ResolvedRefs" {
					status = no
				}
				m := e.ListenerCondition(gw, c.name, "ResolvedRefs", status, c.refs)
				if status == no && !strings.Contains(m, spelled) {
					t.Errorf("%s: it doesn't say what would be right: %s", c.name, m)
				}
				if have := kindsOf(listenerOf(t, gw, c.name).SupportedKinds); !slices.Equal(have, c.kinds) {
					t.Errorf("%s: supportedKinds are %v, want %v", c.name, have, c.kinds)
				}
				if apimeta.FindStatusCondition(listenerOf(t, gw, c.name).Conditions, "Conflicted") != nil {
					t.Errorf("%s: without a conflict there is a condition about one", c.name)
				}
			}
		})
	}
}

// listenerAttachedRoutes counts the routes that are accepted there: also on a listener that isn't accepted itself,
// and those that another one takes precedence over.
func listenerAttachedRoutes(t *testing.T, e *suite.Env) {
	backend(e, "amf", "10.244.1.5", suite.Port("SCTP", 38412))
	gw := e.Gateway("edge", suite.Listener("good", "SCTP", 38412), named("tls", "SCTP", 38413, passthrough),
		suite.Listener("one", "SCTP", 2905), suite.Listener("two", "ako.vmware.com/SCTP", 2905), suite.Listener("quic", "QUIC", 443),
		named("closed", "SCTP", 3868, func(l *gatewayv1.Listener) {
			l.AllowedRoutes = &gatewayv1.AllowedRoutes{
				Namespaces: &gatewayv1.RouteNamespaces{From: new(gatewayv1.NamespacesFromSelector),
					Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"site": "none"}}}}
		}))
	e.Create(gw)
	to := suite.To("amf", 38412, 1)
	for _, section := range []string{"good", "tls", "one", "quic", "closed"} {
		e.Create(e.SCTPRoute("a-"+section, "edge", section, to), e.SCTPRoute("b-"+section, "edge", section, to))
	}
	e.Create(e.SCTPRoute("c-everywhere", "edge", "", to), e.SCTPRoute("d-unresolved", "edge", "good", suite.To("nobody", 1, 1)),
		e.TCPRoute("t-good", "edge", "good", to))
	for listener, want := range map[string]int32{"good": 4, "tls": 3, "one": 3, "two": 1, "quic": 0, "closed": 0} {
		e.Attached(gw, listener, want)
	}
	e.ListenerCondition(gw, "tls", "Accepted", no, "UnsupportedValue")
	e.ListenerCondition(gw, "one", "Accepted", no, "ProtocolConflict")
	e.ListenerCondition(gw, "quic", "Accepted", no, "UnsupportedProtocol")
	for _, l := range []string{"tls", "one"} {
		e.RouteCondition(e.SCTPRoute("a-"+l, "edge", l), "Accepted", yes, "Accepted")
	}
	e.RouteCondition(e.SCTPRoute("a-quic", "edge", "quic"), "Accepted", no, "NotAllowedByListeners")
	e.RouteCondition(e.SCTPRoute("a-closed", "edge", "closed"), "Accepted", no, "NotAllowedByListeners")
	// Only the oldest is served; it goes, and the next has its turn.
	if m := e.ListenerCondition(gw, "good", "Programmed", yes, "Programmed"); !strings.Contains(m, "a-good") {
		t.Errorf("the listener says %s", m)
	}
	e.GatewayServes(gw, "SCTP/3868 open", "SCTP/38412 amf [10.244.1.5:9090]")
	e.Delete(e.SCTPRoute("a-good", "edge", "good"))
	e.Attached(gw, "good", 3)
	if m := e.ListenerCondition(gw, "good", "Programmed", yes, "Programmed"); !strings.Contains(m, "b-good") {
		t.Errorf("the listener says %s", m)
	}
}

// conflict waits until a listener's entry reports a conflict in all four places that the API's own tests look at.
func conflict(e *suite.Env, at func(kind string, status metav1.ConditionStatus, reason string) string) (message string) {
	e.T.Helper()
	for _, kind := range []string{"Accepted", "Programmed"} {
		message += at(kind, no, "ProtocolConflict")
	}
	return message + at("Conflicted", yes, "ProtocolConflict")
}

// listenerConflicts: one protocol on one port, however it is spelled, and whatever the hostnames.
func listenerConflicts(t *testing.T, e *suite.Env) {
	for name, pair := range map[string][]gatewayv1.Listener{
		"alias":     {suite.Listener("one", "SCTP", 2905), suite.Listener("two", "ako.vmware.com/SCTP", 2905)},
		"hostnames": {named("one", "SCTP", 2905, hostname("a.example.com")), named("two", "SCTP", 2905, hostname("b.example.com"))},
		"one-hostname": {named("one", "ako.vmware.com/SCTP", 2905, hostname("a.example.com")),
			suite.Listener("two", "ako.vmware.com/SCTP", 2905)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := e.In(t)
			gw := e.Gateway(name, append(pair, suite.Listener("tcp", "TCP", 2905), suite.Listener("udp", "UDP", 2905))...)
			backend(e, "amf-"+name, "10.244.1.5", suite.Port("SCTP", 2905), suite.Port("TCP", 2905))
			e.Create(gw, e.SCTPRoute(name, name, "", suite.To("amf-"+name, 2905, 1)), e.TCPRoute(name, name, "", suite.To("amf-"+name, 2905, 1)))
			for _, l := range []string{"one", "two"} {
				conflict(e, func(kind string, status metav1.ConditionStatus, reason string) string {
					return e.ListenerCondition(gw, l, kind, status, reason)
				})
			}
			e.GatewayCondition(gw, "Accepted", yes, "ListenersNotValid")
			// TCP and UDP have number spaces of their own.
			e.ListenerCondition(gw, "tcp", "Programmed", yes, "Programmed")
			e.ListenerCondition(gw, "udp", "Programmed", yes, "Programmed")
			e.GatewayServes(gw, "TCP/2905 amf-"+name+" [10.244.1.5:9090]", "UDP/2905 open")
			// Without one of them the other is served, and the conflict is no longer reported.
			suite.Update(e, gw, func(gw *routedGateway) { gw.Spec.Listeners = gw.Spec.Listeners[1:] })
			e.GatewayCondition(gw, "Accepted", yes, "Accepted")
			e.ListenerCondition(gw, "two", "Programmed", yes, "Programmed")
			if apimeta.FindStatusCondition(listenerOf(t, gw, "two").Conditions, "Conflicted") != nil {
				t.Errorf("the conflict is still told: %+v", gw.Status.Listeners)
			}
			e.GatewayServes(gw, "SCTP/2905 amf-"+name+" [10.244.1.5:9090]", "TCP/2905 amf-"+name+" [10.244.1.5:9090]", "UDP/2905 open")
		})
	}
}

// listenerHostname is, on SCTP, the name of the Gateway's address; a wildcard is none.
func listenerHostname(t *testing.T, e *suite.Env) {
	gw := e.Gateway("edge", named("n2", "SCTP", 38412, hostname("amf.5g.example.com")),
		named("wild", "SCTP", 3868, hostname("*.example.com")), suite.Listener("web", "TCP", 80))
	e.Create(gw)
	e.GatewayReady(gw)
	names := func(want ...string) {
		t.Helper()
		e.Eventually(fmt.Sprintf("the names are %v", want), func() error {
			var have []string
			for _, d := range e.Object("vsvip", e.GatewayName(gw))["dns_info"].([]any) {
				have = append(have, fmt.Sprint(d.(map[string]any)["fqdn"]))
			}
			if !slices.Equal(have, want) {
				return fmt.Errorf("they are %v", have)
			}
			return nil
		})
	}
	for _, l := range []string{"n2", "wild", "web"} {
		e.ListenerCondition(gw, l, "Accepted", yes, "Accepted")
		e.ListenerCondition(gw, l, "Programmed", yes, "Programmed")
	}
	names("amf.5g.example.com")
	suite.Update(e, gw, func(gw *routedGateway) { gw.Spec.Listeners[0].Hostname = new(gatewayv1.Hostname("smf.5g.example.com")) })
	names("smf.5g.example.com")
	suite.Update(e, gw, func(gw *routedGateway) { gw.Spec.Listeners[0].Hostname = nil })
	names("edge." + e.Namespace + ".demo.avi.local")
}

// listenerTLS is refused on SCTP, where the API server lets it through; the others are served.
func listenerTLS(t *testing.T, e *suite.Env) {
	gw := e.Gateway("edge", suite.Listener("n2", "SCTP", 38412), named("tls", "SCTP", 38413, passthrough))
	e.Create(gw)
	e.GatewayReady(gw)
	if m := e.ListenerCondition(gw, "tls", "Accepted", no, "UnsupportedValue"); !strings.Contains(m, "remove it") {
		t.Errorf("it says %s", m)
	}
	e.ListenerCondition(gw, "tls", "Programmed", no, "Invalid")
	e.GatewayCondition(gw, "Accepted", yes, "ListenersNotValid")
	e.GatewayServes(gw, "SCTP/38412 open")
	for _, protocol := range []gatewayv1.ProtocolType{"TCP", "UDP"} {
		bad := e.Gateway("bad", named("tls", protocol, 443, passthrough))
		if err := e.Client.Create(t.Context(), bad); err == nil {
			t.Errorf("the API server takes tls on %s: it has to be refused here as well", protocol)
		}
	}
}

// listenerSetsOfOtherNamespaces: which a Gateway takes is its allowedListeners' to say, and a label that a Namespace gets
// or loses counts at once. allowedRoutes of a ListenerSet are about the ListenerSet's own namespace.
func listenerSetsOfOtherNamespaces(t *testing.T, e *suite.Env) {
	other := namespace(e, "core")
	gw := e.Gateway("edge", suite.Listener("n2", "SCTP", 38412))
	set := e.ListenerSet("more", "edge", gatewayv1.ListenerEntry{Name: "diameter", Port: 3868, Protocol: "SCTP"})
	set.Namespace, set.Spec.ParentRef.Namespace = other.Name, new(gatewayv1.Namespace(e.Namespace))
	svc := backend(e, "hss", "10.244.1.5", suite.Port("SCTP", 3868))
	beside := e.SCTPRoute("beside-the-set", "more", "", suite.To(svc.Name, 3868, 1))
	beside.Namespace = other.Name
	away := e.SCTPRoute("beside-the-gateway", "more", "", suite.To(svc.Name, 3868, 1))
	for _, r := range []client.Object{beside, away} {
		suite.Edit(r, func(parents *[]gatewayv1.ParentReference, _ *[]gatewayv1.BackendRef) {
			(*parents)[0].Kind, (*parents)[0].Namespace = new(gatewayv1.Kind("ListenerSet")), new(gatewayv1.Namespace(other.Name))
		})
	}
	e.Create(gw, set, beside, away)
	e.GatewayReady(gw)
	allow := func(from gatewayv1.FromNamespaces, selector *metav1.LabelSelector) {
		t.Helper()
		suite.Update(e, gw, func(gw *routedGateway) {
			gw.Spec.AllowedListeners = &gatewayv1.AllowedListeners{Namespaces: &gatewayv1.ListenerNamespaces{From: &from, Selector: selector}}
		})
	}
	refused := func() {
		t.Helper()
		e.SetCondition(set, "Accepted", no, "NotAllowed")
		e.SetCondition(set, "Programmed", no, "NotAllowed")
		e.RouteCondition(beside, "Accepted", no, "NoMatchingParent")
		e.GatewayServes(gw, "SCTP/38412 open")
	}
	taken := func() {
		t.Helper()
		e.SetCondition(set, "Accepted", yes, "Accepted")
		e.SetCondition(set, "Programmed", yes, "Programmed")
		e.SetListenerCondition(set, "diameter", "Programmed", yes, "Programmed")
		e.RouteCondition(beside, "Accepted", yes, "Accepted")
		e.RouteCondition(away, "Accepted", no, "NotAllowedByListeners")
		e.GatewayServes(gw, "SCTP/3868 open", "SCTP/38412 open")
		if l := set.Status.Listeners; len(l) != 1 || l[0].AttachedRoutes != 1 || !slices.Equal(kindsOf(l[0].SupportedKinds),
			[]string{"ako.vmware.com/SCTPRoute"}) {
			t.Errorf("the ListenerSet's listeners are %+v", l)
		}
	}
	refused() // None is the default
	allow(gatewayv1.NamespacesFromSame, nil)
	refused()
	allow(gatewayv1.NamespacesFromAll, nil)
	taken()
	site := map[string]string{"site": e.Cluster}
	allow(gatewayv1.NamespacesFromSelector, &metav1.LabelSelector{MatchLabels: site})
	refused()
	relabel(e, other, site)
	taken()
	relabel(e, other, nil)
	refused()
	relabel(e, other, site)
	taken()
	allow(gatewayv1.NamespacesFromNone, nil)
	refused()
}
