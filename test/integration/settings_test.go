// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/avi-l4-operator/avi-l4-operator/controllers"
	"github.com/avi-l4-operator/avi-l4-operator/internal/gather"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim"
	"github.com/avi-l4-operator/avi-l4-operator/test/suite"
)

// serves checks that the operator still works, by a new Service.
// configured waits until the operator has read its settings, even if the Controller is away.
func configured(e *suite.Env) {
	e.T.Helper()
	e.Eventually("the settings", func() error {
		if e.Operator.Settings.Current() == nil {
			return errors.New("none are in force")
		}
		return nil
	})
}

func serves(e *suite.Env, name string) *corev1.Service {
	e.T.Helper()
	svc := e.Service(name, suite.Port("SCTP", 38412))
	e.Create(svc)
	e.Programmed(svc)
	return svc
}

func TestCredentialsRotateWithoutRestart(t *testing.T) {
	t.Parallel()
	e := suite.New(t, suite.WithOptions(func(o *controllers.Options) { o.Refresh = time.Second }))
	serves(e, "before")
	e.Sim.SetPassword("admin", "new-password")
	e.Sim.ExpireSessions()
	svc := e.Service("during", suite.Port("SCTP", 38412))
	e.Create(svc)
	if m := e.Condition(svc, "Programmed", metav1.ConditionFalse, "InvalidCredentials"); !strings.Contains(m, "Secret") {
		t.Errorf("message: %s", m)
	}
	// An account is locked by wrong passwords: there must be no storm of logins.
	logins := 0
	for _, r := range e.Sim.Requests() {
		if r.Type == "login" && r.Status == 401 {
			logins++
		}
	}
	if logins > 2 {
		t.Errorf("%d refused logins, want 1 or 2", logins)
	}
	e.Credentials(func(s map[string][]byte) { s["password"] = []byte("new-password") })
	e.Programmed(svc)
}

func TestCertificateRotatesWithoutRestart(t *testing.T) {
	t.Parallel()
	e := suite.New(t, suite.WithOptions(func(o *controllers.Options) { o.Refresh, o.Timeout = time.Second, time.Second }))
	serves(e, "before")
	if err := e.Sim.RotateCertificate(); err != nil {
		t.Fatal(err)
	}
	e.Sim.SetDown(true) // connections made with the old certificate end
	e.Sim.SetDown(false)
	svc := e.Service("during", suite.Port("SCTP", 38412))
	e.Create(svc)
	if m := e.Condition(svc, "Programmed", metav1.ConditionFalse, "ControllerUntrusted"); !strings.Contains(m, "certificate") {
		t.Errorf("message: %s", m)
	}
	e.Credentials(func(s map[string][]byte) { s["certificateAuthorityData"] = e.Sim.CAPEM() })
	e.Programmed(svc)
}

func TestBadSettingsKeepTheLastGoodOnes(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	before := serves(e, "before")
	e.Configure(func(c map[string]string) { c["vipNetworkList"], c["autoFQDN"] = "nonsense", "perhaps" })
	e.Eventually("the report", func() error {
		if err := e.Operator.Settings.Err(); err == nil || !strings.Contains(err.Error(), "vipNetworkList") || !strings.Contains(err.Error(),
			"autoFQDN") {
			return fmt.Errorf("have %v", err)
		}
		return nil
	})
	after := serves(e, "after")
	if err := e.Complete(before, after); err != nil {
		t.Error(err)
	}
	var events corev1.EventList
	e.Eventually("the event", func() error {
		if err := e.Client.List(t.Context(), &events, client.InNamespace(e.System)); err != nil {
			return err
		}
		for _, ev := range events.Items {
			if ev.Reason == "ConfigurationInvalid" && strings.Contains(ev.Message, "vipNetworkList") {
				return nil
			}
		}
		return errors.New("none yet")
	})
}

func TestMissingSettingsAreTold(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	e.StopOperator()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "avi-secret", Namespace: e.System}}
	if err := e.Client.Get(t.Context(), client.ObjectKeyFromObject(secret), secret); err != nil {
		t.Fatal(err)
	}
	e.Delete(secret)
	e.StartOperator()
	svc := e.Service("amf", suite.Port("SCTP", 38412))
	svc.Spec.LoadBalancerClass = new("ako.vmware.com/avi-lb")
	e.Create(svc)
	if m := e.Condition(svc, "Accepted", metav1.ConditionFalse, "ConfigurationInvalid"); !strings.Contains(m, "avi-secret") {
		t.Errorf("message: %s", m)
	}
	if err := e.Operator.Ready(nil); err == nil {
		t.Error("ready without settings")
	}
	secret.ResourceVersion = ""
	e.Create(secret)
	e.Programmed(svc)
}

