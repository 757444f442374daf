// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1alpha2"
	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1beta1"
	svcapi "github.com/avi-l4-operator/avi-l4-operator/api/networking/v1alpha1"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
	"github.com/avi-l4-operator/avi-l4-operator/test/suite"
)

// TestPreview: a change-over is shown before it happens, and nothing is written.
func TestPreview(t *testing.T) {
	e := suite.New(t, suite.WithConfig("istioEnabled", "true"), suite.WithConfig("clustername", "slip"))
	e.StopOperator()
	ako, ns := suite.AKO{Env: e}, e.Namespace
	same := served(e, "same", nil, suite.Port("SCTP", 38412))
	ako.Service(ns, "same", suite.AKOService{Hosts: autoHost(same)}, akoPort("SCTP", 38412))
	preview := func(want bool, lines ...string) {
		t.Helper()
		e.Sim.ResetRequests()
		e.ResetKubeWrites()
		text, changes := e.Preview()
		if changes != want {
			t.Errorf("changes: %v, want %v", changes, want)
		}
		for _, l := range lines {
			if !strings.Contains(text, l) {
				t.Errorf("%q is not in\n%s", l, text)
			}
		}
		nothing(t, e, "a preview")
	}
	preview(false, "1 looked at: 1 without a change, 0 to change, 0 to remove", "Writes to the Controller: none.",
		"mean nothing to this operator (1):\n  istioEnabled\n", "check their spelling (1):\n  clustername\n")

	moved := e.Service("moved", suite.Port("SCTP", 38412))
	e.Create(moved, e.Slice(moved, "10.244.1.6"))
	ako.Service(ns, "moved", suite.AKOService{Hosts: autoHost(moved)}, akoPort("SCTP", 38412))
	ruled := served(e, "ruled", map[string]string{"ako.vmware.com/l4rule": "rule"}, suite.Port("SCTP", 38412))
	ako.Service(ns, "ruled", suite.AKOService{Hosts: autoHost(ruled), NetworkProfile: "System-TCP-Proxy"}, akoPort("SCTP", 38412))
	foreign := e.Service("foreign", suite.Port("SCTP", 38412))
	foreign.Spec.LoadBalancerClass = new("example.com/other")
	e.Create(foreign)
	ako.Service(ns, "foreign", suite.AKOService{Hosts: autoHost(foreign)}, akoPort("SCTP", 38412))
	ako.SharedVIP(ns, "core", behindGateway("SCTP", 38412, ns, "one"))
	ako.Service(ns, "vanished", suite.AKOService{}, akoPort("SCTP", 38412))

	preview(true,
		"4 looked at: 2 without a change, 1 to change, 1 to remove, 0 that can't be planned.",
		"  delete Pool: 1\n", "  delete VirtualService: 1\n", "  update Pool: 1\n",
		"update Pool admin/"+e.PoolName(moved, moved.Spec.Ports[0]), "servers: 10.244.1.5:9090 on node-1 -> 10.244.1.6:9090 on node-1",
		"why: loadBalancerClass is example.com/other",
		fmt.Sprintf("Service %s/ruled: L4RuleMissing", ns),
		fmt.Sprintf("admin/%s--%s-core: SharedVIP %s/core doesn't exist", e.Cluster, ns, ns),
		fmt.Sprintf("admin/%s--%s-vanished: Service %s/vanished doesn't exist", e.Cluster, ns, ns),
	)
	for _, svc := range []*corev1.Service{same, moved, ruled, foreign} {
		if err := e.Read(svc); err != nil || len(svc.Finalizers) > 0 || len(svc.Status.Conditions) > 0 {
			t.Errorf("%s: finalizers %v, conditions %+v, %v", svc.Name, svc.Finalizers, svc.Status.Conditions, err)
		}
	}
}

