// SPDX-License-Identifier: Apache-2.0

// Package pods plays the containers of the local cluster's pods, whose nodes run nothing: a [Runner] listens where the pods' addresses are
// on this machine, at the ports that their containers declare, and answers as echo servers do.
//
// By TCP it speaks as the echo server of the Gateway API's conformance tests: a line of welcome, and then an answer to each line: PONG to
// PING, [Answer] as JSON to TEST, false to IS_TLS, and any other line itself. By UDP and SCTP each message is answered with Answer as JSON,
// by SCTP on its stream. A container of an image called coredns answers DNS questions, that there is no such name.
package pods

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/avi-l4-operator/avi-l4-operator/hack/cluster"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim"
)

// Welcome is the line that a connection of TCP begins with.
const Welcome = "Gateway API Test TCP Server\n"

// finalizer keeps a deleted pod until it is drained, as a kubelet would.
const finalizer = "pods.local-cluster/drain"

// Answer is what a pod says of itself, with the message that it answers.
type Answer struct {
	Request   string `json:"request"`
	Namespace string `json:"namespace"`
	Service   string `json:"service,omitempty"` // variable SERVICE_NAME of the container
	Pod       string `json:"pod"`
}

// Options say how pods are played.
type Options struct {
	// Map says where the pods' addresses are on this machine. It is the one that the simulated Controller forwards by.
	Map avisim.ForwardMap
	// SCTPPort is the UDP port of SCTP; default 9899.
	SCTPPort uint16
	// Grace is how long a pod that is being deleted goes on, as an application does that ends what it has begun first; then it is gone, and
	// what is open with it. Without it, it is gone at once.
	Grace time.Duration
	// Log is told of ports that can't be opened. Nil discards it.
	Log func(format string, args ...any)
}

// Runner plays pods until it is closed.
type Runner struct {
	options Options
	client  kubernetes.Interface
	ctx     context.Context
	cancel  context.CancelFunc
	done    sync.WaitGroup

	mu     sync.Mutex
	played map[types.UID]*played
	held   map[types.UID]bool // have the finalizer, or get it
}

// played is a pod that answers.
type played struct {
	name    string
	servers []*server
	leaving bool
}

// Start plays all pods of a cluster.
func Start(cfg *rest.Config, o Options) (*Runner, error) {
	if o.SCTPPort == 0 {
		o.SCTPPort = 9899
	}
	if o.Log == nil {
		o.Log = func(string, ...any) {}
	}
	cfg = rest.CopyConfig(cfg)
	cfg.QPS = -1
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, err
	}
	r := &Runner{options: o, client: client, played: map[types.UID]*played{}, held: map[types.UID]bool{}}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	informer := informers.NewSharedInformerFactory(client, 0)
	pods := informer.Core().V1().Pods().Informer()
	_, err = pods.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { r.see(o.(*corev1.Pod)) },
		UpdateFunc: func(_, o any) { r.see(o.(*corev1.Pod)) },
		DeleteFunc: func(o any) {
			if gone, is := o.(cache.DeletedFinalStateUnknown); is {
				o = gone.Obj
			}
			if pod, is := o.(*corev1.Pod); is {
				r.end(pod.UID)
			}
		},
	})
	if err != nil {
		return nil, err
	}
	informer.Start(r.ctx.Done())
	if !cache.WaitForCacheSync(r.ctx.Done(), pods.HasSynced) {
		return nil, context.Canceled
	}
	return r, nil
}

// Close ends all pods' servers; the pods stay.
func (r *Runner) Close() {
	r.cancel()
	r.done.Wait()
	r.mu.Lock()
	uids := make([]types.UID, 0, len(r.played))
	for uid := range r.played {
		uids = append(uids, uid)
	}
	r.mu.Unlock()
	for _, uid := range uids {
		r.end(uid)
	}
}

// see takes a pod as it is now.
func (r *Runner) see(pod *corev1.Pod) {
	if r.ctx.Err() != nil {
		return
	}
	r.mu.Lock()
	p := r.played[pod.UID]
	r.mu.Unlock()
	switch {
	case pod.DeletionTimestamp != nil:
		r.leave(pod, p)
	case p == nil && pod.Status.Phase == corev1.PodRunning && pod.Status.PodIP != "":
		r.play(pod)
	}
	r.hold(pod)
}

// hold puts the finalizer on a pod, beside everything else: the pods that start next don't wait for it.
func (r *Runner) hold(pod *corev1.Pod) {
	if r.options.Grace == 0 || pod.DeletionTimestamp != nil || slices.Contains(pod.Finalizers, finalizer) {
		return
	}
	r.mu.Lock()
	already := r.held[pod.UID]
	r.held[pod.UID] = true
	r.mu.Unlock()
	if !already {
		r.done.Go(func() { r.patch(pod, map[string]any{"finalizers": []string{finalizer}}) })
	}
}