func TestDeleteConfigRemovesEverything(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	svc := serves(e, "amf")
	e.Configure(func(c map[string]string) { c["deleteConfig"] = "true" })
	e.Eventually("the removal", func() error {
		if err := e.Client.Get(t.Context(), client.ObjectKeyFromObject(svc), svc); err != nil {
			return err
		}
		if len(svc.Finalizers) > 0 || len(svc.Status.LoadBalancer.Ingress) > 0 {
			return fmt.Errorf("finalizers %v, status %v", svc.Finalizers, svc.Status)
		}
		return e.Complete()
	})
	e.Configure(func(c map[string]string) { c["deleteConfig"] = "false" })
	e.Programmed(svc)
}

func TestControllerWithoutSCTPIsTold(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		sim    avisim.Options
		reason string
	}{
		"tier":    {avisim.Options{LicenseTier: "BASIC"}, "LicenseTier"},
		"release": {avisim.Options{Version: "22.1.2"}, "ControllerTooOld"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := suite.New(t, suite.WithSim(c.sim))
			sctp := e.Service("sctp", suite.Port("SCTP", 38412))
			both := e.Service("both", suite.Port("SCTP", 38412), suite.Port("TCP", 80))
			e.Create(sctp, both)
			e.Condition(sctp, "Accepted", metav1.ConditionFalse, c.reason)
			e.Condition(both, "Accepted", metav1.ConditionTrue, c.reason)
			e.Programmed(both)
			for _, w := range e.Writes() {
				if w.Status >= 400 {
					t.Errorf("the Controller refused %s %s: %s", w.Method, w.Path, w.Response)
				}
			}
		})
	}
}

// Two instances share a cluster, each with namespaces of its own. A Service that moves from one to the other is released
// by the first before the second serves it.
func TestTwoInstancesHandOver(t *testing.T) {
	t.Parallel()
	first := suite.New(t, suite.ReleaseHeld())
	second := suite.New(t)
	svc := serves(first, "amf")
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: first.Namespace}}
	second.LookAgain("service", svc)
	if err := first.Read(svc); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(svc.Annotations[gather.AnnotationServedBy], "ako-"+first.Cluster+"@") || len(second.Writes()) > 0 {
		t.Errorf("the other instance touched the Service: %+v %v", svc, second.Written())
	}
	suite.Update(first, ns, func(n *corev1.Namespace) { n.Labels["served-by"] = second.Cluster })
	first.Eventually("the handover", func() error {
		if err := first.Client.Get(t.Context(), client.ObjectKeyFromObject(svc), svc); err != nil {
			return err
		}
		if by := svc.Annotations[gather.AnnotationServedBy]; !strings.HasPrefix(by, "ako-"+second.Cluster+"@") {
			return fmt.Errorf("served by %q", by)
		}
		if err := first.Complete(); err != nil {
			return err
		}
		return second.Complete(svc)
	})
}

func TestOrphansAreRemovedAndManyAreHeld(t *testing.T) {
	t.Parallel()
	e := suite.New(t, suite.WithOptions(func(o *controllers.Options) { o.Refresh = 500 * time.Millisecond }))
	var services []*corev1.Service
	for i := range 12 {
		services = append(services, serves(e, fmt.Sprintf("s%d", i)))
	}
	vanish := func(svc *corev1.Service) {
		// As if the cluster was restored from a backup: gone without the operator being asked.
		suite.Update(e, svc, func(s *corev1.Service) { s.Finalizers = nil })
		e.Delete(svc)
	}
	e.StopOperator()
	vanish(services[0])
	e.StartOperator()
	e.Eventually("the orphan's removal", func() error { return e.Complete(services[1:]...) })
	e.StopOperator()
	for _, svc := range services[1:9] {
		vanish(svc)
	}
	e.Sim.ResetRequests()
	e.StartOperator()
	e.Sweeps(3)
	if w := e.Written(); len(w) > 0 {
		t.Errorf("many at once were removed: %v", w)
	}
	if err := e.Complete(services[1:]...); err != nil {
		t.Error(err)
	}
	release(e, "lost", 8, "Service "+e.Namespace+"/s1")
	e.Eventually("the sweep that was released", func() error { return e.Complete(services[9:]...) })
}

