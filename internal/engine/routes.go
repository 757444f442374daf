// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"github.com/vmware/alb-sdk/go/models"

	"github.com/avi-l4-operator/avi-l4-operator/internal/avi"
	"github.com/avi-l4-operator/avi-l4-operator/internal/mirror"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
	"github.com/avi-l4-operator/avi-l4-operator/internal/staticroutes"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
)

// Routes keeps the static routes to pods in a VRF context, and the labels of Service Engine groups by which Service Engines
// take them. Both are shared with people, so each change is a read, a plan and a write that the Controller refuses if
// anybody wrote in between. Reads cost one call for the VRF context and one for each group. Sync and Clear are for one
// caller at a time, Reach for any.
type Routes struct {
	Client *avi.Client
	Mirror *mirror.Mirror
	// DryRun prints plans to the log and carries none out.
	DryRun bool
	Limit  staticroutes.Limit

	reach   atomic.Pointer[staticroutes.Reach]
	refused map[refusal]string // routes that the Controller wouldn't take when last asked, and why
	turns   int                // of those
	settled string             // UUID of the VRF context beside which no other has routes of ours
	kept    string             // what was logged of those that have, last

	mu    sync.Mutex
	first chan struct{} // closed when a run has ended, or firstWait is over; nil before anybody asked
	ended bool
}

// firstWait bounds how long the first owners wait for the first run.
const firstWait = 2 * time.Second

// settle waits until routes were looked at once, so that after a restart no owner takes back what it said of them. It
// waits for firstWait at most, counted from the first call.
func (r *Routes) settle(ctx context.Context) {
	r.mu.Lock()
	if r.first == nil && !r.ended {
		r.first = make(chan struct{})
		time.AfterFunc(firstWait, r.end)
	}
	first := r.first
	r.mu.Unlock()
	if first == nil {
		return
	}
	select {
	case <-first:
	case <-ctx.Done():
	}
}

func (r *Routes) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.first != nil && !r.ended {
		close(r.first)
	}
	r.ended = true
}

// RoutesOutcome is what is true after a run.
type RoutesOutcome struct {
	VRF string
	// Off says why routes are not kept in step, "" if they are.
	Off string
	// Err is why the Controller doesn't hold what is wanted; nil if it does, as far as Problems allow.
	Err      error
	Problems []staticroutes.Problem
	// Steps are the changes of routes that were carried out, Groups the Service Engine groups whose label was.
	Steps  []staticroutes.Step
	Groups []string
	// Ours and Foreign count the routes that stand.
	Ours, Foreign int
	// Held and Kept count those of ours that nobody wants and that stay: too many at once, or perhaps of a node that isn't
	// known completely.
	Held, Kept int
	// Turned: the Reach is another than before.
	Turned bool
	// Waiting says what has to go first, before all that is ours can be removed.
	Waiting string
}

// Reach says which pods Service Engines reach; nil while that isn't known, or isn't our business.
func (r *Routes) Reach() *staticroutes.Reach { return r.reach.Load() }

func (r *Routes) turn(out *RoutesOutcome, next *staticroutes.Reach) {
	out.Turned = !r.reach.Swap(next).Same(next)
}

