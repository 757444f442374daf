// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Gateway asks for one address, or a few, with a set of ports on them, and says which workloads may be behind each.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:shortName=gtw
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Class",type=string,JSONPath=`.spec.gatewayClassName`
// +kubebuilder:printcolumn:name="Address",type=string,JSONPath=`.status.addresses[0].value`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`,description="Why it is not ready, such as that no port is served"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Gateway struct {
	metav1.TypeMeta `json:",inline"`
	// Standard metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// The addresses and ports that are asked for.
	// +optional
	Spec GatewaySpec `json:"spec,omitempty"`
	// The addresses and ports that there are.
	// +optional
	// +kubebuilder:default={conditions: {{type: "Scheduled", status: "False", reason: "NotReconciled", message: "No controller has looked at this Gateway yet", lastTransitionTime: "1970-01-01T00:00:00Z"}}}
	Status GatewayStatus `json:"status,omitempty"`
}

// GatewaySpec is what is asked for.
type GatewaySpec struct {
	// The GatewayClass, which decides who serves this Gateway and how.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	GatewayClassName string `json:"gatewayClassName"`
	// The ports, each a combination of port, protocol and host name that occurs once. TCP, UDP and SCTP have port numbers
	// of their own: the same number with each is no conflict.
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Listeners []Listener `json:"listeners"`
	// The addresses that the Gateway shall have. Left out: the controller chooses one.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	Addresses []GatewayAddress `json:"addresses,omitempty"`
}

// Listener is a port of a Gateway.
type Listener struct {
	// The host name by which the port is reached. For a layer 4 port the operator can enter it in the DNS; traffic is not
	// selected by it.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Hostname *string `json:"hostname,omitempty"`
	// The port's number. A Service is behind it if it has a port of this number and protocol.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	Port int32 `json:"port"`
	// The protocol: TCP, UDP and SCTP are served by this operator. Any text is taken by the API server, and one that the
	// controller doesn't know makes the listener Detached.
	Protocol ProtocolType `json:"protocol"`
	// TLS, which layer 4 ports of this operator don't have.
	// +optional
	TLS *GatewayTLSConfig `json:"tls,omitempty"`
	// Which workloads may be behind the port.
	Routes RouteBindingSelector `json:"routes"`
}

// ProtocolType is the protocol of a listener.
type ProtocolType string

// The protocols that have a meaning. The API defines all but SCTP, which AKO and this operator add.
const (
	ProtocolHTTP  ProtocolType = "HTTP"
	ProtocolHTTPS ProtocolType = "HTTPS"
	ProtocolTLS   ProtocolType = "TLS"
	ProtocolTCP   ProtocolType = "TCP"
	ProtocolUDP   ProtocolType = "UDP"
	ProtocolSCTP  ProtocolType = "SCTP"
)

// GatewayTLSConfig is how a listener speaks TLS.
type GatewayTLSConfig struct {
	// Whether the Gateway ends TLS or passes it on.
	// +optional
	// +kubebuilder:default=Terminate
	Mode *TLSModeType `json:"mode,omitempty"`
	// The object that holds certificate and key.
	// +optional
	CertificateRef *LocalObjectReference `json:"certificateRef,omitempty"`
	// Whether routes may bring certificates of their own.
	// +optional
	// +kubebuilder:default={certificate: "Deny"}
	RouteOverride *TLSOverridePolicy `json:"routeOverride,omitempty"`
	// Whatever else a controller understands.
	// +optional
	Options map[string]string `json:"options,omitempty"`
}

// TLSModeType says whether a Gateway ends TLS or passes it on.
//
// +kubebuilder:validation:Enum=Terminate;Passthrough
type TLSModeType string

// The values of TLSModeType.
const (
	TLSModeTerminate   TLSModeType = "Terminate"
	TLSModePassthrough TLSModeType = "Passthrough"
)

// TLSOverridePolicy says what routes may set instead of the Gateway.
type TLSOverridePolicy struct {
	// Whether a route's certificate is used.
	// +optional
	// +kubebuilder:default=Deny
	Certificate *TLSRouteOverrideType `json:"certificate,omitempty"`
}

// TLSRouteOverrideType says whether routes may set something.
//
// +kubebuilder:validation:Enum=Allow;Deny
type TLSRouteOverrideType string

