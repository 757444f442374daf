// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1beta1"
	"github.com/avi-l4-operator/avi-l4-operator/internal/engine"
	"github.com/avi-l4-operator/avi-l4-operator/internal/gather"
	"github.com/avi-l4-operator/avi-l4-operator/internal/mirror"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
	"github.com/avi-l4-operator/avi-l4-operator/internal/staticroutes"
)

// +kubebuilder:rbac:groups=crd.projectcalico.org,resources=blockaffinities,verbs=get;list;watch
// +kubebuilder:rbac:groups=network.openshift.io,resources=hostsubnets,verbs=get;list;watch
// +kubebuilder:rbac:groups=cilium.io,resources=ciliumnodes,verbs=get;list;watch

// StaticRoutesReconciler keeps the static routes to pods, and the labels of Service Engine groups, in step with nodes,
// network plugin and settings. There is one object to bring in step, so its queue holds one key: whatever happens within a
// moment costs one run, and a run writes the VRF context once at most.
type StaticRoutesReconciler struct {
	Deps
	*queue
	// Cached reads from the cache, unstructured objects too.
	Cached client.Reader
	Routes *engine.Routes
	// Namespace is the operator's own, where the ConfigMap is that Events are about.
	Namespace string
	// Age is how old a node has to be before it is reported that its pods can't be routed: a new node gets its parts one by one.
	Age time.Duration
	Log logr.Logger
	// Turned is called when other pods are reached than before.
	Turned func()

	controller controller.Controller
	reported   map[string]string // what was reported last, by node and reason
	metrics    routeMetrics

	mu       sync.Mutex
	watching map[gather.API]bool
}

const (
	calmRoutes  = 200 * time.Millisecond // changes of nodes come in crowds
	clearPoll   = 2 * time.Second        // between looks whether the VirtualServices have gone
	eventsMost  = 10                     // nodes that get an Event for one reason
	watchedNode = gather.API("Node")     // a key of StaticRoutesReconciler.watching
)

var routesKey = reconcile.Request{NamespacedName: types.NamespacedName{Name: "static-routes"}}

// Reconcile brings the routes in step.
func (r *StaticRoutesReconciler) Reconcile(ctx context.Context, _ ctrl.Request) (ctrl.Result, error) {
	r.Lead()
	cfg := r.Settings.Current()
	if cfg == nil {
		return ctrl.Result{}, nil
	}
	if err := r.Engine.Mirror.Err(); err != nil {
		return resultOf(ctx, err)
	}
	out, err := r.run(ctx, cfg)
	if err != nil {
		return resultOf(ctx, err)
	}
	r.metrics.record(out)
	again := r.report(ctx, out)
	if out.Turned {
		r.Turned()
	}
	if out.Waiting != "" {
		again = clearPoll
	}
	result, err := resultOf(ctx, out.Err)
	if again > 0 && err == nil && (result.RequeueAfter == 0 || again < result.RequeueAfter) {
		result.RequeueAfter = again
	}
	return result, err
}

func (r *StaticRoutesReconciler) run(ctx context.Context, cfg *settings.Settings) (engine.RoutesOutcome, error) {
	reader := r.reader(r.Cached, r.Gather.Synced)
	if cfg.DeleteConfig {
		groups, err := reader.ServiceEngineGroups(ctx)
		if err != nil {
			return engine.RoutesOutcome{}, err
		}
		return r.Routes.Clear(ctx, staticroutes.Input{Settings: cfg, Groups: groups}), nil
	}
	if f := r.Engine.Mirror.Facts(); f == nil || staticroutes.Off(cfg, f.Cloud) != "" {
		return r.Routes.Sync(ctx, staticroutes.Input{Settings: cfg}, nil), nil // the nodes needn't be read
	}
	in, err := reader.StaticRoutes(ctx, cfg)
	if err != nil {
		return engine.RoutesOutcome{}, err
	}
	return r.Routes.Sync(ctx, in, func(ctx context.Context) (staticroutes.Input, error) { return r.confirm(ctx, cfg) }), nil
}

func (r *StaticRoutesReconciler) reader(from client.Reader, synced func(gather.API) bool) *gather.Reader {
	reader := *r.Gather
	reader.Client, reader.Synced = from, synced
	return &reader
}

// confirm reads everything from the API server itself. A type that has only just come, perhaps back, says nothing about
// objects that aren't there.
func (r *StaticRoutesReconciler) confirm(ctx context.Context, cfg *settings.Settings) (staticroutes.Input, error) {
	in, err := r.reader(r.Live, r.Gather.Serves).StaticRoutes(ctx, cfg)
	if err != nil {
		return in, err
	}
	if s := staticroutes.SourceOf(cfg.CNI); s.CRD != "" {
		lasting, err := r.APIs.Lasting(ctx, gather.PodCIDRs(s), r.APIs.Grace)
		if err != nil {
			return in, err
		}
		if !lasting {
			in.Unread = fmt.Sprintf("the type %s has only just been installed, or is being removed", s.Kind.Kind)
		}
	}
	return in, nil
}

