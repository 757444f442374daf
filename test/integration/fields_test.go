// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/avi-l4-operator/avi-l4-operator/controllers"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
	"github.com/avi-l4-operator/avi-l4-operator/test/suite"
)

// sequence lists the writes since the log was last cleared, in their order, as "PATCH pool".
func sequence(e *suite.Env) []string {
	out := []string{}
	for _, w := range e.Writes() {
		if w.Type != "login" && w.Type != "logout" {
			out = append(out, w.Method+" "+w.Type)
		}
	}
	return out
}

// wrote waits until the writes since the log was last cleared are exactly these.
func wrote(e *suite.Env, what string, want ...string) {
	e.T.Helper()
	e.Eventually(what, func() error {
		if got := sequence(e); !slices.Equal(got, want) {
			return fmt.Errorf("the writes are %q, want %q", got, want)
		}
		return nil
	})
	e.Sim.ResetRequests()
}

// admitted are the prefixes of the clients that a VirtualService lets in: nil if all are, and if it isn't clear, why.
func admitted(e *suite.Env, name string) []string {
	vs := e.Object("virtualservice", name)
	ref, _ := vs["network_security_policy_ref"].(string)
	if vs == nil || ref == "" {
		return nil
	}
	_, policy, _ := strings.Cut(ref, "#")
	o := e.Object("networksecuritypolicy", policy)
	rules, _ := o["rules"].([]any)
	if policy != name || len(rules) != 1 {
		return []string{"policy", policy, fmt.Sprint(rules)}
	}
	rule, _ := rules[0].(map[string]any)
	match, _ := rule["match"].(map[string]any)
	clients, _ := match["client_ip"].(map[string]any)
	if rule["action"] != "NETWORK_SECURITY_POLICY_ACTION_TYPE_DENY" || rule["enable"] != true || clients["match_criteria"] != "IS_NOT_IN" {
		return []string{"rule", fmt.Sprint(rule)}
	}
	out := []string{}
	prefixes, _ := clients["prefixes"].([]any)
	for _, p := range prefixes {
		prefix, _ := p.(map[string]any)
		addr, _ := prefix["ip_addr"].(map[string]any)
		out = append(out, fmt.Sprintf("%v/%v", addr["addr"], prefix["mask"]))
	}
	return out
}

func wantAdmitted(e *suite.Env, name string, want ...string) {
	e.T.Helper()
	e.Eventually("the clients of "+name, func() error {
		if got := admitted(e, name); !slices.Equal(got, want) {
			return fmt.Errorf("%q are let in, want %q", got, want)
		}
		return nil
	})
}

