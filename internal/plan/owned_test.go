// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"encoding/json"
	"reflect"
	"slices"
	"testing"

	"github.com/vmware/alb-sdk/go/models"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
)

// TestEachKindHasOwnedFields: a kind that is written without a row of owned fields would be compared, and kept, whole.
func TestEachKindHasOwnedFields(t *testing.T) {
	for _, kind := range model.Written {
		body := reflect.TypeOf(model.NewBody(kind)).Elem()
		rows, ok := ownership[body]
		if !ok {
			t.Errorf("%s: the table of owned fields has no row for %s", kind, body)
			continue
		}
		has := func(field string, m mode) bool { return slices.Contains(rows, owns{field, m}) }
		if !has("markers", withExtras) {
			t.Errorf("%s: its markers aren't owned beside those of others", kind)
		}
		if has("created_by", owned) != kind.Type().CreatedBy {
			t.Errorf("%s: created_by is owned: %v, and the table of kinds says %v", kind, has("created_by", owned), kind.Type().CreatedBy)
		}
		if fixes := slices.ContainsFunc(rows, func(o owns) bool { return o.mode&(fixed|fixedMembers) != 0 }); kind.Type().Replaced && !fixes {
			t.Errorf("%s: is replaced, and nothing of it is fixed", kind)
		}
	}
}

// TestOwnedFieldsExist: each name of the tables is a field of the pinned alb-sdk, which indexOf checks by a panic.
func TestOwnedFieldsExist(t *testing.T) {
	for typ, rows := range ownership {
		if got := fieldsOf(typ); len(got) != len(rows) {
			t.Errorf("%s: %d fields for %d rows", typ, len(got), len(rows))
		}
	}
	for typ := range listKeys {
		if got := keysOf(typ); len(got) != len(listKeys[typ]) {
			t.Errorf("%s: %d key fields for %d names", typ, len(got), len(listKeys[typ]))
		}
	}
}

// TestPrune keeps what is owned, whole, and nothing else.
func TestPrune(t *testing.T) {
	pool := &models.Pool{Name: new("p"), Description: new("theirs"), CreatedBy: new("me"),
		Servers: []*models.Server{{IP: &models.IPAddr{Addr: new("10.0.0.1")}, Description: new("theirs, in ours")}}}
	servers := encode(t, pool.Servers)
	Prune(pool)
	want := &models.Pool{CreatedBy: new("me"), Servers: pool.Servers}
	if !reflect.DeepEqual(pool, want) {
		t.Errorf("left: %+v", pool)
	}
	if got := encode(t, pool.Servers); got != servers {
		t.Errorf("the servers are %s, want %s", got, servers)
	}
}

// TestNewKindIsPrinted: a body for which created has no words is printed by its owned fields.
func TestNewKindIsPrinted(t *testing.T) {
	got := setFields(&models.PoolGroup{
		CreatedBy: new("me"), Description: new("theirs"), Members: []*models.PoolGroupMember{{PoolRef: new("/api/pool?name=p")}},
	})
	if len(got) != 1 || got[0] != `members: [{"pool_ref":"/api/pool?name=p"}]` {
		t.Errorf("printed %q", got)
	}
}

func encode(t *testing.T, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
