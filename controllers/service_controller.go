// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/avi-l4-operator/avi-l4-operator/internal/gather"
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

// services are the owners that are Services of type LoadBalancer.
type services struct {
	gather.Services
	Deps
}

func newServices(d Deps, log logr.Logger) *owners[*corev1.Service] {
	return newOwners(d, "service", services{gather.Services{Reader: d.Gather, Place: d.place}, d}, log)
}

func (services) refers(api gather.API) bool {
	return api == gather.InfraSettings || api == gather.Rules || api == gather.Monitors
}

func (services) finalizers() []string { return nil }

// inherited: what AKO made for a Service is found by its markers, and removed when the Service asks for it no more.
func (services) inherited(*settings.Settings, *gather.Candidate[*corev1.Service]) bool { return true }

func (services) marked(model.Owner, *model.Observed) bool { return true }

func (k services) exists(ctx context.Context, key types.NamespacedName) (bool, error) {
	return k.onServer(ctx, key, k.New())
}

// forget: one that was let go may have a shared VIP waiting for it.
func (k services) forget(key types.NamespacedName) {
	svc := new(corev1.Service)
	if err := k.Deps.Client.Get(context.Background(), key, svc); err == nil && translate.SharedVIPOf(svc) != "" {
		k.Moved(mayServe(svc))
	}
}

func (k services) watch(b *builder.Builder, h handlers) *builder.Builder {
	return b.Watches(&corev1.Service{}, h.calmly(itself), builder.WithPredicates(servicePredicate())).
		Watches(&corev1.Service{}, mapped(k.ofRival))
}

// ofRival are the Services that wait, where they are served, for a place in a Service's shared VIP.
func (k services) ofRival(ctx context.Context, o client.Object) (out []reconcile.Request) {
	svc, ok := o.(*corev1.Service)
	if !ok {
		return nil
	}
	for _, group := range append(k.Engine.Mirror.SharedVIPs(svc.Namespace, svc.Name), translate.SharedVIPOf(svc)) {
		var asking corev1.ServiceList
		if group == "" {
			continue
		}
		if err := k.Deps.Client.List(ctx, &asking, client.InNamespace(svc.Namespace), client.MatchingFields{gather.IndexSharedVIP: group},
			client.UnsafeDisableDeepCopy); err != nil {
			logr.FromContextOrDiscard(ctx).Error(err, "listing the Services of a shared VIP", "sharedvip", group)
			return nil
		}
		for i := range asking.Items {
			if m := &asking.Items[i]; m.Name != svc.Name && translate.MayBeReplaced(m) {
				out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(m)})
			}
		}
	}
	return out
}

func (services) sources(cache.Cache, gather.API, handlers) []source.Source { return nil }

// using: behind a Service's ports is the Service itself.
func (services) using(service types.NamespacedName) []types.NamespacedName {
	return []types.NamespacedName{service}
}

func (k services) inNamespace(ctx context.Context, namespace string) (out []types.NamespacedName) {
	var list corev1.ServiceList
	if err := k.Deps.Client.List(ctx, &list, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
		logr.FromContextOrDiscard(ctx).Error(err, "listing Services of a namespace", "namespace", namespace)
		return nil
	}
	for i := range list.Items {
		if relevant(&list.Items[i]) {
			out = append(out, client.ObjectKeyFromObject(&list.Items[i]))
		}
	}
	return out
}

func (services) moved() predicate.Predicate {
	return predicate.Or(predicate.AnnotationChangedPredicate{},
		updated(func(before, after *corev1.Service) bool { return before.Spec.Type != after.Spec.Type }))
}

func (services) relevant(svc *corev1.Service) bool { return relevant(svc) }

func (services) programmed(svc *corev1.Service) bool {
	return programmedService(svc)
}

func (services) said() status.Reading { return status.OfService() }

func (k services) writeStatus(ctx context.Context, svc *corev1.Service, _ translate.Input, out outcome.Outcome) error {
	return k.Status.Service(ctx, svc, out, ipModeOf(k.Deps, svc), k.Engine.ClusterUUID())
}

// ipModeOf is what the status' addresses are to say; where that can't be read, what they say now.
func ipModeOf(k Deps, svc *corev1.Service) *corev1.LoadBalancerIPMode {
	cfg := k.Settings.Current()
	if cfg == nil {
		cfg = new(settings.Settings)
	}
	mode, ok := translate.IPMode(cfg, svc)
	switch ingress := svc.Status.LoadBalancer.Ingress; {
	case ok:
		return mode
	case len(ingress) > 0:
		return ingress[0].IPMode
	}
	return cfg.IPMode
}

func (services) reportNoClass(context.Context, *corev1.Service, string) error { return nil }

func (k services) clear(ctx context.Context, svc *corev1.Service) error {
	if ends(svc, k.finalizers()) {
		return nil
	}
	return k.Status.Clear(ctx, svc)
}

func (k services) handBack(ctx context.Context, svc *corev1.Service, _ bool) (bool, error) {
	return k.Status.HandBack(ctx, svc)
}

// servicePredicate lets through Services that are or were load balancers. There is no look at the generation: Services have none. A change
// of the status alone is let through only if our conditions went with it, or if the addresses changed: nobody asks for anything else there.
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
		apiequality.Semantic.DeepEqual(a.Status.LoadBalancer, b.Status.LoadBalancer)
}
