// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/go-logr/logr"
	"github.com/vmware/alb-sdk/go/models"

	"github.com/avi-l4-operator/avi-l4-operator/internal/apply"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/outcome"
	"github.com/avi-l4-operator/avi-l4-operator/internal/plan"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
)

// reservations are the DNS names that runs are about to give to owners, so that of two which ask for one at the same moment only one
// gets it. The zero value is ready.
type reservations struct {
	mu sync.Mutex
	by map[string]model.Owner
}

// reserve reserves a name for an owner unless it is reserved already, and returns for whom it is.
func (r *reservations) reserve(name string, owner model.Owner) model.Owner {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.by == nil {
		r.by = make(map[string]model.Owner)
	}
	if _, reserved := r.by[name]; !reserved {
		r.by[name] = owner
	}
	return r.by[name]
}

func (r *reservations) release(owner model.Owner) {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.by, func(_ string, of model.Owner) bool { return of == owner })
}

// takeNames notes which of the names that the owner is to have are those of an owner in another namespace, and reports whether
// there are any. An owner that has a name keeps it.
func (r *run) takeNames(built translate.Result) bool {
	if r.in.Settings.SharedFQDNs {
		return false
	}
	taken := false
	for _, name := range built.FQDNs {
		if slices.Contains(r.in.Live.DNSNames, name) {
			continue
		}
		holder := r.names.reserve(name, r.in.Owner.Key()) // before the mirror is asked, which has the names of runs that have ended
		by := r.claimedBy(name)
		if by == "" && holder.Namespace != r.in.Owner.Key().Namespace {
			by = holder.String()
		}
		if by != "" {
			if r.in.Taken == nil {
				r.in.Taken = make(map[string]string)
			}
			r.in.Taken[name], taken = by, true
		}
	}
	return taken
}

// claimedBy says who else has a name or an address: the owner, or the VsVip where the owner isn't known. It is empty for what
// nobody has, and for what an owner of the same namespace has.
func (r *run) claimedBy(claim string) string {
	for _, key := range r.Mirror.Claiming(claim) {
		if key.Name == r.record.Name && key.Tenant == r.record.Tenant {
			continue
		}
		vs := r.Mirror.Get(model.Key{Kind: model.VirtualService, Tenant: key.Tenant, Name: key.Name})
		switch {
		case vs == nil:
			return key.String()
		case vs.Owner.Namespace != r.in.Owner.Key().Namespace:
			return vs.Owner.String()
		}
	}
	return ""
}

// addressInUse says of an address that is asked for which other VsVip of ours has it; empty if none does.
func (r *run) addressInUse(want *model.Set) string {
	vip, ok := want.Find(model.VsVip)
	body, isVip := vip.Body.(*models.VsVip)
	if !ok || !isVip {
		return ""
	}
	for _, address := range model.Addresses(body) {
		for _, key := range r.Mirror.Claiming(address) {
			if key.Name != r.record.Name || key.Tenant != r.record.Tenant {
				return fmt.Sprintf("address %s is that of %s", address, key)
			}
		}
	}
	return ""
}

// restore makes a VirtualService again with the VsVip that a replacement has deleted, since the Controller refuses the new one. The
// old address is asked for.
func (r *run) restore(ctx context.Context, built translate.Result, before []*model.Observed, results []apply.StepResult) {
	refused := slices.ContainsFunc(results, func(s apply.StepResult) bool {
		return s.Err != nil && s.Step.Op == plan.Create && s.Step.Key.Kind == model.VsVip && Classify(s.Err) >= outcome.Wait
	})
	i := slices.IndexFunc(before, func(o *model.Observed) bool { return o.Key.Kind == model.VsVip })
	if !refused || i < 0 || ctx.Err() != nil {
		return
	}
	log, set := logr.FromContextOrDiscard(ctx), built.Set
	set.Objects = slices.DeleteFunc(slices.Clone(set.Objects), func(o model.Object) bool { return o.Key.Kind.Type().Common })
	for j, o := range set.Objects {
		was, ok1 := before[i].Body.(*models.VsVip)
		if body, ok2 := o.Body.(*models.VsVip); ok1 && ok2 {
			old := *body
			old.Vip = was.Vip
			set.Objects[j].Body = &old
		}
	}
	now, err := r.observed(ctx, set.Owner, r.record.Name)
	if err != nil {
		log.Error(err, "the old address could not be asked for again")
		return
	}
	p := plan.Diff(&set, now, plan.Policy{UUIDs: r.Mirror.UUID})
	log.Info("the replacement was refused; what was there is made again", "plan", p.String())
	for _, s := range r.Applier.Run(ctx, &p) {
		if s.Err != nil {
			log.Error(s.Err, "making again what a refused replacement has deleted", "step", s.Step.Key.String())
		} else if !s.Skipped {
			r.count(s.Step.Op)
		}
	}
}
