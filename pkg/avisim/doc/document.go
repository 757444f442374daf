// SPDX-License-Identifier: Apache-2.0

// Package doc holds documents: the bodies of objects, as encoding/json decodes them (maps, lists, strings, float64, bool), with one more
// kind of value: a resolved reference is a Ref. Bodies of stored objects are never written to again, so readers may share them.
package doc

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
)

// Clone copies maps and lists deeply. Scalars and refs are values already.
func Clone(v any) any {
	switch x := v.(type) {
	case map[string]any:
		return CloneMap(x)
	case []any:
		out := make([]any, len(x))
		for i, e := range x {
			out[i] = Clone(e)
		}
		return out
	}
	return v
}

// CloneMap is Clone for a map.
func CloneMap(m map[string]any) map[string]any {
	out := make(map[string]any, len(m)+4)
	for k, v := range m {
		out[k] = Clone(v)
	}
	return out
}

// Equal reports whether two stored values are the same.
func Equal(a, b any) bool {
	switch x := a.(type) {
	case map[string]any:
		y, ok := b.(map[string]any)
		if !ok || len(x) != len(y) {
			return false
		}
		for k, v := range x {
			w, have := y[k]
			if !have || !Equal(v, w) {
				return false
			}
		}
		return true
	case []any:
		y, ok := b.([]any)
		return ok && slices.EqualFunc(x, y, Equal)
	}
	switch b.(type) {
	case map[string]any, []any:
		return false
	}
	return a == b
}

// At follows keys through nested maps.
func At(m map[string]any, keys ...string) any {
	var v any = m
	for _, k := range keys {
		b, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = b[k]
	}
	return v
}

// Str is the string at the keys, or "".
func Str(m map[string]any, keys ...string) string {
	s, _ := At(m, keys...).(string)
	return s
}

// Int is the number at the keys, or 0.
func Int(m map[string]any, keys ...string) int {
	f, _ := At(m, keys...).(float64)
	return int(f)
}

// Bool is the bool at the key, or the value given if there is none.
func Bool(m map[string]any, key string, otherwise bool) bool {
	if b, ok := m[key].(bool); ok {
		return b
	}
	return otherwise
}

// Messages returns the messages of a list value.
func Messages(v any) []map[string]any {
	l, _ := v.([]any)
	out := make([]map[string]any, 0, len(l))
	for _, e := range l {
		if m, ok := e.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}

// Keys returns the keys of a map in order.
func Keys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// Decode reads a JSON object, for bodies that come from a client or from Go.
func Decode(b []byte) (map[string]any, error) {
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		return nil, err
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("the body is no object")
	}
	return m, nil
}

// Normal turns a value made by Go code (ints, typed slices, structs) into the kinds that bodies hold.
func Normal(m map[string]any) (map[string]any, error) {
	b, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	return Decode(b)
}

// Ref names one object: its type's path and its uuid.
type Ref struct{ Type, UUID string }

// RefAt is the resolved reference at the keys, or the zero ref.
func RefAt(m map[string]any, keys ...string) Ref {
	r, _ := At(m, keys...).(Ref)
	return r
}

func (r Ref) String() string { return fmt.Sprintf("/api/%s/%s", r.Type, r.UUID) }

// MarshalJSON is how a state file writes a reference; see unwrap. Answers never hold one: they are rendered.
func (r Ref) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]string{"$ref": r.Type + "/" + r.UUID})
}

// References yields every reference in a value.
func References(v any) iter.Seq[Ref] {
	return func(yield func(Ref) bool) { walkRefs(v, yield) }
}

func walkRefs(v any, yield func(Ref) bool) bool {
	switch x := v.(type) {
	case Ref:
		return yield(x)
	case map[string]any:
		for _, e := range x {
			if !walkRefs(e, yield) {
				return false
			}
		}
	case []any:
		for _, e := range x {
			if !walkRefs(e, yield) {
				return false
			}
		}
	}
	return true
}

// RefsInOrder lists the references of a value by position, so that what is made of them does not depend on map order.
func RefsInOrder(v any) []Ref {
	var out []Ref
	switch x := v.(type) {
	case Ref:
		out = append(out, x)
	case map[string]any:
		for _, k := range Keys(x) {
			out = append(out, RefsInOrder(x[k])...)
		}
	case []any:
		for _, e := range x {
			out = append(out, RefsInOrder(e)...)
		}
	}
	return out
}

// Elements returns the entries of a list, or the value itself as the only one.
func Elements(v any) []any {
	if l, ok := v.([]any); ok {
		return l
	}
	return []any{v}
}

// FormatNumber is a number as JSON writes it, without an exponent.
func FormatNumber(x float64) string { return strconv.FormatFloat(x, 'f', -1, 64) }

// Text is a scalar as text, "" for any other value.
func Text(v any) string {
	switch x := v.(type) {
	case string:
		return x
	case bool:
		return strconv.FormatBool(x)
	case float64:
		return FormatNumber(x)
	}
	return ""
}
