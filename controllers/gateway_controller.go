// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	gatewayv1beta1 "sigs.k8s.io/gateway-api/apis/v1beta1"

	"github.com/avi-l4-operator/avi-l4-operator/internal/gatewayapi"
	"github.com/avi-l4-operator/avi-l4-operator/internal/gather"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/outcome"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
	"github.com/avi-l4-operator/avi-l4-operator/internal/status"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
)

// +kubebuilder:rbac:groups=gateway.networking.k8s.io,resources=gateways,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=gateway.networking.k8s.io,resources=gateways/status;listenersets/status,verbs=patch
// +kubebuilder:rbac:groups=gateway.networking.k8s.io,resources=listenersets;referencegrants,verbs=get;list;watch

// gateways are the owners that are Gateways of gateway.networking.k8s.io, whose backends come from routes.
type gateways struct {
	gather.Gateways
	*users
	*sightings
	Deps
	log logr.Logger
}

func newGateways(d Deps, log logr.Logger) *owners[*gatewayv1.Gateway] {
	u, s := new(users), &sightings{apis: d.APIs, seen: make(map[types.NamespacedName]map[string]sighting)}
	return newOwners(d, "gateway", gateways{gather.Gateways{Reader: d.Gather, Using: u.set, Doubt: s.doubt}, u, s, d, log}, log)
}

func (gateways) refers(api gather.API) bool {
	return api == gather.InfraSettings || api == gather.Rules || api == gather.Monitors || api == gather.GatewayAPI ||
		slices.Contains(slices.Collect(maps.Values(gather.KindAPIs)), api)
}

func (gateways) finalizers() []string { return nil }

func (gateways) inherited(*settings.Settings, *gather.Candidate[*gatewayv1.Gateway]) bool {
	return false
}

func (gateways) marked(model.Owner, *model.Observed) bool { return true }

func (k gateways) exists(ctx context.Context, key types.NamespacedName) (bool, error) {
	return k.onServer(ctx, key, k.New())
}

func (k gateways) forget(gw types.NamespacedName) {
	k.set(gw, nil)
	k.drop(gw)
}

func (k gateways) watch(b *builder.Builder, _ handlers) *builder.Builder {
	return b.Watches(&corev1.Service{}, mapped(k.ofService), builder.WithPredicates(attachable()))
}

func (k gateways) sources(c cache.Cache, api gather.API, h handlers) []source.Source {
	switch api {
	case gather.GatewayAPI:
		return []source.Source{
			source.Kind(c, client.Object(&gatewayv1.Gateway{}), h.plainly(itself), gatewayPredicate()),
			source.Kind(c, client.Object(&gatewayv1.GatewayClass{}), mapped(k.ofClass), specChanged()),
		}
	case gather.ListenerSets:
		return []source.Source{source.Kind(c, client.Object(&gatewayv1.ListenerSet{}), mapped(k.ofSet), specChanged())}
	case gather.ReferenceGrants:
		return []source.Source{source.Kind(c, client.Object(&gatewayv1beta1.ReferenceGrant{}), mapped(k.ofGrant), specChanged())}
	}
	if route := routeType(api); route != nil {
		return []source.Source{source.Kind(c, route, mapped(k.ofRoute), specChanged())}
	}
	return nil
}

// gatewayPredicate lets through what gatewayChanged does, and a status whose addresses have changed.
func gatewayPredicate() predicate.Predicate {
	return predicate.Or(gatewayChanged(), updated(func(before, after *gatewayv1.Gateway) bool {
		return !apiequality.Semantic.DeepEqual(before.Status.Addresses, after.Status.Addresses)
	}))
}

// gatewayChanged lets through what people change, and a status from which our conditions have gone.
func gatewayChanged() predicate.Predicate {
	return predicate.Or(specChanged(), updated(func(before, after *gatewayv1.Gateway) bool {
		return apimeta.FindStatusCondition(after.Status.Conditions, string(gatewayv1.GatewayConditionProgrammed)) == nil ||
			finalizersChanged(before, after)
	}))
}

func (k gateways) where(ctx context.Context, which func(*gatewayv1.Gateway) bool) []types.NamespacedName {
	return keysWhere(ctx, k.Deps, k, k.log, which)
}

func (k gateways) ofService(_ context.Context, o client.Object) []reconcile.Request {
	return requestsFor(k.using(client.ObjectKeyFromObject(o))...)
}

// inNamespace are also those that select namespaces by label.
func (k gateways) inNamespace(ctx context.Context, namespace string) []types.NamespacedName {
	sets, err := k.ListenerSets(ctx)
	if err != nil {
		k.log.Error(err, "listing ListenerSets from the cache")
	}
	selecting := make(map[types.NamespacedName]bool)
	for _, s := range sets {
		if gw, ok := gatewayapi.GatewayOf(s); ok && slices.ContainsFunc(s.Spec.Listeners,
			func(l gatewayv1.ListenerEntry) bool { return bySelector(l.AllowedRoutes) }) {
			selecting[gw] = true
		}
	}
	users := k.usersIn(namespace)
	return k.where(ctx, func(gw *gatewayv1.Gateway) bool {
		a, key := gw.Spec.AllowedListeners, client.ObjectKeyFromObject(gw)
		return gw.Namespace == namespace || selecting[key] || slices.Contains(users, key) ||
			a != nil && a.Namespaces != nil && a.Namespaces.Selector != nil ||
			slices.ContainsFunc(gw.Spec.Listeners, func(l gatewayv1.Listener) bool { return bySelector(l.AllowedRoutes) })
	})
}

