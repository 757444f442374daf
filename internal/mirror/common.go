// SPDX-License-Identifier: Apache-2.0

package mirror

import "github.com/avi-l4-operator/avi-l4-operator/internal/model"

// Common returns all objects that have no owner of their own; the order is undefined.
func (m *Mirror) Common() []*model.Observed {
	m.mu.RLock()
	defer m.mu.RUnlock()
	out := make([]*model.Observed, 0, len(m.common))
	for key := range m.common {
		out = append(out, m.objects[key].Observed)
	}
	return out
}

// Used returns the common objects that the given objects refer to, each once.
func (m *Mirror) Used(by []*model.Observed) (out []*model.Observed) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	for key := range m.common {
		o := m.objects[key].Observed
		for _, user := range by {
			if uses(user, o) {
				out = append(out, o)
				break
			}
		}
	}
	return out
}

// Users returns the owners of the objects that refer to a common one.
func (m *Mirror) Users(o *model.Observed) []model.Owner {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.users(o)
}

func (m *Mirror) users(o *model.Observed) (out []model.Owner) {
	seen := make(map[model.Owner]bool)
	for _, e := range m.objects {
		if !seen[e.Owner] && uses(e.Observed, o) {
			seen[e.Owner] = true
			out = append(out, e.Owner)
		}
	}
	return out
}

// uses reports whether an object refers to a common one.
func uses(user, o *model.Observed) bool {
	ref := user.Key.Kind.Type().Uses
	if ref == nil {
		return false
	}
	text := ref(user.Body)
	return text != nil && (user.Key.Tenant == o.Key.Tenant || model.ParseRef(*text).UUID != "") && model.ParseRef(*text).Names(o)
}
