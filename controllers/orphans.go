// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"

	"github.com/avi-l4-operator/avi-l4-operator/internal/gather"
	"github.com/avi-l4-operator/avi-l4-operator/internal/mirror"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
)

// OrphanSweeper deletes what the Controller holds for Services and Gateways that are gone although their finalizer should have kept
// them: it was removed by hand, or the cluster was restored from a backup. This is the only deletion that rests on
// something being absent, so it is the most careful one: the cache must be synced, the API server itself must say that
// the owner doesn't exist and must have had its type for a while, and a sweep that would delete a large share of what we own is held.
type OrphanSweeper struct {
	Cache    cache.Cache
	Mirror   *mirror.Mirror
	Settings *settings.Store
	APIs     *APIs
	// Owners are the kinds of owner whose leftovers are swept.
	Owners   []ownerPart
	Interval time.Duration
	Log      logr.Logger
	// Guard holds what would delete too much.
	Guard *guard
	// Held, where set, is called with the number of VirtualServices of a sweep that was held; 0 when it no longer is.
	Held func(int)
	// Unused deletes what is common to several owners and of use to none any more.
	Unused func(context.Context) error
	// Lead is called before each sweep: what is known has to be from after this replica became the leader.
	Lead func()
	// Revisit queues owners that exist but are not served, whose objects the reconciler removes.
	Revisit func([]model.Owner)
	DryRun  bool

	// swept are the UUIDs of what earlier sweeps removed of each owner.
	swept map[model.Owner]map[string]bool
	// settled are the kinds whose types have been there for a while and are not being removed, at the present sweep.
	settled map[model.OwnerKind]ownerPart
	// parts are the owners of which earlier sweeps found something, but no VirtualService.
	parts map[model.Owner]firstRead
}

// firstRead is when objects were found first, by the complete read that showed them, and their UUIDs.
type firstRead struct {
	loaded time.Time
	uuids  map[string]bool
}

// Start sweeps until the context ends. It runs on the leader only.
func (s *OrphanSweeper) Start(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(s.Interval):
		}
		if err := s.Sweep(ctrl.LoggerInto(ctx, s.Log)); err != nil && ctx.Err() == nil {
			s.Log.Error(err, "looking for orphans")
		}
	}
}

// NeedLeaderElection keeps standbys from deleting.
func (s *OrphanSweeper) NeedLeaderElection() bool { return true }

// Sweep looks once.
func (s *OrphanSweeper) Sweep(ctx context.Context) error {
	s.Lead()
	cfg := s.Settings.Current()
	if known := s.Mirror.Err() == nil; cfg == nil || cfg.Layer7Only || !known || !s.Cache.WaitForCacheSync(ctx) {
		return nil // it isn't known yet which objects are this cluster's
	}
	if !s.Mirror.Proven() {
		ctrl.LoggerFrom(ctx).Info("nothing is swept, because the Controller doesn't say that clusterName is this cluster's", "clusterName", cfg.ClusterName)
		return nil
	}
	if emptied := func() bool {
		now := s.Settings.Current()
		return now != nil && now.DeleteConfig && !s.DryRun && len(s.Mirror.All()) == 0
	}; emptied() {
		return s.Mirror.Disown(ctx, emptied)
	}
	if err := s.Unused(ctx); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "removing what nobody uses any more")
	}
	live, err := s.remaining(ctx)
	if err != nil {
		return err
	}
	gone := make(map[model.Owner][]*model.Observed)
	var revisit []model.Owner
	total := 0
	for _, o := range s.Mirror.All() {
		if o.Key.Kind == model.VirtualService {
			total++
		}
		owner, ok := s.ownerOf(o)
		if !ok {
			continue
		}
		switch served, exists := liveAs(live, owner); {
		case served:
			delete(s.swept, owner)
		case exists:
			revisit = append(revisit, owner)
		default:
			gone[owner] = append(gone[owner], o)
		}
	}
	if len(revisit) > 0 {
		s.Revisit(revisit)
	}
	if err := s.confirm(ctx, gone); err != nil {
		return err
	}
	gone = asFirstKind(gone)
	s.spareReturned(ctx, gone)
	s.awaitSecondRead(gone)
	if err := s.remove(ctx, gone, total); err != nil {
		return err
	}
	ctrl.LoggerFrom(ctx).V(1).Info("looked for orphans", "owners", len(gone), "of", total)
	return nil
}

