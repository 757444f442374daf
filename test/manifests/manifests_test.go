// SPDX-License-Identifier: Apache-2.0

// Package manifests tests what people apply: that config/ builds, that an API server takes it to the letter, and that
// the operator's role allows what it needs and no more.
package manifests

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"

	"github.com/avi-l4-operator/avi-l4-operator/hack/cluster"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
)

const (
	namespace = "avi-l4-system"
	account   = "avi-l4-operator"
)

// root is the repository's, seen from this package's folder, where tests run.
var root = filepath.Join("..", "..")

// TestApply applies what an installation applies, in its order, to a real API server.
func TestApply(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	kustomize := tool(ctx, t, "kustomize")
	a := startAPIServer(ctx, t)

	t.Run("Gateway API", func(t *testing.T) {
		files, err := cluster.GatewayAPI(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, object := range decode(t, content) {
				a.apply(ctx, t, object)
			}
		}
	})
	// The samples need the optional CRDs. The trial comes last: it is the installation with the simulator added.
	for _, folder := range []string{"crd", "default", "components/services-api", "samples", "components/simulator", simulatorWithAll,
		withEverything, everythingOnOpenShift, "trial"} {
		t.Run(folder, func(t *testing.T) {
			objects := decode(t, run(ctx, t, kustomize, "build", filepath.Join(root, "config", filepath.FromSlash(folder))))
			if len(objects) == 0 {
				t.Fatal("nothing to apply")
			}
			for _, object := range objects {
				if folder == "samples" && object.GetNamespace() == "" {
					object.SetNamespace(metav1.NamespaceDefault) // as kubectl does
				}
				a.apply(ctx, t, object)
			}
		})
	}
	for _, file := range []string{"avi-k8s-config.yaml", "avi-secret.yaml"} {
		t.Run(file, func(t *testing.T) {
			for _, object := range decode(t, read(t, "config", "samples", file)) {
				a.apply(ctx, t, object)
			}
		})
	}
	t.Run("role", func(t *testing.T) { testRole(ctx, t, a.client, namespace, account) })
	t.Run("token-secret", func(t *testing.T) { // of withEverything
		patch := access{"patch", "", "secrets", namespace, settings.SecretName}
		if !allowed(ctx, t, a.client, namespace, account, patch) {
			t.Error("the operator may not write a renewed token")
		}
		if patch.name = "other"; allowed(ctx, t, a.client, namespace, account, patch) {
			t.Error("the operator may write another Secret")
		}
	})
}

// simulatorWithAll is the simulator with the components that can be added to it.
const simulatorWithAll = "../test/manifests/testdata/simulator"

// TestSimulatorIsClosed makes sure that nothing of the simulator is reachable from outside of the cluster, and that its
// control API is closed to pods without the label.
func TestSimulatorIsClosed(t *testing.T) {
	kustomize := tool(t.Context(), t, "kustomize")
	kinds := map[string]int{}
	for _, object := range decode(t, run(t.Context(), t, kustomize, "build", filepath.Join(root, "config", filepath.FromSlash(simulatorWithAll)))) {
		kinds[object.GetKind()]++
		if object.GetNamespace() != namespace {
			t.Errorf("%s %s is in namespace %q", object.GetKind(), object.GetName(), object.GetNamespace())
		}
		switch object.GetKind() {
		case "Service":
			if kind, _, _ := unstructured.NestedString(object.Object, "spec", "type"); kind != "ClusterIP" {
				t.Errorf("Service %s is of type %s", object.GetName(), kind)
			}
		case "NetworkPolicy":
			rules, _, _ := unstructured.NestedSlice(object.Object, "spec", "ingress")
			for _, rule := range rules {
				from, _, _ := unstructured.NestedSlice(rule.(map[string]any), "from")
				ports, _, _ := unstructured.NestedSlice(rule.(map[string]any), "ports")
				if len(from) == 0 || len(ports) != 1 {
					t.Errorf("a rule without peer or port: %v", rule)
				}
				label, _, _ := unstructured.NestedString(from[0].(map[string]any), "podSelector", "matchLabels", "avi-l4-simulator/control")
				if port := ports[0].(map[string]any)["port"]; port == "control" && label != "allowed" {
					t.Errorf("the control API is open: %v", rule)
				}
			}
		}
	}
	if kinds["Service"] != 2 || kinds["NetworkPolicy"] != 1 || kinds["Deployment"] != 1 || kinds["PersistentVolumeClaim"] != 1 ||
		kinds["ConfigMap"] != 1 {
		t.Errorf("objects by kind: %v", kinds)
	}
}

