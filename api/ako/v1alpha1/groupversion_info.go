// SPDX-License-Identifier: Apache-2.0

// Package v1alpha1 is the older version of the API group ako.vmware.com: served for manifests that still use it, never stored, and
// the same as v1beta1 in all fields, whose types it therefore uses. The operator itself reads and writes v1beta1 only.
//
// +kubebuilder:object:generate=true
// +groupName=ako.vmware.com
package v1alpha1

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
	scheme.AddKnownTypes(GroupVersion, &AviInfraSetting{}, &AviInfraSettingList{}, &SCTPRoute{}, &SCTPRouteList{})
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}
