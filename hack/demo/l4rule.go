// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1alpha2"
	"github.com/avi-l4-operator/avi-l4-operator/hack/demo/stage"
	"github.com/avi-l4-operator/avi-l4-operator/hack/demo/tree"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/status"
)

// The sample L4Rule, what it names on the Controller, and the port that it is for.
const (
	ruleFile, ruleName      = "config/samples/l4rule.yaml", "signalling"
	ruleProfile, rulePolicy = "Signalling-SCTP", "Signalling-Peers"
	ruledPort               = "SCTP 38412"
)

// ruleSCTP has the network team's objects used by an L4Rule, deletes the rule under live traffic, and takes it back at last.
func ruleSCTP(ctx context.Context, s *story) error {
	s.happens("the network team makes a network profile, a health monitor and a security policy for signalling on the Controller")
	for _, o := range []struct {
		kind string
		body map[string]any
	}{
		{"networkprofile", map[string]any{"name": ruleProfile, "profile": map[string]any{
			"type": "PROTOCOL_TYPE_SCTP_PROXY", "sctp_proxy_profile": map[string]any{"heartbeat_interval": 30},
		}}},
		{"healthmonitor", map[string]any{"name": ruleProfile, "type": "HEALTH_MONITOR_SCTP", "sctp_monitor": map[string]any{}}},
		{"networksecuritypolicy", map[string]any{"name": rulePolicy}},
	} {
		if _, err := s.Controller.Create(o.kind, s.Trees.Tenant, o.body); err != nil {
			return err
		}
	}
	if err := s.kubectl(ctx, "apply", "-f", ruleFile); err != nil {
		return err
	}
	if err := s.ruleIs(ctx, v1alpha2.StatusAccepted); err != nil {
		return err
	}
	s.saw("L4Rule %s is Accepted: everything that it names is there", ruleName)
	if err := s.kubectl(ctx, "annotate", "service", mixed, "ako.vmware.com/l4rule="+ruleName); err != nil {
		return err
	}
	t, err := s.tree(ctx, mixed, "what the rule says", ruled(ruleProfile, ruleProfile, rulePolicy))
	if err != nil {
		return err
	}
	s.saw("the SCTP port has its own profile and monitor; TCP and UDP keep theirs:")
	s.show(t.String())

	s.Controller.ResetRequests()
	if err := s.kubectl(ctx, "delete", "-f", ruleFile); err != nil {
		return err
	}
	if err := s.serviceTells(ctx, mixed, model.ReasonRuleMissing); err != nil {
		return err
	}
	if err := s.refreshed(ctx); err != nil {
		return err
	}
	if w := s.Controller.Writes(); len(w) > 0 {
		return fmt.Errorf("the Controller got %d writes, the first is %s %s", len(w), w[0].Method, w[0].Path)
	}
	s.saw("the rule is gone, and the Service says so; nothing was written to the Controller")
	if err := s.kubectl(ctx, "annotate", "service", mixed, "ako.vmware.com/l4rule-"); err != nil {
		return err
	}
	if _, err := s.tree(ctx, mixed, "the defaults", ruled("System-SCTP-Proxy", "System-SCTP", "")); err != nil {
		return err
	}
	s.saw("nobody asks for it any more: profile, monitor and policy are the defaults again")
	return nil
}

// ruled checks the network profile and the monitor of the SCTP port, and the VirtualService's network security policy.
func ruled(profile, monitor, policy string) func(*tree.Tree) error {
	return func(t *tree.Tree) error {
		p := t.Pool(ruledPort)
		if p == nil {
			return fmt.Errorf("no rule matches %s", ruledPort)
		}
		if refs := p.HealthMonitorRefs; len(refs) != 1 || tree.NameOf(&refs[0]) != monitor {
			return fmt.Errorf("the monitors of %s are %v", ruledPort, refs)
		}
		if got := tree.NameOf(t.VirtualService.NetworkSecurityPolicyRef); got != policy {
			return fmt.Errorf("the network security policy is %q", got)
		}
		for _, service := range t.VirtualService.Services {
			if *service.Port == 38412 && tree.NameOf(service.OverrideNetworkProfileRef) != profile {
				return fmt.Errorf("the network profile of %s is %q", ruledPort, tree.NameOf(service.OverrideNetworkProfileRef))
			}
		}
		return nil
	}
}

// ruleIs waits until the rule has a status.
func (s *story) ruleIs(ctx context.Context, want string) error {
	return stage.Until(ctx, "L4Rule "+ruleName+" "+want, func(ctx context.Context) error {
		rule := new(v1alpha2.L4Rule)
		if err := s.Client.Get(ctx, client.ObjectKey{Namespace: metav1.NamespaceDefault, Name: ruleName}, rule); err != nil {
			return err
		}
		if rule.Status.Status != want {
			return fmt.Errorf("its status is %+v", rule.Status)
		}
		return nil
	})
}

// serviceTells waits until condition Accepted of a Service has a reason.
func (s *story) serviceTells(ctx context.Context, name, reason string) error {
	return stage.Until(ctx, "the reason "+reason+" of Service "+name, func(ctx context.Context) error {
		svc, err := s.service(ctx, name)
		if err != nil {
			return err
		}
		if c := apimeta.FindStatusCondition(svc.Status.Conditions, status.Accepted); c == nil || c.Reason != reason {
			return fmt.Errorf("it is %+v", c)
		}
		return nil
	})
}
