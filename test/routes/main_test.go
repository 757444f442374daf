// SPDX-License-Identifier: Apache-2.0

// Package routes runs the operator with static routes against a real API server and a simulated Controller. Nodes and the
// types of network plugins belong to the whole cluster, so these tests have a cluster of their own and run one by one.
package routes

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/avi-l4-operator/avi-l4-operator/controllers"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim"
	"github.com/avi-l4-operator/avi-l4-operator/test/suite"
)

func TestMain(m *testing.M) { suite.Main(m) }

// env is an operator with static routes, a Controller whose VRF context "global" has routes and fields of others, and no
// nodes. More are suite options.
func env(t *testing.T, more ...suite.Option) *suite.Env {
	t.Helper()
	sim, err := avisim.New(avisim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	e := &suite.Env{T: t, Sim: sim}
	editVRF(e, func(m map[string]any) {
		m["description"], m["lldp_enable"] = "the network team's", false
		m["attrs"] = []any{map[string]any{"key": "rack", "value": "7"}}
		m["static_routes"] = []any{route("default", "0.0.0.0/0", "10.0.255.254", ""), route("c2-x-0", "10.244.1.0/24", "10.99.0.1", "c2")}
	})
	options := append([]suite.Option{
		func(e *suite.Env) { e.Sim = sim },
		suite.WithConfig("disableStaticRouteSync", "false"),
	}, more...)
	return suite.New(t, options...)
}

// refreshing has the operator read the Controller anew every half second.
func refreshing() suite.Option {
	return suite.WithOptions(func(o *controllers.Options) { o.Refresh, o.Timeout = 500*time.Millisecond, time.Second })
}

// route is a static route as the Controller has it.
func route(id, prefix, hop, cluster string) map[string]any {
	addr, mask, _ := strings.Cut(prefix, "/")
	var bits int
	if _, err := fmt.Sscan(mask, &bits); err != nil {
		panic(err)
	}
	out := map[string]any{"route_id": id, "prefix": map[string]any{"ip_addr": map[string]any{"addr": addr, "type": "V4"}, "mask": bits},
		"next_hop": map[string]any{"addr": hop, "type": "V4"}}
	if cluster != "" {
		out["labels"] = []any{map[string]any{"key": "clustername", "value": cluster}}
	}
	return out
}

func editVRF(e *suite.Env, change func(map[string]any)) {
	e.T.Helper()
	if err := e.Sim.Edit("vrfcontext", "admin", "global", change); err != nil {
		e.T.Fatal(err)
	}
}

// foreign is what others have in the VRF context, without our routes and without what a write changes anyway.
func foreign(e *suite.Env) string {
	o := e.Object("vrfcontext", "global")
	var list []any
	for _, r := range staticRoutes(e) {
		if r.cluster != e.Cluster {
			list = append(list, r.raw)
		}
	}
	o["static_routes"] = list
	for _, k := range []string{"_last_modified", "configpb_attributes", "url"} {
		delete(o, k)
	}
	raw, _ := json.Marshal(o)
	return string(raw)
}

// standing is a route of the VRF context "global".
type standing struct {
	id, prefix, hop, cluster string
	raw                      any
}

func staticRoutes(e *suite.Env) (out []standing) {
	list, _ := e.Object("vrfcontext", "global")["static_routes"].([]any)
	for _, raw := range list {
		var r struct {
			ID     string `json:"route_id"`
			Prefix struct {
				Addr struct{ Addr string } `json:"ip_addr"`
				Mask int
			}
			Hop    struct{ Addr string } `json:"next_hop"`
			Labels []struct{ Key, Value string }
		}
		text, _ := json.Marshal(raw)
		if err := json.Unmarshal(text, &r); err != nil {
			e.T.Fatal(err)
		}
		s := standing{id: r.ID, prefix: fmt.Sprintf("%s/%d", r.Prefix.Addr.Addr, r.Prefix.Mask), hop: r.Hop.Addr, raw: raw}
		if len(r.Labels) == 1 && r.Labels[0].Key == "clustername" {
			s.cluster = r.Labels[0].Value
		}
		out = append(out, s)
	}
	return out
}

// ours are our routes, as "10.244.1.0/24 via 10.0.0.1", sorted.
func ours(e *suite.Env) (out []string) {
	for _, r := range staticRoutes(e) {
		if r.cluster == e.Cluster {
			out = append(out, r.prefix+" via "+r.hop)
		}
	}
	slices.Sort(out)
	return out
}

// idOf is the id of the route to a prefix under our label.
func idOf(e *suite.Env, prefix string) string {
	for _, r := range staticRoutes(e) {
		if r.cluster == e.Cluster && r.prefix == prefix {
			return r.id
		}
	}
	return ""
}

// want waits until our routes are exactly these.
func want(e *suite.Env, routes ...string) {
	e.T.Helper()
	slices.Sort(routes)
	e.Eventually("the routes", func() error {
		if got := ours(e); !slices.Equal(got, routes) {
			return fmt.Errorf("they are %q, want %q", got, routes)
		}
		return nil
	})
}

// node creates a Node, as a kubelet does: without addresses at first. It is deleted at the test's end.
func node(e *suite.Env, name, address string, cidrs ...string) *corev1.Node {
	e.T.Helper()
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: e.Cluster + "-" + name}}
	if len(cidrs) > 0 {
		n.Spec.PodCIDR, n.Spec.PodCIDRs = cidrs[0], cidrs
	}
	e.Create(n)
	e.T.Cleanup(func() {
		if err := client.IgnoreNotFound(e.Client.Delete(context.Background(), n)); err != nil {
			e.T.Error(err)
		}
	})
	addressed(e, n, address)
	return n
}

func addressed(e *suite.Env, n *corev1.Node, address string) {
	e.T.Helper()
	e.Eventually("the address of "+n.Name, func() error {
		if err := e.Read(n); err != nil {
			return err
		}
		n.Status.Addresses = nil
		if address != "" {
			n.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: address}}
		}
		return e.Client.Status().Update(e.T.Context(), n)
	})
}

// puts counts the writes of a kind.
func puts(e *suite.Env, kind string) (n int) {
	for _, w := range e.Sim.Writes() {
		if w.Method == "PUT" && strings.HasPrefix(w.Path, "/api/"+kind+"/") {
			n++
		}
	}
	return n
}

// looked waits until the operator has looked at the VRF context and the Service Engine group once more.
func looked(e *suite.Env) {
	e.T.Helper()
	count := func() (vrf, group int) {
		for _, r := range e.Sim.Requests() {
			switch {
			case r.Method == "GET" && strings.HasPrefix(r.Path, "/api/vrfcontext/"):
				vrf++
			case r.Method == "GET" && strings.HasPrefix(r.Path, "/api/serviceenginegroup/"):
				group++
			}
		}
		return vrf, group
	}
	v0, g0 := count()
	e.Operator.Mirror.Reload()
	e.Eventually("a look at the VRF context", func() error {
		if v, g := count(); v < v0+2 || g < g0+2 { // one may have been under way
			e.Operator.Mirror.Reload()
			return fmt.Errorf("%d and %d looks, then %d and %d", v0, g0, v, g)
		}
		return nil
	})
}

// group are the labels of the Service Engine group.
func group(e *suite.Env, name string) string {
	return fmt.Sprint(e.Object("serviceenginegroup", name)["labels"])
}

func labelled(cluster string) string {
	return fmt.Sprintf("[map[key:clustername value:%s]]", cluster)
}
