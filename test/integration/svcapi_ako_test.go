// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	svcapi "github.com/avi-l4-operator/avi-l4-operator/api/networking/v1alpha1"
	"github.com/avi-l4-operator/avi-l4-operator/test/suite"
)

const akoFinalizer = "gateway.ako.vmware.com"

// These tests run alone: a Gateway that has only AKO's finalizer is any operator's to take over.

// akoMarks are an object's markers in AKO's form, after the cluster's.
func akoMarks(e *suite.Env, pairs ...string) []any {
	out := []any{map[string]any{"key": "clustername", "values": []any{e.Cluster}}}
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, map[string]any{"key": pairs[i], "values": []any{pairs[i+1]}})
	}
	return out
}

// akoMetadata is service_metadata as AKO writes it.
func akoMetadata(gateway, service, host string) string {
	services := "null"
	if service != "" {
		services = `["` + service + `"]`
	}
	return `{"namespace_ingress_name":null,"ingress_name":"","namespace":"","hostnames":["` + host + `"],"namespace_svc_name":` + services +
		`,"crd_status":{"type":"","value":"","status":""},"pool_ratio":0,"passthrough_parent_ref":"","passthrough_child_ref":"","gateway":"` + gateway +
		`","httproute":"","httproute_rule_name":"","insecureedgetermallow":false,"is_mci_ingress":false,"fqdn_reuse_policy":"","host_namespace_ingress_name":null}`
}

// akoServes makes what AKO makes for a Gateway with one SCTP listener on 6060, or for a VIP that several Services share, whose
// key is then the name.
func akoServes(e *suite.Env, namespace, name, service, server string, shared bool) {
	e.T.Helper()
	vs := e.Cluster + "--" + namespace + "-" + name
	pool := fmt.Sprintf("%s--%s-%s-%s-SCTP-6060", e.Cluster, namespace, service, name)
	gw := namespace + "/" + name
	if shared {
		gw = ""
	}
	by, host := "ako-"+e.Cluster, service+"."+namespace+".demo.avi.local"
	for _, o := range []struct {
		kind string
		body map[string]any
	}{
		{"vsvip", map[string]any{
			"name": vs, "cloud_ref": "/api/cloud?name=Default-Cloud", "east_west_placement": false, "vsvip_cloud_config_cksum": "1234567",
			"vrf_context_ref": "/api/vrfcontext?name=global", "markers": akoMarks(e),
			"vip": []any{map[string]any{"vip_id": "0", "auto_allocate_ip": true, "ipam_network_subnet": map[string]any{
				"network_ref": "/api/network/?name=vip-network",
				"subnet":      map[string]any{"ip_addr": map[string]any{"addr": "10.10.0.0", "type": "V4"}, "mask": 16}}}},
			"dns_info": []any{map[string]any{"fqdn": host}},
		}},
		{"pool", map[string]any{
			"name": pool, "cloud_config_cksum": "1234568", "created_by": by, "cloud_ref": "/api/cloud?name=Default-Cloud",
			"vrf_ref":     "/api/vrfcontext?name=global",
			"sni_enabled": false, "graceful_disable_timeout": 1, "health_monitor_refs": []any{"/api/healthmonitor/?name=System-SCTP"},
			"service_metadata": akoMetadata("", namespace+"/"+service, host),
			"markers":          akoMarks(e, "Namespace", namespace, "ServiceName", service, "Port", "6060", "Protocol", "SCTP", "GatewayName", name),
			"servers": []any{
				map[string]any{"ip": map[string]any{"addr": server, "type": "V4"}, "port": 9090, "enabled": true, "external_uuid": server + ":9090",
					"server_node": "node-1"}},
		}},
		{"l4policyset", map[string]any{
			"name": vs, "created_by": by, "markers": akoMarks(e, "Namespace", namespace, "GatewayName", name),
			"l4_connection_policy": map[string]any{"rules": []any{map[string]any{
				"name": "/api/pool?name=" + pool, "index": 0,
				"match": map[string]any{
					"port":     map[string]any{"match_criteria": "IS_IN", "ports": []any{6060}},
					"protocol": map[string]any{"match_criteria": "IS_IN", "protocol": "PROTOCOL_SCTP"},
				},
				"action": map[string]any{
					"select_pool": map[string]any{"action_type": "L4_RULE_ACTION_SELECT_POOL", "pool_ref": "/api/pool?name=" + pool}},
			}}},
		}},
		{"virtualservice", map[string]any{
			"name": vs, "cloud_config_cksum": "1234569", "created_by": by, "cloud_ref": "/api/cloud?name=Default-Cloud",
			"vrf_context_ref": "/api/vrfcontext?name=global",
			"se_group_ref":    "/api/serviceenginegroup?name=Default-Group", "application_profile_ref": "/api/applicationprofile/?name=System-L4-Application",
			"network_profile_ref": "/api/networkprofile/?name=System-SCTP-Proxy", "vsvip_ref": "/api/vsvip/?name=" + vs,
			"services":                         []any{map[string]any{"port": 6060, "port_range_end": 6060, "enable_ssl": false, "enable_http2": false}},
			"l4_policies":                      []any{map[string]any{"index": 0, "l4_policy_set_ref": "/api/l4policyset/?name=" + vs}},
			"remove_listening_port_on_vs_down": true,
			"service_metadata":                 akoMetadata(gw, "", host), "markers": akoMarks(e, "Namespace", namespace, "GatewayName", name),
		}},
	} {
		if _, err := e.Sim.Create(o.kind, "admin", o.body); err != nil {
			e.T.Fatal(err)
		}
	}
}

