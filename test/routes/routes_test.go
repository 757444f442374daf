// SPDX-License-Identifier: Apache-2.0

package routes

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1beta1"
	"github.com/avi-l4-operator/avi-l4-operator/controllers"
	"github.com/avi-l4-operator/avi-l4-operator/internal/staticroutes"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim"
	"github.com/avi-l4-operator/avi-l4-operator/test/suite"
)

// Routes appear with nodes, follow their addresses and go with them; what others have in the VRF context stays.
func TestRoutesFollowNodes(t *testing.T) {
	e := env(t)
	others := foreign(e)
	node(e, "a", "10.0.0.1", "10.244.1.0/24")
	b := node(e, "b", "10.0.0.2", "10.244.2.0/24")
	want(e, "10.244.1.0/24 via 10.0.0.1", "10.244.2.0/24 via 10.0.0.2")
	if id, form := idOf(e, "10.244.2.0/24"), e.Cluster+"-"+string(b.UID)+"-0"; id != form {
		t.Errorf("route id is %s, want %s", id, form)
	}
	e.Eventually("the group's label", func() error {
		if got := group(e, "Default-Group"); got != labelled(e.Cluster) {
			return fmt.Errorf("labels are %s", got)
		}
		return nil
	})

	looked(e)
	e.Sim.ResetRequests()
	node(e, "c", "10.0.0.3", "10.244.3.0/24")
	want(e, "10.244.1.0/24 via 10.0.0.1", "10.244.2.0/24 via 10.0.0.2", "10.244.3.0/24 via 10.0.0.3")
	looked(e)
	if n := len(e.Writes()); n != 1 {
		t.Errorf("one more node cost %d writes, want 1", n)
	}

	id := idOf(e, "10.244.2.0/24")
	addressed(e, b, "10.0.0.22")
	want(e, "10.244.1.0/24 via 10.0.0.1", "10.244.2.0/24 via 10.0.0.22", "10.244.3.0/24 via 10.0.0.3")
	if now := idOf(e, "10.244.2.0/24"); now != id {
		t.Errorf("the id was %s and is %s", id, now)
	}

	// A node without an address is still there, and so are its pods.
	e.Sim.ResetRequests()
	addressed(e, b, "")
	looked(e)
	want(e, "10.244.1.0/24 via 10.0.0.1", "10.244.2.0/24 via 10.0.0.22", "10.244.3.0/24 via 10.0.0.3")
	if n := len(e.Writes()); n != 0 {
		t.Errorf("a node without an address cost %d writes", n)
	}

	e.Delete(b)
	want(e, "10.244.1.0/24 via 10.0.0.1", "10.244.3.0/24 via 10.0.0.3")
	if now := foreign(e); now != others {
		t.Errorf("what others have was\n%s\nand is\n%s", others, now)
	}
}

func TestRestartWritesNothing(t *testing.T) {
	e := env(t)
	node(e, "a", "10.0.0.1", "10.244.1.0/24", "fd00:1::/64")
	node(e, "b", "10.0.0.2", "10.244.2.0/24")
	want(e, "10.244.1.0/24 via 10.0.0.1", "10.244.2.0/24 via 10.0.0.2")
	looked(e)
	e.StopOperator()
	e.Sim.ResetRequests()
	e.StartOperator()
	looked(e)
	if w := e.Sim.Writes(); len(w) != 0 {
		t.Errorf("a restart wrote %s %s", w[0].Method, w[0].Path)
	}
	want(e, "10.244.1.0/24 via 10.0.0.1", "10.244.2.0/24 via 10.0.0.2")
}

// A node that goes while nobody looks takes its route at the next start.
func TestNodeDeletedWhileStopped(t *testing.T) {
	e := env(t)
	node(e, "a", "10.0.0.1", "10.244.1.0/24")
	b := node(e, "b", "10.0.0.2", "10.244.2.0/24")
	want(e, "10.244.1.0/24 via 10.0.0.1", "10.244.2.0/24 via 10.0.0.2")
	e.StopOperator()
	e.Delete(b)
	e.StartOperator()
	want(e, "10.244.1.0/24 via 10.0.0.1")
}

