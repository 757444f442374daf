// SPDX-License-Identifier: Apache-2.0

// Package probe makes the health of a world's servers real: it connects to them.
package probe

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/doc"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/sctp"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/world"
)

// Probe makes the health of servers real: every server of a pool with a monitor of one of the protocols is asked. Servers of pools with
// other monitors alone stay as they are set.
type Probe struct {
	Interval  time.Duration  // default 5 s; counts in place of the monitors' send_interval
	Timeout   time.Duration  // default 2 s; counts in place of the monitors' receive_timeout
	Protocols []string       // TCP, UDP, SCTP; default: TCP alone
	Networks  []netip.Prefix // where servers may be probed; default: loopback only

	// Where says where a server's address is to be reached, before Networks is asked; default: where it says. An error leaves the server
	// out.
	Where func(netip.Addr) (netip.Addr, error)
	// SCTPPort is the UDP port of servers with SCTP; default 9899.
	SCTPPort uint16
	SCTPInIP bool // associations are made in IP itself, not in UDP
}

// probes at once. A pool may have thousands of servers.
const probeWorkers = 32

// protocols are those of the types of monitor. That a TCP connection stands for what HTTP asks is a simplification.
var protocols = map[string]string{
	"HEALTH_MONITOR_TCP": "TCP", "HEALTH_MONITOR_HTTP": "TCP", "HEALTH_MONITOR_HTTPS": "TCP", "HEALTH_MONITOR_SSL": "TCP",
	"HEALTH_MONITOR_UDP": "UDP", "HEALTH_MONITOR_SCTP": "SCTP",
}

// probed is one server with what its pools' monitors ask for.
type probed struct {
	at       world.Endpoint
	address  netip.Addr // where it is reached
	checks   []check
	up, down int // successful and failed checks that are needed
}

// probeCount is the run of equal results of one server.
type probeCount struct {
	ok       bool
	runs     int
	reported bool // that it is as ok says
}

// Start probes the servers of a world until the context ends.
func Start(ctx context.Context, w *world.World, p Probe) {
	if p.Interval <= 0 {
		p.Interval = 5 * time.Second
	}
	if p.Timeout <= 0 {
		p.Timeout = 2 * time.Second
	}
	if len(p.Protocols) == 0 {
		p.Protocols = []string{"TCP"}
	}
	if p.SCTPPort == 0 {
		p.SCTPPort = sctp.Port
	}
	if len(p.Networks) == 0 {
		p.Networks = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	}
	go func() {
		prober := &prober{Probe: p}
		prober.sctp.InIP = p.SCTPInIP
		defer prober.sctp.Close() //nolint:errcheck // nothing of it is needed any more
		counts := map[world.Endpoint]*probeCount{}
		t := time.NewTicker(p.Interval)
		defer t.Stop()
		for {
			prober.round(ctx, w, counts)
			select {
			case <-ctx.Done():
				return
			case <-t.C:
			}
		}
	}()
}

// checksOf lists what the monitors of a pool ask for. Evidence: that each has to pass, and monitor_port, are documented.
func (p Probe) checksOf(s *world.Reader, pool *world.Object) (out probed) {
	refs, _ := pool.Body["health_monitor_refs"].([]any)
	for _, r := range refs {
		r, _ := r.(doc.Ref)
		m := s.Store.Get(r)
		if m == nil {
			continue
		}
		protocol := protocols[doc.Str(m.Body, "type")]
		if !slices.Contains(p.Protocols, protocol) {
			continue
		}
		out.checks = append(out.checks, check{protocol: protocol, port: doc.Int(m.Body, "monitor_port"),
			request: doc.Str(m.Body, "udp_monitor", "udp_request"), response: doc.Str(m.Body, "udp_monitor", "udp_response")})
		out.up, out.down = max(out.up, doc.Int(m.Body, "successful_checks"), 1), max(out.down, doc.Int(m.Body, "failed_checks"), 1)
	}
	return out
}

// reach says where a server is reached, and whether it may be.
func (p Probe) reach(at netip.Addr) (netip.Addr, bool) {
	if p.Where != nil {
		var err error
		if at, err = p.Where(at); err != nil {
			return at, false
		}
	}
	return at, slices.ContainsFunc(p.Networks, func(n netip.Prefix) bool { return n.Contains(at) })
}

// probes lists the servers to probe, each once.
func probes(s *world.Reader, p Probe) []probed {
	seen := map[world.Endpoint]int{}
	var out []probed
	for _, pool := range s.Store.All("pool") {
		want := p.checksOf(s, pool)
		if len(want.checks) == 0 || !doc.Bool(pool.Body, "enabled", true) {
			continue
		}
		for _, b := range doc.Messages(pool.Body["servers"]) {
			var may bool
			want.at = world.EndpointOf(pool, b)
			if want.address, may = p.reach(want.at.Addr); !may || !doc.Bool(b, "enabled", true) {
				continue
			}
			i, twice := seen[want.at]
			if !twice {
				seen[want.at] = len(out)
				out = append(out, want)
				continue
			}
			out[i].up, out[i].down = max(out[i].up, want.up), max(out[i].down, want.down)
			for _, c := range want.checks {
				if !slices.Contains(out[i].checks, c) {
					out[i].checks = append(slices.Clip(out[i].checks), c)
				}
			}
		}
	}
	return out
}

// round probes each server once. The first result of a server counts at once; later ones as often as the monitors ask.
func (p *prober) round(ctx context.Context, w *world.World, counts map[world.Endpoint]*probeCount) {
	var targets []probed
	w.Read(func(s *world.Reader) { targets = probes(s, p.Probe) })
	results := make([]error, len(targets))
	next := make(chan int)
	var workers sync.WaitGroup
	for range min(probeWorkers, len(targets)) {
		workers.Go(func() {
			for i := range next {
				results[i] = p.ask(ctx, targets[i])
			}
		})
	}
	for i := range targets {
		next <- i
	}
	close(next)
	workers.Wait()
	if ctx.Err() != nil {
		return
	}
	known := map[world.Endpoint]bool{}
	for i, t := range targets {
		known[t.at] = true
		ok := results[i] == nil
		c := counts[t.at]
		first := c == nil
		if first || c.ok != ok {
			c = &probeCount{ok: ok}
			counts[t.at] = c
		}
		c.runs++
		needed := t.down
		if ok {
			needed = t.up
		}
		if c.reported || !first && c.runs < needed {
			continue
		}
		c.reported = true
		reason := ""
		if !ok {
			reason = results[i].Error()
		}
		w.Write(func(s *world.Writer) { s.Proven(t.at, ok, reason) })
	}
	for k := range counts {
		if !known[k] {
			delete(counts, k)
		}
	}
}
