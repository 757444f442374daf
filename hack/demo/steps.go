// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/avi-l4-operator/avi-l4-operator/hack/demo/stage"
	"github.com/avi-l4-operator/avi-l4-operator/hack/demo/tree"
	"github.com/avi-l4-operator/avi-l4-operator/internal/avi"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/status"
)

// step is one scene. It returns an error unless everything that it prints was seen.
type step struct {
	title string
	about string
	limit time.Duration // default 30 s
	play  func(context.Context, *story) error
}

// The two Services, in namespace default, and their ports.
const (
	sample, samplePort = "server", "SCTP 80"
	mixed              = "mixed"
)

var steps = []step{
	{"A Kubernetes cluster", "The real control plane; kwok plays three nodes. The first time, its programs are built: some minutes.", time.Hour, startCluster},
	{"A simulated Avi Controller", "A real HTTPS server with the Controller's API, its checks and its latencies.", 0, startController},
	{"The operator", "A process of its own, with exactly the rights that config/rbac gives its service account.", 15 * time.Minute, startOperator},
	{"A Service with SCTP", "Two pods listen on SCTP 9090; a Service of type LoadBalancer offers them on port 80.", time.Minute, applySample},
	{"A Service that mixes SCTP, TCP and UDP", "Three protocols behind one address: each gets its own pool, monitor and network profile.", time.Minute, applyMixed},
	{"Bytes through both Services", "The Controller's part is simulated, but carries traffic; so are the pods. SCTP travels in UDP (RFC 6951), for which nobody needs root.", time.Minute, sendBytes},
	{"Two Services share an address", "A shared VIP: SCTP of one Service and TCP of another on one VirtualService. One of them leaves, the other doesn't notice.", time.Minute, shareVIP},
	{"Scaling up", "", 0, scaleUp},
	{"Only some clients are let in", "Source ranges hold for SCTP as for TCP: a network security policy of the VirtualService refuses everybody else.", time.Minute, letIn},
	{"A pod fails its readiness probe", "It keeps its place in the pool but gets no new connections.", 0, failPod},
	{"A server stops answering the Controller", "Kubernetes calls it ready, the Controller's health monitor doesn't: the Service says so.", 0, failServers},
	{"Somebody edits the pool on the Controller", "What is ours is put right at the next refresh; what isn't is left alone.", 0, drift},
	{"An L4Rule on SCTP", "The network team's own profile, monitor and policy, named by one rule. Deleting the rule must not change live traffic.", time.Minute, ruleSCTP},
	{"Deleting the Service", "Everything of it goes, in the order that references allow; its neighbour doesn't notice.", 0, deleteSample},
	{"A Gateway with SCTP", "One address whose ports take Services by label. Its GatewayClass names an AviInfraSetting: where things go on the Controller.", time.Minute, applyGateway},
	{"A network that doesn't exist", "The AviInfraSetting is what the network team edits. A slip there must not move live traffic.", 0, misplaceGateway},
	{"Deleting the Gateway", "All of the file at once, its namespace first, as people do.", 0, deleteGateway},
	{"The Gateway API, with an SCTPRoute", "The API's own types and one for SCTP, which it lacks. A route shares a port out to two Services by weight.", time.Minute, applyRouted},
	{"Shifting the weights", "A canary is rolled out by editing one route.", 0, shiftWeights},
	{"Deleting it all", "", 0, deleteRouted},
	{"A look at the operator's log", "", 0, readLog},
}

func startCluster(ctx context.Context, s *story) error {
	if err := s.StartCluster(ctx); err != nil {
		return err
	}
	s.saw("the control plane is healthy and 3 nodes are ready")
	nodes, err := s.Kubectl(ctx, "get", "nodes", "-o", "custom-columns=NAME:.metadata.name,ADDRESS:.status.addresses[0].address,PODS:.spec.podCIDR,KUBELET:.status.nodeInfo.kubeletVersion")
	if err != nil {
		return err
	}
	s.show(nodes)
	return nil
}

