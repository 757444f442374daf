// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1beta1"
	"github.com/avi-l4-operator/avi-l4-operator/test/suite"
)

// address is a static one of a type.
func address(kind gatewayv1.AddressType, value string) gatewayv1.GatewaySpecAddress {
	return gatewayv1.GatewaySpecAddress{Type: &kind, Value: value}
}

// parameters refer to an object from a Gateway's own infrastructure.
func parameters(group gatewayv1.Group, kind gatewayv1.Kind, name string) *gatewayv1.GatewayInfrastructure {
	return &gatewayv1.GatewayInfrastructure{ParametersRef: &gatewayv1.LocalParametersReference{Group: group, Kind: kind, Name: name}}
}

// current checks what holds for each status of a Gateway that has just been read: all of it is about the generation that
// there is, addresses have a type, and Ready, which the API reserves, is not used.
func current(t *testing.T, gw *routedGateway) {
	t.Helper()
	all := slices.Clone(gw.Status.Conditions)
	for _, l := range gw.Status.Listeners {
		all = append(all, l.Conditions...)
		for _, kind := range []string{"Accepted", "Programmed", "ResolvedRefs"} {
			if apimeta.FindStatusCondition(l.Conditions, kind) == nil {
				t.Errorf("listener %s of %s has no condition %s", l.Name, gw.Name, kind)
			}
		}
	}
	for _, c := range all {
		if c.ObservedGeneration != gw.Generation || c.Type == "Ready" {
			t.Errorf("%s at generation %d has condition %+v", gw.Name, gw.Generation, c)
		}
	}
	for _, a := range gw.Status.Addresses {
		if a.Type == nil || *a.Type != gatewayv1.IPAddressType {
			t.Errorf("%s has address %+v", gw.Name, a)
		}
	}
}

// TestRoutedGatewayReasons has the reasons of Accepted and Programmed, and which comes first where there are several.
func TestRoutedGatewayReasons(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	routedClass(e)
	http := suite.Listener("http", "HTTP", 80)
	static := func(values ...string) (out []gatewayv1.GatewaySpecAddress) {
		for _, v := range values {
			out = append(out, address("IPAddress", v))
		}
		return out
	}
	for name, c := range map[string]struct {
		spoil      func(*routedGateway)
		accepted   metav1.ConditionStatus
		because    string
		programmed string
	}{
		"all-is-well":          {func(*routedGateway) {}, yes, "Accepted", "Programmed"},
		"one-listener-invalid": {func(gw *routedGateway) { gw.Spec.Listeners = append(gw.Spec.Listeners, http) }, yes, "ListenersNotValid", "Programmed"},
		"no-listener-valid":    {func(gw *routedGateway) { gw.Spec.Listeners[0] = http }, no, "ListenersNotValid", "Invalid"},
		"address-type": {func(gw *routedGateway) {
			gw.Spec.Addresses = []gatewayv1.GatewaySpecAddress{address("Hostname", "edge.example.com")}
		}, no, "UnsupportedAddress", "Invalid"},
		"address-type-before-listeners": {func(gw *routedGateway) {
			gw.Spec.Listeners[0], gw.Spec.Addresses = http, []gatewayv1.GatewaySpecAddress{address("example.com/custom", "x")}
		}, no, "UnsupportedAddress", "Invalid"},
		"address-type-before-unusable-address": {func(gw *routedGateway) {
			gw.Spec.Addresses = append(static("192.0.2.77"), address("example.com/custom", "x"))
		}, no, "UnsupportedAddress", "Invalid"},
		"unusable-address":          {func(gw *routedGateway) { gw.Spec.Addresses = static("192.0.2.77") }, yes, "Accepted", "AddressNotUsable"},
		"unusable-of-two-addresses": {func(gw *routedGateway) { gw.Spec.Addresses = static("10.10.60.1", "192.0.2.77") }, yes, "Accepted", "AddressNotUsable"},
		"unusable-address-and-listener": {func(gw *routedGateway) {
			gw.Spec.Listeners, gw.Spec.Addresses = append(gw.Spec.Listeners, http), static("192.0.2.77")
		}, yes, "ListenersNotValid", "AddressNotUsable"},
		"parameters": {func(gw *routedGateway) { gw.Spec.Infrastructure = parameters("example.com", "Config", "x") }, no, "InvalidParameters", "Invalid"},
		"parameters-before-listeners": {func(gw *routedGateway) {
			gw.Spec.Listeners[0], gw.Spec.Infrastructure = http, parameters("ako.vmware.com", "AviInfraSetting", "there-is-none")
		}, no, "InvalidParameters", "Invalid"},
		"name": {func(gw *routedGateway) { gw.Name = strings.Repeat("n", 253) }, no, "Invalid", "Invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := e.In(t)
			gw := e.Gateway(name, suite.Listener("n2", "SCTP", 38412))
			c.spoil(gw)
			e.Create(gw)
			e.GatewayCondition(gw, "Accepted", c.accepted, c.because)
			if c.programmed == "Programmed" {
				e.GatewayReady(gw)
			} else {
				e.GatewayCondition(gw, "Programmed", no, c.programmed)
				if len(gw.Status.Addresses) > 0 || e.Object("virtualservice", e.GatewayName(gw)) != nil {
					t.Errorf("it has %v and is served", gw.Status.Addresses)
				}
			}
			current(t, gw)
			// Fixed, and with another generation, it is served.
			suite.Update(e, gw, func(gw *routedGateway) {
				gw.Spec = e.Gateway("", suite.Listener("n2", "ako.vmware.com/SCTP", 38412)).Spec
			})
			if name == "name" {
				e.GatewayCondition(gw, "Accepted", no, "Invalid")
				return
			}
			e.GatewayCondition(gw, "Accepted", yes, "Accepted")
			e.GatewayReady(gw)
			current(t, gw)
		})
	}
}

