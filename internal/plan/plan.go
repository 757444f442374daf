// SPDX-License-Identifier: Apache-2.0

// Package plan compares what an owner wants with what the Controller holds and writes down the difference as data: an
// ordered list of steps that can be printed, counted, refused and tested. It does no IO.
package plan

import (
	"cmp"
	"reflect"
	"slices"
	"strings"

	"github.com/vmware/alb-sdk/go/models"

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
	// Replaces says what could not be changed in place and is why objects are deleted and created again.
	Replaces string
	// Repairs says what no longer serves and is therefore deleted and created again, without consent.
	Repairs string
}

// Policy is what a plan may do.
type Policy struct {
	// Replace allows deleting and creating again where a change can't be made in place.
	Replace bool
	// Replaced is the last plan's Replaces. The same is not replaced twice: a Controller that doesn't give what is asked
	// for won't by being asked again.
	Replaced string
	UUIDs    UUIDs
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
	stuckBehind := false // what the VirtualService refers to can't be changed in place
	for i := range want.Objects {
		w := &want.Objects[i]
		h := have[w.Key]
		if h == nil {
			out.Steps = append(out.Steps, Step{Op: Create, Key: w.Key, Body: w.Body, Reason: "the Controller doesn't have it"})
			continue
		}
		delete(have, w.Key)
		changes, stuck := comparison{p.UUIDs, w.Key.Tenant}.fields(w, h.Body)
		for _, s := range stuck {
			blocked = append(blocked, w.Key.Kind.Title()+" "+strings.Join(s.lines(), ", "))
			stuckBehind = stuckBehind || !w.Key.Kind.Type().Replaced
		}
		if len(changes) > 0 {
			out.Steps = append(out.Steps, Step{Op: Update, Key: w.Key, UUID: h.UUID, Fields: changes, Reason: "differs from what is wanted"})
		}
	}
	moved := false // a VirtualService under another key than the wanted one: the tenant or the naming changed
	for key := range have {
		if key.Kind == model.VirtualService {
			moved = true
			blocked = append(blocked, key.String()+" -> "+wantedKey(want))
		}
	}
	if w, uuid := unserved(want, observed, p.UUIDs); w != nil && !moved {
		return repairPlan(w, uuid, have, out)
	}
	slices.Sort(blocked)
	unknown := slices.ContainsFunc(want.Objects, func(o model.Object) bool { return len(o.Keep) > 0 })
	switch text := strings.Join(blocked, ", "); {
	case len(blocked) == 0:
	case p.Replace && !unknown && text != p.Replaced:
		return replacement(want, observed, have, out, text, moved || stuckBehind)
	default:
		finding := model.NeedsConsent(text)
		if text == p.Replaced {
			finding.Message = "was replaced and is still not what is wanted: " + text + "; the Controller gives something else than it is asked for, see its own settings"
		}
		out.Findings = append(out.Findings, finding)
		if moved {
			out.Steps = nil // what serves goes on as it is, under its old key
			return out
		}
	}
	out.Steps = append(out.Steps, deletions(have, "no longer wanted")...)
	out.link()
	return out
}

// unserved is the wanted VirtualService if the Controller has it with a reference to a VsVip that is gone: one of another UUID has
// the name, or none. It serves nobody, and its reference can't be changed.
func unserved(want *model.Set, observed []*model.Observed, uuids UUIDs) (vs *model.Object, uuid string) {
	w, ok := want.Find(model.VirtualService)
	vip, okVIP := want.Find(model.VsVip)
	if !ok || !okVIP || uuids == nil {
		return nil, ""
	}
	var ref model.Ref
	there, _ := uuids(model.VsVip, vip.Key.Tenant, vip.Key.Name)
	for _, o := range observed {
		if body, isVS := o.Body.(*models.VirtualService); isVS && o.Key == w.Key {
			ref, uuid = model.ParseRef(deref(body.VsvipRef)), o.UUID
		}
	}
	if ref.UUID == "" || ref.UUID == there || ref.Name != "" && ref.Name != vip.Key.Name {
		return nil, ""
	}
	return &w, uuid
}

// repairPlan makes the missing VsVip, which proves that it is missing since the name would be taken otherwise, and only then the
// VirtualService anew. No traffic is interrupted, so no consent is needed.
func repairPlan(vs *model.Object, uuid string, have map[model.Key]*model.Observed, inPlace Plan) Plan {
	out := Plan{Owner: inPlace.Owner, Repairs: "the VsVip that the VirtualService refers to is gone"}
	for _, s := range inPlace.Steps {
		if s.Key != vs.Key {
			out.Steps = append(out.Steps, s)
		}
	}
	slices.SortStableFunc(out.Steps, func(a, b Step) int { return rank(a) - rank(b) })
	out.Steps = append(out.Steps, Step{Op: Delete, Key: vs.Key, UUID: uuid, Reason: out.Repairs},
		Step{Op: Create, Key: vs.Key, Body: vs.Body, Reason: "replaces the deleted one"})
	out.Steps = append(out.Steps, deletions(have, "no longer wanted")...)
	out.link()
	return out
}

