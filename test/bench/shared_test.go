// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"golang.org/x/sync/errgroup"
)

// sharedPorts are the ports of each shared VIP. Each is of a Service of its own.
var sharedPorts = listeners[:4]

// shared: so many groups of Services wait when the operator starts, beside all that it has served before.
func (x *bench) shared(groups int) []row {
	x.halt()
	g := new(errgroup.Group)
	g.SetLimit(8)
	for i := range groups {
		g.Go(func() error { return x.createGroup(fmt.Sprintf("v%04d", i)) })
	}
	x.must(g.Wait())
	before, services, perGroup := x.programmed(), groups*len(sharedPorts), len(sharedPorts)+3
	x.sim.ResetRequests()
	begin, from, kube, cpu := time.Now(), x.sim.LastID(), x.kubeWritten(), cpuSeconds()
	x.run()
	x.ready()
	x.allCalls(from, perGroup*groups)
	used := cpuSince(cpu)
	x.wait("all Services programmed", func() bool { return x.programmed() >= before+services })
	total := time.Since(begin)
	kubePer := x.kubePer("Service", services, kube, "goal: 3")
	x.wait("quiet", func() bool { return x.quiet(2 * time.Second) })
	writes := x.sim.Writes()
	first, _ := span(writes)
	rows := []row{
		{"calls per shared VIP", fmt.Sprintf("%.2f writes, %.3f reads", float64(len(writes))/float64(groups), float64(x.readsAfter(first))/float64(groups)),
			fmt.Sprintf("goal: %d writes (P+3), no read", perGroup)},
		x.programmedIn("all programmed, first call to last", "shared VIPs", groups, groups*perGroup),
		{"the same, from the operator's start to the last status", fmt.Sprintf("%.1f s", total.Seconds()), ""},
		kubePer,
		{"processor time until the last call", used, ""},
	}
	objects := 0
	for _, kind := range []string{"vsvip", "pool", "l4policyset", "virtualservice"} {
		objects += len(x.sim.Objects(kind))
	}
	return append(append(rows, x.joins()...), x.restart(objects)...)
}

// createGroup creates the Services of a group.
func (x *bench) createGroup(group string) error {
	for i, port := range sharedPorts {
		svc, endpointSlices := x.service(fmt.Sprintf("%s-%d", group, i), 2)
		svc.Annotations = map[string]string{"ako.vmware.com/enable-shared-vip": group}
		svc.Spec.Ports[0].Protocol, svc.Spec.Ports[0].Port = port.Protocol, port.Port
		endpointSlices[0].Ports[0].Protocol = &port.Protocol
		if err := x.create(svc, endpointSlices); err != nil {
			return err
		}
	}
	return nil
}

// joins has one more Service join a group.
func (x *bench) joins() []row {
	svc, endpointSlices := x.service("joins", 2)
	svc.Annotations = map[string]string{"ako.vmware.com/enable-shared-vip": "v0000"}
	svc.Spec.Ports[0].Protocol, svc.Spec.Ports[0].Port = corev1.ProtocolUDP, 8805
	endpointSlices[0].Ports[0].Protocol = new(corev1.ProtocolUDP)
	x.sim.ResetRequests()
	begin := time.Now()
	x.must(x.create(svc, endpointSlices))
	x.wait("the change", func() bool { return len(x.sim.Writes()) >= 4 })
	_, last := span(x.sim.Writes())
	x.wait("quiet", func() bool { return x.quiet(2 * time.Second) })
	return []row{{"one Service joins a shared VIP", fmt.Sprintf("%s, done after %.0f ms", verbs(x.sim.Writes()), float64(last.Sub(begin).Milliseconds())), "goal: 1 POST, 3 PATCHes"}}
}
