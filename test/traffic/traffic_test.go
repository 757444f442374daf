// SPDX-License-Identifier: Apache-2.0

// Package traffic sends real bytes through the operator's work: from clients through the simulated Controller, which forwards as its
// objects say, to pods of the local cluster, which are played. It has for SCTPRoute what upstream's conformance tests have for TCPRoute and
// UDPRoute, and measures what a rolling update loses.
package traffic

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/avi-l4-operator/avi-l4-operator/hack/pods"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/sctp"
	"github.com/avi-l4-operator/avi-l4-operator/test/suite"
)

func TestMain(m *testing.M) {
	suite.WholeCluster = true
	suite.Main(m)
}

const (
	port   = 5060            // of listeners and Services
	inside = 9090            // of containers
	grace  = 3 * time.Second // in which a pod ends what it has begun
)

// scene is an operator, a Controller that carries traffic, and the pods.
type scene struct {
	*suite.Env
	room   *pods.Room
	runner *pods.Runner
	sctp   *sctp.Dialer
}

func newScene(t *testing.T) *scene {
	t.Helper()
	room, err := pods.NewRoom()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(room.Close)
	e := suite.New(t)
	if _, err := e.Sim.Forward(avisim.ForwardOptions{Map: room.Map, Logf: t.Logf}); err != nil {
		t.Fatal(err)
	}
	runner, err := pods.Start(suite.RESTConfig(), pods.Options{Map: room.Map, Grace: grace, Log: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(runner.Close)
	e.Create(e.Class())
	d := new(sctp.Dialer)
	t.Cleanup(func() { _ = d.Close() })
	return &scene{e, room, runner, d}
}

// in is the scene for a subtest, with a namespace of its own.
func (s *scene) in(t *testing.T) *scene {
	x := *s
	x.Env = s.Apart(t)
	return &x
}

// deployment is one of pods that answer at some ports, not yet created.
func (s *scene) deployment(namespace, name string, replicas int32, ports ...corev1.ContainerPort) *appsv1.Deployment {
	labels := map[string]string{"app": name}
	return &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: appsv1.DeploymentSpec{
		Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: labels},
		Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{
			Containers: []corev1.Container{{Name: "echo", Image: "echo", Ports: ports}},
		}},
	}}
}

// backend creates a Deployment and its Service.
func (s *scene) backend(namespace, name, protocol string, replicas int32) *appsv1.Deployment {
	s.T.Helper()
	d := s.deployment(namespace, name, replicas, corev1.ContainerPort{ContainerPort: inside, Protocol: corev1.Protocol(protocol)})
	s.Create(d, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: corev1.ServiceSpec{
		Selector: d.Spec.Selector.MatchLabels,
		Ports:    []corev1.ServicePort{{Protocol: corev1.Protocol(protocol), Port: port, TargetPort: intstr.FromInt32(inside)}}}})
	return d
}

// open creates a Gateway with a listener and a route to backends, and returns its address.
func (s *scene) open(x suite.Transport, to ...gatewayv1.BackendRef) (vip netip.Addr) {
	s.T.Helper()
	gw := s.Gateway("gw", suite.Listener("l", x.Listener, port))
	s.Create(gw, s.Route(x.Protocol, "r", "gw", "l", to...))
	return netip.MustParseAddr(s.GatewayReady(gw))
}

// talk is a conversation with one pod.
type talk interface {
	// ask sends a text and returns the pod's name.
	ask(text string) (pod string, err error)
	// end ends it in order, drop at once.
	end() error
	drop()
}

// start begins a conversation, within a time.
func (s *scene) start(protocol string, vip netip.Addr, within time.Duration) (talk, error) {
	at, err := s.room.Map.To(vip)
	if err != nil {
		return nil, err
	}
	switch to := netip.AddrPortFrom(at, port); protocol {
	case "SCTP":
		ctx, cancel := context.WithTimeout(context.Background(), within)
		defer cancel()
		a, err := s.sctp.Dial(ctx, netip.AddrPortFrom(at, sctp.Port), port)
		if err != nil {
			return nil, err
		}
		return association{a}, nil
	case "UDP":
		c, err := net.Dial("udp", to.String())
		if err != nil {
			return nil, err
		}
		return datagrams{c}, nil
	default:
		c, err := net.DialTimeout("tcp", to.String(), within)
		if err != nil {
			return nil, err
		}
		x := &lines{c, bufio.NewReader(c)}
		if welcome, err := x.read(); err != nil || welcome != pods.Welcome {
			return nil, errors.Join(fmt.Errorf("the welcome is %q: %w", welcome, err), c.Close())
		}
		return x, nil
	}
}

