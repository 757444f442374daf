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

// Service is an owner that is a Service of type LoadBalancer.
type Service struct{ Object *corev1.Service }

// Key implements Owner.
func (s Service) Key() model.Owner {
	return model.Owner{Kind: model.ServiceOwner, Namespace: s.Object.Namespace, Name: s.Object.Name}
}

// Annotations implements Owner.
func (s Service) Annotations() map[string]string { return s.Object.Annotations }

func (s Service) addresses(b *builder) []netip.Addr {
	return valid(serviceBuilder{b, s.Object}.address())
}

func (s Service) listeners(b *builder) []listener { return serviceBuilder{b, s.Object}.listeners() }

func (s Service) names(b *builder, _ []listener) []string {
	return b.fqdns(s.Key(), s.Object.Annotations)
}

func (s Service) labels(*builder) []string { return nil }

// poolName is <cluster>--<namespace>-<service>-<protocol>-<port>.
func (s Service) poolName(cfg *settings.Settings, svc *corev1.Service, _ int32, listener model.Port) string {
	return name(cfg, joined(s.Object.Namespace, svc.Name, listener.Protocol, number(listener.Number)))
}

func (s Service) pools(in *Input) map[string]model.Port { return backendPools(in) }

func (s Service) backendText(*corev1.Service) string { return "the Service's" }

func (s Service) virtualServiceMarks() []string {
	return []string{model.MarkNamespace, s.Object.Namespace, model.MarkServiceName, s.Object.Name}
}

func (s Service) policySetMarks(protocols string) []string {
	return append(s.virtualServiceMarks(), model.MarkProtocol, protocols)
}

func (s Service) poolMarks(_ listener, t target) []string {
	return append(s.virtualServiceMarks(), model.MarkPort, number(t.port.Number))
}

func (s Service) virtualServiceMetadata(names []string) metadata {
	return metadata{HostNames: names, NamespaceServiceName: []string{s.Object.Namespace + "/" + s.Object.Name}}
}

func (s Service) poolMetadata(listener, target) metadata { return metadata{} }

// ServiceOurs says whether a Service is one for this operator: of type LoadBalancer, in a namespace that is served, and with
// our class or, if so configured, none.
func ServiceOurs(s *settings.Settings, svc *corev1.Service, ns *corev1.Namespace) Verdict {
	switch class := svc.Spec.LoadBalancerClass; {
	case svc.Spec.Type != corev1.ServiceTypeLoadBalancer:
		return Verdict{Why: fmt.Sprintf("type is %s, not LoadBalancer", svc.Spec.Type)}
	case class != nil && *class != LoadBalancerClass:
		return Verdict{Why: fmt.Sprintf("loadBalancerClass is %s, not %s", *class, LoadBalancerClass)}
	case class == nil && !s.DefaultLB:
		return Verdict{Why: "loadBalancerClass is unset and defaultLBController is false; set the class " + LoadBalancerClass}
	}
	return served(s, ns)
}

// served says whether a namespace is one for this operator.
func served(s *settings.Settings, ns *corev1.Namespace) Verdict {
	switch {
	case !s.Accepts(ns.Name, ns.Labels):
		return Verdict{Why: fmt.Sprintf("namespace %s is not selected by nsSyncLabelKey or is in blockedNamespaceList", ns.Name)}
	case s.DeleteConfig:
		return Verdict{Why: "deleteConfig is true: everything on the Controller is being removed"}
	}
	return Verdict{Ours: true}
}

// Deselected reports whether a load balancer of ours is not ours any more because of the settings or the namespace's
// labels, and not because somebody changed the Service itself. One mistake there lets go of many Services at once.
func Deselected(s *settings.Settings, svc *corev1.Service, ns *corev1.Namespace) bool {
	class := svc.Spec.LoadBalancerClass
	if s.DeleteConfig || svc.Spec.Type != corev1.ServiceTypeLoadBalancer || class != nil && *class != LoadBalancerClass {
		return false
	}
	return class == nil && !s.DefaultLB || !s.Accepts(ns.Name, ns.Labels)
}

// serviceBuilder maps a Service.
type serviceBuilder struct {
	*builder
	svc *corev1.Service
}

// unusedFields reports what a Service asks for and doesn't get.
func (b serviceBuilder) unusedFields() {
	svc := b.svc
	b.tellUnread(svc)
	if len(svc.Spec.LoadBalancerSourceRanges) > 0 {
		b.report(model.Degraded, model.Port{}, model.ReasonUnusedField, "spec.loadBalancerSourceRanges is not enforced by this release: every client is let in")
	}
	if svc.Spec.SessionAffinity == corev1.ServiceAffinityClientIP {
		b.report(model.Degraded, model.Port{}, model.ReasonUnusedField, "spec.sessionAffinity ClientIP "+noAffinity)
	}
}

const noAffinity = "is not supported by this release: connections of one client may reach several endpoints"

// BackendAnnotations are those that are read of a Service behind a Gateway's listener.
var BackendAnnotations = []string{AnnotationSkipNodePort, AnnotationNodePortLocal, AnnotationRule}

// unusedByBackend reports what a Service behind a Gateway's listener asks for and doesn't get.
func (b *builder) unusedByBackend(port model.Port, svc *corev1.Service) {
	if svc.Spec.SessionAffinity == corev1.ServiceAffinityClientIP {
		b.report(model.Degraded, port, model.ReasonUnusedField, fmt.Sprintf("port %s: spec.sessionAffinity ClientIP of Service %s %s", port, svc.Name, noAffinity))
	}
}

func (b serviceBuilder) listeners() []listener {
	b.unusedFields()
	b.droppedPorts()
	var out []listener
	for _, p := range b.svc.Spec.Ports {
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
func (b serviceBuilder) ownBackend() *Backend {
	for i := range b.in.Backends {
		if b.in.Backends[i].Service == b.svc {
			return &b.in.Backends[i]
		}
	}
	return &Backend{Service: b.svc}
}

// serviceAddress is the static VIP: spec.loadBalancerIP before the annotation.
func (b serviceBuilder) address() netip.Addr {
	source, text := "spec.loadBalancerIP", b.svc.Spec.LoadBalancerIP
	if text == "" {
		source, text = "annotation "+AnnotationLoadBalancerIP, strings.TrimSpace(b.svc.Annotations[AnnotationLoadBalancerIP])
	}
	if text == "" {
		return netip.Addr{}
	}
	return b.staticAddress(source, text)
}
