package avisim

import (
	"net/http"
	"slices"
	"strings"
)

// The shapes in which runtime.go's states are read: inventories and the sub-resources of objects.

// inventoryFields lists what an inventory's config shows of an object. Evidence: documented.
var inventoryFields = []string{"name", "enabled", "type", "fqdn", "vip", "services", "pool_ref", "se_group_ref", "cloud_ref", "tenant_ref",
	"vsvip_ref", "vrf_context_ref", "vrf_ref", "dns_info", "east_west_placement", "default_server_port", "servers", "members", "min_servers",
	"vtype", "mtu", "dhcp_enabled", "license_tier", "created_by", "markers", "service_metadata", "l4_policies", "mgmt_ip_address",
	"enable_state", "ha_mode", "max_se", "max_vs_per_se", "configured_subnets", "vcenter_dvs", "vimgrnw_ref"}

// inventoried are the types that have an inventory. Evidence: documented.
var inventoried = map[string]bool{"virtualservice": true, "pool": true, "poolgroup": true, "vsvip": true, "serviceengine": true,
	"serviceenginegroup": true, "cloud": true, "network": true}

// inventory serves /api/<type>-inventory[/<uuid>]. Evidence: the shapes are documented, include= too.
func inventory(c *call, s *Reader) *answer {
	kind := c.kind()
	if !inventoried[kind.path] {
		return notFound()
	}
	show := func(r *renderer, o *object) map[string]any {
		out := inventoryItem(s, r, o)
		if c.version < refsInInventory {
			plainRefs(out, "pools", "poolgroups", "virtualservices")
		}
		if parts := c.query.Get("include"); parts != "" {
			keep(out, append(strings.Split(parts, ","), "uuid", "url"))
		}
		return out
	}
	if c.route.uuid == "" {
		return listOf(c, s, kind, show, nil)
	}
	o := s.store.get(ref{kind.path, c.route.uuid})
	if o == nil || !o.visible(c.tenant) {
		return missing(kind)
	}
	return reply(http.StatusOK, show(c.renderer(s, c.named()), o))
}

// refsInInventory is a version whose inventories list references as messages. Evidence: that older ones have plain strings is
// documented by the vendor's own sample, which speaks 17.2.4; when that changed is unverified.
const refsInInventory version = 18<<48 | 1<<32

// plainRefs turns lists of {"ref"} into lists of strings.
func plainRefs(m map[string]any, keys ...string) {
	for _, k := range keys {
		l, _ := m[k].([]any)
		for i, e := range messages(l) {
			l[i] = e["ref"]
		}
	}
}

func inventoryItem(s *Reader, r *renderer, o *object) map[string]any {
	config := map[string]any{"uuid": o.uuid, "url": r.url(o.ref), "_last_modified": microseconds(o.modified)}
	for _, f := range inventoryFields {
		if v, ok := o.body[f]; ok {
			config[f] = r.value(v)
		}
	}
	rt := runtimeOf(s, r, o)
	out := map[string]any{
		"uuid": o.uuid, "url": r.url(o.ref), "config": config, "runtime": rt,
		"alert": map[string]any{"low": 0, "medium": 0, "high": 0}, "metrics": map[string]any{},
		"health_score": map[string]any{"health_score": healthScore(rt)},
	}
	switch o.typ {
	case "virtualservice":
		out["pools"], out["poolgroups"] = refList(r, pools(s.store, o.body)), refList(r, poolGroups(s.store, o.body))
		out["app_profile_type"] = s.applicationType(o)
		if config["vip"] == nil { // the schema has them here; that they are the VsVip's is inferred
			if v := s.store.get(refAt(o.body, "vsvip_ref")); v != nil && v.body["vip"] != nil {
				config["vip"] = r.value(v.body["vip"])
			}
		}
	case "pool", "poolgroup":
		users := s.users(o.ref)
		out["virtualservices"] = refList(r, users)
		if len(users) > 0 {
			out["app_profile_type"] = s.applicationType(users[0])
		}
	case "vsvip":
		out["virtualservices"] = refList(r, s.users(o.ref))
		config["virtualservices"] = out["virtualservices"]
	case "serviceenginegroup":
		out["serviceengines"], out["virtualservices"] = refList(r, s.referring(o.ref, "serviceengine")), refList(r, s.referring(o.ref, "virtualservice"))
	case "serviceengine":
		config["vs_refs"] = virtualServicesOn(s, r, o)
	case "cloud":
		out["status"] = statusOfCloud(o)
	case "network":
		out["discovery"] = discovery(s, r, o)
	}
	return out
}

// refList shows objects as inventories list them.
func refList(r *renderer, objs []*object) []any {
	out := make([]any, len(objs))
	for i, o := range objs {
		out[i] = map[string]any{"ref": r.url(o.ref)}
	}
	return out
}

