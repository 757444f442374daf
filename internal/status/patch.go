// SPDX-License-Identifier: Apache-2.0

package status

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
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
	err := w.Write(ctx, before, after, func() error {
		return w.Client.Status().Patch(ctx, after, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
	})
	if err != nil {
		return fmt.Errorf("writing the status of %T %s: %w", before, key, err)
	}
	return nil
}