// TestSourceRangesFollow: a policy comes before the reference to it and goes after it, a change is one PATCH, and a restart
// changes nothing.
func TestSourceRangesFollow(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	svc := e.Service("amf", suite.Port("SCTP", 38412), suite.Port("UDP", 2152))
	svc.Spec.LoadBalancerSourceRanges = []string{"10.0.0.0/8", "fd00:1::/64"}
	e.Create(e.Slice(svc, "10.244.1.5"), svc)
	e.Programmed(svc)
	name := e.Name(svc)
	wantAdmitted(e, name, "10.0.0.0/8", "fd00:1::/64")
	order := sequence(e)
	if policy, vs := slices.Index(order, "POST networksecuritypolicy"), slices.Index(order, "POST virtualservice"); policy < 0 || vs < policy {
		t.Errorf("the VirtualService is made before the policy: %q", order)
	}
	e.Eventually("the tree", func() error { return e.Complete(svc) })
	e.Sim.ResetRequests()

	suite.Update(e, svc, func(s *corev1.Service) { s.Spec.LoadBalancerSourceRanges = []string{"192.0.2.0/24"} })
	wrote(e, "a change", "PATCH networksecuritypolicy")
	wantAdmitted(e, name, "192.0.2.0/24")
	e.Condition(svc, "Accepted", metav1.ConditionTrue, "Accepted") // only one family: a remark

	suite.Update(e, svc, func(s *corev1.Service) {
		s.Spec.LoadBalancerSourceRanges = nil
		annotate(translate.AnnotationSourceRanges, "192.0.2.0/24, 198.51.100.0/24")(s)
	})
	wrote(e, "the annotation", "PATCH networksecuritypolicy")

	e.StopOperator()
	e.Sim.ResetRequests()
	e.StartOperator()
	e.Eventually("the load", func() error { return e.Operator.Mirror.Err() })
	suite.Update(e, svc, func(s *corev1.Service) { delete(s.Annotations, translate.AnnotationSourceRanges) })
	wrote(e, "no ranges any more", "PATCH virtualservice", "DELETE networksecuritypolicy")
	wantAdmitted(e, name)

	suite.Update(e, svc, func(s *corev1.Service) { s.Spec.LoadBalancerSourceRanges = []string{"10.0.0.0/8"} })
	wrote(e, "ranges of a live Service", "POST networksecuritypolicy", "PATCH virtualservice")
	e.Delete(svc)
	gone(e, svc)
	if order = sequence(e); order[0] != "DELETE virtualservice" || !slices.Contains(order, "DELETE networksecuritypolicy") {
		t.Errorf("deleted as %q", order)
	}
	if err := e.Complete(); err != nil {
		t.Error(err)
	}
}

// TestSourceRangesBadInput: what can't be read neither opens nor closes anything. The API server refuses such prefixes of
// Services today, and once let them through; of annotations of Gateways it knows nothing.
func TestSourceRangesBadInput(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	e.Own(e.Class(), e.SvcAPIClass(nil))
	apis := map[string]func(*suite.Env, string) ranged{"networking.x-k8s.io": oldGateway, "gateway.networking.k8s.io": newGateway}
	for name, gateway := range apis {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := e.Apart(t)
			fresh := gateway(e, "fresh")
			fresh.set("10.0.0.0")
			fresh.create()
			e.Told(fresh.object, "InvalidSourceRange", "10.0.0.0")
			if e.Object("virtualservice", fresh.avi) != nil {
				t.Error("it is open to everybody because its ranges can't be read")
			}
			fresh.change("10.0.0.0/8, 10.0.0.0")
			wantAdmitted(e, fresh.avi, "10.0.0.0/8")

			live, open := gateway(e, "live"), gateway(e, "open")
			live.set("192.0.2.0/24")
			live.create()
			open.create()
			wantAdmitted(e, live.avi, "192.0.2.0/24")
			for _, o := range []ranged{live, open} {
				o.ready()
				before := e.Object("virtualservice", o.avi)["_last_modified"]
				o.change("everybody")
				e.Told(o.object, "InvalidSourceRange", "everybody")
				if after := e.Object("virtualservice", o.avi)["_last_modified"]; after != before {
					t.Errorf("%s: a slip is written to the Controller: %v, before %v", o.avi, after, before)
				}
			}
			wantAdmitted(e, live.avi, "192.0.2.0/24")
			wantAdmitted(e, open.avi)
			live.change("")
			e.Told(live.object, "InvalidSourceRange", "is empty")
			wantAdmitted(e, live.avi, "192.0.2.0/24")
			suite.Update(e, live.object, func(o client.Object) {
				left := o.GetAnnotations()
				delete(left, translate.AnnotationGatewaySourceRanges)
				o.SetAnnotations(left)
			})
			wantAdmitted(e, live.avi)
		})
	}
	t.Run("the wrong family", func(t *testing.T) {
		t.Parallel()
		e := e.Apart(t)
		svc := e.Service("amf", suite.Port("SCTP", 38412))
		svc.Spec.LoadBalancerSourceRanges = []string{"fd00:1::/64"}
		e.Create(e.Slice(svc, "10.244.1.5"), svc)
		if m := e.Condition(svc, "Accepted", metav1.ConditionTrue, "NoClients"); !strings.Contains(m, "no client is let in") {
			t.Errorf("message: %s", m)
		}
		wantAdmitted(e, e.Name(svc), "fd00:1::/64")
	})
}