// TestRoutedGatewayStatus has the rules about the rest of a Gateway's status.
func TestRoutedGatewayStatus(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	routedClass(e)
	listener := suite.Listener("n2", "SCTP", 38412)
	audited := metav1.Condition{Type: "example.com/Audited", Status: yes, Reason: "Audited", ObservedGeneration: 1}
	served := func(e *suite.Env, name string) *routedGateway {
		e.T.Helper()
		gw := e.Gateway(name, listener)
		e.Create(gw)
		e.GatewayReady(gw)
		return gw
	}
	writeStatus := func(e *suite.Env, gw *routedGateway, change func(*gatewayv1.GatewayStatus)) {
		e.T.Helper()
		e.Eventually("somebody else writes the status", func() error {
			if err := e.Read(gw); err != nil {
				return err
			}
			change(&gw.Status)
			return e.Client.Status().Update(e.T.Context(), gw)
		})
	}

	t.Run("conditions-of-others-are-kept", func(t *testing.T) {
		e := e.In(t)
		gw := served(e, "shared")
		writeStatus(e, gw, func(s *gatewayv1.GatewayStatus) { apimeta.SetStatusCondition(&s.Conditions, audited) })
		suite.Update(e, gw, func(gw *routedGateway) {
			gw.Spec.Listeners = append(gw.Spec.Listeners, suite.Listener("http", "HTTP", 80))
		})
		e.GatewayCondition(gw, "Accepted", yes, "ListenersNotValid")
		if a := apimeta.FindStatusCondition(gw.Status.Conditions, audited.Type); a == nil || a.Status != yes || a.ObservedGeneration != 1 {
			t.Errorf("conditions are %+v", gw.Status.Conditions)
		}
	})

	t.Run("status-taken-away-comes-back", func(t *testing.T) {
		e := e.In(t)
		gw := served(e, "wiped")
		writeStatus(e, gw, func(s *gatewayv1.GatewayStatus) { *s = gatewayv1.GatewayStatus{} })
		e.GatewayReady(gw)
		e.ListenerCondition(gw, "n2", "Programmed", yes, "Programmed")
		current(t, gw)
	})

	t.Run("transition-time-moves-with-the-status-only", func(t *testing.T) {
		e := e.In(t)
		gw := served(e, "calm")
		before := apimeta.FindStatusCondition(gw.Status.Conditions, "Accepted").LastTransitionTime
		time.Sleep(1100 * time.Millisecond) // times have seconds
		suite.Update(e, gw, func(gw *routedGateway) {
			gw.Spec.Listeners = append(gw.Spec.Listeners, suite.Listener("web", "TCP", 80))
		})
		e.GatewayCondition(gw, "Accepted", yes, "Accepted")
		if after := apimeta.FindStatusCondition(gw.Status.Conditions, "Accepted").LastTransitionTime; !after.Equal(&before) {
			t.Errorf("it moved from %s to %s", before, after)
		}
	})

	t.Run("attached-listener-sets-are-those-accepted", func(t *testing.T) {
		e := e.In(t)
		gw := served(e, "sets")
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
		attached(0)
		one := e.ListenerSet("sets-one", "sets", gatewayv1.ListenerEntry{Name: "diameter", Port: 3868, Protocol: "SCTP"})
		taken := e.ListenerSet("sets-taken", "sets", gatewayv1.ListenerEntry{Name: "n2", Port: 38412, Protocol: "SCTP"})
		e.Create(one, taken)
		e.SetCondition(one, "Accepted", no, "NotAllowed") // None is the default
		attached(0)
		suite.Update(e, gw, func(gw *routedGateway) {
			gw.Spec.AllowedListeners = &gatewayv1.AllowedListeners{
				Namespaces: &gatewayv1.ListenerNamespaces{From: new(gatewayv1.NamespacesFromSame)}}
		})
		e.SetCondition(one, "Accepted", yes, "Accepted")
		e.SetCondition(one, "Programmed", yes, "Programmed")
		e.SetCondition(taken, "Accepted", no, "ListenersNotValid")
		attached(1)
		// What is wrong in a ListenerSet is reported there: the Gateway's own conditions are about its own listeners (GEP-1713).
		e.GatewayCondition(gw, "Accepted", yes, "Accepted")
		e.GatewayCondition(gw, "Programmed", yes, "Programmed")
		// While the Gateway itself isn't accepted, neither are its sets.
		suite.Update(e, gw, func(gw *routedGateway) {
			gw.Spec.Addresses = []gatewayv1.GatewaySpecAddress{address("Hostname", "edge")}
		})
		e.GatewayCondition(gw, "Accepted", no, "UnsupportedAddress")
		e.SetCondition(one, "Accepted", no, "ParentNotAccepted")
		attached(0)
		suite.Update(e, gw, func(gw *routedGateway) { gw.Spec.Addresses = nil })
		e.SetCondition(one, "Accepted", yes, "Accepted")
		attached(1)
		e.Delete(one)
		attached(0)
	})

	t.Run("address-not-assigned-while-none-is-free", func(t *testing.T) {
		e := e.In(t)
		e.Sim.SetIPAMExhausted(true)
		gw := e.Gateway("late", listener)
		e.Create(gw)
		e.GatewayCondition(gw, "Programmed", no, "AddressNotAssigned")
		e.GatewayCondition(gw, "Accepted", yes, "Accepted")
		e.ListenerCondition(gw, "n2", "Programmed", no, "Pending")
		current(t, gw)
		e.Sim.SetIPAMExhausted(false)
		suite.Update(e, gw, func(gw *routedGateway) { metav1.SetMetaDataAnnotation(&gw.ObjectMeta, "try", "again") }) // sooner than in a minute
		e.GatewayReady(gw)
	})

	t.Run("given-back-when-it-turns-to-another-controller", func(t *testing.T) {
		e := e.In(t)
		other := classOf(e, "-other", func(c *gatewayv1.GatewayClass) { c.Spec.ControllerName = foreignController })
		gw := served(e, "leaves")
		suite.Update(e, gw, func(gw *routedGateway) {
			gw.Spec.AllowedListeners = &gatewayv1.AllowedListeners{Namespaces: &gatewayv1.ListenerNamespaces{From: new(gatewayv1.NamespacesFromAll)}}
		})
		set := e.ListenerSet("leaves-too", "leaves", gatewayv1.ListenerEntry{Name: "diameter", Port: 3868, Protocol: "SCTP"})
		svc := backend(e, "leaves-amf", "10.244.1.5", suite.Port("SCTP", 38412))
		route := e.SCTPRoute("leaves-amf", "leaves", "", suite.To(svc.Name, 38412, 1))
		e.Create(set, route)
		e.SetCondition(set, "Accepted", yes, "Accepted")
		e.RouteCondition(route, "Accepted", yes, "Accepted")
		writeStatus(e, gw, func(s *gatewayv1.GatewayStatus) { apimeta.SetStatusCondition(&s.Conditions, audited) })
		suite.Update(e, gw, func(gw *routedGateway) { gw.Spec.GatewayClassName = gatewayv1.ObjectName(other.Name) })
		e.Eventually("it is let go", func() error {
			if err := e.Read(gw); err != nil {
				return err
			}
			if len(gw.Finalizers) > 0 || len(gw.Status.Addresses) > 0 || len(gw.Status.Listeners) > 0 || e.Object("virtualservice",
				e.GatewayName(gw)) != nil {
				return fmt.Errorf("finalizers %v, status %+v, the Controller holds %v", gw.Finalizers, gw.Status, e.Owned())
			}
			return nil
		})
		for _, kind := range []string{"Accepted", "Programmed"} {
			if c := apimeta.FindStatusCondition(gw.Status.Conditions, kind); c == nil || c.Status != metav1.ConditionUnknown ||
				c.Reason != "Pending" {
				t.Errorf("condition %s is %+v", kind, c)
			}
		}
		if len(gw.Status.Conditions) != 3 || apimeta.FindStatusCondition(gw.Status.Conditions, audited.Type) == nil {
			t.Errorf("conditions are %+v", gw.Status.Conditions)
		}
		e.NoParents(route)
		// A ListenerSet is its Gateway's: its new controller finds nothing of ours on it.
		e.SetCondition(set, "Accepted", metav1.ConditionUnknown, "Pending")
		e.SetCondition(set, "Programmed", metav1.ConditionUnknown, "Pending")
		if len(set.Status.Listeners) > 0 {
			t.Errorf("the ListenerSet's status is %+v", set.Status)
		}
	})

	t.Run("listener-sets-outlive-it", func(t *testing.T) {
		e := e.In(t)
		gw := served(e, "goes")
		suite.Update(e, gw, func(gw *routedGateway) {
			gw.Spec.AllowedListeners = &gatewayv1.AllowedListeners{
				Namespaces: &gatewayv1.ListenerNamespaces{From: new(gatewayv1.NamespacesFromSame)}}
		})
		set := e.ListenerSet("stays", "goes", gatewayv1.ListenerEntry{Name: "diameter", Port: 3868, Protocol: "SCTP"})
		e.Create(set)
		e.SetCondition(set, "Programmed", yes, "Programmed")
		e.Delete(gw)
		gone(e, gw)
		e.SetCondition(set, "Accepted", metav1.ConditionUnknown, "Pending")
		e.SetCondition(set, "Programmed", metav1.ConditionUnknown, "Pending")
	})
}

