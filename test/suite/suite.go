// SPDX-License-Identifier: Apache-2.0

// Package suite runs the operator against a real API server and a simulated Controller, for the tests and benchmarks of
// this repository. One API server serves all tests of a package; each test has its own Controller, its own operator,
// and namespaces that only that operator serves.
package suite

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/zapr"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1alpha1"
	svcapi "github.com/avi-l4-operator/avi-l4-operator/api/networking/v1alpha1"
	"github.com/avi-l4-operator/avi-l4-operator/controllers"
	"github.com/avi-l4-operator/avi-l4-operator/hack/cluster"
	"github.com/avi-l4-operator/avi-l4-operator/internal/avi"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/plan"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim"
)

var (
	restCfg  *rest.Config
	numbered struct {
		sync.Mutex
		n int
	}
)

// CRDs are the folders of all CustomResourceDefinitions, from a package two folders deep.
var CRDs = []string{"../../config/crd/bases", "../../config/components/services-api"}

// RemoveCRDs deletes CustomResourceDefinitions by name and waits until they are gone. It is for tests that run alone.
func (e *Env) RemoveCRDs(names ...string) {
	e.T.Helper()
	for _, name := range names {
		e.Delete(&apiextensionsv1.CustomResourceDefinition{ObjectMeta: metav1.ObjectMeta{Name: name}})
	}
	for _, name := range names {
		e.Eventually("CRD "+name+" goes", func() error {
			err := e.Client.Get(e.T.Context(), client.ObjectKey{Name: name}, new(apiextensionsv1.CustomResourceDefinition))
			if apierrors.IsNotFound(err) {
				return nil
			}
			return fmt.Errorf("it is there still: %w", err)
		})
	}
}

// RestoreCRDs installs all CRDs again.
func (e *Env) RestoreCRDs() {
	e.T.Helper()
	upstream, err := cluster.GatewayAPI(e.T.Context())
	e.must(err)
	_, err = envtest.InstallCRDs(restCfg, envtest.CRDInstallOptions{Paths: append(upstream, CRDs...), ErrorIfPathMissing: true})
	e.must(err)
}

// RESTConfig leads to the API server that Main started.
func RESTConfig() *rest.Config { return rest.CopyConfig(restCfg) }

// WholeCluster has Main start nodes and Kubernetes' own controllers too, so that Deployments have pods.
var WholeCluster bool

// Main starts the API server, runs a package's tests and stops it.
func Main(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	ctrl.SetLogger(logr.Discard())
	klog.SetLogger(logr.Discard())
	options := cluster.Options{ControlPlaneOnly: true, Log: os.Stderr}
	if WholeCluster {
		options.ControlPlaneOnly, options.Nodes = false, 2
	}
	c, err := cluster.Start(context.Background(), options)
	if err != nil {
		fmt.Fprintln(os.Stderr, "starting the API server:", err)
		return 1
	}
	defer func() {
		if err := c.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "stopping the API server:", err)
		}
	}()
	restCfg = c.RESTConfig()
	restCfg.QPS, restCfg.Burst = -1, 0
	upstream, err := cluster.GatewayAPI(context.Background())
	if err != nil {
		fmt.Fprintln(os.Stderr, "looking for the CRDs of the Gateway API:", err)
		return 1
	}
	if _, err := envtest.InstallCRDs(restCfg,
		envtest.CRDInstallOptions{Paths: append(upstream, CRDs...), ErrorIfPathMissing: true}); err != nil {
		fmt.Fprintln(os.Stderr, "installing the CRDs:", err)
		return 1
	}
	return m.Run()
}

// Env is one test's Controller, operator and namespace.
type Env struct {
	T         testing.TB
	Client    client.Client // straight to the API server, no cache
	Sim       *avisim.Server
	Namespace string // served by this operator only
	System    string // the operator's own
	Cluster   string // the Avi cluster name: prefix of objects
	Options   controllers.Options
	Operator  *controllers.Operator

	config   map[string]string
	secret   map[string][]byte
	releases bool // whatever is held
	bare     bool // neither ConfigMap nor Secret is created
	guest    bool // of another Env's Controller
	rest     *rest.Config
	user     string // whom the operator calls the API server as; empty: the administrator
	stop     func()
	logs     *os.File
	kube     *kubeWrites
	runs     *runs
}

