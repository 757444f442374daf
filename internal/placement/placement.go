// SPDX-License-Identifier: Apache-2.0

// Package placement says where on the Controller an owner's objects go: which Service Engine group, which networks, which
// routing. The operator's ConfigMap gives the default, an AviInfraSetting overrides it field by field.
package placement

import (
	"cmp"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1beta1"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
)

// Placement is complete: what an AviInfraSetting leaves open holds the ConfigMap's value.
type Placement struct {
	// Setting is the AviInfraSetting that it comes from; empty for the ConfigMap alone.
	Setting       string
	SEGroup       string
	Tier1LR       string // NSX-T tier-1 path; replaces VRF references
	VIPNetworks   []VIPNetwork
	NodeNetworks  []NodeNetwork
	EnableRHI     bool
	BGPPeerLabels []string
	PublicIP      *bool // floating addresses on public clouds; nil: the Controller's default
	// VPC: on an NSX-T cloud Tier1LR is the path of a VPC, which brings the networks of the addresses.
	VPC bool
	// Overridden are the fields that the AviInfraSetting gives.
	Overridden Fields
}

// Fields is a set of those that refer to something on the Controller.
type Fields uint8

// The fields of a set.
const (
	SEGroup Fields = 1 << iota
	Tier1LR
	VIPNetworks
	NodeNetworks
)

// VIPNetwork is a network from which VIP addresses are allocated.
type VIPNetwork struct {
	Name   string `json:"networkName,omitempty"`
	UUID   string `json:"networkUUID,omitempty"`
	CIDR   string `json:"cidr,omitempty"`
	V6CIDR string `json:"v6cidr,omitempty"`
}

// NodeNetwork is a network on which the Service Engines reach the servers.
type NodeNetwork struct {
	Name  string   `json:"networkName,omitempty"`
	UUID  string   `json:"networkUUID,omitempty"`
	CIDRs []string `json:"cidrs,omitempty"`
}

// public clouds have one routing context, floating addresses, and networks that the Controller doesn't list.
var public = map[string]bool{"CLOUD_AWS": true, "CLOUD_AZURE": true, "CLOUD_GCP": true, "CLOUD_OPENSTACK": true}

// unlisted are the public clouds whose networks are no objects of the Controller: they are named by their own ids.
var unlisted = map[string]bool{"CLOUD_AWS": true, "CLOUD_AZURE": true}

// subnetByID are the public clouds on which a VIP network is named by its subnet's id and each gets a VIP of its own.
var subnetByID = map[string]bool{"CLOUD_AWS": true, "CLOUD_AZURE": true, "CLOUD_OPENSTACK": true}

// vpcPath is the path of an NSX-T VPC: its project and its name.
var vpcPath = regexp.MustCompile(`^/orgs/[^/]+/projects/([^/]+)/vpcs/([^/]+)$`)

// InVPC reports whether addresses come from the networks of an NSX-T VPC: then there are no VIP networks to choose.
func InVPC(p Placement, c model.CloudFacts) bool { return p.VPC && c.Type == "CLOUD_NSXT" }

// VPCSubnet is the id under which the Controller knows a VPC's network for addresses of a type, PUBLIC or PRIVATE; "" if the
// path is not that of a VPC.
func VPCSubnet(path, addresses string) string {
	m := vpcPath.FindStringSubmatch(path)
	if m == nil {
		return ""
	}
	return strings.Join([]string{m[1], m[2], addresses}, "_AVISEPARATOR_")
}

// PlacesVIPs reports whether the cloud has to be told on which network a Service Engine has a VIP: NSX-T with VLAN segments.
func PlacesVIPs(c model.CloudFacts) bool { return c.Type == "CLOUD_NSXT" && c.VLAN }

// GlobalVRF is the VRF context that every cloud has.
const GlobalVRF = "global"

// VRF names the VRF context of objects and routes that no tier-1 router is in force for, by AKO's rule: on OpenStack the configured
// tenant's own default, on other public clouds global; else the configured one; in NodePort mode global; else that of the
// first VIP network; else global.
func VRF(p Placement, configured string, nodePort bool, f *model.Facts) string {
	switch {
	case f.Cloud.Type == "CLOUD_OPENSTACK":
		return cmp.Or(f.TenantVRF, GlobalVRF)
	case Public(f.Cloud):
		return GlobalVRF
	case configured != "":
		return configured
	case nodePort:
		return GlobalVRF
	case len(p.VIPNetworks) > 0:
		n, _ := f.Network(p.VIPNetworks[0].Name, p.VIPNetworks[0].UUID)
		return cmp.Or(n.VRF, GlobalVRF)
	}
	return GlobalVRF
}

// Public reports whether a cloud is a public one.
func Public(c model.CloudFacts) bool { return public[c.Type] }

// BySubnetID reports whether VIP networks are subnets' ids, one VIP for each, as AKO has it on these clouds.
func BySubnetID(c model.CloudFacts) bool { return subnetByID[c.Type] }

