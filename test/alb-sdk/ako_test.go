// SPDX-License-Identifier: Apache-2.0

package albsdk

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/vmware/alb-sdk/go/clients"
	"github.com/vmware/alb-sdk/go/models"
	sdk "github.com/vmware/alb-sdk/go/session"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/doc"
)

// The tests here make the calls that AKO makes, another operator for the same Controller, in its words, through the SDK that it
// uses, and insist on the fields that it reads without asking whether they are there.

const akoUser = "ako-cl"

// akoService makes a Service's objects as AKO does, in its order, and returns the uuids by type.
func akoService(t *testing.T, c *clients.AviClient, name string) map[string]string {
	t.Helper()
	ids := map[string]string{}
	marker := []obj{{"key": "clustername", "values": []string{"cl"}}}
	metadata := `{"namespace_svc_name":["default/` + name + `"]}`
	for _, o := range []struct {
		typ, uri string
		body     obj
	}{
		{"vsvip", "/api/vsvip", obj{"name": "cl--" + name, "tenant_ref": "/api/tenant/?name=admin", "cloud_ref": "/api/cloud?name=Default-Cloud",
			"east_west_placement": false, "dns_info": []obj{{"fqdn": name + ".demo.avi.local"}}, "vrf_context_ref": "/api/vrfcontext?name=global",
			"vsvip_cloud_config_cksum": "1", "markers": marker, "vip": []obj{{"vip_id": "0", "auto_allocate_ip": true,
				"ipam_network_subnet": obj{"network_ref": "/api/network/?name=vip-network"}}}}},
		{"pool", "/api/pool/", obj{"name": "cl--" + name, "cloud_config_cksum": "2", "created_by": akoUser,
			"tenant_ref": "/api/tenant/?name=admin",
			"cloud_ref":  "/api/cloud?name=Default-Cloud", "vrf_ref": "/api/vrfcontext?name=global",
			"sni_enabled": false, "graceful_disable_timeout": 1,
			"health_monitor_refs": []string{"/api/healthmonitor/?name=System-SCTP"}, "service_metadata": metadata, "markers": marker,
			"servers": []obj{{"ip": obj{"addr": "10.20.0.1", "type": "V4"}, "port": 30100, "external_uuid": "10.20.0.1:30100", "enabled": true,
				"server_node": "n1"}}}},
		{"l4policyset", "/api/l4policyset/", obj{"name": "cl--" + name, "created_by": akoUser, "tenant_ref": "/api/tenant/?name=admin",
			"markers": marker,
			"l4_connection_policy": obj{"rules": []obj{{"name": "r", "index": 0,
				"action": obj{"select_pool": obj{"action_type": "L4_RULE_ACTION_SELECT_POOL",
					"pool_ref": "/api/pool?name=cl--" + name}}, "match": obj{"port": obj{"match_criteria": "IS_IN", "ports": []int{38412}},
					"protocol": obj{"match_criteria": "IS_IN", "protocol": "PROTOCOL_SCTP"}}}}}}},
		{"virtualservice", "/api/virtualservice/", obj{"name": "cl--" + name, "cloud_config_cksum": "3", "created_by": akoUser, "markers": marker,
			"service_metadata": metadata, "cloud_ref": "/api/cloud?name=Default-Cloud", "tenant_ref": "/api/tenant/?name=admin",
			"application_profile_ref": "/api/applicationprofile/?name=System-L4-Application", "network_profile_ref": "/api/networkprofile/?name=System-SCTP-Proxy",
			"se_group_ref": "/api/serviceenginegroup?name=Default-Group", "error_page_profile_ref": "", "vrf_context_ref": "/api/vrfcontext?name=global",
			"traffic_enabled": true, "vsvip_ref": "/api/vsvip/?name=cl--" + name, "services": []obj{{"port": 38412, "port_range_end": 38412,
				"enable_ssl":   false,
				"enable_http2": false}}, "l4_policies": []obj{{"index": 0, "l4_policy_set_ref": "/api/l4policyset/?name=cl--" + name}},
			"remove_listening_port_on_vs_down": true}},
	} {
		var got map[string]any
		if err := c.AviSession.Post(o.uri, o.body, &got); err != nil {
			t.Fatalf("%s: %v", o.uri, err)
		}
		ids[o.typ] = doc.Str(got, "uuid")
		if o.typ == "vsvip" { // AKO publishes this without another call
			if vip := doc.Messages(got["vip"])[0]; doc.Str(vip, "ip_address", "addr") == "" || !strings.HasSuffix(doc.Str(vip, "ipam_network_subnet",
				"network_ref"), "#vip-network") {
				t.Errorf("vip %v", vip)
			}
		}
	}
	return ids
}

