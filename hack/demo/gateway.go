// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1beta1"
	svcapi "github.com/avi-l4-operator/avi-l4-operator/api/networking/v1alpha1"
	"github.com/avi-l4-operator/avi-l4-operator/hack/demo/stage"
	"github.com/avi-l4-operator/avi-l4-operator/hack/demo/tree"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/status"
)

// The Gateway sample, the objects in it, and its port.
const (
	gatewayFile                   = "config/samples/gateway-sctp.yaml"
	gatewayNamespace, gatewayName = "svcapi", "my-gateway"
	gatewayClass, gatewaySetting  = "avi-lb", "my-infrasetting"
	gatewayService, gatewayPort   = "avisvc-svcapi", "SCTP 6060"
)

func applyGateway(ctx context.Context, s *story) error {
	if err := s.kubectl(ctx, "apply", "-f", gatewayFile); err != nil {
		return err
	}
	gw, err := s.gatewayHealthy(ctx)
	if err != nil {
		return err
	}
	s.saw("the Gateway is ready and has the address %s", gw.Status.Addresses[0].Value)
	pod, err := s.pod(ctx, gatewayNamespace, "avi-server")
	if err != nil {
		return err
	}
	server := pod.Status.PodIP + ":9090"
	var t *tree.Tree
	err = stage.Until(ctx, "the pod as the only server", func(ctx context.Context) error {
		if t, err = s.Trees.Read(ctx, s.gatewayObject()); err != nil {
			return err
		}
		return servers(gatewayPort, 1, 0)(t)
	})
	if err != nil {
		return err
	}
	rule, pool := t.Rules[0], t.Rules[0].Pool
	for _, c := range []struct{ what, got, want string }{
		{"the VirtualService's name", tree.Text(t.VirtualService.Name), "demo--svcapi-my-gateway"},
		{"the VsVip's name", tree.Text(t.VsVip.Name), "demo--svcapi-my-gateway"},
		{"the L4PolicySet's name", tree.Text(t.L4PolicySet.Name), "demo--svcapi-my-gateway"},
		{"the pool's name", tree.Text(pool.Name), "demo--svcapi-avisvc-svcapi-my-gateway-SCTP-6060"},
		{"the network profile", tree.NameOf(t.VirtualService.NetworkProfileRef), "System-SCTP-Proxy"},
		{"the pool's monitors", strings.Join(pool.Monitors(), " "), "System-SCTP"},
		{"the rule's protocol", tree.Text(rule.Match.Protocol.Protocol), "PROTOCOL_SCTP"},
		{"the servers", strings.Join(pool.Enabled(), " "), server},
		{"the VIP", tree.Text(t.VsVip.Vip[0].IPAddress.Addr), gw.Status.Addresses[0].Value},
	} {
		if c.got != c.want {
			return fmt.Errorf("%s: %q, not %q", c.what, c.got, c.want)
		}
	}
	s.saw("the same address is on the Controller, under AKO's names, with SCTP's profile, monitor and rule, and the pod behind it")
	if err := s.gatewayStatus(ctx); err != nil {
		return err
	}
	if err := s.events(ctx, gatewayNamespace, "gateways.networking.x-k8s.io/"+gatewayName, "EnsuredLoadBalancer"); err != nil {
		return err
	}
	s.saw("read back from the Controller's REST API:")
	s.show(t.String())
	return nil
}

// placementStep is one step of what happens to the network of the setting that the class names.
type placementStep struct {
	network  string
	status   string // the setting's
	accepted metav1.ConditionStatus
	tells    string // in the setting's and the Gateway's conditions; "" if they don't
	saw      string
}