// akoStatus is what AKO leaves on a Gateway that it serves.
func akoStatus(e *suite.Env, gw *gateway, address string) {
	e.T.Helper()
	now := metav1.Now()
	gw.Status = svcapi.GatewayStatus{
		Addresses: []svcapi.GatewayAddress{{Type: new(svcapi.AddressIP), Value: address}},
		Conditions: []metav1.Condition{
			{Type: "Scheduled", Status: no, Reason: "NotReconciled", LastTransitionTime: now},
			{Type: "Pending", Status: no, Reason: "Ready", LastTransitionTime: now},
		},
		Listeners: []svcapi.ListenerStatus{
			{Port: 6060, Conditions: []metav1.Condition{{Type: "PortConflict", Status: no, Reason: "None", LastTransitionTime: now}}}},
	}
	if err := e.Client.Status().Update(e.T.Context(), gw); err != nil {
		e.T.Fatal(err)
	}
}

// TestGatewayTakenOverFromAKO: the objects that AKO made go on serving on the same address, its finalizer becomes ours, and
// its conditions go.
func TestGatewayTakenOverFromAKO(t *testing.T) {
	e := suite.New(t)
	e.Own(e.SvcAPIClass(nil))
	e.StopOperator()
	akoServes(e, e.Namespace, "n2", "amf", "10.244.1.5", false)
	gw := e.SvcAPIGateway("n2", e.SvcAPIListener("n2", "SCTP", 6060))
	gw.Finalizers = []string{akoFinalizer, "example.com/theirs"}
	e.Create(gw)
	_, slice := e.SvcAPIAttach(gw, "amf", "10.244.1.5", suite.Port("SCTP", 6060))
	was, err := e.SvcAPITree(gw)
	if err != nil || !slices.Equal(was.Ports, []string{"SCTP/6060 amf [10.244.1.5:9090]"}) {
		t.Fatalf("AKO's tree is %+v, %v", was, err)
	}
	akoStatus(e, gw, was.Address)
	e.Sim.ResetRequests()
	e.StartOperator()
	if address := e.SvcAPIReady(gw); address != was.Address {
		t.Errorf("the address went from %s to %s", was.Address, address)
	}
	same(t, was, e.SvcAPIServes(gw, "SCTP/6060 amf [10.244.1.5:9090]"))
	for _, w := range e.Writes() {
		var body struct{ Replace map[string]any }
		if err := json.Unmarshal(w.Body, &body); err != nil {
			t.Error(err)
		}
		for field := range body.Replace {
			if w.Method != "PATCH" || !strings.HasSuffix(field, "cloud_config_cksum") {
				t.Errorf("the take-over writes %s: %s %s", field, w.Method, w.Path)
			}
		}
	}
	if !slices.Equal(gw.Finalizers, []string{"example.com/theirs", suite.Finalizer}) {
		t.Errorf("finalizers are %v", gw.Finalizers)
	}
	for _, c := range append(gw.Status.Conditions, gw.Status.Listeners[0].Conditions...) {
		if c.Type == "Pending" || c.Type == "PortConflict" || c.Reason == "NotReconciled" {
			t.Errorf("left of AKO: %+v", c)
		}
	}
	suite.Update(e, slice, func(s *discovery) { s.Endpoints = []discoveryEndpoint{endpoint("10.244.1.6", true, false)} })
	same(t, was, e.SvcAPIServes(gw, "SCTP/6060 amf [10.244.1.6:9090]"))
	// AKO's finalizer comes back, for AKO still runs: it doesn't keep the Gateway from being deleted.
	suite.Update(e, gw, func(gw *gateway) { gw.Finalizers = []string{suite.Finalizer, akoFinalizer} })
	e.Delete(gw)
	e.SvcAPIGone(gw)
	if owned := e.Owned(); len(owned) > 0 {
		t.Errorf("left: %v", owned)
	}
}

