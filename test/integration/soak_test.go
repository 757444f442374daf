// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/avi-l4-operator/avi-l4-operator/controllers"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim"
	"github.com/avi-l4-operator/avi-l4-operator/test/suite"
)

const (
	soakRate     = 50 // changes a second
	soakServices = 40 // live ones
)

// footprint is what the process takes, the simulator and the test's own client included.
type footprint struct {
	heap       uint64 // bytes in use after a collection
	goroutines int
}

func measure() footprint {
	var m runtime.MemStats
	for range 2 { // what has a finalizer goes with the second one
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return footprint{m.HeapAlloc, runtime.NumGoroutine()}
}

// soak is a site under churn.
type soak struct {
	e      *suite.Env
	random *rand.Rand
	live   []*corev1.Service
	made   int
}

// TestSoak changes Services for a while, 50 times a second: endpoints, ports, names, creations and deletions. Then nothing fails,
// everything is as it should be, and neither memory nor goroutines have grown. AVI_SOAK is how long, 5 s if it isn't set; make soak
// takes 10 min.
func TestSoak(t *testing.T) {
	long, err := time.ParseDuration(os.Getenv("AVI_SOAK"))
	if err != nil {
		long = 5 * time.Second
	}
	e := suite.New(t, suite.WithSim(avisim.Options{OmitBodies: true, LogBytes: 1 << 20}),
		suite.WithOptions(func(o *controllers.Options) { o.Refresh, o.Health = 30*time.Second, 2*time.Second }))
	s := &soak{e: e, random: rand.New(rand.NewPCG(1, 2))}
	for range soakServices {
		s.create()
	}
	s.settle()
	s.churn(long / 3) // caches and pools of the libraries fill up
	s.settle()
	before, calls := measure(), e.Sim.LastID()
	changes, took := s.churn(long - long/3)
	s.settle()
	after := measure()
	t.Logf("%d changes in %v, %.0f a second, %d calls", changes, took.Round(time.Second), float64(changes)/took.Seconds(),
		e.Sim.LastID()-calls)
	t.Logf("heap %d KiB and then %d KiB, goroutines %d and then %d", before.heap>>10, after.heap>>10, before.goroutines, after.goroutines)
	const slack = 8 << 20
	if after.heap > before.heap+before.heap/4+slack {
		t.Errorf("the heap grew from %d to %d bytes", before.heap, after.heap)
	}
	if after.goroutines > before.goroutines+before.goroutines/10+20 {
		t.Errorf("goroutines grew from %d to %d", before.goroutines, after.goroutines)
	}
}

func (s *soak) create() {
	s.e.T.Helper()
	svc := s.e.Service(fmt.Sprintf("soak-%d", s.made), suite.Port("SCTP", 38412))
	s.made++
	s.e.Create(svc, s.e.Slice(svc, "10.244.1.5"))
	s.live = append(s.live, svc)
}

// churn changes something soakRate times a second, and reports how often in what time.
func (s *soak) churn(long time.Duration) (changes int, took time.Duration) {
	s.e.T.Helper()
	tick := time.NewTicker(time.Second / soakRate)
	defer tick.Stop()
	for start := time.Now(); ; changes++ {
		if took = time.Since(start); took > long {
			return changes, took
		}
		<-tick.C
		s.change()
		if changes%soakRate == 0 {
			s.e.ResetKubeWrites()
		}
	}
}

// change does one of the things that happen to Services, most often to their endpoints.
func (s *soak) change() {
	s.e.T.Helper()
	i := s.random.IntN(len(s.live))
	svc := s.live[i]
	switch n := s.random.IntN(20); {
	case n < 14:
		address := fmt.Sprintf("10.244.%d.%d", 1+s.random.IntN(3), 2+s.random.IntN(250))
		suite.Update(s.e, s.e.Slice(svc), func(slice *discovery) {
			slice.Endpoints = []discoveryEndpoint{endpoint(address, true, false), endpoint("10.244.9.9", n%2 == 0, n%2 == 1)}
		})
	case n < 17:
		suite.Update(s.e, svc, func(svc *corev1.Service) {
			svc.Spec.Ports = svc.Spec.Ports[:1]
			if n < 16 {
				svc.Spec.Ports = append(svc.Spec.Ports, suite.Port("TCP", int32(8000+s.random.IntN(3))))
			}
		})
	case n < 18:
		name := fmt.Sprintf("h%d.%s.demo.avi.local", s.random.IntN(3), svc.Name)
		suite.Update(s.e, svc, annotate("external-dns.alpha.kubernetes.io/hostname", name))
	default: // one goes and another comes
		s.e.Delete(s.e.Slice(svc))
		s.e.Delete(svc)
		s.live = append(s.live[:i], s.live[i+1:]...)
		s.create()
	}
}

// settle waits until nothing is left to do and nothing fails.
func (s *soak) settle() {
	s.e.T.Helper()
	s.e.Eventually("the site settles", func() error {
		for _, o := range s.e.Operator.Owners {
			if n := o.Failing(); n > 0 {
				return fmt.Errorf("%d owners of kind %s fail", n, o.Kind())
			}
		}
		for _, svc := range s.live {
			if err := s.e.Read(svc); err != nil {
				return err
			}
		}
		return errors.Join(s.e.Complete(s.live...), s.served())
	})
}

// served is nil if the pools have what the slices say, and each status an address.
func (s *soak) served() error {
	for _, svc := range s.live {
		slice := s.e.Slice(svc)
		if err := s.e.Read(slice); err != nil {
			return err
		}
		want := fmt.Sprintf("%s:9090", slice.Endpoints[0].Addresses[0])
		servers := s.e.Servers(s.e.PoolName(svc, svc.Spec.Ports[0]))
		if len(servers) == 0 || servers[0] != want || len(svc.Status.LoadBalancer.Ingress) != 1 {
			return fmt.Errorf("%s has servers %v, want %s, and status %+v", svc.Name, servers, want, svc.Status.LoadBalancer)
		}
	}
	return nil
}