// ranged is a Gateway of either API with a Service behind it.
type ranged struct {
	avi    string // the name of its objects
	object client.Object
	set    func(ranges string) // before it is created
	create func()
	change func(ranges string)
	ready  func()
}

func oldGateway(e *suite.Env, name string) ranged {
	gw := e.SvcAPIGateway(name, e.SvcAPIListener(name, "SCTP", 38412))
	set := func(ranges string) {
		metav1.SetMetaDataAnnotation(&gw.ObjectMeta, translate.AnnotationGatewaySourceRanges, ranges)
	}
	return ranged{avi: e.SvcAPIName(gw), object: gw, set: set,
		create: func() { e.Create(gw); e.SvcAPIAttach(gw, name, "10.244.1.5", suite.Port("SCTP", 38412)) },
		change: func(ranges string) { suite.Update(e, gw, func(*gateway) { set(ranges) }) },
		ready:  func() { e.SvcAPIReady(gw) },
	}
}

func newGateway(e *suite.Env, name string) ranged {
	gw := e.Gateway(name, suite.Listener("n2", "SCTP", 38412))
	set := func(ranges string) {
		metav1.SetMetaDataAnnotation(&gw.ObjectMeta, translate.AnnotationGatewaySourceRanges, ranges)
	}
	return ranged{avi: e.GatewayName(gw), object: gw, set: set,
		create: func() {
			svc := e.Backend(name, "", suite.Port("SCTP", 38412))
			svc.Labels = nil
			e.Create(svc, e.Slice(svc, "10.244.1.5"), e.SCTPRoute(name, name, "n2", suite.To(name, 38412, 1)), gw)
		},
		change: func(ranges string) { suite.Update(e, gw, func(*routedGateway) { set(ranges) }) },
		ready:  func() { e.GatewayReady(gw) },
	}
}

// TestSourceRangesAndTheNetworkTeam: a policy of theirs is never exchanged for ours, and ours comes back if it is.
func TestSourceRangesAndTheNetworkTeam(t *testing.T) {
	t.Parallel()
	e := suite.New(t, suite.WithOptions(func(o *controllers.Options) { o.Refresh = 300 * time.Millisecond }))
	if _, err := e.Sim.Create("networksecuritypolicy", "admin", map[string]any{"name": "fence"}); err != nil {
		t.Fatal(err)
	}
	svc := e.Service("amf", suite.Port("SCTP", 38412))
	e.Create(e.Slice(svc, "10.244.1.5"), svc)
	e.Programmed(svc)
	name := e.Name(svc)
	fence := func() {
		t.Helper()
		if err := e.Sim.Edit("virtualservice", "admin", name, func(o map[string]any) {
			o["network_security_policy_ref"] = "/api/networksecuritypolicy?name=fence"
		}); err != nil {
			t.Fatal(err)
		}
	}
	fenced := func() bool {
		return strings.HasSuffix(fmt.Sprint(e.Object("virtualservice", name)["network_security_policy_ref"]), "#fence")
	}
	fence()
	e.Loads(1)
	suite.Update(e, svc, func(s *corev1.Service) { s.Spec.LoadBalancerSourceRanges = []string{"10.0.0.0/8"} })
	if m := e.Condition(svc, "Accepted", metav1.ConditionTrue, "SecurityPolicyTaken"); !strings.Contains(m, "fence") {
		t.Errorf("message: %s", m)
	}
	if !fenced() {
		t.Error("the network team's policy is gone")
	}
	if err := e.Sim.Edit("virtualservice", "admin", name, func(o map[string]any) { delete(o, "network_security_policy_ref") }); err != nil {
		t.Fatal(err)
	}
	wantAdmitted(e, name, "10.0.0.0/8")
	e.Condition(svc, "Accepted", metav1.ConditionTrue, "Accepted")
	for what, edit := range map[string]func(){
		"exchanged": fence,
		"switched off": func() {
			if err := e.Sim.Edit("networksecuritypolicy", "admin", name, func(o map[string]any) {
				o["rules"].([]any)[0].(map[string]any)["enable"] = false
			}); err != nil {
				t.Fatal(err)
			}
		},
	} {
		edit()
		if slices.Equal(admitted(e, name), []string{"10.0.0.0/8"}) {
			t.Fatalf("%s: the edit had no effect", what)
		}
		wantAdmitted(e, name, "10.0.0.0/8")
	}
}

