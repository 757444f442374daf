// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// TestTrace: the stages of a run are parts of its trace, and the calls to the Controller are parts of those. A read of everything
// is no part of any.
func TestTrace(t *testing.T) {
	w := newWorld(t)
	kept := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(kept))
	before := otel.GetTracerProvider()
	otel.SetTracerProvider(provider)
	t.Cleanup(func() { otel.SetTracerProvider(before) })
	w.load()
	ctx, run := provider.Tracer("test").Start(w.Context(), "run")
	w.engine.Serve(ctx, w.input())
	run.End()

	names := map[string]string{}
	for _, s := range kept.Ended() {
		names[s.SpanContext().SpanID().String()] = s.Name()
	}
	got := map[string]string{}
	for _, s := range kept.Ended() {
		if s.SpanContext().TraceID() != run.SpanContext().TraceID() {
			t.Errorf("%s is in no run's trace", s.Name())
		}
		got[s.Name()] = names[s.Parent().SpanID().String()]
	}
	want := map[string]string{"run": "", "translate": "run", "plan": "run", "apply": "run",
		"POST /api/vsvip": "apply", "POST /api/pool": "apply", "POST /api/l4policyset": "apply", "POST /api/virtualservice": "apply"}
	for name, parent := range want {
		if p, ok := got[name]; !ok || p != parent {
			t.Errorf("%s is a part of %q, want %q", name, p, parent)
		}
	}
	if t.Failed() {
		t.Log(cmp.Diff(want, got))
	}
}
