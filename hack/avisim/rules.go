package main

import (
	"flag"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/avi-l4-operator/avi-l4-operator/internal/avisim"
)

// ruleFlags switch rules at the start.
type ruleFlags []ruleSwitch

type ruleSwitch struct {
	ID string
	On bool
}

// register adds the flags that say how hard the simulator is on its clients.
func (f *ruleFlags) register(o *avisim.Options) {
	flag.StringVar(&o.UnknownFields, "unknown-fields", "accept", "accept: drop fields that the schema does not have; reject: refuse the write")
	flag.Func("strict-evidence", "let rules pass of which less is known, and list them at GET /warnings: recorded, documented, inferred", func(s string) error {
		o.StrictEvidence = avisim.Evidence(s)
		return nil
	})
	flag.Var(f, "rule", "switch a rule, id=on or id=off; may be given often")
}

func (f *ruleFlags) String() string { return "" }

func (f *ruleFlags) Set(s string) error {
	id, state, _ := strings.Cut(s, "=")
	r := ruleSwitch{id, state == "on"}
	if state != "on" && state != "off" {
		return fmt.Errorf("%q is not of the form id=on or id=off", s)
	}
	*f = append(*f, r)
	return r.check()
}

// check tells which rules there are if this is none.
func (r ruleSwitch) check() error {
	var ids []string
	for _, known := range avisim.Rules() {
		ids = append(ids, known.ID)
	}
	if !slices.Contains(ids, r.ID) {
		return fmt.Errorf("no rule %q; there are %s", r.ID, strings.Join(ids, ", "))
	}
	return nil
}

func (f ruleFlags) apply(s *avisim.Server) {
	for _, r := range f {
		s.SetRule(r.ID, r.On)
	}
}

// rules adds the calls about rules to the control API.
func rules(mux *http.ServeMux, s *avisim.Server) {
	mux.HandleFunc("GET /warnings", func(w http.ResponseWriter, _ *http.Request) { send(w, s.Warnings()) })
	mux.HandleFunc("POST /rules", with(func(r ruleSwitch) error {
		err := r.check()
		if err == nil {
			s.SetRule(r.ID, r.On)
		}
		return err
	}))
}
