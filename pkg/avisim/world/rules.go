// SPDX-License-Identifier: Apache-2.0

package world

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/doc"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/schema"
)

// rule is one check that the Controller makes of what a client wants to write.
type rule struct {
	id      string
	typ     string          // object type that it is made for; "" for all
	known   schema.Evidence // that the rule exists
	text    schema.Evidence // that status and text are as they are
	status  int
	summary string
	check   func(*write) string // the text of the refusal, "" if the write passes; nil: made elsewhere in the pipeline
	off     bool                // not in force unless switched on
}

// ruleTable lists all rules, in the order in which they are checked. Those without a check are made at the step of the
// pipeline where they belong and are listed so that they can be switched off like the rest.
var ruleTable = []rule{
	{id: "version-field", known: schema.Documented, text: schema.Documented, status: 400,
		summary: "no field that is newer than X-Avi-Version"},
	{id: "version-value", known: schema.Inferred, text: schema.Inferred, status: 400,
		summary: "no value of an enumeration that is newer than X-Avi-Version"},
	{id: "unknown-field", known: schema.Unverified, text: schema.Unverified, status: 400, summary: "no field that the schema does not have",
		off: true},
	{id: "field-range", known: schema.Documented, text: schema.Unverified, status: 400, summary: "numbers are within their range"},
	{id: "field-enum", known: schema.Documented, text: schema.Unverified, status: 400, summary: "values are those of the enumeration"},
	{id: "list-max", known: schema.Documented, text: schema.Unverified, status: 400, summary: "lists are not too long"},
	{id: "tenant-ref", known: schema.Unverified, text: schema.Unverified, status: 400, summary: "tenant_ref is the tenant of the request",
		off: true}, // the vendor's own tests let the header win
	{id: "cloud-change", known: schema.Unverified, text: schema.Unverified, status: 400, summary: "the cloud is fixed"},
	{id: "tier-field", known: schema.Documented, text: schema.Unverified, status: 400, summary: "fields of the licence tier only"},
	{id: "tier-contested", known: schema.Unverified, text: schema.Unverified, status: 400,
		summary: "no dns_info and no protocol in an L4 rule below Enterprise, as the schema of 30.2.1 has it; later models and AKO have them"},
	{id: "tier-value", known: schema.Documented, text: schema.Unverified, status: 400, summary: "values of the licence tier only"},
	{id: "ref-exists", known: schema.Documented, text: schema.Documented, status: 400, summary: "references lead to an object"},
	{id: "name-unique", known: schema.Documented, text: schema.Documented, status: 409,
		summary: "one object of a type, a name, a tenant and, if it has one, a cloud"},
	{id: "name-length", known: schema.Unverified, text: schema.Unverified, status: 400, summary: "names have up to 255 characters",
		check: nameLength},
	{id: "vs-tier-profile", typ: "virtualservice", known: schema.Documented, text: schema.Unverified, status: 400,
		summary: "network profiles of the licence tier only", check: vsTierProfile},
	{id: "vs-address", typ: "virtualservice", known: schema.Inferred, text: schema.Unverified, status: 400,
		summary: "vsvip_ref or vip, children excepted", check: vsAddress},
	{id: "vs-services-required", typ: "virtualservice", known: schema.Documented, text: schema.Documented, status: 400,
		summary: "at least one service, children excepted", check: vsServicesRequired},
	{id: "vs-cloud", typ: "virtualservice", known: schema.Inferred, text: schema.Unverified, status: 400,
		summary: "one cloud for VS, VsVip, pools and SE group", check: vsCloud},
	{id: "vs-vrf", typ: "virtualservice", known: schema.Documented, text: schema.Documented, status: 400, summary: "one VRF for VS and pools",
		check: vsVRF},
	{id: "vs-services", typ: "virtualservice", known: schema.Inferred, text: schema.Unverified, status: 400,
		summary: "no port twice for one protocol", check: vsServices},
	{id: "vs-service-ranges", typ: "virtualservice", known: schema.Inferred, text: schema.Unverified, status: 400,
		summary: "port ranges of one protocol do not overlap", check: vsServiceRanges},
	{id: "vs-service-range-end", typ: "virtualservice", known: schema.Unverified, text: schema.Unverified, status: 400,
		summary: "the range of a service does not end below its port", check: vsServiceRangeEnd},
	{id: "vs-pool-and-group", typ: "virtualservice", known: schema.Unverified, text: schema.Unverified, status: 400,
		summary: "pool_ref or pool_group_ref, not both", check: vsPoolAndGroup},
	{id: "vs-http", typ: "virtualservice", known: schema.Documented, text: schema.Unverified, status: 400,
		summary: "HTTP application profiles need a TCP proxy", check: vsHTTP},
	{id: "vs-ssl", typ: "virtualservice", known: schema.Documented, text: schema.Unverified, status: 400,
		summary: "SSL application profiles need a TCP proxy and an enable_ssl service", check: vsSSL},
	{id: "vs-l4-policies", typ: "virtualservice", known: schema.Unverified, text: schema.Unverified, status: 400,
		summary: "l4_policies need an L4 application profile", check: vsL4Policies},
	{id: "vs-shared-vip", typ: "virtualservice", known: schema.Inferred, text: schema.Unverified, status: 400,
		summary: "one VS for a port and protocol of a VsVip", check: sharedVIP(true)},
	{id: "vs-shared-vip-protocol", typ: "virtualservice", known: schema.Unverified, text: schema.Unverified, status: 400,
		summary: "one VS for a port of a VsVip, whatever the protocol", check: sharedVIP(false)},
	{id: "vs-shared-vip-segroup", typ: "virtualservice", known: schema.Inferred, text: schema.Unverified, status: 400,
		summary: "one SE group for all VS of a VsVip, as they share SEs", check: sharedGroup},
	{id: "vs-shared-pool", typ: "virtualservice", known: schema.Inferred, text: schema.Unverified, status: 400,
		summary: "a pool serves either HTTP or other application profiles", check: sharedPool},
	{id: "vs-snat-vip", typ: "virtualservice", known: schema.Inferred, text: schema.Unverified, status: 400,
		summary: "no snat_ip that is a VIP", check: snatVIP},
	{id: "vs-type-change", typ: "virtualservice", known: schema.Documented, text: schema.Unverified, status: 400, summary: "the type is fixed",
		check: vsTypeChange},
	{id: "vs-profile-change", typ: "virtualservice", known: schema.Unverified, text: schema.Unverified, status: 400,
		summary: "another type of network profile only while disabled", check: vsProfileChange, off: true},
	{id: "vs-segroup-change", typ: "virtualservice", known: schema.Unverified, text: schema.Unverified, status: 400,
		summary: "another SE group only while disabled", check: vsGroupChange, off: true}, // the schema calls the change disruptive: it is made
	{id: "vs-policy-index", typ: "virtualservice", known: schema.Inferred, text: schema.Inferred, status: 400,
		summary: "l4_policies have distinct indexes", check: distinct("index", "l4_policies")},
	{id: "vs-sctp-application", typ: "virtualservice", known: schema.Unverified, text: schema.Unverified, status: 400,
		summary: "no SCTP with a DNS or syslog application profile, nor with enable_ssl", check: vsSCTPApplication},
	{id: "vs-sctp-parent", typ: "virtualservice", known: schema.Unverified, text: schema.Unverified, status: 400,
		summary: "no SCTP for a parent of virtual hosts", check: vsSCTPParent},
	{id: "policy-rule-index", typ: "l4policyset", known: schema.Inferred, text: schema.Inferred, status: 400,
		summary: "rules have distinct indexes", check: distinct("index", "l4_connection_policy", "rules")},
	{id: "vrf-route-id", typ: "vrfcontext", known: schema.Documented, text: schema.Documented, status: 400,
		summary: "routes have distinct ids", check: routeIDs},
	{id: "monitor-timeout", typ: "healthmonitor", known: schema.Documented, text: schema.Unverified, status: 400,
		summary: "receive_timeout < send_interval", check: monitorTimeout},
	{id: "pool-service-port", typ: "pool", known: schema.Documented, text: schema.Unverified, status: 400,
		summary: "use_service_port needs a monitor_port on the monitors", check: poolServicePort},
	{id: "profile-type-change", typ: "networkprofile", known: schema.Inferred, text: schema.Unverified, status: 400,
		summary: "the type of a profile that is in use is fixed", check: profileTypeChange},
	{id: "profile-settings", typ: "networkprofile", known: schema.Unverified, text: schema.Unverified, status: 400,
		summary: "settings of the profile's own type only", check: profileSettings},
	{id: "vip-id", typ: "vsvip", known: schema.Documented, text: schema.Documented, status: 400, summary: "vip_id is fixed", check: vipID},
	{id: "vs-vh-path", typ: "virtualservice", known: schema.Documented, text: schema.Documented, status: 400,
		summary: "a match of an enhanced virtual host has a path", check: vsVHPath},
	{id: "cloud-vcenter", typ: "cloud", known: schema.Documented, text: schema.Documented, status: 400,
		summary: "a vCenter cloud keeps its vCenter and its data center", check: cloudVCenter},
	{id: "vip-preferred", typ: "vsvip", known: schema.Documented, text: schema.Documented, status: 400,
		summary: "an allocated address is fixed", check: vipPreferred},
	{id: "vip-address", typ: "vsvip", known: schema.Inferred, text: schema.Unverified, status: 400,
		summary: "an address is in one VsVip of a VRF"},
	{id: "field-required", known: schema.Documented, text: schema.Unverified, status: 400, summary: "mandatory fields are there"},
	{id: "list-min", known: schema.Documented, text: schema.Documented, status: 400, summary: "lists are not too short"},
	{id: "empty-message", known: schema.Documented, text: schema.Documented, status: 500,
		summary: "no empty message that has mandatory fields"},
}

