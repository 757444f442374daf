// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"net/netip"

	corev1 "k8s.io/api/core/v1"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
)

// Owner is the Kubernetes object that wants a set of Avi objects, read by the rules of its kind: a Service, a Gateway, a
// SvcAPIGateway or a SharedVIP. What differs between kinds of owner is in their implementations of this interface, and nowhere else.
type Owner interface {
	// Key names the object.
	Key() model.Owner
	// Annotations are the object's own, or those of the Service that decides about a group.
	Annotations() map[string]string
	// Restraint is what keeps changes of the object from being carried out.
	Restraint() Restraint
	// led is the owner with those of its Services first that decide about it, beside what is served already.
	led(b *builder) Owner
	// speaker names the Service whose annotations they are, where it is one of several; else it is empty.
	speaker() string

	// addresses, listeners, names (in DNS) and labels (markers, as pairs of key and value) are what the object asks for. Each
	// reports what it can't have.
	addresses(b *builder) []netip.Addr
	listeners(b *builder) []listener
	names(b *builder, listeners []listener) []string
	labels(b *builder) []string
	// sourceRanges are the prefixes of the clients that are let in, as they are written, and where; none: all are. An empty annotation is
	// a place without prefixes.
	sourceRanges() (where string, prefixes []string)

	// poolName is the name of the pool for a Service's port behind a listener, and pools lists the pools that the object may
	// want, by name, with the ports of the listeners before them.
	poolName(s *settings.Settings, svc *corev1.Service, servicePort int32, listener model.Port) string
	pools(in *Input) map[string]model.Port
	// backendText names a Service behind a listener in a sentence about its endpoints.
	backendText(svc *corev1.Service) string

	// The marks are the markers of the objects besides the cluster's, in AKO's order, and the metadata their service_metadata.
	virtualServiceMarks() []string
	policySetMarks(protocols string) []string
	poolMarks(l listener, t target) []string
	virtualServiceMetadata(names []string) metadata
	poolMetadata(l listener, t target) metadata
}

// Verdict reports whether an object is one for this operator.
type Verdict struct {
	Ours bool
	// Elsewhere: another owner serves it, which decides about it.
	Elsewhere bool
	// Unknown: its class doesn't exist, which says nothing.
	Unknown bool
	// Why says why it is not ours.
	Why string
}
