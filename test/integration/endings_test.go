// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/avi-l4-operator/avi-l4-operator/controllers"
	"github.com/avi-l4-operator/avi-l4-operator/internal/gather"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
	"github.com/avi-l4-operator/avi-l4-operator/test/suite"
)

// ends waits until owners that are being deleted are gone.
func ends(e *suite.Env, owners ...client.Object) {
	e.T.Helper()
	for _, o := range owners {
		e.Eventually(fmt.Sprintf("the end of %T %s", o, o.GetName()), func() error {
			err := e.Client.Get(e.T.Context(), client.ObjectKeyFromObject(o), o)
			if apierrors.IsNotFound(err) {
				return nil
			}
			return fmt.Errorf("it is there with finalizers %v: %w", o.GetFinalizers(), err)
		})
	}
}

// inTenant has the Namespace of e name a tenant, or none.
func inTenant(e *suite.Env, tenant string) {
	e.T.Helper()
	suite.Update(e, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: e.Namespace}}, func(n *corev1.Namespace) {
		delete(n.Annotations, translate.AnnotationTenant)
		if tenant != "" {
			metav1.SetMetaDataAnnotation(&n.ObjectMeta, translate.AnnotationTenant, tenant)
		}
	})
}

// TestTenantThatIsNone: a Namespace names a tenant that can't be used. Nothing is written, its Services say what is wrong with the name,
// they and its Gateways can be deleted, and those that are made after a correction are served.
func TestTenantThatIsNone(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	e.Own(e.Class(), e.SvcAPIClass(nil))
	for name, tenant := range map[string]struct{ name, problem string }{
		"missing":      {"nosuch", "the Controller has no tenant"},
		"all":          {"*", "stands for all tenants"},
		"blank before": {" admin", "begins or ends with a blank"},
		"blank after":  {"admin ", "begins or ends with a blank"},
		"a line":       {"telco\r\nX-Avi-Version: 1", "characters that no request can carry"},
		"not a letter": {"te\x7flco", "characters that no request can carry"},
		"foreign":      {"tenänt-ж", "the Controller has no tenant"},
		"a path":       {"../admin?x=y", "the Controller has no tenant"},
		"long":         {strings.Repeat("t", 300), "is longer than 255"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := e.Apart(t)
			inTenant(in, tenant.name)
			svc, gw := in.Service("amf", suite.Port("SCTP", 38412)), in.Gateway("edge", suite.Listener("n2", "ako.vmware.com/SCTP", 6060))
			in.Create(svc, in.Slice(svc, "10.244.1.5"), gw)
			if m := in.Condition(svc, "Programmed", no, "TenantMissing"); !strings.Contains(m, tenant.problem) ||
				!strings.Contains(m, "annotation ako.vmware.com/tenant-name of Namespace "+in.Namespace) {
				t.Errorf("the condition says: %s", m)
			}
			in.GatewayCondition(gw, "Programmed", no, "")
			in.Delete(svc)
			in.Delete(gw)
			ends(in, svc, gw)
			for _, w := range e.Sim.Requests() {
				if strings.Contains(string(w.Body), in.Namespace) && w.Method != "GET" {
					t.Errorf("it wrote %s %s: %s", w.Method, w.Path, w.Body)
				}
			}
			inTenant(in, "")
			again := in.Service("again", suite.Port("SCTP", 38412))
			in.Create(again, in.Slice(again, "10.244.1.5"))
			in.Programmed(again)
		})
	}
}

// TestTenantThatIsMadeLater is found by the name that its Namespace has, at the next change, and what serves elsewhere goes on.
func TestTenantThatIsMadeLater(t *testing.T) {
	t.Parallel()
	e := suite.New(t)
	live := serves(e, "live")
	address := e.Programmed(live)
	suite.Update(e, live, annotate("l4.ako.vmware.com/allow-replacement", "true"))
	inTenant(e, "later")
	if m := e.Condition(live, "Accepted", yes, "TenantMissing"); !strings.Contains(m, "served in tenant admin as before") {
		t.Errorf("the condition says: %s", m)
	}
	if now := e.Programmed(live); now != address {
		t.Errorf("the address was %s and is %s", address, now)
	}
	if err := e.Sim.AddTenant("later"); err != nil {
		t.Fatal(err)
	}
	svc := e.Service("amf", suite.Port("SCTP", 38412))
	e.Eventually("the Controller's word is no longer fresh", func() error {
		suite.Update(e, live, annotate("touched", time.Now().String()))
		if _, ok := e.Sim.Object("virtualservice", "later", e.Name(live)); !ok {
			return fmt.Errorf("it isn't served there")
		}
		return nil
	})
	e.Create(svc, e.Slice(svc, "10.244.1.5"))
	e.Programmed(svc)
}

