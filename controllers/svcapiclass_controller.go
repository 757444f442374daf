// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"slices"

	"github.com/go-logr/logr"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	svcapi "github.com/avi-l4-operator/avi-l4-operator/api/networking/v1alpha1"
	"github.com/avi-l4-operator/avi-l4-operator/internal/gather"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
)

// SvcAPIClassReconciler admits the GatewayClasses of the Services API that are ours, and keeps one that is in use from
// being deleted.
type SvcAPIClassReconciler struct {
	classes[*svcapi.GatewayClass, *svcapi.Gateway]
}

// newSvcAPIClassReconciler makes one; SetupWithManager registers it, and Watch switches it on.
func newSvcAPIClassReconciler(d Deps, log logr.Logger) *SvcAPIClassReconciler {
	return &SvcAPIClassReconciler{classes[*svcapi.GatewayClass, *svcapi.Gateway]{
		Deps: d, queue: new(queue), Log: log, api: gather.ServicesAPI, finalizer: svcapi.GatewayClassFinalizer,
		verdict: svcapi.GatewayClassConditionAdmitted, accepted: svcapi.GatewayClassReasonAdmitted,
		refused: svcapi.GatewayClassReasonInvalidParameters,
		pending: metav1.Condition{Status: metav1.ConditionFalse, Reason: svcapi.GatewayClassReasonWaiting},
		class:   &svcapi.GatewayClass{}, gateway: &svcapi.Gateway{}, list: func() client.ObjectList { return new(svcapi.GatewayClassList) },
		gateways: func() client.ObjectList { return new(svcapi.GatewayList) }, unsaid: metav1.ConditionFalse,
		unsay:   func(c *svcapi.GatewayClass) *[]metav1.Condition { return &c.Status.Conditions },
		classOf: func(gw *svcapi.Gateway) string { return gw.Spec.GatewayClassName },
		ours:    func(c *svcapi.GatewayClass) bool { return c.Spec.Controller == translate.SvcAPIController },
		setting: func(c *svcapi.GatewayClass) string {
			if c.Spec.ParametersRef == nil {
				return ""
			}
			return c.Spec.ParametersRef.Name
		},
	}}
}

// Reconcile writes one class' status and finalizer.
func (r *SvcAPIClassReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	class := new(svcapi.GatewayClass)
	found, err := r.get(ctx, req.NamespacedName, class)
	if err != nil || !found || class.Spec.Controller != translate.SvcAPIController {
		return ctrl.Result{}, err // of another controller: its own, finalizer and all
	}
	gateways, err := gather.SvcAPIGateways{Reader: r.Gather}.List(ctx)
	if err != nil {
		return ctrl.Result{}, err
	}
	gateways = slices.DeleteFunc(gateways, func(gw *svcapi.Gateway) bool { return gw.Spec.GatewayClassName != class.Name })
	if err := r.finalize(ctx, class, len(gateways) > 0); err != nil {
		return resultOf(ctx, client.IgnoreNotFound(err))
	}
	if class.DeletionTimestamp != nil || r.others(class, gateways) {
		return ctrl.Result{}, nil
	}
	was := class.Status.Conditions
	c, err := r.judge(ctx, class, was, gather.SvcAPIParametersProblem(class))
	if err != nil || c == nil {
		return ctrl.Result{}, err
	}
	next := class.DeepCopy()
	c.ObservedGeneration, c.LastTransitionTime = class.Generation, metav1.NewTime(r.Status.Now())
	apimeta.SetStatusCondition(&next.Status.Conditions, *c)
	if c.Status == metav1.ConditionTrue { // the first release's CRD puts it there
		apimeta.RemoveStatusCondition(&next.Status.Conditions, svcapi.GatewayClassConditionInvalidParameters)
	}
	return r.write(ctx, class, next, apiequality.Semantic.DeepEqual(class.Status, next.Status), was, c)
}

// others reports whether only other instances of the operator serve the Gateways of a class, which has its verdict then.
func (r *SvcAPIClassReconciler) others(class *svcapi.GatewayClass, gateways []*svcapi.Gateway) bool {
	cfg := r.Settings.Current()
	was := apimeta.FindStatusCondition(class.Status.Conditions, svcapi.GatewayClassConditionAdmitted)
	if cfg == nil || was == nil || was.ObservedGeneration != class.Generation || was.Reason == svcapi.GatewayClassReasonWaiting {
		return false
	}
	for i := range gateways {
		owner := model.Owner{Kind: model.SvcAPIGatewayOwner, Namespace: gateways[i].Namespace, Name: gateways[i].Name}
		if _, handover := r.handedOver(gateways[i], owner, cfg); !handover {
			return false // ours, or about to be
		}
	}
	return len(gateways) > 0
}

// SetupWithManager registers a controller that watches nothing yet.
func (r *SvcAPIClassReconciler) SetupWithManager(mgr ctrl.Manager) error {
	return r.setup(mgr, "svcapigatewayclass", r)
}
