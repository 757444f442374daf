// SPDX-License-Identifier: Apache-2.0

// Package gather reads from the Kubernetes cache what decides about one owner. It writes nothing, and never takes an
// object that it could not read for one that isn't there.
package gather

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1beta1"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
)

// Finalizer keeps a Service or a Gateway until its objects are gone from the Controller. It is never the stock finalizer of
// Services, which a cloud controller manager strips.
const Finalizer = "l4.ako.vmware.com/cleanup"

// AnnotationServedBy is set with the finalizer and names the instance of the operator that serves an owner
// (settings.Instance). Several instances may share a cluster, each with its own namespaces; none releases what another serves.
const AnnotationServedBy = "l4.ako.vmware.com/served-by"

// Cache indexes that gather needs; SetupIndexes registers them.
const (
	// IndexSliceService finds EndpointSlices by the Service that they belong to.
	IndexSliceService = "slice.service"
	// IndexSharedVIP finds Services by the shared VIP that they ask for, and IndexSharedName by what its VirtualService's name ends
	// with.
	IndexSharedVIP  = "service.sharedvip"
	IndexSharedName = "service.sharedname"
	// IndexGateway finds Services by the Gateway that their labels name: "<namespace>/<name>".
	IndexGateway = "service.gateway"
	// IndexRule finds Services by the L4Rule that they name: "<namespace>/<name>".
	IndexRule = "service.l4rule"
)

// indexes are the cache indexes: of which objects, and what an object is found by, "" for nothing.
var indexes = []struct {
	name string
	of   client.Object
	key  func(client.Object) string
}{
	{IndexSliceService, &discoveryv1.EndpointSlice{}, func(o client.Object) string { return o.GetLabels()[discoveryv1.LabelServiceName] }},
	{IndexSharedVIP, &corev1.Service{}, ofService(translate.SharedVIPOf)},
	{IndexSharedName, &corev1.Service{}, ofService(func(svc *corev1.Service) string {
		if group := translate.SharedVIPOf(svc); group != "" {
			return svc.Namespace + "-" + group
		}
		return ""
	})},
	{IndexGateway, &corev1.Service{}, ofService(func(svc *corev1.Service) string {
		if namespace, name, ok := translate.NamedGateway(svc.Labels); ok {
			return namespace + "/" + name
		}
		return ""
	})},
	{IndexRule, &corev1.Service{}, func(o client.Object) string {
		if key, ok := RuleOf(o); ok {
			return key.String()
		}
		return ""
	}},
}

func ofService(key func(*corev1.Service) string) func(client.Object) string {
	return func(o client.Object) string {
		if svc, ok := o.(*corev1.Service); ok {
			return key(svc)
		}
		return ""
	}
}

// SetupIndexes registers the cache indexes.
func SetupIndexes(ctx context.Context, indexer client.FieldIndexer) error {
	for _, i := range indexes {
		err := indexer.IndexField(ctx, i.of, i.name, func(o client.Object) []string {
			if key := i.key(o); key != "" {
				return []string{key}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("indexing %T by %s: %w", i.of, i.name, err)
		}
	}
	return nil
}

// API is a set of Kubernetes types that may be missing from a cluster.
type API string

// The APIs whose CRDs may be missing.
const (
	InfraSettings API = "ako.vmware.com AviInfraSetting"
	Rules         API = "ako.vmware.com L4Rule"
	Monitors      API = "ako.vmware.com HealthMonitor" // the AKO CRD Operator's
	ServicesAPI   API = "networking.x-k8s.io Gateway"
)

// Group is the API group of the types.
func (a API) Group() string {
	group, _, _ := strings.Cut(string(a), " ")
	return group
}

// Reader reads from the Kubernetes cache.
type Reader struct {
	Client client.Reader
	// Serves reports whether the API server has the types; those of an API that it doesn't serve are not asked for.
	Serves func(API) bool
	// Synced reports whether the cache has an API's objects already.
	Synced func(API) bool
	// IgnoreRouteNamespaces lets Gateways take Services of every namespace, as AKO does.
	IgnoreRouteNamespaces bool
	// TakeUnnamed lets Gateways of the Services API take Services of other namespaces that don't name them.
	TakeUnnamed bool
	// ControllerNames are those of the GatewayClasses of gateway.networking.k8s.io that are ours.
	ControllerNames []string

	contenders []contender
}

// namespace reads the namespace of an object. One that isn't known yet is no namespace without labels: its objects would
// be let go by mistake. An object that is being deleted may outlive what the cache knows of its namespace.
func (r *Reader) namespace(ctx context.Context, of client.Object) (*corev1.Namespace, error) {
	ns := new(corev1.Namespace)
	err := r.Client.Get(ctx, types.NamespacedName{Name: of.GetNamespace()}, ns)
	if apierrors.IsNotFound(err) && of.GetDeletionTimestamp() != nil {
		return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: of.GetNamespace()}}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading Namespace %s: %w", of.GetNamespace(), err)
	}
	return ns, nil
}

