// SPDX-License-Identifier: Apache-2.0

package status

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

// TestPatchKnowsItsOwnWrites: a cache that still has what was written over doesn't make a status "the same".
func TestPatchKnowsItsOwnWrites(t *testing.T) {
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "amf", Namespace: "core", UID: "1"}}
	c := fake.NewClientBuilder().WithObjects(svc).WithStatusSubresource(svc).Build()
	w := &Writer{Client: c, Now: time.Now}
	read := func() *corev1.Service {
		t.Helper()
		s := new(corev1.Service)
		if err := c.Get(t.Context(), client.ObjectKeyFromObject(svc), s); err != nil {
			t.Fatal(err)
		}
		return s
	}
	cached := read()
	if err := w.Patch(t.Context(), cached, cached, true); err != nil {
		t.Fatalf("nothing was written yet: %v", err)
	}
	next := cached.DeepCopy()
	next.Status.Conditions = []metav1.Condition{{Type: "a", Status: metav1.ConditionTrue}}
	if err := w.Patch(t.Context(), cached, next, false); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := w.Patch(t.Context(), cached, cached, true); !apierrors.IsConflict(err) {
			t.Errorf("the cache is behind, and the answer is %v", err)
		}
	}
	if fresh := read(); len(fresh.Status.Conditions) != 1 || w.Patch(t.Context(), fresh, fresh, true) != nil {
		t.Errorf("the cache has caught up, and still: %+v", fresh.Status)
	}
}

// TestUnhurried: of statuses that nobody waits for, few are written at once, and one that somebody waits for passes them.
func TestUnhurried(t *testing.T) {
	var now atomic.Int32
	var mu sync.Mutex
	most := int32(0)
	gate := make(chan struct{})
	svc := func(i int) *corev1.Service {
		return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint(i), Namespace: "core", UID: types.UID(fmt.Sprint(i))}}
	}
	patch := func(_ context.Context, _ client.Client, _ string, o client.Object, _ client.Patch, _ ...client.SubResourcePatchOption) error {
		if o.GetName() == "0" {
			return nil
		}
		mu.Lock()
		most = max(most, now.Add(1))
		mu.Unlock()
		<-gate
		now.Add(-1)
		return nil
	}
	w := &Writer{Client: fake.NewClientBuilder().WithInterceptorFuncs(interceptor.Funcs{SubResourcePatch: patch}).Build(), Now: time.Now}
	write := func(ctx context.Context, i int) error {
		next := svc(i)
		next.Status.Conditions = []metav1.Condition{{Type: "a", Status: metav1.ConditionTrue}}
		return w.Patch(ctx, svc(i), next, false)
	}
	ctx, cancel := context.WithCancel(Unhurried(t.Context()))
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			if err := write(ctx, 1+i); err != nil {
				t.Error(err)
			}
		})
	}
	for now.Load() < unhurriedAtOnce {
		time.Sleep(time.Millisecond)
	}
	if err := write(t.Context(), 0); err != nil {
		t.Errorf("one that doesn't wait: %v", err)
	}
	given, stop := context.WithTimeout(ctx, time.Millisecond)
	defer stop()
	if err := write(given, 99); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("one whose time is over while it waits: %v", err)
	}
	close(gate)
	wg.Wait()
	cancel()
	if most != unhurriedAtOnce {
		t.Errorf("%d were written at once", most)
	}
}

// Addresses that are put right a second time are somebody else's doing.
func TestContest(t *testing.T) {
	ours := []corev1.LoadBalancerIngress{{IP: "10.10.0.10", IPMode: new(corev1.LoadBalancerIPModeVIP)}}
	theirs := []corev1.LoadBalancerIngress{{IP: "203.0.113.99"}}
	var c contest
	for i, step := range []struct {
		have, want []corev1.LoadBalancerIngress
		told       bool
	}{
		{nil, ours, false}, {ours, ours, false}, {theirs, ours, false}, {ours, ours, false}, {theirs, ours, true}, {ours, theirs, false},
	} {
		if got := c.again("uid", step.have, step.want); got != step.told {
			t.Errorf("step %d: told %v", i, got)
		}
	}
}
