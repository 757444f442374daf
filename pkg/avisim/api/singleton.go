// SPDX-License-Identifier: Apache-2.0

package api

import (
	"net/http"
	"slices"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/doc"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/schema"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/world"
)

// build is the version block of login, initial-data and cluster/version. Evidence: recorded.
func build(of schema.Version) map[string]any {
	v := of.Join(".")
	return map[string]any{"build": 9000, "Tag": v + "-9000-20240101.000000", "ProductName": "Avi Cloud Controller", "min_version": 15.2,
		"Version": v, "Product": "controller", "Date": "2024-01-01T00:00:00+00:00"}
}

// initialData serves /api/initial-data. Evidence: that it needs no session and carries the version is documented, the other
// keys are unverified.
func initialData(_ *Call, s *world.Reader) *Answer {
	return Reply(http.StatusOK, map[string]any{"version": build(s.Version()), "user_initialized": true, "welcome_workflow_complete": true,
		"session_cookie_name": "avi-sessionid", "clustered": false, "sso": false, "sso_enabled": false, "support_email": ""})
}

// showCluster serves GET /api/cluster. Evidence: documented.
func showCluster(c *Call, s *world.Reader) *Answer {
	cluster := s.Cluster()
	out := doc.CloneMap(cluster.Body)
	out["url"], out["uuid"] = c.Base()+"/api/cluster", world.ClusterUUID
	out["tenant_ref"] = c.renderer(s, c.named()).URL(doc.Ref{Type: "tenant", UUID: world.AdminTenant})
	out["_last_modified"] = world.Microseconds(cluster.Modified)
	return Reply(http.StatusOK, out)
}

// putCluster serves PUT /api/cluster, which is kept and changes nothing else. Evidence: that there is a PUT is documented.
func putCluster(c *Call) (a *Answer) {
	in, bad := parse(c.Body)
	if bad != nil {
		return bad
	}
	if doc.Str(in, "name") == "" {
		return refusal(schema.FieldCheck("name", "Missing required field"))
	}
	for _, k := range []string{"url", "uuid", "tenant_ref", "_last_modified"} {
		delete(in, k)
	}
	c.api.world.Write(func(s *world.Writer) {
		s.SetCluster(in)
		a = showCluster(c, &s.Reader)
	})
	return a
}

// clusterRuntime serves /api/cluster/runtime: the nodes, of which the first one leads. Evidence: documented.
func clusterRuntime(_ *Call, s *world.Reader) *Answer {
	cluster := s.Cluster()
	states, up := []any{}, cluster.UpSince
	for i, n := range doc.Messages(cluster.Body["nodes"]) {
		name, role := doc.Str(n, "name"), "CLUSTER_FOLLOWER"
		if i == 0 {
			name, role = cluster.Leader, "CLUSTER_LEADER"
		}
		states = append(states, map[string]any{"name": name, "mgmt_ip": doc.Str(n, "ip", "addr"), "role": role, "state": "CLUSTER_ACTIVE",
			"up_since": up})
	}
	state := "CLUSTER_UP_NO_HA"
	if len(states) > 1 {
		state = "CLUSTER_UP_HA_ACTIVE"
	}
	return Reply(http.StatusOK, map[string]any{
		"node_info": map[string]any{"uuid": world.NodeUUID, "cluster_uuid": world.ClusterUUID, "version": build(s.Version())["Tag"],
			"mgmt_ip": "127.0.0.1"},
		"node_states":    states,
		"cluster_state":  map[string]any{"state": state, "progress": 100, "up_since": up},
		"service_states": []any{},
	})
}

func clusterVersion(_ *Call, s *world.Reader) *Answer {
	return Reply(http.StatusOK, build(s.Version()))
}

// clusterStatus serves /api/cluster/status. Evidence: that it needs no session is documented, its body is unverified; clients
// look at the code only.
func clusterStatus(_ *Call, s *world.Reader) *Answer {
	return Reply(http.StatusOK, map[string]any{"state": "CLUSTER_UP_NO_HA"})
}

const validUntil = "2099-01-01T00:00:00"

