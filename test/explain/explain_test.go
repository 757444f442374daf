// SPDX-License-Identifier: Apache-2.0

// Package explain holds what users read about broken input to exact texts: each file testdata/NAME.yaml is applied to a cluster with
// an operator and a simulated Controller, and NAME.txt has the conditions, what kubectl describe prints, and the Events. It is a
// module of its own, because kubectl's code is needed here alone.
package explain

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/component-base/cli"
	"k8s.io/kubectl/pkg/cmd"
	"k8s.io/kubectl/pkg/describe"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/avi-l4-operator/avi-l4-operator/test/suite"
)

var update = flag.Bool("update", false, "write the texts instead of comparing with them")

func TestMain(m *testing.M) {
	if os.Getenv("AS") == "kubectl" {
		if cli.RunNoErrOutput(cmd.NewDefaultKubectlCommand()) != nil {
			os.Exit(1)
		}
		return
	}
	suite.Main(m)
}

// TestExplanations compares the texts of each input. The file names say what is broken.
func TestExplanations(t *testing.T) {
	inputs, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(inputs) < 30 {
		t.Fatalf("%d inputs, %v", len(inputs), err)
	}
	for name := range worlds {
		if !slices.Contains(inputs, "testdata/"+name+".yaml") {
			t.Errorf("%s has no input", name)
		}
	}
	for _, input := range inputs {
		name := strings.TrimSuffix(filepath.Base(input), ".yaml")
		t.Run(name, func(t *testing.T) {
			w := worlds[name]
			if !w.alone {
				t.Parallel()
			}
			e := suite.New(t, w.options...)
			if w.prepare != nil {
				w.prepare(e)
			}
			before(e, name)
			told := apply(e, input)
			if w.then != nil {
				w.then(e)
			}
			compare(e, told, strings.TrimSuffix(input, ".yaml")+".txt")
		})
	}
}

// before creates what is there before an input, and waits until its Services are served and its settings judged.
func before(e *suite.Env, name string) {
	e.T.Helper()
	file := "testdata/before/" + name + ".yaml"
	if _, err := os.Stat(file); err != nil {
		return
	}
	for _, o := range apply(e, file) {
		if o.GetKind() != "Service" {
			e.Eventually(o.GetName()+" is judged", func() error {
				if err := e.Client.Get(e.T.Context(), client.ObjectKeyFromObject(o), o); err != nil || o.Object["status"] != nil {
					return err
				}
				return errors.New("it has no status")
			})
			continue
		}
		e.Programmed(&corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: o.GetName(), Namespace: o.GetNamespace()}})
	}
}

// compare waits until the objects' texts are those of a file, or have come to rest and are written to it.
func compare(e *suite.Env, told []*unstructured.Unstructured, file string) {
	e.T.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(settled(e, told)), 0o600); err != nil {
			e.T.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		e.T.Fatal(err)
	}
	e.Eventually("the texts of "+file, func() error {
		have, err := texts(e, told)
		if err != nil {
			return err
		}
		if diff := cmp.Diff(string(want), have); diff != "" {
			return errors.New("(-want +have)\n" + diff)
		}
		return nil
	})
}

func settled(e *suite.Env, told []*unstructured.Unstructured) (text string) {
	const rest = 200 // looks, of 40 ms and more: some of what is told comes seconds after the rest
	same := 0
	e.Eventually("the texts come to rest", func() error {
		have, err := texts(e, told)
		if err != nil {
			return err
		}
		if have != text {
			text, same = have, 0
		}
		if same++; same < rest {
			time.Sleep(30 * time.Millisecond)
			return fmt.Errorf("they changed %d looks ago", same)
		}
		return nil
	})
	return text
}

// kinds are those whose status the operator writes.
var kinds = []string{"Service", "Gateway", "TCPRoute", "UDPRoute", "SCTPRoute", "ListenerSet", "GatewayClass", "AviInfraSetting", "L4Rule"}

// apply creates a file's objects, in which NAMESPACE and CLUSTER stand for the test's own. What the told ones need comes before them:
// a Service whose endpoints are still on their way is down for a moment, and an Event says so.
func apply(e *suite.Env, file string) (told []*unstructured.Unstructured) {
	e.T.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		e.T.Fatal(err)
	}
	raw = []byte(strings.NewReplacer("NAMESPACE", e.Namespace, "CLUSTER", e.Cluster).Replace(string(raw)))
	docs := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(raw), 4096)
	for {
		o := new(unstructured.Unstructured)
		if err := docs.Decode(o); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			e.T.Fatal(err)
		}
		switch {
		case len(o.Object) == 0:
		case slices.Contains(kinds, o.GetKind()):
			told = append(told, o)
		default:
			create(e, o)
		}
	}
	for _, o := range told {
		create(e, o)
	}
	return told
}

func create(e *suite.Env, o *unstructured.Unstructured) {
	e.T.Helper()
	mapping, err := e.Client.RESTMapper().RESTMapping(o.GroupVersionKind().GroupKind(), o.GroupVersionKind().Version)
	if err != nil {
		e.T.Fatal(err)
	}
	if mapping.Scope.Name() == "root" && o.GetKind() != "Namespace" {
		e.Own(o.DeepCopy())
		return
	}
	if o.GetNamespace() == "" && o.GetKind() != "Namespace" {
		o.SetNamespace(e.Namespace)
	}
	e.Create(o)
}

