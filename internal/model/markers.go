// SPDX-License-Identifier: Apache-2.0

package model

import (
	"crypto/sha1" //nolint:gosec // AKO's naming with enableEVH; nothing is protected by it
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"

	"github.com/vmware/alb-sdk/go/models"
)

// Marker keys, in AKO's spelling. Markers are the RBAC labels of an Avi object.
const (
	MarkCluster     = "clustername" // on every object, first
	MarkNamespace   = "Namespace"
	MarkServiceName = "ServiceName"
	MarkGatewayName = "GatewayName"
	// MarkGatewayNamespace takes the place of Namespace on the objects of a Gateway of gateway.networking.k8s.io.
	MarkGatewayNamespace = "GatewayNamespace"
	// MarkListenerSet is on the pools of listeners that a ListenerSet adds to a Gateway: "<namespace>/<name>".
	MarkListenerSet = "ListenerSet"
	// MarkLabels lists the keys of the markers that the owner asked for, so that one that it takes back can be removed.
	MarkLabels = "l4.ako.vmware.com/labels"
	// MarkRule lists the fields that an L4Rule set and that the operator doesn't own otherwise, so that they can go back to their defaults
	// when the rule doesn't set them any more.
	MarkRule     = "l4.ako.vmware.com/l4rule"
	MarkPort     = "Port"
	MarkProtocol = "Protocol"
)

// Markers are a cluster's marker followed by pairs of key and value in the given order.
func Markers(clusterName string, pairs ...string) []*models.RoleFilterMatchLabel {
	out := make([]*models.RoleFilterMatchLabel, 0, 1+len(pairs)/2)
	out = append(out, &models.RoleFilterMatchLabel{Key: new(MarkCluster), Values: []string{clusterName}})
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, &models.RoleFilterMatchLabel{Key: new(pairs[i]), Values: []string{pairs[i+1]}})
	}
	return out
}

// VsVipMarkers are a VsVip's markers with those of its VirtualService that say whose it is.
func VsVipMarkers(own, of []*models.RoleFilterMatchLabel) []*models.RoleFilterMatchLabel {
	out := slices.Clone(own)
	for _, m := range of {
		if m != nil && m.Key != nil && slices.Contains([]string{MarkNamespace, MarkServiceName, MarkGatewayName, MarkGatewayNamespace}, *m.Key) {
			out = append(out, m)
		}
	}
	return out
}

// Mark is a marker's value, "" if there is none of the key.
func Mark(marks []*models.RoleFilterMatchLabel, key string) string {
	for _, m := range marks {
		if m != nil && m.Key != nil && *m.Key == key && len(m.Values) > 0 {
			return m.Values[0]
		}
	}
	return ""
}

// MarkValues are a marker's values, none if there is none of the key.
func MarkValues(marks []*models.RoleFilterMatchLabel, key string) []string {
	for _, m := range marks {
		if m != nil && m.Key != nil && *m.Key == key {
			return m.Values
		}
	}
	return nil
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

// HashedName is the name that AKO's enableEVH gives an object instead of the plain one: the prefix and the SHA-1 sum, in hex, of
// the plain name.
func HashedName(prefix, plain string) string {
	sum := sha1.Sum([]byte(plain)) //nolint:gosec // see the import
	return prefix + hex.EncodeToString(sum[:])
}

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