// TestRoutedGatewayInfrastructure: labels become markers of everything on the Controller, annotations have no meaning there,
// and the Gateway's own parametersRef comes before its class'.
func TestRoutedGatewayInfrastructure(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	furnish(e)
	setting := e.Setting("telco", telco())
	e.Own(setting)
	routedClass(e)
	backend(e, "amf", "10.244.1.5", suite.Port("SCTP", 38412))
	backend(e, "amf-new", "10.244.1.6", suite.Port("SCTP", 38412))
	gw := e.Gateway("edge", suite.Listener("n2", "SCTP", 38412))
	gw.Spec.Infrastructure = &gatewayv1.GatewayInfrastructure{
		Labels:      map[gatewayv1.LabelKey]gatewayv1.LabelValue{"team": "core", "example.com/site": "", "clustername": "somebody-else"},
		Annotations: map[gatewayv1.AnnotationKey]gatewayv1.AnnotationValue{"example.com/owner": "us"},
	}
	e.Create(gw, e.SCTPRoute("amf", "edge", "", suite.To("amf", 38412, 1), suite.To("amf-new", 38412, 1)))
	e.GatewayReady(gw)
	tree := e.GatewayServes(gw, "SCTP/38412 1*amf [10.244.1.5:9090] + 1*amf-new [10.244.1.6:9090]")
	marked := func(want map[string]string) {
		t.Helper()
		e.Eventually(fmt.Sprintf("markers %v", want), func() error {
			n := 0
			for _, kind := range []string{"vsvip", "pool", "poolgroup", "l4policyset", "virtualservice"} {
				for _, o := range e.Sim.Objects(kind) {
					marks := suite.Marks(o)
					if marks["clustername"] != e.Cluster {
						continue
					}
					n++
					for _, key := range []string{"team", "example.com/site", "example.com/owner"} {
						value, is := marks[key]
						if expect, asked := want[key]; is != asked || value != expect {
							return fmt.Errorf("%s %v has markers %v", kind, o["name"], marks)
						}
					}
				}
			}
			if n != 6 {
				return fmt.Errorf("the Controller holds %v", e.Owned())
			}
			return nil
		})
	}
	marked(map[string]string{"team": "core", "example.com/site": ""})
	e.Told(gw, "UnusedField", "clustername")
	suite.Update(e, gw, func(gw *routedGateway) {
		gw.Spec.Infrastructure.Labels = map[gatewayv1.LabelKey]gatewayv1.LabelValue{"team": "edge"}
	})
	marked(map[string]string{"team": "edge"})
	same(t, tree, e.GatewayServes(gw, tree.Ports...))

	// Its own AviInfraSetting places a Gateway, and one that doesn't exist keeps a live one where it is.
	placed := e.Gateway("placed", suite.Listener("n2", "SCTP", 38412))
	placed.Spec.Infrastructure = parameters("ako.vmware.com", "AviInfraSetting", setting.Name)
	e.Create(placed)
	if a := e.GatewayReady(placed); !strings.HasPrefix(a, "10.77.") {
		t.Errorf("address is %s", a)
	}
	where := e.GatewayServes(placed, "SCTP/38412 open")
	e.SettingCondition(setting, "InUse", yes, "Used")
	for name, ref := range map[string]*gatewayv1.GatewayInfrastructure{
		"another-kind": parameters("ako.vmware.com", "L4Rule", setting.Name), "another-group": parameters("", "ConfigMap", setting.Name),
		"missing": parameters("ako.vmware.com", "AviInfraSetting", setting.Name+"-not"),
	} {
		suite.Update(e, placed, func(gw *routedGateway) { gw.Spec.Infrastructure = ref })
		if m := e.GatewayCondition(placed, "Accepted", no, "InvalidParameters"); !strings.Contains(m, ref.ParametersRef.Name) && !strings.Contains(m, string(ref.ParametersRef.Kind)) {
			t.Errorf("%s: %s", name, m)
		}
		e.GatewayCondition(placed, "Programmed", yes, "Programmed")
		same(t, where, e.GatewayServes(placed, "SCTP/38412 open"))
	}
	suite.Update(e, placed, func(gw *routedGateway) {
		gw.Spec.Infrastructure = parameters("ako.vmware.com", "AviInfraSetting", setting.Name)
	})
	e.GatewayCondition(placed, "Accepted", yes, "Accepted")
	// A change of the setting reaches it.
	suite.Update(e, setting, func(s *v1beta1.AviInfraSetting) {
		s.Spec.Network.EnableRHI, s.Spec.Network.BGPPeerLabels = new(false), nil
	})
	e.Eventually("enable_rhi", func() error {
		if o := e.Object("virtualservice", e.GatewayName(placed)); o["enable_rhi"] == true {
			return fmt.Errorf("it is still on")
		}
		return nil
	})
}

