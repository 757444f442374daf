// SPDX-License-Identifier: Apache-2.0

package command

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/control"
)

// ruleFlags switch rules at the start.
type ruleFlags []control.RuleSwitch

// register adds the flags that say how hard the simulator is on its clients.
func (f *ruleFlags) register(fs *pflag.FlagSet, o *avisim.Options) {
	fs.StringVar(&o.UnknownFields, "unknown-fields", "accept", "accept: drop fields that the schema does not have; reject: refuse the write")
	fs.StringVar((*string)(&o.StrictEvidence), "strict-evidence", "",
		"let rules pass of which less is known, and list them at GET /warnings: recorded, documented, inferred")
	fs.Var(f, "rule", "switch a rule, `id=on` or id=off; may be given often")
}

func (f *ruleFlags) String() string { return "" }

// Type is part of pflag.Value.
func (f *ruleFlags) Type() string { return "rule" }

func (f *ruleFlags) Set(s string) error {
	id, state, _ := strings.Cut(s, "=")
	r := control.RuleSwitch{ID: id, On: state == "on"}
	if state != "on" && state != "off" {
		return fmt.Errorf("%q is not of the form id=on or id=off", s)
	}
	*f = append(*f, r)
	return r.Check()
}

func (f ruleFlags) apply(s *avisim.Server) {
	for _, r := range f {
		s.SetRule(r.ID, r.On)
	}
}
