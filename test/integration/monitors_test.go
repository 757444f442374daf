// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/avi-l4-operator/avi-l4-operator/api/ako/crdoperator"
	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1alpha2"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
	"github.com/avi-l4-operator/avi-l4-operator/test/suite"
)

const monitorsCRD = "healthmonitors.ako.vmware.com"

// monitorType is what the AKO CRD Operator installs for HealthMonitors, without the rules for what people write.
func monitorType() *apiextensionsv1.CustomResourceDefinition {
	anything := apiextensionsv1.JSONSchemaProps{Type: "object", XPreserveUnknownFields: new(true)}
	return &apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: monitorsCRD},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: crdoperator.GroupVersion.Group, Scope: apiextensionsv1.NamespaceScoped,
			Names: apiextensionsv1.CustomResourceDefinitionNames{
				Plural: "healthmonitors", Singular: "healthmonitor", Kind: "HealthMonitor", ListKind: "HealthMonitorList", ShortNames: []string{"hm"},
			},
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{
				Name: crdoperator.GroupVersion.Version, Served: true, Storage: true,
				Subresources: &apiextensionsv1.CustomResourceSubresources{Status: &apiextensionsv1.CustomResourceSubresourceStatus{}},
				Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{
					Type: "object", Properties: map[string]apiextensionsv1.JSONSchemaProps{"spec": anything, "status": anything},
				}},
			}},
		},
	}
}

// program writes what the AKO CRD Operator says of a HealthMonitor.
func program(e *suite.Env, m *crdoperator.HealthMonitor, uuid string, status metav1.ConditionStatus, reason, message string) {
	e.T.Helper()
	e.Eventually("the status of HealthMonitor "+m.Name, func() error {
		if err := e.Read(m); err != nil {
			return err
		}
		m.Status = crdoperator.HealthMonitorStatus{UUID: uuid, Tenant: "admin", Conditions: []metav1.Condition{{
			Type: crdoperator.ConditionProgrammed, Status: status, Reason: reason, Message: message, LastTransitionTime: metav1.Now()}}}
		return e.Client.Status().Update(e.T.Context(), m)
	})
}

// TestRuleWithHealthMonitors: a rule that names HealthMonitors waits for their type, for them and for the AKO CRD Operator, and
// nothing of what serves changes when any of the three goes.
func TestRuleWithHealthMonitors(t *testing.T) {
	e := suite.New(t) // alone: the type is the whole API server's
	uuids := make([]string, 2)
	for i := range uuids {
		uuid, err := e.Sim.Create("healthmonitor", "admin", map[string]any{
			"name": fmt.Sprintf("ako-crd-operator-%d", i), "type": "HEALTH_MONITOR_TCP"})
		if err != nil {
			t.Fatal(err)
		}
		uuids[i] = uuid
	}
	rule := e.Rule("rule", v1alpha2.L4RuleSpec{
		BackendProperties: []v1alpha2.BackendProperties{{Port: 8080, Protocol: "TCP", HealthMonitorCrdRefs: []string{"mine"}}},
	})
	e.Create(rule)
	svc := e.Service("web", suite.Port("TCP", 8080))
	svc.Annotations = map[string]string{translate.AnnotationRule: "rule"}
	e.Create(svc, e.Slice(svc, "10.244.1.5"))
	waits := func(status metav1.ConditionStatus, what string) {
		t.Helper()
		e.Eventually("the rule and the Service say: "+what, func() error {
			m := e.RuleCondition(rule, "Accepted", metav1.ConditionFalse, "Rejected")
			n := e.Condition(svc, "Accepted", status, "L4RuleRejected")
			if !strings.Contains(m, what) || !strings.Contains(n, what) {
				return fmt.Errorf("%q, %q", m, n)
			}
			return nil
		})
	}
	waits(metav1.ConditionFalse, "has no HealthMonitors")

	e.Create(monitorType())
	defer e.RemoveCRDs(monitorsCRD)
	waits(metav1.ConditionFalse, "does not exist")
	mine := &crdoperator.HealthMonitor{ObjectMeta: metav1.ObjectMeta{Name: "mine", Namespace: e.Namespace}, Spec: crdoperator.HealthMonitorSpec{Type: "HEALTH_MONITOR_TCP"}}
	e.Create(mine)
	waits(metav1.ConditionFalse, "has not said so yet")
	program(e, mine, uuids[0], metav1.ConditionTrue, "Created", "created")
	e.RuleCondition(rule, "Accepted", metav1.ConditionTrue, "Accepted")
	e.Programmed(svc)
	pool := e.PoolName(svc, suite.Port("TCP", 8080))
	monitor := func(want string) {
		t.Helper()
		e.Eventually("monitor "+want, func() error {
			got := fmt.Sprint(e.Object("pool", pool)["health_monitor_refs"])
			if !strings.Contains(got, "/"+want+"#") || strings.Count(got, "#") != 1 {
				return fmt.Errorf("health_monitor_refs is %s", got)
			}
			return nil
		})
	}
	monitor(uuids[0])
	program(e, mine, uuids[1], metav1.ConditionTrue, "Updated", "made anew")
	monitor(uuids[1])

	e.Sim.ResetRequests()
	program(e, mine, uuids[1], metav1.ConditionFalse, "UpdateFailed", "invalid monitor_port")
	waits(metav1.ConditionTrue, "invalid monitor_port")
	e.Delete(mine)
	waits(metav1.ConditionTrue, "does not exist")
	e.RemoveCRDs(monitorsCRD)
	waits(metav1.ConditionTrue, "has no HealthMonitors")
	e.StopOperator()
	e.StartOperator()
	e.Never("a write while the monitor is missing", time.Second, func() bool { return len(e.Sim.Writes()) > 0 })
	monitor(uuids[1])

	suite.Update(e, svc, func(s *corev1.Service) { delete(s.Annotations, translate.AnnotationRule) })
	e.Eventually("the default again", func() error {
		if got := fmt.Sprint(e.Object("pool", pool)["health_monitor_refs"]); !strings.HasSuffix(got, "#System-TCP]") {
			return fmt.Errorf("health_monitor_refs is %s", got)
		}
		return nil
	})
}
