// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/cli-runtime/pkg/printers"

	"github.com/avi-l4-operator/avi-l4-operator/internal/catalogue"
)

// explanation is why an object is as it is, and what to do.
type explanation struct {
	APIVersion string      `json:"apiVersion"`
	Kind       string      `json:"kind"`
	Namespace  string      `json:"namespace,omitempty"`
	Name       string      `json:"name"`
	Verdict    string      `json:"verdict"`
	Served     bool        `json:"served"` // whole, as it is asked for
	Notes      []string    `json:"notes,omitempty"`
	Conditions []condition `json:"conditions"`
	Reasons    []reason    `json:"reasons"`
	Events     []event     `json:"events,omitempty"`
}

// condition is one of the object, or of a part of it.
type condition struct {
	Of      string    `json:"of,omitempty"` // "listener amf", "parent core", "port 38412/SCTP"; empty: the whole
	Type    string    `json:"type"`
	Status  string    `json:"status"`
	Reason  string    `json:"reason"`
	Message string    `json:"message,omitempty"`
	Since   time.Time `json:"since,omitzero"`
}

// reason is why something is not served, with what the catalogue says about it.
type reason struct {
	Reason   string   `json:"reason"`
	Where    []string `json:"where"`
	Messages []string `json:"messages,omitempty"`
	Cause    string   `json:"cause,omitempty"`
	Effect   string   `json:"effect,omitempty"`
	Remedy   string   `json:"remedy,omitempty"`
	Page     string   `json:"page,omitempty"` // in the repository
}

type event struct {
	Type   string    `json:"type"`
	Reason string    `json:"reason"`
	Note   string    `json:"note"`
	Count  int32     `json:"count"`
	Last   time.Time `json:"last,omitzero"`
}

func (p *plugin) explainCommand() *cobra.Command {
	var everywhere bool
	fits := func(kind) bool { return true }
	cmd := &cobra.Command{
		Use:   "explain [KIND/NAME]",
		Short: "Tell why an object is as it is, and what to do",
		Long: "Tells from conditions, ports' errors, the annotation l4.ako.vmware.com/problem and Events why an object is not served as asked:\n" +
			"the cause, what it does to traffic, what to do, and the page that says more. Without an object, all in the namespace that have a problem.",
		Example: "  kubectl avi-l4 explain service/amf\n  kubectl avi-l4 explain gateway/core -o yaml\n  kubectl avi-l4 explain -A",
		Args:    cobra.MaximumNArgs(2), ValidArgsFunction: p.complete(fits),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := p.connect()
			if err != nil {
				return err
			}
			if len(args) == 0 {
				return p.explainAll(cmd.Context(), c, everywhere)
			}
			t, err := parseTarget(args, fits)
			if err != nil {
				return err
			}
			objects, err := c.get(cmd.Context(), t)
			if err != nil {
				return err
			}
			var all []explanation
			for _, o := range objects {
				all = append(all, p.explain(cmd.Context(), c, o))
			}
			return p.print(all, func(w io.Writer) { printExplanations(w, all) })
		},
	}
	cmd.Flags().BoolVarP(&everywhere, "all-namespaces", "A", false, "Look at all namespaces, and at what is in none.")
	p.addOutput(cmd)
	return cmd
}

// explainAll explains what has a problem. A kind that may not be listed is reported, and keeps no other from being looked at.
func (p *plugin) explainAll(ctx context.Context, c *connection, everywhere bool) error {
	all := []explanation{}
	namespace, where, looked := c.namespace, "namespace "+c.namespace, 0
	if everywhere {
		namespace, where = "", "the cluster"
	}
	for _, k := range kinds {
		if k.clustered && !everywhere {
			continue
		}
		objects, err := c.list(ctx, k, namespace)
		if err != nil {
			fmt.Fprintln(p.ErrOut, "left out:", err)
			continue
		}
		for _, o := range objects {
			if !ours(o) {
				continue
			}
			looked++
			if e := p.explain(ctx, c, o); !e.Served {
				all = append(all, e)
			}
		}
	}
	return p.print(all, func(w io.Writer) {
		if len(all) == 0 {
			fmt.Fprintf(w, "Nothing in %s has a problem (%d looked at).\n", where, looked)
			return
		}
		printExplanations(w, all)
	})
}

