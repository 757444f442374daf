// SPDX-License-Identifier: Apache-2.0

package manifests

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"github.com/avi-l4-operator/avi-l4-operator/hack/cluster"
)

// Overlays of this package, as paths from config/.
const (
	withEverything        = "../test/manifests/testdata/everything"
	everythingOnOpenShift = "../test/manifests/testdata/openshift"
)

func build(t *testing.T, folder string) []*unstructured.Unstructured {
	t.Helper()
	kustomize := tool(t.Context(), t, "kustomize")
	return decode(t, run(t.Context(), t, kustomize, "build", filepath.Join(root, "config", filepath.FromSlash(folder))))
}

// identity is what an API server knows an object by.
func identity(object *unstructured.Unstructured) string {
	return strings.Join([]string{object.GroupVersionKind().GroupKind().String(), object.GetNamespace(), object.GetName()}, " ")
}

// TestLabels makes sure that everything carries the recommended labels, and that no selector has come to depend on one: a
// Deployment's selector can't be changed, so that these are for good.
func TestLabels(t *testing.T) {
	selectors := map[string]map[string]string{
		"avi-l4-operator":  {"control-plane": "avi-l4-operator"},
		"avi-l4-simulator": {"app.kubernetes.io/name": "avi-l4-simulator"},
	}
	for _, object := range build(t, withEverything) {
		want := []string{"name", "part-of", "managed-by"}
		switch object.GetKind() {
		case "CustomResourceDefinition":
			if strings.HasSuffix(object.GetName(), ".networking.x-k8s.io") {
				want = nil // upstream's
			}
		case "ConfigMap": // the world of a simulator, which is the site's own
			want = nil
		case "Namespace":
		case "GatewayClass":
			want = append(want, "component")
		default:
			want = append(want, "component")
			if object.GetLabels()["app.kubernetes.io/component"] != "user-roles" { // those are one set for all installations
				want = append(want, "instance")
			}
		}
		for _, label := range want {
			if object.GetLabels()["app.kubernetes.io/"+label] == "" {
				t.Errorf("%s lacks the label app.kubernetes.io/%s", identity(object), label)
			}
		}
		if object.GetKind() != "Deployment" {
			continue
		}
		selector, _, _ := unstructured.NestedStringMap(object.Object, "spec", "selector", "matchLabels")
		if diff := cmp.Diff(selectors[object.GetName()], selector); diff != "" {
			t.Errorf("the selector of Deployment %s (-want +got):\n%s", object.GetName(), diff)
		}
		pod, _, _ := unstructured.NestedStringMap(object.Object, "spec", "template", "metadata", "labels")
		for key, value := range selector {
			if pod[key] != value {
				t.Errorf("Deployment %s does not select its own pods: %s=%s", object.GetName(), key, pod[key])
			}
		}
	}
}

// TestBesideAKO makes sure that an installation into AKO's namespace neither changes nor, when it is deleted, takes with it
// what is AKO's.
func TestBesideAKO(t *testing.T) {
	for _, object := range build(t, "overlays/beside-ako") {
		switch object.GetKind() {
		case "Namespace", "CustomResourceDefinition", "ConfigMap", "Secret":
			t.Errorf("%s may be AKO's", identity(object))
		case "ClusterRole", "ClusterRoleBinding":
		default:
			if object.GetNamespace() != "avi-system" {
				t.Errorf("%s is not in AKO's namespace", identity(object))
			}
		}
		subjects, _, _ := unstructured.NestedSlice(object.Object, "subjects")
		for _, subject := range subjects {
			if got := subject.(map[string]any)["namespace"]; got != "avi-system" {
				t.Errorf("%s is for the account of namespace %s", identity(object), got)
			}
		}
	}
}

// TestPlanReaderWithPrefix: an overlay's prefix reaches the account in all places that name it, so that its users can ask in its name.
func TestPlanReaderWithPrefix(t *testing.T) {
	const account = "second-avi-l4-plan-reader"
	named := map[string]any{}
	for _, object := range build(t, "../test/manifests/testdata/plan-reader") {
		switch key := object.GetKind() + " " + object.GetName(); key {
		case "ServiceAccount " + account:
			named[key] = object.GetName()
		case "ClusterRoleBinding " + account:
			role, _, _ := unstructured.NestedString(object.Object, "roleRef", "name")
			subjects, _, _ := unstructured.NestedSlice(object.Object, "subjects")
			named[key] = []any{role, subjects[0].(map[string]any)["name"], subjects[0].(map[string]any)["namespace"]}
		case "Role second-avi-l4-plan-user":
			rules, _, _ := unstructured.NestedSlice(object.Object, "rules")
			named[key] = []any{rules[0].(map[string]any)["resourceNames"], rules[3].(map[string]any)["resourceNames"]}
		}
	}
	if diff := cmp.Diff(map[string]any{
		"ServiceAccount " + account:     account,
		"ClusterRoleBinding " + account: []any{account, account, "avi-l4-second"},
		"Role second-avi-l4-plan-user":  []any{[]any{account}, []any{"avi-l4-operator.ako.vmware.com"}},
	}, named); diff != "" {
		t.Error(diff)
	}
}

