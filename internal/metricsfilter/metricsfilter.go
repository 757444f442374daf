// SPDX-License-Identifier: Apache-2.0

// Package metricsfilter decides who may read the operator's metrics. It is a package of its own for the sake of its dependencies, which
// nothing else needs.
package metricsfilter

import (
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

// Token is a header that has a token as the API server takes it. Authorization is for clients that reach the operator by itself: the API
// server's proxy, through which people reach a pod, takes that header for its own.
const Token = "X-Avi-L4-Token" // #nosec G101 -- the header's name

// New returns a filter that lets clients read metrics whose token the API server knows, and whose user may GET the path. Without such a
// token the answer is 401, without the right 403, and 500 if the API server can't be asked. controller-runtime's own filter, which this
// one is around, answers 500 to a token that is malformed, expired or of another cluster.
func New(config *rest.Config, httpClient *http.Client) (metricsserver.Filter, error) {
	c, reviews := *httpClient, &reviews{next: httpClient.Transport}
	if reviews.next == nil {
		reviews.next = http.DefaultTransport
	}
	c.Transport = reviews
	filter, err := filters.WithAuthenticationAndAuthorization(config, &c)
	if err != nil {
		return nil, err
	}
	return func(log logr.Logger, handler http.Handler) (http.Handler, error) {
		inner, err := filter(log, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if a, ok := w.(*answer); ok {
				w = a.ResponseWriter
			}
			handler.ServeHTTP(w, r)
		}))
		if err != nil {
			return nil, err
		}
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if token := r.Header.Get(Token); token != "" && r.Header.Get("Authorization") == "" {
				r = r.Clone(r.Context())
				r.Header.Set("Authorization", "Bearer "+token)
			}
			inner.ServeHTTP(&answer{ResponseWriter: w, reviews: reviews, failed: reviews.failed.Load()}, r)
		}), nil
	}, nil
}

// reviews counts the questions about tokens and rights that the API server didn't answer.
type reviews struct {
	next   http.RoundTripper
	failed atomic.Int64
}

func (t *reviews) RoundTrip(r *http.Request) (*http.Response, error) {
	a, err := t.next.RoundTrip(r)
	if strings.HasSuffix(r.URL.Path, "reviews") && (err != nil || a.StatusCode/100 != 2) {
		t.failed.Add(1)
	}
	return a, err
}

// answer is that of the filter, before the metrics are read: a failure although every question was answered is one of the token.
type answer struct {
	http.ResponseWriter
	reviews *reviews
	failed  int64 // when the request came in
}

func (a *answer) WriteHeader(status int) {
	if status == http.StatusInternalServerError && a.reviews.failed.Load() == a.failed {
		status = http.StatusUnauthorized
	}
	a.ResponseWriter.WriteHeader(status)
}
