// SPDX-License-Identifier: Apache-2.0

// Package bench measures the operator, as a process of its own, against a local API server and a simulated Controller
// that takes 20 ms for each call, or BENCH_LATENCY. It reports; it never fails for being slow.
package bench

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"golang.org/x/sync/errgroup"

	"github.com/avi-l4-operator/avi-l4-operator/controllers"
	"github.com/avi-l4-operator/avi-l4-operator/hack/cluster"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim"
	"github.com/avi-l4-operator/avi-l4-operator/test/suite"
)

// latency is how long the Controller takes for each call.
var latency = time.Duration(number("BENCH_LATENCY", 20)) * time.Millisecond

const (
	concurrency = 8 // the operator's default
	namespace   = "bench"
	system      = "bench-system"

	operatorName   = "avi-l4-operator" // as the kernel knows the process
	probesAddress  = "127.0.0.1:18081"
	standbyAddress = "127.0.0.1:18082"
	pprofAddress   = "127.0.0.1:18083"
)

// row is one line of the table.
type row struct{ what, measured, goal string }

// BenchmarkOperator measures the operator of this tree; with BENCH_BASE and BENCH_RIVAL also others, to compare with: see compare_test.go.
func BenchmarkOperator(b *testing.B) {
	for range b.N {
		if base, rival := os.Getenv("BENCH_BASE"), os.Getenv("BENCH_RIVAL"); base != "" || rival != "" {
			compare(b, base, rival)
			continue
		}
		x := start(b)
		rows := append(everything(x), row{}, row{what: "without a cluster:"})
		x.must(report(append(rows, buildAndPlan()...), x.numbers))
	}
}

func subject() string {
	return fmt.Sprintf("%s per call, %d calls at once, %d Services of one SCTP port with 2 endpoints", latency, concurrency, number("BENCH_SERVICES", 1000))
}

// part is a part of the table.
type part struct {
	name    string
	heading string // what is there beside what was measured before; "" for none
	rows    func() []row
}

// parts are those of the table, in an order in which each finds what it needs.
func (x *bench) parts() []part {
	n, gateways := number("BENCH_SERVICES", 1000), number("BENCH_GATEWAYS", 200)
	routed, shared := number("BENCH_ROUTED_GATEWAYS", 30), number("BENCH_SHARED_VIPS", 250)
	return []part{
		{"storm", "", func() []row { return x.storm(n) }},
		{"alone", "", x.alone},
		{"restart", "", func() []row { return x.restart(4 * n) }},
		{"pool500", "", func() []row { return x.oneOf(500) }},
		{"pool5000", "", func() []row { return x.oneOf(5000) }},
		{"rollout", "", x.rollout},
		{"takeover", "", x.takenOver},
		{"rest", "", x.atRest},
		{"gateways", fmt.Sprintf("%d Gateways of %d listeners, each with a Service of 2 endpoints, beside all that:", gateways, len(listeners)),
			func() []row { return x.gateways(gateways, n) }},
		{"routed", fmt.Sprintf("%d Gateways of gateway.networking.k8s.io with %d SCTPRoutes of two Services each, beside all that:",
			routed, routed*routesPerGateway), func() []row { return x.routed(routed) }},
		{"shared", fmt.Sprintf("%d Services in %d shared VIPs, beside all that:", shared*len(sharedPorts), shared),
			func() []row { return x.shared(shared) }},
		{"routes", "static routes, beside all that:", func() []row { return x.nodes(number("BENCH_NODES", 500)) }},
		{"churn", "at last, beside all that:", func() []row { return x.churn(n, 500) }},
		{"pressure", "", func() []row { return x.underPressure(number("BENCH_PRESSURE", n), n) }},
		{"deletion", "", x.allDeleted},
		{"two", "", func() []row { return x.sideBySide(n) }},
	}
}

