// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
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

	"github.com/avi-l4-operator/avi-l4-operator/api/ako/crdoperator"
	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1alpha2"
	"github.com/avi-l4-operator/avi-l4-operator/internal/gather"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/status"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
)

// +kubebuilder:rbac:groups=ako.vmware.com,resources=l4rules;healthmonitors,verbs=get;list;watch
// +kubebuilder:rbac:groups=ako.vmware.com,resources=l4rules/status,verbs=patch

// RuleReconciler says on each L4Rule whether it can be used, and who uses it. Owners judge for themselves by the same rules, so
// this status decides nothing.
type RuleReconciler struct {
	Deps
	*queue
	Log logr.Logger
	// Owners are queued when a rule that they use has changed.
	Owners []ownerPart

	controller controller.Controller
	verdicts
}

// Reconcile writes one rule's status.
func (r *RuleReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	r.Lead()
	if !r.APIs.Serves(gather.Rules) || r.Settings.Current() == nil {
		return ctrl.Result{}, nil // without settings it isn't known who uses it
	}
	rule := new(v1alpha2.L4Rule)
	if err := r.Client.Get(ctx, req.NamespacedName, rule); err != nil {
		if !apierrors.IsNotFound(err) {
			return ctrl.Result{}, fmt.Errorf("reading L4Rule %s: %w", req.NamespacedName, err)
		}
		r.last.Delete(req.NamespacedName)
		return ctrl.Result{}, nil
	}
	if rule.DeletionTimestamp != nil {
		return ctrl.Result{}, nil
	}
	using, err := r.users(ctx, req.NamespacedName)
	if err != nil {
		return ctrl.Result{}, err
	}
	ns := new(corev1.Namespace)
	if err := r.Client.Get(ctx, types.NamespacedName{Name: rule.Namespace}, ns); err != nil {
		return ctrl.Result{}, fmt.Errorf("reading Namespace %s: %w", rule.Namespace, err)
	}
	if len(using) == 0 && (r.others(rule) || !r.Settings.Current().Accepts(ns.Name, ns.Labels)) {
		return ctrl.Result{}, nil // another instance's
	}
	verdict, ok, err := r.verdict(ctx, rule, translate.Tenant(r.Settings.Current(), model.ServiceOwner, ns))
	if err != nil {
		return resultOf(ctx, err)
	}
	keeps, err := r.APIs.KeepsConditions(ctx, gather.Rules)
	if err != nil {
		return ctrl.Result{}, err
	}
	how, err := r.write(ctx, r.Status, rule, rule.DeepCopy(), ruleStatus, finding{ruleInUse(using, r.signature()), verdict, ok, keeps})
	if err != nil {
		return resultOf(ctx, client.IgnoreNotFound(err))
	}
	switch how {
	case rejected:
		r.Status.Warn(rule, "Rejected", verdict.Message+keepsRule(using))
	case acceptedAgain:
		r.Status.Inform(rule, "Accepted", verdict.Message)
	}
	return ctrl.Result{}, nil
}

// ruleStatus is the status of an L4Rule.
func ruleStatus(o client.Object) akoStatus {
	r, _ := o.(*v1alpha2.L4Rule)
	return akoStatus{&r.Status.Status, &r.Status.Error, &r.Status.Conditions}
}

