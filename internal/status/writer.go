// SPDX-License-Identifier: Apache-2.0

package status

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/outcome"
)

// Annotations that AKO writes on a Service with a DNS name.
const (
	AnnotationFQDNs       = "ako.vmware.com/host-fqdn-vs-uuid-map"
	AnnotationClusterUUID = "ako.vmware.com/controller-cluster-uuid"
	AnnotationTenant      = "ako.vmware.com/tenant-name"
)

// AnnotationProblem says what is wrong, while something is: kubectl describe shows annotations of a Service but not its
// conditions, and Events are gone after an hour.
const AnnotationProblem = "l4.ako.vmware.com/problem"

var annotations = []string{AnnotationFQDNs, AnnotationClusterUUID, AnnotationTenant, AnnotationProblem}

// Writer writes statuses and Events. Nothing is written when nothing changed.
type Writer struct {
	Client   client.Client
	Recorder events.EventRecorder
	Now      func() time.Time
	// Silent, where it returns true, switches Events off, as AKO's enableEvents does.
	Silent func() bool

	kinds     []Reading
	own       ownWrites
	contest   contest
	unhurried line
}

// Asked is a Service's annotations without those that this package writes.
func Asked(svc *corev1.Service) map[string]string {
	out := maps.Clone(svc.Annotations)
	for _, key := range annotations {
		delete(out, key)
	}
	return out
}

// OfService reads what the status of a Service says.
func OfService() Reading {
	return reading(func(svc *corev1.Service) *Said {
		said := &Said{Conditions: &svc.Status.Conditions, Programmed: Programmed}
		for _, i := range svc.Status.LoadBalancer.Ingress {
			said.Addresses = append(said.Addresses, i.IP)
		}
		return said
	})
}

// Service writes what an outcome means for a Service: status and annotations in one patch, since the API server takes
// both through the status subresource. mode is what its addresses are to say about how traffic reaches the Service, nil for
// nothing. clusterUUID is the Controller cluster's.
func (w *Writer) Service(
	ctx context.Context, svc *corev1.Service, o outcome.Outcome, mode *corev1.LoadBalancerIPMode, clusterUUID string,
) error {
	next := svc.DeepCopy()
	if err := annotate(next, o, clusterUUID); err != nil {
		return err
	}
	want := steady(svc.Status.Conditions, conditions(o), o)
	next.Status.Conditions = merge(svc.Status.Conditions, want, metav1.NewTime(w.Now()))
	if o.Known() {
		next.Status.LoadBalancer.Ingress = kept(svc.Status.LoadBalancer.Ingress, ingress(o, svc, mode))
	}
	if text := problem(next.Status.Conditions); text != "" {
		metav1.SetMetaDataAnnotation(&next.ObjectMeta, AnnotationProblem, text)
	} else {
		delete(next.Annotations, AnnotationProblem)
	}
	if err := w.patch(ctx, svc, next); apierrors.IsInvalid(err) {
		return w.lessOf(ctx, svc, next, err)
	} else if err != nil {
		return err
	}
	if o.Known() && w.contest.again(svc.UID, svc.Status.LoadBalancer.Ingress, next.Status.LoadBalancer.Ingress) {
		w.Warn(svc, "StatusContested", "somebody else writes status.loadBalancer of this Service too, and it has been put right again; only one controller may serve a Service")
	}
	w.announce(next, svc.Status.Conditions, next.Status.Conditions, o)
	return nil
}

// lessOf writes the conditions alone where the API server refuses the rest of a status: what it says about the rest goes with
// them, so that one bad value doesn't leave a Service without a word.
func (w *Writer) lessOf(ctx context.Context, svc, wanted *corev1.Service, why error) error {
	next := svc.DeepCopy()
	next.Status.Conditions = slices.Clone(wanted.Status.Conditions)
	for i := range next.Status.Conditions {
		if c := &next.Status.Conditions[i]; c.Type == Programmed {
			c.Status, c.Reason, c.Message = metav1.ConditionFalse, "StatusRefused", clip(c.Message+"; the API server refuses the address in the status: "+why.Error())
		}
	}
	metav1.SetMetaDataAnnotation(&next.ObjectMeta, AnnotationProblem, problem(next.Status.Conditions))
	if err := w.patch(ctx, svc, next); err != nil {
		return errors.Join(why, err)
	}
	return nil
}

