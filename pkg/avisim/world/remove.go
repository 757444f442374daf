// SPDX-License-Identifier: Apache-2.0

package world

import (
	"cmp"
	"slices"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/schema"
)

// Remove deletes an object unless something refers to it. Evidence: text and 403 are documented, the status of the
// system default's text is not.
func (s *Writer) Remove(o *Object) *schema.Refusal {
	if o.System {
		return schema.Refuse(schema.StatusForbidden, "Cannot delete system default object")
	}
	parts := s.parts(o) // what the server made for the object and takes away with it
	var users []*Object
	for _, x := range append(parts, o) {
		for _, r := range s.Store.Referrers(x.Ref) {
			if r != o && !slices.Contains(parts, r) && !slices.Contains(users, r) {
				users = append(users, r)
			}
		}
	}
	slices.SortFunc(users, func(a, b *Object) int { return cmp.Compare(a.Seq, b.Seq) })
	var by []string
	for _, r := range users {
		by = append(by, r.Kind.Title+" "+r.Name)
	}
	if len(by) > 0 {
		status := schema.StatusForbidden
		if o.Type == "cloud" { // documented by an issue
			status = schema.StatusBadRequest
		}
		return schema.Refuse(status, "Cannot delete, object is referred by: %s", Quote(by))
	}
	for _, p := range append(parts, o) {
		s.Store.drop(p)
	}
	return nil
}

// parts are the objects that the server made for a cloud or a service engine group, with their own.
func (s *Reader) parts(of *Object) []*Object {
	made := map[string][]string{"cloud": {"vrfcontext", "serviceenginegroup", "serviceengine"},
		"serviceenginegroup": {"serviceengine"}}[of.Type]
	if made == nil {
		return nil
	}
	var out []*Object
	for _, r := range s.Store.Referrers(of.Ref) {
		if r.System && slices.Contains(made, r.Type) {
			out = append(out, r)
		}
	}
	return out
}
