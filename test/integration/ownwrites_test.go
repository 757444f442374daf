// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	svcapi "github.com/avi-l4-operator/avi-l4-operator/api/networking/v1alpha1"
	"github.com/avi-l4-operator/avi-l4-operator/test/suite"
)

// outside is an address that the Controller refuses: it is in none of its networks.
const outside = "192.0.2.77"

// asking are the kinds of owner, each asking for an address that is refused, and with endpoints that are there before it is. ask changes
// what it asks for.
var asking = map[string]struct {
	make    func(e *suite.Env, name string) client.Object
	ask     func(e *suite.Env, o client.Object, address string)
	address func(*suite.Env, client.Object) string
}{
	"service":    {serviceAsking, serviceAsks, serviceHas},
	"shared-vip": {sharedAsking, serviceAsks, serviceHas},
	"gateway": {func(e *suite.Env, name string) client.Object {
		gw := e.Gateway(name, suite.Listener("l", "ako.vmware.com/SCTP", 38412))
		gw.Spec.Addresses = []gatewayv1.GatewaySpecAddress{address("IPAddress", outside)}
		return gw
	}, func(e *suite.Env, o client.Object, ip string) {
		suite.Update(e, o.(*routedGateway), func(gw *routedGateway) {
			gw.Spec.Addresses = []gatewayv1.GatewaySpecAddress{address("IPAddress", ip)}
		})
	}, func(e *suite.Env, o client.Object) string { return e.GatewayReady(o.(*routedGateway)) }},
	"svcapi-gateway": {func(e *suite.Env, name string) client.Object {
		gw := e.SvcAPIGateway(name, e.SvcAPIListener(name, "SCTP", 38412))
		gw.Spec.Addresses = []svcapi.GatewayAddress{{Value: outside}}
		e.SvcAPIAttach(gw, name, "10.244.1.5", suite.Port("SCTP", 38412))
		return gw
	}, func(e *suite.Env, o client.Object, ip string) {
		suite.Update(e, o.(*gateway), func(gw *gateway) { gw.Spec.Addresses = []svcapi.GatewayAddress{{Value: ip}} })
	}, func(e *suite.Env, o client.Object) string { return e.SvcAPIReady(o.(*gateway)) }},
}

func serviceAsking(e *suite.Env, name string) client.Object {
	svc := e.Service(name, suite.Port("SCTP", 38412))
	svc.Spec.LoadBalancerIP = outside
	e.Create(e.Slice(svc, "10.244.1.5"))
	return svc
}

func sharedAsking(e *suite.Env, name string) client.Object {
	svc := e.SharedVIP(name, name+"-vip", suite.Port("SCTP", 38412))
	svc.Spec.LoadBalancerIP = outside
	e.Create(e.Slice(svc, "10.244.1.5"))
	return svc
}

func serviceAsks(e *suite.Env, o client.Object, ip string) {
	suite.Update(e, o.(*corev1.Service), func(s *corev1.Service) { s.Spec.LoadBalancerIP = ip })
}

func serviceHas(e *suite.Env, o client.Object) string { return e.Programmed(o.(*corev1.Service)) }

// atWork is a test whose operator serves already.
func atWork(t *testing.T) *suite.Env {
	e := suite.New(t)
	e.Own(e.Class(), e.SvcAPIClass(nil))
	ready := e.Service("ready", suite.Port("SCTP", 2905))
	e.Create(ready)
	e.Programmed(ready)
	e.Quiet(time.Second)
	return e
}

// TestARefusedAddressIsAskedForOnce: what the operator itself writes on an owner (its finalizer and name, then the status), and the health
// of the pools that it has made meanwhile, don't have the Controller asked again for what it has just refused.
func TestARefusedAddressIsAskedForOnce(t *testing.T) {
	t.Parallel()
	for name, kind := range asking {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := atWork(t)
			owner := kind.make(e, "amf")
			e.Sim.ResetRequests()
			e.Create(owner)
			asked := func() (n int) {
				for _, call := range e.Calls() {
					if call == "POST vsvip" {
						n++
					}
				}
				return n
			}
			e.Eventually("the address to be asked for", func() error {
				if asked() == 0 {
					return fmt.Errorf("the calls are %v", e.Calls())
				}
				return nil
			})
			e.Never("the address to be asked for again", 3*time.Second, func() bool { return asked() > 1 })
			kind.ask(e, owner, "10.10.90.1")
			if ip := kind.address(e, owner); ip != "10.10.90.1" {
				t.Errorf("asked for another address, it has %s", ip)
			}
		})
	}
}

// TestAChangeBesidesTheOperatorsOwnIsSeen: somebody changes an owner while the operator writes to it. The change is in the same event as
// the operator's, or makes its write fail, and is what is served in the end.
func TestAChangeBesidesTheOperatorsOwnIsSeen(t *testing.T) {
	t.Parallel()
	for name, kind := range asking {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := atWork(t)
			for i, moment := range []struct {
				name     string
				status   bool // the write is the status, else the claim
				answered bool // the change comes when the API server has the write and the operator doesn't know it yet
			}{{"claim", false, false}, {"claimed", false, true}, {"status", true, false}, {"told", true, true}} {
				ip := fmt.Sprintf("10.10.90.%d", i+1)
				owner := kind.make(e, moment.name)
				var done atomic.Bool
				e.AroundKubeWrites(func(w suite.KubeWrite, answer int) {
					about, status := strings.CutSuffix(w.Path, "/status")
					if !strings.HasSuffix(about, "/"+moment.name) || status != moment.status || (answer != 0) != moment.answered || done.Swap(true) {
						return
					}
					kind.ask(e, owner.DeepCopyObject().(client.Object), ip)
					time.Sleep(200 * time.Millisecond) // its event arrives before the answer does
				})
				e.Create(owner.DeepCopyObject().(client.Object))
				if got := kind.address(e, owner); got != ip || !done.Load() {
					t.Errorf("%s: it has %s, want %s; changed %v", moment.name, got, ip, done.Load())
				}
			}
		})
	}
}
