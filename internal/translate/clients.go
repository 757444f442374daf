// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/vmware/alb-sdk/go/models"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
)

// clients says who may connect to a VirtualService. The zero value is everybody.
type clients struct {
	ref    *string // the VirtualService's network security policy, ours or not
	claims bool    // the reference is the operator's
	policy bool    // there is a policy of ours, with these rules
	rules  []*models.NetworkSecurityRule
}

// annotatedRanges are the prefixes of an annotation, which separates them by commas.
func annotatedRanges(key string, annotations map[string]string) (where string, prefixes []string) {
	text, set := annotations[key]
	if !set {
		return "", nil
	}
	if where = "annotation " + key; strings.TrimSpace(text) != "" {
		prefixes = strings.Split(text, ",")
	}
	return where, prefixes
}

// clients reads who may connect. Prefixes that can't be read change nothing for an owner that serves: a slip must neither let in everybody
// nor shut out the clients that it was meant to let in. A new owner serves those that can be read and waits if there are none.
func (b *builder) clients(f frontend) clients {
	live, ref := b.in.Live, b.liveSecurity(f)
	ours := refersTo(ref, live.security)
	where, texts := b.in.Owner.sourceRanges()
	prefixes, invalid := parseRanges(texts)
	b.strayRanges(b.in.Owner.Annotations())
	switch {
	case b.rule.spec != nil && b.rule.spec.NetworkSecurityPolicyRef != "":
		if len(texts) > 0 {
			b.reportAll(model.ReasonSecurityPolicyTaken, fmt.Sprintf("%s is not enforced: L4Rule %s names the network security policy %s, and a VirtualService can have only one; add the prefixes to that, or take it out of the rule", where, b.in.Rule.Name, b.rule.spec.NetworkSecurityPolicyRef))
		}
		return clients{} // the rule's
	case len(texts) == 0 && where != "" && ours:
		b.report(model.Degraded, model.Port{}, model.ReasonInvalidSourceRange, where+" is empty; remove it to let every client in; "+b.whoIsLetIn(ref, ours))
		return b.sameClients(f)
	case len(texts) == 0:
		if where != "" {
			b.report(model.Note, model.Port{}, model.ReasonInvalidSourceRange, where+" is empty: it lets every client in; give prefixes, or remove it")
		}
		return clients{ref: notOurs(ref, ours), claims: ours}
	case len(invalid) > 0 && live.Exists:
		b.report(model.Degraded, model.Port{}, model.ReasonInvalidSourceRange, rangesMessage(where, invalid)+"; "+b.whoIsLetIn(ref, ours))
		return b.sameClients(f)
	case len(invalid) > 0 && len(prefixes) == 0 && b.reported(model.Port{}, model.ReasonInvalidSourceRange):
		return clients{} // of a group: none of its Services is served
	case len(invalid) > 0 && len(prefixes) == 0:
		b.report(model.Blocked, model.Port{}, model.ReasonInvalidSourceRange, rangesMessage(where, invalid))
		return clients{}
	case len(invalid) > 0:
		b.report(model.Degraded, model.Port{}, model.ReasonInvalidSourceRange, rangesMessage(where, invalid)+"; only clients of the other prefixes are let in")
	case ref != nil && (live.security == nil || b.ruledSecurity(f)): // a policy of ours may be left beside an L4Rule's
		b.reportAll(model.ReasonSecurityPolicyTaken, fmt.Sprintf("%s is not enforced: the VirtualService has the network security policy %s already, which isn't the operator's, and can have only one; add the prefixes to that, or take it off the VirtualService", where, b.refText(ref)))
		return b.sameClients(f)
	}
	b.reportShutOut(f, where, prefixes)
	policy := new(model.RefByName(model.NetworkSecurityPolicy, f.name))
	return clients{ref: policy, claims: true, policy: true, rules: []*models.NetworkSecurityRule{denyOthers(prefixes)}}
}

// strayRanges reports an annotation for source ranges that is the other kind of owner's: it keeps nobody out.
func (b *builder) strayRanges(annotations map[string]string) {
	stray, right := AnnotationSourceRanges, "annotation "+AnnotationGatewaySourceRanges
	if kind := b.in.Owner.Key().Kind; kind == model.ServiceOwner || kind == model.SharedVIPOwner {
		stray, right = AnnotationGatewaySourceRanges, "spec.loadBalancerSourceRanges"
	}
	if _, set := annotations[stray]; set {
		b.report(model.Degraded, model.Port{}, model.ReasonUnusedField, fmt.Sprintf("annotation %s is not used here, and keeps nobody out; give the prefixes in %s", stray, right))
	}
}

// reportAll reports what concerns all Services of the owner.
func (b *builder) reportAll(reason, message string) {
	about := b.about
	b.about = ""
	b.report(model.Degraded, model.Port{}, reason, message)
	b.about = about
}

// securityRefField is the VirtualService's reference to its network security policy.
const securityRefField = "network_security_policy_ref"

// liveSecurity is the reference that the VirtualService has; what an L4Rule set that no longer does is nothing.
func (b *builder) liveSecurity(f frontend) *string {
	if !b.rule.broken && b.ruledSecurity(f) {
		return nil
	}
	return b.in.Live.securityRef
}