// verdict is the condition Accepted. ok is false if there is nothing new to say: that the Controller could not be asked takes no verdict
// back.
func (r *RuleReconciler) verdict(ctx context.Context, rule *v1alpha2.L4Rule, tenant string) (c metav1.Condition, ok bool, err error) {
	c = metav1.Condition{Type: conditionAccepted}
	facts := r.Engine.Mirror.Facts()
	if facts != nil && r.Engine.Mirror.Err() == nil {
		learn := func() error { return r.Engine.Mirror.Learn(ctx, translate.RuleKinds(rule)...) }
		if tenant != r.Settings.Current().Tenant {
			learn = func() error { return r.Engine.Mirror.LearnIn(ctx, tenant, translate.RuleKinds(rule)...) }
		}
		if err := learn(); err != nil {
			return c, false, fmt.Errorf("reading what L4Rule %s/%s refers to: %w", rule.Namespace, rule.Name, err)
		}
		facts = r.Engine.Mirror.Facts()
	}
	if facts == nil || r.Engine.Mirror.Err() != nil {
		was := apimeta.FindStatusCondition(rule.Status.Conditions, conditionAccepted)
		c.Status, c.Reason, c.Message = metav1.ConditionUnknown, model.ReasonControllerDown, "the Controller could not be asked yet whether what this refers to exists"
		return c, was == nil || was.ObservedGeneration != rule.Generation, nil
	}
	cfg := r.Settings.Current()
	c.Status, c.Reason, c.Message = metav1.ConditionTrue, v1alpha2.StatusAccepted, "everything that this refers to exists on the Controller"
	if kinds := translate.RuleKinds(rule); tenant != cfg.Tenant && slices.ContainsFunc(kinds, func(k model.Kind) bool {
		return facts.Tenants[tenant].Shared[k] == nil
	}) {
		c.Message = "not all of it can be looked up in tenant " + tenant + ": whether what this refers to exists is for the Controller to say"
	}
	read, err := r.Gather.Rule(ctx, rule)
	if err != nil {
		return c, false, err
	}
	if problems := translate.RuleProblems(read, translate.RuleFacts(facts, cfg, tenant), tenant); len(problems) > 0 {
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, v1alpha2.StatusRejected, status.Clip(strings.Join(problems, "; "))
	}
	return c, true, nil
}

// signature ends the message that says who uses a rule, as with AviInfraSettings.
func (r *RuleReconciler) signature() string {
	if cfg := r.Settings.Current(); cfg != nil {
		return " (says instance " + cfg.Instance() + ")"
	}
	return ""
}

// others reports whether another instance has judged a rule as it is now. One without users of its own leaves it so.
func (r *RuleReconciler) others(rule *v1alpha2.L4Rule) bool {
	c := apimeta.FindStatusCondition(rule.Status.Conditions, conditionInUse)
	return c != nil && c.ObservedGeneration == rule.Generation && !strings.HasSuffix(c.Message, r.signature())
}

func ruleInUse(using []model.Owner, signature string) metav1.Condition {
	c := inUse(using, signature)
	if len(using) == 0 {
		c.Message = "no Service or Gateway that is served names this rule" + signature
	}
	return c
}

func keepsRule(using []model.Owner) string {
	if len(using) == 0 {
		return ""
	}
	return "; what serves keeps what it has: " + list(using)
}

// users are the owners that a rule overrides something for, in order.
func (r *RuleReconciler) users(ctx context.Context, rule types.NamespacedName) (out []model.Owner, err error) {
	cfg := r.Settings.Current()
	if cfg == nil {
		return nil, nil
	}
	for _, o := range r.Owners {
		ruled, err := o.Ruled(ctx, cfg, rule)
		if err != nil {
			return nil, err
		}
		out = append(out, ruled...)
	}
	slices.SortFunc(out, func(a, b model.Owner) int { return strings.Compare(a.String(), b.String()) })
	return out, nil
}

// revisit queues all owners that use a rule.
func (r *RuleReconciler) revisit(ctx context.Context, rule types.NamespacedName) {
	using, err := r.users(ctx, rule)
	if err != nil {
		r.Log.Error(err, "looking for the users of an L4Rule; all are looked at", "rule", rule)
	}
	for _, o := range r.Owners {
		if err != nil {
			o.All()
		} else {
			o.Changed(using)
		}
	}
}

// All queues every rule.
func (r *RuleReconciler) All() {
	if !r.APIs.Synced(gather.Rules) {
		return
	}
	var all v1alpha2.L4RuleList
	if err := r.Client.List(context.Background(), &all, client.UnsafeDisableDeepCopy); err != nil {
		r.Log.Error(err, "listing L4Rules from the cache")
		return
	}
	for i := range all.Items {
		r.enqueue(client.ObjectKeyFromObject(&all.Items[i]))
	}
}

// SetupWithManager registers the watches on types that every cluster has: Services name rules, for themselves or for a Gateway.
func (r *RuleReconciler) SetupWithManager(mgr ctrl.Manager) error {
	c, err := ctrl.NewControllerManagedBy(mgr).
		Named("l4rule").
		Watches(&corev1.Service{}, ofRuleUser(), builder.WithPredicates(ruleNamed())).
		WatchesRawSource(r.capture()).
		WithOptions(controller.Options{RateLimiter: rateLimiter(), ReconciliationTimeout: r.Timeout}).
		Build(r)
	r.controller = c
	return err
}

