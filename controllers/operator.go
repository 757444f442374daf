// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/avi-l4-operator/avi-l4-operator/internal/apply"
	"github.com/avi-l4-operator/avi-l4-operator/internal/avi"
	"github.com/avi-l4-operator/avi-l4-operator/internal/engine"
	"github.com/avi-l4-operator/avi-l4-operator/internal/gatewayapi"
	"github.com/avi-l4-operator/avi-l4-operator/internal/gather"
	"github.com/avi-l4-operator/avi-l4-operator/internal/mirror"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/plan"
	"github.com/avi-l4-operator/avi-l4-operator/internal/probes"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
	"github.com/avi-l4-operator/avi-l4-operator/internal/staticroutes"
	"github.com/avi-l4-operator/avi-l4-operator/internal/status"
)

// Options are the operator's own, besides its settings.
type Options struct {
	Namespace       string
	CAFile          string
	Workers         int
	Concurrency     int
	QPS             float64
	Timeout         time.Duration
	Refresh, Health time.Duration
	TokenCheck      time.Duration // how often a user token is looked after; 0: every minute
	DeletionShare   float64
	LeaderElect     bool
	DryRun          bool
	// IgnoreRouteNamespaces lets Gateways of the Services API take Services of every namespace, as AKO does.
	IgnoreRouteNamespaces bool
	// TakeUnnamed lets Gateways of the Services API take Services of other namespaces that don't name them by their labels.
	TakeUnnamed bool
	// ControllerNames are further controllerNames of GatewayClasses of gateway.networking.k8s.io to serve.
	ControllerNames []string
	SetLogLevel     func(string) // nil: the level isn't the ConfigMap's to choose
	Log             logr.Logger
	Registerer      prometheus.Registerer // nil: no metrics
}

// part is a reconciler, as the operator drives it.
type part interface {
	SetupWithManager(ctrl.Manager) error
	// Watch begins to watch what concerns the part of an API's types, which the API server has.
	Watch(cache.Cache, gather.API) error
	// Refers reports whether what the part looks at may name objects of an optional API, and All queues all of that.
	Refers(gather.API) bool
	All()
}

// ownerPart is the reconciler of a kind of owner (owners).
type ownerPart interface {
	part
	API() gather.API
	Kind() model.OwnerKind
	Named(string)
	InNamespace(context.Context, string)
	Resync()
	Changed([]model.Owner)
	HealthChanged([]model.Owner)
	Waiting()
	Failing() int
	Conditions(context.Context) map[conditionCount]int
	Orphans([]model.Owner)
	Remaining(context.Context) (map[model.Owner]bool, error)
	Addresses(context.Context) ([]netip.Addr, error)
	Census(context.Context, *settings.Settings) (census, error)
	LetGo(model.Owner) bool
	Absent(context.Context, model.Owner) (bool, error)
	Marked(model.Owner, *model.Observed) bool
	Placed(context.Context, *settings.Settings, string) ([]model.Owner, error)
	Ruled(context.Context, *settings.Settings, types.NamespacedName) ([]model.Owner, error)
	Preview(context.Context, *settings.Settings, *engine.Engine, func(model.Owner) bool) ([]foreseen, error)
	HandBack(context.Context) (int, error)
	Usage() usage
}

// classPart is the reconciler of a kind of GatewayClass (classes).
type classPart interface {
	part
	OfSetting(string)
	Usage() usage
}

// Operator is the running whole, for probes and tests.
type Operator struct {
	Settings *settings.Store
	Mirror   *mirror.Mirror
	Engine   *engine.Engine
	APIs     *APIs
	Nodes    *NodeReconciler
	Routes   *StaticRoutesReconciler
	Guard    *guard
	// Owners has a reconciler for each kind of owner, Classes one for each kind of GatewayClass.
	Owners  []ownerPart
	Classes []classPart

	lead      func()      // makes what is known of the Controller be from after this replica became the leader
	leading   atomic.Bool // that is so, or there is no election
	parts     []part      // those, the AviInfraSettings' and the routes'
	client    *avi.Client
	events    *status.Recorder
	synced    atomic.Bool
	available atomic.Bool // what the client said last
	metrics   *instruments
}

