package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/avi-l4-operator/avi-l4-operator/internal/engine"
	"github.com/avi-l4-operator/avi-l4-operator/internal/gather"
	"github.com/avi-l4-operator/avi-l4-operator/internal/mirror"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/outcome"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
	"github.com/avi-l4-operator/avi-l4-operator/internal/status"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
)

// Deps are what the reconcilers of all kinds of owner share.
type Deps struct {
	Client   client.Client
	Live     client.Reader // asks the API server, not the cache
	Gather   *gather.Reader
	Engine   *engine.Engine
	Settings *settings.Store
	Status   *status.Writer
	Guard    *guard
	// Lead makes sure that what is known of the Controller is from after this replica became the leader.
	Lead func()
	// Leaving tells whether an optional API is being removed from the cluster, or has been.
	Leaving func(context.Context, gather.API) (bool, error)
	// Freed queues the owners whose VirtualService has, behind the prefix, that name: one that had it is gone.
	Freed func(name string)
	// Workers is the number of owners worked on at once. Timeout bounds one of them.
	Workers int
	Timeout time.Duration
}

// owners is the part of a reconciler that is the same for every kind of owner: what it remembers between runs, how an
// owner is claimed and let go, and how its objects are removed.
type owners struct {
	Deps
	Kind model.OwnerKind
	Log  logr.Logger

	mu      sync.Mutex
	queue   workqueue.TypedRateLimitingInterface[reconcile.Request] // set when the controller starts
	waiting map[types.NamespacedName]bool                           // keys whose last run failed, for the day when the Controller is back
	told    map[types.UID]string                                    // the last Warning of tellOnce
	orphans map[types.NamespacedName]bool                           // what the sweep found
	calm    calm
}

func newOwners(d Deps, kind model.OwnerKind, log logr.Logger) *owners {
	return &owners{Deps: d, Kind: kind, Log: log, waiting: make(map[types.NamespacedName]bool), told: make(map[types.UID]string), orphans: make(map[types.NamespacedName]bool)}
}

// capture is a source that brings no events and keeps the queue.
func (r *owners) capture() source.Source {
	return source.Func(func(_ context.Context, q workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.queue = q
		return nil
	})
}

func (r *owners) ownerOf(o client.Object) model.Owner {
	return model.Owner{Kind: r.Kind, Namespace: o.GetNamespace(), Name: o.GetName()}
}

func (r *owners) owner(key types.NamespacedName) model.Owner {
	return model.Owner{Kind: r.Kind, Namespace: key.Namespace, Name: key.Name}
}

// enqueue queues keys, if the controller runs already; if not, its first list queues them all.
func (r *owners) enqueue(keys ...types.NamespacedName) {
	r.mu.Lock()
	queue := r.queue
	r.mu.Unlock()
	if queue == nil {
		return
	}
	for _, k := range keys {
		queue.Add(reconcile.Request{NamespacedName: k})
	}
}

// Changed queues owners whose objects on the Controller are no longer what they were; those of another kind are not
// its business.
func (r *owners) Changed(changed []model.Owner) {
	for _, o := range changed {
		if o.Kind == r.Kind {
			r.enqueue(types.NamespacedName{Namespace: o.Namespace, Name: o.Name})
		}
	}
}

// Waiting re-queues the owners whose last run failed, without their back-off: the Controller is back, or was read anew.
func (r *owners) Waiting() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.queue == nil {
		return
	}
	for key := range r.waiting {
		r.queue.Forget(reconcile.Request{NamespacedName: key})
		r.queue.Add(reconcile.Request{NamespacedName: key})
	}
}

func (r *owners) hold(key types.NamespacedName, failing bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if failing {
		r.waiting[key] = true
	} else {
		delete(r.waiting, key)
	}
}

func (r *owners) failing() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.waiting)
}

