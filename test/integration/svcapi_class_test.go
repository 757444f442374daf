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
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1beta1"
	svcapi "github.com/avi-l4-operator/avi-l4-operator/api/networking/v1alpha1"
	"github.com/avi-l4-operator/avi-l4-operator/test/suite"
)

type class = svcapi.GatewayClass

const foreignController = "example.com/another"

// held waits until a class has the API's finalizer, or hasn't.
func held(e *suite.Env, c *class, want bool) {
	e.T.Helper()
	e.Eventually(fmt.Sprintf("the finalizer of class %s is there: %t", c.Name, want), func() error {
		err := e.Client.Get(e.T.Context(), client.ObjectKeyFromObject(c), c)
		if err == nil && slices.Contains(c.Finalizers, svcapi.GatewayClassFinalizer) != want {
			err = fmt.Errorf("finalizers are %v", c.Finalizers)
		}
		return err
	})
}

func gone(e *suite.Env, o client.Object) {
	e.T.Helper()
	e.Eventually(o.GetName()+" goes", func() error {
		if err := e.Client.Get(e.T.Context(), client.ObjectKeyFromObject(o), o); !apierrors.IsNotFound(err) {
			return fmt.Errorf("finalizers are %v: %w", o.GetFinalizers(), err)
		}
		return nil
	})
}

// TestClassComesAfterItsGateway: the Gateway waits without anything being made for it.
func TestClassComesAfterItsGateway(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	port := suite.Port("SCTP", 6060)
	gw := gatewayOn(e, "n2", port)
	e.SvcAPIAttach(gw, "amf", "10.244.1.5", port)
	e.Told(gw, "NoSuchGatewayClass", "create it")
	wantCalls(t, e)
	c := e.SvcAPIClass(nil)
	e.Own(c)
	e.SvcAPIReady(gw)
	e.SvcAPICondition(gw, "Scheduled", yes, "Scheduled")
	e.SvcAPIServes(gw, "SCTP/6060 amf [10.244.1.5:9090]")
	e.SvcAPIClassCondition(c, "Admitted", yes, "Admitted")
	if apimeta.FindStatusCondition(c.Status.Conditions, svcapi.GatewayClassConditionInvalidParameters) != nil {
		t.Errorf("the CRD's leftover is still there: %+v", c.Status.Conditions)
	}
}

// TestClassFinalizer is there while Gateways use the class, and keeps it from being deleted under them.
func TestClassFinalizer(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	port := suite.Port("SCTP", 6060)
	c := e.SvcAPIClass(nil)
	e.Own(c)
	e.SvcAPIClassCondition(c, "Admitted", yes, "Admitted")
	held(e, c, false)
	one := gatewayOn(e, "one", port)
	held(e, c, true)
	two := gatewayOn(e, "two", port)
	e.SvcAPICondition(one, "Scheduled", yes, "Scheduled")
	e.SvcAPICondition(two, "Scheduled", yes, "Scheduled")
	e.Delete(one)
	e.SvcAPIGone(one)
	held(e, c, true)
	e.Delete(c)
	e.LookAgain("svcapigatewayclass", c)
	if err := e.Read(c); err != nil {
		t.Errorf("the class went under a Gateway: %v", err)
	}
	e.SvcAPICondition(two, "Scheduled", yes, "Scheduled")
	e.Delete(two)
	e.SvcAPIGone(two)
	gone(e, c)
}

