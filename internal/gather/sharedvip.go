// SPDX-License-Identifier: Apache-2.0

package gather

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
)

// Group is the Services that share a VirtualService. No such object exists in Kubernetes: its name is the value of the Services'
// annotation, and what else it says of itself sums them up.
type Group struct {
	metav1.ObjectMeta
	// Members are the Services that are in the group, or are leaving it, the most senior first. They are shared with the cache.
	Members []*corev1.Service

	decided bool
}

var _ client.Object = (*Group)(nil)

// NewGroup is the group of Services in a namespace.
func NewGroup(key types.NamespacedName, members ...*corev1.Service) *Group {
	slices.SortFunc(members, translate.CompareSeniority(key.Name))
	out := &Group{Members: members}
	out.Namespace, out.Name, out.UID = key.Namespace, key.Name, types.UID("sharedvip/"+key.String())
	for i, m := range members {
		if i == 0 {
			out.CreationTimestamp = metav1.NewTime(translate.Since(key.Name, m))
		}
		if Claimed(m) {
			out.Finalizers = []string{Finalizer}
		}
	}
	if lead := out.lead(nil); lead != nil {
		if rule := lead.Annotations[translate.AnnotationRule]; rule != "" {
			out.Annotations = map[string]string{translate.AnnotationRule: rule}
		}
	}
	if len(members) > 0 && !slices.ContainsFunc(members, func(m *corev1.Service) bool { return m.DeletionTimestamp == nil }) {
		out.DeletionTimestamp = members[0].DeletionTimestamp
	}
	return out
}

// Decided says that all Services of the group are to be served. Of a group that was just read, only those are that are ours.
func (g *Group) Decided() *Group {
	g.decided = true
	return g
}

// lead is the most senior Service that may be served in a namespace, or in any, whatever the settings are: of those that can be, if there
// are any. What an address in its status shows is that a Service is served already.
func (g *Group) lead(ns *corev1.Namespace) (out *corev1.Service) {
	if ns == nil {
		ns = new(corev1.Namespace)
	}
	for _, m := range g.Members {
		if !managed(m, ns) || m.DeletionTimestamp != nil {
			continue
		}
		if reason, _ := translate.Unfit(m); reason == "" || len(m.Status.LoadBalancer.Ingress) > 0 {
			return m
		}
		out = cmp.Or(out, m)
	}
	return out
}

// Objects are those in Kubernetes that the group is made of.
func (g *Group) Objects() []client.Object {
	out := make([]client.Object, len(g.Members))
	for i, m := range g.Members {
		out[i] = m
	}
	return out
}

// Singly are groups of one Service each, for what is said of Services one by one.
func (g *Group) Singly() (out []*Group) {
	for _, m := range g.Members {
		out = append(out, NewGroup(types.NamespacedName{Namespace: g.Namespace, Name: g.Name}, m))
	}
	return out
}

// GetObjectKind implements runtime.Object: the API server has no such kind.
func (g *Group) GetObjectKind() schema.ObjectKind { return schema.EmptyObjectKind }

// DeepCopyObject implements runtime.Object.
func (g *Group) DeepCopyObject() runtime.Object {
	out := &Group{Members: make([]*corev1.Service, len(g.Members)), decided: g.decided}
	g.ObjectMeta.DeepCopyInto(&out.ObjectMeta)
	for i, m := range g.Members {
		out.Members[i] = m.DeepCopy()
	}
	return out
}

// SharedVIPs are the owners that are groups of Services.
type SharedVIPs struct {
	Services
	// Using is called with the Services of a group before their endpoints are read, so that a change is not missed.
	Using func(group types.NamespacedName, services []types.NamespacedName)
	// Serving lists the names of the Services that the Controller serves in a group; nil: none are known.
	Serving func(group types.NamespacedName) []string
}

var _ Kind[*Group] = SharedVIPs{}

// Owner implements Kind.
func (SharedVIPs) Owner() model.OwnerKind { return model.SharedVIPOwner }

// New implements Kind.
func (SharedVIPs) New() *Group { return new(Group) }

