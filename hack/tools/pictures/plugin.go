// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	corev1 "k8s.io/api/core/v1"

	"github.com/avi-l4-operator/avi-l4-operator/hack/demo/stage"
	"github.com/avi-l4-operator/avi-l4-operator/internal/status"
)

// plugin runs kubectl avi-l4 and draws what it prints.
func plugin(ctx context.Context, s *scene, o *options) error {
	kubeconfig, closed, err := s.forward(ctx)
	if err != nil {
		return err
	}
	defer closed()
	for _, p := range []struct{ name, line string }{
		{"plugin-tree.svg", "tree gateway/core --health"},
		{"plugin-explain.svg", "explain service/hss"},
		{"plugin-plan.svg", "plan"},
	} {
		args := append([]string{"avi-l4"}, strings.Fields(p.line)...)
		out, err := s.asUser(ctx, kubeconfig, args...)
		if err != nil {
			return err
		}
		picture, err := terminal("$ kubectl "+strings.Join(args, " "), out)
		if err != nil {
			return err
		}
		if err := o.save(p.name, picture); err != nil {
			return err
		}
	}
	return nil
}

// prepare makes something to see: a server that the Controller finds down, and a change that waits in a dry run.
func (s *scene) prepare(ctx context.Context) error {
	for _, args := range [][]string{
		{"annotate", "service", "-n", namespace, "mme-2", "l4.ako.vmware.com/dry-run=true"},
		{"patch", "service", "-n", namespace, "mme-2", "--patch",
			`{"spec":{"ports":[{"name":"m3ap","port":36444,"protocol":"SCTP","targetPort":"server"}]}}`},
	} {
		if _, err := s.Kubectl(ctx, args...); err != nil {
			return err
		}
	}
	var pods corev1.PodList
	if err := s.Client.List(ctx, &pods, client.InNamespace(namespace), client.MatchingLabels{"app": "amf-1"}); err != nil {
		return err
	}
	if len(pods.Items) == 0 {
		return errors.New("amf-1 has no pods")
	}
	s.Controller.SetServerHealth(pods.Items[0].Status.PodIP, 9090, false, "no SCTP INIT ACK within 4 s")
	bounded, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return stage.Until(bounded, "the dry run's plan and the refused Service", func(ctx context.Context) error {
		for name, reason := range map[string]string{"mme-2": "DryRun", "hss": "ControllerRefused"} {
			var svc corev1.Service
			if err := s.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &svc); err != nil {
				return err
			}
			if c := apimeta.FindStatusCondition(svc.Status.Conditions, status.Programmed); c == nil || c.Reason != reason {
				return fmt.Errorf("%s: %+v", name, c)
			}
		}
		return nil
	})
}

// forward starts, on loopback, what the API server of a cluster with containers does besides: requests for the operator's pod are passed
// to the operator, which is a process here; everything else goes to the API server. It returns a kubeconfig for it.
func (s *scene) forward(ctx context.Context) (kubeconfig string, closed func(), err error) {
	config := s.Cluster.RESTConfig()
	transport, err := rest.TransportFor(config)
	if err != nil {
		return "", nil, err
	}
	server, err := url.Parse(config.Host)
	if err != nil {
		return "", nil, err
	}
	kubernetes := httputil.ReverseProxy{Transport: transport, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(server) }}
	operator := httputil.ReverseProxy{
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, //nolint:gosec // as the proxy to pods
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "https", Host: s.metrics}) },
	}
	_, port, err := net.SplitHostPort(s.metrics)
	if err != nil {
		return "", nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/", &kubernetes)
	pod := fmt.Sprintf("/api/v1/namespaces/%s/pods/https:%s:%s/proxy", stage.Namespace, operatorPod, port)
	mux.Handle(pod+"/", http.StripPrefix(pod, &operator))
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	web := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	go func() { _ = web.Serve(listener) }() // ends with closed

	const name = "prod"
	c := api.NewConfig()
	c.Clusters[name] = &api.Cluster{Server: "http://" + listener.Addr().String()}
	c.Contexts[name] = &api.Context{Cluster: name, Namespace: namespace}
	c.CurrentContext = name
	kubeconfig = filepath.Join(s.Dir, "kubeconfig")
	return kubeconfig, func() { _ = web.Close() }, clientcmd.WriteToFile(*c, kubeconfig)
}
