// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/avi-l4-operator/avi-l4-operator/internal/gather"
	"github.com/avi-l4-operator/avi-l4-operator/test/suite"
)

func TestServiceFromCreationToDeletion(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	svc := e.Service("amf", suite.Port("SCTP", 38412))
	e.Create(svc, e.Slice(svc, "10.244.1.5", "10.244.2.6"))
	vip := e.Programmed(svc)
	if !strings.HasPrefix(vip, "10.10.") {
		t.Errorf("VIP is %s, want one of the VIP network", vip)
	}
	e.Eventually("the tree", func() error { return e.Complete(svc) })
	if got := e.Servers(e.PoolName(svc, svc.Spec.Ports[0])); fmt.Sprint(got) != "[10.244.1.5:9090 10.244.2.6:9090]" {
		t.Errorf("servers are %v", got)
	}
	e.Condition(svc, "Accepted", metav1.ConditionTrue, "Accepted")
	e.Condition(svc, "Healthy", metav1.ConditionTrue, "Up")
	if !slices.Contains(svc.Finalizers, gather.Finalizer) {
		t.Errorf("finalizers are %v", svc.Finalizers)
	}
	fqdn := "amf." + e.Namespace + ".demo.avi.local"
	if got := svc.Status.LoadBalancer.Ingress[0].Hostname; got != fqdn {
		t.Errorf("hostname is %q, want %q", got, fqdn)
	}
	vs := e.Object("virtualservice", e.Name(svc))
	if got := svc.Annotations["ako.vmware.com/host-fqdn-vs-uuid-map"]; got != fmt.Sprintf(`{"%s":"%s"}`, fqdn, vs["uuid"]) {
		t.Errorf("annotation is %s", got)
	}
	if e.Operator.Ready(nil) != nil || e.Operator.Alive(nil) != nil {
		t.Error("a working operator isn't ready and alive")
	}

	e.Delete(svc)
	e.Eventually("the deletion", func() error {
		err := e.Client.Get(t.Context(), client.ObjectKeyFromObject(svc), svc)
		if apierrors.IsNotFound(err) {
			return e.Complete()
		}
		return fmt.Errorf("still there: %v", err)
	})
	for _, reason := range []string{"EnsuredLoadBalancer", "DeletedLoadBalancer"} {
		eventsOf(e, reason, 1)
	}
}

// eventsOf waits until as many Events of the test's namespace, written "type reason name message", have the text in them, and returns
// them all. They are sent in the background.
func eventsOf(e *suite.Env, text string, want int) string {
	e.T.Helper()
	var b strings.Builder
	e.Eventually(fmt.Sprintf("%d Events %s", want, text), func() error {
		b.Reset()
		var list corev1.EventList
		if err := e.Client.List(e.T.Context(), &list, client.InNamespace(e.Namespace)); err != nil {
			return err
		}
		for _, ev := range list.Items {
			fmt.Fprintln(&b, ev.Type, ev.Reason, ev.InvolvedObject.Name, ev.Message)
		}
		if n := strings.Count(b.String(), text); n != want {
			return fmt.Errorf("there are %d:\n%s", n, b.String())
		}
		return nil
	})
	return b.String()
}

func TestEndpointsFollow(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	svc := e.Service("hss", suite.Port("SCTP", 3868))
	slice := e.Slice(svc, "10.244.1.5")
	e.Create(svc, slice)
	e.Programmed(svc)
	pool := e.PoolName(svc, svc.Spec.Ports[0])
	want := func(servers ...string) {
		t.Helper()
		e.Eventually("servers", func() error {
			if got := e.Servers(pool); fmt.Sprint(got) != fmt.Sprint(servers) {
				return fmt.Errorf("have %v, want %v", got, servers)
			}
			return nil
		})
	}
	want("10.244.1.5:9090")
	e.Sim.ResetRequests()
	suite.Update(e, slice, func(s *discovery) {
		s.Endpoints = append(s.Endpoints, endpoint("10.244.2.6", true, false), endpoint("10.244.3.7", false, false))
	})
	want("10.244.1.5:9090", "10.244.2.6:9090", "10.244.3.7:9090 disabled")
	e.Eventually("the log of one PATCH", func() error { // it follows the state
		if n := len(e.Writes()); n != 1 {
			return fmt.Errorf("%d writes for one change of endpoints: %v", n, methods(e))
		}
		return nil
	})
	suite.Update(e, slice, func(s *discovery) {
		s.Endpoints = []discoveryEndpoint{endpoint("10.244.1.5", true, true), endpoint("10.244.2.6", true, false)}
	})
	want("10.244.1.5:9090 disabled", "10.244.2.6:9090")
	suite.Update(e, slice, func(s *discovery) { s.Endpoints = []discoveryEndpoint{endpoint("10.244.1.5", true, true)} })
	want("10.244.1.5:9090") // the last ones that serve are better than none
	suite.Update(e, slice, func(s *discovery) { s.Endpoints = nil })
	want()
	if message := e.Condition(svc, "Healthy", metav1.ConditionFalse, "Down"); !strings.Contains(message, "no ready endpoint") {
		t.Errorf("Healthy says %q", message)
	}
}

