package avisim

import (
	"fmt"
	"net/netip"
)

// runtimeOf is the runtime part of an object, nil for types that have none.
func runtimeOf(s *Reader, r *renderer, o *object) map[string]any {
	switch o.typ {
	case "virtualservice":
		return virtualServiceRuntime(s, r, o)
	case "pool":
		st, enabled, up, total := s.poolState(o)
		return map[string]any{
			"oper_status": render(st), "num_servers": total, "num_servers_enabled": enabled, "num_servers_up": up,
			"percent_servers_up_enabled": percent(up, enabled), "percent_servers_up_total": percent(up, total),
		}
	case "network":
		out := networkRuntime(s, r, o)
		out["oper_status"] = render(state{name: "UP", since: o.modified})
		return out
	case "poolgroup":
		return map[string]any{"oper_status": render(s.poolGroupState(o))}
	case "serviceengine":
		st := s.EngineState(o)
		return map[string]any{"oper_status": render(st), "se_connected": st.name != "DOWN", "hb_status": map[string]any{"num_hb_misses": 0}}
	case "vsvip", "serviceenginegroup", "cloud":
		return map[string]any{"oper_status": render(s.OtherState(o))}
	}
	return nil
}

// virtualServiceRuntime is the runtime of a virtual service, with the service engines that it is on. Evidence: the shape is
// documented.
func virtualServiceRuntime(s *Reader, r *renderer, vs *object) map[string]any {
	st := s.virtualServiceState(vs)
	x := s.Placed(vs)
	if x == nil || st.name == "CREATING" {
		x = &placed{wanted: 1}
	}
	up, _ := s.enginesUp(x)
	share := percent(min(up, x.wanted), x.wanted)
	vips := vs.body["vip"]
	if v := s.store.get(refAt(vs.body, "vsvip_ref")); v != nil {
		vips = v.body["vip"]
	}
	scale := "SCALE_NONE"
	if len(x.active()) < x.wanted {
		scale = "SCALE_OUT" // unverified
	}
	engines := []any{}
	for i, at := range x.engines {
		e := map[string]any{"uuid": at.uuid, "url": r.url(at), "primary": i == 0, "standby": x.standby && i > 0}
		if se := s.store.get(at); se != nil {
			e["mgmt_ip"] = se.body["mgmt_ip_address"]
		}
		engines = append(engines, e)
	}
	summary := []any{}
	for _, v := range messages(vips) {
		summary = append(summary, map[string]any{"vip_id": str(v, "vip_id"), "oper_status": render(st), "percent_ses_up": share,
			"num_se_assigned": len(x.active()), "num_se_requested": x.wanted, "scale_status": map[string]any{"state": scale}, "service_engine": engines})
	}
	return map[string]any{"oper_status": render(st), "percent_ses_up": share, "vip_summary": summary}
}

func percent(n, of int) int {
	if of == 0 {
		return 0
	}
	return n * 100 / of
}

// render makes the schema's OperationalStatus of it.
func render(st state) map[string]any {
	out := map[string]any{
		"state":             "OPER_" + st.name,
		"last_changed_time": map[string]any{"secs": st.since / 1e6, "usecs": st.since % 1e6},
	}
	if st.reason != "" {
		out["reason"] = []any{st.reason}
		out["reason_code"] = 1
		out["reason_code_string"] = "SYSERR_" + st.name
	}
	return out
}

// networkRuntime is the accounting of a network. Evidence: the shape is documented by the schema; that static addresses in
// its ranges count as allocated is inferred.
func networkRuntime(s *Reader, r *renderer, o *object) map[string]any {
	var subnets []any
	holders := map[string]bool{}
	var last netip.Prefix
	for _, use := range s.Usage(o) {
		if len(subnets) == 0 || use.Subnet != last {
			last = use.Subnet
			subnets = append(subnets, map[string]any{"prefix": prefix(use.Subnet), "ip_range_runtimes": []any{}})
		}
		list := make([]any, 0, len(use.Held))
		for _, h := range use.Held {
			holders[h.By] = true
			e := map[string]any{"ip": address(h.Addr), "obj_uuid": h.By}
			if v := s.store.get(ref{"vsvip", h.By}); v != nil {
				e["obj_info"] = fmt.Sprintf("%s %s", v.kind.title, v.name)
			}
			list = append(list, e)
		}
		sub := subnets[len(subnets)-1].(map[string]any)
		sub["ip_range_runtimes"] = append(sub["ip_range_runtimes"].([]any), map[string]any{
			"type": use.Use, "total_ip_count": use.Total, "free_ip_count": use.Total - len(use.Held) - use.Resting, "allocated_ips": list})
	}
	uuids := []any{}
	for _, h := range sortedKeys(holders) {
		uuids = append(uuids, h)
	}
	out := map[string]any{"uuid": o.uuid, "name": o.name, "url": r.base + "/api/networkruntime/" + o.uuid, "tenant_ref": r.url(ref{"tenant", o.tenant}),
		"_last_modified": microseconds(o.modified), "obj_uuids": uuids}
	if len(subnets) > 0 {
		out["subnet_runtime"] = subnets
	}
	return out
}
