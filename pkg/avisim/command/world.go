// SPDX-License-Identifier: Apache-2.0

package command

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/pflag"

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

	forward     bool
	forwardMap  string
	sctpPort    uint
	sctpInIP    bool
	connections int
}

func (w *worldFlags) register(fs *pflag.FlagSet) {
	fs.DurationVar(&w.ipam.Async, "ipam-async", 0, "give addresses so long after the answer instead of in it, as cloud IPAMs do")
	fs.DurationVar(&w.ipam.Quarantine, "ipam-quarantine", 0, "keep a returned address out of use for so long")
	fs.DurationVar(&w.dynamics.PlacementDelay, "placement-delay", 0, "a new virtual service is in OPER_CREATING for so long")
	fs.DurationVar(&w.dynamics.Initialization, "initialization", 0, "and after --placement-delay in OPER_INITIALIZING for so long")
	fs.BoolVar(&w.quick, "quick-start", true, "servers change state at once; else after their monitors' checks × send_interval")
	fs.BoolVar(&w.dynamics.Capacity, "se-capacity", false, "let max_vs_per_se and max_se count")
	fs.StringVar(&w.probe, "probe", "none", "tcp: connect to the servers of pools with a TCP or HTTP monitor; all: those with UDP and SCTP monitors too; none: servers are up unless said otherwise; all is the default with --forward")
	fs.StringVar(&w.networks, "probe-networks", "", "comma-separated prefixes where servers may be probed; loopback if empty, and anywhere with --forward-map direct")
	fs.DurationVar(&w.interval, "probe-interval", 5*time.Second, "time between two probes of a server")
	fs.BoolVar(&w.forward, "forward", false, "carry traffic from the VIPs to the servers of the pools")
	fs.StringVar(&w.forwardMap, "forward-map", "10.0.0.0/8=127.0.0.0/8", "comma-separated prefix=prefix: where addresses of VIPs and servers are on this machine's loopback; direct: as they are")
	fs.UintVar(&w.sctpPort, "forward-sctp-port", 9899, "UDP port of VIPs and servers with SCTP, which travels in UDP")
	fs.BoolVar(&w.sctpInIP, "forward-sctp-in-ip", false, "SCTP travels in IP itself, not in UDP: needs CAP_NET_RAW, and a kernel without SCTP")
	fs.IntVar(&w.connections, "forward-connections", 10_000, "how many connections are carried at once")
}

// apply sets what was given; the rest is the fixture's to say.
func (w *worldFlags) apply(s *avisim.Server, given func(flag string) bool) {
	if given("ipam-async") || given("ipam-quarantine") {
		s.SetIPAM(w.ipam)
	}
	w.dynamics.Checks = !w.quick
	if given("placement-delay") || given("initialization") || given("quick-start") || given("se-capacity") {
		s.SetDynamics(w.dynamics)
	}
}

// forwarding reads the forward flags; nil if no traffic is to be carried.
func (w *worldFlags) forwarding() (*avisim.ForwardOptions, error) {
	if !w.forward {
		return nil, nil
	}
	m, err := avisim.ParseForwardMap(w.forwardMap)
	switch {
	case err != nil:
		return nil, fmt.Errorf("--forward-map: %w", err)
	case w.sctpPort < 1 || w.sctpPort > 1<<16-1:
		return nil, fmt.Errorf("--forward-sctp-port %d is no port", w.sctpPort)
	case w.connections < 1:
		return nil, fmt.Errorf("--forward-connections %d lets none through", w.connections)
	}
	return &avisim.ForwardOptions{Map: m, SCTPPort: uint16(w.sctpPort), SCTPInIP: w.sctpInIP,
		MaxConnections: w.connections}, nil
}

// probing reads the probe flags; nil if there is to be none.
func (w *worldFlags) probing(given func(flag string) bool, forward *avisim.ForwardOptions) (*avisim.Probe, error) {
	p := &avisim.Probe{Interval: w.interval}
	if forward != nil {
		p.Where, p.SCTPPort, p.SCTPInIP = forward.Map.To, forward.SCTPPort, forward.SCTPInIP
		if !given("probe") {
			w.probe = "all"
		}
		if w.networks == "" && w.forwardMap == "direct" {
			w.networks = "0.0.0.0/0,::/0"
		}
	}
	switch w.probe {
	case "none":
		return nil, nil
	case "tcp":
	case "all":
		p.Protocols = []string{"TCP", "UDP", "SCTP"}
	default:
		return nil, fmt.Errorf("--probe %q is none of none, tcp and all", w.probe)
	}
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
