package controllers

import (
	"context"
	"errors"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/avi-l4-operator/avi-l4-operator/internal/gather"
	"github.com/avi-l4-operator/avi-l4-operator/internal/mirror"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/outcome"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
	"github.com/avi-l4-operator/avi-l4-operator/internal/status"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
)

// +kubebuilder:rbac:groups="",resources=services,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups="",resources=services/status,verbs=patch
// +kubebuilder:rbac:groups="",resources=namespaces,verbs=get;list;watch
// +kubebuilder:rbac:groups=discovery.k8s.io,resources=endpointslices,verbs=get;list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// ServiceReconciler serves Services of type LoadBalancer.
type ServiceReconciler struct{ *owners }

// NewServiceReconciler makes one; SetupWithManager registers it.
func NewServiceReconciler(d Deps, log logr.Logger) *ServiceReconciler {
	return &ServiceReconciler{newOwners(d, model.ServiceOwner, log)}
}

// Reconcile brings one Service's objects on the Controller, and its status, to what it asks for.
func (r *ServiceReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	r.Lead()
	svc, ns, err := r.Gather.Service(ctx, req.NamespacedName)
	if err != nil {
		return ctrl.Result{}, err
	}
	cfg := r.Settings.Current()
	if svc == nil {
		return r.orphan(ctx, cfg, req.NamespacedName, new(corev1.Service))
	}
	if cfg == nil {
		return r.unconfigured(ctx, svc, ns)
	}
	if cfg.Layer7Only && svc.DeletionTimestamp == nil {
		return ctrl.Result{}, nil
	}
	ours, why := translate.Ours(cfg, svc, ns)
	if svc.DeletionTimestamp != nil {
		ours, why = false, "the Service is being deleted"
	}
	other, handover := handedOver(svc, cfg)
	switch {
	case handover && (ours || svc.DeletionTimestamp != nil):
		r.tellOnce(svc, model.ReasonServedByAnother, servedByAnother(r.Kind, other))
		return ctrl.Result{}, nil
	case handover:
		return ctrl.Result{}, nil // another instance's
	case !ours:
		if translate.Deselected(cfg, svc, ns) && svc.DeletionTimestamp == nil {
			if err := r.deselect(svc, cfg); err != nil {
				return r.keep(ctx, svc, why, err)
			}
		} else {
			r.Guard.settle(r.ownerOf(svc))
		}
		return r.release(ctx, cfg, svc, ns, why, unlessDeleted(svc, func() error { return r.Status.Clear(ctx, svc) }), func() {})
	}
	r.Guard.settle(r.ownerOf(svc))
	if err := r.claim(ctx, svc, cfg.Instance()); err != nil {
		return resultOf(ctx, client.IgnoreNotFound(err))
	}
	in, err := r.Gather.ServiceInput(ctx, cfg, svc, ns)
	if err != nil {
		return ctrl.Result{}, err
	}
	out, pending := r.serve(ctx, in)
	asked := r.askForPorts(ctx, cfg, svc)
	if out.State() == outcome.Unread && !worthTelling(svc, out.Retry()) {
		return resultOf(ctx, out.Retry())
	}
	if err := r.Status.Service(ctx, svc, out, r.Engine.ClusterUUID()); err != nil {
		return resultOf(ctx, client.IgnoreNotFound(err))
	}
	if pending {
		return ctrl.Result{RequeueAfter: spread(addressPoll)}, nil
	}
	if out.Retry() == nil && asked != nil {
		return resultOf(ctx, client.IgnoreNotFound(asked))
	}
	return resultOf(ctx, out.Retry())
}

// worthTelling: that the Controller can't be read is told to a Service that waits for it, not to one that is served
// already, whose status would otherwise change twice at each restart.
func worthTelling(svc *corev1.Service, err error) bool {
	return !errors.Is(err, mirror.ErrNotLoaded) && !apimeta.IsStatusConditionTrue(svc.Status.Conditions, status.Programmed)
}

// unconfigured tells a Service that would be ours by AKO's defaults why nothing happens. It says nothing while the
// settings have yet to be read, which queues every Service anew, nor to a Service that is served already.
func (r *ServiceReconciler) unconfigured(ctx context.Context, svc *corev1.Service, ns *corev1.Namespace) (ctrl.Result, error) {
	ok, _ := translate.Ours(&settings.Settings{DefaultLB: true}, svc, ns)
	if svc.DeletionTimestamp != nil && controllerutil.ContainsFinalizer(svc, gather.Finalizer) && r.Settings.Read() {
		r.tellOnce(svc, "DeletingLoadBalancerFailed", configurationError(r.Settings).Error())
	}
	if !ok || svc.DeletionTimestamp != nil || !r.Settings.Read() || apimeta.IsStatusConditionTrue(svc.Status.Conditions, status.Programmed) {
		return ctrl.Result{}, nil
	}
	finding := model.Finding{Severity: model.Blocked, Reason: model.ReasonConfigurationInvalid, Message: configurationError(r.Settings).Error()}
	out := outcome.NewUnasked(finding)
	return resultOf(ctx, r.Status.Service(ctx, svc, out, ""))
}

