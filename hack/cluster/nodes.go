// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// The annotation by which kwok knows the nodes whose kubelet it plays. Any Node that has it is brought up; one that
// loses it is like a machine whose plug was pulled.
const (
	managedAnnotation = "kwok.x-k8s.io/node"
	managedValue      = "fake"
)

// zones are as many as a region usually has; the nodes are spread over them in turn.
var zones = []string{"zone-a", "zone-b", "zone-c"}

// AddNodes adds nodes named node-<number>, going on from the highest number there is, and waits until they are ready.
func (c *Cluster) AddNodes(ctx context.Context, count int) (names []string, err error) {
	c.nodes.Lock()
	defer c.nodes.Unlock()
	list, err := c.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("add nodes: %w", err)
	}
	highest := 0
	for _, node := range list.Items {
		if number, err := strconv.Atoi(strings.TrimPrefix(node.Name, "node-")); err == nil {
			highest = max(highest, number)
		}
	}
	for number := highest + 1; number <= highest+count; number++ {
		node := c.node(number)
		if _, err := c.client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{}); err != nil {
			return nil, fmt.Errorf("add nodes: %w", err)
		}
		names = append(names, node.Name)
	}
	for _, name := range names {
		if err := c.waitForNode(ctx, name); err != nil {
			return nil, fmt.Errorf("add nodes: %w", err)
		}
	}
	return names, nil
}

// ensureNodes brings the number of nodes up to count, which a kept cluster may have already.
func (c *Cluster) ensureNodes(ctx context.Context, count int) error {
	list, err := c.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, node := range list.Items {
		if err := c.waitForNode(ctx, node.Name); err != nil {
			return err
		}
	}
	_, err = c.AddNodes(ctx, max(0, count-len(list.Items)))
	return err
}

func (c *Cluster) node(number int) *corev1.Node {
	name := fmt.Sprintf("node-%d", number)
	addresses := []corev1.NodeAddress{
		// kwok replaces all addresses of a node that lacks one of these two types.
		{Type: corev1.NodeInternalIP, Address: fmt.Sprintf("172.30.%d.%d", (number-1)/250, (number-1)%250+1)},
		{Type: corev1.NodeHostName, Address: name},
	}
	if c.options.DualStack {
		addresses = append(addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: fmt.Sprintf("fd00:172:30::%x", number)})
	}
	resources := corev1.ResourceList{
		corev1.ResourceCPU:    resource.MustParse("64"),
		corev1.ResourceMemory: resource.MustParse("256Gi"),
		// As many as the node's /24 of pod addresses has room for.
		corev1.ResourcePods: resource.MustParse("250"),
	}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name: name,
			Labels: map[string]string{
				corev1.LabelHostname: name, corev1.LabelOSStable: "linux", corev1.LabelArchStable: "amd64",
				corev1.LabelTopologyRegion: "region-1", corev1.LabelTopologyZone: zones[(number-1)%len(zones)],
			},
			Annotations: map[string]string{managedAnnotation: managedValue},
		},
		Status: corev1.NodeStatus{Addresses: addresses, Capacity: resources, Allocatable: resources},
	}
}

// waitForNode waits until pods can be scheduled on a node and get addresses there.
func (c *Cluster) waitForNode(ctx context.Context, name string) error {
	return poll(ctx, "node "+name, func() (bool, error) {
		node, err := c.client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		return nodeReady(node) && len(node.Spec.PodCIDRs) > 0 && len(node.Spec.Taints) == 0, nil
	})
}

