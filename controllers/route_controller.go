// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	gatewayv1beta1 "sigs.k8s.io/gateway-api/apis/v1beta1"

	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1alpha1"
	"github.com/avi-l4-operator/avi-l4-operator/internal/gatewayapi"
	"github.com/avi-l4-operator/avi-l4-operator/internal/gather"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
	"github.com/avi-l4-operator/avi-l4-operator/internal/status"
)

// +kubebuilder:rbac:groups=gateway.networking.k8s.io,resources=tcproutes;udproutes,verbs=get;list;watch
// +kubebuilder:rbac:groups=gateway.networking.k8s.io,resources=tcproutes/status;udproutes/status,verbs=patch
// +kubebuilder:rbac:groups=ako.vmware.com,resources=sctproutes,verbs=get;list;watch
// +kubebuilder:rbac:groups=ako.vmware.com,resources=sctproutes/status,verbs=patch

// RouteReconciler writes into the status of each route of a kind what became of it at the Gateways that are ours. What is served is decided
// by the reconciler of Gateways.
type RouteReconciler struct {
	Deps
	*queue
	Kind string
	Log  logr.Logger

	controller controller.Controller
}

// routeType is an empty object of an API that has a kind of route.
func routeType(api gather.API) client.Object {
	switch api {
	case gather.TCPRoutes:
		return &gatewayv1.TCPRoute{}
	case gather.UDPRoutes:
		return &gatewayv1.UDPRoute{}
	case gather.SCTPRoutes:
		return &v1alpha1.SCTPRoute{}
	}
	return nil
}

// Reconcile writes one route's status.
func (r *RouteReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	r.Lead()
	api := gather.KindAPIs[r.Kind]
	cfg := r.Settings.Current()
	if cfg == nil || cfg.Layer7Only || !r.APIs.Serves(api) || !r.APIs.Serves(gather.GatewayAPI) {
		return ctrl.Result{}, nil
	}
	o := routeType(api)
	if err := r.Client.Get(ctx, req.NamespacedName, o); err != nil {
		if apierrors.IsNotFound(err) {
			return ctrl.Result{}, nil
		}
		return ctrl.Result{}, fmt.Errorf("reading %s %s: %w", r.Kind, req.NamespacedName, err)
	}
	if o.GetDeletionTimestamp() != nil {
		return ctrl.Result{}, nil
	}
	route := gatewayapi.RouteOf(o)
	var parents []status.RouteParent
	for _, ref := range route.Parents {
		p, known, err := r.parent(ctx, cfg, route, ref)
		if err != nil {
			return ctrl.Result{}, err
		}
		if known {
			parents = append(parents, p)
		}
	}
	if len(parents) > 0 {
		world, err := r.Gather.References(ctx, route)
		if err != nil {
			return ctrl.Result{}, err
		}
		references := gatewayapi.References(world.Resolve(route))
		for i := range parents {
			parents[i].References = references
		}
	}
	return resultOf(ctx, client.IgnoreNotFound(r.Status.Route(ctx, route, parents, r.Gather.ControllerNames)))
}

// parent judges one parentRef. known is false for a parent that isn't ours.
func (r *RouteReconciler) parent(ctx context.Context, cfg *settings.Settings, route *gatewayapi.Route,
	ref gatewayv1.ParentReference) (p status.RouteParent, known bool, err error) {
	key, ok := r.Gather.GatewayOfParent(ctx, route, ref)
	if !ok {
		return p, false, nil
	}
	c, err := gather.Read(ctx, gather.Gateways{Reader: r.Gather}, key)
	if err != nil || c == nil {
		return p, false, err
	}
	p.Ref = ref
	if v := c.Judge(cfg); !v.Ours {
		// Another instance's with the same controllerName, or one whose class has gone: what is written stays.
		p.Keep = v.Unknown || c.Managed
		return p, p.Keep, nil
	}
	if _, handover := r.handedOver(c.Object, model.Owner{Kind: model.GatewayOwner, Namespace: key.Namespace, Name: key.Name}, cfg); handover {
		p.Keep = true
		return p, true, nil
	}
	p.Controller = gatewayv1.GatewayController(c.Controller)
	world, err := r.Gather.Listeners(ctx, c.Object, route)
	if err != nil {
		return p, false, err
	}
	attachment := gatewayapi.Look(world).Attach(route, ref)
	p.Accepted, p.KeptOut = attachment.Verdict, attachment.KeptOut(route)
	return p, true, nil
}

// All queues every route of the kind.
func (r *RouteReconciler) All() {
	r.enqueue(r.routes(context.Background(), func(*gatewayapi.Route) bool { return true })...)
}

// Refers implements part: routes name Gateways and what is around them.
func (r *RouteReconciler) Refers(api gather.API) bool {
	return api == gather.GatewayAPI || slices.Contains(slices.Collect(maps.Values(gather.KindAPIs)), api)
}

func (r *RouteReconciler) routes(ctx context.Context, which func(*gatewayapi.Route) bool) (out []types.NamespacedName) {
	if !r.APIs.Synced(gather.KindAPIs[r.Kind]) {
		return nil // their first list queues them all
	}
	routes, err := r.Gather.Routes(ctx, r.Kind)
	if err != nil {
		r.Log.Error(err, "listing routes from the cache", "kind", r.Kind)
		return nil
	}
	for _, route := range routes {
		if which(route) {
			out = append(out, route.Key())
		}
	}
	return out
}