// All queues every Service that is or was a load balancer.
func (r *ServiceReconciler) All() {
	var all corev1.ServiceList
	if err := r.Client.List(context.Background(), &all, client.UnsafeDisableDeepCopy); err != nil {
		r.Log.Error(err, "listing Services from the cache")
		return
	}
	for i := range all.Items {
		if relevant(&all.Items[i]) {
			r.enqueue(client.ObjectKeyFromObject(&all.Items[i]))
		}
	}
}

// SetupWithManager registers the watches.
func (r *ServiceReconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("service").
		For(&corev1.Service{}, builder.WithPredicates(servicePredicate())).
		Watches(&discoveryv1.EndpointSlice{}, r.sliceHandler()).
		Watches(&corev1.Namespace{}, handler.EnqueueRequestsFromMapFunc(r.servicesOf), builder.WithPredicates(predicate.Or(predicate.LabelChangedPredicate{}, predicate.AnnotationChangedPredicate{}))).
		WatchesRawSource(r.capture()).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: r.Workers,
			RateLimiter:             rateLimiter(),
			ReconciliationTimeout:   r.Timeout,
			EnableWarmup:            new(true),
		}).
		Complete(r)
}

// servicePredicate lets through Services that are or were load balancers. There is no look at the generation: Services
// have none. A change of the status alone is let through only if our conditions went with it: our own writes would
// otherwise run each Service twice, and one that is refused with ever new words, for ever.
func servicePredicate() predicate.Predicate {
	is := func(o client.Object) bool {
		svc, ok := o.(*corev1.Service)
		return ok && relevant(svc)
	}
	return predicate.Funcs{
		CreateFunc: func(e event.CreateEvent) bool { return is(e.Object) },
		UpdateFunc: func(e event.UpdateEvent) bool {
			return (is(e.ObjectOld) || is(e.ObjectNew)) && !statusOnly(e.ObjectOld, e.ObjectNew)
		},
		DeleteFunc:  func(e event.DeleteEvent) bool { return is(e.Object) },
		GenericFunc: func(event.GenericEvent) bool { return true },
	}
}

func statusOnly(before, after client.Object) bool {
	b, okB := before.(*corev1.Service)
	a, okA := after.(*corev1.Service)
	if !okA || !okB || a.ResourceVersion == b.ResourceVersion || apimeta.FindStatusCondition(a.Status.Conditions, status.Programmed) == nil {
		return false
	}
	// The annotations that we write with the status are not what anybody asks for either.
	return apiequality.Semantic.DeepEqual(a.Spec, b.Spec) && apiequality.Semantic.DeepEqual(a.Labels, b.Labels) &&
		apiequality.Semantic.DeepEqual(a.Finalizers, b.Finalizers) && a.DeletionTimestamp.Equal(b.DeletionTimestamp) &&
		apiequality.Semantic.DeepEqual(status.Asked(a), status.Asked(b)) &&
		len(a.Status.LoadBalancer.Ingress) >= len(b.Status.LoadBalancer.Ingress)
}

// Named queues the Services whose VirtualService has that name behind the prefix: who waited for it may have it.
func (r *ServiceReconciler) Named(name string) {
	var list corev1.ServiceList
	if err := r.Client.List(context.Background(), &list, client.MatchingFields{gather.IndexVirtualService: name}, client.UnsafeDisableDeepCopy); err != nil {
		r.Log.Error(err, "listing Services of one name on the Controller")
		return
	}
	for i := range list.Items {
		r.enqueue(client.ObjectKeyFromObject(&list.Items[i]))
	}
}

func (r *ServiceReconciler) servicesOf(ctx context.Context, ns client.Object) []reconcile.Request {
	var list corev1.ServiceList
	if err := r.Client.List(ctx, &list, client.InNamespace(ns.GetName()), client.UnsafeDisableDeepCopy); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "listing Services of a namespace", "namespace", ns.GetName())
		return nil
	}
	var out []reconcile.Request
	for i := range list.Items {
		if relevant(&list.Items[i]) {
			out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
		}
	}
	return out
}

// sliceHandler queues the Service of an EndpointSlice after a moment in which more of the same may come: a rollout
// changes endpoints many times, and each change of a pool is a call.
func (r *ServiceReconciler) sliceHandler() handler.EventHandler {
	return onSlices(func(service types.NamespacedName, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
		q.AddAfter(reconcile.Request{NamespacedName: service}, r.calm.delay(service, time.Now()))
	})
}

// onSlices tells the Service of each EndpointSlice that changes.
func onSlices(tell func(service types.NamespacedName, q workqueue.TypedRateLimitingInterface[reconcile.Request])) handler.EventHandler {
	each := func(o client.Object, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
		if name := o.GetLabels()[discoveryv1.LabelServiceName]; name != "" {
			tell(types.NamespacedName{Namespace: o.GetNamespace(), Name: name}, q)
		}
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			each(e.Object, q)
		},
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			each(e.ObjectNew, q)
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			each(e.Object, q)
		},
	}
}
