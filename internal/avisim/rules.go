package avisim

import (
	"fmt"
	"slices"
)

// Evidence grades a rule, see the package comment.
type Evidence string

// The grades, best first.
const (
	Recorded   Evidence = "recorded"
	Documented Evidence = "documented"
	Inferred   Evidence = "inferred"
	Unverified Evidence = "unverified"
)

// rule is one check that the Controller makes beyond the form of a body.
type rule struct {
	id      string
	typ     string   // object type that it is made for
	known   Evidence // that the rule exists
	text    Evidence // that status and text are as they are
	status  int
	summary string
	check   func(*write) string // the text of the refusal, "" if the write passes; nil: made elsewhere in the pipeline
}

// ruleTable lists all rules. Those without a check are made at the step of the pipeline where they belong and are
// listed so that they can be switched off like the rest.
var ruleTable = []rule{
	{id: "tier-field", known: Documented, text: Unverified, status: 400, summary: "Enterprise fields need an Enterprise tier"},
	{id: "tenant-ref", known: Unverified, text: Unverified, status: 400, summary: "tenant_ref is the tenant of the request"},
	{id: "vs-tier-profile", typ: "virtualservice", known: Documented, text: Unverified, status: 400, summary: "profiles of the tier only", check: vsTierProfile},
	{id: "profile-tier", typ: "networkprofile", known: Documented, text: Unverified, status: 400, summary: "profile types of the tier only", check: profileTier},
	{id: "monitor-tier", typ: "healthmonitor", known: Documented, text: Unverified, status: 400, summary: "SCTP monitors need an Enterprise tier", check: monitorTier},
	{id: "vs-address", typ: "virtualservice", known: Inferred, text: Unverified, status: 400, summary: "vsvip_ref or vip, children excepted", check: vsAddress},
	{id: "vs-cloud", typ: "virtualservice", known: Inferred, text: Unverified, status: 400, summary: "one cloud for VS, VsVip and pools", check: vsCloud},
	{id: "vs-vrf", typ: "virtualservice", known: Documented, text: Documented, status: 400, summary: "one VRF for VS and pools", check: vsVRF},
	{id: "vs-services", typ: "virtualservice", known: Inferred, text: Unverified, status: 400, summary: "no port twice for one protocol", check: vsServices},
	{id: "vs-http", typ: "virtualservice", known: Documented, text: Unverified, status: 400, summary: "HTTP profile needs TCP proxy", check: vsHTTP},
	{id: "vs-ssl", typ: "virtualservice", known: Documented, text: Unverified, status: 400, summary: "SSL profile needs TCP proxy and an enable_ssl service", check: vsSSL},
	{id: "vs-shared-vip", typ: "virtualservice", known: Inferred, text: Unverified, status: 400, summary: "one (VsVip, port, protocol) for one VS", check: sharedVIP(true)},
	{id: "vs-shared-vip-protocol", typ: "virtualservice", known: Unverified, text: Unverified, status: 400, summary: "one (VsVip, port) for one VS, whatever the protocol", check: sharedVIP(false)},
	{id: "vs-type-change", typ: "virtualservice", known: Documented, text: Unverified, status: 400, summary: "type is fixed", check: vsTypeChange},
	{id: "vs-segroup-change", typ: "virtualservice", known: Documented, text: Unverified, status: 400, summary: "SE group changes only while disabled", check: vsGroupChange},
	{id: "vs-policy-index", typ: "virtualservice", known: Inferred, text: Inferred, status: 400, summary: "l4_policies have distinct indexes", check: distinct("index", "l4_policies")},
	{id: "policy-rule-index", typ: "l4policyset", known: Inferred, text: Inferred, status: 400, summary: "rules have distinct indexes", check: distinct("index", "l4_connection_policy", "rules")},
	{id: "vrf-route-id", typ: "vrfcontext", known: Documented, text: Documented, status: 400, summary: "routes have distinct ids", check: distinct("route_id", "static_routes")},
	{id: "monitor-timeout", typ: "healthmonitor", known: Documented, text: Unverified, status: 400, summary: "receive_timeout < send_interval", check: monitorTimeout},
	{id: "pool-service-port", typ: "pool", known: Documented, text: Unverified, status: 400, summary: "use_service_port needs monitor_port", check: poolServicePort},
	{id: "cloud-change", known: Unverified, text: Unverified, status: 400, summary: "cloud is fixed"},
	{id: "vip-id", typ: "vsvip", known: Documented, text: Documented, status: 400, summary: "vip_id is fixed", check: vipID},
	{id: "vs-vh-path", typ: "virtualservice", known: Documented, text: Documented, status: 400, summary: "a match of an enhanced virtual host has a path", check: vsVHPath},
	{id: "cloud-vcenter", typ: "cloud", known: Documented, text: Documented, status: 400, summary: "a vCenter cloud keeps its vCenter and its data center", check: cloudVCenter},
	{id: "vip-preferred", typ: "vsvip", known: Documented, text: Documented, status: 400, summary: "an allocated address is fixed", check: vipPreferred},
}

