// SPDX-License-Identifier: Apache-2.0

// Package helm holds the chart to what it promises: that it takes the values of AKO's chart, that it installs what kustomize
// installs, and that an upgrade and an uninstallation lose nothing of the users'.
package helm

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v4/pkg/action"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	release "helm.sh/helm/v4/pkg/release/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
)

const (
	releaseName = "avi-l4"
	namespace   = "avi-l4-system"
)

// root is the repository's, seen from this package's folder, where tests run.
var (
	root     = filepath.Join("..", "..")
	chartDir = filepath.Join(root, "charts", "avi-l4-operator")
)

type values = map[string]any

func TestLint(t *testing.T) {
	lint := action.NewLint()
	lint.Strict, lint.Namespace = true, namespace
	for name, v := range map[string]values{"no values": {}, "AKO's values": akoValues(t), "all of our own": everyValue} {
		for _, err := range lint.Run([]string{chartDir}, v).Errors {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Labels that name version and tool may differ, and the chart has CRDs kept; all else is the same, whichever way it came.
func TestRendersWhatKustomizeDoes(t *testing.T) {
	want := objects(t, run(t.Context(), t, kustomize(t), "build", filepath.Join(root, "config", "operator")))
	for key, o := range objects(t, read(t, "config", "crd", "user_roles.yaml")) {
		want[key] = o
	}
	crds, err := filepath.Glob(filepath.Join(root, "config", "crd", "bases", "*.yaml"))
	if err != nil || len(crds) == 0 {
		t.Fatalf("%d CRDs: %v", len(crds), err)
	}
	for _, file := range crds {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		maps.Copy(want, objects(t, content))
	}
	rendered := render(t, values{"operatorImage": values{"tag": "latest"}, "existingConfigMap": true})
	got := objects(t, []byte(rendered.Manifest))
	for _, set := range []map[string]*unstructured.Unstructured{want, got} {
		for _, o := range set {
			plain(t, o)
		}
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got))); diff != "" {
		t.Fatalf("kustomize (-) and the chart (+) have other objects:\n%s", diff)
	}
	for key := range want {
		if diff := cmp.Diff(want[key], got[key]); diff != "" {
			t.Errorf("%s: kustomize (-) and the chart (+) differ:\n%s", key, diff)
		}
	}
}

// plain removes what the two ways of installing say about themselves.
func plain(t *testing.T, o *unstructured.Unstructured) {
	t.Helper()
	for _, path := range [][]string{{"metadata", "labels"}, {"spec", "template", "metadata", "labels"}} {
		labels, found, err := unstructured.NestedStringMap(o.Object, path...)
		if err != nil {
			t.Fatal(err)
		}
		if !found {
			continue
		}
		for _, label := range []string{"instance", "managed-by", "version", "name", "part-of"} {
			delete(labels, "app.kubernetes.io/"+label)
		}
		delete(labels, "helm.sh/chart")
		if err := unstructured.SetNestedStringMap(o.Object, labels, path...); err != nil {
			t.Fatal(err)
		}
	}
	annotations := o.GetAnnotations()
	if kind := o.GetKind(); annotations["helm.sh/resource-policy"] != "" && kind != "CustomResourceDefinition" &&
		o.GetLabels()["app.kubernetes.io/component"] != "user-roles" {
		t.Errorf("%s %s would outlive the release", kind, o.GetName())
	}
	delete(annotations, "helm.sh/resource-policy")
	o.SetAnnotations(annotations)
	if len(annotations) == 0 {
		unstructured.RemoveNestedField(o.Object, "metadata", "annotations")
	}
	if len(o.GetLabels()) == 0 {
		unstructured.RemoveNestedField(o.Object, "metadata", "labels")
	}
}

// Two releases in one cluster share what the cluster has once, and nothing else.
func TestTwoReleasesShareNoName(t *testing.T) {
	first := objects(t, []byte(render(t, values{}).Manifest))
	install := dryRun(t)
	install.ReleaseName, install.Namespace = "blue", "blue-system"
	second := objects(t, []byte(do(t, install, values{"crds": values{"install": false}}).Manifest))
	for key, o := range second {
		if first[key] != nil {
			t.Errorf("both releases have %s", key)
		}
		if ns := o.GetNamespace(); ns != "" && ns != "blue-system" {
			t.Errorf("%s is in namespace %s", key, ns)
		}
	}
	if len(second) == 0 {
		t.Error("the second release has no objects")
	}
}

// AKO's values as they come, with what AKO wants its users to add.
func TestTakesAKOsValues(t *testing.T) {
	v := akoValues(t)
	set(v, "avi.example.com", "ControllerSettings", "controllerHost")
	v["avicredentials"] = values{"username": "admin", "password": "word"}
	rendered := objects(t, []byte(render(t, v).Manifest))
	config, secret := settingsOf(t, rendered)
	s, _, err := settings.Parse(config, secret, namespace)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Unknown) > 0 || len(s.Ignored) > 0 {
		t.Errorf("the ConfigMap has keys without effect: %v %v", s.Unknown, s.Ignored)
	}
	want := &settings.Settings{
		ClusterName: "my-cluster", CreatedBy: "ako-my-cluster", Controller: "avi.example.com", Cloud: "Default-Cloud", Tenant: "admin",
		ServiceType: settings.ClusterIP, AutoFQDN: settings.FQDNDefault, SharedFQDNs: true, DefaultLB: true, Events: true,
		LogLevel: "warn", RefreshSeconds: 1800, Placement: s.Placement, Blocked: s.Blocked,
	}
	if diff := cmp.Diff(want, s); diff != "" {
		t.Error(diff)
	}
	if s.Placement.SEGroup != "Default-Group" || len(s.Placement.VIPNetworks)+len(s.Blocked) > 0 {
		t.Errorf("placement is %+v, blocked are %v", s.Placement, s.Blocked)
	}
	pod := container(t, rendered)
	if diff := cmp.Diff(v["resources"], pod["resources"]); diff != "" {
		t.Errorf("resources: %s", diff)
	}
}

