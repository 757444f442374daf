// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"slices"
	"testing"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/event"

	svcapi "github.com/avi-l4-operator/avi-l4-operator/api/networking/v1alpha1"
	"github.com/avi-l4-operator/avi-l4-operator/internal/gather"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
	"github.com/avi-l4-operator/avi-l4-operator/internal/status"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
)

// TestGatewaysOfAService: an event of a Service runs the Gateway that it names, those that use it, and those that have been read and take
// Services which name nobody.
func TestGatewaysOfAService(t *testing.T) {
	gateway := func(namespace, name string, selector map[string]string) *svcapi.Gateway {
		routes := svcapi.RouteBindingSelector{Selector: &metav1.LabelSelector{MatchLabels: selector}}
		return &svcapi.Gateway{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
			Spec: svcapi.GatewaySpec{Listeners: []svcapi.Listener{{Routes: routes}}}}
	}
	named := func(namespace, name string) map[string]string {
		return map[string]string{translate.LabelGatewayNamespace: namespace, translate.LabelGatewayName: name}
	}
	service := func(namespace, name string, labels map[string]string) *corev1.Service {
		return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: labels}}
	}
	scheme := runtime.NewScheme()
	if err := AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		service *corev1.Service
		missing bool // the cache doesn't have the type, or not yet
		want    []string
	}{
		"names a Gateway":            {service("core", "amf", named("core", "closed")), false, []string{"core/closed"}},
		"names one elsewhere":        {service("edge", "amf", named("core", "closed")), false, []string{"core/closed"}},
		"names one that isn't there": {service("core", "amf", named("core", "gone")), false, nil},
		"matches an open one":        {service("core", "amf", map[string]string{"app": "amf"}), false, []string{"core/open"}},
		"matches one elsewhere":      {service("edge", "amf", map[string]string{"app": "amf"}), false, nil},
		"matches none":               {service("core", "smf", map[string]string{"app": "smf"}), false, nil},
		"no longer matches":          {service("core", "used", nil), false, []string{"core/open"}},
		"no such type":               {service("core", "amf", named("core", "closed")), true, nil},
	} {
		t.Run(name, func(t *testing.T) {
			gateways := []*svcapi.Gateway{gateway("core", "closed", named("core", "closed")),
				gateway("core", "open", map[string]string{"app": "amf"})}
			kube := indexedBuilder{fake.NewClientBuilder().WithScheme(scheme).WithObjects(gateways[0], gateways[1], service("core", "used", nil),
				&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "core"}})}
			if err := gather.SetupIndexes(t.Context(), kube); err != nil {
				t.Fatal(err)
			}
			reader := &gather.Reader{Client: kube.Build(), Serves: func(gather.API) bool { return true },
				Synced: func(gather.API) bool { return !c.missing }}
			k := newSvcAPIGateways(Deps{Gather: reader, Status: new(status.Writer)}, logr.Discard()).kind.(svcAPIGateways)
			for _, gw := range gateways { // as each is read once
				if _, _, err := k.Behind(t.Context(), new(settings.Settings), &gather.Candidate[*svcapi.Gateway]{Object: gw}); err != nil {
					t.Fatal(err)
				}
			}
			k.set(types.NamespacedName{Namespace: "core", Name: "open"}, []types.NamespacedName{{Namespace: "core", Name: "used"}})
			var got []string
			for _, r := range k.ofService(t.Context(), c.service) {
				got = append(got, r.String())
			}
			slices.Sort(got)
			if !slices.Equal(got, c.want) {
				t.Errorf("it runs %v, want %v", got, c.want)
			}
			k.forget(types.NamespacedName{Namespace: "core", Name: "open"})
			for _, r := range k.ofService(t.Context(), c.service) {
				if r.Name == "open" {
					t.Error("a Gateway that was let go runs")
				}
			}
		})
	}
}

// TestNamespaceOfOwners: an event of a namespace looks for owners there and nowhere else, since a cluster may have a thousand namespaces,
// and for none when the watch begins: the owners' own first list queues them.
func TestNamespaceOfOwners(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	service := func(namespace, name, group string) *corev1.Service {
		return &corev1.Service{Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer}, ObjectMeta: metav1.ObjectMeta{Namespace: namespace,
			Name: name, Annotations: map[string]string{translate.AnnotationSharedVIP: group}}}
	}
	b := indexedBuilder{fake.NewClientBuilder().WithScheme(scheme).WithObjects(service("core", "amf", "n2"), service("core", "smf", "n2"),
		service("core", "upf", "n3"), service("edge", "amf", "n2"))}
	if err := gather.SetupIndexes(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	kube := interceptor.NewClient(b.Build(), interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			if in := new(client.ListOptions).ApplyOptions(opts).Namespace; in != "core" {
				t.Errorf("%T are listed in namespace %q", list, in)
			}
			return c.List(ctx, list, opts...)
		},
	})
	d := Deps{Client: kube, Gather: &gather.Reader{Client: kube}, Status: new(status.Writer)}
	groups := gather.SharedVIPs{Services: gather.Services{Reader: d.Gather}}
	for name, c := range map[string]struct {
		find func(context.Context, string) []types.NamespacedName
		want []string
	}{
		"Services":    {services{Deps: d}.inNamespace, []string{"core/amf", "core/smf", "core/upf"}},
		"shared VIPs": {sharedVIPs{groups, new(users), d, logr.Discard()}.inNamespace, []string{"core/n2", "core/n3"}},
	} {
		var got []string
		for _, key := range c.find(t.Context(), "core") {
			got = append(got, key.String())
		}
		slices.Sort(got)
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	core := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "core"}}
	for _, first := range []bool{true, false} {
		if got := sinceFirstList().Create(event.CreateEvent{Object: core, IsInInitialList: first}); got == first {
			t.Errorf("a namespace is let through: %v; it is in the first list: %v", got, first)
		}
	}
}
