// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/avi-l4-operator/avi-l4-operator/internal/apply"
	"github.com/avi-l4-operator/avi-l4-operator/internal/avi"
	"github.com/avi-l4-operator/avi-l4-operator/internal/engine"
	"github.com/avi-l4-operator/avi-l4-operator/internal/gather"
	"github.com/avi-l4-operator/avi-l4-operator/internal/mirror"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/plan"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
	"github.com/avi-l4-operator/avi-l4-operator/internal/status"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim"
)

// sharedWorld is a simulated Controller and a fake API server with the reconcilers of Services and of shared VIPs, which run when
// they are told to.
type sharedWorld struct {
	site *site // of the guard
	*testing.T
	client   client.WithWatch
	sim      *avisim.Server
	mirror   *mirror.Mirror
	services *owners[*corev1.Service]
	groups   *owners[*gather.Group]
	cfg      *settings.Settings
	settings *settings.Store
	born     time.Time // of the next Service
}

// indexedBuilder registers gather's indexes with a fake client.
type indexedBuilder struct{ *fake.ClientBuilder }

func (b indexedBuilder) IndexField(_ context.Context, o client.Object, field string, of client.IndexerFunc) error {
	b.WithIndex(o, field, of)
	return nil
}

func newSharedWorld(t *testing.T) *sharedWorld {
	t.Helper()
	w := &sharedWorld{T: t, born: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	scheme := runtime.NewScheme()
	w.must(AddToScheme(scheme))
	b := indexedBuilder{fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(&corev1.Service{})}
	w.must(gather.SetupIndexes(t.Context(), b))
	w.client = b.WithObjects(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "core"}}).Build()
	var err error
	w.sim, err = avisim.New(avisim.Options{})
	w.must(err)
	w.must(w.sim.Start())
	t.Cleanup(w.sim.Close)
	w.start()
	return w
}

// start makes the operator anew, as a restart does: it knows nothing but what it reads.
func (w *sharedWorld) start() {
	w.Helper()
	c, err := avi.New(avi.Config{Host: w.sim.Host(), Username: "admin", Password: "avi123$%", CA: w.sim.CAPEM(), Timeout: 5 * time.Second})
	w.must(err)
	w.Cleanup(func() { c.Close(context.Background()) })
	w.mirror = mirror.New(c, logr.Discard())
	w.mirror.SetScope(mirror.Scope{ClusterName: "c1", CreatedBy: "ako-c1", Cloud: "Default-Cloud", Tenant: "admin"})
	w.must(w.mirror.Load(w.Context()))
	cfg, _, err := settings.Parse(map[string]string{
		"clusterName": "c1", "controllerIP": w.sim.Host(), "vipNetworkList": `[{"networkName":"vip-network","cidr":"10.10.0.0/16"}]`,
	}, map[string][]byte{"username": []byte("admin"), "password": []byte("avi123$%")}, "avi-system")
	w.must(err)
	store := new(settings.Store)
	store.Set(cfg)
	w.cfg, w.settings = cfg, store
	w.site = newSite(w.T, 0)
	d := Deps{
		Client: w.client, Live: w.client, Settings: store, APIs: NewAPIs(), Guard: w.site.guard,
		Gather: &gather.Reader{Client: w.client, Serves: func(gather.API) bool { return false }, Synced: func(gather.API) bool { return false }},
		Engine: &engine.Engine{Mirror: w.mirror, Applier: &apply.Applier{Client: c, Mirror: w.mirror}},
		Status: &status.Writer{Client: w.client, Recorder: events.NewFakeRecorder(10000), Now: time.Now},
		Lead:   func() {}, Freed: func(string) {}, Moved: func([]model.Owner) {},
	}
	w.services, w.groups = newServices(d, logr.Discard()), newSharedVIPs(d, logr.Discard())
}

