// SPDX-License-Identifier: Apache-2.0

package translate_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/vmware/alb-sdk/go/models"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1alpha2"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/placement"
	"github.com/avi-l4-operator/avi-l4-operator/internal/plan"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
)

// FuzzService feeds whatever the API server lets through, and more, to the build: it never panics, and what it emits is
// valid: names within limits, ports and addresses in range, every reference within the set answered, nothing twice.
func FuzzService(f *testing.F) {
	f.Add("amf", "core", "10.1.2.3", "SCTP", int32(38412), int32(9090), "10.244.1.5", "host.example.com", "ENTERPRISE", "", uint8(0))
	f.Add("5g", "a-b", "fd00::1", "UDP", int32(53), int32(0), "fd00::5", "a,b..c,", "BASIC", "22.1.2", uint8(7))
	f.Add("", "", "0.0.0.0", "sctp", int32(0), int32(70000), "::ffff:10.0.0.1", "-", "", "x.y", uint8(255))
	f.Add("amf", "core", " 10.1.2.3", "TCP", int32(80), int32(-1), "not-an-ip", "\x00", "ENTERPRISE", "30.2.1", uint8(42))
	f.Add("amf", "core", "", "SCTP", int32(38412), int32(9090), "10.244.1.5", "10.0.0.0/8, fd00::/64,::ffff:10.0.0.0/104", "ENTERPRISE", "", uint8(64))
	f.Add("amf", "core", "", "SCTP", int32(38412), int32(9090), "10.244.1.5", "10.0.0.0/33,,x", "BASIC", "", uint8(64|16))
	f.Add("amf", "core", "", "SCTP", int32(38412), int32(86400), "10.244.1.5", "", "ENTERPRISE", "", uint8(128))
	f.Add("amf", "core", "10.1.2.3", "TCP", int32(80), int32(80), "10.0.0.1", "System-TCP-Proxy", "ENTERPRISE", "30.2.1", uint8(0x90))
	f.Add("amf", "core", "", "SCTP", int32(80), int32(80), "10.0.0.1", "", "ENTERPRISE", "30.2.1", uint8(0x50))
	f.Fuzz(func(t *testing.T, name, namespace, ip, protocol string, port, target int32, endpoint, hostname, tier, version string, bits uint8) {
		bit := func(i int) bool { return bits>>i&1 == 1 }
		svc := &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace, Annotations: map[string]string{
				translate.AnnotationHostname: hostname, translate.AnnotationDisableTraffic: hostname, translate.AnnotationApplicationProfile: tier,
				translate.AnnotationDrainTimeout: version, translate.AnnotationIPMode: tier,
			}},
			Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, LoadBalancerIP: ip, Ports: []corev1.ServicePort{
				{Name: "a", Protocol: corev1.Protocol(protocol), Port: port}, {Name: "b", Protocol: corev1.ProtocolSCTP, Port: 36412}, {Name: "c", Protocol: corev1.ProtocolTCP, Port: 36412},
			}},
		}
		if bit(6) {
			svc.Spec.LoadBalancerSourceRanges = strings.Split(hostname, ",")
		}
		if bit(7) {
			svc.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
			svc.Spec.SessionAffinityConfig = &corev1.SessionAffinityConfig{ClientIP: &corev1.ClientIPConfig{TimeoutSeconds: &target}}
		}
		slice := &discoveryv1.EndpointSlice{
			AddressType: discoveryv1.AddressTypeIPv4,
			Ports:       []discoveryv1.EndpointPort{{Name: new("a"), Protocol: new(corev1.Protocol(protocol)), Port: &target}, {Name: new("b"), Protocol: new(corev1.ProtocolSCTP), Port: &target}, {}},
			Endpoints: []discoveryv1.Endpoint{
				{Addresses: []string{endpoint}, Conditions: discoveryv1.EndpointConditions{Ready: new(bit(0)), Terminating: new(bit(1))}},
				{Addresses: []string{"10.0.0.1"}}, {}},
		}
		in := translate.Input{
			Owner: translate.Service{Object: svc}, Namespace: &corev1.Namespace{},
			Backends: []translate.Backend{{Service: svc, Slices: []*discoveryv1.EndpointSlice{slice}, SlicesRead: !bit(2)}},
			Settings: &settings.Settings{ClusterName: "c", CreatedBy: "ako-c", Cloud: "Default-Cloud", Tenant: "admin", Placement: placement.Placement{SEGroup: "Default-Group"}, HashNames: bit(3), AutoFQDN: settings.FQDNFlat},
			Facts: &model.Facts{Version: version, LicenseTier: tier, DNSDomains: []string{"example.com"}, Shared: map[model.Kind]map[string]string{
				model.NetworkProfile:     {"System-SCTP-Proxy": "1", "System-TCP-Proxy": "2", "System-UDP-Fast-Path": "3"},
				model.HealthMonitor:      {"System-SCTP": "4", "System-TCP": "5"},
				model.ServiceEngineGroup: {"Default-Group": "6"},
			}},
			Live: translate.Live{Exists: bit(4), Ports: map[model.Port]bool{{Number: port, Protocol: protocol}: bit(5)}},
		}
		in.Rule = rule(hostname, ip, protocol, port, bits)
		in.Backends[0].Rule = in.Rule
		out := translate.Objects(in)
		valid(t, out)
		if p := plan.Diff(&out.Set, nil, plan.Policy{}); out.Blocked != p.Empty() {
			t.Errorf("blocked %v, plan %s", out.Blocked, p.String())
		}
	})
}

