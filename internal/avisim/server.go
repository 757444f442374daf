package avisim

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// Options set up a Server. The zero value is usable.
type Options struct {
	Addr               string // default "127.0.0.1:0"
	Username, Password string // default admin / avi123$%, which is no secret
	Version            string // default "30.2.1"
	LicenseTier        string // default "ENTERPRISE"

	// ReadLatency and WriteLatency are slept before each read and write. 20 ms and 150 ms are what recordings show.
	ReadLatency, WriteLatency time.Duration

	Seed              int64    // deterministic uuids of created objects when != 0; shipped objects always have the same
	CertFile, KeyFile string   // default: a certificate of an own CA, both made in memory
	HostNames         []string // further names and addresses for the certificate that is made

	// UnknownFields is what becomes of a field that the schema does not have: "accept" (the default) drops it, which is
	// recorded for 20.1, "reject" refuses the write.
	UnknownFields string
	// StrictEvidence turns the rules of which less is known into warnings: they let the write pass and are listed by
	// Warnings. The default enforces all of them.
	StrictEvidence Evidence

	RequireReferer bool             // refuse unsafe requests without a Referer, as the framework would (documented, status inferred)
	OmitBodies     bool             // keep bodies out of the request log, for benchmarks
	Now            func() time.Time // default time.Now

	// FixtureFile describes clouds, networks, tenants and more that a new Controller finds; see docs/simulator.md.
	FixtureFile string

	// StateFile keeps the state: what is in it comes back, and the fixture's objects are not made again.
	StateFile string

	Logf func(string, ...any) // told of failures that no client hears of; default: nobody
}

// Server is a simulated Avi Controller. Make one with New; all methods are safe for concurrent use.
type Server struct {
	options Options
	version version
	now     func() time.Time

	mu     sync.RWMutex // guards what follows; never held while sleeping or writing to a client
	store  *store
	ipam   *ipam
	agenda agenda

	placement *placement
	dynamics  Dynamics
	overrides map[ref]state // states set by hand

	lastTick int64
	rulesOff map[string]bool
	warnings map[string]*Warning // by rule
	health   map[endpointKey][]healthEvent
	upSince  string
	bumps    bool // see SetNoOpBump

	clusterBody     map[string]any // of /api/cluster
	clusterModified int64
	portal          *certificate // what was presented before the system configuration named one

	sessionMu sync.Mutex
	sessions  map[string]*session
	failures  map[string]failures
	tokens    []token

	faultMu   sync.Mutex
	faults    []*fault
	faultHits int

	logMu    sync.Mutex
	log      []Request
	counters map[Counter]int

	readLatency, writeLatency atomic.Int64
	ipamSlow                  atomic.Int64
	upgrading, down           atomic.Bool
	strictLogin               atomic.Bool

	certificate atomic.Pointer[certificate]
	saver       atomic.Pointer[saver] // nil without a state file
	listener    net.Listener
	http        *http.Server
	served      chan struct{}
}

// New makes a Server with the objects that a Controller ships with and a usable Default-Cloud. It listens at once, so
// that Host is known, and serves after Start.
func New(o Options) (*Server, error) {
	defaults := map[*string]string{&o.Addr: "127.0.0.1:0", &o.Username: "admin", &o.Password: "avi123$%",
		&o.Version: "30.2.1", &o.LicenseTier: "ENTERPRISE"}
	for p, v := range defaults {
		if *p == "" {
			*p = v
		}
	}
	v, err := parseVersion(o.Version)
	if err == nil {
		err = o.check()
	}
	if err != nil {
		return nil, err
	}
	s := &Server{
		options: o, version: v, now: o.Now,
		store: newStore(o.Seed), ipam: newIPAM(), health: map[endpointKey][]healthEvent{}, overrides: map[ref]state{},
		rulesOff: defaultRules(o), warnings: map[string]*Warning{},
		sessions: map[string]*session{}, failures: map[string]failures{},
		counters: map[Counter]int{}, served: make(chan struct{}),
	}
	if s.now == nil {
		s.now = time.Now
	}
	s.placement = newPlacement(s)
	s.store.changed = s.follow
	s.clusterBody, s.clusterModified = shippedCluster(), s.tick()
	s.upSince = s.now().UTC().Format("2006-01-02 15:04:05")
	s.SetLatency(o.ReadLatency, o.WriteLatency)
	if err := s.populate(); err != nil {
		return nil, err
	}
	if s.certificate.Load() == nil {
		if err := s.loadCertificate(); err != nil {
			return nil, err
		}
	}
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", o.Addr)
	if err != nil {
		return nil, err
	}
	if o.StateFile != "" {
		s.startSaving(fileKeeper{o.StateFile})
		s.dirty()
	}
	s.listener = &gate{Listener: l, down: &s.down, open: map[net.Conn]struct{}{}}
	s.http = &http.Server{
		Handler:   s,
		TLSConfig: &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: s.serverCertificate},
		ErrorLog:  log.New(io.Discard, "", 0), // handshakes that clients give up are no news here
	}
	return s, nil
}