// TestAKOBoots makes the reads of AKO's boot, page by page, and looks for each field that it dereferences.
func TestAKOBoots(t *testing.T) {
	s := start(t)
	c := sdkClient(t, s)
	for i := range 120 { // more than one page of the hundred that AKO asks for
		if _, err := s.Create("pool", "admin", obj{"name": fmt.Sprintf("cl--x%03d", i), "created_by": akoUser,
			"cloud_config_cksum": "1"}); err != nil {
			t.Fatal(err)
		}
	}
	akoService(t, c, "amf")
	if _, err := s.Create("poolgroup", "admin", obj{"name": "cl--g", "created_by": akoUser, "cloud_config_cksum": "1",
		"members": []obj{{"pool_ref": "/api/pool?name=cl--amf"}}}); err != nil {
		t.Fatal(err)
	}
	cloud, _ := s.Object("cloud", "admin", "Default-Cloud")
	network, _ := s.Object("network", "admin", "vip-network")

	// The fields are paths of doc.Dereference.
	for _, tt := range []struct {
		uri, tenant string
		count       int // of a list; 0: an item
		fields      string
	}{
		{"/api/cluster/runtime", "admin", 0, "cluster_state.state node_states[].name node_states[].role node_states[].up_since node_states[].mgmt_ip"},
		{"/api/systemconfiguration", "admin", 0, "default_license_tier"},
		{"/api/tenant/?include_name&name=admin", "admin", 1, "name uuid url"},
		{"/api/cloud/?include_name&name=Default-Cloud", "admin", 1, "vtype uuid name tenant_ref# ipam_provider_ref# dns_provider_ref#"},
		{"/api/vrfcontext/?include_name&name=global&cloud_ref.name=Default-Cloud", "admin", 1, "name uuid _last_modified"},
		{"/api/network/?include_name=true&name=vip-network&cloud_ref.name=Default-Cloud", "admin", 1,
			"name uuid vrf_context_ref# configured_subnets[].prefix.ip_addr.addr configured_subnets[].prefix.ip_addr.type configured_subnets[].prefix.mask"},
		{"/api/network/?include_name=true&name=vip-network&cloud_ref.name=Default-Cloud&vrf_context_ref.name=global", "admin", 1,
			"vrf_context_ref#"},
		{"/api/network/" + doc.Str(network, "uuid") + "?cloud_uuid=" + doc.Str(cloud, "uuid") + "&include_name", "admin", 0,
			"name vrf_context_ref#"},
		{"/api/network/?include_name&page_size=100&name.in=vip-network,node-network", "admin", 2, "name uuid"},
		{"/api/serviceenginegroup/?include_name&page_size=100&cloud_ref.name=Default-Cloud&name.in=Default-Group,Other", "admin", 1,
			"name uuid _last_modified cloud_ref#"},
		{"/api/ipamdnsproviderprofile/?include_name&name=Default-IPAM", "admin", 1, "type internal_profile.usable_networks[].nw_ref#"},
		{"/api/vrfcontext?name=global&include_name=true&cloud_ref.name=Default-Cloud", "*", 1, "name uuid"},
		{"/api/vrfcontext?&include_name=true&cloud_ref.name=Default-Cloud&page_size=100", "*", 2, "name"},
		{"/api/vsvip/?name.contains=cl--&include_name=true&cloud_ref.name=Default-Cloud&page_size=100", "*", 1,
			"name uuid _last_modified tenant_ref# vsvip_cloud_config_cksum dns_info[].fqdn vip[].vip_id vip[].ip_address.addr vip[].ipam_network_subnet.network_ref#"},
		{"/api/pkiprofile/?&include_name=true&created_by=ako-cl&page_size=100", "*", -1, ""},
		{"/api/applicationpersistenceprofile/?include_name=true&created_by=ako-cl&page_size=100", "*", -1, ""},
		{"/api/pool/?&include_name=true&cloud_ref.name=Default-Cloud&created_by=ako-cl&page_size=100", "*", 121,
			"name uuid _last_modified cloud_config_cksum tenant_ref# cloud_ref# vrf_ref#"},
		{"/api/pool/?name=cl--amf&include_name=true&created_by=ako-cl", "*", 1,
			"service_metadata health_monitor_refs[]# servers[].ip.addr servers[].port servers[].external_uuid markers[].key"},
		{"/api/poolgroup/?include_name=true&cloud_ref.name=Default-Cloud&created_by=ako-cl&page_size=100", "*", 1,
			"name uuid _last_modified cloud_config_cksum members[].pool_ref#"},
		{"/api/stringgroup/?&include_name=true&created_by=ako-cl&page_size=100", "*", -1, ""},
		{"/api/sslkeyandcertificate/?&include_name=true&created_by=ako-cl&page_size=100", "*", -1, ""},
		{"/api/vsdatascriptset/?&include_name=true&created_by=ako-cl&page_size=100", "*", -1, ""},
		{"/api/httppolicyset/?&include_name=true&created_by=ako-cl&page_size=100", "*", -1, ""},
		{"/api/l4policyset/?&include_name=true&created_by=ako-cl&page_size=100", "*", 1,
			"name uuid _last_modified l4_connection_policy.rules[].match.port.ports " +
				"l4_connection_policy.rules[].match.protocol.protocol l4_connection_policy.rules[].action.select_pool.pool_ref#"},
		{"/api/virtualservice/?include_name=true&cloud_ref.name=Default-Cloud&created_by=ako-cl&page_size=100", "*", 1,
			"name uuid _last_modified cloud_config_cksum tenant_ref# service_metadata vsvip_ref# l4_policies[].l4_policy_set_ref# services[].port type"},
		{"/api/ipamdnsproviderprofiledomainlist?cloud_uuid=" + doc.Str(cloud, "uuid"), "admin", 0, "domains[]"},
		{"/api/cluster", "admin", 0, "uuid name nodes[].name"},
		{"/api/tenant", "admin", 1, "name uuid"},
		{"//api/initial-data", "admin", 0, "version.Version"},
	} {
		t.Run(tt.uri, func(t *testing.T) {
			var results []map[string]any
			uri, total := tt.uri, 0
			for uri != "" {
				raw, err := c.AviSession.GetRaw(uri, sdk.SetOptTenant(tt.tenant))
				if err != nil {
					t.Fatal(err)
				}
				var body map[string]any
				if err := json.Unmarshal(raw, &body); err != nil {
					t.Fatal(err)
				}
				if tt.count == 0 {
					results = append(results, body)
					break
				}
				total = doc.Int(body, "count")
				results = append(results, doc.Messages(body["results"])...)
				// As AKO does: cut at the type, and ask for what is behind it.
				typ := strings.FieldsFunc(tt.uri, func(r rune) bool { return r == '/' || r == '?' })[1]
				next := strings.Split(doc.Str(body, "next"), "/api/"+typ)
				uri = ""
				if len(next) > 1 {
					uri = "/api/" + typ + next[1]
				}
			}
			if want := max(tt.count, 0); tt.count != 0 && (total != want || len(results) != want) {
				t.Errorf("count %d, %d results, want %d", total, len(results), want)
			}
			for _, r := range results {
				for f := range strings.FieldsSeq(tt.fields) {
					if err := doc.Dereference(r, f); err != nil {
						t.Errorf("%s: %v", f, err)
					}
				}
			}
		})
	}

	var list struct{ Domains []*string } // the type that AKO decodes into
	if err := c.AviSession.Get("/api/ipamdnsproviderprofiledomainlist?cloud_uuid="+doc.Str(cloud, "uuid"),
		&list); err != nil || len(list.Domains) != 1 {
		t.Errorf("domains %v, %v", list, err)
	}
}