func (w *sharedWorld) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// create creates a Service with one port and one endpoint; group is that of its annotation.
func (w *sharedWorld) create(name, group string, protocol corev1.Protocol, port int32, change ...func(*corev1.Service)) {
	w.Helper()
	w.born = w.born.Add(time.Minute)
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "core", UID: types.UID(name), CreationTimestamp: metav1.NewTime(w.born)}}
	svc.Spec.Type = corev1.ServiceTypeLoadBalancer
	svc.Spec.Ports = []corev1.ServicePort{{Name: "p", Protocol: protocol, Port: port}}
	if group != "" {
		svc.Annotations = map[string]string{translate.AnnotationSharedVIP: group}
	}
	for _, c := range change {
		c(svc)
	}
	w.must(w.client.Create(w.Context(), svc))
	w.must(w.client.Create(w.Context(), &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: name, Namespace: "core", Labels: map[string]string{discoveryv1.LabelServiceName: name}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: new("p"), Protocol: &protocol, Port: new(int32(9090))}},
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{"10.244.1.5"}, Conditions: discoveryv1.EndpointConditions{Ready: new(true)}}},
	}))
}

func (w *sharedWorld) read(name string) *corev1.Service {
	w.Helper()
	svc := new(corev1.Service)
	w.must(w.client.Get(w.Context(), types.NamespacedName{Namespace: "core", Name: name}, svc))
	return svc
}

func (w *sharedWorld) update(name string, change func(*corev1.Service)) {
	w.Helper()
	svc := w.read(name)
	change(svc)
	w.must(w.client.Update(w.Context(), svc))
}

func (w *sharedWorld) annotate(name, key, value string) {
	w.Helper()
	w.update(name, func(svc *corev1.Service) { annotate(svc, key, value) })
}

// settle has everything looked at until the Controller is written no more, and returns the writes. The fake API server doesn't keep
// annotations that come with a status, so that it is written again and again: what it is written is no measure.
func (w *sharedWorld) settle(groups ...string) (wrote []string) {
	w.Helper()
	for range 30 {
		quiet := 0
		for ; quiet < 3; quiet++ {
			w.sim.ResetRequests()
			w.look(groups)
			writes := w.sim.Writes()
			for _, r := range writes {
				wrote = append(wrote, r.Method+" "+r.Type)
			}
			if len(writes) > 0 {
				break
			}
		}
		if quiet == 3 {
			return wrote
		}
	}
	w.Fatalf("it doesn't settle: %v", wrote)
	return nil
}

// look has everything looked at once.
func (w *sharedWorld) look(groups []string) {
	w.Helper()
	var list corev1.ServiceList
	w.must(w.client.List(w.Context(), &list))
	for i := range list.Items {
		w.run(w.services, list.Items[i].Name)
	}
	for _, g := range groups {
		w.run(w.groups, g)
	}
}

func (w *sharedWorld) run(r interface {
	Reconcile(context.Context, ctrl.Request) (ctrl.Result, error)
}, name string) {
	w.Helper()
	_, err := r.Reconcile(w.Context(), ctrl.Request{NamespacedName: types.NamespacedName{Namespace: "core", Name: name}})
	if err != nil {
		w.Fatalf("%s: %v", name, err)
	}
}

// names are the pools and VirtualServices on the Controller, without the prefix.
func (w *sharedWorld) names() (out []string) {
	for _, kind := range []string{"virtualservice", "pool"} {
		for _, o := range w.sim.Objects(kind) {
			out = append(out, strings.TrimPrefix(fmt.Sprint(o["name"]), "c1--core-"))
		}
	}
	slices.Sort(out)
	return out
}

func (w *sharedWorld) want(names ...string) {
	w.Helper()
	if got := w.names(); !slices.Equal(got, names) {
		w.Fatalf("the Controller holds %q, want %q", got, names)
	}
}

// told is the reason of condition Accepted, with "!" before it if the condition is false.
func (w *sharedWorld) told(name, want string) {
	w.Helper()
	c := apimeta.FindStatusCondition(w.read(name).Status.Conditions, status.Accepted)
	got := "nothing"
	if c != nil {
		got = map[metav1.ConditionStatus]string{metav1.ConditionTrue: "", metav1.ConditionFalse: "!"}[c.Status] + c.Reason
	}
	if got != want {
		w.Fatalf("%s is told %s, want %s: %+v", name, got, want, c)
	}
}

func (w *sharedWorld) uuid(name string) string {
	o, ok := w.sim.Object("virtualservice", "admin", "c1--core-"+name)
	if !ok {
		w.Fatalf("there is no VirtualService %s", name)
	}
	return fmt.Sprint(o["uuid"])
}

func (w *sharedWorld) address(name string) string {
	w.Helper()
	i := w.read(name).Status.LoadBalancer.Ingress
	if len(i) == 0 {
		return ""
	}
	return i[0].IP
}