// Start serves in the background.
func (s *Server) Start() error {
	select {
	case <-s.served:
		return errors.New("server is closed")
	default:
	}
	go func() {
		defer close(s.served)
		_ = s.http.ServeTLS(s.listener, "", "") // always ends with an error: by Close, or the listener's
	}()
	return nil
}

// Close stops serving and cuts all connections.
func (s *Server) Close() {
	_ = s.http.Close()
	_ = s.listener.Close()
	s.stopSaving()
}

// Host is the address that the server listens on, host:port.
func (s *Server) Host() string { return s.listener.Addr().String() }

// SetDown cuts all connections and closes new ones at once, as a Controller does whose process is gone; SetDown(false)
// ends that. State is kept.
func (s *Server) SetDown(down bool) {
	s.down.Store(down)
	if down {
		s.listener.(*gate).cut()
	}
}

// gate is a listener that knows its connections and can close them.
type gate struct {
	net.Listener
	down *atomic.Bool
	mu   sync.Mutex
	open map[net.Conn]struct{}
}

type gateConn struct {
	net.Conn
	gate *gate
}

func (g *gate) Accept() (net.Conn, error) {
	for {
		c, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if g.down.Load() {
			reset(c)
			continue
		}
		g.mu.Lock()
		g.open[c] = struct{}{}
		g.mu.Unlock()
		if g.down.Load() { // SetDown may have cut the others just before this one was noted
			g.forget(c)
			reset(c)
			continue
		}
		return &gateConn{c, g}, nil
	}
}

func (g *gate) forget(c net.Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.open, c)
}

func (g *gate) cut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for c := range g.open {
		reset(c)
	}
	clear(g.open)
}

func (c *gateConn) Close() error {
	c.gate.forget(c.Conn)
	return c.Conn.Close()
}

// reset closes a connection with RST instead of FIN, so that the peer sees a cut and not an orderly end.
func reset(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	_ = c.Close()
}

// ServeHTTP handles one request: latency, faults, the request itself, the log, the answer.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := s.now()
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64<<20))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	c := &call{r: r, store: s.store, body: body, version: oldest, route: parseRoute(r.URL.Path)}
	// Clients write "?a=b&" and "?name"; what does not parse is left out as the Controller's framework would.
	c.query, _ = url.ParseQuery(r.URL.RawQuery)
	entry := Request{Time: start, Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery, Type: c.route.typ,
		Tenant: r.Header.Get("X-Avi-Tenant"), Version: r.Header.Get("X-Avi-Version")}

	latency := time.Duration(s.writeLatency.Load())
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		latency = time.Duration(s.readLatency.Load())
	} else if c.route.typ == "vsvip" {
		latency += time.Duration(s.ipamSlow.Load())
	}
	f := s.strike(c)
	if f != nil {
		latency += f.Delay
		if entry.Fault = f.Name; entry.Fault == "" {
			entry.Fault = "unnamed"
		}
	}
	var a *answer
	if sleep(r.Context(), latency) {
		a = s.respond(c, f)
	}
	if a != nil {
		entry.Status = a.status
	}
	lost := a == nil || f != nil && f.ResetAfter
	if lost {
		entry.Status = 0
	}
	entry.Took = s.now().Sub(start)
	s.record(c, entry, a) // before the answer goes out, so that a client which has it finds it logged
	if lost {
		abort(w)
	}
	s.send(w, c, a)
}

