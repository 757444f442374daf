// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/avi-l4-operator/avi-l4-operator/controllers"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim"
	"github.com/avi-l4-operator/avi-l4-operator/test/suite"
)

// TestOutage: the Controller answers 503 for a while, and Services go on being changed, made and deleted. Meanwhile it is hardly called.
// When it is back all is as it should be within a minute, or in the time that as many calls took when the Services were made, if that is
// longer: thousands that have all changed are more than two processors do in a minute. Changes of what serves go before what is yet to be
// made, and an address that a deleted Service had is free for the one that waits for it. AVI_OWNERS and AVI_OUTAGE are how many Services
// there are and how long it takes, 40 and 4 s if unset; make outage takes 5,000 and 10 min.
func TestOutage(t *testing.T) {
	owners, err := strconv.Atoi(os.Getenv("AVI_OWNERS"))
	if err != nil {
		owners = 40
	}
	long, err := time.ParseDuration(os.Getenv("AVI_OUTAGE"))
	if err != nil {
		long = 4 * time.Second
	}
	e := suite.New(t, suite.WithSim(avisim.Options{OmitBodies: true, LogBytes: 64 << 20}),
		suite.WithOptions(func(o *controllers.Options) { o.Refresh, o.Health = 30*time.Second, 10*time.Second }))
	s := &soak{e: e, random: rand.New(rand.NewPCG(3, 4))}
	const static = "10.10.200.7"
	asking := func(name string) *corev1.Service {
		svc := e.Service(name, suite.Port("SCTP", 38412))
		svc.Spec.LoadBalancerIP = static
		return svc
	}
	first, second := asking("outage-first"), asking("outage-second")
	e.Create(first, e.Slice(first, "10.244.1.5"))
	s.live = append(s.live, first)
	begin, before := time.Now(), e.Sim.LastID()
	for range owners {
		s.create()
	}
	s.converge(10 * time.Minute)
	perCall := time.Since(begin) / time.Duration(e.Sim.LastID()-before)

	remove := e.Sim.Inject(avisim.Fault{Status: http.StatusServiceUnavailable})
	from := e.Sim.LastID()
	s.live = s.live[1:]
	e.Delete(first)
	e.Create(second, e.Slice(second, "10.244.1.6"))
	changes, took := s.churn(long)
	s.live = append(s.live, second)
	calls := e.Sim.LastID() - from
	t.Logf("outage: %d owners, %d changes in %v, %d calls", owners, changes, took.Round(time.Second), calls)
	if most := int64(60 + 2*took.Seconds()); calls > most { // the breaker lets out one probe after the other
		t.Errorf("%d calls to a Controller that is away, want %d or fewer", calls, most)
	}

	from = e.Sim.LastID()
	remove()
	back := time.Now()
	s.converge(10 * time.Minute)
	took, calls = time.Since(back), e.Sim.LastID()-from
	t.Logf("all as it should be %v after the Controller came back, with %d calls", took.Round(100*time.Millisecond), calls)
	if most := max(time.Minute, time.Duration(calls)*perCall); took > most {
		t.Errorf("that is more than %v", most)
	}
	if at := second.Status.LoadBalancer.Ingress[0].IP; at != static {
		t.Errorf("the Service that waited for %s has %s", static, at)
	}
	changed, made := s.median(from, http.MethodPatch, "pool"), s.median(from, http.MethodPost, "virtualservice")
	t.Logf("after that, in the middle the changes of pools were call %d, new VirtualServices call %d", changed, made)
	if changed > made {
		t.Error("what is new went before what serves")
	}
}

// median is which of the writes since an ID, counted from 1, the middle one of a kind was.
func (s *soak) median(from int64, method, kind string) int {
	var at []int
	n := 0
	for _, r := range s.e.Sim.Writes() {
		if r.ID <= from {
			continue
		}
		n++
		if r.Method == method && r.Type == kind {
			at = append(at, n)
		}
	}
	if len(at) == 0 {
		return 0
	}
	return at[len(at)/2]
}

// converge waits until the Controller and all statuses are as they should be.
func (s *soak) converge(limit time.Duration) {
	s.e.T.Helper()
	var err error
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if err = s.astray(); err == nil {
			return
		}
	}
	s.e.T.Fatalf("not as it should be within %v: %v", limit, err)
}

// astray is what isn't as it should be. Everything is read at once: there may be thousands.
func (s *soak) astray() error {
	for _, o := range s.e.Operator.Owners {
		if n := o.Failing(); n > 0 {
			return fmt.Errorf("%d owners of kind %s fail", n, o.Kind())
		}
	}
	var services corev1.ServiceList
	var all discoveryv1.EndpointSliceList
	for _, list := range []client.ObjectList{&services, &all} {
		if err := s.e.Client.List(s.e.T.Context(), list, client.InNamespace(s.e.Namespace)); err != nil {
			return fmt.Errorf("listing: %w", err)
		}
	}
	if len(services.Items) != len(s.live) {
		return fmt.Errorf("%d Services, want %d", len(services.Items), len(s.live))
	}
	live := make(map[string]*corev1.Service)
	for _, svc := range s.live {
		live[svc.Name] = svc
	}
	address := make(map[string]string)
	for _, slice := range all.Items {
		address[slice.Labels[discoveryv1.LabelServiceName]] = slice.Endpoints[0].Addresses[0] + ":9090"
	}
	pools := make(map[string][]string)
	for _, pool := range s.e.Sim.Objects("pool") {
		name, _ := pool["name"].(string)
		if strings.HasPrefix(name, s.e.Cluster+"--") {
			pools[name] = suite.ServersOf(pool)
		}
	}
	for i := range services.Items {
		svc := &services.Items[i]
		for i, p := range svc.Spec.Ports {
			pool := s.e.PoolName(svc, p)
			have, there := pools[pool]
			if !there || i == 0 && !slices.Contains(have, address[svc.Name]) { // the slices have the first port alone
				return fmt.Errorf("pool %s has servers %v, want %s", pool, have, address[svc.Name])
			}
			delete(pools, pool)
		}
		if len(svc.Status.LoadBalancer.Ingress) != 1 {
			return fmt.Errorf("%s has status %+v", svc.Name, svc.Status.LoadBalancer)
		}
		if known := live[svc.Name]; known != nil {
			svc.DeepCopyInto(known)
		}
	}
	if len(pools) > 0 {
		return fmt.Errorf("%d pools of Services that are gone", len(pools))
	}
	return nil
}
