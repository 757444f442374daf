// SPDX-License-Identifier: Apache-2.0

package status

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	svcapi "github.com/avi-l4-operator/avi-l4-operator/api/networking/v1alpha1"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/outcome"
)

// foreign are conditions that AKO writes on Gateways and that mean nothing once it no longer serves them.
var foreign = []string{"Pending", "PortConflict", "UnsupportedProtocol"}

// OfSvcAPIGateway reads what the status of a Gateway of the Services API says.
func OfSvcAPIGateway() Reading {
	return reading(func(gw *svcapi.Gateway) *Said {
		said := &Said{Conditions: &gw.Status.Conditions, Programmed: Programmed}
		for _, a := range gw.Status.Addresses {
			said.Addresses = append(said.Addresses, a.Value)
		}
		return said
	})
}

// SvcAPIGateway writes what an outcome means for a Gateway of the Services API: its own conditions, those of Services that the
// operator serves, the address, and one entry for each port number.
func (w *Writer) SvcAPIGateway(ctx context.Context, gw *svcapi.Gateway, o outcome.Outcome) error {
	next := gw.DeepCopy()
	now := metav1.NewTime(w.Now())
	want := steady(gw.Status.Conditions, append([]metav1.Condition{scheduled(o), ready(gw, o)}, conditions(o)...), o)
	for i := range want {
		want[i].ObservedGeneration = gw.Generation
	}
	next.Status.Conditions = slices.DeleteFunc(merge(gw.Status.Conditions, want, now), func(c metav1.Condition) bool {
		return slices.Contains(foreign, c.Type)
	})
	if o.Known() {
		next.Status.Addresses = svcAPIAddresses(o)
		next.Status.Listeners = listeners(gw, o, now)
	}
	if err := w.Patch(ctx, gw, next, apiequality.Semantic.DeepEqual(gw.Status, next.Status)); err != nil {
		return err
	}
	w.announce(next, gw.Status.Conditions, next.Status.Conditions, o)
	return nil
}

// NoSvcAPIClass says on a Gateway that nobody serves why: its class doesn't exist. A status that somebody has written
// something else into is left alone.
func (w *Writer) NoSvcAPIClass(ctx context.Context, gw *svcapi.Gateway, message string) error {
	was := apimeta.FindStatusCondition(gw.Status.Conditions, svcapi.GatewayConditionScheduled)
	if was != nil && was.Reason != svcapi.GatewayReasonNotReconciled && was.Reason != svcapi.GatewayReasonNoSuchGatewayClass {
		return nil
	}
	next := gw.DeepCopy()
	same := !apimeta.SetStatusCondition(&next.Status.Conditions,
		metav1.Condition{Type: svcapi.GatewayConditionScheduled, Status: metav1.ConditionFalse,
			Reason: svcapi.GatewayReasonNoSuchGatewayClass, Message: clip(message), ObservedGeneration: gw.Generation,
			LastTransitionTime: metav1.NewTime(w.Now())})
	if err := w.Patch(ctx, gw, next, same); err != nil || same {
		return err
	}
	w.Warn(gw, model.ReasonNoGatewayClass, message)
	return nil
}

// ClearSvcAPIGateway takes back what SvcAPIGateway wrote, for a Gateway that goes on to exist and is no longer ours. What the API
// wants there while nobody serves it takes its place.
func (w *Writer) ClearSvcAPIGateway(ctx context.Context, gw *svcapi.Gateway) error {
	next := gw.DeepCopy()
	next.Status = svcapi.GatewayStatus{}
	for _, c := range gw.Status.Conditions {
		if !slices.Contains([]string{Accepted, Programmed, Healthy, svcapi.GatewayConditionReady, svcapi.GatewayConditionScheduled}, c.Type) {
			next.Status.Conditions = append(next.Status.Conditions, c)
		}
	}
	if len(next.Status.Conditions) == len(gw.Status.Conditions) {
		return nil // nothing of ours
	}
	apimeta.SetStatusCondition(&next.Status.Conditions, metav1.Condition{Type: svcapi.GatewayConditionScheduled, Status: metav1.ConditionFalse,
		Reason: svcapi.GatewayReasonNotReconciled, Message: "no longer served by this operator", ObservedGeneration: gw.Generation, LastTransitionTime: metav1.NewTime(w.Now())})
	if err := w.Patch(ctx, gw, next, false); err != nil {
		return err
	}
	next.DeepCopyInto(gw)
	return nil
}

