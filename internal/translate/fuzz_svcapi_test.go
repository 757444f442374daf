// SPDX-License-Identifier: Apache-2.0

package translate_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1beta1"
	svcapi "github.com/avi-l4-operator/avi-l4-operator/api/networking/v1alpha1"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/placement"
	"github.com/avi-l4-operator/avi-l4-operator/internal/plan"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
)

// FuzzGateway is FuzzService for Gateways, whose API server checks next to nothing: protocols, selectors, addresses, kinds,
// settings and nodes as they may come.
func FuzzGateway(f *testing.F) {
	f.Add("gw", "core", "10.1.2.3", "SCTP", "v1", "services", "In", "10.20.0.1", "host.example.com", "vip", "10.1.0.0/16", int32(38412), int32(30001), uint16(0))
	f.Add("5g", "a-b", "fd00::1", "sctp", "", "Service", "Is", "fd00::5", "*", "x", "10.1.0.0/33", int32(53), int32(0), uint16(7))
	f.Add("", "", "nobody", "", "networking.x-k8s.io", "TCPRoute", "", "", "..", "", "fd00::/64", int32(0), int32(-1), uint16(0xffff))
	f.Add("gw", "core", "", "SCTP", "v1", "services", "In", "10.20.0.1", "host.example.com", "vip", "10.1.0.0/16,fd00::/64", int32(38412), int32(30001), uint16(1<<14))
	f.Fuzz(func(t *testing.T, name, namespace, ip, protocol, group, kind, operator, nodeIP, hostname, network, cidr string,
		port, nodePort int32, bits uint16) {
		bit := func(i int) bool { return bits>>i&1 == 1 }
		names := map[string]string{translate.LabelGatewayName: name, translate.LabelGatewayNamespace: namespace}
		routes := svcapi.RouteBindingSelector{Group: group, Kind: kind, Selector: &metav1.LabelSelector{MatchLabels: names}}
		if bit(0) {
			routes.Selector = &metav1.LabelSelector{
				MatchExpressions: []metav1.LabelSelectorRequirement{
					{Key: translate.LabelGatewayName, Operator: metav1.LabelSelectorOperator(operator), Values: []string{name}}}}
		}
		if bit(1) {
			routes.Namespaces = &svcapi.RouteNamespaces{From: new(svcapi.RouteSelectType(operator)), Selector: routes.Selector}
		}
		gw := &svcapi.Gateway{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace}, Spec: svcapi.GatewaySpec{
			Addresses: []svcapi.GatewayAddress{{Value: ip}, {Type: new(svcapi.AddressType(kind)), Value: ip}},
			Listeners: []svcapi.Listener{
				{Port: port, Protocol: svcapi.ProtocolType(protocol), Hostname: &hostname, Routes: routes},
				{Port: port, Protocol: "SCTP", Routes: routes}, {Port: port, Protocol: "TCP", Routes: svcapi.RouteBindingSelector{Kind: "services"}}, {Port: 36412, Protocol: "SCTP", Routes: routes},
			},
		}}
		if bit(14) {
			gw.Annotations = map[string]string{translate.AnnotationGatewaySourceRanges: cidr}
		}
		backend := func(name string) translate.Backend {
			svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace, Labels: names}, Spec: corev1.ServiceSpec{
				Ports: []corev1.ServicePort{{Name: "a", Protocol: corev1.Protocol(protocol), Port: port, NodePort: nodePort}, {Name: "b", Protocol: "SCTP", Port: 36412, NodePort: 30002}},
			}}
			if bit(2) {
				svc.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
			}
			return translate.Backend{Service: svc, SlicesRead: !bit(3), Slices: []*discoveryv1.EndpointSlice{{
				AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{{Name: new("b"), Protocol: new(corev1.ProtocolSCTP), Port: &port}},
				Endpoints: []discoveryv1.Endpoint{{Addresses: []string{nodeIP}, NodeName: new("n")}},
			}}, Pods: []*corev1.Pod{
				{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{translate.AnnotationNodePortLocalPorts: hostname}},
					Status: corev1.PodStatus{PodIPs: []corev1.PodIP{{IP: nodeIP}}}}}}
		}
		in := translate.Input{
			Owner: translate.SvcAPIGateway{Object: gw}, Namespace: &corev1.Namespace{},
			Backends: []translate.Backend{backend("one"), backend("two")}, NodesRead: !bit(4),
			Nodes: []*corev1.Node{{ObjectMeta: metav1.ObjectMeta{Name: "n", Labels: map[string]string{"k": hostname}}, Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: nodeIP}}}}},
			Settings: &settings.Settings{
				ClusterName: "c", CreatedBy: "ako-c", Cloud: "Default-Cloud", Tenant: "admin", Placement: placement.Placement{SEGroup: "Default-Group"}, HashNames: bit(5),
				ServiceType: []settings.ServiceType{settings.ClusterIP, settings.NodePort, settings.NodePortLocal, ""}[bits>>6&3],
			},
			Facts: &model.Facts{LicenseTier: "ENTERPRISE", DNSDomains: []string{"example.com"}, Cloud: model.CloudFacts{Type: []string{"CLOUD_NONE", "CLOUD_VCENTER", "CLOUD_AWS", "CLOUD_NSXT"}[bits>>8&3]},
				Networks: []model.NetworkFacts{{Name: "vip", UUID: "1"}}, Shared: map[model.Kind]map[string]string{
					model.NetworkProfile:     {"System-SCTP-Proxy": "1", "System-TCP-Proxy": "2", "System-UDP-Fast-Path": "3"},
					model.HealthMonitor:      {"System-SCTP": "4", "System-TCP": "5", "System-UDP": "6"},
					model.ServiceEngineGroup: {"Default-Group": "6"}, model.Network: {"vip": "1"},
				}},
			Live: translate.Live{Exists: bit(10), Ports: map[model.Port]bool{{Number: port, Protocol: "SCTP"}: bit(11)}},
		}
		if bit(12) {
			in.Setting = translate.Setting{Name: "s", Object: &v1beta1.AviInfraSetting{ObjectMeta: metav1.ObjectMeta{Name: "s"}, Spec: v1beta1.AviInfraSettingSpec{Network: &v1beta1.AviInfraSettingNetwork{
				VipNetworks:  []v1beta1.VipNetwork{{NetworkName: network, CIDR: cidr}},
				NodeNetworks: []v1beta1.NodeNetwork{{NetworkUUID: network, CIDRs: []string{cidr}}}}}}}
		}
		out := translate.Objects(in)
		valid(t, out)
		if p := plan.Diff(&out.Set, nil, plan.Policy{}); out.Blocked != p.Empty() {
			t.Errorf("blocked %v, plan %s", out.Blocked, p.String())
		}
	})
}