// ruledSecurity reports whether an L4Rule set the reference that the VirtualService has.
func (b *builder) ruledSecurity(f frontend) bool {
	key := model.Key{Kind: model.VirtualService, Tenant: f.tenant, Name: f.name}
	return slices.Contains(b.in.Live.ruled[key], securityRefField)
}

// notOurs is a reference to somebody else's policy, nil for one to ours.
func notOurs(ref *string, ours bool) *string {
	if ours {
		return nil
	}
	return again(ref)
}

// sameClients are those that are let in now.
func (b *builder) sameClients(f frontend) clients {
	live := b.in.Live
	out := clients{ref: again(b.liveSecurity(f))}
	if live.security == nil {
		return out
	}
	if body, ok := live.security.Body.(*models.NetworkSecurityPolicy); ok && live.security.Key.Name == f.name {
		out.policy, out.rules = true, body.Rules
	}
	return out
}

func (b *builder) whoIsLetIn(ref *string, ours bool) string {
	switch {
	case ours:
		return "the VirtualService keeps letting in those whom it lets in now"
	case ref != nil:
		return "the VirtualService keeps the network security policy that it has"
	}
	return "the VirtualService keeps letting in every client, as it does now"
}

// parseRanges reads prefixes, as Kubernetes does: spaces around one don't matter, nor do host bits. Both lists are sorted and
// hold nothing twice.
func parseRanges(texts []string) (prefixes []netip.Prefix, invalid []string) {
	for _, text := range texts {
		p, err := netip.ParsePrefix(strings.TrimSpace(text))
		if a := p.Addr(); err == nil && a.Is4In6() {
			p, err = a.Unmap().Prefix(p.Bits() - 96) // an error if it is wider than all IPv4 addresses
		}
		if err != nil {
			invalid = append(invalid, text)
			continue
		}
		prefixes = append(prefixes, p.Masked())
	}
	slices.SortFunc(prefixes, netip.Prefix.Compare)
	slices.Sort(invalid)
	return slices.Compact(prefixes), slices.Compact(invalid)
}

func rangesMessage(where string, invalid []string) string {
	more := ""
	if len(invalid) > 3 {
		more = fmt.Sprintf(" and %d more", len(invalid)-3)
		invalid = invalid[:3]
	}
	quoted := make([]string, len(invalid))
	for i, text := range invalid {
		quoted[i] = fmt.Sprintf("%q", text)
	}
	return fmt.Sprintf("%s: %s%s can't be read as a prefix such as 10.1.0.0/16, 192.0.2.7/32 or fd00:1::/64; correct it", where, strings.Join(quoted, ", "), more)
}

// reportShutOut says so if a family of the VIP's addresses has no prefix: none of its clients is let in.
func (b *builder) reportShutOut(f frontend, where string, prefixes []netip.Prefix) {
	four, six := vipFamilies(f)
	has4 := slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Addr().Is4() })
	has6 := slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Addr().Is6() })
	switch {
	case four && six && has4 != has6:
		family := "IPv6"
		if has6 {
			family = "IPv4"
		}
		b.report(model.Note, model.Port{}, model.ReasonNoClients, fmt.Sprintf("%s has no prefix of %s: no client of that family is let in", where, family))
	case four && !six && !has4:
		b.report(model.Degraded, model.Port{}, model.ReasonNoClients, where+" has no prefix of IPv4, and the address is an IPv4 one: no client is let in; add the clients' prefixes")
	case six && !four && !has6:
		b.report(model.Degraded, model.Port{}, model.ReasonNoClients, where+" has no prefix of IPv6, and the address is an IPv6 one: no client is let in; add the clients' prefixes")
	}
}

// vipFamilies are the families of the addresses that clients connect to.
func vipFamilies(f frontend) (four, six bool) {
	for i, v := range f.network.vips {
		switch kind := deref(v.allocate, "V4_ONLY"); {
		case i < len(f.addresses):
			four, six = four || f.addresses[i].Is4(), six || f.addresses[i].Is6()
		default:
			four, six = four || kind != "V6_ONLY", six || kind != "V4_ONLY"
		}
	}
	return four, six
}

// denyOthers refuses clients that are in none of the prefixes. It is one rule that denies, and not rules that allow, because below
// Enterprise a Controller takes no others.
func denyOthers(prefixes []netip.Prefix) *models.NetworkSecurityRule {
	match := &models.IPAddrMatch{MatchCriteria: new("IS_NOT_IN")}
	for _, p := range prefixes {
		match.Prefixes = append(match.Prefixes, &models.IPAddrPrefix{IPAddr: ipAddr(p.Addr()), Mask: new(int32(p.Bits()))})
	}
	return &models.NetworkSecurityRule{
		Name:   new("source-ranges"),
		Index:  new(uint32(0)),
		Enable: new(true),
		Action: new("NETWORK_SECURITY_POLICY_ACTION_TYPE_DENY"),
		Match:  &models.NetworkSecurityMatchTarget{ClientIP: match},
	}
}

// securityPolicy is the policy of the clients' rules.
func (b *builder) securityPolicy(f frontend) *models.NetworkSecurityPolicy {
	return &models.NetworkSecurityPolicy{
		Name:      &f.name,
		CreatedBy: &b.in.Settings.CreatedBy,
		TenantRef: new(model.RefByName(model.Tenant, f.tenant)),
		Markers:   b.markers(b.in.Owner.virtualServiceMarks()),
		Rules:     f.clients.rules,
	}
}