// virtualServicesOn lists the virtual services on a service engine.
func virtualServicesOn(s *Reader, r *renderer, se *object) []any {
	out := []any{}
	for _, vs := range s.referring(refAt(se.body, "se_group_ref"), "virtualservice") {
		if slices.ContainsFunc(s.engines(vs), func(e *object) bool { return e.ref == se.ref }) {
			out = append(out, r.url(vs.ref))
		}
	}
	return out
}

func healthScore(rt map[string]any) int {
	if st, _ := rt["oper_status"].(map[string]any); st["state"] == "OPER_UP" {
		return 100
	}
	return 0
}

// sub serves a sub-resource of an object that has to be there; show makes its body, nil if the type has no such thing.
func sub(c *call, s *Reader, show func(*renderer, *object) any) *answer {
	kind := c.kind()
	o := s.store.get(ref{kind.path, c.route.uuid})
	if o == nil || !o.visible(c.tenant) {
		return missing(kind)
	}
	body := show(c.renderer(s, c.named()), o)
	if body == nil {
		return notFound()
	}
	return reply(http.StatusOK, body)
}

func subRuntime(c *call, s *Reader) *answer {
	return sub(c, s, func(r *renderer, o *object) any {
		rt := runtimeOf(s, r, o)
		if rt == nil {
			return nil
		}
		rt["uuid"], rt["name"], rt["url"] = o.uuid, o.name, r.url(o.ref)
		return rt
	})
}

// subRuntimeDetail serves …/runtime/detail: what …/runtime says, with what the object reaches. Evidence: that the one of a pool
// is a list is documented by the vendor's own sample, that of a pool group inferred; what is added is unverified.
func subRuntimeDetail(c *call, s *Reader) *answer {
	return sub(c, s, func(r *renderer, o *object) any {
		rt := runtimeOf(s, r, o)
		if rt == nil {
			return nil
		}
		rt["uuid"], rt["name"], rt["url"] = o.uuid, o.name, r.url(o.ref)
		switch o.typ {
		case "pool":
			rt["servers"] = serverRuntime(s, o)
		case "poolgroup":
			rt["members"] = r.value(o.body["members"])
		case "virtualservice":
			rt["pools"] = refList(r, pools(s.store, o.body))
			return rt
		default:
			return rt
		}
		return []any{rt}
	})
}

func poolServers(c *call, s *Reader) *answer {
	return sub(c, s, func(_ *renderer, o *object) any { return serverRuntime(s, o) })
}

// poolServersDetail has one entry for each server and service engine that serves the pool. Evidence: documented.
func poolServersDetail(c *call, s *Reader) *answer {
	return sub(c, s, func(_ *renderer, o *object) any {
		return eachEngine(s, o, func(e map[string]any) { e["shm_runtime"] = []any{} })
	})
}

// poolServersMonitors shows what the health monitors of each server say. Evidence: the path is documented, the shape
// unverified.
func poolServersMonitors(c *call, s *Reader) *answer {
	return sub(c, s, func(_ *renderer, o *object) any {
		monitors, _ := o.body["health_monitor_refs"].([]any)
		return eachEngine(s, o, func(e map[string]any) {
			status, shm := e["oper_status"], []any{}
			for _, m := range monitors {
				if m, ok := m.(ref); ok {
					if hm := s.store.get(m); hm != nil {
						shm = append(shm, map[string]any{"health_monitor_name": hm.name, "health_monitor_type": hm.body["type"], "oper_status": status})
					}
				}
			}
			e["shm_runtime"] = shm
		})
	})
}

// serverRuntime is the list of a pool's servers. Evidence: the shape is documented.
func serverRuntime(s *Reader, pool *object) []any {
	out := []any{}
	for _, x := range s.servers(pool) {
		st := render(x.state)
		e := map[string]any{
			"ip_addr": x.body["ip"], "port": x.at.port, "hostname": x.body["hostname"], "is_local": true, "is_standby": false,
			"oper_status": st, "last_state_change": st["last_changed_time"], "server_enabled": x.enabled,
		}
		if engines := s.poolEngines(pool); len(engines) > 0 {
			e["se_uuid"] = engines[0].uuid
		}
		out = append(out, e)
	}
	return out
}

// eachEngine is serverRuntime with an entry for each engine, to which more is added.
func eachEngine(s *Reader, pool *object, add func(map[string]any)) []any {
	out := []any{}
	engines := s.poolEngines(pool)
	for _, e := range messages(serverRuntime(s, pool)) {
		add(e)
		if len(engines) == 0 {
			out = append(out, e)
		}
		for _, se := range engines {
			one := cloneMap(e)
			one["se_uuid"] = se.uuid
			out = append(out, one)
		}
	}
	return out
}

