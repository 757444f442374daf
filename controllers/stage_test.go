// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	akov1alpha1 "github.com/avi-l4-operator/avi-l4-operator/api/ako/v1alpha1"
	svcapi "github.com/avi-l4-operator/avi-l4-operator/api/networking/v1alpha1"
	"github.com/avi-l4-operator/avi-l4-operator/internal/apply"
	"github.com/avi-l4-operator/avi-l4-operator/internal/avi"
	"github.com/avi-l4-operator/avi-l4-operator/internal/engine"
	"github.com/avi-l4-operator/avi-l4-operator/internal/gather"
	"github.com/avi-l4-operator/avi-l4-operator/internal/mirror"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim"
)

// stage is a whole site in one process, for tests that play hundreds of stories: a fake API server, a simulated Controller, and the
// operator's own wiring without a manager, which runs when it is told to. Its clock is the stage's, so that back-offs cost no time.
//
// What it can't show is what a real API server does (test/integration): watches, validation, and annotations beside a status.
type stage struct {
	kube    client.WithWatch
	sim     *avisim.Server
	options Options
	ahead   atomic.Int64 // of the real clock
	missing map[gather.API]bool
	// refuse, where set, says of each call to the API server why it fails; after is called with those that took effect.
	refuse func(verb string, o runtime.Object) error
	after  func(verb string, o runtime.Object) error
	// dead, where set, reports whether the process has ended: nothing that it does takes effect from then on.
	dead func() bool
	// unsynced says which types the cache never gets.
	unsynced func(client.Object) bool

	op       *Operator
	sweeper  *OrphanSweeper
	settings *SettingsReconciler
	work     []work
	keys     map[model.OwnerKind][]reconcile.Request // that are looked at in each turn, whether or not there is such an owner
	problems []string
}

// work is a reconciler and its queue.
type work struct {
	reconciler reconcile.Reconciler
	queue      workqueue.TypedRateLimitingInterface[reconcile.Request]
	all        func()
	kind       model.OwnerKind // of owners; empty for others
}

const (
	stageNamespace = "avi-system"
	stageCluster   = "c1"
)

// newStage is a cluster with nodes and classes, and a Controller, without an operator. Whoever uses it calls close.
func newStage(ctx context.Context) (*stage, error) {
	s := &stage{options: Options{Namespace: stageNamespace, Concurrency: 8, Timeout: 5 * time.Second, Refresh: time.Nanosecond,
		DeletionShare: 0.9, Log: stageLog()}, missing: make(map[gather.API]bool), keys: make(map[model.OwnerKind][]reconcile.Request)}
	scheme := runtime.NewScheme()
	if err := errors.Join(AddToScheme(scheme), apiextensionsv1.AddToScheme(scheme)); err != nil {
		return nil, err
	}
	b := indexedBuilder{fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(&corev1.Service{}, &svcapi.Gateway{},
		&svcapi.GatewayClass{}, &gatewayv1.Gateway{}, &gatewayv1.GatewayClass{}, &akov1alpha1.SCTPRoute{}, &gatewayv1.TCPRoute{})}
	if err := gather.SetupIndexes(ctx, b); err != nil {
		return nil, err
	}
	var err error
	if s.sim, err = avisim.New(avisim.Options{}); err != nil {
		return nil, err
	}
	if err := s.sim.Start(); err != nil {
		return nil, err
	}
	b.WithInterceptorFuncs(s.interceptor())
	// Who manages which field is of no interest here, and dear to keep.
	b.WithObjectTracker(clienttesting.NewObjectTracker(scheme, serializer.NewCodecFactory(scheme).UniversalDecoder()))
	s.kube = b.WithObjects(s.furniture()...).Build()
	return s, s.sim.AddTenant("other")
}

func (s *stage) close() {
	s.stop()
	s.sim.Close()
}

// stop ends the operator.
func (s *stage) stop() {
	if s.op != nil {
		s.op.client.Close(context.Background())
	}
	for _, w := range s.work {
		w.queue.ShutDown()
	}
}

// furniture is what every story finds.
func (s *stage) furniture() []client.Object {
	old := metav1.NewTime(time.Now().Add(-time.Hour))
	out := []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "core", Labels: map[string]string{"served": "yes"}}},
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "kube-system", UID: "uid-of-this-cluster"}},
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: stageNamespace, Name: settings.ConfigMapName}, Data: s.config()},
		s.secret(),
		&svcapi.GatewayClass{ObjectMeta: metav1.ObjectMeta{Name: "old"}, Spec: svcapi.GatewayClassSpec{Controller: translate.SvcAPIController}},
		&gatewayv1.GatewayClass{ObjectMeta: metav1.ObjectMeta{Name: "new"}, Spec: gatewayv1.GatewayClassSpec{ControllerName: "ako.vmware.com/avi-l4"}},
	}
	for i := range 2 {
		out = append(out, node(i))
	}
	for _, a := range optional {
		for _, crd := range a.crds {
			out = append(out, &apiextensionsv1.CustomResourceDefinition{ObjectMeta: metav1.ObjectMeta{Name: crd, CreationTimestamp: old}})
		}
	}
	return out
}

