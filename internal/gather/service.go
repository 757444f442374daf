package gather

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
)

// Service reads a Service and its Namespace. The Service is nil if the cache, complete and synced, doesn't hold it.
func (r *Reader) Service(ctx context.Context, key types.NamespacedName) (*corev1.Service, *corev1.Namespace, error) {
	svc := new(corev1.Service)
	if err := r.Client.Get(ctx, key, svc); err != nil {
		if apierrors.IsNotFound(err) {
			return nil, nil, nil
		}
		return nil, nil, fmt.Errorf("reading Service %s: %w", key, err)
	}
	ns, err := r.namespace(ctx, svc)
	if err != nil {
		return nil, nil, err
	}
	return svc, ns, nil
}

// ServiceInput reads the rest of what decides about a Service that is ours.
func (r *Reader) ServiceInput(ctx context.Context, s *settings.Settings, svc *corev1.Service, ns *corev1.Namespace) (translate.Input, error) {
	in := translate.Input{Service: svc, Namespace: ns, Settings: s}
	backend, err := r.backend(ctx, s, svc)
	if err != nil {
		return in, err
	}
	in.Backends = []translate.Backend{backend}
	if err := r.nodes(ctx, &in); err != nil {
		return in, err
	}
	if in.Setting, err = r.setting(ctx, SettingOfService(svc, ns)); err != nil {
		return in, err
	}
	in.Rival, err = r.rival(ctx, s, svc)
	return in, err
}

// SettingOfService names the AviInfraSetting of a Service: its own annotation's, else its namespace's.
func SettingOfService(svc *corev1.Service, ns *corev1.Namespace) string {
	return cmp.Or(strings.TrimSpace(svc.Annotations[translate.AnnotationInfraSetting]), SettingOfNamespace(ns))
}

// SettingOfNamespace names the AviInfraSetting of a namespace's objects that have none of their own.
func SettingOfNamespace(ns *corev1.Namespace) string {
	return strings.TrimSpace(ns.Annotations[translate.AnnotationInfraSetting])
}