// Every key of AKO's chart that concerns layer 4, beginning at AKO's own default.
func TestEachKeyOfAKOReachesItsSetting(t *testing.T) {
	for _, c := range []struct {
		path  string
		value any
		key   string
		want  string
	}{
		{"AKOSettings.primaryInstance", false, "primaryInstance", "false"},
		{"AKOSettings.enableEvents", "false", "enableEvents", "false"},
		{"AKOSettings.logLevel", "DEBUG", "logLevel", "DEBUG"},
		{"AKOSettings.fullSyncFrequency", "900", "fullSyncFrequency", "900"},
		{"AKOSettings.fullSyncFrequency", 12345678.0, "fullSyncFrequency", "12345678"},
		{"AKOSettings.deleteConfig", "true", "deleteConfig", "true"},
		{"AKOSettings.disableStaticRouteSync", true, "disableStaticRouteSync", "true"},
		{"AKOSettings.clusterName", "west", "clusterName", "west"},
		{"AKOSettings.cniPlugin", "calico", "cniPlugin", "calico"},
		{"AKOSettings.enableEVH", true, "enableEVH", "true"},
		{"AKOSettings.layer7Only", true, "layer7Only", "true"},
		{"AKOSettings.namespaceSelector", values{"labelKey": "team", "labelValue": "core"}, "nsSyncLabelKey", "team"},
		{"AKOSettings.namespaceSelector", values{"labelKey": "team", "labelValue": "core"}, "nsSyncLabelValue", "core"},
		{"AKOSettings.blockedNamespaceList", []any{"kube-system"}, "blockedNamespaceList", `["kube-system"]`},
		{"AKOSettings.ipFamily", "V4_V6", "ipFamily", "V4_V6"},
		{"AKOSettings.vpcMode", true, "vpcMode", "true"},
		{"NetworkSettings.nodeNetworkList", []any{values{"networkName": "n", "cidrs": []any{"10.0.0.0/24"}}}, "nodeNetworkList",
			`[{"cidrs":["10.0.0.0/24"],"networkName":"n"}]`},
		{"NetworkSettings.enableRHI", true, "enableRHI", "true"},
		{"NetworkSettings.nsxtT1LR", "/infra/tier-1s/t1", "nsxtT1LR", "/infra/tier-1s/t1"},
		{"NetworkSettings.bgpPeerLabels", []any{"peer1", "peer2"}, "bgpPeerLabels", `["peer1","peer2"]`},
		{"NetworkSettings.vipNetworkList", []any{values{"networkName": "vip", "cidr": "10.1.0.0/16"}}, "vipNetworkList",
			`[{"cidr":"10.1.0.0/16","networkName":"vip"}]`},
		{"NetworkSettings.defaultDomain", "avi.example", "defaultDomain", "avi.example"},
		{"L4Settings.defaultDomain", "old.example", "defaultDomain", "old.example"},
		{"L4Settings.autoFQDN", "flat", "autoFQDN", "flat"},
		{"L4Settings.defaultLBController", false, "defaultLBController", "false"},
		{"L7Settings.serviceType", "NodePort", "serviceType", "NodePort"},
		{"L7Settings.fqdnReusePolicy", "Strict", "fqdnReusePolicy", "Strict"},
		{"ControllerSettings.serviceEngineGroupName", "seg", "serviceEngineGroupName", "seg"},
		{"ControllerSettings.controllerVersion", "22.1.3", "controllerVersion", "22.1.3"},
		{"ControllerSettings.cloudName", "vcenter", "cloudName", "vcenter"},
		{"ControllerSettings.controllerHost", "10.9.8.7", "controllerIP", "10.9.8.7"},
		{"ControllerSettings.tenantName", "telco", "tenantName", "telco"},
		{"ControllerSettings.vrfName", "blue", "vrfName", "blue"},
		{"ControllerSettings.dedicatedTenantMode", true, "dedicatedTenantMode", "true"},
		{"config.drainTimeout", 30.0, "drainTimeout", "30"},
		{"config.cloudName", "wins", "cloudName", "wins"},
	} {
		t.Run(c.path, func(t *testing.T) {
			v := akoValues(t)
			set(v, c.value, strings.Split(c.path, ".")...)
			config, _ := settingsOf(t, objects(t, []byte(render(t, v).Manifest)))
			if config[c.key] != c.want {
				t.Errorf("%s is %q, not %q", c.key, config[c.key], c.want)
			}
		})
	}
	v := akoValues(t)
	set(v, "NodePort", "L7Settings", "serviceType")
	v["nodePortSelector"] = values{"key": "zone", "value": "edge"}
	if config, _ := settingsOf(t, objects(t, []byte(render(t, v).Manifest))); config["nodeKey"] != "zone" || config["nodeValue"] != "edge" {
		t.Errorf("the nodes' label is %s=%s", config["nodeKey"], config["nodeValue"])
	}
}

