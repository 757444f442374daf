// SPDX-License-Identifier: Apache-2.0

package helm

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/cli"
	"helm.sh/helm/v4/pkg/kube"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/avi-l4-operator/avi-l4-operator/hack/cluster"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
)

var (
	crdResource     = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	settingResource = schema.GroupVersionResource{Group: "ako.vmware.com", Version: "v1beta1", Resource: "aviinfrasettings"}
)

// site is a cluster that Helm installs into.
type site struct {
	kubeconfig string
	core       kubernetes.Interface
	dynamic    dynamic.Interface
}

// TestRelease goes through the life of a release on a real API server, with AKO's values.
func TestRelease(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	s := startSite(ctx, t)
	akoCRD := s.createAKOsCRD(ctx, t)

	v := akoValues(t)
	set(v, "avi.example.com", "ControllerSettings", "controllerHost")
	v["avicredentials"] = values{"username": "admin", "password": "word"}
	s.install(t, releaseName, namespace, v)
	config := s.parse(ctx, t)
	if config.Cloud != "Default-Cloud" || config.ClusterName != "my-cluster" {
		t.Errorf("settings are %+v", config)
	}
	if _, err := s.core.AppsV1().Deployments(namespace).Get(ctx, "avi-l4-operator", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
	crds := s.crds(ctx, t)
	if len(crds) != 3 {
		t.Fatalf("CRDs are %v", slices.Sorted(maps.Keys(crds)))
	}
	s.createSetting(ctx, t)

	delete(v, "avicredentials")
	set(v, "vcenter", "ControllerSettings", "cloudName")
	s.upgrade(t, v)
	if config := s.parse(ctx, t); config.Cloud != "vcenter" {
		t.Errorf("after the upgrade the cloud is %s", config.Cloud)
	}
	v["avicredentials"] = values{"username": "admin", "authtoken": "token"}
	s.upgrade(t, v)
	s.parse(ctx, t)
	secret, err := s.core.CoreV1().Secrets(namespace).Get(ctx, settings.SecretName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if keys := slices.Sorted(maps.Keys(secret.Data)); !slices.Equal(keys, []string{"authtoken", "username"}) {
		t.Errorf("after the change to a token the Secret has %v", keys)
	}

	// A second one shares the CRDs, and both go without them.
	s.install(t, "blue", "blue-system", values{})
	s.uninstall(t, "blue", "blue-system")
	set(v, false, "crds", "install")
	s.upgrade(t, v)
	s.uninstall(t, releaseName, namespace)
	if diff := cmp.Diff(crds, s.crds(ctx, t)); diff != "" {
		t.Errorf("the CRDs are others: %s", diff)
	}
	if _, err := s.dynamic.Resource(settingResource).Get(ctx, "telco", metav1.GetOptions{}); err != nil {
		t.Errorf("the users' object is gone: %v", err)
	}
	s.nothingLeft(ctx, t)

	// The same release finds its CRDs again.
	delete(v, "crds")
	s.install(t, releaseName, namespace, v)
	s.parse(ctx, t)
	if got := s.crd(ctx, t, akoCRD.GetName()); got.GetResourceVersion() != akoCRD.GetResourceVersion() {
		t.Errorf("AKO's CRD was written: %v", got.GetManagedFields())
	}
	s.uninstall(t, releaseName, namespace)
	s.documents(t)
}

func startSite(ctx context.Context, t *testing.T) *site {
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
	s := &site{kubeconfig: c.Kubeconfig()}
	if s.core, err = kubernetes.NewForConfig(c.RESTConfig()); err != nil {
		t.Fatal(err)
	}
	if s.dynamic, err = dynamic.NewForConfig(c.RESTConfig()); err != nil {
		t.Fatal(err)
	}
	return s
}

// createAKOsCRD puts a CRD into the cluster that belongs to AKO's release, and returns it once the API server left it at rest.
func (s *site) createAKOsCRD(ctx context.Context, t *testing.T) *unstructured.Unstructured {
	t.Helper()
	for _, crd := range objects(t, read(t, "config", "crd", "bases", "ako.vmware.com_l4rules.yaml")) {
		crd.SetAnnotations(map[string]string{"meta.helm.sh/release-name": "ako", "meta.helm.sh/release-namespace": "avi-system"})
		if _, err := s.dynamic.Resource(crdResource).Create(ctx, crd, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		s.established(ctx, t, crd.GetName())
		return s.crd(ctx, t, crd.GetName())
	}
	t.Fatal("there is no CRD")
	return nil
}

func (s *site) established(ctx context.Context, t *testing.T, name string) {
	t.Helper()
	err := wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		status, _, err := unstructured.NestedMap(s.crd(ctx, t, name).Object, "status")
		conditions, _ := status["conditions"].([]any) // null at first
		return slices.ContainsFunc(conditions, func(c any) bool {
			return c.(values)["type"] == "Established" && c.(values)["status"] == "True"
		}), err
	})
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

func (s *site) crd(ctx context.Context, t *testing.T, name string) *unstructured.Unstructured {
	t.Helper()
	crd, err := s.dynamic.Resource(crdResource).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return crd
}

// crds are the cluster's, by name.
func (s *site) crds(ctx context.Context, t *testing.T) map[string]types.UID {
	t.Helper()
	list, err := s.dynamic.Resource(crdResource).List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]types.UID{}
	for _, crd := range list.Items {
		out[crd.GetName()] = crd.GetUID()
	}
	return out
}

// createSetting makes an object of a user's.
func (s *site) createSetting(ctx context.Context, t *testing.T) {
	t.Helper()
	s.established(ctx, t, "aviinfrasettings.ako.vmware.com")
	for _, o := range objects(t, read(t, "config", "samples", "aviinfrasetting.yaml")) {
		err := wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
			_, err := s.dynamic.Resource(settingResource).Create(ctx, o, metav1.CreateOptions{})
			if apierrors.IsNotFound(err) { // not served yet
				return false, nil
			}
			return err == nil, err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// parse reads the objects as the operator does.
func (s *site) parse(ctx context.Context, t *testing.T) *settings.Settings {
	t.Helper()
	config, err := s.core.CoreV1().ConfigMaps(namespace).Get(ctx, settings.ConfigMapName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	secret, err := s.core.CoreV1().Secrets(namespace).Get(ctx, settings.SecretName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	parsed, _, err := settings.Parse(config.Data, secret.Data, namespace)
	if err != nil {
		t.Fatal(err)
	}
	if len(parsed.Unknown)+len(parsed.Ignored) > 0 {
		t.Errorf("keys without effect: %v %v", parsed.Unknown, parsed.Ignored)
	}
	return parsed
}

// nothingLeft holds that what was the release's alone is gone, the credentials first.
func (s *site) nothingLeft(ctx context.Context, t *testing.T) {
	t.Helper()
	for kind, get := range map[string]func() error{
		"Secret": func() error {
			_, err := s.core.CoreV1().Secrets(namespace).Get(ctx, settings.SecretName, metav1.GetOptions{})
			return err
		},
		"ConfigMap": func() error {
			_, err := s.core.CoreV1().ConfigMaps(namespace).Get(ctx, settings.ConfigMapName, metav1.GetOptions{})
			return err
		},
		"ClusterRole": func() error {
			_, err := s.core.RbacV1().ClusterRoles().Get(ctx, "avi-l4-operator", metav1.GetOptions{})
			return err
		},
	} {
		if err := get(); !apierrors.IsNotFound(err) {
			t.Errorf("%s: %v", kind, err)
		}
	}
	if _, err := s.core.RbacV1().ClusterRoles().Get(ctx, "avi-l4-edit", metav1.GetOptions{}); err != nil {
		t.Errorf("the rights of the CRDs' users: %v", err)
	}
}

func (s *site) configuration(t *testing.T, namespace string) *action.Configuration {
	t.Helper()
	env := cli.New()
	env.KubeConfig = s.kubeconfig
	env.SetNamespace(namespace)
	c := action.NewConfiguration()
	if err := c.Init(env.RESTClientGetter(), namespace, "secret"); err != nil {
		t.Fatal(err)
	}
	return c
}

func (s *site) install(t *testing.T, name, namespace string, v values) {
	t.Helper()
	install := action.NewInstall(s.configuration(t, namespace))
	install.ReleaseName, install.Namespace, install.CreateNamespace = name, namespace, true
	install.WaitStrategy, install.ServerSideApply = kube.HookOnlyStrategy, true
	if made := do(t, install, v); !strings.Contains(made.Info.Notes, "is in namespace "+namespace) {
		t.Errorf("the notes are:\n%s", made.Info.Notes)
	}
}

func (s *site) upgrade(t *testing.T, v values) {
	t.Helper()
	upgrade := action.NewUpgrade(s.configuration(t, namespace))
	upgrade.Namespace, upgrade.WaitStrategy = namespace, kube.HookOnlyStrategy
	if _, err := upgrade.Run(releaseName, load(t), v); err != nil {
		t.Fatal(err)
	}
}

func (s *site) uninstall(t *testing.T, name, namespace string) {
	t.Helper()
	uninstall := action.NewUninstall(s.configuration(t, namespace))
	uninstall.WaitStrategy, uninstall.DeletionPropagation = kube.HookOnlyStrategy, "background"
	if _, err := uninstall.Run(name); err != nil {
		t.Fatal(err)
	}
}
