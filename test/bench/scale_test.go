// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// kubeWrites is how many writes of what the operator writes the API server has carried out.
func (x *bench) kubeWrites() (n int) {
	for _, count := range x.kubeWritten() {
		n += count
	}
	return n
}

// kubePer is a row about the writes to Kubernetes, since others, for each of so many owners.
func (x *bench) kubePer(owner string, n int, before map[string]int, goal string) row {
	var parts []string
	sum := 0
	now := x.kubeWritten()
	for _, what := range slices.Sorted(maps.Keys(now)) {
		if count := now[what] - before[what]; count > 0 {
			sum += count
			parts = append(parts, fmt.Sprintf("%s %.2f", what, float64(count)/float64(n)))
		}
	}
	return row{"Kubernetes writes per " + owner, fmt.Sprintf("%.2f: %s", float64(sum)/float64(n), strings.Join(parts, ", ")), goal}
}

// kubeWritten counts the writes of what the operator writes that the API server has carried out, by resource and subresource: Services,
// Gateways, routes and the like, and Events. Nobody else writes them while an operator is measured.
func (x *bench) kubeWritten() map[string]int {
	out := make(map[string]int)
	c, err := kubernetes.NewForConfig(x.cluster.RESTConfig())
	x.must(err)
	raw, err := c.RESTClient().Get().AbsPath("/metrics").DoRaw(x.Context())
	x.must(err)
	for line := range strings.SplitSeq(string(raw), "\n") {
		labels, value, ok := strings.Cut(strings.TrimPrefix(line, "apiserver_request_total{"), "} ")
		if !ok || !strings.HasPrefix(line, "apiserver_request_total{") || !operatorWrites(labels) {
			continue
		}
		count, err := strconv.ParseFloat(value, 64)
		x.must(err)
		what := label(labels, "resource")
		if of := label(labels, "subresource"); of != "" {
			what += "/" + of
		}
		out[what] += int(count)
	}
	return out
}

// label is the value of a label in Prometheus' text format.
func label(labels, key string) string {
	for pair := range strings.SplitSeq(labels, ",") {
		if value, ok := strings.CutPrefix(pair, key+`="`); ok {
			return strings.TrimSuffix(value, `"`)
		}
	}
	return ""
}

// written returns a function that reports whether nothing was written to Kubernetes for two seconds, as far as it has been asked.
func (x *bench) written() func() bool {
	last, since := x.kubeWrites(), time.Now()
	return func() bool {
		if now := x.kubeWrites(); now != last {
			last, since = now, time.Now()
		}
		return time.Since(since) > 2*time.Second
	}
}

func operatorWrites(labels string) bool {
	has := func(key string, values ...string) bool { return slices.Contains(values, label(labels, key)) }
	return has("code", "200") && has("verb", "PATCH") && !has("resource", "endpointslices", "nodes", "pods", "leases") ||
		has("code", "201") && has("resource", "events")
}

// takenOver: the operator is killed while a standby waits for its Lease, and an endpoint of a Service changes.
func (x *bench) takenOver() []row {
	leader := x.operator
	standby := x.begin(system, standbyAddress)
	time.Sleep(3 * time.Second) // it waits for the Lease then
	x.sim.ResetRequests()
	begin, kube := time.Now(), x.kubeWrites()
	x.must(leader.Process.Kill())
	_ = leader.Wait()
	s := new(discoveryv1.EndpointSlice)
	x.must(x.client.Get(x.Context(), types.NamespacedName{Namespace: namespace, Name: "s00000-0"}, s))
	s.Endpoints[1].Conditions.Ready = new(false)
	x.must(x.client.Update(x.Context(), s))
	x.wait("the standby", func() bool { return len(x.sim.Writes()) > 0 })
	_, last := span(x.sim.Writes())
	x.wait("quiet", func() bool { return x.quiet(3 * time.Second) })
	x.operator = standby
	measured := fmt.Sprintf("after %.1f s; in all %s, %d to Kubernetes", last.Sub(begin).Seconds(), verbs(x.sim.Writes()), x.kubeWrites()-kube)
	return []row{{"killed, and an endpoint changes: the standby's call", measured, "goal: 1 PATCH in 20 s"}}
}