// rule is an L4Rule made of the same matter, or none.
func rule(name, ip, protocol string, port int32, bits uint8) translate.Rule {
	if bits>>6 == 0 {
		return translate.Rule{}
	}
	spec := v1alpha2.L4RuleSpec{
		LoadBalancerIP: ip, NetworkProfileRef: name, VsDatascriptRefs: []string{name, ""}, SecurityPolicyRef: name,
		AnalyticsPolicy:   &v1alpha2.AnalyticsPolicy{FullClientLogs: &v1alpha2.FullClientLogs{Duration: &port, Throttle: &port}},
		PerformanceLimits: &v1alpha2.PerformanceLimits{MaxConcurrentConnections: &port},
		BackendProperties: []v1alpha2.BackendProperties{{Port: port, Protocol: protocol, MinServersUp: &port, HealthMonitorRefs: []string{name}},
			{Port: 36412, Protocol: "TCP", Enabled: new(false)}},
	}
	if bits>>7 == 1 {
		spec.ListenerProperties = []v1alpha2.ListenerProperties{{Port: port, Protocol: protocol, EnableSsl: new(true)}}
		spec.SslKeyAndCertificateRefs = []string{name}
	}
	out := translate.Rule{Name: "ns/rule", Object: &v1alpha2.L4Rule{Spec: spec}}
	if bits == 0xff {
		out.Object = nil
	}
	return out
}

func valid(t *testing.T, out translate.Result) {
	t.Helper()
	if out.Blocked {
		if len(out.Set.Objects) > 0 || len(out.Findings) == 0 {
			t.Errorf("blocked with %d objects and %d findings", len(out.Set.Objects), len(out.Findings))
		}
		return
	}
	have := map[model.Key]bool{}
	for _, o := range out.Set.Objects {
		if have[o.Key] {
			t.Errorf("%s twice", o.Key)
		}
		have[o.Key] = true
		if len(o.Key.Name) > model.MaxNameLength {
			t.Errorf("%s is too long", o.Key)
		}
		refer := func(kind model.Kind, ref *string) {
			key := model.Key{Kind: kind, Tenant: o.Key.Tenant, Name: model.ParseRef(*ref).Name}
			if !have[key] {
				t.Errorf("%s refers to %s, which isn't before it in the set", o.Key, key)
			}
		}
		switch b := o.Body.(type) {
		case *models.Pool:
			seen := map[string]bool{}
			for _, s := range b.Servers {
				id := fmt.Sprint(*s.IP.Addr, *s.Port)
				if *s.Port < 1 || *s.Port > 65535 || seen[id] {
					t.Errorf("server %s", id)
				}
				seen[id] = true
			}
			if b.ApplicationPersistenceProfileRef != nil {
				refer(model.PersistenceProfile, b.ApplicationPersistenceProfileRef)
			}
		case *models.ApplicationPersistenceProfile:
			if m := *b.IPPersistenceProfile.IPPersistentTimeout; m < 1 || m > 720 {
				t.Errorf("%s: a timeout of %d minutes", o.Key, m)
			}
		case *models.L4PolicySet:
			for _, r := range b.L4ConnectionPolicy.Rules {
				if group := r.Action.SelectPool.PoolGroupRef; group != nil {
					refer(model.PoolGroup, group)
					continue
				}
				refer(model.Pool, r.Action.SelectPool.PoolRef)
			}
		case *models.PoolGroup:
			total := uint32(0)
			for _, m := range b.Members {
				refer(model.Pool, m.PoolRef)
				if *m.Ratio > 1000 {
					t.Errorf("ratio %d", *m.Ratio)
				}
				total += *m.Ratio
			}
			if total == 0 {
				t.Errorf("%s gives nobody a share", o.Key)
			}
		case *models.NetworkSecurityPolicy:
			for _, r := range b.Rules {
				for _, p := range r.Match.ClientIP.Prefixes {
					if _, err := netip.ParsePrefix(fmt.Sprintf("%s/%d", *p.IPAddr.Addr, *p.Mask)); err != nil {
						t.Errorf("%s: %v", o.Key, err)
					}
				}
			}
		case *models.VirtualService:
			refer(model.VsVip, b.VsvipRef)
			if b.NetworkSecurityPolicyRef != nil {
				refer(model.NetworkSecurityPolicy, b.NetworkSecurityPolicyRef)
			}
			if b.PoolRef != nil {
				refer(model.Pool, b.PoolRef)
			}
			for _, p := range b.L4Policies { // none while nothing is behind any port
				refer(model.L4PolicySet, p.L4PolicySetRef)
			}
			if len(b.Services) == 0 {
				t.Error("a VirtualService without a port")
			}
		}
	}
}
