// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"strings"
	"testing"

	"github.com/vmware/alb-sdk/go/models"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
)

// meant are two bodies of a kind, with what a plan between them says: "" for nothing.
type meant struct {
	want, have any
	plan       string
}

func server(ip string, more func(*models.Server)) *models.Server {
	s := &models.Server{IP: &models.IPAddr{Addr: new(ip), Type: new("V4")}, Port: new(int32(80)), Enabled: new(true)}
	if more != nil {
		more(s)
	}
	return s
}

func service(port uint32, override string) *models.Service {
	s := &models.Service{Port: new(port), PortRangeEnd: new(port)}
	if override != "" {
		s.OverrideNetworkProfileRef = ref(model.NetworkProfile, override)
	}
	return s
}

func rule(index int32, port int64) *models.L4Rule {
	return &models.L4Rule{
		Name: new(strings.Repeat("r", int(port))), Index: new(index),
		Match: &models.L4RuleMatchTarget{Port: &models.L4RulePortMatch{MatchCriteria: new("IS_IN"), Ports: []int64{port}}},
	}
}

func rules(list ...*models.L4Rule) *models.L4PolicySet {
	return &models.L4PolicySet{L4ConnectionPolicy: &models.L4ConnectionPolicy{Rules: list}}
}

func placed(networks ...string) *models.Pool {
	p := &models.Pool{}
	for _, n := range networks {
		at := &models.PlacementNetwork{NetworkRef: ref(model.Network, n), Subnet: &models.IPAddrPrefix{Mask: new(int32(24))}}
		p.PlacementNetworks = append(p.PlacementNetworks, at)
	}
	return p
}

// TestMeaning: what means nothing for traffic is no difference, and is put right only with something that is one.
func TestMeaning(t *testing.T) {
	pool := func(sum string, servers ...*models.Server) *models.Pool {
		return &models.Pool{CloudConfigCksum: new(sum), Servers: servers}
	}
	vs := func(services ...*models.Service) *models.VirtualService {
		return &models.VirtualService{Services: services}
	}
	about := func(text string) *models.VirtualService { return &models.VirtualService{ServiceMetadata: new(text)} }
	node := func(s *models.Server) { s.ServerNode, s.ExternalUUID = new("node-1"), new("10.0.0.1:80") }
	off := func(s *models.Server) { s.Enabled = new(false) }
	for name, c := range map[string]meant{
		"another checksum": {pool("0"), pool("4711"), ""},
		"no checksum":      {pool("0"), &models.Pool{}, `cloud_config_cksum: (unset) -> "0"`},
		"another checksum and other server": {
			pool("0", server("10.0.0.1", off)), pool("4711", server("10.0.0.1", nil)), `cloud_config_cksum: "4711" -> "0"`,
		},
		"AKO's checksum, kept": {
			pool("4711", server("10.0.0.1", off)), pool("4711", server("10.0.0.1", nil)), "servers: 10.0.0.1:80 -> 10.0.0.1:80 disabled",
		},
		"a server's node": {pool("0", server("10.0.0.1", node)), pool("0", server("10.0.0.1", nil)), ""},
		"servers in another order": {
			pool("0", server("10.0.0.1", nil), server("10.0.0.2", off)), pool("0", server("10.0.0.2", off), server("10.0.0.1", nil)), "",
		},
		"ports in another order": {vs(service(80, ""), service(81, "u")), vs(service(81, "u"), service(80, "")), ""},
		"protocols of one port, other order": {
			vs(service(80, ""), service(80, "u"), service(80, "s")), vs(service(80, "s"), service(80, ""), service(80, "u")), "",
		},
		"a protocol of one port differs": {
			vs(service(80, ""), service(80, "u")), vs(service(80, "s"), service(80, "")), "services: 80 with s -> 80 with u",
		},
		"one protocol twice instead of two": {vs(service(80, "u"), service(80, "u")), vs(service(80, "u"), service(80, "s")),
			"services: - 80 with s"},
		"rules in another order":    {rules(rule(0, 1), rule(1, 2)), rules(rule(0, 2), rule(1, 1)), ""},
		"rules with other numbers":  {rules(rule(0, 1), rule(1, 2)), rules(rule(5, 1), rule(3, 2)), ""},
		"a rule more":               {rules(rule(0, 1), rule(1, 2)), rules(rule(0, 2)), "l4_connection_policy: + port [1] -> pool ?"},
		"networks in another order": {placed("a", "b"), placed("b", "a"), ""},
		"another network":           {placed("a", "b"), placed("b", "c"), "placement_networks"},
		"monitors in another order": {
			&models.Pool{HealthMonitorRefs: []string{"/api/healthmonitor?name=a", "/api/healthmonitor?name=b"}},
			&models.Pool{HealthMonitorRefs: []string{"/api/healthmonitor?name=b", "/api/healthmonitor?name=a"}}, "",
		},
		"labels in another order": {&models.VsVip{BgpPeerLabels: []string{"a", "b"}}, &models.VsVip{BgpPeerLabels: []string{"b", "a"}}, ""},
		"another label": {
			&models.VsVip{BgpPeerLabels: []string{"a", "b"}}, &models.VsVip{BgpPeerLabels: []string{"b", "c"}}, "bgp_peer_labels",
		},
		"metadata of another release": {
			about(`{"hostnames":["a","b"],"namespace_svc_name":["n/s"],"pool_ratio":0}`),
			about(`{"namespace_svc_name":["n/s"],"hostnames":["b","a"],"extra":1}`), "",
		},
		"metadata of another Service": {
			about(`{"namespace_svc_name":["n/s"]}`), about(`{"namespace_svc_name":["n/t"]}`),
			`service_metadata namespace_svc_name: ["n/t"] -> ["n/s"]`,
		},
		"metadata with a name more":    {about(`{"hostnames":null}`), about(`{"hostnames":["a"]}`), `service_metadata hostnames: ["a"] -> (unset)`},
		"metadata that can't be read":  {about(`{"hostnames":null}`), about("{"), "service_metadata"},
		"metadata that isn't anything": {about(`{}`), &models.VirtualService{}, "service_metadata"},
	} {
		kind := model.Pool
		switch c.want.(type) {
		case *models.VirtualService:
			kind = model.VirtualService
		case *models.L4PolicySet:
			kind = model.L4PolicySet
		case *models.VsVip:
			kind = model.VsVip
		}
		want := set(model.Object{Key: key(kind, "x"), Body: c.want})
		p := Diff(want, []*model.Observed{{Key: key(kind, "x"), UUID: "x-1", Owner: amf, Body: c.have}}, Policy{})
		switch text := p.String(); {
		case c.plan == "" && (!p.Empty() || len(p.Findings) > 0):
			t.Errorf("%s: %s", name, text)
		case c.plan != "" && !strings.Contains(text, c.plan):
			t.Errorf("%s: %s\nis without %s", name, text, c.plan)
		}
	}
}
