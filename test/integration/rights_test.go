// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1alpha2"
	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1beta1"
	svcapi "github.com/avi-l4-operator/avi-l4-operator/api/networking/v1alpha1"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
	"github.com/avi-l4-operator/avi-l4-operator/test/suite"
)

// right is one verb on one resource.
type right struct{ group, resource, name, verb string }

func (r right) String() string {
	return strings.TrimSpace(r.verb + " " + strings.Trim(r.resource+"."+r.group, ".") + " " + r.name)
}

func (r right) rule() rbacv1.PolicyRule {
	rule := rbacv1.PolicyRule{APIGroups: []string{r.group}, Resources: []string{r.resource}, Verbs: []string{r.verb}}
	if r.name != "" {
		rule.ResourceNames = []string{r.name}
	}
	return rule
}

// rightsOf is what the operator's roles allow, one by one.
func rightsOf(t *testing.T) (out []right) {
	t.Helper()
	raw, err := os.ReadFile("../../config/rbac/role.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for documents := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(raw), 4096); ; {
		var role rbacv1.ClusterRole // or a Role, which is spelled alike
		if err := documents.Decode(&role); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		for _, rule := range role.Rules {
			for _, group := range rule.APIGroups {
				for _, resource := range rule.Resources {
					for _, verb := range rule.Verbs {
						for _, name := range append(slices.Clone(rule.ResourceNames), "")[:max(1, len(rule.ResourceNames))] {
							out = append(out, right{group, resource, name, verb})
						}
					}
				}
			}
		}
	}
	slices.SortFunc(out, func(a, b right) int { return cmp.Compare(a.String(), b.String()) })
	return out
}

// rightsWorld is an operator with just the rights of its roles, and what it serves.
type rightsWorld struct {
	*suite.Env
	role    *rbacv1.ClusterRole
	class   *gatewayv1.GatewayClass
	svc     *corev1.Service
	slice   *discoveryv1.EndpointSlice
	address string
	owned   map[string]int
	last    int // part of the address of the only endpoint
}

// may gives the operator all its rights but one, and waits until the API server knows.
func (w *rightsWorld) may(all []right, but *right) {
	w.T.Helper()
	suite.Update(w.Env, w.role, func(role *rbacv1.ClusterRole) {
		role.Rules = nil
		for _, r := range all {
			if but == nil || r != *but {
				role.Rules = append(role.Rules, r.rule())
			}
		}
	})
	of := all[0]
	if but != nil {
		of = *but
	}
	resource, sub, _ := strings.Cut(of.resource, "/")
	w.Eventually("the rights", func() error {
		review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{User: w.role.Name,
			ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: w.System, Verb: of.verb, Group: of.group, Resource: resource,
				Subresource: sub, Name: of.name}}}
		if err := w.Client.Create(w.T.Context(), review); err != nil {
			return err
		}
		if review.Status.Allowed != (but == nil) {
			return fmt.Errorf("%s is allowed: %t", of, review.Status.Allowed)
		}
		return nil
	})
}

// newRightsWorld makes an operator that serves a Service and Gateways of both APIs.
func newRightsWorld(t *testing.T, name string, all []right) *rightsWorld {
	t.Helper()
	admin, err := client.New(suite.RESTConfig(), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	w := &rightsWorld{role: &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}}}
	for _, o := range []client.Object{w.role, &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: name},
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: name}},
	}} {
		if err := admin.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	w.Env = &suite.Env{T: t, Client: admin}
	w.may(all, nil)
	w.Env = suite.New(t, suite.WithUser(name), suite.WithConfig("disableStaticRouteSync", "false"), suite.WithConfig("logLevel", "INFO"))
	w.class = w.Class()
	w.Own(w.class, w.SvcAPIClass(nil))
	w.svc = w.Service("steady", suite.Port("SCTP", 38412))
	w.slice = w.Slice(w.svc, "10.244.1.1")
	w.Create(w.svc, w.slice)
	w.address = w.Programmed(w.svc)
	w.owned = w.Owned()
	return w
}

// churn is one object of each kind that the operator serves or judges.
type churn struct {
	class    *gatewayv1.GatewayClass
	oldClass *svcapi.GatewayClass
	svc      *corev1.Service
	old      *svcapi.Gateway
	gw       *gatewayv1.Gateway
	set      *gatewayv1.ListenerSet
	routes   []client.Object
	rule     *v1alpha2.L4Rule
	setting  *v1beta1.AviInfraSetting
	backends []client.Object
}