// TestAKOLives makes the writes of a Service's life: labels of the SE group and static routes by reading, changing and
// writing the whole object, updates, and deletion in AKO's order.
func TestAKOLives(t *testing.T) {
	s := start(t)
	c := sdkClient(t, s)
	ids := akoService(t, c, "amf")

	var groups []models.ServiceEngineGroup
	page, err := c.AviSession.GetCollectionRaw("/api/serviceenginegroup/?include_name&page_size=100&cloud_ref.name=Default-Cloud&name.in=Default-Group")
	if err != nil || json.Unmarshal(page.Results, &groups) != nil || len(groups) != 1 {
		t.Fatal(err, string(page.Results))
	}
	key, value := "clustername", "cl"
	groups[0].Labels = []*models.KeyValue{{Key: &key, Value: &value}}
	if err := c.AviSession.Put("/api/serviceenginegroup/"+*groups[0].UUID, groups[0],
		models.ServiceEngineGroupAPIResponse{}); err != nil && !strings.Contains(err.Error(), "non-pointer") {
		t.Error(err) // AKO gives the SDK no pointer to decode into, and looks only for its own errors
	}
	if g, _ := s.Object("serviceenginegroup", "admin", "Default-Group"); doc.Str(doc.Messages(g["labels"])[0], "value") != "cl" {
		t.Errorf("labels %v", g["labels"])
	}

	vrf := &models.VrfContext{}
	if err := c.AviSession.GetObjectByName("vrfcontext", "global", vrf); err != nil {
		t.Fatal(err)
	}
	route := func(id, prefix string) *models.StaticRoute {
		typ, hop, mask, net := "V4", "10.20.0.1", int32(24), prefix
		return &models.StaticRoute{RouteID: &id, NextHop: &models.IPAddr{Addr: &hop, Type: &typ},
			Prefix: &models.IPAddrPrefix{IPAddr: &models.IPAddr{Addr: &net, Type: &typ}, Mask: &mask}, Labels: []*models.KeyValue{{Key: &key,
				Value: &value}}}
	}
	vrf.StaticRoutes = append(vrf.StaticRoutes, route("cl-1", "10.244.0.0"), route("cl-2", "10.244.1.0"))
	var changed models.VrfContext
	if err := c.AviSession.Put("/api/vrfcontext/"+*vrf.UUID, vrf, &changed); err != nil || len(changed.StaticRoutes) != 2 {
		t.Fatalf("%v, %d routes", err, len(changed.StaticRoutes))
	}
	err = c.AviSession.Put("/api/vrfcontext/"+*vrf.UUID, vrf, &changed) // from the old reading
	if refused, ok := err.(sdk.AviError); !ok || refused.HttpStatusCode != http.StatusPreconditionFailed {
		t.Errorf("stale VRF: %v", err)
	}

	vip := map[string]any{}
	if err := c.AviSession.Get("/api/vsvip/"+ids["vsvip"]+"/?include_name", &vip); err != nil {
		t.Fatal(err)
	}
	before := doc.Str(doc.Messages(vip["vip"])[0], "ip_address", "addr")
	vip["dns_info"] = []obj{{"fqdn": "other.demo.avi.local"}}
	vip["vip"] = []obj{{"vip_id": "0", "auto_allocate_ip": true, "ipam_network_subnet": obj{"network_ref": "/api/network/?name=vip-network"}}}
	var written map[string]any
	if err := c.AviSession.Put("/api/vsvip/"+ids["vsvip"], vip, &written); err != nil || doc.Str(doc.Messages(written["vip"])[0], "ip_address",
		"addr") != before {
		t.Errorf("%v: address %v, was %s", err, written["vip"], before)
	}

	err = c.AviSession.Post("/api/pool/", obj{"name": "cl--amf", "created_by": akoUser}, &written)
	if refused, ok := err.(sdk.AviError); !ok || refused.HttpStatusCode != http.StatusConflict || !strings.Contains(*refused.Message,
		"already exists") {
		t.Errorf("second pool: %v", err)
	}
	for _, typ := range []string{"virtualservice", "vsvip", "l4policyset", "pool"} {
		if err := c.AviSession.DeleteObject("/api/"+typ+"/"+ids[typ], sdk.SetOptTenant("admin")); err != nil {
			t.Errorf("%s: %v", typ, err)
		}
	}
	for _, typ := range []string{"virtualservice", "vsvip", "l4policyset", "pool"} {
		if left := s.Objects(typ); len(left) != 0 {
			t.Errorf("%s left: %v", typ, left)
		}
	}
	if writes := s.Writes(); !slices.ContainsFunc(writes, func(r avisim.Request) bool { return strings.HasPrefix(r.Path, "//api/") }) {
		t.Error("the paths with two slashes are not tested")
	}
}
