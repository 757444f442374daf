// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/avi-l4-operator/avi-l4-operator/internal/engine"
	"github.com/avi-l4-operator/avi-l4-operator/internal/gather"
	"github.com/avi-l4-operator/avi-l4-operator/internal/mirror"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
)

// This file is how an owner is claimed before anything is made for it, and let go when nothing of it is left.

// reasonDeleting is the reason of the Event that says why the objects of a deleted owner are still there.
const reasonDeleting = "DeletingLoadBalancerFailed"

// saysAnother reports whether an object says that another instance of the operator serves it.
func saysAnother(o client.Object, cfg *settings.Settings) (other string, yes bool) {
	other = o.GetAnnotations()[gather.AnnotationServedBy]
	return other, other != "" && other != cfg.Instance() && gather.Claimed(o)
}

// handedOver reports whether another instance of the operator serves an object, which has to let go of it first. Who may write the
// object can write anything there: it counts for nothing where the Controller holds what this instance has made for the owner.
func (d *Deps) handedOver(o client.Object, owner model.Owner, cfg *settings.Settings) (other string, yes bool) {
	other, yes = saysAnother(o, cfg)
	return other, yes && !d.Engine.Made(owner, translate.VirtualServiceName(cfg, owner))
}

// unserved reports whether this instance is the one to let go of an object that is being deleted and says that another instance serves it:
// no instance has ever written its status, the settings say that it is to be served here, and nothing of it is on the Controller, which
// release looks for.
func (d *Deps) unserved(o client.Object, here bool) bool {
	return o.GetDeletionTimestamp() != nil && here && !d.Status.Spoken(o)
}

func servedByAnother(kind model.OwnerKind, instance string) string {
	return fmt.Sprintf("the instance %s serves this %s and has to let go first; if it is gone for good, delete the %s's objects on the Controller and remove annotation %s", instance, kind.Noun(), kind.Noun(), gather.AnnotationServedBy)
}

// claim puts the finalizer and the instance's name on an owner before anything is made for it, and takes over from
// another controller's finalizers.
func (r *owners[T]) claim(ctx context.Context, o client.Object, instance string) error {
	return r.claimWith(ctx, o, map[string]string{gather.AnnotationServedBy: instance})
}

// claimWith is claim with what is to be remembered on the owner.
func (r *owners[T]) claimWith(ctx context.Context, o client.Object, annotations map[string]string) error {
	taken := func(f string) bool { return slices.Contains(r.finalizers(), f) }
	changed := !gather.Claimed(o) || slices.ContainsFunc(o.GetFinalizers(), taken)
	for key, value := range annotations {
		changed = changed || o.GetAnnotations()[key] != value
	}
	if !changed {
		return nil
	}
	before := o.DeepCopyObject().(client.Object)
	if !gather.Claimed(o) {
		r.claimed(o, time.Now()) // before: the news of its deletion may be here before the answer is
	}
	o.SetFinalizers(slices.DeleteFunc(o.GetFinalizers(), taken))
	controllerutil.AddFinalizer(o, gather.Finalizer)
	for key, value := range annotations {
		annotate(o, key, value)
	}
	return r.Status.Write(ctx, before, o, func() error { return r.patchFinalizers(ctx, o, before) })
}

// unclaim lets an owner go.
func (r *owners[T]) unclaim(ctx context.Context, o client.Object) error {
	before := o.DeepCopyObject().(client.Object)
	changed := controllerutil.RemoveFinalizer(o, gather.Finalizer)
	for _, f := range r.finalizers() {
		changed = controllerutil.RemoveFinalizer(o, f) || changed
	}
	if !changed {
		return nil
	}
	annotate(o, gather.AnnotationServedBy, "")
	annotate(o, translate.AnnotationJoined, "")
	return r.patchFinalizers(ctx, o, before)
}

// ends reports whether an object is gone with the operator's finalizer and those of others that it takes over: what its status says then
// needs no write.
func ends(o client.Object, taken []string) bool {
	return o.GetDeletionTimestamp() != nil && !slices.ContainsFunc(o.GetFinalizers(), func(f string) bool {
		return f != gather.Finalizer && !slices.Contains(taken, f)
	})
}

// patchFinalizers changes the finalizers. The list is replaced as a whole, so the lock keeps another controller's finalizer
// from being lost.
func (r *owners[T]) patchFinalizers(ctx context.Context, o, before client.Object) error {
	if err := r.Client.Patch(ctx, o, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("changing the finalizers of %s %s/%s: %w", r.Owner().Noun(), o.GetNamespace(), o.GetName(), err)
	}
	return nil
}

func annotate(o client.Object, key, value string) {
	a := o.GetAnnotations()
	if a == nil {
		a = make(map[string]string, 1)
	}
	if value == "" {
		delete(a, key)
	} else {
		a[key] = value
	}
	o.SetAnnotations(a)
}

// leaving reports whether an owner is being deleted because its type is being removed from the cluster. Owners without the operator's
// finalizer are looked at too: another controller's finalizer may keep an owner that the operator has let go.
func (r *owners[T]) leaving(ctx context.Context, o T) (bool, error) {
	if r.API() == "" || o.GetDeletionTimestamp() == nil {
		return false, nil
	}
	return r.APIs.Leaving(ctx, r.API())
}

// spare lets go of an owner that is deleted because its type is being removed from the cluster. Its objects on the
// Controller go on serving; the type's return, and the owner's, finds them.
func (r *owners[T]) spare(ctx context.Context, o T) (ctrl.Result, error) {
	ctrl.LoggerFrom(ctx).Info("the type is being removed from the cluster; the owner's objects on the Controller stay as they are")
	r.warnOnce(o, model.ReasonDeletionHeld, fmt.Sprintf("the CustomResourceDefinitions of %s are being removed; what the Controller serves for this %s stays as it is", r.API().Group(), r.Owner().Noun()))
	return resultOf(ctx, client.IgnoreNotFound(r.unclaim(ctx, o)))
}

