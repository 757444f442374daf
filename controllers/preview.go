// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/avi-l4-operator/avi-l4-operator/internal/avi"
	"github.com/avi-l4-operator/avi-l4-operator/internal/engine"
	"github.com/avi-l4-operator/avi-l4-operator/internal/gather"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/outcome"
	"github.com/avi-l4-operator/avi-l4-operator/internal/plan"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
)

// foreseen is what the operator would do about one owner.
type foreseen struct {
	owner    fmt.Stringer // a model.Owner, or what is no one's
	removed  string       // why what serves it would be removed; "" if it would be served
	plan     string       // in words, "" if nothing would change
	steps    []plan.Step
	serves   bool            // the Controller holds something of it
	held     []plan.Step     // that the owner itself keeps from being carried out
	findings []model.Finding // about what is held or left out
	problem  string          // why nothing can be foreseen
}

// Preview prints what the operator would change on the Controller if it started now, what it would hold and why, and what the
// Controller serves that is none of its owners'. It writes nothing, neither to the Controller nor to Kubernetes. The manager is one
// that was not started. Changes reports whether there is anything that would be written.
func Preview(ctx context.Context, mgr ctrl.Manager, c *avi.Client, o Options, out io.Writer) (changes bool, err error) {
	o.DryRun, o.LeaderElect, o.Registerer, o.SetLogLevel = true, false, nil, nil
	op, err := Setup(ctx, mgr, c, o)
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, onceLimit)
	defer cancel()
	stop := runCache(ctx, mgr)
	defer func() {
		err = errors.Join(err, stop())
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), logoutTimeout)
		defer cancel()
		op.client.Close(closing)
	}()
	cfg, err := op.settle(ctx, mgr, o)
	if err != nil {
		return false, err
	}
	for _, k := range op.Owners { // all are read before any is judged: those of different kinds may want one name
		if _, err := k.Remaining(ctx); err != nil {
			return false, err
		}
	}
	var all []foreseen
	for _, k := range op.Owners {
		some, err := k.Preview(logr.NewContext(ctx, logr.Discard()), cfg, op.Engine, everyOwner)
		if err != nil {
			return false, err
		}
		all = append(all, some...)
	}
	routes, err := op.Routes.Preview(ctx, cfg)
	if err != nil {
		return false, err
	}
	all = append(all, routes...)
	changes = slices.ContainsFunc(all, func(f foreseen) bool { return f.plan != "" })
	head := fmt.Sprintf("Preview %s. Nothing was changed.\n", scopeText(cfg))
	_, err = io.WriteString(out, head+reportText(cfg, all, op.unclaimed(all, everyOwner), op.toRecord()))
	return changes, err
}

// runCache has the cache of a manager that isn't started hold what is read, until the returned function is called.
func runCache(ctx context.Context, mgr ctrl.Manager) (stop func() error) {
	running, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- mgr.GetCache().Start(running) }()
	return func() error {
		cancel()
		return <-ended
	}
}

// settle reads the settings and the Controller.
func (op *Operator) settle(ctx context.Context, mgr ctrl.Manager, o Options) (*settings.Settings, error) {
	if err := op.readSettings(ctx, mgr, o); err != nil {
		return nil, err
	}
	if err := op.Mirror.Load(ctx); err != nil {
		return nil, fmt.Errorf("reading the Controller: %w", err)
	}
	return op.Settings.Current(), nil
}

// onceLimit bounds a preview and a hand-back: what the service account may not list never comes into the cache.
const onceLimit = 10 * time.Minute

// readSettings reads the settings once; without usable ones there is an error.
func (op *Operator) readSettings(ctx context.Context, mgr ctrl.Manager, o Options) error {
	// The API server says at once what the cache would be waiting for.
	key := client.ObjectKey{Namespace: o.Namespace, Name: settings.ConfigMapName}
	if err := mgr.GetAPIReader().Get(ctx, key, new(corev1.ConfigMap)); err != nil {
		return fmt.Errorf("reading ConfigMap %s: %w", key, err)
	}
	if !mgr.GetCache().WaitForCacheSync(ctx) {
		return errors.New("the Kubernetes caches did not sync")
	}
	if _, err := op.settingsReconciler(mgr, muteRecorder{}, o).Reconcile(ctx, ctrl.Request{}); err != nil {
		return err
	}
	if op.Settings.Current() == nil {
		return configurationError(op.Settings)
	}
	return nil
}

