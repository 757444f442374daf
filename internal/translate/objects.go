// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"cmp"
	"slices"

	"github.com/vmware/alb-sdk/go/models"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
)

// objects are a frontend's Avi objects in creation order: a VsVip, a Pool for each Service behind a listener, a PoolGroup for
// a listener with several, an L4PolicySet whose rules choose among those, a NetworkSecurityPolicy where only some clients are
// let in, and the VirtualService. Without a pool there is no
// L4PolicySet, as with AKO.
func (b *builder) objects(f frontend) []model.Object {
	b.labels = b.in.Owner.labels(b)
	out := make([]model.Object, 0, 3+len(f.listeners))
	out = append(out, b.object(f, model.VsVip, f.name, b.vsVip(f)))
	var groups []model.Object
	for _, l := range f.listeners {
		if l.held != nil {
			out = append(out, l.held.objects...)
			continue
		}
		pools := make([]pool, len(l.targets))
		for i, t := range l.targets {
			pools[i] = b.pool(f, l, t)
			out = append(out, pools[i].object)
		}
		if l.grouped() {
			groups = append(groups, b.group(f, l, pools)...)
		}
		b.reportShares(l)
	}
	out = append(out, groups...)
	policy := len(out) > 1
	out = append(out, b.profiles(f, out)...)
	slices.SortStableFunc(out, func(x, y model.Object) int {
		return model.CompareCreation(x.Key.Kind, y.Key.Kind)
	})
	// Without pools there are no rules, and AKO's L4PolicySet of a Gateway without Services, which has none either, stays.
	bare := b.in.Live.policy != nil && len(b.in.Live.rules) == 0
	policy = (policy || bare) && !b.rule.ssl
	if policy {
		out = append(out, b.object(f, model.L4PolicySet, f.name, b.policySet(f)))
	}
	if f.clients.policy {
		out = append(out, b.object(f, model.NetworkSecurityPolicy, f.name, b.securityPolicy(f)))
	}
	vs := b.object(f, model.VirtualService, f.name, b.virtualService(f, policy))
	b.ruleVS(&vs, f)
	if f.clients.claims {
		vs.Ruled = append(vs.Ruled, securityRefField)
	}
	return append(out, vs)
}

func (b *builder) object(f frontend, kind model.Kind, name string, body any) model.Object {
	return model.Object{Key: model.Key{Kind: kind, Tenant: f.tenant, Name: name}, Body: body}
}

func (b *builder) vsVip(f frontend) *models.VsVip {
	s := b.in.Settings
	v := &models.VsVip{
		Name:                  &f.name,
		TenantRef:             new(model.RefByName(model.Tenant, f.tenant)),
		CloudRef:              new(model.RefByName(model.Cloud, s.Cloud)),
		VrfContextRef:         f.network.vrf,
		Tier1Lr:               f.network.tier1,
		EastWestPlacement:     new(false),
		BgpPeerLabels:         f.network.labels,
		Markers:               b.markers(nil),
		VsvipCloudConfigCksum: new(noChecksum),
	}
	for i, source := range f.network.vips {
		one := vip(f, source, i)
		if home := b.in.Live.homeless[source.id]; home != nil && b.in.NetworkLost {
			one.DiscoveredNetworks = []*models.DiscoveredNetwork{discovered(home)}
		}
		v.Vip = append(v.Vip, one)
	}
	for _, fqdn := range f.fqdns {
		v.DNSInfo = append(v.DNSInfo, &models.DNSInfo{Fqdn: new(fqdn)})
	}
	return v
}

// noChecksum stands where AKO keeps a checksum of its own making. Bodies are what is compared here; the field is
// there because AKO's cache expects it, and never equals AKO's value, so a return to AKO makes it look again.
const noChecksum = "0"

// vip is one address. auto_allocate_ip is set even with a static address: the address is then a preference that the
// Controller's IPAM books.
func vip(f frontend, source vipSource, i int) *models.Vip {
	v := &models.Vip{VipID: new(source.id), AutoAllocateIP: new(true), AutoAllocateIPType: source.allocate,
		AutoAllocateFloatingIP: source.floating, IPAMNetworkSubnet: source.subnet, SubnetUUID: source.subnetID,
		PlacementNetworks: source.placement}
	switch {
	case i >= len(f.addresses):
	case f.addresses[i].Is4():
		v.IPAddress = ipAddr(f.addresses[i])
	default:
		v.Ip6Address = ipAddr(f.addresses[i])
	}
	return v
}

