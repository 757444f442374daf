// SPDX-License-Identifier: Apache-2.0

package model

import (
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Facts is what the operator knows of the Controller apart from its own objects: release, licence, cloud, and which
// objects exist that bodies refer to. A Facts value is never changed once published.
type Facts struct {
	Version     string // the Controller's release, such as "22.1.3"
	APIVersion  string // X-Avi-Version of the calls that these facts were read with
	LicenseTier string // systemconfiguration.default_license_tier
	ClusterUUID string
	Cloud       CloudFacts
	DNSDomains  []string       // of the cloud's DNS profile, as Domains returns them
	Networks    []NetworkFacts // of the cloud, by name and UUID
	TenantVRF   string         // name of the default VRF context that the configured tenant has of its own; empty: none
	// Shared maps kind and name of the objects that are only referred to (profiles, monitors, groups …) to UUIDs. A kind that
	// isn't in it could not be listed: whether its objects exist is unknown.
	Shared map[Kind]map[string]string
	// Types maps kind and name of network profiles, application profiles and persistence profiles to their types, as the API
	// spells them. A name that isn't in it is of a type that isn't known.
	Types map[Kind]map[string]string
	// Tenants is what was looked up in tenants other than the configured one, by name: see In.
	Tenants map[string]TenantFacts
}

// TenantFacts are Shared and Types of one tenant, for the kinds that were looked up there: what the tenant has, and what it sees of the
// tenant admin.
type TenantFacts struct {
	Shared map[Kind]map[string]string
	Types  map[Kind]map[string]string
}

// CloudFacts is what matters of the Avi cloud.
type CloudFacts struct {
	Name string
	UUID string
	Type string // CLOUD_NONE, CLOUD_VCENTER, CLOUD_NSXT …
	VLAN bool   // NSX-T with a VLAN transport zone
	// Tier1LRs are the tier-1 routers that an NSX-T cloud was configured with, sorted; empty if it finds them itself.
	Tier1LRs []string
}

// NetworkFacts is what matters of one network. Names aren't unique: a vCenter may have the same one twice.
type NetworkFacts struct {
	Name, UUID string
	VRF        string         // name of its VRF context
	Subnets    []netip.Prefix // the configured ones
}

// Network finds a network by name or UUID; the first by UUID where several have the name.
func (f *Facts) Network(name, uuid string) (NetworkFacts, bool) {
	for _, n := range f.Networks {
		if name != "" && n.Name == name || uuid != "" && n.UUID == uuid {
			return n, true
		}
	}
	return NetworkFacts{}, false
}

// Has reports whether the Controller holds a shared object of that name.
func (f *Facts) Has(kind Kind, name string) bool {
	_, ok := f.Shared[kind][name]
	return ok
}

// Lacks reports whether the Controller is known to hold no shared object of that name.
func (f *Facts) Lacks(kind Kind, name string) bool {
	return f.Shared[kind] != nil && !f.Has(kind, name)
}

// In is what is known where references are resolved in a tenant that is not the configured one. It lacks nothing for certain of the kinds
// that were not looked up there.
func (f *Facts) In(tenant string) *Facts {
	out := *f
	out.Shared, out.Types = f.Tenants[tenant].Shared, f.Tenants[tenant].Types
	return &out
}

// With adds what was looked up in other tenants, where the configured one has nothing of the name.
func (f *Facts) With(tenants ...string) *Facts {
	if !slices.ContainsFunc(tenants, func(t string) bool { return f.Tenants[t].Shared != nil }) {
		return f
	}
	out := *f
	out.Shared = make(map[Kind]map[string]string, len(f.Shared))
	maps.Copy(out.Shared, f.Shared)
	for _, t := range tenants {
		for kind, names := range f.Tenants[t].Shared {
			both := make(map[string]string, len(names))
			maps.Copy(both, names)
			maps.Copy(both, out.Shared[kind])
			out.Shared[kind] = both
		}
	}
	return &out
}

// enterprise are the licence tiers with every feature. ENTERPRISE_16 and ENTERPRISE_18 are what older releases call Enterprise;
// a Controller that was upgraded may still carry them. The other tiers of the 30.2.1 schema are BASIC and ESSENTIALS.
var enterprise = map[string]bool{"ENTERPRISE": true, "ENTERPRISE_16": true, "ENTERPRISE_18": true, "ENTERPRISE_WITH_CLOUD_SERVICES": true}

// Enterprise reports whether the licence allows what SCTP and several protocols on one VirtualService need: SCTP
// profiles, protocol matches of L4 rules, per-service profile overrides.
func (f *Facts) Enterprise() bool { return enterprise[f.LicenseTier] }

// AtLeast reports whether the Controller is of a release or newer. An unknown release is taken as new enough, so that a
// Controller with an unusual answer is not refused.
func (f *Facts) AtLeast(release string) bool {
	return f.Version == "" || ReleaseAtLeast(f.Version, release)
}

// APIAtLeast reports whether the API is spoken in a version or a newer one.
func (f *Facts) APIAtLeast(version string) bool {
	return f.APIVersion != "" && ReleaseAtLeast(f.APIVersion, version)
}

// ReleaseAtLeast reports whether a release is another one or newer, number by number: "22.1.10" is newer than "22.1.3".
func ReleaseAtLeast(release, least string) bool {
	return slices.Compare(numbers(release), numbers(least)) >= 0
}

// Domains returns DNS domains as names are made with them: in lower case, without the dots that a profile may write before or
// behind them, each once, sorted.
func Domains(domains []string) []string {
	out := make([]string, 0, len(domains))
	for _, d := range domains {
		if d = Domain(d); d != "" {
			out = append(out, d)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Domain is one of Domains; "" for a text without any name in it.
func Domain(domain string) string {
	return strings.ToLower(strings.Trim(strings.TrimSpace(domain), "."))
}

func numbers(release string) []int {
	var out []int
	for part := range strings.SplitSeq(release, ".") {
		n, err := strconv.Atoi(part)
		if err != nil {
			break
		}
		out = append(out, n)
	}
	return out
}