// patience is how long an answer may take on a busy machine. A datagram that is dropped is noticed by that alone.
const (
	patience         = 15 * time.Second
	datagramPatience = 5 * time.Second
)

type lines struct {
	c net.Conn
	r *bufio.Reader
}

func (l *lines) read() (string, error) {
	_ = l.c.SetDeadline(time.Now().Add(patience))
	return l.r.ReadString('\n')
}

func (l *lines) ask(text string) (string, error) {
	if _, err := fmt.Fprintf(l.c, "%s\nTEST\n", text); err != nil {
		return "", err
	}
	if echo, err := l.read(); err != nil || echo != text+"\n" {
		return "", fmt.Errorf("%q came back as %q: %w", text, echo, err)
	}
	answer, err := l.read()
	return podOf([]byte(answer), "TEST", err)
}

func (l *lines) end() error { return l.c.Close() }
func (l *lines) drop()      { _ = l.c.Close() }

type datagrams struct{ c net.Conn }

func (d datagrams) ask(text string) (string, error) {
	_ = d.c.SetDeadline(time.Now().Add(datagramPatience))
	if _, err := d.c.Write([]byte(text)); err != nil {
		return "", err
	}
	b := make([]byte, 1<<16)
	n, err := d.c.Read(b)
	return podOf(b[:n], text, err)
}

func (d datagrams) end() error { return d.c.Close() }
func (d datagrams) drop()      { _ = d.c.Close() }

type association struct{ a *sctp.Association }

func (x association) ask(text string) (string, error) {
	late := time.AfterFunc(patience, func() { x.a.Abort("no answer") })
	defer late.Stop()
	stream := uint16(len(text) % 10)
	if err := x.a.Write(sctp.Message{Stream: stream, Protocol: 60, Data: []byte(text)}); err != nil {
		return "", err
	}
	m, err := x.a.Read()
	if err == nil && (m.Stream != stream || m.Protocol != 60) {
		err = fmt.Errorf("the answer is on stream %d with protocol %d", m.Stream, m.Protocol)
	}
	return podOf(m.Data, text, err)
}

func (x association) end() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return x.a.Shutdown(ctx)
}

func (x association) drop() { x.a.Abort("enough") }

// podOf reads a pod's answer.
func podOf(b []byte, request string, err error) (string, error) {
	if err != nil {
		return "", err
	}
	var a pods.Answer
	if err := json.Unmarshal(b, &a); err != nil {
		return "", err
	}
	if a.Request != request {
		return "", fmt.Errorf("%q came back as %q", request, a.Request)
	}
	return a.Namespace + "/" + a.Pod, nil
}

// once asks in a conversation of its own.
func (s *scene) once(protocol string, vip netip.Addr) (string, error) {
	x, err := s.start(protocol, vip, 3*time.Second)
	if err != nil {
		return "", err
	}
	defer x.drop()
	return x.ask("hello")
}

// reaches waits until a pod of a Deployment answers.
func (s *scene) reaches(protocol string, vip netip.Addr, deployment string) {
	s.T.Helper()
	s.Eventually(protocol+" reaches "+deployment, func() error {
		pod, err := s.once(protocol, vip)
		if err == nil && !strings.HasPrefix(pod, deployment+"-") {
			err = fmt.Errorf("it is %s", pod)
		}
		return err
	})
}

// TestRoutes sends through a route of each kind.
func TestRoutes(t *testing.T) {
	all := newScene(t)
	for _, x := range suite.Transports {
		t.Run(x.Protocol, func(t *testing.T) {
			t.Run("simple", func(t *testing.T) {
				t.Parallel()
				s := all.in(t)
				s.backend(s.Namespace, "one", x.Protocol, 1)
				vip := s.open(x, suite.To("one", port, 1))
				s.reaches(x.Protocol, vip, s.Namespace+"/one")
			})
			t.Run("weights", func(t *testing.T) {
				t.Parallel()
				s := all.in(t)
				for _, name := range []string{"one", "two", "three"} {
					s.backend(s.Namespace, name, x.Protocol, 2)
				}
				vip := s.open(x, suite.To("one", port, 70), suite.To("two", port, 30), suite.To("three", port, 0))
				s.Eventually("the weights are seen", func() error { return s.shares(x.Protocol, vip) })
			})
			t.Run("grant", func(t *testing.T) {
				t.Parallel()
				s, other := all.in(t), all.in(t)
				s.backend(other.Namespace, "one", x.Protocol, 1)
				ref := suite.To("one", port, 1)
				ref.Namespace = new(gatewayv1.Namespace(other.Namespace))
				vip := s.open(x, ref)
				refused := func() error {
					if pod, err := s.quick(x.Protocol, vip); err == nil {
						return fmt.Errorf("%s answers without a grant", pod)
					}
					return nil
				}
				s.Eventually("without a grant nobody answers", refused)
				grant := &gatewayv1.ReferenceGrant{ObjectMeta: metav1.ObjectMeta{Namespace: other.Namespace, Name: "grant"},
					Spec: gatewayv1.ReferenceGrantSpec{
						From: []gatewayv1.ReferenceGrantFrom{{Group: x.Group, Kind: x.Kind, Namespace: gatewayv1.Namespace(s.Namespace)}},
						To:   []gatewayv1.ReferenceGrantTo{{Kind: "Service"}},
					}}
				s.Create(grant)
				s.reaches(x.Protocol, vip, other.Namespace+"/one")
				s.Delete(grant)
				s.Eventually("nor when it is withdrawn", refused)
			})
		})
	}
}

