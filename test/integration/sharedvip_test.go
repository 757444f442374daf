// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/avi-l4-operator/avi-l4-operator/controllers"
	"github.com/avi-l4-operator/avi-l4-operator/internal/gather"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim"
	"github.com/avi-l4-operator/avi-l4-operator/test/suite"
)

var (
	n2      = suite.Port("SCTP", 38412)
	webPort = suite.Port("TCP", 8080)
)

// groupOf is a shared VIP, as the operator's controller of them names it.
func groupOf(e *suite.Env, name string) *gather.Group {
	return gather.NewGroup(types.NamespacedName{Namespace: e.Namespace, Name: name})
}

// member creates a Service of a group with one endpoint.
func member(e *suite.Env, name, group, address string, ports ...corev1.ServicePort) *corev1.Service {
	e.T.Helper()
	svc := e.SharedVIP(name, group, ports...)
	e.Create(svc, e.Slice(svc, address))
	return svc
}

// nothingLeft waits until nothing of ours is on the Controller.
func nothingLeft(e *suite.Env) {
	e.T.Helper()
	e.Eventually("nothing is left", func() error { return e.Complete() })
}

// TestSharedVIPStory: a Service makes the group, another joins and leaves it, and with the last the group's objects go. Nobody
// else moves.
func TestSharedVIPStory(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	amf := member(e, "amf", "n2", "10.244.1.5", n2)
	vip := e.Programmed(amf)
	alone := e.SharedServes("n2", "SCTP/38412 amf [10.244.1.5:9090]")
	smf := member(e, "smf", "n2", "10.244.1.6", webPort)
	if got := e.Programmed(smf); got != vip {
		t.Errorf("smf is served on %s, amf on %s", got, vip)
	}
	same(t, alone, e.SharedServes("n2", "SCTP/38412 amf [10.244.1.5:9090]", "TCP/8080 smf [10.244.1.6:9090]"))
	e.Condition(amf, "Healthy", yes, "Up")
	for _, svc := range []*corev1.Service{amf, smf} {
		i := svc.Status.LoadBalancer.Ingress
		if want := svc.Name + "." + e.Namespace + ".demo.avi.local"; len(i) != 1 || i[0].Hostname != want || i[0].IP != vip || len(i[0].Ports) > 0 {
			t.Errorf("%s: ingress is %+v, want %s on %s", svc.Name, i, want, vip)
		}
		if !slices.Contains(svc.Finalizers, gather.Finalizer) {
			t.Errorf("%s has finalizers %v", svc.Name, svc.Finalizers)
		}
	}
	if m := e.Condition(amf, "Programmed", yes, "Programmed"); strings.Contains(m, "8080") {
		t.Errorf("amf is told of smf's port: %s", m)
	}
	e.Sim.ResetRequests()
	suite.Update(e, e.Slice(smf), func(s *discovery) { s.Endpoints = []discoveryEndpoint{endpoint("10.244.1.7", true, false)} })
	e.SharedServes("n2", "SCTP/38412 amf [10.244.1.5:9090]", "TCP/8080 smf [10.244.1.7:9090]")
	wantCalls(t, e, "PATCH pool")
	e.Delete(smf)
	gone(e, smf)
	same(t, alone, e.SharedServes("n2", "SCTP/38412 amf [10.244.1.5:9090]"))
	if got := e.Programmed(amf); got != vip {
		t.Errorf("amf went from %s to %s", vip, got)
	}
	e.Delete(amf)
	gone(e, amf)
	nothingLeft(e)
}

