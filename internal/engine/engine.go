// SPDX-License-Identifier: Apache-2.0

// Package engine runs the pipeline for one owner: translate, plan, apply, and again where the Controller turned out to hold
// something else than the plan was made for. Reconcilers only make its Input.
package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/go-logr/logr"

	"github.com/avi-l4-operator/avi-l4-operator/internal/apply"
	"github.com/avi-l4-operator/avi-l4-operator/internal/avi"
	"github.com/avi-l4-operator/avi-l4-operator/internal/mirror"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/outcome"
	"github.com/avi-l4-operator/avi-l4-operator/internal/plan"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
)

// rounds bounds how often one call plans anew, so that a Controller which contradicts itself costs a back-off, not a loop.
const rounds = 4

// Engine is safe for concurrent use on different owners.
type Engine struct {
	Mirror  *mirror.Mirror
	Applier *apply.Applier
	// DryRun prints plans to the log and carries none out.
	DryRun bool
	// Watch, where set, is called with how long stages take, and with drift.
	Watch Watch
	// Routes, where set, knows which pods Service Engines reach.
	Routes *Routes
	// Statuses, where set, lists the addresses that the statuses of all owners have, as the operator wrote them.
	Statuses func(context.Context) (map[netip.Addr]bool, error)

	drifts   sync.Map // model.Key → true, of the objects whose drift was found and is not repaired yet
	replaced sync.Map // model.Owner → what was replaced last
	removing sync.Map // UUID of a VsVip → the owner of whose removal it is a part
	lost     sync.Map // netip.Addr of a status → when it was refused
	ruled    sync.Map // model.Key → the fields that an L4Rule set when last seen, as objects that were taken over don't say
	commons  commons
	names    reservations
	idle     map[model.Key]string // what RemoveUnused found last, with its UUID
}

// Dry is an engine that plans from what this one knows at the moment and carries nothing out, whatever this one is doing.
func (e *Engine) Dry() *Engine {
	out := &Engine{Mirror: e.Mirror, DryRun: true, Routes: e.Routes}
	e.replaced.Range(func(owner, what any) bool {
		out.replaced.Store(owner, what)
		return true
	})
	e.ruled.Range(func(key, fields any) bool {
		out.ruled.Store(key, fields)
		return true
	})
	return out
}

// Serve brings the Controller to what the input asks for.
func (e *Engine) Serve(ctx context.Context, in translate.Input) outcome.Outcome {
	in.Refused = map[string]model.Finding{}
	r := run{Engine: e, in: in}
	r.record.Name, r.record.Tenant = translate.VirtualServiceName(in.Settings, in.Owner.Key()), translate.Tenant(in.Settings,
		in.Owner.Key().Kind, in.Namespace)
	r.settleTenant(ctx)
	defer func() {
		r.commons.release(r.wanted...)
		r.names.release(in.Owner.Key())
	}()
	for round := range rounds {
		if !r.round(ctx, round) || ctx.Err() != nil {
			break
		}
	}
	r.describe()
	return r.outcome()
}

// run is one call of Serve.
type run struct {
	*Engine
	in      translate.Input
	kept    []model.Finding // about the tenant that it stays in
	nowhere error           // why nothing can be made in the tenant that is wanted
	last    string          // the plan of the round before
	record  outcome.Record
	wanted  []model.Key       // common objects that are kept from being deleted until the run ends
	undone  []*model.Observed // common objects whose deletion failed in the round before
	waits   bool              // for something that others of ours have
	looked  bool              // the VirtualService was read in this run
	asked   []netip.Addr      // for addresses that the status has
	denied  bool              // what was asked for
	ended   bool              // this run has deleted the VirtualService or the VsVip

	// state is what came of the last round, and failure why it is Unread or Failed.
	state   outcome.State
	failure failure
}

// end ends a round with what came of it; err, where there is one, is why. It returns false, for no other round.
func (r *run) end(state outcome.State, err error) (again bool) {
	r.state, r.failure = state, failure{}
	if err != nil {
		r.failure.add(err, "")
	}
	return false
}

func (r *run) outcome() outcome.Outcome {
	r.record.Doubtful = r.doubtful()
	r.record.Refused = len(r.in.Refused)+len(r.in.Taken) > 0 || r.waits
	model.SortFindings(r.record.Findings)
	switch r.state {
	case outcome.Done:
		r.found()
		return outcome.NewDone(r.record)
	case outcome.Blocked:
		return outcome.NewBlocked(r.record)
	case outcome.Failed:
		if !r.failure.wide {
			r.record.FailedFor = r.failure.services
		}
		return outcome.NewFailed(r.record, r.failure.outcome())
	}
	return outcome.NewUnread(r.record, r.failure.outcome())
}

