package avisim

import (
	"slices"
	"strings"
	"sync"
	"unicode"
)

// objectType describes what the server knows of an object type beside its fields. Path, title, cloud and singleton come from
// the schema, the rest from typeTraits.
type objectType struct {
	path      string // as in /api/<path>
	title     string // as messages spell it; also the name of its message in the schema, if that has one
	cloud     bool   // belongs to a cloud: cloud_ref is defaulted, names are unique within it
	singleton bool   // one object with the uuid "default", no list
	traits
}

// traits are what the schema does not say of a type.
type traits struct {
	shared bool // the admin tenant's objects are visible from, and usable in, all tenants
	loose  bool // references to objects that are not there are kept as they came

	// refDefaults fills references that the client left out, by name; resolved like a name that a client sent.
	refDefaults map[string]string
	// derive fills what the server computes, after the schema's defaults. May be nil.
	derive func(*write)
}

// typeTraits lists the types that clients are known to use. Evidence: that the admin tenant's objects are shared is
// documented for the types that clients use across tenants (clouds, networks, VRFs, SE groups, system profiles) and inferred
// for the others; refDefaults are documented by the schema or recorded.
//
// Types that are not listed are shared and loose, which is unverified: nothing is known of them but names.
func typeTraits() map[string]traits {
	global := map[string]string{"vrf_context_ref": "global"}
	t := map[string]traits{
		"network":              {shared: true, refDefaults: global},
		"tenant":               {shared: true, derive: deriveTenant},
		"user":                 {shared: true, derive: deriveUser},
		"pool":                 {derive: derivePool, refDefaults: map[string]string{"vrf_ref": "global", "analytics_profile_ref": "System-Analytics-Profile"}},
		"vsvip":                {refDefaults: global},
		"sslkeyandcertificate": {shared: true, derive: deriveKeyAndCertificate},
		"virtualservice": {derive: deriveVirtualService, refDefaults: map[string]string{
			"se_group_ref": "Default-Group", "analytics_profile_ref": "System-Analytics-Profile"}},
	}
	for _, path := range strings.Fields("poolgroup l4policyset httppolicyset vsdatascriptset prioritylabels serverautoscalepolicy" +
		" trafficcloneprofile securitypolicy") {
		t[path] = traits{}
	}
	for _, path := range strings.Fields("cloud vrfcontext serviceenginegroup serviceengine ipamdnsproviderprofile networkprofile" +
		" applicationprofile applicationpersistenceprofile analyticsprofile healthmonitor networksecuritypolicy ipaddrgroup sslprofile" +
		" pkiprofile stringgroup errorpageprofile useraccountprofile role wafpolicy icapprofile" +
		" botdetectionpolicy ssopolicy systemconfiguration controllerproperties") {
		t[path] = traits{shared: true}
	}
	return t
}

// objectTypes lists all types, by path.
var objectTypes = sync.OnceValue(func() []*objectType {
	known := typeTraits()
	out := make([]*objectType, 0, len(table().types))
	for _, t := range table().types {
		if t.path == "cluster" || t.path == "systemlimits" { // endpoints of their own serve these, and no objects
			continue
		}
		var ok bool
		if t.traits, ok = known[t.path]; !ok {
			t.traits = traits{shared: true, loose: true}
		}
		out = append(out, &t)
	}
	return out
})

// listKey names the fields that identify an entry of a list: PATCH add merges and delete removes by it. A list of scalars
// or references is keyed by the value itself. Evidence: see hack/avisim-schema/overlay.txt.
func listKey(list string) []string { return table().keys[list] }

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

// derivePool gives a server without a host name its address as one. Evidence: recorded.
func derivePool(w *write) {
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
	if w.body["ssl_profile_ref"] == nil && slices.ContainsFunc(messages(w.body["services"]), func(m map[string]any) bool { return boolean(m, "enable_ssl", false) }) {
		if o := w.store.lookup("sslprofile", "System-Standard-PFS", scope{w.tenant, w.cloud}); o != nil {
			w.body["ssl_profile_ref"] = o.ref // recorded
		}
	}
	if c := w.store.get(w.cloud); c != nil {
		if v, ok := c.body["vtype"]; ok {
			w.body["cloud_type"] = v
		}
	}
}
