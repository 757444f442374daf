// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"strings"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
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
	"github.com/avi-l4-operator/avi-l4-operator/internal/gather"
	"github.com/avi-l4-operator/avi-l4-operator/internal/status"
)

// classes is what the GatewayClass controllers of both APIs share: watches, the finalizer of a class in use, and the judgement
// of its parameters. C is the class' type, G the Gateway's.
type classes[C, G client.Object] struct {
	Deps
	*queue
	Log logr.Logger

	api       gather.API
	finalizer string
	verdict   string // the condition that has it
	accepted  string // the reason of one that is true
	refused   string // the reason of InvalidParameters
	pending   metav1.Condition
	class     C // empty ones, to watch
	gateway   G
	list      func() client.ObjectList
	gateways  func() client.ObjectList
	unsay     func(C) *[]metav1.Condition // removes from a class what others have no use for, and returns the conditions that are left
	unsaid    metav1.ConditionStatus      // of the verdict of a class that nobody answers for
	classOf   func(G) string
	ours      func(C) bool
	setting   func(C) string // the AviInfraSetting that it names; "" for none

	controller controller.Controller
}

// get reads a class. The class is nil if it is gone, or its type is.
func (r *classes[C, G]) get(ctx context.Context, key types.NamespacedName, into C) (found bool, err error) {
	r.Lead()
	if !r.APIs.Serves(r.api) {
		return false, nil
	}
	switch err := r.Client.Get(ctx, key, into); {
	case apierrors.IsNotFound(err):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("reading GatewayClass %s: %w", key.Name, err)
	}
	return true, nil
}

// judge returns the condition that says whether a class can be served, nil if there is nothing new to say. problem is what is wrong with
// the form of the class's parameters.
func (r *classes[C, G]) judge(ctx context.Context, class C, was []metav1.Condition, problem string) (*metav1.Condition, error) {
	refuse := func(format string, args ...any) (*metav1.Condition, error) {
		return &metav1.Condition{Type: r.verdict, Status: metav1.ConditionFalse, Reason: r.refused,
			Message: status.Clip(fmt.Sprintf(format, args...)) + "; Gateways that are served keep what they have, new ones wait"}, nil
	}
	yes := &metav1.Condition{Type: r.verdict, Status: metav1.ConditionTrue, Reason: r.accepted, Message: "served by avi-l4-operator"}
	name := r.setting(class)
	switch {
	case problem != "":
		return refuse("%s", problem)
	case name == "":
		return yes, nil
	case !r.APIs.Serves(gather.InfraSettings):
		return refuse("AviInfraSetting %s can't be read: the API server has no such type; install its CRD", name)
	}
	yes.Message += " with AviInfraSetting " + name
	s := new(v1beta1.AviInfraSetting)
	switch err := r.Client.Get(ctx, types.NamespacedName{Name: name}, s); {
	case apierrors.IsNotFound(err):
		return refuse("there is no AviInfraSetting %s; create it, or fix spec.parametersRef", name)
	case err != nil:
		return nil, fmt.Errorf("reading AviInfraSetting %s: %w", name, err)
	}
	switch j := r.Judge(s); {
	case len(j.Problems) > 0:
		return refuse("AviInfraSetting %s is rejected: %s", name, strings.Join(j.Problems, "; "))
	case j.Known:
		return yes, nil
	}
	if c := apimeta.FindStatusCondition(was, r.verdict); c != nil && c.ObservedGeneration == class.GetGeneration() {
		return nil, nil
	}
	pending := r.pending
	pending.Type, pending.Message = r.verdict, "the Controller could not be asked yet about AviInfraSetting "+name
	return &pending, nil
}

// write patches a class' status, and emits a Warning when parameters that can't be used are first found.
func (r *classes[C, G]) write(ctx context.Context, class, next C, same bool, was []metav1.Condition,
	c *metav1.Condition) (ctrl.Result, error) {
	if err := r.Status.Patch(ctx, class, next, same); err != nil {
		return resultOf(ctx, client.IgnoreNotFound(err))
	}
	if same {
		return ctrl.Result{}, nil
	}
	if before := apimeta.FindStatusCondition(was, c.Type); c.Reason == r.refused && (before == nil || before.Message != c.Message) {
		r.Status.Warn(class, c.Reason, c.Message)
	}
	return ctrl.Result{}, nil
}