// discovered is the network that an address was given from, as one that the Controller discovered.
func discovered(n *models.IPNetworkSubnet) *models.DiscoveredNetwork {
	out := &models.DiscoveredNetwork{NetworkRef: again(n.NetworkRef)}
	if n.Subnet != nil {
		out.Subnet = []*models.IPAddrPrefix{n.Subnet}
	}
	if n.Subnet6 != nil {
		out.Subnet6 = []*models.IPAddrPrefix{n.Subnet6}
	}
	return out
}

// pool is the pool of a target.
type pool struct {
	name   string
	object model.Object
	empty  bool // none of its servers takes connections
}

func (b *builder) pool(f frontend, l listener, t target) pool {
	s := b.in.Settings
	p := &models.Pool{
		Name:              &t.pool,
		CloudConfigCksum:  new(cmp.Or(t.checksum, noChecksum)),
		CreatedBy:         &s.CreatedBy,
		TenantRef:         new(model.RefByName(model.Tenant, f.tenant)),
		CloudRef:          new(model.RefByName(model.Cloud, s.Cloud)),
		VrfRef:            f.network.vrf,
		Tier1Lr:           f.network.tier1,
		HealthMonitorRefs: []string{model.RefByName(model.HealthMonitor, t.proto.healthMonitor)},
		SniEnabled:        new(false),
		PlacementNetworks: f.network.placement,
		ServiceMetadata:   new(b.in.Owner.poolMetadata(l, t).String()),
		Markers:           b.markers(b.in.Owner.poolMarks(l, t)),
	}
	b.drain(f, l, t.backend.Service, p)
	members, known := b.members(t)
	enabled := 0
	p.Servers = make([]*models.Server, len(members))
	for i, m := range members {
		if m.state == ready {
			enabled++
		}
		p.Servers[i] = &models.Server{
			IP:           ipAddr(m.addr.Addr()),
			Port:         new(int32(m.addr.Port())),
			ExternalUUID: new(m.addr.String()),
			Enabled:      new(m.state == ready),
			ServerNode:   orNil(m.node),
		}
	}
	if enabled == 0 && known && !b.reported(t.port, model.ReasonNoNodes) {
		b.report(model.Note, t.port, model.ReasonNoEndpoints, b.withoutEndpoints(t, b.in.Owner.backendText(t.backend.Service)))
	}
	out := pool{name: t.pool, object: b.object(f, model.Pool, t.pool, p), empty: known && enabled == 0}
	b.rulePool(&out.object, t)
	b.persistence(&out.object, f, t)
	if !known {
		out.object.Keep = []string{"servers"}
	}
	if f.network.kept {
		out.object.Keep = append(out.object.Keep, "placement_networks")
	}
	return out
}

// markers are the cluster's and those given, with the owner's labels and an index of those, so that a label that is taken back can be
// distinguished from one that somebody else has put there.
func (b *builder) markers(pairs []string) []*models.RoleFilterMatchLabel {
	out := model.Markers(b.in.Settings.ClusterName, append(pairs, b.labels...)...)
	if len(b.labels) > 0 {
		index := &models.RoleFilterMatchLabel{Key: new(model.MarkLabels)}
		for i := 0; i < len(b.labels); i += 2 {
			index.Values = append(index.Values, b.labels[i])
		}
		out = append(out, index)
	}
	return out
}

