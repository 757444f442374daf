// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/rules"
	"sigs.k8s.io/yaml"
)

var root = filepath.Join("..", "..", "..")

// promQL is Prometheus' parser as it is without feature flags.
var promQL = parser.NewParser(parser.Options{})

// leader and standby are what Prometheus adds to the series of two pods.
const (
	leader  = `namespace="avi-l4-system",pod="a"`
	standby = `namespace="avi-l4-system",pod="b"`
)

// alertCase is a story in Prometheus' own notation of series, a sample a minute, and what is alerted at its end.
type alertCase struct {
	name, alert string
	series      map[string]string
	after       time.Duration
	// fires has the labels of each alert that fires besides alertname and severity, with its summary.
	fires map[string]string
}

// here are the labels of an alert that has only a namespace.
const here = `{namespace="avi-l4-system"}`

// alertCases has for each alert what fires it, and what comes close to it and doesn't.
var alertCases = []alertCase{
	{"nothing is scraped", "AviL4Absent", nil, 15 * time.Minute, map[string]string{"{}": "No operator is being scraped."}},
	{"an operator is scraped", "AviL4Absent", map[string]string{"avi_l4_build_info{" + leader + "}": "1x15"}, 15 * time.Minute, nil},
	{"nobody has the lease", "AviL4NoLeader", map[string]string{
		"avi_l4_build_info{" + leader + "}": "1x15", "leader_election_master_status{" + leader + "}": "0x15",
		"avi_l4_build_info{" + standby + "}": "1x15", "leader_election_master_status{" + standby + "}": "0x15",
	}, 10 * time.Minute, map[string]string{here: "No replica holds the lease, so nothing is written."}},
	{"one has the lease", "AviL4NoLeader", map[string]string{
		"avi_l4_build_info{" + leader + "}": "1x15", "leader_election_master_status{" + leader + "}": "1x15",
		"avi_l4_build_info{" + standby + "}": "1x15", "leader_election_master_status{" + standby + "}": "0x15",
	}, 10 * time.Minute, nil},
	{"another operator has no leader", "AviL4NoLeader", map[string]string{`leader_election_master_status{namespace="other",pod="c"}`: "0x15"},
		10 * time.Minute, nil},
	{"the breaker is open", "AviL4ControllerUnavailable", map[string]string{"avi_l4_api_breaker_state{" + leader + "}": "0 2x10",
		"avi_l4_api_breaker_state{" + standby + "}": "0x15"}, 8 * time.Minute, map[string]string{here: "The Avi Controller does not answer."}},
	{"the breaker closes again", "AviL4ControllerUnavailable", map[string]string{"avi_l4_api_breaker_state{" + leader + "}": "2x3 0x10"},
		8 * time.Minute, nil},
	{"a tenth of the calls fails", "AviL4CallsFail", map[string]string{
		`avi_l4_api_requests_total{code="200",` + leader + "}": "0+90x40", `avi_l4_api_requests_total{code="503",` + leader + "}": "0+10x40",
	}, 30 * time.Minute, map[string]string{here: "10% of the calls to the Avi Controller fail."}},
	{"one of fifty fails, and some are refused", "AviL4CallsFail", map[string]string{
		`avi_l4_api_requests_total{code="200",` + leader + "}": "0+90x40", `avi_l4_api_requests_total{code="timeout",` + leader + "}": "0+2x40",
		`avi_l4_api_requests_total{code="404",` + leader + "}": "0+10x40",
	}, 30 * time.Minute, nil},
	{"a login is refused", "AviL4LoginRefused", map[string]string{`avi_l4_api_logins_total{result="refused",` + leader + "}": "0x5 1x20"},
		8 * time.Minute, map[string]string{here: "The Avi Controller refuses the operator's credentials."}},
	{"one was refused an hour ago, and one fails", "AviL4LoginRefused", map[string]string{
		`avi_l4_api_logins_total{result="refused",` + leader + "}": "0x5 1x70", `avi_l4_api_logins_total{result="error",` + leader + "}": "0+1x70",
	}, 70 * time.Minute, nil},
	{"never read", "AviL4MirrorStale", map[string]string{"avi_l4_mirror_age_seconds{" + leader + "}": "-1x15"}, 12 * time.Minute,
		map[string]string{here: "What the Avi Controller holds was not read completely for half an hour, or never yet."}},
	{"read long ago", "AviL4MirrorStale", map[string]string{"avi_l4_mirror_age_seconds{" + leader + "}": "0+60x60",
		"avi_l4_mirror_age_seconds{" + standby + "}": "10x60"}, 45 * time.Minute,
		map[string]string{here: "What the Avi Controller holds was not read completely for half an hour, or never yet."}},
	{"read every five minutes", "AviL4MirrorStale", map[string]string{"avi_l4_mirror_age_seconds{" + leader + "}": "0 60 120 180 240 300x40"},
		45 * time.Minute, nil},
	{"settings are invalid", "AviL4SettingsInvalid", map[string]string{"avi_l4_settings_invalid{" + leader + "}": "0 1x15"}, 8 * time.Minute,
		map[string]string{here: "ConfigMap avi-k8s-config or Secret avi-secret can't be used."}},
	{"settings are valid", "AviL4SettingsInvalid", map[string]string{"avi_l4_settings_invalid{" + leader + "}": "1 0x15"}, 8 * time.Minute, nil},
	{"the name is taken", "AviL4ClusterNameTaken", map[string]string{"avi_l4_cluster_name_taken{" + leader + "}": "1x15"}, 8 * time.Minute,
		map[string]string{here: "The clusterName belongs to another Kubernetes cluster on the Avi Controller, so nothing is written."}},
	{"the name is ours", "AviL4ClusterNameTaken", map[string]string{"avi_l4_cluster_name_taken{" + leader + "}": "0x15"}, 8 * time.Minute, nil},
	{"deletions are held", "AviL4DeletionsHeld", map[string]string{
		`avi_l4_deletions_held{guard="deselected",` + leader + "}": "12x30", `avi_l4_deletions_held{guard="lost",` + leader + "}": "0x30",
		`avi_l4_deletions_held{guard="deselected",` + standby + "}": "0x30",
	}, 20 * time.Minute, map[string]string{`{guard="deselected", namespace="avi-l4-system"}`: "12 deletions are held, because too many would go at once (deselected)."}},
	{"no longer held", "AviL4DeletionsHeld", map[string]string{`avi_l4_deletions_held{guard="lost",` + leader + "}": "3x10 0x20"},
		20 * time.Minute, nil},
	{"refused, as both replicas say", "AviL4OwnersNotProgrammed", map[string]string{
		`avi_l4_owners{kind="Service",condition="Programmed",status="False",reason="InvalidAddress",` + leader + "}":  "2x30",
		`avi_l4_owners{kind="Service",condition="Programmed",status="False",reason="InvalidAddress",` + standby + "}": "2x30",
	}, 20 * time.Minute, map[string]string{
		`{kind="Service", namespace="avi-l4-system", reason="InvalidAddress"}`: "2 of kind Service are not programmed: InvalidAddress.",
	}},
	{"programmed, paused, in a dry run, and unhealthy", "AviL4OwnersNotProgrammed", map[string]string{
		`avi_l4_owners{kind="Service",condition="Programmed",status="True",reason="Programmed",` + leader + "}": "9x30",
		`avi_l4_owners{kind="Service",condition="Programmed",status="False",reason="DryRun",` + leader + "}":    "9x30",
		`avi_l4_owners{kind="Service",condition="Programmed",status="False",reason="Paused",` + leader + "}":    "9x30",
		`avi_l4_owners{kind="Service",condition="Healthy",status="False",reason="Down",` + leader + "}":         "9x30",
	}, 20 * time.Minute, nil},
	{"some are down", "AviL4VirtualServicesDown", map[string]string{
		`avi_l4_virtualservices{state="up",` + leader + "}": "5x20", `avi_l4_virtualservices{state="down",` + leader + "}": "2x20",
		`avi_l4_virtualservices{state="down",` + standby + "}": "2x20", `avi_l4_virtualservices{state="resources",` + leader + "}": "1x20",
	}, 15 * time.Minute, map[string]string{here: "3 VirtualServices are not up."}},
	{"all are up, or not known yet", "AviL4VirtualServicesDown", map[string]string{
		`avi_l4_virtualservices{state="up",` + leader + "}": "5x20", `avi_l4_virtualservices{state="unknown",` + leader + "}": "2x20",
		`avi_l4_virtualservices{state="down",` + leader + "}": "0x20",
	}, 15 * time.Minute, nil},
	{"somebody else writes", "AviL4Drift", map[string]string{`avi_l4_drift_found_total{kind="pool",` + leader + "}": "0+1x60"}, time.Hour,
		map[string]string{here: "Others changed our objects on the Avi Controller 60 times within an hour."}},
	{"a person did something once", "AviL4Drift", map[string]string{`avi_l4_drift_found_total{kind="pool",` + leader + "}": "0x10 3x50"},
		time.Hour, nil},
	{"the queue is long", "AviL4Backlog", map[string]string{
		`workqueue_depth{name="service",` + leader + "}": "500x20", "avi_l4_build_info{" + leader + "}": "1x20",
	}, 18 * time.Minute, map[string]string{`{name="service", namespace="avi-l4-system"}`: "More than 100 objects have been waiting in queue service for 15 minutes."}},
	{"the queue of another operator is long, and ours at its start", "AviL4Backlog", map[string]string{
		`workqueue_depth{name="theirs",namespace="other",pod="c"}`: "500x20",
		`workqueue_depth{name="service",` + leader + "}":           "5000x5 3x15", "avi_l4_build_info{" + leader + "}": "1x20",
	}, 18 * time.Minute, nil},
	{"the token ends in four days", "AviL4TokenExpires", map[string]string{"avi_l4_token_expiry_timestamp_seconds{" + leader + "}": "345600x90"},
		80 * time.Minute, map[string]string{here: "The user token in Secret avi-secret expires within five days."}},
	{"the token ends in six days", "AviL4TokenExpires", map[string]string{"avi_l4_token_expiry_timestamp_seconds{" + leader + "}": "518400x70"},
		65 * time.Minute, nil},
	{"there is no token", "AviL4TokenExpires", map[string]string{"avi_l4_token_expiry_timestamp_seconds{" + leader + "}": "0x90"},
		80 * time.Minute, nil},
}