// TestInstalledCRDs makes sure that an installation has the CRDs under their own names, and none that belong to others.
func TestInstalledCRDs(t *testing.T) {
	kustomize := tool(t.Context(), t, "kustomize")
	tests := []struct {
		folder string
		want   []string
	}{
		{"crd", []string{"aviinfrasettings.ako.vmware.com", "l4rules.ako.vmware.com", "sctproutes.ako.vmware.com"}},
		{"default", []string{"aviinfrasettings.ako.vmware.com", "l4rules.ako.vmware.com", "sctproutes.ako.vmware.com"}},
		{"components/services-api", []string{"gatewayclasses.networking.x-k8s.io", "gateways.networking.x-k8s.io"}},
	}
	for _, test := range tests {
		var got []string
		for _, object := range decode(t,
			run(t.Context(), t, kustomize, "build", filepath.Join(root, "config", filepath.FromSlash(test.folder)))) {
			if object.GetKind() != "CustomResourceDefinition" {
				continue
			}
			got = append(got, object.GetName())
			if object.GetNamespace() != "" {
				t.Errorf("%s: %s is in namespace %s", test.folder, object.GetName(), object.GetNamespace())
			}
		}
		if slices.Sort(got); !slices.Equal(got, test.want) {
			t.Errorf("%s has the CRDs %v, want %v", test.folder, got, test.want)
		}
	}
}

// access is one thing to do. A subresource follows its resource after a slash.
type access struct{ verb, group, resource, namespace, name string }

