// SPDX-License-Identifier: Apache-2.0

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
	Ports              map[model.Port]bool // those that a rule sends to a pool; true if that has servers
	Pools              map[string]livePool // by name
	ApplicationProfile string
	NetworkProfile     string
	ProtocolMatch      bool     // the L4 rules match protocols
	DNSNames           []string // those of the VsVip
	addresses          []netip.Addr
	hostNames          []string // those of the VirtualService's metadata, in its order
	network            network
	ssl                bool // TLS is ended, and the VirtualService has a pool of its own instead of a policy

	ofSets  map[model.Port]bool // the ports that ListenerSets added
	rules   []*models.L4Rule
	objects map[model.Key]*model.Observed // pools and pool groups, also those without a VirtualService
	policy  *models.L4PolicySet
	// removesPorts is the VirtualService's remove_listening_port_on_vs_down.
	removesPorts *bool
	// security is our own NetworkSecurityPolicy, and securityRef the one that the VirtualService refers to.
	security    *model.Observed
	securityRef *string
	// profiles are the persistence profiles of ours that the pools refer to.
	profiles []*model.Observed

	services []*models.Service
	homeless map[string]*models.IPNetworkSubnet // VIPs of which the Controller doesn't know any more on which networks they are
	ruled    map[model.Key][]string             // the fields that an L4Rule set
	crd      map[model.Key]crdStatus            // what AKO noted of an L4Rule
}

// Remember says which fields of an object an L4Rule set, where its markers don't: it was taken over from AKO.
func (l *Live) Remember(key model.Key, fields []string) {
	if l.Exists && l.ruled[key] == nil && len(fields) > 0 {
		l.ruled[key] = fields
	}
}

// noteRule reads what is known of an L4Rule from a body.
func (l *Live) noteRule(key model.Key, marks []*models.RoleFilterMatchLabel, text *string) {
	if fields := model.MarkValues(marks, model.MarkRule); len(fields) > 0 {
		l.ruled[key] = fields
	}
	if m := metadataOf(text); m.CRDStatus.Type == "L4Rule" {
		l.crd[key] = m.CRDStatus
	}
}

// livePool is a pool that there is.
type livePool struct {
	service string   // "<namespace>/<name>" behind it, where the pool names it
	servers bool     // it has some
	names   []string // in DNS, of the Service
	// checksum is AKO's or, where the operator has written the pool, noChecksum.
	checksum string
	members  map[netip.AddrPort]bool
	monitors []string // references
}

