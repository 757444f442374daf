// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/vmware/alb-sdk/go/models"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
)

var amf = model.Owner{Kind: model.ServiceOwner, Namespace: "core", Name: "amf"}

func key(kind model.Kind, name string) model.Key {
	return model.Key{Kind: kind, Tenant: "admin", Name: name}
}

func ref(kind model.Kind, name string) *string { return new(model.RefByName(kind, name)) }

func pool(name string, servers ...string) model.Object {
	monitor := model.RefByName(model.HealthMonitor, "System-TCP")
	p := &models.Pool{Name: new(name), CreatedBy: new("ako-c1"), HealthMonitorRefs: []string{monitor}}
	for _, s := range servers {
		p.Servers = append(p.Servers, &models.Server{IP: &models.IPAddr{Addr: new(s), Type: new("V4")}, Port: new(int32(80)), Enabled: new(true)})
	}
	return model.Object{Key: key(model.Pool, name), Body: p}
}

func group(name string, pools ...string) model.Object {
	g := &models.PoolGroup{Name: new(name)}
	for _, p := range pools {
		g.Members = append(g.Members, &models.PoolGroupMember{PoolRef: ref(model.Pool, p), Ratio: new(uint32(1))})
	}
	return model.Object{Key: key(model.PoolGroup, name), Body: g}
}

func policy(name string, pools ...string) model.Object {
	rules := []*models.L4Rule{}
	for i, p := range pools {
		rules = append(rules, &models.L4Rule{
			Name: new(p), Index: new(int32(i)),
			Match:  &models.L4RuleMatchTarget{Port: &models.L4RulePortMatch{MatchCriteria: new("IS_IN"), Ports: []int64{80}}},
			Action: &models.L4RuleAction{SelectPool: &models.L4RuleActionSelectPool{PoolRef: ref(model.Pool, p)}},
		})
	}
	body := &models.L4PolicySet{Name: new(name), L4ConnectionPolicy: &models.L4ConnectionPolicy{Rules: rules}}
	return model.Object{Key: key(model.L4PolicySet, name), Body: body}
}

func vip(name, address string) model.Object {
	v := &models.Vip{VipID: new("0"), AutoAllocateIP: new(true)}
	if address != "" {
		v.IPAddress = &models.IPAddr{Addr: new(address), Type: new("V4")}
	}
	return model.Object{Key: key(model.VsVip, name), Body: &models.VsVip{Name: new(name), Vip: []*models.Vip{v}}}
}

func virtualService(name string, ports ...uint32) model.Object {
	vs := &models.VirtualService{
		Name: new(name), NetworkProfileRef: ref(model.NetworkProfile, "System-TCP-Proxy"), VsvipRef: ref(model.VsVip, name),
		SeGroupRef: ref(model.ServiceEngineGroup, "Default-Group"),
		L4Policies: []*models.L4Policies{{Index: new(int32(0)), L4PolicySetRef: ref(model.L4PolicySet, name)}},
	}
	for _, p := range ports {
		vs.Services = append(vs.Services, &models.Service{Port: new(p)})
	}
	return model.Object{Key: key(model.VirtualService, name), Body: vs}
}

func profile(name string, minutes int32) model.Object {
	return model.Object{Key: key(model.PersistenceProfile, name), Body: &models.ApplicationPersistenceProfile{Name: new(name),
		PersistenceType: new("PERSISTENCE_TYPE_CLIENT_IP_ADDRESS"), IPPersistenceProfile: &models.IPPersistenceProfile{IPPersistentTimeout: &minutes}}}
}

// sticky is a pool that refers to a profile.
func sticky(name, profile string) model.Object {
	o := pool(name)
	o.Body.(*models.Pool).ApplicationPersistenceProfileRef = ref(model.PersistenceProfile, profile)
	o.Ruled = []string{"application_persistence_profile_ref"}
	return o
}

func security(name string, prefixes ...string) model.Object {
	match := &models.IPAddrMatch{MatchCriteria: new("IS_NOT_IN")}
	for _, p := range prefixes {
		match.Prefixes = append(match.Prefixes, &models.IPAddrPrefix{IPAddr: &models.IPAddr{Addr: new(p), Type: new("V4")}, Mask: new(int32(8))})
	}
	rule := &models.NetworkSecurityRule{
		Name: new("source-ranges"), Index: new(uint32(0)), Enable: new(true), Action: new("NETWORK_SECURITY_POLICY_ACTION_TYPE_DENY"),
		Match: &models.NetworkSecurityMatchTarget{ClientIP: match},
	}
	body := &models.NetworkSecurityPolicy{Name: new(name), Rules: []*models.NetworkSecurityRule{rule}}
	return model.Object{Key: key(model.NetworkSecurityPolicy, name), Body: body}
}

