// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/sctp"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/world"
)

type obj = map[string]any

// TestProbe opens and closes a real listener and looks at the state of the pools' servers.
func TestProbe(t *testing.T) {
	w, err := world.New(world.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	for name, ip := range map[string]string{"tcp": "127.0.0.1", "elsewhere": "127.0.0.2", "sctp": "127.0.0.1"} {
		monitor := "System-TCP"
		if name == "sctp" {
			monitor = "System-SCTP"
		}
		body := obj{"name": name, "servers": []obj{{"ip": obj{"addr": ip, "type": "V4"}, "port": port}},
			"health_monitor_refs": []string{"/api/healthmonitor?name=" + monitor}}
		if _, err := w.Admin().Create("pool", world.AdminTenant, body); err != nil {
			t.Fatal(err)
		}
	}
	p := Probe{Timeout: time.Second, Protocols: []string{"TCP"}, Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}
	counts := map[world.Endpoint]*probeCount{}
	state := func(name string) (text string) {
		w.Read(func(s *world.Reader) {
			for _, x := range s.Servers(s.Store.Named("pool", world.AdminTenant, name)[0]) {
				text = fmt.Sprint(x.Name, " ", x.Reason)
			}
		})
		return text
	}
	w.Read(func(s *world.Reader) {
		if n := len(probes(s, p)); n != 1 {
			t.Fatalf("%d targets, want the one with a TCP monitor in the network", n)
		}
	})
	for i, step := range []struct {
		want string
		do   func()
	}{
		{"UP", func() { _ = l.Close() }},
		{"UP", nil}, // one failure of two
		{"DOWN", func() {
			if l, err = net.Listen("tcp", l.Addr().String()); err != nil {
				t.Fatal(err)
			}
		}},
		{"DOWN", nil}, // one success of two
		{"UP", nil},
	} {
		(&prober{Probe: p}).round(t.Context(), w, counts)
		if got := state("tcp"); !strings.HasPrefix(got, step.want) || step.want == "DOWN" && !strings.Contains(got, "TCP connection failed") {
			t.Errorf("round %d: %s, want %s", i, got, step.want)
		}
		if got := state("elsewhere"); !strings.HasPrefix(got, "UP") {
			t.Errorf("round %d: probed out of its network: %s", i, got)
		}
		if step.do != nil {
			step.do()
		}
	}
}

// TestProbeProtocols has servers of all protocols answer and stop, behind addresses that are elsewhere, as the monitors of two pools ask.
func TestProbeProtocols(t *testing.T) {
	w, err := world.New(world.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	create := func(typ string, body obj) {
		t.Helper()
		if _, err := w.Admin().Create(typ, world.AdminTenant, body); err != nil {
			t.Fatal(err)
		}
	}
	at := netip.MustParseAddr("127.83.1.7")
	udp, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(at, 0)))
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	e, err := sctp.NewEndpoint(netip.AddrPortFrom(at, 0))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	l, err := e.Listen(38412)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			a, err := l.Accept()
			if err != nil {
				return
			}
			go a.Read() // the monitor says nothing
		}
	}()
	create("healthmonitor", obj{"name": "n2", "type": "HEALTH_MONITOR_SCTP", "monitor_port": 38412, "sctp_monitor": obj{}})
	create("healthmonitor", obj{"name": "asks", "type": "HEALTH_MONITOR_UDP", "monitor_port": udp.LocalAddr().(*net.UDPAddr).Port,
		"udp_monitor": obj{"udp_request": "ping", "udp_response": "pong"}})
	server := []obj{{"ip": obj{"addr": "10.83.1.7", "type": "V4"}, "port": udp.LocalAddr().(*net.UDPAddr).Port}}
	create("pool", obj{"name": "a", "servers": server, "health_monitor_refs": []string{"/api/healthmonitor?name=System-UDP"}})
	create("pool", obj{"name": "b", "servers": server, "health_monitor_refs": []string{"/api/healthmonitor?name=n2"}})
	p := &prober{Probe: Probe{Timeout: 2 * time.Second, Protocols: []string{"TCP", "UDP", "SCTP"}, SCTPPort: e.Addr().Port(),
		Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		Where: func(a netip.Addr) (netip.Addr, error) {
			b := a.As4()
			b[0] = 127
			return netip.AddrFrom4(b), nil
		}}}
	defer p.sctp.Close()
	round := func(want string) {
		t.Helper()
		p.round(t.Context(), w, map[world.Endpoint]*probeCount{})
		w.Read(func(s *world.Reader) {
			for _, pool := range []string{"a", "b"} {
				x := s.Servers(s.Store.Named("pool", world.AdminTenant, pool)[0])[0]
				if got := x.Name + " " + x.Reason; !strings.HasPrefix(got, want) {
					t.Errorf("the server in pool %s is %s, want %s", pool, got, want)
				}
			}
		})
	}
	round("UP ")
	l.Close()
	round("DOWN association failed: SCTP 127.83.1.7:")
	if _, err := e.Listen(38412); err != nil { // whose queue takes what nobody accepts
		t.Fatal(err)
	}
	round("UP ")
	if err := w.Admin().Edit("pool", world.AdminTenant, "b", func(o obj) {
		o["health_monitor_refs"] = []any{"/api/healthmonitor?name=asks"}
	}); err != nil {
		t.Fatal(err)
	}
	answer := func(text string) {
		b := make([]byte, 100)
		for {
			n, from, err := udp.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			if string(b[:n]) == "ping" {
				_, _ = udp.WriteToUDPAddrPort([]byte(text), from)
				return
			}
		}
	}
	go answer("gnop")
	round("DOWN the answer is not the one")
	go answer("pong!")
	round("UP ")
	udp.Close()
	round("DOWN UDP failed")
}
