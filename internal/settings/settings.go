// SPDX-License-Identifier: Apache-2.0

// Package settings turns the ConfigMap avi-k8s-config and the Secret avi-secret, with the keys that AKO uses, into one
// validated value. A bad key is one clear error; all of them are reported together.
package settings

import (
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/avi-l4-operator/avi-l4-operator/internal/placement"
)

// Names of the two objects, in the operator's own namespace.
const (
	ConfigMapName = "avi-k8s-config"
	SecretName    = "avi-secret"
)

// FQDNMode is how a Service without a hostname of its own gets one.
type FQDNMode string

// Modes of autoFQDN.
const (
	FQDNDefault  FQDNMode = "default"  // <service>.<namespace>.<domain>
	FQDNFlat     FQDNMode = "flat"     // <service>-<namespace>.<domain>
	FQDNDisabled FQDNMode = "disabled" // none
)

// Family says which endpoint addresses become servers.
type Family string

// Families of ipFamily.
const (
	FamilyDefault Family = "" // both where the cloud can, else IPv4
	FamilyV4      Family = "V4"
	FamilyV6      Family = "V6"
	FamilyDual    Family = "V4_V6"
)

// ServiceType is how servers are reached.
type ServiceType string

// Modes of serviceType.
const (
	ClusterIP     ServiceType = "ClusterIP"     // pods, by their own addresses
	NodePort      ServiceType = "NodePort"      // nodes, at a Service's node ports
	NodePortLocal ServiceType = "NodePortLocal" // nodes, at the ports that Antrea gives each pod
)

// Settings is the operator's configuration. It is immutable once parsed.
type Settings struct {
	ClusterName string // prefix, marker and owner of every Avi object
	CreatedBy   string // the objects' created_by
	TakeOver    string // UID of the cluster whose name this one takes over, or "unrecorded"; empty: none
	HashNames   bool   // AKO with enableEVH names objects by a digest

	// Released are IDs of held deletions that a person has released.
	Released []string

	Controller     string // host or host:port
	APIVersion     string // empty: negotiated
	Cloud          string
	Tenant         string
	OwnTenant      bool   // dedicatedTenantMode: the account sees only that tenant
	VRF            string // empty: the VIP network's, else global
	Placement      placement.Placement
	ServiceType    ServiceType
	NodeKey        string // label that a node needs in mode NodePort; empty: none
	NodeValue      string
	CNI            string // cniPlugin, in lower case: where nodes' addresses and the addresses of their pods are found
	RoutesByOthers bool   // disableStaticRouteSync: static routes and labels of Service Engine groups are left alone
	Secondary      bool   // primaryInstance false: another instance is the cluster's primary
	ServersFamily  Family
	// DrainMinutes is how long disabled servers keep their associations: 0 to 7200, or -1 for ever; nil: each pool's own.
	DrainMinutes *int32
	// IPMode is what the addresses in Services' statuses say about how traffic reaches the Service; nil: nothing.
	IPMode        *corev1.LoadBalancerIPMode
	DefaultDomain string
	AutoFQDN      FQDNMode
	// SharedFQDNs lets owners of several namespaces have one DNS name (fqdnReusePolicy InterNamespaceAllowed).
	SharedFQDNs    bool
	DefaultLB      bool // serve Services without loadBalancerClass
	NamespaceKey   string
	NamespaceValue string
	Blocked        []string // namespaces that are never served
	DeleteConfig   bool     // remove everything and stop
	Layer7Only     bool     // leave L4 alone
	Events         bool
	LogLevel       string // debug, info, warn, error
	RefreshSeconds int    // upper bound of the refresh interval; 0: the flag's

	// Ignored holds the keys that mean something to AKO and nothing here, sorted, to be logged once.
	Ignored []string
	// Unknown holds the keys that neither knows, sorted: spelling mistakes, or keys of a newer AKO.
	Unknown []string
}

// Families are those that servers may have on an Avi cloud of the type (CLOUD_VCENTER …). Unless ipFamily says otherwise,
// both on the clouds on which AKO uses IPv6 servers, else IPv4.
func (s *Settings) Families(cloudType string) (four, six bool) {
	want := s.ServersFamily
	if want == FamilyDefault {
		want = FamilyV4
		switch cloudType {
		case "CLOUD_VCENTER", "CLOUD_NONE", "CLOUD_NSXT":
			want = FamilyDual
		}
	}
	return want != FamilyV6, want != FamilyV4
}

// Credentials is the Secret's content. It must never be logged.
type Credentials struct {
	Username  string
	Password  string
	AuthToken string
	CA        []byte // PEM; empty: the system's roots
}

// Accepts reports whether a namespace is served, by its name and labels.
func (s *Settings) Accepts(namespace string, labels map[string]string) bool {
	for _, b := range s.Blocked {
		if b == namespace {
			return false
		}
	}
	return s.NamespaceKey == "" || labels[s.NamespaceKey] == s.NamespaceValue
}

// Instance is what a Service is claimed with: all that decides under which names, and in which hands, its objects are. An
// operator whose settings give another instance must not touch what this one serves.
func (s *Settings) Instance() string {
	out := s.CreatedBy + "@" + s.ClusterName + "/" + s.Cloud
	if s.OwnTenant {
		out += "/" + s.Tenant
	}
	if s.HashNames {
		out += "#hashed"
	}
	return out
}

// Prefix of every object's name.
func (s *Settings) Prefix() string { return s.ClusterName + "--" }

func prefixOK(cidr string, six bool) bool {
	p, err := netip.ParsePrefix(strings.TrimSpace(cidr))
	return err == nil && p.Addr().Is6() == six
}
