package avisim

import (
	"cmp"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
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

	epoch sync.RWMutex // held for reading while a request is processed, for writing while the version changes
	mu    sync.RWMutex // guards what follows; never held while sleeping or writing to a client
	inside
	agenda   agenda
	history  []storeChange
	replicas []*replica

	sessionMu sync.Mutex
	sessions  map[string]*session
	failures  map[string]failures
	tokens    []token
	locked    map[string]int // users whose logins are refused, by how many faults

	faultMu   sync.Mutex
	faults    []*fault
	faultID   int
	faultHits int

	bucketMu sync.Mutex
	bucket   *rate.Limiter // of the controller properties

	logMu     sync.Mutex
	passing   sync.RWMutex // held for reading by requests on their way into the log
	log       []Request
	logSize   int // bytes, about
	logBytes  int // see the constant
	requestID int64
	counters  map[Counter]int

	readLatency, writeLatency atomic.Int64
	ipamSlow                  atomic.Int64
	upgrading                 atomic.Bool
	strictLogin               atomic.Bool
	tlsBroken                 atomic.Int32 // how many faults make handshakes fail
	revision, faultRevision   atomic.Int64 // count changes of objects and health, and of faults

	view view

	certificate atomic.Pointer[certificate]
	saver       atomic.Pointer[saver] // nil without a state file
	listener    *gate
	http        *http.Server
	served      chan struct{}
}

// inside is what the simulated Controller knows of itself. It can be copied, for a replica that reads.
type inside struct {
	store *store
	ipam  *ipam

	placement *placement
	dynamics  Dynamics
	overrides map[ref]state // states set by hand
	forced    []*forced     // replaced, never changed

	lastTick int64
	rulesOff map[string]bool
	warnings map[string]*Warning // by rule
	health   map[endpointKey][]healthEvent
	upSince  string
	leader   string // name of the node that leads; "" for the first one
	bumps    bool   // see SetNoOpBump

	clusterBody     map[string]any // of /api/cluster
	clusterModified int64
	portal          *certificate // what was presented before the system configuration named one
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
	s := newServer(o, v)
	if err := s.populate(); err != nil {
		return nil, err
	}
	if s.certificate.Load() == nil {
		if err := s.loadCertificate(); err != nil {
			return nil, err
		}
	}
	if s.listener, err = listen(o.Addr); err != nil {
		return nil, err
	}
	if o.StateFile != "" {
		s.startSaving(fileKeeper{o.StateFile})
		s.dirty()
	}
	s.store.changed = func(old, now *object) {
		s.follow(old, now)
		s.journal(old, now)
	}
	s.http = &http.Server{
		Handler:   s,
		TLSConfig: &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: s.serverCertificate, GetConfigForClient: s.configFor},
		ErrorLog:  log.New(io.Discard, "", 0), // handshakes that clients give up are no news here
	}
	return s, nil
}

// newServer makes a Server with nothing in it.
func newServer(o Options, v version) *Server {
	s := &Server{
		options: o, version: v, now: o.Now,
		inside: inside{store: newStore(o.Seed), ipam: newIPAM(), health: map[endpointKey][]healthEvent{}, overrides: map[ref]state{},
			rulesOff: defaultRules(o), warnings: map[string]*Warning{}},
		locked:   map[string]int{},
		sessions: map[string]*session{}, failures: map[string]failures{},
		counters: map[Counter]int{}, logBytes: logBytes, served: make(chan struct{}),
	}
	if s.now == nil {
		s.now = time.Now
	}
	s.placement = newPlacement(s)
	s.store.changed = s.follow
	s.clusterBody, s.clusterModified = shippedCluster(), s.tick()
	s.upSince = s.now().UTC().Format("2006-01-02 15:04:05")
	s.SetLatency(o.ReadLatency, o.WriteLatency)
	return s
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
	s.ClearFaults()
	_ = s.http.Close()
	_ = s.listener.Close()
	s.stopSaving()
}

