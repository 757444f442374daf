// SPDX-License-Identifier: Apache-2.0

package gather

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1beta1"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
	"github.com/avi-l4-operator/avi-l4-operator/internal/staticroutes"
)

// PodCIDRs is the API that a network plugin's source of pod CIDRs is, "" if the source is the Nodes themselves.
func PodCIDRs(s staticroutes.Source) API {
	if s.CRD == "" {
		return ""
	}
	return API(s.Kind.Group + " " + s.Kind.Kind)
}

// StaticRoutes reads the nodes, what the network plugin says of their pods, and the Service Engine groups that
// AviInfraSettings name. What can't be read completely is said in the input, and nothing is concluded from it.
func (r *Reader) StaticRoutes(ctx context.Context, s *settings.Settings) (staticroutes.Input, error) {
	in := staticroutes.Input{Settings: s}
	var nodes corev1.NodeList
	if err := r.Client.List(ctx, &nodes, client.UnsafeDisableDeepCopy); err != nil {
		return in, fmt.Errorf("listing Nodes: %w", err)
	}
	for i := range nodes.Items {
		in.Nodes = append(in.Nodes, &nodes.Items[i])
	}
	if err := r.podCIDRs(ctx, &in, staticroutes.SourceOf(s.CNI)); err != nil {
		return in, err
	}
	groups, err := r.ServiceEngineGroups(ctx)
	in.Groups = groups
	return in, err
}

// ServiceEngineGroups are those that AviInfraSettings name, as far as they can be read.
func (r *Reader) ServiceEngineGroups(ctx context.Context) (names []string, err error) {
	if !r.Synced(InfraSettings) {
		return nil, nil
	}
	var infra v1beta1.AviInfraSettingList
	if err := r.Client.List(ctx, &infra, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing AviInfraSettings: %w", err)
	}
	for _, i := range infra.Items {
		if g := i.Spec.SEGroup; g != nil && i.DeletionTimestamp == nil && !slices.Contains(names, g.Name) {
			names = append(names, g.Name)
		}
	}
	slices.Sort(names)
	return names, nil
}

func (r *Reader) podCIDRs(ctx context.Context, in *staticroutes.Input, source staticroutes.Source) error {
	switch api := PodCIDRs(source); {
	case api == "":
		return nil
	case !r.Serves(api):
		in.Unread = fmt.Sprintf("the API server has no type %s (%s), where cniPlugin %s keeps pod CIDRs", source.Kind.Kind, source.CRD, in.Settings.CNI)
		return nil
	case !r.Synced(api):
		in.Unread = fmt.Sprintf("%s can't be read yet; if that lasts, check that the operator's role may list them", source.Kind.Kind)
		return nil
	}
	list := new(unstructured.UnstructuredList)
	list.SetGroupVersionKind(source.Kind)
	if err := r.Client.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("listing %s: %w", source.Kind.Kind, err)
	}
	for i := range list.Items {
		in.Objects = append(in.Objects, &list.Items[i])
	}
	return nil
}
