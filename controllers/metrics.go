// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"cmp"
	"context"
	"runtime"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/avi-l4-operator/avi-l4-operator/internal/apply"
	"github.com/avi-l4-operator/avi-l4-operator/internal/engine"
	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
	"github.com/avi-l4-operator/avi-l4-operator/internal/plan"
	"github.com/avi-l4-operator/avi-l4-operator/internal/version"
)

var (
	ownedDesc   = prometheus.NewDesc("avi_l4_objects", "Objects of this operator on the Controller, as last read.", []string{"kind"}, nil)
	ageDesc     = prometheus.NewDesc("avi_l4_mirror_age_seconds", "Time since the leader last read everything from the Controller; -1 before the first time. A standby has none.", nil, nil)
	waitingDesc = prometheus.NewDesc("avi_l4_services_failing", "Services and shared VIPs whose last run failed.", nil, nil)
	gatewayDesc = prometheus.NewDesc("avi_l4_gateways_failing", "Gateways of both APIs whose last run failed.", nil, nil)
	invalidDesc = prometheus.NewDesc("avi_l4_settings_invalid", "1 if ConfigMap or Secret can't be used as they stand, else 0.", nil, nil)
	othersDesc  = prometheus.NewDesc("avi_l4_cluster_name_taken", "1 while clusterName belongs to another cluster on the Controller and nothing is written, else 0.", nil, nil)
)

var (
	conditionsDesc = prometheus.NewDesc("avi_l4_owners", "Services and Gateways that are served, by what their conditions say: Accepted, Programmed and Healthy.",
		[]string{"kind", "condition", "status", "reason"}, nil)
	healthDesc  = prometheus.NewDesc("avi_l4_virtualservices", "VirtualServices of ours by operational state, as the Controller's inventory says: up, down, ...; unknown before it was read. A standby has none.", []string{"state"}, nil)
	serversDesc = prometheus.NewDesc("avi_l4_servers", "Enabled servers in pools of ours by state: up or down. A standby has none.", []string{"state"}, nil)
)

// instruments are the counters that the engine and the sweeper drive.
type instruments struct {
	steps *prometheus.CounterVec
	held  prometheus.Gauge
	// deletions are those that a guard holds.
	deletions *prometheus.GaugeVec
	token     prometheus.Gauge
	build     prometheus.Gauge
	took      *prometheus.HistogramVec
	drift     *prometheus.CounterVec
	fixed     *prometheus.CounterVec
}

func newInstruments() *instruments {
	return &instruments{
		steps:     prometheus.NewCounterVec(prometheus.CounterOpts{Name: "avi_l4_plan_steps_total", Help: "Steps of plans, by operation, kind of object and result: done, failed or skipped."}, []string{"op", "kind", "result"}),
		held:      prometheus.NewGauge(prometheus.GaugeOpts{Name: "avi_l4_orphans_held", Help: "VirtualServices whose Services don't exist and whose deletion is held, because they are too many at once."}),
		deletions: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "avi_l4_deletions_held", Help: "Owners whose deletion a guard holds: deselected by settings or labels, or lost because they don't exist."}, []string{"guard"}),
		token:     prometheus.NewGauge(prometheus.GaugeOpts{Name: "avi_l4_token_expiry_timestamp_seconds", Help: "When the user token of the Secret expires, in Unix time; 0 if there is none, or if it isn't known."}),
		build:     buildInfo(),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "avi_l4_stage_duration_seconds",
			Help: "Time that a stage of a run for one owner took: gather, translate, plan, apply, status.",
			// The first three compute for microseconds; apply makes calls of some 150 ms, one after the other where references ask for it.
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .05, .1, .25, .5, 1, 2.5, 5, 15, 60}}, []string{"stage"}),
		drift: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "avi_l4_drift_found_total", Help: "Objects that others changed or deleted on the Controller, in fields that are ours, by kind of object."}, []string{"kind"}),
		fixed: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "avi_l4_drift_repaired_total", Help: "Objects put right after others had changed or deleted them, by kind of object."}, []string{"kind"}),
	}
}

func buildInfo() prometheus.Gauge {
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "avi_l4_build_info", Help: "Always 1; the labels say which release runs, as --version does, and what it was built with.",
		ConstLabels: prometheus.Labels{"version": version.String(), "goversion": runtime.Version()}})
	g.Set(1)
	return g
}

// collectors are all of them.
func (i *instruments) collectors() []prometheus.Collector {
	return []prometheus.Collector{i.steps, i.held, i.deletions, i.token, i.build, i.took, i.drift, i.fixed}
}

// watch connects the engine to its metrics. Every series is there from the start, so that a rate begins at zero.
func (i *instruments) watch() engine.Watch {
	took := make(map[engine.Stage]prometheus.Observer)
	for _, s := range engine.Stages() {
		took[s] = i.took.WithLabelValues(string(s))
	}
	for _, kind := range model.Written {
		i.drift.WithLabelValues(string(kind))
		i.fixed.WithLabelValues(string(kind))
	}
	for _, g := range []plan.Guard{plan.GuardDeselected, plan.GuardLost} {
		i.deletions.WithLabelValues(string(g))
	}
	return engine.Watch{
		Took: func(s engine.Stage, d time.Duration) { took[s].Observe(d.Seconds()) },
		Drift: func(kind model.Kind, repaired bool) {
			counter := i.drift
			if repaired {
				counter = i.fixed
			}
			counter.WithLabelValues(string(kind)).Inc()
		},
	}
}

// conditionCount is what owners are counted by.
type conditionCount struct{ kind, condition, status, reason string }

// countConditions counts those of an owner's conditions that are the operator's: both spellings of their types are one.
func countConditions(counts map[conditionCount]int, kind string, list []metav1.Condition) {
	for _, c := range list {
		switch name := strings.TrimPrefix(c.Type, "ako.vmware.com/"); name {
		case "Accepted", "Programmed", "Healthy":
			counts[conditionCount{kind, name, string(c.Status), c.Reason}]++
		}
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
	for _, d := range []*prometheus.Desc{ownedDesc, ageDesc, waitingDesc, gatewayDesc, invalidDesc, othersDesc,
		conditionsDesc, healthDesc, serversDesc} {
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
	if op.leading.Load() { // a standby reads little, and its numbers would be old ones
		age := -1.0
		if at := op.Mirror.LoadedAt(); !at.IsZero() {
			age = time.Since(at).Seconds()
		}
		gauge(ageDesc, age)
		op.collectHealth(gauge)
	}
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
	for _, o := range op.Owners {
		for c, n := range o.Conditions(context.Background()) {
			gauge(conditionsDesc, float64(n), c.kind, c.condition, c.status, c.reason)
		}
	}
}

// collectHealth counts what the Controller's inventory says of our VirtualServices and servers.
func (op *Operator) collectHealth(gauge func(*prometheus.Desc, float64, ...string)) {
	states := map[string]int{"up": 0, "down": 0}
	up, down := 0, 0
	for _, o := range op.Mirror.All() {
		switch o.Key.Kind {
		case model.VirtualService:
			h, _ := op.Mirror.VSHealth(o.UUID)
			states[cmp.Or(strings.ToLower(strings.TrimPrefix(h.State, "OPER_")), "unknown")]++
		case model.Pool:
			h, _ := op.Mirror.PoolHealth(o.UUID)
			up, down = up+h.Up, down+max(0, h.Servers-h.Up)
		}
	}
	for state, n := range states {
		gauge(healthDesc, float64(n), state)
	}
	gauge(serversDesc, float64(up), "up")
	gauge(serversDesc, float64(down), "down")
}
