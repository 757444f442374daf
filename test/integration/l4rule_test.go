// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1alpha2"
	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1beta1"
	svcapi "github.com/avi-l4-operator/avi-l4-operator/api/networking/v1alpha1"
	"github.com/avi-l4-operator/avi-l4-operator/controllers"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
	"github.com/avi-l4-operator/avi-l4-operator/test/suite"
)

// makeShared gives the Controller an object that rules refer to.
func makeShared(e *suite.Env, kind, name string) {
	e.T.Helper()
	if _, err := e.Sim.Create(kind, "admin", map[string]any{"name": name}); err != nil {
		e.T.Fatal(err)
	}
}

// guarded is a rule that sets something on the VirtualService and on the SCTP pool.
func guarded(policy string) v1alpha2.L4RuleSpec {
	return v1alpha2.L4RuleSpec{
		NetworkSecurityPolicyRef: policy, ApplicationProfileRef: "System-L4-Application", NetworkProfileRef: "System-TCP-Proxy",
		BackendProperties: []v1alpha2.BackendProperties{
			{Port: 38412, Protocol: "SCTP", HealthMonitorRefs: []string{"System-Ping"}, MinServersUp: new(int32(2))}},
	}
}

// ruledService is a Service of SCTP that names a rule, with an endpoint.
func ruledService(e *suite.Env, name, rule string) *corev1.Service {
	e.T.Helper()
	svc := e.Service(name, suite.Port("SCTP", 38412))
	svc.Annotations = map[string]string{translate.AnnotationRule: rule}
	e.Create(svc, e.Slice(svc, "10.244.1.5"))
	return svc
}

// has waits until the Controller has what guarded asks for on a Service's objects.
func has(e *suite.Env, vs, pool, policy, monitor string) {
	e.T.Helper()
	e.Eventually("what the rule says", func() error {
		v, p := e.Object("virtualservice", vs), e.Object("pool", pool)
		if got := fmt.Sprint(v["network_security_policy_ref"]); policy == "" && v["network_security_policy_ref"] != nil || !strings.HasSuffix(got, policy) {
			return fmt.Errorf("network_security_policy_ref is %s", got)
		}
		if got := fmt.Sprint(v["network_profile_ref"]); !strings.HasSuffix(got, "#System-SCTP-Proxy") {
			return fmt.Errorf("network_profile_ref is %s", got)
		}
		if got := fmt.Sprint(p["health_monitor_refs"]); !strings.HasSuffix(got, "#"+monitor+"]") {
			return fmt.Errorf("health_monitor_refs is %s", got)
		}
		return nil
	})
}

// TestRuleOfAService is applied, reported, changed, deleted under live traffic without a write, restored, and named no more.
func TestRuleOfAService(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	makeShared(e, "networksecuritypolicy", "allow-core")
	makeShared(e, "networksecuritypolicy", "allow-all")
	svc := ruledService(e, "amf", "rule")
	if m := e.Condition(svc, "Accepted", metav1.ConditionFalse, "L4RuleMissing"); !strings.Contains(m, e.Namespace+"/rule") {
		t.Errorf("message: %s", m)
	}
	rule := e.Rule("rule", guarded("allow-core"))
	e.Create(rule)
	e.Programmed(svc)
	vs, pool := e.Name(svc), e.PoolName(svc, suite.Port("SCTP", 38412))
	has(e, vs, pool, "allow-core", "System-Ping")
	e.RuleCondition(rule, "Accepted", metav1.ConditionTrue, "Accepted")
	if rule.Status.Status != "Accepted" || rule.Status.Error != "" {
		t.Errorf("status is %q, error %q", rule.Status.Status, rule.Status.Error)
	}
	if m := e.RuleCondition(rule, "InUse", metav1.ConditionTrue, "Used"); !strings.Contains(m, "Service "+e.Namespace+"/amf") {
		t.Errorf("message: %s", m)
	}

	suite.Update(e, rule, func(r *v1alpha2.L4Rule) { r.Spec.NetworkSecurityPolicyRef = "allow-all" })
	has(e, vs, pool, "allow-all", "System-Ping")
	e.Sim.ResetRequests()
	suite.Update(e, rule, func(r *v1alpha2.L4Rule) { r.Spec.NetworkSecurityPolicyRef = "nowhere" })
	if m := e.RuleCondition(rule, "Accepted", metav1.ConditionFalse, "Rejected"); !strings.Contains(m, "nowhere") {
		t.Errorf("message: %s", m)
	}
	if rule.Status.Status != "Rejected" || !strings.Contains(rule.Status.Error, "nowhere") {
		t.Errorf("status is %q, error %q", rule.Status.Status, rule.Status.Error)
	}
	if m := e.Condition(svc, "Accepted", metav1.ConditionTrue, "L4RuleRejected"); !strings.Contains(m, "keeps what it has") {
		t.Errorf("message: %s", m)
	}
	e.Delete(rule)
	e.Condition(svc, "Accepted", metav1.ConditionTrue, "L4RuleMissing")
	e.StopOperator()
	e.StartOperator() // nothing is remembered: what is kept is read from the Controller
	e.Never("a write while the rule is missing", time.Second, func() bool { return len(e.Writes()) > 0 })
	has(e, vs, pool, "allow-all", "System-Ping")

	e.Create(e.Rule("rule", guarded("allow-all")))
	e.Condition(svc, "Accepted", metav1.ConditionTrue, "Accepted")
	if w := e.Writes(); len(w) > 0 {
		t.Errorf("%d writes, the first is %s %s", len(w), w[0].Method, w[0].Path)
	}
	suite.Update(e, svc, func(s *corev1.Service) { delete(s.Annotations, translate.AnnotationRule) })
	has(e, vs, pool, "", "System-SCTP")
	e.Eventually("the monitor's company goes too", func() error {
		if n := e.Object("pool", pool)["min_servers_up"]; n != nil {
			return fmt.Errorf("min_servers_up is %v", n)
		}
		return nil
	})
}

