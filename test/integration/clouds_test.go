// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1beta1"
	"github.com/avi-l4-operator/avi-l4-operator/controllers"
	"github.com/avi-l4-operator/avi-l4-operator/internal/avi"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim"
	"github.com/avi-l4-operator/avi-l4-operator/test/suite"
)

// fixture is a Controller with the world that a text describes.
func fixture(t *testing.T, o avisim.Options, text string) suite.Option {
	t.Helper()
	o.FixtureFile = filepath.Join(t.TempDir(), "fixture.yaml")
	if err := os.WriteFile(o.FixtureFile, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return suite.WithSim(o)
}

// vip is the first VIP of a VsVip in a tenant.
func vip(e *suite.Env, tenant, name string) (vsvip, vip map[string]any) {
	e.T.Helper()
	vsvip, _ = e.Sim.Object("vsvip", tenant, name)
	vips, _ := vsvip["vip"].([]any)
	if len(vips) == 0 {
		e.T.Fatalf("VsVip %s/%s has no VIP: %v", tenant, name, vsvip)
	}
	vip, _ = vips[0].(map[string]any)
	return vsvip, vip
}

// unwritten wants that neither a restart nor the full reads after it write anything to the Controller.
func unwritten(e *suite.Env, services ...client.Object) {
	e.T.Helper()
	e.StopOperator()
	e.Sim.ResetRequests()
	e.Options.Refresh = 100 * time.Millisecond
	e.StartOperator()
	e.Loads(2)
	e.LookAgain("service", services...)
	for _, r := range e.Writes() {
		e.T.Errorf("written at rest: %s %s %s", r.Method, r.Path, r.Body)
	}
}

// TestVPC: addresses come from the VPC's networks, public or private.
func TestVPC(t *testing.T) {
	t.Parallel()
	e := suite.New(t, fixture(t, avisim.Options{}, `
clouds:
- name: nsx
  type: nsxt-overlay
  vrfs:
  - name: core
    tier1: /orgs/default/projects/telco/vpcs/core
  networks:
  - name: telco_AVISEPARATOR_core_AVISEPARATOR_PUBLIC
    vrf: core
    subnets: [{prefix: 198.51.100.0/24}]
  - name: telco_AVISEPARATOR_core_AVISEPARATOR_PRIVATE
    vrf: core
    subnets: [{prefix: 10.60.0.0/24}]
`), suite.WithConfig("cloudName", "nsx"), suite.WithConfig("vipNetworkList", "[]"),
		suite.WithConfig("vpcMode", "true"), suite.WithConfig("nsxtT1LR", "/orgs/default/projects/telco/vpcs/core"))
	n2 := suite.Port("SCTP", 38412)
	public, private, wrong := e.Service("public", n2), e.Service("private", n2), e.Service("wrong", n2)
	private.Annotations = map[string]string{translate.AnnotationVIPType: "private"}
	wrong.Annotations = map[string]string{translate.AnnotationVIPType: "secret"}
	e.Create(public, private, wrong)
	if a, b := e.Programmed(public), e.Programmed(private); !strings.HasPrefix(a, "198.51.100.") || !strings.HasPrefix(b, "10.60.0.") {
		t.Errorf("addresses %s and %s", a, b)
	}
	if m := e.Condition(wrong, "Accepted", metav1.ConditionFalse, "InvalidAnnotation"); !strings.Contains(m, "secret") {
		t.Errorf("message: %s", m)
	}
	vsvip, _ := vip(e, "admin", e.Name(public))
	if pool := e.Object("pool", e.PoolName(public, public.Spec.Ports[0])); vsvip["tier1_lr"] != "/orgs/default/projects/telco/vpcs/core" || pool["tier1_lr"] != vsvip["tier1_lr"] {
		t.Errorf("tier1_lr of the VsVip %v, of the pool %v", vsvip["tier1_lr"], pool["tier1_lr"])
	}
	unwritten(e, public, private)
}

// TestVIPPlacementOnVLAN: on NSX-T with VLAN segments a VIP is placed on its network.
func TestVIPPlacementOnVLAN(t *testing.T) {
	t.Parallel()
	e := suite.New(t, fixture(t, avisim.Options{}, `
clouds:
- name: vlan
  type: nsxt-vlan
  networks:
  - name: vlan-100
    subnets: [{prefix: 10.100.0.0/24}]
`), suite.WithConfig("cloudName", "vlan"), suite.WithConfig("vipNetworkList", `[{"networkName":"vlan-100","cidr":"10.100.0.0/24"}]`))
	svc := e.Service("amf", suite.Port("SCTP", 38412))
	e.Create(svc)
	e.Programmed(svc)
	_, v := vip(e, "admin", e.Name(svc))
	if networks, _ := v["placement_networks"].([]any); len(networks) != 1 || !strings.Contains(fmt.Sprint(networks[0]), "10.100.0.0") {
		t.Errorf("placement networks %v", v["placement_networks"])
	}
	unwritten(e, svc)
}

// TestOpenStackTenantHasItsVRF: objects of the configured tenant are in its own default VRF.
func TestOpenStackTenantHasItsVRF(t *testing.T) {
	t.Parallel()
	e := suite.New(t, fixture(t, avisim.Options{}, `
tenants:
- name: telco
clouds:
- name: openstack
  type: openstack
  networks:
  - name: subnet-1
    subnets: [{prefix: 10.70.0.0/24}]
objects:
- type: vrfcontext
  tenant: telco
  body:
    name: telco-default
    cloud_ref: /api/cloud?name=openstack
    system_default: true
`), suite.WithConfig("cloudName", "openstack"), suite.WithConfig("tenantName", "telco"), suite.WithConfig("vipNetworkList", `[{"networkName":"subnet-1"}]`))
	svc := e.Service("amf", suite.Port("SCTP", 38412))
	e.Create(svc)
	e.Programmed(svc)
	vsvip, v := vip(e, "telco", e.Name(svc))
	if !strings.HasSuffix(fmt.Sprint(vsvip["vrf_context_ref"]), "#telco-default") || v["subnet_uuid"] != "subnet-1" {
		t.Errorf("VRF %v, subnet %v", vsvip["vrf_context_ref"], v["subnet_uuid"])
	}
	unwritten(e, svc)
}

// TestEmptyLabelsClearTheConfigMaps: an empty list in a setting takes the labels off a live VsVip.
func TestEmptyLabelsClearTheConfigMaps(t *testing.T) {
	t.Parallel()
	e := suite.New(t, suite.WithConfig("enableRHI", "true"), suite.WithConfig("bgpPeerLabels", `["spine"]`))
	s := e.Setting("labels", v1beta1.AviInfraSettingSpec{Network: &v1beta1.AviInfraSettingNetwork{EnableRHI: new(true)}})
	e.Create(s)
	t.Cleanup(func() { suite.Forget(e, s) })
	svc := e.Service("amf", suite.Port("SCTP", 38412))
	svc.Annotations = map[string]string{translate.AnnotationInfraSetting: s.Name}
	e.Create(svc)
	e.Programmed(svc)
	if got := fmt.Sprint(e.Object("vsvip", e.Name(svc))["bgp_peer_labels"]); got != "[spine]" {
		t.Errorf("labels %s, want the ConfigMap's", got)
	}
	suite.Update(e, s, func(s *v1beta1.AviInfraSetting) { s.Spec.Network.BGPPeerLabels = []string{} })
	e.Eventually("no labels", func() error {
		if got, _ := e.Object("vsvip", e.Name(svc))["bgp_peer_labels"].([]any); len(got) > 0 {
			return fmt.Errorf("labels %v", got)
		}
		return nil
	})
	if e.Object("virtualservice", e.Name(svc))["enable_rhi"] != true {
		t.Error("route health injection went with the labels")
	}
	unwritten(e, svc)
}

// TestOlderEnterpriseTiersServeSCTP: what Controllers that were upgraded may still carry is Enterprise.
func TestOlderEnterpriseTiersServeSCTP(t *testing.T) {
	t.Parallel()
	for _, tier := range []string{"ENTERPRISE_16", "ENTERPRISE_18"} {
		e := suite.New(t, suite.WithSim(avisim.Options{LicenseTier: tier}))
		svc := e.Service("amf", suite.Port("SCTP", 38412), suite.Port("TCP", 80))
		e.Create(svc)
		e.Condition(svc, "Accepted", metav1.ConditionTrue, "Accepted")
		e.Programmed(svc)
	}
}

// TestDomainWithLeadingDot: the name is AKO's, and stays when the profile's spelling changes.
func TestDomainWithLeadingDot(t *testing.T) {
	t.Parallel()
	e := suite.New(t, fixture(t, avisim.Options{}, `
clouds:
- name: lab
  type: none
  networks:
  - name: vip-network
    subnets: [{prefix: 10.10.0.0/16}]
  dns: {domains: [.lab.example.org]}
`), suite.WithConfig("cloudName", "lab"), suite.WithConfig("defaultDomain", ".Lab.example.org"))
	svc := e.Service("amf", suite.Port("SCTP", 38412))
	e.Create(svc)
	e.Programmed(svc)
	vsvip, _ := vip(e, "admin", e.Name(svc))
	if got := fmt.Sprint(vsvip["dns_info"]); !strings.Contains(got, "amf."+e.Namespace+".lab.example.org") {
		t.Errorf("names %s", got)
	}
	unwritten(e, svc)
}

// TestNewerAPIVersion: with the Controller's own release as controllerVersion nothing is written at rest.
func TestNewerAPIVersion(t *testing.T) {
	t.Parallel()
	e := suite.New(t, suite.WithSim(avisim.Options{Version: "31.3.1"}), suite.WithConfig("controllerVersion", "31.3.1"))
	svc := e.Service("amf", suite.Port("SCTP", 38412))
	e.Create(svc, e.Slice(svc, "10.244.1.5"))
	e.Programmed(svc)
	if got := fmt.Sprint(e.Object("pool", e.PoolName(svc, svc.Spec.Ports[0]))["graceful_disable_timeout_sec"]); got != "60" {
		t.Errorf("drain time of %s seconds", got)
	}
	for _, r := range e.Sim.Requests() {
		if r.Version != "" && r.Version != "31.2.1" {
			t.Errorf("%s %s with version %s", r.Method, r.Path, r.Version)
		}
	}
	unwritten(e, svc)
}

// TestControllerReleases: SCTP is served on each release that docs/compatibility.md names, and a restart of reading it writes nothing.
func TestControllerReleases(t *testing.T) {
	t.Parallel()
	for _, release := range []string{"22.1.3", "30.1.1", "31.1.1", "31.2.1"} {
		t.Run(release, func(t *testing.T) {
			t.Parallel()
			e := suite.New(t, suite.WithSim(avisim.Options{Version: release}))
			svc := e.Service("amf", suite.Port("SCTP", 38412))
			e.Create(svc, e.Slice(svc, "10.244.1.5"))
			e.Programmed(svc)
			for _, w := range e.Writes() {
				if w.Status >= 400 {
					t.Errorf("the Controller refused %s %s: %s", w.Method, w.Path, w.Response)
				}
			}
			unwritten(e, svc)
		})
	}
}

// TestOperatorOutlivesItsToken: the Secret's token ends, and Services go on being served.
func TestOperatorOutlivesItsToken(t *testing.T) {
	t.Parallel()
	e := suite.New(t, suite.WithOptions(func(o *controllers.Options) { o.TokenCheck = 20 * time.Millisecond }))
	admin, err := avi.New(avi.Config{Host: e.Sim.Host(), Username: "admin", Password: "avi123$%", CA: e.Sim.CAPEM()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { admin.Close(context.Background()) })
	raw, err := admin.Create(t.Context(), "user-token", "", map[string]string{"hours": "1"})
	if err != nil {
		t.Fatal(err)
	}
	var given struct{ UUID, Token string }
	if err := json.Unmarshal(raw, &given); err != nil {
		t.Fatal(err)
	}
	first := e.Service("first", suite.Port("SCTP", 38412))
	e.Create(first)
	e.Programmed(first)
	e.Sim.ResetRequests()
	e.Credentials(func(s map[string][]byte) { s["authtoken"], s["password"] = []byte(given.Token), nil })
	e.Eventually("another token", func() error {
		for _, r := range e.Writes() {
			if r.Type == "user-token" && r.Method == http.MethodPost && r.Status == http.StatusCreated {
				return nil
			}
		}
		return fmt.Errorf("none was made: %v", e.Calls())
	})
	if err := admin.Delete(t.Context(), "user-token", "", given.UUID); err != nil {
		t.Fatal(err)
	}
	e.Sim.ExpireSessions()
	second := e.Service("second", suite.Port("SCTP", 38412))
	e.Create(second)
	e.Programmed(second)

	// This operator's role lets it write the Secret, so the next one logs in with what is there.
	var secret corev1.Secret
	e.Eventually("the token in the Secret", func() error {
		if err := e.Client.Get(t.Context(), client.ObjectKey{Namespace: e.System, Name: settings.SecretName}, &secret); err != nil {
			return err
		}
		if has := string(secret.Data["authtoken"]); has == given.Token || has == "" || len(secret.Data["password"]) > 0 {
			return fmt.Errorf("it is still the old one: %t, of %d characters", has == given.Token, len(has))
		}
		return nil
	})
	e.StopOperator()
	e.Sim.ExpireSessions()
	e.StartOperator()
	third := e.Service("third", suite.Port("SCTP", 38412))
	e.Create(third)
	e.Programmed(third)
}