func bySelector(a *gatewayv1.AllowedRoutes) bool {
	return a != nil && a.Namespaces != nil && a.Namespaces.Selector != nil
}

func (k gateways) ofClass(ctx context.Context, class client.Object) []reconcile.Request {
	return requestsFor(k.where(ctx, func(gw *gatewayv1.Gateway) bool { return string(gw.Spec.GatewayClassName) == class.GetName() })...)
}

func (gateways) ofSet(_ context.Context, o client.Object) []reconcile.Request {
	if s, ok := o.(*gatewayv1.ListenerSet); ok {
		if gw, ok := gatewayapi.GatewayOf(s); ok {
			return requestsFor(gw)
		}
	}
	return nil
}

func (k gateways) ofGrant(_ context.Context, o client.Object) []reconcile.Request {
	return requestsFor(k.usersIn(o.GetNamespace())...)
}

func (k gateways) ofRoute(ctx context.Context, o client.Object) []reconcile.Request {
	route := gatewayapi.RouteOf(o)
	if route == nil {
		return nil
	}
	return requestsFor(k.GatewaysOf(ctx, route)...)
}

func (gateways) moved() predicate.Predicate { return specChanged() }

func (gateways) relevant(*gatewayv1.Gateway) bool { return true }

func (gateways) programmed(gw *gatewayv1.Gateway) bool {
	return apimeta.IsStatusConditionTrue(gw.Status.Conditions, string(gatewayv1.GatewayConditionProgrammed)) || len(gw.Status.Addresses) > 0
}

func (gateways) said() status.Reading { return status.OfGateway() }

func (k gateways) writeStatus(ctx context.Context, gw *gatewayv1.Gateway, in translate.Input, out outcome.Outcome) error {
	owner, ok := in.Owner.(translate.Gateway)
	if !ok { // nothing was read of what belongs to it
		owner.View = gatewayapi.Look(gatewayapi.World{Gateway: gw})
	}
	return k.Status.Gateway(ctx, owner.View, out)
}

// reportNoClass says nothing: the API lets nobody but the class's controller write a status.
func (gateways) reportNoClass(context.Context, *gatewayv1.Gateway, string) error { return nil }

// clear takes back what was written on a Gateway, and on its ListenerSets.
func (k gateways) clear(ctx context.Context, gw *gatewayv1.Gateway) error {
	sets, err := k.SetsOf(ctx, gw)
	if err != nil {
		return err
	}
	for _, s := range sets {
		if err := k.Status.ClearListenerSet(ctx, s); client.IgnoreNotFound(err) != nil {
			return err
		}
	}
	if ends(gw, k.finalizers()) {
		return nil
	}
	return k.Status.ClearGateway(ctx, gw)
}

// handBack is clear: AKO's L4 half serves no such Gateways.
func (k gateways) handBack(ctx context.Context, gw *gatewayv1.Gateway, served bool) (bool, error) {
	if !served {
		return false, nil
	}
	return true, k.clear(ctx, gw)
}

// sightings remember how many objects of each kind Gateways had when they were last looked at, so that an absence can be judged.
type sightings struct {
	apis *APIs

	mu   sync.Mutex
	seen map[types.NamespacedName]map[string]sighting // of a Gateway, by kind
}

// sighting is how many objects of a kind a Gateway had when last looked at, since the type came.
type sighting struct {
	since time.Time
	count int
	ever  bool
}

func (s *sightings) drop(gw types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.seen, gw)
}

// doubt judges what an absence says. Objects that vanish because their type is being removed are wanted still; and where the
// type has only just come back, that there are none yet says nothing, unless this Gateway had some since.
func (s *sightings) doubt(ctx context.Context, gw types.NamespacedName, kind string, count int) (d gather.Doubt, err error) {
	api := gather.KindAPIs[kind]
	since := s.apis.Since(api)
	s.mu.Lock()
	was := s.seen[gw][kind]
	s.mu.Unlock()
	if !was.since.Equal(since) {
		was = sighting{since: since}
	}
	if count < was.count {
		if d.Leaving, err = s.apis.Leaving(ctx, api); err != nil || d.Leaving {
			return d, err
		}
	}
	was.count, was.ever = count, was.ever || count > 0
	d.Young = !was.ever && s.apis.Young(api)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen[gw] == nil {
		s.seen[gw] = make(map[string]sighting)
	}
	s.seen[gw][kind] = was
	return d, nil
}
