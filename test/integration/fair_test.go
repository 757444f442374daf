// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim"
	"github.com/avi-l4-operator/avi-l4-operator/test/suite"
)

// TestNeighbourOfALargeService: writes take 200 ms, and a Service of 100 ports is being made, which takes some 3 s. A change of
// endpoints in another namespace is on the Controller long before that.
func TestNeighbourOfALargeService(t *testing.T) {
	e := suite.New(t)
	small := e.Apart(t)
	svc := small.Service("amf", suite.Port("SCTP", 38412))
	slice := small.Slice(svc, "10.244.1.5")
	small.Create(svc, slice)
	small.Programmed(svc)
	pool := small.PoolName(svc, svc.Spec.Ports[0])
	for _, method := range []string{"POST", "PATCH"} {
		e.Sim.Inject(avisim.Fault{Method: method, Delay: 200 * time.Millisecond})
	}
	moves := func(address string) time.Duration {
		start := time.Now()
		suite.Update(small, slice, func(s *discovery) { s.Endpoints = []discoveryEndpoint{endpoint(address, true, false)} })
		small.Eventually("the endpoint "+address, func() error {
			if got := fmt.Sprint(e.Servers(pool)); got != "["+address+":9090]" {
				return fmt.Errorf("servers are %s", got)
			}
			return nil
		})
		return time.Since(start)
	}
	alone := moves("10.244.1.6")
	var ports []corev1.ServicePort
	for i := range 100 {
		ports = append(ports, suite.Port("TCP", int32(1000+i)))
	}
	large := e.Service("large", ports...)
	e.Create(large, e.Slice(large, "10.244.2.5"))
	pools := func() (n int) {
		for _, r := range e.Writes() {
			if r.Method == "POST" && r.Type == "pool" {
				n++
			}
		}
		return n
	}
	before := pools()
	e.Eventually("the first pools", func() error {
		if pools() == before {
			return fmt.Errorf("there are none")
		}
		return nil
	})
	beside := moves("10.244.1.7")
	if done := pools() - before; done >= 90 {
		t.Errorf("%d of 100 pools were made before the neighbour's change was", done)
	}
	t.Logf("alone %s, beside a large Service %s", alone, beside)
	e.Programmed(large)
}
