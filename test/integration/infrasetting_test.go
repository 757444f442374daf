// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1beta1"
	svcapi "github.com/avi-l4-operator/avi-l4-operator/api/networking/v1alpha1"
	"github.com/avi-l4-operator/avi-l4-operator/controllers"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
	"github.com/avi-l4-operator/avi-l4-operator/test/suite"
)

// furnish gives the Controller an SE group and a VIP network besides the usual ones.
func furnish(e *suite.Env) {
	e.T.Helper()
	if _, err := e.Sim.Create("serviceenginegroup", "admin",
		map[string]any{"name": "telco-group", "cloud_ref": "/api/cloud?name=Default-Cloud"}); err != nil {
		e.T.Fatal(err)
	}
	if err := e.Sim.AddVIPNetwork("telco-vip", netip.MustParsePrefix("10.77.0.0/16"), netip.MustParseAddr("10.77.0.10"),
		netip.MustParseAddr("10.77.0.250")); err != nil {
		e.T.Fatal(err)
	}
}

// telco places everything on what furnish makes.
func telco() v1beta1.AviInfraSettingSpec {
	return v1beta1.AviInfraSettingSpec{
		SEGroup: &v1beta1.AviInfraSettingSEGroup{Name: "telco-group"},
		Network: &v1beta1.AviInfraSettingNetwork{
			VipNetworks: []v1beta1.VipNetwork{{NetworkName: "telco-vip", CIDR: "10.77.0.0/16"}},
			EnableRHI:   new(true), BGPPeerLabels: []string{"spine"},
		},
	}
}

// users are a Service by its annotation, a Service by its namespace, and a Gateway by its class.
type settingUsers struct {
	service *corev1.Service
	gateway *svcapi.Gateway
	backend *corev1.Service
	slices  map[string]client.Object
}

func useSetting(e *suite.Env, s *v1beta1.AviInfraSetting) settingUsers {
	e.T.Helper()
	u := settingUsers{service: e.Service("amf", suite.Port("SCTP", 38412)), slices: map[string]client.Object{}}
	u.service.Annotations = map[string]string{translate.AnnotationInfraSetting: s.Name}
	u.gateway = e.SvcAPIGateway("gw", e.SvcAPIListener("gw", "SCTP", 6060))
	u.backend = e.Backend("diameter", "gw", suite.Port("SCTP", 6060))
	class := e.SvcAPIClass(s)
	for _, svc := range []*corev1.Service{u.service, u.backend} {
		u.slices[svc.Name] = e.Slice(svc, "10.244.1.5")
		e.Create(svc, u.slices[svc.Name])
	}
	e.Create(class, u.gateway)
	e.T.Cleanup(func() { // cluster-scoped, and without its operator by now
		suite.Forget(e, class)
		suite.Forget(e, s)
	})
	return u
}

func (u settingUsers) ready(e *suite.Env) (service, gateway string) {
	return e.Programmed(u.service), e.SvcAPIReady(u.gateway)
}

// TestInfraSettingPlacesServicesAndGateways: every field takes effect on both kinds of owner.
func TestInfraSettingPlacesServicesAndGateways(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	furnish(e)
	s := e.Setting("telco", telco())
	e.Create(s)
	u := useSetting(e, s)
	one, two := u.ready(e)
	for _, a := range []string{one, two} {
		if !strings.HasPrefix(a, "10.77.0.") {
			t.Errorf("address %s is not of telco-vip", a)
		}
	}
	for _, name := range []string{e.Name(u.service), e.SvcAPIName(u.gateway)} {
		vs, vip := e.Object("virtualservice", name), e.Object("vsvip", name)
		if !strings.HasSuffix(fmt.Sprint(vs["se_group_ref"]), "#telco-group") || vs["enable_rhi"] != true {
			t.Errorf("%s: se_group_ref %v, enable_rhi %v", name, vs["se_group_ref"], vs["enable_rhi"])
		}
		if fmt.Sprint(vip["bgp_peer_labels"]) != "[spine]" {
			t.Errorf("%s: bgp_peer_labels %v", name, vip["bgp_peer_labels"])
		}
	}
	e.SettingCondition(s, "Accepted", metav1.ConditionTrue, "Accepted")
	if s.Status.Status != "Accepted" || s.Status.Error != "" {
		t.Errorf("status is %q, error %q", s.Status.Status, s.Status.Error)
	}
	e.Eventually("the users' names", func() error {
		m := e.SettingCondition(s, "InUse", metav1.ConditionTrue, "Used")
		if !strings.Contains(m, "Service "+e.Namespace+"/amf") || !strings.Contains(m, "Gateway "+e.Namespace+"/gw") {
			return fmt.Errorf("message: %s", m)
		}
		return nil
	})
}

