// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/avi-l4-operator/avi-l4-operator/internal/apply"
	"github.com/avi-l4-operator/avi-l4-operator/internal/avi"
	"github.com/avi-l4-operator/avi-l4-operator/internal/mirror"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/outcome"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim"
)

// fault is what can be made to go wrong on the simulated Controller.
type fault = avisim.Fault

// world is a simulated Controller with an engine that has read it, and the Service core/amf with two ports.
type world struct {
	*testing.T
	sim    *avisim.Server
	mirror *mirror.Mirror
	engine *Engine

	cfg *settings.Settings
	svc *corev1.Service
	ns  *corev1.Namespace
}

const (
	amfName  = "c1--core-amf"
	sctpPool = "c1--core-amf-SCTP-38412"
	tcpPool  = "c1--core-amf-TCP-80"

	threeHours = "c1--client-ip-180" // the profile of Kubernetes' default timeout
)

var amf = model.Owner{Kind: model.ServiceOwner, Namespace: "core", Name: "amf"}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := unreadWorld(t)
	w.load()
	return w
}

// unreadWorld is a world of which the engine has read nothing yet.
func unreadWorld(t *testing.T) *world {
	t.Helper()
	return worldOf(t, avisim.Options{}, "")
}

// worldOf is an unread world with a Controller of a kind, to which the newest API version spoken is the configured one.
func worldOf(t *testing.T, o avisim.Options, apiVersion string) *world {
	t.Helper()
	w := &world{T: t}
	var err error
	w.sim, err = avisim.New(o)
	w.must(err)
	w.must(w.sim.Start())
	t.Cleanup(w.sim.Close)
	client, err := avi.New(avi.Config{
		Host: w.sim.Host(), Username: "admin", Password: "avi123$%", CA: w.sim.CAPEM(), Timeout: 5 * time.Second, Version: apiVersion,
	})
	w.must(err)
	t.Cleanup(func() { client.Close(context.Background()) })
	w.mirror = mirror.New(client, logr.Discard())
	w.mirror.SetScope(mirror.Scope{ClusterName: "c1", CreatedBy: "ako-c1", Cloud: "Default-Cloud", Tenant: "admin"})
	w.engine = &Engine{Mirror: w.mirror, Applier: &apply.Applier{Client: client, Mirror: w.mirror}}
	w.cfg, _, err = settings.Parse(map[string]string{
		"clusterName": "c1", "controllerIP": w.sim.Host(), "cloudName": "Default-Cloud", "autoFQDN": "disabled",
		"vipNetworkList": `[{"networkName":"vip-network","cidr":"10.10.0.0/16"}]`,
	}, map[string][]byte{"username": []byte("admin"), "password": []byte("avi123$%")}, "avi-system")
	w.must(err)
	w.ns = &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "core", Annotations: map[string]string{}}}
	w.svc = &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "amf", Namespace: "core", Annotations: map[string]string{}}}
	w.svc.Spec.Type = corev1.ServiceTypeLoadBalancer
	w.svc.Spec.Ports = []corev1.ServicePort{
		{Name: "n2", Port: 38412, Protocol: corev1.ProtocolSCTP},
		{Name: "http", Port: 80, Protocol: corev1.ProtocolTCP},
	}
	return w
}

// input is what the reconciler would gather for the Service: one endpoint behind each of its ports.
func (w *world) input() translate.Input {
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: w.svc.Name + "-1", Namespace: w.svc.Namespace},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{"10.1.0.1"}, Conditions: discoveryv1.EndpointConditions{Ready: new(true)}}},
	}
	for _, p := range w.svc.Spec.Ports {
		slice.Ports = append(slice.Ports, discoveryv1.EndpointPort{Name: new(p.Name), Port: new(p.Port), Protocol: new(p.Protocol)})
	}
	return translate.Input{
		Owner: translate.Service{Object: w.svc}, Namespace: w.ns, Settings: w.cfg,
		Backends: []translate.Backend{{Service: w.svc, Slices: []*discoveryv1.EndpointSlice{slice}, SlicesRead: true}},
	}
}

func (w *world) serve() outcome.Outcome {
	w.Helper()
	return w.engine.Serve(w.Context(), w.input())
}

