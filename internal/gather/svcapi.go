// SPDX-License-Identifier: Apache-2.0

package gather

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	svcapi "github.com/avi-l4-operator/avi-l4-operator/api/networking/v1alpha1"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
)

// SvcAPIGateways are the owners that are Gateways of the Services API.
type SvcAPIGateways struct {
	*Reader
	// Open is called before the Services that may attach to a Gateway are read, and told whether there may be some that don't name it; Using
	// is called with those Services before their endpoints are read: so that no change is missed.
	Open  func(gateway types.NamespacedName, unnamed bool)
	Using func(gateway types.NamespacedName, services []types.NamespacedName)
}

var _ Kind[*svcapi.Gateway] = SvcAPIGateways{}

// Owner implements Kind.
func (SvcAPIGateways) Owner() model.OwnerKind { return model.SvcAPIGatewayOwner }

// API implements Kind.
func (SvcAPIGateways) API() API { return ServicesAPI }

// New implements Kind.
func (SvcAPIGateways) New() *svcapi.Gateway { return new(svcapi.Gateway) }

// Get implements Kind.
func (k SvcAPIGateways) Get(ctx context.Context, key types.NamespacedName) (*svcapi.Gateway, bool, error) {
	return get(ctx, k.Reader, k, key)
}

// List implements Kind.
func (k SvcAPIGateways) List(ctx context.Context) ([]*svcapi.Gateway, error) {
	if !k.Serves(ServicesAPI) {
		return nil, nil
	}
	var list svcapi.GatewayList
	if err := k.Client.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing Gateways: %w", err)
	}
	return pointers(list.Items), nil
}

// Named implements Kind.
func (k SvcAPIGateways) Named(ctx context.Context, name string) ([]*svcapi.Gateway, error) {
	return named(ctx, k.Reader, k, name, nil)
}

// Candidate implements Kind.
func (k SvcAPIGateways) Candidate(ctx context.Context, gw *svcapi.Gateway) (*Candidate[*svcapi.Gateway], error) {
	ns, err := k.namespace(ctx, gw)
	if err != nil {
		return nil, err
	}
	class, err := k.svcAPIClass(ctx, gw)
	if err != nil {
		return nil, err
	}
	out := &Candidate[*svcapi.Gateway]{
		Object: gw, Namespace: ns, Setting: settingOfSvcAPIGateway(gw, class, ns),
		judge:      func(s *settings.Settings) translate.Verdict { return translate.SvcAPIGatewayOurs(s, class, ns) },
		deselected: func(*settings.Settings) bool { return Claimed(gw) },
	}
	if class != nil {
		out.Controller, out.Managed = class.Spec.Controller, class.Spec.Controller == translate.SvcAPIController
	}
	return out, nil
}

func (r *Reader) svcAPIClass(ctx context.Context, gw *svcapi.Gateway) (*svcapi.GatewayClass, error) {
	class, key := new(svcapi.GatewayClass), types.NamespacedName{Name: gw.Spec.GatewayClassName}
	if err := r.Client.Get(ctx, key, class); err != nil {
		if apierrors.IsNotFound(err) {
			return nil, nil
		}
		return nil, reading(err, "GatewayClass", key)
	}
	return class, nil
}

// Behind implements Kind.
func (k SvcAPIGateways) Behind(ctx context.Context, s *settings.Settings, c *Candidate[*svcapi.Gateway]) (translate.Owner,
	[]translate.Backend, error) {
	gw := c.Object
	k.Open(client.ObjectKeyFromObject(gw), k.takesUnnamed(gw))
	services, err := k.services(ctx, gw)
	if err != nil {
		return nil, nil, err
	}
	k.Using(client.ObjectKeyFromObject(gw), keysOf(services))
	backends := make([]translate.Backend, 0, len(services))
	for _, svc := range services {
		backend, err := k.backend(ctx, s, svc)
		if err != nil {
			return nil, nil, err
		}
		ns := c.Namespace
		if svc.Namespace != gw.Namespace {
			if ns, err = k.namespace(ctx, svc); err != nil {
				return nil, nil, err
			}
		}
		backend.NamespaceLabels = ns.Labels
		backends = append(backends, backend)
	}
	return translate.SvcAPIGateway{Object: gw, EveryNamespace: k.IgnoreRouteNamespaces, Unnamed: k.TakeUnnamed}, backends, nil
}

func keysOf[T client.Object](objects []T) []types.NamespacedName {
	out := make([]types.NamespacedName, len(objects))
	for i, o := range objects {
		out[i] = client.ObjectKeyFromObject(o)
	}
	return out
}

