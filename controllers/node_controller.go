// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
	"github.com/avi-l4-operator/avi-l4-operator/internal/staticroutes"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
)

// +kubebuilder:rbac:groups="",resources=nodes;pods,verbs=get;list;watch

// NodeReconciler has the owners looked at whose servers are reached through nodes: all of them when a node changes, those
// of a namespace when one of its pods gets other ports on its node. Nodes and Pods are watched only in the modes that
// need them.
type NodeReconciler struct {
	Settings  *settings.Store
	Everybody func()
	Namespace func(ctx context.Context, name string)

	controller controller.Controller
	watching   map[settings.ServiceType]bool
}

// calmNodes gathers changes of nodes, or of a namespace's pods, which come in crowds.
const calmNodes = 200 * time.Millisecond

// Reconcile has the owners looked at: those of the request's namespace, or all.
func (r *NodeReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	if req.Namespace == "" {
		r.Everybody()
	} else {
		r.Namespace(ctx, req.Namespace)
	}
	return ctrl.Result{}, nil
}

// SetupWithManager registers a controller that watches nothing yet.
func (r *NodeReconciler) SetupWithManager(mgr ctrl.Manager) error {
	r.watching = make(map[settings.ServiceType]bool)
	c, err := ctrl.NewControllerManagedBy(mgr).
		Named("node").
		WatchesRawSource(new(queue).capture()).
		WithOptions(controller.Options{RateLimiter: rateLimiter()}).
		Build(r)
	r.controller = c
	return err
}

// Watch begins to watch what a mode needs. It is called by one goroutine at a time.
func (r *NodeReconciler) Watch(c cache.Cache, mode settings.ServiceType) error {
	if r.watching[mode] {
		return nil
	}
	var s source.Source
	switch mode {
	case settings.NodePort:
		s = source.Kind(c, client.Object(&corev1.Node{}), r.crowd(mode, ""), nodeChanged())
	case settings.NodePortLocal:
		s = source.Kind(c, client.Object(&corev1.Pod{}), r.crowd(mode, "pod"), podChanged())
	default:
		return nil
	}
	if err := r.controller.Watch(s); err != nil {
		return fmt.Errorf("watching what serviceType %s needs: %w", mode, err)
	}
	r.watching[mode] = true
	return nil
}

// crowd queues one request for all changes of a moment, while the mode is in force.
func (r *NodeReconciler) crowd(mode settings.ServiceType, name string) handler.EventHandler {
	add := func(_ context.Context, o client.Object, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
		if s := r.Settings.Current(); s != nil && s.ServiceType == mode {
			q.AddAfter(reconcile.Request{NamespacedName: types.NamespacedName{Namespace: o.GetNamespace(), Name: name}}, calmNodes)
		}
	}
	return eachObject(add) // those of the first list too: the owners may have read before it
}

// nodeChanged lets through what decides about a server; kubelets write much else.
func nodeChanged() predicate.Predicate {
	return updated(func(before, after *corev1.Node) bool {
		return !(apiequality.Semantic.DeepEqual(before.Spec, after.Spec) && apiequality.Semantic.DeepEqual(before.Labels, after.Labels) &&
			apiequality.Semantic.DeepEqual(before.Annotations, after.Annotations) && apiequality.Semantic.DeepEqual(before.Status, after.Status))
	})
}

// podChanged lets through pods with other ports on their node. Readiness comes with EndpointSlices.
func podChanged() predicate.Predicate {
	ports := func(o client.Object) string { return o.GetAnnotations()[translate.AnnotationNodePortLocalPorts] }
	return predicate.Funcs{
		CreateFunc: func(e event.CreateEvent) bool { return ports(e.Object) != "" },
		UpdateFunc: func(e event.UpdateEvent) bool { return ports(e.ObjectOld) != ports(e.ObjectNew) },
		DeleteFunc: func(e event.DeleteEvent) bool { return false },
	}
}

// slimNode keeps what makes a server of a node, and a route to its pods.
func slimNode(o any) (any, error) {
	n, ok := o.(*corev1.Node)
	if !ok {
		return o, nil
	}
	n.SetManagedFields(nil)
	n.Annotations = only(n.Annotations, slices.Concat(translate.NodeAnnotations, staticroutes.NodeAnnotations)...)
	taints := slices.DeleteFunc(n.Spec.Taints, func(t corev1.Taint) bool { return !slices.Contains(translate.NodeTaints, t.Key) })
	n.Spec = corev1.NodeSpec{Taints: taints, PodCIDR: n.Spec.PodCIDR, PodCIDRs: n.Spec.PodCIDRs}
	n.Status = corev1.NodeStatus{Addresses: n.Status.Addresses}
	return n, nil
}

// slimPod keeps the ports that Antrea gave a pod on its node.
func slimPod(o any) (any, error) {
	p, ok := o.(*corev1.Pod)
	if !ok {
		return o, nil
	}
	p.SetManagedFields(nil)
	p.Annotations = only(p.Annotations, translate.AnnotationNodePortLocalPorts)
	p.Labels, p.OwnerReferences, p.Spec = nil, nil, corev1.PodSpec{}
	p.Status = corev1.PodStatus{PodIPs: p.Status.PodIPs}
	return p, nil
}

// only keeps some keys, nil if there are none.
func only(m map[string]string, keys ...string) map[string]string {
	var out map[string]string
	for _, k := range keys {
		if v, ok := m[k]; ok {
			if out == nil {
				out = make(map[string]string, len(keys))
			}
			out[k] = v
		}
	}
	return out
}
