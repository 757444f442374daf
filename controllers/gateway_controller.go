package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
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
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	gatewayv1beta1 "sigs.k8s.io/gateway-api/apis/v1beta1"

	"github.com/avi-l4-operator/avi-l4-operator/internal/gatewayapi"
	"github.com/avi-l4-operator/avi-l4-operator/internal/gather"
	"github.com/avi-l4-operator/avi-l4-operator/internal/mirror"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/outcome"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
)

// +kubebuilder:rbac:groups=gateway.networking.k8s.io,resources=gateways,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=gateway.networking.k8s.io,resources=gateways/status;listenersets/status,verbs=patch
// +kubebuilder:rbac:groups=gateway.networking.k8s.io,resources=listenersets;referencegrants,verbs=get;list;watch

// GatewayReconciler serves Gateways of gateway.networking.k8s.io, whose backends come from routes.
type GatewayReconciler struct {
	*owners
	APIs *APIs

	controller controller.Controller
	using      users
	mu         sync.Mutex
	seen       map[types.NamespacedName]map[string]sighting // of a Gateway, by kind
}

// sighting is how many objects of a kind a Gateway had when last looked at, since the type came.
type sighting struct {
	since time.Time
	count int
	ever  bool
}

// NewGatewayReconciler makes one; SetupWithManager registers it, and Watch switches it on.
func NewGatewayReconciler(d Deps, apis *APIs, log logr.Logger) *GatewayReconciler {
	return &GatewayReconciler{owners: newOwners(d, model.GatewayOwner, log), APIs: apis, seen: make(map[types.NamespacedName]map[string]sighting)}
}

// Reconcile brings one Gateway's objects on the Controller, and its status, to what it asks for.
func (r *GatewayReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	r.Lead()
	if !r.APIs.Serves(gather.GatewayAPI) {
		return ctrl.Result{}, nil // nothing can be known of Gateways
	}
	gw, ns, class, err := r.Gather.Gateway(ctx, req.NamespacedName)
	if err != nil {
		return ctrl.Result{}, err
	}
	cfg := r.Settings.Current()
	if gw == nil {
		r.forget(req.NamespacedName)
		return r.orphan(ctx, cfg, req.NamespacedName, new(gatewayv1.Gateway))
	}
	if gw.DeletionTimestamp != nil {
		leaving, err := r.APIs.Leaving(ctx, gather.GatewayAPI)
		if err != nil {
			return ctrl.Result{}, err
		}
		if leaving {
			return r.spare(ctx, gw, gatewayv1.GroupName)
		}
	}
	if cfg == nil {
		return r.unconfigured(ctx, gw, class)
	}
	if cfg.Layer7Only && gw.DeletionTimestamp == nil {
		return ctrl.Result{}, nil
	}
	ours, unknown, why := translate.GatewayOurs(cfg, r.Gather.ControllerNames, class, ns)
	return r.decide(ctx, cfg, candidate{
		object: gw, ns: ns, ours: ours, unknown: unknown, why: why,
		noClass:   func() error { return nil }, // the API lets nobody but the class's controller write a status
		inherited: func() bool { return false },
		takeBack:  func() error { return r.takeBack(ctx, gw) },
		left:      func() { r.forget(req.NamespacedName) },
		serve:     func() (ctrl.Result, error) { return r.serveGateway(ctx, cfg, gw, ns, class) },
	})
}

// takeBack removes what was written on a Gateway that is let go, and on its ListenerSets.
func (r *GatewayReconciler) takeBack(ctx context.Context, gw *gatewayv1.Gateway) error {
	sets, err := r.Gather.ListenerSets(ctx)
	if err != nil {
		return err
	}
	for _, s := range sets {
		if of, ok := gatewayapi.GatewayOf(s); ok && of == client.ObjectKeyFromObject(gw) && s.DeletionTimestamp == nil {
			if err := r.Status.ClearListenerSet(ctx, s); client.IgnoreNotFound(err) != nil {
				return err
			}
		}
	}
	return unlessDeleted(gw, func() error { return r.Status.ClearGateway(ctx, gw) })()
}

