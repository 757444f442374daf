package gather

import (
	"context"
	"fmt"

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

// Gateway reads a Gateway, its Namespace and its class. The Gateway is nil if the cache, complete and synced, doesn't
// hold it, and so is the class.
func (r *Reader) SvcAPIGateway(ctx context.Context, key types.NamespacedName) (*svcapi.Gateway, *corev1.Namespace, *svcapi.GatewayClass, error) {
	gw := new(svcapi.Gateway)
	if err := r.Client.Get(ctx, key, gw); err != nil {
		if apierrors.IsNotFound(err) {
			return nil, nil, nil, nil
		}
		return nil, nil, nil, fmt.Errorf("reading Gateway %s: %w", key, err)
	}
	ns, err := r.namespace(ctx, gw)
	if err != nil {
		return nil, nil, nil, err
	}
	class, err := r.svcAPIClass(ctx, gw)
	return gw, ns, class, err
}

func (r *Reader) svcAPIClass(ctx context.Context, gw *svcapi.Gateway) (*svcapi.GatewayClass, error) {
	class := new(svcapi.GatewayClass)
	if err := r.Client.Get(ctx, types.NamespacedName{Name: gw.Spec.GatewayClassName}, class); err != nil {
		if apierrors.IsNotFound(err) {
			return nil, nil
		}
		return nil, fmt.Errorf("reading GatewayClass %s: %w", gw.Spec.GatewayClassName, err)
	}
	return class, nil
}

// Gateways lists all Gateways, none if the API server doesn't have the type. They are shared with the cache.
func (r *Reader) SvcAPIGateways(ctx context.Context) ([]svcapi.Gateway, error) {
	if !r.Serves(ServicesAPI) {
		return nil, nil
	}
	var list svcapi.GatewayList
	if err := r.Client.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing Gateways: %w", err)
	}
	return list.Items, nil
}

// SvcAPIGatewayInput reads the rest of what decides about a Gateway that is ours. using is told the Services that may attach
// before their endpoints are read, so that a change of those is not missed.
func (r *Reader) SvcAPIGatewayInput(ctx context.Context, s *settings.Settings, gw *svcapi.Gateway, ns *corev1.Namespace, class *svcapi.GatewayClass, using func([]types.NamespacedName)) (translate.Input, error) {
	in := translate.Input{Gateway: gw, Namespace: ns, Settings: s, IgnoreRouteNamespaces: r.IgnoreRouteNamespaces}
	services, err := r.services(ctx, gw)
	if err != nil {
		return in, err
	}
	keys := make([]types.NamespacedName, len(services))
	for i, svc := range services {
		keys[i] = client.ObjectKeyFromObject(svc)
	}
	using(keys)
	for _, svc := range services {
		backend, err := r.backend(ctx, s, svc)
		if err != nil {
			return in, err
		}
		if svc.Namespace == gw.Namespace {
			backend.NamespaceLabels = ns.Labels
		} else {
			other, err := r.namespace(ctx, svc)
			if err != nil {
				return in, err
			}
			backend.NamespaceLabels = other.Labels
		}
		in.Backends = append(in.Backends, backend)
	}
	if err := r.nodes(ctx, &in); err != nil {
		return in, err
	}
	if in.Setting, err = r.settingOfSvcAPIGateway(ctx, gw, ns, class); err != nil {
		return in, err
	}
	in.Rival, err = r.rival(ctx, s, gw)
	return in, err
}

// services are those that name the Gateway, and those that its listeners' selectors match.
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
		match, where, all := reach(gw, l, r.IgnoreRouteNamespaces)
		if all {
			continue // they name the Gateway, and are among those already
		}
		if err := add(match, where...); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// reach is where a listener's Services are and what their labels have to match. all is true if its selector takes only
// Services that name the Gateway, which is how AKO's users write it.
func reach(gw *svcapi.Gateway, l svcapi.Listener, everywhere bool) (match labels.Selector, where []client.ListOption, all bool) {
	selector := l.Routes.Selector
	if selector == nil {
		selector = new(metav1.LabelSelector)
	}
	if selector.MatchLabels[translate.LabelGatewayName] == gw.Name && selector.MatchLabels[translate.LabelGatewayNamespace] == gw.Namespace {
		return nil, nil, true
	}
	match, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		return labels.Everything(), nil, false // the build says so, and finds what serves among them
	}
	if n := l.Routes.Namespaces; !everywhere && (n == nil || n.From == nil || *n.From == svcapi.RouteSelectSame) {
		where = []client.ListOption{client.InNamespace(gw.Namespace)}
	}
	return match, where, false
}

// Selects tells whether a Service may be attached to a Gateway, so that a change of it is one of the Gateway.
func Selects(gw *svcapi.Gateway, svc *corev1.Service) bool {
	if namespace, name, ok := translate.NamedGateway(svc.Labels); ok {
		return namespace == gw.Namespace && name == gw.Name
	}
	for _, l := range gw.Spec.Listeners {
		if match, _, all := reach(gw, l, true); !all && match.Matches(labels.Set(svc.Labels)) {
			return true
		}
	}
	return false
}

// settingOfSvcAPIGateway is the AviInfraSetting of a Gateway: its class's, else its namespace's.
func (r *Reader) settingOfSvcAPIGateway(ctx context.Context, gw *svcapi.Gateway, ns *corev1.Namespace, class *svcapi.GatewayClass) (translate.Setting, error) {
	if reason, problem := SvcAPIClassProblem(gw, class); problem != "" {
		return translate.Setting{Reason: reason, Problem: problem}, nil
	}
	return r.setting(ctx, SettingOfSvcAPIGateway(class, ns))
}

// SvcAPIClassProblem is why a Gateway's class doesn't tell which AviInfraSetting to use, "" if it does.
func SvcAPIClassProblem(gw *svcapi.Gateway, class *svcapi.GatewayClass) (reason, problem string) {
	if class == nil {
		return model.ReasonNoGatewayClass, fmt.Sprintf("GatewayClass %s doesn't exist; create it, or name another one in spec.gatewayClassName", gw.Spec.GatewayClassName)
	}
	if problem := SvcAPIParametersProblem(class); problem != "" {
		return model.ReasonInvalidParameters, fmt.Sprintf("GatewayClass %s: %s", class.Name, problem)
	}
	return "", ""
}

// SettingOfSvcAPIGateway names the AviInfraSetting of the Gateways of a class in a namespace.
func SettingOfSvcAPIGateway(class *svcapi.GatewayClass, ns *corev1.Namespace) string {
	if class != nil && class.Spec.ParametersRef != nil {
		return class.Spec.ParametersRef.Name
	}
	return SettingOfNamespace(ns)
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
