// SPDX-License-Identifier: Apache-2.0

package gather

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	gatewayv1beta1 "sigs.k8s.io/gateway-api/apis/v1beta1"

	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1alpha1"
	"github.com/avi-l4-operator/avi-l4-operator/internal/gatewayapi"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
)

// The APIs around a Gateway of gateway.networking.k8s.io. A cluster may lack any of them.
const (
	GatewayAPI      API = "gateway.networking.k8s.io Gateway"
	ListenerSets    API = "gateway.networking.k8s.io ListenerSet"
	TCPRoutes       API = "gateway.networking.k8s.io TCPRoute"
	UDPRoutes       API = "gateway.networking.k8s.io UDPRoute"
	ReferenceGrants API = "gateway.networking.k8s.io ReferenceGrant"
	SCTPRoutes      API = "ako.vmware.com SCTPRoute"
)

// KindAPIs maps the kinds that a Gateway's view is made of to the APIs that have them.
var KindAPIs = map[string]API{
	gatewayapi.KindListenerSet: ListenerSets, gatewayapi.KindTCPRoute: TCPRoutes, gatewayapi.KindUDPRoute: UDPRoutes,
	gatewayapi.KindSCTPRoute: SCTPRoutes, gatewayapi.KindReferenceGrant: ReferenceGrants,
}

// Doubt is what is known about the objects of a kind that could be listed.
type Doubt struct {
	// Leaving: the type is being removed from the cluster, and its objects with it.
	Leaving bool
	// Young: the type has only just come, perhaps back, and its objects after it.
	Young bool
}

// Gateways are the owners that are Gateways of gateway.networking.k8s.io.
type Gateways struct {
	*Reader
	// Using is called with the Services that the routes of a Gateway refer to before those are read, so that a change is not missed.
	Using func(gateway types.NamespacedName, services []types.NamespacedName)
	// Doubt judges what it says that a Gateway has count objects of a kind.
	Doubt func(ctx context.Context, gateway types.NamespacedName, kind string, count int) (Doubt, error)
}

var _ Kind[*gatewayv1.Gateway] = Gateways{}

// Owner implements Kind.
func (Gateways) Owner() model.OwnerKind { return model.GatewayOwner }

// API implements Kind.
func (Gateways) API() API { return GatewayAPI }

// New implements Kind.
func (Gateways) New() *gatewayv1.Gateway { return new(gatewayv1.Gateway) }

// Get implements Kind.
func (k Gateways) Get(ctx context.Context, key types.NamespacedName) (*gatewayv1.Gateway, bool, error) {
	return get(ctx, k.Reader, k, key)
}

// List implements Kind.
func (k Gateways) List(ctx context.Context) ([]*gatewayv1.Gateway, error) {
	if !k.Serves(GatewayAPI) {
		return nil, nil
	}
	var list gatewayv1.GatewayList
	if err := k.Client.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing Gateways: %w", err)
	}
	return pointers(list.Items), nil
}

// Named implements Kind.
func (k Gateways) Named(ctx context.Context, name string) ([]*gatewayv1.Gateway, error) {
	return named(ctx, k.Reader, k, name, nil)
}

// Candidate implements Kind.
func (k Gateways) Candidate(ctx context.Context, gw *gatewayv1.Gateway) (*Candidate[*gatewayv1.Gateway], error) {
	ns, err := k.namespace(ctx, gw)
	if err != nil {
		return nil, err
	}
	class, err := k.class(ctx, gw)
	if err != nil {
		return nil, err
	}
	out := &Candidate[*gatewayv1.Gateway]{
		Object: gw, Namespace: ns, Setting: settingOfGateway(gw, class, ns),
		judge: func(s *settings.Settings) translate.Verdict {
			return translate.GatewayOurs(s, k.ControllerNames, class, ns)
		},
		deselected: func(*settings.Settings) bool { return Claimed(gw) },
	}
	if class != nil {
		out.Controller = string(class.Spec.ControllerName)
		out.Managed = slices.Contains(k.ControllerNames, out.Controller)
	}
	return out, nil
}

func (r *Reader) class(ctx context.Context, gw *gatewayv1.Gateway) (*gatewayv1.GatewayClass, error) {
	class, key := new(gatewayv1.GatewayClass), types.NamespacedName{Name: string(gw.Spec.GatewayClassName)}
	if err := r.Client.Get(ctx, key, class); err != nil {
		if apierrors.IsNotFound(err) {
			return nil, nil
		}
		return nil, reading(err, "GatewayClass", key)
	}
	return class, nil
}

