package avisim

// Evidence grades a rule or a behaviour, see the package comment.
type Evidence string

// The grades, best first.
const (
	Recorded   Evidence = "recorded"
	Documented Evidence = "documented"
	Inferred   Evidence = "inferred"
	Unverified Evidence = "unverified"
)

// grades lists them, best first.
var grades = []Evidence{Recorded, Documented, Inferred, Unverified}