func startController(ctx context.Context, s *story) error {
	if err := s.StartController(); err != nil {
		return err
	}
	version, err := s.Avi.Version(ctx)
	if err != nil {
		return err
	}
	s.saw("https://%s answers as version %s; %s for a read, %s for a write", s.Controller.Host(), version, readLatency, writeLatency)
	s.show("Watch it in a browser: " + s.Page)
	if err := s.StartTraffic(); err != nil {
		return err
	}
	s.saw("it carries traffic: addresses are at %s", s.Room.Map)
	return nil
}

func startOperator(ctx context.Context, s *story) (err error) {
	s.did("go build -o bin/avi-l4-operator .")
	if err := s.Build(ctx); err != nil {
		return err
	}
	s.saw("built")
	s.happens("into the cluster: config/default but for the Deployment, the CRDs of both Gateway APIs, ConfigMap avi-k8s-config, Secret avi-secret")
	if err := s.Install(ctx); err != nil {
		return err
	}
	s.saw("installed")
	flags := []string{"--zap-encoder=console", "--refresh-interval=" + refresh.String(), "--health-interval=" + health.String()}
	s.did("bin/avi-l4-operator " + strings.Join(flags, " "))
	if s.operator, err = s.StartOperator(ctx, "operator", flags...); err != nil {
		return err
	}
	s.saw("it is ready: settings valid, Controller read; its log is %s", relative(s.operator.LogFile))
	return nil
}

func applySample(ctx context.Context, s *story) error {
	if err := s.kubectl(ctx, "apply", "-f", "config/samples/loadbalancer-sctp.yaml"); err != nil {
		return err
	}
	vip, err := s.address(ctx, sample)
	if err != nil {
		return err
	}
	s.saw("the Service has the address %s", vip)
	t, err := s.tree(ctx, sample, "two enabled servers and no other", servers(samplePort, 2, 0))
	if err != nil {
		return err
	}
	s.saw("both pods are servers on the Controller")
	if err := s.healthy(ctx, sample, metav1.ConditionTrue, ""); err != nil {
		return err
	}
	s.saw("the Controller calls it healthy")
	if err := s.status(ctx, sample); err != nil {
		return err
	}
	s.saw("read back from the Controller's REST API:")
	s.show(t.String())
	return nil
}

