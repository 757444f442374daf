// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/avi-l4-operator/avi-l4-operator/internal/apply"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
)

var (
	ownedDesc   = prometheus.NewDesc("avi_l4_objects", "Objects of this operator on the Controller, as last read.", []string{"kind"}, nil)
	ageDesc     = prometheus.NewDesc("avi_l4_mirror_age_seconds", "Time since everything was last read from the Controller; -1 before the first time.", nil, nil)
	waitingDesc = prometheus.NewDesc("avi_l4_services_failing", "Services and shared VIPs whose last run failed.", nil, nil)
	gatewayDesc = prometheus.NewDesc("avi_l4_gateways_failing", "Gateways of both APIs whose last run failed.", nil, nil)
	invalidDesc = prometheus.NewDesc("avi_l4_settings_invalid", "1 if ConfigMap or Secret can't be used as they stand, else 0.", nil, nil)
	othersDesc  = prometheus.NewDesc("avi_l4_cluster_name_taken", "1 while clusterName belongs to another cluster on the Controller and nothing is written, else 0.", nil, nil)
)

// instruments are the counters that the engine and the sweeper drive.
type instruments struct {
	steps *prometheus.CounterVec
	held  prometheus.Gauge
	// deletions are those that a guard holds.
	deletions *prometheus.GaugeVec
	token     prometheus.Gauge
}

func newInstruments() *instruments {
	return &instruments{
		steps:     prometheus.NewCounterVec(prometheus.CounterOpts{Name: "avi_l4_plan_steps_total", Help: "Steps of plans, by operation, kind of object and result: done, failed or skipped."}, []string{"op", "kind", "result"}),
		held:      prometheus.NewGauge(prometheus.GaugeOpts{Name: "avi_l4_orphans_held", Help: "VirtualServices whose Services don't exist and whose deletion is held, because they are too many at once."}),
		deletions: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "avi_l4_deletions_held", Help: "Owners whose deletion a guard holds: deselected by settings or labels, or lost because they don't exist."}, []string{"guard"}),
		token:     prometheus.NewGauge(prometheus.GaugeOpts{Name: "avi_l4_token_expiry_timestamp_seconds", Help: "When the user token of the Secret expires, in Unix time; 0 if there is none, or if it isn't known."}),
	}
}

func (i *instruments) step(r apply.StepResult) {
	result := "done"
	switch {
	case r.Skipped:
		result = "skipped"
	case r.Err != nil:
		result = "failed"
	}
	i.steps.WithLabelValues(string(r.Step.Op), string(r.Step.Key.Kind), result).Inc()
}

// Describe implements prometheus.Collector.
func (op *Operator) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{ownedDesc, ageDesc, waitingDesc, gatewayDesc, invalidDesc, othersDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector: what can be read off when it is asked for.
func (op *Operator) Collect(ch chan<- prometheus.Metric) {
	counts := map[model.Kind]int{}
	for _, o := range op.Mirror.All() {
		counts[o.Key.Kind]++
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	for _, kind := range model.Written {
		gauge(ownedDesc, float64(counts[kind]), string(kind))
	}
	age := -1.0
	if at := op.Mirror.LoadedAt(); !at.IsZero() {
		age = time.Since(at).Seconds()
	}
	gauge(ageDesc, age)
	failing := map[string]int{}
	for _, o := range op.Owners {
		failing[o.Kind().Noun()] += o.Failing()
	}
	gauge(waitingDesc, float64(failing["Service"]+failing["SharedVIP"]))
	gauge(gatewayDesc, float64(failing["Gateway"]))
	invalid := 0.0
	if op.Settings.Err() != nil {
		invalid = 1
	}
	gauge(invalidDesc, invalid)
	others := 0.0
	if op.Mirror.Others() != nil {
		others = 1
	}
	gauge(othersDesc, others)
}
