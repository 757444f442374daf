package avisim

import (
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strconv"
)

// Bodies are kept as encoding/json decodes them (maps, lists, strings, float64, bool), with one more kind of value:
// a resolved reference is a ref. Committed bodies are never written to again, so readers may share them.

// clone copies maps and lists deeply. Scalars and refs are values already.
func clone(v any) any {
	switch x := v.(type) {
	case map[string]any:
		return cloneMap(x)
	case []any:
		out := make([]any, len(x))
		for i, e := range x {
			out[i] = clone(e)
		}
		return out
	}
	return v
}

func cloneMap(m map[string]any) map[string]any {
	out := make(map[string]any, len(m)+4)
	for k, v := range m {
		out[k] = clone(v)
	}
	return out
}

// equal compares two stored values.
func equal(a, b any) bool {
	switch x := a.(type) {
	case map[string]any:
		y, ok := b.(map[string]any)
		if !ok || len(x) != len(y) {
			return false
		}
		for k, v := range x {
			w, have := y[k]
			if !have || !equal(v, w) {
				return false
			}
		}
		return true
	case []any:
		y, ok := b.([]any)
		return ok && slices.EqualFunc(x, y, equal)
	}
	switch b.(type) {
	case map[string]any, []any:
		return false
	}
	return a == b
}

// at follows keys through nested maps.
func at(m map[string]any, keys ...string) any {
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

// str is the string at the keys, or "".
func str(m map[string]any, keys ...string) string {
	s, _ := at(m, keys...).(string)
	return s
}

// integer is the number at the keys, or 0.
func integer(m map[string]any, keys ...string) int {
	f, _ := at(m, keys...).(float64)
	return int(f)
}

// boolean is the bool at the key, or the value given if there is none.
func boolean(m map[string]any, key string, otherwise bool) bool {
	if b, ok := m[key].(bool); ok {
		return b
	}
	return otherwise
}

// messages returns the messages of a list value.
func messages(v any) []map[string]any {
	l, _ := v.([]any)
	out := make([]map[string]any, 0, len(l))
	for _, e := range l {
		if m, ok := e.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// decode reads a JSON object, for bodies that come from a client or from Go.
func decode(b []byte) (map[string]any, error) {
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		return nil, err
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("body is a %T, not an object", v)
	}
	return m, nil
}

// normal turns a value made by Go code (ints, typed slices, structs) into the kinds that bodies hold.
func normal(m map[string]any) (map[string]any, error) {
	b, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	return decode(b)
}

// ref names one object: its type's path and its uuid.
type ref struct{ typ, uuid string }

// refAt is the resolved reference at the keys, or the zero ref.
func refAt(m map[string]any, keys ...string) ref {
	r, _ := at(m, keys...).(ref)
	return r
}

func (r ref) String() string { return fmt.Sprintf("/api/%s/%s", r.typ, r.uuid) }

// MarshalJSON is how a state file writes a reference; see unwrap. Answers never hold one: they are rendered.
func (r ref) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]string{"$ref": r.typ + "/" + r.uuid})
}

// references yields every reference in a value.
func references(v any) iter.Seq[ref] {
	return func(yield func(ref) bool) { walkRefs(v, yield) }
}

func walkRefs(v any, yield func(ref) bool) bool {
	switch x := v.(type) {
	case ref:
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

// ordered lists the references of a value by position, so that what is made of them does not depend on map order.
func ordered(v any) []ref {
	var out []ref
	switch x := v.(type) {
	case ref:
		out = append(out, x)
	case map[string]any:
		for _, k := range sortedKeys(x) {
			out = append(out, ordered(x[k])...)
		}
	case []any:
		for _, e := range x {
			out = append(out, ordered(e)...)
		}
	}
	return out
}

// elements returns the entries of a list, or the value itself as the only one.
func elements(v any) []any {
	if l, ok := v.([]any); ok {
		return l
	}
	return []any{v}
}

func number(x float64) string { return strconv.FormatFloat(x, 'f', -1, 64) }

func text(v any) string {
	switch x := v.(type) {
	case string:
		return x
	case bool:
		return strconv.FormatBool(x)
	case float64:
		return number(x)
	}
	return ""
}
