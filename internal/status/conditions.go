// SPDX-License-Identifier: Apache-2.0

// Package status writes what became of an owner on the owner itself: conditions, the VIP, an error for each port that isn't served, AKO's
// annotations, and an Event when something changed. All of it comes from one Outcome, so that it can't contradict itself.
package status

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/outcome"
)

// Conditions of a Service that is ours.
const (
	// Accepted: what the Service asks for can be had.
	Accepted = "ako.vmware.com/Accepted"
	// Programmed: the Controller holds what the Service asks for.
	Programmed = "ako.vmware.com/Programmed"
	// Healthy: the VirtualService is up in the Controller's inventory.
	Healthy = "ako.vmware.com/Healthy"
)

// addressPending is the reason of Programmed while only the address is missing.
const addressPending = "AddressPending"

// messageMax bounds a condition's message, of which the API server takes 32,768 bytes, and noteMax an Event's, of which it
// takes 1,024.
const (
	messageMax = 16000
	noteMax    = 1000
)

// conditions are the three conditions that an outcome means, without times.
func conditions(o outcome.Outcome) []metav1.Condition {
	return []metav1.Condition{accepted(o), programmed(o), healthy(o)}
}

func accepted(o outcome.Outcome) metav1.Condition {
	c := metav1.Condition{Type: Accepted, Status: metav1.ConditionTrue, Reason: "Accepted", Message: "all ports are accepted"}
	var said, notes []string
	for _, f := range o.Findings {
		if f.Severity == model.Note {
			if f.Reason != model.ReasonNoEndpoints { // that is Healthy's
				notes = append(notes, f.Message)
			}
			continue
		}
		if len(said) == 0 {
			c.Reason = f.Reason
		}
		if o.State() == outcome.Blocked && f.Severity == model.Blocked && f.Port == (model.Port{}) {
			c.Status = metav1.ConditionFalse
		}
		if !slices.Contains(said, f.Message) {
			said = append(said, f.Message)
		}
	}
	if len(said) == 0 && o.State() == outcome.Unread {
		c.Status, c.Reason = metav1.ConditionUnknown, o.Failure().Reason
		said = []string{"not known before the Controller can be read, see condition " + Programmed}
	}
	if len(said) == 0 {
		said = []string{c.Message}
	}
	c.Message = join(append(said, notes...))
	return c
}

func programmed(o outcome.Outcome) metav1.Condition {
	c := metav1.Condition{Type: Programmed, Status: metav1.ConditionFalse}
	serves := ""
	if o.VSUUID != "" {
		serves = "; VirtualService " + o.Name + " keeps serving as it was"
	}
	switch why := o.Failure(); o.State() {
	case outcome.Blocked:
		c.Reason, c.Message = firstBlocked(o.Findings), "not changed on the Controller, see condition "+Accepted+serves
	case outcome.Unread, outcome.Failed:
		c.Reason, c.Message = why.Reason, clip(why.Message+serves)
	case outcome.Done:
		if len(o.Addresses) == 0 {
			c.Reason, c.Message = addressPending, "VirtualService "+o.Name+" is waiting for the Controller's IPAM to give it an address"
			break
		}
		c.Status, c.Reason = metav1.ConditionTrue, "Programmed"
		c.Message = fmt.Sprintf("VirtualService %s serves %s on %s", o.Name, portList(o.Ports), addressList(o))
	}
	return c
}

// notProgrammed is the reason of condition Healthy where there is no VirtualService.
const notProgrammed = "NotProgrammed"

func healthy(o outcome.Outcome) metav1.Condition {
	c := metav1.Condition{Type: Healthy, Status: metav1.ConditionUnknown, Reason: "Unknown", Message: "the Controller's inventory doesn't show it yet"}
	if o.VSUUID == "" && o.Doubtful {
		c.Message = "the Controller doesn't show the VirtualService, and doesn't prove that it is gone; the addresses stay in the status until it does"
		return c
	}
	if o.VSUUID == "" {
		c.Reason, c.Message = notProgrammed, "there is no VirtualService yet"
		return c
	}
	if o.Health == nil || o.Health.State == "" {
		return c
	}
	c.Reason = camel(strings.TrimPrefix(o.Health.State, "OPER_"))
	c.Status = metav1.ConditionFalse
	if o.Health.State == "OPER_UP" {
		c.Status = metav1.ConditionTrue
	}
	var said []string // what a person can change comes first
	for _, f := range o.Findings {
		if f.Reason == model.ReasonNoEndpoints {
			said = append(said, f.Message)
		}
	}
	said = append(said, "VirtualService is "+o.Health.State)
	if o.Health.Reason != "" && o.Health.State != "OPER_UP" {
		said = append(said, o.Health.Reason)
	}
	for _, s := range o.Servers {
		said = append(said, s.Port.String()+": "+s.Text)
	}
	c.Message = join(said)
	return c
}

