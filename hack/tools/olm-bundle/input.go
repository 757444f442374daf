// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// input is everything that the bundle is made of.
type input struct {
	deployments     []appsv1.Deployment
	accounts        []corev1.ServiceAccount
	clusterRoles    map[string][]rbacv1.PolicyRule
	roles           map[string][]rbacv1.PolicyRule
	clusterBindings []rbacv1.ClusterRoleBinding
	bindings        []rbacv1.RoleBinding
	crds            []apiextensionsv1.CustomResourceDefinition
	others          []*unstructured.Unstructured // put into the bundle as they are; cluster roles are among them
	samples         []*unstructured.Unstructured
	created         string // the version's date, in RFC 3339
}

func read(o options) (*input, error) {
	rendered, err := o.rendering()
	if err != nil {
		return nil, err
	}
	in := &input{clusterRoles: map[string][]rbacv1.PolicyRule{}, roles: map[string][]rbacv1.PolicyRule{}}
	objects, err := decode(rendered)
	if err != nil {
		return nil, err
	}
	for _, object := range objects {
		if err := in.sort(object); err != nil {
			return nil, fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err)
		}
	}
	if len(in.deployments) != 1 || len(in.accounts) != 1 {
		return nil, fmt.Errorf("%d Deployments and %d service accounts, where one of each makes sense", len(in.deployments), len(in.accounts))
	}
	files, err := filepath.Glob(filepath.Join(o.samples, "*.yaml"))
	if err != nil {
		return nil, err
	}
	for _, file := range append(files, filepath.Join(o.config, "examples.yaml")) {
		content, err := os.ReadFile(filepath.Clean(file))
		if err != nil {
			return nil, err
		}
		objects, err := decode(content)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		in.samples = append(in.samples, objects...)
	}
	in.created, err = released(o.changelog, o.version)
	return in, err
}

// sort puts an object where it belongs. One of a kind that the Operator Lifecycle Manager does not install is an error.
func (in *input) sort(object *unstructured.Unstructured) error {
	object.SetNamespace("") // it is OLM's to choose
	into := func(typed any) error {
		return runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, typed)
	}
	switch object.GetKind() {
	case "Deployment":
		return add(&in.deployments, into)
	case "ServiceAccount":
		return add(&in.accounts, into)
	case "ClusterRoleBinding":
		return add(&in.clusterBindings, into)
	case "RoleBinding":
		return add(&in.bindings, into)
	case "CustomResourceDefinition":
		in.others = append(in.others, object)
		return add(&in.crds, into)
	case "Role", "ClusterRole":
		var role rbacv1.ClusterRole // a Role has the same fields
		if err := into(&role); err != nil {
			return err
		}
		if object.GetKind() == "Role" {
			in.roles[role.Name] = role.Rules
			return nil
		}
		in.clusterRoles[role.Name] = role.Rules
		in.others = append(in.others, object)
		return nil
	case "Service", "PodDisruptionBudget":
		in.others = append(in.others, object)
		return nil
	}
	return errors.New("a bundle has no place for this kind")
}

func add[T any](list *[]T, into func(any) error) error {
	var typed T
	if err := into(&typed); err != nil {
		return err
	}
	*list = append(*list, typed)
	return nil
}

// released is the date of a version in the change log.
func released(changelog, version string) (string, error) {
	content, err := os.ReadFile(filepath.Clean(changelog))
	if err != nil {
		return "", err
	}
	heading := regexp.MustCompile(`(?m)^## \[` + regexp.QuoteMeta(version) + `\] - (\d{4}-\d{2}-\d{2})$`)
	found := heading.FindSubmatch(content)
	if found == nil {
		return "", fmt.Errorf("%s has no date of version %s", changelog, version)
	}
	return string(found[1]) + "T00:00:00Z", nil
}

func decode(content []byte) (objects []*unstructured.Unstructured, err error) {
	documents := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(content)))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, err
		}
		object := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(document, &object.Object); err != nil {
			return nil, err
		}
		if len(object.Object) > 0 {
			objects = append(objects, object)
		}
	}
}
