// SPDX-License-Identifier: Apache-2.0

package model

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/vmware/alb-sdk/go/models"
)

// OwnerKind is the kind of Kubernetes object that wants a set of Avi objects.
type OwnerKind string

// The kinds of owner.
const (
	ServiceOwner OwnerKind = "Service"
	// SvcAPIGatewayOwner is a Gateway of the Services API, networking.x-k8s.io.
	SvcAPIGatewayOwner OwnerKind = "Gateway"
	// GatewayOwner is a Gateway of gateway.networking.k8s.io, whose backends come from routes.
	GatewayOwner OwnerKind = "Gateway.gateway.networking.k8s.io"
	// SharedVIPOwner is a group of Services that share one VirtualService. It is no Kubernetes object: its name is the value of
	// the annotation that its Services have.
	SharedVIPOwner OwnerKind = "SharedVIP"
	// UntoldOwner is a SvcAPIGatewayOwner or a SharedVIPOwner: AKO gives their objects the same markers, and without the
	// VirtualService it isn't known which of the two it is.
	UntoldOwner OwnerKind = "Gateway or SharedVIP"
)

// Noun is the kind as Kubernetes spells it, without its group.
func (k OwnerKind) Noun() string {
	noun, _, _ := strings.Cut(string(k), ".")
	return noun
}

// Owner is the Kubernetes object that a set of Avi objects exists for.
type Owner struct {
	Kind      OwnerKind
	Namespace string
	Name      string
}

func (o Owner) String() string { return string(o.Kind) + " " + o.Namespace + "/" + o.Name }

// Untold is the owner as its markers alone say it.
func (o Owner) Untold() Owner {
	if o.Kind == SvcAPIGatewayOwner || o.Kind == SharedVIPOwner {
		o.Kind = UntoldOwner
	}
	return o
}

// Kinds lists what the owner may be: its kind, or those that it stands for while it is untold.
func (o Owner) Kinds() []OwnerKind {
	if o.Kind == UntoldOwner {
		return []OwnerKind{SvcAPIGatewayOwner, SharedVIPOwner}
	}
	return []OwnerKind{o.Kind}
}

// MayBe reports whether the owner is the other one, as far as anybody knows.
func (o Owner) MayBe(other Owner) bool {
	return o == other || o.Kind == UntoldOwner && o == other.Untold()
}

// OwnerOf reads cluster and owner back from an object's markers. The owner is zero where they don't name one, as on a VsVip, and of
// UntoldOwner's kind where they are those of a Gateway of the Services API or of a shared VIP: VirtualServiceOwner distinguishes these.
func OwnerOf(marks []*models.RoleFilterMatchLabel) (cluster string, owner Owner) {
	value := func(key string) string { return Mark(marks, key) }
	cluster = value(MarkCluster)
	namespace := value(MarkNamespace)
	if gateway := value(MarkGatewayName); gateway != "" {
		if of := value(MarkGatewayNamespace); of != "" {
			return cluster, Owner{Kind: GatewayOwner, Namespace: of, Name: gateway}
		}
		return cluster, Owner{Kind: UntoldOwner, Namespace: namespace, Name: gateway}
	}
	if service := value(MarkServiceName); service != "" {
		return cluster, Owner{Kind: ServiceOwner, Namespace: namespace, Name: service}
	}
	return cluster, Owner{}
}

// VirtualServiceOwner is the owner that a VirtualService's markers name. Where the markers leave open whether that is a Gateway of the
// Services API or a shared VIP, the "gateway" of its service_metadata decides: it names the Gateway, and is empty for a shared VIP.
func VirtualServiceOwner(marked Owner, metadata *string) Owner {
	var m struct{ Gateway *string }
	if marked.Kind != UntoldOwner || metadata == nil || json.Unmarshal([]byte(*metadata), &m) != nil || m.Gateway == nil {
		return marked
	}
	switch *m.Gateway {
	case marked.Namespace + "/" + marked.Name:
		marked.Kind = SvcAPIGatewayOwner
	case "":
		marked.Kind = SharedVIPOwner
	}
	return marked
}

// Layer7Marks are the keys of markers that AKO puts on what it makes for Ingresses, Routes and HTTPRoutes, and on nothing else.
// Such objects carry created_by, the cluster's marker and ServiceName as those of its L4 half do.
var Layer7Marks = []string{"Host", "InfrasettingName", "Path", "IngressName", "HTTPRouteName", "HTTPRouteNamespace", "HTTPRouteRuleName"}

// protocolNames are the ends, before the port, of the names of a Service's pools, whose markers don't have the protocol.
var protocolNames = []string{"TCP", "UDP", "SCTP"}

// Formed reports whether an object is one that the operator, or the L4 half of AKO, makes: whether its markers are none of L7's,
// and its name is the one that goes with them. Of kinds whose names say nothing of an owner it reports true.
func Formed(cluster string, kind Kind, name string, marks []*models.RoleFilterMatchLabel) bool {
	if slices.ContainsFunc(marks, func(m *models.RoleFilterMatchLabel) bool {
		return m != nil && m.Key != nil && slices.Contains(Layer7Marks, *m.Key)
	}) {
		return false
	}
	prefix := cluster + "--"
	return kind.Type().OwnerByName || kind.Type().Common || slices.ContainsFunc(forms(kind, marks), func(form string) bool {
		return form == anyName || name == prefix+form || name == HashedName(prefix, prefix+form)
	})
}

// anyName is the form of names that the markers don't determine.
const anyName = "*"

// forms are the names, behind the cluster's prefix, that an object of a kind with the markers may have.
func forms(kind Kind, marks []*models.RoleFilterMatchLabel) (out []string) {
	value := func(key string) string { return Mark(marks, key) }
	join := func(parts ...string) string { return strings.Join(parts, "-") }
	namespace, service, gateway, port := value(MarkNamespace), value(MarkServiceName), value(MarkGatewayName), value(MarkPort)
	routed := value(MarkGatewayNamespace) != "" && gateway != "" // by a Gateway of gateway.networking.k8s.io, which AKO's L4 half lacks
	switch kind {
	case VirtualService, L4PolicySet, NetworkSecurityPolicy:
		switch {
		case routed:
			return []string{join(value(MarkGatewayNamespace), gateway)}
		case gateway != "":
			return []string{join(namespace, gateway)}
		case service != "":
			return []string{join(namespace, service)}
		}
	case Pool, PoolGroup:
		switch {
		case routed:
			return []string{anyName}
		case kind == PoolGroup, service == "", port == "":
		case gateway != "":
			return []string{join(namespace, service, gateway, value(MarkProtocol), port)}
		default:
			for _, protocol := range protocolNames {
				out = append(out, join(namespace, service, protocol, port))
			}
		}
	default:
		return []string{anyName}
	}
	return out
}
