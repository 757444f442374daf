// SPDX-License-Identifier: Apache-2.0

package command

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/schema"
)

// completionTime is how long a shell waits at most for what the simulator has to be asked about.
const completionTime = time.Second

// completeFlags says how the values of a command's flags are completed; those of other flags aren't.
func completeFlags(cmd *cobra.Command, by map[string]cobra.CompletionFunc) {
	for name, complete := range by {
		if err := cmd.RegisterFlagCompletionFunc(name, complete); err != nil {
			panic(err) // the names are constants of this program
		}
	}
}

func words[S ~string](values ...S) cobra.CompletionFunc {
	var out []cobra.Completion
	for _, v := range values {
		out = append(out, string(v))
	}
	return cobra.FixedCompletions(out, cobra.ShellCompDirectiveNoFileComp)
}

func completeYAML(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return []cobra.Completion{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
}

func serveCompletions() map[string]cobra.CompletionFunc {
	files := cobra.FixedCompletions(nil, cobra.ShellCompDirectiveDefault)
	return map[string]cobra.CompletionFunc{
		"ca-file": files, "cert-file": files, "key-file": files, "state-file": files,
		"make-certificate": cobra.FixedCompletions(nil, cobra.ShellCompDirectiveFilterDirs),
		"fixture":          completeYAML,
		"script":           completeYAML,
		"license-tier": words("ENTERPRISE", "ENTERPRISE_WITH_CLOUD_SERVICES", "ENTERPRISE_18", "ENTERPRISE_16", "BASIC",
			"ESSENTIALS"),
		"unknown-fields":  words("accept", "reject"),
		"strict-evidence": words(schema.Recorded, schema.Documented, schema.Inferred),
		"probe":           words("none", "tcp", "all"),
		"forward-map":     words("direct"),
		"rule":            completeRule,
	}
}

func completeRule(*cobra.Command, []string, string) (out []cobra.Completion, _ cobra.ShellCompDirective) {
	for _, r := range avisim.Rules() {
		state := "=off"
		if r.Off {
			state = "=on"
		}
		out = append(out, cobra.CompletionWithDesc(r.ID+state, r.Summary))
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

func faultCompletions() map[string]cobra.CompletionFunc {
	types := []string{"login", "cluster"}
	for _, t := range schema.Types() {
		types = append(types, t.Path)
	}
	return map[string]cobra.CompletionFunc{
		"type": words(types...),
		"method": words(http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodHead,
			http.MethodOptions),
	}
}

func effectNames() (out []cobra.Completion) {
	for _, e := range avisim.EffectTable() {
		out = append(out, cobra.CompletionWithDesc(e.Name, e.About))
	}
	return out
}

// completeEffect completes the name of one effect.
func completeEffect(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return effectNames(), cobra.ShellCompDirectiveNoFileComp
}

// completeEffects completes effects and, behind one, its parameters up to the equals sign.
func completeEffects(_ *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
	last := "" // the effect that a parameter would belong to
	for _, a := range args {
		if !strings.Contains(a, "=") {
			last = a
		}
	}
	var params []cobra.Completion
	names := effectNames()
	for _, e := range avisim.EffectTable() {
		if e.Name != last {
			continue
		}
		for _, p := range e.Params {
			params = append(params, cobra.CompletionWithDesc(p.Name+"=", p.About))
		}
	}
	other := func(c cobra.Completion) bool { return !strings.HasPrefix(c, toComplete) }
	params, names = slices.DeleteFunc(params, other), slices.DeleteFunc(names, other)
	directive := cobra.ShellCompDirectiveNoFileComp
	if len(names) == 0 {
		directive |= cobra.ShellCompDirectiveNoSpace // the value follows
	}
	return append(params, names...), directive
}

// completeFaults completes the numbers of the faults of the simulator that runs.
func (c *cli) completeFaults(cmd *cobra.Command, args []string, _ string) (out []cobra.Completion, _ cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTime)
	defer cancel()
	var list []avisim.ActiveFault
	if len(args) > 0 || c.call(ctx, http.MethodGet, "/faults", nil, &list) != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	for _, f := range list {
		out = append(out, cobra.CompletionWithDesc(strconv.Itoa(f.ID), f.Fault.Name+" "+conditions(f.Fault)))
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}
