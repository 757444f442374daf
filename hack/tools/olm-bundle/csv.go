// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/blang/semver/v4"
	"github.com/operator-framework/api/pkg/lib/version"
	operators "github.com/operator-framework/api/pkg/operators/v1alpha1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

// clusterServiceVersion fills in what config/ knows into what is written in clusterserviceversion.yaml.
func (in *input) clusterServiceVersion(o options) (*operators.ClusterServiceVersion, error) {
	content, err := os.ReadFile(filepath.Join(o.config, "clusterserviceversion.yaml"))
	if err != nil {
		return nil, err
	}
	csv := &operators.ClusterServiceVersion{}
	if err := yaml.UnmarshalStrict(content, csv); err != nil {
		return nil, fmt.Errorf("clusterserviceversion.yaml: %w", err)
	}
	number, err := semver.Parse(o.version)
	if err != nil {
		return nil, err
	}
	csv.Name = packageName + ".v" + o.version
	csv.Spec.Version = version.OperatorVersion{Version: number}
	icon, err := os.ReadFile(filepath.Join(o.config, "icon.svg"))
	if err != nil {
		return nil, err
	}
	csv.Spec.Icon = []operators.Icon{{Data: base64.StdEncoding.EncodeToString(icon), MediaType: "image/svg+xml"}}
	csv.Spec.RelatedImages = []operators.RelatedImage{{Name: packageName, Image: o.image}}
	if err := in.install(o, csv); err != nil {
		return nil, err
	}
	if err := in.describe(csv); err != nil {
		return nil, err
	}
	return csv, in.annotate(o, csv)
}

// install has the Operator Lifecycle Manager run the Deployment with the rights that the bindings give its account.
func (in *input) install(o options, csv *operators.ClusterServiceVersion) error {
	deployment := in.deployments[0]
	containers := deployment.Spec.Template.Spec.Containers
	if len(containers) != 1 {
		return fmt.Errorf("the pod has %d containers, and one image is known", len(containers))
	}
	containers[0].Image = o.image
	if deployment.Spec.Template.Labels == nil {
		deployment.Spec.Template.Labels = map[string]string{}
	}
	for _, labels := range []map[string]string{deployment.Labels, deployment.Spec.Template.Labels} {
		labels["app.kubernetes.io/version"] = o.version
	}
	cluster, err := in.clusterRights()
	if err != nil {
		return err
	}
	own, err := in.ownRights()
	if err != nil {
		return err
	}
	csv.Spec.InstallStrategy = operators.NamedInstallStrategy{
		StrategyName: operators.InstallStrategyNameDeployment,
		StrategySpec: operators.StrategyDetailsDeployment{
			DeploymentSpecs: []operators.StrategyDeploymentSpec{{
				Name: deployment.Name, Spec: deployment.Spec, Label: deployment.Labels,
			}},
			ClusterPermissions: cluster, Permissions: own,
		},
	}
	return nil
}

// clusterRights are those of the account in all namespaces. The cluster roles that are bound become part of the
// ClusterServiceVersion, and so are not put into the bundle by themselves.
func (in *input) clusterRights() ([]operators.StrategyDeploymentPermissions, error) {
	var rules []rbacv1.PolicyRule
	for _, binding := range in.clusterBindings {
		add, ok := in.clusterRoles[binding.RoleRef.Name]
		if !ok {
			return nil, fmt.Errorf("ClusterRoleBinding %s binds a role that is not here", binding.Name)
		}
		if err := in.isAccount(binding.Subjects); err != nil {
			return nil, fmt.Errorf("ClusterRoleBinding %s: %w", binding.Name, err)
		}
		rules = append(rules, add...)
		for i, object := range in.others {
			if object.GetKind() == "ClusterRole" && object.GetName() == binding.RoleRef.Name {
				in.others = slices.Delete(in.others, i, i+1)
				break
			}
		}
	}
	return []operators.StrategyDeploymentPermissions{{ServiceAccountName: in.accounts[0].Name, Rules: rules}}, nil
}

// ownRights are those of the account in the operator's own namespace.
func (in *input) ownRights() ([]operators.StrategyDeploymentPermissions, error) {
	var rules []rbacv1.PolicyRule
	for _, binding := range in.bindings {
		add, ok := in.roles[binding.RoleRef.Name]
		if !ok {
			return nil, fmt.Errorf("RoleBinding %s binds a role that is not here", binding.Name)
		}
		if err := in.isAccount(binding.Subjects); err != nil {
			return nil, fmt.Errorf("RoleBinding %s: %w", binding.Name, err)
		}
		rules = append(rules, add...)
	}
	return []operators.StrategyDeploymentPermissions{{ServiceAccountName: in.accounts[0].Name, Rules: rules}}, nil
}