// atRest: the operator and a standby read the inventories at their usual interval, and nothing changes.
func (x *bench) atRest() []row {
	x.halt()
	usual := []string{"--health-interval", "15s"}
	leader := x.begin(system, probesAddress, usual...)
	x.ready()
	x.wait("quiet", func() bool { return x.quiet(4 * time.Second) })
	measure := func(processes ...*exec.Cmd) (reads int64, used []string) {
		from, before := x.sim.LastID(), []float64(nil)
		for _, p := range processes {
			before = append(before, cpuOf(p))
		}
		time.Sleep(time.Minute)
		for i, p := range processes {
			used = append(used, fmt.Sprintf("%.0f ms", (cpuOf(p)-before[i])*1000))
		}
		return x.sim.LastID() - from, used
	}
	reads, used := measure(leader)
	standby := x.begin(system, standbyAddress, usual...)
	x.ready()
	x.wait("quiet", func() bool { return x.quiet(4 * time.Second) })
	both, usedByBoth := measure(leader, standby)
	_ = standby.Process.Signal(os.Interrupt)
	_ = standby.Wait()
	x.operator = leader
	return []row{{"a minute at rest, inventories read every 15 s", fmt.Sprintf("%d reads, %s of processor time; with a standby %d reads, %s of its processor time",
		reads, used[0], both, usedByBoth[1]), "goal: none by the standby"}}
}

// allDeleted: all Services are deleted at once, those of shared VIPs and behind Gateways included.
func (x *bench) allDeleted() []row {
	var list corev1.ServiceList
	x.must(x.client.List(x.Context(), &list, client.InNamespace(namespace)))
	services := len(list.Items)
	x.sim.ResetRequests()
	begin, kube, cpu := time.Now(), x.kubeWrites(), cpuSeconds()
	g := new(errgroup.Group) // one by one, since the API server gives up on the deletion of a collection after a minute
	g.SetLimit(8)
	for i := range list.Items {
		g.Go(func() error { return x.client.Delete(x.Context(), &list.Items[i]) })
	}
	x.must(g.Wait())
	x.wait("the end of all Services", func() bool {
		var left corev1.ServiceList
		x.must(x.client.List(x.Context(), &left, client.InNamespace(namespace), client.Limit(1)))
		return len(left.Items) == 0 && x.quiet(2*time.Second)
	})
	first, last := span(x.sim.Writes())
	rate := float64(len(x.sim.Writes())) / last.Sub(first).Seconds()
	measured := fmt.Sprintf("%.1f s, %.1f calls a second, %.2f writes to Kubernetes each; %d pools left; processor time %s", last.Sub(begin).Seconds(), rate,
		float64(x.kubeWrites()-kube)/float64(services), len(x.sim.Objects("pool")), cpuSince(cpu))
	return []row{{fmt.Sprintf("%d Services are deleted", services), measured, "goal: 0 left"}}
}

// sideBySide: two operators serve half of n Services each, in a namespace of its own, on the same Controller.
func (x *bench) sideBySide(n int) []row {
	x.halt()
	teams := []struct{ name, system, probes string }{{"one", "bench-system-one", probesAddress}, {"two", "bench-system-two", standbyAddress}}
	for i, team := range teams {
		x.install(team.system, map[string]string{
			"nsSyncLabelKey": "team", "nsSyncLabelValue": team.name, "primaryInstance": strconv.FormatBool(i == 0)})
		x.must(x.client.Create(x.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "team-" + team.name, Labels: map[string]string{"team": team.name}}}))
	}
	g := new(errgroup.Group)
	g.SetLimit(8)
	for i := range n {
		g.Go(func() error {
			svc, endpointSlices := x.service(fmt.Sprintf("t%05d", i), 2)
			svc.Namespace = "team-" + teams[i%2].name
			for _, s := range endpointSlices {
				s.Namespace = svc.Namespace
			}
			return x.create(svc, endpointSlices)
		})
	}
	x.must(g.Wait())
	x.sim.ResetRequests()
	var both []*exec.Cmd
	for _, team := range teams {
		both = append(both, x.begin(team.system, team.probes))
	}
	defer func() {
		for _, operator := range both {
			_ = operator.Process.Signal(os.Interrupt)
			_ = operator.Wait()
		}
		x.operator = nil
	}()
	x.wait("all calls", func() bool { return x.virtualServicesMade() == n })
	x.wait("all Services of two operators", func() bool { return x.programmed() >= n && x.quiet(2*time.Second) })
	first, last := span(x.sim.Writes())
	bound := boundOf(4*n, 2*concurrency)
	measured := fmt.Sprintf("%.1f s = %.2f x the bound of %.1f s; %d writes", last.Sub(first).Seconds(), last.Sub(first).Seconds()/bound.Seconds(), bound.Seconds(),
		len(x.sim.Writes()))
	return []row{{fmt.Sprintf("two operators share %d new Services: all programmed, first call to last", n), measured, fmt.Sprintf("goal: %d writes", 4*n)}}
}
