// SPDX-License-Identifier: Apache-2.0

package tracing

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"

	"github.com/go-logr/logr/testr"
	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
)

// sink is a collector that remembers names of spans, by that of the span around them.
type sink struct {
	collector.UnimplementedTraceServiceServer
	mu    sync.Mutex
	names map[string]string // by ID
	spans map[string]string // name → ID of the parent
	who   map[string]string
}

func (s *sink) Export(_ context.Context, r *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, resource := range r.ResourceSpans {
		for _, a := range resource.Resource.Attributes {
			s.who[a.Key] = a.Value.GetStringValue()
		}
		for _, scope := range resource.ScopeSpans {
			for _, span := range scope.Spans {
				s.names[string(span.SpanId)] = span.Name
				s.spans[span.Name+" "+span.Status.GetMessage()] = string(span.ParentSpanId)
			}
		}
	}
	return new(collector.ExportTraceServiceResponse), nil
}

// TestStart sends a run to a collector; before that, nothing is made.
func TestStart(t *testing.T) {
	if ctx, end := Begin(t.Context(), "nothing"); ctx != nil {
		if inner, _ := Part(ctx, "within nothing"); inner != ctx {
			t.Error("a part is made of what is no trace")
		}
		end(nil)
	}
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &sink{names: map[string]string{}, spans: map[string]string{}, who: map[string]string{}}
	server := grpc.NewServer()
	collector.RegisterTraceServiceServer(server, s)
	go func() { _ = server.Serve(l) }()
	t.Cleanup(server.Stop)
	stop, err := Start(t.Context(), testr.New(t), "http://"+l.Addr().String(), 1, "1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := Begin(t.Context(), "run", attribute.String("kind", "Service"))
	_, ended := Part(ctx, "apply")
	ended(errors.New("refused"))
	end(nil)
	if err := stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	got := map[string]string{}
	for name, parent := range s.spans {
		got[name] = s.names[parent]
	}
	if diff := cmp.Diff(map[string]string{"run ": "", "apply refused": "run"}, got); diff != "" {
		t.Errorf("spans and what they are parts of (-want +got):\n%s", diff)
	}
	if s.who["service.name"] != "avi-l4-operator" || s.who["service.version"] != "1.2.3" {
		t.Errorf("sent by %v", s.who)
	}
}

func TestStartRefuses(t *testing.T) {
	for _, endpoint := range []string{"collector:4317", "ftp://collector", "http://", "://"} {
		if _, err := Start(t.Context(), testr.New(t), endpoint, 1, ""); err == nil {
			t.Errorf("%q is taken for a URL", endpoint)
		}
	}
}
