// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/placement"
)

// Object is one of the two that settings come from.
type Object struct{ Kind, Namespace, Name string }

func (o Object) String() string { return o.Kind + " " + o.Namespace + "/" + o.Name }

// Problem is why settings can't be used: a key's value, or for an empty Key the object as a whole.
type Problem struct {
	Object Object
	Key    string
	Value  string // empty for secrets
	Reason string
}

// valueMost is the number of characters up to which a value is repeated in what is said about it.
const valueMost = 40

func (p *Problem) Error() string {
	text := p.Object.String()
	if p.Key != "" {
		text += ", key " + p.Key + ":"
	}
	if p.Value != "" && len(p.Value) <= valueMost { // of a long one the reason names the part that is wrong
		text += fmt.Sprintf(" %q", p.Value)
	}
	return text + " " + p.Reason
}

// Problems are all that is wrong: the ConfigMap's keys in alphabetical order, then those that are missing or contradict each
// other, then the Secret's.
type Problems []*Problem

func (ps Problems) Error() string {
	texts := make([]string, len(ps))
	for i, p := range ps {
		texts[i] = p.Error()
	}
	return strings.Join(texts, "; ")
}

// Unwrap has errors.As find the first Problem.
func (ps Problems) Unwrap() []error {
	out := make([]error, len(ps))
	for i, p := range ps {
		out[i] = p
	}
	return out
}

// What to do about an object that doesn't exist; the first %s is its name, the second its namespace.
const (
	createConfigMap = "doesn't exist; create it with at least clusterName, the prefix of every object's name on the Controller, and controllerIP: " +
		"kubectl create configmap %s --namespace %s --from-literal=clusterName=<name> --from-literal=controllerIP=<host>; config/samples/avi-k8s-config.yaml shows all keys"
	createSecret = "doesn't exist; create it with the Controller's account, and its certificate authority unless the system trusts it: " +
		"kubectl create secret generic %s --namespace %s --from-literal=username=<user> --from-file=password=<file> --from-file=certificateAuthorityData=<PEM file>"
)

// setters is the table of the keys that have a meaning here. A setter returns what is wrong with the value, or "".
var setters = map[string]func(s *Settings, v string) string{
	"clusterName":            setClusterName,
	"controllerIP":           func(s *Settings, v string) string { s.Controller = v; return "" },
	"controllerVersion":      matched(regexp.MustCompile(`^\d+\.\d+\.\d+$`), "is not a release such as 22.1.3", func(s *Settings) *string { return &s.APIVersion }),
	"cloudName":              text(func(s *Settings) *string { return &s.Cloud }),
	"tenantName":             text(func(s *Settings) *string { return &s.Tenant }),
	"serviceEngineGroupName": text(func(s *Settings) *string { return &s.Placement.SEGroup }),
	"vrfName":                text(func(s *Settings) *string { return &s.VRF }),
	"nsxtT1LR":               text(func(s *Settings) *string { return &s.Placement.Tier1LR }),
	"defaultDomain":          setDomain,
	"takeOverClusterUID":     matched(regexp.MustCompile(`^[0-9a-zA-Z-]+$`), `is neither the UID of a cluster's Namespace kube-system nor "unrecorded"`, func(s *Settings) *string { return &s.TakeOver }),
	"createdBy":              text(func(s *Settings) *string { return &s.CreatedBy }),
	"primaryInstance":        func(*Settings, string) string { return "" }, // read by Parse: it needs the namespace
	"enableEVH":              boolean(func(s *Settings) *bool { return &s.HashNames }),
	"vpcMode":                boolean(func(s *Settings) *bool { return &s.Placement.VPC }),
	"enableRHI":              boolean(func(s *Settings) *bool { return &s.Placement.EnableRHI }),
	"defaultLBController":    boolean(func(s *Settings) *bool { return &s.DefaultLB }),
	"deleteConfig":           boolean(func(s *Settings) *bool { return &s.DeleteConfig }),
	"layer7Only":             boolean(func(s *Settings) *bool { return &s.Layer7Only }),
	"enableEvents":           boolean(func(s *Settings) *bool { return &s.Events }),
	"dedicatedTenantMode":    boolean(func(s *Settings) *bool { return &s.OwnTenant }),
	"nsSyncLabelKey":         text(func(s *Settings) *string { return &s.NamespaceKey }),
	"nsSyncLabelValue":       text(func(s *Settings) *string { return &s.NamespaceValue }),
	"blockedNamespaceList":   list(func(s *Settings) *[]string { return &s.Blocked }),
	"bgpPeerLabels":          list(func(s *Settings) *[]string { return &s.Placement.BGPPeerLabels }),
	"vipNetworkList":         setVIPNetworks,
	"nodeNetworkList":        setNodeNetworks,
	"autoFQDN":               setAutoFQDN,
	"ipFamily":               setFamily,
	"logLevel":               setLogLevel,
	"serviceType":            setServiceType,
	"nodeKey":                text(func(s *Settings) *string { return &s.NodeKey }),
	"nodeValue":              text(func(s *Settings) *string { return &s.NodeValue }),
	"cniPlugin":              func(s *Settings, v string) string { s.CNI = strings.ToLower(v); return "" },
	"disableStaticRouteSync": boolean(func(s *Settings) *bool { return &s.RoutesByOthers }),
	"fullSyncFrequency":      setRefresh,
	"drainTimeout":           setDrain,
	"ipMode":                 setIPMode,
	"fqdnReusePolicy":        setFQDNReuse,
}