// everything measures an operator on a cluster of its own, which is stopped at the end. What is measured is shown at once, too.
// BENCH_ONLY names the parts to measure, separated by commas, of which the first, storm, is always one.
func everything(x *bench) (rows []row) {
	defer x.stop()
	only := strings.Split(os.Getenv("BENCH_ONLY"), ",")
	if profile != "" {
		only = []string{"storm"}
	}
	for _, p := range x.parts() {
		if p.name != "storm" && only[0] != "" && !slices.Contains(only, p.name) {
			continue
		}
		if p.heading != "" {
			rows = append(rows, row{}, row{what: p.heading})
		}
		for _, r := range p.rows() {
			fmt.Fprintln(os.Stderr, "bench:", p.name+":", r.what, r.measured)
			rows = append(rows, r)
		}
	}
	return rows
}

// number is that of an environment variable, or else the usual one.
func number(variable string, usual int) int {
	if v, err := strconv.Atoi(os.Getenv(variable)); err == nil && v > 0 {
		return v
	}
	return usual
}

func table(subject string, rows []row) {
	fmt.Printf("\n%d cores of %s, Go %s; %s\n\n", runtime.NumCPU(), cpu(), strings.TrimPrefix(runtime.Version(), "go"), subject)
	width := 0
	for _, r := range rows {
		if r.measured != "" {
			width = max(width, len(r.what))
		}
	}
	for _, r := range rows {
		fmt.Println(strings.TrimRight(fmt.Sprintf("  %-*s  %-46s %s", width, r.what, r.measured, r.goal), " "))
	}
	fmt.Println()
}

func cpu() string {
	raw, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.SplitSeq(string(raw), "\n") {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == "model name" {
			return strings.TrimSpace(v)
		}
	}
	return runtime.GOARCH
}

// bench is the running whole.
type bench struct {
	*testing.B
	cluster  *cluster.Cluster
	sim      *avisim.Server
	client   client.Client
	binary   string
	command  string // run instead of the binary, by a shell
	log      *os.File
	operator *exec.Cmd
	probes   string // the operator's address for probes
	numbers  numbers
	busy     float64 // the share of the processors that was in use while the last calls were waited for
}

func start(b *testing.B) *bench {
	x := &bench{B: b}
	c, err := cluster.Start(b.Context(), cluster.Options{Nodes: 3, Log: os.Stderr})
	x.must(err)
	x.cluster = c
	b.Cleanup(func() { x.stop() })
	x.sim, err = avisim.New(avisim.Options{ReadLatency: latency, WriteLatency: latency, OmitBodies: true})
	x.must(err)
	x.must(x.sim.Start())
	cfg := c.RESTConfig()
	cfg.QPS, cfg.Burst = -1, 0
	upstream, err := cluster.GatewayAPI(b.Context())
	x.must(err)
	_, err = envtest.InstallCRDs(cfg, envtest.CRDInstallOptions{Paths: append(upstream, suite.CRDs...), ErrorIfPathMissing: true})
	x.must(err)
	scheme := apiruntime.NewScheme()
	x.must(controllers.AddToScheme(scheme))
	x.client, err = client.New(cfg, client.Options{Scheme: scheme})
	x.must(err)
	x.must(x.client.Create(b.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}))
	for i := range number("BENCH_NAMESPACES", 0) {
		x.must(x.client.Create(b.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%s-%d", namespace, i)}}))
	}
	x.install(system, nil)
	x.build()
	return x
}

// install makes what an operator needs in a namespace of its own.
func (x *bench) install(system string, settings map[string]string) {
	data := map[string]string{
		"clusterName": "bench", "controllerIP": x.sim.Host(), "vipNetworkList": `[{"networkName":"vip-network","cidr":"10.10.0.0/16"}]`, "logLevel": "WARN",
		"disableStaticRouteSync": "true", // until the row about them
	}
	maps.Copy(data, settings)
	x.must(x.client.Create(x.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: system}}))
	x.must(x.client.Create(x.Context(),
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "avi-k8s-config", Namespace: system}, Data: data}))
	x.must(x.client.Create(x.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "avi-secret", Namespace: system}, Data: map[string][]byte{
		"username": []byte("admin"), "password": []byte("avi123$%"), "certificateAuthorityData": x.sim.CAPEM(),
	}}))
}

