package build

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/vmware/alb-sdk/go/models"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
)

// network is where an owner's objects are placed.
type network struct {
	vrf       string // empty where a tier-1 router is in force
	tier1     string
	vip       *settings.VIPNetwork // nil: the IPAM profile's usable networks
	placement []*models.PlacementNetwork
}

// publicClouds have one routing context; their VRF is always the global one.
var publicClouds = map[string]bool{"CLOUD_AWS": true, "CLOUD_AZURE": true, "CLOUD_GCP": true, "CLOUD_OPENSTACK": true}

// network follows AKO: a tier-1 router replaces VRFs; else the configured VRF, else that of the VIP network, else global.
func (b *builder) network() network {
	s, f := b.in.Settings, b.in.Facts
	var n network
	if len(s.VIPNetworks) > 0 {
		n.vip = &s.VIPNetworks[0]
		b.mustExist(model.Network, "VIP network", n.vip.Name, "vipNetworkList")
	}
	b.mustExist(model.ServiceEngineGroup, "Service Engine group", s.SEGroup, "serviceEngineGroupName")
	switch {
	case s.Tier1LR != "":
		n.tier1 = s.Tier1LR
	case publicClouds[f.Cloud.Type]:
		n.vrf = "global"
	case s.VRF != "":
		n.vrf = s.VRF
		b.mustExist(model.VrfContext, "VRF context", n.vrf, "vrfName")
	default:
		n.vrf = "global"
		if n.vip != nil {
			if vrf := f.NetworkVRF[n.vip.Name+n.vip.UUID]; vrf != "" {
				n.vrf = vrf
			}
		}
	}
	// Only these clouds place servers by network.
	if f.Cloud.Type == "CLOUD_VCENTER" || f.Cloud.Type == "CLOUD_NSXT" && f.Cloud.VLAN {
		n.placement = placement(s.NodeNetworks)
	}
	return n
}

func (b *builder) mustExist(kind model.Kind, what, name, key string) {
	if name == "" || b.in.Facts.Has(kind, name) {
		return
	}
	b.blockUnlessLive(model.ReasonReferenceMissing, fmt.Sprintf("the Controller's cloud %s has no %s %q; create it or mend %s in ConfigMap %s", b.in.Facts.Cloud.Name, what, name, key, settings.ConfigMapName))
}

func placement(networks []settings.NodeNetwork) []*models.PlacementNetwork {
	var out []*models.PlacementNetwork
	for _, n := range networks {
		for _, cidr := range n.CIDRs {
			out = append(out, &models.PlacementNetwork{NetworkRef: new(networkRef(n.Name, n.UUID)), Subnet: prefixOf(cidr)})
		}
	}
	return out
}

func networkRef(name, uuid string) string {
	if uuid != "" {
		return model.RefByUUID(model.Network, uuid)
	}
	return model.RefByName(model.Network, name)
}

// ipAddr is an address in the API's form: {"addr": "10.1.2.3", "type": "V4"}.
func ipAddr(a netip.Addr) *models.IPAddr {
	family := "V4"
	if a.Is6() {
		family = "V6"
	}
	return &models.IPAddr{Addr: new(a.String()), Type: &family}
}

// prefixOf reads a prefix that the settings have validated.
func prefixOf(cidr string) *models.IPAddrPrefix {
	p := netip.MustParsePrefix(strings.TrimSpace(cidr)).Masked()
	return &models.IPAddrPrefix{IPAddr: ipAddr(p.Addr()), Mask: new(int32(p.Bits()))}
}
