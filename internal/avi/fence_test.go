// SPDX-License-Identifier: Apache-2.0

package avi

import (
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/avi-l4-operator/avi-l4-operator/internal/model"
)

var errLapsed = errors.New("the lease may have lapsed")

// TestFence has the fence close before a write, and while its connection is being made: nothing of it is sent either way, the
// breaker isn't told of a failure, and reads go on.
func TestFence(t *testing.T) {
	for _, tc := range []struct {
		name string
		asks int32 // checks that a write passes before the fence is found closed
	}{{"closed before", 0}, {"closed while connecting", 1}} {
		t.Run(tc.name, func(t *testing.T) {
			s, _, cfg := newSim(t)
			var closed atomic.Bool
			var left atomic.Int32
			c := newClient(t, cfg, WithFence(func() error {
				if closed.Load() && left.Add(-1) < 0 {
					return errLapsed
				}
				return nil
			}))
			raw, err := c.Create(ctx, model.Pool, "", pool("p"))
			uuid := must(t, raw, err)["uuid"].(string)
			s.ResetRequests()
			closed.Store(true)
			for _, write := range []func() error{
				func() error { _, err := c.Create(ctx, model.Pool, "", pool("q")); return err },
				func() error {
					_, err := c.Patch(ctx, model.Pool, "", uuid, Patch{Replace: map[string]any{"description": "x"}})
					return err
				},
				func() error { return c.Delete(ctx, model.Pool, "", uuid) },
			} {
				for range breakerThreshold {
					left.Store(tc.asks)
					err := write()
					if wantReason(t, err, ReasonNotLeader); !errors.Is(err, errLapsed) || Ambiguous(err) {
						t.Errorf("%v; ambiguous: %t", err, Ambiguous(err))
					}
				}
			}
			if w := s.Writes(); len(w) > 0 {
				t.Errorf("the Controller got %d writes, the first is %s %s", len(w), w[0].Method, w[0].Path)
			}
			raw, err = c.Get(ctx, "", "/api/pool/"+uuid, nil)
			must(t, raw, err)
			if !c.Available() {
				t.Error("writes that were not sent count as the Controller's failures")
			}
			closed.Store(false)
			if err := c.Delete(ctx, model.Pool, "", uuid); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestFenceIsForConfiguration: a standby logs in, reads and keeps its token with the fence closed.
func TestFenceIsForConfiguration(t *testing.T) {
	s, _, cfg := newSim(t)
	c := newClient(t, cfg, WithFence(func() error { return errLapsed }))
	raw, err := c.Get(ctx, "", "/api/cloud", nil)
	must(t, raw, err)
	c.Close(ctx)
	out := 0
	for _, r := range s.Requests() {
		if r.Method == http.MethodPost && strings.HasPrefix(r.Path, "/log") && r.Status == http.StatusOK {
			out++
		}
	}
	if out != 2 {
		t.Errorf("%d of login and logout went through, want both", out)
	}
}