// Host is the address that the server listens on, host:port.
func (s *Server) Host() string { return s.listener.Addr().String() }

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

	defer s.leave(c)
	struck := s.strike(c)
	entry.Fault = faultNames(struck)
	a, deliver := s.pass(c, struck)
	if a != cut {
		entry.Status = a.status
	}
	entry.Took = s.now().Sub(start)
	s.record(c, entry, a) // before the answer goes out, so that a client which has it finds it logged
	s.leave(c)
	if a == cut {
		abort(w)
		return
	}
	a.timing(c.r.Method, entry.Took)
	s.send(w, c, a, deliver)
}

// pass takes a request through the latency, the faults that struck it, and processing. The answer may be cut; deliver is nil
// for the usual way of sending it.
func (s *Server) pass(c *call, struck []*fault) (a *answer, deliver func(http.ResponseWriter, *http.Request, []byte)) {
	latency := time.Duration(s.writeLatency.Load())
	if isRead(c) {
		latency = time.Duration(s.readLatency.Load())
	} else if c.route.typ == "vsvip" {
		latency += time.Duration(s.ipamSlow.Load())
	}
	if !sleep(c.r.Context(), latency) {
		return cut, nil
	}
	process := (*Server).process
	var effects []hooks
	for _, f := range struck {
		if f.struck != nil {
			f.struck()
		}
		f.begin(s)
		for _, h := range f.hooks {
			if h.covers(c) && (h.kind == kindRequest || f.conditional() || f.struck != nil) {
				effects = append(effects, h)
			}
		}
	}
	for _, h := range effects {
		if a != nil {
			break
		}
		if h.act != nil && !h.follows(c) {
			_ = h.act(s, c) // an object that is not there can't be changed, which is no news to the client
		}
		if h.before != nil {
			a = h.before(s, c)
		}
		if h.process != nil {
			process = h.process
		}
	}
	if a == nil {
		c.passing = true
		s.passing.RLock()
		a = process(s, c)
		for _, h := range effects {
			if h.act != nil && h.follows(c) {
				_ = h.act(s, c)
			}
		}
	}
	for _, h := range effects {
		if a != cut && h.after != nil {
			h.after(s, c, a)
		}
		if h.deliver != nil {
			deliver = h.deliver
		}
		if h.lose {
			return cut, nil
		}
	}
	return a, deliver
}

// leave ends what passing is about: from the processing of a request to its entry in the log nobody reads the log, so that who
// has seen what a request did finds it there.
func (s *Server) leave(c *call) {
	if c.passing {
		c.passing = false
		s.passing.RUnlock()
	}
}

// follows tells if an action comes after the processing of the request.
func (h *hooks) follows(c *call) bool { return h.late && (h.lateWrites || isRead(c)) }

// faultNames lists the faults for the request log.
func faultNames(struck []*fault) string {
	var out []string
	for _, f := range struck {
		out = append(out, cmp.Or(f.Name, "unnamed"))
	}
	return strings.Join(out, ", ")
}

// process handles the request, with the framework's own check of the Referer.
func (s *Server) process(c *call) *answer {
	s.epoch.RLock()
	defer s.epoch.RUnlock()
	s.catchUp()
	if !isRead(c) {
		defer s.dirty() // sessions, tokens and passwords are not in the store
	}
	if s.overLimit() {
		return usualAnswer(c, http.StatusTooManyRequests)
	}
	if s.options.RequireReferer && c.r.Method != http.MethodGet && c.r.Method != http.MethodHead && c.r.Referer() == "" {
		return detail(http.StatusForbidden, "CSRF Failed: Referer checking failed - no Referer.")
	}
	return s.handle(c)
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

func (s *Server) send(w http.ResponseWriter, c *call, a *answer, deliver func(http.ResponseWriter, *http.Request, []byte)) {
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
	if deliver != nil {
		h.Set("Content-Length", strconv.Itoa(len(a.body)))
		w.WriteHeader(a.status)
		deliver(w, c.r, a.body)
		return
	}
	w.WriteHeader(a.status)
	if c.r.Method != http.MethodHead {
		_, _ = w.Write(a.body) // a client that is gone is not our concern
	}
}