func firstBlocked(fs []model.Finding) string {
	for _, f := range fs {
		if f.Severity == model.Blocked && f.Port == (model.Port{}) {
			return f.Reason
		}
	}
	return "Blocked"
}

// blockedBy is the message of the finding that blocks an owner.
func blockedBy(fs []model.Finding) string {
	for _, f := range fs {
		if f.Severity == model.Blocked && f.Port == (model.Port{}) {
			return f.Message
		}
	}
	return "blocked"
}

// ingress is the status' load balancer: an entry for each address, with the first DNS name, as AKO writes it. Where a
// port isn't served every port gets an entry, as the API asks, and those that fail an error.
func ingress(o outcome.Outcome, svc *corev1.Service, mode *corev1.LoadBalancerIPMode) []corev1.LoadBalancerIngress {
	if o.VSUUID == "" {
		return nil
	}
	ports := portStatus(o, svc)
	var out []corev1.LoadBalancerIngress
	for _, a := range o.Addresses {
		i := corev1.LoadBalancerIngress{IP: a.String(), IPMode: mode, Ports: ports}
		i.Hostname = hostname(o.FQDNs)
		out = append(out, i)
	}
	return out
}

// hostname is the first name that the API server takes in a status: a DNS name, and not an address
// (k8s.io/kubernetes/pkg/apis/core/validation, ValidateLoadBalancerStatus). Empty if there is none.
func hostname(names []string) string {
	for _, n := range names {
		if _, err := netip.ParseAddr(n); err != nil && len(validation.IsDNS1123Subdomain(n)) == 0 {
			return n
		}
	}
	return ""
}

// kept returns the entries that are there if those wanted say the same, so that what the API server has filled in is no
// difference: an address without ipMode has VIP (k8s.io/kubernetes/pkg/apis/core/v1, SetDefaults_Service).
func kept(have, want []corev1.LoadBalancerIngress) []corev1.LoadBalancerIngress {
	if apiequality.Semantic.DeepEqual(defaulted(have), defaulted(want)) {
		return have
	}
	return want
}

func defaulted(list []corev1.LoadBalancerIngress) []corev1.LoadBalancerIngress {
	out := slices.Clone(list)
	for i := range out {
		if out[i].IP != "" && out[i].IPMode == nil {
			out[i].IPMode = new(corev1.LoadBalancerIPModeVIP)
		}
	}
	return out
}

func portStatus(o outcome.Outcome, svc *corev1.Service) []corev1.PortStatus {
	failed := map[model.Port]string{}
	for _, f := range o.Findings {
		if f.Severity == model.Blocked && f.Port != (model.Port{}) {
			failed[f.Port] = "ako.vmware.com/" + f.Reason
		}
	}
	if len(failed) == 0 {
		return nil
	}
	var out []corev1.PortStatus
	for _, p := range svc.Spec.Ports {
		protocol := cmp.Or(p.Protocol, corev1.ProtocolTCP)
		s := corev1.PortStatus{Port: p.Port, Protocol: protocol}
		if reason, ok := failed[model.Port{Number: p.Port, Protocol: string(protocol)}]; ok {
			s.Error = &reason
		}
		out = append(out, s)
	}
	return out
}

// merge puts the conditions into a list that other controllers write to as well. Services have no generation, so
// observedGeneration stays unset.
func merge(list []metav1.Condition, want []metav1.Condition, now metav1.Time) []metav1.Condition {
	out := slices.Clone(list)
	for _, c := range want {
		c.LastTransitionTime = now
		apimeta.SetStatusCondition(&out, c)
	}
	return out
}

func portList(ports []model.Port) string {
	if len(ports) == 0 {
		return "no port yet" // a Gateway without anything behind it
	}
	out := make([]string, len(ports))
	for i, p := range ports {
		out[i] = p.String()
	}
	return strings.Join(out, ", ")
}

func addressList(o outcome.Outcome) string {
	out := make([]string, len(o.Addresses))
	for i, a := range o.Addresses {
		out[i] = a.String()
	}
	return strings.Join(out, " and ")
}

// camel turns AWAIT_MANUAL_PLACEMENT into AwaitManualPlacement.
func camel(s string) string {
	var b strings.Builder
	for part := range strings.SplitSeq(strings.ToLower(s), "_") {
		if part != "" {
			b.WriteString(strings.ToUpper(part[:1]) + part[1:])
		}
	}
	return cmp.Or(b.String(), "Unknown")
}

func join(parts []string) string { return clip(strings.Join(parts, "; ")) }

// Clip shortens a message to what a condition takes.
func Clip(s string) string { return clip(s) }

func clip(s string) string { return shorten(s, messageMax) }

func shorten(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + " …"
}