// round builds, plans and applies once, and reports whether another round is needed.
func (r *run) round(ctx context.Context, round int) (again bool) {
	log := logr.FromContextOrDiscard(ctx)
	if r.nowhere != nil {
		return r.end(outcome.Failed, r.nowhere)
	}
	r.in.Facts = r.Mirror.Facts()
	if err := r.readable(ctx); err != nil {
		return r.end(outcome.Unread, err)
	}
	if err := r.learn(ctx); err != nil {
		return r.end(outcome.Failed, err)
	}
	observed, err := r.observed(ctx, r.in.Owner.Key(), r.record.Name)
	if err != nil {
		return r.end(outcome.Failed, err)
	}
	used := r.Mirror.Used(observed)
	built := r.build(ctx, slices.Concat(observed, used))
	if r.unplanned(&built) {
		return false
	}
	have, err := r.wantCommon(ctx, &built.Set)
	if err != nil {
		return r.end(outcome.Failed, err)
	}
	spare, taken := r.spare(r.in.Owner.Key(), append(used, r.undone...), &built.Set)
	defer r.commons.leave(taken...)
	p := r.plan(ctx, &built.Set, slices.Concat(observed, have, spare))
	r.findDrift(&p)
	if p.Empty() {
		r.remember(&built.Set)
		return r.end(outcome.Done, nil)
	}
	switch again, err := r.lookFirst(ctx, &p); {
	case err != nil:
		return r.end(outcome.Failed, err)
	case again:
		return true
	}
	text := p.String()
	if text == r.last && r.state == outcome.Done {
		return r.end(outcome.Failed, fmt.Errorf("the Controller doesn't keep what it is sent; still to do: %s", text))
	}
	r.last = text
	log.V(1).Info("planned", "round", round, "plan", text)
	if by := r.restraint(); by.Any() {
		log.Info("dry run: not carried out", "by", by.By(), "plan", text)
		return r.end(outcome.Failed, &RestrainedError{By: by, Plan: text, Steps: p.Steps})
	}
	if p.Replaces != "" {
		r.replaced.Store(r.in.Owner.Key(), p.Replaces)
	}
	log.Info("changing the Controller",
		"creates", count(&p, plan.Create), "updates", count(&p, plan.Update), "deletes", count(&p, plan.Delete))
	results := r.apply(ctx, &p)
	r.undone = undone(spare, results)
	again = r.judge(ctx, built, results)
	if p.Replaces != "" && r.state == outcome.Failed {
		r.restore(ctx, built, observed, results)
	}
	return again
}

// unplanned ends a round in which nothing is planned, and reports whether it did: what is asked for can't be had, or the owner is paused.
func (r *run) unplanned(built *translate.Result) bool {
	by := r.restraint()
	switch {
	case built.Blocked:
		r.end(outcome.Blocked, nil)
	case by.Paused() && !r.DryRun:
		r.end(outcome.Failed, &RestrainedError{By: by})
	default:
		return false
	}
	return true
}

// restraint is what keeps the owner's changes from being carried out: its own, which says more, before the operator's.
func (r *run) restraint() translate.Restraint {
	own := r.in.Owner.Restraint()
	if !own.Any() && r.DryRun {
		return translate.Flag
	}
	return own
}

type unreadKey struct{}

// Unread marks a run that begins while it isn't known what the Controller holds. What it decides is not carried out, even if that is known
// by then: who is served, and where, depends on it. The load that makes it known queues all owners.
func Unread(ctx context.Context) context.Context { return context.WithValue(ctx, unreadKey{}, true) }

// Known is nil if what the Controller holds is known, and was when the run with the context began.
func (e *Engine) Known(ctx context.Context) error {
	err := e.Mirror.Err()
	if err == nil && ctx.Value(unreadKey{}) != nil {
		return mirror.ErrNotLoaded
	}
	return err
}

// readable is nil if the Controller has been read, and its objects of the cluster's name are this cluster's.
func (r *run) readable(ctx context.Context) error {
	if err := r.Mirror.Others(); err != nil {
		return err
	}
	if err := r.Known(ctx); err != nil || r.in.Facts == nil {
		return fmt.Errorf("the Controller can't be read: %w", cmp.Or(err, mirror.ErrNotLoaded))
	}
	if r.restraint().Any() {
		return nil
	}
	return r.Mirror.Claim(ctx, r.in.Owner.Key(), r.record.Name)
}

