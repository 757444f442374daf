// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1beta1"
)

// AviInfraSetting gives a group of workloads other infrastructure on the Avi Controller than the operator's settings in
// avi-k8s-config do. It is the same object as v1beta1's, but here the status is a part of it like any other and not a
// subresource, as in AKO's CRD.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=aviinfrasettings,scope=Cluster
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

// The parts of an AviInfraSetting are those of v1beta1, so that the two versions can't drift apart.
type (
	// AviInfraSettingSpec is what differs from the operator's settings.
	AviInfraSettingSpec = v1beta1.AviInfraSettingSpec
	// AviInfraSettingStatus is what the operator found.
	AviInfraSettingStatus = v1beta1.AviInfraSettingStatus
)

// AviInfraSettingList is a list of AviInfraSettings.
//
// +kubebuilder:object:root=true
type AviInfraSettingList struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []AviInfraSetting `json:"items"`
}
