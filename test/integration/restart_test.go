// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1alpha2"
	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1beta1"
	svcapi "github.com/avi-l4-operator/avi-l4-operator/api/networking/v1alpha1"
	"github.com/avi-l4-operator/avi-l4-operator/controllers"
	"github.com/avi-l4-operator/avi-l4-operator/internal/staticroutes"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim"
	"github.com/avi-l4-operator/avi-l4-operator/test/suite"
)

func objects[T client.Object](list ...T) (out []client.Object) {
	for _, o := range list {
		out = append(out, o)
	}
	return out
}

// restart starts the operator again, which must write nothing while it looks at all that is given, twice: as it finds it, and after
// the Controller has been read. Before that, all is written that there is to write.
func restart(t *testing.T, e *suite.Env, kinds ...looked) {
	t.Helper()
	loaded := e.Operator.Mirror.LoadedAt()
	at(e, e.Touch(), kinds)
	e.Eventually("the Controller is read again", func() error {
		if e.Operator.Mirror.LoadedAt().Equal(loaded) {
			return errors.New("not yet")
		}
		return nil
	})
	at(e, e.Touch(), kinds)
	classInUse(e)
	e.StopOperator()
	e.ResetKubeWrites()
	e.Sim.ResetRequests()
	since := e.Mark()
	e.StartOperator()
	e.Eventually("readiness", func() error { return e.Operator.Ready(nil) })
	at(e, since, kinds)
	at(e, e.Touch(), kinds)
	nothing(t, e, "after a restart")
}

// classInUse waits until the test's class of the Services API, if Gateways use it, says so: one of several operators writes that.
func classInUse(e *suite.Env) {
	e.T.Helper()
	class, used := e.SvcAPIClass(nil), new(svcapi.GatewayList)
	if err := e.Client.List(e.T.Context(), used, client.InNamespace(e.Namespace)); err != nil {
		e.T.Fatal(err)
	}
	of := func(gw svcapi.Gateway) bool { return gw.Spec.GatewayClassName == class.Name }
	if e.Read(class) != nil || !slices.ContainsFunc(used.Items, of) {
		return
	}
	e.Eventually("the class's finalizer", func() error {
		if err := e.Read(class); err != nil || len(class.Finalizers) == 0 {
			return fmt.Errorf("finalizers %v, %w", class.Finalizers, err)
		}
		return nil
	})
}

// at waits until everything has been looked at.
func at(e *suite.Env, since suite.Mark, kinds []looked) {
	e.T.Helper()
	for _, k := range kinds {
		e.LookedAt(since, k.controller, k.objects...)
	}
}

// nothing fails for each write, to the Controller and to the API server.
func nothing(t *testing.T, e *suite.Env, when string) {
	t.Helper()
	for _, w := range e.KubeWrites() {
		t.Errorf("%s: %s", when, w)
	}
	for _, w := range e.Sim.Writes() { // the record of the cluster's name too
		t.Errorf("%s: %s %s %s", when, w.Method, w.Path, w.Body)
	}
}

// TestRestartWritesNothing, and reads the Controller in bulk.
func TestRestartWritesNothing(t *testing.T) {
	t.Parallel()
	const n = 500
	// The inventory of 500 virtual services is not to be read five times a second.
	e := suite.New(t, suite.WithOptions(func(o *controllers.Options) { o.Health = 5 * time.Second }))
	services := looked{controller: "service"}
	for i := range n {
		svc := e.Service(fmt.Sprintf("s%03d", i), suite.Port("SCTP", 38412))
		e.Create(e.Slice(svc, "10.244.1.5", "10.244.2.6"), svc)
		services.objects = append(services.objects, svc)
	}
	for _, o := range services.objects {
		svc, _ := o.(*corev1.Service)
		e.Programmed(svc)
		e.Condition(svc, "Healthy", metav1.ConditionTrue, "Up") // the last thing that is written of a new Service
	}
	restart(t, e, services)
	reads := 0
	for _, r := range e.Sim.Requests() {
		if r.Method == "GET" && !strings.Contains(r.Path, "inventory") {
			reads++
		}
		if strings.Contains(r.Path, "/virtualservice/") || strings.Contains(r.Path, "/pool/") {
			t.Errorf("a read of a single object: %s", r.Path)
		}
	}
	if reads > 80 { // for two loads
		t.Errorf("%d reads for %d Services, want a few bulk lists", reads, n)
	}
}

