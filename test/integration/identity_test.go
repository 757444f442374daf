// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/avi-l4-operator/avi-l4-operator/controllers"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim"
	"github.com/avi-l4-operator/avi-l4-operator/test/suite"
)

// often has the Controller read and swept several times a second.
func often(o *controllers.Options) { o.Refresh = 300 * time.Millisecond }

// uid is that of the cluster.
func uid(e *suite.Env) string {
	ns := new(corev1.Namespace)
	ns.Name = "kube-system"
	if err := e.Read(ns); err != nil {
		e.T.Fatal(err)
	}
	return string(ns.UID)
}

// recorded is the UID of the cluster that the clusterName belongs to on the Controller, "" without a record.
func recorded(e *suite.Env) string {
	o := e.Object("stringgroup", "avi-l4-operator-"+e.Cluster)
	if o == nil {
		return ""
	}
	return fmt.Sprint(o["kv"])
}

// TestTwoClustersWithOneName share a Controller. The one that came first goes on and keeps its addresses; the other one writes
// nothing, says so everywhere, and takes the name over when it is told to, upon which the first one stops writing.
func TestTwoClustersWithOneName(t *testing.T) {
	t.Parallel()
	one := suite.New(t, suite.WithOptions(often))
	var services []*corev1.Service
	var addresses []string
	for i := range 4 {
		svc := one.Service(fmt.Sprintf("amf%d", i), suite.Port("SCTP", 38412))
		one.Create(svc, one.Slice(svc, "10.244.1.5"))
		services = append(services, svc)
	}
	for _, svc := range services {
		addresses = append(addresses, one.Programmed(svc))
	}
	if text := recorded(one); !strings.Contains(text, uid(one)) {
		t.Fatalf("the record is %q, and lacks UID %s", text, uid(one))
	}
	one.Loads(2)
	one.Sim.ResetRequests()

	two := suite.New(t, suite.SecondCluster(t).In, suite.Twin(one), suite.WithOptions(often))
	web := two.Service("web", suite.Port("TCP", 80))
	shared := two.SharedVIP("shared", "group", suite.Port("TCP", 81))
	two.Create(web, two.Slice(web, "10.244.9.9"), shared, two.Slice(shared, "10.244.9.8"))
	two.Eventually("the second cluster's operator isn't ready", func() error {
		if err := two.Operator.OwnName(nil); err == nil || !strings.Contains(err.Error(), uid(one)) || two.Operator.Ready(nil) == nil {
			return fmt.Errorf("it says %v", err)
		}
		return nil
	})
	for _, said := range []string{two.Condition(web, "Accepted", no, "NameTaken"), two.Condition(shared, "Accepted", no, "NameTaken"),
		two.Event(two.ConfigMap(), "NameTaken")} {
		for _, part := range []string{uid(one), uid(two), "avi-l4-operator-" + one.Cluster, "takeOverClusterUID"} {
			if !strings.Contains(said, part) {
				t.Errorf("%q lacks %s", said, part)
			}
		}
	}
	if held := append(web.Finalizers, shared.Finalizers...); len(held) > 0 {
		t.Errorf("a Service that can't be served is held: %v", held)
	}
	one.Loads(4)
	one.Sweeps(3)
	if w := one.Written(); len(w) > 0 {
		t.Errorf("two clusters wrote: %v", w)
	}
	for i, svc := range services {
		if a := one.Programmed(svc); a != addresses[i] {
			t.Errorf("%s had %s and has %s", svc.Name, addresses[i], a)
		}
	}
	if err := one.Complete(services...); err != nil {
		t.Error(err)
	}

	two.Configure(func(data map[string]string) { data["takeOverClusterUID"] = uid(one) })
	two.Programmed(web)
	two.Programmed(shared)
	if text := recorded(two); !strings.Contains(text, uid(two)) {
		t.Errorf("the record is %q, and lacks UID %s", text, uid(two))
	}
	one.Eventually("the first cluster's operator is refused", func() error {
		if one.Operator.OwnName(nil) == nil {
			return errors.New("it isn't")
		}
		return nil
	})
	one.Sim.ResetRequests()
	late := one.Service("late", suite.Port("SCTP", 38412))
	one.Create(late, one.Slice(late, "10.244.1.6"))
	one.Condition(late, "Accepted", no, "NameTaken")
	for _, w := range one.Writes() {
		if strings.Contains(string(w.Body), late.Name) {
			t.Errorf("the replaced cluster wrote: %s %s", w.Method, w.Path)
		}
	}
	for i, svc := range services { // what the status says stays
		err := one.Read(svc)
		if list := svc.Status.LoadBalancer.Ingress; err != nil || len(list) == 0 || list[0].IP != addresses[i] {
			t.Errorf("%s lost its address: %v %+v", svc.Name, err, list)
		}
	}
}

