// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/template"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/avi-l4-operator/avi-l4-operator/hack/demo/stage"
	"github.com/avi-l4-operator/avi-l4-operator/internal/status"
)

// The world of the pictures: so many Services of each network function, in one namespace.
const (
	namespace   = "telecom"
	perFunction = 8
	operatorPod = "avi-l4-operator-0"
)

// function is one of a core network, and where it listens.
type function struct {
	Function, Protocol, PortName string
	Port                         int
}

var functions = []function{
	{"amf", "SCTP", "ngap", 38412}, {"mme", "SCTP", "s1ap", 36412}, {"dra", "SCTP", "diameter", 3868}, {"stp", "SCTP", "m3ua", 2905},
	{"smf", "UDP", "pfcp", 8805},
}

// instance is one Service of a function.
type instance struct {
	function
	Name string
}

func instances() (out []instance) {
	for i := range perFunction {
		for _, f := range functions {
			out = append(out, instance{f, fmt.Sprintf("%s-%d", f.Function, i+1)})
		}
	}
	return out
}

//go:embed scene/*.yaml
var manifests embed.FS

// scene is the stage with the operator on it.
type scene struct {
	*stage.Stage
	metrics string // the operator's metrics server, host:port
	token   string // for them, as Prometheus has it
}

// open sets the stage up, with the operator on it and nothing to serve yet. The scene has to be closed also if there is an error.
func open(ctx context.Context, dir string) (*scene, error) {
	set, err := stage.New(ctx, stage.Options{
		Dir: dir, Binary: filepath.Join("bin", "avi-l4-operator"), Nodes: 3, ClusterName: "prod",
		ReadLatency: 20 * time.Millisecond, WriteLatency: 40 * time.Millisecond, Log: os.Stderr,
	})
	if err != nil {
		return nil, err
	}
	s := &scene{Stage: set}
	for _, step := range []func(context.Context) error{s.StartCluster, s.startController, s.Build, s.Install, s.monitored, s.started} {
		if err := step(ctx); err != nil {
			return s, err
		}
	}
	return s, nil
}

func (s *scene) startController(context.Context) error { return s.StartController() }

// monitored lets Prometheus read the metrics, and people the plans: by the roles that users get.
func (s *scene) monitored(ctx context.Context) error {
	for _, args := range [][]string{
		{"apply", "-f", "config/components/plan-reader/roles.yaml"},
		{"create", "serviceaccount", "prometheus", "-n", stage.Namespace},
		{"create", "clusterrolebinding", "prometheus", "--clusterrole=avi-l4-metrics-reader",
			"--serviceaccount=" + stage.Namespace + ":prometheus"},
		{"create", "namespace", namespace},
	} {
		if _, err := s.Kubectl(ctx, args...); err != nil {
			return err
		}
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: stage.Namespace, Name: "prometheus"}}
	request := &authenticationv1.TokenRequest{}
	if err := s.Client.SubResource("token").Create(ctx, account, request); err != nil {
		return fmt.Errorf("getting Prometheus' token: %w", err)
	}
	s.token = request.Status.Token
	return nil
}

// started starts the operator as an installation has it, but for how often the Controller is looked at: there are only minutes.
func (s *scene) started(ctx context.Context) (err error) {
	if s.metrics, err = stage.FreeAddress(ctx); err != nil {
		return err
	}
	_, err = s.StartOperator(ctx, "operator", "--metrics-bind-address="+s.metrics, "--refresh-interval=20s", "--health-interval=3s")
	if err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(s.metrics)
	if err != nil {
		return err
	}
	return s.apply(ctx, "operator.yaml", port)
}

// create creates all Services, and what the plugin's pictures are about.
func (s *scene) create(ctx context.Context) error {
	return errors.Join(s.apply(ctx, "services.yaml", instances()), s.apply(ctx, "cast.yaml", nil))
}

// settle waits until everything that can be is served.
func (s *scene) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	return stage.Until(ctx, "all Services healthy", func(ctx context.Context) error {
		var list corev1.ServiceList
		if err := s.Client.List(ctx, &list, client.InNamespace(namespace)); err != nil {
			return err
		}
		healthy := 0
		for i := range list.Items {
			if apimeta.IsStatusConditionTrue(list.Items[i].Status.Conditions, status.Healthy) {
				healthy++
			}
		}
		if want := len(instances()); healthy < want {
			return fmt.Errorf("%d of %d are", healthy, want)
		}
		return nil
	})
}

// apply applies a manifest of the scene, filled with data.
func (s *scene) apply(ctx context.Context, name string, data any) error {
	t, err := template.ParseFS(manifests, "scene/"+name)
	if err != nil {
		return err
	}
	var filled bytes.Buffer
	if err := t.Execute(&filled, data); err != nil {
		return err
	}
	file := filepath.Join(s.Dir, name)
	if err := os.WriteFile(file, filled.Bytes(), 0o600); err != nil {
		return err
	}
	_, err = s.Kubectl(ctx, "apply", "-f", file)
	return err
}

// asUser runs kubectl as a person would who has a kubeconfig and the plugin, and returns all that the terminal shows.
func (s *scene) asUser(ctx context.Context, kubeconfig string, args ...string) (string, error) {
	program := s.Cluster.Kubectl(ctx).Path
	command := exec.CommandContext(ctx, program, args...) // #nosec G204 -- the arguments are this program's own
	path := filepath.Join(s.Root, "bin") + string(os.PathListSeparator) + os.Getenv("PATH")
	command.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig, "PATH="+path)
	out, err := command.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("kubectl %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}
