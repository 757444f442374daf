// SPDX-License-Identifier: Apache-2.0

package api

import (
	"net/http"
	"slices"
	"strings"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/doc"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/schema"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/world"
)

// The shapes in which states are read: inventories and the sub-resources of objects.

// inventoryFields lists what an inventory's config shows of an object. Evidence: documented.
var inventoryFields = []string{"name", "enabled", "type", "fqdn", "vip", "services", "pool_ref", "se_group_ref", "cloud_ref", "tenant_ref",
	"vsvip_ref", "vrf_context_ref", "vrf_ref", "dns_info", "east_west_placement", "default_server_port", "servers", "members", "min_servers",
	"vtype", "mtu", "dhcp_enabled", "license_tier", "created_by", "markers", "service_metadata", "l4_policies", "mgmt_ip_address",
	"enable_state", "ha_mode", "max_se", "max_vs_per_se", "configured_subnets", "vcenter_dvs", "vimgrnw_ref"}

// inventoried are the types that have an inventory. Evidence: documented.
var inventoried = map[string]bool{"virtualservice": true, "pool": true, "poolgroup": true, "vsvip": true, "serviceengine": true,
	"serviceenginegroup": true, "cloud": true, "network": true}

// inventory serves /api/<type>-inventory[/<uuid>]. Evidence: the shapes are documented, include= too.
func inventory(c *Call, s *world.Reader) *Answer {
	kind := c.kind()
	if !inventoried[kind.Path] {
		return notFound()
	}
	show := func(r *world.Renderer, o *world.Object) map[string]any {
		out := inventoryItem(s, r, o)
		if c.version < refsInInventory {
			plainRefs(out, "pools", "poolgroups", "virtualservices")
		}
		if parts := c.Query.Get("include"); parts != "" {
			keep(out, append(strings.Split(parts, ","), "uuid", "url"))
		}
		return out
	}
	if c.Route.UUID == "" {
		return listOf(c, s, kind, show, nil)
	}
	o := s.Store.Get(doc.Ref{Type: kind.Path, UUID: c.Route.UUID})
	if o == nil || !o.Visible(c.tenant) {
		return missing(kind)
	}
	return Reply(http.StatusOK, show(c.renderer(s, c.named()), o))
}

// refsInInventory is a version whose inventories list references as messages. Evidence: that older ones have plain strings is
// documented by the vendor's own sample, which speaks 17.2.4; when that changed is unverified.
const refsInInventory schema.Version = 18<<48 | 1<<32

// plainRefs turns lists of {"ref"} into lists of strings.
func plainRefs(m map[string]any, keys ...string) {
	for _, k := range keys {
		l, _ := m[k].([]any)
		for i, e := range doc.Messages(l) {
			l[i] = e["ref"]
		}
	}
}

func inventoryItem(s *world.Reader, r *world.Renderer, o *world.Object) map[string]any {
	config := map[string]any{"uuid": o.UUID, "url": r.URL(o.Ref), "_last_modified": world.Microseconds(o.Modified)}
	for _, f := range inventoryFields {
		if v, ok := o.Body[f]; ok {
			config[f] = r.Value(v)
		}
	}
	rt := runtimeOf(s, r, o)
	out := map[string]any{
		"uuid": o.UUID, "url": r.URL(o.Ref), "config": config, "runtime": rt,
		"alert": map[string]any{"low": 0, "medium": 0, "high": 0}, "metrics": map[string]any{},
		"health_score": healthScore(rt),
	}
	switch o.Type {
	case "virtualservice":
		out["pools"], out["poolgroups"] = refList(r, world.Pools(s.Store, o.Body)), refList(r, world.PoolGroups(s.Store, o.Body))
		out["app_profile_type"] = s.ApplicationType(o)
		if config["vip"] == nil { // the schema has them here; that they are the VsVip's is inferred
			if v := s.Store.Get(doc.RefAt(o.Body, "vsvip_ref")); v != nil && v.Body["vip"] != nil {
				config["vip"] = r.Value(v.Body["vip"])
			}
		}
	case "pool", "poolgroup":
		users := s.Users(o.Ref)
		out["virtualservices"] = refList(r, users)
		if len(users) > 0 {
			out["app_profile_type"] = s.ApplicationType(users[0])
		}
	case "vsvip":
		out["virtualservices"] = refList(r, s.Users(o.Ref))
		config["virtualservices"] = out["virtualservices"]
	case "serviceenginegroup":
		out["serviceengines"] = refList(r, s.Referring(o.Ref, "serviceengine"))
		out["virtualservices"] = refList(r, s.Referring(o.Ref, "virtualservice"))
	case "serviceengine":
		on := virtualServicesOn(s, r, o)
		config["vs_refs"], config["virtualservice_refs"] = on, on // two clients, two names
	case "cloud":
		out["status"] = statusOfCloud(o)
	case "network":
		out["discovery"] = discovery(s, r, o)
	}
	return out
}