// kinds makes the reconcilers: a new kind of owner is a line here.
func (op *Operator) kinds(d Deps, log logr.Logger) {
	op.Owners = []ownerPart{
		newServices(d, log.WithName("service")),
		newSharedVIPs(d, log.WithName("sharedvip")),
		newGateways(d, log.WithName("gateway")),
		newSvcAPIGateways(d, log.WithName("svcapigateway")),
	}
	op.Classes = []classPart{
		newClassReconciler(d, log.WithName("gatewayclass")),
		newSvcAPIClassReconciler(d, log.WithName("svcapigatewayclass")),
	}
	for _, o := range op.Owners {
		op.parts = append(op.parts, o)
	}
	for _, c := range op.Classes {
		op.parts = append(op.parts, c)
	}
	op.parts = append(op.parts, &InfraSettingReconciler{Deps: d, queue: new(queue), Log: log.WithName("aviinfrasetting"), Owners: op.Owners, Classes: op.Classes})
	op.parts = append(op.parts, &RuleReconciler{Deps: d, queue: new(queue), Log: log.WithName("l4rule"), Owners: op.Owners})
	for _, kind := range gatewayapi.RouteKinds() {
		op.parts = append(op.parts, &RouteReconciler{Deps: d, queue: new(queue), Kind: kind, Log: log.WithName(kind)})
	}
}

// Setup registers everything with the manager.
func Setup(ctx context.Context, mgr ctrl.Manager, client *avi.Client, o Options) (*Operator, error) {
	if err := gather.SetupIndexes(ctx, mgr.GetFieldIndexer()); err != nil {
		return nil, err
	}
	op := &Operator{Settings: new(settings.Store), client: client, metrics: newInstruments(), APIs: NewAPIs(), lead: func() {}}
	op.available.Store(true)
	op.leading.Store(!o.LeaderElect)
	op.Mirror = mirror.New(client, o.Log.WithName("mirror"))
	op.Engine = &engine.Engine{Mirror: op.Mirror, Applier: &apply.Applier{Client: client, Mirror: op.Mirror, Done: op.metrics.step},
		DryRun: o.DryRun, Watch: op.metrics.watch()}
	if o.LeaderElect {
		op.lead = sync.OnceFunc(func() {
			op.leading.Store(true)
			op.Mirror.Expire()
		})
	}
	if err := op.discover(mgr, o); err != nil {
		return nil, err
	}
	recorder, err := status.NewRecorder(mgr.GetConfig(), mgr.GetHTTPClient(), mgr.GetScheme(), "avi-l4-operator")
	if err != nil {
		return nil, err
	}
	op.events = recorder
	op.Mirror.Cluster, op.Mirror.Refused = clusterUID(mgr.GetAPIReader()), refused(recorder, o.Namespace)
	op.Mirror.Known, op.Engine.Statuses = op.known, op.statuses
	op.Guard = op.guard(mgr, recorder, o)
	client.RememberLogins(logins(mgr, o))
	deps := op.deps(mgr, recorder, o)
	op.kinds(deps, o.Log)
	op.Routes = op.staticRoutes(deps, mgr, o)
	op.parts = append(op.parts, op.Routes)
	op.Nodes = &NodeReconciler{Settings: op.Settings, Everybody: op.owners, Namespace: op.inNamespace}
	op.subscribe()
	setups := []func(ctrl.Manager) error{op.Nodes.SetupWithManager, op.settingsReconciler(mgr, recorder, o).SetupWithManager}
	for _, p := range op.parts {
		setups = append(setups, p.SetupWithManager)
	}
	for _, setup := range setups {
		if err := setup(mgr); err != nil {
			return nil, fmt.Errorf("setting up a controller: %w", err)
		}
	}
	if err := op.register(o.Registerer); err != nil {
		return nil, err
	}
	return op, op.addRunnables(mgr, o)
}

// discover looks for the optional types once, and prepares to follow their coming and going.
func (op *Operator) discover(mgr ctrl.Manager, o Options) error {
	discoverer, err := discovery.NewDiscoveryClientForConfigAndClient(mgr.GetConfig(), mgr.GetHTTPClient())
	if err != nil {
		return fmt.Errorf("making a discovery client: %w", err)
	}
	a := op.APIs
	a.Cache, a.Live, a.Discovery, a.Log, a.Grace = mgr.GetCache(), mgr.GetAPIReader(), discoverer, o.Log.WithName("apis"), 2*o.Refresh
	a.Appeared = func(name gather.API) error { return op.appeared(mgr.GetCache(), name) }
	a.Vanished = func(name gather.API) {
		op.Routes.Vanished(name)
		op.referring(name)
	}
	a.Versioned = func() {
		for _, c := range op.Classes {
			c.All()
		}
	}
	return a.Prime()
}