// withoutMeaning are keys of AKO that concern L7, AKO's own process, or features that this operator does differently.
var withoutMeaning = map[string]bool{
	"apiServerPort": true, "defaultIngController": true,
	"enableEndpointSlice": true, "enableMCI": true, "enablePrometheus": true,
	"istioEnabled": true, "noPGForSNI": true, "passthroughShardSize": true,
	"servicesAPI": true, "shardVSSize": true, "useDefaultSecretsOnly": true, "vipPerNamespace": true,
	"advancedL4": true, "tenantsPerCluster": true, "syncNamespace": true, "logFile": true,
}

// Known reports whether a key of the ConfigMap is this operator's or AKO's.
func Known(key string) bool { return setters[key] != nil || withoutMeaning[key] }

var (
	clusterName = regexp.MustCompile(`^[a-zA-Z0-9_-]+$`)
	domain      = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
)

// Parse validates the ConfigMap's and the Secret's data as a whole; nil stands for an object that doesn't exist. namespace is that of both
// objects and the operator's own; it identifies the instance when primaryInstance is false. The error is a Problems; then the values must
// not be used.
func Parse(config map[string]string, secret map[string][]byte, namespace string) (*Settings, *Credentials, error) {
	s, problems := parseConfigMap(config, Object{"ConfigMap", namespace, ConfigMapName})
	credentials, more := parseSecret(secret, Object{"Secret", namespace, SecretName})
	if problems = append(problems, more...); len(problems) > 0 {
		return nil, nil, problems
	}
	return s, credentials, nil
}

func parseConfigMap(config map[string]string, from Object) (*Settings, Problems) {
	if config == nil {
		return nil, Problems{{Object: from, Reason: fmt.Sprintf(createConfigMap, from.Name, from.Namespace)}}
	}
	s := &Settings{
		Cloud: "Default-Cloud", Tenant: "admin", Placement: placement.Placement{SEGroup: "Default-Group"}, ServiceType: ClusterIP,
		AutoFQDN: FQDNDefault, DefaultLB: true, Events: true, LogLevel: "info",
	}
	var problems Problems
	for _, key := range slices.Sorted(maps.Keys(config)) {
		value := strings.TrimSpace(config[key])
		set, known := setters[key]
		switch {
		case known && value == "":
		case known:
			if reason := set(s, value); reason != "" {
				problems = append(problems, &Problem{from, key, value, reason})
			}
		case withoutMeaning[key]:
			s.Ignored = append(s.Ignored, key)
		default:
			// Not an error: a newer AKO may have written it, and its users must not be stopped by it.
			s.Unknown = append(s.Unknown, key)
		}
	}
	return s, append(problems, s.complete(config, from)...)
}

