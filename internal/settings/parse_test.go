// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/avi-l4-operator/avi-l4-operator/internal/placement"
)

func good() (map[string]string, map[string][]byte) {
	return map[string]string{"clusterName": "prod", "controllerIP": "avi.example.com"},
		map[string][]byte{"username": []byte("admin"), "password": []byte("secret-word\n")}
}

func TestParseDefaultsAreThoseOfAKO(t *testing.T) {
	config, secret := good()
	s, c, err := Parse(config, secret, "avi-system")
	if err != nil {
		t.Fatal(err)
	}
	want := &Settings{
		ClusterName: "prod", CreatedBy: "ako-prod", Controller: "avi.example.com", Cloud: "Default-Cloud", Tenant: "admin",
		Placement: placement.Placement{SEGroup: "Default-Group"}, ServiceType: ClusterIP, AutoFQDN: FQDNDefault, DefaultLB: true, Events: true, LogLevel: "info",
	}
	if diff := cmp.Diff(want, s); diff != "" {
		t.Error(diff)
	}
	if c.Username != "admin" || c.Password != "secret-word" {
		t.Errorf("credentials are %q and %q", c.Username, c.Password)
	}
}

func TestParseReadsEveryKeyOfAKOsInstaller(t *testing.T) {
	config, secret := good()
	for k, v := range map[string]string{
		"controllerVersion": "22.1.3", "cniPlugin": "Calico", "disableStaticRouteSync": "true", "shardVSSize": "LARGE",
		"fullSyncFrequency": "1800",
		"cloudName":         "vcenter", "tenantName": "telco", "primaryInstance": "false", "defaultDomain": ".Avi.local.",
		"enableRHI": "true", "bgpPeerLabels": `["peer1"]`, "logLevel": "WARN", "deleteConfig": "false", "autoFQDN": "flat",
		"nsSyncLabelKey": "avi", "nsSyncLabelValue": "yes", "serviceType": "NodePort", "nodeKey": "zone", "nodeValue": "edge",
		"serviceEngineGroupName": "seg",
		"vipNetworkList":         `[{"networkName":"vip","cidr":"10.1.0.0/16","v6cidr":"fd00:1::/64"}]`,
		"nodeNetworkList":        `[{"networkName":"nodes","cidrs":["10.2.0.0/16"]}]`, "blockedNamespaceList": `["kube-system"]`,
		"ipFamily": "V4_V6", "apiServerPort": "8080", "servicesAPI": "false", "vrfName": "blue", "future": "x", "layer7Only": "",
		"vpcMode": "true",
	} {
		config[k] = v
	}
	s, _, err := Parse(config, secret, "avi-system")
	if err != nil {
		t.Fatal(err)
	}
	want := &Settings{
		ClusterName: "prod", CreatedBy: "ako-prod-avi-system", Controller: "avi.example.com", APIVersion: "22.1.3",
		Cloud: "vcenter", Tenant: "telco", VRF: "blue",
		Placement: placement.Placement{
			SEGroup: "seg", VPC: true, EnableRHI: true, BGPPeerLabels: []string{"peer1"},
			VIPNetworks:  []placement.VIPNetwork{{Name: "vip", CIDR: "10.1.0.0/16", V6CIDR: "fd00:1::/64"}},
			NodeNetworks: []placement.NodeNetwork{{Name: "nodes", CIDRs: []string{"10.2.0.0/16"}}},
		},
		ServiceType: NodePort, NodeKey: "zone", NodeValue: "edge", CNI: "calico", RoutesByOthers: true, Secondary: true, ServersFamily: FamilyDual,
		DefaultDomain: "avi.local", AutoFQDN: FQDNFlat, DefaultLB: true, NamespaceKey: "avi", NamespaceValue: "yes",
		Blocked: []string{"kube-system"}, Events: true, LogLevel: "warn", RefreshSeconds: 1800,
		Ignored: []string{"apiServerPort", "servicesAPI", "shardVSSize"}, Unknown: []string{"future"},
	}
	if diff := cmp.Diff(want, s); diff != "" {
		t.Error(diff)
	}
}