// quick is once, for where nobody may answer or even listen, which who speaks SCTP in UDP sees by silence alone.
func (s *scene) quick(protocol string, vip netip.Addr) (string, error) {
	x, err := s.start(protocol, vip, time.Second)
	if err != nil {
		return "", err
	}
	defer x.drop()
	if d, is := x.(datagrams); is {
		late := time.AfterFunc(200*time.Millisecond, d.drop)
		defer late.Stop()
	}
	return x.ask("hello")
}

// shares counts who answers: 70 and 30 of 100, and no one of the backend without weight.
func (s *scene) shares(protocol string, vip netip.Addr) error {
	got := map[string]int{}
	for range 100 {
		pod, err := s.quick(protocol, vip)
		if err != nil {
			return err
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(pod, s.Namespace+"/"), "-")
		got[name]++
	}
	if got["one"] != 70 || got["two"] != 30 {
		return fmt.Errorf("of 100, the backends have %v", got)
	}
	return nil
}

// load is constant traffic of one protocol: conversations of some hundred milliseconds, one after the other in each of several workers.
type load struct {
	began, lostNew, lostOpen atomic.Int64

	mu       sync.Mutex
	pods     map[string]bool
	problems []string

	stop chan struct{}
	done sync.WaitGroup
}

const (
	workers = 8
	turns   = 10
	pause   = 40 * time.Millisecond
)

func (s *scene) load(protocol string, vip netip.Addr) *load {
	l := &load{pods: map[string]bool{}, stop: make(chan struct{})}
	for range workers {
		l.done.Go(func() {
			for {
				select {
				case <-l.stop:
					return
				default:
					l.converse(s, protocol, vip)
				}
			}
		})
	}
	return l
}

// converse has one conversation, in which one pod has to answer all the time.
func (l *load) converse(s *scene, protocol string, vip netip.Addr) {
	l.began.Add(1)
	x, err := s.start(protocol, vip, patience)
	if err != nil {
		l.lose(&l.lostNew, err)
		return
	}
	first, err := x.ask("first")
	if err != nil {
		l.lose(&l.lostNew, errors.Join(err, x.end()))
		return
	}
	l.mu.Lock()
	l.pods[first] = true
	l.mu.Unlock()
	for i := range turns {
		time.Sleep(pause)
		pod, err := x.ask(fmt.Sprint("more ", i))
		if err == nil && pod != first {
			err = fmt.Errorf("%s answers in a conversation with %s", pod, first)
		}
		if err != nil {
			l.lose(&l.lostOpen, errors.Join(err, x.end()))
			return
		}
	}
	if err := x.end(); err != nil {
		l.lose(&l.lostOpen, err)
	}
}

func (l *load) lose(n *atomic.Int64, err error) {
	n.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.problems) < 5 {
		l.problems = append(l.problems, err.Error())
	}
}

// seen is how many pods have answered.
func (l *load) seen() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.pods)
}

