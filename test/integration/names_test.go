// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/avi-l4-operator/avi-l4-operator/test/suite"
)

// The owner that serves under a name keeps it. An older Service that becomes a load balancer later is the one that is told, and the
// one that serves goes on following its endpoints.
func TestIncumbentKeepsItsName(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	other := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: e.Namespace + "-x", Labels: map[string]string{"served-by": e.Namespace}}}
	older := e.Service("amf", suite.Port("SCTP", 38412))
	older.Namespace = other.Name
	older.Spec.Type, older.Spec.AllocateLoadBalancerNodePorts = corev1.ServiceTypeClusterIP, nil
	e.Create(other, older)
	time.Sleep(1100 * time.Millisecond) // creation times have seconds
	live := e.Service("x-amf", suite.Port("SCTP", 38412))
	slice := e.Slice(live, "10.244.1.5")
	e.Create(live, slice)
	e.Programmed(live)
	suite.Update(e, older, func(s *corev1.Service) { s.Spec.Type = corev1.ServiceTypeLoadBalancer })
	if m := e.Condition(older, "Accepted", metav1.ConditionFalse, "NameTaken"); !strings.Contains(m, e.Namespace+"/x-amf") {
		t.Errorf("message: %s", m)
	}
	suite.Update(e, slice, func(s *discovery) { s.Endpoints = []discoveryEndpoint{endpoint("10.244.2.6", true, false)} })
	e.Eventually("the incumbent's endpoints", func() error {
		if got := fmt.Sprint(e.Servers(e.PoolName(live, live.Spec.Ports[0]))); got != "[10.244.2.6:9090]" {
			return fmt.Errorf("servers are %s", got)
		}
		return nil
	})
	e.Condition(live, "Accepted", metav1.ConditionTrue, "Accepted")
}

// A VsVip has no created_by. One whose VirtualService is another client's isn't ours, whatever its name and marker say.
func TestForeignVsVipIsLeftAlone(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	svc := e.Service("amf", suite.Port("SCTP", 38412))
	marks := []any{map[string]any{"key": "clustername", "values": []any{e.Cluster}}}
	for kind, body := range map[string]map[string]any{
		"vsvip": {"name": e.Name(svc), "markers": marks, "vip": []any{map[string]any{"vip_id": "0", "auto_allocate_ip": true}}},
	} {
		if _, err := e.Sim.Create(kind, "admin", body); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := e.Sim.Create("virtualservice", "admin", map[string]any{
		"name": e.Name(svc), "created_by": "another-ako", "markers": marks, "vsvip_ref": "/api/vsvip?name=" + e.Name(svc),
		"application_profile_ref": "/api/applicationprofile?name=System-L4-Application", "services": []any{map[string]any{"port": 80}},
	}); err != nil {
		t.Fatal(err)
	}
	e.StopOperator() // so that it finds the VsVip at its start
	e.StartOperator()
	e.Create(svc)
	if m := e.Condition(svc, "Programmed", metav1.ConditionFalse, "NameTaken"); !strings.Contains(m, "another-ako") {
		t.Errorf("message: %s", m)
	}
	e.Delete(svc)
	e.Eventually("the Service's end", func() error {
		var list corev1.ServiceList
		if err := e.Client.List(t.Context(), &list); err != nil {
			return err
		}
		for _, s := range list.Items {
			if s.Namespace == e.Namespace {
				return fmt.Errorf("%s is still there", s.Name)
			}
		}
		return nil
	})
	for _, w := range e.Writes() {
		if w.Type == "vsvip" || w.Type == "virtualservice" {
			t.Errorf("%s %s", w.Method, w.Path)
		}
	}
}

// Settings that would leave live objects behind, or move them, are refused while there are any.
func TestIdentityCannotChangeUnderLiveServices(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	svc := serves(e, "amf")
	e.Sim.ResetRequests()
	for key, value := range map[string]string{"clusterName": "other", "createdBy": "other", "enableEVH": "true"} {
		e.Configure(func(c map[string]string) { c[key] = value })
		e.Eventually(key, func() error {
			if err := e.Operator.Settings.Err(); err == nil || !strings.Contains(err.Error(), "deleteConfig") {
				return fmt.Errorf("have %v", err)
			}
			return nil
		})
		e.Configure(func(c map[string]string) {
			delete(c, key)
			c["clusterName"] = e.Cluster
		})
		e.Eventually(key+" changed back", func() error { return e.Operator.Settings.Err() })
	}
	if w := e.Writes(); len(w) > 0 {
		t.Errorf("writes: %v", methods(e))
	}
	serves(e, "another")
	e.Programmed(svc)
}

// A namespace that changes its tenant doesn't move what serves, and what serves goes on following its endpoints.
func TestTenantChangeNeedsConsent(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	if err := e.Sim.AddTenant("telco"); err != nil {
		t.Fatal(err)
	}
	svc := e.Service("amf", suite.Port("SCTP", 38412))
	slice := e.Slice(svc, "10.244.1.5")
	e.Create(svc, slice)
	vip := e.Programmed(svc)
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: e.Namespace}}
	suite.Update(e, ns, func(n *corev1.Namespace) {
		metav1.SetMetaDataAnnotation(&n.ObjectMeta, "ako.vmware.com/tenant-name", "telco")
	})
	if m := e.Condition(svc, "Accepted", metav1.ConditionTrue, "NeedsReplacement"); !strings.Contains(m, "admin -> telco") {
		t.Errorf("message: %s", m)
	}
	suite.Update(e, slice, func(s *discovery) { s.Endpoints = []discoveryEndpoint{endpoint("10.244.2.6", true, false)} })
	e.Eventually("the endpoints", func() error {
		if got := fmt.Sprint(e.Servers(e.PoolName(svc, svc.Spec.Ports[0]))); got != "[10.244.2.6:9090]" {
			return fmt.Errorf("servers are %s", got)
		}
		return nil
	})
	if now := e.Programmed(svc); now != vip {
		t.Errorf("the VIP went from %s to %s", vip, now)
	}
	suite.Update(e, svc, annotate("l4.ako.vmware.com/allow-replacement", "true"))
	e.Eventually("the move", func() error {
		if _, ok := e.Sim.Object("virtualservice", "telco", e.Name(svc)); !ok || e.Object("virtualservice", e.Name(svc)) != nil {
			return fmt.Errorf("not moved: %v", e.Owned())
		}
		return nil
	})
	e.Programmed(svc)
}
