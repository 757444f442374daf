// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/avi-l4-operator/avi-l4-operator/controllers"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim"
	"github.com/avi-l4-operator/avi-l4-operator/test/suite"
)

// some are Services that are served, with their addresses.
func some(e *suite.Env, n int) (services []*corev1.Service, addresses []string) {
	for i := range n {
		svc := e.Service(fmt.Sprintf("s%d", i), suite.Port("SCTP", 38412))
		e.Create(svc, e.Slice(svc, "10.244.1.5"))
		services = append(services, svc)
	}
	for _, svc := range services {
		addresses = append(addresses, e.Programmed(svc))
		e.Condition(svc, "Healthy", metav1.ConditionTrue, "Up")
	}
	return services, addresses
}

// lost are the Services whose statuses don't have their addresses any more.
func lost(e *suite.Env, services []*corev1.Service, addresses []string) (out []string) {
	for i, svc := range services {
		if err := e.Read(svc); err != nil || len(svc.Status.LoadBalancer.Ingress) != 1 || svc.Status.LoadBalancer.Ingress[0].IP != addresses[i] {
			out = append(out, fmt.Sprintf("%s had %s: %v %+v %+v", svc.Name, addresses[i], err, svc.Status.LoadBalancer, svc.Status.Conditions))
		}
	}
	return out
}

// uuids are those of everything that carries the cluster's prefix.
func uuids(e *suite.Env) (out []string) {
	for _, kind := range model.Written {
		for _, o := range e.Sim.Objects(string(kind)) {
			if name, _ := o["name"].(string); strings.HasPrefix(name, e.Cluster+"--") {
				out = append(out, fmt.Sprint(o["uuid"]))
			}
		}
	}
	slices.Sort(out)
	return out
}

// nonsense is what a Controller, or what stands before it, may say of objects that are there.
func nonsense() map[string][]avisim.Fault {
	effect := func(kind, name string, params map[string]string) avisim.Fault {
		return avisim.Fault{Method: "GET", Type: kind, Effects: []avisim.Effect{{Name: name, Args: params}}}
	}
	every := func(name string, params map[string]string) (out []avisim.Fault) {
		for _, kind := range model.Written {
			out = append(out, effect(string(kind), name, params))
		}
		return out
	}
	return map[string][]avisim.Fault{
		"lists without VsVips":          {effect("vsvip", "hide", nil)},
		"lists without VirtualServices": {effect("virtualservice", "hide", nil)},
		"empty lists":                   every("hide", nil),
		"null lists":                    every("null-lists", map[string]string{"results": "true"}),
		"no markers":                    every("drop-fields", map[string]string{"fields": "markers"}),
		"no created_by":                 every("drop-fields", map[string]string{"fields": "created_by"}),
		"no vip":                        every("drop-fields", map[string]string{"fields": "vip"}),
		"404 to each read":              {{Method: "GET", Status: 404, Body: `{"error":"object not found!"}`}},
		"404 to each read of a VsVip":   {{Method: "GET", Type: "vsvip", Status: 404, Body: `{"error":"VsVip object not found!"}`}},
		"404 to each call":              {{Status: 404, Body: `{"error":"object not found!"}`}},
	}
}

// TestControllerThatTalksNonsense: whatever it says, to an operator that runs and to one that starts, no status loses its address, and
// nothing is deleted. When it talks sense again, everything is as it was.
func TestControllerThatTalksNonsense(t *testing.T) {
	for name, faults := range nonsense() {
		for _, restarts := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, restart %t", name, restarts), func(t *testing.T) {
				t.Parallel()
				e := suite.New(t, suite.WithOptions(often))
				services, addresses := some(e, 3)
				before := uuids(e)
				e.Sim.ResetRequests()
				if restarts {
					e.StopOperator()
				}
				var remove []func()
				for _, f := range faults {
					remove = append(remove, e.Sim.Inject(f))
				}
				if restarts {
					e.StartOperator()
				}
				for _, svc := range services { // something to do meanwhile
					suite.Update(e, svc, annotate("example.com/touched", "yes"))
				}
				for until := time.Now().Add(1500 * time.Millisecond); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
					if l := lost(e, services, addresses); len(l) > 0 {
						t.Fatalf("meanwhile: %s", l)
					}
				}
				for _, r := range remove {
					r()
				}
				e.Loads(1)
				for _, svc := range services {
					e.Programmed(svc)
				}
				e.Eventually("all is as it was", func() error { return e.Complete(services...) })
				if now := uuids(e); !slices.Equal(now, before) {
					t.Errorf("other objects than before: %v, before %v", now, before)
				}
				for _, w := range e.Writes() {
					if w.Method == "DELETE" && w.Status == 204 {
						t.Errorf("deleted: %s", w.Path)
					}
				}
				for _, l := range lost(e, services, addresses) {
					t.Error(l)
				}
			})
		}
	}
}

// TestNotFoundIsNoProof: while everything is answered with 404, Services are deleted. Their finalizers stay until their objects have
// gone, since nobody else would ever delete these.
func TestNotFoundIsNoProof(t *testing.T) {
	t.Parallel()
	e := suite.New(t, suite.WithOptions(often))
	services, _ := some(e, 6)
	remove := e.Sim.Inject(avisim.Fault{Status: 404, Body: `{"error":"object not found!"}`})
	for _, svc := range services[:4] {
		e.Delete(svc)
	}
	e.Never("a finalizer is released", 2*time.Second, func() bool {
		return slices.ContainsFunc(services[:4], func(svc *corev1.Service) bool { return apierrors.IsNotFound(e.Read(svc)) })
	})
	remove()
	for _, svc := range services[:4] {
		e.Eventually(svc.Name+" goes", func() error {
			if err := e.Read(svc); !apierrors.IsNotFound(err) {
				return fmt.Errorf("it is there still: %w", err)
			}
			return nil
		})
	}
	if err := e.Complete(services[4:]...); err != nil {
		t.Error(err)
	}
}

