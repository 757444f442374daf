// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/vmware/alb-sdk/go/models"

	"github.com/avi-l4-operator/avi-l4-operator/internal/apply"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/outcome"
	"github.com/avi-l4-operator/avi-l4-operator/internal/plan"
)

// This file is about what only a new VsVip gets, and about when an address may leave a status.

// dress gives a VsVip that is about to be created the markers of its owner, which AKO's lack and a VsVip that is there doesn't get, and
// the address that the owner's status has: clients know it, and a Controller that was restored from a backup doesn't.
func (r *run) dress(p *plan.Plan, want *model.Set) {
	r.asked = nil
	for i := range p.Steps {
		s := &p.Steps[i]
		body, ok := s.Body.(*models.VsVip)
		if !ok || s.Op != plan.Create {
			continue
		}
		dressed := *body
		if vs, ok := want.Find(model.VirtualService); ok {
			dressed.Markers = model.VsVipMarkers(body.Markers, vs.Key.Kind.Type().Head(vs.Body).Markers)
		}
		if p.Replaces == "" && !r.denied {
			dressed.Vip = r.ask(body.Vip, s.Key)
		}
		s.Body = &dressed
	}
}

// ask has a VsVip ask for the addresses of the status where it would take any.
func (r *run) ask(vips []*models.Vip, key model.Key) []*models.Vip {
	if len(vips) != 1 || vips[0] == nil || vips[0].IPAddress != nil || vips[0].Ip6Address != nil || isTrue(vips[0].AutoAllocateFloatingIP) {
		return vips
	}
	v := *vips[0]
	kind := ""
	if v.AutoAllocateIPType != nil {
		kind = *v.AutoAllocateIPType
	}
	for _, a := range r.in.Had {
		others := slices.ContainsFunc(r.Mirror.Claiming(a.String()), func(k model.Key) bool { return k != key })
		switch {
		case others:
		case a.Is4() && v.IPAddress == nil && kind != "V6_ONLY":
			v.IPAddress = &models.IPAddr{Addr: new(a.String()), Type: new("V4")}
			r.asked = append(r.asked, a)
		case a.Is6() && v.Ip6Address == nil && (kind == "V6_ONLY" || kind == "V4_V6"):
			v.Ip6Address = &models.IPAddr{Addr: new(a.String()), Type: new("V6")}
			r.asked = append(r.asked, a)
		}
	}
	return []*models.Vip{&v}
}

func isTrue(b *bool) bool { return b != nil && *b }

// patience is how long an owner whose address can't be had waits for others to have theirs.
const patience = 2 * time.Minute

// refusedHad reports whether a step failed because the Controller doesn't give the address that the status has, and another one will
// do. That may not be one for which its owner is yet to ask.
func (r *run) refusedHad(ctx context.Context, s *apply.StepResult) bool {
	asked := s.Step.Op == plan.Create && s.Step.Key.Kind == model.VsVip && len(r.asked) > 0
	if !asked || s.Replan || isForeign(s.Err) || Classify(s.Err) < outcome.Wait {
		return false
	}
	if r.patient() {
		others, err := r.awaited(ctx)
		if err != nil {
			s.Err = err
			return false
		}
		if others > 0 {
			s.Err = &awaitedError{asked: r.asked, others: others, why: Explain(s.Err)}
			return false
		}
	}
	r.denied = true
	r.kept = append(r.kept, model.Finding{Severity: model.Degraded, Reason: model.ReasonAddressLost,
		Message: fmt.Sprintf("the address in the status, %v, can't be had any more, and another one is taken: %s", r.asked, Explain(s.Err))})
	return true
}

// patient notes that what was asked for was refused, and reports whether that is new.
func (r *run) patient() (yes bool) {
	for _, a := range r.asked {
		since, _ := r.lost.LoadOrStore(a, time.Now())
		at, ok := since.(time.Time)
		yes = yes || ok && time.Since(at) < patience
	}
	return yes
}

// awaited counts the addresses in the statuses of others that no VsVip has, and that haven't been refused.
func (r *run) awaited(ctx context.Context) (n int, err error) {
	if r.Statuses == nil {
		return 0, nil
	}
	all, err := r.Statuses(ctx)
	if err != nil {
		return 0, fmt.Errorf("reading which addresses others have: %w", err)
	}
	for a := range all {
		if _, refused := r.lost.Load(a); !refused && len(r.Mirror.Claiming(a.String())) == 0 {
			n++
		}
	}
	return n, nil
}

// found forgets what was refused: the owner is served, be it on another address.
func (r *run) found() {
	for _, a := range r.in.Had {
		r.lost.Delete(a)
	}
}

// awaitedError says why no other address is taken yet in place of the one that can't be had.
type awaitedError struct {
	asked  []netip.Addr
	others int
	why    string
}

func (e *awaitedError) Error() string {
	return fmt.Sprintf("the address in the status, %v, can't be had any more; another one is taken when others, which are without theirs, have asked for them (%d), in %s at the latest: %s",
		e.asked, e.others, patience, e.why)
}

// doubtful reports whether the status knows of addresses that the Controller doesn't show, although this run has not removed them and
// has made nothing in their place: then it isn't proven that they are gone.
func (r *run) doubtful() bool {
	short := r.state == outcome.Failed || r.state == outcome.Blocked || r.record.VSUUID != ""
	return len(r.in.Had) > 0 && !r.ended && len(r.record.Addresses) == 0 && short
}

// proven reports whether a VsVip is an owner's to delete. Its name doesn't say so, since two owners may want one name: its own
// markers do, or those of what is beside it, or that an earlier step of the same removal was about it.
func (e *Engine) proven(o *model.Observed, owner model.Owner) bool {
	if !ownedByName(o) || o.Owner != (model.Owner{}) {
		return true // Mirror.Of has compared the markers
	}
	for _, kind := range []model.Kind{model.VirtualService, model.L4PolicySet} {
		if beside := e.Mirror.Get(model.Key{Kind: kind, Tenant: o.Key.Tenant, Name: o.Key.Name}); beside != nil && beside.Owner.MayBe(owner) {
			e.removing.Store(o.UUID, owner)
			return true
		}
	}
	by, ok := e.removing.Load(o.UUID)
	return ok && by == owner
}
