// SPDX-License-Identifier: Apache-2.0

package control

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim"
)

// RuleSwitch switches a rule on or off.
type RuleSwitch struct {
	ID string
	On bool
}

// Check returns an error that lists the rules if there is none of the ID.
func (r RuleSwitch) Check() error {
	var ids []string
	for _, known := range avisim.Rules() {
		ids = append(ids, known.ID)
	}
	if !slices.Contains(ids, r.ID) {
		return fmt.Errorf("no rule %q; there are %s", r.ID, strings.Join(ids, ", "))
	}
	return nil
}

// rules adds the calls about rules to the control API.
func rules(mux *http.ServeMux, s *avisim.Server) {
	mux.HandleFunc("GET /warnings", func(w http.ResponseWriter, _ *http.Request) { send(w, s.Warnings()) })
	mux.HandleFunc("POST /rules", with(func(r RuleSwitch) error {
		err := r.Check()
		if err == nil {
			s.SetRule(r.ID, r.On)
		}
		return err
	}))
}
