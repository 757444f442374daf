// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// TestCluster goes through the life of one whole cluster; a cluster per subtest would cost a start each.
func TestCluster(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	c := startForTest(ctx, t, Options{Nodes: 2, DualStack: true})
	client := c.client

	steps := []struct {
		name string
		run  func(*testing.T)
	}{
		{"nodes have addresses of their own", func(t *testing.T) {
			names, err := c.AddNodes(ctx, 1)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(names, []string{"node-3"}) {
				t.Errorf("added %v, want node-3", names)
			}
			nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
			if err != nil {
				t.Fatal(err)
			}
			seen := map[string]string{}
			for _, node := range nodes.Items {
				types := map[corev1.NodeAddressType]int{}
				for _, address := range node.Status.Addresses {
					types[address.Type]++
					if other := seen[address.Address]; other != "" {
						t.Errorf("%s and %s share the address %s", node.Name, other, address.Address)
					}
					seen[address.Address] = node.Name
				}
				if types[corev1.NodeInternalIP] != 2 || types[corev1.NodeHostName] != 1 {
					t.Errorf("addresses of %s: %v, want an InternalIP of each family and a Hostname", node.Name, node.Status.Addresses)
				}
				if len(node.Spec.PodCIDRs) != 2 {
					t.Errorf("pod CIDRs of %s: %v, want one of each family", node.Name, node.Spec.PodCIDRs)
				}
			}
			if len(nodes.Items) != 3 {
				t.Errorf("%d nodes, want 3", len(nodes.Items))
			}
		}},
		{"SCTP pods are endpoints", func(t *testing.T) {
			createServer(ctx, t, client)
			slice := waitForEndpoints(ctx, t, client, 2)
			port := slice.Ports[0]
			if len(slice.Ports) != 1 || *port.Protocol != corev1.ProtocolSCTP || *port.Port != 9090 {
				t.Errorf("slice ports %+v, want SCTP 9090", slice.Ports)
			}
			pods, err := client.CoreV1().Pods("default").List(ctx, metav1.ListOptions{})
			if err != nil {
				t.Fatal(err)
			}
			for _, pod := range pods.Items {
				if len(pod.Status.PodIPs) != 2 {
					t.Errorf("pod addresses %v, want one of each family", pod.Status.PodIPs)
				}
			}
		}},
		{"readiness can be played", func(t *testing.T) {
			pods, err := client.CoreV1().Pods("default").List(ctx, metav1.ListOptions{})
			if err != nil {
				t.Fatal(err)
			}
			name := pods.Items[0].Name
			if err := c.SetPodReady(ctx, "default", name, false); err != nil {
				t.Fatal(err)
			}
			waitForEndpoints(ctx, t, client, 1)
			if err := c.SetPodReady(ctx, "default", name, true); err != nil {
				t.Fatal(err)
			}
			waitForEndpoints(ctx, t, client, 2)
		}},
		{"a node fails and recovers", func(t *testing.T) {
			slice := waitForEndpoints(ctx, t, client, 2)
			onNode := 0
			for _, endpoint := range slice.Endpoints {
				if *endpoint.NodeName == *slice.Endpoints[0].NodeName {
					onNode++
				}
			}
			node := *slice.Endpoints[0].NodeName
			if err := c.FailNode(ctx, node); err != nil {
				t.Fatal(err)
			}
			waitForEndpoints(ctx, t, client, 2-onNode)
			if err := c.RecoverNode(ctx, node); err != nil {
				t.Fatal(err)
			}
			waitForEndpoints(ctx, t, client, 2)
		}},
		{"a service account may do what RBAC allows", func(t *testing.T) { testServiceAccount(ctx, t, c) }},
		{"the cluster survives its API server", func(t *testing.T) {
			if err := c.KillProcess("kube-apiserver"); err != nil {
				t.Fatal(err)
			}
			if _, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{}); err == nil {
				t.Error("the API server answers after it was killed")
			}
			if err := c.RestartProcess(ctx, "kube-apiserver"); err != nil {
				t.Fatal(err)
			}
			waitForEndpoints(ctx, t, client, 2)
			select {
			case err := <-c.Failed():
				t.Errorf("killing a process was reported as its failure: %v", err)
			default:
			}
		}},
		{"a process that ends by itself is reported", func(t *testing.T) {
			scheduler := c.find("kube-scheduler")
			if err := scheduler.current.command.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			select {
			case err := <-c.Failed():
				if !strings.Contains(err.Error(), "kube-scheduler ended: signal: killed") {
					t.Errorf("reported %q", err)
				}
			case <-ctx.Done():
				t.Error("the end of the scheduler was not reported")
			}
		}},
		{"unknown processes are refused", func(t *testing.T) {
			if c.KillProcess("kubelet") == nil || c.RestartProcess(ctx, "kubelet") == nil {
				t.Error("killed or restarted a process that is not there")
			}
		}},
		{"stop leaves nothing", func(t *testing.T) {
			pids := processIDs(c)
			if len(pids) != 5 {
				t.Errorf("%d processes, want 5", len(pids))
			}
			if err := c.Stop(); err != nil {
				t.Fatal(err)
			}
			for name, pid := range pids {
				if running(pid) {
					t.Errorf("%s, process %d, is still there", name, pid)
				}
			}
			if _, err := os.Stat(c.Dir()); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the temporary folder is still there: %v", err)
			}
			if err := c.Stop(); err != nil {
				t.Errorf("second stop: %v", err)
			}
		}},
	}
	for _, step := range steps {
		// Each step goes on from where the one before it left the cluster.
		if !t.Run(step.name, step.run) {
			t.FailNow()
		}
	}
}

