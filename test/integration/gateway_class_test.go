// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1beta1"
	"github.com/avi-l4-operator/avi-l4-operator/controllers"
	"github.com/avi-l4-operator/avi-l4-operator/test/suite"
)

type routedGateway = gatewayv1.Gateway

// classOf makes a GatewayClass of the test's own name with a suffix.
func classOf(e *suite.Env, suffix string, change func(*gatewayv1.GatewayClass)) *gatewayv1.GatewayClass {
	e.T.Helper()
	c := e.Class()
	c.Name += suffix
	change(c)
	e.Own(c)
	return c
}

// routedHeld waits until a class has the API's finalizer, or hasn't.
func routedHeld(e *suite.Env, c *gatewayv1.GatewayClass, want bool) {
	e.T.Helper()
	e.Eventually(fmt.Sprintf("the finalizer of class %s is there: %t", c.Name, want), func() error {
		err := e.Read(c)
		if err == nil && slices.Contains(c.Finalizers, gatewayv1.GatewayClassFinalizerGatewaysExist) != want {
			err = fmt.Errorf("finalizers are %v", c.Finalizers)
		}
		return err
	})
}

// TestRoutedClass has the rules about a GatewayClass' status and finalizer.
func TestRoutedClass(t *testing.T) {
	t.Parallel()
	e := suite.New(t)

	t.Run("accepted-with-features-sorted-and-generation-followed", func(t *testing.T) {
		e := e.In(t)
		c := classOf(e, "-plain", func(*gatewayv1.GatewayClass) {})
		e.ClassCondition(c, "Accepted", yes, "Accepted")
		e.ClassCondition(c, "SupportedVersion", yes, "SupportedVersion")
		var names []string
		for _, f := range c.Status.SupportedFeatures {
			names = append(names, string(f.Name))
		}
		// SCTPRoute is no feature of the API's, and nothing of layer 7 is claimed.
		if want := []string{"Gateway", "GatewayAddressEmpty", "GatewayStaticAddresses", "ListenerSet", "ReferenceGrant", "TCPRoute",
			"UDPRoute"}; !slices.Equal(names, want) {
			t.Errorf("supportedFeatures are %v", names)
		}
		suite.Update(e, c, func(c *gatewayv1.GatewayClass) { c.Spec.Description = new("for SCTP") })
		e.ClassCondition(c, "Accepted", yes, "Accepted") // of the new generation, as every wait here is
		e.ClassCondition(c, "SupportedVersion", yes, "SupportedVersion")
		if c.Generation != 2 {
			t.Errorf("generation is %d", c.Generation)
		}
	})

	t.Run("conditions-of-others-are-kept", func(t *testing.T) {
		e := e.In(t)
		c := classOf(e, "-shared", func(*gatewayv1.GatewayClass) {})
		e.ClassCondition(c, "Accepted", yes, "Accepted")
		e.Eventually("somebody else's condition", func() error {
			if err := e.Read(c); err != nil {
				return err
			}
			apimeta.SetStatusCondition(&c.Status.Conditions,
				metav1.Condition{Type: "example.com/Audited", Status: yes, Reason: "Audited", ObservedGeneration: 1})
			return e.Client.Status().Update(t.Context(), c)
		})
		suite.Update(e, c, func(c *gatewayv1.GatewayClass) { c.Spec.Description = new("audited") })
		e.ClassCondition(c, "Accepted", yes, "Accepted")
		if a := apimeta.FindStatusCondition(c.Status.Conditions, "example.com/Audited"); a == nil || a.Reason != "Audited" ||
			a.ObservedGeneration != 1 {
			t.Errorf("conditions are %+v", c.Status.Conditions)
		}
	})

	t.Run("of-another-controller-is-left-alone", func(t *testing.T) {
		e := e.In(t)
		other := classOf(e, "-other", func(c *gatewayv1.GatewayClass) { c.Spec.ControllerName = foreignController })
		gw := e.Gateway("of-other", suite.Listener("n2", "SCTP", 38412))
		gw.Spec.GatewayClassName = gatewayv1.ObjectName(other.Name)
		e.Create(gw)
		e.ClassCondition(classOf(e, "-after", func(*gatewayv1.GatewayClass) {}), "Accepted", yes, "Accepted") // there was time
		for _, o := range []client.Object{other, gw} {
			if err := e.Read(o); err != nil {
				t.Fatal(err)
			}
			if len(o.GetFinalizers()) > 0 {
				t.Errorf("%s has finalizers %v", o.GetName(), o.GetFinalizers())
			}
		}
		for _, c := range slices.Concat(other.Status.Conditions, gw.Status.Conditions) {
			if c.Status != metav1.ConditionUnknown || c.Reason != "Pending" || c.ObservedGeneration != 0 {
				t.Errorf("somebody wrote %+v", c)
			}
		}
	})

	t.Run("finalizer-while-in-use", func(t *testing.T) {
		e := e.In(t)
		a, b := classOf(e, "-a", func(*gatewayv1.GatewayClass) {}), classOf(e, "-b", func(*gatewayv1.GatewayClass) {})
		e.ClassCondition(a, "Accepted", yes, "Accepted")
		routedHeld(e, a, false)
		gw := e.Gateway("uses", suite.Listener("n2", "SCTP", 38412))
		gw.Spec.GatewayClassName = gatewayv1.ObjectName(a.Name)
		e.Create(gw)
		routedHeld(e, a, true)
		e.GatewayReady(gw)
		suite.Update(e, gw, func(gw *routedGateway) { gw.Spec.GatewayClassName = gatewayv1.ObjectName(b.Name) })
		routedHeld(e, b, true)
		routedHeld(e, a, false)
		e.Delete(b)
		e.LookAgain("gatewayclass", b)
		if err := e.Read(b); err != nil {
			t.Errorf("the class goes under its Gateway: %v", err)
		}
		e.GatewayReady(gw) // it serves until it is deleted itself
		e.Delete(gw)
		gone(e, b)
	})
}