func node(i int) *corev1.Node {
	cidr := fmt.Sprintf("10.244.%d.0/24", i+1)
	return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("node-%d", i+1)},
		Spec:   corev1.NodeSpec{PodCIDR: cidr, PodCIDRs: []string{cidr}},
		Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: fmt.Sprintf("10.20.0.%d", i+1)}}}}
}

func (s *stage) config() map[string]string {
	return map[string]string{
		"clusterName": stageCluster, "controllerIP": s.sim.Host(), "cloudName": "Default-Cloud", "nsSyncLabelKey": "served",
		"nsSyncLabelValue": "yes", "vipNetworkList": `[{"networkName":"vip-network","cidr":"10.10.0.0/16"}]`, "autoFQDN": "disabled",
	}
}

func (s *stage) secret() *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: stageNamespace, Name: settings.SecretName}, Data: map[string][]byte{
		"username": []byte("admin"), "password": []byte("avi123$%"), "certificateAuthorityData": s.sim.CAPEM()}}
}

// interceptor asks refuse before each call to the API server, and reports the call to after.
func (s *stage) interceptor() interceptor.Funcs {
	around := func(verb string, o runtime.Object, do func() error) error {
		if err := s.alive(); err != nil {
			return err
		}
		if s.refuse != nil {
			if err := s.refuse(verb, o); err != nil {
				return err
			}
		}
		err := do()
		if err == nil && s.after != nil {
			err = s.after(verb, o)
		}
		return err
	}
	return interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			return around("get", o, func() error { return c.Get(ctx, key, o, opts...) })
		},
		List: func(ctx context.Context, c client.WithWatch, l client.ObjectList, opts ...client.ListOption) error {
			return around("list", l, func() error { return c.List(ctx, l, opts...) })
		},
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			return around("create", o, func() error { return c.Create(ctx, o, opts...) })
		},
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
			return around("update", o, func() error { return c.Update(ctx, o, opts...) })
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			return around("patch", o, func() error { return c.Patch(ctx, o, p, opts...) })
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch,
			opts ...client.SubResourcePatchOption) error {
			return around("patch", o, func() error { return c.SubResource(sub).Patch(ctx, o, p, opts...) })
		},
	}
}

var errDead = errors.New("the process has ended")

func (s *stage) alive() error {
	if s.dead != nil && s.dead() {
		return errDead
	}
	return nil
}

// standIn is what the operator needs of a manager.
type standIn struct {
	ctrl.Manager
	stage *stage
	added []manager.Runnable
}

func (m *standIn) GetClient() client.Client    { return m.stage.kube }
func (m *standIn) GetAPIReader() client.Reader { return m.stage.kube }
func (m *standIn) GetCache() cache.Cache       { return &unwatched{Reader: m.stage.kube, stage: m.stage} }
func (m *standIn) Add(r manager.Runnable) error {
	m.added = append(m.added, r)
	return nil
}

// unwatched is a cache that reads through.
type unwatched struct {
	client.Reader
	cache.Informers
	stage *stage
}

func (u *unwatched) WaitForCacheSync(context.Context) bool { return true }

func (u *unwatched) GetInformer(_ context.Context, o client.Object, _ ...cache.InformerGetOption) (cache.Informer, error) {
	return synced{known: u.stage.unsynced == nil || !u.stage.unsynced(o)}, nil
}

type synced struct {
	cache.Informer
	known bool
}

func (s synced) HasSynced() bool { return s.known }

// unheard drops Events.
type unheard struct{}

func (unheard) Eventf(runtime.Object, runtime.Object, string, string, string, string, ...any) {}

var _ events.EventRecorder = unheard{}

func (s *stage) now() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) }