func testServiceAccount(ctx context.Context, t *testing.T, c *Cluster) {
	if _, err := c.KubeconfigFor(ctx, "default", "nobody"); err == nil {
		t.Error("got a token of a service account that does not exist")
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "reader"}}
	if _, err := c.client.CoreV1().ServiceAccounts("default").Create(ctx, account, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	path, err := c.KubeconfigFor(ctx, "default", "reader")
	if err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		t.Fatal(err)
	}
	reader, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := reader.CoreV1().Services("default").List(ctx, metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("an account without roles listed services: %v", err)
	}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "reader"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: "reader", Namespace: "default"}},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"},
	}
	if _, err := c.client.RbacV1().RoleBindings("default").Create(ctx, binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	// The authorizer reads roles from a cache, which follows within moments.
	err = poll(ctx, "the role to take effect", func() (bool, error) {
		_, err := reader.CoreV1().Services("default").List(ctx, metav1.ListOptions{})
		if apierrors.IsForbidden(err) {
			return false, nil
		}
		return err == nil, err
	})
	if err != nil {
		t.Error(err)
	}
	if _, err := reader.CoreV1().Secrets("default").List(ctx, metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("an account with the role view listed secrets: %v", err)
	}
}

// TestControlPlaneOnly also keeps its state over a stop.
func TestControlPlaneOnly(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	options := Options{Dir: t.TempDir(), ControlPlaneOnly: true}
	c := startForTest(ctx, t, options)
	if pids := processIDs(c); len(pids) != 2 {
		t.Errorf("processes %v, want etcd and kube-apiserver", pids)
	}
	if pid, err := Owner(c.Dir()); pid != os.Getpid() || err != nil {
		t.Errorf("owner %d, %v, want %d", pid, err, os.Getpid())
	}
	if _, err := Start(ctx, options); err == nil || !strings.Contains(err.Error(), "a cluster is running in") {
		t.Errorf("a second cluster in the same folder: %v", err)
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: "strict", Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"},
	}}
	if _, err := c.client.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "lax"},
		Spec:       corev1.PodSpec{HostNetwork: true, Containers: []corev1.Container{{Name: "main", Image: "server"}}},
	}
	if _, err := c.client.CoreV1().Pods("strict").Create(ctx, pod, metav1.CreateOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("a pod on the host's network in a restricted namespace: %v", err)
	}
	if _, err := c.client.CoreV1().Pods("default").Create(ctx, pod, metav1.CreateOptions{}); err != nil {
		t.Errorf("a pod where no service account exists: %v", err)
	}
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	if pid, err := Owner(c.Dir()); pid != 0 || err != nil {
		t.Errorf("owner %d, %v after stop, want none", pid, err)
	}

	c = startForTest(ctx, t, options)
	if _, err := c.client.CoreV1().Pods("default").Get(ctx, "lax", metav1.GetOptions{}); err != nil {
		t.Errorf("after a restart in the same folder: %v", err)
	}
}

func TestRemoveAbandoned(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	made := map[string]string{}
	for _, name := range []string{"abandoned", "running", "starting"} {
		dir, err := os.MkdirTemp("", temporaryPrefix)
		if err != nil {
			t.Fatal(err)
		}
		made[name] = dir
		release, err := own(dir)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(release)
		if name != "running" {
			release()
		}
		if name != "starting" {
			hourAgo := time.Now().Add(-time.Hour)
			if err := os.Chtimes(filepath.Join(dir, ownerFile), hourAgo, hourAgo); err != nil {
				t.Fatal(err)
			}
		}
	}
	removeAbandoned()
	for name, dir := range made {
		_, err := os.Stat(dir)
		if kept, want := err == nil, name != "abandoned"; kept != want {
			t.Errorf("folder of a cluster that is %s: kept is %t, want %t", name, kept, want)
		}
	}
}