// contest notices that somebody else writes over the addresses in a status. The zero value is ready.
type contest struct {
	mu      sync.Mutex
	written map[types.UID]contested
}

type contested struct {
	ingress string
	times   int
}

// again reports whether addresses that were put right had been put right before.
func (c *contest) again(uid types.UID, have, want []corev1.LoadBalancerIngress) bool {
	const most = 10000 // only a memory: losing it costs one Event
	c.mu.Lock()
	defer c.mu.Unlock()
	if apiequality.Semantic.DeepEqual(have, want) {
		return false
	}
	if c.written == nil || len(c.written) > most {
		c.written = make(map[types.UID]contested)
	}
	now := contested{}
	for _, i := range want {
		now.ingress += i.IP + " " + i.Hostname + "\n"
	}
	if last := c.written[uid]; last.ingress == now.ingress {
		now.times = last.times + 1
	}
	c.written[uid] = now
	return now.times > 1
}

// steady leaves out of the wanted conditions what would only flutter.
func steady(have, want []metav1.Condition, o outcome.Outcome) []metav1.Condition {
	if apimeta.IsStatusConditionTrue(have, Programmed) && o.VSUUID != "" && o.Health == nil {
		// After a restart the inventory comes a moment later; what was known stands until then.
		want = slices.DeleteFunc(want, func(c metav1.Condition) bool { return c.Type == Healthy })
	}
	if was := apimeta.FindStatusCondition(have, Programmed); was != nil && was.Reason == model.ReasonControllerDown {
		// An outage has many different errors (refused, reset, suspended). Reporting each on every owner would be a storm of writes; that another
		// Controller is called is reported.
		same := strings.Contains(was.Message, o.Failure().Host)
		want = slices.DeleteFunc(want, func(c metav1.Condition) bool { return c.Type == Programmed && c.Reason == was.Reason && same })
	}
	return want
}

// Clear takes back what Service wrote, for a Service that is no longer ours, and leaves the result in svc. The API server
// itself has emptied the load balancer's status if the type changed, and refuses to have it written then.
func (w *Writer) Clear(ctx context.Context, svc *corev1.Service) error {
	next := svc.DeepCopy()
	for _, key := range annotations {
		delete(next.Annotations, key)
	}
	next.Status.Conditions = slices.DeleteFunc(next.Status.Conditions, ours)
	if svc.Spec.Type == corev1.ServiceTypeLoadBalancer && len(next.Status.Conditions) < len(svc.Status.Conditions) {
		next.Status.LoadBalancer.Ingress = nil // ours: the conditions say that we wrote it
	}
	if err := w.patch(ctx, svc, next); err != nil {
		return err
	}
	next.DeepCopyInto(svc)
	return nil
}

// HandBack takes back what Service wrote and AKO knows nothing of, and leaves the result in svc: the addresses, their DNS names and
// AKO's annotations are true as long as nothing changes on the Controller.
func (w *Writer) HandBack(ctx context.Context, svc *corev1.Service) (changed bool, err error) {
	next := svc.DeepCopy()
	delete(next.Annotations, AnnotationProblem)
	next.Status.Conditions = slices.DeleteFunc(next.Status.Conditions, ours)
	if len(next.Annotations) == len(svc.Annotations) && len(next.Status.Conditions) == len(svc.Status.Conditions) {
		return false, nil
	}
	if err := w.patch(ctx, svc, next); err != nil {
		return false, err
	}
	next.DeepCopyInto(svc)
	return true, nil
}

// ours reports whether a condition is one that the operator writes on Services.
func ours(c metav1.Condition) bool {
	return c.Type == Accepted || c.Type == Programmed || c.Type == Healthy
}

func (w *Writer) patch(ctx context.Context, svc, next *corev1.Service) error {
	same := apiequality.Semantic.DeepEqual(svc.Status, next.Status) && apiequality.Semantic.DeepEqual(svc.Annotations, next.Annotations)
	return w.Patch(ctx, svc, next, same)
}

