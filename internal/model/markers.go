package model

import (
	"encoding/json"

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
	MarkLabels   = "l4.ako.vmware.com/labels"
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

// Mark is a marker's value, "" if there is none of the key.
func Mark(marks []*models.RoleFilterMatchLabel, key string) string {
	for _, m := range marks {
		if m != nil && m.Key != nil && *m.Key == key && len(m.Values) > 0 {
			return m.Values[0]
		}
	}
	return ""
}

// OwnerOf reads cluster and owner back from an object's markers. The owner is zero where they don't tell, as on a VsVip, and
// untold where they are those of a Gateway of the Services API or of a shared VIP: VirtualServiceOwner tells these apart.
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

// VirtualServiceOwner is the owner that a VirtualService's markers name, told by the "gateway" of its service_metadata where the
// markers leave open whether it is a Gateway of the Services API, which that names, or a shared VIP, for which it is empty.
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