// finalize keeps the API's finalizer on a class while Gateways use it, unless the type itself is being removed, or nothing of
// ours is to be left behind.
func (r *classes[C, G]) finalize(ctx context.Context, class C, used bool) error {
	leaves := class.GetDeletionTimestamp() != nil
	switch held := controllerutil.ContainsFinalizer(class, r.finalizer); {
	case leaves && used:
		leaving, err := r.APIs.Leaving(ctx, r.api)
		if err != nil {
			return err
		}
		used = !leaving
	case leaves && held: // the cache may not have a Gateway yet that names the class
		var err error
		if used, err = r.usedOnServer(ctx, class.GetName()); err != nil {
			return err
		}
	}
	if cfg := r.Settings.Current(); cfg != nil && cfg.DeleteConfig {
		used = false
	}
	before, changed := class.DeepCopyObject().(C), false
	switch {
	case used && !leaves:
		changed = controllerutil.AddFinalizer(class, r.finalizer)
	case !used:
		changed = controllerutil.RemoveFinalizer(class, r.finalizer)
	}
	if !changed {
		return nil
	}
	if err := r.Client.Patch(ctx, class, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("changing the finalizers of GatewayClass %s: %w", class.GetName(), err)
	}
	return nil
}

// usedOnServer asks the API server itself whether a Gateway names a class.
func (r *classes[C, G]) usedOnServer(ctx context.Context, class string) (used bool, err error) {
	all := r.gateways()
	switch err := r.Live.List(ctx, all); {
	case apimeta.IsNoMatchError(err), apierrors.IsNotFound(err):
		return false, nil // the API server has no Gateways
	case err != nil:
		return false, fmt.Errorf("asking the API server whether a Gateway uses GatewayClass %s: %w", class, err)
	}
	return used, apimeta.EachListItem(all, func(o runtime.Object) error {
		gw, ok := o.(G)
		used = used || ok && r.classOf(gw) == class
		return nil
	})
}

// All queues every class.
func (r *classes[C, G]) All() { r.some(func(C) bool { return true }) }

// OfSetting queues the classes that name an AviInfraSetting.
func (r *classes[C, G]) OfSetting(name string) {
	r.some(func(c C) bool { return r.setting(c) == name })
}

func (r *classes[C, G]) some(which func(C) bool) {
	if !r.APIs.Synced(r.api) {
		return
	}
	all := r.list()
	if err := r.Client.List(context.Background(), all, client.UnsafeDisableDeepCopy); err != nil {
		r.Log.Error(err, "listing GatewayClasses from the cache")
		return
	}
	_ = apimeta.EachListItem(all, func(o runtime.Object) error {
		if c := o.(C); which(c) {
			r.enqueue(client.ObjectKeyFromObject(c))
		}
		return nil
	})
}

// setup registers a controller that watches nothing yet.
func (r *classes[C, G]) setup(mgr ctrl.Manager, name string, reconciler reconcile.Reconciler) error {
	c, err := ctrl.NewControllerManagedBy(mgr).
		Named(name).
		WatchesRawSource(r.capture()).
		WithOptions(controller.Options{RateLimiter: rateLimiter(), ReconciliationTimeout: r.Timeout}).
		Build(reconciler)
	r.controller = c
	return err
}

// Watch begins to watch GatewayClasses and the Gateways that use them, which the API server has.
func (r *classes[C, G]) Watch(c cache.Cache, api gather.API) error {
	if api != r.api {
		return nil
	}
	return watch(r.controller, []source.Source{
		source.Kind(c, client.Object(r.class), &handler.EnqueueRequestForObject{}, specChanged()),
		source.Kind(c, client.Object(r.gateway), mapped(r.ofGateway), specChanged()),
	})
}

func (r *classes[C, G]) ofGateway(_ context.Context, o client.Object) []reconcile.Request {
	if gw, ok := o.(G); ok {
		return requestsFor(types.NamespacedName{Name: r.classOf(gw)})
	}
	return nil
}

// Refers implements part: a class may name an AviInfraSetting.
func (r *classes[C, G]) Refers(api gather.API) bool { return api == gather.InfraSettings }

// Usage says which AviInfraSetting a class names for its Gateways.
func (r *classes[C, G]) Usage() usage {
	return usage{api: r.api, object: r.class, changed: specChanged(), setting: func(_ context.Context, o client.Object) string {
		if class, ok := o.(C); ok {
			return r.setting(class)
		}
		return ""
	}}
}
