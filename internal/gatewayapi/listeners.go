// SPDX-License-Identifier: Apache-2.0

package gatewayapi

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
)

// Listener is one of the Gateway's, or of one of its ListenerSets.
type Listener struct {
	Name gatewayv1.SectionName
	// Set is nil for the Gateway's own.
	Set *gatewayv1.ListenerSet
	// Port has the protocol as Kubernetes spells it, or as the listener does if it isn't one of layer 4.
	Port model.Port
	// Meant is, for a protocol that isn't one of layer 4, the one that it would be in other letters, as Kubernetes spells it.
	Meant    string
	Hostname string
	// Kinds are those of the routes that it takes, never nil.
	Kinds []gatewayv1.RouteGroupKind
	// Accepted, Conflicted and ResolvedRefs say what is wrong; a listener that is not Valid is not served.
	Accepted, Conflicted, ResolvedRefs Verdict
	// Notes are worth reporting and change nothing.
	Notes []string
	// Routes are those attached, the oldest first: that one is served.
	Routes []*Route

	admits func(namespace string) bool
}

// Valid reports whether a listener may be served.
func (l *Listener) Valid() bool { return l.Accepted.OK() && l.Conflicted.OK() }

// listeners merges the Gateway's with those of its ListenerSets.
func (v *View) listeners() {
	for _, l := range v.Gateway.Spec.Listeners {
		v.Listeners = append(v.Listeners, v.listener(nil, l))
	}
	sets := slices.Clone(v.Sets)
	slices.SortFunc(sets, func(a, b *gatewayv1.ListenerSet) int { return older(a, b) })
	admits, note := v.admitsSets()
	for _, s := range sets {
		verdict := SetVerdict{Set: s}
		if !admits(s.Namespace) {
			verdict.Verdict = Verdict{string(gatewayv1.ListenerSetReasonNotAllowed), fmt.Sprintf("Gateway %s/%s doesn't admit ListenerSets of namespace %s; set its spec.allowedListeners.namespaces%s", v.Gateway.Namespace, v.Gateway.Name, s.Namespace, note)}
		} else {
			for _, l := range s.Spec.Listeners {
				v.Listeners = append(v.Listeners, v.listener(s, gatewayv1.Listener(l)))
			}
		}
		v.SetVerdicts = append(v.SetVerdicts, verdict)
	}
	conflicts(v.Listeners)
}

// conflicts finds the listeners that ask for the same port. A port has three independent number spaces, one for each
// protocol. Within the Gateway, or within one ListenerSet, nobody wins; between them the Gateway does, then the oldest
// ListenerSet.
func conflicts(all []*Listener) {
	first := make(map[model.Port]*Listener)
	for _, l := range all {
		if !l.known() {
			continue
		}
		winner, taken := first[l.Port]
		if !taken {
			first[l.Port] = l
			continue
		}
		l.Conflicted = winner.takes(l)
		if winner.Set == l.Set && winner.Conflicted.OK() {
			winner.Conflicted = l.takes(winner)
		}
	}
}

// takes words for another listener that this one asks for its port. It doesn't name other ListenerSets, which the other's owner may not be
// allowed to see.
func (l *Listener) takes(other *Listener) Verdict {
	who := fmt.Sprintf("listener %s", l.Name)
	switch {
	case l.Set == other.Set:
	case l.Set == nil:
		who = "the Gateway's " + who
	default:
		who = "an older ListenerSet"
	}
	return Verdict{string(gatewayv1.ListenerReasonProtocolConflict), fmt.Sprintf("%s asks for port %s as well, and a port of one protocol can have one listener", who, l.Port)}
}

func (l *Listener) known() bool { return RouteKind(l.Port.Protocol) != "" }

