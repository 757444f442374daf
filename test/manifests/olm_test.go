// SPDX-License-Identifier: Apache-2.0

package manifests

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	programversion "github.com/avi-l4-operator/avi-l4-operator/internal/version"
)

// clusterServiceVersion is what the test reads of one. The types are in a module that the operator does not depend on.
type clusterServiceVersion struct {
	Metadata metav1.ObjectMeta
	Spec     struct {
		Version, MinKubeVersion string
		InstallModes            []struct {
			Type      string
			Supported bool
		}
		RelatedImages []struct{ Image string }
		Install       struct {
			Strategy string
			Spec     struct {
				Permissions, ClusterPermissions []struct {
					ServiceAccountName string
					Rules              []any
				}
				Deployments []struct {
					Name  string
					Label map[string]string
					Spec  map[string]any
				}
			}
		}
		CustomResourceDefinitions struct {
			Owned []struct {
				Name, Version, Kind, DisplayName, Description string
				SpecDescriptors, StatusDescriptors            []struct{ Path, DisplayName, Description string }
				Resources                                     []struct{ Kind string }
			}
		}
	}
}

// bundle reads the bundle that is checked in: `make verify` makes sure that it is the one that config/ gives.
func bundle(t *testing.T) (csv clusterServiceVersion, others []*unstructured.Unstructured) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "bundle", "manifests", "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d manifests: %v", len(files), err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, object := range decode(t, content) {
			if object.GetNamespace() != "" {
				t.Errorf("%s names a namespace", identity(object))
			}
			if object.GetKind() != "ClusterServiceVersion" {
				others = append(others, object)
				continue
			}
			text, err := object.MarshalJSON()
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(text, &csv); err != nil {
				t.Fatal(err)
			}
		}
	}
	if csv.Spec.Version != programversion.Number() {
		t.Fatalf("the bundle is of version %q, the operator %q", csv.Spec.Version, programversion.Number())
	}
	return csv, others
}

// TestBundle does what the Operator Lifecycle Manager does in every mode that the bundle supports, and looks whether the
// operator has its rights, its pod is admitted and every example is taken.
func TestBundle(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	csv, others := bundle(t)
	a := startAPIServer(ctx, t)
	a.enforceRestrictedV2(ctx, t)

	supported := 0
	for _, mode := range csv.Spec.InstallModes {
		if !mode.Supported {
			continue
		}
		supported++
		if mode.Type != "AllNamespaces" {
			t.Errorf("install mode %s is supported, and nothing tests it", mode.Type)
			continue
		}
		// The one that the bundle suggests, and the one in which OpenShift installs what watches all namespaces.
		for _, namespace := range []string{csv.Metadata.Annotations["operatorframework.io/suggested-namespace"], "openshift-operators"} {
			t.Run(mode.Type+" in "+namespace, func(t *testing.T) {
				a.installAsOLM(ctx, t, csv, others, namespace)
				testRole(ctx, t, a.client, namespace, account)
			})
		}
	}
	if supported == 0 {
		t.Error("no install mode is supported")
	}
	t.Run("examples", func(t *testing.T) { testExamples(ctx, t, a, csv) })
}

// installAsOLM applies what the Operator Lifecycle Manager makes of a bundle, for an OperatorGroup without target namespaces.
func (a *applier) installAsOLM(
	ctx context.Context, t *testing.T, csv clusterServiceVersion, others []*unstructured.Unstructured, namespace string,
) {
	t.Helper()
	object := func(apiVersion, kind, name, namespace string, more map[string]any) *unstructured.Unstructured {
		o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": apiVersion, "kind": kind}}
		o.SetName(name)
		o.SetNamespace(namespace)
		maps.Copy(o.Object, more)
		return o
	}
	home := object("v1", "Namespace", namespace, "", nil)
	onOpenShift(home)
	a.apply(ctx, t, home)
	for _, other := range others {
		other = other.DeepCopy()
		if other.GetKind() == "Service" || other.GetKind() == "PodDisruptionBudget" {
			other.SetNamespace(namespace)
		}
		a.apply(ctx, t, other)
	}
	const rbac = "rbac.authorization.k8s.io/v1"
	install := csv.Spec.Install.Spec
	for _, permission := range slices.Concat(install.ClusterPermissions, install.Permissions) {
		a.apply(ctx, t, object("v1", "ServiceAccount", permission.ServiceAccountName, namespace, nil))
	}
	bind := func(kind, in, name, account string, rules []any) {
		a.apply(ctx, t, object(rbac, kind, name, in, map[string]any{"rules": rules}))
		a.apply(ctx, t, object(rbac, kind+"Binding", name, in, map[string]any{
			"roleRef":  map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name},
			"subjects": []any{map[string]any{"kind": "ServiceAccount", "name": account, "namespace": namespace}},
		}))
	}
	for i, permission := range install.ClusterPermissions {
		bind("ClusterRole", "", fmt.Sprintf("%s-%s-%d", csv.Metadata.Name, namespace, i), permission.ServiceAccountName, permission.Rules)
	}
	for i, permission := range install.Permissions {
		bind("Role", namespace, fmt.Sprintf("%s-%d", csv.Metadata.Name, i), permission.ServiceAccountName, permission.Rules)
	}
	for _, d := range install.Deployments {
		spec := runtime.DeepCopyJSON(d.Spec)
		// Every pod is told which namespaces its operator is for: here all of them.
		if err := unstructured.SetNestedField(spec, "", "template", "metadata", "annotations", "olm.targetNamespaces"); err != nil {
			t.Fatal(err)
		}
		deployment := object("apps/v1", "Deployment", d.Name, namespace, map[string]any{"spec": spec})
		deployment.SetLabels(d.Label)
		a.apply(ctx, t, deployment) // has its pod admitted as well
	}
}