// report reports what is new: in the log, as Events on the nodes that it is about and on the ConfigMap. It returns how soon to look again
// at nodes that are too young to be reported, zero if there are none.
func (r *StaticRoutesReconciler) report(ctx context.Context, out engine.RoutesOutcome) (again time.Duration) {
	config := new(corev1.ConfigMap)
	if err := r.Client.Get(ctx, types.NamespacedName{Namespace: r.Namespace, Name: settings.ConfigMapName}, config); err != nil {
		r.Log.Info("Events about static routes have no ConfigMap to be about", "reason", err.Error())
		config = nil
	}
	if config != nil && len(out.Groups) > 0 {
		r.Status.Inform(config, "SEGroupLabelled", fmt.Sprintf("changed the label of Service Engine group %s; Service Engines that run already may need a restart to follow", strings.Join(out.Groups, ", ")))
	}
	problems := slices.Clone(out.Problems)
	if out.Err != nil && !errors.Is(out.Err, mirror.ErrNotLoaded) {
		problems = append(problems, staticroutes.Problem{Reason: engine.Reason(out.Err), Message: "static routes: " + out.Err.Error()})
	}
	if out.Waiting != "" {
		problems = append(problems, staticroutes.Problem{Reason: model.ReasonDeletionHeld, Message: "static routes stay until these have gone: " + out.Waiting})
	}
	now := make(map[string]string)
	byReason := make(map[string][]staticroutes.Problem)
	for _, p := range problems {
		if p.Node != "" {
			node := new(corev1.Node)
			if err := r.Cached.Get(ctx, types.NamespacedName{Name: p.Node}, node); err != nil {
				continue // it has gone meanwhile
			}
			if left := r.Age - time.Since(node.CreationTimestamp.Time); left > 0 {
				again = cmp.Or(min(again, left), left)
				continue
			}
			if r.news(now, p.Node+"/"+p.Reason, p.Message) && len(byReason[p.Reason]) < eventsMost {
				r.Status.Warn(node, p.Reason, p.Message)
			}
		}
		byReason[p.Reason] = append(byReason[p.Reason], p)
	}
	for _, reason := range sorted(byReason) {
		text := summary(byReason[reason])
		if r.news(now, "/"+reason, text) {
			r.Log.Info("problem with static routes", "reason", reason, "problem", text)
			if config != nil {
				r.Status.Warn(config, reason, text)
			}
		}
	}
	for key, text := range r.reported {
		if _, still := now[key]; !still {
			r.Log.Info("no longer a problem with static routes", "about", key, "was", text)
		}
	}
	r.reported = now
	return again
}

// news notes a text and reports whether it is another than last time.
func (r *StaticRoutesReconciler) news(now map[string]string, key, text string) bool {
	now[key] = text
	return r.reported[key] != text
}

// summary is the first problem of a reason, and how many more there are.
func summary(problems []staticroutes.Problem) string {
	text := problems[0].Message
	if more := len(problems) - 1; more > 0 {
		text += fmt.Sprintf(" (and %d more)", more)
	}
	return text
}

func sorted[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// All has the routes looked at in a moment.
func (r *StaticRoutesReconciler) All() {
	if q := r.get(); q != nil {
		q.AddAfter(routesKey, calmRoutes)
	}
}

// Waiting has the routes looked at without their back-off: the Controller is back, or was read anew.
func (r *StaticRoutesReconciler) Waiting() { r.hurry(routesKey.NamespacedName) }

// SetupWithManager registers a controller that watches nothing yet.
func (r *StaticRoutesReconciler) SetupWithManager(mgr ctrl.Manager) error {
	r.watching = make(map[gather.API]bool)
	c, err := ctrl.NewControllerManagedBy(mgr).
		Named("staticroutes").
		WatchesRawSource(r.capture()).
		WatchesRawSource(once(routesKey)).
		WithOptions(controller.Options{RateLimiter: rateLimiter(), ReconciliationTimeout: r.Timeout}).
		Build(r)
	r.controller = c
	return err
}

// Refers implements part: each optional type may decide about routes.
func (r *StaticRoutesReconciler) Refers(gather.API) bool { return true }

// Watch implements part.
func (r *StaticRoutesReconciler) Watch(c cache.Cache, _ gather.API) error {
	return r.Follow(c, r.Settings.Current())
}

// Follow begins to watch what the settings need and the API server has.
func (r *StaticRoutesReconciler) Follow(c cache.Cache, s *settings.Settings) error {
	if s == nil || staticroutes.Off(s, model.CloudFacts{}) != "" {
		return nil
	}
	if err := r.follow(c, watchedNode, &corev1.Node{}, routedNode()); err != nil {
		return err
	}
	if r.APIs.Serves(gather.InfraSettings) {
		if err := r.follow(c, gather.InfraSettings, &v1beta1.AviInfraSetting{}, specChanged()); err != nil {
			return err
		}
	}
	from := staticroutes.SourceOf(s.CNI)
	if from.CRD == "" || !r.APIs.Serves(gather.PodCIDRs(from)) {
		return nil
	}
	o := new(unstructured.Unstructured)
	o.SetGroupVersionKind(from.Kind)
	return r.follow(c, gather.PodCIDRs(from), o, changedObject())
}

func (r *StaticRoutesReconciler) follow(c cache.Cache, what gather.API, o client.Object, p predicate.Predicate) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.watching[what] {
		return nil
	}
	poke := eachObject(func(_ context.Context, _ client.Object, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
		q.AddAfter(routesKey, calmRoutes)
	})
	err := r.controller.Watch(source.Kind(c, o, poke, p))
	if err != nil {
		return fmt.Errorf("watching %s for static routes: %w", what, err)
	}
	r.watching[what] = true
	return nil
}