// TestUnconfiguredInstanceLeavesASharedVIP: a second instance without valid settings says so on the Services that nobody has judged yet,
// and on none that the first one serves or refuses.
func TestUnconfiguredInstanceLeavesASharedVIP(t *testing.T) {
	w := newSharedWorld(t)
	w.create("amf", "n2", "SCTP", 38412)
	w.settle("n2")
	w.create("upf", "n2", "SCTP", 38412)
	w.settle("n2")
	w.told("amf", "Accepted")
	w.told("upf", "!ServiceConflict")
	w.create("smf", "n2", "TCP", 8080)
	before := map[string]string{}
	for _, name := range []string{"amf", "upf"} {
		before[name] = w.read(name).ResourceVersion
	}
	d := w.groups.Deps
	d.Settings = new(settings.Store)
	_, _, err := settings.Parse(nil, nil, "second-system")
	d.Settings.Reject(err)
	second := newSharedVIPs(d, logr.Discard())
	for range 3 {
		w.run(second, "n2")
	}
	w.told("smf", "!ConfigurationInvalid")
	for name, version := range before {
		if now := w.read(name); now.ResourceVersion != version {
			t.Errorf("%s was written to: %+v", name, now.Status.Conditions)
		}
	}
	w.settle("n2")
	w.told("smf", "Accepted")

	// One that is deleted meanwhile says why it stays.
	w.must(w.client.Delete(w.Context(), w.read("smf")))
	w.run(second, "n2")
	if c := apimeta.FindStatusCondition(w.read("smf").Status.Conditions, status.Programmed); c == nil || c.Reason != "ConfigurationInvalid" {
		t.Errorf("smf stays, and its status says %+v", c)
	}
	w.settle("n2")
	w.want("amf-n2-SCTP-38412", "n2")
}

func TestServicesJoinAndLeaveASharedVIP(t *testing.T) {
	w := newSharedWorld(t)
	w.create("amf", "n2", "SCTP", 38412)
	w.settle("n2")
	vs, vip := w.uuid("n2"), w.address("amf")
	w.create("smf", "n2", "TCP", 8080)
	w.create("own", "", "TCP", 8080)
	w.settle("n2")
	w.want("amf-n2-SCTP-38412", "n2", "own", "own-TCP-8080", "smf-n2-TCP-8080")
	if w.address("smf") != vip || vip == "" || w.address("own") == vip {
		t.Errorf("addresses are %s, %s, %s", vip, w.address("smf"), w.address("own"))
	}
	own := w.uuid("own")

	// A Service that is served alone stays so without consent.
	w.update("own", func(svc *corev1.Service) { svc.Spec.Ports[0].Port = 9999 })
	w.settle("n2")
	w.annotate("own", translate.AnnotationSharedVIP, "n2")
	if wrote := w.settle("n2"); len(wrote) > 0 {
		t.Errorf("without consent: %v", wrote)
	}
	w.told("own", "NeedsReplacement")
	w.annotate("own", translate.AnnotationAllowReplacement, "true")
	w.settle("n2")
	w.want("amf-n2-SCTP-38412", "n2", "own-n2-TCP-9999", "smf-n2-TCP-8080")
	w.told("own", "Accepted")

	// And one of a group stays in it.
	w.annotate("own", translate.AnnotationAllowReplacement, "")
	w.annotate("own", translate.AnnotationSharedVIP, "")
	if wrote := w.settle("n2"); len(wrote) > 0 {
		t.Errorf("without consent to leave: %v", wrote)
	}
	w.told("own", "NeedsReplacement")
	w.annotate("own", translate.AnnotationSharedVIP, "n4")
	if wrote := w.settle("n2", "n4"); len(wrote) > 0 {
		t.Errorf("without consent to move: %v", wrote)
	}
	w.annotate("own", translate.AnnotationAllowReplacement, "true")
	w.settle("n2", "n4")
	w.want("amf-n2-SCTP-38412", "n2", "n4", "own-n4-TCP-9999", "smf-n2-TCP-8080")
	w.annotate("own", translate.AnnotationSharedVIP, "")
	w.settle("n2", "n4")
	w.want("amf-n2-SCTP-38412", "n2", "own", "own-TCP-9999", "smf-n2-TCP-8080")
	w.told("own", "Accepted")
	if w.uuid("n2") != vs || w.address("amf") != vip || w.uuid("own") == own {
		t.Error("the group was made anew, or the Service of its own was not")
	}

	// The members go one by one.
	for _, name := range []string{"amf", "smf", "own"} {
		w.must(w.client.Delete(t.Context(), w.read(name)))
		w.settle("n2", "n4")
		err := w.client.Get(t.Context(), types.NamespacedName{Namespace: "core", Name: name}, new(corev1.Service))
		if !apierrors.IsNotFound(err) {
			t.Errorf("%s is held: %v", name, err)
		}
		if name == "amf" && (w.uuid("n2") != vs || w.address("smf") != vip) {
			t.Error("the group moved when a Service left it")
		}
	}
	w.want()
}

