// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"errors"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// FuzzParse gives each key of the ConfigMap any value, and the Secret's too: parsing never panics, what is wrong is reported with the key,
// and what is accepted can be used.
func FuzzParse(f *testing.F) {
	keys := slices.Sorted(maps.Keys(setters))
	values := []string{"", " ", "true", "ture", "x", "10.0.0.1", "[]", "[null]", `[{"networkName":"vip","cidr":"10.1.0.0/16"}]`,
		`[{"networkName":"vip","v6cidr":"fd00::/64"},{}]`, `["a",""]`, "V4_V6", "9999999999999999999", "-1", "\x00"}
	for i := range keys {
		f.Add(uint8(i), values[i%len(values)], "password", "")
	}
	for i, v := range values {
		f.Add(uint8(i), v, v, v)
	}
	f.Fuzz(func(t *testing.T, which uint8, value, password, ca string) {
		key := keys[int(which)%len(keys)]
		config := map[string]string{"clusterName": "c1", "controllerIP": "avi.example.com"}
		config[key] = value
		secret := map[string][]byte{"username": []byte("admin"), "password": []byte(password), "certificateAuthorityData": []byte(ca)}
		s, c, err := Parse(config, secret, "avi-system")
		again, _, err2 := Parse(config, secret, "avi-system")
		if !reflect.DeepEqual(s, again) || (err == nil) != (err2 == nil) {
			t.Fatalf("the same twice: %+v %v, %+v %v", s, err, again, err2)
		}
		if err != nil {
			var problems Problems
			if s != nil || c != nil || !errors.As(err, &problems) || len(problems) == 0 {
				t.Errorf("%+v %v", s, err)
			}
			for _, p := range problems {
				if p.Reason == "" || p.Key != "" && !strings.Contains(p.Error(), p.Key) || ca != "" && strings.Contains(err.Error(), "BEGIN") {
					t.Errorf("a problem without a reason or key, or with a secret: %v", p)
				}
			}
			return
		}
		switch {
		case s.ClusterName == "" || s.Controller == "" || s.CreatedBy == "" || s.Cloud == "" || s.Tenant == "":
			t.Errorf("incomplete: %+v", s)
		case (s.NamespaceKey == "") != (s.NamespaceValue == ""):
			t.Errorf("half a label selects namespaces: %q %q", s.NamespaceKey, s.NamespaceValue)
		case s.DrainMinutes != nil && (*s.DrainMinutes < -1 || *s.DrainMinutes > 7200):
			t.Errorf("drain timeout %d", *s.DrainMinutes)
		}
		for _, n := range s.Placement.VIPNetworks {
			for _, cidr := range []string{n.CIDR, n.V6CIDR} {
				if _, err := netip.ParsePrefix(strings.TrimSpace(cidr)); cidr != "" && err != nil {
					t.Errorf("a VIP network of %q", cidr)
				}
			}
		}
	})
}
