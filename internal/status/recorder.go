// SPDX-License-Identifier: Apache-2.0

package status

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	typedeventsv1 "k8s.io/client-go/kubernetes/typed/events/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
)

// Recorder hands Events to the API server with Kubernetes' own broadcasters. One of those keeps what it has written for 6 to 12 minutes,
// more than a kilobyte each, and there is an Event for each new Service; so a new one takes its place after so many. Its methods are safe
// for concurrent use.
type Recorder struct {
	scheme *runtime.Scheme
	name   string
	sink   events.EventSink
	grace  time.Duration // how long a broadcaster that was replaced goes on with what it has begun

	mu      sync.Mutex
	current *broadcast // nil before the first Event
	stopped bool
}

// mostEvents is how many a broadcaster gets.
const mostEvents = 500

// broadcast is a broadcaster at work.
type broadcast struct {
	events.EventBroadcaster
	recorder events.EventRecorder
	cancel   context.CancelFunc
	given    int // Events
}

// NewRecorder returns a recorder of Events of a controller; client makes its requests.
func NewRecorder(cfg *rest.Config, client *http.Client, scheme *runtime.Scheme, name string) (*Recorder, error) {
	cfg = rest.CopyConfig(cfg)
	cfg.ContentType, cfg.AcceptContentTypes = runtime.ContentTypeProtobuf, runtime.ContentTypeProtobuf+","+runtime.ContentTypeJSON // cheaper for both
	typed, err := typedeventsv1.NewForConfigAndClient(cfg, client)
	if err != nil {
		return nil, fmt.Errorf("making a client for Events: %w", err)
	}
	return &Recorder{scheme: scheme, name: name, sink: &events.EventSinkImpl{Interface: typed}, grace: 10 * time.Second}, nil
}

// Eventf implements events.EventRecorder. After Stop it does nothing.
func (r *Recorder) Eventf(regarding, related runtime.Object, eventtype, reason, action, note string, args ...any) {
	if to := r.next(); to != nil {
		to.Eventf(regarding, related, eventtype, reason, action, note, args...)
	}
}

// next is what takes the next Event, nil after Stop.
func (r *Recorder) next() events.EventRecorder {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped {
		return nil
	}
	if old := r.current; old == nil || old.given >= mostEvents {
		if r.current = r.begin(); old != nil {
			time.AfterFunc(r.grace/10, func() { old.end(r.grace) }) // somebody may just be about to use it
		}
	}
	r.current.given++
	return r.current.recorder
}

func (r *Recorder) begin() *broadcast {
	ctx, cancel := context.WithCancel(context.Background())
	b := &broadcast{EventBroadcaster: events.NewBroadcaster(r.sink), cancel: cancel}
	if err := b.StartRecordingToSinkWithContext(ctx); err != nil {
		panic(fmt.Sprintf("a new broadcaster of Events can't be watched: %v", err)) // only one that was shut down can't
	}
	b.recorder = b.NewRecorder(r.scheme, r.name)
	return b
}

// end hands on what the broadcaster was given, and gives up on what isn't written by then.
func (b *broadcast) end(grace time.Duration) {
	b.Shutdown()
	time.AfterFunc(grace, b.cancel)
}

// Stop gives up on what isn't written yet. It is for the end of the process.
func (r *Recorder) Stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped = true; r.current != nil {
		r.current.Shutdown()
		r.current.cancel()
	}
}
