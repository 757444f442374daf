// SPDX-License-Identifier: Apache-2.0

package routes

import (
	"context"
	"fmt"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/avi-l4-operator/avi-l4-operator/internal/staticroutes"
	"github.com/avi-l4-operator/avi-l4-operator/test/suite"
)

// plugins are the network plugins with types of their own, and an object that gives a node a pod CIDR.
var plugins = []struct {
	name   string
	gvk    schema.GroupVersionKind
	plural string
	// object is a template: name of the node, CIDR.
	object string
	// whole: the CIDR's object is the node's, so that without it the node's CIDRs aren't known.
	whole bool
}{
	{"calico", schema.GroupVersionKind{Group: "crd.projectcalico.org", Version: "v1", Kind: "BlockAffinity"}, "blockaffinities",
		"spec: {node: %q, cidr: %q, state: confirmed, deleted: \"false\"}", false},
	{"openshift", schema.GroupVersionKind{Group: "network.openshift.io", Version: "v1", Kind: "HostSubnet"}, "hostsubnets",
		"host: %q\nsubnet: %q\nhostIP: 10.9.9.9", true},
	{"cilium", schema.GroupVersionKind{Group: "cilium.io", Version: "v2", Kind: "CiliumNode"}, "ciliumnodes",
		"spec: {node: %q, ipam: {podCIDRs: [%q]}}", true},
}

// TestNetworkPlugins has the type come after the operator, follows its objects, and lets the type go: that says nothing about
// the pods that there are.
func TestNetworkPlugins(t *testing.T) {
	for _, p := range plugins {
		t.Run(p.name, func(t *testing.T) {
			e := env(t, refreshing(), suite.WithConfig("cniPlugin", p.name))
			a, b := node(e, "a", "10.0.0.1", "10.244.1.0/24"), node(e, "b", "10.0.0.2", "10.244.2.0/24")
			event(e, "ConfigMap", "avi-k8s-config", staticroutes.ReasonPodCIDRsUnreadable, "has no type "+p.gvk.Kind)
			want(e)

			install(e, p.gvk, p.plural)
			object := func(node, cidr string) *unstructured.Unstructured {
				o := &unstructured.Unstructured{Object: map[string]any{}}
				if err := yaml.Unmarshal([]byte(fmt.Sprintf(p.object, node, cidr)), &o.Object); err != nil {
					t.Fatal(err)
				}
				o.SetGroupVersionKind(p.gvk)
				o.SetName(node)
				if !p.whole {
					o.SetName(node + "-" + strings.NewReplacer(".", "-", "/", "-").Replace(cidr))
				}
				return o
			}
			first, second := object(a.Name, "10.60.1.0/26"), object(b.Name, "10.60.2.0/26")
			e.Create(first, second)
			want(e, "10.60.1.0/26 via 10.0.0.1", "10.60.2.0/26 via 10.0.0.2")

			if p.whole {
				// The node's object has another CIDR.
				e.Eventually("another CIDR", func() error {
					next := object(b.Name, "10.60.3.0/26")
					if err := e.Client.Get(e.T.Context(), client.ObjectKeyFromObject(second), second); err != nil {
						return err
					}
					next.SetResourceVersion(second.GetResourceVersion())
					return e.Client.Update(e.T.Context(), next)
				})
				want(e, "10.60.1.0/26 via 10.0.0.1", "10.60.3.0/26 via 10.0.0.2")
				// Without it, the node's CIDRs aren't known; its pods may be there still.
				e.Delete(second)
				event(e, "Node", b.Name, staticroutes.ReasonNoPodCIDR, "it has no "+p.gvk.Kind)
				want(e, "10.60.1.0/26 via 10.0.0.1", "10.60.3.0/26 via 10.0.0.2")
				e.Delete(b)
				want(e, "10.60.1.0/26 via 10.0.0.1")
			} else {
				third := object(b.Name, "10.60.3.0/26")
				e.Create(third)
				want(e, "10.60.1.0/26 via 10.0.0.1", "10.60.2.0/26 via 10.0.0.2", "10.60.3.0/26 via 10.0.0.2")
				e.Delete(second)
				e.Delete(third)
				want(e, "10.60.1.0/26 via 10.0.0.1")
			}

			uninstall(e, p.gvk, p.plural)
			event(e, "ConfigMap", "avi-k8s-config", staticroutes.ReasonPodCIDRsUnreadable, p.gvk.Kind)
			looked(e)
			want(e, "10.60.1.0/26 via 10.0.0.1")
		})
	}
}

// install adds a type to the cluster until the test's end.
func install(e *suite.Env, gvk schema.GroupVersionKind, plural string) {
	e.T.Helper()
	e.Create(&apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: plural + "." + gvk.Group},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: gvk.Group, Scope: apiextensionsv1.ClusterScoped,
			Names: apiextensionsv1.CustomResourceDefinitionNames{Plural: plural, Singular: strings.ToLower(gvk.Kind), Kind: gvk.Kind,
				ListKind: gvk.Kind + "List"},
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{Name: gvk.Version, Served: true, Storage: true,
				Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{Type: "object", XPreserveUnknownFields: new(true)}}}},
		},
	})
	e.T.Cleanup(func() {
		crd := &apiextensionsv1.CustomResourceDefinition{ObjectMeta: metav1.ObjectMeta{Name: plural + "." + gvk.Group}}
		if err := client.IgnoreNotFound(e.Client.Delete(context.Background(), crd)); err != nil {
			e.T.Error(err)
		}
	})
	list := new(unstructured.UnstructuredList)
	list.SetGroupVersionKind(gvk)
	e.Eventually("the type "+gvk.Kind, func() error { return e.Client.List(e.T.Context(), list) })
}

func uninstall(e *suite.Env, gvk schema.GroupVersionKind, plural string) {
	e.T.Helper()
	crd := &apiextensionsv1.CustomResourceDefinition{ObjectMeta: metav1.ObjectMeta{Name: plural + "." + gvk.Group}}
	e.Delete(crd)
	e.Eventually("the type goes", func() error {
		if err := e.Client.Get(e.T.Context(), client.ObjectKeyFromObject(crd), crd); !apierrors.IsNotFound(err) {
			return fmt.Errorf("it is there still: %w", err)
		}
		return nil
	})
}
