// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// GatewayClassFinalizer keeps a GatewayClass while Gateways use it. A controller sets it on the class, not on Gateways.
const GatewayClassFinalizer = "gateway-exists-finalizer.networking.x-k8s.io"

// GatewayClass names the controller that serves the Gateways of this class, and the parameters that it serves them with.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,shortName=gc
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Controller",type=string,JSONPath=`.spec.controller`
// +kubebuilder:printcolumn:name="Admitted",type=string,JSONPath=`.status.conditions[?(@.type=="Admitted")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type GatewayClass struct {
	metav1.TypeMeta `json:",inline"`
	// Standard metadata. Gateways refer to the class by its name.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// The controller and its parameters.
	// +optional
	Spec GatewayClassSpec `json:"spec,omitempty"`
	// What the controller thinks of the class.
	// +optional
	// +kubebuilder:default={conditions: {{type: "Admitted", status: "False", reason: "Waiting", message: "No controller has looked at this class yet", lastTransitionTime: "1970-01-01T00:00:00Z"}}}
	Status GatewayClassStatus `json:"status,omitempty"`
}

// GatewayClassSpec names a controller and its parameters.
type GatewayClassSpec struct {
	// The controller that serves this class, as domain/path: ako.vmware.com/avi-lb for this operator. A class of any other
	// is left alone. It isn't meant to change, though nothing prevents it.
	// +kubebuilder:validation:MaxLength=253
	Controller string `json:"controller"`
	// The parameters of all Gateways of this class. This operator takes an AviInfraSetting (group ako.vmware.com). Left
	// out: the operator's settings.
	// +optional
	ParametersRef *ParametersReference `json:"parametersRef,omitempty"`
}

// ParametersReference refers to an object that a controller reads its parameters from.
type ParametersReference struct {
	// The object's API group.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Group string `json:"group"`
	// The object's kind.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Kind string `json:"kind"`
	// The object's name.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// Whether the object is in a namespace. An AviInfraSetting isn't: Cluster. CRDs before v0.2 don't have this field.
	// +optional
	// +kubebuilder:validation:Enum=Cluster;Namespace
	// +kubebuilder:default=Cluster
	Scope *string `json:"scope,omitempty"`
	// The object's namespace if the scope is Namespace. CRDs before v0.2 don't have this field.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Namespace *string `json:"namespace,omitempty"`
}

// The values of ParametersReference.Scope.
const (
	ParametersScopeCluster   = "Cluster"
	ParametersScopeNamespace = "Namespace"
)

// Conditions of a GatewayClass.
const (
	// GatewayClassConditionAdmitted is True if the controller serves the class.
	GatewayClassConditionAdmitted = "Admitted"

	// GatewayClassReasonAdmitted goes with Admitted=True.
	GatewayClassReasonAdmitted = "Admitted"
	// GatewayClassReasonInvalidParameters goes with Admitted=False: what parametersRef names isn't there or can't be used.
	GatewayClassReasonInvalidParameters = "InvalidParameters"
	// GatewayClassReasonWaiting goes with Admitted=False: no controller has looked at the class. The CRD sets it.
	GatewayClassReasonWaiting = "Waiting"

	// GatewayClassConditionInvalidParameters is a type of condition that only the CRD of v0.1.0 sets, to Unknown with the
	// reason Waiting, on each class. Who writes the status removes it.
	GatewayClassConditionInvalidParameters = "InvalidParameters"
)

// GatewayClassStatus is what the controller thinks of a class.
type GatewayClassStatus struct {
	// At most one of each type.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:default={{type: "Admitted", status: "False", reason: "Waiting", message: "No controller has looked at this class yet", lastTransitionTime: "1970-01-01T00:00:00Z"}}
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// GatewayClassList is a list of GatewayClasses.
//
// +kubebuilder:object:root=true
type GatewayClassList struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []GatewayClass `json:"items"`
}
