// SPDX-License-Identifier: Apache-2.0

// Package cluster runs a Kubernetes cluster without containers: etcd, kube-apiserver, kube-controller-manager and
// kube-scheduler are the real programs, and kwok plays the kubelets of as many nodes as are wanted. Pods are
// scheduled, get addresses and become ready, Services get real EndpointSlices; no packet is ever forwarded. Everything
// listens on loopback.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// The address ranges of the cluster, those of IPv6 with Options.DualStack only.
const (
	ServiceCIDR  = "10.96.0.0/16"
	PodCIDR      = "10.244.0.0/16"
	ServiceCIDR6 = "fd00:10:96::/112"
	PodCIDR6     = "fd00:10:244::/56"
)

// startTimeout bounds a start whose context does not: five processes on a busy machine of two cores need some
// seconds, and a start that takes minutes will never succeed.
const startTimeout = 3 * time.Minute

// Options says what cluster to start. The zero value is a cluster without nodes in a temporary folder.
type Options struct {
	// Dir keeps the cluster's state: data, certificates, kubeconfigs, logs. A cluster started in it again goes on
	// where it was. Empty means a temporary folder that Stop removes.
	Dir string
	// Nodes is how many nodes there are at least after the start.
	Nodes int
	// DualStack gives nodes, pods and Services IPv6 addresses besides those of IPv4.
	DualStack bool
	// ControlPlaneOnly leaves it at etcd and kube-apiserver. Objects are stored and nothing acts on them; as no
	// controller makes service accounts, pods need none. Nodes must be zero.
	ControlPlaneOnly bool
	// Log gets a line about each step of the start. Nil discards them.
	Log io.Writer
}

// Cluster is a running cluster. Start makes it; its methods may be called concurrently.
type Cluster struct {
	options   Options
	dir       string
	pki       string
	ca        *authority
	admin     pair
	ports     ports
	config    *rest.Config
	client    kubernetes.Interface
	kubectl   string
	launcher  *launcher
	release   func() // gives up the ownership of dir
	failed    chan error
	processes []*process // in the order of their start

	stop     sync.Once
	stopErr  error
	nodes    sync.Mutex // numbers new nodes
	starting time.Time
}

// Start starts a cluster and returns when it serves: the control plane is healthy and all nodes are ready. The context
// bounds the start only. The error of a process that ends early has the end of its log.
func Start(ctx context.Context, o Options) (*Cluster, error) {
	if o.Log == nil {
		o.Log = io.Discard
	}
	if o.ControlPlaneOnly && o.Nodes > 0 {
		return nil, errors.New("start the cluster: a control plane alone has no nodes")
	}
	// The build has no other limit than the caller's: it may rightly take long.
	paths, err := o.programs(ctx)
	if err != nil {
		return nil, fmt.Errorf("start the cluster: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for attempt := 1; ; attempt++ {
		c, err := start(ctx, o, paths)
		if err == nil {
			return c, nil
		}
		if attempt == 3 || !errors.Is(err, errPortTaken) {
			return nil, fmt.Errorf("start the cluster: %w", err)
		}
		fmt.Fprintln(o.Log, "cluster: a port was taken in the meantime; starting again with others")
	}
}

// programs finds every program that the cluster needs.
func (o Options) programs(ctx context.Context) (map[string]string, error) {
	names := []string{"etcd", "kube-apiserver"}
	if !o.ControlPlaneOnly {
		names = append(names, "kube-controller-manager", "kube-scheduler", "kwok", "kwok-stages", "kubectl")
	}
	paths := make(map[string]string, len(names))
	for _, name := range names {
		path, err := program(ctx, name, o.Log)
		if err != nil {
			return nil, err
		}
		paths[name] = path
	}
	return paths, nil
}

func start(ctx context.Context, o Options, paths map[string]string) (_ *Cluster, err error) {
	c := &Cluster{
		options: o, dir: o.Dir, kubectl: paths["kubectl"],
		launcher: newLauncher(), release: func() {}, failed: make(chan error, 1), starting: time.Now(),
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Stop())
		}
	}()
	if err := c.prepare(ctx); err != nil {
		return nil, err
	}
	if err := c.startControlPlane(ctx, paths); err != nil {
		return nil, err
	}
	if o.ControlPlaneOnly {
		c.say("ready")
		return c, nil
	}
	if err := c.startControllers(ctx, paths); err != nil {
		return nil, err
	}
	if err := c.ensureNodes(ctx, o.Nodes); err != nil {
		return nil, err
	}
	if err := c.waitForServiceAccount(ctx, metav1.NamespaceDefault, "default"); err != nil {
		return nil, err
	}
	c.say("ready, %d nodes", o.Nodes)
	return c, nil
}

