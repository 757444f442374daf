// SPDX-License-Identifier: Apache-2.0

// Package translate maps what a Kubernetes owner asks for to the Avi objects that it should have. It is pure: no client, no
// clock, no logger, and the same input gives the same output whatever the order of its lists.
//
// The mapping reads top down: service.go, sharedvip.go, gateway.go and svcapi.go turn an owner into a frontend (who listens where, on which
// address, with which Service behind), network.go places it, servers.go and nodes.go turn endpoints and nodes into
// servers, protocols.go holds the table of profiles and monitors, clients.go
// says who may connect, affinity.go and drain.go what becomes of clients whose server changes, and objects.go writes the objects.
// Names, markers and metadata are AKO's (names.go).
package translate

import (
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1beta1"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
)

// Input is everything that decides what an owner gets. Its objects are shared with caches and are never changed.
type Input struct {
	Owner     Owner
	Namespace *corev1.Namespace
	// Backends are the Services that may stand behind the listeners, in any order: a Service has itself, a shared VIP its own, a
	// Gateway those that its routes refer to, or that its listeners' selectors match or that name it.
	Backends []Backend
	// Nodes are the cluster's, where the settings reach servers through them. NodesRead reports whether the list was
	// read completely.
	Nodes     []*corev1.Node
	NodesRead bool
	Setting   Setting
	// Rule is the owner's own, for its VirtualService. Those of its Backends are for their pools.
	Rule Rule
	// Tenant, where set, is used instead of the namespace's.
	Tenant string
	// Had are the addresses that the owner's status has, where the operator wrote it.
	Had []netip.Addr
	// Rival is another owner whose objects have the same names, and which came first.
	Rival *model.Owner

	Settings *settings.Settings
	Facts    *model.Facts
	Live     Live
	// Refused are the pools that the Controller would not create, by name, with its reason: they are left out so that the
	// rest is served.
	Refused map[string]model.Finding
	// NetworkLost: the Controller says that it doesn't know any more on which network the VirtualService's address is.
	NetworkLost bool
	// Taken are DNS names that owners of other namespaces have, with those owners: they are not registered a second time.
	Taken map[string]string
}

// Backend is a Service with what is known of the endpoints behind it.
type Backend struct {
	Service *corev1.Service
	// NamespaceLabels are those of its namespace, where a listener selects namespaces.
	NamespaceLabels map[string]string
	// Slices are the Service's EndpointSlices, in any order. SlicesRead reports whether the list was read completely; if it
	// was not, no pool is changed.
	Slices     []*discoveryv1.EndpointSlice
	SlicesRead bool
	// Rule is the Service's, for its pools.
	Rule Rule
	// Shut says why the Service stays where it is served although it asks to be elsewhere and may be interrupted: Place.
	Shut string
	// Pods are those of the Service's namespace that Antrea gives ports on their nodes, in mode NodePortLocal.
	Pods []*corev1.Pod
}

// Setting is the AviInfraSetting that an owner uses. The zero value is none: the ConfigMap decides alone.
type Setting struct {
	Name string
	// Object is nil if it doesn't exist, or could not be read.
	Object *v1beta1.AviInfraSetting
	// Problem, where set, is why it isn't even known which one it is, with its Reason.
	Problem, Reason string
}

// ReplacementAllowed reports whether a change that the Controller can't make in place may interrupt traffic.
func (in *Input) ReplacementAllowed() bool {
	return isTrue(in.Owner.Annotations()[AnnotationAllowReplacement])
}

// Result is the desired set with what there is to say about it. Where Blocked is true the set is empty on purpose and
// nothing may be derived from what it lacks: the owner keeps what it has.
type Result struct {
	Set      model.Set
	Findings []model.Finding
	Blocked  bool
	FQDNs    []string
	// Asked names the static address that is asked for, and where; empty if none is.
	Asked string
	// VIPNetworks names those that addresses come from, as they are configured; empty if none is.
	VIPNetworks string
	// Pools says which port a pool is for, by the pool's name.
	Pools map[string]model.Port
}

// Objects builds the objects of the input's owner.
func Objects(in Input) Result {
	b := &builder{in: in}
	b.in.Owner = in.Owner.led(b)
	front := b.frontend()
	b.restrain()
	res := Result{Set: model.Set{Owner: in.Owner.Key()}, Asked: strings.Join(b.asked, " and "), VIPNetworks: b.vipNetworks}
	if !b.blocked {
		res.Set.Objects = b.objects(front)
		res.FQDNs = front.fqdns
		res.Pools = make(map[string]model.Port, len(front.listeners))
		for _, l := range front.listeners {
			for _, t := range l.targets {
				res.Pools[t.pool] = l.port
			}
		}
	}
	if b.blocked {
		res.Set.Objects = nil
	}
	res.Blocked = b.blocked
	res.Findings = b.findings
	model.SortFindings(res.Findings)
	return res
}

// builder collects findings while an Input is being mapped.
type builder struct {
	in       Input
	findings []model.Finding
	blocked  bool
	placedAt network
	labels   []string // markers that the owner asks for, as pairs of key and value
	asked    []string // the static addresses that the owner asks for, and where
	// vipNetworks names the networks that addresses come from.
	vipNetworks string
	// about is the Service of a group that is being looked at, and holders has, in a group, the one behind each port.
	about   string
	holders map[model.Port]string
	// keepNames: DNS names that are in use stay, because what asks for others can't be read.
	keepNames bool
	rule      ruling // what the owner's L4Rule says
}

func (b *builder) report(severity model.Severity, port model.Port, reason, message string) {
	f := model.Finding{Severity: severity, Port: port, About: b.about, Reason: reason, Message: message}
	if f.About == "" {
		f.About = b.holders[port]
	}
	if severity == model.Blocked && port == (model.Port{}) {
		if f.About == "" {
			b.blocked = true
		} else {
			f.Severity = model.Degraded // what one Service asks for blocks no other
		}
	}
	b.findings = append(b.findings, f)
}

func (b *builder) reported(port model.Port, reason string) bool {
	return slices.ContainsFunc(b.findings, func(f model.Finding) bool { return f.Port == port && f.Reason == reason })
}

// blockUnlessLive reports something that can't be had: a new owner waits for it, one that serves keeps what it has.
func (b *builder) blockUnlessLive(reason, message string) {
	if b.in.Live.Exists {
		b.report(model.Degraded, model.Port{}, reason, message+"; the VirtualService keeps what it has")
		return
	}
	b.report(model.Blocked, model.Port{}, reason, message)
}
