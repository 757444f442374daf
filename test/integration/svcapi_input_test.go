// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	svcapi "github.com/avi-l4-operator/avi-l4-operator/api/networking/v1alpha1"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
	"github.com/avi-l4-operator/avi-l4-operator/test/suite"
)

type gateway = svcapi.Gateway

const (
	yes = metav1.ConditionTrue
	no  = metav1.ConditionFalse
)

// badInputs are Gateways that the API server takes and that are wrong somewhere. Each has a Service for its ports TCP 80
// and SCTP 6060, and is right but for what spoil does to it. ports is what the Controller holds for it all the same, with
// "amf" for its Service and "@" for that one's server.
var badInputs = []struct {
	name  string
	spoil func(*gateway)
	ports []string
	// ready is the reason of the Gateway's condition Ready, which is False unless this is Ready.
	ready string
	// condition of the listeners on port 6060, with the reason and parts of the message; none where the whole Gateway is refused.
	condition string
	status    metav1.ConditionStatus
	reason    string
	says      []string
	// event is the reason of an Event with the same parts in its message; accepted is that of the Gateway's condition Accepted.
	event string
}{
	{
		name:  "protocol-unknown",
		spoil: func(gw *gateway) { gw.Spec.Listeners[1].Protocol = "QUIC" },
		ports: []string{"TCP/80 amf [@]"}, ready: "ListenersNotValid",
		condition: "Detached", status: yes, reason: "UnsupportedProtocol", says: []string{`"QUIC"`, "6060", "TCP, UDP, SCTP"}, event: "UnsupportedProtocol",
	}, {
		name:  "protocol-in-small-letters",
		spoil: func(gw *gateway) { gw.Spec.Listeners[1].Protocol = "sctp" },
		ports: []string{"TCP/80 amf [@]"}, ready: "ListenersNotValid",
		condition: "Detached", status: yes, reason: "UnsupportedProtocol", says: []string{`"sctp"`, "6060", "capitals"}, event: "UnsupportedProtocol",
	}, {
		name:  "protocol-empty",
		spoil: func(gw *gateway) { gw.Spec.Listeners[1].Protocol = "" },
		ports: []string{"TCP/80 amf [@]"}, ready: "ListenersNotValid",
		condition: "Detached", status: yes, reason: "UnsupportedProtocol", says: []string{`""`, "6060", "TCP, UDP, SCTP"}, event: "UnsupportedProtocol",
	}, {
		name:  "protocol-of-layer-7",
		spoil: func(gw *gateway) { gw.Spec.Listeners[1].Protocol = svcapi.ProtocolHTTPS },
		ports: []string{"TCP/80 amf [@]"}, ready: "ListenersNotValid",
		condition: "Detached", status: yes, reason: "UnsupportedProtocol", says: []string{`"HTTPS"`, "6060"}, event: "UnsupportedProtocol",
	}, {
		name:  "listener-twice",
		spoil: func(gw *gateway) { gw.Spec.Listeners = append(gw.Spec.Listeners, gw.Spec.Listeners[1]) },
		ports: []string{"TCP/80 amf [@]"}, ready: "ListenersNotValid",
		condition: "Conflicted", status: yes, reason: "ProtocolConflict", says: []string{"SCTP 6060", "remove"}, event: "ListenerConflict",
	}, {
		name:  "hostname",
		spoil: func(gw *gateway) { gw.Spec.Listeners[1].Hostname = new("AMF..Example") },
		ports: []string{"TCP/80 amf [@]", "SCTP/6060 amf [@]"}, ready: "Ready",
		condition: "Ready", status: yes, reason: "Ready", says: []string{"amf..example", "not a DNS name"}, event: "InvalidHostname",
	}, {
		name: "tls",
		spoil: func(gw *gateway) {
			gw.Spec.Listeners[1].TLS = &svcapi.GatewayTLSConfig{
				CertificateRef: &svcapi.LocalObjectReference{Group: "core", Kind: "Secret", Name: "none"}}
		},
		ports: []string{"TCP/80 amf [@]", "SCTP/6060 amf [@]"}, ready: "Ready",
		condition: "Ready", status: yes, reason: "Ready", says: []string{"SCTP 6060", "tls is not used"}, event: "UnusedField",
	}, {
		name: "selector-with-nonsense",
		spoil: func(gw *gateway) {
			gw.Spec.Listeners[1].Routes.Selector = &metav1.LabelSelector{
				MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "app", Operator: "Near", Values: []string{"amf"}}}}
		},
		ports: []string{"TCP/80 amf [@]"}, ready: "ListenersNotValid",
		condition: "ResolvedRefs", status: no, reason: "InvalidRoutesRef", says: []string{"SCTP 6060", "routes.selector", "Near"},
		event: "InvalidRoutes",
	}, {
		name: "selector-with-a-value-that-no-label-has",
		spoil: func(gw *gateway) {
			gw.Spec.Listeners[1].Routes.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": "not a label"}}
		},
		ports: []string{"TCP/80 amf [@]"}, ready: "ListenersNotValid",
		condition: "ResolvedRefs", status: no, reason: "InvalidRoutesRef", says: []string{"SCTP 6060", "routes.selector", "not a label"},
		event: "InvalidRoutes",
	}, {
		name: "namespaces-without-selector",
		spoil: func(gw *gateway) {
			gw.Spec.Listeners[1].Routes.Namespaces = &svcapi.RouteNamespaces{From: new(svcapi.RouteSelectSelector)}
		},
		ports: []string{"TCP/80 amf [@]"}, ready: "ListenersNotValid",
		condition: "ResolvedRefs", status: no, reason: "InvalidRoutesRef",
		says: []string{"SCTP 6060", "routes.namespaces.from is Selector", "no selector"}, event: "InvalidRoutes",
	}, {
		name: "namespaces-with-nonsense",
		spoil: func(gw *gateway) {
			gw.Spec.Listeners[1].Routes.Namespaces = &svcapi.RouteNamespaces{From: new(svcapi.RouteSelectSelector), Selector: &metav1.LabelSelector{
				MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "site", Operator: "In"}}}}
		},
		ports: []string{"TCP/80 amf [@]"}, ready: "ListenersNotValid",
		condition: "ResolvedRefs", status: no, reason: "InvalidRoutesRef", says: []string{"SCTP 6060", "routes.namespaces.selector"},
		event: "InvalidRoutes",
	}, {
		name:  "routes-of-another-kind",
		spoil: func(gw *gateway) { gw.Spec.Listeners[1].Routes.Kind = "HTTPRoute" },
		ports: []string{"TCP/80 amf [@]"}, ready: "ListenersNotValid",
		condition: "ResolvedRefs", status: no, reason: "InvalidRoutesRef", says: []string{"SCTP 6060", "HTTPRoute", "kind services"},
		event: "InvalidRoutes",
	}, {
		name:  "routes-of-another-group",
		spoil: func(gw *gateway) { gw.Spec.Listeners[1].Routes.Group = "apps" },
		ports: []string{"TCP/80 amf [@]"}, ready: "ListenersNotValid",
		condition: "ResolvedRefs", status: no, reason: "InvalidRoutesRef", says: []string{"SCTP 6060", `"apps"`, "group v1"},
		event: "InvalidRoutes",
	}, {
		name:  "routes-of-no-kind",
		spoil: func(gw *gateway) { gw.Spec.Listeners[1].Routes.Kind = "" },
		ports: []string{"TCP/80 amf [@]"}, ready: "ListenersNotValid",
		condition: "ResolvedRefs", status: no, reason: "InvalidRoutesRef", says: []string{"SCTP 6060", `""`, "kind services"}, event: "InvalidRoutes",
	}, {
		name: "selector-names-another-gateway",
		spoil: func(gw *gateway) {
			gw.Spec.Listeners[1].Routes.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{translate.LabelGatewayName: "another", translate.LabelGatewayNamespace: gw.Namespace}}
		},
		ports: []string{"TCP/80 amf [@]", "SCTP/6060 open"}, ready: "ListenersNotReady",
		condition: "Ready", status: no, reason: "Pending",
		says: []string{"SCTP 6060", "no Service", "doesn't match the listener's selector", "gateway-name=another"}, event: "NoService",
	}, {
		name:  "port-that-the-service-has-not",
		spoil: func(gw *gateway) { gw.Spec.Listeners[1].Protocol = svcapi.ProtocolUDP },
		ports: []string{"TCP/80 amf [@]", "UDP/6060 open"}, ready: "ListenersNotReady",
		condition: "Ready", status: no, reason: "Pending", says: []string{"UDP 6060", "it has SCTP 6060, TCP 80"}, event: "NoService",
	}, {
		name: "address-is-none",
		spoil: func(gw *gateway) {
			gw.Spec.Addresses = []svcapi.GatewayAddress{{Type: new(svcapi.AddressIP), Value: "10.10.0.999"}}
		},
		ready: "AddressNotAssigned", says: []string{"spec.addresses[0]", "10.10.0.999", "not an IP address"}, event: "InvalidAddress",
	}, {
		name: "address-of-this-host",
		spoil: func(gw *gateway) {
			gw.Spec.Addresses = []svcapi.GatewayAddress{{Type: new(svcapi.AddressIP), Value: "127.0.0.1"}}
		},
		ready: "AddressNotAssigned", says: []string{"spec.addresses[0]", "127.0.0.1", "loopback"}, event: "InvalidAddress",
	}, {
		name: "address-has-a-name",
		spoil: func(gw *gateway) {
			gw.Spec.Addresses = []svcapi.GatewayAddress{{Type: new(svcapi.AddressNamed), Value: "n2"}}
		},
		ready: "AddressNotAssigned", says: []string{"spec.addresses[0]", "NamedAddress", "give type IPAddress"}, event: "InvalidAddress",
	}, {
		name: "address-and-another",
		spoil: func(gw *gateway) {
			gw.Spec.Addresses = []svcapi.GatewayAddress{{Value: "10.10.77.1"}, {Value: "10.10.77.2"}, {Value: "10.10.77.1"}}
		},
		ports: []string{"TCP/80 amf [@]", "SCTP/6060 amf [@]"}, ready: "Ready",
		condition: "Ready", status: yes, reason: "Ready", says: []string{"spec.addresses[1]", "10.10.77.2", "one address"},
		event: "InvalidAddress",
	}, {
		name:  "class-missing",
		spoil: func(gw *gateway) { gw.Spec.GatewayClassName += "-that-is-not" },
		says:  []string{"GatewayClass", "-that-is-not", "create it"}, event: "NoSuchGatewayClass",
	},
}