// TestARestartFindsItsSharedVIPs, also those that Services no longer ask for.
func TestARestartFindsItsSharedVIPs(t *testing.T) {
	w := newSharedWorld(t)
	w.create("amf", "n2", "SCTP", 38412)
	w.create("clash", "n2", "SCTP", 38412)
	w.create("smf", "n2", "TCP", 8080)
	w.settle("n2")
	w.told("clash", "!ServiceConflict")
	w.told("amf", "Accepted")
	w.annotate("smf", translate.AnnotationSharedVIP, "")
	w.settle("n2")
	w.start()
	if wrote := w.settle("n2"); len(wrote) > 0 {
		t.Errorf("the restart wrote %v", wrote)
	}
	w.told("smf", "NeedsReplacement")
	w.want("amf-n2-SCTP-38412", "n2", "smf-n2-TCP-8080")
	// The port's holder goes while nobody looks, and the other one gets the port.
	w.must(w.client.Delete(t.Context(), w.read("amf")))
	w.start()
	w.settle("n2")
	w.want("clash-n2-SCTP-38412", "n2", "smf-n2-TCP-8080")
	w.told("clash", "Accepted")
}

// TestAServiceThatCannotBeServedIsLetGo although the rest of its group can't be served either.
func TestAServiceThatCannotBeServedIsLetGo(t *testing.T) {
	w := newSharedWorld(t)
	w.create("bad", "n2", "SCTP", 1, func(svc *corev1.Service) { svc.Spec.LoadBalancerIP = "nonsense" })
	w.create("amf", "n2", "SCTP", 38412)
	w.settle("n2")
	w.told("bad", "!InvalidAddress")
	w.told("amf", "Accepted")
	w.want("amf-n2-SCTP-38412", "n2")
	w.must(w.client.Delete(t.Context(), w.read("amf")))
	w.settle("n2")
	w.want()
	w.must(w.client.Delete(t.Context(), w.read("bad")))
	w.settle("n2")
	if err := w.client.Get(t.Context(), types.NamespacedName{Namespace: "core", Name: "bad"}, new(corev1.Service)); !apierrors.IsNotFound(err) {
		t.Errorf("bad is held: %v", err)
	}
}

// TestAServiceOfAnotherTypeLeavesItsSharedVIP without being asked.
func TestAServiceOfAnotherTypeLeavesItsSharedVIP(t *testing.T) {
	w := newSharedWorld(t)
	w.create("amf", "n2", "SCTP", 38412)
	w.create("smf", "n2", "TCP", 8080)
	w.settle("n2")
	w.update("smf", func(svc *corev1.Service) { svc.Spec.Type = corev1.ServiceTypeClusterIP })
	w.settle("n2")
	w.want("amf-n2-SCTP-38412", "n2")
	if svc := w.read("smf"); len(svc.Finalizers) > 0 || len(svc.Status.Conditions) > 0 {
		t.Errorf("smf has finalizers %v, conditions %v", svc.Finalizers, svc.Status.Conditions)
	}
	w.update("smf", func(svc *corev1.Service) { svc.Spec.Type = corev1.ServiceTypeLoadBalancer })
	w.settle("n2")
	w.want("amf-n2-SCTP-38412", "n2", "smf-n2-TCP-8080")
}

