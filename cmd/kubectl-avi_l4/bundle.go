// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
	"github.com/avi-l4-operator/avi-l4-operator/internal/version"
)

// operatorSelector are the labels of the operator's pods in each way of installing it.
const operatorSelector = operatorLabel + "=" + operatorName

const (
	operatorLabel = "control-plane"
	operatorName  = "avi-l4-operator" // the label's value, and the reporter of the operator's Events
)

// isOperator reports whether a Deployment's pods are the operator's.
func isOperator(d *appsv1.Deployment) bool {
	return d.Spec.Template.Labels[operatorLabel] == operatorName
}

// bundle is an archive in the making. What can't be read is listed in its file left-out.txt.
type bundle struct {
	*connection
	archive *tar.Writer
	at      time.Time
	top     string // the one folder in it
	left    []string
	failed  error // to write
}

func (p *plugin) bundleCommand() *cobra.Command {
	var file, operatorNamespace string
	var tail int64
	cmd := &cobra.Command{
		Use:   "support-bundle",
		Short: "Write what a report of a problem needs to one redacted archive",
		Long: "Writes the operator's logs, Deployments and ConfigMaps, the objects that it serves with their statuses, Events, CRDs and versions to one\n" +
			"tar.gz. Secrets are never read; what looks like a password, token, cookie or key is replaced. Addresses and names stay:\n" +
			"look through it before you give it away.",
		Example: "  kubectl avi-l4 support-bundle\n  kubectl avi-l4 support-bundle -f - | tar tz",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := p.connect()
			if err != nil {
				return err
			}
			at := c.now().UTC()
			top := "avi-l4-support-" + at.Format("20060102-150405")
			if file == "" {
				file = top + ".tar.gz"
			}
			var content bytes.Buffer
			left, err := writeBundle(cmd.Context(), c, &content, top, operatorNamespace, tail)
			if err != nil {
				return err
			}
			for _, text := range left {
				fmt.Fprintln(p.ErrOut, "left out:", text)
			}
			if file == "-" {
				_, err := p.Out.Write(content.Bytes())
				return err
			}
			if err := os.WriteFile(file, content.Bytes(), 0o600); err != nil {
				return fmt.Errorf("writing the archive: %w", err)
			}
			fmt.Fprintln(p.Out, file)
			return nil
		},
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "File to write; - is the standard output. Empty: avi-l4-support-TIME.tar.gz.")
	cmd.Flags().StringVar(&operatorNamespace, "operator-namespace", "", "The operator's namespace; empty: those with its pods, or avi-l4-system.")
	cmd.Flags().Int64Var(&tail, "log-lines", 20000, "Lines of each log to take at most, from its end.")
	return cmd
}

// settingsMaps are the ConfigMaps of the operator's namespace that are taken: its settings, what it holds, and refused logins.
var settingsMaps = []string{settings.ConfigMapName, "avi-l4-held", "avi-l4-login"}

// writeBundle writes an archive and returns what was left out of it.
func writeBundle(ctx context.Context, c *connection, to io.Writer, top, operatorNamespace string, tail int64) (left []string, err error) {
	zipped := gzip.NewWriter(to)
	b := &bundle{connection: c, archive: tar.NewWriter(zipped), at: c.now(), top: top}
	for _, namespace := range b.operatorNamespaces(ctx, operatorNamespace) {
		b.operator(ctx, namespace, tail)
	}
	b.versions()
	for _, k := range kinds {
		b.collect(ctx, k, "objects", ours)
	}
	b.collect(ctx, sliceKind, "objects", nil)
	b.collect(ctx, crdKind, "crds", func(o found) bool {
		group, _, _ := unstructured.NestedString(o.Object, "spec", "group")
		return slices.Contains([]string{groupAKO, groupGateway, groupServices}, group)
	})
	b.events(ctx)
	b.text("left-out.txt", strings.Join(append(b.left, ""), "\n"))
	return b.left, errors.Join(b.failed, b.archive.Close(), zipped.Close())
}