// TestInfraSettingAcceptedRejectedDeletedRestored: under live traffic, not one write moves or removes anything.
func TestInfraSettingAcceptedRejectedDeletedRestored(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	furnish(e)
	s := e.Setting("telco", telco())
	e.Create(s)
	u := useSetting(e, s)
	one, two := u.ready(e)
	e.Eventually("the health", func() error {
		if !e.Healthy(u.service) {
			return fmt.Errorf("%+v", u.service.Status.Conditions)
		}
		return nil
	})
	e.Sim.ResetRequests()

	suite.Update(e, s, func(s *v1beta1.AviInfraSetting) { s.Spec.SEGroup.Name, s.Spec.Network.EnableRHI = "nowhere", new(true) })
	if m := e.SettingCondition(s, "Accepted", metav1.ConditionFalse, "Rejected"); !strings.Contains(m, "nowhere") {
		t.Errorf("message: %s", m)
	}
	if s.Status.Status != "Rejected" || !strings.Contains(s.Status.Error, "nowhere") {
		t.Errorf("status is %q, error %q", s.Status.Status, s.Status.Error)
	}
	says := func(reason string) {
		t.Helper()
		for _, m := range []string{e.Condition(u.service, "Accepted", metav1.ConditionTrue, reason), e.SvcAPICondition(u.gateway, "ako.vmware.com/Accepted", metav1.ConditionTrue, reason)} {
			if !strings.Contains(m, s.Name) || !strings.Contains(m, "keeps what it has") {
				t.Errorf("message: %s", m)
			}
		}
	}
	says("InfraSettingRejected")
	// A new owner waits.
	late := e.Service("late", suite.Port("SCTP", 2905))
	late.Annotations = map[string]string{translate.AnnotationInfraSetting: s.Name}
	e.Create(late)
	e.Condition(late, "Accepted", metav1.ConditionFalse, "InfraSettingRejected")

	e.Delete(s)
	says("InfraSettingMissing")
	e.Condition(late, "Accepted", metav1.ConditionFalse, "InfraSettingMissing")
	if w := e.Writes(); len(w) > 0 {
		t.Fatalf("%d writes, the first is %s %s", len(w), w[0].Method, w[0].Path)
	}
	// Nothing is remembered: what is kept is read from the Controller.
	restart(t, e, looked{"service", objects(u.service, late)}, looked{"svcapigateway", objects(u.gateway)})
	says("InfraSettingMissing")

	// What serves goes on following its endpoints.
	slice, _ := u.slices["amf"].(*discoveryv1.EndpointSlice)
	suite.Update(e, slice, func(s *discoveryv1.EndpointSlice) { s.Endpoints[0].Addresses = []string{"10.244.1.6"} })
	e.Eventually("the pool follows its endpoints", func() error {
		if got := fmt.Sprint(e.Servers(e.PoolName(u.service, suite.Port("SCTP", 38412)))); got != "[10.244.1.6:9090]" {
			return fmt.Errorf("servers are %s", got)
		}
		return nil
	})
	e.Sim.ResetRequests()

	again := e.Setting("telco", telco())
	e.Create(again)
	e.Condition(u.service, "Accepted", metav1.ConditionTrue, "Accepted")
	e.SvcAPICondition(u.gateway, "ako.vmware.com/Accepted", metav1.ConditionTrue, "Accepted")
	e.Programmed(late)
	for _, w := range e.Writes() {
		if w.Method != "POST" || !strings.Contains(string(w.Body), "late") {
			t.Errorf("a write for what was served before: %s %s", w.Method, w.Path)
		}
	}
	if a, b := u.ready(e); a != one || b != two {
		t.Errorf("addresses moved from %s, %s to %s, %s", one, two, a, b)
	}
}