// HandBackSvcAPIGateway takes back what SvcAPIGateway wrote but for the address, which serves on, and leaves the result in gw. AKO gives
// an empty reason to each condition of a type that it doesn't know, which the API server refuses with all else that AKO writes there,
// so none of the operator's is left but the one that the CRD itself starts with.
func (w *Writer) HandBackSvcAPIGateway(ctx context.Context, gw *svcapi.Gateway) error {
	next := gw.DeepCopy()
	next.Status = svcapi.GatewayStatus{Addresses: gw.Status.Addresses}
	for _, c := range gw.Status.Conditions {
		if !ours(c) && c.Type != svcapi.GatewayConditionReady && c.Type != svcapi.GatewayConditionScheduled {
			next.Status.Conditions = append(next.Status.Conditions, c)
		}
	}
	apimeta.SetStatusCondition(&next.Status.Conditions, metav1.Condition{
		Type: svcapi.GatewayConditionScheduled, Status: metav1.ConditionFalse, Reason: svcapi.GatewayReasonNotReconciled,
		Message: "handed back by avi-l4-operator", LastTransitionTime: metav1.NewTime(w.Now()),
	})
	if err := w.Patch(ctx, gw, next, false); err != nil {
		return err
	}
	next.DeepCopyInto(gw)
	return nil
}

func scheduled(o outcome.Outcome) metav1.Condition {
	c := metav1.Condition{Type: svcapi.GatewayConditionScheduled, Status: metav1.ConditionTrue, Reason: svcapi.GatewayReasonScheduled,
		Message: "served by avi-l4-operator"}
	for _, f := range o.Findings {
		if f.Reason == model.ReasonNoGatewayClass {
			c.Status, c.Reason, c.Message = metav1.ConditionFalse, svcapi.GatewayReasonNoSuchGatewayClass, f.Message
		}
	}
	return c
}

// ready sums a Gateway up with the API's own reasons.
func ready(gw *svcapi.Gateway, o outcome.Outcome) metav1.Condition {
	c := metav1.Condition{Type: svcapi.GatewayConditionReady, Status: metav1.ConditionFalse}
	p := programmed(o)
	address := []string{model.ReasonInvalidAddress, model.ReasonNoFreeAddress, addressPending}
	messages := portMessages(gw, o)
	switch {
	case p.Status != metav1.ConditionTrue && slices.Contains(address, p.Reason):
		c.Reason, c.Message = svcapi.GatewayReasonAddressNotAssigned, p.Message
	case len(messages.invalid) > 0:
		c.Reason, c.Message = svcapi.GatewayReasonListenersNotValid, join(messages.invalid)
	case p.Status != metav1.ConditionTrue:
		c.Reason, c.Message = svcapi.GatewayReasonListenersNotReady, p.Message
	case len(messages.waiting) > 0:
		c.Reason, c.Message = svcapi.GatewayReasonListenersNotReady, join(messages.waiting)
	default:
		c.Status, c.Reason, c.Message = metav1.ConditionTrue, svcapi.GatewayReasonReady, p.Message
	}
	return c
}

func svcAPIAddresses(o outcome.Outcome) []svcapi.GatewayAddress {
	if o.VSUUID == "" {
		return nil
	}
	var out []svcapi.GatewayAddress
	for _, a := range o.Addresses {
		out = append(out, svcapi.GatewayAddress{Type: new(svcapi.AddressIP), Value: a.String()})
	}
	return out
}

