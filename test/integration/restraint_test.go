// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/avi-l4-operator/avi-l4-operator/internal/gather"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
	"github.com/avi-l4-operator/avi-l4-operator/test/suite"
)

// noWrites fails if the Controller was written to since the requests were reset.
func noWrites(e *suite.Env, when string) {
	e.T.Helper()
	if w := e.Written(); len(w) > 0 {
		e.T.Errorf("%s: %v", when, w)
	}
}

// TestPausedService: nothing that happens to the Service moves what serves it, not even that it stops being a load balancer; it says so;
// what has changed follows when the pause ends, and a deletion doesn't wait for that.
func TestPausedService(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	svc := e.Service("amf", suite.Port("SCTP", 38412))
	e.Create(svc, e.Slice(svc, "10.244.1.5"))
	vip := e.Programmed(svc)
	e.Eventually("the tree", func() error { return e.Complete(svc) })
	pool := e.PoolName(svc, svc.Spec.Ports[0])
	e.Sim.ResetRequests()

	suite.Update(e, svc, annotate(translate.AnnotationPaused, "true"))
	e.Condition(svc, "Programmed", no, "Paused")
	e.Told(svc, "Paused", "while annotation "+translate.AnnotationPaused+" is set")
	if in := svc.Status.LoadBalancer.Ingress; len(in) != 1 || in[0].IP != vip {
		t.Errorf("the status has %+v, want %s", in, vip)
	}
	suite.Update(e, e.Slice(svc), func(s *discovery) { s.Endpoints = []discoveryEndpoint{endpoint("10.244.1.9", true, false)} })
	suite.Update(e, svc, func(s *corev1.Service) {
		second := suite.Port("TCP", 80)
		second.Name = "http"
		s.Spec.Ports[0].Name, s.Spec.Ports = "n2", append(s.Spec.Ports, second)
	})
	e.LookedAt(e.Touch(), "service", svc)
	noWrites(e, "endpoints and ports")
	if text, changes := e.Preview(); changes || !strings.Contains(text, "Paused: paused: nothing is changed") {
		t.Errorf("the preview says (%v):\n%s", changes, text)
	}

	suite.Update(e, svc, func(s *corev1.Service) { s.Spec.Type = corev1.ServiceTypeClusterIP })
	if m := e.Condition(svc, "Programmed", no, "Paused"); !strings.Contains(m, "objects are kept") {
		e.Told(svc, "Paused", "objects are kept")
	}
	noWrites(e, "another type")
	suite.Update(e, svc, func(s *corev1.Service) { s.Spec.Type = corev1.ServiceTypeLoadBalancer })
	suite.Update(e, svc, annotate(translate.AnnotationPaused, "false"))
	if got := e.Programmed(svc); got != vip {
		t.Errorf("the address went from %s to %s", vip, got)
	}
	e.Eventually("what has changed follows", func() error {
		if got := fmt.Sprint(e.Servers(pool)); got != "[10.244.1.9:9090]" {
			return fmt.Errorf("servers are %s", got)
		}
		return e.Complete(svc)
	})

	suite.Update(e, svc, annotate(translate.AnnotationPaused, "true"))
	e.Condition(svc, "Programmed", no, "Paused")
	e.Delete(svc)
	gone(e, svc)
	nothingLeft(e)
}

// TestRestrainedGateways: of both APIs; one is shown before it is made, the other is paused while it serves.
func TestRestrainedGateways(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	routedClass(e)
	backend(e, "app", "10.244.1.5", suite.Port("SCTP", 80))
	gw := e.Gateway("edge", suite.Listener("n2", "ako.vmware.com/SCTP", 38412))
	metav1.SetMetaDataAnnotation(&gw.ObjectMeta, translate.AnnotationDryRun, "true")
	e.Create(gw, e.SCTPRoute("s", "edge", "", suite.To("app", 80, 1)))
	e.Eventually("the plan", func() error {
		if m := e.GatewayCondition(gw, "Programmed", no, "Pending"); !strings.Contains(m, "to create") || !strings.Contains(m, "create Pool") {
			return fmt.Errorf("the condition says %s", m)
		}
		return nil
	})
	e.Told(gw, "DryRun", "while annotation "+translate.AnnotationDryRun+" is set; the plan: ")
	if !slices.Contains(gw.Finalizers, gather.Finalizer) {
		t.Errorf("finalizers are %v", gw.Finalizers)
	}
	noWrites(e, "a dry run")
	suite.Update(e, gw, func(g *gatewayv1.Gateway) { delete(g.Annotations, translate.AnnotationDryRun) })
	e.GatewayReady(gw)

	e.Own(e.SvcAPIClass(nil))
	port := suite.Port("SCTP", 6060)
	old := gatewayOn(e, "old", port)
	_, slice := e.SvcAPIAttach(old, "hss", "10.244.1.6", port)
	e.SvcAPIReady(old)
	suite.Update(e, old, func(g *gateway) { metav1.SetMetaDataAnnotation(&g.ObjectMeta, translate.AnnotationPaused, "true") })
	e.SvcAPICondition(old, "ako.vmware.com/Programmed", no, "Paused")
	e.Sim.ResetRequests()
	suite.Update(e, slice, func(s *discovery) { s.Endpoints = []discoveryEndpoint{endpoint("10.244.1.9", true, false)} })
	e.LookedAt(e.Touch(), "svcapigateway", old)
	noWrites(e, "a pause")
	e.Delete(old)
	e.SvcAPIGone(old)
}

// TestPausedSharedVIP: one Service pauses what it shares with others. What joins waits, and so does what is deleted, until the pause ends;
// the deletion of the Service that pauses ends it.
func TestPausedSharedVIP(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	amf, smf := member(e, "amf", "n2", "10.244.1.5", n2), member(e, "smf", "n2", "10.244.1.6", webPort)
	e.Programmed(amf)
	e.Programmed(smf)
	before := e.SharedServes("n2", "SCTP/38412 amf [10.244.1.5:9090]", "TCP/8080 smf [10.244.1.6:9090]")
	e.Sim.ResetRequests()

	suite.Update(e, smf, annotate(translate.AnnotationPaused, "true"))
	for _, svc := range []*corev1.Service{amf, smf} {
		e.Condition(svc, "Programmed", no, "Paused")
		e.Told(svc, "Paused", "of Service smf")
	}
	upf := member(e, "upf", "n2", "10.244.1.7", suite.Port("UDP", 8805))
	e.Condition(upf, "Programmed", no, "Paused")
	e.Delete(amf)
	e.Eventually("amf says why it stays", func() error {
		if m := e.Condition(amf, "Programmed", no, "Paused"); !strings.HasPrefix(m, "deleting: paused") {
			return fmt.Errorf("it says %s", m)
		}
		return nil
	})
	noWrites(e, "paused")
	e.Delete(smf)
	gone(e, amf)
	gone(e, smf)
	same(t, before, e.SharedServes("n2", "UDP/8805 upf [10.244.1.7:9090]"))

	suite.Update(e, upf, annotate(translate.AnnotationPaused, "true"))
	e.Condition(upf, "Programmed", no, "Paused")
	e.Delete(upf)
	gone(e, upf)
	nothingLeft(e)
}
