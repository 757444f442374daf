// SPDX-License-Identifier: Apache-2.0

// Package stage sets up everything that it takes to see the operator at work on one machine: a Kubernetes cluster
// without containers, a simulated Avi Controller, what an installation puts into the cluster, and the operator as a
// process with exactly the rights that it has there. The demo and the end to end tests play on it.
package stage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1alpha1"
	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1alpha2"
	"github.com/avi-l4-operator/avi-l4-operator/api/ako/v1beta1"
	svcapi "github.com/avi-l4-operator/avi-l4-operator/api/networking/v1alpha1"
	"github.com/avi-l4-operator/avi-l4-operator/hack/cluster"
	"github.com/avi-l4-operator/avi-l4-operator/hack/demo/tree"
	"github.com/avi-l4-operator/avi-l4-operator/hack/pods"
	"github.com/avi-l4-operator/avi-l4-operator/internal/avi"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/control"
)

// The account at the simulated Controller. It opens nothing but a simulation on loopback.
const (
	Username = "admin"
	Password = "avi-l4-demo" //nolint:gosec // of a simulator that ends with the demo
)

// Options say what stage to set up.
type Options struct {
	// Dir keeps the operators' logs, kubeconfig and the Controller's CA. It must exist; Close leaves it alone.
	Dir string
	// Binary is where the operator is built.
	Binary string
	// Race builds the operator with the race detector.
	Race bool
	// Nodes is the number of fake nodes.
	Nodes int
	// ClusterName is the prefix of everything on the Controller.
	ClusterName string
	// ReadLatency and WriteLatency are how long the Controller takes for a read and a write.
	ReadLatency, WriteLatency time.Duration
	// Log gets a line about what takes its time: the build of the cluster's programs and their start.
	Log io.Writer
}

// Stage is set up by its methods in the order in which they stand here, and taken down by Close.
type Stage struct {
	Options
	// Root is the repository's folder.
	Root string
	// Cluster, and Client as its administrator, are there after StartCluster.
	Cluster *cluster.Cluster
	Client  client.Client
	// Controller is the simulated one, and Avi reads it as any other client of its REST API would; both are there after
	// StartController.
	Controller *avisim.Server
	Avi        *avi.Client
	Trees      tree.Reader
	// Page is the address of the Controller's page for people.
	Page string
	// Room is where the simulated network is on loopback, and Pods plays the pods; both are there after StartTraffic.
	Room *pods.Room
	Pods *pods.Runner

	closePage  context.CancelFunc
	kubeconfig string // of the operator's service account

	mu        sync.Mutex
	operators []*Operator
}

// New prepares a stage and starts nothing.
func New(ctx context.Context, o Options) (*Stage, error) {
	mod, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return nil, fmt.Errorf("asking for the repository's folder: %w", err)
	}
	root := filepath.Dir(strings.TrimSpace(string(mod)))
	if o.Dir, err = filepath.Abs(o.Dir); err != nil {
		return nil, err
	}
	if o.Binary, err = filepath.Abs(o.Binary); err != nil {
		return nil, err
	}
	if o.Log == nil {
		o.Log = io.Discard
	}
	return &Stage{Options: o, Root: root}, nil
}

// StartCluster starts the Kubernetes cluster. The very first time it builds the cluster's programs, which takes minutes.
func (s *Stage) StartCluster(ctx context.Context) (err error) {
	if s.Cluster, err = cluster.Start(ctx, cluster.Options{Nodes: s.Nodes, Log: s.Log}); err != nil {
		return err
	}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		clientgoscheme.AddToScheme, v1alpha1.AddToScheme, v1alpha2.AddToScheme, v1beta1.AddToScheme, svcapi.AddToScheme, gatewayv1.Install,
	} {
		if err := add(scheme); err != nil {
			return err
		}
	}
	s.Client, err = client.New(s.Cluster.RESTConfig(), client.Options{Scheme: scheme})
	return err
}