// TestNameWithoutRecord is that of an operator which never recorded it: a second cluster, which starts first after both were
// upgraded, has none of the objects and can't claim them; the one that they are for can.
func TestNameWithoutRecord(t *testing.T) {
	t.Parallel()
	one := suite.New(t, suite.WithOptions(often))
	svc := one.Service("amf", suite.Port("SCTP", 38412))
	one.Create(svc, one.Slice(svc, "10.244.1.5"))
	address := one.Programmed(svc)
	one.StopOperator()
	if err := one.Sim.Remove("stringgroup", "admin", "avi-l4-operator-"+one.Cluster); err != nil {
		t.Fatal("there is no record:", err)
	}
	one.Sim.ResetRequests()

	two := suite.New(t, suite.SecondCluster(t).In, suite.Twin(one), suite.WithOptions(often))
	web := two.Service("web", suite.Port("TCP", 80))
	two.Create(web, two.Slice(web, "10.244.9.9"))
	if said := two.Condition(web, "Programmed", no, "NameTaken"); !strings.Contains(said, `"unrecorded"`) {
		t.Errorf("it doesn't say what to do: %s", said)
	}
	two.Loads(3)
	if w := two.Written(); len(w) > 0 {
		t.Errorf("written by a cluster that has none of the objects: %v", w)
	}
	one.StartOperator()
	one.Eventually("the name is recorded", func() error {
		if text := recorded(one); !strings.Contains(text, uid(one)) {
			return fmt.Errorf("the record is %q", text)
		}
		return nil
	})
	two.Condition(web, "Programmed", no, "NameTaken")
	if w := one.Written(); len(w) != 0 || one.Programmed(svc) != address {
		t.Errorf("more was written than the record, or %s is not %s: %v", svc.Status.LoadBalancer.Ingress[0].IP, address, w)
	}
}

// TestSweptOnce is a VirtualService, of a Service that doesn't exist, which somebody makes again after it has been swept.
func TestSweptOnce(t *testing.T) {
	t.Parallel()
	e := suite.New(t, suite.WithOptions(often), suite.WithOptions(func(o *controllers.Options) { o.DeletionShare = 0.6 })) // one of two
	kept, lost := e.Service("kept", suite.Port("SCTP", 38412)), e.Service("lost", suite.Port("SCTP", 38412))
	e.Create(kept, lost, e.Slice(kept, "10.244.1.5"))
	e.Programmed(kept)
	e.Programmed(lost)
	var bodies []map[string]any
	kinds := []model.Kind{model.VsVip, model.Pool, model.L4PolicySet, model.VirtualService}
	for _, kind := range kinds {
		name := e.Name(lost)
		if kind == model.Pool {
			name = e.PoolName(lost, lost.Spec.Ports[0])
		}
		body := e.Object(string(kind), name)
		for _, field := range []string{"uuid", "url", "_last_modified", "configpb_attributes"} {
			delete(body, field)
		}
		bodies = append(bodies, body)
	}
	e.StopOperator()
	e.Force(lost)
	e.StartOperator()
	e.Eventually("the first sweep", func() error { return e.Complete(kept) })
	for i, kind := range kinds {
		if kind == model.VirtualService || kind == model.L4PolicySet || kind == model.Pool {
			bodies[i] = byName(bodies[i])
		}
		if _, err := e.Sim.Create(string(kind), "admin", bodies[i]); err != nil {
			t.Fatal(kind, err)
		}
	}
	e.Sim.ResetRequests()
	e.Loads(2)
	e.Sweeps(4)
	if w := e.Written(); len(w) > 0 {
		t.Errorf("swept again: %v", w)
	}
	if !slices.ContainsFunc(e.Logged(), func(l string) bool { return strings.Contains(l, "came back after it was swept") }) {
		t.Error("nobody was told")
	}
}

// byName has a body's references find the objects of the names that they carry.
func byName(body map[string]any) map[string]any {
	var walk func(any) any
	walk = func(v any) any {
		switch v := v.(type) {
		case map[string]any:
			for k, x := range v {
				v[k] = walk(x)
			}
		case []any:
			for i, x := range v {
				v[i] = walk(x)
			}
		case string:
			if path, name, ok := strings.Cut(v, "#"); ok && strings.Contains(path, "/api/") {
				kind := strings.Split(path[strings.Index(path, "/api/")+5:], "/")[0]
				return "/api/" + kind + "?name=" + name
			}
		}
		return v
	}
	walk(body)
	return body
}

// TestNameIsFreed by deleteConfig, once everything is gone.
func TestNameIsFreed(t *testing.T) {
	t.Parallel()
	e := suite.New(t, suite.WithOptions(often))
	svc := e.Service("amf", suite.Port("SCTP", 38412))
	e.Create(svc, e.Slice(svc, "10.244.1.5"))
	e.Programmed(svc)
	e.Configure(func(data map[string]string) { data["deleteConfig"] = "true" })
	e.Eventually("the record goes last", func() error {
		if text := recorded(e); text != "" {
			return fmt.Errorf("it is %s", text)
		}
		return e.Complete()
	})
	e.Eventually("the Service's conditions go", func() error {
		if err := e.Read(svc); err != nil || len(svc.Status.Conditions) == 0 {
			return err
		}
		return fmt.Errorf("they are %v", svc.Status.Conditions)
	})
	e.Configure(func(data map[string]string) { data["deleteConfig"] = "false" })
	e.Programmed(svc)
	if text := recorded(e); !strings.Contains(text, uid(e)) {
		t.Errorf("the record is %q", text)
	}
}

// TestAccountWithoutStringGroups: without the right, clusters can't be distinguished. Everything is served, and nothing is swept.
func TestAccountWithoutStringGroups(t *testing.T) {
	t.Parallel()
	sim, err := avisim.New(avisim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	sim.Inject(avisim.Fault{Type: "stringgroup", Status: 403, Body: `{"error":"not allowed"}`})
	e := suite.New(t, suite.WithOptions(often), func(e *suite.Env) { e.Sim = sim })
	kept, lost := e.Service("kept", suite.Port("SCTP", 38412)), e.Service("lost", suite.Port("SCTP", 38412))
	e.Create(kept, lost, e.Slice(kept, "10.244.1.5"))
	e.Programmed(kept)
	e.Programmed(lost)
	e.StopOperator()
	e.Force(lost)
	e.StartOperator()
	e.Eventually("readiness", func() error { return e.Operator.Ready(nil) })
	e.Loads(6) // and as many sweeps
	if err := e.Complete(kept, lost); err != nil {
		t.Error(err)
	}
}
