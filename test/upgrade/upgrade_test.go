// SPDX-License-Identifier: Apache-2.0

// Package upgrade puts this version in the place of the release before it, under live Services and Gateways: the manifest of
// the one over that of the other, and its operator to work on what the other's left in the cluster and on the Controller.
//
// What a release leaves is recorded once, with its own manifest, its own operator and a simulated Controller, and kept in
// testdata. Before a release, record the last one and change previous:
//
//	git worktree add ../release <commit>
//	go test ./test/upgrade -record "$PWD/../release" -release 0.4.0
package upgrade

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"
	sigsyaml "sigs.k8s.io/yaml"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim"
	"github.com/avi-l4-operator/avi-l4-operator/test/suite"
)

const (
	// previous is the release that testdata has.
	previous = "0.3.0"
	// namespace is the operator's.
	namespace = "avi-l4-system"
	// cluster is the prefix of what the release made on the Controller.
	cluster = "upgrade"
)

var (
	record  = flag.String("record", "", "checkout of a release: record what it leaves, instead of testing")
	release = flag.String("release", "", "number of the release that is recorded")
)

func TestMain(m *testing.M) { suite.Main(m) }

// TestUpgrade applies the manifest of this version over that of the last release, and starts its operator: it must not write to
// the Controller for anything that was served before, and must go on serving it.
func TestUpgrade(t *testing.T) {
	if *record != "" {
		makeRecord(t, *record, filepath.Join("testdata", *release))
		return
	}
	from := filepath.Join("testdata", previous)
	state := filepath.Join(t.TempDir(), "controller.json")
	if err := os.WriteFile(state, unpack(t, filepath.Join(from, "controller.json.gz")), 0o600); err != nil {
		t.Fatal(err)
	}
	u := begin(t, state)
	e := u.Env
	u.apply(u.read(filepath.Join(from, "install.yaml.gz")))
	u.settings()
	objects := u.read(filepath.Join(from, "objects.yaml.gz"))
	for _, object := range objects {
		u.restore(object)
	}
	before := e.Owned()
	if before["virtualservice"] != 4 {
		t.Fatalf("the Controller holds %v of ours: the record is not of what it should be", before)
	}

	u.apply(u.build(filepath.Join("..", ".."))) // without force: nobody else may have come to own a field
	e.Sim.ResetRequests()
	since := e.Mark()
	e.StartOperator()
	e.Eventually("readiness", func() error { return e.Operator.Ready(nil) })
	for _, look := range []struct {
		controller string
		names      []string
	}{{"service", []string{"amf", "mixed"}}, {"svcapigateway", []string{"old"}}, {"gateway", []string{"new"}}} {
		for _, name := range look.names {
			o := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "telco", Name: name}} // its name is all that counts
			e.LookedAt(since, look.controller, o)
		}
	}
	for _, w := range e.Written() {
		t.Errorf("a write to the Controller: %s", w)
	}
	if after := e.Owned(); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("the Controller holds %v, and held %v", after, before)
	}
	for _, object := range objects {
		if err := u.served(object); err != nil {
			t.Errorf("after the upgrade %s: %v", object.GetName(), err)
		}
	}

	slice := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: "telco", Name: "amf-1"}}
	suite.Update(e, slice, func(s *discoveryv1.EndpointSlice) { s.Endpoints = s.Endpoints[:1] })
	pool := cluster + "--telco-amf-SCTP-38412"
	e.Eventually("the new operator follows endpoints", func() error {
		if servers := e.Servers(pool); len(servers) != 1 && !strings.Contains(strings.Join(servers, ","), "disabled") {
			return fmt.Errorf("pool %s has %v", pool, servers)
		}
		return nil
	})
}

// upgrade is an Env with what installing takes.
type upgrade struct {
	*suite.Env
	ca []byte // of the Controller's certificate
}

// begin starts a Controller with a state, and removes this version's CRDs, so that another's can be installed. No operator runs.
func begin(t *testing.T, state string) *upgrade {
	t.Helper()
	dir := t.TempDir()
	// One that the Controller makes itself would become a part of its state, and so of the record, with its key.
	if err := avisim.WriteCertificate(dir, []string{"127.0.0.1"}); err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	e := suite.New(t, suite.WithoutSettings(), suite.WithSim(avisim.Options{
		StateFile: state, CertFile: filepath.Join(dir, "tls.crt"), KeyFile: filepath.Join(dir, "tls.key"),
	}))
	e.StopOperator()
	e.RemoveCRDs("aviinfrasettings.ako.vmware.com", "l4rules.ako.vmware.com", "sctproutes.ako.vmware.com")
	e.System, e.Cluster = namespace, cluster
	return &upgrade{e, ca}
}