// TestTenantThatIsRemoved with all that was in it: what was served there is released when it is deleted, before and after a full read.
func TestTenantThatIsRemoved(t *testing.T) {
	t.Parallel()
	for name, refresh := range map[string]time.Duration{"before a full read": time.Hour, "after full reads": 300 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := suite.New(t, suite.WithOptions(func(o *controllers.Options) { o.Refresh = refresh }))
			if err := e.Sim.AddTenant("telco"); err != nil {
				t.Fatal(err)
			}
			inTenant(e, "telco")
			svc := serves(e, "amf")
			e.Programmed(svc)
			for _, kind := range []string{"virtualservice", "l4policyset", "pool", "vsvip"} {
				for _, o := range e.Sim.Objects(kind) {
					if n, _ := o["name"].(string); strings.HasPrefix(n, e.Cluster+"--") {
						if err := e.Sim.Remove(kind, "telco", n); err != nil {
							t.Fatal(err)
						}
					}
				}
			}
			if err := e.Sim.Remove("tenant", "admin", "telco"); err != nil {
				t.Fatal(err)
			}
			if refresh < time.Minute {
				e.Condition(svc, "Programmed", no, "TenantMissing")
				e.Sweeps(2)
			}
			e.Delete(svc)
			ends(e, svc)
			if left := e.Owned(); len(left) > 0 {
				t.Errorf("the Controller holds %v", left)
			}
		})
	}
}

// TestForgedInstance: whoever writes an owner can write that another instance serves it. What the Controller holds decides: it is served
// on and put right, and what nobody ever served can be deleted.
func TestForgedInstance(t *testing.T) {
	t.Parallel()
	const other = "ako-oldcluster@oldcluster/Default-Cloud"
	e := suite.New(t)
	e.Own(e.Class())
	forge := func(o client.Object) {
		annotations := o.GetAnnotations()
		if annotations == nil {
			annotations = make(map[string]string)
		}
		annotations[gather.AnnotationServedBy] = other
		o.SetAnnotations(annotations)
		if !slices.Contains(o.GetFinalizers(), gather.Finalizer) {
			o.SetFinalizers(append(o.GetFinalizers(), gather.Finalizer))
		}
	}
	listener := suite.Listener("n2", "ako.vmware.com/SCTP", 6060)
	served, gw, shared := serves(e, "amf"), e.Gateway("edge", listener), member(e, "smf", "n4", "10.244.1.6", webPort)
	backend(e, "app", "10.244.1.7", suite.Port("SCTP", 80))
	e.Create(gw, e.SCTPRoute("s", "edge", "", suite.To("app", 80, 1)))
	addresses := []string{e.Programmed(served), e.GatewayReady(gw), e.Programmed(shared)}
	for _, o := range []client.Object{served, gw, shared} {
		suite.Update(e, o, forge)
		e.Eventually("the claim is put right", func() error {
			if err := e.Read(o); err != nil {
				return err
			}
			if by := o.GetAnnotations()[gather.AnnotationServedBy]; !strings.HasPrefix(by, "ako-"+e.Cluster+"@") {
				return fmt.Errorf("%s is served by %q", o.GetName(), by)
			}
			return nil
		})
	}
	if now := []string{e.Programmed(served), e.GatewayReady(gw), e.Programmed(shared)}; !slices.Equal(now, addresses) {
		t.Errorf("the addresses were %v and are %v", addresses, now)
	}
	// Forged while nobody looks, and deleted.
	e.StopOperator()
	for _, o := range []client.Object{served, gw, shared} {
		suite.Update(e, o, forge)
		e.Delete(o)
	}
	e.StartOperator()
	ends(e, served, gw, shared)
	if left := e.Owned(); len(left) > 0 {
		t.Errorf("the Controller holds %v", left)
	}
	// Nothing of these was ever made.
	copied, copiedGateway := e.Service("copied", suite.Port("SCTP", 38412)), e.Gateway("copied", listener)
	copiedMember := e.SharedVIP("copied-member", "n4", webPort)
	for _, o := range []client.Object{copied, copiedGateway, copiedMember} {
		forge(o)
		e.Create(o)
	}
	e.Condition(copied, "Accepted", no, "ServedByAnotherInstance")
	e.Condition(copiedMember, "Accepted", no, "ServedByAnotherInstance")
	e.GatewayCondition(copiedGateway, "Accepted", no, "")
	for _, o := range []client.Object{copied, copiedGateway, copiedMember} {
		e.Delete(o)
	}
	ends(e, copied, copiedGateway, copiedMember)
}

// TestAnothersOwnerIsLeftAlone when it is deleted: an instance has spoken for it, or it isn't to be served here.
func TestAnothersOwnerIsLeftAlone(t *testing.T) {
	t.Parallel()
	first := suite.New(t)
	second := suite.New(t)
	svc := serves(first, "amf")
	first.Programmed(svc)
	first.StopOperator()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: first.Namespace}}
	suite.Update(first, ns, func(n *corev1.Namespace) { n.Labels["served-by"] = second.Cluster })
	first.Delete(svc)
	second.LookAgain("service", svc)
	if err := first.Client.Get(t.Context(), client.ObjectKeyFromObject(svc), svc); err != nil || !gather.Claimed(svc) {
		t.Errorf("it was let go: %v %v", err, svc.Finalizers)
	}
	first.StartOperator()
	ends(first, svc)
	if left := first.Owned(); len(left) > 0 {
		t.Errorf("the Controller holds %v", left)
	}
}
