package controllers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery"
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
	DeletionShare   float64
	LeaderElect     bool
	DryRun          bool
	// IgnoreRouteNamespaces lets Gateways of the Services API take Services of every namespace, as AKO does.
	IgnoreRouteNamespaces bool
	// ControllerNames are further controllerNames of GatewayClasses of gateway.networking.k8s.io to serve.
	ControllerNames []string
	SetLogLevel     func(string) // nil: the level isn't the ConfigMap's to choose
	Log             logr.Logger
	Registerer      prometheus.Registerer // nil: no metrics
}

// Operator is the running whole, for probes and tests.
type Operator struct {
	Settings *settings.Store
	Mirror   *mirror.Mirror
	Engine   *engine.Engine
	Services *ServiceReconciler
	Gateways *SvcAPIGatewayReconciler
	Classes  *SvcAPIClassReconciler
	// Routed and RoutedClasses serve gateway.networking.k8s.io, Routes its routes, one of each kind.
	Routed        *GatewayReconciler
	RoutedClasses *ClassReconciler
	Routes        []*RouteReconciler
	Infra         *InfraSettingReconciler
	Nodes         *NodeReconciler
	StaticRoutes  *StaticRoutesReconciler
	APIs          *APIs

	client    *avi.Client
	synced    atomic.Bool
	available atomic.Bool // what the client said last
	metrics   *instruments
}

