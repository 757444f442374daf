package controllers

import (
	"context"
	"fmt"
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

	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1beta1"
	servicesapi "github.com/avi-l4-operator/avi-l4-operator/api/networking/v1alpha1"
	"github.com/avi-l4-operator/avi-l4-operator/internal/build"
	"github.com/avi-l4-operator/avi-l4-operator/internal/gather"
	"github.com/avi-l4-operator/avi-l4-operator/internal/status"
)

// GatewayClassReconciler admits the GatewayClasses of the Services API that are ours, and keeps one that is in use from
// being deleted.
type GatewayClassReconciler struct {
	Deps
	APIs *APIs
	Log  logr.Logger

	owners     *owners // for its queue
	controller controller.Controller
}

// Reconcile writes one class' status and finalizer.
func (r *GatewayClassReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	r.Lead()
	if !r.APIs.Serves(gather.ServicesAPI) {
		return ctrl.Result{}, nil
	}
	class := new(servicesapi.GatewayClass)
	if err := r.Client.Get(ctx, req.NamespacedName, class); err != nil {
		if apierrors.IsNotFound(err) {
			return ctrl.Result{}, nil
		}
		return ctrl.Result{}, fmt.Errorf("reading GatewayClass %s: %w", req.Name, err)
	}
	if class.Spec.Controller != build.GatewayController {
		return ctrl.Result{}, nil // its new controller's, finalizer and all
	}
	if err := r.finalize(ctx, class); err != nil {
		return resultOf(ctx, client.IgnoreNotFound(err))
	}
	if class.DeletionTimestamp != nil {
		return ctrl.Result{}, nil
	}
	if theirs, err := r.others(ctx, class); theirs || err != nil {
		return ctrl.Result{}, err
	}
	c, err := r.admitted(ctx, class)
	if err != nil || c == nil {
		return ctrl.Result{}, err
	}
	next := class.DeepCopy()
	c.ObservedGeneration, c.LastTransitionTime = class.Generation, metav1.NewTime(r.Status.Now())
	apimeta.SetStatusCondition(&next.Status.Conditions, *c)
	if c.Status == metav1.ConditionTrue { // the first release's CRD puts it there
		apimeta.RemoveStatusCondition(&next.Status.Conditions, servicesapi.GatewayClassConditionInvalidParameters)
	}
	if apiequality.Semantic.DeepEqual(class.Status, next.Status) {
		return ctrl.Result{}, nil
	}
	if err := r.Client.Status().Patch(ctx, next, client.MergeFromWithOptions(class, client.MergeFromWithOptimisticLock{})); err != nil {
		return resultOf(ctx, client.IgnoreNotFound(fmt.Errorf("writing the status of GatewayClass %s: %w", class.Name, err)))
	}
	if was := apimeta.FindStatusCondition(class.Status.Conditions, c.Type); c.Reason == servicesapi.GatewayClassReasonInvalidParameters && (was == nil || was.Message != c.Message) {
		r.Status.Warn(class, c.Reason, c.Message)
	}
	return ctrl.Result{}, nil
}

// others tells whether only other instances of the operator serve Gateways of the class, which has its verdict then.
func (r *GatewayClassReconciler) others(ctx context.Context, class *servicesapi.GatewayClass) (bool, error) {
	cfg := r.Settings.Current()
	was := apimeta.FindStatusCondition(class.Status.Conditions, servicesapi.GatewayClassConditionAdmitted)
	if cfg == nil || was == nil || was.ObservedGeneration != class.Generation || was.Reason == servicesapi.GatewayClassReasonWaiting {
		return false, nil
	}
	gateways, err := r.Gather.Gateways(ctx)
	if err != nil {
		return false, err
	}
	theirs := false
	for i := range gateways {
		gw := &gateways[i]
		if gw.Spec.GatewayClassName != class.Name {
			continue
		}
		if _, handover := handedOver(gw, cfg); !handover {
			return false, nil // ours, or about to be
		}
		theirs = true
	}
	return theirs, nil
}