// TestRoutedClassParameters: what is wrong with a class' parametersRef is reported on the class and on its Gateways. A Gateway that
// serves keeps what it has, a new one waits, and both are served once it is fixed.
func TestRoutedClassParameters(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	rejected := e.Setting("rejected", v1beta1.AviInfraSettingSpec{SEGroup: &v1beta1.AviInfraSettingSEGroup{Name: "there-is-none"}})
	good := e.Setting("good", v1beta1.AviInfraSettingSpec{})
	e.Own(rejected, good)
	of := func(name string) *gatewayv1.ParametersReference {
		return &gatewayv1.ParametersReference{Group: "ako.vmware.com", Kind: "AviInfraSetting", Name: name}
	}
	for name, c := range map[string]struct {
		ref  *gatewayv1.ParametersReference
		says []string
	}{
		"another-kind":    {&gatewayv1.ParametersReference{Group: "ako.vmware.com", Kind: "L4Rule", Name: good.Name}, []string{"L4Rule", "only an AviInfraSetting"}},
		"another-group":   {&gatewayv1.ParametersReference{Group: "example.com", Kind: "AviInfraSetting", Name: good.Name}, []string{"example.com", "ako.vmware.com"}},
		"core-group":      {&gatewayv1.ParametersReference{Group: "", Kind: "ConfigMap", Name: good.Name}, []string{"ConfigMap", "only an AviInfraSetting"}},
		"with-namespace":  {&gatewayv1.ParametersReference{Group: "ako.vmware.com", Kind: "AviInfraSetting", Name: good.Name, Namespace: new(gatewayv1.Namespace("default"))}, []string{"namespace", "remove it"}},
		"setting-missing": {of(good.Name + "-not"), []string{good.Name + "-not", "create it"}},
		"setting-wrong":   {of(rejected.Name), []string{rejected.Name, "there-is-none"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := e.In(t)
			class := classOf(e, "-"+name, func(c *gatewayv1.GatewayClass) { c.Spec.ParametersRef = of(good.Name) })
			named := func(gateway string) *routedGateway {
				gw := e.Gateway(gateway+"-"+name, suite.Listener("n2", "SCTP", 38412))
				gw.Spec.GatewayClassName = gatewayv1.ObjectName(class.Name)
				return gw
			}
			serves, waits := named("serves"), named("waits")
			svc := backend(e, "amf-"+name, "10.244.1.5", suite.Port("SCTP", 38412))
			e.Create(serves, e.SCTPRoute("amf-"+name, serves.Name, "", suite.To(svc.Name, 38412, 1)))
			e.ClassCondition(class, "Accepted", yes, "Accepted")
			e.GatewayReady(serves)
			tree := e.GatewayServes(serves, "SCTP/38412 "+svc.Name+" [10.244.1.5:9090]")

			classSettles(class)
			suite.Update(e, class, func(gc *gatewayv1.GatewayClass) { gc.Spec.ParametersRef = c.ref })
			told := e.ClassCondition(class, "Accepted", no, "InvalidParameters")
			e.Create(waits) // what is created earlier may be served with what the class said before
			told += e.GatewayCondition(waits, "Accepted", no, "InvalidParameters")
			for _, part := range c.says {
				if strings.Count(told, part) < 2 {
					t.Errorf("not both say %q: %s", part, told)
				}
			}
			e.Told(class, "InvalidParameters", c.says[0])
			e.GatewayCondition(waits, "Programmed", no, "Invalid")
			e.ListenerCondition(waits, "n2", "Programmed", no, "Pending")
			e.GatewayCondition(serves, "Accepted", no, "InvalidParameters")
			e.GatewayCondition(serves, "Programmed", yes, "Programmed")
			same(t, tree, e.GatewayServes(serves, tree.Ports...))
			if e.Object("vsvip", e.GatewayName(waits)) != nil {
				t.Errorf("%s has objects on the Controller", waits.Name)
			}

			suite.Update(e, class, func(gc *gatewayv1.GatewayClass) { gc.Spec.ParametersRef = nil })
			e.ClassCondition(class, "Accepted", yes, "Accepted")
			e.GatewayCondition(serves, "Accepted", yes, "Accepted")
			e.GatewayReady(waits)
			same(t, tree, e.GatewayServes(serves, tree.Ports...))
		})
	}
}

