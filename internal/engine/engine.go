// Package engine runs the pipeline for one owner: build, plan, apply, and again where the Controller turned out to hold
// something else than the plan was made for. Reconcilers only make its Input.
package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/vmware/alb-sdk/go/models"

	"github.com/avi-l4-operator/avi-l4-operator/internal/apply"
	"github.com/avi-l4-operator/avi-l4-operator/internal/avi"
	"github.com/avi-l4-operator/avi-l4-operator/internal/mirror"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/plan"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
)

// rounds bounds how often one call plans anew, so that a Controller which contradicts itself costs a back-off, not a loop.
const rounds = 4

// Engine is safe for concurrent use on different owners.
type Engine struct {
	Mirror  *mirror.Mirror
	Applier *apply.Applier
	// DryRun prints plans to the log and carries none out.
	DryRun bool
	// Routes, where set, knows which pods Service Engines reach.
	Routes *Routes

	replaced sync.Map // model.Owner → what was replaced last
}

// Outcome is what is true of an owner after a run, for its status.
type Outcome struct {
	// Findings are about what was asked for: the build's and the plan's.
	Findings []model.Finding
	// Blocked: nothing could be planned; what serves, serves as before.
	Blocked bool
	// Err is why the Controller doesn't hold what is wanted; nil if it does. It is the first of the failures.
	Err error
	// Failed is the kind of object whose change Err is about, empty if it is about none.
	Failed model.Kind
	// Retry is the failure that passes soonest, which decides when to try again.
	Retry error
	// Refused tells that the Controller would not take some port's pool: worth another try when it may have changed.
	Refused bool
	// Unread: the Controller could not be read at all, so nothing is known of what serves.
	Unread bool

	Name      string // of the VirtualService
	Tenant    string
	VSUUID    string // empty: there is no VirtualService
	Addresses []netip.Addr
	FQDNs     []string
	// Ports are those that have a pool, in order; Backends tells the names of the Services behind each.
	Ports    []model.Port
	Backends map[model.Port][]string
	// Created, Updated and Deleted count the calls that succeeded.
	Created, Updated, Deleted int

	HealthKnown bool
	Health      mirror.Health
	Servers     string // "SCTP 80: 1 of 2 servers up", for the ports that aren't all up
}

// Serve brings the Controller to what the input asks for.
func (e *Engine) Serve(ctx context.Context, in translate.Input) Outcome {
	log := logr.FromContextOrDiscard(ctx)
	owner := in.Owner()
	out := Outcome{Name: translate.VirtualServiceName(in.Settings, owner), Tenant: translate.Tenant(in.Settings, in.Namespace)}
	in.Refused = map[string]model.Finding{}
	kept := e.keepTenant(owner, &in, &out)
	last := ""
	for round := range rounds {
		in.Facts = e.Mirror.Facts()
		if err := e.Mirror.Err(); err != nil || in.Facts == nil {
			out.Unread, out.Err = true, fmt.Errorf("the Controller can't be read: %w", cmp.Or(err, mirror.ErrNotLoaded))
			break
		}
		observed, err := e.observed(ctx, owner, out.Name)
		if err != nil {
			out.Err = err
			break
		}
		if vs := e.Mirror.Get(model.Key{Kind: model.VirtualService, Tenant: out.Tenant, Name: out.Name}); vs != nil {
			// Who has the name keeps it; age decides only where nobody has it.
			in.Rival = nil
			if vs.Owner != owner {
				in.Rival = &vs.Owner
			}
		}
		in.Live = translate.LiveOf(&in, observed)
		built := translate.Objects(in)
		out.Findings, out.Blocked = append(built.Findings, kept...), built.Blocked
		out.Findings = append(out.Findings, e.unreached(ctx, &built.Set, in.Settings, in.Facts)...)
		if built.Blocked {
			out.Err = nil
			break
		}
		p := plan.Diff(&built.Set, observed, plan.Policy{Replace: in.ReplacementAllowed(), Replaced: e.replacement(owner), UUIDs: e.Mirror.UUID})
		out.Findings = append(out.Findings, p.Findings...)
		if p.Empty() {
			out.Err = nil
			break
		}
		text := p.String()
		if text == last && out.Err == nil {
			out.Err = fmt.Errorf("the Controller doesn't keep what it is sent; still to do: %s", text)
			break
		}
		last = text
		log.V(1).Info("planned", "round", round, "plan", p.String())
		if e.DryRun {
			out.Err = &DryRunError{Plan: p.String()}
			log.Info("dry run: not carried out", "plan", p.String())
			break
		}
		if p.Replaces != "" {
			e.replaced.Store(owner, p.Replaces)
		}
		log.Info("changing the Controller", "creates", count(&p, plan.Create), "updates", count(&p, plan.Update), "deletes", count(&p, plan.Delete))
		again := e.judge(&out, in, built, e.Applier.Run(ctx, &p))
		if !again || ctx.Err() != nil {
			break
		}
	}
	if out.Retry == nil || out.Err == nil {
		out.Retry = out.Err
	}
	out.Refused = len(in.Refused) > 0
	e.describe(&out, in)
	model.SortFindings(out.Findings)
	return out
}