// The last node's route stays: a list without any node is hardly the truth.
func TestNoNodesAtAllRemovesNothing(t *testing.T) {
	e := env(t)
	a := node(e, "a", "10.0.0.1", "10.244.1.0/24")
	want(e, "10.244.1.0/24 via 10.0.0.1")
	e.Delete(a)
	looked(e)
	want(e, "10.244.1.0/24 via 10.0.0.1")
	event(e, "ConfigMap", "avi-k8s-config", staticroutes.ReasonPodCIDRsUnreadable, "no Node at all")
}

func TestTakeOverOfAKOsRoutesIsNoWrite(t *testing.T) {
	e := env(t, func(e *suite.Env) {
		editVRF(e, func(m map[string]any) {
			list, _ := m["static_routes"].([]any)
			for i := range 3 {
				r := route(fmt.Sprintf("%s-7c9d2e11-0d3b-4f6a-8f15-2b9c4d5e6f7%d-0", e.Cluster, i), fmt.Sprintf("10.244.%d.0/24", i+1), fmt.Sprintf("10.0.0.%d", i+1), e.Cluster)
				list = append(list, r)
			}
			m["static_routes"] = list
		})
		if err := e.Sim.Edit("serviceenginegroup", "admin", "Default-Group", func(m map[string]any) {
			m["labels"] = []any{map[string]any{"key": "clustername", "value": e.Cluster}}
		}); err != nil {
			e.T.Fatal(err)
		}
	})
	e.StopOperator()
	for i := range 3 {
		node(e, fmt.Sprint(i), fmt.Sprintf("10.0.0.%d", i+1), fmt.Sprintf("10.244.%d.0/24", i+1))
	}
	e.StartOperator()
	looked(e)
	if w := e.Writes(); len(w) != 0 {
		t.Errorf("the take-over wrote %s %s", w[0].Method, w[0].Path)
	}
	want(e, "10.244.1.0/24 via 10.0.0.1", "10.244.2.0/24 via 10.0.0.2", "10.244.3.0/24 via 10.0.0.3")
}

// Somebody who writes between our read and our write loses nothing.
func TestLostRaceIsRunAgain(t *testing.T) {
	e := env(t)
	node(e, "a", "10.0.0.1", "10.244.1.0/24")
	want(e, "10.244.1.0/24 via 10.0.0.1")
	looked(e)
	e.Sim.ResetRequests()
	remove := e.Sim.Inject(avisim.Fault{Method: "PUT", Type: "vrfcontext", Count: 1, Delay: 700 * time.Millisecond})
	defer remove()
	hits := e.Sim.FaultHits()
	go func() {
		for e.Sim.FaultHits() == hits { // the write is on its way
			time.Sleep(time.Millisecond)
		}
		editVRF(e, func(m map[string]any) {
			list, _ := m["static_routes"].([]any)
			m["static_routes"] = append(list, route("race", "172.16.0.0/12", "10.0.255.1", ""))
		})
	}()
	node(e, "b", "10.0.0.2", "10.244.2.0/24")
	want(e, "10.244.1.0/24 via 10.0.0.1", "10.244.2.0/24 via 10.0.0.2")
	if !strings.Contains(foreign(e), `"race"`) {
		t.Errorf("the other's route is lost: %s", foreign(e))
	}
	var statuses []int
	for _, w := range e.Writes() {
		statuses = append(statuses, w.Status)
	}
	if !slices.Equal(statuses, []int{412, 200}) {
		t.Errorf("the writes were answered %v, want 412 and 200", statuses)
	}
}