// Setup registers everything with the manager.
func Setup(ctx context.Context, mgr ctrl.Manager, client *avi.Client, o Options) (*Operator, error) {
	if err := gather.SetupIndexes(ctx, mgr.GetFieldIndexer()); err != nil {
		return nil, err
	}
	recorder := mgr.GetEventRecorder("avi-l4-operator")
	op := &Operator{Settings: new(settings.Store), client: client, metrics: newInstruments(), APIs: NewAPIs()}
	op.available.Store(true)
	op.Mirror = mirror.New(client, o.Log.WithName("mirror"))
	op.Engine = &engine.Engine{Mirror: op.Mirror, Applier: &apply.Applier{Client: client, Mirror: op.Mirror, Done: op.metrics.step}, DryRun: o.DryRun}
	discoverer, err := discovery.NewDiscoveryClientForConfigAndClient(mgr.GetConfig(), mgr.GetHTTPClient())
	if err != nil {
		return nil, fmt.Errorf("making a discovery client: %w", err)
	}
	op.APIs.Cache, op.APIs.Live, op.APIs.Discovery, op.APIs.Log = mgr.GetCache(), mgr.GetAPIReader(), discoverer, o.Log.WithName("apis")
	op.APIs.Appeared, op.APIs.Vanished = func(name gather.API) error { return op.appeared(mgr.GetCache(), name) }, op.vanished
	op.APIs.Versioned, op.APIs.Grace = func() { op.RoutedClasses.All() }, 2*o.Refresh
	if err := op.APIs.Prime(); err != nil {
		return nil, err
	}
	deps := Deps{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Engine: op.Engine, Settings: op.Settings,
		Gather:  &gather.Reader{Client: mgr.GetClient(), Serves: op.APIs.Serves, Synced: op.APIs.Synced, IgnoreRouteNamespaces: o.IgnoreRouteNamespaces, ControllerNames: append([]string{gatewayapi.Controller}, o.ControllerNames...)},
		Guard:   &guard{share: o.DeletionShare, least: deletionLeast},
		Workers: o.Workers, Timeout: 10 * o.Timeout, Lead: func() {}, Leaving: op.APIs.Leaving,
		Freed: func(name string) { op.Services.Named(name); op.Gateways.Named(name); op.Routed.Named(name) },
		Status: &status.Writer{Client: mgr.GetClient(), Recorder: recorder, Now: time.Now, Silent: func() bool {
			s := op.Settings.Current()
			return s != nil && !s.Events
		}},
	}
	if o.LeaderElect {
		deps.Lead = sync.OnceFunc(op.Mirror.Expire)
	}
	op.Services = NewServiceReconciler(deps, o.Log.WithName("service"))
	op.Gateways = NewSvcAPIGatewayReconciler(deps, op.APIs, o.Log.WithName("gateway"))
	op.Classes = NewSvcAPIClassReconciler(deps, op.APIs, o.Log.WithName("gatewayclass"))
	op.Routed = NewGatewayReconciler(deps, op.APIs, o.Log.WithName("routedgateway"))
	op.RoutedClasses = NewClassReconciler(deps, op.APIs, o.Log.WithName("routedgatewayclass"))
	op.Infra = &InfraSettingReconciler{Deps: deps, APIs: op.APIs, Log: o.Log.WithName("aviinfrasetting"), Services: op.Services, Gateways: op.Gateways, Classes: op.Classes, Routed: op.Routed, RoutedClasses: op.RoutedClasses}
	op.Nodes = &NodeReconciler{Settings: op.Settings, Everybody: op.owners, Namespace: op.inNamespace}
	op.StaticRoutes = &StaticRoutesReconciler{
		Deps: deps, Cached: mgr.GetCache(), APIs: op.APIs, Namespace: o.Namespace, Age: min(30*time.Second, o.Refresh), Log: o.Log.WithName("staticroutes"), Turned: op.owners,
		Routes: &engine.Routes{Client: client, Mirror: op.Mirror, DryRun: o.DryRun, Limit: staticroutes.Limit{Share: o.DeletionShare, Least: deletionLeast}},
	}
	op.Engine.Routes = op.StaticRoutes.Routes
	op.Mirror.Changed = op.changed
	op.Mirror.Loaded = func() {
		op.Services.Waiting()
		op.Gateways.Waiting()
		op.Routed.Waiting()
		op.StaticRoutes.Waiting()
	}
	client.Subscribe(func() {
		if now := client.Available(); now && !op.available.Swap(now) {
			op.Mirror.Reload()
		} else {
			op.available.Store(now)
		}
	})
	setups := map[string]func(ctrl.Manager) error{
		"Service": op.Services.SetupWithManager, "Gateway": op.Gateways.SetupWithManager, "GatewayClass": op.Classes.SetupWithManager,
		"AviInfraSetting": op.Infra.SetupWithManager, "Node": op.Nodes.SetupWithManager, "static routes": op.StaticRoutes.SetupWithManager,
		"routed Gateway": op.Routed.SetupWithManager, "routed GatewayClass": op.RoutedClasses.SetupWithManager,
	}
	for _, kind := range gatewayapi.RouteKinds() {
		r := &RouteReconciler{Deps: deps, APIs: op.APIs, Kind: kind, Log: o.Log.WithName(kind)}
		op.Routes, setups[kind] = append(op.Routes, r), r.SetupWithManager
	}
	for name, setup := range setups {
		if err := setup(mgr); err != nil {
			return nil, fmt.Errorf("setting up the %s controller: %w", name, err)
		}
	}
	reader := &SettingsReconciler{
		Client: mgr.GetClient(), Recorder: recorder, Store: op.Settings, Namespace: o.Namespace,
		CAFile: o.CAFile, CAPoll: 5 * time.Second, Unusable: op.owners,
		Apply: func(s *settings.Settings, c settings.Credentials) error {
			if err := op.Nodes.Watch(mgr.GetCache(), s.ServiceType); err != nil { // before anybody reads them
				return err
			}
			if err := op.StaticRoutes.Watch(mgr.GetCache(), s); err != nil {
				return err
			}
			return op.configure(o, s, c)
		},
	}
	if err := reader.SetupWithManager(mgr); err != nil {
		return nil, fmt.Errorf("setting up the settings controller: %w", err)
	}
	if o.Registerer != nil {
		for _, c := range []prometheus.Collector{op, op.metrics.steps, op.metrics.held, op.StaticRoutes} {
			if err := o.Registerer.Register(c); err != nil {
				return nil, fmt.Errorf("registering metrics: %w", err)
			}
		}
	}
	return op, op.addRunnables(mgr, o)
}

// owners queues every owner of every kind.
func (op *Operator) owners() {
	op.Services.All()
	op.Gateways.All()
	op.Routed.All()
}

// everything is what a change of the settings or of the Controller's own objects may concern.
func (op *Operator) everything() {
	op.owners()
	op.Classes.All()
	op.RoutedClasses.All()
	op.Infra.All()
	op.allRoutes()
	op.StaticRoutes.Poke()
}

func (op *Operator) allRoutes() {
	for _, r := range op.Routes {
		r.All()
	}
}

// changed queues the owners whose objects are no longer what they were, everything for nil.
func (op *Operator) changed(owners []model.Owner) {
	if owners == nil {
		op.everything()
		return
	}
	op.Services.Changed(owners)
	op.Gateways.Changed(owners)
	op.Routed.Changed(owners)
}