// deps is what the reconcilers share.
func (op *Operator) deps(mgr ctrl.Manager, recorder events.EventRecorder, o Options) Deps {
	return Deps{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Engine: op.Engine, Settings: op.Settings, APIs: op.APIs,
		Gather: &gather.Reader{Client: mgr.GetClient(), Serves: op.APIs.Serves, Synced: op.APIs.Synced,
			IgnoreRouteNamespaces: o.IgnoreRouteNamespaces, TakeUnnamed: o.TakeUnnamed,
			ControllerNames: append([]string{gatewayapi.Controller}, o.ControllerNames...)},
		Guard:   op.Guard,
		Workers: o.Workers, Timeout: 10 * o.Timeout, Lead: op.lead, Freed: op.freed, Moved: op.look,
		Status: &status.Writer{Client: mgr.GetClient(), Recorder: recorder, Now: time.Now, Silent: func() bool {
			s := op.Settings.Current()
			return s != nil && !s.Events
		}},
	}
}

// guard makes what holds deletions by settings, labels and absence.
func (op *Operator) guard(mgr ctrl.Manager, recorder events.EventRecorder, o Options) *guard {
	return &guard{
		share: o.DeletionShare, now: time.Now, census: op.census, changed: op.changed,
		ledger: &ledger{live: mgr.GetAPIReader(), client: mgr.GetClient(), namespace: o.Namespace, dry: o.DryRun},
		release: func() []string {
			if s := op.Settings.Current(); s != nil {
				return s.Released
			}
			return nil
		},
		report: op.reportHeld(recorder, o),
	}
}

// reportHeld returns a function that reports in metric, log and an Event on the settings what a guard holds.
func (op *Operator) reportHeld(recorder events.EventRecorder, o Options) func(plan.Guard, plan.Hold) {
	about := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: o.Namespace, Name: settings.ConfigMapName}}
	return func(rule plan.Guard, h plan.Hold) {
		op.metrics.deletions.WithLabelValues(string(rule)).Set(float64(len(h.Owners)))
		if h.ID == "" {
			o.Log.Info("no deletion is held any more", "guard", rule)
			return
		}
		text := heldError{plan.RuleOf(rule).Why, h, o.Namespace}.Error()
		o.Log.Error(nil, "deletions are held: "+text, "guard", rule, "id", h.ID, "owners", h.Owners)
		note := fmt.Sprintf("%s. Held: %s", text, strings.Join(h.Owners, ", "))
		note = strings.ToValidUTF8(note[:min(len(note), 1000)], "")
		recorder.Eventf(about, nil, corev1.EventTypeWarning, model.ReasonDeletionHeld, "Delete", "%s", note)
	}
}

// staticRoutes makes the reconciler of static routes to pods.
func (op *Operator) staticRoutes(d Deps, mgr ctrl.Manager, o Options) *StaticRoutesReconciler {
	op.Engine.Routes = &engine.Routes{
		Client: op.client, Mirror: op.Mirror, DryRun: o.DryRun,
		Limit: staticroutes.Limit{Share: o.DeletionShare, Least: deletionLeast},
	}
	return &StaticRoutesReconciler{
		Deps: d, queue: new(queue), Cached: mgr.GetCache(), Namespace: o.Namespace, Age: min(30*time.Second, o.Refresh),
		Log: o.Log.WithName("staticroutes"), Turned: op.owners, Routes: op.Engine.Routes,
	}
}

// freed queues the owners that may have waited for a name.
func (op *Operator) freed(name string) {
	for _, o := range op.Owners {
		o.Named(name)
	}
}

// subscribe hears of what changes on the Controller.
func (op *Operator) subscribe() {
	op.Mirror.Changed = op.changed
	op.Mirror.HealthChanged = func(at []model.Owner) {
		for _, o := range op.Owners {
			o.HealthChanged(at)
		}
	}
	op.Mirror.Loaded = func() {
		for _, o := range op.Owners {
			o.Waiting()
		}
		op.Routes.Waiting()
	}
	op.client.Subscribe(func() {
		if now := op.client.Available(); now && !op.available.Swap(now) {
			op.Mirror.Reload()
		} else {
			op.available.Store(now)
		}
	})
}