// prepare makes the state folder, the certificates, the ports and the administrator's credentials.
func (c *Cluster) prepare(ctx context.Context) (err error) {
	if c.dir == "" {
		removeAbandoned()
		c.dir, err = os.MkdirTemp("", temporaryPrefix)
	} else if c.dir, err = filepath.Abs(c.dir); err == nil {
		err = os.MkdirAll(c.dir, 0o700)
	}
	if err != nil {
		return err
	}
	release, err := own(c.dir)
	if err != nil {
		// The folder is another cluster's, so Stop must leave it alone.
		c.dir = ""
		return err
	}
	c.release = release
	for _, folder := range []string{"logs", "kubeconfigs"} {
		if err := os.MkdirAll(filepath.Join(c.dir, folder), 0o700); err != nil {
			return err
		}
	}
	c.pki = filepath.Join(c.dir, "pki")
	if c.ca, err = newAuthority(c.pki); err != nil {
		return err
	}
	if c.ports, err = freePorts(ctx); err != nil {
		return err
	}
	if c.admin, err = c.ca.client("admin", "system:masters"); err != nil {
		return err
	}
	c.config = &rest.Config{
		Host: c.server(),
		TLSClientConfig: rest.TLSClientConfig{
			CAData: c.ca.CertPEM, CertData: c.admin.cert, KeyData: c.admin.key,
		},
		// The limits of client-go are meant to protect clusters that others use too.
		QPS: 1000, Burst: 2000,
	}
	if c.client, err = kubernetes.NewForConfig(c.config); err != nil {
		return err
	}
	return c.writeKubeconfig(c.Kubeconfig(), credentials{certificate: c.admin.cert, key: c.admin.key})
}

const temporaryPrefix = "local-cluster-"

// removeAbandoned removes the temporary folders of clusters whose program was killed. What cannot be removed is left for
// the next time.
func removeAbandoned() {
	dirs, err := filepath.Glob(filepath.Join(os.TempDir(), temporaryPrefix+"*"))
	if err != nil {
		return
	}
	for _, dir := range dirs {
		// One that is new may be about to be locked by its owner.
		info, err := os.Stat(filepath.Join(dir, ownerFile))
		if err != nil || time.Since(info.ModTime()) < time.Minute {
			continue
		}
		if pid, err := Owner(dir); err == nil && pid == 0 {
			_ = os.RemoveAll(dir)
		}
	}
}

func (c *Cluster) server() string {
	return fmt.Sprintf("https://127.0.0.1:%d", c.ports.apiserver)
}

func (c *Cluster) say(format string, args ...any) {
	fmt.Fprintf(c.options.Log, "cluster: %s (%.1fs)\n", fmt.Sprintf(format, args...), time.Since(c.starting).Seconds())
}

// RESTConfig returns a copy of the administrator's client configuration.
func (c *Cluster) RESTConfig() *rest.Config { return rest.CopyConfig(c.config) }

// Kubeconfig returns the path of the administrator's kubeconfig.
func (c *Cluster) Kubeconfig() string { return filepath.Join(c.dir, "kubeconfig") }

// Dir returns the folder of the cluster's state, which has the log of each process in logs/<name>.log.
func (c *Cluster) Dir() string { return c.dir }

// Kubectl returns a command that runs kubectl as the administrator.
func (c *Cluster) Kubectl(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, c.kubectl, append([]string{"--kubeconfig", c.Kubeconfig()}, args...)...)
}