// A key of AKO's values has an effect, or else the notes of the installation name it.
func TestNotesTellOfWhatHasNoEffect(t *testing.T) {
	for _, c := range []struct {
		path  string
		value any
		says  string
	}{
		{"image.repository", "registry.example/ako", "operatorImage's"},
		{"GatewayAPI.image.repository", "registry.example/gateway", "operatorImage's"},
		{"AKOSettings.apiServerPort", 8080.0, "8081"},
		{"AKOSettings.servicesAPI", false, "always on"},
		{"AKOSettings.istioEnabled", true, "Istio"},
		{"AKOSettings.vipPerNamespace", "true", "layer 7"},
		{"AKOSettings.useDefaultSecretsOnly", "true", "layer 7"},
		{"AKOSettings.futureKey", "x", "AKOSettings.futureKey: unknown"},
		{"L7Settings.defaultIngController", "true", "layer 7"},
		{"L7Settings.noPGForSNI", true, "layer 7"},
		{"L7Settings.shardVSSize", "LARGE", "layer 7"},
		{"L7Settings.passthroughShardSize", "SMALL", "layer 7"},
		{"L7Settings.enableMCI", "false", "layer 7"},
		{"featureGates.GatewayAPI", true, "always on"},
		{"featureGates.EnablePrometheus", true, "metrics are always served"},
		{"rbac.pspEnable", true, "roles"},
		{"serviceAccount.name", "ako-sa", "roles"},
		{"persistentVolumeClaim", "claim", "standard output"},
		{"mountPath", "/log", "standard output"},
		{"logFile", "avi.log", "standard output"},
		{"akoGatewayLogFile", "avi-gw.log", "standard output"},
		{"nameOverride", "x", "fullnameOverride"},
		{"configs.cloudName", "old", "an early AKO"},
		{"nodePortSelector.key", "zone", "only with L7Settings.serviceType NodePort"},
	} {
		t.Run(c.path, func(t *testing.T) {
			v := values{}
			set(v, c.value, strings.Split(c.path, ".")...)
			_, told, found := strings.Cut(render(t, v).Info.Notes, "These values have no effect:")
			if !found || !strings.Contains(told, c.says) || !strings.Contains(told, strings.SplitN(c.path, ".", 2)[0]) {
				t.Errorf("the notes don't tell of it with %q:\n%s", c.says, told)
			}
			if lines := strings.Count(told, "\n- "); lines != 1 {
				t.Errorf("%d lines for one key:\n%s", lines, told)
			}
		})
	}
}

