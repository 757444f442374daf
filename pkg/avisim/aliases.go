// SPDX-License-Identifier: Apache-2.0

package avisim

import (
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/api"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/fault"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/forward"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/probe"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/record"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/schema"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/transport"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/view"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/world"
)

// The types that a program which starts a simulated Controller meets, so that it need not import the inner packages.
type (
	// Evidence grades what is known of a rule, a path or an effect.
	Evidence = schema.Evidence

	// IPAM says how addresses are handed out: Server.SetIPAM.
	IPAM = world.IPAM
	// Dynamics says how states come about: Server.SetDynamics.
	Dynamics = world.Dynamics
	// Rule describes one check of the simulated Controller.
	Rule = world.Rule
	// Warning counts the writes that a rule let pass.
	Warning = world.Warning
	// Change is something that happened to an object.
	Change = world.Change

	// EndpointInfo describes one path of the simulated Controller.
	EndpointInfo = api.EndpointInfo

	// Fault is one misbehaviour: conditions and effects.
	Fault = fault.Fault
	// ActiveFault is a fault that was added and not removed.
	ActiveFault = fault.ActiveFault
	// Effect is one effect of a fault, with its arguments.
	Effect = fault.Effect
	// EffectInfo describes an effect.
	EffectInfo = fault.EffectInfo
	// Param is a parameter of an effect.
	Param = fault.Param
	// Script is a timeline of faults.
	Script = fault.Script

	// Request is one entry of the request log.
	Request = record.Request
	// Counter identifies requests that are counted together.
	Counter = record.Counter

	// Probe says how the servers of pools are probed.
	Probe = probe.Probe

	// ServiceQuery selects and orders virtual services.
	ServiceQuery = view.ServiceQuery
	// ServicePage is a page of virtual services.
	ServicePage = view.ServicePage
	// ServiceView is a virtual service with all that it reaches.
	ServiceView = view.ServiceView
	// TargetView is a pool that a rule forwards to.
	TargetView = view.TargetView
	// ServerView is a server of a pool.
	ServerView = view.ServerView
	// Forwarding is what a service engine would have to do.
	Forwarding = view.Forwarding

	// ForwardOptions say how traffic is carried: Server.Forward.
	ForwardOptions = forward.Options
	// ForwardMap says where the simulated network's addresses are on this machine.
	ForwardMap = forward.Map
	// Plane carries traffic.
	Plane = forward.Plane
	// TrafficStatus is what a Plane does.
	TrafficStatus = forward.Status
)

// The grades of evidence, best first.
const (
	Recorded   = schema.Recorded
	Documented = schema.Documented
	Inferred   = schema.Inferred
	Unverified = schema.Unverified
)

// Rules lists the checks of writes, in the order in which they are made.
func Rules() []Rule { return world.Rules() }

// Endpoints lists the paths that are served, in the order in which they are tried.
func Endpoints() []EndpointInfo { return api.Endpoints() }

// EffectTable lists all effects of faults, by group.
func EffectTable() []EffectInfo { return fault.EffectTable() }

// EffectDocs is the table of effects as Markdown, for docs/simulator.md.
func EffectDocs() string { return fault.EffectDocs() }

// ParseScript reads a timeline of faults and checks all of it. An error has one line for each mistake, which begins with the line of the
// text.
func ParseScript(text []byte) (*Script, error) { return fault.ParseScript(text) }

// ParseForwardMap reads a map of addresses, such as "10.0.0.0/8=127.0.0.0/8", or "direct".
func ParseForwardMap(text string) (ForwardMap, error) { return forward.ParseMap(text) }

// WriteCertificate makes a CA and a certificate for the hosts, and writes ca.crt, tls.crt and tls.key into a folder. The CA's
// key is thrown away.
func WriteCertificate(dir string, hosts []string) error {
	return transport.WriteCertificate(dir, hosts)
}
