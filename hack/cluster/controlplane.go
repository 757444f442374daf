// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// startControlPlane starts etcd and the API server.
func (c *Cluster) startControlPlane(ctx context.Context, paths map[string]string) error {
	// The address of the Service "kubernetes" is the first of the range.
	serviceIP, _, err := net.ParseCIDR(ServiceCIDR)
	if err != nil {
		return err
	}
	serviceIP = serviceIP.To4()
	serviceIP[3]++
	server, err := c.ca.server(serviceIP)
	if err != nil {
		return err
	}
	signing, err := signingKey(c.pki)
	if err != nil {
		return err
	}
	health, err := c.healthClient()
	if err != nil {
		return err
	}

	if err := c.startEtcd(ctx, paths, server, health); err != nil {
		return err
	}
	apiserver := c.process("kube-apiserver", paths, isOK(health, c.server()+"/readyz"), c.apiServerArguments(server, signing)...)
	if err := apiserver.start(ctx); err != nil {
		return err
	}
	c.say("kube-apiserver is healthy on %s", c.server())
	return nil
}

func (c *Cluster) etcdURL() string { return fmt.Sprintf("https://127.0.0.1:%d", c.ports.etcd) }

func (c *Cluster) startEtcd(ctx context.Context, paths map[string]string, server pair, health *http.Client) error {
	etcdURL := c.etcdURL()
	peerURL := fmt.Sprintf("https://127.0.0.1:%d", c.ports.etcdPeer)
	etcd := c.process("etcd", paths, isOK(health, etcdURL+"/health"),
		"--name=local",
		"--data-dir="+filepath.Join(c.dir, "etcd"),
		"--listen-client-urls="+etcdURL, "--advertise-client-urls="+etcdURL,
		"--listen-peer-urls="+peerURL, "--initial-advertise-peer-urls="+peerURL, "--initial-cluster=local="+peerURL,
		"--client-cert-auth", "--trusted-ca-file="+c.ca.file(), "--cert-file="+server.certFile, "--key-file="+server.keyFile,
		"--peer-client-cert-auth", "--peer-trusted-ca-file="+c.ca.file(),
		"--peer-cert-file="+server.certFile, "--peer-key-file="+server.keyFile,
		// Nothing here has to survive a power failure, and the disk is what makes etcd slow.
		"--unsafe-no-fsync",
		"--snapshot-count=5000",
		"--log-level=warn",
	)
	if err := etcd.start(ctx); err != nil {
		return err
	}
	c.say("etcd is healthy")
	return nil
}

func (c *Cluster) apiServerArguments(server pair, signing string) []string {
	serviceRange := ServiceCIDR
	if c.options.DualStack {
		serviceRange += "," + ServiceCIDR6
	}
	args := []string{
		"--etcd-servers=" + c.etcdURL(),
		"--etcd-cafile=" + c.ca.file(), "--etcd-certfile=" + c.admin.certFile, "--etcd-keyfile=" + c.admin.keyFile,
		"--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", c.ports.apiserver),
		// Endpoints must not be loopback addresses and there is no other, so the Service "kubernetes" gets none. The
		// address is one for documentation: without it the server looks for a default route, which may not exist.
		"--endpoint-reconciler-type=none", "--advertise-address=192.0.2.1",
		"--tls-cert-file=" + server.certFile, "--tls-private-key-file=" + server.keyFile,
		"--client-ca-file=" + c.ca.file(),
		"--authorization-mode=Node,RBAC",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + signing, "--service-account-signing-key-file=" + signing,
		"--service-cluster-ip-range=" + serviceRange,
		"--allow-privileged=true",
		"--profiling=false",
	}
	if c.options.ControlPlaneOnly {
		args = append(args, "--disable-admission-plugins=ServiceAccount")
	}
	return args
}

// startControllers starts what acts on the API server's objects.
func (c *Cluster) startControllers(ctx context.Context, paths map[string]string) error {
	health, err := c.healthClient()
	if err != nil {
		return err
	}
	signing, err := signingKey(c.pki)
	if err != nil {
		return err
	}
	stages := filepath.Join(c.dir, "stages.yaml")
	if err := writeStages(ctx, paths["kwok-stages"], stages); err != nil {
		return err
	}
	kubeconfigs, err := c.componentKubeconfigs()
	if err != nil {
		return err
	}
	processes := c.controllers(paths, kubeconfigs, health, signing, stages)
	errs := make(chan error, len(processes))
	for _, p := range processes {
		go func() { errs <- p.start(ctx) }()
	}
	var failures []error
	for range processes {
		failures = append(failures, <-errs)
	}
	if err := errors.Join(failures...); err != nil {
		return err
	}
	c.say("kube-controller-manager, kube-scheduler and kwok are running")
	return nil
}

