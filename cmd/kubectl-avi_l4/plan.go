// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What the operator serves, and how it is reached through the API server.
const (
	planPath     = "plan"
	serversPath  = "servers"
	planHeader   = "X-Avi-L4-Token" // the API server's proxy keeps Authorization to itself
	leaseName    = "avi-l4-operator.ako.vmware.com"
	metricsPort  = 8443
	tokenSeconds = 600 // the shortest that the API server gives
)

// planning is where and as whom the operator is asked.
type planning struct{ namespace, account string }

// flags are for a command that asks the operator.
func (at *planning) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&at.namespace, "operator-namespace", "avi-l4-system", "The operator's namespace.")
	cmd.Flags().StringVar(&at.account, "service-account", "avi-l4-plan-reader", "The service account of that namespace in whose name the operator is asked.")
}

// planCommand makes plan and drift, which differ in what of a plan they show.
func (p *plugin) planCommand(name, short, long string, drift bool) *cobra.Command {
	var at planning
	var everywhere bool
	fits := func(k kind) bool { return k.name == "Service" || k.name == "Gateway" }
	cmd := &cobra.Command{
		Use: name + " [KIND/NAME]", Short: short,
		Long: long + "\nIt is the operator that makes the plan, from what it knows at the moment: nothing is written for it. Without an object, of all in the\n" +
			"namespace. You need role avi-l4-plan-user in the operator's namespace (config/components/plan-reader, or the chart's value planReader).",
		Example: fmt.Sprintf("  kubectl avi-l4 %s service/amf\n  kubectl avi-l4 %s -A -o json", name, name),
		Args:    cobra.MaximumNArgs(2), ValidArgsFunction: p.complete(fits),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := p.connect()
			if err != nil {
				return err
			}
			query := map[string]string{"format": "text"}
			if drift {
				query["drift"] = "true"
			}
			if !everywhere {
				query["namespace"] = c.namespace
			}
			if len(args) > 0 {
				if err := c.aim(cmd.Context(), args, fits, query); err != nil {
					return err
				}
			}
			if p.output != "" {
				query["format"] = "json"
			}
			answer, err := c.ask(cmd.Context(), at, planPath, query)
			if err != nil {
				return err
			}
			if p.output == "" {
				_, err := p.Out.Write(answer)
				return err
			}
			var value any
			if err := json.Unmarshal(answer, &value); err != nil {
				return fmt.Errorf("reading the operator's answer: %w", err)
			}
			return p.print(value, func(io.Writer) {})
		},
	}
	cmd.Flags().BoolVarP(&everywhere, "all-namespaces", "A", false, "Ask about all namespaces.")
	at.flags(cmd)
	p.addOutput(cmd)
	return cmd
}

// aim has a query ask about one object: a Service of a shared VIP is planned with the others of its group.
func (c *connection) aim(ctx context.Context, args []string, fits func(kind) bool, query map[string]string) error {
	t, err := parseTarget(args, fits)
	if err != nil {
		return err
	}
	objects, err := c.get(ctx, t)
	if err != nil {
		return err
	}
	return aimAt(objects[0], query)
}

func aimAt(o found, query map[string]string) error {
	query["namespace"], query["kind"], query["name"] = o.GetNamespace(), o.name, o.GetName()
	labels := o.GetLabels()
	switch group := strings.TrimSpace(o.GetAnnotations()[annotationSharedVIP]); {
	case o.name != "Service":
	case labels[labelGateway] != "":
		return fmt.Errorf("the Service stands behind Gateway %s/%s: ask for that one",
			cmp.Or(labels[labelGatewayNS], o.GetNamespace()), labels[labelGateway])
	case group != "":
		query["kind"], query["name"] = "SharedVIP", group
	}
	return nil
}

// ask asks the operator's pods, the leader first: the others know the Controller from when they last read it.
func (c *connection) ask(ctx context.Context, at planning, path string, query map[string]string) ([]byte, error) {
	pods, err := c.core.CoreV1().Pods(at.namespace).List(ctx, metav1.ListOptions{LabelSelector: operatorSelector})
	if err != nil {
		return nil, fmt.Errorf("looking for the operator's pods: %w", err)
	}
	running := slices.DeleteFunc(pods.Items, func(p corev1.Pod) bool { return p.Status.Phase != corev1.PodRunning })
	if len(running) == 0 {
		return nil, fmt.Errorf("no pod of the operator runs in namespace %s; flag --operator-namespace names another", at.namespace)
	}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: new(int64(tokenSeconds))}}
	token, err := c.core.CoreV1().ServiceAccounts(at.namespace).CreateToken(ctx, at.account, request, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("getting a token of service account %s/%s: %w", at.namespace, at.account, err)
	}
	leader := c.leader(ctx, at.namespace)
	slices.SortStableFunc(running, func(a, b corev1.Pod) int { return cmp.Compare(rank(&a, leader), rank(&b, leader)) })
	var failed []error
	for i := range running {
		answer, err := c.askPod(ctx, &running[i], token.Status.Token, path, query)
		if err == nil {
			return answer, nil
		}
		failed = append(failed, fmt.Errorf("pod %s: %w", running[i].Name, err))
	}
	return nil, errors.Join(failed...)
}

func rank(p *corev1.Pod, leader string) int {
	if p.Name == leader {
		return 0
	}
	return 1
}

// leader is the name of the pod that holds the lease, "" if it isn't known.
func (c *connection) leader(ctx context.Context, namespace string) string {
	lease, err := c.core.CoordinationV1().Leases(namespace).Get(ctx, leaseName, metav1.GetOptions{})
	if err != nil || lease.Spec.HolderIdentity == nil {
		return ""
	}
	pod, _, _ := strings.Cut(*lease.Spec.HolderIdentity, "_")
	return pod
}

// askPod asks one pod through the API server.
func (c *connection) askPod(ctx context.Context, pod *corev1.Pod, token, path string, query map[string]string) ([]byte, error) {
	r := c.core.CoreV1().RESTClient().Get().Namespace(pod.Namespace).Resource("pods").
		Name(fmt.Sprintf("https:%s:%d", pod.Name, portOf(pod))).SubResource("proxy").Suffix(path).SetHeader(planHeader, token)
	for key, value := range query {
		r = r.Param(key, value)
	}
	answer := r.Do(ctx)
	if err := answer.Error(); err != nil { // Raw has no error of the API server's own in words
		return nil, explained(err)
	}
	return answer.Raw()
}

// portOf is where a pod serves its metrics, and plans with them.
func portOf(pod *corev1.Pod) int32 {
	for _, c := range pod.Spec.Containers {
		for _, p := range c.Ports {
			if p.Name == "metrics" {
				return p.ContainerPort
			}
		}
	}
	return metricsPort
}

// explained says of a failure what a person can do. The operator itself answers in plain text, which is the cause of the API's error.
func explained(err error) error {
	var status *apierrors.StatusError
	if !errors.As(err, &status) {
		return err
	}
	said := ""
	if d := status.ErrStatus.Details; d != nil {
		for _, cause := range d.Causes {
			if cause.Type == metav1.CauseTypeUnexpectedServerResponse {
				said = strings.TrimSpace(cause.Message)
			}
		}
	}
	switch {
	case said == "" && apierrors.IsForbidden(err):
		return fmt.Errorf("%w: role avi-l4-plan-user has this right", err)
	case said == "" || strings.HasPrefix(said, "unknown"):
		return err
	case apierrors.IsNotFound(err):
		return errors.New("it serves no such thing: it is of an older release, or runs without --metrics-secure")
	}
	return errors.New(said)
}
