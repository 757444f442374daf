// SPDX-License-Identifier: Apache-2.0

package view

import (
	"encoding/json"
	"testing"

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
		got := board.Forwarding()
		b, err := json.Marshal(got.VirtualServices)
		if err != nil || string(b) != want {
			t.Errorf("%s: %s\nwant %s %v", step, b, want, err)
		}
	}
	const (
		a, b, c, d = `{"ip":"10.20.0.1","port":30100,"weight":1}`, `{"ip":"10.20.0.2","port":30100,"weight":3}`, `{"ip":"10.20.0.3","port":30100,"weight":1}`, `{"ip":"10.20.0.4","port":30100,"weight":1}`
		head       = `[{"tenant":"admin","name":"v","state":"OPER_UP","addresses":["10.10.0.10"],"listeners":[{"protocol":"SCTP","firstPort":80,"lastPort":82,"targets":[` +
			`{"ports":[80],"pools":["a"],"servers":[` + a + `]},{"ports":[80,81],`
		middle = `},{"pools":["a"],"servers":[` + a + `]}]},{"protocol":"TCP","firstPort":80,"lastPort":80,"targets":[{`
		tail   = `},{"pools":["a"],"servers":[` + a + `]}]}]}]`
		both   = `"pools":["b","c"],"servers":[` + b + `,` + c + `]`
		backup = `"pools":["b","c","d"],"servers":[` + d + `]`
	)
	check("all up", head+both+middle+both+tail)
	before := board.Forwarding().Generation
	w.Switches().SetServerHealth("10.20.0.2", 30100, false, "")
	w.Switches().SetServerHealth("10.20.0.3", 30100, false, "")
	check("the preferred members of the group are down", head+backup+middle+backup+tail)
	if board.Forwarding().Generation == before {
		t.Error("the generation is the same")
	}
}
