package integration

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	gatewayv1beta1 "sigs.k8s.io/gateway-api/apis/v1beta1"

	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1alpha1"
	"github.com/avi-l4-operator/avi-l4-operator/test/suite"
)

// backend creates a Service with endpoints that no Gateway of the Services API has an eye on.
func backend(e *suite.Env, name, address string, ports ...corev1.ServicePort) *corev1.Service {
	e.T.Helper()
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: e.Namespace}, Spec: corev1.ServiceSpec{Selector: map[string]string{"app": name}, Ports: ports}}
	e.Create(svc, e.Slice(svc, address))
	return svc
}

func routedClass(e *suite.Env) *gatewayv1.GatewayClass {
	e.T.Helper()
	class := e.RoutedClass()
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
	gw := e.Routed("edge", suite.RoutedListener("tcp", "TCP", 6060), suite.RoutedListener("udp", "UDP", 6060), suite.RoutedListener("sctp", "ako.vmware.com/SCTP", 6060))
	backend(e, "app", "10.244.1.5", suite.Port("TCP", 80), suite.Port("UDP", 80), suite.Port("SCTP", 80))
	routes := []client.Object{e.TCPRoute("t", "edge", "", suite.To("app", 80, 1)), e.UDPRoute("u", "edge", "", suite.To("app", 80, 1)), e.SCTPRoute("s", "edge", "", suite.To("app", 80, 1))}
	e.Create(gw)
	e.Create(routes...)
	if a := e.RoutedReady(gw); !strings.HasPrefix(a, "10.10.") {
		t.Errorf("address is %s", a)
	}
	for _, name := range []string{"tcp", "udp", "sctp"} {
		e.Attached(gw, name, 1)
		e.RoutedListenerCondition(gw, name, "Accepted", metav1.ConditionTrue, "Accepted")
		e.RoutedListenerCondition(gw, name, "Programmed", metav1.ConditionTrue, "Programmed")
		e.RoutedListenerCondition(gw, name, "ResolvedRefs", metav1.ConditionTrue, "ResolvedRefs")
	}
	for _, r := range routes {
		e.RouteCondition(r, "Accepted", metav1.ConditionTrue, "Accepted")
		e.RouteCondition(r, "ResolvedRefs", metav1.ConditionTrue, "ResolvedRefs")
	}
	for _, p := range []string{"TCP", "UDP", "SCTP"} {
		pool := e.RoutedPool(gw, p, 6060, "app", 80)
		e.Eventually("servers of "+pool, func() error {
			if got := fmt.Sprint(e.Servers(pool)); got != "[10.244.1.5:9090]" {
				return fmt.Errorf("have %s of %v", got, e.Owned())
			}
			return nil
		})
	}
	e.Eventually("the class", func() error {
		a, v := classCondition(e, class, "Accepted"), classCondition(e, class, "SupportedVersion")
		if a == nil || a.Status != metav1.ConditionTrue || v == nil || v.Status != metav1.ConditionTrue || len(class.Finalizers) != 1 || !slices.IsSortedFunc(class.Status.SupportedFeatures, func(a, b gatewayv1.SupportedFeature) int { return strings.Compare(string(a.Name), string(b.Name)) }) {
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
	// A restart changes nothing.
	e.StopOperator()
	e.Sim.ResetRequests()
	e.StartOperator()
	e.Never("a write after a restart", 2*time.Second, func() bool { return len(e.Sim.Writes()) > 0 })
	e.Delete(gw)
	e.Eventually("everything goes", func() error {
		if n := e.Owned(); len(n) > 0 {
			return fmt.Errorf("the Controller holds %v", n)
		}
		return nil
	})
	e.NoParents(routes[0])
}

// TestRoutedWeights: several backends are a pool group with ratios, of which one that doesn't exist has its share rejected.
func TestRoutedWeights(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	routedClass(e)
	gw := e.Routed("edge", suite.RoutedListener("n2", "SCTP", 38412))
	backend(e, "old", "10.244.1.5", suite.Port("SCTP", 38412))
	backend(e, "new", "10.244.1.6", suite.Port("SCTP", 38412))
	route := e.SCTPRoute("amf", "edge", "n2", suite.To("old", 38412, 90), suite.To("new", 38412, 10))
	e.Create(gw, route)
	e.RoutedReady(gw)
	group := e.RoutedName(gw) + "-SCTP-38412"
	ratios := func(want string) {
		t.Helper()
		e.Eventually("ratios "+want, func() error {
			o := e.Object("poolgroup", group)
			members, _ := o["members"].([]any)
			var have []string
			for _, m := range members {
				have = append(have, fmt.Sprint(m.(map[string]any)["ratio"]))
			}
			if got := strings.Join(have, " "); got != want {
				return fmt.Errorf("have %q", got)
			}
			return nil
		})
	}
	ratios("1 9") // by pool name: new, old
	suite.Update(e, route, func(r *v1alpha1.SCTPRoute) {
		r.Spec.Rules[0].BackendRefs = append(r.Spec.Rules[0].BackendRefs, suite.To("nobody", 38412, 100))
	})
	ratios("1 9 10")
	if m := e.RouteCondition(route, "ResolvedRefs", metav1.ConditionFalse, "BackendNotFound"); !strings.Contains(m, "nobody") || !strings.Contains(m, "rejected") {
		t.Errorf("message: %s", m)
	}
	e.RouteCondition(route, "Accepted", metav1.ConditionTrue, "Accepted")
	suite.Update(e, route, func(r *v1alpha1.SCTPRoute) { r.Spec.Rules[0].BackendRefs = r.Spec.Rules[0].BackendRefs[:1] })
	e.Eventually("one backend needs no group", func() error {
		if n := e.Owned(); n["poolgroup"] != 0 || n["pool"] != 1 {
			return fmt.Errorf("the Controller holds %v", n)
		}
		return nil
	})
}

// TestRoutedReferenceGrant is given and withdrawn.
func TestRoutedReferenceGrant(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	routedClass(e)
	other := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: e.Namespace + "-core", Labels: map[string]string{"served-by": e.Cluster}}}
	e.Create(other)
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "amf", Namespace: other.Name}, Spec: corev1.ServiceSpec{Selector: map[string]string{"app": "amf"}, Ports: []corev1.ServicePort{suite.Port("SCTP", 38412)}}}
	e.Create(svc, e.Slice(svc, "10.244.1.5"))
	ref := suite.To("amf", 38412, 1)
	ref.Namespace = new(gatewayv1.Namespace(other.Name))
	gw, route := e.Routed("edge", suite.RoutedListener("n2", "SCTP", 38412)), e.SCTPRoute("amf", "edge", "", ref)
	e.Create(gw, route)
	e.RoutedReady(gw)
	e.RouteCondition(route, "ResolvedRefs", metav1.ConditionFalse, "RefNotPermitted")
	grant := &gatewayv1beta1.ReferenceGrant{ObjectMeta: metav1.ObjectMeta{Name: "edge", Namespace: other.Name}, Spec: gatewayv1beta1.ReferenceGrantSpec{
		From: []gatewayv1beta1.ReferenceGrantFrom{{Group: "ako.vmware.com", Kind: "SCTPRoute", Namespace: gatewayv1.Namespace(e.Namespace)}},
		To:   []gatewayv1beta1.ReferenceGrantTo{{Kind: "Service"}},
	}}
	e.Create(grant)
	e.RouteCondition(route, "ResolvedRefs", metav1.ConditionTrue, "ResolvedRefs")
	e.Eventually("the pool", func() error {
		if n := e.Owned(); n["pool"] != 1 {
			return fmt.Errorf("the Controller holds %v", n)
		}
		return nil
	})
	e.Delete(grant)
	e.RouteCondition(route, "ResolvedRefs", metav1.ConditionFalse, "RefNotPermitted")
	e.Eventually("the pool goes", func() error {
		if n := e.Owned(); n["pool"] != 0 {
			return fmt.Errorf("the Controller holds %v", n)
		}
		return nil
	})
}

