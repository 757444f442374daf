// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1alpha2"
	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1beta1"
	svcapi "github.com/avi-l4-operator/avi-l4-operator/api/networking/v1alpha1"
	"github.com/avi-l4-operator/avi-l4-operator/internal/gather"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
)

// Setting is an AviInfraSetting whose name, a cluster-wide one, is the test's own. It is not yet created.
func (e *Env) Setting(name string, spec v1beta1.AviInfraSettingSpec) *v1beta1.AviInfraSetting {
	return &v1beta1.AviInfraSetting{ObjectMeta: metav1.ObjectMeta{Name: e.Cluster + "-" + name}, Spec: spec}
}

// SvcAPIClass is a GatewayClass of ours whose name is the test's own, with an AviInfraSetting unless that is nil.
func (e *Env) SvcAPIClass(setting *v1beta1.AviInfraSetting) *svcapi.GatewayClass {
	c := &svcapi.GatewayClass{ObjectMeta: metav1.ObjectMeta{Name: e.Cluster},
		Spec: svcapi.GatewayClassSpec{Controller: translate.SvcAPIController}}
	if setting != nil {
		c.Spec.ParametersRef = &svcapi.ParametersReference{Group: "ako.vmware.com", Kind: "AviInfraSetting", Name: setting.Name}
	}
	return c
}

// SvcAPIListener takes the Services that name the Gateway, as AKO's users write it.
func (e *Env) SvcAPIListener(gateway string, protocol svcapi.ProtocolType, port int32) svcapi.Listener {
	return svcapi.Listener{Port: port, Protocol: protocol, Routes: svcapi.RouteBindingSelector{
		Group: "v1", Kind: "services", Selector: &metav1.LabelSelector{MatchLabels: e.Labels(gateway)},
	}}
}

// Labels name a Gateway of the test's namespace.
func (e *Env) Labels(gateway string) map[string]string {
	return map[string]string{translate.LabelGatewayName: gateway, translate.LabelGatewayNamespace: e.Namespace}
}

// SvcAPIGateway is one of the test's class, not yet created.
func (e *Env) SvcAPIGateway(name string, listeners ...svcapi.Listener) *svcapi.Gateway {
	return &svcapi.Gateway{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: e.Namespace},
		Spec:       svcapi.GatewaySpec{GatewayClassName: e.Cluster, Listeners: listeners},
	}
}

// Backend is a Service of type ClusterIP that names a Gateway, not yet created.
func (e *Env) Backend(name, gateway string, ports ...corev1.ServicePort) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: e.Namespace, Labels: e.Labels(gateway)},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeClusterIP, Selector: map[string]string{"app": name}, Ports: ports},
	}
}

// SvcAPICondition waits until a Gateway's condition has the status and, unless it is empty, the reason. It returns the
// message.
func (e *Env) SvcAPICondition(gw *svcapi.Gateway, kind string, status metav1.ConditionStatus, reason string) string {
	e.T.Helper()
	return e.condition(gw, func() []metav1.Condition { return gw.Status.Conditions }, kind, status, reason)
}

// SvcAPIListenerCondition is SvcAPICondition for the listeners of a port number.
func (e *Env) SvcAPIListenerCondition(gw *svcapi.Gateway, port int32, kind string, status metav1.ConditionStatus, reason string) string {
	e.T.Helper()
	return e.condition(gw, func() []metav1.Condition {
		for _, l := range gw.Status.Listeners {
			if l.Port == port {
				return l.Conditions
			}
		}
		return nil
	}, kind, status, reason)
}

// SvcAPIClassCondition is SvcAPICondition for a class.
func (e *Env) SvcAPIClassCondition(class *svcapi.GatewayClass, kind string, status metav1.ConditionStatus, reason string) string {
	e.T.Helper()
	return e.condition(class, func() []metav1.Condition { return class.Status.Conditions }, kind, status, reason)
}

// SettingCondition is SvcAPICondition for an AviInfraSetting.
func (e *Env) SettingCondition(s *v1beta1.AviInfraSetting, kind string, status metav1.ConditionStatus, reason string) string {
	e.T.Helper()
	return e.condition(s, func() []metav1.Condition { return s.Status.Conditions }, kind, status, reason)
}

// Rule is an L4Rule in the test's namespace.
func (e *Env) Rule(name string, spec v1alpha2.L4RuleSpec) *v1alpha2.L4Rule {
	return &v1alpha2.L4Rule{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: e.Namespace}, Spec: spec}
}