// ours reports whether an object is one for the operator, as far as the object says: others may serve Gateways and load balancers too.
func ours(o found) bool {
	if slices.Contains(o.GetFinalizers(), finalizer) || o.GetAnnotations()[annotationProblem] != "" || o.gvk.Group == groupAKO {
		return true
	}
	switch {
	case o.name == "Service":
		t, _, _ := unstructured.NestedString(o.Object, "spec", "type")
		class, _, _ := unstructured.NestedString(o.Object, "spec", "loadBalancerClass")
		return t == string(corev1.ServiceTypeLoadBalancer) && (class == "" || class == loadBalancerClass)
	case o.name == "GatewayClass":
		for _, field := range []string{"controllerName", "controller"} {
			if name, _, _ := unstructured.NestedString(o.Object, "spec", field); strings.HasPrefix(name, groupAKO+"/") {
				return true
			}
		}
		return false
	}
	if slices.ContainsFunc(list(o.Object, "status", "parents"), func(parent map[string]any) bool {
		name, _ := parent["controllerName"].(string)
		return strings.HasPrefix(name, groupAKO+"/")
	}) {
		return true
	}
	own := func(c condition) bool { return strings.HasPrefix(c.Type, prefix) }
	return o.gvk.Group == groupServices || slices.ContainsFunc(conditionsOf(o), own)
}

// What the operator writes on objects, and reads from them.
const (
	prefix              = groupAKO + "/"
	finalizer           = "l4.ako.vmware.com/cleanup"
	annotationProblem   = "l4.ako.vmware.com/problem"
	loadBalancerClass   = prefix + "avi-lb"
	annotationSharedVIP = prefix + "enable-shared-vip"
	labelGateway        = prefix + "gateway-name"
	labelGatewayNS      = prefix + "gateway-namespace"
)