// TestRoutedStatusOfWhatIsWrong has a Gateway with one bad listener of each kind beside a good one, which is served.
func TestRoutedStatusOfWhatIsWrong(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	routedClass(e)
	kinds := suite.RoutedListener("kinds", "SCTP", 3868)
	kinds.AllowedRoutes = &gatewayv1.AllowedRoutes{Kinds: []gatewayv1.RouteGroupKind{{Kind: "TCPRoute"}, {Group: new(gatewayv1.Group("ako.vmware.com")), Kind: "SCTPRoute"}}}
	gw := e.Routed("edge", suite.RoutedListener("good", "SCTP", 38412), suite.RoutedListener("http", "HTTP", 80), suite.RoutedListener("lower", "sctp", 81),
		suite.RoutedListener("one", "SCTP", 2905), suite.RoutedListener("two", "ako.vmware.com/SCTP", 2905), kinds)
	backend(e, "amf", "10.244.1.5", suite.Port("SCTP", 38412))
	route := e.SCTPRoute("amf", "edge", "good", suite.To("amf", 38412, 1))
	tcp := e.TCPRoute("tcp", "edge", "good", suite.To("amf", 38412, 1))
	lost := e.SCTPRoute("lost", "edge", "nowhere", suite.To("amf", 38412, 1))
	e.Create(gw, route, tcp, lost)
	e.RoutedReady(gw)
	e.RoutedCondition(gw, "Accepted", metav1.ConditionTrue, "ListenersNotValid")
	e.RoutedListenerCondition(gw, "good", "Programmed", metav1.ConditionTrue, "Programmed")
	for _, name := range []string{"http", "lower"} {
		e.RoutedListenerCondition(gw, name, "Accepted", metav1.ConditionFalse, "UnsupportedProtocol")
		e.RoutedListenerCondition(gw, name, "Programmed", metav1.ConditionFalse, "Invalid")
	}
	for _, name := range []string{"one", "two"} {
		e.RoutedListenerCondition(gw, name, "Accepted", metav1.ConditionFalse, "ProtocolConflict")
		e.RoutedListenerCondition(gw, name, "Conflicted", metav1.ConditionTrue, "ProtocolConflict")
		e.RoutedListenerCondition(gw, name, "Programmed", metav1.ConditionFalse, "ProtocolConflict")
	}
	e.RoutedListenerCondition(gw, "kinds", "ResolvedRefs", metav1.ConditionFalse, "InvalidRouteKinds")
	for _, l := range gw.Status.Listeners {
		want := map[string]int{"good": 1, "one": 1, "two": 1, "kinds": 1}[string(l.Name)]
		if len(l.SupportedKinds) != want {
			t.Errorf("listener %s supports %v", l.Name, l.SupportedKinds)
		}
	}
	e.RouteCondition(tcp, "Accepted", metav1.ConditionFalse, "NotAllowedByListeners")
	e.RouteCondition(lost, "Accepted", metav1.ConditionFalse, "NoMatchingParent")
	// Their names differ only in the protocol: mended, the conflict is gone.
	suite.Update(e, gw, func(gw *gatewayv1.Gateway) { gw.Spec.Listeners = gw.Spec.Listeners[:4] })
	e.RoutedListenerCondition(gw, "one", "Accepted", metav1.ConditionTrue, "Accepted")
	for _, l := range gw.Status.Listeners {
		if string(l.Name) == "one" && slices.ContainsFunc(l.Conditions, func(c metav1.Condition) bool { return c.Type == "Conflicted" }) {
			t.Errorf("the conflict is still told: %+v", l.Conditions)
		}
	}
}

