// SPDX-License-Identifier: Apache-2.0

// Package v1alpha1 has the two kinds of the old Services API, networking.x-k8s.io/v1alpha1, that the operator serves. The
// API is upstream's, last released with gateway-api v0.4; the types are our own and take what any of its releases, and
// the one that AKO ships, may hold. What one of those CRDs doesn't know, its API server drops.
//
// The operator never writes a spec of these kinds: a cluster's CRD may have fields that are not here.
//
// +kubebuilder:object:generate=true
// +groupName=networking.x-k8s.io
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the group and version of this package's kinds.
var GroupVersion = schema.GroupVersion{Group: "networking.x-k8s.io", Version: "v1alpha1"}

// SchemeBuilder collects what registers this package's kinds, and AddToScheme registers them.
var (
	SchemeBuilder = runtime.NewSchemeBuilder(addKnownTypes)
	AddToScheme   = SchemeBuilder.AddToScheme
)

func addKnownTypes(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion, &GatewayClass{}, &GatewayClassList{}, &Gateway{}, &GatewayList{})
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}