// formRules are the rules that hold out of band too, so that Go code can't store what no client could.
var formRules = map[string]bool{"field-range": true, "field-enum": true, "list-max": true}

// ruleByID finds a rule.
func ruleByID(id string) *rule {
	i := slices.IndexFunc(ruleTable, func(r rule) bool { return r.id == id })
	if i < 0 {
		panic("avisim: no rule " + id) // ids are constants of this package
	}
	return &ruleTable[i]
}

// defaultRules returns the rules that are off at the start.
func defaultRules(unknownFields string) map[string]bool {
	off := map[string]bool{}
	for _, r := range ruleTable {
		off[r.id] = r.off
	}
	if unknownFields == "reject" {
		off["unknown-field"] = false
	}
	return off
}

// Rule describes one check of the simulated Controller.
type Rule struct {
	ID, Type, Summary string
	Known, Text       schema.Evidence // of the rule itself, and of its status and wording
	Status            int
	Off               bool // not in force unless switched on
}

// Rules lists the checks, in the order in which they are made.
func Rules() []Rule {
	out := make([]Rule, len(ruleTable))
	for i, r := range ruleTable {
		out[i] = Rule{ID: r.id, Type: r.typ, Summary: r.summary, Known: r.known, Text: r.text, Status: r.status, Off: r.off}
	}
	return out
}