// TestAllOfASmallSiteVanishes: a snapshot of etcd that lacks the owners is no reason to remove what serves, however few there are,
// however often the operator starts.
func TestAllOfASmallSiteVanishes(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 3} {
		e := suite.New(t, suite.WithOptions(func(o *controllers.Options) { o.Refresh = 300 * time.Millisecond }))
		var services []*corev1.Service
		for i := range n {
			services = append(services, serves(e, fmt.Sprintf("s%d", i)))
		}
		e.StopOperator()
		for _, svc := range services {
			suite.Update(e, svc, func(s *corev1.Service) { s.Finalizers = nil })
			e.Delete(svc)
		}
		e.Sim.ResetRequests()
		for range 2 {
			e.StartOperator()
			e.Sweeps(3)
			e.StopOperator()
		}
		if w := e.Written(); len(w) > 0 {
			t.Errorf("of %d: %v", n, w)
		}
		if h := heldBy(e, "lost"); len(h.Owners) != n || h.Owners[0] != "Service "+e.Namespace+"/s0" {
			t.Errorf("of %d: held are %v", n, h.Owners)
		}
		e.StartOperator()
		e.Create(e.Service("s0", suite.Port("SCTP", 38412))) // as it comes back
		e.Eventually("what comes back is held no more", func() error {
			if h := heldBy(e, "lost"); len(h.Owners) != n-1 {
				return fmt.Errorf("held are %v", h.Owners)
			}
			return nil
		})
		e.StopOperator()
	}
}

// heldBy is what a guard keeps in the cluster.
func heldBy(e *suite.Env, guard string) (h struct {
	ID     string
	Owners []string
}) {
	e.T.Helper()
	cm := new(corev1.ConfigMap)
	cm.Namespace, cm.Name = e.System, controllers.LedgerName
	if err := e.Read(cm); client.IgnoreNotFound(err) != nil {
		e.T.Fatal(err)
	}
	if text := cm.Data[guard]; text != "" {
		if err := json.Unmarshal([]byte(text), &h); err != nil {
			e.T.Fatal(err)
		}
	}
	return h
}

// release waits until a guard holds so many owners, one of that name, and releases them as a person would.
func release(e *suite.Env, guard string, n int, one string) {
	e.T.Helper()
	var id string
	e.Eventually("what is held", func() error {
		h := heldBy(e, guard)
		if id = h.ID; len(h.Owners) != n || one != "" && !slices.Contains(h.Owners, one) {
			return fmt.Errorf("held are %v", h.Owners)
		}
		return nil
	})
	suite.Update(e, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: e.System, Name: "avi-k8s-config"}},
		func(cm *corev1.ConfigMap) {
			metav1.SetMetaDataAnnotation(&cm.ObjectMeta, controllers.AnnotationRelease, id)
		})
}

func TestDryRunWritesNothing(t *testing.T) {
	t.Parallel()
	e := suite.New(t, suite.WithOptions(func(o *controllers.Options) { o.DryRun = true }))
	svc := e.Service("amf", suite.Port("SCTP", 38412))
	e.Create(svc)
	if m := e.Condition(svc, "Programmed", metav1.ConditionFalse, "DryRun"); !strings.Contains(m, "4 to create") {
		t.Errorf("message: %s", m)
	}
	if w := e.Writes(); len(w) > 0 {
		t.Errorf("writes: %v", methods(e))
	}
}

// TestDeselectingIsHeld: a slip in a setting or a label takes nothing down, however few there are and however often the operator
// starts with it. Each Service says how it ends and how it is released, and it ends by itself. A Service that its owner changes
// goes all the same.
func TestDeselectingIsHeld(t *testing.T) {
	t.Parallel()
	label := func(value string) func(*suite.Env) {
		return func(e *suite.Env) {
			suite.Update(e, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: e.Namespace}},
				func(ns *corev1.Namespace) { ns.Labels["served-by"] = cmp.Or(value, e.Cluster) })
		}
	}
	set := func(key, value string) func(*suite.Env) {
		return func(e *suite.Env) { e.Configure(func(c map[string]string) { c[key] = cmp.Or(value, e.Cluster) }) }
	}
	block := func(e *suite.Env) { set("blockedNamespaceList", `["`+e.Namespace+`"]`)(e) }
	for name, tc := range map[string]struct {
		n           int
		slip, right func(*suite.Env)
	}{
		"nsSyncLabelValue, one Service":  {1, set("nsSyncLabelValue", "a-typing-error"), set("nsSyncLabelValue", "")},
		"defaultLBController, three":     {3, set("defaultLBController", "false"), set("defaultLBController", "true")},
		"blockedNamespaceList, five":     {5, block, set("blockedNamespaceList", `["none-of-ours"]`)},
		"a label of the Namespace, nine": {9, label("another-typing-error"), label("")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := suite.New(t)
			var services []*corev1.Service
			for i := range tc.n {
				services = append(services, serves(e, fmt.Sprintf("s%d", i)))
			}
			e.Sim.ResetRequests()
			tc.slip(e)
			for range 3 {
				for _, svc := range services {
					told(e, svc)
				}
				e.StopOperator()
				e.StartOperator()
			}
			if w := e.Written(); len(w) > 0 {
				t.Errorf("%v", w)
			}
			tc.right(e)
			for _, svc := range services {
				e.Condition(svc, "Programmed", metav1.ConditionTrue, "Programmed")
				if p := svc.Annotations["l4.ako.vmware.com/problem"]; strings.Contains(p, "DeletionHeld") {
					t.Errorf("%s still says %s", svc.Name, p)
				}
			}
			e.Eventually("nothing is held", func() error {
				if h := heldBy(e, "deselected"); h.ID != "" {
					return fmt.Errorf("%v", h.Owners)
				}
				return nil
			})
			if w := e.Written(); len(w) > 0 {
				t.Errorf("put right: %v", w)
			}
			suite.Update(e, services[0], func(s *corev1.Service) { s.Spec.Type = corev1.ServiceTypeClusterIP })
			e.Eventually("its owner's word", func() error { return e.Complete(services[1:]...) })
			if tc.n == 1 {
				return
			}
			tc.slip(e)
			release(e, "deselected", tc.n-1, "")
			nothingLeft(e)
		})
	}
}