// TestRuleIsJudgedAgain when what it refers to comes and goes.
func TestRuleIsJudgedAgain(t *testing.T) {
	t.Parallel()
	e := suite.New(t, suite.WithOptions(func(o *controllers.Options) { o.Refresh = time.Second }))
	rule := e.Rule("rule", guarded("later"))
	e.Create(rule)
	svc := ruledService(e, "amf", e.Namespace+"/rule")
	e.Condition(svc, "Accepted", metav1.ConditionFalse, "L4RuleRejected")
	e.RuleCondition(rule, "Accepted", metav1.ConditionFalse, "Rejected")
	makeShared(e, "networksecuritypolicy", "later")
	e.RuleCondition(rule, "Accepted", metav1.ConditionTrue, "Accepted")
	e.Programmed(svc)
	vs, pool := e.Name(svc), e.PoolName(svc, suite.Port("SCTP", 38412))
	has(e, vs, pool, "later", "System-Ping")

	// What it refers to goes and comes back. The Controller lets nobody remove what is used.
	makeShared(e, "securitypolicy", "brief")
	idle := e.Rule("idle", v1alpha2.L4RuleSpec{SecurityPolicyRef: "brief"})
	e.Create(idle)
	e.RuleCondition(idle, "Accepted", metav1.ConditionTrue, "Accepted")
	e.RuleCondition(idle, "InUse", metav1.ConditionFalse, "NotUsed")
	if err := e.Sim.Remove("securitypolicy", "admin", "brief"); err != nil {
		t.Fatal(err)
	}
	e.RuleCondition(idle, "Accepted", metav1.ConditionFalse, "Rejected")
	makeShared(e, "securitypolicy", "brief")
	e.RuleCondition(idle, "Accepted", metav1.ConditionTrue, "Accepted")
}

