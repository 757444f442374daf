package controllers

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/go-logr/logr"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1beta1"
	"github.com/avi-l4-operator/avi-l4-operator/internal/gather"
	"github.com/avi-l4-operator/avi-l4-operator/internal/status"
)

// +kubebuilder:rbac:groups=gateway.networking.k8s.io,resources=gatewayclasses,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=gateway.networking.k8s.io,resources=gatewayclasses/status,verbs=patch

// supportedRelease is the release of the Gateway API that the operator is written for, and tested with.
const supportedRelease = "v1.6.3"

// supportedFeatures are, by name, those of the API's conformance suite that the operator claims. What is our own, SCTP, has no
// name there.
var supportedFeatures = []gatewayv1.SupportedFeature{
	{Name: "Gateway"}, {Name: "GatewayAddressEmpty"}, {Name: "GatewayStaticAddresses"}, {Name: "ListenerSet"}, {Name: "ReferenceGrant"}, {Name: "TCPRoute"}, {Name: "UDPRoute"},
}

// RoutedClassReconciler accepts the GatewayClasses of gateway.networking.k8s.io that are ours, and keeps one that is in use
// from being deleted.
type RoutedClassReconciler struct {
	Deps
	APIs *APIs
	Log  logr.Logger

	owners     *owners // for its queue
	controller controller.Controller
}

// Reconcile writes one class' status and finalizer.
func (r *RoutedClassReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	r.Lead()
	if !r.APIs.Serves(gather.GatewayAPI) {
		return ctrl.Result{}, nil
	}
	class := new(gatewayv1.GatewayClass)
	if err := r.Client.Get(ctx, req.NamespacedName, class); err != nil {
		if apierrors.IsNotFound(err) {
			return ctrl.Result{}, nil
		}
		return ctrl.Result{}, fmt.Errorf("reading GatewayClass %s: %w", req.Name, err)
	}
	if !slices.Contains(r.Gather.ControllerNames, string(class.Spec.ControllerName)) {
		return ctrl.Result{}, nil
	}
	if err := r.finalize(ctx, class); err != nil {
		return resultOf(ctx, client.IgnoreNotFound(err))
	}
	if class.DeletionTimestamp != nil {
		return ctrl.Result{}, nil
	}
	accepted, err := r.accepted(ctx, class)
	if err != nil || accepted == nil {
		return ctrl.Result{}, err
	}
	next := class.DeepCopy()
	for _, c := range []metav1.Condition{*accepted, supportedVersion(r.APIs.Bundle(ctx))} {
		c.ObservedGeneration, c.LastTransitionTime = class.Generation, metav1.NewTime(r.Status.Now())
		apimeta.SetStatusCondition(&next.Status.Conditions, c)
	}
	next.Status.SupportedFeatures = supportedFeatures
	if apiequality.Semantic.DeepEqual(class.Status, next.Status) {
		return ctrl.Result{}, nil
	}
	if err := r.Client.Status().Patch(ctx, next, client.MergeFromWithOptions(class, client.MergeFromWithOptimisticLock{})); err != nil {
		return resultOf(ctx, client.IgnoreNotFound(fmt.Errorf("writing the status of GatewayClass %s: %w", class.Name, err)))
	}
	if was := apimeta.FindStatusCondition(class.Status.Conditions, accepted.Type); accepted.Reason == string(gatewayv1.GatewayClassReasonInvalidParameters) && (was == nil || was.Message != accepted.Message) {
		r.Status.Warn(class, accepted.Reason, accepted.Message)
	}
	return ctrl.Result{}, nil
}