// TestTwoInstallations applies an installation and then a second one, and looks whether each has its rights and its own
// objects afterwards.
func TestTwoInstallations(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	first, second := build(t, "default"), build(t, "overlays/second")
	owned := map[string]bool{}
	for _, object := range first {
		owned[identity(object)] = true
	}
	for _, object := range second {
		if owned[identity(object)] {
			t.Errorf("%s belongs to the first installation", identity(object))
		}
	}
	a := startAPIServer(ctx, t)
	for _, object := range slices.Concat(first, second) {
		a.apply(ctx, t, object)
	}
	t.Run("first", func(t *testing.T) { testRole(ctx, t, a.client, namespace, account) })
	t.Run("second", func(t *testing.T) { testRole(ctx, t, a.client, "avi-l4-second", "second-avi-l4-operator") })
	for _, test := range []struct{ user, namespace, other string }{
		{account, namespace, "avi-l4-second"}, {"second-avi-l4-operator", "avi-l4-second", namespace},
	} {
		credentials := access{verb: "get", resource: "secrets", namespace: test.other, name: "avi-secret"}
		if allowed(ctx, t, a.client, test.namespace, test.user, credentials) {
			t.Errorf("%s may read the other installation's credentials", test.user)
		}
	}
}

// TestRestrictedV2 has an API server refuse what OpenShift does, and admit the pods of every way of installing.
func TestRestrictedV2(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	a := startAPIServer(ctx, t)
	a.enforceRestrictedV2(ctx, t)
	if !t.Run("it refuses", func(t *testing.T) { testRefusals(ctx, t, a.client) }) {
		t.FailNow()
	}
	upstream, err := cluster.GatewayAPI(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range upstream {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, object := range decode(t, content) {
			a.apply(ctx, t, object)
		}
	}
	for _, folder := range []string{"default", "overlays/second", "trial", everythingOnOpenShift} {
		t.Run(folder, func(t *testing.T) {
			pods := 0
			for _, object := range build(t, folder) {
				if object.GetKind() == "Namespace" {
					onOpenShift(object)
				}
				a.apply(ctx, t, object) // admits a Deployment's pod as well
				if object.GetKind() == "Deployment" {
					pods++
				}
			}
			if pods == 0 {
				t.Error("there is no pod")
			}
		})
	}
	// Not one for OpenShift: its volume belongs to a group by number.
	t.Run("without the component", func(t *testing.T) {
		for _, object := range build(t, withEverything) {
			if object.GetKind() == "Deployment" && object.GetName() == "avi-l4-simulator" {
				if err := a.createPod(ctx, t, object); err == nil || !strings.Contains(err.Error(), "an fsGroup outside") {
					t.Errorf("got %v, want a refusal of the group", err)
				}
				return
			}
		}
		t.Error("there is no simulator")
	})
}

// onOpenShift gives a namespace what OpenShift gives each, and has the test's policy look at its pods.
func onOpenShift(namespace *unstructured.Unstructured) {
	namespace.SetAnnotations(map[string]string{"openshift.io/sa.scc.uid-range": "1000680000/10000"})
	labels := namespace.GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	maps.Copy(labels, map[string]string{"test/restricted-v2": "", "pod-security.kubernetes.io/enforce": "restricted"})
	namespace.SetLabels(labels)
}

// enforceRestrictedV2 installs the policy and waits until the API server goes by it.
func (a *applier) enforceRestrictedV2(ctx context.Context, t *testing.T) {
	t.Helper()
	for _, object := range decode(t, read(t, "test", "manifests", "testdata", "restricted-v2.yaml")) {
		a.apply(ctx, t, object)
	}
	probe := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace"}}
	probe.SetName("restricted")
	onOpenShift(probe)
	a.apply(ctx, t, probe)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		err := tryPod(ctx, t, a.client, "{runAsUser: 65532}", "", "")
		if err != nil && strings.Contains(err.Error(), "ValidatingAdmissionPolicy 'restricted-v2'") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the policy is not in force: %v", err)
		}
	}
}