// componentKubeconfigs writes one for each component, with a certificate of its own, and returns their paths by component.
func (c *Cluster) componentKubeconfigs() (map[string]string, error) {
	kubeconfigs := make(map[string]string, 3)
	for name, user := range map[string]struct{ name, group string }{
		"kube-controller-manager": {name: "system:kube-controller-manager"},
		"kube-scheduler":          {name: "system:kube-scheduler"},
		// kwok is the kubelet of every node at once, a role that Kubernetes does not know.
		"kwok": {name: "kwok", group: "system:masters"},
	} {
		var groups []string
		if user.group != "" {
			groups = []string{user.group}
		}
		certificate, err := c.ca.client(user.name, groups...)
		if err != nil {
			return nil, err
		}
		kubeconfigs[name] = filepath.Join(c.dir, "kubeconfigs", name)
		if err := c.writeKubeconfig(kubeconfigs[name], credentials{certificate: certificate.cert, key: certificate.key}); err != nil {
			return nil, err
		}
	}
	return kubeconfigs, nil
}

// controllers are the processes that act on the API server's objects, not yet started.
func (c *Cluster) controllers(paths, kubeconfigs map[string]string, health *http.Client, signing, stages string) []*process {
	serverCert, serverKey := filepath.Join(c.pki, "server.crt"), filepath.Join(c.pki, "server.key")

	podRange, masks := PodCIDR, []string{"--node-cidr-mask-size=24"}
	if c.options.DualStack {
		podRange += "," + PodCIDR6
		masks = []string{"--node-cidr-mask-size-ipv4=24", "--node-cidr-mask-size-ipv6=64"}
	}
	secure := func(port int) string { return fmt.Sprintf("https://127.0.0.1:%d/healthz", port) }
	return []*process{
		c.process("kube-controller-manager", paths, isOK(health, secure(c.ports.controllerManager)), append(masks,
			"--kubeconfig="+kubeconfigs["kube-controller-manager"],
			"--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", c.ports.controllerManager),
			"--tls-cert-file="+serverCert, "--tls-private-key-file="+serverKey,
			"--leader-elect=false",
			"--use-service-account-credentials",
			"--service-account-private-key-file="+signing, "--root-ca-file="+c.ca.file(),
			"--allocate-node-cidrs", "--cluster-cidr="+podRange,
			// A service account and a token for each of its controllers are the longest part of the start; the usual
			// 20 requests a second protect a server that others use too.
			"--kube-api-qps=500", "--kube-api-burst=1000",
			"--profiling=false",
		)...),
		c.process("kube-scheduler", paths, isOK(health, secure(c.ports.scheduler)),
			"--kubeconfig="+kubeconfigs["kube-scheduler"],
			"--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", c.ports.scheduler),
			"--tls-cert-file="+serverCert, "--tls-private-key-file="+serverKey,
			"--leader-elect=false",
			"--profiling=false",
		),
		// Whether kwok works shows when the nodes become ready.
		c.process("kwok", paths, nil,
			"--kubeconfig="+kubeconfigs["kwok"],
			"--config="+stages,
			"--manage-nodes-with-annotation-selector="+managedAnnotation+"="+managedValue,
			"--cidr="+PodCIDR,
			"--node-lease-duration-seconds=40",
		),
	}
}

// process registers a process of the cluster.
func (c *Cluster) process(name string, paths map[string]string, healthy func(context.Context) error, args ...string) *process {
	p := &process{
		name: name, path: paths[name], args: args, healthy: healthy,
		logFile: filepath.Join(c.dir, "logs", name+".log"), launch: c.launcher.run, died: c.processDied,
	}
	c.processes = append(c.processes, p)
	return p
}

// writeStages writes the configuration of kwok, which brings none itself.
func writeStages(ctx context.Context, program, file string) error {
	stages, err := exec.CommandContext(ctx, program).Output()
	if err != nil {
		return fmt.Errorf("read the stages of kwok: %w", describe(err))
	}
	return os.WriteFile(file, stages, 0o600)
}

// healthClient asks as the administrator, since the API server answers nobody else when anonymous access is off.
func (c *Cluster) healthClient() (*http.Client, error) {
	roots := x509.NewCertPool()
	roots.AddCert(c.ca.Cert)
	certificate, err := tls.X509KeyPair(c.admin.cert, c.admin.key)
	if err != nil {
		return nil, err
	}
	return &http.Client{
		Timeout: 5 * time.Second,
		Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{certificate}},
			// A server that is restarted would leave dead connections behind.
			DisableKeepAlives: true,
		},
	}, nil
}

// isOK is a health check that wants status 200.
func isOK(client *http.Client, url string) func(context.Context) error {
	return func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		body, err := io.ReadAll(io.LimitReader(response.Body, 1<<10))
		if err != nil {
			return err
		}
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s: %s", url, response.Status, body)
		}
		return nil
	}
}