func (r *GatewayReconciler) forget(key types.NamespacedName) {
	r.using.set(key, nil)
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.seen, key)
}

// serveGateway runs the pipeline for a Gateway that is ours and tells what came of it.
func (r *GatewayReconciler) serveGateway(ctx context.Context, cfg *settings.Settings, gw *gatewayv1.Gateway, ns *corev1.Namespace, class *gatewayv1.GatewayClass) (ctrl.Result, error) {
	key := client.ObjectKeyFromObject(gw)
	world, err := r.Gather.World(ctx, gw, r.doubt(ctx, key), func(services []types.NamespacedName) { r.using.set(key, services) })
	if err != nil {
		return ctrl.Result{}, err
	}
	view := gatewayapi.Look(world)
	in, err := r.Gather.GatewayInput(ctx, cfg, view, ns, class)
	if err != nil {
		return ctrl.Result{}, err
	}
	out, pending := r.serve(ctx, in)
	asked := r.askForAll(ctx, cfg, gw, in, out)
	if out.State() == outcome.Unread && (errors.Is(out.Retry(), mirror.ErrNotLoaded) || gatewayProgrammed(gw)) {
		return resultOf(ctx, out.Retry())
	}
	if err := r.Status.Gateway(ctx, view, out); err != nil {
		return resultOf(ctx, client.IgnoreNotFound(err))
	}
	if pending {
		return ctrl.Result{RequeueAfter: spread(addressPoll)}, nil
	}
	if out.Retry() == nil && asked != nil {
		return ctrl.Result{}, asked
	}
	if out.Retry() == nil && slices.ContainsFunc(out.Findings, func(f model.Finding) bool {
		return f.Reason == model.ReasonRoutesUnreadable && f.Severity == model.Degraded
	}) {
		return ctrl.Result{RequeueAfter: spread(min(r.APIs.Grace, time.Minute))}, nil // a type that came back grows old
	}
	return resultOf(ctx, out.Retry())
}

// doubt judges what an absence says. Objects that vanish because their type is being removed are wanted still; and where the
// type has only just come back, that there are none yet says nothing, unless this Gateway had some since.
func (r *GatewayReconciler) doubt(ctx context.Context, gw types.NamespacedName) func(kind string, count int) (gather.Doubt, error) {
	return func(kind string, count int) (d gather.Doubt, err error) {
		api := gather.KindAPIs[kind]
		since := r.APIs.Since(api)
		r.mu.Lock()
		was := r.seen[gw][kind]
		r.mu.Unlock()
		if !was.since.Equal(since) {
			was = sighting{since: since}
		}
		if count < was.count {
			if d.Leaving, err = r.APIs.Leaving(ctx, api); err != nil || d.Leaving {
				return d, err
			}
		}
		was.count, was.ever = count, was.ever || count > 0
		d.Young = !was.ever && r.APIs.Young(api)
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.seen[gw] == nil {
			r.seen[gw] = make(map[string]sighting)
		}
		r.seen[gw][kind] = was
		return d, nil
	}
}

func gatewayProgrammed(gw *gatewayv1.Gateway) bool {
	return apimeta.IsStatusConditionTrue(gw.Status.Conditions, string(gatewayv1.GatewayConditionProgrammed)) || len(gw.Status.Addresses) > 0
}

// unconfigured tells a Gateway of our class why nothing happens, as long as it isn't served.
func (r *GatewayReconciler) unconfigured(ctx context.Context, gw *gatewayv1.Gateway, class *gatewayv1.GatewayClass) (ctrl.Result, error) {
	if !r.Settings.Read() || class == nil || !slices.Contains(r.Gather.ControllerNames, string(class.Spec.ControllerName)) {
		return ctrl.Result{}, nil
	}
	if gw.DeletionTimestamp != nil {
		if controllerutil.ContainsFinalizer(gw, gather.Finalizer) {
			r.tellOnce(gw, "DeletingLoadBalancerFailed", configurationError(r.Settings).Error())
		}
		return ctrl.Result{}, nil
	}
	if gatewayProgrammed(gw) {
		return ctrl.Result{}, nil
	}
	finding := model.Finding{Severity: model.Blocked, Reason: model.ReasonConfigurationInvalid, Message: configurationError(r.Settings).Error()}
	return resultOf(ctx, r.Status.Gateway(ctx, gatewayapi.Look(gatewayapi.World{Gateway: gw}), outcome.NewUnasked(finding)))
}