// Get implements Kind. A group without Services is none.
func (k SharedVIPs) Get(ctx context.Context, key types.NamespacedName) (_ *Group, found bool, err error) {
	asking, err := k.list(ctx, client.InNamespace(key.Namespace), client.MatchingFields{IndexSharedVIP: key.Name})
	if err != nil {
		return nil, false, err
	}
	members := slices.DeleteFunc(asking, func(svc *corev1.Service) bool { return k.place(svc).Group != key.Name })
	if k.Serving != nil {
		for _, name := range k.Serving(key) {
			svc := new(corev1.Service)
			err := k.Client.Get(ctx, types.NamespacedName{Namespace: key.Namespace, Name: name}, svc)
			switch {
			case apierrors.IsNotFound(err):
			case err != nil:
				return nil, false, fmt.Errorf("reading Service %s/%s: %w", key.Namespace, name, err)
			case k.place(svc).Group == key.Name && !slices.ContainsFunc(members, func(m *corev1.Service) bool { return m.Name == name }):
				members = append(members, svc)
			}
		}
	}
	return NewGroup(key, members...), len(members) > 0, nil
}

// List implements Kind.
func (k SharedVIPs) List(ctx context.Context) ([]*Group, error) {
	all, err := k.list(ctx)
	return k.groups(all), err
}

// InNamespace are those of a namespace.
func (k SharedVIPs) InNamespace(ctx context.Context, namespace string) ([]*Group, error) {
	all, err := k.list(ctx, client.InNamespace(namespace))
	return k.groups(all), err
}

// Named implements Kind.
func (k SharedVIPs) Named(ctx context.Context, name string) (out []*Group, err error) {
	all, err := k.list(ctx, client.MatchingFields{IndexSharedName: name})
	return k.groups(all), err
}

// groups are those that Services are in.
func (k SharedVIPs) groups(services []*corev1.Service) (out []*Group) {
	members := make(map[types.NamespacedName][]*corev1.Service)
	for _, svc := range services {
		if group := k.place(svc).Group; group != "" {
			key := types.NamespacedName{Namespace: svc.Namespace, Name: group}
			members[key] = append(members[key], svc)
		}
	}
	for key, of := range members {
		out = append(out, NewGroup(key, of...))
	}
	return out
}

// Candidate implements Kind. A group is ours if one of its Services is.
func (k SharedVIPs) Candidate(ctx context.Context, g *Group) (*Candidate[*Group], error) {
	ns, err := k.namespace(ctx, g)
	if err != nil {
		return nil, err
	}
	out := &Candidate[*Group]{Object: g, Namespace: ns}
	for _, m := range g.Members {
		out.Managed = out.Managed || managed(m, ns)
		out.Ending = out.Ending || m.DeletionTimestamp != nil
	}
	if lead := g.lead(ns); lead != nil {
		out.Setting = SettingRef{Name: settingOfService(lead, ns)}
	}
	out.judge = func(s *settings.Settings) (v translate.Verdict) {
		for _, m := range g.Members {
			if v = translate.ServiceOurs(s, m, ns); v.Ours {
				return v
			}
		}
		return v
	}
	out.deselected = func(s *settings.Settings) bool {
		return slices.ContainsFunc(g.Members, func(m *corev1.Service) bool { return translate.Deselected(s, m, ns) })
	}
	return out, nil
}

// Behind implements Kind: each Service stands behind its own ports.
func (k SharedVIPs) Behind(ctx context.Context, s *settings.Settings, c *Candidate[*Group]) (translate.Owner, []translate.Backend, error) {
	g := c.Object
	k.Using(client.ObjectKeyFromObject(g), keysOf(g.Members))
	members := g.Members
	if !g.decided {
		members = slices.DeleteFunc(slices.Clone(members), func(m *corev1.Service) bool {
			return m.DeletionTimestamp != nil || !translate.ServiceOurs(s, m, c.Namespace).Ours
		})
	}
	backends := make([]translate.Backend, len(members))
	for i, m := range members {
		backend, err := k.backend(ctx, s, m)
		if err != nil {
			return nil, nil, err
		}
		backends[i], backends[i].Shut = backend, k.place(m).Shut
	}
	return translate.SharedVIP{Namespace: g.Namespace, Group: g.Name, Members: members}, backends, nil
}
