package translate

import (
	"crypto/sha1" //nolint:gosec // AKO's naming with enableEVH; nothing is protected by it
	"encoding/hex"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
)

// VirtualServiceName is the name that the VirtualService, the VsVip and the L4PolicySet of an owner share:
// <cluster>--<namespace>-<name>. It is not injective: namespace a-b with Service c gives the same name as
// namespace a with Service b-c, which is why an Input names its Rival.
func VirtualServiceName(s *settings.Settings, owner model.Owner) string {
	return name(s, owner.Namespace+"-"+owner.Name)
}

// PoolName is <cluster>--<namespace>-<service>-<protocol>-<port> for a Service's own port, and for a Gateway's
// <cluster>--<its namespace>-<service>-<gateway>-<protocol>-<port>: the Service's namespace isn't in it.
func PoolName(s *settings.Settings, owner model.Owner, service string, port model.Port) string {
	parts := []string{owner.Namespace, service, owner.Name, port.Protocol, strconv.Itoa(int(port.Number))}
	if owner.Kind == model.ServiceOwner {
		parts = slices.Delete(parts, 2, 3)
	}
	return name(s, strings.Join(parts, "-"))
}

// GatewayPoolName is that of a Service's port behind a listener of a Gateway of gateway.networking.k8s.io:
// <cluster>--<namespace>-<gateway>-<protocol>-<port>-<Service's namespace>.<service>-<service port>. One listener may have
// several Services behind it, of several namespaces.
func GatewayPoolName(s *settings.Settings, owner model.Owner, namespace, service string, servicePort int32, listener model.Port) string {
	return name(s, strings.Join([]string{owner.Namespace, owner.Name, listener.Protocol, strconv.Itoa(int(listener.Number)), namespace + "." + service, strconv.Itoa(int(servicePort))}, "-"))
}

func groupName(s *settings.Settings, owner model.Owner, listener model.Port) string {
	return name(s, strings.Join([]string{owner.Namespace, owner.Name, listener.Protocol, strconv.Itoa(int(listener.Number))}, "-"))
}

// reservedMarks are the keys of markers that mean something, to the operator or to AKO.
var reservedMarks = []string{model.MarkCluster, model.MarkNamespace, model.MarkServiceName, model.MarkGatewayName, model.MarkGatewayNamespace, model.MarkPort,
	model.MarkProtocol, model.MarkListenerSet, model.MarkLabels, "Host", "InfrasettingName", "Path", "IngressName", "HTTPRouteName"}

// marks are the markers of an owner's objects besides the cluster's, in AKO's order. A Gateway's VirtualService and
// L4PolicySet have no ServiceName, its pools have the protocol too.
func (f *frontend) virtualServiceMarks() []string {
	switch f.owner.Kind {
	case model.SvcAPIGatewayOwner:
		return []string{model.MarkNamespace, f.owner.Namespace, model.MarkGatewayName, f.owner.Name}
	case model.GatewayOwner:
		return []string{model.MarkGatewayNamespace, f.owner.Namespace, model.MarkGatewayName, f.owner.Name}
	}
	return []string{model.MarkNamespace, f.owner.Namespace, model.MarkServiceName, f.owner.Name}
}

func (f *frontend) policySetMarks() []string {
	if f.owner.Kind != model.ServiceOwner {
		return f.virtualServiceMarks()
	}
	return append(f.virtualServiceMarks(), model.MarkProtocol, protocolList(f.listeners))
}

func (f *frontend) poolMarks(l listener, t target) []string {
	number := strconv.Itoa(int(t.port.Number))
	switch f.owner.Kind {
	case model.SvcAPIGatewayOwner:
		return []string{model.MarkNamespace, f.owner.Namespace, model.MarkServiceName, t.backend.Service.Name, model.MarkPort, number,
			model.MarkProtocol, t.port.Protocol, model.MarkGatewayName, f.owner.Name}
	case model.GatewayOwner:
		return append(f.groupMarks(l), model.MarkServiceName, t.backend.Service.Name)
	}
	return append(f.virtualServiceMarks(), model.MarkPort, number)
}

