package build

import (
	"strconv"

	"github.com/vmware/alb-sdk/go/models"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
)

// objects are a frontend's Avi objects in creation order: a VsVip, a Pool for each listener, an L4PolicySet whose
// rules choose the pool, and the VirtualService.
func (b *builder) objects(f frontend) []model.Object {
	out := make([]model.Object, 0, 3+len(f.listeners))
	out = append(out, b.object(f, model.VsVip, f.name, b.vsVip(f)))
	for _, l := range f.listeners {
		body, known := b.pool(f, l)
		pool := b.object(f, model.Pool, l.pool, body)
		if !known {
			pool.Keep = []string{"servers"}
			b.report(model.Degraded, l.port, model.ReasonEndpointsUnreadable, "port "+l.port.String()+": the Service's EndpointSlices can't be read, or none of them has this port; the pool keeps its servers until one does")
		}
		out = append(out, pool)
	}
	return append(out,
		b.object(f, model.L4PolicySet, f.name, b.policySet(f)),
		b.object(f, model.VirtualService, f.name, b.virtualService(f)))
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
		VrfContextRef:         refOrNil(model.VrfContext, f.network.vrf),
		Tier1Lr:               orNil(f.network.tier1),
		EastWestPlacement:     new(false),
		Vip:                   []*models.Vip{vip(f)},
		Markers:               model.Markers(s.ClusterName),
		VsvipCloudConfigCksum: new(noChecksum),
	}
	for _, fqdn := range f.fqdns {
		v.DNSInfo = append(v.DNSInfo, &models.DNSInfo{Fqdn: new(fqdn)})
	}
	if s.EnableRHI {
		v.BgpPeerLabels = s.BGPPeerLabels
	}
	return v
}

// noChecksum stands where AKO keeps a checksum of its own making. Bodies are what is compared here; the field is
// there because AKO's cache expects it, and never equals AKO's value, so a return to AKO makes it look again.
const noChecksum = "0"

// vip is the one address. auto_allocate_ip is set even with a static address: the address is then a preference that
// the Controller's IPAM books.
func vip(f frontend) *models.Vip {
	v := &models.Vip{VipID: new("0"), AutoAllocateIP: new(true)}
	switch {
	case !f.address.IsValid():
	case f.address.Is4():
		v.IPAddress = ipAddr(f.address)
	default:
		v.Ip6Address = ipAddr(f.address)
	}
	n := f.network.vip
	if n == nil {
		return v
	}
	v.IPAMNetworkSubnet = &models.IPNetworkSubnet{NetworkRef: new(networkRef(n.Name, n.UUID))}
	if n.CIDR != "" {
		v.IPAMNetworkSubnet.Subnet = prefixOf(n.CIDR)
	}
	if n.V6CIDR != "" {
		v.IPAMNetworkSubnet.Subnet6 = prefixOf(n.V6CIDR)
	}
	switch {
	case n.CIDR != "" && n.V6CIDR != "":
		v.AutoAllocateIPType = new("V4_V6")
	case n.V6CIDR != "":
		v.AutoAllocateIPType = new("V6_ONLY")
	}
	return v
}

// pool is a listener's pool; known is false if an existing one has to keep its servers.
func (b *builder) pool(f frontend, l listener) (p *models.Pool, known bool) {
	s := b.in.Settings
	p = &models.Pool{
		Name:                   &l.pool,
		CloudConfigCksum:       new(noChecksum),
		CreatedBy:              &s.CreatedBy,
		TenantRef:              new(model.RefByName(model.Tenant, f.tenant)),
		CloudRef:               new(model.RefByName(model.Cloud, s.Cloud)),
		VrfRef:                 refOrNil(model.VrfContext, f.network.vrf),
		Tier1Lr:                orNil(f.network.tier1),
		HealthMonitorRefs:      []string{model.RefByName(model.HealthMonitor, l.proto.healthMonitor)},
		GracefulDisableTimeout: new(gracefulDisableMinutes),
		SniEnabled:             new(false),
		PlacementNetworks:      f.network.placement,
		ServiceMetadata:        new(metadata{}.String()),
		Markers: model.Markers(s.ClusterName, model.MarkNamespace, f.owner.Namespace, model.MarkServiceName, f.owner.Name,
			model.MarkPort, strconv.Itoa(int(l.port.Number))),
	}
	members, joined := b.servers(l)
	known = b.endpointsKnown(l) && (joined || !b.in.Live.Ports[l.port])
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
	if enabled == 0 && known {
		b.report(model.Note, l.port, model.ReasonNoEndpoints, "port "+l.port.String()+" has no ready endpoint; check the Service's selector and its pods' readiness")
	}
	return p, known
}

// gracefulDisableMinutes is how long a disabled server keeps its associations.
const gracefulDisableMinutes int32 = 1