// keepTenant has a Service that serves in another tenant than its namespace's go on there, endpoints and all, unless it
// may be interrupted.
func (e *Engine) keepTenant(owner model.Owner, in *translate.Input, out *Outcome) []model.Finding {
	vs := e.serving(owner, out)
	if vs == nil || vs.Key.Tenant == out.Tenant || vs.Key.Name != out.Name || in.ReplacementAllowed() {
		return nil
	}
	wanted := out.Tenant
	in.Tenant, out.Tenant = vs.Key.Tenant, vs.Key.Tenant
	return []model.Finding{model.NeedsConsent(fmt.Sprintf("tenant: %s -> %s", vs.Key.Tenant, wanted))}
}

// judge counts what was done and decides whether another round helps: after a step that found the Controller changed,
// and after a pool that the Controller won't take, whose port is then left out for its neighbours' sake.
func (e *Engine) judge(out *Outcome, in translate.Input, built translate.Result, results []apply.StepResult) (again bool) {
	out.Err, out.Retry, out.Failed = nil, nil, ""
	for _, r := range results {
		if r.Err == nil {
			if !r.Skipped {
				out.count(r.Step.Op)
			}
			continue
		}
		again = again || r.Replan
		port, isPool := built.Pools[r.Step.Key.Name]
		if r.Step.Op == plan.Create && r.Step.Key.Kind == model.Pool && isPool && !r.Replan && Classify(r.Err) == Terminal {
			in.Refused[r.Step.Key.Name] = model.Finding{Severity: model.Blocked, Port: port, Reason: model.ReasonPortRefused,
				Message: fmt.Sprintf("port %s: the Controller refused its pool: %v", port, r.Err)}
			again = true
			continue
		}
		err := fmt.Errorf("%s %s: %w", r.Step.Op, r.Step.Key, r.Err)
		if out.Err == nil || Classify(err) > Classify(out.Err) {
			out.Err, out.Failed = err, r.Step.Key.Kind
		}
		if out.Retry == nil || Classify(err) < Classify(out.Retry) {
			out.Retry = err
		}
	}
	return again || out.Err == nil // an error-free run is checked by planning once more: nothing must be left to do
}

func (o *Outcome) count(op plan.Op) {
	switch op {
	case plan.Create:
		o.Created++
	case plan.Update:
		o.Updated++
	case plan.Delete:
		o.Deleted++
	}
}

func count(p *plan.Plan, op plan.Op) int {
	n := 0
	for _, s := range p.Steps {
		if s.Op == op {
			n++
		}
	}
	return n
}

// Remove deletes everything that the Controller holds for an owner. It returns nil only if nothing is left. The caller
// must know that the owner is gone, terminating or no longer ours.
func (e *Engine) Remove(ctx context.Context, owner model.Owner, tenant, name, reason string) (deleted int, err error) {
	log := logr.FromContextOrDiscard(ctx)
	for round := range rounds {
		if err := e.Mirror.Err(); err != nil {
			return deleted, fmt.Errorf("the Controller can't be read: %w", err)
		}
		if round == 0 && len(e.Mirror.Of(owner, name)) == 0 {
			// The answer to a VsVip's creation may have been lost, and unlike the others it could not be found by its markers.
			if _, err := e.Mirror.Fetch(ctx, model.Key{Kind: model.VsVip, Tenant: tenant, Name: name}); err != nil && avi.ReasonOf(err) != avi.ReasonNotFound && !isForeign(err) {
				return deleted, fmt.Errorf("looking for VsVip %s: %w", name, err)
			}
		}
		observed, lookErr := e.observed(ctx, owner, name)
		if isForeign(lookErr) {
			// The VsVip is somebody else's; what our markers are on is ours.
			observed = slices.DeleteFunc(e.Mirror.Of(owner, name), func(o *model.Observed) bool { return o.Key.Kind == model.VsVip })
		} else if lookErr != nil {
			return deleted, lookErr
		}
		p := plan.Teardown(owner, observed, reason)
		if p.Empty() {
			return deleted, nil
		}
		if e.DryRun {
			log.Info("dry run: not carried out", "plan", p.String())
			return deleted, &DryRunError{Plan: p.String()}
		}
		log.Info("removing from the Controller", "deletes", len(p.Steps), "reason", reason)
		err = nil
		retry := false
		for _, r := range e.Applier.Run(ctx, &p) {
			switch {
			case r.Err == nil && !r.Skipped:
				deleted++
			case r.Err != nil:
				retry = retry || r.Replan
				if err == nil {
					err = fmt.Errorf("%s %s: %w", r.Step.Op, r.Step.Key, r.Err)
				}
			}
		}
		if err != nil && (!retry || ctx.Err() != nil) {
			return deleted, err
		}
	}
	if err == nil {
		err = errors.New("objects remain after several attempts")
	}
	return deleted, err
}