// All queues every Gateway.
func (r *GatewayReconciler) All() { r.some(func(*gatewayv1.Gateway) bool { return true }) }

// Named queues the Gateways whose VirtualService has that name behind the prefix: who waited for it may have it.
func (r *GatewayReconciler) Named(name string) {
	r.some(func(gw *gatewayv1.Gateway) bool { return gw.Namespace+"-"+gw.Name == name })
}

func (r *GatewayReconciler) some(which func(*gatewayv1.Gateway) bool) {
	for _, req := range r.requests(context.Background(), which) {
		r.enqueue(req.NamespacedName)
	}
}

func (r *GatewayReconciler) requests(ctx context.Context, which func(*gatewayv1.Gateway) bool) []reconcile.Request {
	if !r.APIs.Synced(gather.GatewayAPI) {
		return nil // their first list queues them all
	}
	gateways, err := r.Gather.Gateways(ctx)
	if err != nil {
		r.Log.Error(err, "listing Gateways from the cache")
		return nil
	}
	var out []reconcile.Request
	for i := range gateways {
		if which(&gateways[i]) {
			out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&gateways[i])})
		}
	}
	return out
}

// SetupWithManager registers the watches on types that every cluster has.
func (r *GatewayReconciler) SetupWithManager(mgr ctrl.Manager) error {
	c, err := ctrl.NewControllerManagedBy(mgr).
		Named("routedgateway").
		Watches(&corev1.Service{}, handler.EnqueueRequestsFromMapFunc(r.gatewaysOfService), builder.WithPredicates(attachable())).
		Watches(&discoveryv1.EndpointSlice{}, onSlices(func(service types.NamespacedName, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			for gw := range r.using.of(service) {
				q.AddAfter(reconcile.Request{NamespacedName: gw}, r.calm.delay(gw, time.Now()))
			}
		})).
		Watches(&corev1.Namespace{}, handler.EnqueueRequestsFromMapFunc(r.gatewaysOfNamespace), builder.WithPredicates(predicate.Or(predicate.LabelChangedPredicate{}, predicate.AnnotationChangedPredicate{}))).
		WatchesRawSource(r.capture()).
		WithOptions(controller.Options{MaxConcurrentReconciles: r.Workers, RateLimiter: rateLimiter(), ReconciliationTimeout: r.Timeout}).
		Build(r)
	r.controller = c
	return err
}

// Watch begins to watch an API's types, which the API server has.
func (r *GatewayReconciler) Watch(c cache.Cache, api gather.API) error {
	mapped := func(f handler.MapFunc) handler.EventHandler { return handler.EnqueueRequestsFromMapFunc(f) }
	var sources []source.Source
	switch api {
	case gather.GatewayAPI:
		sources = []source.Source{
			source.Kind(c, client.Object(&gatewayv1.Gateway{}), &handler.EnqueueRequestForObject{}, gatewayPredicate()),
			source.Kind(c, client.Object(&gatewayv1.GatewayClass{}), mapped(r.gatewaysOfClass), specChanged()),
		}
	case gather.ListenerSets:
		sources = []source.Source{source.Kind(c, client.Object(&gatewayv1.ListenerSet{}), mapped(r.gatewayOfSet), specChanged())}
	case gather.ReferenceGrants:
		sources = []source.Source{source.Kind(c, client.Object(&gatewayv1beta1.ReferenceGrant{}), mapped(func(_ context.Context, o client.Object) (out []reconcile.Request) {
			for _, gw := range r.using.inNamespace(o.GetNamespace()) {
				out = append(out, reconcile.Request{NamespacedName: gw})
			}
			return out
		}), specChanged())}
	default:
		sources = []source.Source{source.Kind(c, routeType(api), mapped(r.gatewaysOfRoute), specChanged())}
	}
	for _, s := range sources {
		if err := r.controller.Watch(s); err != nil {
			return fmt.Errorf("watching %s: %w", api, err)
		}
	}
	return nil
}

