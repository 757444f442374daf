// SPDX-License-Identifier: Apache-2.0

package world

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/schema"
)

// Switches change how the simulated Controller behaves from now on, and what becomes of its service engines and servers.
type Switches struct{ world *World }

// Switches returns the switches of a world.
func (w *World) Switches() *Switches { return &Switches{w} }

// SetRule switches one check of the simulated Controller on or off, by the id that [Rules] lists.
func (x *Switches) SetRule(id string, on bool) {
	x.world.Write(func(s *Writer) { s.rulesOff[id] = !on })
	x.world.Dirty()
}

// Warnings lists the writes that rules let pass, in the order of [Rules].
func (x *Switches) Warnings() []Warning {
	out := []Warning{}
	x.world.Read(func(s *Reader) {
		for _, r := range ruleTable {
			if w := s.warnings[r.id]; w != nil {
				out = append(out, *w)
			}
		}
	})
	return out
}

// SetVersion makes the Controller one of another version, as an upgrade does. Objects stay as they are; those that a newer version ships
// come along.
func (x *Switches) SetVersion(v string) error {
	parsed, err := schema.ParseVersion(v)
	if err != nil {
		return err
	}
	x.world.Write(func(s *Writer) {
		newer := parsed > s.version
		if s.version = parsed; newer {
			err = s.shipNewer()
		}
	})
	x.world.Dirty()
	return err
}

// SetLicenseTier sets default_license_tier of the system configuration.
func (x *Switches) SetLicenseTier(tier string) {
	// The object is always there and takes any string, so there is no error to report.
	_ = x.world.Admin().Edit("systemconfiguration", AdminTenant, "", func(m map[string]any) { m["default_license_tier"] = tier })
}

// SetNoOpBump makes a PUT or PATCH that changes nothing set _last_modified all the same. What a real Controller does is
// unverified.
func (x *Switches) SetNoOpBump(on bool) {
	x.world.Write(func(s *Writer) { s.bumps = on })
	x.world.Dirty()
}

// SetUpSince changes the time since which the leader is up, as a failover does. Clients compare it as a string.
func (x *Switches) SetUpSince(up string) {
	x.world.Write(func(s *Writer) { s.cluster.UpSince = up })
}

// SetLeader makes another node the leader from now on.
func (x *Switches) SetLeader(name string) {
	x.world.Write(func(s *Writer) { s.cluster.Leader, s.cluster.UpSince = name, upSince(s.now()) })
}

// SetIPAM changes how addresses are handed out from now on.
func (x *Switches) SetIPAM(o IPAM) {
	x.world.Write(func(s *Writer) {
		if o.Quarantine != s.ipam.options.Quarantine {
			for _, k := range s.ipam.restQueue {
				s.ipam.unrest(k)
			}
			s.ipam.restQueue = nil
		}
		s.ipam.options = o
		s.ipamSlow.Store(int64(o.Slow))
	})
}

// SetIPAMAsync changes IPAM.Async alone and returns what it was.
func (x *Switches) SetIPAMAsync(d time.Duration) (was time.Duration) {
	x.world.Write(func(s *Writer) { was, s.ipam.options.Async = s.ipam.options.Async, d })
	return was
}

// SetIPAMExhausted makes every allocation fail with 400 "No available free IPs".
func (x *Switches) SetIPAMExhausted(on bool) {
	x.world.Write(func(s *Writer) { s.ipam.exhausted = on })
}

// SetDynamics changes how states come about.
func (x *Switches) SetDynamics(d Dynamics) {
	x.world.Write(func(s *Writer) {
		s.dynamics = d
		for at := range s.placement.groups {
			s.placement.rebalance(at)
		}
	})
}

// SetServerHealth marks a server, in all pools that have it, as up or down, with the reason that clients read.
func (x *Switches) SetServerHealth(ip string, port int, up bool, reason string) {
	a, err := netip.ParseAddr(ip)
	if err != nil {
		return // no server has such an address
	}
	x.world.Write(func(s *Writer) { s.observe(Endpoint{a, port}, healthEvent{up: up, reason: reason}) })
}

// SetOperStatus sets the operational status of an object by hand, whatever its parts are: "OPER_RESOURCES" with a reason, for
// a virtual service that is stuck. An empty state ends that.
func (x *Switches) SetOperStatus(typ, tenant, name, operState, reason string) (err error) {
	known := []string{"UP", "DOWN", "CREATING", "RESOURCES", "INACTIVE", "DISABLED", "UNUSED", "UNKNOWN", "PROCESSING", "INITIALIZING",
		"ERROR_DISABLED", "AWAIT_MANUAL_PLACEMENT", "UPGRADING", "SE_PROCESSING", "PARTITIONED",
		"DISABLING", "FAILED", "UNAVAIL", "AGGREGATE_DOWN"}
	short := strings.TrimPrefix(operState, "OPER_")
	if short != "" && !slices.Contains(known, short) {
		return fmt.Errorf("state %q is not one of OPER_%s", operState, strings.Join(known, ", OPER_"))
	}
	x.world.Write(func(s *Writer) {
		var o *Object
		if o, err = s.byName(typ, tenant, name); err != nil {
			return
		}
		delete(s.overrides, o.Ref)
		if short != "" {
			s.overrides[o.Ref] = State{short, reason, s.tick()}
		}
		s.revision.Add(1)
		x.world.Dirty()
	})
	return err
}

// HoldState keeps the virtual services whose names match in a state, all of them if name is nil, until release is called.
func (x *Switches) HoldState(name *regexp.Regexp, operState, reason string) (release func()) {
	var f *forced
	x.world.Write(func(s *Writer) {
		f = &forced{name, State{strings.TrimPrefix(operState, "OPER_"), reason, s.tick()}}
		s.forced = append(slices.Clone(s.forced), f)
		s.revision.Add(1)
	})
	return func() {
		x.world.Write(func(s *Writer) {
			s.forced = slices.DeleteFunc(slices.Clone(s.forced), func(y *forced) bool { return y == f })
			s.revision.Add(1)
		})
	}
}

// FailServiceEngine takes a service engine down. Its virtual services move to others of the group, or go down with it.
func (x *Switches) FailServiceEngine(name, reason string) error {
	return x.engineHealth(name, func(s *Writer, e *Object) { s.placement.failed[e.UUID] = engineFailure{s.tick(), reason} })
}

// RecoverServiceEngine brings a service engine back.
func (x *Switches) RecoverServiceEngine(name string) error {
	return x.engineHealth(name, func(s *Writer, e *Object) { delete(s.placement.failed, e.UUID) })
}

func (x *Switches) engineHealth(name string, change func(*Writer, *Object)) error {
	err := fmt.Errorf("no service engine %q: GET /api/serviceengine lists them", name)
	x.world.Write(func(s *Writer) {
		for _, e := range s.Store.All("serviceengine") {
			if e.Name == name || e.UUID == name {
				change(s, e)
				s.Store.changed(e, e)
				err = nil
				return
			}
		}
	})
	return err
}

// Switchover makes another of its group's engines the primary one of a virtual service: one that it is on already, or one
// that it moves to.
func (x *Switches) Switchover(tenant, virtualService string) (err error) {
	x.world.Write(func(s *Writer) {
		var vs *Object
		if vs, err = s.byName("virtualservice", tenant, virtualService); err == nil {
			err = s.Switchover(vs)
		}
	})
	return err
}