// Every bad key is one error that names the key, and all of them come at once.
func TestParseReportsEachBadKeyOnce(t *testing.T) {
	for _, c := range []struct{ key, value, says string }{
		{"clusterName", "a b", "letters, digits"},
		{"controllerVersion", "22", "22.1.3"},
		{"vipNetworkList", "[{}]", "exactly one of networkName"},
		{"vipNetworkList", `[{"networkName":"v","networkUUID":"u"}]`, "exactly one"},
		{"vipNetworkList", `[{"networkName":"v","cidr":"10.0.0.0"}]`, "IPv4 prefix"},
		{"vipNetworkList", `[{"networkName":"v","cidr":"fd00::/64"}]`, "IPv4 prefix"},
		{"vipNetworkList", `[{"networkName":"v","v6cidr":"10.0.0.0/8"}]`, "IPv6 prefix"},
		{"vipNetworkList", `vip`, "JSON list"},
		{"nodeNetworkList", `[{"networkName":"n","cidrs":["x"]}]`, "not a prefix"},
		{"bgpPeerLabels", "peer", "JSON list of strings"},
		{"enableRHI", "yes please", "neither true nor false"},
		{"primaryInstance", "maybe", "neither true nor false"},
		{"disableStaticRouteSync", "never", "neither true nor false"},
		{"autoFQDN", "flatt", "default, flat, disabled"},
		{"ipFamily", "v4", "V4, V6, V4_V6"},
		{"logLevel", "chatty", "DEBUG"},
		{"serviceType", "Pod", "ClusterIP"},
		{"nodeValue", "edge", "nodeKey"},
		{"fullSyncFrequency", "soon", "seconds"},
		{"drainTimeout", "7201", "0 to 7200"},
		{"drainTimeout", "-2", "-1 for ever"},
		{"drainTimeout", "5m", "minutes"},
		{"ipMode", "proxy", "VIP nor Proxy"},
		{"nsSyncLabelKey", "avi", "nsSyncLabelValue"},
		{"defaultDomain", "Not A Domain", "DNS domain"},
	} {
		config, secret := good()
		config[c.key] = c.value
		_, _, err := Parse(config, secret, "ns")
		var key *Problem
		if !errors.As(err, &key) || key.Key != c.key {
			t.Errorf("%s=%s: got %v, want an error about that key", c.key, c.value, err)
			continue
		}
		if !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s=%s: got %q, want one line with %q", c.key, c.value, err, c.says)
		}
	}
	junk := map[string][]byte{"certificateAuthorityData": []byte("junk")}
	_, _, err := Parse(map[string]string{"autoFQDN": "x", "ipFamily": "y"}, junk, "ns")
	for _, key := range []string{"autoFQDN", "ipFamily", "clusterName", "controllerIP", "username", "password", "certificateAuthorityData"} {
		if n := strings.Count(err.Error(), "key "+key+":"); n != 1 {
			t.Errorf("%d errors about %s in %q, want 1", n, key, err)
		}
	}
	if strings.Contains(err.Error(), "junk") {
		t.Error("an error shows the Secret's content")
	}
}

