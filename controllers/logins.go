// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
)

// +kubebuilder:rbac:groups="",namespace=system,resources=configmaps,resourceNames=avi-l4-login,verbs=get;update

// LoginName is the ConfigMap in the operator's namespace that says when the Controller last refused the credentials.
const LoginName = "avi-l4-login"

const loginKey = "refused"

// loginMemory keeps refused logins in a ConfigMap, for all replicas and for those that are started later: each start with a wrong
// password would be one more step towards a locked account. It holds no credentials: which ones were refused is told by the versions of
// the Secret and of the ConfigMap with the settings, so that a change of either is tried at once.
type loginMemory struct {
	live      client.Reader
	client    client.Client
	namespace string
	every     time.Duration // between two attempts with the same credentials
	dry       bool          // nothing is written
	now       func() time.Time
	log       logr.Logger
}

func logins(mgr ctrl.Manager, o Options) *loginMemory {
	return &loginMemory{
		live: mgr.GetAPIReader(), client: mgr.GetClient(), namespace: o.Namespace, every: max(o.Refresh, time.Second), dry: o.DryRun,
		now: time.Now, log: o.Log.WithName("login"),
	}
}

// refusal is what is kept.
type refusal struct {
	Credentials string      `json:"credentials"` // versions of Secret and ConfigMap
	At          metav1.Time `json:"at"`
	Answer      string      `json:"answer"`
}

// Refused implements avi.LoginMemory. What can't be read forbids nothing.
func (m *loginMemory) Refused(ctx context.Context) string {
	_, last, err := m.read(ctx)
	if err != nil {
		m.log.Error(err, "whether the credentials were refused before is not known")
		return ""
	}
	next := last.At.Add(m.every)
	if last.Credentials == "" || !m.now().Before(next) {
		return ""
	}
	if id, err := m.credentials(ctx); err != nil || id != last.Credentials {
		return ""
	}
	return fmt.Sprintf("%s (so answered the Controller at %s, before this process started; the next login is tried at %s, so that the account isn't locked, or as soon as Secret %s or ConfigMap %s changes)",
		last.Answer, last.At.UTC().Format(time.RFC3339), next.UTC().Format(time.RFC3339), settings.SecretName, settings.ConfigMapName)
}

// Note implements avi.LoginMemory.
func (m *loginMemory) Note(ctx context.Context, answer string) {
	if m.dry {
		return
	}
	id, err := m.credentials(ctx)
	if err == nil {
		err = m.write(ctx, refusal{Credentials: id, At: metav1.NewTime(m.now()), Answer: answer})
	}
	if err != nil && !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) { // another replica has noted the same
		m.log.Error(err, "a refused login is not kept; after a restart one more is made at once")
	}
}

func (m *loginMemory) write(ctx context.Context, r refusal) error {
	object, _, err := m.read(ctx)
	if err != nil {
		return err
	}
	text, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encoding a refused login: %w", err)
	}
	object.Data = map[string]string{loginKey: string(text)}
	if object.ResourceVersion == "" {
		return m.client.Create(ctx, object)
	}
	return m.client.Update(ctx, object)
}

// read returns the ConfigMap, a new one if there is none, and what it says. What isn't ours says nothing.
func (m *loginMemory) read(ctx context.Context) (*corev1.ConfigMap, refusal, error) {
	object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: m.namespace, Name: LoginName}}
	if err := m.live.Get(ctx, client.ObjectKeyFromObject(object), object); client.IgnoreNotFound(err) != nil {
		return nil, refusal{}, fmt.Errorf("reading ConfigMap %s/%s: %w", m.namespace, LoginName, err)
	}
	var r refusal
	if json.Unmarshal([]byte(object.Data[loginKey]), &r) != nil {
		r = refusal{}
	}
	return object, r, nil
}

// credentials identifies what a login is made with, without saying what it is.
func (m *loginMemory) credentials(ctx context.Context) (string, error) {
	secret, config := new(corev1.Secret), new(corev1.ConfigMap)
	if err := m.client.Get(ctx, types.NamespacedName{Namespace: m.namespace, Name: settings.SecretName}, secret); err != nil {
		return "", fmt.Errorf("reading Secret %s/%s: %w", m.namespace, settings.SecretName, err)
	}
	if err := m.client.Get(ctx, types.NamespacedName{Namespace: m.namespace, Name: settings.ConfigMapName}, config); err != nil {
		return "", fmt.Errorf("reading ConfigMap %s/%s: %w", m.namespace, settings.ConfigMapName, err)
	}
	return secret.ResourceVersion + "/" + config.ResourceVersion, nil
}
