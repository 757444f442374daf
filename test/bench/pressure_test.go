// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim"
)

// underPressure: while n new Services are made, endpoints of those that are served change, one after the other.
func (x *bench) underPressure(n, served int) []row {
	x.sim.ResetRequests()
	g := new(errgroup.Group)
	g.SetLimit(4)
	made := make(chan error, 1)
	go func() {
		for i := range n {
			g.Go(func() error { return x.create(x.service(fmt.Sprintf("pressure%05d", i), 2)) })
		}
		made <- g.Wait()
	}()
	x.wait("the first of the new Services", func() bool { return x.virtualServicesMade() > 0 })
	var took []time.Duration
	for i := range 200 {
		took = append(took, x.oneToggle(fmt.Sprintf("s%05d", i%served)))
		if x.virtualServicesMade() == n {
			break
		}
	}
	x.must(<-made)
	x.wait("all calls", func() bool { return x.virtualServicesMade() == n && x.quiet(2*time.Second) })
	return []row{{fmt.Sprintf("while %d new Services are made: an endpoint's change arrives", n),
		fmt.Sprintf("after %d ms (median of %d), %d ms (99th percentile)", percentile(took, 50).Milliseconds(), len(took), percentile(took, 99).Milliseconds()),
		fmt.Sprintf("goal: %d ms, 1,000 ms", 3*latency.Milliseconds())}}
}

// virtualServicesMade counts them since the log was emptied.
func (x *bench) virtualServicesMade() int {
	return x.sim.Counters()[avisim.Counter{Method: http.MethodPost, Route: "/api/virtualservice", Status: http.StatusCreated}]
}

// oneToggle changes the second endpoint of a Service, and returns when the Controller has its PATCH.
func (x *bench) oneToggle(service string) time.Duration {
	pool, ok := x.sim.Object("pool", "admin", "bench--bench-"+service+"-SCTP-38412")
	if !ok {
		x.Fatalf("Service %s has no pool", service)
	}
	uuid, _ := pool["uuid"].(string)
	seen := x.sim.LastID()
	begin, err := x.toggle(service)
	x.must(err)
	for deadline := begin.Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		for _, r := range x.sim.RequestsAfter(seen, 1000) {
			if r.Method == http.MethodPatch && strings.Contains(r.Path, uuid) {
				return r.Time.Sub(begin)
			}
			seen = r.ID
		}
	}
	x.Fatalf("Service %s: the change is not at the Controller after a minute", service)
	return 0
}

// toggle makes the second endpoint of a Service ready, or unready, and returns when that began.
func (x *bench) toggle(service string) (begin time.Time, err error) {
	s := new(discoveryv1.EndpointSlice)
	if err := x.client.Get(x.Context(), types.NamespacedName{Namespace: namespace, Name: service + "-0"}, s); err != nil {
		return begin, err
	}
	s.Endpoints[1].Conditions.Ready = new(!*s.Endpoints[1].Conditions.Ready)
	begin = time.Now()
	return begin, x.client.Update(x.Context(), s)
}

// churn: endpoints of n Services change, as many as in ten seconds at the wanted rate, or at that which the API server carries out.
func (x *bench) churn(n, perSecond int) []row {
	x.sim.ResetRequests()
	g := new(errgroup.Group)
	g.SetLimit(16)
	begin, cpu := time.Now(), cpuSeconds()
	const seconds = 10
	for i := range perSecond * seconds {
		if wait := time.Until(begin.Add(time.Duration(i) * time.Second / time.Duration(perSecond))); wait > 0 {
			time.Sleep(wait)
		}
		g.Go(func() error {
			return retry.RetryOnConflict(retry.DefaultRetry, func() error { // with few Services two change one at a time
				_, err := x.toggle(fmt.Sprintf("s%05d", i%n))
				return err
			})
		})
	}
	x.must(g.Wait())
	end := time.Now()
	x.wait("quiet", func() bool { return x.quiet(3 * time.Second) })
	writes := x.sim.Writes()
	_, last := span(writes)
	least := max(0, boundOf(len(writes), concurrency)-end.Sub(begin)) // that so many calls go on after the last change
	wrong, err := x.astray(n)
	x.must(err)
	return []row{{fmt.Sprintf("endpoints change, %.0f a second for %.0f s", float64(perSecond*seconds)/end.Sub(begin).Seconds(), end.Sub(begin).Seconds()),
		fmt.Sprintf("%s; the last %.1f s after the last change; %d Services with other servers; processor time %s",
			verbs(writes), last.Sub(end).Seconds(), wrong, cpuSince(cpu)),
		fmt.Sprintf("goal: 500 a second; 0.5 s, and %.1f s that the calls take longer than the changes", least.Seconds())}}
}

// astray counts the Services whose pool doesn't have the state of their second endpoint.
func (x *bench) astray(n int) (wrong int, err error) {
	for i := range n {
		name := fmt.Sprintf("s%05d", i)
		s := new(discoveryv1.EndpointSlice)
		if err := x.client.Get(x.Context(), types.NamespacedName{Namespace: namespace, Name: name + "-0"}, s); err != nil {
			return 0, err
		}
		pool, ok := x.sim.Object("pool", "admin", "bench--bench-"+name+"-SCTP-38412")
		if !ok {
			return 0, errors.New(name + " has no pool")
		}
		enabled := 0
		servers, _ := pool["servers"].([]any)
		for _, v := range servers {
			if server, _ := v.(map[string]any); server["enabled"] != false {
				enabled++
			}
		}
		ready := 0
		for _, e := range s.Endpoints {
			if *e.Conditions.Ready {
				ready++
			}
		}
		if enabled != ready {
			wrong++
		}
	}
	return wrong, nil
}

func percentile(all []time.Duration, p int) time.Duration {
	slices.Sort(all)
	return all[min(len(all)-1, len(all)*p/100)]
}
