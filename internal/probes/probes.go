// SPDX-License-Identifier: Apache-2.0

// Package probes serves /healthz and /readyz to the kubelet and to people. controller-runtime's own handlers withhold why a check fails;
// these state it, since a person who looks at a pod that isn't ready needs it.
package probes

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
)

// Checks are functions by name that return why something is not as it should be, nil if it is. Anybody who reaches the port can read
// their errors, so these must not hold secrets.
type Checks map[string]healthz.Checker

// Server listens at an address and returns what answers there once the manager runs it, on replicas without leadership too.
func Server(addr string, live, ready Checks) (*manager.Server, error) {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listening for probes: %w", err)
	}
	// The kubelet asks and waits for seconds; a client that is slower than that holds a connection for nothing.
	s := &http.Server{Handler: Handler(live, ready), MaxHeaderBytes: 1 << 16,
		ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 90 * time.Second}
	return &manager.Server{Name: "probes", Server: s, Listener: l}, nil
}

// Handler answers /healthz and /readyz: 200 and "ok", or 500 and a line for each check, which "?verbose" gives in either case and
// "?exclude=NAME" leaves a check out of. Below them each check has its own path, /readyz/NAME.
func Handler(live, ready Checks) http.Handler {
	mux := http.NewServeMux()
	for path, checks := range map[string]Checks{"/healthz": live, "/readyz": ready} {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) { answer(w, r, path[1:], checks) })
		for name, check := range checks {
			mux.Handle(path+"/"+name, healthz.CheckHandler{Checker: check})
		}
	}
	return mux
}

// answer has the form of Kubernetes' own components.
func answer(w http.ResponseWriter, r *http.Request, what string, checks Checks) {
	query := r.URL.Query()
	var lines strings.Builder
	failed := false
	for _, name := range slices.Sorted(maps.Keys(checks)) {
		if slices.Contains(query["exclude"], name) {
			fmt.Fprintf(&lines, "[+]%s excluded: ok\n", name)
			continue
		}
		if err := checks[name](r); err != nil {
			failed = true
			fmt.Fprintf(&lines, "[-]%s failed: %s\n", name, strings.Join(strings.Fields(err.Error()), " "))
			continue
		}
		fmt.Fprintf(&lines, "[+]%s ok\n", name)
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	switch {
	case failed:
		w.WriteHeader(http.StatusInternalServerError)
		fmt.Fprintf(w, "%s%s check failed\n", lines.String(), what)
	case query.Has("verbose"):
		fmt.Fprintf(w, "%s%s check passed\n", lines.String(), what)
	default:
		fmt.Fprint(w, "ok")
	}
}
