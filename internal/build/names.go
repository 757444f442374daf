package build

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

// VirtualServiceName is the name that the VirtualService, the VsVip and the L4PolicySet of a Service share:
// <cluster>--<namespace>-<service>. It is not injective: namespace a-b with Service c gives the same name as
// namespace a with Service b-c, which is why an Input names its Rival.
func VirtualServiceName(s *settings.Settings, owner model.Owner) string {
	return name(s, owner.Namespace+"-"+owner.Name)
}

// PoolName is <cluster>--<namespace>-<service>-<protocol>-<port>.
func PoolName(s *settings.Settings, owner model.Owner, port model.Port) string {
	return name(s, owner.Namespace+"-"+owner.Name+"-"+port.Protocol+"-"+strconv.Itoa(int(port.Number)))
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
func protocolList(ports []model.Port) string {
	var out []string
	for _, p := range ports {
		if !slices.Contains(out, p.Protocol) {
			out = append(out, p.Protocol)
		}
	}
	slices.Sort(out)
	return strings.Join(out, ",")
}