// The values of TLSRouteOverrideType.
const (
	TLSRouteOverrideAllow TLSRouteOverrideType = "Allow"
	TLSRouteOverrideDeny  TLSRouteOverrideType = "Deny"
)

// LocalObjectReference refers to an object in the namespace of the one that refers.
type LocalObjectReference struct {
	// The object's API group; core for Secrets.
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
}

// RouteBindingSelector says which workloads may be behind a listener.
type RouteBindingSelector struct {
	// The namespaces that they may be in. Left out: the Gateway's own.
	// +optional
	// +kubebuilder:default={from: "Same"}
	Namespaces *RouteNamespaces `json:"namespaces,omitempty"`
	// The labels that they have. Left out or empty: any. For this operator the labels ako.vmware.com/gateway-name and
	// ako.vmware.com/gateway-namespace with the Gateway's own name and namespace are needed here, as for AKO.
	// +optional
	Selector *metav1.LabelSelector `json:"selector,omitempty"`
	// The API group of what may be behind the listener. It can't be empty, as that of Services is, so write v1 or core.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:default=networking.x-k8s.io
	Group string `json:"group,omitempty"`
	// The kind of what may be behind the listener: services or Service for this operator.
	Kind string `json:"kind"`
}

// DefaultRouteGroup is RouteBindingSelector.Group where it is left out.
const DefaultRouteGroup = "networking.x-k8s.io"

// RouteNamespaces says which namespaces the workloads behind a listener may be in.
type RouteNamespaces struct {
	// All, Same for the Gateway's own, or Selector for those that the selector selects. CRDs before v0.2 have no default
	// for this field: nil is Same.
	// +optional
	// +kubebuilder:default=Same
	From *RouteSelectType `json:"from,omitempty"`
	// The labels of the namespaces, if from is Selector. Empty: any.
	// +optional
	Selector *metav1.LabelSelector `json:"selector,omitempty"`
}

// RouteSelectType says how namespaces are selected.
//
// +kubebuilder:validation:Enum=All;Selector;Same
type RouteSelectType string

// The values of RouteSelectType.
const (
	RouteSelectAll      RouteSelectType = "All"
	RouteSelectSelector RouteSelectType = "Selector"
	RouteSelectSame     RouteSelectType = "Same"
)

// GatewayAddress is an address of a Gateway, one that is asked for or one that there is.
type GatewayAddress struct {
	// What the value is. Left out: an IPAddress.
	// +optional
	// +kubebuilder:default=IPAddress
	Type *AddressType `json:"type,omitempty"`
	// The address. Any text is taken by the API server; the controller parses it.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Value string `json:"value"`
}

// AddressType says what the value of a GatewayAddress is.
//
// +kubebuilder:validation:Enum=IPAddress;NamedAddress
type AddressType string

// The values of AddressType.
const (
	// AddressIP is an IPv4 or IPv6 address.
	AddressIP AddressType = "IPAddress"
	// AddressNamed is a name whose meaning the controller defines. This operator has none.
	AddressNamed AddressType = "NamedAddress"
)

// Conditions of a Gateway, with the reasons that go with each if it is False.
const (
	// GatewayConditionScheduled is True if a controller has taken on the Gateway.
	GatewayConditionScheduled = "Scheduled"
	// GatewayReasonScheduled goes with Scheduled=True.
	GatewayReasonScheduled = "Scheduled"
	// GatewayReasonNotReconciled says that no controller has looked at the Gateway. The CRD sets it.
	GatewayReasonNotReconciled = "NotReconciled"
	// GatewayReasonNoSuchGatewayClass says that the class isn't there.
	GatewayReasonNoSuchGatewayClass = "NoSuchGatewayClass"
	// GatewayReasonNoResources says that what the Gateway needs is used up.
	GatewayReasonNoResources = "NoResources"

	// GatewayConditionReady is True if the Gateway serves traffic.
	GatewayConditionReady = "Ready"
	// GatewayReasonReady goes with Ready=True.
	GatewayReasonReady = "Ready"
	// GatewayReasonListenersNotValid says that a listener is wrong; it goes before the reasons below.
	GatewayReasonListenersNotValid = "ListenersNotValid"
	// GatewayReasonListenersNotReady says that a listener doesn't serve yet.
	GatewayReasonListenersNotReady = "ListenersNotReady"
	// GatewayReasonAddressNotAssigned says that the Gateway has no address, or not the one that is asked for.
	GatewayReasonAddressNotAssigned = "AddressNotAssigned"
)