func (u *upgrade) must(err error) {
	u.T.Helper()
	if err != nil {
		u.T.Fatal(err)
	}
}

// settings creates the operator's ConfigMap and Secret, for the Controller of this run.
func (u *upgrade) settings() {
	u.T.Helper()
	u.Create(
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "avi-k8s-config", Namespace: namespace}, Data: map[string]string{
			"clusterName": cluster, "controllerIP": u.Sim.Host(), "disableStaticRouteSync": "true",
			"vipNetworkList": `[{"networkName":"vip-network","cidr":"10.10.0.0/16"}]`,
		}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "avi-secret", Namespace: namespace}, Data: map[string][]byte{
			"username": []byte("admin"), "password": []byte("avi123$%"), "certificateAuthorityData": u.ca,
		}},
	)
}

// apply is `kubectl apply --server-side`.
func (u *upgrade) apply(objects []*unstructured.Unstructured) {
	u.T.Helper()
	for _, object := range objects {
		u.Eventually("applying "+object.GetKind()+" "+object.GetName(), func() error {
			err := u.Client.Apply(u.T.Context(), client.ApplyConfigurationFromUnstructured(object), client.FieldOwner("kubectl"))
			if apimeta.IsNoMatchError(err) {
				return err // its CRD was applied a moment ago
			}
			u.must(err)
			return nil
		})
	}
	for _, object := range objects {
		if object.GetKind() == "CustomResourceDefinition" {
			u.Eventually(object.GetName()+" is served", func() error {
				crd := object.DeepCopy()
				if err := u.Client.Get(u.T.Context(), client.ObjectKeyFromObject(object), crd); err != nil {
					return err
				}
				return condition(crd, "conditions", "Established")
			})
		}
	}
}

// build is what kustomize makes of a checkout's installation.
func (u *upgrade) build(checkout string) []*unstructured.Unstructured {
	u.T.Helper()
	return u.decode(u.kustomize(checkout))
}

func (u *upgrade) kustomize(checkout string) []byte {
	u.T.Helper()
	bin := filepath.Join(u.T.TempDir(), "kustomize")
	u.run("go", "build", "-C", filepath.Join("..", "..", "hack", "tools", "kustomize"), "-o", bin, "sigs.k8s.io/kustomize/kustomize/v5")
	return u.run(bin, "build", filepath.Join(checkout, "config", "default"))
}

func (u *upgrade) run(name string, args ...string) []byte {
	u.T.Helper()
	command := exec.CommandContext(u.T.Context(), name, args...)
	var stderr bytes.Buffer
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		u.T.Fatalf("%s %v: %v\n%s", name, args, err, stderr.Bytes())
	}
	return out
}

// restore creates an object as a release left it, with finalizers, annotations and status.
func (u *upgrade) restore(object *unstructured.Unstructured) {
	u.T.Helper()
	status, has := object.Object["status"]
	created := object.DeepCopy()
	delete(created.Object, "status")
	u.must(u.Client.Create(u.T.Context(), created))
	// Where status is no subresource it has been created with the rest, and else is left out of that.
	if !has || object.GetKind() == "Namespace" {
		return
	}
	created.Object["status"] = status
	u.must(u.Client.Status().Update(u.T.Context(), created))
}

// served reports whether the status of what has one says that all is well.
func (u *upgrade) served(recorded *unstructured.Unstructured) error {
	object := recorded.DeepCopy()
	if err := u.Client.Get(u.T.Context(), client.ObjectKeyFromObject(recorded), object); err != nil {
		return err
	}
	switch object.GetKind() + " " + object.GroupVersionKind().Group {
	case "Service ":
		if kind, _, _ := unstructured.NestedString(object.Object, "spec", "type"); kind == string(corev1.ServiceTypeLoadBalancer) {
			return errors.Join(condition(object, "conditions", "ako.vmware.com/Programmed"), address(object, "loadBalancer", "ingress"))
		}
	case "Gateway networking.x-k8s.io":
		return errors.Join(condition(object, "conditions", "Ready"), address(object, "addresses"))
	case "Gateway gateway.networking.k8s.io":
		return errors.Join(condition(object, "conditions", "Programmed"), address(object, "addresses"))
	}
	return nil
}