// services are those that name the Gateway, and those that its listeners' selectors match where the Gateway needs no consent.
func (r *Reader) services(ctx context.Context, gw *svcapi.Gateway) ([]*corev1.Service, error) {
	seen := make(map[types.NamespacedName]bool)
	var out []*corev1.Service
	add := func(match labels.Selector, options ...client.ListOption) error {
		var list corev1.ServiceList
		if err := r.Client.List(ctx, &list, append(options, client.UnsafeDisableDeepCopy)...); err != nil {
			return fmt.Errorf("listing Services: %w", err)
		}
		for i := range list.Items {
			svc := &list.Items[i]
			if key := client.ObjectKeyFromObject(svc); !seen[key] && match.Matches(labels.Set(svc.Labels)) && svc.DeletionTimestamp == nil {
				seen[key] = true
				out = append(out, svc)
			}
		}
		return nil
	}
	if err := add(labels.Everything(), client.MatchingFields{IndexGateway: gw.Namespace + "/" + gw.Name}); err != nil {
		return nil, err
	}
	for _, l := range gw.Spec.Listeners {
		match, where, all := r.reach(gw, l)
		if all {
			continue // they name the Gateway, and are among those already
		}
		if err := add(match, where...); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// reach is where a listener's Services that don't name the Gateway are, and what their labels have to match: in the Gateway's own
// namespace, unless sites do without the consent of others. all is true if the selector takes only Services that name the
// Gateway, which is how AKO's users write it.
func (r *Reader) reach(gw *svcapi.Gateway, l svcapi.Listener) (match labels.Selector, where []client.ListOption, all bool) {
	selector := l.Routes.Selector
	if selector == nil {
		selector = new(metav1.LabelSelector)
	}
	if selector.MatchLabels[translate.LabelGatewayName] == gw.Name && selector.MatchLabels[translate.LabelGatewayNamespace] == gw.Namespace {
		return nil, nil, true
	}
	match, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		match = labels.Everything() // the build says so, and finds what serves among them
	}
	n := l.Routes.Namespaces
	if !r.TakeUnnamed || err == nil && !r.IgnoreRouteNamespaces && (n == nil || n.From == nil || *n.From == svcapi.RouteSelectSame) {
		where = []client.ListOption{client.InNamespace(gw.Namespace)}
	}
	return match, where, false
}

// takesUnnamed reports whether Services that don't name a Gateway may be attached to it.
func (r *Reader) takesUnnamed(gw *svcapi.Gateway) bool {
	return slices.ContainsFunc(gw.Spec.Listeners, func(l svcapi.Listener) bool {
		_, _, all := r.reach(gw, l)
		return !all
	})
}

// Selects reports whether a Service may be attached to a Gateway, so that a change of it is one of the Gateway.
func (r *Reader) Selects(gw *svcapi.Gateway, svc *corev1.Service) bool {
	if namespace, name, ok := translate.NamedGateway(svc.Labels); ok {
		return namespace == gw.Namespace && name == gw.Name
	}
	for _, l := range gw.Spec.Listeners {
		match, where, all := r.reach(gw, l)
		if !all && (len(where) == 0 || svc.Namespace == gw.Namespace) && match.Matches(labels.Set(svc.Labels)) {
			return true
		}
	}
	return false
}

// settingOfSvcAPIGateway is the AviInfraSetting of a Gateway: its class's, else its namespace's.
func settingOfSvcAPIGateway(gw *svcapi.Gateway, class *svcapi.GatewayClass, ns *corev1.Namespace) SettingRef {
	switch {
	case class == nil:
		return SettingRef{Name: SettingOfNamespace(ns), Reason: model.ReasonNoGatewayClass, Problem: NoClass(gw.Spec.GatewayClassName)}
	case SvcAPIParametersProblem(class) != "":
		return SettingRef{Reason: model.ReasonInvalidParameters, Problem: fmt.Sprintf("GatewayClass %s: %s", class.Name, SvcAPIParametersProblem(class))}
	case class.Spec.ParametersRef != nil:
		return SettingRef{Name: class.Spec.ParametersRef.Name}
	}
	return SettingRef{Name: SettingOfNamespace(ns)}
}

// NoClass says of a Gateway that its class doesn't exist.
func NoClass(name string) string {
	return fmt.Sprintf("GatewayClass %s doesn't exist; create it, or name another one in spec.gatewayClassName", name)
}

// SvcAPIParametersProblem is what is wrong with the form of a class's parametersRef, "" if nothing is.
func SvcAPIParametersProblem(class *svcapi.GatewayClass) string {
	ref := class.Spec.ParametersRef
	switch {
	case ref == nil:
	case ref.Group != "ako.vmware.com" || ref.Kind != "AviInfraSetting":
		return fmt.Sprintf("spec.parametersRef names %s %s; only an AviInfraSetting of group ako.vmware.com can be used", ref.Group, ref.Kind)
	case ref.Namespace != nil && *ref.Namespace != "" || ref.Scope != nil && *ref.Scope == svcapi.ParametersScopeNamespace:
		return "spec.parametersRef has a namespace; AviInfraSettings are cluster-scoped: remove scope and namespace"
	}
	return ""
}