func (x *bench) build() {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	x.must(err)
	root := filepath.Dir(strings.TrimSpace(string(out)))
	x.binary = filepath.Join(root, "bin", "avi-l4-operator")
	cmd := exec.Command("go", "build", "-trimpath", "-tags=grpcnotrace", "-pgo="+cmp.Or(os.Getenv("BENCH_PGO"), "off"), "-o", x.binary, ".")
	cmd.Dir, cmd.Env, cmd.Stderr = root, append(os.Environ(), "CGO_ENABLED=0"), os.Stderr
	x.must(cmd.Run())
	x.log, err = os.CreateTemp(x.TempDir(), "operator-*.log")
	x.must(err)
}

// run starts the operator; ready waits for its readiness.
func (x *bench) run() { x.operator = x.begin(system, probesAddress) }

// begin starts an operator in a namespace that answers probes at an address, with further flags.
func (x *bench) begin(system, probes string, flags ...string) *exec.Cmd {
	x.probes = probes
	x.operator = exec.Command(x.binary, "--namespace", system, "--metrics-bind-address", "0", "--health-probe-bind-address", probes,
		"--health-interval", "1h", "--leader-elect")
	x.operator.Args = append(x.operator.Args, flags...)
	if (profile != "" || os.Getenv("BENCH_PPROF") != "") && probes == probesAddress {
		x.operator.Args = append(x.operator.Args, "--pprof-bind-address", pprofAddress)
	}
	if x.command != "" {
		x.operator = exec.Command("sh", "-c", "exec "+x.command) // so that it is its memory that is measured, and not the shell's
	}
	ca := filepath.Join(filepath.Dir(x.log.Name()), "avi-ca.pem")
	x.must(os.WriteFile(ca, x.sim.CAPEM(), 0o600))
	x.operator.Env = append(os.Environ(), "KUBECONFIG="+x.cluster.Kubeconfig(), os.Getenv("BENCH_ENV"), "BENCH_NAMESPACE="+system,
		"AVI_CONTROLLER="+x.sim.Host(), "AVI_USERNAME=admin", "AVI_PASSWORD=avi123$%", "AVI_CA_FILE="+ca)
	x.operator.Stdout, x.operator.Stderr = x.log, x.log
	x.must(x.operator.Start())
	return x.operator
}

func (x *bench) ready() {
	x.wait("the operator's readiness", func() bool {
		r, err := http.Get("http://" + x.probes + "/readyz")
		if err != nil {
			return false
		}
		defer r.Body.Close()
		return r.StatusCode == http.StatusOK
	})
}

func (x *bench) halt() {
	if x.operator == nil {
		return
	}
	_ = x.operator.Process.Signal(os.Interrupt)
	_ = x.operator.Wait()
	x.operator = nil
}

func (x *bench) stop() {
	x.halt()
	if x.cluster != nil {
		_ = x.cluster.Stop()
		x.cluster = nil
	}
	if x.sim != nil {
		x.sim.Close()
	}
}

// cpuSeconds is the processor time that a process has used, by the name of its program.
func cpuSeconds() map[string]float64 {
	out := map[string]float64{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		raw, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		name, used := processorTime(string(raw))
		out[name] += used
	}
	return out
}

// cpuOf is the processor time that one process has used, in seconds.
func cpuOf(p *exec.Cmd) float64 {
	raw, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Process.Pid))
	_, used := processorTime(string(raw))
	return used
}

// processorTime reads a process's name, and what it has used in seconds, in its /proc stat.
func processorTime(stat string) (name string, seconds float64) {
	head, rest, _ := strings.Cut(stat, ") ")
	_, name, _ = strings.Cut(head, "(")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return name, 0
	}
	user, _ := strconv.ParseFloat(fields[11], 64)
	system, _ := strconv.ParseFloat(fields[12], 64)
	return name, (user + system) / 100 // USER_HZ
}