// TestSharedVIPPortClash is refused at the younger Service alone, which gets the port when it becomes free.
func TestSharedVIPPortClash(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	amf := member(e, "amf", "n2", "10.244.1.5", n2)
	vip := e.Programmed(amf)
	e.SharedServes("n2", "SCTP/38412 amf [10.244.1.5:9090]")
	e.Sim.ResetRequests()
	upf := member(e, "upf", "n2", "10.244.1.6", n2)
	e.Condition(upf, "Accepted", no, "ServiceConflict")
	e.Told(upf, "ServiceConflict", "Service amf has it")
	if len(upf.Status.LoadBalancer.Ingress) > 0 {
		t.Errorf("a Service of which no port is served has %+v", upf.Status.LoadBalancer.Ingress)
	}
	aLaterSecond(e, upf) // which is the senior of smf for sure
	smf := member(e, "smf", "n2", "10.244.1.6", n2, webPort)
	e.Condition(smf, "Accepted", yes, "ServiceConflict")
	e.Programmed(smf)
	e.LookedAt(e.Touch(), "sharedvip", groupOf(e, "n2")) // now that a younger one than upf is served
	ports := smf.Status.LoadBalancer.Ingress[0].Ports
	if len(ports) != 2 || ports[0].Error == nil || *ports[0].Error != "ako.vmware.com/ServiceConflict" || ports[1].Error != nil {
		t.Errorf("the ports of smf are %+v", ports)
	}
	e.SharedServes("n2", "SCTP/38412 amf [10.244.1.5:9090]", "TCP/8080 smf [10.244.1.6:9090]")
	e.Condition(amf, "Accepted", yes, "Accepted")
	e.Delete(amf)
	gone(e, amf)
	tree := e.SharedServes("n2", "SCTP/38412 upf [10.244.1.6:9090]", "TCP/8080 smf [10.244.1.6:9090]")
	if tree.Address != vip {
		t.Errorf("the address went from %s to %s", vip, tree.Address)
	}
	e.Condition(upf, "Accepted", yes, "Accepted")
	e.Programmed(upf)
}

// TestSharedVIPWithConsentOnly: a Service that is served moves into a group, and out of one, only if it says that it may be
// interrupted. The others don't move.
func TestSharedVIPWithConsentOnly(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	amf := member(e, "amf", "n2", "10.244.1.5", n2)
	e.Programmed(amf)
	group := e.SharedServes("n2", "SCTP/38412 amf [10.244.1.5:9090]")
	smf := e.Service("smf", webPort)
	e.Create(smf, e.Slice(smf, "10.244.1.6"))
	own := e.Programmed(smf)
	uuid := e.Object("virtualservice", e.Name(smf))["uuid"]
	e.Sim.ResetRequests()

	suite.Update(e, smf, annotate(translate.AnnotationSharedVIP, "n2"))
	e.Condition(smf, "Accepted", yes, "NeedsReplacement")
	since := e.Touch()
	e.LookedAt(since, "sharedvip", groupOf(e, "n2"))
	e.LookedAt(since, "service", smf)
	if w := e.Written(); len(w) > 0 {
		t.Errorf("without consent: %v", w)
	}
	suite.Update(e, smf, annotate(translate.AnnotationAllowReplacement, "true"))
	same(t, group, e.SharedServes("n2", "SCTP/38412 amf [10.244.1.5:9090]", "TCP/8080 smf [10.244.1.6:9090]"))
	e.Condition(smf, "Accepted", yes, "Accepted")
	if got := e.Programmed(smf); got != group.Address || got == own {
		t.Errorf("smf is served on %s, had %s of its own, the group has %s", got, own, group.Address)
	}
	if e.Object("virtualservice", e.Name(smf)) != nil || e.Object("vsvip", e.Name(smf)) != nil {
		t.Error("smf's own objects are left")
	}

	suite.Update(e, smf, func(s *corev1.Service) { delete(s.Annotations, translate.AnnotationAllowReplacement) })
	suite.Update(e, smf, func(s *corev1.Service) { delete(s.Annotations, translate.AnnotationSharedVIP) })
	e.Condition(smf, "Accepted", yes, "NeedsReplacement")
	e.Sim.ResetRequests()
	since = e.Touch()
	e.LookedAt(since, "sharedvip", groupOf(e, "n2"))
	e.LookedAt(since, "service", smf)
	if w := e.Written(); len(w) > 0 {
		t.Errorf("without consent to leave: %v", w)
	}
	suite.Update(e, e.Slice(smf), func(s *discovery) { s.Endpoints = []discoveryEndpoint{endpoint("10.244.1.7", true, false)} })
	e.SharedServes("n2", "SCTP/38412 amf [10.244.1.5:9090]", "TCP/8080 smf [10.244.1.7:9090]")
	suite.Update(e, smf, annotate(translate.AnnotationAllowReplacement, "true"))
	e.Eventually("smf is served alone", func() error {
		if vs := e.Object("virtualservice", e.Name(smf)); vs == nil || vs["uuid"] == uuid {
			return fmt.Errorf("its VirtualService is %v", vs)
		}
		return nil
	})
	same(t, group, e.SharedServes("n2", "SCTP/38412 amf [10.244.1.5:9090]"))
	e.Condition(smf, "Accepted", yes, "Accepted")
	if got := e.Programmed(smf); got == group.Address {
		t.Errorf("smf has the group's address %s", got)
	}
	// From one group to another.
	suite.Update(e, smf, annotate(translate.AnnotationSharedVIP, "n4"))
	other := e.SharedServes("n4", "TCP/8080 smf [10.244.1.7:9090]")
	suite.Update(e, smf, annotate(translate.AnnotationSharedVIP, "n2"))
	same(t, group, e.SharedServes("n2", "SCTP/38412 amf [10.244.1.5:9090]", "TCP/8080 smf [10.244.1.7:9090]"))
	e.Eventually("the other group goes", func() error {
		if _, err := e.SharedTree("n4"); err == nil {
			return fmt.Errorf("%s is still there", other.VS)
		}
		return nil
	})
	e.Delete(amf)
	e.Delete(smf)
	gone(e, amf)
	gone(e, smf)
	nothingLeft(e)
}

