// SPDX-License-Identifier: Apache-2.0

package gather

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/avi-l4-operator/avi-l4-operator/api/ako/crdoperator"
	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1alpha2"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
)

// RuleOf is the L4Rule that a Service or a Gateway names; ok is false if it names none that there could be.
func RuleOf(o client.Object) (key types.NamespacedName, ok bool) {
	key, ok = translate.RuleKey(o.GetNamespace(), o.GetAnnotations())
	return key, ok && key.Name != ""
}

// rule reads the L4Rule that an object names. One that isn't there is an answer too.
func (r *Reader) rule(ctx context.Context, of client.Object) (translate.Rule, error) {
	key, ok := translate.RuleKey(of.GetNamespace(), of.GetAnnotations())
	if !ok {
		return translate.Rule{}, nil
	}
	out := translate.Rule{Name: key.String()}
	switch {
	case key.Name == "":
		out.Name, out.Reason = "", model.ReasonInvalidAnnotation
		out.Problem = fmt.Sprintf("annotation %s: %q names no L4Rule; write its name, or namespace/name", translate.AnnotationRule, of.GetAnnotations()[translate.AnnotationRule])
		return out, nil
	case !r.Serves(Rules):
		out.Reason = model.ReasonRuleMissing
		out.Problem = fmt.Sprintf("L4Rule %s can't be read: the API server has no such type; install its CRD", out.Name)
		return out, nil
	}
	o := new(v1alpha2.L4Rule)
	err := r.Client.Get(ctx, key, o)
	if apierrors.IsNotFound(err) {
		return out, nil
	}
	if err != nil {
		return out, reading(err, "L4Rule", key)
	}
	out.Object = o
	return out, r.monitors(ctx, &out)
}

// Rule is an L4Rule with what it refers to in Kubernetes.
func (r *Reader) Rule(ctx context.Context, o *v1alpha2.L4Rule) (translate.Rule, error) {
	out := translate.Rule{Name: client.ObjectKeyFromObject(o).String(), Object: o}
	return out, r.monitors(ctx, &out)
}

// monitors reads the HealthMonitors that a rule names. That one isn't there, or the type, is an answer too.
func (r *Reader) monitors(ctx context.Context, rule *translate.Rule) error {
	names := translate.MonitorNames(&rule.Object.Spec)
	if len(names) == 0 {
		return nil
	}
	if rule.NoMonitors = !r.Serves(Monitors); rule.NoMonitors {
		return nil
	}
	rule.Monitors = make(map[string]*crdoperator.HealthMonitor)
	for _, name := range names {
		key, o := types.NamespacedName{Namespace: rule.Object.Namespace, Name: name}, new(crdoperator.HealthMonitor)
		switch err := r.Client.Get(ctx, key, o); {
		case err == nil:
			rule.Monitors[name] = o
		case !apierrors.IsNotFound(err):
			return reading(err, "HealthMonitor", key)
		}
	}
	return nil
}

// ServicesOfRule are the Services that name an L4Rule, whatever their type.
func (r *Reader) ServicesOfRule(ctx context.Context, rule types.NamespacedName) ([]types.NamespacedName, error) {
	var list corev1.ServiceList
	if err := r.Client.List(ctx, &list, client.MatchingFields{IndexRule: rule.String()}, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing the Services of L4Rule %s: %w", rule, err)
	}
	return keysOf(pointers(list.Items)), nil
}
