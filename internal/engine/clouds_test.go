// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/avi-l4-operator/avi-l4-operator/internal/mirror"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim"
)

// TestCloudsAtRest: on each kind of cloud the Controller takes what is sent and answers it so that nothing is sent again.
func TestCloudsAtRest(t *testing.T) {
	const vpc = "/orgs/default/projects/telco/vpcs/core"
	for name, c := range map[string]struct {
		fixture, tenant string
		config          map[string]string
		want            []string // texts in the VsVip
	}{
		"NSX-T VPC": {`
clouds:
- name: here
  type: nsxt-overlay
  vrfs: [{name: core, tier1: ` + vpc + `}]
  networks:
  - name: telco_AVISEPARATOR_core_AVISEPARATOR_PUBLIC
    vrf: core
    subnets: [{prefix: 198.51.100.0/24}]
`, "admin", map[string]string{"vpcMode": "true", "nsxtT1LR": vpc, "vipNetworkList": "[]"},
			[]string{"subnet_uuid:telco_AVISEPARATOR_core_AVISEPARATOR_PUBLIC", "tier1_lr:" + vpc, "198.51.100."}},
		"NSX-T VLAN": {`
clouds:
- name: here
  type: nsxt-vlan
  networks:
  - name: vlan-100
    subnets: [{prefix: 10.100.0.0/24}]
`, "admin", map[string]string{"vipNetworkList": `[{"networkName":"vlan-100","cidr":"10.100.0.0/24"}]`},
			[]string{"placement_networks:[map[network_ref:", "10.100.0."}},
		"OpenStack": {`
tenants:
- name: telco
clouds:
- name: here
  type: openstack
  networks:
  - name: subnet-1
    subnets: [{prefix: 10.70.0.0/24}]
objects:
- type: vrfcontext
  tenant: telco
  body:
    name: telco-default
    cloud_ref: /api/cloud?name=here
    system_default: true
`, "telco", map[string]string{"vipNetworkList": `[{"networkName":"subnet-1"}]`, "tenantName": "telco"},
			[]string{"#telco-default", "subnet_uuid:subnet-1"}},
		"AWS": {`
clouds:
- name: here
  type: aws
  networks:
  - name: subnet-1
    subnets: [{prefix: 10.80.0.0/24}]
  - name: subnet-2
    subnets: [{prefix: 10.81.0.0/24}]
`, "admin", map[string]string{"vipNetworkList": `[{"networkName":"subnet-1"},{"networkName":"subnet-2"}]`},
			[]string{"#global", "subnet_uuid:subnet-1", "subnet_uuid:subnet-2", "10.80.0.", "10.81.0."}},
		"a DNS domain with a dot": {`
clouds:
- name: here
  type: none
  networks:
  - name: vip-network
    subnets: [{prefix: 10.10.0.0/16}]
  dns: {domains: [.Lab.example.org]}
`, "admin", map[string]string{"autoFQDN": "default", "defaultDomain": "lab.example.org."},
			[]string{"fqdn:amf.core.lab.example.org"}},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "fixture.yaml")
			if err := os.WriteFile(file, []byte(c.fixture), 0o600); err != nil {
				t.Fatal(err)
			}
			w := worldOf(t, avisim.Options{FixtureFile: file}, "")
			config := map[string]string{
				"clusterName": "c1", "controllerIP": w.sim.Host(), "cloudName": "here", "autoFQDN": "disabled",
				"vipNetworkList": `[{"networkName":"vip-network","cidr":"10.10.0.0/16"}]`,
			}
			maps.Copy(config, c.config)
			var err error
			w.cfg, _, err = settings.Parse(config, map[string][]byte{"username": []byte("admin"), "password": []byte("x")}, "avi-system")
			w.must(err)
			w.mirror.SetScope(mirror.Scope{ClusterName: "c1", CreatedBy: "ako-c1", Cloud: "here", Tenant: w.cfg.Tenant})
			w.load()
			w.served()
			vsvip, ok := w.sim.Object(string(model.VsVip), c.tenant, amfName)
			for _, want := range c.want {
				if !ok || !strings.Contains(fmt.Sprint(vsvip), want) {
					t.Errorf("the VsVip lacks %s: %v", want, vsvip)
				}
			}
			w.wrote()
			for range 2 {
				w.load()
				w.served()
			}
			w.wantUnchanged()
		})
	}
}