// remaining lists the owners of the cache, and reports of each whether it is, or was, served. It looks at their types too.
func (s *OrphanSweeper) remaining(ctx context.Context) (map[model.Owner]bool, error) {
	live := make(map[model.Owner]bool)
	s.settled = make(map[model.OwnerKind]ownerPart)
	for _, o := range s.Owners {
		some, err := o.Remaining(ctx)
		if err != nil {
			return nil, err
		}
		maps.Copy(live, some)
		lasting, err := s.lasting(ctx, o.API())
		if err != nil {
			return nil, err
		}
		if lasting {
			s.settled[o.Kind()] = o
		}
	}
	return live, nil
}

// lasting reports whether it means anything that an object of an API is absent: its type may be on its way out, or have come
// back just now and the objects after it.
func (s *OrphanSweeper) lasting(ctx context.Context, api gather.API) (bool, error) {
	if api == "" {
		return true, nil
	}
	since := s.APIs.Since(api)
	if since.IsZero() || time.Since(since) <= 2*s.Interval {
		return false, nil
	}
	return s.APIs.Lasting(ctx, api, 2*s.Interval)
}

// ownerOf finds the owner of an object, and reports whether it can be proven that the owner is absent. The VirtualService or L4PolicySet
// beside a VsVip decides before the VsVip's own markers do. A VsVip without either may be another controller's of the same cluster,
// and is left alone.
func (s *OrphanSweeper) ownerOf(o *model.Observed) (model.Owner, bool) {
	owner := o.Owner
	if o.Key.Kind.Type().OwnerByName {
		for _, kind := range []model.Kind{model.VirtualService, model.L4PolicySet} {
			if by := s.Mirror.Get(model.Key{Kind: kind, Tenant: o.Key.Tenant, Name: o.Key.Name}); by != nil {
				owner = by.Owner
				break
			}
		}
	}
	vs := s.Mirror.Get(
		model.Key{Kind: model.VirtualService, Tenant: o.Key.Tenant, Name: translate.VirtualServiceName(s.Settings.Current(), owner)})
	if vs == nil {
		return owner, !slices.ContainsFunc(owner.Kinds(), func(k model.OwnerKind) bool { return s.settled[k] == nil })
	}
	kind := s.settled[owner.Kind]
	return owner, kind != nil && kind.Marked(owner, vs)
}

// as lists what an owner may be, of each kind that its markers leave open.
func as(owner model.Owner) (out []model.Owner) {
	for _, kind := range owner.Kinds() {
		out = append(out, model.Owner{Kind: kind, Namespace: owner.Namespace, Name: owner.Name})
	}
	return out
}

// liveAs reports whether an owner, of any kind that it may be, is or was served, and whether it exists.
func liveAs(live map[model.Owner]bool, owner model.Owner) (served, exists bool) {
	for _, o := range as(owner) {
		is, there := live[o]
		served, exists = served || is, exists || there
	}
	return served, exists
}

// confirm asks the API server itself about each owner that the cache doesn't have.
func (s *OrphanSweeper) confirm(ctx context.Context, gone map[model.Owner][]*model.Observed) error {
	for owner := range gone {
		for _, o := range as(owner) {
			absent, err := s.settled[o.Kind].Absent(ctx, o)
			if err != nil {
				return err
			}
			if !absent {
				delete(gone, owner)
				break
			}
		}
	}
	return nil
}

