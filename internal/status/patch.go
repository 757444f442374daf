// SPDX-License-Identifier: Apache-2.0

package status

import (
	"context"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Patch writes the difference of a status that was read from the cache, and nothing if it is the same. A list of conditions
// is shared with other controllers: the lock keeps one from undoing another's entry.
//
// Where the cache still has what the last write of ours replaced, "the same" means nothing: the status would keep what is no
// longer true, and no event would come to fix that. The error is a conflict then, as a write's would be.
func (w *Writer) Patch(ctx context.Context, before, after client.Object, same bool) error {
	key := client.ObjectKeyFromObject(before)
	if w.own.replaced(before) {
		return apierrors.NewConflict(schema.GroupResource{Resource: fmt.Sprintf("%T", before)}, key.String(), fmt.Errorf("the cache is behind the operator's own write"))
	}
	if same {
		return nil
	}
	if err := w.Client.Status().Patch(ctx, after, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("writing the status of %T %s: %w", before, key, err)
	}
	w.own.note(before, after, w.Now())
	return nil
}

// ownWrites remembers for a while which versions of objects the operator has replaced.
type ownWrites struct {
	mu      sync.Mutex
	objects map[types.UID]ownWrite
}

type ownWrite struct {
	replaced string // the resourceVersion that was written over
	at       time.Time
}

// How long a version is remembered, which a cache is never behind, and beyond how many objects old ones are looked for.
const (
	ownWriteAge  = 10 * time.Minute
	ownWriteMany = 1024
)

func (o *ownWrites) replaced(before client.Object) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	w, ok := o.objects[before.GetUID()]
	return ok && w.replaced == before.GetResourceVersion()
}

func (o *ownWrites) note(before, after client.Object, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if before.GetResourceVersion() == after.GetResourceVersion() {
		return // the API server found no difference
	}
	if o.objects == nil {
		o.objects = make(map[types.UID]ownWrite)
	}
	if len(o.objects) >= ownWriteMany {
		for uid, w := range o.objects {
			if now.Sub(w.at) > ownWriteAge {
				delete(o.objects, uid)
			}
		}
	}
	o.objects[before.GetUID()] = ownWrite{before.GetResourceVersion(), now}
}
