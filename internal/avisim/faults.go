package avisim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"
)

// Fault is one misbehaviour of the simulated Controller. The conditions are and-ed; the zero value of each matches
// every request. The effects combine: a Delay comes first, then Hang, ResetBefore, ExpireSessions, Status, ResetAfter.
type Fault struct {
	Name       string         // shown in the request log
	Method     string         // HTTP method
	Type       string         // object type, e.g. "pool"; "login" and "logout"; a special endpoint's first segment, e.g. "cluster"
	Route      string         // the whole template, e.g. "/api/pool/{uuid}"
	ObjectName *regexp.Regexp // the object's name: in the body, in the store by uuid, or the query's name=
	Tenant     string         // name, as in X-Avi-Tenant

	After int // skip the first After matches
	Count int // apply to this many matches, 0 = for ever

	Status         int               // answer so instead of processing
	Body           string            // with Status; "" means the usual body of that status
	Header         map[string]string // with Status, e.g. Retry-After
	Delay          time.Duration     // before anything else
	ResetBefore    bool              // cut the connection without processing
	ResetAfter     bool              // process, then cut the connection: the work is done and the answer lost
	ExpireSessions bool              // end all sessions first, so that the request meets 401
	Hang           bool              // no answer until the client gives up
}

// fault is an injected Fault with its counts.
type fault struct {
	Fault
	matched, applied int
}

// usual are the bodies of statuses that a fault answers with unless it brings its own.
var usual = map[int]string{
	http.StatusBadRequest:          `{"error":"No available free IPs"}`,
	http.StatusUnauthorized:        `{"detail":"Authentication credentials were not provided."}`,
	http.StatusForbidden:           `{"error":"Configuration is disallowed during upgrade"}`,
	http.StatusNotFound:            `{"error":"%s object not found!"}`,
	http.StatusConflict:            `{"error":"%s with this Name, Tenant ref and Cloud ref already exists."}`,
	http.StatusPreconditionFailed:  `{"error":"Need to reload object data %s"}`,
	419:                            `{"error":"Need to switch session"}`,
	http.StatusTooManyRequests:     `{"error":"Too many requests"}`,
	http.StatusInternalServerError: `{"error":"Internal server error"}`,
	http.StatusBadGateway:          "<html><head><title>502 Bad Gateway</title></head><body><center><h1>502 Bad Gateway</h1></center></body></html>",
	http.StatusServiceUnavailable:  "<html><head><title>503 Service Temporarily Unavailable</title></head><body><center><h1>503 Service Temporarily Unavailable</h1></center></body></html>",
	http.StatusGatewayTimeout:      "<html><head><title>504 Gateway Time-out</title></head><body><center><h1>504 Gateway Time-out</h1></center></body></html>",
}

// Inject adds a fault. Faults are tried in the order in which they were added, and the first that applies takes effect.
func (s *Server) Inject(f Fault) (remove func()) {
	s.faultMu.Lock()
	defer s.faultMu.Unlock()
	added := &fault{Fault: f}
	s.faults = append(s.faults, added)
	return func() {
		s.faultMu.Lock()
		defer s.faultMu.Unlock()
		for i, x := range s.faults {
			if x == added {
				s.faults = append(s.faults[:i:i], s.faults[i+1:]...)
				return
			}
		}
	}
}

// ClearFaults removes all faults. FaultHits keeps its count.
func (s *Server) ClearFaults() {
	s.faultMu.Lock()
	defer s.faultMu.Unlock()
	s.faults = nil
}

// FaultHits returns how many times any fault took effect.
func (s *Server) FaultHits() int {
	s.faultMu.Lock()
	defer s.faultMu.Unlock()
	return s.faultHits
}

// strike finds the fault that applies to a request, and counts it.
func (s *Server) strike(c *call) *Fault {
	s.faultMu.Lock()
	defer s.faultMu.Unlock()
	for _, f := range s.faults {
		if f.Count > 0 && f.applied >= f.Count || !f.matches(s, c) {
			continue
		}
		f.matched++
		if f.matched <= f.After {
			continue
		}
		f.applied++
		s.faultHits++
		hit := f.Fault
		return &hit
	}
	return nil
}

func (f *fault) matches(s *Server, c *call) bool {
	tenant := c.r.Header.Get("X-Avi-Tenant")
	if tenant == "" {
		tenant = adminTenant
	}
	return (f.Method == "" || f.Method == c.r.Method) &&
		(f.Type == "" || f.Type == c.route.typ || f.Type == c.route.name()) &&
		(f.Route == "" || f.Route == c.route.template()) &&
		(f.Tenant == "" || f.Tenant == tenant) &&
		(f.ObjectName == nil || f.ObjectName.MatchString(s.objectName(c)))
}

// objectName is the name of the object that a request is about, as far as it can be known before processing.
func (s *Server) objectName(c *call) string {
	if c.route.uuid != "" {
		s.mu.RLock()
		defer s.mu.RUnlock()
		if o := s.store.get(ref{c.route.typ, c.route.uuid}); o != nil {
			return o.name
		}
		return ""
	}
	var in struct{ Name string }
	if c.r.Method == http.MethodPost && json.Unmarshal(c.body, &in) == nil {
		return in.Name
	}
	return c.query.Get("name")
}

// answer is the response that the fault gives instead of processing.
func (f *Fault) answer(c *call) *answer {
	body := f.Body
	if body == "" {
		body = usual[f.Status]
		title := c.route.typ
		if sh := c.store.shelves[title]; sh != nil {
			title = sh.kind.title
		}
		switch {
		case f.Status == http.StatusUnauthorized && c.route.typ == "login":
			body = `{"error":"Invalid credentials"}`
		case strings.Contains(body, "%s"):
			body = fmt.Sprintf(body, title)
		}
	}
	a := plain(f.Status, body)
	if body != "" && body[0] == '<' {
		a.set("Content-Type", "text/html")
	}
	for k, v := range f.Header {
		a.set(k, v)
	}
	return a
}

// SetLatency sets how long each read and each write takes at least.
func (s *Server) SetLatency(read, write time.Duration) {
	s.readLatency.Store(int64(read))
	s.writeLatency.Store(int64(write))
}

// SetUpgradeMode makes writes fail with 403 "Configuration is disallowed during upgrade" while reads work.
func (s *Server) SetUpgradeMode(on bool) { s.upgrading.Store(on) }

// SetIPAMExhausted makes every allocation fail with 400 "No available free IPs".
func (s *Server) SetIPAMExhausted(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ipam.exhausted = on
}