// learn has the kinds listed that only L4Rules refer to, once there is one.
func (r *run) learn(ctx context.Context) error {
	kinds := r.in.Kinds()
	if len(kinds) == 0 {
		return nil
	}
	learn := func() error { return r.Mirror.Learn(ctx, kinds...) }
	if tenant := r.record.Tenant; tenant != r.in.Settings.Tenant {
		learn = func() error { return r.Mirror.LearnIn(ctx, tenant, kinds...) }
	}
	if err := learn(); err != nil {
		return fmt.Errorf("reading what L4Rules and annotations refer to: %w", err)
	}
	r.in.Facts = r.Mirror.Facts()
	if r.in.Facts == nil { // other settings, meanwhile
		return mirror.ErrNotLoaded
	}
	return nil
}

// remember notes which fields an L4Rule sets on objects that are as wanted.
func (r *run) remember(set *model.Set) {
	for _, o := range set.Objects {
		if fields := model.MarkValues(o.Key.Kind.Type().Head(o.Body).Markers, model.MarkRule); len(fields) > 0 {
			r.ruled.Store(o.Key, fields)
		} else {
			r.ruled.Delete(o.Key)
		}
	}
}

// networkLost is the reason of a VirtualService that is down because no network is known any more that its address is on, as the
// Controller words it (AKO#1027).
const networkLost = "No network/subnet matched"

// build makes the wanted objects of what the Controller holds now.
func (r *run) build(ctx context.Context, observed []*model.Observed) translate.Result {
	ctx, stop := r.Time(ctx, Translate)
	defer stop()
	if vs := r.Mirror.Get(model.Key{Kind: model.VirtualService, Tenant: r.record.Tenant, Name: r.record.Name}); vs != nil {
		// The owner that has the name keeps it; age decides only where no owner has it.
		r.in.Rival = nil
		if !vs.Owner.MayBe(r.in.Owner.Key()) {
			r.in.Rival = &vs.Owner
		}
		h, _ := r.Mirror.VSHealth(vs.UUID)
		r.in.NetworkLost = strings.Contains(h.Reason, networkLost)
	}
	r.in.Live = translate.LiveOf(&r.in, observed)
	for _, o := range observed {
		if fields, ok := r.ruled.Load(o.Key); ok {
			r.in.Live.Remember(o.Key, fields.([]string))
		}
	}
	built := translate.Objects(r.in)
	if r.takeNames(built) {
		built = translate.Objects(r.in)
	}
	r.record.Findings = slices.Concat(built.Findings, r.kept, r.unreached(ctx, &built.Set, r.in.Settings, r.in.Facts))
	return built
}

func (r *run) plan(ctx context.Context, want *model.Set, observed []*model.Observed) plan.Plan {
	_, stop := r.Time(ctx, Plan)
	defer stop()
	owner := r.in.Owner.Key()
	policy := plan.Policy{Replace: r.in.ReplacementAllowed(), Replaced: r.replacement(owner), UUIDs: r.Mirror.UUID}
	p := plan.Diff(want, observed, policy)
	if inUse := r.addressInUse(want); p.Replaces != "" && inUse != "" {
		what := p.Replaces
		policy.Replace = false
		p = plan.Diff(want, observed, policy)
		p.Findings = []model.Finding{{Severity: model.Degraded, Reason: model.ReasonNeedsReplacement,
			Message: fmt.Sprintf("can't be replaced yet: %s; %s; what serves goes on until that is free, or ask for another", what, inUse)}}
		r.waits = true
	}
	r.record.Findings = append(r.record.Findings, p.Findings...)
	r.dress(&p, want)
	return p
}

// judge counts what was done and reports whether another round helps: after a step that found the Controller changed,
// and after a pool that the Controller won't take, whose port is then left out for its neighbours' sake.
func (r *run) judge(ctx context.Context, built translate.Result, results []apply.StepResult) (again bool) {
	r.end(outcome.Done, nil)
	for _, s := range results {
		if s.Err == nil {
			if !s.Skipped {
				r.ended = r.ended || s.Step.Op == plan.Delete && s.Step.Key.Kind.Type().Replaced
				r.count(s.Step.Op)
				r.repairedDrift(s.Step.Key)
				r.ruled.Delete(s.Step.Key) // its markers say it from now on
			}
			continue
		}
		again = again || s.Replan
		if r.leaveOut(built, s) || r.refusedHad(ctx, &s) {
			again = true
			continue
		}
		r.state = outcome.Failed
		r.failure.add(fmt.Errorf("%s %s: %w", s.Step.Op, s.Step.Key, r.aboutAddress(built, s)), s.Step.Key.Kind)
		r.failure.concerns(r.serviceOf(s.Step))
	}
	return again || r.state == outcome.Done // an error-free run is checked by planning once more: nothing must be left to do
}