// akoWritesStatus makes the patch with which AKO writes a Gateway's status: it gives an empty reason to each condition of a type
// that it doesn't know.
func akoWritesStatus(e *suite.Env, gw *gateway, address string) error {
	e.T.Helper()
	if err := e.Read(gw); err != nil {
		e.T.Fatal(err)
	}
	conditions := slices.Clone(gw.Status.Conditions)
	for i := range conditions {
		if c := &conditions[i]; !slices.Contains([]string{"Scheduled", "Pending", "Ready"}, c.Type) {
			c.Reason = ""
		}
	}
	raw, err := json.Marshal(map[string]any{"status": map[string]any{
		"addresses": []any{map[string]any{"type": "IPAddress", "value": address}}, "conditions": conditions,
	}})
	if err != nil {
		e.T.Fatal(err)
	}
	return e.Client.Status().Patch(e.T.Context(), gw.DeepCopy(), client.RawPatch(types.MergePatchType, raw))
}

// TestHandBack: the way back to AKO takes off what AKO stumbles over, leaves what is true, and says nothing to the Controller.
func TestHandBack(t *testing.T) {
	e := suite.New(t)
	class := e.SvcAPIClass(nil)
	e.Own(class)
	svc := served(e, "amf", map[string]string{translate.AnnotationDisableTraffic: "perhaps"}, suite.Port("SCTP", 38412))
	suite.Update(e, svc, func(s *corev1.Service) { s.Finalizers = append(s.Finalizers, "example.com/theirs") })
	gw := e.SvcAPIGateway("gw", e.SvcAPIListener("gw", "SCTP", 6060))
	e.Create(gw)
	e.SvcAPIAttach(gw, "smf", "10.244.1.5", suite.Port("SCTP", 6060))
	vip, address := e.Programmed(svc), e.SvcAPIReady(gw)
	e.Condition(svc, "Accepted", yes, "InvalidAnnotation")
	if svc.Annotations["l4.ako.vmware.com/problem"] == "" {
		t.Fatal("the Service has no problem to take back")
	}
	e.Eventually("the class's finalizer", func() error {
		if err := e.Read(class); err != nil || len(class.Finalizers) == 0 {
			return fmt.Errorf("finalizers %v, %w", class.Finalizers, err)
		}
		return nil
	})
	e.StopOperator()
	if err := akoWritesStatus(e, gw, address); err == nil {
		t.Error("AKO can write the status of a Gateway that is not handed back: the rehearsal shows nothing")
	}

	e.Sim.ResetRequests()
	if out := e.HandBack(); !strings.Contains(out, "Service: 1 handed back") || !strings.Contains(out, "Gateway: 1 handed back") {
		t.Errorf("it says %q", out)
	}
	if r := e.Sim.Requests(); len(r) > 0 {
		t.Errorf("the Controller was asked %d times", len(r))
	}
	for _, o := range []client.Object{svc, gw, class} {
		if err := e.Read(o); err != nil {
			t.Fatal(err)
		}
		for key := range o.GetAnnotations() {
			if strings.HasPrefix(key, "l4.ako.vmware.com/") {
				t.Errorf("%s has annotation %s", o.GetName(), key)
			}
		}
	}
	if !slices.Equal(svc.Finalizers, []string{"example.com/theirs"}) || len(gw.Finalizers)+len(class.Finalizers) > 0 {
		t.Errorf("finalizers: %v, %v, %v", svc.Finalizers, gw.Finalizers, class.Finalizers)
	}
	if len(svc.Status.Conditions) > 0 || len(svc.Status.LoadBalancer.Ingress) != 1 || svc.Status.LoadBalancer.Ingress[0].IP != vip {
		t.Errorf("the Service's status is %+v", svc.Status)
	}
	if svc.Annotations["ako.vmware.com/host-fqdn-vs-uuid-map"] == "" {
		t.Error("AKO's own annotation is gone")
	}
	if c := gw.Status.Conditions; len(c) != 1 || c[0].Type != "Scheduled" || c[0].Status != metav1.ConditionFalse || len(gw.Status.Listeners) > 0 ||
		!slices.EqualFunc(gw.Status.Addresses, []string{address}, func(a svcapi.GatewayAddress, want string) bool { return a.Value == want }) {
		t.Errorf("the Gateway's status is %+v", gw.Status)
	}
	if err := akoWritesStatus(e, gw, address); err != nil {
		t.Errorf("AKO can't write the status of a Gateway that was handed back: %v", err)
	}

	e.ResetKubeWrites()
	e.HandBack()
	for _, w := range e.KubeWrites() {
		t.Errorf("a second hand-back: %s", w)
	}
	// And here again: nothing to do on the Controller.
	e.Sim.ResetRequests()
	e.StartOperator()
	if again := e.Programmed(svc); again != vip {
		t.Errorf("the address went from %s to %s", vip, again)
	}
	if again := e.SvcAPIReady(gw); again != address {
		t.Errorf("the Gateway's address went from %s to %s", address, again)
	}
	for _, w := range e.Written() {
		t.Errorf("the return: %s", w)
	}
}

