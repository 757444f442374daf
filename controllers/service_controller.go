package controllers

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/avi-l4-operator/avi-l4-operator/internal/build"
	"github.com/avi-l4-operator/avi-l4-operator/internal/engine"
	"github.com/avi-l4-operator/avi-l4-operator/internal/gather"
	"github.com/avi-l4-operator/avi-l4-operator/internal/mirror"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
	"github.com/avi-l4-operator/avi-l4-operator/internal/status"
)

// +kubebuilder:rbac:groups="",resources=services,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups="",resources=services/status,verbs=patch
// +kubebuilder:rbac:groups="",resources=namespaces,verbs=get;list;watch
// +kubebuilder:rbac:groups=discovery.k8s.io,resources=endpointslices,verbs=get;list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// ServiceReconciler serves Services of type LoadBalancer.
type ServiceReconciler struct {
	Client   client.Client
	Live     client.Reader // asks the API server, not the cache
	Engine   *engine.Engine
	Settings *settings.Store
	Status   *status.Writer
	// Workers is the number of Services worked on at once. Timeout bounds one of them.
	Workers int
	Timeout time.Duration
	Log     logr.Logger
	// DeletionShare is the largest part of our VirtualServices, 0 to 1, that a change of settings or namespace labels may
	// let go of at once.
	DeletionShare float64
	// Elected, where set, is called once before the first Service is worked on, when this replica has become the leader.
	Elected func()

	elected sync.Once
	queue   workqueue.TypedRateLimitingInterface[reconcile.Request] // set when the controller starts
	mu      sync.Mutex
	waiting map[types.NamespacedName]bool // keys whose last run failed, for the day when the Controller is back
	told    map[types.UID]string          // the last Warning of tellOnce
	guard   guard
	orphans map[types.NamespacedName]bool // what the sweep found
	calm    calm
}

// Reconcile brings one Service's objects on the Controller, and its status, to what it asks for.
func (r *ServiceReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	r.lead()
	svc, ns, err := gather.Service(ctx, r.Client, req.NamespacedName)
	if err != nil {
		return ctrl.Result{}, err
	}
	cfg := r.Settings.Current()
	if svc == nil {
		r.hold(req.NamespacedName, false)
		r.guard.settle(req.NamespacedName)
		return r.orphan(ctx, cfg, req.NamespacedName)
	}
	if cfg == nil {
		return r.unconfigured(ctx, svc, ns)
	}
	if cfg.Layer7Only && svc.DeletionTimestamp == nil {
		return ctrl.Result{}, nil
	}
	ours, why := build.Ours(cfg, svc, ns)
	if svc.DeletionTimestamp != nil {
		ours, why = false, "the Service is being deleted"
	}
	other := svc.Annotations[gather.AnnotationServedBy]
	handover := other != "" && other != cfg.Instance() && controllerutil.ContainsFinalizer(svc, gather.Finalizer)
	switch {
	case handover && (ours || svc.DeletionTimestamp != nil):
		r.tellOnce(svc, model.ReasonServedByAnother, servedByAnother(other))
		return ctrl.Result{}, nil
	case handover:
		return ctrl.Result{}, nil // another instance's
	case !ours:
		if build.Deselected(cfg, svc, ns) && svc.DeletionTimestamp == nil && r.Engine.Holds(ownerOf(svc), build.VirtualServiceName(cfg, ownerOf(svc))) {
			if err := r.guard.allow(req.NamespacedName, r.Engine.VirtualServices(), time.Now()); err != nil {
				return r.keep(ctx, svc, why, err)
			}
		} else {
			r.guard.settle(req.NamespacedName)
		}
		return r.release(ctx, cfg, svc, ns, why)
	}
	r.guard.settle(req.NamespacedName)
	if err := r.claim(ctx, svc, cfg.Instance()); err != nil {
		return resultOf(ctx, client.IgnoreNotFound(err))
	}
	in, err := gather.Input(ctx, r.Client, cfg, svc, ns)
	if err != nil {
		return ctrl.Result{}, err
	}
	out := r.Engine.Serve(ctx, in)
	if out.Created+out.Updated+out.Deleted > 0 {
		r.calm.wrote(req.NamespacedName, time.Now())
		ctrl.LoggerFrom(ctx).Info("changed the Controller", "created", out.Created, "updated", out.Updated, "deleted", out.Deleted,
			"virtualService", out.Name, "addresses", fmt.Sprint(out.Addresses), "complete", out.Err == nil)
	}
	pending := out.Err == nil && !out.Blocked && out.VSUUID != "" && len(out.Addresses) == 0
	if pending {
		if err := r.Engine.RefreshAddress(ctx, &out); err != nil {
			ctrl.LoggerFrom(ctx).Info("the address isn't known yet", "error", err.Error())
		}
		pending = len(out.Addresses) == 0
	}
	r.hold(req.NamespacedName, out.Err != nil || out.Refused)
	if out.Unread && !worthTelling(svc, out.Err) {
		return resultOf(ctx, out.Err)
	}
	if err := r.Status.Service(ctx, svc, out, r.Engine.ClusterUUID()); err != nil {
		return resultOf(ctx, client.IgnoreNotFound(err))
	}
	if pending {
		return ctrl.Result{RequeueAfter: spread(2 * time.Second)}, nil
	}
	return resultOf(ctx, out.Retry)
}

