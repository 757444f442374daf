// SPDX-License-Identifier: Apache-2.0

package model

import (
	"net/url"
	"strings"
)

// Ref is a reference to an Avi object. The Controller accepts several spellings and rewrites all of them to absolute
// URLs, so references are parsed before they are compared.
type Ref struct {
	Kind Kind
	UUID string // set when the reference names a UUID
	Name string // set when the reference names a name, or carries one behind '#'
}

// RefByName is the reference that finds an object by its name in the request's tenant or, for what a Controller ships
// with, in admin: "/api/<kind>?name=<name>".
func RefByName(kind Kind, name string) string {
	return "/api/" + string(kind) + "?name=" + strings.ReplaceAll(url.QueryEscape(name), "+", "%20")
}

// RefByUUID is the reference that names an object's UUID: "/api/<kind>/<uuid>".
func RefByUUID(kind Kind, uuid string) string { return "/api/" + string(kind) + "/" + uuid }

// ParseRef reads every form that the Controller accepts or returns: absolute or host-relative, by UUID with or without
// "#name", or by "?name=". An empty or foreign string gives the zero Ref.
func ParseRef(s string) Ref {
	_, rest, ok := strings.Cut(s, "/api/")
	if !ok {
		return Ref{}
	}
	rest, fragment, _ := strings.Cut(rest, "#")
	path, query, byQuery := strings.Cut(rest, "?")
	kind, uuid, _ := strings.Cut(path, "/")
	ref := Ref{Kind: Kind(kind), UUID: strings.TrimSuffix(uuid, "/"), Name: fragment}
	if byQuery {
		for pair := range strings.SplitSeq(query, "&") {
			if value, found := strings.CutPrefix(pair, "name="); found {
				ref.Name = unescape(value)
			}
		}
	}
	return ref
}

// Names reports whether a reference names an object: by its UUID or, where it has none, by its name.
func (r Ref) Names(o *Observed) bool {
	if r.Kind != o.Key.Kind {
		return false
	}
	if r.UUID != "" {
		return r.UUID == o.UUID
	}
	return r.Name == o.Key.Name
}

func unescape(s string) string {
	if !strings.ContainsAny(s, "%+") {
		return s
	}
	if plain, err := url.QueryUnescape(s); err == nil {
		return plain
	}
	return s
}