// No key of AKO's is passed over in silence: it reaches the ConfigMap, changes another object, or is named in the notes.
func TestNoKeyOfAKOIsForgotten(t *testing.T) {
	elsewhere := []string{"replicaCount", "image.pullPolicy", "image.pullSecrets", "resources", "securityContext", "podSecurityContext",
		"avicredentials", "nodePortSelector", "AKOSettings.namespaceSelector", "ControllerSettings.controllerHost"}
	v := akoValues(t)
	rendered := render(t, v)
	config, _ := settingsOf(t, objects(t, []byte(rendered.Manifest)))
	_, told, _ := strings.Cut(rendered.Info.Notes, "These values have no effect:")
	if strings.Contains(told, "unknown") {
		t.Errorf("a key of AKO's is unknown:\n%s", told)
	}
	for section, content := range v {
		keys, ok := content.(values)
		if !ok {
			keys = values{"": content}
		}
		for key, value := range keys {
			path := strings.TrimSuffix(section+"."+key, ".")
			_, reaches := config[key]
			if reaches || value == "" || slices.Contains(elsewhere, path) || slices.Contains(elsewhere, section) ||
				strings.Contains(told, path) || strings.Contains(told, section+":") || strings.Contains(told, section+",") {
				continue
			}
			t.Errorf("%s has no effect, and the notes don't tell:\n%s", path, told)
		}
	}
}

func TestNotesTellOfWhatIsMissing(t *testing.T) {
	for _, c := range []struct {
		name     string
		v        values
		says, no string
	}{
		{"host", values{"AKOSettings": values{"clusterName": "c"}}, "ControllerSettings.controllerHost is not set", "AKOSettings.clusterName is not set"},
		{"cluster", values{"ControllerSettings": values{"controllerHost": "h"}}, "AKOSettings.clusterName is not set", "controllerHost is not set"},
		{"credentials", values{}, "create secret generic avi-secret", "crds.install"},
		{"nothing", values{"existingConfigMap": true, "avicredentials": values{"username": "u", "password": "p"}}, "Settings come from", "create secret"},
		{"CRDs", values{"crds": values{"install": false}}, "crds.install is false", "These values"},
	} {
		t.Run(c.name, func(t *testing.T) {
			notes := render(t, c.v).Info.Notes
			if !strings.Contains(notes, c.says) || strings.Contains(notes, c.no) {
				t.Errorf("the notes don't say %q, or do say %q:\n%s", c.says, c.no, notes)
			}
		})
	}
}

// TestWriteToken: the right to change the Secret is given only where it is asked for, and is that of the component.
func TestWriteToken(t *testing.T) {
	const role, binding = "Role avi-l4-system/other-token-secret", "RoleBinding avi-l4-system/other-token-secret"
	for _, asked := range []bool{false, true} {
		rendered := objects(t, []byte(render(t, values{"fullnameOverride": "other", "writeToken": asked}).Manifest))
		if (rendered[role] != nil) != asked || (rendered[binding] != nil) != asked {
			t.Fatalf("asked for: %t, and there are %v", asked, slices.Sorted(maps.Keys(rendered)))
		}
		if !asked {
			continue
		}
		file, err := os.ReadFile("../../config/components/token-secret/role.yaml")
		if err != nil {
			t.Fatal(err)
		}
		want := objects(t, file)["Role avi-l4-system/avi-l4-token-secret"].Object["rules"]
		if diff := cmp.Diff(want, rendered[role].Object["rules"]); diff != "" || want == nil {
			t.Error(diff)
		}
		subject := rendered[binding].Object["subjects"].([]any)[0].(values)
		if subject["name"] != "other-operator" || subject["namespace"] != "avi-l4-system" {
			t.Errorf("it is bound to %v", subject)
		}
	}
}

