// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"fmt"
	"strings"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
)

// Annotations that keep the operator from changing what an owner has on the Controller: true or false, on a Service or a Gateway of
// either API. Of the Services of a shared VIP, one that has it speaks for all: their VirtualService is the same.
const (
	// AnnotationPaused leaves everything as it is.
	AnnotationPaused = "l4.ako.vmware.com/paused"
	// AnnotationDryRun has the changes reported that would be made.
	AnnotationDryRun = "l4.ako.vmware.com/dry-run"
)

// Restraint is what keeps changes on the Controller from being carried out. The zero value is none.
type Restraint struct {
	Reason string // model.ReasonPaused or model.ReasonDryRun, as a condition has it; empty: none
	by     string // annotation or flag, with the Service that has it where that is one of several
	value  string // of the annotation, where it is neither true nor false
}

// Flag is the restraint of an operator that runs with --dry-run.
var Flag = Restraint{Reason: model.ReasonDryRun, by: "the operator's flag --dry-run"}

// restraints are the annotations, the strictest first, with what each does.
var restraints = []struct{ annotation, reason, text string }{
	{AnnotationPaused, model.ReasonPaused, "paused: nothing is changed on the Controller"},
	{AnnotationDryRun, model.ReasonDryRun, "dry run: changes are reported and not carried out"},
}

// RestraintOf reads an object's annotations. A value that is neither true nor false counts as true: nothing is changed by mistake.
func RestraintOf(annotations map[string]string) Restraint {
	for _, r := range restraints {
		value, set := annotations[r.annotation]
		value = strings.TrimSpace(value)
		switch {
		case !set || strings.EqualFold(value, "false"):
		case strings.EqualFold(value, "true"):
			return Restraint{Reason: r.reason, by: "annotation " + r.annotation}
		default:
			return Restraint{Reason: r.reason, by: "annotation " + r.annotation, value: fmt.Sprintf("%q", value)}
		}
	}
	return Restraint{}
}

// of names the Service whose annotation it is.
func (r Restraint) of(service string) Restraint {
	r.by += " of Service " + service
	return r
}

// Any reports whether there is a restraint.
func (r Restraint) Any() bool { return r.Reason != "" }

// Own reports whether it is an owner's, and not the whole operator's.
func (r Restraint) Own() bool { return r.Any() && r != Flag }

// Paused reports whether nothing is to be planned either.
func (r Restraint) Paused() bool { return r.Reason == model.ReasonPaused }

// By names the annotation or flag.
func (r Restraint) By() string { return r.by }

// String says what the restraint does, and how it ends.
func (r Restraint) String() string {
	for _, known := range restraints {
		if known.reason == r.Reason {
			return known.text + " while " + r.by + " is set"
		}
	}
	return ""
}

// restrain reports what keeps the owner's changes from being carried out.
func (b *builder) restrain() {
	r := b.in.Owner.Restraint()
	if !r.Any() {
		return
	}
	b.report(model.Note, model.Port{}, r.Reason, r.String())
	if r.value != "" {
		b.report(model.Degraded, model.Port{}, model.ReasonInvalidAnnotation,
			fmt.Sprintf("%s: %s is neither true nor false, and counts as true", r.by, r.value))
	}
}