// other has a Gateway's listeners select by a label that isn't the Gateway's name, which may be too long for a label.
func other(gw *gateway, key, value string) {
	for i := range gw.Spec.Listeners {
		gw.Spec.Listeners[i].Routes.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{key: value}}
	}
}

// TestGatewayBadInput has all of them at once beside a good Gateway: each says what is wrong and what to do, its other
// listeners are served, the good one is never touched, and once fixed each is served as a whole.
func TestGatewayBadInput(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	ports := []corev1.ServicePort{suite.Port("TCP", 80), suite.Port("SCTP", 6060)}
	listeners := func(name string) []svcapi.Listener {
		return []svcapi.Listener{e.SvcAPIListener(name, "TCP", 80), e.SvcAPIListener(name, "SCTP", 6060)}
	}
	good := e.SvcAPIGateway("good", listeners("good")...)
	e.Own(e.SvcAPIClass(nil))
	e.Create(good)
	e.SvcAPIAttach(good, "good", "10.244.0.1", ports...)
	e.SvcAPIReady(good)
	neighbour := e.SvcAPIServes(good, "TCP/80 good [10.244.0.1:9090]", "SCTP/6060 good [10.244.0.1:9090]")
	e.Sim.ResetRequests()

	gateways := make([]*gateway, len(badInputs))
	server := func(i int) string { return fmt.Sprintf("10.244.1.%d", i+1) }
	for i, c := range badInputs {
		gw := e.SvcAPIGateway(c.name, listeners(c.name)...)
		c.spoil(gw)
		gateways[i] = gw
		e.Create(gw)
		e.SvcAPIAttach(gw, c.name, server(i), ports...)
	}
	for i, c := range badInputs {
		gw := gateways[i]
		expand := func(ports []string) []string {
			out := make([]string, len(ports))
			for j, p := range ports {
				out[j] = strings.NewReplacer("amf", c.name, "@", server(i)+":9090").Replace(p)
			}
			return out
		}
		for _, part := range c.says {
			e.Told(gw, c.event, part)
		}
		if c.ready == "" { // of a missing class, and so nobody's yet
			if len(gw.Finalizers) > 0 || e.Object("vsvip", e.SvcAPIName(gw)) != nil {
				t.Errorf("%s was taken on", c.name)
			}
			continue
		}
		status := no
		if c.ready == "Ready" {
			status = yes
		}
		told := e.SvcAPICondition(gw, "Ready", status, c.ready)
		accepted := yes
		if c.ports == nil {
			accepted = no
			if e.Object("virtualservice", e.SvcAPIName(gw)) != nil || e.Object("vsvip", e.SvcAPIName(gw)) != nil {
				t.Errorf("%s has objects on the Controller", c.name)
			}
		} else {
			e.SvcAPIServes(gw, expand(c.ports)...)
		}
		told = e.SvcAPICondition(gw, "ako.vmware.com/Accepted", accepted, c.event) + told
		if c.condition != "" {
			told += e.SvcAPIListenerCondition(gw, 6060, c.condition, c.status, c.reason)
			e.SvcAPIListenerCondition(gw, 80, "Ready", yes, "Ready")
			if c.ready == "ListenersNotValid" {
				e.SvcAPIListenerCondition(gw, 6060, "Ready", no, "Invalid")
			}
		} else {
			e.SvcAPIListenerCondition(gw, 6060, "Ready", no, "Pending")
		}
		for _, part := range c.says {
			if !strings.Contains(told, part) {
				t.Errorf("%s: no condition says %q: %s", c.name, part, told)
			}
		}
		if len(gw.Status.Listeners) != 2 {
			t.Errorf("%s: the status has %d listeners", c.name, len(gw.Status.Listeners))
		}
	}
	for i, c := range badInputs {
		gw := gateways[i]
		suite.Update(e, gw, func(gw *gateway) { gw.Spec = e.SvcAPIGateway(c.name, listeners(c.name)...).Spec })
		e.SvcAPIReady(gw)
		at := " " + c.name + " [" + server(i) + ":9090]"
		e.SvcAPIServes(gw, "TCP/80"+at, "SCTP/6060"+at)
		for _, port := range []int32{80, 6060} {
			for kind, status := range map[string]metav1.ConditionStatus{"Conflicted": no, "Detached": no, "ResolvedRefs": yes, "Ready": yes} {
				e.SvcAPIListenerCondition(gw, port, kind, status, "")
			}
		}
	}
	if w := e.Written(neighbour); len(w) > 0 {
		t.Errorf("the good Gateway was written: %v", w)
	}
	e.SvcAPIReady(good)
}