// Sync brings the routes to what the nodes need. Confirm reads the input again from the API server itself; it is called
// before routes are removed.
func (r *Routes) Sync(ctx context.Context, in staticroutes.Input, confirm func(context.Context) (staticroutes.Input, error)) RoutesOutcome {
	var out RoutesOutcome
	facts := r.Mirror.Facts()
	if err := r.Mirror.Err(); err != nil || facts == nil {
		out.Err = fmt.Errorf("the Controller can't be read: %w", cmp.Or(err, mirror.ErrNotLoaded))
		return out
	}
	in.Facts = facts
	defer r.end()
	if out.Off = staticroutes.Off(in.Settings, facts.Cloud); out.Off != "" {
		r.turn(&out, nil)
		return out
	}
	if !r.DryRun && !r.Mirror.Proven() {
		out.Err = r.Mirror.Claim(ctx, model.Owner{}, "")
		if unclaimed := new(mirror.UnclaimedError); errors.As(out.Err, &unclaimed) {
			out.Err = fmt.Errorf("%w: %w", mirror.ErrNotLoaded, out.Err) // the first owner that is served claims the name
		}
		if out.Err != nil {
			return out
		}
	}
	uuid, missing, err := r.vrf(ctx, in.Settings, facts, &out)
	if err != nil || missing != nil {
		out.Err = err
		if missing != nil {
			out.Problems = append(out.Problems, *missing)
		}
		return out
	}
	w, p, err := r.routes(ctx, &in, uuid, confirm, &out)
	if p == nil { // not even read: what was known of the reach stands
		out.Err = err
		return out
	}
	out.Problems = append(out.Problems, p.Problems...)
	foreign, groupErr := r.groups(ctx, in, &out)
	r.turn(&out, staticroutes.ReachOf(w, p, out.VRF, foreign, err))
	out.Err = cmp.Or(err, groupErr)
	if err == nil {
		out.Err = cmp.Or(out.Err, r.clearStrays(ctx, in, uuid, &out))
	}
	return out
}

// vrf finds the VRF context that gets the routes.
func (r *Routes) vrf(ctx context.Context, s *settings.Settings, f *model.Facts, out *RoutesOutcome) (uuid string,
	missing *staticroutes.Problem, err error) {
	name, tier1 := staticroutes.VRF(s, f)
	if tier1 == "" {
		out.VRF = name
		if uuid, ok := f.Shared[model.VrfContext][name]; ok {
			return uuid, nil, nil
		}
		return "", &staticroutes.Problem{Reason: staticroutes.ReasonReferenceMissing, Message: fmt.Sprintf("the Controller's cloud %s has no VRF context %q for static routes; create it, or correct vrfName", f.Cloud.Name, name)}, nil
	}
	err = r.Client.List(ctx, string(model.VrfContext), s.Tenant, url.Values{"cloud_ref.name": {s.Cloud}, "fields": {"name,attrs"}},
		func(raw json.RawMessage) error {
			var o struct {
				Name  string               `json:"name"`
				UUID  string               `json:"uuid"`
				Attrs []staticroutes.Label `json:"attrs"`
			}
			if err := json.Unmarshal(raw, &o); err != nil {
				return err
			}
			if slices.Contains(o.Attrs, staticroutes.Label{Key: staticroutes.AttributeTier1, Value: tier1}) {
				uuid, out.VRF = o.UUID, o.Name
			}
			return nil
		})
	switch {
	case err != nil:
		return "", nil, fmt.Errorf("looking for the VRF context of tier-1 router %s: %w", tier1, err)
	case uuid == "":
		return "", &staticroutes.Problem{Reason: staticroutes.ReasonReferenceMissing, Message: fmt.Sprintf("the Controller's cloud %s has no VRF context of tier-1 router %s (nsxtT1LR)", f.Cloud.Name, tier1)}, nil
	}
	return uuid, nil, nil
}