// groupMarks are those of what is behind a listener of a Gateway of gateway.networking.k8s.io.
func (f *frontend) groupMarks(l listener) []string {
	out := append(f.virtualServiceMarks(), model.MarkPort, strconv.Itoa(int(l.port.Number)), model.MarkProtocol, l.port.Protocol)
	if l.set != "" {
		out = append(out, model.MarkListenerSet, l.set)
	}
	return out
}

// virtualServiceMetadata and poolMetadata are service_metadata.
func (f *frontend) virtualServiceMetadata() metadata {
	full := f.owner.Namespace + "/" + f.owner.Name
	if f.owner.Kind != model.ServiceOwner {
		return metadata{HostNames: f.fqdns, Gateway: full}
	}
	return metadata{HostNames: f.fqdns, NamespaceServiceName: []string{full}}
}

func (f *frontend) poolMetadata(l listener, t target) metadata {
	if f.owner.Kind == model.ServiceOwner {
		return metadata{}
	}
	m := metadata{NamespaceServiceName: []string{t.backend.Service.Namespace + "/" + t.backend.Service.Name}}
	if l.fqdn != "" {
		m.HostNames = []string{l.fqdn}
	}
	return m
}

func name(s *settings.Settings, rest string) string {
	plain := s.Prefix() + rest
	if !s.HashNames {
		return plain
	}
	sum := sha1.Sum([]byte(plain)) //nolint:gosec // see the import
	return s.Prefix() + hex.EncodeToString(sum[:])
}

// metadata is service_metadata as AKO writes and reads it: all keys always present, unset lists and maps as null. AKO
// maps a VirtualService back to its Kubernetes object by it, so a return to AKO needs it.
type metadata struct {
	NamespaceIngressName     []string            `json:"namespace_ingress_name"`
	IngressName              string              `json:"ingress_name"`
	Namespace                string              `json:"namespace"`
	HostNames                []string            `json:"hostnames"`
	NamespaceServiceName     []string            `json:"namespace_svc_name"`
	CRDStatus                crdStatus           `json:"crd_status"`
	PoolRatio                uint32              `json:"pool_ratio"`
	PassthroughParentRef     string              `json:"passthrough_parent_ref"`
	PassthroughChildRef      string              `json:"passthrough_child_ref"`
	Gateway                  string              `json:"gateway"`
	HTTPRoute                string              `json:"httproute"`
	HTTPRouteRuleName        string              `json:"httproute_rule_name"`
	InsecureEdgeTermAllow    bool                `json:"insecureedgetermallow"`
	IsMCIIngress             bool                `json:"is_mci_ingress"`
	FQDNReusePolicy          string              `json:"fqdn_reuse_policy"`
	HostNamespaceIngressName map[string][]string `json:"host_namespace_ingress_name"`
}

// MetadataGateway is the Gateway, "<namespace>/<name>", that a VirtualService's service_metadata names; "" for others. AKO
// marks VIPs that several Services share as it marks Gateways, and only this tells them apart.
func MetadataGateway(text string) string {
	var m metadata
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		return ""
	}
	return m.Gateway
}

type crdStatus struct {
	Type   string `json:"type"`
	Value  string `json:"value"`
	Status string `json:"status"`
}

func (m metadata) String() string {
	raw, err := json.Marshal(m)
	if err != nil {
		panic(err) // strings, bools and lists of strings always encode
	}
	return string(raw)
}

// protocolList is the sorted comma list of the distinct protocols that the L4PolicySet's marker carries.
func protocolList(listeners []listener) string {
	var out []string
	for _, l := range listeners {
		if !slices.Contains(out, l.port.Protocol) {
			out = append(out, l.port.Protocol)
		}
	}
	slices.Sort(out)
	return strings.Join(out, ",")
}