// TestGatewayOnePortOfThreeProtocols is no conflict: three pools behind one number. The status has one entry for it, by
// which the API keys it, that covers all three.
func TestGatewayOnePortOfThreeProtocols(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	gw := e.SvcAPIGateway("n2", e.SvcAPIListener("n2", "TCP", 6060), e.SvcAPIListener("n2", "UDP", 6060), e.SvcAPIListener("n2", "SCTP", 6060))
	e.Own(e.SvcAPIClass(nil))
	e.Create(gw)
	_, slice := e.SvcAPIAttach(gw, "amf", "10.244.1.5", suite.Port("TCP", 6060), suite.Port("UDP", 6060), suite.Port("SCTP", 6060))
	e.SvcAPIReady(gw)
	tree := e.SvcAPIServes(gw, "SCTP/6060 amf [10.244.1.5:9090]", "TCP/6060 amf [10.244.1.5:9090]", "UDP/6060 amf [10.244.1.5:9090]")
	if owned := e.Owned(); owned["pool"] != 3 || owned["virtualservice"] != 1 {
		t.Errorf("the Controller holds %v", owned)
	}
	message := e.SvcAPIListenerCondition(gw, 6060, "Ready", yes, "Ready")
	if len(gw.Status.Listeners) != 1 || gw.Status.Listeners[0].Protocol != "TCP" {
		t.Errorf("the status' listeners are %+v", gw.Status.Listeners)
	}
	for _, protocol := range []string{"TCP/6060: Service amf", "UDP/6060: Service amf", "SCTP/6060: Service amf"} {
		if !strings.Contains(message, protocol) {
			t.Errorf("no word of %s: %s", protocol, message)
		}
	}
	// The endpoints of one protocol change: one write, to its pool.
	e.Sim.ResetRequests()
	suite.Update(e, slice, func(s *discovery) {
		for i := range s.Ports {
			if *s.Ports[i].Protocol == "SCTP" {
				s.Ports[i].Port = new(int32(36412))
			}
		}
	})
	e.SvcAPIServes(gw, "SCTP/6060 amf [10.244.1.5:36412]", "TCP/6060 amf [10.244.1.5:9090]", "UDP/6060 amf [10.244.1.5:9090]")
	if calls := e.Calls(); fmt.Sprint(calls) != "[PATCH pool]" {
		t.Errorf("the calls are %v", calls)
	}
	// One of them goes wrong: the entry is as bad as the worst and still mentions the others.
	suite.Update(e, gw, func(gw *gateway) { gw.Spec.Listeners[1].Protocol = "udp" })
	e.SvcAPIListenerCondition(gw, 6060, "Detached", yes, "UnsupportedProtocol")
	message = e.SvcAPIListenerCondition(gw, 6060, "Ready", no, "")
	for _, part := range []string{"TCP/6060: Service amf", "SCTP/6060: Service amf", "udp/6060: ", "capitals"} {
		if !strings.Contains(message, part) {
			t.Errorf("no word of %q: %s", part, message)
		}
	}
	if now, err := e.SvcAPITree(gw); err != nil || now.VS != tree.VS || now.VsVip != tree.VsVip || !slices.Contains(now.Ports,
		"SCTP/6060 amf [10.244.1.5:36412]") {
		t.Errorf("now %+v, %v; was %+v", now, err, tree)
	}
}

