// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
)

// The operator reads its own two objects and no others.
// +kubebuilder:rbac:groups="",namespace=system,resources=configmaps,resourceNames=avi-k8s-config,verbs=get;list;watch
// +kubebuilder:rbac:groups="",namespace=system,resources=secrets,resourceNames=avi-secret,verbs=get;list;watch

// SettingsReconciler keeps the settings in force equal to the ConfigMap and the Secret. It runs on every replica, since
// a standby has to know the Controller as well. What is invalid is reported and changes nothing.
type SettingsReconciler struct {
	Client    client.Client
	Recorder  events.EventRecorder
	Store     *settings.Store
	Namespace string
	// CAFile is a file of further PEM certificates to trust, read again every CAPoll; empty for none.
	CAFile string
	CAPoll time.Duration
	// Apply puts new settings and credentials in force: connection, mirror, log level.
	Apply func(*settings.Settings, settings.Credentials) error
	// Unusable is called when there are no valid settings at all, so that the owners that wait can say so.
	Unusable func()

	mu       sync.Mutex
	applied  *settings.Credentials
	reported string // the last problem, which is reported once
}

// Reconcile reads both objects, whichever of them changed.
func (r *SettingsReconciler) Reconcile(ctx context.Context, _ ctrl.Request) (ctrl.Result, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	result := ctrl.Result{}
	if r.CAFile != "" {
		result.RequeueAfter = r.CAPoll
	}
	config, secret := new(corev1.ConfigMap), new(corev1.Secret)
	if exists, err := r.read(ctx, settings.ConfigMapName, config); err != nil {
		return result, err
	} else if exists && config.Data == nil {
		config.Data = map[string]string{}
	}
	if exists, err := r.read(ctx, settings.SecretName, secret); err != nil {
		return result, err
	} else if exists && secret.Data == nil {
		secret.Data = map[string][]byte{}
	}
	next, credentials, err := settings.Parse(config.Data, secret.Data, r.Namespace)
	if err == nil {
		err = r.addCA(credentials)
	}
	if err != nil {
		var problem *settings.Problem
		if errors.As(err, &problem) && problem.Object.Kind == "Secret" {
			r.report(ctx, secret, err)
		} else {
			r.report(ctx, config, err)
		}
		return result, nil
	}
	r.reported, next.Released = "", released(config.Annotations[AnnotationRelease])
	current := r.Store.Current()
	if r.Store.Err() == nil && reflect.DeepEqual(current, next) && reflect.DeepEqual(r.applied, credentials) {
		return result, nil
	}
	log := ctrl.LoggerFrom(ctx)
	if current == nil {
		if len(next.Ignored) > 0 {
			log.Info("settings that mean nothing to this operator are ignored", "keys", strings.Join(next.Ignored, " "))
		}
		if len(next.Unknown) > 0 {
			log.Info("settings that neither this operator nor AKO knows are ignored; check their spelling", "keys", strings.Join(next.Unknown, " "))
		}
	}
	if err := r.Apply(next, *credentials); err != nil {
		r.report(ctx, config, err)
		return result, nil
	}
	r.applied = credentials
	log.Info("settings are in force", "cluster", next.ClusterName, "controller", next.Controller, "cloud", next.Cloud, "tenant", next.Tenant,
		"createdBy", next.CreatedBy)
	return result, nil
}

// read reads one of the two objects and reports whether it exists. One that doesn't has its name all the same, for Events.
func (r *SettingsReconciler) read(ctx context.Context, name string, into client.Object) (exists bool, err error) {
	err = r.Client.Get(ctx, types.NamespacedName{Namespace: r.Namespace, Name: name}, into)
	switch {
	case err == nil:
		return true, nil
	case !apierrors.IsNotFound(err):
		return false, fmt.Errorf("reading %T %s/%s: %w", into, r.Namespace, name, err)
	}
	into.SetNamespace(r.Namespace)
	into.SetName(name)
	return false, nil
}

func (r *SettingsReconciler) addCA(c *settings.Credentials) error {
	if r.CAFile == "" {
		return nil
	}
	pem, err := os.ReadFile(r.CAFile)
	if err != nil {
		return fmt.Errorf("reading the file of certificates to trust: %w", err)
	}
	c.CA = bytes.Join([][]byte{c.CA, pem}, []byte("\n"))
	return nil
}

// report reports a problem in the log and as an Event, once for as long as it stays the same. The Event is about the object that has
// the problem, or that is missing: it is found in the operator's namespace in either case.
func (r *SettingsReconciler) report(ctx context.Context, about client.Object, err error) {
	r.Store.Reject(err)
	if err.Error() == r.reported {
		return
	}
	if r.Store.Current() == nil {
		r.Unusable()
	}
	r.reported = err.Error()
	kept := ""
	if r.Store.Current() != nil {
		kept = "; the last valid settings stay in force"
	}
	ctrl.LoggerFrom(ctx).Error(err, "the settings can't be used"+kept)
	note := err.Error() + kept
	note = strings.ToValidUTF8(note[:min(len(note), 1000)], "")
	r.Recorder.Eventf(about, nil, corev1.EventTypeWarning, model.ReasonConfigurationInvalid, "Configure", "%s", note)
}

// SetupWithManager registers the watches.
func (r *SettingsReconciler) SetupWithManager(mgr ctrl.Manager) error {
	request := reconcile.Request{NamespacedName: types.NamespacedName{Namespace: r.Namespace, Name: settings.ConfigMapName}}
	one := handler.EnqueueRequestsFromMapFunc(func(context.Context, client.Object) []reconcile.Request { return []reconcile.Request{request} })
	return ctrl.NewControllerManagedBy(mgr).
		Named("settings").
		Watches(&corev1.ConfigMap{}, one).
		Watches(&corev1.Secret{}, one).
		WatchesRawSource(once(request)). // where neither object exists there is no event, and that has to be reported
		WithOptions(controller.Options{RateLimiter: rateLimiter(), NeedLeaderElection: new(false)}).
		Complete(r)
}
