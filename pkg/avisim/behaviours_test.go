// SPDX-License-Identifier: Apache-2.0

package avisim

import (
	"slices"
	"strings"
	"testing"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/schema"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/world"
)

// TestBehaviours shows that the tables are well formed.
func TestBehaviours(t *testing.T) {
	seen := map[string]bool{}
	for _, x := range Behaviours() {
		if x.Area == "" || x.What == "" || !slices.Contains(schema.Grades, x.Known) || seen[x.What] || strings.Contains(x.What, "|") {
			t.Errorf("%+v", x)
		}
		seen[x.What] = true
	}
	for _, e := range Endpoints() {
		if !slices.Contains(schema.Grades, e.Known) {
			t.Errorf("%+v", e)
		}
	}
	for _, r := range Rules() {
		if seen[r.ID] || r.Summary == "" || r.Status < 400 || !slices.Contains(schema.Grades, r.Known) || !slices.Contains(schema.Grades,
			r.Text) ||
			slices.Index(schema.Grades, r.Text) < slices.Index(schema.Grades, r.Known) || r.Type != "" && world.KindOf(r.Type) == nil {
			t.Errorf("%+v", r)
		}
		seen[r.ID] = true
	}
}
