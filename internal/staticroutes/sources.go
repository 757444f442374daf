// SPDX-License-Identifier: Apache-2.0

package staticroutes

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Annotations of Nodes in which pod CIDRs are found.
const (
	AnnotationPodCIDRs = "ako.vmware.com/pod-cidrs" // a list with commas, by hand
	annotationOVN      = "k8s.ovn.org/node-subnets" // JSON, by OVN-Kubernetes
	annotationCalico4  = "projectcalico.org/IPv4Address"
	annotationCalico6  = "projectcalico.org/IPv6Address"
	annotationAntrea   = "node.antrea.io/transport-addresses"
)

// NodeAnnotations are the annotations of Nodes that are read.
var NodeAnnotations = []string{AnnotationPodCIDRs, annotationOVN, annotationCalico4, annotationCalico6, annotationAntrea}

// Source is where a network plugin says which addresses a node's pods have.
type Source struct {
	// Kind of the plugin's objects; empty if the Nodes themselves have it.
	Kind schema.GroupVersionKind
	// CRD is the name of the kind's CustomResourceDefinition.
	CRD string

	object func(*unstructured.Unstructured) (share, error)
	node   func(*corev1.Node) ([]string, error)
	// optional: a node without an object of its own has no pods yet, and that is all.
	optional bool
}

// share is what one object of a network plugin gives a node.
type share struct {
	node    string
	cidrs   []string
	pending bool
}

// sources by cniPlugin, as AKO has them. All other plugins (flannel, canal, antrea, kubenet, none) let Kubernetes choose.
var sources = map[string]Source{
	"calico": {Kind: schema.GroupVersionKind{Group: "crd.projectcalico.org", Version: "v1", Kind: "BlockAffinity"},
		CRD: "blockaffinities.crd.projectcalico.org", object: blockAffinity, optional: true},
	"openshift": {Kind: schema.GroupVersionKind{Group: "network.openshift.io", Version: "v1", Kind: "HostSubnet"},
		CRD: "hostsubnets.network.openshift.io", object: hostSubnet},
	"cilium": {Kind: schema.GroupVersionKind{Group: "cilium.io", Version: "v2", Kind: "CiliumNode"},
		CRD: "ciliumnodes.cilium.io", object: ciliumNode},
	"ovn-kubernetes": {node: ovnSubnets},
}

// SourceOf is the source for a cniPlugin.
func SourceOf(cni string) Source {
	if s, ok := sources[cni]; ok {
		return s
	}
	return Source{node: podCIDRs}
}

// Sources are those with objects of their own.
func Sources() (out []Source) {
	for _, s := range sources {
		if s.object != nil {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b Source) int { return strings.Compare(a.CRD, b.CRD) })
	return out
}

// Slim removes what isn't read of an object of a source's kind, and reports whether it is of one.
func Slim(o *unstructured.Unstructured) bool {
	for _, s := range sources {
		if s.object == nil || o.GroupVersionKind() != s.Kind {
			continue
		}
		kept := map[string]any{"apiVersion": o.Object["apiVersion"], "kind": o.Object["kind"], "metadata": o.Object["metadata"]}
		for _, path := range [][]string{{"host"}, {"subnet"}, {"spec", "node"}, {"spec", "cidr"}, {"spec", "state"}, {"spec", "deleted"},
			{"spec", "ipam", "podCIDRs"}, {"spec", "ipam", "pools", "allocated"}} {
			if v, ok, err := unstructured.NestedFieldNoCopy(o.Object, path...); ok && err == nil {
				_ = unstructured.SetNestedField(kept, v, path...) // what it holds came from JSON
			}
		}
		o.Object = kept
		o.SetManagedFields(nil)
		o.SetAnnotations(nil)
		o.SetLabels(nil)
		return true
	}
	return false
}

