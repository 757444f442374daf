// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/placement"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
)

// Annotations that are read, in AKO's and external-dns' spelling. Where nothing else is said they stand on the owner.
const (
	AnnotationLoadBalancerIP     = "ako.vmware.com/load-balancer-ip"
	AnnotationDisableTraffic     = "ako.vmware.com/disable-traffic"
	AnnotationApplicationProfile = "ako.vmware.com/application-profile"
	AnnotationHostname           = "external-dns.alpha.kubernetes.io/hostname"
	AnnotationInfraSetting       = "aviinfrasetting.ako.vmware.com/name" // on a Service or a Namespace
	AnnotationSkipNodePort       = "skipnodeport.ako.vmware.com/enabled" // on a backend Service
	AnnotationNodePortLocal      = "nodeportlocal.antrea.io/enabled"     // on a backend Service; asks Antrea for ports
	AnnotationNodePortLocalPorts = "nodeportlocal.antrea.io"             // on a Pod; written by Antrea
	AnnotationVIPType            = "networking.vmware.com/lb-vip-type"   // public or private, in an NSX-T VPC
	AnnotationTenant             = "ako.vmware.com/tenant-name"          // on a Namespace
	AnnotationAllowReplacement   = "l4.ako.vmware.com/allow-replacement" // lets a change interrupt traffic
	// AnnotationDrainTimeout is on a Service, or a Gateway for all Services behind it: minutes from 0 to 7200, or -1 for ever.
	AnnotationDrainTimeout = "l4.ako.vmware.com/drain-timeout"
	// AnnotationIPMode is on a Service: VIP or Proxy.
	AnnotationIPMode = "l4.ako.vmware.com/ip-mode"
	// AnnotationSourceRanges is read where spec.loadBalancerSourceRanges is empty, as by Kubernetes' own cloud providers;
	// AnnotationGatewaySourceRanges is the same for Gateways. Both are lists of prefixes, separated by commas.
	AnnotationSourceRanges        = "service.beta.kubernetes.io/load-balancer-source-ranges" // on a Service
	AnnotationGatewaySourceRanges = "l4.ako.vmware.com/load-balancer-source-ranges"          // on a Gateway of either API
	// AnnotationSharedVIP is on a Service and names the group of Services that share a VirtualService; AnnotationJoined, which the
	// operator writes, is the group that a Service joined or waits for, and since when.
	AnnotationSharedVIP   = "ako.vmware.com/enable-shared-vip"
	AnnotationJoined      = "l4.ako.vmware.com/joined-shared-vip"
	controllerName        = "ako.vmware.com/avi-lb"            // of Services' and GatewayClasses' classes
	LabelGatewayName      = "ako.vmware.com/gateway-name"      // on a Service: the Gateway it attaches to
	LabelGatewayNamespace = "ako.vmware.com/gateway-namespace" // on a Service
)

// AnnotationEnforceNamespaces ends, on a Gateway of the Services API, the service of what AKO served behind listeners that don't
// admit it.
const AnnotationEnforceNamespaces = "l4.ako.vmware.com/enforce-route-namespaces"

// frontend is what an owner asks for, read and checked: the part of the mapping that differs between kinds of owner.
type frontend struct {
	owner              model.Owner
	tenant             string
	name               string       // of VirtualService, VsVip and L4PolicySet
	addresses          []netip.Addr // static ones; none: one is allocated
	fqdns              []string
	traffic            bool
	applicationProfile string
	network            network
	listeners          []listener
	clients            clients
}

// listener is one port of the VirtualService with what is behind it.
type listener struct {
	port    model.Port
	proto   protocol
	targets []target // none: the port is open and nothing is behind it
	rejects int64    // the weight of connections that go nowhere, beside the targets'
	fqdn    string   // Gateway of the Services API: the name that clients of this listener use
	names   []string // shared VIP: those of the Service behind it
	set     string   // the ListenerSet that it is of, "<namespace>/<name>"
	held    *held    // what serves stays as it is, because what is asked for can't be read
}

// target is one port of a Service behind a listener, and the pool for it.
type target struct {
	port        model.Port // the listener's
	proto       protocol
	backend     *Backend
	backendPort corev1.ServicePort
	pool        string
	checksum    string // of the pool, as AKO left it; "": the operator's
	weight      int32  // its share of the listener's connections, in relation to the others'
}

