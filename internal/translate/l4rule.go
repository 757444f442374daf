// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/avi-l4-operator/avi-l4-operator/api/ako/crdoperator"
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
	// Monitors are the HealthMonitors that the rule names, by name; one that is named and not in here doesn't exist.
	Monitors map[string]*crdoperator.HealthMonitor
	// NoMonitors: the API server has no such type.
	NoMonitors bool
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
func (r Rule) usable(f *model.Facts, tenant string) (spec *v1alpha2.L4RuleSpec, reason, problem string) {
	switch {
	case r.Problem != "":
		return nil, r.Reason, r.Problem
	case r.Name == "":
		return nil, "", ""
	case r.Object == nil:
		return nil, model.ReasonRuleMissing, fmt.Sprintf("there is no L4Rule %s; create it, or name another one", r.Name)
	}
	if problems := RuleProblems(r, f, tenant); len(problems) > 0 {
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

// RuleKinds are the kinds that have to be listed before a rule can be judged: all of them in a tenant that is not the configured one, where
// some always are.
func RuleKinds(r *v1alpha2.L4Rule) (out []model.Kind) {
	for _, ref := range references(&r.Spec) {
		if !slices.Contains(out, ref.kind) {
			out = append(out, ref.kind)
		}
	}
	return out
}

// Kinds are the kinds that an input refers to by names that people give.
func (in *Input) Kinds() (out []model.Kind) {
	if in.Owner.Annotations()[AnnotationApplicationProfile] != "" {
		out = append(out, model.ApplicationProfile)
	}
	if s := in.Setting.Object; s != nil && s.Spec.SEGroup != nil || in.Settings.Placement.VPC { // a VPC's group may be its project's
		out = append(out, model.ServiceEngineGroup)
	}
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

// What AKO's CRD fills in by itself. A rule that has these values may not have said so, and they are the Controller's own defaults;
// networkProfileRef would make every SCTP and UDP VirtualService a TCP one.
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
// reference of a kind that could not be listed is not doubted. The tenant is that in which the rule's references are resolved.
func RuleProblems(r Rule, f *model.Facts, tenant string) (out []string) {
	spec := &r.Object.Spec
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
		for _, problem := range r.monitorProblems(p, tenant) {
			out = append(out, fmt.Sprintf("backendProperties[%d].healthMonitorCrdRefs: %s", i, problem))
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