// TestRollingUpdate updates a Deployment behind each protocol under constant traffic: nothing is lost, neither what is open nor what is
// new. Then all pods end at once, and that is seen.
func TestRollingUpdate(t *testing.T) {
	s := newScene(t)
	type run struct {
		protocol   string
		deployment *appsv1.Deployment
		load       *load
	}
	var runs []*run
	const replicas = 3
	for _, x := range suite.Transports {
		in := s.in(t)
		d := in.backend(in.Namespace, "echo", x.Protocol, replicas)
		vip := in.open(x, suite.To("echo", port, 1))
		in.reaches(x.Protocol, vip, in.Namespace+"/echo")
		runs = append(runs, &run{x.Protocol, d, in.load(x.Protocol, vip)})
	}
	for _, r := range runs {
		s.Eventually(r.protocol+": all pods answer", func() error {
			if n := r.load.seen(); n < replicas {
				return fmt.Errorf("%d have", n)
			}
			return nil
		})
		s.Eventually("the update begins", func() error {
			if err := s.Read(r.deployment); err != nil {
				return err
			}
			r.deployment.Spec.Template.Annotations = map[string]string{"release": "next"}
			return s.Client.Update(t.Context(), r.deployment)
		})
	}
	for _, r := range runs {
		s.Eventually(r.protocol+": the update is done, and the pods of before are gone", func() error {
			if err := s.Read(r.deployment); err != nil {
				return err
			}
			var list corev1.PodList
			if err := s.Client.List(t.Context(), &list, client.InNamespace(r.deployment.Namespace)); err != nil {
				return err
			}
			if st := r.deployment.Status; st.ObservedGeneration < r.deployment.Generation || st.UpdatedReplicas != replicas ||
				st.Replicas != replicas || len(list.Items) != replicas || r.load.seen() < 2*replicas {
				return fmt.Errorf("%d pods are there, and %d have answered: %+v", len(list.Items), r.load.seen(), st)
			}
			return nil
		})
	}
	for _, r := range runs {
		began, lostNew, lostOpen := r.load.began.Load(), r.load.lostNew.Load(), r.load.lostOpen.Load()
		t.Logf("%s: %d conversations with %d pods, %d lost at their beginning, %d later", r.protocol, began, r.load.seen(), lostNew, lostOpen)
		if lostNew+lostOpen > 0 || began < 2*workers {
			t.Errorf("%s: %d new and %d open conversations of %d were lost: %q", r.protocol, lostNew, lostOpen, began, r.load.problems)
		}
	}
	s.runner.Close()
	for _, r := range runs {
		if r.protocol != "UDP" { // whose loss takes the patience to see
			s.Eventually(r.protocol+": what ends without a drain is lost", func() error {
				if r.load.lostOpen.Load()+r.load.lostNew.Load() == 0 {
					return errors.New("nothing is")
				}
				return nil
			})
		}
		close(r.load.stop)
	}
	for _, r := range runs {
		r.load.done.Wait()
	}
}

// TestMonitors has the Controller probe pods by the monitors of all protocols: what it finds is what the operator tells of a Service.
func TestMonitors(t *testing.T) {
	s := newScene(t)
	s.Sim.StartProbing(t.Context(), avisim.Probe{Interval: 100 * time.Millisecond, Timeout: time.Second,
		Protocols: []string{"TCP", "UDP", "SCTP"}, Where: s.room.Map.To})
	ports := map[string]int32{"TCP": 9090, "UDP": 9091, "SCTP": 9092}
	svc := s.Service("echo")
	var containers []corev1.ContainerPort
	for _, protocol := range []string{"TCP", "UDP", "SCTP"} {
		p := suite.Port(corev1.Protocol(protocol), port)
		p.TargetPort = intstr.FromInt32(ports[protocol])
		svc.Spec.Ports = append(svc.Spec.Ports, p)
		containers = append(containers, corev1.ContainerPort{ContainerPort: ports[protocol], Protocol: corev1.Protocol(protocol)})
	}
	d := s.deployment(s.Namespace, "echo", 2, containers...)
	s.Create(d, svc)
	s.Programmed(svc)
	states := func() map[string]int {
		out := map[string]int{}
		for _, l := range s.Sim.Forwarding().VirtualServices[0].Listeners {
			for _, target := range l.Targets {
				for _, p := range target.Pools {
					for _, x := range p.Servers {
						out[l.Protocol+" "+x.State]++
					}
				}
			}
		}
		return out
	}
	seen := func(what string, want map[string]int) {
		t.Helper()
		s.Eventually(what, func() error {
			if got := states(); !maps.Equal(got, want) {
				return fmt.Errorf("the servers are %v", got)
			}
			return nil
		})
	}
	seen("both pods are up", map[string]int{"TCP UP": 2, "UDP UP": 2, "SCTP UP": 2})
	s.Condition(svc, "Healthy", metav1.ConditionTrue, "")
	var list corev1.PodList
	if err := s.Client.List(t.Context(), &list, client.InNamespace(s.Namespace)); err != nil || len(list.Items) != 2 {
		t.Fatalf("%d pods, %v", len(list.Items), err)
	}
	for i, pod := range list.Items {
		if !s.runner.Silence(pod.Namespace, pod.Name) {
			t.Fatalf("pod %s is not played", pod.Name)
		}
		if i == 0 {
			seen("one pod is down", map[string]int{"TCP UP": 1, "UDP UP": 1, "SCTP UP": 1, "TCP DOWN": 1, "UDP DOWN": 1, "SCTP DOWN": 1})
		}
	}
	seen("both pods are down", map[string]int{"TCP DOWN": 2, "UDP DOWN": 2, "SCTP DOWN": 2})
	s.Condition(svc, "Healthy", metav1.ConditionFalse, "")
}
