// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	gatewayv1beta1 "sigs.k8s.io/gateway-api/apis/v1beta1"

	"github.com/avi-l4-operator/avi-l4-operator/api/ako/crdoperator"
	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1alpha1"
	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1alpha2"
	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1beta1"
	svcapi "github.com/avi-l4-operator/avi-l4-operator/api/networking/v1alpha1"
	"github.com/avi-l4-operator/avi-l4-operator/internal/gather"
	"github.com/avi-l4-operator/avi-l4-operator/internal/staticroutes"
)

// +kubebuilder:rbac:groups=apiextensions.k8s.io,resources=customresourcedefinitions,verbs=get;list;watch

// api is a set of types that may be missing from the cluster.
type api struct {
	name    gather.API
	version schema.GroupVersion
	kinds   []string        // as the API server lists them
	crds    []string        // names of their CustomResourceDefinitions
	objects []client.Object // one of each type that is cached
}

var optional = withPodCIDRs([]api{
	{gather.InfraSettings, v1beta1.GroupVersion, []string{"AviInfraSetting"}, []string{"aviinfrasettings.ako.vmware.com"}, []client.Object{&v1beta1.AviInfraSetting{}}},
	{gather.Rules, v1alpha2.GroupVersion, []string{"L4Rule"}, []string{"l4rules.ako.vmware.com"}, []client.Object{&v1alpha2.L4Rule{}}},
	{gather.Monitors, crdoperator.GroupVersion, []string{"HealthMonitor"}, []string{"healthmonitors.ako.vmware.com"}, []client.Object{&crdoperator.HealthMonitor{}}},
	{gather.ServicesAPI, svcapi.GroupVersion, []string{"Gateway", "GatewayClass"},
		[]string{"gateways.networking.x-k8s.io", "gatewayclasses.networking.x-k8s.io"},
		[]client.Object{&svcapi.Gateway{}, &svcapi.GatewayClass{}}},
	{gather.GatewayAPI, gatewayVersion, []string{"Gateway", "GatewayClass"}, []string{"gateways.gateway.networking.k8s.io", "gatewayclasses.gateway.networking.k8s.io"},
		[]client.Object{&gatewayv1.Gateway{}, &gatewayv1.GatewayClass{}}},
	{gather.ListenerSets, gatewayVersion, []string{"ListenerSet"}, []string{"listenersets.gateway.networking.k8s.io"}, []client.Object{&gatewayv1.ListenerSet{}}},
	{gather.TCPRoutes, gatewayVersion, []string{"TCPRoute"}, []string{"tcproutes.gateway.networking.k8s.io"}, []client.Object{&gatewayv1.TCPRoute{}}},
	{gather.UDPRoutes, gatewayVersion, []string{"UDPRoute"}, []string{"udproutes.gateway.networking.k8s.io"}, []client.Object{&gatewayv1.UDPRoute{}}},
	{gather.SCTPRoutes, v1alpha1.GroupVersion, []string{"SCTPRoute"}, []string{"sctproutes.ako.vmware.com"}, []client.Object{&v1alpha1.SCTPRoute{}}},
	// v1beta1 is what every release serves.
	{gather.ReferenceGrants, schema.GroupVersion(gatewayv1beta1.GroupVersion), []string{"ReferenceGrant"}, []string{"referencegrants.gateway.networking.k8s.io"}, []client.Object{&gatewayv1beta1.ReferenceGrant{}}},
})

// withPodCIDRs adds the types in which network plugins keep nodes' pod CIDRs. Only the one of cniPlugin is watched.
func withPodCIDRs(apis []api) []api {
	for _, s := range staticroutes.Sources() {
		o := new(unstructured.Unstructured)
		o.SetGroupVersionKind(s.Kind)
		apis = append(apis, api{gather.PodCIDRs(s), s.Kind.GroupVersion(), []string{s.Kind.Kind}, []string{s.CRD}, []client.Object{o}})
	}
	return apis
}

var gatewayVersion = schema.GroupVersion(gatewayv1.GroupVersion)

// APIs follows which optional types the API server has, and switches what needs them on and off. A type that vanishes
// says nothing about the objects that there were: nothing is removed for it.
type APIs struct {
	Cache     cache.Cache
	Live      client.Reader
	Discovery discovery.ServerResourcesInterface
	Log       logr.Logger
	// Appeared starts the watches of an API.
	Appeared func(gather.API) error
	// Vanished is called after an API has gone.
	Vanished func(gather.API)
	// Versioned is called after the release of the Gateway API's CRDs has changed.
	Versioned func()
	// Grace is how long a type is Young.
	Grace time.Duration

	wake    chan struct{}
	watched map[gather.API]bool // switched on
	absent  map[gather.API]int  // how often in a row one that is switched on was not found
	mu      sync.RWMutex
	since   map[gather.API]time.Time // of those that are served
	came    map[gather.API]time.Time // when their types were last created, as far as is known
	schemas schemas
}

