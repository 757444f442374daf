// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"time"

	"github.com/avi-l4-operator/avi-l4-operator/internal/apply"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/plan"
	"github.com/avi-l4-operator/avi-l4-operator/internal/tracing"
)

// Stage is a part of a run for one owner.
type Stage string

// The stages of a run. Gather and Status are the reconcilers', the others the engine's; a run may have several rounds of those.
const (
	Gather    Stage = "gather"
	Translate Stage = "translate"
	Plan      Stage = "plan"
	Apply     Stage = "apply"
	Status    Stage = "status"
)

// Stages are all of them, in the order of a run.
func Stages() []Stage { return []Stage{Gather, Translate, Plan, Apply, Status} }

// Watch has the functions that feed metrics. They may be nil, and are called by several owners' runs at once.
type Watch struct {
	// Took is called with how long a stage took.
	Took func(Stage, time.Duration)
	// Drift is called for an object that others have changed or deleted, in fields that are ours: when that is found, and again, with
	// repaired, when it was put right.
	Drift func(kind model.Kind, repaired bool)
}

// Time starts the clock of a stage, and its part of the run's trace if there is one; what it returns stops both.
func (e *Engine) Time(ctx context.Context, s Stage) (staged context.Context, stop func()) {
	start := time.Now()
	ctx, end := tracing.Part(ctx, string(s))
	return ctx, func() {
		end(nil)
		if e.Watch.Took != nil {
			e.Watch.Took(s, time.Since(start))
		}
	}
}

// apply carries a plan out and takes the time.
func (r *run) apply(ctx context.Context, p *plan.Plan) []apply.StepResult {
	ctx, stop := r.Time(ctx, Apply)
	defer stop()
	return r.Applier.Run(ctx, p)
}

// findDrift reports the steps of a plan that are there because others have changed something.
func (e *Engine) findDrift(p *plan.Plan) {
	if e.Watch.Drift == nil {
		return
	}
	for _, s := range p.Steps {
		if e.Mirror.TakeDrift(s.Key) {
			e.drifts.Store(s.Key, true)
			e.Watch.Drift(s.Key.Kind, false)
		}
	}
}

// repairedDrift reports that a change of others was put right, where there was one.
func (e *Engine) repairedDrift(key model.Key) {
	if _, found := e.drifts.LoadAndDelete(key); found {
		e.Watch.Drift(key.Kind, true)
	}
}
