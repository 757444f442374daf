// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim/api"
)

// Strike finds the faults that apply to a request, and counts them.
func (s *Layer) Strike(c *api.Call) Struck {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := Struck{layer: s}
	for _, f := range s.faults {
		if f.spent() || !f.matches(s, c) {
			continue
		}
		f.matched++
		if f.matched <= f.After || f.Probability > 0 && f.chance.Float64() >= f.Probability {
			continue
		}
		f.applied++
		s.hits++
		s.changed()
		out.faults = append(out.faults, f)
		if slices.ContainsFunc(f.hooks, func(h hooks) bool { return h.final && h.covers(c) }) {
			break
		}
	}
	return out
}

// Struck are the faults that a request meets.
type Struck struct {
	layer  *Layer
	faults []*fault
}

// Names lists the faults for the request log.
func (s Struck) Names() string {
	var out []string
	for _, f := range s.faults {
		out = append(out, cmp.Or(f.Name, "unnamed"))
	}
	return strings.Join(out, ", ")
}

// Deliver sends the body of an answer in another way than at once.
type Deliver func(http.ResponseWriter, *http.Request, []byte)

// Answer takes a request through the latency, the faults, and process. The answer may be Cut; deliver is nil for the usual way of sending
// it.
func (s Struck) Answer(c *api.Call, process func(*api.Call) *api.Answer) (a *api.Answer, deliver Deliver) {
	if !sleep(c.Request.Context(), s.layer.latency(c)) {
		return api.Cut, nil
	}
	effects := s.begin(c)
	for _, h := range effects {
		if a != nil {
			break
		}
		if h.act != nil && !h.follows(c) {
			_ = h.act(s.layer, c) // an object that is not there can't be changed, which is no news to the client
		}
		if h.before != nil {
			a = h.before(s.layer, c)
		}
		if h.process != nil {
			inner := process
			process = func(c *api.Call) *api.Answer { return h.process(s.layer, c, inner) }
		}
	}
	if a == nil {
		a = process(c)
		for _, h := range effects {
			if h.act != nil && h.follows(c) {
				_ = h.act(s.layer, c)
			}
		}
	}
	for _, h := range effects {
		if a != api.Cut && h.after != nil {
			h.after(s.layer, c, a)
		}
		if h.deliver != nil {
			deliver = h.deliver
		}
		if h.lose {
			return api.Cut, nil
		}
	}
	return a, deliver
}

// latency is how long a request takes at least.
func (s *Layer) latency(c *api.Call) time.Duration {
	if api.IsRead(c) {
		return time.Duration(s.readLatency.Load())
	}
	d := time.Duration(s.writeLatency.Load())
	if c.Route.Type == "vsvip" {
		d += s.target.World.VIPDelay()
	}
	return d
}

// begin starts the states of the faults, and returns the effects that the request meets.
func (s Struck) begin(c *api.Call) (effects []hooks) {
	for _, f := range s.faults {
		if f.struck != nil {
			f.struck()
		}
		f.begin(s.layer)
		for _, h := range f.hooks {
			if h.covers(c) && (h.kind == kindRequest || f.conditional() || f.struck != nil) {
				effects = append(effects, h)
			}
		}
	}
	return effects
}

// sleep waits, and reports whether the client still does.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
