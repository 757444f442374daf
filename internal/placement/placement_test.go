// SPDX-License-Identifier: Apache-2.0

package placement

import (
	"net/netip"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1beta1"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
)

func facts(cloud string) *model.Facts {
	return &model.Facts{
		Cloud: model.CloudFacts{Name: "cloud", Type: cloud, Tier1LRs: []string{"/infra/tier-1s/telco"}},
		Networks: []model.NetworkFacts{
			{Name: "vip", UUID: "net-1", Subnets: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fd00:1::/64")}},
			{Name: "dhcp", UUID: "net-2"},
			{Name: "twin", UUID: "net-3"}, {Name: "twin", UUID: "net-4"},
		},
		Shared: map[model.Kind]map[string]string{model.ServiceEngineGroup: {"Default-Group": "seg-1", "telco": "seg-2"}},
	}
}

func setting(spec v1beta1.AviInfraSettingSpec) *v1beta1.AviInfraSetting {
	return &v1beta1.AviInfraSetting{ObjectMeta: metav1.ObjectMeta{Name: "s"}, Spec: spec}
}

func TestCheck(t *testing.T) {
	vip := func(v ...v1beta1.VipNetwork) v1beta1.AviInfraSettingSpec {
		return v1beta1.AviInfraSettingSpec{Network: &v1beta1.AviInfraSettingNetwork{VipNetworks: v}}
	}
	node := func(v ...v1beta1.NodeNetwork) v1beta1.AviInfraSettingSpec {
		return v1beta1.AviInfraSettingSpec{Network: &v1beta1.AviInfraSettingNetwork{NodeNetworks: v}}
	}
	t1 := func(path string) v1beta1.AviInfraSettingSpec {
		return v1beta1.AviInfraSettingSpec{NSXSettings: &v1beta1.AviInfraSettingNSXSettings{T1LR: path}}
	}
	tests := []struct {
		name, cloud string
		spec        v1beta1.AviInfraSettingSpec
		want        string // part of the one problem; empty: none
	}{
		{"nothing", "CLOUD_NONE", v1beta1.AviInfraSettingSpec{}, ""},
		{"SE group", "CLOUD_NONE", v1beta1.AviInfraSettingSpec{SEGroup: &v1beta1.AviInfraSettingSEGroup{Name: "telco"}}, ""},
		{"SE group missing", "CLOUD_NONE", v1beta1.AviInfraSettingSpec{SEGroup: &v1beta1.AviInfraSettingSEGroup{Name: "x"}}, "spec.seGroup.name"},
		{"network by name", "CLOUD_NONE", vip(v1beta1.VipNetwork{NetworkName: "vip", CIDR: "10.1.2.0/24", V6CIDR: "fd00:1::/64"}), ""},
		{"network by UUID", "CLOUD_NONE", vip(v1beta1.VipNetwork{NetworkUUID: "net-1"}), ""},
		{"network missing", "CLOUD_NONE", vip(v1beta1.VipNetwork{NetworkName: "x"}), "spec.network.vipNetworks[0]"},
		{"second network missing", "CLOUD_NONE", vip(v1beta1.VipNetwork{NetworkName: "vip"}, v1beta1.VipNetwork{NetworkUUID: "x"}),
			"spec.network.vipNetworks[1]"},
		{"network of two names", "CLOUD_NONE", vip(v1beta1.VipNetwork{NetworkName: "vip", NetworkUUID: "net-1"}), "exactly one"},
		{"network without a name", "CLOUD_NONE", vip(v1beta1.VipNetwork{}), "exactly one"},
		{"ambiguous network", "CLOUD_VCENTER", vip(v1beta1.VipNetwork{NetworkName: "twin"}), "networkUUID"},
		{"ambiguous network by UUID", "CLOUD_VCENTER", vip(v1beta1.VipNetwork{NetworkUUID: "net-4"}), ""},
		{"CIDR outside", "CLOUD_NONE", vip(v1beta1.VipNetwork{NetworkName: "vip", CIDR: "10.2.0.0/16"}), "10.1.0.0/16"},
		{"CIDR wider", "CLOUD_NONE", vip(v1beta1.VipNetwork{NetworkName: "vip", CIDR: "10.0.0.0/8"}), "10.1.0.0/16"},
		{"CIDR of a network without subnets", "CLOUD_NONE", vip(v1beta1.VipNetwork{NetworkName: "dhcp", CIDR: "10.2.0.0/16"}), ""},
		{"CIDR of the other family", "CLOUD_NONE", vip(v1beta1.VipNetwork{NetworkName: "vip", V6CIDR: "10.1.0.0/16"}), "IPv6 prefix"},
		{"no CIDR", "CLOUD_NONE", vip(v1beta1.VipNetwork{NetworkName: "vip", CIDR: "10.1.0.0/33"}), "IPv4 prefix"},
		{"subnet of AWS", "CLOUD_AWS", vip(v1beta1.VipNetwork{NetworkName: "subnet-12"}), ""},
		{"node network", "CLOUD_VCENTER", node(v1beta1.NodeNetwork{NetworkName: "vip", CIDRs: []string{"10.1.0.0/24", "fd00:1::/64"}}), ""},
		{"node network missing", "CLOUD_VCENTER", node(v1beta1.NodeNetwork{NetworkName: "x"}), "spec.network.nodeNetworks[0]"},
		{"tier-1", "CLOUD_NSXT", t1("/infra/tier-1s/telco"), ""},
		{"tier-1 missing", "CLOUD_NSXT", t1("/infra/tier-1s/x"), "/infra/tier-1s/telco"},
		{"tier-1 no path", "CLOUD_NSXT", t1("telco"), "path"},
		{"tier-1 elsewhere", "CLOUD_VCENTER", t1("/infra/tier-1s/telco"), "NSX-T"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := Check(Overlay(Placement{SEGroup: "Default-Group"}, setting(test.spec)), facts(test.cloud))
			switch {
			case test.want == "" && len(got) > 0:
				t.Errorf("problems: %+v", got)
			case test.want != "" && (len(got) != 1 || !strings.Contains(got[0].Message, test.want) || got[0].Inherited):
				t.Errorf("problems: %+v, want one about %s", got, test.want)
			}
		})
	}
}

