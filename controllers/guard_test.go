// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/plan"
)

// site is a cluster with a number of owners, some of which the settings let go of, and guards that come and go with restarts.
type site struct {
	*testing.T
	client   client.Client
	served   map[model.Owner]bool
	deselect func(model.Owner) bool
	release  []string
	at       time.Time
	guard    *guard
}

func newSite(t *testing.T, owners int) *site {
	s := &site{T: t, client: fake.NewClientBuilder().Build(), served: make(map[model.Owner]bool), at: time.Unix(1e9, 0)}
	for i := range owners {
		s.served[serviceAt(i)] = true
	}
	s.deselect = func(model.Owner) bool { return false }
	s.restart()
	return s
}

func serviceAt(i int) model.Owner {
	return model.Owner{Kind: model.ServiceOwner, Namespace: "core", Name: fmt.Sprintf("s%02d", i)}
}

// restart makes a guard that knows nothing but what it reads.
func (s *site) restart() {
	s.guard = &guard{
		share: 0.2, now: func() time.Time { return s.at }, changed: func([]model.Owner) {}, release: func() []string { return s.release },
		ledger: &ledger{live: s.client, client: s.client, namespace: "avi"},
		census: func(context.Context) (census, error) {
			c := census{total: len(s.served), doomed: make(map[model.Owner]bool)}
			for o := range s.served {
				if s.deselect(o) {
					c.doomed[o] = true
				}
			}
			return c, nil
		},
	}
}

// run looks at every owner, removes those that may go, and returns the error of the last one that is held.
func (s *site) run() (told error) {
	s.Helper()
	s.at = s.at.Add(5 * time.Second)
	for i := range 100 {
		o := serviceAt(i)
		if !s.served[o] {
			continue
		}
		if !s.deselect(o) {
			s.guard.settle(s.Context(), o)
			continue
		}
		switch err := s.guard.allow(s.Context(), o); {
		case err == nil:
			delete(s.served, o)
		case errors.As(err, new(heldError)):
			told = err
		default:
			s.Error(err)
		}
	}
	return told
}

func (s *site) ledger() *corev1.ConfigMap {
	s.Helper()
	cm := new(corev1.ConfigMap)
	if err := s.client.Get(s.Context(), types.NamespacedName{Namespace: "avi", Name: LedgerName}, cm); client.IgnoreNotFound(err) != nil {
		s.Fatal(err)
	}
	return cm
}

func all(model.Owner) bool { return true }

// TestCrashLoopWithATypo: however often the operator starts, and however few there are, a slip in a setting takes down none.
func TestCrashLoopWithATypo(t *testing.T) {
	for _, n := range []int{1, 3, 5, 40} {
		s := newSite(t, n)
		s.deselect = all
		var told error
		for range 8 {
			s.restart()
			told = s.run()
		}
		if len(s.served) != n || told == nil {
			t.Errorf("%d of %d serve; told %v", len(s.served), n, told)
		}
		if version := s.ledger().ResourceVersion; version != "1" {
			t.Errorf("of %d: the ConfigMap was written %s times, want once", n, version)
		}
		s.deselect = func(model.Owner) bool { return false }
		s.run()
		if data := s.ledger().Data; len(data) > 0 {
			t.Errorf("put right, and there is still %v", data)
		}
	}
}

// TestShareSurvivesRestarts: labels of one Namespace after the other let go of one owner each, and the operator starts anew each time.
func TestShareSurvivesRestarts(t *testing.T) {
	s := newSite(t, 40)
	for i := range 40 {
		s.deselect = func(o model.Owner) bool { return o.Name <= serviceAt(i).Name }
		s.restart()
		s.run()
	}
	if gone := 40 - len(s.served); gone != 8 {
		t.Errorf("%d of 40 have gone, want 8", gone)
	}
}

// TestRelease lets go of the plan that was named, and of nothing that joins it later.
func TestRelease(t *testing.T) {
	s := newSite(t, 10)
	s.deselect = func(o model.Owner) bool { return o.Name < serviceAt(6).Name }
	told := s.run()
	h, err := s.guard.ledger.read(t.Context(), plan.GuardDeselected)
	if err != nil || told == nil || !strings.Contains(told.Error(), "configmap avi-k8s-config l4.ako.vmware.com/release="+h.ID) ||
		!strings.Contains(told.Error(), "6 of 10") {
		t.Fatalf("told %v of %+v, %v", told, h, err)
	}
	s.release = []string{"0000", h.ID}
	s.restart()
	s.at = s.at.Add(time.Minute)
	one := serviceAt(0)
	if err := s.guard.allow(t.Context(), one); err != nil {
		t.Error(err)
	}
	delete(s.served, one)
	s.restart() // in the middle of it
	s.deselect = func(o model.Owner) bool { return o.Name < serviceAt(9).Name }
	s.run()
	if len(s.served) != 4 {
		t.Errorf("%d serve, want the 3 that joined later and the one that is selected", len(s.served))
	}
}

// TestLedgerThatIsNotOurs: what can't be read holds everything, and says how to go on.
func TestLedgerThatIsNotOurs(t *testing.T) {
	s := newSite(t, 40)
	cm := &corev1.ConfigMap{Data: map[string]string{string(plan.GuardDeselected): "yes"}}
	cm.Namespace, cm.Name = "avi", LedgerName
	if err := s.client.Create(t.Context(), cm); err != nil {
		t.Fatal(err)
	}
	s.deselect = func(o model.Owner) bool { return o == serviceAt(0) }
	if err := s.guard.allow(t.Context(), serviceAt(0)); err == nil || !strings.Contains(err.Error(), LedgerName) {
		t.Errorf("%v", err)
	}
}

// TestLost holds what is there for owners that don't exist, small sites included.
func TestLost(t *testing.T) {
	for _, tc := range []struct{ lost, total, held int }{{1, 1, 1}, {3, 3, 3}, {2, 5, 2}, {1, 5, 0}, {9, 40, 9}, {8, 40, 0}} {
		s := newSite(t, 0)
		lost := make(map[model.Owner]bool)
		for i := range tc.lost {
			lost[serviceAt(i)] = true
		}
		for range 3 {
			s.restart()
			h, err := s.guard.allowLost(t.Context(), lost, tc.total)
			if len(h.Owners) != tc.held || (err != nil) != (tc.held > 0) {
				t.Errorf("%d of %d: %d are held, %v", tc.lost, tc.total, len(h.Owners), err)
			}
		}
	}
}

func TestOwnerNamed(t *testing.T) {
	for _, kind := range []model.OwnerKind{model.ServiceOwner, model.GatewayOwner, model.UntoldOwner} {
		o := model.Owner{Kind: kind, Namespace: "a", Name: "b-c"}
		if got := ownerNamed(o.String()); got != o {
			t.Errorf("%q is read as %+v", o, got)
		}
	}
}
