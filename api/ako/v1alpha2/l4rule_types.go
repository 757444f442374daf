// SPDX-License-Identifier: Apache-2.0

package v1alpha2

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// L4Rule overrides what the operator chooses by itself for a layer 4 virtual service and its pools: profiles, monitors,
// policies, the load balancing algorithm, limits.
//
// A Service or a Gateway refers to it by the annotation ako.vmware.com/l4rule: "name", or "namespace/name" for a rule of
// another namespace. What a rule leaves out is as without it. References are names of objects on the Avi Controller.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=l4rules,scope=Namespaced,shortName=l4rule
// +kubebuilder:subresource:status
// +kubebuilder:storageversion
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.status`,description="Accepted or Rejected"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Error",type=string,priority=1,JSONPath=`.status.error`,description="Why it is rejected"
type L4Rule struct {
	metav1.TypeMeta `json:",inline"`
	// Standard metadata. Only the name and the namespace matter.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// What differs from what the operator chooses.
	// +optional
	Spec L4RuleSpec `json:"spec,omitempty"`
	// What the operator found. Nobody else writes it.
	// +optional
	Status L4RuleStatus `json:"status,omitempty"`
}

// L4RuleSpec is what differs from what the operator chooses. Except for the backend properties, all of it is about the virtual
// service.
type L4RuleSpec struct {
	// What is logged of the virtual service's traffic.
	// +optional
	AnalyticsPolicy *AnalyticsPolicy `json:"analyticsPolicy,omitempty"`
	// The analytics profile.
	// +optional
	AnalyticsProfileRef string `json:"analyticsProfileRef,omitempty"`
	// The application profile, of type L4 or, with a listener of enableSsl, SSL.
	// +optional
	ApplicationProfileRef string `json:"applicationProfileRef,omitempty"`
	// The address. Only where the Service or Gateway itself asks for none, and only for a new virtual service.
	// +optional
	LoadBalancerIP string `json:"loadBalancerIP,omitempty"`
	// Limits of connections and throughput.
	// +optional
	PerformanceLimits *PerformanceLimits `json:"performanceLimits,omitempty"`
	// The network profile, for the ports of the protocol that it is of.
	// +optional
	NetworkProfileRef string `json:"networkProfileRef,omitempty"`
	// The network security policy.
	// +optional
	NetworkSecurityPolicyRef string `json:"networkSecurityPolicyRef,omitempty"`
	// The security policy, against denial of service.
	// +optional
	SecurityPolicyRef string `json:"securityPolicyRef,omitempty"`
	// The DataScripts, in the order in which they are run.
	// +optional
	// +listType=atomic
	VsDatascriptRefs []string `json:"vsDatascriptRefs,omitempty"`
	// The SSL profile of the listener with enableSsl.
	// +optional
	SslProfileRef string `json:"sslProfileRef,omitempty"`
	// The certificates of the listener with enableSsl: one, or one with an EC and one with an RSA key.
	// +optional
	// +listType=atomic
	SslKeyAndCertificateRefs []string `json:"sslKeyAndCertificateRefs,omitempty"`
	// Whether NSX takes the address' route back while the virtual service is down. NSX-T clouds only.
	// +optional
	RevokeVipRoute *bool `json:"revokeVipRoute,omitempty"`
	// What is special to single listening ports.
	// +optional
	// +listType=atomic
	ListenerProperties []ListenerProperties `json:"listenerProperties,omitempty"`
	// What is special to the pools of single ports of the Service.
	// +optional
	// +listType=atomic
	BackendProperties []BackendProperties `json:"backendProperties,omitempty"`
}

// AnalyticsPolicy says what is logged of a virtual service's traffic.
type AnalyticsPolicy struct {
	// The log of all connections.
	// +optional
	FullClientLogs *FullClientLogs `json:"fullClientLogs,omitempty"`
}

// FullClientLogs is about the log of all connections.
type FullClientLogs struct {
	// Whether all connections are logged, and not only those with an error.
	Enabled bool `json:"enabled"`
	// For how many minutes; 0 is for ever. Left out: 30.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=65535
	Duration *int32 `json:"duration,omitempty"`
	// How many entries a second and Service Engine, 0 is no limit. Left out: 10.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=65535
	Throttle *int32 `json:"throttle,omitempty"`
}

// PerformanceLimits are limits of a virtual service.
type PerformanceLimits struct {
	// The most connections at a time.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=65535
	MaxConcurrentConnections *int32 `json:"maxConcurrentConnections,omitempty"`
	// The highest throughput of a Service Engine, in Mbit/s.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=65535
	MaxThroughput *int32 `json:"maxThroughput,omitempty"`
}

// ListenerProperties are those of one listening port.
type ListenerProperties struct {
	// The port's number.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=65535
	Port int32 `json:"port"`
	// The port's protocol.
	// +kubebuilder:validation:Enum=TCP
	Protocol string `json:"protocol"`
	// Whether the virtual service ends TLS on the port. It must be its only port then.
	// +optional
	EnableSsl *bool `json:"enableSsl,omitempty"`
}

// BackendProperties are those of the pool of one port of a Service.
//
// +kubebuilder:validation:XValidation:rule="self.protocol == 'TCP' || !(has(self.sslProfileRef) || has(self.sslKeyAndCertificateRef) || has(self.pkiProfileRef))",message="TLS to the servers needs protocol TCP: remove sslProfileRef, sslKeyAndCertificateRef and pkiProfileRef"
type BackendProperties struct {
	// The number of the Service's port.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	Port int32 `json:"port"`
	// The protocol of the Service's port.
	// +kubebuilder:validation:Enum=TCP;UDP;SCTP
	Protocol string `json:"protocol"`
	// Whether the pool takes connections; false ends those that there are. Left out: true.
	// +optional
	Enabled *bool `json:"enabled,omitempty"`
	// The persistence profile, by which connections of one client reach one server.
	// +optional
	ApplicationPersistenceProfileRef string `json:"applicationPersistenceProfileRef,omitempty"`
	// The health monitors, instead of the protocol's own.
	// +optional
	// +listType=atomic
	HealthMonitorRefs []string `json:"healthMonitorRefs,omitempty"`
	// HealthMonitor objects of the rule's namespace, which the AKO CRD Operator brings to the Controller. For TCP, and only without
	// healthMonitorRefs.
	// +optional
	// +listType=atomic
	HealthMonitorCrdRefs []string `json:"healthMonitorCrdRefs,omitempty"`
	// How servers are chosen. Left out: LB_ALGORITHM_LEAST_CONNECTIONS.
	// +optional
	// +kubebuilder:validation:Enum=LB_ALGORITHM_LEAST_CONNECTIONS;LB_ALGORITHM_ROUND_ROBIN;LB_ALGORITHM_FASTEST_RESPONSE;LB_ALGORITHM_CONSISTENT_HASH;LB_ALGORITHM_LEAST_LOAD;LB_ALGORITHM_FEWEST_SERVERS;LB_ALGORITHM_RANDOM;LB_ALGORITHM_FEWEST_TASKS;LB_ALGORITHM_NEAREST_SERVER;LB_ALGORITHM_CORE_AFFINITY;LB_ALGORITHM_TOPOLOGY
	LbAlgorithm string `json:"lbAlgorithm,omitempty"`
	// What LB_ALGORITHM_CONSISTENT_HASH is computed from. Left out: the client's address.
	// +optional
	// +kubebuilder:validation:Enum=LB_ALGORITHM_CONSISTENT_HASH_SOURCE_IP_ADDRESS;LB_ALGORITHM_CONSISTENT_HASH_SOURCE_IP_ADDRESS_AND_PORT;LB_ALGORITHM_CONSISTENT_HASH_URI;LB_ALGORITHM_CONSISTENT_HASH_CUSTOM_HEADER;LB_ALGORITHM_CONSISTENT_HASH_CUSTOM_STRING;LB_ALGORITHM_CONSISTENT_HASH_CALLID
	LbAlgorithmHash string `json:"lbAlgorithmHash,omitempty"`
	// The header that LB_ALGORITHM_CONSISTENT_HASH_CUSTOM_HEADER is computed from.
	// +optional
	LbAlgorithmConsistentHashHdr string `json:"lbAlgorithmConsistentHashHdr,omitempty"`
	// How many servers must be up for the pool to be up.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=65535
	MinServersUp *int32 `json:"minServersUp,omitempty"`
	// The PKI profile by which the servers' certificates are checked.
	// +optional
	PkiProfileRef string `json:"pkiProfileRef,omitempty"`
	// The certificate that is shown to the servers.
	// +optional
	SslKeyAndCertificateRef string `json:"sslKeyAndCertificateRef,omitempty"`
	// The SSL profile of the connections to the servers, which are plain without one.
	// +optional
	SslProfileRef string `json:"sslProfileRef,omitempty"`
	// What is measured.
	// +optional
	AnalyticsPolicy *PoolAnalyticsPolicy `json:"analyticsPolicy,omitempty"`
}

// PoolAnalyticsPolicy says what is measured of a pool.
type PoolAnalyticsPolicy struct {
	// Whether metrics of the pool and its servers are measured in real time.
	// +optional
	EnableRealtimeMetrics *bool `json:"enableRealtimeMetrics,omitempty"`
}

// The values of status.status.
const (
	StatusAccepted = "Accepted"
	StatusRejected = "Rejected"
)

// ConditionAccepted is the type of the condition that says more precisely what status.status says.
const ConditionAccepted = "Accepted"

// L4RuleStatus is what the operator found. Status and Error are AKO's; the conditions are not, and a CRD that AKO installed
// drops them.
type L4RuleStatus struct {
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

// L4RuleList is a list of L4Rules.
//
// +kubebuilder:object:root=true
type L4RuleList struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []L4Rule `json:"items"`
}
