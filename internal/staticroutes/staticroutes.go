// SPDX-License-Identifier: Apache-2.0

// Package staticroutes says which static routes a VRF context of the Controller needs so that Service Engines reach pods:
// one for each pod CIDR of each node, with the node as next hop. It compares them with the routes that stand there, which
// are a list shared with people and with other clusters. It does no IO.
//
// As with AKO, a route of ours carries the label clustername=<cluster>. Routes without a label, or with another one, are
// foreign and are never touched. A route of ours is known by its prefix: its id and the fields that aren't ours stay as
// they are, so that AKO's routes are taken over without a write.
package staticroutes

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
)

// Reasons of problems, of Events and of a Service's finding.
const (
	ReasonNoRouteToPods      = "NoRouteToPods"      // of a Service: Service Engines can't reach its pods
	ReasonNoPodCIDR          = "NoPodCIDR"          // a node has none, or it can't be read
	ReasonNoNodeAddress      = "NoNodeAddress"      // a node has no address that can be a next hop
	ReasonPodCIDRConflict    = "PodCIDRConflict"    // two nodes claim one
	ReasonRouteConflict      = "RouteConflict"      // a route of somebody else is in the way
	ReasonPodCIDRsUnreadable = "PodCIDRsUnreadable" // what Kubernetes knows of nodes and pod CIDRs is not complete
	ReasonRouteRefused       = "RouteRefused"       // the Controller won't take it; the others are written
	ReasonRoutesHeld         = "RouteDeletionHeld"  // more routes would go at once than is likely to be meant
	ReasonGroupLabelled      = "SEGroupLabelled"    // a Service Engine group is labelled for another cluster
	ReasonReferenceMissing   = "ReferenceMissing"   // the Controller lacks a VRF context or a Service Engine group
)

// Input is what decides about the routes of a cluster.
type Input struct {
	Settings *settings.Settings
	Facts    *model.Facts
	Nodes    []*corev1.Node
	// Objects are the network plugin's own, of the kind that SourceOf names; none where the Nodes themselves have it.
	Objects []*unstructured.Unstructured
	// Unread says why Nodes or Objects may lack some; empty if both are complete.
	Unread string
	// Live says that Nodes and Objects were read from the API server and not from a cache. Only then are routes removed.
	Live bool
	// Groups are the Service Engine groups that AviInfraSettings name, besides that of the settings.
	Groups []string
}

// Claim is a route that a node needs.
type Claim struct {
	Prefix  netip.Prefix
	NextHop netip.Addr
	Node    string
	// others are further addresses of the node. A route that stands with one of them does as well.
	others []netip.Addr
	uid    string
	// pending: the network plugin hasn't confirmed it.
	pending bool
	created int64 // of the node, in seconds
}

// leads reports whether a next hop is the node.
func (c Claim) leads(hop netip.Addr) bool { return hop == c.NextHop || slices.Contains(c.others, hop) }

// Problem is something that a person should know. Node is empty if it is about the cluster as a whole.
type Problem struct {
	Node            string
	Reason, Message string
}

// modes are the rows of AKO's decision to leave routes alone. The first that holds is the reason.
var modes = []struct {
	why string
	// others: somebody else keeps routes under our label, so not even deleteConfig removes them.
	others bool
	holds  func(*settings.Settings, model.CloudFacts) bool
}{
	{"disableStaticRouteSync is true", true, func(s *settings.Settings, _ model.CloudFacts) bool { return s.RoutesByOthers }},
	{"primaryInstance is false: the primary instance keeps the routes", true, func(s *settings.Settings, _ model.CloudFacts) bool { return s.Secondary }},
	{"layer7Only is true", true, func(s *settings.Settings, _ model.CloudFacts) bool { return s.Layer7Only }},
	{"NSX-T routes to pods by itself with cniPlugin ncp", false, func(s *settings.Settings, c model.CloudFacts) bool { return c.Type == "CLOUD_NSXT" && s.CNI == "ncp" }},
	{"serviceType is not ClusterIP: Service Engines reach nodes, not pods", false, func(s *settings.Settings, _ model.CloudFacts) bool { return s.ServiceType != settings.ClusterIP }},
}

// Off says why routes are not kept in step with the nodes, "" if they are. What stands stays then.
func Off(s *settings.Settings, cloud model.CloudFacts) string {
	for _, m := range modes {
		if m.holds(s, cloud) {
			return m.why
		}
	}
	return ""
}

// Others says why routes under our label are somebody else's, who keeps them even when we remove all that is ours; "" if
// they are ours.
func Others(s *settings.Settings, cloud model.CloudFacts) string {
	for _, m := range modes {
		if m.others && m.holds(s, cloud) {
			return m.why
		}
	}
	return ""
}