// TestSharedVIPMembersThatAreNotServed harm nobody: of a bad address, of a foreign class, of another type, in deletion.
func TestSharedVIPMembersThatAreNotServed(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	bad := e.SharedVIP("bad", "n2", suite.Port("SCTP", 1))
	bad.Spec.LoadBalancerIP = "not-an-address"
	foreign := e.SharedVIP("foreign", "n2", suite.Port("SCTP", 2))
	foreign.Spec.LoadBalancerClass = new("other.example.com/lb")
	plain := e.SharedVIP("plain", "n2", suite.Port("SCTP", 3))
	plain.Spec.Type, plain.Spec.AllocateLoadBalancerNodePorts = corev1.ServiceTypeClusterIP, nil
	e.Create(bad, foreign, plain)
	e.Condition(bad, "Accepted", no, "InvalidAddress")
	amf := member(e, "amf", "n2", "10.244.1.5", n2)
	vip := e.Programmed(amf)
	tree := e.SharedServes("n2", "SCTP/38412 amf [10.244.1.5:9090]")
	e.Condition(amf, "Accepted", yes, "Accepted")
	e.Condition(bad, "Accepted", no, "InvalidAddress")
	suite.Update(e, bad, func(s *corev1.Service) { s.Spec.LoadBalancerIP = vip })
	e.Programmed(bad)
	same(t, tree, e.SharedServes("n2", "SCTP/1 bad []", "SCTP/38412 amf [10.244.1.5:9090]"))
	suite.Update(e, bad, func(s *corev1.Service) {
		s.Spec.Type, s.Spec.LoadBalancerIP, s.Spec.AllocateLoadBalancerNodePorts = corev1.ServiceTypeClusterIP, "", nil
	})
	e.Eventually("bad is let go", func() error {
		if err := e.Read(bad); err != nil {
			return err
		}
		if len(bad.Finalizers) > 0 || len(bad.Status.Conditions) > 0 {
			return fmt.Errorf("finalizers %v, conditions %v", bad.Finalizers, bad.Status.Conditions)
		}
		return nil
	})
	same(t, tree, e.SharedServes("n2", "SCTP/38412 amf [10.244.1.5:9090]"))
	if err := e.Read(foreign); err != nil || len(foreign.Finalizers)+len(foreign.Status.Conditions) > 0 {
		t.Errorf("a foreign Service was touched: %v, %+v", err, foreign)
	}
}