// looked is what one controller has to look at.
type looked struct {
	controller string
	objects    []client.Object
}

// TestLookingAgainWritesNothing: neither a restart nor another look at everything costs a write, to the Controller or to the API
// server, for objects of every kind and in every state, with all that an AKO site uses: static routes, shared VIPs, L4Rules, source
// ranges, session affinity, drain timeouts.
func TestLookingAgainWritesNothing(t *testing.T) {
	// Alone: the operators of other tests would judge the AviInfraSettings and the Nodes too.
	e := suite.New(t, suite.WithConfig("disableStaticRouteSync", "false"))
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-1", Annotations: map[string]string{staticroutes.AnnotationPodCIDRs: "10.244.1.0/24"}}}
	e.Create(n)
	t.Cleanup(func() { suite.Forget(e, n) })
	status(e, n, "10.20.0.1", corev1.ConditionTrue)
	kinds := append(everyKind(t, e), allFields(e)...)
	e.Eventually("the static route", func() error {
		if routes, _ := e.Object("vrfcontext", "global")["static_routes"].([]any); len(routes) != 1 {
			return fmt.Errorf("there are %v", routes)
		}
		return nil
	})
	restart(t, e, kinds...)
	e.Operator.Mirror.Expire() // as a new leader does
	e.Eventually("the load", func() error { return e.Operator.Mirror.Err() })
	at(e, e.Touch(), kinds)
	nothing(t, e, "at a look after the Controller was read anew")
}

// TestRestartWithARefusedPort: the status lists every port then, one with an error.
func TestRestartWithARefusedPort(t *testing.T) {
	t.Parallel()
	e := suite.New(t, suite.WithSim(avisim.Options{LicenseTier: "BASIC"}))
	both := e.Service("both", suite.Port("SCTP", 38412), suite.Port("TCP", 80))
	e.Create(both, e.Slice(both, "10.244.1.5"))
	e.Condition(both, "Accepted", yes, "LicenseTier")
	e.Condition(both, "Healthy", yes, "Up")
	if ports := both.Status.LoadBalancer.Ingress[0].Ports; len(ports) != 2 || ports[0].Error == nil {
		t.Errorf("the ports are %+v", ports)
	}
	restart(t, e, looked{"service", objects(both)})
}

// TestLookingAgainAtAKOsSettings: AKO's CRD drops conditions, and they are not written again and again for that. When ours takes its
// place they come.
func TestLookingAgainAtAKOsSettings(t *testing.T) {
	// Alone: the type is the whole API server's.
	e := suite.New(t)
	crd := &apiextensionsv1.CustomResourceDefinition{ObjectMeta: metav1.ObjectMeta{Name: "aviinfrasettings.ako.vmware.com"}}
	defer e.RestoreCRDs()
	suite.Update(e, crd, func(c *apiextensionsv1.CustomResourceDefinition) {
		for _, v := range c.Spec.Versions {
			delete(v.Schema.OpenAPIV3Schema.Properties["status"].Properties, "conditions")
		}
	})
	setting := e.Setting("plain", v1beta1.AviInfraSettingSpec{})
	t.Cleanup(func() { suite.Forget(e, setting) })
	e.Create(setting)
	e.Eventually("AKO's verdict", func() error {
		if err := e.Read(setting); err != nil {
			return err
		}
		if setting.Status.Status != "Accepted" || len(setting.Status.Conditions) > 0 {
			return fmt.Errorf("the status is %+v", setting.Status)
		}
		return nil
	})
	e.LookAgain("aviinfrasetting", setting)
	e.StopOperator()
	e.ResetKubeWrites()
	e.StartOperator()
	e.Eventually("readiness", func() error { return e.Operator.Ready(nil) })
	e.LookAgain("aviinfrasetting", setting)
	e.LookAgain("aviinfrasetting", setting)
	for _, w := range e.KubeWrites() {
		t.Errorf("%s", w)
	}
	e.RestoreCRDs()
	e.Eventually("the conditions", func() error {
		e.LookAgain("aviinfrasetting", setting)
		if err := e.Read(setting); err != nil {
			return err
		}
		if c := apimeta.FindStatusCondition(setting.Status.Conditions, "Accepted"); c == nil {
			return fmt.Errorf("the status is %+v", setting.Status)
		}
		return nil
	})
}