// leaveOut leaves out a port whose pool the Controller will never take, or a profile without which its pools serve, and reports
// whether that is so.
func (r *run) leaveOut(built translate.Result, s apply.StepResult) bool {
	key := s.Step.Key
	if s.Step.Op == plan.Create && key.Kind.Type().Common && !s.Replan && Classify(s.Err) == outcome.Terminal {
		r.record.Forbidden = r.record.Forbidden || Forbidden(s.Err)
		r.in.Refused[key.Name] = model.Finding{Severity: model.Degraded, Reason: model.ReasonPersistenceRefused,
			Message: fmt.Sprintf("the Controller refused the persistence profile %s: %s", key.Name, Explain(s.Err))}
		return true
	}
	port, isPool := built.Pools[key.Name]
	if s.Step.Op != plan.Create || key.Kind != model.Pool || !isPool || s.Replan || Classify(s.Err) != outcome.Terminal {
		return false
	}
	r.record.Forbidden = r.record.Forbidden || Forbidden(s.Err)
	r.in.Refused[key.Name] = model.Finding{Severity: model.Blocked, Port: port, Reason: model.ReasonPortRefused,
		Message: fmt.Sprintf("port %s: the Controller refused its pool: %s", port, Explain(s.Err))}
	return true
}

// aboutAddress is a step's error, which names the address that the owner asks for where its VsVip is refused.
func (r *run) aboutAddress(built translate.Result, s apply.StepResult) error {
	if s.Step.Key.Kind != model.VsVip || built.Asked == "" || Classify(s.Err) != outcome.Terminal {
		return s.Err
	}
	return &addressError{asked: built.Asked, held: r.addressInUse(&built.Set), ranges: built.VIPNetworks, err: s.Err}
}

func (r *run) count(op plan.Op) {
	switch op {
	case plan.Create:
		r.record.Changes.Created++
	case plan.Update:
		r.record.Changes.Updated++
	case plan.Delete:
		r.record.Changes.Deleted++
	}
}

func count(p *plan.Plan, op plan.Op) int {
	n := 0
	for _, s := range p.Steps {
		if s.Op == op {
			n++
		}
	}
	return n
}

// Remove deletes everything that the Controller holds for an owner. It returns nil only if nothing is left. The caller
// must know that the owner is gone, terminating or no longer ours.
func (e *Engine) Remove(ctx context.Context, owner model.Owner, tenant, name, reason string) (deleted int, err error) {
	log := logr.FromContextOrDiscard(ctx)
	var failed []*model.Observed
	for round := range rounds {
		observed, lookErr := e.left(ctx, owner, tenant, name, round == 0)
		if lookErr != nil && e.vanished(ctx, owner, name, lookErr, nil) {
			continue
		}
		if lookErr != nil {
			return deleted, lookErr
		}
		spare, taken := e.spare(owner, append(e.Mirror.Used(observed), failed...), nil)
		p := plan.Teardown(owner, slices.Concat(observed, spare), reason)
		if p.Empty() {
			return deleted, nil
		}
		if e.DryRun {
			e.commons.leave(taken...)
			log.Info("dry run: not carried out", "plan", p.String())
			return deleted, &RestrainedError{By: translate.Flag, Plan: p.String(), Steps: p.Steps}
		}
		log.Info("removing from the Controller", "deletes", len(p.Steps), "reason", reason)
		results := e.Applier.Run(ctx, &p)
		e.commons.leave(taken...)
		failed = undone(spare, results)
		var n int
		var again bool
		n, again, err = e.removed(results)
		deleted += n
		if err != nil && (!again || ctx.Err() != nil) && !e.vanished(ctx, owner, name, err, results) {
			return deleted, err
		}
	}
	if err == nil {
		err = errors.New("objects remain after several attempts")
	}
	return deleted, err
}

// Kept is the error which says that what there is of an owner is not removed because of a restraint.
func (e *Engine) Kept(owner model.Owner, name, reason string, by translate.Restraint) *RestrainedError {
	out := &RestrainedError{By: by}
	if !by.Paused() || e.DryRun {
		p := plan.Teardown(owner, e.Mirror.Of(owner, name), reason)
		out.Plan, out.Steps = p.String(), p.Steps
	}
	return out
}