func (w *rightsWorld) churn(n int) *churn {
	w.T.Helper()
	name := func(what string) string { return fmt.Sprintf("%s-%d", what, n) }
	c := &churn{setting: w.Setting(name("setting"), v1beta1.AviInfraSettingSpec{}),
		rule: w.Rule(name("rule"), v1alpha2.L4RuleSpec{ApplicationProfileRef: "System-L4-Application"})}
	c.class, c.oldClass = w.Class(), w.SvcAPIClass(nil)
	c.class.Name, c.oldClass.Name = w.Cluster+name("-class"), w.Cluster+name("-class")
	c.svc = w.Service(name("amf"), suite.Port("SCTP", 38412))
	c.svc.Annotations = map[string]string{translate.AnnotationRule: c.rule.Name}
	c.old = w.SvcAPIGateway(name("old"), w.SvcAPIListener(name("old"), "SCTP", 6060))
	c.gw = w.Gateway(name("gw"))
	to := w.Backend(name("smf"), "none")
	for i, tr := range suite.Transports {
		l := strings.ToLower(tr.Protocol)
		c.gw.Spec.Listeners = append(c.gw.Spec.Listeners, suite.Listener(l, tr.Listener, int32(6060+i)))
		to.Spec.Ports = append(to.Spec.Ports, suite.Port(corev1.Protocol(tr.Protocol), 7070))
		c.routes = append(c.routes, w.Route(tr.Protocol, name(l), c.gw.Name, l, suite.To(to.Name, 7070, 1)))
	}
	c.gw.Spec.AllowedListeners = &gatewayv1.AllowedListeners{
		Namespaces: &gatewayv1.ListenerNamespaces{From: new(gatewayv1.NamespacesFromSame)}}
	c.set = w.ListenerSet(name("set"), c.gw.Name, gatewayv1.ListenerEntry{Name: "more", Port: 3868, Protocol: "TCP"})
	behind := w.Backend(name("upf"), c.old.Name, suite.Port("SCTP", 6060))
	c.backends = []client.Object{to, behind, w.Slice(to, "10.244.2.1"), w.Slice(behind, "10.244.2.2")}
	w.Create(slices.Concat(c.backends, c.routes, []client.Object{c.class, c.oldClass, c.setting, c.rule, c.svc, w.Slice(c.svc, "10.244.2.3"),
		c.old, c.gw, c.set})...)
	return c
}

// served waits until everything is as it should be.
func (w *rightsWorld) served(c *churn) {
	w.T.Helper()
	w.ClassCondition(c.class, "Accepted", yes, "")
	w.SvcAPIClassCondition(c.oldClass, "Admitted", yes, "")
	w.Programmed(c.svc)
	w.SvcAPIReady(c.old)
	w.GatewayReady(c.gw)
	w.SetCondition(c.set, "Accepted", yes, "")
	for i, r := range c.routes {
		w.RouteCondition(r, "Accepted", yes, "")
		w.Attached(c.gw, strings.ToLower(suite.Transports[i].Protocol), 1)
	}
	w.RuleCondition(c.rule, "Accepted", yes, "")
	w.SettingCondition(c.setting, "Accepted", yes, "")
}

// gone deletes it all and waits until nothing of it is left anywhere.
func (w *rightsWorld) gone(c *churn) {
	w.T.Helper()
	all := append(append([]client.Object{c.class, c.oldClass, c.svc, c.old, c.set, c.gw, c.rule, c.setting}, c.routes...), c.backends...)
	for _, o := range all {
		w.Delete(o)
	}
	for _, o := range all {
		w.Eventually(o.GetName()+" goes", func() error {
			if err := w.Read(o); !apierrors.IsNotFound(err) {
				return fmt.Errorf("it is there still: %w", err)
			}
			return nil
		})
	}
	w.Eventually("nothing is left over", func() error {
		if now := w.Owned(); fmt.Sprint(now) != fmt.Sprint(w.owned) {
			return fmt.Errorf("%v, before %v", now, w.owned)
		}
		return nil
	})
}