// everyKind creates objects of every kind, served and not, and waits until all is written about them.
func everyKind(t *testing.T, e *suite.Env) []looked {
	sctp, tcp := suite.Port("SCTP", 38412), suite.Port("TCP", 80)
	setting := e.Setting("plain", v1beta1.AviInfraSettingSpec{})
	refused := e.Setting("refused", v1beta1.AviInfraSettingSpec{SEGroup: &v1beta1.AviInfraSettingSEGroup{Name: "there-is-none"}})
	t.Cleanup(func() { suite.Forget(e, setting); suite.Forget(e, refused) })
	e.Create(setting, refused)

	served := e.Service("served", sctp, tcp)
	placed := e.Service("placed", sctp)
	placed.Annotations = map[string]string{translate.AnnotationInfraSetting: setting.Name}
	waits := e.Service("waits", sctp)
	waits.Annotations = map[string]string{translate.AnnotationInfraSetting: refused.Name}
	wrong := e.Service("wrong", sctp)
	wrong.Spec.LoadBalancerIP = "not-an-address"
	foreign := e.Service("foreign", sctp)
	foreign.Spec.LoadBalancerClass = new("other.example.com/lb")
	services := []*corev1.Service{served, placed, waits, wrong, foreign}
	for _, svc := range services {
		e.Create(svc, e.Slice(svc, "10.244.1.5"))
	}

	sharing := []*corev1.Service{e.SharedVIP("shares", "vip", sctp), e.SharedVIP("shares-too", "vip", tcp),
		e.SharedVIP("shares-what-is-taken", "vip", tcp)}
	for _, svc := range sharing {
		e.Create(svc, e.Slice(svc, "10.244.1.5"))
	}

	oldClass := e.SvcAPIClass(setting)
	e.Own(oldClass)
	old, oldEmpty := gatewayOn(e, "old", sctp), gatewayOn(e, "old-empty", suite.Port("QUIC", 1))
	e.SvcAPIAttach(old, "old-amf", "10.244.1.6", sctp)

	class := routedClass(e)
	gw := e.Gateway("new", suite.Listener("sctp", "SCTP", 38412), suite.Listener("tcp", "TCP", 80), suite.Listener("odd", "HTTP", 81))
	gw.Spec.AllowedListeners = &gatewayv1.AllowedListeners{Namespaces: &gatewayv1.ListenerNamespaces{From: new(gatewayv1.NamespacesFromSame)}}
	gwEmpty := e.Gateway("new-empty", suite.Listener("udp", "UDP", 53))
	set := e.ListenerSet("more", gw.Name, gatewayv1.ListenerEntry{Name: "udp", Protocol: "UDP", Port: 53})
	backend(e, "amf", "10.244.1.7", sctp, tcp, suite.Port("UDP", 53))
	routes := map[string]client.Object{
		"SCTPRoute": e.SCTPRoute("amf", gw.Name, "sctp", suite.To("amf", 38412, 1)),
		"TCPRoute":  e.TCPRoute("web", gw.Name, "tcp", suite.To("nothing", 80, 1)),
		"UDPRoute":  e.UDPRoute("dns", "nowhere", "", suite.To("amf", 53, 1)),
	}
	e.Create(gw, gwEmpty, set)
	for _, r := range routes {
		e.Create(r)
	}

	for _, svc := range []*corev1.Service{served, placed} {
		e.Condition(svc, "Healthy", metav1.ConditionTrue, "Up")
	}
	for _, svc := range sharing[:2] {
		e.Condition(svc, "Healthy", metav1.ConditionTrue, "Up")
	}
	e.Condition(sharing[2], "Accepted", metav1.ConditionFalse, "ServiceConflict")
	e.Condition(waits, "Accepted", metav1.ConditionFalse, "InfraSettingRejected")
	e.Condition(wrong, "Accepted", metav1.ConditionFalse, "InvalidAddress")
	e.SvcAPICondition(old, "ako.vmware.com/Healthy", yes, "Up")
	e.SvcAPICondition(oldEmpty, "Ready", no, "ListenersNotValid")
	e.GatewayCondition(gw, "ako.vmware.com/Healthy", yes, "Up")
	e.GatewayCondition(gwEmpty, "ako.vmware.com/Healthy", no, "")
	e.SetCondition(set, "Programmed", yes, "Programmed")
	e.RouteCondition(routes["SCTPRoute"], "ResolvedRefs", yes, "ResolvedRefs")
	e.RouteCondition(routes["TCPRoute"], "ResolvedRefs", no, "BackendNotFound")
	e.SvcAPIClassCondition(oldClass, "Admitted", yes, "Admitted")
	e.ClassCondition(class, "Accepted", yes, "Accepted")
	e.Eventually("who uses the setting", func() error {
		if m := e.SettingCondition(setting, "InUse", yes, "Used"); m == "" || len(m) < 20 {
			return fmt.Errorf("it says %q", m)
		}
		return nil
	})
	e.SettingCondition(refused, "Accepted", no, "Rejected")
	return []looked{
		{"sharedvip", []client.Object{groupOf(e, "vip")}},
		{"service", objects(services...)}, {"svcapigateway", objects(old, oldEmpty)}, {"svcapigatewayclass", objects(oldClass)},
		{"gateway", objects(gw, gwEmpty)}, {"gatewayclass", objects(class)}, {"aviinfrasetting", objects(setting, refused)},
		{"SCTPRoute", objects(routes["SCTPRoute"])}, {"TCPRoute", objects(routes["TCPRoute"])}, {"UDPRoute", objects(routes["UDPRoute"])},
	}
}