// endpointsKnown tells whether the slices say what the pool's servers are. A list that was not read completely does
// not; nor does a Service with a selector that has no slice at all, for which Kubernetes keeps an empty one.
func (b *builder) endpointsKnown(l listener) bool {
	if !b.in.SlicesRead {
		return false
	}
	return len(b.in.Slices) > 0 || len(b.in.Service.Spec.Selector) == 0 || !b.in.Live.Ports[l.port]
}

// policySet has one rule for each listener: its port and its protocol select its pool. The protocol match is an
// Enterprise field; below, all ports of a VirtualService have one protocol, so it is left out, unless it serves already.
func (b *builder) policySet(f frontend) *models.L4PolicySet {
	s := b.in.Settings
	ports := make([]model.Port, len(f.listeners))
	rules := make([]*models.L4Rule, len(f.listeners))
	for i, l := range f.listeners {
		ports[i] = l.port
		match := &models.L4RuleMatchTarget{Port: &models.L4RulePortMatch{MatchCriteria: new("IS_IN"), Ports: []int64{int64(l.port.Number)}}}
		if b.in.Facts.Enterprise() || b.in.Live.ProtocolMatch {
			match.Protocol = &models.L4RuleProtocolMatch{MatchCriteria: new("IS_IN"), Protocol: new(l.proto.match)}
		}
		rules[i] = &models.L4Rule{
			Name:  new("/api/pool?name=" + l.pool), // AKO's name for a rule
			Index: new(int32(i)),
			Match: match,
			Action: &models.L4RuleAction{SelectPool: &models.L4RuleActionSelectPool{
				ActionType: new("L4_RULE_ACTION_SELECT_POOL"),
				PoolRef:    new(model.RefByName(model.Pool, l.pool)),
			}},
		}
	}
	return &models.L4PolicySet{
		Name:               &f.name,
		CreatedBy:          &s.CreatedBy,
		TenantRef:          new(model.RefByName(model.Tenant, f.tenant)),
		Markers:            model.Markers(s.ClusterName, model.MarkNamespace, f.owner.Namespace, model.MarkServiceName, f.owner.Name, model.MarkProtocol, protocolList(ports)),
		L4ConnectionPolicy: &models.L4ConnectionPolicy{Rules: rules},
	}
}

func (b *builder) virtualService(f frontend) *models.VirtualService {
	s, facts := b.in.Settings, b.in.Facts
	profile := base(f.listeners)
	vs := &models.VirtualService{
		Name:                        &f.name,
		CloudConfigCksum:            new(noChecksum),
		CreatedBy:                   &s.CreatedBy,
		TenantRef:                   new(model.RefByName(model.Tenant, f.tenant)),
		CloudRef:                    new(model.RefByName(model.Cloud, s.Cloud)),
		VrfContextRef:               refOrNil(model.VrfContext, f.network.vrf),
		SeGroupRef:                  new(model.RefByName(model.ServiceEngineGroup, s.SEGroup)),
		ApplicationProfileRef:       new(model.RefByName(model.ApplicationProfile, f.applicationProfile)),
		NetworkProfileRef:           new(model.RefByName(model.NetworkProfile, b.baseProfile(profile))),
		VsvipRef:                    new(model.RefByName(model.VsVip, f.name)),
		Services:                    services(f.listeners, profile, facts),
		L4Policies:                  []*models.L4Policies{{Index: new(int32(0)), L4PolicySetRef: new(model.RefByName(model.L4PolicySet, f.name))}},
		TrafficEnabled:              &f.traffic,
		RemoveListeningPortOnVsDown: new(true),
		ServiceMetadata: new(metadata{
			HostNames:            f.fqdns,
			NamespaceServiceName: []string{f.owner.Namespace + "/" + f.owner.Name},
		}.String()),
		Markers: model.Markers(s.ClusterName, model.MarkNamespace, f.owner.Namespace, model.MarkServiceName, f.owner.Name),
	}
	if s.EnableRHI {
		vs.EnableRhi = new(true)
	}
	return vs
}

// services lists the listening ports. Where protocols are mixed, each service of another protocol than TCP overrides
// the VirtualService's profile, UDP included even where it is the base.
func services(listeners []listener, profile protocol, facts *model.Facts) []*models.Service {
	mixed := false
	for _, l := range listeners {
		mixed = mixed || l.proto.name != profile.name
	}
	out := make([]*models.Service, len(listeners))
	for i, l := range listeners {
		out[i] = &models.Service{
			Port:         new(uint32(l.port.Number)),
			PortRangeEnd: new(uint32(l.port.Number)),
			EnableSsl:    new(false),
			EnableHttp2:  new(false),
		}
		if mixed && l.proto.name != "TCP" {
			out[i].OverrideNetworkProfileRef = new(model.RefByName(model.NetworkProfile, l.proto.profile(facts)))
		}
	}
	return out
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