func nodeReady(node *corev1.Node) bool {
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

// FailNode makes a node fail as if its machine had lost power: its state becomes Unknown, its pods are no longer ready
// and it starts no more. A real cluster notices after some 50 s; this one does at once. (kwok goes on renewing the
// node's lease, but a lease alone makes no node ready.)
func (c *Cluster) FailNode(ctx context.Context, name string) error {
	if err := c.manageNode(ctx, name, false); err != nil {
		return fmt.Errorf("fail node %s: %w", name, err)
	}
	// A heartbeat that was under way may still arrive, so this is repeated until the controllers have seen it.
	err := poll(ctx, "node "+name+" to be unreachable", func() (bool, error) {
		node, err := c.client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		if !nodeReady(node) {
			return hasTaint(node, corev1.TaintNodeUnreachable), nil
		}
		for i := range node.Status.Conditions {
			if condition := &node.Status.Conditions[i]; condition.Type == corev1.NodeReady {
				condition.Status = corev1.ConditionUnknown
				condition.Reason = "NodeStatusUnknown"
				condition.Message = "Kubelet stopped posting node status."
				condition.LastTransitionTime = metav1.NewTime(time.Now())
			}
		}
		_, err = c.client.CoreV1().Nodes().UpdateStatus(ctx, node, metav1.UpdateOptions{})
		if apierrors.IsConflict(err) {
			err = nil
		}
		return false, err
	})
	if err == nil {
		// The node lifecycle controller marks the pods of nodes only that it finds silent itself.
		err = c.setPodsReady(ctx, name, false)
	}
	if err != nil {
		return fmt.Errorf("fail node %s: %w", name, err)
	}
	return nil
}

// RecoverNode brings a failed node back, and its pods with it, as its kubelet would.
func (c *Cluster) RecoverNode(ctx context.Context, name string) error {
	err := c.manageNode(ctx, name, true)
	if err == nil {
		err = c.waitForNode(ctx, name)
	}
	if err == nil {
		err = c.setPodsReady(ctx, name, true)
	}
	if err != nil {
		return fmt.Errorf("recover node %s: %w", name, err)
	}
	return nil
}

// setPodsReady sets the readiness of all pods of a node.
func (c *Cluster) setPodsReady(ctx context.Context, node string, ready bool) error {
	pods, err := c.client.CoreV1().Pods(metav1.NamespaceAll).List(ctx, metav1.ListOptions{FieldSelector: "spec.nodeName=" + node})
	if err != nil {
		return err
	}
	for _, pod := range pods.Items {
		if pod.DeletionTimestamp != nil {
			continue
		}
		if err := c.SetPodReady(ctx, pod.Namespace, pod.Name, ready); err != nil && !apierrors.IsNotFound(err) {
			return err
		}
	}
	return nil
}

func (c *Cluster) manageNode(ctx context.Context, name string, managed bool) error {
	var value any
	if managed {
		value = managedValue
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]any{managedAnnotation: value}}})
	if err != nil {
		return err
	}
	_, err = c.client.CoreV1().Nodes().Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{})
	return err
}

func hasTaint(node *corev1.Node, key string) bool {
	for _, taint := range node.Spec.Taints {
		if taint.Key == key {
			return true
		}
	}
	return false
}

// SetPodReady plays a readiness probe's success or failure. It lasts until it is set again: kwok decides only about
// pods that are being started.
func (c *Cluster) SetPodReady(ctx context.Context, namespace, name string, ready bool) error {
	status := corev1.ConditionFalse
	if ready {
		status = corev1.ConditionTrue
	}
	now := metav1.NewTime(time.Now())
	condition := func(kind corev1.PodConditionType) corev1.PodCondition {
		return corev1.PodCondition{Type: kind, Status: status, LastTransitionTime: now}
	}
	patch, err := json.Marshal(map[string]any{"status": map[string]any{
		"conditions": []corev1.PodCondition{condition(corev1.PodReady), condition(corev1.ContainersReady)},
	}})
	if err != nil {
		return err
	}
	// Conditions are merged by type.
	_, err = c.client.CoreV1().Pods(namespace).Patch(ctx, name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	if err != nil {
		return fmt.Errorf("set the readiness of pod %s/%s: %w", namespace, name, err)
	}
	return nil
}