var crdKind = kind{name: "CustomResourceDefinition", clustered: true,
	gvk: schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"}}

// skip notes what is left out.
func (b *bundle) skip(what string, err error) {
	b.left = append(b.left, fmt.Sprintf("%s: %v", what, err))
}

// text adds a file, redacted.
func (b *bundle) text(name, content string) {
	content = redact(content)
	head := &tar.Header{Name: path.Join(b.top, name), Mode: 0o600, Size: int64(len(content)), ModTime: b.at}
	if err := b.archive.WriteHeader(head); err != nil {
		b.failed = errors.Join(b.failed, err)
		return
	}
	_, err := io.WriteString(b.archive, content)
	b.failed = errors.Join(b.failed, err)
}

// yaml adds an object as a file.
func (b *bundle) yaml(name string, o runtime.Object) {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err == nil {
		var text string
		if text, err = document(content); err == nil {
			b.text(name, text)
			return
		}
	}
	b.skip(name, err)
}

// document writes an object as YAML, without its secrets and what repeats the rest of it.
func document(o map[string]any) (string, error) {
	unstructured.RemoveNestedField(o, "metadata", "managedFields")
	unstructured.RemoveNestedField(o, "metadata", "annotations", corev1.LastAppliedConfigAnnotation)
	hide(o)
	content, err := yaml.Marshal(o)
	return string(content), err
}

// operatorNamespaces are where the operator runs.
func (b *bundle) operatorNamespaces(ctx context.Context, given string) []string {
	if given != "" {
		return []string{given}
	}
	pods, err := b.core.CoreV1().Pods("").List(ctx, metav1.ListOptions{LabelSelector: operatorSelector})
	if err != nil && !apierrors.IsForbidden(err) {
		b.skip("the operator's pods in all namespaces", err)
	}
	var out []string
	if err == nil {
		for i := range pods.Items {
			if n := pods.Items[i].Namespace; !slices.Contains(out, n) {
				out = append(out, n)
			}
		}
	}
	if len(out) == 0 {
		out = []string{"avi-l4-system"}
	}
	return out
}

// operator adds what concerns the operator's own pods in a namespace.
func (b *bundle) operator(ctx context.Context, namespace string, tail int64) {
	folder := "operator/" + namespace
	selected := metav1.ListOptions{LabelSelector: operatorSelector}
	if pods, err := b.core.CoreV1().Pods(namespace).List(ctx, selected); err != nil {
		b.skip("pods of namespace "+namespace, err)
	} else {
		for i := range pods.Items {
			b.pod(ctx, folder, &pods.Items[i], tail)
		}
	}
	if deployments, err := b.core.AppsV1().Deployments(namespace).List(ctx, metav1.ListOptions{}); err != nil {
		b.skip("Deployments of namespace "+namespace, err)
	} else {
		for i := range deployments.Items {
			d := &deployments.Items[i]
			if !isOperator(d) {
				continue
			}
			hideEnvironment(&d.Spec.Template.Spec)
			b.yaml(folder+"/deployment-"+d.Name+".yaml", d)
		}
	}
	for _, name := range settingsMaps {
		m, err := b.core.CoreV1().ConfigMaps(namespace).Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			b.skip("ConfigMap "+namespace+"/"+name, err)
			continue
		}
		if name == settings.ConfigMapName {
			hideUnknown(m)
		}
		b.yaml(folder+"/configmap-"+name+".yaml", m)
	}
}

// pod adds a pod and the logs of its containers, also of those that ran before.
func (b *bundle) pod(ctx context.Context, folder string, pod *corev1.Pod, tail int64) {
	for _, container := range pod.Spec.Containers {
		for _, previous := range []bool{false, true} {
			name := fmt.Sprintf("%s/log-%s-%s.txt", folder, pod.Name, container.Name)
			if previous {
				if !restarted(pod, container.Name) {
					continue
				}
				name = strings.TrimSuffix(name, ".txt") + "-previous.txt"
			}
			log, err := b.core.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name,
				&corev1.PodLogOptions{Container: container.Name, Previous: previous, TailLines: &tail, Timestamps: true}).DoRaw(ctx)
			if err != nil {
				b.skip(name, err)
				continue
			}
			b.text(name, string(log))
		}
	}
	pod = pod.DeepCopy()
	hideEnvironment(&pod.Spec)
	b.yaml(folder+"/pod-"+pod.Name+".yaml", pod)
}

func restarted(pod *corev1.Pod, container string) bool {
	return slices.ContainsFunc(pod.Status.ContainerStatuses, func(s corev1.ContainerStatus) bool {
		return s.Name == container && s.RestartCount > 0
	})
}

// versions adds those of the plugin and of the cluster.
func (b *bundle) versions() {
	text := "plugin: " + version.String() + "\n"
	if v, err := b.core.Discovery().ServerVersion(); err != nil {
		b.skip("the API server's version", err)
	} else {
		text += "kubernetes: " + v.GitVersion + "\n"
	}
	b.text("versions.txt", text)
}

// collect adds the objects of a kind in all namespaces, or where that is not allowed, in the caller's: a file for each namespace.
func (b *bundle) collect(ctx context.Context, k kind, folder string, take func(found) bool) {
	all, err := b.list(ctx, k, "")
	if apierrors.IsForbidden(err) && !k.clustered {
		b.skip(k.name+"s of other namespaces than "+b.namespace, err)
		all, err = b.list(ctx, k, b.namespace)
	}
	if err != nil {
		b.skip(k.name+"s", err)
		return
	}
	files := map[string][]string{}
	var names []string
	for _, o := range all {
		if take != nil && !take(o) {
			continue
		}
		content, err := document(o.Object)
		if err != nil {
			b.skip(full(o), err)
			continue
		}
		name := path.Join(folder, o.GetNamespace(), strings.ToLower(k.gvk.GroupKind().String())+".yaml")
		if files[name] == nil {
			names = append(names, name)
		}
		files[name] = append(files[name], content)
	}
	for _, name := range names {
		b.text(name, strings.Join(files[name], "---\n"))
	}
}

// events adds those that the operator reported.
func (b *bundle) events(ctx context.Context) {
	all, err := b.core.CoreV1().Events("").List(ctx, metav1.ListOptions{})
	if apierrors.IsForbidden(err) {
		b.skip("Events of other namespaces than "+b.namespace, err)
		all, err = b.core.CoreV1().Events(b.namespace).List(ctx, metav1.ListOptions{})
	}
	if err != nil {
		b.skip("Events", err)
		return
	}
	var lines []string
	for i := range all.Items {
		ev := &all.Items[i]
		if !strings.Contains(ev.ReportingController+ev.Source.Component, operatorName) {
			continue
		}
		last := ev.LastTimestamp.Time
		if last.IsZero() {
			last = ev.EventTime.Time
		}
		about := ev.InvolvedObject
		lines = append(lines, fmt.Sprintf("%s %s %s %s/%s %s: %s", last.UTC().Format(time.RFC3339), ev.Type, about.Kind, about.Namespace, about.Name,
			ev.Reason, ev.Message))
	}
	slices.Sort(lines)
	b.text("events.txt", strings.Join(append(lines, ""), "\n"))
}
