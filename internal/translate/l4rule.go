package translate

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/vmware/alb-sdk/go/models"
	"k8s.io/apimachinery/pkg/types"

	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1alpha2"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
)

// AnnotationRule names an L4Rule, as "name" or "namespace/name": on a Service or a Gateway for its VirtualService, and on a
// Service for the pools that it is behind.
const AnnotationRule = "ako.vmware.com/l4rule"

// Rule is the L4Rule that a Service or a Gateway names. The zero value is none.
type Rule struct {
	Name string // "<namespace>/<name>"
	// Object is nil if it doesn't exist, or could not be read.
	Object *v1alpha2.L4Rule
	// Problem, where set, is why it isn't even known which one it is, or what it says, with its Reason.
	Problem, Reason string
}

// RuleKey is the L4Rule that an object's annotation names; ok is false if it names none. The key is empty if the annotation
// can't be read.
func RuleKey(namespace string, annotations map[string]string) (key types.NamespacedName, ok bool) {
	text := strings.TrimSpace(annotations[AnnotationRule])
	if text == "" {
		return key, false
	}
	of, name, qualified := strings.Cut(text, "/")
	switch {
	case !qualified:
		return types.NamespacedName{Namespace: namespace, Name: text}, true
	case of == "" || name == "" || strings.Contains(name, "/"):
		return key, true
	}
	return types.NamespacedName{Namespace: of, Name: name}, true
}

// same reports whether two objects name the same rule.
func (r Rule) same(as Rule) bool { return r.Name == as.Name && r.Problem == as.Problem }

// usable is a rule's spec; nil if there is no rule, or none that can be used, and then why.
func (r Rule) usable(f *model.Facts) (spec *v1alpha2.L4RuleSpec, reason, problem string) {
	switch {
	case r.Problem != "":
		return nil, r.Reason, r.Problem
	case r.Name == "":
		return nil, "", ""
	case r.Object == nil:
		return nil, model.ReasonRuleMissing, fmt.Sprintf("there is no L4Rule %s; create it, or name another one", r.Name)
	}
	if problems := RuleProblems(r.Object, f); len(problems) > 0 {
		return nil, model.ReasonRuleRejected, fmt.Sprintf("L4Rule %s: %s", r.Name, strings.Join(problems, "; "))
	}
	return &r.Object.Spec, "", ""
}

// reference is a field of a rule that names objects of the Controller.
type reference struct {
	field string // as the rule spells it
	kind  model.Kind
	names []string
}

// references are those of a rule that say something.
func references(spec *v1alpha2.L4RuleSpec) []reference {
	out := []reference{
		{"analyticsProfileRef", model.AnalyticsProfile, []string{said(spec.AnalyticsProfileRef, defaultAnalyticsProfile)}},
		{"applicationProfileRef", model.ApplicationProfile, []string{spec.ApplicationProfileRef}},
		{"networkProfileRef", model.NetworkProfile, []string{spec.NetworkProfileRef}},
		{"networkSecurityPolicyRef", model.NetworkSecurityPolicy, []string{spec.NetworkSecurityPolicyRef}},
		{"securityPolicyRef", model.SecurityPolicy, []string{spec.SecurityPolicyRef}},
		{"vsDatascriptRefs", model.DataScriptSet, spec.VsDatascriptRefs},
		{"sslProfileRef", model.SSLProfile, []string{spec.SslProfileRef}},
		{"sslKeyAndCertificateRefs", model.Certificate, spec.SslKeyAndCertificateRefs},
	}
	for i := range spec.BackendProperties {
		p := &spec.BackendProperties[i]
		at := fmt.Sprintf("backendProperties[%d].", i)
		out = append(out,
			reference{at + "applicationPersistenceProfileRef", model.PersistenceProfile, []string{p.ApplicationPersistenceProfileRef}},
			reference{at + "healthMonitorRefs", model.HealthMonitor, p.HealthMonitorRefs},
			reference{at + "sslProfileRef", model.SSLProfile, []string{p.SslProfileRef}},
			reference{at + "sslKeyAndCertificateRef", model.Certificate, []string{p.SslKeyAndCertificateRef}},
			reference{at + "pkiProfileRef", model.PKIProfile, []string{p.PkiProfileRef}},
		)
	}
	for i := range out {
		out[i].names = slices.DeleteFunc(slices.Clone(out[i].names), func(name string) bool { return name == "" })
	}
	return slices.DeleteFunc(out, func(r reference) bool { return len(r.names) == 0 })
}

