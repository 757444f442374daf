// SPDX-License-Identifier: Apache-2.0

package world

import (
	"slices"
	"strconv"
	"strings"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/doc"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/schema"
)

// patchVerbs are applied in this order if a body has several. Evidence: the verbs are documented, the order is not.
var patchVerbs = []string{"delete", "replace", "add"}

// applyPatch applies the verbs to w.body. Evidence: documented ("API - HTTP PATCH Support"): for scalars add is replace and
// delete resets to the default; for lists add appends, and merges entries that have a key, replace replaces, delete
// removes the entries named. Which fields are an entry's key is unverified (listKey).
func (w *write) applyPatch() *schema.Refusal {
	if len(w.Patch) == 0 {
		return schema.Refuse(schema.StatusBadRequest, "Patch data must have one of add, replace, delete or json_patch")
	}
	for verb, v := range w.Patch {
		if verb == "json_patch" {
			continue
		}
		if _, ok := v.(map[string]any); !ok || !slices.Contains(patchVerbs, verb) {
			return schema.Refuse(schema.StatusBadRequest, "Invalid patch operation %s", verb)
		}
	}
	for _, verb := range patchVerbs {
		part, _ := w.Patch[verb].(map[string]any)
		for _, name := range doc.Keys(part) {
			if err := w.applyField(verb, name, doc.Clone(part[name])); err != nil {
				return err
			}
		}
	}
	if ops, ok := w.Patch["json_patch"]; ok {
		l, ok := ops.([]any)
		if !ok {
			return schema.Refuse(schema.StatusBadRequest, "json_patch must be a list")
		}
		for _, op := range doc.Messages(l) {
			if err := jsonPatch(w.body, op); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *write) applyField(verb, name string, v any) *schema.Refusal {
	entries, isList := v.([]any)
	if verb == "replace" || !isList {
		if verb == "delete" {
			delete(w.body, name)
		} else {
			w.body[name] = v // an empty list or a null is dropped when the document is conformed
		}
		return nil
	}
	// Entries are compared with stored ones, so they have to look like stored ones first.
	part := map[string]any{name: entries}
	m := w.Kind.Message()
	if m != nil {
		if err := m.Conform(part, w.breaks); err != nil {
			return err
		}
	}
	r := Resolver{Store: w.store, Scope: Scope{w.Old.Tenant, w.Old.Cloud}}
	if err := r.message(m, part); err != nil {
		return err
	}
	entries, _ = part[name].([]any)
	have, _ := w.body[name].([]any)
	for _, e := range entries {
		if verb == "delete" {
			have = slices.DeleteFunc(have, func(x any) bool { return named(name, e, x) })
		} else {
			have = merge(name, have, e)
		}
	}
	w.body[name] = have
	return nil
}

// patchParts returns what a PATCH sets, as bodies: one for each verb, and one for each operation of json_patch.
func (w *write) patchParts() []map[string]any {
	var parts []map[string]any
	for _, verb := range patchVerbs {
		if p, ok := w.Patch[verb].(map[string]any); ok {
			parts = append(parts, p)
		}
	}
	for _, op := range doc.Messages(w.Patch["json_patch"]) {
		path := strings.Split(strings.TrimPrefix(doc.Str(op, "path"), "/"), "/")
		v := op["value"]
		for _, p := range slices.Backward(path) {
			if _, err := strconv.Atoi(p); err == nil || p == "-" {
				v = []any{v}
			} else {
				v = map[string]any{p: v}
			}
		}
		if p, ok := v.(map[string]any); ok {
			parts = append(parts, p)
		}
	}
	return parts
}

// named reports whether a patch entry names a stored one: by those of its key fields that it has, or as a whole if it has none.
func named(list string, e, x any) bool {
	em, ok1 := e.(map[string]any)
	xm, ok2 := x.(map[string]any)
	if !ok1 || !ok2 {
		return doc.Equal(e, x)
	}
	some := false
	for _, k := range schema.ListKey(list) {
		if v, have := em[k]; have {
			some = true
			if !doc.Equal(v, xm[k]) {
				return false
			}
		}
	}
	return some || doc.Equal(e, x)
}

// merge adds an entry to a list: into the entry with the same key if there is one, else at the end.
func merge(list string, have []any, e any) []any {
	em, ok := e.(map[string]any)
	if !ok {
		if slices.ContainsFunc(have, func(x any) bool { return doc.Equal(e, x) }) {
			return have
		}
		return append(have, e)
	}
	keys := schema.ListKey(list)
	for _, x := range have {
		xm, ok := x.(map[string]any)
		if !ok || len(keys) == 0 || !slices.ContainsFunc(keys, func(k string) bool { return em[k] != nil }) {
			continue
		}
		if slices.ContainsFunc(keys, func(k string) bool { return !doc.Equal(em[k], xm[k]) }) {
			continue
		}
		for k, v := range em {
			xm[k] = v
		}
		return have
	}
	return append(have, e)
}

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