// of queues the routes that an object concerns.
func (r *RouteReconciler) of(concerns func(context.Context, client.Object, *gatewayapi.Route) bool) handler.EventHandler {
	return mapped(func(ctx context.Context, o client.Object) []reconcile.Request {
		return requestsFor(r.routes(ctx, func(route *gatewayapi.Route) bool { return concerns(ctx, o, route) })...)
	})
}

// SetupWithManager registers the watches on types that every cluster has.
func (r *RouteReconciler) SetupWithManager(mgr ctrl.Manager) error {
	c, err := ctrl.NewControllerManagedBy(mgr).
		Named(r.Kind).
		Watches(&corev1.Service{}, r.of(r.ofService), builder.WithPredicates(attachable())).
		Watches(&corev1.Namespace{}, r.of(r.ofNamespace), builder.WithPredicates(metadataChanged(), sinceFirstList())).
		WatchesRawSource(r.capture()).
		WithOptions(controller.Options{MaxConcurrentReconciles: 4, RateLimiter: rateLimiter(), ReconciliationTimeout: r.Timeout}).
		Build(r)
	r.controller = c
	return err
}

func (r *RouteReconciler) ofService(_ context.Context, o client.Object, route *gatewayapi.Route) bool {
	return route.Refers(client.ObjectKeyFromObject(o))
}

// ofNamespace reports whether a change of a namespace may concern a route: one in it, whose labels a listener may select, or one of a
// Gateway or a ListenerSet in it, which a Gateway may select by label.
func (r *RouteReconciler) ofNamespace(ctx context.Context, ns client.Object, route *gatewayapi.Route) bool {
	return route.Object.GetNamespace() == ns.GetName() ||
		slices.ContainsFunc(route.Parents, func(ref gatewayv1.ParentReference) bool {
			_, key, ok := gatewayapi.Parent(route, ref)
			return ok && key.Namespace == ns.GetName()
		}) ||
		slices.ContainsFunc(r.Gather.GatewaysOf(ctx, route), func(gw types.NamespacedName) bool { return gw.Namespace == ns.GetName() })
}

func (r *RouteReconciler) ofGateway(ctx context.Context, o client.Object, route *gatewayapi.Route) bool {
	return slices.Contains(r.Gather.GatewaysOf(ctx, route), client.ObjectKeyFromObject(o))
}

// ofSibling reports whether a change of one route may concern another: it decides whether a younger one at the same Gateway is served.
func (r *RouteReconciler) ofSibling(ctx context.Context, o client.Object, route *gatewayapi.Route) bool {
	other := gatewayapi.RouteOf(o)
	if other == nil || other.Key() == route.Key() {
		return false
	}
	gateways := r.Gather.GatewaysOf(ctx, other)
	return slices.ContainsFunc(r.Gather.GatewaysOf(ctx, route), func(gw types.NamespacedName) bool { return slices.Contains(gateways, gw) })
}

func (r *RouteReconciler) ofClass(context.Context, client.Object, *gatewayapi.Route) bool {
	return true
}

func (r *RouteReconciler) ofSet(_ context.Context, o client.Object, route *gatewayapi.Route) bool {
	return slices.ContainsFunc(route.Parents, func(ref gatewayv1.ParentReference) bool {
		kind, key, ok := gatewayapi.Parent(route, ref)
		return ok && kind == gatewayapi.KindListenerSet && key == client.ObjectKeyFromObject(o)
	})
}

func (r *RouteReconciler) ofGrant(_ context.Context, o client.Object, route *gatewayapi.Route) bool {
	return slices.ContainsFunc(route.ServiceKeys(), func(k types.NamespacedName) bool { return k.Namespace == o.GetNamespace() })
}

// Watch begins to watch an API's types, which the API server has.
func (r *RouteReconciler) Watch(c cache.Cache, api gather.API) error {
	var sources []source.Source
	switch api {
	case gather.KindAPIs[r.Kind]:
		sources = []source.Source{
			source.Kind(c, routeType(api), &handler.EnqueueRequestForObject{},
				predicate.Or(specChanged(), entriesChanged(r.Gather.ControllerNames))),
			source.Kind(c, routeType(api), r.of(r.ofSibling), specChanged(), sinceFirstList()),
		}
	case gather.GatewayAPI:
		sources = []source.Source{
			source.Kind(c, client.Object(&gatewayv1.Gateway{}), r.of(r.ofGateway), gatewayChanged()),
			source.Kind(c, client.Object(&gatewayv1.GatewayClass{}), r.of(r.ofClass), specChanged()),
		}
	case gather.ListenerSets:
		sources = []source.Source{source.Kind(c, client.Object(&gatewayv1.ListenerSet{}), r.of(r.ofSet), specChanged())}
	case gather.ReferenceGrants:
		sources = []source.Source{source.Kind(c, client.Object(&gatewayv1beta1.ReferenceGrant{}), r.of(r.ofGrant), specChanged())}
	}
	return watch(r.controller, sources)
}

// entriesChanged lets through a status in which somebody has changed what is ours.
func entriesChanged(names []string) predicate.Predicate {
	mine := func(o client.Object) (out []gatewayv1.RouteParentStatus) {
		if route := gatewayapi.RouteOf(o); route != nil {
			for _, p := range route.Status.Parents {
				if slices.Contains(names, string(p.ControllerName)) {
					out = append(out, p)
				}
			}
		}
		return out
	}
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, after := mine(e.ObjectOld), mine(e.ObjectNew)
		return len(after) < len(before) && !apiequality.Semantic.DeepEqual(before, after)
	}}
}
