// SPDX-License-Identifier: Apache-2.0

package probes

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestHandler(t *testing.T) {
	ok := func(*http.Request) error { return nil }
	broken := func(*http.Request) error { return errors.New("the Controller\ndoesn't answer") }
	h := Handler(Checks{"loop": ok}, Checks{"ready": broken, "name": ok})
	for _, tt := range []struct {
		path string
		code int
		body string
	}{
		{"/healthz", 200, "ok"},
		{"/healthz?verbose", 200, "[+]loop ok\nhealthz check passed\n"},
		{"/readyz", 500, "[+]name ok\n[-]ready failed: the Controller doesn't answer\nreadyz check failed\n"},
		{"/readyz?verbose", 500, "[+]name ok\n[-]ready failed: the Controller doesn't answer\nreadyz check failed\n"},
		{"/readyz?verbose&exclude=ready", 200, "[+]name ok\n[+]ready excluded: ok\nreadyz check passed\n"},
		{"/readyz/name", 200, "ok"},
		{"/readyz/ready", 500, "internal server error: the Controller\ndoesn't answer\n"},
		{"/readyz/other", 404, "404 page not found\n"},
		{"/", 404, "404 page not found\n"},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, tt.path, nil))
		if w.Code != tt.code || w.Body.String() != tt.body {
			t.Errorf("%s: %d %q, want %d %q", tt.path, w.Code, w.Body, tt.code, tt.body)
		}
	}
}

// TestServer answers without leadership, and ends with its context. An address that is taken is reported at once.
func TestServer(t *testing.T) {
	s, err := Server("127.0.0.1:0", nil, Checks{"ready": func(*http.Request) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	addr := s.Listener.Addr().String()
	if _, err := Server(addr, nil, nil); err == nil {
		t.Error("an address that is taken is none")
	}
	if s.NeedLeaderElection() {
		t.Error("a standby is not probed")
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Start(ctx) }()
	r, err := http.Get("http://" + addr + "/readyz?verbose")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if body, err := io.ReadAll(r.Body); err != nil || string(body) != "[+]ready ok\nreadyz check passed\n" {
		t.Errorf("%q, %v", body, err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