// DryRunError tells what would have been done.
type DryRunError struct{ Plan string }

func (e *DryRunError) Error() string { return "dry run, not carried out: " + e.Plan }

// observed lists an owner's objects. A VsVip can't tell whose it is; one without a VirtualService that we know may be
// another client's, whose VirtualService isn't mirrored, so the Controller is asked before it is taken for ours.
func (e *Engine) observed(ctx context.Context, owner model.Owner, name string) ([]*model.Observed, error) {
	all := e.Mirror.Of(owner, name)
	for _, o := range all {
		vs := model.Key{Kind: model.VirtualService, Tenant: o.Key.Tenant, Name: o.Key.Name}
		if o.Key.Kind != model.VsVip || e.Mirror.Get(vs) != nil {
			continue
		}
		_, err := e.Mirror.Fetch(ctx, vs)
		if avi.ReasonOf(err) == avi.ReasonNotFound {
			continue // nobody's: the rest of what was being made, or unmade
		}
		if err != nil {
			return nil, err
		}
		return e.Mirror.Of(owner, name), nil
	}
	return all, nil
}

// replacement is what was last replaced for an owner, so that a Controller which doesn't give what is asked for isn't
// asked to start over again and again.
func (e *Engine) replacement(owner model.Owner) string {
	last, _ := e.replaced.Load(owner)
	text, _ := last.(string)
	return text
}

// describe reads what serves from the mirror, whether or not the run succeeded.
func (e *Engine) describe(out *Outcome, in translate.Input) {
	vs := e.serving(in.Owner(), out)
	if vs == nil {
		return
	}
	out.Name, out.Tenant, out.VSUUID = vs.Key.Name, vs.Key.Tenant, vs.UUID
	if vip := e.Mirror.Get(model.Key{Kind: model.VsVip, Tenant: out.Tenant, Name: out.Name}); vip != nil {
		out.Addresses, out.FQDNs = Addresses(vip), names(vip)
	}
	out.Health, out.HealthKnown = e.Mirror.VSHealth(vs.UUID)
	var servers []string
	out.Backends = make(map[model.Port][]string)
	for name, port := range translate.PoolPorts(&in) {
		pool := e.Mirror.Get(model.Key{Kind: model.Pool, Tenant: out.Tenant, Name: name})
		if pool == nil || pool.Owner != in.Owner() {
			continue
		}
		if !slices.Contains(out.Ports, port) {
			out.Ports = append(out.Ports, port)
		}
		if body, ok := pool.Body.(*models.Pool); ok {
			out.Backends[port] = append(out.Backends[port], model.Mark(body.Markers, model.MarkServiceName))
		}
		if h, ok := e.Mirror.PoolHealth(pool.UUID); ok && (h.Up < h.Servers || h.Servers == 0) {
			servers = append(servers, fmt.Sprintf("%s: %d of %d enabled servers up", port, h.Up, h.Servers))
		}
	}
	slices.SortFunc(out.Ports, func(a, b model.Port) int {
		return cmp.Or(cmp.Compare(a.Number, b.Number), cmp.Compare(a.Protocol, b.Protocol))
	})
	slices.Sort(servers)
	out.Servers = strings.Join(servers, "; ")
}

// Addresses are the addresses of a VsVip: floating ones if there are any, else IPv4 before IPv6.
func Addresses(vip *model.Observed) []netip.Addr {
	body, ok := vip.Body.(*models.VsVip)
	if !ok {
		return nil
	}
	var floating, four, six []netip.Addr
	add := func(list *[]netip.Addr, ip *models.IPAddr) {
		if ip == nil || ip.Addr == nil {
			return
		}
		if a, err := netip.ParseAddr(*ip.Addr); err == nil && !slices.Contains(*list, a) {
			*list = append(*list, a)
		}
	}
	for _, v := range body.Vip {
		if v == nil {
			continue
		}
		add(&floating, v.FloatingIP)
		add(&floating, v.FloatingIp6)
		add(&four, v.IPAddress)
		add(&six, v.Ip6Address)
	}
	if len(floating) > 0 {
		return floating
	}
	return append(four, six...)
}

