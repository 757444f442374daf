// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
)

// query is an expression, in which NS stands for the matcher of the namespace, and what its series are called.
type query struct{ expr, legend string }

// panel is a picture of queries: a number if alarm is set, which turns red from there on, else curves.
type panel struct {
	title, about, unit string
	alarm              float64
	queries            []query
}

// row is a title and what stands below it.
type row struct {
	title  string
	panels []panel
}

// rows are the dashboard. Both replicas are scraped: gauges are the same on both, or greater on the leader; counters are added up.
var rows = []row{
	{"Is everything served?", []panel{
		{"Not programmed", "Services and Gateways with condition Programmed False.", "short", 1,
			[]query{{`sum(max by (kind, reason) (avi_l4_owners{condition="Programmed",status="False",NS})) or vector(0)`, ""}}},
		{"VirtualServices not up", "As the Controller's inventory says.", "short", 1,
			[]query{{`sum(max by (state) (avi_l4_virtualservices{state!~"up|unknown",NS}))`, ""}}},
		{"Breaker", "0: calls go to the Controller. 1: one is tried. 2: none.", "short", 1, []query{{`max(avi_l4_api_breaker_state{NS})`, ""}}},
		{"Last full read", "Since what the Controller holds was read completely; -1: never.", "s", 1800,
			[]query{{`max(avi_l4_mirror_age_seconds{NS})`, ""}}},
		{"Deletions held", "A person has to look at them.", "short", 1, []query{{`sum(max by (guard) (avi_l4_deletions_held{NS}))`, ""}}},
		{"Settings", "1: ConfigMap or Secret can't be used, or the clusterName belongs to another cluster.", "short", 1,
			[]query{{`max(avi_l4_settings_invalid{NS}) + max(avi_l4_cluster_name_taken{NS})`, ""}}},
		{"Owners", "Services and Gateways by condition Programmed and reason.", "short", 0,
			[]query{{`max by (kind, status, reason) (avi_l4_owners{condition="Programmed",NS})`, "{{kind}} {{status}} {{reason}}"}}},
		{"Owners that are refused or unhealthy", "By condition and reason.", "short", 0,
			[]query{{`max by (kind, condition, reason) (avi_l4_owners{status="False",NS})`, "{{kind}} {{condition}} {{reason}}"}}},
		{"VirtualServices", "By state.", "short", 0, []query{{`max by (state) (avi_l4_virtualservices{NS})`, "{{state}}"}}},
		{"Servers", "Enabled servers of all pools by state.", "short", 0, []query{{`max by (state) (avi_l4_servers{NS})`, "{{state}}"}}},
		{"Objects", "On the Controller, by kind.", "short", 0, []query{{`max by (kind) (avi_l4_objects{NS})`, "{{kind}}"}}},
		{"Failing", "Whose last run failed, or had a port refused.", "short", 0, []query{
			{`max(avi_l4_services_failing{NS})`, "Services and shared VIPs"}, {`max(avi_l4_gateways_failing{NS})`, "Gateways"}}},
	}},
	{"What is done?", []panel{
		{"Steps of plans", "Creates, updates and deletes a second, by result.", "ops", 0,
			[]query{{`sum by (op, result) (rate(avi_l4_plan_steps_total{NS}[$__rate_interval]))`, "{{op}} {{result}}"}}},
		{"Drift", "Objects that others changed or deleted on the Controller, within an hour.", "short", 0, []query{
			{`sum(increase(avi_l4_drift_found_total{NS}[1h]))`, "found"}, {`sum(increase(avi_l4_drift_repaired_total{NS}[1h]))`, "repaired"}}},
		{"Stages, 95th percentile", "Of a run for one owner.", "s", 0, []query{{
			`histogram_quantile(0.95, sum by (stage, le) (rate(avi_l4_stage_duration_seconds_bucket{NS}[$__rate_interval])))`, "{{stage}}"}}},
		{"Runs", "Of the reconcilers a second, by result.", "ops", 0, []query{{
			`sum by (controller, result) (rate(controller_runtime_reconcile_total{NS}[$__rate_interval])) > 0`, "{{controller}} {{result}}"}}},
		{"Queues", "Objects that wait.", "short", 0, []query{{`max by (name) (workqueue_depth{NS})`, "{{name}}"}}},
		{"Wait in queues, 95th percentile", "Before a run begins.", "s", 0, []query{{
			`histogram_quantile(0.95, sum by (name, le) (rate(workqueue_queue_duration_seconds_bucket{NS}[$__rate_interval])))`, "{{name}}"}}},
	}},
	{"Does the Controller answer?", []panel{
		{"Calls", "A second, by method and code.", "reqps", 0,
			[]query{{`sum by (method, code) (rate(avi_l4_api_requests_total{NS}[$__rate_interval]))`, "{{method}} {{code}}"}}},
		{"Calls that fail", "Part of all.", "percentunit", 0, []query{{
			`sum(rate(avi_l4_api_requests_total{code=~"5..|error|timeout",NS}[$__rate_interval])) / ` +
				`sum(rate(avi_l4_api_requests_total{NS}[$__rate_interval])) or vector(0)`, "failed"}}},
		{"Time of calls, 95th percentile", "By method.", "s", 0, []query{{
			`histogram_quantile(0.95, sum by (method, le) (rate(avi_l4_api_request_duration_seconds_bucket{NS}[$__rate_interval])))`, "{{method}}"}}},
		{"Routes", "The ten that are called most.", "reqps", 0,
			[]query{{`topk(10, sum by (method, route) (rate(avi_l4_api_requests_total{NS}[$__rate_interval])))`, "{{method}} {{route}}"}}},
		{"Limits that were learnt", "Calls at a time, and calls a second (0 if no limit is known).", "short", 0, []query{
			{`max(avi_l4_api_concurrency_limit{NS})`, "at a time"}, {`max(avi_l4_api_rate_limit{NS})`, "a second"}}},
		{"Logins", "By result, within an hour.", "short", 0,
			[]query{{`sum by (result) (increase(avi_l4_api_logins_total{NS}[1h]))`, "{{result}}"}}},
		{"Releases", "Replicas by what they run.", "short", 0, []query{{`count by (version) (avi_l4_build_info{NS})`, "{{version}}"}}},
	}},
}

