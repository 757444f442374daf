// SPDX-License-Identifier: Apache-2.0

package api

import (
	"fmt"
	"net/netip"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/doc"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/world"
)

// runtimeOf is the runtime part of an object, nil for types that have none.
func runtimeOf(s *world.Reader, r *world.Renderer, o *world.Object) map[string]any {
	switch o.Type {
	case "virtualservice":
		return virtualServiceRuntime(s, r, o)
	case "pool":
		st, enabled, up, total := s.PoolState(o)
		return map[string]any{
			"oper_status": render(st), "num_servers": total, "num_servers_enabled": enabled, "num_servers_up": up,
			"percent_servers_up_enabled": percent(up, enabled), "percent_servers_up_total": percent(up, total),
		}
	case "network":
		out := networkRuntime(s, r, o)
		out["oper_status"] = render(world.State{Name: "UP", Since: o.Modified})
		return out
	case "poolgroup":
		return map[string]any{"oper_status": render(s.PoolGroupState(o))}
	case "serviceengine":
		st := s.EngineState(o)
		return map[string]any{"oper_status": render(st), "se_connected": st.Name != "DOWN", "hb_status": map[string]any{"num_hb_misses": 0}}
	case "vsvip", "serviceenginegroup", "cloud":
		return map[string]any{"oper_status": render(s.OtherState(o))}
	}
	return nil
}

// virtualServiceRuntime is the runtime of a virtual service, with the service engines that it is on. Evidence: the shape is
// documented.
func virtualServiceRuntime(s *world.Reader, r *world.Renderer, vs *world.Object) map[string]any {
	st := s.VirtualServiceState(vs)
	x := s.Placed(vs)
	if x == nil || st.Name == "CREATING" {
		x = &world.Placed{Wanted: 1}
	}
	up, _ := s.EnginesUp(x)
	share := percent(min(up, x.Wanted), x.Wanted)
	vips := vs.Body["vip"]
	if v := s.Store.Get(doc.RefAt(vs.Body, "vsvip_ref")); v != nil {
		vips = v.Body["vip"]
	}
	scale := "SCALE_NONE"
	if len(x.Active()) < x.Wanted {
		scale = "SCALE_OUT" // unverified
	}
	engines := []any{}
	for i, at := range x.Engines {
		e := map[string]any{"uuid": at.UUID, "url": r.URL(at), "primary": i == 0, "standby": x.Standby && i > 0}
		if se := s.Store.Get(at); se != nil {
			e["mgmt_ip"] = se.Body["mgmt_ip_address"]
		}
		engines = append(engines, e)
	}
	summary := []any{}
	for _, v := range doc.Messages(vips) {
		summary = append(summary, map[string]any{"vip_id": doc.Str(v, "vip_id"), "oper_status": render(st), "percent_ses_up": share,
			"num_se_assigned": len(x.Active()), "num_se_requested": x.Wanted,
			"scale_status": map[string]any{"state": scale}, "service_engine": engines})
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
func render(st world.State) map[string]any {
	out := map[string]any{
		"state":             "OPER_" + st.Name,
		"last_changed_time": map[string]any{"secs": st.Since / 1e6, "usecs": st.Since % 1e6},
	}
	if st.Reason != "" {
		out["reason"] = []any{st.Reason}
		out["reason_code"] = 1
		out["reason_code_string"] = "SYSERR_" + st.Name
	}
	return out
}

// networkRuntime is the accounting of a network. Evidence: the shape is documented by the schema; that static addresses in
// its ranges count as allocated is inferred.
func networkRuntime(s *world.Reader, r *world.Renderer, o *world.Object) map[string]any {
	var subnets []any
	holders := map[string]bool{}
	var last netip.Prefix
	for _, use := range s.Usage(o) {
		if len(subnets) == 0 || use.Subnet != last {
			last = use.Subnet
			subnets = append(subnets, map[string]any{"prefix": world.Prefix(use.Subnet), "ip_range_runtimes": []any{}})
		}
		list := make([]any, 0, len(use.Held))
		for _, h := range use.Held {
			holders[h.By] = true
			e := map[string]any{"ip": world.Address(h.Addr), "obj_uuid": h.By}
			if v := s.Store.Get(doc.Ref{Type: "vsvip", UUID: h.By}); v != nil {
				e["obj_info"] = fmt.Sprintf("%s %s", v.Kind.Title, v.Name)
			}
			list = append(list, e)
		}
		sub := subnets[len(subnets)-1].(map[string]any)
		sub["ip_range_runtimes"] = append(sub["ip_range_runtimes"].([]any), map[string]any{
			"type": use.Use, "total_ip_count": use.Total, "free_ip_count": use.Total - len(use.Held) - use.Resting, "allocated_ips": list})
	}
	uuids := []any{}
	for _, h := range doc.Keys(holders) {
		uuids = append(uuids, h)
	}
	out := map[string]any{"uuid": o.UUID, "name": o.Name, "url": r.Base + "/api/networkruntime/" + o.UUID,
		"tenant_ref":     r.URL(doc.Ref{Type: "tenant", UUID: o.Tenant}),
		"_last_modified": world.Microseconds(o.Modified), "obj_uuids": uuids}
	if len(subnets) > 0 {
		out["subnet_runtime"] = subnets
	}
	return out
}