// TestSharedVIPSettings follow the most senior Service; one that differs is told, on itself.
func TestSharedVIPSettings(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	amf := e.SharedVIP("amf", "n2", n2)
	amf.Spec.LoadBalancerIP = "10.10.7.7"
	e.Create(amf, e.Slice(amf, "10.244.1.5"))
	e.Programmed(amf)
	smf := e.SharedVIP("smf", "n2", webPort)
	smf.Spec.LoadBalancerIP = "10.10.7.8"
	e.Create(smf, e.Slice(smf, "10.244.1.6"))
	e.Condition(smf, "Accepted", yes, "SharedVIPMismatch")
	if got := e.Programmed(smf); got != "10.10.7.7" {
		t.Errorf("smf is served on %s", got)
	}
	e.Condition(amf, "Accepted", yes, "Accepted")
	e.Told(smf, "SharedVIPMismatch", "10.10.7.7, which a more senior Service asks for")
	// An older Service that joins late doesn't take over: it would switch everybody's traffic off.
	old := e.Service("old", suite.Port("UDP", 8805))
	old.Annotations = map[string]string{translate.AnnotationDisableTraffic: "true"}
	e.Create(old, e.Slice(old, "10.244.1.7"))
	e.Programmed(old)
	late := member(e, "late", "later", "10.244.1.8", n2)
	e.Programmed(late)
	aLaterSecond(e, old)
	newer := member(e, "newer", "newest", "10.244.1.9", n2)
	e.Programmed(newer)
	suite.Update(e, old, func(s *corev1.Service) {
		annotate(translate.AnnotationAllowReplacement, "true")(s)
		annotate(translate.AnnotationSharedVIP, "newest")(s)
	})
	e.SharedServes("newest", "SCTP/38412 newer [10.244.1.9:9090]", "UDP/8805 old [10.244.1.7:9090]")
	e.Condition(old, "Accepted", yes, "SharedVIPMismatch")
	if vs := e.Object("virtualservice", e.SharedName("newest")); vs["traffic_enabled"] != true {
		t.Error("the older Service switched the traffic of the group off that it joined")
	}
	e.Condition(newer, "Accepted", yes, "Accepted")
	if !strings.HasPrefix(old.Annotations[translate.AnnotationJoined], "newest ") {
		t.Errorf("annotations are %v", old.Annotations)
	}
}

// aLaterSecond waits until what is created now is younger than a Service: ages are in seconds.
func aLaterSecond(e *suite.Env, svc *corev1.Service) {
	e.Eventually("a later second", func() error {
		if time.Since(svc.CreationTimestamp.Time) < 2*time.Second {
			return fmt.Errorf("%s isn't old yet", svc.Name)
		}
		return nil
	})
}

// TestSharedVIPAndGatewayOfOneName: AKO's markers don't distinguish the two. The first has the name; the other waits and gets
// it afterwards.
func TestSharedVIPAndGatewayOfOneName(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	e.Own(e.SvcAPIClass(nil))
	gw := gatewayOn(e, "n2", n2)
	e.SvcAPIAttach(gw, "gw-amf", "10.244.1.4", n2)
	tree := e.SvcAPIServes(gw, "SCTP/38412 gw-amf [10.244.1.4:9090]")
	amf := member(e, "amf", "n2", "10.244.1.5", n2)
	e.Condition(amf, "Accepted", no, "NameTaken")
	same(t, tree, e.SvcAPIServes(gw, "SCTP/38412 gw-amf [10.244.1.4:9090]"))
	e.Sim.ResetRequests()
	e.Delete(amf)
	gone(e, amf)
	if w := e.Written(); len(w) > 0 {
		t.Errorf("the Gateway's objects were written: %v", w)
	}
	amf = member(e, "udm", "n2", "10.244.1.6", n2)
	e.Condition(amf, "Accepted", no, "NameTaken")
	e.Delete(gw)
	gone(e, gw)
	shared := e.SharedServes("n2", "SCTP/38412 udm [10.244.1.6:9090]")
	gw = gatewayOn(e, "n2", n2)
	e.SvcAPICondition(gw, "ako.vmware.com/Accepted", no, "NameTaken")
	e.Delete(gw)
	gone(e, gw)
	same(t, shared, e.SharedServes("n2", "SCTP/38412 udm [10.244.1.6:9090]"))
}

