// SPDX-License-Identifier: Apache-2.0

package model

import (
	"reflect"
	"slices"
	"testing"

	"github.com/vmware/alb-sdk/go/models"
)

// TestTypes holds the table of kinds to what the rest of the operator takes for granted.
func TestTypes(t *testing.T) {
	if len(Written) == 0 || len(Shared) == 0 {
		t.Fatalf("written %v, shared %v", Written, Shared)
	}
	for i := range types {
		row := &types[i]
		if row.Kind == "" || row.Title == "" || row.Kind.Type() != row {
			t.Errorf("%s: its row is %+v", row.Kind, row.Kind.Type())
		}
		if (row.New == nil) != (row.Head == nil) {
			t.Errorf("%s: New and Head come together", row.Kind)
		}
		if row.New != nil {
			continue
		}
		if NewBody(row.Kind) != nil || row.CreatedBy || row.OwnerByName || row.Replaced || row.Refers != nil || row.Follows != nil {
			t.Errorf("%s isn't written, and its row says how: %+v", row.Kind, row)
		}
	}
}

// TestHeads: Head returns each of the body's own fields, and CreatedBy says what the body has.
func TestHeads(t *testing.T) {
	for _, kind := range Written {
		row := kind.Type()
		body := row.New()
		v := reflect.ValueOf(body).Elem()
		marks := Markers("c1")
		want := Head{Name: new("name"), TenantRef: new("tenant"), UUID: new("uuid"), Markers: marks}
		set := func(field string, value any) { v.FieldByName(field).Set(reflect.ValueOf(value)) }
		set("Name", want.Name)
		set("TenantRef", want.TenantRef)
		set("UUID", want.UUID)
		set("Markers", want.Markers)
		if has := v.FieldByName("CreatedBy").IsValid(); has != row.CreatedBy {
			t.Errorf("%s: has created_by %v, and the table says %v", kind, has, row.CreatedBy)
		} else if has {
			want.CreatedBy = new("somebody")
			set("CreatedBy", want.CreatedBy)
		}
		if has := v.FieldByName("CloudRef").IsValid(); has != row.OfCloud {
			t.Errorf("%s: has cloud_ref %v, and the table says %v", kind, has, row.OfCloud)
		}
		if got := row.Head(body); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: the head is %+v, want %+v", kind, got, want)
		}
		if row.New() == body {
			t.Errorf("%s: New returns the same body twice", kind)
		}
	}
}

// TestOrders: an object is created after what it refers to, and deleted before.
func TestOrders(t *testing.T) {
	for _, kind := range Written {
		row := kind.Type()
		for _, to := range row.Refers {
			if !slices.Contains(Written, to) || CompareCreation(to, kind) >= 0 {
				t.Errorf("%s refers to %s, which isn't created before it", kind, to)
			}
			if DeletionRank(to) <= DeletionRank(kind) {
				t.Errorf("%s refers to %s, which isn't deleted after it", kind, to)
			}
			if !kind.Refers(to) || to.Refers(kind) {
				t.Errorf("Refers doesn't say that %s refers to %s", kind, to)
			}
		}
		for _, to := range row.Follows {
			if !kind.Refers(to) {
				t.Errorf("%s follows %s, to which it doesn't refer", kind, to)
			}
		}
	}
	ranks := map[Kind]int{VirtualService: 0, VsVip: 1, L4PolicySet: 1, PoolGroup: 2, Pool: 3}
	for kind, want := range ranks {
		if got := DeletionRank(kind); got != want {
			t.Errorf("%s is deleted at %d, want %d", kind, got, want)
		}
	}
}

func TestUnknownKind(t *testing.T) {
	if k := Kind("gslb"); k.Title() != "gslb" || NewBody(k) != nil || k.Refers(Pool) {
		t.Errorf("the row of a kind without one is %+v", k.Type())
	}
	if got := (Key{Kind: VsVip, Tenant: "admin", Name: "c--x"}).String(); got != "VsVip admin/c--x" {
		t.Errorf("key: %s", got)
	}
	if _, ok := NewBody(Pool).(*models.Pool); !ok {
		t.Errorf("a pool's body is %T", NewBody(Pool))
	}
}
