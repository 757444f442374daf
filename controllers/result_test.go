// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"errors"
	"fmt"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/avi-l4-operator/avi-l4-operator/internal/avi"
	"github.com/avi-l4-operator/avi-l4-operator/internal/mirror"
)

// Each kind of failure has one consequence for the queue.
func TestResultOf(t *testing.T) {
	services := schema.GroupResource{Resource: "services"}
	for name, c := range map[string]struct {
		err      error
		after    time.Duration // 0: none
		terminal bool
		retried  bool // by the queue's back-off
	}{
		"none":                       {nil, 0, false, false},
		"conflict in Kubernetes":     {apierrors.NewConflict(services, "amf", errors.New("old")), 200 * time.Millisecond, false, false},
		"forbidden in Kubernetes":    {apierrors.NewForbidden(services, "amf", errors.New("starting")), 0, false, true},
		"not loaded yet":             {fmt.Errorf("reading: %w", mirror.ErrNotLoaded), 5 * time.Second, false, false},
		"a person must act":          {&avi.Error{Class: avi.Terminal}, 0, true, false},
		"the account may not":        {&avi.Error{Class: avi.Terminal, Reason: avi.ReasonForbidden}, 0, false, true},
		"somebody else's object":     {&mirror.NotOursError{}, 0, true, false},
		"known delay":                {&avi.Error{Class: avi.Wait, RetryAfter: 10 * time.Minute}, 10 * time.Minute, false, false},
		"unknown delay":              {&avi.Error{Class: avi.Wait}, time.Minute, false, false},
		"transient":                  {&avi.Error{Class: avi.Transient}, 0, false, true},
		"transient, told to wait":    {&avi.Error{Class: avi.Transient, RetryAfter: 3 * time.Second}, 3 * time.Second, false, false},
		"transient, told too long":   {&avi.Error{Class: avi.Transient, RetryAfter: time.Hour}, retryMax, false, false},
		"conflict on the Controller": {&avi.Error{Class: avi.Conflict}, 0, false, true},
	} {
		result, err := resultOf(t.Context(), c.err)
		terminal := errors.Is(err, reconcile.TerminalError(nil))
		if terminal != c.terminal || (err != nil && !terminal) != c.retried {
			t.Errorf("%s: error %v", name, err)
		}
		if got := result.RequeueAfter; got < c.after || got > c.after+c.after/4 {
			t.Errorf("%s: after %s, want %s and up to a fifth more", name, got, c.after)
		}
	}
}