// TestSharedVIPOfAKOLeftBehind: one Service became another type while nobody looked, and the other vanished.
func TestSharedVIPOfAKOLeftBehind(t *testing.T) {
	t.Parallel()
	e := suite.New(t, suite.ReleaseHeld(), suite.WithOptions(func(o *controllers.Options) { o.Refresh = 300 * time.Millisecond }))
	e.StopOperator()
	suite.AKO{Env: e}.SharedVIP(e.Namespace, "n2", behindGateway("SCTP", 38412, e.Namespace, "amf"),
		behindGateway("TCP", 8080, e.Namespace, "smf"))
	amf := e.SharedVIP("amf", "n2", n2)
	e.Create(amf, e.Slice(amf, "10.244.1.5"))
	smf := e.SharedVIP("smf", "n2", webPort)
	smf.Spec.Type, smf.Spec.AllocateLoadBalancerNodePorts = corev1.ServiceTypeClusterIP, nil
	e.Create(smf)
	e.StartOperator()
	e.Programmed(amf)
	tree := e.SharedServes("n2", "SCTP/38412 amf [10.244.1.5:9090]")
	e.StopOperator()
	e.Force(amf)
	gone(e, amf)
	e.StartOperator()
	nothingLeft(e)
	if w := e.Written(tree); len(w) == 0 {
		t.Error("nobody removed it")
	}
}

// TestSharedVIPRestartWritesNothing, in any state of the Services.
func TestSharedVIPRestartWritesNothing(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	amf, smf := member(e, "amf", "n2", "10.244.1.5", n2), member(e, "smf", "n2", "10.244.1.6", webPort)
	clash := member(e, "clash", "n2", "10.244.1.7", n2, suite.Port("UDP", 8805))
	waits := e.SharedVIP("waits", "n4", n2)
	waits.Spec.LoadBalancerIP = "not-an-address"
	single := e.Service("single", n2)
	e.Create(waits, single, e.Slice(single, "10.244.1.8"))
	for _, svc := range []*corev1.Service{amf, smf, clash, single} {
		e.Condition(svc, "Healthy", yes, "Up")
	}
	e.Condition(waits, "Accepted", no, "InvalidAddress")
	suite.Update(e, single, annotate(translate.AnnotationSharedVIP, "n2"))
	e.Condition(single, "Accepted", yes, "NeedsReplacement")
	suite.Update(e, smf, func(s *corev1.Service) { delete(s.Annotations, translate.AnnotationSharedVIP) })
	e.Condition(smf, "Accepted", yes, "NeedsReplacement")
	restart(t, e, looked{"sharedvip", []client.Object{groupOf(e, "n2"), groupOf(e, "n4")}}, looked{"service", []client.Object{amf, smf, clash, waits, single}})
}