// list are the maps in a list of an object.
func list(o map[string]any, fields ...string) (out []map[string]any) {
	some, _, _ := unstructured.NestedSlice(o, fields...)
	for _, v := range some {
		if m, ok := v.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}

// conditionsOf are all conditions in a status, and a Service's ports that have an error.
func conditionsOf(o found) (out []condition) {
	add := func(of string, from map[string]any, path ...string) {
		for _, m := range list(from, path...) {
			c := condition{Of: of}
			for field, to := range map[string]*string{"type": &c.Type, "status": &c.Status, "reason": &c.Reason, "message": &c.Message} {
				*to, _ = m[field].(string)
			}
			since, _ := m["lastTransitionTime"].(string)
			c.Since, _ = time.Parse(time.RFC3339, since)
			if o.name != "Service" || strings.HasPrefix(c.Type, prefix) {
				out = append(out, c)
			}
		}
	}
	add("", o.Object, "status", "conditions")
	for _, l := range list(o.Object, "status", "listeners") {
		of := fmt.Sprint(l["name"])
		if l["name"] == nil {
			of = fmt.Sprintf("%v/%v", l["port"], l["protocol"])
		}
		add("listener "+of, l, "conditions")
	}
	for _, parent := range list(o.Object, "status", "parents") {
		ref, _ := parent["parentRef"].(map[string]any)
		of := fmt.Sprint(ref["name"])
		if section, ok := ref["sectionName"].(string); ok {
			of += "/" + section
		}
		add("parent "+of, parent, "conditions")
	}
	seen := map[string]bool{}
	for _, in := range list(o.Object, "status", "loadBalancer", "ingress") {
		for _, port := range list(in, "ports") {
			text, _ := port["error"].(string)
			of := fmt.Sprintf("port %v/%v", port["port"], port["protocol"])
			if text != "" && !seen[of] {
				seen[of] = true
				out = append(out, condition{Of: of, Type: "Served", Status: "False", Reason: strings.TrimPrefix(text, prefix)})
			}
		}
	}
	return out
}

// negative are conditions that are wrong when they are true.
var negative = []string{"Conflicted", "Detached"}

// wrong reports whether a condition says that something is not as it should be. Healthy is Unknown while there is nothing to be healthy.
func wrong(c condition) bool {
	switch {
	case slices.Contains(negative, c.Type):
		return c.Status == string(metav1.ConditionTrue)
	case c.Type == prefix+"Healthy":
		return c.Status == string(metav1.ConditionFalse)
	}
	return c.Status != string(metav1.ConditionTrue)
}

// partial reports whether a condition is fulfilled but for what its reason says.
func partial(c condition) bool {
	_, known := catalogue.Find(c.Reason)
	return known && c.Status == string(metav1.ConditionTrue) && !slices.Contains(negative, c.Type)
}

// explain makes the explanation of an object. Events that can't be read are left out, with a word.
func (p *plugin) explain(ctx context.Context, c *connection, o found) explanation {
	e := explanation{APIVersion: o.GetAPIVersion(), Kind: o.name, Namespace: o.GetNamespace(), Name: o.GetName(),
		Conditions: conditionsOf(o), Reasons: []reason{}}
	var err error
	if e.Events, err = c.eventsOf(ctx, o); err != nil {
		e.Notes = append(e.Notes, "Events are left out: "+err.Error())
	}
	if o.GetDeletionTimestamp() != nil {
		e.Notes = append(e.Notes, "It is being deleted, and waits until its finalizers are gone: "+strings.Join(o.GetFinalizers(), ", "))
	}
	e.gather(o)
	bad := slices.ContainsFunc(e.Conditions, wrong)
	switch {
	case len(e.Conditions) == 0:
		e.Verdict = "the operator has said nothing about it"
		e.Notes = append(e.Notes, unseen(o)...)
	case bad:
		e.Verdict = "not as asked for"
	case len(e.Reasons) > 0:
		e.Verdict = "as asked for, but for a part"
	default:
		e.Verdict, e.Served = "as asked for", true
	}
	return e
}

// gather makes the reasons of what conditions, annotation and Events say. An Event counts if a condition says its text still: it may
// be an hour old.
func (e *explanation) gather(o found) {
	for _, c := range e.Conditions {
		if wrong(c) || partial(c) {
			where := strings.TrimSpace(c.Of + " " + strings.TrimPrefix(c.Type, prefix))
			if c.Type == "Served" {
				where = c.Of
			}
			e.add(c.Reason, where, c.Message)
		}
	}
	for _, ev := range e.Events {
		said := slices.ContainsFunc(e.Conditions, func(c condition) bool { return ev.Note != "" && strings.Contains(c.Message, ev.Note) })
		if ev.Type == corev1.EventTypeWarning && said {
			e.add(ev.Reason, "Event", ev.Note)
		}
	}
	if name, text, ok := strings.Cut(o.GetAnnotations()[annotationProblem], ": "); ok {
		known := slices.ContainsFunc(e.Reasons, func(r reason) bool { return r.Reason == name })
		if !known {
			e.add(name, "annotation "+annotationProblem, text)
		}
	}
	explained := func(r reason) bool { return r.Cause != "" }
	if slices.ContainsFunc(e.Reasons, explained) { // the others only point at these
		e.Reasons = slices.DeleteFunc(e.Reasons, func(r reason) bool { return !explained(r) })
	}
}

// add adds what is said of a reason, once.
func (e *explanation) add(name, where, message string) {
	i := slices.IndexFunc(e.Reasons, func(r reason) bool { return r.Reason == name })
	if i < 0 {
		r := reason{Reason: name}
		if entry, ok := catalogue.Find(name); ok {
			r.Cause, r.Effect, r.Remedy, r.Page = entry.Cause, effect(entry.Effect), entry.Remedy, "docs/"+entry.Page
		}
		e.Reasons = append(e.Reasons, r)
		i = len(e.Reasons) - 1
	}
	r := &e.Reasons[i]
	if !slices.Contains(r.Where, where) {
		r.Where = append(r.Where, where)
	}
	pointer := strings.Contains(message, "see condition") && len(r.Messages) > 0
	said := slices.ContainsFunc(r.Messages, func(m string) bool { return strings.Contains(m, message) })
	if message != "" && !pointer && !said {
		r.Messages = append(r.Messages, message)
	}
}

// effects are what the words mean that an entry's effect begins with; the page of all entries says so at its top.
var effects = []struct{ word, text string }{
	{"Waits, or port.", "Nothing is made; if it is about one port, only that one is left out."},
	{"Waits; kept.", "Nothing is made; what serves already keeps what it has."},
	{"Port; kept.", "Only this port is left out; what serves already keeps what it has."},
	{"Waits.", "Nothing is made."},
	{"Port.", "Only this port is left out."},
}

// effect writes the effect of an entry out.
func effect(text string) string {
	for _, e := range effects {
		if rest, ok := strings.CutPrefix(text, e.word); ok {
			return e.text + rest
		}
	}
	return text
}

// unseen are the reasons why the operator may have said nothing about an object.
func unseen(o found) []string {
	serviceType, _, _ := unstructured.NestedString(o.Object, "spec", "type")
	class, _, _ := unstructured.NestedString(o.Object, "spec", "loadBalancerClass")
	switch labels := o.GetLabels(); {
	case o.name != "Service":
	case labels[labelGateway] != "":
		return []string{fmt.Sprintf("It stands behind Gateway %s/%s by its labels: ask for that one.",
			cmp.Or(labels[labelGatewayNS], o.GetNamespace()), labels[labelGateway])}
	case serviceType != string(corev1.ServiceTypeLoadBalancer):
		return []string{fmt.Sprintf("Its type is %s: only a Service of type LoadBalancer has an address of its own. If a route leads to it, ask for the route.",
			cmp.Or(serviceType, "ClusterIP"))}
	case class != "" && class != loadBalancerClass:
		return []string{fmt.Sprintf("Its class is %s: it is another controller's. The operator's is %s.", class, loadBalancerClass)}
	}
	return []string{
		"Does the operator run? kubectl get pods -A -l " + operatorSelector,
		"Does it serve this namespace? Keys nsSyncLabelKey and blockedNamespaceList of ConfigMap avi-k8s-config say which (docs/configuration.md).",
		"Is it for the operator? A Gateway names a GatewayClass whose controller is the operator's; a Service without loadBalancerClass counts unless defaultLBController is false.",
	}
}

// eventsOf are an object's Events, the newest first.
func (c *connection) eventsOf(ctx context.Context, o found) (out []event, err error) {
	namespace := cmp.Or(o.GetNamespace(), metav1.NamespaceDefault)
	all, err := c.core.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{FieldSelector: fields.Set{
		"involvedObject.kind": o.gvk.Kind, "involvedObject.name": o.GetName()}.String()})
	if err != nil {
		return nil, err
	}
	for i := range all.Items {
		ev := &all.Items[i]
		if about := ev.InvolvedObject; about.UID != "" && about.UID != o.GetUID() || about.Name != o.GetName() || about.Kind != o.gvk.Kind {
			continue
		}
		next := event{Type: ev.Type, Reason: ev.Reason, Note: ev.Message, Count: max(ev.Count, 1), Last: ev.LastTimestamp.Time}
		if ev.Series != nil {
			next.Count, next.Last = ev.Series.Count, ev.Series.LastObservedTime.Time
		}
		if next.Last.IsZero() {
			next.Last = ev.EventTime.Time
		}
		out = append(out, next)
	}
	slices.SortStableFunc(out, func(a, b event) int {
		return cmp.Or(b.Last.Compare(a.Last), strings.Compare(a.Reason+a.Note, b.Reason+b.Note))
	})
	return out, nil
}

