// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	akov1alpha1 "github.com/avi-l4-operator/avi-l4-operator/api/ako/v1alpha1"
	svcapi "github.com/avi-l4-operator/avi-l4-operator/api/networking/v1alpha1"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
)

// actor is an owner of some kind with all that belongs to it.
type actor struct {
	kind string
	name string
	// owner is what is deleted, and whose status has the address; rest are its Services, slices and routes. A load balancer among them
	// shares the owner's fate.
	owner client.Object
	rest  []client.Object
	// widen asks for one more port.
	widen func(owner client.Object, rest []client.Object)
	wide  bool // it was asked for
}

const n2, web = 38412, 8080

// cast are owners of each kind, by kind.
var cast = map[string]func(name string) *actor{
	"Service": func(name string) *actor {
		svc := loadBalancer(name)
		svc.Spec.LoadBalancerSourceRanges = []string{"10.0.0.0/8"}
		svc.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
		return &actor{owner: svc, rest: []client.Object{endpoints(name)}, widen: func(o client.Object, _ []client.Object) { morePorts(o) }}
	},
	"shared VIP": func(name string) *actor {
		svc, other := loadBalancer(name), loadBalancer(name+"-smf")
		other.Spec.Ports = []corev1.ServicePort{servicePort("web", "TCP", 3868)}
		for _, s := range []*corev1.Service{svc, other} {
			s.Annotations = map[string]string{translate.AnnotationSharedVIP: "vip-of-" + name}
			s.Spec.LoadBalancerSourceRanges = []string{"10.0.0.0/8"}
			s.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
		}
		return &actor{owner: svc, rest: []client.Object{endpoints(name), endpoints(other.Name), other},
			widen: func(o client.Object, _ []client.Object) { morePorts(o) }}
	},
	"Gateway of the old API": func(name string) *actor {
		svc := backend(name + "-amf")
		svc.Labels = map[string]string{translate.LabelGatewayName: name, translate.LabelGatewayNamespace: "core"}
		listener := func(protocol string, port int32) svcapi.Listener {
			return svcapi.Listener{Port: port, Protocol: svcapi.ProtocolType(protocol), Routes: svcapi.RouteBindingSelector{
				Group: "v1", Kind: "services", Selector: &metav1.LabelSelector{MatchLabels: svc.Labels}}}
		}
		gw := &svcapi.Gateway{ObjectMeta: born(name), Spec: svcapi.GatewaySpec{GatewayClassName: "old",
			Listeners: []svcapi.Listener{listener("SCTP", n2)}}}
		return &actor{owner: gw, rest: []client.Object{svc, endpoints(svc.Name)}, widen: func(o client.Object, rest []client.Object) {
			gw, _ := o.(*svcapi.Gateway)
			gw.Spec.Listeners = append(gw.Spec.Listeners, listener("TCP", web))
			morePorts(rest[0])
		}}
	},
	"Gateway": func(name string) *actor {
		svc := backend(name + "-amf")
		gw := &gatewayv1.Gateway{ObjectMeta: born(name), Spec: gatewayv1.GatewaySpec{GatewayClassName: "new",
			Listeners: []gatewayv1.Listener{{Name: "n2", Protocol: "ako.vmware.com/SCTP", Port: n2}}}}
		parents := gatewayv1.CommonRouteSpec{ParentRefs: []gatewayv1.ParentReference{{Name: gatewayv1.ObjectName(name)}}}
		to := func(port int32) []gatewayv1.BackendRef {
			return []gatewayv1.BackendRef{{BackendObjectReference: gatewayv1.BackendObjectReference{
				Name: gatewayv1.ObjectName(svc.Name), Port: new(port)}}}
		}
		sctp := &akov1alpha1.SCTPRoute{ObjectMeta: born(name), Spec: akov1alpha1.SCTPRouteSpec{CommonRouteSpec: parents,
			Rules: []akov1alpha1.SCTPRouteRule{{BackendRefs: to(n2)}}}}
		tcp := &gatewayv1.TCPRoute{ObjectMeta: born(name), Spec: gatewayv1.TCPRouteSpec{CommonRouteSpec: parents,
			Rules: []gatewayv1.TCPRouteRule{{BackendRefs: to(web)}}}}
		return &actor{owner: gw, rest: []client.Object{svc, endpoints(svc.Name), sctp, tcp}, widen: func(o client.Object, rest []client.Object) {
			gw, _ := o.(*gatewayv1.Gateway)
			gw.Spec.Listeners = append(gw.Spec.Listeners, gatewayv1.Listener{Name: "web", Protocol: "TCP", Port: web})
			morePorts(rest[0])
		}}
	},
}

func born(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: name, Namespace: "core", UID: types.UID("uid-of-" + name)}
}

func loadBalancer(name string) *corev1.Service {
	svc := backend(name)
	svc.Spec.Type = corev1.ServiceTypeLoadBalancer
	return svc
}

func backend(name string) *corev1.Service {
	svc := &corev1.Service{ObjectMeta: born(name)}
	svc.Spec.Type = corev1.ServiceTypeClusterIP
	svc.Spec.Ports = []corev1.ServicePort{servicePort("n2", "SCTP", n2)}
	return svc
}

