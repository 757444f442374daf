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
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/avi-l4-operator/avi-l4-operator/internal/engine"
	"github.com/avi-l4-operator/avi-l4-operator/internal/gather"
	"github.com/avi-l4-operator/avi-l4-operator/internal/mirror"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/outcome"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
	"github.com/avi-l4-operator/avi-l4-operator/internal/status"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
)

// sharedVIPs are the owners that are groups of Services which share one VirtualService. Each Service is claimed and let go for
// itself: the group has no object of its own.
type sharedVIPs struct {
	gather.SharedVIPs
	*users
	Deps
	log logr.Logger
}

func newSharedVIPs(d Deps, log logr.Logger) *owners[*gather.Group] {
	u := new(users)
	groups := gather.SharedVIPs{Services: gather.Services{Reader: d.Gather, Place: d.place}, Using: u.set, Serving: d.serving}
	k := sharedVIPs{groups, u, d, log}
	r := newOwners(d, "sharedvip", k, log)
	r.parts, r.served = sharing{r, k}.decide, sharing{r, k}.census
	return r
}

// mayServe are the owners that may serve Services that are let go: each alone, or the shared VIP that it asks for.
func mayServe(services ...*corev1.Service) (out []model.Owner) {
	for _, svc := range services {
		out = append(out, model.Owner{Kind: model.ServiceOwner, Namespace: svc.Namespace, Name: svc.Name})
		if group := translate.SharedVIPOf(svc); group != "" {
			out = append(out, model.Owner{Kind: model.SharedVIPOwner, Namespace: svc.Namespace, Name: group})
		}
	}
	return out
}

// place says where a Service is served, or is to be, by what the Controller holds for it.
func (d *Deps) place(svc *corev1.Service) translate.Place {
	cfg := d.Settings.Current()
	if cfg == nil || d.Engine.Mirror.Err() != nil {
		return translate.PlaceOf(svc, false, nil) // nothing is known, and nothing will be changed
	}
	owner := model.Owner{Kind: model.ServiceOwner, Namespace: svc.Namespace, Name: svc.Name}
	alone := d.Engine.Mirror.Serves(owner, translate.VirtualServiceName(cfg, owner))
	place := translate.PlaceOf(svc, alone, d.Engine.Mirror.SharedVIPs(svc.Namespace, svc.Name))
	if group := translate.SharedVIPOf(svc); place.Leaving && group != "" {
		// Nothing is let go of for a place where it would not be served.
		if shut, err := d.shut(cfg, svc, group); err != nil {
			place.Leaving, place.Shut = false, err.Error()
		} else if shut != "" {
			place.Leaving, place.Shut = false, shut
		}
	}
	return place
}

// shut says why a Service that may join a group would lose a port there.
func (d *Deps) shut(cfg *settings.Settings, svc *corev1.Service, group string) (string, error) {
	owner := model.Owner{Kind: model.SharedVIPOwner, Namespace: svc.Namespace, Name: group}
	taken := d.Engine.Ports(owner, translate.VirtualServiceName(cfg, owner))
	var asking corev1.ServiceList
	if err := d.Client.List(context.Background(), &asking, client.InNamespace(svc.Namespace),
		client.MatchingFields{gather.IndexSharedVIP: group}, client.UnsafeDisableDeepCopy); err != nil {
		return "", fmt.Errorf("listing the Services of shared VIP %s: %w", group, err)
	}
	served, senior := slices.Collect(maps.Values(taken)), translate.CompareSeniority(group)
	var members []*corev1.Service
	for i := range asking.Items {
		m := &asking.Items[i]
		if m.Name == svc.Name || m.Spec.Type != corev1.ServiceTypeLoadBalancer || m.DeletionTimestamp != nil {
			continue
		}
		own := model.Owner{Kind: model.ServiceOwner, Namespace: m.Namespace, Name: m.Name}
		alone := d.Engine.Mirror.Serves(own, translate.VirtualServiceName(cfg, own))
		place := translate.PlaceOf(m, alone, d.Engine.Mirror.SharedVIPs(m.Namespace, m.Name))
		// Of two that may join at once the senior one goes first.
		if slices.Contains(served, m.Name) || place.Group == group || place.Leaving && senior(m, svc) < 0 {
			members = append(members, m)
		}
	}
	slices.SortFunc(members, senior)
	return translate.SharedVIP{Namespace: svc.Namespace, Group: group, Members: members}.Shut(svc, taken), nil
}

