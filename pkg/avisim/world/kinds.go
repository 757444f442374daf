// SPDX-License-Identifier: Apache-2.0

package world

import (
	"strings"
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