// TestInfraSettingChangeReachesEveryUser: what can be changed in place is, what can't is explained, and carried out with
// consent.
func TestInfraSettingChangeReachesEveryUser(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	furnish(e)
	s := e.Setting("changed", v1beta1.AviInfraSettingSpec{})
	e.Create(s)
	byNamespace := e.Service("bynamespace", suite.Port("SCTP", 36412))
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: e.Namespace}}
	suite.Update(e, ns, func(ns *corev1.Namespace) {
		metav1.SetMetaDataAnnotation(&ns.ObjectMeta, translate.AnnotationInfraSetting, s.Name)
	})
	u := useSetting(e, s)
	e.Create(byNamespace)
	u.ready(e)
	e.Programmed(byNamespace)
	names := []string{e.Name(u.service), e.Name(byNamespace), e.SvcAPIName(u.gateway)}
	suite.Update(e, s, func(s *v1beta1.AviInfraSetting) {
		s.Spec.Network = &v1beta1.AviInfraSettingNetwork{EnableRHI: new(true), BGPPeerLabels: []string{"leaf"}}
	})
	e.Eventually("RHI and labels", func() error {
		for _, n := range names {
			if vs, vip := e.Object("virtualservice", n), e.Object("vsvip", n); vs["enable_rhi"] != true ||
				fmt.Sprint(vip["bgp_peer_labels"]) != "[leaf]" {
				return fmt.Errorf("%s: %v %v", n, vs["enable_rhi"], vip["bgp_peer_labels"])
			}
		}
		return nil
	})
	e.Sim.ResetRequests()
	suite.Update(e, s, func(s *v1beta1.AviInfraSetting) { // what waits holds back the rest: a placement is changed as a whole
		s.Spec.SEGroup, s.Spec.Network.BGPPeerLabels = &v1beta1.AviInfraSettingSEGroup{Name: "telco-group"}, []string{"spine"}
	})
	for _, m := range []string{
		e.Condition(u.service, "Accepted", metav1.ConditionTrue, "NeedsReplacement"),
		e.Condition(byNamespace, "Accepted", metav1.ConditionTrue, "NeedsReplacement"),
		e.SvcAPICondition(u.gateway, "ako.vmware.com/Accepted", metav1.ConditionTrue, "NeedsReplacement"),
	} {
		if !strings.Contains(m, "telco-group") || !strings.Contains(m, translate.AnnotationAllowReplacement) {
			t.Errorf("message: %s", m)
		}
	}
	if w := e.Writes(); len(w) > 0 {
		t.Errorf("%d writes without consent, the first is %s %s", len(w), w[0].Method, w[0].Path)
	}
	suite.Update(e, u.gateway, func(g *svcapi.Gateway) {
		metav1.SetMetaDataAnnotation(&g.ObjectMeta, translate.AnnotationAllowReplacement, "true")
	})
	e.Eventually("the replacement", func() error {
		if ref := fmt.Sprint(e.Object("virtualservice", names[2])["se_group_ref"]); !strings.HasSuffix(ref, "#telco-group") {
			return fmt.Errorf("it is on %s", ref)
		}
		return nil
	})
	e.SvcAPICondition(u.gateway, "ako.vmware.com/Accepted", metav1.ConditionTrue, "Accepted")
}

// TestInfraSettingIsJudgedAgain when the Controller's objects change, and not while the Controller can't be asked.
func TestInfraSettingIsJudgedAgain(t *testing.T) {
	// Alone: the operators of other tests would judge what this one can't.
	e := suite.New(t, suite.WithOptions(func(o *controllers.Options) { o.Refresh, o.Timeout = time.Second, time.Second }))
	s := e.Setting("telco", telco())
	e.Create(s)
	u := useSetting(e, s)
	e.Condition(u.service, "Accepted", metav1.ConditionFalse, "InfraSettingRejected")
	e.SvcAPICondition(u.gateway, "ako.vmware.com/Accepted", metav1.ConditionFalse, "InfraSettingRejected")
	e.SettingCondition(s, "Accepted", metav1.ConditionFalse, "Rejected")
	furnish(e)
	e.SettingCondition(s, "Accepted", metav1.ConditionTrue, "Accepted")
	u.ready(e)
	e.Sim.SetDown(true)
	e.StopOperator()
	e.StartOperator() // one that has never been able to ask
	configured(e)
	suite.Update(e, s, func(s *v1beta1.AviInfraSetting) { metav1.SetMetaDataLabel(&s.ObjectMeta, "touched", "yes") })
	e.LookAgain("aviinfrasetting", s)
	if err := e.Read(s); err != nil || s.Status.Status != "Accepted" {
		t.Errorf("the verdict turns because the Controller is down: %+v %v", s.Status, err)
	}
	suite.Update(e, s, func(s *v1beta1.AviInfraSetting) { s.Spec.Network.BGPPeerLabels = []string{"leaf"} })
	e.SettingCondition(s, "Accepted", metav1.ConditionUnknown, "ControllerUnavailable")
	if s.Status.Status != "Accepted" {
		t.Errorf("status.status turned to %q without the Controller having been asked", s.Status.Status)
	}
	e.Sim.SetDown(false)
	e.SettingCondition(s, "Accepted", metav1.ConditionTrue, "Accepted")
}
