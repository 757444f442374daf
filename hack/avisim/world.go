package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/avi-l4-operator/avi-l4-operator/internal/avisim"
)

// duration is a time.Duration as JSON writes it, "2s".
type duration time.Duration

func (d *duration) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("duration %s is not a string such as \"2s\"", b)
	}
	v, err := time.ParseDuration(s)
	*d = duration(v)
	return err
}

// world adds the calls that change service engines, states and addresses.
func world(mux *http.ServeMux, s *avisim.Server) {
	mux.HandleFunc("POST /service-engine", with(func(in struct {
		Name   string
		Up     bool
		Reason string
	}) error {
		if in.Up {
			return s.RecoverServiceEngine(in.Name)
		}
		return s.FailServiceEngine(in.Name, in.Reason)
	}))
	mux.HandleFunc("POST /switchover", with(func(in struct{ Tenant, Name string }) error { return s.Switchover(tenant(in.Tenant), in.Name) }))
	mux.HandleFunc("POST /oper-status", with(func(in struct{ Type, Tenant, Name, State, Reason string }) error {
		return s.SetOperStatus(in.Type, tenant(in.Tenant), in.Name, in.State, in.Reason)
	}))
	mux.HandleFunc("POST /ipam", with(func(in struct {
		Async, Quarantine, Slow, ChangeAfter duration
		OtherThanPreferred, Exhausted        bool
	}) error {
		s.SetIPAM(avisim.IPAM{Async: time.Duration(in.Async), Quarantine: time.Duration(in.Quarantine), Slow: time.Duration(in.Slow),
			ChangeAfter: time.Duration(in.ChangeAfter), OtherThanPreferred: in.OtherThanPreferred})
		s.SetIPAMExhausted(in.Exhausted)
		return nil
	}))
	mux.HandleFunc("POST /dynamics", with(func(in struct {
		PlacementDelay, Initialization duration
		Checks, Capacity               bool
	}) error {
		s.SetDynamics(avisim.Dynamics{PlacementDelay: time.Duration(in.PlacementDelay), Initialization: time.Duration(in.Initialization),
			Checks: in.Checks, Capacity: in.Capacity})
		return nil
	}))
}

func tenant(name string) string {
	if name == "" {
		return "admin"
	}
	return name
}

// worldFlags are the flags that say how the simulated world behaves from the start.
type worldFlags struct {
	ipam     avisim.IPAM
	dynamics avisim.Dynamics
	quick    bool
	probe    string
	networks string
	interval time.Duration
}

func (w *worldFlags) register() {
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
func (w *worldFlags) apply(s *avisim.Server) {
	given := map[string]bool{}
	flag.Visit(func(f *flag.Flag) { given[f.Name] = true })
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