// switchoverOf serves POST /api/virtualservice/<uuid>/switchover. Evidence: the path is documented, the effect inferred.
func switchoverOf(c *call) (a *answer) {
	c.api.world.Write(func(s *Writer) {
		o := s.store.get(ref{c.route.typ, c.route.uuid})
		if o == nil || !o.visible(c.tenant) {
			a = missing(c.kind())
			return
		}
		if err := s.Switchover(o); err != nil {
			a = refused(http.StatusBadRequest, "%s", err.Error())
			return
		}
		a = reply(http.StatusOK, map[string]any{})
	})
	return a
}

func poolUsers(c *call, s *Reader) *answer {
	return sub(c, s, func(r *renderer, o *object) any { return refList(r, s.users(o.ref)) })
}

func cloudStatus(c *call, s *Reader) *answer {
	return sub(c, s, func(_ *renderer, o *object) any { return statusOfCloud(o) })
}

// statusOfCloud says that the cloud is ready for placement. Evidence: keys and value are documented.
func statusOfCloud(o *object) map[string]any {
	return map[string]any{"cc_id": o.uuid, "state": "CLOUD_STATE_PLACEMENT_READY", "reason": "", "se_image_state": []any{}}
}

// groupPlacement sums up where the virtual services of a group are. Evidence: the path is documented, the shape unverified.
func groupPlacement(c *call, s *Reader) *answer {
	return sub(c, s, func(r *renderer, o *object) any {
		return map[string]any{"uuid": o.uuid, "name": o.name, "num_vs": len(s.referring(o.ref, "virtualservice")),
			"serviceengines": refList(r, s.referring(o.ref, "serviceengine"))}
	})
}

// networkRuntimes serves /api/networkruntime[/<uuid>]: the addresses in use on each network. Evidence: keys are documented.
func networkRuntimes(c *call, s *Reader) *answer {
	return ofNetworks(c, s, "NetworkRuntime", func(r *renderer, o *object) map[string]any { return networkRuntime(s, r, o) })
}

// networkDiscoveries serves /api/vimgrnwruntime[/<uuid>]: the networks of clouds that discover them, such as vCenter. Evidence:
// keys are documented; that a No Access cloud has none is inferred.
func networkDiscoveries(c *call, s *Reader) *answer {
	return ofNetworks(c, s, "VIMgrNWRuntime", func(r *renderer, o *object) map[string]any { return discovery(s, r, o) })
}

// discovery is what a cloud that discovers its networks knows of one, nil in other clouds.
func discovery(s *Reader, r *renderer, o *object) map[string]any {
	cloud := s.store.get(o.cloud)
	if cloud == nil || str(cloud.body, "vtype") == "CLOUD_NONE" {
		return nil
	}
	subnets := []any{}
	for _, cs := range messages(o.body["configured_subnets"]) {
		subnets = append(subnets, map[string]any{"prefix": r.value(cs["prefix"]), "name": o.name, "primary": true, "uuid": o.uuid})
	}
	kind := "IPGROUP_UNSPECIFIED"
	if str(cloud.body, "vtype") == "CLOUD_VCENTER" {
		kind = "NW_VIMGR_VCENTER_DVPORTGROUP"
	}
	return map[string]any{"uuid": o.uuid, "name": o.name, "url": r.base + "/api/vimgrnwruntime/" + o.uuid, "_last_modified": microseconds(o.modified),
		"managed_object_id": o.uuid, "type": kind, "dvs": boolean(o.body, "vcenter_dvs", true), "MgmtNW": false, "auto_expand": true,
		"interested_nw": true, "cloud_ref": r.url(o.cloud), "tenant_ref": r.value(o.body["tenant_ref"]),
		"vrf_context_ref": r.value(o.body["vrf_context_ref"]), "ip_subnet": subnets, "num_ports": 0, "vm_refs": []any{}, "host_refs": []any{}}
}

// ofNetworks serves a list or an item made from networks; show returns nil for those that have no such thing. All filters
// of networks work.
func ofNetworks(c *call, s *Reader, title string, show func(*renderer, *object) map[string]any) *answer {
	kind := KindOf("network")
	if id := c.route.uuid; id != "" {
		o := s.store.get(ref{"network", id})
		if o != nil && o.visible(c.tenant) {
			if body := show(c.renderer(s, c.named()), o); body != nil {
				return reply(http.StatusOK, body)
			}
		}
		return refused(http.StatusNotFound, "%s object not found!", title)
	}
	return listOf(c, s, kind, show, func(o *object) bool { return show(c.renderer(s, false), o) != nil })
}
