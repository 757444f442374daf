// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"sync"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/avi-l4-operator/avi-l4-operator/internal/status"
)

// conditionAccepted reports whether an object of AKO's types can be used.
const conditionAccepted = "Accepted"

// The values of status.status of AKO's types.
const (
	statusAccepted = "Accepted"
	statusRejected = "Rejected"
)

// akoStatus is the status that AKO's types have in common. AKO's CRDs drop the conditions.
type akoStatus struct {
	status, problem *string
	conditions      *[]metav1.Condition
}

// verdicts writes what is found of objects of one of AKO's types. The zero value is ready to use.
type verdicts struct {
	last sync.Map // key of an object → its last verdict, for a CRD that keeps no conditions
}

// turn is how a verdict changed.
type turn int

const (
	unturned      turn = iota
	turned             // for the first time, or to Unknown, or the status says it already
	acceptedAgain      // from rejected
	rejected
)

// finding is what there is to say about an object: who uses it and, if judged, whether it can be used. keeps reports whether the API server
// keeps conditions of its type.
type finding struct {
	inUse, verdict metav1.Condition
	judged, keeps  bool
}

// write writes a finding. before is the object from the cache and next a copy of it, whose status fields returns.
func (v *verdicts) write(
	ctx context.Context, w *status.Writer, before, next client.Object, fields func(client.Object) akoStatus, f finding,
) (turn, error) {
	was, now := fields(before), fields(next)
	key := client.ObjectKeyFromObject(before)
	conditions := []metav1.Condition{f.inUse}
	if f.judged {
		conditions = append(conditions, f.verdict)
	}
	for _, c := range conditions {
		c.ObservedGeneration, c.LastTransitionTime = before.GetGeneration(), metav1.NewTime(w.Now())
		if f.keeps {
			apimeta.SetStatusCondition(now.conditions, c)
		}
	}
	old := apimeta.FindStatusCondition(*was.conditions, f.verdict.Type)
	text := fmt.Sprint(f.verdict.Status, before.GetGeneration(), f.verdict.Message)
	differs := f.judged && v.differs(key, old, text)
	// status.status is AKO's field and AKO may write it too. It follows our verdict when that turns, and is left alone
	// otherwise, so that two controllers of different opinion don't write for ever.
	if differs || f.judged && *was.status == "" {
		switch f.verdict.Status {
		case metav1.ConditionTrue:
			*now.status, *now.problem = statusAccepted, ""
		case metav1.ConditionFalse:
			*now.status, *now.problem = statusRejected, f.verdict.Message
		}
	}
	unchanged := *was.status == *now.status && *was.problem == *now.problem && apiequality.Semantic.DeepEqual(*was.conditions, *now.conditions)
	if err := w.Patch(ctx, before, next, unchanged); err != nil {
		return unturned, err
	}
	if f.judged {
		v.last.Store(key, text)
	}
	switch {
	case !differs:
		return unturned, nil
	case unchanged: // a CRD without conditions: it was reported before
	case f.verdict.Status == metav1.ConditionFalse:
		return rejected, nil
	case f.verdict.Status == metav1.ConditionTrue && old != nil && old.Status == metav1.ConditionFalse:
		return acceptedAgain, nil
	}
	return turned, nil
}

// differs reports whether a verdict is another than the one in the condition or, where there is none, the one that was reported last.
func (v *verdicts) differs(key client.ObjectKey, old *metav1.Condition, text string) bool {
	if old != nil {
		return text != fmt.Sprint(old.Status, old.ObservedGeneration, old.Message)
	}
	before, _ := v.last.Load(key)
	return before != text
}