// allowed asks the API server whether a service account may do something.
func allowed(ctx context.Context, t *testing.T, client kubernetes.Interface, namespace, account string, to access) bool {
	t.Helper()
	resource, subresource, _ := strings.Cut(to.resource, "/")
	answer, err := client.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{
		Spec: authorizationv1.SubjectAccessReviewSpec{
			User:   "system:serviceaccount:" + namespace + ":" + account,
			Groups: []string{"system:serviceaccounts", "system:serviceaccounts:" + namespace, "system:authenticated"},
			ResourceAttributes: &authorizationv1.ResourceAttributes{
				Verb: to.verb, Group: to.group, Resource: resource, Subresource: subresource, Namespace: to.namespace, Name: to.name,
			},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return answer.Status.Allowed
}

// testRole asks the API server what the service account of an installation may do.
func testRole(ctx context.Context, t *testing.T, client kubernetes.Interface, namespace, account string) {
	t.Helper()
	tests := []struct {
		verb, group, resource, namespace, name string
		allowed                                bool
	}{
		{"list", "", "services", "", "", true},
		{"watch", "", "services", "", "", true},
		{"patch", "", "services", "default", "server", true},
		{"patch", "", "services/status", "default", "server", true},
		{"delete", "", "services", "default", "server", false},
		{"create", "", "services", "default", "", false},
		{"list", "discovery.k8s.io", "endpointslices", "", "", true},
		{"patch", "discovery.k8s.io", "endpointslices", "default", "server-abc", false},
		{"list", "", "namespaces", "", "", true},
		{"patch", "", "namespaces", "", "default", false},
		{"create", "events.k8s.io", "events", "default", "", true},
		{"get", "", "configmaps", namespace, "avi-k8s-config", true},
		{"watch", "", "configmaps", namespace, "avi-k8s-config", true},
		{"get", "", "configmaps", namespace, "other", false},
		{"get", "", "secrets", namespace, "avi-secret", true},
		{"list", "", "secrets", namespace, "avi-secret", true},
		{"list", "", "secrets", namespace, "", false},
		{"list", "", "secrets", "", "", false},
		{"get", "", "secrets", "default", "avi-secret", false},
		{"update", "", "secrets", namespace, "avi-secret", false},
		{"create", "coordination.k8s.io", "leases", namespace, "", true},
		{"update", "coordination.k8s.io", "leases", namespace, "avi-l4-operator.ako.vmware.com", true},
		{"update", "coordination.k8s.io", "leases", namespace, "other", false},
		{"create", "authentication.k8s.io", "tokenreviews", "", "", true},
		{"create", "authorization.k8s.io", "subjectaccessreviews", "", "", true},
		{"watch", "", "nodes", "", "", true},
		{"patch", "", "nodes", "", "node-1", false},
		{"list", "", "pods", "", "", true},
		{"delete", "", "pods", "default", "server-1", false},
		{"watch", "apiextensions.k8s.io", "customresourcedefinitions", "", "", true},
		{"delete", "apiextensions.k8s.io", "customresourcedefinitions", "", "gateways.networking.x-k8s.io", false},
		{"watch", "ako.vmware.com", "aviinfrasettings", "", "", true},
		{"patch", "ako.vmware.com", "aviinfrasettings/status", "", "setting", true},
		{"patch", "ako.vmware.com", "aviinfrasettings", "", "setting", false},
		{"watch", "ako.vmware.com", "l4rules", "", "", true},
		{"watch", "ako.vmware.com", "healthmonitors", "", "", true},
		{"patch", "ako.vmware.com", "healthmonitors/status", "default", "monitor", false},
		{"patch", "ako.vmware.com", "l4rules/status", "default", "rule", true},
		{"patch", "ako.vmware.com", "l4rules", "default", "rule", false},
		{"patch", "networking.x-k8s.io", "gateways", "default", "gateway", true},
		{"patch", "networking.x-k8s.io", "gateways/status", "default", "gateway", true},
		{"delete", "networking.x-k8s.io", "gateways", "default", "gateway", false},
		{"patch", "networking.x-k8s.io", "gatewayclasses", "", "class", true},
		{"patch", "networking.x-k8s.io", "gatewayclasses/status", "", "class", true},
		{"escalate", "rbac.authorization.k8s.io", "clusterroles", "", "", false},
	}
	for _, test := range tests {
		// The authorizer's cache may be a moment behind what was just applied.
		for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(50 * time.Millisecond) {
			to := access{test.verb, test.group, test.resource, test.namespace, test.name}
			if allowed(ctx, t, client, namespace, account, to) == test.allowed {
				break
			}
			if time.Now().After(deadline) {
				t.Errorf("%+v: want allowed to be %t", to, test.allowed)
				break
			}
		}
	}
}

// TestGeneratedIsCurrent fails when a marker or a type was changed and `make generate` was not run.
func TestGeneratedIsCurrent(t *testing.T) {
	generator := tool(t.Context(), t, "controller-gen")
	stdout := func(args ...string) string {
		command := exec.CommandContext(t.Context(), generator, args...)
		command.Dir = root
		var stderr bytes.Buffer
		command.Stderr = &stderr
		out, err := command.Output()
		if err != nil {
			t.Fatalf("%s: %v: %s", args, err, stderr.Bytes())
		}
		return strings.TrimSpace(string(out))
	}
	same := func(file, want string) {
		if got := read(t, filepath.FromSlash(file)); strings.TrimSpace(string(got)) != want {
			t.Errorf("%s is not what the code says: run make generate\n%s", file, want)
		}
	}

	same("config/rbac/role.yaml", stdout("rbac:roleName=operator", "paths=./controllers/...", "output:rbac:stdout"))
	for _, types := range []string{"api/ako/v1alpha1", "api/ako/v1beta1", "api/networking/v1alpha1"} {
		same(types+"/zz_generated.deepcopy.go",
			stdout("object:headerFile=hack/boilerplate.go.txt", "paths=./"+types, "output:object:stdout"))
	}
	for _, crds := range []struct{ types, folder string }{
		{"./api/ako/...", "config/crd/bases"},
		{"./api/networking/...", "config/components/services-api"},
	} {
		generated := t.TempDir()
		stdout("crd", "paths="+crds.types, "output:crd:dir="+generated)
		files, err := os.ReadDir(generated)
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for _, file := range files {
			want = append(want, file.Name())
			content, err := os.ReadFile(filepath.Join(generated, file.Name()))
			if err != nil {
				t.Fatal(err)
			}
			same(crds.folder+"/"+file.Name(), strings.TrimSpace(string(content)))
		}
		got, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(crds.folder), "*_*.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		for i := range got {
			got[i] = filepath.Base(got[i])
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s has the files %v, and %v are generated", crds.folder, got, want)
		}
	}
}

// TestSettings parses the settings that people start from.
func TestSettings(t *testing.T) {
	for _, files := range [][]string{
		{"samples/avi-k8s-config.yaml", "samples/avi-secret.yaml"},
		{"trial/settings.yaml"},
	} {
		t.Run(files[0], func(t *testing.T) {
			config, secret := map[string]string{}, map[string][]byte{}
			for _, file := range files {
				for _, object := range decode(t, read(t, "config", filepath.FromSlash(file))) {
					if object.GetNamespace() != namespace {
						t.Errorf("%s is in namespace %q, want the operator's, %s", object.GetKind(), object.GetNamespace(), namespace)
					}
					switch object.GetKind() + " " + object.GetName() {
					case "ConfigMap " + settings.ConfigMapName:
						config, _, _ = unstructured.NestedStringMap(object.Object, "data")
					case "Secret " + settings.SecretName:
						secret = secretData(t, object)
					default:
						t.Errorf("unexpected %s %s", object.GetKind(), object.GetName())
					}
				}
			}
			parsed, _, err := settings.Parse(config, secret, namespace)
			if err != nil {
				t.Fatal(err)
			}
			if len(parsed.Ignored)+len(parsed.Unknown) > 0 {
				t.Errorf("keys without meaning: %v %v", parsed.Ignored, parsed.Unknown)
			}
		})
	}
}

func secretData(t *testing.T, object *unstructured.Unstructured) map[string][]byte {
	t.Helper()
	data := map[string][]byte{}
	plain, _, _ := unstructured.NestedStringMap(object.Object, "stringData")
	for key, value := range plain {
		data[key] = []byte(value)
	}
	encoded, _, _ := unstructured.NestedStringMap(object.Object, "data")
	for key, value := range encoded {
		decoded, err := base64.StdEncoding.DecodeString(value)
		if err != nil {
			t.Fatal(err)
		}
		data[key] = decoded
	}
	return data
}

// applier applies objects as `kubectl apply --server-side --validate=strict` does.
type applier struct {
	client   kubernetes.Interface
	dynamic  dynamic.Interface
	config   *rest.Config
	warnings *warnings
}

// warnings collects what the API server says besides its answer: deprecated fields, and pods that the namespace's
// security level would refuse.
type warnings struct {
	mu    sync.Mutex
	texts []string
}

func (w *warnings) HandleWarningHeader(_ int, _, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.texts = append(w.texts, text)
}

func (w *warnings) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	texts := w.texts
	w.texts = nil
	return texts
}

