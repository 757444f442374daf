// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"flag"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	fakecore "k8s.io/client-go/kubernetes/fake"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/avi-l4-operator/avi-l4-operator/controllers"
)

var update = flag.Bool("update", false, "write the golden outputs instead of comparing them")

// password is in the operator's Secret, and in places where it should not be.
const password = "Zx9-very-secret!"

// cluster is a connection to the objects of testdata, with the operator's pod and Secret.
func cluster(t *testing.T, more ...runtime.Object) func() (*connection, error) {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := controllers.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open("testdata/cluster.yaml")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var objects []client.Object
	for d := utilyaml.NewYAMLOrJSONDecoder(file, 4096); ; {
		o := new(unstructured.Unstructured)
		if err := d.Decode(&o.Object); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		objects = append(objects, o)
	}
	at := metav1.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	core := fakecore.NewClientset(append(more,
		&corev1.Event{ObjectMeta: metav1.ObjectMeta{Name: "amf.1", Namespace: "telecom"}, Type: "Warning", Reason: "HostnameTaken",
			Message: "the DNS name a.example.com is taken", ReportingController: "avi-l4-operator", EventTime: metav1.NewMicroTime(at.Time),
			InvolvedObject: corev1.ObjectReference{Kind: "Service", Namespace: "telecom", Name: "amf"}},
		&corev1.Event{ObjectMeta: metav1.ObjectMeta{Name: "amf.2", Namespace: "telecom"}, Type: "Warning", Reason: "NoFreeAddress",
			Message: "of an hour ago", InvolvedObject: corev1.ObjectReference{Kind: "Service", Namespace: "telecom", Name: "amf"}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "avi-secret", Namespace: "avi-l4-system"},
			StringData: map[string]string{"password": password}},
	)...)
	return func() (*connection, error) {
		return &connection{objects: fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).Build(), core: core,
			namespace: "telecom", now: func() time.Time { return at.Time }}, nil
	}
}

// run runs a command line and returns what it writes.
func run(t *testing.T, connect func() (*connection, error), args ...string) (out, errOut string, err error) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := newCommand(genericiooptions.IOStreams{In: strings.NewReader(""), Out: &stdout, ErrOut: &stderr}, connect)
	cmd.SetArgs(args)
	err = cmd.ExecuteContext(t.Context())
	return stdout.String(), stderr.String(), err
}

func TestGolden(t *testing.T) {
	tests := map[string][]string{
		"explain-service":        {"explain", "service/amf"},
		"explain-service-json":   {"explain", "svc", "amf", "-o", "json"},
		"explain-healthy":        {"explain", "services/fine", "-o", "yaml"},
		"explain-unseen":         {"explain", "service/unseen"},
		"explain-theirs":         {"explain", "service/theirs"},
		"explain-cluster-ip":     {"explain", "service/smf"},
		"explain-gateway":        {"explain", "gateway/core"},
		"explain-old-gateway":    {"explain", "gateway.networking.x-k8s.io/old"},
		"explain-route":          {"explain", "sctproute/pfcp"},
		"explain-infrasetting":   {"explain", "aviinfrasetting/gold"},
		"explain-namespace":      {"explain"},
		"explain-everywhere":     {"explain", "-A"},
		"tree-service":           {"tree", "service/fine"},
		"tree-service-no-slices": {"tree", "service/amf"},
		"tree-gateway":           {"tree", "gateway/core"},
		"tree-gateway-json":      {"tree", "gateway/core", "-o", "json"},
		"tree-old-gateway":       {"tree", "gateway/old"},
		"tree-route":             {"tree", "sctproute/pfcp"},
		"adopt-nothing":          {"adopt"},
		"complete-kinds":         {"__complete", "tree", ""},
		"complete-names":         {"__complete", "explain", "service/"},
		"complete-output":        {"__complete", "explain", "-o", ""},
	}
	for name, args := range tests {
		t.Run(name, func(t *testing.T) {
			out, errOut, err := run(t, cluster(t), args...)
			if err != nil {
				t.Fatal(err)
			}
			if args[0] != "__complete" && errOut != "" {
				t.Errorf("told: %s", errOut)
			}
			golden(t, name, "$ kubectl avi-l4 "+strings.Join(args, " ")+"\n"+out)
		})
	}
}

