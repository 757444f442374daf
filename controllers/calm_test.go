// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/types"
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