// TestASeniorServiceThatJoinsLateDecidesNothing: it would switch off everybody's traffic.
func TestASeniorServiceThatJoinsLateDecidesNothing(t *testing.T) {
	w := newSharedWorld(t)
	w.create("old", "", "UDP", 8805, func(svc *corev1.Service) {
		svc.Annotations = map[string]string{translate.AnnotationDisableTraffic: "true", translate.AnnotationAllowReplacement: "true"}
	})
	w.create("amf", "n2", "SCTP", 38412)
	w.settle("n2")
	w.annotate("old", translate.AnnotationSharedVIP, "n2")
	w.settle("n2")
	w.want("amf-n2-SCTP-38412", "n2", "old-n2-UDP-8805")
	w.told("old", "SharedVIPMismatch")
	if vs, _ := w.sim.Object("virtualservice", "admin", "c1--core-n2"); vs["traffic_enabled"] != true {
		t.Error("traffic was switched off")
	}
	w.start()
	if wrote := w.settle("n2"); len(wrote) > 0 {
		t.Errorf("the restart wrote %v", wrote)
	}
	w.told("amf", "Accepted")
}

// TestAFailureForOneServiceIsItsOwn: what the Controller refuses to do to one Service's pool doesn't fail the others.
func TestAFailureForOneServiceIsItsOwn(t *testing.T) {
	w := newSharedWorld(t)
	w.create("amf", "n2", "SCTP", 38412)
	w.create("smf", "n2", "TCP", 8080)
	w.settle("n2")
	w.sim.Inject(avisim.Fault{
		Method: "PATCH", Type: "pool", ObjectName: regexp.MustCompile("smf"), Status: 400, Body: `{"error":"no such server"}`,
	})
	var slice discoveryv1.EndpointSlice
	w.must(w.client.Get(t.Context(), types.NamespacedName{Namespace: "core", Name: "smf"}, &slice))
	slice.Endpoints[0].Addresses = []string{"10.244.1.99"}
	w.must(w.client.Update(t.Context(), &slice))
	n2 := ctrl.Request{NamespacedName: types.NamespacedName{Namespace: "core", Name: "n2"}}
	if _, err := w.groups.Reconcile(t.Context(), n2); err == nil {
		t.Error("the refusal is forgotten")
	}
	for name, want := range map[string]metav1.ConditionStatus{"amf": metav1.ConditionTrue, "smf": metav1.ConditionFalse} {
		if c := apimeta.FindStatusCondition(w.read(name).Status.Conditions, status.Programmed); c == nil || c.Status != want {
			t.Errorf("%s: %+v", name, c)
		}
	}
}

// TestAnUnclaimedServiceKeepsItsPlace: a Service that changes while it is claimed is claimed all the same, and a younger one that asks
// for its port doesn't get it.
// TestASeniorServiceThatIsFixedLateDecidesNothing: as long as it can't be served it hasn't joined, whatever its age.
func TestASeniorServiceThatIsFixedLateDecidesNothing(t *testing.T) {
	w := newSharedWorld(t)
	w.create("old", "n2", "UDP", 8805, func(svc *corev1.Service) {
		svc.Annotations[translate.AnnotationDisableTraffic], svc.Annotations[translate.AnnotationSourceRanges] = "true", "nonsense"
	})
	w.create("amf", "n2", "SCTP", 38412)
	w.settle("n2")
	w.want("amf-n2-SCTP-38412", "n2")
	w.told("old", "!InvalidSourceRange")
	w.told("amf", "Accepted")
	w.annotate("old", translate.AnnotationSourceRanges, "10.0.0.0/8")
	w.settle("n2")
	w.want("amf-n2-SCTP-38412", "n2")
	w.told("old", "!SharedVIPMismatch")
	w.annotate("old", translate.AnnotationSourceRanges, "")
	w.settle("n2")
	w.want("amf-n2-SCTP-38412", "n2", "old-n2-UDP-8805")
	w.told("old", "SharedVIPMismatch")
	vs, _ := w.sim.Object("virtualservice", "admin", "c1--core-n2")
	if vs["traffic_enabled"] != true || vs["network_security_policy_ref"] != nil {
		t.Errorf("traffic is %v, and the policy %v", vs["traffic_enabled"], vs["network_security_policy_ref"])
	}
	w.start()
	if wrote := w.settle("n2"); len(wrote) > 0 {
		t.Errorf("the restart wrote %v", wrote)
	}
}