// TestRuleOfAGateway is for its VirtualService, and that of a Service behind it for the pool.
func TestRuleOfAGateway(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	makeShared(e, "networksecuritypolicy", "allow-core")
	vsRule, poolRule := e.Rule("vs", v1alpha2.L4RuleSpec{NetworkSecurityPolicyRef: "allow-core"}), e.Rule("pools", guarded(""))
	e.Create(vsRule, poolRule)
	class, gw := e.SvcAPIClass(nil), e.SvcAPIGateway("gw", e.SvcAPIListener("gw", "SCTP", 38412))
	t.Cleanup(func() { suite.Forget(e, class) })
	gw.Annotations = map[string]string{translate.AnnotationRule: "vs"}
	e.Create(class, gw)
	svc, _ := e.SvcAPIAttach(gw, "amf", "10.244.1.5", suite.Port("SCTP", 38412))
	e.SvcAPIReady(gw)
	vs, pool := e.SvcAPIName(gw), e.SvcAPIPool(gw, "amf", suite.Port("SCTP", 38412))
	has(e, vs, pool, "allow-core", "System-SCTP")
	suite.Update(e, svc, func(s *corev1.Service) {
		metav1.SetMetaDataAnnotation(&s.ObjectMeta, translate.AnnotationRule, "pools")
	})
	has(e, vs, pool, "allow-core", "System-Ping")
	for _, r := range []*v1alpha2.L4Rule{vsRule, poolRule} {
		e.Eventually("the user of "+r.Name, func() error {
			if m := e.RuleCondition(r, "InUse", metav1.ConditionTrue, "Used"); !strings.Contains(m, "Gateway "+e.Namespace+"/gw") {
				return fmt.Errorf("message: %s", m)
			}
			return nil
		})
	}
	e.Delete(poolRule)
	e.SvcAPICondition(gw, "ako.vmware.com/Accepted", metav1.ConditionTrue, "L4RuleMissing")
	has(e, vs, pool, "allow-core", "System-Ping")
	suite.Update(e, gw, func(g *svcapi.Gateway) { delete(g.Annotations, translate.AnnotationRule) })
	has(e, vs, pool, "", "System-Ping")
}

