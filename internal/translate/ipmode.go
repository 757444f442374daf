// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
)

// IPMode is what the addresses in a Service's status say about how traffic reaches it: the annotation's, else the settings',
// nil for nothing said. ok is false if the annotation can't be read: what the status says stays.
func IPMode(s *settings.Settings, svc *corev1.Service) (mode *corev1.LoadBalancerIPMode, ok bool) {
	if text, set := svc.Annotations[AnnotationIPMode]; set {
		mode, ok = settings.ParseIPMode(text)
		return mode, ok
	}
	return s.IPMode, true
}

func (b serviceBuilder) ipMode() {
	if _, ok := IPMode(b.in.Settings, b.svc); !ok {
		b.report(model.Degraded, model.Port{}, model.ReasonInvalidAnnotation, fmt.Sprintf("annotation %s: %q is neither VIP nor Proxy; the status keeps what it says", AnnotationIPMode, b.svc.Annotations[AnnotationIPMode]))
	}
}