// persistence is the name of the persistence profile of a pool, "" if it has none.
func persistence(e *suite.Env, pool string) string {
	ref, _ := e.Object("pool", pool)["application_persistence_profile_ref"].(string)
	_, name, _ := strings.Cut(ref, "#")
	return name
}

func wantPersistence(e *suite.Env, pool, want string) {
	e.T.Helper()
	e.Eventually("the persistence of "+pool, func() error {
		if got := persistence(e, pool); got != want {
			return fmt.Errorf("it is %q, want %q", got, want)
		}
		return nil
	})
}

func sticky(seconds int32) func(*corev1.Service) {
	return func(s *corev1.Service) {
		s.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
		s.Spec.SessionAffinityConfig = &corev1.SessionAffinityConfig{ClientIP: &corev1.ClientIPConfig{TimeoutSeconds: &seconds}}
	}
}

func loose(s *corev1.Service) {
	s.Spec.SessionAffinity, s.Spec.SessionAffinityConfig = corev1.ServiceAffinityNone, nil
}

// TestSessionAffinity: two Services share a profile, which goes with the last that uses it; Gateways' backends use it too.
func TestSessionAffinity(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	e.Own(e.Class(), e.SvcAPIClass(nil))
	one, two := e.Service("one", suite.Port("SCTP", 38412)), e.Service("two", suite.Port("SCTP", 38412), suite.Port("UDP", 2152))
	sticky(600)(one)
	sticky(590)(two)
	e.Create(e.Slice(one, "10.244.1.5"), one, e.Slice(two, "10.244.1.6"), two)
	e.Programmed(one)
	e.Programmed(two)
	profile := e.Cluster + "--client-ip-10"
	for _, pool := range []string{e.PoolName(one, one.Spec.Ports[0]), e.PoolName(two, two.Spec.Ports[0]), e.PoolName(two, two.Spec.Ports[1])} {
		wantPersistence(e, pool, profile)
	}
	o := e.Object("applicationpersistenceprofile", profile)
	timeout := fmt.Sprint(o["ip_persistence_profile"])
	if o["persistence_type"] != "PERSISTENCE_TYPE_CLIENT_IP_ADDRESS" || !strings.Contains(timeout, "ip_persistent_timeout:10") {
		t.Errorf("the profile is %v", o)
	}
	if m := e.Condition(two, "Accepted", metav1.ConditionTrue, "Accepted"); !strings.Contains(m, "590 s") {
		t.Errorf("rounding up isn't said: %s", m)
	}

	// A Gateway of each API, whose backends ask for the same and come and go.
	gw := e.SvcAPIGateway("old", e.SvcAPIListener("old", "SCTP", 38412))
	e.Create(gw)
	behind, _ := e.SvcAPIAttach(gw, "behind-old", "10.244.1.7", suite.Port("SCTP", 38412))
	suite.Update(e, behind, sticky(600))
	routed := newGateway(e, "new")
	routed.create()
	routed.ready()
	backend := e.Service("new")
	suite.Update(e, backend, sticky(600))
	oldPool := e.SvcAPIPool(gw, "behind-old", behind.Spec.Ports[0])
	newPool := e.GatewayPool(routed.object.(*routedGateway), "SCTP", 38412, "new", 38412)
	wantPersistence(e, oldPool, profile)
	wantPersistence(e, newPool, profile)

	e.StopOperator()
	e.Sim.ResetRequests()
	e.StartOperator()
	e.Eventually("the load", func() error { return e.Operator.Mirror.Err() })
	e.Delete(one)
	gone(e, one)
	suite.Update(e, behind, loose)
	wantPersistence(e, oldPool, "")
	e.Delete(routed.object)
	gone(e, routed.object)
	if e.Object("applicationpersistenceprofile", profile) == nil {
		t.Fatal("the profile is gone, and Service two uses it")
	}
	e.Sim.ResetRequests()
	suite.Update(e, two, loose)
	wrote(e, "the last lets go", "PATCH pool", "PATCH pool", "DELETE applicationpersistenceprofile")
}