// on tells if a rule is in force.
func (s *Server) on(id string) bool { return !s.rulesOff[id] }

// SetRule switches one check of the simulated Controller on or off, by the id that [Rules] lists.
func (s *Server) SetRule(id string, on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rulesOff[id] = !on
}

// Rule describes one check of the simulated Controller.
type Rule struct {
	ID, Type, Summary string
	Known, Text       Evidence // of the rule itself, and of its status and wording
	Status            int
}

// Rules lists the checks beyond the form of a body.
func Rules() []Rule {
	out := make([]Rule, len(ruleTable))
	for i, r := range ruleTable {
		out[i] = Rule{ID: r.id, Type: r.typ, Summary: r.summary, Known: r.known, Text: r.text, Status: r.status}
	}
	return out
}

// ruleError is a refusal by a rule whose check is made elsewhere.
func ruleError(id, format string, args ...any) *apiError {
	i := slices.IndexFunc(ruleTable, func(r rule) bool { return r.id == id })
	return refuse(ruleTable[i].status, format, args...)
}

// The types of network profile, with the protocol that each one carries.
var profileProtocols = map[string]string{
	"PROTOCOL_TYPE_TCP_PROXY": "TCP", "PROTOCOL_TYPE_TCP_FAST_PATH": "TCP",
	"PROTOCOL_TYPE_UDP_FAST_PATH": "UDP", "PROTOCOL_TYPE_UDP_PROXY": "UDP",
	"PROTOCOL_TYPE_SCTP_PROXY": "SCTP", "PROTOCOL_TYPE_SCTP_FAST_PATH": "SCTP",
}

// tierProfiles lists what the lower tiers allow.
var tierProfiles = map[string][]string{
	"BASIC":      {"PROTOCOL_TYPE_TCP_PROXY", "PROTOCOL_TYPE_TCP_FAST_PATH", "PROTOCOL_TYPE_UDP_FAST_PATH"},
	"ESSENTIALS": {"PROTOCOL_TYPE_TCP_FAST_PATH", "PROTOCOL_TYPE_UDP_FAST_PATH"},
}

func (s *Server) tierAllows(profileType string) bool {
	allowed, limited := tierProfiles[s.tier()]
	return !limited || slices.Contains(allowed, profileType)
}

func profileTier(w *write) string {
	if t := str(w.body, "profile", "type"); !w.server.tierAllows(t) {
		return fmt.Sprintf("Network profile type %s is not allowed in license tier %s", t, w.server.tier())
	}
	return ""
}

func monitorTier(w *write) string {
	if t := str(w.body, "type"); t == "HEALTH_MONITOR_SCTP" && !enterprise(w.server.tier()) {
		return fmt.Sprintf("Health monitor type %s is not allowed in license tier %s", t, w.server.tier())
	}
	return ""
}

func vsTierProfile(w *write) string {
	for _, l := range listeners(w.store, w.body) {
		if !w.server.tierAllows(l.profile) {
			return fmt.Sprintf("Network profile type %s is not allowed in license tier %s", l.profile, w.server.tier())
		}
	}
	return ""
}

// listener is one entry of services with the protocol that its profile gives it.
type listener struct {
	first, last int
	profile     string // PROTOCOL_TYPE_…
	protocol    string // TCP, UDP, SCTP
	ssl         bool
}

func listeners(s *store, vs map[string]any) []listener {
	kind := func(r ref) string {
		if o := s.get(r); o != nil {
			return str(o.body, "profile", "type")
		}
		return ""
	}
	base := kind(refAt(vs, "network_profile_ref"))
	var out []listener
	for _, e := range messages(vs["services"]) {
		l := listener{first: integer(e, "port"), last: integer(e, "port_range_end"), profile: base, ssl: boolean(e, "enable_ssl", false)}
		l.last = max(l.last, l.first)
		if r := refAt(e, "override_network_profile_ref"); r != (ref{}) {
			l.profile = kind(r)
		}
		l.protocol = profileProtocols[l.profile]
		out = append(out, l)
	}
	return out
}

