package translate

import (
	"fmt"
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
)

// LoadBalancerClass is the class of Services that are always ours, in AKO's spelling.
const LoadBalancerClass = controllerName

// unsupported are AKO's annotations that this release doesn't read, with what happens instead.
var unsupported = []struct{ annotation, instead string }{
	{"ako.vmware.com/enable-shared-vip", "the Service gets an address of its own"},
	{"ako.vmware.com/l4rule", "the Service gets the defaults"},
}

// Ours tells whether a Service is one for this operator: of type LoadBalancer, in a namespace that is served, and with
// our class or, if so configured, none. The reason says why not.
func Ours(s *settings.Settings, svc *corev1.Service, ns *corev1.Namespace) (ok bool, reason string) {
	switch class := svc.Spec.LoadBalancerClass; {
	case svc.Spec.Type != corev1.ServiceTypeLoadBalancer:
		return false, fmt.Sprintf("type is %s, not LoadBalancer", svc.Spec.Type)
	case class != nil && *class != LoadBalancerClass:
		return false, fmt.Sprintf("loadBalancerClass is %s, not %s", *class, LoadBalancerClass)
	case class == nil && !s.DefaultLB:
		return false, "loadBalancerClass is unset and defaultLBController is false; set the class " + LoadBalancerClass
	}
	return served(s, ns)
}

// served tells whether a namespace is one for this operator.
func served(s *settings.Settings, ns *corev1.Namespace) (ok bool, reason string) {
	switch {
	case !s.Accepts(ns.Name, ns.Labels):
		return false, fmt.Sprintf("namespace %s is not selected by nsSyncLabelKey or is in blockedNamespaceList", ns.Name)
	case s.DeleteConfig:
		return false, "deleteConfig is true: everything on the Controller is being removed"
	}
	return true, ""
}

// Deselected tells whether a load balancer of ours is not ours any more because of the settings or the namespace's
// labels, and not because somebody changed the Service itself. One mistake there lets go of many Services at once.
func Deselected(s *settings.Settings, svc *corev1.Service, ns *corev1.Namespace) bool {
	class := svc.Spec.LoadBalancerClass
	if s.DeleteConfig || svc.Spec.Type != corev1.ServiceTypeLoadBalancer || class != nil && *class != LoadBalancerClass {
		return false
	}
	return class == nil && !s.DefaultLB || !s.Accepts(ns.Name, ns.Labels)
}

// unusedFields reports what a Service asks for and doesn't get.
func (b *builder) unusedFields() {
	svc := b.in.Service
	for _, u := range unsupported {
		if svc.Annotations[u.annotation] != "" {
			b.report(model.Degraded, model.Port{}, model.ReasonUnusedField, "annotation "+u.annotation+" is not supported by this release: "+u.instead)
		}
	}
	if len(svc.Spec.LoadBalancerSourceRanges) > 0 {
		b.report(model.Degraded, model.Port{}, model.ReasonUnusedField, "spec.loadBalancerSourceRanges is not enforced by this release: every client is let in")
	}
	if svc.Spec.SessionAffinity == corev1.ServiceAffinityClientIP {
		b.report(model.Degraded, model.Port{}, model.ReasonUnusedField, "spec.sessionAffinity ClientIP is not supported by this release: connections of one client may reach several endpoints")
	}
}

func (b *builder) serviceListeners() []listener {
	var out []listener
	for _, p := range b.in.Service.Spec.Ports {
		l := listener{port: portOfService(p)}
		proto, ok := protocolOf(l.port.Protocol)
		if !ok {
			b.report(model.Blocked, l.port, model.ReasonUnsupportedProtocol, fmt.Sprintf("protocol %s is none of TCP, UDP, SCTP", l.port.Protocol))
			continue
		}
		l.proto = proto
		if t, ok := b.target(l, b.ownBackend(), p); ok {
			l.targets = []target{t}
			out = append(out, l)
		}
	}
	return b.settle(out)
}

// ownBackend is the Service itself, behind its own ports.
func (b *builder) ownBackend() *Backend {
	for i := range b.in.Backends {
		if b.in.Backends[i].Service == b.in.Service {
			return &b.in.Backends[i]
		}
	}
	return &Backend{Service: b.in.Service}
}

// serviceAddress is the static VIP: spec.loadBalancerIP before the annotation.
func (b *builder) serviceAddress() netip.Addr {
	source, text := "spec.loadBalancerIP", b.in.Service.Spec.LoadBalancerIP
	if text == "" {
		source, text = "annotation "+AnnotationLoadBalancerIP, strings.TrimSpace(b.in.Service.Annotations[AnnotationLoadBalancerIP])
	}
	if text == "" {
		return netip.Addr{}
	}
	return b.staticAddress(source, text)
}
