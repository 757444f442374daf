// SPDX-License-Identifier: Apache-2.0

package world

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"unicode/utf8"
)

const (
	fieldLimit = 10 // of one change
	valueLimit = 60 // bytes of a value
)

// differences lists the fields that differ, by path.
func differences(old, next map[string]any) []string {
	var out []string
	compare("", old, next, func(path string, a, b any) {
		switch {
		case path == "_last_modified", path == "configpb_attributes.version", len(out) > fieldLimit:
		case len(out) == fieldLimit:
			out = append(out, "…")
		default:
			out = append(out, fmt.Sprintf("%s: %s → %s", path, valueText(a), valueText(b)))
		}
	})
	return out
}

// compare calls differ for each innermost value that isn't the same in both; nil stands for one that isn't there.
func compare(path string, a, b any, differ func(path string, a, b any)) {
	if reflect.DeepEqual(a, b) {
		return
	}
	mapA, okA := a.(map[string]any)
	mapB, okB := b.(map[string]any)
	if okA && okB {
		keys := make(map[string]any, len(mapB))
		maps.Copy(keys, mapA)
		maps.Copy(keys, mapB)
		for _, k := range slices.Sorted(maps.Keys(keys)) {
			inner := k
			if path != "" {
				inner = path + "." + k
			}
			compare(inner, mapA[k], mapB[k], differ)
		}
		return
	}
	listA, okA := a.([]any)
	listB, okB := b.([]any)
	if okA && okB {
		for i := range max(len(listA), len(listB)) {
			compare(fmt.Sprintf("%s[%d]", path, i), at(listA, i), at(listB, i), differ)
		}
		return
	}
	differ(path, a, b)
}

func at(list []any, i int) any {
	if i < len(list) {
		return list[i]
	}
	return nil
}

func valueText(v any) string {
	if v == nil {
		return "(none)"
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return fmt.Sprint(v)
	}
	text := bytes.TrimSpace(b.Bytes())
	if len(text) <= valueLimit {
		return string(text)
	}
	cut := text[:valueLimit]
	for !utf8.Valid(cut) {
		cut = cut[:len(cut)-1]
	}
	return string(cut) + "…"
}

// Changes returns the last changes, at most limit of them, whose IDs are above one, oldest first.
func (s *Reader) Changes(after int64, limit int) []Change {
	i, _ := slices.BinarySearchFunc(s.changes, after+1, func(c Change, id int64) int { return cmp.Compare(c.ID, id) })
	out := append([]Change{}, s.changes[max(i, len(s.changes)-limit):]...)
	for i := range out {
		if c := &out[i]; c.old != nil && c.new != nil {
			c.Fields = differences(c.old.Body, c.new.Body)
		}
		out[i].old, out[i].new = nil, nil
	}
	return out
}

// LastChange is the ID of the last change.
func (s *Reader) LastChange() int64 { return s.changeID }