// lead makes sure that what is known of the Controller is from after this replica became the leader.
func (r *ServiceReconciler) lead() {
	r.elected.Do(func() {
		if r.Elected != nil {
			r.Elected()
		}
	})
}

// worthTelling: that the Controller can't be read is told to a Service that waits for it, not to one that is served
// already, whose status would otherwise change twice at each restart.
func worthTelling(svc *corev1.Service, err error) bool {
	return !errors.Is(err, mirror.ErrNotLoaded) && !apimeta.IsStatusConditionTrue(svc.Status.Conditions, status.Programmed)
}

// release removes the objects of a Service that is deleted or no longer ours, then the finalizer.
func (r *ServiceReconciler) release(ctx context.Context, cfg *settings.Settings, svc *corev1.Service, ns *corev1.Namespace, why string) (ctrl.Result, error) {
	owner := ownerOf(svc)
	held := controllerutil.ContainsFinalizer(svc, gather.Finalizer)
	tenant, name := build.Tenant(cfg, ns), build.VirtualServiceName(cfg, owner)
	if !held && !r.Engine.Holds(owner, name) {
		return ctrl.Result{}, nil
	}
	deleted, err := r.Engine.Remove(ctx, owner, tenant, name, why)
	r.hold(types.NamespacedName{Namespace: svc.Namespace, Name: svc.Name}, err != nil)
	if err != nil {
		if !errors.Is(err, mirror.ErrNotLoaded) {
			r.tellOnce(svc, "DeletingLoadBalancerFailed", err.Error())
		}
		return resultOf(ctx, err)
	}
	ctrl.LoggerFrom(ctx).Info("nothing is left on the Controller", "reason", why, "deleted", deleted)
	if svc.DeletionTimestamp == nil {
		if err := r.Status.Clear(ctx, svc); err != nil {
			return resultOf(ctx, client.IgnoreNotFound(err))
		}
	}
	if deleted > 0 {
		r.Status.Deleted(svc, deleted)
	}
	if err := r.unclaim(ctx, svc); client.IgnoreNotFound(err) != nil {
		return resultOf(ctx, err)
	}
	if r.queue != nil {
		r.rivals(ctx, svc, r.queue) // who waited for the name may have it
	}
	return ctrl.Result{}, nil
}

// claim puts the finalizer and the instance's name on a Service before anything is made for it.
func (r *ServiceReconciler) claim(ctx context.Context, svc *corev1.Service, instance string) error {
	before := svc.DeepCopy()
	if !controllerutil.AddFinalizer(svc, gather.Finalizer) && svc.Annotations[gather.AnnotationServedBy] == instance {
		return nil
	}
	metav1.SetMetaDataAnnotation(&svc.ObjectMeta, gather.AnnotationServedBy, instance)
	return r.patch(ctx, svc, before)
}

// unclaim lets a Service go.
func (r *ServiceReconciler) unclaim(ctx context.Context, svc *corev1.Service) error {
	before := svc.DeepCopy()
	if !controllerutil.RemoveFinalizer(svc, gather.Finalizer) {
		return nil
	}
	delete(svc.Annotations, gather.AnnotationServedBy)
	return r.patch(ctx, svc, before)
}

// patch changes the finalizers. The list is replaced as a whole, so the lock keeps another controller's finalizer from
// being lost.
func (r *ServiceReconciler) patch(ctx context.Context, svc, before *corev1.Service) error {
	if err := r.Client.Patch(ctx, svc, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("changing the finalizers of Service %s/%s: %w", svc.Namespace, svc.Name, err)
	}
	return nil
}

func servedByAnother(instance string) string {
	return fmt.Sprintf("the instance %s serves this Service and has to let go first; if it is gone for good, delete the Service's objects on the Controller and remove annotation %s", instance, gather.AnnotationServedBy)
}

