// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1alpha1"
	"github.com/avi-l4-operator/avi-l4-operator/hack/demo/stage"
	"github.com/avi-l4-operator/avi-l4-operator/hack/demo/tree"
	"github.com/avi-l4-operator/avi-l4-operator/internal/gatewayapi"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/status"
)

// The sample of the Gateway API, the objects in it, and its port.
const (
	routedFile                  = "config/samples/gateway-api-sctp.yaml"
	routedNamespace, routedName = "core5g", "n2"
	routedClass, routedRoute    = "avi-l4", "amf"
	routedListener, routedPort  = "ngap", "SCTP 38412"
	// The pools of both Services, as they are named after everything on the way to them.
	routedPool     = "demo--core5g-n2-SCTP-38412-core5g.amf-38412"
	routedNextPool = "demo--core5g-n2-SCTP-38412-core5g.amf-next-38412"
)

func applyRouted(ctx context.Context, s *story) error {
	if err := s.kubectl(ctx, "apply", "-f", routedFile); err != nil {
		return err
	}
	gw, err := s.routedHealthy(ctx)
	if err != nil {
		return err
	}
	s.saw("the Gateway is programmed, healthy, and has the address %s", gw.Status.Addresses[0].Value)
	if err := s.routeAttached(ctx); err != nil {
		return err
	}
	s.saw("the SCTPRoute is accepted, its references resolve, and the listener counts it")
	t, err := s.ratios(ctx, routedPool+" 9, "+routedNextPool+" 1", 2, 1)
	if err != nil {
		return err
	}
	for _, c := range []struct{ what, got, want string }{
		{"the VirtualService's name", tree.Text(t.VirtualService.Name), "demo--core5g-n2"},
		{"the network profile", tree.NameOf(t.VirtualService.NetworkProfileRef), "System-SCTP-Proxy"},
		{"the rule's protocol", tree.Text(t.Rules[0].Match.Protocol.Protocol), "PROTOCOL_SCTP"},
		{"the pool group's name", tree.Text(t.Rules[0].Group.Name), "demo--core5g-n2-SCTP-38412"},
		{"the first pool's monitors", strings.Join(t.Rules[0].Group.Members[0].Pool.Monitors(), " "), "System-SCTP"},
		{"the VIP", tree.Text(t.VsVip.Vip[0].IPAddress.Addr), gw.Status.Addresses[0].Value},
	} {
		if c.got != c.want {
			return fmt.Errorf("%s: %q, not %q", c.what, c.got, c.want)
		}
	}
	s.saw("on the Controller the port leads to a pool group: nine parts to the pods of amf, one to that of amf-next")
	const conditions = `jsonpath={range .status.parents[*].conditions[*]}{.type}={.status} ({.reason}): {.message}{"\n"}{end}`
	for _, args := range [][]string{
		{"get", "gateways.gateway.networking.k8s.io", routedName, "-n", routedNamespace},
		{"get", "sctproutes", routedRoute, "-n", routedNamespace},
		{"get", "sctproutes", routedRoute, "-n", routedNamespace, "-o", conditions},
	} {
		out, err := s.Kubectl(ctx, args...)
		if err != nil {
			return err
		}
		s.show(out)
	}
	if err := s.events(ctx, routedNamespace, "gateways.gateway.networking.k8s.io/"+routedName, "EnsuredLoadBalancer"); err != nil {
		return err
	}
	s.saw("read back from the Controller's REST API:")
	s.show(t.String())
	return nil
}

// shiftWeights gives the next release more of the traffic, as a canary is rolled out.
func shiftWeights(ctx context.Context, s *story) error {
	s.Controller.ResetRequests()
	const patch = `[{"op":"replace","path":"/spec/rules/0/backendRefs/0/weight","value":1},{"op":"replace","path":"/spec/rules/0/backendRefs/1/weight","value":9}]`
	if err := s.kubectl(ctx, "patch", "sctproutes", routedRoute, "-n", routedNamespace, "--type=json", "-p", patch); err != nil {
		return err
	}
	if _, err := s.ratios(ctx, routedPool+" 1, "+routedNextPool+" 9", 2, 1); err != nil {
		return err
	}
	s.saw("the pool group's ratios are the other way round")
	if err := s.refreshed(ctx); err != nil {
		return err
	}
	w := s.Controller.Writes()
	if len(w) != 1 || w[0].Method != http.MethodPatch || w[0].Type != string(model.PoolGroup) {
		return fmt.Errorf("the Controller got %d writes, not one PATCH of the pool group: %+v", len(w), w)
	}
	s.saw("it took one PATCH of the pool group; nothing else was written, not at the next refresh either")
	return nil
}

