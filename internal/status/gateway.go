// SPDX-License-Identifier: Apache-2.0

package status

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/avi-l4-operator/avi-l4-operator/internal/gatewayapi"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/outcome"
)

// routedEvents: the Events of a Gateway of gateway.networking.k8s.io follow the API's own conditions.
var routedEvents = eventTypes{
	accepted: string(gatewayv1.GatewayConditionAccepted), programmed: string(gatewayv1.GatewayConditionProgrammed)}

// OfGateway reads what the status of a Gateway of gateway.networking.k8s.io says.
func OfGateway() Reading {
	return reading(func(gw *gatewayv1.Gateway) *Said {
		said := &Said{Conditions: &gw.Status.Conditions, Programmed: routedEvents.programmed}
		for _, a := range gw.Status.Addresses {
			said.Addresses = append(said.Addresses, a.Value)
		}
		return said
	})
}

// Gateway writes what an outcome means for a Gateway of gateway.networking.k8s.io and its ListenerSets. Every condition of ours
// carries the generation that it is about; those of others are left alone.
func (w *Writer) Gateway(ctx context.Context, view *gatewayapi.View, o outcome.Outcome) error {
	gw := view.Gateway
	next := gw.DeepCopy()
	now := metav1.NewTime(w.Now())
	r := routed{view: view, o: o, have: gw.Status.Conditions}
	want := []metav1.Condition{r.accepted(), r.programmed(), r.healthy()}
	next.Status.Conditions = merge(gw.Status.Conditions, generation(want, gw.Generation), now)
	if o.Known() {
		next.Status.Addresses = routedAddresses(o)
	}
	next.Status.Listeners = nil
	for _, l := range view.Listeners {
		if l.Set != nil {
			continue
		}
		entry := gatewayv1.ListenerStatus{Name: l.Name, SupportedKinds: l.Kinds, AttachedRoutes: int32(len(l.Routes))}
		for _, s := range gw.Status.Listeners {
			if s.Name == l.Name {
				entry.Conditions = s.Conditions
				if view.Unread[gatewayapi.RouteKind(l.Port.Protocol)] {
					entry.AttachedRoutes = s.AttachedRoutes
				}
			}
		}
		entry.Conditions = merge(ofListener(entry.Conditions), generation(r.listener(l), gw.Generation), now)
		next.Status.Listeners = append(next.Status.Listeners, entry)
	}
	next.Status.AttachedListenerSets = r.attachedSets()
	if err := w.Patch(ctx, gw, next, apiequality.Semantic.DeepEqual(gw.Status, next.Status)); err != nil {
		return err
	}
	w.announceOf(next, gw.Status.Conditions, next.Status.Conditions, o, routedEvents)
	var failed []error
	for _, s := range view.SetVerdicts {
		if err := w.listenerSet(ctx, &r, s, now); client.IgnoreNotFound(err) != nil {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

// ClearGateway takes back what Gateway wrote, for a Gateway that goes on to exist and is no longer ours. What the API wants there
// while nobody serves it takes its place.
func (w *Writer) ClearGateway(ctx context.Context, gw *gatewayv1.Gateway) error {
	next := gw.DeepCopy()
	next.Status = gatewayv1.GatewayStatus{Conditions: w.unserved(gw.Status.Conditions, gw.Generation)}
	if err := w.Patch(ctx, gw, next, false); err != nil {
		return err
	}
	next.DeepCopyInto(gw)
	return nil
}

// ClearListenerSet is ClearGateway for a ListenerSet whose Gateway is no longer ours, or goes.
func (w *Writer) ClearListenerSet(ctx context.Context, set *gatewayv1.ListenerSet) error {
	next := set.DeepCopy()
	next.Status = gatewayv1.ListenerSetStatus{Conditions: w.unserved(set.Status.Conditions, set.Generation)}
	return w.Patch(ctx, set, next, apiequality.Semantic.DeepEqual(set.Status, next.Status))
}

// unserved are the conditions of something that nobody serves any more, with those of others.
func (w *Writer) unserved(have []metav1.Condition, generation int64) (out []metav1.Condition) {
	for _, c := range have {
		if c.Type != Healthy {
			out = append(out, c)
		}
	}
	for _, kind := range []string{routedEvents.accepted, routedEvents.programmed} {
		apimeta.SetStatusCondition(&out,
			metav1.Condition{Type: kind, Status: metav1.ConditionUnknown, Reason: string(gatewayv1.GatewayReasonPending),
				Message: "no longer served by this operator", ObservedGeneration: generation, LastTransitionTime: metav1.NewTime(w.Now())})
	}
	return out
}

func generation(list []metav1.Condition, g int64) []metav1.Condition {
	for i := range list {
		list[i].ObservedGeneration = g
	}
	return list
}

// listenerConditions are the types that a listener's entry has; Conflicted only while it is.
var listenerConditions = []string{string(gatewayv1.ListenerConditionAccepted), string(gatewayv1.ListenerConditionProgrammed),
	string(gatewayv1.ListenerConditionResolvedRefs)}

func ofListener(have []metav1.Condition) (out []metav1.Condition) {
	for _, c := range have {
		if slices.Contains(listenerConditions, c.Type) {
			out = append(out, c)
		}
	}
	return out
}

func routedAddresses(o outcome.Outcome) []gatewayv1.GatewayStatusAddress {
	if o.VSUUID == "" {
		return nil
	}
	var out []gatewayv1.GatewayStatusAddress
	for _, a := range o.Addresses {
		out = append(out, gatewayv1.GatewayStatusAddress{Type: new(gatewayv1.IPAddressType), Value: a.String()})
	}
	return out
}

// routed is a Gateway's outcome in the API's words.
type routed struct {
	view *gatewayapi.View
	o    outcome.Outcome
	have []metav1.Condition
}

// verdictsOfGateway has the API's reason for each finding about the whole Gateway that makes it not accepted.
var verdictsOfGateway = map[string]gatewayv1.GatewayConditionReason{
	model.ReasonInvalidParameters:    gatewayv1.GatewayReasonInvalidParameters,
	model.ReasonInfraSettingMissing:  gatewayv1.GatewayReasonInvalidParameters,
	model.ReasonInfraSettingRejected: gatewayv1.GatewayReasonInvalidParameters,
	model.ReasonUnsupportedAddress:   gatewayv1.GatewayReasonUnsupportedAddress,
	model.ReasonNameTaken:            gatewayv1.GatewayReasonInvalid,
	model.ReasonNameTooLong:          gatewayv1.GatewayReasonInvalid,
	model.ReasonInvalidSourceRange:   gatewayv1.GatewayReasonInvalid,
	model.ReasonRuleMissing:          gatewayv1.GatewayReasonInvalidParameters,
	model.ReasonRuleRejected:         gatewayv1.GatewayReasonInvalidParameters,
	model.ReasonNoGatewayClass:       gatewayv1.GatewayReasonInvalid,
	model.ReasonConfigurationInvalid: gatewayv1.GatewayReasonPending,
	model.ReasonServedByAnother:      gatewayv1.GatewayReasonPending,
}

func (r *routed) accepted() metav1.Condition {
	c := metav1.Condition{Type: routedEvents.accepted, Status: metav1.ConditionTrue, Reason: string(gatewayv1.GatewayReasonAccepted)}
	general := accepted(r.o)
	c.Message = general.Message
	if general.Status == metav1.ConditionTrue && general.Reason == "Accepted" {
		c.Message = strings.Replace(c.Message, "all ports are accepted", "all listeners are accepted", 1)
	}
	if general.Status == metav1.ConditionUnknown {
		c.Status, c.Reason, c.Message = general.Status, string(gatewayv1.GatewayReasonPending),
			general.Reason+": "+strings.ReplaceAll(general.Message, Programmed, routedEvents.programmed)
		return c
	}
	for _, f := range r.o.Findings {
		if reason, ok := verdictsOfGateway[f.Reason]; ok && f.Port == (model.Port{}) && f.Severity != model.Note {
			c.Status, c.Reason = metav1.ConditionFalse, string(reason)
			return c
		}
	}
	// What is wrong with a ListenerSet's listeners is reported there (GEP-1713, "Gateway Conditions").
	switch valid, all := r.ofSet(nil); {
	case valid == 0:
		c.Status, c.Reason = metav1.ConditionFalse, string(gatewayv1.GatewayReasonListenersNotValid)
	case valid < all:
		c.Reason = string(gatewayv1.GatewayReasonListenersNotValid)
	}
	return c
}

// unavailable begins the message of a condition while the Controller can't be had: an outage has many different errors, and reporting each
// would be a storm of writes.
const unavailable = model.ReasonControllerDown + ": "

func (r *routed) programmed() metav1.Condition {
	p := programmed(r.o)
	c := metav1.Condition{Type: routedEvents.programmed, Status: p.Status, Reason: string(gatewayv1.GatewayReasonProgrammed),
		Message: strings.ReplaceAll(p.Message, Accepted, routedEvents.accepted)}
	switch r.o.State() {
	case outcome.Blocked:
		c.Reason = string(gatewayv1.GatewayReasonInvalid)
		if p.Reason == model.ReasonInvalidAddress {
			c.Reason = string(gatewayv1.GatewayReasonAddressNotUsable)
		}
		if r.accepted().Status == metav1.ConditionTrue { // the API calls it so; the obstacle is to be found here all the same
			c.Message = blockedBy(r.o.Findings) + strings.TrimPrefix(c.Message, "not changed on the Controller, see condition "+routedEvents.accepted)
		}
	case outcome.Unread, outcome.Failed:
		r.failed(&c, p.Reason)
	case outcome.Done:
		if p.Status != metav1.ConditionTrue {
			c.Reason = string(gatewayv1.GatewayReasonAddressNotAssigned)
		} else if reason, what := r.otherAddresses(); reason != "" {
			c.Status, c.Reason = metav1.ConditionFalse, string(reason)
			c.Message = what + " spec.addresses asks for; see condition " + routedEvents.accepted + "; " + c.Message
		}
	}
	return c
}

// failed gives the condition Programmed of a run that failed the API's reason: the address may be what could not be had.
func (r *routed) failed(c *metav1.Condition, reason string) {
	given := slices.ContainsFunc(r.view.Gateway.Spec.Addresses, func(a gatewayv1.GatewaySpecAddress) bool { return a.Value != "" })
	why := r.o.Failure()
	switch {
	case given && (reason == model.ReasonNoFreeAddress || why.Kind == model.VsVip && why.Class != outcome.Transient):
		c.Reason = string(gatewayv1.GatewayReasonAddressNotUsable)
	case reason == model.ReasonNoFreeAddress:
		c.Reason = string(gatewayv1.GatewayReasonAddressNotAssigned)
	default:
		c.Reason, c.Message = string(gatewayv1.GatewayReasonPending), reason+": "+c.Message
		was := apimeta.FindStatusCondition(r.have, c.Type)
		if was != nil && was.Reason == c.Reason && strings.HasPrefix(was.Message, unavailable) && strings.HasPrefix(c.Message, unavailable) &&
			strings.Contains(was.Message, why.Host) {
			c.Message = was.Message
		}
	}
}

// otherAddresses compares what serves with what is asked for: an address may be written in several ways, or left to allocate.
func (r *routed) otherAddresses() (reason gatewayv1.GatewayConditionReason, what string) {
	given, allocated := make(map[netip.Addr]bool), 0
	for _, a := range r.view.Gateway.Spec.Addresses {
		if a.Value == "" {
			allocated++
			continue
		}
		addr, err := netip.ParseAddr(a.Value)
		if err != nil || !slices.Contains(r.o.Addresses, addr.Unmap()) {
			return gatewayv1.GatewayReasonAddressNotUsable, "the addresses in use are not those that"
		}
		given[addr.Unmap()] = true
	}
	if len(r.o.Addresses) < len(given)+allocated {
		return gatewayv1.GatewayReasonAddressNotAssigned, "fewer addresses are in use than"
	}
	return "", ""
}

func (r *routed) healthy() metav1.Condition {
	c := healthy(r.o)
	if was := apimeta.FindStatusCondition(r.have, Healthy); was != nil && r.o.VSUUID != "" && r.o.Health == nil {
		// After a restart the inventory comes a moment later; what was known stands until then.
		c.Status, c.Reason, c.Message = was.Status, was.Reason, was.Message
	}
	return c
}

// hindrances are the findings about a port that make its listener one that can't be served here.
var hindrances = map[string]gatewayv1.ListenerConditionReason{
	model.ReasonLicenseTier:         gatewayv1.ListenerReasonUnsupportedProtocol,
	model.ReasonControllerTooOld:    gatewayv1.ListenerReasonUnsupportedProtocol,
	model.ReasonSystemObjectMissing: gatewayv1.ListenerReasonUnsupportedProtocol,
}

// listenerVerdict is why a listener isn't accepted.
func (r *routed) listenerVerdict(l *gatewayapi.Listener) gatewayapi.Verdict {
	switch {
	case !l.Conflicted.OK():
		return l.Conflicted
	case !l.Accepted.OK():
		return l.Accepted
	}
	for _, f := range r.o.Findings {
		if reason, ok := hindrances[f.Reason]; ok && f.Port == l.Port && f.Severity == model.Blocked {
			return gatewayapi.Verdict{Reason: string(reason), Message: f.Message}
		}
	}
	return gatewayapi.Verdict{}
}

// listener are the conditions of a listener's entry.
func (r *routed) listener(l *gatewayapi.Listener) []metav1.Condition {
	ok := metav1.Condition{Type: listenerConditions[0], Status: metav1.ConditionTrue, Reason: string(gatewayv1.ListenerReasonAccepted),
		Message: "the listener can be served"}
	up := metav1.Condition{Type: listenerConditions[1], Status: metav1.ConditionTrue, Reason: string(gatewayv1.ListenerReasonProgrammed)}
	refs := metav1.Condition{Type: listenerConditions[2], Status: metav1.ConditionTrue, Reason: string(gatewayv1.ListenerReasonResolvedRefs),
		Message: "all references are resolved"}
	out := []metav1.Condition{}
	verdict := r.listenerVerdict(l)
	if len(l.Notes) > 0 {
		ok.Message = join(l.Notes)
	}
	if !verdict.OK() {
		ok.Status, ok.Reason, ok.Message = metav1.ConditionFalse, verdict.Reason, clip(verdict.Message)
	}
	if !l.ResolvedRefs.OK() {
		refs.Status, refs.Reason, refs.Message = metav1.ConditionFalse, l.ResolvedRefs.Reason, clip(l.ResolvedRefs.Message)
	}
	blocked, said := r.saidOf(l)
	gateway := r.programmed()
	switch {
	case !l.Conflicted.OK():
		up.Status, up.Reason, up.Message = metav1.ConditionFalse, l.Conflicted.Reason, r.refused(l, l.Conflicted)
	case !verdict.OK():
		up.Status, up.Reason, up.Message = metav1.ConditionFalse, string(gatewayv1.ListenerReasonInvalid), r.refused(l, verdict)
	case r.o.VSUUID == "" || gateway.Reason != string(gatewayv1.GatewayReasonAddressNotUsable) && r.o.State() != outcome.Done:
		up.Status, up.Reason, up.Message = metav1.ConditionFalse, string(gatewayv1.ListenerReasonPending), "see the Gateway's condition "+
			routedEvents.programmed
	case blocked:
		up.Status, up.Reason = metav1.ConditionFalse, string(gatewayv1.ListenerReasonPending)
	case len(l.Routes) > 0:
		up.Message = "serves " + l.Routes[0].String()
	}
	up.Message = join(append(slices.DeleteFunc([]string{up.Message}, func(s string) bool { return s == "" }), said...))
	out = append(out, ok, up, refs)
	if !l.Conflicted.OK() {
		out = append(out,
			metav1.Condition{Type: string(gatewayv1.ListenerConditionConflicted), Status: metav1.ConditionTrue, Reason: l.Conflicted.Reason,
				Message: clip(l.Conflicted.Message)})
	}
	return out
}

// refused says that a listener isn't programmed, or that what served on its port before goes on.
func (r *routed) refused(l *gatewayapi.Listener, v gatewayapi.Verdict) string {
	for _, f := range r.o.Findings {
		if f.Port == l.Port && f.Severity == model.Degraded && strings.Contains(f.Message, v.Message) {
			return f.Message
		}
	}
	return "not programmed: " + v.Message
}

// saidOf is what there is to say about a listener that may be served, and whether it keeps it from being.
func (r *routed) saidOf(l *gatewayapi.Listener) (blocked bool, said []string) {
	if !l.Valid() {
		return false, nil
	}
	for _, f := range r.o.Findings {
		if f.Port == l.Port && !slices.Contains(said, f.Message) {
			said = append(said, f.Message)
			blocked = blocked || f.Severity == model.Blocked
		}
	}
	return blocked, said
}

// attachedSets counts the ListenerSets that are accepted; what was known, if the type isn't served.
func (r *routed) attachedSets() *int32 {
	if r.view.Unread[gatewayapi.KindListenerSet] {
		return r.view.Gateway.Status.AttachedListenerSets
	}
	var n int32
	for _, s := range r.view.SetVerdicts {
		if accepted, _ := r.set(s); accepted.Status == metav1.ConditionTrue {
			n++
		}
	}
	return &n
}

// ofSet counts the listeners of a ListenerSet, or for nil the Gateway's own: those that are valid, and all.
func (r *routed) ofSet(set *gatewayv1.ListenerSet) (valid, all int) {
	for _, l := range r.view.Listeners {
		if l.Set != set {
			continue
		}
		all++
		if r.listenerVerdict(l).OK() {
			valid++
		}
	}
	return valid, all
}

// set are the conditions of a ListenerSet.
func (r *routed) set(s gatewayapi.SetVerdict) (ok, up metav1.Condition) {
	ok = metav1.Condition{Type: string(gatewayv1.ListenerSetConditionAccepted), Status: metav1.ConditionTrue,
		Reason: string(gatewayv1.ListenerSetReasonAccepted), Message: "the Gateway takes the listeners"}
	up = metav1.Condition{Type: string(gatewayv1.ListenerSetConditionProgrammed), Status: metav1.ConditionTrue,
		Reason: string(gatewayv1.ListenerSetReasonProgrammed), Message: "the listeners are programmed"}
	refuse := func(reason gatewayv1.ListenerSetConditionReason, message string) {
		ok.Status, ok.Reason, ok.Message = metav1.ConditionFalse, string(reason), clip(message)
		up.Status, up.Reason, up.Message = metav1.ConditionFalse, string(reason), ok.Message
	}
	gateway, accepted := r.programmed(), r.accepted()
	valid, all := r.ofSet(s.Set)
	switch {
	case !s.OK():
		refuse(gatewayv1.ListenerSetConditionReason(s.Reason), s.Message)
	case valid == 0:
		refuse(gatewayv1.ListenerSetReasonListenersNotValid, "none of the listeners is valid; see their conditions")
	case accepted.Status != metav1.ConditionTrue:
		refuse(gatewayv1.ListenerSetReasonParentNotAccepted, "the Gateway isn't accepted itself: "+accepted.Message)
	case valid < all:
		ok.Reason, ok.Message = string(gatewayv1.ListenerSetReasonListenersNotValid), fmt.Sprintf("%d of %d listeners are valid; see their conditions", valid, all)
	}
	if up.Status == metav1.ConditionTrue && gateway.Status != metav1.ConditionTrue {
		up.Status, up.Reason, up.Message = metav1.ConditionFalse, string(gatewayv1.ListenerSetReasonPending), "the Gateway isn't programmed: "+
			gateway.Message
	}
	return ok, up
}

// listenerSet writes a ListenerSet's status.
func (w *Writer) listenerSet(ctx context.Context, r *routed, s gatewayapi.SetVerdict, now metav1.Time) error {
	set := s.Set
	next := set.DeepCopy()
	ok, up := r.set(s)
	next.Status.Conditions = merge(set.Status.Conditions, generation([]metav1.Condition{ok, up}, set.Generation), now)
	next.Status.Listeners = nil
	for _, l := range r.view.Listeners {
		if l.Set != set {
			continue
		}
		entry := gatewayv1.ListenerEntryStatus{Name: l.Name, SupportedKinds: l.Kinds, AttachedRoutes: int32(len(l.Routes))}
		for _, have := range set.Status.Listeners {
			if have.Name == l.Name {
				entry.Conditions = have.Conditions
			}
		}
		entry.Conditions = merge(ofListener(entry.Conditions), generation(r.listener(l), set.Generation), now)
		next.Status.Listeners = append(next.Status.Listeners, entry)
	}
	if err := w.Patch(ctx, set, next, apiequality.Semantic.DeepEqual(set.Status, next.Status)); err != nil {
		return err
	}
	if was := apimeta.FindStatusCondition(set.Status.Conditions, ok.Type); ok.Status == metav1.ConditionFalse &&
		(was == nil || was.Message != ok.Message) {
		w.Warn(set, ok.Reason, ok.Message)
	}
	return nil
}

// RouteParent is what became of one parentRef of a route whose Gateway is ours.
type RouteParent struct {
	Ref        gatewayv1.ParentReference
	Controller gatewayv1.GatewayController
	Accepted   gatewayapi.Verdict
	References gatewayapi.Verdict
	// KeptOut says by which older routes it isn't served although it is accepted; empty if it is.
	KeptOut string
	// Keep leaves what is written for the parent as it is: another instance of the operator may have written it.
	Keep bool
}

// Route writes a route's entries for the parents that are ours and removes those that were and aren't any more. The list is
// shared with other controllers, whose entries stay as they are; the API server takes 32.
func (w *Writer) Route(ctx context.Context, route *gatewayapi.Route, ours []RouteParent, names []string) error {
	const most = 32
	before, ok := route.Object.(client.Object)
	if !ok {
		return fmt.Errorf("writing the status of %s: it is no object", route)
	}
	now := metav1.NewTime(w.Now())
	var next []gatewayv1.RouteParentStatus
	for _, s := range route.Status.Parents {
		kept := slices.ContainsFunc(ours, func(p RouteParent) bool { return p.Keep && apiequality.Semantic.DeepEqual(p.Ref, s.ParentRef) })
		if kept || !slices.Contains(names, string(s.ControllerName)) {
			next = append(next, s)
		}
	}
	ours = slices.DeleteFunc(ours, func(p RouteParent) bool { return p.Keep })
	for _, p := range ours {
		entry := entryOf(route, p, now)
		if len(next) < most {
			next = append(next, entry)
		}
	}
	if len(route.Status.Parents)+len(next) == 0 || apiequality.Semantic.DeepEqual(route.Status.Parents, next) {
		return w.Patch(ctx, before, before, true)
	}
	after, ok := before.DeepCopyObject().(client.Object)
	if !ok {
		return fmt.Errorf("writing the status of %s: it can't be copied", route)
	}
	if next == nil {
		next = []gatewayv1.RouteParentStatus{} // the field is required
	}
	gatewayapi.SetParents(after, next)
	if err := w.Patch(ctx, before, after, false); err != nil {
		return err
	}
	for _, p := range ours {
		for _, v := range []gatewayapi.Verdict{p.Accepted, p.References} {
			if !v.OK() && !toldBefore(route.Status.Parents, p, v) {
				w.Warn(before, v.Reason, v.Message)
			}
		}
	}
	return nil
}

// entryOf is what is said of a route at one parent.
func entryOf(route *gatewayapi.Route, p RouteParent, now metav1.Time) gatewayv1.RouteParentStatus {
	ok := metav1.Condition{Type: string(gatewayv1.RouteConditionAccepted), Status: metav1.ConditionTrue,
		Reason: string(gatewayv1.RouteReasonAccepted), Message: "attached"}
	refs := metav1.Condition{Type: string(gatewayv1.RouteConditionResolvedRefs), Status: metav1.ConditionTrue,
		Reason: string(gatewayv1.RouteReasonResolvedRefs), Message: "all references are resolved"}
	if p.KeptOut != "" {
		ok.Message = clip("attached, and not served: " + p.KeptOut)
	}
	if !p.Accepted.OK() {
		ok.Status, ok.Reason, ok.Message = metav1.ConditionFalse, p.Accepted.Reason, clip(p.Accepted.Message)
	}
	if !p.References.OK() {
		refs.Status, refs.Reason, refs.Message = metav1.ConditionFalse, p.References.Reason, clip(p.References.Message+"; their share of the connections is rejected")
	}
	entry := gatewayv1.RouteParentStatus{ParentRef: p.Ref, ControllerName: p.Controller}
	for _, s := range route.Status.Parents {
		if s.ControllerName == p.Controller && apiequality.Semantic.DeepEqual(s.ParentRef, p.Ref) {
			entry.Conditions = s.Conditions
		}
	}
	entry.Conditions = merge(entry.Conditions, generation([]metav1.Condition{ok, refs}, route.Object.GetGeneration()), now)
	return entry
}

func toldBefore(have []gatewayv1.RouteParentStatus, p RouteParent, v gatewayapi.Verdict) bool {
	return slices.ContainsFunc(have, func(s gatewayv1.RouteParentStatus) bool {
		return s.ControllerName == p.Controller && apiequality.Semantic.DeepEqual(s.ParentRef, p.Ref) &&
			slices.ContainsFunc(s.Conditions, func(c metav1.Condition) bool {
				return c.Reason == v.Reason && strings.HasPrefix(c.Message, clip(v.Message))
			})
	})
}