func (op *Operator) settingsReconciler(mgr ctrl.Manager, recorder events.EventRecorder, o Options) *SettingsReconciler {
	return &SettingsReconciler{
		Client: mgr.GetClient(), Recorder: recorder, Store: op.Settings, Namespace: o.Namespace,
		CAFile: o.CAFile, CAPoll: 5 * time.Second, Unusable: op.owners,
		Apply: func(s *settings.Settings, c settings.Credentials) error {
			if err := op.Nodes.Watch(mgr.GetCache(), s.ServiceType); err != nil { // before anybody reads them
				return err
			}
			if err := op.Routes.Follow(mgr.GetCache(), s); err != nil {
				return err
			}
			return op.configure(o, s, c)
		},
	}
}

func (op *Operator) register(r prometheus.Registerer) error {
	if r == nil {
		return nil
	}
	for _, c := range append(op.metrics.collectors(), op, op.Routes) {
		if err := r.Register(c); err != nil {
			return fmt.Errorf("registering metrics: %w", err)
		}
	}
	return nil
}

// owners queues every owner of every kind.
func (op *Operator) owners() {
	for _, o := range op.Owners {
		o.All()
	}
}

// everything is what a change of the settings or of the Controller's own objects may concern. Owners are queued after those that have a
// reason of their own.
func (op *Operator) everything() {
	for _, p := range op.parts {
		if o, ok := p.(ownerPart); ok {
			o.Resync()
		} else {
			p.All()
		}
	}
}

// changed queues the owners whose objects are no longer what they were, everything for nil.
func (op *Operator) changed(changed []model.Owner) {
	if changed == nil {
		op.everything()
		return
	}
	op.look(changed)
}

// look queues owners.
func (op *Operator) look(at []model.Owner) {
	for _, o := range op.Owners {
		o.Changed(at)
	}
}

// inNamespace queues the owners whose servers may be pods of a namespace.
func (op *Operator) inNamespace(ctx context.Context, name string) {
	for _, o := range op.Owners {
		o.InNamespace(ctx, name)
	}
}

// appeared begins to watch the types of an API. Who waited for it is looked at.
func (op *Operator) appeared(c cache.Cache, api gather.API) error {
	for _, p := range op.parts {
		if err := p.Watch(c, api); err != nil {
			return err
		}
	}
	op.referring(api)
	return nil
}

// referring has those looked at that may name objects of an API which came or went: they keep what they have, and say so.
func (op *Operator) referring(api gather.API) {
	for _, p := range op.parts {
		if p.Refers(api) {
			p.All()
		}
	}
}

func (op *Operator) addRunnables(mgr ctrl.Manager, o Options) error {
	everywhere := everyReplica(func(ctx context.Context) error {
		if !mgr.GetCache().WaitForCacheSync(ctx) {
			return errors.New("the Kubernetes caches did not sync")
		}
		op.synced.Store(true)
		return op.Mirror.Run(ctx, func() mirror.Intervals { return op.intervals(o) })
	})
	sweeper := &OrphanSweeper{
		Cache: mgr.GetCache(), Mirror: op.Mirror, Settings: op.Settings, Owners: op.Owners, APIs: op.APIs,
		Interval: o.Refresh, Log: o.Log.WithName("orphans"), Guard: op.Guard, Unused: op.Engine.RemoveUnused, DryRun: o.DryRun,
		Revisit: op.changed, Lead: op.lead, Held: func(n int) { op.metrics.held.Set(float64(n)) },
	}
	// The client stops logging in when the Controller refuses the credentials, since accounts get locked. Somebody may
	// fix the account there, which the operator doesn't learn of: one attempt now and then finds out.
	credentials := everyReplica(func(ctx context.Context) error {
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(max(o.Refresh, time.Second)):
			}
			if !op.client.Available() {
				op.client.RetryLogin()
				op.Mirror.Reload()
			}
		}
	})
	tokens := &tokenKeeper{
		keep: op.client.KeepToken, every: cmp.Or(o.TokenCheck, tokenCheck), now: time.Now,
		log: o.Log.WithName("token"), expires: op.metrics.token,
		save: tokenSaver(mgr.GetClient(), mgr.GetAPIReader(), types.NamespacedName{Namespace: o.Namespace, Name: settings.SecretName}, op.client),
	}
	if o.DryRun {
		tokens.save = func(context.Context) (bool, error) { return false, nil }
	}
	for _, r := range []manager.Runnable{everywhere, sweeper, credentials, everyReplica(tokens.run), op.APIs} {
		if err := mgr.Add(r); err != nil {
			return fmt.Errorf("adding a loop to the manager: %w", err)
		}
	}
	return nil
}

