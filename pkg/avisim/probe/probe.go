// SPDX-License-Identifier: Apache-2.0

// Package probe makes the health of a world's servers real: it connects to them.
package probe

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/doc"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/world"
)

// Probe makes the health of servers real: every server of a pool with a TCP, HTTP or HTTPS monitor is connected to. Servers
// of pools with other monitors stay as they are set. SCTP and UDP are left out: Go's standard library has no SCTP sockets, and
// silence on UDP proves nothing.
type Probe struct {
	Interval time.Duration  // default 5 s; counts in place of the monitors' send_interval
	Timeout  time.Duration  // default 2 s; counts in place of the monitors' receive_timeout
	Networks []netip.Prefix // where servers may be probed; default: loopback only
}

// probes at once. A pool may have thousands of servers.
const probeWorkers = 32

// tcpMonitors are the types of monitor that a TCP connection stands for.
var tcpMonitors = []string{"HEALTH_MONITOR_TCP", "HEALTH_MONITOR_HTTP", "HEALTH_MONITOR_HTTPS", "HEALTH_MONITOR_SSL"}

// probed is one server with what its pools' monitors ask for.
type probed struct {
	at       world.Endpoint
	up, down int // successful and failed checks that are needed
}

// probeCount is the run of equal results of one server.
type probeCount struct {
	ok   bool
	runs int
	told bool // that it is as ok says
}

// Start probes the servers of a world until the context ends.
func Start(ctx context.Context, w *world.World, p Probe) {
	if p.Interval <= 0 {
		p.Interval = 5 * time.Second
	}
	if p.Timeout <= 0 {
		p.Timeout = 2 * time.Second
	}
	if len(p.Networks) == 0 {
		p.Networks = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	}
	go func() {
		counts := map[world.Endpoint]*probeCount{}
		t := time.NewTicker(p.Interval)
		defer t.Stop()
		for {
			probe(ctx, w, p, counts)
			select {
			case <-ctx.Done():
				return
			case <-t.C:
			}
		}
	}()
}

// probes lists the servers to probe, each once.
func probes(s *world.Reader, p Probe) []probed {
	seen := map[world.Endpoint]int{}
	var out []probed
	for _, pool := range s.Store.All("pool") {
		want := probed{}
		refs, _ := pool.Body["health_monitor_refs"].([]any)
		for _, r := range refs {
			r, _ := r.(doc.Ref)
			if m := s.Store.Get(r); m != nil && slices.Contains(tcpMonitors, doc.Str(m.Body, "type")) {
				want.up, want.down = max(want.up, doc.Int(m.Body, "successful_checks"), 1), max(want.down, doc.Int(m.Body, "failed_checks"), 1)
			}
		}
		if want.up == 0 || !doc.Bool(pool.Body, "enabled", true) {
			continue
		}
		for _, b := range doc.Messages(pool.Body["servers"]) {
			want.at = world.EndpointOf(pool, b)
			if !doc.Bool(b, "enabled", true) || !slices.ContainsFunc(p.Networks, func(n netip.Prefix) bool { return n.Contains(want.at.Addr) }) {
				continue
			}
			if i, twice := seen[want.at]; twice {
				out[i].up, out[i].down = max(out[i].up, want.up), max(out[i].down, want.down)
				continue
			}
			seen[want.at] = len(out)
			out = append(out, want)
		}
	}
	return out
}

// probe makes one round. The first result of a server counts at once; later ones as often as the monitors ask.
func probe(ctx context.Context, w *world.World, p Probe, counts map[world.Endpoint]*probeCount) {
	var targets []probed
	w.Read(func(s *world.Reader) { targets = probes(s, p) })
	results := make([]error, len(targets))
	next := make(chan int)
	var workers sync.WaitGroup
	for range min(probeWorkers, len(targets)) {
		workers.Go(func() {
			for i := range next {
				d := net.Dialer{Timeout: p.Timeout}
				c, err := d.DialContext(ctx, "tcp", netip.AddrPortFrom(targets[i].at.Addr, uint16(targets[i].at.Port)).String())
				if err == nil {
					_ = c.Close()
				}
				results[i] = err
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
		if c.told || !first && c.runs < needed {
			continue
		}
		c.told = true
		reason := ""
		if !ok {
			reason = fmt.Sprintf("TCP connection failed: %v", results[i])
		}
		w.Write(func(s *world.Writer) { s.Proven(t.at, ok, reason) })
	}
	for k := range counts {
		if !known[k] {
			delete(counts, k)
		}
	}
}