// routes reads the VRF context, plans and writes. The plan is nil if the VRF context could not be read.
func (r *Routes) routes(ctx context.Context, in *staticroutes.Input, uuid string,
	confirm func(context.Context) (staticroutes.Input, error), out *RoutesOutcome) (*staticroutes.Wanted, *staticroutes.Plan, error) {
	log := logr.FromContextOrDiscard(ctx)
	cluster := in.Settings.ClusterName
	vrf, err := r.Client.Read(ctx, model.VrfContext, in.Settings.Tenant, uuid)
	if err != nil {
		return nil, nil, fmt.Errorf("reading VRF context %s: %w", out.VRF, err)
	}
	list, err := routesOf(vrf)
	if err != nil {
		return nil, nil, err
	}
	w := staticroutes.Want(*in)
	p := staticroutes.Diff(w, cluster, list, r.Limit)
	var doubt error
	if len(p.Unconfirmed) > 0 {
		live, err := confirm(ctx)
		if err != nil {
			doubt = fmt.Errorf("%d routes may have to go, and Kubernetes doesn't confirm it: %w", len(p.Unconfirmed), err)
		} else {
			live.Facts, live.Live = in.Facts, true
			*in, w = live, staticroutes.Want(live)
			p = staticroutes.Diff(w, cluster, list, r.Limit)
		}
	}
	out.Ours, out.Foreign, out.Held, out.Kept = p.Ours, p.Foreign, len(p.Held), p.Kept
	if p.Empty() {
		return w, p, doubt
	}
	if r.DryRun {
		log.Info("dry run: not carried out", "vrfcontext", out.VRF, "plan", p.String())
		return w, p, &RestrainedError{By: translate.Flag, Plan: p.String()}
	}
	p, list, err = r.write(ctx, w, p, writing{in: in, uuid: uuid, vrf: vrf, out: out})
	if err != nil {
		return w, p, fmt.Errorf("writing the static routes of VRF context %s: %w", out.VRF, err)
	}
	after := staticroutes.Diff(w.Except(p.Refused()), cluster, list, r.Limit)
	out.Ours, out.Foreign = after.Ours, after.Foreign
	if !after.Empty() {
		return w, after, &avi.Error{Method: http.MethodPut, Route: "/api/vrfcontext/{uuid}", Tenant: tenantOf(vrf, in.Settings, in.Facts),
			Class: avi.Terminal, Reason: avi.ReasonBadAnswer,
			Message: "the Controller doesn't keep the static routes that it is sent; still to do: " + after.String()}
	}
	return w, p, doubt
}

// writing is what a write of the VRF context is about.
type writing struct {
	in   *staticroutes.Input
	uuid string
	vrf  avi.Object // as it was just read; nil: it has to be read
	out  *RoutesOutcome
}

// write carries a plan out, but for the routes that the Controller refuses: those are looked for within bounds, and the plan that is
// returned says so of each. Refused ones are tried again with each run, after all others.
func (r *Routes) write(ctx context.Context, w *staticroutes.Wanted, p *staticroutes.Plan,
	at writing) (*staticroutes.Plan, []json.RawMessage, error) {
	var list []json.RawMessage
	put := func(held map[netip.Prefix]string) ([]staticroutes.Step, error) {
		next, now, err := r.put(ctx, w.Except(held), at)
		at.vrf = nil
		if err != nil {
			return nil, err
		}
		list = now
		return next.Steps, nil
	}
	all := questioned(p.Steps)
	known := slices.DeleteFunc(slices.Clone(all), func(s staticroutes.Step) bool { return r.refused[refusalOf(s)] == "" })
	s := sift{write: put, left: siftWrites, all: known, refused: make(map[netip.Prefix]string)}
	if len(known) > 0 && len(known) == len(all) {
		s.left = siftAgainWrites
		first := r.turns % len(known) // each has its turn
		known = slices.Concat(known[first:], known[:first])
		r.turns++
	}
	steps, err := put(s.without(nil))
	s.steps = steps
	switch fresh := slices.DeleteFunc(slices.Clone(all), func(c staticroutes.Step) bool { return slices.Contains(known, c) }); {
	case err == nil:
	case !refuses(err) || len(fresh) == 0:
		return p, nil, err
	default:
		s.all = all
		s.split(fresh, err)
	}
	s.place(known)
	if s.err != nil {
		return p, nil, s.err
	}
	r.refused = make(map[refusal]string)
	for _, c := range all {
		if why := s.refused[c.Prefix]; why != "" {
			r.refused[refusalOf(c)] = why
		}
	}
	if list == nil { // nothing was taken
		vrf, err := r.Client.Read(ctx, model.VrfContext, at.in.Settings.Tenant, at.uuid)
		if err != nil {
			return p, nil, err
		}
		if list, err = routesOf(vrf); err != nil {
			return p, nil, err
		}
	}
	at.out.Steps = s.steps
	return staticroutes.Diff(w.Except(s.refused), at.in.Settings.ClusterName, list, r.Limit), list, nil
}

