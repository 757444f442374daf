// SPDX-License-Identifier: Apache-2.0

package translate_test

import (
	"slices"
	"testing"
	"time"

	"github.com/vmware/alb-sdk/go/models"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/placement"
	"github.com/avi-l4-operator/avi-l4-operator/internal/plan"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
)

// FuzzSharedVIP is FuzzService for groups: whatever two Services ask for, the third, which asks for nothing odd, is served, unless the
// group as a whole can't be.
func FuzzSharedVIP(f *testing.F) {
	f.Add("n2", "core", "amf", "10.1.2.3", "SCTP", "true", "amf.example.com", "n2 2026-01-01T00:00:00Z", int32(38412), uint8(0))
	f.Add("n 2", "a-b", "5g", "nowhere", "sctp", "maybe", "..", "n4", int32(53), uint8(0xff))
	f.Add("", "", "", "", "", "", "", "", int32(0), uint8(0x55))
	f.Fuzz(func(t *testing.T, group, namespace, name, ip, protocol, traffic, hostname, joined string, port int32, bits uint8) {
		bit := func(i int) bool { return bits>>i&1 == 1 }
		service := func(name string, age int, annotations map[string]string, ports ...corev1.ServicePort) *corev1.Service {
			annotations[translate.AnnotationSharedVIP] = group
			return &corev1.Service{
				ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace, Annotations: annotations,
					CreationTimestamp: metav1.NewTime(time.Unix(int64(100-age), 0))},
				Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, Ports: ports},
			}
		}
		odd := map[string]string{
			translate.AnnotationLoadBalancerIP: ip, translate.AnnotationDisableTraffic: traffic, translate.AnnotationHostname: hostname,
			translate.AnnotationJoined: joined, translate.AnnotationApplicationProfile: traffic, translate.AnnotationInfraSetting: hostname,
		}
		members := []*corev1.Service{
			service(name+"1", 1, odd, corev1.ServicePort{Protocol: corev1.Protocol(protocol), Port: port}, corev1.ServicePort{Protocol: "SCTP", Port: 36412}),
			service(name+"2", 2, map[string]string{}, corev1.ServicePort{Protocol: corev1.Protocol(protocol), Port: port}),
			service(name+"3", 3, map[string]string{}, corev1.ServicePort{Protocol: "SCTP", Port: 65535}),
		}
		slices.SortFunc(members, translate.CompareSeniority(group))
		in := translate.Input{
			Owner:     translate.SharedVIP{Namespace: namespace, Group: group, Members: members},
			Namespace: &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{translate.AnnotationTenant: traffic}}},
			Settings: &settings.Settings{ClusterName: "c", CreatedBy: "ako-c", Cloud: "Default-Cloud", Tenant: "admin", HashNames: bit(0),
				Placement: placement.Placement{SEGroup: "Default-Group"}, AutoFQDN: []settings.FQDNMode{settings.FQDNDefault, settings.FQDNDisabled}[bits>>1&1]},
			Facts: &model.Facts{LicenseTier: "ENTERPRISE", Version: "30.2.1", Cloud: model.CloudFacts{Type: "CLOUD_NONE"}, Shared: map[model.Kind]map[string]string{
				model.NetworkProfile:     {"System-SCTP-Proxy": "1", "System-TCP-Proxy": "2", "System-UDP-Fast-Path": "3"},
				model.HealthMonitor:      {"System-SCTP": "4", "System-TCP": "5", "System-UDP": "6"},
				model.ServiceEngineGroup: {"Default-Group": "6"},
			}},
			Live: translate.Live{Exists: bit(2)},
		}
		if bit(3) {
			in.Facts.DNSDomains = []string{"example.com"}
		}
		for _, m := range members {
			in.Backends = append(in.Backends, translate.Backend{Service: m, SlicesRead: !bit(4), Slices: []*discoveryv1.EndpointSlice{}})
		}
		out := translate.Objects(in)
		valid(t, out)
		if p := plan.Diff(&out.Set, nil, plan.Policy{}); out.Blocked != p.Empty() {
			t.Errorf("blocked %v, plan %s", out.Blocked, p.String())
		}
		whole := func(f model.Finding) bool { return f.About == "" && f.Severity == model.Blocked }
		quiet := slices.ContainsFunc(out.Set.Objects, func(o model.Object) bool {
			p, ok := o.Body.(*models.Pool)
			return ok && model.Mark(p.Markers, model.MarkPort) == "65535"
		})
		if !quiet && !slices.ContainsFunc(out.Findings, whole) && len(name) < 60 && len(group)+len(namespace) < 100 && port != 65535 {
			t.Errorf("the Service that asks for nothing odd isn't served: %+v", out.Findings)
		}
	})
}
