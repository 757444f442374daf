// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"testing"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1beta1"
	svcapi "github.com/avi-l4-operator/avi-l4-operator/api/networking/v1alpha1"
	"github.com/avi-l4-operator/avi-l4-operator/controllers"
	"github.com/avi-l4-operator/avi-l4-operator/test/suite"
)

// fresh is an object as it can be created again.
func fresh[T client.Object](o T) T {
	c, _ := o.DeepCopyObject().(T)
	c.SetResourceVersion("")
	c.SetUID("")
	c.SetFinalizers(nil)
	c.SetDeletionTimestamp(nil)
	c.SetGeneration(0)
	return c
}

// TestCRDsRemovedAndRestored takes the types away under live traffic of both APIs, keeps one of them on its way out for several
// sweeps by a foreign finalizer, and brings them back. Nothing that serves is removed or moved, and all resume. It runs alone:
// the types are the whole API server's.
func TestCRDsRemovedAndRestored(t *testing.T) {
	e := suite.New(t, suite.WithOptions(func(o *controllers.Options) { o.Refresh = 3 * time.Second }))
	setting := e.Setting("plain", v1beta1.AviInfraSettingSpec{})
	class, gw := e.SvcAPIClass(setting), e.SvcAPIGateway("old", e.SvcAPIListener("old", "SCTP", 6060))
	svc := e.Backend("diameter", "old", suite.Port("SCTP", 6060))
	slice := e.Slice(svc, "10.244.1.5")
	gw.Finalizers = []string{"example.com/theirs"}
	defer func() { // whatever happened, the other tests need them
		suite.Forget(e, gw)
		e.RestoreCRDs()
	}()
	e.Create(setting, class, gw, svc, slice)
	routedClass := e.Class()
	routed, route := e.Gateway("new", suite.Listener("n2", "SCTP", 38412)), e.SCTPRoute("amf", "new", "", suite.To("amf", 38412, 1))
	amf := backend(e, "amf", "10.244.1.6", suite.Port("SCTP", 38412))
	e.Create(routedClass, routed, route)
	t.Cleanup(func() { suite.Forget(e, class); suite.Forget(e, routedClass); suite.Forget(e, setting) })
	e.SvcAPIReady(gw)
	e.GatewayReady(routed)
	pool, routedPool := e.SvcAPIPool(gw, "diameter", suite.Port("SCTP", 6060)), e.GatewayPool(routed, "SCTP", 38412, "amf", 38412)
	e.Eventually("both serve", func() error {
		if len(e.Servers(pool)) != 1 || len(e.Servers(routedPool)) != 1 {
			return fmt.Errorf("the Controller holds %v", e.Owned())
		}
		return nil
	})
	one, two := e.Object("virtualservice", e.SvcAPIName(gw))["uuid"], e.Object("virtualservice", e.GatewayName(routed))["uuid"]
	keep, keepRoute, keepRouted, keepSetting := fresh(gw), fresh(route), fresh(routed), fresh(setting)
	keepClass, keepRoutedClass := fresh(class), fresh(routedClass)
	e.Quiet(time.Second) // a VirtualService follows its pools
	e.Sim.ResetRequests()

	// The old API's CRD stays on its way out as long as somebody's finalizer does.
	crds := []string{"gateways.networking.x-k8s.io", "gatewayclasses.networking.x-k8s.io"}
	e.Delete(&apiextensionsv1.CustomResourceDefinition{ObjectMeta: metav1.ObjectMeta{Name: crds[0]}})
	none := func(when string) {
		t.Helper()
		e.Sweeps(1)
		for _, w := range e.Writes() {
			t.Errorf("a write %s: %s %s", when, w.Method, w.Path)
		}
	}
	none("while the type is on its way out")
	none("while the type is still on its way out")
	suite.Update(e, gw, func(o *svcapi.Gateway) { o.Finalizers = nil })
	e.RemoveCRDs(crds...)
	e.RemoveCRDs("sctproutes.ako.vmware.com")
	none("without the routes' type")
	e.ListenerCondition(routed, "n2", "Programmed", metav1.ConditionTrue, "Programmed")
	e.RemoveCRDs("gateways.gateway.networking.k8s.io", "gatewayclasses.gateway.networking.k8s.io", "aviinfrasettings.ako.vmware.com")
	none("without the types")

	e.RestoreCRDs()
	none("when the types are back and their objects are not")
	keep.Finalizers = nil
	for _, o := range []client.Object{keepSetting, keepClass, keepRoutedClass, keep, keepRouted, keepRoute} {
		e.Eventually("creating "+o.GetName()+" again", func() error { return client.IgnoreAlreadyExists(e.Client.Create(t.Context(), o)) })
	}
	e.SvcAPIReady(keep)
	e.GatewayReady(keepRouted)
	for _, w := range e.Writes() {
		t.Errorf("a write: %s %s", w.Method, w.Path)
	}
	if a, b := e.Object("virtualservice", e.SvcAPIName(gw))["uuid"], e.Object("virtualservice", e.GatewayName(routed))["uuid"]; a != one ||
		b != two {
		t.Errorf("other VirtualServices serve: %v and %v, before %v and %v", a, b, one, two)
	}
	// They follow their endpoints again.
	for name, p := range map[string]string{svc.Name: pool, amf.Name: routedPool} {
		s := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: e.Namespace}}
		suite.Update(e, s, func(s *discoveryv1.EndpointSlice) { s.Endpoints[0].Addresses = []string{"10.244.9.9"} })
		e.Eventually("the pool of "+name, func() error {
			if got := fmt.Sprint(e.Servers(p)); got != "[10.244.9.9:9090]" {
				return fmt.Errorf("servers are %s", got)
			}
			return nil
		})
	}
}