// source is the variable that names the Prometheus to ask.
var source = common.DataSourceRef{Type: cog.ToPtr("prometheus"), Uid: cog.ToPtr("${datasource}")}

func build() (dashboard.Dashboard, error) {
	b := dashboard.NewDashboardBuilder("Avi L4 operator").Uid("avi-l4-operator").Tags([]string{"avi", "kubernetes"}).
		Description("Generated by hack/tools/monitoring from dashboard.go.").Readonly().Refresh("30s").Time("now-3h", "now").
		Timezone("browser").
		WithVariable(dashboard.NewDatasourceVariableBuilder("datasource").Label("Prometheus").Type("prometheus")).
		WithVariable(dashboard.NewQueryVariableBuilder("namespace").Label("Namespace").Datasource(source).
			Refresh(dashboard.VariableRefreshOnTimeRangeChanged).
			Query(dashboard.StringOrMap{String: cog.ToPtr("label_values(avi_l4_build_info, namespace)")}))
	id := uint32(0)
	for _, r := range rows {
		id++
		b.WithRow(dashboard.NewRowBuilder(r.title).Id(id))
		for _, p := range r.panels {
			id++
			b.WithPanel(p.build(id))
		}
	}
	return b.Build()
}

// build draws a panel: six numbers or three curves stand in a row.
func (p panel) build(id uint32) cog.Builder[dashboard.Panel] {
	if p.alarm > 0 {
		b := stat.NewPanelBuilder().Id(id).Title(p.title).Description(p.about).Unit(p.unit).Datasource(source).Height(4).Span(4).
			ColorMode(common.BigValueColorModeBackground).ReduceOptions(common.NewReduceDataOptionsBuilder().Calcs([]string{"lastNotNull"})).
			Thresholds(dashboard.NewThresholdsConfigBuilder().Mode(dashboard.ThresholdsModeAbsolute).
				Steps([]dashboard.Threshold{{Color: "green"}, {Color: "red", Value: cog.ToPtr(p.alarm)}}))
		for i, q := range p.queries {
			b.WithTarget(q.build(i))
		}
		return b
	}
	b := timeseries.NewPanelBuilder().Id(id).Title(p.title).Description(p.about).Unit(p.unit).Datasource(source).Height(8).Span(8).Min(0).
		Legend(common.NewVizLegendOptionsBuilder().ShowLegend(true).DisplayMode(common.LegendDisplayModeList).
			Placement(common.LegendPlacementBottom)).
		Tooltip(common.NewVizTooltipOptionsBuilder().Mode(common.TooltipDisplayModeMulti).Sort(common.SortOrderDescending))
	for i, q := range p.queries {
		b.WithTarget(q.build(i))
	}
	return b
}

func (q query) build(i int) *prometheus.DataqueryBuilder {
	return prometheus.NewDataqueryBuilder().RefId(string(rune('A' + i))).Datasource(source).Expr(q.promQL()).LegendFormat(q.legend)
}

// promQL is what Grafana sends, but for its variables.
func (q query) promQL() string { return strings.ReplaceAll(q.expr, "NS", `namespace="$namespace"`) }