func applyMixed(ctx context.Context, s *story) error {
	if err := s.kubectl(ctx, "apply", "-f", "config/samples/mixed-protocols.yaml"); err != nil {
		return err
	}
	vip, err := s.address(ctx, mixed)
	if err != nil {
		return err
	}
	s.saw("the Service has the address %s", vip)
	t, err := s.tree(ctx, mixed, "three pools of two enabled servers", func(t *tree.Tree) error {
		if len(t.Rules) != 3 {
			return fmt.Errorf("there are %d rules", len(t.Rules))
		}
		for port, monitor := range map[string]string{"SCTP 38412": "System-SCTP", "TCP 80": "System-TCP", "UDP 53": "System-UDP"} {
			if err := servers(port, 2, 0)(t); err != nil {
				return err
			}
			if refs := t.Pool(port).HealthMonitorRefs; len(refs) != 1 || tree.NameOf(&refs[0]) != monitor {
				return fmt.Errorf("the monitors of %s are %v", port, refs)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.saw("SCTP 38412, TCP 80 and UDP 53 each have a pool with both pods")
	if err := s.healthy(ctx, mixed, metav1.ConditionTrue, ""); err != nil {
		return err
	}
	if err := s.status(ctx, mixed); err != nil {
		return err
	}
	s.saw("read back from the Controller's REST API:")
	s.show(t.String())
	return nil
}

func scaleUp(ctx context.Context, s *story) error {
	if err := s.kubectl(ctx, "scale", "deployment", "sctp-demo", "--replicas", "4"); err != nil {
		return err
	}
	t, err := s.tree(ctx, sample, "four enabled servers", servers(samplePort, 4, 0))
	if err != nil {
		return err
	}
	s.saw("four servers: %s", strings.Join(t.Pool(samplePort).Enabled(), ", "))
	return nil
}

// letIn restricts the clients of the Service, widens the ranges, and lets everybody in again.
func letIn(ctx context.Context, s *story) error {
	for _, act := range []struct{ ranges, clients, saw string }{
		{`["10.0.0.0/8"]`, "deny clients that are not in 10.0.0.0/8", "whoever is not in 10.0.0.0/8 is refused"},
		{`["10.0.0.0/8","192.0.2.0/24"]`, "deny clients that are not in 10.0.0.0/8, 192.0.2.0/24", "a second prefix is let in"},
		{`null`, "", "everybody is let in again, and the policy is gone"},
	} {
		if err := s.kubectl(ctx, "patch", "service", sample, "--patch", `{"spec":{"loadBalancerSourceRanges":`+act.ranges+`}}`); err != nil {
			return err
		}
		t, err := s.tree(ctx, sample, "its clients", func(t *tree.Tree) error {
			if got := t.Clients(); got != act.clients {
				return fmt.Errorf("%q, not %q", got, act.clients)
			}
			return servers(samplePort, 4, 0)(t)
		})
		if err != nil {
			return err
		}
		s.saw("%s", act.saw)
		if act.clients != "" {
			s.show(t.String())
		}
		if err := s.clientsOf(ctx, act.clients == ""); err != nil {
			return err
		}
	}
	// The policy's deletion follows the reference's.
	return stage.Until(ctx, "no policy is left", func(ctx context.Context) error {
		names, err := s.Trees.Names(ctx, s.objectName(sample))
		if err == nil && slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, string(model.NetworkSecurityPolicy)) }) {
			err = fmt.Errorf("the Controller holds %v", names)
		}
		return err
	})
}

func failPod(ctx context.Context, s *story) error {
	pod, err := s.pod(ctx, metav1.NamespaceDefault, "server")
	if err != nil {
		return err
	}
	address := pod.Status.PodIP + ":9090"
	s.happens("pod " + pod.Name + " becomes unready")
	if err := s.Cluster.SetPodReady(ctx, pod.Namespace, pod.Name, false); err != nil {
		return err
	}
	t, err := s.tree(ctx, sample, address+" disabled", func(t *tree.Tree) error {
		if err := servers(samplePort, 3, 1)(t); err != nil {
			return err
		}
		if got := t.Pool(samplePort).Disabled(); got[0] != address {
			return fmt.Errorf("%s is disabled, not %s", got[0], address)
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.saw("its server is disabled, the other three go on:")
	s.show(t.String())
	s.happens("pod " + pod.Name + " becomes ready again")
	if err := s.Cluster.SetPodReady(ctx, pod.Namespace, pod.Name, true); err != nil {
		return err
	}
	if _, err := s.tree(ctx, sample, "four enabled servers", servers(samplePort, 4, 0)); err != nil {
		return err
	}
	s.saw("its server is enabled again")
	return nil
}

func failServers(ctx context.Context, s *story) error {
	t, err := s.Trees.Read(ctx, s.objectName(sample))
	if err != nil {
		return err
	}
	all := t.Pool(samplePort).Enabled()
	set := func(up bool, addresses ...string) error {
		for _, a := range addresses {
			ip, port, _ := strings.Cut(a, ":")
			number, err := strconv.Atoi(port)
			if err != nil {
				return err
			}
			s.Controller.SetServerHealth(ip, number, up, "no SCTP INIT ACK within 4 s")
		}
		return nil
	}
	for _, act := range []struct {
		happens   string
		up        bool
		addresses []string
		status    metav1.ConditionStatus
		message   string // what it must contain; "" for no number of servers
		saw       string
	}{
		{"the health monitor gives up " + all[0], false, all[:1], metav1.ConditionTrue, "3 of 4 enabled servers up", "still up, but the Service tells"},
		{"the health monitor gives up the others too", false, all[1:], metav1.ConditionFalse, "0 of 4 enabled servers up", "condition Healthy is False"},
		{"all four answer again", true, all, metav1.ConditionTrue, "", "condition Healthy is True"},
	} {
		s.happens(act.happens)
		if err := set(act.up, act.addresses...); err != nil {
			return err
		}
		if err := s.healthy(ctx, sample, act.status, act.message); err != nil {
			return err
		}
		svc, err := s.service(ctx, sample)
		if err != nil {
			return err
		}
		s.saw("%s: %s", act.saw, apimeta.FindStatusCondition(svc.Status.Conditions, status.Healthy).Message)
	}
	return nil
}

// drift edits the pool as a person with another tool would, over the same REST API.
func drift(ctx context.Context, s *story) error {
	t, err := s.Trees.Read(ctx, s.objectName(sample))
	if err != nil {
		return err
	}
	pool := t.Pool(samplePort)
	const algorithm = "LB_ALGORITHM_ROUND_ROBIN"
	s.happens("on the Controller, three servers are taken out of " + tree.Text(pool.Name) + ", and its algorithm becomes " + algorithm)
	patch := avi.Patch{Replace: map[string]any{"servers": pool.Pool.Servers[:1], "lb_algorithm": algorithm}}
	if _, err := s.Avi.Patch(ctx, model.Pool, s.Trees.Tenant, tree.Text(pool.UUID), patch); err != nil {
		return err
	}
	t, err = s.tree(ctx, sample, "the four servers of before", func(t *tree.Tree) error {
		if now := t.Pool(samplePort).Enabled(); !slices.Equal(now, pool.Enabled()) {
			return fmt.Errorf("the servers are %v", now)
		}
		return nil
	})
	if err != nil {
		return err
	}
	// The interval is jittered by a tenth; then come the read and the write, and a machine that may be busy.
	if took, limit := time.Since(s.begin), refresh+refresh/10+3*time.Second; took > limit {
		return fmt.Errorf("the repair took %s, longer than one refresh of %s allows", seconds(took), refresh)
	}
	s.saw("the four servers are back within one refresh, which is every %s here", refresh)
	if got := tree.Text(t.Pool(samplePort).LbAlgorithm); got != algorithm {
		return fmt.Errorf("the algorithm is %s: the operator changed what isn't its own", got)
	}
	s.saw("the algorithm is still %s: nothing in the cluster says otherwise, so it is the network team's", algorithm)
	return nil
}

func deleteSample(ctx context.Context, s *story) error {
	before, err := s.Trees.Read(ctx, s.objectName(mixed))
	if err != nil {
		return err
	}
	if err := s.kubectl(ctx, "delete", "-f", "config/samples/loadbalancer-sctp.yaml", "--wait=false"); err != nil {
		return err
	}
	if err := s.gone(ctx, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: sample}}); err != nil {
		return err
	}
	s.saw("the Service is gone: its finalizer is released when nothing is left on the Controller")
	return s.nothingBut(ctx, s.objectName(sample), before)
}

func readLog(_ context.Context, s *story) error {
	if bad := s.operator.Complaints(); len(bad) > 0 {
		return fmt.Errorf("the operator complains:\n%s", strings.Join(bad, "\n"))
	}
	s.saw("%d lines, and it was never refused anything: the rights of config/rbac are enough", strings.Count(s.operator.Log(), "\n"))
	return nil
}

// kubectl runs a command of the story.
func (s *story) kubectl(ctx context.Context, args ...string) error {
	command := "kubectl"
	for _, a := range args {
		if strings.ContainsAny(a, `{"`) {
			a = "'" + a + "'"
		}
		command += " " + a
	}
	s.did(command)
	out, err := s.Kubectl(ctx, args...)
	if err == nil {
		s.show(out)
	}
	return err
}

func (s *story) objectName(service string) string {
	return s.ObjectName(metav1.NamespaceDefault, service)
}

func (s *story) service(ctx context.Context, name string) (*corev1.Service, error) {
	svc := new(corev1.Service)
	return svc, s.Client.Get(ctx, client.ObjectKey{Namespace: metav1.NamespaceDefault, Name: name}, svc)
}

// pod is one of a sample's pods.
func (s *story) pod(ctx context.Context, namespace, app string) (*corev1.Pod, error) {
	var pods corev1.PodList
	if err := s.Client.List(ctx, &pods, client.InNamespace(namespace), client.MatchingLabels{"app": app}); err != nil {
		return nil, err
	}
	if len(pods.Items) == 0 {
		return nil, errors.New("the sample has no pods")
	}
	return &pods.Items[0], nil
}

// address waits until a Service has one.
func (s *story) address(ctx context.Context, name string) (ip string, err error) {
	err = stage.Until(ctx, "the address of Service "+name, func(ctx context.Context) error {
		svc, err := s.service(ctx, name)
		if err != nil {
			return err
		}
		if len(svc.Status.LoadBalancer.Ingress) == 0 || !apimeta.IsStatusConditionTrue(svc.Status.Conditions, status.Programmed) {
			return fmt.Errorf("its conditions are %+v", svc.Status.Conditions)
		}
		ip = svc.Status.LoadBalancer.Ingress[0].IP
		return nil
	})
	return ip, err
}

// healthy waits until condition Healthy has a status and speaks of so many servers; "" is for none worth a word.
func (s *story) healthy(ctx context.Context, name string, want metav1.ConditionStatus, servers string) error {
	return stage.Until(ctx, fmt.Sprintf("condition Healthy=%s of Service %s", want, name), func(ctx context.Context) error {
		svc, err := s.service(ctx, name)
		if err != nil {
			return err
		}
		c := apimeta.FindStatusCondition(svc.Status.Conditions, status.Healthy)
		if c == nil || c.Status != want || !strings.Contains(c.Message, servers) || servers == "" && strings.Contains(c.Message, "servers up") {
			return fmt.Errorf("it is %+v", c)
		}
		return nil
	})
}

// tree reads a Service's tree from the Controller until it passes a check.
func (s *story) tree(ctx context.Context, service, what string, check func(*tree.Tree) error) (t *tree.Tree, err error) {
	err = stage.Until(ctx, what, func(ctx context.Context) error {
		var err error
		if t, err = s.Trees.Read(ctx, s.objectName(service)); err != nil {
			return err
		}
		return check(t)
	})
	return t, err
}

// servers checks how many servers a port has.
func servers(port string, enabled, disabled int) func(*tree.Tree) error {
	return func(t *tree.Tree) error {
		p := t.Pool(port)
		if p == nil {
			return fmt.Errorf("no rule matches %s", port)
		}
		if e, d := len(p.Enabled()), len(p.Disabled()); e != enabled || d != disabled {
			return fmt.Errorf("%s has %d enabled and %d disabled servers, not %d and %d", port, e, d, enabled, disabled)
		}
		return nil
	}
}

// status shows a Service as kubectl does, and waits for the Event about the load balancer.
func (s *story) status(ctx context.Context, name string) error {
	const conditions = `jsonpath={range .status.conditions[*]}{.type}={.status}: {.message}{"\n"}{end}`
	for _, args := range [][]string{{"get", "service", name}, {"get", "service", name, "-o", conditions}} {
		out, err := s.Kubectl(ctx, args...)
		if err != nil {
			return err
		}
		s.show(out)
	}
	return s.events(ctx, metav1.NamespaceDefault, "service/"+name, "EnsuredLoadBalancer")
}

// events shows those of an object as kubectl does, once there is one with the reason.
func (s *story) events(ctx context.Context, namespace, of, reason string) error {
	events := ""
	err := stage.Until(ctx, "the Event "+reason, func(ctx context.Context) (err error) {
		if events, err = s.Kubectl(ctx, "events", "-n", namespace, "--for", of); err == nil && !strings.Contains(events, reason) {
			err = errors.New(events)
		}
		return err
	})
	s.show(events)
	return err
}
