// SPDX-License-Identifier: Apache-2.0

package translate_test

import (
	"reflect"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	gatewayv1beta1 "sigs.k8s.io/gateway-api/apis/v1beta1"

	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1alpha1"
	"github.com/avi-l4-operator/avi-l4-operator/internal/gatewayapi"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/placement"
	"github.com/avi-l4-operator/avi-l4-operator/internal/plan"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
)

// FuzzRouted is FuzzService for Gateways of gateway.networking.k8s.io with their ListenerSets and routes, whose schema lets
// through odd protocols, addresses, kinds, references and weights, and may be older than its rules.
func FuzzRouted(f *testing.F) {
	f.Add("gw", "core", "amf", "10.1.2.3", "ako.vmware.com/SCTP", "ngap", "ako.vmware.com", "SCTPRoute", "Same", "n2.example.com", int32(38412), int32(38412), int32(90), int32(10), uint16(0))
	f.Add("5g", "a-b", "", "fd00::1", "sctp", "", "", "Service", "Selector", "*.x", int32(53), int32(0), int32(0), int32(0), uint16(0x7))
	f.Add("", "", "x", "010.0.0.1", "HTTP", "x", "gateway.networking.k8s.io", "ListenerSet", "", "..", int32(0), int32(-1), int32(1_000_000), int32(1), uint16(0xffff))
	f.Fuzz(func(t *testing.T, name, namespace, service, ip, protocol, section, group, kind, from, hostname string,
		port, backendPort, weight, other int32, bits uint16) {
		bit := func(i int) bool { return bits>>i&1 == 1 }
		allowed := &gatewayv1.AllowedRoutes{
			Kinds:      []gatewayv1.RouteGroupKind{{Group: new(gatewayv1.Group(group)), Kind: gatewayv1.Kind(kind)}},
			Namespaces: &gatewayv1.RouteNamespaces{From: new(gatewayv1.FromNamespaces(from))},
		}
		if bit(0) {
			allowed = nil
		}
		gw := &gatewayv1.Gateway{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace}, Spec: gatewayv1.GatewaySpec{
			Addresses:        []gatewayv1.GatewaySpecAddress{{Value: ip}, {Type: new(gatewayv1.AddressType(kind)), Value: ip}}[:bits&1],
			AllowedListeners: &gatewayv1.AllowedListeners{Namespaces: &gatewayv1.ListenerNamespaces{From: new(gatewayv1.FromNamespaces(from))}},
			Infrastructure: &gatewayv1.GatewayInfrastructure{
				Labels: map[gatewayv1.LabelKey]gatewayv1.LabelValue{gatewayv1.LabelKey(kind): gatewayv1.LabelValue(hostname)}},
			Listeners: []gatewayv1.Listener{
				{Name: "a", Port: port, Protocol: gatewayv1.ProtocolType(protocol), Hostname: new(gatewayv1.Hostname(hostname)), AllowedRoutes: allowed},
				{Name: "b", Port: port, Protocol: "SCTP", AllowedRoutes: allowed},
				{Name: "c", Port: 36412, Protocol: "TCP", TLS: &gatewayv1.ListenerTLSConfig{}},
			},
		}}
		if bit(1) {
			gw.Spec.Listeners[2].TLS = nil
		}
		set := &gatewayv1.ListenerSet{ObjectMeta: metav1.ObjectMeta{Name: kind, Namespace: namespace}, Spec: gatewayv1.ListenerSetSpec{
			ParentRef: gatewayv1.ParentGatewayReference{Name: gatewayv1.ObjectName(name)},
			Listeners: []gatewayv1.ListenerEntry{{Name: "d", Port: port, Protocol: gatewayv1.ProtocolType(protocol)}, {Name: "e", Port: 2905, Protocol: "SCTP"}},
		}}
		parent := gatewayv1.ParentReference{Name: gatewayv1.ObjectName(name)}
		if bit(2) {
			parent = gatewayv1.ParentReference{Name: gatewayv1.ObjectName(kind), Kind: new(gatewayv1.Kind("ListenerSet"))}
		}
		if bit(3) {
			parent.SectionName, parent.Port = new(gatewayv1.SectionName(section)), new(port)
		}
		refs := []gatewayv1.BackendRef{
			{Weight: &weight, BackendObjectReference: gatewayv1.BackendObjectReference{Name: gatewayv1.ObjectName(service), Port: new(backendPort)}},
			{Weight: &other, BackendObjectReference: gatewayv1.BackendObjectReference{Name: "two", Namespace: new(gatewayv1.Namespace(section)), Port: new(port)}},
			{Weight: &other,
				BackendObjectReference: gatewayv1.BackendObjectReference{Group: new(gatewayv1.Group(group)), Kind: new(gatewayv1.Kind(kind)),
					Name: "two", Port: new(port)}},
		}[:1+bits>>4&1+bits>>5&1]
		common := gatewayv1.CommonRouteSpec{ParentRefs: []gatewayv1.ParentReference{parent}}
		meta := func(name string, age time.Duration) metav1.ObjectMeta {
			return metav1.ObjectMeta{Name: name, Namespace: namespace, CreationTimestamp: metav1.NewTime(time.Unix(0, 0).Add(age))}
		}
		services := make(map[types.NamespacedName]*corev1.Service)
		var backends []translate.Backend
		for _, key := range []types.NamespacedName{{Namespace: namespace, Name: service}, {Namespace: section, Name: "two"}} {
			svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: key.Name, Namespace: key.Namespace}, Spec: corev1.ServiceSpec{
				Ports: []corev1.ServicePort{{Name: "a", Protocol: corev1.Protocol(protocol), Port: backendPort}, {Name: "b", Protocol: "SCTP", Port: port}, {Name: "c", Port: port}},
			}}
			services[key] = svc
			backends = append(backends, translate.Backend{Service: svc, SlicesRead: !bit(6), Slices: []*discoveryv1.EndpointSlice{{
				AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{{Name: new("b"), Protocol: new(corev1.ProtocolSCTP), Port: &backendPort}},
				Endpoints: []discoveryv1.Endpoint{{Addresses: []string{ip}}, {Addresses: []string{"10.0.0.9"}}},
			}}})
		}
		view := gatewayapi.Look(gatewayapi.World{
			Gateway: gw, Sets: []*gatewayv1.ListenerSet{set}, Services: services,
			Routes: []*gatewayapi.Route{
				gatewayapi.RouteOf(&v1alpha1.SCTPRoute{ObjectMeta: meta("s", 2), Spec: v1alpha1.SCTPRouteSpec{CommonRouteSpec: common, Rules: []v1alpha1.SCTPRouteRule{{BackendRefs: refs}}}}),
				gatewayapi.RouteOf(&v1alpha1.SCTPRoute{ObjectMeta: meta("older", 1), Spec: v1alpha1.SCTPRouteSpec{CommonRouteSpec: common, Rules: []v1alpha1.SCTPRouteRule{{BackendRefs: refs[:1]}}}}),
				gatewayapi.RouteOf(&gatewayv1.TCPRoute{ObjectMeta: meta("t", 0), Spec: gatewayv1.TCPRouteSpec{CommonRouteSpec: common, Rules: []gatewayv1.TCPRouteRule{{BackendRefs: refs}}}}),
			},
			Grants: []*gatewayv1beta1.ReferenceGrant{{ObjectMeta: metav1.ObjectMeta{Namespace: section}, Spec: gatewayv1beta1.ReferenceGrantSpec{
				From: []gatewayv1beta1.ReferenceGrantFrom{
					{Group: gatewayv1.Group(group), Kind: gatewayv1.Kind(kind), Namespace: gatewayv1.Namespace(namespace)}},
				To: []gatewayv1beta1.ReferenceGrantTo{{Kind: "Service"}},
			}}}[:bits>>7&1],
			Namespaces: map[string]map[string]string{namespace: {"k": "v"}},
			Unread:     map[string]bool{gatewayapi.KindReferenceGrant: bit(8), gatewayapi.KindSCTPRoute: bit(9)},
			Young:      map[string]bool{gatewayapi.KindListenerSet: bit(10)},
		})
		in := translate.Input{
			Owner: translate.Gateway{View: view}, Namespace: &corev1.Namespace{}, Backends: backends, NodesRead: true,
			Settings: &settings.Settings{ClusterName: "c", CreatedBy: "ako-c", Cloud: "Default-Cloud", Tenant: "admin", Placement: placement.Placement{SEGroup: "Default-Group"}, HashNames: bit(11)},
			Facts: &model.Facts{LicenseTier: []string{"ENTERPRISE", "BASIC"}[bits>>12&1], DNSDomains: []string{"example.com"}, Shared: map[model.Kind]map[string]string{
				model.NetworkProfile:     {"System-SCTP-Proxy": "1", "System-TCP-Proxy": "2", "System-UDP-Fast-Path": "3"},
				model.HealthMonitor:      {"System-SCTP": "4", "System-TCP": "5", "System-UDP": "6"},
				model.ServiceEngineGroup: {"Default-Group": "6"},
			}},
			Live: translate.Live{Exists: bit(13), Ports: map[model.Port]bool{{Number: port, Protocol: "SCTP"}: bit(14)}},
		}
		out := translate.Objects(in)
		valid(t, out)
		if p := plan.Diff(&out.Set, nil, plan.Policy{}); out.Blocked != p.Empty() {
			t.Errorf("blocked %v, plan %s", out.Blocked, p.String())
		}
		slices.Reverse(view.World.Routes) // their order says nothing
		in.Owner = translate.Gateway{View: gatewayapi.Look(view.World)}
		if again := translate.Objects(in); !reflect.DeepEqual(out, again) {
			t.Errorf("the same objects in another order are built differently:\n%+v\n%+v", out, again)
		}
	})
}
