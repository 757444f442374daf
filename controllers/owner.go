// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel/attribute"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/avi-l4-operator/avi-l4-operator/internal/avi"
	"github.com/avi-l4-operator/avi-l4-operator/internal/engine"
	"github.com/avi-l4-operator/avi-l4-operator/internal/gather"
	"github.com/avi-l4-operator/avi-l4-operator/internal/mirror"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/outcome"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
	"github.com/avi-l4-operator/avi-l4-operator/internal/status"
	"github.com/avi-l4-operator/avi-l4-operator/internal/tracing"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
)

// Deps are what all reconcilers share.
type Deps struct {
	Client   client.Client
	Live     client.Reader // asks the API server, not the cache
	Gather   *gather.Reader
	Engine   *engine.Engine
	Settings *settings.Store
	Status   *status.Writer
	Guard    *guard
	APIs     *APIs
	// Lead makes sure that what is known of the Controller is from after this replica became the leader.
	Lead func()
	// Moved queues the owners that may serve what another one has let go.
	Moved func([]model.Owner)
	// Freed queues the owners whose VirtualService has, behind the prefix, that name: one that had it is gone.
	Freed func(name string)
	// Workers is the number of owners of a kind worked on at once. Timeout bounds one of them.
	Workers int
	Timeout time.Duration
}

// kind is what differs between the kinds of owner, besides how their objects are read (gather.Kind) and what they ask for
// (translate.Owner): watches and status. Each has a file of its own, and a line in the list of Setup.
type kind[T client.Object] interface {
	gather.Kind[T]

	// refers reports whether objects of the kind may name objects of an optional API, so that they are looked at when it comes
	// or goes.
	refers(gather.API) bool
	// finalizers are other controllers' that are taken over with an object.
	finalizers() []string
	// inherited reports whether an object that was never claimed, and isn't ours to serve, is ours to clean up.
	inherited(*settings.Settings, *gather.Candidate[T]) bool
	// marked reports whether a VirtualService with the markers of an owner of the kind, nil if there is none, is of this kind.
	marked(owner model.Owner, vs *model.Observed) bool
	// exists asks the API server itself whether there is an object.
	exists(context.Context, types.NamespacedName) (bool, error)
	// forget drops what is remembered of an object that is gone, or was let go.
	forget(types.NamespacedName)

	// watch adds the watches on types that every cluster has, sources are those on the types of an optional API.
	watch(*builder.Builder, handlers) *builder.Builder
	sources(cache.Cache, gather.API, handlers) []source.Source
	// using are the owners that have a Service behind them, and inNamespace those whose Services are in a namespace, as they
	// were last read.
	using(service types.NamespacedName) []types.NamespacedName
	inNamespace(ctx context.Context, namespace string) []types.NamespacedName
	// moved lets through changes of an object that may change which AviInfraSetting places it. It is nil where objects of another
	// kind say that.
	moved() predicate.Predicate

	// said reads what the status of an object, or of those that it is made of, says.
	said() status.Reading
	// relevant reports whether an object is, or was, one to serve.
	relevant(T) bool
	// programmed reports whether the status says that an object is served.
	programmed(T) bool
	// writeStatus writes what came of a run into the status. Without settings there is no run, and in has nothing but the namespace.
	writeStatus(context.Context, T, translate.Input, outcome.Outcome) error
	// reportNoClass says on an object that was never claimed that its class doesn't exist.
	reportNoClass(context.Context, T, string) error
	// clear takes back what writeStatus has written, from an object that stays and from others that belong to it.
	clear(context.Context, T) error
	// handBack takes back what writeStatus has written but for what says where traffic goes, and leaves the result in the object. served
	// reports whether the object carries the operator's finalizer or name; changed, whether there was anything.
	handBack(ctx context.Context, o T, served bool) (changed bool, err error)
}

// owners is the reconciler of one kind of owner.
type owners[T client.Object] struct {
	Deps
	kind[T]
	Log logr.Logger

	*queue
	*memory
	*calm
	name string // of the controller
	// parts takes the place of decide for owners that are made of several objects.
	parts func(context.Context, *settings.Settings, *gather.Candidate[T]) (ctrl.Result, error)
	// served are the owners in a candidate that the Controller holds something for, and whether settings or labels let go of each.
	served     func(*settings.Settings, *gather.Candidate[T]) map[model.Owner]bool
	controller controller.Controller
}

