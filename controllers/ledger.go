// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/avi-l4-operator/avi-l4-operator/internal/plan"
)

// The ledger is the only object that the operator keeps for itself. A right to create can't be bound to a name.
// +kubebuilder:rbac:groups="",namespace=system,resources=configmaps,resourceNames=avi-l4-held,verbs=get;update
// +kubebuilder:rbac:groups="",namespace=system,resources=configmaps,verbs=create

// LedgerName is the ConfigMap in the operator's namespace in which guards keep what they hold.
const LedgerName = "avi-l4-held"

// ledger keeps what guards remember in a ConfigMap, one key for each. It is read once: only the leader writes it. It isn't safe for
// concurrent use.
type ledger struct {
	live      client.Reader
	client    client.Client
	namespace string
	dry       bool // nothing is written

	object *corev1.ConfigMap // nil until it is read
	holds  map[plan.Guard]plan.Hold
}

// read is what a guard remembers.
func (l *ledger) read(ctx context.Context, g plan.Guard) (plan.Hold, error) {
	if l.object != nil {
		return l.holds[g], nil
	}
	object := new(corev1.ConfigMap)
	err := l.live.Get(ctx, types.NamespacedName{Namespace: l.namespace, Name: LedgerName}, object)
	if client.IgnoreNotFound(err) != nil {
		return plan.Hold{}, fmt.Errorf("reading ConfigMap %s, which says what is held: %w", LedgerName, err)
	}
	holds := make(map[plan.Guard]plan.Hold)
	for key, text := range object.Data {
		var h plan.Hold
		if err := json.Unmarshal([]byte(text), &h); err != nil {
			return plan.Hold{}, fmt.Errorf("key %s of ConfigMap %s/%s is not what the operator wrote; nothing is deleted by settings, labels or absence until it is put right, or removed to release everything that was held: %w",
				key, l.namespace, LedgerName, err)
		}
		holds[plan.Guard(key)] = h
	}
	l.object, l.holds = object, holds
	return holds[g], nil
}

// write keeps what a guard is to remember. After a failure it is read anew.
func (l *ledger) write(ctx context.Context, g plan.Guard, h plan.Hold) error {
	next := l.object.DeepCopy()
	if next.Data == nil {
		next.Data = make(map[string]string)
	}
	delete(next.Data, string(g))
	if !h.Empty() {
		text, err := json.MarshalIndent(h, "", "  ")
		if err != nil {
			return fmt.Errorf("encoding what is held: %w", err)
		}
		next.Data[string(g)] = string(text)
	}
	if l.dry || maps.Equal(next.Data, l.object.Data) {
		l.holds[g] = h
		return nil
	}
	var err error
	if next.ResourceVersion == "" {
		next.ObjectMeta = metav1.ObjectMeta{Namespace: l.namespace, Name: LedgerName}
		err = l.client.Create(ctx, next)
	} else {
		err = l.client.Update(ctx, next)
	}
	if err != nil {
		l.object = nil
		if apierrors.IsNotFound(err) { // deleted by somebody, who thereby says that nothing is held
			err = fmt.Errorf("somebody deleted it: %w", err)
		}
		return fmt.Errorf("writing ConfigMap %s, which says what is held: %w", LedgerName, err)
	}
	l.object, l.holds[g] = next, h
	return nil
}

// released are the IDs in the annotation of the ConfigMap with the settings.
func released(annotation string) []string {
	return strings.FieldsFunc(annotation, func(r rune) bool { return r == ',' || r == ' ' })
}