// release removes the objects of an owner that is deleted or no longer ours, what was written on it, then the finalizers.
func (r *owners[T]) release(ctx context.Context, cfg *settings.Settings, c *gather.Candidate[T], why string) (ctrl.Result, error) {
	o := c.Object
	owner, key := r.ownerOf(o), client.ObjectKeyFromObject(o)
	name := translate.VirtualServiceName(cfg, owner)
	if !r.held(o) && !r.Engine.Holds(owner, name) {
		return ctrl.Result{}, nil
	}
	deleted, err := r.Engine.Remove(ctx, owner, translate.Tenant(cfg, owner.Kind, c.Namespace), name, why)
	r.hold(key, err != nil)
	if err != nil {
		return r.stuck(ctx, o, err)
	}
	ctrl.LoggerFrom(ctx).Info("nothing is left on the Controller", "reason", why, "deleted", deleted)
	if deleted > 0 {
		r.Status.Deleted(o, deleted) // now: a run that has to clear the status once more finds nothing to delete
	}
	if err := r.clear(ctx, o); client.IgnoreNotFound(err) != nil {
		return resultOf(ctx, err)
	}
	if err := r.unclaim(ctx, o); client.IgnoreNotFound(err) != nil {
		return resultOf(ctx, err)
	}
	r.forget(key)
	if o.GetDeletionTimestamp() != nil {
		r.letGoOf(key)
	}
	r.Freed(key.Namespace + "-" + key.Name)
	return ctrl.Result{}, nil
}

// stuck says on an owner why it isn't let go, and tries again.
func (r *owners[T]) stuck(ctx context.Context, o T, err error) (ctrl.Result, error) {
	if errors.Is(err, mirror.ErrNotLoaded) {
		return resultOf(ctx, err)
	}
	text := engine.Explain(err)
	r.warnOnce(o, reasonDeleting, text)
	if err := r.Status.Stuck(ctx, o, engine.Reason(err), text); client.IgnoreNotFound(err) != nil {
		return resultOf(ctx, err)
	}
	return resultOf(ctx, err)
}

// held reports whether an owner has a finalizer that is ours to remove.
func (r *owners[T]) held(o T) bool {
	return gather.Claimed(o) || slices.ContainsFunc(r.finalizers(), func(f string) bool { return controllerutil.ContainsFinalizer(o, f) })
}

// keep leaves an owner as it is although it is not selected any more.
func (r *owners[T]) keep(ctx context.Context, o T, why string, err error) (ctrl.Result, error) {
	reason := reasonHeld(err)
	if reason == "" {
		return resultOf(ctx, err) // nobody knows yet
	}
	text := fmt.Sprintf("%s; its objects are kept, because %v", why, err)
	r.warnOnce(o, reason, text)
	ctrl.LoggerFrom(ctx).Info("kept although not selected any more", "reason", why, "held", err.Error())
	for _, part := range partsOf(o) {
		if err := r.Status.Held(ctx, part, reason, text); client.IgnoreNotFound(err) != nil {
			return resultOf(ctx, err)
		}
	}
	return ctrl.Result{RequeueAfter: spread(holdLook)}, nil
}

// partsOf are the objects that an owner is made of, itself if it is one.
func partsOf(o client.Object) []client.Object {
	if several, ok := o.(interface{ Objects() []client.Object }); ok {
		return several.Objects()
	}
	return []client.Object{o}
}

// deselect asks the guard before an owner is let go that somebody else's word has deselected.
func (r *owners[T]) deselect(ctx context.Context, o T, cfg *settings.Settings) error {
	if err := r.Engine.Known(ctx); err != nil {
		return err // what isn't known to be there may be there
	}
	owner := r.ownerOf(o)
	if !r.Engine.Holds(owner, translate.VirtualServiceName(cfg, owner)) {
		r.Guard.settle(ctx, owner)
		return nil
	}
	return r.Guard.allow(ctx, owner)
}

// gone removes what was left by an owner that the sweep found missing, or that was deleted without regard for its finalizer (missed), if
// the API server itself says that it doesn't exist.
func (r *owners[T]) gone(ctx context.Context, cfg *settings.Settings, key types.NamespacedName, missed bool) (ctrl.Result, error) {
	owner, log := r.ownerAt(key), ctrl.LoggerFrom(ctx)
	r.forget(key)
	r.hold(key, false)
	r.Guard.settle(ctx, owner)
	r.Freed(key.Namespace + "-" + key.Name)
	if missed {
		r.letGoOf(key) // by its own word: no guard keeps the sweep from what isn't removed here
	}
	if !r.takeOrphan(key) && !missed || cfg == nil {
		return ctrl.Result{}, nil
	}
	if api := r.API(); api != "" {
		if leaving, err := r.APIs.Leaving(ctx, api); leaving || err != nil {
			return ctrl.Result{}, err // the next sweep looks again
		}
	}
	if absent, err := r.Absent(ctx, owner); !absent {
		return ctrl.Result{}, err // it exists, or nobody knows: the next sweep looks again
	}
	deleted, err := r.Engine.Remove(ctx, owner, cfg.Tenant, translate.VirtualServiceName(cfg, owner),
		fmt.Sprintf("its %s doesn't exist", r.Owner().Noun()))
	if err != nil {
		log.Error(err, "removing what a vanished owner left; the next sweep tries again", "owner", owner.String())
		return ctrl.Result{}, nil
	}
	log.Info("removed what a vanished owner left", "owner", owner.String(), "deleted", deleted)
	return ctrl.Result{}, nil
}