func newOwners[T client.Object](d Deps, name string, k kind[T], log logr.Logger) *owners[T] {
	gather.Add(d.Gather, k)
	d.Status.AddKind(k.said())
	r := &owners[T]{Deps: d, kind: k, Log: log, queue: new(queue), memory: newMemory(), calm: new(calm), name: name}
	r.served = r.alone
	return r
}

// Reconcile brings one owner's objects on the Controller, and its status, to what it asks for. A run is one trace.
func (r *owners[T]) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	ctx, end := tracing.Begin(ctx, r.name, attribute.String("owner.kind", string(r.Owner())),
		attribute.String("k8s.namespace.name", req.Namespace), attribute.String("owner.name", req.Name))
	result, err := r.reconcile(ctx, req)
	end(err)
	return result, err
}

func (r *owners[T]) reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	r.Lead()
	ctx = status.WithRun(avi.WithRun(ctx, req.Namespace), status.Run{Controller: r.name, Owner: req.NamespacedName})
	if r.Engine.Mirror.Err() != nil {
		ctx = engine.Unread(ctx)
	}
	if api := r.API(); api != "" && !r.APIs.Serves(api) {
		return ctrl.Result{}, nil // nothing can be known of them
	}
	missed := r.takeMissed(req.NamespacedName) // before the cache is read, which doesn't have the object when this is true
	c, err := gather.Read(ctx, r.kind, req.NamespacedName)
	if err != nil {
		if missed {
			r.miss(req.NamespacedName) // for the next try
		}
		return ctrl.Result{}, err
	}
	cfg := r.Settings.Current()
	if c == nil {
		return r.gone(ctx, cfg, req.NamespacedName, missed)
	}
	if c.Object.GetDeletionTimestamp() == nil {
		r.alive(req.NamespacedName)
	}
	leaving, err := r.leaving(ctx, c.Object)
	switch {
	case err != nil:
		return ctrl.Result{}, err
	case leaving:
		return r.spare(ctx, c.Object)
	case cfg == nil:
		return r.unconfigured(ctx, c)
	case cfg.Layer7Only && !c.Ending:
		return ctrl.Result{}, nil
	}
	if r.parts != nil {
		return r.parts(ctx, cfg, c)
	}
	return r.decide(ctx, cfg, c)
}

// decide serves a candidate, lets it go, or leaves it alone.
func (r *owners[T]) decide(ctx context.Context, cfg *settings.Settings, c *gather.Candidate[T]) (ctrl.Result, error) {
	claimed, deleted := gather.Claimed(c.Object), c.Object.GetDeletionTimestamp() != nil
	v := r.verdict(cfg, c)
	if c.Judge(cfg).Elsewhere {
		return ctrl.Result{}, nil
	}
	other, handover := r.handedOver(c.Object, r.ownerOf(c.Object), cfg)
	switch {
	case handover && r.Engine.Known(ctx) != nil:
		return resultOf(ctx, mirror.ErrNotLoaded) // whether that is true
	case handover && r.unserved(c.Object, c.Judge(cfg).Ours):
		return r.letGo(ctx, cfg, c, v.Why)
	case handover && (v.Ours || deleted):
		return r.anothers(ctx, c, other)
	case handover:
		return ctrl.Result{}, nil // another instance's
	case v.Unknown && !claimed:
		return r.classless(ctx, cfg, c)
	case v.Unknown:
		// A class that vanished is no reason to take down what it let us serve.
	case !v.Ours:
		return r.letGo(ctx, cfg, c, v.Why)
	}
	r.Guard.settle(ctx, r.ownerOf(c.Object))
	if wait, why := r.unknownName(ctx); !claimed && wait {
		if why == nil {
			return resultOf(ctx, mirror.ErrNotLoaded)
		}
		return resultOf(ctx, client.IgnoreNotFound(r.writeStatus(ctx, c.Object, translate.Input{Namespace: c.Namespace}, *why)))
	}
	if err := r.claim(ctx, c.Object, cfg.Instance()); err != nil {
		return resultOf(ctx, client.IgnoreNotFound(err))
	}
	return r.serve(ctx, cfg, c)
}

