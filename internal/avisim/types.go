package avisim

import (
	"strings"
	"unicode"
)

// objectType describes what the server knows of an object type beside its fields.
type objectType struct {
	path   string // as in /api/<path>
	title  string // as messages spell it; also the name of its message in the schema, if that has one
	cloud  bool   // belongs to a cloud: cloud_ref is defaulted, names are unique within it
	shared bool   // the admin tenant's objects are visible from, and usable in, all tenants

	singleton bool // one object with the uuid "default", no list

	// refDefaults fills references that the client left out, by name; resolved like a name that a client sent.
	refDefaults map[string]string
	// derive fills what the server computes, after the schema's defaults. May be nil.
	derive func(*write)
}

// typeTable lists the types. Evidence: paths and titles are documented; cloud and shared are documented for the types
// that clients use across tenants (clouds, networks, VRFs, SE groups, system profiles) and inferred for the others;
// refDefaults are documented by the schema or recorded.
var typeTable = []objectType{
	{path: "tenant", title: "Tenant", shared: true, derive: deriveTenant},
	{path: "cloud", title: "Cloud", shared: true, derive: deriveCloud},
	{path: "vrfcontext", title: "VrfContext", cloud: true, shared: true},
	{path: "network", title: "Network", cloud: true, shared: true, refDefaults: map[string]string{"vrf_context_ref": "global"}},
	{path: "serviceenginegroup", title: "ServiceEngineGroup", cloud: true, shared: true},
	{path: "serviceengine", title: "ServiceEngine", cloud: true, shared: true},
	{path: "ipamdnsproviderprofile", title: "IpamDnsProviderProfile", shared: true},
	{path: "networkprofile", title: "NetworkProfile", shared: true},
	{path: "applicationprofile", title: "ApplicationProfile", shared: true},
	{path: "applicationpersistenceprofile", title: "ApplicationPersistenceProfile", shared: true},
	{path: "analyticsprofile", title: "AnalyticsProfile", shared: true},
	{path: "healthmonitor", title: "HealthMonitor", shared: true},
	{path: "networksecuritypolicy", title: "NetworkSecurityPolicy", shared: true},
	{path: "ipaddrgroup", title: "IpAddrGroup", shared: true},
	{path: "pool", title: "Pool", cloud: true, derive: derivePool, refDefaults: map[string]string{
		"vrf_ref": "global", "analytics_profile_ref": "System-Analytics-Profile"}},
	{path: "poolgroup", title: "PoolGroup", cloud: true},
	{path: "l4policyset", title: "L4PolicySet"},
	{path: "vsvip", title: "VsVip", cloud: true, refDefaults: map[string]string{"vrf_context_ref": "global"}},
	{path: "virtualservice", title: "VirtualService", cloud: true, derive: deriveVirtualService, refDefaults: map[string]string{
		"se_group_ref": "Default-Group", "analytics_profile_ref": "System-Analytics-Profile"}},

	// Known by name only: kept as they are sent.
	{path: "sslprofile", title: "SSLProfile", shared: true},
	{path: "sslkeyandcertificate", title: "SSLKeyAndCertificate", shared: true, derive: deriveKeyAndCertificate},
	{path: "pkiprofile", title: "PKIProfile", shared: true},
	{path: "httppolicyset", title: "HTTPPolicySet"},
	{path: "vsdatascriptset", title: "VSDataScriptSet"},
	{path: "stringgroup", title: "StringGroup", shared: true},
	{path: "errorpageprofile", title: "ErrorPageProfile", shared: true},
	{path: "prioritylabels", title: "PriorityLabels", cloud: true},
	{path: "serverautoscalepolicy", title: "ServerAutoScalePolicy"},
	{path: "trafficcloneprofile", title: "TrafficCloneProfile", cloud: true},
	{path: "securitypolicy", title: "SecurityPolicy"},
	{path: "useraccountprofile", title: "UserAccountProfile", shared: true},
	{path: "role", title: "Role", shared: true},
	{path: "user", title: "User", shared: true, derive: deriveUser},
	{path: "wafpolicy", title: "WafPolicy", shared: true},
	{path: "icapprofile", title: "IcapProfile", shared: true},
	{path: "botdetectionpolicy", title: "BotDetectionPolicy", shared: true},
	{path: "ssopolicy", title: "SSOPolicy", shared: true},

	{path: "systemconfiguration", title: "SystemConfiguration", shared: true, singleton: true},
	{path: "controllerproperties", title: "ControllerProperties", shared: true, singleton: true},
}