var faults = []struct {
	name  string
	fault avisim.Fault
}{
	{"400", avisim.Fault{Status: 400, Body: `{"error":"something is wrong"}`}},
	{"401", avisim.Fault{Status: 401}},
	{"403", avisim.Fault{Status: 403, Body: `{"error":"not allowed"}`}},
	{"404", avisim.Fault{Status: 404, Body: `{"error":"object not found!"}`}},
	{"409", avisim.Fault{Status: 409, Body: `{"error":"object with this Name already exists."}`}},
	{"412", avisim.Fault{Status: 412, Body: `{"error":"Need to reload object data VrfContext"}`}},
	{"412-five-times", avisim.Fault{Status: 412, Count: 5, Body: `{"error":"Need to reload object data VrfContext"}`}},
	{"419", avisim.Fault{Status: 419}},
	{"429", avisim.Fault{Status: 429, Header: map[string]string{"Retry-After": "1"}}},
	{"500", avisim.Fault{Status: 500}},
	{"503", avisim.Fault{Status: 503}},
	{"timeout", avisim.Fault{Delay: 1500 * time.Millisecond}},
	{"reset-before", avisim.Fault{ResetBefore: true}},
	{"lost-answer", avisim.Fault{ResetAfter: true}},
	{"expired-session", avisim.Fault{ExpireSessions: true}},
}

// TestFaultAtTheWrite lets the write of the VRF context, and of the group, go wrong in each way. The routes converge, none
// is doubled, and what others have stays.
func TestFaultAtTheWrite(t *testing.T) {
	e := env(t, refreshing())
	others := foreign(e)
	node(e, "a", "10.0.0.1", "10.244.1.0/24")
	expected := []string{"10.244.1.0/24 via 10.0.0.1"}
	want(e, expected...)
	for i, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			sub := e.In(t)
			for _, kind := range []string{"vrfcontext", "serviceenginegroup"} {
				f := f.fault
				f.Method, f.Type, f.Count = "PUT", kind, max(f.Count, 1)
				hits := e.Sim.FaultHits()
				remove := e.Sim.Inject(f)
				defer remove()
				if kind == "vrfcontext" {
					node(e, fmt.Sprint("n", i), fmt.Sprintf("10.0.1.%d", i+1), fmt.Sprintf("10.245.%d.0/24", i))
					expected = append(expected, fmt.Sprintf("10.245.%d.0/24 via 10.0.1.%d", i, i+1))
				} else if err := e.Sim.Edit(kind, "admin", "Default-Group", func(m map[string]any) { delete(m, "labels") }); err != nil {
					t.Fatal(err)
				}
				sub.Eventually("the fault at "+kind, func() error {
					if e.Sim.FaultHits() == hits {
						return fmt.Errorf("not met")
					}
					return nil
				})
				want(sub, slices.Clone(expected)...)
				sub.Eventually("the label", func() error {
					if got := group(e, "Default-Group"); got != labelled(e.Cluster) {
						return fmt.Errorf("labels are %s", got)
					}
					return nil
				})
			}
			if now := foreign(e); now != others {
				t.Errorf("what others have was\n%s\nand is\n%s", others, now)
			}
		})
	}
	ids := map[string]bool{}
	for _, r := range staticRoutes(e) {
		if ids[r.id] {
			t.Errorf("route id %s is there twice", r.id)
		}
		ids[r.id] = true
	}
}

