package avisim

import (
	"net/http"
	"slices"
)

// build is the version block of login, initial-data and cluster/version. Evidence: recorded.
func (s *Server) build() map[string]any {
	v := s.version.join(".")
	return map[string]any{"build": 9000, "Tag": v + "-9000-20240101.000000", "ProductName": "Avi Cloud Controller", "min_version": 15.2,
		"Version": v, "Product": "controller", "Date": "2024-01-01T00:00:00+00:00"}
}

// initialData serves /api/initial-data. Evidence: that it needs no session and carries the version is documented, the other
// keys are unverified.
func (s *Server) initialData(*call) *answer {
	return reply(http.StatusOK, map[string]any{"version": s.build(), "user_initialized": true, "welcome_workflow_complete": true,
		"session_cookie_name": "avi-sessionid", "clustered": false, "sso": false, "sso_enabled": false, "support_email": ""})
}

const (
	clusterUUID = "cluster-5e1f0000-0000-4000-8000-000000000001"
	nodeUUID    = "5e1f0000-0000-4000-8000-000000000002"
)

// shippedCluster is the cluster of one node that a Controller comes up with. Evidence: the keys are documented.
func shippedCluster() map[string]any {
	address := map[string]any{"addr": "127.0.0.1", "type": "V4"}
	return map[string]any{"name": "cluster-0-1", "rejoin_nodes_automatically": true, "nodes": []any{
		map[string]any{"name": "node1", "ip": address, "vm_uuid": nodeUUID, "vm_name": "node1", "vm_hostname": "node1", "vm_mor": ""}}}
}

