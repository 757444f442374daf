// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/vmware/alb-sdk/go/models"

	"github.com/avi-l4-operator/avi-l4-operator/internal/avi"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim"
)

// world is a Controller, a client and a mirror whose news are kept.
type world struct {
	*testing.T
	sim    *avisim.Server
	client *avi.Client
	mirror *Mirror

	mu     sync.Mutex
	news   []model.Owner
	ailing []model.Owner
	all    int // times that every owner was to look
}

func newWorld(t *testing.T) *world {
	t.Helper()
	sim, err := avisim.New(avisim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := sim.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	client, err := avi.New(avi.Config{Host: sim.Host(), Username: "admin", Password: "avi123$%", CA: sim.CAPEM(), Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(context.Background()) })
	w := &world{T: t, sim: sim, client: client, mirror: New(client, logr.Discard())}
	w.mirror.Changed = func(owners []model.Owner) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if owners == nil {
			w.all++
		}
		w.news = append(w.news, owners...)
	}
	w.mirror.HealthChanged = func(owners []model.Owner) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.ailing = append(w.ailing, owners...)
	}
	w.mirror.SetScope(Scope{ClusterName: "c1", CreatedBy: "ako-c1", Cloud: "Default-Cloud", Tenant: "admin"})
	return w
}

func (w *world) load() {
	w.Helper()
	if err := w.mirror.Load(w.Context()); err != nil {
		w.Fatal(err)
	}
}

// until waits for something that another goroutine is about to do.
func (w *world) until(what string, done func() bool) {
	w.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			w.Fatalf("%s: not within 20 s", what)
		}
	}
}

// told returns the owners that were told since the last call, and felt those whose health was.
func (w *world) told() []model.Owner { return w.since(&w.news) }
func (w *world) felt() []model.Owner { return w.since(&w.ailing) }

func (w *world) since(list *[]model.Owner) (out []model.Owner) {
	w.mu.Lock()
	defer w.mu.Unlock()
	out, *list = *list, nil
	return out
}

var amf = model.Owner{Kind: model.ServiceOwner, Namespace: "core", Name: "amf"}

func pool(name, createdBy, cluster string) map[string]any {
	return map[string]any{"name": name, "created_by": createdBy, "markers": []any{
		map[string]any{"key": "clustername", "values": []any{cluster}},
		map[string]any{"key": "Namespace", "values": []any{"core"}},
		map[string]any{"key": "ServiceName", "values": []any{"amf"}},
		map[string]any{"key": "Port", "values": []any{name[strings.LastIndex(name, "-")+1:]}},
	}}
}

func (w *world) create(kind string, body map[string]any) {
	w.Helper()
	if _, err := w.sim.Create(kind, "admin", body); err != nil {
		w.Fatal(err)
	}
}

func key(kind model.Kind, name string) model.Key {
	return model.Key{Kind: kind, Tenant: "admin", Name: name}
}

func TestNothingIsKnownBeforeTheFirstLoad(t *testing.T) {
	w := newWorld(t)
	if w.mirror.Err() == nil || w.mirror.Facts() != nil {
		t.Error("an empty mirror claims to know")
	}
	w.load()
	if err := w.mirror.Err(); err != nil {
		t.Error(err)
	}
	f := w.mirror.Facts()
	if f.LicenseTier != "ENTERPRISE" || f.Version != "30.2.1" || f.Cloud.Type != "CLOUD_NONE" || f.ClusterUUID == "" ||
		!slices.Contains(f.DNSDomains, "demo.avi.local") || !f.Has(model.NetworkProfile, "System-SCTP-Proxy") {
		t.Errorf("facts are %+v", f)
	}
	if n, ok := f.Network("vip-network", ""); !ok || n.VRF != "global" || len(n.Subnets) != 2 || n.Subnets[0].String() != "10.10.0.0/16" {
		t.Errorf("the network is %+v", n)
	}
	if w.all != 1 {
		t.Errorf("everybody was told %d times, want once", w.all)
	}
}

