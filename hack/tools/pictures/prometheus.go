// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	client "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/scrape"
	"github.com/prometheus/prometheus/tsdb"
	"sigs.k8s.io/yaml"

	"github.com/avi-l4-operator/avi-l4-operator/hack/demo/stage"
)

// Times of the Prometheus: each sample of it is a point of the pictures. The interval of rates is what Grafana makes of
// $__rate_interval: four scrapes.
const (
	scrapeInterval = 5 * time.Second
	rateInterval   = 4 * scrapeInterval
)

// prometheus is Prometheus' own scrape manager, database and query engine, without what it has around them.
type prometheus struct {
	db      *tsdb.DB
	manager *scrape.Manager
	engine  *promql.Engine
}

// scraping starts a Prometheus that scrapes the operator with a token, as the ServiceMonitor has it done, and calls it the pod.
func scraping(dir, target, token string) (*prometheus, error) {
	text, err := yaml.Marshal(map[string]any{"scrape_configs": []any{map[string]any{
		"job_name": "avi-l4-operator", "scheme": "https", "scrape_interval": scrapeInterval.String(), "scrape_timeout": "4s",
		"authorization": map[string]any{"credentials": token},
		"tls_config":    map[string]any{"insecure_skip_verify": true}, // the operator has signed its certificate itself
	}}})
	if err != nil {
		return nil, err
	}
	configuration, err := config.Load(string(text), quiet())
	if err != nil {
		return nil, fmt.Errorf("configuring Prometheus: %w", err)
	}
	registry := client.NewRegistry()
	p := &prometheus{engine: promql.NewEngine(promql.EngineOpts{
		MaxSamples: 1e6, Timeout: time.Minute, EnableAtModifier: true, EnableNegativeOffset: true, Parser: parser.NewParser(parser.Options{}),
	})}
	if p.db, err = tsdb.Open(filepath.Join(dir, "tsdb"), quiet(), registry, tsdb.DefaultOptions(), nil); err != nil {
		return nil, fmt.Errorf("opening Prometheus' database: %w", err)
	}
	options := &scrape.Options{DiscoveryReloadInterval: model.Duration(time.Second)}
	p.manager, err = scrape.NewManager(options, quiet(), nil, nil, p.db, registry)
	if err == nil {
		err = p.manager.ApplyConfig(configuration)
	}
	if err != nil {
		return nil, fmt.Errorf("starting Prometheus: %w", err)
	}
	targets := make(chan map[string][]*targetgroup.Group, 1)
	targets <- map[string][]*targetgroup.Group{"avi-l4-operator": {{
		Source: "pod", Targets: []model.LabelSet{{model.AddressLabel: model.LabelValue(target)}},
		Labels: model.LabelSet{"namespace": stage.Namespace, "pod": operatorPod},
	}}}
	go func() { _ = p.manager.Run(targets) }() // ends with Stop
	return p, nil
}

// scraped is how often the operator has been scraped, or the error of the last time.
func (p *prometheus) scraped(ctx context.Context) (int, error) {
	for _, targets := range p.manager.TargetsActive() {
		for _, t := range targets {
			if err := t.LastError(); err != nil {
				return 0, fmt.Errorf("scraping %s: %w", t, err)
			}
		}
	}
	q, err := p.engine.NewInstantQuery(ctx, p.db, nil, `sum(count_over_time(up[1h]))`, time.Now())
	if err != nil {
		return 0, err
	}
	defer q.Close()
	answer, err := q.Exec(ctx).Vector()
	if err != nil || len(answer) == 0 {
		return 0, err
	}
	return int(answer[0].F), nil
}

// ask has a query answered for each scrape of a time.
func (p *prometheus) ask(ctx context.Context, query string, from, to time.Time) (promql.Matrix, error) {
	q, err := p.engine.NewRangeQuery(ctx, p.db, nil, query, from, to, scrapeInterval)
	if err != nil {
		return nil, err
	}
	defer q.Close()
	answer, err := q.Exec(ctx).Matrix()
	if err != nil {
		return nil, err
	}
	out := make(promql.Matrix, 0, len(answer)) // the engine takes its own back
	for _, s := range answer {
		out = append(out, promql.Series{Metric: s.Metric.Copy(), Floats: append([]promql.FPoint(nil), s.Floats...)})
	}
	return out, nil
}

func (p *prometheus) close() error {
	p.manager.Stop()
	return p.db.Close()
}
