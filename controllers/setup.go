// SPDX-License-Identifier: Apache-2.0

// Package controllers connects Kubernetes to the engine: watches, maps from an event to the owners that it concerns, one reconciler for all
// kinds of owner, and those of classes, routes, settings and static routes. It knows nothing of Avi's objects.
package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
	"unique"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/avi-l4-operator/avi-l4-operator/internal/engine"
	"github.com/avi-l4-operator/avi-l4-operator/internal/gather"
	"github.com/avi-l4-operator/avi-l4-operator/internal/mirror"
	"github.com/avi-l4-operator/avi-l4-operator/internal/outcome"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
	"github.com/avi-l4-operator/avi-l4-operator/internal/staticroutes"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
)

// CacheOptions keeps in memory only what is used: of Services that are no load balancers what a Gateway asks of them, of
// EndpointSlices what makes a server, of ConfigMaps and Secrets the operator's own two.
func CacheOptions(namespace string) cache.Options {
	own := func(name string) cache.ByObject {
		return cache.ByObject{Namespaces: map[string]cache.Config{
			namespace: {FieldSelector: fields.OneTermEqualSelector("metadata.name", name)},
		}}
	}
	return cache.Options{
		DefaultTransform: slimOther,
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Service{}:            {Transform: slimService},
			&discoveryv1.EndpointSlice{}: {Transform: slimSlice},
			&corev1.Namespace{}:          {Transform: slimNamespace},
			&corev1.Node{}:               {Transform: slimNode},
			&corev1.Pod{}:                {Transform: slimPod},
			&corev1.ConfigMap{}:          own(settings.ConfigMapName),
			&corev1.Secret{}:             own(settings.SecretName),
		},
	}
}

// slimOther keeps of a network plugin's objects what says which pods a node has, and all but managed fields of others.
func slimOther(o any) (any, error) {
	if u, ok := o.(*unstructured.Unstructured); ok && staticroutes.Slim(u) {
		return u, nil
	}
	return cache.TransformStripManagedFields()(o)
}

const lastApplied = translate.AnnotationApplied

// intern has equal texts kept once.
func intern[S ~string](texts ...*S) {
	for _, s := range texts {
		*s = S(unique.Make(string(*s)).Value())
	}
}

func internAll[S ~string](texts []S) {
	for i := range texts {
		intern(&texts[i])
	}
}

func slimMeta(o metav1.Object) {
	o.SetManagedFields(nil)
	o.SetNamespace(unique.Make(o.GetNamespace()).Value())
	internAll(o.GetFinalizers())
	if a := o.GetAnnotations(); a[lastApplied] != "" {
		delete(a, lastApplied)
	}
}

func slimService(o any) (any, error) {
	svc, ok := o.(*corev1.Service)
	if !ok {
		return o, nil
	}
	applied := translate.AppliedPorts(svc.Annotations[lastApplied])
	slimMeta(svc)
	if applied != "" && relevant(svc) {
		svc.Annotations[lastApplied] = applied
	}
	if !relevant(svc) { // it may stand behind a Gateway
		svc.Annotations = only(svc.Annotations, keptAnnotations...)
		svc.OwnerReferences = nil
		svc.Spec = corev1.ServiceSpec{Type: svc.Spec.Type, Ports: svc.Spec.Ports, Selector: someSelector(svc.Spec.Selector),
			IPFamilies: svc.Spec.IPFamilies, ExternalTrafficPolicy: svc.Spec.ExternalTrafficPolicy,
			SessionAffinity: svc.Spec.SessionAffinity, SessionAffinityConfig: svc.Spec.SessionAffinityConfig}
		svc.Status = corev1.ServiceStatus{}
	}
	internService(svc)
	return svc, nil
}

// internService is about the texts that most Services have: as many copies would be a tenth of what the cache costs.
func internService(svc *corev1.Service) {
	s := &svc.Spec
	intern(&s.Type)
	intern(&s.SessionAffinity)
	intern(&s.ExternalTrafficPolicy)
	intern(&s.LoadBalancerIP)
	internAll(s.IPFamilies)
	if len(s.ClusterIPs) > 0 && s.ClusterIPs[0] == s.ClusterIP {
		s.ClusterIPs[0] = s.ClusterIP
	}
	for i := range s.Ports {
		intern(&s.Ports[i].Protocol)
		intern(&s.Ports[i].Name)
	}
	for i := range svc.Status.Conditions {
		c := &svc.Status.Conditions[i]
		intern(&c.Status)
		intern(&c.Type, &c.Reason)
	}
}

