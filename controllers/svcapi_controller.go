// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"slices"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	svcapi "github.com/avi-l4-operator/avi-l4-operator/api/networking/v1alpha1"
	"github.com/avi-l4-operator/avi-l4-operator/internal/gather"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/outcome"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
	"github.com/avi-l4-operator/avi-l4-operator/internal/status"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
)

// +kubebuilder:rbac:groups=networking.x-k8s.io,resources=gateways,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=networking.x-k8s.io,resources=gateways/status,verbs=patch
// +kubebuilder:rbac:groups=networking.x-k8s.io,resources=gatewayclasses,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=networking.x-k8s.io,resources=gatewayclasses/status,verbs=patch

// akoFinalizer is what AKO puts on the Gateways that it serves.
const akoFinalizer = "gateway.ako.vmware.com"

// svcAPIGateways are the owners that are Gateways of the Services API, networking.x-k8s.io.
type svcAPIGateways struct {
	gather.SvcAPIGateways
	*users
	Deps
	log logr.Logger
}

func newSvcAPIGateways(d Deps, log logr.Logger) *owners[*svcapi.Gateway] {
	u := new(users)
	return newOwners(d, "svcapigateway", svcAPIGateways{gather.SvcAPIGateways{Reader: d.Gather, Open: u.open, Using: u.set}, u, d, log}, log)
}

func (svcAPIGateways) refers(api gather.API) bool {
	return api == gather.InfraSettings || api == gather.Rules || api == gather.Monitors
}

func (svcAPIGateways) finalizers() []string { return []string{akoFinalizer} }

// inherited reports whether a Gateway is AKO's and is being deleted without anybody else to let it go, or is one that deleteConfig asks to
// remove.
func (k svcAPIGateways) inherited(cfg *settings.Settings, c *gather.Candidate[*svcapi.Gateway]) bool {
	gw := c.Object
	switch {
	case gw.DeletionTimestamp == nil && !cfg.DeleteConfig, !cfg.Accepts(c.Namespace.Name, c.Namespace.Labels):
		return false
	case c.Judge(cfg).Unknown: // as when a file with both is deleted, and AKO keeps no finalizer on classes
		owner := model.Owner{Kind: k.Owner(), Namespace: gw.Namespace, Name: gw.Name}
		return controllerutil.ContainsFinalizer(gw, akoFinalizer) && k.Engine.Holds(owner, translate.VirtualServiceName(cfg, owner))
	}
	return c.Managed
}

// marked: a shared VIP has the markers of a Gateway, and only its VirtualService says that it is none.
func (svcAPIGateways) marked(owner model.Owner, vs *model.Observed) bool {
	return vs != nil && vs.Owner == owner
}

func (k svcAPIGateways) exists(ctx context.Context, key types.NamespacedName) (bool, error) {
	return k.onServer(ctx, key, k.New())
}

func (k svcAPIGateways) forget(gw types.NamespacedName) {
	k.open(gw, false)
	k.set(gw, nil)
}

func (k svcAPIGateways) watch(b *builder.Builder, _ handlers) *builder.Builder {
	return b.Watches(&corev1.Service{}, mapped(k.ofService), builder.WithPredicates(attachable()))
}

func (k svcAPIGateways) sources(c cache.Cache, api gather.API, h handlers) []source.Source {
	if api != gather.ServicesAPI {
		return nil
	}
	return []source.Source{
		source.Kind(c, client.Object(&svcapi.Gateway{}), h.plainly(itself), svcAPIPredicate()),
		source.Kind(c, client.Object(&svcapi.GatewayClass{}), mapped(k.ofClass), specChanged()),
	}
}

// svcAPIPredicate lets through what people change, and a status from which our conditions have gone, or whose addresses have changed.
func svcAPIPredicate() predicate.Predicate {
	return predicate.Or(specChanged(), updated(func(before, after *svcapi.Gateway) bool {
		return apimeta.FindStatusCondition(after.Status.Conditions, svcapi.GatewayConditionReady) == nil ||
			!apiequality.Semantic.DeepEqual(before.Status.Addresses, after.Status.Addresses) || finalizersChanged(before, after)
	}))
}

func (k svcAPIGateways) where(ctx context.Context, which func(*svcapi.Gateway) bool) []types.NamespacedName {
	return keysWhere(ctx, k.Deps, k, k.log, which)
}

// ofService are the Gateways that use a Service, the one that it names, and those that may take it though it names none; none before the
// cache has them, since their first list queues them all.
func (k svcAPIGateways) ofService(ctx context.Context, o client.Object) []reconcile.Request {
	svc, ok := o.(*corev1.Service)
	if !ok || !k.Synced(gather.ServicesAPI) {
		return nil
	}
	out := k.using(client.ObjectKeyFromObject(svc))
	maybe := k.opened()
	if namespace, name, ok := translate.NamedGateway(svc.Labels); ok {
		maybe = []types.NamespacedName{{Namespace: namespace, Name: name}}
	}
	for _, key := range maybe {
		gw, found, err := k.Get(ctx, key)
		if err != nil {
			k.log.Error(err, "reading a Gateway that may take a Service", "gateway", key, "service", client.ObjectKeyFromObject(svc))
		}
		if found && k.Reader.Selects(gw, svc) && !slices.Contains(out, key) {
			out = append(out, key)
		}
	}
	return requestsFor(out...)
}

// inNamespace are also those that select namespaces by label.
func (k svcAPIGateways) inNamespace(ctx context.Context, namespace string) []types.NamespacedName {
	users := k.usersIn(namespace)
	return k.where(ctx, func(gw *svcapi.Gateway) bool {
		return gw.Namespace == namespace || slices.Contains(users, client.ObjectKeyFromObject(gw)) ||
			slices.ContainsFunc(gw.Spec.Listeners, selectsNamespaces)
	})
}

func selectsNamespaces(l svcapi.Listener) bool {
	n := l.Routes.Namespaces
	return n != nil && n.From != nil && *n.From == svcapi.RouteSelectSelector
}

func (k svcAPIGateways) ofClass(ctx context.Context, class client.Object) []reconcile.Request {
	return requestsFor(k.where(ctx, func(gw *svcapi.Gateway) bool { return gw.Spec.GatewayClassName == class.GetName() })...)
}

func (svcAPIGateways) moved() predicate.Predicate { return specChanged() }

func (svcAPIGateways) relevant(*svcapi.Gateway) bool { return true }

func (svcAPIGateways) programmed(gw *svcapi.Gateway) bool {
	return apimeta.IsStatusConditionTrue(gw.Status.Conditions, svcapi.GatewayConditionReady) || len(gw.Status.Addresses) > 0
}

func (svcAPIGateways) said() status.Reading { return status.OfSvcAPIGateway() }

func (k svcAPIGateways) writeStatus(ctx context.Context, gw *svcapi.Gateway, _ translate.Input, out outcome.Outcome) error {
	return k.Status.SvcAPIGateway(ctx, gw, out)
}

func (k svcAPIGateways) reportNoClass(ctx context.Context, gw *svcapi.Gateway, problem string) error {
	return k.Status.NoSvcAPIClass(ctx, gw, problem)
}

func (k svcAPIGateways) clear(ctx context.Context, gw *svcapi.Gateway) error {
	if ends(gw, k.finalizers()) {
		return nil
	}
	return k.Status.ClearSvcAPIGateway(ctx, gw)
}

func (k svcAPIGateways) handBack(ctx context.Context, gw *svcapi.Gateway, served bool) (bool, error) {
	if !served {
		return false, nil
	}
	return true, k.Status.HandBackSvcAPIGateway(ctx, gw)
}