// TestAlerts has Prometheus' rule manager and engine evaluate the rules every minute over each story, as promtool does.
func TestAlerts(t *testing.T) {
	file := ruleFile(t)
	tested := map[string]int{}
	for _, c := range alertCases {
		t.Run(c.alert+"/"+c.name, func(t *testing.T) {
			got := map[string]string{}
			for _, a := range firing(t, file, c) {
				l := labels.NewBuilder(a.Labels)
				l.Del(labels.AlertName, "severity")
				got[l.Labels().String()] = a.Annotations.Get("summary")
			}
			if diff := cmp.Diff(c.fires, got); diff != "" && len(c.fires)+len(got) > 0 {
				t.Errorf("firing after %s (-want +got):\n%s", c.after, diff)
			}
		})
		if len(c.fires) > 0 {
			tested[c.alert] |= 1
		} else {
			tested[c.alert] |= 2
		}
	}
	for _, r := range alerts(t) {
		if tested[r.Alert] != 3 {
			t.Errorf("%s needs a case in which it fires, and one in which it doesn't", r.Alert)
		}
		delete(tested, r.Alert)
	}
	if len(tested) > 0 {
		t.Errorf("cases of no alert: %v", slices.Sorted(maps.Keys(tested)))
	}
}

// firing plays a story and returns the alerts of its rule that fire at its end.
func firing(t *testing.T, file string, c alertCase) (out []*rules.Alert) {
	t.Helper()
	var load strings.Builder
	load.WriteString("load 1m\n")
	for series, values := range c.series {
		fmt.Fprintf(&load, "  %s %s\n", series, values)
	}
	suite, err := promqltest.NewLazyLoader(load.String(), promqltest.LazyLoaderOpts{Parser: promQL})
	if err != nil {
		t.Fatal(err)
	}
	defer suite.Close()
	suite.SubqueryInterval = time.Minute
	manager := rules.NewManager(&rules.ManagerOptions{
		QueryFunc: rules.EngineQueryFunc(suite.QueryEngine(), suite.Storage()), AppendableV2: suite.Storage(), Context: t.Context(),
		NotifyFunc: func(context.Context, string, ...*rules.Alert) {}, Logger: promslog.NewNopLogger(), Parser: promQL,
	})
	groups, errs := manager.LoadGroups(time.Minute, labels.EmptyLabels(), "", nil, false, file)
	for _, err := range errs {
		t.Fatal(err)
	}
	for at := time.Duration(0); at <= c.after; at += time.Minute {
		suite.WithSamplesTill(time.Unix(0, 0).Add(at), func(err error) {
			if err != nil {
				t.Fatal(err)
			}
			for _, g := range groups {
				g.Eval(t.Context(), time.Unix(0, 0).Add(at))
			}
		})
	}
	for _, g := range groups {
		for _, r := range g.Rules() {
			if err := r.LastError(); err != nil {
				t.Errorf("%s: %v", r.Name(), err)
			}
			a, ok := r.(*rules.AlertingRule)
			if !ok || r.Name() != c.alert {
				continue
			}
			for _, alert := range a.ActiveAlerts() {
				if alert.State == rules.StateFiring {
					out = append(out, alert)
				}
			}
		}
	}
	return out
}