// tellOnce emits a Warning that isn't repeated while it stays the same.
func (r *owners) tellOnce(o client.Object, reason, message string) {
	r.mu.Lock()
	same := r.told[o.GetUID()] == reason+message
	if len(r.told) > 10000 { // only a memory: losing it repeats an Event
		clear(r.told)
	}
	r.told[o.GetUID()] = reason + message
	r.mu.Unlock()
	if !same {
		r.Status.Warn(o, reason, message)
	}
}

// handedOver tells whether another instance of the operator serves an owner, which has to let go of it first.
func handedOver(o client.Object, cfg *settings.Settings) (other string, yes bool) {
	other = o.GetAnnotations()[gather.AnnotationServedBy]
	return other, other != "" && other != cfg.Instance() && controllerutil.ContainsFinalizer(o, gather.Finalizer)
}

func servedByAnother(kind model.OwnerKind, instance string) string {
	return fmt.Sprintf("the instance %s serves this %s and has to let go first; if it is gone for good, delete the %s's objects on the Controller and remove annotation %s", instance, kind.Noun(), kind.Noun(), gather.AnnotationServedBy)
}

// claim puts the finalizer and the instance's name on an owner before anything is made for it, and takes over from
// another controller's finalizers.
func (r *owners) claim(ctx context.Context, o client.Object, instance string, replaces ...string) error {
	before := o.DeepCopyObject().(client.Object)
	changed := controllerutil.AddFinalizer(o, gather.Finalizer) || o.GetAnnotations()[gather.AnnotationServedBy] != instance
	for _, f := range replaces {
		changed = controllerutil.RemoveFinalizer(o, f) || changed
	}
	if !changed {
		return nil
	}
	annotate(o, gather.AnnotationServedBy, instance)
	return r.patch(ctx, o, before)
}

// unclaim lets an owner go.
func (r *owners) unclaim(ctx context.Context, o client.Object, too ...string) error {
	before := o.DeepCopyObject().(client.Object)
	changed := controllerutil.RemoveFinalizer(o, gather.Finalizer)
	for _, f := range too {
		changed = controllerutil.RemoveFinalizer(o, f) || changed
	}
	if !changed {
		return nil
	}
	annotate(o, gather.AnnotationServedBy, "")
	return r.patch(ctx, o, before)
}

func annotate(o client.Object, key, value string) {
	a := o.GetAnnotations()
	if a == nil {
		a = make(map[string]string, 1)
	}
	if value == "" {
		delete(a, key)
	} else {
		a[key] = value
	}
	o.SetAnnotations(a)
}

// patch changes the finalizers. The list is replaced as a whole, so the lock keeps another controller's finalizer from
// being lost.
func (r *owners) patch(ctx context.Context, o, before client.Object) error {
	if err := r.Client.Patch(ctx, o, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("changing the finalizers of %s %s/%s: %w", r.Kind.Noun(), o.GetNamespace(), o.GetName(), err)
	}
	return nil
}

// candidate is a Gateway, of either API, about which is to be decided whether it is served.
type candidate struct {
	object client.Object
	ns     *corev1.Namespace
	// ours, or unknown because its class doesn't exist; why says why not.
	ours, unknown bool
	why           string
	// finalizers are others' that are taken over with it.
	finalizers []string
	noClass    func() error // tells one that was never claimed that its class doesn't exist
	inherited  func() bool  // tells whether one that was never claimed is ours to clean up
	takeBack   func() error // removes what was written on one that is let go, and on what belongs to it
	left       func()       // is called when it has been let go
	serve      func() (ctrl.Result, error)
}

