// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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

	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1beta1"
	"github.com/avi-l4-operator/avi-l4-operator/internal/gather"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/placement"
	"github.com/avi-l4-operator/avi-l4-operator/internal/status"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
)

// +kubebuilder:rbac:groups=ako.vmware.com,resources=aviinfrasettings,verbs=get;list;watch
// +kubebuilder:rbac:groups=ako.vmware.com,resources=aviinfrasettings/status,verbs=patch

// InfraSettingReconciler says on each AviInfraSetting whether it can be used, and who uses it. Owners judge for
// themselves by the same rules, so this status decides nothing.
type InfraSettingReconciler struct {
	Deps
	*queue
	Log logr.Logger
	// Owners are queued when a setting that they use has changed, Classes when its verdict has.
	Owners  []ownerPart
	Classes []classPart

	controller controller.Controller
	verdicts
}

// Judgement is what is known of a setting.
type Judgement struct {
	Known    bool // the Controller could be asked
	Problems []string
	Notes    []string
}

// Judge looks at a setting with what is known of the Controller.
func (d *Deps) Judge(s *v1beta1.AviInfraSetting) Judgement {
	facts, cfg := d.Engine.Mirror.Facts(), d.Settings.Current()
	var j Judgement
	for _, p := range placement.Valid(s) {
		j.Problems = append(j.Problems, p.Message)
	}
	if len(j.Problems) > 0 {
		j.Known = true
		return j
	}
	if facts == nil || cfg == nil || d.Engine.Mirror.Err() != nil {
		return j
	}
	j.Known = true
	for _, p := range placement.Check(placement.Overlay(cfg.Placement, s), facts.With(slices.Collect(maps.Keys(facts.Tenants))...)) {
		if !p.Inherited {
			j.Problems = append(j.Problems, p.Message)
		}
	}
	j.Notes = placement.Notes(cfg.Placement, s, facts)
	return j
}

// conditionInUse says who uses a setting.
const conditionInUse = "InUse"

// Reconcile writes one setting's status.
func (r *InfraSettingReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	r.Lead()
	if !r.APIs.Serves(gather.InfraSettings) {
		return ctrl.Result{}, nil
	}
	s := new(v1beta1.AviInfraSetting)
	if err := r.Client.Get(ctx, req.NamespacedName, s); err != nil {
		if !apierrors.IsNotFound(err) {
			return ctrl.Result{}, fmt.Errorf("reading AviInfraSetting %s: %w", req.Name, err)
		}
		return ctrl.Result{}, nil
	}
	if s.DeletionTimestamp != nil || r.Settings.Current() == nil {
		return ctrl.Result{}, nil // without settings it isn't known who uses it
	}
	using, err := r.users(ctx, s.Name)
	if err != nil {
		return ctrl.Result{}, err
	}
	if len(using) == 0 && r.others(s) {
		return ctrl.Result{}, nil
	}
	if err := r.learn(ctx, s, using); err != nil {
		return resultOf(ctx, err)
	}
	keeps, err := r.APIs.KeepsConditions(ctx, gather.InfraSettings)
	if err != nil {
		return ctrl.Result{}, err
	}
	verdict, ok := r.verdict(s)
	how, err := r.write(ctx, r.Status, s, s.DeepCopy(), settingStatus, finding{inUse(using, r.signature()), verdict, ok, keeps})
	if err != nil {
		return resultOf(ctx, client.IgnoreNotFound(err))
	}
	if how != unturned {
		r.queueClasses(s.Name)
	}
	switch how {
	case rejected:
		r.Status.Warn(s, "Rejected", verdict.Message+keepsPlace(using))
	case acceptedAgain:
		r.Status.Inform(s, "Accepted", verdict.Message)
	}
	return ctrl.Result{}, nil
}

// learn has the Service Engine groups looked up of the tenants in which a setting is used.
func (r *InfraSettingReconciler) learn(ctx context.Context, s *v1beta1.AviInfraSetting, using []model.Owner) error {
	cfg, facts, known := r.Settings.Current(), r.Engine.Mirror.Facts(), r.Engine.Mirror.Err() == nil
	if s.Spec.SEGroup == nil || facts == nil || !known || facts.Has(model.ServiceEngineGroup, s.Spec.SEGroup.Name) {
		return nil
	}
	for _, o := range using {
		ns := new(corev1.Namespace)
		if err := r.Client.Get(ctx, types.NamespacedName{Name: o.Namespace}, ns); err != nil {
			return fmt.Errorf("reading Namespace %s: %w", o.Namespace, err)
		}
		tenant := translate.Tenant(cfg, o.Kind, ns)
		if tenant == cfg.Tenant {
			continue
		}
		if err := r.Engine.Mirror.LearnIn(ctx, tenant, model.ServiceEngineGroup); err != nil {
			return fmt.Errorf("looking for the Service Engine groups of tenant %s: %w", tenant, err)
		}
	}
	return nil
}

