// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/avi-l4-operator/avi-l4-operator/internal/avi"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim"
)

// TestTokenKeeperSaysWhatToDo: once for each state, and when the Secret's token expires in a metric.
func TestTokenKeeperSaysWhatToDo(t *testing.T) {
	now := time.Date(2026, 11, 28, 5, 0, 0, 0, time.UTC)
	later, earlier := now.Add(time.Hour), now.Add(-time.Hour)
	var said strings.Builder
	var token avi.Token
	var failure error
	saved, saves := false, 0
	k := &tokenKeeper{
		keep: func(context.Context) (avi.Token, error) { return token, failure },
		save: func(context.Context) (bool, error) { saves++; return saved, nil },
		now:  func() time.Time { return now }, expires: prometheus.NewGauge(prometheus.GaugeOpts{Name: "x"}),
		log: funcr.New(func(_, args string) { said.WriteString(args) }, funcr.Options{}),
	}
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(k.expires)
	for _, c := range []struct {
		name  string
		token avi.Token
		err   error
		want  string // part of what is logged, "" for nothing
		gauge float64
	}{
		{"no token", avi.Token{}, nil, "", 0},
		{"a good one", avi.Token{Configured: true, Expires: later}, nil, "", float64(later.Unix())},
		{"renewed", avi.Token{Configured: true, Expires: later, Own: later}, nil, "a restart after its expiry can't log in", float64(later.Unix())},
		{"renewed still", avi.Token{Configured: true, Expires: later, Own: later}, nil, "", float64(later.Unix())},
		{"expired", avi.Token{Configured: true, Expires: earlier, Own: later}, nil, "the next one can't log in", float64(earlier.Unix())},
		{"with a password", avi.Token{Configured: true, Expires: earlier, Own: later, Password: true}, nil, "goes on with the password", float64(earlier.Unix())},
		{"of unknown end", avi.Token{Configured: true, Own: later}, nil, "unknown", 0},
		{"not renewed", avi.Token{Configured: true, Expires: later}, errors.New("forbidden"), "forbidden", float64(later.Unix())},
		{"not renewed still", avi.Token{Configured: true, Expires: later}, errors.New("forbidden"), "", float64(later.Unix())},
	} {
		token, failure = c.token, c.err
		said.Reset()
		if ok := k.look(t.Context()); ok != (c.err == nil) {
			t.Errorf("%s: looked after: %v", c.name, ok)
		}
		if got := said.String(); (got != "") != (c.want != "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: said %q, want %q", c.name, got, c.want)
		}
		families, err := metrics.Gather()
		if err != nil {
			t.Fatal(err)
		}
		if got := families[0].GetMetric()[0].GetGauge().GetValue(); got != c.gauge {
			t.Errorf("%s: metric %v, want %v", c.name, got, c.gauge)
		}
	}
	if saves != 1 {
		t.Errorf("a token that the Secret doesn't take was tried %d times", saves)
	}
	saved, token, failure = true, avi.Token{Configured: true, Expires: later, Own: later.Add(time.Hour)}, nil
	said.Reset()
	for range 2 {
		k.look(t.Context())
	}
	if got := said.String(); strings.Count(got, "written into the Secret") != 1 || strings.Contains(got, "can't log in") {
		t.Errorf("saved: said %q", got)
	}
}

// TestTokenSaver writes a token that the Controller made where the Secret has the one that it takes the place of, and nowhere else.
func TestTokenSaver(t *testing.T) {
	sim, err := avisim.New(avisim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := sim.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	cfg := avi.Config{Host: sim.Host(), Username: "admin", Password: "avi123$%", CA: sim.CAPEM(), Timeout: 5 * time.Second}
	connect := func(cfg avi.Config) *avi.Client {
		c, err := avi.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close(context.Background()) })
		return c
	}
	raw, err := connect(cfg).Create(t.Context(), "user-token", "", map[string]string{"hours": "1"})
	if err != nil {
		t.Fatal(err)
	}
	var given struct{ Token string }
	if err := json.Unmarshal(raw, &given); err != nil {
		t.Fatal(err)
	}
	cfg.AuthToken, cfg.Password = given.Token, ""
	forbidden := apierrors.NewForbidden(corev1.Resource("secrets"), settings.SecretName, errors.New("no"))
	for _, tt := range []struct {
		name, has string
		err       error
		saved     bool
	}{
		{"the same", given.Token + "\n", nil, true}, {"another by now", "another", nil, false}, {"none any more", "", nil, false},
		{"no right", given.Token, forbidden, false},
		{"changed meanwhile", given.Token, apierrors.NewConflict(corev1.Resource("secrets"), settings.SecretName, errors.New("changed")), false},
	} {
		c := connect(cfg)
		token, err := c.KeepToken(t.Context())
		if err != nil || token.Own.IsZero() {
			t.Fatalf("%s: no other token was made: %+v, %v", tt.name, token, err)
		}
		key := client.ObjectKey{Namespace: "avi-system", Name: settings.SecretName}
		kube := fake.NewClientBuilder().WithObjects(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name},
			Data: map[string][]byte{"username": []byte("admin"), "authtoken": []byte(tt.has)}}).WithInterceptorFuncs(interceptor.Funcs{
			Patch: func(ctx context.Context, w client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
				if tt.err != nil {
					return tt.err
				}
				return w.Patch(ctx, o, p, opts...)
			}}).Build()
		_, own := c.OwnToken()
		saved, err := tokenSaver(kube, kube, key, c)(t.Context())
		if err != nil || saved != tt.saved {
			t.Errorf("%s: saved %t, %v", tt.name, saved, err)
		}
		has := tt.has
		if tt.saved {
			has = own
		}
		secret := new(corev1.Secret)
		if err := kube.Get(t.Context(), key, secret); err != nil || string(secret.Data["authtoken"]) != has || len(secret.Data) != 2 {
			t.Errorf("%s: the Secret has %v, %v", tt.name, secret.Data, err)
		}
		c.Close(t.Context())
		next := cfg
		next.AuthToken = own
		if _, err := connect(next).KeepToken(t.Context()); (err == nil) != tt.saved {
			t.Errorf("%s: a login with the token after the client's end: %v", tt.name, err)
		}
	}
}