func servicePort(name string, protocol corev1.Protocol, port int32) corev1.ServicePort {
	return corev1.ServicePort{Name: name, Protocol: protocol, Port: port, TargetPort: intstr.FromInt32(9090)}
}

func morePorts(o client.Object) {
	svc, _ := o.(*corev1.Service)
	svc.Spec.Ports = append(svc.Spec.Ports, servicePort("web", "TCP", web))
}

func endpoints(service string) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{ObjectMeta: born(service), AddressType: discoveryv1.AddressTypeIPv4}
	s.Labels = map[string]string{discoveryv1.LabelServiceName: service}
	for name, protocol := range map[string]corev1.Protocol{"n2": "SCTP", "web": "TCP"} {
		s.Ports = append(s.Ports, discoveryv1.EndpointPort{Name: new(name), Protocol: new(protocol), Port: new(int32(9090))})
	}
	s.Endpoints = []discoveryv1.Endpoint{endpoint("10.244.1.5"), endpoint("10.244.2.6")}
	return s
}

func endpoint(address string) discoveryv1.Endpoint {
	return discoveryv1.Endpoint{Addresses: []string{address}, NodeName: new("node-1"),
		Conditions: discoveryv1.EndpointConditions{Ready: new(true), Serving: new(true)}}
}

// play brings actors onto the stage: one of each kind, or of some kinds, all named after a part.
func (s *stage) play(part string, kinds ...string) []*actor {
	if len(kinds) == 0 {
		kinds = slices.Sorted(maps.Keys(cast))
	}
	var out []*actor
	for _, kind := range kinds {
		name := part + "-" + strings.ReplaceAll(strings.ToLower(kind), " ", "-")
		a := cast[kind](name)
		a.kind, a.name = kind, name
		out = append(out, a)
		s.attend(a)
	}
	return out
}

// balancers are an actor's load balancers that are not its owner.
func (a *actor) balancers() (out []client.Object) {
	for _, o := range a.rest {
		if svc, ok := o.(*corev1.Service); ok && svc.Spec.Type == corev1.ServiceTypeLoadBalancer {
			out = append(out, o)
		}
	}
	return out
}

// attend has an actor looked at in each turn, also when it is gone.
func (s *stage) attend(a *actor) {
	kinds := map[model.OwnerKind]string{}
	switch a.owner.(type) {
	case *corev1.Service:
		kinds[model.ServiceOwner], kinds[model.SharedVIPOwner] = a.name, "vip-of-"+a.name
	case *svcapi.Gateway:
		kinds[model.SvcAPIGatewayOwner] = a.name
	case *gatewayv1.Gateway:
		kinds[model.GatewayOwner] = a.name
	}
	attend := func(kind model.OwnerKind, name string) {
		s.keys[kind] = append(s.keys[kind], ctrl.Request{NamespacedName: types.NamespacedName{Namespace: "core", Name: name}})
	}
	for kind, name := range kinds {
		attend(kind, name)
	}
	for _, o := range a.balancers() {
		attend(model.ServiceOwner, o.GetName())
	}
}

// create applies all that belongs to an actor.
func (s *stage) create(ctx context.Context, a *actor) error {
	for _, o := range append(slices.Clone(a.rest), a.owner) {
		fresh, _ := o.DeepCopyObject().(client.Object)
		if err := s.kube.Create(ctx, fresh); err != nil && !apierrors.IsAlreadyExists(err) {
			return err
		}
	}
	return nil
}

// change changes an object as a user does.
func (s *stage) change(ctx context.Context, o client.Object, edit func(client.Object)) error {
	now, _ := o.DeepCopyObject().(client.Object)
	if err := s.kube.Get(ctx, client.ObjectKeyFromObject(o), now); err != nil {
		return err
	}
	edit(now)
	return s.kube.Update(ctx, now)
}