// TestHandBackOfClassesAndRoutes: what the operator says of objects that aren't its own, beside others, goes from them and nothing else.
func TestHandBackOfClassesAndRoutes(t *testing.T) {
	e := suite.New(t) // alone: classes are the whole cluster's
	theirs := metav1.Condition{
		Type: "example.com/Checked", Status: yes, Reason: "Checked", Message: "by somebody else", LastTransitionTime: metav1.Now(),
	}
	old, class, other := e.SvcAPIClass(nil), routedClass(e), e.Class()
	other.Name, other.Spec.ControllerName = other.Name+"-other", "example.com/other"
	e.Own(old, other)
	gw := e.Gateway("edge", suite.Listener("sctp", "ako.vmware.com/SCTP", 6060))
	oldGateway := e.SvcAPIGateway("gw", e.SvcAPIListener("gw", "SCTP", 6061))
	backend(e, "app", "10.244.1.5", suite.Port("SCTP", 80))
	route, rule := e.SCTPRoute("s", "edge", "", suite.To("app", 80, 1)), e.Rule("rule", v1alpha2.L4RuleSpec{})
	setting := e.Setting("setting", v1beta1.AviInfraSettingSpec{})
	e.Own(setting)
	e.Create(gw, oldGateway, route, rule)
	e.GatewayReady(gw)
	e.RouteCondition(route, "Accepted", yes, "Accepted")
	e.ClassCondition(class, "SupportedVersion", yes, "")
	e.RuleCondition(rule, "Accepted", yes, "Accepted")
	e.SettingCondition(setting, "Accepted", yes, "")
	e.Eventually("the old class's condition", func() error {
		err := e.Read(old)
		if err != nil || !apimeta.IsStatusConditionTrue(old.Status.Conditions, svcapi.GatewayClassConditionAdmitted) {
			return fmt.Errorf("%+v %w", old.Status, err)
		}
		return nil
	})
	e.StopOperator()
	e.Eventually("somebody else's words", func() error {
		for _, o := range []client.Object{class, old, route, other} {
			if err := e.Read(o); err != nil {
				return err
			}
		}
		route.Status.Parents = append(route.Status.Parents, gatewayv1.RouteParentStatus{
			ParentRef: route.Status.Parents[0].ParentRef, ControllerName: "example.com/other", Conditions: []metav1.Condition{theirs}})
		class.Status.Conditions, old.Status.Conditions = append(class.Status.Conditions, theirs), append(old.Status.Conditions, theirs)
		other.Status.Conditions = []metav1.Condition{theirs}
		for _, o := range []client.Object{class, old, route, other} {
			if err := e.Client.Status().Update(t.Context(), o); err != nil {
				return err
			}
		}
		return nil
	})
	e.HandBack()
	for _, o := range []client.Object{class, old, route, other, rule, setting} {
		if err := e.Read(o); err != nil {
			t.Fatal(err)
		}
	}
	if p := route.Status.Parents; len(p) != 1 || p[0].ControllerName != "example.com/other" {
		t.Errorf("the route's status is %+v", p)
	}
	handedBack := func(what, kind string, status metav1.ConditionStatus, have []metav1.Condition) {
		t.Helper()
		c := apimeta.FindStatusCondition(have, kind)
		if len(have) != 2 || c == nil || c.Status != status || !strings.Contains(c.Message, "handed back") ||
			!apimeta.IsStatusConditionTrue(have, theirs.Type) {
			t.Errorf("%s has the conditions %+v", what, have)
		}
	}
	handedBack("the class", "Accepted", metav1.ConditionUnknown, class.Status.Conditions)
	handedBack("the old class", svcapi.GatewayClassConditionAdmitted, metav1.ConditionFalse, old.Status.Conditions)
	if len(class.Status.SupportedFeatures)+len(class.Finalizers)+len(old.Finalizers) > 0 {
		t.Errorf("features %v, finalizers %v, %v", class.Status.SupportedFeatures, class.Finalizers, old.Finalizers)
	}
	if c := other.Status.Conditions; len(c) != 1 || c[0].Type != theirs.Type {
		t.Errorf("another controller's class has the conditions %+v", c)
	}
	if len(rule.Status.Conditions)+len(setting.Status.Conditions) > 0 ||
		rule.Status.Status != "Accepted" || setting.Status.Status != "Accepted" {
		t.Errorf("the rule's status is %+v, the setting's %+v", rule.Status, setting.Status)
	}
	e.ResetKubeWrites()
	e.HandBack()
	for _, w := range e.KubeWrites() {
		t.Errorf("a second hand-back: %s", w)
	}
}