// tryPod asks whether a pod would be admitted that is as it should be but for these additions.
func tryPod(ctx context.Context, t *testing.T, client kubernetes.Interface, pod, container, spec string) error {
	t.Helper()
	var p corev1.Pod
	for _, text := range []struct{ text, into string }{
		{"{runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}", "pod"}, {pod, "pod"},
		{"{allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}", "container"}, {container, "container"}, {spec, "spec"},
	} {
		if len(p.Spec.Containers) == 0 {
			p = corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "probe"}, Spec: corev1.PodSpec{
				SecurityContext: &corev1.PodSecurityContext{}, Containers: []corev1.Container{{Name: "c", Image: "i", SecurityContext: &corev1.SecurityContext{}}}}}
		}
		into := map[string]any{"pod": p.Spec.SecurityContext, "container": p.Spec.Containers[0].SecurityContext, "spec": &p.Spec}[text.into]
		if err := yaml.UnmarshalStrict([]byte(text.text), into); err != nil {
			t.Fatalf("%s: %v", text.text, err)
		}
	}
	_, err := client.CoreV1().Pods("restricted").Create(ctx, &p, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	return err
}

// testRefusals makes sure that the policy refuses each thing by itself, and nothing else.
func testRefusals(ctx context.Context, t *testing.T, client kubernetes.Interface) {
	// Without Pod Security, so that each refusal is the policy's.
	patch := []byte(`{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":null}}}`)
	if _, err := client.CoreV1().Namespaces().Patch(ctx, "restricted", "application/merge-patch+json", patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ pod, container, spec, refused string }{
		{"", "", "", ""},
		{"{runAsUser: 1000680001, fsGroup: 1000680000}", "", "", ""},
		{"", "{capabilities: {add: [NET_BIND_SERVICE], drop: [ALL]}}", "{volumes: [{name: v, emptyDir: {}}]}", ""},
		{"{runAsUser: 65532}", "", "", "a user outside"},
		{"", "{runAsUser: 1000690000}", "", "a user outside"},
		{"{fsGroup: 65532}", "", "", "an fsGroup outside"},
		{"{runAsGroup: 65532}", "", "", "a fixed group"},
		{"", "{runAsGroup: 0}", "", "a fixed group"},
		{"{seLinuxOptions: {type: spc_t}}", "", "", "SELinux options"},
		{"{seccompProfile: {type: Unconfined}}", "", "", "a seccomp profile"},
		{"{seccompProfile: {type: Localhost, localhostProfile: p}}", "", "", "a seccomp profile"},
		{"", "{seccompProfile: {type: Unconfined}}", "", "a seccomp profile"},
		{"", "{allowPrivilegeEscalation: true}", "", "privilege escalation"},
		{"", "{allowPrivilegeEscalation: true, privileged: true}", "", "privilege escalation"},
		{"", "{capabilities: {drop: [NET_RAW]}}", "", "capabilities that are not dropped"},
		{"", "{capabilities: {add: [NET_ADMIN], drop: [ALL]}}", "", "a capability other than"},
		{"", "", "{hostNetwork: true}", "the host's network"},
		{"", "", "{volumes: [{name: v, hostPath: {path: /}}]}", "a volume that"},
		{"{sysctls: [{name: net.ipv4.tcp_syncookies, value: '0'}]}", "", "", "sysctls"},
	} {
		err := tryPod(ctx, t, client, test.pod, test.container, test.spec)
		switch {
		case test.refused == "" && err != nil:
			t.Errorf("%+v: %v", test, err)
		case test.refused != "" && (err == nil || !strings.Contains(err.Error(), test.refused)):
			t.Errorf("%+v: got %v", test, err)
		}
	}
}

// createPod asks whether a Deployment's pod would be admitted.
func (a *applier) createPod(ctx context.Context, t *testing.T, deployment *unstructured.Unstructured) error {
	t.Helper()
	template, _, err := unstructured.NestedMap(deployment.Object, "spec", "template")
	if err != nil {
		t.Fatal(err)
	}
	var pod corev1.Pod
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(template, &pod); err != nil {
		t.Fatal(err)
	}
	pod.Name = deployment.GetName()
	_, err = a.client.CoreV1().Pods(deployment.GetNamespace()).Create(ctx, &pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	return err
}