// supportedVersion compares the release of the installed CRDs with the operator's own. Another one of the same minor release
// is as good; an older or newer one is served as well as it goes.
func supportedVersion(bundle []string) metav1.Condition {
	c := metav1.Condition{Type: string(gatewayv1.GatewayClassConditionStatusSupportedVersion), Status: metav1.ConditionTrue, Reason: string(gatewayv1.GatewayClassReasonSupportedVersion),
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

// accepted judges the class' parameters; nil if there is nothing new to say.
func (r *RoutedClassReconciler) accepted(ctx context.Context, class *gatewayv1.GatewayClass) (*metav1.Condition, error) {
	kind := string(gatewayv1.GatewayClassConditionStatusAccepted)
	refused := func(message string) *metav1.Condition {
		return &metav1.Condition{Type: kind, Status: metav1.ConditionFalse, Reason: string(gatewayv1.GatewayClassReasonInvalidParameters),
			Message: status.Clip(message) + "; Gateways that are served keep what they have, new ones wait"}
	}
	yes := &metav1.Condition{Type: kind, Status: metav1.ConditionTrue, Reason: string(gatewayv1.GatewayClassReasonAccepted), Message: "served by avi-l4-operator"}
	if problem := gather.RoutedParametersProblem(class); problem != "" {
		return refused(problem), nil
	}
	ref := class.Spec.ParametersRef
	if ref == nil {
		return yes, nil
	}
	yes.Message += " with AviInfraSetting " + ref.Name
	if !r.APIs.Serves(gather.InfraSettings) {
		return refused(fmt.Sprintf("AviInfraSetting %s can't be read: the API server has no such type; install its CRD", ref.Name)), nil
	}
	s := new(v1beta1.AviInfraSetting)
	err := r.Client.Get(ctx, types.NamespacedName{Name: ref.Name}, s)
	if apierrors.IsNotFound(err) {
		return refused(fmt.Sprintf("there is no AviInfraSetting %s; create it, or mend spec.parametersRef", ref.Name)), nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading AviInfraSetting %s: %w", ref.Name, err)
	}
	switch j := r.Judge(s); {
	case len(j.Problems) > 0:
		return refused(fmt.Sprintf("AviInfraSetting %s is rejected: %s", ref.Name, strings.Join(j.Problems, "; "))), nil
	case j.Known:
		return yes, nil
	}
	if was := apimeta.FindStatusCondition(class.Status.Conditions, kind); was != nil && was.ObservedGeneration == class.Generation {
		return nil, nil
	}
	return &metav1.Condition{Type: kind, Status: metav1.ConditionUnknown, Reason: string(gatewayv1.GatewayClassReasonPending),
		Message: "the Controller could not be asked yet about AviInfraSetting " + ref.Name}, nil
}

// finalize keeps the API's finalizer on the class while Gateways use it, unless the type itself is being removed.
func (r *RoutedClassReconciler) finalize(ctx context.Context, class *gatewayv1.GatewayClass) error {
	gateways, err := r.Gather.RoutedGateways(ctx)
	if err != nil {
		return err
	}
	cfg := r.Settings.Current()
	used := (cfg == nil || !cfg.DeleteConfig) && slices.ContainsFunc(gateways, func(gw gatewayv1.Gateway) bool { return string(gw.Spec.GatewayClassName) == class.Name })
	if class.DeletionTimestamp != nil && used {
		leaving, err := r.APIs.Leaving(ctx, gather.GatewayAPI)
		if err != nil {
			return err
		}
		used = !leaving
	}
	before := class.DeepCopy()
	changed := false
	switch {
	case used && class.DeletionTimestamp == nil:
		changed = controllerutil.AddFinalizer(class, gatewayv1.GatewayClassFinalizerGatewaysExist)
	case !used:
		changed = controllerutil.RemoveFinalizer(class, gatewayv1.GatewayClassFinalizerGatewaysExist)
	}
	if !changed {
		return nil
	}
	if err := r.Client.Patch(ctx, class, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("changing the finalizers of GatewayClass %s: %w", class.Name, err)
	}
	return nil
}

// All queues every class.
func (r *RoutedClassReconciler) All() { r.some(func(*gatewayv1.GatewayClass) bool { return true }) }

// ofSetting queues the classes that name an AviInfraSetting.
func (r *RoutedClassReconciler) ofSetting(name string) {
	r.some(func(c *gatewayv1.GatewayClass) bool {
		return c.Spec.ParametersRef != nil && c.Spec.ParametersRef.Name == name
	})
}

func (r *RoutedClassReconciler) some(which func(*gatewayv1.GatewayClass) bool) {
	if !r.APIs.Synced(gather.GatewayAPI) {
		return
	}
	var all gatewayv1.GatewayClassList
	if err := r.Client.List(context.Background(), &all, client.UnsafeDisableDeepCopy); err != nil {
		r.Log.Error(err, "listing GatewayClasses from the cache")
		return
	}
	for i := range all.Items {
		if which(&all.Items[i]) {
			r.owners.enqueue(client.ObjectKeyFromObject(&all.Items[i]))
		}
	}
}

// SetupWithManager registers a controller that watches nothing yet.
func (r *RoutedClassReconciler) SetupWithManager(mgr ctrl.Manager) error {
	r.owners = newOwners(r.Deps, "", r.Log)
	c, err := ctrl.NewControllerManagedBy(mgr).
		Named("routedgatewayclass").
		WatchesRawSource(r.owners.capture()).
		WithOptions(controller.Options{RateLimiter: rateLimiter(), ReconciliationTimeout: r.Timeout}).
		Build(r)
	r.controller = c
	return err
}

// Watch begins to watch GatewayClasses and the Gateways that use them, which the API server has.
func (r *RoutedClassReconciler) Watch(c cache.Cache) error {
	ofGateway := handler.EnqueueRequestsFromMapFunc(func(_ context.Context, o client.Object) []reconcile.Request {
		if gw, ok := o.(*gatewayv1.Gateway); ok {
			return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: string(gw.Spec.GatewayClassName)}}}
		}
		return nil
	})
	for _, s := range []source.Source{
		source.Kind(c, client.Object(&gatewayv1.GatewayClass{}), &handler.EnqueueRequestForObject{}, specChanged()),
		source.Kind(c, client.Object(&gatewayv1.Gateway{}), ofGateway, specChanged()),
	} {
		if err := r.controller.Watch(s); err != nil {
			return fmt.Errorf("watching GatewayClasses: %w", err)
		}
	}
	return nil
}
