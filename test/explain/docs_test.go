// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/kubectl/pkg/cmd"

	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1beta1"
	"github.com/avi-l4-operator/avi-l4-operator/test/docs/examples"
	"github.com/avi-l4-operator/avi-l4-operator/test/suite"
)

// TestCommandsOfTheDocs: every command of kubectl that a document shows is one that kubectl takes, with its flags.
func TestCommandsOfTheDocs(t *testing.T) {
	all, err := examples.Read(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, c := range all {
		args, ok := c.Of("kubectl")
		if !ok {
			if args, ok = c.Of("go", "run", "./hack/local-cluster", "kubectl"); !ok {
				continue
			}
		}
		if _, ours := c.Of("kubectl", "avi-l4"); ours {
			continue
		}
		seen++
		if err := understood(args); err != nil {
			t.Errorf("%s: %v", c, err)
		}
	}
	if seen < 8 {
		t.Errorf("the documents have %d commands of kubectl", seen)
	}
	for line, want := range map[string]string{
		"apply --server-side -f x.yaml": "", "aply -f x.yaml": "unknown command", "get pods --nothing": "unknown flag",
	} {
		if err := understood(strings.Fields(line)); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", line, err, want)
		}
	}
}

// TestDocs runs every command of kubectl that a document shows, and of make with kubectl, one after the other on a cluster with a Service
// that is served. Nothing here is parallel: the installations are the whole cluster's.
func TestDocs(t *testing.T) {
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	commands, err := examples.RunBy(root, examples.Kubectl)
	if err != nil || len(commands) < 10 {
		t.Fatalf("%d commands: %v", len(commands), err)
	}
	e := suite.New(t)
	svc, setting := e.Service("server", suite.Port("SCTP", 38412)), e.Setting("gold", v1beta1.AviInfraSettingSpec{})
	e.Own(setting)
	e.Create(svc, e.Slice(svc, "10.244.1.5"))
	e.Programmed(svc)
	e.SettingCondition(setting, "Accepted", metav1.ConditionTrue, "")
	e.Event(svc, "EnsuredLoadBalancer")
	ako := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "avi-system"}}
	if err := e.Client.Create(t.Context(), ako); err != nil {
		t.Fatal(err)
	}

	dir := t.TempDir()
	for _, name := range []string{"password.txt", "ca.pem"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("secret"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	shell := examples.Shell{Folder: root, Programs: examples.Itself(t, "kubectl"),
		Env: []string{"KUBECONFIG=" + kubeconfig(e), "HOME=" + dir},
		Replace: strings.NewReplacer("aviinfrasetting NAME", "aviinfrasetting "+setting.Name, "IMG=NAME/avi-l4-operator:NAME",
			"IMG=registry.example.com/avi-l4-operator:1.0", "=password.txt", "="+filepath.Join(dir, "password.txt"), "=ca.pem", "="+filepath.Join(dir, "ca.pem"),
			"service NAME", "service server", "service/NAME", "service/server")}
	for _, c := range commands {
		out, err := shell.Run(t.Context(), c.Line)
		if err != nil {
			t.Errorf("%s: %v", c, err)
		}
		for begins, want := range prints {
			if strings.HasPrefix(strings.Join(c.Words, " "), begins) && !strings.Contains(out, want) {
				t.Errorf("%s: without %q:\n%s", c, want, out)
			}
		}
	}
}

// prints are parts of what commands print.
var prints = map[string]string{
	"kubectl get service server -o jsonpath={range":    "ako.vmware.com/Programmed=True Programmed: ",
	"kubectl get service NAME -o jsonpath={range":      "ako.vmware.com/Programmed=True Programmed: ",
	"kubectl events --for":                             "EnsuredLoadBalancer",
	"kubectl get aviinfrasettings -o wide":             "Accepted",
	"kubectl describe aviinfrasetting":                 "Conditions:",
	"kubectl apply --server-side -f dist/install.yaml": "deployment.apps/avi-l4-operator serverside-applied",
	"kubectl apply -k config/overlays/beside-ako":      "deployment.apps/avi-l4-operator created",
	"kubectl apply -k config/components/simulator":     "deployment.apps/avi-l4-simulator created",
	"kubectl create configmap":                         "configmap/avi-k8s-config created",
	"kubectl create secret":                            "secret/avi-secret created",
	"make install":                                     "aviinfrasettings.ako.vmware.com serverside-applied",
}

// kubeconfig is a file that leads to a test's namespace.
func kubeconfig(e *suite.Env) string {
	e.T.Helper()
	c := suite.RESTConfig()
	config := clientcmdapi.NewConfig()
	config.Clusters["c"] = &clientcmdapi.Cluster{Server: c.Host, CertificateAuthorityData: c.CAData, CertificateAuthority: c.CAFile}
	config.AuthInfos["u"] = &clientcmdapi.AuthInfo{ClientCertificateData: c.CertData, ClientKeyData: c.KeyData, Token: c.BearerToken}
	config.Contexts["x"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u", Namespace: e.Namespace}
	config.CurrentContext = "x"
	file := filepath.Join(e.T.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, file); err != nil {
		e.T.Fatal(err)
	}
	return file
}

// understood reads a command line as kubectl does, without running it.
func understood(args []string) error {
	streams, _, _, _ := genericiooptions.NewTestIOStreams()
	command, rest, err := cmd.NewKubectlCommand(cmd.KubectlOptions{IOStreams: streams}).Find(args)
	if err != nil {
		return err
	}
	return command.ParseFlags(rest)
}