// staticRoutes is what static routes and the labels of Service Engine groups are called in a preview: they are no owner's.
type staticRoutes struct{}

func (staticRoutes) String() string { return "Static routes" }

// Preview says what would become of the static routes to pods; nothing where they are not kept in step.
func (r *StaticRoutesReconciler) Preview(ctx context.Context, cfg *settings.Settings) ([]foreseen, error) {
	out, err := r.run(ctx, cfg)
	if err != nil || out.Off != "" {
		return nil, err
	}
	f := foreseen{owner: staticRoutes{}}
	f.learn(out.Err)
	for _, p := range out.Problems {
		f.findings = append(f.findings, model.Finding{Severity: model.Degraded, Reason: p.Reason, Message: p.Message})
	}
	return []foreseen{f}, nil
}

// muteRecorder drops Events.
type muteRecorder struct{}

// Eventf implements events.EventRecorder.
func (muteRecorder) Eventf(_, _ runtime.Object, _, _, _, _ string, _ ...any) {}

// Preview says what would become of each owner of the kind that is wanted, by an engine that carries nothing out.
func (r *owners[T]) Preview(
	ctx context.Context, cfg *settings.Settings, dry *engine.Engine, wanted func(model.Owner) bool,
) (out []foreseen, err error) {
	if api := r.API(); api != "" && !r.APIs.Serves(api) {
		return nil, nil
	}
	all, err := r.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, o := range all {
		if !wanted(r.ownerOf(o)) {
			continue
		}
		c, err := gather.Read(ctx, r.kind, client.ObjectKeyFromObject(o))
		if err != nil {
			return nil, err
		}
		if c == nil {
			continue
		}
		f, concerns, err := r.foresee(ctx, cfg, c, dry)
		if err != nil {
			return nil, err
		}
		if concerns {
			out = append(out, f)
		}
	}
	return out, nil
}

// foresee says what would become of one candidate, as decide does it; concerns is false if nothing would.
func (r *owners[T]) foresee(
	ctx context.Context, cfg *settings.Settings, c *gather.Candidate[T], dry *engine.Engine,
) (f foreseen, concerns bool, err error) {
	owner := r.ownerOf(c.Object)
	v := r.verdict(cfg, c)
	name := translate.VirtualServiceName(cfg, owner)
	f.owner, f.serves = owner, dry.Holds(owner, name)
	other, handover := r.handedOver(c.Object, owner, cfg)
	switch {
	case handover:
		f.problem = servedByAnother(r.Owner(), other)
		return f, v.Ours, nil
	case v.Unknown && !gather.Claimed(c.Object):
		f.problem = v.Why
		return f, f.serves, nil
	case !v.Ours && !v.Unknown:
		if !gather.Claimed(c.Object) && !r.inherited(cfg, c) || !f.serves {
			return f, false, nil
		}
		if by := clinging(cfg, c.Object); by.Any() {
			f.learn(dry.Kept(owner, name, v.Why, by))
			return f, true, nil
		}
		f.removed = v.Why
		_, err := dry.Remove(ctx, owner, translate.Tenant(cfg, owner.Kind, c.Namespace), name, v.Why)
		f.learn(err)
		return f, true, nil
	}
	in, err := gather.Input(ctx, r.Gather, r.kind, cfg, c)
	if err != nil {
		return f, false, err
	}
	o := dry.Serve(ctx, in)
	f.findings = slices.DeleteFunc(slices.Clone(o.Findings), func(f model.Finding) bool { return f.Severity == model.Note })
	f.learn(o.Retry())
	if o.State() == outcome.Blocked && len(o.Findings) == 0 {
		f.problem = "nothing can be planned"
	}
	return f, true, nil
}