// decide serves a candidate, lets it go, or leaves it alone.
func (r *owners) decide(ctx context.Context, cfg *settings.Settings, c candidate) (ctrl.Result, error) {
	claimed, deleted := controllerutil.ContainsFinalizer(c.object, gather.Finalizer), c.object.GetDeletionTimestamp() != nil
	if cfg.DeleteConfig && claimed {
		c.ours, c.unknown, c.why = false, false, "deleteConfig is true: everything on the Controller is being removed"
	}
	if deleted {
		c.ours, c.unknown, c.why = false, false, "the Gateway is being deleted"
	}
	other, handover := handedOver(c.object, cfg)
	switch {
	case handover && (c.ours || deleted):
		r.tellOnce(c.object, model.ReasonServedByAnother, servedByAnother(r.Kind, other))
		return ctrl.Result{}, nil
	case handover:
		return ctrl.Result{}, nil // another instance's
	case c.unknown && !claimed:
		return resultOf(ctx, client.IgnoreNotFound(c.noClass()))
	case c.unknown:
		// A class that vanished is no reason to take down what it let us serve.
	case !c.ours:
		if !deleted && claimed && !cfg.DeleteConfig {
			if err := r.deselect(c.object, cfg); err != nil {
				return r.keep(ctx, c.object, c.why, err)
			}
		} else {
			r.Guard.settle(r.ownerOf(c.object))
		}
		if !claimed && !c.inherited() {
			return ctrl.Result{}, nil // somebody else's, finalizers and all
		}
		return r.release(ctx, cfg, c.object, c.ns, c.why, c.takeBack, c.left, c.finalizers...)
	}
	r.Guard.settle(r.ownerOf(c.object))
	if err := r.claim(ctx, c.object, cfg.Instance(), c.finalizers...); err != nil {
		return resultOf(ctx, client.IgnoreNotFound(err))
	}
	return c.serve()
}

// spare lets go of an owner that is deleted because its type is being removed from the cluster. Its objects on the
// Controller go on serving; the type's return, and the owner's, finds them.
func (r *owners) spare(ctx context.Context, o client.Object, group string, too ...string) (ctrl.Result, error) {
	ctrl.LoggerFrom(ctx).Info("the type is being removed from the cluster; the owner's objects on the Controller stay as they are")
	r.tellOnce(o, model.ReasonDeletionHeld, fmt.Sprintf("the CustomResourceDefinitions of %s are being removed; what the Controller serves for this %s stays as it is", group, r.Kind.Noun()))
	return resultOf(ctx, client.IgnoreNotFound(r.unclaim(ctx, o, too...)))
}

// release removes the objects of an owner that is deleted or no longer ours, then the finalizer and those in too.
// takeBack removes what was written on the owner, and left is called when it has been let go.
func (r *owners) release(ctx context.Context, cfg *settings.Settings, o client.Object, ns *corev1.Namespace, why string, takeBack func() error, left func(), too ...string) (ctrl.Result, error) {
	owner := r.ownerOf(o)
	tenant, name := translate.Tenant(cfg, ns), translate.VirtualServiceName(cfg, owner)
	held := controllerutil.ContainsFinalizer(o, gather.Finalizer)
	for _, f := range too {
		held = held || controllerutil.ContainsFinalizer(o, f)
	}
	if !held && !r.Engine.Holds(owner, name) {
		return ctrl.Result{}, nil
	}
	deleted, err := r.Engine.Remove(ctx, owner, tenant, name, why)
	r.hold(client.ObjectKeyFromObject(o), err != nil)
	if err != nil {
		if !errors.Is(err, mirror.ErrNotLoaded) {
			r.tellOnce(o, "DeletingLoadBalancerFailed", err.Error())
		}
		return resultOf(ctx, err)
	}
	ctrl.LoggerFrom(ctx).Info("nothing is left on the Controller", "reason", why, "deleted", deleted)
	if err := takeBack(); client.IgnoreNotFound(err) != nil {
		return resultOf(ctx, err)
	}
	if deleted > 0 {
		r.Status.Deleted(o, deleted)
	}
	if err := r.unclaim(ctx, o, too...); client.IgnoreNotFound(err) != nil {
		return resultOf(ctx, err)
	}
	left()
	r.Freed(o.GetNamespace() + "-" + o.GetName())
	return ctrl.Result{}, nil
}