// serving lists the Services that the Controller holds something of in a group.
func (d *Deps) serving(group types.NamespacedName) []string {
	cfg := d.Settings.Current()
	if cfg == nil {
		return nil
	}
	owner := model.Owner{Kind: model.SharedVIPOwner, Namespace: group.Namespace, Name: group.Name}
	return d.Engine.Mirror.Behind(owner, translate.VirtualServiceName(cfg, owner))
}

func (sharedVIPs) refers(api gather.API) bool {
	return api == gather.InfraSettings || api == gather.Rules || api == gather.Monitors
}

func (sharedVIPs) finalizers() []string { return nil }

// inherited: as with Services, what AKO made for one is removed when it asks for it no more.
func (sharedVIPs) inherited(*settings.Settings, *gather.Candidate[*gather.Group]) bool { return true }

func (sharedVIPs) marked(model.Owner, *model.Observed) bool { return true }

// exists reports whether there is a Service that asks to be in a group, or is served in it. A Service behind a Gateway of the Services API
// has pools with the same markers, and is of another type.
func (k sharedVIPs) exists(ctx context.Context, group types.NamespacedName) (bool, error) {
	var list corev1.ServiceList
	if err := k.Live.List(ctx, &list, client.InNamespace(group.Namespace)); err != nil {
		return false, fmt.Errorf("listing Services: %w", err)
	}
	served := k.serving(group)
	return slices.ContainsFunc(list.Items, func(svc corev1.Service) bool {
		mayBe := svc.Spec.Type == corev1.ServiceTypeLoadBalancer || gather.Claimed(&svc)
		return translate.SharedVIPOf(&svc) == group.Name || mayBe && slices.Contains(served, svc.Name)
	}), nil
}

func (k sharedVIPs) forget(group types.NamespacedName) { k.set(group, nil) }

func (k sharedVIPs) watch(b *builder.Builder, h handlers) *builder.Builder {
	return b.Watches(&corev1.Service{}, h.plainly(k.ofService), builder.WithPredicates(servicePredicate()))
}

func (sharedVIPs) sources(cache.Cache, gather.API, handlers) []source.Source { return nil }