// refList shows objects as inventories list them.
func refList(r *world.Renderer, objs []*world.Object) []any {
	out := make([]any, len(objs))
	for i, o := range objs {
		out[i] = map[string]any{"ref": r.URL(o.Ref)}
	}
	return out
}

// virtualServicesOn lists the virtual services on a service engine.
func virtualServicesOn(s *world.Reader, r *world.Renderer, se *world.Object) []any {
	out := []any{}
	for _, vs := range s.Referring(doc.RefAt(se.Body, "se_group_ref"), "virtualservice") {
		if slices.ContainsFunc(s.Engines(vs), func(e *world.Object) bool { return e.Ref == se.Ref }) {
			out = append(out, r.URL(vs.Ref))
		}
	}
	return out
}

// healthScore is the score with its four parts, of which only the performance counts here. Evidence: the keys are documented.
func healthScore(rt map[string]any) map[string]any {
	score, reason := 0.0, "Not up"
	if st, _ := rt["oper_status"].(map[string]any); st["state"] == "OPER_UP" {
		score, reason = 100, "Good"
	}
	return map[string]any{"health_score": score, "performance_score": map[string]any{"value": score, "reason": reason},
		"anomaly_penalty": 0, "resources_penalty": 0, "security_penalty": 0}
}

// sub serves a sub-resource of an object that has to be there; show makes its body, nil if the type has no such thing.
func sub(c *Call, s *world.Reader, show func(*world.Renderer, *world.Object) any) *Answer {
	kind := c.kind()
	o := s.Store.Get(doc.Ref{Type: kind.Path, UUID: c.Route.UUID})
	if o == nil || !o.Visible(c.tenant) {
		return missing(kind)
	}
	body := show(c.renderer(s, c.named()), o)
	if body == nil {
		return notFound()
	}
	return Reply(http.StatusOK, body)
}

func subRuntime(c *Call, s *world.Reader) *Answer {
	return sub(c, s, func(r *world.Renderer, o *world.Object) any {
		rt := runtimeOf(s, r, o)
		if rt == nil {
			return nil
		}
		rt["uuid"], rt["name"], rt["url"] = o.UUID, o.Name, r.URL(o.Ref)
		return rt
	})
}

// subRuntimeDetail serves …/runtime/detail: what …/runtime says, with what the object reaches. Evidence: that the one of a pool
// is a list is documented by the vendor's own sample, that of a pool group inferred; what is added is unverified.
func subRuntimeDetail(c *Call, s *world.Reader) *Answer {
	return sub(c, s, func(r *world.Renderer, o *world.Object) any {
		rt := runtimeOf(s, r, o)
		if rt == nil {
			return nil
		}
		rt["uuid"], rt["name"], rt["url"] = o.UUID, o.Name, r.URL(o.Ref)
		switch o.Type {
		case "pool":
			rt["servers"] = serverRuntime(s, o)
		case "poolgroup":
			rt["members"] = r.Value(o.Body["members"])
		case "virtualservice":
			rt["pools"] = refList(r, world.Pools(s.Store, o.Body))
			return rt
		default:
			return rt
		}
		return []any{rt}
	})
}