// TestOverlayIsFieldByField: what a setting leaves out is the ConfigMap's, and so is the blame for it.
func TestOverlayIsFieldByField(t *testing.T) {
	base := Placement{SEGroup: "gone", VIPNetworks: []VIPNetwork{{Name: "vip"}}, EnableRHI: true, BGPPeerLabels: []string{"a"}}
	p := Overlay(base, setting(v1beta1.AviInfraSettingSpec{Network: &v1beta1.AviInfraSettingNetwork{EnablePublicIP: new(true)}}))
	if p.SEGroup != "gone" || len(p.VIPNetworks) != 1 || !p.EnableRHI || len(p.BGPPeerLabels) != 1 || !*p.PublicIP || p.Setting != "s" {
		t.Errorf("placement is %+v", p)
	}
	if got := Check(p, facts("CLOUD_NONE")); len(got) != 1 || !got[0].Inherited || !strings.Contains(got[0].Message, "ConfigMap") {
		t.Errorf("problems: %+v", got)
	}
	off := Overlay(base, setting(v1beta1.AviInfraSettingSpec{Network: &v1beta1.AviInfraSettingNetwork{EnableRHI: new(false)}}))
	if off.EnableRHI || off.BGPPeerLabels != nil {
		t.Errorf("labels without RHI: %+v", off)
	}
	none := Overlay(base, setting(v1beta1.AviInfraSettingSpec{Network: &v1beta1.AviInfraSettingNetwork{BGPPeerLabels: []string{}}}))
	if !none.EnableRHI || len(none.BGPPeerLabels) != 0 {
		t.Errorf("an empty list of labels inherits: %+v", none)
	}
	if base.PublicIP != nil || len(base.BGPPeerLabels) != 1 {
		t.Error("the base was changed")
	}
}

func TestVRF(t *testing.T) {
	for name, c := range map[string]struct {
		cloud, tenantVRF, configured string
		nodePort                     bool
		want                         string
	}{
		"of the VIP network":         {"CLOUD_VCENTER", "", "", false, "blue"},
		"configured":                 {"CLOUD_VCENTER", "", "red", false, "red"},
		"configured, NodePort":       {"CLOUD_NONE", "", "red", true, "red"},
		"NodePort":                   {"CLOUD_VCENTER", "", "", true, "global"},
		"a tenant's elsewhere":       {"CLOUD_VCENTER", "own", "", false, "blue"},
		"public":                     {"CLOUD_AWS", "own", "red", false, "global"},
		"OpenStack":                  {"CLOUD_OPENSTACK", "own", "red", true, "own"},
		"OpenStack without a tenant": {"CLOUD_OPENSTACK", "", "red", false, "global"},
	} {
		f := facts(c.cloud)
		f.TenantVRF, f.Networks[0].VRF = c.tenantVRF, "blue"
		if got := VRF(Placement{VIPNetworks: []VIPNetwork{{Name: "vip"}}}, c.configured, c.nodePort, f); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	if got := VRF(Placement{}, "", false, facts("CLOUD_VCENTER")); got != "global" {
		t.Errorf("without a network: %s", got)
	}
}

func TestVPC(t *testing.T) {
	for path, want := range map[string]string{
		"/orgs/default/projects/telco/vpcs/core":       "telco_AVISEPARATOR_core_AVISEPARATOR_PRIVATE",
		"/infra/tier-1s/telco":                         "",
		"/orgs/default/projects/telco/vpcs/core/x":     "",
		"/orgs/default/projects//vpcs/core":            "",
		"orgs/default/projects/telco/vpcs/core":        "",
		"/orgs/default/projects/telco/tier-1s/gateway": "",
		"": "",
	} {
		if got := VPCSubnet(path, "PRIVATE"); got != want {
			t.Errorf("%q: subnet %q, want %q", path, got, want)
		}
		p := Placement{VPC: true, Tier1LR: path, VIPNetworks: []VIPNetwork{{Name: "nowhere"}}}
		if problems := Check(p, facts("CLOUD_NSXT")); (len(problems) == 0) != (want != "") {
			t.Errorf("%q: problems %+v", path, problems)
		}
		if InVPC(p, model.CloudFacts{Type: "CLOUD_VCENTER"}) {
			t.Error("a VPC on a vCenter")
		}
	}
	nets := v1beta1.AviInfraSettingSpec{Network: &v1beta1.AviInfraSettingNetwork{
		VipNetworks: []v1beta1.VipNetwork{{NetworkName: "a"}, {NetworkName: "b"}},
	}}
	if got := Notes(Placement{VPC: true}, setting(nets), facts("CLOUD_NSXT")); len(got) != 1 || !strings.Contains(got[0], "vpcMode") {
		t.Errorf("notes %q", got)
	}
}

func TestLabelsNeedRHI(t *testing.T) {
	with := func(rhi *bool) *v1beta1.AviInfraSetting {
		return setting(v1beta1.AviInfraSettingSpec{Network: &v1beta1.AviInfraSettingNetwork{EnableRHI: rhi, BGPPeerLabels: []string{"a"}}})
	}
	if len(Valid(with(nil))) != 1 || len(Valid(with(new(false)))) != 1 || len(Valid(with(new(true)))) != 0 {
		t.Error("labels are for RHI only")
	}
}
