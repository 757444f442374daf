// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	svcapi "github.com/avi-l4-operator/avi-l4-operator/api/networking/v1alpha1"
	"github.com/avi-l4-operator/avi-l4-operator/internal/gather"
	statuses "github.com/avi-l4-operator/avi-l4-operator/internal/status"
	"github.com/avi-l4-operator/avi-l4-operator/test/suite"
)

const hold = "example.com/hold"

// TestStatusGoesWithTheObjects: an owner of any kind that somebody else's finalizer holds shows no address once its objects are gone,
// since the next owner may have it.
func TestStatusGoesWithTheObjects(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	svc := e.Service("dead", suite.Port("SCTP", 80))
	old := e.SvcAPIGateway("dead-old", e.SvcAPIListener("dead-old", "SCTP", 6060))
	gw := e.Gateway("dead-gateway", suite.Listener("n2", "SCTP", 6060))
	for _, o := range []client.Object{svc, old, gw} {
		o.SetFinalizers([]string{hold})
	}
	backend := e.Backend("b", "dead-old", suite.Port("SCTP", 6060))
	e.Create(e.SvcAPIClass(nil), e.Class(), svc, old, gw, backend, e.Slice(backend, "10.244.1.5"))
	e.Programmed(svc)
	e.SvcAPIReady(old)
	e.GatewayReady(gw)
	for _, o := range []client.Object{svc, old, gw} {
		if err := e.Client.Delete(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		e.Eventually(fmt.Sprintf("%T let go", o), func() error {
			if err := e.Read(o); err != nil {
				return err
			}
			if gather.Claimed(o) {
				return errors.New("still claimed")
			}
			return nil
		})
	}
	if in := svc.Status.LoadBalancer.Ingress; len(in) > 0 {
		t.Errorf("the Service still shows %v", in)
	}
	if len(old.Status.Addresses)+len(gw.Status.Addresses) > 0 {
		t.Errorf("the Gateways still show %v and %v", old.Status.Addresses, gw.Status.Addresses)
	}
	for _, o := range []client.Object{svc, old, gw} {
		if c := conditionProgrammed(o); c != nil && c.Status == metav1.ConditionTrue {
			t.Errorf("%T is still programmed: %v", o, c)
		}
		o.SetFinalizers(nil)
		if err := e.Client.Update(t.Context(), o); err != nil {
			t.Error(err)
		}
	}
}

// conditionProgrammed is the condition of an owner that says whether it is programmed, nil if it has none.
func conditionProgrammed(o client.Object) *metav1.Condition {
	switch o := o.(type) {
	case *corev1.Service:
		return apimeta.FindStatusCondition(o.Status.Conditions, statuses.Programmed)
	case *svcapi.Gateway:
		return apimeta.FindStatusCondition(o.Status.Conditions, statuses.Programmed)
	case *gatewayv1.Gateway:
		return apimeta.FindStatusCondition(o.Status.Conditions, string(gatewayv1.GatewayConditionProgrammed))
	}
	return nil
}

// TestWhyADeletionHangs stands on the owner itself: no Event can be created in a Namespace that is being deleted.
func TestWhyADeletionHangs(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	svc := e.Service("amf", suite.Port("SCTP", 80))
	gw := e.Gateway("edge", suite.Listener("n2", "SCTP", 6060))
	e.Create(e.Class(), svc, gw)
	address := e.Programmed(svc)
	e.GatewayReady(gw)
	e.Sim.SetDown(true)
	if err := e.Client.Delete(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: e.Namespace}}); err != nil {
		t.Fatal(err)
	}
	for _, o := range []client.Object{svc, gw} { // no namespace controller runs here
		if err := e.Client.Delete(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		e.Eventually(fmt.Sprintf("%T says why it doesn't go", o), func() error {
			if err := e.Read(o); err != nil {
				return err
			}
			c := conditionProgrammed(o)
			if c == nil || c.Status != metav1.ConditionFalse || !strings.HasPrefix(c.Message, "deleting: ") {
				return fmt.Errorf("condition %v", c)
			}
			return nil
		})
	}
	if p := svc.Annotations[statuses.AnnotationProblem]; !strings.HasPrefix(p, "ControllerUnavailable: deleting: ") {
		t.Errorf("the problem is %q", p)
	}
	if in := svc.Status.LoadBalancer.Ingress; len(in) != 1 || in[0].IP != address {
		t.Errorf("it serves still, and shows %v", in)
	}
	e.Sim.SetDown(false)
	for _, o := range []client.Object{svc, gw} {
		e.Eventually(fmt.Sprintf("%T gone", o), func() error {
			if err := e.Client.Get(t.Context(), client.ObjectKeyFromObject(o), o); !apierrors.IsNotFound(err) {
				return fmt.Errorf("still there: %v", err)
			}
			return nil
		})
	}
}