// listKeys names, for a list field, what identifies an entry: PATCH add merges and delete removes by it. A list of
// scalars or references is keyed by the value itself. Evidence: servers by ip is documented, the rest unverified.
var listKeys = map[string][]string{
	"servers":            {"ip", "port"},
	"vip":                {"vip_id"},
	"static_routes":      {"route_id"},
	"services":           {"port", "override_network_profile_ref"},
	"l4_policies":        {"index"},
	"rules":              {"index"},
	"dns_info":           {"fqdn"},
	"markers":            {"key"},
	"labels":             {"key"},
	"members":            {"pool_ref"},
	"configured_subnets": {"prefix"},
	"usable_networks":    {"nw_ref"},
	"placement_networks": {"network_ref", "subnet"},
}

// message returns the schema of the type, or nil for a type that is known by name only.
func (t *objectType) message() *message { return schema()[t.title] }

// verbose is the type's name as the duplicate message spells it: VrfContext becomes "Vrf context". Evidence: that one
// type's text is documented, the others are inferred.
func (t *objectType) verbose() string {
	var b strings.Builder
	runes := []rune(t.title)
	for i, r := range runes {
		if i > 0 && unicode.IsUpper(r) && unicode.IsLower(runes[i-1]) {
			b.WriteByte(' ')
		}
		if i > 0 {
			r = unicode.ToLower(r)
		}
		b.WriteRune(r)
	}
	return b.String()
}

// deriveTenant fills the tenant's settings. Evidence: documented defaults of the schema.
func deriveTenant(w *write) {
	if _, have := w.body["config_settings"]; !have {
		w.body["config_settings"] = map[string]any{
			"tenant_vrf": false, "se_in_provider_context": true, "tenant_access_to_provider_se": true}
	}
}

// deriveCloud fills the switches whose default, off, the schema does not tell. Evidence: recorded.
func deriveCloud(w *write) {
	for _, k := range []string{"prefer_static_routes", "enable_vip_static_routes", "enable_vip_on_all_interfaces", "dns_resolution_on_se"} {
		if w.body[k] == nil {
			w.body[k] = false
		}
	}
	if w.body["license_type"] == nil {
		w.body["license_type"] = "LIC_CORES"
	}
}

// derivePool fills the limits whose default, none, the schema does not tell, and gives a server without a host name its
// address as one. Evidence: recorded.
func derivePool(w *write) {
	for _, k := range []string{"max_concurrent_connections_per_server", "capacity_estimation_ttfb_thresh", "server_timeout"} {
		if w.body[k] == nil {
			w.body[k] = 0.0
		}
	}
	for _, s := range messages(w.body["servers"]) {
		if _, have := s["hostname"]; !have {
			s["hostname"] = str(s, "ip", "addr")
		}
	}
}

// deriveVirtualService fills a port's range end (recorded), the profiles that depend on the tier (documented) and the
// cloud's kind (recorded).
func deriveVirtualService(w *write) {
	for _, s := range messages(w.body["services"]) {
		if end, _ := s["port_range_end"].(float64); end == 0 {
			s["port_range_end"] = s["port"]
		}
	}
	if c := w.store.get(w.cloud); c != nil {
		if v, ok := c.body["vtype"]; ok {
			w.body["cloud_type"] = v
		}
	}
}
