// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1alpha2"
	svcapi "github.com/avi-l4-operator/avi-l4-operator/api/networking/v1alpha1"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
	"github.com/avi-l4-operator/avi-l4-operator/test/suite"
)

// takeOver starts the operator over what AKO has made and starts it once more: each time it looks at all that is given, and writes
// nothing to the Controller.
func takeOver(t *testing.T, e *suite.Env, kinds ...looked) {
	t.Helper()
	for _, when := range []string{"the take-over", "the next start"} {
		e.StopOperator()
		e.Sim.ResetRequests()
		since := e.Mark()
		e.StartOperator()
		e.Eventually("readiness", func() error { return e.Operator.Ready(nil) })
		at(e, since, kinds)
		at(e, e.Touch(), kinds)
		for kind, n := range e.WritesByKind() {
			t.Errorf("%s: %d writes of kind %s, want 0", when, n, kind)
		}
		for _, w := range e.Written() {
			t.Errorf("%s: %s", when, w)
		}
		if records := len(e.Sim.Writes()) - len(e.Writes()); when == "the next start" && records > 0 {
			t.Errorf("%s: the record of the cluster's name was written again", when)
		}
	}
}

// akoPort is a Service's port of AKO's as suite.Port makes it, with one server.
func akoPort(protocol string, number int) suite.AKOPort {
	return suite.AKOPort{
		Name: strings.ToLower(protocol) + fmt.Sprint(number), Protocol: protocol, Number: number,
		Servers: []suite.AKOServer{{Address: "10.244.1.5:9090"}},
	}
}

// behindGateway is a listener of AKO's with a Service behind it.
func behindGateway(protocol string, number int, namespace, service string) suite.AKOPort {
	p := akoPort(protocol, number)
	p.Namespace, p.Service, p.Host = namespace, service, service+"."+namespace+".demo.avi.local"
	return p
}

func autoHost(svc *corev1.Service) []string {
	return []string{svc.Name + "." + svc.Namespace + ".demo.avi.local"}
}

// served is a Service of the test's with a slice of one endpoint.
func served(e *suite.Env, name string, annotations map[string]string, ports ...corev1.ServicePort) *corev1.Service {
	e.T.Helper()
	svc := e.Service(name, ports...)
	svc.Annotations = annotations
	e.Create(svc, e.Slice(svc, "10.244.1.5"))
	return svc
}

