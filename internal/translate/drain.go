// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"fmt"

	"github.com/vmware/alb-sdk/go/models"
	corev1 "k8s.io/api/core/v1"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
)

// drainMinutes is how long a disabled server of a new pool keeps its associations if nobody says otherwise: AKO's value, and
// the Controller's default.
const drainMinutes int32 = 1

// drain sets how long the pool's disabled servers keep their associations: what the Service's annotation says or the owner's,
// else what the ConfigMap says; else an existing pool keeps what it has, because the network team may have set that. svc is nil
// for a pool without a Service.
func (b *builder) drain(f frontend, l listener, svc *corev1.Service, p *models.Pool) {
	live := b.in.Live.pool(f.tenant, *p.Name)
	if !b.drains(live) {
		return
	}
	minutes, ok := b.drainWanted(l, svc, live != nil)
	switch {
	case ok:
		p.GracefulDisableTimeout = &minutes
	case live != nil && live.GracefulDisableTimeout != nil:
		p.GracefulDisableTimeout = live.GracefulDisableTimeout
	default:
		p.GracefulDisableTimeout = new(drainMinutes)
	}
}

// drainWanted is the timeout that is asked for; ok is false if none is. An annotation that can't be read changes nothing for a live pool.
func (b *builder) drainWanted(l listener, svc *corev1.Service, live bool) (minutes int32, ok bool) {
	if svc == nil {
		return 0, false
	}
	for _, annotations := range []map[string]string{svc.Annotations, b.in.Owner.Annotations()} {
		text, set := annotations[AnnotationDrainTimeout]
		if !set {
			continue
		}
		if minutes, ok := settings.ParseDrain(text); ok {
			return minutes, true
		}
		if message := fmt.Sprintf("annotation %s: %q is no number of minutes from 0 to %d, nor -1 for ever", AnnotationDrainTimeout, text, settings.DrainMax); live {
			b.report(model.Degraded, l.port, model.ReasonInvalidAnnotation, fmt.Sprintf("port %s: %s; the pool keeps what it has", l.port, message))
			return 0, false
		} else if !b.reported(l.port, model.ReasonInvalidAnnotation) {
			b.report(model.Degraded, l.port, model.ReasonInvalidAnnotation, fmt.Sprintf("port %s: %s; it counts as not set", l.port, message))
		}
	}
	if d := b.in.Settings.DrainMinutes; d != nil {
		return *d, true
	}
	return 0, false
}

// graceInSeconds is the release, and the API version, that replaced the field for it by one that only Enterprise licences have.
const graceInSeconds = "31.2.1"

// drains reports whether a pool's drain time can be said; else the Controller's is left alone: where the licence lacks the field,
// and where a newer Controller doesn't show it to the older API version that is spoken, since a value that is never seen would be
// written again and again.
func (b *builder) drains(live *models.Pool) bool {
	facts := b.in.Facts
	switch {
	case facts.APIAtLeast(graceInSeconds):
		return facts.Enterprise()
	case facts.Version != "" && facts.AtLeast(graceInSeconds):
		return live == nil || live.GracefulDisableTimeout != nil
	}
	return true
}