func (l listener) overlaps(m listener) bool { return l.first <= m.last && m.first <= l.last }

func vsAddress(w *write) string {
	if w.body["vsvip_ref"] == nil && w.body["vip"] == nil && str(w.body, "type") != "VS_TYPE_VH_CHILD" {
		return "Virtual Service must have a VIP: vsvip_ref is required"
	}
	return ""
}

// pools returns the pools that a virtual service's body reaches, directly, through pool groups and through L4 policies.
func pools(s *store, vs map[string]any) []*object {
	var out []*object
	seen := map[ref]bool{}
	var add func(r ref)
	add = func(r ref) {
		o := s.get(r)
		if o == nil || seen[r] {
			return
		}
		seen[r] = true
		switch r.typ {
		case "pool":
			out = append(out, o)
		case "poolgroup", "l4policyset":
			for _, to := range ordered(o.body) {
				if to.typ == "pool" || to.typ == "poolgroup" {
					add(to)
				}
			}
		}
	}
	add(refAt(vs, "pool_ref"))
	add(refAt(vs, "pool_group_ref"))
	for _, p := range messages(vs["l4_policies"]) {
		add(refAt(p, "l4_policy_set_ref"))
	}
	return out
}

// ordered lists the references of a value by position, so that what is made of them does not depend on map order.
func ordered(v any) []ref {
	var out []ref
	switch x := v.(type) {
	case ref:
		out = append(out, x)
	case map[string]any:
		for _, k := range sortedKeys(x) {
			out = append(out, ordered(x[k])...)
		}
	case []any:
		for _, e := range x {
			out = append(out, ordered(e)...)
		}
	}
	return out
}

func vsVRF(w *write) string {
	vrf := refAt(w.body, "vrf_context_ref")
	for _, p := range pools(w.store, w.body) {
		if pv := refAt(p.body, "vrf_ref"); pv != (ref{}) && pv != vrf {
			return fmt.Sprintf("VRF Context for %s and pool %s different", w.name, p.name)
		}
	}
	if v := w.store.get(refAt(w.body, "vsvip_ref")); v != nil {
		if vv := refAt(v.body, "vrf_context_ref"); vv != (ref{}) && vv != vrf {
			return fmt.Sprintf("VRF Context for %s and vsvip %s different", w.name, v.name)
		}
	}
	return ""
}

func vsCloud(w *write) string {
	parts := pools(w.store, w.body)
	for _, f := range []string{"vsvip_ref", "se_group_ref", "vrf_context_ref"} {
		if o := w.store.get(refAt(w.body, f)); o != nil {
			parts = append(parts, o)
		}
	}
	for _, o := range parts {
		if o.cloud != w.cloud {
			return fmt.Sprintf("Cloud for %s and %s %s different", w.name, o.kind.title, o.name)
		}
	}
	return ""
}

func vsServices(w *write) string {
	ls := listeners(w.store, w.body)
	for i, a := range ls {
		for _, b := range ls[:i] {
			if a.protocol == b.protocol && a.overlaps(b) {
				return fmt.Sprintf("Duplicate service port %d for protocol %s in Virtual Service %s", a.first, a.protocol, w.name)
			}
		}
	}
	return ""
}

func applicationType(w *write) string {
	if o := w.store.get(refAt(w.body, "application_profile_ref")); o != nil {
		return str(o.body, "type")
	}
	return ""
}

func vsHTTP(w *write) string {
	if applicationType(w) != "APPLICATION_PROFILE_TYPE_HTTP" {
		return ""
	}
	for _, l := range listeners(w.store, w.body) {
		if l.profile != "" && l.profile != "PROTOCOL_TYPE_TCP_PROXY" {
			return fmt.Sprintf("HTTP application profile requires a TCP proxy network profile, service port %d has %s", l.first, l.profile)
		}
	}
	return ""
}

func vsSSL(w *write) string {
	if applicationType(w) != "APPLICATION_PROFILE_TYPE_SSL" {
		return ""
	}
	ls := listeners(w.store, w.body)
	if !slices.ContainsFunc(ls, func(l listener) bool { return l.ssl }) {
		return "SSL application profile requires a service with enable_ssl"
	}
	if slices.ContainsFunc(ls, func(l listener) bool { return l.profile != "PROTOCOL_TYPE_TCP_PROXY" }) {
		return "SSL application profile requires a TCP proxy network profile"
	}
	return ""
}