// TestGatewayOfAKOThatIsBeingDeleted: with AKO gone there is nobody else to clean up.
func TestGatewayOfAKOThatIsBeingDeleted(t *testing.T) {
	for name, keepClass := range map[string]bool{"with its class": true, "after its class": false} {
		t.Run(name, func(t *testing.T) {
			e := suite.New(t)
			class := e.SvcAPIClass(nil)
			e.Own(class)
			e.StopOperator()
			akoServes(e, e.Namespace, "n2", "amf", "10.244.1.5", false)
			akoServes(e, e.Namespace, "other", "smf", "10.244.1.6", false)
			other := e.SvcAPIGateway("other", e.SvcAPIListener("other", "SCTP", 6060))
			other.Finalizers = []string{akoFinalizer}
			gw := e.SvcAPIGateway("n2", e.SvcAPIListener("n2", "SCTP", 6060))
			gw.Finalizers = []string{akoFinalizer}
			e.Create(gw, other)
			e.SvcAPIAttach(gw, "amf", "10.244.1.5", suite.Port("SCTP", 6060))
			e.SvcAPIAttach(other, "smf", "10.244.1.6", suite.Port("SCTP", 6060))
			if owned := e.Owned(); owned["virtualservice"] != 2 {
				t.Fatalf("AKO's objects are %v", owned)
			}
			neighbour := e.SvcAPIServes(other, "SCTP/6060 smf [10.244.1.6:9090]")
			e.Delete(gw)
			if !keepClass { // as kubectl delete -f goes through the file, and AKO puts no finalizer on classes
				e.Force(class)
			}
			e.StartOperator()
			e.SvcAPIGone(gw)
			same(t, neighbour, e.SvcAPIServes(other, "SCTP/6060 smf [10.244.1.6:9090]"))
			if owned := e.Owned(); fmt.Sprint(owned) != "map[l4policyset:1 pool:1 virtualservice:1 vsvip:1]" {
				t.Errorf("the Controller holds %v", owned)
			}
			for _, w := range e.Written(neighbour) {
				if strings.HasPrefix(w, "DELETE") {
					t.Errorf("unwanted: %s", w)
				}
			}
		})
	}
}

// TestGatewaysOfAKOInUnservedNamespaces may be AKO's to this day: at least the guard keeps them from all being removed.
func TestGatewaysOfAKOInUnservedNamespaces(t *testing.T) {
	e := suite.New(t)
	e.Own(e.SvcAPIClass(nil))
	e.StopOperator()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: e.Namespace + "-unserved"}}
	e.Create(ns)
	const many, let = 9, 5
	gateways := make([]*gateway, many)
	for i := range gateways {
		name := fmt.Sprintf("n%d", i)
		akoServes(e, ns.Name, name, "amf"+name, "10.244.1.5", false)
		gw := e.SvcAPIGateway(name, e.SvcAPIListener(name, "SCTP", 6060))
		gw.Namespace, gw.Finalizers = ns.Name, []string{akoFinalizer}
		e.Create(gw)
		akoStatus(e, gw, fmt.Sprintf("10.10.9.%d", i))
		gateways[i] = gw
	}
	e.Sim.ResetRequests()
	e.StartOperator()
	barrier := gatewayOn(e, "barrier", suite.Port("SCTP", 6060))
	e.SvcAPIServes(barrier, "SCTP/6060 open")
	e.Tried(e.Touch(), "svcapigateway", objects(gateways...)...)
	if left := e.Owned()["virtualservice"] - 1; left < many-let {
		t.Errorf("too much of AKO's was removed: %d of %d VirtualServices are left", left, many)
	}
	for _, gw := range gateways {
		if err := e.Client.Get(t.Context(), client.ObjectKeyFromObject(gw), gw); err != nil {
			t.Fatal(err)
		}
		if e.Object("virtualservice", e.SvcAPIName(gw)) != nil && (!slices.Contains(gw.Finalizers, akoFinalizer) || len(gw.Status.Addresses) == 0) {
			t.Errorf("%s is served and has finalizers %v, addresses %v", gw.Name, gw.Finalizers, gw.Status.Addresses)
		}
	}
}
