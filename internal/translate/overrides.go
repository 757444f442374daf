// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"fmt"
	"slices"

	"github.com/vmware/alb-sdk/go/models"

	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1alpha2"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
)

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

// onlyEnterprise is an override of which some values need an Enterprise licence.
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
			ref := model.RefByName(model.DataScriptSet, name)
			vs.VsDatascripts = append(vs.VsDatascripts, &models.VSDataScripts{Index: new(int32(i)), VsDatascriptSetRef: &ref})
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