// TestPlanReader: the account and the roles of people who ask for plans are there only where they are asked for, and are then those of the
// component, under the release's names.
func TestPlanReader(t *testing.T) {
	component := objects(t, run(t.Context(), t, kustomize(t), "build", filepath.Join(root, "config", "components", "plan-reader")))
	without := objects(t, []byte(render(t, values{}).Manifest))
	with := objects(t, []byte(render(t, values{"planReader": true}).Manifest))
	if len(component) != 4 || len(with) != len(without)+len(component) {
		t.Errorf("%d objects with it, %d without, and the component has %d", len(with), len(without), len(component))
	}
	for key, want := range component {
		got := with[key]
		if got == nil || without[key] != nil {
			t.Errorf("%s is missing with it: %t, is there without: %t", key, got == nil, without[key] != nil)
			continue
		}
		plain(t, want)
		plain(t, got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: kustomize (-) and the chart (+) differ:\n%s", key, diff)
		}
	}
	const account = "other-plan-reader"
	other := objects(t, []byte(render(t, values{"fullnameOverride": "other", "planReader": true}).Manifest))
	binding, role := other["ClusterRoleBinding /"+account], other["Role avi-l4-system/other-plan-user"]
	if binding == nil || role == nil || other["ServiceAccount avi-l4-system/"+account] == nil {
		t.Fatalf("objects are %v", slices.Sorted(maps.Keys(other)))
	}
	got := []any{
		binding.Object["roleRef"].(values)["name"], binding.Object["subjects"].([]any)[0].(values)["name"],
		role.Object["rules"].([]any)[0].(values)["resourceNames"],
	}
	if diff := cmp.Diff([]any{account, account, []any{account}}, got); diff != "" {
		t.Error(diff)
	}
}

// everyValue has each value of the chart's own that changes the Deployment.
var everyValue = values{
	"operatorImage":     values{"repository": "registry.example/operator", "digest": "sha256:" + strings.Repeat("0", 64)},
	"image":             values{"pullPolicy": "Always", "pullSecrets": []any{values{"name": "one"}}},
	"imagePullSecrets":  []any{values{"name": "two"}},
	"replicaCount":      3.0,
	"extraArgs":         []any{"--zap-devel"},
	"serviceAccount":    values{"annotations": values{"a": "b"}},
	"podAnnotations":    values{"c": "d"},
	"nodeSelector":      values{"zone": "edge"},
	"tolerations":       []any{values{"key": "edge", "operator": "Exists"}},
	"affinity":          values{"nodeAffinity": values{}},
	"priorityClassName": "high", "fullnameOverride": "other",
	"securityContext":    values{"runAsUser": 1234.0},
	"podSecurityContext": values{"fsGroup": 4321.0},
}

