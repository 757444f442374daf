// SPDX-License-Identifier: Apache-2.0

package world

import (
	"slices"
	"strconv"
	"strings"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/doc"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/schema"
)

// jsonPatch applies one operation in the manner of RFC 6902. Evidence: a documented sample adds a list value at a list's
// path, which appends its entries, and replaces and removes at an index; "-" is unverified, other operations are refused.
func jsonPatch(into map[string]any, op map[string]any) *schema.Refusal {
	path := strings.Split(strings.TrimPrefix(doc.Str(op, "path"), "/"), "/")
	for i, p := range path {
		path[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(p)
	}
	e := edit{verb: doc.Str(op, "op"), value: op["value"]}
	if e.value != nil {
		e.value = doc.Clone(e.value)
	}
	var v any = into
	var set func(any) // stores a changed list back into its holder
	done := false
	for i, p := range path {
		last := i == len(path)-1
		switch x := v.(type) {
		case map[string]any:
			if last {
				done = e.inMap(x, p)
				break
			}
			v, set = x[p], func(to any) { x[p] = to }
		case []any:
			n, ok := e.index(x, p, last)
			switch {
			case ok && last:
				done = e.inList(x, n, set)
			case ok:
				v, set = x[n], func(to any) { x[n] = to }
			default:
				v = nil
			}
		default:
			v = nil
		}
	}
	if !done {
		return schema.Refuse(schema.StatusBadRequest, "Invalid json_patch operation %s at %s", e.verb, doc.Str(op, "path"))
	}
	return nil
}

// edit is an operation of json_patch. Its methods report whether it can be done.
type edit struct {
	verb  string
	value any
}

func (e edit) inMap(m map[string]any, key string) bool {
	switch e.verb {
	case "add":
		have, isList := m[key].([]any)
		more, areMany := e.value.([]any)
		if isList && areMany {
			m[key] = append(have, more...)
			return true
		}
		m[key] = e.value
	case "replace":
		m[key] = e.value
	case "remove":
		delete(m, key)
	default:
		return false
	}
	return true
}

// index is the position that a part of a path names in a list; at the end of the path, add may name the one behind the last.
func (e edit) index(l []any, part string, last bool) (int, bool) {
	n, err := strconv.Atoi(part)
	if part == "-" && last {
		n, err = len(l), nil
	}
	most := len(l) - 1
	if last && e.verb == "add" {
		most = len(l)
	}
	return n, err == nil && 0 <= n && n <= most
}

func (e edit) inList(l []any, n int, set func(any)) bool {
	switch e.verb {
	case "add":
		set(slices.Insert(l, n, e.value))
	case "replace":
		l[n] = e.value
	case "remove":
		set(slices.Delete(l, n, n+1))
	default:
		return false
	}
	return true
}
