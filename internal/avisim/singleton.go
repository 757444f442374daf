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

// initialData serves /api/initial-data. Evidence: that it needs no session and carries the version is documented.
func (s *Server) initialData(*call) *answer {
	return reply(http.StatusOK, map[string]any{"version": s.build(), "user_initialized": true, "welcome_workflow_complete": true})
}

const clusterUUID = "cluster-5e1f0000-0000-4000-8000-000000000001"

// cluster serves /api/cluster and what is below it: one node that leads. Evidence: documented; the body of status is
// unverified, clients look at its code only.
func (s *Server) cluster(c *call) *answer {
	if c.r.Method != http.MethodGet && c.r.Method != http.MethodHead {
		return notAllowed(c)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	up := s.upSince
	switch c.route.uuid {
	case "":
		return reply(http.StatusOK, map[string]any{
			"url": c.base() + "/api/cluster", "uuid": clusterUUID, "name": "cluster-0-1", "tenant_ref": c.renderer(false).url(ref{"tenant", adminTenant}),
			"nodes": []any{map[string]any{"name": "node1", "ip": map[string]any{"addr": "127.0.0.1", "type": "V4"},
				"vm_uuid": "5e1f0000-0000-4000-8000-000000000002", "vm_hostname": "node1"}},
		})
	case "runtime":
		return reply(http.StatusOK, map[string]any{
			"node_info":     map[string]any{"uuid": "5e1f0000-0000-4000-8000-000000000002", "cluster_uuid": clusterUUID, "version": s.version.join("."), "mgmt_ip": "127.0.0.1"},
			"node_states":   []any{map[string]any{"name": "node1", "mgmt_ip": "127.0.0.1", "role": "CLUSTER_LEADER", "state": "CLUSTER_ACTIVE", "up_since": up}},
			"cluster_state": map[string]any{"state": "CLUSTER_UP_NO_HA", "progress": 100, "up_since": up},
		})
	case "version":
		return reply(http.StatusOK, s.build())
	case "status":
		return reply(http.StatusOK, map[string]any{"state": "CLUSTER_UP_NO_HA"})
	}
	return notFound()
}

// SetUpSince changes the time since which the leader is up, as a failover does. Clients compare it as a string.
func (s *Server) SetUpSince(up string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.upSince = up
}

// licensing serves the licence endpoints with the tier of the system configuration. Evidence: the paths are documented, the
// shape is reduced.
func (s *Server) licensing(c *call) *answer {
	s.mu.RLock()
	defer s.mu.RUnlock()
	tier := s.tier()
	return reply(http.StatusOK, map[string]any{"uuid": "default", "license_tier": tier, "default_license_tier": tier,
		"licenses": []any{map[string]any{"license_id": "simulated", "tier_type": tier, "valid_until": "2099-01-01T00:00:00"}}})
}

// systemLimits serves /api/systemlimits with the limits of the schema. Evidence: unverified, the numbers of a real
// Controller are not published.
func (s *Server) systemLimits(*call) *answer {
	return reply(http.StatusOK, map[string]any{"controller_limits": map[string]any{
		"servers_per_pool": 5000, "pools_per_virtualservice": 400, "pools_per_poolgroup": 5000, "routes_per_vrfcontext": 5000}})
}

// domains serves /api/ipamdnsproviderprofiledomainlist?cloud_uuid=. Evidence: documented.
func (s *Server) domains(c *call) *answer {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := []any{}
	var names []string
	for _, cloud := range s.store.shelves["cloud"].ordered {
		if id := c.query.Get("cloud_uuid"); id != "" && id != cloud.uuid {
			continue
		}
		if p := s.store.get(refAt(cloud.body, "dns_provider_ref")); p != nil {
			for _, d := range messages(at(p.body, "internal_profile", "dns_service_domain")) {
				if n := str(d, "domain_name"); !slices.Contains(names, n) {
					names = append(names, n)
					out = append(out, map[string]any{"domain_name": n})
				}
			}
		}
	}
	return reply(http.StatusOK, map[string]any{"domains": out})
}

// SetLicenseTier sets default_license_tier of the system configuration.
func (s *Server) SetLicenseTier(tier string) {
	// The object is always there and takes any string, so there is no error to report.
	_ = s.Edit("systemconfiguration", adminTenant, "", func(m map[string]any) { m["default_license_tier"] = tier })
}