// TestRoutedAddresses: static ones, one of a type that isn't supported, one that can't be had, and one to allocate.
func TestRoutedAddresses(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	routedClass(e)
	address := func(kind gatewayv1.AddressType, value string) gatewayv1.GatewaySpecAddress {
		return gatewayv1.GatewaySpecAddress{Type: &kind, Value: value}
	}
	gw := e.Routed("edge", suite.RoutedListener("n2", "SCTP", 38412))
	gw.Spec.Addresses = []gatewayv1.GatewaySpecAddress{address("test/custom", "x"), address("IPAddress", "192.0.2.77"), address("IPAddress", "10.10.0.77")}
	e.Create(gw)
	e.RoutedCondition(gw, "Accepted", metav1.ConditionFalse, "UnsupportedAddress")
	suite.Update(e, gw, func(gw *gatewayv1.Gateway) { gw.Spec.Addresses = gw.Spec.Addresses[1:] })
	e.RoutedCondition(gw, "Accepted", metav1.ConditionTrue, "Accepted")
	e.RoutedCondition(gw, "Programmed", metav1.ConditionFalse, "AddressNotUsable")
	suite.Update(e, gw, func(gw *gatewayv1.Gateway) { gw.Spec.Addresses = gw.Spec.Addresses[1:] })
	if a := e.RoutedReady(gw); a != "10.10.0.77" || len(gw.Status.Addresses) != 1 {
		t.Errorf("addresses are %+v", gw.Status.Addresses)
	}
	two := e.Routed("two", suite.RoutedListener("n2", "SCTP", 38412))
	two.Spec.Addresses = []gatewayv1.GatewaySpecAddress{address("IPAddress", "10.10.0.80"), address("IPAddress", "10.10.0.81")}
	empty := e.Routed("empty", suite.RoutedListener("n2", "SCTP", 38412))
	empty.Spec.Addresses = []gatewayv1.GatewaySpecAddress{{Type: new(gatewayv1.IPAddressType)}}
	e.Create(two, empty)
	e.RoutedReady(empty)
	e.RoutedReady(two)
	if len(two.Status.Addresses) != 2 || two.Status.Addresses[1].Value != "10.10.0.81" {
		t.Errorf("addresses are %+v", two.Status.Addresses)
	}
}

