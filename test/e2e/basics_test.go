// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/alb-sdk/go/models"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/avi-l4-operator/avi-l4-operator/hack/demo/tree"
)

// TestSample applies the sample as it is and looks at each object that must come of it, as AKO would have made it.
func TestSample(t *testing.T) {
	f := begin(t)
	const file, name, pool = "config/samples/loadbalancer-sctp.yaml", "e2e--default-server", "e2e--default-server-SCTP-80"
	_, err := st.Kubectl(f.ctx, "apply", "-f", file)
	f.must(err)
	var tr *tree.Tree
	var pods []corev1.Pod
	f.eventually("two servers", func(ctx context.Context) (err error) {
		if pods, err = f.pods(ctx, "default", "server"); err != nil {
			return err
		}
		want := servers(pods, 9090)
		if len(want) != 2 {
			return fmt.Errorf("%d pods are ready", len(want))
		}
		if tr, err = st.Trees.Read(ctx, name); err != nil {
			return err
		}
		return up(tr, hasServers(tr.Pool("SCTP 80"), want))
	})
	names, err := st.Trees.Names(f.ctx, st.ObjectName("default", ""))
	f.must(err)

	vs, policy, rule, p := tr.VirtualService, tr.L4PolicySet, tr.Rules[0], tr.Rules[0].Pool
	for _, c := range []struct {
		what      string
		got, want any
	}{
		{"objects", names, []string{"l4policyset " + name, "pool " + pool, "virtualservice " + name, "vsvip " + name}},
		{"rules", len(tr.Rules), 1},

		{"created_by of the VirtualService", *vs.CreatedBy, "ako-e2e"},
		{"markers of the VirtualService", markers(vs.Markers), "clustername=e2e Namespace=default ServiceName=server"},
		{"network profile", tree.NameOf(vs.NetworkProfileRef), "System-SCTP-Proxy"},
		{"application profile", tree.NameOf(vs.ApplicationProfileRef), "System-L4-Application"},
		{"VsVip of the VirtualService", tree.NameOf(vs.VsvipRef), name},
		{"L4PolicySet of the VirtualService", tree.NameOf(vs.L4Policies[0].L4PolicySetRef), name},
		{"service engine group", tree.NameOf(vs.SeGroupRef), "Default-Group"},
		{"listening ports", fmt.Sprint(len(vs.Services), *vs.Services[0].Port, *vs.Services[0].PortRangeEnd, vs.Services[0].OverrideNetworkProfileRef == nil), "1 80 80 true"},
		{"traffic_enabled", *vs.TrafficEnabled, true},
		{"remove_listening_port_on_vs_down", *vs.RemoveListeningPortOnVsDown, true},

		{"markers of the VsVip", markers(tr.VsVip.Markers), "clustername=e2e Namespace=default ServiceName=server"},
		{"names of the VsVip", *tr.VsVip.DNSInfo[0].Fqdn, "server.default.demo.avi.local"},

		{"created_by of the L4PolicySet", *policy.CreatedBy, "ako-e2e"},
		{"markers of the L4PolicySet", markers(policy.Markers), "clustername=e2e Namespace=default ServiceName=server Protocol=SCTP"},
		{"rule's name and index", fmt.Sprint(*rule.Name, " ", *rule.Index), "/api/pool?name=" + pool + " 0"},
		{"rule's port", fmt.Sprint(*rule.Match.Port.MatchCriteria, rule.Match.Port.Ports), "IS_IN[80]"},
		{"rule's protocol", *rule.Match.Protocol.MatchCriteria + " " + *rule.Match.Protocol.Protocol, "IS_IN PROTOCOL_SCTP"},
		{"rule's action", *rule.Action.SelectPool.ActionType + " " + tree.NameOf(rule.Action.SelectPool.PoolRef), "L4_RULE_ACTION_SELECT_POOL " + pool},

		{"created_by of the pool", *p.CreatedBy, "ako-e2e"},
		{"markers of the pool", markers(p.Markers), "clustername=e2e Namespace=default ServiceName=server Port=80"},
		{"monitors", fmt.Sprint(len(p.HealthMonitorRefs), tree.NameOf(&p.HealthMonitorRefs[0])), "1System-SCTP"},
		{"graceful_disable_timeout", *p.GracefulDisableTimeout, int32(1)},
	} {
		if diff := cmp.Diff(c.want, c.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.what, diff)
		}
	}
	nodes := map[string]string{}
	for _, pod := range pods {
		nodes[pod.Status.PodIP+":9090"] = pod.Spec.NodeName
	}
	for i, s := range p.Servers {
		if s.Node != nodes[s.Address] || tree.Text(p.Pool.Servers[i].ExternalUUID) != s.Address {
			t.Errorf("server %s is on node %q with external_uuid %q; the pod is on %q", s.Address, s.Node, tree.Text(p.Pool.Servers[i].ExternalUUID), nodes[s.Address])
		}
	}
	var metadata map[string]any
	f.must(json.Unmarshal([]byte(*vs.ServiceMetadata), &metadata))
	if diff := cmp.Diff([]any{"default/server"}, metadata["namespace_svc_name"]); diff != "" {
		t.Errorf("namespace_svc_name (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]any{"server.default.demo.avi.local"}, metadata["hostnames"]); diff != "" {
		t.Errorf("hostnames (-want +got):\n%s", diff)
	}

	vip := *tr.VsVip.Vip[0].IPAddress.Addr
	f.eventually("the address in kubectl get service", func(ctx context.Context) error {
		out, err := st.Kubectl(ctx, "get", "service", "server")
		if err == nil && !slices.Contains(strings.Fields(out), vip) {
			err = fmt.Errorf("it prints\n%s", out)
		}
		return err
	})
	f.noWarnings("default")
	_, err = st.Kubectl(f.ctx, "delete", "-f", file, "--timeout=30s")
	f.must(err)
	f.nothingLeft("default")
}