// What people do to our routes is put right at the next refresh; what they add for themselves stays.
func TestManualEditsAreRepaired(t *testing.T) {
	e := env(t, refreshing())
	node(e, "a", "10.0.0.1", "10.244.1.0/24")
	node(e, "b", "10.0.0.2", "10.244.2.0/24")
	good := []string{"10.244.1.0/24 via 10.0.0.1", "10.244.2.0/24 via 10.0.0.2"}
	want(e, good...)
	ours := func(m map[string]any) (first map[string]any, rest []any) {
		for _, r := range m["static_routes"].([]any) {
			if o := r.(map[string]any); first == nil && strings.HasPrefix(o["route_id"].(string), e.Cluster+"-") {
				first = o
				continue
			}
			rest = append(rest, r)
		}
		return first, rest
	}
	for name, edit := range map[string]func(m map[string]any){
		"next hop": func(m map[string]any) {
			r, _ := ours(m)
			r["next_hop"] = map[string]any{"addr": "10.9.9.9", "type": "V4"}
		},
		"label":    func(m map[string]any) { r, _ := ours(m); delete(r, "labels") },
		"gone":     func(m map[string]any) { _, m["static_routes"] = ours(m) },
		"all gone": func(m map[string]any) { delete(m, "static_routes") },
		"doubled": func(m map[string]any) {
			m["static_routes"] = append(m["static_routes"].([]any), route("double", "10.244.1.0/24", "10.0.0.1", e.Cluster))
		},
		"our label": func(m map[string]any) {
			m["static_routes"] = append(m["static_routes"].([]any), route("extra", "172.30.0.0/16", "10.0.0.1", e.Cluster))
		},
	} {
		editVRF(e, edit)
		want(e, good...)
		t.Log("repaired:", name)
	}
	editVRF(e, func(m map[string]any) {
		m["static_routes"] = append(m["static_routes"].([]any), route("theirs", "172.31.0.0/16", "10.0.0.1", ""))
		m["description"] = "changed by a person"
	})
	looked(e)
	if now := foreign(e); !strings.Contains(now, `"theirs"`) || !strings.Contains(now, "changed by a person") {
		t.Errorf("what others changed is gone: %s", now)
	}
}

// With deleteConfig routes and label go after the last VirtualService, and nothing of others.
func TestDeleteConfig(t *testing.T) {
	e := env(t)
	others := foreign(e)
	node(e, "a", "10.0.0.1", "10.244.1.0/24")
	want(e, "10.244.1.0/24 via 10.0.0.1")
	svc := e.Service("amf", suite.Port("SCTP", 38412))
	e.Create(svc, e.Slice(svc, "10.244.1.5"))
	e.Programmed(svc)
	// Another's VirtualService under our cluster name, such as AKO's for an Ingress.
	vip := map[string]any{"name": e.Cluster + "--shared-vs",
		"vip": []any{map[string]any{"vip_id": "0", "ip_address": map[string]any{"addr": "10.10.9.9", "type": "V4"}}}}
	if _, err := e.Sim.Create("vsvip", "admin", vip); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Sim.Create("virtualservice", "admin",
		map[string]any{"name": e.Cluster + "--shared-vs", "vsvip_ref": "/api/vsvip?name=" + e.Cluster + "--shared-vs",
			"services": []any{map[string]any{"port": 443}}}); err != nil {
		t.Fatal(err)
	}
	e.Sim.ResetRequests()
	e.Configure(func(m map[string]string) { m["deleteConfig"] = "true" })
	event(e, "ConfigMap", "avi-k8s-config", "DeletionHeld", "such as "+e.Cluster+"--shared-vs")
	want(e, "10.244.1.0/24 via 10.0.0.1")
	if e.Object("virtualservice", e.Name(svc)) != nil {
		t.Error("our VirtualService is still there")
	}
	if err := e.Sim.Remove("virtualservice", "admin", e.Cluster+"--shared-vs"); err != nil {
		t.Fatal(err)
	}
	want(e)
	e.Eventually("the label goes", func() error {
		if got := group(e, "Default-Group"); got != "<nil>" {
			return fmt.Errorf("labels are %s", got)
		}
		return nil
	})
	if now := foreign(e); now != others {
		t.Errorf("what others have was\n%s\nand is\n%s", others, now)
	}
	last := ""
	for _, w := range e.Writes() {
		if w.Method == "PUT" {
			last = w.Path
		} else if last != "" {
			t.Errorf("%s %s came after the PUT of %s", w.Method, w.Path, last)
		}
	}
	e.Configure(func(m map[string]string) { m["deleteConfig"] = "false" })
	want(e, "10.244.1.0/24 via 10.0.0.1")
}

