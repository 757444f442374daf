// SPDX-License-Identifier: Apache-2.0

package api

import (
	"net/http"
	"slices"
	"strings"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/doc"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/schema"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/world"
)

// A macro writes or deletes a whole tree of objects at once: data is the top object, and <field>_ref_data or
// <field>_refs_data in it, or in a message of it, hold objects that are created, or changed, and referred to by <field>_ref or
// <field>_refs. Evidence: documented; that the answer is the top object is unverified.

// runMacro serves /api/macro. All or nothing: an error undoes what was done.
func runMacro(c *Call) (a *Answer) {
	in, bad := parse(c.Body)
	if bad != nil {
		return bad
	}
	kind := model(doc.Str(in, "model_name"))
	data, _ := in["data"].(map[string]any)
	switch {
	case kind == nil || kind.Singleton:
		return Refused(http.StatusBadRequest, "Invalid model_name %s", doc.Str(in, "model_name"))
	case data == nil:
		return Refused(http.StatusBadRequest, "data is missing")
	}
	c.api.world.Write(func(s *world.Writer) { a = (&macro{world: s, call: c}).answer(kind, data) })
	return a
}

func (m *macro) answer(kind *world.Kind, data map[string]any) *Answer {
	method := m.call.Request.Method
	existing := m.existing(kind, data)
	switch {
	case existing == nil && method != http.MethodPost:
		return missing(kind)
	case method == http.MethodDelete:
		if err := m.remove(existing); err != nil {
			return refusal(err)
		}
		return &Answer{Status: http.StatusNoContent}
	}
	o, err := m.write(kind, data)
	if err != nil {
		m.undo(0)
		return refusal(err)
	}
	status := http.StatusOK
	if method == http.MethodPost {
		status = http.StatusCreated
	}
	return m.call.written(&m.world.Reader, status, o)
}

// model finds a type by the name of its message, or by its path.
func model(name string) *world.Kind {
	for _, kind := range world.Kinds() {
		if kind.Title == name || name != "" && kind.Path == strings.ToLower(name) {
			return kind
		}
	}
	return nil
}

// macro is one transaction.
type macro struct {
	world *world.Writer
	call  *Call
	done  []change
}

// change is a committed write: old is nil if it created the object.
type change struct{ old, now *world.Object }

// piece is an object inside of another one's data.
type piece struct {
	kind   *world.Kind
	data   map[string]any
	settle func(doc.Ref) // puts the reference where the object was
}

// write creates or changes the object with all that its data holds: what is inside comes first, and what refers by name to a
// later one of the same call is tried again after that.
func (m *macro) write(kind *world.Kind, data map[string]any) (*world.Object, *schema.Refusal) {
	waiting := m.parts(data)
	for len(waiting) > 0 {
		var again []piece
		var last *schema.Refusal
		for _, p := range waiting {
			before := len(m.done)
			o, err := m.write(p.kind, doc.CloneMap(p.data))
			switch {
			case err == nil:
				p.settle(o.Ref)
			case strings.HasSuffix(err.Text, " object not found"):
				m.undo(before)
				again, last = append(again, p), err
			default:
				return nil, err
			}
		}
		if len(again) == len(waiting) {
			return nil, last
		}
		waiting = again
	}
	if err := m.call.owns(kind); err != nil {
		return nil, err
	}
	w := world.Write{Kind: kind, At: m.call.version, Tenant: m.call.tenant, Incoming: data}
	if m.call.Request.Method == http.MethodPut {
		if w.Old = m.existing(kind, data); w.Old != nil {
			if m.call.tenant != world.AllTenants && w.Old.Tenant != m.call.tenant {
				return nil, schema.Refuse(http.StatusBadRequest, "Cannot modify %s", kind.Title)
			}
			w.Tenant = w.Old.Tenant
		}
	}
	o, err := m.world.Apply(w)
	if err == nil && o != w.Old {
		m.done = append(m.done, change{w.Old, o})
	}
	return o, err
}

// parts takes the objects out of the data, in the order of their fields.
func (m *macro) parts(data map[string]any) []piece {
	var out []piece
	for _, key := range doc.Keys(data) {
		field, ok := strings.CutSuffix(key, "_data")
		one, many := strings.HasSuffix(field, "_ref"), strings.HasSuffix(field, "_refs")
		if !ok || !one && !many {
			for _, sub := range doc.Elements(data[key]) {
				if sub, ok := sub.(map[string]any); ok {
					out = append(out, m.parts(sub)...)
				}
			}
			continue
		}
		kind := world.Guess(field)
		objects := doc.Messages(doc.Elements(data[key]))
		if kind == nil || len(objects) == 0 {
			continue
		}
		delete(data, key)
		for _, o := range objects {
			out = append(out, piece{kind, o, func(to doc.Ref) {
				if one {
					data[field] = to.String()
				} else {
					have, _ := data[field].([]any)
					data[field] = append(have, to.String())
				}
			}})
		}
	}
	return out
}

// existing finds the object that the data is about, by uuid or else by name.
func (m *macro) existing(kind *world.Kind, data map[string]any) *world.Object {
	r := world.Resolver{Store: m.world.Store, Scope: world.Scope{Tenant: m.call.tenant}}
	if id := doc.Str(data, "uuid"); id != "" {
		return r.Visible(m.world.Store.Get(doc.Ref{Type: kind.Path, UUID: id}))
	}
	return m.world.Store.Lookup(kind.Path, doc.Str(data, "name"), r.Scope)
}

// undo takes back what was done after the first so many changes, last first.
func (m *macro) undo(first int) {
	for _, d := range slices.Backward(m.done[first:]) {
		m.world.Undo(d.old, d.now)
	}
	m.done = m.done[:first]
}

// macroKeeps are the types that a macro never deletes. Evidence: documented, but for the profile of an account.
var macroKeeps = []string{"tenant", "cloud", "serviceengine", "serviceenginegroup", "network", "vrfcontext", "ipamdnsproviderprofile",
	"useraccountprofile"}

// remove deletes an object and what only it refers to, directly or through others that go with it; shipped objects and those
// of other tenants stay.
func (m *macro) remove(top *world.Object) *schema.Refusal {
	s := m.world
	if m.call.tenant != world.AllTenants && top.Tenant != m.call.tenant {
		return schema.Refuse(http.StatusBadRequest, "Cannot modify %s", top.Kind.Title)
	}
	if err := s.Remove(top); err != nil {
		return err
	}
	for _, to := range doc.RefsInOrder(top.Body) {
		o := s.Store.Get(to)
		if o == nil || o.System || o.Tenant != top.Tenant || slices.Contains(macroKeeps, o.Type) || len(s.Store.Referrers(to)) > 0 {
			continue
		}
		if err := m.remove(o); err != nil {
			return err
		}
	}
	return nil
}