// put writes what is wanted once, and returns the plan that was carried out and the routes that the Controller has then.
func (r *Routes) put(ctx context.Context, w *staticroutes.Wanted, at writing) (p *staticroutes.Plan, list []json.RawMessage, err error) {
	log := logr.FromContextOrDiscard(ctx)
	if at.vrf == nil {
		if at.vrf, err = r.Client.Read(ctx, model.VrfContext, at.in.Settings.Tenant, at.uuid); err != nil {
			return nil, nil, err
		}
	}
	tenant := tenantOf(at.vrf, at.in.Settings, at.in.Facts)
	vrf, err := r.Client.Modify(ctx, model.VrfContext, tenant, at.uuid, at.vrf, func(o avi.Object) (bool, error) {
		list, err := routesOf(o)
		if err != nil {
			return false, err
		}
		p = staticroutes.Diff(w, at.in.Settings.ClusterName, list, r.Limit)
		if p.Empty() {
			return false, nil
		}
		log.Info("changing static routes", "vrfcontext", at.out.VRF, "plan", p.String())
		return true, setRoutes(o, p.Routes)
	})
	if err != nil {
		return nil, nil, err
	}
	list, err = routesOf(vrf)
	return p, list, err
}

func routesOf(o avi.Object) (list []json.RawMessage, err error) {
	raw, ok := o["static_routes"]
	if !ok {
		return nil, nil
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, fmt.Errorf("reading the static routes of VRF context %s: %w", o.Text("name"), err)
	}
	return list, nil
}

// setRoutes replaces the list. An empty one is left out, which is how a PUT empties a list.
func setRoutes(o avi.Object, list []json.RawMessage) error {
	return setList(o, "static_routes", list)
}

func setList[T any](o avi.Object, field string, list []T) error {
	if len(list) == 0 {
		delete(o, field)
		return nil
	}
	raw, err := json.Marshal(list)
	o[field] = raw
	return err
}

// tenantOf is the tenant that an object is in, where alone it can be changed.
func tenantOf(o avi.Object, s *settings.Settings, f *model.Facts) string {
	if s.OwnTenant {
		return s.Tenant // the account sees no other
	}
	ref := model.ParseRef(o.Text("tenant_ref"))
	if ref.Name != "" {
		return ref.Name
	}
	for name, uuid := range f.Shared[model.Tenant] {
		if uuid == ref.UUID {
			return name
		}
	}
	return cmp.Or(ref.UUID, s.Tenant) // the tenant admin has its name as its UUID
}

// groups labels the Service Engine groups that have no label. It returns those whose Service Engines don't take our routes.
func (r *Routes) groups(ctx context.Context, in staticroutes.Input, out *RoutesOutcome) (foreign map[string]string, err error) {
	names, missing := staticroutes.Groups(in)
	if missing != nil {
		out.Problems = append(out.Problems, *missing)
	}
	foreign = make(map[string]string)
	for _, name := range names {
		why := ""
		label := func(have []staticroutes.Label) (want []staticroutes.Label, ok bool) {
			want, ok, why = staticroutes.LabelGroup(name, in.Settings.ClusterName, have)
			return want, ok
		}
		changed, groupErr := r.group(ctx, in, name, label)
		switch {
		case groupErr != nil:
			err = cmp.Or(err, fmt.Errorf("labelling Service Engine group %s: %w", name, groupErr))
		case changed:
			out.Groups = append(out.Groups, name)
		case why != "":
			foreign[name] = why
			out.Problems = append(out.Problems, staticroutes.Problem{Reason: staticroutes.ReasonGroupLabelled, Message: why})
		}
	}
	return foreign, err
}