// texts are what users read of objects.
func texts(e *suite.Env, told []*unstructured.Unstructured) (string, error) {
	var out strings.Builder
	for _, o := range told {
		have := new(unstructured.Unstructured)
		have.SetGroupVersionKind(o.GroupVersionKind())
		if err := e.Client.Get(e.T.Context(), client.ObjectKeyFromObject(o), have); err != nil {
			return "", err
		}
		fmt.Fprintf(&out, "## %s %s\n", have.GetKind(), have.GetName())
		status := statusLines(have.Object["status"], "")
		section(&out, "status", status)
		events, err := eventLines(e, have, slices.ContainsFunc(status, isHealthy))
		if err != nil {
			return "", err
		}
		section(&out, "events", events)
		if have.GetKind() == "Service" {
			described, err := describedLines(e, have)
			if err != nil {
				return "", err
			}
			section(&out, "describe", described)
		}
	}
	return plain(e, out.String()), nil
}

func section(out *strings.Builder, title string, lines []string) {
	if len(lines) > 0 {
		fmt.Fprintf(out, "%s:\n  %s\n", title, strings.Join(lines, "\n  "))
	}
}

// statusLines are the conditions and addresses of a status, wherever they stand in it.
func statusLines(v any, at string) (out []string) {
	switch v := v.(type) {
	case map[string]any:
		if kind, ok := v["type"].(string); ok && v["lastTransitionTime"] != nil {
			return []string{fmt.Sprintf("%s%s=%v %v: %v", at, kind, v["status"], v["reason"], v["message"])}
		}
		for _, key := range slices.Sorted(keysOf(v)) {
			switch key {
			case "conditions":
				out = append(out, statusLines(v[key], at)...)
			case "ip", "hostname", "value", "error":
				out = append(out, fmt.Sprintf("%s%s: %v", at, key, v[key]))
			default:
				out = append(out, statusLines(v[key], at+key)...)
			}
		}
	case []any:
		for i, item := range v {
			where := at
			if m, ok := item.(map[string]any); at != "" && (!ok || m["lastTransitionTime"] == nil) {
				where = fmt.Sprintf("%s[%d].", at, i)
			}
			out = append(out, statusLines(item, where)...)
		}
	}
	return out
}

func keysOf(m map[string]any) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func isHealthy(line string) bool { return strings.HasPrefix(line, "ako.vmware.com/Healthy=True ") }

// eventLines are the Events about an object, without the moments of a healthy one in which its servers were not probed yet.
func eventLines(e *suite.Env, about *unstructured.Unstructured, healthy bool) ([]string, error) {
	var list corev1.EventList
	namespace := about.GetNamespace()
	if namespace == "" {
		namespace = metav1.NamespaceDefault
	}
	if err := e.Client.List(e.T.Context(), &list, client.InNamespace(namespace)); err != nil {
		return nil, err
	}
	var out []string
	for _, ev := range list.Items {
		if healthy && ev.Reason == "LoadBalancerUnhealthy" {
			continue
		}
		if ev.InvolvedObject.UID == about.GetUID() && ev.ReportingController == "avi-l4-operator" {
			out = append(out, ev.Type+" "+ev.Reason+": "+ev.Message)
		}
	}
	slices.Sort(out)
	return out, nil
}

// describedLines are the annotations that kubectl describe prints of a Service; it cuts their values.
func describedLines(e *suite.Env, o *unstructured.Unstructured) ([]string, error) {
	svc := new(corev1.Service)
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, svc); err != nil {
		return nil, err
	}
	describer, ok := describe.DescriberFor(corev1.SchemeGroupVersion.WithKind("Service").GroupKind(), suite.RESTConfig())
	if !ok {
		return nil, errors.New("kubectl can't describe Services")
	}
	text, err := describer.Describe(svc.Namespace, svc.Name, describe.DescriberSettings{ShowEvents: false})
	if err != nil {
		return nil, err
	}
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		line = strings.TrimSpace(strings.TrimPrefix(line, "Annotations:"))
		switch {
		case line == "l4.ako.vmware.com/problem:" && i+1 < len(lines): // a long value is on the next line
			value := strings.TrimSpace(lines[i+1])
			if cut, ok := strings.CutSuffix(value, "..."); ok { // where depends on the length of the test's names
				value = plain(e, cut)[:100] + " (cut)"
			}
			return []string{line, value}, nil
		case strings.HasPrefix(line, "l4.ako.vmware.com/problem:"):
			return []string{line}, nil
		}
	}
	return nil, nil
}

var volatile = []struct {
	pattern *regexp.Regexp
	plain   string
}{
	{regexp.MustCompile(`127\.0\.0\.1:\d+`), "CONTROLLER"},
	{regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`), "UUID"},
	{regexp.MustCompile(`the Controller can't be read: [^()]*?(, status \d+)?\)`), "the Controller can't be read: READING$1)"}, // of several at once
	{regexp.MustCompile(`\b10\.10\.0\.1\d\b`), "VIP"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`), "TIME"},
}

// plain takes out what is another in each run.
func plain(e *suite.Env, text string) string {
	for _, v := range volatile {
		text = v.pattern.ReplaceAllString(text, v.plain)
	}
	text = strings.ReplaceAll(text, e.System, "SYSTEM")
	text = strings.ReplaceAll(text, e.Cluster+"--", "CLUSTER--")
	text = strings.ReplaceAll(text, "ako-"+e.Cluster, "ako-CLUSTER")
	return regexp.MustCompile(`\b`+e.Cluster+`\b`).ReplaceAllString(text, "NAMESPACE")
}