// Failed receives the error of the first process that ends without Stop or KillProcess having ended it.
func (c *Cluster) Failed() <-chan error { return c.failed }

// Stop ends every process and removes the state if it was temporary. Only the first call does anything; the others
// wait for it and return its error.
func (c *Cluster) Stop() error {
	c.stop.Do(func() {
		// What writes to the API server goes first and at once, then the API server, then what it writes to.
		var group sync.WaitGroup
		for _, p := range c.processes {
			if p.name != "kube-apiserver" && p.name != "etcd" {
				group.Go(p.stop)
			}
		}
		group.Wait()
		for _, name := range []string{"kube-apiserver", "etcd"} {
			if p := c.find(name); p != nil {
				p.stop()
			}
		}
		c.launcher.close()
		c.release()
		if c.options.Dir == "" && c.dir != "" {
			c.stopErr = os.RemoveAll(c.dir)
		}
	})
	return c.stopErr
}

// KillProcess ends a process as a crash would: "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler" or
// "kwok". The cluster lives on without it.
func (c *Cluster) KillProcess(name string) error {
	p := c.find(name)
	if p == nil {
		return fmt.Errorf("kill %s: the cluster has no such process", name)
	}
	p.kill()
	return nil
}

// RestartProcess starts a process again after ending it if need be, with the same arguments and on the same port, and
// waits until it is healthy.
func (c *Cluster) RestartProcess(ctx context.Context, name string) error {
	p := c.find(name)
	if p == nil {
		return fmt.Errorf("restart %s: the cluster has no such process", name)
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	p.stop()
	return p.start(ctx)
}

func (c *Cluster) find(name string) *process {
	for _, p := range c.processes {
		if p.name == name {
			return p
		}
	}
	return nil
}

// processDied is where unexpected ends are reported to.
func (c *Cluster) processDied(_ *process, err error) {
	select {
	case c.failed <- err:
	default:
	}
}

// waitForServiceAccount waits until the controller manager has made a service account, without which the pods of its
// namespace are refused.
func (c *Cluster) waitForServiceAccount(ctx context.Context, namespace, name string) error {
	return poll(ctx, fmt.Sprintf("service account %s/%s", namespace, name), func() (bool, error) {
		_, err := c.client.CoreV1().ServiceAccounts(namespace).Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		return err == nil, err
	})
}

// poll asks until the answer is yes, an error, or the context's end.
func poll(ctx context.Context, what string, done func() (bool, error)) error {
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		ok, err := done()
		if ok {
			return nil
		}
		if err != nil {
			return fmt.Errorf("wait for %s: %w", what, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", what, context.Cause(ctx))
		case <-ticker.C:
		}
	}
}

// fileName makes a file's name of a user's.
func fileName(user string) string { return strings.NewReplacer(":", "-", "/", "-").Replace(user) }

// ports are those on which the servers of the cluster listen.
type ports struct {
	etcd, etcdPeer, apiserver, controllerManager, scheduler int
}

// freePorts chooses ports that nobody listens on.
func freePorts(ctx context.Context) (ports, error) {
	var p ports
	taken := map[int]bool{}
	for _, port := range []*int{&p.etcd, &p.etcdPeer, &p.apiserver, &p.controllerManager, &p.scheduler} {
		var err error
		if *port, err = freePort(ctx, taken); err != nil {
			return ports{}, err
		}
		taken[*port] = true
	}
	return p, nil
}

// freePort stays below the ports that Linux and others give to outgoing connections. One of those could take a
// process's port while it is down for a restart.
func freePort(ctx context.Context, taken map[int]bool) (int, error) {
	const lowest, count, attempts = 20000, 12000, 100
	var config net.ListenConfig
	var last error
	for range attempts {
		port := lowest + rand.IntN(count)
		if taken[port] {
			continue
		}
		listener, err := config.Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			last = err
			continue
		}
		return port, listener.Close()
	}
	return 0, fmt.Errorf("find a free port: %w", last)
}