// Warning counts the writes that a rule let pass, though it was broken, because less is known of the rule than
// Options.StrictEvidence asks for.
type Warning struct {
	Rule  string
	Known schema.Evidence
	Count int
	// Of the last such write: what the refusal would have been, and of what.
	Status             int
	Text, Type, Object string
}

// breaks is what becomes of a write that breaks a rule: the refusal, or nil if the rule is off or less is known of it than
// is asked for. It is the write's verdict.
func (w *write) breaks(id, format string, args ...any) *schema.Refusal {
	r, s := ruleByID(id), w.world
	if s.rulesOff[id] || w.trusted && !formRules[id] {
		return nil
	}
	err := schema.Refuse(r.status, format, args...)
	if w.trusted || s.settings.StrictEvidence == "" ||
		slices.Index(schema.Grades, r.known) <= slices.Index(schema.Grades, s.settings.StrictEvidence) {
		return err
	}
	n := s.warnings[id]
	if n == nil {
		n = &Warning{Rule: id, Known: r.known, Status: r.status}
		s.warnings[id] = n
	}
	n.Count++
	n.Text, n.Type, n.Object = err.Text, w.Kind.Path, cmp.Or(doc.Str(w.body, "name"), doc.Str(w.Incoming, "name"))
	if w.Old != nil {
		n.Object = w.Old.Name
	}
	return nil
}