// ofService are the groups that a Service asks for, is served in, or was in when it was last looked at.
func (k sharedVIPs) ofService(_ context.Context, o client.Object) []reconcile.Request {
	svc, ok := o.(*corev1.Service)
	if !ok {
		return nil
	}
	keys := k.using(client.ObjectKeyFromObject(svc))
	for _, group := range append(k.Engine.Mirror.SharedVIPs(svc.Namespace, svc.Name), translate.SharedVIPOf(svc)) {
		if key := (types.NamespacedName{Namespace: svc.Namespace, Name: group}); group != "" && !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	return requestsFor(keys...)
}

func (k sharedVIPs) inNamespace(ctx context.Context, namespace string) []types.NamespacedName {
	groups, err := k.SharedVIPs.InNamespace(ctx, namespace)
	if err != nil {
		k.log.Error(err, "listing the shared VIPs of a namespace", "namespace", namespace)
	}
	out := make([]types.NamespacedName, len(groups))
	for i, g := range groups {
		out[i] = client.ObjectKeyFromObject(g)
	}
	return out
}

// moved: the Services say so.
func (sharedVIPs) moved() predicate.Predicate { return nil }

func (sharedVIPs) relevant(g *gather.Group) bool { return slices.ContainsFunc(g.Members, relevant) }

func (sharedVIPs) programmed(g *gather.Group) bool {
	return !slices.ContainsFunc(g.Members, func(svc *corev1.Service) bool { return !programmedService(svc) })
}

func programmedService(svc *corev1.Service) bool {
	return apimeta.IsStatusConditionTrue(svc.Status.Conditions, status.Programmed)
}

// said: the Services have it.
func (sharedVIPs) said() status.Reading { return status.OfService() }

// writeStatus writes to each Service its share of the outcome. What can't be written to one doesn't keep the others from theirs.
func (k sharedVIPs) writeStatus(ctx context.Context, g *gather.Group, _ translate.Input, out outcome.Outcome) error {
	return errors.Join(eachMember(g.Members, func(svc *corev1.Service) error {
		if out.State() == outcome.Unread && programmedService(svc) {
			return nil // a status that was right would change twice
		}
		return client.IgnoreNotFound(k.Status.Service(ctx, svc, out.Share(svc.Name), ipModeOf(k.Deps, svc), k.Engine.ClusterUUID()))
	})...)
}

// eachMember does something about each Service of a group at once: one after the other, calls to the API server would make a group take as
// many times longer as it has Services. The errors are in the order of the Services.
func eachMember(members []*corev1.Service, do func(*corev1.Service) error) []error {
	out := make([]error, len(members))
	var g errgroup.Group
	g.SetLimit(membersAtOnce)
	for i, m := range members {
		g.Go(func() error {
			out[i] = do(m)
			return nil
		})
	}
	_ = g.Wait() // the errors are in out
	return out
}

const membersAtOnce = 8

func (sharedVIPs) reportNoClass(context.Context, *gather.Group, string) error { return nil }

func (k sharedVIPs) clear(ctx context.Context, g *gather.Group) error {
	var failed error
	for _, svc := range g.Members {
		if !ends(svc, k.finalizers()) {
			failed = errors.Join(failed, client.IgnoreNotFound(k.Status.Clear(ctx, svc)))
		}
	}
	return failed
}

// handBack: the Services are handed back as Services.
func (sharedVIPs) handBack(context.Context, *gather.Group, bool) (bool, error) { return false, nil }

// sharing decides about each Service of a group for itself.
type sharing struct {
	*owners[*gather.Group]
	of sharedVIPs
}

// fate is what becomes of a Service of a group.
type fate int

const (
	apart fate = iota // it is none of ours, or not to be touched
	stays             // it is served
	kept              // it is served although it is to be let go: too much would be let go at once, or it is not to be changed
	goes              // what there is of it is removed, and it is let go
)

// parting is the Services of a group by their fate.
type parting struct {
	serve, leave []*corev1.Service
	why          string // they leave
	held         bool   // some are kept
	unclaimed    error  // why some could not be claimed
}

// decide serves the Services of a group that are ours, and lets the others go.
func (r sharing) decide(ctx context.Context, cfg *settings.Settings, c *gather.Candidate[*gather.Group]) (ctrl.Result, error) {
	key, p := client.ObjectKeyFromObject(c.Object), r.part(ctx, cfg, c)
	switch {
	case len(p.serve) == 0 && p.unclaimed != nil:
		return resultOf(ctx, p.unclaimed) // it is to be served
	case len(p.serve) == 0 && len(p.leave) == 0:
		return r.leftBehind(ctx, cfg, c)
	case len(p.serve) == 0:
		return r.removeAll(ctx, cfg, gather.NewGroup(key, p.leave...), p.why)
	}
	next, err := r.Candidate(ctx, gather.NewGroup(key, p.serve...).Decided())
	if err != nil {
		return ctrl.Result{}, err
	}
	result, err := r.serve(ctx, cfg, next)
	restraint, failed := translate.SharedVIP{Members: p.serve}.Restraint(), err
	if failed == nil && restraint.Any() {
		failed = &engine.RestrainedError{By: restraint}
	}
	left := r.letMembersGo(ctx, key, p, failed)
	if err != nil || !result.IsZero() {
		return result, err // what else is to be done comes with it
	}
	serves := slices.ContainsFunc(p.serve, func(m *corev1.Service) bool { return r.holds(key, m) })
	switch {
	case errors.Is(left, errLeft) && !serves:
		// Those that stay can't be served, and what there is serves only those that go.
		return r.removeAll(ctx, cfg, gather.NewGroup(key, p.leave...), p.why)
	case errors.Is(left, errLeft) && restraint.Any():
		return ctrl.Result{RequeueAfter: spread(holdLook)}, nil // the restraint's end is an event
	case left != nil || p.unclaimed != nil:
		return resultOf(ctx, errors.Join(left, p.unclaimed))
	case p.held:
		return ctrl.Result{RequeueAfter: spread(holdLook)}, nil
	}
	return ctrl.Result{}, nil
}

// part decides about each Service, and claims those that are to be served.
func (r sharing) part(ctx context.Context, cfg *settings.Settings, c *gather.Candidate[*gather.Group]) (out parting) {
	var members, staying []*corev1.Service
	for _, m := range c.Object.Members {
		m = m.DeepCopy() // the cache's
		switch f, why := r.fate(ctx, cfg, c, m); f {
		case goes:
			out.leave, out.why = append(out.leave, m), why
			continue
		case kept: // and maybe not claimed
			out.held = true
		case stays:
			staying = append(staying, m)
		case apart:
			continue
		}
		members = append(members, m)
	}
	unserved := make(map[*corev1.Service]bool)
	slices.SortStableFunc(staying, translate.CompareSeniority(c.Object.Name))
	joining := make(map[*corev1.Service]time.Time) // those that join in one pass do so in this order
	for i, m := range staying {
		joining[m] = r.Status.Now().Add(time.Duration(i))
	}
	for i, err := range eachMember(staying, func(m *corev1.Service) error { return r.claimMember(ctx, cfg, c.Object, m, joining[m]) }) {
		m := staying[i]
		out.unclaimed = errors.Join(out.unclaimed, client.IgnoreNotFound(err))
		// What AKO made for one isn't taken away, claimed or not.
		unserved[m] = err != nil && !r.holds(client.ObjectKeyFromObject(c.Object), m)
	}
	out.serve = slices.DeleteFunc(members, func(m *corev1.Service) bool { return unserved[m] })
	return out
}

// leftBehind removes what the Controller holds for Services that are gone, of a group whose other Services are none to be served.
func (r sharing) leftBehind(ctx context.Context, cfg *settings.Settings, c *gather.Candidate[*gather.Group]) (ctrl.Result, error) {
	g, key, owner := c.Object, client.ObjectKeyFromObject(c.Object), r.ownerOf(c.Object)
	if !r.Engine.Holds(owner, translate.VirtualServiceName(cfg, owner)) || slices.ContainsFunc(g.Members, func(m *corev1.Service) bool {
		_, handover := r.handedOverMember(key, m, cfg)
		return handover
	}) {
		return ctrl.Result{}, nil
	}
	for _, name := range r.of.serving(key) {
		there, err := r.onServer(ctx, types.NamespacedName{Namespace: key.Namespace, Name: name}, new(corev1.Service))
		if there || err != nil {
			return ctrl.Result{}, err
		}
	}
	const why = "its Services don't exist, or are not to be served"
	if err := r.Guard.allow(ctx, owner); err != nil {
		return r.keep(ctx, g, why, err)
	}
	return r.removeAll(ctx, cfg, gather.NewGroup(key), why)
}

// holds reports whether the Controller holds something of a Service in a group.
func (r sharing) holds(group types.NamespacedName, m *corev1.Service) bool {
	return slices.Contains(r.of.serving(group), m.Name)
}

// errLeft has a Service that is to be let go looked at again.
var errLeft = errors.New("the Controller still holds pools of a Service that is leaving a shared VIP")

// fate decides about one Service.
func (r sharing) fate(
	ctx context.Context, cfg *settings.Settings, c *gather.Candidate[*gather.Group], m *corev1.Service,
) (_ fate, why string) {
	owner := model.Owner{Kind: model.ServiceOwner, Namespace: m.Namespace, Name: m.Name}
	claimed, deleted := gather.Claimed(m), m.DeletionTimestamp != nil
	v := translate.ServiceOurs(cfg, m, c.Namespace)
	here := v.Ours
	switch {
	case deleted:
		v = translate.Verdict{Why: "the Service is being deleted"}
	case claimed && cfg.DeleteConfig:
		v = translate.Verdict{Why: "deleteConfig is true: everything on the Controller is being removed"}
	case v.Ours && r.of.Deps.place(m).Leaving:
		v = translate.Verdict{Why: "it leaves shared VIP " + c.Object.Name}
	}
	if other, handover := r.handedOverMember(client.ObjectKeyFromObject(c.Object), m, cfg); handover {
		switch {
		case r.Engine.Known(ctx) != nil: // whether that is true: its load has all looked at again
		case r.unserved(m, here):
			return goes, v.Why
		case v.Ours || deleted:
			r.anothersMember(ctx, m, servedByAnother(owner.Kind, other))
		}
		return apart, ""
	}
	if v.Ours {
		r.Guard.settle(ctx, owner)
		return stays, ""
	}
	holds := r.holds(client.ObjectKeyFromObject(c.Object), m)
	if err := r.bound(ctx, cfg, c.Namespace, m, holds); err != nil {
		r.keepMember(ctx, m, v.Why, err)
		return kept, ""
	}
	if !claimed && !holds {
		return apart, "" // somebody else's, finalizers and all
	}
	return goes, v.Why
}

// bound is why a Service that is not to be served keeps what the Controller holds of it; nil if it doesn't.
func (r sharing) bound(ctx context.Context, cfg *settings.Settings, ns *corev1.Namespace, m *corev1.Service, holds bool) error {
	owner := model.Owner{Kind: model.ServiceOwner, Namespace: m.Namespace, Name: m.Name}
	by := clinging(cfg, m)
	switch {
	case by.Any() && (holds || r.Engine.Known(ctx) != nil): // what isn't known to be there may be there
		r.Guard.settle(ctx, owner)
		return &engine.RestrainedError{By: by}
	case m.DeletionTimestamp != nil || cfg.DeleteConfig || !holds || !translate.Deselected(cfg, m, ns):
		r.Guard.settle(ctx, owner)
		return nil
	}
	return r.Guard.allow(ctx, owner)
}

// keepMember says on a Service that it is served still although it is not selected any more. The status is the run's to write, which
// follows.
func (r sharing) keepMember(ctx context.Context, m *corev1.Service, why string, err error) {
	text := fmt.Sprintf("%s; what serves it is kept, because %v", why, err)
	if reason := reasonHeld(err); reason != "" {
		r.warnOnce(m, reason, text)
	}
	ctrl.LoggerFrom(ctx).Info("kept although not selected any more", "service", m.Name, "reason", why, "held", err.Error())
}

// census counts each Service of a group for itself, and a group that is left behind as one.
func (r sharing) census(cfg *settings.Settings, c *gather.Candidate[*gather.Group]) map[model.Owner]bool {
	out := make(map[model.Owner]bool)
	for _, m := range c.Object.Members {
		if !r.holds(client.ObjectKeyFromObject(c.Object), m) {
			continue
		}
		v := translate.ServiceOurs(cfg, m, c.Namespace)
		out[model.Owner{Kind: model.ServiceOwner, Namespace: m.Namespace, Name: m.Name}] = m.DeletionTimestamp == nil && !cfg.DeleteConfig &&
			!v.Ours && translate.Deselected(cfg, m, c.Namespace) && !clinging(cfg, m).Any()
	}
	if owner := r.ownerOf(c.Object); len(out) == 0 && r.Engine.Holds(owner, translate.VirtualServiceName(cfg, owner)) {
		out[owner] = true
	}
	return out
}

// handedOverMember is handedOver for one Service of a group.
func (r sharing) handedOverMember(group types.NamespacedName, m *corev1.Service, cfg *settings.Settings) (other string, yes bool) {
	other, yes = saysAnother(m, cfg)
	return other, yes && !r.holds(group, m)
}

// anothersMember is anothers for one Service.
func (r sharing) anothersMember(ctx context.Context, m *corev1.Service, text string) {
	r.warnOnce(m, model.ReasonServedByAnother, text)
	if r.Status.Spoken(m) {
		return
	}
	why := outcome.NewUnasked(model.Finding{Severity: model.Blocked, Reason: model.ReasonServedByAnother, Message: text})
	if err := r.of.writeStatus(ctx, gather.NewGroup(types.NamespacedName{Namespace: m.Namespace}, m), translate.Input{}, why); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "writing to a Service that another instance serves it", "service", m.Name)
	}
}