func TestAnUnclaimedServiceKeepsItsPlace(t *testing.T) {
	w := newSharedWorld(t)
	refused := 0
	w.client = interceptor.NewClient(w.client, interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			if o.GetName() == "amf" && refused == 0 {
				refused++
				return apierrors.NewConflict(corev1.Resource("services"), "amf", errors.New("the object has been modified"))
			}
			return c.Patch(ctx, o, p, opts...)
		},
	})
	w.start()
	w.create("amf", "n2", "SCTP", 38412)
	w.create("smf", "n2", "SCTP", 38412)
	w.create("web", "n2", "TCP", 80)
	w.settle("n2")
	w.told("smf", "!ServiceConflict")
	w.want("amf-n2-SCTP-38412", "n2", "web-n2-TCP-80")
	if refused == 0 {
		t.Error("nothing was refused")
	}
}

// TestServicesThatJoinAtOnce join in the order of their age, after those that were served before.
func TestServicesThatJoinAtOnce(t *testing.T) {
	w := newSharedWorld(t)
	for i := range 6 {
		w.create(fmt.Sprintf("late%d", 5-i), "other", "SCTP", 38412)
	}
	w.create("web", "n2", "TCP", 80)
	w.settle("n2")
	for i := range 6 {
		w.annotate(fmt.Sprintf("late%d", i), translate.AnnotationSharedVIP, "n2")
	}
	w.settle("n2")
	w.want("late5-n2-SCTP-38412", "n2", "web-n2-TCP-80")
}

// TestSettingsLetSharedServicesGo: they are let go by mistake, and held, and by wish.
func TestSettingsLetSharedServicesGo(t *testing.T) {
	w := newSharedWorld(t)
	for i := range 7 {
		w.create(fmt.Sprintf("s%d", i), "n2", "SCTP", int32(5000+i))
	}
	w.settle("n2")
	all := w.names()
	if len(all) != 8 {
		t.Fatalf("the Controller holds %q", all)
	}
	vs := w.uuid("n2")
	strict := *w.cfg
	strict.DefaultLB = false
	w.settings.Set(&strict)
	w.settle("n2")
	w.want(all...)
	w.settings.Set(w.cfg)
	w.settle("n2")
	w.want(all...)
	if w.uuid("n2") != vs {
		t.Error("the VirtualService was made anew")
	}
	gone := *w.cfg
	gone.DeleteConfig = true
	w.settings.Set(&gone)
	w.settle("n2")
	w.want()
	for i := range 7 {
		if svc := w.read(fmt.Sprintf("s%d", i)); len(svc.Finalizers)+len(svc.Status.Conditions)+len(svc.Status.LoadBalancer.Ingress) > 0 {
			t.Errorf("%s: finalizers %v, status %+v", svc.Name, svc.Finalizers, svc.Status)
		}
	}
	w.settings.Set(w.cfg)
	w.settle("n2")
	w.want(all...)
}

// TestAServiceOfAnotherInstanceIsLeftToIt while the others of its shared VIP are served.
func TestAServiceOfAnotherInstanceIsLeftToIt(t *testing.T) {
	w := newSharedWorld(t)
	w.create("theirs", "n2", "TCP", 8080, func(svc *corev1.Service) {
		svc.Finalizers = []string{gather.Finalizer}
		svc.Annotations[gather.AnnotationServedBy] = "ako-other@other/Default-Cloud"
	})
	w.create("amf", "n2", "SCTP", 38412)
	w.settle("n2")
	w.want("amf-n2-SCTP-38412", "n2")
	w.told("theirs", "!ServedByAnotherInstance")
	w.update("theirs", func(svc *corev1.Service) { svc.Finalizers = nil; annotate(svc, gather.AnnotationServedBy, "") })
	w.settle("n2")
	w.want("amf-n2-SCTP-38412", "n2", "theirs-n2-TCP-8080")
	w.told("theirs", "Accepted")
}