// podCIDRs are those that a person wrote down, else those that Kubernetes chose.
func podCIDRs(n *corev1.Node) ([]string, error) {
	if text, ok := n.Annotations[AnnotationPodCIDRs]; ok {
		var out []string
		for part := range strings.SplitSeq(text, ",") {
			if part = strings.TrimSpace(part); part != "" {
				out = append(out, part)
			}
		}
		if len(out) == 0 {
			return nil, fmt.Errorf("annotation %s is empty; remove it, or list the node's pod CIDRs in it", AnnotationPodCIDRs)
		}
		return out, nil
	}
	switch {
	case len(n.Spec.PodCIDRs) > 0:
		return n.Spec.PodCIDRs, nil
	case n.Spec.PodCIDR != "":
		return []string{n.Spec.PodCIDR}, nil
	}
	return nil, fmt.Errorf("spec.podCIDRs is empty; if the network plugin has a source of its own, set cniPlugin (calico, openshift, ovn-kubernetes, cilium), else list the node's pod CIDRs in annotation %s", AnnotationPodCIDRs)
}

// ovnSubnets are those of the default network, a text or a list: {"default":["10.128.0.0/23","fd01::/64"]}.
func ovnSubnets(n *corev1.Node) ([]string, error) {
	text := n.Annotations[annotationOVN]
	if text == "" {
		return nil, fmt.Errorf("annotation %s is missing; OVN-Kubernetes writes it", annotationOVN)
	}
	var networks map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &networks); err != nil {
		return nil, fmt.Errorf("annotation %s is not what OVN-Kubernetes writes: %w", annotationOVN, err)
	}
	var one string
	if json.Unmarshal(networks["default"], &one) == nil && one != "" {
		return []string{one}, nil
	}
	var list []string
	if err := json.Unmarshal(networks["default"], &list); err != nil || len(list) == 0 {
		return nil, fmt.Errorf(`annotation %s has no subnet of the network "default"`, annotationOVN)
	}
	return list, nil
}

// blockAffinity is one block of a node. One that is being given back still holds pods until it is deleted.
func blockAffinity(o *unstructured.Unstructured) (share, error) {
	out := share{node: text(o, "spec", "node"), pending: text(o, "spec", "state") != "confirmed"}
	if text(o, "spec", "deleted") == "true" {
		return share{}, nil
	}
	cidr := text(o, "spec", "cidr")
	if out.node == "" || cidr == "" {
		return out, errors.New("spec.node or spec.cidr is missing")
	}
	out.cidrs = []string{cidr}
	return out, nil
}

func hostSubnet(o *unstructured.Unstructured) (share, error) {
	out := share{node: text(o, "host")}
	subnet := text(o, "subnet")
	if out.node == "" || subnet == "" {
		return out, errors.New("host or subnet is missing")
	}
	out.cidrs = []string{subnet}
	return out, nil
}

// ciliumNode has the node's name, its CIDRs (cluster scope) and those of further pools (multi-pool).
func ciliumNode(o *unstructured.Unstructured) (share, error) {
	out := share{node: o.GetName()}
	cidrs, _, err := unstructured.NestedStringSlice(o.Object, "spec", "ipam", "podCIDRs")
	if err != nil {
		return out, fmt.Errorf("spec.ipam.podCIDRs: %w", err)
	}
	out.cidrs = append(out.cidrs, cidrs...)
	pools, _, err := unstructured.NestedSlice(o.Object, "spec", "ipam", "pools", "allocated")
	if err != nil {
		return out, fmt.Errorf("spec.ipam.pools.allocated: %w", err)
	}
	for _, p := range pools {
		pool, _ := p.(map[string]any)
		more, _, err := unstructured.NestedStringSlice(pool, "cidrs")
		if err != nil {
			return out, fmt.Errorf("spec.ipam.pools.allocated: %w", err)
		}
		out.cidrs = append(out.cidrs, more...)
	}
	if len(out.cidrs) == 0 {
		return out, errors.New("spec.ipam.podCIDRs is empty; static routes need Cilium's cluster scope IPAM (ipam.mode cluster-pool or kubernetes)")
	}
	return out, nil
}

func text(o *unstructured.Unstructured, path ...string) string {
	s, _, _ := unstructured.NestedString(o.Object, path...)
	return s
}
