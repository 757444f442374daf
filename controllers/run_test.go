// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/avi-l4-operator/avi-l4-operator/internal/avi"
	"github.com/avi-l4-operator/avi-l4-operator/internal/status"
	"github.com/avi-l4-operator/avi-l4-operator/pkg/avisim"
)

// However the manager ends, the Controller is left without a session; one that doesn't answer doesn't hold up the end.
func TestRunLogsOut(t *testing.T) {
	t.Parallel()
	lost := errors.New("leader election lost")
	for name, c := range map[string]struct {
		end  error
		hang bool // the Controller doesn't answer the logout
	}{
		"stopped":             {},
		"lease lost":          {end: lost},
		"Controller is stuck": {hang: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sim, err := avisim.New(avisim.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if err := sim.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(sim.Close)
			client, err := avi.New(avi.Config{Host: sim.Host(), Username: "admin", Password: "avi123$%", CA: sim.CAPEM()})
			if err != nil {
				t.Fatal(err)
			}
			if c.hang {
				sim.Inject(avisim.Fault{Type: "logout", Hang: true})
			}
			ctx, stop := context.WithCancel(t.Context())
			op := &Operator{client: client, events: new(status.Recorder)}
			began := time.Now()
			err = op.Run(ctx, manager.RunnableFunc(func(ctx context.Context) error {
				if _, err := client.Get(ctx, "", "/api/pool", nil); err != nil {
					t.Error(err)
				}
				if n := sim.Sessions(); n != 1 {
					t.Errorf("%d sessions at work, want 1", n)
				}
				stop() // the operator's context ends before it logs out
				return c.end
			}))
			if !errors.Is(err, c.end) {
				t.Errorf("Run returned %v, want %v", err, c.end)
			}
			if took := time.Since(began); took > 10*logoutTimeout {
				t.Errorf("stopping took %v", took)
			}
			if n := sim.Sessions(); n != 0 && !c.hang {
				t.Errorf("%d sessions are left", n)
			}
			if _, err := client.Get(context.Background(), "", "/api/pool", nil); avi.ReasonOf(err) != avi.ReasonCanceled {
				t.Errorf("a call after the end: %v", err)
			}
		})
	}
}