func cpuSince(before map[string]float64) string {
	type use struct {
		name    string
		seconds float64
	}
	var list []use
	for name, now := range cpuSeconds() {
		if d := now - before[name]; d >= 0.5 {
			list = append(list, use{name, d})
		}
	}
	slices.SortFunc(list, func(a, b use) int { return cmp.Compare(b.seconds, a.seconds) })
	var out []string
	for _, u := range list {
		out = append(out, fmt.Sprintf("%s %.1f s", u.name, u.seconds))
	}
	return strings.Join(out, ", ")
}

// memory reads a value of the operator's /proc status in KiB.
func (x *bench) memory(key string) int {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", x.operator.Process.Pid))
	x.must(err)
	for line := range strings.SplitSeq(string(raw), "\n") {
		if v, ok := strings.CutPrefix(line, key+":"); ok {
			n, err := strconv.Atoi(strings.Fields(v)[0])
			x.must(err)
			return n
		}
	}
	return 0
}

func (x *bench) service(name string, endpoints int) (*corev1.Service, []*discoveryv1.EndpointSlice) {
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace}, Spec: corev1.ServiceSpec{
		Type: corev1.ServiceTypeLoadBalancer, AllocateLoadBalancerNodePorts: new(false),
		Ports: []corev1.ServicePort{{Protocol: corev1.ProtocolSCTP, Port: 38412, TargetPort: intstr.FromInt32(9090)}},
	}}
	var slicesOf []*discoveryv1.EndpointSlice
	for first := 0; first < endpoints; first += 100 {
		s := &discoveryv1.EndpointSlice{
			ObjectMeta:  metav1.ObjectMeta{Name: fmt.Sprintf("%s-%d", name, first), Namespace: namespace, Labels: map[string]string{discoveryv1.LabelServiceName: name}},
			AddressType: discoveryv1.AddressTypeIPv4,
			Ports:       []discoveryv1.EndpointPort{{Name: new(""), Protocol: new(corev1.ProtocolSCTP), Port: new(int32(9090))}},
		}
		for i := first; i < min(endpoints, first+100); i++ {
			s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{
				Addresses: []string{fmt.Sprintf("10.244.%d.%d", i/250, 1+i%250)}, NodeName: new("node-1"),
				Conditions: discoveryv1.EndpointConditions{Ready: new(true)},
			})
		}
		slicesOf = append(slicesOf, s)
	}
	return svc, slicesOf
}

func (x *bench) create(svc *corev1.Service, endpointSlices []*discoveryv1.EndpointSlice) error {
	for _, s := range endpointSlices {
		if err := x.client.Create(x.Context(), s); err != nil {
			return err
		}
	}
	return x.client.Create(x.Context(), svc)
}

func (x *bench) programmed() (n int) {
	var list corev1.ServiceList
	x.must(x.client.List(x.Context(), &list))
	for _, s := range list.Items {
		if apimeta.IsStatusConditionTrue(s.Status.Conditions, "ako.vmware.com/Programmed") {
			n++
		}
	}
	return n
}

// storm: n Services wait when the operator starts.
func (x *bench) storm(n int) []row {
	g := new(errgroup.Group)
	g.SetLimit(8)
	for i := range n {
		g.Go(func() error { return x.create(x.service(fmt.Sprintf("s%05d", i), 2)) })
	}
	x.must(g.Wait())
	x.sim.ResetRequests()
	begin, cpu, kube, from := time.Now(), cpuSeconds(), x.kubeWrites(), x.sim.LastID()
	x.run()
	x.ready()
	profiled := x.profile()
	idle := x.memory("VmHWM")
	x.allCalls(from, 4*n)
	used := cpuSince(cpu)
	x.wait("all Services programmed", func() bool { return x.programmed() >= n })
	total, written := time.Since(begin), x.kubeWrites()-kube
	x.must(<-profiled)
	x.wait("quiet", func() bool { return x.quiet(2 * time.Second) })
	x.wait("no more writes to Kubernetes", x.written())
	writes := x.sim.Writes()
	first, _ := span(writes)
	peak := x.memory("VmHWM")
	budget := 60*1024 + 16*n
	x.numbers.Memory = append(x.numbers.Memory, memory{n, mib(x.memory("RssAnon")), mib(peak)})
	return []row{
		{"calls per Service", fmt.Sprintf("%.2f writes, %.3f reads", float64(len(writes))/float64(n), float64(x.readsAfter(first))/float64(n)), "goal: 4 writes (P+3), no read"},
		x.programmedIn("all programmed, first call to last", "Services", n, 4*n),
		{"the same, from the operator's start to the last status", fmt.Sprintf("%.1f s", total.Seconds()), ""},
		{"Kubernetes writes per Service", fmt.Sprintf("%.2f, and with its health %.2f", float64(written)/float64(n), float64(x.kubeWrites()-kube)/float64(n)), "goal: 3, and 1 for a change"},
		{"processor time until the last call", used, ""},
		{"peak memory", fmt.Sprintf("%.1f MiB resident, %.1f MiB when ready; now %.1f MiB of its own and %.1f MiB of the program file", mib(peak), mib(idle), mib(x.memory("RssAnon")), mib(x.memory("RssFile"))), fmt.Sprintf("goal: %.1f MiB (60 MiB + 16 KiB a Service)", float64(budget)/1024)},
	}
}

