// SPDX-License-Identifier: Apache-2.0

// Package model is the vocabulary that every other package shares: which Avi objects the operator wants (Set), what
// the Controller holds of them (Observed), and what there is to say about it (Finding). It does no IO and imports
// no other package of this repository.
package model

import "fmt"

// Key names an Avi object. Names are unique per kind and tenant within the operator's one cloud.
type Key struct {
	Kind   Kind
	Tenant string
	Name   string
}

func (k Key) String() string { return fmt.Sprintf("%s %s/%s", k.Kind.Title(), k.Tenant, k.Name) }