// serving is the owner's VirtualService: the wanted one, or the one that serves under another name or in another tenant.
func (e *Engine) serving(owner model.Owner, out *Outcome) *model.Observed {
	vs := e.Mirror.Get(model.Key{Kind: model.VirtualService, Tenant: out.Tenant, Name: out.Name})
	if vs != nil && vs.Owner == owner {
		return vs
	}
	for _, o := range e.Mirror.Of(owner, out.Name) {
		if o.Key.Kind == model.VirtualService {
			return o
		}
	}
	return nil
}

func names(vip *model.Observed) (out []string) {
	if body, ok := vip.Body.(*models.VsVip); ok {
		for _, d := range body.DNSInfo {
			if d != nil && d.Fqdn != nil {
				out = append(out, *d.Fqdn)
			}
		}
	}
	slices.Sort(out)
	return out
}

// RefreshAddress reads a VsVip again whose address the Controller's IPAM had not given yet.
func (e *Engine) RefreshAddress(ctx context.Context, out *Outcome) error {
	vip, err := e.Mirror.Fetch(ctx, model.Key{Kind: model.VsVip, Tenant: out.Tenant, Name: out.Name})
	if err != nil {
		return fmt.Errorf("reading the address of VsVip %s: %w", out.Name, err)
	}
	out.Addresses = Addresses(vip)
	return nil
}

// Class is the kind of a failure, from the mildest to the gravest.
type Class int

// The four classes of DESIGN section 4.
const (
	None Class = iota
	Conflict
	Transient
	Wait
	Terminal
)

// Classify maps any error of a run to its class.
func Classify(err error) Class {
	var foreign *mirror.NotOursError
	var dry *DryRunError
	switch {
	case err == nil:
		return None
	case errors.As(err, &foreign), errors.As(err, &dry):
		return Terminal
	case errors.Is(err, mirror.ErrNotLoaded):
		return Transient
	}
	switch avi.ClassOf(err) {
	case avi.Terminal:
		return Terminal
	case avi.Wait:
		return Wait
	case avi.Conflict:
		return Conflict
	}
	return Transient
}

// RetryAfter is how long a Wait or Transient failure asks to be left alone; zero if it doesn't say.
func RetryAfter(err error) time.Duration { return avi.RetryAfterOf(err) }

// reasons maps the client's reasons to those of conditions and Events.
var reasons = map[avi.Reason]string{
	avi.ReasonNoFreeIP:      model.ReasonNoFreeAddress,
	avi.ReasonUpgrade:       model.ReasonControllerUpgrading,
	avi.ReasonTenantMissing: model.ReasonTenantMissing,
	avi.ReasonCredentials:   model.ReasonCredentials,
	avi.ReasonRefNotFound:   model.ReasonReferenceMissing,
	avi.ReasonUnavailable:   model.ReasonControllerDown,
	avi.ReasonTimeout:       model.ReasonControllerDown,
	avi.ReasonTLS:           model.ReasonControllerUntrusted,
	avi.ReasonServerError:   model.ReasonControllerDown,
	avi.ReasonThrottled:     model.ReasonControllerDown,
	avi.ReasonSession:       model.ReasonControllerDown,
}

// Reason names a failure for a condition.
func Reason(err error) string {
	var foreign *mirror.NotOursError
	var dry *DryRunError
	switch {
	case errors.As(err, &foreign):
		return model.ReasonNameTaken
	case errors.As(err, &dry):
		return model.ReasonDryRun
	case errors.Is(err, mirror.ErrNotLoaded):
		return model.ReasonControllerDown
	case errors.Is(err, mirror.ErrNoCloud):
		return model.ReasonReferenceMissing
	}
	if r, ok := reasons[avi.ReasonOf(err)]; ok {
		return r
	}
	return model.ReasonControllerRefused
}

// ClusterUUID is the Controller cluster's, empty while it isn't known.
func (e *Engine) ClusterUUID() string {
	if f := e.Mirror.Facts(); f != nil {
		return f.ClusterUUID
	}
	return ""
}

func isForeign(err error) bool {
	var foreign *mirror.NotOursError
	return errors.As(err, &foreign)
}

// VirtualServices counts ours.
func (e *Engine) VirtualServices() (n int) {
	for _, o := range e.Mirror.All() {
		if o.Key.Kind == model.VirtualService {
			n++
		}
	}
	return n
}

// Holds tells whether the Controller is known to hold objects of an owner whose VirtualService is called name.
func (e *Engine) Holds(owner model.Owner, name string) bool { return len(e.Mirror.Of(owner, name)) > 0 }