// unknownName reports whether nothing may be claimed, because it isn't known whose the cluster's name on the Controller is, or because it
// is another cluster's, which why says then.
func (r *owners[T]) unknownName(ctx context.Context) (wait bool, why *outcome.Outcome) {
	if err := r.Engine.Mirror.Others(); err != nil {
		o := outcome.NewUnasked(model.Finding{Severity: model.Blocked, Reason: model.ReasonNameTaken, Message: err.Error()})
		return true, &o
	}
	return errors.Is(r.Engine.Known(ctx), mirror.ErrNotLoaded), nil
}

// anothers says on an owner that another instance has claimed, and that is to be served or let go, why nothing happens. The status
// is the other instance's, once that has written it: a manifest that was copied from another cluster has a claim and nobody
// behind it.
func (r *owners[T]) anothers(ctx context.Context, c *gather.Candidate[T], instance string) (ctrl.Result, error) {
	text := servedByAnother(r.Owner(), instance)
	r.warnOnce(c.Object, model.ReasonServedByAnother, text)
	if r.Status.Spoken(c.Object) {
		return ctrl.Result{}, nil
	}
	why := outcome.NewUnasked(model.Finding{Severity: model.Blocked, Reason: model.ReasonServedByAnother, Message: text})
	return resultOf(ctx, client.IgnoreNotFound(r.writeStatus(ctx, c.Object, translate.Input{Namespace: c.Namespace}, why)))
}

// verdict reports whether a candidate is to be served.
func (r *owners[T]) verdict(cfg *settings.Settings, c *gather.Candidate[T]) translate.Verdict {
	switch {
	case c.Object.GetDeletionTimestamp() != nil:
		return translate.Verdict{Why: "the " + r.Owner().Noun() + " is being deleted"}
	case gather.Claimed(c.Object) && cfg.DeleteConfig:
		return translate.Verdict{Why: "deleteConfig is true: everything on the Controller is being removed"}
	}
	return c.Judge(cfg)
}

// classless says on an object in a namespace that is served why nothing happens: its class doesn't exist.
func (r *owners[T]) classless(ctx context.Context, cfg *settings.Settings, c *gather.Candidate[T]) (ctrl.Result, error) {
	if !cfg.Accepts(c.Namespace.Name, c.Namespace.Labels) {
		return ctrl.Result{}, nil
	}
	return resultOf(ctx, client.IgnoreNotFound(r.reportNoClass(ctx, c.Object, c.Setting.Problem)))
}

// letGo removes what was made for an object that is not ours to serve, unless too many are let go at once.
func (r *owners[T]) letGo(ctx context.Context, cfg *settings.Settings, c *gather.Candidate[T], why string) (ctrl.Result, error) {
	if err := r.restrained(cfg, c.Object, why); err != nil {
		r.Guard.settle(ctx, r.ownerOf(c.Object))
		return r.keep(ctx, c.Object, why, err)
	}
	if !c.Deselected(cfg) {
		r.Guard.settle(ctx, r.ownerOf(c.Object))
	} else if err := r.deselect(ctx, c.Object, cfg); err != nil {
		return r.keep(ctx, c.Object, why, err)
	}
	if !gather.Claimed(c.Object) && !r.inherited(cfg, c) {
		return ctrl.Result{}, nil // somebody else's, finalizers and all
	}
	return r.release(ctx, cfg, c, why)
}

// serve runs the pipeline for an object that is ours and writes what came of it into the status.
func (r *owners[T]) serve(ctx context.Context, cfg *settings.Settings, c *gather.Candidate[T]) (ctrl.Result, error) {
	if wait, why := r.unknownName(ctx); wait && why == nil { // the load queues all owners
		r.hold(client.ObjectKeyFromObject(c.Object), true)
		return resultOf(ctx, mirror.ErrNotLoaded)
	}
	reading, gathered := r.Engine.Time(ctx, engine.Gather)
	in, err := gather.Input(reading, r.Gather, r.kind, cfg, c)
	gathered()
	if err != nil {
		return ctrl.Result{}, err
	}
	in.Had = r.had(c.Object)
	out, pending := r.run(ctx, client.ObjectKeyFromObject(c.Object), in)
	asked := r.askForPorts(ctx, cfg, c.Object, in, out)
	if out.State() == outcome.Unread && (errors.Is(out.Retry(), mirror.ErrNotLoaded) || r.programmed(c.Object)) {
		if other := new(mirror.OtherClusterError); errors.As(out.Retry(), &other) {
			r.warnOnce(c.Object, model.ReasonNameTaken, other.Error())
		}
		return resultOf(ctx, out.Retry()) // a status that was right would change twice at each restart
	}
	if err := r.timedStatus(ctx, c.Object, in, out); err != nil {
		return resultOf(ctx, client.IgnoreNotFound(err))
	}
	switch {
	case pending:
		return ctrl.Result{RequeueAfter: spread(addressPoll)}, nil
	case out.Retry() == nil && asked != nil:
		return resultOf(ctx, asked)
	case out.Retry() == nil && out.Forbidden:
		return ctrl.Result{RequeueAfter: spread(retryMax)}, nil
	case out.Retry() == nil && unreadable(out.Findings): // a type that came back grows old
		return ctrl.Result{RequeueAfter: spread(min(r.APIs.Grace, time.Minute))}, nil
	}
	return resultOf(ctx, out.Retry())
}

