// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/placement"
	"github.com/avi-l4-operator/avi-l4-operator/internal/plan"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
)

// input is a Service of one SCTP port with the number of endpoints.
func input(endpoints int) translate.Input {
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "amf", Namespace: "core"}, Spec: corev1.ServiceSpec{
		Type: corev1.ServiceTypeLoadBalancer, IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol},
		Ports: []corev1.ServicePort{{Protocol: corev1.ProtocolSCTP, Port: 38412, TargetPort: intstr.FromInt32(9090)}},
	}}
	slice := &discoveryv1.EndpointSlice{AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{{Name: new(""), Protocol: new(corev1.ProtocolSCTP), Port: new(int32(9090))}}}
	for i := range endpoints {
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{Addresses: []string{fmt.Sprintf("10.244.%d.%d", i/250, 1+i%250)}, NodeName: new("node-1"), Conditions: discoveryv1.EndpointConditions{Ready: new(true)}})
	}
	return translate.Input{
		Owner: translate.Service{Object: svc}, Namespace: &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "core"}},
		Backends: []translate.Backend{{Service: svc, Slices: []*discoveryv1.EndpointSlice{slice}, SlicesRead: true}},
		Settings: &settings.Settings{ClusterName: "bench", CreatedBy: "ako-bench", Cloud: "Default-Cloud", Tenant: "admin",
			AutoFQDN:  settings.FQDNDefault,
			Placement: placement.Placement{SEGroup: "Default-Group", VIPNetworks: []placement.VIPNetwork{{Name: "vip-network", CIDR: "10.10.0.0/16"}}}},
		Facts: &model.Facts{Version: "30.2.1", LicenseTier: "ENTERPRISE", DNSDomains: []string{"avi.local"},
			Cloud:    model.CloudFacts{Name: "Default-Cloud", Type: "CLOUD_VCENTER"},
			Networks: []model.NetworkFacts{{Name: "vip-network", UUID: "net", VRF: "global", Subnets: []netip.Prefix{netip.MustParsePrefix("10.10.0.0/16")}}},
			Shared: map[model.Kind]map[string]string{
				model.NetworkProfile: {"System-SCTP-Proxy": "np"}, model.HealthMonitor: {"System-SCTP": "hm"},
				model.ServiceEngineGroup: {"Default-Group": "seg"}, model.VrfContext: {"global": "vrf"},
			}},
	}
}

// observed is what the Controller would hold of the set.
func observed(set model.Set) []*model.Observed {
	var out []*model.Observed
	for i, o := range set.Objects {
		out = append(out, &model.Observed{Key: o.Key, UUID: fmt.Sprint(i), Owner: set.Owner, Body: o.Body})
	}
	return out
}

func BenchmarkBuildAndPlan(b *testing.B) {
	for _, endpoints := range []int{2, 500, 5000} {
		b.Run(fmt.Sprintf("endpoints=%d", endpoints), func(b *testing.B) {
			b.ReportAllocs()
			pipeline(b, endpoints)
		})
	}
}

func pipeline(b *testing.B, endpoints int) {
	in := input(endpoints)
	have := observed(translate.Objects(in).Set)
	b.ResetTimer()
	for range b.N {
		built := translate.Objects(in)
		if p := plan.Diff(&built.Set, have, plan.Policy{}); !p.Empty() || len(built.Set.Objects) != 4 {
			b.Fatal(p.String())
		}
	}
}

// buildAndPlan measures by hand: testing.Benchmark can't be called from a benchmark.
func buildAndPlan() []row {
	return []row{
		timed("build and plan of one Service", 5000, 2, "goal: 100 us, 20 KiB"),
		timed("the same, with 5,000 endpoints", 50, 5000, "goal: 5 ms with its PATCH"),
	}
}

func timed(what string, rounds, endpoints int, goal string) row {
	in := input(endpoints)
	have := observed(translate.Objects(in).Set)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	begin := time.Now()
	for range rounds {
		built := translate.Objects(in)
		plan.Diff(&built.Set, have, plan.Policy{})
	}
	took := time.Since(begin)
	runtime.ReadMemStats(&after)
	return row{what, fmt.Sprintf("%.0f us, %.1f KiB", float64(took.Microseconds())/float64(rounds), float64(after.TotalAlloc-before.TotalAlloc)/float64(rounds)/1024), goal}
}