// annotate sets AKO's annotations. Without a DNS name there are none.
func annotate(svc *corev1.Service, o outcome.Outcome, clusterUUID string) error {
	if !o.Known() {
		return nil // nothing is known that would make what stands there wrong
	}
	want := map[string]string{}
	if o.VSUUID != "" && len(o.FQDNs) > 0 {
		uuids := make(map[string]string, len(o.FQDNs))
		for _, f := range o.FQDNs {
			uuids[f] = o.VSUUID
		}
		raw, err := json.Marshal(uuids)
		if err != nil {
			return fmt.Errorf("encoding annotation %s: %w", AnnotationFQDNs, err)
		}
		want[AnnotationFQDNs], want[AnnotationTenant] = string(raw), o.Tenant
		if clusterUUID != "" {
			want[AnnotationClusterUUID] = clusterUUID
		}
	}
	for _, key := range []string{AnnotationFQDNs, AnnotationClusterUUID, AnnotationTenant} {
		if value, ok := want[key]; ok {
			metav1.SetMetaDataAnnotation(&svc.ObjectMeta, key, value)
		} else {
			delete(svc.Annotations, key)
		}
	}
	return nil
}

// problem is the message of the condition that says most about why something isn't served as asked, "" if all is well.
func problem(list []metav1.Condition) string {
	a, p := apimeta.FindStatusCondition(list, Accepted), apimeta.FindStatusCondition(list, Programmed)
	h := apimeta.FindStatusCondition(list, Healthy)
	switch {
	case a != nil && a.Status == metav1.ConditionFalse:
		return a.Reason + ": " + a.Message
	case p != nil && p.Status == metav1.ConditionFalse:
		return p.Reason + ": " + p.Message
	case a != nil && a.Reason != "Accepted":
		return a.Reason + ": " + a.Message
	case h != nil && h.Status == metav1.ConditionFalse:
		return h.Reason + ": " + h.Message
	}
	return ""
}

// eventTypes names the conditions whose changes become Events.
type eventTypes struct{ accepted, programmed string }

func (w *Writer) announce(about client.Object, before, after []metav1.Condition, o outcome.Outcome) {
	w.announceOf(about, before, after, o, eventTypes{Accepted, Programmed})
}

// announceOf emits Events for what changed between two lists of conditions. They are compared by status, reason and message, so an
// unchanged failure is reported once. Normal Events for a program done are called ensured and updated.
func (w *Writer) announceOf(about client.Object, before, after []metav1.Condition, o outcome.Outcome, of eventTypes) {
	if changed(before, after, of.accepted) {
		said := make(map[string]bool)
		for _, f := range o.Findings { // the gravest first
			if f.Severity != model.Note && !said[f.Message] {
				said[f.Message] = true
				w.event(about, corev1.EventTypeWarning, f.Reason, "Accept", f.Message)
			}
		}
	}
	now := apimeta.FindStatusCondition(after, of.programmed)
	switch {
	case now == nil || !changed(before, after, of.programmed):
	case now.Status == metav1.ConditionTrue:
		reason := "EnsuredLoadBalancer"
		if apimeta.IsStatusConditionTrue(before, of.programmed) {
			reason = "UpdatedLoadBalancer"
		}
		w.event(about, corev1.EventTypeNormal, reason, "Program", now.Message)
	case o.State() == outcome.Unread, o.State() == outcome.Failed:
		w.event(about, corev1.EventTypeWarning, o.Failure().Reason, "Program", now.Message)
	}
	w.announceHealth(about, before, after)
}

// announceHealth emits Events for what changed of condition Healthy.
func (w *Writer) announceHealth(about client.Object, before, after []metav1.Condition) {
	h, was := apimeta.FindStatusCondition(after, Healthy), apimeta.FindStatusCondition(before, Healthy)
	switch {
	case h == nil || !changed(before, after, Healthy):
	case h.Status == metav1.ConditionTrue && (was == nil || was.Status != metav1.ConditionTrue):
		w.event(about, corev1.EventTypeNormal, "LoadBalancerHealthy", "Monitor", h.Message)
	case h.Status == metav1.ConditionFalse && (was == nil || was.Status == metav1.ConditionUnknown):
		// Not yet: pods that start with their Service are no cause for alarm.
		w.event(about, corev1.EventTypeNormal, "LoadBalancerUnhealthy", "Monitor", h.Message)
	case h.Status == metav1.ConditionFalse && (was.Status != h.Status || was.Reason != h.Reason):
		w.event(about, corev1.EventTypeWarning, "LoadBalancerUnhealthy", "Monitor", h.Message)
	}
}

