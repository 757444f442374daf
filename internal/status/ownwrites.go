// SPDX-License-Identifier: Apache-2.0

package status

import (
	"context"
	"maps"
	"reflect"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Run is a controller's run for one of its owners. The zero value is none.
type Run struct {
	Controller string
	Owner      types.NamespacedName
}

type runKey struct{}

// WithRun says that what is written with the context is a run's.
func WithRun(ctx context.Context, r Run) context.Context { return context.WithValue(ctx, runKey{}, r) }

// Write writes over the version before of an object, which becomes after. The write must be one that the API server refuses where that
// version is no longer the current one, and must leave in after what the API server answered: what is between the two versions is then the
// operator's own change and nobody else's.
func (w *Writer) Write(ctx context.Context, before, after client.Object, write func() error) error {
	by, _ := ctx.Value(runKey{}).(Run)
	meant, ok := after.DeepCopyObject().(client.Object)
	w.own.begin(before)
	defer w.own.end(before)
	if err := write(); err != nil {
		return err
	}
	if !ok || !asMeant(meant, after) {
		by = Run{} // admission has changed more than was asked for
	}
	w.own.note(before, after, by, w.Now())
	return nil
}

// Event calls tell with the run whose write an update is, or with none if it is somebody else's change, or has one in it. Where such a
// write has not been answered yet, it is called when that is known.
func (w *Writer) Event(before, after client.Object, tell func(Run)) {
	if !w.own.park(before, func() { tell(w.own.by(before, after)) }) {
		tell(w.own.by(before, after))
	}
}

// asMeant reports whether the API server made of an object what was meant, but for what no cache keeps, and the status: where admission
// writes another one than was meant, a run would only write it again.
func asMeant(meant, got client.Object) bool {
	m, g := asked(meant), asked(got)
	return m != nil && g != nil && apiequality.Semantic.DeepEqual(m, g)
}

// asked is an object of a Go type without its version, its status, and what no cache keeps; nil for one without a type of its own. It
// shares the rest with the object.
func asked(o client.Object) client.Object {
	if _, ok := o.(runtime.Unstructured); ok {
		return nil
	}
	bare := reflect.New(reflect.TypeOf(o).Elem())
	bare.Elem().Set(reflect.ValueOf(o).Elem())
	if status := bare.Elem().FieldByName("Status"); status.IsValid() {
		status.SetZero()
	}
	out, ok := bare.Interface().(client.Object)
	if !ok {
		return nil
	}
	out.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{})
	out.SetResourceVersion("")
	out.SetManagedFields(nil)
	annotations := maps.Clone(out.GetAnnotations())
	delete(annotations, corev1.LastAppliedConfigAnnotation)
	out.SetAnnotations(annotations)
	return out
}

// ownWrites remembers for a while which versions of objects the operator has replaced, and by which. The zero value is ready.
type ownWrites struct {
	mu      sync.Mutex
	objects map[types.UID]*ownObject
	looked  time.Time // for what is to be forgotten
}

// ownObject is an object that the operator has written, or is writing.
type ownObject struct {
	writes []ownWrite // the last one last
	at     time.Time  // of it
	// under are the versions that are being written over, and how many writes do so: one of them will be refused.
	under map[string]int
	// parked are called when no write is under way.
	parked []func()
}

// ownWrite is one resourceVersion that has taken the place of another.
type ownWrite struct {
	replaced, version string
	by                Run
}

// How long versions are remembered, which a cache is never behind, how many of an object, and beyond how many objects, and how often, old
// ones are looked for.
const (
	ownWriteAge   = 10 * time.Minute
	ownWriteKept  = 4
	ownWriteMany  = 1024
	ownWriteSweep = time.Minute
)

// replaced reports whether the last write was over that version.
func (o *ownWrites) replaced(before client.Object) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	have := o.objects[before.GetUID()]
	if have == nil || len(have.writes) == 0 {
		return false
	}
	return have.writes[len(have.writes)-1].replaced == before.GetResourceVersion()
}

// by is the run whose write, and nothing else, is between two versions.
func (o *ownWrites) by(before, after client.Object) Run {
	o.mu.Lock()
	defer o.mu.Unlock()
	have := o.objects[before.GetUID()]
	if have == nil || before.GetUID() != after.GetUID() {
		return Run{}
	}
	for _, w := range have.writes {
		if w.replaced == before.GetResourceVersion() && w.version == after.GetResourceVersion() {
			return w.by
		}
	}
	return Run{}
}

// object is what is remembered of an object.
func (o *ownWrites) object(uid types.UID) *ownObject {
	if o.objects == nil {
		o.objects = make(map[types.UID]*ownObject)
	}
	if o.objects[uid] == nil {
		o.objects[uid] = new(ownObject)
	}
	return o.objects[uid]
}

// begin notes that a version is being written over.
func (o *ownWrites) begin(before client.Object) {
	o.mu.Lock()
	defer o.mu.Unlock()
	have := o.object(before.GetUID())
	if have.under == nil {
		have.under = make(map[string]int)
	}
	have.under[before.GetResourceVersion()]++
}

// end notes that it is so no longer, and does what has waited for that.
func (o *ownWrites) end(before client.Object) {
	for _, f := range o.ended(before) {
		f()
	}
}

func (o *ownWrites) ended(before client.Object) (parked []func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	have, version := o.object(before.GetUID()), before.GetResourceVersion()
	if have.under[version]--; have.under[version] <= 0 {
		delete(have.under, version)
	}
	if len(have.under) == 0 {
		parked, have.parked, have.under = have.parked, nil, nil
		if len(have.writes) == 0 {
			delete(o.objects, before.GetUID())
		}
	}
	return parked
}

// park keeps a function until the write over a version has been answered, and reports whether there is one.
func (o *ownWrites) park(before client.Object, f func()) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	have := o.objects[before.GetUID()]
	if have == nil || have.under[before.GetResourceVersion()] == 0 {
		return false
	}
	have.parked = append(have.parked, f)
	return true
}

// note remembers a write.
func (o *ownWrites) note(before, after client.Object, by Run, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if before.GetResourceVersion() == after.GetResourceVersion() {
		return // the API server found no difference
	}
	if len(o.objects) >= ownWriteMany && now.Sub(o.looked) > ownWriteSweep {
		o.looked = now
		for uid, have := range o.objects {
			if len(have.under) == 0 && now.Sub(have.at) > ownWriteAge {
				delete(o.objects, uid)
			}
		}
	}
	have := o.object(before.GetUID())
	have.at = now
	have.writes = append(have.writes, ownWrite{before.GetResourceVersion(), after.GetResourceVersion(), by})
	if many := len(have.writes) - ownWriteKept; many > 0 {
		have.writes = slices.Delete(have.writes, 0, many)
	}
}
