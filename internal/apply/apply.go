// SPDX-License-Identifier: Apache-2.0

// Package apply carries a plan out: one call for each step, as parallel as the steps' needs allow, each answer folded
// into the mirror. It never repeats a write that may have been processed without looking first.
package apply

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"sync"

	"github.com/avi-l4-operator/avi-l4-operator/internal/avi"
	"github.com/avi-l4-operator/avi-l4-operator/internal/mirror"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/plan"
)

// StepResult is what became of one step.
type StepResult struct {
	Step plan.Step
	// Err is nil if the step was carried out.
	Err error
	// Skipped reports that no call was made because a step which this one needs failed, or that a common object stays because the Controller
	// has users of it that the operator doesn't know of.
	Skipped bool
	// Replan reports that the Controller holds something else than the plan was made for; the mirror knows it now.
	Replan bool
}

// Applier carries plans out. Its methods are safe for concurrent use on plans of different owners.
type Applier struct {
	Client *avi.Client
	Mirror *mirror.Mirror
	// Done, where set, is called with the result of each step.
	Done func(StepResult)
}

// Run carries out the plan and returns a result for each step, in the plan's order.
func (a *Applier) Run(ctx context.Context, p *plan.Plan) []StepResult {
	results := make([]StepResult, len(p.Steps))
	done := make([]chan struct{}, len(p.Steps))
	for i := range done {
		done[i] = make(chan struct{})
	}
	run := func(i int) {
		defer close(done[i]) // after the result was told: steps are told in the order in which they need each other
		if a.Done != nil {
			defer func() { a.Done(results[i]) }()
		}
		step := p.Steps[i]
		results[i] = StepResult{Step: step, Skipped: true}
		for _, n := range step.Needs {
			<-done[n]
			if r := &results[n]; r.Err != nil || r.Skipped {
				return
			}
		}
		results[i] = a.step(ctx, p.Owner, step)
	}
	if len(p.Steps) == 1 { // the usual change: no goroutine for it
		run(0)
		return results
	}
	var wg sync.WaitGroup
	for i := range p.Steps {
		wg.Go(func() { run(i) })
	}
	wg.Wait()
	return results
}

func (a *Applier) step(ctx context.Context, owner model.Owner, s plan.Step) StepResult {
	switch s.Op {
	case plan.Create:
		return a.create(ctx, owner, s)
	case plan.Update:
		return a.update(ctx, s)
	case plan.Delete:
		return a.delete(ctx, s)
	}
	return StepResult{Step: s, Err: fmt.Errorf("unknown operation %q", s.Op)}
}

func (a *Applier) create(ctx context.Context, owner model.Owner, s plan.Step) StepResult {
	answer, err := a.Client.Create(ctx, s.Key.Kind, s.Key.Tenant, s.Body)
	if err == nil {
		return a.fold(s, answer)
	}
	if avi.ReasonOf(err) != avi.ReasonAlreadyExists && !avi.Ambiguous(err) {
		return StepResult{Step: s, Err: err}
	}
	// The name is taken, perhaps by a create of ours whose answer was lost: look before anything else.
	have, lookErr := a.Mirror.Fetch(ctx, s.Key)
	var foreign *mirror.NotOursError
	switch {
	case lookErr == nil && have.Owner != (model.Owner{}) && !have.Owner.MayBe(owner):
		return StepResult{Step: s, Err: &mirror.NotOursError{Key: s.Key, Owner: have.Owner}}
	case lookErr == nil:
		return StepResult{Step: s, Err: err, Replan: true}
	case errors.As(lookErr, &foreign):
		return StepResult{Step: s, Err: foreign}
	case avi.ReasonOf(lookErr) == avi.ReasonNotFound:
		return StepResult{Step: s, Err: err, Replan: avi.Ambiguous(err)}
	}
	return StepResult{Step: s, Err: err}
}

// update sends one PATCH with the changed fields: replace for those that have a value, delete for those that go back
// to their default. A list is emptied by replacing it, since delete names the elements to remove.
func (a *Applier) update(ctx context.Context, s plan.Step) StepResult {
	patch := avi.Patch{Replace: map[string]any{}, Delete: map[string]any{}}
	for _, f := range s.Fields {
		switch {
		case f.To != nil:
			patch.Replace[f.Field] = f.To
		case reflect.ValueOf(f.From).Kind() == reflect.Slice:
			patch.Replace[f.Field] = []any{}
		default:
			patch.Delete[f.Field] = f.From
		}
	}
	answer, err := a.Client.Patch(ctx, s.Key.Kind, s.Key.Tenant, s.UUID, patch)
	switch {
	case err == nil:
		return a.fold(s, answer)
	case avi.ReasonOf(err) == avi.ReasonNotFound:
		// Somebody removed it, and the next plan creates it; or the text is about something that the patch refers to.
		_, lookErr := a.Mirror.Fetch(ctx, s.Key)
		return StepResult{Step: s, Err: err, Replan: avi.ReasonOf(lookErr) == avi.ReasonNotFound}
	case avi.ReasonOf(err) == avi.ReasonStale:
		_, lookErr := a.Mirror.Fetch(ctx, s.Key)
		return StepResult{Step: s, Err: err, Replan: lookErr == nil}
	}
	// A patch says the same each time it is sent, so one whose answer was lost is simply sent again.
	return StepResult{Step: s, Err: err, Replan: avi.Ambiguous(err)}
}

func (a *Applier) delete(ctx context.Context, s plan.Step) StepResult {
	err := a.Client.Delete(ctx, s.Key.Kind, s.Key.Tenant, s.UUID)
	switch {
	case err == nil:
		a.Mirror.Gone(s.Key)
		return StepResult{Step: s}
	case s.Key.Kind.Type().Common && avi.ReasonOf(err) == avi.ReasonReferred:
		return StepResult{Step: s, Skipped: true}
	}
	return StepResult{Step: s, Err: err, Replan: avi.Ambiguous(err)}
}

func (a *Applier) fold(s plan.Step, answer json.RawMessage) StepResult {
	if _, err := a.Mirror.Wrote(s.Key.Kind, answer); err != nil {
		return StepResult{Step: s, Err: err}
	}
	return StepResult{Step: s}
}