func TestDomainsAreReadInOneForm(t *testing.T) {
	w := newWorld(t)
	cloud, _ := w.sim.Object("cloud", "admin", "Default-Cloud")
	for _, profile := range w.sim.Objects("ipamdnsproviderprofile") {
		if !strings.Contains(fmt.Sprint(cloud["dns_provider_ref"]), fmt.Sprint(profile["uuid"])) {
			continue
		}
		err := w.sim.Edit("ipamdnsproviderprofile", "admin", fmt.Sprint(profile["name"]), func(o map[string]any) {
			o["internal_profile"] = map[string]any{"dns_service_domain": []any{
				map[string]any{"domain_name": ".Lab.example.org", "pass_through": true},
				map[string]any{"domain_name": "avi.example.com.", "pass_through": true},
			}}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	w.load()
	if got := strings.Join(w.mirror.Facts().DNSDomains, " "); got != "avi.example.com lab.example.org" {
		t.Errorf("domains %s", got)
	}
}

func TestDefaultVRFOfTheTenant(t *testing.T) {
	w := newWorld(t)
	w.load()
	if got := w.mirror.Facts().TenantVRF; got != "" {
		t.Errorf("the tenant admin has a VRF of its own: %s", got)
	}
	if _, err := w.sim.Create("tenant", "admin", map[string]any{"name": "telco"}); err != nil {
		t.Fatal(err)
	}
	for name, isDefault := range map[string]bool{"telco-default": true, "telco-other": false} {
		body := map[string]any{"name": name, "cloud_ref": "/api/cloud?name=Default-Cloud", "system_default": isDefault}
		if _, err := w.sim.Create("vrfcontext", "telco", body); err != nil {
			t.Fatal(err)
		}
	}
	w.mirror.SetScope(Scope{ClusterName: "c1", CreatedBy: "ako-c1", Cloud: "Default-Cloud", Tenant: "telco"})
	w.load()
	if got := w.mirror.Facts().TenantVRF; got != "telco-default" || !w.mirror.Facts().Has(model.VrfContext, got) {
		t.Errorf("the tenant's VRF is %q", got)
	}
}

func TestOnlyOursIsMirrored(t *testing.T) {
	w := newWorld(t)
	w.create("pool", pool("c1--core-amf-SCTP-1", "ako-c1", "c1"))
	w.create("pool", pool("c1--core-amf-SCTP-2", "somebody", "c1"))  // another created_by
	w.create("pool", pool("c1--core-amf-SCTP-3", "ako-c1", "other")) // another cluster's marker
	w.create("pool", pool("eu-c1--core-amf-SCTP-4", "ako-c1", "c1")) // a name that only contains the prefix
	w.create("vsvip",
		map[string]any{"name": "eu-c1--core-amf", "vip": []any{map[string]any{"vip_id": "0", "auto_allocate_ip": true}},
			"markers": pool("", "", "eu-c1")["markers"]})
	ingress := pool("c1--core-amf.example.com_-ing-amf", "ako-c1", "c1") // AKO's, for an Ingress to the same Service
	ingress["markers"] = append(ingress["markers"].([]any)[:3], map[string]any{"key": "IngressName", "values": []any{"ing"}})
	w.create("pool", ingress)
	w.load()
	if got := w.mirror.All(); len(got) != 1 || got[0].Key != key(model.Pool, "c1--core-amf-SCTP-1") || got[0].Owner != amf {
		t.Errorf("mirrored: %+v", got)
	}
}

// TestObjectsThatDoNotSayWhoseTheyAre stay known once they were ours, until they say that they are another's.
func TestObjectsThatDoNotSayWhoseTheyAre(t *testing.T) {
	w := newWorld(t)
	const name = "c1--core-amf-SCTP-1"
	w.create("pool", pool(name, "ako-c1", "c1"))
	w.load()
	for field, value := range map[string]any{"markers": nil, "created_by": "", "markers ": []any{}} {
		field = strings.TrimSpace(field)
		w.edit(name, field, value)
		w.load()
		if all := w.mirror.All(); len(all) != 1 || all[0].Owner != amf {
			t.Errorf("%s is %v: mirrored are %v", field, value, all)
		}
	}
	w.edit(name, "created_by", "somebody")
	w.load()
	if all := w.mirror.All(); len(all) != 0 {
		t.Errorf("another's is mirrored: %v", all)
	}
}

// edit sets a field of a pool behind the mirror's back.
func (w *world) edit(name, field string, value any) {
	w.Helper()
	if err := w.sim.Edit("pool", "admin", name, func(o map[string]any) { o[field] = value }); err != nil {
		w.Fatal(err)
	}
}

func TestDriftIsToldToItsOwner(t *testing.T) {
	w := newWorld(t)
	const name = "c1--core-amf-SCTP-1"
	w.create("pool", pool(name, "ako-c1", "c1"))
	w.load()
	w.told()
	w.load()
	if got := w.told(); len(got) > 0 {
		t.Errorf("told %v although nothing changed", got)
	}
	if err := w.sim.Edit("pool", "admin", name, func(o map[string]any) { o["connection_ramp_duration"] = 5 }); err != nil {
		t.Fatal(err)
	}
	w.load()
	if got := w.told(); len(got) > 0 {
		t.Errorf("told %v of a field that isn't ours", got)
	}
	if err := w.sim.Edit("pool", "admin", name, func(o map[string]any) { o["graceful_disable_timeout"] = 5 }); err != nil {
		t.Fatal(err)
	}
	w.load()
	if got := w.told(); !slices.Equal(got, []model.Owner{amf}) {
		t.Errorf("told %v", got)
	}
	if err := w.sim.Remove("pool", "admin", name); err != nil {
		t.Fatal(err)
	}
	w.load()
	if got := w.told(); !slices.Equal(got, []model.Owner{amf}) || len(w.mirror.All()) != 0 {
		t.Errorf("told %v, mirrored %v", got, w.mirror.All())
	}
}

// TestHealthIsToldOfWhatServes: a pool's health is told to its owner once there is a VirtualService.
func TestHealthIsToldOfWhatServes(t *testing.T) {
	w := newWorld(t)
	look := func() []model.Owner {
		t.Helper()
		if err := w.mirror.LoadHealth(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := w.told(); len(got) > 0 {
			t.Errorf("told %v of their objects", got)
		}
		return w.felt()
	}
	const name = "c1--core-amf-SCTP-1"
	w.create("pool", pool(name, "ako-c1", "c1"))
	w.load()
	w.told()
	if got := look(); len(got) > 0 {
		t.Errorf("told %v of a pool that nothing uses", got)
	}
	w.create("vsvip", map[string]any{"name": "c1--core-amf", "vip": []any{map[string]any{"vip_id": "0", "auto_allocate_ip": true}}})
	vs := pool("c1--core-amf", "ako-c1", "c1")
	vs["services"], vs["vsvip_ref"] = []any{map[string]any{"port": 1}}, "/api/vsvip?name=c1--core-amf"
	w.create("virtualservice", vs)
	w.load()
	w.told()
	if got := look(); !slices.Equal(got, []model.Owner{amf}) {
		t.Errorf("told %v of a VirtualService", got)
	}
	if got := look(); len(got) > 0 {
		t.Errorf("told %v although nothing changed", got)
	}
	if err := w.sim.Edit("pool", "admin", name, func(o map[string]any) {
		o["servers"] = []any{map[string]any{"ip": map[string]any{"addr": "10.244.1.5", "type": "V4"}, "port": 1}}
	}); err != nil {
		t.Fatal(err)
	}
	if got := look(); !slices.Equal(got, []model.Owner{amf}) {
		t.Errorf("told %v of a pool that serves", got)
	}
}

// A load that was under way when the operator wrote must not undo what the write's answer said.
func TestOwnWritesBeatAnOlderList(t *testing.T) {
	w := newWorld(t)
	w.create("pool", pool("c1--core-amf-SCTP-1", "ako-c1", "c1"))
	w.create("pool", pool("c1--core-amf-SCTP-2", "ako-c1", "c1"))
	w.load()
	w.told()
	// The list of VirtualServices is slow, so that the pools' is in before the writes.
	remove := w.sim.Inject(avisim.Fault{Method: "GET", Type: "virtualservice", Delay: 300 * time.Millisecond})
	pools := avisim.Counter{Method: "GET", Route: "/api/pool", Status: 200}
	listed := w.sim.Counters()[pools]
	done := make(chan error, 1)
	go func() { done <- w.mirror.Load(w.Context()) }()
	w.until("the list of pools", func() bool { return w.sim.FaultHits() > 0 && w.sim.Counters()[pools] > listed })
	first := w.mirror.Get(key(model.Pool, "c1--core-amf-SCTP-1"))
	answer, err := w.client.Patch(w.Context(), model.Pool, "admin", first.UUID, avi.Patch{Replace: map[string]any{"graceful_disable_timeout": 9}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.mirror.Wrote(model.Pool, answer); err != nil {
		t.Fatal(err)
	}
	second := w.mirror.Get(key(model.Pool, "c1--core-amf-SCTP-2"))
	if err := w.client.Delete(w.Context(), model.Pool, "admin", second.UUID); err != nil {
		t.Fatal(err)
	}
	w.mirror.Gone(second.Key)
	answer, err = w.client.Create(w.Context(), model.Pool, "admin", pool("c1--core-amf-SCTP-3", "ako-c1", "c1"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.mirror.Wrote(model.Pool, answer); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	remove()
	check := func(when string) {
		t.Helper()
		raw, err := json.Marshal(w.mirror.Get(first.Key).Body)
		if err != nil || !json.Valid(raw) || w.mirror.Get(second.Key) != nil || w.mirror.Get(key(model.Pool, "c1--core-amf-SCTP-3")) == nil {
			t.Errorf("%s: second %v, third %v", when, w.mirror.Get(second.Key), w.mirror.Get(key(model.Pool, "c1--core-amf-SCTP-3")))
		}
		if got := w.mirror.Get(first.Key).Body.(*models.Pool).GracefulDisableTimeout; got == nil || *got != 9 {
			t.Errorf("%s: the first pool is the old one", when)
		}
	}
	check("after the older list")
	if got := w.told(); len(got) > 0 {
		t.Errorf("told %v of its own writes", got)
	}
	w.load()
	check("after a newer list")
}

func TestAFailedLoadChangesNothing(t *testing.T) {
	w := newWorld(t)
	w.create("pool", pool("c1--core-amf-SCTP-1", "ako-c1", "c1"))
	w.load()
	for _, kind := range []string{"vsvip", "pool", "l4policyset", "virtualservice", "healthmonitor", "cloud", "systemconfiguration"} {
		remove := w.sim.Inject(avisim.Fault{Method: "GET", Type: kind, Status: 500})
		if err := w.mirror.Load(t.Context()); err == nil {
			t.Errorf("no error although %s could not be read", kind)
		}
		remove()
		if len(w.mirror.All()) != 1 || w.mirror.Err() != nil {
			t.Errorf("%s unread: mirrored %v, error %v", kind, w.mirror.All(), w.mirror.Err())
		}
	}
}

// A VsVip's markers don't name its owner. It belongs to the owner of the VirtualService of its name, and to nobody who
// merely asks for that name.
func TestVsVipBelongsToItsVirtualService(t *testing.T) {
	w := newWorld(t)
	const name = "c1--core-amf"
	marks := pool("", "", "c1")["markers"]
	w.create("vsvip",
		map[string]any{"name": name, "vip": []any{map[string]any{"vip_id": "0", "auto_allocate_ip": true}}, "markers": marks.([]any)[:1]})
	w.load()
	rival := model.Owner{Kind: model.ServiceOwner, Namespace: "core-a", Name: "mf"}
	if n := len(w.mirror.Of(amf, name)); n != 1 {
		t.Errorf("the owner of the name has %d objects, want the VsVip", n)
	}
	w.create("virtualservice", map[string]any{"name": name, "created_by": "ako-c1", "markers": marks, "vsvip_ref": "/api/vsvip?name=" + name,
		"application_profile_ref": "/api/applicationprofile?name=System-L4-Application", "services": []any{map[string]any{"port": 80}}})
	w.load()
	if n := len(w.mirror.Of(amf, name)); n != 2 {
		t.Errorf("the owner has %d objects, want VsVip and VirtualService", n)
	}
	if n := len(w.mirror.Of(rival, name)); n != 0 {
		t.Errorf("the rival has %d objects", n)
	}
}

func TestANewScopeForgetsTheOld(t *testing.T) {
	w := newWorld(t)
	w.create("pool", pool("c1--core-amf-SCTP-1", "ako-c1", "c1"))
	w.load()
	w.mirror.SetScope(Scope{ClusterName: "c2", CreatedBy: "ako-c2", Cloud: "Default-Cloud", Tenant: "admin"})
	if w.mirror.Err() == nil || len(w.mirror.All()) > 0 {
		t.Error("the old scope's objects are still known")
	}
	w.load()
	if len(w.mirror.All()) > 0 || w.mirror.Err() != nil {
		t.Errorf("mirrored %v, error %v", w.mirror.All(), w.mirror.Err())
	}
}

// Expire makes a load that was under way worthless: its lists may be from before another leader's writes.
func TestExpireDiscardsALoadUnderWay(t *testing.T) {
	w := newWorld(t)
	w.load()
	remove := w.sim.Inject(avisim.Fault{Method: "GET", Type: "virtualservice", Delay: 200 * time.Millisecond})
	done := make(chan error, 1)
	go func() { done <- w.mirror.Load(w.Context()) }()
	w.until("the load", func() bool { return w.sim.FaultHits() > 0 })
	w.mirror.Expire()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	remove()
	if w.mirror.Err() == nil {
		t.Error("the discarded load counts")
	}
	w.load()
	if err := w.mirror.Err(); err != nil {
		t.Error(err)
	}
}

func TestUnknownCloudIsSaid(t *testing.T) {
	w := newWorld(t)
	w.mirror.SetScope(Scope{ClusterName: "c1", CreatedBy: "ako-c1", Cloud: "Nowhere", Tenant: "admin"})
	err := w.mirror.Load(t.Context())
	if err == nil || fmt.Sprint(w.mirror.Err()) != err.Error() {
		t.Fatalf("load says %v, the mirror %v", err, w.mirror.Err())
	}
	if want := `no cloud "Nowhere"`; !strings.Contains(err.Error(), want) {
		t.Errorf("error %q lacks %q", err, want)
	}
}

// TestCommonObjects: an object without an owner belongs to all whose objects refer to it; AKO's of the same kind are not ours.
func TestCommonObjects(t *testing.T) {
	w := newWorld(t)
	const profile = "c1--client-ip-5"
	marks := pool("", "", "c1")["markers"].([]any)[:1]
	for _, name := range []string{profile, "c1--0123456789abcdef"} {
		w.create("applicationpersistenceprofile", map[string]any{
			"name": name, "persistence_type": "PERSISTENCE_TYPE_CLIENT_IP_ADDRESS", "markers": marks,
		})
	}
	hss := model.Owner{Kind: model.ServiceOwner, Namespace: "core", Name: "hss"}
	for _, owner := range []model.Owner{amf, hss} {
		o := pool("c1--core-"+owner.Name+"-SCTP-1", "ako-c1", "c1")
		o["markers"].([]any)[2] = map[string]any{"key": "ServiceName", "values": []any{owner.Name}}
		o["application_persistence_profile_ref"] = "/api/applicationpersistenceprofile?name=" + profile
		w.create("pool", o)
	}
	w.create("pool", pool("c1--core-amf-SCTP-2", "ako-c1", "c1"))
	w.load()
	common := w.mirror.Common()
	if len(common) != 1 || common[0].Key.Name != profile || len(w.mirror.Users(common[0])) != 2 {
		t.Fatalf("common: %+v", common)
	}
	if got := w.mirror.Used([]*model.Observed{w.mirror.Get(key(model.Pool, "c1--core-amf-SCTP-1"))}); len(got) != 1 {
		t.Errorf("the pool uses %+v", got)
	}
	if got := w.mirror.Used([]*model.Observed{w.mirror.Get(key(model.Pool, "c1--core-amf-SCTP-2"))}); len(got) != 0 {
		t.Errorf("a pool without a profile uses %+v", got)
	}
	w.told()
	if err := w.sim.Edit("applicationpersistenceprofile", "admin", profile, func(o map[string]any) {
		o["ip_persistence_profile"] = map[string]any{"ip_persistent_timeout": 3}
	}); err != nil {
		t.Fatal(err)
	}
	w.load()
	got := w.told()
	slices.SortFunc(got, func(a, b model.Owner) int { return strings.Compare(a.Name, b.Name) })
	if !slices.Equal(got, []model.Owner{amf, hss}) {
		t.Errorf("told %v", got)
	}
}

// TestForbiddenKind: an account without the right to read what few Services need serves the others, and what was known of the
// kind stands.
func TestForbiddenKind(t *testing.T) {
	w := newWorld(t)
	policy := pool("c1--core-amf", "ako-c1", "c1")
	w.create("networksecuritypolicy", policy)
	remove := w.sim.Inject(avisim.Fault{Method: "GET", Type: "networksecuritypolicy", Status: 403, Body: `{"error":"not allowed"}`})
	w.load()
	k := key(model.NetworkSecurityPolicy, "c1--core-amf")
	if w.mirror.Err() != nil || w.mirror.Get(k) != nil {
		t.Errorf("unread: error %v, policy %v", w.mirror.Err(), w.mirror.Get(k))
	}
	remove()
	w.load()
	remove = w.sim.Inject(avisim.Fault{Method: "GET", Type: "networksecuritypolicy", Status: 403, Body: `{"error":"not allowed"}`})
	w.load()
	remove()
	if w.mirror.Get(k) == nil {
		t.Error("what was known is forgotten")
	}
	for _, status := range []int{401, 404, 500} {
		remove := w.sim.Inject(avisim.Fault{Method: "GET", Type: "networksecuritypolicy", Status: status})
		if err := w.mirror.Load(t.Context()); err == nil {
			t.Errorf("status %d passes for an answer", status)
		}
		remove()
	}
}
