// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// connection is a cluster, as the caller may see it.
type connection struct {
	objects   client.Reader        // of all kinds, as they are on the wire
	core      kubernetes.Interface // for Events and logs
	namespace string               // of the caller's context, or flag
	now       func() time.Time
}

// byFlags connects to the cluster that kubeconfig and flags name.
func (p *plugin) byFlags() (*connection, error) {
	config, err := p.flags.ToRESTConfig()
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig: %w", err)
	}
	namespace, _, err := p.flags.ToRawKubeConfigLoader().Namespace()
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig: %w", err)
	}
	config.QPS, config.Burst = 50, 100
	objects, err := client.New(config, client.Options{})
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	core, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	return &connection{objects: objects, core: core, namespace: namespace, now: time.Now}, nil
}

// kind is one that a person may name. One name may be that of several APIs' kinds, as Gateway is.
type kind struct {
	name       string // as it is written in KIND/NAME and in the output
	short      []string
	gvk        schema.GroupVersionKind
	clustered  bool // it is in no namespace
	containers bool // it has servers behind it: a tree
}

const (
	groupGateway  = "gateway.networking.k8s.io"
	groupServices = "networking.x-k8s.io"
	groupAKO      = "ako.vmware.com"
)

// kinds are all that can be named, in the order of the output.
var kinds = []kind{
	{name: "Service", short: []string{"svc"}, gvk: schema.GroupVersionKind{Version: "v1", Kind: "Service"}, containers: true},
	{name: "Gateway", short: []string{"gtw"}, gvk: schema.GroupVersionKind{Group: groupGateway, Version: "v1", Kind: "Gateway"}, containers: true},
	{name: "Gateway", short: []string{"gtw"}, gvk: schema.GroupVersionKind{Group: groupServices, Version: "v1alpha1", Kind: "Gateway"}, containers: true},
	{name: "ListenerSet", gvk: schema.GroupVersionKind{Group: groupGateway, Version: "v1", Kind: "ListenerSet"}},
	{name: "SCTPRoute", gvk: schema.GroupVersionKind{Group: groupAKO, Version: "v1alpha1", Kind: "SCTPRoute"}, containers: true},
	{name: "TCPRoute", gvk: schema.GroupVersionKind{Group: groupGateway, Version: "v1", Kind: "TCPRoute"}, containers: true},
	{name: "UDPRoute", gvk: schema.GroupVersionKind{Group: groupGateway, Version: "v1", Kind: "UDPRoute"}, containers: true},
	{name: "L4Rule", gvk: schema.GroupVersionKind{Group: groupAKO, Version: "v1alpha2", Kind: "L4Rule"}},
	{name: "AviInfraSetting", clustered: true, gvk: schema.GroupVersionKind{Group: groupAKO, Version: "v1beta1", Kind: "AviInfraSetting"}},
	{name: "GatewayClass", short: []string{"gc"}, clustered: true, gvk: schema.GroupVersionKind{Group: groupGateway, Version: "v1", Kind: "GatewayClass"}},
	{name: "GatewayClass", short: []string{"gc"}, clustered: true, gvk: schema.GroupVersionKind{Group: groupServices, Version: "v1alpha1", Kind: "GatewayClass"}},
}

// routeKinds are those of kinds that lead from a Gateway to Services.
var routeKinds = []string{"SCTPRoute", "TCPRoute", "UDPRoute"}

// called are the kinds that a name means: in any case of letters, singular, plural or short, with or without the group.
func called(name string) (out []kind) {
	name, group, _ := strings.Cut(strings.ToLower(name), ".")
	for _, k := range kinds {
		long := strings.ToLower(k.name)
		plural := long + "s"
		if strings.HasSuffix(long, "s") {
			plural = long + "es"
		}
		known := append([]string{long, plural}, k.short...)
		if slices.Contains(known, name) && (group == "" || group == k.gvk.Group) {
			out = append(out, k)
		}
	}
	return out
}

// kindNames are the names of kinds, each once; with a condition, those for which it holds.
func kindNames(holds func(kind) bool) (out []string) {
	for _, k := range kinds {
		if holds(k) && !slices.Contains(out, k.name) {
			out = append(out, k.name)
		}
	}
	return out
}

// target is what a person has named.
type target struct {
	kinds []kind
	name  string
}

