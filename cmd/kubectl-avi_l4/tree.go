// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// node is an object, or a part of one, with what stands behind it.
type node struct {
	Kind     string  `json:"kind"`
	Name     string  `json:"name"`
	Text     string  `json:"text,omitempty"`
	Problem  string  `json:"problem,omitempty"` // why it is not as asked for
	Children []*node `json:"children,omitempty"`
}

func (n *node) add(children ...*node) { n.Children = append(n.Children, children...) }

func (p *plugin) treeCommand() *cobra.Command {
	var at planning
	var health bool
	fits := func(k kind) bool { return k.containers }
	cmd := &cobra.Command{
		Use:   "tree KIND/NAME",
		Short: "Show what stands behind an object, down to its servers",
		Long: "Shows an object's addresses and ports, the routes and Services behind it, and their servers with their readiness.\n" +
			"With --health also what the Controller says of each server at the moment, which the operator asks it for: you need role\n" +
			"avi-l4-plan-user in the operator's namespace (config/components/plan-reader, or the chart's value planReader).",
		Example: "  kubectl avi-l4 tree service/amf --health\n  kubectl avi-l4 tree gateway/core -o json",
		Args:    cobra.RangeArgs(1, 2), ValidArgsFunction: p.complete(fits),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := p.connect()
			if err != nil {
				return err
			}
			t, err := parseTarget(args, fits)
			if err != nil {
				return err
			}
			objects, err := c.get(cmd.Context(), t)
			if err != nil {
				return err
			}
			f := forest{connection: c, ctx: cmd.Context()}
			trees := []*node{}
			for _, o := range objects {
				n := f.of(o)
				if health {
					said, err := f.health(at, o)
					if err != nil {
						return err
					}
					n.add(said)
				}
				trees = append(trees, n)
			}
			for _, text := range f.left {
				fmt.Fprintln(p.ErrOut, "left out:", text)
			}
			return p.print(trees, func(w io.Writer) {
				for _, n := range trees {
					printTree(w, n)
				}
			})
		},
	}
	cmd.Flags().BoolVar(&health, "health", false, "Have the operator ask the Controller for the health of each server.")
	at.flags(cmd)
	p.addOutput(cmd)
	return cmd
}

// forest makes trees. What may not be read is left out, and reported.
type forest struct {
	*connection
	ctx  context.Context // of the one command for which it is made
	left []string
}

// of makes the tree of an object.
func (f *forest) of(o found) *node {
	switch {
	case o.name == "Service":
		return f.service(o, "")
	case slices.Contains(routeKinds, o.name):
		return f.route(o, true)
	case o.gvk.Group == groupServices:
		return f.oldGateway(o)
	}
	return f.gateway(o)
}

// head is the node of an object itself: what is wrong with it is the first of its conditions that says so.
func (f *forest) head(o found, text ...string) *node {
	n := &node{Kind: o.name, Name: full(o)}
	n.Text = strings.Join(slices.DeleteFunc(text, func(s string) bool { return s == "" }), ", ")
	for _, c := range conditionsOf(o) {
		if c.Of == "" && wrong(c) && n.Problem == "" {
			n.Problem = fmt.Sprintf("%s=%s %s", strings.TrimPrefix(c.Type, prefix), c.Status, c.Reason)
		}
	}
	return n
}

// each lists objects in all namespaces, or where that is not allowed, in one.
func (f *forest) each(k kind, namespace string, options ...client.ListOption) []found {
	all, err := f.list(f.ctx, k, "", options...)
	if apierrors.IsForbidden(err) {
		f.say(fmt.Sprintf("%ss of other namespaces than %s, which you may not list", k.name, namespace))
		all, err = f.list(f.ctx, k, namespace, options...)
	}
	if err != nil {
		f.say(err.Error())
	}
	return all
}

// say notes what is left out, once.
func (f *forest) say(text string) {
	if !slices.Contains(f.left, text) {
		f.left = append(f.left, text)
	}
}

