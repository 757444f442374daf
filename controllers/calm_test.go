// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

func TestCalm(t *testing.T) {
	var c calm
	key := types.NamespacedName{Name: "amf"}
	now := time.Unix(1000, 0)
	if d := c.delay(key, now); d != calmFirst {
		t.Errorf("a first change waits %s", d)
	}
	// Changes come all the time: after each update the next is further away, up to the limit.
	updates := 0
	for end := now.Add(10 * time.Second); now.Before(end); updates++ {
		now = now.Add(c.delay(key, now))
		c.wrote(key, now)
	}
	if updates < 5 || updates > 10 {
		t.Errorf("%d updates in ten seconds of changes, want 5 to 10", updates)
	}
	if d := c.delay(key, now.Add(time.Minute)); d != calmFirst {
		t.Errorf("after a quiet minute a change waits %s", d)
	}
	for i := range 5000 {
		c.wrote(types.NamespacedName{Name: "s", Namespace: string(rune(i))}, now.Add(time.Duration(i)*time.Second))
	}
	if len(c.last) > 4200 {
		t.Errorf("%d keys are remembered", len(c.last))
	}
}