// told waits until a Service that is served says in condition and annotation that its deletion is held, and how to release it.
func told(e *suite.Env, svc *corev1.Service) {
	e.T.Helper()
	e.Eventually(svc.Name+" says that its deletion is held", func() error {
		how := "l4.ako.vmware.com/release=" + cmp.Or(heldBy(e, "deselected").ID, "(nothing is held)")
		if err := e.Read(svc); err != nil {
			return err
		}
		c := apimeta.FindStatusCondition(svc.Status.Conditions, "ako.vmware.com/Programmed")
		if c == nil || c.Status != metav1.ConditionTrue || c.Reason != "DeletionHeld" || !strings.Contains(c.Message, how) ||
			!strings.HasPrefix(svc.Annotations["l4.ako.vmware.com/problem"], "DeletionHeld: ") || len(svc.Status.LoadBalancer.Ingress) == 0 {
			return fmt.Errorf("want %q: %+v, %v", how, svc.Status, svc.Annotations)
		}
		return nil
	})
}

// A port that the Controller refused is tried again with each refresh: somebody may have fixed what it refused.
func TestRefusedPortIsTriedAgain(t *testing.T) {
	t.Parallel()
	e := suite.New(t, suite.WithOptions(func(o *controllers.Options) { o.Refresh = 500 * time.Millisecond }))
	remove := e.Sim.Inject(
		avisim.Fault{Method: "POST", Type: "pool", ObjectName: regexp.MustCompile("TCP-80$"), Status: 403, Body: `{"error":"not allowed"}`})
	svc := e.Service("amf", suite.Port("SCTP", 38412), suite.Port("TCP", 80))
	e.Create(svc)
	e.Programmed(svc)
	e.Condition(svc, "Accepted", metav1.ConditionTrue, "PortRefused")
	remove()
	e.Condition(svc, "Accepted", metav1.ConditionTrue, "Accepted")
	e.Eventually("both ports", func() error { return e.Complete(svc) })
}

// An account that is fixed on the Controller is noticed without a restart.
func TestCredentialsMendedOnTheController(t *testing.T) {
	t.Parallel()
	e := suite.New(t, suite.WithOptions(func(o *controllers.Options) { o.Refresh = time.Second }))
	serves(e, "before")
	e.Sim.SetPassword("admin", "other")
	e.Sim.ExpireSessions()
	svc := e.Service("during", suite.Port("SCTP", 38412))
	e.Create(svc)
	e.Condition(svc, "Programmed", metav1.ConditionFalse, "InvalidCredentials")
	e.Sim.SetPassword("admin", "avi123$%")
	e.Programmed(svc)
}

// What is known of a served Service survives a restart during which the Controller is away.
func TestRestartDuringAnOutageKeepsTheAddress(t *testing.T) {
	t.Parallel()
	e := suite.New(t, suite.WithOptions(func(o *controllers.Options) { o.Timeout = time.Second }))
	svc := serves(e, "amf")
	vip := svc.Status.LoadBalancer.Ingress[0].IP
	e.Sim.SetDown(true)
	suite.Update(e, svc, annotate("ako.vmware.com/disable-traffic", "true"))
	e.Condition(svc, "Programmed", metav1.ConditionFalse, "ControllerUnavailable")
	e.StopOperator()
	e.StartOperator()
	configured(e)
	e.Tried(e.Touch(), "service", svc)
	if err := e.Read(svc); err != nil {
		t.Fatal(err)
	}
	in := svc.Status.LoadBalancer.Ingress
	if len(in) != 1 || in[0].IP != vip || svc.Annotations["ako.vmware.com/tenant-name"] == "" {
		t.Errorf("the address was taken from the status: %+v", svc)
	}
	e.Sim.SetDown(false)
	e.Programmed(svc)
}