// The slices of a Service with a selector never all go away in a working cluster, so when they do nothing is emptied.
func TestVanishedSlicesEmptyNothing(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	svc := e.Service("hss", suite.Port("SCTP", 3868))
	slice := e.Slice(svc, "10.244.1.5")
	e.Create(svc, slice)
	e.Programmed(svc)
	e.Sim.ResetRequests()
	e.Delete(slice)
	e.Condition(svc, "Accepted", metav1.ConditionTrue, "EndpointsUnreadable")
	if w := e.Writes(); len(w) != 0 {
		t.Errorf("%d writes", len(w))
	}
	if got := e.Servers(e.PoolName(svc, svc.Spec.Ports[0])); len(got) != 1 {
		t.Errorf("servers are %v", got)
	}
}

func TestMixedProtocols(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	svc := e.Service("mixed", suite.Port("SCTP", 8080), suite.Port("TCP", 8080), suite.Port("UDP", 53))
	e.Create(svc, e.Slice(svc, "10.244.1.5"))
	e.Programmed(svc)
	if err := e.Complete(svc); err != nil {
		t.Error(err)
	}
	// A port more, a port less: pools come and go, the VirtualService stays.
	uuid := e.Object("virtualservice", e.Name(svc))["uuid"]
	suite.Update(e, svc, func(s *corev1.Service) { s.Spec.Ports = append(s.Spec.Ports[:1], suite.Port("TCP", 443)) })
	e.Eventually("the new ports", func() error { return e.Complete(svc) })
	if now := e.Object("virtualservice", e.Name(svc))["uuid"]; now != uuid {
		t.Errorf("the VirtualService was made anew: %v, then %v", uuid, now)
	}
}

func TestTypeChangeAwayAndBack(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	svc := e.Service("amf", suite.Port("SCTP", 38412))
	e.Create(svc, e.Slice(svc, "10.244.1.5"))
	e.Programmed(svc)
	suite.Update(e, svc, func(s *corev1.Service) {
		s.Spec.Type, s.Spec.AllocateLoadBalancerNodePorts = corev1.ServiceTypeClusterIP, nil
	})
	e.Eventually("the release", func() error {
		if err := e.Client.Get(t.Context(), client.ObjectKeyFromObject(svc), svc); err != nil {
			return err
		}
		for _, c := range svc.Status.Conditions {
			if strings.HasPrefix(c.Type, "ako.vmware.com/") {
				return fmt.Errorf("condition %s is still there", c.Type)
			}
		}
		if len(svc.Finalizers) > 0 || svc.Annotations["ako.vmware.com/tenant-name"] != "" {
			return fmt.Errorf("finalizers %v, annotations %v", svc.Finalizers, svc.Annotations)
		}
		return e.Complete()
	})
	suite.Update(e, svc, func(s *corev1.Service) { s.Spec.Type = corev1.ServiceTypeLoadBalancer })
	e.Programmed(svc)
}

func TestEditsWhileLive(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	svc := e.Service("amf", suite.Port("SCTP", 38412))
	e.Create(svc, e.Slice(svc, "10.244.1.5"))
	vip := e.Programmed(svc)
	vs := func() map[string]any { return e.Object("virtualservice", e.Name(svc)) }
	for _, c := range []struct {
		name   string
		change func(*corev1.Service)
		done   func() bool
	}{
		{"disable traffic", annotate("ako.vmware.com/disable-traffic", "true"), func() bool { return vs()["traffic_enabled"] == false }},
		{"enable traffic", annotate("ako.vmware.com/disable-traffic", "false"), func() bool { return vs()["traffic_enabled"] == true }},
		{"hostname", annotate("external-dns.alpha.kubernetes.io/hostname", "amf.example.com"), func() bool {
			return strings.Contains(fmt.Sprint(e.Object("vsvip", e.Name(svc))["dns_info"]), "amf.example.com")
		}},
		{"port number", func(s *corev1.Service) { s.Spec.Ports[0].Port = 36412 }, func() bool {
			return e.Object("pool", e.Name(svc)+"-SCTP-36412") != nil && e.Object("pool", e.Name(svc)+"-SCTP-38412") == nil
		}},
		{"protocol", func(s *corev1.Service) { s.Spec.Ports[0].Protocol = "TCP" }, func() bool { return e.Object("pool", e.Name(svc)+"-TCP-36412") != nil }},
		{"target port", func(s *corev1.Service) { s.Spec.Ports[0].TargetPort = intstr.FromInt32(1) }, func() bool { return true }},
	} {
		suite.Update(e, svc, c.change)
		e.Eventually(c.name, func() error {
			if !c.done() {
				return fmt.Errorf("not done: %v", vs())
			}
			return e.Complete(svc)
		})
	}
	if now := e.Programmed(svc); now != vip {
		t.Errorf("the VIP went from %s to %s", vip, now)
	}
}

