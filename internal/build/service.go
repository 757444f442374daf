package build

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
)

// Annotations that are read, in AKO's and external-dns' spelling, and LoadBalancerClass, which is AKO's too.
const (
	LoadBalancerClass = "ako.vmware.com/avi-lb"

	AnnotationLoadBalancerIP     = "ako.vmware.com/load-balancer-ip"
	AnnotationDisableTraffic     = "ako.vmware.com/disable-traffic"
	AnnotationApplicationProfile = "ako.vmware.com/application-profile"
	AnnotationHostname           = "external-dns.alpha.kubernetes.io/hostname"
	AnnotationTenant             = "ako.vmware.com/tenant-name" // on the Namespace
	// AnnotationAllowReplacement lets a change that the Controller can't make in place interrupt traffic.
	AnnotationAllowReplacement = "l4.ako.vmware.com/allow-replacement"
)

// unsupported are AKO's annotations that this release doesn't read, with what happens instead.
var unsupported = []struct {
	annotation, instead string
	ofNamespace         bool
}{
	{"ako.vmware.com/enable-shared-vip", "the Service gets an address of its own", false},
	{"ako.vmware.com/l4rule", "the Service gets the defaults", false},
	{"aviinfrasetting.ako.vmware.com/name", "the ConfigMap's networks and Service Engine group are used", true},
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

// frontend is what an owner asks for, read and checked: the part of the mapping that differs between kinds of owner.
type frontend struct {
	owner              model.Owner
	tenant             string
	name               string // of VirtualService, VsVip and L4PolicySet
	address            netip.Addr
	fqdns              []string
	traffic            bool
	applicationProfile string
	network            network
	listeners          []listener
}

// listener is one port of the VirtualService with the pool behind it.
type listener struct {
	port        model.Port
	proto       protocol
	pool        string
	backendPort string // name of the Service's port, by which EndpointSlices are joined
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
	case !s.Accepts(ns.Name, ns.Labels):
		return false, fmt.Sprintf("namespace %s is not selected by nsSyncLabelKey or is in blockedNamespaceList", ns.Name)
	case s.DeleteConfig:
		return false, "deleteConfig is true: everything on the Controller is being removed"
	}
	return true, ""
}

// ReplacementAllowed tells whether a change that the Controller can't make in place may interrupt traffic.
func ReplacementAllowed(svc *corev1.Service) bool {
	ok, _ := strconv.ParseBool(svc.Annotations[AnnotationAllowReplacement])
	return ok
}

// Tenant is the Avi tenant of a namespace's objects.
func Tenant(s *settings.Settings, ns *corev1.Namespace) string {
	if t := ns.Annotations[AnnotationTenant]; t != "" && !s.OwnTenant {
		return t
	}
	return s.Tenant
}

func (b *builder) frontend() frontend {
	svc, s := b.in.Service, b.in.Settings
	owner := model.Owner{Kind: model.ServiceOwner, Namespace: svc.Namespace, Name: svc.Name}
	f := frontend{
		owner:  owner,
		tenant: cmp.Or(b.in.Tenant, Tenant(s, b.in.Namespace)),
		name:   VirtualServiceName(s, owner),
	}
	if len(f.name) > model.MaxNameLength {
		b.report(model.Blocked, model.Port{}, model.ReasonNameTooLong, fmt.Sprintf("the VirtualService's name %s has %d characters, the Controller takes %d; shorten the Service's, the namespace's or the cluster's name", f.name, len(f.name), model.MaxNameLength))
	}
	if b.in.Rival != nil {
		b.report(model.Blocked, model.Port{}, model.ReasonNameTaken, fmt.Sprintf("%s came first and its objects have the same name %s on the Controller; rename one of the two", b.in.Rival, f.name))
	}
	for _, u := range unsupported {
		if svc.Annotations[u.annotation] != "" || u.ofNamespace && b.in.Namespace.Annotations[u.annotation] != "" {
			b.report(model.Degraded, model.Port{}, model.ReasonUnusedField, "annotation "+u.annotation+" is not supported by this release: "+u.instead)
		}
	}
	if len(svc.Spec.LoadBalancerSourceRanges) > 0 {
		b.report(model.Degraded, model.Port{}, model.ReasonUnusedField, "spec.loadBalancerSourceRanges is not enforced by this release: every client is let in")
	}
	if svc.Spec.SessionAffinity == corev1.ServiceAffinityClientIP {
		b.report(model.Degraded, model.Port{}, model.ReasonUnusedField, "spec.sessionAffinity ClientIP is not supported by this release: connections of one client may reach several endpoints")
	}
	f.network = b.network()
	f.address = b.address()
	f.traffic = b.traffic()
	f.applicationProfile = b.applicationProfile()
	f.fqdns = b.fqdns(owner, svc.Annotations)
	f.listeners = b.listeners(owner)
	return f
}

