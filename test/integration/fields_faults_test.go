// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"regexp"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/avi-l4-operator/avi-l4-operator/controllers"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim"
	"github.com/avi-l4-operator/avi-l4-operator/test/suite"
)

const (
	securityPolicy     = string(model.NetworkSecurityPolicy)
	persistenceProfile = string(model.PersistenceProfile)
)

// guardedAndSticky is a Service with source ranges and session affinity of ten minutes.
func guardedAndSticky(e *suite.Env, name string) *corev1.Service {
	svc := e.Service(name, suite.Port("SCTP", 3868))
	svc.Spec.LoadBalancerSourceRanges = []string{"10.0.0.0/8"}
	sticky(600)(svc)
	return svc
}

// TestSourceRangesAndAffinityAtEachFault lets each write of a policy and of a profile go wrong in each way: when they are made,
// changed and removed, with a Service or without. The operator converges, and no port is open wider than asked at any time.
func TestSourceRangesAndAffinityAtEachFault(t *testing.T) {
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			e := suite.New(t, suite.WithOptions(func(o *controllers.Options) {
				// A refusal that a person has to fix is looked at again with each refresh.
				o.Refresh, o.Timeout, o.Health = time.Second, time.Second, 10*time.Second
			}))
			profile := e.Cluster + "--client-ip-10"
			a, b := guardedAndSticky(e, "a"), guardedAndSticky(e, "b")
			complete := func(services ...*corev1.Service) func() error {
				return func() error {
					for _, svc := range services {
						asks := svc.Spec.SessionAffinity == corev1.ServiceAffinityClientIP
						if got := persistence(e, e.PoolName(svc, svc.Spec.Ports[0])); (got == profile) != asks {
							return fmt.Errorf("the persistence of %s is %q", svc.Name, got)
						}
						if got, want := admitted(e, e.Name(svc)), svc.Spec.LoadBalancerSourceRanges; fmt.Sprint(got) != fmt.Sprint(want) {
							return fmt.Errorf("%q are let in to %s, want %q", got, svc.Name, want)
						}
					}
					return e.Complete(services...)
				}
			}
			for _, step := range []struct {
				what   string
				call   call
				object string
				do     func()
				left   []*corev1.Service
			}{
				{"creating a policy", call{"POST", securityPolicy}, "a", func() { e.Create(e.Slice(a, "10.244.1.5"), a) }, []*corev1.Service{a}},
				{"changing a policy", call{"PATCH", securityPolicy}, "a", func() {
					suite.Update(e, a, func(s *corev1.Service) { s.Spec.LoadBalancerSourceRanges = []string{"192.0.2.0/24"} })
				}, []*corev1.Service{a}},
				{"fixing a profile", call{"PATCH", persistenceProfile}, "client-ip-10", func() {
					spoil := func(o map[string]any) { o["persistence_type"] = "PERSISTENCE_TYPE_TLS" }
					if err := e.Sim.Edit(persistenceProfile, "admin", profile, spoil); err != nil {
						t.Fatal(err)
					}
					e.Eventually("the profile is put right", func() error {
						if got := e.Object(persistenceProfile, profile)["persistence_type"]; got != "PERSISTENCE_TYPE_CLIENT_IP_ADDRESS" {
							return fmt.Errorf("it is of %v", got)
						}
						return nil
					})
				}, []*corev1.Service{a}},
				{"removing a policy", call{"DELETE", securityPolicy}, "a", func() {
					suite.Update(e, a, func(s *corev1.Service) { s.Spec.LoadBalancerSourceRanges = nil })
				}, []*corev1.Service{a}},
				{"removing a profile", call{"DELETE", persistenceProfile}, "client-ip-10", func() { suite.Update(e, a, loose) }, []*corev1.Service{a}},
				{"creating a profile for a live Service", call{"POST", persistenceProfile}, "client-ip-10", func() { suite.Update(e, a, sticky(600)) }, []*corev1.Service{a}},
				{"creating a policy for a live Service", call{"POST", securityPolicy}, "a", func() {
					suite.Update(e, a, func(s *corev1.Service) { s.Spec.LoadBalancerSourceRanges = []string{"10.0.0.0/8"} })
				}, []*corev1.Service{a}},
				{"a second Service", call{"POST", securityPolicy}, "b", func() { e.Create(e.Slice(b, "10.244.1.6"), b) }, []*corev1.Service{a, b}},
				{"deleting one with its policy", call{"DELETE", securityPolicy}, "a", func() { e.Delete(a); gone(e, a) }, []*corev1.Service{b}},
				{"deleting the last with the profile", call{"DELETE", persistenceProfile}, "client-ip-10", func() { e.Delete(b); gone(e, b) }, nil},
			} {
				hit := inject(e, f.fault, step.call, step.object)
				step.do()
				e.Eventually(step.what, complete(step.left...))
				hit()
			}
			opened(t, e)
		})
	}
}