// group changes the labels of one group, if there is anything to change.
func (r *Routes) group(ctx context.Context, in staticroutes.Input, name string,
	change func([]staticroutes.Label) ([]staticroutes.Label, bool)) (changed bool, err error) {
	uuid := in.Facts.Shared[model.ServiceEngineGroup][name]
	o, err := r.Client.Read(ctx, model.ServiceEngineGroup, in.Settings.Tenant, uuid)
	if err != nil {
		return false, err
	}
	log := logr.FromContextOrDiscard(ctx)
	var dry error
	_, err = r.Client.Modify(ctx, model.ServiceEngineGroup, tenantOf(o, in.Settings, in.Facts), uuid, o, func(o avi.Object) (bool, error) {
		var have []staticroutes.Label
		if raw, ok := o["labels"]; ok {
			if err := json.Unmarshal(raw, &have); err != nil {
				return false, fmt.Errorf("reading its labels: %w", err)
			}
		}
		want, todo := change(have)
		changed = todo
		plan := fmt.Sprintf("labels %v -> %v", have, want)
		switch {
		case !todo:
			return false, nil
		case r.DryRun:
			log.Info("dry run: not carried out", "serviceenginegroup", name, "plan", plan)
			dry = &RestrainedError{By: translate.Flag, Plan: plan}
			return false, nil
		}
		log.Info("changing the labels of a Service Engine group; Service Engines that run already may need a restart to follow", "serviceenginegroup", name, "plan", plan)
		return true, setList(o, "labels", want)
	})
	err = cmp.Or(err, dry)
	return changed && err == nil, err
}

// Clear removes the cluster's routes from all VRF contexts of the cloud, and its label from the groups, after the last
// VirtualService that they serve has gone: ours, and those of others under the same cluster name.
func (r *Routes) Clear(ctx context.Context, in staticroutes.Input) RoutesOutcome {
	var out RoutesOutcome
	in.Facts = r.Mirror.Facts()
	if err := r.Mirror.Err(); err != nil || in.Facts == nil {
		out.Err = fmt.Errorf("the Controller can't be read: %w", cmp.Or(err, mirror.ErrNotLoaded))
		return out
	}
	defer r.end()
	r.turn(&out, nil)
	if out.Off = staticroutes.Others(in.Settings, in.Facts.Cloud); out.Off != "" {
		return out
	}
	if out.Waiting, out.Err = r.served(ctx, in.Settings); out.Waiting != "" || out.Err != nil {
		return out
	}
	out.Err = r.clearRoutes(ctx, in, &out)
	names, _ := staticroutes.Groups(in)
	for _, name := range names {
		changed, err := r.group(ctx, in, name, func(have []staticroutes.Label) ([]staticroutes.Label, bool) {
			return staticroutes.UnlabelGroup(in.Settings.ClusterName, have)
		})
		if changed {
			out.Groups = append(out.Groups, name)
		}
		if err != nil {
			out.Err = cmp.Or(out.Err, fmt.Errorf("removing our label from Service Engine group %s: %w", name, err))
		}
	}
	return out
}

// served says which VirtualServices of the cluster there are still.
func (r *Routes) served(ctx context.Context, s *settings.Settings) (string, error) {
	ours, others, example := 0, 0, ""
	for _, o := range r.Mirror.All() {
		if o.Key.Kind == model.VirtualService {
			ours++
		}
	}
	if ours > 0 {
		return fmt.Sprintf("%d VirtualServices of ours", ours), nil
	}
	tenant := "*"
	if s.OwnTenant {
		tenant = s.Tenant
	}
	err := r.Client.List(ctx, string(model.VirtualService), tenant,
		url.Values{"cloud_ref.name": {s.Cloud}, "name.contains": {s.Prefix()}, "fields": {"name"}}, func(raw json.RawMessage) error {
			var o struct {
				Name string `json:"name"`
			}
			if err := json.Unmarshal(raw, &o); err != nil {
				return err
			}
			if strings.HasPrefix(o.Name, s.Prefix()) {
				others, example = others+1, o.Name
			}
			return nil
		})
	if err != nil {
		return "", fmt.Errorf("looking for VirtualServices that use the static routes: %w", err)
	}
	if others > 0 {
		return fmt.Sprintf("%d VirtualServices of this cluster, such as %s, which are another's or not yet gone", others, example), nil
	}
	return "", nil
}

func (r *Routes) clearRoutes(ctx context.Context, in staticroutes.Input, out *RoutesOutcome) error {
	names := make([]string, 0, len(in.Facts.Shared[model.VrfContext]))
	for name := range in.Facts.Shared[model.VrfContext] {
		names = append(names, name)
	}
	slices.Sort(names)
	var failed []error
	for _, name := range names {
		uuid := in.Facts.Shared[model.VrfContext][name]
		o, err := r.Client.Read(ctx, model.VrfContext, in.Settings.Tenant, uuid)
		var steps []staticroutes.Step
		if err == nil {
			steps, err = r.clearVRF(ctx, in, name, uuid, o)
		}
		out.Steps = append(out.Steps, steps...)
		if err != nil {
			failed = append(failed, fmt.Errorf("removing our static routes from VRF context %s: %w", name, err))
		}
	}
	return errors.Join(failed...)
}