func annotate(key, value string) func(*corev1.Service) {
	return func(s *corev1.Service) { metav1.SetMetaDataAnnotation(&s.ObjectMeta, key, value) }
}

func TestStaticAddress(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	svc := e.Service("amf", suite.Port("SCTP", 38412))
	svc.Spec.LoadBalancerIP = "10.10.7.7"
	e.Create(svc, e.Slice(svc, "10.244.1.5"))
	if vip := e.Programmed(svc); vip != "10.10.7.7" {
		t.Errorf("VIP is %s", vip)
	}
	e.Sim.ResetRequests()
	suite.Update(e, svc, func(s *corev1.Service) { s.Spec.LoadBalancerIP = "10.10.8.8" })
	message := e.Condition(svc, "Accepted", metav1.ConditionTrue, "NeedsReplacement")
	if !strings.Contains(message, "10.10.7.7") || !strings.Contains(message, "allow-replacement") {
		t.Errorf("the message doesn't help: %s", message)
	}
	if w := e.Writes(); len(w) != 0 || e.Programmed(svc) != "10.10.7.7" {
		t.Errorf("%d writes, address %s", len(w), e.Programmed(svc))
	}
	suite.Update(e, svc, annotate("l4.ako.vmware.com/allow-replacement", "true"))
	e.Eventually("the replacement", func() error {
		if vip := e.Programmed(svc); vip != "10.10.8.8" {
			return fmt.Errorf("VIP is %s", vip)
		}
		return e.Complete(svc)
	})
}

func TestBadInputIsTold(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	good := e.Service("good", suite.Port("SCTP", 38412))
	badIP := e.Service("bad-ip", suite.Port("SCTP", 38412))
	badIP.Spec.LoadBalancerIP = "10.10.0.999"
	busyIP := e.Service("outside", suite.Port("SCTP", 38412))
	busyIP.Spec.LoadBalancerIP = "192.0.2.1"
	e.Create(badIP, busyIP, good)
	e.Create(e.Slice(good, "10.244.1.5"), e.Slice(badIP, "10.244.1.6"), e.Slice(busyIP, "10.244.1.7"))
	if m := e.Condition(badIP, "Accepted", metav1.ConditionFalse, "InvalidAddress"); !strings.Contains(m, "10.10.0.999") {
		t.Errorf("message: %s", m)
	}
	if !strings.HasPrefix(badIP.Annotations["l4.ako.vmware.com/problem"], "InvalidAddress: spec.loadBalancerIP") {
		t.Errorf("annotations that describe shows: %v", badIP.Annotations)
	}
	if m := e.Condition(busyIP, "Programmed", metav1.ConditionFalse, ""); !strings.Contains(m, "400") {
		t.Errorf("message: %s", m)
	}
	e.Programmed(good)
	// Fixed, both are served.
	suite.Update(e, badIP, func(s *corev1.Service) { s.Spec.LoadBalancerIP = "" })
	suite.Update(e, busyIP, func(s *corev1.Service) { s.Spec.LoadBalancerIP = "10.10.9.9" })
	e.Programmed(badIP)
	e.Programmed(busyIP)
	e.NoProblem(badIP)
	eventsOf(e, "Warning InvalidAddress bad-ip", 1)
}

func TestNotOurs(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	foreign := e.Service("foreign", suite.Port("SCTP", 1))
	foreign.Spec.LoadBalancerClass = new("other.example.com/lb")
	ours := e.Service("ours", suite.Port("SCTP", 1))
	ours.Spec.LoadBalancerClass = new("ako.vmware.com/avi-lb")
	e.Create(foreign, ours)
	e.Programmed(ours)
	e.LookAgain("service", foreign)
	if err := e.Read(foreign); err != nil {
		t.Fatal(err)
	}
	if len(foreign.Finalizers) > 0 || len(foreign.Status.Conditions) > 0 || e.Object("virtualservice", e.Name(foreign)) != nil {
		t.Errorf("a Service of another class was touched: %+v", foreign)
	}
}