// Conditions of a listener, with the reasons that go with each. Conflicted and Detached are bad when True, the others
// when False.
const (
	// ListenerConditionConflicted is True if another listener wants the same.
	ListenerConditionConflicted = "Conflicted"
	// ListenerReasonHostnameConflict says that it is the host name.
	ListenerReasonHostnameConflict = "HostnameConflict"
	// ListenerReasonProtocolConflict says that it is the port.
	ListenerReasonProtocolConflict = "ProtocolConflict"
	// ListenerReasonRouteConflict says that the workloads don't go together.
	ListenerReasonRouteConflict = "RouteConflict"
	// ListenerReasonNoConflicts goes with Conflicted=False.
	ListenerReasonNoConflicts = "NoConflicts"

	// ListenerConditionDetached is True if the listener can't be had.
	ListenerConditionDetached = "Detached"
	// ListenerReasonPortUnavailable says that the port is taken or forbidden.
	ListenerReasonPortUnavailable = "PortUnavailable"
	// ListenerReasonUnsupportedExtension says that the listener asks for something that the controller doesn't have.
	ListenerReasonUnsupportedExtension = "UnsupportedExtension"
	// ListenerReasonUnsupportedProtocol says that the controller doesn't serve the protocol.
	ListenerReasonUnsupportedProtocol = "UnsupportedProtocol"
	// ListenerReasonUnsupportedAddress says that an address that is asked for can't be had.
	ListenerReasonUnsupportedAddress = "UnsupportedAddress"
	// ListenerReasonAttached goes with Detached=False.
	ListenerReasonAttached = "Attached"

	// ListenerConditionResolvedRefs is True if all that the listener refers to is there and may be used.
	ListenerConditionResolvedRefs = "ResolvedRefs"
	// ListenerReasonResolvedRefs goes with ResolvedRefs=True.
	ListenerReasonResolvedRefs = "ResolvedRefs"
	// ListenerReasonDegradedRoutes says that some of the workloads can't be served.
	ListenerReasonDegradedRoutes = "DegradedRoutes"
	// ListenerReasonInvalidCertificateRef says that the certificate isn't there or can't be used.
	ListenerReasonInvalidCertificateRef = "InvalidCertificateRef"
	// ListenerReasonInvalidRoutesRef says that the group and kind of workloads are none that the controller serves. That
	// nothing is selected is no such error.
	ListenerReasonInvalidRoutesRef = "InvalidRoutesRef"

	// ListenerConditionReady is True if the listener serves traffic.
	ListenerConditionReady = "Ready"
	// ListenerReasonReady goes with Ready=True.
	ListenerReasonReady = "Ready"
	// ListenerReasonInvalid says that the listener is wrong, in a way that another condition states.
	ListenerReasonInvalid = "Invalid"
	// ListenerReasonPending says that the listener doesn't serve yet.
	ListenerReasonPending = "Pending"
)

// GatewayStatus is what there is of what a Gateway asks for.
type GatewayStatus struct {
	// The addresses that the Gateway has.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	Addresses []GatewayAddress `json:"addresses,omitempty"`
	// At most one of each type.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:default={{type: "Scheduled", status: "False", reason: "NotReconciled", message: "No controller has looked at this Gateway yet", lastTransitionTime: "1970-01-01T00:00:00Z"}}
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// At most one of each port number: listeners that share a number with different protocols share an entry.
	// +optional
	// +listType=map
	// +listMapKey=port
	// +kubebuilder:validation:MaxItems=64
	Listeners []ListenerStatus `json:"listeners,omitempty"`
}

// ListenerStatus is the state of all listeners of one port number.
type ListenerStatus struct {
	// The port's number.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	Port int32 `json:"port"`
	// The protocol of the first of these listeners.
	Protocol ProtocolType `json:"protocol"`
	// The host name of the first of these listeners.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Hostname *string `json:"hostname,omitempty"`
	// At most one of each type, each the worst of these listeners.
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions"`
}

// GatewayList is a list of Gateways.
//
// +kubebuilder:object:root=true
type GatewayList struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Gateway `json:"items"`
}