// TestACrashAtAnyStepOfASharedVIP: the operator stops at each write of a Service's coming and going, and the next one ends it. The
// other Service is never without its pool, and the VirtualService is never another one.
func TestACrashAtAnyStepOfASharedVIP(t *testing.T) {
	w := newSharedWorld(t)
	w.create("amf", "n2", "SCTP", 38412)
	w.settle("n2")
	vs, vip := w.uuid("n2"), w.address("amf")
	crashes := 0
	crash := func(method, kind string) {
		hits := w.sim.FaultHits()
		remove := w.sim.Inject(avisim.Fault{Method: method, Type: kind, ResetBefore: true})
		for range 2 { // the first may only claim
			_, _ = w.groups.Reconcile(t.Context(), ctrl.Request{NamespacedName: types.NamespacedName{Namespace: "core", Name: "n2"}})
		}
		remove()
		if w.sim.FaultHits() > hits {
			crashes++
		}
		w.start()
		w.settle("n2")
		if w.uuid("n2") != vs || w.address("amf") != vip || !slices.Contains(w.names(), "amf-n2-SCTP-38412") {
			t.Errorf("%s %s: amf's VirtualService was made anew", method, kind)
		}
	}
	for i, kind := range []string{"pool", "l4policyset", "virtualservice"} {
		name := fmt.Sprintf("smf%d", i)
		w.create(name, "n2", "TCP", 8080)
		crash(map[bool]string{true: "POST", false: "PATCH"}[kind == "pool"], kind)
		w.want("amf-n2-SCTP-38412", "n2", name+"-n2-TCP-8080")
		w.must(w.client.Delete(t.Context(), w.read(name)))
		crash(map[bool]string{true: "DELETE", false: "PATCH"}[kind == "pool"], kind)
		w.want("amf-n2-SCTP-38412", "n2")
		if err := w.client.Get(t.Context(), types.NamespacedName{Namespace: "core", Name: name}, new(corev1.Service)); !apierrors.IsNotFound(err) {
			t.Errorf("%s is held: %v", name, err)
		}
	}
	if crashes != 6 {
		t.Errorf("%d crashes, want 6", crashes)
	}
}

// TestSharedVIPsWithoutServicesAreFound by the sweep, which asks the API server itself.
func TestSharedVIPsWithoutServicesAreFound(t *testing.T) {
	w := newSharedWorld(t)
	w.create("amf", "n2", "SCTP", 38412)
	w.create("smf", "n4", "TCP", 8080)
	w.settle("n2", "n4")
	w.update("amf", func(svc *corev1.Service) { svc.Finalizers = nil })
	w.must(w.client.Delete(t.Context(), w.read("amf")))
	live, err := w.groups.Remaining(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	n2, n4 := w.groups.ownerAt(types.NamespacedName{Namespace: "core", Name: "n2"}), w.groups.ownerAt(types.NamespacedName{Namespace: "core", Name: "n4"})
	if _, ok := live[n2]; ok || !live[n4] {
		t.Errorf("the groups are %v", live)
	}
	for owner, want := range map[model.Owner]bool{n2: true, n4: false} {
		if absent, err := w.groups.Absent(t.Context(), owner); err != nil || absent != want {
			t.Errorf("%s: absent %v, %v", owner, absent, err)
		}
	}
	w.settle("n2", "n4") // without the sweep's word nothing happens
	w.want("amf-n2-SCTP-38412", "n2", "n4", "smf-n4-TCP-8080")
	w.groups.orphan(types.NamespacedName{Namespace: "core", Name: "n2"})
	w.settle("n2", "n4")
	w.want("n4", "smf-n4-TCP-8080")
}

// TestWhatVanishedServicesLeftIsRemoved although a Service that isn't served still names their shared VIP.
func TestWhatVanishedServicesLeftIsRemoved(t *testing.T) {
	w := newSharedWorld(t)
	w.create("amf", "n2", "SCTP", 38412)
	w.create("plain", "n2", "TCP", 8080, func(svc *corev1.Service) { svc.Spec.Type = corev1.ServiceTypeClusterIP })
	w.settle("n2")
	w.want("amf-n2-SCTP-38412", "n2")
	w.update("amf", func(svc *corev1.Service) { svc.Finalizers = nil })
	w.must(w.client.Delete(t.Context(), w.read("amf")))
	w.settle("n2")
	w.want("amf-n2-SCTP-38412", "n2") // nobody's word, and all there is
	h, err := w.site.guard.ledger.read(t.Context(), plan.GuardDeselected)
	w.must(err)
	w.site.release = []string{h.ID}
	w.settle("n2")
	w.want()
	if svc := w.read("plain"); len(svc.Finalizers)+len(svc.Status.Conditions) > 0 {
		t.Errorf("a Service that isn't served was written: %+v", svc)
	}
}