// akoRules makes of our CRD one as AKO installs it: it fills in values that break SCTP, and keeps no conditions.
func akoRules(t *testing.T) *apiextensionsv1.CustomResourceDefinition {
	t.Helper()
	raw, err := os.ReadFile("../../config/crd/bases/ako.vmware.com_l4rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	crd := new(apiextensionsv1.CustomResourceDefinition)
	if err := yaml.Unmarshal(raw, crd); err != nil {
		t.Fatal(err)
	}
	root := crd.Spec.Versions[0].Schema.OpenAPIV3Schema
	spec, status := root.Properties["spec"], root.Properties["status"]
	fill := func(in map[string]apiextensionsv1.JSONSchemaProps, field, value string) {
		p, ok := in[field]
		if !ok {
			t.Fatalf("no field %s", field)
		}
		p.Default = &apiextensionsv1.JSON{Raw: []byte(value)}
		in[field] = p
	}
	fill(spec.Properties, "analyticsProfileRef", `"System-Analytics-Profile"`)
	fill(spec.Properties, "applicationProfileRef", `"System-L4-Application"`)
	fill(spec.Properties, "networkProfileRef", `"System-TCP-Proxy"`)
	fill(spec.Properties, "revokeVipRoute", "false")
	backend := spec.Properties["backendProperties"].Items.Schema
	backend.XValidations = nil
	fill(backend.Properties, "enabled", "true")
	fill(backend.Properties, "lbAlgorithm", `"LB_ALGORITHM_LEAST_CONNECTIONS"`)
	delete(status.Properties, "conditions")
	return crd
}

// TestRuleOfAKO: with AKO's CRD rules are served as well, SCTP keeps its profile, and the status has AKO's fields.
func TestRuleOfAKO(t *testing.T) {
	e := suite.New(t) // alone: the type is the whole API server's
	const name = "l4rules.ako.vmware.com"
	defer func() {
		e.RemoveCRDs(name)
		e.RestoreCRDs()
	}()
	makeShared(e, "networksecuritypolicy", "allow-core")
	e.Create(e.Rule("rule", guarded("allow-core")))
	svc := ruledService(e, "amf", "rule")
	e.Programmed(svc)
	vs, pool := e.Name(svc), e.PoolName(svc, suite.Port("SCTP", 38412))
	has(e, vs, pool, "allow-core", "System-Ping")
	e.Sim.ResetRequests()
	e.RemoveCRDs(name)
	e.Condition(svc, "Accepted", metav1.ConditionTrue, "L4RuleMissing")
	e.Create(akoRules(t))
	rule := e.Rule("rule", v1alpha2.L4RuleSpec{
		NetworkSecurityPolicyRef: "allow-core",
		BackendProperties: []v1alpha2.BackendProperties{
			{Port: 38412, Protocol: "SCTP", HealthMonitorRefs: []string{"System-Ping"}, MinServersUp: new(int32(2))}},
	})
	e.Eventually("the type is served", func() error { return e.Client.Create(t.Context(), rule) })
	if rule.Spec.NetworkProfileRef != "System-TCP-Proxy" {
		t.Fatalf("the CRD isn't AKO's: %+v", rule.Spec)
	}
	e.Condition(svc, "Accepted", metav1.ConditionTrue, "Accepted")
	has(e, vs, pool, "allow-core", "System-Ping")
	accepted := func(want string) {
		t.Helper()
		e.Eventually("status "+want, func() error {
			if err := e.Client.Get(t.Context(), client.ObjectKeyFromObject(rule), rule); err != nil || rule.Status.Status != want ||
				len(rule.Status.Conditions) > 0 {
				return fmt.Errorf("%w %+v", err, rule.Status)
			}
			return nil
		})
	}
	accepted("Accepted")
	if w := e.Writes(); len(w) > 0 {
		t.Errorf("%d writes, the first is %s %s", len(w), w[0].Method, w[0].Path)
	}
	suite.Update(e, rule, func(r *v1alpha2.L4Rule) { r.Spec.NetworkSecurityPolicyRef = "nowhere" })
	accepted("Rejected")
	version := rule.ResourceVersion
	e.Never("the status is written again and again", time.Second, func() bool {
		return e.Client.Get(t.Context(), client.ObjectKeyFromObject(rule), rule) == nil && rule.ResourceVersion != version
	})
	suite.Update(e, rule, func(r *v1alpha2.L4Rule) { r.Spec.NetworkSecurityPolicyRef = "allow-core" })
	accepted("Accepted")
}

// TestReferencesInATenant: what a rule, an annotation and an AviInfraSetting name is found in the tenant of the Service's namespace, which
// the operator's own doesn't see.
func TestReferencesInATenant(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	if err := e.Sim.AddTenant("telco"); err != nil {
		t.Fatal(err)
	}
	for kind, body := range map[string]map[string]any{
		"networksecuritypolicy": {"name": "theirs"},
		"applicationprofile":    {"name": "their-l4", "type": "APPLICATION_PROFILE_TYPE_L4"},
		"serviceenginegroup":    {"name": "their-group", "cloud_ref": "/api/cloud?name=Default-Cloud"},
	} {
		if _, err := e.Sim.Create(kind, "telco", body); err != nil {
			t.Fatal(err)
		}
	}
	suite.Update(e, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: e.Namespace}}, func(n *corev1.Namespace) {
		metav1.SetMetaDataAnnotation(&n.ObjectMeta, translate.AnnotationTenant, "telco")
	})
	setting := e.Setting("of-telco", v1beta1.AviInfraSettingSpec{SEGroup: &v1beta1.AviInfraSettingSEGroup{Name: "their-group"}})
	e.Own(setting)
	good := e.Rule("good", v1alpha2.L4RuleSpec{NetworkSecurityPolicyRef: "theirs"})
	bad := e.Rule("bad", v1alpha2.L4RuleSpec{NetworkSecurityPolicyRef: "nobodys"})
	e.Create(good, bad)
	svc := e.Service("amf", suite.Port("SCTP", 38412))
	svc.Annotations = map[string]string{translate.AnnotationRule: "good", translate.AnnotationApplicationProfile: "their-l4",
		translate.AnnotationInfraSetting: setting.Name}
	waiting := e.Service("smf", suite.Port("SCTP", 38412))
	waiting.Annotations = map[string]string{translate.AnnotationRule: "bad"}
	e.Create(svc, e.Slice(svc, "10.244.1.5"), waiting, e.Slice(waiting, "10.244.1.6"))
	e.Programmed(svc)
	vs, _ := e.Sim.Object("virtualservice", "telco", e.Name(svc))
	for field, name := range map[string]string{
		"network_security_policy_ref": "theirs", "application_profile_ref": "their-l4", "se_group_ref": "their-group",
	} {
		if got := fmt.Sprint(vs[field]); !strings.HasSuffix(got, "#"+name) {
			t.Errorf("%s is %s", field, got)
		}
	}
	if m := e.Condition(waiting, "Accepted", metav1.ConditionFalse, "L4RuleRejected"); !strings.Contains(m, "nobodys") {
		t.Errorf("it says %q", m)
	}
	e.RuleCondition(good, "Accepted", metav1.ConditionTrue, "Accepted")
	e.RuleCondition(bad, "Accepted", metav1.ConditionFalse, "Rejected")
	e.SettingCondition(setting, "Accepted", metav1.ConditionTrue, "Accepted")
	e.Sim.ResetRequests()
	e.StopOperator()
	e.StartOperator()
	e.Programmed(svc)
	e.Never("a write after a restart", time.Second, func() bool { return len(e.Sim.Writes()) > 0 })
}
