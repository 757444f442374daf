package plan

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"github.com/vmware/alb-sdk/go/models"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
)

// UUIDs finds the UUID of an object by kind, tenant and name. References are compared by UUID: the Controller returns
// them in another form than it was sent.
type UUIDs func(kind model.Kind, tenant, name string) (uuid string, ok bool)

// FieldChange is one top-level field that an update changes. To is what is sent; nil resets the field to its default.
type FieldChange struct {
	Field    string
	From, To any
}

// comparison walks a wanted and an observed body side by side.
type comparison struct {
	uuids  UUIDs
	tenant string
}

// fields compares a wanted object with an observed body of the same type and returns what to send, and what differs but can't
// be changed on a live object.
func (c comparison) fields(want *model.Object, have any) (changes, blocked []FieldChange) {
	var besides []FieldChange
	w, h := reflect.ValueOf(want.Body).Elem(), reflect.ValueOf(have).Elem()
	for _, f := range fieldsOf(w.Type()) {
		if contains(want.Keep, f.name) || f.mode&ruled != 0 && !contains(want.Ruled, f.name) {
			continue
		}
		wv, hv := w.Field(f.index), h.Field(f.index)
		if f.mode&ruled != 0 {
			wv = partly(wv)
		}
		differs, stuck := c.differ(wv, hv, f)
		if f.mode&ruled != 0 && empty(wv) {
			differs = !empty(hv) // false where the default is true, too
		}
		change := FieldChange{Field: f.name, From: value(hv), To: value(overlay(wv, hv, f.mode))}
		switch {
		case !differs && f.mode&withExtras != 0 && !sameSlice(wv, known(wv, hv)):
			besides = append(besides, change)
		case !differs:
		case stuck:
			blocked = append(blocked, change)
		default:
			changes = append(changes, change)
		}
	}
	if len(changes) > 0 {
		changes = append(changes, besides...)
	}
	return changes, blocked
}

// partly is a wanted struct of which the operator owns only a part: where none is wanted, one without that part.
func partly(w reflect.Value) reflect.Value {
	if w.Kind() != reflect.Pointer || !w.IsNil() {
		return w
	}
	if _, listed := ownership[w.Type().Elem()]; !listed {
		return w
	}
	return reflect.New(w.Type().Elem())
}

// known are wanted markers without that of the fields which an L4Rule set, where the observed object has none: objects that
// are taken over from AKO don't get it for its own sake, but only with the next change.
func known(w, h reflect.Value) reflect.Value {
	want, ok1 := w.Interface().([]*models.RoleFilterMatchLabel)
	have, ok2 := h.Interface().([]*models.RoleFilterMatchLabel)
	isRule := func(m *models.RoleFilterMatchLabel) bool { return m != nil && deref(m.Key) == model.MarkRule }
	if !ok1 || !ok2 || !slices.ContainsFunc(want, isRule) || slices.ContainsFunc(have, isRule) {
		return w
	}
	return reflect.ValueOf(slices.DeleteFunc(slices.Clone(want), isRule))
}

func sameSlice(x, y reflect.Value) bool { return x.Len() == y.Len() }

// differ tells whether a field differs, and whether some part of the difference is fixed.
func (c comparison) differ(w, h reflect.Value, f field) (differs, stuck bool) {
	if f.mode&ifWanted != 0 && empty(w) {
		return false, false
	}
	switch w.Kind() {
	case reflect.Pointer:
		differs, stuck = c.differPointer(w, h, f)
	case reflect.Slice:
		differs, stuck = c.differSlice(w, h, f)
	default:
		differs = !w.Equal(h)
	}
	return differs, stuck || differs && f.mode&fixed != 0
}

func (c comparison) differPointer(w, h reflect.Value, f field) (differs, stuck bool) {
	switch {
	case w.Type() == reflect.TypeFor[*models.IPAddr]():
		return !sameAddress(w, h), false
	case f.ref:
		return !c.sameRef(str(w), str(h)), false
	case w.Type().Elem().Kind() == reflect.Struct:
		if empty(w) || empty(h) {
			return empty(w) != empty(h), false
		}
		return c.differStruct(w.Elem(), h.Elem())
	case w.IsNil() && h.IsNil():
		return false, false
	case w.IsNil(): // unset equals the zero value that the Controller fills in
		return !h.Elem().IsZero(), false
	case h.IsNil():
		return !w.Elem().IsZero(), false
	}
	return !w.Elem().Equal(h.Elem()), false
}

