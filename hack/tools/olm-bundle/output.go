// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/blang/semver/v4"
	"github.com/operator-framework/api/pkg/manifests"
	operators "github.com/operator-framework/api/pkg/operators/v1alpha1"
	"github.com/operator-framework/api/pkg/validation"
	interfaces "github.com/operator-framework/api/pkg/validation/interfaces"
	"github.com/operator-framework/operator-registry/alpha/declcfg"
	"github.com/operator-framework/operator-registry/alpha/property"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

const generated = "# SPDX-License-Identifier: Apache-2.0\n\n# Generated from config/olm by `make bundle`.\n"

// annotations are those of the bundle, which a file of it and its image carry.
func annotations(o options) [][2]string {
	const prefix = "operators.operatorframework.io."
	return [][2]string{
		{prefix + "bundle.mediatype.v1", "registry+v1"},
		{prefix + "bundle.manifests.v1", "manifests/"},
		{prefix + "bundle.metadata.v1", "metadata/"},
		{prefix + "bundle.package.v1", packageName},
		{prefix + "bundle.channels.v1", channel},
		{prefix + "bundle.channel.default.v1", channel},
		{prefix + "test.mediatype.v1", "scorecard+v1"},
		{prefix + "test.config.v1", "tests/scorecard/"},
		{"com.redhat.openshift.versions", o.openShiftVersions},
	}
}

// writeBundle writes the bundle anew, so that nothing of an older one stays in it.
func writeBundle(o options, in *input, csv *operators.ClusterServiceVersion) error {
	if err := os.RemoveAll(o.bundle); err != nil {
		return err
	}
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(csv)
	if err != nil {
		return err
	}
	delete(object, "status")
	scorecard, err := os.ReadFile(filepath.Join(o.config, "scorecard.yaml"))
	if err != nil {
		return err
	}
	file := &strings.Builder{}
	image := &strings.Builder{}
	fmt.Fprint(image, generated, "FROM scratch\n")
	fmt.Fprint(file, generated, "annotations:\n")
	for _, a := range annotations(o) {
		fmt.Fprintf(file, "  %s: %s\n", a[0], a[1])
		fmt.Fprintf(image, "LABEL %s=%s\n", a[0], a[1])
	}
	fmt.Fprint(image, "COPY bundle/manifests /manifests/\nCOPY bundle/metadata /metadata/\nCOPY bundle/tests/scorecard /tests/scorecard/\n")
	files := map[string][]byte{
		"metadata/annotations.yaml":   []byte(file.String()),
		"tests/scorecard/config.yaml": scorecard,
	}
	manifests := slices.Concat(in.others, []*unstructured.Unstructured{{Object: object}})
	for _, manifest := range manifests {
		content, err := yaml.Marshal(withoutNulls(manifest.Object))
		if err != nil {
			return err
		}
		name := "manifests/" + fileName(manifest)
		if _, twice := files[name]; twice {
			return fmt.Errorf("two objects would be written to %s", name)
		}
		files[name] = append([]byte(generated), content...)
	}
	for name, content := range files {
		if err := write(filepath.Join(o.bundle, filepath.FromSlash(name)), content); err != nil {
			return err
		}
	}
	return write(o.dockerfile, []byte(image.String()))
}

// fileName is the name that operator-sdk would give.
func fileName(object *unstructured.Unstructured) string {
	switch kind := object.GroupVersionKind(); kind.Kind {
	case operators.ClusterServiceVersionKind:
		return packageName + ".clusterserviceversion.yaml"
	case "CustomResourceDefinition":
		plural, group, _ := strings.Cut(object.GetName(), ".")
		return group + "_" + plural + ".yaml"
	default:
		parts := []string{object.GetName(), kind.Group, kind.Version, strings.ToLower(kind.Kind)}
		return strings.Join(slices.DeleteFunc(parts, func(part string) bool { return part == "" }), "_") + ".yaml"
	}
}

// withoutNulls removes what Kubernetes' types write for a time that is not set.
func withoutNulls(value any) any {
	switch v := value.(type) {
	case map[string]any:
		for key, item := range v {
			if item == nil {
				delete(v, key)
				continue
			}
			v[key] = withoutNulls(item)
		}
	case []any:
		for i := range v {
			v[i] = withoutNulls(v[i])
		}
	}
	return value
}

// write makes a file that everybody may read, because images are made of it.
func write(file string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, content, 0o644)
}