// leave drains a pod that is being deleted, and lets it go.
func (r *Runner) leave(pod *corev1.Pod, p *played) {
	if p != nil {
		r.mu.Lock()
		already := p.leaving
		p.leaving = true
		r.mu.Unlock()
		if already {
			return
		}
	}
	if !slices.Contains(pod.Finalizers, finalizer) {
		return
	}
	r.done.Go(func() {
		if p != nil {
			select {
			case <-r.ctx.Done():
			case <-time.After(r.options.Grace):
			}
			r.end(pod.UID)
		}
		r.patch(pod, map[string]any{"$deleteFromPrimitiveList/finalizers": []string{finalizer}})
	})
}

// patch changes a pod's metadata. A pod that is gone needs nothing any more.
func (r *Runner) patch(pod *corev1.Pod, metadata map[string]any) {
	body, err := json.Marshal(map[string]any{"metadata": metadata})
	if err == nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), 10*time.Second)
		defer cancel()
		_, err = r.client.CoreV1().Pods(pod.Namespace).Patch(ctx, pod.Name, types.StrategicMergePatchType, body, metav1.PatchOptions{})
	}
	if err != nil && !apierrors.IsNotFound(err) && r.ctx.Err() == nil {
		r.options.Log("pod %s/%s: %v", pod.Namespace, pod.Name, err)
	}
}

// play opens the ports of a pod.
func (r *Runner) play(pod *corev1.Pod) {
	p := &played{name: pod.Namespace + "/" + pod.Name}
	for _, ip := range pod.Status.PodIPs {
		addr, err := netip.ParseAddr(ip.IP)
		if err == nil {
			addr, err = r.options.Map.To(addr)
		}
		if err != nil {
			r.options.Log("pod %s: %v", p.name, err)
			continue
		}
		for _, c := range pod.Spec.Containers {
			p.servers = append(p.servers, r.serve(pod, c, addr)...)
		}
	}
	r.mu.Lock()
	r.played[pod.UID] = p
	r.mu.Unlock()
}

// serve opens the ports of a container at an address.
func (r *Runner) serve(pod *corev1.Pod, c corev1.Container, at netip.Addr) (out []*server) {
	who := Answer{Namespace: pod.Namespace, Pod: pod.Name}
	for _, v := range c.Env {
		if v.Name == "SERVICE_NAME" {
			who.Service = v.Value
		}
	}
	s := &server{who: who, dns: strings.Contains(c.Image, "coredns")}
	for _, port := range c.Ports {
		to := netip.AddrPortFrom(at, uint16(port.ContainerPort))
		var err error
		switch port.Protocol {
		case corev1.ProtocolUDP:
			err = s.udp(to)
		case corev1.ProtocolSCTP:
			err = s.associations(netip.AddrPortFrom(at, r.options.SCTPPort), to.Port())
		default:
			err = s.tcp(to)
		}
		if err != nil {
			r.options.Log("pod %s/%s: %s %d: %v", pod.Namespace, pod.Name, port.Protocol, port.ContainerPort, err)
		}
	}
	return []*server{s}
}

// Silence has a pod answer no more, as if its application hung up: Kubernetes goes on to call it ready. It reports whether the pod was
// played.
func (r *Runner) Silence(namespace, name string) bool {
	r.mu.Lock()
	var p *played
	for _, x := range r.played {
		if x.name == namespace+"/"+name {
			p = x
		}
	}
	var servers []*server
	if p != nil {
		servers, p.servers = p.servers, nil
	}
	r.mu.Unlock()
	for _, s := range servers {
		s.close()
	}
	return p != nil
}

// end closes the ports of a pod, and what is open.
func (r *Runner) end(uid types.UID) {
	r.mu.Lock()
	p := r.played[uid]
	delete(r.played, uid)
	delete(r.held, uid)
	r.mu.Unlock()
	if p == nil {
		return
	}
	for _, s := range p.servers {
		s.close()
	}
}

// Room is a part of loopback that one simulated network has for itself.
type Room struct {
	Map   avisim.ForwardMap // VIPs of 10.10.0.0/16, the local cluster's pods, and clients of 10.30.0.0/16
	VIPs  netip.Prefix      // where the VIPs are: a simulated network that has these addresses needs no map
	claim net.Listener
}

// NewRoom finds one that no other process has.
func NewRoom() (*Room, error) {
	for range 1000 {
		x := 64 + rand.IntN(60)
		vips := netip.PrefixFrom(netip.AddrFrom4([4]byte{127, byte(x), 0, 0}), 16)
		claim, err := new(net.ListenConfig).Listen(context.Background(), "tcp", fmt.Sprintf("127.%d.255.254:19199", x))
		if err != nil {
			continue
		}
		m, err := avisim.ParseForwardMap(fmt.Sprintf("10.10.0.0/16=%s,%s=127.%d.0.0/16,10.30.0.0/16=127.%d.0.0/16", vips, cluster.PodCIDR,
			x+60, x+120))
		return &Room{m, vips, claim}, err
	}
	return nil, fmt.Errorf("all networks of loopback are in use")
}

// Close gives the room up.
func (r *Room) Close() { _ = r.claim.Close() }
