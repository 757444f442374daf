// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/operator-framework/api/pkg/manifests"
	"github.com/operator-framework/operator-registry/alpha/declcfg"
)

// rendered is a small operator, as kustomize would render one.
const rendered = `
{apiVersion: v1, kind: ServiceAccount, metadata: {name: o, namespace: ns}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: o, namespace: ns, labels: {a: b}}
spec:
  selector: {matchLabels: {a: b}}
  template:
    metadata: {labels: {a: b}}
    spec:
      serviceAccountName: o
      containers: [{name: c, image: "i:latest", resources: {requests: {cpu: 1m, memory: 1Mi}}}]
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: o}, rules: [{apiGroups: [""], resources: [services], verbs: [list]}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: u}, rules: [{apiGroups: [g.io], resources: [as], verbs: [create]}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: o, namespace: ns}, rules: [{apiGroups: [""], resources: [secrets], verbs: [get]}]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: o}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: o}
subjects: [{kind: ServiceAccount, name: o, namespace: ns}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: o, namespace: ns}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: o}
subjects: [{kind: ServiceAccount, name: o, namespace: ns}]
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: as.g.io}
spec:
  group: g.io
  names: {kind: A, listKind: AList, plural: as, singular: a}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        description: An A.
        properties:
          spec:
            type: object
            properties:
              enablePublicIP: {type: boolean, description: Whether.}
              in: {type: object, properties: {size: {type: string, enum: [S, L]}}}
`

// written is what somebody has to say of it.
const written = `
apiVersion: operators.coreos.com/v1alpha1
kind: ClusterServiceVersion
metadata:
  name: o
  annotations: {capabilities: Basic Install, categories: Networking, description: An operator.}
spec:
  displayName: O
  description: An operator.
  minKubeVersion: 1.29.0
  provider: {name: P}
  installModes: [{type: AllNamespaces, supported: true}]
  customresourcedefinitions: {owned: [{name: as.g.io, kind: A, version: "", displayName: A}]}
`

// begin writes the input to a folder, changed as a test wants it.
func begin(t *testing.T, changes ...string) options {
	t.Helper()
	dir := t.TempDir()
	files := map[string]string{
		"rendered.yaml":              rendered,
		"clusterserviceversion.yaml": written,
		"examples.yaml":              "{apiVersion: g.io/v1, kind: A, metadata: {name: a}, spec: {enablePublicIP: true}}",
		"scorecard.yaml":             "{apiVersion: scorecard.operatorframework.io/v1alpha3, kind: Configuration, metadata: {name: config}}",
		"icon.svg":                   "<svg/>",
		"CHANGELOG.md":               "## [0.2.0] - 2026-02-02\n\n## [0.1.0] - 2026-01-01\n",
	}
	for name, text := range files {
		if err := write(filepath.Join(dir, name), []byte(strings.NewReplacer(changes...).Replace(text))); err != nil {
			t.Fatal(err)
		}
	}
	return options{
		rendered: filepath.Join(dir, "rendered.yaml"), config: dir, samples: filepath.Join(dir, "samples"),
		changelog: filepath.Join(dir, "CHANGELOG.md"), version: "0.1.0", image: "o:0.1.0", bundleImage: "b:0.1.0",
		bundle: filepath.Join(dir, "bundle"), catalog: filepath.Join(dir, "catalog"),
		dockerfile: filepath.Join(dir, "bundle.Dockerfile"), openShiftVersions: "v4.16",
	}
}

func TestReleases(t *testing.T) {
	o := begin(t)
	stale := filepath.Join(o.bundle, "manifests", "stale.yaml")
	if err := write(stale, []byte("{}")); err != nil {
		t.Fatal(err)
	}
	catalog := filepath.Join(o.catalog, packageName, "catalog.yaml")
	var once []byte
	for i, version := range []string{"0.1.0", "0.2.0", "0.2.0"} {
		o.version, o.image = version, "o:"+version
		if err := run(o); err != nil {
			t.Fatal(err)
		}
		now, err := os.ReadFile(catalog)
		if err != nil {
			t.Fatal(err)
		}
		if i == 2 && string(now) != string(once) {
			t.Errorf("the second time the catalog differs:\n%s\n%s", once, now)
		}
		once = now
	}
	if _, err := os.Stat(stale); !os.IsNotExist(err) {
		t.Errorf("a file of an older bundle is still there: %v", err)
	}
	c, err := declcfg.LoadFS(context.Background(), os.DirFS(o.catalog))
	if err != nil {
		t.Fatal(err)
	}
	entries := c.Channels[0].Entries
	if len(c.Bundles) != 2 || len(entries) != 2 || entries[0].Replaces != "" || entries[1].Name != "avi-l4-operator.v0.2.0" ||
		entries[1].Replaces != "avi-l4-operator.v0.1.0" {
		t.Errorf("%d bundles and the entries %+v", len(c.Bundles), entries)
	}
}

