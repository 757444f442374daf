// SPDX-License-Identifier: Apache-2.0

package command

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http/httptest"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/control"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/sctp"
)

// TestTraffic sends through virtual services from the command line, with SCTP in UDP, and in IP itself where this process may.
func TestTraffic(t *testing.T) {
	t.Run("UDP", func(t *testing.T) { traffic(t, false) })
	t.Run("IP", func(t *testing.T) { traffic(t, true) })
}

func traffic(t *testing.T, inIP bool) {
	t.Helper()
	s, err := avisim.New(avisim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	srv := httptest.NewServer(control.New(s))
	defer srv.Close()
	run := func(args string) (string, error) {
		var out strings.Builder
		err := execute(t.Context(), &out, release, append([]string{"--control", strings.TrimPrefix(srv.URL, "http://")}, strings.Fields(args)...))
		return out.String(), err
	}
	if _, err := run("traffic"); err == nil || !strings.Contains(err.Error(), "--forward") {
		t.Errorf("without traffic: %v", err)
	}

	// Somewhere on loopback where nobody else is.
	server := netip.AddrFrom4([4]byte{127, byte(64 + rand.IntN(60)), byte(rand.IntN(256)), byte(1 + rand.IntN(250))})
	m, err := avisim.ParseForwardMap(fmt.Sprintf("10.10.0.0/16=127.%d.0.0/16,10.20.0.1/32=%s/32", 130+rand.IntN(100), server))
	if err != nil {
		t.Fatal(err)
	}
	open := func() (*sctp.Endpoint, error) { return sctp.NewEndpoint(netip.AddrPortFrom(server, 0)) }
	if inIP {
		open = func() (*sctp.Endpoint, error) { return sctp.NewIPEndpoint(server) }
	}
	e, err := open()
	if errors.Is(err, syscall.EPERM) || errors.Is(err, sctp.ErrKernel) {
		t.Logf("not here: %v", err)
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if _, err := s.Forward(avisim.ForwardOptions{Map: m, SCTPPort: e.Addr().Port(), SCTPInIP: inIP}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Forward(avisim.ForwardOptions{}); err == nil {
		t.Error("traffic is carried twice")
	}
	echo(t, e, netip.AddrPortFrom(server, 9090))

	create := func(typ string, body map[string]any) {
		t.Helper()
		if _, err := s.Create(typ, "admin", body); err != nil {
			t.Fatal(err)
		}
	}
	addr := func(a string) map[string]any { return map[string]any{"addr": a, "type": "V4"} }
	create("pool", map[string]any{"name": "p", "servers": []any{map[string]any{"ip": addr("10.20.0.1"), "port": 9090}}})
	create("vsvip", map[string]any{"name": "v", "vip": []any{map[string]any{"vip_id": "0", "ip_address": addr("10.10.3.4")}}})
	var services []any
	for _, profile := range []string{"System-TCP-Proxy", "System-UDP-Fast-Path", "System-SCTP-Proxy"} {
		services = append(services, map[string]any{"port": 5000, "override_network_profile_ref": "/api/networkprofile?name=" + profile})
	}
	create("virtualservice", map[string]any{"name": "v", "vsvip_ref": "/api/vsvip?name=v", "pool_ref": "/api/pool?name=p",
		"services": services, "application_profile_ref": "/api/applicationprofile?name=System-L4-Application"})
	for _, protocol := range []string{"TCP", "UDP", "SCTP"} {
		for ; ; time.Sleep(time.Millisecond) { // the plane follows in a moment
			if _, err := s.Plane().Find(protocol, netip.MustParseAddrPort("10.10.3.4:5000")); err == nil {
				break
			}
			if t.Context().Err() != nil {
				t.Fatal(err)
			}
		}
	}

	for _, x := range []struct{ args, out, err string }{
		{"send tcp 10.10.3.4:5000 hello there", "hello there\n", ""},
		{"send udp 10.10.3.4:5000 hello", "hello\n", ""},
		{"send SCTP 10.10.3.4:5000 hello", "hello\n", ""},
		{"traffic", "SCTP      10.10.3.4:5000  127.", ""},
		{"traffic now", "", "takes no argument"},
		{"send sctp 10.10.3.4:5001 hello", "", "avisim traffic lists them"},
		{"send sctp here hello", "", "not ADDRESS:PORT"},
		{"send sctp", "", "ADDRESS:PORT TEXT"},
	} {
		out, err := run(x.args)
		if (err == nil) != (x.err == "") || err != nil && !strings.Contains(err.Error(), x.err) || !strings.Contains(out, x.out) {
			t.Errorf("%s: %q, %v; want %q, %q", x.args, out, err, x.out, x.err)
		}
	}
}

// echo repeats what it hears, by all protocols.
func echo(t *testing.T, e *sctp.Endpoint, at netip.AddrPort) {
	t.Helper()
	l, err := net.Listen("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	u, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.Close() })
	x, err := e.Listen(at.Port())
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		b := make([]byte, 1000)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			n, _ := c.Read(b)
			_, _ = c.Write(b[:n])
			c.Close()
		}
	}()
	go func() {
		b := make([]byte, 1000)
		for {
			n, from, err := u.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			_, _ = u.WriteToUDPAddrPort(b[:n], from)
		}
	}()
	go func() {
		for {
			a, err := x.Accept()
			if err != nil {
				return
			}
			if m, err := a.Read(); err == nil {
				_ = a.Write(m)
			}
		}
	}()
}

// TestTrafficFlags reads the flags of traffic and of probes, which follow from each other.
func TestTrafficFlags(t *testing.T) {
	for _, x := range []struct{ args, forward, probe, err string }{
		{"", "", "", ""},
		{"--forward", "10.0.0.0/8=127.0.0.0/8 9899", "TCP UDP SCTP ", ""},
		{"--forward --probe tcp", "10.0.0.0/8=127.0.0.0/8 9899", "", ""},
		{"--forward --probe none", "10.0.0.0/8=127.0.0.0/8 9899", "", ""},
		{"--forward --forward-map direct --forward-sctp-port 36412", "direct 36412", "TCP UDP SCTP 0.0.0.0/0 ::/0", ""},
		{"--forward --forward-sctp-in-ip", "10.0.0.0/8=127.0.0.0/8 in IP", "TCP UDP SCTP in IP ", ""},
		{"--probe all", "", "TCP UDP SCTP ", ""},
		{"--forward --forward-map 10.0.0.0/8", "", "", "is not prefix=prefix"},
		{"--forward --forward-sctp-port 0", "", "", "no port"},
		{"--forward --forward-connections 0", "", "", "none through"},
		{"--probe some", "", "", "none of none, tcp and all"},
	} {
		var w worldFlags
		fs := pflag.NewFlagSet("", pflag.ContinueOnError)
		w.register(fs)
		if err := fs.Parse(strings.Fields(x.args)); err != nil {
			t.Fatal(err)
		}
		forward, err := w.forwarding()
		var probe *avisim.Probe
		if err == nil {
			probe, err = w.probing(fs.Changed, forward)
		}
		if (err == nil) != (x.err == "") || err != nil && !strings.Contains(err.Error(), x.err) {
			t.Errorf("%s: %v, want %q", x.args, err, x.err)
		}
		if err != nil {
			continue
		}
		carried, probed := "", ""
		if forward != nil {
			carried = fmt.Sprint(forward.Map, " ", forward.SCTPPort)
			if forward.SCTPInIP {
				carried = fmt.Sprint(forward.Map, " in IP")
			}
		}
		if probe != nil && len(probe.Protocols) > 0 {
			var networks []string
			for _, n := range probe.Networks {
				networks = append(networks, n.String())
			}
			probed = strings.Join(probe.Protocols, " ") + " " + strings.Join(networks, " ")
			if probe.SCTPInIP {
				probed = strings.Join(probe.Protocols, " ") + " in IP " + strings.Join(networks, " ")
			}
		}
		if carried != x.forward || probed != x.probe {
			t.Errorf("%s: %q and %q, want %q and %q", x.args, carried, probed, x.forward, x.probe)
		}
	}
}
