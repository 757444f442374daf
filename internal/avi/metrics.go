// SPDX-License-Identifier: Apache-2.0

package avi

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics of all requests. Labels are bounded: the kinds are those that this program's code asks for.
type metrics struct {
	requests *prometheus.CounterVec
	latency  *prometheus.HistogramVec
	logins   *prometheus.CounterVec
	breaker  prometheus.Gauge

	concurrency, rate prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "avi_l4_api_requests_total",
			Help: "Requests to the Avi Controller by method, kind of object, route with {uuid} for a UUID, and HTTP status or error, timeout, canceled.",
		}, []string{"method", "kind", "route", "code"}),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "avi_l4_api_request_duration_seconds",
			Help: "Time from sending a request to the Avi Controller to the end of its answer.",
			// A Controller reads in about 20 ms and writes in about 150 ms; the default timeout is 30 s.
			Buckets: []float64{.005, .01, .025, .05, .1, .2, .4, .8, 1.6, 3.2, 6.4, 12.8, 30},
		}, []string{"method", "kind"}),
		logins: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "avi_l4_api_logins_total",
			Help: "Logins to the Avi Controller by result: success, refused (wrong credentials), error.",
		}, []string{"result"}),
		breaker: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "avi_l4_api_breaker_state",
			Help: "Circuit breaker of the Avi Controller: 0 closed (calls go out), 1 half-open (probing), 2 open (calls fail at once).",
		}),
	}
	m.concurrency = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "avi_l4_api_concurrency_limit",
		Help: "Requests to the Avi Controller that may be under way at a time, as learnt from its answers.",
	})
	m.rate = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "avi_l4_api_rate_limit",
		Help: "Requests per second that the Avi Controller takes, as learnt from its refusals (429); 0 if no limit is known.",
	})
	if reg == nil {
		return m, nil
	}
	var err error
	m.requests = register(reg, m.requests, &err)
	m.latency = register(reg, m.latency, &err)
	m.logins = register(reg, m.logins, &err)
	m.breaker = register(reg, m.breaker, &err)
	m.concurrency = register(reg, m.concurrency, &err)
	m.rate = register(reg, m.rate, &err)
	return m, err
}

// register returns c, or the same collector of an earlier Client: a process may make several.
func register[C prometheus.Collector](reg prometheus.Registerer, c C, errp *error) C {
	err := reg.Register(c)
	var are prometheus.AlreadyRegisteredError
	if errors.As(err, &are) {
		if old, ok := are.ExistingCollector.(C); ok {
			return old
		}
	}
	*errp = errors.Join(*errp, err)
	return c
}