// admitted judges the class' parameters; nil if there is nothing new to say.
func (r *GatewayClassReconciler) admitted(ctx context.Context, class *servicesapi.GatewayClass) (*metav1.Condition, error) {
	refused := func(message string) *metav1.Condition {
		return &metav1.Condition{Type: servicesapi.GatewayClassConditionAdmitted, Status: metav1.ConditionFalse, Reason: servicesapi.GatewayClassReasonInvalidParameters,
			Message: status.Clip(message) + "; Gateways that are served keep what they have, new ones wait"}
	}
	yes := &metav1.Condition{Type: servicesapi.GatewayClassConditionAdmitted, Status: metav1.ConditionTrue, Reason: servicesapi.GatewayClassReasonAdmitted, Message: "served by avi-l4-operator"}
	if problem := gather.ParametersProblem(class); problem != "" {
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
	if was := apimeta.FindStatusCondition(class.Status.Conditions, servicesapi.GatewayClassConditionAdmitted); was != nil && was.ObservedGeneration == class.Generation {
		return nil, nil
	}
	return &metav1.Condition{Type: servicesapi.GatewayClassConditionAdmitted, Status: metav1.ConditionFalse, Reason: servicesapi.GatewayClassReasonWaiting,
		Message: "the Controller could not be asked yet about AviInfraSetting " + ref.Name}, nil
}

// finalize keeps the API's finalizer on the class while Gateways use it, unless the type itself is being removed.
func (r *GatewayClassReconciler) finalize(ctx context.Context, class *servicesapi.GatewayClass) error {
	gateways, err := r.Gather.Gateways(ctx)
	if err != nil {
		return err
	}
	used := false
	cfg := r.Settings.Current()
	for i := range gateways {
		if cfg != nil && cfg.DeleteConfig {
			break // nothing of ours is to be left behind
		}
		used = used || gateways[i].Spec.GatewayClassName == class.Name
	}
	if class.DeletionTimestamp != nil && used {
		if leaving, err := r.APIs.Leaving(ctx, gather.ServicesAPI); err != nil {
			return err
		} else if leaving {
			used = false
		}
	}
	before := class.DeepCopy()
	changed := false
	switch {
	case used && class.DeletionTimestamp == nil:
		changed = controllerutil.AddFinalizer(class, servicesapi.GatewayClassFinalizer)
	case !used:
		changed = controllerutil.RemoveFinalizer(class, servicesapi.GatewayClassFinalizer)
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
func (r *GatewayClassReconciler) All() { r.some(func(*servicesapi.GatewayClass) bool { return true }) }

// ofSetting queues the classes that name an AviInfraSetting.
func (r *GatewayClassReconciler) ofSetting(name string) {
	r.some(func(c *servicesapi.GatewayClass) bool {
		return c.Spec.ParametersRef != nil && c.Spec.ParametersRef.Name == name
	})
}

func (r *GatewayClassReconciler) some(which func(*servicesapi.GatewayClass) bool) {
	if !r.APIs.Synced(gather.ServicesAPI) {
		return
	}
	var all servicesapi.GatewayClassList
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
func (r *GatewayClassReconciler) SetupWithManager(mgr ctrl.Manager) error {
	r.owners = newOwners(r.Deps, "", r.Log)
	c, err := ctrl.NewControllerManagedBy(mgr).
		Named("gatewayclass").
		WatchesRawSource(r.owners.capture()).
		WithOptions(controller.Options{RateLimiter: rateLimiter(), ReconciliationTimeout: r.Timeout}).
		Build(r)
	r.controller = c
	return err
}

// Watch begins to watch GatewayClasses and the Gateways that use them, which the API server has.
func (r *GatewayClassReconciler) Watch(c cache.Cache) error {
	ofGateway := handler.EnqueueRequestsFromMapFunc(func(_ context.Context, o client.Object) []reconcile.Request {
		if gw, ok := o.(*servicesapi.Gateway); ok {
			return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: gw.Spec.GatewayClassName}}}
		}
		return nil
	})
	for _, s := range []source.Source{
		source.Kind(c, client.Object(&servicesapi.GatewayClass{}), &handler.EnqueueRequestForObject{}, specChanged()),
		source.Kind(c, client.Object(&servicesapi.Gateway{}), ofGateway, specChanged()),
	} {
		if err := r.controller.Watch(s); err != nil {
			return fmt.Errorf("watching GatewayClasses: %w", err)
		}
	}
	return nil
}