// grouped reports whether a listener's connections are spread by a pool group, because there is more behind it than one pool.
func (l listener) grouped() bool {
	return len(l.targets) > 1 || len(l.targets) == 1 && (l.rejects > 0 || l.targets[0].weight == 0)
}

// Tenant is the Avi tenant of the objects of a kind of owner in a namespace. Those of shared VIPs are in the operator's own, as
// with AKO.
func Tenant(s *settings.Settings, kind model.OwnerKind, ns *corev1.Namespace) string {
	if t := ns.Annotations[AnnotationTenant]; t != "" && !s.OwnTenant && kind != model.SharedVIPOwner {
		return t
	}
	return s.Tenant
}

func (b *builder) tenant() string {
	return cmp.Or(b.in.Tenant, Tenant(b.in.Settings, b.in.Owner.Key().Kind, b.in.Namespace))
}

func (b *builder) frontend() frontend {
	s, owner := b.in.Settings, b.in.Owner.Key()
	f := frontend{
		owner:  owner,
		tenant: b.tenant(),
		name:   VirtualServiceName(s, owner),
	}
	if len(f.name) > model.MaxNameLength {
		b.report(model.Blocked, model.Port{}, model.ReasonNameTooLong, fmt.Sprintf("the VirtualService's name %s has %d characters, the Controller takes %d; shorten the %s's, the namespace's or the cluster's name", f.name, len(f.name), model.MaxNameLength, owner.Kind.Noun()))
	}
	if b.in.Rival != nil {
		b.report(model.Blocked, model.Port{}, model.ReasonNameTaken, fmt.Sprintf("%s came first and its objects have the same name %s on the Controller; rename one of the two", b.in.Rival, f.name))
	}
	f.network = b.network()
	b.placedAt = f.network
	b.rule = b.ruling()
	b.about = b.in.Owner.speaker()
	f.traffic = b.traffic()
	b.about = ""
	f.addresses = b.in.Owner.addresses(b)
	if len(f.addresses) == 0 {
		f.addresses = b.ruleAddress()
	}
	f.listeners = b.in.Owner.listeners(b)
	b.fitRule(&f)
	b.about = b.in.Owner.speaker()
	f.applicationProfile = b.applicationProfile()
	b.about = ""
	f.fqdns = b.in.Owner.names(b, f.listeners)
	f.network.vips = manyVIPs(f.network.vips, len(f.addresses))
	b.about = b.in.Owner.speaker()
	f.clients = b.clients(f)
	b.about = ""
	return f
}

// target is a Service behind a listener; ok is false if it is left out, which has been reported.
func (b *builder) target(l listener, backend *Backend, port corev1.ServicePort) (t target, ok bool) {
	t = target{port: l.port, proto: l.proto, backend: backend, backendPort: port, weight: 1}
	t.pool = b.in.Owner.poolName(b.in.Settings, backend.Service, port.Port, l.port)
	if len(t.pool) > model.MaxNameLength {
		b.report(model.Blocked, l.port, model.ReasonNameTooLong, fmt.Sprintf("port %s: the pool's name %s has %d characters, the Controller takes %d; shorten the %s's, the namespace's or the cluster's name", l.port, t.pool, len(t.pool), model.MaxNameLength, b.inPoolName()))
		return t, false
	}
	if refusal, refused := b.in.Refused[t.pool]; refused {
		refusal.Port = l.port
		b.findings = append(b.findings, refusal)
		return t, false
	}
	if n := b.placedAt; n.kept && !n.withPool && placement.ByNetwork(b.in.Facts.Cloud) {
		b.report(model.Blocked, l.port, model.ReasonInfraSettingMissing, fmt.Sprintf("port %s: its pool waits, because it isn't known on which networks its servers are until the owner's placement can be used", l.port))
		return t, false
	}
	return t, b.reachable(t)
}

// inPoolName are the owners of the names that a pool's name is made of.
func (b *builder) inPoolName() string {
	if kind := b.in.Owner.Key().Kind; kind != model.ServiceOwner {
		return kind.Noun() + "'s, the Service"
	}
	return "Service"
}

// valid is a list of an address, if it is one.
func valid(a netip.Addr) []netip.Addr {
	if !a.IsValid() {
		return nil
	}
	return []netip.Addr{a}
}