func deleteRouted(ctx context.Context, s *story) error {
	before, err := s.Trees.Read(ctx, s.objectName(mixed))
	if err != nil {
		return err
	}
	if err := s.kubectl(ctx, "delete", "-f", routedFile, "--wait=false"); err != nil {
		return err
	}
	for _, o := range []client.Object{
		&gatewayv1.Gateway{ObjectMeta: metav1.ObjectMeta{Namespace: routedNamespace, Name: routedName}},
		&gatewayv1.GatewayClass{ObjectMeta: metav1.ObjectMeta{Name: routedClass}},
		&v1alpha1.SCTPRoute{ObjectMeta: metav1.ObjectMeta{Namespace: routedNamespace, Name: routedRoute}},
		&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: routedNamespace, Name: "amf"}},
	} {
		if err := s.gone(ctx, o); err != nil {
			return err
		}
	}
	s.saw("the Gateway, its GatewayClass, the SCTPRoute and the Services are gone")
	return s.nothingBut(ctx, s.ObjectName(routedNamespace, routedName), before)
}

// routedHealthy waits until the Gateway is programmed and the Controller calls it healthy.
func (s *story) routedHealthy(ctx context.Context) (*gatewayv1.Gateway, error) {
	gw := new(gatewayv1.Gateway)
	err := stage.Until(ctx, "a Gateway that is programmed and healthy", func(ctx context.Context) error {
		if err := s.Client.Get(ctx, client.ObjectKey{Namespace: routedNamespace, Name: routedName}, gw); err != nil {
			return err
		}
		for _, kind := range []string{"Accepted", "Programmed", status.Healthy} {
			if !apimeta.IsStatusConditionTrue(gw.Status.Conditions, kind) {
				return fmt.Errorf("its conditions are %+v", gw.Status.Conditions)
			}
		}
		if len(gw.Status.Addresses) != 1 {
			return fmt.Errorf("its addresses are %v", gw.Status.Addresses)
		}
		i := slices.IndexFunc(gw.Status.Listeners, func(l gatewayv1.ListenerStatus) bool { return l.Name == routedListener })
		if i < 0 || gw.Status.Listeners[i].AttachedRoutes != 1 {
			return fmt.Errorf("its listeners are %+v", gw.Status.Listeners)
		}
		return nil
	})
	return gw, err
}

// routeAttached waits until the route's only parent has taken it.
func (s *story) routeAttached(ctx context.Context) error {
	return stage.Until(ctx, "an SCTPRoute that is attached", func(ctx context.Context) error {
		route := new(v1alpha1.SCTPRoute)
		if err := s.Client.Get(ctx, client.ObjectKey{Namespace: routedNamespace, Name: routedRoute}, route); err != nil {
			return err
		}
		parents := route.Status.Parents
		if len(parents) != 1 || parents[0].ControllerName != gatewayapi.Controller ||
			!apimeta.IsStatusConditionTrue(parents[0].Conditions, "Accepted") || !apimeta.IsStatusConditionTrue(parents[0].Conditions, "ResolvedRefs") {
			return fmt.Errorf("its parents are %+v", parents)
		}
		return nil
	})
}

// ratios reads the Gateway's tree until the pool group has these, and its pools so many enabled servers.
func (s *story) ratios(ctx context.Context, want string, servers ...int) (t *tree.Tree, err error) {
	err = stage.Until(ctx, "the pool group with "+want, func(ctx context.Context) error {
		var err error
		if t, err = s.Trees.Read(ctx, s.ObjectName(routedNamespace, routedName)); err != nil {
			return err
		}
		r := t.Rule(routedPort)
		if r == nil || r.Group == nil {
			return fmt.Errorf("there is no pool group behind %s", routedPort)
		}
		if got := r.Group.Ratios(); got != want {
			return fmt.Errorf("it has %s", got)
		}
		for i, m := range r.Group.Members {
			if n := len(m.Pool.Enabled()); n != servers[i] {
				return fmt.Errorf("%s has %d enabled servers", tree.Text(m.Pool.Name), n)
			}
		}
		return nil
	})
	return t, err
}
