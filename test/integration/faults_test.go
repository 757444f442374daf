// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/avi-l4-operator/avi-l4-operator/controllers"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim"
	"github.com/avi-l4-operator/avi-l4-operator/test/suite"
)

// faults are the ways in which a single write may go wrong.
var faults = []struct {
	name  string
	fault avisim.Fault
}{
	{"400", avisim.Fault{Status: 400, Body: `{"error":"something is wrong"}`}},
	{"401", avisim.Fault{Status: 401, Body: `{"detail":"Authentication credentials were not provided."}`}},
	{"403", avisim.Fault{Status: 403, Body: `{"error":"not allowed"}`}},
	{"404", avisim.Fault{Status: 404, Body: `{"error":"object not found!"}`}},
	{"409", avisim.Fault{Status: 409, Body: `{"error":"object with this Name already exists."}`}},
	{"412", avisim.Fault{Status: 412, Body: `{"error":"Need to reload object data"}`}},
	{"419", avisim.Fault{Status: 419, Body: `{"error":"Need to switch session"}`}},
	{"429", avisim.Fault{Status: 429, Header: map[string]string{"Retry-After": "1"}}},
	{"500", avisim.Fault{Status: 500, Body: `{"error":"internal"}`}},
	{"503", avisim.Fault{Status: 503, Body: "<html>unavailable</html>"}},
	{"slow", avisim.Fault{Delay: 1500 * time.Millisecond}},
	{"reset-before", avisim.Fault{ResetBefore: true}},
	{"reset-after", avisim.Fault{ResetAfter: true}},
	{"expired-session", avisim.Fault{ExpireSessions: true}},
}

// writes are the calls of a Service's life: kind and verb.
var (
	creates = []call{{"POST", "vsvip"}, {"POST", "pool"}, {"POST", "l4policyset"}, {"POST", "virtualservice"}}
	updates = []call{{"PATCH", "vsvip"}, {"PATCH", "pool"}, {"POST", "pool"}, {"PATCH", "l4policyset"}, {"PATCH", "virtualservice"}}
	deletes = []call{{"DELETE", "virtualservice"}, {"DELETE", "vsvip"}, {"DELETE", "l4policyset"}, {"DELETE", "pool"}}
)

type call struct{ method, kind string }