func TestValuesChangeTheDeployment(t *testing.T) {
	rendered := objects(t, []byte(render(t, everyValue).Manifest))
	d := rendered["Deployment avi-l4-system/other-operator"]
	if d == nil {
		t.Fatalf("objects are %v", slices.Sorted(maps.Keys(rendered)))
	}
	pod, _, err := unstructured.NestedMap(d.Object, "spec", "template", "spec")
	if err != nil {
		t.Fatal(err)
	}
	c := container(t, rendered)
	got := values{
		"image": c["image"], "pull": c["imagePullPolicy"], "args": c["args"], "user": c["securityContext"].(values)["runAsUser"],
		"replicas": d.Object["spec"].(values)["replicas"], "secrets": pod["imagePullSecrets"], "nodes": pod["nodeSelector"],
		"tolerations": pod["tolerations"], "affinity": pod["affinity"], "priority": pod["priorityClassName"],
		"group": pod["securityContext"].(values)["fsGroup"], "nonRoot": pod["securityContext"].(values)["runAsNonRoot"],
		"account":     pod["serviceAccountName"],
		"annotations": d.Object["spec"].(values)["template"].(values)["metadata"].(values)["annotations"].(values)["c"],
		"of account":  rendered["ServiceAccount avi-l4-system/other-operator"].GetAnnotations()["a"],
	}
	want := values{
		"image": "registry.example/operator@sha256:" + strings.Repeat("0", 64), "pull": "Always", "args": []any{"--leader-elect", "--zap-devel"},
		"user": 1234.0, "replicas": 3.0, "secrets": []any{values{"name": "two"}, values{"name": "one"}},
		"nodes": everyValue["nodeSelector"], "tolerations": everyValue["tolerations"], "affinity": everyValue["affinity"], "priority": "high",
		"group": 4321.0, "nonRoot": true, "account": "other-operator", "annotations": "d", "of account": "b",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// The schema stops what can't be meant, before anything is changed.
func TestSchemaRefuses(t *testing.T) {
	for _, c := range []struct {
		path  string
		value any
	}{
		{"AKOSettings", "text"}, {"replicaCount", "two"}, {"tolerations", values{}}, {"L7Settings.serviceType", "LoadBalancer"},
		{"operatorImage.repositry", "x"}, {"metrics.monitor", "both"}, {"metrics.interval", "often"},
		{"crds.install", "maybe"}, {"config", []any{"x"}}, {"NetworkSettings.vipNetworkList", "vip"},
	} {
		t.Run(c.path, func(t *testing.T) {
			v := akoValues(t)
			set(v, c.value, strings.Split(c.path, ".")...)
			if _, err := dryRun(t).Run(load(t), v); err == nil || !strings.Contains(err.Error(), strings.Split(c.path, ".")[0]) {
				t.Errorf("%v is let in: %v", c.value, err)
			}
		})
	}
}

func render(t *testing.T, v values) *release.Release {
	t.Helper()
	return do(t, dryRun(t), v)
}

func dryRun(t *testing.T) *action.Install {
	t.Helper()
	install := action.NewInstall(action.NewConfiguration())
	install.DryRunStrategy, install.ReleaseName, install.Namespace = action.DryRunClient, releaseName, namespace
	return install
}

func do(t *testing.T, install *action.Install, v values) *release.Release {
	t.Helper()
	made, err := install.Run(load(t), v)
	if err != nil {
		t.Fatal(err)
	}
	return made.(*release.Release)
}

func load(t *testing.T) *chart.Chart {
	t.Helper()
	c, err := loader.Load(chartDir)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func akoValues(t *testing.T) values {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("testdata", "ako-values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var v values
	if err := yaml.Unmarshal(content, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// set puts a value at the path, and makes the maps on the way there.
func set(v values, value any, path ...string) {
	for _, name := range path[:len(path)-1] {
		next, ok := v[name].(values)
		if !ok {
			next = values{}
			v[name] = next
		}
		v = next
	}
	v[path[len(path)-1]] = value
}

// objects reads documents; the key is kind, namespace and name.
func objects(t *testing.T, documents []byte) map[string]*unstructured.Unstructured {
	t.Helper()
	out := map[string]*unstructured.Unstructured{}
	for decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(documents), 4096); ; {
		o := &unstructured.Unstructured{}
		err := decoder.Decode(&o.Object)
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(o.Object) == 0 {
			continue
		}
		key := o.GetKind() + " " + o.GetNamespace() + "/" + o.GetName()
		if out[key] != nil {
			t.Fatalf("%s is there twice", key)
		}
		out[key] = o
	}
}

// settingsOf are the ConfigMap's and the Secret's data; nil where an object is missing.
func settingsOf(t *testing.T, rendered map[string]*unstructured.Unstructured) (config map[string]string, secret map[string][]byte) {
	t.Helper()
	if o := rendered["ConfigMap "+namespace+"/"+settings.ConfigMapName]; o != nil {
		var err error
		if config, _, err = unstructured.NestedStringMap(o.Object, "data"); err != nil {
			t.Fatal(err)
		}
	}
	if o := rendered["Secret "+namespace+"/"+settings.SecretName]; o != nil {
		data, _, err := unstructured.NestedStringMap(o.Object, "data")
		if err != nil {
			t.Fatal(err)
		}
		secret = map[string][]byte{}
		for key, text := range data {
			if secret[key], err = base64.StdEncoding.DecodeString(text); err != nil {
				t.Fatal(err)
			}
		}
	}
	return config, secret
}

// container is that of the Deployment.
func container(t *testing.T, rendered map[string]*unstructured.Unstructured) values {
	t.Helper()
	for _, o := range rendered {
		if o.GetKind() == "Deployment" {
			containers, _, err := unstructured.NestedSlice(o.Object, "spec", "template", "spec", "containers")
			if err != nil || len(containers) != 1 {
				t.Fatalf("%d containers: %v", len(containers), err)
			}
			return containers[0].(values)
		}
	}
	t.Fatal("there is no Deployment")
	return nil
}

func kustomize(t *testing.T) string {
	t.Helper()
	bin, err := filepath.Abs(filepath.Join(root, "bin"))
	if err != nil {
		t.Fatal(err)
	}
	run(t.Context(), t, "go", "build", "-C", filepath.Join(root, "hack", "tools", "kustomize"), "-o", bin+string(filepath.Separator), "tool")
	return filepath.Join(bin, "kustomize")
}

func run(ctx context.Context, t *testing.T, name string, args ...string) []byte {
	t.Helper()
	command := exec.CommandContext(ctx, name, args...) //nolint:gosec // the arguments are this file's
	var stderr bytes.Buffer
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", filepath.Base(name), strings.Join(args, " "), err, stderr.Bytes())
	}
	return out
}

func read(t *testing.T, path ...string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(slices.Concat([]string{root}, path)...))
	if err != nil {
		t.Fatal(err)
	}
	return content
}