// RuleKinds are the kinds that have to be listed before a rule can be judged, beside those that always are.
func RuleKinds(r *v1alpha2.L4Rule) (out []model.Kind) {
	for _, ref := range references(&r.Spec) {
		if ref.kind.Type().OnDemand && !slices.Contains(out, ref.kind) {
			out = append(out, ref.kind)
		}
	}
	return out
}

// Kinds are the kinds that the rules of an input refer to and that are listed on demand.
func (in *Input) Kinds() (out []model.Kind) {
	add := func(r Rule) {
		if r.Object != nil {
			out = append(out, RuleKinds(r.Object)...)
		}
	}
	add(in.Rule)
	for i := range in.Backends {
		add(in.Backends[i].Rule)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// What AKO's CRD fills in by itself. A rule that has these values may not have said so, and they are what the Controller does
// without being told; networkProfileRef would make every SCTP and UDP VirtualService a TCP one.
const (
	defaultAnalyticsProfile = "System-Analytics-Profile"
	defaultNetworkProfile   = "System-TCP-Proxy"
	defaultAlgorithm        = "LB_ALGORITHM_LEAST_CONNECTIONS"
)

// said is a rule's value, "" if it is the one that AKO's CRD fills in.
func said(value, filledIn string) string {
	if value == filledIn {
		return ""
	}
	return value
}

// The Controller's types of profiles.
const (
	typeL4       = "APPLICATION_PROFILE_TYPE_L4"
	typeSSL      = "APPLICATION_PROFILE_TYPE_SSL"
	typeTCPProxy = "PROTOCOL_TYPE_TCP_PROXY"

	sslApplicationProfile = "System-SSL-Application"
)

// RuleProblems lists what keeps a rule from being used on this Controller, by anybody: nothing of a rule is used then. A
// reference of a kind that could not be listed is not doubted.
func RuleProblems(r *v1alpha2.L4Rule, f *model.Facts) (out []string) {
	spec := &r.Spec
	for _, ref := range references(spec) {
		for _, name := range ref.names {
			if f.Lacks(ref.kind, name) {
				out = append(out, fmt.Sprintf("%s: the Controller has no %s %q; create it or correct the name", ref.field, ref.kind.Title(), name))
			}
		}
	}
	if text := strings.TrimSpace(spec.LoadBalancerIP); text != "" {
		if a, err := netip.ParseAddr(text); err != nil || a.Zone() != "" {
			out = append(out, fmt.Sprintf("loadBalancerIP: %q is not an IP address such as 10.1.2.3 or fd00::3", text))
		}
	}
	if isSet(spec.RevokeVipRoute) && f.Cloud.Type != "CLOUD_NSXT" {
		out = append(out, fmt.Sprintf("revokeVipRoute is for NSX-T clouds, %s is of type %s; remove it", f.Cloud.Name, f.Cloud.Type))
	}
	out = append(out, sslProblems(spec, f)...)
	seen := make(map[model.Port]bool)
	for i := range spec.BackendProperties {
		p := &spec.BackendProperties[i]
		port := model.Port{Number: p.Port, Protocol: p.Protocol}
		if seen[port] {
			out = append(out, fmt.Sprintf("backendProperties[%d]: %s is there twice; remove one of the two", i, port))
		}
		seen[port] = true
		for _, problem := range backendProblems(p) {
			out = append(out, fmt.Sprintf("backendProperties[%d]: %s", i, problem))
		}
	}
	return out
}

// sslProblems are about TLS that the VirtualService ends.
func sslProblems(spec *v1alpha2.L4RuleSpec, f *model.Facts) (out []string) {
	application := f.Types[model.ApplicationProfile][spec.ApplicationProfileRef]
	if application != "" && application != typeL4 && application != typeSSL {
		out = append(out, fmt.Sprintf("applicationProfileRef: %s is of type %s; layer 4 needs one of type L4 or SSL", spec.ApplicationProfileRef, application))
	}
	var ports []string
	for _, l := range spec.ListenerProperties {
		if isSet(l.EnableSsl) {
			ports = append(ports, fmt.Sprintf("%s %d", l.Protocol, l.Port))
			if l.Protocol != "TCP" {
				out = append(out, fmt.Sprintf("listenerProperties: %s %d can't have enableSsl, only a TCP port can", l.Protocol, l.Port))
			}
		}
	}
	network := f.Types[model.NetworkProfile][spec.NetworkProfileRef]
	switch {
	case len(ports) == 0:
		if application == typeSSL {
			out = append(out, fmt.Sprintf("applicationProfileRef: %s is of type SSL and no port of listenerProperties has enableSsl: set it, or name a profile of type L4", spec.ApplicationProfileRef))
		}
		return out
	case len(ports) > 1:
		out = append(out, "listenerProperties: only one port can have enableSsl, there are "+strings.Join(ports, ", "))
	}
	if application == typeL4 && spec.ApplicationProfileRef != defaultApplicationProfile {
		out = append(out, fmt.Sprintf("applicationProfileRef: %s is of type L4; enableSsl needs one of type SSL, such as %s", spec.ApplicationProfileRef, sslApplicationProfile))
	}
	if network != "" && network != typeTCPProxy {
		out = append(out, fmt.Sprintf("networkProfileRef: %s is of type %s; enableSsl needs a TCP proxy, such as %s", spec.NetworkProfileRef, network, defaultNetworkProfile))
	}
	if len(spec.SslKeyAndCertificateRefs) == 0 {
		out = append(out, "sslKeyAndCertificateRefs is empty: enableSsl needs a certificate")
	}
	if wanted := sslApplication(spec); f.Lacks(model.ApplicationProfile, wanted) && wanted == sslApplicationProfile {
		out = append(out, "the Controller has no application profile "+wanted+", which enableSsl needs; restore it in tenant admin")
	}
	return out
}

// backendProblems are about one entry of backendProperties.
func backendProblems(p *v1alpha2.BackendProperties) (out []string) {
	const hash, header = "LB_ALGORITHM_CONSISTENT_HASH", "LB_ALGORITHM_CONSISTENT_HASH_CUSTOM_HEADER"
	if p.Protocol != "TCP" && cmp.Or(p.SslProfileRef, p.SslKeyAndCertificateRef, p.PkiProfileRef) != "" {
		out = append(out, "TLS to the servers needs protocol TCP: remove sslProfileRef, sslKeyAndCertificateRef and pkiProfileRef")
	}
	switch {
	case p.LbAlgorithm == "LB_ALGORITHM_NEAREST_SERVER" || p.LbAlgorithm == "LB_ALGORITHM_TOPOLOGY":
		out = append(out, "lbAlgorithm: "+p.LbAlgorithm+" is for global server load balancing only")
	case p.LbAlgorithmHash != "" && p.LbAlgorithm != hash:
		out = append(out, "lbAlgorithmHash needs lbAlgorithm "+hash)
	case p.LbAlgorithmConsistentHashHdr != "" && p.LbAlgorithmHash != header:
		out = append(out, "lbAlgorithmConsistentHashHdr needs lbAlgorithmHash "+header)
	case p.LbAlgorithmConsistentHashHdr == "" && p.LbAlgorithmHash == header:
		out = append(out, "lbAlgorithmHash "+header+" needs lbAlgorithmConsistentHashHdr")
	}
	return out
}

func isSet(b *bool) bool { return b != nil && *b }

// sslPort is the port on which a rule has TLS ended.
func sslPort(spec *v1alpha2.L4RuleSpec) (model.Port, bool) {
	for _, l := range spec.ListenerProperties {
		if isSet(l.EnableSsl) {
			return model.Port{Number: l.Port, Protocol: l.Protocol}, true
		}
	}
	return model.Port{}, false
}

// sslApplication is the application profile with which TLS is ended. System-L4-Application is what AKO's CRD fills in.
func sslApplication(spec *v1alpha2.L4RuleSpec) string {
	return cmp.Or(said(spec.ApplicationProfileRef, defaultApplicationProfile), sslApplicationProfile)
}

// override is how one field of a rule becomes one of a body. B is the body, R the part of the rule that is about it.
type override[B, R any] struct {
	rule, body string // the fields' names
	// set gives the body the rule's value; it reports whether the rule says anything.
	set func(*B, *R) bool
	// enterprise, where set, reports whether only Enterprise licences have the value, and since is the first release with the
	// field.
	enterprise func(*R) bool
	since      string
}

// always: every value needs Enterprise.
func always[R any](*R) bool { return true }

// text is an override of a string, or of a reference to an object of a kind.
func text[B, R any](rule, body string, to func(*B) **string, from func(*R) string, kind model.Kind) override[B, R] {
	return override[B, R]{rule: rule, body: body, set: func(b *B, r *R) bool {
		value := from(r)
		if value == "" {
			return false
		}
		if kind != "" {
			value = model.RefByName(kind, value)
		}
		*to(b) = &value
		return true
	}}
}

// enterprise is an override of which some values need an Enterprise licence.
func (o override[B, R]) onlyEnterprise(which func(*R) bool) override[B, R] {
	o.enterprise = which
	return o
}

type (
	vsOverride   = override[models.VirtualService, v1alpha2.L4RuleSpec]
	poolOverride = override[models.Pool, v1alpha2.BackendProperties]
)

// vsOverrides are the fields of a VirtualService that only a rule sets. Profiles, listeners and the address, which the operator
// chooses itself where no rule does, are not among them. Editions and releases: the API's schema.
var vsOverrides = []vsOverride{
	{rule: "analyticsPolicy", body: "analytics_policy", set: func(vs *models.VirtualService, r *v1alpha2.L4RuleSpec) bool {
		if r.AnalyticsPolicy == nil || r.AnalyticsPolicy.FullClientLogs == nil {
			return false
		}
		logs := r.AnalyticsPolicy.FullClientLogs
		vs.AnalyticsPolicy = &models.AnalyticsPolicy{FullClientLogs: &models.FullClientLogs{Enabled: new(logs.Enabled),
			Duration: new(uint32(max(0, deref(logs.Duration, 30)))), Throttle: new(uint32(max(0, deref(logs.Throttle, 10))))}}
		return true
	}},
	text("analyticsProfileRef", "analytics_profile_ref", func(vs *models.VirtualService) **string { return &vs.AnalyticsProfileRef },
		func(r *v1alpha2.L4RuleSpec) string { return said(r.AnalyticsProfileRef, defaultAnalyticsProfile) }, model.AnalyticsProfile),
	{rule: "performanceLimits", body: "performance_limits", set: func(vs *models.VirtualService, r *v1alpha2.L4RuleSpec) bool {
		if l := r.PerformanceLimits; l != nil && deref(l.MaxConcurrentConnections, 0)+deref(l.MaxThroughput, 0) > 0 {
			vs.PerformanceLimits = &models.PerformanceLimits{MaxConcurrentConnections: l.MaxConcurrentConnections, MaxThroughput: l.MaxThroughput}
			return true
		}
		return false
	}, enterprise: func(r *v1alpha2.L4RuleSpec) bool { return r.PerformanceLimits.MaxThroughput != nil }},
	text("networkSecurityPolicyRef", "network_security_policy_ref", func(vs *models.VirtualService) **string { return &vs.NetworkSecurityPolicyRef },
		func(r *v1alpha2.L4RuleSpec) string { return r.NetworkSecurityPolicyRef }, model.NetworkSecurityPolicy),
	text("securityPolicyRef", "security_policy_ref", func(vs *models.VirtualService) **string { return &vs.SecurityPolicyRef },
		func(r *v1alpha2.L4RuleSpec) string { return r.SecurityPolicyRef }, model.SecurityPolicy).onlyEnterprise(always),
	{rule: "vsDatascriptRefs", body: "vs_datascripts", set: func(vs *models.VirtualService, r *v1alpha2.L4RuleSpec) bool {
		for i, name := range r.VsDatascriptRefs { // AKO counts from 0, too
			vs.VsDatascripts = append(vs.VsDatascripts, &models.VSDataScripts{Index: new(int32(i)), VsDatascriptSetRef: new(model.RefByName(model.DataScriptSet, name))})
		}
		return len(r.VsDatascriptRefs) > 0
	}, enterprise: always[v1alpha2.L4RuleSpec]},
	{rule: "revokeVipRoute", body: "revoke_vip_route", set: func(vs *models.VirtualService, r *v1alpha2.L4RuleSpec) bool {
		if !isSet(r.RevokeVipRoute) {
			return false
		}
		vs.RevokeVipRoute = new(true)
		return true
	}, enterprise: always[v1alpha2.L4RuleSpec], since: "30.2.1"},
	text("sslProfileRef", "ssl_profile_ref", func(vs *models.VirtualService) **string { return &vs.SslProfileRef },
		func(r *v1alpha2.L4RuleSpec) string { return ifSSL(r, r.SslProfileRef) }, model.SSLProfile),
	{rule: "sslKeyAndCertificateRefs", body: "ssl_key_and_certificate_refs", set: func(vs *models.VirtualService, r *v1alpha2.L4RuleSpec) bool {
		if _, ssl := sslPort(r); !ssl {
			return false
		}
		for _, name := range r.SslKeyAndCertificateRefs {
			vs.SslKeyAndCertificateRefs = append(vs.SslKeyAndCertificateRefs, model.RefByName(model.Certificate, name))
		}
		return len(r.SslKeyAndCertificateRefs) > 0
	}},
}

// ifSSL is a value that is used only where TLS is ended.
func ifSSL(r *v1alpha2.L4RuleSpec, value string) string {
	if _, ssl := sslPort(r); ssl {
		return value
	}
	return ""
}

// poolOverrides are the fields of a Pool that only a rule sets; its monitors are chosen by the operator where no rule does.
var poolOverrides = []poolOverride{
	{rule: "enabled", body: "enabled", set: func(p *models.Pool, r *v1alpha2.BackendProperties) bool {
		if deref(r.Enabled, true) {
			return false
		}
		p.Enabled = new(false)
		return true
	}},
	text("applicationPersistenceProfileRef", "application_persistence_profile_ref", func(p *models.Pool) **string { return &p.ApplicationPersistenceProfileRef },
		func(r *v1alpha2.BackendProperties) string { return r.ApplicationPersistenceProfileRef }, model.PersistenceProfile),
	text("lbAlgorithm", "lb_algorithm", func(p *models.Pool) **string { return &p.LbAlgorithm },
		func(r *v1alpha2.BackendProperties) string { return said(r.LbAlgorithm, defaultAlgorithm) }, "").
		onlyEnterprise(func(r *v1alpha2.BackendProperties) bool {
			return r.LbAlgorithm != "LB_ALGORITHM_ROUND_ROBIN" && r.LbAlgorithm != "LB_ALGORITHM_CONSISTENT_HASH"
		}),
	text("lbAlgorithmHash", "lb_algorithm_hash", func(p *models.Pool) **string { return &p.LbAlgorithmHash },
		func(r *v1alpha2.BackendProperties) string { return r.LbAlgorithmHash }, "").
		onlyEnterprise(func(r *v1alpha2.BackendProperties) bool {
			return r.LbAlgorithmHash != "LB_ALGORITHM_CONSISTENT_HASH_SOURCE_IP_ADDRESS"
		}),
	text("lbAlgorithmConsistentHashHdr", "lb_algorithm_consistent_hash_hdr", func(p *models.Pool) **string { return &p.LbAlgorithmConsistentHashHdr },
		func(r *v1alpha2.BackendProperties) string { return r.LbAlgorithmConsistentHashHdr }, ""),
	{rule: "minServersUp", body: "min_servers_up", set: func(p *models.Pool, r *v1alpha2.BackendProperties) bool {
		if deref(r.MinServersUp, 0) <= 0 {
			return false
		}
		p.MinServersUp = new(uint32(*r.MinServersUp))
		return true
	}},
	text("pkiProfileRef", "pki_profile_ref", func(p *models.Pool) **string { return &p.PkiProfileRef },
		func(r *v1alpha2.BackendProperties) string { return r.PkiProfileRef }, model.PKIProfile),
	text("sslKeyAndCertificateRef", "ssl_key_and_certificate_ref", func(p *models.Pool) **string { return &p.SslKeyAndCertificateRef },
		func(r *v1alpha2.BackendProperties) string { return r.SslKeyAndCertificateRef }, model.Certificate),
	text("sslProfileRef", "ssl_profile_ref", func(p *models.Pool) **string { return &p.SslProfileRef },
		func(r *v1alpha2.BackendProperties) string { return r.SslProfileRef }, model.SSLProfile),
	{rule: "analyticsPolicy", body: "analytics_policy", set: func(p *models.Pool, r *v1alpha2.BackendProperties) bool {
		if r.AnalyticsPolicy == nil || !isSet(r.AnalyticsPolicy.EnableRealtimeMetrics) {
			return false
		}
		p.AnalyticsPolicy = &models.PoolAnalyticsPolicy{EnableRealtimeMetrics: new(true)}
		return true
	}},
}

// part is the object that a part of a rule is for; about begins a sentence about that part.
type part struct {
	key   model.Key
	port  model.Port // zero: a VirtualService
	about string
}

// overridden gives a body what a rule says, and returns the fields that are the rule's and those that it would set and can't have
// on this Controller, which is reported.
func overridden[B, R any](b *builder, table []override[B, R], body *B, rule *R, to part) (fields, refused []string) {
	for _, row := range table {
		if !row.set(new(B), rule) {
			continue
		}
		about, instead := to.about, "it is not used"
		if slices.Contains(b.in.Live.ruled[to.key], row.body) {
			instead = "what it set before stays"
		}
		switch f := b.in.Facts; {
		case row.since != "" && !f.AtLeast(row.since):
			b.report(model.Degraded, to.port, model.ReasonControllerTooOld, fmt.Sprintf("%s: %s needs an Avi Controller %s or newer, this one is %s; %s", about, row.rule, row.since, f.Version, instead))
		case row.enterprise != nil && row.enterprise(rule) && !f.Enterprise():
			b.report(model.Degraded, to.port, model.ReasonLicenseTier, fmt.Sprintf("%s: this value of %s needs the licence tier ENTERPRISE or ENTERPRISE_WITH_CLOUD_SERVICES, the Controller's default tier is %s; %s", about, row.rule, f.LicenseTier, instead))
		default:
			row.set(body, rule)
			fields = append(fields, row.body)
			continue
		}
		refused = append(refused, row.body)
	}
	return fields, refused
}

// ruling is what an owner's rule says about its VirtualService.
type ruling struct {
	spec *v1alpha2.L4RuleSpec // nil: nothing
	// broken: there is a rule, and it can't be used; what serves keeps what a rule may have given it.
	broken bool
	// ssl: TLS is ended on the only port, whose pool is the VirtualService's own.
	ssl bool
}

// ruling reads the owner's rule. With one that can't be used a new owner waits, and a live one keeps what it has.
func (b *builder) ruling() ruling {
	spec, reason, problem := b.in.Rule.usable(b.in.Facts)
	if reason != "" {
		b.blockUnlessLive(reason, problem)
		return ruling{broken: true, ssl: b.in.Live.ssl}
	}
	r := ruling{spec: spec}
	if spec != nil {
		_, r.ssl = sslPort(spec)
	}
	return r
}

// ruleAddress is the third source of a static address.
func (b *builder) ruleAddress() []netip.Addr {
	if b.rule.spec == nil {
		return nil
	}
	text := strings.TrimSpace(b.rule.spec.LoadBalancerIP)
	if text == "" || b.reported(model.Port{}, model.ReasonInvalidAddress) {
		return nil
	}
	return valid(b.staticAddress("loadBalancerIP of L4Rule "+b.in.Rule.Name, text))
}

// fitRule looks whether the owner's listeners are such that its rule can be used on them.
func (b *builder) fitRule(f *frontend) {
	if b.rule.ssl && !b.rule.broken {
		port, _ := sslPort(b.rule.spec)
		if len(f.listeners) != 1 || f.listeners[0].port != port || f.listeners[0].grouped() || f.listeners[0].held != nil {
			b.blockUnlessLive(model.ReasonRuleRejected, fmt.Sprintf("L4Rule %s: enableSsl on %s needs that to be the only port of the %s, with one Service behind it, and its ports are %s",
				b.in.Rule.Name, port, b.in.Owner.Key().Kind.Noun(), portList(f.listeners)))
			b.rule = ruling{broken: true, ssl: b.in.Live.ssl}
		}
	}
	if b.rule.ssl && b.rule.broken { // no policy tells ports apart, so no port can be added
		f.listeners = slices.DeleteFunc(f.listeners, func(l listener) bool {
			if !b.open(l.port) {
				b.report(model.Blocked, l.port, model.ReasonRuleRejected, fmt.Sprintf("port %s waits until the L4Rule can be used: TLS is ended on another port", l.port))
			}
			return !b.open(l.port)
		})
		if len(f.listeners) == 0 && !b.blocked {
			b.noneServed()
		}
	}
	if spec := b.rule.spec; spec != nil {
		name := said(spec.NetworkProfileRef, defaultNetworkProfile)
		of, known := b.profileProtocol(name)
		if name != "" && known && !slices.ContainsFunc(f.listeners, func(l listener) bool { return l.proto.name == of }) {
			b.report(model.Degraded, model.Port{}, model.ReasonRuleIgnored, fmt.Sprintf("L4Rule %s: networkProfileRef %s is for %s and is not used: the ports are %s", b.in.Rule.Name, name, of, portList(f.listeners)))
		}
		if asked := strings.TrimSpace(b.in.Owner.Annotations()[AnnotationApplicationProfile]); asked != "" && spec.ApplicationProfileRef != "" && asked != spec.ApplicationProfileRef {
			b.report(model.Note, model.Port{}, model.ReasonRuleIgnored, fmt.Sprintf("annotation %s: %s is not used, because L4Rule %s names %s", AnnotationApplicationProfile, asked, b.in.Rule.Name, spec.ApplicationProfileRef))
		}
	}
	for i := range b.in.Backends {
		b.fitBackend(&b.in.Backends[i])
	}
}

// fitBackend tells a Service of a rule for pools of which none is the Service's.
func (b *builder) fitBackend(backend *Backend) {
	spec, _, _ := backend.Rule.usable(b.in.Facts)
	if spec == nil || len(spec.BackendProperties) == 0 {
		return
	}
	for _, p := range backend.Service.Spec.Ports {
		if backendProperties(spec, portOfService(p)) != nil {
			return
		}
	}
	b.report(model.Note, model.Port{}, model.ReasonRuleIgnored, fmt.Sprintf("L4Rule %s: none of its backendProperties is for a port of Service %s, which has %s", backend.Rule.Name, backend.Service.Name, portsOf(backend.Service)))
}

func portList(listeners []listener) string {
	out := make([]string, len(listeners))
	for i, l := range listeners {
		out[i] = l.port.String()
	}
	return cmp.Or(strings.Join(out, ", "), "none")
}

// backendProperties are those of a rule for a Service's port, nil if there are none.
func backendProperties(spec *v1alpha2.L4RuleSpec, port model.Port) *v1alpha2.BackendProperties {
	for i := range spec.BackendProperties {
		if p := &spec.BackendProperties[i]; p.Port == port.Number && p.Protocol == port.Protocol {
			return p
		}
	}
	return nil
}

// profileProtocol is the protocol that a network profile is of, by its type on the Controller.
func (b *builder) profileProtocol(name string) (protocol string, known bool) {
	kind := b.in.Facts.Types[model.NetworkProfile][name]
	for _, p := range protocols {
		if strings.HasPrefix(kind, "PROTOCOL_TYPE_"+p.name+"_") {
			return p.name, true
		}
	}
	return "", false
}

// ruledProfile is the network profile that the rule names for a protocol, "" if none. One whose type isn't known is for the
// protocol of the VirtualService's own profile. What AKO's CRD fills in is for TCP only, and there for a licence that has it.
func (b *builder) ruledProfile(p protocol, isBase bool) string {
	if b.rule.spec == nil {
		return ""
	}
	name := b.rule.spec.NetworkProfileRef
	if name == defaultNetworkProfile || name == "" && b.rule.ssl {
		if p.name == "TCP" && (b.rule.ssl || b.in.Facts.LicenseTier != "ESSENTIALS") {
			return defaultNetworkProfile
		}
		return ""
	}
	if of, known := b.profileProtocol(name); known && of == p.name || !known && isBase {
		return name
	}
	return ""
}

// ruledApplication is the application profile that the rule names, "" if none.
func (b *builder) ruledApplication() string {
	switch spec := b.rule.spec; {
	case spec == nil:
		return ""
	case b.rule.ssl:
		return sslApplication(spec)
	default:
		return spec.ApplicationProfileRef
	}
}

// ruleVS gives a VirtualService what the rule says about it.
func (b *builder) ruleVS(o *model.Object, f frontend) {
	vs, ok := o.Body.(*models.VirtualService)
	if !ok {
		return
	}
	vs.ServiceMetadata = keepCRDStatus(vs.ServiceMetadata, b.in.Live.crd[o.Key])
	if b.rule.broken {
		o.Keep = append(o.Keep, "application_profile_ref", "network_profile_ref")
		b.keepServices(vs)
		vs.Markers = marked(vs.Markers, b.in.Live.ruled[o.Key])
		return
	}
	var fields, refused []string
	if b.rule.spec != nil {
		fields, refused = overridden(b, vsOverrides, vs, b.rule.spec, part{key: o.Key, about: "L4Rule " + b.in.Rule.Name})
	}
	if b.rule.ssl && len(f.listeners[0].targets) > 0 {
		vs.PoolRef = new(model.RefByName(model.Pool, f.listeners[0].targets[0].pool))
		fields = append(fields, "pool_ref")
	}
	o.Ruled, vs.Markers = b.claim(o.Key, vs.Markers, fields, refused)
}

// keepServices leaves the ports that serve with the TLS and the network profile that they have.
func (b *builder) keepServices(vs *models.VirtualService) {
	with := func(list []*models.Service, port *uint32) (out []*models.Service) {
		for _, s := range list {
			if s != nil && deref(s.Port, 0) == *port {
				out = append(out, s)
			}
		}
		return out
	}
	for _, s := range vs.Services {
		live := with(b.in.Live.services, s.Port)
		if len(live) != 1 || len(with(vs.Services, s.Port)) != 1 {
			continue // one number for several protocols: which is which the Controller doesn't say
		}
		s.EnableSsl, s.OverrideNetworkProfileRef = new(isSet(live[0].EnableSsl)), again(live[0].OverrideNetworkProfileRef)
	}
}

// rulePool gives a pool what its Service's rule says about it.
func (b *builder) rulePool(o *model.Object, t target) {
	p, ok := o.Body.(*models.Pool)
	if !ok {
		return
	}
	p.ServiceMetadata = keepCRDStatus(p.ServiceMetadata, b.in.Live.crd[o.Key])
	rule := t.backend.Rule
	about := fmt.Sprintf("port %s: L4Rule %s of Service %s", t.port, rule.Name, t.backend.Service.Name)
	spec, reason, problem := rule.usable(b.in.Facts)
	if reason != "" || b.rule.broken && rule.same(b.in.Rule) {
		if !rule.same(b.in.Rule) {
			b.report(model.Degraded, t.port, reason, fmt.Sprintf("port %s: Service %s: %s; %s", t.port, t.backend.Service.Name, problem, b.poolKeeps(t)))
		}
		if b.exists(t) {
			o.Keep = append(o.Keep, "health_monitor_refs")
		}
		p.Markers = marked(p.Markers, b.in.Live.ruled[o.Key])
		return
	}
	var fields, refused []string
	if spec != nil {
		if r := backendProperties(spec, portOfService(t.backendPort)); r != nil {
			fields, refused = overridden(b, poolOverrides, p, r, part{o.Key, t.port, about})
			b.monitors(o, p, r, t, about)
		}
	}
	o.Ruled, p.Markers = b.claim(o.Key, p.Markers, fields, refused)
}

func (b *builder) poolKeeps(t target) string {
	if b.exists(t) {
		return "its pool keeps what it has"
	}
	return "its pool gets the defaults until then"
}

// monitors are the rule's. AKO's HealthMonitor objects are not read: a pool that has monitors of them keeps those.
func (b *builder) monitors(o *model.Object, p *models.Pool, r *v1alpha2.BackendProperties, t target, about string) {
	if len(r.HealthMonitorRefs) > 0 {
		p.HealthMonitorRefs = nil
		for _, name := range r.HealthMonitorRefs {
			p.HealthMonitorRefs = append(p.HealthMonitorRefs, model.RefByName(model.HealthMonitor, name))
		}
		return
	}
	if len(r.HealthMonitorCrdRefs) == 0 {
		return
	}
	instead := "its pool gets " + t.proto.healthMonitor
	if b.exists(t) {
		instead = "its pool keeps the monitors that it has"
		o.Keep = append(o.Keep, "health_monitor_refs")
	}
	b.report(model.Degraded, t.port, model.ReasonUnusedField, fmt.Sprintf("%s: healthMonitorCrdRefs is not supported by this release: %s; name monitors of the Controller in healthMonitorRefs", about, instead))
}

// claim is what of an object is the operator's because a rule sets it, or did, and the markers with that written down. What the
// rule did not set this time only because the Controller can't have it stays.
func (b *builder) claim(key model.Key, marks []*models.RoleFilterMatchLabel, fields, refused []string) (ruled []string, _ []*models.RoleFilterMatchLabel) {
	ruled, keeps := slices.Clone(fields), slices.Clone(fields)
	for _, was := range b.in.Live.ruled[key] {
		switch {
		case slices.Contains(fields, was):
		case slices.Contains(refused, was):
			keeps = append(keeps, was)
		default:
			ruled = append(ruled, was)
		}
	}
	slices.Sort(ruled)
	return ruled, marked(marks, keeps)
}

// marked are markers with the fields that a rule sets.
func marked(marks []*models.RoleFilterMatchLabel, fields []string) []*models.RoleFilterMatchLabel {
	if len(fields) == 0 {
		return marks
	}
	fields = slices.Clone(fields)
	slices.Sort(fields)
	return append(marks, &models.RoleFilterMatchLabel{Key: new(model.MarkRule), Values: fields})
}

// keepCRDStatus is service_metadata with what AKO noted there of an L4Rule.
func keepCRDStatus(text *string, live crdStatus) *string {
	var m metadata
	if live == (crdStatus{}) || json.Unmarshal([]byte(*text), &m) != nil {
		return text
	}
	m.CRDStatus = live
	return new(m.String())
}
