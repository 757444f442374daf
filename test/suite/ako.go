// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// AKO makes on the test's Controller what AKO 2.2.1 makes, body for body and in its order. The zero values of its fields are what
// AKO has of the test's ConfigMap. It shares no code with the operator.
type AKO struct {
	Env       *Env
	CreatedBy string // default ako-<cluster>
	Tenant    string // default admin
	VRF       string // default global
	SEGroup   string // default Default-Group
	Network   string // default vip-network
	CIDR      string // of Network; default 10.10.0.0/16
	BGP       []string
	NodePort  bool // servers are nodes, of which less is said
}

// AKOServer is a member of a pool.
type AKOServer struct {
	Address  string // "10.244.1.5:9090"
	Disabled bool
}

// AKOPort is a port of a Service, or a listener of a Gateway or of a VIP that Services share with a Service behind it.
type AKOPort struct {
	Name     string // of the Service's port
	Protocol string
	Number   int
	// Namespace and Service are behind a Gateway's listener; without a Service there is no pool.
	Namespace, Service string
	Host               string
	Servers            []AKOServer
	Monitor            string // default System-<protocol>
}

// AKOService is what a Service asks for besides its ports.
type AKOService struct {
	Hosts              []string
	Address            string
	TrafficOff         bool
	ApplicationProfile string // default System-L4-Application
	NetworkProfile     string // default AKO's choice by protocol
}

type akoObject struct {
	kind string
	body map[string]any
}

// Service makes what AKO makes for a Service of type LoadBalancer whose spec has the ports in this order.
func (a AKO) Service(namespace, name string, s AKOService, ports ...AKOPort) {
	vs := a.name(namespace, name)
	marks := []string{"Namespace", namespace, "ServiceName", name}
	out := []akoObject{a.vsVip(vs, s.Address, s.Hosts)}
	protocols := map[string]bool{}
	var rules []any
	for _, p := range ports {
		pool := a.name(namespace, name, p.Protocol, fmt.Sprint(p.Number))
		protocols[p.Protocol] = true
		out = append(out, a.pool(pool, p, akoMetadata(nil, nil, ""), append(slices.Clone(marks), "Port", fmt.Sprint(p.Number))))
		rules = append(rules, akoRule(len(rules), p, pool))
	}
	list := []string{}
	for p := range protocols {
		list = append(list, p)
	}
	slices.Sort(list)
	out = append(out, a.policy(vs, rules, append(slices.Clone(marks), "Protocol", strings.Join(list, ","))))
	byName := slices.Clone(ports) // AKO's checksum sorts them by the way
	slices.SortStableFunc(byName, func(x, y AKOPort) int { return cmp.Compare(x.Name, y.Name) })
	body := a.virtualService(vs, s, byName, akoMetadata(s.Hosts, []string{namespace + "/" + name}, ""), marks)
	body["traffic_enabled"] = !s.TrafficOff
	a.make(append(out, akoObject{"virtualservice", body}))
}

// Gateway makes what AKO makes for a Gateway of the Services API with these listeners.
func (a AKO) Gateway(namespace, name string, listeners ...AKOPort) {
	a.gateway(namespace, name, namespace+"/"+name, listeners)
}

// SharedVIP makes what AKO makes for the Services of a namespace that share the VIP of a key.
func (a AKO) SharedVIP(namespace, key string, ports ...AKOPort) {
	slices.SortStableFunc(ports, func(x, y AKOPort) int {
		return cmp.Compare(fmt.Sprintf("%s-%d", x.Protocol, x.Number), fmt.Sprintf("%s-%d", y.Protocol, y.Number))
	})
	a.gateway(namespace, key, "", ports)
}

func (a AKO) gateway(namespace, name, of string, listeners []AKOPort) {
	vs := a.name(namespace, name)
	marks := []string{"Namespace", namespace, "GatewayName", name}
	var pools []akoObject
	var rules []any
	var hosts []string
	for _, l := range listeners {
		if l.Service == "" {
			continue
		}
		pool := a.name(namespace, l.Service, name, l.Protocol, fmt.Sprint(l.Number))
		pools = append(pools, a.pool(pool, l, akoMetadata([]string{l.Host}, []string{l.Namespace + "/" + l.Service}, ""), []string{
			"Namespace", namespace, "ServiceName", l.Service, "Port", fmt.Sprint(l.Number), "Protocol", l.Protocol, "GatewayName", name,
		}))
		rules = append(rules, akoRule(len(rules), l, pool))
		if !slices.Contains(hosts, l.Host) {
			hosts = append(hosts, l.Host)
		}
	}
	out := append([]akoObject{a.vsVip(vs, "", hosts)}, pools...)
	body := a.virtualService(vs, AKOService{}, listeners, akoMetadata(hosts, nil, of), marks)
	if len(rules) > 0 {
		out = append(out, a.policy(vs, rules, marks))
	} else {
		delete(body, "l4_policies")
		delete(body, "remove_listening_port_on_vs_down")
	}
	a.make(append(out, akoObject{"virtualservice", body}))
}

