// Package plan compares what an owner wants with what the Controller holds and writes down the difference as data: an
// ordered list of steps that can be printed, counted, refused and tested. It does no IO.
package plan

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
)

// Op is what a step does.
type Op string

// Operations.
const (
	Create Op = "create"
	Update Op = "update"
	Delete Op = "delete"
)

// Step is one call to the Controller.
type Step struct {
	Op     Op
	Key    model.Key
	UUID   string        // of Update and Delete
	Body   any           // of Create
	Fields []FieldChange // of Update
	Reason string        // why, for people
	Needs  []int         // steps of the same plan that have to succeed before this one
}

// Plan is an ordered change for one owner. Steps that don't need each other may run at once.
type Plan struct {
	Owner model.Owner
	Steps []Step
	// Findings say what differs and is not being changed, and why.
	Findings []model.Finding
}

// Policy is what a plan may do.
type Policy struct {
	// Replace allows deleting and creating again where a change can't be made in place.
	Replace bool
	UUIDs   UUIDs
}

// Diff plans the way from what is observed to what is wanted. observed holds all that the Controller has for the
// owner; what isn't wanted is deleted, so the caller must be sure that the wanted set is complete.
func Diff(want *model.Set, observed []*model.Observed, p Policy) Plan {
	out := Plan{Owner: want.Owner}
	have := make(map[model.Key]*model.Observed, len(observed))
	for _, o := range observed {
		have[o.Key] = o
	}
	var blocked []string // lines of what can't be changed
	for i := range want.Objects {
		w := &want.Objects[i]
		h := have[w.Key]
		if h == nil {
			out.Steps = append(out.Steps, Step{Op: Create, Key: w.Key, Body: w.Body, Reason: "the Controller doesn't have it"})
			continue
		}
		delete(have, w.Key)
		changes, stuck := comparison{p.UUIDs, w.Key.Tenant}.fields(w.Body, h.Body, w.Keep)
		for _, s := range stuck {
			blocked = append(blocked, w.Key.Kind.Title()+" "+strings.Join(s.lines(), ", "))
		}
		if len(changes) > 0 {
			out.Steps = append(out.Steps, Step{Op: Update, Key: w.Key, UUID: h.UUID, Fields: changes, Reason: "differs from what is wanted"})
		}
	}
	unknown := slices.ContainsFunc(want.Objects, func(o model.Object) bool { return len(o.Keep) > 0 })
	if len(blocked) > 0 {
		if p.Replace && !unknown {
			return replacement(want, observed, blocked)
		}
		out.Findings = append(out.Findings, model.Finding{Severity: model.Degraded, Reason: model.ReasonNeedsReplacement,
			Message: fmt.Sprintf("can't be changed while it serves, and stays as it was: %s; to let the operator delete and create the objects again, which interrupts traffic, set annotation l4.ako.vmware.com/allow-replacement: \"true\"", strings.Join(blocked, ", "))})
	}
	if creates := slices.ContainsFunc(out.Steps, func(s Step) bool { return s.Op == Create }); !unknown || !creates {
		// While it isn't known what belongs into the new objects, the old ones go on serving.
		out.Steps = append(out.Steps, deletions(have, "no longer wanted")...)
	}
	out.link()
	return out
}

// Teardown plans the deletion of everything that the Controller has for an owner.
func Teardown(owner model.Owner, observed []*model.Observed, reason string) Plan {
	have := make(map[model.Key]*model.Observed, len(observed))
	for _, o := range observed {
		have[o.Key] = o
	}
	out := Plan{Owner: owner, Steps: deletions(have, reason)}
	out.link()
	return out
}

func replacement(want *model.Set, observed []*model.Observed, blocked []string) Plan {
	out := Teardown(want.Owner, observed, "replaced, because it can't be changed in place: "+strings.Join(blocked, ", "))
	for _, w := range want.Objects {
		out.Steps = append(out.Steps, Step{Op: Create, Key: w.Key, Body: w.Body, Reason: "replaces the deleted one"})
	}
	out.link()
	return out
}

// deletionOrder lets go of references before what they refer to.
var deletionOrder = map[model.Kind]int{model.VirtualService: 0, model.VsVip: 1, model.L4PolicySet: 1, model.Pool: 2}

func deletions(have map[model.Key]*model.Observed, reason string) []Step {
	var out []Step
	for key, h := range have {
		out = append(out, Step{Op: Delete, Key: key, UUID: h.UUID, Reason: reason})
	}
	slices.SortFunc(out, func(a, b Step) int {
		if d := deletionOrder[a.Key.Kind] - deletionOrder[b.Key.Kind]; d != 0 {
			return d
		}
		return cmp.Or(cmp.Compare(a.Key.Tenant, b.Key.Tenant), cmp.Compare(a.Key.Name, b.Key.Name), cmp.Compare(a.Key.Kind, b.Key.Kind))
	})
	return out
}

// prerequisite says whether a step has to wait for an earlier step of the plan: an object comes after what it
// refers to and goes before it, and the same key is deleted before it is created again.
func prerequisite(step, earlier Step) bool {
	if step.Key == earlier.Key {
		return true
	}
	rank := func(k model.Kind) int { return deletionOrder[k] }
	switch {
	case step.Op == Delete && earlier.Op == Delete:
		return rank(earlier.Key.Kind) < rank(step.Key.Kind)
	case step.Op == Delete:
		// What is created takes over, and what is updated may let go, before anything is taken away.
		return earlier.Op == Create || rank(earlier.Key.Kind) < rank(step.Key.Kind)
	case earlier.Op == Delete:
		return step.Op == Create && rank(earlier.Key.Kind) == 0
	case step.Key.Kind == model.L4PolicySet:
		return earlier.Op == Create && earlier.Key.Kind == model.Pool
	case step.Key.Kind == model.VirtualService:
		return earlier.Key.Kind == model.L4PolicySet || earlier.Op == Create && earlier.Key.Kind == model.VsVip
	}
	return false
}

func (p *Plan) link() {
	for i := range p.Steps {
		p.Steps[i].Needs = nil
		for j := range i {
			if prerequisite(p.Steps[i], p.Steps[j]) {
				p.Steps[i].Needs = append(p.Steps[i].Needs, j)
			}
		}
	}
}

// Deletes counts the steps that delete.
func (p *Plan) Deletes() int {
	n := 0
	for _, s := range p.Steps {
		if s.Op == Delete {
			n++
		}
	}
	return n
}

// Empty tells that there is nothing to do.
func (p *Plan) Empty() bool { return len(p.Steps) == 0 }

// Apply returns what a body is after an update's changes, for tests and dry runs: it sets the changed fields and
// leaves the others.
func Apply(body any, changes []FieldChange) {
	v := reflect.ValueOf(body).Elem()
	for _, c := range changes {
		f := v.Field(indexOf(v.Type(), c.Field))
		if c.To == nil {
			f.SetZero()
			continue
		}
		f.Set(reflect.ValueOf(c.To))
	}
}
