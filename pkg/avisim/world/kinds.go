// SPDX-License-Identifier: Apache-2.0

package world

import (
	"slices"
	"strings"
	"sync"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/doc"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/schema"
)

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
		"network": {shared: true, refDefaults: global},
		"tenant":  {shared: true, derive: deriveTenant},
		"user":    {shared: true, derive: deriveUser},
		"pool": {derive: derivePool, refDefaults: map[string]string{"vrf_ref": "global",
			"analytics_profile_ref": "System-Analytics-Profile"}},
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

// deriveTenant fills the tenant's settings. Evidence: documented defaults of the schema.
func deriveTenant(w *write) {
	if _, have := w.body["config_settings"]; !have {
		w.body["config_settings"] = map[string]any{
			"tenant_vrf": false, "se_in_provider_context": true, "tenant_access_to_provider_se": true}
	}
}

// derivePool gives a server without a host name its address as one. Evidence: recorded.
func derivePool(w *write) {
	for _, s := range doc.Messages(w.body["servers"]) {
		if _, have := s["hostname"]; !have {
			s["hostname"] = doc.Str(s, "ip", "addr")
		}
	}
}

// deriveVirtualService fills a port's range end (recorded), the profiles that depend on the tier (documented) and the
// cloud's kind (recorded).
func deriveVirtualService(w *write) {
	for _, s := range doc.Messages(w.body["services"]) {
		if end, _ := s["port_range_end"].(float64); end == 0 {
			s["port_range_end"] = s["port"]
		}
	}
	if w.body["ssl_profile_ref"] == nil && slices.ContainsFunc(doc.Messages(w.body["services"]),
		func(m map[string]any) bool { return doc.Bool(m, "enable_ssl", false) }) {
		if o := w.store.Lookup("sslprofile", "System-Standard-PFS", Scope{w.Tenant, w.cloud}); o != nil {
			w.body["ssl_profile_ref"] = o.Ref // recorded
		}
	}
	if c := w.store.Get(w.cloud); c != nil {
		if v, ok := c.Body["vtype"]; ok {
			w.body["cloud_type"] = v
		}
	}
}

// deriveUser fills what a client may leave out. Evidence: inferred.
func deriveUser(w *write) {
	keepSecrets(w)
	for k, v := range map[string]any{"username": w.name, "full_name": "", "email": "", "local": true, "is_superuser": false, "is_active": true,
		"default_tenant_ref": doc.Ref{Type: "tenant", UUID: AdminTenant}} {
		if w.body[k] == nil {
			w.body[k] = v
		}
	}
}

// Kind is a type of objects with what the schema does not say of it.
type Kind struct {
	*schema.Type
	traits
}

// kinds holds all types, by path.
var kinds = sync.OnceValue(func() map[string]*Kind {
	known := typeTraits()
	out := map[string]*Kind{}
	for _, t := range schema.Types() {
		own, ok := known[t.Path]
		if !ok {
			own = traits{shared: true, loose: true}
		}
		out[t.Path] = &Kind{t, own}
	}
	return out
})

// Kinds returns all types by path. The map is shared.
func Kinds() map[string]*Kind { return kinds() }

// KindOf returns the type of a path, nil if there is none.
func KindOf(path string) *Kind { return kinds()[path] }

// tier1Attribute is the attribute of a VRF that holds the path of its NSX-T tier-1 router. Evidence: documented by a client.
const tier1Attribute = "tier1path"

// tier1VRF finds the VRF of an object that names a tier-1 router and no VRF. Evidence: inferred from a client that leaves
// the VRF out where there is a router.
func (w *write) tier1VRF() {
	field := map[string]string{"vsvip": "vrf_context_ref", "pool": "vrf_ref"}[w.Kind.Path]
	path := doc.Str(w.body, "tier1_lr")
	if field == "" || path == "" || w.body[field] != nil {
		return
	}
	for _, v := range w.store.All("vrfcontext") {
		if v.Cloud == w.cloud && v.Visible(w.Tenant) && slices.ContainsFunc(doc.Messages(v.Body["attrs"]), func(m map[string]any) bool {
			return doc.Str(m, "key") == tier1Attribute && doc.Str(m, "value") == path
		}) {
			w.body[field] = v.Ref
			return
		}
	}
}