// Behind implements Kind.
func (k Gateways) Behind(ctx context.Context, s *settings.Settings, c *Candidate[*gatewayv1.Gateway]) (translate.Owner,
	[]translate.Backend, error) {
	world, err := k.world(ctx, c.Object)
	if err != nil {
		return nil, nil, err
	}
	view := gatewayapi.Look(world)
	var backends []translate.Backend
	for _, key := range serviceKeys(view.Routes) {
		svc := view.Services[key]
		if svc == nil {
			continue
		}
		backend, err := k.backend(ctx, s, svc)
		if err != nil {
			return nil, nil, err
		}
		backends = append(backends, backend)
	}
	return translate.Gateway{View: view}, backends, nil
}

// ListenerSets lists all ListenerSets. They are shared with the cache.
func (r *Reader) ListenerSets(ctx context.Context) ([]*gatewayv1.ListenerSet, error) {
	if !r.Serves(ListenerSets) {
		return nil, nil
	}
	var list gatewayv1.ListenerSetList
	if err := r.Client.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing ListenerSets: %w", err)
	}
	return pointers(list.Items), nil
}

func pointers[T any](items []T) []*T {
	out := make([]*T, len(items))
	for i := range items {
		out[i] = &items[i]
	}
	return out
}

// Routes lists the routes of a kind. They are shared with the cache.
func (r *Reader) Routes(ctx context.Context, kind string) (out []*gatewayapi.Route, err error) {
	if !r.Serves(KindAPIs[kind]) {
		return nil, nil
	}
	list := map[string]client.ObjectList{
		gatewayapi.KindTCPRoute: new(gatewayv1.TCPRouteList), gatewayapi.KindUDPRoute: new(gatewayv1.UDPRouteList),
		gatewayapi.KindSCTPRoute: new(v1alpha1.SCTPRouteList),
	}[kind]
	if err := r.Client.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing %ss: %w", kind, err)
	}
	switch list := list.(type) {
	case *gatewayv1.TCPRouteList:
		for i := range list.Items {
			out = append(out, gatewayapi.RouteOf(&list.Items[i]))
		}
	case *gatewayv1.UDPRouteList:
		for i := range list.Items {
			out = append(out, gatewayapi.RouteOf(&list.Items[i]))
		}
	case *v1alpha1.SCTPRouteList:
		for i := range list.Items {
			out = append(out, gatewayapi.RouteOf(&list.Items[i]))
		}
	}
	return out, nil
}

// Grants lists the ReferenceGrants. They are shared with the cache.
func (r *Reader) Grants(ctx context.Context) ([]*gatewayv1beta1.ReferenceGrant, error) {
	if !r.Serves(ReferenceGrants) {
		return nil, nil
	}
	var list gatewayv1beta1.ReferenceGrantList
	if err := r.Client.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing ReferenceGrants: %w", err)
	}
	return pointers(list.Items), nil
}

// world reads what belongs to a Gateway: its ListenerSets, the routes attached to it or to them, and what those refer to.
func (k Gateways) world(ctx context.Context, gw *gatewayv1.Gateway) (w gatewayapi.World, err error) {
	w = gatewayapi.World{Gateway: gw, Unread: make(map[string]bool), Young: make(map[string]bool)}
	count := make(map[string]int)
	if w.Sets, err = k.SetsOf(ctx, gw); err != nil {
		return w, err
	}
	count[gatewayapi.KindListenerSet] = len(w.Sets)
	for _, kind := range gatewayapi.RouteKinds() {
		routes, err := k.routesOf(ctx, kind, gw, w.Sets)
		if err != nil {
			return w, err
		}
		w.Routes = append(w.Routes, routes...)
		count[kind] = len(routes)
	}
	if w.Grants, err = k.Grants(ctx); err != nil {
		return w, err
	}
	keys := serviceKeys(w.Routes)
	for _, g := range w.Grants {
		if slices.ContainsFunc(keys, func(key types.NamespacedName) bool { return key.Namespace == g.Namespace }) {
			count[gatewayapi.KindReferenceGrant]++
		}
	}
	if err := k.judgeAbsences(ctx, &w, count); err != nil {
		return w, err
	}
	if err := k.namespaces(ctx, &w); err != nil {
		return w, err
	}
	k.Using(client.ObjectKeyFromObject(gw), keys)
	return w, k.routeServices(ctx, &w)
}

