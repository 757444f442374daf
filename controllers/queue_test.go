// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/avi-l4-operator/avi-l4-operator/internal/gather"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
)

// TestOrderOfWork: what serves goes before what is made, and that before what is only to be looked at or to be reported.
func TestOrderOfWork(t *testing.T) {
	inner := priorityqueue.New[reconcile.Request]("test")
	defer inner.ShutDown()
	r := &owners[*corev1.Service]{kind: services{Services: gather.Services{}}, queue: &queue{inner: inner}}
	owner := func(name string) []model.Owner {
		return []model.Owner{{Kind: model.ServiceOwner, Namespace: "core", Name: name}}
	}
	key := func(name string) types.NamespacedName { return types.NamespacedName{Namespace: "core", Name: name} }
	r.HealthChanged(owner("came-up"))
	r.HealthChanged(owner("both"))
	r.enqueue(key("created"))
	r.Changed(owner("drifted"))
	r.Changed(owner("both"))
	r.before(key("endpoints"))
	var got []string
	for range 5 {
		request, _, _ := inner.GetWithPriority()
		inner.Done(request)
		got = append(got, request.Name)
	}
	slices.Sort(got[1:4])
	if want := []string{"endpoints", "both", "created", "drifted", "came-up"}; !slices.Equal(got, want) {
		t.Errorf("worked on %v, want %v", got, want)
	}
	if n := inner.Len(); n > 0 {
		t.Errorf("%d are queued still", n)
	}
}