// verdict is what a finding about a port means for its listener: one of the API's conditions with one of its reasons.
type verdict struct {
	condition string
	status    metav1.ConditionStatus
	reason    string
	fault     fault
}

// fault says what is to be fixed for a listener to be ready.
type fault int

const (
	waits    fault = iota // what it waits for
	hindered              // where it is: a listener that serves already goes on, and is ready
	invalid               // itself, even if what serves goes on
)

// verdicts has a row for each finding that is more to a listener than "not ready".
var verdicts = map[string]verdict{
	model.ReasonUnsupportedProtocol: {svcapi.ListenerConditionDetached, metav1.ConditionTrue, svcapi.ListenerReasonUnsupportedProtocol,
		invalid},
	model.ReasonControllerTooOld: {svcapi.ListenerConditionDetached, metav1.ConditionTrue, svcapi.ListenerReasonUnsupportedProtocol, hindered},
	model.ReasonLicenseTier:      {svcapi.ListenerConditionDetached, metav1.ConditionTrue, svcapi.ListenerReasonUnsupportedProtocol, hindered},
	model.ReasonNodePortLocal: {svcapi.ListenerConditionDetached, metav1.ConditionTrue, svcapi.ListenerReasonUnsupportedExtension,
		hindered},
	model.ReasonListenerConflict: {svcapi.ListenerConditionConflicted, metav1.ConditionTrue, svcapi.ListenerReasonProtocolConflict, invalid},
	model.ReasonInvalidRoutes: {svcapi.ListenerConditionResolvedRefs, metav1.ConditionFalse, svcapi.ListenerReasonInvalidRoutesRef,
		invalid},
	model.ReasonServiceConflict: {svcapi.ListenerConditionResolvedRefs, metav1.ConditionFalse, svcapi.ListenerReasonDegradedRoutes, waits},
	model.ReasonNameTooLong:     {svcapi.ListenerConditionReady, metav1.ConditionFalse, svcapi.ListenerReasonInvalid, hindered},
}

// faulty reports whether a finding makes its listener's own configuration the reason for not being ready.
func faulty(f model.Finding) bool {
	switch verdicts[f.Reason].fault {
	case invalid:
		return f.Severity != model.Note
	case hindered:
		return f.Severity == model.Blocked
	}
	return false
}

// good are a listener's conditions when all is well.
var good = []metav1.Condition{
	{Type: svcapi.ListenerConditionConflicted, Status: metav1.ConditionFalse, Reason: svcapi.ListenerReasonNoConflicts, Message: "no other listener asks for the same port and protocol"},
	{Type: svcapi.ListenerConditionDetached, Status: metav1.ConditionFalse, Reason: svcapi.ListenerReasonAttached,
		Message: "the port can be served"},
	{Type: svcapi.ListenerConditionResolvedRefs, Status: metav1.ConditionTrue, Reason: svcapi.ListenerReasonResolvedRefs,
		Message: "routes select Services"},
	{Type: svcapi.ListenerConditionReady, Status: metav1.ConditionTrue, Reason: svcapi.ListenerReasonReady},
}

// listeners has an entry for each port number, as the API keys them: it covers every protocol on that number, and each condition is the
// worst of theirs.
func listeners(gw *svcapi.Gateway, o outcome.Outcome, now metav1.Time) []svcapi.ListenerStatus {
	var out []svcapi.ListenerStatus
	for i, l := range gw.Spec.Listeners {
		if slices.ContainsFunc(out, func(s svcapi.ListenerStatus) bool { return s.Port == l.Port }) {
			continue
		}
		entry := svcapi.ListenerStatus{Port: l.Port, Protocol: l.Protocol, Hostname: l.Hostname}
		want := slices.Clone(good)
		var said []string
		for _, port := range protocolsOn(gw.Spec.Listeners[i:], l.Port) {
			said = append(said, judge(want, port, o))
		}
		want[3].Message = join(said)
		var have []metav1.Condition
		for _, s := range gw.Status.Listeners {
			if s.Port == l.Port {
				have = slices.DeleteFunc(slices.Clone(s.Conditions), func(c metav1.Condition) bool {
					return !slices.ContainsFunc(good, func(g metav1.Condition) bool { return g.Type == c.Type })
				})
			}
		}
		for j := range want {
			want[j].ObservedGeneration = gw.Generation
		}
		entry.Conditions = merge(have, want, now)
		out = append(out, entry)
	}
	return out
}