// NewAPIs knows of none yet.
func NewAPIs() *APIs {
	return &APIs{wake: make(chan struct{}, 1), watched: make(map[gather.API]bool), absent: make(map[gather.API]int),
		since: make(map[gather.API]time.Time), came: make(map[gather.API]time.Time)}
}

// Prime asks the API server once, before anything runs, so that a type that was not looked for yet is not taken for missing.
func (a *APIs) Prime() error {
	for _, api := range optional {
		served, err := a.served(api)
		if err != nil {
			return err
		}
		if served {
			a.since[api.name], a.came[api.name] = time.Now(), a.created(api)
		}
	}
	return nil
}

// created is when the last of an API's CRDs was, zero if that isn't known.
func (a *APIs) created(api api) (last time.Time) {
	for _, crd := range api.crds {
		m := crdMetadata()
		if a.Live.Get(context.Background(), types.NamespacedName{Name: crd}, m) == nil && m.CreationTimestamp.After(last) {
			last = m.CreationTimestamp.Time
		}
	}
	return last
}

// Young reports whether an API has only just come, perhaps back: its objects may still be on their way.
func (a *APIs) Young(name gather.API) bool {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return time.Since(a.came[name]) < a.Grace
}

// bundleVersion is the annotation in which the CRDs of gateway.networking.k8s.io carry their release.
const bundleVersion = "gateway.networking.k8s.io/bundle-version"

// Bundle is the release of the CRDs of gateway.networking.k8s.io that are in use, in order; "" stands for one that doesn't say.
func (a *APIs) Bundle(ctx context.Context) (out []string) {
	for _, api := range optional {
		if api.version.Group != gatewayVersion.Group || !a.Serves(api.name) {
			continue
		}
		for _, crd := range api.crds {
			m := crdMetadata()
			if err := a.Cache.Get(ctx, types.NamespacedName{Name: crd}, m); err != nil {
				continue
			}
			if v := m.Annotations[bundleVersion]; !slices.Contains(out, v) {
				out = append(out, v)
			}
		}
	}
	slices.Sort(out)
	return out
}

// Serves reports whether the API server has an API's types.
func (a *APIs) Serves(name gather.API) bool { return !a.Since(name).IsZero() }

// Since is when an API was found to be served, zero if it isn't.
func (a *APIs) Since(name gather.API) time.Time {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.since[name]
}

const (
	apiPoll  = 30 * time.Second       // in case an event was missed
	apiRetry = 500 * time.Millisecond // while a new CRD is being established
)

// crdMetadata is what is watched of a CustomResourceDefinition: its schema may be large and is of no use here.
func crdMetadata() *metav1.PartialObjectMetadata {
	m := new(metav1.PartialObjectMetadata)
	m.SetGroupVersionKind(schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"})
	return m
}

// Start follows the CRDs until the context ends. It runs on the leader, with the controllers that it switches.
func (a *APIs) Start(ctx context.Context) error {
	informer, err := a.Cache.GetInformer(ctx, crdMetadata(), cache.BlockUntilSynced(false))
	if err != nil {
		return fmt.Errorf("watching CustomResourceDefinitions: %w", err)
	}
	poke := func(any) {
		select {
		case a.wake <- struct{}{}:
		default:
		}
	}
	handle, err := informer.AddEventHandler(
		toolscache.ResourceEventHandlerFuncs{AddFunc: poke, UpdateFunc: func(_, o any) { poke(o) }, DeleteFunc: poke})
	if err != nil {
		return fmt.Errorf("watching CustomResourceDefinitions: %w", err)
	}
	defer func() { _ = informer.RemoveEventHandler(handle) }()
	var bundle []string
	for {
		wait := apiPoll
		for _, api := range optional {
			if err := a.look(ctx, api); err != nil && ctx.Err() == nil {
				a.Log.Info("looking for an API again soon", "api", api.name, "reason", err.Error())
				wait = apiRetry
			}
		}
		if now := a.Bundle(ctx); !slices.Equal(now, bundle) {
			bundle = now
			a.Versioned()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-a.wake:
			time.Sleep(50 * time.Millisecond) // a CRD's creation is several events
		case <-time.After(wait):
		}
	}
}

var (
	errEstablishing = errors.New("its CRDs exist and aren't served yet")
	errMissing      = errors.New("the API server doesn't list it, although its CRDs exist")
)

// Synced reports whether the cache has the objects of an API. One that it never gets, because the operator's role is older than
// the operator or an object can't be decoded, must not hold up what doesn't need it.
func (a *APIs) Synced(name gather.API) bool {
	if !a.Serves(name) {
		return false
	}
	for _, api := range optional {
		if api.name != name {
			continue
		}
		for _, o := range api.objects {
			informer, err := a.Cache.GetInformer(context.Background(), o, cache.BlockUntilSynced(false))
			if err != nil || !informer.HasSynced() {
				return false
			}
		}
	}
	return true
}

// absentMost is how often an API may be missing from the API server's list while its CRDs exist: a server that has just
// started doesn't list them for a moment.
const absentMost = 20

// gone reports whether an API that isn't listed has really gone.
func (a *APIs) gone(ctx context.Context, name gather.API) bool {
	if leaving, err := a.Leaving(ctx, name); err != nil || leaving {
		return leaving
	}
	a.absent[name]++
	return a.absent[name] > absentMost
}

// look compares what the API server has with what is switched on. An answer that isn't one changes nothing.
func (a *APIs) look(ctx context.Context, api api) error {
	served, err := a.served(api)
	if err != nil {
		return err
	}
	switch was := a.Serves(api.name); {
	case served && was && a.watched[api.name]:
		a.absent[api.name] = 0
	case served && !a.watched[api.name]:
		a.Log.Info("found", "api", api.name)
		a.mu.Lock()
		if !was {
			a.since[api.name], a.came[api.name] = time.Now(), time.Now()
		}
		a.mu.Unlock()
		if err := a.Appeared(api.name); err != nil {
			return err
		}
		a.watched[api.name] = true
	case !served && was && !a.gone(ctx, api.name):
		return errMissing
	case !served && was:
		a.absent[api.name] = 0
		a.Log.Info("gone; what was served through it stays as it is", "api", api.name)
		a.mu.Lock()
		delete(a.since, api.name)
		a.mu.Unlock()
		a.watched[api.name] = false
		time.Sleep(time.Second) // calls that have just been made get their answer
		for _, o := range api.objects {
			if err := a.Cache.RemoveInformer(ctx, o); err != nil {
				return fmt.Errorf("stopping to watch %T: %w", o, err)
			}
		}
		a.Vanished(api.name)
	case !served:
		return a.establishing(ctx, api)
	}
	return nil
}

// served asks the API server for an API's types.
func (a *APIs) served(api api) (bool, error) {
	list, err := a.Discovery.ServerResourcesForGroupVersion(api.version.String())
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("asking for the types of %s: %w", api.version, err)
	}
	for _, kind := range api.kinds {
		if !slices.ContainsFunc(list.APIResources, func(r metav1.APIResource) bool { return r.Kind == kind }) {
			return false, nil
		}
	}
	return true, nil
}