// TestVanishedVsVip under a VirtualService, which serves nobody then: both are made anew without anybody's consent, with the old address.
func TestVanishedVsVip(t *testing.T) {
	t.Parallel()
	e := suite.New(t, suite.WithOptions(often))
	services, addresses := some(e, 2)
	svc := services[1]
	before := e.Object("virtualservice", e.Name(svc))["uuid"]
	e.Sim.Inject(avisim.Fault{Method: "GET", Type: "vsvip", Count: 1, Effects: []avisim.Effect{
		{Name: "foreign-delete", Args: map[string]string{"type": "vsvip", "tenant": "admin", "name": e.Name(svc)}}}})
	e.Eventually("the VirtualService refers to a VsVip that is there", func() error {
		vs, vip := e.Object("virtualservice", e.Name(svc)), e.Object("vsvip", e.Name(svc))
		if vs == nil || vip == nil || vs["uuid"] == before || !strings.Contains(fmt.Sprint(vs["vsvip_ref"]), fmt.Sprint(vip["uuid"])) {
			return fmt.Errorf("they are %v and %v", vs["vsvip_ref"], vip["uuid"])
		}
		return nil
	})
	e.Condition(svc, "Programmed", metav1.ConditionTrue, "Programmed")
	e.Eventually("nothing is lost", func() error {
		if l := lost(e, services, addresses); len(l) > 0 {
			return fmt.Errorf("%v", l)
		}
		return e.Complete(services...)
	})
}

// TestRestoredBackup is a Controller that has forgotten what was made since: it comes back with the same addresses, but for one that
// somebody else has got meanwhile, which is said.
func TestRestoredBackup(t *testing.T) {
	t.Parallel()
	e := suite.New(t, suite.WithOptions(func(o *controllers.Options) { o.Refresh = time.Second }))
	services, addresses := some(e, 8)
	e.StopOperator()
	for _, svc := range services {
		for _, kind := range []string{"virtualservice", "l4policyset", "pool", "vsvip"} {
			name := e.Name(svc)
			if kind == "pool" {
				name = e.PoolName(svc, svc.Spec.Ports[0])
			}
			if err := e.Sim.Remove(kind, "admin", name); err != nil {
				t.Fatal(err)
			}
		}
	}
	unlucky := services[0]
	if _, err := e.Sim.Create("vsvip", "admin", map[string]any{"name": "somebody-elses", "vip": []any{map[string]any{"vip_id": "0",
		"auto_allocate_ip": true, "ip_address": map[string]any{"addr": addresses[0], "type": "V4"}}}}); err != nil {
		t.Fatal(err)
	}
	e.StartOperator()
	e.Eventually("all are there again", func() error { return e.Complete(services...) })
	e.Told(unlucky, "AddressLost", addresses[0])
	e.Eventually("addresses", func() error {
		if l := lost(e, services, addresses); len(l) != 1 || !strings.HasPrefix(l[0], unlucky.Name+" ") {
			return fmt.Errorf("lost are %v", l)
		}
		return nil
	})
	if a := e.Programmed(unlucky); slices.Contains(addresses, a) {
		t.Errorf("it has %s, which is another's", a)
	}
}

// TestNamesake is a Service that would have the name of another one's objects: a-b/c and a/b-c. While the objects of one are being
// made, the removal of the other leaves them alone.
func TestNamesake(t *testing.T) {
	t.Parallel()
	e := suite.New(t, suite.WithOptions(often))
	inner := e.Apart(t)
	outer := e.In(t)
	outer.Namespace = inner.Namespace + "-b"
	e.Create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: outer.Namespace, Labels: map[string]string{"served-by": e.Cluster}}})
	first, second := outer.Service("c", suite.Port("SCTP", 38412)), inner.Service("b-c", suite.Port("SCTP", 38412))
	release := e.Sim.Inject(avisim.Fault{Method: "POST", Type: "virtualservice", Status: 503})
	e.Create(first, outer.Slice(first, "10.244.1.5"))
	e.Eventually("the VsVip", func() error {
		if e.Object("vsvip", outer.Name(first)) == nil {
			return fmt.Errorf("there is none")
		}
		return nil
	})
	uuid := e.Object("vsvip", outer.Name(first))["uuid"]
	e.Create(second, inner.Slice(second, "10.244.1.6"))
	e.Condition(second, "Programmed", metav1.ConditionFalse, "")
	e.Delete(second)
	e.Eventually("the second one goes", func() error {
		if err := e.Client.Get(t.Context(), client.ObjectKeyFromObject(second), second); !apierrors.IsNotFound(err) {
			return fmt.Errorf("it is there: %w", err)
		}
		return nil
	})
	if vip := e.Object("vsvip", outer.Name(first)); vip == nil || vip["uuid"] != uuid {
		t.Errorf("the first one's VsVip went with the second one: %v", vip)
	}
	release()
	e.Programmed(first)
	if vip := e.Object("vsvip", outer.Name(first)); vip == nil || vip["uuid"] != uuid {
		t.Errorf("the VsVip is another: %v", vip)
	}
}
