package gather

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
)

// Services are the owners that are Services of type LoadBalancer.
type Services struct{ *Reader }

var _ Kind[*corev1.Service] = Services{}

// Owner implements Kind.
func (Services) Owner() model.OwnerKind { return model.ServiceOwner }

// API implements Kind: every cluster has Services.
func (Services) API() API { return "" }

// New implements Kind.
func (Services) New() *corev1.Service { return new(corev1.Service) }

// List implements Kind. Services of other types are among them: one may have been a load balancer.
func (k Services) List(ctx context.Context) ([]*corev1.Service, error) { return k.list(ctx) }

// Named implements Kind. Only Services of type LoadBalancer are found.
func (k Services) Named(ctx context.Context, name string) ([]*corev1.Service, error) {
	return k.list(ctx, client.MatchingFields{IndexVirtualService: name})
}

func (k Services) list(ctx context.Context, options ...client.ListOption) ([]*corev1.Service, error) {
	var list corev1.ServiceList
	if err := k.Client.List(ctx, &list, append(options, client.UnsafeDisableDeepCopy)...); err != nil {
		return nil, fmt.Errorf("listing Services: %w", err)
	}
	return pointers(list.Items), nil
}

// Candidate implements Kind.
func (k Services) Candidate(ctx context.Context, svc *corev1.Service) (*Candidate[*corev1.Service], error) {
	ns, err := k.namespace(ctx, svc)
	if err != nil {
		return nil, err
	}
	return &Candidate[*corev1.Service]{
		Object: svc, Namespace: ns, Setting: SettingRef{Name: settingOfService(svc, ns)},
		Managed:    translate.ServiceOurs(&settings.Settings{DefaultLB: true}, svc, ns).Ours,
		judge:      func(s *settings.Settings) translate.Verdict { return translate.ServiceOurs(s, svc, ns) },
		deselected: func(s *settings.Settings) bool { return translate.Deselected(s, svc, ns) },
	}, nil
}

// Behind implements Kind: a Service stands behind its own ports.
func (k Services) Behind(ctx context.Context, s *settings.Settings, c *Candidate[*corev1.Service]) (translate.Owner, []translate.Backend, error) {
	backend, err := k.backend(ctx, s, c.Object)
	return translate.Service{Object: c.Object}, []translate.Backend{backend}, err
}

// settingOfService names the AviInfraSetting of a Service: its own annotation's, else its namespace's.
func settingOfService(svc *corev1.Service, ns *corev1.Namespace) string {
	return cmp.Or(strings.TrimSpace(svc.Annotations[translate.AnnotationInfraSetting]), SettingOfNamespace(ns))
}

// SettingOfNamespace names the AviInfraSetting of a namespace's objects that have none of their own.
func SettingOfNamespace(ns *corev1.Namespace) string {
	return strings.TrimSpace(ns.Annotations[translate.AnnotationInfraSetting])
}