// Ingress makes the pool of AKO's L7 half for an Ingress's backend, and returns its name.
func (a AKO) Ingress(namespace, service, host string) string {
	pool := a.name(namespace, host+"_-web-"+service)
	p := AKOPort{Protocol: "TCP", Number: 80, Servers: []AKOServer{{Address: "10.244.1.5:8080"}}}
	a.make([]akoObject{a.pool(pool, p, akoMetadata([]string{host}, nil, ""), []string{
		"Namespace", namespace, "Host", host, "ServiceName", service, "Path", "/", "IngressName", "web",
	})})
	return pool
}

func (a AKO) name(parts ...string) string { return a.Env.Cluster + "--" + strings.Join(parts, "-") }

func (a AKO) make(objects []akoObject) {
	a.Env.T.Helper()
	for _, o := range objects {
		if _, err := a.Env.Sim.Create(o.kind, cmp.Or(a.Tenant, "admin"), o.body); err != nil {
			a.Env.T.Fatal(err)
		}
	}
}

func (a AKO) marks(pairs []string) []any {
	out := []any{map[string]any{"key": "clustername", "values": []any{a.Env.Cluster}}}
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, map[string]any{"key": pairs[i], "values": []any{pairs[i+1]}})
	}
	return out
}

func (a AKO) by() string { return cmp.Or(a.CreatedBy, "ako-"+a.Env.Cluster) }

func (a AKO) vrf() string { return "/api/vrfcontext?name=" + cmp.Or(a.VRF, "global") }

func (a AKO) tenant() string { return "/api/tenant/?name=" + cmp.Or(a.Tenant, "admin") }

const akoCloud = "/api/cloud?name=Default-Cloud"

func (a AKO) vsVip(name, address string, hosts []string) akoObject {
	cidr := netip.MustParsePrefix(cmp.Or(a.CIDR, "10.10.0.0/16"))
	vip := map[string]any{"vip_id": "0", "auto_allocate_ip": true, "ipam_network_subnet": map[string]any{
		"network_ref": "/api/network/?name=" + cmp.Or(a.Network, "vip-network"),
		"subnet":      map[string]any{"ip_addr": akoAddress(cidr.Addr()), "mask": cidr.Bits()},
	}}
	if address != "" {
		vip["ip_address"] = akoAddress(netip.MustParseAddr(address))
	}
	body := map[string]any{
		"name": name, "tenant_ref": a.tenant(), "cloud_ref": akoCloud, "east_west_placement": false, "vip": []any{vip},
		"vsvip_cloud_config_cksum": "2734881529", "vrf_context_ref": a.vrf(), "markers": a.marks(nil),
	}
	var names []any
	for _, h := range hosts {
		names = append(names, map[string]any{"fqdn": h})
	}
	if len(names) > 0 {
		body["dns_info"] = names
	}
	if len(a.BGP) > 0 {
		body["bgp_peer_labels"] = a.BGP
	}
	return akoObject{"vsvip", body}
}

func akoAddress(a netip.Addr) map[string]any {
	if a.Is4() {
		return map[string]any{"addr": a.String(), "type": "V4"}
	}
	return map[string]any{"addr": a.String(), "type": "V6"}
}

func (a AKO) pool(name string, p AKOPort, metadata string, marks []string) akoObject {
	servers := []any{}
	for _, s := range p.Servers {
		at := netip.MustParseAddrPort(s.Address)
		uuid := fmt.Sprintf("%s:%d", at.Addr(), at.Port()) // without brackets
		server := map[string]any{"ip": akoAddress(at.Addr()), "port": int(at.Port()), "external_uuid": uuid}
		if !a.NodePort {
			server["enabled"], server["server_node"] = !s.Disabled, "node-1"
		}
		servers = append(servers, server)
	}
	return akoObject{"pool", map[string]any{
		"name": name, "cloud_config_cksum": "1127733214", "created_by": a.by(), "tenant_ref": a.tenant(), "cloud_ref": akoCloud,
		"service_metadata": metadata, "sni_enabled": false, "graceful_disable_timeout": 1, "vrf_ref": a.vrf(),
		"health_monitor_refs": []any{"/api/healthmonitor/?name=" + cmp.Or(p.Monitor, "System-"+p.Protocol)},
		"servers":             servers, "markers": a.marks(marks),
	}}
}

