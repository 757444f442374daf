package avisim

import (
	"net/http"
	"slices"
)

// build is the version block of login, initial-data and cluster/version. Evidence: recorded.
func build(of version) map[string]any {
	v := of.join(".")
	return map[string]any{"build": 9000, "Tag": v + "-9000-20240101.000000", "ProductName": "Avi Cloud Controller", "min_version": 15.2,
		"Version": v, "Product": "controller", "Date": "2024-01-01T00:00:00+00:00"}
}

// initialData serves /api/initial-data. Evidence: that it needs no session and carries the version is documented, the other
// keys are unverified.
func initialData(_ *call, s *Reader) *answer {
	return reply(http.StatusOK, map[string]any{"version": build(s.Version()), "user_initialized": true, "welcome_workflow_complete": true,
		"session_cookie_name": "avi-sessionid", "clustered": false, "sso": false, "sso_enabled": false, "support_email": ""})
}

// showCluster serves GET /api/cluster. Evidence: documented.
func showCluster(c *call, s *Reader) *answer {
	cluster := s.Cluster()
	out := cloneMap(cluster.Body)
	out["url"], out["uuid"], out["tenant_ref"] = c.base()+"/api/cluster", clusterUUID, c.renderer(s, c.named()).url(ref{"tenant", adminTenant})
	out["_last_modified"] = microseconds(cluster.Modified)
	return reply(http.StatusOK, out)
}

// putCluster serves PUT /api/cluster, which is kept and changes nothing else. Evidence: that there is a PUT is documented.
func putCluster(c *call) (a *answer) {
	in, bad := parse(c.body)
	if bad != nil {
		return bad
	}
	if str(in, "name") == "" {
		return refusal(fieldCheck("name", "Missing required field"))
	}
	for _, k := range []string{"url", "uuid", "tenant_ref", "_last_modified"} {
		delete(in, k)
	}
	c.api.world.Write(func(s *Writer) {
		s.SetCluster(in)
		a = showCluster(c, &s.Reader)
	})
	return a
}

// clusterRuntime serves /api/cluster/runtime: the nodes, of which the first one leads. Evidence: documented.
func clusterRuntime(_ *call, s *Reader) *answer {
	cluster := s.Cluster()
	states, up := []any{}, cluster.UpSince
	for i, n := range messages(cluster.Body["nodes"]) {
		name, role := str(n, "name"), "CLUSTER_FOLLOWER"
		if i == 0 {
			name, role = cluster.Leader, "CLUSTER_LEADER"
		}
		states = append(states, map[string]any{"name": name, "mgmt_ip": str(n, "ip", "addr"), "role": role, "state": "CLUSTER_ACTIVE", "up_since": up})
	}
	state := "CLUSTER_UP_NO_HA"
	if len(states) > 1 {
		state = "CLUSTER_UP_HA_ACTIVE"
	}
	return reply(http.StatusOK, map[string]any{
		"node_info":      map[string]any{"uuid": nodeUUID, "cluster_uuid": clusterUUID, "version": build(s.Version())["Tag"], "mgmt_ip": "127.0.0.1"},
		"node_states":    states,
		"cluster_state":  map[string]any{"state": state, "progress": 100, "up_since": up},
		"service_states": []any{},
	})
}

func clusterVersion(_ *call, s *Reader) *answer { return reply(http.StatusOK, build(s.Version())) }

// clusterStatus serves /api/cluster/status. Evidence: that it needs no session is documented, its body is unverified; clients
// look at the code only.
func clusterStatus(_ *call, s *Reader) *answer {
	return reply(http.StatusOK, map[string]any{"state": "CLUSTER_UP_NO_HA"})
}

const validUntil = "2099-01-01T00:00:00"

// license serves /api/license and /api/licensing with the tier of the system configuration. Evidence: the keys are
// documented, the values are those of a licence that limits nothing.
func license(c *call, s *Reader) *answer {
	tier := s.Tier()
	return reply(http.StatusOK, map[string]any{"uuid": "default", "name": "default", "url": c.base() + "/api/license", "customer_name": "simulated",
		"valid_until": validUntil, "start_on": "2024-01-01T00:00:00", "license_id": "simulated", "initialized": true, "disable_enforcement": false,
		"cores": 0, "sockets": 0, "max_ses": 0, "service_cores": 10000, "license_tier": []string{tier}, "default_license_tier": tier,
		"license_tiers": []any{map[string]any{"tier_type": tier, "service_cores": 10000, "cores": 0, "sockets": 0, "max_ses": 0}},
		"licenses": []any{map[string]any{"license_id": "simulated", "license_name": "simulated", "customer_name": "simulated", "tier_type": tier,
			"service_cores": 10000, "valid_until": validUntil, "expired": false}}})
}

// licenseStatus serves /api/licensing/status. Evidence: documented.
func licenseStatus(c *call, s *Reader) *answer {
	tier := s.Tier()
	return reply(http.StatusOK, map[string]any{"uuid": "default", "url": c.base() + "/api/licensing/status", "license_tier": tier, "default_license_tier": tier,
		"saas_status":    map[string]any{"name": "default", "enabled": false, "connected": false, "expired": false, "message": "", "reserve_service_units": 0},
		"service_update": map[string]any{"name": "default", "service_units": map[string]any{"available_service_units": 0, "used_service_units": 0}}})
}

// licenseUsage serves /api/licenseusage: a core for each service engine. Evidence: the keys are documented, licensed_cores by the
// vendor's own tests.
func licenseUsage(_ *call, s *Reader) *answer {
	used := len(s.store.all("serviceengine"))
	return reply(http.StatusOK, map[string]any{"licensed_cores": 10000, "available": 10000, "consumed": used, "remaining": 10000 - used, "escrow": 0})
}

// systemLimits serves /api/systemlimits with the limits of the schema. Evidence: the keys are documented, the numbers that
// depend on a Controller's size are not published and so unverified.
func systemLimits(c *call, s *Reader) *answer {
	return reply(http.StatusOK, map[string]any{"uuid": "default", "url": c.base() + "/api/systemlimits",
		"controller_limits": map[string]any{"servers_per_pool": 5000, "pools_per_virtualservice": 400, "poolgroups_per_virtualservice": 400,
			"pools_per_poolgroup": 5000, "routes_per_vrfcontext": 5000, "default_routes_per_vrfcontext": 4, "vs_l2_scaleout": 4, "vs_bgp_scaleout": 64,
			"rules_per_networksecuritypolicy": 1000},
		"controller_sizes":     []any{map[string]any{"flavor": "SMALL", "min_cpus": 6, "min_memory": 24}}, // documented
		"serviceengine_limits": map[string]any{"all_virtualservices_per_serviceengine": 1000}})
}

// domains serves /api/ipamdnsproviderprofiledomainlist?cloud_uuid=. Evidence: documented by a client, which reads a list of
// strings.
func domains(c *call, s *Reader) *answer {
	names := []string{}
	for _, cloud := range s.store.all("cloud") {
		if id := c.query.Get("cloud_uuid"); id != "" && id != cloud.uuid {
			continue
		}
		if p := s.store.get(refAt(cloud.body, "dns_provider_ref")); p != nil {
			for _, d := range messages(at(p.body, "internal_profile", "dns_service_domain")) {
				if n := str(d, "domain_name"); !slices.Contains(names, n) {
					names = append(names, n)
				}
			}
		}
	}
	return reply(http.StatusOK, map[string]any{"domains": names})
}