// TestTakeOverOfServices: AKO's objects for every kind of Service are served on without a write.
func TestTakeOverOfServices(t *testing.T) {
	e := suite.New(t)
	if err := e.Sim.AddTenant("telco"); err != nil {
		t.Fatal(err)
	}
	furnish(e)
	setting := e.Setting("telco", telco())
	e.Own(setting)
	e.StopOperator()
	ako := suite.AKO{Env: e}
	ns := e.Namespace
	all := []client.Object{}
	add := func(svc *corev1.Service) *corev1.Service {
		all = append(all, svc)
		return svc
	}

	plain := add(served(e, "plain", nil, suite.Port("SCTP", 38412)))
	ako.Service(ns, "plain", suite.AKOService{Hosts: autoHost(plain)}, akoPort("SCTP", 38412))

	mixed := e.Service("mixed", suite.Port("UDP", 5000), suite.Port("SCTP", 36412), suite.Port("TCP", 80))
	mixed.Spec.Ports[0].Name, mixed.Spec.Ports[2].Name = "z", "a"
	e.Create(add(mixed), e.Slice(mixed, "10.244.1.5"))
	ports := []suite.AKOPort{akoPort("UDP", 5000), akoPort("SCTP", 36412), akoPort("TCP", 80)}
	ports[0].Name, ports[2].Name = "z", "a"
	ako.Service(ns, "mixed", suite.AKOService{Hosts: autoHost(mixed)}, ports...)

	twice := e.Service("twice", suite.Port("UDP", 7000), suite.Port("SCTP", 7000))
	twice.Spec.Ports[0].Name, twice.Spec.Ports[1].Name = "a", "b"
	e.Create(add(twice), e.Slice(twice, "10.244.1.5"))
	ports = []suite.AKOPort{akoPort("SCTP", 7000), akoPort("UDP", 7000)}
	ports[0].Name, ports[1].Name = "b", "a"
	ako.Service(ns, "twice", suite.AKOService{Hosts: autoHost(twice)}, ports...)

	still := e.Service("static", suite.Port("SCTP", 2905))
	still.Spec.LoadBalancerIP = "10.10.7.7"
	e.Create(add(still), e.Slice(still, "10.244.1.5"))
	ako.Service(ns, "static", suite.AKOService{Hosts: autoHost(still), Address: "10.10.7.7"}, akoPort("SCTP", 2905))

	empty := add(e.Service("empty", suite.Port("SCTP", 3868)))
	e.Create(empty, e.Slice(empty))
	none := akoPort("SCTP", 3868)
	none.Servers = nil
	ako.Service(ns, "empty", suite.AKOService{Hosts: autoHost(empty)}, none)

	add(served(e, "off", map[string]string{
		translate.AnnotationDisableTraffic: "true", translate.AnnotationHostname: "Off.demo.avi.local",
	}, suite.Port("SCTP", 38412)))
	ako.Service(ns, "off", suite.AKOService{Hosts: []string{"Off.demo.avi.local"}, TrafficOff: true}, akoPort("SCTP", 38412))

	placed := add(served(e, "placed", map[string]string{translate.AnnotationInfraSetting: setting.Name}, suite.Port("SCTP", 38412)))
	elsewhere := ako
	elsewhere.SEGroup, elsewhere.Network, elsewhere.CIDR, elsewhere.BGP = "telco-group", "telco-vip", "10.77.0.0/16", []string{"spine"}
	elsewhere.Service(ns, "placed", suite.AKOService{Hosts: autoHost(placed)}, akoPort("SCTP", 38412))

	far := e.Apart(t)
	suite.Update(far, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: far.Namespace}}, func(n *corev1.Namespace) {
		metav1.SetMetaDataAnnotation(&n.ObjectMeta, translate.AnnotationTenant, "telco")
	})
	foreign := add(served(far, "foreign", nil, suite.Port("SCTP", 38412)))
	tenant := ako
	tenant.Tenant = "telco"
	tenant.Service(far.Namespace, "foreign", suite.AKOService{Hosts: autoHost(foreign)}, akoPort("SCTP", 38412))

	// What is not understood is kept, and the pools of Ingresses to the same Service are nobody's business.
	ruled := add(served(e, "ruled", map[string]string{"ako.vmware.com/l4rule": "rule"}, suite.Port("SCTP", 38412)))
	monitored := akoPort("SCTP", 38412)
	monitored.Monitor = "System-Ping"
	ako.Service(ns, "ruled", suite.AKOService{Hosts: autoHost(ruled), NetworkProfile: "System-TCP-Proxy"}, monitored)
	understood := add(served(e, "understood", map[string]string{translate.AnnotationRule: "understood"}, suite.Port("SCTP", 2906)))
	e.Create(e.Rule("understood", v1alpha2.L4RuleSpec{NetworkProfileRef: "System-SCTP-Proxy", BackendProperties: []v1alpha2.BackendProperties{
		{Port: 2906, Protocol: "SCTP", LbAlgorithm: "LB_ALGORITHM_LEAST_CONNECTIONS", HealthMonitorRefs: []string{"System-Ping"}},
	}}))
	ruledPort := akoPort("SCTP", 2906)
	ruledPort.Monitor = "System-Ping"
	ako.Service(ns, "understood", suite.AKOService{Hosts: autoHost(understood)}, ruledPort)
	ingress := ako.Ingress(ns, "plain", "plain.example.com")

	takeOver(t, e, looked{"service", all})

	for _, o := range all {
		svc := o.(*corev1.Service)
		e.Programmed(svc)
	}
	if e.Object("pool", ingress) == nil {
		t.Error("the pool of an Ingress is gone")
	}
	if a := still.Status.LoadBalancer.Ingress[0].IP; a != "10.10.7.7" {
		t.Errorf("the static address is %s", a)
	}
	e.Condition(ruled, "Accepted", metav1.ConditionTrue, "L4RuleMissing")
	e.Condition(understood, "Accepted", metav1.ConditionTrue, "Accepted")
	// A Service that changes is one write for each object that does, and an Ingress's pool outlives the Service.
	e.Delete(plain)
	e.Eventually("the Service goes", func() error {
		if e.Object("virtualservice", e.Name(plain)) != nil {
			return errors.New("its VirtualService is there")
		}
		return nil
	})
	if e.Object("pool", ingress) == nil {
		t.Error("the pool of an Ingress went with its Service")
	}
}