func poolServers(c *Call, s *world.Reader) *Answer {
	return sub(c, s, func(_ *world.Renderer, o *world.Object) any { return serverRuntime(s, o) })
}

// poolServersDetail has one entry for each server and service engine that serves the pool. Evidence: documented.
func poolServersDetail(c *Call, s *world.Reader) *Answer {
	return sub(c, s, func(_ *world.Renderer, o *world.Object) any {
		return eachEngine(s, o, func(e map[string]any) { e["shm_runtime"] = []any{} })
	})
}

// poolServersMonitors shows what the health monitors of each server say. Evidence: the path is documented, the shape
// unverified.
func poolServersMonitors(c *Call, s *world.Reader) *Answer {
	return sub(c, s, func(_ *world.Renderer, o *world.Object) any {
		monitors, _ := o.Body["health_monitor_refs"].([]any)
		return eachEngine(s, o, func(e map[string]any) {
			status, shm := e["oper_status"], []any{}
			for _, m := range monitors {
				if m, ok := m.(doc.Ref); ok {
					if hm := s.Store.Get(m); hm != nil {
						shm = append(shm, map[string]any{"health_monitor_name": hm.Name, "health_monitor_type": hm.Body["type"], "oper_status": status})
					}
				}
			}
			e["shm_runtime"] = shm
		})
	})
}

// serverRuntime is the list of a pool's servers. Evidence: the shape is documented.
func serverRuntime(s *world.Reader, pool *world.Object) []any {
	out := []any{}
	for _, x := range s.Servers(pool) {
		st := render(x.State)
		e := map[string]any{
			"ip_addr": x.Body["ip"], "port": x.At.Port, "hostname": x.Body["hostname"], "is_local": true, "is_standby": false,
			"oper_status": st, "last_state_change": st["last_changed_time"], "server_enabled": x.Enabled,
		}
		if engines := s.PoolEngines(pool); len(engines) > 0 {
			e["se_uuid"] = engines[0].UUID
		}
		out = append(out, e)
	}
	return out
}

// eachEngine is serverRuntime with an entry for each engine, to which more is added.
func eachEngine(s *world.Reader, pool *world.Object, add func(map[string]any)) []any {
	out := []any{}
	engines := s.PoolEngines(pool)
	for _, e := range doc.Messages(serverRuntime(s, pool)) {
		add(e)
		if len(engines) == 0 {
			out = append(out, e)
		}
		for _, se := range engines {
			one := doc.CloneMap(e)
			one["se_uuid"] = se.UUID
			out = append(out, one)
		}
	}
	return out
}

// switchoverOf serves POST /api/virtualservice/<uuid>/switchover. Evidence: the path is documented, the effect inferred.
func switchoverOf(c *Call) (a *Answer) {
	c.api.world.Write(func(s *world.Writer) {
		o := s.Store.Get(doc.Ref{Type: c.Route.Type, UUID: c.Route.UUID})
		if o == nil || !o.Visible(c.tenant) {
			a = missing(c.kind())
			return
		}
		if err := s.Switchover(o); err != nil {
			a = Refused(http.StatusBadRequest, "%s", err.Error())
			return
		}
		a = Reply(http.StatusOK, map[string]any{})
	})
	return a
}

func poolUsers(c *Call, s *world.Reader) *Answer {
	return sub(c, s, func(r *world.Renderer, o *world.Object) any { return refList(r, s.Users(o.Ref)) })
}

func cloudStatus(c *Call, s *world.Reader) *Answer {
	return sub(c, s, func(_ *world.Renderer, o *world.Object) any { return statusOfCloud(o) })
}