func mib(kib int) float64 { return float64(kib) / 1024 }

func span(requests []avisim.Request) (first, last time.Time) {
	for _, r := range requests {
		if first.IsZero() || r.Time.Before(first) {
			first = r.Time
		}
		if end := r.Time.Add(r.Took); end.After(last) {
			last = end
		}
	}
	return first, last
}

// alone: one Service at a time, from its creation to the end of the last call.
func (x *bench) alone() []row {
	var trips, calls []float64
	for i := range 20 {
		x.sim.ResetRequests()
		svc, endpointSlices := x.service(fmt.Sprintf("alone%d", i), 2)
		for _, s := range endpointSlices {
			x.must(x.client.Create(x.Context(), s))
		}
		time.Sleep(100 * time.Millisecond)
		x.must(x.client.Create(x.Context(), svc))
		begin := time.Now()
		x.wait("a Service alone", func() bool { return len(x.sim.Writes()) == 4 })
		first, last := span(x.sim.Writes())
		trips = append(trips, last.Sub(begin).Seconds()/latency.Seconds())
		calls = append(calls, last.Sub(first).Seconds()/latency.Seconds())
	}
	slices.Sort(trips)
	slices.Sort(calls)
	return []row{{"one Service alone, median of 20", fmt.Sprintf("%.2f round trips from its creation, %.2f of calls", trips[10], calls[10]), "goal: 3.5"}}
}

// restart: the operator starts again where the Controller holds so many objects, all as they should be.
func (x *bench) restart(objects int) []row {
	x.halt()
	x.run() // health is read at starts only here: this one writes what is new of it, and the next is measured
	x.ready()
	x.wait("quiet", func() bool { return x.quiet(3 * time.Second) })
	x.wait("no more writes to Kubernetes", x.written())
	x.halt()
	x.sim.ResetRequests()
	begin, kube := time.Now(), x.kubeWrites()
	x.run()
	x.ready()
	took := time.Since(begin)
	x.wait("quiet", func() bool { return x.quiet(3 * time.Second) })
	reads := 0
	for _, r := range x.sim.Requests() {
		if r.Method == http.MethodGet {
			reads++
		}
	}
	return []row{{"restart with nothing changed", fmt.Sprintf("%d writes, %d to Kubernetes, %d reads, ready in %.1f s", len(x.sim.Writes()), x.kubeWrites()-kube, reads, took.Seconds()),
		fmt.Sprintf("goal: 0 writes, bulk reads (%d objects)", objects)}}
}

// quiet reports whether no request has come for the time. It looks at the last one alone, since all of them may be a hundred thousand.
func (x *bench) quiet(d time.Duration) bool {
	last := x.sim.RequestsAfter(x.sim.LastID()-1, 1)
	return len(last) == 0 || time.Since(last[0].Time) > d
}

