// SPDX-License-Identifier: Apache-2.0

// Package e2e tests the operator as a user would meet it: a process with the rights of config/rbac, in a whole cluster
// whose pods are scheduled, become ready, roll out and go, with the EndpointSlices that Kubernetes makes of them. Only
// the nodes are fake, and the Controller is the simulated one, which is read over its REST API.
package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/avi-l4-operator/avi-l4-operator/hack/demo/stage"
	"github.com/avi-l4-operator/avi-l4-operator/hack/demo/tree"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim"
)

// clusterName is the prefix of the objects on the Controller.
const clusterName = "e2e"

// flags are those of every operator of these tests. The refresh is short, so that an outage spans some.
var flags = []string{"--refresh-interval=2s", "--health-interval=1s", "--zap-log-level=debug"}

var (
	st       *stage.Stage
	operator *stage.Operator // the one that serves unless a test replaces it
	numbered int             // namespaces
	// told counts the complaints of each operator that a test was blamed for, or excused from.
	told = map[*stage.Operator]int{}
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	ctrl.SetLogger(logr.Discard())
	klog.SetLogger(logr.Discard())
	dir := os.Getenv("AVI_TEST_LOGS") // a folder for the operators' logs, to look into a failure
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "avi-l4-e2e-"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer func() {
			if err := os.RemoveAll(dir); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		}()
	}
	ctx := context.Background()
	var err error
	st, err = stage.New(ctx, stage.Options{
		Dir: dir, Binary: filepath.Join(dir, "avi-l4-operator"), Race: raceDetector, Nodes: 3, ClusterName: clusterName,
		ReadLatency: 2 * time.Millisecond, WriteLatency: 20 * time.Millisecond, Log: os.Stderr,
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() {
		if err := st.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}()
	if err := setUp(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func setUp(ctx context.Context) (err error) {
	if err := st.StartCluster(ctx); err != nil {
		return err
	}
	if err := st.StartController(); err != nil {
		return err
	}
	if err := st.Build(ctx); err != nil {
		return err
	}
	if err := st.Install(ctx); err != nil {
		return err
	}
	ready, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	operator, err = st.StartOperator(ready, "operator", flags...)
	return err
}

// fixture is one test's namespace, and its view of cluster and Controller.
type fixture struct {
	*testing.T
	ctx context.Context
	ns  string
}

// begin makes a namespace. At the test's end it goes, and with it everything on the Controller; no operator may have
// complained by then.
func begin(t *testing.T) *fixture {
	t.Helper()
	return beginFor(t, 90*time.Second)
}

// beginFor is begin for a test that may take so long.
func beginFor(t *testing.T, most time.Duration) *fixture {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), most)
	numbered++
	f := &fixture{T: t, ctx: ctx, ns: fmt.Sprintf("e2e-%d", numbered)}
	t.Cleanup(func() {
		defer cancel()
		if t.Failed() {
			for _, o := range st.Operators() {
				select {
				case <-o.Done():
				default:
					t.Logf("the end of the log of %s:\n%s", o.Name, o.Tail(20))
				}
			}
			select {
			case err := <-st.Cluster.Failed():
				t.Errorf("a part of the cluster ended: %v", err)
			default:
			}
		}
		for _, o := range st.Operators() {
			if bad := complaints(o); len(bad) > 0 {
				t.Errorf("%s complains:\n%s", o.Name, strings.Join(bad, "\n"))
			}
		}
	})
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: f.ns}}
	f.must(st.Client.Create(ctx, ns))
	t.Cleanup(func() {
		if t.Failed() {
			return // what is left is worth a look, and in nobody's way
		}
		// The Services first: a namespace that is deleted takes its time with them.
		f.must(st.Client.DeleteAllOf(ctx, new(corev1.Service), client.InNamespace(f.ns)))
		f.nothingLeft(f.ns)
		f.must(client.IgnoreNotFound(st.Client.Delete(ctx, ns)))
	})
	return f
}

