// Package gather reads from the Kubernetes cache what decides about one owner. It writes nothing, and never takes an
// object that it could not read for one that isn't there.
package gather

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/avi-l4-operator/avi-l4-operator/internal/build"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
)

// Finalizer keeps a Service until its objects are gone from the Controller. It is never the stock finalizer of
// Services, which a cloud controller manager strips.
const Finalizer = "l4.ako.vmware.com/cleanup"

// AnnotationServedBy is set with the finalizer and names the instance of the operator that serves a Service
// (settings.Instance). Several instances may share a cluster, each with its own namespaces; none releases what another serves.
const AnnotationServedBy = "l4.ako.vmware.com/served-by"

// Cache indexes that gather needs; SetupIndexes registers them.
const (
	// IndexSliceService finds EndpointSlices by the Service that they belong to.
	IndexSliceService = "slice.service"
	// IndexVirtualService finds Services of type LoadBalancer by what their VirtualService's name ends with.
	IndexVirtualService = "service.virtualservice"
)

// SetupIndexes registers the cache indexes.
func SetupIndexes(ctx context.Context, indexer client.FieldIndexer) error {
	err := indexer.IndexField(ctx, &discoveryv1.EndpointSlice{}, IndexSliceService, func(o client.Object) []string {
		if name := o.GetLabels()[discoveryv1.LabelServiceName]; name != "" {
			return []string{name}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("indexing EndpointSlices by Service: %w", err)
	}
	err = indexer.IndexField(ctx, &corev1.Service{}, IndexVirtualService, func(o client.Object) []string {
		if svc, ok := o.(*corev1.Service); ok && svc.Spec.Type == corev1.ServiceTypeLoadBalancer {
			return []string{svc.Namespace + "-" + svc.Name}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("indexing Services by their VirtualService's name: %w", err)
	}
	return nil
}

// Service reads a Service and its Namespace. The Service is nil if the cache, complete and synced, doesn't hold it.
func Service(ctx context.Context, c client.Reader, key types.NamespacedName) (*corev1.Service, *corev1.Namespace, error) {
	svc := new(corev1.Service)
	if err := c.Get(ctx, key, svc); err != nil {
		if apierrors.IsNotFound(err) {
			return nil, nil, nil
		}
		return nil, nil, fmt.Errorf("reading Service %s: %w", key, err)
	}
	ns := new(corev1.Namespace)
	err := c.Get(ctx, types.NamespacedName{Name: key.Namespace}, ns)
	if apierrors.IsNotFound(err) && svc.DeletionTimestamp != nil {
		return svc, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: key.Namespace}}, nil
	}
	// A namespace that isn't known yet is no namespace without labels: its Services would be let go by mistake.
	if err != nil {
		return nil, nil, fmt.Errorf("reading Namespace %s: %w", key.Namespace, err)
	}
	return svc, ns, nil
}

// Input reads the rest of what decides about a Service that is ours.
func Input(ctx context.Context, c client.Reader, s *settings.Settings, svc *corev1.Service, ns *corev1.Namespace) (build.Input, error) {
	in := build.Input{Service: svc, Namespace: ns, Settings: s}
	var slices discoveryv1.EndpointSliceList
	if err := c.List(ctx, &slices, client.InNamespace(svc.Namespace), client.MatchingFields{IndexSliceService: svc.Name}, client.UnsafeDisableDeepCopy); err != nil {
		return in, fmt.Errorf("listing EndpointSlices of Service %s/%s: %w", svc.Namespace, svc.Name, err)
	}
	in.SlicesRead = true
	in.Slices = make([]*discoveryv1.EndpointSlice, len(slices.Items))
	for i := range slices.Items {
		in.Slices[i] = &slices.Items[i]
	}
	rival, err := rivalOf(ctx, c, s, svc)
	if err != nil {
		return in, err
	}
	in.Rival = rival
	return in, nil
}

// rivalOf finds an older Service whose objects would have the same names: "a-b"/"c" and "a"/"b-c" do.
func rivalOf(ctx context.Context, c client.Reader, s *settings.Settings, svc *corev1.Service) (*model.Owner, error) {
	var list corev1.ServiceList
	if err := c.List(ctx, &list, client.MatchingFields{IndexVirtualService: svc.Namespace + "-" + svc.Name}, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing Services by name of their VirtualService: %w", err)
	}
	for i := range list.Items {
		other := &list.Items[i]
		if other.UID == svc.UID || other.DeletionTimestamp != nil && !hasFinalizer(other) {
			continue
		}
		ns := new(corev1.Namespace)
		if err := c.Get(ctx, types.NamespacedName{Name: other.Namespace}, ns); err != nil {
			return nil, fmt.Errorf("reading Namespace %s: %w", other.Namespace, err)
		}
		if ok, _ := build.Ours(s, other, ns); ok && older(other, svc) {
			return &model.Owner{Kind: model.ServiceOwner, Namespace: other.Namespace, Name: other.Name}, nil
		}
	}
	return nil, nil
}

func hasFinalizer(o client.Object) bool {
	for _, f := range o.GetFinalizers() {
		if f == Finalizer {
			return true
		}
	}
	return false
}

func older(a, b *corev1.Service) bool {
	if !a.CreationTimestamp.Equal(&b.CreationTimestamp) {
		return a.CreationTimestamp.Before(&b.CreationTimestamp)
	}
	return a.Namespace+"/"+a.Name < b.Namespace+"/"+b.Name
}