// oneOf changes one endpoint of n of a Service, ten times.
func (x *bench) oneOf(n int) []row {
	name := fmt.Sprintf("of%d", n)
	svc, endpointSlices := x.service(name, n)
	x.must(x.create(svc, endpointSlices))
	x.wait("the Service "+name, func() bool {
		pool, ok := x.sim.Object("pool", "admin", "bench--bench-"+name+"-SCTP-38412")
		servers, _ := pool["servers"].([]any)
		return ok && len(servers) == n && x.quiet(time.Second)
	})
	x.sim.ResetRequests()
	var took []time.Duration
	used := cpuSeconds()[operatorName]
	for i := range 10 {
		s := endpointSlices[i%len(endpointSlices)]
		s.Endpoints[7+i].Conditions.Ready = new(false)
		begin := time.Now()
		x.must(x.client.Update(x.Context(), s))
		x.wait("the change", func() bool { return len(x.sim.Writes()) > i })
		_, last := span(x.sim.Writes())
		took = append(took, last.Sub(begin))
		x.wait("quiet", func() bool { return x.quiet(time.Second) })
	}
	used = cpuSeconds()[operatorName] - used
	return []row{{fmt.Sprintf("one endpoint of %d changes, 10 times", n), fmt.Sprintf("%s, each done after %d ms (median), %.0f ms of the operator's processor time",
		verbs(x.sim.Writes()), percentile(took, 50).Milliseconds(), used*1000/10), "goal: 1 PATCH each; 5 ms"}}
}

// rollout replaces 50 pods of a Deployment, with the real controllers of Kubernetes.
func (x *bench) rollout() []row {
	labels := map[string]string{"app": "rollout"}
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "rollout", Namespace: namespace}, Spec: appsv1.DeploymentSpec{
		Replicas: new(int32(50)), Selector: &metav1.LabelSelector{MatchLabels: labels},
		Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Name: "server", Image: "sctp-server:latest", Ports: []corev1.ContainerPort{{ContainerPort: 9090, Protocol: corev1.ProtocolSCTP}},
		}}}},
	}}
	svc, _ := x.service("rollout", 0)
	svc.Spec.Selector = labels
	x.must(x.client.Create(x.Context(), svc))
	x.must(x.client.Create(x.Context(), d))
	done := func() bool {
		x.must(x.client.Get(x.Context(), client.ObjectKeyFromObject(d), d))
		pool, _ := x.sim.Object("pool", "admin", "bench--bench-rollout-SCTP-38412")
		servers, _ := pool["servers"].([]any)
		return d.Status.ObservedGeneration == d.Generation && d.Status.UpdatedReplicas == 50 && d.Status.ReadyReplicas == 50 &&
			d.Status.Replicas == 50 && len(servers) == 50
	}
	x.wait("50 pods", func() bool { return done() && x.quiet(3*time.Second) })
	x.sim.ResetRequests()
	begin := time.Now()
	d.Spec.Template.Annotations = map[string]string{"rolled": "out"}
	x.must(x.client.Update(x.Context(), d))
	x.wait("the rollout", func() bool { return done() && x.quiet(3*time.Second) })
	_, last := span(x.sim.Writes())
	return []row{{"rollout of 50 pods", fmt.Sprintf("%s in %.1f s", verbs(x.sim.Writes()), last.Sub(begin).Seconds()), "goal: 10 PATCHes or fewer"}}
}

func verbs(requests []avisim.Request) string {
	counts := map[string]int{}
	for _, r := range requests {
		counts[r.Method+" "+r.Type]++
	}
	var out []string
	for k, n := range counts {
		out = append(out, fmt.Sprintf("%d %s", n, k))
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

func (x *bench) wait(what string, holds func() bool) {
	x.Helper()
	fmt.Fprintln(os.Stderr, "bench: waiting for", what)
	deadline := time.Now().Add(10 * time.Minute)
	for !holds() {
		if time.Now().After(deadline) {
			raw, _ := os.ReadFile(x.log.Name())
			x.Fatalf("%s: not within 10 minutes; the operator's log ends with\n%s", what, raw[max(0, len(raw)-4000):])
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func (x *bench) must(err error) {
	x.Helper()
	if err != nil {
		x.Fatal(err)
	}
}
