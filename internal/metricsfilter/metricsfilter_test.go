// SPDX-License-Identifier: Apache-2.0

package metricsfilter

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/client-go/rest"
)

// apiServer knows two tokens and gives one of their users the right to GET /metrics. It remembers what it was asked.
type apiServer struct {
	mu    sync.Mutex
	asked []string
	away  bool
}

func (s *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if strings.HasSuffix(r.URL.Path, "/tokenreviews") {
		var review authenticationv1.TokenReview
		_ = json.NewDecoder(r.Body).Decode(&review)
		s.asked = append(s.asked, "who is "+review.Spec.Token)
		review.Status.Authenticated = slices.Contains([]string{"reader", "other"}, review.Spec.Token)
		review.Status.User = authenticationv1.UserInfo{Username: "user-" + review.Spec.Token, Groups: []string{"group"}}
		_ = json.NewEncoder(w).Encode(review)
		return
	}
	var review authorizationv1.SubjectAccessReview
	_ = json.NewDecoder(r.Body).Decode(&review)
	a := review.Spec.NonResourceAttributes
	s.asked = append(s.asked, strings.Join([]string{"may", review.Spec.User, strings.Join(review.Spec.Groups, ","), a.Verb, a.Path}, " "))
	review.Status.Allowed = review.Spec.User == "user-reader" && a.Verb == "get" && a.Path == "/metrics"
	_ = json.NewEncoder(w).Encode(review)
}

func TestFilter(t *testing.T) {
	t.Parallel()
	s := new(apiServer)
	server := httptest.NewServer(s)
	defer server.Close()
	config := &rest.Config{Host: server.URL, ContentConfig: rest.ContentConfig{ContentType: "application/json"}}
	filter, err := New(config, server.Client())
	if err != nil {
		t.Fatal(err)
	}
	h, err := filter(logr.Discard(), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	if err != nil {
		t.Fatal(err)
	}
	const bearer = "Bearer "
	for _, tt := range []struct {
		name, method, path string
		header             http.Header
		away               bool
		want               int
		asked              []string
	}{
		{name: "no token", want: http.StatusUnauthorized},
		{name: "no bearer", header: http.Header{"Authorization": {"Basic cmVhZGVyOng="}}, want: http.StatusUnauthorized},
		{name: "the API server is away", header: http.Header{"Authorization": {bearer + "reader"}}, away: true,
			want: http.StatusInternalServerError},
		{name: "an unknown token", header: http.Header{"Authorization": {bearer + "stranger"}}, want: http.StatusUnauthorized,
			asked: []string{"who is stranger"}},
		{name: "without the right", header: http.Header{"Authorization": {bearer + "other"}}, want: http.StatusForbidden,
			asked: []string{"who is other", "may user-other group get /metrics"}},
		{name: "with the right", header: http.Header{"Authorization": {bearer + "reader"}}, want: http.StatusNoContent,
			asked: []string{"who is reader", "may user-reader group get /metrics"}},
		{name: "once more, which asks nobody", header: http.Header{"Authorization": {"bearer reader"}}, want: http.StatusNoContent},
		{name: "in the other header", header: http.Header{Token: {"reader"}}, want: http.StatusNoContent},
		{name: "another method", method: http.MethodPost, header: http.Header{Token: {"reader"}}, want: http.StatusForbidden,
			asked: []string{"who is reader", "may user-reader group post /metrics"}},
		{name: "another path", path: "/debug/plan", header: http.Header{Token: {"reader"}}, want: http.StatusForbidden,
			asked: []string{"who is reader", "may user-reader group get /debug/plan"}},
		{name: "Authorization goes before the other header", header: http.Header{"Authorization": {bearer + "other"}, Token: {"reader"}},
			want: http.StatusForbidden},
	} {
		s.mu.Lock()
		s.asked, s.away = nil, tt.away
		s.mu.Unlock()
		if tt.method == "" {
			tt.method = http.MethodGet
		}
		if tt.path == "" {
			tt.path = "/metrics"
		}
		r := httptest.NewRequestWithContext(t.Context(), tt.method, tt.path, nil)
		if tt.header != nil {
			r.Header = tt.header
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != tt.want {
			t.Errorf("%s: answered %d %s, want %d", tt.name, w.Code, w.Body, tt.want)
		}
		s.mu.Lock()
		if diff := cmp.Diff(tt.asked, s.asked); diff != "" {
			t.Errorf("%s asked the API server (-want +have)\n%s", tt.name, diff)
		}
		s.mu.Unlock()
	}
}