// startAPIServer starts an API server with its etcd, which end with the test.
func startAPIServer(ctx context.Context, t *testing.T) *applier {
	t.Helper()
	c, err := cluster.Start(ctx, cluster.Options{ControlPlaneOnly: true, Log: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	return newApplier(t, c.RESTConfig())
}

func newApplier(t *testing.T, config *rest.Config) *applier {
	t.Helper()
	a := &applier{config: config, warnings: &warnings{}}
	config.WarningHandler = a.warnings
	var err error
	if a.client, err = kubernetes.NewForConfig(config); err != nil {
		t.Fatal(err)
	}
	if a.dynamic, err = dynamic.NewForConfig(config); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *applier) apply(ctx context.Context, t *testing.T, object *unstructured.Unstructured) {
	t.Helper()
	name := fmt.Sprintf("%s %s/%s", object.GetKind(), object.GetNamespace(), object.GetName())
	applied, err := a.try(ctx, object)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	if texts := a.warnings.take(); len(texts) > 0 {
		t.Errorf("%s: warnings: %s", name, strings.Join(texts, "; "))
	}
	switch object.GetKind() {
	case "Deployment":
		a.admitPod(ctx, t, applied)
	case "CustomResourceDefinition":
		a.waitServed(ctx, t, applied)
	}
}

// try applies an object, or asks only whether it could be, and returns the API server's answer.
func (a *applier) try(ctx context.Context, object *unstructured.Unstructured, dryRun ...string) (*unstructured.Unstructured, error) {
	resource, err := a.resource(object)
	if err != nil {
		return nil, err
	}
	body, err := object.MarshalJSON()
	if err != nil {
		return nil, err
	}
	force := true
	return resource.Patch(ctx, object.GetName(), types.ApplyPatchType, body, metav1.PatchOptions{
		FieldManager: "test", Force: &force, FieldValidation: metav1.FieldValidationStrict, DryRun: dryRun,
	})
}

// admitPod has the API server check a Deployment's pod. Pod Security only warns about a Deployment and refuses its pods.
func (a *applier) admitPod(ctx context.Context, t *testing.T, deployment *unstructured.Unstructured) {
	t.Helper()
	if err := a.createPod(ctx, t, deployment); err != nil {
		t.Errorf("pod of Deployment %s/%s: %v", deployment.GetNamespace(), deployment.GetName(), err)
	}
	if texts := a.warnings.take(); len(texts) > 0 {
		t.Errorf("pod of Deployment %s: warnings: %s", deployment.GetName(), strings.Join(texts, "; "))
	}
}

// resource asks the server anew each time, because an object may be of a type that the one before it defined.
func (a *applier) resource(object *unstructured.Unstructured) (dynamic.ResourceInterface, error) {
	client, err := discovery.NewDiscoveryClientForConfig(a.config)
	if err != nil {
		return nil, err
	}
	groups, err := restmapper.GetAPIGroupResources(client)
	if err != nil {
		return nil, err
	}
	kind := object.GroupVersionKind()
	mapping, err := restmapper.NewDiscoveryRESTMapper(groups).RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		return nil, err
	}
	if mapping.Scope.Name() == "namespace" {
		if object.GetNamespace() == "" {
			return nil, errors.New("no namespace is given")
		}
		return a.dynamic.Resource(mapping.Resource).Namespace(object.GetNamespace()), nil
	}
	return a.dynamic.Resource(mapping.Resource), nil
}

// tool builds a development tool from its module, as make does, and returns its path.
func tool(ctx context.Context, t *testing.T, name string) string {
	t.Helper()
	bin, err := filepath.Abs(filepath.Join(root, "bin"))
	if err != nil {
		t.Fatal(err)
	}
	run(ctx, t, "go", "build", "-C", filepath.Join(root, "hack", "tools", name), "-o", bin+string(filepath.Separator), "tool")
	return filepath.Join(bin, name)
}

func run(ctx context.Context, t *testing.T, name string, args ...string) []byte {
	t.Helper()
	command := exec.CommandContext(ctx, name, args...)
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

func decode(t *testing.T, content []byte) (objects []*unstructured.Unstructured) {
	t.Helper()
	documents := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(content)))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return objects
		}
		if err != nil {
			t.Fatal(err)
		}
		object := &unstructured.Unstructured{}
		if err := yaml.UnmarshalStrict(document, &object.Object); err != nil {
			t.Fatal(err)
		}
		if len(object.Object) > 0 {
			objects = append(objects, object)
		}
	}
}
