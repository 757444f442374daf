// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"reflect"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/avi-l4-operator/avi-l4-operator/hack/demo/stage"
	"github.com/avi-l4-operator/avi-l4-operator/hack/demo/tree"
)

// The Services of config/samples/shared-vip.yaml, their ports, and the shared VIP.
const (
	sharedGroup                = "core"
	sharedN2, sharedN2Port     = "shared-n2", "SCTP 38412"
	sharedHTTP, sharedHTTPPort = "shared-http", "TCP 8080"
)

// shareVIP has two Services share a VirtualService, one of which leaves.
func shareVIP(ctx context.Context, s *story) error {
	before, err := s.Trees.Read(ctx, s.objectName(mixed))
	if err != nil {
		return err
	}
	if err := s.kubectl(ctx, "apply", "-f", "config/samples/shared-vip.yaml"); err != nil {
		return err
	}
	vip, err := s.address(ctx, sharedN2)
	if err != nil {
		return err
	}
	other, err := s.address(ctx, sharedHTTP)
	if err != nil {
		return err
	}
	if other != vip {
		return fmt.Errorf("%s has the address %s, %s has %s", sharedN2, vip, sharedHTTP, other)
	}
	s.saw("both Services have the address %s", vip)
	both, err := s.tree(ctx, sharedGroup, "two pools of two enabled servers", func(t *tree.Tree) error {
		for _, port := range []string{sharedN2Port, sharedHTTPPort} {
			if err := servers(port, 2, 0)(t); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, name := range []string{sharedN2, sharedHTTP} {
		if err := s.healthy(ctx, name, metav1.ConditionTrue, ""); err != nil {
			return err
		}
	}
	s.saw("read back from the Controller's REST API:")
	s.show(both.String())
	if err := s.leaveVIP(ctx, both); err != nil {
		return err
	}
	return s.nothingBut(ctx, s.objectName(sharedGroup), before)
}

// leaveVIP deletes one Service, after which the other is served as before, and then that one.
func (s *story) leaveVIP(ctx context.Context, both *tree.Tree) error {
	for _, name := range []string{sharedHTTP, sharedN2} {
		if err := s.kubectl(ctx, "delete", "service,deployment", name, "--wait=false"); err != nil {
			return err
		}
		if err := s.gone(ctx, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: name}}); err != nil {
			return err
		}
		if name == sharedN2 {
			break
		}
		err := stage.Until(ctx, "the tree without "+name, func(ctx context.Context) error {
			t, err := s.Trees.Read(ctx, s.objectName(sharedGroup))
			if err != nil {
				return err
			}
			if len(t.Rules) != 1 || !reflect.DeepEqual(t.Pool(sharedN2Port), both.Pool(sharedN2Port)) {
				return fmt.Errorf("it is\n%s", t)
			}
			return nil
		})
		if err != nil {
			return err
		}
		s.saw("the port of Service %s is gone with it; the pool behind %s is exactly what it was", name, sharedN2Port)
	}
	return nil
}
