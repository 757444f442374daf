package avisim

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// TestProbe opens and closes a real listener and watches the pool.
func TestProbe(t *testing.T) {
	w := newStage(t, Dynamics{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	for name, ip := range map[string]string{"tcp": "127.0.0.1", "elsewhere": "127.0.0.2", "sctp": "127.0.0.1"} {
		body := poolBody(name)
		body["servers"] = []obj{{"ip": v4(ip), "port": port}}
		if name != "sctp" {
			body["health_monitor_refs"] = []string{"/api/healthmonitor?name=System-TCP"}
		}
		w.want(201, "POST", "/api/pool", body)
	}
	p := Probe{Timeout: time.Second, Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}
	counts := map[endpointKey]*probeCount{}
	state := func(pool string) string {
		return w.want(200, "GET", "/api/pool/"+str(w.mustObject("pool", pool), "uuid")+"/runtime/server", nil).raw
	}
	if n := len(probes(&w.s.world.writer.Reader, p)); n != 1 {
		t.Fatalf("%d targets, want the one with a TCP monitor in the network", n)
	}
	for i, step := range []struct {
		want string
		do   func()
	}{
		{"OPER_UP", func() { _ = l.Close() }},
		{"OPER_UP", nil}, // one failure of two
		{"OPER_DOWN", func() {
			if l, err = net.Listen("tcp", l.Addr().String()); err != nil {
				t.Fatal(err)
			}
		}},
		{"OPER_DOWN", nil}, // one success of two
		{"OPER_UP", nil},
	} {
		probe(t.Context(), w.s.world, p, counts)
		if raw := state("tcp"); !strings.Contains(raw, step.want) || step.want == "OPER_DOWN" && !strings.Contains(raw, "TCP connection failed") {
			t.Errorf("round %d: %s, want %s", i, raw, step.want)
		}
		if raw := state("elsewhere"); !strings.Contains(raw, "OPER_UP") {
			t.Errorf("round %d: probed out of its network: %s", i, raw)
		}
		if step.do != nil {
			step.do()
		}
	}
}
