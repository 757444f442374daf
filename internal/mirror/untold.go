// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"slices"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
)

// This file distinguishes the objects of Gateways of the Services API from those of shared VIPs. AKO gives both the same markers, and
// only a VirtualService says which of the two it is. Since both would have one name, a tenant has one such VirtualService of a
// namespace and a name, and the other objects with the same markers are of its owner.

// twins are the kinds that have the same markers.
var twins = []model.OwnerKind{model.SvcAPIGatewayOwner, model.SharedVIPOwner}

// assign gives an object whose markers leave its owner open the owner of the VirtualService or, while there is none, the owner that it was
// known to have.
func (m *Mirror) assign(e *entry) *entry {
	if e.head.Owner.Kind != model.UntoldOwner || e.head.Key.Kind == model.VirtualService {
		return e
	}
	for _, kind := range twins {
		owner := e.head.Owner
		owner.Kind = kind
		if m.hasVirtualService(owner, e.head.Key.Tenant) {
			return e.owned(owner)
		}
	}
	if have := m.objects[e.head.Key]; have != nil && have.head.Owner.Untold() == e.head.Owner {
		return e.owned(have.head.Owner)
	}
	return e
}

func (m *Mirror) hasVirtualService(owner model.Owner, tenant string) bool {
	return slices.ContainsFunc(m.owners[owner], func(e *entry) bool {
		return e.head.Key.Kind == model.VirtualService && e.head.Key.Tenant == tenant
	})
}

// assignOthers gives a VirtualService's owner to what else has its markers in its tenant.
func (m *Mirror) assignOthers(owner model.Owner, tenant string) {
	if !slices.Contains(twins, owner.Kind) {
		return
	}
	for _, kind := range append([]model.OwnerKind{model.UntoldOwner}, twins...) {
		from := owner
		from.Kind = kind
		if from == owner {
			continue
		}
		for _, e := range slices.Clone(m.owners[from]) {
			if e.head.Key.Tenant == tenant && e.head.Key.Kind != model.VirtualService {
				m.drop(e.head.Key)
				m.put(e.owned(owner))
			}
		}
	}
}

// service names a Service.
type service struct{ namespace, name string }

// behind is the Service that the markers of a pool of a Gateway or of a shared VIP name.
func (e *entry) behind() (s service, ok bool) {
	if e.service == "" || e.head.Owner.Untold().Kind != model.UntoldOwner {
		return s, false
	}
	return service{e.head.Owner.Namespace, e.service}, true
}

// SharedVIPs are the names of the shared VIPs that have a pool of a Service, in order. One without a VirtualService isn't
// among them.
func (m *Mirror) SharedVIPs(namespace, name string) (out []string) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	for _, e := range m.behind[service{namespace, name}] {
		if o := e.head.Owner; o.Kind == model.SharedVIPOwner && !slices.Contains(out, o.Name) {
			out = append(out, o.Name)
		}
	}
	slices.Sort(out)
	return out
}