// TestFaultAtEachWrite lets each write of a create, an update and a delete go wrong in each way. The operator converges
// to exactly one tree, leaves nothing behind, and never touches the neighbour.
func TestFaultAtEachWrite(t *testing.T) {
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			e := suite.New(t, suite.WithOptions(func(o *controllers.Options) {
				// A refusal that a person has to fix is looked at again with each refresh.
				o.Refresh, o.Timeout, o.Health = time.Second, time.Second, 10*time.Second
			}))
			neighbour := e.Service("neighbour", suite.Port("SCTP", 38412))
			e.Create(neighbour, e.Slice(neighbour, "10.244.9.9"))
			e.Programmed(neighbour)
			e.Sim.ResetRequests()

			var services []*corev1.Service
			for i, c := range creates {
				svc := e.Service(fmt.Sprintf("s%d", i), suite.Port("SCTP", 3868))
				hit := inject(e, f.fault, c, svc.Name)
				e.Create(svc, e.Slice(svc, "10.244.1.5"))
				e.Programmed(svc)
				hit()
				services = append(services, svc)
			}
			e.Eventually("one tree each", func() error { return e.Complete(append(services, neighbour)...) })

			svc := services[0]
			for i, c := range updates {
				// One edit that writes all four kinds: a port more or less, a hostname, and the endpoints.
				hit := inject(e, f.fault, c, svc.Name)
				extra := int32(4000 + i)
				suite.Update(e, svc, func(s *corev1.Service) {
					s.Spec.Ports = []corev1.ServicePort{suite.Port("SCTP", 3868), suite.Port("TCP", extra)}
					annotate("external-dns.alpha.kubernetes.io/hostname", fmt.Sprintf("h%d.example.com", i))(s)
				})
				suite.Update(e, e.Slice(svc), func(s *discovery) {
					s.Ports = e.Slice(svc).Ports
					s.Endpoints = []discoveryEndpoint{endpoint(fmt.Sprintf("10.244.2.%d", i+1), true, false)}
				})
				e.Eventually("the update", func() error {
					if e.Object("pool", e.PoolName(svc, suite.Port("TCP", extra))) == nil {
						return fmt.Errorf("no pool for port %d", extra)
					}
					if got := fmt.Sprint(e.Servers(e.PoolName(svc, svc.Spec.Ports[0]))); got != fmt.Sprintf("[10.244.2.%d:9090]", i+1) {
						return fmt.Errorf("servers are %s", got)
					}
					if got := fmt.Sprint(e.Object("vsvip", e.Name(svc))["dns_info"]); !strings.Contains(got, fmt.Sprintf("h%d.", i)) {
						return fmt.Errorf("dns_info is %s", got)
					}
					if got := fmt.Sprint(e.Object("virtualservice", e.Name(svc))["services"]); !strings.Contains(got, fmt.Sprint(extra)) {
						return fmt.Errorf("services are %s", got)
					}
					return e.Complete(append(services, neighbour)...)
				})
				hit()
				e.Programmed(svc)
			}

			for i, c := range deletes {
				hit := inject(e, f.fault, c, services[i].Name)
				e.Delete(services[i])
				e.Eventually("the deletion of "+services[i].Name, func() error {
					err := e.Client.Get(t.Context(), client.ObjectKeyFromObject(services[i]), new(corev1.Service))
					if !apierrors.IsNotFound(err) {
						return fmt.Errorf("still there: %v", err)
					}
					return nil
				})
				hit()
			}
			if err := e.Complete(neighbour); err != nil {
				t.Error(err)
			}
			for _, w := range e.Writes() {
				if strings.Contains(string(w.Body), "neighbour") || strings.Contains(w.Path, fmt.Sprint(e.Object("virtualservice", e.Name(neighbour))["uuid"])) {
					t.Errorf("the neighbour was written: %s %s", w.Method, w.Path)
				}
			}
		})
	}
}

// inject lets the next such call for the Service go wrong, and returns a check that it did.
func inject(e *suite.Env, f avisim.Fault, c call, service string) (hit func()) {
	e.T.Helper()
	f.Method, f.Type, f.Count = c.method, c.kind, 1
	f.ObjectName = regexp.MustCompile("-" + service + "(-|$)")
	before := e.Sim.FaultHits()
	remove := e.Sim.Inject(f)
	return func() {
		e.T.Helper()
		remove()
		if e.Sim.FaultHits() == before {
			e.T.Errorf("the fault at %s %s was never met", c.method, c.kind)
		}
	}
}

// TestCrashAfterEachStep stops the operator after each write of a create and of a delete, and starts another.
func TestCrashAfterEachStep(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	for i, c := range append(append([]call{}, creates...), deletes...) {
		svc := e.Service(fmt.Sprintf("c%d", i), suite.Port("SCTP", 3868))
		e.Create(e.Slice(svc, "10.244.1.5"))
		crash := func() {
			e.StopOperator()
			e.Sim.ClearFaults()
			e.StartOperator()
		}
		// From the call on, the Controller doesn't answer, so the operator gets exactly that far.
		stall := func() {
			e.Sim.Inject(avisim.Fault{Method: c.method, Type: c.kind, ObjectName: regexp.MustCompile("-" + svc.Name + "(-|$)"), Hang: true})
		}
		reached := func(begin func()) {
			before := e.Sim.FaultHits()
			begin()
			e.Eventually("the call "+c.method+" "+c.kind, func() error {
				if e.Sim.FaultHits() == before {
					return fmt.Errorf("not yet")
				}
				return nil
			})
		}
		if c.method == "POST" {
			stall()
			reached(func() { e.Create(svc) })
			crash()
			e.Programmed(svc)
		} else {
			e.Create(svc)
			e.Programmed(svc)
			stall()
			reached(func() { e.Delete(svc) })
			crash()
		}
		e.Eventually("the end state", func() error {
			if c.method == "POST" {
				return e.Complete(svc)
			}
			return e.Complete()
		})
		if c.method == "POST" {
			e.Delete(svc)
			e.Eventually("the deletion", func() error { return e.Complete() })
		}
	}
}

