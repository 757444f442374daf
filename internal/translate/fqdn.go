// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
)

const labelMax = 63 // RFC 1035, section 2.3.4

var rfc1035 = regexp.MustCompile(`^[a-z]([-a-z0-9]*[a-z0-9])?$`)

// fqdns are the names that the VsVip is registered under: those of the external-dns annotation, else one made from the
// Service's name and the cloud's DNS domain, else none. As with AKO, autoFQDN disabled switches the annotation off too.
func (b *builder) fqdns(owner model.Owner, annotations map[string]string) []string {
	asked := strings.TrimSpace(annotations[AnnotationHostname])
	switch {
	case b.in.Settings.AutoFQDN == settings.FQDNDisabled && asked != "":
		b.report(model.Note, model.Port{}, model.ReasonUnusedField, fmt.Sprintf("annotation %s: %s is not registered, because autoFQDN of ConfigMap %s is disabled; set it to default or flat", AnnotationHostname, asked, settings.ConfigMapName))
		return nil
	case b.in.Settings.AutoFQDN == settings.FQDNDisabled:
		return nil
	case asked != "":
		return b.registrable(b.askedNames(asked))
	}
	domain := b.domain()
	if domain == "" {
		// A cloud that suddenly has no domain is more likely one that was misread: names that are in use stay.
		return b.registrable(b.in.Live.DNSNames)
	}
	if name := b.automaticName(owner.Namespace, owner.Name, domain); name != "" {
		return b.registrable([]string{name})
	}
	return nil
}

// registrable are the names that nobody else has and that the licence lets be registered: all or none of those.
func (b *builder) registrable(names []string) []string {
	names = slices.DeleteFunc(slices.Clone(names), func(n string) bool {
		by, taken := b.in.Taken[n]
		if taken {
			b.report(model.Degraded, model.Port{}, model.ReasonHostnameTaken, fmt.Sprintf("%s is not registered: %s has that name; choose another, or set fqdnReusePolicy of ConfigMap %s to InterNamespaceAllowed", n, by, settings.ConfigMapName))
		}
		return taken
	})
	names = b.asLive(names)
	if len(names) == 0 || b.in.Facts.Enterprise() || len(b.in.Live.DNSNames) > 0 {
		return names
	}
	b.report(model.Note, model.Port{}, model.ReasonLicenseTier, fmt.Sprintf("%s is not registered: DNS names need the licence tier ENTERPRISE or ENTERPRISE_WITH_CLOUD_SERVICES, the Controller's default tier is %s", strings.Join(names, ", "), b.in.Facts.LicenseTier))
	return nil
}

// asLive are the names in the spelling of those in use: DNS knows no capitals, and AKO registers an annotation as it is written.
func (b *builder) asLive(names []string) []string {
	out := slices.Clone(names)
	for i, name := range out {
		if at := slices.IndexFunc(b.in.Live.DNSNames, func(live string) bool { return strings.EqualFold(live, name) }); at >= 0 {
			out[i] = b.in.Live.DNSNames[at]
		}
	}
	return out
}

func (b *builder) askedNames(asked string) []string {
	var out []string
	for h := range strings.SplitSeq(asked, ",") {
		h = strings.ToLower(strings.TrimSuffix(strings.TrimSpace(h), "."))
		if !isDNSName(h) {
			b.report(model.Degraded, model.Port{}, model.ReasonInvalidHostname, fmt.Sprintf("annotation %s: %q is not a DNS name and is not registered; give names such as amf.example.com, separated by commas", AnnotationHostname, h))
			continue
		}
		if !slices.Contains(out, h) {
			out = append(out, h)
		}
	}
	slices.Sort(out)
	return out
}

// isDNSName reports whether a text can be the name of an address. An address itself can't: the API server takes none as the
// hostname of a status either (k8s.io/kubernetes/pkg/apis/core/validation, ValidateLoadBalancerStatus).
func isDNSName(text string) bool {
	_, err := netip.ParseAddr(text)
	return err != nil && len(validation.IsDNS1123Subdomain(text)) == 0
}

// automaticName is the name of a Service in a domain, as autoFQDN says; "" if it would be too long.
func (b *builder) automaticName(namespace, name, domain string) string {
	service, namespace := prefixed(name, "s"), prefixed(namespace, "n")
	if b.in.Settings.AutoFQDN == settings.FQDNFlat {
		return flatLabel(service, namespace) + "." + domain
	}
	if len(service) > labelMax || len(namespace) > labelMax {
		b.report(model.Degraded, model.Port{}, model.ReasonInvalidHostname, fmt.Sprintf("no DNS name: a label of %s.%s would have more than 63 characters; set annotation %s, or the hostname of a Gateway's listener", service, namespace, AnnotationHostname))
		return ""
	}
	return service + "." + namespace + "." + domain
}

// domain is the configured one if the cloud's DNS profile lists it, else the first that it lists.
func (b *builder) domain() string {
	domains, wanted := b.in.Facts.DNSDomains, b.in.Settings.DefaultDomain
	if wanted != "" {
		if slices.Contains(domains, wanted) {
			return wanted
		}
		b.report(model.Note, model.Port{}, model.ReasonNoDomain, fmt.Sprintf("the cloud's DNS profile does not list defaultDomain %s; it lists %q", wanted, strings.Join(slices.Sorted(slices.Values(domains)), ", ")))
	}
	if len(domains) == 0 {
		return ""
	}
	for _, d := range slices.Sorted(slices.Values(domains)) {
		// A domain in use stays in use when the cloud gets another that sorts before it.
		if slices.ContainsFunc(b.in.Live.DNSNames, func(name string) bool { return strings.HasSuffix(strings.ToLower(name), "."+d) }) {
			return d
		}
	}
	return slices.Min(domains)
}

// prefixed makes a label that starts with a digit, which Kubernetes allows and RFC 1035 does not, start with a letter.
func prefixed(label, prefix string) string {
	if rfc1035.MatchString(label) {
		return label
	}
	return prefix + label
}

// flatLabel joins service and namespace to one label of at most 63 characters. The service's name gives way first; the
// namespace only if it would leave no room at all, and if both are at the limit it keeps 48.
func flatLabel(service, namespace string) string {
	service, namespace = service[:min(len(service), labelMax)], namespace[:min(len(namespace), labelMax)]
	if len(service)+1+len(namespace) <= labelMax {
		return service + "-" + namespace
	}
	if labelMax-1-len(namespace) <= 0 {
		room := labelMax - 1 - len(service)
		if room <= 0 {
			room = 48
		}
		namespace = strings.TrimRight(namespace[:room], "-")
	}
	return service[:min(len(service), labelMax-1-len(namespace))] + "-" + namespace
}
