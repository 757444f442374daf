package avisim

import (
	"strings"
	"sync"
	"unicode"
)

// objectType describes what the server knows of an object type beside its fields. Path, title, cloud and singleton come from
// the schema.
type objectType struct {
	path      string // as in /api/<path>
	title     string // as messages spell it; also the name of its message in the schema, if that has one
	cloud     bool   // belongs to a cloud: cloud_ref is defaulted, names are unique within it
	singleton bool   // one object with the uuid "default", no list
}

// listKey names the fields that identify an entry of a list: PATCH add merges and delete removes by it. A list of scalars
// or references is keyed by the value itself. Evidence: see hack/avisim-schema/overlay.txt.
func listKey(list string) []string { return table().keys[list] }

// message returns the schema of the type, or nil for a type that is known by name only.
func (t *objectType) message() *message { return schema()[t.title] }

// verbose is the type's name as the duplicate message spells it: VrfContext becomes "Vrf context". Evidence: that one
// type's text is documented, the others are inferred.
func (t *objectType) verbose() string {
	var b strings.Builder
	runes := []rune(t.title)
	for i, r := range runes {
		if i > 0 && unicode.IsUpper(r) && unicode.IsLower(runes[i-1]) {
			b.WriteByte(' ')
		}
		if i > 0 {
			r = unicode.ToLower(r)
		}
		b.WriteRune(r)
	}
	return b.String()
}

// objectTypes lists all types of objects, by path.
var objectTypes = sync.OnceValue(func() []*objectType {
	out := make([]*objectType, 0, len(table().types))
	for _, t := range table().types {
		if t.path == "cluster" || t.path == "systemlimits" { // endpoints of their own serve these, and no objects
			continue
		}
		out = append(out, &t)
	}
	return out
})
