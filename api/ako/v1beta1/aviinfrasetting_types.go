// SPDX-License-Identifier: Apache-2.0

package v1beta1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// AviInfraSetting gives a group of workloads other infrastructure on the Avi Controller than the operator's settings in
// avi-k8s-config do: another network for the addresses, another Service Engine group, BGP or another NSX gateway.
//
// A GatewayClass refers to it in spec.parametersRef, a Service or a Namespace by the annotation
// aviinfrasetting.ako.vmware.com/name. What it leaves out is as in the operator's settings, and one without a spec changes
// nothing. What refers to a setting that is missing or not accepted is not given the operator's settings instead.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=aviinfrasettings,scope=Cluster
// +kubebuilder:subresource:status
// +kubebuilder:storageversion
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.status`,description="Accepted or Rejected"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Error",type=string,priority=1,JSONPath=`.status.error`,description="Why it is rejected"
type AviInfraSetting struct {
	metav1.TypeMeta `json:",inline"`
	// Standard metadata. Only the name matters; labels and annotations have no meaning to the operator.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// What differs from the operator's settings.
	// +optional
	Spec AviInfraSettingSpec `json:"spec,omitempty"`
	// What the operator found. Nobody else writes it.
	// +optional
	Status AviInfraSettingStatus `json:"status,omitempty"`
}

// AviInfraSettingSpec is what differs from the operator's settings. Each part stands for itself: one that is left out is
// as in those settings.
type AviInfraSettingSpec struct {
	// Where virtual services get their addresses, how those are announced, and where pools find their servers.
	// +optional
	Network *AviInfraSettingNetwork `json:"network,omitempty"`
	// The Service Engine group that runs the virtual services.
	// +optional
	SEGroup *AviInfraSettingSEGroup `json:"seGroup,omitempty"`
	// Layer 7 only: ignored by this operator, for AKO's L7 half.
	// +optional
	L7Settings *AviInfraSettingL7Settings `json:"l7Settings,omitempty"`
	// NSX-T clouds only.
	// +optional
	NSXSettings *AviInfraSettingNSXSettings `json:"nsxSettings,omitempty"`
}

// AviInfraSettingNetwork says where virtual services get their addresses, how those are announced, and where pools find
// their servers.
//
// +kubebuilder:validation:XValidation:rule="!has(self.bgpPeerLabels) || size(self.bgpPeerLabels) == 0 || (has(self.enableRhi) && self.enableRhi)",message="bgpPeerLabels choose the peers of route health injection, which is off: set enableRhi to true or remove bgpPeerLabels"
// +kubebuilder:validation:XValidation:rule="!has(self.listeners) || size(self.listeners) == 0 || self.listeners.exists(l, has(l.enableSSL) && l.enableSSL)",message="none of the listeners has TLS: set enableSSL to true on at least one of them or remove listeners"
type AviInfraSettingNetwork struct {
	// The networks that addresses of virtual services are taken from; replaces vipNetworkList of the operator's settings.
	// Only the first is used, except on AWS, Azure and OpenStack, where each gives an address.
	// +optional
	// +listType=atomic
	VipNetworks []VipNetwork `json:"vipNetworks,omitempty"`
	// The networks in which the servers of pools are, for clouds where Service Engines have an interface in each (vCenter,
	// VLAN segments of NSX-T); replaces nodeNetworkList of the operator's settings.
	// +optional
	// +listType=atomic
	NodeNetworks []NodeNetwork `json:"nodeNetworks,omitempty"`
	// Whether the addresses are announced as host routes over BGP (route health injection). Left out: as enableRHI of the
	// operator's settings.
	// +optional
	EnableRHI *bool `json:"enableRhi,omitempty"`
	// Whether each address gets a public one too. AWS, Azure, GCP and OpenStack only; elsewhere it has no effect.
	// +optional
	EnablePublicIP *bool `json:"enablePublicIP,omitempty"`
	// The labels of those BGP peers of the VRF that the addresses are announced to. Needs enableRhi: true. Left out: as
	// bgpPeerLabels of the operator's settings. An empty list: none, whatever those say.
	// +optional
	// +listType=atomic
	BGPPeerLabels []string `json:"bgpPeerLabels,omitzero"`
	// Ports of shared layer 7 virtual services: ignored by this operator, for AKO's L7 half. If there are any, one of them
	// must have TLS.
	// +optional
	// +listType=atomic
	Listeners []Listener `json:"listeners,omitempty"`
}

// VipNetwork is a network that addresses of virtual services are taken from, by its name or by its UUID.
//
// +kubebuilder:validation:XValidation:rule="has(self.networkName) != has(self.networkUUID)",message="a VIP network is given by exactly one of networkName and networkUUID: set one and remove the other"
type VipNetwork struct {
	// The network's name on the Avi Controller.
	// +optional
	NetworkName string `json:"networkName,omitempty"`
	// The network's UUID on the Avi Controller, where several networks have the same name.
	// +optional
	NetworkUUID string `json:"networkUUID,omitempty"`
	// The IPv4 subnet of the network to take addresses from, such as 10.1.0.0/16. Left out: the Controller chooses.
	// +optional
	// +kubebuilder:validation:Pattern=`^([0-9]{1,3}(\.[0-9]{1,3}){3}/[0-9]{1,2})?$`
	CIDR string `json:"cidr,omitempty"`
	// The IPv6 subnet of the network to take addresses from, such as 2001:db8:1::/64.
	// +optional
	// +kubebuilder:validation:Pattern=`^([0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*/[0-9]{1,3})?$`
	V6CIDR string `json:"v6cidr,omitempty"`
}

// NodeNetwork is a network in which servers of pools are, by its name or by its UUID.
//
// +kubebuilder:validation:XValidation:rule="has(self.networkName) != has(self.networkUUID)",message="a node network is given by exactly one of networkName and networkUUID: set one and remove the other"
type NodeNetwork struct {
	// The network's name on the Avi Controller.
	// +optional
	NetworkName string `json:"networkName,omitempty"`
	// The network's UUID on the Avi Controller, where several networks have the same name.
	// +optional
	NetworkUUID string `json:"networkUUID,omitempty"`
	// The subnets of the network that the servers' addresses are of, IPv4 or IPv6, such as 10.1.0.0/16.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:items:Pattern=`^[0-9A-Fa-f:.]+/[0-9]{1,3}$`
	CIDRs []string `json:"cidrs,omitempty"`
}

// Listener is a port of shared layer 7 virtual services: ignored by this operator, for AKO's L7 half.
type Listener struct {
	// The port's number.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	Port int32 `json:"port"`
	// Whether the port speaks TLS.
	// +optional
	EnableSSL *bool `json:"enableSSL,omitempty"`
	// Whether the port speaks HTTP/2.
	// +optional
	EnableHTTP2 *bool `json:"enableHTTP2,omitempty"`
}

// AviInfraSettingSEGroup is a Service Engine group.
type AviInfraSettingSEGroup struct {
	// The group's name on the Avi Controller, in the operator's cloud.
	Name string `json:"name"`
}

// AviInfraSettingL7Settings is ignored by this operator, for AKO's L7 half.
type AviInfraSettingL7Settings struct {
	// How many virtual services the Ingresses are spread over, or DEDICATED for one to each host.
	ShardSize ShardSize `json:"shardSize"`
}

// ShardSize says how many virtual services the Ingresses are spread over.
//
// +kubebuilder:validation:Enum=SMALL;MEDIUM;LARGE;DEDICATED
type ShardSize string

// The values of ShardSize: eight, four or one virtual services, and one to each host.
const (
	ShardSizeLarge     ShardSize = "LARGE"
	ShardSizeMedium    ShardSize = "MEDIUM"
	ShardSizeSmall     ShardSize = "SMALL"
	ShardSizeDedicated ShardSize = "DEDICATED"
)

// AviInfraSettingNSXSettings is what is special to NSX-T clouds.
type AviInfraSettingNSXSettings struct {
	// The path of the tier-1 gateway to attach addresses and pools to, as NSX writes it: /infra/tier-1s/name. Virtual
	// services then have no VRF of their own; those that exist keep the gateway that they were created with.
	T1LR string `json:"t1lr"`
}

// The values of status.status.
const (
	StatusAccepted = "Accepted"
	StatusRejected = "Rejected"
)

// ConditionAccepted is the type of the condition that says more precisely what status.status says: True if workloads get
// what the spec asks for.
const ConditionAccepted = "Accepted"

// AviInfraSettingStatus is what the operator found. Status and Error are AKO's; the conditions are not, and a CRD that
// AKO installed drops them.
type AviInfraSettingStatus struct {
	// Accepted or Rejected; empty until the operator has looked.
	// +optional
	Status string `json:"status,omitempty"`
	// Why it is rejected, and empty if it is not.
	// +optional
	Error string `json:"error,omitempty"`
	// What the operator found, with the generation of the spec that it looked at. Accepted says what status says.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// AviInfraSettingList is a list of AviInfraSettings.
//
// +kubebuilder:object:root=true
type AviInfraSettingList struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []AviInfraSetting `json:"items"`
}