// backend reads what is known of a Service's endpoints.
func (r *Reader) backend(ctx context.Context, s *settings.Settings, svc *corev1.Service) (translate.Backend, error) {
	out := translate.Backend{Service: svc}
	var err error
	if out.Rule, err = r.rule(ctx, svc); err != nil {
		return out, err
	}
	var slices discoveryv1.EndpointSliceList
	if err := r.Client.List(ctx, &slices, client.InNamespace(svc.Namespace), client.MatchingFields{IndexSliceService: svc.Name},
		client.UnsafeDisableDeepCopy); err != nil {
		return out, fmt.Errorf("listing EndpointSlices of Service %s/%s: %w", svc.Namespace, svc.Name, err)
	}
	out.SlicesRead = true
	out.Slices = make([]*discoveryv1.EndpointSlice, len(slices.Items))
	for i := range slices.Items {
		out.Slices[i] = &slices.Items[i]
	}
	if s.ServiceType != settings.NodePortLocal {
		return out, nil
	}
	var pods corev1.PodList
	if err := r.Client.List(ctx, &pods, client.InNamespace(svc.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		return out, fmt.Errorf("listing Pods of namespace %s: %w", svc.Namespace, err)
	}
	for i := range pods.Items {
		if pods.Items[i].Annotations[translate.AnnotationNodePortLocalPorts] != "" {
			out.Pods = append(out.Pods, &pods.Items[i])
		}
	}
	return out, nil
}

// nodes reads the cluster's nodes into an input whose settings ask for them.
func (r *Reader) nodes(ctx context.Context, in *translate.Input) error {
	if in.Settings.ServiceType != settings.NodePort {
		return nil
	}
	var list corev1.NodeList
	if err := r.Client.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("listing Nodes: %w", err)
	}
	in.NodesRead = true
	in.Nodes = make([]*corev1.Node, len(list.Items))
	for i := range list.Items {
		in.Nodes[i] = &list.Items[i]
	}
	return nil
}

// setting reads an AviInfraSetting. One that isn't there is an answer too.
func (r *Reader) setting(ctx context.Context, ref SettingRef) (translate.Setting, error) {
	switch {
	case ref.Problem != "":
		return translate.Setting{Reason: ref.Reason, Problem: ref.Problem}, nil
	case ref.Name == "":
		return translate.Setting{}, nil
	}
	out := translate.Setting{Name: ref.Name}
	if !r.Serves(InfraSettings) {
		out.Reason = model.ReasonInfraSettingMissing
		out.Problem = fmt.Sprintf("AviInfraSetting %s can't be read: the API server has no such type; install its CRD", ref.Name)
		return out, nil
	}
	o := new(v1beta1.AviInfraSetting)
	err := r.Client.Get(ctx, types.NamespacedName{Name: ref.Name}, o)
	if apierrors.IsNotFound(err) {
		return out, nil
	}
	if err != nil {
		return out, reading(err, "AviInfraSetting", types.NamespacedName{Name: ref.Name})
	}
	out.Object = o
	return out, nil
}

// rival finds an older owner whose objects would have the same names: "a-b"/"c" and "a"/"b-c" do, and so do a Service and
// Gateways of one name in one namespace.
func (r *Reader) rival(ctx context.Context, s *settings.Settings, self client.Object) (*model.Owner, error) {
	name := self.GetNamespace() + "-" + self.GetName()
	for _, c := range r.contenders {
		if owner, err := c.rival(ctx, s, name, self); owner != nil || err != nil {
			return owner, err
		}
	}
	return nil, nil
}

func reading(err error, noun string, key types.NamespacedName) error {
	return fmt.Errorf("reading %s %s: %w", noun, strings.TrimPrefix(key.String(), "/"), err)
}
