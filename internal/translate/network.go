// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/vmware/alb-sdk/go/models"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/placement"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
)

// network is where an owner's objects are placed, as the bodies say it.
type network struct {
	seGroup   *string // references
	vrf       *string // nil where a tier-1 router is in force
	tier1     *string
	rhi       *bool
	labels    []string
	vips      []vipSource
	placement []*models.PlacementNetwork
	// kept reports whether the placement was read from what serves; withPool, whether there was a pool to read it from.
	kept, withPool bool
}

// vipSource is where one VIP's address comes from.
type vipSource struct {
	id        string
	subnet    *models.IPNetworkSubnet // nil: the IPAM profile's usable networks
	subnetID  *string                 // instead of subnet, on clouds whose subnets have ids of their own
	allocate  *string                 // auto_allocate_ip_type; nil: IPv4
	floating  *bool
	placement []*models.VipPlacementNetwork // networks of the Service Engines' interfaces
}

// id of the subnet, in the field that is for it or, as this operator wrote it once, inside the other.
func (v vipSource) named() *string {
	if v.subnetID == nil && v.subnet != nil {
		return v.subnet.SubnetUUID
	}
	return v.subnetID
}

// network places the objects by the ConfigMap and the AviInfraSetting. One that can't be used moves nothing: what serves
// keeps its place, and what is new waits.
func (b *builder) network() network {
	p, problems := b.placement()
	b.vipNetworks = vipNetworksText(p.VIPNetworks)
	wanted, readable := b.placed(p), b.in.Live.network.kept
	if live := b.in.Live.network; readable && slices.EqualFunc(wanted.vips, live.vips, b.sameSource) {
		if b.in.Settings.VRF == "" && live.vrf != nil && wanted.vrf != nil {
			wanted.vrf = live.vrf // nobody asks for another: it only follows from other things
		}
	}
	for _, f := range problems {
		if readable {
			b.blockUnlessLive(f.Reason, f.Message)
		} else {
			b.report(model.Blocked, model.Port{}, f.Reason, f.Message) // nothing to keep, or not known what
		}
	}
	if !readable {
		return wanted
	}
	wanted.vips = asLive(wanted.vips, b.in.Live.network.vips)
	if len(problems) == 0 {
		// A placement is changed as a whole: an address that stays in its old network must not lose its routes meanwhile.
		fixed := b.fixedDifferences(wanted, b.in.Live.network)
		if len(fixed) == 0 || b.in.ReplacementAllowed() {
			return wanted
		}
		b.findings = append(b.findings, model.NeedsConsent(strings.Join(fixed, ", ")))
	}
	return b.in.Live.network
}

// asLive spells sources as the VIPs do that there are: the same subnet's id in another field is no difference, and none that
// could be put right.
func asLive(want, live []vipSource) []vipSource {
	out := slices.Clone(want)
	for i, w := range out {
		if i < len(live) && w.subnetID != nil && live[i].subnetID == nil && deref(live[i].named(), "") == *w.subnetID {
			out[i].subnetID, out[i].subnet = nil, live[i].subnet
		}
	}
	return out
}

// fixedDifferences lists, for people, what of a placement the Controller can't change on live objects.
func (b *builder) fixedDifferences(want, live network) (out []string) {
	ref := func(field string, w, l *string) {
		if w != nil && !b.sameRef(w, l) {
			out = append(out, fmt.Sprintf("%s: %s -> %s", field, b.refText(l), b.refText(w)))
		}
	}
	ref("VirtualService se_group_ref", want.seGroup, live.seGroup)
	ref("VsVip vrf_context_ref", want.vrf, live.vrf)
	if want.tier1 != nil && *want.tier1 != deref(live.tier1, "") {
		out = append(out, fmt.Sprintf("VsVip tier1_lr: %s -> %s", cmp.Or(deref(live.tier1, ""), "(unset)"), *want.tier1))
	}
	vips := manyVIPs(want.vips, len(live.vips)) // how many addresses there are is no matter of placement
	if len(vips) != len(live.vips) {
		return append(out, fmt.Sprintf("VsVip vip: %d addresses -> %d", len(live.vips), len(vips)))
	}
	for i, w := range vips {
		if l := live.vips[i]; !b.sameSource(w, l) {
			out = append(out, fmt.Sprintf("VsVip vip %s: %s -> %s", w.id, b.sourceText(l), b.sourceText(w)))
		}
	}
	return out
}