func nameLength(w *write) string {
	if n := utf8.RuneCountInString(w.name); n > 255 {
		return fmt.Sprintf("Name of %d characters is too long, the limit is 255", n)
	}
	return ""
}

// The types of network profile, with the protocol that each one carries.
var profileProtocols = map[string]string{
	"PROTOCOL_TYPE_TCP_PROXY": "TCP", "PROTOCOL_TYPE_TCP_FAST_PATH": "TCP",
	"PROTOCOL_TYPE_UDP_FAST_PATH": "UDP", "PROTOCOL_TYPE_UDP_PROXY": "UDP",
	"PROTOCOL_TYPE_SCTP_PROXY": "SCTP", "PROTOCOL_TYPE_SCTP_FAST_PATH": "SCTP",
}

// tierAllows reports whether the write's tier has a type of network profile.
func (w *write) tierAllows(profileType string) bool {
	i := slices.Index(schema.LowerTiers[:], w.licenseTier())
	if i < 0 || profileType == "" {
		return true
	}
	f := schema.Messages()["NetworkProfileUnion"].Fields["type"]
	return slices.Contains(f.Lower[i].Allowed, profileType)
}

func vsTierProfile(w *write) string {
	for _, l := range Listeners(w.store, w.body) {
		if !w.tierAllows(l.profile) {
			return fmt.Sprintf("Network profile type %s is not allowed in license tier %s", l.profile, w.licenseTier())
		}
	}
	return ""
}

func vsAddress(w *write) string {
	if w.body["vsvip_ref"] == nil && w.body["vip"] == nil && doc.Str(w.body, "type") != "VS_TYPE_VH_CHILD" {
		return "Virtual Service must have a VIP: vsvip_ref is required"
	}
	return ""
}

// vsServicesRequired: rule and text are those of a client's change log.
func vsServicesRequired(w *write) string {
	if w.body["services"] == nil && doc.Str(w.body, "type") != "VS_TYPE_VH_CHILD" {
		return "Service mandatory for Virtual Service"
	}
	return ""
}

func vsServiceRangeEnd(w *write) string {
	for _, s := range doc.Messages(w.body["services"]) {
		if first, last := doc.Int(s, "port"), doc.Int(s, "port_range_end"); last != 0 && last < first {
			return fmt.Sprintf("Service port range %d-%d ends before it begins", first, last)
		}
	}
	return ""
}

func vsPoolAndGroup(w *write) string {
	if w.body["pool_ref"] != nil && w.body["pool_group_ref"] != nil {
		return fmt.Sprintf("Virtual Service %s has both a pool and a pool group", w.name)
	}
	return ""
}

func vsSCTPApplication(w *write) string {
	application := applicationType(w)
	for _, l := range Listeners(w.store, w.body) {
		switch {
		case l.Protocol != "SCTP":
		case l.ssl:
			return fmt.Sprintf("Service port %d has enable_ssl, which SCTP does not carry", l.First)
		case application == "APPLICATION_PROFILE_TYPE_DNS", application == "APPLICATION_PROFILE_TYPE_SYSLOG":
			return fmt.Sprintf("Service port %d is SCTP, which %s does not carry", l.First, application)
		}
	}
	return ""
}

func vsSCTPParent(w *write) string {
	if doc.Str(w.body, "type") == "VS_TYPE_VH_PARENT" {
		for _, l := range Listeners(w.store, w.body) {
			if l.Protocol == "SCTP" {
				return fmt.Sprintf("Service port %d is SCTP, which a parent of virtual hosts does not serve", l.First)
			}
		}
	}
	return ""
}

func vsVRF(w *write) string {
	vrf := doc.RefAt(w.body, "vrf_context_ref")
	for _, p := range Pools(w.store, w.body) {
		if pv := doc.RefAt(p.Body, "vrf_ref"); pv != (doc.Ref{}) && pv != vrf {
			return fmt.Sprintf("VRF Context for %s and pool %s different", w.name, p.Name)
		}
	}
	if v := w.store.Get(doc.RefAt(w.body, "vsvip_ref")); v != nil {
		if vv := doc.RefAt(v.Body, "vrf_context_ref"); vv != (doc.Ref{}) && vv != vrf {
			return fmt.Sprintf("VRF Context for %s and vsvip %s different", w.name, v.Name)
		}
	}
	return ""
}

