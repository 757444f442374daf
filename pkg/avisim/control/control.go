// SPDX-License-Identifier: Apache-2.0

// Package control serves what people and scripts use to look into a simulated Avi Controller and to make it misbehave: an API
// and a page. It is on a listener of its own, never under /api, and asks for no password, so it belongs on loopback.
//
// A browser that shows some other site must not reach it: requests whose Host could be a public name are refused (DNS
// rebinding), and so are writes that come from another origin.
package control

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim"
)

//go:embed web
var web embed.FS

// pulseEvery is how often the page gets changes, all of that time in one event.
const pulseEvery = 300 * time.Millisecond

// Handler serves the control API and the page of a Server.
type Handler struct {
	sim   *avisim.Server
	outer http.Handler

	mu     sync.Mutex
	script script
}

// script is the one that was started last.
type script struct {
	cancel  context.CancelFunc
	done    chan struct{}
	Steps   int    `json:"steps"`
	Running bool   `json:"running"`
	Error   string `json:"error,omitempty"`
}

// New makes the handler of a Server.
func New(sim *avisim.Server) *Handler {
	h := &Handler{sim: sim}
	mux := http.NewServeMux()
	page(mux)
	mux.HandleFunc("GET /events", h.events)
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) { send(w, h.sim.Status()) })
	mux.HandleFunc("GET /services", h.services)
	mux.HandleFunc("GET /changes", func(w http.ResponseWriter, r *http.Request) {
		after, limit, err := window(r, 100)
		if err != nil {
			refuse(w, err)
			return
		}
		send(w, h.sim.Changes(after, limit))
	})
	mux.HandleFunc("GET /effects", func(w http.ResponseWriter, _ *http.Request) { send(w, avisim.EffectTable()) })
	mux.HandleFunc("GET /faults", func(w http.ResponseWriter, _ *http.Request) { send(w, h.sim.Faults()) })
	mux.HandleFunc("POST /faults", h.addFault)
	mux.HandleFunc("DELETE /faults/{id}", h.removeFault)
	clearFaults := func(http.ResponseWriter, *http.Request) { h.sim.ClearFaults() }
	mux.HandleFunc("POST /faults/clear", clearFaults)
	mux.HandleFunc("DELETE /faults", clearFaults)
	mux.HandleFunc("GET /script", h.scriptState)
	mux.HandleFunc("POST /script", h.runScript)
	mux.HandleFunc("DELETE /script", func(http.ResponseWriter, *http.Request) { h.StopScript() })
	mux.HandleFunc("POST /server-health", with(h.serverHealth))
	mux.HandleFunc("POST /upgrade", with(func(v struct{ On bool }) error { h.sim.SetUpgradeMode(v.On); return nil }))
	mux.HandleFunc("POST /down", with(func(v struct{ On bool }) error { h.sim.SetDown(v.On); return nil }))
	world(mux, sim)
	rules(mux, sim)
	mux.HandleFunc("GET /requests", h.requests)
	mux.HandleFunc("DELETE /requests", func(http.ResponseWriter, *http.Request) { h.sim.ResetRequests() })
	mux.HandleFunc("GET /unexpected", func(w http.ResponseWriter, r *http.Request) {
		send(w, h.sim.Unexpected(r.URL.Query()["allowed"]...))
	})
	mux.HandleFunc("GET /counters", h.counters)
	mux.HandleFunc("GET /har", h.har)
	mux.HandleFunc("GET /tree", func(w http.ResponseWriter, _ *http.Request) { send(w, h.sim.Tree()) })
	mux.HandleFunc("GET /object", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		body, found := h.sim.Object(q.Get("type"), tenant(q.Get("tenant")), q.Get("name"))
		if !found {
			http.Error(w, fmt.Sprintf("there is no %s %q in tenant %s", q.Get("type"), q.Get("name"), tenant(q.Get("tenant"))), http.StatusNotFound)
			return
		}
		send(w, body)
	})
	mux.HandleFunc("GET /ca", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-pem-file")
		_, _ = w.Write(h.sim.CAPEM())
	})
	h.outer = guard(mux)
	return h
}