// StartController starts the simulated Avi Controller on loopback.
func (s *Stage) StartController() (err error) {
	s.Controller, err = avisim.New(avisim.Options{
		Username: Username, Password: Password, ReadLatency: s.ReadLatency, WriteLatency: s.WriteLatency,
	})
	if err != nil {
		return fmt.Errorf("making the simulated Controller: %w", err)
	}
	if err := s.Controller.Start(); err != nil {
		return fmt.Errorf("starting the simulated Controller: %w", err)
	}
	if err := os.WriteFile(s.CAFile(), s.Controller.CAPEM(), 0o600); err != nil {
		return err
	}
	s.Avi, err = avi.New(avi.Config{
		Host: s.Controller.Host(), Username: Username, Password: Password, CA: s.Controller.CAPEM(), UserAgent: "avi-l4-demo",
	})
	s.Trees = tree.Reader{Client: s.Avi, Tenant: "admin"}
	return errors.Join(err, s.startPage())
}

// StartTraffic has the Controller carry traffic to the cluster's pods, which are played, on a part of loopback that no other stage has.
func (s *Stage) StartTraffic() (err error) {
	if s.Room, err = pods.NewRoom(); err != nil {
		return err
	}
	if _, err := s.Controller.Forward(avisim.ForwardOptions{Map: s.Room.Map}); err != nil {
		return err
	}
	s.Pods, err = pods.Start(s.Cluster.RESTConfig(), pods.Options{Map: s.Room.Map})
	return err
}

// startPage serves the simulated Controller's page, and its control API, on loopback.
func (s *Stage) startPage() error {
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("starting the Controller's page: %w", err)
	}
	s.Page = "http://" + listener.Addr().String() + "/"
	ctx, cancel := context.WithCancel(context.Background())
	s.closePage = cancel
	go control.New(s.Controller).Serve(ctx, listener) //nolint:errcheck // ends when it is told to
	return nil
}

// CAFile is the file with the CA of the Controller's certificate.
func (s *Stage) CAFile() string { return filepath.Join(s.Dir, "controller-ca.crt") }

// ObjectName is the name of the VirtualService, VsVip and L4PolicySet of a Service or a Gateway.
func (s *Stage) ObjectName(namespace, owner string) string {
	return s.ClusterName + "--" + namespace + "-" + owner
}

// Operators are all that were started, whether they still run or not.
func (s *Stage) Operators() []*Operator {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.operators)
}

// Close takes down what was set up, the operators first. It may be called at any time, once.
func (s *Stage) Close() error {
	operators := s.Operators()
	var group sync.WaitGroup
	for _, o := range operators {
		group.Go(o.Stop)
	}
	group.Wait()
	for _, o := range operators {
		o.log.Close()
	}
	if s.Avi != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		s.Avi.Close(ctx)
		cancel()
	}
	if s.closePage != nil {
		s.closePage()
	}
	if s.Pods != nil {
		s.Pods.Close()
	}
	if s.Controller != nil {
		s.Controller.Close()
	}
	if s.Room != nil {
		s.Room.Close()
	}
	if s.Cluster != nil {
		return s.Cluster.Stop()
	}
	return nil
}

// Kubectl runs kubectl as the cluster's administrator in the repository's folder, and returns what it printed.
func (s *Stage) Kubectl(ctx context.Context, args ...string) (string, error) {
	command := s.Cluster.Kubectl(ctx, args...)
	command.Dir = s.Root
	out, err := command.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, strings.TrimSpace(string(exit.Stderr)))
		}
		return "", fmt.Errorf("kubectl %s: %w", strings.Join(args, " "), err)
	}
	return string(out), nil
}

// Until tries a check until it passes. When the context ends first, the error has what the check said last.
func Until(ctx context.Context, what string, check func(context.Context) error) error {
	return until(ctx, what, 50*time.Millisecond, check)
}

func until(ctx context.Context, what string, every time.Duration, check func(context.Context) error) error {
	begin := time.Now()
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	var last error
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() == nil || last == nil { // the context's end itself says nothing about the check
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s was not seen in %s: %w", what, time.Since(begin).Round(100*time.Millisecond), last)
		case <-ticker.C:
		}
	}
}
