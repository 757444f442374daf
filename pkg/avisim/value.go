package avisim

import (
	"encoding/json"
	"fmt"
	"slices"
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