// claimMember claims a Service. One that waits for others notes since when it does, so that a younger one which is served before it
// doesn't become its senior; one that is older than others which are served when it joins does so now, after them.
func (r sharing) claimMember(ctx context.Context, cfg *settings.Settings, g *gather.Group, m *corev1.Service, now time.Time) error {
	if err := r.unclaimable(ctx, m); err != nil {
		return err
	}
	annotations := map[string]string{gather.AnnotationServedBy: cfg.Instance()}
	served := r.of.serving(client.ObjectKeyFromObject(g))
	waits := r.Engine.Known(ctx) == nil && r.of.Deps.place(m).Group == g.Name && !slices.Contains(served, m.Name)
	unfit, _ := translate.Unfit(m) // it has not joined yet, and what it asks for then is no say in what the others have by now
	if waits && unfit == "" && !translate.HasJoined(g.Name, m) {
		since, senior := m.CreationTimestamp.Time, translate.CompareSeniority(g.Name)
		if slices.ContainsFunc(g.Members, func(o *corev1.Service) bool { return slices.Contains(served, o.Name) && senior(m, o) < 0 }) {
			since = now
		}
		annotations[translate.AnnotationJoined] = translate.Joined(g.Name, since)
	}
	err := r.claimWith(ctx, m, annotations)
	if apierrors.IsConflict(err) { // left for later, it would join after those that are served in this run
		if err := r.Live.Get(ctx, client.ObjectKeyFromObject(m), m); err != nil {
			return fmt.Errorf("reading Service %s again, which has changed: %w", m.Name, err)
		}
		err = r.claimWith(ctx, m, annotations)
	}
	return err
}