// cluster serves /api/cluster. Evidence: GET and PUT are documented; a PUT here is kept and changes nothing else.
func (s *Server) cluster(c *call) *answer {
	if c.reads() {
		s.mu.RLock()
		defer s.mu.RUnlock()
		return reply(http.StatusOK, s.showCluster(c))
	}
	in, bad := parse(c.body)
	if bad != nil {
		return bad
	}
	if str(in, "name") == "" {
		return fieldCheck("name", "Missing required field").answer()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range []string{"url", "uuid", "tenant_ref", "_last_modified"} {
		delete(in, k)
	}
	if in["nodes"] == nil {
		in["nodes"] = s.clusterBody["nodes"]
	}
	s.clusterBody, s.clusterModified = in, s.tick()
	s.dirty()
	return reply(http.StatusOK, s.showCluster(c))
}

func (s *Server) showCluster(c *call) map[string]any {
	out := cloneMap(s.clusterBody)
	out["url"], out["uuid"], out["tenant_ref"] = c.base()+"/api/cluster", clusterUUID, c.renderer(c.named()).url(ref{"tenant", adminTenant})
	out["_last_modified"] = microseconds(s.clusterModified)
	return out
}

// clusterRuntime serves /api/cluster/runtime: the nodes, of which the first one leads. Evidence: documented.
func (s *Server) clusterRuntime(*call) *answer {
	s.mu.RLock()
	defer s.mu.RUnlock()
	states, up := []any{}, s.upSince
	for i, n := range messages(s.clusterBody["nodes"]) {
		name, role := str(n, "name"), "CLUSTER_FOLLOWER"
		if i == 0 {
			role = "CLUSTER_LEADER"
			if s.leader != "" {
				name = s.leader
			}
		}
		states = append(states, map[string]any{"name": name, "mgmt_ip": str(n, "ip", "addr"), "role": role, "state": "CLUSTER_ACTIVE", "up_since": up})
	}
	state := "CLUSTER_UP_NO_HA"
	if len(states) > 1 {
		state = "CLUSTER_UP_HA_ACTIVE"
	}
	return reply(http.StatusOK, map[string]any{
		"node_info":      map[string]any{"uuid": nodeUUID, "cluster_uuid": clusterUUID, "version": s.build()["Tag"], "mgmt_ip": "127.0.0.1"},
		"node_states":    states,
		"cluster_state":  map[string]any{"state": state, "progress": 100, "up_since": up},
		"service_states": []any{},
	})
}

func (s *Server) clusterVersion(*call) *answer { return reply(http.StatusOK, s.build()) }

// clusterStatus serves /api/cluster/status. Evidence: that it needs no session is documented, its body is unverified; clients
// look at the code only.
func (s *Server) clusterStatus(*call) *answer {
	return reply(http.StatusOK, map[string]any{"state": "CLUSTER_UP_NO_HA"})
}

// SetUpSince changes the time since which the leader is up, as a failover does. Clients compare it as a string.
func (s *Server) SetUpSince(up string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.upSince = up
}

const validUntil = "2099-01-01T00:00:00"

// license serves /api/license and /api/licensing with the tier of the system configuration. Evidence: the keys are
// documented, the values are those of a licence that limits nothing.
func (s *Server) license(c *call) *answer {
	s.mu.RLock()
	defer s.mu.RUnlock()
	tier := s.tier()
	return reply(http.StatusOK, map[string]any{"uuid": "default", "name": "default", "url": c.base() + "/api/license", "customer_name": "simulated",
		"valid_until": validUntil, "start_on": "2024-01-01T00:00:00", "license_id": "simulated", "initialized": true, "disable_enforcement": false,
		"cores": 0, "sockets": 0, "max_ses": 0, "service_cores": 10000, "license_tier": []string{tier}, "default_license_tier": tier,
		"license_tiers": []any{map[string]any{"tier_type": tier, "service_cores": 10000, "cores": 0, "sockets": 0, "max_ses": 0}},
		"licenses": []any{map[string]any{"license_id": "simulated", "license_name": "simulated", "customer_name": "simulated", "tier_type": tier,
			"service_cores": 10000, "valid_until": validUntil, "expired": false}}})
}

// licenseStatus serves /api/licensing/status. Evidence: documented.
func (s *Server) licenseStatus(c *call) *answer {
	s.mu.RLock()
	defer s.mu.RUnlock()
	tier := s.tier()
	return reply(http.StatusOK, map[string]any{"uuid": "default", "url": c.base() + "/api/licensing/status", "license_tier": tier, "default_license_tier": tier,
		"saas_status":    map[string]any{"name": "default", "enabled": false, "connected": false, "expired": false, "message": "", "reserve_service_units": 0},
		"service_update": map[string]any{"name": "default", "service_units": map[string]any{"available_service_units": 0, "used_service_units": 0}}})
}

// licenseUsage serves /api/licenseusage: a core for each service engine. Evidence: the keys are documented, licensed_cores by the
// vendor's own tests.
func (s *Server) licenseUsage(*call) *answer {
	s.mu.RLock()
	defer s.mu.RUnlock()
	used := len(s.store.shelves["serviceengine"].ordered)
	return reply(http.StatusOK, map[string]any{"licensed_cores": 10000, "available": 10000, "consumed": used, "remaining": 10000 - used, "escrow": 0})
}

// systemLimits serves /api/systemlimits with the limits of the schema. Evidence: the keys are documented, the numbers that
// depend on a Controller's size are not published and so unverified.
func (s *Server) systemLimits(c *call) *answer {
	return reply(http.StatusOK, map[string]any{"uuid": "default", "url": c.base() + "/api/systemlimits",
		"controller_limits": map[string]any{"servers_per_pool": 5000, "pools_per_virtualservice": 400, "poolgroups_per_virtualservice": 400,
			"pools_per_poolgroup": 5000, "routes_per_vrfcontext": 5000, "default_routes_per_vrfcontext": 4, "vs_l2_scaleout": 4, "vs_bgp_scaleout": 64,
			"rules_per_networksecuritypolicy": 1000},
		"controller_sizes":     []any{map[string]any{"flavor": "SMALL", "min_cpus": 6, "min_memory": 24}}, // documented
		"serviceengine_limits": map[string]any{"all_virtualservices_per_serviceengine": 1000}})
}

// domains serves /api/ipamdnsproviderprofiledomainlist?cloud_uuid=. Evidence: documented by a client, which reads a list of
// strings.
func (s *Server) domains(c *call) *answer {
	s.mu.RLock()
	defer s.mu.RUnlock()
	names := []string{}
	for _, cloud := range s.store.shelves["cloud"].ordered {
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

// SetLicenseTier sets default_license_tier of the system configuration.
func (s *Server) SetLicenseTier(tier string) {
	// The object is always there and takes any string, so there is no error to report.
	_ = s.Edit("systemconfiguration", adminTenant, "", func(m map[string]any) { m["default_license_tier"] = tier })
}

// SetNoOpBump makes a PUT or PATCH that changes nothing set _last_modified all the same. What a real Controller does is
// unverified.
func (s *Server) SetNoOpBump(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bumps = on
}