func vsCloud(w *write) string {
	parts := Pools(w.store, w.body)
	for _, f := range []string{"vsvip_ref", "se_group_ref", "vrf_context_ref"} {
		if o := w.store.Get(doc.RefAt(w.body, f)); o != nil {
			parts = append(parts, o)
		}
	}
	for _, o := range parts {
		if o.Cloud != w.cloud {
			return fmt.Sprintf("Cloud for %s and %s %s different", w.name, o.Kind.Title, o.Name)
		}
	}
	return ""
}

// clash finds two listeners of one protocol that the test holds for.
func clash(w *write, test func(a, b Listener) bool) (Listener, bool) {
	ls := Listeners(w.store, w.body)
	for i, a := range ls {
		for _, b := range ls[:i] {
			if a.Protocol == b.Protocol && test(a, b) {
				return a, true
			}
		}
	}
	return Listener{}, false
}

func vsServices(w *write) string {
	if l, bad := clash(w, Listener.equals); bad {
		return fmt.Sprintf("Duplicate service port %d for protocol %s in Virtual Service %s", l.First, l.Protocol, w.name)
	}
	return ""
}

func vsServiceRanges(w *write) string {
	if l, bad := clash(w, func(a, b Listener) bool { return a.overlaps(b) && !a.equals(b) }); bad {
		return fmt.Sprintf("Service port range %d-%d for protocol %s overlaps another one in Virtual Service %s", l.First, l.Last, l.Protocol,
			w.name)
	}
	return ""
}

func applicationType(w *write) string {
	if o := w.store.Get(doc.RefAt(w.body, "application_profile_ref")); o != nil {
		return doc.Str(o.Body, "type")
	}
	return ""
}

func vsHTTP(w *write) string {
	if applicationType(w) != "APPLICATION_PROFILE_TYPE_HTTP" {
		return ""
	}
	for _, l := range Listeners(w.store, w.body) {
		if l.profile != "" && l.profile != "PROTOCOL_TYPE_TCP_PROXY" {
			return fmt.Sprintf("HTTP application profile requires a TCP proxy network profile, service port %d has %s", l.First, l.profile)
		}
	}
	return ""
}

func vsSSL(w *write) string {
	if applicationType(w) != "APPLICATION_PROFILE_TYPE_SSL" {
		return ""
	}
	ls := Listeners(w.store, w.body)
	if !slices.ContainsFunc(ls, func(l Listener) bool { return l.ssl }) {
		return "SSL application profile requires a service with enable_ssl"
	}
	if slices.ContainsFunc(ls, func(l Listener) bool { return l.profile != "PROTOCOL_TYPE_TCP_PROXY" }) {
		return "SSL application profile requires a TCP proxy network profile"
	}
	return ""
}

func vsL4Policies(w *write) string {
	if w.body["l4_policies"] != nil && applicationType(w) == "APPLICATION_PROFILE_TYPE_HTTP" {
		return "L4 policies require an L4 application profile"
	}
	return ""
}

// neighbours returns the other virtual services on the write's VsVip.
func neighbours(w *write) []*Object {
	vip := doc.RefAt(w.body, "vsvip_ref")
	if vip == (doc.Ref{}) {
		return nil
	}
	return slices.DeleteFunc(w.store.Referrers(vip), func(o *Object) bool {
		return o.Type != "virtualservice" || w.Old != nil && o.UUID == w.Old.UUID
	})
}

func sharedGroup(w *write) string {
	for _, o := range neighbours(w) {
		if doc.RefAt(o.Body, "se_group_ref") != doc.RefAt(w.body, "se_group_ref") {
			return fmt.Sprintf("Virtual Service %s shares the VsVip and is in another Service Engine Group", o.Name)
		}
	}
	return ""
}

