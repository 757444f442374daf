// SPDX-License-Identifier: Apache-2.0

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

// Restraint implements Owner.
func (s Service) Restraint() Restraint { return RestraintOf(s.Object.Annotations) }

func (Service) speaker() string { return "" }

func (s Service) led(*builder) Owner { return s }

func (s Service) addresses(b *builder) []netip.Addr {
	return valid(serviceBuilder{b, s.Object}.address())
}

func (s Service) listeners(b *builder) []listener { return serviceBuilder{b, s.Object}.listeners() }

func (s Service) names(b *builder, _ []listener) []string {
	return b.fqdns(s.Key(), s.Object.Annotations)
}

func (s Service) labels(*builder) []string { return nil }

func (s Service) sourceRanges() (where string, prefixes []string) {
	if prefixes = s.Object.Spec.LoadBalancerSourceRanges; len(prefixes) > 0 {
		return "spec.loadBalancerSourceRanges", prefixes
	}
	return annotatedRanges(AnnotationSourceRanges, s.Object.Annotations)
}

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

// ServiceOurs reports whether a Service is one for this operator: of type LoadBalancer, in a namespace that is served, and with
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

// served reports whether a namespace is one for this operator.
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

// BackendAnnotations are those that are read of a Service behind a Gateway's listener.
var BackendAnnotations = []string{AnnotationSkipNodePort, AnnotationNodePortLocal, AnnotationDrainTimeout, AnnotationRule}

func (b serviceBuilder) listeners() []listener {
	b.ipMode()
	b.droppedPorts()
	if group := SharedVIPOf(b.svc); group != "" { // a group has it where nothing serves it alone
		b.stays("", group, b.in.Backends[0].Shut)
	}
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
	asked := askedAddress(b.svc)
	if asked.text == "" {
		return netip.Addr{}
	}
	return b.staticAddress(asked.source, asked.text)
}

// askedAddress is the static VIP that a Service asks for, and where; the text is empty for none.
func askedAddress(svc *corev1.Service) (out struct{ source, text string }) {
	out.source, out.text = "spec.loadBalancerIP", svc.Spec.LoadBalancerIP
	if out.text == "" {
		out.source, out.text = "annotation "+AnnotationLoadBalancerIP, strings.TrimSpace(svc.Annotations[AnnotationLoadBalancerIP])
	}
	return out
}
