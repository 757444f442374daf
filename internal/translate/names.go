// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/vmware/alb-sdk/go/models"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
)

// VirtualServiceName is the name that the VirtualService, the VsVip and the L4PolicySet of an owner share:
// <cluster>--<namespace>-<name>. It is not injective: namespace a-b with Service c gives the same name as
// namespace a with Service b-c, which is why an Input names its Rival.
func VirtualServiceName(s *settings.Settings, owner model.Owner) string {
	return name(s, owner.Namespace+"-"+owner.Name)
}

func groupName(s *settings.Settings, owner model.Owner, listener model.Port) string {
	return name(s, joined(owner.Namespace, owner.Name, listener.Protocol, number(listener.Number)))
}

// reservedMark reports whether a key is one of reservedMarks in any case of letters: the Controller's roles decide by markers, and a role
// may spell them in another case.
func reservedMark(key string) bool {
	return slices.ContainsFunc(reservedMarks, func(mark string) bool { return strings.EqualFold(mark, key) })
}

// reservedMarks are the keys of markers that mean something, to the operator or to AKO.
var reservedMarks = append([]string{
	model.MarkCluster, model.MarkNamespace, model.MarkServiceName, model.MarkGatewayName, model.MarkGatewayNamespace, model.MarkPort,
	model.MarkProtocol, model.MarkListenerSet, model.MarkLabels, model.MarkRule,
}, model.Layer7Marks...)

// groupMarks are the markers of what is behind a listener that may have several Services behind it.
func groupMarks(o Owner, l listener) []string {
	out := append(o.virtualServiceMarks(), model.MarkPort, number(l.port.Number), model.MarkProtocol, l.port.Protocol)
	if l.set != "" {
		out = append(out, model.MarkListenerSet, l.set)
	}
	return out
}

// gatewayMetadata and backendMetadata are the service_metadata of a Gateway's VirtualService and of a pool behind one.
func gatewayMetadata(o Owner, names []string) metadata {
	return metadata{HostNames: names, Gateway: o.Key().Namespace + "/" + o.Key().Name}
}

func backendMetadata(l listener, t target) metadata {
	m := metadata{NamespaceServiceName: []string{t.backend.Service.Namespace + "/" + t.backend.Service.Name}}
	if l.fqdn != "" {
		m.HostNames = []string{l.fqdn}
	}
	return m
}

// joined are the parts of a name with hyphens between them.
func joined(parts ...string) string { return strings.Join(parts, "-") }

func number(n int32) string { return strconv.Itoa(int(n)) }

// backendPools lists a pool for each port of each backend: of owners whose listeners take Services by port and protocol.
func backendPools(in *Input) map[string]model.Port {
	out := make(map[string]model.Port)
	for _, backend := range in.Backends {
		for _, p := range backend.Service.Spec.Ports {
			port := portOfService(p)
			out[in.Owner.poolName(in.Settings, backend.Service, p.Port, port)] = port
		}
	}
	return out
}

func name(s *settings.Settings, rest string) string {
	plain := s.Prefix() + rest
	if !s.HashNames {
		return plain
	}
	return model.HashedName(s.Prefix(), plain)
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

// metadataOf reads service_metadata; one that is unset, or unreadable, says nothing.
func metadataOf(text *string) (m metadata) {
	if text == nil || json.Unmarshal([]byte(*text), &m) != nil {
		return metadata{}
	}
	return m
}

// NamesOf are the DNS names that a pool's service_metadata has of the Service behind it.
func NamesOf(pool *models.Pool) []string { return metadataOf(pool.ServiceMetadata).HostNames }

// inLiveOrder are names in the order in which the VirtualService has them, if it has the same: their order means nothing, and
// AKO's changes with each event.
func (b *builder) inLiveOrder(names []string) []string {
	live := b.in.Live.hostNames
	if slices.Equal(slices.Sorted(slices.Values(names)), slices.Sorted(slices.Values(live))) {
		return live
	}
	return names
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