// writeCatalog puts this version into the catalog. Other versions stay, each replacing the one before it.
func writeCatalog(o options, csv *operators.ClusterServiceVersion) error {
	file := filepath.Join(o.catalog, packageName, "catalog.yaml")
	before := &declcfg.DeclarativeConfig{}
	if content, err := os.ReadFile(filepath.Clean(file)); err == nil {
		if before, err = declcfg.LoadReader(bytes.NewReader(content)); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	} else if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	bundles := slices.DeleteFunc(before.Bundles, func(b declcfg.Bundle) bool { return b.Name == csv.Name })
	bundles = append(bundles, offer(o, csv))
	slices.SortFunc(bundles, func(a, b declcfg.Bundle) int {
		return cmp.Or(number(a).Compare(number(b)), cmp.Compare(a.Name, b.Name))
	})
	entries := make([]declcfg.ChannelEntry, 0, len(bundles))
	for i, bundle := range bundles {
		entry := declcfg.ChannelEntry{Name: bundle.Name}
		if i > 0 {
			entry.Replaces = bundles[i-1].Name
		}
		entries = append(entries, entry)
	}
	icon, err := os.ReadFile(filepath.Join(o.config, "icon.svg"))
	if err != nil {
		return err
	}
	out := &bytes.Buffer{}
	if err := declcfg.WriteYAML(declcfg.DeclarativeConfig{
		Packages: []declcfg.Package{{
			Schema: declcfg.SchemaPackage, Name: packageName, DefaultChannel: channel, Description: csv.Annotations["description"],
			Icon: &declcfg.Icon{Data: icon, MediaType: "image/svg+xml"},
		}},
		Channels: []declcfg.Channel{{Schema: declcfg.SchemaChannel, Package: packageName, Name: channel, Entries: entries}},
		Bundles:  bundles,
	}, out); err != nil {
		return err
	}
	// The first line would make a document of the comment, and one without content is no catalog.
	return write(file, append([]byte(generated), bytes.TrimPrefix(out.Bytes(), []byte("---\n"))...))
}

// offer is this version's entry: what `opm render` makes of the bundle's image.
func offer(o options, csv *operators.ClusterServiceVersion) declcfg.Bundle {
	properties := []property.Property{property.MustBuildPackage(packageName, o.version)}
	for _, owned := range csv.Spec.CustomResourceDefinitions.Owned {
		_, group, _ := strings.Cut(owned.Name, ".")
		properties = append(properties, property.MustBuildGVK(group, owned.Version, owned.Kind))
	}
	properties = append(properties, property.MustBuildCSVMetadata(*csv))
	images := []declcfg.RelatedImage{{Name: "", Image: o.bundleImage}}
	for _, image := range csv.Spec.RelatedImages {
		images = append(images, declcfg.RelatedImage(image))
	}
	return declcfg.Bundle{
		Schema: declcfg.SchemaBundle, Name: csv.Name, Package: packageName, Image: o.bundleImage,
		Properties: properties, RelatedImages: images,
	}
}

// number is a bundle's version. One without sorts first, and the catalog's validation refuses it.
func number(b declcfg.Bundle) semver.Version {
	for _, p := range b.Properties {
		var pkg property.Package
		if p.Type == property.TypePackage && json.Unmarshal(p.Value, &pkg) == nil {
			if parsed, err := semver.Parse(pkg.Version); err == nil {
				return parsed
			}
		}
	}
	return semver.Version{}
}

// validators are the operator framework's, but for the deprecated one and for the one that has a container engine fetch the
// images.
var validators = interfaces.Validators{
	validation.ClusterServiceVersionValidator,
	validation.CustomResourceDefinitionValidator,
	validation.BundleValidator,
	validation.OperatorHubV2Validator,
	validation.StandardCategoriesValidator,
	validation.StandardCapabilitiesValidator,
	validation.ObjectValidator,
	validation.AlphaDeprecatedAPIsValidator,
	validation.GoodPracticesValidator,
}

// accepted is a part of the one warning that does not apply: the rule names events of every version of events.k8s.io, of which
// only v1beta1 is gone, and the operator uses v1.
const accepted = "Migrate the API(s) for events:"

// validateBundle has the validators look at a bundle. A warning counts as an error.
func validateBundle(folder string) error {
	bundle, err := manifests.GetBundleFromDir(folder)
	if err != nil {
		return fmt.Errorf("reading the bundle: %w", err)
	}
	var problems []error
	for _, result := range validators.Validate(bundle.ObjectsToValidate()...) {
		for _, problem := range slices.Concat(result.Errors, result.Warnings) {
			if !strings.Contains(problem.Error(), accepted) {
				problems = append(problems, fmt.Errorf("%s: %w", result.Name, problem))
			}
		}
	}
	return errors.Join(problems...)
}

// validateCatalog has the operator registry read a catalog as a cluster does.
func validateCatalog(folder string) error {
	catalog, err := declcfg.LoadFS(context.Background(), os.DirFS(folder))
	if err != nil {
		return fmt.Errorf("reading the catalog: %w", err)
	}
	model, err := declcfg.ConvertToModel(*catalog)
	if err != nil {
		return fmt.Errorf("the catalog: %w", err)
	}
	return model.Validate()
}