// ByNetwork reports whether the cloud places servers by network: the others ignore node networks.
func ByNetwork(c model.CloudFacts) bool {
	return c.Type == "CLOUD_VCENTER" || c.Type == "CLOUD_NSXT" && c.VLAN
}

// Overlay puts an AviInfraSetting over a placement. What the setting leaves out stays, as with AKO; BGP labels go with
// its own enableRhi. The result must be checked before it is used.
func Overlay(base Placement, s *v1beta1.AviInfraSetting) Placement {
	p := base
	p.Setting = s.Name
	if g := s.Spec.SEGroup; g != nil {
		p.SEGroup = g.Name
		p.Overridden |= SEGroup
	}
	if n := s.Spec.NSXSettings; n != nil && n.T1LR != "" {
		p.Tier1LR = n.T1LR
		p.Overridden |= Tier1LR
	}
	n := s.Spec.Network
	if n == nil {
		return p
	}
	if len(n.VipNetworks) > 0 {
		p.Overridden |= VIPNetworks
		p.VIPNetworks = make([]VIPNetwork, len(n.VipNetworks))
		for i, v := range n.VipNetworks {
			p.VIPNetworks[i] = VIPNetwork{Name: v.NetworkName, UUID: v.NetworkUUID, CIDR: v.CIDR, V6CIDR: v.V6CIDR}
		}
	}
	if len(n.NodeNetworks) > 0 {
		p.Overridden |= NodeNetworks
		p.NodeNetworks = make([]NodeNetwork, len(n.NodeNetworks))
		for i, v := range n.NodeNetworks {
			p.NodeNetworks[i] = NodeNetwork{Name: v.NetworkName, UUID: v.NetworkUUID, CIDRs: v.CIDRs}
		}
	}
	if n.EnableRHI != nil {
		p.EnableRHI = *n.EnableRHI
	}
	if n.BGPPeerLabels != nil { // an empty list clears the ConfigMap's
		p.BGPPeerLabels = n.BGPPeerLabels
	}
	if !p.EnableRHI {
		p.BGPPeerLabels = nil
	}
	p.PublicIP = cmp.Or(n.EnablePublicIP, p.PublicIP)
	return p
}

// Problem is why a placement can't be used.
type Problem struct {
	// Inherited: it is the ConfigMap's value that is wrong, which the AviInfraSetting doesn't override.
	Inherited bool
	Message   string
}

// Valid looks at an AviInfraSetting by itself. The API server has looked already, unless the CRD is an older one.
func Valid(s *v1beta1.AviInfraSetting) []Problem {
	n := s.Spec.Network
	if n == nil || len(n.BGPPeerLabels) == 0 || n.EnableRHI != nil && *n.EnableRHI {
		return nil
	}
	return []Problem{{Message: "spec.network.bgpPeerLabels needs spec.network.enableRhi true: labels choose the BGP peers to which routes are advertised, and without route health injection none are"}}
}

// Check looks at every value, and at every reference on the Controller. An empty result means that it can be used.
func Check(p Placement, f *model.Facts) []Problem {
	c := checker{p: p, f: f}
	if p.SEGroup != "" && !f.Has(model.ServiceEngineGroup, p.SEGroup) {
		c.field = SEGroup
		c.wrong("the Controller's cloud %s has no Service Engine group %q; create it or fix %s", f.Cloud.Name, p.SEGroup, c.at("serviceEngineGroupName", "spec.seGroup.name"))
	}
	for i, n := range p.VIPNetworks {
		if InVPC(p, f.Cloud) {
			break // they are not used
		}
		c.field = VIPNetworks
		at := c.at(fmt.Sprintf("vipNetworkList[%d]", i), fmt.Sprintf("spec.network.vipNetworks[%d]", i))
		subnets, ok := c.network(at, "VIP network", n.Name, n.UUID)
		c.prefix(at, "cidr", n.CIDR, false, ok, subnets)
		c.prefix(at, "v6cidr", n.V6CIDR, true, ok, subnets)
	}
	for i, n := range p.NodeNetworks {
		c.field = NodeNetworks
		at := c.at(fmt.Sprintf("nodeNetworkList[%d]", i), fmt.Sprintf("spec.network.nodeNetworks[%d]", i))
		subnets, ok := c.network(at, "node network", n.Name, n.UUID)
		for _, cidr := range n.CIDRs {
			six := strings.Contains(cidr, ":")
			c.prefix(at, "cidrs", cidr, six, ok, subnets)
		}
	}
	c.tier1()
	return c.out
}

// checker collects problems.
type checker struct {
	p     Placement
	f     *model.Facts
	field Fields // that is being looked at
	out   []Problem
}

func (c *checker) inherited() bool { return c.p.Overridden&c.field == 0 }

