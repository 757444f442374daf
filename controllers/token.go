// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"

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
// that it has made into the Secret. The operator's role can't change Secrets, and shall not: what it has made stays in memory, and
// what a person has to do before the next restart is said.
type tokenKeeper struct {
	keep    func(context.Context) (avi.Token, error)
	every   time.Duration
	now     func() time.Time
	log     logr.Logger
	expires prometheus.Gauge

	said string // the last that was logged, which is logged once
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
