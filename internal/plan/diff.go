// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strconv"

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
	w, h := reflect.ValueOf(want.Body).Elem(), reflect.ValueOf(have).Elem()
	var besides []FieldChange // what is sent only if something else is
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
		if !differs && !besidesOthers(wv, hv, f) {
			continue
		}
		change := FieldChange{Field: f.name, From: value(hv), To: value(c.overlay(wv, hv, f.mode))}
		switch {
		case !differs:
			besides = append(besides, change)
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

// besidesOthers reports whether a field that makes no difference by itself is sent along with one that does.
func besidesOthers(w, h reflect.Value, f field) bool {
	switch {
	case f.mode&(aside|standing) != 0:
		return str(w) != str(h)
	case f.mode&withExtras != 0:
		return !sameSlice(w, known(w, h))
	}
	return false
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

// differ reports whether a field differs, and whether some part of the difference is fixed.
func (c comparison) differ(w, h reflect.Value, f field) (differs, stuck bool) {
	switch {
	case f.mode&ifWanted != 0 && empty(w), f.mode&aside != 0, f.mode&standing != 0 && str(h) != "":
		return false, false
	case f.mode&metadata != 0:
		return !sameMetadata(str(w), str(h)), false
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
	if f.mode&withExtras != 0 && len(takenBack(w, h)) > 0 {
		return true, false
	}
	known := c.inStep(w, h, f)
	if known == w.Len() {
		return false, false
	}
	for i, p := range c.partners(w, h, f, known) {
		if p.at < 0 {
			return true, stuck || f.mode&fixedMembers != 0
		}
		if !p.equal {
			d, s := c.differElement(w.Index(i), h.Index(p.at), f)
			differs, stuck = differs || d, stuck || s
		}
	}
	return differs, stuck
}

// inStep is how many wanted elements, from the first on, are the observed ones at their places: mostly all of them.
func (c comparison) inStep(w, h reflect.Value, f field) int {
	for i := range w.Len() {
		if d, _ := c.differElement(w.Index(i), h.Index(i), f); d {
			return i
		}
	}
	return w.Len()
}

// differElement compares two elements of the list f.
func (c comparison) differElement(w, h reflect.Value, f field) (differs, stuck bool) {
	switch {
	case w.Kind() == reflect.Pointer:
		return c.differPointer(w, h, field{})
	case f.ref:
		return !c.sameRef(w.String(), h.String()), false
	}
	return !w.Equal(h), false
}

// partner is the observed element that stands for a wanted one.
type partner struct {
	at    int  // its position, -1 for none
	equal bool // it doesn't differ
}

// partners finds the observed element that stands for each wanted one: the one at its place if that doesn't differ, else one of the same
// key where the type has a key, and of several one that doesn't differ before one that does. No element stands for two. The first ones, as
// many as are known, don't differ from those at their places.
func (c comparison) partners(w, h reflect.Value, f field, known int) []partner {
	equal := func(i, at int) bool {
		d, _ := c.differElement(w.Index(i), h.Index(at), f)
		return !d
	}
	out, taken := make([]partner, w.Len()), make([]bool, h.Len())
	var rest []int // of the wanted ones
	for i := range out {
		if i < known || i < h.Len() && equal(i, i) {
			out[i], taken[i] = partner{i, true}, true
			continue
		}
		out[i].at = -1
		rest = append(rest, i)
	}
	if len(rest) == 0 {
		return out
	}
	keys := keysOfList(w.Type())
	places := make(map[string][]int)
	for at := range h.Len() {
		if !taken[at] {
			k := keyOf(h.Index(at), keys)
			places[k] = append(places[k], at)
		}
	}
	wanted := make(map[int]string, len(rest))
	take := func(i int, fits func(at int) bool) (at int, ok bool) {
		for _, at := range places[wanted[i]] {
			if !taken[at] && fits(at) {
				taken[at] = true
				return at, true
			}
		}
		return -1, false
	}
	for _, i := range rest {
		wanted[i] = keyOf(w.Index(i), keys)
		out[i].at, out[i].equal = take(i, func(at int) bool { return equal(i, at) })
	}
	for _, i := range rest {
		if out[i].at < 0 {
			out[i].at, _ = take(i, func(int) bool { return true })
		}
	}
	return out
}

// keySize is the length of most keys: those of servers, of an address and a port.
const keySize = 48

// keyOf identifies an element; "" where nothing does.
func keyOf(v reflect.Value, keys []int) string {
	if len(keys) == 0 || v.IsNil() {
		return ""
	}
	b := make([]byte, 0, keySize)
	for _, k := range keys {
		switch part := v.Elem().Field(k); {
		case part.IsNil():
		case part.Type() == reflect.TypeFor[*models.IPAddr]():
			addr, _ := address(part)
			if ip, err := netip.ParseAddr(addr); err == nil {
				b = ip.AppendTo(b) // 2001:db8::0:1 is 2001:db8::1
			} else {
				b = append(b, addr...)
			}
		case part.Elem().Kind() == reflect.String:
			b = append(b, part.Elem().String()...)
		case part.Elem().CanInt():
			b = strconv.AppendInt(b, part.Elem().Int(), 10)
		default:
			b = fmt.Append(b, part.Elem().Interface())
		}
		b = append(b, '|')
	}
	return string(b)
}

// overlay is the wanted value with what others own inside it taken from the observed one.
func (c comparison) overlay(w, h reflect.Value, m mode) reflect.Value {
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
			merged.Elem().Field(f.index).Set(c.overlay(wf, hf, f.mode))
		}
		return merged
	case reflect.Slice:
		if w.Type().Elem().Kind() != reflect.Pointer {
			return w
		}
		out := reflect.MakeSlice(w.Type(), 0, w.Len())
		used := make(map[int]bool, w.Len())
		for i, p := range c.partners(w, h, field{}, 0) {
			e := w.Index(i)
			if p.at >= 0 {
				used[p.at] = true
				e = c.overlay(e, h.Index(p.at), owned)
			}
			out = reflect.Append(out, e)
		}
		if m&withExtras != 0 {
			gone := takenBack(w, h)
			for i := range h.Len() {
				if !used[i] && !gone[i] {
					out = reflect.Append(out, h.Index(i))
				}
			}
		}
		return out
	}
	return w
}

// takenBack finds among the observed markers, by position, those that an owner once asked for, by the index of its labels, and no longer
// asks for, and the index of what an L4Rule set where none sets anything any more.
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

// mapping are the keys of AKO's metadata by which an object is mapped back to Kubernetes.
var mapping = []string{"namespace_svc_name", "hostnames", "gateway"}

// sameMetadata reports whether AKO's metadata maps the same. Its releases write different further keys, and lists in any order.
func sameMetadata(w, h string) bool {
	if w == h {
		return true
	}
	var want, have map[string]any
	if json.Unmarshal([]byte(w), &want) != nil || json.Unmarshal([]byte(h), &have) != nil {
		return false
	}
	return !slices.ContainsFunc(mapping, func(key string) bool { return !slices.Equal(sorted(want[key]), sorted(have[key])) })
}

// sorted are the texts of a string or a list of them.
func sorted(v any) (out []string) {
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	for _, e := range list {
		if text, ok := e.(string); ok && text != "" {
			out = append(out, text)
		}
	}
	slices.Sort(out)
	return out
}

// sameRef reports whether a wanted reference, by name, and an observed one, by UUID, are to the same object.
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

// empty reports whether the JSON encoding leaves a value out: a nil pointer, an empty list.
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
