package translate

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/vmware/alb-sdk/go/models"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
)

// Live is what the Controller already serves for the owner. A port that serves is never given up because the
// Controller's licence, release or objects, or an AviInfraSetting, look different today.
type Live struct {
	Exists             bool                // there is a VirtualService
	Ports              map[model.Port]bool // those that have a pool; true if it has servers
	Pools              map[string]livePool // by name
	ApplicationProfile string
	NetworkProfile     string
	ProtocolMatch      bool     // the L4 rules match protocols
	DNSNames           []string // those of the VsVip
	addresses          []netip.Addr
	hostNames          []string // those of the VirtualService's metadata, in its order
	network            network

	ofSets  map[model.Port]bool // the ports that ListenerSets added
	rules   []*models.L4Rule
	objects map[model.Key]*model.Observed // pools and pool groups
}

// livePool is a pool that there is.
type livePool struct {
	service string   // "<namespace>/<name>" behind it, where the pool tells
	servers bool     // it has some
	names   []string // in DNS, of the Service
	members map[netip.AddrPort]bool
}

// LiveOf reads from an owner's observed objects what serves. Pools have their port from the names that the input would
// give them, or from their own names and markers where it has no use for them any more.
func LiveOf(in *Input, observed []*model.Observed) Live {
	wanted := PoolPorts(in)
	live := Live{Ports: make(map[model.Port]bool), Pools: make(map[string]livePool), objects: make(map[model.Key]*model.Observed), ofSets: make(map[model.Port]bool)}
	var placed *models.Pool // the first by name
	placedName := ""
	for _, o := range observed {
		switch body := o.Body.(type) {
		case *models.VirtualService:
			live.Exists = true
			live.ApplicationProfile, live.NetworkProfile = refName(body.ApplicationProfileRef), refName(body.NetworkProfileRef)
			live.hostNames = metadataOf(body.ServiceMetadata).HostNames
			live.network.seGroup, live.network.rhi = again(body.SeGroupRef), body.EnableRhi
		case *models.L4PolicySet:
			live.ProtocolMatch = live.ProtocolMatch || matchesProtocols(body)
			if body.L4ConnectionPolicy != nil {
				live.rules = append(live.rules, body.L4ConnectionPolicy.Rules...)
			}
		case *models.PoolGroup:
			live.objects[o.Key] = o
		case *models.VsVip:
			for _, d := range body.DNSInfo {
				if d != nil && d.Fqdn != nil {
					live.DNSNames = append(live.DNSNames, *d.Fqdn)
				}
			}
			live.network.vrf, live.network.tier1, live.network.labels = again(body.VrfContextRef), body.Tier1Lr, body.BgpPeerLabels
			live.network.vips, live.addresses = vipsOf(body), addressesOf(body)
		case *models.Pool:
			port, ok := wanted[o.Key.Name]
			if !ok {
				port, ok = portOf(o.Key.Name, body.Markers)
			}
			live.Pools[o.Key.Name] = livePool{service: serviceOf(body), servers: len(body.Servers) > 0, names: NamesOf(body), members: membersOf(body)}
			live.objects[o.Key] = o
			if ok {
				live.Ports[port] = live.Ports[port] || len(body.Servers) > 0
				live.ofSets[port] = live.ofSets[port] || model.Mark(body.Markers, model.MarkListenerSet) != ""
			}
			if placed == nil || o.Key.Name < placedName {
				placed, placedName = body, o.Key.Name
			}
		}
	}
	if !live.Exists {
		return Live{}
	}
	live.network.kept, live.network.withPool = len(live.network.vips) > 0, placed != nil
	if placed != nil {
		for _, n := range placed.PlacementNetworks {
			if n != nil {
				live.network.placement = append(live.network.placement, &models.PlacementNetwork{NetworkRef: again(n.NetworkRef), Subnet: n.Subnet})
			}
		}
	}
	slices.Sort(live.DNSNames)
	return live
}

// vipsOf reads where each VIP's address comes from.
func vipsOf(body *models.VsVip) []vipSource {
	var out []vipSource
	for _, v := range body.Vip {
		if v == nil {
			continue
		}
		s := vipSource{id: deref(v.VipID, "0"), allocate: v.AutoAllocateIPType, floating: v.AutoAllocateFloatingIP}
		if n := v.IPAMNetworkSubnet; n != nil {
			s.subnet = &models.IPNetworkSubnet{NetworkRef: again(n.NetworkRef), Subnet: n.Subnet, Subnet6: n.Subnet6, SubnetUUID: n.SubnetUUID, Subnet6UUID: n.Subnet6UUID}
		}
		out = append(out, s)
	}
	return out
}

func addressesOf(body *models.VsVip) (out []netip.Addr) {
	for _, v := range body.Vip {
		if v == nil {
			continue
		}
		for _, ip := range []*models.IPAddr{v.IPAddress, v.Ip6Address} {
			if ip == nil {
				continue
			}
			if a, err := netip.ParseAddr(deref(ip.Addr, "")); err == nil {
				out = append(out, a)
			}
		}
	}
	return out
}

func membersOf(body *models.Pool) map[netip.AddrPort]bool {
	out := make(map[netip.AddrPort]bool, len(body.Servers))
	for _, s := range body.Servers {
		if s == nil || s.IP == nil || s.Port == nil {
			continue
		}
		if a, err := netip.ParseAddr(deref(s.IP.Addr, "")); err == nil {
			out[netip.AddrPortFrom(a, uint16(*s.Port))] = true
		}
	}
	return out
}

// serviceOf is the Service that a Gateway's pool names.
func serviceOf(pool *models.Pool) string {
	if of := metadataOf(pool.ServiceMetadata).NamespaceServiceName; len(of) > 0 {
		return of[0]
	}
	return ""
}

// again is a reference as it can be sent back.
func again(ref *string) *string {
	if ref == nil {
		return nil
	}
	r := model.ParseRef(*ref)
	switch {
	case r.UUID != "":
		return new(model.RefByUUID(r.Kind, r.UUID))
	case r.Name != "":
		return new(model.RefByName(r.Kind, r.Name))
	}
	return nil
}

func refName(ref *string) string {
	if ref == nil {
		return ""
	}
	return model.ParseRef(*ref).Name
}

func matchesProtocols(set *models.L4PolicySet) bool {
	if set.L4ConnectionPolicy == nil {
		return false
	}
	return slices.ContainsFunc(set.L4ConnectionPolicy.Rules, func(r *models.L4Rule) bool {
		return r != nil && r.Match != nil && r.Match.Protocol != nil
	})
}

// portOf reads a pool's port from its markers and the end of its name, "-SCTP-38412".
func portOf(name string, marks []*models.RoleFilterMatchLabel) (model.Port, bool) {
	number, err := strconv.ParseInt(model.Mark(marks, model.MarkPort), 10, 32)
	if err != nil {
		return model.Port{}, false
	}
	port := model.Port{Number: int32(number), Protocol: model.Mark(marks, model.MarkProtocol)}
	for _, p := range protocols {
		if port.Protocol == "" && strings.HasSuffix(name, "-"+p.name+"-"+strconv.FormatInt(number, 10)) {
			port.Protocol = p.name
		}
	}
	return port, port.Protocol != ""
}

// PoolPorts lists the pools that the input may want, with their ports.
func PoolPorts(in *Input) map[string]model.Port { return in.Owner.pools(in) }
