// Command avisim runs a simulated Avi Controller until it is told to stop.
//
// It serves the Controller's API on one listener, and on another one, never under /api, a small control API:
//
//	POST /faults         {"name","method","type","route","objectName","tenant","after","count","status","body","header",
//	                      "delay":"2s","resetBefore","resetAfter","expireSessions","hang"}
//	POST /faults/clear
//	POST /server-health  {"ip","port","up","reason"}
//	POST /service-engine {"name","up","reason"}
//	POST /switchover     {"tenant","name"}
//	POST /oper-status    {"type","tenant","name","state","reason"}
//	POST /ipam           {"async","quarantine","slow","changeAfter","otherThanPreferred","exhausted"}
//	POST /dynamics       {"placementDelay","initialization","checks","capacity"}
//	POST /rules          {"id","on"}
//	GET  /warnings       the rules that --strict-evidence let pass
//	POST /upgrade        {"on"}
//	POST /down           {"on"}
//	GET  /requests       the request log; DELETE empties it
//	GET  /tree           all objects by type
//	GET  /ca             the CA certificate in PEM
package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/avi-l4-operator/avi-l4-operator/internal/avisim"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("avisim: ")
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	var o avisim.Options
	flag.StringVar(&o.Addr, "addr", "127.0.0.1:9443", "address to serve the Controller's API on")
	flag.StringVar(&o.Username, "username", "admin", "name of the one user")
	flag.StringVar(&o.Password, "password", "avi123$%", "password of the user")
	flag.StringVar(&o.Version, "version", "30.2.1", "version of the simulated Controller")
	flag.StringVar(&o.LicenseTier, "license-tier", "ENTERPRISE", "ENTERPRISE, ENTERPRISE_WITH_CLOUD_SERVICES, BASIC or ESSENTIALS")
	flag.DurationVar(&o.ReadLatency, "latency", 20*time.Millisecond, "least duration of a read")
	flag.DurationVar(&o.WriteLatency, "write-latency", 150*time.Millisecond, "least duration of a write")
	flag.StringVar(&o.CertFile, "cert-file", "", "certificate to present, PEM; made in memory if empty")
	flag.StringVar(&o.KeyFile, "key-file", "", "key of --cert-file")
	flag.StringVar(&o.StateFile, "state-file", "", "keep the state in this file, and start with what is in it")
	flag.StringVar(&o.FixtureFile, "fixture", "", "YAML file with the clouds, networks, tenants and more that a new Controller finds")
	flag.Int64Var(&o.Seed, "seed", 0, "make uuids reproducible if not 0")
	hosts := flag.String("host-names", "", "comma-separated further names and addresses of the certificate that is made")
	makeCertificate := flag.String("make-certificate", "", "write ca.crt, tls.crt and tls.key for --host-names into this folder, and end")
	check := flag.Bool("healthcheck", false, "ask the simulator at --addr, in the same container, if it is well, and end")
	caFile := flag.String("ca-file", "", "write the CA certificate to this file")
	control := flag.String("control-addr", "", "address to serve the control API on; none if empty")
	var networks networkFlags
	flag.Var(&networks, "network", "further VIP network as name=prefix[,first-last]; may be given often")
	var w worldFlags
	w.register()
	var r ruleFlags
	r.register(&o)
	flag.Parse()
	if *hosts != "" {
		o.HostNames = strings.Split(*hosts, ",")
	}
	switch {
	case *makeCertificate != "":
		return avisim.WriteCertificate(*makeCertificate, o.HostNames)
	case *check:
		return healthcheck(o.Addr)
	}
	probe, err := w.probing()
	if err != nil {
		return err
	}

	o.Logf = log.Printf
	s, err := avisim.New(o)
	if err != nil {
		return err
	}
	defer s.Close()
	w.apply(s)
	r.apply(s)
	for _, n := range networks {
		if err := s.AddVIPNetwork(n.name, n.prefix, n.first, n.last); err != nil {
			return err
		}
	}
	if *caFile != "" {
		if err := os.WriteFile(*caFile, s.CAPEM(), 0o644); err != nil {
			return err
		}
	}
	if err := s.Start(); err != nil {
		return err
	}
	log.Printf("serving https://%s, version %s, user %s", s.Host(), o.Version, o.Username)

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if probe != nil {
		s.StartProbing(ctx, *probe)
	}
	if *control == "" {
		<-ctx.Done()
		return nil
	}
	return serveControl(ctx, *control, s)
}

