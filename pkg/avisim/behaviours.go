// SPDX-License-Identifier: Apache-2.0

package avisim

import "github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/schema"

// Behaviour is one thing that the simulated Controller does beside its endpoints ([Endpoints]) and rules ([Rules]), with what
// is known of it. docs/simulator.md shows the list; a test keeps the two the same.
type Behaviour struct {
	Area, What string
	Known      schema.Evidence
}

// Behaviours lists them by area.
func Behaviours() []Behaviour {
	var out []Behaviour
	for _, a := range behaviourTable {
		for _, known := range schema.Grades {
			for _, what := range a.what[known] {
				out = append(out, Behaviour{a.area, what, known})
			}
		}
	}
	return out
}

// behaviourTable groups the behaviours by area, and by what is known of them.
var behaviourTable = []struct {
	area string
	what map[schema.Evidence][]string
}{
	{"requests", map[schema.Evidence][]string{
		schema.Recorded: {"headers of every answer, `Allow`, a JSON content type on texts that are not JSON",
			"`Server-Timing` on writes that take long"},
		schema.Documented: {"`//api/…` and a slash at the end of a path are served, without redirect",
			"404 with a page that is not JSON for an unknown path", "405 with `detail` for a method that a path does not have",
			"400 with `JSON parse error` for a body that is not JSON"},
		schema.Inferred:   {"URLs in answers begin with the address that the client used", "a Referer can be made mandatory"},
		schema.Unverified: {"the bytes of the 404 page", "the body of OPTIONS"},
	}},
	{"sessions", map[schema.Evidence][]string{
		schema.Recorded: {"login by JSON and by form, its cookies and its body", "session cookies again on every answer",
			"401 `Invalid credentials`", "401 without session, 401 in plain text for a wrong CSRF token",
			"basic authentication, if the system configuration allows it", "a changed password: an empty answer, and the session lives on"},
		schema.Documented: {"login with a token, also in place of the password", "sessions end when idle and at their age",
			"419 once, then 401, for other sessions after a change of the password",
			"accounts lock after failed logins", "the tenant header of a login is ignored"},
		schema.Inferred: {"passwords are never shown, and kept if a client echoes what it read"},
		schema.Unverified: {"the text for a locked account", "the oldest session ends when there are too many",
			"the refusal of a wrong old password"},
	}},
	{"versions", map[schema.Evidence][]string{
		schema.Recorded: {"`AVI_API_VERSION` echoes the request's version, 16_4_2 without one",
			"answers leave out fields that are newer than the request's version"},
		schema.Documented: {"`Invalid version` for one that is newer than the release",
			"dates of fields, several of them for fields that came to several lines of releases", "a release before 22.1.3 has no SCTP"},
		schema.Inferred: {"dates of the values of enumerations, and that answers leave out newer ones",
			"a field that is gone is dropped from writes of versions that do not have it, and not shown to them"},
		schema.Unverified: {"the status for an invalid version",
			"fields that 16.4.2 had and the schema of 30.2.1 has forgotten are not brought back"},
	}},
	{"tenants", map[schema.Evidence][]string{
		schema.Recorded: {"objects of other tenants are not seen", "tenants and the system configuration have no `tenant_ref`"},
		schema.Documented: {"`X-Avi-Tenant` by name or `*`, `X-Avi-Tenant-UUID`", "403 `Tenant '…' does not exist!`",
			"400 `Cannot modify VrfContext` for the admin tenant's objects", "the admin tenant's clouds, networks, VRFs, SE groups and profiles are seen by all"},
		schema.Inferred:   {"`Cannot modify …` for other types", "the header wins over a `tenant_ref` that says otherwise"},
		schema.Unverified: {"types that are known by name only are shared by all tenants"},
	}},
	{"references", map[schema.Evidence][]string{
		schema.Recorded: {"absolute URLs by uuid; with `#name` after a write and with `include_name`, without after a read"},
		schema.Documented: {"relative URLs, `?name=` with tenant and cloud, bare uuids, and an empty text for none",
			"`… object not found` for one that leads nowhere"},
		schema.Inferred:   {"names are looked up in the own tenant, then among the admin's shared objects, in the object's cloud"},
		schema.Unverified: {"references to objects of types that are known by name only may lead nowhere"},
	}},
	{"lists", map[schema.Evidence][]string{
		schema.Recorded: {"`count` and `results`, empty with 200", "`name`, `uuid`, `page_size`, `include_name`"},
		schema.Documented: {"`next`, absolute", "filters by any field, through references, with `.contains`, `.icontains`, `.in`",
			"`fields`, `exclude`, `skip_default`, `join_subresources`, `refers_to`, `referred_by`, `search`, `isearch`, `sort`, `limit_by`, `label_key`",
			"`page_size` up to 200", "`X-Avi-Cloud` and `tenant`", "DNS domains are a list of texts",
			"`skip_default` keeps mandatory fields"},
		schema.Inferred: {"25 objects on a page", "`sort` by several fields", "`include_refs` shows names too",
			"a filter by a reference takes any form of it",
			"a page size above 200 is taken for 200"},
		schema.Unverified: {"404 `Invalid page.` past the end, 400 for a page size below 1"},
	}},
	{"writes", map[schema.Evidence][]string{
		schema.Recorded: {"201 with `Location` and the whole object, 200 for PUT, 204 for DELETE",
			"uuids of the form type-uuid4, or the one that `Slug` asks for", "`_last_modified` grows, in µs",
			"unknown fields are dropped, texts are taken for bools and numbers (20.1)", "`port_range_end`, `hostname` and `cloud_type` are filled, and defaults that are false or 0 (other types: documented by the vendor's classes)",
			"a key reads `<sensitive>`, a certificate is taken apart", "an empty PUT of the system configuration moves `_last_modified` only"},
		schema.Documented: {"defaults, also those of a tier", "PUT replaces",
			"a self-signed certificate is made, shown with `export_key`, and presented if the system configuration names it", "412 `Need to reload object data …` for an old `_last_modified`", "500 `Bad pb` for a body that can't be decoded", "403 `Configuration is disallowed during upgrade`",
			"the macro: objects within objects, all or nothing"},
		schema.Inferred: {"PUT without `_last_modified` passes", "a VS has the VRF of its VsVip"},
		schema.Unverified: {"a write that changes nothing keeps `_last_modified` (there is a switch)",
			"the lower one of the system's and the cloud's tier holds", "the answer of a macro is its top object", "the texts of most refusals of fields"},
	}},
	{"PATCH", map[schema.Evidence][]string{
		schema.Documented: {"`add`, `replace`, `delete`; lists are appended to, replaced, and have entries removed",
			"`json_patch` with add, replace and remove at a list and at an index", "servers are named by their address"},
		schema.Inferred:   {"200 with the whole object, and no `_last_modified` needed"},
		schema.Unverified: {"the order of several verbs", "what names an entry of other lists", "`-` as an index of `json_patch`"},
	}},
	{"deletion", map[schema.Evidence][]string{
		schema.Recorded: {"404 `… object not found!`"},
		schema.Documented: {"403 `Cannot delete, object is referred by: […]`, 400 for a cloud", "`Cannot delete system default object`",
			"a VS leaves its pools, VsVip and policies behind, a macro takes them along"},
		schema.Unverified: {"403 for a system default"},
	}},
	{"addresses", map[schema.Evidence][]string{
		schema.Documented: {"an address in the answer to the POST, with `avi_allocated_vip`, `discovered_networks` and `ipam_network_subnet`",
			"`No available free IPs`", "cloud IPAMs that answer late", "a network of the entry, its placement networks, the IPAM profile's usable networks",
			"an update without the address keeps it",
			"an update that names the network finds it again, and another network brings another address", "`allocate_ip_in_vrf`", "public clouds find a subnet by `subnet_uuid`: its id, name or prefix"},
		schema.Inferred: {"addresses return with the VsVip, not with the VS", "a subnet without ranges serves as a whole, but for its first host",
			"nothing happens to `auto_allocate_floating_ip` where there are no such networks",
			"a static address is taken for the networks of its VRF too", "a VsVip or pool that names a tier-1 router and no VRF gets the router's"},
		schema.Unverified: {"the lowest free address is taken",
			"the texts for an address in use, a preferred one that is busy or out of range, and no IPAM profile", "quarantine of returned addresses"},
	}},
	{"runtime", map[schema.Evidence][]string{
		schema.Documented: {"shapes of runtime, inventories and servers", "a server is up when all its monitors say so",
			"a VS whose VsVip lost `discovered_networks` is down, with its reason, until an update names the network", "`min_servers_up`, `min_pools_up`",
			"VS of one VsVip share service engines; they move when an engine fails"},
		schema.Inferred: {"health of a VS from its pools; OPER_RESOURCES without room, OPER_UNUSED for a pool that nothing uses",
			"which service engine is chosen", "the order of the states"},
		schema.Unverified: {"texts of reasons", "`hmonstat`, `placement/summary`"},
	}},
	{"shipped objects", map[schema.Evidence][]string{
		schema.Recorded:   {"uuids `admin`, `user-1` and `default`; the system configuration"},
		schema.Documented: {"names of profiles, monitors, string groups, VRFs, SE groups, roles", "uuid `global`"},
		schema.Unverified: {"parameters of `System-SCTP-Proxy` and `System-SCTP`: the schema's defaults", "numbers of `systemlimits`",
			"entries of string groups, and fields of the WAF profile, the alert level and the backup configuration"},
	}},
}