// Switched off, nothing is read of nodes and nothing is written; what stands stays.
func TestSwitchedOff(t *testing.T) {
	for name, config := range map[string][2]string{
		"flag": {"disableStaticRouteSync", "true"}, "node ports": {"serviceType", "NodePort"}, "not primary": {"primaryInstance", "false"},
		"layer 7": {"layer7Only", "true"},
	} {
		t.Run(name, func(t *testing.T) {
			e := env(t, suite.WithConfig(config[0], config[1]))
			node(e, "a", "10.0.0.1", "10.244.1.0/24")
			e.Eventually("the first reading", func() error { return e.Operator.Mirror.Err() })
			at := e.Operator.Mirror.LoadedAt()
			e.Operator.Mirror.Reload()
			e.Eventually("another reading", func() error {
				if !e.Operator.Mirror.LoadedAt().After(at) {
					return fmt.Errorf("none yet")
				}
				return nil
			})
			if w := e.Writes(); len(w) != 0 {
				t.Errorf("it wrote %s %s", w[0].Method, w[0].Path)
			}
			for _, r := range e.Sim.Requests() {
				if strings.HasPrefix(r.Path, "/api/vrfcontext/") {
					t.Errorf("it read %s", r.Path)
				}
			}
		})
	}
}

func TestSwitchingOffLeavesRoutes(t *testing.T) {
	e := env(t, refreshing())
	a := node(e, "a", "10.0.0.1", "10.244.1.0/24")
	node(e, "b", "10.0.0.2", "10.244.2.0/24")
	want(e, "10.244.1.0/24 via 10.0.0.1", "10.244.2.0/24 via 10.0.0.2")
	e.Configure(func(m map[string]string) { m["disableStaticRouteSync"] = "true" })
	e.Eventually("the settings", func() error {
		if !e.Operator.Settings.Current().RoutesByOthers {
			return fmt.Errorf("not yet in force")
		}
		return nil
	})
	at := e.Operator.Mirror.LoadedAt()
	e.Delete(a)
	e.Eventually("two readings", func() error {
		if e.Operator.Mirror.LoadedAt().Sub(at) < time.Second {
			return fmt.Errorf("not yet")
		}
		return nil
	})
	want(e, "10.244.1.0/24 via 10.0.0.1", "10.244.2.0/24 via 10.0.0.2")
	e.Configure(func(m map[string]string) { m["disableStaticRouteSync"] = "false" })
	want(e, "10.244.2.0/24 via 10.0.0.2")
}

