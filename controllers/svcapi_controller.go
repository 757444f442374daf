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

	svcapi "github.com/avi-l4-operator/avi-l4-operator/api/networking/v1alpha1"
	"github.com/avi-l4-operator/avi-l4-operator/internal/gather"
	"github.com/avi-l4-operator/avi-l4-operator/internal/mirror"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/outcome"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
)

// +kubebuilder:rbac:groups=networking.x-k8s.io,resources=gateways,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=networking.x-k8s.io,resources=gateways/status,verbs=patch
// +kubebuilder:rbac:groups=networking.x-k8s.io,resources=gatewayclasses,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=networking.x-k8s.io,resources=gatewayclasses/status,verbs=patch

// akoFinalizer is what AKO puts on the Gateways that it serves.
const akoFinalizer = "gateway.ako.vmware.com"

// SvcAPIGatewayReconciler serves Gateways of the Services API, networking.x-k8s.io.
type SvcAPIGatewayReconciler struct {
	*owners
	APIs *APIs

	controller controller.Controller
	using      users
}

// NewSvcAPIGatewayReconciler makes one; SetupWithManager registers it, and Watch switches it on.
func NewSvcAPIGatewayReconciler(d Deps, apis *APIs, log logr.Logger) *SvcAPIGatewayReconciler {
	return &SvcAPIGatewayReconciler{owners: newOwners(d, model.SvcAPIGatewayOwner, log), APIs: apis}
}

// Reconcile brings one Gateway's objects on the Controller, and its status, to what it asks for.
func (r *SvcAPIGatewayReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	r.Lead()
	if !r.APIs.Serves(gather.ServicesAPI) {
		return ctrl.Result{}, nil // nothing can be known of Gateways
	}
	gw, ns, class, err := r.Gather.SvcAPIGateway(ctx, req.NamespacedName)
	if err != nil {
		return ctrl.Result{}, err
	}
	cfg := r.Settings.Current()
	if gw == nil {
		r.using.set(req.NamespacedName, nil)
		return r.orphan(ctx, cfg, req.NamespacedName, new(svcapi.Gateway))
	}
	if gw.DeletionTimestamp != nil { // also without our finalizers: somebody else's may hold it after we let it go
		leaving, err := r.APIs.Leaving(ctx, gather.ServicesAPI)
		if err != nil {
			return ctrl.Result{}, err
		}
		if leaving {
			return r.spare(ctx, gw, "networking.x-k8s.io", akoFinalizer)
		}
	}
	if cfg == nil {
		return r.unconfigured(ctx, gw, class)
	}
	if cfg.Layer7Only && gw.DeletionTimestamp == nil {
		return ctrl.Result{}, nil
	}
	ours, unknown, why := translate.SvcAPIGatewayOurs(cfg, class, ns)
	return r.decide(ctx, cfg, candidate{
		object: gw, ns: ns, ours: ours, unknown: unknown, why: why, finalizers: []string{akoFinalizer},
		noClass: func() error {
			if !cfg.Accepts(ns.Name, ns.Labels) {
				return nil
			}
			_, problem := gather.SvcAPIClassProblem(gw, nil)
			r.tellOnce(gw, model.ReasonNoGatewayClass, problem)
			return r.Status.NoSvcAPIClass(ctx, gw, problem)
		},
		inherited: func() bool { return r.inherited(gw, class, ns, cfg) },
		takeBack:  unlessDeleted(gw, func() error { return r.Status.ClearSvcAPIGateway(ctx, gw) }),
		left:      func() { r.using.set(req.NamespacedName, nil) },
		serve:     func() (ctrl.Result, error) { return r.serveGateway(ctx, cfg, gw, ns, class) },
	})
}

// serveGateway runs the pipeline for a Gateway that is ours and tells what came of it.
func (r *SvcAPIGatewayReconciler) serveGateway(ctx context.Context, cfg *settings.Settings, gw *svcapi.Gateway, ns *corev1.Namespace, class *svcapi.GatewayClass) (ctrl.Result, error) {
	key := client.ObjectKeyFromObject(gw)
	in, err := r.Gather.SvcAPIGatewayInput(ctx, cfg, gw, ns, class, func(services []types.NamespacedName) { r.using.set(key, services) })
	if err != nil {
		return ctrl.Result{}, err
	}
	out, pending := r.serve(ctx, in)
	asked := r.askForAll(ctx, cfg, gw, in, out)
	if out.State() == outcome.Unread && (errors.Is(out.Retry(), mirror.ErrNotLoaded) || svcAPIProgrammed(gw)) {
		return resultOf(ctx, out.Retry())
	}
	if err := r.Status.SvcAPIGateway(ctx, gw, out); err != nil {
		return resultOf(ctx, client.IgnoreNotFound(err))
	}
	if pending {
		return ctrl.Result{RequeueAfter: spread(addressPoll)}, nil
	}
	if out.Retry() == nil && asked != nil {
		return ctrl.Result{}, asked
	}
	return resultOf(ctx, out.Retry())
}