// TestRunbooks: each alert has severity, summary, and the address of a section of its own in docs/runbooks.md, in the same order.
func TestRunbooks(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "docs", "runbooks.md"))
	if err != nil {
		t.Fatal(err)
	}
	var sections, names []string
	for line := range strings.Lines(string(text)) {
		if title, ok := strings.CutPrefix(line, "## "); ok {
			sections = append(sections, strings.TrimSpace(title))
		}
	}
	for _, r := range alerts(t) {
		names = append(names, r.Alert)
		if s := r.Labels["severity"]; s != "critical" && s != "warning" {
			t.Errorf("%s: severity %q", r.Alert, s)
		}
		if want := "/docs/runbooks.md#" + strings.ToLower(r.Alert); !strings.HasSuffix(r.Annotations["runbook_url"], want) {
			t.Errorf("%s: runbook_url %q doesn't end with %s", r.Alert, r.Annotations["runbook_url"], want)
		}
	}
	if diff := cmp.Diff(names, sections); diff != "" {
		t.Errorf("alerts (-) and sections of docs/runbooks.md (+):\n%s", diff)
	}
}

// TestMonitors: the objects have no field that the Prometheus operator doesn't know, and scrape over HTTPS with a token.
func TestMonitors(t *testing.T) {
	var service monitoringv1.ServiceMonitor
	decode(t, &service, "monitoring", "service_monitor.yaml")
	var pod monitoringv1.PodMonitor
	decode(t, &pod, "pod-monitor", "pod_monitor.yaml")
	if len(service.Spec.Endpoints) != 1 || len(pod.Spec.PodMetricsEndpoints) != 1 {
		t.Fatal("each needs one endpoint")
	}
	for kind, a := range map[string]*monitoringv1.SafeAuthorization{
		service.Kind: service.Spec.Endpoints[0].Authorization, pod.Kind: pod.Spec.PodMetricsEndpoints[0].Authorization,
	} {
		if a == nil || a.Credentials == nil || a.Credentials.Key != "token" {
			t.Errorf("%s shows no token", kind)
		}
	}
}

func alerts(t *testing.T) (out []monitoringv1.Rule) {
	t.Helper()
	var r monitoringv1.PrometheusRule
	decode(t, &r, "monitoring", "prometheus_rule.yaml")
	for _, g := range r.Spec.Groups {
		out = append(out, g.Rules...)
	}
	return out
}

// ruleFile has the rules as Prometheus reads them.
func ruleFile(t *testing.T) string {
	t.Helper()
	var r monitoringv1.PrometheusRule
	decode(t, &r, "monitoring", "prometheus_rule.yaml")
	text, err := yaml.Marshal(r.Spec)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func decode(t *testing.T, into any, path ...string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(append([]string{root, "config", "components"}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict(text, into); err != nil {
		t.Fatalf("%s: %v", filepath.Join(path...), err)
	}
}