// unharmed checks that what was served before is served, and nothing was deleted.
func (w *rightsWorld) unharmed() {
	w.T.Helper()
	for _, c := range w.Writes() {
		if c.Method == "DELETE" {
			w.T.Errorf("%s %s", c.Method, c.Path)
		}
	}
	if w.Object("virtualservice", w.Name(w.svc)) == nil {
		w.T.Error("what was served isn't served any more")
	}
	err := w.Read(w.svc)
	if has := w.svc.Status.LoadBalancer.Ingress; err != nil || len(has) != 1 || has[0].IP != w.address {
		w.T.Errorf("the address in the status was %s, now %+v %v", w.address, w.svc.Status.LoadBalancer, err)
	}
}

// follows waits until the endpoints of what was served are on the Controller.
func (w *rightsWorld) follows() {
	w.T.Helper()
	w.Eventually("the change of the endpoints", func() error {
		want := fmt.Sprintf("10.244.1.%d:9090", w.last)
		if got := w.Servers(w.PoolName(w.svc, w.svc.Spec.Ports[0])); !slices.Equal(got, []string{want}) {
			return fmt.Errorf("%v, want %s", got, want)
		}
		return nil
	})
}

// missed takes a right away from a running operator and one that starts, has things change meanwhile, and gives it back. It reports
// whether the operator was ever refused.
func (w *rightsWorld) missed(all []right, r right, n int) bool {
	w.T.Helper()
	before := w.Forbidden()
	w.may(all, &r)
	w.Sim.ResetRequests()
	w.last++
	suite.Update(w.Env, w.slice, func(s *discoveryv1.EndpointSlice) {
		s.Endpoints[0].Addresses = []string{fmt.Sprintf("10.244.1.%d", w.last)}
	})
	c := w.churn(n)
	time.Sleep(300 * time.Millisecond)
	w.StopOperator()
	w.StartOperator()
	_, excused := unmissed[r.String()]
	enough := func() bool { return excused || r.verb == "get" || r.verb == "list" || w.Forbidden() > before }
	for start := time.Now(); time.Since(start) < time.Second || !enough() && time.Since(start) < 10*time.Second; {
		time.Sleep(20 * time.Millisecond)
	}
	w.unharmed()
	w.may(all, nil)
	w.follows()
	w.served(c)
	if r.resource != "events" { // which are lost where they can't be written
		w.Eventually("an Event", func() error {
			events, err := w.Events(c.svc)
			if err == nil && len(events) == 0 {
				err = errors.New("there is none")
			}
			return err
		})
	}
	w.unharmed()
	w.gone(c)
	return w.Forbidden() > before
}

// unmissed are the rights that an operator misses only where something is in the way that this test doesn't have.
var unmissed = map[string]string{
	"create configmaps":                           "a change is held, or a login was refused, for the first time",
	"update configmaps avi-l4-held":               "a change is held",
	"update configmaps avi-l4-login":              "a login is refused",
	"patch events.events.k8s.io":                  "an Event repeats",
	"watch pods":                                  "pods are asked for their node ports, or for why none of them is ready",
	"watch blockaffinities.crd.projectcalico.org": "the cluster has Calico, and nodes their pod CIDRs in it",
	"watch ciliumnodes.cilium.io":                 "the same with Cilium",
	"watch hostsubnets.network.openshift.io":      "the same with OpenShift SDN",
	"watch healthmonitors.ako.vmware.com":         "the cluster has AKO's CRD",
}

// TestEachRight takes each right of the operator's roles away, one at a time: nothing is harmed, and when it is back everything is
// served without a restart. A right that the operator doesn't miss is one that it shouldn't have. The rights to get and to list, which
// make chaos tries, are for single reads and for API servers that can't stream their lists.
func TestEachRight(t *testing.T) { // alone: operators of other tests would see its classes
	worlds, whole := 2, os.Getenv("AVI_RIGHTS") == "all"
	all := rightsOf(t)
	tried := slices.DeleteFunc(slices.Clone(all), func(r right) bool { return !whole && (r.verb == "get" || r.verb == "list") })
	for i := range worlds {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			w := newRightsWorld(t, fmt.Sprintf("rights-%d", i), all)
			for n := i; n < len(tried); n += worlds {
				r := tried[n]
				t.Run(r.String(), func(t *testing.T) {
					w.T = t
					missed := w.missed(all, r, n)
					if _, excused := unmissed[r.String()]; !missed && !excused && r.verb != "get" && r.verb != "list" {
						t.Error("the operator doesn't miss it")
					}
				})
				w.T = t
			}
		})
	}
}