// widen asks for one more port and one more endpoint.
func (s *stage) widen(ctx context.Context, a *actor) error {
	a.wide = true
	for i, o := range append([]client.Object{a.owner}, a.rest...) {
		err := s.change(ctx, o, func(now client.Object) {
			if slice, ok := now.(*discoveryv1.EndpointSlice); ok {
				slice.Endpoints = append(slice.Endpoints, endpoint("10.244.1.7"))
				return
			}
			switch i {
			case 0:
				rest := slices.Clone(a.rest)
				for j := range rest {
					rest[j], _ = rest[j].DeepCopyObject().(client.Object)
				}
				a.widen(now, rest)
			case 1:
				if svc, ok := now.(*corev1.Service); ok {
					morePorts(svc)
				}
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// drain has the first endpoint of each actor terminate.
func (s *stage) terminate(ctx context.Context, a *actor) error {
	var failed error
	for _, o := range a.rest {
		if slice, ok := o.(*discoveryv1.EndpointSlice); ok {
			failed = errors.Join(failed, s.change(ctx, slice, func(now client.Object) {
				slice, _ := now.(*discoveryv1.EndpointSlice)
				slice.Endpoints[0].Conditions = discoveryv1.EndpointConditions{Ready: new(false), Serving: new(true), Terminating: new(true)}
			}))
		}
	}
	return failed
}

// remove deletes an owner as a user does, and its load balancers.
func (s *stage) remove(ctx context.Context, a *actor) (failed error) {
	for _, o := range append(a.balancers(), a.owner) {
		failed = errors.Join(failed, client.IgnoreNotFound(s.kube.Delete(ctx, o)))
	}
	return failed
}

// strip takes all that the operator has put on an owner and its load balancers off them, but for the status.
func (s *stage) strip(ctx context.Context, a *actor) (failed error) {
	for _, o := range append(a.balancers(), a.owner) {
		failed = errors.Join(failed, client.IgnoreNotFound(s.change(ctx, o, func(o client.Object) {
			o.SetFinalizers(nil)
			annotations := o.GetAnnotations()
			maps.DeleteFunc(annotations, func(k, _ string) bool { return strings.HasPrefix(k, "l4.ako.vmware.com/") })
			o.SetAnnotations(annotations)
		})))
	}
	return failed
}

// force takes an owner away with its finalizers, behind the operator's back.
func (s *stage) force(ctx context.Context, a *actor) error {
	if err := s.strip(ctx, a); err != nil {
		return err
	}
	return s.remove(ctx, a)
}

// status has the addresses of an actor; ok is false if there is no such owner.
func (s *stage) status(ctx context.Context, a *actor) (addresses []string, ok bool) {
	now, _ := a.owner.DeepCopyObject().(client.Object)
	if s.kube.Get(ctx, client.ObjectKeyFromObject(a.owner), now) != nil {
		return nil, false
	}
	return addressesOf(now), true
}

var refPattern = regexp.MustCompile(`(?:https?://[^"#]*)?/api/([a-z0-9]+)/[^"#]*#?([^"]*)`)

// inventory is what the Controller holds of ours, by kind, tenant and name: what is configured, without what is a Controller's to choose.
func (s *stage) inventory() map[string]string {
	out := make(map[string]string)
	for _, kind := range model.Written {
		for _, o := range s.sim.Objects(string(kind)) {
			name, _ := o["name"].(string)
			if !strings.HasPrefix(name, stageCluster+"--") {
				continue
			}
			uuid, _ := o["uuid"].(string)
			out[s.keyOf(string(kind), uuid)] = s.plain(o)
		}
	}
	for _, o := range s.sim.Objects("vrfcontext") {
		if routes, ok := o["static_routes"]; ok {
			out[fmt.Sprintf("static routes of %v", o["name"])] = s.plain(map[string]any{"": routes})
		}
	}
	return out
}

// plain is a body with names for references, and without what differs between two Controllers that are configured alike.
func (s *stage) plain(o map[string]any) string {
	raw, err := json.Marshal(bare(o))
	if err != nil {
		return err.Error()
	}
	return refPattern.ReplaceAllStringFunc(string(raw), func(ref string) string {
		m := refPattern.FindStringSubmatch(ref)
		if m[2] != "" {
			return "/" + m[1] + "/" + m[2]
		}
		name, _, _ := s.sim.Find(m[1], ref[strings.LastIndex(ref, "/")+1:])
		return "/" + m[1] + "/" + name
	})
}

func bare(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			if !slices.Contains([]string{"uuid", "url", "_last_modified", "ip_address", "discovered_networks", "version"}, k) {
				out[k] = bare(e)
			}
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = bare(e)
		}
		return out
	}
	return v
}

// differences between what there is and what there should be.
func differences(want, have map[string]string) (out []string) {
	for key, body := range want {
		switch now, ok := have[key]; {
		case !ok:
			out = append(out, "lacks "+key)
		case now != body:
			out = append(out, fmt.Sprintf("%s differs: %s", key, difference(body, now)))
		}
	}
	for key := range have {
		if _, ok := want[key]; !ok {
			out = append(out, "has "+key)
		}
	}
	slices.Sort(out)
	return out
}

func difference(want, have string) string {
	i := 0
	for i < len(want) && i < len(have) && want[i] == have[i] {
		i++
	}
	around := func(s string) string { return s[max(0, i-60):min(len(s), i+60)] }
	return fmt.Sprintf("want …%s…, have …%s…", around(want), around(have))
}

// uuids are those of what the Controller holds of ours, by the keys of inventory.
func (s *stage) uuids() map[string]string {
	out := make(map[string]string)
	for _, kind := range model.Written {
		for _, o := range s.sim.Objects(string(kind)) {
			if name, _ := o["name"].(string); strings.HasPrefix(name, stageCluster+"--") && o["markers"] != nil {
				uuid, _ := o["uuid"].(string)
				out[s.keyOf(string(kind), uuid)] = uuid
			}
		}
	}
	return out
}

// keyOf says kind, tenant and name of an object.
func (s *stage) keyOf(kind, uuid string) string {
	name, tenant, _ := s.sim.Find(kind, uuid)
	return fmt.Sprintf("%s %s/%s", kind, tenant, name)
}
