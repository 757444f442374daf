// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/vmware/alb-sdk/go/models"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/avi-l4-operator/avi-l4-operator/api/ako/crdoperator"
	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1alpha2"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
)

// MonitorNames are the HealthMonitor objects that a rule names and that are used: where healthMonitorRefs say something, they count.
func MonitorNames(spec *v1alpha2.L4RuleSpec) (out []string) {
	for i := range spec.BackendProperties {
		out = append(out, monitorNames(&spec.BackendProperties[i])...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func monitorNames(p *v1alpha2.BackendProperties) []string {
	if len(p.HealthMonitorRefs) > 0 {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(p.HealthMonitorCrdRefs), func(name string) bool { return name == "" })
}

// monitorProblems are about the HealthMonitors of one entry of backendProperties. As with AKO none of their types can check UDP or
// SCTP, and one that the AKO CRD Operator hasn't brought to the Controller can't be used.
func (r Rule) monitorProblems(p *v1alpha2.BackendProperties, tenant string) (out []string) {
	names := monitorNames(p)
	switch {
	case len(names) == 0:
		return nil
	case r.NoMonitors:
		return []string{"the API server has no HealthMonitors; install the AKO CRD Operator, or name monitors of the Controller in healthMonitorRefs"}
	case p.Protocol != "TCP":
		return []string{fmt.Sprintf("a HealthMonitor can't check %s servers; name monitors of the Controller in healthMonitorRefs", p.Protocol)}
	}
	for _, name := range names {
		if problem := monitorProblem(r.Monitors[name], tenant); problem != "" {
			out = append(out, fmt.Sprintf("HealthMonitor %s/%s %s", r.Object.Namespace, name, problem))
		}
	}
	return out
}

// monitorProblem is why a HealthMonitor can't be referred to from a tenant, "" if it can be.
func monitorProblem(m *crdoperator.HealthMonitor, tenant string) string {
	if m == nil {
		return "does not exist; create it, or name another one"
	}
	c := apimeta.FindStatusCondition(m.Status.Conditions, crdoperator.ConditionProgrammed)
	switch {
	case c != nil && c.Status == metav1.ConditionFalse:
		return fmt.Sprintf("is not programmed: %s: %s", c.Reason, cmp.Or(c.Message, "no message"))
	case c == nil || c.Status != metav1.ConditionTrue || m.Status.UUID == "":
		return "is not programmed: the AKO CRD Operator has not said so yet"
	case m.Status.Tenant != "" && m.Status.Tenant != tenant && m.Status.Tenant != model.AdminTenant:
		return fmt.Sprintf("is in tenant %s and can't be used from tenant %s", m.Status.Tenant, tenant)
	}
	return ""
}

// monitors gives a pool the rule's monitors: those that it names on the Controller, else those of the HealthMonitors.
func (b *builder) monitors(p *models.Pool, rule Rule, r *v1alpha2.BackendProperties, t target, about string) {
	var refs []string
	for _, name := range r.HealthMonitorRefs {
		refs = append(refs, model.RefByName(model.HealthMonitor, name))
	}
	for _, name := range monitorNames(r) {
		refs = append(refs, model.RefByUUID(model.HealthMonitor, rule.Monitors[name].Status.UUID))
	}
	if len(refs) > 0 {
		p.HealthMonitorRefs = refs
	}
	if len(r.HealthMonitorRefs) > 0 && len(r.HealthMonitorCrdRefs) > 0 {
		b.report(model.Note, t.port, model.ReasonRuleIgnored, about+": healthMonitorCrdRefs are not used, because there are healthMonitorRefs")
	}
}
