// SPDX-License-Identifier: Apache-2.0

package status

import (
	"context"
	"fmt"
	"sync"

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
	leave, err := w.unhurried.enter(ctx)
	if err != nil {
		return fmt.Errorf("waiting to write the status of %T %s: %w", before, key, err)
	}
	defer leave()
	err = w.Write(ctx, before, after, func() error {
		return w.Client.Status().Patch(ctx, after, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
	})
	if err != nil {
		return fmt.Errorf("writing the status of %T %s: %w", before, key, err)
	}
	return nil
}

// unhurriedAtOnce is how many statuses are written at once that nobody waits for. As many as there are workers, for owners whose health was
// read together, keep an API server busy for seconds, and what happens meanwhile is heard of after that.
const unhurriedAtOnce = 4

type unhurriedKey struct{}

// Unhurried says that a status which is written with the context may wait for others.
func Unhurried(ctx context.Context) context.Context {
	return context.WithValue(ctx, unhurriedKey{}, true)
}

// line lets so many pass at once. The zero value is ready.
type line struct {
	once  sync.Once
	slots chan struct{}
}

// enter waits for a turn if the context says that this may be done, and returns what ends it.
func (l *line) enter(ctx context.Context) (leave func(), err error) {
	if unhurried, _ := ctx.Value(unhurriedKey{}).(bool); !unhurried {
		return func() {}, nil
	}
	l.once.Do(func() { l.slots = make(chan struct{}, unhurriedAtOnce) })
	select {
	case l.slots <- struct{}{}:
		return func() { <-l.slots }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