// Deleted emits the Event that nothing is left on the Controller.
func (w *Writer) Deleted(about client.Object, deleted int) {
	w.event(about, corev1.EventTypeNormal, "DeletedLoadBalancer", "Delete", fmt.Sprintf("%d objects were deleted from the Controller", deleted))
}

// Warn emits a Warning about something that is no condition of an owner that we serve.
func (w *Writer) Warn(about client.Object, reason, message string) {
	w.event(about, corev1.EventTypeWarning, reason, "Reconcile", message)
}

// Inform emits a Normal Event.
func (w *Writer) Inform(about client.Object, reason, message string) {
	w.event(about, corev1.EventTypeNormal, reason, "Reconcile", message)
}

// event emits an Event. The recorder counts those of one action and reason as one, of which only the first text is kept for six minutes
// (k8s.io/client-go/tools/events), so that each text is an action of its own.
func (w *Writer) event(about client.Object, kind, reason, action, note string) {
	if w.Silent != nil && w.Silent() {
		return
	}
	note = strings.TrimSpace(shorten(note, noteMax))
	wait := settling - w.Now().Sub(about.GetCreationTimestamp().Time)
	if wait > 0 && kind == corev1.EventTypeWarning && arriving[reason] && hasStatus(about) {
		if later, ok := about.DeepCopyObject().(client.Object); ok {
			time.AfterFunc(max(wait, cacheLag), func() { w.unlessArrived(later, reason, action, note) })
			return
		}
	}
	w.emit(about, kind, reason, action, note)
}

func (w *Writer) emit(about client.Object, kind, reason, action, note string) {
	w.Recorder.Eventf(about, nil, kind, reason, fmt.Sprintf("%s/%08x", action, crc32.ChecksumIEEE([]byte(note))), "%s", note)
}

// settling is how long what a new object lacks may still be on its way: kubectl apply creates a file's objects one after the other.
const settling = 5 * time.Second

// cacheLag is how long the cache may take to have a status that was just written: until then it would seem not to say so.
const cacheLag = 2 * time.Second

// arriving are the reasons that pass by themselves then.
var arriving = map[string]bool{
	model.ReasonInfraSettingMissing: true, model.ReasonNoGatewayClass: true, model.ReasonNoService: true, model.ReasonRuleMissing: true,
	model.ReasonReferenceMissing: true, model.ReasonInvalidParameters: true, model.ReasonServiceConflict: true,
	string(gatewayv1.RouteReasonBackendNotFound): true, string(gatewayv1.RouteReasonNoMatchingParent): true,
	string(gatewayv1.RouteReasonRefNotPermitted): true,
}

// hasStatus reports whether what Events say about an object is in its status too.
func hasStatus(o client.Object) bool {
	switch o.(type) {
	case *corev1.ConfigMap, *corev1.Node:
		return false
	}
	return true
}

// unlessArrived warns about an object if its status still says so.
func (w *Writer) unlessArrived(about client.Object, reason, action, note string) {
	ctx, cancel := context.WithTimeout(context.Background(), settling)
	defer cancel()
	uid := about.GetUID()
	if w.Client.Get(ctx, client.ObjectKeyFromObject(about), about) != nil || about.GetUID() != uid {
		return
	}
	status, err := json.Marshal(about)
	if err != nil {
		return
	}
	if text, err := json.Marshal(note); err == nil && bytes.Contains(status, bytes.Trim(text, `"`)) {
		w.emit(about, corev1.EventTypeWarning, reason, action, note)
	}
}

func changed(before, after []metav1.Condition, condition string) bool {
	was, is := apimeta.FindStatusCondition(before, condition), apimeta.FindStatusCondition(after, condition)
	if was == nil || is == nil {
		return was != is
	}
	return was.Status != is.Status || was.Reason != is.Reason || was.Message != is.Message
}
