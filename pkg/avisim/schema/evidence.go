// SPDX-License-Identifier: Apache-2.0

package schema

// Evidence grades a rule or a behaviour, see the package comment.
type Evidence string

// The grades, best first.
const (
	Recorded   Evidence = "recorded"
	Documented Evidence = "documented"
	Inferred   Evidence = "inferred"
	Unverified Evidence = "unverified"
)

// Grades lists them, best first.
var Grades = []Evidence{Recorded, Documented, Inferred, Unverified}