// keptAnnotations are those of Services that are no load balancers: what they ask for behind a Gateway, and which shared VIP they
// may have left.
var keptAnnotations = append(slices.Clone(translate.BackendAnnotations), translate.AnnotationSharedVIP)

// someSelector keeps that there is one: what it says is the endpoint controller's business.
func someSelector(m map[string]string) map[string]string {
	if len(m) == 0 {
		return nil
	}
	return selected
}

var selected = map[string]string{"": ""}

func slimSlice(o any) (any, error) {
	slice, ok := o.(*discoveryv1.EndpointSlice)
	if !ok {
		return o, nil
	}
	slimMeta(slice)
	slice.Annotations, slice.OwnerReferences = nil, nil
	slice.Labels = map[string]string{discoveryv1.LabelServiceName: slice.Labels[discoveryv1.LabelServiceName]}
	for i := range slice.Endpoints {
		e := &slice.Endpoints[i]
		e.TargetRef, e.Hints, e.Zone, e.DeprecatedTopology, e.Hostname = nil, nil, nil, nil, nil
		if e.NodeName != nil {
			intern(e.NodeName)
		}
	}
	intern(&slice.AddressType)
	for _, p := range slice.Ports {
		if p.Protocol != nil {
			intern(p.Protocol)
		}
		if p.Name != nil {
			intern(p.Name)
		}
	}
	return slice, nil
}

func slimNamespace(o any) (any, error) {
	ns, ok := o.(*corev1.Namespace)
	if !ok {
		return o, nil
	}
	slimMeta(ns)
	ns.Spec, ns.Status = corev1.NamespaceSpec{}, corev1.NamespaceStatus{}
	return ns, nil
}

// relevant reports whether a Service is a load balancer, or was ours once.
func relevant(svc *corev1.Service) bool {
	return svc.Spec.Type == corev1.ServiceTypeLoadBalancer || gather.Claimed(svc)
}

// retryMin and retryMax bound the back-off of failures that pass by themselves. Left to itself the queue would sleep up
// to a quarter of an hour after an outage.
const (
	retryMin = 100 * time.Millisecond
	retryMax = 30 * time.Second
)

func rateLimiter() workqueue.TypedRateLimiter[reconcile.Request] {
	return workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](retryMin, retryMax)
}

// resultOf is the one place where a failure's class becomes what the queue does.
func resultOf(ctx context.Context, err error) (ctrl.Result, error) {
	if apierrors.IsConflict(err) { // the cache was behind; its next event may be here already
		return ctrl.Result{RequeueAfter: spread(200 * time.Millisecond)}, nil
	}
	if engine.Restrained(err).Own() { // as the owner asks; its change is an event
		return ctrl.Result{}, nil
	}
	if errors.Is(err, mirror.ErrNotLoaded) { // the load itself re-queues what waits for it
		return ctrl.Result{RequeueAfter: spread(5 * time.Second)}, nil
	}
	wait := engine.RetryAfter(err)
	switch engine.Classify(err) {
	case outcome.None:
		return ctrl.Result{}, nil
	case outcome.Terminal:
		if engine.Forbidden(err) { // the operator doesn't learn when the account gets the right
			return ctrl.Result{}, err
		}
		return ctrl.Result{}, reconcile.TerminalError(err)
	case outcome.Wait:
		if wait == 0 {
			wait = time.Minute
		}
		ctrl.LoggerFrom(ctx).Info("waiting", "reason", err.Error(), "for", wait)
		return ctrl.Result{RequeueAfter: spread(wait)}, nil
	}
	if wait > 0 {
		ctrl.LoggerFrom(ctx).Info("trying again", "reason", err.Error(), "in", wait)
		return ctrl.Result{RequeueAfter: spread(min(wait, retryMax))}, nil
	}
	return ctrl.Result{}, err
}

// spread adds up to a fifth, so that what failed together doesn't come back together.
func spread(d time.Duration) time.Duration { return wait.Jitter(d, 0.2) }

var errUnconfigured = errors.New("the operator has no valid settings")

// configuredIn is the namespace of the settings that can't be used; empty if there is none.
func configuredIn(s *settings.Store) string {
	var p *settings.Problem
	if errors.As(s.Err(), &p) {
		return p.Object.Namespace
	}
	return ""
}

func configurationError(s *settings.Store) error {
	if err := s.Err(); err != nil {
		return fmt.Errorf("%w (%w)", err, errUnconfigured)
	}
	return fmt.Errorf("%w: they have not been read yet", errUnconfigured)
}