// sharedPool compares the kind of application with that of the other virtual services which reach one of the pools.
// Evidence: inferred from the name of a check of the Controller and from older documents.
func sharedPool(w *write) string {
	isHTTP := func(vs map[string]any) bool {
		o := w.store.Get(doc.RefAt(vs, "application_profile_ref"))
		return o != nil && doc.Str(o.Body, "type") == "APPLICATION_PROFILE_TYPE_HTTP"
	}
	seen := map[doc.Ref]bool{}
	var other func(of doc.Ref) *Object
	other = func(of doc.Ref) *Object {
		for _, o := range w.store.Referrers(of) {
			switch {
			case seen[o.Ref] || w.Old != nil && o.Ref == w.Old.Ref:
				continue
			case o.Type == "virtualservice" && isHTTP(o.Body) != isHTTP(w.body):
				return o
			}
			seen[o.Ref] = true
			if o.Type == "poolgroup" || o.Type == "l4policyset" {
				if found := other(o.Ref); found != nil {
					return found
				}
			}
		}
		return nil
	}
	for _, p := range Pools(w.store, w.body) {
		if o := other(p.Ref); o != nil {
			return fmt.Sprintf("Pool %s is used by Virtual Service %s with another type of application profile", p.Name, o.Name)
		}
	}
	return ""
}

func snatVIP(w *write) string {
	vips := doc.Messages(w.body["vip"])
	if o := w.store.Get(doc.RefAt(w.body, "vsvip_ref")); o != nil {
		vips = append(vips, doc.Messages(o.Body["vip"])...)
	}
	for _, a := range append(doc.Messages(w.body["snat_ip"]), doc.Messages(w.body["snat_ip6_addresses"])...) {
		for _, v := range vips {
			for _, f := range Families {
				if sameAddr(doc.Str(a, "addr"), doc.Str(v, f.Field, "addr")) {
					return fmt.Sprintf("SNAT IP %s overlaps with the VIP", doc.Str(a, "addr"))
				}
			}
		}
	}
	return ""
}

// sharedVIP checks the other virtual services on the same VsVip.
func sharedVIP(sameProtocol bool) func(*write) string {
	return func(w *write) string {
		var mine []Listener
		for _, o := range neighbours(w) {
			if mine == nil {
				mine = Listeners(w.store, w.body)
			}
			for _, b := range Listeners(w.store, o.Body) {
				for _, a := range mine {
					if a.overlaps(b) && (a.Protocol == b.Protocol) == sameProtocol {
						return fmt.Sprintf("Virtual Service %s already uses port %d of this VsVip", o.Name, b.First)
					}
				}
			}
		}
		return ""
	}
}

// vsVHPath checks the matches of an enhanced virtual host. Newer versions have paths in rules.
func vsVHPath(w *write) string {
	for _, m := range doc.Messages(w.body["vh_matches"]) {
		if len(doc.Messages(m["path"])) == 0 && len(doc.Messages(m["rules"])) == 0 {
			return `{"vh_matches":"{"path":"Field check for path failed : There must be at least 1 path"}"}` // as an issue shows it
		}
	}
	return ""
}

func cloudVCenter(w *write) string {
	for _, f := range []string{"vcenter_url", "datacenter"} {
		if w.Old == nil {
			return ""
		}
		had, want := doc.Str(w.Old.Body, "vcenter_configuration", f), doc.Str(w.body, "vcenter_configuration", f)
		if had != "" && want != "" && had != want {
			return "Change of Vcenter URL/Datacenter for a vCenter cloud is not supported. Please delete the cloud and create a new one"
		}
	}
	return ""
}

func vsTypeChange(w *write) string {
	if w.Old != nil && doc.Str(w.Old.Body, "type") != doc.Str(w.body, "type") {
		return "Virtual Service type cannot be changed"
	}
	return ""
}

func vsGroupChange(w *write) string {
	if w.Old != nil && doc.Bool(w.Old.Body, "enabled", true) && doc.RefAt(w.Old.Body, "se_group_ref") != doc.RefAt(w.body, "se_group_ref") {
		return "Virtual Service must be disabled to change its Service Engine Group"
	}
	return ""
}

// vsProfileChange refuses a profile of another type, such as UDP instead of TCP, while the virtual service is enabled.
// The Controller has a check of updates by type (documented), of which nothing else is known; clients in the field change the
// protocol of a live virtual service and nobody reports a refusal. So it is off unless asked for.
func vsProfileChange(w *write) string {
	if w.Old == nil || !doc.Bool(w.Old.Body, "enabled", true) {
		return ""
	}
	kind := func(vs map[string]any) string {
		if o := w.store.Get(doc.RefAt(vs, "network_profile_ref")); o != nil {
			return doc.Str(o.Body, "profile", "type")
		}
		return ""
	}
	if before, after := kind(w.Old.Body), kind(w.body); before != after && before != "" {
		return fmt.Sprintf("Network profile type of Virtual Service %s cannot be changed from %s to %s while it is enabled", w.name, before,
			after)
	}
	return ""
}

