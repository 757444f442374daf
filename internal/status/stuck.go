// SPDX-License-Identifier: Apache-2.0

package status

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
)

// Said is what the status of an owner says.
type Said struct {
	Conditions *[]metav1.Condition
	Programmed string   // the type of the condition about whether the owner is programmed
	Addresses  []string // as they are written
}

// Reading reads what the status of an object says. It returns nil for an object of another kind than its own.
type Reading func(client.Object) *Said

func reading[T client.Object](read func(T) *Said) Reading {
	return func(o client.Object) *Said {
		if of, ok := o.(T); ok {
			return read(of)
		}
		return nil
	}
}

// AddKind makes a kind of owner known, of which Held, Stuck and the questions about an owner's status are then possible. Call it before
// anything else runs.
func (w *Writer) AddKind(r Reading) { w.kinds = append(w.kinds, r) }

// Said is what the status of an owner says; nil for an object that is no owner with a status of its own.
func (w *Writer) Said(o client.Object) *Said {
	for _, read := range w.kinds {
		if said := read(o); said != nil {
			return said
		}
	}
	return nil
}

// Spoken reports whether an instance of the operator that serves an owner, or tries to, has written its conditions.
func (w *Writer) Spoken(o client.Object) bool { return w.Said(o).spoken() }

func (s *Said) spoken() bool {
	if s == nil {
		return false
	}
	h := apimeta.FindStatusCondition(*s.Conditions, Healthy)
	return h != nil && h.Reason != notProgrammed
}

// Had are the addresses in the status of an owner, if it is the operator that has written them.
func (w *Writer) Had(o client.Object) (out []netip.Addr) {
	said := w.Said(o)
	if !said.spoken() {
		return nil
	}
	for _, text := range said.Addresses {
		if a, err := netip.ParseAddr(text); err == nil {
			out = append(out, a)
		}
	}
	return out
}

// Judged reports whether another instance of the operator has judged an owner: for another reason than that it has no valid settings, or
// because of settings in another namespace. Two instances which disagree would write over each other for ever.
func (w *Writer) Judged(o client.Object, namespace string) bool {
	said := w.Said(o)
	if said == nil {
		return false
	}
	for _, kind := range []string{Accepted, routedEvents.accepted} {
		c := apimeta.FindStatusCondition(*said.Conditions, kind)
		if c == nil || c.Status == metav1.ConditionUnknown {
			continue
		}
		unconfigured := c.Reason == model.ReasonConfigurationInvalid || c.Reason == string(gatewayv1.GatewayReasonPending)
		if !unconfigured || !strings.Contains(c.Message, " "+namespace+"/") {
			return true
		}
	}
	return false
}

// Held says on an owner that is served still, although it is not selected any more, why and until when. The rest of its status stays as
// it is.
func (w *Writer) Held(ctx context.Context, o client.Object, reason, message string) error {
	next, ok := o.DeepCopyObject().(client.Object)
	if !ok {
		return fmt.Errorf("writing the status of %T: it can't be copied", o)
	}
	said := w.Said(next)
	if said == nil {
		return nil
	}
	list, programmed := said.Conditions, said.Programmed
	was := apimeta.FindStatusCondition(*list, programmed)
	if was == nil {
		return nil // nothing was ever said of it
	}
	apimeta.SetStatusCondition(list, metav1.Condition{
		Type: programmed, Status: was.Status, Reason: reason, Message: clip(message),
		ObservedGeneration: o.GetGeneration(), LastTransitionTime: metav1.NewTime(w.Now()),
	})
	if svc, ok := next.(*corev1.Service); ok {
		metav1.SetMetaDataAnnotation(&svc.ObjectMeta, AnnotationProblem, reason+": "+clip(message))
	}
	return w.Patch(ctx, o, next, apiequality.Semantic.DeepEqual(o, next))
}

// Stuck says on an owner that is to go why its objects are still on the Controller. The rest of its status stays as it is.
// Unlike an Event, this can be written in a Namespace that is being deleted, and lasts.
func (w *Writer) Stuck(ctx context.Context, o client.Object, reason, message string) error {
	next, ok := o.DeepCopyObject().(client.Object)
	if !ok {
		return fmt.Errorf("writing the status of %T: it can't be copied", o)
	}
	said := w.Said(next)
	if said == nil {
		return nil
	}
	list, programmed := said.Conditions, said.Programmed
	if was := apimeta.FindStatusCondition(*list, programmed); was != nil && was.Status == metav1.ConditionFalse &&
		reason == model.ReasonControllerDown && was.Reason == reason {
		return nil // an outage has many different errors, and one is enough
	}
	apimeta.SetStatusCondition(list, metav1.Condition{
		Type: programmed, Status: metav1.ConditionFalse, Reason: reason, Message: clip("deleting: " + message),
		ObservedGeneration: o.GetGeneration(), LastTransitionTime: metav1.NewTime(w.Now()),
	})
	if svc, ok := next.(*corev1.Service); ok {
		metav1.SetMetaDataAnnotation(&svc.ObjectMeta, AnnotationProblem, problem(*list))
	}
	return w.Patch(ctx, o, next, apiequality.Semantic.DeepEqual(o, next))
}