// page adds the files of the page.
func page(mux *http.ServeMux) {
	for path, file := range map[string]struct{ name, kind string }{
		"GET /{$}": {"index.html", "text/html; charset=utf-8"}, "GET /style.css": {"style.css", "text/css; charset=utf-8"},
		"GET /app.js": {"app.js", "text/javascript; charset=utf-8"}, "GET /icon.svg": {"icon.svg", "image/svg+xml"},
	} {
		body, err := web.ReadFile("web/" + file.name)
		if err != nil {
			panic(err) // it is embedded
		}
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", file.kind)
			_, _ = w.Write(body)
		})
	}
}

func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.outer.ServeHTTP(w, r) }

// Serve serves on a listener until the context ends.
func (h *Handler) Serve(ctx context.Context, l net.Listener) error {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx }}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	defer h.StopScript()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// policy lets the page use what this server serves, and nothing else, and nobody frame it.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// guard refuses what a foreign site may make a browser send, and sets the headers of every answer.
func guard(next http.Handler) http.Handler {
	sameOrigin := http.NewCrossOriginProtection().Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if !local(r.Host) {
			http.Error(w, fmt.Sprintf("host %q could be anybody's name for this address: use an IP address, localhost, or a name without a dot or below svc", r.Host), http.StatusForbidden)
			return
		}
		sameOrigin.ServeHTTP(w, r)
	})
}

// local reports whether a Host header is an address, or a name that nobody can register: an attacker's own name that resolves to this
// machine would make its page the same origin.
func local(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	host = strings.ToLower(strings.Trim(host, "[]"))
	if net.ParseIP(host) != nil {
		return true
	}
	host = strings.TrimSuffix(host, ".")
	if host == "" {
		return false
	}
	return !strings.Contains(host, ".") || slices.ContainsFunc([]string{".localhost", ".svc", ".svc.cluster.local"},
		func(s string) bool { return strings.HasSuffix(host, s) })
}

// events is the stream of server-sent events: a pulse whenever something changed, and a comment now and then that keeps
// proxies from closing it.
func (h *Handler) events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	out := http.NewResponseController(w)
	tick := time.NewTicker(pulseEvery)
	defer tick.Stop()
	var last []byte
	quiet := 0
	for {
		p, err := json.Marshal(h.sim.Pulse())
		if err != nil {
			return
		}
		switch {
		case string(p) != string(last):
			_, err = fmt.Fprintf(w, "retry: 1000\nevent: pulse\ndata: %s\n\n", p)
			last, quiet = p, 0
		case quiet > 50:
			_, err = io.WriteString(w, ": still here\n\n")
			quiet = 0
		default:
			quiet++
		}
		if err != nil || out.Flush() != nil {
			return
		}
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
}

func (h *Handler) services(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	page, err1 := number(q.Get("page"), 1)
	size, err2 := number(q.Get("page_size"), 50)
	if err := errors.Join(err1, err2); err != nil {
		refuse(w, err)
		return
	}
	send(w, h.sim.Services(avisim.ServiceQuery{Search: q.Get("search"), State: q.Get("state"), Sort: q.Get("sort"), Page: page, Size: size}))
}

func (h *Handler) addFault(w http.ResponseWriter, r *http.Request) {
	var f avisim.Fault
	err := decode(w, r, &f)
	if err == nil {
		var id int
		if id, err = h.sim.AddFault(f); err == nil {
			send(w, map[string]int{"id": id})
			return
		}
	}
	refuse(w, err)
}

func (h *Handler) removeFault(w http.ResponseWriter, r *http.Request) {
	id, err := number(r.PathValue("id"), 0)
	if err != nil || !h.sim.RemoveFault(id) {
		http.Error(w, fmt.Sprintf("there is no fault %s", r.PathValue("id")), http.StatusNotFound)
	}
}

