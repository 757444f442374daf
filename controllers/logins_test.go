// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/avi-l4-operator/avi-l4-operator/internal/avi"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim"
)

// TestRestartsDoNotLockTheAccount: with a wrong password, however often the operator is started, one login is made in each refresh
// interval, and one at once when Secret or settings changed.
func TestRestartsDoNotLockTheAccount(t *testing.T) {
	ctx := context.Background()
	sim, err := avisim.New(avisim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := sim.Start(); err != nil {
		t.Fatal(err)
	}
	defer sim.Close()
	meta := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: "avi-system", Name: name} }
	secret := &corev1.Secret{ObjectMeta: meta(settings.SecretName)}
	config := &corev1.ConfigMap{ObjectMeta: meta(settings.ConfigMapName)}
	kube := fake.NewClientBuilder().WithObjects(secret, config).Build()
	now := time.Now()
	start := func() {
		t.Helper()
		c, err := avi.New(avi.Config{Host: sim.Host(), Username: "admin", Password: "wrong", CA: sim.CAPEM()})
		if err != nil {
			t.Fatal(err)
		}
		c.RememberLogins(&loginMemory{live: kube, client: kube, namespace: "avi-system", every: 10 * time.Minute,
			now: func() time.Time { return now }, log: logr.Discard()})
		for range 3 {
			if _, err := c.Get(ctx, "", "/api/cloud", nil); avi.ReasonOf(err) != avi.ReasonCredentials {
				t.Errorf("a call with a wrong password: %v", err)
			}
		}
	}
	logins := 0
	for _, step := range []struct {
		name   string
		before func() error
		want   int
	}{
		{"the first start", func() error { return nil }, 1},
		{"restarts", func() error { now = now.Add(time.Minute); return nil }, 0},
		{"a new Secret", func() error { secret.Data = map[string][]byte{"a": nil}; return kube.Update(ctx, secret) }, 1},
		{"restarts after it", func() error { return nil }, 0},
		{"new settings", func() error { config.Data = map[string]string{"a": ""}; return kube.Update(ctx, config) }, 1},
		{"a refresh interval later", func() error { now = now.Add(10 * time.Minute); return nil }, 1},
	} {
		if err := step.before(); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			start()
		}
		n := 0
		for _, r := range sim.Requests() {
			if r.Path == "/login" {
				n++
			}
		}
		if n-logins != step.want {
			t.Errorf("%s: %d logins, want %d", step.name, n-logins, step.want)
		}
		logins = n
	}
}