// TestListenerSets: not admitted, admitted, and in each other's way.
func TestListenerSets(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	routedClass(e)
	gw := e.Routed("edge", suite.RoutedListener("n2", "SCTP", 38412))
	set := &gatewayv1.ListenerSet{ObjectMeta: metav1.ObjectMeta{Name: "more", Namespace: e.Namespace}, Spec: gatewayv1.ListenerSetSpec{
		ParentRef: gatewayv1.ParentGatewayReference{Name: "edge"},
		Listeners: []gatewayv1.ListenerEntry{{Name: "diameter", Port: 3868, Protocol: "SCTP"}, {Name: "n2", Port: 38412, Protocol: "SCTP"}},
	}}
	backend(e, "hss", "10.244.1.5", suite.Port("SCTP", 3868))
	route := e.SCTPRoute("hss", "more", "diameter", suite.To("hss", 3868, 1))
	route.Spec.ParentRefs[0].Kind = new(gatewayv1.Kind("ListenerSet"))
	e.Create(gw, set, route)
	condition := func(kind string, status metav1.ConditionStatus, reason string) {
		t.Helper()
		e.Eventually(kind+" of the ListenerSet is "+reason, func() error {
			if err := e.Read(set); err != nil {
				return err
			}
			for _, c := range set.Status.Conditions {
				if c.Type == kind && c.Status == status && c.Reason == reason {
					return nil
				}
			}
			return fmt.Errorf("have %+v", set.Status.Conditions)
		})
	}
	condition("Accepted", metav1.ConditionFalse, "NotAllowed")
	condition("Programmed", metav1.ConditionFalse, "NotAllowed")
	suite.Update(e, gw, func(gw *gatewayv1.Gateway) {
		gw.Spec.AllowedListeners = &gatewayv1.AllowedListeners{Namespaces: &gatewayv1.ListenerNamespaces{From: new(gatewayv1.NamespacesFromSame)}}
	})
	condition("Accepted", metav1.ConditionTrue, "ListenersNotValid") // one of two
	condition("Programmed", metav1.ConditionTrue, "Programmed")
	e.RoutedListenerCondition(gw, "n2", "Accepted", metav1.ConditionTrue, "Accepted") // the Gateway's own comes first
	e.RouteCondition(route, "Accepted", metav1.ConditionTrue, "Accepted")
	pool := e.RoutedPool(gw, "SCTP", 3868, "hss", 3868)
	e.Eventually("the pool", func() error {
		if got := fmt.Sprint(e.Servers(pool)); got != "[10.244.1.5:9090]" {
			return fmt.Errorf("have %s", got)
		}
		return nil
	})
	if gw.Status.AttachedListenerSets == nil || *gw.Status.AttachedListenerSets != 1 {
		t.Errorf("attachedListenerSets is %v", gw.Status.AttachedListenerSets)
	}
	e.Delete(set)
	e.Eventually("the listener goes with its set", func() error {
		if n := e.Owned()["pool"]; n != 0 {
			return fmt.Errorf("%d pools", n)
		}
		return nil
	})
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