// respond applies the fault and processes the request; nil means that the client gets no answer.
func (s *Server) respond(c *call, f *Fault) *answer {
	if f == nil {
		return s.process(c)
	}
	switch {
	case f.Hang:
		<-c.r.Context().Done()
		return nil
	case f.ResetBefore:
		return nil
	}
	if f.ExpireSessions {
		s.ExpireSessions()
	}
	if f.Status != 0 {
		return f.answer(c)
	}
	return s.process(c)
}

// process handles the request, with the framework's own check of the Referer.
func (s *Server) process(c *call) *answer {
	s.catchUp()
	if c.r.Method != http.MethodGet && c.r.Method != http.MethodHead {
		defer s.dirty() // sessions, tokens and passwords are not in the store
	}
	if s.options.RequireReferer && c.r.Method != http.MethodGet && c.r.Method != http.MethodHead && c.r.Referer() == "" {
		return detail(http.StatusForbidden, "CSRF Failed: Referer checking failed - no Referer.")
	}
	return s.handle(c)
}

// sleep waits, and tells if the client still does.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// abort cuts the connection: with RST where the protocol allows to take it over, else by ending the stream.
func abort(w http.ResponseWriter) {
	if h, ok := w.(http.Hijacker); ok {
		if conn, _, err := h.Hijack(); err == nil {
			if t, ok := conn.(*tls.Conn); ok {
				conn = t.NetConn()
			}
			if g, ok := conn.(*gateConn); ok {
				g.gate.forget(g.Conn)
				conn = g.Conn
			}
			reset(conn)
			return
		}
	}
	panic(http.ErrAbortHandler)
}

// fixedHeaders go with every answer. Evidence: recorded.
var fixedHeaders = map[string][]string{
	"Content-Type":                     {"application/json"},
	"Cache-Control":                    {"private, no-cache, must-revalidate"},
	"Vary":                             {"Accept, Cookie", "Origin"},
	"Strict-Transport-Security":        {"max-age=31536000; includeSubdomains"},
	"X-Frame-Options":                  {"SAMEORIGIN"},
	"X-Content-Type-Options":           {"nosniff"},
	"X-Xss-Protection":                 {"1; mode=block"},
	"Referrer-Policy":                  {"strict-origin"},
	"Content-Security-Policy":          {"default-src 'self'; style-src 'self' 'unsafe-inline'; font-src 'self' data:; img-src 'self' data:;"},
	"Access-Control-Allow-Origin":      {"https://portal.avinetworks.com"},
	"Access-Control-Allow-Credentials": {"true"},
	"Access-Control-Allow-Methods":     {"GET, POST, PUT, DELETE, OPTIONS"},
	"Access-Control-Expose-Headers":    {"X-NEXT-CALL"},
	"Access-Control-Allow-Headers": {"Accept,Authorization,Cache-Control,Content-Type,DNT,If-Modified-Since,Keep-Alive,Origin,User-Agent," +
		"X-Mx-ReqToken,X-Requested-With,X-Avi-Tenant,X-Avi-UserAgent,X-Avi-Tenant-UUID,X-CSRFToken,X-PORTAL-AUTHTOKEN"},
}

func (s *Server) send(w http.ResponseWriter, c *call, a *answer) {
	h := w.Header()
	for k, v := range fixedHeaders {
		if !a.bare || k == "Content-Type" || k == "Cache-Control" {
			h[k] = v
		}
	}
	h["AVI_API_VERSION"] = []string{c.version.join(".")}
	if c.version == oldest {
		h["AVI_API_VERSION"] = []string{"16_4_2"}
	}
	if a.bare {
		h.Set("Vary", "Cookie") // recorded
	} else {
		h.Set("Allow", c.allow())
	}
	for k, v := range a.header {
		h[k] = v
	}
	w.WriteHeader(a.status)
	if c.r.Method != http.MethodHead {
		_, _ = w.Write(a.body) // a client that is gone is not our concern
	}
}