// Option changes an Env before its operator starts.
type Option func(*Env)

// WithConfig sets a key of the operator's ConfigMap.
func WithConfig(key, value string) Option { return func(e *Env) { e.config[key] = value } }

// WithOptions changes the operator's options.
func WithOptions(change func(*controllers.Options)) Option {
	return func(e *Env) { change(&e.Options) }
}

// WithUser has the operator call the API server as a user of this name, who may do what the test binds to it and no more.
func WithUser(name string) Option { return func(e *Env) { e.user = name } }

// WithoutSettings leaves the cluster as a first installation finds it: with neither ConfigMap nor Secret.
func WithoutSettings() Option { return func(e *Env) { e.bare = true } }

// WithSim makes the Controller with other options.
func WithSim(o avisim.Options) Option {
	return func(e *Env) {
		sim, err := avisim.New(o)
		if err != nil {
			e.T.Fatal(err)
		}
		e.Sim = sim
	}
}

// Cluster is a Kubernetes cluster besides the one that Main started.
type Cluster struct{ rest *rest.Config }

// SecondCluster starts one more API server, with all CRDs, for the rest of the test.
func SecondCluster(t testing.TB) *Cluster {
	t.Helper()
	c, err := cluster.Start(context.Background(), cluster.Options{ControlPlaneOnly: true, Log: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Errorf("stopping the second API server: %v", err)
		}
	})
	cfg := c.RESTConfig()
	cfg.QPS, cfg.Burst = -1, 0
	upstream, err := cluster.GatewayAPI(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := envtest.InstallCRDs(cfg, envtest.CRDInstallOptions{Paths: append(upstream, CRDs...), ErrorIfPathMissing: true}); err != nil {
		t.Fatal(err)
	}
	return &Cluster{rest: cfg}
}

// In has the operator, and its namespaces, live in another cluster.
func (c *Cluster) In(e *Env) { e.rest = c.rest }

// Twin has the operator use another Env's Controller, under the same clusterName.
func Twin(of *Env) Option {
	return func(e *Env) {
		e.Sim, e.guest, e.Cluster = of.Sim, true, of.Cluster
		e.config["clusterName"] = of.Cluster
	}
}

// New starts a Controller and an operator that serves one namespace.
func New(t testing.TB, opts ...Option) *Env {
	t.Helper()
	numbered.Lock()
	numbered.n++
	id := fmt.Sprintf("t%d", numbered.n)
	numbered.Unlock()
	e := &Env{
		T: t, Namespace: id, System: id + "-system", Cluster: id,
		config: map[string]string{
			"clusterName": id, "nsSyncLabelKey": "served-by", "nsSyncLabelValue": id,
			"vipNetworkList": `[{"networkName":"vip-network","cidr":"10.10.0.0/16"}]`,
			// Nodes are shared by all tests of a package, whose numbers of writes would else depend on each other's nodes.
			"disableStaticRouteSync": "true",
		},
		secret: map[string][]byte{"username": []byte("admin"), "password": []byte("avi123$%")},
		Options: controllers.Options{Workers: 8, Concurrency: 8, Timeout: 5 * time.Second, Refresh: time.Hour, Health: 200 * time.Millisecond,
			DeletionShare: 0.2},
		rest: restCfg, kube: new(kubeWrites), runs: &runs{last: make(map[runKey]lastRun)},
	}
	for _, o := range opts {
		o(e)
	}
	if e.Sim == nil {
		WithSim(avisim.Options{})(e)
	}
	if !e.guest {
		e.must(e.Sim.Start())
		t.Cleanup(e.Sim.Close)
	}
	scheme := runtime.NewScheme()
	e.must(controllers.AddToScheme(scheme))
	e.must(apiextensionsv1.AddToScheme(scheme))
	c, err := client.New(e.rest, client.Options{Scheme: scheme})
	e.must(err)
	e.Client = c
	e.must(c.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: e.System}}))
	e.must(c.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: id, Labels: map[string]string{"served-by": id}}}))
	e.config["controllerIP"], e.secret["certificateAuthorityData"] = e.Sim.Host(), e.Sim.CAPEM()
	if !e.bare {
		e.Create(e.ConfigMap(), e.Secret())
	}
	t.Cleanup(func() { e.clear(id) })
	e.StartOperator()
	t.Cleanup(e.StopOperator)
	if e.releases {
		ctx, stop := context.WithCancel(context.Background())
		t.Cleanup(stop)
		go e.releaseHeld(ctx)
	}
	return e
}

