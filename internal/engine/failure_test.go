// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"errors"
	"fmt"
	"testing"

	"github.com/avi-l4-operator/avi-l4-operator/internal/avi"
	"github.com/avi-l4-operator/avi-l4-operator/internal/mirror"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/outcome"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
)

// TestErrorsAreTold: each kind of error gets the reason and the class that a status and the queue go by.
func TestErrorsAreTold(t *testing.T) {
	for name, c := range map[string]struct {
		err    error
		reason string
		class  outcome.Class
	}{
		"away":          {&avi.Error{Reason: avi.ReasonUnavailable}, model.ReasonControllerDown, outcome.Transient},
		"upgrade":       {&avi.Error{Reason: avi.ReasonUpgrade, Class: avi.Wait}, model.ReasonControllerUpgrading, outcome.Wait},
		"no address":    {&avi.Error{Reason: avi.ReasonNoFreeIP, Class: avi.Wait}, model.ReasonNoFreeAddress, outcome.Wait},
		"refused":       {&avi.Error{Reason: avi.ReasonInvalid, Class: avi.Terminal}, model.ReasonControllerRefused, outcome.Terminal},
		"stale":         {&avi.Error{Reason: avi.ReasonStale, Class: avi.Conflict}, model.ReasonControllerRefused, outcome.Conflict},
		"foreign name":  {&mirror.NotOursError{CreatedBy: "bob"}, model.ReasonNameTaken, outcome.Terminal},
		"not loaded":    {mirror.ErrNotLoaded, model.ReasonControllerDown, outcome.Transient},
		"no cloud":      {mirror.ErrNoCloud, model.ReasonReferenceMissing, outcome.Transient},
		"dry run":       {&RestrainedError{By: translate.Flag, Plan: "p"}, model.ReasonDryRun, outcome.Terminal},
		"paused":        {&RestrainedError{By: translate.RestraintOf(map[string]string{translate.AnnotationPaused: "true"})}, model.ReasonPaused, outcome.Terminal},
		"anything else": {errors.New("x"), model.ReasonControllerRefused, outcome.Transient},
		"none":          {nil, model.ReasonControllerRefused, outcome.None},
	} {
		err := c.err
		if err != nil {
			err = fmt.Errorf("create Pool admin/p: %w", err)
		}
		if got := Reason(err); got != c.reason {
			t.Errorf("%s: reason %s, want %s", name, got, c.reason)
		}
		if got := Classify(err); got != c.class {
			t.Errorf("%s: class %d, want %d", name, got, c.class)
		}
	}
}

// TestFailureTellsTheGravest: and tries again when the mildest passes.
func TestFailureTellsTheGravest(t *testing.T) {
	away := &avi.Error{Reason: avi.ReasonUnavailable, Message: "no answer"}
	refused := &avi.Error{Reason: avi.ReasonInvalid, Class: avi.Terminal, Message: "bad body"}
	for _, order := range [][]error{{away, refused}, {refused, away}} {
		var f failure
		for _, err := range order {
			f.add(err, map[error]model.Kind{away: model.Pool, refused: model.VsVip}[err])
		}
		got := f.outcome()
		want := outcome.Failure{
			Reason: model.ReasonControllerRefused, Message: refused.Cause(), Class: outcome.Terminal, Kind: model.VsVip, Retry: away,
		}
		if got != want {
			t.Errorf("told %+v", got)
		}
	}
}