// listener judges one of the Gateway's listeners, or of a ListenerSet's.
func (v *View) listener(set *gatewayv1.ListenerSet, spec gatewayv1.Listener) *Listener {
	spelled, known := Protocol(spec.Protocol)
	l := &Listener{
		Name: spec.Name, Set: set, Port: model.Port{Number: spec.Port, Protocol: spelled},
		Hostname: string(deref(spec.Hostname, "")), Kinds: []gatewayv1.RouteGroupKind{},
	}
	namespace := v.Gateway.Namespace
	if set != nil {
		namespace = set.Namespace
	}
	switch {
	case !known:
		advice := ""
		if l.Meant = inOtherLetters(spec.Protocol); l.Meant != "" {
			advice = fmt.Sprintf("; write %s in capitals", l.Meant)
		}
		l.Accepted = Verdict{string(gatewayv1.ListenerReasonUnsupportedProtocol), fmt.Sprintf("protocol %s is none of TCP, UDP, ako.vmware.com/SCTP, SCTP%s", spec.Protocol, advice)}
	case spec.TLS != nil:
		l.Accepted = Verdict{string(gatewayv1.ListenerReasonUnsupportedValue), fmt.Sprintf("tls can't be used with protocol %s: connections are passed on as they come; remove it", spec.Protocol)}
	}
	if known {
		l.routeKinds(spec.AllowedRoutes)
	}
	l.admits = v.admitsRoutes(l, namespace, spec.AllowedRoutes)
	return l
}

// routeKinds are those of the protocol, without those that allowedRoutes leaves out.
func (l *Listener) routeKinds(allowed *gatewayv1.AllowedRoutes) {
	var own gatewayv1.RouteGroupKind
	for _, k := range kinds {
		if k.protocol == l.Port.Protocol {
			own = k.route
		}
	}
	if allowed == nil || len(allowed.Kinds) == 0 {
		l.Kinds = []gatewayv1.RouteGroupKind{own}
		return
	}
	var wrong []string
	for _, k := range allowed.Kinds {
		switch {
		case !sameKind(k, own):
			wrong = append(wrong, strings.TrimPrefix(string(deref(k.Group, gatewayv1.GroupName))+"/"+string(k.Kind), "/"))
		case len(l.Kinds) == 0:
			l.Kinds = []gatewayv1.RouteGroupKind{own}
		}
	}
	if len(wrong) > 0 {
		l.ResolvedRefs = Verdict{string(gatewayv1.ListenerReasonInvalidRouteKinds), fmt.Sprintf("allowedRoutes.kinds: %s can't be attached to a listener of protocol %s, which takes %s/%s", strings.Join(wrong, ", "), l.Port.Protocol, *own.Group, own.Kind)}
	}
}

// admitsRoutes says which namespaces' routes a listener takes: those of its own unless it says otherwise.
func (v *View) admitsRoutes(l *Listener, namespace string, allowed *gatewayv1.AllowedRoutes) func(string) bool {
	from, selector := gatewayv1.NamespacesFromSame, (*metav1.LabelSelector)(nil)
	if allowed != nil && allowed.Namespaces != nil {
		from, selector = deref(allowed.Namespaces.From, from), allowed.Namespaces.Selector
	}
	admits, note := v.admitting(from, namespace, selector)
	if note != "" {
		l.Notes = append(l.Notes, "allowedRoutes.namespaces"+note)
	}
	return admits
}

// admitsSets says which namespaces' ListenerSets the Gateway takes: none unless it says otherwise.
func (v *View) admitsSets() (admits func(string) bool, note string) {
	from, selector := gatewayv1.NamespacesFromNone, (*metav1.LabelSelector)(nil)
	if a := v.Gateway.Spec.AllowedListeners; a != nil && a.Namespaces != nil {
		from, selector = deref(a.Namespaces.From, from), a.Namespaces.Selector
	}
	return v.admitting(from, v.Gateway.Namespace, selector)
}

// admitting says which namespaces are admitted, and what is wrong with how that is said.
func (v *View) admitting(from gatewayv1.FromNamespaces, own string, selector *metav1.LabelSelector,
) (admits func(string) bool, note string) {
	none := func(string) bool { return false }
	switch from {
	case gatewayv1.NamespacesFromAll:
		return func(string) bool { return true }, ""
	case gatewayv1.NamespacesFromSame:
		return func(ns string) bool { return ns == own }, ""
	case gatewayv1.NamespacesFromNone:
		return none, ""
	case gatewayv1.NamespacesFromSelector:
		if selector == nil {
			return none, ".from is Selector and there is no selector: no namespace matches"
		}
		s, err := metav1.LabelSelectorAsSelector(selector)
		if err != nil {
			return none, fmt.Sprintf(".selector can't be used, and no namespace matches: %v", err)
		}
		return func(ns string) bool { return s.Matches(labels.Set(v.Namespaces[ns])) }, ""
	}
	return none, fmt.Sprintf(".from %q is none of All, Same, Selector: no namespace matches", from)
}
