// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

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
	p := Probe{Timeout: time.Second, Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}
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
		probe(t.Context(), w, p, counts)
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