// TestGatewayTypoLosesNoTraffic: what is bad input on a new listener is no reason to take a live one's traffic away.
func TestGatewayTypoLosesNoTraffic(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*gateway){
		"listener twice":         func(gw *gateway) { gw.Spec.Listeners = append(gw.Spec.Listeners, gw.Spec.Listeners[1]) },
		"routes of another kind": func(gw *gateway) { gw.Spec.Listeners[1].Routes.Kind = "HTTPRoute" },
		"selector with nonsense": func(gw *gateway) { gw.Spec.Listeners[1].Routes.Selector.MatchLabels["app"] = "not a label" },
		"address is none":        func(gw *gateway) { gw.Spec.Addresses = []svcapi.GatewayAddress{{Value: "nowhere"}} },
		"address has a name": func(gw *gateway) {
			gw.Spec.Addresses = []svcapi.GatewayAddress{{Type: new(svcapi.AddressNamed), Value: "n2"}}
		},
		"protocol in small letters":  func(gw *gateway) { gw.Spec.Listeners[1].Protocol = "sctp" },
		"protocol with a space":      func(gw *gateway) { gw.Spec.Listeners[1].Protocol = "SCTP " },
		"namespace selector missing": func(gw *gateway) { gw.Spec.Listeners[1].Routes.Namespaces.From = new(svcapi.RouteSelectSelector) },
		"namespace selector with nonsense": func(gw *gateway) {
			gw.Spec.Listeners[1].Routes.Namespaces = &svcapi.RouteNamespaces{From: new(svcapi.RouteSelectSelector),
				Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b c"}}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := suite.New(t)
			gw := e.SvcAPIGateway("n2", e.SvcAPIListener("n2", "TCP", 80), e.SvcAPIListener("n2", "SCTP", 6060))
			e.Own(e.SvcAPIClass(nil))
			e.Create(gw)
			_, slice := e.SvcAPIAttach(gw, "amf", "10.244.1.5", suite.Port("TCP", 80), suite.Port("SCTP", 6060))
			address := e.SvcAPIReady(gw)
			tree := e.SvcAPIServes(gw, "TCP/80 amf [10.244.1.5:9090]", "SCTP/6060 amf [10.244.1.5:9090]")
			e.Sim.ResetRequests()
			suite.Update(e, gw, spoil)
			e.Eventually("a word about it", func() error {
				if err := e.Client.Get(t.Context(), client.ObjectKeyFromObject(gw), gw); err != nil {
					return err
				}
				for _, c := range gw.Status.Conditions {
					if c.Type == "ako.vmware.com/Accepted" && c.ObservedGeneration == gw.Generation && c.Reason != "Accepted" {
						return nil
					}
				}
				return fmt.Errorf("have %+v", gw.Status.Conditions)
			})
			if w := e.Written(); len(w) > 0 {
				t.Errorf("it cost writes: %v", w)
			}
			for _, l := range gw.Status.Listeners {
				for _, c := range l.Conditions {
					if strings.Contains(c.Message, "not served") {
						t.Errorf("it is served and the status says: %s", c.Message)
					}
				}
			}
			// What serves follows its endpoints.
			suite.Update(e, slice, func(s *discovery) { s.Endpoints = []discoveryEndpoint{endpoint("10.244.2.6", true, false)} })
			now := e.SvcAPIServes(gw, "TCP/80 amf [10.244.2.6:9090]", "SCTP/6060 amf [10.244.2.6:9090]")
			if now.VS != tree.VS || now.Address != address {
				t.Errorf("now %+v, was %+v", now, tree)
			}
		})
	}
}

