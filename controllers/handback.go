// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1alpha2"
	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1beta1"
	"github.com/avi-l4-operator/avi-l4-operator/internal/avi"
	"github.com/avi-l4-operator/avi-l4-operator/internal/gather"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
	"github.com/avi-l4-operator/avi-l4-operator/internal/status"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
)

// HandBack takes everything off Kubernetes objects that the operator has put there, so that AKO can serve them again: finalizers,
// annotations, conditions, and the statuses of Gateways but for their addresses, of classes and of routes. It says nothing to the
// Controller, which may be away, and leaves what another instance of the operator serves. The manager is one that was not started, and the
// operator itself must not run, or it would take everything back. The error names, of each kind, the first object that could not be handed
// back; a second run continues there.
func HandBack(ctx context.Context, mgr ctrl.Manager, c *avi.Client, o Options, out io.Writer) (err error) {
	o.LeaderElect, o.Registerer, o.SetLogLevel = false, nil, nil
	op, err := Setup(ctx, mgr, c, o)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, onceLimit)
	defer cancel()
	stop := runCache(ctx, mgr)
	defer func() { err = errors.Join(err, stop()) }()
	if err := op.readSettings(ctx, mgr, o); err != nil {
		return err
	}
	var failed []error
	for _, p := range op.parts { // before the Gateways, which say whose their routes and classes are
		if h, ok := p.(handsBack); ok {
			failed = append(failed, h.HandBack(ctx))
		}
	}
	for _, k := range op.Owners {
		n, err := k.HandBack(ctx)
		_, unwritten := fmt.Fprintf(out, "%s: %d handed back\n", k.Kind(), n)
		failed = append(failed, err, unwritten)
	}
	return errors.Join(failed...)
}

// handsBack is a part that writes on objects which are no owners.
type handsBack interface {
	HandBack(ctx context.Context) error
}

// handedBack is the message of conditions that the API requires and that no controller keeps any more.
const handedBack = "handed back by avi-l4-operator"

// elsewhere reports whether another instance of the operator serves an owner.
func elsewhere(o client.Object, s *settings.Settings) bool {
	by := o.GetAnnotations()[gather.AnnotationServedBy]
	return by != "" && by != s.Instance()
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
	var failed []error
	for _, cached := range all {
		if elsewhere(cached, r.Settings.Current()) {
			continue
		}
		by := cached.GetAnnotations()[gather.AnnotationServedBy]
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

// HandBack takes the API's finalizer and what the operator has said off the classes that are the operator's, unless another instance
// serves Gateways of theirs.
func (r *classes[C, G]) HandBack(ctx context.Context) error {
	if !r.APIs.Serves(r.api) {
		return nil
	}
	served := make(map[string]bool)
	gateways, all := r.gateways(), r.list()
	if err := errors.Join(r.Client.List(ctx, gateways), r.Client.List(ctx, all)); err != nil {
		return fmt.Errorf("listing GatewayClasses and Gateways: %w", err)
	}
	_ = apimeta.EachListItem(gateways, func(o runtime.Object) error {
		if gw := o.(G); elsewhere(gw, r.Settings.Current()) {
			served[r.classOf(gw)] = true
		}
		return nil
	})
	var failed []error
	_ = apimeta.EachListItem(all, func(o runtime.Object) error {
		if class := o.(C); r.ours(class) && !served[class.GetName()] {
			if err := r.handBack(ctx, class); client.IgnoreNotFound(err) != nil {
				failed = append(failed, fmt.Errorf("handing back GatewayClass %s: %w", class.GetName(), err))
			}
		}
		return nil
	})
	return errors.Join(failed...)
}

func (r *classes[C, G]) handBack(ctx context.Context, class C) error {
	if err := r.finalize(ctx, class, false); err != nil {
		return err
	}
	next := class.DeepCopyObject().(C)
	conditions := r.unsay(next)
	c := r.pending
	c.Type, c.Status, c.Message, c.LastTransitionTime = r.verdict, r.unsaid, handedBack, metav1.NewTime(r.Status.Now())
	if was := apimeta.FindStatusCondition(*conditions, r.verdict); was == nil {
		return nil // never said anything
	} else if was.Message != handedBack { // the API wants this one to be there
		apimeta.SetStatusCondition(conditions, c)
	}
	return r.Status.Patch(ctx, class, next, apiequality.Semantic.DeepEqual(class, next))
}

// HandBack removes the operator's entries from routes' statuses, but for those of Gateways that another instance serves.
func (r *RouteReconciler) HandBack(ctx context.Context) error {
	routes, err := r.Gather.Routes(ctx, r.Kind)
	if err != nil {
		return err
	}
	var failed []error
	for _, route := range routes {
		var kept []status.RouteParent
		for _, p := range route.Status.Parents {
			key, ok := r.Gather.GatewayOfParent(ctx, route, p.ParentRef)
			gw := new(gatewayv1.Gateway)
			if ok && r.Client.Get(ctx, key, gw) == nil && elsewhere(gw, r.Settings.Current()) {
				kept = append(kept, status.RouteParent{Ref: p.ParentRef, Keep: true})
			}
		}
		if err := r.Status.Route(ctx, route, kept, r.Gather.ControllerNames); client.IgnoreNotFound(err) != nil {
			failed = append(failed, fmt.Errorf("handing back %s: %w", route, err))
		}
	}
	return errors.Join(failed...)
}

// HandBack removes the operator's conditions from L4Rules, but for what another instance has said. AKO knows none there; status.status is
// AKO's own field and stays.
func (r *RuleReconciler) HandBack(ctx context.Context) error {
	return r.unsay(ctx, &r.Deps, gather.Rules, new(v1alpha2.L4RuleList), ruleStatus, r.signature())
}

// HandBack is that of L4Rules for AviInfraSettings.
func (r *InfraSettingReconciler) HandBack(ctx context.Context) error {
	return r.unsay(ctx, &r.Deps, gather.InfraSettings, new(v1beta1.AviInfraSettingList), settingStatus, r.signature())
}

// unsay removes the conditions that were written with a signature from the objects of a type.
func (v *verdicts) unsay(
	ctx context.Context, d *Deps, api gather.API, all client.ObjectList, fields func(client.Object) akoStatus, signature string,
) error {
	if !d.APIs.Serves(api) {
		return nil
	}
	if err := d.Client.List(ctx, all); err != nil {
		return fmt.Errorf("listing objects of %s: %w", api, err)
	}
	var failed []error
	_ = apimeta.EachListItem(all, func(item runtime.Object) error {
		o := item.(client.Object)
		c := apimeta.FindStatusCondition(*fields(o).conditions, conditionInUse)
		if c == nil || !strings.HasSuffix(c.Message, signature) {
			return nil
		}
		next := o.DeepCopyObject().(client.Object)
		for _, kind := range []string{conditionAccepted, conditionInUse} {
			apimeta.RemoveStatusCondition(fields(next).conditions, kind)
		}
		if err := d.Status.Patch(ctx, o, next, false); client.IgnoreNotFound(err) != nil {
			failed = append(failed, fmt.Errorf("handing back %s %s: %w", api, client.ObjectKeyFromObject(o), err))
		}
		return nil
	})
	return errors.Join(failed...)
}