// misplaceGateway misspells the network of the setting that the class names, and corrects it.
func misplaceGateway(ctx context.Context, s *story) error {
	before, err := s.Trees.Read(ctx, s.gatewayObject())
	if err != nil {
		return err
	}
	s.Controller.ResetRequests()
	for _, step := range []placementStep{
		{"vip-netw0rk", v1beta1.StatusRejected, metav1.ConditionFalse, "vip-netw0rk", "the setting is rejected, and the Gateway, which is still ready, tells it too"},
		{"vip-network", v1beta1.StatusAccepted, metav1.ConditionTrue, "", "the setting is accepted, and the Gateway has nothing more to tell"},
	} {
		if err := s.place(ctx, step); err != nil {
			return err
		}
		if err := s.refreshed(ctx); err != nil {
			return err
		}
		if err := s.untouched(ctx, before); err != nil {
			return err
		}
		s.saw("nothing was written to the Controller, not at the next refresh either: the traffic goes on where it was")
	}
	return nil
}

// place changes the setting's network and waits for what the setting and the Gateway say to it.
func (s *story) place(ctx context.Context, step placementStep) error {
	patch := fmt.Sprintf(`{"spec":{"network":{"vipNetworks":[{"networkName":%q,"cidr":"10.10.0.0/16"}]}}}`, step.network)
	if err := s.kubectl(ctx, "patch", "aviinfrasetting", gatewaySetting, "--type=merge", "-p", patch); err != nil {
		return err
	}
	err := stage.Until(ctx, "AviInfraSetting "+gatewaySetting+" "+step.status, func(ctx context.Context) error {
		setting := new(v1beta1.AviInfraSetting)
		if err := s.Client.Get(ctx, client.ObjectKey{Name: gatewaySetting}, setting); err != nil {
			return err
		}
		c := apimeta.FindStatusCondition(setting.Status.Conditions, v1beta1.ConditionAccepted)
		if setting.Status.Status != step.status || c == nil || c.Status != step.accepted || !strings.Contains(setting.Status.Error, step.tells) {
			return fmt.Errorf("its status is %+v", setting.Status)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := s.gatewayTells(ctx, step.tells); err != nil {
		return err
	}
	s.saw("%s", step.saw)
	if step.tells == "" {
		return nil
	}
	if err := s.gatewayStatus(ctx); err != nil {
		return err
	}
	return s.events(ctx, metav1.NamespaceDefault, "aviinfrasettings.ako.vmware.com/"+gatewaySetting, "Rejected")
}

// untouched fails if anything was written to the Controller, or the Gateway's objects are not what they were.
func (s *story) untouched(ctx context.Context, before *tree.Tree) error {
	if w := s.Controller.Writes(); len(w) > 0 {
		return fmt.Errorf("the Controller got %d writes, the first is %s %s", len(w), w[0].Method, w[0].Path)
	}
	after, err := s.Trees.Read(ctx, s.gatewayObject())
	if err == nil && !reflect.DeepEqual(after, before) {
		err = fmt.Errorf("the Gateway's objects were changed:\n%s", after)
	}
	return err
}

// refreshed waits until the operator has read all its objects on the Controller again.
func (s *story) refreshed(ctx context.Context) error {
	begin := time.Now()
	return stage.Until(ctx, "a refresh", func(context.Context) error {
		for _, r := range s.Controller.Requests() {
			if r.Path == "/api/"+string(model.VirtualService) && r.Time.After(begin) {
				return nil
			}
		}
		return errors.New("the VirtualServices were not read")
	})
}

func deleteGateway(ctx context.Context, s *story) error {
	before, err := s.Trees.Read(ctx, s.objectName(mixed))
	if err != nil {
		return err
	}
	if err := s.kubectl(ctx, "delete", "-f", gatewayFile, "--wait=false"); err != nil {
		return err
	}
	for _, o := range []client.Object{
		&svcapi.Gateway{ObjectMeta: metav1.ObjectMeta{Namespace: gatewayNamespace, Name: gatewayName}},
		&svcapi.GatewayClass{ObjectMeta: metav1.ObjectMeta{Name: gatewayClass}},
		&v1beta1.AviInfraSetting{ObjectMeta: metav1.ObjectMeta{Name: gatewaySetting}},
	} {
		if err := s.gone(ctx, o); err != nil {
			return err
		}
	}
	s.saw("the Gateway, its GatewayClass and its AviInfraSetting are gone")
	return s.nothingBut(ctx, s.gatewayObject(), before)
}

func (s *story) gatewayObject() string { return s.ObjectName(gatewayNamespace, gatewayName) }

func (s *story) gateway(ctx context.Context) (*svcapi.Gateway, error) {
	gw := new(svcapi.Gateway)
	return gw, s.Client.Get(ctx, client.ObjectKey{Namespace: gatewayNamespace, Name: gatewayName}, gw)
}

// gatewayHealthy waits until the Gateway is ready and the Controller calls it healthy.
func (s *story) gatewayHealthy(ctx context.Context) (gw *svcapi.Gateway, err error) {
	err = stage.Until(ctx, "a Gateway that is ready and healthy", func(ctx context.Context) error {
		if gw, err = s.gateway(ctx); err != nil {
			return err
		}
		ready := apimeta.IsStatusConditionTrue(gw.Status.Conditions, svcapi.GatewayConditionReady)
		healthy := apimeta.IsStatusConditionTrue(gw.Status.Conditions, status.Healthy)
		if !ready || !healthy || len(gw.Status.Addresses) != 1 {
			return fmt.Errorf("its addresses are %v, its conditions %+v", gw.Status.Addresses, gw.Status.Conditions)
		}
		return nil
	})
	return gw, err
}

// gatewayTells waits until a condition of the Gateway, ready all the while, speaks of something; "" is for none that
// complains.
func (s *story) gatewayTells(ctx context.Context, what string) error {
	return stage.Until(ctx, "a condition of the Gateway", func(ctx context.Context) error {
		gw, err := s.gateway(ctx)
		if err != nil {
			return err
		}
		conditions := gw.Status.Conditions
		tells := slices.ContainsFunc(conditions, func(c metav1.Condition) bool {
			return what == "" && c.Status != metav1.ConditionTrue || what != "" && strings.Contains(c.Message, what)
		})
		if !apimeta.IsStatusConditionTrue(conditions, svcapi.GatewayConditionReady) || tells == (what == "") {
			return fmt.Errorf("they are %+v", conditions)
		}
		return nil
	})
}

// gatewayStatus shows the Gateway, its class and its setting as kubectl does.
func (s *story) gatewayStatus(ctx context.Context) error {
	const conditions = `jsonpath={range .status.conditions[*]}{.type}={.status} ({.reason}): {.message}{"\n"}{end}`
	gw := []string{"get", "gateways.networking.x-k8s.io", gatewayName, "-n", gatewayNamespace}
	for _, args := range [][]string{
		{"get", "aviinfrasettings", gatewaySetting, "-o", "wide"},
		{"get", "gatewayclasses.networking.x-k8s.io", gatewayClass},
		gw,
		append(slices.Clone(gw), "-o", conditions),
	} {
		out, err := s.Kubectl(ctx, args...)
		if err != nil {
			return err
		}
		s.show(out)
	}
	return nil
}

// gone waits until an object is.
func (s *story) gone(ctx context.Context, o client.Object) error {
	return stage.Until(ctx, fmt.Sprintf("the end of %T %s", o, o.GetName()), func(ctx context.Context) error {
		err := s.Client.Get(ctx, client.ObjectKeyFromObject(o), o)
		switch {
		case apierrors.IsNotFound(err):
			return nil
		case err != nil:
			return err
		}
		return errors.New("it is still there")
	})
}

// nothingBut checks that the Controller has nothing of that name any more, and the other Service's tree as it was.
func (s *story) nothingBut(ctx context.Context, name string, other *tree.Tree) error {
	left, err := s.Trees.Names(ctx, name)
	if err != nil {
		return err
	}
	if len(left) > 0 {
		return fmt.Errorf("the Controller still has %s", strings.Join(left, ", "))
	}
	s.saw("the Controller has no VirtualService, VsVip, L4PolicySet or pool %s any more", name)
	after, err := s.Trees.Read(ctx, s.objectName(mixed))
	if err != nil {
		return err
	}
	if !reflect.DeepEqual(after, other) {
		return fmt.Errorf("the other Service's objects were changed:\n%s", after)
	}
	s.saw("every object of Service %s is exactly what it was", mixed)
	return nil
}