func (c comparison) differStruct(w, h reflect.Value) (differs, stuck bool) {
	for _, f := range fieldsOf(w.Type()) {
		d, s := c.differ(w.Field(f.index), h.Field(f.index), f)
		differs, stuck = differs || d, stuck || s
	}
	return differs, stuck
}

func (c comparison) differSlice(w, h reflect.Value, f field) (differs, stuck bool) {
	if f.mode&withExtras != 0 {
		w = known(w, h)
	}
	if f.mode&withExtras == 0 && w.Len() != h.Len() || w.Len() > h.Len() {
		return true, f.mode&fixedMembers != 0
	}
	if f.ref {
		for i := range w.Len() {
			if !c.sameRef(w.Index(i).String(), h.Index(i).String()) {
				return true, false
			}
		}
		return false, false
	}
	if f.mode&withExtras != 0 && len(takenBack(w, h)) > 0 {
		return true, false
	}
	match := pairing(w, h)
	for i := range w.Len() {
		partner, ok := match(i)
		if !ok {
			return true, stuck || f.mode&fixedMembers != 0
		}
		we := w.Index(i)
		if we.Kind() != reflect.Pointer {
			differs = differs || !we.Equal(partner)
			continue
		}
		d, s := c.differPointer(we, partner, field{})
		differs, stuck = differs || d, stuck || s
	}
	return differs, stuck
}

// pairing finds the observed partner of each wanted element: by key where the type has one, else by position.
func pairing(w, h reflect.Value) func(i int) (reflect.Value, bool) {
	elem := w.Type().Elem()
	if elem.Kind() != reflect.Pointer || listKeys[elem.Elem()] == nil {
		return func(i int) (reflect.Value, bool) {
			if i >= h.Len() {
				return reflect.Value{}, false
			}
			return h.Index(i), true
		}
	}
	keys := keysOf(elem.Elem())
	if w.Len() <= h.Len() && sameOrder(w, h, keys) { // the usual case, without a map
		return func(i int) (reflect.Value, bool) { return h.Index(i), true }
	}
	byKey := make(map[string]reflect.Value, h.Len())
	for i := range h.Len() {
		byKey[keyOf(h.Index(i), keys)] = h.Index(i)
	}
	if len(byKey) < h.Len() { // the key isn't one after all
		return func(i int) (reflect.Value, bool) {
			if i >= h.Len() || keyOf(w.Index(i), keys) != keyOf(h.Index(i), keys) {
				return reflect.Value{}, false
			}
			return h.Index(i), true
		}
	}
	return func(i int) (reflect.Value, bool) {
		v, ok := byKey[keyOf(w.Index(i), keys)]
		return v, ok
	}
}

func sameOrder(w, h reflect.Value, keys []int) bool {
	for i := range w.Len() {
		if !sameKey(w.Index(i), h.Index(i), keys) {
			return false
		}
	}
	return true
}

func sameKey(w, h reflect.Value, keys []int) bool {
	if w.IsNil() || h.IsNil() {
		return false
	}
	for _, k := range keys {
		wv, hv := w.Elem().Field(k), h.Elem().Field(k)
		switch {
		case wv.Type() == reflect.TypeFor[*models.IPAddr]():
			if !sameAddress(wv, hv) {
				return false
			}
		case wv.IsNil() || hv.IsNil():
			return false
		case !wv.Elem().Equal(hv.Elem()):
			return false
		}
	}
	return true
}

func keyOf(v reflect.Value, keys []int) string {
	if v.IsNil() {
		return ""
	}
	var b strings.Builder
	for _, k := range keys {
		switch part := v.Elem().Field(k); {
		case part.IsNil():
		case part.Type() == reflect.TypeFor[*models.IPAddr]():
			addr, _ := address(part)
			if ip, err := netip.ParseAddr(addr); err == nil {
				addr = ip.String() // 2001:db8::0:1 is 2001:db8::1
			}
			b.WriteString(addr)
		default:
			fmt.Fprint(&b, part.Elem().Interface())
		}
		b.WriteByte('|')
	}
	return b.String()
}