// clearVRF removes our routes from one VRF context, and returns those that it removed.
func (r *Routes) clearVRF(ctx context.Context, in staticroutes.Input, name, uuid string, o avi.Object) (steps []staticroutes.Step,
	err error) {
	log := logr.FromContextOrDiscard(ctx)
	var dry error
	_, err = r.Client.Modify(ctx, model.VrfContext, tenantOf(o, in.Settings, in.Facts), uuid, o, func(o avi.Object) (bool, error) {
		list, err := routesOf(o)
		if err != nil {
			return false, err
		}
		var rest []json.RawMessage
		rest, steps = staticroutes.Clear(in.Settings.ClusterName, list)
		plan := (&staticroutes.Plan{Steps: steps}).String()
		switch {
		case len(steps) == 0:
			return false, nil
		case r.DryRun:
			log.Info("dry run: not carried out", "vrfcontext", name, "plan", plan)
			dry = &RestrainedError{By: translate.Flag, Plan: plan}
			return false, nil
		}
		log.Info("removing static routes", "vrfcontext", name, "plan", plan)
		return true, setRoutes(o, rest)
	})
	if err = cmp.Or(err, dry); err != nil {
		return nil, err
	}
	return steps, nil
}

// unreached says which of an owner's pods no static route leads Service Engines to. Of a shared VIP, each Service has a finding about its
// own pods.
func (e *Engine) unreached(ctx context.Context, set *model.Set, s *settings.Settings, f *model.Facts) (out []model.Finding) {
	if e.Routes == nil || staticroutes.Off(s, f.Cloud) != "" {
		return nil
	}
	if e.Routes.settle(ctx); e.Routes.Reach() == nil {
		return nil
	}
	group, vrf := "", ""
	for _, o := range set.Objects {
		switch body := o.Body.(type) {
		case *models.VirtualService:
			group = nameOf(body.SeGroupRef, f)
		case *models.Pool:
			vrf = nameOf(body.VrfRef, f)
			if body.Tier1Lr != nil && *body.Tier1Lr != s.Placement.Tier1LR {
				vrf = *body.Tier1Lr
			}
		}
	}
	pods := podsOf(set)
	for _, about := range slices.Sorted(maps.Keys(pods)) {
		if finding := e.Routes.Reach().Finding(vrf, group, pods[about]); finding != nil {
			finding.About = about
			out = append(out, *finding)
		}
	}
	return out
}

// podsOf are the servers of a set, each once, by the Service of a shared VIP that they are of; else there is no name.
func podsOf(set *model.Set) map[string][]staticroutes.Pod {
	type of struct {
		about string
		addr  netip.Addr
	}
	out, seen := make(map[string][]staticroutes.Pod), make(map[of]bool)
	for _, o := range set.Objects {
		pool, ok := o.Body.(*models.Pool)
		if !ok {
			continue
		}
		about := ""
		if set.Owner.Kind == model.SharedVIPOwner {
			about = model.Mark(pool.Markers, model.MarkServiceName)
		}
		for _, server := range pool.Servers {
			if server == nil || server.IP == nil {
				continue
			}
			if a, err := netip.ParseAddr(text(server.IP.Addr)); err == nil && !seen[of{about, a}] {
				seen[of{about, a}] = true
				out[about] = append(out[about], staticroutes.Pod{Addr: a, Node: text(server.ServerNode)})
			}
		}
	}
	return out
}

// nameOf is the name of what a reference refers to, "" if there is none.
func nameOf(ref *string, f *model.Facts) string {
	r := model.ParseRef(text(ref))
	if r.Name != "" || r.UUID == "" {
		return r.Name
	}
	for name, uuid := range f.Shared[r.Kind] {
		if uuid == r.UUID {
			return name
		}
	}
	return r.UUID
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