// establishing is an error while all CRDs exist and are on their way to be served.
func (a *APIs) establishing(ctx context.Context, api api) error {
	for _, name := range api.crds {
		m := crdMetadata()
		if err := a.Cache.Get(ctx, types.NamespacedName{Name: name}, m); err != nil {
			return client.IgnoreNotFound(err)
		}
		if m.DeletionTimestamp != nil || time.Since(m.CreationTimestamp.Time) > time.Minute {
			return nil
		}
	}
	return errEstablishing
}

// Lasting reports whether an API's types have been there for some time and aren't being removed, by the API server's own word:
// only then does it mean something that one of their objects isn't there.
func (a *APIs) Lasting(ctx context.Context, name gather.API, age time.Duration) (bool, error) {
	if !a.Serves(name) {
		return false, nil
	}
	for _, api := range optional {
		if api.name != name {
			continue
		}
		for _, crd := range api.crds {
			m := crdMetadata()
			err := a.Live.Get(ctx, types.NamespacedName{Name: crd}, m)
			switch {
			case apierrors.IsNotFound(err):
				return false, nil
			case err != nil:
				return false, fmt.Errorf("reading CustomResourceDefinition %s: %w", crd, err)
			case m.DeletionTimestamp != nil || time.Since(m.CreationTimestamp.Time) < age:
				return false, nil
			}
		}
	}
	return true, nil
}

// Leaving reports whether an API is being removed from the cluster, or has been: its objects are deleted then because of
// that, and not because anybody wants them gone. The API server itself is asked.
func (a *APIs) Leaving(ctx context.Context, name gather.API) (bool, error) {
	for _, api := range optional {
		if api.name != name {
			continue
		}
		for _, crd := range api.crds {
			m := crdMetadata()
			err := a.Live.Get(ctx, types.NamespacedName{Name: crd}, m)
			if apierrors.IsNotFound(err) || err == nil && m.DeletionTimestamp != nil {
				return true, nil
			}
			if err != nil {
				return false, fmt.Errorf("reading CustomResourceDefinition %s: %w", crd, err)
			}
		}
	}
	return false, nil
}

// AddToScheme registers the types that the operator reads and writes.
func AddToScheme(s *runtime.Scheme) error {
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme, v1alpha2.AddToScheme,
		v1beta1.AddToScheme, crdoperator.AddToScheme, svcapi.AddToScheme, gatewayv1.Install, gatewayv1beta1.Install} {
		if err := add(s); err != nil {
			return fmt.Errorf("registering types: %w", err)
		}
	}
	return nil
}