// complaints are those of an operator that are new since the last call.
func complaints(o *stage.Operator) []string {
	all := o.Complaints()
	fresh := all[told[o]:]
	told[o] = len(all)
	return fresh
}

// noWarnings: what is applied and well gives no cause for alarm on the way.
func (f *fixture) noWarnings(namespaces ...string) {
	f.Helper()
	for _, ns := range namespaces {
		var list corev1.EventList
		f.must(st.Client.List(f.ctx, &list, client.InNamespace(ns)))
		for _, e := range list.Items {
			if e.Type == corev1.EventTypeWarning && e.ReportingController == "avi-l4-operator" {
				f.Errorf("%s %s/%s was warned of %s: %s", e.InvolvedObject.Kind, ns, e.InvolvedObject.Name, e.Reason, e.Message)
			}
		}
	}
}

func (f *fixture) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

// eventually waits for what must come true while the test's time lasts.
func (f *fixture) eventually(what string, check func(context.Context) error) {
	f.Helper()
	f.must(stage.Until(f.ctx, what, check))
}

// nothingLeft waits until the Controller holds nothing of a namespace.
func (f *fixture) nothingLeft(namespace string) {
	f.Helper()
	f.eventually("an empty Controller", func(ctx context.Context) error {
		left, err := st.Trees.Names(ctx, st.ObjectName(namespace, ""))
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("it still has %s", strings.Join(left, ", "))
		}
		return err
	})
}

// deploy makes a Deployment of pods that listen on SCTP 9090, and a Service of the same name that offers them on port 80.
func (f *fixture) deploy(name string, replicas int32) {
	f.Helper()
	labels := map[string]string{"app": name}
	f.must(st.Client.Create(f.ctx, &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: f.ns, Name: name}, Spec: appsv1.DeploymentSpec{
		Replicas: &replicas,
		Selector: &metav1.LabelSelector{MatchLabels: labels},
		Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: labels},
			Spec: corev1.PodSpec{Containers: []corev1.Container{{
				Name: "server", Image: "sctp-server:latest",
				Ports: []corev1.ContainerPort{{ContainerPort: 9090, Protocol: corev1.ProtocolSCTP}},
			}}},
		},
	}}))
	f.offer(name, name)
}

// offer makes a Service that offers a Deployment's pods.
func (f *fixture) offer(service, app string) {
	f.Helper()
	f.must(st.Client.Create(f.ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.ns, Name: service},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeLoadBalancer, Selector: map[string]string{"app": app},
			Ports: []corev1.ServicePort{{Port: 80, Protocol: corev1.ProtocolSCTP, TargetPort: intstr.FromInt32(9090)}},
		},
	}))
}

// edit changes a Deployment as `kubectl patch` would.
func (f *fixture) edit(name string, change func(*appsv1.Deployment)) {
	f.Helper()
	d := new(appsv1.Deployment)
	f.must(st.Client.Get(f.ctx, client.ObjectKey{Namespace: f.ns, Name: name}, d))
	before := d.DeepCopy()
	change(d)
	f.must(st.Client.Patch(f.ctx, d, client.MergeFrom(before)))
}

func (f *fixture) scale(name string, replicas int32) {
	f.Helper()
	f.edit(name, func(d *appsv1.Deployment) { d.Spec.Replicas = &replicas })
}

// rollOut has every pod of a Deployment replaced.
func (f *fixture) rollOut(name, revision string) {
	f.Helper()
	f.edit(name, func(d *appsv1.Deployment) {
		metav1.SetMetaDataAnnotation(&d.Spec.Template.ObjectMeta, "revision", revision)
	})
}

