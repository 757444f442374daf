// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

func TestCalm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c calm
		var sent []time.Duration // since the first change
		start := time.Now()
		change := func() {
			c.change(types.NamespacedName{Name: "amf"}, time.Now(), func() { sent = append(sent, time.Since(start)) })
		}
		change()
		if len(sent) != 1 || sent[0] != 0 {
			t.Fatalf("a first change is sent at %v", sent)
		}
		for range 100 { // a rollout of ten seconds
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
			change()
		}
		last := time.Since(start)
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(sent) < 5 || len(sent) > 8 {
			t.Errorf("%d updates in ten seconds of changes: %v", len(sent), sent)
		}
		if end := sent[len(sent)-1]; end < last || end > last+500*time.Millisecond {
			t.Errorf("the last change, at %v, is sent at %v", last, end)
		}
		n := len(sent)
		change()
		if len(sent) != n+1 {
			t.Error("a change after a quiet minute waits")
		}
	})
}

// TestOwnChangesAreCalmed: annotations that a program writes in a loop don't have the owner looked at each time; its deletion does at once.
func TestOwnChangesAreCalmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
		defer q.ShutDown()
		looks := 0
		look := func() {
			synctest.Wait()
			for q.Len() > 0 {
				request, _ := q.Get()
				q.Done(request)
				looks++
			}
		}
		h := (&owners[*corev1.Service]{calm: new(calm)}).calmly(itself)
		version := func(n int) *corev1.Service {
			return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "core", Name: "amf", ResourceVersion: strconv.Itoa(n)}}
		}
		for i := range 100 {
			h.Update(context.Background(), event.UpdateEvent{ObjectOld: version(i), ObjectNew: version(i + 1)}, q)
			look()
			time.Sleep(30 * time.Millisecond)
		}
		if looks < 2 || looks > 4 {
			t.Errorf("%d looks in three seconds of changes", looks)
		}
		was := looks
		time.Sleep(calmQuiet)
		if look(); looks != was+1 {
			t.Errorf("%d looks after the last change", looks-was)
		}
		was = looks
		gone := version(102)
		gone.DeletionTimestamp = new(metav1.Now())
		h.Update(context.Background(), event.UpdateEvent{ObjectOld: version(101), ObjectNew: version(102)}, q)
		h.Update(context.Background(), event.UpdateEvent{ObjectOld: version(101), ObjectNew: gone}, q)
		if look(); looks != was+1 {
			t.Errorf("%d looks at once at a deletion", looks-was)
		}
	})
}

func TestCalmForgets(t *testing.T) {
	var c calm
	now := time.Unix(1000, 0)
	for i := range 3 * calmKept {
		c.change(types.NamespacedName{Name: strconv.Itoa(i)}, now.Add(time.Duration(i)*time.Second), func() {})
	}
	if len(c.last) > calmKept {
		t.Errorf("%d owners are remembered", len(c.last))
	}
}