// SetsOf are the ListenerSets that add listeners to a Gateway.
func (r *Reader) SetsOf(ctx context.Context, gw *gatewayv1.Gateway) ([]*gatewayv1.ListenerSet, error) {
	sets, err := r.ListenerSets(ctx)
	return slices.DeleteFunc(sets, func(s *gatewayv1.ListenerSet) bool {
		of, ok := gatewayapi.GatewayOf(s)
		return !ok || of != client.ObjectKeyFromObject(gw) || s.DeletionTimestamp != nil
	}), err
}

// routesOf are the routes of a kind whose parents are a Gateway or its ListenerSets.
func (r *Reader) routesOf(ctx context.Context, kind string, gw *gatewayv1.Gateway, sets []*gatewayv1.ListenerSet) ([]*gatewayapi.Route,
	error) {
	routes, err := r.Routes(ctx, kind)
	self, mine := client.ObjectKeyFromObject(gw), keysOf(sets)
	return slices.DeleteFunc(routes, func(route *gatewayapi.Route) bool {
		return route.Object.GetDeletionTimestamp() != nil || !slices.ContainsFunc(route.Parents, func(ref gatewayv1.ParentReference) bool {
			parent, key, ok := gatewayapi.Parent(route, ref)
			return ok && (parent == gatewayapi.KindGateway && key == self || parent == gatewayapi.KindListenerSet && slices.Contains(mine, key))
		})
	}), err
}

// judgeAbsences marks the kinds of which it is not known whether a Gateway has more objects than were counted.
func (k Gateways) judgeAbsences(ctx context.Context, w *gatewayapi.World, count map[string]int) error {
	for kind, api := range KindAPIs {
		if !k.Serves(api) {
			w.Unread[kind] = true
			continue
		}
		d, err := k.Doubt(ctx, client.ObjectKeyFromObject(w.Gateway), kind, count[kind])
		if err != nil {
			return err
		}
		w.Unread[kind], w.Young[kind] = d.Leaving, d.Young
	}
	return nil
}

