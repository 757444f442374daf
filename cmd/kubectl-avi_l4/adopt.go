// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
)

// adoption is what is known of a change-over from AKO, and the next steps.
type adoption struct {
	AKO      []string `json:"ako"`      // StatefulSets, with their replicas
	Operator []string `json:"operator"` // Deployments, with their replicas
	Settings []string `json:"settings"` // keys in which both ConfigMaps differ, as far as they matter
	Claimed  int      `json:"claimed"`  // Services and Gateways that the operator has taken
	Waiting  int      `json:"waiting"`  // those that it would look at
	Steps    []string `json:"steps"`
}

// adoptionKeys have to be equal in both ConfigMaps for AKO's objects to be found.
var adoptionKeys = []string{"clusterName", "cloudName", "tenantName", "enableEVH", "controllerIP"}

func (p *plugin) adoptCommand() *cobra.Command {
	var akoNamespace, operatorNamespace string
	cmd := &cobra.Command{
		Use:   "adopt",
		Short: "Tell where a change-over from AKO stands, and the next command",
		Long: "Looks at AKO and at the operator and prints the next steps of the change-over that docs/migrating-from-ako.md describes, with the commands.\n" +
			"It changes nothing and runs nothing itself: the preview runs in the cluster, where the Controller's password is.",
		Example: "  kubectl avi-l4 adopt --ako-namespace avi-system",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := p.connect()
			if err != nil {
				return err
			}
			a, err := c.adoption(cmd.Context(), akoNamespace, operatorNamespace)
			if err != nil {
				return err
			}
			return p.print(a, a.print)
		},
	}
	cmd.Flags().StringVar(&akoNamespace, "ako-namespace", "avi-system", "The namespace of AKO.")
	cmd.Flags().StringVar(&operatorNamespace, "operator-namespace", "avi-l4-system", "The namespace of the operator.")
	p.addOutput(cmd)
	return cmd
}

// adoption finds out where a change-over stands.
func (c *connection) adoption(ctx context.Context, akoNamespace, operatorNamespace string) (*adoption, error) {
	a := &adoption{AKO: []string{}, Operator: []string{}, Settings: []string{}}
	sets, err := c.core.AppsV1().StatefulSets(akoNamespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("looking for AKO: %w", err)
	}
	var ako, operator int32
	stop := ""
	for i := range sets.Items {
		if s := &sets.Items[i]; s.Name == "ako" || s.Labels["app.kubernetes.io/name"] == "ako" {
			ako += replicas(s.Spec.Replicas)
			a.AKO = append(a.AKO, fmt.Sprintf("StatefulSet %s/%s, replicas: %d", s.Namespace, s.Name, replicas(s.Spec.Replicas)))
			stop = fmt.Sprintf("kubectl -n %s scale statefulset %s --replicas=0", s.Namespace, s.Name)
		}
	}
	deployments, err := c.core.AppsV1().Deployments(operatorNamespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("looking for the operator: %w", err)
	}
	var found *appsv1.Deployment
	for i := range deployments.Items {
		if d := &deployments.Items[i]; isOperator(d) {
			found = d
			operator += replicas(d.Spec.Replicas)
			a.Operator = append(a.Operator, fmt.Sprintf("Deployment %s/%s, replicas: %d", d.Namespace, d.Name, replicas(d.Spec.Replicas)))
		}
	}
	if err := c.compareSettings(ctx, a, akoNamespace, operatorNamespace); err != nil {
		return nil, err
	}
	if err := c.countOwners(ctx, a); err != nil {
		return nil, err
	}
	a.next(ako, operator, found, stop)
	return a, nil
}

func replicas(n *int32) int32 {
	if n == nil {
		return 1
	}
	return *n
}