// RuleCondition is SvcAPICondition for an L4Rule.
func (e *Env) RuleCondition(r *v1alpha2.L4Rule, kind string, status metav1.ConditionStatus, reason string) string {
	e.T.Helper()
	return e.condition(r, func() []metav1.Condition { return r.Status.Conditions }, kind, status, reason)
}

func (e *Env) condition(o client.Object, conditions func() []metav1.Condition, kind string, status metav1.ConditionStatus,
	reason string) string {
	e.T.Helper()
	message := ""
	e.Eventually(fmt.Sprintf("condition %s=%s/%s of %T %s", kind, status, reason, o, o.GetName()), func() error {
		if err := e.Read(o); err != nil {
			return err
		}
		c := apimeta.FindStatusCondition(conditions(), kind)
		if c == nil || c.Status != status || reason != "" && c.Reason != reason || c.ObservedGeneration != o.GetGeneration() {
			return fmt.Errorf("have %+v at generation %d", conditions(), o.GetGeneration())
		}
		message = c.Message
		return nil
	})
	return message
}

// SvcAPIReady waits until a Gateway is ready and returns its first address.
func (e *Env) SvcAPIReady(gw *svcapi.Gateway) string {
	e.T.Helper()
	e.SvcAPICondition(gw, svcapi.GatewayConditionReady, metav1.ConditionTrue, "")
	if len(gw.Status.Addresses) == 0 {
		e.T.Fatalf("Gateway %s is ready without an address", gw.Name)
	}
	return gw.Status.Addresses[0].Value
}

// SvcAPIName of a Gateway's VirtualService, VsVip and L4PolicySet.
func (e *Env) SvcAPIName(gw *svcapi.Gateway) string {
	return e.Cluster + "--" + gw.Namespace + "-" + gw.Name
}

// SvcAPIPool is the name of the pool of a Service's port behind a Gateway.
func (e *Env) SvcAPIPool(gw *svcapi.Gateway, service string, p corev1.ServicePort) string {
	return fmt.Sprintf("%s--%s-%s-%s-%s-%d", e.Cluster, gw.Namespace, service, gw.Name, p.Protocol, p.Port)
}

// SvcAPIGone waits until neither the Gateway nor anything of it on the Controller is left.
func (e *Env) SvcAPIGone(gw *svcapi.Gateway) {
	e.T.Helper()
	e.Eventually("Gateway "+gw.Name+" goes", func() error {
		if err := e.Read(gw); client.IgnoreNotFound(err) != nil || err == nil {
			return fmt.Errorf("it has finalizers %v: %w", gw.Finalizers, err)
		}
		if e.Object("virtualservice", e.SvcAPIName(gw)) != nil || e.Object("vsvip", e.SvcAPIName(gw)) != nil {
			return fmt.Errorf("the Controller holds %v", e.Owned())
		}
		return nil
	})
}

// Finalizer is the operator's own.
const Finalizer = gather.Finalizer

// Forget removes a cluster-scoped object after a test, whatever finalizer its operator left on it. It uses a context of
// its own, since a test's has ended when its cleanups run.
func Forget(e *Env, o client.Object) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := e.Client.Get(ctx, client.ObjectKeyFromObject(o), o); err != nil {
		return
	}
	if len(o.GetFinalizers()) > 0 {
		o.SetFinalizers(nil)
		_ = e.Client.Update(ctx, o)
	}
	_ = e.Client.Delete(ctx, o, client.GracePeriodSeconds(0))
}

// Healthy reads a Service and reports whether it is healthy.
func (e *Env) Healthy(svc *corev1.Service) bool {
	if err := e.Read(svc); err != nil {
		return false
	}
	return apimeta.IsStatusConditionTrue(svc.Status.Conditions, "ako.vmware.com/Healthy")
}

// Event waits for an Event about an object with the reason, and returns its note.
func (e *Env) Event(about client.Object, reason string) string {
	e.T.Helper()
	note := ""
	e.Eventually("Event "+reason+" about "+about.GetName(), func() error {
		var list eventsv1.EventList
		namespace := about.GetNamespace()
		if namespace == "" {
			namespace = "default"
		}
		if err := e.Client.List(e.T.Context(), &list, client.InNamespace(namespace)); err != nil {
			return err
		}
		for _, ev := range list.Items {
			if ev.Regarding.UID == about.GetUID() && ev.Reason == reason {
				note = ev.Note
				return nil
			}
		}
		return fmt.Errorf("there are %d others", len(list.Items))
	})
	return note
}
