// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
)

func TestRestraintOf(t *testing.T) {
	for _, c := range []struct {
		paused, dry string
		want        string
	}{
		{"", "", ""},
		{"false", "False ", ""},
		{"true", "", model.ReasonPaused},
		{" TRUE", "true", model.ReasonPaused},
		{"false", "true", model.ReasonDryRun},
		{"no", "", model.ReasonPaused}, // nothing is changed by mistake
		{"false", "yes", model.ReasonDryRun},
	} {
		annotations := map[string]string{}
		for key, value := range map[string]string{AnnotationPaused: c.paused, AnnotationDryRun: c.dry} {
			if value != "" {
				annotations[key] = value
			}
		}
		r := RestraintOf(annotations)
		if r.Reason != c.want || r.Any() != (c.want != "") || r.Own() != r.Any() || (r.String() == "") != (c.want == "") {
			t.Errorf("%+v: %+v (%s)", c, r, r)
		}
	}
	if r := RestraintOf(map[string]string{AnnotationPaused: ""}); !r.Paused() {
		t.Error("an annotation without a value doesn't pause")
	}
	if !Flag.Any() || Flag.Own() || Flag.Paused() {
		t.Errorf("the flag is %+v", Flag)
	}
}

// TestSharedVIPRestraint: one Service speaks for all, and a pause is more than a dry run.
func TestSharedVIPRestraint(t *testing.T) {
	a, b, c := sharing("a", "n2", "", time.Time{}), sharing("b", "n2", "", time.Time{}), sharing("c", "n2", "", time.Time{})
	g := SharedVIP{Members: []*corev1.Service{a, b, c}}
	if r := g.Restraint(); r.Any() {
		t.Errorf("none asks for %s", r)
	}
	b.Annotations[AnnotationDryRun] = "true"
	if got, want := g.Restraint().By(), "annotation l4.ako.vmware.com/dry-run of Service b"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	c.Annotations[AnnotationPaused] = "true"
	if got, want := g.Restraint().By(), "annotation l4.ako.vmware.com/paused of Service c"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