// TestHandBackOfASharedVIP: also of Services that wait for their ports, are left out, or stay where they don't ask to be any more.
func TestHandBackOfASharedVIP(t *testing.T) {
	e := suite.New(t)
	amf, clash := member(e, "amf", "n2", "10.244.1.5", n2), member(e, "clash", "n2", "10.244.1.6", n2)
	out := e.SharedVIP("out", "n2", webPort)
	out.Spec.LoadBalancerSourceRanges = []string{"10.0.0.0/8"} // which amf doesn't ask for
	single := e.Service("single", n2)
	e.Create(out, single, e.Slice(single, "10.244.1.8"))
	vip := e.Programmed(amf)
	e.Condition(clash, "Accepted", no, "ServiceConflict")
	e.Condition(out, "Accepted", no, "SharedVIPMismatch")
	e.Programmed(single)
	suite.Update(e, single, annotate(translate.AnnotationSharedVIP, "n2"))
	e.Condition(single, "Accepted", yes, "NeedsReplacement")
	e.StopOperator()
	e.Sim.ResetRequests()
	e.HandBack()
	if r := e.Sim.Requests(); len(r) > 0 {
		t.Errorf("the Controller was asked %d times", len(r))
	}
	for _, svc := range []*corev1.Service{amf, clash, out, single} {
		if err := e.Read(svc); err != nil {
			t.Fatal(err)
		}
		for key := range svc.Annotations {
			if strings.HasPrefix(key, "l4.ako.vmware.com/") {
				t.Errorf("%s has annotation %s", svc.Name, key)
			}
		}
		if len(svc.Finalizers)+len(svc.Status.Conditions) > 0 {
			t.Errorf("%s has finalizers %v and conditions %+v", svc.Name, svc.Finalizers, svc.Status.Conditions)
		}
	}
	if i := amf.Status.LoadBalancer.Ingress; len(i) != 1 || i[0].IP != vip {
		t.Errorf("the address went: %+v", i)
	}
	e.StartOperator()
	if again := e.Programmed(amf); again != vip {
		t.Errorf("the address went from %s to %s", vip, again)
	}
	e.Condition(clash, "Accepted", no, "ServiceConflict")
	e.Condition(single, "Accepted", yes, "NeedsReplacement")
	for _, w := range e.Written() {
		t.Errorf("the return: %s", w)
	}
}

// TestHandBackLeavesAnotherInstance's classes and routes.
func TestHandBackLeavesAnotherInstance(t *testing.T) {
	e := suite.New(t)
	class := routedClass(e)
	gw := e.Gateway("edge", suite.Listener("sctp", "ako.vmware.com/SCTP", 6060))
	backend(e, "app", "10.244.1.5", suite.Port("SCTP", 80))
	route := e.SCTPRoute("s", "edge", "", suite.To("app", 80, 1))
	e.Create(gw, route)
	e.GatewayReady(gw)
	e.RouteCondition(route, "Accepted", yes, "Accepted")
	e.ClassCondition(class, "Accepted", yes, "Accepted")
	e.StopOperator()
	suite.Update(e, gw, func(g *gatewayv1.Gateway) { g.Annotations["l4.ako.vmware.com/served-by"] = "another" })
	e.ResetKubeWrites()
	e.HandBack()
	for _, w := range e.KubeWrites() {
		t.Errorf("%s", w)
	}
}
