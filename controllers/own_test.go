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
