// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"slices"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
)

// Common returns all objects that have no owner of their own; the order is undefined.
func (m *Mirror) Common() []*model.Observed {
	m.mu.RLock()
	defer m.mu.RUnlock()
	out := make([]*model.Observed, 0, len(m.common[true]))
	for _, e := range m.common[true] {
		out = append(out, e.observed())
	}
	return out
}

// Used returns the common objects that the given objects refer to, each once.
func (m *Mirror) Used(by []*model.Observed) (out []*model.Observed) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	for _, e := range m.common[true] {
		if slices.ContainsFunc(by, func(user *model.Observed) bool { return uses(user, &e.head) }) {
			out = append(out, e.observed())
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
		if !seen[e.head.Owner] && refers(e.uses, e.head.Key, o) {
			seen[e.head.Owner] = true
			out = append(out, e.head.Owner)
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
	return text != nil && refers(*text, user.Key, o)
}

// refers reports whether a reference in an object is to a common one.
func refers(text string, in model.Key, o *model.Observed) bool {
	return text != "" && (in.Tenant == o.Key.Tenant || model.ParseRef(text).UUID != "") && model.ParseRef(text).Names(o)
}