// TestRoutedClassOfAnotherName: --gateway-controller-name adds a controllerName, which stands in the routes' status then.
func TestRoutedClassOfAnotherName(t *testing.T) {
	t.Parallel()
	e := suite.New(t, suite.WithOptions(func(o *controllers.Options) { o.ControllerNames = []string{"example.com/l4"} }))
	c := classOf(e, "", func(c *gatewayv1.GatewayClass) { c.Spec.ControllerName = "example.com/l4" })
	e.ClassCondition(c, "Accepted", yes, "Accepted")
	gw := e.Gateway("edge", suite.Listener("n2", "SCTP", 38412))
	svc := backend(e, "amf", "10.244.1.5", suite.Port("SCTP", 38412))
	route := e.SCTPRoute("amf", "edge", "", suite.To(svc.Name, 38412, 1))
	e.Create(gw, route)
	e.GatewayReady(gw)
	e.GatewayServes(gw, "SCTP/38412 amf [10.244.1.5:9090]")
	e.Eventually("the route's entry", func() error {
		if err := e.Read(route); err != nil {
			return err
		}
		if p := route.Status.Parents; len(p) != 1 || p[0].ControllerName != "example.com/l4" || !apimeta.IsStatusConditionTrue(p[0].Conditions, "Accepted") {
			return fmt.Errorf("have %+v", p)
		}
		return nil
	})
}

// TestRoutedClassVersion: CRDs of another release, or of none that they name, are reported, and served as well as possible. It runs
// alone: the CRDs are the whole API server's.
func TestRoutedClassVersion(t *testing.T) {
	e := suite.New(t)
	const annotation, crd = "gateway.networking.k8s.io/bundle-version", "tcproutes.gateway.networking.k8s.io"
	edit := func(change func(*apiextensionsv1.CustomResourceDefinition)) {
		t.Helper()
		suite.Update(e, &apiextensionsv1.CustomResourceDefinition{ObjectMeta: metav1.ObjectMeta{Name: crd}}, change)
	}
	was := &apiextensionsv1.CustomResourceDefinition{}
	if err := e.Client.Get(t.Context(), client.ObjectKey{Name: crd}, was); err != nil {
		t.Fatal(err)
	}
	release := was.Annotations[annotation]
	restore := func() {
		edit(func(o *apiextensionsv1.CustomResourceDefinition) { o.Annotations[annotation] = release })
	}
	defer restore() // the other tests need it
	c := routedClass(e)
	e.ClassCondition(c, "SupportedVersion", yes, "SupportedVersion")
	for i, version := range []struct{ name, says string }{{"v1.5.1", "v1.5.1"}, {"v1.7.0", "v1.7.0"}, {"main", "main"}, {"", `""`}} {
		edit(func(o *apiextensionsv1.CustomResourceDefinition) {
			o.Annotations[annotation] = version.name
			if version.name == "" {
				delete(o.Annotations, annotation)
			}
		})
		e.Eventually("a word about "+version.says, func() error {
			if m := e.ClassCondition(c, "SupportedVersion", no, "UnsupportedVersion"); !strings.Contains(m, version.says) && version.name != "" || !strings.Contains(m, release) {
				return fmt.Errorf("it says %s", m)
			}
			return nil
		})
		e.ClassCondition(c, "Accepted", yes, "Accepted")
		gw := e.Gateway(fmt.Sprintf("edge-%d", i), suite.Listener("web", "TCP", 80))
		e.Create(gw)
		e.GatewayReady(gw)
	}
	// Another release of the same minor one is as good.
	edit(func(o *apiextensionsv1.CustomResourceDefinition) {
		o.Annotations[annotation] = release[:strings.LastIndex(release, ".")] + ".0"
	})
	e.ClassCondition(c, "SupportedVersion", yes, "SupportedVersion")
	restore()
	e.Eventually("one release", func() error {
		if m := e.ClassCondition(c, "SupportedVersion", yes, "SupportedVersion"); strings.Contains(m, ",") {
			return fmt.Errorf("it says %s", m)
		}
		return nil
	})
}
