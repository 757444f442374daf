// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"reflect"
	"strings"
	"sync"

	"github.com/vmware/alb-sdk/go/models"
)

// mode says how a field of ours is treated.
type mode int

const (
	// owned is put right whenever it differs.
	owned mode = 0
	// ifWanted is compared only where the wanted body sets it; otherwise the Controller's value stands.
	ifWanted mode = 1 << iota
	// fixed can't be changed on a live object: the API refuses it, or it would move traffic. A difference is a
	// finding, and a replacement if the owner allows one.
	fixed
	// withExtras is a list in which elements that aren't ours are left where they are.
	withExtras
	// fixedMembers is a list that can lose and gain no element on a live object, as fixed says.
	fixedMembers
	// aside is never a difference by itself: it means nothing for traffic. It is sent with what is.
	aside
	// standing is as aside, unless the Controller has no value at all.
	standing
	// metadata is AKO's JSON about an object: only what maps the object back to Kubernetes counts, in any order.
	metadata
	// ruled is the operator's only where the wanted object's Ruled names it: an L4Rule or a field of a Service sets it, or did. A
	// struct is the operator's in the part that the table lists, and goes back to its default in that part.
	ruled
)

type owns struct {
	field string // JSON name
	mode  mode
}

// ownership is the whole of what the operator owns, by alb-sdk type. What isn't listed belongs to the network team or
// to the Controller and survives every update.
var ownership = map[reflect.Type][]owns{
	reflect.TypeFor[models.VsVip](): {
		{"vip", fixedMembers}, {"dns_info", owned}, {"bgp_peer_labels", owned}, {"east_west_placement", owned},
		{"vrf_context_ref", fixed | ifWanted}, {"tier1_lr", fixed | ifWanted},
		{"markers", withExtras}, {"vsvip_cloud_config_cksum", standing},
	},
	// The address can't change on PUT or PATCH, nor can what it was allocated from.
	reflect.TypeFor[models.Vip](): {
		{"vip_id", owned}, {"auto_allocate_ip", owned}, {"auto_allocate_ip_type", fixed | ifWanted},
		{"auto_allocate_floating_ip", fixed | ifWanted},
		{"ip_address", fixed | ifWanted}, {"ip6_address", fixed | ifWanted}, {"ipam_network_subnet", fixed | ifWanted},
		{"subnet_uuid", fixed | ifWanted}, {"placement_networks", ifWanted},
		{"discovered_networks", ifWanted}, // the Controller's own, but for a VIP that lost them
	},
	reflect.TypeFor[models.IPNetworkSubnet](): {
		{"network_ref", fixed | ifWanted}, {"subnet", fixed | ifWanted}, {"subnet6", fixed | ifWanted}, {"subnet_uuid", fixed | ifWanted},
	},
	reflect.TypeFor[models.DNSInfo](): {{"fqdn", owned}},
	reflect.TypeFor[models.ApplicationPersistenceProfile](): {
		{"persistence_type", owned}, {"ip_persistence_profile", owned}, {"markers", withExtras},
	},
	reflect.TypeFor[models.IPPersistenceProfile](): {{"ip_persistent_timeout", owned}},
	reflect.TypeFor[models.Pool](): {
		{"servers", owned}, {"health_monitor_refs", owned}, {"graceful_disable_timeout", ifWanted}, {"sni_enabled", owned},
		{"placement_networks", owned}, {"vrf_ref", fixed | ifWanted}, {"tier1_lr", fixed | ifWanted},
		{"created_by", owned}, {"markers", withExtras}, {"service_metadata", metadata}, {"cloud_config_cksum", standing},
		{"enabled", ruled}, {"lb_algorithm", ruled}, {"lb_algorithm_hash", ruled}, {"lb_algorithm_consistent_hash_hdr", ruled},
		{"application_persistence_profile_ref", ruled}, {"min_servers_up", ruled}, {"analytics_policy", ruled},
		{"ssl_profile_ref", ruled}, {"ssl_key_and_certificate_ref", ruled}, {"pki_profile_ref", ruled},
	},
	reflect.TypeFor[models.PoolAnalyticsPolicy](): {{"enable_realtime_metrics", owned}},
	reflect.TypeFor[models.Server](): {
		{"ip", owned}, {"port", owned}, {"enabled", owned}, {"external_uuid", aside}, {"server_node", aside},
	},
	reflect.TypeFor[models.PoolGroup](): {
		{"members", owned}, {"created_by", owned}, {"markers", withExtras}, {"cloud_config_cksum", standing},
	},
	reflect.TypeFor[models.PoolGroupMember](): {{"pool_ref", owned}, {"ratio", owned}},
	reflect.TypeFor[models.L4PolicySet](): {
		{"l4_connection_policy", owned}, {"created_by", owned}, {"markers", withExtras},
	},
	reflect.TypeFor[models.L4ConnectionPolicy](): {{"rules", owned}},
	// No two rules of ours match the same connection, so their order means nothing.
	reflect.TypeFor[models.L4Rule](): {
		{"name", owned}, {"index", aside}, {"match", owned}, {"action", owned},
	},
	reflect.TypeFor[models.L4RuleMatchTarget](): {{"port", owned}, {"protocol", owned}},
	// In a match everything is ours: whatever is added to it narrows the rule. Logging and the rule's age are not.
	reflect.TypeFor[models.NetworkSecurityPolicy](): {
		{"rules", owned}, {"created_by", owned}, {"markers", withExtras},
	},
	reflect.TypeFor[models.NetworkSecurityRule](): {
		{"name", owned}, {"index", owned}, {"enable", owned}, {"action", owned}, {"match", owned},
	},
	reflect.TypeFor[models.VirtualService](): {
		{"services", owned}, {"network_profile_ref", owned}, {"application_profile_ref", owned}, {"l4_policies", owned},
		{"traffic_enabled", owned}, {"remove_listening_port_on_vs_down", owned}, {"enable_rhi", owned},
		{"vsvip_ref", fixed}, {"se_group_ref", fixed | ifWanted}, {"vrf_context_ref", fixed | ifWanted},
		{"created_by", owned}, {"markers", withExtras}, {"service_metadata", metadata}, {"cloud_config_cksum", standing},
		{"pool_ref", ruled}, {"analytics_policy", ruled}, {"analytics_profile_ref", ruled}, {"performance_limits", ruled},
		{"network_security_policy_ref", ruled}, {"security_policy_ref", ruled}, {"vs_datascripts", ruled},
		{"ssl_profile_ref", ruled}, {"ssl_key_and_certificate_refs", ruled}, {"revoke_vip_route", ruled},
	},
	reflect.TypeFor[models.AnalyticsPolicy](): {{"full_client_logs", owned}},
	reflect.TypeFor[models.Service](): {
		{"port", owned}, {"port_range_end", owned}, {"enable_ssl", owned}, {"enable_http2", owned}, {"override_network_profile_ref", owned},
	},
}

