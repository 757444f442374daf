// SPDX-License-Identifier: Apache-2.0

// Package crdoperator has what is read of the kinds of the AKO CRD Operator, in version v1alpha1 of the API group ako.vmware.com. Their
// CustomResourceDefinitions come with that program, so none is generated here.
//
// +kubebuilder:object:generate=true
// +kubebuilder:skip
// +groupName=ako.vmware.com
package crdoperator

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the group and version of this package's kinds.
var GroupVersion = schema.GroupVersion{Group: "ako.vmware.com", Version: "v1alpha1"}

// SchemeBuilder collects what registers this package's kinds, and AddToScheme registers them.
var (
	SchemeBuilder = runtime.NewSchemeBuilder(addKnownTypes)
	AddToScheme   = SchemeBuilder.AddToScheme
)

func addKnownTypes(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion, &HealthMonitor{}, &HealthMonitorList{})
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}