// protocolsOn lists the distinct listeners of one port number, in spec order.
func protocolsOn(all []svcapi.Listener, number int32) []model.Port {
	var out []model.Port
	for _, l := range all {
		if p := (model.Port{Number: number, Protocol: string(l.Protocol)}); l.Port == number && !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out
}

// judge puts what is wrong with one protocol on a port into the port's conditions, and says in words how it is.
func judge(want []metav1.Condition, port model.Port, o outcome.Outcome) string {
	notReady := func(reason string) {
		if want[3].Status == metav1.ConditionTrue || reason == svcapi.ListenerReasonInvalid {
			want[3].Status, want[3].Reason = metav1.ConditionFalse, reason
		}
	}
	var problems []string
	blocked := false
	for _, f := range o.Findings {
		if f.Port != port || f.Severity == model.Note {
			continue
		}
		problems = append(problems, f.Message)
		blocked = blocked || f.Severity == model.Blocked
		v, ok := verdicts[f.Reason]
		if !ok {
			continue
		}
		for i := range want {
			if c := &want[i]; c.Type == v.condition && c.Status == good[i].Status {
				c.Status, c.Reason, c.Message = v.status, v.reason, clip(f.Message)
			}
		}
		if faulty(f) {
			notReady(svcapi.ListenerReasonInvalid)
		}
	}
	serving := servingPort(port, o, len(problems) > 0 && !blocked)
	served := slices.Contains(o.Ports, serving)
	if blocked || !served || o.State() != outcome.Done {
		notReady(svcapi.ListenerReasonPending)
	}
	return cmp.Or(port.Protocol, `""`) + "/" + fmt.Sprint(port.Number) + ": " + inWords(served, o, serving, problems)
}

// servingPort is the port as it is served; another than what is asked for where a protocol was misspelt while it served.
func servingPort(port model.Port, o outcome.Outcome, keeps bool) model.Port {
	serving := port
	if !slices.Contains(o.Ports, port) {
		serving.Protocol = strings.ToUpper(strings.TrimSpace(port.Protocol))
	}
	if _, known := o.Backends[serving]; !known && keeps {
		for _, p := range o.Ports {
			if p.Number == port.Number {
				serving = p
			}
		}
	}
	return serving
}

// inWords reports whether a port is served, by what, and what is wrong with it.
func inWords(served bool, o outcome.Outcome, serving model.Port, problems []string) string {
	text := "not served"
	switch {
	case served:
		text = "Service " + strings.Join(o.Backends[serving], ", ")
	case len(problems) == 0 && o.State() != outcome.Done:
		text = "not programmed yet, see the Gateway's conditions"
	case len(problems) == 0:
		text = "not programmed yet"
	}
	if len(problems) > 0 {
		text += " (" + strings.Join(problems, "; ") + ")"
	}
	return text
}

// complaints are the messages of ports that are wrong and of those that only wait.
type complaints struct{ invalid, waiting []string }

func portMessages(gw *svcapi.Gateway, o outcome.Outcome) (out complaints) {
	for _, f := range o.Findings {
		switch {
		case f.Port == (model.Port{}):
		case faulty(f):
			out.invalid = append(out.invalid, f.Message)
		case f.Severity == model.Blocked:
			out.waiting = append(out.waiting, f.Message)
		}
	}
	for _, l := range gw.Spec.Listeners {
		port := model.Port{Number: l.Port, Protocol: string(l.Protocol)}
		if len(out.invalid)+len(out.waiting) == 0 && !slices.Contains(o.Ports, port) {
			out.waiting = append(out.waiting, "port "+port.String()+" isn't programmed yet")
		}
	}
	return out
}