// learn takes the plan from the error of a dry run, unless the owner itself keeps it from being carried out; another error is a problem.
func (f *foreseen) learn(err error) {
	var held *engine.RestrainedError
	switch {
	case errors.As(err, &held) && held.By.Own():
		f.findings = append(f.findings, model.Finding{Severity: model.Degraded, Reason: held.By.Reason, Message: held.Error()})
		f.held = held.Steps
	case errors.As(err, &held):
		f.plan, f.steps = held.Plan, held.Steps
	case err != nil:
		f.problem = err.Error()
	}
}

func everyOwner(model.Owner) bool { return true }

// unclaimed lists the VirtualServices, of those that carry the operator's marks and are of an owner that is wanted, of which no owner is
// foreseen, with the reason.
func (op *Operator) unclaimed(all []foreseen, wanted func(model.Owner) bool) (out []string) {
	known := make(map[fmt.Stringer]bool, len(all))
	for _, f := range all {
		known[f.owner] = true
	}
	for _, o := range op.Mirror.All() {
		if o.Key.Kind != model.VirtualService {
			continue
		}
		if !known[o.Owner] && wanted(o.Owner) {
			out = append(out, fmt.Sprintf("%s/%s: %s doesn't exist, or is not one for this operator", o.Key.Tenant, o.Key.Name, o.Owner))
		}
	}
	slices.Sort(out)
	return out
}

// scopeText says what is looked at.
func scopeText(cfg *settings.Settings) string {
	return fmt.Sprintf("for cluster %s on Controller %s (cloud %s, tenant %s, created_by %s)",
		cfg.ClusterName, cfg.Controller, cfg.Cloud, cfg.Tenant, cfg.CreatedBy)
}

// reportText is the preview in words, behind its first line.
func reportText(cfg *settings.Settings, all []foreseen, unclaimed []string, toRecord string) string {
	var b strings.Builder
	var unchanged int
	var changed, removed, problems, held []string
	writes := map[string]int{}
	for _, f := range all {
		for _, s := range f.steps {
			writes[fmt.Sprintf("%s %s", s.Op, s.Key.Kind.Title())]++
		}
		if f.plan != "" && len(f.steps) == 0 {
			writes["update VrfContext or ServiceEngineGroup"]++ // static routes
		}
		switch {
		case f.problem != "":
			problems = append(problems, fmt.Sprintf("%s: %s", f.owner, f.problem))
		case f.removed != "":
			removed = append(removed, strings.TrimSuffix(f.plan, "\n")+"\n  why: "+f.removed)
		case f.plan != "":
			changed = append(changed, strings.TrimSuffix(f.plan, "\n"))
		default:
			unchanged++
		}
		for _, finding := range f.findings {
			held = append(held, fmt.Sprintf("%s: %s: %s", f.owner, finding.Reason, finding.Message))
		}
	}
	fmt.Fprintf(&b, "%d looked at: %d without a change, %d to change, %d to remove, %d that can't be planned.\n",
		len(all), unchanged, len(changed), len(removed), len(problems))
	if len(writes) == 0 {
		b.WriteString("Writes to the Controller: none.\n")
	} else {
		b.WriteString("Writes to the Controller:\n")
		for _, w := range slices.Sorted(maps.Keys(writes)) {
			fmt.Fprintf(&b, "  %s: %d\n", w, writes[w])
		}
	}
	b.WriteString(toRecord)
	for _, part := range []struct {
		title string
		lines []string
	}{
		{"Keys of the ConfigMap that mean nothing to this operator", slices.Clone(cfg.Ignored)},
		{"Keys of the ConfigMap that neither this operator nor AKO knows; check their spelling", slices.Clone(cfg.Unknown)},
		{"To change", changed},
		{"To remove", removed},
		{"Can't be planned", problems},
		{"Held as it is, or left out, and why", held},
		{"On the Controller with this operator's marks, and served by none of these owners", unclaimed},
	} {
		if len(part.lines) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n%s (%d):\n", part.title, len(part.lines))
		slices.Sort(part.lines)
		for _, l := range part.lines {
			fmt.Fprintf(&b, "  %s\n", strings.ReplaceAll(l, "\n", "\n  "))
		}
	}
	return b.String()
}