// timedStatus writes a run's status and measures how long that takes. That of a run that changed nothing is news of what is there already,
// and a thousand owners may have some at once.
func (r *owners[T]) timedStatus(ctx context.Context, o T, in translate.Input, out outcome.Outcome) error {
	ctx, stop := r.Engine.Time(ctx, engine.Status)
	defer stop()
	if !out.Changes.Any() {
		ctx = status.Unhurried(ctx)
	}
	return r.writeStatus(ctx, o, in, out)
}

// had are the addresses that the operator has written into the status of an owner, or of the first member of a shared VIP that has any.
func (d *Deps) had(o client.Object) []netip.Addr {
	group, ok := o.(*gather.Group)
	if !ok {
		return d.Status.Had(o)
	}
	for _, m := range group.Members {
		if list := d.Status.Had(m); len(list) > 0 {
			return list
		}
	}
	return nil
}

// unreadable reports whether something was left as it is because its type, or the objects of it, can't be read.
func unreadable(findings []model.Finding) bool {
	return slices.ContainsFunc(findings, func(f model.Finding) bool {
		return f.Reason == model.ReasonRoutesUnreadable && f.Severity == model.Degraded
	})
}

// run runs the engine and waits a moment for an address that the Controller's IPAM has yet to give.
func (r *owners[T]) run(ctx context.Context, key types.NamespacedName, in translate.Input) (out outcome.Outcome, pending bool) {
	out = r.Engine.Serve(ctx, in)
	if did := out.Changes; did.Any() {
		ctrl.LoggerFrom(ctx).Info("changed the Controller", "created", did.Created, "updated", did.Updated, "deleted", did.Deleted,
			"virtualService", out.Name, "addresses", fmt.Sprint(out.Addresses), "complete", out.Retry() == nil)
	}
	if out.AddressPending() {
		if err := r.Engine.RefreshAddress(ctx, &out.Serving); err != nil {
			ctrl.LoggerFrom(ctx).Info("the address isn't known yet", "error", err.Error())
		}
	}
	r.hold(key, out.Waiting() && !engine.Restrained(out.Retry()).Paused())
	return out, out.AddressPending()
}

// unconfigured says on an object that would be ours by AKO's defaults why nothing happens. It says nothing while the settings have yet to
// be read, which queues all owners again, nor on an object that is served already, or that another instance has judged.
func (r *owners[T]) unconfigured(ctx context.Context, c *gather.Candidate[T]) (ctrl.Result, error) {
	if !r.Settings.Read() {
		return ctrl.Result{}, nil
	}
	text := configurationError(r.Settings).Error()
	finding := model.Finding{Severity: model.Blocked, Reason: model.ReasonConfigurationInvalid, Message: text}
	var errs []error
	for _, one := range singly(c.Object) {
		var err error
		switch part := partsOf(one)[0]; {
		case part.GetDeletionTimestamp() != nil && gather.Claimed(part):
			r.warnOnce(part, reasonDeleting, text)
			err = r.Status.Stuck(ctx, part, finding.Reason, text)
		case part.GetDeletionTimestamp() != nil, !c.Managed, r.programmed(one), r.Status.Judged(part, configuredIn(r.Settings)):
		default:
			err = r.writeStatus(ctx, one, translate.Input{Namespace: c.Namespace}, outcome.NewUnasked(finding))
		}
		errs = append(errs, client.IgnoreNotFound(err))
	}
	return resultOf(ctx, errors.Join(errs...))
}

