// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"strings"
	"testing"

	"github.com/vmware/alb-sdk/go/models"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
)

var ruledKey = model.Key{Kind: model.VirtualService, Tenant: "admin", Name: "c--x"}

// ruledPlan is the way from one VirtualService to another of which the named fields are a rule's.
func ruledPlan(want, have *models.VirtualService, ruled ...string) Plan {
	set := &model.Set{Objects: []model.Object{{Key: ruledKey, Body: want, Ruled: ruled}}}
	return Diff(set, []*model.Observed{{Key: ruledKey, UUID: "1", Body: have}}, Policy{})
}

func logs(throttle uint32) *models.AnalyticsPolicy {
	return &models.AnalyticsPolicy{FullClientLogs: &models.FullClientLogs{Enabled: new(true), Throttle: &throttle}}
}

// ruleMarks are markers with those fields as a rule's.
func ruleMarks(fields ...string) []*models.RoleFilterMatchLabel {
	out := model.Markers("c")
	if len(fields) > 0 {
		out = append(out, &models.RoleFilterMatchLabel{Key: new(model.MarkRule), Values: fields})
	}
	return out
}

// TestRuledFields: a field that no rule has set isn't looked at, and one that a rule has set goes to what is wanted.
func TestRuledFields(t *testing.T) {
	type vs = models.VirtualService
	byHand := logs(3)
	byHand.SignificantLogThrottle = new(uint32(9))
	for _, c := range []struct {
		name       string
		want, have *vs
		ruled      []string
		lines      string // what the plan must say, "" for nothing
	}{
		{"theirs", &vs{}, &vs{SecurityPolicyRef: new("/api/securitypolicy/1#dos")}, nil, ""},
		{"wanted but not a rule's", &vs{RevokeVipRoute: new(true)}, &vs{}, nil, ""},
		{"set", &vs{RevokeVipRoute: new(true)}, &vs{}, []string{"revoke_vip_route"}, "revoke_vip_route: (unset) -> true"},
		{"set already", &vs{AnalyticsPolicy: logs(3)}, &vs{AnalyticsPolicy: byHand}, []string{"analytics_policy"}, ""},
		{"set otherwise", &vs{AnalyticsPolicy: logs(4)}, &vs{AnalyticsPolicy: byHand}, []string{"analytics_policy"}, `"significant_log_throttle":9`},
		{"dropped, with others' part", &vs{}, &vs{AnalyticsPolicy: byHand}, []string{"analytics_policy"}, `-> {"significant_log_throttle":9}`},
		{"dropped", &vs{}, &vs{AnalyticsPolicy: logs(3)}, []string{"analytics_policy"}, "-> (unset)"},
		{"dropped false", &vs{}, &vs{RevokeVipRoute: new(false)}, []string{"revoke_vip_route"}, "revoke_vip_route: false -> (unset)"},
	} {
		p := ruledPlan(c.want, c.have, c.ruled...)
		text := p.String()
		if c.lines == "" && !p.Empty() || !strings.Contains(text, c.lines) {
			t.Errorf("%s: want %q in\n%s", c.name, c.lines, text)
		}
	}
}

// TestRuleMarker: it is written with the first change and not for its own sake, and goes with what it is about.
func TestRuleMarker(t *testing.T) {
	type vs = models.VirtualService
	const field = "security_policy_ref"
	dos := new("/api/securitypolicy?name=dos")
	for _, c := range []struct {
		name       string
		want, have *vs
		ruled      []string
		fields     string
	}{
		{"taken over", &vs{SecurityPolicyRef: dos, Markers: ruleMarks(field)}, &vs{SecurityPolicyRef: dos, Markers: ruleMarks()}, []string{field}, ""},
		{"first change", &vs{SecurityPolicyRef: dos, TrafficEnabled: new(true), Markers: ruleMarks(field)}, &vs{SecurityPolicyRef: dos, Markers: ruleMarks()}, []string{field}, "traffic_enabled markers"},
		{"one more", &vs{SecurityPolicyRef: dos, Markers: ruleMarks(field, "x")}, &vs{SecurityPolicyRef: dos, Markers: ruleMarks(field)}, []string{field}, "markers"},
		{"gone", &vs{Markers: ruleMarks()}, &vs{SecurityPolicyRef: dos, Markers: ruleMarks(field)}, []string{field}, "markers security_policy_ref"},
		{"put right by hand", &vs{Markers: ruleMarks()}, &vs{Markers: ruleMarks(field)}, []string{field}, "markers"},
	} {
		var got []string
		for _, s := range ruledPlan(c.want, c.have, c.ruled...).Steps {
			for _, f := range s.Fields {
				got = append(got, f.Field)
			}
		}
		if text := strings.Join(got, " "); text != c.fields {
			t.Errorf("%s: changes %q, want %q", c.name, text, c.fields)
		}
	}
}

// TestDefaultPool: a VirtualService with a pool of its own is made after it, and gets it after it.
func TestDefaultPool(t *testing.T) {
	pool := model.Object{Key: model.Key{Kind: model.Pool, Tenant: "admin", Name: "c--p"}, Body: &models.Pool{}}
	vs := model.Object{Key: ruledKey, Body: &models.VirtualService{PoolRef: new(model.RefByName(model.Pool, "c--p"))},
		Ruled: []string{"pool_ref"}}
	set := &model.Set{Objects: []model.Object{pool, vs}}
	for _, have := range [][]*model.Observed{nil, {{Key: ruledKey, UUID: "1", Body: &models.VirtualService{}}}} {
		p := Diff(set, have, Policy{})
		if len(p.Steps) != 2 || len(p.Steps[1].Needs) != 1 || p.Steps[1].Needs[0] != 0 {
			t.Errorf("with %d objects there:\n%s", len(have), p.String())
		}
	}
}