// TestRoutedGatewayOfNoClass is nobody's until the class comes, and if the class of a live one is taken away by force it goes
// on serving and following its endpoints.
func TestRoutedGatewayOfNoClass(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	gw := e.Gateway("edge", suite.Listener("n2", "SCTP", 38412))
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "amf", Namespace: e.Namespace}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{suite.Port("SCTP", 38412)}}}
	slice := e.Slice(svc, "10.244.1.5")
	route := e.SCTPRoute("amf", "edge", "", suite.To("amf", 38412, 1))
	e.Create(gw, svc, slice, route)
	e.LookAgain("gateway", gw)
	if err := e.Read(gw); err != nil {
		t.Fatal(err)
	}
	accepted := apimeta.FindStatusCondition(gw.Status.Conditions, "Accepted")
	if len(gw.Finalizers) > 0 || len(e.Writes()) > 0 || accepted.ObservedGeneration > 0 {
		t.Fatalf("it was taken on: %+v %v", gw, e.Written())
	}
	e.NoParents(route)
	class := routedClass(e)
	e.GatewayReady(gw)
	e.RouteCondition(route, "Accepted", yes, "Accepted")
	tree := e.GatewayServes(gw, "SCTP/38412 amf [10.244.1.5:9090]")
	e.Force(class)
	gone(e, class)
	e.GatewayCondition(gw, "Accepted", no, "Invalid")
	e.GatewayCondition(gw, "Programmed", yes, "Programmed")
	suite.Update(e, slice, func(s *discovery) { s.Endpoints = []discoveryEndpoint{endpoint("10.244.2.6", true, false)} })
	same(t, tree, e.GatewayServes(gw, "SCTP/38412 amf [10.244.2.6:9090]"))
	e.RouteCondition(route, "Accepted", yes, "Accepted") // what is written stays
	routedClass(e)
	e.GatewayCondition(gw, "Accepted", yes, "Accepted")
	same(t, tree, e.GatewayServes(gw, "SCTP/38412 amf [10.244.2.6:9090]"))
	e.Delete(gw)
	gone(e, gw)
}
