package avisim

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

// logLimit bounds the request log; the oldest entries go first. bodyLimit is the longest body that an entry keeps.
const (
	logLimit  = 200_000
	bodyLimit = 64 << 10
)

// Request is one entry of the request log.
type Request struct {
	Time    time.Time `json:"time"`
	Method  string    `json:"method"`
	Path    string    `json:"path"`
	Query   string    `json:"query,omitempty"`
	Type    string    `json:"type"`              // object type, "login", or a special endpoint's first segment
	Tenant  string    `json:"tenant,omitempty"`  // X-Avi-Tenant as sent
	Version string    `json:"version,omitempty"` // X-Avi-Version as sent
	Status  int       `json:"status"`            // 0 if the client got no answer

	// Secrets are masked; a body that is not JSON is a JSON string; nil beyond 64 KiB and with Options.OmitBodies.
	Body     json.RawMessage `json:"body,omitempty"`
	Response json.RawMessage `json:"response,omitempty"`

	Fault string        `json:"fault,omitempty"` // name of the fault that took effect, "unnamed" if it has none
	Took  time.Duration `json:"took"`            // ns, latency and delays included
}

// Counter identifies requests that are counted together.
type Counter struct {
	Method string `json:"method"`
	Route  string `json:"route"` // path template, e.g. /api/pool/{uuid}
	Status int    `json:"status"`
}

func (s *Server) record(c *call, entry Request, a *answer) {
	if !s.options.OmitBodies {
		entry.Body = loggable(c.body, c.route)
		if a != cut {
			entry.Response = loggable(a.body, c.route)
		}
	}
	s.logMu.Lock()
	defer s.logMu.Unlock()
	s.counters[Counter{c.r.Method, c.route.template(), entry.Status}]++
	if len(s.log) >= logLimit {
		s.log = append(s.log[:0:0], s.log[logLimit/2:]...)
	}
	s.log = append(s.log, entry)
}

// loggable masks secrets. Object bodies go as they are: no type of this simulator but the login and token endpoints
// carries any, and decoding each body again would cost more than serving it.
func loggable(b []byte, r route) json.RawMessage {
	if len(b) == 0 || len(b) > bodyLimit {
		return nil
	}
	if isObject(r.typ) && json.Valid(b) {
		return b
	}
	var v any
	if json.Unmarshal(b, &v) != nil {
		v = string(b)
		if !r.api { // a login form
			v = "********"
		}
	}
	out, err := json.Marshal(mask(v))
	if err != nil {
		return nil
	}
	return out
}

// isObject tells if the type is one whose bodies hold no secrets.
func isObject(typ string) bool {
	switch typ {
	case "virtualservice", "vsvip", "pool", "poolgroup", "l4policyset":
		return true
	}
	return false
}

// Requests returns the log: all requests since the start or the last reset, oldest first, in order of completion.
func (s *Server) Requests() []Request {
	s.logMu.Lock()
	defer s.logMu.Unlock()
	return append([]Request(nil), s.log...)
}

// Writes returns the logged POST, PUT, PATCH and DELETE requests under /api, whatever became of them.
func (s *Server) Writes() []Request {
	var out []Request
	for _, r := range s.Requests() {
		if r.Method != http.MethodGet && r.Method != http.MethodHead && strings.HasPrefix(strings.TrimLeft(r.Path, "/"), "api/") {
			out = append(out, r)
		}
	}
	return out
}

// Counters returns how many requests each route got, by status.
func (s *Server) Counters() map[Counter]int {
	s.logMu.Lock()
	defer s.logMu.Unlock()
	out := make(map[Counter]int, len(s.counters))
	for k, n := range s.counters {
		out[k] = n
	}
	return out
}

// ResetRequests empties the log and the counters.
func (s *Server) ResetRequests() {
	s.logMu.Lock()
	defer s.logMu.Unlock()
	s.log = nil
	clear(s.counters)
}