// complete checks what depends on several keys, and derives created_by as AKO does.
func (s *Settings) complete(config map[string]string, from Object) (problems Problems) {
	wrong := func(key, value, reason string) { problems = append(problems, &Problem{from, key, value, reason}) }
	missing := func(key, reason string) {
		if strings.TrimSpace(config[key]) == "" {
			wrong(key, "", reason)
		}
	}
	missing("clusterName", "is missing; it names every object on the Controller and must be unique among clusters")
	missing("controllerIP", "is missing; give the Controller's host name or address, with :port if it isn't 443")
	primary := true
	if v := strings.TrimSpace(config["primaryInstance"]); v != "" {
		b, err := strconv.ParseBool(v)
		if err != nil {
			wrong("primaryInstance", v, "is neither true nor false")
		}
		primary = b
	}
	s.Secondary = !primary
	if s.CreatedBy == "" {
		s.CreatedBy = "ako-" + s.ClusterName
		if !primary {
			s.CreatedBy += "-" + from.Namespace
		}
	}
	if (s.NamespaceKey == "") != (s.NamespaceValue == "") {
		wrong("nsSyncLabelKey", s.NamespaceKey, "needs nsSyncLabelValue too, and the other way round")
	}
	if s.NodeKey == "" && s.NodeValue != "" {
		wrong("nodeValue", s.NodeValue, "needs nodeKey too: together they are the label that nodes must have")
	}
	if s.ServiceType == NodePortLocal && s.CNI != "" && s.CNI != "antrea" {
		wrong("serviceType", string(s.ServiceType), "needs cniPlugin antrea: it is Antrea that gives pods ports on their nodes")
	}
	if len(s.Placement.BGPPeerLabels) > 0 && !s.Placement.EnableRHI {
		wrong("bgpPeerLabels", "", `needs enableRHI "true": labels choose BGP peers, and without route health injection nothing is advertised`)
	}
	return problems
}

func parseSecret(data map[string][]byte, from Object) (*Credentials, Problems) {
	if data == nil {
		return nil, Problems{{Object: from, Reason: fmt.Sprintf(createSecret, from.Name, from.Namespace)}}
	}
	c := &Credentials{
		Username:  strings.TrimSpace(string(data["username"])),
		Password:  strings.TrimRight(string(data["password"]), "\r\n"),
		AuthToken: strings.TrimSpace(string(data["authtoken"])),
		CA:        bytes.TrimSpace(data["certificateAuthorityData"]),
	}
	var problems Problems
	wrong := func(key, reason string) { problems = append(problems, &Problem{from, key, "", reason}) }
	if c.Username == "" {
		wrong("username", "is missing")
	}
	if c.Password == "" && c.AuthToken == "" {
		wrong("password", "is missing; give password or authtoken")
	}
	if len(c.CA) > 0 && !x509.NewCertPool().AppendCertsFromPEM(c.CA) {
		wrong("certificateAuthorityData", "holds no PEM certificate")
	}
	return c, problems
}

func text(field func(*Settings) *string) func(*Settings, string) string {
	return func(s *Settings, v string) string { *field(s) = v; return "" }
}

func matched(re *regexp.Regexp, reason string, field func(*Settings) *string) func(*Settings, string) string {
	return func(s *Settings, v string) string {
		if !re.MatchString(v) {
			return reason
		}
		*field(s) = v
		return ""
	}
}

func boolean(field func(*Settings) *bool) func(*Settings, string) string {
	return func(s *Settings, v string) string {
		b, err := strconv.ParseBool(v)
		if err != nil {
			return "is neither true nor false"
		}
		*field(s) = b
		return ""
	}
}

// list reads a JSON array of strings, the form in which AKO's installer writes lists.
func list(field func(*Settings) *[]string) func(*Settings, string) string {
	return func(s *Settings, v string) string {
		if err := decode(v, field(s)); err != nil {
			return `is not a JSON list of strings such as ["a","b"]: ` + err.Error()
		}
		return ""
	}
}

func decode(v string, into any) error {
	d := json.NewDecoder(strings.NewReader(v))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if d.More() {
		return errors.New("more than one value")
	}
	return nil
}

func setClusterName(s *Settings, v string) string {
	if !clusterName.MatchString(v) {
		return "may hold only letters, digits, '-' and '_'"
	}
	s.ClusterName = v
	return ""
}

// setDomain reads a domain in any of the forms in which AKO takes one.
func setDomain(s *Settings, v string) string {
	d := model.Domain(v)
	if !domain.MatchString(d) {
		return "is not a DNS domain"
	}
	s.DefaultDomain = d
	return ""
}

