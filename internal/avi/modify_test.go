// SPDX-License-Identifier: Apache-2.0

package avi

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim"
)

// vrf is the VRF context "global" as the simulated Controller has it, after an edit by somebody else.
func vrf(t *testing.T, s *avisim.Server, edit func(map[string]any)) map[string]any {
	t.Helper()
	if err := s.Edit("vrfcontext", "admin", "global", edit); err != nil {
		t.Fatal(err)
	}
	o, _ := s.Object("vrfcontext", "admin", "global")
	return o
}

func puts(s *avisim.Server) (n int) {
	for _, w := range s.Writes() {
		if w.Method == "PUT" {
			n++
		}
	}
	return n
}

func describe(text string) func(Object) (bool, error) {
	return func(o Object) (bool, error) {
		raw, err := json.Marshal(text)
		o["description"] = raw
		return true, err
	}
}

func TestModifyKeepsWhatItDoesNotChange(t *testing.T) {
	s, c, _ := newSim(t)
	before := vrf(t, s, func(m map[string]any) { m["lldp_enable"] = false })
	uuid, _ := before["uuid"].(string)
	o, err := c.Modify(ctx, model.VrfContext, "admin", uuid, nil, describe("ours"))
	if err != nil {
		t.Fatal(err)
	}
	if o.Text("description") != "ours" || o.Text("_last_modified") == before["_last_modified"] {
		t.Errorf("the answer is %s", o)
	}
	after, _ := s.Object("vrfcontext", "admin", "global")
	for k, v := range before {
		if k != "_last_modified" && k != "configpb_attributes" && fmt.Sprint(after[k]) != fmt.Sprint(v) {
			t.Errorf("%s was %v and is %v", k, v, after[k])
		}
	}
	// What was read before is not read again, and is refused where it is out of date.
	s.ResetRequests()
	if _, err := c.Modify(ctx, model.VrfContext, "admin", uuid, o, describe("again")); err != nil || len(s.Requests()) != 1 {
		t.Errorf("%d requests: %v", len(s.Requests()), err)
	}
	if _, err := c.Modify(ctx, model.VrfContext, "admin", uuid, o, describe("once more")); err != nil || len(s.Requests()) != 4 {
		t.Errorf("%d requests: %v", len(s.Requests()), err)
	}
	s.ResetRequests()
	if _, err := c.Modify(ctx, model.VrfContext, "admin", uuid, nil, func(Object) (bool, error) { return false, nil }); err != nil || len(s.Writes()) > 0 {
		t.Errorf("nothing to change, and it wrote %d times: %v", len(s.Writes()), err)
	}
}

// Somebody who writes between our read and our write keeps what they wrote.
func TestModifyReadsAgainWhenOthersWereFaster(t *testing.T) {
	s, c, _ := newSim(t)
	uuid, _ := vrf(t, s, func(map[string]any) {})["uuid"].(string)
	for _, tt := range []struct{ races, puts int }{{0, 1}, {1, 2}, {modifyRounds - 1, modifyRounds}} {
		s.ResetRequests()
		calls := 0
		_, err := c.Modify(ctx, model.VrfContext, "admin", uuid, nil, func(o Object) (bool, error) {
			if calls++; calls <= tt.races {
				vrf(t, s, func(m map[string]any) {
					m["attrs"] = []any{map[string]any{"key": "race", "value": fmt.Sprint(calls, " of ", tt.races)}}
				})
			}
			return describe(fmt.Sprint("after ", tt.races))(o)
		})
		if err != nil || puts(s) != tt.puts {
			t.Errorf("%d races: %d PUTs, want %d: %v", tt.races, puts(s), tt.puts, err)
		}
		o, _ := s.Object("vrfcontext", "admin", "global")
		if want := fmt.Sprint("after ", tt.races); o["description"] != want {
			t.Errorf("description is %v, want %s", o["description"], want)
		}
		if want := fmt.Sprintf("[map[key:race value:%d of %d]]", tt.races, tt.races); tt.races > 0 && fmt.Sprint(o["attrs"]) != want {
			t.Errorf("what the other wrote is %v, want %s", o["attrs"], want)
		}
	}
	_, err := c.Modify(ctx, model.VrfContext, "admin", uuid, nil, func(o Object) (bool, error) {
		vrf(t, s, func(m map[string]any) { m["lldp_enable"] = m["lldp_enable"] == false })
		return describe("never")(o)
	})
	wantReason(t, err, ReasonStale)
}

func TestModifyRefusesWhatItCanNotProtect(t *testing.T) {
	s, c, _ := newSim(t)
	uuid, _ := vrf(t, s, func(map[string]any) {})["uuid"].(string)
	s.Inject(avisim.Fault{Method: "GET", Type: "vrfcontext", Status: 200, Body: `{"uuid":"` + uuid + `","name":"global"}`})
	_, err := c.Modify(ctx, model.VrfContext, "admin", uuid, nil, describe("blind"))
	wantReason(t, err, ReasonBadAnswer)
	if n := puts(s); n > 0 {
		t.Errorf("%d PUTs without _last_modified", n)
	}
}
