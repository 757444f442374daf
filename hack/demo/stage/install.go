// SPDX-License-Identifier: Apache-2.0

package stage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/avi-l4-operator/avi-l4-operator/hack/cluster"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
)

// Namespace is the operator's, as config/default names it.
const Namespace = "avi-l4-system"

// workload are the kinds of config/default that run the operator in a pod, or are about such pods. Here it is a process.
var workload = []string{"Deployment", "PodDisruptionBudget", "Service"}

// Install puts into the cluster what config/default does, but for the workload, the CRDs of the Services API and of the
// Gateway API, and the operator's settings and credentials. The service account is the one that the Deployment names.
func (s *Stage) Install(ctx context.Context) error {
	account := ""
	for _, folder := range []string{"config/default", "config/components/services-api"} {
		rendered, err := s.Kubectl(ctx, "kustomize", folder)
		if err != nil {
			return err
		}
		named, err := s.apply(ctx, rendered)
		if err != nil {
			return fmt.Errorf("installing %s: %w", folder, err)
		}
		account = cmp.Or(account, named)
	}
	upstream, err := cluster.GatewayAPI(ctx)
	if err != nil {
		return err
	}
	for _, file := range upstream {
		if _, err := s.Kubectl(ctx, "create", "-f", file); err != nil {
			return fmt.Errorf("installing the CRDs of the Gateway API: %w", err)
		}
	}
	if account == "" {
		return errors.New("there is no Deployment that names a service account")
	}
	if _, err := s.Kubectl(ctx, "wait", "--for=condition=Established", "crd", "--all", "--timeout=20s"); err != nil {
		return err
	}
	meta := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: Namespace, Name: name} }
	for _, o := range []client.Object{
		&corev1.ConfigMap{ObjectMeta: meta(settings.ConfigMapName), Data: map[string]string{
			"clusterName":    s.ClusterName,
			"controllerIP":   s.Controller.Host(),
			"vipNetworkList": `[{"networkName":"vip-network","cidr":"10.10.0.0/16"}]`,
		}},
		&corev1.Secret{ObjectMeta: meta(settings.SecretName), StringData: map[string]string{
			"username": Username, "password": Password, "certificateAuthorityData": string(s.Controller.CAPEM()),
		}},
	} {
		if err := s.Client.Create(ctx, o); err != nil {
			return fmt.Errorf("creating the operator's settings: %w", err)
		}
	}
	s.kubeconfig, err = s.Cluster.KubeconfigFor(ctx, Namespace, account)
	return err
}

// apply creates the rendered objects and returns the name of the operator's service account, if one of them names it.
func (s *Stage) apply(ctx context.Context, rendered string) (account string, err error) {
	documents := yaml.NewYAMLOrJSONDecoder(strings.NewReader(rendered), 4096)
	for {
		o := &unstructured.Unstructured{}
		switch err := documents.Decode(o); {
		case errors.Is(err, io.EOF):
			return account, nil
		case err != nil:
			return "", err
		}
		if o.GetKind() == "Deployment" {
			var d appsv1.Deployment
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &d); err != nil {
				return "", err
			}
			account = d.Spec.Template.Spec.ServiceAccountName
		}
		if slices.Contains(workload, o.GetKind()) {
			continue
		}
		if err := s.Client.Create(ctx, o); err != nil {
			return "", err
		}
	}
}
