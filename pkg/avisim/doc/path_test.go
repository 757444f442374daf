// SPDX-License-Identifier: Apache-2.0

package doc

import "testing"

func TestDereference(t *testing.T) {
	body := map[string]any{"vip": []any{map[string]any{"addr": "10.0.0.1"}, map[string]any{"addr": "10.0.0.2", "mask": 24}},
		"pool_ref": "https://c/api/pool/pool-1#p", "vrf_ref": "https://c/api/vrfcontext/vrf-1", "name": "", "none": []any{}, "nil": nil}
	for path, ok := range map[string]bool{
		"vip": true, "vip[]": true, "vip[].addr": true, "vip[].mask": false, "vip.addr": false, "none[]": false, "none": true, "nil": false,
		"name": false, "other": false, "pool_ref": true, "pool_ref#": true, "vrf_ref#": false, "pool_ref[]": false,
	} {
		if err := Dereference(body, path); (err == nil) != ok {
			t.Errorf("%s: %v", path, err)
		}
	}
}
