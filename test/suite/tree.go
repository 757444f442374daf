// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	svcapi "github.com/avi-l4-operator/avi-l4-operator/api/networking/v1alpha1"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/translate"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/record"
)

// Own creates cluster-wide objects, and takes them away after the test whatever finalizers they have.
func (e *Env) Own(objects ...client.Object) {
	e.T.Helper()
	e.Create(objects...)
	for _, o := range objects {
		e.T.Cleanup(func() { e.Force(o) })
	}
}

// Force deletes an object and takes its finalizers away, as an impatient administrator would.
func (e *Env) Force(o client.Object) {
	e.T.Helper()
	ctx := context.Background() // the test's own has ended when it cleans up
	e.must(client.IgnoreNotFound(e.Client.Delete(ctx, o)))
	e.must(client.IgnoreNotFound(e.Client.Patch(ctx, o, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`)))))
}

// SvcAPIAttach creates a Service that names a Gateway, with an EndpointSlice of one address.
func (e *Env) SvcAPIAttach(gw *svcapi.Gateway, name, address string, ports ...corev1.ServicePort) (*corev1.Service,
	*discoveryv1.EndpointSlice) {
	e.T.Helper()
	svc := e.Backend(name, gw.Name, ports...)
	svc.Labels[translate.LabelGatewayNamespace] = gw.Namespace
	slice := e.Slice(svc, address)
	e.Create(svc, slice)
	return svc, slice
}

// Tree is what the Controller holds for a Gateway.
type Tree struct {
	// Ports has a line for each port of the VirtualService, in its order: "SCTP/6060 amf [10.244.1.5:9090]" with the
	// Service behind it and its servers, or "SCTP/6060 open" if there is no pool.
	Ports []string
	// Address is the VIP's, the last one's if there are several, which Addresses has all.
	Address   string
	Addresses []string
	// UUIDs are those of all its objects; VS and VsVip are two of them.
	UUIDs     []string
	VS, VsVip string
}

// profiles are the protocols of listening ports by their profile.
var profiles = map[string]string{"System-TCP-Proxy": "TCP", "System-UDP-Fast-Path": "UDP", "System-SCTP-Proxy": "SCTP"}

// SvcAPITree reads what the Controller holds for a Gateway. Rules without a pool, pools without a rule and rules for
// ports that don't listen are errors.
func (e *Env) SvcAPITree(gw *svcapi.Gateway) (Tree, error) {
	return e.tree(e.SvcAPIName(gw), map[string]string{"Namespace": gw.Namespace, "GatewayName": gw.Name})
}

// GatewayTree is SvcAPITree for a Gateway of gateway.networking.k8s.io. A port whose connections a pool group spreads has a
// line like "SCTP/6060 9*amf [10.244.1.5:9090] + 1*reject", by the members' names.
func (e *Env) GatewayTree(gw *gatewayv1.Gateway) (Tree, error) {
	return e.tree(e.GatewayName(gw), map[string]string{"GatewayNamespace": gw.Namespace, "GatewayName": gw.Name})
}

// SharedTree is SvcAPITree for the shared VIP of a name in the test's namespace.
func (e *Env) SharedTree(group string) (Tree, error) {
	return e.tree(e.SharedName(group), map[string]string{"Namespace": e.Namespace, "GatewayName": group})
}

// SharedName is that of a shared VIP's VirtualService, VsVip and L4PolicySet.
func (e *Env) SharedName(group string) string { return e.Cluster + "--" + e.Namespace + "-" + group }

// SharedServes is SvcAPIServes for a shared VIP.
func (e *Env) SharedServes(group string, ports ...string) Tree {
	e.T.Helper()
	return e.holds(group, func() (Tree, error) { return e.SharedTree(group) }, ports)
}

// SharedVIP is a Service of type LoadBalancer that asks to be in a group, not yet created.
func (e *Env) SharedVIP(name, group string, ports ...corev1.ServicePort) *corev1.Service {
	svc := e.Service(name, ports...)
	svc.Annotations = map[string]string{translate.AnnotationSharedVIP: group}
	return svc
}

func (e *Env) tree(name string, owner map[string]string) (Tree, error) {
	vs, vip := e.Object("virtualservice", name), e.Object("vsvip", name)
	if vs == nil || vip == nil {
		return Tree{}, fmt.Errorf("the Controller holds %v: there is no VirtualService or VsVip %s", e.Owned(), name)
	}
	out := Tree{VS: text(vs["uuid"]), VsVip: text(vip["uuid"])}
	out.UUIDs = []string{out.VS, out.VsVip}
	for _, v := range list(vip["vip"]) {
		out.Address = text(at(v, "ip_address", "addr")) + text(at(v, "ip6_address", "addr"))
		out.Addresses = append(out.Addresses, out.Address)
	}
	behind := map[string]string{}
	pools := map[string]bool{}
	if policy := e.Object("l4policyset", name); policy != nil {
		out.UUIDs = append(out.UUIDs, text(policy["uuid"]))
		for _, r := range list(at(policy, "l4_connection_policy", "rules")) {
			chosen, err := e.chosen(at(r, "action", "select_pool"), pools, &out)
			if err != nil {
				return out, fmt.Errorf("rule %v: %w", at(r, "name"), err)
			}
			for _, port := range list(at(r, "match", "port", "ports")) {
				behind[strings.TrimPrefix(text(at(r, "match", "protocol", "protocol")), "PROTOCOL_")+"/"+text(port)] = chosen
			}
		}
	}
	for _, s := range list(vs["services"]) {
		_, profile, _ := strings.Cut(text(at(s, "override_network_profile_ref")), "#")
		if profile == "" {
			_, profile, _ = strings.Cut(text(vs["network_profile_ref"]), "#")
		}
		key := profiles[profile] + "/" + text(at(s, "port"))
		out.Ports = append(out.Ports, key+" "+cmp.Or(behind[key], "open"))
		delete(behind, key)
	}
	if len(behind) > 0 {
		return out, fmt.Errorf("there are rules for ports that don't listen: %v", behind)
	}
	for _, kind := range []string{"pool", "poolgroup"} {
		for _, o := range e.Sim.Objects(kind) {
			marks := Marks(o)
			mine := marks["clustername"] == e.Cluster
			for key, value := range owner {
				mine = mine && marks[key] == value
			}
			if mine && !pools[text(o["name"])] {
				return out, fmt.Errorf("no rule selects %s %s", kind, o["name"])
			}
		}
	}
	return out, nil
}

// chosen describes the pool, or the pools of the group, that a rule selects, and adds them to the tree.
func (e *Env) chosen(action any, pools map[string]bool, tree *Tree) (string, error) {
	object := func(kind string, ref any) (map[string]any, error) {
		_, name, _ := strings.Cut(text(ref), "#")
		o := e.Object(kind, name)
		if o == nil {
			return nil, fmt.Errorf("there is no %s %q", kind, name)
		}
		pools[name] = true
		tree.UUIDs = append(tree.UUIDs, text(o["uuid"]))
		return o, nil
	}
	pool := func(ref any) (string, error) {
		o, err := object("pool", ref)
		if err != nil {
			return "", err
		}
		if service := Marks(o)["ServiceName"]; service != "" {
			return service + " " + fmt.Sprint(e.Servers(text(o["name"]))), nil
		}
		return "reject", nil
	}
	if ref := at(action, "pool_group_ref"); ref != nil {
		group, err := object("poolgroup", ref)
		if err != nil {
			return "", err
		}
		var members []string
		for _, m := range list(group["members"]) {
			described, err := pool(at(m, "pool_ref"))
			if err != nil {
				return "", err
			}
			members = append(members, fmt.Sprintf("%v*%s", at(m, "ratio"), described))
		}
		return strings.Join(members, " + "), nil
	}
	return pool(at(action, "pool_ref"))
}

// Marks are an object's markers, of each the first value.
func Marks(o map[string]any) map[string]string {
	out := map[string]string{}
	for _, m := range list(o["markers"]) {
		out[text(at(m, "key"))] = text(list(at(m, "values"))[0])
	}
	return out
}

// SvcAPIServes waits until the Controller holds exactly these ports for a Gateway, written as in Tree, and returns the
// tree.
func (e *Env) SvcAPIServes(gw *svcapi.Gateway, ports ...string) Tree {
	e.T.Helper()
	return e.holds(gw.Name, func() (Tree, error) { return e.SvcAPITree(gw) }, ports)
}

// GatewayServes is SvcAPIServes for a Gateway of gateway.networking.k8s.io.
func (e *Env) GatewayServes(gw *gatewayv1.Gateway, ports ...string) Tree {
	e.T.Helper()
	return e.holds(gw.Name, func() (Tree, error) { return e.GatewayTree(gw) }, ports)
}

func (e *Env) holds(name string, read func() (Tree, error), ports []string) (tree Tree) {
	e.T.Helper()
	e.Eventually("what is held for "+name, func() (err error) {
		if tree, err = read(); err != nil {
			return err
		}
		if !slices.Equal(tree.Ports, ports) {
			return fmt.Errorf("have %q, want %q", tree.Ports, ports)
		}
		return nil
	})
	return tree
}

// Writes are the writes since the last ResetRequests but for the one by which the operator records, once, that the cluster's name is
// this cluster's; another write to a record is among them.
func (e *Env) Writes() []record.Request {
	recorded := false
	return slices.DeleteFunc(e.Sim.Writes(), func(r record.Request) bool {
		if recorded || r.Method != http.MethodPost || r.Type != string(model.StringGroup) || r.Status != http.StatusCreated {
			return false
		}
		recorded = true
		return true
	})
}

// Quiet waits until nothing has been written to the Controller for the time.
func (e *Env) Quiet(d time.Duration) {
	e.T.Helper()
	e.Eventually("no more writes", func() error {
		if all := e.Sim.Writes(); len(all) > 0 && time.Since(all[len(all)-1].Time) < d {
			return fmt.Errorf("the last one is %s %s", all[len(all)-1].Method, all[len(all)-1].Path)
		}
		return nil
	})
}

// Written lists the writes since the last ResetRequests that concern a tree; all of them for none.
func (e *Env) Written(trees ...Tree) (out []string) {
	for _, w := range e.Writes() {
		touches := func(uuid string) bool { return strings.Contains(w.Path+string(w.Body), uuid) }
		if len(trees) == 0 || slices.ContainsFunc(trees, func(t Tree) bool { return slices.ContainsFunc(t.UUIDs, touches) }) {
			out = append(out, fmt.Sprintf("%s %s %d %s", w.Method, w.Path, w.Status, w.Body))
		}
	}
	return out
}

// WritesByKind counts the writes since the last ResetRequests by type of object.
func (e *Env) WritesByKind() map[string]int {
	out := map[string]int{}
	for _, w := range e.Writes() {
		out[w.Type]++
	}
	return out
}

// Calls lists the writes since the last ResetRequests as "POST pool", sorted.
func (e *Env) Calls() []string {
	out := []string{}
	for _, w := range e.Writes() {
		out = append(out, w.Method+" "+w.Type)
	}
	slices.Sort(out)
	return out
}

// Told waits for an Event about an object whose reason is as given and whose message has the text in it.
func (e *Env) Told(about client.Object, reason, text string) {
	e.T.Helper()
	e.Eventually(fmt.Sprintf("Event %s about %s", reason, about.GetName()), func() error {
		told, err := e.Events(about)
		if err != nil {
			return err
		}
		for _, t := range told {
			if strings.HasPrefix(t, reason+": ") && strings.Contains(t, text) {
				return nil
			}
		}
		return fmt.Errorf("none says %q, there are %q", text, told)
	})
}

// Events are those about an object, as "reason: message".
func (e *Env) Events(about client.Object) ([]string, error) {
	var list corev1.EventList
	if err := e.Client.List(e.T.Context(), &list, client.InNamespace(cmp.Or(about.GetNamespace(), metav1.NamespaceDefault))); err != nil {
		return nil, err
	}
	var out []string
	for _, ev := range list.Items {
		if ev.InvolvedObject.UID == about.GetUID() && ev.InvolvedObject.Name == about.GetName() {
			out = append(out, ev.Reason+": "+ev.Message)
		}
	}
	return out, nil
}

// at follows names through JSON objects.
func at(v any, names ...string) any {
	for _, n := range names {
		m, _ := v.(map[string]any)
		v = m[n]
	}
	return v
}

func list(v any) []any {
	l, _ := v.([]any)
	return l
}

func text(v any) string {
	if v == nil {
		return ""
	}
	return fmt.Sprint(v)
}
