// SPDX-License-Identifier: Apache-2.0

package status

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
)

// TestRecorderBoundsItsMemory: however many Events there are, each reaches the API server, and few are kept.
func TestRecorderBoundsItsMemory(t *testing.T) {
	const events = 10 * mostEvents
	var mu sync.Mutex
	names := make(map[string]bool)
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		names[fmt.Sprint(r.URL.Path, len(names))] = true
		mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write([]byte(`{"kind":"Event","apiVersion":"events.k8s.io/v1"}`))
	}))
	defer api.Close()
	before := runtime.NumGoroutine()
	cfg := &rest.Config{Host: api.URL, QPS: -1}
	r, err := NewRecorder(cfg, api.Client(), scheme.Scheme, "test")
	if err != nil {
		t.Fatal(err)
	}
	r.grace = 100 * time.Millisecond
	for i := range events {
		about := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "core", Name: fmt.Sprintf("amf-%d", i), UID: "1"}}
		r.Eventf(about, nil, corev1.EventTypeNormal, "EnsuredLoadBalancer", "Program", "%d", i)
		if i%100 == 99 { // a broadcaster drops what comes faster than it is written
			for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
				mu.Lock()
				n := len(names)
				mu.Unlock()
				if n > i {
					break
				}
			}
		}
	}
	mu.Lock()
	if len(names) != events {
		t.Errorf("%d of %d Events were written", len(names), events)
	}
	mu.Unlock()
	r.Stop()
	api.Client().CloseIdleConnections()
	r.Eventf(new(corev1.Service), nil, corev1.EventTypeNormal, "EnsuredLoadBalancer", "Program", "too late")
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before+2; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines are left of %d broadcasters", runtime.NumGoroutine()-before, events/mostEvents)
		}
	}
}
