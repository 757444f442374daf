// SPDX-License-Identifier: Apache-2.0

package model

import (
	"crypto/sha1" //nolint:gosec // AKO's naming with enableEVH; nothing is protected by it
	"encoding/hex"
	"slices"

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

// HashedName is the name that AKO's enableEVH gives an object instead of the plain one: the prefix and the SHA-1 sum, in hex, of
// the plain name.
func HashedName(prefix, plain string) string {
	sum := sha1.Sum([]byte(plain)) //nolint:gosec // see the import
	return prefix + hex.EncodeToString(sum[:])
}
