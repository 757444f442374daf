// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"slices"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/avi-l4-operator/avi-l4-operator/internal/gather"
)

// schemas remembers of each CustomResourceDefinition whether its objects keep status.conditions: AKO's AviInfraSettings drop
// them, and what is dropped would be written again at each look.
type schemas struct {
	mu    sync.Mutex
	known map[string]schemaOf
}

type schemaOf struct {
	uid        types.UID
	generation int64
	conditions bool
}

// KeepsConditions reports whether the objects of an API keep the conditions of their status, in the version that is read here. The
// definition itself is read when it has changed. One that is gone keeps nothing.
func (a *APIs) KeepsConditions(ctx context.Context, name gather.API) (bool, error) {
	i := slices.IndexFunc(optional, func(o api) bool { return o.name == name })
	crd := types.NamespacedName{Name: optional[i].crds[0]}
	m := crdMetadata()
	if err := a.Cache.Get(ctx, crd, m); apierrors.IsNotFound(err) {
		return false, nil
	} else if err != nil {
		return false, fmt.Errorf("reading CustomResourceDefinition %s: %w", crd.Name, err)
	}
	a.schemas.mu.Lock()
	defer a.schemas.mu.Unlock()
	if was, ok := a.schemas.known[crd.Name]; ok && was.uid == m.UID && was.generation == m.Generation {
		return was.conditions, nil
	}
	whole := new(unstructured.Unstructured)
	whole.SetGroupVersionKind(m.GroupVersionKind())
	if err := a.Live.Get(ctx, crd, whole); err != nil {
		return false, fmt.Errorf("reading CustomResourceDefinition %s: %w", crd.Name, err)
	}
	now := schemaOf{whole.GetUID(), whole.GetGeneration(), keepsConditions(whole.Object, optional[i].version.Version)}
	if a.schemas.known == nil {
		a.schemas.known = make(map[string]schemaOf)
	}
	a.schemas.known[crd.Name] = now
	return now.conditions, nil
}

// keepsConditions reports whether a CustomResourceDefinition has status.conditions in a version.
func keepsConditions(crd map[string]any, version string) bool {
	versions, _, _ := unstructured.NestedSlice(crd, "spec", "versions")
	for _, v := range versions {
		v, ok := v.(map[string]any)
		if !ok || v["name"] != version {
			continue
		}
		status, _, _ := unstructured.NestedMap(v, "schema", "openAPIV3Schema", "properties", "status")
		_, listed, _ := unstructured.NestedMap(status, "properties", "conditions")
		return listed || status["x-kubernetes-preserve-unknown-fields"] == true
	}
	return false
}