// TestSharedVIPFaults lets each write of a group's life go wrong in each way, beside a member that is never touched.
func TestSharedVIPFaults(t *testing.T) {
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			e := suite.New(t, suite.WithOptions(func(o *controllers.Options) {
				o.Refresh, o.Timeout, o.Health = time.Second, time.Second, 10*time.Second
			}))
			for i, c := range creates {
				group := fmt.Sprintf("g%d", i)
				hit := inject(e, f.fault, c, group)
				amf := member(e, group+"-amf", group, "10.244.1.5", n2)
				e.Programmed(amf)
				hit()
			}
			stays := "SCTP/38412 g0-amf [10.244.1.5:9090]"
			tree := e.SharedServes("g0", stays)
			joins := []call{{"PATCH", "vsvip"}, {"POST", "pool"}, {"PATCH", "l4policyset"}, {"PATCH", "virtualservice"}}
			for i, c := range joins {
				hit := inject(e, f.fault, c, "g0")
				smf := member(e, fmt.Sprintf("smf%d", i), "g0", "10.244.1.6", webPort)
				same(t, tree, e.SharedServes("g0", stays, fmt.Sprintf("TCP/8080 %s [10.244.1.6:9090]", smf.Name)))
				e.Programmed(smf)
				hit()
				if c.kind == "pool" {
					c.method = "DELETE"
				}
				hit = inject(e, f.fault, c, "g0")
				e.Delete(smf)
				gone(e, smf)
				same(t, tree, e.SharedServes("g0", stays))
				hit()
			}
			for i, c := range deletes {
				group := fmt.Sprintf("g%d", i)
				hit := inject(e, f.fault, c, group)
				amf := e.SharedVIP(group+"-amf", group, n2)
				e.Delete(amf)
				gone(e, amf)
				hit()
			}
			nothingLeft(e)
		})
	}
}

// TestSharedVIPCrashes stops the operator at each write of a join and of a leave, and starts another.
func TestSharedVIPCrashes(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	amf := member(e, "amf", "n2", "10.244.1.5", n2)
	e.Programmed(amf)
	stays := "SCTP/38412 amf [10.244.1.5:9090]"
	tree := e.SharedServes("n2", stays)
	crashAt := func(c call, begin func()) {
		before := e.Sim.FaultHits()
		e.Sim.Inject(avisim.Fault{Method: c.method, Type: c.kind, ObjectName: regexp.MustCompile("-n2(-|$)"), Hang: true})
		begin()
		e.Eventually("the call "+c.method+" "+c.kind, func() error {
			if e.Sim.FaultHits() == before {
				return fmt.Errorf("not yet")
			}
			return nil
		})
		e.StopOperator()
		e.Sim.ClearFaults()
		e.StartOperator()
	}
	smf := func() *corev1.Service { return e.SharedVIP("smf", "n2", webPort) }
	e.Create(e.Slice(smf(), "10.244.1.6"))
	for _, c := range []call{{"PATCH", "vsvip"}, {"POST", "pool"}, {"PATCH", "l4policyset"}, {"PATCH", "virtualservice"}} {
		svc := smf()
		crashAt(c, func() { e.Create(svc) })
		e.Programmed(svc)
		same(t, tree, e.SharedServes("n2", stays, "TCP/8080 smf [10.244.1.6:9090]"))
		if c.kind == "pool" {
			c.method = "DELETE"
		}
		crashAt(c, func() { e.Delete(svc) })
		gone(e, svc)
		same(t, tree, e.SharedServes("n2", stays))
	}
}

// TestSharedVIPOrphan: the Services vanished, finalizers and all, while the operator was away.
func TestSharedVIPOrphan(t *testing.T) {
	t.Parallel()
	e := suite.New(t, suite.ReleaseHeld(), suite.WithOptions(func(o *controllers.Options) { o.Refresh = 300 * time.Millisecond }))
	amf, smf := member(e, "amf", "n2", "10.244.1.5", n2), member(e, "smf", "n2", "10.244.1.6", webPort)
	udm := member(e, "udm", "n4", "10.244.1.7", n2)
	for _, svc := range []*corev1.Service{amf, smf, udm} {
		e.Programmed(svc)
	}
	tree := e.SharedServes("n4", "SCTP/38412 udm [10.244.1.7:9090]")
	e.StopOperator()
	for _, svc := range []*corev1.Service{amf, smf} {
		e.Force(svc)
		gone(e, svc)
	}
	e.StartOperator()
	e.Eventually("the sweep", func() error {
		if owned := e.Owned(); fmt.Sprint(owned) != "map[l4policyset:1 pool:1 virtualservice:1 vsvip:1]" {
			return fmt.Errorf("the Controller holds %v", owned)
		}
		return nil
	})
	same(t, tree, e.SharedServes("n4", "SCTP/38412 udm [10.244.1.7:9090]"))
}

