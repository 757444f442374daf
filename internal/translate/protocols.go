// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"fmt"
	"strings"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
)

// protocol is one row of the mapping from a Kubernetes protocol to what the Controller ships for it.
type protocol struct {
	name           string // as Kubernetes spells it
	networkProfile string
	basicProfile   string // network profile on licences below Enterprise
	healthMonitor  string
	match          string // the L4 rule's protocol
	since          string // first release that has it
	enterprise     bool   // only Enterprise licences have it
}

// protocols is in the order of precedence for the VirtualService's own profile: one with several protocols takes the
// first one's, and its services of other protocols override it. SCTP is never a base for the others.
// Profiles and monitors: AKO's choice by protocol and licence; releases and editions: the API's schema.
var protocols = []protocol{
	{name: "TCP", networkProfile: "System-TCP-Proxy", basicProfile: "System-TCP-Fast-Path", healthMonitor: "System-TCP",
		match: "PROTOCOL_TCP"},
	{name: "UDP", networkProfile: "System-UDP-Fast-Path", basicProfile: "System-UDP-Fast-Path", healthMonitor: "System-UDP",
		match: "PROTOCOL_UDP"},
	{name: "SCTP", networkProfile: "System-SCTP-Proxy", healthMonitor: "System-SCTP", match: "PROTOCOL_SCTP", since: "22.1.3",
		enterprise: true},
}

func protocolOf(name string) (protocol, bool) {
	for _, p := range protocols {
		if p.name == name {
			return p, true
		}
	}
	return protocol{}, false
}

func (p protocol) profile(f *model.Facts) string {
	if f.Enterprise() {
		return p.networkProfile
	}
	if p.basicProfile == "" {
		return p.networkProfile
	}
	return p.basicProfile
}

// obstacle is why the Controller can't serve the protocol at all, or "".
func (p protocol) obstacle(f *model.Facts) (reason, message string) {
	profile := p.profile(f)
	switch {
	case p.since != "" && !f.AtLeast(p.since):
		return model.ReasonControllerTooOld, fmt.Sprintf("%s needs an Avi Controller %s or newer, this one is %s; upgrade the Controller", p.name, p.since, f.Version)
	case p.enterprise && !f.Enterprise():
		return model.ReasonLicenseTier, fmt.Sprintf("%s needs the licence tier ENTERPRISE or ENTERPRISE_WITH_CLOUD_SERVICES, the Controller's default tier is %s; change default_license_tier in its system configuration", p.name, f.LicenseTier)
	case !f.Has(model.NetworkProfile, profile):
		return model.ReasonSystemObjectMissing, fmt.Sprintf("the Controller has no network profile %s, which %s needs; restore it in tenant admin", profile, p.name)
	case !f.Has(model.HealthMonitor, p.healthMonitor):
		return model.ReasonSystemObjectMissing, fmt.Sprintf("the Controller has no health monitor %s, which %s needs; restore it in tenant admin", p.healthMonitor, p.name)
	}
	return "", ""
}

// base is the protocol whose profile the VirtualService takes.
func base(listeners []listener) protocol {
	for _, p := range protocols {
		for _, l := range listeners {
			if l.proto.name == p.name {
				return p
			}
		}
	}
	return protocols[0]
}

// baseProfile is the VirtualService's network profile. One that serves keeps its own where it is a right one: a change of
// licence is no reason to switch live traffic between proxy and fast path. Where each service overrides it, it means nothing,
// and one that an L4Rule of AKO's brought stays.
func (b *builder) baseProfile(p protocol, listeners []listener) string {
	if name := b.ruledProfile(p, true); name != "" {
		return name
	}
	if b.in.Rule.Name != "" && b.in.Live.NetworkProfile != "" && p.name != "TCP" && mixed(listeners, p) {
		return b.in.Live.NetworkProfile
	}
	if live := b.in.Live.NetworkProfile; live != "" && (live == p.networkProfile || live == p.basicProfile) {
		return live
	}
	return p.profile(b.in.Facts)
}

// supported keeps the listeners that the Controller can serve and reports the others. One that serves already is kept
// and reported: today's look at the Controller is no reason to take its traffic away.
func (b *builder) supported(listeners []listener) []listener {
	f := b.in.Facts
	var out []listener
	for _, l := range listeners {
		reason, message := l.proto.obstacle(f)
		if reason == "" {
			out = append(out, l)
		} else if b.keepsServing(l.port, b.open(l.port), reason, message) {
			out = append(out, l)
		}
	}
	if f.Enterprise() || len(out) == 0 {
		return out
	}
	// Below Enterprise a service can't override the VirtualService's profile, so one protocol is all there is.
	first := base(out)
	kept := out[:0]
	for _, l := range out {
		message := fmt.Sprintf("%s beside %s on one address needs the licence tier ENTERPRISE or ENTERPRISE_WITH_CLOUD_SERVICES, the Controller's default tier is %s; move the port to a Service or Gateway of its own or change the tier", l.proto.name, first.name, f.LicenseTier)
		if l.proto.name == first.name || b.keepsServing(l.port, b.open(l.port), model.ReasonLicenseTier, message) {
			kept = append(kept, l)
		}
	}
	return kept
}

// keepsServing reports why a port can't be served as asked for, and returns true if it is kept because it serves already.
func (b *builder) keepsServing(port model.Port, serves bool, reason, message string) bool {
	if serves {
		b.report(model.Degraded, port, reason, strings.TrimSuffix(message, ".")+"; the port keeps being served as it is")
		return true
	}
	b.report(model.Blocked, port, reason, message)
	return false
}

// open reports whether a port has a pool already.
func (b *builder) open(port model.Port) bool {
	_, yes := b.in.Live.Ports[port]
	return yes
}

// exists reports whether a target's pool is there already, and serves whether it has servers.
func (b *builder) exists(t target) bool {
	_, yes := b.in.Live.Pools[t.pool]
	return yes
}

func (b *builder) serves(t target) bool { return b.in.Live.Pools[t.pool].servers }