// TestClassTornAway from a live Gateway, by an administrator who removes the finalizer: nothing on the Controller
// changes, endpoints go on being followed, and its return fixes the status.
func TestClassTornAway(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	port := suite.Port("SCTP", 6060)
	c := e.SvcAPIClass(nil)
	e.Own(c)
	gw := gatewayOn(e, "n2", port)
	_, slice := e.SvcAPIAttach(gw, "amf", "10.244.1.5", port)
	address := e.SvcAPIReady(gw)
	was := e.SvcAPIServes(gw, "SCTP/6060 amf [10.244.1.5:9090]")
	held(e, c, true)
	e.Sim.ResetRequests()
	e.Force(c)
	if m := e.SvcAPICondition(gw, "Scheduled", no, "NoSuchGatewayClass"); !strings.Contains(m, e.Cluster) || !strings.Contains(m, "create it") {
		t.Errorf("the message is %s", m)
	}
	e.Told(gw, "NoSuchGatewayClass", "create it")
	wantCalls(t, e)
	suite.Update(e, slice, func(s *discovery) { s.Endpoints = []discoveryEndpoint{endpoint("10.244.1.6", true, false)} })
	same(t, was, e.SvcAPIServes(gw, "SCTP/6060 amf [10.244.1.6:9090]"))
	wantCalls(t, e, "PATCH pool")
	if len(gw.Status.Addresses) != 1 || gw.Status.Addresses[0].Value != address {
		t.Errorf("the addresses are %v", gw.Status.Addresses)
	}
	e.Sim.ResetRequests()
	e.StopOperator() // nor does a restart without the class
	e.StartOperator()
	suite.Update(e, slice, func(s *discovery) { s.Endpoints = []discoveryEndpoint{endpoint("10.244.1.7", true, false)} })
	same(t, was, e.SvcAPIServes(gw, "SCTP/6060 amf [10.244.1.7:9090]"))
	wantCalls(t, e, "PATCH pool")
	e.Sim.ResetRequests()
	c = e.SvcAPIClass(nil)
	e.Own(c)
	e.SvcAPICondition(gw, "Scheduled", yes, "Scheduled")
	e.SvcAPIReady(gw)
	held(e, c, true)
	wantCalls(t, e)
	// A Gateway whose class is gone can still be deleted.
	e.Force(c)
	e.SvcAPICondition(gw, "Scheduled", no, "NoSuchGatewayClass")
	e.Delete(gw)
	e.SvcAPIGone(gw)
	if owned := e.Owned(); len(owned) > 0 {
		t.Errorf("left: %v", owned)
	}
}

// TestClassOfAnotherController is none of our business, before and after.
func TestClassOfAnotherController(t *testing.T) {
	t.Parallel()
	e := suite.New(t, suite.ReleaseHeld())
	port := suite.Port("SCTP", 6060)
	c := e.SvcAPIClass(nil)
	c.Spec.Controller = foreignController
	e.Own(c)
	gw := gatewayOn(e, "n2", port)
	e.SvcAPIAttach(gw, "amf", "10.244.1.5", port)
	asItWas := func() bool {
		if err := e.Client.Get(t.Context(), client.ObjectKeyFromObject(gw), gw); err != nil {
			t.Fatal(err)
		}
		if err := e.Client.Get(t.Context(), client.ObjectKeyFromObject(c), c); err != nil {
			t.Fatal(err)
		}
		return len(gw.Finalizers) == 0 && len(gw.Status.Conditions) == 1 && len(c.Finalizers) == 0 &&
			!apimeta.IsStatusConditionTrue(c.Status.Conditions, "Admitted") && len(e.Writes()) == 0
	}
	e.LookAgain("svcapigateway", gw)
	e.LookAgain("svcapigatewayclass", c)
	if !asItWas() {
		t.Fatal("another controller's Gateway was touched")
	}
	// It becomes ours.
	suite.Update(e, c, func(c *class) { c.Spec.Controller = "ako.vmware.com/avi-lb" })
	e.SvcAPIReady(gw)
	e.SvcAPIClassCondition(c, "Admitted", yes, "Admitted")
	held(e, c, true)
	// And another one's again: the objects go, and what we wrote.
	suite.Update(e, c, func(c *class) { c.Spec.Controller = foreignController })
	released(e, gw)
	if owned := e.Owned(); len(owned) > 0 {
		t.Errorf("left: %v", owned)
	}
	e.Told(gw, "DeletedLoadBalancer", "")
	e.Delete(gw)
	gone(e, gw)
}

// TestGatewayChangesItsClass to another controller's, and back.
func TestGatewayChangesItsClass(t *testing.T) {
	t.Parallel()
	e := suite.New(t, suite.ReleaseHeld())
	port := suite.Port("SCTP", 6060)
	ours, theirs := e.SvcAPIClass(nil), e.SvcAPIClass(nil)
	theirs.Name, theirs.Spec.Controller = e.Cluster+"-theirs", foreignController
	e.Own(ours, theirs)
	gw, stays := gatewayOn(e, "n2", port), gatewayOn(e, "stays", port)
	e.SvcAPIAttach(gw, "amf", "10.244.1.5", port)
	e.SvcAPIAttach(stays, "smf", "10.244.1.6", port)
	e.SvcAPIReady(gw)
	e.SvcAPIReady(stays)
	neighbour := e.SvcAPIServes(stays, "SCTP/6060 smf [10.244.1.6:9090]")
	e.Sim.ResetRequests()
	suite.Update(e, gw, func(gw *gateway) { gw.Spec.GatewayClassName = theirs.Name })
	released(e, gw)
	held(e, ours, true) // stays uses it
	held(e, theirs, false)
	suite.Update(e, gw, func(gw *gateway) { gw.Spec.GatewayClassName = ours.Name })
	e.SvcAPIReady(gw)
	tree := e.SvcAPIServes(gw, "SCTP/6060 amf [10.244.1.5:9090]")
	// A class that isn't there says nothing: what serves, serves.
	e.Eventually("rest", func() error { return e.Operator.Mirror.Err() })
	calls := len(e.Writes())
	suite.Update(e, gw, func(gw *gateway) { gw.Spec.GatewayClassName = e.Cluster + "-nowhere" })
	e.SvcAPICondition(gw, "Scheduled", no, "NoSuchGatewayClass")
	same(t, tree, e.SvcAPIServes(gw, "SCTP/6060 amf [10.244.1.5:9090]"))
	if now := len(e.Writes()); now != calls {
		t.Errorf("it cost writes: %v", e.Written()[calls:])
	}
	if w := e.Written(neighbour); len(w) > 0 {
		t.Errorf("the neighbour was written: %v", w)
	}
}