// TestUnusedProfileGoes: one that a crash left over goes with a sweep, and what another client's pools refer to stays.
func TestUnusedProfileGoes(t *testing.T) {
	t.Parallel()
	e := suite.New(t, suite.WithOptions(func(o *controllers.Options) { o.Refresh = 200 * time.Millisecond }))
	svc := e.Service("amf", suite.Port("SCTP", 38412))
	e.Create(svc)
	e.Programmed(svc) // since then the cluster's name is its own, and what bears it can be swept
	marks := []any{map[string]any{"key": "clustername", "values": []any{e.Cluster}}}
	for _, name := range []string{"--client-ip-7", "--client-ip-8"} {
		profile := map[string]any{"name": e.Cluster + name, "persistence_type": "PERSISTENCE_TYPE_CLIENT_IP_ADDRESS", "markers": marks}
		if _, err := e.Sim.Create("applicationpersistenceprofile", "admin", profile); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := e.Sim.Create("pool", "admin", map[string]any{"name": "theirs", "application_persistence_profile_ref": "/api/applicationpersistenceprofile?name=" + e.Cluster + "--client-ip-8"}); err != nil {
		t.Fatal(err)
	}
	e.Eventually("the left-over profile goes", func() error {
		if e.Object("applicationpersistenceprofile", e.Cluster+"--client-ip-7") != nil {
			return fmt.Errorf("it is there")
		}
		return nil
	})
	e.Loads(1)
	if e.Object("applicationpersistenceprofile", e.Cluster+"--client-ip-8") == nil {
		t.Error("a profile is gone that another client's pool refers to")
	}
}

// TestPersistenceDrift: what is ours comes back, what the network team has put there before stays.
func TestPersistenceDrift(t *testing.T) {
	t.Parallel()
	e := suite.New(t, suite.WithOptions(func(o *controllers.Options) { o.Refresh = 300 * time.Millisecond }))
	svc := e.Service("amf", suite.Port("SCTP", 38412))
	sticky(600)(svc)
	e.Create(e.Slice(svc, "10.244.1.5"), svc)
	e.Programmed(svc)
	pool, profile := e.PoolName(svc, svc.Spec.Ports[0]), e.Cluster+"--client-ip-10"
	edit := func(kind, name string, change func(map[string]any)) {
		t.Helper()
		if err := e.Sim.Edit(kind, "admin", name, change); err != nil {
			t.Fatal(err)
		}
	}
	edit("applicationpersistenceprofile", profile, func(o map[string]any) {
		o["ip_persistence_profile"] = map[string]any{"ip_persistent_timeout": 3}
	})
	e.Eventually("the timeout comes back", func() error {
		if o := e.Object("applicationpersistenceprofile", profile); !strings.Contains(fmt.Sprint(o["ip_persistence_profile"]), "ip_persistent_timeout:10") {
			return fmt.Errorf("it is %v", o["ip_persistence_profile"])
		}
		return nil
	})
	edit("pool", pool, func(o map[string]any) { delete(o, "application_persistence_profile_ref") })
	wantPersistence(e, pool, profile)
	theirs := "System-Persistence-Client-IP"
	edit("pool", pool, func(o map[string]any) {
		o["application_persistence_profile_ref"] = "/api/applicationpersistenceprofile?name=" + theirs
	})
	if m := e.Condition(svc, "Accepted", metav1.ConditionTrue, "PersistenceTaken"); !strings.Contains(m, theirs) {
		t.Errorf("message: %s", m)
	}
	wantPersistence(e, pool, theirs)
	suite.Update(e, svc, loose)
	e.Condition(svc, "Accepted", metav1.ConditionTrue, "Accepted")
	wantPersistence(e, pool, theirs)
}

// TestSessionAffinityBesideDrainAndIPMode: the timeout of a pool is what was asked for last, by annotation, setting or on the Controller;
// the status says the mode that is asked for.
func TestSessionAffinityBesideDrainAndIPMode(t *testing.T) {
	t.Parallel()
	e := suite.New(t, suite.WithOptions(func(o *controllers.Options) { o.Refresh = 300 * time.Millisecond }))
	svc := e.Service("amf", suite.Port("SCTP", 38412))
	sticky(600)(svc)
	annotate(translate.AnnotationDrainTimeout, "30")(svc)
	e.Create(e.Slice(svc, "10.244.1.5"), svc)
	e.Programmed(svc)
	pool := e.PoolName(svc, svc.Spec.Ports[0])
	drains := func(what string, minutes int) {
		t.Helper()
		e.Eventually(what, func() error {
			if got := e.Object("pool", pool)["graceful_disable_timeout"]; fmt.Sprint(got) != fmt.Sprint(minutes) {
				return fmt.Errorf("the drain timeout is %v, want %d", got, minutes)
			}
			return nil
		})
	}
	mode := func(what string, want corev1.LoadBalancerIPMode) {
		t.Helper()
		e.Eventually(what, func() error {
			if err := e.Read(svc); err != nil {
				return err
			}
			if got := svc.Status.LoadBalancer.Ingress[0].IPMode; got == nil || *got != want {
				return fmt.Errorf("ipMode is %v, want %s", got, want)
			}
			return nil
		})
	}
	network := func(minutes int) {
		t.Helper()
		if err := e.Sim.Edit("pool", "admin", pool, func(o map[string]any) { o["graceful_disable_timeout"] = minutes }); err != nil {
			t.Fatal(err)
		}
	}
	drains("told by the annotation", 30)
	mode("nobody says", corev1.LoadBalancerIPModeVIP)
	network(45)
	drains("told, and edited on the Controller", 30)
	suite.Update(e, svc, func(s *corev1.Service) { delete(s.Annotations, translate.AnnotationDrainTimeout) })
	e.Eventually("the end of the annotation", func() error { // a run that begins now may not have seen it yet
		if got := e.Object("pool", pool)["graceful_disable_timeout"]; fmt.Sprint(got) != "45" {
			network(45)
			return fmt.Errorf("the drain timeout was put back to %v", got)
		}
		e.Loads(2)
		if got := e.Object("pool", pool)["graceful_disable_timeout"]; fmt.Sprint(got) != "45" {
			return fmt.Errorf("the drain timeout goes back to %v", got)
		}
		return nil
	})
	suite.Update(e, svc, annotate(translate.AnnotationDrainTimeout, "an hour"))
	e.Condition(svc, "Accepted", metav1.ConditionTrue, "InvalidAnnotation")
	drains("told in words", 45)
	e.Configure(func(c map[string]string) { c["drainTimeout"], c["ipMode"] = "20", "Proxy" })
	mode("told by the setting", corev1.LoadBalancerIPModeProxy)
	drains("told in words, and by the setting", 45)
	suite.Update(e, svc, func(s *corev1.Service) {
		delete(s.Annotations, translate.AnnotationDrainTimeout)
		annotate(translate.AnnotationIPMode, "VIP")(s)
	})
	drains("told by the setting", 20)
	mode("told by the annotation", corev1.LoadBalancerIPModeVIP)
}
