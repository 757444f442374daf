// SPDX-License-Identifier: Apache-2.0

package translate_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/vmware/alb-sdk/go/models"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/placement"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
)

// annotations are all that are read from a Service, with values of the form that each has.
var annotations = map[string]string{
	translate.AnnotationLoadBalancerIP: "10.1.2.3", translate.AnnotationDisableTraffic: "true",
	translate.AnnotationApplicationProfile: "System-L4-Application", translate.AnnotationHostname: "a.example.com,b.example.com",
	translate.AnnotationInfraSetting: "edge", translate.AnnotationSkipNodePort: "true", translate.AnnotationNodePortLocal: "true",
	translate.AnnotationVIPType: "public", translate.AnnotationAllowReplacement: "true", translate.AnnotationDrainTimeout: "-1",
	translate.AnnotationIPMode: "Proxy", translate.AnnotationSourceRanges: "10.0.0.0/8, fd00::/64", translate.AnnotationRule: "ns/rule",
	translate.AnnotationApplied:            `{"spec":{"ports":[{"port":80,"protocol":"SCTP"}]}}`,
	translate.AnnotationNodePortLocalPorts: `[{"podPort":9090,"nodeIP":"10.20.0.1","nodePort":61000,"protocol":"tcp"}]`,
}

// FuzzAnnotations gives every annotation the same value, and the static address too. The build never panics and what it emits is valid: an
// address that is asked for is one, and ranges let in no more than they say.
func FuzzAnnotations(f *testing.F) {
	for _, v := range annotations {
		f.Add(v)
	}
	for _, v := range []string{"", " ", ",", "0.0.0.0/0", "::/0,10.0.0.0/33", "::ffff:10.0.0.1", "fe80::1%eth0", "10.1.2.3/32", "null", "[]",
		"{", "7201", "1e3", "*.example.com", strings.Repeat("a.", 200), "\xff"} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, value string) {
		all := make(map[string]string, len(annotations))
		for name := range annotations {
			all[name] = value
		}
		svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "amf", Namespace: "core", Annotations: all}}
		svc.Spec.Type, svc.Spec.LoadBalancerIP = corev1.ServiceTypeLoadBalancer, value
		svc.Spec.Ports = []corev1.ServicePort{{Name: "a", Protocol: "SCTP", Port: 80}, {Name: "b", Protocol: "TCP", Port: 80}}
		slice := &discoveryv1.EndpointSlice{AddressType: discoveryv1.AddressTypeIPv4,
			Ports:     []discoveryv1.EndpointPort{{Name: new("a"), Protocol: new(corev1.ProtocolSCTP), Port: new(int32(9090))}},
			Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"10.244.1.5"}}}}
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "amf-1", Namespace: "core", Annotations: all}}
		for _, mode := range []settings.ServiceType{settings.ClusterIP, settings.NodePortLocal} {
			out := translate.Objects(translate.Input{
				Owner: translate.Service{Object: svc}, Namespace: &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Annotations: all}},
				Backends: []translate.Backend{{Service: svc, Slices: []*discoveryv1.EndpointSlice{slice}, SlicesRead: true, Pods: []*corev1.Pod{pod}}},
				Settings: &settings.Settings{ClusterName: "c", CreatedBy: "ako-c", Cloud: "Default-Cloud", Tenant: "admin", ServiceType: mode,
					Placement: placement.Placement{SEGroup: "Default-Group"}, AutoFQDN: settings.FQDNFlat},
				Facts: &model.Facts{LicenseTier: "ENTERPRISE", DNSDomains: []string{"example.com"}, Shared: map[model.Kind]map[string]string{
					model.NetworkProfile:     {"System-SCTP-Proxy": "1", "System-TCP-Proxy": "2"},
					model.HealthMonitor:      {"System-SCTP": "4", "System-TCP": "5"},
					model.ServiceEngineGroup: {"Default-Group": "6"},
				}},
			})
			valid(t, out)
			for _, o := range out.Set.Objects {
				if vip, ok := o.Body.(*models.VsVip); ok {
					plainAddresses(t, vip)
				}
			}
		}
	})
}

// plainAddresses are addresses that a Controller can take, of the family that they are said to have.
func plainAddresses(t *testing.T, vip *models.VsVip) {
	t.Helper()
	for _, v := range vip.Vip {
		for family, ip := range map[string]*models.IPAddr{"V4": v.IPAddress, "V6": v.Ip6Address} {
			if ip == nil {
				continue
			}
			a, err := netip.ParseAddr(*ip.Addr)
			if err != nil || a.Zone() != "" || a.Is4() != (family == "V4") || *ip.Type != family || a.IsUnspecified() || a.IsMulticast() {
				t.Errorf("%s address %q of type %s", family, *ip.Addr, *ip.Type)
			}
		}
	}
}