// sameSource reports whether a VIP's source is as wanted; what isn't said stands as it is.
func (b *builder) sameSource(w, l vipSource) bool {
	same := func(w, l *string) bool { return w == nil || deref(w, "") == deref(l, "") }
	floats := w.floating == nil || *w.floating == deref(l.floating, false)
	if w.id != l.id || !same(w.named(), l.named()) || !same(w.allocate, l.allocate) || !floats {
		return false
	}
	if w.subnet == nil {
		return true
	}
	have := l.subnet
	if have == nil {
		have = new(models.IPNetworkSubnet)
	}
	return (w.subnet.NetworkRef == nil || b.sameRef(w.subnet.NetworkRef, have.NetworkRef)) && samePrefix(w.subnet.Subnet, have.Subnet) &&
		samePrefix(w.subnet.Subnet6, have.Subnet6)
}

func samePrefix(w, l *models.IPAddrPrefix) bool {
	return w == nil || prefixText(w) == prefixText(l)
}

func prefixText(p *models.IPAddrPrefix) string {
	if p == nil || p.IPAddr == nil || p.IPAddr.Addr == nil {
		return ""
	}
	text := fmt.Sprintf("%s/%d", *p.IPAddr.Addr, deref(p.Mask, 0))
	if parsed, err := netip.ParsePrefix(text); err == nil {
		return parsed.Masked().String()
	}
	return text
}

func (b *builder) sourceText(v vipSource) string {
	out := "any usable network"
	if id := v.named(); id != nil {
		out = "subnet " + *id
	}
	if s := v.subnet; s != nil {
		if s.NetworkRef != nil {
			out = "network " + b.refText(s.NetworkRef)
		}
		for _, p := range []string{prefixText(s.Subnet), prefixText(s.Subnet6)} {
			if p != "" {
				out += " " + p
			}
		}
	}
	if v.allocate != nil {
		out += " " + *v.allocate
	}
	if deref(v.floating, false) {
		out += " with a floating address"
	}
	return out
}

// sameRef reports whether two references, of which one may have a name and the other a UUID, are to the same object.
func (b *builder) sameRef(x, y *string) bool {
	if x == nil || y == nil {
		return x == y
	}
	a, c := model.ParseRef(*x), model.ParseRef(*y)
	if a.UUID != "" && c.UUID != "" || a.Name != "" && a.Name == c.Name {
		return a.UUID == c.UUID
	}
	return b.uuid(a) != "" && b.uuid(a) == b.uuid(c)
}

func (b *builder) uuid(r model.Ref) string {
	return cmp.Or(r.UUID, b.in.Facts.Tenants[b.tenant()].Shared[r.Kind][r.Name], b.in.Facts.Shared[r.Kind][r.Name])
}

func (b *builder) refText(ref *string) string {
	if ref == nil {
		return "(unset)"
	}
	r := model.ParseRef(*ref)
	if r.Name != "" {
		return r.Name
	}
	for name, uuid := range b.in.Facts.With(b.tenant()).Shared[r.Kind] {
		if uuid == r.UUID {
			return name
		}
	}
	return r.UUID
}

// vipNetworksText names the networks whose addresses can be had, as they are configured.
func vipNetworksText(list []placement.VIPNetwork) string {
	texts := make([]string, len(list))
	for i, n := range list {
		texts[i] = "VIP network " + cmp.Or(n.Name, n.UUID)
		if ranges := slices.DeleteFunc([]string{n.CIDR, n.V6CIDR}, func(s string) bool { return s == "" }); len(ranges) > 0 {
			texts[i] += " (" + strings.Join(ranges, ", ") + ")"
		}
	}
	return strings.Join(texts, " or ")
}

// placement is the effective one, with what is wrong with it.
func (b *builder) placement() (placement.Placement, []model.Finding) {
	base, f, setting := b.in.Settings.Placement, b.in.Facts, b.in.Setting
	var out []model.Finding
	fail := func(reason, message string) {
		out = append(out, model.Finding{Reason: reason, Message: message})
	}
	p := base
	switch {
	case setting.Problem != "":
		fail(setting.Reason, setting.Problem)
		return base, out
	case setting.Name == "":
	case setting.Object == nil:
		fail(model.ReasonInfraSettingMissing, fmt.Sprintf("there is no AviInfraSetting %s; create it, or name another one", setting.Name))
		return base, out
	default:
		p = placement.Overlay(base, setting.Object)
		for _, problem := range placement.Valid(setting.Object) {
			fail(model.ReasonInfraSettingRejected, fmt.Sprintf("AviInfraSetting %s: %s", setting.Name, problem.Message))
		}
	}
	for _, problem := range placement.Check(p, f.With(b.tenant())) {
		if !problem.Inherited {
			fail(model.ReasonInfraSettingRejected, fmt.Sprintf("AviInfraSetting %s: %s", p.Setting, problem.Message))
		} else {
			fail(model.ReasonReferenceMissing, problem.Message)
		}
	}
	if _, bad := b.vipType(); bad != "" && placement.InVPC(p, f.Cloud) {
		fail(model.ReasonInvalidAnnotation, fmt.Sprintf("annotation %s: %q is neither public nor private", AnnotationVIPType, bad))
	}
	if vrf := b.in.Settings.VRF; p.Tier1LR == "" && !placement.Public(f.Cloud) && vrf != "" && !f.Has(model.VrfContext, vrf) {
		fail(model.ReasonReferenceMissing, fmt.Sprintf("the Controller's cloud %s has no VRF context %q; create it or fix vrfName of ConfigMap avi-k8s-config", f.Cloud.Name, vrf))
	}
	return p, out
}

