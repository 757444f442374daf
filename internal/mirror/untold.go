// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"slices"

	"github.com/vmware/alb-sdk/go/models"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
)

// This file tells the objects of Gateways of the Services API and of shared VIPs apart. AKO gives both the same markers, and
// only a VirtualService says which of the two it is. Since both would have one name, a tenant has one such VirtualService of a
// namespace and a name, and the other objects with the same markers are of its owner.

// twins are the kinds that have the same markers.
var twins = []model.OwnerKind{model.SvcAPIGatewayOwner, model.SharedVIPOwner}

// tell sets the owner of an object whose markers leave it open: that of the VirtualService or, while there is none, the one
// that it was known to have.
func (m *Mirror) tell(e *entry) {
	if e.Owner.Kind != model.UntoldOwner || e.Key.Kind == model.VirtualService {
		return
	}
	for _, kind := range twins {
		owner := e.Owner
		owner.Kind = kind
		for key := range m.owners[owner] {
			if key.Kind == model.VirtualService && key.Tenant == e.Key.Tenant {
				e.Observed = owned(e.Observed, owner)
				return
			}
		}
	}
	if have := m.objects[e.Key]; have != nil && have.Owner.Untold() == e.Owner {
		e.Observed = owned(e.Observed, have.Owner)
	}
}

// tellOthers gives a VirtualService's owner to what else has its markers in its tenant.
func (m *Mirror) tellOthers(owner model.Owner, tenant string) {
	if !slices.Contains(twins, owner.Kind) {
		return
	}
	for _, kind := range append([]model.OwnerKind{model.UntoldOwner}, twins...) {
		from := owner
		from.Kind = kind
		if from == owner {
			continue
		}
		for key := range m.owners[from] {
			if key.Tenant != tenant || key.Kind == model.VirtualService {
				continue
			}
			e := m.objects[key]
			m.objects[key] = &entry{owned(e.Observed, owner), e.seq}
			remove(m.owners, from, key)
			insert(m.owners, owner, key)
		}
	}
}

// owned is a copy, since what the mirror has returned is shared.
func owned(o *model.Observed, owner model.Owner) *model.Observed {
	out := *o
	out.Owner = owner
	return &out
}

// service names a Service.
type service struct{ namespace, name string }

// serviceOf is the Service that the markers of a pool of a Gateway or of a shared VIP name.
func serviceOf(o *model.Observed) (s service, ok bool) {
	pool, isPool := o.Body.(*models.Pool)
	if !isPool || o.Owner.Untold().Kind != model.UntoldOwner {
		return s, false
	}
	s = service{o.Owner.Namespace, model.Mark(pool.Markers, model.MarkServiceName)}
	return s, s.name != ""
}

// SharedVIPs are the names of the shared VIPs that have a pool of a Service, in order. One without a VirtualService isn't
// among them.
func (m *Mirror) SharedVIPs(namespace, name string) (out []string) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	for key := range m.behind[service{namespace, name}] {
		if o := m.objects[key].Owner; o.Kind == model.SharedVIPOwner && !slices.Contains(out, o.Name) {
			out = append(out, o.Name)
		}
	}
	slices.Sort(out)
	return out
}