// license serves /api/license and /api/licensing with the tier of the system configuration. Evidence: the keys are
// documented, the values are those of a licence that limits nothing.
func license(c *Call, s *world.Reader) *Answer {
	tier := s.Tier()
	return Reply(http.StatusOK, map[string]any{"uuid": "default", "name": "default", "url": c.Base() + "/api/license",
		"customer_name": "simulated",
		"valid_until":   validUntil, "start_on": "2024-01-01T00:00:00",
		"license_id": "simulated", "initialized": true, "disable_enforcement": false,
		"cores": 0, "sockets": 0, "max_ses": 0, "service_cores": 10000, "license_tier": []string{tier}, "default_license_tier": tier,
		"license_tiers": []any{map[string]any{"tier_type": tier, "service_cores": 10000, "cores": 0, "sockets": 0, "max_ses": 0}},
		"licenses": []any{map[string]any{"license_id": "simulated", "license_name": "simulated", "customer_name": "simulated", "tier_type": tier,
			"service_cores": 10000, "valid_until": validUntil, "expired": false}}})
}

// licenseStatus serves /api/licensing/status. Evidence: documented.
func licenseStatus(c *Call, s *world.Reader) *Answer {
	tier := s.Tier()
	return Reply(http.StatusOK, map[string]any{"uuid": "default", "url": c.Base() + "/api/licensing/status", "license_tier": tier,
		"default_license_tier": tier,
		"saas_status": map[string]any{"name": "default", "enabled": false, "connected": false, "expired": false, "message": "",
			"reserve_service_units": 0},
		"service_update": map[string]any{"name": "default", "service_units": map[string]any{"available_service_units": 0,
			"used_service_units": 0}}})
}

// licenseUsage serves /api/licenseusage: a core for each service engine. Evidence: the keys are documented, licensed_cores by the
// vendor's own tests, num_se_vcpus by scripts that compare it with licensed_cores.
func licenseUsage(_ *Call, s *world.Reader) *Answer {
	used := len(s.Store.All("serviceengine"))
	return Reply(http.StatusOK, map[string]any{"licensed_cores": 10000, "available": 10000, "consumed": used, "remaining": 10000 - used,
		"escrow": 0, "num_se_vcpus": used})
}

// systemLimits serves /api/systemlimits with the limits of the schema. Evidence: the keys are documented, the numbers that
// depend on a Controller's size are not published and so unverified.
func systemLimits(c *Call, s *world.Reader) *Answer {
	return Reply(http.StatusOK, map[string]any{"uuid": "default", "url": c.Base() + "/api/systemlimits",
		"controller_limits": map[string]any{"servers_per_pool": 5000, "pools_per_virtualservice": 400, "poolgroups_per_virtualservice": 400,
			"pools_per_poolgroup": 5000, "routes_per_vrfcontext": 5000, "default_routes_per_vrfcontext": 4,
			"vs_l2_scaleout": 4, "vs_bgp_scaleout": 64,
			"rules_per_networksecuritypolicy": 1000},
		"controller_sizes":     []any{map[string]any{"flavor": "SMALL", "min_cpus": 6, "min_memory": 24}}, // documented
		"serviceengine_limits": map[string]any{"all_virtualservices_per_serviceengine": 1000}})
}

// domains serves /api/ipamdnsproviderprofiledomainlist?cloud_uuid=. Evidence: documented by a client, which reads a list of
// strings.
func domains(c *Call, s *world.Reader) *Answer {
	names := []string{}
	for _, cloud := range s.Store.All("cloud") {
		if id := c.Query.Get("cloud_uuid"); id != "" && id != cloud.UUID {
			continue
		}
		if p := s.Store.Get(doc.RefAt(cloud.Body, "dns_provider_ref")); p != nil {
			for _, d := range doc.Messages(doc.At(p.Body, "internal_profile", "dns_service_domain")) {
				if n := doc.Str(d, "domain_name"); !slices.Contains(names, n) {
					names = append(names, n)
				}
			}
		}
	}
	return Reply(http.StatusOK, map[string]any{"domains": names})
}