// TestSharedVIPDeselected: settings and labels let each Service go, the guard holds what is too much, and deleteConfig removes all.
func TestSharedVIPDeselected(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	var services []*corev1.Service
	for i := range 7 {
		services = append(services, member(e, fmt.Sprintf("s%d", i), "n2", "10.244.1.5", suite.Port("SCTP", int32(5000+i))))
	}
	for _, svc := range services {
		e.Programmed(svc)
	}
	suite.Update(e, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: e.Namespace}},
		func(ns *corev1.Namespace) { delete(ns.Labels, "served-by") })
	holds := func(want int) func() error {
		return func() error { // an error while ports come and go
			tree, err := e.SharedTree("n2")
			if err == nil && len(tree.Ports) != want {
				err = fmt.Errorf("%d ports are served, not %d", len(tree.Ports), want)
			}
			return err
		}
	}
	since := e.Touch()
	e.Tried(since, "sharedvip", groupOf(e, "n2"))
	if err := holds(7)(); err != nil {
		t.Error(err)
	}
	e.Eventually("all are held", func() error {
		if h := heldBy(e, "deselected"); len(h.Owners) != 7 {
			return fmt.Errorf("held are %v", h.Owners)
		}
		return nil
	})
	suite.Update(e, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: e.Namespace}},
		func(ns *corev1.Namespace) { ns.Labels["served-by"] = e.Cluster })
	for _, svc := range services {
		e.Programmed(svc)
	}
	e.Eventually("all are back", holds(7))
	e.Configure(func(c map[string]string) { c["deleteConfig"] = "true" })
	nothingLeft(e)
	for _, svc := range services {
		e.Eventually("the status is cleared", func() error {
			if err := e.Read(svc); err != nil {
				return err
			}
			if len(svc.Status.LoadBalancer.Ingress)+len(svc.Status.Conditions)+len(svc.Finalizers) > 0 {
				return fmt.Errorf("%s: %+v %v", svc.Name, svc.Status, svc.Finalizers)
			}
			return nil
		})
	}
	e.Configure(func(c map[string]string) { delete(c, "deleteConfig") })
	for _, svc := range services {
		e.Programmed(svc)
	}
}

// TestSharedVIPServedByAnotherInstance: a Service that another instance has claimed is left to it, and the rest is served.
func TestSharedVIPServedByAnotherInstance(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	theirs := e.SharedVIP("theirs", "n2", webPort)
	theirs.Finalizers, theirs.Annotations[gather.AnnotationServedBy] = []string{gather.Finalizer}, "ako-other@other/Default-Cloud"
	e.Create(theirs, e.Slice(theirs, "10.244.1.6"))
	e.Told(theirs, "ServedByAnotherInstance", "ako-other@other")
	amf := member(e, "amf", "n2", "10.244.1.5", n2)
	e.Programmed(amf)
	e.SharedServes("n2", "SCTP/38412 amf [10.244.1.5:9090]")
	suite.Update(e, theirs, func(s *corev1.Service) { s.Finalizers = nil; delete(s.Annotations, gather.AnnotationServedBy) })
	e.Programmed(theirs)
	e.SharedServes("n2", "SCTP/38412 amf [10.244.1.5:9090]", "TCP/8080 theirs [10.244.1.6:9090]")
}