// asFirstKind gives the objects of owners whose kind is open to the first kind that they may be, since there is no owner of any of those
// kinds.
func asFirstKind(gone map[model.Owner][]*model.Observed) map[model.Owner][]*model.Observed {
	out := make(map[model.Owner][]*model.Observed, len(gone))
	for owner, objects := range gone {
		owner = as(owner)[0]
		out[owner] = append(out[owner], objects...)
	}
	return out
}

// awaitSecondRead leaves alone for now what has no VirtualService, unless an earlier complete read of the Controller has shown the same
// objects: a read in the middle of a creation shows just that.
func (s *OrphanSweeper) awaitSecondRead(gone map[model.Owner][]*model.Observed) {
	loaded, parts := s.Mirror.LoadedAt(), make(map[model.Owner]firstRead)
	for owner, objects := range gone {
		if countKind(objects, model.VirtualService) > 0 {
			continue
		}
		first, known := s.parts[owner]
		if !known || slices.ContainsFunc(objects, func(o *model.Observed) bool { return !first.uuids[o.UUID] }) {
			first = firstRead{loaded, uuidsOf(objects)}
		}
		parts[owner] = first
		if !loaded.After(first.loaded) {
			delete(gone, owner)
		}
	}
	s.parts = parts
}

func uuidsOf(objects []*model.Observed) map[string]bool {
	out := make(map[string]bool, len(objects))
	for _, o := range objects {
		out[o.UUID] = true
	}
	return out
}

func (s *OrphanSweeper) remove(ctx context.Context, gone map[model.Owner][]*model.Observed, total int) error {
	log := ctrl.LoggerFrom(ctx)
	lost, doomed := make(map[model.Owner]bool), 0
	for owner, objects := range gone {
		if n := countKind(objects, model.VirtualService); n > 0 && !s.settled[owner.Kind].LetGo(owner) {
			lost[owner] = true
			doomed += n
		}
	}
	hold, err := s.Guard.allowLost(ctx, lost, total)
	switch {
	case errors.As(err, new(heldError)):
		s.held(doomed)
	case err != nil:
		return err
	default:
		s.held(0)
	}
	maps.DeleteFunc(gone, func(o model.Owner, _ []*model.Observed) bool { return hold.Holds(o.String()) })
	if len(gone) > 0 {
		s.remember(gone)
		owners := slices.Collect(maps.Keys(gone))
		log.Info("orphans are being removed", "owners", fmt.Sprint(owners))
		for _, o := range s.Owners {
			o.Orphans(owners)
		}
	}
	return nil
}

// remember keeps what a sweep removes, so that the next sweep knows what has come back.
func (s *OrphanSweeper) remember(gone map[model.Owner][]*model.Observed) {
	if s.swept == nil {
		s.swept = make(map[model.Owner]map[string]bool)
	}
	for owner, objects := range gone {
		if s.swept[owner] == nil {
			s.swept[owner] = make(map[string]bool)
		}
		for _, o := range objects {
			s.swept[owner][o.UUID] = true
		}
	}
}

// spareReturned leaves alone what came back after it was swept: another program makes it, and two programs that undo each other's work for
// ever are worse than an orphan.
func (s *OrphanSweeper) spareReturned(ctx context.Context, gone map[model.Owner][]*model.Observed) {
	for owner, objects := range gone {
		before := s.swept[owner]
		known := func(o *model.Observed) bool { return before[o.UUID] }
		// While something of what was to be swept is there, the sweep hasn't ended: the rest may not have been seen then.
		if before != nil && !slices.ContainsFunc(objects, known) {
			ctrl.LoggerFrom(ctx).Error(nil, "came back after it was swept, and is not swept again: another client makes it under this clusterName; stop that one, or delete the objects on the Controller", "owner", owner.String(), "object", objects[0].Key.String())
			delete(gone, owner)
		}
	}
}

func (s *OrphanSweeper) held(n int) {
	if s.Held != nil {
		s.Held(n)
	}
}

func countKind(objects []*model.Observed, kind model.Kind) int {
	n := 0
	for _, o := range objects {
		if o.Key.Kind == kind {
			n++
		}
	}
	return n
}