// condition is nil if the status has a condition that is true.
func condition(object *unstructured.Unstructured, field, kind string) error {
	list, _, _ := unstructured.NestedSlice(object.Object, "status", field)
	for _, item := range list {
		if c, ok := item.(map[string]any); ok && c["type"] == kind {
			if c["status"] == "True" {
				return nil
			}
			return fmt.Errorf("%s is %v: %v", kind, c["status"], c["message"])
		}
	}
	return fmt.Errorf("there is no condition %s", kind)
}

func address(object *unstructured.Unstructured, fields ...string) error {
	if list, _, _ := unstructured.NestedSlice(object.Object, append([]string{"status"}, fields...)...); len(list) == 0 {
		return errors.New("it has no address")
	}
	return nil
}

// read reads objects from a file.
func (u *upgrade) read(file string) []*unstructured.Unstructured {
	u.T.Helper()
	if strings.HasSuffix(file, ".gz") {
		return u.decode(unpack(u.T, file))
	}
	content, err := os.ReadFile(file)
	u.must(err)
	return u.decode(content)
}

func (u *upgrade) decode(content []byte) (objects []*unstructured.Unstructured) {
	u.T.Helper()
	documents := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(content)))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return objects
		}
		u.must(err)
		object := &unstructured.Unstructured{}
		u.must(sigsyaml.Unmarshal(document, &object.Object))
		if len(object.Object) > 0 {
			objects = append(objects, object)
		}
	}
}

// makeRecord installs a release, has its operator serve the workloads, and writes what is there then.
func makeRecord(t *testing.T, checkout, to string) {
	if *release == "" {
		t.Fatal("-release has to say which one it is")
	}
	state := filepath.Join(t.TempDir(), "controller.json")
	u := begin(t, state)
	e := u.Env
	manifest := u.kustomize(checkout)
	u.apply(u.decode(manifest))
	u.settings()
	objects := u.read(filepath.Join("testdata", "workloads.yaml"))
	u.apply(objects)

	if err := os.MkdirAll(to, 0o750); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(t.TempDir(), "operator")
	u.run("go", "build", "-C", checkout, "-o", binary, ".")
	ctx, cancel := context.WithCancel(t.Context())
	operator := exec.CommandContext(ctx, binary, "--namespace="+namespace, "--metrics-bind-address=0", "--health-probe-bind-address=0")
	operator.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig(t))
	operator.Cancel = func() error { return operator.Process.Signal(os.Interrupt) }
	u.must(operator.Start())
	for _, object := range objects {
		e.Eventually(object.GetKind()+" "+object.GetName(), func() error { return u.served(object) })
	}
	for writes := -1; writes != len(e.Sim.Writes()); time.Sleep(3 * time.Second) {
		writes = len(e.Sim.Writes()) // until it has nothing more to do
	}
	cancel()
	if err := operator.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	var text bytes.Buffer
	for _, object := range objects {
		u.must(u.Client.Get(t.Context(), client.ObjectKeyFromObject(object), object))
		for _, field := range [][]string{
			{"metadata", "uid"}, {"metadata", "resourceVersion"}, {"metadata", "creationTimestamp"}, {"metadata", "managedFields"},
			{"metadata", "generation"}, {"spec", "clusterIP"}, {"spec", "clusterIPs"},
		} {
			unstructured.RemoveNestedField(object.Object, field...)
		}
		content, err := sigsyaml.Marshal(object.Object)
		u.must(err)
		text.WriteString("---\n")
		text.Write(content)
	}
	e.Sim.Close() // writes its state
	controller, err := os.ReadFile(state)
	u.must(err)
	pack(t, filepath.Join(to, "install.yaml.gz"), manifest)
	pack(t, filepath.Join(to, "objects.yaml.gz"), text.Bytes())
	pack(t, filepath.Join(to, "controller.json.gz"), controller)
}

// kubeconfig writes one for the API server of this package.
func kubeconfig(t *testing.T) string {
	t.Helper()
	cfg := suite.RESTConfig()
	if err := rest.LoadTLSFiles(cfg); err != nil {
		t.Fatal(err)
	}
	config := api.NewConfig()
	config.Clusters["c"] = &api.Cluster{Server: cfg.Host, CertificateAuthorityData: cfg.CAData}
	config.AuthInfos["c"] = &api.AuthInfo{ClientCertificateData: cfg.CertData, ClientKeyData: cfg.KeyData, Token: cfg.BearerToken}
	config.Contexts["c"] = &api.Context{Cluster: "c", AuthInfo: "c"}
	config.CurrentContext = "c"
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, file); err != nil {
		t.Fatal(err)
	}
	return file
}

func pack(t *testing.T, file string, content []byte) {
	t.Helper()
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := z.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

func unpack(t testing.TB, file string) []byte {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return plain
}