// singly are an owner's parts as owners of their own, itself if it is one: something may be said of one and not of the others.
func singly[T client.Object](o T) []T {
	if several, ok := any(o).(interface{ Singly() []T }); ok {
		return several.Singly()
	}
	return []T{o}
}

// askForPorts asks Antrea for the node ports of the Services behind an owner. A Service for which Antrea can't be asked is reported, and
// doesn't keep the others from their ports.
func (r *owners[T]) askForPorts(ctx context.Context, cfg *settings.Settings, about T, in translate.Input,
	out outcome.Outcome) (failed error) {
	if cfg.ServiceType != settings.NodePortLocal || r.Engine.DryRun || in.Owner.Restraint().Any() {
		return nil
	}
	for _, b := range in.Backends {
		if !behind(b.Service, out) {
			continue
		}
		if err := r.askForPortsOf(ctx, b.Service); client.IgnoreNotFound(err) != nil {
			r.warnOnce(about, model.ReasonNodePortLocal, err.Error())
			failed = errors.Join(failed, err)
		}
	}
	return failed
}

// behind reports whether a Service has a pool of a protocol that Antrea can map.
func behind(svc *corev1.Service, out outcome.Outcome) bool {
	for port, names := range out.Backends {
		if port.Protocol != string(corev1.ProtocolSCTP) && slices.Contains(names, svc.Name) {
			return true
		}
	}
	return false
}

// askForPortsOf asks Antrea for the node ports of a Service's pods, as AKO does.
func (r *owners[T]) askForPortsOf(ctx context.Context, svc *corev1.Service) error {
	_, skip := svc.Annotations[translate.AnnotationSkipNodePort]
	_, asked := svc.Annotations[translate.AnnotationNodePortLocal]
	if skip || asked || svc.Spec.Type == corev1.ServiceTypeNodePort {
		return nil
	}
	next := svc.DeepCopy()
	annotate(next, translate.AnnotationNodePortLocal, "true")
	if err := r.Client.Patch(ctx, next, client.MergeFrom(svc)); err != nil {
		return fmt.Errorf("setting annotation %s of Service %s/%s: %w", translate.AnnotationNodePortLocal, svc.Namespace, svc.Name, err)
	}
	return nil
}

// SetupWithManager registers the watches on types that every cluster has.
func (r *owners[T]) SetupWithManager(mgr ctrl.Manager) error {
	b := ctrl.NewControllerManagedBy(mgr).
		Named(r.name).
		Watches(&discoveryv1.EndpointSlice{}, r.sliceHandler()).
		Watches(&corev1.Namespace{}, mapped(r.ofNamespace), builder.WithPredicates(metadataChanged(), sinceFirstList())).
		WatchesRawSource(r.capture()).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: r.Workers,
			RateLimiter:             rateLimiter(),
			ReconciliationTimeout:   r.Timeout,
			EnableWarmup:            new(r.API() == ""), // a standby has its queue filled, where the types are always there
		})
	c, err := r.watch(b, r.handlers()).Build(r)
	r.controller = c
	return err
}

// Watch begins to watch an API's types, which the API server has.
func (r *owners[T]) Watch(c cache.Cache, api gather.API) error {
	return watch(r.controller, r.sources(c, api, r.handlers()))
}

// Refers implements part.
func (r *owners[T]) Refers(api gather.API) bool { return r.refers(api) }

// handlers make handlers of the events of owners, or of what these are made of. The function finds the owners. An event that shows nothing
// but what the last run for an owner wrote doesn't run that owner again. A deletion that the API server carried out although the object had
// just been given the finalizer is remembered: that run makes something for an owner which nobody lets go.
type handlers struct {
	plainly func(handler.MapFunc) handler.EventHandler
	// calmly is plainly for objects whose annotations somebody may change again and again.
	calmly func(handler.MapFunc) handler.EventHandler
}

func (r *owners[T]) handlers() handlers {
	return handlers{plainly: r.others(mapped), calmly: r.others(r.calmly)}
}

