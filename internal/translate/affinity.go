// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/vmware/alb-sdk/go/models"
	corev1 "k8s.io/api/core/v1"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
)

// affinityMinutesMax is the schema's limit of a client-IP persistence profile's timeout.
const affinityMinutesMax = 720

// affinity is how long, in minutes, a Service wants its clients to come back to the endpoint that they were at; 0 if it
// doesn't care. seconds is what the Service says, and differs where the Controller can't do that.
func affinity(svc *corev1.Service) (minutes int32, seconds int64) {
	if svc.Spec.SessionAffinity != corev1.ServiceAffinityClientIP {
		return 0, 0
	}
	seconds = int64(corev1.DefaultClientIPServiceAffinitySeconds)
	if c := svc.Spec.SessionAffinityConfig; c != nil && c.ClientIP != nil {
		seconds = int64(deref(c.ClientIP.TimeoutSeconds, corev1.DefaultClientIPServiceAffinitySeconds))
	}
	return int32(min(max((seconds+59)/60, 1), affinityMinutesMax)), seconds
}

// profilePrefix is what the names of persistence profiles begin with, before the minutes. They are of no single owner.
func (b *builder) profilePrefix() string { return b.in.Settings.Prefix() + "client-ip-" }

// persistenceField is the pool's reference to its persistence profile.
const persistenceField = "application_persistence_profile_ref"

// persistence has a target's pool refer to its persistence profile. A profile that an L4Rule or the network team has given it
// stays: it may be there for a reason that a Service can't know.
func (b *builder) persistence(o *model.Object, f frontend, t target) {
	p, ok := o.Body.(*models.Pool)
	if !ok {
		return
	}
	svc := t.backend.Service
	minutes, seconds := affinity(svc)
	live, ours := b.livePersistence(o, f, t)
	name := b.profilePrefix() + strconv.Itoa(int(minutes))
	refusal, refused := b.in.Refused[name]
	not := func(reason, why string) {
		b.report(model.Degraded, t.port, reason, fmt.Sprintf("port %s: spec.sessionAffinity ClientIP of Service %s is not applied: %s", t.port, svc.Name, why))
	}
	switch {
	case p.ApplicationPersistenceProfileRef != nil && minutes > 0:
		not(model.ReasonPersistenceTaken, fmt.Sprintf("L4Rule %s names the persistence profile %s", t.backend.Rule.Name, b.refText(p.ApplicationPersistenceProfileRef)))
		return
	case p.ApplicationPersistenceProfileRef != nil:
		return
	case minutes == 0 && ours:
		o.Ruled = append(o.Ruled, persistenceField)
		return
	case minutes == 0:
		p.ApplicationPersistenceProfileRef = again(live)
		return
	case live != nil && !ours:
		not(model.ReasonPersistenceTaken, fmt.Sprintf("its pool has the persistence profile %s already, which isn't the operator's; take that off the pool on the Controller if the Service is to decide", b.refText(live)))
		p.ApplicationPersistenceProfileRef = again(live)
		return
	case refused:
		not(refusal.Reason, refusal.Message)
		p.ApplicationPersistenceProfileRef = again(live)
		return
	case seconds > affinityMinutesMax*60:
		b.report(model.Degraded, t.port, model.ReasonAffinityLimited, fmt.Sprintf("port %s: sessionAffinityConfig of Service %s asks for %d s, the Controller remembers a client for %d minutes at most, and does that", t.port, svc.Name, seconds, affinityMinutesMax))
	case seconds != int64(minutes)*60:
		b.report(model.Note, t.port, model.ReasonAffinityLimited, fmt.Sprintf("port %s: sessionAffinityConfig of Service %s asks for %d s, the Controller counts in minutes: it is %d min", t.port, svc.Name, seconds, minutes))
	}
	p.ApplicationPersistenceProfileRef = new(model.RefByName(model.PersistenceProfile, name))
	o.Ruled = append(o.Ruled, persistenceField)
}

// livePersistence is what the pool refers to now, and whether that is a profile of ours. What an L4Rule set that no longer does
// is nothing.
func (b *builder) livePersistence(o *model.Object, f frontend, t target) (ref *string, ours bool) {
	body := b.in.Live.pool(f.tenant, t.pool)
	if body == nil || body.ApplicationPersistenceProfileRef == nil || slices.Contains(o.Ruled, persistenceField) {
		return nil, false
	}
	ref = body.ApplicationPersistenceProfileRef
	return ref, slices.ContainsFunc(b.in.Live.profiles, func(p *model.Observed) bool { return refersTo(ref, p) })
}

// profiles are the persistence profiles of ours that the pools among the objects refer to, by name.
func (b *builder) profiles(f frontend, objects []model.Object) (out []model.Object) {
	seen := make(map[string]bool)
	for _, o := range objects {
		body, ok := o.Body.(*models.Pool)
		if !ok || body.ApplicationPersistenceProfileRef == nil {
			continue
		}
		ref := body.ApplicationPersistenceProfileRef
		name := model.ParseRef(*ref).Name
		if i := slices.IndexFunc(b.in.Live.profiles, func(p *model.Observed) bool { return refersTo(ref, p) }); i >= 0 {
			name = b.in.Live.profiles[i].Key.Name
		}
		minutes, err := strconv.ParseInt(strings.TrimPrefix(name, b.profilePrefix()), 10, 32)
		if err != nil || !strings.HasPrefix(name, b.profilePrefix()) || seen[name] {
			continue
		}
		seen[name] = true
		out = append(out, b.object(f, model.PersistenceProfile, name, b.profile(f, name, int32(minutes))))
	}
	slices.SortFunc(out, func(x, y model.Object) int { return cmp.Compare(x.Key.Name, y.Key.Name) })
	return out
}

// profile is one of a timeout. The type is that for IPv4 and IPv6 clients alike; the one for IPv6 is the Controller's own.
func (b *builder) profile(f frontend, name string, minutes int32) *models.ApplicationPersistenceProfile {
	return &models.ApplicationPersistenceProfile{
		Name:                 &name,
		TenantRef:            new(model.RefByName(model.Tenant, f.tenant)),
		Markers:              model.Markers(b.in.Settings.ClusterName),
		PersistenceType:      new("PERSISTENCE_TYPE_CLIENT_IP_ADDRESS"),
		IPPersistenceProfile: &models.IPPersistenceProfile{IPPersistentTimeout: &minutes},
	}
}

// reportShares says so where several Services share a listener: a client comes back to the same endpoint of a Service, and
// not to the same Service.
func (b *builder) reportShares(l listener) {
	sticky := func(t target) bool { minutes, _ := affinity(t.backend.Service); return minutes > 0 }
	if len(l.targets) > 1 && slices.ContainsFunc(l.targets, sticky) {
		b.report(model.Note, l.port, model.ReasonAffinityLimited, fmt.Sprintf("port %s: several Services share its connections by weight, so spec.sessionAffinity ClientIP holds within each of them only", l.port))
	}
}
