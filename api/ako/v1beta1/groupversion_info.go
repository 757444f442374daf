// SPDX-License-Identifier: Apache-2.0

// Package v1beta1 is the stored version of the API group ako.vmware.com. Its JSON is that of AKO's own CRD, so that
// objects and clusters move between the two without a change.
//
// +kubebuilder:object:generate=true
// +groupName=ako.vmware.com
package v1beta1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the group and version of this package's kinds.
var GroupVersion = schema.GroupVersion{Group: "ako.vmware.com", Version: "v1beta1"}

// SchemeBuilder collects what registers this package's kinds, and AddToScheme registers them.
var (
	SchemeBuilder = runtime.NewSchemeBuilder(addKnownTypes)
	AddToScheme   = SchemeBuilder.AddToScheme
)

func addKnownTypes(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion, &AviInfraSetting{}, &AviInfraSettingList{})
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}