// rolledOut waits until the replacement is complete.
func (f *fixture) rolledOut(name string) {
	f.Helper()
	f.eventually("the end of the rollout", func(ctx context.Context) error {
		d := new(appsv1.Deployment)
		if err := st.Client.Get(ctx, client.ObjectKey{Namespace: f.ns, Name: name}, d); err != nil {
			return err
		}
		want, s := *d.Spec.Replicas, d.Status
		if s.ObservedGeneration < d.Generation || s.UpdatedReplicas != want || s.Replicas != want || s.AvailableReplicas != want {
			return fmt.Errorf("its status is %+v", s)
		}
		return nil
	})
}

// pods lists a Deployment's pods in a namespace.
func (f *fixture) pods(ctx context.Context, namespace, app string) ([]corev1.Pod, error) {
	var list corev1.PodList
	err := st.Client.List(ctx, &list, client.InNamespace(namespace), client.MatchingLabels{"app": app})
	return list.Items, err
}

// servers are the addresses of the pods that are ready and not on their way out, with a port.
func servers(pods []corev1.Pod, port int) []string {
	var out []string
	for _, p := range pods {
		ready := slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
		})
		if ready && p.DeletionTimestamp == nil {
			out = append(out, fmt.Sprintf("%s:%d", p.Status.PodIP, port))
		}
	}
	slices.Sort(out)
	return out
}

// tree reads what the Controller holds for a Service of the test.
func (f *fixture) tree(ctx context.Context, service string) (*tree.Tree, error) {
	return st.Trees.Read(ctx, st.ObjectName(f.ns, service))
}

// served waits until a Service made by deploy has so many ready pods, and the pool exactly these as servers.
func (f *fixture) served(name string, replicas int) {
	f.Helper()
	f.servedBy(name, name, replicas)
}

// servedBy waits until there are so many ready pods, and the pool has exactly them as enabled servers and no other.
func (f *fixture) servedBy(service, app string, replicas int) {
	f.Helper()
	f.eventually(fmt.Sprintf("%s with %d servers", service, replicas), func(ctx context.Context) error {
		pods, err := f.pods(ctx, f.ns, app)
		if err != nil {
			return err
		}
		want := servers(pods, 9090)
		if len(want) != replicas {
			return fmt.Errorf("%d pods are ready", len(want))
		}
		t, err := f.tree(ctx, service)
		if err != nil {
			return err
		}
		return hasServers(t.Pool("SCTP 80"), want)
	})
}

func hasServers(p *tree.Pool, want []string) error {
	if p == nil {
		return errors.New("no rule matches the port")
	}
	if got := p.Enabled(); !slices.Equal(got, want) {
		return fmt.Errorf("the enabled servers are %v, the ready pods %v", got, want)
	}
	if got := p.Disabled(); len(got) > 0 {
		return fmt.Errorf("%v are servers too, disabled ones", got)
	}
	return nil
}

// up is why a VirtualService isn't as it should be, if only since its servers have yet to be probed.
func up(tr *tree.Tree, other error) error {
	if other == nil && tr.State != "OPER_UP" {
		return fmt.Errorf("the VirtualService is %s", tr.State)
	}
	return other
}

// exactly checks that the Controller holds one tree with one pool for each of the Services, and nothing else of the
// namespace.
func (f *fixture) exactly(services ...string) {
	f.Helper()
	var want []string
	for _, s := range services {
		name := st.ObjectName(f.ns, s)
		want = append(want, "l4policyset "+name, "pool "+name+"-SCTP-80", "virtualservice "+name, "vsvip "+name)
	}
	slices.Sort(want)
	got, err := st.Trees.Names(f.ctx, st.ObjectName(f.ns, ""))
	f.must(err)
	if !slices.Equal(got, want) {
		f.Errorf("the Controller has %v, want %v", got, want)
	}
}

// writes are the changing requests that the Controller got since the last ResetRequests, of a method, or of any for "".
func writes(method string) []avisim.Request {
	var out []avisim.Request
	for _, r := range st.Controller.Writes() {
		if method == "" || r.Method == method {
			out = append(out, r)
		}
	}
	return out
}