func (b *builder) listeners(owner model.Owner) []listener {
	var out []listener
	for _, p := range b.in.Service.Spec.Ports {
		port := model.Port{Number: p.Port, Protocol: string(p.Protocol)}
		if port.Protocol == "" {
			port.Protocol = "TCP"
		}
		proto, ok := protocolOf(port.Protocol)
		if !ok {
			b.report(model.Blocked, port, model.ReasonUnsupportedProtocol, fmt.Sprintf("protocol %s is none of TCP, UDP, SCTP", port.Protocol))
			continue
		}
		l := listener{port: port, proto: proto, pool: PoolName(b.in.Settings, owner, port), backendPort: p.Name}
		if len(l.pool) > model.MaxNameLength {
			b.report(model.Blocked, port, model.ReasonNameTooLong, fmt.Sprintf("port %s: the pool's name %s has %d characters, the Controller takes %d; shorten the Service's, the namespace's or the cluster's name", port, l.pool, len(l.pool), model.MaxNameLength))
			continue
		}
		if refusal, refused := b.in.Refused[port]; refused {
			b.findings = append(b.findings, refusal)
			continue
		}
		out = append(out, l)
	}
	slices.SortFunc(out, func(x, y listener) int { return comparePorts(x.port, y.port) })
	out = b.supported(out)
	if len(out) == 0 && !b.blocked {
		b.noneServed()
	}
	return out
}

// noneServed makes the ports' obstacle that of the whole Service.
func (b *builder) noneServed() {
	for _, f := range b.findings {
		if f.Severity == model.Blocked {
			b.report(model.Blocked, model.Port{}, f.Reason, "none of the Service's ports can be served: "+f.Message)
			return
		}
	}
	b.report(model.Blocked, model.Port{}, model.ReasonUnsupportedProtocol, "the Service has no ports")
}

func comparePorts(x, y model.Port) int {
	if x.Number != y.Number {
		return int(x.Number - y.Number)
	}
	return strings.Compare(x.Protocol, y.Protocol)
}

// address is the static VIP: spec.loadBalancerIP before the annotation. The API server checks neither.
func (b *builder) address() netip.Addr {
	source, text := "spec.loadBalancerIP", b.in.Service.Spec.LoadBalancerIP
	if text == "" {
		source, text = "annotation "+AnnotationLoadBalancerIP, strings.TrimSpace(b.in.Service.Annotations[AnnotationLoadBalancerIP])
	}
	if text == "" {
		return netip.Addr{}
	}
	addr, err := netip.ParseAddr(text)
	switch {
	case err != nil || addr.Zone() != "":
		b.blockUnlessLive(model.ReasonInvalidAddress, fmt.Sprintf("%s: %q is not an IP address such as 10.1.2.3 or fd00::3", source, text))
	case addr.IsUnspecified() || addr.IsLoopback() || addr.IsMulticast() || addr.IsLinkLocalUnicast():
		b.blockUnlessLive(model.ReasonInvalidAddress, fmt.Sprintf("%s: %s can't be a virtual address: it is unspecified, loopback, link-local or multicast", source, addr))
	default:
		return addr.Unmap()
	}
	return netip.Addr{}
}

func (b *builder) traffic() bool {
	text, set := b.in.Service.Annotations[AnnotationDisableTraffic]
	if !set {
		return true
	}
	disabled, err := strconv.ParseBool(strings.ToLower(strings.TrimSpace(text)))
	if err != nil {
		b.report(model.Degraded, model.Port{}, model.ReasonInvalidAnnotation, fmt.Sprintf("annotation %s: %q is neither true nor false; traffic stays enabled", AnnotationDisableTraffic, text))
	}
	return !disabled
}

const defaultApplicationProfile = "System-L4-Application"

// applicationProfile is always named: the Controller's own default is an HTTP profile, which no SCTP or UDP
// VirtualService may have.
func (b *builder) applicationProfile() string {
	asked := strings.TrimSpace(b.in.Service.Annotations[AnnotationApplicationProfile])
	if asked == "" {
		return defaultApplicationProfile
	}
	if b.in.Facts.Has(model.ApplicationProfile, asked) {
		return asked
	}
	b.blockUnlessLive(model.ReasonReferenceMissing, fmt.Sprintf("annotation %s: the Controller has no application profile %q; create it or mend the name", AnnotationApplicationProfile, asked))
	if b.in.Live.ApplicationProfile != "" {
		return b.in.Live.ApplicationProfile
	}
	return defaultApplicationProfile
}