// vipType is the kind of address that the owner asks for in a VPC, as the Controller writes it, and the text of the annotation if
// that is none.
func (b *builder) vipType() (kind, bad string) {
	text := b.in.Owner.Annotations()[AnnotationVIPType]
	switch kind = strings.ToUpper(strings.TrimSpace(text)); kind {
	case "":
		return "PUBLIC", ""
	case "PUBLIC", "PRIVATE":
		return kind, ""
	}
	return "PUBLIC", text
}

// placed writes a placement as references. It follows AKO: a tier-1 router replaces VRFs, and what vrf says.
func (b *builder) placed(p placement.Placement) network {
	f := b.in.Facts
	n := network{seGroup: refOrNil(model.ServiceEngineGroup, p.SEGroup), tier1: orNil(p.Tier1LR), vips: b.vipSources(p)}
	if p.EnableRHI {
		n.rhi, n.labels = new(true), p.BGPPeerLabels
	}
	if n.tier1 == nil {
		n.vrf = refOrNil(model.VrfContext, b.vrf(p))
	}
	if placement.ByNetwork(f.Cloud) {
		n.placement = placementNetworks(p.NodeNetworks)
	}
	return n
}

// vrf is the VRF context of the objects. Another tenant than the configured one can't use that one's own.
func (b *builder) vrf(p placement.Placement) string {
	f, s := b.in.Facts, b.in.Settings
	if f.Cloud.Type == "CLOUD_OPENSTACK" && b.tenant() != s.Tenant {
		return placement.GlobalVRF
	}
	return placement.VRF(p, s.VRF, s.ServiceType == settings.NodePort, f)
}

// vipSources are one for the first VIP network or, on clouds that name networks by their subnet's id, one for each. In a VPC it is
// the VPC's network for addresses of the type that the owner asks for.
func (b *builder) vipSources(p placement.Placement) []vipSource {
	cloud := b.in.Facts.Cloud
	var floating *bool
	if placement.Public(cloud) {
		floating = p.PublicIP
	}
	switch kind, _ := b.vipType(); {
	case placement.InVPC(p, cloud):
		return []vipSource{{id: "0", subnetID: new(placement.VPCSubnet(p.Tier1LR, kind))}}
	case len(p.VIPNetworks) == 0:
		return []vipSource{{id: "0", floating: floating}}
	case placement.BySubnetID(cloud):
		out := make([]vipSource, len(p.VIPNetworks))
		for i, n := range p.VIPNetworks {
			out[i] = vipSource{id: strconv.Itoa(i + 1), subnetID: new(n.Name + n.UUID), floating: floating}
		}
		return out
	}
	n := p.VIPNetworks[0]
	out := vipSource{id: "0", floating: floating, subnet: &models.IPNetworkSubnet{NetworkRef: new(networkRef(n.Name, n.UUID)), Subnet: prefixOf(n.CIDR), Subnet6: prefixOf(n.V6CIDR)}}
	switch {
	case n.CIDR != "" && n.V6CIDR != "":
		out.allocate = new("V4_V6")
	case n.V6CIDR != "":
		out.allocate = new("V6_ONLY")
	}
	if placement.PlacesVIPs(cloud) {
		out.placement = vipPlacement(n)
	}
	return []vipSource{out}
}

// vipPlacement places a VIP on the network that its address is of, by one subnet as AKO does: the IPv4 one if there are both.
func vipPlacement(n placement.VIPNetwork) []*models.VipPlacementNetwork {
	at := &models.VipPlacementNetwork{NetworkRef: new(networkRef(n.Name, n.UUID))}
	switch {
	case n.CIDR != "":
		at.Subnet = prefixOf(n.CIDR)
	case n.V6CIDR != "":
		at.Subnet6 = prefixOf(n.V6CIDR)
	default:
		return nil
	}
	return []*models.VipPlacementNetwork{at}
}

func placementNetworks(networks []placement.NodeNetwork) []*models.PlacementNetwork {
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

// prefixOf writes a prefix that has been checked; nil for none, and for one that is wrong, with which nothing is built.
func prefixOf(cidr string) *models.IPAddrPrefix {
	p, err := netip.ParsePrefix(strings.TrimSpace(cidr))
	if err != nil {
		return nil
	}
	p = p.Masked()
	return &models.IPAddrPrefix{IPAddr: ipAddr(p.Addr()), Mask: new(int32(p.Bits()))}
}