// opened fails for each VirtualService that was made without the policy that its Service asks for.
func opened(t *testing.T, e *suite.Env) {
	t.Helper()
	made := regexp.MustCompile(`"network_security_policy_ref"`)
	for _, w := range e.Writes() {
		if w.Method == "POST" && w.Type == string(model.VirtualService) && !made.Match(w.Body) {
			t.Errorf("a VirtualService was open to everybody: %s", w.Body)
		}
	}
}

// TestSourceRangesAndAffinityAfterACrash stops the operator at each write of a policy and of a profile, and starts another.
func TestSourceRangesAndAffinityAfterACrash(t *testing.T) {
	t.Parallel()
	e := suite.New(t, suite.WithOptions(func(o *controllers.Options) { o.Refresh = time.Second }))
	calls := []call{{"POST", securityPolicy}, {"POST", persistenceProfile}, {"DELETE", securityPolicy}, {"DELETE", persistenceProfile}}
	for i, c := range calls {
		svc := guardedAndSticky(e, fmt.Sprintf("c%d", i))
		e.Create(e.Slice(svc, "10.244.1.5"))
		change := func() { e.Create(svc) }
		if c.method == "DELETE" {
			e.Create(svc)
			e.Eventually("the tree", func() error { return e.Complete(svc) })
			change = func() {
				suite.Update(e, svc, func(s *corev1.Service) { s.Spec.LoadBalancerSourceRanges = nil; loose(s) })
			}
		}
		// From the call on, the Controller doesn't answer, so the operator gets exactly that far.
		e.Sim.Inject(avisim.Fault{Method: c.method, Type: c.kind, Hang: true})
		before := e.Sim.FaultHits()
		change()
		e.Eventually("the call "+c.method+" "+c.kind, func() error {
			if e.Sim.FaultHits() == before {
				return fmt.Errorf("not yet")
			}
			return nil
		})
		e.StopOperator()
		e.Sim.ClearFaults()
		e.StartOperator()
		e.Eventually("the end state", func() error { return e.Complete(svc) })
		e.Delete(svc)
		gone(e, svc)
		e.Eventually("nothing is left", func() error { return e.Complete() })
	}
	opened(t, e)
}

// TestSessionAffinityAndRangesAtARestart: nothing is written, to either side, with all the fields in use.
func TestSessionAffinityAndRangesAtARestart(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	e.Own(e.Class(), e.SvcAPIClass(nil))
	services, olds, news := looked{controller: "service"}, looked{controller: "svcapigateway"}, looked{controller: "gateway"}
	for i := range 3 {
		svc := guardedAndSticky(e, fmt.Sprintf("s%d", i))
		annotate("l4.ako.vmware.com/drain-timeout", "30")(svc)
		annotate("l4.ako.vmware.com/ip-mode", "Proxy")(svc)
		e.Create(e.Slice(svc, "10.244.1.5"), svc)
		services.objects = append(services.objects, svc)
	}
	for name, gateway := range map[string]func(*suite.Env, string) ranged{"old": oldGateway, "new": newGateway} {
		gw := gateway(e, name)
		gw.set("10.0.0.0/8, fd00::/64")
		gw.create()
		gw.ready()
		wantAdmitted(e, gw.avi, "10.0.0.0/8", "fd00::/64")
		if name == "old" {
			olds.objects = append(olds.objects, gw.object)
		} else {
			news.objects = append(news.objects, gw.object)
		}
	}
	for _, o := range services.objects {
		svc, _ := o.(*corev1.Service)
		e.Condition(svc, "Healthy", "True", "Up")
		if mode := svc.Status.LoadBalancer.Ingress[0].IPMode; mode == nil || *mode != corev1.LoadBalancerIPModeProxy {
			t.Errorf("ipMode of %s is %v", svc.Name, mode)
		}
	}
	restart(t, e, services, olds, news)
}
