// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"io"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/avi-l4-operator/avi-l4-operator/internal/avi"
	"github.com/avi-l4-operator/avi-l4-operator/internal/gather"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
)

// HandBack takes everything off Kubernetes objects that the operator has put there, so that AKO can serve them again: finalizers,
// annotations, conditions, and the statuses of Gateways but for their addresses. It says nothing to the Controller, which may be
// away, and leaves what another instance of the operator serves. The manager is one that was not started, and the operator itself must
// not run, or it would take everything back. An error is about the first object of those that could not be handed back; a second run
// goes on where the first one ended.
func HandBack(ctx context.Context, mgr ctrl.Manager, c *avi.Client, o Options, out io.Writer) (err error) {
	o.LeaderElect, o.Registerer, o.SetLogLevel = false, nil, nil
	op, err := Setup(ctx, mgr, c, o)
	if err != nil {
		return err
	}
	stop := runCache(ctx, mgr)
	defer func() { err = errors.Join(err, stop()) }()
	if err := op.readSettings(ctx, mgr, o); err != nil {
		return err
	}
	var failed []error
	for _, k := range op.Owners {
		n, err := k.HandBack(ctx)
		_, told := fmt.Fprintf(out, "%s: %d handed back\n", k.Kind(), n)
		failed = append(failed, err, told)
	}
	for _, k := range op.Classes {
		failed = append(failed, k.HandBack(ctx))
	}
	return errors.Join(failed...)
}

// HandBack hands the owners of the kind back, and returns how many.
func (r *owners[T]) HandBack(ctx context.Context) (handed int, err error) {
	if r.parts != nil {
		return 0, nil // what they are made of is handed back as what it is
	}
	if api := r.API(); api != "" && !r.APIs.Serves(api) {
		return 0, nil
	}
	all, err := r.List(ctx)
	if err != nil {
		return 0, err
	}
	instance := r.Settings.Current().Instance()
	var failed []error
	for _, cached := range all {
		by := cached.GetAnnotations()[gather.AnnotationServedBy]
		if by != "" && by != instance {
			continue // another instance's
		}
		o := cached.DeepCopyObject().(T)
		changed, err := r.handBack(ctx, o, gather.Claimed(o) || by != "")
		if err == nil {
			var unclaimed bool
			unclaimed, err = r.disown(ctx, o)
			changed = changed || unclaimed
		}
		if client.IgnoreNotFound(err) != nil {
			failed = append(failed, fmt.Errorf("handing back %s: %w", r.ownerOf(o), err))
		} else if changed {
			handed++
		}
	}
	return handed, errors.Join(failed...)
}

// disown takes the finalizer and the instance's name off an owner, and no other controller's finalizer.
func (r *owners[T]) disown(ctx context.Context, o client.Object) (changed bool, err error) {
	before := o.DeepCopyObject().(client.Object)
	_, named := o.GetAnnotations()[gather.AnnotationServedBy]
	if changed = controllerutil.RemoveFinalizer(o, gather.Finalizer) || named; !changed {
		return false, nil
	}
	annotate(o, gather.AnnotationServedBy, "")
	annotate(o, translate.AnnotationJoined, "")
	return true, r.patchFinalizers(ctx, o, before)
}

// HandBack takes the API's finalizer off the classes that are the operator's.
func (r *classes[C, G]) HandBack(ctx context.Context) error {
	if !r.APIs.Serves(r.api) {
		return nil
	}
	all := r.list()
	if err := r.Client.List(ctx, all); err != nil {
		return fmt.Errorf("listing GatewayClasses: %w", err)
	}
	return apimeta.EachListItem(all, func(o runtime.Object) error {
		if class := o.(C); r.ours(class) {
			return client.IgnoreNotFound(r.finalize(ctx, class, false))
		}
		return nil
	})
}