// tellOnce emits a Warning that isn't repeated while it stays the same.
func (r *ServiceReconciler) tellOnce(svc *corev1.Service, reason, message string) {
	r.mu.Lock()
	same := r.told[svc.UID] == reason+message
	if len(r.told) > 10000 { // only a memory: losing it repeats an Event
		clear(r.told)
	}
	r.told[svc.UID] = reason + message
	r.mu.Unlock()
	if !same {
		r.Status.Warn(svc, reason, message)
	}
}

// keep leaves a Service as it is although it is not selected any more.
func (r *ServiceReconciler) keep(ctx context.Context, svc *corev1.Service, why string, err error) (ctrl.Result, error) {
	r.tellOnce(svc, model.ReasonDeletionHeld, fmt.Sprintf("%s; its objects are kept, because %v", why, err))
	ctrl.LoggerFrom(ctx).Info("kept although not selected any more", "reason", why, "held", err.Error())
	return ctrl.Result{RequeueAfter: spread(guardWindow)}, nil
}

func ownerOf(svc *corev1.Service) model.Owner {
	return model.Owner{Kind: model.ServiceOwner, Namespace: svc.Namespace, Name: svc.Name}
}

// unconfigured tells a Service that would be ours by AKO's defaults why nothing happens. It says nothing while the
// settings have yet to be read, which queues every Service anew, nor to a Service that is served already.
func (r *ServiceReconciler) unconfigured(ctx context.Context, svc *corev1.Service, ns *corev1.Namespace) (ctrl.Result, error) {
	ok, _ := build.Ours(&settings.Settings{DefaultLB: true}, svc, ns)
	if svc.DeletionTimestamp != nil && controllerutil.ContainsFinalizer(svc, gather.Finalizer) && r.Settings.Read() {
		r.tellOnce(svc, "DeletingLoadBalancerFailed", configurationError(r.Settings).Error())
	}
	if !ok || svc.DeletionTimestamp != nil || !r.Settings.Read() || apimeta.IsStatusConditionTrue(svc.Status.Conditions, status.Programmed) {
		return ctrl.Result{}, nil
	}
	finding := model.Finding{Severity: model.Blocked, Reason: model.ReasonConfigurationInvalid, Message: configurationError(r.Settings).Error()}
	out := engine.Outcome{Blocked: true, Unread: true, Findings: []model.Finding{finding}}
	return resultOf(ctx, r.Status.Service(ctx, svc, out, ""))
}

// Orphans has the objects of Services removed that don't exist. It happens in the Services' own turn, so that one that is
// created meanwhile doesn't lose what it has just been given.
func (r *ServiceReconciler) Orphans(owners []model.Owner) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.queue == nil {
		return
	}
	for _, o := range owners {
		key := types.NamespacedName{Namespace: o.Namespace, Name: o.Name}
		r.orphans[key] = true
		r.queue.Add(reconcile.Request{NamespacedName: key})
	}
}

// orphan removes what a Service left that the sweep found missing, if the API server itself says that it doesn't exist.
func (r *ServiceReconciler) orphan(ctx context.Context, cfg *settings.Settings, key types.NamespacedName) (ctrl.Result, error) {
	r.mu.Lock()
	found := r.orphans[key]
	delete(r.orphans, key)
	r.mu.Unlock()
	if !found || cfg == nil {
		return ctrl.Result{}, nil
	}
	err := r.Live.Get(ctx, key, new(corev1.Service))
	if !apierrors.IsNotFound(err) {
		return ctrl.Result{}, err // it exists, or nobody knows: the next sweep looks again
	}
	owner := model.Owner{Kind: model.ServiceOwner, Namespace: key.Namespace, Name: key.Name}
	deleted, err := r.Engine.Remove(ctx, owner, cfg.Tenant, build.VirtualServiceName(cfg, owner), "its Service doesn't exist")
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "removing what a vanished Service left; the next sweep tries again")
		return ctrl.Result{}, nil
	}
	ctrl.LoggerFrom(ctx).Info("removed what a vanished Service left", "deleted", deleted)
	return ctrl.Result{}, nil
}

func (r *ServiceReconciler) hold(key types.NamespacedName, failing bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if failing {
		r.waiting[key] = true
	} else {
		delete(r.waiting, key)
	}
}

func (r *ServiceReconciler) failing() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.waiting)
}

