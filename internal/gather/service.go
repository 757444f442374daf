// SPDX-License-Identifier: Apache-2.0

package gather

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
)

// Services are the owners that are Services of type LoadBalancer.
type Services struct {
	*Reader
	// Place says where a Service is served, or is to be; nil: where it asks to be.
	Place func(*corev1.Service) translate.Place
}

var _ Kind[*corev1.Service] = Services{}

// Owner implements Kind.
func (Services) Owner() model.OwnerKind { return model.ServiceOwner }

// API implements Kind: every cluster has Services.
func (Services) API() API { return "" }

// New implements Kind.
func (Services) New() *corev1.Service { return new(corev1.Service) }

// Get implements Kind.
func (k Services) Get(ctx context.Context, key types.NamespacedName) (*corev1.Service, bool, error) {
	return get(ctx, k.Reader, k, key)
}

func (k Services) place(svc *corev1.Service) translate.Place {
	if k.Place == nil {
		return translate.PlaceOf(svc, false, nil)
	}
	return k.Place(svc)
}

// List implements Kind. Services of other types are among them: one may have been a load balancer.
func (k Services) List(ctx context.Context) ([]*corev1.Service, error) { return k.list(ctx) }

// Named implements Kind. Only Services of type LoadBalancer are found that ask for a VirtualService of their own.
func (k Services) Named(ctx context.Context, name string) ([]*corev1.Service, error) {
	return named(ctx, k.Reader, k, name, func(svc *corev1.Service) bool {
		return svc.Spec.Type == corev1.ServiceTypeLoadBalancer && translate.SharedVIPOf(svc) == ""
	})
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
		Managed:    managed(svc, ns) && k.place(svc).Group == "",
		judge:      func(s *settings.Settings) translate.Verdict { return k.verdict(s, svc, ns) },
		deselected: func(s *settings.Settings) bool { return translate.Deselected(s, svc, ns) },
	}, nil
}

// managed reports whether a Service would be ours by the default settings.
func managed(svc *corev1.Service, ns *corev1.Namespace) bool {
	return translate.ServiceOurs(&settings.Settings{DefaultLB: true}, svc, ns).Ours
}

// verdict judges a Service. One that a group serves is neither ours to serve alone nor to let go, and one that may join a group
// is let go first.
func (k Services) verdict(s *settings.Settings, svc *corev1.Service, ns *corev1.Namespace) translate.Verdict {
	place := k.place(svc)
	if place.Group != "" {
		return translate.Verdict{Elsewhere: true, Why: "shared VIP " + place.Group + " serves it"}
	}
	v := translate.ServiceOurs(s, svc, ns)
	if v.Ours && place.Leaving {
		v = translate.Verdict{Why: "it joins shared VIP " + translate.SharedVIPOf(svc)}
	}
	return v
}

// Behind implements Kind: a Service stands behind its own ports.
func (k Services) Behind(ctx context.Context, s *settings.Settings, c *Candidate[*corev1.Service]) (translate.Owner, []translate.Backend,
	error) {
	backend, err := k.backend(ctx, s, c.Object)
	backend.Shut = k.place(c.Object).Shut
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
