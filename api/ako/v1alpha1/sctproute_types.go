// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// SCTPRoute sends the SCTP associations of a listener to Services. It is to protocol ako.vmware.com/SCTP what TCPRoute of
// gateway.networking.k8s.io is to TCP, and differs from that in nothing but the protocol: it is attached to a Gateway or a
// ListenerSet by parentRefs, refers to Services by backendRefs with weights, and needs a ReferenceGrant for those of other
// namespaces.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=sctproutes,scope=Namespaced,categories=gateway-api
// +kubebuilder:subresource:status
// +kubebuilder:storageversion
// +kubebuilder:printcolumn:name="Parent",type=string,JSONPath=`.spec.parentRefs[0].name`,description="The first that it is attached to"
// +kubebuilder:printcolumn:name="Backend",type=string,JSONPath=`.spec.rules[0].backendRefs[0].name`,description="The first Service behind it"
// +kubebuilder:printcolumn:name="Accepted",type=string,JSONPath=`.status.parents[0].conditions[?(@.type=="Accepted")].status`,description="Whether the first parent takes it"
// +kubebuilder:printcolumn:name="ResolvedRefs",type=string,priority=1,JSONPath=`.status.parents[0].conditions[?(@.type=="ResolvedRefs")].status`,description="Whether its references resolve, as the first parent has it"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type SCTPRoute struct {
	metav1.TypeMeta `json:",inline"`
	// Standard metadata. Where several routes are attached to one listener, the oldest is served.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// What is attached to what.
	Spec SCTPRouteSpec `json:"spec"`
	// What became of it: an entry for each parent.
	// +optional
	Status SCTPRouteStatus `json:"status,omitempty"`
}

// SCTPRouteSpec is what is attached to what.
//
// The rules on parentRefs are those of the Gateway API's own routes; they ask for an empty string by its size, because gofmt
// makes a quotation mark of two apostrophes in a comment.
//
// +kubebuilder:validation:XValidation:message="sectionName must be specified when parentRefs includes 2 or more references to the same parent",rule="!has(self.parentRefs) || self.parentRefs.all(p1, self.parentRefs.all(p2, p1.group == p2.group && p1.kind == p2.kind && p1.name == p2.name && (((!has(p1.__namespace__) || size(p1.__namespace__) == 0) && (!has(p2.__namespace__) || size(p2.__namespace__) == 0)) || (has(p1.__namespace__) && has(p2.__namespace__) && p1.__namespace__ == p2.__namespace__)) ? ((!has(p1.sectionName) || size(p1.sectionName) == 0) == (!has(p2.sectionName) || size(p2.sectionName) == 0)) : true))"
// +kubebuilder:validation:XValidation:message="sectionName must be unique when parentRefs includes 2 or more references to the same parent",rule="!has(self.parentRefs) || self.parentRefs.all(p1, self.parentRefs.exists_one(p2, p1.group == p2.group && p1.kind == p2.kind && p1.name == p2.name && (((!has(p1.__namespace__) || size(p1.__namespace__) == 0) && (!has(p2.__namespace__) || size(p2.__namespace__) == 0)) || (has(p1.__namespace__) && has(p2.__namespace__) && p1.__namespace__ == p2.__namespace__)) && (((!has(p1.sectionName) || size(p1.sectionName) == 0) && (!has(p2.sectionName) || size(p2.sectionName) == 0)) || (has(p1.sectionName) && has(p2.sectionName) && p1.sectionName == p2.sectionName))))"
type SCTPRouteSpec struct {
	gatewayv1.CommonRouteSpec `json:",inline"`

	// Exactly one rule: SCTP has nothing to match on.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=1
	// +listType=atomic
	Rules []SCTPRouteRule `json:"rules"`
}

// SCTPRouteRule says where associations go.
type SCTPRouteRule struct {
	// A name for the rule.
	// +optional
	Name *gatewayv1.SectionName `json:"name,omitempty"`
	// The Services, by the number of a port of theirs whose protocol is SCTP. Associations are spread by weight, 1 where it
	// isn't given; a Service that doesn't exist, may not be referred to or has no endpoints has its share rejected.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +listType=atomic
	BackendRefs []gatewayv1.BackendRef `json:"backendRefs"`
}

// SCTPRouteStatus is what became of a route.
type SCTPRouteStatus struct {
	gatewayv1.RouteStatus `json:",inline"`
}

// SCTPRouteList is a list of SCTPRoutes.
//
// +kubebuilder:object:root=true
type SCTPRouteList struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []SCTPRoute `json:"items"`
}