// policySet has one rule for each pool: its port and its protocol select it. The protocol match is an Enterprise field;
// below, all ports of a VirtualService have one protocol, so it is left out, unless it serves already.
func (b *builder) policySet(f frontend) *models.L4PolicySet {
	s := b.in.Settings
	var rules []*models.L4Rule
	for _, l := range f.listeners {
		if l.held != nil {
			l.held.rule.Index = new(int32(len(rules)))
			rules = append(rules, l.held.rule)
			continue
		}
		if len(l.targets) == 0 {
			continue
		}
		match := &models.L4RuleMatchTarget{Port: &models.L4RulePortMatch{MatchCriteria: new("IS_IN"), Ports: []int64{int64(l.port.Number)}}}
		if b.in.Facts.Enterprise() || b.in.Live.ProtocolMatch {
			match.Protocol = &models.L4RuleProtocolMatch{MatchCriteria: new("IS_IN"), Protocol: new(l.proto.match)}
		}
		rule := &models.L4Rule{
			Name:  new("/api/pool?name=" + l.targets[0].pool), // AKO's name for a rule
			Index: new(int32(len(rules))),
			Match: match,
			Action: &models.L4RuleAction{SelectPool: &models.L4RuleActionSelectPool{
				ActionType: new("L4_RULE_ACTION_SELECT_POOL"),
				PoolRef:    new(model.RefByName(model.Pool, l.targets[0].pool)),
			}},
		}
		if l.grouped() {
			rule.Name = new("/api/poolgroup?name=" + b.groupName(l))
			rule.Action.SelectPool = &models.L4RuleActionSelectPool{
				ActionType:   new("L4_RULE_ACTION_SELECT_POOLGROUP"),
				PoolGroupRef: new(model.RefByName(model.PoolGroup, b.groupName(l))),
			}
		}
		rules = append(rules, rule)
	}
	policy := &models.L4ConnectionPolicy{Rules: rules}
	if len(rules) == 0 && b.in.Live.policy != nil {
		policy = b.in.Live.policy.L4ConnectionPolicy // that has none either
	}
	return &models.L4PolicySet{
		Name:               &f.name,
		CreatedBy:          &s.CreatedBy,
		TenantRef:          new(model.RefByName(model.Tenant, f.tenant)),
		Markers:            b.markers(b.in.Owner.policySetMarks(protocolList(f.listeners))),
		L4ConnectionPolicy: policy,
	}
}

// virtualService refers to the policy set if there is one.
func (b *builder) virtualService(f frontend, policy bool) *models.VirtualService {
	s := b.in.Settings
	profile := base(f.listeners)
	vs := &models.VirtualService{
		Name:                        &f.name,
		CloudConfigCksum:            new(noChecksum),
		CreatedBy:                   &s.CreatedBy,
		TenantRef:                   new(model.RefByName(model.Tenant, f.tenant)),
		CloudRef:                    new(model.RefByName(model.Cloud, s.Cloud)),
		VrfContextRef:               f.network.vrf,
		SeGroupRef:                  f.network.seGroup,
		EnableRhi:                   f.network.rhi,
		ApplicationProfileRef:       new(model.RefByName(model.ApplicationProfile, f.applicationProfile)),
		NetworkProfileRef:           new(model.RefByName(model.NetworkProfile, b.baseProfile(profile, f.listeners))),
		VsvipRef:                    new(model.RefByName(model.VsVip, f.name)),
		Services:                    b.services(f.listeners, profile),
		TrafficEnabled:              &f.traffic,
		RemoveListeningPortOnVsDown: new(true),
		ServiceMetadata:             new(b.in.Owner.virtualServiceMetadata(b.inLiveOrder(f.fqdns)).String()),
		Markers:                     b.markers(b.in.Owner.virtualServiceMarks()),
		NetworkSecurityPolicyRef:    f.clients.ref,
	}
	switch {
	case !policy && b.in.Live.Exists:
		vs.RemoveListeningPortOnVsDown = b.in.Live.removesPorts // AKO says it only beside a policy
	case policy:
		vs.L4Policies = []*models.L4Policies{{Index: new(int32(0)), L4PolicySetRef: new(model.RefByName(model.L4PolicySet, f.name))}}
	}
	return vs
}

// services lists the listening ports. Where protocols are mixed, each service of another protocol than TCP overrides
// the VirtualService's profile, UDP included even where it is the base.
func (b *builder) services(listeners []listener, profile protocol) []*models.Service {
	mixed := mixed(listeners, profile)
	out := make([]*models.Service, len(listeners))
	for i, l := range listeners {
		out[i] = &models.Service{
			Port:         new(uint32(l.port.Number)),
			PortRangeEnd: new(uint32(l.port.Number)),
			EnableSsl:    new(b.rule.ssl && !b.rule.broken),
			EnableHttp2:  new(false),
		}
		if mixed && l.proto.name != "TCP" {
			name := cmp.Or(b.ruledProfile(l.proto, false), l.proto.profile(b.in.Facts))
			out[i].OverrideNetworkProfileRef = new(model.RefByName(model.NetworkProfile, name))
		}
	}
	return out
}

// mixed reports whether listeners are of several protocols.
func mixed(listeners []listener, base protocol) bool {
	return slices.ContainsFunc(listeners, func(l listener) bool { return l.proto.name != base.name })
}

func refOrNil(kind model.Kind, name string) *string {
	if name == "" {
		return nil
	}
	return new(model.RefByName(kind, name))
}

func orNil(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
