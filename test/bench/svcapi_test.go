// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"fmt"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"golang.org/x/sync/errgroup"

	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1beta1"
	svcapi "github.com/avi-l4-operator/avi-l4-operator/api/networking/v1alpha1"
)

// listeners are the ports of each Gateway. Behind each is a Service of its own.
var listeners = []corev1.ServicePort{
	{Protocol: corev1.ProtocolSCTP, Port: 38412},
	{Protocol: corev1.ProtocolSCTP, Port: 3868},
	{Protocol: corev1.ProtocolTCP, Port: 3868},
	{Protocol: corev1.ProtocolTCP, Port: 8080},
	{Protocol: corev1.ProtocolUDP, Port: 2123},
}

// calls are those that a Gateway takes: a pool for each listener, VsVip, L4PolicySet and VirtualService.
var calls = len(listeners) + 3

func (x *bench) createGateway(name string) error {
	labels := map[string]string{"ako.vmware.com/gateway-name": name, "ako.vmware.com/gateway-namespace": namespace}
	gw := &svcapi.Gateway{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace}, Spec: svcapi.GatewaySpec{GatewayClassName: "bench"}}
	for i, port := range listeners {
		gw.Spec.Listeners = append(gw.Spec.Listeners,
			svcapi.Listener{Port: port.Port, Protocol: svcapi.ProtocolType(port.Protocol), Routes: svcapi.RouteBindingSelector{
				Group: "v1", Kind: "services", Selector: &metav1.LabelSelector{MatchLabels: labels},
			}})
		svc, endpointSlices := x.service(backend(name, i), 2)
		svc.Labels, svc.Spec.Type, svc.Spec.AllocateLoadBalancerNodePorts = labels, corev1.ServiceTypeClusterIP, nil
		svc.Spec.Ports[0].Protocol, svc.Spec.Ports[0].Port = port.Protocol, port.Port
		endpointSlices[0].Ports[0].Protocol = &port.Protocol
		if err := x.create(svc, endpointSlices); err != nil {
			return err
		}
	}
	return x.client.Create(x.Context(), gw)
}

// backend is the name of the Service behind a Gateway's listener.
func backend(gateway string, listener int) string { return fmt.Sprintf("%s-%d", gateway, listener) }

func (x *bench) readyGateways() (n int) {
	var list svcapi.GatewayList
	x.must(x.client.List(x.Context(), &list))
	for _, gw := range list.Items {
		if apimeta.IsStatusConditionTrue(gw.Status.Conditions, svcapi.GatewayConditionReady) {
			n++
		}
	}
	return n
}

// gateways: n Gateways wait when the operator starts, beside the Services that it has served before.
func (x *bench) gateways(n, services int) []row {
	x.halt()
	setting := &v1beta1.AviInfraSetting{ObjectMeta: metav1.ObjectMeta{Name: "bench"}}
	x.must(x.client.Create(x.Context(), setting))
	x.must(x.client.Create(x.Context(), &svcapi.GatewayClass{ObjectMeta: metav1.ObjectMeta{Name: "bench"}, Spec: svcapi.GatewayClassSpec{
		Controller: "ako.vmware.com/avi-lb", ParametersRef: &svcapi.ParametersReference{Group: "ako.vmware.com", Kind: "AviInfraSetting", Name: setting.Name},
	}}))
	g := new(errgroup.Group)
	g.SetLimit(8)
	for i := range n {
		g.Go(func() error { return x.createGateway(fmt.Sprintf("g%04d", i)) })
	}
	x.must(g.Wait())
	x.sim.ResetRequests()
	begin, from, kube, cpu := time.Now(), x.sim.LastID(), x.kubeWritten(), cpuSeconds()
	x.run()
	x.ready()
	x.allCalls(from, calls*n)
	used := cpuSince(cpu)
	x.wait("all Gateways ready", func() bool { return x.readyGateways() >= n })
	total := time.Since(begin)
	kubePer := x.kubePer("Gateway", n, kube, "goal: 3")
	x.wait("quiet", func() bool { return x.quiet(2 * time.Second) })
	writes := x.sim.Writes()
	first, _ := span(writes)
	rows := []row{
		{"calls per Gateway", fmt.Sprintf("%.2f writes, %.3f reads", float64(len(writes))/float64(n), float64(x.readsAfter(first))/float64(n)),
			fmt.Sprintf("goal: %d writes (P+3), no read", calls)},
		x.programmedIn("all ready, first call to last", "Gateways of the Services API", n, calls*n),
		{"the same, from the operator's start to the last status", fmt.Sprintf("%.1f s", total.Seconds()), ""},
		kubePer,
		{"processor time until the last call", used, ""},
	}
	rows = append(rows, x.oneBackend()...)
	restarted := x.restart(
		len(x.sim.Objects("vsvip")) + len(x.sim.Objects("pool")) + len(x.sim.Objects("l4policyset")) + len(x.sim.Objects("virtualservice")))
	budget := 60*1024 + 16*(services+n*len(listeners))
	return append(append(rows, restarted...), row{
		"peak memory after that restart",
		fmt.Sprintf("%.1f MiB resident; now %.1f MiB of its own and %.1f MiB of the program file", mib(x.memory("VmHWM")), mib(x.memory("RssAnon")), mib(x.memory("RssFile"))),
		fmt.Sprintf("goal: %.1f MiB (60 MiB + 16 KiB a Service)", float64(budget)/1024),
	})
}

// oneBackend takes one endpoint of one Gateway's backend out of use.
func (x *bench) oneBackend() []row {
	slice := new(discoveryv1.EndpointSlice)
	slice.Namespace, slice.Name = namespace, backend("g0000", 0)+"-0"
	x.must(x.client.Get(x.Context(), client.ObjectKeyFromObject(slice), slice))
	x.sim.ResetRequests()
	slice.Endpoints[1].Conditions.Ready = new(false)
	begin := time.Now()
	x.must(x.client.Update(x.Context(), slice))
	x.wait("the change", func() bool { return len(x.sim.Writes()) > 0 })
	_, last := span(x.sim.Writes())
	x.wait("quiet", func() bool { return x.quiet(2 * time.Second) })
	return []row{{"one endpoint of one backend changes", fmt.Sprintf("%s, done after %.0f ms", verbs(x.sim.Writes()), float64(last.Sub(begin).Milliseconds())), "goal: 1 PATCH"}}
}

// readsAfter counts the reads of the operator's kinds since the first write: the bulk reads of its start come before.
func (x *bench) readsAfter(first time.Time) (n int) {
	for _, r := range x.sim.Requests() {
		if r.Method == http.MethodGet && (r.Type == "vsvip" || r.Type == "pool" || r.Type == "l4policyset" || r.Type == "virtualservice") &&
			r.Time.After(first) {
			n++
		}
	}
	return n
}