// Vanished forgets the watch of an API that has gone.
func (r *StaticRoutesReconciler) Vanished(name gather.API) {
	r.mu.Lock()
	delete(r.watching, name)
	r.mu.Unlock()
}

// routedNode lets through what decides about a node's routes.
func routedNode() predicate.Predicate {
	return updated(func(before, after *corev1.Node) bool {
		return !(apiequality.Semantic.DeepEqual(before.Spec.PodCIDRs, after.Spec.PodCIDRs) && before.Spec.PodCIDR == after.Spec.PodCIDR &&
			apiequality.Semantic.DeepEqual(before.Status.Addresses, after.Status.Addresses) &&
			apiequality.Semantic.DeepEqual(before.Annotations, after.Annotations))
	})
}

// changedObject lets through what is different in what is kept of an object.
func changedObject() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, ok1 := e.ObjectOld.(*unstructured.Unstructured)
		after, ok2 := e.ObjectNew.(*unstructured.Unstructured)
		return !ok1 || !ok2 || !apiequality.Semantic.DeepEqual(content(before), content(after))
	}}
}

func content(o *unstructured.Unstructured) [3]any {
	return [3]any{o.Object["spec"], o.Object["host"], o.Object["subnet"]}
}

var (
	routesDesc   = prometheus.NewDesc("avi_l4_static_routes", "Static routes in the VRF context: ours, foreign, of ours those that nobody wants and that are held (too many at once) or kept (not all is known).", []string{"vrf", "state"}, nil)
	problemsDesc = prometheus.NewDesc("avi_l4_static_route_problems", "Problems with static routes, by reason; see Events on Nodes and on the ConfigMap.", []string{"reason"}, nil)
	changesDesc  = prometheus.NewDesc("avi_l4_static_route_changes_total", "Static routes added, changed and removed.", []string{"op"}, nil)
)

// routeMetrics are the numbers of the last run, and counts since the start.
type routeMetrics struct {
	mu      sync.Mutex
	last    engine.RoutesOutcome
	changes map[staticroutes.Op]int
}

func (m *routeMetrics) record(out engine.RoutesOutcome) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.changes == nil {
		m.changes = make(map[staticroutes.Op]int)
	}
	m.last = out
	for _, s := range out.Steps {
		m.changes[s.Op]++
	}
}

// Describe implements prometheus.Collector.
func (r *StaticRoutesReconciler) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{routesDesc, problemsDesc, changesDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (r *StaticRoutesReconciler) Collect(ch chan<- prometheus.Metric) {
	m := &r.metrics
	m.mu.Lock()
	defer m.mu.Unlock()
	emit := func(d *prometheus.Desc, kind prometheus.ValueType, v int, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, kind, float64(v), labels...)
	}
	for _, op := range []staticroutes.Op{staticroutes.Add, staticroutes.Change, staticroutes.Remove} {
		emit(changesDesc, prometheus.CounterValue, m.changes[op], string(op))
	}
	if m.last.VRF != "" {
		for state, n := range map[string]int{"ours": m.last.Ours, "foreign": m.last.Foreign, "held": m.last.Held, "kept": m.last.Kept} {
			emit(routesDesc, prometheus.GaugeValue, n, m.last.VRF, state)
		}
	}
	counts := make(map[string]int)
	for _, p := range m.last.Problems {
		counts[p.Reason]++
	}
	if m.last.Err != nil {
		counts[engine.Reason(m.last.Err)]++
	}
	for reason, n := range counts {
		emit(problemsDesc, prometheus.GaugeValue, n, reason)
	}
}
