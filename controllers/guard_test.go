// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"fmt"
	"testing"
	"time"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
)

func TestGuard(t *testing.T) {
	key := func(i int) model.Owner { return model.Owner{Kind: model.ServiceOwner, Name: fmt.Sprint(i)} }
	g := guard{share: 0.2, least: 5}
	now := time.Unix(0, 0).Add(time.Hour)
	allowed := 0
	for i := range 100 {
		if g.allow(key(i), 100, now) == nil {
			allowed++
		}
	}
	if allowed != 20 {
		t.Errorf("%d of 100 may go, want 20", allowed)
	}
	// Time alone lets nobody go: a site must not be drained slowly.
	if g.allow(key(99), 80, now.Add(time.Hour)) == nil {
		t.Error("a held one may go after an hour")
	}
	for i := range 100 {
		g.settle(key(i))
	}
	if err := g.allow(key(1), 100, now.Add(2*time.Hour)); err != nil {
		t.Errorf("with nothing held: %v", err)
	}
	small := guard{share: 0.2, least: 5}
	for i := range 5 {
		if err := small.allow(key(i), 8, now); err != nil {
			t.Error(err)
		}
	}
	if small.allow(key(6), 8, now) == nil {
		t.Error("a sixth of eight may go")
	}
}
