package translate

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
)

// This file keeps what AKO has made of annotations that this release does not read: a live object that has such a thing stays as
// it is, and the owner says so. A feature that comes to be understood takes its lines away here.

const annotationSharedVIP = "ako.vmware.com/enable-shared-vip"

// unread are AKO's annotations on a Service that this release does not read, with what happens instead: to a Service that the
// Controller has nothing of, and to one that it serves.
var unread = []struct{ annotation, fresh, live string }{
	{annotationSharedVIP, "the Service gets an address of its own", "the Service keeps its own address"},
}

// tellUnread reports them.
func (b *builder) tellUnread(svc *corev1.Service) {
	for _, u := range unread {
		if svc.Annotations[u.annotation] == "" {
			continue
		}
		instead := u.fresh
		if b.in.Live.Exists {
			instead = u.live
		}
		b.report(model.Degraded, model.Port{}, model.ReasonUnusedField, "annotation "+u.annotation+" is not supported by this release: "+instead)
	}
}

// SharedVIP names the VirtualService that AKO has made for a Service together with others, of which this release reads nothing.
func SharedVIP(in *Input) (key model.Key, ok bool) {
	svc, isService := in.Owner.(Service)
	if !isService || svc.Object.Annotations[annotationSharedVIP] == "" {
		return key, false
	}
	group := model.Owner{Namespace: svc.Object.Namespace, Name: svc.Object.Annotations[annotationSharedVIP]}
	return model.Key{Kind: model.VirtualService, Tenant: in.Settings.Tenant, Name: VirtualServiceName(in.Settings, group)}, true
}

// SharedVIPKept says of a Service that such a VirtualService serves that it is left alone.
func SharedVIPKept(key model.Key) model.Finding {
	return model.Finding{Severity: model.Blocked, Reason: model.ReasonUnusedField, Message: fmt.Sprintf(
		"annotation %s is not supported by this release: VirtualService %s, which AKO made for the Services that share its address, stays as it is, and is not kept in step with their endpoints; remove the annotation to have the Service served on an address of its own",
		annotationSharedVIP, key.Name)}
}