// TestCopiedManifest: an owner with the claim of an instance that isn't there says so for as long as nobody has spoken for it.
func TestCopiedManifest(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	claimed := func(o client.Object) client.Object {
		o.SetFinalizers([]string{gather.Finalizer})
		o.SetAnnotations(map[string]string{gather.AnnotationServedBy: "ako-oldcluster@oldcluster/Default-Cloud"})
		return o
	}
	svc, gw := e.Service("c5", suite.Port("SCTP", 80)), e.Gateway("c5-gateway", suite.Listener("n2", "SCTP", 6060))
	old := e.SvcAPIGateway("c5-old", e.SvcAPIListener("c5-old", "SCTP", 6060))
	e.Create(e.Class(), e.SvcAPIClass(nil), claimed(svc), claimed(gw), claimed(old))
	e.Condition(svc, "Accepted", metav1.ConditionFalse, "ServedByAnotherInstance")
	if p := svc.Annotations[statuses.AnnotationProblem]; !strings.Contains(p, "oldcluster") {
		t.Errorf("the problem is %q", p)
	}
	if m := e.SvcAPICondition(old, "ako.vmware.com/Accepted", metav1.ConditionFalse, "ServedByAnotherInstance"); !strings.Contains(m,
		"served-by") {
		t.Errorf("the message is %q", m)
	}
	if m := e.GatewayCondition(gw, string(gatewayv1.GatewayConditionAccepted), metav1.ConditionFalse, "Pending"); !strings.Contains(m,
		"served-by") {
		t.Errorf("the message is %q", m)
	}
	if w := e.Writes(); len(w) > 0 {
		t.Errorf("the Controller was written to: %v", w)
	}
	// Without the forged claim it is served.
	suite.Update(e, svc, func(svc *corev1.Service) { delete(svc.Annotations, gather.AnnotationServedBy) })
	e.Programmed(svc)
}

// TestForeignStatus: addresses that somebody else writes are put right at once and, the second time, reported.
func TestForeignStatus(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	svc := e.Service("b11", suite.Port("SCTP", 80))
	e.Create(svc)
	address := e.Programmed(svc)
	for range 2 {
		e.Eventually("the stranger's write", func() error {
			if err := e.Read(svc); err != nil {
				return err
			}
			svc.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "203.0.113.99"}}
			return e.Client.Status().Update(t.Context(), svc)
		})
		began := time.Now()
		e.Eventually("the operator's address", func() error {
			if err := e.Read(svc); err != nil {
				return err
			}
			if in := svc.Status.LoadBalancer.Ingress; len(in) != 1 || in[0].IP != address {
				return fmt.Errorf("ingress is %v", in)
			}
			return nil
		})
		t.Logf("put right after %s", time.Since(began).Round(time.Millisecond))
	}
	eventsOf(e, "StatusContested", 1)
}

// TestHostnameIsAnAddress: one value that no status may have leaves no Service without a word.
func TestHostnameIsAnAddress(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	svc := e.Service("e47", suite.Port("SCTP", 80))
	svc.Annotations = map[string]string{"external-dns.alpha.kubernetes.io/hostname": "10.10.0.1"}
	e.Create(svc)
	e.Programmed(svc)
	e.Condition(svc, "Accepted", metav1.ConditionTrue, "InvalidHostname")
}