// TestDrift edits objects behind the operator's back: what is ours comes back within a refresh, what isn't ours stays.
func TestDrift(t *testing.T) {
	t.Parallel()
	e := suite.New(t, suite.WithOptions(func(o *controllers.Options) { o.Refresh = 300 * time.Millisecond }))
	svc := e.Service("amf", suite.Port("SCTP", 38412), suite.Port("TCP", 80))
	e.Create(svc, e.Slice(svc, "10.244.1.5", "10.244.2.6"))
	e.Programmed(svc)
	pool, name := e.PoolName(svc, svc.Spec.Ports[0]), e.Name(svc)
	edit := func(kind, name string, change func(map[string]any)) func() {
		return func() {
			if err := e.Sim.Edit(kind, "admin", name, change); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range []struct {
		name  string
		edit  func()
		wrong func() bool
	}{
		{"a server removed", edit("pool", pool, func(o map[string]any) { o["servers"] = o["servers"].([]any)[:1] }), func() bool { return len(e.Servers(pool)) != 2 }},
		{"a server disabled", edit("pool", pool, func(o map[string]any) { o["servers"].([]any)[0].(map[string]any)["enabled"] = false }), func() bool { return strings.Contains(fmt.Sprint(e.Servers(pool)), "disabled") }},
		{"a foreign server added", edit("pool", pool, func(o map[string]any) {
			o["servers"] = append(o["servers"].([]any), map[string]any{"ip": map[string]any{"addr": "192.0.2.9", "type": "V4"}, "port": 1})
		}), func() bool { return len(e.Servers(pool)) != 2 }},
		{"traffic disabled", edit("virtualservice", name, func(o map[string]any) { o["traffic_enabled"] = false }), func() bool { return e.Object("virtualservice", name)["traffic_enabled"] == false }},
		{"a port changed", edit("virtualservice", name, func(o map[string]any) { o["services"].([]any)[0].(map[string]any)["port"] = 1 }),
			func() bool {
				return fmt.Sprint(e.Object("virtualservice", name)["services"].([]any)[0].(map[string]any)["port"]) == "1"
			}},
		{"the rules removed", edit("l4policyset", name, func(o map[string]any) { delete(o, "l4_connection_policy") }), func() bool { return e.Object("l4policyset", name)["l4_connection_policy"] == nil }},
		{"the DNS name removed", edit("vsvip", name, func(o map[string]any) { delete(o, "dns_info") }), func() bool { return e.Object("vsvip", name)["dns_info"] == nil }},
		{"the VirtualService deleted", func() {
			if err := e.Sim.Remove("virtualservice", "admin", name); err != nil {
				t.Fatal(err)
			}
		}, func() bool { return e.Object("virtualservice", name) == nil }},
		{"a pool deleted", func() {
			if err := e.Sim.Remove("pool", "admin", pool); err != nil {
				t.Fatal(err)
			}
		}, func() bool {
			set := e.Object("l4policyset", name)
			return e.Object("pool", pool) == nil || strings.Count(fmt.Sprint(set), "/api/pool/") != 2
		}},
	} {
		c.edit()
		if !c.wrong() {
			t.Fatalf("%s: the edit had no effect", c.name)
		}
		e.Eventually(c.name, func() error {
			if c.wrong() {
				return fmt.Errorf("not repaired: %v", methods(e))
			}
			return e.Complete(svc)
		})
	}

	// The network team's own settings, on the object and on one of its servers, survive updates and refreshes.
	edit("pool", pool, func(o map[string]any) {
		o["connection_ramp_duration"] = 3
		o["lb_algorithm"] = "LB_ALGORITHM_ROUND_ROBIN"
		o["servers"].([]any)[0].(map[string]any)["ratio"] = 7
	})()
	edit("virtualservice", name, func(o map[string]any) { o["description"], o["weight"] = "ours too", 4 })()
	e.Loads(2)
	e.LookAgain("service", svc)
	suite.Update(e, e.Slice(svc), func(s *discovery) { s.Endpoints = append(s.Endpoints, endpoint("10.244.3.7", true, false)) })
	e.Eventually("the third server", func() error {
		if len(e.Servers(pool)) != 3 {
			return fmt.Errorf("servers are %v", e.Servers(pool))
		}
		return nil
	})
	o, vs := e.Object("pool", pool), e.Object("virtualservice", name)
	if fmt.Sprint(o["connection_ramp_duration"]) != "3" || o["lb_algorithm"] != "LB_ALGORITHM_ROUND_ROBIN" ||
		vs["description"] != "ours too" || fmt.Sprint(vs["weight"]) != "4" {
		t.Errorf("the network team's settings are gone: %v %v", o, vs)
	}
	if ratio := o["servers"].([]any)[0].(map[string]any)["ratio"]; fmt.Sprint(ratio) != "7" {
		t.Errorf("the server's ratio is %v", ratio)
	}
}

func TestControllerDownAndBack(t *testing.T) {
	t.Parallel()
	e := suite.New(t, suite.WithOptions(func(o *controllers.Options) { o.Refresh, o.Timeout = 2*time.Second, time.Second }))
	live := e.Service("live", suite.Port("SCTP", 38412))
	slice := e.Slice(live, "10.244.1.5")
	e.Create(live, slice)
	vip := e.Programmed(live)
	e.Sim.SetDown(true)
	fresh := e.Service("fresh", suite.Port("SCTP", 38412))
	e.Create(fresh)
	m := e.Condition(fresh, "Programmed", "False", "ControllerUnavailable")
	if !strings.Contains(m, "/api/") {
		t.Errorf("message: %s", m)
	}
	suite.Update(e, slice, func(s *discovery) { s.Endpoints = append(s.Endpoints, endpoint("10.244.2.6", true, false)) })
	gone := e.Service("gone", suite.Port("SCTP", 38412))
	e.Create(gone)
	e.Delete(gone)
	e.Condition(live, "Programmed", "False", "ControllerUnavailable")
	if ip := live.Status.LoadBalancer.Ingress[0].IP; ip != vip {
		t.Errorf("the live Service lost its address: %s, was %s", ip, vip)
	}
	e.Sim.SetDown(false)
	e.Programmed(live)
	e.Programmed(fresh)
	e.Eventually("two trees", func() error {
		if got := e.Servers(e.PoolName(live, live.Spec.Ports[0])); len(got) != 2 {
			return fmt.Errorf("servers are %v", got)
		}
		return e.Complete(live, fresh)
	})
}

func TestAddressesExhausted(t *testing.T) {
	t.Parallel()
	e := suite.New(t, suite.WithOptions(func(o *controllers.Options) { o.Refresh = time.Second }))
	e.Sim.SetIPAMExhausted(true)
	svc := e.Service("amf", suite.Port("SCTP", 38412))
	e.Create(svc)
	if m := e.Condition(svc, "Programmed", "False", "NoFreeAddress"); !strings.Contains(m, "No available free IPs") || !strings.Contains(m,
		"VIP network") {
		t.Errorf("message: %s", m)
	}
	e.Sim.SetIPAMExhausted(false)
	e.Programmed(svc)
	if err := e.Complete(svc); err != nil {
		t.Error(err)
	}
}

// TestForbiddenIsTriedAgain: the operator doesn't learn when its account gets a right, and the next full read is an hour away.
func TestForbiddenIsTriedAgain(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	remove := e.Sim.Inject(avisim.Fault{Method: "POST", Type: "virtualservice", Status: 403, Body: `{"error":"not allowed"}`})
	svc := e.Service("amf", suite.Port("SCTP", 38412))
	e.Create(svc, e.Slice(svc, "10.244.1.5"))
	e.Condition(svc, "Programmed", no, "")
	remove()
	e.Programmed(svc)
}