// TestGatewaysOfOneAddress: the second Gateway that asks for an address is told who can't have it and why, and gets it when
// the first one goes.
func TestGatewaysOfOneAddress(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	e.Own(e.SvcAPIClass(nil))
	ask := func(name, address string) *gateway {
		gw := e.SvcAPIGateway(name, e.SvcAPIListener(name, "SCTP", 6060))
		gw.Spec.Addresses = []svcapi.GatewayAddress{{Type: new(svcapi.AddressIP), Value: address}}
		e.Create(gw)
		e.SvcAPIAttach(gw, name, "10.244.1.5", suite.Port("SCTP", 6060))
		return gw
	}
	first := ask("first", "10.10.50.50")
	if address := e.SvcAPIReady(first); address != "10.10.50.50" {
		t.Errorf("the first has %s", address)
	}
	tree := e.SvcAPIServes(first, "SCTP/6060 first [10.244.1.5:9090]")
	e.Sim.ResetRequests()
	second, outside := ask("second", "10.10.50.50"), ask("outside", "192.0.2.7")
	for gw, part := range map[*gateway]string{second: "10.10.50.50", outside: "192.0.2.7"} {
		if m := e.SvcAPICondition(gw, "Ready", no, ""); !strings.Contains(m, part) && !strings.Contains(m, "vsvip") && !strings.Contains(m, "VsVip") {
			t.Errorf("%s is told: %s", gw.Name, m)
		}
		e.SvcAPICondition(gw, "ako.vmware.com/Programmed", no, "")
		e.SvcAPIListenerCondition(gw, 6060, "Ready", no, "Pending")
		if len(gw.Status.Addresses) > 0 || e.Object("virtualservice", e.SvcAPIName(gw)) != nil {
			t.Errorf("%s has %v and is served", gw.Name, gw.Status.Addresses)
		}
	}
	if w := e.Written(tree); len(w) > 0 {
		t.Errorf("the first was written: %v", w)
	}
	e.SvcAPIReady(first)
	e.Delete(first)
	e.SvcAPIGone(first)
	suite.Update(e, second, func(gw *gateway) { metav1.SetMetaDataAnnotation(&gw.ObjectMeta, "try", "again") })
	if address := e.SvcAPIReady(second); address != "10.10.50.50" {
		t.Errorf("the second has %s", address)
	}
	suite.Update(e, outside, func(gw *gateway) { gw.Spec.Addresses = nil })
	e.SvcAPIReady(outside)
}