// LiveOf reads from an owner's observed objects what serves. Pools have their port from the names that the input would
// give them, or from their own names and markers where it has no use for them any more.
func LiveOf(in *Input, observed []*model.Observed) Live {
	wanted := PoolPorts(in)
	live := Live{
		Ports: make(map[model.Port]bool), Pools: make(map[string]livePool), objects: make(map[model.Key]*model.Observed),
		ofSets: make(map[model.Port]bool), ruled: make(map[model.Key][]string), crd: make(map[model.Key]crdStatus),
	}
	chosen := Chosen(observed)
	var placed *models.Pool // the first by name
	placedName := ""
	for _, o := range observed {
		switch body := o.Body.(type) {
		case *models.VirtualService:
			live.noteVirtualService(o.Key, body)
		case *models.L4PolicySet:
			live.policy = body
			live.ProtocolMatch = live.ProtocolMatch || matchesProtocols(body)
			live.rules = append(live.rules, rulesOf(body)...)
		case *models.NetworkSecurityPolicy:
			live.security = o
		case *models.ApplicationPersistenceProfile:
			live.profiles = append(live.profiles, o)
		case *models.PoolGroup:
			live.objects[o.Key] = o
		case *models.VsVip:
			live.noteVsVip(body)
		case *models.Pool:
			port, ok := wanted[o.Key.Name]
			if !ok {
				port, ok = portOf(o.Key.Name, body.Markers)
			}
			live.objects[o.Key] = o
			live.notePool(o.Key, body, port, ok && chosen[o.Key.Name])
			if placed == nil || o.Key.Name < placedName {
				placed, placedName = body, o.Key.Name
			}
		}
	}
	if !live.Exists {
		return Live{objects: live.objects, profiles: live.profiles} // what the network team set on a pool survives
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

func (l *Live) noteVirtualService(key model.Key, body *models.VirtualService) {
	l.Exists = true
	l.ApplicationProfile, l.NetworkProfile = refName(body.ApplicationProfileRef), refName(body.NetworkProfileRef)
	l.securityRef = body.NetworkSecurityPolicyRef
	l.hostNames = metadataOf(body.ServiceMetadata).HostNames
	l.removesPorts = body.RemoveListeningPortOnVsDown
	l.network.seGroup, l.network.rhi = again(body.SeGroupRef), body.EnableRhi
	l.services, l.ssl = body.Services, body.PoolRef != nil && len(body.L4Policies) == 0
	l.noteRule(key, body.Markers, body.ServiceMetadata)
}

func (l *Live) noteVsVip(body *models.VsVip) {
	for _, d := range body.DNSInfo {
		if d != nil && d.Fqdn != nil {
			l.DNSNames = append(l.DNSNames, *d.Fqdn)
		}
	}
	l.network.vrf, l.network.tier1, l.network.labels = again(body.VrfContextRef), body.Tier1Lr, body.BgpPeerLabels
	l.network.vips, l.homeless, l.addresses = vipsOf(body), homelessOf(body), addressesOf(body)
}

// notePool notes a pool; its port is open if a rule leads to the pool.
func (l *Live) notePool(key model.Key, body *models.Pool, port model.Port, open bool) {
	l.Pools[key.Name] = poolOf(body)
	l.noteRule(key, body.Markers, body.ServiceMetadata)
	if open {
		l.Ports[port] = l.Ports[port] || len(body.Servers) > 0
		l.ofSets[port] = l.ofSets[port] || model.Mark(body.Markers, model.MarkListenerSet) != ""
	}
}

// Chosen are the names of the pools, of an owner's objects, that the rules of its L4PolicySet lead to, directly or through a
// pool group, or its VirtualService itself. A pool that a client left behind when the Controller refused its rule is not among
// them, and serves nobody.
func Chosen(observed []*model.Observed) map[string]bool {
	targets := make(map[string]bool) // names and UUIDs
	target := func(ref *string) {
		if ref != nil {
			r := model.ParseRef(*ref)
			targets[r.Name], targets[r.UUID] = true, true
		}
	}
	for _, o := range observed {
		switch body := o.Body.(type) {
		case *models.VirtualService: // that ends TLS, and leads to its pool itself
			target(body.PoolRef)
		case *models.L4PolicySet:
			for _, r := range rulesOf(body) {
				if r != nil && r.Action != nil && r.Action.SelectPool != nil {
					target(r.Action.SelectPool.PoolRef)
					target(r.Action.SelectPool.PoolGroupRef)
				}
			}
		}
	}
	delete(targets, "")
	is := func(o *model.Observed) bool { return targets[o.Key.Name] || targets[o.UUID] }
	for _, o := range observed {
		if group, ok := o.Body.(*models.PoolGroup); ok && is(o) {
			for _, m := range group.Members {
				if m != nil {
					target(m.PoolRef)
				}
			}
		}
	}
	delete(targets, "")
	out := make(map[string]bool)
	for _, o := range observed {
		if o.Key.Kind == model.Pool && is(o) {
			out[o.Key.Name] = true
		}
	}
	return out
}

func rulesOf(set *models.L4PolicySet) []*models.L4Rule {
	if set.L4ConnectionPolicy == nil {
		return nil
	}
	return set.L4ConnectionPolicy.Rules
}

// vipsOf reads where each VIP's address comes from.
func vipsOf(body *models.VsVip) []vipSource {
	var out []vipSource
	for _, v := range body.Vip {
		if v == nil {
			continue
		}
		s := vipSource{id: deref(v.VipID, "0"), allocate: v.AutoAllocateIPType, floating: v.AutoAllocateFloatingIP, subnetID: v.SubnetUUID}
		for _, n := range v.PlacementNetworks {
			if n != nil {
				s.placement = append(s.placement, &models.VipPlacementNetwork{NetworkRef: again(n.NetworkRef), Subnet: n.Subnet, Subnet6: n.Subnet6})
			}
		}
		if n := v.IPAMNetworkSubnet; n != nil {
			s.subnet = &models.IPNetworkSubnet{NetworkRef: again(n.NetworkRef), Subnet: n.Subnet, Subnet6: n.Subnet6, SubnetUUID: n.SubnetUUID,
				Subnet6UUID: n.Subnet6UUID}
		}
		out = append(out, s)
	}
	return out
}

func addressesOf(body *models.VsVip) (out []netip.Addr) {
	for _, text := range model.Addresses(body) {
		if a, err := netip.ParseAddr(text); err == nil {
			out = append(out, a)
		}
	}
	return out
}

// pool is a pool that there is, nil if there is none of that name.
func (l Live) pool(tenant, name string) *models.Pool {
	if o := l.objects[model.Key{Kind: model.Pool, Tenant: tenant, Name: name}]; o != nil {
		body, _ := o.Body.(*models.Pool)
		return body
	}
	return nil
}

// homelessOf are the VIPs whose address the Controller has given and which are on no network that it discovered, with what the address
// was given from. It discovers them when it gives an address, and an update that leaves them out loses them, as one of AKO's may
// (AKO#1027).
func homelessOf(body *models.VsVip) map[string]*models.IPNetworkSubnet {
	out := make(map[string]*models.IPNetworkSubnet)
	for _, v := range body.Vip {
		if v == nil || !deref(v.AviAllocatedVip, false) || len(v.DiscoveredNetworks) > 0 {
			continue
		}
		if from := v.IPAMNetworkSubnet; from != nil && from.NetworkRef != nil {
			out[deref(v.VipID, "0")] = from
		}
	}
	return out
}

func poolOf(body *models.Pool) livePool {
	return livePool{
		service: serviceOf(body), checksum: deref(body.CloudConfigCksum, ""), servers: len(body.Servers) > 0, members: membersOf(body),
		monitors: allAgain(body.HealthMonitorRefs), names: NamesOf(body),
	}
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

func allAgain(refs []string) (out []string) {
	for _, r := range refs {
		if ref := again(&r); ref != nil {
			out = append(out, *ref)
		}
	}
	return out
}

// refersTo reports whether a reference as the Controller gives it back names an object.
func refersTo(ref *string, o *model.Observed) bool {
	if ref == nil || o == nil {
		return false
	}
	return model.ParseRef(*ref).Names(o)
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
