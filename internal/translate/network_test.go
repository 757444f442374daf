// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"testing"

	"github.com/vmware/alb-sdk/go/models"
)

// TestSubnetIDsInEitherField: a VIP that has its subnet's id where this operator wrote it once is where it should be.
func TestSubnetIDsInEitherField(t *testing.T) {
	want := []vipSource{{id: "1", subnetID: new("subnet-1")}}
	b := new(builder)
	for name, c := range map[string]struct {
		live  models.Vip
		same  bool
		field string // in which the id is sent
	}{
		"as AKO writes it":       {models.Vip{VipID: new("1"), SubnetUUID: new("subnet-1")}, true, "subnet_uuid"},
		"as it was written once": {models.Vip{VipID: new("1"), IPAMNetworkSubnet: &models.IPNetworkSubnet{SubnetUUID: new("subnet-1")}}, true, "ipam_network_subnet"},
		"another, as AKO":        {models.Vip{VipID: new("1"), SubnetUUID: new("subnet-2")}, false, "subnet_uuid"},
		"another, as once":       {models.Vip{VipID: new("1"), IPAMNetworkSubnet: &models.IPNetworkSubnet{SubnetUUID: new("subnet-2")}}, false, "subnet_uuid"},
		"none":                   {models.Vip{VipID: new("1")}, false, "subnet_uuid"},
	} {
		live := vipsOf(&models.VsVip{Vip: []*models.Vip{&c.live}})
		got := asLive(want, live)[0]
		if same := b.sameSource(got, live[0]); same != c.same {
			t.Errorf("%s: the same %v, want %v", name, same, c.same)
		}
		field := "ipam_network_subnet"
		if got.subnetID != nil {
			field = "subnet_uuid"
		}
		if field != c.field || deref(got.named(), "") != "subnet-1" {
			t.Errorf("%s: sent in %s as %q", name, field, deref(got.named(), ""))
		}
	}
	if want[0].subnetID == nil || want[0].subnet != nil {
		t.Error("what is wanted was changed")
	}
}