// listKeys names the fields that identify the elements of a list, so that what others set on an element survives. The order
// of a list never matters.
var listKeys = map[reflect.Type][]string{
	reflect.TypeFor[models.Vip]():                  {"vip_id"},
	reflect.TypeFor[models.Server]():               {"ip", "port"},
	reflect.TypeFor[models.DNSInfo]():              {"fqdn"},
	reflect.TypeFor[models.L4Rule]():               {"name"},
	reflect.TypeFor[models.RoleFilterMatchLabel](): {"key"},
	reflect.TypeFor[models.L4Policies]():           {"index"},
	reflect.TypeFor[models.IPAddrPrefix]():         {"ip_addr", "mask"},
	reflect.TypeFor[models.Service]():              {"port"}, // a number that has several protocols has several
}

// field is one owned field of a struct type, found once.
type field struct {
	name  string
	mode  mode
	index int
	ref   bool // a reference or a list of them
}

var (
	fieldCache sync.Map // reflect.Type → []field
	keyCache   sync.Map // reflect.Type → []int
)

// fieldsOf lists the owned fields of a struct type: those of the ownership table, or all of them for a type that isn't
// in it, such as an address.
func fieldsOf(t reflect.Type) []field {
	if cached, ok := fieldCache.Load(t); ok {
		return cached.([]field)
	}
	var out []field
	if rows, ok := ownership[t]; ok {
		for _, row := range rows {
			out = append(out, newField(t, indexOf(t, row.field), row.mode))
		}
	} else {
		for i := range t.NumField() {
			out = append(out, newField(t, i, owned))
		}
	}
	fieldCache.Store(t, out)
	return out
}

func newField(t reflect.Type, index int, m mode) field {
	name := jsonName(t.Field(index))
	return field{name: name, mode: m, index: index, ref: strings.HasSuffix(name, "_ref") || strings.HasSuffix(name, "_refs")}
}

// keysOfList are the fields that identify the elements of a type of list; none for a list without such fields.
func keysOfList(list reflect.Type) []int {
	if e := list.Elem(); e.Kind() == reflect.Pointer {
		return keysOf(e.Elem())
	}
	return nil
}

func keysOf(t reflect.Type) []int {
	if cached, ok := keyCache.Load(t); ok {
		return cached.([]int)
	}
	var out []int
	for _, name := range listKeys[t] {
		out = append(out, indexOf(t, name))
	}
	keyCache.Store(t, out)
	return out
}

func indexOf(t reflect.Type, name string) int {
	for i := range t.NumField() {
		if jsonName(t.Field(i)) == name {
			return i
		}
	}
	panic("plan: " + t.Name() + " has no field " + name) // the table names a field that the pinned alb-sdk lacks
}

func jsonName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

// Prune clears every top-level field of an alb-sdk body that the operator doesn't own, so that keeping thousands of
// bodies costs little. What is inside an owned field is kept whole, because an update has to send it back.
func Prune(body any) {
	v := reflect.ValueOf(body).Elem()
	keep := make(map[int]bool)
	for _, f := range fieldsOf(v.Type()) {
		keep[f.index] = true
	}
	for i := range v.NumField() {
		if !keep[i] {
			v.Field(i).SetZero()
		}
	}
}