func golden(t *testing.T, name, have string) {
	t.Helper()
	file := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(file, []byte(have), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), have); diff != "" {
		t.Errorf("-want +have; run go test -update to take it:\n%s", diff)
	}
}

func TestAdopt(t *testing.T) {
	operator := func(replicas int32) runtime.Object {
		return &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "avi-l4-operator", Namespace: "avi-l4-system"},
			Spec: appsv1.DeploymentSpec{Replicas: &replicas, Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"control-plane": "avi-l4-operator"}},
				Spec: corev1.PodSpec{ServiceAccountName: "avi-l4-operator",
					Containers: []corev1.Container{{Name: "operator", Image: "registry.example.com/avi-l4-operator:1"}}},
			}}}
	}
	ako := func(replicas int32) runtime.Object {
		return &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Name: "ako", Namespace: "avi-system"}, Spec: appsv1.StatefulSetSpec{Replicas: &replicas}}
	}
	settings := func(namespace, cluster string) runtime.Object {
		return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "avi-k8s-config", Namespace: namespace}, Data: map[string]string{"clusterName": cluster}}
	}
	for name, objects := range map[string][]runtime.Object{
		"adopt-before":   {ako(1), operator(0), settings("avi-system", "prod"), settings("avi-l4-system", "test")},
		"adopt-stopped":  {ako(0), operator(0), settings("avi-system", "prod"), settings("avi-l4-system", "prod")},
		"adopt-both-run": {ako(1), operator(2), settings("avi-system", "prod"), settings("avi-l4-system", "prod")},
		"adopt-done":     {ako(0), operator(2), settings("avi-system", "prod"), settings("avi-l4-system", "prod")},
	} {
		t.Run(name, func(t *testing.T) {
			out, _, err := run(t, cluster(t, objects...), "adopt")
			if err != nil {
				t.Fatal(err)
			}
			golden(t, name, "$ kubectl avi-l4 adopt\n"+out)
		})
	}
}

func TestMistakes(t *testing.T) {
	for line, want := range map[string]string{
		"explain amf":                 "name an object as KIND/NAME",
		"explain pod/amf":             "is no kind that is looked at",
		"explain service/a service/b": "name one object",
		"explain service/nobody":      "not found: Service telecom/nobody",
		"tree l4rule/x":               "has no servers behind it",
		"tree":                        "accepts between 1 and 2 arg(s)",
		"explain service/amf -o wide": "--output is json or yaml",
		"support-bundle extra":        "unknown command",
	} {
		if _, _, err := run(t, cluster(t), strings.Fields(line)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", line, err, want)
		}
	}
}

// files reads an archive.
func files(t *testing.T, archive []byte) map[string]string {
	t.Helper()
	zipped, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for r := tar.NewReader(zipped); ; {
		head, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		_, name, _ := strings.Cut(path.Clean(head.Name), "/")
		out[name] = string(content)
	}
}