// others leaves the updates that an owner's own run wrote to the other owners that they concern.
func (r *owners[T]) others(how func(handler.MapFunc) handler.EventHandler) func(handler.MapFunc) handler.EventHandler {
	return func(find handler.MapFunc) handler.EventHandler {
		all := how(find)
		out := handler.Funcs{CreateFunc: all.Create, GenericFunc: all.Generic}
		out.DeleteFunc = func(ctx context.Context, e event.DeleteEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			if !e.DeleteStateUnknown && r.overlooked(e.Object, time.Now()) {
				for _, request := range find(ctx, e.Object) {
					r.miss(request.NamespacedName)
				}
			}
			all.Delete(ctx, e, q)
		}
		out.UpdateFunc = func(ctx context.Context, e event.UpdateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			r.Status.Event(e.ObjectOld, e.ObjectNew, func(by status.Run) {
				if by.Controller != r.name {
					all.Update(ctx, e, q)
					return
				}
				how(func(ctx context.Context, o client.Object) []reconcile.Request {
					return slices.DeleteFunc(find(ctx, o), func(own reconcile.Request) bool { return own.NamespacedName == by.Owner })
				}).Update(ctx, e, q)
			})
		}
		return out
	}
}

// calmly queues owners that are changed. Where only annotations are, the first change counts at once, and those that follow it closely when
// they pause. Somebody's program that writes annotations in a loop is no reason to call the Controller as often.
func (r *owners[T]) calmly(find handler.MapFunc) handler.EventHandler {
	plain := mapped(find)
	out := handler.Funcs{CreateFunc: plain.Create, DeleteFunc: plain.Delete, GenericFunc: plain.Generic}
	out.UpdateFunc = func(ctx context.Context, e event.UpdateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
		if !annotatedOnly(e.ObjectOld, e.ObjectNew) {
			plain.Update(ctx, e, q)
			return
		}
		for _, request := range append(find(ctx, e.ObjectOld), find(ctx, e.ObjectNew)...) {
			r.change(request.NamespacedName, time.Now(), func() { q.Add(request) })
		}
	}
	return out
}

// annotatedOnly reports whether nothing but annotations was changed.
func annotatedOnly(before, after client.Object) bool {
	if before.GetResourceVersion() == after.GetResourceVersion() {
		return false // nothing was
	}
	plain := func(o client.Object) any {
		bare := o.DeepCopyObject()
		if meta, ok := bare.(client.Object); ok {
			meta.SetAnnotations(nil)
			meta.SetManagedFields(nil)
			meta.SetResourceVersion("")
		}
		return bare
	}
	return apiequality.Semantic.DeepEqual(plain(before), plain(after))
}

// itself finds an owner in an event of its own.
func itself(_ context.Context, o client.Object) []reconcile.Request {
	return requestsFor(client.ObjectKeyFromObject(o))
}

// sliceHandler queues the owners of an EndpointSlice's Service: a rollout changes endpoints many times, and each change of a pool is a
// call. An owner that serves already goes before those that are yet to be made. The first list of all EndpointSlices queues nobody: that of
// the owners does.
func (r *owners[T]) sliceHandler() handler.EventHandler {
	return afterFirstList(eachObject(func(_ context.Context, o client.Object, _ workqueue.TypedRateLimitingInterface[reconcile.Request]) {
		name := o.GetLabels()[discoveryv1.LabelServiceName]
		if name == "" {
			return
		}
		for _, key := range r.using(types.NamespacedName{Namespace: o.GetNamespace(), Name: name}) {
			r.change(key, time.Now(), func() {
				if r.serving(key) {
					r.before(key)
				} else {
					r.enqueue(key)
				}
			})
		}
	}))
}

// serving reports whether the Controller holds something of an owner.
func (r *owners[T]) serving(key types.NamespacedName) bool {
	cfg, owner := r.Settings.Current(), r.ownerAt(key)
	return cfg != nil && r.Engine.Holds(owner, translate.VirtualServiceName(cfg, owner))
}

func (r *owners[T]) ofNamespace(ctx context.Context, ns client.Object) []reconcile.Request {
	return requestsFor(r.inNamespace(ctx, ns.GetName())...)
}

// All queues every owner of the kind.
func (r *owners[T]) All() { r.enqueue(r.keys(context.Background(), r.relevant)...) }

// Resync queues every owner of the kind, after those that have a reason of their own.
func (r *owners[T]) Resync() { r.later(r.keys(context.Background(), r.relevant)...) }

// keys are the owners of which something is true.
func (r *owners[T]) keys(ctx context.Context, which func(T) bool) []types.NamespacedName {
	return keysWhere(ctx, r.Deps, r.kind, r.Log, which)
}

