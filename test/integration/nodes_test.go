// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
	"github.com/avi-l4-operator/avi-l4-operator/test/suite"
)

// node makes a Ready node with a label that only the test's operator looks for.
func node(e *suite.Env, name, ip string) *corev1.Node {
	e.T.Helper()
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: e.Cluster + "-" + name, Labels: map[string]string{"pool": e.Cluster}}}
	e.Create(n)
	e.T.Cleanup(func() { suite.Forget(e, n) })
	status(e, n, ip, corev1.ConditionTrue)
	return n
}

func status(e *suite.Env, n *corev1.Node, ip string, ready corev1.ConditionStatus) {
	e.T.Helper()
	e.Eventually("the status of node "+n.Name, func() error {
		if err := e.Client.Get(e.T.Context(), client.ObjectKeyFromObject(n), n); err != nil {
			return err
		}
		n.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeHostName, Address: n.Name}, {Type: corev1.NodeInternalIP, Address: ip}}
		n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: ready}}
		return e.Client.Status().Update(e.T.Context(), n)
	})
}

func (p poolsOf) have(e *suite.Env, want ...string) {
	e.T.Helper()
	for _, pool := range p {
		e.Eventually("the servers of "+pool, func() error {
			if have := e.Servers(pool); !slices.Equal(have, want) {
				return fmt.Errorf("have %v, want %v", have, want)
			}
			return nil
		})
	}
}

// poolsOf are names of pools that have to have the same servers.
type poolsOf []string

// TestNodePortFollowsNodes: addition, loss, cordon, readiness and exclusion of a node reach every pool, a Service's and a
// Gateway's alike.
func TestNodePortFollowsNodes(t *testing.T) {
	t.Parallel()
	e := suite.New(t, func(e *suite.Env) {
		suite.WithConfig("serviceType", "NodePort")(e)
		suite.WithConfig("nodeKey", "pool")(e)
		suite.WithConfig("nodeValue", e.Cluster)(e)
	})
	node(e, "a", "10.20.0.1")
	b := node(e, "b", "10.20.0.2")
	svc := e.Service("amf", suite.Port("SCTP", 38412))
	svc.Spec.AllocateLoadBalancerNodePorts = nil
	backend := e.Backend("diameter", "gw", suite.Port("SCTP", 6060))
	backend.Spec.Type = corev1.ServiceTypeNodePort
	gw := e.SvcAPIGateway("gw", e.SvcAPIListener("gw", "SCTP", 6060))
	class := e.SvcAPIClass(nil)
	t.Cleanup(func() { suite.Forget(e, class) })
	e.Create(svc, backend, class, gw)
	e.Programmed(svc)
	e.SvcAPIReady(gw)
	one, two := poolsOf{e.PoolName(svc, svc.Spec.Ports[0])}, poolsOf{e.SvcAPIPool(gw, "diameter", backend.Spec.Ports[0])}
	both := func(suffixes map[string]string) {
		t.Helper()
		for pools, port := range map[*poolsOf]int32{&one: svc.Spec.Ports[0].NodePort, &two: backend.Spec.Ports[0].NodePort} {
			if port == 0 {
				t.Fatal("there is no node port")
			}
			var want []string
			for _, ip := range []string{"10.20.0.1", "10.20.0.2", "10.20.0.3"} {
				if state, ok := suffixes[ip]; ok {
					want = append(want, fmt.Sprintf("%s:%d%s", ip, port, state))
				}
			}
			pools.have(e, want...)
		}
	}
	both(map[string]string{"10.20.0.1": "", "10.20.0.2": ""})
	node(e, "c", "10.20.0.3")
	both(map[string]string{"10.20.0.1": "", "10.20.0.2": "", "10.20.0.3": ""})
	// A cordoned node and one that is not Ready stay, since their pods may serve: the health monitor decides. What proves that
	// those changes were looked at is the taint that follows them.
	e.Sim.ResetRequests()
	suite.Update(e, b, func(n *corev1.Node) { n.Spec.Unschedulable = true })
	status(e, b, "10.20.0.2", corev1.ConditionUnknown)
	autoscaler := corev1.Taint{Key: "ToBeDeletedByClusterAutoscaler", Value: "1", Effect: corev1.TaintEffectNoSchedule}
	suite.Update(e, b, func(n *corev1.Node) { n.Spec.Taints = append(n.Spec.Taints, autoscaler) })
	both(map[string]string{"10.20.0.1": "", "10.20.0.2": " disabled", "10.20.0.3": ""})
	if w := e.Writes(); len(w) != 2 {
		t.Errorf("writes for the taint of one node behind two pools: %v", w)
	}
	suite.Update(e, b, func(n *corev1.Node) { n.Spec.Taints = nil })
	both(map[string]string{"10.20.0.1": "", "10.20.0.2": "", "10.20.0.3": ""})
	suite.Update(e, b, func(n *corev1.Node) { n.Labels[corev1.LabelNodeExcludeBalancers] = "" })
	both(map[string]string{"10.20.0.1": "", "10.20.0.3": ""})
	e.Delete(b)
	both(map[string]string{"10.20.0.1": "", "10.20.0.3": ""})

	// A selector that no node has is a mistake: what serves keeps its servers.
	e.Sim.ResetRequests()
	e.Configure(func(c map[string]string) { c["nodeValue"] = "nobody" })
	e.Condition(svc, "Accepted", metav1.ConditionTrue, "NoNodes")
	e.SvcAPICondition(gw, "ako.vmware.com/Accepted", metav1.ConditionTrue, "NoNodes")
	if w := e.Writes(); len(w) > 0 {
		t.Errorf("%d writes, the first is %s %s", len(w), w[0].Method, w[0].Path)
	}
}