// inherited tells whether a Gateway that we never claimed is ours to clean up: AKO's, which is being deleted and which
// nobody else would let go, or which deleteConfig asks to remove.
func (r *SvcAPIGatewayReconciler) inherited(gw *svcapi.Gateway, class *svcapi.GatewayClass, ns *corev1.Namespace, cfg *settings.Settings) bool {
	switch {
	case gw.DeletionTimestamp == nil && !cfg.DeleteConfig, !cfg.Accepts(ns.Name, ns.Labels):
		return false
	case class == nil: // as when a file with both is deleted, and AKO keeps no finalizer on classes
		owner := r.ownerOf(gw)
		return controllerutil.ContainsFinalizer(gw, akoFinalizer) && r.Engine.Holds(owner, translate.VirtualServiceName(cfg, owner))
	}
	return class.Spec.Controller == translate.SvcAPIController
}

func svcAPIProgrammed(gw *svcapi.Gateway) bool {
	return apimeta.IsStatusConditionTrue(gw.Status.Conditions, svcapi.GatewayConditionReady) || len(gw.Status.Addresses) > 0
}

// unconfigured tells a Gateway of our class why nothing happens, as long as it isn't served.
func (r *SvcAPIGatewayReconciler) unconfigured(ctx context.Context, gw *svcapi.Gateway, class *svcapi.GatewayClass) (ctrl.Result, error) {
	if !r.Settings.Read() || class == nil || class.Spec.Controller != translate.SvcAPIController {
		return ctrl.Result{}, nil
	}
	if gw.DeletionTimestamp != nil {
		if controllerutil.ContainsFinalizer(gw, gather.Finalizer) {
			r.tellOnce(gw, "DeletingLoadBalancerFailed", configurationError(r.Settings).Error())
		}
		return ctrl.Result{}, nil
	}
	if svcAPIProgrammed(gw) {
		return ctrl.Result{}, nil
	}
	finding := model.Finding{Severity: model.Blocked, Reason: model.ReasonConfigurationInvalid, Message: configurationError(r.Settings).Error()}
	return resultOf(ctx, r.Status.SvcAPIGateway(ctx, gw, outcome.NewUnasked(finding)))
}

// All queues every Gateway.
func (r *SvcAPIGatewayReconciler) All() { r.some(func(*svcapi.Gateway) bool { return true }) }

// Named queues the Gateways whose VirtualService has that name behind the prefix: who waited for it may have it.
func (r *SvcAPIGatewayReconciler) Named(name string) {
	r.some(func(gw *svcapi.Gateway) bool { return gw.Namespace+"-"+gw.Name == name })
}

func (r *SvcAPIGatewayReconciler) some(which func(*svcapi.Gateway) bool) {
	for _, req := range r.requests(context.Background(), which) {
		r.enqueue(req.NamespacedName)
	}
}

func (r *SvcAPIGatewayReconciler) requests(ctx context.Context, which func(*svcapi.Gateway) bool) []reconcile.Request {
	if !r.APIs.Synced(gather.ServicesAPI) {
		return nil // their first list queues them all
	}
	gateways, err := r.Gather.SvcAPIGateways(ctx)
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
func (r *SvcAPIGatewayReconciler) SetupWithManager(mgr ctrl.Manager) error {
	c, err := ctrl.NewControllerManagedBy(mgr).
		Named("gateway").
		Watches(&corev1.Service{}, handler.EnqueueRequestsFromMapFunc(r.gatewaysOfService), builder.WithPredicates(attachable())).
		Watches(&discoveryv1.EndpointSlice{}, r.sliceHandler()).
		Watches(&corev1.Namespace{}, handler.EnqueueRequestsFromMapFunc(r.gatewaysOfNamespace), builder.WithPredicates(predicate.Or(predicate.LabelChangedPredicate{}, predicate.AnnotationChangedPredicate{}))).
		WatchesRawSource(r.capture()).
		WithOptions(controller.Options{MaxConcurrentReconciles: r.Workers, RateLimiter: rateLimiter(), ReconciliationTimeout: r.Timeout}).
		Build(r)
	r.controller = c
	return err
}

// Watch begins to watch Gateways and their classes, which the API server has.
func (r *SvcAPIGatewayReconciler) Watch(c cache.Cache) error {
	gateways := source.Kind(c, client.Object(&svcapi.Gateway{}), &handler.EnqueueRequestForObject{}, svcAPIPredicate())
	classes := source.Kind(c, client.Object(&svcapi.GatewayClass{}), handler.EnqueueRequestsFromMapFunc(r.gatewaysOfClass), specChanged())
	for _, s := range []source.Source{gateways, classes} {
		if err := r.controller.Watch(s); err != nil {
			return fmt.Errorf("watching Gateways: %w", err)
		}
	}
	return nil
}

// specChanged lets through what people change of an object that has a generation.
func specChanged() predicate.Predicate {
	return predicate.Or(predicate.GenerationChangedPredicate{}, predicate.LabelChangedPredicate{}, predicate.AnnotationChangedPredicate{})
}

// svcAPIPredicate lets through what people change, and a status from which our conditions or our address have gone.
func svcAPIPredicate() predicate.Predicate {
	lost := predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, ok1 := e.ObjectOld.(*svcapi.Gateway)
		after, ok2 := e.ObjectNew.(*svcapi.Gateway)
		return ok1 && ok2 && (apimeta.FindStatusCondition(after.Status.Conditions, svcapi.GatewayConditionReady) == nil ||
			len(after.Status.Addresses) < len(before.Status.Addresses) || !apiequality.Semantic.DeepEqual(before.Finalizers, after.Finalizers))
	}}
	return predicate.Or(specChanged(), lost)
}