// keysWhere are the objects of a kind of which something is true; none before the cache has them, since their first list
// queues them all.
func keysWhere[T client.Object](ctx context.Context, d Deps, k gather.Kind[T], log logr.Logger,
	which func(T) bool) (out []types.NamespacedName) {
	if api := k.API(); api != "" && !d.APIs.Synced(api) {
		return nil
	}
	all, err := k.List(ctx)
	if err != nil {
		log.Error(err, "listing owners from the cache", "kind", k.Owner())
		return nil
	}
	for _, o := range all {
		if which(o) {
			out = append(out, client.ObjectKeyFromObject(o))
		}
	}
	return out
}

// Named queues the owners whose VirtualService has that name behind the prefix: an owner that waited for the name may have it.
func (r *owners[T]) Named(name string) {
	if api := r.API(); api != "" && !r.APIs.Synced(api) {
		return
	}
	found, err := r.kind.Named(context.Background(), name)
	if err != nil {
		r.Log.Error(err, "listing owners of one name on the Controller", "kind", r.Owner())
		return
	}
	for _, o := range found {
		r.enqueue(client.ObjectKeyFromObject(o))
	}
}

// InNamespace queues the owners whose servers may be pods of a namespace.
func (r *owners[T]) InNamespace(ctx context.Context, name string) {
	r.enqueue(r.inNamespace(ctx, name)...)
}

// Changed queues owners whose objects on the Controller are no longer what they were; those of another kind are not
// its business.
func (r *owners[T]) Changed(changed []model.Owner) {
	r.enqueue(r.mine(changed)...)
}

// HealthChanged queues owners whose status is to say something else: a thousand VirtualServices may come up at once, and nothing is to be
// done for them but to say so.
func (r *owners[T]) HealthChanged(changed []model.Owner) {
	r.later(r.mine(changed)...)
}

// mine are the keys of owners of the kind.
func (r *owners[T]) mine(all []model.Owner) (out []types.NamespacedName) {
	for _, o := range all {
		if o.MayBe(model.Owner{Kind: r.Owner(), Namespace: o.Namespace, Name: o.Name}) {
			out = append(out, types.NamespacedName{Namespace: o.Namespace, Name: o.Name})
		}
	}
	return out
}

// Waiting queues the owners whose last run failed, without their back-off: the Controller is back, or was read anew. What serves, and what
// is to be removed, goes before what is yet to be made: traffic may go to pods that are gone, and an address may be waited for.
func (r *owners[T]) Waiting() {
	waiting := r.failing()
	r.hurry(waiting...)
	for _, key := range waiting {
		if r.serving(key) {
			r.before(key)
		}
	}
}

// Failing counts them.
func (r *owners[T]) Failing() int { return len(r.failing()) }

// Conditions counts what the status of the owners says, as the cache has it. An owner without conditions of its own, such as a shared
// VIP, whose Services have them, counts for nothing.
func (r *owners[T]) Conditions(ctx context.Context) map[conditionCount]int {
	if api := r.API(); api != "" && !r.APIs.Synced(api) {
		return nil
	}
	cfg := r.Settings.Current()
	all, err := r.List(ctx)
	if err != nil || cfg == nil {
		return nil // the cache has not begun, or nothing can be this instance's
	}
	out := make(map[conditionCount]int)
	for _, o := range all {
		if _, another := saysAnother(o, cfg); another {
			continue // a second installation in the cluster counts its own
		}
		if said := r.Status.Said(o); said != nil && gather.Claimed(o) {
			countConditions(out, string(r.Owner()), *said.Conditions)
		}
	}
	return out
}

// Orphans has the objects of owners removed that don't exist. It happens in the owners' own turn, so that one that is
// created meanwhile doesn't lose what it has just been given.
func (r *owners[T]) Orphans(gone []model.Owner) {
	if r.get() == nil {
		return
	}
	for _, key := range r.mine(gone) {
		r.orphan(key)
		r.enqueue(key)
	}
}

// Kind is that of the owners.
func (r *owners[T]) Kind() model.OwnerKind { return r.Owner() }

// Remaining lists the owners of the cache, and reports of each whether it is, or was, served.
func (r *owners[T]) Remaining(ctx context.Context) (map[model.Owner]bool, error) {
	all, err := r.List(ctx)
	if err != nil {
		return nil, err
	}
	out := make(map[model.Owner]bool, len(all))
	for _, o := range all {
		out[r.ownerOf(o)] = r.relevant(o)
	}
	return out, nil
}