// Several problems have one order, and an object that is missing is one problem with a place and a remedy.
func TestParseNamesProblemsInOrder(t *testing.T) {
	config, secret := good()
	bad := map[string]string{"logLevel": "chatty", "autoFQDN": "x", "nodeValue": "edge"}
	for name, c := range map[string]struct {
		config map[string]string
		secret map[string][]byte
		want   []string // beginnings
	}{
		"neither": {nil, nil, []string{
			"ConfigMap avi-system/avi-k8s-config doesn't exist; create it", "Secret avi-system/avi-secret doesn't exist; create it",
		}},
		"no ConfigMap": {nil, secret, []string{"ConfigMap avi-system/avi-k8s-config doesn't exist"}},
		"no Secret":    {config, nil, []string{"Secret avi-system/avi-secret doesn't exist"}},
		"both empty": {map[string]string{}, map[string][]byte{}, []string{
			"ConfigMap avi-system/avi-k8s-config, key clusterName: is missing", "ConfigMap avi-system/avi-k8s-config, key controllerIP: is missing",
			"Secret avi-system/avi-secret, key username: is missing", "Secret avi-system/avi-secret, key password: is missing",
		}},
		"bad values, no Secret": {bad, nil, []string{
			"ConfigMap avi-system/avi-k8s-config, key autoFQDN: \"x\"", "ConfigMap avi-system/avi-k8s-config, key logLevel: \"chatty\"",
			"ConfigMap avi-system/avi-k8s-config, key clusterName: is missing", "ConfigMap avi-system/avi-k8s-config, key controllerIP: is missing",
			"ConfigMap avi-system/avi-k8s-config, key nodeValue: \"edge\"", "Secret avi-system/avi-secret doesn't exist",
		}},
	} {
		for range 20 { // the order of maps is another one each time
			_, _, err := Parse(c.config, c.secret, "avi-system")
			var all Problems
			if !errors.As(err, &all) || len(all) != len(c.want) {
				t.Fatalf("%s: got %v, want %d problems", name, err, len(c.want))
			}
			for i, want := range c.want {
				if got := all[i].Error(); !strings.HasPrefix(got, want) {
					t.Fatalf("%s: problem %d is %q, want %q", name, i, got, want)
				}
			}
		}
	}
	_, _, err := Parse(nil, nil, "avi-system")
	for _, command := range []string{
		"kubectl create configmap avi-k8s-config --namespace avi-system --from-literal=clusterName=",
		"kubectl create secret generic avi-secret --namespace avi-system --from-literal=username=",
	} {
		if !strings.Contains(err.Error(), command) {
			t.Errorf("%q lacks %q", err, command)
		}
	}
}

func TestAccepts(t *testing.T) {
	s := &Settings{Blocked: []string{"kube-system"}, NamespaceKey: "avi", NamespaceValue: "yes"}
	for ns, c := range map[string]struct {
		labels map[string]string
		want   bool
	}{
		"a":           {map[string]string{"avi": "yes"}, true},
		"b":           {map[string]string{"avi": "no"}, false},
		"c":           {nil, false},
		"kube-system": {map[string]string{"avi": "yes"}, false},
	} {
		if got := s.Accepts(ns, c.labels); got != c.want {
			t.Errorf("Accepts(%s, %v) = %v", ns, c.labels, got)
		}
	}
}

func TestDrainAndIPMode(t *testing.T) {
	config, secret := good()
	for text, want := range map[string]int32{"0": 0, " 7200 ": 7200, "-1": -1, "30": 30} {
		config["drainTimeout"] = text
		if s, _, err := Parse(config, secret, "ns"); err != nil || s.DrainMinutes == nil || *s.DrainMinutes != want {
			t.Errorf("drainTimeout %q: %v", text, err)
		}
	}
	for _, mode := range []corev1.LoadBalancerIPMode{corev1.LoadBalancerIPModeVIP, corev1.LoadBalancerIPModeProxy} {
		config["ipMode"] = string(mode)
		if s, _, err := Parse(config, secret, "ns"); err != nil || s.IPMode == nil || *s.IPMode != mode {
			t.Errorf("ipMode %s: %v", mode, err)
		}
	}
	config["drainTimeout"], config["ipMode"] = "", ""
	if s, _, err := Parse(config, secret, "ns"); err != nil || s.DrainMinutes != nil || s.IPMode != nil {
		t.Errorf("empty values are the default: %+v, %v", s, err)
	}
}
