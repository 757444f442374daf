// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/avi-l4-operator/avi-l4-operator/internal/avi"
)

// TestTokenKeeperSaysWhatToDo: once for each state, and when the Secret's token expires in a metric.
func TestTokenKeeperSaysWhatToDo(t *testing.T) {
	now := time.Date(2026, 11, 28, 5, 0, 0, 0, time.UTC)
	later, earlier := now.Add(time.Hour), now.Add(-time.Hour)
	var said strings.Builder
	var token avi.Token
	var failure error
	k := &tokenKeeper{
		keep: func(context.Context) (avi.Token, error) { return token, failure },
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
}
