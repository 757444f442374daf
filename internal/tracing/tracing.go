// SPDX-License-Identifier: Apache-2.0

// Package tracing sends what a run for one owner does, and how long each part takes, to a collector of OpenTelemetry. It is off unless
// Start is called: spans are then neither made nor kept.
package tracing

import (
	"context"
	"fmt"
	"net/url"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

const name = "github.com/avi-l4-operator/avi-l4-operator"

// Start sends a share (0 to 1) of all runs to a collector that takes OTLP over gRPC. endpoint is its URL: https verifies the collector's
// certificate, http encrypts nothing. Certificates, headers and attributes of the resource come from OpenTelemetry's own environment
// variables. A collector that doesn't answer costs the runs nothing; the log says so. stop sends what is left, within its context.
func Start(ctx context.Context, log logr.Logger, endpoint string, share float64, version string) (
	stop func(context.Context) error, err error,
) {
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("%q is not the URL of a collector, such as http://collector.observability:4317", endpoint)
	}
	exporter, err := otlptracegrpc.New(ctx, otlptracegrpc.WithEndpointURL(endpoint)) // it connects later, and again after an outage
	if err != nil {
		return nil, fmt.Errorf("sending traces to %s: %w", u.Host, err)
	}
	who, err := resource.New(ctx, resource.WithAttributes(attribute.String("service.name", "avi-l4-operator"),
		attribute.String("service.version", version)), resource.WithFromEnv(), resource.WithTelemetrySDK())
	if err != nil {
		return nil, fmt.Errorf("describing the operator in traces: %w", err)
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(who),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(share))))
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Info("Traces are lost", "endpoint", u.Host, "error", err.Error()) }))
	otel.SetTracerProvider(provider)
	return provider.Shutdown, nil
}

// Begin starts a trace, or a part of the one that ctx is in. The returned function ends it, with an error if there was one.
func Begin(ctx context.Context, what string, attributes ...attribute.KeyValue) (context.Context, func(error)) {
	ctx, span := otel.Tracer(name).Start(ctx, what, trace.WithAttributes(attributes...))
	return ctx, func(err error) {
		if err != nil {
			span.SetStatus(codes.Error, err.Error())
		}
		span.End()
	}
}

// Part starts a part of the trace that ctx is in; where there is none, nothing is begun.
func Part(ctx context.Context, what string, attributes ...attribute.KeyValue) (context.Context, func(error, ...attribute.KeyValue)) {
	if !trace.SpanFromContext(ctx).IsRecording() {
		return ctx, func(error, ...attribute.KeyValue) {}
	}
	ctx, span := otel.Tracer(name).Start(ctx, what, trace.WithAttributes(attributes...))
	return ctx, func(err error, more ...attribute.KeyValue) {
		span.SetAttributes(more...)
		if err != nil {
			span.SetStatus(codes.Error, err.Error())
		}
		span.End()
	}
}