// left lists what there is of an owner. Where the VsVip is somebody else's, what our markers are on is ours still. first
// looks for what the mirror may not know.
func (e *Engine) left(ctx context.Context, owner model.Owner, tenant, name string, first bool) ([]*model.Observed, error) {
	if err := e.Known(ctx); err != nil {
		return nil, fmt.Errorf("the Controller can't be read: %w", err)
	}
	if !e.DryRun {
		if err := e.Mirror.Confirm(ctx); err != nil {
			return nil, err
		}
	}
	if first && avi.TenantProblem(tenant) == "" && !slices.ContainsFunc(e.Mirror.Of(owner, name), ownedByName) {
		if err := e.lookFor(ctx, tenant, name); err != nil {
			return nil, err
		}
	}
	observed, err := e.observed(ctx, owner, name)
	if isForeign(err) {
		return slices.DeleteFunc(e.Mirror.Of(owner, name), ownedByName), nil
	}
	return slices.DeleteFunc(observed, func(o *model.Observed) bool { return !e.proven(o, owner) }), err
}

// removed counts the deletions of a run. err is the first failure, and again reports whether another round may help.
func (e *Engine) removed(results []apply.StepResult) (n int, again bool, err error) {
	for _, r := range results {
		switch {
		case r.Err == nil && !r.Skipped:
			n++
			e.ruled.Delete(r.Step.Key)
		case r.Err != nil:
			again = again || r.Replan
			if err == nil {
				err = fmt.Errorf("%s %s: %w", r.Step.Op, r.Step.Key, r.Err)
			}
		}
	}
	return n, again, err
}

// ownedByName reports whether an object's markers don't name its owner.
func ownedByName(o *model.Observed) bool { return o.Key.Kind.Type().OwnerByName }

// lookFor reads the objects whose markers don't name the owner: where the answer to their creation was lost, nothing else finds them.
func (e *Engine) lookFor(ctx context.Context, tenant, name string) error {
	for _, kind := range model.Written {
		if !kind.Type().OwnerByName {
			continue
		}
		_, err := e.Mirror.Fetch(ctx, model.Key{Kind: kind, Tenant: tenant, Name: name})
		if err != nil && avi.ReasonOf(err) != avi.ReasonNotFound && !isForeign(err) {
			return fmt.Errorf("looking for %s %s: %w", kind.Title(), name, err)
		}
	}
	return nil
}

// observed lists an owner's objects. A VsVip doesn't say whose it is; one without a VirtualService that we know may be another client's,
// whose VirtualService isn't mirrored, so the Controller is asked before the VsVip is taken for ours.
func (e *Engine) observed(ctx context.Context, owner model.Owner, name string) ([]*model.Observed, error) {
	all := e.Mirror.Of(owner, name)
	for _, o := range all {
		vs := model.Key{Kind: model.VirtualService, Tenant: o.Key.Tenant, Name: o.Key.Name}
		if !ownedByName(o) || e.Mirror.Get(vs) != nil {
			continue
		}
		_, err := e.Mirror.Fetch(ctx, vs)
		if avi.ReasonOf(err) == avi.ReasonNotFound {
			continue // nobody's: the rest of what was being made, or unmade
		}
		if err != nil {
			return nil, err
		}
		return e.Mirror.Of(owner, name), nil
	}
	return all, nil
}

// replacement is what was last replaced for an owner, so that a Controller which doesn't give what is asked for isn't
// asked to start over again and again.
func (e *Engine) replacement(owner model.Owner) string {
	last, _ := e.replaced.Load(owner)
	text, _ := last.(string)
	return text
}

// ClusterUUID is the Controller cluster's, empty while it isn't known.
func (e *Engine) ClusterUUID() string {
	if f := e.Mirror.Facts(); f != nil {
		return f.ClusterUUID
	}
	return ""
}

// VirtualServices counts ours.
func (e *Engine) VirtualServices() (n int) {
	for _, o := range e.Mirror.All() {
		if o.Key.Kind == model.VirtualService {
			n++
		}
	}
	return n
}

// Made reports whether the Controller holds objects in the operator's cloud that are marked as an owner's: it is this instance that
// serves it, whatever the owner itself says.
func (e *Engine) Made(owner model.Owner, name string) bool {
	return slices.ContainsFunc(e.Mirror.Of(owner, name), func(o *model.Observed) bool { return o.Key.Kind.Type().OfCloud && !ownedByName(o) })
}

// Holds reports whether the Controller is known to hold objects of an owner whose VirtualService is called name.
func (e *Engine) Holds(owner model.Owner, name string) bool { return e.Mirror.Has(owner, name) }