// printExplanations writes explanations for a person.
func printExplanations(w io.Writer, all []explanation) {
	for i, e := range all {
		if i > 0 {
			fmt.Fprintln(w)
		}
		name := e.Name
		if e.Namespace != "" {
			name = e.Namespace + "/" + e.Name
		}
		fmt.Fprintf(w, "%s %s (%s): %s\n", e.Kind, name, e.APIVersion, e.Verdict)
		for _, note := range e.Notes {
			fmt.Fprintf(w, "  %s\n", note)
		}
		for _, r := range e.Reasons {
			fmt.Fprintf(w, "\n  %s (%s)\n", r.Reason, strings.Join(r.Where, ", "))
			for _, m := range r.Messages {
				fmt.Fprintf(w, "    Said:    %s\n", m)
			}
			for _, line := range [][2]string{{"Cause", r.Cause}, {"Effect", r.Effect}, {"To do", r.Remedy}, {"Page", r.Page}} {
				if line[1] != "" {
					fmt.Fprintf(w, "    %-8s %s\n", line[0]+":", line[1])
				}
			}
		}
		if len(e.Conditions) == 0 {
			continue
		}
		fmt.Fprintln(w)
		table := printers.GetNewTabWriter(w)
		fmt.Fprintln(table, "  OF\tCONDITION\tSTATUS\tREASON")
		for _, c := range e.Conditions {
			fmt.Fprintf(table, "  %s\t%s\t%s\t%s\n", cmp.Or(c.Of, "-"), strings.TrimPrefix(c.Type, prefix), c.Status, c.Reason)
		}
		_ = table.Flush() // errors of the terminal are not reported for text either
	}
}