// compareSettings notes the keys that differ.
func (c *connection) compareSettings(ctx context.Context, a *adoption, akoNamespace, operatorNamespace string) error {
	var both [2]*corev1.ConfigMap
	for i, namespace := range []string{akoNamespace, operatorNamespace} {
		m, err := c.core.CoreV1().ConfigMaps(namespace).Get(ctx, settings.ConfigMapName, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			a.Settings = append(a.Settings, fmt.Sprintf("ConfigMap %s/%s doesn't exist", namespace, settings.ConfigMapName))
			continue
		case err != nil:
			return fmt.Errorf("reading the settings: %w", err)
		}
		both[i] = m
	}
	if both[0] == nil || both[1] == nil {
		return nil
	}
	for _, key := range adoptionKeys {
		if one, other := both[0].Data[key], both[1].Data[key]; one != other {
			a.Settings = append(a.Settings, fmt.Sprintf("%s: %q of AKO, %q of the operator", key, one, other))
		}
	}
	return nil
}

// countOwners counts load balancers and Gateways.
func (c *connection) countOwners(ctx context.Context, a *adoption) error {
	for _, k := range kinds {
		if k.name != "Service" && k.name != "Gateway" {
			continue
		}
		all, err := c.list(ctx, k, "")
		if err != nil {
			return err
		}
		for _, o := range all {
			switch {
			case slices.Contains(o.GetFinalizers(), finalizer):
				a.Claimed++
			case ours(o):
				a.Waiting++
			}
		}
	}
	return nil
}

// next are the steps that are left.
func (a *adoption) next(ako, operator int32, d *appsv1.Deployment, stop string) {
	preview := "kubectl -n NAMESPACE run preview --rm -i --restart=Never --image=IMAGE --overrides='{\"spec\":{\"serviceAccountName\":\"ACCOUNT\"}}' -- --preview --namespace=NAMESPACE"
	start := "kubectl -n NAMESPACE scale deployment NAME --replicas=2"
	if d != nil && len(d.Spec.Template.Spec.Containers) > 0 {
		fill := strings.NewReplacer("NAMESPACE", d.Namespace, "IMAGE", d.Spec.Template.Spec.Containers[0].Image,
			"ACCOUNT", d.Spec.Template.Spec.ServiceAccountName, "NAME", d.Name)
		preview, start = fill.Replace(preview), fill.Replace(start)
	}
	switch {
	case ako > 0 && operator > 0:
		a.Steps = append(a.Steps, "Both run, and would serve the same Services under the same names: stop one of them now, unless each has a clusterName of its own.")
	case d == nil:
		a.Steps = append(a.Steps, "Install the operator with 0 replicas, with AKO's ConfigMap and Secret in its namespace (docs/install.md).")
	case len(a.Settings) > 0:
		a.Steps = append(a.Steps, "Bring the settings in step: what differs decides which of AKO's objects are found.")
	}
	switch {
	case operator > 0 && ako == 0:
		a.Steps = append(a.Steps, "Changed over. What is not served as asked: kubectl avi-l4 explain -A")
	case operator == 0:
		a.Steps = append(a.Steps, "Look at what would change: "+preview)
		if ako > 0 {
			a.Steps = append(a.Steps, "Stop AKO, without deleteConfig: "+stop, "Look at the preview once more, with the same command.")
		}
		a.Steps = append(a.Steps, "Start the operator: "+start)
	}
	a.Steps = append(a.Steps, "Every step and the way back: docs/migrating-from-ako.md")
}

// print writes it for a person.
func (a *adoption) print(w io.Writer) {
	for _, part := range []struct {
		title string
		lines []string
	}{{"AKO", a.AKO}, {"Operator", a.Operator}, {"Settings that differ", a.Settings}} {
		if len(part.lines) == 0 {
			part.lines = []string{"none"}
		}
		fmt.Fprintf(w, "%s: %s\n", part.title, strings.Join(part.lines, "; "))
	}
	fmt.Fprintf(w, "Load balancers and Gateways: %d taken by the operator, %d not\n\nNext:\n", a.Claimed, a.Waiting)
	for i, s := range a.Steps {
		fmt.Fprintf(w, "%d. %s\n", i+1, s)
	}
}