// service is a Service with its ports and servers; how says how a route leads to it, if one does.
func (f *forest) service(o found, how string) *node {
	t, _, _ := unstructured.NestedString(o.Object, "spec", "type")
	var addresses []string
	for _, in := range list(o.Object, "status", "loadBalancer", "ingress") {
		if ip, ok := in["ip"].(string); ok {
			addresses = append(addresses, ip)
		}
	}
	n := f.head(o, cmp.Or(t, "ClusterIP"), strings.Join(addresses, " "), how)
	for _, port := range list(o.Object, "spec", "ports") {
		name := fmt.Sprintf("%v/%v", port["port"], port["protocol"])
		child := &node{Kind: "Port", Name: name}
		if v, ok := port["name"].(string); ok {
			child.Text = v
		}
		for _, c := range conditionsOf(o) {
			if c.Of == "port "+name {
				child.Problem = c.Reason
			}
		}
		n.add(child)
	}
	some, err := f.list(f.ctx, sliceKind, o.GetNamespace(), client.MatchingLabels{discoveryv1.LabelServiceName: o.GetName()})
	switch {
	case err != nil:
		f.say(err.Error())
	case len(some) == 0:
		n.add(&node{Kind: "EndpointSlice", Name: "none", Problem: "nothing takes connections"})
	}
	for _, s := range some {
		n.add(slice(s))
	}
	return n
}

var sliceKind = kind{name: "EndpointSlice", gvk: schema.GroupVersionKind{Group: "discovery.k8s.io", Version: "v1", Kind: "EndpointSlice"}}

// slice is an EndpointSlice with its servers.
func slice(o found) *node {
	n := &node{Kind: o.name, Name: full(o)}
	var ports []string
	for _, port := range list(o.Object, "ports") {
		ports = append(ports, fmt.Sprintf("%v/%v", port["port"], port["protocol"]))
	}
	n.Text = strings.Join(ports, " ")
	for _, e := range list(o.Object, "endpoints") {
		addresses, _, _ := unstructured.NestedStringSlice(e, "addresses")
		ready, known, _ := unstructured.NestedBool(e, "conditions", "ready")
		ending, _, _ := unstructured.NestedBool(e, "conditions", "terminating")
		server := &node{Kind: "Server", Name: strings.Join(addresses, " "), Text: "ready"}
		switch {
		case ending:
			server.Text, server.Problem = "", "terminating"
		case known && !ready:
			server.Text, server.Problem = "", "not ready"
		}
		if pod, ok, _ := unstructured.NestedString(e, "targetRef", "name"); ok {
			server.Name += " (" + pod + ")"
		}
		n.add(server)
	}
	if len(n.Children) == 0 {
		n.Problem = "no server"
	}
	return n
}

// addresses of a Gateway's status.
func addresses(o found) string {
	var out []string
	for _, a := range list(o.Object, "status", "addresses") {
		out = append(out, fmt.Sprint(a["value"]))
	}
	return strings.Join(out, " ")
}

// listener is a listener's node, with what its conditions say.
func listener(o found, name, text string) *node {
	n := &node{Kind: "Listener", Name: name, Text: text}
	for _, c := range conditionsOf(o) {
		if c.Of == "listener "+name && wrong(c) && n.Problem == "" {
			n.Problem = fmt.Sprintf("%s=%s %s", c.Type, c.Status, c.Reason)
		}
	}
	return n
}

// gateway is one of gateway.networking.k8s.io, with the routes that name it, each under the listener that it names.
func (f *forest) gateway(o found) *node {
	n := f.head(o, addresses(o))
	listeners := map[string]*node{}
	for _, l := range list(o.Object, "spec", "listeners") {
		name := fmt.Sprint(l["name"])
		listeners[name] = listener(o, name, fmt.Sprintf("%v/%v", l["port"], l["protocol"]))
		n.add(listeners[name])
	}
	for _, k := range kinds {
		if !slices.Contains(routeKinds, k.name) {
			continue
		}
		for _, r := range f.each(k, o.GetNamespace()) {
			for _, ref := range list(r.Object, "spec", "parentRefs") {
				if !refers(ref, r, o) {
					continue
				}
				at := n
				if section, ok := ref["sectionName"].(string); ok && listeners[section] != nil {
					at = listeners[section]
				}
				at.add(f.route(r, false))
			}
		}
	}
	return n
}

