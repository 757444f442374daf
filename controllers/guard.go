// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/avi-l4-operator/avi-l4-operator/internal/gather"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/plan"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
)

// AnnotationRelease of the ConfigMap with the settings has the IDs of held deletions that a person has released, with commas between
// them.
const AnnotationRelease = "l4.ako.vmware.com/release"

// guard holds back deletions that rest on something other than the owner's own word: on settings, labels or absence. The rule is
// plan.Hold's, and what it remembers is kept in the cluster.
type guard struct {
	share  float64 // 0 to 1
	ledger *ledger
	now    func() time.Time
	// census counts the owners that are served, and says which are let go by settings or labels.
	census func(context.Context) (census, error)
	// release are the IDs that a person has released.
	release func() []string
	// changed queues owners whose status has to name another ID.
	changed func([]model.Owner)
	// report, where set, is called with each change of what a guard holds.
	report func(plan.Guard, plan.Hold)

	mu   sync.Mutex
	at   time.Time // of last
	last census
	kick *time.Timer
}

// census is what a look at all owners finds.
type census struct {
	total  int
	doomed map[model.Owner]bool
	unread map[model.OwnerKind]bool // kinds of which nothing is known at the moment
}

const (
	deletionLeast = 5               // static routes that may always go: a stale one serves nobody
	censusAge     = time.Second     // how long a census holds for the owners that it found
	queueAfter    = 2 * time.Second // many events make one mistake: the owners that are held are queued again when it has stopped growing
	holdLook      = 5 * time.Minute // how often the held owners are looked at
)

// heldError says that a deletion is held, why, and how to release it.
type heldError struct {
	what      string
	hold      plan.Hold
	namespace string
}

func (e heldError) Error() string {
	return fmt.Sprintf("%s %d of %d at once, which looks like a mistake; that ends when it is put right. If it is meant: kubectl annotate --overwrite -n %s configmap %s %s=%s",
		e.what, len(e.hold.Owners), max(e.hold.Of, len(e.hold.Owners)), e.namespace, settings.ConfigMapName, AnnotationRelease, e.hold.ID)
}

// allow reports with nil that an owner's objects may be deleted although only settings or labels say so, or why that is held.
func (g *guard) allow(ctx context.Context, owner model.Owner) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.last.doomed[owner] || g.now().Sub(g.at) > censusAge {
		if err := g.count(ctx); err != nil {
			return err
		}
		g.last.doomed[owner] = true
	}
	h, err := g.review(ctx, plan.GuardDeselected, plan.Situation{Doomed: names(g.last.doomed), Total: g.last.total, Unread: g.unread})
	if err != nil {
		return err
	}
	if h.Holds(owner.String()) {
		return heldError{plan.RuleOf(plan.GuardDeselected).Why, h, g.ledger.namespace}
	}
	return nil
}

// allowLost is allow for all that is there for owners which don't exist.
func (g *guard) allowLost(ctx context.Context, lost map[model.Owner]bool, total int) (plan.Hold, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	h, err := g.review(ctx, plan.GuardLost, plan.Situation{Doomed: names(lost), Total: total})
	if err == nil && len(h.Owners) > 0 {
		err = heldError{plan.RuleOf(plan.GuardLost).Why, h, g.ledger.namespace}
	}
	return h, err
}

// settle forgets an owner that is wanted again or gone by itself.
func (g *guard) settle(ctx context.Context, owner model.Owner) {
	g.mu.Lock()
	defer g.mu.Unlock()
	h, err := g.ledger.read(ctx, plan.GuardDeselected)
	if name := owner.String(); err != nil || !h.Holds(name) && !slices.Contains(h.Released, name) {
		return
	}
	if g.count(ctx) != nil {
		return // the next one finds out
	}
	delete(g.last.doomed, owner)
	_, _ = g.review(ctx, plan.GuardDeselected, plan.Situation{Doomed: names(g.last.doomed), Total: g.last.total, Unread: g.unread})
}