// TestTakeOverOfSharedVIP: nothing is written, and the status is never empty. AKO's usual shared address stands on each Service, and
// its host names are in the order of its last event.
func TestTakeOverOfSharedVIP(t *testing.T) {
	e := suite.New(t)
	e.StopOperator()
	ako := suite.AKO{Env: e}
	ako.SharedVIP(e.Namespace, "core", behindGateway("SCTP", 38412, e.Namespace, "two"), behindGateway("TCP", 80, e.Namespace, "one"))
	ako.SharedVIP(e.Namespace, "twice", behindGateway("SCTP", 80, e.Namespace, "sctp"), behindGateway("TCP", 80, e.Namespace, "tcp"),
		behindGateway("UDP", 9, e.Namespace, "udp"), behindGateway("UDP", 10, e.Namespace, "udp"))
	vip := e.Object("vsvip", e.SharedName("core"))["vip"].([]any)[0].(map[string]any)
	address := vip["ip_address"].(map[string]any)["addr"].(string)
	was, err := e.SharedTree("core")
	if err != nil {
		t.Fatal(err)
	}
	shared := map[string]string{"ako.vmware.com/enable-shared-vip": "core"}
	var all []client.Object
	for name, port := range map[string]corev1.ServicePort{"two": suite.Port("SCTP", 38412), "one": suite.Port("TCP", 80)} {
		svc := e.Service(name, port)
		svc.Annotations, svc.Spec.LoadBalancerIP = shared, address
		e.Create(svc, e.Slice(svc, "10.244.1.5"))
		svc.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: address, Hostname: autoHost(svc)[0]}}
		if err := e.Client.Status().Update(t.Context(), svc); err != nil {
			t.Fatal(err)
		}
		all = append(all, svc)
	}
	twice := map[string]string{"ako.vmware.com/enable-shared-vip": "twice"}
	served(e, "sctp", twice, suite.Port("SCTP", 80))
	served(e, "tcp", twice, suite.Port("TCP", 80))
	served(e, "udp", twice, suite.Port("UDP", 9), suite.Port("UDP", 10))
	e.ResetKubeWrites()
	takeOver(t, e, looked{"sharedvip", []client.Object{groupOf(e, "core"), groupOf(e, "twice")}}, looked{"service", all})
	for _, o := range all {
		svc, _ := o.(*corev1.Service)
		e.Condition(svc, "Accepted", yes, "Accepted")
		e.Condition(svc, "Programmed", yes, "Programmed")
		if in := svc.Status.LoadBalancer.Ingress; len(in) != 1 || in[0].IP != address || in[0].Hostname != autoHost(svc)[0] {
			t.Errorf("%s: ingress is %+v", svc.Name, in)
		}
	}
	for _, w := range e.KubeWrites() {
		if strings.Contains(w.Body, `"ingress":null`) || strings.Contains(w.Body, `"loadBalancer":null`) {
			t.Errorf("a status was emptied: %s", w)
		}
	}
	same(t, was, e.SharedServes("core", was.Ports...))
	one, two := e.Service("one"), e.Service("two")
	e.Delete(two)
	gone(e, two)
	same(t, was, e.SharedServes("core", "TCP/80 one [10.244.1.5:9090]"))
	e.Delete(one)
	gone(e, one)
	if _, err := e.SharedTree("core"); err == nil {
		t.Error("the last Service is gone and its VirtualService is not")
	}
}

