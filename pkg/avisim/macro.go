package avisim

import (
	"net/http"
	"slices"
	"strings"
)

// A macro writes or deletes a whole tree of objects at once: data is the top object, and <field>_ref_data or
// <field>_refs_data in it, or in a message of it, hold objects that are created, or changed, and referred to by <field>_ref or
// <field>_refs. Evidence: documented; that the answer is the top object is unverified.

// macro serves /api/macro. All or nothing: an error undoes what was done.
func (s *Server) macro(c *call) *answer {
	in, bad := parse(c.body)
	if bad != nil {
		return bad
	}
	kind := s.model(str(in, "model_name"))
	data, _ := in["data"].(map[string]any)
	switch {
	case kind == nil || kind.singleton:
		return refuse(http.StatusBadRequest, "Invalid model_name %s", str(in, "model_name")).answer()
	case data == nil:
		return refuse(http.StatusBadRequest, "data is missing").answer()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m := &macro{server: s, call: c}
	if c.r.Method == http.MethodDelete {
		o := m.existing(kind, data)
		if o == nil {
			return missing(kind)
		}
		if err := m.remove(o); err != nil {
			return err.answer()
		}
		return &answer{status: http.StatusNoContent}
	}
	if c.r.Method == http.MethodPut && m.existing(kind, data) == nil {
		return missing(kind)
	}
	o, err := m.write(kind, data)
	if err != nil {
		m.undo(0)
		return err.answer()
	}
	status := http.StatusOK
	if c.r.Method == http.MethodPost {
		status = http.StatusCreated
	}
	return s.written(c, status, o)
}

// model finds a type by the name of its message, or by its path.
func (s *Server) model(name string) *objectType {
	for _, sh := range s.store.shelves {
		if sh.kind.title == name || name != "" && sh.kind.path == strings.ToLower(name) {
			return sh.kind
		}
	}
	return nil
}

// macro is one transaction.
type macro struct {
	server *Server
	call   *call
	done   []change
}

// change is a committed write: old is nil if it created the object.
type change struct{ old, now *object }

// part is an object inside of another one's data.
type part struct {
	kind   *objectType
	data   map[string]any
	settle func(ref) // puts the reference where the object was
}

// write creates or changes the object with all that its data holds: what is inside comes first, and what refers by name to a
// later one of the same call is tried again after that.
func (m *macro) write(kind *objectType, data map[string]any) (*object, *apiError) {
	waiting := m.parts(data)
	for len(waiting) > 0 {
		var again []part
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
	w := &write{server: m.server, store: m.server.store, kind: kind, at: m.call.version, tenant: m.call.tenant, incoming: data}
	if m.call.r.Method == http.MethodPut {
		if w.old = m.existing(kind, data); w.old != nil {
			if m.call.tenant != allTenants && w.old.tenant != m.call.tenant {
				return nil, refuse(http.StatusBadRequest, "Cannot modify %s", kind.title)
			}
			w.tenant = w.old.tenant
		}
	}
	o, err := w.run()
	if err == nil && o != w.old {
		m.done = append(m.done, change{w.old, o})
	}
	return o, err
}

// parts takes the objects out of the data, in the order of their fields.
func (m *macro) parts(data map[string]any) []part {
	var out []part
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
		kind := m.server.store.shelves[resolver{store: m.server.store}.guess(field)]
		objects := messages(elements(data[key]))
		if kind == nil || len(objects) == 0 {
			continue
		}
		delete(data, key)
		for _, o := range objects {
			out = append(out, part{kind.kind, o, func(to ref) {
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
func (m *macro) existing(kind *objectType, data map[string]any) *object {
	r := resolver{store: m.server.store, scope: scope{tenant: m.call.tenant}}
	if id := str(data, "uuid"); id != "" {
		return r.visible(m.server.store.get(ref{kind.path, id}))
	}
	return m.server.store.lookup(kind.path, str(data, "name"), r.scope)
}

// undo takes back what was done after the first so many changes, last first.
func (m *macro) undo(first int) {
	for _, d := range slices.Backward(m.done[first:]) {
		if d.old == nil {
			// Nothing refers to it any more; a cloud takes what was made for it along.
			_ = m.server.remove(d.now)
			continue
		}
		m.server.store.put(d.old)
	}
	m.done = m.done[:first]
}

// macroKeeps are the types that a macro never deletes. Evidence: documented, but for the profile of an account.
var macroKeeps = []string{"tenant", "cloud", "serviceengine", "serviceenginegroup", "network", "vrfcontext", "ipamdnsproviderprofile", "useraccountprofile"}

// remove deletes an object and what only it refers to, directly or through others that go with it; shipped objects and those
// of other tenants stay.
func (m *macro) remove(top *object) *apiError {
	s := m.server
	if m.call.tenant != allTenants && top.tenant != m.call.tenant {
		return refuse(http.StatusBadRequest, "Cannot modify %s", top.kind.title)
	}
	if err := s.remove(top); err != nil {
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
