package avisim

import (
	"net/http"
	"slices"
	"strings"
)

// A macro writes or deletes a whole tree of objects at once: data is the top object, and <field>_ref_data or
// <field>_refs_data in it, or in a message of it, hold objects that are created, or changed, and referred to by <field>_ref or
// <field>_refs. Evidence: documented; that the answer is the top object is unverified.

// runMacro serves /api/macro. All or nothing: an error undoes what was done.
func runMacro(c *call) (a *answer) {
	in, bad := parse(c.body)
	if bad != nil {
		return bad
	}
	kind := model(str(in, "model_name"))
	data, _ := in["data"].(map[string]any)
	switch {
	case kind == nil || kind.singleton:
		return refused(http.StatusBadRequest, "Invalid model_name %s", str(in, "model_name"))
	case data == nil:
		return refused(http.StatusBadRequest, "data is missing")
	}
	c.api.world.Write(func(s *Writer) { a = (&macro{world: s, call: c}).answer(kind, data) })
	return a
}

func (m *macro) answer(kind *Kind, data map[string]any) *answer {
	method := m.call.r.Method
	existing := m.existing(kind, data)
	switch {
	case existing == nil && method != http.MethodPost:
		return missing(kind)
	case method == http.MethodDelete:
		if err := m.remove(existing); err != nil {
			return refusal(err)
		}
		return &answer{status: http.StatusNoContent}
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
func model(name string) *Kind {
	for _, kind := range kinds() {
		if kind.title == name || name != "" && kind.path == strings.ToLower(name) {
			return kind
		}
	}
	return nil
}

// macro is one transaction.
type macro struct {
	world *Writer
	call  *call
	done  []change
}

// change is a committed write: old is nil if it created the object.
type change struct{ old, now *object }

// piece is an object inside of another one's data.
type piece struct {
	kind   *Kind
	data   map[string]any
	settle func(ref) // puts the reference where the object was
}

// write creates or changes the object with all that its data holds: what is inside comes first, and what refers by name to a
// later one of the same call is tried again after that.
func (m *macro) write(kind *Kind, data map[string]any) (*object, *apiError) {
	waiting := m.parts(data)
	for len(waiting) > 0 {
		var again []piece
		var last *apiError
		for _, p := range waiting {
			before := len(m.done)
			o, err := m.write(p.kind, cloneMap(p.data))
			switch {
			case err == nil:
				p.settle(o.ref)
			case strings.HasSuffix(err.text, " object not found"):
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
	w := Write{Kind: kind, At: m.call.version, Tenant: m.call.tenant, Incoming: data}
	if m.call.r.Method == http.MethodPut {
		if w.Old = m.existing(kind, data); w.Old != nil {
			if m.call.tenant != allTenants && w.Old.tenant != m.call.tenant {
				return nil, refuse(http.StatusBadRequest, "Cannot modify %s", kind.title)
			}
			w.Tenant = w.Old.tenant
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
	for _, key := range sortedKeys(data) {
		field, ok := strings.CutSuffix(key, "_data")
		one, many := strings.HasSuffix(field, "_ref"), strings.HasSuffix(field, "_refs")
		if !ok || !one && !many {
			for _, sub := range elements(data[key]) {
				if sub, ok := sub.(map[string]any); ok {
					out = append(out, m.parts(sub)...)
				}
			}
			continue
		}
		kind := guess(field)
		objects := messages(elements(data[key]))
		if kind == nil || len(objects) == 0 {
			continue
		}
		delete(data, key)
		for _, o := range objects {
			out = append(out, piece{kind, o, func(to ref) {
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
func (m *macro) existing(kind *Kind, data map[string]any) *object {
	r := resolver{store: m.world.store, scope: scope{tenant: m.call.tenant}}
	if id := str(data, "uuid"); id != "" {
		return r.visible(m.world.store.get(ref{kind.path, id}))
	}
	return m.world.store.lookup(kind.path, str(data, "name"), r.scope)
}

// undo takes back what was done after the first so many changes, last first.
func (m *macro) undo(first int) {
	for _, d := range slices.Backward(m.done[first:]) {
		m.world.Undo(d.old, d.now)
	}
	m.done = m.done[:first]
}

// macroKeeps are the types that a macro never deletes. Evidence: documented, but for the profile of an account.
var macroKeeps = []string{"tenant", "cloud", "serviceengine", "serviceenginegroup", "network", "vrfcontext", "ipamdnsproviderprofile", "useraccountprofile"}

// remove deletes an object and what only it refers to, directly or through others that go with it; shipped objects and those
// of other tenants stay.
func (m *macro) remove(top *object) *apiError {
	s := m.world
	if m.call.tenant != allTenants && top.tenant != m.call.tenant {
		return refuse(http.StatusBadRequest, "Cannot modify %s", top.kind.title)
	}
	if err := s.Remove(top); err != nil {
		return err
	}
	for _, to := range ordered(top.body) {
		o := s.store.get(to)
		if o == nil || o.system || o.tenant != top.tenant || slices.Contains(macroKeeps, o.typ) || len(s.store.referrers(to)) > 0 {
			continue
		}
		if err := m.remove(o); err != nil {
			return err
		}
	}
	return nil
}