// TestClassTurnsForeignUnderManyGateways: somebody else's word doesn't drain a site. The guard holds all of them until the
// class is ours again.
func TestClassTurnsForeignUnderManyGateways(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	port := suite.Port("SCTP", 6060)
	c := e.SvcAPIClass(nil)
	e.Own(c)
	const many = 9
	gateways := make([]*gateway, many)
	for i := range gateways {
		gateways[i] = gatewayOn(e, fmt.Sprintf("g%d", i), port)
	}
	for _, gw := range gateways {
		e.SvcAPICondition(gw, "Scheduled", yes, "Scheduled")
		e.SvcAPIServes(gw, "SCTP/6060 open")
	}
	suite.Update(e, c, func(c *class) { c.Spec.Controller = foreignController })
	e.Eventually("the guard to hold some", func() error {
		kept := 0
		for _, gw := range gateways {
			if err := e.Client.Get(t.Context(), client.ObjectKeyFromObject(gw), gw); err != nil {
				return err
			}
			told, err := e.Events(gw)
			if err != nil {
				return err
			}
			if slices.Contains(gw.Finalizers, suite.Finalizer) && slices.ContainsFunc(told,
				func(s string) bool { return strings.HasPrefix(s, "DeletionHeld: ") }) {
				kept++
			}
		}
		if kept != many || e.Owned()["virtualservice"] != many {
			return fmt.Errorf("%d are kept, the Controller holds %v", kept, e.Owned())
		}
		return nil
	})
	suite.Update(e, c, func(c *class) { c.Spec.Controller = "ako.vmware.com/avi-lb" })
	for _, gw := range gateways {
		e.SvcAPIServes(gw, "SCTP/6060 open")
		e.SvcAPICondition(gw, "Scheduled", yes, "Scheduled")
	}
	// Their owners' own word counts at once.
	for _, gw := range gateways {
		e.Delete(gw)
	}
	for _, gw := range gateways {
		e.SvcAPIGone(gw)
	}
}

// classSettles waits until Events about a class are emitted at once: the operator of any test that runs may be the one to write it, and may
// end before it emits an Event that waits for a new object to settle.
func classSettles(class client.Object) {
	time.Sleep(time.Until(class.GetCreationTimestamp().Add(6 * time.Second)))
}