func (h *Handler) serverHealth(v struct {
	IP     string
	Port   int
	Up     bool
	Reason string
}) error {
	if net.ParseIP(v.IP) == nil {
		return fmt.Errorf("ip %q is not an address", v.IP)
	}
	h.sim.SetServerHealth(v.IP, v.Port, v.Up, v.Reason)
	return nil
}

// requests answers with the whole log, or with after and limit with a part of it.
func (h *Handler) requests(w http.ResponseWriter, r *http.Request) {
	if !r.URL.Query().Has("after") && !r.URL.Query().Has("limit") {
		send(w, h.sim.Requests())
		return
	}
	after, limit, err := window(r, 200)
	if err != nil {
		refuse(w, err)
		return
	}
	send(w, h.sim.RequestsAfter(after, limit))
}

func window(r *http.Request, usual int) (after int64, limit int, err error) {
	a, err1 := number(r.URL.Query().Get("after"), 0)
	limit, err2 := number(r.URL.Query().Get("limit"), usual)
	return int64(a), limit, errors.Join(err1, err2)
}

func number(s string, otherwise int) (int, error) {
	if s == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%q is not a number from 0", s)
	}
	return n, nil
}

func (h *Handler) counters(w http.ResponseWriter, _ *http.Request) {
	type row struct {
		avisim.Counter
		Count int `json:"count"`
	}
	out := []row{}
	for c, n := range h.sim.Counters() {
		out = append(out, row{c, n})
	}
	slices.SortFunc(out, func(a, b row) int {
		return strings.Compare(fmt.Sprintf("%s %s %03d", a.Route, a.Method, a.Status), fmt.Sprintf("%s %s %03d", b.Route, b.Method, b.Status))
	})
	send(w, out)
}

func (h *Handler) har(w http.ResponseWriter, r *http.Request) {
	normal, err := strconv.ParseBool(r.URL.Query().Get("normal"))
	if r.URL.Query().Has("normal") && err != nil {
		refuse(w, errors.New("normal has to be true or false"))
		return
	}
	b, err := h.sim.HAR(normal)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Disposition", `attachment; filename="avisim.har"`)
	_, _ = w.Write(b) //nolint:gosec // it is JSON, says so, and may not be sniffed
}

// RunScript starts a script in the background, in place of one that still runs.
func (h *Handler) RunScript(sc *avisim.Script) {
	h.StopScript()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	h.mu.Lock()
	h.script = script{cancel: cancel, done: done, Steps: sc.Len(), Running: true}
	h.mu.Unlock()
	go func() {
		defer close(done)
		err := h.sim.Run(ctx, sc)
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.script.done != done {
			return
		}
		h.script.Running = false
		if err != nil && !errors.Is(err, context.Canceled) {
			h.script.Error = err.Error()
		}
	}()
}

// StopScript ends the script that runs, and returns when it has ended. What it added stays.
func (h *Handler) StopScript() {
	h.mu.Lock()
	running := h.script
	h.mu.Unlock()
	if running.cancel != nil {
		running.cancel()
		<-running.done
	}
}

func (h *Handler) runScript(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err == nil {
		var sc *avisim.Script
		if sc, err = avisim.ParseScript(text); err == nil {
			h.RunScript(sc)
			send(w, map[string]int{"steps": sc.Len()})
			return
		}
	}
	refuse(w, err)
}

func (h *Handler) scriptState(w http.ResponseWriter, _ *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	send(w, h.script)
}

// with decodes the request's body for do, and answers 400 with its error.
func with[T any](do func(T) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var in T
		err := decode(w, r, &in)
		if err == nil {
			err = do(in)
		}
		if err != nil {
			refuse(w, err)
		}
	}
}

func decode(w http.ResponseWriter, r *http.Request, to any) error {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20))
	d.DisallowUnknownFields()
	return d.Decode(to)
}

func refuse(w http.ResponseWriter, err error) { http.Error(w, err.Error(), http.StatusBadRequest) }

func send(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // a client that is gone is not our concern
}