// settingStatus is the status of an AviInfraSetting.
func settingStatus(o client.Object) akoStatus {
	s, _ := o.(*v1beta1.AviInfraSetting)
	return akoStatus{&s.Status.Status, &s.Status.Error, &s.Status.Conditions}
}

// verdict is the condition Accepted. ok is false if there is nothing new to say: that the Controller could not be asked
// takes no verdict back.
func (r *InfraSettingReconciler) verdict(s *v1beta1.AviInfraSetting) (c metav1.Condition, ok bool) {
	j := r.Judge(s)
	c = metav1.Condition{Type: conditionAccepted}
	switch {
	case !j.Known:
		was := apimeta.FindStatusCondition(s.Status.Conditions, conditionAccepted)
		if was != nil && was.ObservedGeneration == s.Generation {
			return c, false
		}
		c.Status, c.Reason, c.Message = metav1.ConditionUnknown, model.ReasonControllerDown, "the Controller could not be asked yet whether what this refers to exists"
	case len(j.Problems) > 0:
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, v1beta1.StatusRejected, strings.Join(j.Problems, "; ")
	default:
		c.Status, c.Reason, c.Message = metav1.ConditionTrue, v1beta1.StatusAccepted, strings.Join(append([]string{"everything that this refers to exists on the Controller"}, j.Notes...), "; ")
	}
	c.Message = status.Clip(c.Message)
	return c, true
}

// signature ends the message that says who uses a setting: several instances of the operator may share a cluster, and a
// setting is judged by the one whose Controller it is for.
func (r *InfraSettingReconciler) signature() string {
	if cfg := r.Settings.Current(); cfg != nil {
		return " (says instance " + cfg.Instance() + ")"
	}
	return ""
}

// others reports whether another instance has judged a setting as it is now. One without users of its own leaves it so.
func (r *InfraSettingReconciler) others(s *v1beta1.AviInfraSetting) bool {
	c := apimeta.FindStatusCondition(s.Status.Conditions, conditionInUse)
	return c != nil && c.ObservedGeneration == s.Generation && !strings.HasSuffix(c.Message, r.signature())
}

func inUse(using []model.Owner, signature string) metav1.Condition {
	if len(using) == 0 {
		return metav1.Condition{Type: conditionInUse, Status: metav1.ConditionFalse, Reason: "NotUsed", Message: "no Service, Namespace or GatewayClass names this setting for anything that is served" + signature}
	}
	return metav1.Condition{Type: conditionInUse, Status: metav1.ConditionTrue, Reason: "Used", Message: "used by " + list(using) + signature}
}

func keepsPlace(using []model.Owner) string {
	if len(using) == 0 {
		return ""
	}
	return "; what serves keeps its place: " + list(using)
}