// allFields creates Services with every field and annotation beside ports, alone and in a shared VIP, and with rules, and waits until all
// is written about them.
func allFields(e *suite.Env) []looked {
	rule := e.Rule("rule", v1alpha2.L4RuleSpec{AnalyticsProfileRef: "System-Analytics-Profile", NetworkProfileRef: "System-SCTP-Proxy",
		BackendProperties: []v1alpha2.BackendProperties{
			{Port: 3868, Protocol: "SCTP", HealthMonitorRefs: []string{"System-Ping"}, MinServersUp: new(int32(1))},
		}})
	missing := e.Rule("missing", v1alpha2.L4RuleSpec{NetworkProfileRef: "there-is-none"})
	e.Create(rule, missing)
	services := []*corev1.Service{guardedAndSticky(e, "all"), guardedAndSticky(e, "all-shared"), guardedAndSticky(e, "all-shared-too"),
		e.Service("all-unruled", suite.Port("SCTP", 3868))}
	for _, svc := range services[:3] {
		annotate(translate.AnnotationRule, rule.Name)(svc)
		annotate(translate.AnnotationDrainTimeout, "30")(svc)
		annotate(translate.AnnotationIPMode, "Proxy")(svc)
	}
	for _, svc := range services[1:3] {
		annotate(translate.AnnotationSharedVIP, "all-of-them")(svc)
	}
	services[2].Spec.Ports = []corev1.ServicePort{suite.Port("TCP", 3868), suite.Port("UDP", 3868)}
	annotate(translate.AnnotationRule, missing.Name)(services[3])
	for _, svc := range services {
		e.Create(svc, e.Slice(svc, "10.244.1.9"))
	}
	for _, svc := range services[:3] {
		e.Condition(svc, "Accepted", yes, "Accepted")
		e.Condition(svc, "Healthy", yes, "Up")
	}
	e.Condition(services[3], "Accepted", no, "L4RuleRejected")
	e.RuleCondition(rule, "Accepted", yes, "Accepted")
	e.RuleCondition(rule, "InUse", yes, "Used")
	e.RuleCondition(missing, "Accepted", no, "Rejected")
	e.RuleCondition(missing, "InUse", yes, "Used")
	return []looked{{"service", objects(services[0], services[3])}, {"sharedvip", []client.Object{groupOf(e, "all-of-them")}},
		{"l4rule", objects(rule, missing)}}
}