func profileTypeChange(w *write) string {
	if w.Old == nil || doc.Str(w.Old.Body, "profile", "type") == doc.Str(w.body, "profile", "type") {
		return ""
	}
	for _, o := range w.store.Referrers(w.Old.Ref) {
		return fmt.Sprintf("Type of network profile %s cannot be changed, it is used by %s %s", w.name, o.Kind.Title, o.Name)
	}
	return ""
}

// profileSettings checks that the profile has the settings of no other type than its own: tcp_proxy_profile is that of
// PROTOCOL_TYPE_TCP_PROXY, and so on.
func profileSettings(w *write) string {
	profile, _ := w.body["profile"].(map[string]any)
	kind, _ := strings.CutPrefix(doc.Str(profile, "type"), "PROTOCOL_TYPE_")
	for _, name := range doc.Keys(profile) {
		if settings, is := strings.CutSuffix(name, "_profile"); is && !strings.EqualFold(settings, kind) {
			return fmt.Sprintf("A network profile of type PROTOCOL_TYPE_%s has no %s", kind, name)
		}
	}
	return ""
}

// routeIDs: the text is that of a client's change log.
func routeIDs(w *write) string {
	if text := distinct("route_id", "static_routes")(w); text != "" {
		return "Field check for static_routes failed: " + text
	}
	return ""
}

// distinct checks that the entries of the list at path differ in the key.
func distinct(key string, path ...string) func(*write) string {
	return func(w *write) string {
		seen := map[any]bool{}
		for _, e := range doc.Messages(doc.At(w.body, path...)) {
			v := e[key]
			if v == nil {
				continue
			}
			if seen[v] {
				return fmt.Sprintf("Unique constraints %s has duplicated value(s)", key)
			}
			seen[v] = true
		}
		return ""
	}
}

func monitorTimeout(w *write) string {
	if t, i := doc.Int(w.body, "receive_timeout"), doc.Int(w.body, "send_interval"); t >= i && i > 0 {
		return fmt.Sprintf("receive_timeout %d must be less than send_interval %d", t, i)
	}
	return ""
}

func poolServicePort(w *write) string {
	if !doc.Bool(w.body, "use_service_port", false) {
		return ""
	}
	refs, _ := w.body["health_monitor_refs"].([]any)
	for _, r := range refs {
		r, _ := r.(doc.Ref)
		if o := w.store.Get(r); o != nil && doc.Int(o.Body, "monitor_port") == 0 {
			return fmt.Sprintf("use_service_port requires a monitor_port on health monitor %s", o.Name)
		}
	}
	return ""
}

func vipsByID(m map[string]any) map[string]map[string]any {
	out := map[string]map[string]any{}
	for _, v := range doc.Messages(m["vip"]) {
		out[doc.Str(v, "vip_id")] = v
	}
	return out
}

// vipID refuses a changed vip_id: one that is gone although there are not fewer entries than before.
func vipID(w *write) string {
	assignVIPIDs(w.body)
	if w.Old == nil {
		return ""
	}
	before, after := vipsByID(w.Old.Body), vipsByID(w.body)
	for id := range before {
		if _, kept := after[id]; !kept && len(after) >= len(before) {
			return "Changing an existing VIP's vip_id is not supported"
		}
	}
	return ""
}

func vipPreferred(w *write) string {
	if w.Old == nil {
		return ""
	}
	before := vipsByID(w.Old.Body)
	for _, v := range doc.Messages(w.body["vip"]) {
		old := before[doc.Str(v, "vip_id")]
		for _, f := range Families {
			if had, want := doc.Str(old, f.Field, "addr"), doc.Str(v, f.Field, "addr"); had != "" && want != "" && !sameAddr(had, want) {
				return "If a new preferred IP is needed, please recreate the VIP"
			}
		}
	}
	return ""
}