// sharedVIP checks the other virtual services on the same VsVip.
func sharedVIP(sameProtocol bool) func(*write) string {
	return func(w *write) string {
		vip := refAt(w.body, "vsvip_ref")
		if vip == (ref{}) {
			return ""
		}
		var mine []listener
		for _, o := range w.store.referrers(vip) {
			if o.typ != "virtualservice" || w.old != nil && o.uuid == w.old.uuid {
				continue
			}
			if mine == nil {
				mine = listeners(w.store, w.body)
			}
			for _, b := range listeners(w.store, o.body) {
				for _, a := range mine {
					if a.overlaps(b) && (a.protocol == b.protocol) == sameProtocol {
						return fmt.Sprintf("Virtual Service %s already uses port %d of this VsVip", o.name, b.first)
					}
				}
			}
		}
		return ""
	}
}

// vsVHPath checks the matches of an enhanced virtual host. Newer versions have paths in rules.
func vsVHPath(w *write) string {
	for _, m := range messages(w.body["vh_matches"]) {
		if len(messages(m["path"])) == 0 && len(messages(m["rules"])) == 0 {
			return `{"vh_matches":"{"path":"Field check for path failed : There must be at least 1 path"}"}` // as an issue shows it
		}
	}
	return ""
}

func cloudVCenter(w *write) string {
	for _, f := range []string{"vcenter_url", "datacenter"} {
		if w.old == nil {
			return ""
		}
		had, want := str(w.old.body, "vcenter_configuration", f), str(w.body, "vcenter_configuration", f)
		if had != "" && want != "" && had != want {
			return "Change of Vcenter URL/Datacenter for a vCenter cloud is not supported. Please delete the cloud and create a new one"
		}
	}
	return ""
}

func vsTypeChange(w *write) string {
	if w.old != nil && str(w.old.body, "type") != str(w.body, "type") {
		return "Virtual Service type cannot be changed"
	}
	return ""
}

func vsGroupChange(w *write) string {
	if w.old != nil && boolean(w.old.body, "enabled", true) && refAt(w.old.body, "se_group_ref") != refAt(w.body, "se_group_ref") {
		return "Virtual Service must be disabled to change its Service Engine Group"
	}
	return ""
}

// distinct checks that the entries of the list at path differ in the key.
func distinct(key string, path ...string) func(*write) string {
	return func(w *write) string {
		seen := map[any]bool{}
		for _, e := range messages(at(w.body, path...)) {
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
	if t, i := integer(w.body, "receive_timeout"), integer(w.body, "send_interval"); t >= i && i > 0 {
		return fmt.Sprintf("receive_timeout %d must be less than send_interval %d", t, i)
	}
	return ""
}

func poolServicePort(w *write) string {
	if !boolean(w.body, "use_service_port", false) {
		return ""
	}
	refs, _ := w.body["health_monitor_refs"].([]any)
	for _, r := range refs {
		r, _ := r.(ref)
		if o := w.store.get(r); o != nil && integer(o.body, "monitor_port") == 0 {
			return fmt.Sprintf("use_service_port requires a monitor_port on health monitor %s", o.name)
		}
	}
	return ""
}

func vipsByID(m map[string]any) map[string]map[string]any {
	out := map[string]map[string]any{}
	for _, v := range messages(m["vip"]) {
		out[str(v, "vip_id")] = v
	}
	return out
}

// vipID refuses a changed vip_id: one that is gone although there are not fewer entries than before.
func vipID(w *write) string {
	assignVIPIDs(w.body)
	if w.old == nil {
		return ""
	}
	before, after := vipsByID(w.old.body), vipsByID(w.body)
	for id := range before {
		if _, kept := after[id]; !kept && len(after) >= len(before) {
			return "Changing an existing VIP's vip_id is not supported"
		}
	}
	return ""
}

func vipPreferred(w *write) string {
	if w.old == nil {
		return ""
	}
	before := vipsByID(w.old.body)
	for _, v := range messages(w.body["vip"]) {
		old := before[str(v, "vip_id")]
		for _, f := range families {
			if had, want := str(old, f.field, "addr"), str(v, f.field, "addr"); had != "" && want != "" && !sameAddr(had, want) {
				return "If a new preferred IP is needed, please recreate the VIP"
			}
		}
		had, want := refAt(old, "ipam_network_subnet", "network_ref"), refAt(v, "ipam_network_subnet", "network_ref")
		if had != (ref{}) && want != (ref{}) && had != want {
			return "If a new preferred IP is needed, please recreate the VIP"
		}
	}
	return ""
}
