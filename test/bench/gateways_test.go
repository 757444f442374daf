// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"golang.org/x/sync/errgroup"

	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1alpha1"
	"github.com/avi-l4-operator/avi-l4-operator/internal/gatewayapi"
)

// routesPerGateway are SCTPRoutes, each on a listener of its own and with two Services by weight.
const routesPerGateway = 10

// routedCalls are those that such a Gateway takes: two pools and a pool group for each route, VsVip, L4PolicySet and
// VirtualService.
const routedCalls = 3*routesPerGateway + 3

func (x *bench) createRouted(name string) error {
	gw := &gatewayv1.Gateway{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace},
		Spec: gatewayv1.GatewaySpec{GatewayClassName: "bench-routed"}}
	for i := range routesPerGateway {
		section, port := gatewayv1.SectionName(fmt.Sprintf("l%d", i)), gatewayv1.PortNumber(30000+i)
		gw.Spec.Listeners = append(gw.Spec.Listeners, gatewayv1.Listener{Name: section, Port: port, Protocol: "ako.vmware.com/SCTP"})
		route := &v1alpha1.SCTPRoute{ObjectMeta: metav1.ObjectMeta{Name: backend(name, i), Namespace: namespace}, Spec: v1alpha1.SCTPRouteSpec{
			CommonRouteSpec: gatewayv1.CommonRouteSpec{
				ParentRefs: []gatewayv1.ParentReference{{Name: gatewayv1.ObjectName(name), SectionName: &section}}},
			Rules: []v1alpha1.SCTPRouteRule{{}},
		}}
		for j, weight := range []int32{9, 1} {
			svc, endpointSlices := x.service(fmt.Sprintf("%s-%d", backend(name, i), j), 2)
			svc.Spec.Type, svc.Spec.AllocateLoadBalancerNodePorts = corev1.ServiceTypeClusterIP, nil
			if err := x.create(svc, endpointSlices); err != nil {
				return err
			}
			route.Spec.Rules[0].BackendRefs = append(route.Spec.Rules[0].BackendRefs, gatewayv1.BackendRef{Weight: &weight,
				BackendObjectReference: gatewayv1.BackendObjectReference{Name: gatewayv1.ObjectName(svc.Name), Port: new(gatewayv1.PortNumber(38412))}})
		}
		if err := x.client.Create(x.Context(), route); err != nil {
			return err
		}
	}
	return x.client.Create(x.Context(), gw)
}

// programmedRouted counts the Gateways that are programmed, with all their routes attached.
func (x *bench) programmedRouted() (n int) {
	var list gatewayv1.GatewayList
	x.must(x.client.List(x.Context(), &list))
	for _, gw := range list.Items {
		attached := int32(0)
		for _, l := range gw.Status.Listeners {
			attached += l.AttachedRoutes
		}
		if apimeta.IsStatusConditionTrue(gw.Status.Conditions, "Programmed") && attached == routesPerGateway {
			n++
		}
	}
	return n
}

// routed: n Gateways of gateway.networking.k8s.io and ten times as many routes wait when the operator starts.
func (x *bench) routed(n int) []row {
	x.halt()
	x.must(x.client.Create(x.Context(), &gatewayv1.GatewayClass{ObjectMeta: metav1.ObjectMeta{Name: "bench-routed"}, Spec: gatewayv1.GatewayClassSpec{ControllerName: gatewayapi.Controller}}))
	g := new(errgroup.Group)
	g.SetLimit(8)
	for i := range n {
		g.Go(func() error { return x.createRouted(fmt.Sprintf("r%03d", i)) })
	}
	x.must(g.Wait())
	x.sim.ResetRequests()
	from, kube, cpu := x.sim.LastID(), x.kubeWritten(), cpuSeconds()
	x.run()
	x.ready()
	x.allCalls(from, routedCalls*n)
	used := cpuSince(cpu)
	x.wait("all Gateways programmed", func() bool { return x.programmedRouted() >= n })
	kubePer := x.kubePer("Gateway", n, kube, "goal: 3, and 1 for each route")
	x.wait("quiet", func() bool { return x.quiet(2 * time.Second) })
	writes := x.sim.Writes()
	first, _ := span(writes)
	return []row{
		{"calls per Gateway", fmt.Sprintf("%.2f writes, %.3f reads", float64(len(writes))/float64(n), float64(x.readsAfter(first))/float64(n)),
			fmt.Sprintf("goal: %d writes, no read", routedCalls)},
		x.programmedIn("all programmed, first call to last", "Gateways with routes", n, n*routedCalls),
		kubePer,
		{"processor time until the last call", used, ""},
		x.routeChange("the weights of one route change", "goal: 1 PATCH", func(r *v1alpha1.SCTPRoute) {
			refs := r.Spec.Rules[0].BackendRefs
			refs[0].Weight, refs[1].Weight = refs[1].Weight, refs[0].Weight
		}),
		x.routeChange("one route loses a Service", "goal: its pool, group and rule", func(r *v1alpha1.SCTPRoute) {
			r.Spec.Rules[0].BackendRefs = r.Spec.Rules[0].BackendRefs[:1]
		}),
	}
}

// routeChange changes the first route and counts what that costs on the Controller.
func (x *bench) routeChange(what, goal string, change func(*v1alpha1.SCTPRoute)) row {
	route := new(v1alpha1.SCTPRoute)
	x.must(x.client.Get(x.Context(), client.ObjectKey{Namespace: namespace, Name: backend("r000", 0)}, route))
	x.sim.ResetRequests()
	change(route)
	begin := time.Now()
	x.must(x.client.Update(x.Context(), route))
	x.wait("the change", func() bool { return len(x.sim.Writes()) > 0 })
	x.wait("quiet", func() bool { return x.quiet(2 * time.Second) })
	_, last := span(x.sim.Writes())
	return row{what, fmt.Sprintf("%s, done after %.0f ms", verbs(x.sim.Writes()), float64(last.Sub(begin).Milliseconds())), goal}
}