// TestAChangeCostsOneStatusWrite, and one that the status doesn't speak of costs none. Health is not read meanwhile: it is a change
// of its own.
func TestAChangeCostsOneStatusWrite(t *testing.T) {
	t.Parallel()
	e := suite.New(t, suite.WithOptions(func(o *controllers.Options) { o.Health = time.Hour }))
	e.Own(e.SvcAPIClass(nil))
	routedClass(e)
	sctp, tcp := suite.Port("SCTP", 38412), suite.Port("TCP", 80)
	svc, old := e.Service("amf", sctp), e.SvcAPIGateway("old", e.SvcAPIListener("old", "SCTP", 38412))
	gw := e.Gateway("new", suite.Listener("sctp", "SCTP", 38412))
	slice := e.Slice(svc, "10.244.1.5")
	e.Create(slice)
	e.SvcAPIAttach(old, "old-amf", "10.244.1.6", sctp)
	writes := func(what, about string, since suite.Mark, controller string, o client.Object, want ...string) {
		t.Helper()
		e.LookedAt(since, controller, o)
		since = e.Mark()
		suite.Update(e, o, func(o client.Object) {
			a := o.GetAnnotations() // there is one: it is claimed
			a["try"] = fmt.Sprint(since)
			o.SetAnnotations(a)
		})
		e.LookedAt(since, controller, o) // what else there is to write is written by now
		var got []string
		for _, w := range e.KubeWrites() {
			if strings.Contains(w.Path, about) {
				got = append(got, w.Method+strings.TrimPrefix(w.Path[strings.Index(w.Path, about):], about))
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s costs %q, want %q: %v", what, got, want, e.KubeWrites())
		}
		e.ResetKubeWrites()
	}
	e.Eventually("readiness, and the only look at the health", func() error {
		n := 0
		for _, r := range e.Sim.Requests() {
			if strings.HasSuffix(r.Path, "-inventory") {
				n++
			}
		}
		if n < 2 {
			return fmt.Errorf("%d inventories were read", n)
		}
		return e.Operator.Ready(nil)
	})
	e.ResetKubeWrites()

	at := "/services/amf"
	since := e.Mark()
	e.Create(svc)
	e.Programmed(svc)
	writes("a new Service", at, since, "service", svc, "PATCH", "PATCH/status")
	since = e.Mark()
	suite.Update(e, svc, func(s *corev1.Service) { s.Spec.Ports = append(s.Spec.Ports, tcp) })
	writes("a new port", at, since, "service", svc, "PATCH/status")
	since = e.Mark()
	suite.Update(e, slice, func(s *discovery) { s.Endpoints = append(s.Endpoints, endpoint("10.244.2.6", true, false)) })
	writes("an endpoint", at, since, "service", svc)
	since = e.Mark()
	suite.Update(e, svc, func(s *corev1.Service) { s.Spec.LoadBalancerIP = "not-an-address" })
	writes("a mistake", at, since, "service", svc, "PATCH/status")

	at = "/gateways/old"
	since = e.Mark()
	e.Create(old)
	e.SvcAPIReady(old)
	writes("a new Gateway of the Services API", at, since, "svcapigateway", old, "PATCH", "PATCH/status")
	since = e.Mark()
	suite.Update(e, old, func(gw *gateway) { gw.Spec.Listeners = append(gw.Spec.Listeners, e.SvcAPIListener("old", "TCP", 80)) })
	writes("a new listener of the Services API", at, since, "svcapigateway", old, "PATCH/status")

	at = "/gateways/new"
	since = e.Mark()
	e.Create(gw)
	e.GatewayReady(gw)
	writes("a new Gateway", at, since, "gateway", gw, "PATCH", "PATCH/status")
	since = e.Mark()
	suite.Update(e, gw, func(gw *routedGateway) {
		gw.Spec.Listeners = append(gw.Spec.Listeners, suite.Listener("tcp", "TCP", 80))
	})
	writes("a new listener", at, since, "gateway", gw, "PATCH/status")
}