// TestTakeOverOfGateways: with Services, without, and with one of another namespace, which only AKO lets in.
func TestTakeOverOfGateways(t *testing.T) {
	e := suite.New(t)
	e.Own(e.SvcAPIClass(nil))
	e.StopOperator()
	ako, far := suite.AKO{Env: e}, e.Apart(t)

	full := e.SvcAPIGateway("full", e.SvcAPIListener("full", "SCTP", 38412), e.SvcAPIListener("full", "UDP", 53),
		e.SvcAPIListener("full", "TCP", 53), e.SvcAPIListener("full", "TCP", 80))
	bare := e.SvcAPIGateway("bare", e.SvcAPIListener("bare", "SCTP", 6060))
	across := e.SvcAPIGateway("across", e.SvcAPIListener("across", "SCTP", 38412))
	for _, gw := range []*gateway{full, bare, across} {
		gw.Finalizers = []string{akoFinalizer}
		e.Create(gw)
	}
	e.SvcAPIAttach(full, "amf", "10.244.1.5", suite.Port("SCTP", 38412))
	e.SvcAPIAttach(full, "dns", "10.244.1.5", suite.Port("UDP", 53), suite.Port("TCP", 53))
	guest := e.Backend("guest", "across", suite.Port("SCTP", 38412))
	guest.Namespace = far.Namespace
	slice := e.Slice(guest, "10.244.1.5")
	e.Create(guest, slice)

	ako.Gateway(e.Namespace, "full", behindGateway("SCTP", 38412, e.Namespace, "amf"), behindGateway("UDP", 53, e.Namespace, "dns"),
		behindGateway("TCP", 53, e.Namespace, "dns"), akoPort("TCP", 80))
	ako.Gateway(e.Namespace, "bare", akoPort("SCTP", 6060))
	ako.Gateway(e.Namespace, "across", behindGateway("SCTP", 38412, far.Namespace, "guest"))

	takeOver(t, e, looked{"svcapigateway", []client.Object{full, bare, across}})
	e.SvcAPIServes(full, // in AKO's order
		"SCTP/38412 amf [10.244.1.5:9090]", "UDP/53 dns [10.244.1.5:9090]", "TCP/53 dns [10.244.1.5:9090]", "TCP/80 open")
	e.SvcAPIServes(bare, "SCTP/6060 open")
	e.SvcAPIServes(across, "SCTP/38412 guest [10.244.1.5:9090]")
	if m := e.SvcAPICondition(across, "ako.vmware.com/Accepted", yes, "NamespaceNotAdmitted"); !strings.Contains(m, far.Namespace+"/guest") {
		t.Errorf("message: %s", m)
	}
	// It follows its endpoints, at the next start too, until somebody says that it is to end.
	suite.Update(e, slice, func(s *discovery) { s.Endpoints = []discoveryEndpoint{endpoint("10.244.1.6", true, false)} })
	e.SvcAPIServes(across, "SCTP/38412 guest [10.244.1.6:9090]")
	takeOver(t, e, looked{"svcapigateway", []client.Object{full, bare, across}})
	suite.Update(e, across, func(gw *svcapi.Gateway) {
		metav1.SetMetaDataAnnotation(&gw.ObjectMeta, translate.AnnotationEnforceNamespaces, "true")
	})
	e.SvcAPIServes(across, "SCTP/38412 open")
}

// TestTakeOverOfNodePorts: AKO reaches nodes from the VRF global, and says less of them than of pods.
func TestTakeOverOfNodePorts(t *testing.T) {
	e := suite.New(t, func(e *suite.Env) {
		suite.WithConfig("serviceType", "NodePort")(e)
		suite.WithConfig("nodeKey", "pool")(e)
		suite.WithConfig("nodeValue", e.Cluster)(e)
	})
	e.StopOperator()
	node(e, "a", "10.20.0.1")
	node(e, "b", "10.20.0.2")
	svc := e.Service("amf", suite.Port("SCTP", 38412))
	svc.Spec.AllocateLoadBalancerNodePorts = nil
	e.Create(svc)
	number := svc.Spec.Ports[0].NodePort
	p := akoPort("SCTP", 38412)
	p.Servers = []suite.AKOServer{{Address: fmt.Sprintf("10.20.0.2:%d", number)}, {Address: fmt.Sprintf("10.20.0.1:%d", number)}}
	suite.AKO{Env: e, NodePort: true}.Service(e.Namespace, "amf", suite.AKOService{Hosts: autoHost(svc)}, p)
	takeOver(t, e, looked{"service", []client.Object{svc}})
	e.Programmed(svc)
}

// TestTakeOverOfNodePortLocal: the servers are Antrea's ports.
func TestTakeOverOfNodePortLocal(t *testing.T) {
	e := suite.New(t, suite.WithConfig("serviceType", "NodePortLocal"), suite.WithConfig("cniPlugin", "antrea"))
	e.StopOperator()
	svc := served(e, "web", map[string]string{translate.AnnotationNodePortLocal: "true"}, suite.Port("TCP", 80))
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "web-a", Namespace: e.Namespace, Annotations: map[string]string{
			translate.AnnotationNodePortLocalPorts: `[{"podPort":9090,"nodeIP":"10.20.0.1","nodePort":61001,"protocol":"tcp"}]`,
		}},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: "web"}}},
	}
	e.Create(pod)
	pod.Status.PodIPs = []corev1.PodIP{{IP: "10.244.1.5"}}
	pod.Status.PodIP = "10.244.1.5"
	if err := e.Client.Status().Update(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	p := akoPort("TCP", 80)
	p.Servers = []suite.AKOServer{{Address: "10.20.0.1:61001"}}
	suite.AKO{Env: e}.Service(e.Namespace, "web", suite.AKOService{Hosts: autoHost(svc)}, p)
	takeOver(t, e, looked{"service", []client.Object{svc}})
	e.Programmed(svc)
}