// list names the first few.
func list(using []model.Owner) string {
	const most = 10
	names := make([]string, 0, most)
	for _, o := range using[:min(len(using), most)] {
		names = append(names, o.String())
	}
	text := strings.Join(names, ", ")
	if more := len(using) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

func (r *InfraSettingReconciler) queueClasses(setting string) {
	for _, c := range r.Classes {
		c.OfSetting(setting)
	}
}

// users are the owners that a setting places, in order.
func (r *InfraSettingReconciler) users(ctx context.Context, name string) (out []model.Owner, err error) {
	cfg := r.Settings.Current()
	if cfg == nil {
		return nil, nil
	}
	for _, o := range r.Owners {
		placed, err := o.Placed(ctx, cfg, name)
		if err != nil {
			return nil, err
		}
		out = append(out, placed...)
	}
	slices.SortFunc(out, func(a, b model.Owner) int { return strings.Compare(a.String(), b.String()) })
	return out, nil
}

// revisit queues all owners that a setting places, whatever else is configured.
func (r *InfraSettingReconciler) revisit(ctx context.Context, name string) {
	using, err := r.users(ctx, name)
	if err != nil {
		r.Log.Error(err, "looking for the users of an AviInfraSetting; all are looked at", "setting", name)
	}
	for _, o := range r.Owners {
		if err != nil {
			o.All()
		} else {
			o.Changed(using)
		}
	}
	r.queueClasses(name)
}

// All queues every setting.
func (r *InfraSettingReconciler) All() {
	if !r.APIs.Synced(gather.InfraSettings) {
		return
	}
	var all v1beta1.AviInfraSettingList
	if err := r.Client.List(context.Background(), &all, client.UnsafeDisableDeepCopy); err != nil {
		r.Log.Error(err, "listing AviInfraSettings from the cache")
		return
	}
	for i := range all.Items {
		r.enqueue(client.ObjectKeyFromObject(&all.Items[i]))
	}
}

// usageDelay gathers changes of the users of a setting: their number is only reported.
const usageDelay = time.Second

// SetupWithManager registers the watches on types that every cluster has.
func (r *InfraSettingReconciler) SetupWithManager(mgr ctrl.Manager) error {
	b := ctrl.NewControllerManagedBy(mgr).
		Named("aviinfrasetting").
		Watches(&corev1.Namespace{}, r.ofUser(func(_ context.Context, o client.Object) string {
			ns, _ := o.(*corev1.Namespace)
			return gather.SettingOfNamespace(ns)
		}), builder.WithPredicates(metadataChanged())).
		WatchesRawSource(r.capture()).
		WithOptions(controller.Options{RateLimiter: rateLimiter(), ReconciliationTimeout: r.Timeout})
	for _, u := range r.usages("") {
		b = b.Watches(u.object, r.ofUser(u.setting), builder.WithPredicates(u.changed))
	}
	c, err := b.Build(r)
	r.controller = c
	return err
}

// usages are how the objects of an API say which setting they use.
func (r *InfraSettingReconciler) usages(api gather.API) (out []usage) {
	for _, o := range r.Owners {
		out = append(out, o.Usage())
	}
	for _, c := range r.Classes {
		out = append(out, c.Usage())
	}
	return slices.DeleteFunc(out, func(u usage) bool { return u.api != api || u.changed == nil })
}

// ofUser queues the setting that an object names, before a change and after.
func (r *InfraSettingReconciler) ofUser(name func(context.Context, client.Object) string) handler.EventHandler {
	each := func(ctx context.Context, o client.Object, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
		if n := name(ctx, o); n != "" {
			q.AddAfter(reconcile.Request{NamespacedName: types.NamespacedName{Name: n}}, usageDelay)
		}
	}
	out := eachObject(each)
	out.UpdateFunc = func(ctx context.Context, e event.UpdateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
		each(ctx, e.ObjectOld, q)
		each(ctx, e.ObjectNew, q)
	}
	return out
}

// Watch begins to watch an API's types, which the API server has: AviInfraSettings, or the types that use them.
func (r *InfraSettingReconciler) Watch(c cache.Cache, api gather.API) error {
	var sources []source.Source
	for _, u := range r.usages(api) {
		sources = append(sources, source.Kind(c, u.object, r.ofUser(u.setting), u.changed))
	}
	if api == gather.InfraSettings {
		sources = append(sources, r.settings(c))
	}
	return watch(r.controller, sources)
}

// Refers implements part: a setting refers to no optional type.
func (r *InfraSettingReconciler) Refers(gather.API) bool { return false }

// settings are the AviInfraSettings themselves.
func (r *InfraSettingReconciler) settings(c cache.Cache) source.Source {
	add := func(o client.Object, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
		q.Add(reconcile.Request{NamespacedName: client.ObjectKeyFromObject(o)})
	}
	return source.Kind(c, client.Object(&v1beta1.AviInfraSetting{}), handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			add(e.Object, q)
			r.revisit(ctx, e.Object.GetName()) // at the start, too: an owner may have been looked at before the setting was in the cache
		},
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			add(e.ObjectNew, q)
			if e.ObjectOld.GetGeneration() != e.ObjectNew.GetGeneration() {
				r.revisit(ctx, e.ObjectNew.GetName())
			}
		},
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, _ workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			r.revisit(ctx, e.Object.GetName())
		},
	}, predicate.Or(specChanged(), verdictLost()))
}

// verdictLost lets through a status from which the verdict has gone.
func verdictLost() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		after, ok := e.ObjectNew.(*v1beta1.AviInfraSetting)
		return ok && after.Status.Status == "" && apimeta.FindStatusCondition(after.Status.Conditions, conditionAccepted) == nil
	}}
}