func TestContent(t *testing.T) {
	o := begin(t)
	o.image = "o@sha256:0"
	if err := run(o); err != nil {
		t.Fatal(err)
	}
	bundle, err := manifests.GetBundleFromDir(o.bundle)
	if err != nil {
		t.Fatal(err)
	}
	csv := bundle.CSV
	install := csv.Spec.InstallStrategy.StrategySpec
	owned := csv.Spec.CustomResourceDefinitions.Owned
	var kinds []string
	for _, object := range bundle.Objects {
		kinds = append(kinds, object.GetKind()+" "+object.GetName())
	}
	for _, test := range []struct{ what, got, want string }{
		{"image", install.DeploymentSpecs[0].Spec.Template.Spec.Containers[0].Image, "o@sha256:0"},
		{"related image", csv.Spec.RelatedImages[0].Image, "o@sha256:0"},
		{"disconnected", csv.Annotations["features.operators.openshift.io/disconnected"], "true"},
		{"date", csv.Annotations["createdAt"], "2026-01-01T00:00:00Z"},
		{"right in all namespaces", install.ClusterPermissions[0].Rules[0].Resources[0], "services"},
		{"right in its own", install.Permissions[0].Rules[0].Resources[0], "secrets"},
		{"account", install.Permissions[0].ServiceAccountName, "o"},
		{"version and description", owned[0].Version + " " + owned[0].Description, "v1 An A."},
		{"field", owned[0].SpecDescriptors[0].Path + ": " + owned[0].SpecDescriptors[0].DisplayName, "enablePublicIP: Enable public IP"},
		{"field inside", owned[0].SpecDescriptors[1].Path + " " + strings.Join(owned[0].SpecDescriptors[1].XDescriptors, " "),
			"in.size urn:alm:descriptor:com.tectonic.ui:select:S urn:alm:descriptor:com.tectonic.ui:select:L"},
		// The role that is bound is a part of the ClusterServiceVersion, and so is not here.
		{"objects", strings.Join(kinds, ", "), "ClusterServiceVersion avi-l4-operator.v0.1.0, CustomResourceDefinition as.g.io, ClusterRole u"},
	} {
		if test.got != test.want {
			t.Errorf("%s: got %q, want %q", test.what, test.got, test.want)
		}
	}
}

func TestRefusals(t *testing.T) {
	for _, test := range []struct{ change, into, problem string }{
		{"kind: ServiceAccount", "kind: ConfigMap", "ConfigMap o: a bundle has no place for this kind"},
		{"apiVersion: apps/v1", "{apiVersion: v1, kind: ServiceAccount, metadata: {name: p}}\n---\napiVersion: apps/v1",
			"1 Deployments and 2 service accounts"},
		{"subjects: [{kind: ServiceAccount, name: o", "subjects: [{kind: ServiceAccount, name: other", "where only the operator's account has rights"},
		{"kind: ClusterRole, name: o}", "kind: ClusterRole, name: other}", "binds a role that is not here"},
		{"containers: [", "containers: [{name: second, image: j}, ", "the pod has 2 containers"},
		{"## [0.1.0]", "## [0.1.1]", "has no date of version 0.1.0"},
		{"{name: as.g.io, kind: A, version", "{name: bs.g.io, kind: B, version", "says nothing of as.g.io"},
		{"displayName: O", "title: O", "unknown field"},
		// What follows is for the operator framework's validators to find.
		{"kind: A, metadata: {name: a}", "kind: B, metadata: {name: a}", "example annotation"},
		{"minKubeVersion: 1.29.0", "minKubeVersion: new", "MinKubeVersion has an invalid value"},
		{"categories: Networking", "categories: Bridges", "is not in the set of standard categories"},
		{"capabilities: Basic Install", "capabilities: All", "is not a valid capabilities level"},
		{"description: An A.", "title: A", "has an empty description"},
		{"installModes: [{type: AllNamespaces, supported: true}]", "installModes: []", "install modes not found"},
		{"kind: A, listKind", "kind: C, listKind", "not found in bundle"},
	} {
		if err := run(begin(t, test.change, test.into)); err == nil || !strings.Contains(err.Error(), test.problem) {
			t.Errorf("%s: got %v, want %q", test.into, err, test.problem)
		}
	}
}

// TestCatalogIsRead makes sure that a catalog is looked at by the registry's own code: a version that no channel has is one of
// many things that it finds.
func TestCatalogIsRead(t *testing.T) {
	o := begin(t)
	if err := run(o); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(o.catalog, packageName, "catalog.yaml")
	content, err := os.ReadFile(filepath.Clean(file))
	if err != nil {
		t.Fatal(err)
	}
	bad := strings.Replace(string(content), "- name: avi-l4-operator.v0.1.0\n", "- name: avi-l4-operator.v9\n", 1)
	if err := write(file, []byte(bad)); err != nil {
		t.Fatal(err)
	}
	if err := validateCatalog(o.catalog); err == nil || !strings.Contains(err.Error(), "not found in any channel entries") {
		t.Errorf("got %v, want a complaint about the entry", err)
	}
}
