// SPDX-License-Identifier: Apache-2.0

// Package metricsfilter decides who may read the operator's metrics: users whose token the API server knows, and who may GET the path.
package metricsfilter

import (
	"context"
	"crypto/sha256"
	"net/http"
	"strings"
	"time"

	"github.com/go-logr/logr"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/cache"
	authenticationclient "k8s.io/client-go/kubernetes/typed/authentication/v1"
	authorizationclient "k8s.io/client-go/kubernetes/typed/authorization/v1"
	"k8s.io/client-go/rest"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

// Token is a header that has a token as the API server takes it. Authorization is for clients that reach the operator by itself: the API
// server's proxy, through which people reach a pod, takes that header for its own.
const Token = "X-Avi-L4-Token" // #nosec G101 -- the header's name

// kept is how long an answer of the API server is good for: a right that is taken away ends, and one that is given begins, that much later.
var kept = map[int]time.Duration{
	http.StatusOK:           time.Minute,
	http.StatusUnauthorized: 10 * time.Second,
	http.StatusForbidden:    10 * time.Second,
}

const (
	// answers is how many are kept at most.
	answers = 1024
	// patience bounds how long the API server is waited for.
	patience = 10 * time.Second
)

// New returns a filter that lets clients read what is behind it whose token the API server knows (TokenReview), and whose user has the
// request's method as verb on its path (SubjectAccessReview). Without such a token the answer is 401, without the right 403, and 500 if
// the API server can't be asked. controller-runtime has a filter of this kind; it answers 500 to tokens that are malformed, and what it
// needs of the API server's own code, CEL above all, is a seventh of the operator's program.
func New(config *rest.Config, httpClient *http.Client) (metricsserver.Filter, error) {
	tokens, err := authenticationclient.NewForConfigAndClient(config, httpClient)
	if err != nil {
		return nil, err
	}
	rights, err := authorizationclient.NewForConfigAndClient(config, httpClient)
	if err != nil {
		return nil, err
	}
	f := &filter{tokens: tokens.TokenReviews(), rights: rights.SubjectAccessReviews(), answers: cache.NewLRUExpireCache(answers)}
	return func(log logr.Logger, handler http.Handler) (http.Handler, error) {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithTimeout(r.Context(), patience)
			status, err := f.judge(ctx, r)
			cancel()
			switch {
			case err != nil:
				log.Error(err, "The API server can't be asked who may read this", "path", r.URL.Path)
				http.Error(w, "the API server can't be asked whether you may read this; try again", status)
			case status != http.StatusOK:
				http.Error(w, explanations[status], status)
			default:
				handler.ServeHTTP(w, r)
			}
		}), nil
	}, nil
}

var explanations = map[int]string{
	http.StatusUnauthorized: "a token that the API server knows is needed, as Authorization: Bearer TOKEN",
	http.StatusForbidden:    "your user has no right to read this: it needs the path in nonResourceURLs of a ClusterRole",
}

type filter struct {
	tokens  authenticationclient.TokenReviewInterface
	rights  authorizationclient.SubjectAccessReviewInterface
	answers *cache.LRUExpireCache // statuses by question
}

// question is what an answer is kept for; the token itself stays out of memory.
type question struct {
	token      [sha256.Size]byte
	verb, path string
}

// judge returns 200, 401 or 403, or 500 with an error.
func (f *filter) judge(ctx context.Context, r *http.Request) (int, error) {
	token := tokenOf(r)
	if token == "" {
		return http.StatusUnauthorized, nil
	}
	q := question{sha256.Sum256([]byte(token)), strings.ToLower(r.Method), r.URL.Path}
	if status, ok := f.answers.Get(q); ok {
		return status.(int), nil
	}
	status, err := f.ask(ctx, token, q)
	if err != nil {
		return http.StatusInternalServerError, err
	}
	f.answers.Add(q, status, kept[status])
	return status, nil
}

func (f *filter) ask(ctx context.Context, token string, q question) (int, error) {
	who := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token}}
	who, err := f.tokens.Create(ctx, who, metav1.CreateOptions{})
	if err != nil {
		return 0, err
	}
	if !who.Status.Authenticated {
		return http.StatusUnauthorized, nil
	}
	user := who.Status.User
	access := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: user.Username, Groups: user.Groups, UID: user.UID, Extra: map[string]authorizationv1.ExtraValue{},
		NonResourceAttributes: &authorizationv1.NonResourceAttributes{Path: q.path, Verb: q.verb}}}
	for k, v := range user.Extra {
		access.Spec.Extra[k] = authorizationv1.ExtraValue(v)
	}
	if access, err = f.rights.Create(ctx, access, metav1.CreateOptions{}); err != nil {
		return 0, err
	}
	if !access.Status.Allowed {
		return http.StatusForbidden, nil
	}
	return http.StatusOK, nil
}

// tokenOf is the bearer token of Authorization, or else the one of our own header.
func tokenOf(r *http.Request) string {
	authorization := r.Header.Get("Authorization")
	if authorization == "" {
		return r.Header.Get(Token)
	}
	scheme, token, _ := strings.Cut(authorization, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}