// unclaimable is why a Service that isn't claimed can't be now: it isn't known whose the cluster's name on the Controller is, or it is
// another cluster's, which the Service is told then.
func (r sharing) unclaimable(ctx context.Context, m *corev1.Service) error {
	wait, why := r.unknownName(ctx)
	switch {
	case !wait || gather.Claimed(m):
		return nil
	case why == nil:
		return mirror.ErrNotLoaded
	}
	group := gather.NewGroup(types.NamespacedName{Namespace: m.Namespace}, m)
	return errors.Join(r.Engine.Mirror.Others(), r.of.writeStatus(ctx, group, translate.Input{}, *why))
}

// letMembersGo lets Services go of which the group holds nothing any more; the error is errLeft if it does of some, which failed may
// say more about.
func (r sharing) letMembersGo(ctx context.Context, group types.NamespacedName, p parting, failed error) (left error) {
	if len(p.leave) == 0 {
		return nil
	}
	if err := r.Engine.Known(ctx); err != nil {
		return fmt.Errorf("the Controller can't be read: %w", err)
	}
	for _, m := range p.leave {
		if r.holds(group, m) {
			left = errLeft
			if failed == nil {
				failed = fmt.Errorf("%s; shared VIP %s still has pools of it on the Controller", p.why, group.Name)
			}
			r.stuckMember(ctx, m, failed)
			continue
		}
		ctrl.LoggerFrom(ctx).Info("nothing of a Service is left in the shared VIP", "service", m.Name, "reason", p.why)
		if err := r.letMemberGo(ctx, m); err != nil {
			return err
		}
	}
	r.Moved(mayServe(p.leave...))
	return left
}

