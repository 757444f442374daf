package controllers

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/go-logr/logr"
	"github.com/vmware/alb-sdk/go/models"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	svcapi "github.com/avi-l4-operator/avi-l4-operator/api/networking/v1alpha1"
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
	Live     client.Reader // asks the API server, not the cache
	Mirror   *mirror.Mirror
	Settings *settings.Store
	Gather   *gather.Reader
	APIs     *APIs
	Interval time.Duration
	Log      logr.Logger
	// Share is the largest part of our VirtualServices, 0 to 1, that one sweep may delete.
	Share float64
	// Held, where set, is told the number of VirtualServices of a sweep that was held; 0 when it no longer is.
	Held func(int)
	// Orphans has what vanished Services left removed, each in its own turn.
	Orphans func([]model.Owner)
	// Lead is called before each sweep: what is known has to be from after this replica became the leader.
	Lead func()
	// Revisit queues owners that exist but are not served, whose objects the reconciler removes.
	Revisit func([]model.Owner)

	// lasting are the APIs whose types have been there for a while and are not being removed, at the present sweep.
	lasting map[gather.API]bool
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
		return nil // nothing can be told apart yet
	}
	live, err := s.services(ctx)
	if err != nil {
		return err
	}
	if err := s.gateways(ctx, live); err != nil {
		return err
	}
	s.lasting = make(map[gather.API]bool)
	for _, api := range []gather.API{gather.ServicesAPI, gather.GatewayAPI} {
		if s.lasting[api], err = s.APIs.Lasting(ctx, api, 2*s.Interval); err != nil {
			return err
		}
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
		switch served, exists := live[owner]; {
		case served:
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
	if err := s.remove(ctx, gone, total); err != nil {
		return err
	}
	ctrl.LoggerFrom(ctx).V(1).Info("looked for orphans", "owners", len(gone), "of", total)
	return nil
}

// services lists the Services of the cache, with whether they are, or were, load balancers.
func (s *OrphanSweeper) services(ctx context.Context) (map[model.Owner]bool, error) {
	var list corev1.ServiceList
	if err := s.Cache.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing Services: %w", err)
	}
	live := make(map[model.Owner]bool, len(list.Items))
	for i := range list.Items {
		svc := &list.Items[i]
		live[model.Owner{Kind: model.ServiceOwner, Namespace: svc.Namespace, Name: svc.Name}] = relevant(svc)
	}
	return live, nil
}

// gateways adds the Gateways of the cache.
func (s *OrphanSweeper) gateways(ctx context.Context, live map[model.Owner]bool) error {
	list, err := s.Gather.SvcAPIGateways(ctx)
	if err != nil {
		return err
	}
	for i := range list {
		live[model.Owner{Kind: model.SvcAPIGatewayOwner, Namespace: list[i].Namespace, Name: list[i].Name}] = true
	}
	routed, err := s.Gather.Gateways(ctx)
	if err != nil {
		return err
	}
	for i := range routed {
		live[model.Owner{Kind: model.GatewayOwner, Namespace: routed[i].Namespace, Name: routed[i].Name}] = true
	}
	return nil
}

// settled tells whether absent Gateways mean anything: their type may be on its way out, or have come back just now and they
// after it.
func (s *OrphanSweeper) settled(api gather.API) bool {
	if !s.lasting[api] {
		return false
	}
	since := s.APIs.Since(api)
	return !since.IsZero() && time.Since(since) > 2*s.Interval
}

// ownerOf finds the owner of an object. A VsVip's markers don't tell it, so its VirtualService or L4PolicySet of the same
// name has to; one without either may be another controller's of the same cluster, and is left alone.
func (s *OrphanSweeper) ownerOf(o *model.Observed) (model.Owner, bool) {
	owner := o.Owner
	if o.Key.Kind == model.VsVip {
		for _, kind := range []model.Kind{model.VirtualService, model.L4PolicySet} {
			if by := s.Mirror.Get(model.Key{Kind: kind, Tenant: o.Key.Tenant, Name: o.Key.Name}); by != nil {
				owner = by.Owner
				break
			}
		}
	}
	switch owner.Kind {
	case model.GatewayOwner:
		return owner, s.settled(gather.GatewayAPI)
	case model.SvcAPIGatewayOwner:
	default:
		return owner, owner.Kind == model.ServiceOwner
	}
	// A VIP that several Services share in AKO has the markers of a Gateway; its traffic is none of ours to end.
	vs := s.Mirror.Get(model.Key{Kind: model.VirtualService, Tenant: o.Key.Tenant, Name: translate.VirtualServiceName(s.Settings.Current(), owner)})
	if vs == nil || !s.settled(gather.ServicesAPI) {
		return owner, false
	}
	body, _ := vs.Body.(*models.VirtualService)
	return owner, body != nil && body.ServiceMetadata != nil && translate.MetadataGateway(*body.ServiceMetadata) == owner.Namespace+"/"+owner.Name
}

// confirm asks the API server itself about each owner that the cache doesn't have.
func (s *OrphanSweeper) confirm(ctx context.Context, gone map[model.Owner][]*model.Observed) error {
	for owner := range gone {
		var as client.Object = new(corev1.Service)
		switch owner.Kind {
		case model.SvcAPIGatewayOwner:
			as = new(svcapi.Gateway)
		case model.GatewayOwner:
			as = new(gatewayv1.Gateway)
		}
		err := s.Live.Get(ctx, types.NamespacedName{Namespace: owner.Namespace, Name: owner.Name}, as)
		switch {
		case err == nil:
			delete(gone, owner)
		case !apierrors.IsNotFound(err):
			return fmt.Errorf("asking the API server for %s: %w", owner, err)
		}
	}
	return nil
}

func (s *OrphanSweeper) remove(ctx context.Context, gone map[model.Owner][]*model.Observed, total int) error {
	log := ctrl.LoggerFrom(ctx)
	doomed := 0
	for _, objects := range gone {
		doomed += countKind(objects, model.VirtualService)
	}
	if doomed > limit(s.Share, deletionLeast, total) || doomed > 1 && doomed == total {
		log.Error(nil, "held: too many VirtualServices would be deleted at once, because their Services or Gateways don't exist; if that is right, delete them on the Controller, or raise --deletion-share",
			"doomed", doomed, "of", total, "share", s.Share)
		s.held(doomed)
		return nil
	}
	s.held(0)
	if len(gone) > 0 {
		owners := slices.Collect(maps.Keys(gone))
		log.Info("orphans are being removed", "owners", fmt.Sprint(owners))
		s.Orphans(owners)
	}
	return nil
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