// TestClassParameters that can't be used are refused in the class' status. A Gateway that serves keeps its place, a new one
// waits, and both go on when it is fixed.
func TestClassParameters(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		ref    func(e *suite.Env) *svcapi.ParametersReference
		says   string
		reason string // of the Gateway that waits
	}{
		"to nothing": {func(e *suite.Env) *svcapi.ParametersReference {
			return &svcapi.ParametersReference{Group: "ako.vmware.com", Kind: "AviInfraSetting", Name: e.Cluster + "-nowhere"}
		}, "there is no AviInfraSetting", "InfraSettingMissing"},
		"wrong kind": {func(e *suite.Env) *svcapi.ParametersReference {
			return &svcapi.ParametersReference{Group: "ako.vmware.com", Kind: "L4Rule", Name: e.Cluster}
		}, "only an AviInfraSetting", "InvalidParameters"},
		"wrong group": {func(e *suite.Env) *svcapi.ParametersReference {
			return &svcapi.ParametersReference{Group: "example.com", Kind: "AviInfraSetting", Name: e.Cluster}
		}, "only an AviInfraSetting", "InvalidParameters"},
		"in a namespace": {func(e *suite.Env) *svcapi.ParametersReference {
			return &svcapi.ParametersReference{Group: "ako.vmware.com", Kind: "AviInfraSetting", Name: e.Cluster, Scope: new("Namespace"),
				Namespace: new("default")}
		}, "cluster-scoped", "InvalidParameters"},
		"to a rejected one": {func(e *suite.Env) *svcapi.ParametersReference {
			s := e.Setting("bad", v1beta1.AviInfraSettingSpec{SEGroup: &v1beta1.AviInfraSettingSEGroup{Name: "no-such-group"}})
			e.Own(s)
			return &svcapi.ParametersReference{Group: "ako.vmware.com", Kind: "AviInfraSetting", Name: s.Name}
		}, "no-such-group", "InfraSettingRejected"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := suite.New(t)
			port := suite.Port("SCTP", 6060)
			class1 := e.SvcAPIClass(nil)
			e.Own(class1)
			live := gatewayOn(e, "live", port)
			_, slice := e.SvcAPIAttach(live, "amf", "10.244.1.5", port)
			e.SvcAPIReady(live)
			was := e.SvcAPIServes(live, "SCTP/6060 amf [10.244.1.5:9090]")
			e.Sim.ResetRequests()
			classSettles(class1)
			ref := c.ref(e)
			suite.Update(e, class1, func(class1 *class) { class1.Spec.ParametersRef = ref })
			if m := e.SvcAPIClassCondition(class1, "Admitted", no, "InvalidParameters"); !strings.Contains(m, c.says) {
				t.Errorf("the class says %s", m)
			}
			e.Told(class1, "InvalidParameters", c.says)
			waits := gatewayOn(e, "waits", port)
			e.SvcAPIAttach(waits, "smf", "10.244.1.6", port)
			if m := e.SvcAPICondition(waits, "ako.vmware.com/Accepted", no, c.reason); !strings.Contains(m, c.says) {
				t.Errorf("the Gateway says %s", m)
			}
			e.SvcAPICondition(waits, "Scheduled", yes, "Scheduled")
			e.SvcAPICondition(waits, "Ready", no, "")
			if e.Object("vsvip", e.SvcAPIName(waits)) != nil {
				t.Error("it didn't wait")
			}
			if m := e.SvcAPICondition(live, "ako.vmware.com/Accepted", yes, c.reason); !strings.Contains(m, "keeps what it has") {
				t.Errorf("the live Gateway says %s", m)
			}
			wantCalls(t, e)
			suite.Update(e, slice, func(s *discovery) { s.Endpoints = []discoveryEndpoint{endpoint("10.244.1.7", true, false)} })
			same(t, was, e.SvcAPIServes(live, "SCTP/6060 amf [10.244.1.7:9090]"))

			suite.Update(e, class1, func(class1 *class) { class1.Spec.ParametersRef = nil })
			e.SvcAPIClassCondition(class1, "Admitted", yes, "Admitted")
			e.SvcAPIReady(waits)
			e.SvcAPIServes(waits, "SCTP/6060 smf [10.244.1.6:9090]")
			e.SvcAPICondition(live, "ako.vmware.com/Accepted", yes, "Accepted")
			same(t, was, e.SvcAPIServes(live, "SCTP/6060 amf [10.244.1.7:9090]"))
		})
	}
}

// TestGatewayOfAnUnservedNamespace is left alone, also by an operator that knows its class: several may share a cluster.
func TestGatewayOfAnUnservedNamespace(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: e.Namespace + "-unserved"}}
	e.Own(e.SvcAPIClass(nil))
	of := e.SvcAPIGateway("n2", e.SvcAPIListener("n2", "SCTP", 6060))
	of.Namespace, of.Finalizers = ns.Name, []string{"gateway.ako.vmware.com"}
	lost := e.SvcAPIGateway("lost", e.SvcAPIListener("lost", "SCTP", 6060))
	lost.Namespace, lost.Spec.GatewayClassName = ns.Name, e.Cluster+"-nowhere"
	e.Create(ns, of, lost)
	seen := gatewayOn(e, "seen", suite.Port("SCTP", 6060))
	e.SvcAPICondition(seen, "Scheduled", yes, "Scheduled") // what came before has been seen, too
	e.LookAgain("svcapigateway", of, lost)
	for _, gw := range []*gateway{of, lost} {
		finalizers := gw.Finalizers
		if err := e.Client.Get(t.Context(), client.ObjectKeyFromObject(gw), gw); err != nil {
			t.Fatal(err)
		}
		told, err := e.Events(gw)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(finalizers, gw.Finalizers) || len(gw.Annotations) > 0 || len(gw.Status.Conditions) != 1 || len(told) > 0 {
			t.Errorf("a Gateway of a namespace that isn't served was touched: %s has finalizers %v, had %v, annotations %v, conditions %+v, Events %q",
				gw.Name, gw.Finalizers, finalizers, gw.Annotations, gw.Status.Conditions, told)
		}
	}
}