// stuckMember says on a Service that is to be let go why there is something of it still.
func (r sharing) stuckMember(ctx context.Context, m *corev1.Service, why error) {
	if errors.Is(why, mirror.ErrNotLoaded) {
		return
	}
	r.warnOnce(m, reasonDeleting, why.Error())
	if err := r.Status.Stuck(ctx, m, engine.Reason(why), why.Error()); client.IgnoreNotFound(err) != nil {
		ctrl.LoggerFrom(ctx).Error(err, "writing to a Service why it is not let go", "service", m.Name)
	}
}

// letMemberGo takes back what was written on a Service, then the finalizer.
func (r sharing) letMemberGo(ctx context.Context, m *corev1.Service) error {
	if err := r.clear(ctx, gather.NewGroup(types.NamespacedName{Namespace: m.Namespace}, m)); err != nil {
		return err
	}
	return client.IgnoreNotFound(r.unclaim(ctx, m))
}

// removeAll removes what there is of a group none of whose Services stays.
func (r sharing) removeAll(ctx context.Context, cfg *settings.Settings, g *gather.Group, why string) (ctrl.Result, error) {
	owner, key := r.ownerOf(g), client.ObjectKeyFromObject(g)
	deleted, err := r.Engine.Remove(ctx, owner, cfg.Tenant, translate.VirtualServiceName(cfg, owner), why)
	r.hold(key, err != nil)
	if err != nil {
		for _, m := range g.Members {
			r.stuckMember(ctx, m, err)
		}
		return resultOf(ctx, err)
	}
	ctrl.LoggerFrom(ctx).Info("nothing is left on the Controller", "reason", why, "deleted", deleted)
	for _, m := range g.Members {
		if deleted > 0 { // now: a run that has to let one go once more finds nothing to delete
			r.Status.Deleted(m, deleted)
		}
	}
	for _, m := range g.Members {
		if err := r.letMemberGo(ctx, m); err != nil {
			return resultOf(ctx, err)
		}
	}
	r.forget(key)
	if g.DeletionTimestamp != nil {
		r.letGoOf(key)
	}
	r.Freed(key.Namespace + "-" + key.Name)
	r.Moved(mayServe(g.Members...))
	return ctrl.Result{}, nil
}