// guarded is a VirtualService that refers to the policy of its name.
func guarded(name string, ports ...uint32) model.Object {
	o := virtualService(name, ports...)
	o.Body.(*models.VirtualService).NetworkSecurityPolicyRef = ref(model.NetworkSecurityPolicy, name)
	o.Ruled = []string{"network_security_policy_ref"}
	return o
}

func set(objects ...model.Object) *model.Set { return &model.Set{Owner: amf, Objects: objects} }

// wanted is a whole set, of one pool with these servers.
func wanted(address string, servers ...string) *model.Set {
	return set(vip("x", address), pool("p", servers...), policy("x", "p"), virtualService("x", 80))
}

// holds is what the Controller would have of a set.
func holds(s *model.Set) (out []*model.Observed) {
	for _, o := range s.Objects {
		out = append(out, &model.Observed{Key: o.Key, UUID: string(o.Key.Kind) + "-" + o.Key.Name, Owner: s.Owner, Body: o.Body})
	}
	return out
}

// printed is a plan as it is printed, line by line without the indent.
func printed(p Plan) (out []string) {
	for line := range strings.SplitSeq(strings.TrimSpace(p.String()), "\n") {
		out = append(out, strings.TrimSpace(line))
	}
	return out
}

func wantPlan(t *testing.T, name string, p Plan, want ...string) {
	t.Helper()
	if got := printed(p); !slices.Equal(got, want) {
		t.Errorf("%s:\n%s\nwant\n%s", name, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestDiff(t *testing.T) {
	wantPlan(t, "nothing is there", Diff(wanted("", "10.1.0.1"), nil, Policy{}),
		"Service core/amf: 4 to create",
		"1. create VsVip admin/x: the Controller doesn't have it",
		"address: allocated by the Controller",
		"2. create Pool admin/p: the Controller doesn't have it",
		"health monitor: System-TCP",
		"server: 10.1.0.1:80",
		"3. create L4PolicySet admin/x (after 2): the Controller doesn't have it",
		"rule: port [80] -> pool p",
		"4. create VirtualService admin/x (after 1, 3): the Controller doesn't have it",
		"network profile: System-TCP-Proxy",
		"Service Engine group: Default-Group",
		"listens on: 80",
	)
	wantPlan(t, "all is there", Diff(wanted("", "10.1.0.1"), holds(wanted("", "10.1.0.1")), Policy{}), "Service core/amf: no change")
	wantPlan(t, "a server comes and one goes", Diff(wanted("", "10.1.0.1", "10.1.0.3"), holds(wanted("", "10.1.0.1", "10.1.0.2")), Policy{}),
		"Service core/amf: 1 to update",
		"1. update Pool admin/p: differs from what is wanted",
		"servers: 10.1.0.2:80 -> 10.1.0.3:80",
	)
	two := set(vip("x", ""), pool("p"), pool("q"), policy("x", "p", "q"), virtualService("x", 80, 81))
	wantPlan(t, "a port goes", Diff(wanted(""), holds(two), Policy{}),
		"Service core/amf: 2 to update, 1 to delete",
		"1. update L4PolicySet admin/x: differs from what is wanted",
		"l4_connection_policy: - port [80] -> pool q",
		"2. update VirtualService admin/x (after 1): differs from what is wanted",
		"services: - 81",
		"3. delete Pool admin/q (after 1, 2): no longer wanted",
	)
	wantPlan(t, "a group is made of two pools",
		Diff(set(pool("p"), pool("q"), group("g", "p", "q")), nil, Policy{}),
		"Service core/amf: 3 to create",
		"1. create Pool admin/p: the Controller doesn't have it",
		"health monitor: System-TCP",
		"2. create Pool admin/q: the Controller doesn't have it",
		"health monitor: System-TCP",
		"3. create PoolGroup admin/g (after 1, 2): the Controller doesn't have it",
		"member: p, ratio 1",
		"member: q, ratio 1",
	)
}

// TestSecurityPolicy: which clients may connect is settled before a port is opened, and a policy goes after the reference to it.
func TestSecurityPolicy(t *testing.T) {
	open, closed := set(vip("x", ""), virtualService("x", 80)), set(vip("x", ""), security("x", "10.0.0.0"), guarded("x", 80))
	wantPlan(t, "ranges come", Diff(closed, holds(open), Policy{}),
		"Service core/amf: 1 to create, 1 to update",
		"1. create NetworkSecurityPolicy admin/x: the Controller doesn't have it",
		"rule: deny clients that are not in 10.0.0.0/8",
		"2. update VirtualService admin/x (after 1): differs from what is wanted",
		"network_security_policy_ref: (unset) -> x",
	)
	open.Objects[1].Ruled = []string{"network_security_policy_ref"}
	wantPlan(t, "ranges go", Diff(open, holds(closed), Policy{}),
		"Service core/amf: 1 to update, 1 to delete",
		"1. update VirtualService admin/x: differs from what is wanted",
		"network_security_policy_ref: x -> (unset)",
		"2. delete NetworkSecurityPolicy admin/x (after 1): no longer wanted",
	)
	wider := set(vip("x", ""), security("x", "11.0.0.0"), guarded("x", 80, 81))
	wantPlan(t, "ranges change, and a port comes", Diff(wider, holds(closed), Policy{}),
		"Service core/amf: 2 to update",
		"1. update NetworkSecurityPolicy admin/x: differs from what is wanted",
		"rules: deny clients that are not in 10.0.0.0/8 -> deny clients that are not in 11.0.0.0/8",
		"2. update VirtualService admin/x (after 1): differs from what is wanted",
		"services: + 81",
	)
	two, turned := set(security("x", "10.0.0.0", "11.0.0.0")), set(security("x", "11.0.0.0", "10.0.0.0"))
	wantPlan(t, "the order of prefixes means nothing", Diff(two, holds(turned), Policy{}), "Service core/amf: no change")
	logged := holds(closed)
	theirs := security("x", "10.0.0.0").Body.(*models.NetworkSecurityPolicy)
	theirs.Rules[0].Log = new(true)
	logged[1].Body = theirs
	if p := Diff(set(vip("x", ""), security("x", "12.0.0.0"), guarded("x", 80)), logged, Policy{}); len(p.Steps) != 1 || !*p.Steps[0].Fields[0].To.([]*models.NetworkSecurityRule)[0].Log {
		t.Errorf("the network team's logging doesn't survive: %s", p.String())
	}
}

// TestPersistenceProfile: a profile comes before the pools that refer to it and goes after them; and since others may refer to
// it, it is not made anew with an owner's other objects.
func TestPersistenceProfile(t *testing.T) {
	one, two := set(profile("c-1", 1), sticky("p", "c-1")), set(profile("c-2", 2), sticky("p", "c-2"))
	wantPlan(t, "another timeout", Diff(two, holds(one), Policy{}),
		"Service core/amf: 1 to create, 1 to update, 1 to delete",
		"1. create ApplicationPersistenceProfile admin/c-2: the Controller doesn't have it",
		"persistence: PERSISTENCE_TYPE_CLIENT_IP_ADDRESS for 2 min",
		"2. update Pool admin/p (after 1): differs from what is wanted",
		"application_persistence_profile_ref: c-1 -> c-2",
		"3. delete ApplicationPersistenceProfile admin/c-1 (after 1, 2): no longer wanted",
	)
	masked := profile("c-1", 9)
	masked.Body.(*models.ApplicationPersistenceProfile).IPPersistenceProfile.IPMask = new(uint32(24))
	p := Diff(set(profile("c-1", 1)), holds(set(masked)), Policy{})
	wantPlan(t, "edited by hand", p,
		"Service core/amf: 1 to update",
		"1. update ApplicationPersistenceProfile admin/c-1: differs from what is wanted",
		"ip_persistence_profile: 9 min -> 1 min",
	)
	if mask := p.Steps[0].Fields[0].To.(*models.IPPersistenceProfile).IPMask; mask == nil || *mask != 24 {
		t.Errorf("the network team's mask doesn't survive: %v", mask)
	}
	here, there := set(append(one.Objects, virtualService("x", 80))...), set(append(one.Objects, virtualService("y", 80))...)
	for _, s := range Diff(there, holds(here), Policy{Replace: true}).Steps {
		if s.Key.Kind == model.PersistenceProfile {
			t.Errorf("a replacement of everything touches what others use: %s", s.Op)
		}
	}
}

// TestKeep: a field whose wanted value isn't known stays, and nothing is replaced while something isn't known.
func TestKeep(t *testing.T) {
	want := wanted("10.10.0.2")
	want.Objects[1].Keep = []string{"servers"}
	p := Diff(want, holds(wanted("10.10.0.1", "10.1.0.1")), Policy{Replace: true})
	if !p.Empty() || len(p.Findings) != 1 || p.Findings[0].Reason != model.ReasonNeedsReplacement || p.Replaces != "" {
		t.Errorf("plan %s", p.String())
	}
}

// TestOrderOfSteps: each step needs only earlier ones, and those that references ask for.
func TestOrderOfSteps(t *testing.T) {
	full := set(vip("x", ""), profile("c", 5), pool("p"), pool("q"), group("g", "p", "q"), policy("x", "p"),
		security("x", "10.0.0.0"), guarded("x", 80))
	made, torn := Diff(full, nil, Policy{}), Teardown(amf, holds(full), "the owner is gone")
	for _, p := range []Plan{made, torn, Diff(wanted("10.10.0.2"), holds(wanted("10.10.0.1")), Policy{Replace: true})} {
		for i, s := range p.Steps {
			for _, n := range s.Needs {
				if n >= i {
					t.Errorf("step %d needs step %d:\n%s", i+1, n+1, p.String())
				}
			}
		}
	}
	needs := func(p Plan, op Op, step, earlier model.Kind) bool {
		i := slices.IndexFunc(p.Steps, func(s Step) bool { return s.Op == op && s.Key.Kind == step })
		return slices.ContainsFunc(p.Steps[i].Needs, func(n int) bool { return p.Steps[n].Op == op && p.Steps[n].Key.Kind == earlier })
	}
	for _, kind := range model.Written {
		for _, to := range model.Written {
			if got, want := needs(made, Create, kind, to), kind.Refers(to); got != want {
				t.Errorf("creating %s waits for %s: %v, want %v", kind, to, got, want)
			}
			if kind.Refers(to) && !needs(torn, Delete, to, kind) {
				t.Errorf("deleting %s doesn't wait for %s, which refers to it", to, kind)
			}
		}
	}
}

func TestTeardown(t *testing.T) {
	wantPlan(t, "teardown", Teardown(amf, holds(wanted("", "10.1.0.1")), "the Service is being deleted"),
		"Service core/amf: 4 to delete",
		"1. delete VirtualService admin/x: the Service is being deleted",
		"2. delete L4PolicySet admin/x (after 1): the Service is being deleted",
		"3. delete VsVip admin/x (after 1): the Service is being deleted",
		"4. delete Pool admin/p (after 1, 2, 3): the Service is being deleted",
	)
	if p := Teardown(amf, nil, "x"); !p.Empty() {
		t.Errorf("of nothing: %s", p.String())
	}
}

// TestReplacement: what can't be changed in place is reported, and made anew only with consent, and only once.
func TestReplacement(t *testing.T) {
	want, have := wanted("10.10.0.2", "10.1.0.9"), holds(wanted("10.10.0.1", "10.1.0.1"))
	what := "VsVip vip: 10.10.0.1 -> 10.10.0.2"
	p := Diff(want, have, Policy{})
	if len(p.Steps) != 1 || p.Steps[0].Key.Kind != model.Pool || len(p.Findings) != 1 || !strings.Contains(p.Findings[0].Message, what) {
		t.Errorf("without consent: %s", p.String())
	}
	p = Diff(want, have, Policy{Replace: true})
	wantPlan(t, "with consent", p,
		"Service core/amf: 2 to create, 1 to update, 2 to delete",
		"1. delete VirtualService admin/x: replaced, because it can't be changed in place: "+what,
		"2. delete VsVip admin/x (after 1): replaced, because it can't be changed in place: "+what,
		"3. create VsVip admin/x (after 1, 2): replaces the deleted one",
		"address: 10.10.0.2",
		"4. update Pool admin/p: differs from what is wanted",
		"servers: 10.1.0.1:80 -> 10.1.0.9:80",
		"5. create VirtualService admin/x (after 1, 3): replaces the deleted one",
		"network profile: System-TCP-Proxy",
		"Service Engine group: Default-Group",
		"listens on: 80",
	)
	if p.Replaces != what {
		t.Errorf("replaces %q", p.Replaces)
	}
	p = Diff(want, have, Policy{Replace: true, Replaced: p.Replaces})
	if p.Replaces != "" || len(p.Findings) != 1 || !strings.Contains(p.Findings[0].Message, "was replaced and is still not") {
		t.Errorf("a second time: %s", p.String())
	}
}

// TestReplacementOfAPool: what the VirtualService refers to can't go without it.
func TestReplacementOfAPool(t *testing.T) {
	in := func(vrf string) *model.Set {
		s := wanted("", "10.1.0.1")
		s.Objects[1].Body.(*models.Pool).VrfRef = ref(model.VrfContext, vrf)
		return s
	}
	p := Diff(in("green"), holds(in("global")), Policy{Replace: true})
	if p.Replaces != "Pool vrf_ref: global -> green" || p.summary() != "4 to create, 4 to delete" {
		t.Errorf("plan %s", p.String())
	}
}

// TestMovedVirtualService: one under another key than the wanted one goes on as it is, or is replaced as a whole.
func TestMovedVirtualService(t *testing.T) {
	have := holds(wanted("", "10.1.0.1"))
	want := wanted("", "10.1.0.1")
	for i := range want.Objects {
		want.Objects[i].Key.Tenant = "green"
	}
	what := "VirtualService admin/x -> VirtualService green/x"
	if p := Diff(want, have, Policy{}); !p.Empty() || len(p.Findings) != 1 || !strings.Contains(p.Findings[0].Message, what) {
		t.Errorf("without consent: %s", p.String())
	}
	if p := Diff(want, have, Policy{Replace: true}); p.Replaces != what || p.summary() != "4 to create, 4 to delete" {
		t.Errorf("with consent: %s", p.String())
	}
	none := set()
	if p := Diff(none, have, Policy{}); !p.Empty() || !strings.Contains(p.String(), "VirtualService admin/x -> nothing") {
		t.Errorf("nothing is wanted: %s", p.String())
	}
}

// TestReferencesAreComparedByUUID: a name that another object has got is another reference.
func TestReferencesAreComparedByUUID(t *testing.T) {
	have := holds(wanted("", "10.1.0.1"))
	vs := *have[3].Body.(*models.VirtualService)
	vs.VsvipRef = new("https://controller/api/vsvip/vsvip-7#x")
	have[3].Body = &vs
	uuid := "vsvip-7"
	uuids := func(kind model.Kind, tenant, name string) (string, bool) {
		return uuid, kind == model.VsVip && tenant == "admin" && name == "x"
	}
	if p := Diff(wanted("", "10.1.0.1"), have, Policy{UUIDs: uuids}); !p.Empty() || len(p.Findings) != 0 {
		t.Errorf("the same: %s", p.String())
	}
	uuid = "vsvip-8"
	if p := Diff(wanted("", "10.1.0.1"), have, Policy{UUIDs: uuids}); p.Repairs == "" || len(p.Findings) != 0 ||
		p.summary() != "1 to create, 1 to delete" {
		t.Errorf("another, so that the VirtualService serves nobody: %s", p.String())
	}
}

// TestOthersFieldsSurvive: markers of others stay, and what is ours inside an element is put right around what isn't.
func TestOthersFieldsSurvive(t *testing.T) {
	want, have := pool("p", "10.1.0.1"), pool("p", "10.1.0.1")
	want.Body.(*models.Pool).Markers = model.Markers("c1", model.MarkNamespace, "core")
	have.Body.(*models.Pool).Markers = append(model.Markers("c1"), &models.RoleFilterMatchLabel{Key: new("team"), Values: []string{"net"}})
	have.Body.(*models.Pool).Servers[0].Description = new("theirs")
	have.Body.(*models.Pool).Servers[0].Enabled = new(false)
	p := Diff(set(want), holds(set(have)), Policy{})
	wantPlan(t, "update", p,
		"Service core/amf: 1 to update",
		"1. update Pool admin/p: differs from what is wanted",
		"servers: 10.1.0.1:80 disabled -> 10.1.0.1:80",
		"markers: + Namespace=core",
	)
	body := have.Body.(*models.Pool)
	Apply(body, p.Steps[0].Fields)
	if server := body.Servers[0]; *server.Description != "theirs" || !*server.Enabled {
		t.Errorf("the server is %+v", server)
	}
	if model.Mark(body.Markers, "team") != "net" || model.Mark(body.Markers, model.MarkNamespace) != "core" {
		t.Errorf("the markers are %s", encode(t, body.Markers))
	}
	if p = Diff(set(want), holds(set(have)), Policy{}); !p.Empty() {
		t.Errorf("afterwards: %s", p.String())
	}
}

func TestFieldsAreReset(t *testing.T) {
	body := &models.Pool{Description: new("x"), GracefulDisableTimeout: new(int32(5))}
	Apply(body, []FieldChange{{Field: "graceful_disable_timeout", From: new(int32(5))}})
	if !reflect.DeepEqual(body, &models.Pool{Description: new("x")}) {
		t.Errorf("the pool is %+v", body)
	}
}