func (in *input) isAccount(subjects []rbacv1.Subject) error {
	if len(subjects) != 1 || subjects[0].Kind != rbacv1.ServiceAccountKind || subjects[0].Name != in.accounts[0].Name {
		return fmt.Errorf("it is for %v, where only the operator's account has rights", subjects)
	}
	return nil
}

// describe lists every version of every CRD with its fields.
func (in *input) describe(csv *operators.ClusterServiceVersion) error {
	written := map[string]operators.CRDDescription{}
	for _, d := range csv.Spec.CustomResourceDefinitions.Owned {
		written[d.Name] = d
	}
	csv.Spec.CustomResourceDefinitions.Owned = nil
	for _, crd := range in.crds {
		base, ok := written[crd.Name]
		if !ok {
			return fmt.Errorf("clusterserviceversion.yaml says nothing of %s", crd.Name)
		}
		delete(written, crd.Name)
		for _, v := range crd.Spec.Versions {
			d := base
			schema := v.Schema.OpenAPIV3Schema
			d.Version, d.Description = v.Name, schema.Description
			for _, f := range fields("", schema.Properties["spec"]) {
				d.SpecDescriptors = append(d.SpecDescriptors, operators.SpecDescriptor(f))
			}
			for _, f := range fields("", schema.Properties["status"]) {
				d.StatusDescriptors = append(d.StatusDescriptors, operators.StatusDescriptor(f))
			}
			csv.Spec.CustomResourceDefinitions.Owned = append(csv.Spec.CustomResourceDefinitions.Owned, d)
		}
	}
	if len(written) > 0 {
		return fmt.Errorf("clusterserviceversion.yaml describes what is not here: %v", written)
	}
	return nil
}

// fields are descriptors of an object's fields, sorted by path. Objects inside are gone into; lists are described as a whole.
func fields(path string, schema apiextensionsv1.JSONSchemaProps) (all []operators.SpecDescriptor) {
	for name, property := range schema.Properties {
		at := strings.TrimPrefix(path+"."+name, ".")
		if len(property.Properties) > 0 {
			all = append(all, fields(at, property)...)
			continue
		}
		all = append(all, operators.SpecDescriptor{
			Path: at, DisplayName: words(name), Description: property.Description, XDescriptors: controls(name, property),
		})
	}
	slices.SortFunc(all, func(a, b operators.SpecDescriptor) int { return cmp.Compare(a.Path, b.Path) })
	return all
}

// words makes a title of a field's name: vipNetworks is "Vip networks", enablePublicIP is "Enable public IP".
func words(name string) string {
	var b strings.Builder
	for i := range len(name) {
		letter, capital := name[i:i+1], name[i] >= 'A' && name[i] <= 'Z'
		switch {
		case i == 0:
			letter = strings.ToUpper(letter)
		case capital && name[i-1] >= 'a' && name[i-1] <= 'z':
			b.WriteByte(' ')
			if i+1 < len(name) && name[i+1] >= 'a' && name[i+1] <= 'z' {
				letter = strings.ToLower(letter)
			}
		}
		b.WriteString(letter)
	}
	return b.String()
}

// controls are how a console shows and asks for a field.
func controls(name string, schema apiextensionsv1.JSONSchemaProps) []string {
	const ui = "urn:alm:descriptor:com.tectonic.ui:"
	switch {
	case name == "conditions":
		return []string{"urn:alm:descriptor:io.kubernetes.conditions"}
	case len(schema.Enum) > 0:
		var all []string
		for _, value := range schema.Enum {
			all = append(all, ui+"select:"+strings.Trim(string(value.Raw), `"`))
		}
		return all
	case schema.Type == "boolean":
		return []string{ui + "booleanSwitch"}
	case schema.Type == "integer":
		return []string{ui + "number"}
	case schema.Type == "string":
		return []string{ui + "text"}
	}
	return nil
}

// annotate adds the annotations that depend on the release, and the examples.
func (in *input) annotate(o options, csv *operators.ClusterServiceVersion) error {
	var examples []map[string]any
	for _, owned := range csv.Spec.CustomResourceDefinitions.Owned {
		_, group, _ := strings.Cut(owned.Name, ".")
		for _, sample := range in.samples {
			_, says := sample.Object["spec"] // one without shows nothing, and the validation misses those that have no example
			if says && sample.GetKind() == owned.Kind && sample.GetAPIVersion() == group+"/"+owned.Version {
				examples = append(examples, sample.Object)
				break
			}
		}
	}
	text, err := json.MarshalIndent(examples, "", "  ")
	if err != nil {
		return err
	}
	csv.Annotations["alm-examples"] = string(text)
	csv.Annotations["containerImage"] = o.image
	csv.Annotations["createdAt"] = in.created
	// A mirror of a disconnected cluster finds images by their digests.
	csv.Annotations["features.operators.openshift.io/disconnected"] = fmt.Sprint(strings.Contains(o.image, "@sha256:"))
	return nil
}