// serviceKeys are the Services that routes refer to, in order.
func serviceKeys(routes []*gatewayapi.Route) []types.NamespacedName {
	var out []types.NamespacedName
	for _, route := range routes {
		out = append(out, route.ServiceKeys()...)
	}
	slices.SortFunc(out, func(a, b types.NamespacedName) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return slices.Compact(out)
}

// Listeners reads what decides about a Gateway's listeners, whether they admit a route, and which other routes of its kind are
// attached to them.
func (r *Reader) Listeners(ctx context.Context, gw *gatewayv1.Gateway, route *gatewayapi.Route) (gatewayapi.World, error) {
	w := gatewayapi.World{Gateway: gw, Unread: make(map[string]bool)}
	var err error
	if w.Sets, err = r.SetsOf(ctx, gw); err != nil {
		return w, err
	}
	if w.Routes, err = r.routesOf(ctx, route.Kind, gw, w.Sets); err != nil {
		return w, err
	}
	return w, r.namespaces(ctx, &w)
}

// References reads what a route's references resolve to.
func (r *Reader) References(ctx context.Context, route *gatewayapi.Route) (w gatewayapi.World, err error) {
	w = gatewayapi.World{Routes: []*gatewayapi.Route{route},
		Unread: map[string]bool{gatewayapi.KindReferenceGrant: !r.Serves(ReferenceGrants)}}
	if w.Grants, err = r.Grants(ctx); err != nil {
		return w, err
	}
	return w, r.routeServices(ctx, &w)
}

// GatewayOfParent is the Gateway that a parentRef means, directly or through a ListenerSet; ok is false for other parents, and
// for a ListenerSet that doesn't exist.
func (r *Reader) GatewayOfParent(ctx context.Context, route *gatewayapi.Route, ref gatewayv1.ParentReference) (key types.NamespacedName,
	ok bool) {
	kind, key, ok := gatewayapi.Parent(route, ref)
	if !ok || kind == gatewayapi.KindGateway {
		return key, ok
	}
	if !r.Serves(ListenerSets) {
		return key, false
	}
	s := new(gatewayv1.ListenerSet)
	if err := r.Client.Get(ctx, key, s); err != nil {
		return key, false
	}
	return gatewayapi.GatewayOf(s)
}

// GatewaysOf are the Gateways that a route is, or wants to be, attached to.
func (r *Reader) GatewaysOf(ctx context.Context, route *gatewayapi.Route) (out []types.NamespacedName) {
	for _, ref := range route.Parents {
		if gw, ok := r.GatewayOfParent(ctx, route, ref); ok && !slices.Contains(out, gw) {
			out = append(out, gw)
		}
	}
	return out
}

// namespaces reads the labels of those that matter.
func (r *Reader) namespaces(ctx context.Context, w *gatewayapi.World) error {
	w.Namespaces = make(map[string]map[string]string)
	read := func(o interface{ GetNamespace() string }, as client.Object) error {
		if _, known := w.Namespaces[o.GetNamespace()]; known {
			return nil
		}
		ns, err := r.namespace(ctx, as)
		if err != nil {
			return err
		}
		w.Namespaces[ns.Name] = ns.Labels
		return nil
	}
	if err := read(w.Gateway, w.Gateway); err != nil {
		return err
	}
	for _, s := range w.Sets {
		if err := read(s, s); err != nil {
			return err
		}
	}
	for _, route := range w.Routes {
		if err := read(route.Object, route.Object.(client.Object)); err != nil {
			return err
		}
	}
	return nil
}

// routeServices reads the Services that the routes refer to.
func (r *Reader) routeServices(ctx context.Context, w *gatewayapi.World) error {
	w.Services = make(map[types.NamespacedName]*corev1.Service)
	for _, route := range w.Routes {
		for _, key := range route.ServiceKeys() {
			if _, known := w.Services[key]; known {
				continue
			}
			svc := new(corev1.Service)
			err := r.Client.Get(ctx, key, svc)
			if apierrors.IsNotFound(err) || err == nil && svc.DeletionTimestamp != nil {
				continue
			}
			if err != nil {
				return fmt.Errorf("reading Service %s: %w", key, err)
			}
			w.Services[key] = svc
		}
	}
	return nil
}

// settingOfGateway is the AviInfraSetting of a Gateway: its own, else its class's, else its namespace's.
func settingOfGateway(gw *gatewayv1.Gateway, class *gatewayv1.GatewayClass, ns *corev1.Namespace) SettingRef {
	own := ownParameters(gw)
	out := SettingRef{Name: SettingOfNamespace(ns)}
	switch {
	case own != nil:
		out.Name = own.Name
	case class != nil && class.Spec.ParametersRef != nil:
		out.Name = class.Spec.ParametersRef.Name
	}
	switch {
	case class == nil:
		out.Reason, out.Problem = model.ReasonNoGatewayClass, NoClass(string(gw.Spec.GatewayClassName))
	case own != nil && !isSetting(string(own.Group), string(own.Kind)):
		out.Reason, out.Problem = model.ReasonInvalidParameters, fmt.Sprintf("spec.infrastructure.parametersRef names %s %s; only an AviInfraSetting of group ako.vmware.com can be used", own.Group, own.Kind)
	case own == nil && ParametersProblem(class) != "":
		out.Reason, out.Problem = model.ReasonInvalidParameters, fmt.Sprintf("GatewayClass %s: %s", class.Name, ParametersProblem(class))
	}
	return out
}

func ownParameters(gw *gatewayv1.Gateway) *gatewayv1.LocalParametersReference {
	if gw.Spec.Infrastructure == nil {
		return nil
	}
	return gw.Spec.Infrastructure.ParametersRef
}

func isSetting(group, kind string) bool {
	return group == "ako.vmware.com" && kind == "AviInfraSetting"
}

// ParametersProblem is what is wrong with the form of a class's parametersRef, "" if nothing is.
func ParametersProblem(class *gatewayv1.GatewayClass) string {
	ref := class.Spec.ParametersRef
	switch {
	case ref == nil:
	case !isSetting(string(ref.Group), string(ref.Kind)):
		return fmt.Sprintf("spec.parametersRef names %s %s; only an AviInfraSetting of group ako.vmware.com can be used", ref.Group, ref.Kind)
	case ref.Namespace != nil && *ref.Namespace != "":
		return "spec.parametersRef has a namespace; AviInfraSettings are cluster-scoped: remove it"
	}
	return ""
}
