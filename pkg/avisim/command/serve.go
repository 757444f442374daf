// SPDX-License-Identifier: Apache-2.0

package command

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/control"
)

// serving is what the flags ask for.
type serving struct {
	options   avisim.Options
	caFile    string
	control   string // address of the control API and the page
	script    string // file
	networks  networkFlags
	world     worldFlags
	rules     ruleFlags
	given     func(flag string) bool // whether it stands on the command line
	logMemory int                    // MiB

	makeCertificate string // folder
	healthcheck     bool
}

// serveCommand makes the command that runs a simulator until its context ends.
func serveCommand() *cobra.Command {
	v := &serving{}
	cmd := &cobra.Command{
		Use: "serve", Short: "Run a simulated Controller; the same as no command", Args: noArguments,
		Long: "Runs a simulated Controller until it is told to stop: its API on one listener and, with --control-addr, the control API and a\n" +
			"page for people on another one.",
		Example: "  avisim serve --ca-file ca.crt --control-addr 127.0.0.1:9444\n  avisim serve --forward --state-file state.json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			v.given = cmd.Flags().Changed
			switch {
			case v.given("control"):
				return usageError{errors.New("--control is for what speaks to a simulator that runs; one that serves takes --control-addr")}
			case v.makeCertificate != "":
				return avisim.WriteCertificate(v.makeCertificate, v.options.HostNames)
			case v.healthcheck:
				return healthcheck(cmd.Context(), v.options.Addr)
			}
			return v.serve(cmd.Context())
		},
	}
	v.register(cmd.Flags())
	v.world.register(cmd.Flags())
	v.rules.register(cmd.Flags(), &v.options)
	completeFlags(cmd, serveCompletions())
	return cmd
}

func (v *serving) register(fs *pflag.FlagSet) {
	o := &v.options
	fs.StringVar(&o.Addr, "addr", "127.0.0.1:9443", "address to serve the Controller's API on")
	fs.StringVar(&o.Username, "username", "admin", "name of the one user")
	fs.StringVar(&o.Password, "password", "avi123$%", "password of the user")
	fs.StringVar(&o.Version, "version", "30.2.1", "version of the simulated Controller")
	fs.StringVar(&o.LicenseTier, "license-tier", "ENTERPRISE",
		"ENTERPRISE, ENTERPRISE_WITH_CLOUD_SERVICES, ENTERPRISE_18, ENTERPRISE_16, BASIC or ESSENTIALS")
	fs.DurationVar(&o.ReadLatency, "latency", 20*time.Millisecond, "least duration of a read")
	fs.DurationVar(&o.WriteLatency, "write-latency", 150*time.Millisecond, "least duration of a write")
	fs.StringVar(&o.CertFile, "cert-file", "", "certificate to present, PEM; made in memory if empty")
	fs.StringVar(&o.KeyFile, "key-file", "", "key of --cert-file")
	fs.StringVar(&o.StateFile, "state-file", "", "keep the state in this file, and start with what is in it")
	fs.StringVar(&o.FixtureFile, "fixture", "", "YAML file with the clouds, networks, tenants and more that a new Controller finds")
	fs.Int64Var(&o.Seed, "seed", 0, "make uuids reproducible if not 0")
	fs.IntVar(&v.logMemory, "log-memory", defaultLogMemory,
		"MiB of memory for the request log, whose oldest entries go first; without the flag a quarter of a memory limit at most")
	fs.StringSliceVar(&o.HostNames, "host-names", nil, "comma-separated further names and addresses of the certificate that is made")
	fs.StringVar(&v.makeCertificate, "make-certificate", "", "write ca.crt, tls.crt and tls.key for --host-names into this folder, and end")
	fs.BoolVar(&v.healthcheck, "healthcheck", false, "ask the simulator at --addr, in the same container, if it is well, and end")
	fs.StringVar(&v.caFile, "ca-file", "", "write the CA certificate to this file")
	fs.StringVar(&v.control, "control-addr", "", "address to serve the control API and the page on; none if empty")
	fs.StringVar(&v.script, "script", "", "YAML file with a timeline of faults to run")
	fs.Var(&v.networks, "network", "further VIP network as `name=prefix[,first-last]`; may be given often")
}

func (v *serving) serve(ctx context.Context) error {
	var script *avisim.Script
	if v.script != "" {
		var err error
		if script, err = readScript(v.script); err != nil {
			return err
		}
	}
	forward, err := v.world.forwarding()
	if err != nil {
		return err
	}
	probe, err := v.world.probing(v.given, forward)
	if err != nil {
		return err
	}
	s, err := v.start()
	if err != nil {
		return err
	}
	defer s.Close()
	log.Printf("serving https://%s, version %s, user %s", s.Host(), v.options.Version, v.options.Username)

	if forward != nil {
		if _, err := s.Forward(*forward); err != nil {
			return err
		}
		in := fmt.Sprint("UDP port ", forward.SCTPPort)
		if forward.SCTPInIP {
			in = "IP itself"
		}
		log.Printf("carrying traffic; addresses are at %s, SCTP is in %s", forward.Map, in)
	}
	if probe != nil {
		s.StartProbing(ctx, *probe)
	}
	h := control.New(s)
	if script != nil {
		log.Printf("running %s: %d steps", v.script, script.Len())
		h.RunScript(script)
		defer h.StopScript()
	}
	if v.control == "" {
		<-ctx.Done()
		return nil
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", v.control)
	if err != nil {
		return err
	}
	log.Printf("control API and page on http://%s/", l.Addr())
	return h.Serve(ctx, l)
}

// start makes the server as the flags ask for it, and starts it.
func (v *serving) start() (*avisim.Server, error) {
	v.options.Logf = log.Printf
	v.boundMemory()
	s, err := avisim.New(v.options)
	if err != nil {
		return nil, err
	}
	if err := v.prepare(s); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (v *serving) prepare(s *avisim.Server) error {
	v.world.apply(s, v.given)
	v.rules.apply(s)
	for _, n := range v.networks {
		if err := s.AddVIPNetwork(n.name, n.prefix, n.first, n.last); err != nil {
			return err
		}
	}
	if v.caFile != "" {
		if err := os.WriteFile(v.caFile, s.CAPEM(), 0o644); err != nil {
			return err
		}
	}
	return s.Start()
}

// healthcheck asks for the cluster's status, as a container runtime does that has no other program in the image.
func healthcheck(ctx context.Context, addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+net.JoinHostPort(host, port)+"/api/cluster/status", nil)
	if err != nil {
		return err
	}
	// It sends no secret and believes nothing but the status, and the CA may be in another process only.
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // see above
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

// readScript reads and checks a script.
func readScript(file string) (*avisim.Script, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	sc, err := avisim.ParseScript(text)
	if err != nil {
		return nil, fmt.Errorf("%s:\n%w", file, err)
	}
	return sc, nil
}
