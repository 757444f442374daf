// Package build maps what a Kubernetes owner asks for to the Avi objects that it should have. It is pure: no client, no
// clock, no logger, and the same input gives the same output whatever the order of its lists.
//
// The mapping reads top down: service.go turns a Service into a frontend (who listens where, on which address),
// servers.go turns EndpointSlices into servers, protocols.go holds the table of profiles and monitors, and objects.go
// writes the four kinds of object. Names, markers and metadata are AKO's (names.go).
package build

import (
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
)

// Input is everything that decides what an owner gets. Its objects are shared with caches and are never changed.
type Input struct {
	Service   *corev1.Service
	Namespace *corev1.Namespace
	// Slices are the Service's EndpointSlices, in any order. SlicesRead tells that the list was read completely; if it
	// was not, no pool is changed.
	Slices     []*discoveryv1.EndpointSlice
	SlicesRead bool
	// Tenant, where set, is used instead of the namespace's.
	Tenant string
	// Rival is another owner whose objects have the same names, and who came first.
	Rival *model.Owner

	Settings *settings.Settings
	Facts    *model.Facts
	Live     Live
	// Refused are ports whose pool the Controller would not create, with its reason: they are left out so that the
	// owner's other ports are served.
	Refused map[model.Port]model.Finding
}

// Live is what the Controller already serves for the owner. A port that serves is never given up because the
// Controller's licence, release or objects look different today.
type Live struct {
	Exists             bool                // there is a VirtualService
	Ports              map[model.Port]bool // those that have a pool; true if it has servers
	ApplicationProfile string
	NetworkProfile     string
	ProtocolMatch      bool     // the L4 rules match protocols
	DNSNames           []string // those of the VsVip
}

// Result is the desired set with what there is to say about it. Where Blocked is true the set is empty on purpose and
// nothing may be derived from what it lacks: the owner keeps what it has.
type Result struct {
	Set      model.Set
	Findings []model.Finding
	Blocked  bool
	FQDNs    []string
	// Pools tells which port a pool is for, by the pool's name.
	Pools map[string]model.Port
}

// Service builds the objects of a Service of type LoadBalancer.
func Service(in Input) Result {
	b := &builder{in: in}
	front := b.frontend()
	res := Result{Set: model.Set{Owner: front.owner}}
	if !b.blocked {
		res.Set.Objects = b.objects(front)
		res.FQDNs = front.fqdns
		res.Pools = make(map[string]model.Port, len(front.listeners))
		for _, l := range front.listeners {
			res.Pools[l.pool] = l.port
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
}

func (b *builder) report(severity model.Severity, port model.Port, reason, message string) {
	b.findings = append(b.findings, model.Finding{Severity: severity, Port: port, Reason: reason, Message: message})
	if severity == model.Blocked && port == (model.Port{}) {
		b.blocked = true
	}
}

// blockUnlessLive reports something that can't be had: a new owner waits for it, one that serves keeps what it has.
func (b *builder) blockUnlessLive(reason, message string) {
	if b.in.Live.Exists {
		b.report(model.Degraded, model.Port{}, reason, message+"; the VirtualService keeps what it has")
		return
	}
	b.report(model.Blocked, model.Port{}, reason, message)
}
