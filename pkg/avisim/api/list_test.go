// SPDX-License-Identifier: Apache-2.0

package api

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/world"
)

// TestListCacheIsBounded shows that the lists of many different questions are not all kept.
func TestListCacheIsBounded(t *testing.T) {
	w, err := world.New(world.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	h, err := New(w, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2*listCacheSize + 1 {
		r, err := http.NewRequest(http.MethodGet, fmt.Sprint("https://avi/api/networkprofile?created_by=", i), nil)
		if err != nil {
			t.Fatal(err)
		}
		c := h.Call(r, nil)
		c.tenant = world.AdminTenant
		c.read(func(s *world.Reader) {
			if a := list(c, s); a.Status != http.StatusOK {
				t.Errorf("%d %s", a.Status, a.Body)
			}
		})
	}
	if n := len(h.lists.found); n == 0 || n > listCacheSize {
		t.Errorf("%d lists are kept, want 1 to %d", n, listCacheSize)
	}
}