// attachable lets through Services that may stand behind a Gateway, or might have.
func attachable() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, ok1 := e.ObjectOld.(*corev1.Service)
		after, ok2 := e.ObjectNew.(*corev1.Service)
		return ok1 && ok2 && !(apiequality.Semantic.DeepEqual(before.Spec, after.Spec) && apiequality.Semantic.DeepEqual(before.Labels, after.Labels) &&
			apiequality.Semantic.DeepEqual(before.Annotations, after.Annotations) && before.DeletionTimestamp.Equal(after.DeletionTimestamp))
	}}
}

func (r *SvcAPIGatewayReconciler) gatewaysOfService(ctx context.Context, o client.Object) []reconcile.Request {
	svc, ok := o.(*corev1.Service)
	if !ok {
		return nil
	}
	users := r.using.of(client.ObjectKeyFromObject(svc))
	return r.requests(ctx, func(gw *svcapi.Gateway) bool {
		return users[client.ObjectKeyFromObject(gw)] || gather.Selects(gw, svc)
	})
}

// gatewaysOfNamespace are those in it, and those that select namespaces by label.
func (r *SvcAPIGatewayReconciler) gatewaysOfNamespace(ctx context.Context, ns client.Object) []reconcile.Request {
	return r.requests(ctx, func(gw *svcapi.Gateway) bool {
		return gw.Namespace == ns.GetName() || slices.ContainsFunc(gw.Spec.Listeners, func(l svcapi.Listener) bool {
			return l.Routes.Namespaces != nil && l.Routes.Namespaces.From != nil && *l.Routes.Namespaces.From == svcapi.RouteSelectSelector
		})
	})
}

func (r *SvcAPIGatewayReconciler) gatewaysOfClass(ctx context.Context, class client.Object) []reconcile.Request {
	return r.requests(ctx, func(gw *svcapi.Gateway) bool { return gw.Spec.GatewayClassName == class.GetName() })
}

// sliceHandler queues the Gateways that use an EndpointSlice's Service, after a moment in which more of the same may come.
func (r *SvcAPIGatewayReconciler) sliceHandler() handler.EventHandler {
	return onSlices(func(service types.NamespacedName, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
		for gw := range r.using.of(service) {
			q.AddAfter(reconcile.Request{NamespacedName: gw}, r.calm.delay(gw, time.Now()))
		}
	})
}

// users remembers which Gateways use which Services, as they were last read: EndpointSlices change often.
type users struct {
	mu       sync.Mutex
	services map[types.NamespacedName][]types.NamespacedName        // of a Gateway
	gateways map[types.NamespacedName]map[types.NamespacedName]bool // of a Service
}

func (u *users) set(gateway types.NamespacedName, services []types.NamespacedName) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.services == nil {
		u.services = make(map[types.NamespacedName][]types.NamespacedName)
		u.gateways = make(map[types.NamespacedName]map[types.NamespacedName]bool)
	}
	for _, s := range u.services[gateway] {
		delete(u.gateways[s], gateway)
		if len(u.gateways[s]) == 0 {
			delete(u.gateways, s)
		}
	}
	delete(u.services, gateway)
	if len(services) > 0 {
		u.services[gateway] = services
	}
	for _, s := range services {
		if u.gateways[s] == nil {
			u.gateways[s] = make(map[types.NamespacedName]bool, 1)
		}
		u.gateways[s][gateway] = true
	}
}

// inNamespace are the Gateways that use Services of a namespace.
func (u *users) inNamespace(name string) []types.NamespacedName {
	u.mu.Lock()
	defer u.mu.Unlock()
	var out []types.NamespacedName
	for gw, services := range u.services {
		if slices.ContainsFunc(services, func(s types.NamespacedName) bool { return s.Namespace == name }) {
			out = append(out, gw)
		}
	}
	return out
}

// of returns a copy.
func (u *users) of(service types.NamespacedName) map[types.NamespacedName]bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	out := make(map[types.NamespacedName]bool, len(u.gateways[service]))
	for gw := range u.gateways[service] {
		out[gw] = true
	}
	return out
}

// usesSetting tells whether a Gateway is placed by an AviInfraSetting.
func (r *SvcAPIGatewayReconciler) usesSetting(gw *svcapi.Gateway, class *svcapi.GatewayClass, ns *corev1.Namespace, cfg *settings.Settings, setting string) bool {
	ours, unknown, _ := translate.SvcAPIGatewayOurs(cfg, class, ns)
	return (ours || unknown && controllerutil.ContainsFinalizer(gw, gather.Finalizer)) && gather.SettingOfSvcAPIGateway(class, ns) == setting
}