// review asks a guard, and keeps what it says before anybody acts on it. g.mu is held.
func (g *guard) review(ctx context.Context, rule plan.Guard, s plan.Situation) (plan.Hold, error) {
	was, err := g.ledger.read(ctx, rule)
	if err != nil {
		return was, err
	}
	s.Share, s.Now, s.Release = g.share, g.now(), g.release()
	next := was.Review(s)
	if reflect.DeepEqual(was, next) {
		return next, nil
	}
	if err := g.ledger.write(ctx, rule, next); err != nil {
		return was, err
	}
	if was.ID != next.ID {
		if g.report != nil {
			g.report(rule, next)
		}
		if rule == plan.GuardDeselected {
			g.queueAgain(append(slices.Clone(next.Owners), next.Released...))
		}
	}
	return next, nil
}

// queueAgain queues the owners that are held, or were until now, once for many changes.
func (g *guard) queueAgain(owners []string) {
	if g.kick != nil {
		g.kick.Stop()
	}
	all := make([]model.Owner, 0, len(owners))
	for _, o := range owners {
		all = append(all, ownerNamed(o))
	}
	g.kick = time.AfterFunc(queueAfter, func() { g.changed(all) })
}

// count takes a census. g.mu is held.
func (g *guard) count(ctx context.Context) error {
	c, err := g.census(ctx)
	if err != nil {
		return fmt.Errorf("looking who else is let go: %w", err)
	}
	if c.doomed == nil {
		c.doomed = make(map[model.Owner]bool)
	}
	g.last, g.at = c, g.now()
	return nil
}

func (g *guard) unread(owner string) bool { return g.last.unread[ownerNamed(owner).Kind] }

func names(owners map[model.Owner]bool) map[string]bool {
	out := make(map[string]bool, len(owners))
	for o := range owners {
		out[o.String()] = true
	}
	return out
}

// ownerNamed is the inverse of model.Owner's String.
func ownerNamed(name string) (o model.Owner) {
	if i := strings.LastIndex(name, " "); i >= 0 {
		o.Kind = model.OwnerKind(name[:i])
		o.Namespace, o.Name, _ = strings.Cut(name[i+1:], "/")
	}
	return o
}

// census looks at the owners of every kind.
func (op *Operator) census(ctx context.Context) (census, error) {
	out := census{doomed: make(map[model.Owner]bool), unread: make(map[model.OwnerKind]bool)}
	if err := op.Mirror.Err(); err != nil {
		return out, err
	}
	cfg := op.Settings.Current()
	if cfg == nil {
		return out, errors.New("the settings are not known")
	}
	for _, o := range op.Owners {
		some, err := o.Census(ctx, cfg)
		if err != nil {
			return out, err
		}
		out.total += some.total
		maps.Copy(out.doomed, some.doomed)
		maps.Copy(out.unread, some.unread)
	}
	return out, nil
}

// Census looks at the owners of the kind that the operator serves.
func (r *owners[T]) Census(ctx context.Context, cfg *settings.Settings) (census, error) {
	out := census{doomed: make(map[model.Owner]bool)}
	if api := r.API(); api != "" && !r.APIs.Synced(api) {
		out.unread = map[model.OwnerKind]bool{r.Owner(): true}
		return out, nil
	}
	all, err := r.List(ctx)
	if err != nil {
		return out, fmt.Errorf("listing owners of kind %s: %w", r.Owner(), err)
	}
	for _, o := range all {
		c, err := r.Candidate(ctx, o)
		if err != nil {
			return out, err
		}
		for owner, let := range r.served(cfg, c) {
			out.total++
			if let {
				out.doomed[owner] = true
			}
		}
	}
	return out, nil
}

// alone is the census of an owner that is one object.
func (r *owners[T]) alone(cfg *settings.Settings, c *gather.Candidate[T]) map[model.Owner]bool {
	owner, v := r.ownerOf(c.Object), r.verdict(cfg, c)
	if c.Judge(cfg).Elsewhere || !r.Engine.Holds(owner, translate.VirtualServiceName(cfg, owner)) {
		return nil
	}
	if _, handover := r.handedOver(c.Object, owner, cfg); handover {
		return nil // another instance's
	}
	return map[model.Owner]bool{owner: !v.Ours && !v.Unknown && c.Deselected(cfg) && !clinging(cfg, c.Object).Any()}
}