// ConfigMap has the operator's settings, and Secret its credentials; WithoutSettings leaves their creation to the test.
func (e *Env) ConfigMap() *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "avi-k8s-config", Namespace: e.System}, Data: e.config}
}

// Secret has the operator's credentials.
func (e *Env) Secret() *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "avi-secret", Namespace: e.System}, Data: e.secret}
}

// ReleaseHeld has a person release whatever the operator holds, until the test ends.
func ReleaseHeld() Option { return func(e *Env) { e.releases = true } }

// releaseHeld releases what is held, as long as the context lasts.
func (e *Env) releaseHeld(ctx context.Context) {
	for ; ctx.Err() == nil; time.Sleep(100 * time.Millisecond) {
		held, config := new(corev1.ConfigMap), new(corev1.ConfigMap)
		if e.Client.Get(ctx, client.ObjectKey{Namespace: e.System, Name: controllers.LedgerName}, held) != nil ||
			e.Client.Get(ctx, client.ObjectKey{Namespace: e.System, Name: "avi-k8s-config"}, config) != nil {
			continue
		}
		var ids []string
		for _, text := range held.Data {
			var h plan.Hold
			if json.Unmarshal([]byte(text), &h) == nil && h.ID != "" {
				ids = append(ids, h.ID)
			}
		}
		if len(ids) > 0 {
			metav1.SetMetaDataAnnotation(&config.ObjectMeta, controllers.AnnotationRelease, strings.Join(ids, ","))
			_ = e.Client.Update(ctx, config) // on a conflict, the next time
		}
	}
}

// In is the Env for a subtest, in which it fails the subtest. It shares everything else.
func (e *Env) In(t testing.TB) *Env {
	sub := *e
	sub.T = t
	return &sub
}

// Apart is In with a namespace of its own, which the same operator serves, so that names are free.
func (e *Env) Apart(t testing.TB) *Env {
	t.Helper()
	sub := e.In(t)
	numbered.Lock()
	numbered.n++
	sub.Namespace = fmt.Sprintf("%s-n%d", e.Cluster, numbered.n)
	numbered.Unlock()
	sub.must(
		sub.Client.Create(t.Context(),
			&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: sub.Namespace, Labels: map[string]string{"served-by": e.Cluster}}}))
	namespace := sub.Namespace
	e.T.Cleanup(func() { e.clear(namespace) }) // when e's own test ends: its operator may be looking at what is here
	return sub
}

// cleared are the kinds of which a namespace is rid when its test has ended. Each operator reads those of all namespaces, and the last of
// hundreds of tests would read what all others have left.
var cleared = []client.ObjectList{new(corev1.ServiceList), new(discoveryv1.EndpointSliceList), new(gatewayv1.GatewayList),
	new(svcapi.GatewayList), new(gatewayv1.TCPRouteList), new(gatewayv1.UDPRouteList), new(v1alpha1.SCTPRouteList)}