// testExamples has the API server look at each example: the consoles offer them to be created.
func testExamples(ctx context.Context, t *testing.T, a *applier, csv clusterServiceVersion) {
	var examples []map[string]any
	if err := json.Unmarshal([]byte(csv.Metadata.Annotations["alm-examples"]), &examples); err != nil {
		t.Fatal(err)
	}
	missing := map[string]bool{}
	for _, owned := range csv.Spec.CustomResourceDefinitions.Owned {
		missing[owned.Kind+" "+owned.Version] = true
		if len(owned.SpecDescriptors) == 0 || len(owned.StatusDescriptors) == 0 || len(owned.Resources) == 0 {
			t.Errorf("%s %s is not described", owned.Kind, owned.Version)
		}
		for _, field := range slices.Concat(owned.SpecDescriptors, owned.StatusDescriptors) {
			if field.DisplayName == "" || field.Description == "" {
				t.Errorf("%s %s: field %s has no name or no description", owned.Kind, owned.Version, field.Path)
			}
		}
	}
	for _, example := range examples {
		object := &unstructured.Unstructured{Object: example}
		delete(missing, object.GetKind()+" "+object.GroupVersionKind().Version)
		if object.GetKind() != "AviInfraSetting" {
			object.SetNamespace(metav1.NamespaceDefault) // a console fills in the one that is looked at
		}
		if _, err := a.try(ctx, object, metav1.DryRunAll); err != nil {
			t.Errorf("example %s: %v", identity(object), err)
		}
	}
	if len(missing) > 0 {
		t.Errorf("there is no example of %v", slices.Collect(maps.Keys(missing)))
	}
}

// TestBundleIsTheInstallation makes sure that OLM runs the pod that kustomize does, but for what each says of itself.
func TestBundleIsTheInstallation(t *testing.T) {
	csv, _ := bundle(t)
	for _, object := range build(t, "default") {
		if object.GetKind() != "Deployment" {
			continue
		}
		want := object.Object["spec"].(map[string]any)
		got := csv.Spec.Install.Spec.Deployments[0].Spec
		delete(got, "strategy") // empty
		for _, spec := range []map[string]any{want, got} {
			unstructured.RemoveNestedField(spec, "template", "metadata", "labels", "app.kubernetes.io/managed-by")
			unstructured.RemoveNestedField(spec, "template", "metadata", "labels", "app.kubernetes.io/version")
			unstructured.RemoveNestedField(spec, "template", "metadata", "annotations", "openshift.io/required-scc")
			containers, _, _ := unstructured.NestedSlice(spec, "template", "spec", "containers")
			image, _, _ := strings.Cut(containers[0].(map[string]any)["image"].(string), ":")
			containers[0].(map[string]any)["image"] = image
			if err := unstructured.SetNestedSlice(spec, containers, "template", "spec", "containers"); err != nil {
				t.Fatal(err)
			}
		}
		text := func(value any) (plain any) {
			encoded, err := json.Marshal(value)
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(encoded, &plain); err != nil {
				t.Fatal(err)
			}
			return plain
		}
		if diff := cmp.Diff(text(want), text(got)); diff != "" {
			t.Errorf("the Deployment (-kustomize +bundle):\n%s", diff)
		}
		return
	}
	t.Error("there is no Deployment")
}
