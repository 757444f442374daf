// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
)

// clusterUID reads the UID of Namespace kube-system, which is made with the cluster and goes with it, once.
func clusterUID(live client.Reader) func(context.Context) (string, error) {
	var mu sync.Mutex
	var uid string
	return func(ctx context.Context) (string, error) {
		mu.Lock()
		defer mu.Unlock()
		if uid != "" {
			return uid, nil
		}
		ns := new(metav1.PartialObjectMetadata)
		ns.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
		if err := live.Get(ctx, client.ObjectKey{Name: metav1.NamespaceSystem}, ns); err != nil {
			return "", err
		}
		uid = string(ns.UID)
		return uid, nil
	}
}

// known are the owners of all kinds that the cluster has, whether or not they are served.
func (op *Operator) known(ctx context.Context) (map[model.Owner]bool, error) {
	all := make(map[model.Owner]bool)
	for _, o := range op.Owners {
		some, err := o.Remaining(ctx)
		if err != nil {
			return nil, err
		}
		maps.Copy(all, some)
	}
	return all, nil
}

// statuses are the addresses that the statuses of owners of all kinds have, as the operator wrote them.
func (op *Operator) statuses(ctx context.Context) (map[netip.Addr]bool, error) {
	all := make(map[netip.Addr]bool)
	for _, o := range op.Owners {
		some, err := o.Addresses(ctx)
		if err != nil {
			return nil, err
		}
		for _, a := range some {
			all[a] = true
		}
	}
	return all, nil
}

// refused returns a function that emits an Event on the ConfigMap when the cluster's name is found to belong to another cluster.
func refused(recorder events.EventRecorder, namespace string) func(error) {
	about := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: settings.ConfigMapName}}
	return func(err error) {
		note := err.Error()
		note = strings.ToValidUTF8(note[:min(len(note), 1000)], "")
		recorder.Eventf(about, nil, corev1.EventTypeWarning, model.ReasonNameTaken, "Identify", "%s", note)
	}
}

// OwnName fails while the cluster's name on the Controller is, or may be, another cluster's. It is a check of its own, so that the
// list of checks names it.
func (op *Operator) OwnName(*http.Request) error {
	if err := op.Mirror.Others(); err != nil {
		return fmt.Errorf("whose clusterName it is: %w", err)
	}
	return nil
}

// toRecord says in a preview what has yet to be written about the cluster's name, "" if nothing.
func (op *Operator) toRecord() string {
	if what := op.Mirror.ToRecord(); what != "" {
		return "Once, to record that the clusterName is this cluster's: " + what + ".\n"
	}
	return ""
}