func setVIPNetworks(s *Settings, v string) string {
	if err := decode(v, &s.Placement.VIPNetworks); err != nil {
		return `is not a JSON list such as [{"networkName":"vip","cidr":"10.1.0.0/16"}]: ` + err.Error()
	}
	for i, n := range s.Placement.VIPNetworks {
		switch {
		case (n.Name == "") == (n.UUID == ""):
			return fmt.Sprintf("entry %d needs exactly one of networkName and networkUUID", i)
		case n.CIDR != "" && !prefixOK(n.CIDR, false):
			return fmt.Sprintf("entry %d: cidr %q is not an IPv4 prefix such as 10.1.0.0/16", i, n.CIDR)
		case n.V6CIDR != "" && !prefixOK(n.V6CIDR, true):
			return fmt.Sprintf("entry %d: v6cidr %q is not an IPv6 prefix such as fd00:1::/64", i, n.V6CIDR)
		}
	}
	return ""
}

func setNodeNetworks(s *Settings, v string) string {
	if err := decode(v, &s.Placement.NodeNetworks); err != nil {
		return `is not a JSON list such as [{"networkName":"nodes","cidrs":["10.2.0.0/16"]}]: ` + err.Error()
	}
	for i, n := range s.Placement.NodeNetworks {
		if (n.Name == "") == (n.UUID == "") {
			return fmt.Sprintf("entry %d needs exactly one of networkName and networkUUID", i)
		}
		for _, c := range n.CIDRs {
			if !prefixOK(c, false) && !prefixOK(c, true) {
				return fmt.Sprintf("entry %d: %q is not a prefix such as 10.2.0.0/16", i, c)
			}
		}
	}
	return ""
}

// setAutoFQDN follows AKO, where any other text disables the feature; here it must be spelled out, so that a typing
// error doesn't take names away.
func setAutoFQDN(s *Settings, v string) string {
	mode := FQDNMode(strings.ToLower(v))
	if !slices.Contains([]FQDNMode{FQDNDefault, FQDNFlat, FQDNDisabled}, mode) {
		return "is none of default, flat, disabled"
	}
	s.AutoFQDN = mode
	return ""
}

func setFamily(s *Settings, v string) string {
	if !slices.Contains([]Family{FamilyV4, FamilyV6, FamilyDual}, Family(v)) {
		return "is none of V4, V6, V4_V6"
	}
	s.ServersFamily = Family(v)
	return ""
}

func setLogLevel(s *Settings, v string) string {
	level := strings.ToLower(v)
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, level) {
		return "is none of DEBUG, INFO, WARN, ERROR"
	}
	s.LogLevel = level
	return ""
}

func setServiceType(s *Settings, v string) string {
	if !slices.Contains([]ServiceType{ClusterIP, NodePort, NodePortLocal}, ServiceType(v)) {
		return "is none of ClusterIP, NodePort, NodePortLocal"
	}
	s.ServiceType = ServiceType(v)
	return ""
}

// setFQDNReuse follows AKO, which takes every text but one for permission.
func setFQDNReuse(s *Settings, v string) string {
	s.SharedFQDNs = !strings.EqualFold(v, "Strict")
	return ""
}

// DrainMax is the Controller's limit of a drain timeout, in minutes.
const DrainMax = 7200

// ParseDrain reads a number of minutes from 0 to DrainMax, or -1 for ever; ok is false for anything else.
func ParseDrain(text string) (minutes int32, ok bool) {
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 32)
	return int32(n), err == nil && n >= -1 && n <= DrainMax
}

func setDrain(s *Settings, v string) string {
	n, ok := ParseDrain(v)
	if !ok {
		return fmt.Sprintf("is no number of minutes from 0 to %d, nor -1 for ever", DrainMax)
	}
	s.DrainMinutes = &n
	return ""
}

// ParseIPMode reads VIP or Proxy; ok is false for anything else.
func ParseIPMode(text string) (mode *corev1.LoadBalancerIPMode, ok bool) {
	for _, m := range []corev1.LoadBalancerIPMode{corev1.LoadBalancerIPModeVIP, corev1.LoadBalancerIPModeProxy} {
		if strings.TrimSpace(text) == string(m) {
			return &m, true
		}
	}
	return nil, false
}

func setIPMode(s *Settings, v string) (problem string) {
	mode, ok := ParseIPMode(v)
	if !ok {
		return "is neither VIP nor Proxy"
	}
	s.IPMode = mode
	return ""
}

func setRefresh(s *Settings, v string) string {
	n, err := strconv.Atoi(v)
	if err != nil || n < 0 {
		return "is not a number of seconds"
	}
	s.RefreshSeconds = n
	return ""
}