// TestStartFailure starts with an etcd that does not work, found in $KUBEBUILDER_ASSETS.
func TestStartFailure(t *testing.T) {
	programs, err := Binaries(t.Context(), t.Output())
	if err != nil {
		t.Fatal(err)
	}
	fakeEtcd := func(t *testing.T, script string) {
		assets := t.TempDir()
		if err := os.WriteFile(filepath.Join(assets, "etcd"), []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join(programs, "kube-apiserver"), filepath.Join(assets, "kube-apiserver")); err != nil {
			t.Fatal(err)
		}
		t.Setenv("KUBEBUILDER_ASSETS", assets)
	}

	t.Run("early end", func(t *testing.T) {
		fakeEtcd(t, "echo the disk is full >&2; exit 3")
		c, err := Start(t.Context(), Options{ControlPlaneOnly: true})
		if err == nil {
			t.Fatal("started", c.Stop())
		}
		for _, part := range []string{"etcd ended", "exit status 3", "the disk is full"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("error %q lacks %q", err, part)
			}
		}
	})
	t.Run("port taken", func(t *testing.T) {
		mark := filepath.Join(t.TempDir(), "mark")
		fakeEtcd(t, fmt.Sprintf(`test -e %[1]q && exec %[2]q "$@"; touch %[1]q; echo listen tcp: bind: address already in use >&2; exit 1`,
			mark, filepath.Join(programs, "etcd")))
		var log bytes.Buffer
		startForTest(t.Context(), t, Options{ControlPlaneOnly: true, Log: &log})
		if !strings.Contains(log.String(), "starting again") {
			t.Errorf("log %q lacks the second attempt", log.String())
		}
	})
	t.Run("never healthy", func(t *testing.T) {
		fakeEtcd(t, "echo thinking >&2; exec sleep 60")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		c, err := Start(ctx, Options{ControlPlaneOnly: true})
		if err == nil {
			t.Fatal("started", c.Stop())
		}
		for _, part := range []string{"etcd is not healthy", "connection refused", "thinking"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("error %q lacks %q", err, part)
			}
		}
	})
}

func startForTest(ctx context.Context, t *testing.T, o Options) *Cluster {
	t.Helper()
	if o.Log == nil {
		o.Log = t.Output()
	}
	c, err := Start(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func processIDs(c *Cluster) map[string]int {
	pids := map[string]int{}
	for _, p := range c.processes {
		pids[p.name] = p.current.command.Process.Pid
	}
	return pids
}

func running(pid int) bool { return syscall.Kill(pid, 0) == nil }

// createServer creates a Deployment of two SCTP pods and a Service in front of them.
func createServer(ctx context.Context, t *testing.T, client kubernetes.Interface) {
	t.Helper()
	labels, replicas := map[string]string{"app": "server"}, int32(2)
	deployment := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "server"},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{Containers: []corev1.Container{{
					Name: "server", Image: "server",
					Ports: []corev1.ContainerPort{{ContainerPort: 9090, Protocol: corev1.ProtocolSCTP}},
				}}},
			},
		},
	}
	if _, err := client.AppsV1().Deployments("default").Create(ctx, deployment, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "server"},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeLoadBalancer, Selector: labels,
			Ports: []corev1.ServicePort{{Port: 80, Protocol: corev1.ProtocolSCTP, TargetPort: intstr.FromInt32(9090)}},
		},
	}
	if _, err := client.CoreV1().Services("default").Create(ctx, service, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// waitForEndpoints waits until the Service has exactly so many ready endpoints out of two.
func waitForEndpoints(ctx context.Context, t *testing.T, client kubernetes.Interface, ready int) (found discoveryv1.EndpointSlice) {
	t.Helper()
	err := poll(ctx, fmt.Sprintf("%d ready endpoints", ready), func() (bool, error) {
		slices, err := client.DiscoveryV1().EndpointSlices("default").List(ctx, metav1.ListOptions{
			LabelSelector: discoveryv1.LabelServiceName + "=server",
		})
		if err != nil || len(slices.Items) != 1 {
			return false, err
		}
		found = slices.Items[0]
		count := 0
		for _, endpoint := range found.Endpoints {
			if *endpoint.Conditions.Ready {
				count++
			}
		}
		return count == ready && len(found.Endpoints) == 2, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