// TestGatewayThatAServiceWaitsFor doesn't exist yet. Nobody is disturbed, and its coming serves the Service.
func TestGatewayThatAServiceWaitsFor(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	e.Own(e.SvcAPIClass(nil))
	good, late := e.SvcAPIGateway("good", e.SvcAPIListener("good", "SCTP", 6060)), e.SvcAPIGateway("late",
		e.SvcAPIListener("late", "SCTP", 6060))
	e.Create(good)
	e.SvcAPIAttach(good, "amf", "10.244.1.5", suite.Port("SCTP", 6060))
	e.SvcAPIReady(good)
	e.SvcAPIServes(good, "SCTP/6060 amf [10.244.1.5:9090]")
	e.Sim.ResetRequests()
	svc, _ := e.SvcAPIAttach(late, "early", "10.244.1.6", suite.Port("SCTP", 6060))
	half := e.Backend("half", "late", suite.Port("SCTP", 6060)) // one of the two labels is none
	delete(half.Labels, translate.LabelGatewayNamespace)
	e.Create(half, e.Slice(half, "10.244.1.7"))
	since := e.Mark()
	e.SvcAPIAttach(good, "later", "10.244.1.8", suite.Port("SCTP", 7070)) // good has no such listener; Services are seen in their order
	e.LookedAt(since, "svcapigateway", good)
	if err := e.Read(svc); err != nil {
		t.Fatal(err)
	}
	if len(e.Writes()) > 0 || len(svc.Finalizers) > 0 || len(svc.Annotations) > 0 {
		t.Errorf("somebody was disturbed: %+v %v", svc.ObjectMeta, e.Written())
	}
	e.Create(late)
	e.SvcAPIReady(late)
	e.SvcAPIServes(late, "SCTP/6060 early [10.244.1.6:9090]")
	e.SvcAPIListenerCondition(late, 6060, "ResolvedRefs", yes, "ResolvedRefs") // half is no second Service
}