// TestOneNodeMoreThan500 is what a large cluster costs: one PUT for the nodes that were there, one for the node that comes.
func TestOneNodeMoreThan500(t *testing.T) {
	e := env(t)
	e.StopOperator()
	for i := range 500 {
		node(e, fmt.Sprintf("%03d", i), fmt.Sprintf("10.0.%d.%d", i/250, i%250+1), fmt.Sprintf("10.%d.%d.0/24", 100+i/250, i%250))
	}
	e.StartOperator()
	e.Eventually("500 routes", func() error {
		if n := len(ours(e)); n != 500 {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
	if n := puts(e, "vrfcontext"); n != 1 {
		t.Errorf("500 nodes cost %d PUTs of the VRF context, want 1", n)
	}
	looked(e)
	e.Sim.ResetRequests()
	node(e, "new", "10.0.9.1", "10.109.0.0/24")
	e.Eventually("501 routes", func() error {
		if n := len(ours(e)); n != 501 {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
	looked(e)
	if n := len(e.Writes()); n != 1 || puts(e, "vrfcontext") != 1 {
		t.Errorf("one node more cost %d writes, want one PUT of the VRF context", n)
	}
}

// More routes than the share don't go at once: it looks like a mistake.
func TestLossOfManyNodesIsHeld(t *testing.T) {
	e := env(t, suite.WithOptions(func(o *controllers.Options) { o.DeletionShare = 0.2 }))
	var nodes []*corev1.Node
	var all []string
	for i := range 8 {
		nodes = append(nodes, node(e, fmt.Sprint(i), fmt.Sprintf("10.0.0.%d", i+1), fmt.Sprintf("10.244.%d.0/24", i)))
		all = append(all, fmt.Sprintf("10.244.%d.0/24 via 10.0.0.%d", i, i+1))
	}
	want(e, slices.Clone(all)...)
	e.StopOperator()
	for _, n := range nodes[1:] {
		e.Delete(n)
	}
	e.StartOperator()
	event(e, "ConfigMap", "avi-k8s-config", staticroutes.ReasonRoutesHeld, "7 of 8 routes")
	want(e, all...)
}

func TestProblemsAreTold(t *testing.T) {
	e := env(t, refreshing())
	node(e, "good", "10.0.0.1", "10.244.1.0/24")
	none := node(e, "none", "10.0.0.2")
	event(e, "Node", none.Name, staticroutes.ReasonNoPodCIDR, "spec.podCIDRs is empty")
	event(e, "ConfigMap", "avi-k8s-config", staticroutes.ReasonNoPodCIDR, none.Name)
	editVRF(e, func(m map[string]any) {
		m["static_routes"] = append(m["static_routes"].([]any), route("theirs", "10.244.7.0/24", "10.9.9.9", ""))
	})
	blocked := node(e, "blocked", "10.0.0.7", "10.244.7.0/24")
	event(e, "Node", blocked.Name, staticroutes.ReasonRouteConflict, "route theirs of somebody else")
	want(e, "10.244.1.0/24 via 10.0.0.1")

	pods := func(node *corev1.Node, addr string) []staticroutes.Pod {
		return []staticroutes.Pod{{Addr: netip.MustParseAddr(addr), Node: node.Name}}
	}
	reach := e.Operator.Routes.Routes.Reach()
	if f := reach.Finding("global", "Default-Group", pods(blocked, "10.244.7.5")); f == nil || f.Reason != staticroutes.ReasonNoRouteToPods || !strings.Contains(f.Message, "theirs") {
		t.Errorf("a Service behind another's route is told %v", f)
	}
	if f := reach.Finding("global", "Default-Group", pods(none, "10.244.9.5")); f == nil {
		t.Error("a Service on a node without pod CIDR is told nothing")
	}
	if f := reach.Finding("global", "Default-Group", []staticroutes.Pod{{Addr: netip.MustParseAddr("10.244.1.5")}}); f != nil {
		t.Errorf("a Service that is reached is told %v", f)
	}
	// The way is free: the route comes without anybody's doing.
	editVRF(e, func(m map[string]any) {
		m["static_routes"] = slices.DeleteFunc(m["static_routes"].([]any), func(r any) bool { return r.(map[string]any)["route_id"] == "theirs" })
	})
	want(e, "10.244.1.0/24 via 10.0.0.1", "10.244.7.0/24 via 10.0.0.7")
}

func TestGroupOfAnotherClusterIsLeftAlone(t *testing.T) {
	e := env(t, func(e *suite.Env) {
		if err := e.Sim.Edit("serviceenginegroup", "admin", "Default-Group", func(m map[string]any) {
			m["labels"] = []any{map[string]any{"key": "clustername", "value": e.Cluster + "0"}}
		}); err != nil {
			e.T.Fatal(err)
		}
	})
	node(e, "a", "10.0.0.1", "10.244.1.0/24")
	want(e, "10.244.1.0/24 via 10.0.0.1")
	event(e, "ConfigMap", "avi-k8s-config", staticroutes.ReasonGroupLabelled, "clustername="+e.Cluster+"0")
	if got := group(e, "Default-Group"); got != labelled(e.Cluster+"0") {
		t.Errorf("labels are %s", got)
	}
	if f := e.Operator.Routes.Routes.Reach().Finding("", "Default-Group", []staticroutes.Pod{{Addr: netip.MustParseAddr("10.244.1.5")}}); f == nil {
		t.Error("a Service in another cluster's group is told nothing")
	}
}

// The groups of AviInfraSettings are labelled too, when there are such groups and nobody has labelled them.
func TestGroupsOfAviInfraSettings(t *testing.T) {
	e := env(t, func(e *suite.Env) {
		for _, g := range []string{"telco-group", "their-group"} {
			body := map[string]any{"name": g}
			if g == "their-group" {
				body["labels"] = []any{map[string]any{"key": "site", "value": "east"}}
			}
			if _, err := e.Sim.Create("serviceenginegroup", "admin", body); err != nil {
				e.T.Fatal(err)
			}
		}
	})
	node(e, "a", "10.0.0.1", "10.244.1.0/24")
	for i, g := range []string{"telco-group", "their-group", "no-group"} {
		s := &v1beta1.AviInfraSetting{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%s-%d", e.Cluster, i)}, Spec: v1beta1.AviInfraSettingSpec{SEGroup: &v1beta1.AviInfraSettingSEGroup{Name: g}}}
		e.Create(s)
		t.Cleanup(func() { _ = e.Client.Delete(context.Background(), s) })
	}
	e.Eventually("the label", func() error {
		if got := group(e, "telco-group"); got != labelled(e.Cluster) {
			return fmt.Errorf("labels are %s", got)
		}
		return nil
	})
	if got := group(e, "their-group"); got != "[map[key:site value:east]]" {
		t.Errorf("another's labels are %s", got)
	}
}

func TestDryRun(t *testing.T) {
	e := env(t, suite.WithOptions(func(o *controllers.Options) { o.DryRun = true }))
	node(e, "a", "10.0.0.1", "10.244.1.0/24")
	event(e, "ConfigMap", "avi-k8s-config", "DryRun", "10.244.1.0/24 via 10.0.0.1")
	if w := e.Writes(); len(w) != 0 {
		t.Errorf("a dry run wrote %s %s", w[0].Method, w[0].Path)
	}
}

// The VRF context is the administrators', whatever tenant the cluster is in.
func TestTenantOfTheVRFContext(t *testing.T) {
	e := env(t, suite.WithConfig("tenantName", "telco"), func(e *suite.Env) {
		if err := e.Sim.AddTenant("telco"); err != nil {
			e.T.Fatal(err)
		}
	})
	node(e, "a", "10.0.0.1", "10.244.1.0/24")
	want(e, "10.244.1.0/24 via 10.0.0.1")
	e.Eventually("the label", func() error {
		if got := group(e, "Default-Group"); got != labelled(e.Cluster) {
			return fmt.Errorf("labels are %s", got)
		}
		return nil
	})
	for _, w := range e.Writes() {
		if w.Tenant != "admin" {
			t.Errorf("%s %s in tenant %s", w.Method, w.Path, w.Tenant)
		}
	}
}

// event waits for a Warning about an object.
func event(e *suite.Env, kind, name, reason, note string) {
	e.T.Helper()
	e.Eventually(fmt.Sprintf("Event %s about %s %s", reason, kind, name), func() error {
		var list eventsv1.EventList
		if err := e.Client.List(e.T.Context(), &list); err != nil {
			return err
		}
		var have []string
		for _, ev := range list.Items {
			if ev.Regarding.Kind != kind || ev.Regarding.Name != name || kind == "ConfigMap" && ev.Regarding.Namespace != e.System {
				continue
			}
			if ev.Reason == reason && strings.Contains(ev.Note, note) {
				return nil
			}
			have = append(have, ev.Reason+": "+ev.Note)
		}
		return fmt.Errorf("there are %q", have)
	})
}

// On NSX-T the VRF context is that of the tier-1 router, which the Controller knows by an attribute.
func TestVRFContextOfATier1Router(t *testing.T) {
	const router = "/infra/tier-1s/t1-a"
	e := env(t, refreshing(), suite.WithConfig("nsxtT1LR", router), func(e *suite.Env) {
		if err := e.Sim.Edit("cloud", "admin", "Default-Cloud", func(m map[string]any) { m["vtype"] = "CLOUD_NSXT" }); err != nil {
			e.T.Fatal(err)
		}
	})
	node(e, "a", "10.0.0.1", "10.244.1.0/24")
	event(e, "ConfigMap", "avi-k8s-config", staticroutes.ReasonReferenceMissing, "tier-1 router "+router)
	for name, path := range map[string]string{"vrf-a": router, "vrf-ab": router + "b"} {
		if _, err := e.Sim.Create("vrfcontext", "admin",
			map[string]any{"name": name, "attrs": []any{map[string]any{"key": "tier1path", "value": path}}}); err != nil {
			t.Fatal(err)
		}
	}
	e.Eventually("the route", func() error {
		list, _ := e.Object("vrfcontext", "vrf-a")["static_routes"].([]any)
		if len(list) != 1 {
			return fmt.Errorf("%v", list)
		}
		return nil
	})
	want(e)
	if list := e.Object("vrfcontext", "vrf-ab")["static_routes"]; list != nil {
		t.Errorf("another router has %v", list)
	}
}

// A Service whose pods no route reaches says so, and takes it back when they are reached.
func TestServiceThatNoRouteReaches(t *testing.T) {
	e := env(t, refreshing())
	editVRF(e, func(m map[string]any) {
		m["static_routes"] = append(m["static_routes"].([]any), route("theirs", "10.244.7.0/24", "10.9.9.9", ""))
	})
	node(e, "good", "10.0.0.1", "10.244.1.0/24")
	node(e, "blocked", "10.0.0.7", "10.244.7.0/24")
	good, bad, both := e.Service("good", suite.Port("SCTP", 38412)), e.Service("bad", suite.Port("SCTP", 3868)), e.Service("both",
		suite.Port("SCTP", 2905))
	e.Create(good, e.Slice(good, "10.244.1.5"), bad, e.Slice(bad, "10.244.7.5"), both, e.Slice(both, "10.244.1.6", "10.244.7.6"))
	message := e.Condition(bad, "Accepted", metav1.ConditionTrue, staticroutes.ReasonNoRouteToPods)
	if !strings.Contains(message, "1 of 1 pods") || !strings.Contains(message, "route theirs") {
		t.Errorf("the condition says %q", message)
	}
	e.Programmed(bad)
	e.Programmed(good)
	if message := e.Condition(good, "Accepted", metav1.ConditionTrue, ""); strings.Contains(message, "route") {
		t.Errorf("a Service that is reached says %q", message)
	}
	e.Eventually("what the Service says that is reached in part", func() error {
		if m := e.Condition(both, "Accepted", metav1.ConditionTrue, ""); !strings.Contains(m, "1 of 2 pods") {
			return fmt.Errorf("it says %q", m)
		}
		return nil
	})
	// A restart leaves what the Services say as it is.
	versions := func() (out []string) {
		for _, svc := range []*corev1.Service{good, bad, both} {
			if err := e.Read(svc); err != nil {
				t.Fatal(err)
			}
			out = append(out, svc.ResourceVersion)
		}
		return out
	}
	e.Eventually("healthy", func() error {
		for _, svc := range []*corev1.Service{good, bad, both} {
			e.Condition(svc, "Healthy", metav1.ConditionTrue, "")
		}
		return nil
	})
	looked(e)
	before := versions()
	e.StopOperator()
	e.StartOperator()
	looked(e)
	looked(e)
	if after := versions(); !slices.Equal(after, before) {
		t.Errorf("the Services were written at a restart: %q, then %q", before, after)
	}
	editVRF(e, func(m map[string]any) {
		m["static_routes"] = slices.DeleteFunc(m["static_routes"].([]any), func(r any) bool { return r.(map[string]any)["route_id"] == "theirs" })
	})
	e.Condition(bad, "Accepted", metav1.ConditionTrue, "Accepted")
}