// ruleNamed lets through objects that name a rule, or did.
func ruleNamed() predicate.Predicate {
	names := func(o client.Object) bool {
		_, ok := gather.RuleOf(o)
		return ok
	}
	return predicate.Funcs{
		CreateFunc: func(e event.CreateEvent) bool { return names(e.Object) },
		DeleteFunc: func(e event.DeleteEvent) bool { return names(e.Object) },
		UpdateFunc: func(e event.UpdateEvent) bool {
			return (names(e.ObjectOld) || names(e.ObjectNew)) && e.ObjectOld.GetResourceVersion() != e.ObjectNew.GetResourceVersion()
		},
	}
}

// ofRuleUser queues the rule that an object names, before a change and after.
func ofRuleUser() handler.EventHandler {
	each := func(_ context.Context, o client.Object, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
		if key, ok := gather.RuleOf(o); ok {
			q.AddAfter(reconcile.Request{NamespacedName: key}, usageDelay)
		}
	}
	out := eachObject(each)
	out.UpdateFunc = func(ctx context.Context, e event.UpdateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
		each(ctx, e.ObjectOld, q)
		each(ctx, e.ObjectNew, q)
	}
	return out
}

// Watch begins to watch an API's types, which the API server has: L4Rules, or the Gateways that name them.
func (r *RuleReconciler) Watch(c cache.Cache, api gather.API) error {
	var sources []source.Source
	for _, o := range r.Owners {
		if u := o.Usage(); u.api != "" && u.api == api {
			sources = append(sources, source.Kind(c, u.object, ofRuleUser(), ruleNamed()))
		}
	}
	if api == gather.Rules {
		sources = append(sources, r.rules(c))
	}
	if api == gather.Monitors {
		sources = append(sources, source.Kind(c, client.Object(&crdoperator.HealthMonitor{}), eachObject(r.ofMonitor), monitorTurned()))
	}
	return watch(r.controller, sources)
}

// Refers implements part: rules name HealthMonitors.
func (r *RuleReconciler) Refers(api gather.API) bool { return api == gather.Monitors }

// monitorTurned lets through changes of a HealthMonitor that decide whether, and as what, rules can name it.
func monitorTurned() predicate.Predicate {
	return updated(func(before, after *crdoperator.HealthMonitor) bool {
		return !apiequality.Semantic.DeepEqual(before.Status, after.Status)
	})
}

// ofMonitor queues the rules that name a HealthMonitor, and the owners that use those rules.
func (r *RuleReconciler) ofMonitor(ctx context.Context, o client.Object, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
	if !r.APIs.Synced(gather.Rules) {
		return // they are all looked at when they come
	}
	var rules v1alpha2.L4RuleList
	if err := r.Client.List(ctx, &rules, client.InNamespace(o.GetNamespace()), client.UnsafeDisableDeepCopy); err != nil {
		r.Log.Error(err, "listing the L4Rules of a HealthMonitor", "namespace", o.GetNamespace())
		return
	}
	for i := range rules.Items {
		rule := &rules.Items[i]
		if slices.Contains(translate.MonitorNames(&rule.Spec), o.GetName()) {
			q.Add(reconcile.Request{NamespacedName: client.ObjectKeyFromObject(rule)})
			r.revisit(ctx, client.ObjectKeyFromObject(rule))
		}
	}
}

// rules are the L4Rules themselves.
func (r *RuleReconciler) rules(c cache.Cache) source.Source {
	add := func(o client.Object, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
		q.Add(reconcile.Request{NamespacedName: client.ObjectKeyFromObject(o)})
	}
	return source.Kind(c, client.Object(&v1alpha2.L4Rule{}), handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			add(e.Object, q)
			r.revisit(ctx, client.ObjectKeyFromObject(e.Object)) // at the start, too: an owner may have been looked at before the cache had the rule
		},
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			add(e.ObjectNew, q)
			if e.ObjectOld.GetGeneration() != e.ObjectNew.GetGeneration() {
				r.revisit(ctx, client.ObjectKeyFromObject(e.ObjectNew))
			}
		},
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, _ workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			r.revisit(ctx, client.ObjectKeyFromObject(e.Object))
		},
	}, predicate.Or(specChanged(), ruleVerdictLost()))
}

// ruleVerdictLost lets through a status from which the verdict has gone.
func ruleVerdictLost() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		after, ok := e.ObjectNew.(*v1alpha2.L4Rule)
		return ok && after.Status.Status == "" && apimeta.FindStatusCondition(after.Status.Conditions, conditionAccepted) == nil
	}}
}