// TestGatewayNameTooLong is reported, and costs nothing to delete.
func TestGatewayNameTooLong(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	e.Own(e.SvcAPIClass(nil))
	gw := e.SvcAPIGateway(strings.Repeat("n", 253), e.SvcAPIListener("any", "SCTP", 6060))
	other(gw, "app", "amf")
	e.Create(gw)
	if m := e.SvcAPICondition(gw, "ako.vmware.com/Accepted", no, "NameTooLong"); !strings.Contains(m, "255") || !strings.Contains(m,
		"shorten") {
		t.Errorf("the message is %s", m)
	}
	e.SvcAPICondition(gw, "Ready", no, "")
	e.SvcAPIListenerCondition(gw, 6060, "Ready", no, "")
	e.Told(gw, "NameTooLong", "shorten")
	e.Delete(gw)
	e.SvcAPIGone(gw)
	wantCalls(t, e)
}

// TestGatewayOfNoClass is nobody's yet and still says why it isn't served: an Event is gone after an hour.
func TestGatewayOfNoClass(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	gw := e.SvcAPIGateway("n2", e.SvcAPIListener("n2", "SCTP", 6060))
	e.Create(gw)
	e.Told(gw, "NoSuchGatewayClass", e.Cluster)
	if m := e.SvcAPICondition(gw, "Scheduled", no, "NoSuchGatewayClass"); !strings.Contains(m, "create it") {
		t.Errorf("the message is %s", m)
	}
	if len(gw.Finalizers) > 0 || len(e.Writes()) > 0 {
		t.Errorf("it was taken on: finalizers %v, writes %v", gw.Finalizers, e.Written())
	}
}

