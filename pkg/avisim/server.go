// SPDX-License-Identifier: Apache-2.0

package avisim

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/api"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/fault"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/forward"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/probe"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/record"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/schema"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/transport"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/view"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/world"
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
	StrictEvidence schema.Evidence

	RequireReferer bool             // refuse unsafe requests without a Referer, as the framework would (documented, status inferred)
	OmitBodies     bool             // keep bodies out of the request log, for benchmarks
	LogBytes       int              // memory that the request log may take; the oldest go first; default 128 MiB
	Now            func() time.Time // default time.Now

	// FixtureFile describes clouds, networks, tenants and more that a new Controller finds; see docs/simulator.md.
	FixtureFile string

	// StateFile keeps the state: what is in it comes back, and the fixture's objects are not made again.
	StateFile string

	Logf func(string, ...any) // called with failures that no client sees; default: dropped
}

// Server is a simulated Avi Controller. Make one with New; all methods are safe for concurrent use.
//
// What it embeds are its sides, each of which can be handed on alone: the other administrator (Create, Edit, Remove, Object, Tree), the
// switches (SetIPAM, SetDynamics, SetServerHealth, SetRule), the accounts (ExpireSessions, LockAccount, SetPassword), the faults
// (Inject, AddFault, ClearFaults, Run), the log (Requests, Writes, Unexpected, Counters) and the board for people (Services, Changes,
// Forwarding).
type Server struct {
	*world.Admin
	*world.Switches
	*api.Accounts
	*fault.Layer
	*record.Log
	*view.Board

	options  Options
	world    *world.World
	api      *api.Handler
	gate     *transport.Gate
	identity *transport.Identity
	target   *fault.Target // of the faults
	http     *http.Server
	served   chan struct{}
	planing  sync.Mutex                    // held by who begins to carry traffic
	plane    atomic.Pointer[forward.Plane] // nil: no traffic is carried
}

// New makes a Server with the objects that a Controller ships with and a usable Default-Cloud. It listens at once, so
// that Host is known, and serves after Start.
func New(o Options) (*Server, error) {
	o.Addr = cmp.Or(o.Addr, "127.0.0.1:0")
	w, err := world.New(world.Settings{
		Username: o.Username, Password: o.Password, Version: o.Version, LicenseTier: o.LicenseTier, Seed: o.Seed,
		UnknownFields: o.UnknownFields, StrictEvidence: o.StrictEvidence,
		Now: o.Now, FixtureFile: o.FixtureFile, StateFile: o.StateFile, Logf: o.Logf,
	})
	if err != nil {
		return nil, err
	}
	s, err := listen(o, w)
	if err != nil {
		w.StopSaving()
		return nil, err
	}
	s.world.StartSaving()
	return s, nil
}

// listen makes a Server of a world, which listens and has the faults of before.
func listen(o Options, w *world.World) (*Server, error) {
	s, err := assemble(o, w)
	if err != nil {
		return nil, err
	}
	if s.gate, err = transport.Listen(o.Addr); err != nil {
		return nil, err
	}
	s.target.Gate = s.gate
	if err := fault.Keep(s.Layer); err != nil {
		return nil, errors.Join(err, s.gate.Close())
	}
	return s, nil
}

// assemble makes a Server of a world. It listens to nobody yet.
func assemble(o Options, w *world.World) (*Server, error) {
	host, _, err := net.SplitHostPort(o.Addr)
	if err != nil {
		return nil, err
	}
	s := &Server{options: o, world: w, served: make(chan struct{})}
	s.identity = transport.NewIdentity(o.CertFile, o.KeyFile, append([]string{host}, o.HostNames...), s.identityChanged)
	if s.api, err = api.New(w, s.identity, o.RequireReferer); err != nil {
		return nil, err
	}
	if err := errors.Join(w.Keep("certificate", s.identity.Save, s.identity.Load), s.identity.Ensure()); err != nil {
		return nil, err
	}
	s.Admin, s.Switches, s.Accounts = w.Admin(), w.Switches(), s.api.Accounts()
	s.target = &fault.Target{World: w, API: s.api, Identity: s.identity}
	s.Layer = fault.New(s.target)
	s.Log, s.Board = record.New(o.OmitBodies, o.LogBytes), view.New(w)
	s.SetLatency(o.ReadLatency, o.WriteLatency)
	s.http = &http.Server{
		Handler:           s,
		TLSConfig:         s.identity.TLS(),
		ReadHeaderTimeout: time.Minute,
		ErrorLog:          log.New(io.Discard, "", 0), // handshakes that clients give up are no news here
	}
	return s, nil
}

// identityChanged closes idle connections, so that a client's next request meets the new certificate.
func (s *Server) identityChanged() {
	s.world.Dirty()
	if s.http != nil {
		s.http.SetKeepAlivesEnabled(false) // closes idle connections
		s.http.SetKeepAlivesEnabled(true)
	}
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
		_ = s.http.ServeTLS(s.gate, "", "") // always ends with an error: by Close, or the listener's
	}()
	return nil
}

// Close stops serving and cuts all connections.
func (s *Server) Close() {
	s.Layer.Close()
	if p := s.plane.Load(); p != nil {
		p.Close()
	}
	_ = s.http.Close()
	_ = s.gate.Close()
	s.world.StopSaving()
}