// parseTarget reads KIND/NAME, or KIND NAME.
func parseTarget(args []string, fits func(kind) bool) (target, error) {
	name, of, found := strings.Cut(args[0], "/")
	if len(args) == 2 && !found {
		of, found = args[1], true
	} else if len(args) == 2 {
		return target{}, fmt.Errorf("%q and %q: name one object, as KIND/NAME", args[0], args[1])
	}
	if !found || of == "" {
		return target{}, fmt.Errorf("%q: name an object as KIND/NAME, such as service/amf", args[0])
	}
	all := called(name)
	if len(all) == 0 {
		return target{}, fmt.Errorf("%q is no kind that is looked at: name one of %s", name, strings.Join(kindNames(fits), ", "))
	}
	all = slices.DeleteFunc(all, func(k kind) bool { return !fits(k) })
	if len(all) == 0 {
		return target{}, fmt.Errorf("a %s has no servers behind it: name one of %s", name, strings.Join(kindNames(fits), ", "))
	}
	return target{kinds: all, name: of}, nil
}

// found is an object with its kind.
type found struct {
	kind
	*unstructured.Unstructured
}

// get reads what is named: of two APIs' kinds both, if there are both.
func (c *connection) get(ctx context.Context, t target) (out []found, err error) {
	var missing []string
	for _, k := range t.kinds {
		o := new(unstructured.Unstructured)
		o.SetGroupVersionKind(k.gvk)
		key := client.ObjectKey{Name: t.name}
		if !k.clustered {
			key.Namespace = c.namespace
		}
		switch err := c.objects.Get(ctx, key, o); {
		case err == nil:
			out = append(out, found{k, o})
		case absent(err):
			missing = append(missing, fmt.Sprintf("%s %s", k.gvk.GroupKind(), key))
		default:
			return nil, fmt.Errorf("reading %s %s: %w", k.name, key, err)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("not found: %s", strings.ReplaceAll(strings.Join(missing, ", "), " /", " "))
	}
	return out, nil
}

// list reads all objects of a kind in a namespace, or in all if it is empty. A kind that the cluster lacks has none.
func (c *connection) list(ctx context.Context, k kind, namespace string, options ...client.ListOption) ([]found, error) {
	l := new(unstructured.UnstructuredList)
	l.SetGroupVersionKind(k.gvk.GroupVersion().WithKind(k.gvk.Kind + "List"))
	if !k.clustered {
		options = append(options, client.InNamespace(namespace))
	}
	switch err := c.objects.List(ctx, l, options...); {
	case absent(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("listing %ss: %w", k.name, err)
	}
	out := make([]found, 0, len(l.Items))
	for i := range l.Items {
		out = append(out, found{k, &l.Items[i]})
	}
	slices.SortFunc(out, func(a, b found) int {
		return strings.Compare(a.GetNamespace()+"/"+a.GetName(), b.GetNamespace()+"/"+b.GetName())
	})
	return out, nil
}

// absent reports whether an object, or its kind, isn't there.
func absent(err error) bool {
	return apierrors.IsNotFound(err) || meta.IsNoMatchError(err)
}

// full is an object's name with its namespace.
func full(o client.Object) string {
	if o.GetNamespace() == "" {
		return o.GetName()
	}
	return o.GetNamespace() + "/" + o.GetName()
}

// complete offers kinds, and behind KIND/ the names of objects.
func (p *plugin) complete(fits func(kind) bool) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		name, _, found := strings.Cut(typed, "/")
		if !found {
			var out []cobra.Completion
			for _, k := range kindNames(fits) {
				out = append(out, strings.ToLower(k)+"/")
			}
			return out, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
		}
		c, err := p.connect()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var out []cobra.Completion
		for _, k := range called(name) {
			some, err := c.list(cmd.Context(), k, c.namespace)
			if err != nil || !fits(k) {
				continue
			}
			for _, o := range some {
				out = append(out, name+"/"+o.GetName())
			}
		}
		return out, cobra.ShellCompDirectiveNoFileComp
	}
}

// print writes a value in the form that was asked for, and as text if none was.
func (p *plugin) print(value any, text func(io.Writer)) error {
	switch p.output {
	case "":
		text(p.Out)
		return nil
	case "json":
		e := json.NewEncoder(p.Out)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		return e.Encode(value)
	case "yaml":
		b, err := yaml.Marshal(value)
		if err != nil {
			return err
		}
		_, err = p.Out.Write(b)
		return err
	}
	return errors.New("flag --output is json or yaml")
}