// served serves and wants it done.
func (w *world) served() outcome.Outcome {
	w.Helper()
	o := w.serve()
	if o.State() != outcome.Done {
		w.Fatalf("state %d: %+v; findings %+v", o.State(), o.Failure(), o.Findings)
	}
	return o
}

// remove removes what the Service has, from its namespace's tenant.
func (w *world) remove() (int, error) {
	w.Helper()
	return w.engine.Remove(w.Context(), amf, translate.Tenant(w.cfg, amf.Kind, w.ns), amfName, "the test says so")
}

func (w *world) load() {
	w.Helper()
	w.must(w.mirror.Load(w.Context()))
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// wrote lists the writes since the log was last asked, as "POST pool 201".
func (w *world) wrote() (out []string) {
	for _, r := range w.sim.Writes() {
		if r.Type != "login" && r.Type != "logout" {
			out = append(out, fmt.Sprintf("%s %s %d", r.Method, r.Type, r.Status))
		}
	}
	w.sim.ResetRequests()
	return out
}

// holds lists the objects of c1 that the Controller has, as "pool admin/c1--core-amf-TCP-80".
func (w *world) holds() (out []string) {
	for _, kind := range model.Written {
		for _, o := range w.sim.Objects(string(kind)) {
			if name, _ := o["name"].(string); strings.HasPrefix(name, "c1--") {
				ref, _ := o["tenant_ref"].(string)
				_, tenant, _ := strings.Cut(ref, "#")
				out = append(out, fmt.Sprintf("%s %s/%s", kind, tenant, name))
			}
		}
	}
	slices.Sort(out)
	return out
}

// wantHeld compares what the Controller has of c1.
func (w *world) wantHeld(when string, want ...string) {
	w.Helper()
	slices.Sort(want)
	if got := w.holds(); !slices.Equal(got, want) {
		w.Errorf("%s: the Controller holds %q, want %q", when, got, want)
	}
}

// all are the objects of the Service in a tenant.
func all(tenant string) []string {
	return []string{
		"vsvip " + tenant + "/" + amfName, "pool " + tenant + "/" + sctpPool, "pool " + tenant + "/" + tcpPool,
		"l4policyset " + tenant + "/" + amfName, "virtualservice " + tenant + "/" + amfName,
	}
}

// allFields makes the Service ask for all that a Service can have.
func (w *world) allFields() {
	w.svc.Spec.LoadBalancerSourceRanges = []string{"10.0.0.0/8"}
	w.svc.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
}

// withFields are the objects of such a Service.
func withFields(tenant string) []string {
	return append(all(tenant), "networksecuritypolicy "+tenant+"/"+amfName, "applicationpersistenceprofile "+tenant+"/"+threeHours)
}

// wantFinding wants a finding of a reason whose message has the text.
func (w *world) wantFinding(o outcome.Outcome, reason, text string) {
	w.Helper()
	for _, f := range o.Findings {
		if f.Reason == reason && strings.Contains(f.Message, text) {
			return
		}
	}
	w.Errorf("no finding %s says %q: %+v", reason, text, o.Findings)
}

// wantUnchanged wants that nothing was written since the log was last asked.
func (w *world) wantUnchanged() {
	w.Helper()
	if got := w.wrote(); got != nil {
		w.Errorf("writes %q, want none", got)
	}
}

// wantFailure wants the outcome to have failed, for a reason of a class, at an object of a kind.
func (w *world) wantFailure(o outcome.Outcome, reason string, class outcome.Class, kind model.Kind, text string) {
	w.Helper()
	f := o.Failure()
	if o.State() != outcome.Failed || f.Reason != reason || f.Class != class || f.Kind != kind || !strings.Contains(f.Message, text) {
		w.Errorf("state %d, failure %+v, want %s of class %d at %q that says %q", o.State(), f, reason, class, kind, text)
	}
}

// refuse has the Controller refuse what is done to pools of a name, until the answer is called.
func (w *world) refuse(method, name string) (heal func()) {
	return w.sim.Inject(fault{
		Method: method, Type: "pool", ObjectName: regexp.MustCompile(name), Status: 403, Body: `{"error":"not allowed"}`,
	})
}