// unlessDeleted is for what isn't worth writing on an owner that goes.
func unlessDeleted(o client.Object, write func() error) func() error {
	return func() error {
		if o.GetDeletionTimestamp() != nil {
			return nil
		}
		return write()
	}
}

// askForAll asks Antrea for the node ports of the Services behind a Gateway that the build has put there. One that can't be
// asked for is told, and doesn't keep the others from it.
func (r *owners) askForAll(ctx context.Context, cfg *settings.Settings, about client.Object, in translate.Input, out outcome.Outcome) (failed error) {
	for _, b := range in.Backends {
		behind := false
		for port, names := range out.Backends {
			behind = behind || port.Protocol != "SCTP" && slices.Contains(names, b.Service.Name)
		}
		if !behind {
			continue
		}
		if err := r.askForPorts(ctx, cfg, b.Service); client.IgnoreNotFound(err) != nil {
			r.tellOnce(about, model.ReasonNodePortLocal, err.Error())
			failed = errors.Join(failed, err)
		}
	}
	return failed
}

// askForPorts asks Antrea for the node ports of a Service's pods, as AKO does, where the settings reach servers so.
func (r *owners) askForPorts(ctx context.Context, cfg *settings.Settings, svc *corev1.Service) error {
	_, skip := svc.Annotations[translate.AnnotationSkipNodePort]
	_, asked := svc.Annotations[translate.AnnotationNodePortLocal]
	if cfg.ServiceType != settings.NodePortLocal || skip || asked || svc.Spec.Type == corev1.ServiceTypeNodePort || r.Engine.DryRun {
		return nil
	}
	next := svc.DeepCopy()
	annotate(next, translate.AnnotationNodePortLocal, "true")
	if err := r.Client.Patch(ctx, next, client.MergeFrom(svc)); err != nil {
		return fmt.Errorf("setting annotation %s of Service %s/%s: %w", translate.AnnotationNodePortLocal, svc.Namespace, svc.Name, err)
	}
	return nil
}

// keep leaves an owner as it is although it is not selected any more.
func (r *owners) keep(ctx context.Context, o client.Object, why string, err error) (ctrl.Result, error) {
	r.tellOnce(o, model.ReasonDeletionHeld, fmt.Sprintf("%s; its objects are kept, because %v", why, err))
	ctrl.LoggerFrom(ctx).Info("kept although not selected any more", "reason", why, "held", err.Error())
	return ctrl.Result{RequeueAfter: spread(guardWindow)}, nil
}

// deselect asks the guard before an owner is let go that somebody else's word has deselected.
func (r *owners) deselect(o client.Object, cfg *settings.Settings) error {
	owner := r.ownerOf(o)
	if !r.Engine.Holds(owner, translate.VirtualServiceName(cfg, owner)) {
		r.Guard.settle(owner)
		return nil
	}
	return r.Guard.allow(owner, r.Engine.VirtualServices(), time.Now())
}

// Orphans has the objects of owners removed that don't exist. It happens in the owners' own turn, so that one that is
// created meanwhile doesn't lose what it has just been given.
func (r *owners) Orphans(gone []model.Owner) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.queue == nil {
		return
	}
	for _, o := range gone {
		if o.Kind == r.Kind {
			key := types.NamespacedName{Namespace: o.Namespace, Name: o.Name}
			r.orphans[key] = true
			r.queue.Add(reconcile.Request{NamespacedName: key})
		}
	}
}

