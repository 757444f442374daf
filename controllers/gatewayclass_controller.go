// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/go-logr/logr"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/avi-l4-operator/avi-l4-operator/internal/gather"
)

// +kubebuilder:rbac:groups=gateway.networking.k8s.io,resources=gatewayclasses,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=gateway.networking.k8s.io,resources=gatewayclasses/status,verbs=patch

// supportedRelease is the release of the Gateway API that the operator is written for, and tested with.
const supportedRelease = "v1.6.3"

// supportedFeatures are, by name, those of the API's conformance suite that the operator claims. What is our own, SCTP, has no
// name there.
var supportedFeatures = []gatewayv1.SupportedFeature{
	{Name: "Gateway"}, {Name: "GatewayAddressEmpty"}, {Name: "GatewayStaticAddresses"}, {Name: "ListenerSet"}, {Name: "ReferenceGrant"},
	{Name: "TCPRoute"}, {Name: "UDPRoute"},
}

// ClassReconciler accepts the GatewayClasses of gateway.networking.k8s.io that are ours, and keeps one that is in use
// from being deleted.
type ClassReconciler struct {
	classes[*gatewayv1.GatewayClass, *gatewayv1.Gateway]
}

// newClassReconciler makes one; SetupWithManager registers it, and Watch switches it on.
func newClassReconciler(d Deps, log logr.Logger) *ClassReconciler {
	return &ClassReconciler{classes[*gatewayv1.GatewayClass, *gatewayv1.Gateway]{
		Deps: d, queue: new(queue), Log: log, api: gather.GatewayAPI, finalizer: gatewayv1.GatewayClassFinalizerGatewaysExist,
		verdict: string(gatewayv1.GatewayClassConditionStatusAccepted), accepted: string(gatewayv1.GatewayClassReasonAccepted),
		refused: string(gatewayv1.GatewayClassReasonInvalidParameters),
		pending: metav1.Condition{Status: metav1.ConditionUnknown, Reason: string(gatewayv1.GatewayClassReasonPending)},
		class:   &gatewayv1.GatewayClass{}, gateway: &gatewayv1.Gateway{},
		list:     func() client.ObjectList { return new(gatewayv1.GatewayClassList) },
		gateways: func() client.ObjectList { return new(gatewayv1.GatewayList) }, unsaid: metav1.ConditionUnknown,
		unsay: func(c *gatewayv1.GatewayClass) *[]metav1.Condition {
			apimeta.RemoveStatusCondition(&c.Status.Conditions, string(gatewayv1.GatewayClassConditionStatusSupportedVersion))
			c.Status.SupportedFeatures = nil
			return &c.Status.Conditions
		},
		classOf: func(gw *gatewayv1.Gateway) string { return string(gw.Spec.GatewayClassName) },
		ours: func(c *gatewayv1.GatewayClass) bool {
			return slices.Contains(d.Gather.ControllerNames, string(c.Spec.ControllerName))
		},
		setting: func(c *gatewayv1.GatewayClass) string {
			if c.Spec.ParametersRef == nil {
				return ""
			}
			return c.Spec.ParametersRef.Name
		},
	}}
}

// Reconcile writes one class' status and finalizer.
func (r *ClassReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	class := new(gatewayv1.GatewayClass)
	found, err := r.get(ctx, req.NamespacedName, class)
	if err != nil || !found || !slices.Contains(r.Gather.ControllerNames, string(class.Spec.ControllerName)) {
		return ctrl.Result{}, err
	}
	gateways, err := gather.Gateways{Reader: r.Gather}.List(ctx)
	if err != nil {
		return ctrl.Result{}, err
	}
	used := slices.ContainsFunc(gateways, func(gw *gatewayv1.Gateway) bool { return string(gw.Spec.GatewayClassName) == class.Name })
	if err := r.finalize(ctx, class, used); err != nil {
		return resultOf(ctx, client.IgnoreNotFound(err))
	}
	if class.DeletionTimestamp != nil {
		return ctrl.Result{}, nil
	}
	was := class.Status.Conditions
	accepted, err := r.judge(ctx, class, was, gather.ParametersProblem(class))
	if err != nil || accepted == nil {
		return ctrl.Result{}, err
	}
	next := class.DeepCopy()
	for _, c := range []metav1.Condition{*accepted, supportedVersion(r.APIs.Bundle(ctx))} {
		c.ObservedGeneration, c.LastTransitionTime = class.Generation, metav1.NewTime(r.Status.Now())
		apimeta.SetStatusCondition(&next.Status.Conditions, c)
	}
	next.Status.SupportedFeatures = supportedFeatures
	return r.write(ctx, class, next, apiequality.Semantic.DeepEqual(class.Status, next.Status), was, accepted)
}

// supportedVersion compares the release of the installed CRDs with the operator's own. Another one of the same minor release
// is as good; an older or newer one is served as well as it goes.
func supportedVersion(bundle []string) metav1.Condition {
	c := metav1.Condition{Type: string(gatewayv1.GatewayClassConditionStatusSupportedVersion), Status: metav1.ConditionTrue,
		Reason:  string(gatewayv1.GatewayClassReasonSupportedVersion),
		Message: "the CRDs are of release " + strings.Join(bundle, ", ")}
	minor := supportedRelease[:strings.LastIndex(supportedRelease, ".")+1]
	for _, v := range bundle {
		if !strings.HasPrefix(v, minor) {
			c.Status, c.Reason = metav1.ConditionFalse, string(gatewayv1.GatewayClassReasonUnsupportedVersion)
			c.Message = fmt.Sprintf("the CRDs are of release %q; this operator is written for %s and serves others as well as it can", strings.Join(bundle, ", "), supportedRelease)
		}
	}
	return c
}

// SetupWithManager registers a controller that watches nothing yet.
func (r *ClassReconciler) SetupWithManager(mgr ctrl.Manager) error {
	return r.setup(mgr, "gatewayclass", r)
}