func TestNodePortWithoutNodePort(t *testing.T) {
	t.Parallel()
	e := suite.New(t, suite.WithConfig("serviceType", "NodePort"))
	none := e.Service("none", suite.Port("SCTP", 38412)) // allocateLoadBalancerNodePorts false
	skip := e.Service("skip", suite.Port("SCTP", 38412))
	skip.Annotations = map[string]string{translate.AnnotationSkipNodePort: ""}
	e.Create(none, skip, e.Slice(skip, "10.244.1.5"))
	if m := e.Condition(none, "Accepted", metav1.ConditionFalse, "NoNodePort"); !strings.Contains(m, translate.AnnotationSkipNodePort) {
		t.Errorf("message: %s", m)
	}
	e.Programmed(skip)
	poolsOf{e.PoolName(skip, skip.Spec.Ports[0])}.have(e, "10.244.1.5:9090")
}

// TestNodePortLocal: TCP and UDP by Antrea's annotation; SCTP is refused with a condition and an Event while the Service's
// other ports are served.
func TestNodePortLocal(t *testing.T) {
	t.Parallel()
	e := suite.New(t, suite.WithConfig("serviceType", "NodePortLocal"), suite.WithConfig("cniPlugin", "antrea"))
	svc := e.Service("mixed", suite.Port("TCP", 80), suite.Port("SCTP", 38412))
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "pod", Namespace: e.Namespace, Annotations: map[string]string{
		translate.AnnotationNodePortLocalPorts: `[{"podPort":9090,"nodeIP":"10.20.0.1","nodePort":61001,"protocol":"tcp"}]`,
	}}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}}}
	e.Create(svc, pod, e.Slice(svc, "10.244.1.5"))
	pod.Status.PodIP, pod.Status.PodIPs = "10.244.1.5", []corev1.PodIP{{IP: "10.244.1.5"}}
	if err := e.Client.Status().Update(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	suite.Update(e, pod, func(p *corev1.Pod) {
		p.Annotations[translate.AnnotationNodePortLocalPorts] = `[{"podPort":9090,"nodeIP":"10.20.0.1","nodePort":61002,"protocol":"tcp"}]`
	})
	tcp := poolsOf{e.PoolName(svc, svc.Spec.Ports[0])}
	tcp.have(e, "10.20.0.1:61002")
	e.Condition(svc, "Accepted", metav1.ConditionTrue, "NodePortLocalUnsupported")
	e.Condition(svc, "Programmed", metav1.ConditionTrue, "")
	if e.Object("pool", e.PoolName(svc, svc.Spec.Ports[1])) != nil {
		t.Error("the SCTP port has a pool")
	}
	if svc.Annotations[translate.AnnotationNodePortLocal] != "true" {
		t.Errorf("Antrea wasn't asked: %v", svc.Annotations)
	}
	errs := map[corev1.Protocol]string{}
	for _, p := range svc.Status.LoadBalancer.Ingress[0].Ports {
		if p.Error != nil {
			errs[p.Protocol] = *p.Error
		}
	}
	if errs["SCTP"] != "ako.vmware.com/NodePortLocalUnsupported" || errs["TCP"] != "" {
		t.Errorf("port errors are %v", errs)
	}
	e.Event(svc, "NodePortLocalUnsupported")
	suite.Update(e, pod, func(p *corev1.Pod) {
		p.Annotations[translate.AnnotationNodePortLocalPorts] = `[{"podPort":9090,"nodeIP":"10.20.0.2","nodePort":61003,"protocols":["tcp","udp"]}]`
	})
	tcp.have(e, "10.20.0.2:61003")
}
