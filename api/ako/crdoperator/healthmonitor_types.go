// SPDX-License-Identifier: Apache-2.0

package crdoperator

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// HealthMonitor is a health monitor of the Controller that the AKO CRD Operator makes of this object. It is that program's, and so
// is the CustomResourceDefinition: only what has to be known to refer to the monitor is here, and none of it is ever written.
//
// +kubebuilder:object:root=true
type HealthMonitor struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   HealthMonitorSpec   `json:"spec,omitempty"`
	Status HealthMonitorStatus `json:"status,omitempty"`
}

// HealthMonitorSpec is what is read of a monitor's specification.
type HealthMonitorSpec struct {
	// Type is how servers are checked: HEALTH_MONITOR_TCP, HEALTH_MONITOR_PING or HEALTH_MONITOR_HTTP. It can't be changed.
	Type string `json:"type,omitempty"`
}

// ConditionProgrammed is the type of the condition that reports whether the monitor is on the Controller as it is wanted.
const ConditionProgrammed = "Programmed"

// HealthMonitorStatus is what is read of what the AKO CRD Operator says.
type HealthMonitorStatus struct {
	// UUID of the monitor on the Controller, empty until there is one.
	UUID string `json:"uuid,omitempty"`
	// Tenant of the monitor on the Controller.
	Tenant string `json:"tenant,omitempty"`
	// Conditions has Programmed.
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// HealthMonitorList is a list of HealthMonitors.
//
// +kubebuilder:object:root=true
type HealthMonitorList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []HealthMonitor `json:"items"`
}