// orphan removes what an owner left that the sweep found missing, if the API server itself says that it doesn't exist.
// as is an empty object of the owner's type.
func (r *owners) orphan(ctx context.Context, cfg *settings.Settings, key types.NamespacedName, as client.Object) (ctrl.Result, error) {
	r.hold(key, false)
	r.Guard.settle(r.owner(key))
	r.Freed(key.Namespace + "-" + key.Name)
	r.mu.Lock()
	found := r.orphans[key]
	delete(r.orphans, key)
	r.mu.Unlock()
	if !found || cfg == nil {
		return ctrl.Result{}, nil
	}
	if api := ownerAPIs[r.Kind]; api != "" {
		if leaving, err := r.Leaving(ctx, api); leaving || err != nil {
			return ctrl.Result{}, err // the next sweep looks again
		}
	}
	err := r.Live.Get(ctx, key, as)
	if !apierrors.IsNotFound(err) {
		return ctrl.Result{}, err // it exists, or nobody knows: the next sweep looks again
	}
	owner := r.owner(key)
	deleted, err := r.Engine.Remove(ctx, owner, cfg.Tenant, translate.VirtualServiceName(cfg, owner), fmt.Sprintf("its %s doesn't exist", r.Kind.Noun()))
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "removing what a vanished owner left; the next sweep tries again", "owner", owner.String())
		return ctrl.Result{}, nil
	}
	ctrl.LoggerFrom(ctx).Info("removed what a vanished owner left", "owner", owner.String(), "deleted", deleted)
	return ctrl.Result{}, nil
}

// ownerAPIs are the optional APIs that kinds of owner belong to.
var ownerAPIs = map[model.OwnerKind]gather.API{model.SvcAPIGatewayOwner: gather.ServicesAPI, model.GatewayOwner: gather.GatewayAPI}

// serve runs the pipeline and waits a moment for an address that the Controller's IPAM has yet to give.
func (r *owners) serve(ctx context.Context, in translate.Input) (out outcome.Outcome, pending bool) {
	owner := in.Owner()
	key := types.NamespacedName{Namespace: owner.Namespace, Name: owner.Name}
	out = r.Engine.Serve(ctx, in)
	if did := out.Changes; did.Any() {
		r.calm.wrote(key, time.Now())
		ctrl.LoggerFrom(ctx).Info("changed the Controller", "created", did.Created, "updated", did.Updated, "deleted", did.Deleted,
			"virtualService", out.Name, "addresses", fmt.Sprint(out.Addresses), "complete", out.Retry() == nil)
	}
	pending = out.AddressPending()
	if pending {
		if err := r.Engine.RefreshAddress(ctx, &out.Serving); err != nil {
			ctrl.LoggerFrom(ctx).Info("the address isn't known yet", "error", err.Error())
		}
		pending = out.AddressPending()
	}
	r.hold(key, out.Waiting())
	return out, pending
}

// addressPoll is how soon an address that wasn't given yet is asked for again.
const addressPoll = 2 * time.Second

// calm spaces the updates of one owner during a burst of endpoint changes. A first change waits a tenth of a second
// for its like; while changes go on, updates come half a second apart, then one, then two.
type calm struct {
	mu   sync.Mutex
	last map[types.NamespacedName]burst
}

type burst struct {
	at  time.Time // of the last update
	gap time.Duration
}

const (
	calmFirst = 100 * time.Millisecond
	calmGap   = 500 * time.Millisecond
	calmMax   = 2 * time.Second
	calmReset = 5 * time.Second
)

func (c *calm) delay(key types.NamespacedName, now time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := c.last[key]
	return max(calmFirst, b.gap-now.Sub(b.at))
}

func (c *calm) wrote(key types.NamespacedName, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last == nil {
		c.last = make(map[types.NamespacedName]burst)
	}
	b := c.last[key]
	switch {
	case now.Sub(b.at) > calmReset:
		b.gap = calmGap
	default:
		b.gap = min(2*b.gap, calmMax)
	}
	b.at = now
	c.last[key] = b
	if len(c.last) > 4096 { // forget what has long been calm
		for k, b := range c.last {
			if now.Sub(b.at) > calmReset {
				delete(c.last, k)
			}
		}
	}
}