func wantedKey(want *model.Set) string {
	if vs, ok := want.Find(model.VirtualService); ok {
		return vs.Key.String()
	}
	return "nothing"
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

// replacement deletes and creates again what can't be changed in place. A new address takes a new VsVip and, since that
// is referred to, a new VirtualService; pools and policies, with what others have set on them, stay unless they are what
// is stuck (all).
func replacement(
	want *model.Set, observed []*model.Observed, leftover map[model.Key]*model.Observed, inPlace Plan, text string, all bool,
) Plan {
	goes := func(k model.Kind) bool { return !k.Type().Common && all || k.Type().Replaced }
	gone := make(map[model.Key]*model.Observed)
	for _, o := range observed {
		if goes(o.Key.Kind) {
			gone[o.Key] = o
		}
	}
	out := Plan{Owner: want.Owner, Replaces: text, Steps: deletions(gone, "replaced, because it can't be changed in place: "+text)}
	for _, s := range inPlace.Steps {
		if s.Op == Update && !goes(s.Key.Kind) || s.Op == Create && gone[s.Key] == nil {
			out.Steps = append(out.Steps, s)
		}
	}
	for _, w := range want.Objects {
		if gone[w.Key] != nil {
			out.Steps = append(out.Steps, Step{Op: Create, Key: w.Key, Body: w.Body, Reason: "replaces the deleted one"})
		}
	}
	slices.SortStableFunc(out.Steps, func(a, b Step) int { return rank(a) - rank(b) })
	for key := range gone {
		delete(leftover, key)
	}
	out.Steps = append(out.Steps, deletions(leftover, "no longer wanted")...)
	out.link()
	return out
}

// rank orders a replacement's steps: deletions first, then what is referred to before what refers.
func rank(s Step) int {
	if s.Op == Delete {
		return 0
	}
	return 1 + model.CreationRank(s.Key.Kind)
}

// deletions let go of references before what they refer to.
func deletions(have map[model.Key]*model.Observed, reason string) []Step {
	var out []Step
	for key, h := range have {
		out = append(out, Step{Op: Delete, Key: key, UUID: h.UUID, Reason: reason})
	}
	slices.SortFunc(out, func(a, b Step) int {
		return cmp.Or(cmp.Compare(model.DeletionRank(a.Key.Kind), model.DeletionRank(b.Key.Kind)),
			cmp.Compare(a.Key.Tenant, b.Key.Tenant), cmp.Compare(a.Key.Name, b.Key.Name), cmp.Compare(a.Key.Kind, b.Key.Kind))
	})
	return out
}

// prerequisite reports whether a step has to wait for an earlier step of the plan: an object comes after what it
// refers to and goes before it, and the same key is deleted before it is created again.
func prerequisite(step, earlier Step) bool {
	if step.Key == earlier.Key {
		return true
	}
	order := model.DeletionRank
	switch {
	case step.Op == Delete && earlier.Op == Delete:
		return order(earlier.Key.Kind) < order(step.Key.Kind)
	case step.Op == Delete:
		// What is created takes over, and what is updated may let go, before anything is taken away.
		return earlier.Op == Create || order(earlier.Key.Kind) < order(step.Key.Kind)
	case earlier.Op == Delete:
		return step.Op == Create && order(earlier.Key.Kind) == 0
	}
	kind := step.Key.Kind
	return earlier.Op == Create &&
		(kind.Refers(earlier.Key.Kind) || defaultPool(step) == earlier.Key.Name && earlier.Key.Kind == model.Pool) ||
		slices.Contains(kind.Type().Follows, earlier.Key.Kind)
}

// defaultPool is the name of the pool that a step gives a VirtualService for what no policy decides, "" if it gives none.
func defaultPool(s Step) string {
	if vs, ok := s.Body.(*models.VirtualService); ok {
		return model.ParseRef(deref(vs.PoolRef)).Name
	}
	for _, f := range s.Fields {
		if ref, ok := f.To.(*string); ok && f.Field == "pool_ref" {
			return model.ParseRef(deref(ref)).Name
		}
	}
	return ""
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

// Empty reports whether there is nothing to do.
func (p *Plan) Empty() bool { return len(p.Steps) == 0 }

// Apply returns what a body is after an update's changes, by which tests prove that a plan reaches its goal: it sets the
// changed fields and leaves the others.
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
