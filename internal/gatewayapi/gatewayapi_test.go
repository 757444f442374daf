// SPDX-License-Identifier: Apache-2.0

package gatewayapi_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	gatewayv1beta1 "sigs.k8s.io/gateway-api/apis/v1beta1"

	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1alpha1"
	"github.com/avi-l4-operator/avi-l4-operator/internal/gatewayapi"
)

func meta(namespace, name string, age int) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name, CreationTimestamp: metav1.NewTime(time.Unix(int64(age), 0))}
}

func listener(name string, protocol gatewayv1.ProtocolType, port int) gatewayv1.Listener {
	return gatewayv1.Listener{Name: gatewayv1.SectionName(name), Protocol: protocol, Port: gatewayv1.PortNumber(port)}
}

func gateway(listeners ...gatewayv1.Listener) *gatewayv1.Gateway {
	return &gatewayv1.Gateway{ObjectMeta: meta("telco", "edge", 0), Spec: gatewayv1.GatewaySpec{Listeners: listeners}}
}

func listenerSet(namespace, name string, age int, entries ...gatewayv1.ListenerEntry) *gatewayv1.ListenerSet {
	return &gatewayv1.ListenerSet{ObjectMeta: meta(namespace, name, age), Spec: gatewayv1.ListenerSetSpec{
		ParentRef: gatewayv1.ParentGatewayReference{Name: "edge", Namespace: new(gatewayv1.Namespace("telco"))}, Listeners: entries,
	}}
}

func entry(name string, port int) gatewayv1.ListenerEntry {
	return gatewayv1.ListenerEntry{Name: gatewayv1.SectionName(name), Protocol: "SCTP", Port: gatewayv1.PortNumber(port)}
}

func sctpRoute(namespace, name string, age int, parent gatewayv1.ParentReference, refs ...gatewayv1.BackendRef) *gatewayapi.Route {
	return gatewayapi.RouteOf(&v1alpha1.SCTPRoute{ObjectMeta: meta(namespace, name, age), Spec: v1alpha1.SCTPRouteSpec{
		CommonRouteSpec: gatewayv1.CommonRouteSpec{ParentRefs: []gatewayv1.ParentReference{parent}},
		Rules:           []v1alpha1.SCTPRouteRule{{BackendRefs: refs}},
	}})
}

func to(name string, port int) gatewayv1.BackendRef {
	return gatewayv1.BackendRef{BackendObjectReference: gatewayv1.BackendObjectReference{
		Name: gatewayv1.ObjectName(name), Port: new(gatewayv1.PortNumber(port)),
	}}
}

// listeners has a line for each listener of a view: its name and what is wrong with it.
func listeners(v *gatewayapi.View) string {
	var out []string
	for _, l := range v.Listeners {
		line := string(l.Name)
		for _, verdict := range []gatewayapi.Verdict{l.Accepted, l.Conflicted, l.ResolvedRefs} {
			if !verdict.OK() {
				line += " " + verdict.Reason
			}
		}
		out = append(out, line)
	}
	return strings.Join(out, ", ")
}

