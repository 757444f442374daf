// SPDX-License-Identifier: Apache-2.0

package outcome

import (
	"slices"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
)

// Share is what an outcome for a group of Services means for one of them: the findings about all and about it, its ports and
// its names. What failed for other Services' pools did not fail for one that is served. One that no port is served of has no
// address, which is in doubt if the run failed, and is blocked if a finding says so, whatever came of the others.
func (o *Outcome) Share(service string) Outcome {
	out := *o
	out.Findings = slices.DeleteFunc(slices.Clone(o.Findings), func(f model.Finding) bool { return f.About != "" && f.About != service })
	out.Ports = slices.DeleteFunc(slices.Clone(o.Ports), func(p model.Port) bool { return !slices.Contains(o.Backends[p], service) })
	out.FQDNs = o.Names[service]
	out.Servers = slices.DeleteFunc(slices.Clone(o.Servers), func(s Servers) bool { return !slices.Contains(out.Ports, s.Port) })
	if only := o.FailedFor; len(out.Ports) > 0 && o.state == Failed && len(only) > 0 && !slices.Contains(only, service) {
		out.state, out.failure = Done, Failure{}
	}
	if len(out.Ports) > 0 || !o.Known() {
		return out
	}
	blocked := slices.ContainsFunc(out.Findings, func(f model.Finding) bool {
		return f.Severity == model.Blocked && f.About == service && f.Port == (model.Port{})
	})
	out.Serving = Serving{Name: o.Name, Tenant: o.Tenant}
	if blocked {
		out.state, out.failure = Blocked, Failure{}
	} else if o.state == Failed {
		out.Doubtful = true // what failed may be what would have shown its ports: an address in its status stays
	}
	return out
}