// Waiting re-queues the Services whose last run failed, without their back-off: the Controller is back, or was read
// anew.
func (r *ServiceReconciler) Waiting() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.queue == nil {
		return
	}
	for key := range r.waiting {
		r.queue.Forget(reconcile.Request{NamespacedName: key})
		r.queue.Add(reconcile.Request{NamespacedName: key})
	}
}

// Changed queues owners whose objects on the Controller are no longer what they were, or every Service for nil. Before
// the controller runs it does nothing: the first list queues them all.
func (r *ServiceReconciler) Changed(owners []model.Owner) {
	r.mu.Lock()
	queue := r.queue
	r.mu.Unlock()
	if queue == nil {
		return
	}
	for _, o := range owners {
		if o.Kind == model.ServiceOwner {
			queue.Add(reconcile.Request{NamespacedName: types.NamespacedName{Namespace: o.Namespace, Name: o.Name}})
		}
	}
	if owners != nil {
		return
	}
	var all corev1.ServiceList
	if err := r.Client.List(context.Background(), &all, client.UnsafeDisableDeepCopy); err != nil {
		r.Log.Error(err, "listing Services from the cache")
		return
	}
	for i := range all.Items {
		if relevant(&all.Items[i]) {
			queue.Add(reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&all.Items[i])})
		}
	}
}

// SetupWithManager registers the watches.
func (r *ServiceReconciler) SetupWithManager(mgr ctrl.Manager) error {
	r.waiting, r.told, r.orphans = make(map[types.NamespacedName]bool), make(map[types.UID]string), make(map[types.NamespacedName]bool)
	r.guard.share, r.guard.least = r.DeletionShare, deletionLeast
	capture := source.Func(func(_ context.Context, q workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.queue = q
		return nil
	})
	return ctrl.NewControllerManagedBy(mgr).
		Named("service").
		For(&corev1.Service{}, builder.WithPredicates(servicePredicate())).
		Watches(&corev1.Service{}, handler.Funcs{DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			r.rivals(ctx, e.Object, q)
		}}).
		Watches(&discoveryv1.EndpointSlice{}, r.sliceHandler()).
		Watches(&corev1.Namespace{}, handler.EnqueueRequestsFromMapFunc(r.servicesOf), builder.WithPredicates(predicate.Or(predicate.LabelChangedPredicate{}, predicate.AnnotationChangedPredicate{}))).
		WatchesRawSource(capture).
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

// rivals queues the Services that had to wait because another had their name on the Controller.
func (r *ServiceReconciler) rivals(ctx context.Context, o client.Object, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
	var list corev1.ServiceList
	if err := r.Client.List(ctx, &list, client.MatchingFields{gather.IndexVirtualService: o.GetNamespace() + "-" + o.GetName()}, client.UnsafeDisableDeepCopy); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "listing Services of the same name on the Controller")
		return
	}
	for i := range list.Items {
		if list.Items[i].UID != o.GetUID() {
			q.Add(reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
		}
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
	queue := func(o client.Object, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
		name := o.GetLabels()[discoveryv1.LabelServiceName]
		if name == "" {
			return
		}
		key := types.NamespacedName{Namespace: o.GetNamespace(), Name: name}
		q.AddAfter(reconcile.Request{NamespacedName: key}, r.calm.delay(key, time.Now()))
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			queue(e.Object, q)
		},
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			queue(e.ObjectNew, q)
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			queue(e.Object, q)
		},
	}
}

// calm spaces the updates of one Service during a burst of endpoint changes. A first change waits a tenth of a second
// for its like; while changes go on, updates come half a second apart, then one, then two.
type calm struct {
	mu   sync.Mutex
	last map[types.NamespacedName]burst
}

type burst struct {
	at  time.Time // of the last update
	gap time.Duration
}

const (
	calmFirst = 100 * time.Millisecond
	calmGap   = 500 * time.Millisecond
	calmMax   = 2 * time.Second
	calmReset = 5 * time.Second
)

func (c *calm) delay(key types.NamespacedName, now time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := c.last[key]
	return max(calmFirst, b.gap-now.Sub(b.at))
}

func (c *calm) wrote(key types.NamespacedName, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last == nil {
		c.last = make(map[types.NamespacedName]burst)
	}
	b := c.last[key]
	switch {
	case now.Sub(b.at) > calmReset:
		b.gap = calmGap
	default:
		b.gap = min(2*b.gap, calmMax)
	}
	b.at = now
	c.last[key] = b
	if len(c.last) > 4096 { // forget what has long been calm
		for k, b := range c.last {
			if now.Sub(b.at) > calmReset {
				delete(c.last, k)
			}
		}
	}
}
