// SPDX-License-Identifier: Apache-2.0

package model

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Object is one Avi object that the operator wants. Body is the alb-sdk body of the kind, as its Type's New
// makes it, and refers to other objects by name (RefByName).
type Object struct {
	Key  Key
	Body any
	// Keep names the fields whose wanted value isn't known this time: an existing object keeps what it has.
	Keep []string
	// Ruled names the fields that are the operator's only because an L4Rule sets them, or did.
	Ruled []string
}

// Set is everything that one owner wants on the Controller, in creation order.
type Set struct {
	Owner   Owner
	Objects []Object
}

// Find returns the first object of the kind.
func (s *Set) Find(kind Kind) (Object, bool) {
	for _, o := range s.Objects {
		if o.Key.Kind == kind {
			return o, true
		}
	}
	return Object{}, false
}

// Canonical is the body's JSON with sorted keys and without the members that are unset, two spaces an indent: what
// golden files and printed plans show.
func Canonical(body any) ([]byte, error) {
	raw, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("encoding %T: %w", body, err)
	}
	var tree any
	if err := json.Unmarshal(raw, &tree); err != nil {
		return nil, fmt.Errorf("decoding %T: %w", body, err)
	}
	return json.MarshalIndent(withoutNulls(tree), "", "  ")
}

func withoutNulls(tree any) any {
	switch t := tree.(type) {
	case map[string]any:
		for k, v := range t {
			if v == nil {
				delete(t, k)
				continue
			}
			t[k] = withoutNulls(v)
		}
	case []any:
		for i := range t {
			t[i] = withoutNulls(t[i])
		}
	}
	return tree
}

// Observed is one Avi object as the Controller holds it.
type Observed struct {
	Key       Key
	UUID      string
	CreatedBy string // empty for a kind that has no such field
	// Owner comes from the markers, and is zero where they don't name one: a VsVip carries only the cluster's name.
	Owner Owner
	// Body holds the alb-sdk body; only the fields that the operator owns are kept.
	Body any
}

// Health is a VirtualService's state in the Controller's inventory.
type Health struct {
	State  string // OPER_UP, OPER_DOWN, OPER_DISABLED …
	Reason string
}

// Port is one listening port: its number and its protocol as Kubernetes spells it (TCP, UDP, SCTP).
type Port struct {
	Number   int32
	Protocol string
}

func (p Port) String() string {
	if p.Protocol == "" {
		return fmt.Sprintf(`"" %d`, p.Number)
	}
	return fmt.Sprintf("%s %d", p.Protocol, p.Number)
}

// MaxNameLength is the longest object name that the Controller takes, in bytes.
const MaxNameLength = 255

// Ours reports whether the markers and the name say that an object belongs to the cluster. created_by is compared by
// the caller, since a VsVip has none.
func Ours(clusterName, objectName, marked string) bool {
	return marked == clusterName && strings.HasPrefix(objectName, clusterName+"--")
}