// clear deletes what a namespace has of those kinds, finalizers and all.
func (e *Env) clear(namespace string) {
	ctx := context.Background() // the test's own has ended
	for _, kind := range cleared {
		list := kind.DeepCopyObject().(client.ObjectList)
		if err := e.Client.List(ctx, list, client.InNamespace(namespace)); err != nil {
			continue // its type is gone, or its API server
		}
		_ = apimeta.EachListItem(list, func(item runtime.Object) error {
			o, ok := item.(client.Object)
			if ok && len(o.GetFinalizers()) > 0 {
				_ = e.Client.Patch(ctx, o, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`)))
			}
			if ok {
				_ = e.Client.Delete(ctx, o)
			}
			return nil
		})
	}
}

// StartOperator starts an operator process's worth of code in this one.
func (e *Env) StartOperator() {
	e.T.Helper()
	mgr, c, o := e.assemble()
	ctx, cancel := context.WithCancel(context.Background())
	var err error
	e.Operator, err = controllers.Setup(ctx, mgr, c, o)
	e.must(err)
	done := make(chan error, 1)
	go func() { done <- e.Operator.Run(ctx, mgr) }()
	e.stop = func() {
		cancel()
		select {
		case err := <-done:
			if err != nil && !errors.Is(err, context.Canceled) {
				e.T.Errorf("the operator ended with: %v", err)
			}
		case <-time.After(40 * time.Second):
			e.T.Error("the operator didn't stop")
		}
	}
}

// Preview is what the program prints with --preview, and whether it finds something to change.
func (e *Env) Preview() (text string, changes bool) {
	e.T.Helper()
	mgr, c, o := e.assemble()
	var out strings.Builder
	changes, err := controllers.Preview(e.T.Context(), mgr, c, o, &out)
	e.must(err)
	return out.String(), changes
}

// HandBack is the program with --hand-back, and what it prints.
func (e *Env) HandBack() string {
	e.T.Helper()
	mgr, c, o := e.assemble()
	var out strings.Builder
	e.must(controllers.HandBack(e.T.Context(), mgr, c, o, &out))
	return out.String()
}

// assemble makes what the program is made of.
func (e *Env) assemble() (ctrl.Manager, *avi.Client, controllers.Options) {
	e.T.Helper()
	log := logr.Discard()
	if dir := os.Getenv("AVI_TEST_LOGS"); dir != "" { // a folder for the operators' logs, to look into a failure
		if e.logs == nil {
			f, err := os.Create(dir + "/" + strings.ReplaceAll(e.T.Name(), "/", "_") + ".log")
			e.must(err)
			e.logs = f
		}
		core := zapcore.NewCore(zapcore.NewConsoleEncoder(zap.NewDevelopmentEncoderConfig()), zapcore.AddSync(e.logs), zapcore.Level(-1))
		log = zapr.NewLogger(zap.New(core))
	}
	log = logr.New(runSink{runs: e.runs, next: log.GetSink()})
	scheme := runtime.NewScheme()
	e.must(controllers.AddToScheme(scheme))
	cfg := rest.CopyConfig(e.rest)
	cfg.Wrap(e.kube.transport)
	if e.user != "" {
		cfg.Impersonate = rest.ImpersonationConfig{UserName: e.user, Groups: []string{"system:authenticated"}}
	}
	mgr, err := ctrl.NewManager(cfg, ctrl.Options{
		Scheme: scheme, Cache: controllers.CacheOptions(e.System), Logger: log,
		Metrics:    metricsserver.Options{BindAddress: "0"},
		Controller: config.Controller{SkipNameValidation: new(true)},
	})
	e.must(err)
	registerer := e.Options.Registerer
	if registerer == nil {
		registerer = prometheus.NewRegistry()
	}
	c, err := avi.NewUnconfigured(avi.WithLogger(log.WithName("avi")), avi.WithRegisterer(registerer))
	e.must(err)
	o := e.Options
	o.Namespace = e.System
	o.Log = log
	return mgr, c, o
}

// StopOperator stops it; what it left on the Controller stays.
func (e *Env) StopOperator() {
	if e.stop != nil {
		e.stop()
		e.stop = nil
	}
}

// Configure changes keys of the ConfigMap of a running operator.
func (e *Env) Configure(change func(map[string]string)) {
	e.T.Helper()
	cm := new(corev1.ConfigMap)
	e.must(e.Client.Get(e.T.Context(), client.ObjectKey{Namespace: e.System, Name: "avi-k8s-config"}, cm))
	change(cm.Data)
	e.must(e.Client.Update(e.T.Context(), cm))
}

// Credentials changes keys of the Secret of a running operator.
func (e *Env) Credentials(change func(map[string][]byte)) {
	e.T.Helper()
	s := new(corev1.Secret)
	e.must(e.Client.Get(e.T.Context(), client.ObjectKey{Namespace: e.System, Name: "avi-secret"}, s))
	change(s.Data)
	e.must(e.Client.Update(e.T.Context(), s))
}

// Port is a Service port "SCTP/80", named after itself, whose target is 9090.
func Port(protocol corev1.Protocol, port int32) corev1.ServicePort {
	return corev1.ServicePort{Name: strings.ToLower(string(protocol)) + fmt.Sprint(port), Protocol: protocol, Port: port,
		TargetPort: intstr.FromInt32(9090)}
}

// Service is a Service of type LoadBalancer with the ports, not yet created.
func (e *Env) Service(name string, ports ...corev1.ServicePort) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: e.Namespace},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, Selector: map[string]string{"app": name}, Ports: ports, AllocateLoadBalancerNodePorts: new(false)},
	}
}

// Slice is an EndpointSlice for the Service with an endpoint for each address, as the endpoint controller would make
// it; these tests run without one.
func (e *Env) Slice(svc *corev1.Service, addresses ...string) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Name: svc.Name, Namespace: svc.Namespace,
			Labels: map[string]string{discoveryv1.LabelServiceName: svc.Name}},
		AddressType: discoveryv1.AddressTypeIPv4,
	}
	for _, p := range svc.Spec.Ports {
		s.Ports = append(s.Ports, discoveryv1.EndpointPort{Name: new(p.Name), Protocol: new(p.Protocol), Port: new(p.TargetPort.IntVal)})
	}
	for _, a := range addresses {
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{a}, NodeName: new("node-1"), Conditions: discoveryv1.EndpointConditions{Ready: new(true)}})
	}
	return s
}

// Create creates objects.
func (e *Env) Create(objects ...client.Object) {
	e.T.Helper()
	for _, o := range objects {
		e.must(e.Client.Create(e.T.Context(), o))
	}
}

// Read reads an object anew. The client would leave what the answer doesn't have as it was.
func (e *Env) Read(o client.Object) error {
	next, ok := reflect.New(reflect.TypeOf(o).Elem()).Interface().(client.Object)
	if !ok {
		return fmt.Errorf("%T can't be read", o)
	}
	if err := e.Client.Get(e.T.Context(), client.ObjectKeyFromObject(o), next); err != nil {
		return err
	}
	reflect.ValueOf(o).Elem().Set(reflect.ValueOf(next).Elem())
	return nil
}

// Update changes an object as kubectl edit does: read, change, write, again on a conflict.
func Update[T client.Object](e *Env, o T, change func(T)) {
	e.T.Helper()
	e.Eventually("updating "+o.GetName(), func() error {
		if err := e.Read(o); err != nil {
			return err
		}
		change(o)
		return e.Client.Update(e.T.Context(), o)
	})
}

// Delete deletes an object and doesn't wait for it to go.
func (e *Env) Delete(o client.Object) {
	e.T.Helper()
	e.must(client.IgnoreNotFound(e.Client.Delete(e.T.Context(), o)))
}

// Eventually retries until the condition holds, for at most 30 seconds.
func (e *Env) Eventually(what string, holds func() error) {
	e.T.Helper()
	e.within(30*time.Second, what, holds)
}

func (e *Env) within(limit time.Duration, what string, holds func() error) {
	e.T.Helper()
	begin := time.Now()
	for {
		err := holds()
		if err == nil {
			return
		}
		waited := time.Since(begin)
		if waited > limit {
			e.T.Fatalf("%s: %v%s", what, err, e.lastLines())
		}
		time.Sleep(min(max(pollLeast, waited/10), pollMost)) // most of what it asks is the API server, which has enough to do
	}
}

// lastLines are those of the operator's log, without debugging, for whoever has nothing else of a failure.
func (e *Env) lastLines() string {
	const most = 15
	lines := e.Logged()
	return "\n\tthe operator's log ends with:\n\t\t" + strings.Join(lines[max(0, len(lines)-most):], "\t\t")
}

// How often a condition is looked at, in proportion to how long it has been waited for.
const (
	pollLeast = 10 * time.Millisecond
	pollMost  = 200 * time.Millisecond
)

// Never fails if the condition comes true within the time.
func (e *Env) Never(what string, during time.Duration, happens func() bool) {
	e.T.Helper()
	for deadline := time.Now().Add(during); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if happens() {
			e.T.Fatal(what)
		}
	}
}

// Condition waits until a Service's condition has the status and, unless it is empty, the reason. It returns the
// message.
func (e *Env) Condition(svc *corev1.Service, kind string, status metav1.ConditionStatus, reason string) string {
	e.T.Helper()
	message := ""
	e.Eventually(fmt.Sprintf("condition %s=%s/%s of %s", kind, status, reason, svc.Name), func() error {
		if err := e.Read(svc); err != nil {
			return err
		}
		c := apimeta.FindStatusCondition(svc.Status.Conditions, "ako.vmware.com/"+kind)
		if c == nil || c.Status != status || reason != "" && c.Reason != reason {
			return fmt.Errorf("have %+v", svc.Status.Conditions)
		}
		message = c.Message
		return nil
	})
	return message
}

// NoProblem waits until a Service tells no problem any more. For a moment after it got its address it may be down:
// the Controller has not heard of its servers yet.
func (e *Env) NoProblem(svc *corev1.Service) {
	e.T.Helper()
	e.Eventually("the end of the problem of "+svc.Name, func() error {
		if err := e.Read(svc); err != nil {
			return err
		}
		if text, told := svc.Annotations["l4.ako.vmware.com/problem"]; told {
			return fmt.Errorf("it still tells %s", text)
		}
		return nil
	})
}

// Programmed waits until the Service is programmed, with an address and with the endpoints that its EndpointSlices have by now, and
// returns its first address. A Service is served as soon as it is seen, which may be before its EndpointSlices are: a test that counts
// writes from here on doesn't mean the one that adds them.
func (e *Env) Programmed(svc *corev1.Service) string {
	e.T.Helper()
	e.Condition(svc, "Programmed", metav1.ConditionTrue, "")
	e.Eventually(svc.Name+" has an address and its endpoints", func() error {
		if err := e.Read(svc); err != nil {
			return err
		}
		if len(svc.Status.LoadBalancer.Ingress) == 0 {
			return errors.New("it is programmed without an address")
		}
		return e.endpointsSent(svc)
	})
	return svc.Status.LoadBalancer.Ingress[0].IP
}

// endpointsSent is nil unless a Service's EndpointSlices have endpoints that take connections and all of its pools are empty.
func (e *Env) endpointsSent(svc *corev1.Service) error {
	pools := 0
	for _, pool := range e.Sim.Objects("pool") {
		marks := Marks(pool)
		if marks["clustername"] != e.Cluster || marks["Namespace"] != svc.Namespace || marks["ServiceName"] != svc.Name {
			continue
		}
		if pools++; len(ServersOf(pool)) > 0 {
			return nil
		}
	}
	if pools == 0 {
		return nil
	}
	var list discoveryv1.EndpointSliceList
	err := e.Client.List(e.T.Context(), &list, client.InNamespace(svc.Namespace),
		client.MatchingLabels{discoveryv1.LabelServiceName: svc.Name})
	for _, s := range list.Items {
		behind := slices.ContainsFunc(s.Ports, func(have discoveryv1.EndpointPort) bool {
			return slices.ContainsFunc(svc.Spec.Ports, func(p corev1.ServicePort) bool {
				return *have.Name == p.Name && *have.Protocol == cmp.Or(p.Protocol, corev1.ProtocolTCP)
			})
		})
		ready := slices.ContainsFunc(s.Endpoints, func(e discoveryv1.Endpoint) bool { return e.Conditions.Ready == nil || *e.Conditions.Ready })
		if behind && ready {
			return fmt.Errorf("EndpointSlice %s has endpoints, and none of %d pools has a server", s.Name, pools)
		}
	}
	return err
}

// Name of a Service's VirtualService, VsVip and L4PolicySet.
func (e *Env) Name(svc *corev1.Service) string {
	return e.Cluster + "--" + svc.Namespace + "-" + svc.Name
}

// PoolName of a Service's port.
func (e *Env) PoolName(svc *corev1.Service, p corev1.ServicePort) string {
	return fmt.Sprintf("%s-%s-%d", e.Name(svc), p.Protocol, p.Port)
}

// Object returns an object of the Controller in tenant admin, nil if there is none.
func (e *Env) Object(kind, name string) map[string]any {
	o, ok := e.Sim.Object(kind, "admin", name)
	if !ok {
		return nil
	}
	return o
}

// Servers lists a pool's servers as "10.0.0.1:9090" or "10.0.0.1:9090 disabled".
func (e *Env) Servers(pool string) []string {
	o := e.Object("pool", pool)
	if o == nil {
		return nil
	}
	return ServersOf(o)
}

// ServersOf lists the servers of a pool as Servers does.
func ServersOf(pool map[string]any) []string {
	list, _ := pool["servers"].([]any)
	out := []string{}
	for _, s := range list {
		m, _ := s.(map[string]any)
		ip, _ := m["ip"].(map[string]any)
		text := fmt.Sprintf("%v:%v", ip["addr"], m["port"])
		if m["enabled"] == false {
			text += " disabled"
		}
		out = append(out, text)
	}
	return out
}

// Owned counts the objects that carry the cluster's prefix, by kind.
func (e *Env) Owned() map[string]int {
	out := map[string]int{}
	for _, kind := range model.Written {
		for _, o := range e.Sim.Objects(string(kind)) {
			if name, _ := o["name"].(string); strings.HasPrefix(name, e.Cluster+"--") {
				out[string(kind)]++
			}
		}
	}
	return out
}

// Complete checks that the Controller holds exactly one tree for each Service, and nothing else of ours.
func (e *Env) Complete(services ...*corev1.Service) error {
	want := map[string]int{}
	for _, svc := range services {
		want["vsvip"]++
		want["l4policyset"]++
		want["virtualservice"]++
		want["pool"] += len(svc.Spec.Ports)
		if len(svc.Spec.LoadBalancerSourceRanges) > 0 {
			want["networksecuritypolicy"]++
		}
		if e.Object("virtualservice", e.Name(svc)) == nil {
			return fmt.Errorf("there is no VirtualService %s", e.Name(svc))
		}
	}
	profiles := map[string]bool{}
	for _, svc := range services {
		if svc.Spec.SessionAffinity == corev1.ServiceAffinityClientIP {
			profiles[fmt.Sprint(svc.Spec.SessionAffinityConfig)] = true
			want["applicationpersistenceprofile"] = len(profiles)
		}
	}
	have := e.Owned()
	if fmt.Sprint(have) != fmt.Sprint(want) {
		return fmt.Errorf("the Controller holds %v of ours, want %v", have, want)
	}
	return nil
}

func (e *Env) must(err error) {
	e.T.Helper()
	if err != nil {
		e.T.Fatal(err)
	}
}
