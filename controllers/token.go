// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/avi-l4-operator/avi-l4-operator/internal/avi"
	"github.com/avi-l4-operator/avi-l4-operator/internal/settings"
)

const (
	// tokenCheck is how often the Controller's user token is looked after; there is a call only if there is something to do.
	tokenCheck = time.Minute
	// tokenRetry is how long a call that failed is not made again.
	tokenRetry = 10 * time.Minute
)

// tokenKeeper keeps an operator that logs in with a user token from losing its access when the token expires. AKO writes the token
// that it has made into the Secret. So does the operator where its role lets it, which is for the site to decide; else what it has made
// stays in memory, and what a person has to do before the next restart is said.
type tokenKeeper struct {
	keep    func(context.Context) (avi.Token, error)
	save    func(context.Context) (saved bool, err error) // writes a token that was made into the Secret
	every   time.Duration
	now     func() time.Time
	log     logr.Logger
	expires prometheus.Gauge

	said    string    // the last that was logged, which is logged once
	unsaved time.Time // when the token expires that the Secret could not take
}

// run looks after the token until the context ends. A call that fails is made again the next time.
func (k *tokenKeeper) run(ctx context.Context) error {
	for {
		wait := k.every
		if !k.look(ctx) {
			wait = max(wait, tokenRetry)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// look reports whether the token could be looked after.
func (k *tokenKeeper) look(ctx context.Context) bool {
	token, err := k.keep(ctx)
	if ctx.Err() != nil {
		return true
	}
	k.expires.Set(0)
	if !token.Expires.IsZero() {
		k.expires.Set(float64(token.Expires.Unix()))
	}
	switch {
	case err != nil:
		k.say("fails: "+err.Error(), func() {
			k.log.Error(err, "the user token can't be renewed; put another one into the Secret before it expires", "secret", settings.SecretName, "expires", when(token.Expires))
		})
	case token.Own.IsZero():
		k.said = ""
	case k.saved(ctx, token):
		k.say("saved", func() {
			k.log.Info("the user token has been renewed and written into the Secret", "secret", settings.SecretName, "expires", when(token.Own))
		})
	case token.Password:
		k.say("password", func() {
			k.log.Info("the user token has been renewed in memory; a restart goes on with the password of the Secret", "secret", settings.SecretName, "expires", when(token.Expires), "renewed until", when(token.Own))
		})
	case !token.Expires.IsZero() && !k.now().Before(token.Expires):
		k.say("expired", func() {
			k.log.Error(nil, "the user token of the Secret has expired; this process goes on with one of its own, but the next one can't log in: put a token or a password into the Secret", "secret", settings.SecretName, "expired", when(token.Expires))
		})
	default:
		k.say("renewed", func() {
			k.log.Info("the user token has been renewed in memory; put another one, or a password, into the Secret, or a restart after its expiry can't log in", "secret", settings.SecretName, "expires", when(token.Expires), "renewed until", when(token.Own))
		})
	}
	return err == nil
}

// saved writes a token that the Controller made into the Secret, once: what the API server refuses is refused the next time, too.
func (k *tokenKeeper) saved(ctx context.Context, token avi.Token) bool {
	if token.Own.Equal(k.unsaved) {
		return false
	}
	saved, err := k.save(ctx)
	if err != nil {
		k.log.Error(err, "the renewed user token can't be written into the Secret", "secret", settings.SecretName)
	}
	if !saved {
		k.unsaved = token.Own
	}
	return saved
}

// tokenSaver returns a function that writes the client's own token into the Secret, if that still has the one that the client began with
// and the operator's role allows it.
func tokenSaver(kube client.Client, live client.Reader, secret client.ObjectKey, c *avi.Client) func(context.Context) (bool, error) {
	return func(ctx context.Context) (bool, error) {
		given, own := c.OwnToken()
		o := new(corev1.Secret)
		if err := live.Get(ctx, secret, o); err != nil {
			return false, fmt.Errorf("reading Secret %s: %w", secret, err)
		}
		if own == "" || strings.TrimSpace(string(o.Data["authtoken"])) != given {
			return false, nil // the Secret's is another one by now
		}
		before := o.DeepCopy()
		o.Data["authtoken"] = []byte(own)
		err := kube.Patch(ctx, o, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
		switch {
		case apierrors.IsForbidden(err), apierrors.IsConflict(err):
			return false, nil
		case err != nil:
			return false, fmt.Errorf("writing Secret %s: %w", secret, err)
		}
		c.TokenKept(own)
		return true, nil
	}
}

// say logs what is news.
func (k *tokenKeeper) say(what string, log func()) {
	if k.said != what {
		k.said = what
		log()
	}
}

// when is a time for people.
func when(t time.Time) string {
	if t.IsZero() {
		return "unknown"
	}
	return t.UTC().Format(time.RFC3339)
}