// TestSharedVIPOfAServiceTakenByForce: its ports go, and nobody else's.
func TestSharedVIPOfAServiceTakenByForce(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	amf, smf := member(e, "amf", "n2", "10.244.1.5", n2), member(e, "smf", "n2", "10.244.1.6", webPort)
	e.Programmed(amf)
	e.Programmed(smf)
	tree := e.SharedServes("n2", "SCTP/38412 amf [10.244.1.5:9090]", "TCP/8080 smf [10.244.1.6:9090]")
	e.Force(smf) // by an impatient administrator
	e.Eventually("smf goes", func() error {
		if err := e.Client.Get(t.Context(), client.ObjectKeyFromObject(smf), smf); !apierrors.IsNotFound(err) {
			return fmt.Errorf("it is there: %w", err)
		}
		return nil
	})
	same(t, tree, e.SharedServes("n2", "SCTP/38412 amf [10.244.1.5:9090]"))
}

// TestSharedVIPWithoutRoomIsNotJoined: a Service that may be interrupted is not let go of for a shared VIP on which it would have no port.
func TestSharedVIPWithoutRoomIsNotJoined(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	amf := member(e, "amf", "n2", "10.244.1.5", n2)
	e.Programmed(amf)
	group := e.SharedServes("n2", "SCTP/38412 amf [10.244.1.5:9090]")
	smf := e.Service("smf", n2)
	e.Create(smf, e.Slice(smf, "10.244.1.6"))
	own := e.Programmed(smf)
	uuid := e.Object("virtualservice", e.Name(smf))["uuid"]
	e.Sim.ResetRequests()
	suite.Update(e, smf, func(s *corev1.Service) {
		annotate(translate.AnnotationAllowReplacement, "true")(s)
		annotate(translate.AnnotationSharedVIP, "n2")(s)
	})
	if m := e.Condition(smf, "Accepted", yes, "ServiceConflict"); !strings.Contains(m, "port SCTP 38412 is Service amf's on shared VIP n2") {
		t.Errorf("it says %q", m)
	}
	since := e.Touch()
	e.LookedAt(since, "sharedvip", groupOf(e, "n2"))
	e.LookedAt(since, "service", smf)
	same(t, group, e.SharedServes("n2", "SCTP/38412 amf [10.244.1.5:9090]"))
	if w, now := e.Written(), e.Object("virtualservice", e.Name(smf))["uuid"]; len(w) > 0 || now != uuid || e.Programmed(smf) != own {
		t.Errorf("%v; the VirtualService was %v and is %v", w, uuid, now)
	}
	// Room is made: the other one goes on to another port.
	suite.Update(e, amf, func(s *corev1.Service) { s.Spec.Ports[0].Port = 38413 })
	same(t, group, e.SharedServes("n2", "SCTP/38412 smf [10.244.1.6:9090]", "SCTP/38413 amf [10.244.1.5:9090]"))
	e.Condition(smf, "Accepted", yes, "Accepted")
	if got := e.Programmed(smf); got != group.Address {
		t.Errorf("smf has %s, the group %s", got, group.Address)
	}
	if e.Object("virtualservice", e.Name(smf)) != nil {
		t.Error("smf's own VirtualService is left")
	}
}

// TestSharedVIPForOneOfTwo: of two Services that may join at once and want one port, the older joins and the other stays where it is.
func TestSharedVIPForOneOfTwo(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	var both []*corev1.Service
	for i, name := range []string{"amf", "smf"} {
		svc := e.Service(name, n2)
		e.Create(svc, e.Slice(svc, fmt.Sprintf("10.244.1.%d", i+5)))
		e.Programmed(svc)
		both = append(both, svc)
	}
	own := e.Programmed(both[1])
	for _, svc := range []*corev1.Service{both[1], both[0]} {
		suite.Update(e, svc, annotate(translate.AnnotationSharedVIP, "n2"))
	}
	e.StopOperator()
	for _, svc := range both {
		suite.Update(e, svc, annotate(translate.AnnotationAllowReplacement, "true"))
	}
	e.StartOperator()
	e.SharedServes("n2", "SCTP/38412 amf [10.244.1.5:9090]")
	e.Condition(both[1], "Accepted", yes, "ServiceConflict")
	if got := e.Programmed(both[1]); got != own || e.Object("virtualservice", e.Name(both[1])) == nil {
		t.Errorf("smf had %s and has %s", own, got)
	}
}