// start makes the operator anew, as a restart does: it knows nothing but what it reads. What ran before runs no more.
func (s *stage) start() error {
	s.stop()
	c, err := avi.NewUnconfigured(avi.WithClock(s.now), avi.WithFence(s.alive))
	if err != nil {
		return err
	}
	mgr, o := &standIn{stage: s}, s.options
	op := &Operator{Settings: new(settings.Store), client: c, metrics: newInstruments(), APIs: NewAPIs(), lead: func() {}}
	op.available.Store(true)
	op.Mirror = mirror.New(c, o.Log)
	op.Engine = &engine.Engine{Mirror: op.Mirror, Applier: &apply.Applier{Client: c, Mirror: op.Mirror}}
	a := op.APIs
	a.Cache, a.Live, a.Log, a.Grace = mgr.GetCache(), s.kube, logr.Discard(), time.Nanosecond
	for _, api := range optional {
		if !s.missing[api.name] {
			a.since[api.name], a.came[api.name] = time.Now().Add(-time.Hour), time.Now().Add(-time.Hour)
		}
	}
	op.Mirror.Cluster, op.Mirror.Known = clusterUID(s.kube), op.known
	op.Guard = op.guard(mgr, unheard{}, o)
	memory := logins(mgr, o)
	memory.now = s.now
	c.RememberLogins(memory)
	deps := op.deps(mgr, unheard{}, o)
	op.kinds(deps, o.Log)
	op.Routes = op.staticRoutes(deps, mgr, o)
	op.parts = append(op.parts, op.Routes)
	op.subscribe()
	if err := op.addRunnables(mgr, o); err != nil {
		return err
	}
	for _, r := range mgr.added {
		if sweeper, ok := r.(*OrphanSweeper); ok {
			s.sweeper = sweeper
		}
	}
	s.op = op
	s.settings = &SettingsReconciler{Client: s.kube, Recorder: unheard{}, Store: op.Settings, Namespace: o.Namespace, Unusable: op.owners,
		Apply: func(cfg *settings.Settings, c settings.Credentials) error { return op.configure(o, cfg, c) }}
	return s.employ()
}

// employ gives each reconciler a queue.
func (s *stage) employ() error {
	s.work = nil
	// The routes first: owners wait for them.
	parts := append([]part{s.op.Routes}, s.op.parts...)
	for _, p := range parts[:len(parts)-1] {
		w := work{queue: workqueue.NewTypedRateLimitingQueue(rateLimiter()), all: p.All}
		var ok bool
		if w.reconciler, ok = p.(reconcile.Reconciler); !ok {
			return fmt.Errorf("%T reconciles nothing", p)
		}
		if o, ok := p.(ownerPart); ok {
			w.kind = o.Kind()
		}
		capturing, ok := p.(interface{ capture() source.Source })
		if !ok {
			return fmt.Errorf("%T has no queue", p)
		}
		if err := capturing.capture().Start(context.Background(), w.queue); err != nil {
			return err
		}
		s.work = append(s.work, w)
	}
	return nil
}

// turn has everything looked at once, some minutes after the last time: settings, Controller, all objects, leftovers.
func (s *stage) turn(ctx context.Context) {
	ctx = logr.NewContext(ctx, s.options.Log)
	const pause = 2 * time.Minute // longer than each back-off
	s.ahead.Add(int64(pause))
	key := types.NamespacedName{Namespace: stageNamespace, Name: settings.ConfigMapName}
	_, _ = s.settings.Reconcile(ctx, ctrl.Request{NamespacedName: key})
	if s.op.Settings.Current() != nil {
		if !s.op.client.Available() {
			s.op.client.RetryLogin()
		}
		if s.op.Mirror.Load(ctx) == nil {
			_ = s.op.Mirror.LoadHealth(ctx)
		}
	}
	for _, w := range s.work {
		w.all()
		for _, k := range s.keys[w.kind] {
			w.queue.Add(k)
		}
	}
	s.drain(ctx)
	_ = s.sweeper.Sweep(ctx)
	s.drain(ctx)
}

// drain works off the queues. Who is to be looked at again later is, in the next turn.
func (s *stage) drain(ctx context.Context) {
	const most = 500
	for n := 0; n < most; {
		idle := true
		for _, w := range s.work {
			for ; w.queue.Len() > 0 && n < most; n++ {
				idle = false
				request, _ := w.queue.Get()
				_, _ = w.reconciler.Reconcile(ctx, request) // what failed is tried again in the next turn
				w.queue.Done(request)
			}
		}
		if idle {
			return
		}
	}
	s.problem("the operator doesn't come to rest")
}

func (s *stage) problem(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(s.problems, text) {
		s.problems = append(s.problems, text)
	}
}

// addressesOf are those in an owner's status.
func addressesOf(o client.Object) (out []string) {
	switch o := o.(type) {
	case *corev1.Service:
		for _, i := range o.Status.LoadBalancer.Ingress {
			out = append(out, i.IP)
		}
	case *svcapi.Gateway:
		for _, a := range o.Status.Addresses {
			out = append(out, a.Value)
		}
	case *gatewayv1.Gateway:
		for _, a := range o.Status.Addresses {
			out = append(out, a.Value)
		}
	}
	return slices.DeleteFunc(out, func(a string) bool { _, err := netip.ParseAddr(a); return err != nil })
}

func stageLog() logr.Logger {
	if os.Getenv("AVI_MATRIX_LOG") == "" {
		return logr.Discard()
	}
	return funcr.New(func(prefix, args string) { fmt.Println(prefix, args) }, funcr.Options{Verbosity: 0})
}
