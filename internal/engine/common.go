// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/go-logr/logr"

	"github.com/avi-l4-operator/avi-l4-operator/internal/apply"
	"github.com/avi-l4-operator/avi-l4-operator/internal/avi"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/plan"
)

// commons keeps owners out of each other's way at objects that are for any number of them: one that a run is about to refer to is not
// deleted by another, and one that is being deleted is waited for and made anew. A run that deletes never waits, so no two runs wait for
// each other. The zero value is ready.
type commons struct {
	mu     sync.Mutex
	wanted map[model.Key]int           // runs that are about to refer to an object
	going  map[model.Key]chan struct{} // objects that are being deleted; closed when that is over
}

// want has objects kept until they are released. It waits for deletions that are under way.
func (c *commons) want(ctx context.Context, keys ...model.Key) error {
	for i, key := range keys {
		for {
			c.mu.Lock()
			going := c.going[key]
			if going == nil {
				if c.wanted == nil {
					c.wanted = make(map[model.Key]int)
				}
				c.wanted[key]++
			}
			c.mu.Unlock()
			if going == nil {
				break
			}
			select {
			case <-going:
			case <-ctx.Done():
				c.release(keys[:i]...)
				return fmt.Errorf("waiting for the deletion of %s: %w", key, ctx.Err())
			}
		}
	}
	return nil
}

func (c *commons) release(keys ...model.Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, key := range keys {
		if c.wanted[key]--; c.wanted[key] <= 0 {
			delete(c.wanted, key)
		}
	}
}

// take reserves an object for its deletion, unless a run wants or deletes it, and reports whether it did. What is taken has to be left.
func (c *commons) take(key model.Key) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.wanted[key] > 0 || c.going[key] != nil {
		return false
	}
	if c.going == nil {
		c.going = make(map[model.Key]chan struct{})
	}
	c.going[key] = make(chan struct{})
	return true
}

func (c *commons) leave(keys ...model.Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, key := range keys {
		close(c.going[key])
		delete(c.going, key)
	}
}

// spare takes, of the common objects that an owner's objects refer to, those that the owner no longer wants and nobody else
// refers to. They have to be left.
func (e *Engine) spare(owner model.Owner, used []*model.Observed, want *model.Set) (spare []*model.Observed, taken []model.Key) {
	for _, o := range used {
		wanted := want != nil && slices.ContainsFunc(want.Objects, func(w model.Object) bool { return w.Key == o.Key })
		if there := e.Mirror.Get(o.Key); wanted || there == nil || there.UUID != o.UUID || !e.commons.take(o.Key) {
			continue
		}
		// The objects are reserved first and looked at then: a run that wanted one before has been seen to refer to it by now.
		if slices.ContainsFunc(e.Mirror.Users(o), func(user model.Owner) bool { return user != owner }) {
			e.commons.leave(o.Key)
			continue
		}
		spare, taken = append(spare, o), append(taken, o.Key)
	}
	return spare, taken
}

// undone are the spare objects whose deletion failed: nothing else leads to them any more.
func undone(spare []*model.Observed, results []apply.StepResult) (out []*model.Observed) {
	for _, o := range spare {
		if slices.ContainsFunc(results, func(r apply.StepResult) bool { return r.Step.Key == o.Key && r.Err != nil }) {
			out = append(out, o)
		}
	}
	return out
}

// wantCommon has the common objects of a set kept until the run ends, and returns those that there are.
func (r *run) wantCommon(ctx context.Context, set *model.Set) (have []*model.Observed, err error) {
	for _, o := range set.Objects {
		if !o.Key.Kind.Type().Common {
			continue
		}
		if !slices.Contains(r.wanted, o.Key) {
			if err := r.commons.want(ctx, o.Key); err != nil {
				return nil, err
			}
			r.wanted = append(r.wanted, o.Key)
		}
		if there := r.Mirror.Get(o.Key); there != nil {
			have = append(have, there)
		}
	}
	return have, nil
}

// RemoveUnused deletes the common objects to which nothing refers, and did not when it was last called either: left over where
// a run ended between letting go of one and deleting it. What others than the operator refer to, the Controller keeps.
func (e *Engine) RemoveUnused(ctx context.Context) error {
	if err := e.Mirror.Err(); err != nil {
		return fmt.Errorf("the Controller can't be read: %w", err)
	}
	log := logr.FromContextOrDiscard(ctx)
	idle := make(map[model.Key]string)
	var errs []error
	for _, o := range e.Mirror.Common() {
		if len(e.Mirror.Users(o)) > 0 {
			continue
		}
		idle[o.Key] = o.UUID
		if e.idle[o.Key] != o.UUID {
			continue
		}
		spare, taken := e.spare(model.Owner{}, []*model.Observed{o}, nil)
		p := plan.Teardown(model.Owner{}, spare, "nothing refers to it")
		if e.DryRun {
			log.Info("dry run: not carried out", "plan", p.String())
		} else {
			for _, r := range e.Applier.Run(ctx, &p) {
				errs = append(errs, r.Err)
			}
		}
		e.commons.leave(taken...)
	}
	e.idle = idle
	return errors.Join(errs...)
}

// lookFirst reads the VirtualService once more before it is given a security policy for the first time: it can have one only, and
// the network team may have given it theirs since everything was read.
func (r *run) lookFirst(ctx context.Context, p *plan.Plan) (again bool, err error) {
	first := slices.ContainsFunc(p.Steps, func(s plan.Step) bool {
		return s.Op == plan.Update && s.Key.Kind == model.VirtualService && slices.ContainsFunc(s.Fields, func(c plan.FieldChange) bool {
			return c.Field == "network_security_policy_ref" && c.From == nil
		})
	})
	if !first || r.looked || r.restraint().Any() {
		return false, nil
	}
	r.looked = true
	key := model.Key{Kind: model.VirtualService, Tenant: r.record.Tenant, Name: r.record.Name}
	if _, err := r.Mirror.Fetch(ctx, key); err != nil && avi.ReasonOf(err) != avi.ReasonNotFound {
		return false, fmt.Errorf("reading %s before it gets a security policy: %w", key, err)
	}
	return true, nil
}