func TestWithoutDefaultClassOnlyOurClassIsServed(t *testing.T) {
	t.Parallel()
	e := suite.New(t, suite.ReleaseHeld(), suite.WithConfig("defaultLBController", "false"))
	unset := e.Service("unset", suite.Port("SCTP", 1))
	ours := e.Service("ours", suite.Port("SCTP", 1))
	ours.Spec.LoadBalancerClass = new("ako.vmware.com/avi-lb")
	e.Create(unset, ours)
	e.Programmed(ours)
	if e.Object("virtualservice", e.Name(unset)) != nil {
		t.Error("a Service without class was served")
	}
	e.Configure(func(c map[string]string) { c["defaultLBController"] = "true" })
	e.Programmed(unset)
	e.Configure(func(c map[string]string) { c["defaultLBController"] = "false" })
	e.Eventually("the release", func() error { return e.Complete(ours) })
}

func TestNamespaceLabelGivesAndTakes(t *testing.T) {
	t.Parallel()
	e := suite.New(t, suite.ReleaseHeld())
	svc := e.Service("amf", suite.Port("SCTP", 38412))
	e.Create(svc)
	e.Programmed(svc)
	ns := new(corev1.Namespace)
	ns.Name = e.Namespace
	suite.Update(e, ns, func(n *corev1.Namespace) { delete(n.Labels, "served-by") })
	e.Eventually("the release", func() error { return e.Complete() })
	suite.Update(e, ns, func(n *corev1.Namespace) { n.Labels = map[string]string{"served-by": e.Namespace} })
	e.Programmed(svc)
}

// "a-b"/"c" and "a"/"b-c" have the same names on the Controller: the older is served, the younger told, and served
// when the name is free.
func TestSameNameFromTwoNamespaces(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	other := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: e.Namespace + "-b", Labels: map[string]string{"served-by": e.Namespace}}}
	first := e.Service("b-c", suite.Port("SCTP", 1))
	e.Create(other, first)
	e.Programmed(first)
	time.Sleep(1100 * time.Millisecond) // creation times have seconds
	second := e.Service("c", suite.Port("SCTP", 1))
	second.Namespace = other.Name
	e.Create(second)
	if m := e.Condition(second, "Accepted", metav1.ConditionFalse, "NameTaken"); !strings.Contains(m, e.Namespace+"/b-c") {
		t.Errorf("message: %s", m)
	}
	e.Delete(first)
	e.Programmed(second)
}

func TestNameTakenByAnotherClient(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	svc := e.Service("amf", suite.Port("SCTP", 38412), suite.Port("TCP", 80))
	if _, err := e.Sim.Create("pool", "admin",
		map[string]any{"name": e.PoolName(svc, svc.Spec.Ports[0]), "created_by": "somebody"}); err != nil {
		t.Fatal(err)
	}
	e.Create(svc, e.Slice(svc, "10.244.1.5"))
	e.Programmed(svc) // the other port is served
	m := e.Condition(svc, "Accepted", metav1.ConditionTrue, "PortRefused")
	if !strings.Contains(m, "created by somebody") {
		t.Errorf("message: %s", m)
	}
	var failed *string
	for _, p := range svc.Status.LoadBalancer.Ingress[0].Ports {
		if p.Port == 38412 {
			failed = p.Error
		}
	}
	if failed == nil || *failed != "ako.vmware.com/PortRefused" {
		t.Errorf("ports are %+v", svc.Status.LoadBalancer.Ingress[0].Ports)
	}
	if o := e.Object("pool", e.PoolName(svc, svc.Spec.Ports[0])); o["created_by"] != "somebody" {
		t.Error("the other client's pool was changed")
	}
}

// Conditions of other controllers on the same Service stay.
func TestOtherConditionsSurvive(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	svc := e.Service("amf", suite.Port("SCTP", 38412))
	e.Create(svc)
	e.Eventually("a foreign condition", func() error {
		if err := e.Client.Get(t.Context(), client.ObjectKeyFromObject(svc), svc); err != nil {
			return err
		}
		apimeta.SetStatusCondition(&svc.Status.Conditions, metav1.Condition{Type: "example.com/Theirs", Status: metav1.ConditionTrue, Reason: "Yes"})
		return e.Client.Status().Update(t.Context(), svc)
	})
	e.Programmed(svc)
	suite.Update(e, svc, annotate("ako.vmware.com/disable-traffic", "true"))
	e.Condition(svc, "Healthy", metav1.ConditionFalse, "")
	if apimeta.FindStatusCondition(svc.Status.Conditions, "example.com/Theirs") == nil {
		t.Error("the foreign condition is gone")
	}
}
