// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim"
)

// worldFlags are the flags that say how the simulated world behaves from the start.
type worldFlags struct {
	ipam     avisim.IPAM
	dynamics avisim.Dynamics
	quick    bool
	probe    string
	networks string
	interval time.Duration
}

func (w *worldFlags) register(flag *flag.FlagSet) {
	flag.DurationVar(&w.ipam.Async, "ipam-async", 0, "give addresses so long after the answer instead of in it, as cloud IPAMs do")
	flag.DurationVar(&w.ipam.Quarantine, "ipam-quarantine", 0, "keep a returned address out of use for so long")
	flag.DurationVar(&w.dynamics.PlacementDelay, "placement-delay", 0, "a new virtual service is in OPER_CREATING for so long")
	flag.DurationVar(&w.dynamics.Initialization, "initialization", 0, "and then in OPER_INITIALIZING for so long")
	flag.BoolVar(&w.quick, "quick-start", true, "servers change state at once; else after their monitors' checks × send_interval")
	flag.BoolVar(&w.dynamics.Capacity, "se-capacity", false, "let max_vs_per_se and max_se count")
	flag.StringVar(&w.probe, "probe", "none", "tcp: connect to the servers of pools with a TCP or HTTP monitor; none: servers are up unless said otherwise")
	flag.StringVar(&w.networks, "probe-networks", "", "comma-separated prefixes where servers may be probed; loopback if empty")
	flag.DurationVar(&w.interval, "probe-interval", 5*time.Second, "time between two probes of a server")
}

// apply sets what was given; the rest is the fixture's to say.
func (w *worldFlags) apply(s *avisim.Server, given map[string]bool) {
	if given["ipam-async"] || given["ipam-quarantine"] {
		s.SetIPAM(w.ipam)
	}
	w.dynamics.Checks = !w.quick
	if given["placement-delay"] || given["initialization"] || given["quick-start"] || given["se-capacity"] {
		s.SetDynamics(w.dynamics)
	}
}

// probing reads the probe flags; nil if there is to be none.
func (w *worldFlags) probing() (*avisim.Probe, error) {
	switch w.probe {
	case "none":
		return nil, nil
	case "tcp":
	default:
		return nil, fmt.Errorf("--probe %q is neither none nor tcp", w.probe)
	}
	p := &avisim.Probe{Interval: w.interval}
	var errs []error
	for s := range strings.SplitSeq(w.networks, ",") {
		if s == "" {
			continue
		}
		n, err := netip.ParsePrefix(strings.TrimSpace(s))
		errs = append(errs, err)
		p.Networks = append(p.Networks, n)
	}
	return p, errors.Join(errs...)
}