// TestListeners: which of a Gateway's listeners, and of its ListenerSets', are valid.
func TestListeners(t *testing.T) {
	tls := listener("a", "SCTP", 1)
	tls.TLS = new(gatewayv1.ListenerTLSConfig)
	kinds := func(kinds ...gatewayv1.RouteGroupKind) gatewayv1.Listener {
		l := listener("a", "SCTP", 1)
		l.AllowedRoutes = &gatewayv1.AllowedRoutes{Kinds: kinds}
		return l
	}
	ours := gatewayv1.RouteGroupKind{Group: new(gatewayv1.Group("ako.vmware.com")), Kind: "SCTPRoute"}
	all := &gatewayv1.AllowedListeners{Namespaces: &gatewayv1.ListenerNamespaces{From: new(gatewayv1.NamespacesFromAll)}}
	for _, test := range []struct {
		name    string
		gateway *gatewayv1.Gateway
		admits  *gatewayv1.AllowedListeners
		sets    []*gatewayv1.ListenerSet
		want    string
	}{
		{"three protocols on one port number", gateway(listener("a", "TCP", 1), listener("b", "UDP", 1), listener("c", "SCTP", 1)),
			nil, nil, "a, b, c"},
		{"both spellings are one protocol", gateway(listener("a", "SCTP", 1), listener("b", "ako.vmware.com/SCTP", 1), listener("c", "SCTP", 2)), nil, nil, "a ProtocolConflict, b ProtocolConflict, c"},
		{"three in each other's way", gateway(listener("a", "TCP", 1), listener("b", "TCP", 1), listener("c", "TCP", 1)), nil, nil, "a ProtocolConflict, b ProtocolConflict, c ProtocolConflict"},
		{"what isn't of layer 4, or misspelt, is in nobody's way", gateway(listener("a", "HTTP", 1), listener("b", "tcp", 1), listener("c", "TCP", 1)), nil, nil, "a UnsupportedProtocol, b UnsupportedProtocol, c"},
		{"tls", gateway(tls), nil, nil, "a UnsupportedValue"},
		{"its own kind of route", gateway(kinds(ours)), nil, nil, "a"},
		{"another kind beside it", gateway(kinds(ours, gatewayv1.RouteGroupKind{Kind: "TCPRoute"})), nil, nil, "a InvalidRouteKinds"},
		{"the kind in another group", gateway(kinds(gatewayv1.RouteGroupKind{Kind: "SCTPRoute"})), nil, nil, "a InvalidRouteKinds"},
		{"sets aren't admitted unless it says so", gateway(listener("a", "SCTP", 1)), nil, []*gatewayv1.ListenerSet{listenerSet("telco", "s", 1, entry("b", 2))}, "a"},
		{"the Gateway comes first, then the older set, which isn't in a newer one's way", gateway(listener("a", "SCTP", 1)), all,
			[]*gatewayv1.ListenerSet{
				listenerSet("x", "new", 2, entry("e", 2), entry("f", 3)), listenerSet("y", "old", 1, entry("b", 1), entry("c", 2)),
			},
			"a, b ProtocolConflict, c, e ProtocolConflict, f"},
		{"of one age the first by namespace and name", gateway(), all, []*gatewayv1.ListenerSet{listenerSet("b", "a", 1, entry("late", 1)), listenerSet("a", "b", 1, entry("early", 1))}, "early, late ProtocolConflict"},
		{"within a set nobody wins", gateway(), all, []*gatewayv1.ListenerSet{listenerSet("a", "s", 1, entry("a", 1), entry("b", 1))}, "a ProtocolConflict, b ProtocolConflict"},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.gateway.Spec.AllowedListeners = test.admits
			if got := listeners(gatewayapi.Look(gatewayapi.World{Gateway: test.gateway, Sets: test.sets})); got != test.want {
				t.Errorf("have %s\nwant %s", got, test.want)
			}
		})
	}
}