// gatewayPredicate lets through what people change, and a status from which our conditions or our address have gone.
func gatewayPredicate() predicate.Predicate {
	lost := predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, ok1 := e.ObjectOld.(*gatewayv1.Gateway)
		after, ok2 := e.ObjectNew.(*gatewayv1.Gateway)
		return ok1 && ok2 && (apimeta.FindStatusCondition(after.Status.Conditions, string(gatewayv1.GatewayConditionProgrammed)) == nil ||
			len(after.Status.Addresses) < len(before.Status.Addresses) || !apiequality.Semantic.DeepEqual(before.Finalizers, after.Finalizers))
	}}
	return predicate.Or(specChanged(), lost)
}

func (r *GatewayReconciler) gatewaysOfService(_ context.Context, o client.Object) (out []reconcile.Request) {
	for gw := range r.using.of(client.ObjectKeyFromObject(o)) {
		out = append(out, reconcile.Request{NamespacedName: gw})
	}
	return out
}

// gatewaysOfNamespace are those in it, those that use something in it, and those that select namespaces by label.
func (r *GatewayReconciler) gatewaysOfNamespace(ctx context.Context, ns client.Object) []reconcile.Request {
	sets, err := r.Gather.ListenerSets(ctx)
	if err != nil {
		r.Log.Error(err, "listing ListenerSets from the cache")
	}
	selecting := make(map[types.NamespacedName]bool)
	for _, s := range sets {
		if gw, ok := gatewayapi.GatewayOf(s); ok && slices.ContainsFunc(s.Spec.Listeners, func(l gatewayv1.ListenerEntry) bool { return bySelector(l.AllowedRoutes) }) {
			selecting[gw] = true
		}
	}
	return r.requests(ctx, func(gw *gatewayv1.Gateway) bool {
		a := gw.Spec.AllowedListeners
		return gw.Namespace == ns.GetName() || selecting[client.ObjectKeyFromObject(gw)] || a != nil && a.Namespaces != nil && a.Namespaces.Selector != nil ||
			slices.ContainsFunc(gw.Spec.Listeners, func(l gatewayv1.Listener) bool { return bySelector(l.AllowedRoutes) })
	})
}

func bySelector(a *gatewayv1.AllowedRoutes) bool {
	return a != nil && a.Namespaces != nil && a.Namespaces.Selector != nil
}

func (r *GatewayReconciler) gatewaysOfClass(ctx context.Context, class client.Object) []reconcile.Request {
	return r.requests(ctx, func(gw *gatewayv1.Gateway) bool { return string(gw.Spec.GatewayClassName) == class.GetName() })
}

func (r *GatewayReconciler) gatewayOfSet(_ context.Context, o client.Object) []reconcile.Request {
	if s, ok := o.(*gatewayv1.ListenerSet); ok {
		if gw, ok := gatewayapi.GatewayOf(s); ok {
			return []reconcile.Request{{NamespacedName: gw}}
		}
	}
	return nil
}

func (r *GatewayReconciler) gatewaysOfRoute(ctx context.Context, o client.Object) (out []reconcile.Request) {
	route := gatewayapi.RouteOf(o)
	if route == nil {
		return nil
	}
	for _, gw := range r.Gather.GatewaysOf(ctx, route) {
		out = append(out, reconcile.Request{NamespacedName: gw})
	}
	return out
}

// usesSetting tells whether a Gateway is placed by an AviInfraSetting.
func (r *GatewayReconciler) usesSetting(gw *gatewayv1.Gateway, class *gatewayv1.GatewayClass, ns *corev1.Namespace, cfg *settings.Settings, setting string) bool {
	ours, unknown, _ := translate.GatewayOurs(cfg, r.Gather.ControllerNames, class, ns)
	return (ours || unknown && controllerutil.ContainsFinalizer(gw, gather.Finalizer)) && gather.SettingOfGateway(gw, class, ns) == setting
}
