// SPDX-License-Identifier: Apache-2.0

package gather

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
)

// Kind reads the owners of one kind from the Kubernetes cache. T is the type of their objects.
type Kind[T client.Object] interface {
	// Owner is the kind. API has its types; it is empty where every cluster has them.
	Owner() model.OwnerKind
	API() API
	// New is an empty object.
	New() T
	// Get reads one. found is false if the cache, complete and synced, doesn't hold it.
	Get(ctx context.Context, key types.NamespacedName) (o T, found bool, err error)
	// List lists all objects, none if the API server doesn't have the type. They are shared with the cache.
	List(ctx context.Context) ([]T, error)
	// Named lists the objects whose VirtualService has that name behind the cluster's prefix.
	Named(ctx context.Context, name string) ([]T, error)
	// Candidate reads what decides whether an object is ours.
	Candidate(ctx context.Context, o T) (*Candidate[T], error)
	// Behind reads the Services that may stand behind the listeners of an object that is ours.
	Behind(ctx context.Context, s *settings.Settings, c *Candidate[T]) (translate.Owner, []translate.Backend, error)
}

// Candidate is an object of which it is to be decided whether it is served.
type Candidate[T client.Object] struct {
	Object    T
	Namespace *corev1.Namespace
	// Controller is the controllerName of its GatewayClass, empty if it has none. Managed reports whether that is one of ours,
	// which says that the object asks for this operator, whatever the settings are.
	Controller string
	Managed    bool
	// Setting is the AviInfraSetting that places it.
	Setting SettingRef
	// Ending reports whether it, or a part of it, is being deleted.
	Ending bool

	judge func(*settings.Settings) translate.Verdict
	// deselected reports whether a candidate that is not ours is so by the settings or by labels, and not by its own word.
	deselected func(*settings.Settings) bool
}

// SettingRef names an AviInfraSetting, or says with a reason why it isn't known which one it is.
type SettingRef struct{ Name, Reason, Problem string }

// Judge reports whether the object is one for this operator.
func (c *Candidate[T]) Judge(s *settings.Settings) translate.Verdict { return c.judge(s) }

// Deselected reports whether an object that was served is let go because of the settings, labels or its class, and not because
// it was deleted or asks for something else itself: one mistake there lets go of many at once.
func (c *Candidate[T]) Deselected(s *settings.Settings) bool {
	return c.Object.GetDeletionTimestamp() == nil && !s.DeleteConfig && c.deselected(s)
}

// Claimed reports whether an object has the operator's finalizer.
func Claimed(o client.Object) bool { return controllerutil.ContainsFinalizer(o, Finalizer) }

// Placed reports whether the setting of that name places an object that is served, or is about to be.
func (c *Candidate[T]) Placed(s *settings.Settings, setting string) bool {
	return c.Setting.Name == setting && c.Served(s)
}

// Served reports whether the object is served, or is about to be.
func (c *Candidate[T]) Served(s *settings.Settings) bool {
	v := c.judge(s)
	return v.Ours || v.Unknown && Claimed(c.Object)
}

// Read reads an object of a kind and what decides whether it is ours. It is nil if the cache, complete and synced, doesn't hold
// the object.
func Read[T client.Object](ctx context.Context, k Kind[T], key types.NamespacedName) (*Candidate[T], error) {
	o, found, err := k.Get(ctx, key)
	if err != nil || !found {
		return nil, err
	}
	c, err := k.Candidate(ctx, o)
	if err == nil && o.GetDeletionTimestamp() != nil {
		c.Ending = true
	}
	return c, err
}

// get reads an object of a kind that the API server has.
func get[T client.Object](ctx context.Context, r *Reader, k Kind[T], key types.NamespacedName) (o T, found bool, err error) {
	o = k.New()
	if err := r.Client.Get(ctx, key, o); err != nil {
		if apierrors.IsNotFound(err) {
			return o, false, nil
		}
		return o, false, reading(err, k.Owner().Noun(), key)
	}
	return o, true, nil
}

// named are the objects of a kind whose VirtualService has that name behind the cluster's prefix, and of which is says so, nil of all.
// The name is "<namespace>-<name>", and both may have dashes: an index of it would cost half a kilobyte for each object.
func named[T client.Object](ctx context.Context, r *Reader, k Kind[T], name string, is func(T) bool) (out []T, err error) {
	if api := k.API(); api != "" && !r.Serves(api) {
		return nil, nil
	}
	for i, c := range name {
		if c != '-' {
			continue
		}
		o, found, err := k.Get(ctx, types.NamespacedName{Namespace: name[:i], Name: name[i+1:]})
		if err != nil {
			return nil, err
		}
		if found && (is == nil || is(o)) {
			out = append(out, o)
		}
	}
	return out, nil
}

// Input reads the rest of what decides about a candidate that is ours.
func Input[T client.Object](ctx context.Context, r *Reader, k Kind[T], s *settings.Settings, c *Candidate[T]) (in translate.Input,
	err error) {
	in = translate.Input{Namespace: c.Namespace, Settings: s}
	if in.Owner, in.Backends, err = k.Behind(ctx, s, c); err != nil {
		return in, err
	}
	if err := r.nodes(ctx, &in); err != nil {
		return in, err
	}
	if in.Setting, err = r.setting(ctx, c.Setting); err != nil {
		return in, err
	}
	if in.Rule, err = r.rule(ctx, c.Object); err != nil {
		return in, err
	}
	in.Rival, err = r.rival(ctx, s, c.Object)
	return in, err
}

// contender is a Kind, as the search for rivals sees it.
type contender interface {
	rival(ctx context.Context, s *settings.Settings, name string, self client.Object) (*model.Owner, error)
}

// Add makes the objects of a kind known as possible rivals of others.
func Add[T client.Object](r *Reader, k Kind[T]) {
	r.contenders = append(r.contenders, contending[T]{r, k})
}

type contending[T client.Object] struct {
	reader *Reader
	Kind[T]
}

// rival is an object that is ours, came before and wants the same name.
func (c contending[T]) rival(ctx context.Context, s *settings.Settings, name string, self client.Object) (*model.Owner, error) {
	if api := c.API(); api != "" && !c.reader.Synced(api) {
		return nil, nil // an owner that can't be read doesn't hold up others; one that has the name on the Controller keeps it anyway
	}
	objects, err := c.Named(ctx, name)
	if err != nil {
		return nil, err
	}
	for _, o := range objects {
		if !competes(o, self) {
			continue
		}
		candidate, err := c.Candidate(ctx, o)
		if err != nil {
			return nil, err
		}
		if candidate.Judge(s).Ours {
			return &model.Owner{Kind: c.Owner(), Namespace: o.GetNamespace(), Name: o.GetName()}, nil
		}
	}
	return nil, nil
}

// competes reports whether another object is there still, and came before.
func competes(other, self client.Object) bool {
	if other.GetUID() == self.GetUID() || other.GetDeletionTimestamp() != nil && !Claimed(other) {
		return false
	}
	x, y := other.GetCreationTimestamp(), self.GetCreationTimestamp()
	if !x.Equal(&y) {
		return x.Before(&y)
	}
	return other.GetNamespace()+"/"+other.GetName() < self.GetNamespace()+"/"+self.GetName()
}