func akoRule(index int, p AKOPort, pool string) map[string]any {
	return map[string]any{
		"name": "/api/pool?name=" + pool, "index": index,
		"match": map[string]any{
			"port":     map[string]any{"match_criteria": "IS_IN", "ports": []any{p.Number}},
			"protocol": map[string]any{"match_criteria": "IS_IN", "protocol": "PROTOCOL_" + p.Protocol},
		},
		"action": map[string]any{"select_pool": map[string]any{
			"action_type": "L4_RULE_ACTION_SELECT_POOL", "pool_ref": "/api/pool?name=" + pool,
		}},
	}
}

func (a AKO) policy(name string, rules []any, marks []string) akoObject {
	return akoObject{"l4policyset", map[string]any{
		"name": name, "created_by": a.by(), "tenant_ref": a.tenant(), "markers": a.marks(marks),
		"l4_connection_policy": map[string]any{"rules": rules},
	}}
}

// akoOverrides are what a VirtualService with several protocols gives the ports of some.
var akoOverrides = map[string]string{"UDP": "System-UDP-Fast-Path", "SCTP": "System-SCTP-Proxy"}

func (a AKO) virtualService(name string, s AKOService, ports []AKOPort, metadata string, marks []string) map[string]any {
	protocols := map[string]bool{}
	for _, p := range ports {
		protocols[p.Protocol] = true
	}
	profile := "System-SCTP-Proxy"
	switch {
	case protocols["TCP"]:
		profile = "System-TCP-Proxy"
	case protocols["UDP"]:
		profile = "System-UDP-Fast-Path"
	}
	var services []any
	for _, p := range ports {
		service := map[string]any{"port": p.Number, "port_range_end": p.Number, "enable_ssl": false, "enable_http2": false}
		if override := akoOverrides[p.Protocol]; override != "" && len(protocols) > 1 {
			service["override_network_profile_ref"] = "/api/networkprofile/?name=" + override
		}
		services = append(services, service)
	}
	body := map[string]any{
		"name": name, "cloud_config_cksum": "3990187345", "created_by": a.by(), "cloud_ref": akoCloud, "tenant_ref": a.tenant(),
		"application_profile_ref": "/api/applicationprofile/?name=" + cmp.Or(s.ApplicationProfile, "System-L4-Application"),
		"network_profile_ref":     "/api/networkprofile/?name=" + cmp.Or(s.NetworkProfile, profile),
		"se_group_ref":            "/api/serviceenginegroup?name=" + cmp.Or(a.SEGroup, "Default-Group"),
		"error_page_profile_ref":  "", "vrf_context_ref": a.vrf(), "vsvip_ref": "/api/vsvip/?name=" + name, "services": services,
		"l4_policies":                      []any{map[string]any{"index": 0, "l4_policy_set_ref": "/api/l4policyset/?name=" + name}},
		"remove_listening_port_on_vs_down": true, "service_metadata": metadata, "markers": a.marks(marks),
	}
	if len(a.BGP) > 0 {
		body["enable_rhi"] = true
	}
	return body
}

// akoMetadata is service_metadata as AKO's encoding gives it: all keys, in its struct's order, unset lists as null.
func akoMetadata(hosts, services []string, gateway string) string {
	quoted := func(v any) string {
		raw, err := json.Marshal(v)
		if err != nil {
			panic(err) // lists of strings always encode
		}
		return string(raw)
	}
	return `{"namespace_ingress_name":null,"ingress_name":"","namespace":"","hostnames":` + quoted(hosts) + `,"namespace_svc_name":` + quoted(services) +
		`,"crd_status":{"type":"","value":"","status":""},"pool_ratio":0,"passthrough_parent_ref":"","passthrough_child_ref":"","gateway":` + quoted(gateway) +
		`,"httproute":"","httproute_rule_name":"","insecureedgetermallow":false,"is_mci_ingress":false,"fqdn_reuse_policy":"","host_namespace_ingress_name":null}`
}