// healthcheck asks for the cluster's status, as a container runtime does that has no other program in the image.
func healthcheck(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+net.JoinHostPort(host, port)+"/api/cluster/status", nil)
	if err != nil {
		return err
	}
	// It sends no secret and believes nothing but the status, and the CA may be in another process only.
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	resp, err := c.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the simulator answers %s", resp.Status)
	}
	return nil
}

// serveControl serves the control API until the context ends.
func serveControl(ctx context.Context, addr string, s *avisim.Server) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: controlHandler(s), ReadHeaderTimeout: 10 * time.Second}
	go func() {
		<-ctx.Done()
		_ = srv.Close()
	}()
	log.Printf("control API on http://%s", l.Addr())
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// fault is avisim.Fault as JSON writes it.
type fault struct {
	Name, Method, Type, Route, ObjectName, Tenant string
	After, Count, Status                          int
	Body                                          string
	Header                                        map[string]string
	Delay                                         string
	ResetBefore, ResetAfter, ExpireSessions, Hang bool
}

func (f fault) inject(s *avisim.Server) error {
	out := avisim.Fault{Name: f.Name, Method: f.Method, Type: f.Type, Route: f.Route, Tenant: f.Tenant, After: f.After, Count: f.Count,
		Status: f.Status, Body: f.Body, Header: f.Header, ResetBefore: f.ResetBefore, ResetAfter: f.ResetAfter,
		ExpireSessions: f.ExpireSessions, Hang: f.Hang}
	var err error
	if f.Delay != "" {
		if out.Delay, err = time.ParseDuration(f.Delay); err != nil {
			return err
		}
	}
	if f.ObjectName != "" {
		if out.ObjectName, err = regexp.Compile(f.ObjectName); err != nil {
			return err
		}
	}
	s.Inject(out)
	return nil
}

func controlHandler(s *avisim.Server) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /faults", with(func(f fault) error { return f.inject(s) }))
	mux.HandleFunc("POST /faults/clear", func(http.ResponseWriter, *http.Request) { s.ClearFaults() })
	mux.HandleFunc("POST /server-health", with(func(h struct {
		IP     string
		Port   int
		Up     bool
		Reason string
	}) error {
		if net.ParseIP(h.IP) == nil {
			return fmt.Errorf("ip %q is not an address", h.IP)
		}
		s.SetServerHealth(h.IP, h.Port, h.Up, h.Reason)
		return nil
	}))
	world(mux, s)
	rules(mux, s)
	mux.HandleFunc("POST /upgrade", with(func(v struct{ On bool }) error { s.SetUpgradeMode(v.On); return nil }))
	mux.HandleFunc("POST /down", with(func(v struct{ On bool }) error { s.SetDown(v.On); return nil }))
	mux.HandleFunc("GET /requests", func(w http.ResponseWriter, _ *http.Request) { send(w, s.Requests()) })
	mux.HandleFunc("DELETE /requests", func(http.ResponseWriter, *http.Request) { s.ResetRequests() })
	mux.HandleFunc("GET /tree", func(w http.ResponseWriter, _ *http.Request) { send(w, s.Tree()) })
	mux.HandleFunc("GET /ca", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(s.CAPEM()) })
	return mux
}

// with decodes the request's body for do, and answers 400 with its error.
func with[T any](do func(T) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var in T
		d := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20))
		d.DisallowUnknownFields()
		err := d.Decode(&in)
		if err == nil {
			err = do(in)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
		}
	}
}

func send(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // a client that is gone is not our concern
}