// Host is the address that the server listens on, host:port.
func (s *Server) Host() string { return s.gate.Addr().String() }

// Save writes the state file now. Without one there is nothing to do.
func (s *Server) Save() error { return s.world.Save() }

// ServeHTTP handles one request: faults, latency, the request itself, the log, the answer.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := s.world.Now()
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64<<20))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	c := s.api.Call(r, body)
	pending := s.Begin()
	defer pending.Leave()
	struck := s.Strike(c)
	a, deliver := struck.Answer(c, func(c *api.Call) *api.Answer {
		pending.Enter()
		return s.api.Answer(c)
	})
	entry := record.Request{
		Time: start, Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery, Route: c.Route.Template(), Type: c.Route.Type,
		Tenant: r.Header.Get("X-Avi-Tenant"), Version: r.Header.Get("X-Avi-Version"),
		Header: r.Header, Body: c.Body, Fault: struck.Names(),
	}
	if a != api.Cut {
		entry.Status, entry.ResponseHeader, entry.Response = a.Status, a.Header, a.Body
	}
	entry.Took = s.world.Now().Sub(start)
	pending.Add(entry) // before the answer goes out, so that a client which has it finds it logged
	if a == api.Cut {
		transport.Abort(w)
		return
	}
	a.Timing(r.Method, entry.Took)
	a.Send(w, c, deliver)
}

// SetDown cuts all connections and closes new ones at once, as a Controller does whose process is gone; SetDown(false)
// ends that. State is kept.
func (s *Server) SetDown(down bool) { s.gate.SetDown(down) }

// SetUpgradeMode makes writes fail with 403 "Configuration is disallowed during upgrade" while reads work.
func (s *Server) SetUpgradeMode(on bool) { s.api.SetUpgradeMode(on) }

// SetPassword changes the password of a user, or makes a superuser of that name if there is none, and ends the user's sessions.
func (s *Server) SetPassword(username, password string) { s.Accounts.SetPassword(username, password) }

// RotateCertificate replaces the CA and the certificate by new ones and closes idle connections, so that a client's
// next request meets them.
func (s *Server) RotateCertificate() error { return s.identity.Rotate() }

// CAPEM is the PEM of the CA that a client has to trust.
func (s *Server) CAPEM() []byte { return s.identity.CAPEM() }

// StartProbing probes the servers of pools until the context ends.
func (s *Server) StartProbing(ctx context.Context, p probe.Probe) { probe.Start(ctx, s.world, p) }

// Forward carries traffic as the service engines would, until Close: it listens at the VIPs, where the options' map has them on this
// machine, and forwards to the servers of the pools. It does so once.
func (s *Server) Forward(o forward.Options) (*forward.Plane, error) {
	if o.Logf == nil {
		o.Logf = s.options.Logf
	}
	s.planing.Lock()
	defer s.planing.Unlock()
	if s.plane.Load() != nil {
		return nil, errors.New("traffic is carried already")
	}
	p := forward.Start(s.world, o)
	s.plane.Store(p)
	return p, nil
}

// Plane is what carries traffic, nil without Forward.
func (s *Server) Plane() *forward.Plane { return s.plane.Load() }

// HAR writes the request log as an HTTP Archive 1.2, with secrets masked. A normal one is the same in each run that makes the same
// requests: times are counted, durations and sizes are left out, and uuids, values of _last_modified and the server's address are numbered.
func (s *Server) HAR(normal bool) ([]byte, error) {
	return s.Archive(s.Host(), s.world.Version().Join("."), normal)
}

// Pulse says in few bytes what there is: two that are equal mean that nothing changed between them.
type Pulse struct {
	Objects  int64          `json:"objects"`
	States   string         `json:"states"`
	Faults   int64          `json:"faults"`
	Requests int64          `json:"requests"`
	Changes  int64          `json:"changes"`
	Counts   map[string]int `json:"counts"`
}

// Status is what the Controller says of itself, and how much there is of it.
type Status struct {
	Host    string         `json:"host"`
	Version string         `json:"version"`
	License string         `json:"license"`
	Leader  string         `json:"leader"`
	UpSince string         `json:"upSince"`
	Upgrade bool           `json:"upgrade"`
	Objects map[string]int `json:"objects"` // by type
}

// Pulse returns the present one.
func (s *Server) Pulse() Pulse {
	p := Pulse{Faults: s.FaultRevision(), Requests: s.LastID()}
	p.Objects, p.States, p.Counts = s.Digest()
	s.world.Read(func(r *world.Reader) { p.Changes = r.LastChange() })
	return p
}

// Status returns the present one.
func (s *Server) Status() Status {
	out := Status{Host: s.Host(), Upgrade: s.api.Upgrading(), Objects: map[string]int{}}
	s.world.Read(func(r *world.Reader) {
		cluster := r.Cluster()
		out.Version, out.License, out.Leader, out.UpSince = r.Version().Join("."), r.Tier(), cluster.Leader, cluster.UpSince
		for typ := range world.Kinds() {
			if n := len(r.Store.All(typ)); n > 0 {
				out.Objects[typ] = n
			}
		}
	})
	return out
}
