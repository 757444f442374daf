// SPDX-License-Identifier: Apache-2.0

package view

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/world"
)

type obj = map[string]any

// TestForwarding shows where the traffic of ports and protocols goes: by rules, pool groups with priorities, and the pool of the virtual
// service itself; and what changes when servers go down.
func TestForwarding(t *testing.T) {
	w, err := world.New(world.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	create := func(typ string, body obj) {
		t.Helper()
		if _, err := w.Admin().Create(typ, world.AdminTenant, body); err != nil {
			t.Fatal(err)
		}
	}
	create("vsvip", obj{"name": "v", "vip": []obj{{"vip_id": "0", "auto_allocate_ip": true}}})
	for _, p := range []struct{ name, ip string }{{"a", "10.20.0.1"}, {"b", "10.20.0.2"}, {"c", "10.20.0.3"}, {"d", "10.20.0.4"}} {
		create("pool", obj{"name": p.name, "servers": []obj{{"ip": obj{"addr": p.ip, "type": "V4"}, "port": 30100}}})
	}
	create("poolgroup", obj{"name": "g", "members": []obj{{"pool_ref": "/api/pool?name=b", "ratio": 3, "priority_label": "10"},
		{"pool_ref": "/api/pool?name=c", "ratio": 1, "priority_label": "10"}, {"pool_ref": "/api/pool?name=d", "priority_label": "5"}}})
	rule := func(index int, match, to obj) obj {
		to["action_type"] = "L4_RULE_ACTION_SELECT_POOL"
		if to["pool_group_ref"] != nil {
			to["action_type"] = "L4_RULE_ACTION_SELECT_POOLGROUP"
		}
		return obj{"name": "r", "index": index, "match": match, "action": obj{"select_pool": to}}
	}
	create("l4policyset", obj{"name": "p", "l4_connection_policy": obj{"rules": []obj{
		rule(2, obj{"port": obj{"match_criteria": "IS_IN", "port_ranges": []obj{{"start": 80, "end": 81}}}},
			obj{"pool_group_ref": "/api/poolgroup?name=g"}),
		rule(1, obj{"port": obj{"match_criteria": "IS_IN", "ports": []int{80}}, "protocol": obj{"match_criteria": "IS_IN",
			"protocol": "PROTOCOL_SCTP"}}, obj{"pool_ref": "/api/pool?name=a"}),
	}}})
	body := obj{"name": "v", "vsvip_ref": "/api/vsvip?name=v", "network_profile_ref": "/api/networkprofile?name=System-SCTP-Proxy",
		"application_profile_ref": "/api/applicationprofile?name=System-L4-Application",
		"l4_policies":             []obj{{"index": 0, "l4_policy_set_ref": "/api/l4policyset?name=p"}}}
	body["services"] = []obj{{"port": 80, "port_range_end": 82}, {"port": 80,
		"override_network_profile_ref": "/api/networkprofile?name=System-TCP-Proxy"}}
	body["pool_ref"] = "/api/pool?name=a"
	create("virtualservice", body)

	board := New(w)
	check := func(step, want string) {
		t.Helper()
		if got := brief(board.Forwarding()); got != want {
			t.Errorf("%s:\n%s\nwant\n%s", step, got, want)
		}
	}
	check("all up", `v OPER_UP 10.10.0.10
SCTP 80-82 idle 0s
 [80] a+ 0/1 10.20.0.1:30100 1 UP
 [80 81] b+ 0/3 10.20.0.2:30100 1 UP, c+ 0/1 10.20.0.3:30100 1 UP, d+ 1/1 10.20.0.4:30100 1 UP
 [] a+ 0/1 10.20.0.1:30100 1 UP
TCP 80-80 idle 10m0s
 [] b+ 0/3 10.20.0.2:30100 1 UP, c+ 0/1 10.20.0.3:30100 1 UP, d+ 1/1 10.20.0.4:30100 1 UP
 [] a+ 0/1 10.20.0.1:30100 1 UP`)
	before := board.Forwarding().Generation
	w.Switches().SetServerHealth("10.20.0.2", 30100, false, "")
	edit := func(typ, name string, change func(obj)) {
		t.Helper()
		if err := w.Admin().Edit(typ, world.AdminTenant, name, change); err != nil {
			t.Fatal(err)
		}
	}
	edit("pool", "c", func(o obj) { o["enabled"] = false })
	edit("poolgroup", "g", func(o obj) { o["members"].([]any)[2].(obj)["ratio"] = 0 })
	edit("virtualservice", "v", func(o obj) { o["services"] = o["services"].([]any)[1:] })
	check("the preferred members of the group are down, and the other one takes nothing", `v OPER_UP 10.10.0.10
TCP 80-80 idle 10m0s
 [] b- 0/3 10.20.0.2:30100 1 DOWN, c- 0/1 10.20.0.3:30100 1 DISABLED, d+ 1/0 10.20.0.4:30100 1 UP
 [] a+ 0/1 10.20.0.1:30100 1 UP`)
	if board.Forwarding().Generation == before {
		t.Error("the generation is the same")
	}
}

// brief is a view in lines.
func brief(f Forwarding) string {
	var out []string
	for _, vs := range f.VirtualServices {
		out = append(out, fmt.Sprint(vs.Name, " ", vs.State, " ", strings.Join(vs.Addresses, " ")))
		for _, l := range vs.Listeners {
			out = append(out, fmt.Sprintf("%s %d-%d idle %v", l.Protocol, l.First, l.Last, time.Duration(l.Idle)))
			for _, t := range l.Targets {
				var pools []string
				for _, p := range t.Pools {
					up := map[bool]string{true: "+", false: "-"}[p.Up]
					text := fmt.Sprintf("%s%s %d/%d", p.Name, up, p.Tier, p.Ratio)
					for _, x := range p.Servers {
						text += fmt.Sprintf(" %s:%d %d %s", x.IP, x.Port, x.Weight, x.State)
					}
					pools = append(pools, text)
				}
				out = append(out, fmt.Sprintf(" %v %s", t.Ports, strings.Join(pools, ", ")))
			}
		}
	}
	return strings.Join(out, "\n")
}

// TestForwardingClients shows who is let in, by a policy with prefixes, ranges, addresses and groups, and what pools say of drains and
// persistence.
func TestForwardingClients(t *testing.T) {
	w, err := world.New(world.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	create := func(typ string, body obj) {
		t.Helper()
		if _, err := w.Admin().Create(typ, world.AdminTenant, body); err != nil {
			t.Fatal(err)
		}
	}
	addr := func(a string) obj {
		kind := "V4"
		if strings.Contains(a, ":") {
			kind = "V6"
		}
		return obj{"addr": a, "type": kind}
	}
	deny := func(index int, match obj) obj {
		return obj{"name": "r", "index": index, "enable": true, "action": "NETWORK_SECURITY_POLICY_ACTION_TYPE_DENY", "match": match}
	}
	create("ipaddrgroup", obj{"name": "g", "addrs": []obj{addr("192.0.2.9")}})
	create("networksecuritypolicy", obj{"name": "n", "rules": []obj{
		deny(2, obj{"client_ip": obj{"match_criteria": "IS_NOT_IN", "group_refs": []string{"/api/ipaddrgroup?name=g"},
			"prefixes": []obj{{"ip_addr": addr("10.1.0.0"), "mask": 17}, {"ip_addr": addr("fd00::"), "mask": 9}},
			"ranges":   []obj{{"begin": addr("10.2.0.5"), "end": addr("10.2.0.7")}}}}),
		deny(1, obj{"vs_port": obj{"match_criteria": "IS_IN", "ports": []int{7}}}),
		deny(3, obj{"microservice": obj{"match_criteria": "IS_IN", "group_ref": "/api/microservicegroup?name=x"}}),
	}})
	create("applicationpersistenceprofile", obj{"name": "p", "persistence_type": "PERSISTENCE_TYPE_CLIENT_IP_ADDRESS",
		"ip_persistence_profile": obj{"ip_persistent_timeout": 7}})
	create("pool", obj{"name": "a", "graceful_disable_timeout": -1, "application_persistence_profile_ref": "/api/applicationpersistenceprofile?name=p"})
	create("vsvip", obj{"name": "v", "vip": []obj{{"vip_id": "0", "auto_allocate_ip": true}}})
	create("virtualservice", obj{"name": "v", "vsvip_ref": "/api/vsvip?name=v", "pool_ref": "/api/pool?name=a",
		"services":                    []obj{{"port": 80}},
		"network_security_policy_ref": "/api/networksecuritypolicy?name=n", "application_profile_ref": "/api/applicationprofile?name=System-L4-Application"})

	vs := New(w).Forwarding().VirtualServices[0]
	if len(vs.Admission) != 2 || vs.Admission[0].Clients != nil || !slices.Equal(vs.Admission[0].Ports, []int{7}) || vs.Admission[1].Allow {
		t.Fatalf("the rules are %+v", vs.Admission)
	}
	for client, denied := range map[string]bool{
		"10.1.0.0": false, "10.1.127.255": false, "10.1.128.0": true, "10.0.255.255": true,
		"10.2.0.4": true, "10.2.0.5": false, "10.2.0.7": false, "10.2.0.8": true, "192.0.2.9": false,
		"fd7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff": false, "fd80::": true, "::ffff:10.1.0.1": false,
	} {
		if got := vs.Admission[1].Clients.Match(netip.MustParseAddr(client)); got != denied {
			t.Errorf("%s: denied %v, want %v", client, got, denied)
		}
	}
	pool := vs.Listeners[0].Targets[0].Pools[0]
	if time.Duration(pool.Persistence) != 7*time.Minute || pool.Drain >= 0 {
		t.Errorf("persistence %v, drain %v", time.Duration(pool.Persistence), time.Duration(pool.Drain))
	}
}