// overlay is the wanted value with what others own inside it taken from the observed one.
func overlay(w, h reflect.Value, m mode) reflect.Value {
	if empty(w) || empty(h) {
		return w
	}
	switch w.Kind() {
	case reflect.Pointer:
		t := w.Type().Elem()
		if _, listed := ownership[t]; !listed {
			return w
		}
		merged := reflect.New(t)
		merged.Elem().Set(h.Elem())
		for _, f := range fieldsOf(t) {
			wf, hf := w.Elem().Field(f.index), h.Elem().Field(f.index)
			if f.mode&ifWanted != 0 && empty(wf) {
				continue
			}
			merged.Elem().Field(f.index).Set(overlay(wf, hf, f.mode))
		}
		return merged
	case reflect.Slice:
		if w.Type().Elem().Kind() != reflect.Pointer {
			return w
		}
		match := pairing(w, h)
		out := reflect.MakeSlice(w.Type(), 0, w.Len())
		for i := range w.Len() {
			e := w.Index(i)
			if partner, ok := match(i); ok {
				e = overlay(e, partner, owned)
			}
			out = reflect.Append(out, e)
		}
		if m&withExtras != 0 {
			ours, gone := pairing(h, w), takenBack(w, h)
			for i := range h.Len() {
				if _, ok := ours(i); !ok && !gone[i] {
					out = reflect.Append(out, h.Index(i))
				}
			}
		}
		return out
	}
	return w
}

// takenBack finds among the observed markers those that an owner asked for once, which the index of its labels tells, and
// doesn't any more, and the index of what an L4Rule set where none sets anything any more: by position.
func takenBack(w, h reflect.Value) map[int]bool {
	have, ok := h.Interface().([]*models.RoleFilterMatchLabel)
	if !ok {
		return nil
	}
	labels := model.MarkValues(have, model.MarkLabels)
	want, _ := w.Interface().([]*models.RoleFilterMatchLabel)
	var out map[int]bool
	for j, m := range have {
		if m == nil || deref(m.Key) != model.MarkLabels && deref(m.Key) != model.MarkRule && !slices.Contains(labels, deref(m.Key)) {
			continue
		}
		if !slices.ContainsFunc(want, func(x *models.RoleFilterMatchLabel) bool { return deref(x.Key) == deref(m.Key) }) {
			if out == nil {
				out = make(map[int]bool)
			}
			out[j] = true
		}
	}
	return out
}

// sameRef compares a wanted reference, by name, with an observed one, by UUID.
func (c comparison) sameRef(want, have string) bool {
	if want == "" || have == "" {
		return want == have
	}
	w, h := model.ParseRef(want), model.ParseRef(have)
	if w.Kind != h.Kind {
		return false
	}
	if w.UUID != "" && h.UUID != "" {
		return w.UUID == h.UUID
	}
	if w.UUID == "" && h.UUID != "" && c.uuids != nil {
		if uuid, ok := c.uuids(w.Kind, c.tenant, w.Name); ok {
			return uuid == h.UUID
		}
	}
	return w.Name != "" && w.Name == h.Name
}

func sameAddress(w, h reflect.Value) bool {
	wa, wok := address(w)
	ha, hok := address(h)
	if wa == ha && wok == hok {
		return true
	}
	x, errX := netip.ParseAddr(wa)
	y, errY := netip.ParseAddr(ha)
	return errX == nil && errY == nil && x == y
}

func address(v reflect.Value) (string, bool) {
	ip, ok := v.Interface().(*models.IPAddr)
	if !ok || ip == nil || ip.Addr == nil {
		return "", false
	}
	return *ip.Addr, true
}

func str(v reflect.Value) string {
	if v.IsNil() {
		return ""
	}
	return v.Elem().String()
}

// empty is what the JSON encoding leaves out: a nil pointer, an empty list.
func empty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Pointer:
		return v.IsNil()
	case reflect.Slice:
		return v.Len() == 0
	}
	return v.IsZero()
}

// value is a field's value as it is sent: nil for none, and for a struct in which nothing is set, which the API doesn't take.
func value(v reflect.Value) any {
	if empty(v) || v.Kind() == reflect.Pointer && v.Type().Elem().Kind() == reflect.Struct && v.Elem().IsZero() {
		return nil
	}
	return v.Interface()
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}