// configure puts settings in force: the connection first, then what is mirrored.
func (op *Operator) configure(o Options, s *settings.Settings, c settings.Credentials) error {
	if err := op.identity(s); err != nil {
		return err
	}
	err := op.client.Reconfigure(avi.Config{
		Host: s.Controller, Username: c.Username, Password: c.Password, AuthToken: c.AuthToken, CA: c.CA,
		Version: s.APIVersion, Tenant: s.Tenant, Concurrency: o.Concurrency, QPS: o.QPS, Timeout: o.Timeout,
	})
	if err != nil {
		return fmt.Errorf("connecting to the Controller: %w", err)
	}
	if o.SetLogLevel != nil {
		o.SetLogLevel(s.LogLevel)
	}
	// The mirror forgets first: with the new names and the old objects a plan would be nonsense.
	op.Mirror.SetScope(mirror.Scope{Controller: s.Controller, ClusterName: s.ClusterName, CreatedBy: s.CreatedBy, Cloud: s.Cloud,
		Tenant: s.Tenant, OwnTenant: s.OwnTenant, TakeOver: s.TakeOver})
	op.Settings.Set(s)
	op.everything()
	return nil
}

// identity refuses settings under which the objects on the Controller would no longer be found or be named otherwise:
// they would be left behind, or live traffic would move to new ones.
func (op *Operator) identity(next *settings.Settings) error {
	now := op.Settings.Current()
	if now == nil || op.Engine.VirtualServices() == 0 {
		return nil
	}
	if was, is := now.Instance(), next.Instance(); was != is {
		return fmt.Errorf("ConfigMap %s: clusterName, createdBy, primaryInstance, cloudName, enableEVH and, with dedicatedTenantMode, tenantName can't change (from %s to %s) while the Controller holds %d VirtualServices of ours; set deleteConfig \"true\" first and wait until they are gone, or change it back",
			settings.ConfigMapName, was, is, op.Engine.VirtualServices())
	}
	return nil
}

// readable makes sure, before a question is answered, that the Controller's objects are known. A standby reads them for each question.
func (op *Operator) readable(ctx context.Context) error {
	if !op.leading.Load() {
		if err := op.Mirror.Load(ctx); err != nil {
			return fmt.Errorf("reading the Controller: %w", err)
		}
		if err := op.Mirror.LoadHealth(ctx); err != nil {
			return fmt.Errorf("reading the Controller's inventory: %w", err)
		}
	}
	if err := op.Mirror.Err(); err != nil {
		return fmt.Errorf("the Controller can't be read: %w", err)
	}
	return nil
}

// intervals are the flags', but a full read at least as often as AKO's fullSyncFrequency asks.
func (op *Operator) intervals(o Options) mirror.Intervals {
	i := mirror.Intervals{Refresh: o.Refresh, Health: o.Health, Standby: !op.leading.Load()}
	if s := op.Settings.Current(); s != nil && s.RefreshSeconds > 0 {
		i.Refresh = min(i.Refresh, time.Duration(s.RefreshSeconds)*time.Second)
	}
	return i
}

// Alive fails if the loop that reads the Controller is stuck.
func (op *Operator) Alive(*http.Request) error { return op.Mirror.Alive() }

// Ready fails until the caches are synced, the settings are valid and the Controller's objects have been read: before
// that nothing can be served.
func (op *Operator) Ready(*http.Request) error {
	switch {
	case !op.synced.Load():
		return errors.New("the Kubernetes caches are not synced")
	case op.Settings.Current() == nil:
		return configurationError(op.Settings)
	}
	return op.Mirror.Err()
}

// Live are the checks of /healthz.
func (op *Operator) Live() probes.Checks { return probes.Checks{"controller-loop": op.Alive} }

// Readiness are the checks of /readyz.
func (op *Operator) Readiness() probes.Checks {
	return probes.Checks{"ready": op.Ready, "own-cluster-name": op.OwnName}
}

// everyReplica is a loop that doesn't wait for leadership.
type everyReplica func(context.Context) error

// Start implements manager.Runnable.
func (f everyReplica) Start(ctx context.Context) error { return f(ctx) }

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (f everyReplica) NeedLeaderElection() bool { return false }
