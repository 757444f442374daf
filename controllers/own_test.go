// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/avi-l4-operator/avi-l4-operator/internal/gather"
	"github.com/avi-l4-operator/avi-l4-operator/internal/status"
)

// TestOwnWritesRunNobodyAgain: what a run wrote runs its owner no more, but every other one that the object belongs to, and those of other
// controllers.
func TestOwnWritesRunNobodyAgain(t *testing.T) {
	writer := &status.Writer{Now: time.Now}
	before := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "core", Name: "amf", UID: "1", ResourceVersion: "1"}}
	after := before.DeepCopy()
	after.Finalizers = []string{gather.Finalizer}
	group := func(name string) types.NamespacedName { return types.NamespacedName{Namespace: "core", Name: name} }
	ctx := status.WithRun(t.Context(), status.Run{Controller: "sharedvip", Owner: group("n2")})
	if err := writer.Write(ctx, before, after, func() error { after.ResourceVersion = "2"; return nil }); err != nil {
		t.Fatal(err)
	}
	foreign := after.DeepCopy()
	foreign.ResourceVersion = "3"
	groups := func(context.Context, client.Object) []reconcile.Request { return requestsFor(group("n2"), group("n3")) }
	for name, c := range map[string]struct {
		controller string
		from, to   *corev1.Service
		want       []string
	}{
		"own":                   {"sharedvip", before, after, []string{"n3"}},
		"of another controller": {"service", before, after, []string{"n2", "n3"}},
		"of somebody else":      {"sharedvip", after, foreign, []string{"n2", "n3"}},
		"with somebody else's":  {"sharedvip", before, foreign, []string{"n2", "n3"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := &owners[*corev1.Service]{calm: new(calm), name: c.controller, Deps: Deps{Status: writer}}
			for _, h := range []func() (out []string){
				func() []string { return queued(r.handlers().plainly(groups).Update, c.from, c.to) },
				func() []string { return queued(r.handlers().calmly(groups).Update, c.from, c.to) },
			} {
				if got := h(); !slices.Equal(got, c.want) {
					t.Errorf("queued %v, want %v", got, c.want)
				}
			}
		})
	}
}

// queued are the names that an update queues.
func queued(
	update func(context.Context, event.UpdateEvent, workqueue.TypedRateLimitingInterface[reconcile.Request]), from, to client.Object,
) (out []string) {
	q := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
	defer q.ShutDown()
	update(context.Background(), event.UpdateEvent{ObjectOld: from, ObjectNew: to}, q)
	for q.Len() > 0 {
		request, _ := q.Get()
		q.Done(request)
		out = append(out, request.Name)
	}
	slices.Sort(out)
	return out
}

// TestOverlookedDeletion: the objects of an owner are removed without a guard's leave only where the watch itself has shown that its
// object, which had just been given the finalizer, went without being marked for deletion.
func TestOverlookedDeletion(t *testing.T) {
	key := types.NamespacedName{Namespace: "core", Name: "amf"}
	fresh := func() *corev1.Service {
		return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name, UID: "1"}}
	}
	now := metav1.Now()
	for name, c := range map[string]struct {
		claimed time.Duration // ago; negative: not by this process
		inList  bool          // the watch was interrupted, and the next list lacked it
		change  func(*corev1.Service)
		want    bool
	}{
		"just claimed":               {0, false, func(*corev1.Service) {}, true},
		"claimed half a minute ago":  {30 * time.Second, false, func(*corev1.Service) {}, true},
		"claimed two minutes ago":    {2 * time.Minute, false, func(*corev1.Service) {}, false},
		"claimed by another process": {-1, false, func(*corev1.Service) {}, false},
		"missing in a list":          {0, true, func(*corev1.Service) {}, false},
		"another of its name":        {0, false, func(s *corev1.Service) { s.UID = "2" }, false},
		"finalizer removed by hand":  {0, false, func(s *corev1.Service) { s.Finalizers = nil }, false},
		"marked for deletion":        {0, false, func(s *corev1.Service) { s.DeletionTimestamp = &now }, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := &owners[*corev1.Service]{calm: new(calm), memory: newMemory(), name: "service"}
			if c.claimed >= 0 {
				r.claimed(fresh(), time.Now().Add(-c.claimed))
			}
			o := fresh()
			o.Finalizers = []string{gather.Finalizer}
			c.change(o)
			q := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
			defer q.ShutDown()
			r.handlers().plainly(itself).Delete(t.Context(), event.DeleteEvent{Object: o, DeleteStateUnknown: c.inList}, q)
			if got := r.takeMissed(key); got != c.want || q.Len() != 1 {
				t.Errorf("overlooked is %v, want %v; %d queued", got, c.want, q.Len())
			}
		})
	}
}