// inNamespace queues the owners whose servers may be pods of a namespace.
func (op *Operator) inNamespace(ctx context.Context, name string) {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	for _, req := range op.Services.servicesOf(ctx, ns) {
		op.Services.enqueue(req.NamespacedName)
	}
	op.Gateways.enqueue(op.Gateways.using.inNamespace(name)...)
	op.Routed.enqueue(op.Routed.using.inNamespace(name)...)
}

// appeared begins to watch the types of an API.
func (op *Operator) appeared(c cache.Cache, name gather.API) error {
	if err := op.StaticRoutes.Watch(c, op.Settings.Current()); err != nil {
		return err
	}
	op.StaticRoutes.Poke()
	if isPodCIDRs(name) {
		return nil
	}
	if name == gather.InfraSettings {
		if err := op.Infra.Watch(c); err != nil {
			return err
		}
		op.owners() // they may name settings
		op.Classes.All()
		op.RoutedClasses.All()
		return nil
	}
	if name != gather.ServicesAPI {
		return op.routedAppeared(c, name)
	}
	for _, watch := range []func(cache.Cache) error{op.Gateways.Watch, op.Classes.Watch, op.Infra.WatchGateways} {
		if err := watch(c); err != nil {
			return err
		}
	}
	return nil
}

// routedAppeared begins to watch a type of gateway.networking.k8s.io, or one of ours beside it. Who waited for it is looked at.
func (op *Operator) routedAppeared(c cache.Cache, name gather.API) error {
	if name == gather.GatewayAPI {
		for _, watch := range []func(cache.Cache) error{op.RoutedClasses.Watch, op.Infra.WatchRouted} {
			if err := watch(c); err != nil {
				return err
			}
		}
	}
	if err := op.Routed.Watch(c, name); err != nil {
		return err
	}
	for _, r := range op.Routes {
		if err := r.Watch(c, name); err != nil {
			return err
		}
	}
	op.Routed.All()
	op.allRoutes()
	return nil
}

// isPodCIDRs reports whether an API is a network plugin's, of no concern but to static routes.
func isPodCIDRs(name gather.API) bool {
	return slices.ContainsFunc(staticroutes.Sources(), func(s staticroutes.Source) bool { return gather.PodCIDRs(s) == name })
}

// vanished has those looked at that named what is gone: they keep what they have and say so.
func (op *Operator) vanished(name gather.API) {
	op.StaticRoutes.Vanished(name)
	if isPodCIDRs(name) {
		return
	}
	switch name {
	case gather.InfraSettings:
		op.owners()
		op.Classes.All()
		op.RoutedClasses.All()
	case gather.ServicesAPI, gather.GatewayAPI:
	default:
		op.Routed.All()
		op.allRoutes()
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
		Cache: mgr.GetCache(), Live: mgr.GetAPIReader(), Mirror: op.Mirror, Settings: op.Settings,
		Gather: op.Services.Gather, APIs: op.APIs, Interval: o.Refresh, Log: o.Log.WithName("orphans"), Share: o.DeletionShare,
		Revisit: op.changed, Orphans: func(gone []model.Owner) {
			op.Services.Orphans(gone)
			op.Gateways.Orphans(gone)
			op.Routed.Orphans(gone)
		}, Lead: op.Services.Lead,
		Held: func(n int) { op.metrics.held.Set(float64(n)) },
	}
	// The client stops logging in when the Controller refuses the credentials, since accounts get locked. Somebody may
	// mend the account there, which nothing here tells of: one attempt now and then finds out.
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
	for _, r := range []manager.Runnable{everywhere, sweeper, credentials, op.APIs} {
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
	op.Mirror.SetScope(mirror.Scope{Controller: s.Controller, ClusterName: s.ClusterName, CreatedBy: s.CreatedBy, Cloud: s.Cloud, Tenant: s.Tenant, OwnTenant: s.OwnTenant})
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

// intervals are the flags', but a full read at least as often as AKO's fullSyncFrequency asks.
func (op *Operator) intervals(o Options) mirror.Intervals {
	i := mirror.Intervals{Refresh: o.Refresh, Health: o.Health}
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

// everyReplica is a loop that doesn't wait for leadership.
type everyReplica func(context.Context) error

// Start implements manager.Runnable.
func (f everyReplica) Start(ctx context.Context) error { return f(ctx) }

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (f everyReplica) NeedLeaderElection() bool { return false }