// TestGatewayPoolNameTooLong costs the one listener whose Service has the long name.
func TestGatewayPoolNameTooLong(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	e.Own(e.SvcAPIClass(nil))
	name := strings.Repeat("g", 200) // with a Service's name of 63 characters it is too much
	gw := e.SvcAPIGateway(name, e.SvcAPIListener("any", "TCP", 80), e.SvcAPIListener("any", "SCTP", 6060))
	other(gw, "app", "amf")
	e.Create(gw)
	for service, port := range map[string]corev1.ServicePort{"short": suite.Port("TCP", 80),
		strings.Repeat("s", 63): suite.Port("SCTP", 6060)} {
		svc := e.Backend(service, "any", port)
		svc.Labels = map[string]string{"app": "amf"}
		e.Create(svc, e.Slice(svc, "10.244.1.5"))
	}
	e.SvcAPICondition(gw, "Ready", no, "ListenersNotValid")
	e.SvcAPIServes(gw, "TCP/80 short [10.244.1.5:9090]", "SCTP/6060 open")
	if m := e.SvcAPIListenerCondition(gw, 6060, "Ready", no, "Invalid"); !strings.Contains(m, "SCTP 6060") || !strings.Contains(m, "shorten") {
		t.Errorf("the message is %s", m)
	}
	e.Told(gw, "NameTooLong", "shorten")
	e.SvcAPIListenerCondition(gw, 80, "Ready", yes, "Ready")
}

// TestGatewayTellsOfEachListener: as many as there are, each has its Event, also one that goes wrong last.
func TestGatewayTellsOfEachListener(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	e.Own(e.SvcAPIClass(nil))
	gw := e.SvcAPIGateway("many", e.SvcAPIListener("many", "SCTP", 6060))
	for i := range int32(40) {
		gw.Spec.Listeners = append(gw.Spec.Listeners, e.SvcAPIListener("many", "quic", 7000+i))
	}
	e.Create(gw)
	e.SvcAPIAttach(gw, "amf", "10.244.1.5", suite.Port("SCTP", 6060))
	e.SvcAPICondition(gw, "Ready", no, "ListenersNotValid")
	e.SvcAPIServes(gw, "SCTP/6060 amf [10.244.1.5:9090]")
	for i := range int32(40) {
		e.Told(gw, "UnsupportedProtocol", fmt.Sprintf("port %d:", 7000+i))
	}
	suite.Update(e, gw, func(gw *gateway) {
		gw.Spec.Listeners = append(gw.Spec.Listeners, e.SvcAPIListener("many", "quic", 7999))
	})
	e.SvcAPIListenerCondition(gw, 7999, "Detached", yes, "UnsupportedProtocol")
	e.Told(gw, "UnsupportedProtocol", "port 7999:")
	if len(gw.Status.Listeners) != 42 {
		t.Errorf("the status has %d listeners", len(gw.Status.Listeners))
	}
}

// TestGatewayEndpointsOfNamedPorts: a Service's ports of one number are told apart by protocol, and each pool has the
// target of its own port.
func TestGatewayEndpointsOfNamedPorts(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	e.Own(e.SvcAPIClass(nil))
	gw := e.SvcAPIGateway("n2", e.SvcAPIListener("n2", "TCP", 6060), e.SvcAPIListener("n2", "SCTP", 6060))
	svc := e.Backend("amf", "n2", suite.Port("TCP", 6060), suite.Port("SCTP", 6060))
	svc.Spec.Ports[0].TargetPort, svc.Spec.Ports[1].TargetPort = intstr.FromInt32(8080), intstr.FromInt32(38412)
	e.Create(gw, svc, e.Slice(svc, "10.244.1.5"))
	e.SvcAPIReady(gw)
	e.SvcAPIServes(gw, "SCTP/6060 amf [10.244.1.5:38412]", "TCP/6060 amf [10.244.1.5:8080]")
	e.SvcAPICondition(gw, "ako.vmware.com/Healthy", yes, "Up")
}