// Addresses are those that the statuses of the cache's owners have, as this instance of the operator wrote them.
func (r *owners[T]) Addresses(ctx context.Context) (out []netip.Addr, err error) {
	cfg := r.Settings.Current()
	if cfg == nil {
		return nil, nil
	}
	all, err := r.List(ctx)
	for _, o := range all { // the members of shared VIPs are among the Services
		if o.GetAnnotations()[gather.AnnotationServedBy] == cfg.Instance() {
			out = append(out, r.had(o)...)
		}
	}
	return out, err
}

// Absent reports whether the API server itself says that an owner doesn't exist.
func (r *owners[T]) Absent(ctx context.Context, owner model.Owner) (bool, error) {
	found, err := r.exists(ctx, types.NamespacedName{Namespace: owner.Namespace, Name: owner.Name})
	if err != nil {
		return false, fmt.Errorf("asking the API server for %s: %w", owner, err)
	}
	return !found, nil
}

// onServer asks the API server itself for an object, which it reads, and reports whether there is one.
func (d *Deps) onServer(ctx context.Context, key types.NamespacedName, o client.Object) (bool, error) {
	err := d.Live.Get(ctx, key, o)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

// LetGo reports whether this process saw an owner being deleted, and let it go: what is there for it came late, from a replica that
// led before.
func (r *owners[T]) LetGo(owner model.Owner) bool {
	return r.wasLetGo(types.NamespacedName{Namespace: owner.Namespace, Name: owner.Name})
}

// Marked reports whether the VirtualService with an owner's markers, nil if there is none, is of the kind.
func (r *owners[T]) Marked(owner model.Owner, vs *model.Observed) bool { return r.marked(owner, vs) }

// Placed lists the owners that an AviInfraSetting places.
func (r *owners[T]) Placed(ctx context.Context, cfg *settings.Settings, setting string) (out []model.Owner, err error) {
	all, err := r.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, o := range all {
		c, err := r.Candidate(ctx, o)
		if err != nil {
			return nil, err
		}
		if c.Placed(cfg, setting) {
			out = append(out, r.ownerOf(o))
		}
	}
	return out, nil
}

// Ruled lists the owners that an L4Rule overrides something for: those that name it, and those that have a Service behind them
// which does.
func (r *owners[T]) Ruled(ctx context.Context, cfg *settings.Settings, rule types.NamespacedName) (out []model.Owner, err error) {
	if api := r.API(); api != "" && !r.APIs.Synced(api) {
		return nil, nil
	}
	services, err := r.Gather.ServicesOfRule(ctx, rule)
	if err != nil {
		return nil, err
	}
	behind := make(map[types.NamespacedName]bool)
	for _, s := range services {
		for _, key := range r.using(s) {
			behind[key] = true
		}
	}
	all, err := r.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, o := range all {
		if own, ok := gather.RuleOf(o); !(ok && own == rule || behind[client.ObjectKeyFromObject(o)]) {
			continue
		}
		c, err := r.Candidate(ctx, o)
		if err != nil {
			return nil, err
		}
		if c.Served(cfg) {
			out = append(out, r.ownerOf(o))
		}
	}
	return out, nil
}

// Usage says which AviInfraSetting an owner is placed by.
func (r *owners[T]) Usage() usage {
	return usage{api: r.API(), object: r.New(), changed: r.moved(), setting: func(ctx context.Context, o client.Object) string {
		if o, ok := o.(T); ok {
			if c, err := r.Candidate(ctx, o); err == nil {
				return c.Setting.Name
			}
		}
		return ""
	}}
}

func (r *owners[T]) ownerOf(o client.Object) model.Owner {
	return r.ownerAt(client.ObjectKeyFromObject(o))
}

func (r *owners[T]) ownerAt(key types.NamespacedName) model.Owner {
	return model.Owner{Kind: r.Owner(), Namespace: key.Namespace, Name: key.Name}
}

// warnOnce emits a Warning that isn't repeated while it stays the same: on the object, or on those that it is made of.
func (r *owners[T]) warnOnce(o client.Object, reason, message string) {
	for _, part := range partsOf(o) {
		if r.firstTime(part, reason+message) {
			r.Status.Warn(part, reason, message)
		}
	}
}