// at names a field where the user finds it.
func (c *checker) at(key, path string) string {
	if c.inherited() {
		return key + " of ConfigMap avi-k8s-config"
	}
	return path
}

func (c *checker) wrong(format string, args ...any) {
	c.out = append(c.out, Problem{Inherited: c.inherited(), Message: fmt.Sprintf(format, args...)})
}

// network finds a network and returns its subnets; ok is false where nothing can be said of them.
func (c *checker) network(at, what, name, uuid string) (subnets []netip.Prefix, ok bool) {
	switch {
	case (name == "") == (uuid == ""):
		c.wrong("%s needs exactly one of networkName and networkUUID", at)
		return nil, false
	case unlisted[c.f.Cloud.Type]:
		return nil, false
	}
	var found []model.NetworkFacts
	for _, n := range c.f.Networks {
		if name != "" && n.Name == name || uuid != "" && n.UUID == uuid {
			found = append(found, n)
		}
	}
	switch len(found) {
	case 0:
		c.wrong("the Controller's cloud %s has no %s %q; create it or fix %s", c.f.Cloud.Name, what, name+uuid, at)
		return nil, false
	case 1:
		return found[0].Subnets, len(found[0].Subnets) > 0
	}
	c.wrong("the Controller's cloud %s has %d networks called %q; choose one by networkUUID in %s", c.f.Cloud.Name, len(found), name, at)
	return nil, false
}

// prefix checks a CIDR, and that it lies inside one of the network's subnets where it has any.
func (c *checker) prefix(at, field, text string, six, known bool, subnets []netip.Prefix) {
	if text == "" {
		return
	}
	p, err := netip.ParsePrefix(strings.TrimSpace(text))
	if err != nil || p.Addr().Is6() != six {
		example := "an IPv4 prefix such as 10.1.0.0/16"
		if six {
			example = "an IPv6 prefix such as fd00:1::/64"
		}
		c.wrong("%s: %s %q is not %s", at, field, text, example)
		return
	}
	if !known || slices.ContainsFunc(subnets, func(s netip.Prefix) bool { return s.Bits() <= p.Bits() && s.Contains(p.Addr()) }) {
		return
	}
	list := make([]string, len(subnets))
	for i, s := range subnets {
		list[i] = s.String()
	}
	slices.Sort(list)
	c.wrong("%s: %s %s lies in none of the network's subnets on the Controller (%s)", at, field, p, strings.Join(list, ", "))
}

// tier1 checks a tier-1 router's path. The cloud lists its routers where it was configured with them.
func (c *checker) tier1() {
	c.field = Tier1LR
	at := c.at("nsxtT1LR", "spec.nsxSettings.t1lr")
	switch t := c.p.Tier1LR; {
	case InVPC(c.p, c.f.Cloud):
		if VPCSubnet(t, "") == "" {
			c.wrong("%s: vpcMode needs the path of a VPC such as /orgs/default/projects/telco/vpcs/core, not %q", at, t)
		}
	case t == "":
	case c.f.Cloud.Type != "CLOUD_NSXT":
		c.wrong("%s: tier-1 routers are for NSX-T clouds, the Controller's cloud %s is a %s", at, c.f.Cloud.Name, c.f.Cloud.Type)
	case !strings.HasPrefix(t, "/"):
		c.wrong("%s: %q is not the path of a tier-1 router such as /infra/tier-1s/telco", at, t)
	case len(c.f.Cloud.Tier1LRs) > 0 && !slices.Contains(c.f.Cloud.Tier1LRs, t):
		c.wrong("%s: the Controller's cloud %s has no tier-1 router %s; it has %s", at, c.f.Cloud.Name, t, strings.Join(c.f.Cloud.Tier1LRs, ", "))
	}
}

// Notes say which parts of an AviInfraSetting over base have no effect here, without making it unusable.
func Notes(base Placement, s *v1beta1.AviInfraSetting, f *model.Facts) []string {
	var out []string
	vpc := InVPC(base, f.Cloud)
	n := s.Spec.Network
	if n != nil && n.EnablePublicIP != nil && !Public(f.Cloud) {
		out = append(out, "enablePublicIP has no effect on a "+f.Cloud.Type)
	}
	if n != nil && len(n.NodeNetworks) > 0 && !ByNetwork(f.Cloud) {
		out = append(out, "nodeNetworks have no effect on a "+f.Cloud.Type+", which doesn't place servers by network")
	}
	if n != nil && len(n.VipNetworks) > 0 && vpc {
		out = append(out, "vipNetworks have no effect in vpcMode: the VPC has its own")
	}
	if n != nil && len(n.VipNetworks) > 1 && !vpc && !BySubnetID(f.Cloud) {
		out = append(out, "only the first of the vipNetworks is used on a "+f.Cloud.Type)
	}
	if s.Spec.L7Settings != nil || n != nil && len(n.Listeners) > 0 {
		out = append(out, "l7Settings and listeners concern layer 7 only")
	}
	return out
}
