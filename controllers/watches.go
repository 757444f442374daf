// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/avi-l4-operator/avi-l4-operator/internal/gather"
	"github.com/avi-l4-operator/avi-l4-operator/internal/status"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
)

// watch starts sources. One that can't be started is an error, after which all may be started again.
func watch(c controller.Controller, sources []source.Source) error {
	for _, s := range sources {
		if err := c.Watch(s); err != nil {
			return fmt.Errorf("watching %s: %w", s, err)
		}
	}
	return nil
}

// usage is how an object says which AviInfraSetting it is placed by.
type usage struct {
	api     gather.API
	object  client.Object // an empty one
	setting func(context.Context, client.Object) string
	changed predicate.Predicate
}

func mapped(f handler.MapFunc) handler.EventHandler { return handler.EnqueueRequestsFromMapFunc(f) }

// eachObject calls add with the object of each event as it is now.
func eachObject(add func(context.Context, client.Object, workqueue.TypedRateLimitingInterface[reconcile.Request])) handler.Funcs {
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			add(ctx, e.Object, q)
		},
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			add(ctx, e.ObjectNew, q)
		},
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			add(ctx, e.Object, q)
		},
	}
}

// afterFirstList leaves out the objects that are there when their watch begins.
func afterFirstList(h handler.Funcs) handler.Funcs {
	create := h.CreateFunc
	h.CreateFunc = func(ctx context.Context, e event.CreateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
		if !e.IsInInitialList {
			create(ctx, e, q)
		}
	}
	return h
}

// specChanged lets through what people change of an object that has a generation.
func specChanged() predicate.Predicate {
	return predicate.Or(predicate.GenerationChangedPredicate{}, metadataChanged())
}

// metadataChanged lets through changes of labels and annotations.
func metadataChanged() predicate.Predicate {
	return predicate.Or(predicate.LabelChangedPredicate{}, predicate.AnnotationChangedPredicate{})
}

// updated lets through updates of objects of a type for which changed is true, and all else.
func updated[T client.Object](changed func(before, after T) bool) predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, ok1 := e.ObjectOld.(T)
		after, ok2 := e.ObjectNew.(T)
		return ok1 && ok2 && changed(before, after)
	}}
}

// attachable lets through Services that may stand behind a Gateway, or might have. Those of the first list are left out: the Gateways and
// routes are in a first list of their own, which queues them all, and none of them is looked at before the cache has the Services.
func attachable() predicate.Predicate {
	asked := func(svc *corev1.Service) map[string]string {
		out := status.Asked(svc)
		delete(out, gather.AnnotationServedBy)
		delete(out, translate.AnnotationJoined)
		return out
	}
	changed := updated(func(before, after *corev1.Service) bool {
		return !(apiequality.Semantic.DeepEqual(before.Spec, after.Spec) && apiequality.Semantic.DeepEqual(before.Labels, after.Labels) &&
			apiequality.Semantic.DeepEqual(asked(before), asked(after)) && before.DeletionTimestamp.Equal(after.DeletionTimestamp))
	})
	return predicate.And(changed, sinceFirstList())
}

// sinceFirstList leaves out the objects that are there when their watch begins: those that they concern have a first list of their own,
// which queues them all, and to look for them in each of a thousand namespaces would take as long as all of the rest.
func sinceFirstList() predicate.Predicate {
	return predicate.Funcs{CreateFunc: func(e event.CreateEvent) bool { return !e.IsInInitialList }}
}

// finalizersChanged reports whether an object's finalizers changed.
func finalizersChanged(before, after client.Object) bool {
	return !apiequality.Semantic.DeepEqual(before.GetFinalizers(), after.GetFinalizers())
}