// TestAttach: which listeners a route's parentRef means, or why none.
func TestAttach(t *testing.T) {
	from := func(from gatewayv1.FromNamespaces, selector *metav1.LabelSelector) *gatewayv1.AllowedRoutes {
		return &gatewayv1.AllowedRoutes{Namespaces: &gatewayv1.RouteNamespaces{From: &from, Selector: selector}}
	}
	edge := gatewayv1.ParentReference{Name: "edge", Namespace: new(gatewayv1.Namespace("telco"))}
	with := func(change func(*gatewayv1.ParentReference)) gatewayv1.ParentReference {
		ref := edge
		change(&ref)
		return ref
	}
	section := func(name gatewayv1.SectionName) gatewayv1.ParentReference {
		return with(func(r *gatewayv1.ParentReference) { r.SectionName = &name })
	}
	team := &metav1.LabelSelector{MatchLabels: map[string]string{"team": "core"}}
	for _, test := range []struct {
		name      string
		allowed   *gatewayv1.AllowedRoutes
		namespace string // of the route
		ref       gatewayv1.ParentReference
		want      string
	}{
		{"every listener that takes it", nil, "telco", edge, "n2 s6"},
		{"one by name", nil, "telco", section("s6"), "s6"},
		{"one by port", nil, "telco", with(func(r *gatewayv1.ParentReference) { r.Port = new(gatewayv1.PortNumber(38412)) }), "n2"},
		{"an empty name is none", nil, "telco", section(""), "n2 s6"},
		{"name and port have to match both", nil, "telco", with(func(r *gatewayv1.ParentReference) {
			r.SectionName, r.Port = new(gatewayv1.SectionName("n2")), new(gatewayv1.PortNumber(3868))
		}), "NoMatchingParent"},
		{"no such name", nil, "telco", section("n3"), "NoMatchingParent"},
		{"another protocol", nil, "telco", section("web"), "NotAllowedByListeners"},
		{"another namespace", nil, "radio", edge, "NotAllowedByListeners"},
		{"all namespaces", from(gatewayv1.NamespacesFromAll, nil), "radio", edge, "n2 s6"},
		{"those that a selector matches", from(gatewayv1.NamespacesFromSelector, team), "radio", edge, "n2 s6"},
		{"those that it doesn't", from(gatewayv1.NamespacesFromSelector, team), "lab", edge, "NotAllowedByListeners"},
		{"a selector that is missing matches none", from(gatewayv1.NamespacesFromSelector, nil), "telco", edge, "NotAllowedByListeners"},
		{"one that can't be read matches none", from(gatewayv1.NamespacesFromSelector, &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Is"}}}), "radio", edge, "NotAllowedByListeners"},
		{"a word that the API doesn't have", from("Some", nil), "telco", edge, "NotAllowedByListeners"},
		{"another Gateway", nil, "telco", with(func(r *gatewayv1.ParentReference) { r.Name = "core" }), "not ours"},
		{"a Service", nil, "telco", with(func(r *gatewayv1.ParentReference) {
			r.Group, r.Kind = new(gatewayv1.Group("")), new(gatewayv1.Kind("Service"))
		}), "not ours"},
		{"a ListenerSet that isn't the Gateway's", nil, "telco", with(func(r *gatewayv1.ParentReference) {
			r.Kind, r.Name = new(gatewayv1.Kind("ListenerSet")), "other"
		}), "not ours"},
		{"a ListenerSet that isn't admitted", nil, "telco", with(func(r *gatewayv1.ParentReference) {
			r.Kind, r.Name = new(gatewayv1.Kind("ListenerSet")), "more"
		}), "NoMatchingParent"},
	} {
		t.Run(test.name, func(t *testing.T) {
			gw := gateway(listener("n2", "SCTP", 38412), listener("web", "TCP", 80), listener("s6", "ako.vmware.com/SCTP", 3868))
			for i := range gw.Spec.Listeners {
				gw.Spec.Listeners[i].AllowedRoutes = test.allowed
			}
			r := sctpRoute(test.namespace, "amf", 1, test.ref)
			v := gatewayapi.Look(gatewayapi.World{
				Gateway: gw, Sets: []*gatewayv1.ListenerSet{listenerSet("telco", "more", 1, entry("x", 1))}, Routes: []*gatewayapi.Route{r},
				Namespaces: map[string]map[string]string{"telco": {}, "radio": {"team": "core"}, "lab": {"team": "lab"}},
			})
			a := v.Attach(r, test.ref)
			var names []string
			for _, l := range a.Listeners {
				names = append(names, string(l.Name))
				if !slices.Contains(l.Routes, r) {
					t.Errorf("listener %s doesn't have the route", l.Name)
				}
			}
			got := strings.Join(names, " ")
			switch {
			case !a.Ours:
				got = "not ours"
			case !a.OK():
				got += a.Reason
			}
			if got != test.want {
				t.Errorf("have %q (%s), want %q", got, a.Message, test.want)
			}
		})
	}
}

// TestResolve: what a backendRef means, and the reason if nothing.
func TestResolve(t *testing.T) {
	service := func(namespace, name string, kind corev1.ServiceType, ports ...corev1.ServicePort) *corev1.Service {
		return &corev1.Service{ObjectMeta: meta(namespace, name, 0), Spec: corev1.ServiceSpec{Type: kind, Ports: ports}}
	}
	services := map[types.NamespacedName]*corev1.Service{}
	for _, s := range []*corev1.Service{
		service("telco", "amf", "", corev1.ServicePort{Name: "http", Port: 38412}, corev1.ServicePort{Name: "ngap", Port: 38412, Protocol: "SCTP"}, corev1.ServicePort{Name: "dns", Port: 53, Protocol: "UDP"}),
		service("core", "amf", "", corev1.ServicePort{Name: "there", Port: 38412, Protocol: "SCTP"}),
		service("telco", "outside", corev1.ServiceTypeExternalName, corev1.ServicePort{Port: 38412, Protocol: "SCTP"}),
	} {
		services[types.NamespacedName{Namespace: s.Namespace, Name: s.Name}] = s
	}
	in := func(namespace string, ref gatewayv1.BackendRef) gatewayv1.BackendRef {
		ref.Namespace = new(gatewayv1.Namespace(namespace))
		return ref
	}
	kind := func(group, kind string) gatewayv1.BackendRef {
		ref := to("amf", 38412)
		ref.Group, ref.Kind = new(gatewayv1.Group(group)), new(gatewayv1.Kind(kind))
		return ref
	}
	grant := func(namespace, group, kind, from, name string) *gatewayv1beta1.ReferenceGrant {
		g := &gatewayv1beta1.ReferenceGrant{ObjectMeta: meta(namespace, "g", 0), Spec: gatewayv1beta1.ReferenceGrantSpec{
			From: []gatewayv1beta1.ReferenceGrantFrom{
				{Group: gatewayv1.Group(group), Kind: gatewayv1.Kind(kind), Namespace: gatewayv1.Namespace(from)},
			},
			To: []gatewayv1beta1.ReferenceGrantTo{{Kind: "Service"}},
		}}
		if name != "" {
			g.Spec.To[0].Name = new(gatewayv1.ObjectName(name))
		}
		return g
	}
	noPort := to("amf", 0)
	noPort.Port = nil
	for _, test := range []struct {
		name   string
		ref    gatewayv1.BackendRef
		grants []*gatewayv1beta1.ReferenceGrant
		unread bool
		want   string // the port's name, or the reason
	}{
		{"the port of the route's own protocol", to("amf", 38412), nil, false, "ngap"},
		{"the number with another protocol", to("amf", 53), nil, false, "UnsupportedProtocol"},
		{"no such number", to("amf", 1), nil, false, "BackendNotFound"},
		{"no number", noPort, nil, false, "BackendNotFound"},
		{"no such Service", to("smf", 38412), nil, false, "BackendNotFound"},
		{"an ExternalName", to("outside", 38412), nil, false, "BackendNotFound"},
		{"another kind", kind("", "Pod"), nil, false, "InvalidKind"},
		{"another group", kind("example.com", "Service"), nil, false, "InvalidKind"},
		{"its own namespace by name", in("telco", to("amf", 38412)), nil, false, "ngap"},
		{"another namespace", in("core", to("amf", 38412)), nil, false, "RefNotPermitted"},
		{"whether it exists is not told without permission", in("core", to("nobody", 38412)), nil, false, "RefNotPermitted"},
		{"with permission it is", in("core", to("nobody", 38412)), []*gatewayv1beta1.ReferenceGrant{grant("core", "ako.vmware.com", "SCTPRoute", "telco", "")}, false, "BackendNotFound"},
		{"permitted", in("core", to("amf", 38412)), []*gatewayv1beta1.ReferenceGrant{grant("core", "ako.vmware.com", "SCTPRoute", "telco", "")}, false, "there"},
		{"permitted by name", in("core", to("amf", 38412)), []*gatewayv1beta1.ReferenceGrant{grant("core", "ako.vmware.com", "SCTPRoute", "telco", "amf")}, false, "there"},
		{"for another name", in("core", to("amf", 38412)), []*gatewayv1beta1.ReferenceGrant{grant("core", "ako.vmware.com", "SCTPRoute", "telco", "smf")}, false, "RefNotPermitted"},
		{"for another kind of route", in("core", to("amf", 38412)), []*gatewayv1beta1.ReferenceGrant{grant("core", "gateway.networking.k8s.io", "TCPRoute", "telco", "")}, false, "RefNotPermitted"},
		{"for another group", in("core", to("amf", 38412)), []*gatewayv1beta1.ReferenceGrant{grant("core", "gateway.networking.k8s.io", "SCTPRoute", "telco", "")}, false, "RefNotPermitted"},
		{"for another namespace", in("core", to("amf", 38412)), []*gatewayv1beta1.ReferenceGrant{grant("core", "ako.vmware.com", "SCTPRoute", "radio", "")}, false, "RefNotPermitted"},
		{"a grant in the route's namespace", in("core", to("amf", 38412)), []*gatewayv1beta1.ReferenceGrant{grant("telco", "ako.vmware.com", "SCTPRoute", "telco", "")}, false, "RefNotPermitted"},
		{"grants that can't be read", in("core", to("amf", 38412)), nil, true, "RefNotPermitted unsure there"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := gatewayapi.World{Services: services, Grants: test.grants, Unread: map[string]bool{gatewayapi.KindReferenceGrant: test.unread}}
			b := w.Resolve(sctpRoute("telco", "amf", 1, gatewayv1.ParentReference{Name: "edge"}, test.ref))[0]
			got := b.Reason
			if b.Unsure {
				got += " unsure "
			}
			if b.Service != nil {
				got += b.Port.Name
			}
			if got != test.want {
				t.Errorf("have %q (%s), want %q", got, b.Message, test.want)
			}
			if b.Weight != 1 {
				t.Errorf("without a weight it is %d", b.Weight)
			}
		})
	}
}

// TestOrderSaysNothing: whatever the order in which objects were read, the view is the same.
func TestOrderSaysNothing(t *testing.T) {
	all := &gatewayv1.AllowedListeners{Namespaces: &gatewayv1.ListenerNamespaces{From: new(gatewayv1.NamespacesFromAll)}}
	random := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		gw := gateway(listener("a", "SCTP", 1), listener("b", "SCTP", 2))
		gw.Spec.AllowedListeners = all
		w := gatewayapi.World{Gateway: gw}
		for i := range 1 + random.IntN(5) {
			w.Sets = append(w.Sets, listenerSet("telco", fmt.Sprintf("s%d", i), random.IntN(3), entry(fmt.Sprintf("s%d", i), 1+random.IntN(4))))
		}
		for i := range 1 + random.IntN(8) {
			w.Routes = append(w.Routes, sctpRoute("telco", fmt.Sprintf("r%d", i), random.IntN(3), gatewayv1.ParentReference{Name: "edge"}))
		}
		tell := func() string {
			v := gatewayapi.Look(w)
			out := listeners(v)
			for _, l := range v.Listeners {
				out += fmt.Sprintf("\n%s: %v", l.Name, l.Routes)
			}
			return out
		}
		first := tell()
		random.Shuffle(len(w.Sets), func(i, j int) { w.Sets[i], w.Sets[j] = w.Sets[j], w.Sets[i] })
		random.Shuffle(len(w.Routes), func(i, j int) { w.Routes[i], w.Routes[j] = w.Routes[j], w.Routes[i] })
		if second := tell(); second != first {
			t.Fatalf("first\n%s\nthen\n%s", first, second)
		}
	}
}