// statusOfCloud says that the cloud is ready for placement. Evidence: keys and value are documented.
func statusOfCloud(o *world.Object) map[string]any {
	return map[string]any{"cc_id": o.UUID, "state": "CLOUD_STATE_PLACEMENT_READY", "reason": "", "se_image_state": []any{}}
}

// groupPlacement sums up where the virtual services of a group are. Evidence: the path is documented, the shape unverified.
func groupPlacement(c *Call, s *world.Reader) *Answer {
	return sub(c, s, func(r *world.Renderer, o *world.Object) any {
		return map[string]any{"uuid": o.UUID, "name": o.Name, "num_vs": len(s.Referring(o.Ref, "virtualservice")),
			"serviceengines": refList(r, s.Referring(o.Ref, "serviceengine"))}
	})
}

// networkRuntimes serves /api/networkruntime[/<uuid>]: the addresses in use on each network. Evidence: keys are documented.
func networkRuntimes(c *Call, s *world.Reader) *Answer {
	return ofNetworks(c, s, "NetworkRuntime", func(r *world.Renderer, o *world.Object) map[string]any { return networkRuntime(s, r, o) })
}

// networkDiscoveries serves /api/vimgrnwruntime[/<uuid>]: the networks of clouds that discover them, such as vCenter. Evidence:
// keys are documented; that a No Access cloud has none is inferred.
func networkDiscoveries(c *Call, s *world.Reader) *Answer {
	return ofNetworks(c, s, "VIMgrNWRuntime", func(r *world.Renderer, o *world.Object) map[string]any { return discovery(s, r, o) })
}

// discovery is what a cloud that discovers its networks knows of one, nil in other clouds.
func discovery(s *world.Reader, r *world.Renderer, o *world.Object) map[string]any {
	cloud := s.Store.Get(o.Cloud)
	if cloud == nil || doc.Str(cloud.Body, "vtype") == "CLOUD_NONE" {
		return nil
	}
	subnets := []any{}
	for _, cs := range doc.Messages(o.Body["configured_subnets"]) {
		subnets = append(subnets, map[string]any{"prefix": r.Value(cs["prefix"]), "name": o.Name, "primary": true, "uuid": o.UUID})
	}
	kind := "IPGROUP_UNSPECIFIED"
	if doc.Str(cloud.Body, "vtype") == "CLOUD_VCENTER" {
		kind = "NW_VIMGR_VCENTER_DVPORTGROUP"
	}
	return map[string]any{"uuid": o.UUID, "name": o.Name, "url": r.Base + "/api/vimgrnwruntime/" + o.UUID,
		"_last_modified":    world.Microseconds(o.Modified),
		"managed_object_id": o.UUID, "type": kind, "dvs": doc.Bool(o.Body, "vcenter_dvs", true), "MgmtNW": false, "auto_expand": true,
		"interested_nw": true, "cloud_ref": r.URL(o.Cloud), "tenant_ref": r.Value(o.Body["tenant_ref"]),
		"vrf_context_ref": r.Value(o.Body["vrf_context_ref"]), "ip_subnet": subnets, "num_ports": 0, "vm_refs": []any{}, "host_refs": []any{}}
}

// ofNetworks serves a list or an item made from networks; show returns nil for those that have no such thing. All filters
// of networks work.
func ofNetworks(c *Call, s *world.Reader, title string, show func(*world.Renderer, *world.Object) map[string]any) *Answer {
	kind := world.KindOf("network")
	if id := c.Route.UUID; id != "" {
		o := s.Store.Get(doc.Ref{Type: "network", UUID: id})
		if o != nil && o.Visible(c.tenant) {
			if body := show(c.renderer(s, c.named()), o); body != nil {
				return Reply(http.StatusOK, body)
			}
		}
		return Refused(http.StatusNotFound, "%s object not found!", title)
	}
	return listOf(c, s, kind, show, func(o *world.Object) bool { return show(c.renderer(s, false), o) != nil })
}