// refers reports whether a route's reference to a parent is to a Gateway.
func refers(ref map[string]any, from, to found) bool {
	text := func(field, otherwise string) string {
		s, _ := ref[field].(string)
		return cmp.Or(s, otherwise)
	}
	return text("group", groupGateway) == to.gvk.Group && text("kind", "Gateway") == to.gvk.Kind && text("name", "") == to.GetName() &&
		text("namespace", from.GetNamespace()) == to.GetNamespace()
}

// route is a route with the Services that it leads to; with parents, also what it is attached to.
func (f *forest) route(o found, parents bool) *node {
	n := f.head(o)
	for _, c := range conditionsOf(o) {
		if wrong(c) && n.Problem == "" {
			n.Problem = fmt.Sprintf("%s: %s=%s %s", c.Of, c.Type, c.Status, c.Reason)
		}
	}
	if parents {
		var names []string
		for _, ref := range list(o.Object, "spec", "parentRefs") {
			parent, _ := ref["kind"].(string)
			names = append(names, fmt.Sprintf("%s %v", cmp.Or(parent, "Gateway"), ref["name"]))
		}
		n.Text = "attached to " + strings.Join(names, ", ")
	}
	for _, rule := range list(o.Object, "spec", "rules") {
		for _, ref := range list(rule, "backendRefs") {
			n.add(f.backend(o, ref))
		}
	}
	return n
}

// backend is a Service that a route leads to.
func (f *forest) backend(from found, ref map[string]any) *node {
	namespace, _ := ref["namespace"].(string)
	namespace = cmp.Or(namespace, from.GetNamespace())
	name, _ := ref["name"].(string)
	text := fmt.Sprintf("port %v", ref["port"])
	if w, ok := ref["weight"]; ok {
		text += fmt.Sprintf(", weight %v", w)
	}
	o := new(unstructured.Unstructured)
	o.SetGroupVersionKind(kinds[0].gvk)
	switch err := f.objects.Get(f.ctx, client.ObjectKey{Namespace: namespace, Name: name}, o); {
	case absent(err):
		return &node{Kind: "Service", Name: namespace + "/" + name, Text: text, Problem: "doesn't exist"}
	case err != nil:
		f.say(err.Error())
		return &node{Kind: "Service", Name: namespace + "/" + name, Text: text}
	}
	return f.service(found{kinds[0], o}, text)
}

// oldGateway is one of networking.x-k8s.io, with the Services that name it by their labels.
func (f *forest) oldGateway(o found) *node {
	n := f.head(o, addresses(o))
	for _, l := range list(o.Object, "spec", "listeners") {
		n.add(listener(o, fmt.Sprintf("%v/%v", l["port"], l["protocol"]), ""))
	}
	for _, s := range f.each(kinds[0], o.GetNamespace(), client.MatchingLabels{labelGateway: o.GetName(), labelGatewayNS: o.GetNamespace()}) {
		n.add(f.service(s, ""))
	}
	return n
}

// printTree writes a tree for a person.
func printTree(w io.Writer, n *node) {
	fmt.Fprintln(w, n)
	branches(w, n, "")
}

func branches(w io.Writer, n *node, indent string) {
	for i, child := range n.Children {
		branch, next := "├─ ", "│  "
		if i == len(n.Children)-1 {
			branch, next = "└─ ", "   "
		}
		fmt.Fprintf(w, "%s%s%s\n", indent, branch, child)
		branches(w, child, indent+next)
	}
}

// String is a node in one line.
func (n *node) String() string {
	out := n.Kind + " " + n.Name
	if n.Text != "" {
		out += ": " + n.Text
	}
	if n.Problem != "" {
		out += "  [" + n.Problem + "]"
	}
	return out
}