// TestMixedProtocols checks that each protocol of one Service finds its own named port of the pods, and that nothing is
// left when the whole namespace is deleted.
func TestMixedProtocols(t *testing.T) {
	f := begin(t)
	_, err := st.Kubectl(f.ctx, "apply", "-n", f.ns, "-f", "config/samples/mixed-protocols.yaml")
	f.must(err)
	f.eventually("three pools with both pods", func(ctx context.Context) error {
		pods, err := f.pods(ctx, f.ns, "mixed")
		if err != nil {
			return err
		}
		tr, err := f.tree(ctx, "mixed")
		if err != nil {
			return err
		}
		for port, target := range map[string]int{"SCTP 38412": 38412, "TCP 80": 8080, "UDP 53": 5353} {
			want := servers(pods, target)
			if len(want) != 2 {
				return fmt.Errorf("%d pods are ready", len(want))
			}
			if err := hasServers(tr.Pool(port), want); err != nil {
				return fmt.Errorf("%s: %w", port, err)
			}
		}
		return nil
	})
	f.must(st.Client.Delete(f.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: f.ns}}))
	f.nothingLeft(f.ns)
}

func TestScale(t *testing.T) {
	f := begin(t)
	f.deploy("amf", 2)
	f.served("amf", 2)
	for _, n := range []int32{5, 1, 0, 3} {
		f.scale("amf", n)
		f.served("amf", int(n))
		f.exactly("amf")
	}
}

// TestDrain holds a pod's deletion, as a pod with a long grace period does: it takes no new connections, keeps the old
// ones, and leaves the pool when it is gone.
func TestDrain(t *testing.T) {
	f := begin(t)
	f.deploy("amf", 3)
	f.served("amf", 3)
	pods, err := f.pods(f.ctx, f.ns, "amf")
	f.must(err)
	pod := &pods[0]
	finalizers := func(list ...string) {
		before := pod.DeepCopy()
		pod.Finalizers = list
		f.must(st.Client.Patch(f.ctx, pod, client.MergeFrom(before)))
	}
	finalizers("e2e.example.com/connections")
	f.must(st.Client.Delete(f.ctx, pod))
	address := pod.Status.PodIP + ":9090"
	f.eventually("the server disabled, and its successor enabled", func(ctx context.Context) error {
		tr, err := f.tree(ctx, "amf")
		if err != nil {
			return err
		}
		p := tr.Pool("SCTP 80")
		if len(p.Enabled()) != 3 || !slices.Equal(p.Disabled(), []string{address}) {
			return fmt.Errorf("enabled are %v and disabled %v, not %s", p.Enabled(), p.Disabled(), address)
		}
		return nil
	})
	finalizers()
	f.served("amf", 3)
}

// TestRollout replaces fifty pods, which takes some seconds as they have to be ready for a while to count, and counts
// what that costs: each change of the pool is a call.
func TestRollout(t *testing.T) {
	f := begin(t)
	const pods, goal, limit = 50, 10, 15
	f.deploy("amf", pods)
	f.served("amf", pods)
	f.edit("amf", func(d *appsv1.Deployment) { d.Spec.MinReadySeconds = 2 })
	f.rolledOut("amf")
	st.Controller.ResetRequests()
	start := time.Now()
	f.rollOut("amf", "2")
	f.rolledOut("amf")
	took := time.Since(start)
	f.served("amf", pods)
	patches := writes(http.MethodPatch)
	t.Logf("a rollout of %d pods in %.1f s, converged after %.1f s: %d PATCHes, goal %d", pods, took.Seconds(), time.Since(start).Seconds(), len(patches), goal)
	if len(patches) > limit {
		t.Errorf("%d PATCHes, at most %d are acceptable", len(patches), limit)
	}
	if others := len(writes("")) - len(patches); others > 0 {
		t.Errorf("%d other writes", others)
	}
	for _, r := range patches {
		if n := enabledIn(t, r.Body); n < pods*3/4 { // the Deployment's maxUnavailable is a quarter
			t.Errorf("a PATCH left %d servers enabled, the rollout keeps %d pods available", n, pods*3/4)
		}
	}
}

// enabledIn counts the enabled servers that a PATCH of a pool sets.
func enabledIn(t *testing.T, body []byte) int {
	t.Helper()
	var patch struct {
		Replace struct{ Servers []models.Server }
	}
	if err := json.Unmarshal(body, &patch); err != nil {
		t.Fatalf("reading a PATCH: %v", err)
	}
	n := 0
	for _, s := range patch.Replace.Servers {
		if s.Enabled == nil || *s.Enabled {
			n++
		}
	}
	return n
}

// TestStatusOnTheObject checks that a user finds on the Service what happened to it.
func TestStatusOnTheObject(t *testing.T) {
	f := begin(t)
	f.deploy("amf", 1)
	f.served("amf", 1)
	for _, kind := range []string{"Accepted", "Programmed", "Healthy"} {
		_, err := st.Kubectl(f.ctx, "wait", "-n", f.ns, "service/amf", "--for=condition=ako.vmware.com/"+kind, "--timeout=20s")
		f.must(err)
	}
	f.eventually("an Event that tells of the load balancer", func(ctx context.Context) error {
		out, err := st.Kubectl(ctx, "events", "-n", f.ns, "--for", "service/amf")
		if err == nil && !strings.Contains(out, "EnsuredLoadBalancer") {
			err = fmt.Errorf("there is\n%s", out)
		}
		return err
	})
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: f.ns, Name: "amf"}}
	f.must(st.Client.Delete(f.ctx, svc))
	f.nothingLeft(f.ns)
}