// settle puts listeners in order and leaves out what the Controller can't serve.
func (b *builder) settle(out []listener) []listener {
	slices.SortFunc(out, func(x, y listener) int { return comparePorts(x.port, y.port) })
	out = b.supported(out)
	if len(out) == 0 && !b.blocked {
		b.noneServed()
	}
	return out
}

// noneServed makes the ports' obstacle that of the whole owner.
func (b *builder) noneServed() {
	kind := b.in.Owner.Key().Kind.Noun()
	reason, text := obstacle(b.findings, kind)
	b.report(model.Blocked, model.Port{}, reason, text)
}

// obstacle is why none of the ports of a kind of object is served: what the first finding says, which the others follow if there
// are several.
func obstacle(findings []model.Finding, kind string) (reason, text string) {
	for _, f := range findings {
		switch {
		case f.Severity != model.Blocked:
		case reason == "":
			reason, text = f.Reason, f.Message
		default:
			return reason, fmt.Sprintf("none of the %s's ports can be served", kind)
		}
	}
	if reason == "" {
		return model.ReasonUnsupportedProtocol, fmt.Sprintf("the %s has no ports", kind)
	}
	return reason, text
}

func comparePorts(x, y model.Port) int {
	if x.Number != y.Number {
		return int(x.Number - y.Number)
	}
	return strings.Compare(x.Protocol, y.Protocol)
}

// staticAddress reads an address that a user asked for. The API server checks none of them.
func (b *builder) staticAddress(source, text string) netip.Addr {
	addr, problem := parseAddress(text)
	if problem != "" {
		b.blockUnlessLive(model.ReasonInvalidAddress, source+": "+problem)
	} else if addr.IsValid() {
		b.asked = append(b.asked, source+" "+addr.String())
	}
	return addr
}

// parseAddress reads a virtual address. It is invalid if there is a problem, or no text.
func parseAddress(text string) (_ netip.Addr, problem string) {
	if text == "" {
		return netip.Addr{}, ""
	}
	addr, err := netip.ParseAddr(text)
	switch {
	case err != nil || addr.Zone() != "":
		return netip.Addr{}, fmt.Sprintf("%q is not an IP address such as 10.1.2.3 or fd00::3", text)
	case addr.IsUnspecified() || addr.IsLoopback() || addr.IsMulticast() || addr.IsLinkLocalUnicast():
		return netip.Addr{}, fmt.Sprintf("%s can't be a virtual address: it is unspecified, loopback, link-local or multicast", addr)
	}
	return addr.Unmap(), ""
}

func (b *builder) traffic() bool {
	off, err := trafficOff(b.in.Owner.Annotations())
	if err != nil {
		b.report(model.Degraded, model.Port{}, model.ReasonInvalidAnnotation, err.Error())
	}
	return !off
}

// trafficOff reports whether an object asks for no traffic; one that can't be understood doesn't.
func trafficOff(annotations map[string]string) (bool, error) {
	text, set := annotations[AnnotationDisableTraffic]
	if !set {
		return false, nil
	}
	text = strings.TrimSpace(text)
	off := strings.EqualFold(text, "true") // as AKO, for which 1 and t are no true
	if !off && !strings.EqualFold(text, "false") {
		return false, fmt.Errorf("annotation %s: %q is neither true nor false; traffic stays enabled", AnnotationDisableTraffic, text)
	}
	return off, nil
}

const defaultApplicationProfile = "System-L4-Application"

// applicationProfile is always named: the Controller's own default is an HTTP profile, which no SCTP or UDP
// VirtualService may have.
func (b *builder) applicationProfile() string {
	if name := b.ruledApplication(); name != "" {
		return name
	}
	asked := strings.TrimSpace(b.in.Owner.Annotations()[AnnotationApplicationProfile])
	if asked == "" {
		return defaultApplicationProfile
	}
	if !b.resolved().Lacks(model.ApplicationProfile, asked) {
		return asked
	}
	b.blockUnlessLive(model.ReasonReferenceMissing, fmt.Sprintf("annotation %s: the Controller has no application profile %q; create it or fix the name", AnnotationApplicationProfile, asked))
	return cmp.Or(b.in.Live.ApplicationProfile, defaultApplicationProfile)
}

func isTrue(text string) bool {
	ok, err := strconv.ParseBool(text)
	return ok && err == nil
}

func portOfService(p corev1.ServicePort) model.Port {
	return model.Port{Number: p.Port, Protocol: string(cmp.Or(p.Protocol, corev1.ProtocolTCP))}
}