func TestSupportBundle(t *testing.T) {
	labels := map[string]string{"control-plane": "avi-l4-operator"}
	env := []corev1.EnvVar{{Name: "HTTPS_PROXY", Value: "http://me:" + password + "@proxy"}, {Name: "OTHER", Value: password}}
	pod := corev1.PodSpec{Containers: []corev1.Container{{Name: "operator", Env: env}}, InitContainers: []corev1.Container{{Name: "first", Env: env}}}
	connect := cluster(t,
		&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "op-1", Namespace: "avi-l4-system", Labels: labels}, Spec: pod},
		&appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "op", Namespace: "avi-l4-system"},
			Spec: appsv1.DeploymentSpec{Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: pod}}},
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "avi-k8s-config", Namespace: "avi-l4-system",
			Annotations: map[string]string{corev1.LastAppliedConfigAnnotation: password}},
			Data: map[string]string{"clusterName": "prod", "password": "two words\n" + password, "unknown": password,
				"logFile": `{"authtoken":"` + password + `"}`}},
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "other", Namespace: "avi-l4-system"}, Data: map[string]string{"x": "not ours"}},
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "avi-l4-held", Namespace: "avi-l4-system"},
			Data: map[string]string{"plain_token": "two words and " + password}},
	)
	out, errOut, err := run(t, connect, "support-bundle", "-f", "-")
	if err != nil {
		t.Fatal(err)
	}
	have := files(t, []byte(out))
	for name, want := range map[string]string{
		"operator/avi-l4-system/log-op-1-operator.txt":         "fake logs",
		"operator/avi-l4-system/pod-op-1.yaml":                 "HTTPS_PROXY",
		"operator/avi-l4-system/deployment-op.yaml":            "control-plane",
		"operator/avi-l4-system/configmap-avi-k8s-config.yaml": "clusterName: prod",
		"objects/telecom/service.yaml":                         "reason: LicenseTier",
		"objects/telecom/sctproute.ako.vmware.com.yaml":        "BackendNotFound",
		"objects/aviinfrasetting.ako.vmware.com.yaml":          "InfraSettingRejected",
		"events.txt":   "2026-01-02T03:04:05Z Warning Service telecom/amf HostnameTaken: the DNS name a.example.com is taken",
		"versions.txt": "kubernetes: v",
	} {
		if !strings.Contains(have[name], want) {
			t.Errorf("%s has no %q: %s", name, want, have[name])
		}
	}
	for name, content := range have {
		if strings.Contains(content, password) || strings.Contains(name, "secret") || strings.Contains(content, "kind: Secret") {
			t.Errorf("%s has a secret:\n%s", name, content)
		}
		if strings.Contains(content, "not ours") {
			t.Errorf("%s has another ConfigMap", name)
		}
	}
	if errOut != "" || strings.TrimSpace(have["left-out.txt"]) != "" {
		t.Errorf("left out: %s", errOut)
	}
}

func TestRedact(t *testing.T) {
	for name, text := range map[string]string{
		"JSON":               `{"password":"S3CR3T"}`,
		"JSON, escaped":      `body="{\"password\":\"S3CR3T\"}"`,
		"JSON, with a quote": `{"password":"a\"S3CR3T"}`,
		"YAML":               "avi_password: S3CR3T",
		"YAML, quoted":       `password: 'S3CR3T with words'`,
		"YAML, quoted twice": `password: "S3CR3T with words"`,
		"flag":               "--password=S3CR3T",
		"token":              `{"authtoken": "S3CR3T"}`,
		"query":              "GET /x?access_token=S3CR3T&y=1",
		"bearer":             "Authorization: Bearer S3CR3TS3CR3T",
		"bearer in words":    `told "Bearer S3CR3TS3CR3T"`,
		"cookie":             "Set-Cookie: sessionid=1; x=S3CR3T",
		"cookies":            `{"Cookie":["a=S3CR3T"]}`,
		"CSRF token":         "X-CSRFToken: S3CR3T",
		"user and password":  "https://me:S3CR3T@proxy.example.com",
		"web token":          "eyJhbGciOiJIUzI1NiJ9.S3CR3T.S3CR3T",
		"key":                "-----BEGIN RSA PRIVATE KEY-----\nS3CR3T\n-----END RSA PRIVATE KEY-----",
		"key, cut off":       "-----BEGIN PRIVATE KEY-----\nS3CR3T",
	} {
		if have := redact(text); strings.Contains(have, "S3CR3T") || !strings.Contains(have, redacted) {
			t.Errorf("%s: %s", name, have)
		}
	}
	for _, text := range []string{"secret avi-secret in namespace x", "clusterName: prod", "-----BEGIN CERTIFICATE-----",
		"serviceAccountName: a", "https://10.0.0.1:443/api/x@y", "ConfigurationInvalid: Secret avi-secret is missing"} {
		if have := redact(text); have != text {
			t.Errorf("%s became %s", text, have)
		}
	}
}
